/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_OUTQ_H
#define SMMUV3_MODEL_OUTQ_H

/* Common to the EVTQ and the PRIQ. */

#include "front.h"

/* The queue is enabled: take the values of its registers. */
void smmuv3_outq_enable(struct smmuv3_fe *f, struct smmuv3_outq *q, uint64_t base, uint64_t prod,
		unsigned int max_log2);
void smmuv3_outq_load_cons(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Toggle OVFLG. PROD must cover the records that fill the queue. */
void smmuv3_outq_overflow(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Store PROD. Returns its previous position. */
uint32_t smmuv3_outq_store_prod(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Was the queue empty before PROD moved on from @p before? For interrupts. */
bool smmuv3_outq_was_empty(struct smmuv3_fe *f, struct smmuv3_outq *q, uint32_t before);

static inline bool
smmuv3_outq_is_full(const struct smmuv3_outq *q)
{
	return smmuv3_q_full(q->log2, q->prod, q->cons);
}

/* The entry of the next record, or NULL: its write aborts. */
static inline void *
smmuv3_outq_get_entry(struct smmuv3_fe *f, struct smmuv3_outq *q, enum smmuv3_model_knob abort)
{
	uint64_t addr = q->base + (uint64_t)q->entry * smmuv3_q_slot(q->log2, q->prod);

	if (smmuv3_fe_knob_take(f, abort))
		return NULL;
	smmuv3_frames_check_smmu(f->frames, q->name, 0, 0, addr, q->entry);
	return smmuv3_win_find(f->wins, &q->win, addr, q->entry);
}

/*
 * The cache lines of PROD and of the entries are in the cache of the software's core.
 * Prefetch the line of PROD, and at the first record of a line the line of the entries
 * SMMUV3_OUTQ_AHEAD records ahead. The prefetch of PROD is for reading: software that polls
 * PROD takes an exclusive line back before the store, and the store waits again.
 */
#define SMMUV3_OUTQ_AHEAD	16
#define SMMUV3_OUTQ_AHEAD_LOG2	6

static inline void
smmuv3_outq_prefetch(const struct smmuv3_fe *f, const struct smmuv3_outq *q, void *record,
		uint32_t prod_offset)
{
	uint32_t at = smmuv3_q_slot(q->log2, q->prod);

	__builtin_prefetch(smmuv3_reg32(f->regs, prod_offset));
	if (q->log2 >= SMMUV3_OUTQ_AHEAD_LOG2 && (at * q->entry) % 64 == 0)
		smmuv3_prefetch_write((uint8_t *)record - (size_t)q->entry * at + (size_t)q->entry *
				smmuv3_q_slot(q->log2, q->prod + SMMUV3_OUTQ_AHEAD));
}

#endif /* SMMUV3_MODEL_OUTQ_H */
