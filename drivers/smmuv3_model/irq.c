/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Interrupts: MSI writes and wired edges [3.18]. */

#include <unistd.h>

#include "front.h"

/* Write an MSI. False: it aborted. */
bool
smmuv3_fe_msi(struct smmuv3_fe *f, uint64_t addr, uint32_t data)
{
	smmuv3_reg32_t *word;

	if (smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_MSI_ABORT))
		return false;
	smmuv3_frames_own(f->frames, "an MSI", addr, sizeof(*word));
	word = smmuv3_win_find(f->wins, &f->msi_win, addr, sizeof(*word));
	if (word == NULL || (uintptr_t)word % sizeof(*word) != 0)
		return false;
	/* Pairs with smmuv3_load_word(): what the MSI speaks of is visible first. */
	atomic_store_explicit(word, data, memory_order_release);
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_MSIS);
	return true;
}

void
smmuv3_fe_wire(struct smmuv3_fe *f, enum smmuv3_model_irq irq)
{
	int fd = atomic_load_explicit(&f->irq_fd[irq], memory_order_relaxed);
	const uint64_t one = 1;

	if (fd < 0)
		return;
	/* An eventfd that is full has its edge already. */
	if (write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		smmuv3_count(f->stats, SMMUV3_MODEL_STAT_IRQS);
}

/* An MSI address switches the wire off [6.3.20]. */
static bool
irq_send(struct smmuv3_fe *f, enum smmuv3_fe_reg cfg0, enum smmuv3_model_irq wire)
{
	uint64_t addr = f->val[cfg0] & SMMUV3_IRQ_CFG0_ADDR;

	if (!(f->val[SMMUV3_FE_IDR0] & SMMUV3_IDR0_MSI) || addr == 0) {
		smmuv3_fe_wire(f, wire);
		return true;
	}
	return smmuv3_fe_msi(f, addr, (uint32_t)f->val[cfg0 + 1]);
}

void
smmuv3_fe_irq_evtq(struct smmuv3_fe *f)
{
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_EVENTQ))
		return;
	if (!irq_send(f, SMMUV3_FE_EVENTQ_IRQ_CFG0, SMMUV3_MODEL_IRQ_EVTQ))
		smmuv3_fe_gerror(f, SMMUV3_GERROR_MSI_EVENTQ_ABT);
}

void
smmuv3_fe_irq_priq(struct smmuv3_fe *f)
{
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_PRIQ))
		return;
	if (!irq_send(f, SMMUV3_FE_PRIQ_IRQ_CFG0, SMMUV3_MODEL_IRQ_PRIQ))
		smmuv3_fe_gerror(f, SMMUV3_GERROR_MSI_PRIQ_ABT);
}

void
smmuv3_fe_irq_gerror(struct smmuv3_fe *f)
{
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_GERROR))
		return;
	if (!irq_send(f, SMMUV3_FE_GERROR_IRQ_CFG0, SMMUV3_MODEL_IRQ_GERROR))
		smmuv3_fe_gerror(f, SMMUV3_GERROR_MSI_GERROR_ABT);
}
