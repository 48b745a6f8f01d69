/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_VERDICT_H
#define IOPF_VERDICT_H

/* A handler's verdict: answered, deferred to a worker, or taken. */

#include <stdatomic.h>

#include "answer.h"
#include "attachment.h"
#include "breaker.h"
#include "domain.h"
#include "worker.h"

/* Log that the fast handler deferred, and the domain has no deferred handler. */
void iopf_verdict_log_defer(struct iopf_domain *domain);
/* The group is answered IOPF_INVALID: the verdict is none, or RAZWI is impossible. */
void iopf_verdict_refuse(struct iopf_pass *pass, struct iopf_domain *domain,
		struct iopf_slot *slot, uint64_t id, uint64_t gen, enum iopf_verdict verdict);

/*
 * A stall's slot that outlives its pass is held, and counts against its device's share of the
 * IOMMU's stalls and slots. False: the device holds its share already.
 */
static inline bool
dev_count_held_slot(struct iopf_queue *q, struct iopf_dev *dev)
{
	if (q->prg != NULL || likely(atomic_fetch_add_explicit(&dev->held, 1,
			memory_order_relaxed) <
			atomic_load_explicit(dev->share, memory_order_relaxed)))
		return true;
	/* The caller has the breaker's count: iopf_breaker_count_held(). */
	atomic_fetch_sub_explicit(&dev->held, 1, memory_order_relaxed);
	return false;
}

static inline void
dev_uncount_held_slot(struct iopf_queue *q, const struct iopf_slot *slot)
{
	if (q->prg == NULL)
		iopf_attachment_uncount_held(slot->attachment);
}

static inline void
verdict_defer(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_slot *slot,
		uint64_t id, uint64_t gen, bool request)
{
	uint64_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	uint64_t queued = IOPF_SLOT_WORD(gen, IOPF_SLOT_QUEUED);

	if (!iopf_slot_cas(slot, handling, queued)) {
		/* Another thread has answered. */
		dev_uncount_held_slot(pass->queue, slot);
		__atomic_store_n(&slot->state, iopf_slot_next_free_word(gen),
				__ATOMIC_RELEASE);
		pass->frees[pass->nb_frees++] = slot->index;
		return;
	}
	if (domain->conf.worker != NULL && iopf_worker_defer(domain->conf.worker, id) == 0) {
		iopf_domain_count(domain, IOPF_STAT_DEFERRED, 1);
		return;
	}
	/* No worker, or its ring is full: answer here, unless another thread has answered. */
	if (!iopf_slot_cas(slot, queued, iopf_slot_next_free_word(gen)))
		return;
	dev_uncount_held_slot(pass->queue, slot);
	answer_stage(pass, slot, IOPF_INVALID, false, request);
	pass->frees[pass->nb_frees++] = slot->index;
	if (domain->conf.worker == NULL)
		iopf_verdict_log_defer(domain);
}

static inline void
verdict_take(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_slot *slot,
		uint64_t gen)
{
	iopf_domain_count(domain, IOPF_STAT_TAKEN, 1);
	if (iopf_slot_cas(slot, IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING),
			IOPF_SLOT_WORD(gen, IOPF_SLOT_TAKEN)))
		return;
	/* Another thread answered before the handler returned: this pass frees the slot. */
	dev_uncount_held_slot(pass->queue, slot);
	__atomic_store_n(&slot->state, iopf_slot_next_free_word(gen), __ATOMIC_RELEASE);
	pass->frees[pass->nb_frees++] = slot->index;
}

static inline void
verdict_answer(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_slot *slot,
		uint64_t gen, enum iopf_code code, bool after, bool request)
{
	uint64_t free_word = iopf_slot_next_free_word(gen);

	/* SENDING: until the answer is sent, a request with the group's name is a duplicate. */
	if (likely(iopf_slot_cas(slot, IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING), request ?
			IOPF_SLOT_WORD(gen, IOPF_SLOT_SENDING) : free_word))) {
		answer_stage(pass, slot, code, after, request);
		if (after)
			iopf_domain_count(domain, IOPF_STAT_AFTER_INV, 1);
	} else {
		/* Cancelled during the handler: the fault is answered. */
		__atomic_store_n(&slot->state, free_word, __ATOMIC_RELEASE);
	}
	pass->frees[pass->nb_frees++] = slot->index;
}

static inline void
verdict_apply(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_slot *slot,
		uint64_t id, uint64_t gen, enum iopf_verdict verdict, bool request)
{
	enum iopf_code code;
	bool after;

	if (verdict == IOPF_DEFER || verdict == IOPF_TAKEN) {
		struct iopf_dev *dev = slot->attachment->dev;

		if (likely(dev_count_held_slot(pass->queue, dev))) {
			if (verdict == IOPF_DEFER)
				verdict_defer(pass, domain, slot, id, gen, request);
			else
				verdict_take(pass, domain, slot, gen);
			return;
		}
		iopf_limits_set_full(slot->attachment, &slot->fault);
		if (slot->attachment->breaker != NULL)
			atomic_fetch_sub_explicit(&slot->attachment->breaker->held, 1,
					memory_order_relaxed);
		verdict = IOPF_ANSWER(IOPF_INVALID);
	}
	code = verdict & 0xff;
	after = (verdict & ~0xff) == IOPF_VERDICT_AFTER_INV;
	if (unlikely((!after && (verdict & ~0xff) != IOPF_VERDICT_ANSWER) ||
			code >= IOPF_NB_CODES || (code == IOPF_RAZWI &&
			(request || !pass->queue->iommu->info.razwi)))) {
		iopf_verdict_refuse(pass, domain, slot, id, gen, verdict);
		return;
	}
	verdict_answer(pass, domain, slot, gen, code, after, request);
}

#endif /* IOPF_VERDICT_H */
