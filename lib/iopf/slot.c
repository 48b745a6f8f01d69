/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>

#include "attachment.h"
#include "breaker.h"
#include "iopf_log.h"
#include "prg.h"
#include "slot.h"

static_assert(sizeof(struct iopf_slot) == 64, "a fault's state is 64 bytes");
static_assert(IOPF_MAX_IOMMUS <= 1u << IOPF_ID_IOMMU_BITS, "an id has room for each IOMMU");
static_assert(IOPF_MAX_QUEUES <= 1u << IOPF_ID_QUEUE_BITS, "an id has room for each queue");
static_assert(IOPF_MAX_SLOTS >= 2 * UINT16_MAX, "STALL_MAX has 16 bits");
static_assert(IOPF_MAX_SLOTS >= 2 * IOPF_MAX_REQUESTS, "an id has room for each request");
static_assert(IOPF_ID_GEN_BITS >= 40, "at 10 M uses a second a slot lasts 30 hours");
static_assert(IOPF_ID_GEN_BITS + IOPF_SLOT_STATE_BITS < 64, "IOPF_GEN_END fits into a word");

/*
 * The next generation of each slot, by IOMMU index and queue, while no IOMMU is open there. The
 * next IOMMU with this index continues from it, slot by slot: an id of a closed IOMMU names no
 * fault of a later one, close and open use up no generations, and a retired slot stays retired.
 * (One first generation for all slots would have to be the highest: one retired slot would retire
 * all.) Kept until the process ends. Used by the open IOMMU of the index only: registry_lock orders
 * one and the next.
 */
static struct kept_gens {
	uint64_t *gens;
	uint32_t nb;
} kept_gens[IOPF_MAX_IOMMUS][IOPF_MAX_QUEUES];

/* There is room for the generations of all slots, so that a close needs no memory. */
static int
kept_gens_extend(struct kept_gens *kept, uint32_t nb)
{
	uint64_t *gens;

	if (nb <= kept->nb)
		return 0;
	gens = realloc(kept->gens, nb * sizeof(gens[0]));
	if (gens == NULL)
		return -ENOMEM;
	for (uint32_t i = kept->nb; i < nb; i++)
		gens[i] = 1;
	kept->gens = gens;
	kept->nb = nb;
	return 0;
}

static void
kept_gens_save(struct kept_gens *kept, const struct iopf_queue *q)
{
	for (uint32_t i = 0; i < q->max_slots; i++) {
		uint64_t word = iopf_slot_load(&q->slots[i]);

		if (IOPF_SLOT_STATE(word) != IOPF_SLOT_FREE)
			word = iopf_slot_next_free_word(IOPF_SLOT_GEN(word));
		kept->gens[i] = IOPF_SLOT_GEN(word);
	}
}

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

/* That of a driver without one never shows an idle queue. */
static const struct iopf_peek *
driver_peek(const struct iopf_iommu *iommu, uint16_t queue)
{
	static const uint32_t word;
	static const struct iopf_peek never_idle = { .word = &word, .idle = IOPF_PEEK_POLL };
	const struct iopf_driver_ops *ops = &iommu->driver->ops;
	const struct iopf_peek *peek = ops->peek != NULL ? ops->peek(iommu->priv, queue) : NULL;

	return peek != NULL ? peek : &never_idle;
}

int
iopf_queue_init(struct iopf_queue *q, struct iopf_iommu *iommu, uint16_t id, uint32_t max_slots)
{
	struct kept_gens *kept = &kept_gens[iommu->id][id];

	q->iommu = iommu;
	q->id = id;
	q->peek = driver_peek(iommu, id);
	q->max_slots = rte_align32pow2(max_slots);
	if (q->max_slots > IOPF_MAX_SLOTS)
		return -EINVAL;
	q->slots = iopf_zalloc(q->max_slots * sizeof(q->slots[0]));
	q->free = iopf_zalloc(q->max_slots * sizeof(q->free[0]));
	q->deadlines = iopf_zalloc(q->max_slots * sizeof(q->deadlines[0]));
	q->joins = iopf_zalloc(q->max_slots * sizeof(q->joins[0]));
	if (q->slots == NULL || q->free == NULL || q->deadlines == NULL || q->joins == NULL ||
			kept_gens_extend(kept, q->max_slots) < 0 ||
			(id == IOPF_QUEUE_REQUESTS && iopf_prg_init(q) < 0)) {
		free(q->slots);
		q->slots = NULL;	/* without a generation to save */
		iopf_queue_fini(q);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < q->max_slots; i++) {
		q->slots[i].index = i;
		q->slots[i].state = IOPF_SLOT_WORD(kept->gens[i], IOPF_SLOT_FREE);
		if (unlikely(iopf_slot_is_retired(q->slots[i].state)))
			iopf_iommu_count(iommu, IOPF_IOMMU_STAT_SLOTS_RETIRED, 1);
	}
	iopf_queue_resize(q, q->max_slots);
	return 0;
}

void
iopf_queue_resize(struct iopf_queue *q, uint32_t nb_slots)
{
	nb_slots = rte_align32pow2(nb_slots);
	q->nb_slots = nb_slots;
	q->scan = 0;
	q->nb_free = 0;
	/* The slot that was freed last is used first: start with slot 0. */
	for (uint32_t i = nb_slots; i-- > 0;)
		if (!iopf_slot_is_retired(iopf_slot_load(&q->slots[i])))
			q->free[q->nb_free++] = i;
	q->nb_retired = nb_slots - q->nb_free;
	atomic_store(&q->freed, IOPF_NO_SLOT);
	if (q->prg != NULL)
		iopf_prg_reset(q);
}

void
iopf_queue_fini(struct iopf_queue *q)
{
	if (q->slots != NULL)
		kept_gens_save(&kept_gens[q->iommu->id][q->id], q);
	iopf_prg_fini(q);
	free(q->slots);
	free(q->free);
	free((void *)q->deadlines);
	free((void *)q->joins);
	q->slots = NULL;
	q->deadlines = NULL;
	q->free = NULL;
	q->joins = NULL;
}

/* Bounded: the stack has at most all slots. */
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
	return q->nb_slots - q->nb_free - q->nb_retired;
}

bool
iopf_queue_is_retired(struct iopf_queue *q)
{
	if (q->nb_retired != q->nb_slots)
		return false;
	IOPF_LOG_LIMITED(&q->iommu->log, "\"%s\": each slot of queue %u has served its 2^%u "
			"faults, and no group id is left: its faults are answered INVALID; start "
			"the process again", q->iommu->name, q->id, IOPF_ID_GEN_BITS);
	return true;
}

static struct iopf_slot *
slot_pop(struct iopf_queue *q)
{
	if (unlikely(q->nb_free == 0))
		iopf_slot_reclaim(q);
	if (unlikely(q->nb_free == 0))
		return NULL;
	return &q->slots[q->free[--q->nb_free]];
}

/* Bounded: a slot retires once. */
__rte_cold struct iopf_slot *
iopf_slot_alloc_slow(struct iopf_queue *q)
{
	struct iopf_slot *slot = slot_pop(q);

	while (slot != NULL && iopf_slot_is_retired(iopf_slot_load(slot))) {
		q->nb_retired++;
		iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_SLOTS_RETIRED, 1);
		slot = slot_pop(q);
	}
	return slot;
}

static inline void
slots_push_freed(struct iopf_queue *q, const struct iopf_slot *first, struct iopf_slot *last)
{
	uint32_t head = atomic_load_explicit(&q->freed, memory_order_relaxed);

	do {
		last->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&q->freed, &head, first->index,
			memory_order_release, memory_order_relaxed));
}

/* In a read section: the attachment and its device are freed after a grace period. */
void
iopf_slot_free(struct iopf_queue *q, struct iopf_slot *slot)
{
	struct iopf_attachment *attachment = __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED);

	if (q->prg == NULL)
		iopf_attachment_uncount_held(attachment);
	slots_push_freed(q, slot, slot);
}

void
iopf_slot_leave(struct iopf_slot *slot)
{
	__atomic_store_n(&slot->state, iopf_slot_next_free_word(IOPF_SLOT_GEN(
			iopf_slot_load(slot))), __ATOMIC_RELEASE);
}

void
iopf_slot_free_chain(struct iopf_queue *q, struct iopf_slot_chain *chain)
{
	if (chain->first != NULL)
		slots_push_freed(q, chain->first, chain->last);
}

struct iopf_slot *
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

unsigned int
iopf_queue_list_outstanding(struct iopf_queue *q, uint32_t *from, struct iopf_outstanding *list,
		unsigned int n)
{
	uint32_t nb_slots = q->nb_slots;
	unsigned int found = 0;
	uint32_t i;

	for (i = *from; i < nb_slots && found < n; i++) {
		struct iopf_slot *slot = &q->slots[i];
		uint64_t word = iopf_slot_load(slot);
		struct iopf_outstanding *o = &list[found];

		if (IOPF_SLOT_STATE(word) == IOPF_SLOT_FREE)
			continue;
		memset(o, 0, sizeof(*o));
		o->state = IOPF_SLOT_STATE(word);
		o->id = iopf_group_make_id(q, i, IOPF_SLOT_GEN(word));
		o->fault.addr = __atomic_load_n(&slot->fault.addr, __ATOMIC_RELAXED);
		o->fault.time = __atomic_load_n(&slot->fault.time, __ATOMIC_RELAXED);
		o->fault.sid = __atomic_load_n(&slot->fault.sid, __ATOMIC_RELAXED);
		o->fault.pasid = __atomic_load_n(&slot->fault.pasid, __ATOMIC_RELAXED);
		o->fault.token = __atomic_load_n(&slot->fault.token, __ATOMIC_RELAXED);
		o->fault.perm = __atomic_load_n(&slot->fault.perm, __ATOMIC_RELAXED);
		o->fault.reason = __atomic_load_n(&slot->fault.reason, __ATOMIC_RELAXED);
		/*
		 * If the generation has not changed, all fields are of one fault. The fence keeps
		 * their loads before this one.
		 */
		atomic_thread_fence(memory_order_acquire);
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
		[IOPF_SLOT_JOINED] = "joined",
		[IOPF_SLOT_LEFT] = "answered",
	};

	return (unsigned int)state < RTE_DIM(names) ? names[state] : "unknown";
}
