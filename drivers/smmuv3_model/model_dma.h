/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_DMA_H
#define SMMUV3_MODEL_DMA_H

/* Engines: their rings and slots. */

#include <stdatomic.h>

#include "model_ctx.h"
#include "model_slot.h"

struct smmuv3_ep;
struct smmuv3_prgs;

struct smmuv3_ring {
	struct smmuv3_model_op *op;
	uint32_t mask;
	_Alignas(64) _Atomic uint32_t tail;	/* written by the submitting thread */
	_Alignas(64) uint32_t head;		/* written by the stepping thread */
};

struct smmuv3_model_dma {
	struct smmuv3_model *m;
	struct smmuv3_model_dma_conf conf;
	struct smmuv3_model_dma *all_next;
	struct smmuv3_ep *ep;		/* its endpoint, or NULL */
	struct smmuv3_prgs *prgs;	/* its PRG indices */
	_Atomic uint32_t owner;		/* of its address space; 0: not known */

	/* stepping thread */
	struct smmuv3_ctx ctx;
	struct smmuv3_model_dma *run_next;
	bool listed;			/* in the run list */
	bool starved;			/* an operation waits for a slot */
	struct smmuv3_slot *slot, *free_slot;
	uint8_t *bounce;		/* one page for each slot, used by COPY only */
	uint64_t started, answered;	/* transactions */
	struct smmuv3_ring own;		/* submissions of on_done */
	struct smmuv3_model_done *done;	/* completion ring */
	uint32_t done_mask;
	_Alignas(64) _Atomic uint32_t done_tail;	/* = DMAs completed */

	/* completing thread */
	_Alignas(64) _Atomic uint32_t done_head;

	/* submitting thread */
	struct smmuv3_ring ring;
	_Alignas(64) atomic_bool queued;	/* in the list of engines with new work */
	_Atomic(struct smmuv3_model_dma *) work_next;
};

/* Start new DMAs. Returns the number of transactions. */
unsigned int smmuv3_dma_run(struct smmuv3_model *m, unsigned int max);
void smmuv3_dma_finish(struct smmuv3_model *m, struct smmuv3_slot *s);
void smmuv3_dma_free(struct smmuv3_model_dma *dma);

#endif /* SMMUV3_MODEL_DMA_H */
