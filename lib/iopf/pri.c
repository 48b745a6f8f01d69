/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * ATS and PRI of devices, and the budget of page requests. The IOMMU's lock is held.
 *
 * On: the driver has allowed ATS (its attach), then ATS at the device, then PRI. Off:
 * PRI at the device, what it still waits for is answered, ATS, and only then the
 * driver forbids it. A device's share of the budget is its own from the first attach
 * to the last detach, so that a stop and a start do not lose it.
 */

#include <errno.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "iopf_private.h"

#define DEFAULT_REQUESTS	32
/* Until a device has drained that was told to ask for nothing more. */
#define DRAIN_MS		1000

int
iopf_pri_check(const struct iopf_iommu *iommu, const struct iopf_dev_conf *conf)
{
	const struct iopf_dev_ops *ops = &conf->ops;
	const char *name = conf->name != NULL ? conf->name : "device";

	if (conf->recover != IOPF_PRI) {
		if (conf->pri_requests == 0 && !conf->pri_overcommit && !conf->prg_pasid)
			return 0;
		IOPF_LOG(ERR, "%s: page requests are configured, but it recovers another way; use "
				"IOPF_PRI", name);
		return -EINVAL;
	}
	if (iommu->info.request_queue_size == 0) {
		IOPF_LOG(ERR, "%s: \"%s\" has no page requests; use IOPF_TERMINATE", name,
				iommu->name);
		return -ENOTSUP;
	}
	if (ops->ats_enable == NULL || ops->ats_disable == NULL || ops->pri_enable == NULL ||
			ops->pri_disable == NULL || ops->pri_drained == NULL ||
			ops->retry != NULL) {
		IOPF_LOG(ERR, "%s: IOPF_PRI needs the operations ats_enable, ats_disable, "
				"pri_enable, pri_disable and pri_drained, and no retry", name);
		return -EINVAL;
	}
	if (conf->pri_requests > iommu->info.max_requests && !conf->pri_overcommit) {
		IOPF_LOG(ERR, "%s: %u page requests do not fit; \"%s\" has %u for all devices: "
				"ask for less, for a larger request_queue_size, or for pri_overcommit",
				name, conf->pri_requests, iommu->name, iommu->info.max_requests);
		return -ERANGE;
	}
	return 0;
}

static uint32_t
wanted(const struct iopf_dev *dev)
{
	return dev->conf.pri_requests != 0 ? dev->conf.pri_requests : DEFAULT_REQUESTS;
}

int
iopf_pri_reserve(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	uint32_t granted = atomic_load_explicit(&iommu->granted, memory_order_relaxed);
	uint32_t left = iommu->info.max_requests - RTE_MIN(granted, iommu->info.max_requests);

	if (dev->conf.recover != IOPF_PRI || dev->granted != 0)
		return 0;
	if (wanted(dev) > left && !dev->conf.pri_overcommit) {
		IOPF_LOG(ERR, "%s: %u page requests are more than the %u left of \"%s\"'s %u: ask "
				"for less, for a larger request_queue_size, or for pri_overcommit",
				dev->name, wanted(dev), left, iommu->name,
				iommu->info.max_requests);
		return -ENOSPC;
	}
	if (UINT32_MAX - granted < wanted(dev))
		return -ENOSPC;
	dev->granted = wanted(dev);
	atomic_store_explicit(&iommu->granted, granted + dev->granted, memory_order_relaxed);
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
	return atomic_load_explicit(&iommu->granted, memory_order_relaxed);
}

static bool
serves(const struct iopf_iommu *iommu)
{
	return atomic_load(&iommu->started) && !atomic_load(&iommu->dead);
}

static int
failed(const struct iopf_dev *dev, const char *op, int ret)
{
	IOPF_LOG(ERR, "%s: its operation %s returned %d", dev->name, op, ret);
	return ret;
}

/* The smallest page of the IOMMU is the smallest that is ever invalidated. */
static unsigned int
stu(const struct iopf_iommu *iommu)
{
	return iommu->info.granules != 0 ? rte_bsf32(iommu->info.granules) : 12;
}

int
iopf_pri_up(struct iopf_dev *dev)
{
	const struct iopf_dev_ops *ops = &dev->conf.ops;
	void *ctx = dev->conf.ctx;
	int ret;

	if (dev->conf.recover != IOPF_PRI || dev->ats_on || !serves(dev->iommu))
		return 0;
	ret = ops->ats_enable(dev, stu(dev->iommu), ctx);
	if (ret < 0)
		return failed(dev, "ats_enable", ret);
	ret = ops->pri_enable(dev, dev->granted, ctx);
	if (ret < 0) {
		ops->ats_disable(dev, ctx);
		return failed(dev, "pri_enable", ret);
	}
	dev->ats_on = true;
	dev->pri_on = true;
	return 0;
}

/* Answer whatever of the device's waits for an answer. */
static void
answer_pending(struct iopf_dev *dev)
{
	struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next)
		iopf_queue_cancel(&dev->iommu->queues[IOPF_QUEUE_REQUESTS], attachment,
				IOPF_CANCEL_DETACH);
}

static int
drain(struct iopf_dev *dev, bool answer)
{
	struct iopf_iommu *iommu = dev->iommu;
	uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * DRAIN_MS;

	while (!dev->conf.ops.pri_drained(dev, dev->conf.ctx)) {
		if (!serves(iommu))
			return 0;
		if ((int64_t)(rte_rdtsc() - end) >= 0) {
			IOPF_LOG(ERR, "%s: does not drain: a page request group of it has no "
					"answer after %u ms, and may have lost its Last; PRI is "
					"off now; reset the device and try again", dev->name,
					DRAIN_MS);
			return -ETIMEDOUT;
		}
		iopf_queue_fence(&iommu->queues[IOPF_QUEUE_REQUESTS]);
		if (answer)
			answer_pending(dev);
		iommu->driver->ops.wait(iommu->priv);
	}
	return 0;
}

static int
pri_down(struct iopf_dev *dev, bool answer)
{
	int ret;

	if (dev->pri_on) {
		ret = dev->conf.ops.pri_disable(dev, dev->conf.ctx);
		if (ret < 0)
			return failed(dev, "pri_disable", ret);
		dev->pri_on = false;
	}
	if (!dev->ats_on)
		return 0;
	ret = drain(dev, answer);
	if (ret < 0)
		return ret;
	ret = dev->conf.ops.ats_disable(dev, dev->conf.ctx);
	if (ret < 0)
		return failed(dev, "ats_disable", ret);
	dev->ats_on = false;
	return 0;
}

int
iopf_pri_down(struct iopf_dev *dev)
{
	return pri_down(dev, true);
}

void
iopf_pri_force_down(struct iopf_dev *dev)
{
	if (pri_down(dev, true) == 0)
		return;
	if (dev->ats_on)
		dev->conf.ops.ats_disable(dev, dev->conf.ctx);
	dev->ats_on = false;
	dev->pri_on = false;
}

int
iopf_dev_pri_restart(struct iopf_dev *dev)
{
	int ret = -EINVAL;

	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&dev->iommu->lock);
	if (dev->conf.recover == IOPF_PRI)
		ret = dev->granted != 0 && serves(dev->iommu) ? pri_down(dev, false) : -ENOTCONN;
	if (ret == 0)
		ret = iopf_pri_up(dev);
	pthread_mutex_unlock(&dev->iommu->lock);
	return iopf_ret(ret);
}
