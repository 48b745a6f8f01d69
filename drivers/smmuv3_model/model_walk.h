/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_WALK_H
#define SMMUV3_MODEL_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"

struct smmuv3_ctx;
struct smmuv3_desc;
struct smmuv3_inv;
struct smmuv3_model;
struct smmuv3_tlb_entry;

/* A cache of pointers to last-level tables. With both stages those of stage 1 are IPAs. */
#define SMMUV3_WC_LOG2 10

struct smmuv3_wc_entry {
	uint64_t tag;		/* address bits 55.. above those that the table translates */
	uint64_t table;
	uint64_t checked;	/* the oracle has checked invalidations up to this number */
	uint32_t gen;		/* 0: not valid */
	uint32_t space;		/* VMID and ASID */
	uint8_t gran;
	uint8_t apt;		/* APTable */
	bool uxnt, pxnt;
};

struct smmuv3_wc {
	uint32_t gen;
	struct smmuv3_wc_entry entry[1 << SMMUV3_WC_LOG2];
};

/* A stage-1 walk of a context without stage 2. @p desc: the descriptor of the leaf. */
enum smmuv3_result smmuv3_walk(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t va,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_desc *desc,
		struct smmuv3_fault *fault);
/* A stage-1 walk whose tables are at IPAs. The output of the leaf is an IPA. */
enum smmuv3_result smmuv3_walk_nested(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		uint64_t va, struct smmuv3_tlb_entry *leaf, struct smmuv3_desc *desc,
		struct smmuv3_fault *fault);
/* A stage-2 walk. @p why: SMMUV3_CLASS_*; @p va is for reports. */
enum smmuv3_result smmuv3_walk_s2(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		uint64_t ipa, unsigned int why, uint64_t va, struct smmuv3_tlb_entry *leaf,
		struct smmuv3_desc *desc, struct smmuv3_fault *fault);
void smmuv3_wc_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_wc_clear(struct smmuv3_model *m);

#endif /* SMMUV3_MODEL_WALK_H */
