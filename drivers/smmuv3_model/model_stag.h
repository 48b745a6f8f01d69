/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_STAG_H
#define SMMUV3_MODEL_STAG_H

/*
 * STAGs. A STAG is free, or belongs to a stalled transaction. The record of that transaction
 * is visible, or it is not: held back, or lost to an aborted write. By default the STAG that
 * is free longest is used next, so that an extra RESUME names a free STAG and is reported.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "model.h"
#include "model_dma.h"
#include "model_slot.h"

struct smmuv3_stall {
	struct smmuv3_slot *slot;	/* NULL: free, or the transaction ended by an early retry */
	struct smmuv3_slot *dups;	/* stalls whose records were suppressed */
	uint32_t sid;
	bool used;			/* the STAG is taken */
	bool shown;			/* its record is visible */
	bool resumed;			/* a RESUME freed it */
};

static inline uint16_t *
smmuv3_stag_at(struct smmuv3_model *m, uint32_t i)
{
	uint32_t at = m->stag_head + i;

	return &m->stag_fifo[at >= m->stall_max ? at - m->stall_max : at];
}

/* Remove a STAG from the free ones. */
static inline uint16_t
smmuv3_stag_choose(struct smmuv3_model *m)
{
	uint16_t *first = smmuv3_stag_at(m, 0), *any, stag;

	m->stag_nb--;
	if (m->harsh & SMMUV3_MODEL_HARSH_STAG_LIFO)
		return *smmuv3_stag_at(m, m->stag_nb);
	stag = *first;
	if (m->harsh & SMMUV3_MODEL_HARSH_STAG_RANDOM) {
		any = smmuv3_stag_at(m, smmuv3_rand(m) % (m->stag_nb + 1));
		stag = *any;
		*any = *first;
	}
	if (++m->stag_head == m->stall_max)
		m->stag_head = 0;
	return stag;
}

/* False: no STAG is free. */
static inline bool
smmuv3_stag_take(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	struct smmuv3_stall *st;

	if (m->stag_nb == 0)
		return false;
	s->stag = smmuv3_stag_choose(m);
	st = &m->stall[s->stag];
	*st = (struct smmuv3_stall){ .slot = s, .sid = s->dma->conf.sid, .used = true };
	s->has_stag = true;
	return true;
}

static inline void
smmuv3_stag_put(struct smmuv3_model *m, uint16_t stag)
{
	struct smmuv3_stall *st = &m->stall[stag];

	if (st->shown)
		atomic_store_explicit(&m->stalls_out, atomic_load_explicit(&m->stalls_out,
				memory_order_relaxed) - 1, memory_order_relaxed);
	if (st->slot != NULL)
		st->slot->has_stag = false;
	st->slot = NULL;
	st->dups = NULL;
	st->used = false;
	st->shown = false;
	*smmuv3_stag_at(m, m->stag_nb++) = stag;
}

#endif /* SMMUV3_MODEL_STAG_H */
