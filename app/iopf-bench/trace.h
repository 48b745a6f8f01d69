/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef TRACE_H
#define TRACE_H

/*
 * A recorded trace (traces/README.md): the pages that a program accessed, in order. Pages are
 * numbered by their first access; a second section says where they lie in the address space.
 * iopf-trace-record and traces/make-trace.py write such files.
 *
 *	struct trace trace;
 *
 *	if (trace_read(path, &trace))
 *		for (i = 0; i < trace.nb_accesses; i++)
 *			use(trace.accesses[i]);
 *	trace_free(&trace);
 */

#include <stdbool.h>
#include <stdint.h>

struct trace_page {
	int64_t vpn;	/* of the first page: 0 */
	uint32_t nb;
};

struct trace {
	uint32_t nb_pages;
	struct trace_page *pages;	/* by number */
	uint32_t nb_accesses;		/* not two of a page in a row */
	uint32_t *accesses;		/* numbers of pages */
};

/*
 * Both read a file, plain or gzip, which is untrusted. False after reporting the error. The second
 * reads from a descriptor, which it closes; @p name is for the report. trace_free() is allowed in any
 * case.
 */
bool trace_read(const char *path, struct trace *trace);
bool trace_read_fd(int fd, const char *name, struct trace *trace);
void trace_free(struct trace *trace);

#endif /* TRACE_H */
