/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_HIST_H
#define IOPF_HIST_H

/*
 * A log-linear histogram: 32 equal steps in each power of two, so that a value read back is at
 * most 1/32 too large. Values of 2^40 and more share the last step. iopf_hist_add() is one relaxed
 * atomic addition: any thread may call it, and readers may miss the latest additions.
 */

#include <stdatomic.h>
#include <stdint.h>

#define IOPF_HIST_SUB_LOG2	5
#define IOPF_HIST_MAX_LOG2	40
#define IOPF_HIST_STEPS \
	((IOPF_HIST_MAX_LOG2 - IOPF_HIST_SUB_LOG2 + 1) << IOPF_HIST_SUB_LOG2)

struct iopf_hist {
	_Atomic uint64_t count[IOPF_HIST_STEPS];
};

static inline unsigned int
iopf_hist_step(uint64_t v)
{
	unsigned int e;

	if (v < (1u << IOPF_HIST_SUB_LOG2))
		return v;
	if (v >> IOPF_HIST_MAX_LOG2)
		return IOPF_HIST_STEPS - 1;
	e = 63 - __builtin_clzll(v) - IOPF_HIST_SUB_LOG2;
	/* v >> e is between 32 and 63: its top bit adds one to the power. */
	return (e << IOPF_HIST_SUB_LOG2) + (unsigned int)(v >> e);
}

/* The largest value of a step. */
static inline uint64_t
iopf_hist_value(unsigned int step)
{
	unsigned int e;

	if (step < (2u << IOPF_HIST_SUB_LOG2))
		return step;
	e = (step >> IOPF_HIST_SUB_LOG2) - 1;
	return ((uint64_t)(step - (e << IOPF_HIST_SUB_LOG2) + 1) << e) - 1;
}

static inline void
iopf_hist_add(struct iopf_hist *hist, uint64_t v, uint64_t n)
{
	atomic_fetch_add_explicit(&hist->count[iopf_hist_step(v)], n, memory_order_relaxed);
}

/* The value that p of 1000 samples do not exceed; 0 without samples. */
uint64_t iopf_hist_permille(const struct iopf_hist *hist, uint64_t samples, unsigned int p);
uint64_t iopf_hist_samples(const struct iopf_hist *hist);

#endif /* IOPF_HIST_H */
