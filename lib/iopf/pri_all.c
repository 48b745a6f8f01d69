/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ATS and PRI of all devices of an IOMMU, for its start, stop, suspend and resume. */

#include <errno.h>

#include <rte_cycles.h>

#include "iopf_log.h"
#include "pri.h"

/* False: no PRI, removed meanwhile, or another control call has its lock for too long. */
static bool
pri_dev_lock(struct iopf_dev *dev, struct iopf_wait *wait)
{
	if (dev->conf.recover != IOPF_PRI)
		return false;
	if (!iopf_dev_lock_until(dev, wait)) {
		IOPF_LOG(ERR, "%s: another control call of the device takes too long, so its PRI "
				"stays as it is; call iopf_dev_pri_restart() after the next start",
				dev->name);
		return false;
	}
	if (!dev->removed)
		return true;
	pthread_mutex_unlock(&dev->lock);
	return false;
}

static void
all_devs_wait_begin(struct iopf_wait *wait)
{
	iopf_wait_begin(wait, rte_get_tsc_hz() / 1000 * IOPF_PRI_ALL_MS);
}

/* A device that fails does not prevent the start of the others. */
static void
dev_switch_on(struct iopf_dev *dev)
{
	if (!iopf_dev_is_attached(dev))
		return;
	/* The check says by itself what to do. */
	if (iopf_pri_check_usable(dev) < 0)
		atomic_store(&dev->pri_due, false);
	else if (iopf_pri_switch_on(dev) < 0)
		IOPF_LOG(ERR, "%s: starts without page requests; repair or reset the device, then "
				"call iopf_dev_pri_restart()", dev->name);
}

void
iopf_pri_switch_on_all(struct iopf_iommu *iommu)
{
	struct iopf_dev *dev = NULL;
	struct iopf_wait wait;

	all_devs_wait_begin(&wait);
	while ((dev = iopf_dev_next(iommu, dev)) != NULL) {
		if (!pri_dev_lock(dev, &wait))
			continue;
		dev_switch_on(dev);
		pthread_mutex_unlock(&dev->lock);
	}
}

bool
iopf_pri_switch_on_due(struct iopf_iommu *iommu)
{
	struct iopf_dev *dev = NULL;
	bool due = false;

	while ((dev = iopf_dev_next(iommu, dev)) != NULL) {
		if (!atomic_load(&dev->pri_due))
			continue;
		/* The next call comes soon. */
		if (pthread_mutex_trylock(&dev->lock) != 0) {
			due = true;
			continue;
		}
		if (!dev->removed)
			dev_switch_on(dev);
		due |= atomic_load(&dev->pri_due);
		pthread_mutex_unlock(&dev->lock);
	}
	return due;
}

/* PRI goes off at all devices before the wait for the first of them. */
void
iopf_pri_switch_off_all(struct iopf_iommu *iommu)
{
	struct iopf_dev *dev = NULL;
	struct iopf_wait wait;

	all_devs_wait_begin(&wait);
	while ((dev = iopf_dev_next(iommu, dev)) != NULL) {
		if (!pri_dev_lock(dev, &wait))
			continue;
		iopf_pri_begin_off(dev);
		pthread_mutex_unlock(&dev->lock);
	}
	while ((dev = iopf_dev_next(iommu, dev)) != NULL) {
		if (!pri_dev_lock(dev, &wait))
			continue;
		/* The IOMMU stops even if a device does not drain. */
		iopf_pri_force_off(dev, &wait);
		pthread_mutex_unlock(&dev->lock);
	}
}

static int
dev_rest(struct iopf_dev *dev, struct iopf_wait *wait)
{
	int ret = 0;

	if (!iopf_dev_lock_until(dev, wait))
		return -EBUSY;
	if (!dev->removed)
		ret = iopf_pri_rest(dev, wait);
	pthread_mutex_unlock(&dev->lock);
	return ret;
}

int
iopf_pri_rest_all(struct iopf_iommu *iommu)
{
	struct iopf_dev *dev = NULL;
	struct iopf_wait wait;
	int ret = 0;

	all_devs_wait_begin(&wait);
	/* To the end of the list in any case: each step drops a reference. */
	while ((dev = iopf_dev_next(iommu, dev)) != NULL)
		if (ret == 0 && dev->conf.recover == IOPF_PRI)
			ret = dev_rest(dev, &wait);
	return ret;
}
