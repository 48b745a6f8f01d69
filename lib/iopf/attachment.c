/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>

#include "breaker.h"
#include "call.h"
#include "cancel.h"
#include "domain.h"
#include "episode.h"
#include "iopf_log.h"
#include "iopf_trace.h"
#include "policy.h"
#include "pool.h"
#include "pri.h"
#include "quarantine.h"
#include "rcu.h"

struct iopf_attachment *
iopf_attachment_find(const struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next)
		if (attachment->pasid == pasid && !attachment->replaced)
			break;
	return attachment;
}

static struct iopf_pool attachments = IOPF_POOL_INITIALIZER(struct iopf_attachment);

static void
attachment_free(struct iopf_attachment *attachment)
{
	iopf_breaker_destroy(attachment->breaker);
	iopf_episodes_destroy(attachment->episodes);
	iopf_pool_free(&attachments, attachment);
}

struct iopf_attachment *
iopf_attachment_create(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment = iopf_pool_zalloc(&attachments);

	if (attachment == NULL)
		return NULL;
	attachment->dev = dev;
	attachment->domain = domain;
	attachment->pasid = pasid;
	if (iopf_storm_has_episodes(&domain->storm)) {
		attachment->episodes = iopf_episodes_create();
		if (attachment->episodes == NULL) {
			attachment_free(attachment);
			return NULL;
		}
		atomic_init(&attachment->gate, IOPF_GATE_EPISODES);
	}
	if (iopf_storm_has_breaker(&domain->storm)) {
		attachment->breaker = iopf_breaker_create(&domain->storm);
		if (attachment->breaker == NULL) {
			attachment_free(attachment);
			return NULL;
		}
		atomic_fetch_or_explicit(&attachment->gate, IOPF_GATE_BREAKER,
				memory_order_relaxed);
	}
	return attachment;
}

int
iopf_attachment_get_handle(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	uint32_t gate = iopf_limits_need_gate(&dev->limits) ? IOPF_GATE_LIMIT : 0;
	int ret;

	ret = iopf_domain_handle_get(attachment->domain, dev->iommu, &attachment->hw,
			&attachment->join);
	if (ret < 0)
		return ret;
	if (attachment->join != NULL)
		gate |= attachment->domain->conf.parent != NULL ? IOPF_GATE_JOIN_STAGE2 :
				IOPF_GATE_JOIN;
	atomic_fetch_or_explicit(&attachment->gate, gate, memory_order_relaxed);
	return 0;
}

void
iopf_attachment_discard(struct iopf_attachment *attachment)
{
	iopf_domain_count_attached(attachment->domain, -1);
	attachment_free(attachment);
}

/* No queue and no handler has a fault of the attachment. */
static void
attachment_release(struct iopf_attachment *attachment)
{
	struct iopf_domain *domain = attachment->domain;
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;

	iopf_breaker_release(attachment);
	pthread_mutex_lock(&iommu->lock);
	LIST_REMOVE(attachment, next);
	if (LIST_EMPTY(&dev->attachments)) {
		iopf_pri_release(dev);
		iopf_iommu_count_attached(iommu, -1);
	}
	pthread_mutex_unlock(&iommu->lock);
	if (domain->conf.deadline_ms != 0)
		atomic_fetch_sub(&iommu->nb_deadlines, 1);
	iopf_domain_handle_put(domain, iommu);
	iopf_domain_count_attached(domain, -1);
	attachment_free(attachment);
}

/* For log lines: what the application does after a failed detach or a failed undo. */
static const char *
next_step_text(const struct iopf_attachment *attachment)
{
	if (attachment->replaced)
		return "the device has its new domain: replace by the same domain again, or detach "
			"that, to try the rest again";
	return attachment->undo ? "the attach failed; the device's next attach, detach or removal "
			"tries this again" : "detach it, or remove the device, again";
}

static void
attachment_set_state(struct iopf_attachment *attachment, enum iopf_attachment_state state)
{
	attachment->state = state;
	/* Its gate answers SUCCESS, since the device is attached to the next domain. */
	if (attachment->replaced)
		return;
	if (state == IOPF_ATTACHED)
		atomic_fetch_and_explicit(&attachment->gate, ~IOPF_GATE_CLOSED,
				memory_order_relaxed);
	else
		atomic_fetch_or_explicit(&attachment->gate, IOPF_GATE_CLOSED,
				memory_order_relaxed);
}

/* The driver continues its detach, or its replace. */
static int
attachment_cut_driver(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	char pasid[IOPF_PASID_TEXT];
	int ret = 0;

	iopf_pri_wait_recovery(dev);
	if (attachment->priv != NULL)
		ret = iommu->driver->ops.detach(iommu->priv, attachment->priv);
	if (ret < 0) {
		IOPF_LOG(ERR, "%s: the driver could not detach %s (%s): its faults are answered "
				"INVALID, and nothing is released; %s", dev->name,
				iopf_pasid_text(pasid, attachment->pasid), strerror(-ret),
				next_step_text(attachment));
		return ret;
	}
	attachment->priv = NULL;
	attachment_set_state(attachment, IOPF_DRAINING);
	return 0;
}

/* The driver detaches: no access succeeds or stalls any more. */
static int
attachment_cut(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	uint32_t was = attachment->state;
	int ret;

	/* The device goes on with its new domain. */
	if (attachment->replaced)
		return attachment_cut_driver(attachment);
	/* An IOMMU that can only stall cannot end accesses that still arrive: the device stops. */
	if (iommu->info.stall_forced && dev->conf.ops.quiesce != NULL) {
		ret = dev->conf.ops.quiesce(dev, dev->conf.ctx);
		if (ret < 0)
			return ret;
	}
	attachment_set_state(attachment, IOPF_CUT);
	/* ATS is off at the device before the IOMMU forbids it. */
	ret = iopf_dev_is_attached(dev) ? 0 : iopf_pri_switch_off(dev);
	if (ret < 0) {
		/* The driver's detach was not called: everything is as before, except PRI. */
		attachment_set_state(attachment, was);
		return ret;
	}
	return attachment_cut_driver(attachment);
}

/*
 * The attachment was replaced, and each record of its faults is dispatched: the next domain's
 * handlers are called from now on (replace.c).
 */
static void
attachment_open_next(const struct iopf_attachment *attachment)
{
	struct iopf_attachment *next = iopf_attachment_find(attachment->dev, attachment->pasid);

	if (next != NULL)
		atomic_fetch_and_explicit(&next->gate, ~IOPF_GATE_REPLACING,
				memory_order_relaxed);
}

/* Read each record that the queues have now, then unpublish: no later one finds the attachment. */
static int
attachment_drain(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	struct iopf_table_trash trash = { NULL, false };
	int ret;

	ret = iopf_iommu_fence(iommu, iopf_dev_wait_cycles(dev));
	if (ret < 0)
		return ret;
	/* The fence knows that poll has returned the records; a pass may be dispatching them. */
	iopf_rcu_synchronize();
	/* One that was replaced is in no table, and its PASID does not stop. */
	if (attachment->replaced) {
		attachment_open_next(attachment);
		return 0;
	}
	pthread_mutex_lock(&iommu->lock);
	iopf_attachment_unpublish(attachment, dev->conf.nb_sids, &trash);
	pthread_mutex_unlock(&iommu->lock);
	iopf_table_empty(&trash);
	return iopf_pri_drain_pasid(attachment);
}

/* A stop ends stalls, and no page requests. */
static enum iopf_cancel
why_of_detach(const struct iopf_attachment *attachment, unsigned int queue)
{
	const struct iopf_iommu *iommu = attachment->dev->iommu;

	if (!(queue == IOPF_QUEUE_REQUESTS ? iopf_iommu_answers_requests(iommu) :
			iopf_iommu_is_serving(iommu)))
		return IOPF_CANCEL_TERMINATED;
	return attachment->replaced ? IOPF_CANCEL_REPLACE : IOPF_CANCEL_DETACH;
}

/* Answer the outstanding faults until no handler has one. Without the device's lock. */
static int
attachment_answer_faults(struct iopf_attachment *attachment)
{
	struct iopf_iommu *iommu = attachment->dev->iommu;
	struct iopf_wait wait;
	unsigned int held;

	iopf_dev_wait_begin(attachment->dev, &wait);
	for (;;) {
		held = 0;
		for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
			held += iopf_queue_cancel(&iommu->queues[i], attachment,
					why_of_detach(attachment, i));
		if (held == 0)
			break;
		if (iopf_wait_is_over(&wait)) {
			IOPF_LOG(ERR, "%s: handlers of %s still have %u of its faults after "
					"wait_ms: the faults are answered%s; have the handlers "
					"return; %s", attachment->dev->name,
					attachment->domain->name, held, attachment->replaced ? "" :
					", the accesses abort, and the device stays attached",
					next_step_text(attachment));
			return -ETIMEDOUT;
		}
		iommu->driver->ops.wait(iommu->priv);
	}
	/* A thread that claimed a fault has sent its answer when its read section ends. */
	iopf_rcu_synchronize();
	return 0;
}

int
iopf_attachment_detach(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	int ret = 0;

	if (attachment->state != IOPF_DRAINING)
		ret = attachment_cut(attachment);
	if (ret == 0)
		ret = attachment_drain(attachment);
	if (ret < 0)
		return ret;
	/* A slow handler of this PASID must not delay control calls for the others. */
	attachment->busy = true;
	pthread_mutex_unlock(&dev->lock);
	ret = attachment_answer_faults(attachment);
	pthread_mutex_lock(&dev->lock);
	attachment->busy = false;
	pthread_cond_broadcast(&dev->settled);
	if (ret == 0)
		attachment_release(attachment);
	return ret;
}

int
iopf_attachment_finish_replaced(struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment;
	int ret = 0;

again:
	LIST_FOREACH(attachment, &dev->attachments, next) {
		if (attachment->pasid != pasid || !attachment->replaced)
			continue;
		/* Another thread detaches it, in bounded time. */
		if (attachment->busy)
			pthread_cond_wait(&dev->settled, &dev->lock);
		else
			ret = iopf_attachment_detach(attachment);
		if (ret < 0)
			return ret;
		/* The device's lock was dropped: the list may have changed. */
		goto again;
	}
	return 0;
}

/* Detach the attachments whose attach failed. */
static void
failed_attaches_undo(struct iopf_dev *dev)
{
	struct iopf_attachment *attachment;

again:
	LIST_FOREACH(attachment, &dev->attachments, next) {
		if (!attachment->undo || iopf_attachment_is_in_use(attachment))
			continue;
		if (iopf_attachment_detach(attachment) < 0)
			return;
		/* The device's lock was dropped: the list may have changed. */
		goto again;
	}
}

/*
 * The caller holds the device's lock. After an error the attachment is freed, or is marked for its
 * undo.
 */
static int
attachment_attach(struct iopf_attachment *attachment)
{
	struct iopf_domain *domain = attachment->domain;
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	int ret;

	iopf_pri_wait_recovery(dev);
	pthread_mutex_lock(&iommu->lock);
	ret = iopf_pri_reserve(dev);
	pthread_mutex_unlock(&iommu->lock);
	if (ret == 0)
		ret = iopf_breaker_prepare(attachment);
	/* A block that could not be ended when a breaker's attachment was released, nor since. */
	if (ret == 0)
		ret = iopf_dev_end_block(dev);
	if (ret < 0)
		goto fail;
	ret = iopf_attachment_get_handle(attachment);
	if (ret < 0)
		goto fail;
	/* Before the driver attaches: the first fault must find the domain. */
	ret = iopf_attachment_publish(attachment);
	if (ret < 0) {
		iopf_domain_handle_put(domain, iommu);
		goto fail;
	}
	/*
	 * The handle is published before the IOMMU walks the domain's tables. Pairs with the
	 * fence in iopf_invalidate(): either the IOMMU sees a change of the tables, or the thread
	 * that made the change sees the handle.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	ret = iommu->driver->ops.attach(iommu->priv, dev->priv, attachment->pasid, attachment->hw,
			&attachment->priv);
	if (ret == 0)
		ret = iopf_pri_switch_on(dev);
	if (ret < 0) {
		attachment->undo = true;
		/* Whatever of the undo fails, no handler is called any more. */
		attachment_set_state(attachment, IOPF_CUT);
		if (iopf_attachment_detach(attachment) < 0)
			IOPF_LOG(ERR, "%s: attaching %s failed (%s), and the undo failed too; the "
					"next attach, detach or removal of the device tries the "
					"undo again",
					dev->name, domain->name, strerror(-ret));
	}
	return ret;
fail:
	pthread_mutex_lock(&iommu->lock);
	if (LIST_EMPTY(&dev->attachments))
		iopf_pri_release(dev);
	pthread_mutex_unlock(&iommu->lock);
	iopf_attachment_discard(attachment);
	return ret;
}

bool
iopf_pasid_is_in_range(const struct iopf_dev *dev, uint32_t pasid)
{
	if (pasid == IOPF_NO_PASID || pasid < dev->conf.nb_pasids)
		return true;
	IOPF_LOG(ERR, "%s: PASID %u is out of range; the device was added with %u PASIDs: raise "
			"nb_pasids", dev->name, pasid, dev->conf.nb_pasids);
	return false;
}

/*
 * A domain of the device is its only one: no fault of it must find another meanwhile. The caller
 * holds the device's lock.
 */
static bool
domain_fits(const struct iopf_domain *domain, const struct iopf_dev *dev)
{
	const struct iopf_attachment *first = LIST_FIRST(&dev->attachments);

	/* If there are several, none is of the device. */
	if (first == NULL || (!iopf_domain_is_of_device(domain) &&
			!iopf_domain_is_of_device(first->domain)))
		return true;
	IOPF_LOG(ERR, "%s: a stage-2 or nested domain must be the device's only one: detach %s "
			"before %s is attached", dev->name, first->domain->name, domain->name);
	return false;
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
	if (!iopf_pasid_is_in_range(dev, pasid))
		return iopf_ret(-ERANGE);
	if (pasid != IOPF_NO_PASID && iopf_domain_is_of_device(domain)) {
		IOPF_LOG(ERR, "%s: PASID %u: %s is a stage-2 or nested domain, for all traffic of "
				"a device: attach it with IOPF_NO_PASID", dev->name, pasid,
				domain->name);
		return iopf_ret(-ERANGE);
	}
	attachment = iopf_attachment_create(domain, dev, pasid);
	if (attachment == NULL)
		return iopf_ret(-ENOMEM);

	/* iopf_domain_destroy() fails from here on. */
	iopf_domain_count_attached(domain, 1);
	iopf_dev_lock(dev);
	failed_attaches_undo(dev);
	ret = iopf_attachment_finish_replaced(dev, pasid);
	other = iopf_attachment_find(dev, pasid);
	if (ret < 0) {
		iopf_attachment_discard(attachment);
	} else if (dev->deleted) {
		/* The driver has released the device; only the library still knows it. */
		ret = -ENODEV;
		IOPF_LOG(ERR, "%s: its removal has begun: call iopf_dev_remove() again, then "
				"iopf_dev_add()", dev->name);
		iopf_attachment_discard(attachment);
	} else if (other == NULL && !domain_fits(domain, dev)) {
		ret = -EINVAL;
		iopf_attachment_discard(attachment);
	} else if (other == NULL) {
		ret = attachment_attach(attachment);
	} else {
		ret = other->undo ? -EBUSY : -EEXIST;
		IOPF_LOG(ERR, "%s: %s %s %s; detach that first", dev->name,
				iopf_pasid_text(text, pasid), other->undo ?
				"waits for the undo of a failed attach of" : "is attached to",
				other->domain->name);
		iopf_attachment_discard(attachment);
	}
	pthread_mutex_unlock(&dev->lock);
	iopf_trace_attach(dev->iommu->id, dev->sids[0], pasid, ret);
	return iopf_ret(ret);
}

int
iopf_domain_detach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid)
{
	struct iopf_attachment *attachment = NULL;
	int ret = 0, rest;

	if (domain == NULL || dev == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	iopf_dev_lock(dev);
	/* Those of a replace that failed half-way; the detach does not depend on its result. */
	rest = iopf_attachment_finish_replaced(dev, pasid);
	while (ret == 0 && (attachment = iopf_attachment_find(dev, pasid)) != NULL &&
			attachment->domain == domain && iopf_attachment_is_in_use(attachment)) {
		ret = iopf_attachment_wait(attachment);
		/* Another thread may have replaced the domain meanwhile. */
		if (ret == 0)
			rest = iopf_attachment_finish_replaced(dev, pasid);
	}
	if (ret == 0 && attachment != NULL && attachment->domain == domain)
		ret = iopf_attachment_detach(attachment);
	ret = ret < 0 ? ret : rest;
	pthread_mutex_unlock(&dev->lock);
	iopf_trace_detach(dev->iommu->id, dev->sids[0], pasid, ret);
	return iopf_ret(ret);
}
