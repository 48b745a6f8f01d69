/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * From StreamID and SubstreamID to a translation context, through the STE (ste.c) and the CD
 * (cd.c).
 */

#include <string.h>

#include "model.h"
#include "model_access.h"
#include "model_cd.h"
#include "model_ctx.h"
#include "model_dma.h"
#include "model_ste.h"

/* The order of the checks is that of the events' priorities [7.3]. */
enum smmuv3_result
smmuv3_ctx_make(struct smmuv3_model *m, struct smmuv3_model_dma *dma, struct smmuv3_fault *fault)
{
	const struct smmuv3_model_dma_conf *client = &dma->conf;
	struct smmuv3_ctx *ctx = &dma->ctx;
	struct smmuv3_ste ste;
	struct smmuv3_cd cd;
	enum smmuv3_result r;
	bool bypass;
	uint32_t idx;

	memset(ctx, 0, sizeof(*ctx));
	ctx->sid = client->sid;
	r = smmuv3_ste_fetch(m, client->sid, &ste, &ctx->ste_born, fault);
	if (r != SMMUV3_OK)
		return r;
	if (!(ste.dw[0] & SMMUV3_STE0_V))
		return smmuv3_fault_set(fault, SMMUV3_C_BAD_STE, 0);
	if (SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]) < SMMUV3_STE_BYPASS) {
		ctx->ste = SMMUV3_CTX_STE_ABORTS;
		return smmuv3_fault_set(fault, 0, 0);
	}
	if (!smmuv3_ste_is_legal(m, &ste))
		return smmuv3_fault_set(fault, SMMUV3_C_BAD_STE, 0);
	ctx->ste = SMMUV3_CTX_STE_LEGAL;
	/* EATS has no effect with Config = 0b100, and 3 is reserved. */
	if (SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]) != SMMUV3_STE_BYPASS)
		ctx->ats = (uint8_t)SMMUV3_GET(SMMUV3_STE1_EATS, ste.dw[1]);
	if (ctx->ats > SMMUV3_EATS_SPLIT)
		ctx->ats = SMMUV3_EATS_OFF;
	smmuv3_ste_decode_s2(m, &ste, &ctx->s2);
	ctx->merge = ste.dw[1] & SMMUV3_STE1_MEV;
	ctx->privcfg = (uint8_t)SMMUV3_GET(SMMUV3_STE1_PRIVCFG, ste.dw[1]);
	ctx->instcfg = (uint8_t)SMMUV3_GET(SMMUV3_STE1_INSTCFG, ste.dw[1]);
	r = smmuv3_cd_choose(m, client, &ste, &bypass, &idx, fault);
	if (r != SMMUV3_OK)
		return r;
	if (bypass) {
		ctx->kind = ctx->s2.on ? SMMUV3_CTX_S2 : SMMUV3_CTX_BYPASS;
	} else {
		r = smmuv3_cd_fetch(m, client->sid, &ste, ctx, idx, &cd, &ctx->cd_born,
				fault);
		if (r != SMMUV3_OK)
			return r;
		if (!smmuv3_cd_decode(m, &ste, &cd, ctx))
			return smmuv3_fault_set(fault, SMMUV3_C_BAD_CD, 0);
		ctx->kind = ctx->s2.on ? SMMUV3_CTX_NESTED : SMMUV3_CTX_S1;
		ctx->space = smmuv3_space_make((uint16_t)(ctx->s2.space >> 16), ctx->asid);
	}
	ctx->checked = ctx->ste_born;
	if (ctx->kind >= SMMUV3_CTX_NESTED && ctx->cd_born < ctx->checked)
		ctx->checked = ctx->cd_born;
	/* Read last: the fetch of the CD may have cleared a full cache and changed it. */
	ctx->gen = m->cfg_gen;
	return SMMUV3_OK;
}
