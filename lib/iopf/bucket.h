/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BUCKET_H
#define BUCKET_H

/*
 * A token bucket in one word: the time when it is full again, in TSC cycles. Each token moves that
 * time by an interval, and the bucket is empty when it lies further ahead than depth. No division,
 * and no timer fills it.
 *
 * Owners of several queues may take from one bucket at the same time. Then one of two tokens may
 * not be counted: a limit is exceeded by one fault, which is less than the cost of a locked
 * operation.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_branch_prediction.h>

struct iopf_bucket {
	uint64_t interval;		/* 0: no limit */
	uint64_t depth;			/* burst - 1 intervals */
	_Atomic uint64_t full_at;
};

/* @p rate tokens a second, 0 for no limit, and @p burst at once, at least 1. */
static inline void
bucket_init(struct iopf_bucket *bucket, uint64_t hz, uint32_t rate, uint32_t burst)
{
	bucket->interval = rate == 0 ? 0 : hz > rate ? hz / rate : 1;
	bucket->depth = bucket->interval * (burst - 1);
	atomic_init(&bucket->full_at, 0);
}

static inline bool
bucket_is_full(const struct iopf_bucket *bucket, uint64_t now)
{
	return (int64_t)(atomic_load_explicit(&bucket->full_at, memory_order_relaxed) - now) <= 0;
}

/* Take a token. False: the bucket is empty. */
static inline bool
bucket_take(struct iopf_bucket *bucket, uint64_t now)
{
	uint64_t full_at = atomic_load_explicit(&bucket->full_at, memory_order_relaxed);

	if (bucket->interval == 0)
		return true;
	if ((int64_t)(full_at - now) < 0)
		full_at = now;
	if (unlikely(full_at - now > bucket->depth))
		return false;
	atomic_store_explicit(&bucket->full_at, full_at + bucket->interval, memory_order_relaxed);
	return true;
}

static inline void
bucket_fill(struct iopf_bucket *bucket)
{
	atomic_store_explicit(&bucket->full_at, 0, memory_order_relaxed);
}

#endif /* BUCKET_H */
