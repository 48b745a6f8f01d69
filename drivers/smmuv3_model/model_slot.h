/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_SLOT_H
#define SMMUV3_MODEL_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model_access.h"
#include "smmuv3_model.h"

struct smmuv3_group;

enum smmuv3_slot_state {
	SMMUV3_SLOT_FREE,
	SMMUV3_SLOT_READY,	/* running, or in the ready list */
	SMMUV3_SLOT_STALLED,	/* recorded; waits for a RESUME */
	SMMUV3_SLOT_HELD,	/* stalled; its record waits for a writable queue */
	SMMUV3_SLOT_DUP,	/* stalled; its record is suppressed */
	SMMUV3_SLOT_REQUESTING,	/* in a page request group, or waits for an index or credit */
	SMMUV3_SLOT_IN_FLIGHT,	/* translated, not yet at memory */
};

/* One DMA in progress; it has one transaction at a time. */
struct smmuv3_slot {
	struct smmuv3_slot *next;
	struct smmuv3_model_dma *dma;
	uint64_t off;			/* bytes done */
	uint16_t stag;
	uint8_t state;
	bool open;			/* its transaction is started and not answered */
	bool dst_phase;			/* COPY: the data is in the bounce buffer */
	bool has_stag;
	bool fault_priv, fault_instr;	/* of the stall */
	bool reset;			/* abort at the next run */
	bool woken;			/* an index or a credit became free for it */
	uint64_t held_seq;		/* oracle.seq when its record was held back */
	struct smmuv3_fault fault;	/* of the stall; desc is valid if desc_gen is wins.gen */
	uint32_t desc_gen;
	struct smmuv3_model_done done;	/* completed step by step */
	struct smmuv3_model_op op;
	struct smmuv3_group *group;	/* that it sends, or whose answer it waits for */
	uint64_t land_at;		/* flight.steps at which it accesses memory */
	struct smmuv3_target target;	/* used in flight only */
};

struct smmuv3_list {
	struct smmuv3_slot *first, **last;
};

static inline void
smmuv3_list_add(struct smmuv3_list *list, struct smmuv3_slot *s)
{
	s->next = NULL;
	*list->last = s;
	list->last = &s->next;
}

static inline struct smmuv3_slot *
smmuv3_list_take(struct smmuv3_list *list)
{
	struct smmuv3_slot *s = list->first;

	if (s != NULL) {
		list->first = s->next;
		if (s->next == NULL)
			list->last = &list->first;
	}
	return s;
}

#endif /* SMMUV3_MODEL_SLOT_H */
