/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The page request queue [3.5.3, 8]. Unlike the event queue, an overflow stops it
 * until software acknowledges: space alone does not help.
 */

#include "front.h"

/* As in evtq.c: lines that software has are asked for early. */
#define PPR_AHEAD	16
#define PPR_AHEAD_LOG2	6
#define LINE_PPRS	4

static smmuv3_reg32_t *
priq_reg(const struct smmuv3_fe *f, uint32_t offset)
{
	return smmuv3_reg32(f->regs, offset);
}

/* Pairs with smmuv3_store_cons(): the slots it freed have been read. */
static void
priq_load_cons(struct smmuv3_fe *f)
{
	uint32_t cons = atomic_load_explicit(priq_reg(f, SMMUV3_PRIQ_CONS), memory_order_acquire);

	if (!smmuv3_q_legal(f->priq.log2, f->priq.shown, cons)) {
		if (!f->priq.bad_cons)
			smmuv3_log_add(f->log, "PRIQ_CONS 0x%x is no legal partner of PROD 0x%x",
					cons, f->priq.shown);
		f->priq.bad_cons = true;
		/* CONSTRAINED UNPREDICTABLE [3.5.1]: a queue that is full. */
		cons = (uint32_t)(f->priq.shown ^ (UINT32_C(1) << f->priq.log2)) |
			(cons & SMMUV3_Q_OVFLG);
	}
	f->priq.cons = cons;
	if ((cons & SMMUV3_Q_OVFLG) == f->priq.ovflg) {
		f->priq.over = false;
	} else if (!f->priq.over) {
		smmuv3_log_add(f->log, "PRIQ_CONS.OVACKFLG toggled while there is no overflow");
		f->priq.over = true;
	}
}

void
smmuv3_fe_priq_on(struct smmuv3_fe *f)
{
	uint32_t max = SMMUV3_GET(SMMUV3_IDR1_PRIQS, f->val[SMMUV3_FE_IDR1]);
	uint64_t base = f->val[SMMUV3_FE_PRIQ_BASE];
	uint32_t prod = (uint32_t)f->val[SMMUV3_FE_PRIQ_PROD];
	uint64_t size;

	f->priq.log2 = SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, base);
	if (f->priq.log2 > max)
		f->priq.log2 = max;
	size = sizeof(struct smmuv3_ppr) << f->priq.log2;
	if (size < 32)
		size = 32;
	f->priq.base = base & SMMUV3_Q_BASE_ADDR & ~(size - 1);
	f->priq.prod = smmuv3_q_pos(f->priq.log2, prod);
	f->priq.shown = f->priq.prod;
	f->priq.ovflg = prod & SMMUV3_Q_OVFLG;
	/* It may have been switched off with an overflow that nobody acknowledged. */
	f->priq.over = true;
	f->priq.bad_cons = false;
	priq_load_cons(f);
}

static bool
priq_full(const struct smmuv3_fe *f)
{
	return smmuv3_q_full(f->priq.log2, f->priq.prod, f->priq.cons);
}

bool
smmuv3_fe_ppr_freed(struct smmuv3_fe *f, uint64_t nb)
{
	if (nb + smmuv3_q_count(f->priq.log2, f->priq.prod, f->priq.cons) <= f->priq.nb)
		return true;
	priq_load_cons(f);
	return nb + smmuv3_q_count(f->priq.log2, f->priq.prod, f->priq.cons) <= f->priq.nb;
}

/* Discarded, by an overflow: with LO its Last is told of all the same [6.3.39]. */
static enum smmuv3_fe_ppr
priq_overflow(struct smmuv3_fe *f, const struct smmuv3_ppr *ppr)
{
	if (f->val[SMMUV3_FE_PRIQ_IRQ_CFG2] & SMMUV3_PRIQ_IRQ_CFG2_LO &&
			ppr->dw[0] & SMMUV3_PPR0_LAST)
		smmuv3_fe_irq_priq(f);
	return SMMUV3_FE_PPR_OVERFLOW;
}

enum smmuv3_fe_ppr
smmuv3_fe_ppr_put(struct smmuv3_fe *f, const struct smmuv3_ppr *ppr)
{
	struct smmuv3_ppr *slot = NULL;
	uint32_t at;

	if (!smmuv3_fe_on(f, SMMUV3_CR0_PRIQEN) || !smmuv3_fe_on(f, SMMUV3_CR0_SMMUEN) ||
			f->sfm || smmuv3_fe_gerror_active(f, SMMUV3_GERROR_PRIQ_ABT))
		return SMMUV3_FE_PPR_OFF;
	if (f->priq.over || priq_full(f)) {
		priq_load_cons(f);
		if (f->priq.over)
			return priq_overflow(f, ppr);
	}
	if (priq_full(f)) {
		/* Not shown before the fullness that caused it. */
		smmuv3_fe_priq_publish(f);
		f->priq.over = true;
		f->priq.ovflg ^= SMMUV3_Q_OVFLG;
		smmuv3_count(f->stats, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS);
		smmuv3_fe_own(f, SMMUV3_FE_PRIQ_PROD, f->priq.prod | f->priq.ovflg);
		return priq_overflow(f, ppr);
	}
	at = smmuv3_q_slot(f->priq.log2, f->priq.prod);
	if (!smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_PRIQ_ABORT))
		slot = smmuv3_win_find(f->wins, &f->priq.win, f->priq.base + sizeof(*slot) * at,
				sizeof(*slot));
	if (slot == NULL) {
		/* Entries below PROD stay valid. */
		smmuv3_fe_priq_publish(f);
		smmuv3_fe_gerror(f, SMMUV3_GERROR_PRIQ_ABT);
		return SMMUV3_FE_PPR_ABORTED;
	}
	__builtin_prefetch(priq_reg(f, SMMUV3_PRIQ_PROD), 1);
	if (f->priq.log2 >= PPR_AHEAD_LOG2 && at % LINE_PPRS == 0)
		__builtin_prefetch((uint8_t *)slot - sizeof(*slot) * at + sizeof(*slot) *
				smmuv3_q_slot(f->priq.log2, f->priq.prod + PPR_AHEAD), 1);
	f->priq.prod = smmuv3_q_add(f->priq.log2, f->priq.prod, 1);
	f->priq.nb++;
	if (smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_PRIQ_LOSE)) {
		smmuv3_fe_priq_publish(f);
		smmuv3_fe_gerror(f, SMMUV3_GERROR_PRIQ_ABT);
		return SMMUV3_FE_PPR_LOST;
	}
	*slot = *ppr;
	f->priq.last |= (ppr->dw[0] & SMMUV3_PPR0_LAST) != 0;
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_PPRS);
	return SMMUV3_FE_PPR_PUT;
}

void
smmuv3_fe_priq_show(struct smmuv3_fe *f)
{
	uint32_t before = f->priq.shown;
	bool last = f->priq.last;

	f->ops->publish_pri(f->be);
	f->priq.shown = f->priq.prod;
	f->priq.last = false;
	/* Release: records before PROD. Pairs with smmuv3_load_prod(). */
	smmuv3_fe_own(f, SMMUV3_FE_PRIQ_PROD, f->priq.prod | f->priq.ovflg);
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_PRIQ))
		return;
	if (f->val[SMMUV3_FE_PRIQ_IRQ_CFG2] & SMMUV3_PRIQ_IRQ_CFG2_LO) {
		if (last)
			smmuv3_fe_irq_priq(f);
		return;
	}
	/* As in smmuv3_fe_evt_publish(): this side or software sees the other's store. */
	smmuv3_io_mb();
	priq_load_cons(f);
	if (smmuv3_q_pos(f->priq.log2, f->priq.cons) == before)
		smmuv3_fe_irq_priq(f);
}
