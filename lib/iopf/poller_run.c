/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The loop of a poll thread, and its idle policy. */

#include <errno.h>
#include <sched.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_pause.h>

#include "call.h"
#include "poller.h"

/* IDLE_PAUSE: idle passes between yields. Without effect on a core that has no other thread. */
#define YIELD_PASSES	1024
/* IDLE_SLEEP: the number of idle passes grows to so many times idle_passes. */
#define MAX_GROWTH	64

/* Idle passes in a row, and how many the next sleep needs. */
struct idle {
	uint64_t passes;
	uint64_t since;		/* rte_rdtsc() of the first one; IDLE_SLEEP */
	uint64_t threshold;
};

static void
yield(struct iopf_poller *poller)
{
	uint64_t begin = rte_rdtsc();

	sched_yield();
	atomic_fetch_add_explicit(&poller->away_cycles, rte_rdtsc() - begin, memory_order_relaxed);
}

static void
yield_or_pause(struct iopf_poller *poller, bool may_yield)
{
	if (may_yield)
		yield(poller);
	else
		rte_pause();
}

static void
sleep_or_pause(struct iopf_poller *poller, struct idle *idle)
{
	uint64_t before, begin;
	int ret;

	if (idle->passes == 1)
		idle->since = rte_rdtsc();
	if (idle->passes < idle->threshold) {
		/* Another thread, such as one of the model, may need this core. */
		yield_or_pause(poller, idle->passes % YIELD_PASSES == 0);
		return;
	}
	begin = rte_rdtsc();
	before = begin - idle->since;
	ret = iopf_poller_sleep(poller);
	if (ret == -ENOTSUP) {
		yield(poller);
		return;
	}
	if (ret == 0 && rte_rdtsc() - begin >= before) {
		idle->threshold = RTE_MAX(idle->threshold / 2, (uint64_t)poller->idle_passes);
	} else {
		if (ret == 0)
			atomic_fetch_add_explicit(&poller->stats[IOPF_POLLER_STAT_SHORT], 1,
					memory_order_relaxed);
		idle->threshold = RTE_MIN(idle->threshold * 2,
				(uint64_t)poller->idle_passes * MAX_GROWTH);
	}
	idle->passes = 0;
}

static void
do_idle(struct iopf_poller *poller, struct idle *idle)
{
	idle->passes++;
	switch (poller->idle) {
	case IOPF_IDLE_SPIN:
		break;
	case IOPF_IDLE_YIELD:
		yield_or_pause(poller, idle->passes >= poller->idle_passes);
		break;
	case IOPF_IDLE_SLEEP:
		sleep_or_pause(poller, idle);
		break;
	case IOPF_IDLE_PAUSE:
		yield_or_pause(poller, idle->passes % YIELD_PASSES == 0);
		break;
	}
}

int
iopf_poller_run(void *arg)
{
	struct iopf_poller *poller = arg;
	struct idle idle = { .passes = 0 };
	unsigned int n;

	if (poller == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	idle.threshold = poller->idle_passes;
	atomic_fetch_add(&poller->inside, 1);
	while (!atomic_load_explicit(&poller->stop, memory_order_relaxed)) {
		if (unlikely(poller->slept != NULL))
			iopf_poller_end_sleep(poller);
		n = iopf_poll(poller);
		if (n != 0)
			idle.passes = 0;
		else
			do_idle(poller, &idle);
	}
	iopf_poller_end_sleep(poller);
	atomic_store(&poller->stop, false);
	atomic_fetch_sub(&poller->inside, 1);
	return 0;
}

void
iopf_poller_stop(struct iopf_poller *poller)
{
	if (poller == NULL)
		return;
	/* iopf_poller_destroy() waits: the eventfd is written to after the loop may have ended. */
	atomic_fetch_add(&poller->stoppers, 1);
	atomic_store(&poller->stop, true);
	iopf_poller_wake(poller);
	atomic_fetch_sub(&poller->stoppers, 1);
}
