/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CR0_H
#define SMMUV3_MODEL_CR0_H

#include "front.h"

/* Process a write, and acknowledge bits. Return the units of work done. */
unsigned int smmuv3_fe_update_cr0(struct smmuv3_fe *f);
unsigned int smmuv3_fe_update_irq_ctrl(struct smmuv3_fe *f);

/* Has software written nothing, and are all bits acknowledged? */
static inline bool
smmuv3_fe_is_ctrl_idle(const struct smmuv3_fe *f, const struct smmuv3_fe_ctrl *ctrl,
		uint32_t offset)
{
	return ctrl->value == ctrl->ack && ctrl->value == atomic_load_explicit(
			smmuv3_reg32(f->regs, offset), memory_order_acquire);
}

static inline unsigned int
smmuv3_fe_poll_cr0(struct smmuv3_fe *f)
{
	return smmuv3_fe_is_ctrl_idle(f, &f->cr0, SMMUV3_CR0) ? 0 : smmuv3_fe_update_cr0(f);
}

static inline unsigned int
smmuv3_fe_poll_irq_ctrl(struct smmuv3_fe *f)
{
	return smmuv3_fe_is_ctrl_idle(f, &f->irq_ctrl, SMMUV3_IRQ_CTRL) ? 0 :
		smmuv3_fe_update_irq_ctrl(f);
}

#endif /* SMMUV3_MODEL_CR0_H */
