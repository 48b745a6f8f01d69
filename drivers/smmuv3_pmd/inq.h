/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_INQ_H
#define SMMUV3_INQ_H

/**
 * @file
 * Queues that the SMMU writes (event queue and page request queue): positions, PROD, CONS
 * and idling [3.5]. For the poll thread.
 *
 * Positions are 64-bit counts of entries; the low bits are the register's.
 *
 * Idling. With MSIs the queue's interrupt is a word in memory, which the SMMU writes when the
 * queue changes from empty to not empty. A word of 0 means an empty queue once these steps have
 * happened in this order: CONS is stored for all entries read, the word is cleared, a full
 * barrier, PROD is read and equals CONS. The barrier orders the CONS store before the PROD
 * read. So the SMMU finds the queue empty when it adds an entry that this PROD does not show,
 * and it writes the word after it was cleared (the interrupt follows the PROD that caused it
 * [3.18]). Every 64th idle poll reads PROD all the same. It may see PROD before the word; so
 * the word counts as missed only if it is still 0 at the next such read.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "base.h"
#include "mem.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

struct smmuv3;
struct smmuv3_word;

#define SMMUV3_INQ_IDLE_PASSES	64

/* PROD.OVFLG differs from CONS.OVACKFLG: an overflow. */
#define SMMUV3_INQ_OVERFLOW	(1u << 0)
/* PROD is not within the queue. q->prod is the position that was read. */
#define SMMUV3_INQ_BAD		(1u << 1)
/* Event queue: records that need no answer were not written. Set by the owner of the queue. */
#define SMMUV3_INQ_LOST		(1u << 2)

/*
 * A queue that the SMMU writes.
 *
 * The word of peek is that of the MSI, and idle is 0 while a word of 0 means that the queue is
 * empty. Without MSIs there is no peek: PROD is a register, which may be read between start and
 * stop alone.
 */
struct smmuv3_inq {
	_Atomic bool on;
	bool msi;		/* the SMMU writes the word on empty to not empty */
	bool msi_late;		/* PROD has shown entries before the word was written */
	uint8_t prod_flags;	/* SMMUV3_INQ_*, for the next poll */
	unsigned int log2;
	void *ring;
	struct iopf_peek *peek;
	smmuv3_reg32_t *word;
	void *regs;
	uint32_t prod_reg, cons_reg;
	uint64_t prod;		/* position of PROD as last read */
	uint32_t ovackflg;	/* OVACKFLG as last written */
	uint32_t idle;
	_Atomic uint64_t cons;		/* poll has read the entries before this position */
	_Atomic uint64_t returned;	/* the same, for poll calls that have returned */
	/* counters, written by the poll thread */
	_Atomic uint64_t entries;
	_Atomic uint64_t bursts;
	_Atomic uint64_t overflows;
	_Atomic uint64_t bad;
	_Atomic uint64_t bad_prod;
	_Atomic uint64_t missed_msis;

	struct smmuv3_mem mem;
};

/* Once, before the first start. @p word is that of the queue's MSI. */
void smmuv3_inq_init(struct smmuv3 *s, struct smmuv3_inq *q, uint32_t base,
		struct smmuv3_word *word);
int smmuv3_inq_alloc(struct smmuv3 *s, struct smmuv3_inq *q, size_t entry, unsigned int log2);
/* Write the registers of a queue that is off. Returns the position of its first entry. */
uint64_t smmuv3_inq_setup(struct smmuv3 *s, struct smmuv3_inq *q, uint32_t base);
/* PROD as a position. Any thread. */
uint64_t smmuv3_inq_take_mark(struct smmuv3_inq *q);
/* The poll thread has processed all entries before this mark. Any thread. */
bool smmuv3_inq_has_passed(struct smmuv3_inq *q, uint64_t mark);

static inline uint64_t
smmuv3_inq_entries(const struct smmuv3_inq *q)
{
	return UINT64_C(1) << q->log2;
}

static inline void
smmuv3_inq_store_cons(struct smmuv3_inq *q, uint64_t cons)
{
	/* Stored before the register: see smmuv3_inq_take_mark(). */
	atomic_store_explicit(&q->cons, cons, memory_order_release);
	smmuv3_store_cons(q->regs, q->cons_reg, smmuv3_q_pos(q->log2, cons) | q->ovackflg);
}

/* Read PROD. Returns the number of entries that may be read, and sets q->prod_flags. */
static inline uint64_t
smmuv3_inq_read_prod(struct smmuv3_inq *q, uint64_t cons)
{
	/* Pairs with the SMMU's release of PROD: the entries are visible. */
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

/* A poll thread that peeks finds the queue idle while the word is @p idle. */
static inline void
smmuv3_inq_set_peek(struct smmuv3_inq *q, uint64_t idle)
{
	__atomic_store_n(&q->peek->idle, idle, __ATOMIC_RELAXED);
}

/* A word of 0 means that the queue is empty. With MSIs. */
static inline bool
smmuv3_inq_trusts_word(const struct smmuv3_inq *q)
{
	return __atomic_load_n(&q->peek->idle, __ATOMIC_RELAXED) == 0;
}

/*
 * Look for entries when all known ones have been read, and q->prod_flags is 0. Returns their
 * number.
 */
static inline uint64_t
smmuv3_inq_find_entries(struct smmuv3_inq *q, uint64_t cons)
{
	uint64_t avail;

	if (!q->msi)
		return smmuv3_inq_read_prod(q, cons);
	if (smmuv3_inq_trusts_word(q)) {
		bool msi_seen = smmuv3_load_word(q->word) != 0;

		if (likely(!msi_seen && ++q->idle % SMMUV3_INQ_IDLE_PASSES != 0))
			return 0;
		if (!msi_seen && q->msi_late) {
			smmuv3_counter_add(&q->missed_msis, 1);
			q->msi_late = false;
		}
		avail = smmuv3_inq_read_prod(q, cons);
		if (avail == 0 && !msi_seen && likely(q->prod_flags == 0))
			return 0;
		q->msi_late = !msi_seen;
		smmuv3_inq_set_peek(q, IOPF_PEEK_POLL);
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
	if (avail == 0 && likely(q->prod_flags == 0))
		smmuv3_inq_set_peek(q, 0);
	return avail;
}

/* The caller polls again: it has processed all entries that the last call returned. */
static inline void
smmuv3_inq_store_returned_pos(struct smmuv3_inq *q, uint64_t cons)
{
	/* Pairs with the acquire in smmuv3_inq_has_passed(). */
	if (atomic_load_explicit(&q->returned, memory_order_relaxed) != cons)
		atomic_store_explicit(&q->returned, cons, memory_order_release);
}

#endif /* SMMUV3_INQ_H */
