/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iopf_private.h"
#include "iopf_trace.h"

/* Guards nb_attached of all domains, so that one that is being attached is not destroyed. */
static pthread_mutex_t domains_lock = PTHREAD_MUTEX_INITIALIZER;

struct iopf_domain *
iopf_domain_create(const struct iopf_domain_conf *conf)
{
	static _Atomic unsigned int serial;
	struct iopf_domain *domain;
	char name[32];

	if (conf == NULL)
		return iopf_ret_null();
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
	pthread_mutex_init(&domain->lock, NULL);
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
	pthread_mutex_destroy(&domain->lock);
	free(domain->name);
	free(domain);
	return 0;
}

/* The driver's handle of the domain on this IOMMU, made at the first use. */
static int
handle_get(struct iopf_domain *domain, struct iopf_iommu *iommu, void **priv)
{
	struct iopf_hw *hw;
	int ret = 0;

	pthread_mutex_lock(&domain->lock);
	hw = atomic_load_explicit(&domain->hw[iommu->id], memory_order_relaxed);
	if (hw == NULL) {
		hw = calloc(1, sizeof(*hw));
		if (hw == NULL) {
			ret = -ENOMEM;
			goto unlock;
		}
		hw->iommu = iommu;
		ret = iommu->driver->ops.domain_add(iommu->priv, &domain->conf.translation,
				&hw->priv);
		if (ret < 0) {
			free(hw);
			goto unlock;
		}
		atomic_store(&domain->hw[iommu->id], hw);
	}
	hw->refs++;
	*priv = hw->priv;
unlock:
	pthread_mutex_unlock(&domain->lock);
	return ret;
}

/* Waits for the invalidations that are under way on this handle, and no later ones. */
static void
handle_put(struct iopf_domain *domain, struct iopf_iommu *iommu)
{
	struct iopf_hw *hw;
	bool last;

	pthread_mutex_lock(&domain->lock);
	hw = atomic_load_explicit(&domain->hw[iommu->id], memory_order_relaxed);
	last = --hw->refs == 0;
	if (last)
		atomic_store(&domain->hw[iommu->id], NULL);
	pthread_mutex_unlock(&domain->lock);
	if (!last)
		return;
	iopf_hazard_wait(hw);
	iommu->driver->ops.domain_del(iommu->priv, hw->priv);
	free(hw);
}

static void
domain_count_attached(struct iopf_domain *domain, int n)
{
	pthread_mutex_lock(&domains_lock);
	domain->nb_attached += n;
	pthread_mutex_unlock(&domains_lock);
}

static struct iopf_attachment *
attachment_find(const struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next)
		if (attachment->pasid == pasid)
			break;
	return attachment;
}

/* No fault finds the attachment any more, once the trash is empty. */
static void
attachment_unpublish(struct iopf_attachment *attachment, unsigned int nb_sids,
		struct iopf_table_trash *trash)
{
	struct iopf_dev *dev = attachment->dev;

	for (unsigned int i = 0; i < nb_sids; i++)
		iopf_table_del(&dev->iommu->attached,
				iopf_attachment_key(dev->sids[i], attachment->pasid), trash);
}

/* Each StreamID of the device leads to the attachment, which is the device's. */
static int
attachment_publish(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	struct iopf_table_trash trash = { NULL, NULL };
	unsigned int i;
	int ret = 0;

	pthread_mutex_lock(&iommu->lock);
	for (i = 0; i < dev->conf.nb_sids && ret == 0; i += ret == 0)
		ret = iopf_table_add(&iommu->attached,
				iopf_attachment_key(dev->sids[i], attachment->pasid),
				attachment, &trash);
	if (ret < 0) {
		attachment_unpublish(attachment, i, &trash);
	} else {
		if (LIST_EMPTY(&dev->attachments))
			atomic_fetch_add(&iommu->nb_attached, 1);
		LIST_INSERT_HEAD(&dev->attachments, attachment, next);
	}
	pthread_mutex_unlock(&iommu->lock);
	iopf_table_empty(&trash);
	if (ret == 0 && attachment->domain->conf.deadline_ms != 0)
		atomic_fetch_add(&iommu->nb_deadlines, 1);
	return ret;
}

/* No queue and no handler has anything of it any more. */
static void
attachment_release(struct iopf_attachment *attachment)
{
	struct iopf_domain *domain = attachment->domain;
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;

	pthread_mutex_lock(&iommu->lock);
	LIST_REMOVE(attachment, next);
	if (LIST_EMPTY(&dev->attachments)) {
		iopf_pri_release(dev);
		atomic_fetch_sub(&iommu->nb_attached, 1);
	}
	pthread_mutex_unlock(&iommu->lock);
	if (domain->conf.deadline_ms != 0)
		atomic_fetch_sub(&iommu->nb_deadlines, 1);
	handle_put(domain, iommu);
	domain_count_attached(domain, -1);
	free(attachment);
}

/* The next step of the application, after an error of a detach, or of the undo of an attach. */
static const char *
next_step(const struct iopf_attachment *attachment)
{
	return attachment->undo ? "the attach failed; the device's next attach, detach or removal "
			"tries this again" : "detach it, or remove the device, again";
}

/* The driver lets go: no access succeeds or stalls any more. */
static int
attachment_cut(struct iopf_attachment *attachment, uint64_t end)
{
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	uint32_t was = attachment->state;
	char pasid[IOPF_PASID_TEXT];
	int ret;

	/* An IOMMU that can only stall must not be asked to end what still arrives. */
	if (iommu->info.stall_forced && dev->conf.ops.quiesce != NULL) {
		ret = dev->conf.ops.quiesce(dev, dev->conf.ctx);
		if (ret < 0)
			return ret;
	}
	attachment->state = IOPF_CUT;
	/* ATS is off at the device before the IOMMU forbids it. */
	ret = iopf_dev_is_attached(dev) ? 0 : iopf_pri_switch_off(dev, end);
	if (ret < 0) {
		/* The driver was not asked yet: all is as before, but for PRI. */
		attachment->state = was;
		return ret;
	}
	if (attachment->priv != NULL)
		ret = iommu->driver->ops.detach(iommu->priv, attachment->priv);
	if (ret < 0) {
		IOPF_LOG(ERR, "%s: the driver could not detach %s (%s); its accesses are not "
				"served, and nothing of it is released: %s", dev->name,
				iopf_pasid_text(pasid, attachment->pasid), strerror(-ret),
				next_step(attachment));
		return ret;
	}
	attachment->priv = NULL;
	attachment->state = IOPF_DRAINING;
	return 0;
}

/* What the queues held of it is read, and no fault finds it any more. */
static int
attachment_drain(struct iopf_attachment *attachment, uint64_t end)
{
	struct iopf_iommu *iommu = attachment->dev->iommu;
	struct iopf_table_trash trash = { NULL, NULL };
	int ret;

	ret = iopf_iommu_fence(iommu, end);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&iommu->lock);
	attachment_unpublish(attachment, attachment->dev->conf.nb_sids, &trash);
	pthread_mutex_unlock(&iommu->lock);
	iopf_table_empty(&trash);
	return iopf_pri_drain_pasid(attachment, end);
}

/* What is outstanding is answered, and no handler has any of it. Without the device's lock. */
static int
attachment_answer_faults(struct iopf_attachment *attachment, uint64_t end)
{
	struct iopf_iommu *iommu = attachment->dev->iommu;
	unsigned int held;

	for (;;) {
		enum iopf_cancel why = iopf_iommu_is_serving(iommu) ? IOPF_CANCEL_DETACH :
				IOPF_CANCEL_TERMINATED;

		held = 0;
		for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
			held += iopf_queue_cancel(&iommu->queues[i], attachment, why);
		if (held == 0)
			break;
		if (iopf_wait_is_over(end)) {
			IOPF_LOG(ERR, "%s: handlers of %s have had %u of its faults for too long; "
					"these are answered, its accesses abort, and it stays "
					"attached: have the handlers return; %s",
					attachment->dev->name, attachment->domain->name, held,
					next_step(attachment));
			return -ETIMEDOUT;
		}
		iommu->driver->ops.wait(iommu->priv);
	}
	/* Passes and responders that had claimed one have sent its answer. */
	iopf_rcu_synchronize();
	return 0;
}

int
iopf_attachment_detach(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	uint64_t end = iopf_dev_wait_end(dev);
	int ret = 0;

	if (attachment->state != IOPF_DRAINING)
		ret = attachment_cut(attachment, end);
	if (ret == 0)
		ret = attachment_drain(attachment, end);
	if (ret < 0)
		return ret;
	/* Handlers may be slow; the device's other PASIDs need not wait for them. */
	attachment->busy = true;
	pthread_mutex_unlock(&dev->lock);
	ret = attachment_answer_faults(attachment, end);
	pthread_mutex_lock(&dev->lock);
	attachment->busy = false;
	pthread_cond_broadcast(&dev->settled);
	if (ret == 0)
		attachment_release(attachment);
	return ret;
}

/* What attaches that failed have left. */
static void
failed_attaches_undo(struct iopf_dev *dev)
{
	struct iopf_attachment *attachment;

again:
	LIST_FOREACH(attachment, &dev->attachments, next) {
		if (!attachment->undo || attachment->busy)
			continue;
		if (iopf_attachment_detach(attachment) < 0)
			return;
		/* The list may be another. */
		goto again;
	}
}

/* The device's lock is held. After an error the attachment is freed, or left for its undo. */
static int
attachment_attach(struct iopf_attachment *attachment)
{
	struct iopf_domain *domain = attachment->domain;
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	int ret;

	pthread_mutex_lock(&iommu->lock);
	ret = iopf_pri_reserve(dev);
	pthread_mutex_unlock(&iommu->lock);
	if (ret < 0)
		goto fail;
	ret = handle_get(domain, iommu, &attachment->hw);
	if (ret < 0)
		goto fail;
	/* Before the IOMMU knows: its first fault must find the domain. */
	ret = attachment_publish(attachment);
	if (ret < 0) {
		handle_put(domain, iommu);
		goto fail;
	}
	/*
	 * The handle was published before the IOMMU walks the domain's tables. With the barrier
	 * in iopf_invalidate(): either the IOMMU sees a change of the tables, or the thread that
	 * made it sees the handle.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	ret = iommu->driver->ops.attach(iommu->priv, dev->priv, attachment->pasid, attachment->hw,
			&attachment->priv);
	if (ret == 0)
		ret = iopf_pri_switch_on(dev);
	if (ret < 0) {
		attachment->undo = true;
		if (iopf_attachment_detach(attachment) < 0)
			IOPF_LOG(ERR, "%s: attaching %s failed (%s), and so did undoing it; the "
					"device's next attach, detach or removal tries that again",
					dev->name, domain->name, strerror(-ret));
	}
	return ret;
fail:
	pthread_mutex_lock(&iommu->lock);
	if (LIST_EMPTY(&dev->attachments))
		iopf_pri_release(dev);
	pthread_mutex_unlock(&iommu->lock);
	domain_count_attached(domain, -1);
	free(attachment);
	return ret;
}

int
iopf_domain_attach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment, *other;
	char text[IOPF_PASID_TEXT];
	int ret;

	if (domain == NULL || dev == NULL)
		return iopf_ret(-EINVAL);
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

	/* From here on the domain cannot be destroyed. */
	domain_count_attached(domain, 1);
	pthread_mutex_lock(&dev->lock);
	failed_attaches_undo(dev);
	other = attachment_find(dev, pasid);
	if (other == NULL) {
		ret = attachment_attach(attachment);
	} else {
		ret = other->undo ? -EBUSY : -EEXIST;
		IOPF_LOG(ERR, "%s: %s %s %s; detach that first", dev->name,
				iopf_pasid_text(text, pasid), other->undo ?
				"waits for the undo of a failed attach of" : "is attached to",
				other->domain->name);
		domain_count_attached(domain, -1);
		free(attachment);
	}
	pthread_mutex_unlock(&dev->lock);
	iopf_trace_attach(dev->iommu->id, dev->sids[0], pasid, ret);
	return iopf_ret(ret);
}

int
iopf_domain_detach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment;
	int ret = 0;

	if (domain == NULL || dev == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&dev->lock);
	/* Another's detach of it ends in bounded time. */
	while ((attachment = attachment_find(dev, pasid)) != NULL && attachment->busy &&
			attachment->domain == domain)
		pthread_cond_wait(&dev->settled, &dev->lock);
	if (attachment != NULL && attachment->domain == domain)
		ret = iopf_attachment_detach(attachment);
	pthread_mutex_unlock(&dev->lock);
	iopf_trace_detach(dev->iommu->id, dev->sids[0], pasid, ret);
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
		if (!iopf_inv_is_valid(&inv[i])) {
			IOPF_LOG(ERR, "%s: invalidation %u of %u, %#" PRIx64 " + %#" PRIx64
					": addresses and sizes are multiples of 4096, not 0",
					domain->name, i, n, inv[i].addr, inv[i].size);
			return iopf_ret(-EINVAL);
		}
	}
	/*
	 * The caller's change of the tables is visible before the handles are read:
	 * attachment_attach().
	 */
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned int i = 0; i < IOPF_MAX_IOMMUS; i++) {
		struct iopf_hazard *line;
		unsigned int here = 0;
		struct iopf_hw *hw;
		int err;

		if (atomic_load_explicit(&domain->hw[i], memory_order_relaxed) == NULL)
			continue;
		hw = iopf_hazard_take(&domain->hw[i], &line);
		if (hw == NULL)
			continue;
		/*
		 * Also while it starts or stops: whether it still translates is known to the
		 * driver alone. It is not closed: what is attached has not gone.
		 */
		err = hw->iommu->driver->ops.invalidate(hw->iommu->priv, hw->priv, inv, n, &here);
		iopf_hazard_drop(line);
		if (err < 0) {
			least = RTE_MIN(least, here);
			ret = ret == 0 ? err : ret;
		}
	}
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
		return iopf_ret_null();
	return domain->conf.ctx;
}

const char *
iopf_domain_name(const struct iopf_domain *domain)
{
	if (domain == NULL)
		return iopf_ret_null();
	return domain->name;
}
