/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * An IOMMU goes off.
 *
 *	QUIESCING	PRI and ATS go off at the devices. Poll threads read and answer
 *	STOPPING	no pass begins, and those under way end; what is outstanding is answered, or
 *			ended by the driver's stop or suspend
 *	OFF, SUSPENDED	no thread of the library accesses a register
 *
 * A suspend at rest ends nothing. It looks for uses in state QUIESCING, and for faults that wait
 * for an answer in state STOPPING: no pass runs then, so that no further one can be found. Before
 * that state it has read the records that were in the queues when it began. If it finds one it goes
 * back to RUNNING. A use that is taken later finds that the state is not RUNNING: see power.h.
 *
 * A fault whose record comes later is of a device that is not in use, and aborts, as all accesses
 * do from then on.
 */

#include <errno.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "cancel.h"
#include "idle.h"
#include "listener.h"
#include "poller.h"
#include "prg.h"
#include "pri.h"
#include "rcu.h"
#include "shut_down.h"

/* The wait until the records are read, before a suspend at rest. */
#define REST_MS		1000

/*
 * No new pass and no call of the driver's idle begins; the passes under way end. False: the state
 * is not @p was any more, since a check() has given the IOMMU up.
 */
static bool
passes_end(struct iopf_iommu *iommu, uint32_t was)
{
	bool ends;

	pthread_mutex_lock(&iommu->idle_lock);
	ends = atomic_compare_exchange_strong(&iommu->state, &was, IOPF_STATE_STOPPING);
	pthread_mutex_unlock(&iommu->idle_lock);
	if (ends)
		iopf_rcu_synchronize();
	return ends;
}

/*
 * The driver has stopped or suspended. Outstanding faults are cancelled also after an error: the
 * driver has tried to end them. Deferred handlers may keep their slots: this does not wait for
 * them. @p lost: records that need no answer may be lost.
 */
static void
faults_end(struct iopf_iommu *iommu, bool lost)
{
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		iopf_queue_cancel(&iommu->queues[i], NULL, IOPF_CANCEL_TERMINATED);
	iopf_rcu_synchronize();
	/*
	 * This thread is the only owner: each other thread looks at the state and owns a queue in
	 * one read section, and none does so in state STOPPING.
	 */
	if (lost && iopf_queue_own(&iommu->queues[IOPF_QUEUE_EVENTS])) {
		iopf_rcu_read_lock();
		iopf_listeners_write_lost(iommu, IOPF_RECORD_LOST);
		iopf_rcu_read_unlock();
		iopf_queue_disown(&iommu->queues[IOPF_QUEUE_EVENTS]);
	}
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		if (iommu->queues[i].prg != NULL)
			iopf_prg_discard_all(&iommu->queues[i]);
}

/* To state STOPPING, from any state. */
static void
iommu_quiesce(struct iopf_iommu *iommu)
{
	uint32_t was = IOPF_STATE_RUNNING;
	bool was_running;

	was_running = atomic_compare_exchange_strong(&iommu->state, &was, IOPF_STATE_QUIESCING);
	/* A sleep begins before this call, which ends it, or sees the state. */
	iopf_idle_end(iommu, NULL);
	/*
	 * A page request to an IOMMU that is off, or has failed, ends the device's PRI: switch PRI
	 * off first, so that the next start switches it on.
	 */
	if (was_running || was == IOPF_STATE_FAILED)
		iopf_pri_switch_off_all(iommu);
	while (!passes_end(iommu, atomic_load(&iommu->state)))
		;
	/*
	 * Groups of a device whose PRI stays on, since another control call has its lock: without
	 * an answer the device would wait for ever. The driver delivers those that it has been
	 * given: a thread that has claimed a group before sends its answer in its read section.
	 */
	if (was_running && iommu->info.nb_queues > IOPF_QUEUE_REQUESTS) {
		iopf_queue_cancel(&iommu->queues[IOPF_QUEUE_REQUESTS], NULL, IOPF_CANCEL_DRAIN);
		iopf_rcu_synchronize();
	}
}

int
iopf_iommu_shut_down(struct iopf_iommu *iommu)
{
	int ret;

	iommu_quiesce(iommu);
	ret = iommu->driver->ops.stop(iommu->priv);
	faults_end(iommu, true);
	atomic_store(&iommu->state, ret == 0 ? IOPF_STATE_OFF : IOPF_STATE_STUCK);
	return ret;
}

/* In state STOPPING. */
static int
driver_suspend(struct iopf_iommu *iommu, bool bypass)
{
	int ret = iommu->driver->ops.suspend(iommu->priv, bypass);

	faults_end(iommu, ret != 0);
	/* Sequentially consistent: with the load in iopf_dev_get(). */
	atomic_store(&iommu->state, ret >= 0 ? IOPF_STATE_SUSPENDED : IOPF_STATE_STUCK);
	return RTE_MIN(ret, 0);
}

int
iopf_iommu_suspend_forced(struct iopf_iommu *iommu, bool bypass)
{
	iommu_quiesce(iommu);
	return driver_suspend(iommu, bypass);
}

static bool
has_waiting_faults(struct iopf_iommu *iommu)
{
	bool has = false;

	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		has |= iopf_queue_has_waiting(&iommu->queues[i]);
	return has;
}

/* Read the records of the faults that devices have had. */
static int
records_read(struct iopf_iommu *iommu)
{
	const struct iopf_driver_ops *ops = &iommu->driver->ops;
	int ret = ops->sync != NULL ? ops->sync(iommu->priv) : 0;

	return ret < 0 ? ret : iopf_iommu_fence(iommu, rte_get_tsc_hz() / 1000 * REST_MS);
}

/* In state QUIESCING. */
static int
iommu_rest(struct iopf_iommu *iommu)
{
	const struct iopf_driver_ops *ops = &iommu->driver->ops;

	/* Sequentially consistent: with the increment in iopf_dev_get(), see power.h. */
	if (atomic_load(&iommu->power.uses) != 0 ||
			(ops->is_recovering != NULL && ops->is_recovering(iommu->priv)))
		return -EBUSY;
	iopf_idle_end(iommu, NULL);
	/* The second look counts. The first one spares the devices a change of PRI in vain. */
	if (records_read(iommu) < 0 || has_waiting_faults(iommu) || iopf_pri_rest_all(iommu) < 0)
		return -EBUSY;
	return !passes_end(iommu, IOPF_STATE_QUIESCING) || has_waiting_faults(iommu) ? -EBUSY : 0;
}

/* The suspend is refused. */
static int
run_on(struct iopf_iommu *iommu)
{
	uint32_t was = atomic_load(&iommu->state);

	atomic_store(&iommu->power.settling, true);
	/* Only a check(), in a pass, changes the state meanwhile, from QUIESCING to FAILED. */
	while (was != IOPF_STATE_FAILED)
		if (atomic_compare_exchange_weak(&iommu->state, &was, IOPF_STATE_RUNNING))
			break;
	/* A thread that sleeps has not told this IOMMU to wake it. */
	iopf_idle_wake(iommu);
	if (was != IOPF_STATE_FAILED) {
		iopf_pri_switch_on_all(iommu);
		iommu->power.pri_due = iopf_pri_switch_on_due(iommu);
	}
	atomic_store(&iommu->power.settling, false);
	return was == IOPF_STATE_FAILED ? -EIO : -EBUSY;
}

int
iopf_iommu_suspend_at_rest(struct iopf_iommu *iommu, bool bypass)
{
	uint32_t was = IOPF_STATE_RUNNING;

	/* Without a change of state: the next iopf_dev_get() of another device need not wait. */
	if (iommu->power.pri_due && (iommu->power.pri_due = iopf_pri_switch_on_due(iommu)))
		return -EBUSY;
	if (!atomic_compare_exchange_strong(&iommu->state, &was, IOPF_STATE_QUIESCING))
		return -EIO;
	if (iommu_rest(iommu) < 0)
		return run_on(iommu);
	return driver_suspend(iommu, bypass);
}
