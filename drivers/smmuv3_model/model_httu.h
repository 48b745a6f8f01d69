/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_HTTU_H
#define SMMUV3_MODEL_HTTU_H

/*
 * Hardware updates of descriptors (HTTU) [3.13]: AF, and the dirty state of a leaf with DBM. Each
 * is one compare-and-swap of the descriptor that the walk read. If the descriptor has changed, the
 * result is SMMUV3_BUSY: the transaction is translated again in the next step.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"
#include "model_ctx.h"
#include "model_tlb.h"

struct smmuv3_model;

/* The descriptor of a leaf, as the walk read it. */
struct smmuv3_desc {
	const uint64_t *at;
	uint64_t val;
	uint64_t addr;		/* of it; with both stages that of stage 1 is an IPA */
};

/* Would a write make the leaf of a TLB entry dirty? The entry then cannot serve the write. */
static inline bool
smmuv3_httu_is_clean(const struct smmuv3_ctx *ctx, const struct smmuv3_tlb_entry *e)
{
	return (e->clean && ctx->hd) || (e->s2_clean && ctx->s2.hd);
}

/*
 * After a walk of stage 1 with HA: set AF for the access, and make the leaf dirty for a write that
 * stage 1 permits. With a fault nothing is cached.
 */
enum smmuv3_result smmuv3_httu_update(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		const struct smmuv3_access *acc, const struct smmuv3_desc *desc,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_fault *fault);
/* The same after a walk of stage 2 with S2HA. @p write: make the leaf dirty. */
enum smmuv3_result smmuv3_httu_update_s2(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		bool write, const struct smmuv3_desc *desc, struct smmuv3_tlb_entry *leaf);
/* Does stage 1 permit the access, once it has made the leaf dirty? */
bool smmuv3_httu_will_permit(const struct smmuv3_ctx *ctx, const struct smmuv3_tlb_entry *leaf,
		const struct smmuv3_access *acc);

#endif /* SMMUV3_MODEL_HTTU_H */
