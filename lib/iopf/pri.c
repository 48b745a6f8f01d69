/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * ATS and PRI of devices, and the budget of page requests. The caller holds the device's lock, and
 * for the budget the IOMMU's lock.
 *
 * On: the driver allows ATS (its attach), then ATS at the device, then PRI. Off: PRI at the device,
 * all pending groups are answered, ATS, and then the driver forbids ATS. A device has its part of
 * the budget from the first attach to the last detach: a stop and a start do not change it.
 */

#include <errno.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_cycles.h>

#include "call.h"
#include "cancel.h"
#include "iopf_log.h"
#include "pri.h"
#include "rcu.h"

#define DEFAULT_REQUESTS	32
/* The wait for a recovery of the IOMMU. */
#define RECOVERY_MS		1000
/* A result that is lower is no -errno. */
#define MAX_ERRNO		4095

static uint32_t
requests_of(const struct iopf_dev_conf *conf)
{
	return conf->pri_requests != 0 ? conf->pri_requests : DEFAULT_REQUESTS;
}

int
iopf_pri_check_conf(const struct iopf_iommu *iommu, const struct iopf_dev_conf *conf)
{
	const struct iopf_pci_ops *ops = conf->pci;
	const char *name = conf->name != NULL ? conf->name : "device";

	if (conf->recover != IOPF_PRI) {
		if (conf->pri_requests == 0 && !conf->pri_overcommit && !conf->prg_pasid)
			return 0;
		IOPF_LOG(ERR, "%s: pri_requests, pri_overcommit and prg_pasid are for IOPF_PRI; "
				"set recover to that", name);
		return -EINVAL;
	}
	if (iommu->info.request_queue_size == 0) {
		IOPF_LOG(ERR, "%s: \"%s\" has no page requests: use IOPF_TERMINATE or "
				"IOPF_STALL; the software SMMU has them with model_pri=1", name,
				iommu->name);
		return -ENOTSUP;
	}
	if (ops == NULL || ops->ats_enable == NULL || ops->ats_disable == NULL ||
			ops->pri_enable == NULL || ops->pri_disable == NULL ||
			ops->pri_drained == NULL || conf->ops.retry != NULL) {
		IOPF_LOG(ERR, "%s: IOPF_PRI needs the operations ats_enable, ats_disable, "
				"pri_enable, pri_disable and pri_drained, and no retry", name);
		return -EINVAL;
	}
	if (requests_of(conf) > iommu->info.max_requests && !conf->pri_overcommit) {
		IOPF_LOG(ERR, "%s: %u page requests are too many; \"%s\" has %u for all devices: "
				"use fewer pri_requests, a larger request_queue_size, or "
				"pri_overcommit",
				name, requests_of(conf), iommu->name, iommu->info.max_requests);
		return -ERANGE;
	}
	return 0;
}

int
iopf_pri_reserve(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	uint32_t granted = atomic_load_explicit(&iommu->granted, memory_order_relaxed);
	uint32_t left = iommu->info.max_requests - RTE_MIN(granted, iommu->info.max_requests);
	uint32_t n = requests_of(&dev->conf);

	if (dev->conf.recover != IOPF_PRI || dev->granted != 0)
		return 0;
	if ((n > left && !dev->conf.pri_overcommit) || n > UINT32_MAX - granted) {
		IOPF_LOG(ERR, "%s: %u page requests are more than the %u left of the %u of \"%s\": "
				"use fewer pri_requests, a larger request_queue_size, or "
				"pri_overcommit",
				dev->name, n, left, iommu->info.max_requests, iommu->name);
		return -ENOSPC;
	}
	dev->granted = n;
	atomic_store_explicit(&iommu->granted, granted + n, memory_order_relaxed);
	return 0;
}

void
iopf_pri_release(struct iopf_dev *dev)
{
	atomic_fetch_sub_explicit(&dev->iommu->granted, dev->granted, memory_order_relaxed);
	dev->granted = 0;
}

uint32_t
iopf_iommu_requests_granted(const struct iopf_iommu *iommu)
{
	if (iommu == NULL) {
		rte_errno = EINVAL;
		return 0;
	}
	return atomic_load_explicit(&iommu->granted, memory_order_relaxed);
}

/*
 * The result of an operation of the device: 0 or -errno. The lines are limited: the policy thread
 * may repeat what fails each millisecond.
 */
static int
op_result(struct iopf_dev *dev, const char *op, int ret)
{
	if (ret == 0)
		return 0;
	if (ret < 0 && ret >= -MAX_ERRNO) {
		IOPF_LOG_LIMITED(&dev->log, "%s: its operation %s returned %d; check the driver of "
				"the device", dev->name, op, ret);
		return ret;
	}
	IOPF_LOG_LIMITED(&dev->log, "%s: its operation %s returned %d, taken as -EIO: return 0 or "
			"-errno", dev->name, op, ret);
	return -EIO;
}

/* What fails stays marked as on, so that the next call makes it again. */
static int
pri_disable(struct iopf_dev *dev)
{
	int ret = op_result(dev, "pri_disable", dev->pci.pri_disable(dev, dev->conf.ctx));

	if (ret == 0)
		dev->pri_on = dev->pri_forced = false;
	return ret;
}

static int
ats_disable(struct iopf_dev *dev)
{
	int ret = op_result(dev, "ats_disable", dev->pci.ats_disable(dev, dev->conf.ctx));

	if (ret == 0)
		dev->ats_on = false;
	return ret;
}

/* The smallest translation unit: no invalidation is smaller than the IOMMU's smallest page. */
static unsigned int
stu_of(const struct iopf_iommu *iommu)
{
	return iommu->info.granules != 0 ? rte_bsf32(iommu->info.granules) : 12;
}

/*
 * The device has drained: it waits for no answer. If a reset was the reason, it uses the PRG
 * indices of its groups from before again: when PRI is on, no answer to one of them may be under
 * way, nor sent later. After an error ats_on stays set, and the next call makes this again.
 */
static int
old_groups_end(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	const struct iopf_driver_ops *ops = &iommu->driver->ops;
	struct iopf_queue *q = &iommu->queues[IOPF_QUEUE_REQUESTS];
	struct iopf_attachment *attachment;
	struct iopf_wait wait;
	int ret;

	/* It holds answers back. */
	iopf_pri_wait_recovery(dev);
	if (ops->is_recovering(iommu->priv)) {
		IOPF_LOG_LIMITED(&dev->log, "%s: PRI stays off, since a recovery of \"%s\" has not "
				"ended in time: poll its queues, then call iopf_dev_pri_restart()",
				dev->name, iommu->name);
		return -ETIMEDOUT;
	}
	iopf_wait_begin(&wait, rte_get_tsc_hz() / 1000 * IOPF_PRI_ALL_MS);
	ret = iopf_queue_fence(q, &wait);
	if (ret < 0)
		return ret;
	iopf_rcu_synchronize();
	LIST_FOREACH(attachment, &dev->attachments, next)
		iopf_queue_cancel(q, attachment, IOPF_CANCEL_DETACH);
	/* A thread that has claimed one before has sent its answer. */
	iopf_rcu_synchronize();
	return ops->sync != NULL ? ops->sync(iommu->priv) : 0;
}

/* PRI went off, and the device had not drained then: ATS goes off if it has drained now. */
static int
ats_disable_drained(struct iopf_dev *dev)
{
	int ret;

	if (!dev->pci.pri_drained(dev, dev->conf.ctx)) {
		IOPF_LOG_LIMITED(&dev->log, "%s: PRI is off, since the device did not drain; reset "
				"the device, then call iopf_dev_pri_restart()", dev->name);
		return -ETIMEDOUT;
	}
	ret = old_groups_end(dev);
	return ret < 0 ? ret : ats_disable(dev);
}

int
iopf_pri_check_usable(struct iopf_dev *dev)
{
	const struct iopf_iommu *iommu = dev->iommu;
	int ret;

	if (iommu->driver->ops.dev_usable == NULL)
		return 0;
	ret = iommu->driver->ops.dev_usable(iommu->priv, dev->priv);
	if (ret < 0)
		IOPF_LOG_LIMITED(&dev->log, "%s: cut off, since its ATC did not answer: detach "
				"all its PASIDs, reset the device, and attach it again", dev->name);
	return ret;
}

static int
ats_pri_switch_on(struct iopf_dev *dev)
{
	const struct iopf_pci_ops *ops = &dev->pci;
	void *ctx = dev->conf.ctx;
	int ret;

	ret = iopf_pri_check_usable(dev);
	if (ret == 0 && dev->pri_on)
		ret = pri_disable(dev);
	if (ret == 0 && dev->ats_on)
		ret = ats_disable_drained(dev);
	if (ret < 0)
		return ret;
	ret = op_result(dev, "ats_enable", ops->ats_enable(dev, stu_of(dev->iommu), ctx));
	if (ret < 0)
		return ret;
	dev->ats_on = true;
	ret = op_result(dev, "pri_enable", ops->pri_enable(dev, dev->granted, ctx));
	if (ret < 0) {
		ats_disable(dev);
		return ret;
	}
	dev->pri_on = true;
	return 0;
}

int
iopf_pri_switch_on(struct iopf_dev *dev)
{
	int ret;

	/*
	 * Not in state QUIESCING: the stop has switched PRI off, or does so next. The end of a
	 * quarantine switches it on.
	 */
	if (dev->conf.recover != IOPF_PRI || (dev->pri_on && !dev->pri_forced) ||
			iopf_dev_is_quarantined(dev) ||
			atomic_load(&dev->iommu->state) != IOPF_STATE_RUNNING)
		return 0;
	if (atomic_load(&dev->pri_due) && !dev->pci.pri_drained(dev, dev->conf.ctx))
		return 0;
	ret = ats_pri_switch_on(dev);
	/* After an error iopf_dev_pri_restart() has to follow. */
	atomic_store(&dev->pri_due, false);
	return ret;
}

/*
 * The wait for a device
 */

struct drain {
	struct iopf_dev *dev;
	struct iopf_attachment *attachment;	/* only its PASID; NULL: the whole device */
	bool answer;				/* pending groups are answered without handlers */
	bool rest;				/* a pending group ends the wait: -EBUSY */
	bool sent_all;	/* pasid_drained was true before the queue was last read */
	unsigned int partial, pending;		/* groups, at the last count */
};

static void
drain_count_groups(struct drain *d)
{
	const struct iopf_queue *q = &d->dev->iommu->queues[IOPF_QUEUE_REQUESTS];
	struct iopf_attachment *attachment;

	d->partial = d->pending = 0;
	if (d->attachment != NULL)
		iopf_queue_count_groups(q, d->attachment, &d->partial, &d->pending);
	else
		LIST_FOREACH(attachment, &d->dev->attachments, next)
			iopf_queue_count_groups(q, attachment, &d->partial, &d->pending);
}

static bool
dev_has_drained(const struct drain *d)
{
	const struct iopf_pci_ops *ops = &d->dev->pci;
	void *ctx = d->dev->conf.ctx;

	if (d->attachment == NULL)
		return ops->pri_drained(d->dev, ctx);
	return ops->pasid_drained == NULL || ops->pasid_drained(d->dev, d->attachment->pasid, ctx);
}

/* After false the caller reads the queue. */
static bool
drain_is_complete(struct drain *d)
{
	bool drained = dev_has_drained(d);

	if (d->attachment == NULL)
		return drained;
	/* A Last that comes later would be of the next domain that uses this PASID. */
	drain_count_groups(d);
	if (d->partial == 0 || d->sent_all)
		return drained;
	d->sent_all = drained && d->dev->pci.pasid_drained != NULL;
	return false;
}

static void
drain_answer_pending(const struct drain *d)
{
	struct iopf_queue *q = &d->dev->iommu->queues[IOPF_QUEUE_REQUESTS];
	struct iopf_attachment *attachment;

	if (d->attachment != NULL)
		iopf_queue_cancel(q, d->attachment, IOPF_CANCEL_DRAIN);
	else
		LIST_FOREACH(attachment, &d->dev->attachments, next)
			iopf_queue_cancel(q, attachment, IOPF_CANCEL_DRAIN);
}

static int
drain_wait(struct drain *d, struct iopf_wait *wait)
{
	struct iopf_iommu *iommu = d->dev->iommu;
	struct iopf_queue *q = &iommu->queues[IOPF_QUEUE_REQUESTS];
	struct iopf_stand_in stand_in;

	iopf_stand_in_begin(q, &stand_in);
	while (!drain_is_complete(d)) {
		/* The requests that are outstanding have ended, or end with the IOMMU. */
		if (iopf_iommu_is_down(iommu))
			return 0;
		/* The fence waits for a start that runs. */
		if (iopf_wait_is_over(wait) || iopf_queue_fence(q, wait) < 0)
			return -ETIMEDOUT;
		if (d->answer)
			drain_answer_pending(d);
		if (d->rest) {
			drain_count_groups(d);
			if (d->pending != 0)
				return -EBUSY;
		}
		/* Answers may wait for a recovery, which needs passes to continue. */
		if (iopf_stand_in_poll(q, &stand_in) == 0)
			iommu->driver->ops.wait(iommu->priv);
	}
	return 0;
}

static int
dev_drain(struct drain *d, struct iopf_wait *wait)
{
	struct iopf_dev *dev = d->dev;
	int ret = drain_wait(d, wait);

	if (ret == 0 || ret == -EBUSY)
		return ret;
	drain_count_groups(d);
	if (d->pending != 0)
		IOPF_LOG_LIMITED(&dev->log, "%s: does not drain: %u of its page request groups "
				"wait for their handlers; PRI is off now; answer them and try "
				"again", dev->name, d->pending);
	else
		IOPF_LOG_LIMITED(&dev->log, "%s: does not drain: it waits for the answer to a page "
				"request group whose Last never came, or whose answer was not "
				"taken; PRI is off now; reset the device and try again",
				dev->name);
	return ret;
}

int
iopf_pri_drain_pasid(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	struct drain d = { .dev = dev, .attachment = attachment, .answer = true };
	char text[IOPF_PASID_TEXT];
	struct iopf_wait wait;

	iopf_dev_wait_begin(dev, &wait);
	if (!dev->ats_on || drain_wait(&d, &wait) == 0 || dev_has_drained(&d))
		return 0;
	IOPF_LOG(ERR, "%s: %s has not drained within wait_ms (pasid_drained): its accesses abort, "
			"and it stays attached; stop it at the device, or reset the device, and "
			"detach again", dev->name,
			iopf_pasid_text(text, attachment->pasid));
	return -ETIMEDOUT;
}

void
iopf_pri_wait_recovery(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	struct iopf_queue *q = &iommu->queues[IOPF_QUEUE_EVENTS];
	struct iopf_stand_in stand_in;
	struct iopf_wait wait;

	if (dev->conf.recover != IOPF_PRI)
		return;
	iopf_wait_begin(&wait, rte_get_tsc_hz() / 1000 * RECOVERY_MS);
	iopf_stand_in_begin(q, &stand_in);
	while (iopf_iommu_is_serving(iommu) && iommu->driver->ops.is_recovering(iommu->priv) &&
			!iopf_wait_is_over(&wait))
		if (iopf_stand_in_poll(q, &stand_in) == 0)
			iommu->driver->ops.wait(iommu->priv);
}

int
iopf_pri_begin_off(struct iopf_dev *dev)
{
	return dev->pri_on ? pri_disable(dev) : 0;
}

static int
pri_ats_switch_off(struct drain *d, struct iopf_wait *wait)
{
	struct iopf_dev *dev = d->dev;
	int ret = iopf_pri_begin_off(dev);

	if (ret < 0 || !dev->ats_on)
		return ret;
	ret = dev_drain(d, wait);
	/* A detach answers them later, and the driver's attach synchronises. */
	if (ret == 0 && !d->answer)
		ret = old_groups_end(dev);
	return ret < 0 ? ret : ats_disable(dev);
}

int
iopf_pri_switch_off(struct iopf_dev *dev)
{
	struct drain d = { .dev = dev, .answer = true };
	struct iopf_wait wait;

	iopf_dev_wait_begin(dev, &wait);
	atomic_store(&dev->pri_due, false);
	return pri_ats_switch_off(&d, &wait);
}

int
iopf_pri_rest(struct iopf_dev *dev, struct iopf_wait *wait)
{
	struct drain d = { .dev = dev, .rest = true };
	bool was_on = dev->pri_on;
	int ret = pri_ats_switch_off(&d, wait);

	/* Before the state is RUNNING again: iopf_dev_get() finds this then. */
	if (ret < 0 && was_on && !dev->pri_on)
		atomic_store(&dev->pri_due, true);
	return ret;
}

/*
 * A device whose pri_disable failed is not asked whether it has drained. If it has not, ats_on
 * stays set: iopf_pri_switch_on() has PRI off and the device drained before ATS is on again.
 */
void
iopf_pri_force_off(struct iopf_dev *dev, struct iopf_wait *wait)
{
	struct drain d = { .dev = dev, .answer = true };
	bool drained = iopf_pri_begin_off(dev) == 0 && dev->ats_on && dev_drain(&d, wait) == 0;

	atomic_store(&dev->pri_due, false);
	if (dev->ats_on && ats_disable(dev) == 0)
		dev->ats_on = !drained;
	dev->pri_forced = dev->pri_on;
}

int
iopf_dev_pri_restart(struct iopf_dev *dev)
{
	struct drain d = { .dev = dev };
	struct iopf_wait wait;
	int ret;

	if (dev == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (dev->conf.recover != IOPF_PRI) {
		IOPF_LOG_LIMITED(&dev->log, "%s: iopf_dev_pri_restart(): %s, and there is nothing "
				"to restart; it is for devices of IOPF_PRI", dev->name,
				dev->conf.recover == IOPF_STALL ? "its faults stall" :
				"its faults are aborted");
		return iopf_ret(-EINVAL);
	}
	iopf_dev_lock(dev);
	if (iopf_dev_is_quarantined(dev)) {
		IOPF_LOG_LIMITED(&dev->log, "%s: iopf_dev_pri_restart(): it is quarantined; call "
				"iopf_dev_release()", dev->name);
		pthread_mutex_unlock(&dev->lock);
		return iopf_ret(-EBUSY);
	}
	ret = iopf_dev_is_attached(dev) && iopf_iommu_is_serving(dev->iommu) ?
			iopf_pri_check_usable(dev) : -ENOTCONN;
	iopf_dev_wait_begin(dev, &wait);
	if (ret == 0)
		ret = pri_ats_switch_off(&d, &wait);
	if (ret == 0)
		ret = iopf_pri_switch_on(dev);
	/* Its rate may quarantine it meanwhile: PRI stays off then. */
	if (ret == 0 && !dev->pri_on && iopf_dev_is_quarantined(dev))
		ret = -EBUSY;
	pthread_mutex_unlock(&dev->lock);
	return iopf_ret(ret);
}
