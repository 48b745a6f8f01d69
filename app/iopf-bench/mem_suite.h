/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MEM_SUITE_H
#define MEM_SUITE_H

/*
 * iopf-bench --suite mmem: managed memory that is smaller than its contents.
 *
 *	mem_suite.c	the parts and their ratios
 *	mem_sim.c	policies with a trace: page-ins of each
 *	mem_rig.c	devices of the software SMMU with spaces of the library
 *	mem_product.c	a device with a trace: page-ins of the library
 *	mem_ahead.c	streams and random accesses: faults and page-ins with what is fetched ahead
 *	mem_hotset.c	a device with a trace, and again after its hot set was fetched
 *	mem_slow.c	a device beside one with a slow pager
 *	traces/		the traces, which are part of the program (traces/embed.py)
 *
 * Model. A trace is replayed with a memory of half of its pages (struct trace: trace.h). An access
 * to a page that is not in memory is a page-in; the policy says which page leaves before. Blocks
 * have one page.
 *
 *	ret = mem_read_trace(&mem_files[0], &trace);
 *	if (ret == 0)
 *		ret = mem_simulate(&trace, trace.nb_pages / 2, MEM_OURS, 0, &result);
 *	trace_free(&trace);
 *
 * Threads. None.
 */

#include <stdint.h>

#include "trace.h"

struct suite;

/* A trace in the program; made at build time. */
struct mem_file {
	const char *name;
	const unsigned char *data;
	unsigned int size;
};

extern const struct mem_file mem_files[];
extern const unsigned int mem_nb_files;

enum mem_policy {
	MEM_FIFO,
	MEM_LRU,	/* knows each access */
	MEM_CLOCK,	/* one access flag a page, and a hand */
	MEM_OURS,	/* lib/mmem: page-ins, and an access flag at the moment of a look */
	MEM_BELADY,	/* knows all accesses that will be: no policy has fewer page-ins */
	MEM_NB_POLICIES,
};

extern const char *const mem_policy_names[MEM_NB_POLICIES];

struct mem_result {
	uint64_t page_ins;
	uint64_t looks;		/* tests of an access flag: MEM_CLOCK, MEM_OURS */
	uint64_t cleared;	/* that found it set */
};

/* Returns 0, or -errno after reporting the error. */
int mem_read_trace(const struct mem_file *file, struct trace *trace);
/*
 * Replay @p trace with a memory of @p capacity pages, 1 or more. @p seed is for the random choices
 * of MEM_OURS. Returns 0, or -ENOMEM after reporting the error.
 */
int mem_simulate(const struct trace *trace, uint32_t capacity, enum mem_policy policy,
		uint64_t seed, struct mem_result *result);

int mem_suite_policy(struct suite *suite);
int mem_suite_product(struct suite *suite);
int mem_suite_ahead(struct suite *suite);
int mem_suite_hotset(struct suite *suite);
int mem_suite_slow(struct suite *suite);

#endif /* MEM_SUITE_H */
