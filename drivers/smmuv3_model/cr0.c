/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* CR0 and IRQ_CTRL: registers whose bits the SMMU acknowledges [6.3.9, 6.3.16]. */

#include "front.h"
#include "model_cmdq.h"
#include "model_cr0.h"
#include "model_evtq.h"
#include "model_log.h"
#include "model_priq.h"

#define CR0_ALWAYS	(SMMUV3_CR0_SMMUEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_CMDQEN)
#define IRQ_ALWAYS	(SMMUV3_IRQ_CTRL_GERROR | SMMUV3_IRQ_CTRL_EVENTQ)

static const char *
cr0_bit_name(uint32_t bit)
{
	switch (bit) {
	case SMMUV3_CR0_SMMUEN: return "SMMUEN";
	case SMMUV3_CR0_PRIQEN: return "PRIQEN";
	case SMMUV3_CR0_EVENTQEN: return "EVENTQEN";
	case SMMUV3_CR0_CMDQEN: return "CMDQEN";
	case SMMUV3_CR0_ATSCHK: return "ATSCHK";
	default: return "a reserved bit";
	}
}

static const char *
irq_bit_name(uint32_t bit)
{
	switch (bit) {
	case SMMUV3_IRQ_CTRL_GERROR: return "GERROR_IRQEN";
	case SMMUV3_IRQ_CTRL_PRIQ: return "PRIQ_IRQEN";
	case SMMUV3_IRQ_CTRL_EVENTQ: return "EVENTQ_IRQEN";
	default: return "a reserved bit";
	}
}

/*
 * Process a write of CR0 or IRQ_CTRL. Reserved bits stay 0. Software may not
 * write a bit whose last change is not acknowledged [6.3.9].
 */
static void
ctrl_write(struct smmuv3_fe *f, struct smmuv3_fe_ctrl *ctrl, uint32_t offset,
		uint32_t implemented, const char *name, const char *(*bit_name)(uint32_t))
{
	/* Acquire: the configuration that software wrote before the enable is visible. */
	uint32_t v = atomic_load_explicit(smmuv3_reg32(f->regs, offset), memory_order_acquire);
	uint32_t moving = ctrl->value ^ ctrl->ack;
	uint32_t want, bad;

	if (v == ctrl->value)
		return;
	/* Software wrote other registers before this one: check those against the old bits. */
	smmuv3_fe_check_guards(f);
	bad = v & ~implemented;
	if (bad != 0)
		smmuv3_log_add(f->log, "%s: %s set, but this SMMU does not implement it", name,
				bit_name(bad & -bad));
	want = v & implemented;
	bad = (want ^ ctrl->value) & moving;
	if (bad != 0) {
		smmuv3_log_add(f->log, "%s.%s written again before it was acknowledged", name,
				bit_name(bad & -bad));
		want ^= bad;
	}
	if (want != v)
		atomic_compare_exchange_strong_explicit(smmuv3_reg32(f->regs, offset), &v, want,
				memory_order_relaxed, memory_order_relaxed);
	if (moving == 0)
		ctrl->wait = f->ack_delay;
	ctrl->value = want;
}

/* The bits that are acknowledged in this step. False: no bit waits for it. */
static bool
ctrl_tick(struct smmuv3_fe *f, struct smmuv3_fe_ctrl *ctrl, uint32_t *bits)
{
	uint32_t moving = ctrl->value ^ ctrl->ack;

	*bits = 0;
	if (moving == 0 || smmuv3_fe_knob(f, SMMUV3_MODEL_KNOB_NO_ACK))
		return false;
	if (ctrl->wait > 0)
		ctrl->wait--;
	else
		*bits = f->ack_delay == 0 ? moving : moving & -moving;
	return true;
}

static void
check_strtab(struct smmuv3_fe *f)
{
	uint32_t cfg = (uint32_t)f->val[SMMUV3_FE_STRTAB_BASE_CFG];
	uint32_t fmt = SMMUV3_GET(SMMUV3_STRTAB_CFG_FMT, cfg);
	uint32_t split = SMMUV3_GET(SMMUV3_STRTAB_CFG_SPLIT, cfg);
	bool two = fmt == SMMUV3_STRTAB_2LVL;

	if (fmt > SMMUV3_STRTAB_2LVL ||
			(two && SMMUV3_GET(SMMUV3_IDR0_ST_LEVEL, f->val[SMMUV3_FE_IDR0]) == 0))
		smmuv3_log_add(f->log, "STRTAB_BASE_CFG.FMT %u is reserved", fmt);
	if (two && split != 6 && split != 8 && split != 10)
		smmuv3_log_add(f->log, "STRTAB_BASE_CFG.SPLIT %u is not 6, 8 or 10", split);
}

unsigned int
smmuv3_fe_update_cr0(struct smmuv3_fe *f)
{
	uint32_t implemented = CR0_ALWAYS, bits;

	if (smmuv3_fe_has_feature(f, SMMUV3_IDR0_ATS))
		implemented |= SMMUV3_CR0_ATSCHK;
	if (smmuv3_fe_has_feature(f, SMMUV3_IDR0_PRI))
		implemented |= SMMUV3_CR0_PRIQEN;
	ctrl_write(f, &f->cr0, SMMUV3_CR0, implemented, "CR0", cr0_bit_name);
	if (!ctrl_tick(f, &f->cr0, &bits))
		return 0;
	if (bits == 0)
		return 1;
	/* Committed records are visible before EVENTQEN = 0 is acknowledged [6.3.9]. */
	smmuv3_fe_evtq_publish(f);
	smmuv3_fe_priq_publish(f);
	/* So are aborts of their writes, in GERROR. */
	if (bits & SMMUV3_CR0_EVENTQEN && f->evtq_abort != 0)
		smmuv3_fe_evtq_abort(f);
	f->cr0.ack ^= bits;
	if (bits & SMMUV3_CR0_CMDQEN && smmuv3_fe_is_on(f, SMMUV3_CR0_CMDQEN))
		smmuv3_fe_cmdq_enable(f);
	if (bits & SMMUV3_CR0_EVENTQEN && smmuv3_fe_is_on(f, SMMUV3_CR0_EVENTQEN))
		smmuv3_fe_evtq_enable(f);
	if (bits & SMMUV3_CR0_PRIQEN && smmuv3_fe_is_on(f, SMMUV3_CR0_PRIQEN))
		smmuv3_fe_priq_enable(f);
	if (bits & SMMUV3_CR0_SMMUEN) {
		if (smmuv3_fe_is_on(f, SMMUV3_CR0_SMMUEN)) {
			check_strtab(f);
			f->ops->smmu_on(f->be);
		} else {
			f->ops->smmu_off(f->be);
		}
	}
	smmuv3_fe_store_reg(f, SMMUV3_FE_CR0ACK, f->cr0.ack);
	return 1;
}

unsigned int
smmuv3_fe_update_irq_ctrl(struct smmuv3_fe *f)
{
	uint32_t implemented = IRQ_ALWAYS, bits;

	if (smmuv3_fe_has_feature(f, SMMUV3_IDR0_PRI))
		implemented |= SMMUV3_IRQ_CTRL_PRIQ;
	ctrl_write(f, &f->irq_ctrl, SMMUV3_IRQ_CTRL, implemented, "IRQ_CTRL", irq_bit_name);
	if (!ctrl_tick(f, &f->irq_ctrl, &bits))
		return 0;
	if (bits != 0) {
		f->irq_ctrl.ack ^= bits;
		smmuv3_fe_store_reg(f, SMMUV3_FE_IRQ_CTRLACK, f->irq_ctrl.ack);
	}
	return 1;
}
