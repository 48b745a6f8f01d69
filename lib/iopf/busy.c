/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The busy time of a queue's poll thread: see struct iopf_busy. */

#include <rte_common.h>
#include <rte_cycles.h>

#include "fault_queue.h"
#include "iommu.h"
#include "poller.h"

/* The mean of empty passes moves by such a part of each new measurement. */
#define MEAN_LOG2	6
/* A longer measurement is of a thread that did not run, and counts as one of this length. */
#define MAX_TIMES_MEAN	4
/* The same with records: a part of a second. */
#define MAX_PER_S	1000

static void
empty_update(struct iopf_busy *busy, uint64_t time)
{
	if (busy->empty == 0)
		busy->empty = time << MEAN_LOG2;
	time = RTE_MIN(time, MAX_TIMES_MEAN * (busy->empty >> MEAN_LOG2));
	busy->empty += time - (busy->empty >> MEAN_LOG2);
}

void
iopf_busy_update(struct iopf_queue *q, uint64_t now)
{
	/* A poller is freed after a grace period. */
	const struct iopf_poller *poller = atomic_load_explicit(&q->poller, memory_order_relaxed);
	uint32_t passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
	uint64_t away = poller != NULL ? atomic_load_explicit(&poller->away_cycles,
			memory_order_relaxed) : 0;
	struct iopf_busy *busy = &q->busy;
	uint64_t time = now - busy->since - (away - busy->away), rest;
	uint64_t nb = passes - busy->passes, found = busy->found;

	/* Another poll thread has made some of the passes, or the difference makes no sense. */
	if (poller == NULL || poller != busy->poller || nb == 0 || (int64_t)time < 0)
		time = 0;
	if (time != 0 && found == 0)
		empty_update(busy, time * IOPF_CLOCK_PASSES / nb);
	if (time != 0 && found != 0) {
		time = RTE_MIN(time, rte_get_tsc_hz() / MAX_PER_S);
		rest = found < nb ? (nb - found) * (busy->empty >> MEAN_LOG2) /
				IOPF_CLOCK_PASSES : 0;
		if (time > rest)
			atomic_store_explicit(&busy->cycles, time - rest +
					atomic_load_explicit(&busy->cycles, memory_order_relaxed),
					memory_order_relaxed);
	}
	busy->poller = poller;
	busy->since = now;
	busy->away = away;
	busy->found = 0;
	busy->passes = passes;
}
