/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_INQ_H
#define SMMUV3_INQ_H

/**
 * @file
 * What the event queue and the page request queue have in common: positions, PROD,
 * CONS and idling [3.5]. The thread that polls.
 *
 * Positions are 64-bit counts of entries; the low bits are the register's.
 *
 * Idle. With MSIs the queue's interrupt is a word in memory, written when the
 * queue turns from empty to not empty. It may be trusted once this has happened
 * in this order: CONS written for all that was read, the word cleared, a full
 * barrier, PROD read and found equal to CONS. The barrier orders the CONS store
 * before the PROD read, so an entry that this PROD does not show finds the queue
 * empty and writes the word after it was cleared (the interrupt comes after the
 * PROD that caused it [3.18]). Every 64th idle pass looks at PROD all the same. It may see
 * PROD in front of the word; so the word is missed only if it has not come by the next
 * such look.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base.h"
#include "mem.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

struct smmuv3;

#define SMMUV3_INQ_IDLE_PASSES	64

/* PROD.OVFLG differs from CONS.OVACKFLG. */
#define SMMUV3_INQ_OVERFLOW	(1u << 0)
/* PROD is not within the queue; prod follows it all the same. */
#define SMMUV3_INQ_BAD		(1u << 1)

/* A queue that the SMMU writes. */
struct smmuv3_inq {
	_Atomic bool on;
	bool msi;		/* its word is written on empty to non-empty */
	bool empty_trusted;	/* ... and 0 in it means that the queue is empty */
	bool msi_late;		/* entries came and the word did not say so, yet */
	uint8_t prod_flags;	/* SMMUV3_INQ_*: what PROD msi_seen beside a number of entries */
	unsigned int log2;
	void *ring;
	smmuv3_reg32_t *word;
	void *regs;
	uint32_t prod_reg, cons_reg;
	uint64_t prod;		/* PROD as last read, 64-bit position */
	uint32_t ovackflg;	/* OVACKFLG as last written */
	uint32_t idle;
	_Atomic uint64_t cons;		/* read up to here */
	_Atomic uint64_t returned;	/* ... by calls that have returned */
	/* counters, written by the thread that polls */
	_Atomic uint64_t entries;
	_Atomic uint64_t bursts;
	_Atomic uint64_t overflows;
	_Atomic uint64_t bad;
	_Atomic uint64_t bad_prod;
	_Atomic uint64_t missed_msis;

	struct smmuv3_mem mem;
};

int smmuv3_inq_alloc(struct smmuv3 *s, struct smmuv3_inq *q, size_t entry, unsigned int log2);
/* Registers of a queue that is off. Returns where it begins. */
uint64_t smmuv3_inq_setup(struct smmuv3 *s, struct smmuv3_inq *q, uint32_t base,
		smmuv3_reg32_t *word);
uint64_t smmuv3_inq_take_mark(struct smmuv3_inq *q);
bool smmuv3_inq_has_passed(struct smmuv3_inq *q, uint64_t mark);

static inline uint64_t
smmuv3_inq_entries(const struct smmuv3_inq *q)
{
	return UINT64_C(1) << q->log2;
}

static inline void
smmuv3_inq_store_cons(struct smmuv3_inq *q, uint64_t cons)
{
	/* Before the register: see smmuv3_inq_take_mark(). */
	atomic_store_explicit(&q->cons, cons, memory_order_release);
	smmuv3_store_cons(q->regs, q->cons_reg, smmuv3_q_pos(q->log2, cons) | q->ovackflg);
}

/* Entries that may be read, from the register. The rest of what it says is left in prod_flags. */
static inline uint64_t
smmuv3_inq_read_prod(struct smmuv3_inq *q, uint64_t cons)
{
	/* Acquires the SMMU's release of PROD: the entries are there. */
	uint32_t reg = smmuv3_load_prod(q->regs, q->prod_reg);
	uint32_t count = smmuv3_q_count(q->log2, reg, cons);

	q->prod = cons + count;
	if (unlikely((reg ^ q->ovackflg) & SMMUV3_Q_OVFLG))
		q->prod_flags |= SMMUV3_INQ_OVERFLOW;
	if (unlikely(count > smmuv3_inq_entries(q))) {
		q->prod_flags |= SMMUV3_INQ_BAD;
		return 0;
	}
	return count;
}

/* Entries, if there are any: all that were known have been read. prod_flags was 0. */
static inline uint64_t
smmuv3_inq_find_entries(struct smmuv3_inq *q, uint64_t cons)
{
	uint64_t avail;

	if (!q->msi)
		return smmuv3_inq_read_prod(q, cons);
	if (q->empty_trusted) {
		bool msi_seen = smmuv3_load_word(q->word) != 0;

		if (likely(!msi_seen && ++q->idle % SMMUV3_INQ_IDLE_PASSES != 0))
			return 0;
		if (!msi_seen && q->msi_late) {
			smmuv3_counter_add(&q->missed_msis, 1);
			q->msi_late = false;
		}
		avail = smmuv3_inq_read_prod(q, cons);
		if (avail == 0 && !msi_seen)
			return 0;
		q->msi_late = !msi_seen;
		q->empty_trusted = false;
	} else {
		avail = smmuv3_inq_read_prod(q, cons);
	}
	if (avail > 0 || unlikely(q->prod_flags != 0))
		return avail;
	if (unlikely(q->msi_late) && smmuv3_load_word(q->word) != 0)
		q->msi_late = false;
	atomic_store_explicit(q->word, 0, memory_order_relaxed);
	smmuv3_io_mb();
	avail = smmuv3_inq_read_prod(q, cons);
	q->empty_trusted = avail == 0;
	return avail;
}

/* The caller is here again: it has seen all that it was given. */
static inline void
smmuv3_inq_store_returned(struct smmuv3_inq *q, uint64_t cons)
{
	/* Pairs with the acquire in smmuv3_inq_has_passed(). */
	if (atomic_load_explicit(&q->returned, memory_order_relaxed) != cons)
		atomic_store_explicit(&q->returned, cons, memory_order_release);
}

#endif /* SMMUV3_INQ_H */
