/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Interrupts: MSIs, and wires, which are edge-triggered or level-triggered [3.18]. */

#include <unistd.h>

#include "front.h"
#include "model_frames.h"
#include "model_gerror.h"
#include "model_irq.h"
#include "model_outq.h"
#include "model_win.h"

bool
smmuv3_fe_write_msi(struct smmuv3_fe *f, uint64_t addr, uint32_t data)
{
	smmuv3_reg32_t *word;

	if (smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_MSI_ABORT))
		return false;
	smmuv3_frames_check_smmu(f->frames, "an MSI", 0, 0, addr, sizeof(*word));
	word = smmuv3_win_find(f->wins, &f->msi_win, addr, sizeof(*word));
	if (word == NULL || (uintptr_t)word % sizeof(*word) != 0)
		return false;
	/* Release, pairs with smmuv3_load_word(): what the MSI reports is visible before it. */
	atomic_store_explicit(word, data, memory_order_release);
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_MSIS);
	return true;
}

static void
signal_fd(struct smmuv3_fe *f, enum smmuv3_model_irq irq)
{
	int fd = atomic_load_explicit(&f->irq_fd[irq], memory_order_relaxed);
	const uint64_t one = 1;

	if (fd < 0)
		return;
	/* If the eventfd is full, the edge is pending anyway. */
	if (write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		smmuv3_count(f->stats, SMMUV3_MODEL_STAT_IRQS);
}

/* Signal an edge. smmuv3_fe_update_levels() handles level-triggered lines. */
void
smmuv3_fe_signal_edge(struct smmuv3_fe *f, enum smmuv3_model_irq irq)
{
	if (!(f->harsh & SMMUV3_MODEL_HARSH_LEVEL_IRQ) || irq == SMMUV3_MODEL_IRQ_CMD_SYNC)
		signal_fd(f, irq);
}

static bool
is_wired(const struct smmuv3_fe *f, uint32_t enable, enum smmuv3_fe_reg cfg0)
{
	return f->irq_ctrl.ack & enable && (!(f->val[SMMUV3_FE_IDR0] & SMMUV3_IDR0_MSI) ||
			!(f->val[cfg0] & SMMUV3_IRQ_CFG0_ADDR));
}

static bool
is_queue_high(struct smmuv3_fe *f, struct smmuv3_outq *q, uint32_t cr0_bit)
{
	if (!smmuv3_fe_is_on(f, cr0_bit))
		return false;
	smmuv3_outq_load_cons(f, q);
	return !smmuv3_q_empty(q->log2, q->shown, q->cons);
}

/* Signal a line that is high, once until it is unmasked. */
static void
update_level(struct smmuv3_fe *f, enum smmuv3_model_irq irq, bool high)
{
	if (!high || atomic_load_explicit(&f->irq_masked[irq], memory_order_relaxed))
		return;
	atomic_store_explicit(&f->irq_masked[irq], true, memory_order_relaxed);
	signal_fd(f, irq);
}

void
smmuv3_fe_update_levels(struct smmuv3_fe *f)
{
	update_level(f, SMMUV3_MODEL_IRQ_EVTQ, is_wired(f, SMMUV3_IRQ_CTRL_EVENTQ,
			SMMUV3_FE_EVENTQ_IRQ_CFG0) &&
			is_queue_high(f, &f->evtq, SMMUV3_CR0_EVENTQEN));
	update_level(f, SMMUV3_MODEL_IRQ_PRIQ, is_wired(f, SMMUV3_IRQ_CTRL_PRIQ,
			SMMUV3_FE_PRIQ_IRQ_CFG0) &&
			is_queue_high(f, &f->priq, SMMUV3_CR0_PRIQEN));
	update_level(f, SMMUV3_MODEL_IRQ_GERROR, is_wired(f, SMMUV3_IRQ_CTRL_GERROR,
			SMMUV3_FE_GERROR_IRQ_CFG0) && f->gerror != f->gerrorn);
}

/* An MSI address disables the wire [6.3.20]. */
static bool
send_irq(struct smmuv3_fe *f, enum smmuv3_fe_reg cfg0, enum smmuv3_model_irq wire)
{
	uint64_t addr = f->val[cfg0] & SMMUV3_IRQ_CFG0_ADDR;

	if (!(f->val[SMMUV3_FE_IDR0] & SMMUV3_IDR0_MSI) || addr == 0) {
		smmuv3_fe_signal_edge(f, wire);
		return true;
	}
	return smmuv3_fe_write_msi(f, addr, (uint32_t)f->val[cfg0 + 1]);
}

void
smmuv3_fe_signal_evtq(struct smmuv3_fe *f)
{
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_EVENTQ))
		return;
	if (!send_irq(f, SMMUV3_FE_EVENTQ_IRQ_CFG0, SMMUV3_MODEL_IRQ_EVTQ))
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_MSI_EVENTQ_ABT);
}

void
smmuv3_fe_signal_priq(struct smmuv3_fe *f)
{
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_PRIQ))
		return;
	if (!send_irq(f, SMMUV3_FE_PRIQ_IRQ_CFG0, SMMUV3_MODEL_IRQ_PRIQ))
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_MSI_PRIQ_ABT);
}

void
smmuv3_fe_signal_gerror(struct smmuv3_fe *f)
{
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_GERROR))
		return;
	if (!send_irq(f, SMMUV3_FE_GERROR_IRQ_CFG0, SMMUV3_MODEL_IRQ_GERROR))
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_MSI_GERROR_ABT);
}
