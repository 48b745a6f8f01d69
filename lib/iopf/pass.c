/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A burst of records: handlers are called, and the answers go out together. */

#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include "iopf_private.h"
#include "iopf_trace.h"

static void
domain_counts_flush(struct iopf_pass *pass, uint64_t latency)
{
	static const enum iopf_stat code_stat[IOPF_NB_CODES] = {
		IOPF_STAT_SUCCESS, IOPF_STAT_INVALID, IOPF_STAT_FAILURE, IOPF_STAT_RAZWI,
	};
	struct iopf_domain *domain = pass->run_domain;

	if (domain == NULL)
		return;
	iopf_domain_count(domain, IOPF_STAT_FAULTS, pass->run_faults);
	if (pass->run_requests != 0)
		iopf_domain_count(domain, IOPF_STAT_REQUESTS, pass->run_requests);
	if (pass->run_answers != 0) {
		iopf_hist_add(&domain->latency, latency, pass->run_answers);
		for (unsigned int i = 0; i < IOPF_NB_CODES; i++)
			if (pass->run_codes[i] != 0)
				iopf_domain_count(domain, code_stat[i], pass->run_codes[i]);
	}
	pass->run_domain = NULL;
	pass->run_faults = 0;
	pass->run_requests = 0;
	pass->run_answers = 0;
	memset(pass->run_codes, 0, sizeof(pass->run_codes));
}

/*
 * Invalidate, then answer: one batch of the driver's, or what does the same for one that cannot
 * batch them, and waits. After an error the access would meet the old translation again: INVALID.
 */
static uint16_t
answers_send_after_inv(struct iopf_pass *pass)
{
	const struct iopf_driver_ops *ops = &pass->queue->iommu->driver->ops;
	void *priv = pass->queue->iommu->priv;
	unsigned int done;

	if (likely(ops->answer_after != NULL))
		return ops->answer_after(priv, pass->after_hw, pass->inv, pass->nb_inv,
				pass->after, pass->nb_after);
	if (pass->nb_inv != 0 && ops->invalidate(priv, pass->after_hw, pass->inv, pass->nb_inv,
			&done) < 0)
		for (unsigned int i = 0; i < pass->nb_after; i++)
			pass->after[i].code = IOPF_INVALID;
	return pass->nb_after != 0 ? ops->answer(priv, pass->after, pass->nb_after) : 0;
}

/* Send what has gathered. The slots are free only after that: a detach that finds none waits
 * for this pass, and then all is answered. */
static void
pass_flush(struct iopf_pass *pass)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_iommu *iommu = q->iommu;
	const struct iopf_driver_ops *ops = &iommu->driver->ops;
	unsigned int n = pass->nb_answers + pass->nb_after + pass->nb_retries, lost = 0;

	if (pass->nb_answers != 0)
		lost = pass->nb_answers - ops->answer(iommu->priv, pass->answers,
				pass->nb_answers);
	if (pass->nb_inv != 0 || pass->nb_after != 0) {
		lost += pass->nb_after - answers_send_after_inv(pass);
		pass->nb_posts++;
	}
	if (unlikely(lost != 0))
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS_LOST, lost);
	for (unsigned int i = 0; i < pass->nb_retries; i++)
		iopf_dev_retry(pass->retries[i].dev, &pass->retries[i].retry);
	if (n != 0)
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS, n);
	domain_counts_flush(pass, rte_rdtsc() - pass->now);
	if (q->prg != NULL)
		for (unsigned int i = 0; i < pass->nb_frees; i++)
			iopf_prg_free(q, pass->frees[i]);
	else
		for (unsigned int i = 0; i < pass->nb_frees; i++)
			q->free[q->nb_free++] = pass->frees[i];
	pass->nb_answers = 0;
	pass->nb_after = 0;
	pass->nb_retries = 0;
	pass->nb_inv = 0;
	pass->nb_frees = 0;
}

void
iopf_event_refuse(struct iopf_pass *pass, const struct iopf_event *ev, enum iopf_code code,
		enum iopf_iommu_stat why)
{
	struct iopf_iommu *iommu = pass->queue->iommu;
	bool request = ev->flags & IOPF_EVENT_PAGE_REQUEST;

	iopf_iommu_count(iommu, why, 1);
	pass->answers[pass->nb_answers++] = (struct iopf_answer){
		.sid = ev->sid,
		.pasid = request ? iopf_answer_pasid(iommu,
				iopf_table_find(&iommu->sids, ev->sid), ev->pasid) : ev->pasid,
		.token = ev->token,
		.code = code,
		.page_request = request,
	};
}

static void
answer_stage(struct iopf_pass *pass, struct iopf_fault *slot, enum iopf_code code, bool after)
{
	struct iopf_dev *dev = ((struct iopf_attachment *)slot->attachment)->dev;
	struct iopf_answer answer = {
		.sid = slot->sid,
		.pasid = slot->pasid,
		.token = slot->token,
		.code = code,
	};

	if (slot->flags & IOPF_FAULT_PAGE_REQUEST) {
		answer.page_request = true;
		answer.pasid = iopf_answer_pasid(pass->queue->iommu, dev, slot->pasid);
	}
	if (unlikely(!(slot->flags & (IOPF_FAULT_STALLED | IOPF_FAULT_PAGE_REQUEST))))
		pass->retries[pass->nb_retries++] = (struct iopf_pass_retry){
			.dev = dev,
			.retry = {
				.addr = slot->addr,
				.sid = slot->sid,
				.pasid = slot->pasid,
				.perm = slot->perm,
				.code = code,
			},
		};
	else if (after)
		pass->after[pass->nb_after++] = answer;
	else
		pass->answers[pass->nb_answers++] = answer;
	pass->run_answers++;
	pass->run_codes[code]++;
}

/* A slot that is to outlive its pass counts against its device: see iopf_queue_expire(). */
static inline void
dev_slot_hold(struct iopf_queue *q, struct iopf_dev *dev)
{
	if (q->prg == NULL)
		atomic_fetch_add_explicit(&dev->held, 1, memory_order_relaxed);
}

static inline void
dev_slot_release(struct iopf_queue *q, struct iopf_dev *dev)
{
	if (q->prg == NULL)
		atomic_fetch_sub_explicit(&dev->held, 1, memory_order_relaxed);
}

static void
verdict_defer(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_dev *dev,
		struct iopf_fault *slot, uint64_t id, uint32_t gen)
{
	uint32_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	uint32_t queued = IOPF_SLOT_WORD(gen, IOPF_SLOT_QUEUED);

	if (!iopf_slot_cas(slot, handling, queued)) {
		/* Answered meanwhile. */
		dev_slot_release(pass->queue, dev);
		__atomic_store_n(&slot->state, iopf_slot_free_word(gen),
				__ATOMIC_RELEASE);
		pass->frees[pass->nb_frees++] = slot->slot;
		return;
	}
	if (domain->conf.deferred != NULL && iopf_worker_defer(domain->conf.worker, id) == 0) {
		iopf_domain_count(domain, IOPF_STAT_DEFERRED, 1);
		return;
	}
	/* No worker, or no place: it is still ours unless another thread answered and freed it. */
	if (!iopf_slot_cas(slot, queued, iopf_slot_free_word(gen)))
		return;
	dev_slot_release(pass->queue, dev);
	answer_stage(pass, slot, IOPF_INVALID, false);
	pass->frees[pass->nb_frees++] = slot->slot;
}

static void
verdict_take(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_dev *dev,
		struct iopf_fault *slot, uint32_t gen)
{
	iopf_domain_count(domain, IOPF_STAT_TAKEN, 1);
	if (iopf_slot_cas(slot, IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING),
			IOPF_SLOT_WORD(gen, IOPF_SLOT_TAKEN)))
		return;
	/* Answered before the handler returned: the slot was left to us. */
	dev_slot_release(pass->queue, dev);
	__atomic_store_n(&slot->state, iopf_slot_free_word(gen), __ATOMIC_RELEASE);
	pass->frees[pass->nb_frees++] = slot->slot;
}

static void
verdict_apply(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_fault *slot,
		uint64_t id, uint32_t gen, enum iopf_verdict verdict)
{
	uint32_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	uint32_t free_word = iopf_slot_free_word(gen);
	enum iopf_code code = verdict & 0xff;
	bool after = (verdict & ~0xff) == IOPF_VERDICT_AFTER_INV;
	bool request = slot->flags & IOPF_FAULT_PAGE_REQUEST;

	if (verdict == IOPF_DEFER || verdict == IOPF_TAKEN) {
		struct iopf_dev *dev = ((struct iopf_attachment *)slot->attachment)->dev;

		dev_slot_hold(pass->queue, dev);
		if (verdict == IOPF_DEFER)
			verdict_defer(pass, domain, dev, slot, id, gen);
		else
			verdict_take(pass, domain, dev, slot, gen);
		return;
	}
	if (unlikely((!after && (verdict & ~0xff) != IOPF_VERDICT_ANSWER) ||
			code >= IOPF_NB_CODES || (code == IOPF_RAZWI &&
			(request || !pass->queue->iommu->info.razwi))))
		code = IOPF_INVALID;
	/* Until its answer is sent no request can be of another group with this key. */
	if (likely(iopf_slot_cas(slot, handling, request ?
			IOPF_SLOT_WORD(gen, IOPF_SLOT_SENDING) : free_word))) {
		answer_stage(pass, slot, code, after);
		if (after)
			iopf_domain_count(domain, IOPF_STAT_AFTER_INV, 1);
	} else {
		/* Cancelled meanwhile: this answer goes into nothing. */
		__atomic_store_n(&slot->state, free_word, __ATOMIC_RELEASE);
	}
	pass->frees[pass->nb_frees++] = slot->slot;
}

void
iopf_slot_fill(struct iopf_fault *slot, const struct iopf_event *ev, uint64_t now,
		struct iopf_attachment *attachment)
{
	/* Atomic, since a cancel or a list may be reading; ordered by the state word. */
	__atomic_store_n(&slot->addr, ev->addr, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->ipa, ev->ipa, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->time, now, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->sid, ev->sid, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->pasid, ev->pasid, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->token, ev->token, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->perm, ev->perm, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->reason, ev->reason, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->flags,
			(ev->flags & IOPF_EVENT_STALL ? IOPF_FAULT_STALLED : 0) |
			(ev->flags & IOPF_EVENT_STAGE2 ? IOPF_FAULT_STAGE2 : 0) |
			(ev->flags & IOPF_EVENT_PAGE_REQUEST ? IOPF_FAULT_PAGE_REQUEST : 0),
			__ATOMIC_RELAXED);
	__atomic_store_n(&slot->raw_id, ev->raw_id, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->attachment, attachment, __ATOMIC_RELAXED);
}

void
iopf_fault_report(struct iopf_iommu *iommu, const struct iopf_fault *fault)
{
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_REPORTS, 1);
	if (iommu->conf.report != NULL)
		iommu->conf.report(iommu, fault, iommu->conf.report_ctx);
}

static void
event_report(struct iopf_pass *pass, const struct iopf_event *ev)
{
	struct iopf_iommu *iommu = pass->queue->iommu;
	const struct iopf_fault fault = {
		.addr = ev->addr,
		.ipa = ev->ipa,
		.time = pass->now,
		.sid = ev->sid,
		.pasid = ev->pasid,
		.perm = ev->perm,
		.reason = ev->reason,
		.flags = ev->flags & IOPF_EVENT_STAGE2 ? IOPF_FAULT_STAGE2 : 0,
		.raw_id = ev->raw_id,
		.queue = pass->queue->id,
	};

	iopf_fault_report(iommu, &fault);
}

/* Something that a handler can mend, of a device that will try again. */
static bool
event_is_retryable(const struct iopf_dev *dev, const struct iopf_event *ev)
{
	return dev->conf.recover == IOPF_TERMINATE && dev->conf.ops.retry != NULL &&
		ev->reason <= IOPF_REASON_PERMISSION;
}

/* The invalidations of one answers_send_after_inv() are one domain's: a group's need another. */
static inline bool
inv_batch_is_full(const struct iopf_pass *pass, const struct iopf_attachment *attachment)
{
	return pass->nb_inv != 0 && (pass->after_hw != attachment->hw ||
			pass->nb_inv > IOPF_MAX_BURST - IOPF_MAX_GROUP_INV);
}

static inline void
inv_batch_begin(struct iopf_pass *pass, const struct iopf_attachment *attachment)
{
	if (unlikely(inv_batch_is_full(pass, attachment)))
		pass_flush(pass);
	pass->group_inv = pass->nb_inv;
	pass->after_hw = attachment->hw;
}

bool
iopf_inv_batch_begin(struct iopf_pass *pass, const struct iopf_attachment *attachment,
		unsigned int left)
{
	unsigned int posts = pass->nb_posts + inv_batch_is_full(pass, attachment) + 1;

	if (posts + left > IOPF_MAX_BURST)
		return false;
	inv_batch_begin(pass, attachment);
	return true;
}

static inline void
handler_run(struct iopf_pass *pass, struct iopf_attachment *attachment, struct iopf_fault *head,
		const struct iopf_fault *const *faults, uint16_t n)
{
	struct iopf_domain *domain = attachment->domain;
	struct iopf_queue *q = pass->queue;
	/* Somebody may be cancelling it; the generation stays. */
	uint32_t gen = IOPF_SLOT_GEN(iopf_slot_load(head));
	const struct iopf_group group = {
		.id = iopf_group_make_id(q, head->slot, gen),
		.dev = attachment->dev,
		.pasid = attachment->pasid,
		.nb_faults = n,
		.faults = faults,
		.pass = pass,
	};
	enum iopf_verdict verdict;

	inv_batch_begin(pass, attachment);
	if (unlikely(pass->run_domain != domain)) {
		domain_counts_flush(pass, rte_rdtsc() - pass->now);
		pass->run_domain = domain;
	}
	pass->run_faults++;
	if (head->flags & IOPF_FAULT_PAGE_REQUEST)
		pass->run_requests += n;
	iopf_trace_fault(q->iommu->id, head->sid, head->pasid, head->addr, head->perm);

	/*
	 * A detach is under way: an access that was tried again would abort, and a device that
	 * got Success to its request would go on in the next domain.
	 */
	if (unlikely(atomic_load_explicit(&attachment->state, memory_order_relaxed) !=
			IOPF_ATTACHED))
		verdict = IOPF_ANSWER(IOPF_INVALID);
	else if (domain->conf.handler != NULL)
		verdict = domain->conf.handler(domain, &group, domain->conf.ctx);
	else
		verdict = IOPF_DEFER;
	if ((verdict & ~0xff) != IOPF_VERDICT_AFTER_INV)
		pass->nb_inv = pass->group_inv;
	verdict_apply(pass, domain, head, group.id, gen, verdict);
}

void
iopf_handler_run(struct iopf_pass *pass, struct iopf_attachment *attachment,
		struct iopf_fault *head, const struct iopf_fault *const *faults, uint16_t n)
{
	handler_run(pass, attachment, head, faults, n);
}

/* A record of the event queue. */
static void
event_dispatch(struct iopf_pass *pass, const struct iopf_event *ev)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_iommu *iommu = q->iommu;
	struct iopf_attachment *attachment;
	const struct iopf_fault *fault;
	struct iopf_fault *slot;

	if (unlikely(ev->flags & IOPF_EVENT_BAD)) {
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_BAD_RECORD, 1);
		return;
	}
	attachment = iopf_table_find(&iommu->attached, iopf_attachment_key(ev->sid, ev->pasid));
	if (unlikely(!(ev->flags & IOPF_EVENT_STALL)) &&
			(attachment == NULL || !event_is_retryable(attachment->dev, ev))) {
		if (attachment == NULL)
			iopf_iommu_count(iommu, iopf_no_attachment_count(iommu, ev->sid) ==
					IOPF_IOMMU_STAT_UNKNOWN_SID ?
					IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID :
					IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN, 1);
		else
			iopf_dev_count(attachment->dev, IOPF_DEV_STAT_REPORTS, 1);
		event_report(pass, ev);
		return;
	}
	pass->nb_faults++;
	if (unlikely(attachment == NULL)) {
		iopf_event_refuse(pass, ev, IOPF_INVALID, iopf_no_attachment_count(iommu, ev->sid));
		return;
	}
	slot = iopf_slot_alloc(q);
	if (unlikely(slot == NULL)) {
		if (ev->flags & IOPF_EVENT_STALL) {
			iopf_event_refuse(pass, ev, IOPF_INVALID, IOPF_IOMMU_STAT_NO_SLOT);
		} else {
			/* Nothing waits; the access will fault again when it is tried again. */
			iopf_iommu_count(iommu, IOPF_IOMMU_STAT_NO_SLOT, 1);
			event_report(pass, ev);
		}
		return;
	}
	iopf_slot_fill(slot, ev, pass->now, attachment);
	/* Release: who finds this state (iopf_slot_load()) finds the fault's fields. */
	__atomic_store_n(&slot->state, IOPF_SLOT_WORD(IOPF_SLOT_GEN(iopf_slot_load(slot)),
			IOPF_SLOT_HANDLING), __ATOMIC_RELEASE);
	fault = slot;
	handler_run(pass, attachment, slot, &fault, 1);
}

int
iopf_group_invalidate(const struct iopf_group *group, const struct iopf_inv *inv)
{
	struct iopf_pass *pass;

	if (group == NULL || inv == NULL)
		return iopf_ret(-EINVAL);
	pass = group->pass;
	if (pass == NULL || !iopf_self.in_fast)
		return iopf_ret(-EPERM);
	if (!iopf_inv_is_valid(inv))
		return iopf_ret(-EINVAL);
	if (pass->nb_inv - pass->group_inv >= IOPF_MAX_GROUP_INV)
		return iopf_ret(-ENOSPC);
	pass->inv[pass->nb_inv++] = *inv;
	return 0;
}

unsigned int
iopf_queue_drain(struct iopf_queue *q, uint16_t burst, uint16_t bursts)
{
	struct iopf_iommu *iommu = q->iommu;
	struct iopf_event events[IOPF_MAX_BURST];
	struct iopf_pass pass;
	unsigned int total = 0, records;

	pass.queue = NULL;
	for (unsigned int b = 0; b < bursts; b++) {
		uint16_t n = iommu->driver->ops.poll(iommu->priv, q->id, events, burst);

		if (n == 0)
			break;
		if (pass.queue == NULL) {
			pass.queue = q;
			pass.nb_answers = pass.nb_after = pass.nb_inv = pass.nb_frees = 0;
			pass.nb_retries = 0;
			pass.run_domain = NULL;
			pass.run_faults = pass.run_requests = pass.run_answers = 0;
			memset(pass.run_codes, 0, sizeof(pass.run_codes));
		}
		pass.now = rte_rdtsc();
		pass.nb_faults = pass.nb_posts = 0;
		iopf_self.in_fast = true;
		records = n;
		if (q->prg != NULL)
			records = iopf_prg_dispatch(&pass, events, n);
		else
			for (unsigned int i = 0; i < n; i++)
				event_dispatch(&pass, &events[i]);
		iopf_self.in_fast = false;
		pass_flush(&pass);
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_RECORDS, records);
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_BURSTS, 1);
		if (pass.nb_faults != 0)
			iopf_iommu_count(iommu, IOPF_IOMMU_STAT_FAULTS, pass.nb_faults);
		if (q->prg != NULL && pass.nb_faults != 0)
			iopf_iommu_count(iommu, IOPF_IOMMU_STAT_GROUPS, pass.nb_faults);
		total += n;
		if (n < burst)
			break;
	}
	return total;
}
