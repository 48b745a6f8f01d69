/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The queues that the SMMU writes: the EVTQ and the PRIQ [3.5.1]. */

#include "front.h"
#include "model_log.h"
#include "model_outq.h"

void
smmuv3_outq_enable(struct smmuv3_fe *f, struct smmuv3_outq *q, uint64_t base, uint64_t prod,
		unsigned int max_log2)
{
	q->log2 = SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, base);
	if (q->log2 > max_log2)
		q->log2 = max_log2;
	/* The base is aligned to the size, and to 32 bytes [6.3.25]. */
	q->base = base & SMMUV3_Q_BASE_ADDR & ~(((uint64_t)q->entry << q->log2) - 1);
	q->prod = smmuv3_q_pos(q->log2, (uint32_t)prod);
	q->shown = q->prod;
	q->ovflg = (uint32_t)prod & SMMUV3_Q_OVFLG;
	q->bad_cons = false;
	smmuv3_outq_load_cons(f, q);
}

/* Acquire, pairs with smmuv3_store_cons(): software has read the entries that it freed. */
void
smmuv3_outq_load_cons(struct smmuv3_fe *f, struct smmuv3_outq *q)
{
	uint32_t cons = atomic_load_explicit(smmuv3_reg32(f->regs, q->cons_offset),
			memory_order_acquire);

	if (!smmuv3_q_legal(q->log2, q->shown, cons)) {
		if (!q->bad_cons)
			smmuv3_log_add(f->log, "%s_CONS 0x%x is out of range for PROD 0x%x",
					q->name, cons, q->shown);
		q->bad_cons = true;
		/* CONSTRAINED UNPREDICTABLE [3.5.1]; here the queue counts as full. */
		cons = (uint32_t)(q->shown ^ (UINT32_C(1) << q->log2)) |
			(cons & SMMUV3_Q_OVFLG);
	}
	q->cons = cons;
}

/* Release: records are visible before PROD. Pairs with smmuv3_load_prod(). */
static void
store_prod_reg(struct smmuv3_fe *f, const struct smmuv3_outq *q)
{
	smmuv3_fe_store_reg(f, q->prod_reg, q->prod | q->ovflg);
}

void
smmuv3_outq_overflow(struct smmuv3_fe *f, struct smmuv3_outq *q)
{
	q->ovflg ^= SMMUV3_Q_OVFLG;
	store_prod_reg(f, q);
}

uint32_t
smmuv3_outq_store_prod(struct smmuv3_fe *f, struct smmuv3_outq *q)
{
	uint32_t before = q->shown;

	q->shown = q->prod;
	store_prod_reg(f, q);
	return before;
}

/*
 * The SMMU stores PROD and then reads CONS. Software that is about to sleep stores CONS and
 * then reads PROD. Both have a full barrier between, so that one of them sees the other's
 * store.
 */
bool
smmuv3_outq_was_empty(struct smmuv3_fe *f, struct smmuv3_outq *q, uint32_t before)
{
	smmuv3_io_mb();
	smmuv3_outq_load_cons(f, q);
	return smmuv3_q_pos(q->log2, q->cons) == before;
}
