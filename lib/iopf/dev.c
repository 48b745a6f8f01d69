/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iopf_private.h"

#define MAX_SIDS 65536

static int
dev_check(const struct iopf_iommu *iommu, const struct iopf_dev_conf *conf)
{
	const struct iopf_iommu_info *info = &iommu->info;
	const char *name = conf->name != NULL ? conf->name : "device";

	if (conf->sids == NULL || conf->nb_sids == 0 || conf->nb_sids > MAX_SIDS ||
			(unsigned int)conf->recover > IOPF_PRI) {
		IOPF_LOG(ERR, "%s: needs 1 to %u StreamIDs, and IOPF_STALL, IOPF_TERMINATE or "
				"IOPF_PRI", name, MAX_SIDS);
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
		IOPF_LOG(ERR, "%s: %u PASIDs do not fit; \"%s\" has %u PASID bits", name,
				conf->nb_pasids, iommu->name, info->pasid_bits);
		return -ERANGE;
	}
	if (conf->recover == IOPF_STALL && info->max_stalls == 0) {
		IOPF_LOG(ERR, "%s: \"%s\" cannot stall; use IOPF_TERMINATE", name, iommu->name);
		return -ENOTSUP;
	}
	if (conf->recover == IOPF_STALL && conf->ops.retry != NULL) {
		IOPF_LOG(ERR, "%s: its accesses stall, so there is nothing to retry; use "
				"IOPF_TERMINATE or no retry", name);
		return -EINVAL;
	}
	if (conf->recover != IOPF_STALL && info->stall_forced) {
		IOPF_LOG(ERR, "%s: \"%s\" can only stall; use IOPF_STALL", name, iommu->name);
		return -ENOTSUP;
	}
	return iopf_pri_check(iommu, conf);
}

static void
dev_free(struct iopf_dev *dev)
{
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
	return dev;
}

struct iopf_dev *
iopf_dev_add(struct iopf_iommu *iommu, const struct iopf_dev_conf *conf)
{
	struct iopf_dev *dev = NULL;
	unsigned int added = 0;
	int ret;

	if (iommu == NULL || conf == NULL)
		return iopf_null();
	if (iopf_self.in_handler || iopf_self.in_fast) {
		rte_errno = EDEADLK;
		return NULL;
	}
	ret = dev_check(iommu, conf);
	if (ret < 0)
		goto fail;
	dev = dev_new(iommu, conf);
	if (dev == NULL) {
		ret = -ENOMEM;
		goto fail;
	}
	pthread_mutex_lock(&iommu->lock);
	for (ret = 0; added < conf->nb_sids && ret == 0; added += ret == 0) {
		struct iopf_dev *owner = iopf_table_find(&iommu->sids, dev->sids[added]);

		ret = iopf_table_add(&iommu->sids, dev->sids[added], dev);
		if (ret == -EEXIST)
			IOPF_LOG(ERR, "%s: StreamID %u is %s", dev->name, dev->sids[added],
					owner == dev ? "there twice" : "another device's");
	}
	if (ret == 0)
		ret = iommu->driver->ops.dev_add(iommu->priv, &dev->conf, &dev->priv);
	if (ret == 0)
		LIST_INSERT_HEAD(&iommu->devs, dev, next);
	else
		while (added > 0)
			iopf_table_del(&iommu->sids, dev->sids[--added]);
	pthread_mutex_unlock(&iommu->lock);
	if (ret == 0)
		return dev;
	dev_free(dev);
fail:
	rte_errno = -ret;
	return NULL;
}

int
iopf_dev_remove(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu;
	int ret;

	if (dev == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	iommu = dev->iommu;
	for (;;) {
		struct iopf_attachment *attachment;
		struct iopf_domain *domain = NULL;
		uint32_t pasid = 0;

		pthread_mutex_lock(&iommu->lock);
		attachment = LIST_FIRST(&dev->attachments);
		if (attachment != NULL) {
			domain = attachment->domain;
			pasid = attachment->pasid;
		}
		pthread_mutex_unlock(&iommu->lock);
		if (domain == NULL)
			break;
		ret = iopf_domain_detach(domain, dev, pasid);
		if (ret < 0)
			return ret;
	}
	pthread_mutex_lock(&iommu->lock);
	ret = iommu->driver->ops.dev_del(iommu->priv, dev->priv);
	if (ret < 0) {
		pthread_mutex_unlock(&iommu->lock);
		return iopf_ret(ret);
	}
	if (atomic_load(&iommu->started) && !atomic_load(&iommu->dead))
		for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
			iopf_queue_fence(&iommu->queues[i]);
	for (unsigned int i = 0; i < dev->conf.nb_sids; i++)
		iopf_table_del(&iommu->sids, dev->sids[i]);
	LIST_REMOVE(dev, next);
	pthread_mutex_unlock(&iommu->lock);
	dev_free(dev);
	return 0;
}

const char *
iopf_dev_name(const struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_null();
	return dev->name;
}

struct iopf_iommu *
iopf_dev_iommu(const struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_null();
	return dev->iommu;
}

void *
iopf_dev_ctx(const struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_null();
	return dev->conf.ctx;
}
