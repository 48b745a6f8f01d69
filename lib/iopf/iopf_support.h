/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_SUPPORT_H
#define IOPF_SUPPORT_H

/*
 * For the libraries and drivers of this project: what each would write again. Not
 * installed.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A thread for work beside the fault path. It may run on the processors that the process
 * had when it was loaded, without those of the lcores, or on the main lcore's if none is
 * left: it does not inherit the affinity of its creator, which may be pinned to a poll core.
 *
 * name: at most 15 characters. Returns 0 or -errno.
 */
int iopf_thread_create(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);

/*
 * For log lines that a device or a guest can cause: at most so many in a second. Each object
 * has its own, zeroed at first, so that the lines of one do not displace another's.
 */
#define IOPF_LOG_LINES_PER_S 10

struct iopf_log_limit {
	_Atomic uint64_t begin;		/* of this second, in TSC cycles */
	_Atomic uint32_t lines;		/* in it, those left out included */
	_Atomic uint64_t unsaid;	/* left out since the last line that was not */
	_Atomic uint64_t left_out;	/* in all; for a counter of the object */
};

/*
 * Whether a line may be written now; *before is then how many were left out before it, for
 * the line to say. Any thread; does not wait and calls nothing.
 */
bool iopf_log_take(struct iopf_log_limit *limit, uint64_t *before);

/* The end of such a line: " (3 lines left out before)" in @p text, or "" for none. */
#define IOPF_LOG_TAIL 56
const char *iopf_log_tail(char text[IOPF_LOG_TAIL], uint64_t before);

#endif /* IOPF_SUPPORT_H */
