/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_THROTTLE_H
#define MMEM_THROTTLE_H

/*
 * Thrash: more blocks are in use at once than a budget holds, so each leaves while it is in use,
 * and the access that continues there fetches it again. Then a block serves few accesses for each
 * fetch, and devices wait for each other's blocks.
 *
 * A fetch is *early* if an access asks for a block within MMEM_EARLY_NS of its leaving. An early
 * fetch makes the blocks of the space stay longer in memory, twice as long, up to MMEM_STAY_MAX_NS:
 * a fetched block serves more accesses, and the others wait for their turn. Each MMEM_CALM_NS
 * without an early fetch halve the time again. While blocks stay longer than MMEM_THROTTLED_NS the
 * space is throttled: no contents are fetched ahead of accesses. A loop over more than the budget
 * is no thrash: it comes back to a block long after it has left.
 *
 * A space's state; under pool->lock, but for is_throttled.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A fetched block stays at least so long, so that the access that fetched it ends. */
#define MMEM_STAY_MIN_NS	UINT64_C(200000)
#define MMEM_STAY_MAX_NS	UINT64_C(6400000)
#define MMEM_THROTTLED_NS	(4 * MMEM_STAY_MIN_NS)
#define MMEM_EARLY_NS		UINT64_C(5000000)
#define MMEM_CALM_NS		UINT64_C(50000000)

struct mmem_throttle {
	uint64_t stay_ns;
	uint64_t changed_at;
	atomic_bool is_throttled;
};

static inline void
mmem_throttle_init(struct mmem_throttle *throttle)
{
	throttle->stay_ns = MMEM_STAY_MIN_NS;
	throttle->changed_at = 0;
	atomic_init(&throttle->is_throttled, false);
}

/* At a time, an access begins a fetch of a block that left at left_at, or never: 0. */
static inline void
mmem_throttle_note(struct mmem_throttle *throttle, uint64_t left_at, uint64_t now)
{
	uint64_t stay = throttle->stay_ns;

	if (left_at != 0 && now - left_at < MMEM_EARLY_NS)
		stay = stay * 2 < MMEM_STAY_MAX_NS ? stay * 2 : MMEM_STAY_MAX_NS;
	else if (now - throttle->changed_at >= MMEM_CALM_NS)
		stay = stay / 2 > MMEM_STAY_MIN_NS ? stay / 2 : MMEM_STAY_MIN_NS;
	else
		return;
	throttle->stay_ns = stay;
	throttle->changed_at = now;
	atomic_store_explicit(&throttle->is_throttled, stay > MMEM_THROTTLED_NS,
			memory_order_relaxed);
}

/* Any thread. */
static inline bool
mmem_is_throttled(const struct mmem_throttle *throttle)
{
	return atomic_load_explicit(&throttle->is_throttled, memory_order_relaxed);
}

#endif /* MMEM_THROTTLE_H */
