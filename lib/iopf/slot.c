/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "iopf_private.h"

static_assert(sizeof(struct iopf_fault) == 64, "a fault's state is 64 bytes");

/* A slot's state word moves at most this often in one generation. */
#define MAX_MOVES 8

void *
iopf_zalloc(size_t size)
{
	void *p;

	size = RTE_ALIGN_CEIL(size, (size_t)RTE_CACHE_LINE_SIZE);
	p = aligned_alloc(RTE_CACHE_LINE_SIZE, size);
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

int
iopf_queue_init(struct iopf_queue *q, struct iopf_iommu *iommu, uint16_t id, uint32_t max_slots)
{
	q->iommu = iommu;
	q->id = id;
	q->max_slots = rte_align32pow2(max_slots);
	if (q->max_slots > IOPF_MAX_SLOTS)
		return -EINVAL;
	q->slots = iopf_zalloc(q->max_slots * sizeof(q->slots[0]));
	q->free = iopf_zalloc(q->max_slots * sizeof(q->free[0]));
	if (q->slots == NULL || q->free == NULL ||
			(id == IOPF_QUEUE_REQUESTS && iopf_prg_init(q) < 0)) {
		iopf_queue_fini(q);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < q->max_slots; i++) {
		q->slots[i].slot = i;
		q->slots[i].queue = id;
		q->slots[i].state = IOPF_SLOT_WORD(1, IOPF_SLOT_FREE);
	}
	iopf_queue_resize(q, q->max_slots);
	return 0;
}

void
iopf_queue_resize(struct iopf_queue *q, uint32_t nb_slots)
{
	nb_slots = rte_align32pow2(nb_slots);
	q->nb_slots = nb_slots;
	/* The last freed is taken first: start with slot 0. */
	for (uint32_t i = 0; i < nb_slots; i++)
		q->free[i] = nb_slots - 1 - i;
	q->nb_free = nb_slots;
	atomic_store(&q->freed, IOPF_NO_SLOT);
	if (q->prg != NULL)
		iopf_prg_reset(q);
}

void
iopf_queue_fini(struct iopf_queue *q)
{
	iopf_prg_fini(q);
	free(q->slots);
	free(q->free);
	q->slots = NULL;
	q->free = NULL;
}

/* The chain is at most all slots long. */
void
iopf_slot_reclaim(struct iopf_queue *q)
{
	uint32_t i;

	if (atomic_load_explicit(&q->freed, memory_order_relaxed) == IOPF_NO_SLOT)
		return;
	/* Acquire: with the release in iopf_slot_free(). */
	i = atomic_exchange_explicit(&q->freed, IOPF_NO_SLOT, memory_order_acquire);
	while (i != IOPF_NO_SLOT) {
		uint32_t next = q->slots[i].next;

		if (q->prg != NULL)
			iopf_prg_free(q, i);
		else
			q->free[q->nb_free++] = i;
		i = next;
	}
}

uint32_t
iopf_queue_nb_held(struct iopf_queue *q)
{
	iopf_slot_reclaim(q);
	return q->nb_slots - q->nb_free;
}

struct iopf_fault *
iopf_slot_alloc(struct iopf_queue *q)
{
	if (unlikely(q->nb_free == 0))
		iopf_slot_reclaim(q);
	if (unlikely(q->nb_free == 0))
		return NULL;
	return &q->slots[q->free[--q->nb_free]];
}

/* In a read section: the attachment, and its device, go only after a grace period. */
void
iopf_slot_free(struct iopf_queue *q, struct iopf_fault *slot)
{
	struct iopf_attachment *attachment = __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED);
	uint32_t head = atomic_load_explicit(&q->freed, memory_order_relaxed);

	if (q->prg == NULL)
		atomic_fetch_sub_explicit(&attachment->dev->held, 1, memory_order_relaxed);
	do {
		slot->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&q->freed, &head, slot->slot,
			memory_order_release, memory_order_relaxed));
}

struct iopf_fault *
iopf_slot_find(uint64_t id, struct iopf_queue **q)
{
	struct iopf_iommu *iommu = iopf_iommu_get(IOPF_ID_IOMMU(id));

	if (iommu == NULL || IOPF_ID_QUEUE(id) >= iommu->info.nb_queues)
		return NULL;
	*q = &iommu->queues[IOPF_ID_QUEUE(id)];
	if (IOPF_ID_SLOT(id) >= (*q)->max_slots)
		return NULL;
	return &(*q)->slots[IOPF_ID_SLOT(id)];
}

/* What an answer needs, read while the slot may still change hands. */
struct slot_copy {
	struct iopf_attachment *attachment;
	struct iopf_answer answer;
	uint64_t time;
	uint64_t addr;
	uint8_t perm;
	uint8_t flags;
};

static void
slot_copy(const struct iopf_fault *slot, struct slot_copy *copy)
{
	copy->attachment = __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED);
	copy->time = __atomic_load_n(&slot->time, __ATOMIC_RELAXED);
	copy->answer.sid = __atomic_load_n(&slot->sid, __ATOMIC_RELAXED);
	copy->answer.pasid = __atomic_load_n(&slot->pasid, __ATOMIC_RELAXED);
	copy->answer.token = __atomic_load_n(&slot->token, __ATOMIC_RELAXED);
	copy->answer.page_request = false;
	copy->addr = __atomic_load_n(&slot->addr, __ATOMIC_RELAXED);
	copy->perm = __atomic_load_n(&slot->perm, __ATOMIC_RELAXED);
	copy->flags = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED);
}

/*
 * Become the one who answers the fault that @p word was read for. The copy is
 * that fault's if this returns 0, since the generation did not move.
 */
static int
slot_claim(struct iopf_fault *slot, uint32_t word, struct slot_copy *copy, bool *ours)
{
	uint32_t gen = IOPF_SLOT_GEN(word);

	for (unsigned int i = 0; i < MAX_MOVES; i++, word = iopf_slot_load(slot)) {
		uint32_t to;

		if (IOPF_SLOT_GEN(word) != gen)
			return -ESTALE;
		switch (IOPF_SLOT_STATE(word)) {
		case IOPF_SLOT_TAKEN:
		case IOPF_SLOT_QUEUED:
			to = iopf_slot_free_word(gen);
			*ours = true;
			break;
		case IOPF_SLOT_HANDLING:
			to = IOPF_SLOT_WORD(gen, IOPF_SLOT_DONE);
			*ours = false;
			break;
		default:
			return -ESTALE;
		}
		slot_copy(slot, copy);
		if (iopf_slot_cas(slot, word, to))
			return 0;
	}
	return -ESTALE;
}

static const enum iopf_stat code_stat[IOPF_NB_CODES] = {
	[IOPF_SUCCESS] = IOPF_STAT_SUCCESS,
	[IOPF_INVALID] = IOPF_STAT_INVALID,
	[IOPF_FAILURE] = IOPF_STAT_FAILURE,
	[IOPF_RAZWI] = IOPF_STAT_RAZWI,
};

/* In a read section: the attachment goes only after a grace period. */
static void
answer_send(struct iopf_queue *q, struct slot_copy *copy, enum iopf_code code)
{
	struct iopf_iommu *iommu = q->iommu;
	struct iopf_domain *domain = copy->attachment->domain;
	uint16_t taken = 1;

	if (copy->flags & IOPF_FAULT_PAGE_REQUEST) {
		copy->answer.page_request = true;
		copy->answer.pasid = iopf_answer_pasid(iommu, copy->attachment->dev,
				copy->answer.pasid);
		copy->answer.code = code;
		taken = iommu->driver->ops.answer(iommu->priv, &copy->answer, 1);
	} else if (copy->flags & IOPF_FAULT_STALLED) {
		copy->answer.code = code;
		taken = iommu->driver->ops.answer(iommu->priv, &copy->answer, 1);
	} else {
		const struct iopf_retry retry = {
			.addr = copy->addr,
			.sid = copy->answer.sid,
			.pasid = copy->answer.pasid,
			.perm = copy->perm,
			.code = code,
		};

		iopf_dev_retry(copy->attachment->dev, &retry);
	}
	if (unlikely(taken == 0))
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS_LOST, 1);
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS, 1);
	iopf_hist_add(&domain->latency, rte_rdtsc() - copy->time, 1);
	iopf_domain_count(domain, code_stat[code], 1);
}

/*
 * Around a claim and its answer, where these are not the poller's own. A recovery that
 * ends all stalls must not let the IOMMU make new ones, with the same tokens, before an
 * answer that was claimed earlier is out: see queue_check(). The claim's release orders
 * the increment before it, so whoever finds the slot claimed finds the count.
 */
static void
answering_begin(struct iopf_iommu *iommu)
{
	atomic_fetch_add_explicit(&iommu->answering, 1, memory_order_relaxed);
}

static void
answering_end(struct iopf_iommu *iommu)
{
	/* Release: with the acquire in queue_check(). */
	atomic_fetch_sub_explicit(&iommu->answering, 1, memory_order_release);
}

int
iopf_group_respond(uint64_t id, enum iopf_code code)
{
	struct slot_copy copy;
	struct iopf_fault *slot;
	struct iopf_queue *q;
	uint32_t word;
	bool ours;
	int ret = -ESTALE;

	if ((unsigned int)code >= IOPF_NB_CODES)
		return iopf_ret(-EINVAL);

	iopf_rcu_read_lock();
	slot = iopf_slot_find(id, &q);
	if (slot != NULL) {
		if (code == IOPF_RAZWI && (q->prg != NULL || !q->iommu->info.razwi))
			code = IOPF_INVALID;
		answering_begin(q->iommu);
		word = iopf_slot_load(slot);
		if (IOPF_SLOT_GEN(word) == IOPF_ID_GEN(id))
			ret = slot_claim(slot, word, &copy, &ours);
		if (ret == 0)
			answer_send(q, &copy, code);
		answering_end(q->iommu);
		if (ret < 0)
			iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_STALE_ANSWERS, 1);
		else if (ours)
			iopf_slot_free(q, slot);
	}
	iopf_rcu_read_unlock();
	return iopf_ret(ret);
}

static void
fault_cancel(struct iopf_queue *q, struct iopf_fault *slot, uint32_t word, enum iopf_cancel why)
{
	static const enum iopf_stat why_stat[] = {
		[IOPF_CANCEL_DETACH] = IOPF_STAT_CANCELLED,
		[IOPF_CANCEL_DRAIN] = IOPF_STAT_CANCELLED,
		[IOPF_CANCEL_DEADLINE] = IOPF_STAT_EXPIRED,
		[IOPF_CANCEL_TERMINATED] = IOPF_STAT_TERMINATED,
	};
	struct slot_copy copy;
	bool ours;
	int ret;

	answering_begin(q->iommu);
	ret = slot_claim(slot, word, &copy, &ours);
	if (ret == 0) {
		iopf_domain_count(copy.attachment->domain, why_stat[why], 1);
		/* What the IOMMU has ended needs no answer; what never waited for it does. */
		if (why != IOPF_CANCEL_TERMINATED ||
				!(copy.flags & (IOPF_FAULT_STALLED | IOPF_FAULT_PAGE_REQUEST)))
			answer_send(q, &copy, IOPF_INVALID);
	}
	answering_end(q->iommu);
	if (ret == 0 && ours)
		iopf_slot_free(q, slot);
}

unsigned int
iopf_queue_cancel(struct iopf_queue *q, const struct iopf_attachment *attachment,
		enum iopf_cancel why)
{
	uint32_t nb_slots = q->nb_slots;
	unsigned int held = 0;

	iopf_rcu_read_lock();
	for (uint32_t i = 0; i < nb_slots; i++) {
		struct iopf_fault *slot = &q->slots[i];
		uint32_t word = iopf_slot_load(slot);

		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_FREE)
			continue;
		if (attachment != NULL && attachment !=
				__atomic_load_n(&slot->attachment, __ATOMIC_RELAXED))
			continue;
		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_PARTIAL && why == IOPF_CANCEL_DRAIN)
			continue;
		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_PARTIAL) {
			/* With its Last it becomes a group, which is then answered like others. */
			if (iopf_slot_cas(slot, word, IOPF_SLOT_WORD(IOPF_SLOT_GEN(word),
					IOPF_SLOT_DROPPED)))
				continue;
			word = iopf_slot_load(slot);
		}
		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_DROPPED)
			continue;
		if (IOPF_SLOT_STATE(word) != IOPF_SLOT_DONE)
			fault_cancel(q, slot, word, why);
		if (IOPF_SLOT_STATE(iopf_slot_load(slot)) != IOPF_SLOT_FREE)
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
		const struct iopf_fault *slot = &q->slots[i];
		enum iopf_slot_state state = IOPF_SLOT_STATE(iopf_slot_load(slot));

		if (attachment != __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED))
			continue;
		*partial += state == IOPF_SLOT_PARTIAL;
		*pending += state == IOPF_SLOT_HANDLING || state == IOPF_SLOT_QUEUED ||
				state == IOPF_SLOT_TAKEN;
	}
}

/* Not answered yet; a slot whose fault was answered may still be with its handler. */
static bool
is_pending(enum iopf_slot_state state)
{
	return state == IOPF_SLOT_HANDLING || state == IOPF_SLOT_QUEUED ||
		state == IOPF_SLOT_TAKEN;
}

/*
 * Stalls are one pool of the IOMMU. While 7/8 of it are pending, and other devices are attached, a
 * device that holds more than an equal share gives up what its handlers have had for longer than
 * share_ms.
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
		pending += is_pending(IOPF_SLOT_STATE(iopf_slot_load(&q->slots[i])));
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
iopf_queue_expire(struct iopf_queue *q, uint64_t now, uint32_t n)
{
	uint64_t hz = rte_get_tsc_hz();
	bool pressed = iopf_queue_is_pressed(q);

	for (; n > 0; n--) {
		struct iopf_fault *slot = &q->slots[q->scan++ & (q->nb_slots - 1)];
		uint32_t word = iopf_slot_load(slot);
		struct iopf_attachment *attachment;
		uint64_t limit;

		if (!is_pending(IOPF_SLOT_STATE(word)))
			continue;
		attachment = __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED);
		limit = attachment->domain->conf.deadline_ms * hz / 1000;
		if (limit != 0 && now - __atomic_load_n(&slot->time, __ATOMIC_RELAXED) > limit) {
			fault_cancel(q, slot, word, IOPF_CANCEL_DEADLINE);
		} else if (pressed && dev_is_over_share(q, attachment->dev) &&
				now - __atomic_load_n(&slot->time, __ATOMIC_RELAXED) >
				q->iommu->share_cycles) {
			iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_OVER_SHARE, 1);
			iopf_dev_count(attachment->dev, IOPF_DEV_STAT_OVER_SHARE, 1);
			fault_cancel(q, slot, word, IOPF_CANCEL_DEADLINE);
		}
	}
}

unsigned int
iopf_queue_list_outstanding(struct iopf_queue *q, uint32_t *from, struct iopf_outstanding *list,
		unsigned int n)
{
	uint32_t nb_slots = q->nb_slots;
	unsigned int found = 0;
	uint32_t i;

	for (i = *from; i < nb_slots && found < n; i++) {
		struct iopf_fault *slot = &q->slots[i];
		uint32_t word = iopf_slot_load(slot);
		struct iopf_outstanding *o = &list[found];

		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_FREE)
			continue;
		memset(o, 0, sizeof(*o));
		o->state = IOPF_SLOT_STATE(word);
		o->id = iopf_group_make_id(q, i, IOPF_SLOT_GEN(word));
		o->fault.addr = __atomic_load_n(&slot->addr, __ATOMIC_RELAXED);
		o->fault.time = __atomic_load_n(&slot->time, __ATOMIC_RELAXED);
		o->fault.sid = __atomic_load_n(&slot->sid, __ATOMIC_RELAXED);
		o->fault.pasid = __atomic_load_n(&slot->pasid, __ATOMIC_RELAXED);
		o->fault.token = __atomic_load_n(&slot->token, __ATOMIC_RELAXED);
		o->fault.perm = __atomic_load_n(&slot->perm, __ATOMIC_RELAXED);
		o->fault.reason = __atomic_load_n(&slot->reason, __ATOMIC_RELAXED);
		/* The same generation still: what was read belongs together. */
		if (IOPF_SLOT_GEN(iopf_slot_load(slot)) == IOPF_SLOT_GEN(word))
			found++;
	}
	*from = i;
	return found;
}

const char *
iopf_slot_state_name(enum iopf_slot_state state)
{
	static const char *const names[] = {
		[IOPF_SLOT_FREE] = "free",
		[IOPF_SLOT_HANDLING] = "handling",
		[IOPF_SLOT_QUEUED] = "queued",
		[IOPF_SLOT_TAKEN] = "taken",
		[IOPF_SLOT_DONE] = "answered",
		[IOPF_SLOT_PARTIAL] = "partial",
		[IOPF_SLOT_DROPPED] = "cancelled",
		[IOPF_SLOT_SENDING] = "answered",
	};

	return (unsigned int)state < RTE_DIM(names) ? names[state] : "unknown";
}
