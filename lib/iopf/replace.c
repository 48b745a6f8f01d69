/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Replace the domain of an attached (device, PASID).
 *
 *	new attachment in the table, in place of the old one; both gates are REPLACING
 *	driver's replace	no access uses the old domain
 *	fence, grace period	each record of a fault of the old domain is read and dispatched
 *	new gate opens		the new domain's handlers are called
 *	old attachment		its faults are answered SUCCESS, its handlers return, it is freed
 *
 * While a gate is REPLACING a fault is answered SUCCESS without a handler: nothing tells of which
 * domain it is, and the new domain's handler must not answer INVALID to an access that the new
 * domain allows. The access faults again until the driver has switched, or until the new domain has
 * the page.
 *
 * From the fence on the old attachment goes through the stages of a detach:
 * iopf_attachment_detach(). If one of them fails, it stays in the list of the device (replaced)
 * until the next replace, detach or attach of the PASID, or the removal of the device, has finished
 * it. If the fence fails, the new gate stays REPLACING until then.
 *
 * If the driver has switched, but could not complete that, the new gate opens at once: the SMMU may
 * stay so for long, and the device must be served. A fault of an access that still uses the old
 * domain is then given to the new domain's handlers.
 */

#include <errno.h>
#include <string.h>

#include "attachment.h"
#include "breaker.h"
#include "call.h"
#include "cancel.h"
#include "domain.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "iopf_trace.h"
#include "policy.h"
#include "pri.h"
#include "rcu.h"

static void
gate_set_replacing(struct iopf_attachment *attachment, bool on)
{
	if (on)
		atomic_fetch_or_explicit(&attachment->gate, IOPF_GATE_REPLACING,
				memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&attachment->gate, ~IOPF_GATE_REPLACING,
				memory_order_relaxed);
}

/* After this no fault finds the old attachment. */
static void
attachment_publish_next(struct iopf_attachment *old, struct iopf_attachment *next)
{
	struct iopf_iommu *iommu = next->dev->iommu;

	gate_set_replacing(next, true);
	pthread_mutex_lock(&iommu->lock);
	iopf_attachment_take_place(next);
	LIST_INSERT_HEAD(&next->dev->attachments, next, next);
	old->replaced = true;
	pthread_mutex_unlock(&iommu->lock);
	if (next->domain->conf.deadline_ms != 0)
		atomic_fetch_add(&iommu->nb_deadlines, 1);
	gate_set_replacing(old, true);
	iopf_rcu_synchronize();
}

/*
 * The driver has changed nothing. Each fault that found the new attachment is answered by its gate.
 * The gate has not seen the groups of page requests that are still partial: they are dropped, and
 * the Last of such a group is a group of the old domain.
 */
static void
attachment_withdraw_next(struct iopf_attachment *old, struct iopf_attachment *next)
{
	struct iopf_iommu *iommu = next->dev->iommu;

	pthread_mutex_lock(&iommu->lock);
	iopf_attachment_take_place(old);
	LIST_REMOVE(next, next);
	old->replaced = false;
	pthread_mutex_unlock(&iommu->lock);
	if (next->domain->conf.deadline_ms != 0)
		atomic_fetch_sub(&iommu->nb_deadlines, 1);
	gate_set_replacing(old, false);
	iopf_rcu_synchronize();
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		iopf_queue_cancel(&iommu->queues[i], next, IOPF_CANCEL_REPLACE);
	/* A pass that found such a group before may still use its attachment. */
	iopf_rcu_synchronize();
}

/* The caller holds the device's lock, which this may drop meanwhile. */
static int
attachment_replace(struct iopf_attachment *old, struct iopf_attachment *next)
{
	struct iopf_dev *dev = next->dev;
	struct iopf_iommu *iommu = dev->iommu;
	char text[IOPF_PASID_TEXT];
	int ret;

	ret = iopf_breaker_prepare(next);
	if (ret == 0)
		ret = iopf_attachment_get_handle(next);
	if (ret < 0) {
		iopf_attachment_discard(next);
		return ret;
	}
	attachment_publish_next(old, next);
	iopf_pri_wait_recovery(dev);
	/* As in attachment_attach(): pairs with the fence in iopf_invalidate(). */
	atomic_thread_fence(memory_order_seq_cst);
	ret = iommu->driver->ops.replace(iommu->priv, old->priv, next->hw, &next->priv);
	if (next->priv == NULL) {
		/* A guest that writes illegal STEs causes this line. */
		IOPF_LOG_LIMITED(&dev->log, "%s: the driver could not replace %s by %s at %s "
				"(%s): %s stays attached", dev->name, old->domain->name,
				next->domain->name, iopf_pasid_text(text, next->pasid),
				strerror(-ret), old->domain->name);
		attachment_withdraw_next(old, next);
		iopf_domain_handle_put(next->domain, iommu);
		iopf_attachment_discard(next);
		return ret;
	}
	if (ret == 0) {
		old->priv = NULL;
		old->state = IOPF_DRAINING;
		return iopf_attachment_detach(old);
	}
	old->state = IOPF_CUT;
	IOPF_LOG(ERR, "%s: %s has replaced %s at %s, but the driver could not complete that (%s): "
			"accesses may still use %s; replace by the same domain again, or detach "
			"it", dev->name, next->domain->name, old->domain->name,
			iopf_pasid_text(text, next->pasid), strerror(-ret), old->domain->name);
	gate_set_replacing(next, false);
	return ret;
}

/* The same with the checks. Frees the new attachment if it is not used. */
static int
attachment_replace_current(struct iopf_attachment *next)
{
	struct iopf_dev *dev = next->dev;
	char text[IOPF_PASID_TEXT];
	struct iopf_attachment *old = NULL;
	int ret;

	/* Those of an earlier replace that failed. */
	ret = iopf_attachment_finish_replaced(dev, next->pasid);
	/* The policy thread tells the application that its breaker has tripped. */
	while (ret == 0 && (old = iopf_attachment_find(dev, next->pasid)) != NULL &&
			iopf_attachment_is_told(old)) {
		ret = iopf_attachment_wait(old);
		/* Another thread may have replaced the domain meanwhile. */
		if (ret == 0)
			ret = iopf_attachment_finish_replaced(dev, next->pasid);
	}
	if (ret < 0) {
		;
	} else if (old == NULL) {
		ret = dev->deleted ? -ENODEV : -ENOTCONN;
		IOPF_LOG(ERR, "%s: no domain is attached to %s that %s could replace: attach it",
				dev->name, iopf_pasid_text(text, next->pasid), next->domain->name);
	} else if (old->busy || old->undo || old->state != IOPF_ATTACHED) {
		ret = -EBUSY;
		IOPF_LOG(ERR, "%s: the detach of %s from %s is not complete; detach that again, "
				"then attach %s", dev->name, old->domain->name,
				iopf_pasid_text(text, next->pasid), next->domain->name);
	} else if (iopf_domain_stage2(old->domain) != iopf_domain_stage2(next->domain)) {
		ret = -ENOTSUP;
		IOPF_LOG(ERR, "%s: %s cannot replace %s, since its stage-2 domain is another one "
				"or none; detach the old one, then attach the new one", dev->name,
				next->domain->name, old->domain->name);
	} else if (old->domain != next->domain) {
		if (dev->iommu->driver->ops.replace != NULL)
			return attachment_replace(old, next);
		ret = -ENOTSUP;
		IOPF_LOG(ERR, "%s: the driver of \"%s\" cannot replace a domain; detach %s, then "
				"attach %s", dev->name, dev->iommu->name, old->domain->name,
				next->domain->name);
	}
	iopf_attachment_discard(next);
	return ret;
}

int
iopf_domain_replace(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *next;
	int ret;

	if (domain == NULL || dev == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (!iopf_pasid_is_in_range(dev, pasid))
		return iopf_ret(-ERANGE);
	next = iopf_attachment_create(domain, dev, pasid);
	if (next == NULL)
		return iopf_ret(-ENOMEM);
	/* iopf_domain_destroy() fails from here on. */
	iopf_domain_count_attached(domain, 1);
	iopf_dev_lock(dev);
	ret = attachment_replace_current(next);
	pthread_mutex_unlock(&dev->lock);
	iopf_trace_replace(dev->iommu->id, dev->sids[0], pasid, ret);
	return iopf_ret(ret);
}
