/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A pass over a queue by its owner: bursts of records, and now and then the work that depends on
 * time: deadlines, groups without Last, errors of the IOMMU.
 */

#include <rte_cycles.h>

#include "call.h"
#include "cancel.h"
#include "deadline.h"
#include "dispatch.h"
#include "fault_queue.h"
#include "iommu.h"
#include "listener.h"
#include "prg.h"
#include "rcu.h"

#define CHECKS_PER_S	1000

/* False: it has failed already, or a stop is under way, which ends all outstanding faults. */
static bool
iommu_mark_failed(struct iopf_iommu *iommu)
{
	uint32_t state = atomic_load(&iommu->state);

	while (state >= IOPF_STATE_RUNNING)
		if (atomic_compare_exchange_weak(&iommu->state, &state, IOPF_STATE_FAILED))
			return true;
	return false;
}

/* @p q is the event queue: only its owner calls the driver's check(). */
static void
errors_check(struct iopf_queue *q, uint64_t now)
{
	struct iopf_iommu *iommu = q->iommu;
	unsigned int flags;

	if (now < q->next_error_check)
		return;
	q->next_error_check = now + rte_get_tsc_hz() / CHECKS_PER_S;
	/*
	 * Acquire: with the release in iopf_answering_end(). This check may enable the IOMMU
	 * again: answers that were claimed before its recovery must be out.
	 */
	if (iommu->recovering &&
			atomic_load_explicit(&iommu->answering, memory_order_acquire) != 0)
		return;
	flags = iommu->driver->ops.check(iommu->priv);
	iommu->recovering = flags & IOPF_CHECK_TERMINATED;
	if (likely(flags == 0))
		return;
	if ((flags & IOPF_CHECK_DEAD) && !iommu_mark_failed(iommu))
		return;
	if (flags & (IOPF_CHECK_TERMINATED | IOPF_CHECK_DEAD)) {
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_RESETS, 1);
		iopf_listeners_write_lost(iommu, IOPF_RECORD_LOST |
				(flags & IOPF_CHECK_DEAD ? IOPF_RECORD_FAILED : 0));
		iopf_queue_cancel(q, NULL, IOPF_CANCEL_TERMINATED);
	}
	if ((flags & IOPF_CHECK_DEAD) && iommu->info.nb_queues > IOPF_QUEUE_REQUESTS) {
		/* Page requests survive a recovery. A failed IOMMU delivers no answers. */
		iopf_queue_cancel(&iommu->queues[IOPF_QUEUE_REQUESTS], NULL,
				IOPF_CANCEL_TERMINATED);
	}
}

static void
queue_check(struct iopf_queue *q)
{
	struct iopf_iommu *iommu = q->iommu;
	uint64_t now = rte_rdtsc();

	iopf_busy_update(q, now);
	if (now < q->next_check)
		return;
	q->next_check = now + rte_get_tsc_hz() / CHECKS_PER_S;
	if (iopf_queue_has_deadlines(q) || iopf_queue_is_pressed(q))
		iopf_queue_expire(q, now);
	if (q->prg != NULL) {
		iopf_self.in_fast = true;
		iopf_prg_discard_old(q, now - iommu->partial_cycles);
		iopf_self.in_fast = false;
		/* Check for errors also if no thread polls the event queue. */
		q = &iommu->queues[IOPF_QUEUE_EVENTS];
		if (!iopf_queue_own(q))
			return;
		errors_check(q, now);
		iopf_queue_disown(q);
		return;
	}
	errors_check(q, now);
}

unsigned int
iopf_queue_run_pass(struct iopf_queue *q, uint16_t burst, uint16_t bursts, uint32_t weight)
{
	uint32_t passes;
	unsigned int n;

	if (!iopf_iommu_is_polled(q->iommu) || !iopf_queue_own(q))
		return 0;
	n = iopf_queue_run_bursts(q, burst, bursts);
	q->busy.found += n != 0;
	passes = atomic_load_explicit(&q->passes, memory_order_relaxed) + weight;
	atomic_store_explicit(&q->passes, passes, memory_order_relaxed);
	/* The count has reached or passed a multiple. */
	if ((passes & (IOPF_CLOCK_PASSES - 1)) < weight)
		queue_check(q);
	iopf_queue_disown(q);
	return n;
}

bool
iopf_queue_has_faults(struct iopf_queue *q)
{
	bool has = false;

	/*
	 * A stop changes the state, then waits for read sections, then uses the queue without
	 * owning it.
	 */
	iopf_rcu_read_lock();
	if (iopf_iommu_is_serving(q->iommu)) {
		/* The owner may have a fault. */
		has = true;
		if (iopf_queue_own(q)) {
			has = iopf_queue_nb_held(q) != 0;
			iopf_queue_disown(q);
		}
	}
	iopf_rcu_read_unlock();
	return has;
}
