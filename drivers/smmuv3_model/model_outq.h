/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_OUTQ_H
#define SMMUV3_MODEL_OUTQ_H

/* What the event queue and the PRIQ have in common. */

#include "front.h"

/* It is switched on: what its registers say. */
void smmuv3_outq_enable(struct smmuv3_fe *f, struct smmuv3_outq *q, uint64_t base, uint64_t prod,
		unsigned int max_log2);
void smmuv3_outq_load_cons(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Toggle OVFLG; what filled the queue is shown already. */
void smmuv3_outq_overflow(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Store PROD. Returns the position that software saw before. */
uint32_t smmuv3_outq_store_prod(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Had software taken all that was before @p before? For interrupts. */
bool smmuv3_outq_was_empty(struct smmuv3_fe *f, struct smmuv3_outq *q, uint32_t before);

static inline bool
smmuv3_outq_is_full(const struct smmuv3_outq *q)
{
	return smmuv3_q_full(q->log2, q->prod, q->cons);
}

/* Where the next record goes, or NULL: its write aborts. */
static inline void *
smmuv3_outq_slot(struct smmuv3_fe *f, struct smmuv3_outq *q, enum smmuv3_model_knob abort)
{
	uint64_t addr = q->base + (uint64_t)q->entry * smmuv3_q_slot(q->log2, q->prod);

	if (smmuv3_fe_knob_take(f, abort))
		return NULL;
	smmuv3_frames_check_smmu(f->frames, q->name, 0, 0, addr, q->entry);
	return smmuv3_win_find(f->wins, &q->win, addr, q->entry);
}

/*
 * Software has the lines of PROD and of the entries: they will be wanted soon, the
 * line of the record so far ahead at the first record of a line. That of PROD is not
 * asked for to be written: software that polls would have it back before the store, and
 * the store would wait for it again.
 */
#define SMMUV3_OUTQ_AHEAD	16
#define SMMUV3_OUTQ_AHEAD_LOG2	6

static inline void
smmuv3_outq_prefetch(const struct smmuv3_fe *f, const struct smmuv3_outq *q, void *slot,
		uint32_t prod_offset)
{
	uint32_t at = smmuv3_q_slot(q->log2, q->prod);

	__builtin_prefetch(smmuv3_reg32(f->regs, prod_offset));
	if (q->log2 >= SMMUV3_OUTQ_AHEAD_LOG2 && (at * q->entry) % 64 == 0)
		smmuv3_prefetch_write((uint8_t *)slot - (size_t)q->entry * at + (size_t)q->entry *
				smmuv3_q_slot(q->log2, q->prod + SMMUV3_OUTQ_AHEAD));
}

#endif /* SMMUV3_MODEL_OUTQ_H */
