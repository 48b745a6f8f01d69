/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_WAIT_H
#define IOPF_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>
#include <rte_cycles.h>

/*
 * A bounded wait of one thread, in TSC cycles. A thread that does not run for long, perhaps because
 * its process or its virtual machine is stopped, has given the others no time: between two looks at
 * most half of the whole counts. So the wait takes longer than the whole only if the thread is
 * stopped, or if a step between two looks takes longer than half of it: then two steps end it.
 */
struct iopf_wait {
	uint64_t cycles;	/* the whole wait */
	uint64_t left, last;	/* and the time of the last look */
};

static inline void
iopf_wait_begin(struct iopf_wait *w, uint64_t cycles)
{
	*w = (struct iopf_wait){ .cycles = cycles, .left = cycles, .last = rte_rdtsc() };
}

static inline bool
iopf_wait_is_over(struct iopf_wait *w)
{
	uint64_t now = rte_rdtsc();
	uint64_t passed = RTE_MIN(now - w->last, w->cycles / 2 + 1);

	w->last = now;
	w->left -= RTE_MIN(w->left, passed);
	return w->left == 0;
}

#endif /* IOPF_WAIT_H */
