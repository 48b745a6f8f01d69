/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The page request queue (PRIQ) [3.5.3, 8]. Unlike in the EVTQ, no record is written after an
 * overflow until software acknowledges it, also if there is space.
 */

#include "front.h"
#include "model_gerror.h"
#include "model_irq.h"
#include "model_log.h"
#include "model_outq.h"
#include "model_priq.h"

static void
priq_load_cons(struct smmuv3_fe *f)
{
	smmuv3_outq_load_cons(f, &f->priq);
	if ((f->priq.cons & SMMUV3_Q_OVFLG) == f->priq.ovflg) {
		f->pri_over = false;
	} else if (!f->pri_over) {
		smmuv3_log_add(f->log, "PRIQ_CONS.OVACKFLG toggled while no overflow is active");
		f->pri_over = true;
	}
}

void
smmuv3_fe_priq_enable(struct smmuv3_fe *f)
{
	f->priq.name = "PRIQ";
	f->priq.entry = sizeof(struct smmuv3_ppr);
	f->priq.prod_reg = SMMUV3_FE_PRIQ_PROD;
	f->priq.cons_offset = SMMUV3_PRIQ_CONS;
	smmuv3_outq_enable(f, &f->priq, f->val[SMMUV3_FE_PRIQ_BASE], f->val[SMMUV3_FE_PRIQ_PROD],
			SMMUV3_GET(SMMUV3_IDR1_PRIQS, f->val[SMMUV3_FE_IDR1]));
	/* The PRIQ may have been disabled with an overflow that software had not acknowledged. */
	f->pri_over = (f->priq.cons & SMMUV3_Q_OVFLG) != f->priq.ovflg;
}

bool
smmuv3_fe_is_ppr_freed(struct smmuv3_fe *f, uint64_t nb)
{
	if (nb + smmuv3_q_count(f->priq.log2, f->priq.prod, f->priq.cons) <= f->nb_pprs)
		return true;
	priq_load_cons(f);
	return nb + smmuv3_q_count(f->priq.log2, f->priq.prod, f->priq.cons) <= f->nb_pprs;
}

/* An overflow discards a request. With LO its Last raises an interrupt all the same [6.3.39]. */
static enum smmuv3_fe_ppr
discard_ppr(struct smmuv3_fe *f, const struct smmuv3_ppr *ppr)
{
	if (f->val[SMMUV3_FE_PRIQ_IRQ_CFG2] & SMMUV3_PRIQ_IRQ_CFG2_LO &&
			ppr->dw[0] & SMMUV3_PPR0_LAST)
		smmuv3_fe_signal_priq(f);
	return SMMUV3_FE_PPR_OVERFLOW;
}

enum smmuv3_fe_ppr
smmuv3_fe_ppr_put(struct smmuv3_fe *f, const struct smmuv3_ppr *ppr)
{
	struct smmuv3_ppr *entry;

	if (!smmuv3_fe_is_on(f, SMMUV3_CR0_PRIQEN) || !smmuv3_fe_is_on(f, SMMUV3_CR0_SMMUEN) ||
			f->sfm || smmuv3_fe_is_gerror_active(f, SMMUV3_GERROR_PRIQ_ABT))
		return SMMUV3_FE_PPR_OFF;
	if (f->pri_over || smmuv3_outq_is_full(&f->priq)) {
		priq_load_cons(f);
		if (f->pri_over)
			return discard_ppr(f, ppr);
	}
	if (smmuv3_outq_is_full(&f->priq)) {
		/* OVFLG becomes visible after the records that fill the queue. */
		smmuv3_fe_priq_publish(f);
		f->pri_over = true;
		smmuv3_outq_overflow(f, &f->priq);
		smmuv3_count(f->stats, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS);
		return discard_ppr(f, ppr);
	}
	entry = smmuv3_outq_get_entry(f, &f->priq, SMMUV3_MODEL_KNOB_PRIQ_ABORT);
	if (entry == NULL) {
		/* Entries before PROD stay valid. */
		smmuv3_fe_priq_publish(f);
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_PRIQ_ABT);
		return SMMUV3_FE_PPR_ABORTED;
	}
	smmuv3_outq_prefetch(f, &f->priq, entry, SMMUV3_PRIQ_PROD);
	f->priq.prod = smmuv3_q_add(f->priq.log2, f->priq.prod, 1);
	f->nb_pprs++;
	if (smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_PRIQ_LOSE)) {
		smmuv3_fe_priq_publish(f);
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_PRIQ_ABT);
		return SMMUV3_FE_PPR_LOST;
	}
	*entry = *ppr;
	f->pri_last |= (ppr->dw[0] & SMMUV3_PPR0_LAST) != 0;
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_PPRS);
	return SMMUV3_FE_PPR_PUT;
}

void
smmuv3_fe_priq_store_prod(struct smmuv3_fe *f)
{
	bool last = f->pri_last;
	uint32_t before;

	f->ops->publish_pri(f->be);
	f->pri_last = false;
	before = smmuv3_outq_store_prod(f, &f->priq);
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_PRIQ))
		return;
	if (f->val[SMMUV3_FE_PRIQ_IRQ_CFG2] & SMMUV3_PRIQ_IRQ_CFG2_LO ? last :
			smmuv3_outq_was_empty(f, &f->priq, before))
		smmuv3_fe_signal_priq(f);
}
