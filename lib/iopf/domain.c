/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iopf_private.h"
#include "iopf_trace.h"

/*
 * Guards nb_attached of all domains, so that one that is being destroyed is not
 * attached; inside it no other lock is taken.
 */
static pthread_mutex_t domains_lock = PTHREAD_MUTEX_INITIALIZER;

struct iopf_domain *
iopf_domain_create(const struct iopf_domain_conf *conf)
{
	static _Atomic unsigned int serial;
	struct iopf_domain *domain;
	char name[32];

	if (conf == NULL)
		return iopf_null();
	if ((conf->deferred != NULL) != (conf->worker != NULL)) {
		IOPF_LOG(ERR, "domain: a deferred handler and a worker go together");
		rte_errno = EINVAL;
		return NULL;
	}
	domain = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*domain), RTE_CACHE_LINE_SIZE));
	if (domain == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(domain, 0, sizeof(*domain));
	domain->conf = *conf;
	snprintf(name, sizeof(name), "domain:%u", atomic_fetch_add(&serial, 1));
	domain->name = strdup(conf->name != NULL ? conf->name : name);
	if (domain->name == NULL) {
		free(domain);
		rte_errno = ENOMEM;
		return NULL;
	}
	pthread_rwlock_init(&domain->lock, NULL);
	if (conf->worker != NULL)
		atomic_fetch_add(&conf->worker->nb_domains, 1);
	return domain;
}

int
iopf_domain_destroy(struct iopf_domain *domain)
{
	bool busy;

	if (domain == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&domains_lock);
	busy = domain->nb_attached != 0;
	pthread_mutex_unlock(&domains_lock);
	if (busy) {
		IOPF_LOG(ERR, "%s is attached; detach it first", domain->name);
		return iopf_ret(-EBUSY);
	}
	if (domain->conf.worker != NULL)
		atomic_fetch_sub(&domain->conf.worker->nb_domains, 1);
	pthread_rwlock_destroy(&domain->lock);
	free(domain->name);
	free(domain);
	return 0;
}

/* The driver's handle of the domain on this IOMMU, made at the first use. */
static int
hw_get(struct iopf_domain *domain, struct iopf_iommu *iommu, void **hw)
{
	int ret = 0;

	pthread_rwlock_wrlock(&domain->lock);
	if (domain->hw[iommu->id].refs == 0)
		ret = iommu->driver->ops.domain_add(iommu->priv, &domain->conf.translation,
				&domain->hw[iommu->id].priv);
	if (ret == 0) {
		domain->hw[iommu->id].refs++;
		*hw = domain->hw[iommu->id].priv;
	}
	pthread_rwlock_unlock(&domain->lock);
	return ret;
}

static void
hw_put(struct iopf_domain *domain, struct iopf_iommu *iommu)
{
	pthread_rwlock_wrlock(&domain->lock);
	if (--domain->hw[iommu->id].refs == 0) {
		iommu->driver->ops.domain_del(iommu->priv, domain->hw[iommu->id].priv);
		domain->hw[iommu->id].priv = NULL;
	}
	pthread_rwlock_unlock(&domain->lock);
}

static void
attached_count(struct iopf_domain *domain, int n)
{
	pthread_mutex_lock(&domains_lock);
	domain->nb_attached += n;
	pthread_mutex_unlock(&domains_lock);
}

/* Each StreamID of the device leads to the attachment. */
static int
table_fill(struct iopf_iommu *iommu, struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;

	for (unsigned int i = 0; i < dev->conf.nb_sids; i++) {
		int ret = iopf_table_add(&iommu->attached,
				iopf_key(dev->sids[i], attachment->pasid), attachment);

		if (ret < 0) {
			while (i-- > 0)
				iopf_table_del(&iommu->attached,
						iopf_key(dev->sids[i], attachment->pasid));
			return ret;
		}
	}
	return 0;
}

static void
table_clear(struct iopf_iommu *iommu, struct iopf_attachment *attachment)
{
	for (unsigned int i = 0; i < attachment->dev->conf.nb_sids; i++)
		iopf_table_del(&iommu->attached,
				iopf_key(attachment->dev->sids[i], attachment->pasid));
}

/* What is outstanding is answered, and nobody holds any of it. */
static void
settle_faults(struct iopf_iommu *iommu, struct iopf_attachment *attachment)
{
	bool dead = atomic_load(&iommu->dead) || !atomic_load(&iommu->started);

	for (unsigned int i = 0; i < iommu->info.nb_queues; i++) {
		struct iopf_queue *q = &iommu->queues[i];

		while (iopf_queue_cancel(q, attachment, dead ? IOPF_CANCEL_TERMINATED :
				IOPF_CANCEL_DETACH) != 0)
			iommu->driver->ops.wait(iommu->priv);
	}
	/* Passes and responders that had claimed one have sent its answer. */
	iopf_rcu_synchronize();
}

static struct iopf_attachment *
find_attachment(const struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next)
		if (attachment->pasid == pasid)
			break;
	return attachment;
}

/* No access succeeds any more, and nobody finds the domain. */
static int
cut(struct iopf_iommu *iommu, struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	int ret;

	/* An IOMMU that can only stall must not be asked to end what still arrives. */
	if (iommu->info.stall_forced && dev->conf.ops.quiesce != NULL) {
		ret = dev->conf.ops.quiesce(dev, dev->conf.ctx);
		if (ret < 0)
			return ret;
	}
	attachment->cut = true;
	/* ATS is off at the device before the IOMMU forbids it. */
	ret = iopf_dev_attached(dev) ? 0 : iopf_pri_down(dev);
	if (ret == 0)
		ret = iommu->driver->ops.detach(iommu->priv, attachment->priv);
	if (ret < 0) {
		attachment->cut = false;
		return ret;
	}
	if (atomic_load(&iommu->started) && !atomic_load(&iommu->dead))
		for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
			iopf_queue_fence(&iommu->queues[i]);
	table_clear(iommu, attachment);
	return 0;
}

int
iopf_domain_attach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_iommu *iommu;
	struct iopf_attachment *attachment;
	int ret;

	if (domain == NULL || dev == NULL)
		return iopf_ret(-EINVAL);
	iommu = dev->iommu;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (pasid != IOPF_NO_PASID && pasid >= dev->conf.nb_pasids) {
		IOPF_LOG(ERR, "%s: PASID %u is out of range; the device was added with %u PASIDs",
				dev->name, pasid, dev->conf.nb_pasids);
		return iopf_ret(-ERANGE);
	}
	attachment = calloc(1, sizeof(*attachment));
	if (attachment == NULL)
		return iopf_ret(-ENOMEM);
	attachment->dev = dev;
	attachment->domain = domain;
	attachment->pasid = pasid;

	pthread_mutex_lock(&iommu->lock);
	ret = find_attachment(dev, pasid) != NULL ? -EEXIST : iopf_pri_reserve(dev);
	if (ret < 0)
		goto unlock;
	ret = hw_get(domain, iommu, &attachment->hw);
	if (ret < 0)
		goto release;
	/* Before the IOMMU knows: its first fault must find the domain. */
	ret = table_fill(iommu, attachment);
	if (ret < 0)
		goto put;
	ret = iommu->driver->ops.attach(iommu->priv, dev->priv, pasid, attachment->hw,
			&attachment->priv);
	if (ret == 0) {
		ret = iopf_pri_up(dev);
		if (ret < 0)
			iommu->driver->ops.detach(iommu->priv, attachment->priv);
	}
	if (ret < 0) {
		table_clear(iommu, attachment);
		settle_faults(iommu, attachment);
		goto put;
	}
	LIST_INSERT_HEAD(&dev->attachments, attachment, next);
	attached_count(domain, 1);
	if (domain->conf.deadline_ms != 0)
		atomic_fetch_add(&iommu->nb_deadlines, 1);
	goto unlock;
put:
	hw_put(domain, iommu);
release:
	if (LIST_EMPTY(&dev->attachments))
		iopf_pri_release(dev);
unlock:
	pthread_mutex_unlock(&iommu->lock);
	iopf_trace_attach(iommu->id, dev->sids[0], pasid, ret);
	if (ret < 0)
		free(attachment);
	return iopf_ret(ret);
}

int
iopf_domain_detach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_iommu *iommu;
	struct iopf_attachment *attachment;
	int ret = 0;

	if (domain == NULL || dev == NULL)
		return iopf_ret(-EINVAL);
	iommu = dev->iommu;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&iommu->lock);
	attachment = find_attachment(dev, pasid);
	if (attachment == NULL || attachment->domain != domain)
		goto unlock;
	if (!attachment->cut)
		ret = cut(iommu, attachment);
	if (ret == 0)
		ret = iopf_pri_drain_pasid(attachment);
	if (ret < 0)
		goto unlock;
	settle_faults(iommu, attachment);

	LIST_REMOVE(attachment, next);
	if (LIST_EMPTY(&dev->attachments))
		iopf_pri_release(dev);
	if (domain->conf.deadline_ms != 0)
		atomic_fetch_sub(&iommu->nb_deadlines, 1);
	hw_put(domain, iommu);
	attached_count(domain, -1);
	free(attachment);
unlock:
	pthread_mutex_unlock(&iommu->lock);
	iopf_trace_detach(iommu->id, dev->sids[0], pasid, ret);
	return iopf_ret(ret);
}

int
iopf_invalidate(struct iopf_domain *domain, const struct iopf_inv *inv, unsigned int n,
		unsigned int *done)
{
	unsigned int least = n;
	int ret = 0;

	if (done != NULL)
		*done = 0;
	if (domain == NULL || (inv == NULL && n != 0))
		return iopf_ret(-EINVAL);
	if (iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	for (unsigned int i = 0; i < n; i++) {
		if (!iopf_inv_ok(&inv[i])) {
			IOPF_LOG(ERR, "%s: invalidation %u of %u, %#" PRIx64 " + %#" PRIx64
					": addresses and sizes are multiples of 4096, not 0",
					domain->name, i, n, inv[i].addr, inv[i].size);
			return iopf_ret(-EINVAL);
		}
	}
	/* The handles stay while the lock is held; attach and detach take it but briefly. */
	pthread_rwlock_rdlock(&domain->lock);
	for (unsigned int i = 0; i < IOPF_MAX_IOMMUS; i++) {
		struct iopf_iommu *iommu = iopf_iommu_get(i);
		unsigned int here = 0;
		int err;

		/*
		 * Also while it starts or stops: whether it still translates is known to the
		 * driver alone.
		 */
		if (domain->hw[i].refs == 0 || iommu == NULL)
			continue;
		err = iommu->driver->ops.invalidate(iommu->priv, domain->hw[i].priv, inv, n, &here);
		if (err < 0) {
			least = RTE_MIN(least, here);
			ret = ret == 0 ? err : ret;
		}
	}
	pthread_rwlock_unlock(&domain->lock);
	if (done != NULL)
		*done = least;
	iopf_trace_invalidate(n, least, ret);
	return iopf_ret(ret);
}

int
iopf_quiesce(void)
{
	if (iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	iopf_rcu_synchronize();
	return 0;
}

void *
iopf_domain_ctx(const struct iopf_domain *domain)
{
	if (domain == NULL)
		return iopf_null();
	return domain->conf.ctx;
}

const char *
iopf_domain_name(const struct iopf_domain *domain)
{
	if (domain == NULL)
		return iopf_null();
	return domain->name;
}
