/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attachment.h"
#include "call.h"
#include "dev.h"
#include "iopf_log.h"
#include "iopf_trace.h"
#include "listener.h"
#include "policy.h"
#include "pri.h"

#define MAX_SIDS	65536
#define DEFAULT_WAIT_MS	10000

static int
dev_conf_check(const struct iopf_iommu *iommu, const struct iopf_dev_conf *conf)
{
	const struct iopf_iommu_info *info = &iommu->info;
	const char *name = conf->name != NULL ? conf->name : "device";
	int ret;

	if (conf->sids == NULL || conf->nb_sids == 0) {
		IOPF_LOG(ERR, "%s: %s: set sids and nb_sids", name,
				conf->nb_sids == 0 ? "0 StreamIDs" : "sids is NULL");
		return -EINVAL;
	}
	if (conf->nb_sids > MAX_SIDS) {
		IOPF_LOG(ERR, "%s: %u StreamIDs: use at most %u", name, conf->nb_sids, MAX_SIDS);
		return -EINVAL;
	}
	if ((unsigned int)conf->recover > IOPF_PRI) {
		IOPF_LOG(ERR, "%s: recover is %u: use IOPF_STALL (%d), IOPF_TERMINATE (%d) or "
				"IOPF_PRI (%d)", name, (unsigned int)conf->recover, IOPF_STALL,
				IOPF_TERMINATE, IOPF_PRI);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < conf->nb_sids; i++) {
		if ((uint64_t)conf->sids[i] >> info->sid_bits) {
			IOPF_LOG(ERR, "%s: StreamID %u is out of range; \"%s\" has %u bits: 0 to %"
					PRIu64, name, conf->sids[i], iommu->name, info->sid_bits,
					(UINT64_C(1) << info->sid_bits) - 1);
			return -ERANGE;
		}
	}
	if (conf->nb_pasids != 0 && (info->pasid_bits == 0 ||
			conf->nb_pasids > (UINT32_C(1) << info->pasid_bits))) {
		IOPF_LOG(ERR, "%s: %u PASIDs are too many; \"%s\" has %u PASID bits: use "
				"fewer", name,
				conf->nb_pasids, iommu->name, info->pasid_bits);
		return -ERANGE;
	}
	if (conf->recover == IOPF_STALL && info->max_stalls == 0) {
		IOPF_LOG(ERR, "%s: \"%s\" cannot stall; use IOPF_TERMINATE", name, iommu->name);
		return -ENOTSUP;
	}
	if (conf->recover == IOPF_STALL && conf->ops.retry != NULL) {
		IOPF_LOG(ERR, "%s: the operation retry is for IOPF_TERMINATE; use that, or no "
				"retry", name);
		return -EINVAL;
	}
	if (conf->recover != IOPF_STALL && info->stall_forced) {
		IOPF_LOG(ERR, "%s: \"%s\" can only stall; use IOPF_STALL", name, iommu->name);
		return -ENOTSUP;
	}
	ret = iopf_pri_check_conf(iommu, conf);
	return ret < 0 ? ret : iopf_limits_check_conf(iommu, name, conf);
}

static void
dev_free(struct iopf_dev *dev)
{
	pthread_mutex_destroy(&dev->lock);
	pthread_cond_destroy(&dev->settled);
	free(dev->name);
	free(dev->sids);
	free(dev);
}

static struct iopf_dev *
dev_new(struct iopf_iommu *iommu, const struct iopf_dev_conf *conf)
{
	struct iopf_dev *dev = calloc(1, sizeof(*dev));
	char name[32];

	if (dev == NULL)
		return NULL;
	snprintf(name, sizeof(name), "sid:%u", conf->sids[0]);
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->settled, NULL);
	dev->refs = 1;
	dev->iommu = iommu;
	dev->conf = *conf;
	dev->name = strdup(conf->name != NULL ? conf->name : name);
	dev->sids = malloc(conf->nb_sids * sizeof(dev->sids[0]));
	if (dev->name == NULL || dev->sids == NULL) {
		dev_free(dev);
		return NULL;
	}
	memcpy(dev->sids, conf->sids, conf->nb_sids * sizeof(dev->sids[0]));
	dev->conf.sids = dev->sids;
	dev->conf.name = dev->name;
	iopf_limits_init(&dev->limits, conf->limits);
	dev->conf.limits = &dev->limits.conf;
	dev->share = dev->limits.conf.stalls != 0 ? &dev->limits.share : &iommu->default_share;
	dev->policy.serve = iopf_dev_serve;
	if (conf->pci != NULL) {
		dev->pci = *conf->pci;
		dev->conf.pci = &dev->pci;
	}
	return dev;
}

static void
sids_del(struct iopf_dev *dev, unsigned int n, struct iopf_table_trash *trash)
{
	while (n > 0)
		iopf_table_del(&dev->iommu->sids, dev->sids[--n], trash);
}

/* Before the driver's dev_add: no other device can take the StreamIDs meanwhile. */
static int
sids_add(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	struct iopf_table_trash trash = { NULL, false };
	unsigned int added = 0;
	int ret = 0;

	pthread_mutex_lock(&iommu->lock);
	for (; added < dev->conf.nb_sids && ret == 0; added += ret == 0) {
		struct iopf_dev *owner = iopf_table_find(&iommu->sids, dev->sids[added]);

		ret = iopf_table_add(&iommu->sids, dev->sids[added], dev, &trash);
		if (ret == -EEXIST && owner == dev)
			IOPF_LOG(ERR, "%s: StreamID %u is listed twice: list each StreamID once",
					dev->name, dev->sids[added]);
		else if (ret == -EEXIST)
			IOPF_LOG(ERR, "%s: StreamID %u is another device's: remove the device "
					"\"%s\" that was added before, or use another StreamID",
					dev->name, dev->sids[added], owner->name);
	}
	if (ret < 0)
		sids_del(dev, added, &trash);
	pthread_mutex_unlock(&iommu->lock);
	iopf_table_empty(&trash);
	return ret;
}

static void
sids_remove(struct iopf_dev *dev)
{
	struct iopf_table_trash trash = { NULL, false };

	pthread_mutex_lock(&dev->iommu->lock);
	sids_del(dev, dev->conf.nb_sids, &trash);
	pthread_mutex_unlock(&dev->iommu->lock);
	iopf_table_empty(&trash);
}

/*
 * Add the device to the policy thread, to the table and to the driver. Faults of its StreamIDs are
 * counted as soon as the table has them, and may be past its quarantine_rate. The device's lock
 * keeps the policy thread out until the driver has the device.
 */
static int
dev_register(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	int ret = 0;

	pthread_mutex_lock(&dev->lock);
	if (dev->limits.conf.quarantine_rate != 0)
		ret = iopf_policy_join(&dev->policy);
	if (ret == 0)
		ret = sids_add(dev);
	if (ret == 0) {
		ret = iommu->driver->ops.dev_add(iommu->priv, &dev->conf, &dev->priv);
		if (ret < 0)
			sids_remove(dev);
	}
	dev->deleted = ret < 0;
	pthread_mutex_unlock(&dev->lock);
	/* Without the lock: the policy thread may serve the device, and then finds it deleted. */
	if (ret < 0)
		iopf_policy_leave(&dev->policy);
	return ret;
}

/* The caller holds the IOMMU's lock. True: it was the last reference; free the device. */
static bool
dev_put(struct iopf_dev *dev)
{
	if (--dev->refs != 0)
		return false;
	LIST_REMOVE(dev, next);
	return true;
}

struct iopf_dev *
iopf_dev_next(struct iopf_iommu *iommu, struct iopf_dev *dev)
{
	struct iopf_dev *next;
	bool last = false;

	pthread_mutex_lock(&iommu->lock);
	next = dev == NULL ? LIST_FIRST(&iommu->devs) : LIST_NEXT(dev, next);
	if (next != NULL)
		next->refs++;
	if (dev != NULL)
		last = dev_put(dev);
	pthread_mutex_unlock(&iommu->lock);
	if (last)
		dev_free(dev);
	return next;
}

void
iopf_dev_lock(struct iopf_dev *dev)
{
	/* A hint: the count orders nothing. The other wait is bounded. */
	while (atomic_load_explicit(&dev->nb_state_waits, memory_order_relaxed) != 0)
		dev->iommu->driver->ops.wait(dev->iommu->priv);
	pthread_mutex_lock(&dev->lock);
}

bool
iopf_dev_lock_until(struct iopf_dev *dev, struct iopf_wait *wait)
{
	bool locked, over = false;

	atomic_fetch_add_explicit(&dev->nb_state_waits, 1, memory_order_relaxed);
	while (!(locked = pthread_mutex_trylock(&dev->lock) == 0) && !over) {
		dev->iommu->driver->ops.wait(dev->iommu->priv);
		/* The lock is tried once more: this thread may not have run for the time. */
		over = iopf_wait_is_over(wait);
	}
	atomic_fetch_sub_explicit(&dev->nb_state_waits, 1, memory_order_relaxed);
	return locked;
}

uint64_t
iopf_dev_wait_cycles(const struct iopf_dev *dev)
{
	uint64_t ms = dev->conf.wait_ms != 0 ? dev->conf.wait_ms : DEFAULT_WAIT_MS;

	return rte_get_tsc_hz() / 1000 * ms;
}

struct iopf_dev *
iopf_dev_add(struct iopf_iommu *iommu, const struct iopf_dev_conf *conf)
{
	struct iopf_dev *dev = NULL;
	int ret;

	if (iommu == NULL || conf == NULL)
		return iopf_ret_null();
	if (iopf_self.in_handler || iopf_self.in_fast) {
		rte_errno = EDEADLK;
		return NULL;
	}
	ret = dev_conf_check(iommu, conf);
	if (ret < 0)
		goto fail;
	dev = dev_new(iommu, conf);
	if (dev == NULL) {
		ret = -ENOMEM;
		goto fail;
	}
	ret = dev_register(dev);
	if (ret < 0) {
		dev_free(dev);
		goto fail;
	}
	pthread_mutex_lock(&iommu->lock);
	LIST_INSERT_HEAD(&iommu->devs, dev, next);
	pthread_mutex_unlock(&iommu->lock);
	return dev;
fail:
	rte_errno = -ret;
	return NULL;
}

/* The caller holds the device's lock. */
static int
dev_detach_all(struct iopf_dev *dev)
{
	struct iopf_attachment *attachment;

	while ((attachment = LIST_FIRST(&dev->attachments)) != NULL) {
		uint32_t pasid = attachment->pasid;
		int ret;

		if (iopf_attachment_is_in_use(attachment)) {
			ret = iopf_attachment_wait(attachment);
			if (ret < 0)
				return ret;
			continue;
		}
		ret = iopf_attachment_detach(attachment);
		iopf_trace_detach(dev->iommu->id, dev->sids[0], pasid, ret);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* The device is deleted: no callback of it is called any more, but one may not have returned. */
static int
dev_wait_callback(const struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	struct iopf_wait wait;

	iopf_dev_wait_begin(dev, &wait);
	while (iopf_policy_is_busy(&dev->policy)) {
		if (iopf_wait_is_over(&wait)) {
			IOPF_LOG(ERR, "%s: its callback quarantined has not returned within "
					"wait_ms: have it return, then remove the device again",
					dev->name);
			return -ETIMEDOUT;
		}
		iommu->driver->ops.wait(iommu->priv);
	}
	return 0;
}

int
iopf_dev_remove(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu;
	bool last;
	int ret;

	if (dev == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	iommu = dev->iommu;
	iopf_dev_lock(dev);
	ret = dev_detach_all(dev);
	if (ret == 0 && !dev->deleted) {
		ret = iommu->driver->ops.dev_del(iommu->priv, dev->priv);
		dev->deleted = ret == 0;
	}
	if (ret == 0)
		ret = iopf_iommu_fence(iommu, iopf_dev_wait_cycles(dev));
	dev->removed = ret == 0;
	pthread_mutex_unlock(&dev->lock);
	if (ret == 0)
		ret = dev_wait_callback(dev);
	if (ret < 0)
		return iopf_ret(ret);
	iopf_policy_leave(&dev->policy);
	iopf_dev_drop_uses(dev);
	sids_remove(dev);
	iopf_listeners_end(iommu, dev);
	pthread_mutex_lock(&iommu->lock);
	last = dev_put(dev);
	pthread_mutex_unlock(&iommu->lock);
	/* Otherwise a start or stop has a reference, and frees the device in iopf_dev_next(). */
	if (last)
		dev_free(dev);
	return 0;
}

const char *
iopf_dev_name(const struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_ret_null();
	return dev->name;
}

struct iopf_iommu *
iopf_dev_iommu(const struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_ret_null();
	return dev->iommu;
}

void *
iopf_dev_handle(const struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_ret_null();
	return dev->priv;
}

void *
iopf_dev_ctx(const struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_ret_null();
	return dev->conf.ctx;
}
