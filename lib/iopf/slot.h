/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_SLOT_H
#define IOPF_SLOT_H

/*
 * A fault's slot
 *
 *	FREE ---> HANDLING ---> QUEUED (for a worker) ---> HANDLING
 *	 |            |
 *	 |            '-------> TAKEN (answered later, by any thread)
 *	 '-> PARTIAL -> HANDLING	page requests, with Last; FREE -> HANDLING if the first
 *			request has Last
 *
 *	HANDLING -> JOINED	in place of the handler: the fault waits for a leader (join.h)
 *
 * The thread that answers moves the state by compare-and-swap, so there is one answer:
 *	HANDLING -> FREE	the handler's caller, with the verdict
 *	HANDLING -> SENDING	the same for page requests; FREE after the answer was sent
 *	TAKEN -> FREE		iopf_group_respond(), a cancel (cancel.h)
 *	TAKEN -> HANDLING	a worker, after iopf_group_defer()
 *	QUEUED -> FREE		an answer by another thread than the worker, which then finds
 *			another generation
 *	QUEUED -> FREE		the poll thread too, if the worker's ring is full or there is no
 *			worker
 *	HANDLING -> DONE	the same, while a thread handles the slot; that thread finds
 *			DONE and frees the slot
 *	JOINED -> FREE	the thread that answers the leader
 *	JOINED -> LEFT	a cancel; that thread finds LEFT and frees the slot
 *	JOINED -> HANDLING, LEFT -> DONE	the owner of the queue, if the leader was answered
 *			before the fault was in its stack: the handler is called, or the slot
 *			is freed with the pass
 *	PARTIAL -> DROPPED	a detach or a replace: without Last there is no answer; the
 *			queue's owner finds the slot and frees it
 *
 * The state shares its word with a generation that counts the slot's uses: a late answer
 * finds another generation. A group of page requests has the state of the slot of its first
 * request; the words of the other slots stay FREE and are not used (prg.c).
 */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_branch_prediction.h>

#include "iopf.h"
#include "iopf_driver.h"

struct iopf_attachment;
struct iopf_queue;

enum iopf_slot_state {
	IOPF_SLOT_FREE,
	IOPF_SLOT_HANDLING,
	IOPF_SLOT_QUEUED,
	IOPF_SLOT_TAKEN,
	IOPF_SLOT_DONE,
	IOPF_SLOT_PARTIAL,
	IOPF_SLOT_DROPPED,
	IOPF_SLOT_SENDING,
	IOPF_SLOT_JOINED,
	IOPF_SLOT_LEFT,
};
#define IOPF_SLOT_STATE_BITS	4
#define IOPF_SLOT_STATE(word)	((enum iopf_slot_state)((word) & 15))
#define IOPF_SLOT_GEN(word)	((uint64_t)(word) >> IOPF_SLOT_STATE_BITS)
#define IOPF_SLOT_WORD(gen, state) ((uint64_t)(gen) << IOPF_SLOT_STATE_BITS | (state))

struct iopf_slot {
	struct iopf_fault fault;
	struct iopf_attachment *attachment;
	uint64_t state;			/* a generation and an enum iopf_slot_state */
	uint32_t index;			/* in the queue's slots[] */
	uint32_t next;			/* in the stack of freed slots */
};

/*
 * A group's id, from bit 0: slot, queue, IOMMU, generation. An SMMU has at most 65535 stalls, and
 * twice as many slots: see iommu_init_queues(). What is left is for the generation.
 */
#define IOPF_ID_SLOT_BITS	17
#define IOPF_ID_QUEUE_BITS	1
#define IOPF_ID_IOMMU_BITS	6
#define IOPF_ID_GEN_SHIFT	(IOPF_ID_SLOT_BITS + IOPF_ID_QUEUE_BITS + IOPF_ID_IOMMU_BITS)
#define IOPF_ID_GEN_BITS	(64 - IOPF_ID_GEN_SHIFT)
#define IOPF_ID_GEN(id)		((uint64_t)(id) >> IOPF_ID_GEN_SHIFT)
#define IOPF_ID_IOMMU(id)	((uint32_t)((id) >> (IOPF_ID_SLOT_BITS + IOPF_ID_QUEUE_BITS)) & \
				((1u << IOPF_ID_IOMMU_BITS) - 1))
#define IOPF_ID_QUEUE(id)	((uint32_t)((id) >> IOPF_ID_SLOT_BITS) & \
				((1u << IOPF_ID_QUEUE_BITS) - 1))
#define IOPF_ID_SLOT(id)	((uint32_t)(id) & (IOPF_MAX_SLOTS - 1))
#define IOPF_MAX_SLOTS		(1u << IOPF_ID_SLOT_BITS)
#define IOPF_NO_SLOT		UINT32_MAX

/*
 * Generations are 1 to IOPF_GEN_END - 1: no id is 0. They only rise, also over close and open of an
 * IOMMU (slot.c): an id never names a second fault. A slot that reaches IOPF_GEN_END, which fits
 * into its word but into no id, is retired: iopf_slot_alloc() leaves it out.
 */
#define IOPF_GEN_END		(UINT64_C(1) << IOPF_ID_GEN_BITS)

/* The word of a free slot before its next use. */
static inline uint64_t
iopf_slot_next_free_word(uint64_t gen)
{
	return IOPF_SLOT_WORD(gen + 1, IOPF_SLOT_FREE);
}

/* @p word is of a free slot. */
static inline bool
iopf_slot_is_retired(uint64_t word)
{
	return word >= IOPF_SLOT_WORD(IOPF_GEN_END, IOPF_SLOT_FREE);
}

/*
 * Not answered yet. (In state DONE a handler has the slot, in state LEFT a stack of joined faults,
 * and the fault is answered.)
 */
static inline bool
iopf_slot_is_pending(enum iopf_slot_state state)
{
	return state == IOPF_SLOT_HANDLING || state == IOPF_SLOT_QUEUED ||
		state == IOPF_SLOT_TAKEN || state == IOPF_SLOT_JOINED;
}

static inline uint64_t
iopf_slot_load(const struct iopf_slot *slot)
{
	/*
	 * Acquire: with the release in iopf_slot_cas(), event_dispatch() and group_begin(). A
	 * thread that finds a state finds the fault's fields.
	 */
	return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

/*
 * The fault is older than @p age at @p now. The difference is signed: the thread that read the
 * record may have had a clock that is ahead of this thread's.
 */
static inline bool
iopf_slot_is_older(const struct iopf_slot *slot, uint64_t now, uint64_t age)
{
	return (int64_t)(now - __atomic_load_n(&slot->fault.time, __ATOMIC_RELAXED)) > (int64_t)age;
}

static inline bool
iopf_slot_cas(struct iopf_slot *slot, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&slot->state, &from, to, false, __ATOMIC_ACQ_REL,
			__ATOMIC_RELAXED);
}

/*
 * Zeroed and touched, so that the poll thread meets no page fault. Not EAL's memory:
 * rte_eal_cleanup() unmaps that while workers may still read slots.
 */
void *iopf_zalloc(size_t size);

/* iopf_slot_alloc() where the slot on top of free[] is none, or retired. */
struct iopf_slot *iopf_slot_alloc_slow(struct iopf_queue *q);
/* Owner of the queue: all slots are retired, so faults are refused. Logs it. */
bool iopf_queue_is_retired(struct iopf_queue *q);
/* Owner of the queue: take back the slots that other threads have freed. */
void iopf_slot_reclaim(struct iopf_queue *q);
/* Any thread. The owner of the queue returns its own slots to free[] instead. */
void iopf_slot_free(struct iopf_queue *q, struct iopf_slot *slot);
/* The state of a slot in state LEFT becomes FREE. Its device and attachment may be gone. */
void iopf_slot_leave(struct iopf_slot *slot);

/* Slots of one queue in state FREE, which are given back together. */
struct iopf_slot_chain {
	struct iopf_slot *first, *last;
};
static inline void
iopf_slot_chain_add(struct iopf_slot_chain *chain, struct iopf_slot *slot)
{
	slot->next = chain->first != NULL ? chain->first->index : IOPF_NO_SLOT;
	chain->first = slot;
	if (chain->last == NULL)
		chain->last = slot;
}
/* Any thread. The slots are not counted as held any more. */
void iopf_slot_free_chain(struct iopf_queue *q, struct iopf_slot_chain *chain);
struct iopf_slot *iopf_slot_find(uint64_t id, struct iopf_queue **q);
/* IOPF_CLASS_NONE without IOPF_EVENT_STAGE2. */
static inline uint8_t
iopf_event_fault_class(const struct iopf_event *ev)
{
	static_assert(IOPF_EVENT_STAGE2 == 1 && IOPF_CLASS_NONE == 0, "a mask without a branch");
	return ev->event_class & -(ev->flags & IOPF_EVENT_STAGE2);
}

/* Eight bytes of a record, whatever its fields. */
typedef uint64_t __attribute__((may_alias)) iopf_word;

static inline void
iopf_word_copy(void *to, const void *from)
{
	__atomic_store_n((iopf_word *)to, *(const iopf_word *)from, __ATOMIC_RELAXED);
}

static_assert(offsetof(struct iopf_event, sid) % 8 == 0 &&
		offsetof(struct iopf_fault, sid) % 8 == 0 &&
		offsetof(struct iopf_event, token) % 8 == 0 &&
		offsetof(struct iopf_fault, token) % 8 == 0, "words are aligned");
static_assert(offsetof(struct iopf_fault, queue) == offsetof(struct iopf_fault, token) + 6 &&
		sizeof(struct iopf_fault) == offsetof(struct iopf_fault, token) + 8,
		"queue and fault_class end the word");
static_assert(offsetof(struct iopf_event, pasid) - offsetof(struct iopf_event, sid) ==
		offsetof(struct iopf_fault, pasid) - offsetof(struct iopf_fault, sid),
		"one word");
static_assert(offsetof(struct iopf_event, raw_id) - offsetof(struct iopf_event, token) ==
		offsetof(struct iopf_fault, raw_id) - offsetof(struct iopf_fault, token) &&
		offsetof(struct iopf_event, flags) - offsetof(struct iopf_event, token) ==
		offsetof(struct iopf_fault, flags) - offsetof(struct iopf_fault, token) &&
		offsetof(struct iopf_event, reason) - offsetof(struct iopf_event, token) ==
		offsetof(struct iopf_fault, reason) - offsetof(struct iopf_fault, token) &&
		offsetof(struct iopf_event, perm) - offsetof(struct iopf_event, token) ==
		offsetof(struct iopf_fault, perm) - offsetof(struct iopf_fault, token),
		"one word, but for the last two bytes");

/* Fill a slot of queue @p queue that no other thread knows. */
static inline void
iopf_slot_fill(struct iopf_slot *slot, const struct iopf_event *ev, uint8_t queue, uint64_t now,
		struct iopf_attachment *attachment)
{
	/* Atomic: a cancel or a list may read these meanwhile. The state word orders them. */
	__atomic_store_n(&slot->fault.addr, ev->addr, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->fault.ipa, ev->ipa, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->fault.time, now, __ATOMIC_RELAXED);
	iopf_word_copy(&slot->fault.sid, &ev->sid);
	iopf_word_copy(&slot->fault.token, &ev->token);
	__atomic_store_n(&slot->fault.flags, ev->flags & (IOPF_FAULT_STAGE2 |
			IOPF_FAULT_STALLED | IOPF_FAULT_PAGE_REQUEST), __ATOMIC_RELAXED);
	__atomic_store_n(&slot->fault.queue, queue, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->fault.fault_class, iopf_event_fault_class(ev), __ATOMIC_RELAXED);
	__atomic_store_n(&slot->attachment, attachment, __ATOMIC_RELAXED);
}

/* An outstanding fault, for lists. */
struct iopf_outstanding {
	struct iopf_fault fault;
	enum iopf_slot_state state;
	uint64_t id;
};
/*
 * List up to n outstanding faults from slot *from, which moves on: to nb_slots when there are
 * no more.
 */
unsigned int iopf_queue_list_outstanding(struct iopf_queue *q, uint32_t *from,
		struct iopf_outstanding *list, unsigned int n);
const char *iopf_slot_state_name(enum iopf_slot_state state);

#endif /* IOPF_SLOT_H */
