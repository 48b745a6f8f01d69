/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Threads that wait until a queue was read, and read it themselves where no poll thread does. */

#include <errno.h>
#include <inttypes.h>

#include <rte_cycles.h>

#include "call.h"
#include "dev.h"
#include "dispatch.h"
#include "fault_queue.h"
#include "iommu.h"
#include "iopf_log.h"
#include "iopf_policy.h"
#include "pass.h"
#include "rcu.h"

/* A queue without a pass for 1/STANDSTILLS_PER_S seconds has no poll thread. */
#define STANDSTILLS_PER_S	50

void
iopf_stand_in_begin(const struct iopf_queue *q, struct iopf_stand_in *stand_in)
{
	stand_in->passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
	stand_in->since = rte_rdtsc();
}

unsigned int
iopf_stand_in_poll(struct iopf_queue *q, struct iopf_stand_in *stand_in)
{
	uint64_t patience = q->poller != NULL ? rte_get_tsc_hz() / STANDSTILLS_PER_S : 0;
	uint32_t passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
	unsigned int n;

	if (passes != stand_in->passes) {
		iopf_stand_in_begin(q, stand_in);
		return 0;
	}
	if (rte_rdtsc() - stand_in->since < patience)
		return 0;
	iopf_rcu_read_lock();
	n = iopf_queue_run_pass(q, IOPF_MAX_BURST, 4, 1);
	iopf_rcu_read_unlock();
	stand_in->passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
	return n;
}

/*
 * For a driver without queue_mark: drain the queue. True: it is empty. False: records may be left,
 * or another thread owns the queue.
 */
static bool
queue_read_all(struct iopf_queue *q)
{
	bool empty = false;

	iopf_rcu_read_lock();
	if (iopf_iommu_is_polled(q->iommu) && iopf_queue_own(q)) {
		empty = iopf_queue_run_bursts(q, IOPF_MAX_BURST, 4) < 4 * IOPF_MAX_BURST;
		iopf_queue_disown(q);
	}
	iopf_rcu_read_unlock();
	return empty;
}

static bool
fence_is_passed(struct iopf_queue *q, uint64_t mark)
{
	const struct iopf_driver_ops *ops = &q->iommu->driver->ops;

	return ops->queue_mark != NULL ? ops->queue_passed(q->iommu->priv, q->id, mark) :
			queue_read_all(q);
}

static uint64_t
ms_of_cycles(uint64_t cycles)
{
	return cycles / (rte_get_tsc_hz() / 1000);
}

/*
 * While a start runs, the IOMMU may translate, and so record stalls, before it is serving: the poll
 * threads read these records after the start. A start needs no lock that a caller has here.
 */
static int
start_wait(struct iopf_iommu *iommu, struct iopf_wait *wait)
{
	uint64_t ms = ms_of_cycles(wait->left);

	while (iopf_iommu_is_starting(iommu)) {
		if (iopf_wait_is_over(wait)) {
			/* The policy thread may come here each 100 ms. */
			IOPF_LOG_LIMITED(&iommu->log, "\"%s\": its start has not returned within "
					"%" PRIu64 " ms: a call for a device waits for it; make "
					"that call again", iommu->name, ms);
			return -ETIMEDOUT;
		}
		iommu->driver->ops.wait(iommu->priv);
	}
	return 0;
}

int
iopf_queue_fence(struct iopf_queue *q, struct iopf_wait *wait)
{
	const struct iopf_driver_ops *ops = &q->iommu->driver->ops;
	int ret = start_wait(q->iommu, wait);
	void *priv = q->iommu->priv;
	struct iopf_stand_in stand_in;
	uint64_t mark = 0, ms = ms_of_cycles(wait->left);
	bool is_polled;

	if (ret < 0)
		return ret;
	/*
	 * The driver may read a register. A stop changes the state, then waits for read sections,
	 * then switches the IOMMU off. After a failure no record comes, but those that the queue
	 * has are read.
	 */
	iopf_rcu_read_lock();
	is_polled = iopf_iommu_is_polled(q->iommu);
	if (is_polled && ops->queue_mark != NULL)
		mark = ops->queue_mark(priv, q->id);
	iopf_rcu_read_unlock();
	if (!is_polled)
		return 0;
	iopf_stand_in_begin(q, &stand_in);
	while (!fence_is_passed(q, mark)) {
		/* A stop ends the faults in the queue. */
		if (!iopf_iommu_is_polled(q->iommu))
			return 0;
		if (iopf_wait_is_over(wait)) {
			IOPF_LOG_LIMITED(&q->iommu->log, "\"%s\": queue %u was not read within %"
					PRIu64 " ms: a fast handler or a poll thread does not "
					"return; have it return, then make the call again",
					q->iommu->name, q->id, ms);
			return -ETIMEDOUT;
		}
		if (iopf_stand_in_poll(q, &stand_in) == 0)
			ops->wait(priv);
	}
	return 0;
}

int
iopf_iommu_fence(struct iopf_iommu *iommu, uint64_t cycles)
{
	struct iopf_wait wait;
	int ret = 0;

	for (unsigned int i = 0; i < iommu->info.nb_queues && ret == 0; i++) {
		iopf_wait_begin(&wait, cycles);
		ret = iopf_queue_fence(&iommu->queues[i], &wait);
	}
	return ret;
}

int
iopf_dev_fence(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu;
	struct iopf_wait wait;
	int ret;

	if (dev == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	iommu = dev->iommu;
	iopf_dev_wait_begin(dev, &wait);
	ret = start_wait(iommu, &wait);
	if (ret == 0 && iopf_iommu_is_serving(iommu) && iommu->driver->ops.sync != NULL)
		ret = iommu->driver->ops.sync(iommu->priv);
	if (ret == 0)
		ret = iopf_iommu_fence(iommu, iopf_dev_wait_cycles(dev));
	/* The pass that has read the records ends. */
	if (ret == 0)
		iopf_rcu_synchronize();
	return iopf_ret(ret);
}
