/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_FAULT_QUEUE_H
#define IOPF_FAULT_QUEUE_H

/*
 * A fault queue of an IOMMU: its slots, its owner, and the threads that wait for it.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

#include "iopf_stats.h"
#include "slot.h"
#include "wait.h"

/* The counters of an IOMMU that a pass adds to: the first of enum iopf_iommu_stat. */
#define IOPF_NB_QUEUE_STATS	(IOPF_IOMMU_STAT_ANSWERS + 1)

struct iopf_iommu;
struct iopf_peek;
struct iopf_poller;
struct iopf_prg;

/*
 * The time in which the poll thread works on records, measured without a clock on their path. The
 * clock is read in one of IOPF_CLOCK_PASSES passes anyway. The time between two reads, less sleeps
 * and yields, is that of the passes between. Without records it says how long an empty pass
 * takes; with records, what is left after the empty passes is busy. Owner, but for cycles.
 */
struct iopf_busy {
	const struct iopf_poller *poller; /* of the last read */
	uint64_t since, away;
	uint32_t passes;		/* of the queue, at the last read */
	uint32_t found;			/* passes since then that found records */
	uint64_t empty;		/* mean time of IOPF_CLOCK_PASSES empty passes, times 64 */
	_Atomic uint64_t cycles;	/* busy, of the TSC */
};

struct iopf_queue {
	struct iopf_iommu *iommu;
	uint16_t id;
	_Atomic uint32_t nb_slots;	/* in use; a power of two; written while all are free */
	uint32_t max_slots;
	struct iopf_slot *slots;
	struct iopf_prg *prg;		/* page requests only */
	_Atomic uint64_t *joins;	/* by slot: the faults that have joined it, see join.h */
	_Atomic(struct iopf_poller *) poller;	/* written under pollers_lock */
	const struct iopf_peek *peek;	/* of the driver; not NULL */

	/*
	 * Slots freed by other threads than the owner: a stack onto which any thread pushes.
	 * The owner takes all of it at once, so that there is no ABA. IOPF_NO_SLOT ends it.
	 */
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t freed;
	_Atomic uint32_t nb_stacked;	/* slots of this queue that have joined others: join.h */
	_Atomic uint32_t deadlines_set;	/* calls of iopf_group_set_deadline() */
	_Atomic uint64_t *deadlines;	/* of groups, by slot: see deadline.h */

	/*
	 * The queue has an owner for one pass. No thread waits for the ownership: a pass that
	 * finds the queue owned returns. iopf_queue_disown() releases it and iopf_queue_own()
	 * acquires it: this orders the owner's fields below between one owner and the next.
	 * A thread looks at the IOMMU's state and owns the queue in one RCU read section: a stop,
	 * which waits for these, then has the queue to itself.
	 */
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t owned;
	uint32_t nb_free;		/* owner */
	uint32_t nb_retired;		/* owner: among nb_slots; neither free nor held */
	uint32_t *free;			/* owner */
	uint64_t next_check;		/* owner */
	uint64_t next_error_check;	/* owner; event queue only */
	_Atomic uint32_t passes;	/* read by the threads that wait for a pass */
	uint32_t scan;			/* owner: the next slot of the deadline sweep */
	uint32_t deadlines_seen;	/* owner: deadlines_set when the sweep began */
	bool deadlines_found;		/* owner: pending groups in this sweep have their own */
	struct iopf_busy busy;
	/* Of the passes; iopf_iommu_stat() adds those of other threads. Written by the owner. */
	_Atomic uint64_t stats[IOPF_NB_QUEUE_STATS];
};

/* Owner. NULL: no slot is free. Never a retired slot. The slot that was freed last comes first. */
static inline struct iopf_slot *
iopf_slot_alloc(struct iopf_queue *q)
{
	struct iopf_slot *slot;

	if (unlikely(q->nb_free == 0))
		return iopf_slot_alloc_slow(q);
	slot = &q->slots[q->free[q->nb_free - 1]];
	if (unlikely(iopf_slot_is_retired(iopf_slot_load(slot))))
		return iopf_slot_alloc_slow(q);
	q->nb_free--;
	return slot;
}

/* Owner. Without an atomic addition, which is a large part of a pass over one record. */
static inline void
iopf_queue_count(struct iopf_queue *q, enum iopf_iommu_stat stat, uint64_t n)
{
	atomic_store_explicit(&q->stats[stat], atomic_load_explicit(&q->stats[stat],
			memory_order_relaxed) + n, memory_order_relaxed);
}

/* slot.c */
int iopf_queue_init(struct iopf_queue *q, struct iopf_iommu *iommu, uint16_t id,
		uint32_t max_slots);
/* No thread drains the queue, and no fault is outstanding. */
void iopf_queue_resize(struct iopf_queue *q, uint32_t nb_slots);
void iopf_queue_fini(struct iopf_queue *q);
/* Slots that are not free. The caller owns the queue, or no thread drains it. */
uint32_t iopf_queue_nb_held(struct iopf_queue *q);

/* busy.c */
/* The clock has been read. Owner, in a read section. */
void iopf_busy_update(struct iopf_queue *q, uint64_t now);

/* Become the owner, or return false. Never waits. */
static inline bool
iopf_queue_own(struct iopf_queue *q)
{
	/* Acquire: with the release in iopf_queue_disown(). */
	return atomic_load_explicit(&q->owned, memory_order_relaxed) == 0 &&
		atomic_exchange_explicit(&q->owned, 1, memory_order_acquire) == 0;
}

static inline void
iopf_queue_disown(struct iopf_queue *q)
{
	atomic_store_explicit(&q->owned, 0, memory_order_release);
}

/* queue_pass.c */
/* Passes between reads of the clock: rte_rdtsc() is a large part of an idle pass. */
#define IOPF_CLOCK_PASSES	16
/*
 * One pass, in an RCU read section: bursts as in iopf_queue_run_bursts(), and what is due by time.
 * It counts as @p weight passes, with those that were left out before. Returns 0 if another thread
 * owns the queue or the IOMMU is off.
 */
unsigned int iopf_queue_run_pass(struct iopf_queue *q, uint16_t burst, uint16_t bursts,
		uint32_t weight);
/* The IOMMU is serving, and a slot of the queue may be in use. */
bool iopf_queue_has_faults(struct iopf_queue *q);

/* fence.c */
/*
 * A stand-in: a thread that waits for a queue, and drains it if no poll thread has made a pass for
 * a while. Its pass checks for errors of the IOMMU too. iopf_stand_in_poll() returns records.
 */
struct iopf_stand_in {
	uint32_t passes;
	uint64_t since;
};
void iopf_stand_in_begin(const struct iopf_queue *q, struct iopf_stand_in *stand_in);
unsigned int iopf_stand_in_poll(struct iopf_queue *q, struct iopf_stand_in *stand_in);
/*
 * Wait until every record that the hardware had written before the call has been read, or the
 * queues are not polled any more. Returns 0, or -ETIMEDOUT with a line in the log. @p wait is for a
 * start that runs and for the queue together.
 */
int iopf_queue_fence(struct iopf_queue *q, struct iopf_wait *wait);
/* The same for all queues of an IOMMU, with that time for each. */
int iopf_iommu_fence(struct iopf_iommu *iommu, uint64_t cycles);

#endif /* IOPF_FAULT_QUEUE_H */
