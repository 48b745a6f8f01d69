/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <rte_cycles.h>

#include "answer.h"
#include "cancel.h"
#include "deadline.h"
#include "domain.h"
#include "join.h"
#include "rcu.h"

/* Slots in a part of a sweep over the deadlines, and the most parts: see deadline.h. */
#define EXPIRE_SLOTS	256u
#define MAX_PARTS	64

bool
iopf_fault_cancel(struct iopf_queue *q, struct iopf_slot *slot, uint64_t word,
		enum iopf_cancel why)
{
	static const enum iopf_stat why_stat[] = {
		[IOPF_CANCEL_DETACH] = IOPF_STAT_CANCELLED,
		[IOPF_CANCEL_DRAIN] = IOPF_STAT_CANCELLED,
		[IOPF_CANCEL_DEADLINE] = IOPF_STAT_EXPIRED,
		[IOPF_CANCEL_REPLACE] = IOPF_STAT_RETRIED,
		[IOPF_CANCEL_TERMINATED] = IOPF_STAT_TERMINATED,
	};
	/* After a replace the device tries again in the next domain. */
	enum iopf_code code = why == IOPF_CANCEL_REPLACE ? IOPF_SUCCESS : IOPF_INVALID;
	struct iopf_slot_copy copy;
	bool ours;
	int ret;

	iopf_answering_begin(q->iommu);
	ret = iopf_slot_claim(slot, word, &copy, &ours);
	if (ret == 0) {
		/* The IOMMU has ended the access: no answer is needed. A retry still is. */
		if (why == IOPF_CANCEL_TERMINATED &&
				!(copy.flags & (IOPF_FAULT_STALLED | IOPF_FAULT_PAGE_REQUEST)))
			why = IOPF_CANCEL_DETACH;
		iopf_domain_count(copy.attachment->domain, why_stat[why], 1);
		if (why != IOPF_CANCEL_TERMINATED)
			iopf_answer_send(q, &copy, code);
		if (copy.attachment->join != NULL)
			iopf_join_answer(q, copy.attachment, slot->index,
					IOPF_SLOT_GEN(word), code, why);
	}
	iopf_answering_end(q->iommu);
	if (ret == 0 && ours)
		iopf_slot_free(q, slot);
	return ret == 0;
}

unsigned int
iopf_queue_cancel(struct iopf_queue *q, const struct iopf_attachment *attachment,
		enum iopf_cancel why)
{
	uint32_t nb_slots = q->nb_slots;
	unsigned int held = 0;

	iopf_rcu_read_lock();
	for (uint32_t i = 0; i < nb_slots; i++) {
		struct iopf_slot *slot = &q->slots[i];
		uint64_t word = iopf_slot_load(slot), gen;

		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_FREE)
			continue;
		if (attachment != NULL && attachment !=
				__atomic_load_n(&slot->attachment, __ATOMIC_RELAXED))
			continue;
		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_PARTIAL && why == IOPF_CANCEL_DRAIN)
			continue;
		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_PARTIAL) {
			/* If Last comes first, the group is answered like a complete one. */
			if (iopf_slot_cas(slot, word, IOPF_SLOT_WORD(IOPF_SLOT_GEN(word),
					IOPF_SLOT_DROPPED)))
				continue;
			gen = IOPF_SLOT_GEN(word);
			word = iopf_slot_load(slot);
			/*
			 * If this thread was interrupted before the CAS, the group may have been
			 * answered, and the slot given to a fault of another attachment.
			 */
			if (IOPF_SLOT_GEN(word) != gen)
				continue;
		}
		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_DROPPED)
			continue;
		if (IOPF_SLOT_STATE(word) != IOPF_SLOT_DONE)
			iopf_fault_cancel(q, slot, word, why);
		word = iopf_slot_load(slot);
		/* A slot that is LEFT waits for another fault's answer, not for a handler. */
		if (IOPF_SLOT_STATE(word) != IOPF_SLOT_FREE &&
				IOPF_SLOT_STATE(word) != IOPF_SLOT_LEFT)
			held++;
	}
	iopf_rcu_read_unlock();
	return held;
}

void
iopf_queue_count_groups(const struct iopf_queue *q, const struct iopf_attachment *attachment,
		unsigned int *partial, unsigned int *pending)
{
	uint32_t nb_slots = q->nb_slots;

	for (uint32_t i = 0; i < nb_slots; i++) {
		const struct iopf_slot *slot = &q->slots[i];
		enum iopf_slot_state state = IOPF_SLOT_STATE(iopf_slot_load(slot));

		if (attachment != __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED))
			continue;
		*partial += state == IOPF_SLOT_PARTIAL;
		*pending += iopf_slot_is_pending(state);
	}
}

bool
iopf_queue_has_waiting(const struct iopf_queue *q)
{
	uint32_t nb_slots = q->nb_slots;

	for (uint32_t i = 0; i < nb_slots; i++) {
		enum iopf_slot_state state = IOPF_SLOT_STATE(iopf_slot_load(&q->slots[i]));

		if (iopf_slot_is_pending(state) || state == IOPF_SLOT_PARTIAL ||
				state == IOPF_SLOT_SENDING)
			return true;
	}
	return false;
}

/*
 * All devices of an IOMMU share its stalls. While 7/8 of them are pending and several devices are
 * attached, a device that holds more than an equal share gives up the stalls that its handlers have
 * had for longer than share_ms.
 */
bool
iopf_queue_is_pressed(struct iopf_queue *q)
{
	uint32_t stalls = q->iommu->info.max_stalls, most = stalls - stalls / 8, pending = 0;

	if (q->prg != NULL || stalls == 0 ||
			atomic_load_explicit(&q->iommu->nb_attached, memory_order_relaxed) < 2 ||
			iopf_queue_nb_held(q) < most)
		return false;
	for (uint32_t i = 0; i < q->nb_slots; i++)
		pending += iopf_slot_is_pending(IOPF_SLOT_STATE(iopf_slot_load(&q->slots[i])));
	return pending >= most;
}

static bool
dev_is_over_share(const struct iopf_queue *q, const struct iopf_dev *dev)
{
	return (uint64_t)atomic_load_explicit(&dev->held, memory_order_relaxed) *
		atomic_load_explicit(&q->iommu->nb_attached, memory_order_relaxed) >
		q->iommu->info.max_stalls;
}

void
iopf_queue_expire(struct iopf_queue *q, uint64_t now)
{
	uint32_t n = RTE_MAX(q->nb_slots / MAX_PARTS, EXPIRE_SLOTS), first = q->scan;
	uint32_t end = RTE_MIN(q->nb_slots, first + n);
	bool pressed = iopf_queue_is_pressed(q);

	if (first == 0)
		iopf_deadlines_begin_sweep(q);
	q->scan = end & (q->nb_slots - 1);
	for (uint32_t i = first; i < end; i++) {
		struct iopf_slot *slot = &q->slots[i];
		uint64_t word = iopf_slot_load(slot);
		struct iopf_attachment *attachment;

		if (!iopf_slot_is_pending(IOPF_SLOT_STATE(word)))
			continue;
		attachment = __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED);
		if (iopf_deadline_is_over(q, i, word, attachment, now)) {
			if (iopf_fault_cancel(q, slot, word, IOPF_CANCEL_DEADLINE))
				iopf_deadline_report(q, slot, attachment->dev);
		} else if (pressed && dev_is_over_share(q, attachment->dev) &&
				iopf_slot_is_older(slot, now, q->iommu->share_cycles) &&
				iopf_fault_cancel(q, slot, word, IOPF_CANCEL_DEADLINE)) {
			iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_OVER_SHARE, 1);
			iopf_dev_count(attachment->dev, IOPF_DEV_STAT_OVER_SHARE, 1);
		}
	}
}
