/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_TRANSLATE_H
#define SMMUV3_MODEL_TRANSLATE_H

#include "model.h"
#include "model_dma.h"

struct smmuv3_tlb_entry;

/* Does stage 1 permit the access? */
bool smmuv3_s1_is_permitted(const struct smmuv3_ctx *ctx, const struct smmuv3_tlb_entry *e,
		const struct smmuv3_access *acc);
enum smmuv3_result smmuv3_translate(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		struct smmuv3_access *acc, struct smmuv3_target *to, struct smmuv3_fault *fault);

/* The translation of one page, for an ATC. */
struct smmuv3_page {
	uint64_t pa;		/* with split-stage ATS: an IPA */
	uint64_t ipa;		/* if stage 2 translates */
	uint32_t space;		/* VMID and ASID */
	bool s1, s2;		/* the stages that translated it */
	bool read, write, exec;
};
enum smmuv3_result smmuv3_translate_page(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_page *page,
		struct smmuv3_fault *fault);

/* Stage 2 translates @p to->pa, an IPA, for a translated transaction at address @p to->pa. */
enum smmuv3_result smmuv3_translate_ipa(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		bool write, struct smmuv3_target *to, struct smmuv3_fault *fault);

static inline enum smmuv3_result
smmuv3_ctx_get(struct smmuv3_model *m, struct smmuv3_model_dma *dma, struct smmuv3_fault *fault)
{
	struct smmuv3_ctx *ctx = &dma->ctx;
	enum smmuv3_result r;

	if (ctx->gen == m->cfg_gen && ctx->kind != SMMUV3_CTX_NONE)
		return SMMUV3_OK;
	r = smmuv3_ctx_make(m, dma, fault);
	if (r != SMMUV3_OK)
		ctx->kind = SMMUV3_CTX_NONE;
	return r;
}

#endif /* SMMUV3_MODEL_TRANSLATE_H */
