/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <assert.h>
#include <stdlib.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_cycles.h>

#include "answer.h"
#include "attachment.h"
#include "breaker.h"
#include "call.h"
#include "domain.h"
#include "episode.h"
#include "flush.h"
#include "iopf_trace.h"
#include "join.h"
#include "pass.h"
#include "prg.h"
#include "verdict.h"

/* A stack's word, from bit 0: the top, is open, the generation. */
#define TOP_BITS	19
#define STACK_TOP(word)	((uint32_t)(word) & ((1u << TOP_BITS) - 1))
#define STACK_OPEN	(UINT64_C(1) << TOP_BITS)
#define STACK_GEN(word)	((word) >> (TOP_BITS + 1))
#define STACK_WORD(gen, open, top) ((uint64_t)(gen) << (TOP_BITS + 1) | (open) | (top))
/* A top names a slot of one of the queues: 0 is none. */
#define NO_TOP		0
#define TOP_OF(queue, slot) (((uint32_t)(queue) << IOPF_ID_SLOT_BITS | (slot)) + 1)
#define TOP_QUEUE(top)	(((top) - 1) >> IOPF_ID_SLOT_BITS)
#define TOP_SLOT(top)	(((top) - 1) & (IOPF_MAX_SLOTS - 1))

static_assert(IOPF_ID_QUEUE_BITS + IOPF_ID_SLOT_BITS < TOP_BITS, "a top names each slot");
static_assert(IOPF_ID_GEN_BITS + TOP_BITS + 1 <= 64, "a stack's word has a whole generation");

#define MAX_ENTRIES	8192
/* Attempts of a push. Each that fails is a push of the other queue's owner, or a close. */
#define MAX_PUSHES	64
/* Pages of a group that are published or remembered. */
#define MAX_PAGES	32
/* Answers to joined faults that are given to the driver at a time. */
#define ANSWERS		32

struct entry {
	_Atomic uint32_t busy;		/* a thread reads or writes the entry; no thread waits */
	_Atomic uint32_t perm;		/* of the leader's access */
	_Atomic uint64_t page;
	_Atomic uint64_t id;		/* of the leader; 0: none */
};

struct iopf_join {
	uint32_t mask;
	uint8_t page_log2;
	struct entry entries[];
};

struct iopf_join *
iopf_join_create(uint8_t page_log2, uint32_t nb_slots)
{
	uint32_t n = rte_align32pow2(RTE_MIN(nb_slots * 2, (uint32_t)MAX_ENTRIES));
	struct iopf_join *join = iopf_zalloc(sizeof(*join) + n * sizeof(join->entries[0]));

	if (join == NULL)
		return NULL;
	join->mask = n - 1;
	join->page_log2 = page_log2;
	return join;
}

void
iopf_join_destroy(struct iopf_join *join)
{
	free(join);
}

/* What an access waits for: a page, and the permissions that it needs there. */
struct need {
	uint64_t page;
	uint32_t perm;
};

/*
 * Of a fault in stage 2 the page of its IPA: the input addresses of accesses that wait for one page
 * of tables differ. Its number is no number of a page of input addresses, since join_log2 is at
 * least 12. Stage 2 knows no privilege. The IOMMU reads its tables, whatever the device's access
 * is.
 */
static __rte_noinline struct need
need_of_stage2(const struct iopf_join *join, const struct iopf_fault *fault)
{
	return (struct need){
		.page = ~(fault->ipa >> join->page_log2),
		.perm = fault->fault_class == IOPF_CLASS_IN ? fault->perm & ~IOPF_PERM_PRIV :
			IOPF_PERM_READ,
	};
}

static inline struct need
need_of(const struct iopf_join *join, const struct iopf_fault *fault)
{
	if (unlikely(fault->flags & IOPF_FAULT_STAGE2))
		return need_of_stage2(join, fault);
	return (struct need){ fault->addr >> join->page_log2, fault->perm };
}

static inline uint32_t
page_hash(uint64_t page)
{
	return iopf_table_hash(page);
}

/* What the leader's access may do after its answer, the other access may do too. */
static inline bool
perm_covers(uint32_t leader, uint32_t perm)
{
	return ((leader ^ perm) & IOPF_PERM_PRIV) == 0 && (perm & ~leader) == 0;
}

/* An entry is locked for a few instructions; a thread that finds it busy goes without it. */
static inline bool
entry_try_lock(struct entry *entry)
{
	/* Acquire: with the release in entry_unlock(). */
	return atomic_exchange_explicit(&entry->busy, 1, memory_order_acquire) == 0;
}

static inline void
entry_unlock(struct entry *entry)
{
	atomic_store_explicit(&entry->busy, 0, memory_order_release);
}

/* The id of the leader that the access would join, or 0. */
static uint64_t
leader_of(struct iopf_join *join, struct need need)
{
	struct entry *entry = &join->entries[page_hash(need.page) & join->mask];
	uint64_t id = 0;

	if (atomic_load_explicit(&entry->page, memory_order_relaxed) != need.page ||
			!entry_try_lock(entry))
		return 0;
	if (atomic_load_explicit(&entry->page, memory_order_relaxed) == need.page &&
			perm_covers(atomic_load_explicit(&entry->perm, memory_order_relaxed),
			need.perm))
		id = atomic_load_explicit(&entry->id, memory_order_relaxed);
	entry_unlock(entry);
	return id;
}

/* The leader of all pages of the group, or 0. */
static uint64_t
leader_of_group(struct iopf_join *join, const struct iopf_group *group)
{
	uint64_t id = leader_of(join, need_of(join, group->faults[0]));

	for (uint16_t i = 1; i < group->nb_faults && id != 0; i++)
		if (leader_of(join, need_of(join, group->faults[i])) != id)
			return 0;
	return id;
}

static bool
stack_push(struct iopf_queue *q, uint64_t id, struct iopf_slot *slot, uint32_t top)
{
	_Atomic uint64_t *stack = &q->joins[IOPF_ID_SLOT(id)];
	uint64_t word = atomic_load_explicit(stack, memory_order_relaxed);

	for (unsigned int i = 0; i < MAX_PUSHES; i++) {
		if (STACK_GEN(word) != IOPF_ID_GEN(id) || (word & STACK_OPEN) == 0)
			return false;
		slot->next = STACK_TOP(word);
		/* Release: with the acquire in stack_close(). */
		if (atomic_compare_exchange_weak_explicit(stack, &word,
				STACK_WORD(IOPF_ID_GEN(id), STACK_OPEN, top),
				memory_order_release, memory_order_relaxed))
			return true;
	}
	return false;
}

static void
stack_open(_Atomic uint64_t *stack, uint64_t gen)
{
	uint64_t word = atomic_load_explicit(stack, memory_order_relaxed);

	if (STACK_GEN(word) < gen && (word & STACK_OPEN) == 0)
		atomic_compare_exchange_strong_explicit(stack, &word,
				STACK_WORD(gen, STACK_OPEN, NO_TOP), memory_order_relaxed,
				memory_order_relaxed);
}

/* Returns the top of the stack, whose slots are the caller's. */
static uint32_t
stack_close(_Atomic uint64_t *stack, uint64_t gen)
{
	uint64_t word = atomic_load_explicit(stack, memory_order_relaxed);

	/* Bounded: a failure is a push, of one of the slots, or the open. */
	do {
		/* A later generation: this one was never opened. */
		if (STACK_GEN(word) > gen)
			return NO_TOP;
		/* Acquire: with the release in stack_push(). */
	} while (!atomic_compare_exchange_weak_explicit(stack, &word, STACK_WORD(gen, 0, NO_TOP),
			memory_order_acquire, memory_order_relaxed));
	return STACK_GEN(word) == gen ? STACK_TOP(word) : NO_TOP;
}

/* Of a complete group, or a fault of the event queue. */
static inline uint32_t
nb_slots_of(const struct iopf_queue *q, const struct iopf_slot *slot)
{
	return q->prg == NULL ? 1 : iopf_prg_count_slots(q, slot);
}

/* False: the handler is called. */
static bool
leader_join(struct iopf_attachment *attachment, const struct iopf_group *group, uint64_t id,
		enum iopf_verdict *verdict)
{
	struct iopf_pass *pass = iopf_self.pass;
	struct iopf_queue *q = pass->queue;
	struct iopf_slot *slot = &q->slots[IOPF_ID_SLOT(group->id)];
	uint64_t handling = IOPF_SLOT_WORD(IOPF_ID_GEN(group->id), IOPF_SLOT_HANDLING);
	uint64_t joined = IOPF_SLOT_WORD(IOPF_ID_GEN(group->id), IOPF_SLOT_JOINED);
	uint32_t nb_slots = nb_slots_of(q, slot);

	/* Stacks have half of the queue's slots. This thread is the one that adds to the count. */
	if (atomic_load_explicit(&q->nb_stacked, memory_order_relaxed) + nb_slots > q->nb_slots / 2)
		return false;
	/* A cancel may come first: verdict_apply() finds the answer sent, and frees the slot. */
	*verdict = IOPF_ANSWER(IOPF_INVALID);
	/* It keeps one of the IOMMU's stalls, as the leader does. */
	if (!dev_count_held_slot(q, attachment->dev)) {
		iopf_dev_count(attachment->dev, IOPF_DEV_STAT_REFUSED_SHARE, 1);
		return true;
	}
	if (attachment->breaker != NULL)
		iopf_breaker_count_held(attachment, group->faults[0]);
	if (!iopf_slot_cas(slot, handling, joined)) {
		dev_uncount_held_slot(q, slot);
		return true;
	}
	/* The thread that closes the stack subtracts: batch_end(). */
	atomic_fetch_add_explicit(&q->nb_stacked, nb_slots, memory_order_relaxed);
	if (stack_push(&q->iommu->queues[IOPF_ID_QUEUE(id)], id, slot,
			TOP_OF(q->id, slot->index))) {
		pass->joined = true;
		return true;
	}
	atomic_fetch_sub_explicit(&q->nb_stacked, nb_slots, memory_order_relaxed);
	if (iopf_slot_cas(slot, joined, handling)) {
		dev_uncount_held_slot(q, slot);
		return false;
	}
	/* Cancelled, and in no stack: the slot is this thread's. */
	__atomic_store_n(&slot->state, IOPF_SLOT_WORD(IOPF_ID_GEN(group->id), IOPF_SLOT_DONE),
			__ATOMIC_RELEASE);
	return true;
}

/* The burst's entry of a page, whether it is this page's or not. */
static inline struct iopf_pass_answered *
answered_entry(struct iopf_pass *pass, uint64_t page)
{
	return &pass->answered[page_hash(page) % IOPF_PASS_ANSWERED];
}

/*
 * The handler's answer to a fault of this burst on the page, or NULL. If it waits for
 * invalidations, their batch is still to be sent.
 */
static inline const struct iopf_pass_answered *
page_answered(struct iopf_pass *pass, const struct iopf_join *join, struct need need)
{
	const struct iopf_pass_answered *answered = answered_entry(pass, need.page);

	if (answered->join != join || answered->page != need.page || answered->now != pass->now ||
			!perm_covers(answered->perm, need.perm))
		return NULL;
	if ((answered->verdict & ~0xff) == IOPF_VERDICT_AFTER_INV &&
			answered->nb_posts != pass->nb_posts)
		return NULL;
	return answered;
}

/* The group is a duplicate of one that was answered in this burst. */
static bool
group_answered(struct iopf_pass *pass, const struct iopf_join *join,
		const struct iopf_group *group, enum iopf_verdict *verdict)
{
	uint32_t leader = 0;

	if (!pass->has_answered)
		return false;
	for (uint16_t i = 0; i < group->nb_faults; i++) {
		const struct iopf_pass_answered *answered = page_answered(pass, join,
				need_of(join, group->faults[i]));

		if (answered == NULL || (i != 0 && answered->leader != leader))
			return false;
		leader = answered->leader;
		*verdict = answered->verdict;
	}
	return true;
}

bool
iopf_join_answer_event(struct iopf_pass *pass, struct iopf_attachment *attachment,
		const struct iopf_event *ev)
{
	uint32_t gate = atomic_load_explicit(&attachment->gate, memory_order_relaxed);
	const struct iopf_pass_answered *answered;
	struct iopf_domain *domain = attachment->domain;
	struct iopf_answer answer = {
		.sid = ev->sid,
		.pasid = ev->pasid,
		.token = ev->token,
	};

	if ((ev->flags & (IOPF_EVENT_STALL | IOPF_EVENT_STAGE2)) != IOPF_EVENT_STALL ||
			(gate & ~IOPF_GATE_EPISODES) != IOPF_GATE_JOIN ||
			((gate & IOPF_GATE_EPISODES) && iopf_episode_is_open(attachment)))
		return false;
	answered = page_answered(pass, attachment->join, (struct need){
			ev->addr >> attachment->join->page_log2, ev->perm });
	/* verdict_apply() looks whether the IOMMU has RAZWI. */
	if (answered == NULL || (answered->verdict & 0xff) == IOPF_RAZWI)
		return false;
	pass_run_begin(pass, domain);
	pass->run_faults++;
	pass->run_joined++;
	iopf_trace_fault(pass->queue->iommu->id, ev->sid, ev->pasid, ev->addr, ev->perm);
	answer.code = answered->verdict & 0xff;
	if ((answered->verdict & ~0xff) == IOPF_VERDICT_AFTER_INV) {
		pass->after[pass->nb_after++] = answer;
		iopf_domain_count(domain, IOPF_STAT_AFTER_INV, 1);
	} else {
		pass->answers[pass->nb_answers++] = answer;
	}
	pass_count_answer(pass, answer.code);
	return true;
}

bool
iopf_join_try(struct iopf_attachment *attachment, const struct iopf_group *group,
		enum iopf_verdict *verdict)
{
	uint64_t id;

	if (!group_answered(iopf_self.pass, attachment->join, group, verdict)) {
		id = leader_of_group(attachment->join, group);
		if (id == 0 || !leader_join(attachment, group, id, verdict))
			return false;
	}
	iopf_self.pass->run_joined++;
	return true;
}

void
iopf_join_remember(struct iopf_attachment *attachment, const struct iopf_group *group,
		enum iopf_verdict verdict)
{
	const struct iopf_join *join = attachment->join;
	struct iopf_pass *pass = iopf_self.pass;
	enum iopf_verdict kind = verdict & ~0xff;

	/* A failure is for this device alone. */
	if ((kind != IOPF_VERDICT_ANSWER && kind != IOPF_VERDICT_AFTER_INV) ||
			(verdict & 0xff) >= IOPF_NB_CODES || (verdict & 0xff) == IOPF_FAILURE)
		return;
	if (!pass->has_answered)
		memset(pass->answered, 0, sizeof(pass->answered));
	pass->has_answered = true;
	for (uint16_t i = 0; i < RTE_MIN(group->nb_faults, MAX_PAGES); i++) {
		struct need need = need_of(join, group->faults[i]);

		*answered_entry(pass, need.page) = (struct iopf_pass_answered){
			.join = join,
			.page = need.page,
			.now = pass->now,
			.verdict = verdict,
			.leader = IOPF_ID_SLOT(group->id),
			.nb_posts = pass->nb_posts,
			.perm = need.perm,
		};
	}
}

void
iopf_join_publish(struct iopf_attachment *attachment, const struct iopf_group *group)
{
	struct iopf_join *join = attachment->join;
	struct iopf_queue *q = iopf_self.pass->queue;
	uint32_t index = IOPF_ID_SLOT(group->id);
	uint64_t word = iopf_slot_load(&q->slots[index]);

	/*
	 * This thread is the one that uses a free slot again, so the faults are those of the group
	 * still. If the group is answered from here on, its stack is closed, or will be.
	 */
	if (IOPF_SLOT_GEN(word) != IOPF_ID_GEN(group->id) ||
			!iopf_slot_is_pending(IOPF_SLOT_STATE(word)))
		return;
	stack_open(&q->joins[index], IOPF_ID_GEN(group->id));
	for (uint16_t i = 0; i < RTE_MIN(group->nb_faults, MAX_PAGES); i++) {
		struct need need = need_of(join, group->faults[i]);
		struct entry *entry = &join->entries[page_hash(need.page) & join->mask];

		if (!entry_try_lock(entry))
			continue;
		atomic_store_explicit(&entry->page, need.page, memory_order_relaxed);
		atomic_store_explicit(&entry->perm, need.perm, memory_order_relaxed);
		atomic_store_explicit(&entry->id, group->id, memory_order_relaxed);
		entry_unlock(entry);
	}
}

/* Answers to the faults that have joined one leader, and their slots. */
struct batch {
	struct iopf_iommu *iommu;
	struct iopf_domain *domain;
	const struct iopf_dev *dev;	/* of the leader */
	uint64_t now;
	uint32_t nb_answered[IOPF_NB_CODES];
	uint16_t n;
	struct iopf_answer answers[ANSWERS];
	struct freed {
		struct iopf_slot_chain chain;	/* of groups, by their first slots */
		uint32_t nb_slots;
	} freed[IOPF_MAX_QUEUES];
};

static void
batch_send(struct batch *batch)
{
	const struct iopf_driver_ops *ops = &batch->iommu->driver->ops;
	uint16_t taken;

	if (batch->n == 0)
		return;
	taken = ops->answer(batch->iommu->priv, batch->answers, batch->n);
	if (unlikely(taken < batch->n))
		iopf_iommu_count(batch->iommu, IOPF_IOMMU_STAT_ANSWERS_LOST, batch->n - taken);
	batch->n = 0;
}

static void
batch_end(struct batch *batch)
{
	batch_send(batch);
	for (unsigned int i = 0; i < IOPF_NB_CODES; i++)
		iopf_answer_count(batch->iommu, batch->domain, i, batch->nb_answered[i]);
	for (unsigned int i = 0; i < batch->iommu->info.nb_queues; i++) {
		struct iopf_queue *q = &batch->iommu->queues[i];

		if (batch->freed[i].nb_slots == 0)
			continue;
		atomic_fetch_sub_explicit(&q->nb_stacked, batch->freed[i].nb_slots,
				memory_order_relaxed);
		iopf_slot_free_chain(q, &batch->freed[i].chain);
	}
}

static void
joined_answer(struct batch *batch, struct iopf_slot_copy *copy, enum iopf_code code,
		enum iopf_cancel why)
{
	bool request = copy->flags & IOPF_FAULT_PAGE_REQUEST;

	if (why == IOPF_CANCEL_TERMINATED) {
		if ((copy->flags & IOPF_FAULT_STALLED) ||
				(request && !iopf_iommu_answers_requests(batch->iommu))) {
			iopf_domain_count(batch->domain, IOPF_STAT_TERMINATED, 1);
			return;
		}
		/*
		 * A recovery or a stop does not end page requests. The device requests the page
		 * again.
		 */
		code = request ? IOPF_SUCCESS : IOPF_INVALID;
	}
	/* A failure switches the PRI of the leader's device off, and not that of others. */
	if ((code == IOPF_RAZWI && request) ||
			(code == IOPF_FAILURE && copy->attachment->dev != batch->dev))
		code = IOPF_INVALID;
	if (iopf_answer_prepare(batch->iommu, copy, code)) {
		batch->answers[batch->n++] = copy->answer;
		if (batch->n == ANSWERS)
			batch_send(batch);
	}
	iopf_hist_add(&batch->domain->latency, batch->now - copy->time, 1);
	batch->nb_answered[code]++;
}

void
iopf_join_answer(struct iopf_queue *q, const struct iopf_attachment *attachment, uint32_t index,
		uint64_t gen, enum iopf_code code, enum iopf_cancel why)
{
	uint32_t top = stack_close(&q->joins[index], gen);
	struct batch batch;

	if (likely(top == NO_TOP))
		return;
	batch.iommu = q->iommu;
	batch.domain = attachment->domain;
	batch.dev = attachment->dev;
	batch.now = rte_rdtsc();
	batch.n = 0;
	memset(batch.nb_answered, 0, sizeof(batch.nb_answered));
	memset(batch.freed, 0, sizeof(batch.freed));
	while (top != NO_TOP) {
		struct iopf_queue *own = &q->iommu->queues[TOP_QUEUE(top)];
		struct iopf_slot *slot = &own->slots[TOP_SLOT(top)];
		struct freed *freed = &batch.freed[own->id];
		struct iopf_slot_copy copy;

		top = slot->next;
		if (iopf_slot_claim_joined(slot, &copy)) {
			joined_answer(&batch, &copy, code, why);
			if (own->prg == NULL)
				iopf_attachment_uncount_held(copy.attachment);
		} else {
			iopf_slot_leave(slot);
		}
		freed->nb_slots += nb_slots_of(own, slot);
		iopf_slot_chain_add(&freed->chain, slot);
	}
	batch_end(&batch);
}
