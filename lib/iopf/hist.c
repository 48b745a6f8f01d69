/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "hist.h"

uint64_t
iopf_hist_samples(const struct iopf_hist *hist)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < IOPF_HIST_STEPS; i++)
		n += atomic_load_explicit(&hist->count[i], memory_order_relaxed);
	return n;
}

uint64_t
iopf_hist_permille(const struct iopf_hist *hist, uint64_t samples, unsigned int p)
{
	/* The rank is at least 1: permille 0 is the smallest sample. */
	uint64_t rank = (samples * p + 999) / 1000, seen = 0;
	uint64_t last = 0;

	if (rank == 0)
		rank = 1;
	for (unsigned int i = 0; i < IOPF_HIST_STEPS; i++) {
		uint64_t n = atomic_load_explicit(&hist->count[i], memory_order_relaxed);

		if (n == 0)
			continue;
		last = iopf_hist_value(i);
		seen += n;
		if (seen >= rank)
			return last;
	}
	return last;
}
