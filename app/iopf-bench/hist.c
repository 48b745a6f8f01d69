/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "bench.h"

/* Buckets 0 to 127 hold one value each, the next 64 two each, then four, ... */
static unsigned int
hist_get_bucket(uint64_t v)
{
	unsigned int shift;

	if (v >= UINT64_C(1) << HIST_MAX_LOG2)
		return HIST_BUCKETS - 1;
	if (v < UINT64_C(2) << HIST_SUB_LOG2)
		return v;
	shift = 63 - HIST_SUB_LOG2 - __builtin_clzll(v);
	return (shift << HIST_SUB_LOG2) + (v >> shift);
}

static double
hist_get_middle(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < 2u << HIST_SUB_LOG2)
		return bucket;
	shift = (bucket >> HIST_SUB_LOG2) - 1;
	return ((double)(bucket - (shift << HIST_SUB_LOG2)) + 0.5) * (double)(UINT64_C(1) << shift);
}

uint64_t
hist_get_upper(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < 2u << HIST_SUB_LOG2)
		return bucket;
	shift = (bucket >> HIST_SUB_LOG2) - 1;
	return (((uint64_t)bucket - (shift << HIST_SUB_LOG2) + 1) << shift) - 1;
}

void
hist_reset(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

void
hist_add_many(struct hist *h, uint64_t v, uint32_t n)
{
	h->samples += n;
	h->count[hist_get_bucket(v)] += n;
}

void
hist_add(struct hist *h, uint64_t v)
{
	hist_add_many(h, v, 1);
}

void
hist_merge(struct hist *to, const struct hist *from)
{
	unsigned int i;

	to->samples += from->samples;
	for (i = 0; i < HIST_BUCKETS; i++)
		to->count[i] += from->count[i];
}

double
hist_get_percentile(const struct hist *h, double share)
{
	uint64_t rank, seen = 0;
	unsigned int i;

	if (h->samples == 0)
		return 0;
	rank = (uint64_t)((double)h->samples * share);
	if (rank >= h->samples)
		rank = h->samples - 1;
	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += h->count[i];
		if (seen > rank)
			return hist_get_middle(i);
	}
	return hist_get_middle(HIST_BUCKETS - 1);
}

bool
hist_supports(const struct hist *h, unsigned int per_10000)
{
	return h->samples * (10000 - per_10000) >= UINT64_C(10000) * HIST_MIN_BEYOND;
}
