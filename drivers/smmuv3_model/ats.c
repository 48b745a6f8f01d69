/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * ATS at the SMMU [3.9.1, 7.3.6]. Translation Requests and translated transactions never
 * stall, and CD.S, R and A have no effect on them, nor has STE.S2R on Translation Requests.
 */

#include "model.h"
#include "model_access.h"
#include "model_ats.h"
#include "model_ctx.h"
#include "model_dma.h"
#include "model_evtq.h"
#include "model_transact.h"
#include "model_translate.h"

/* Split-stage ATS has no effect without ATSCHK [5.2]. */
static bool
is_ats_allowed(const struct smmuv3_model *m, const struct smmuv3_ctx *ctx)
{
	return ctx->ats == SMMUV3_EATS_FULL || (ctx->ats == SMMUV3_EATS_SPLIT &&
			smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_ATSCHK));
}

/* Unsupported Request: the stream may not use ATS. */
static enum smmuv3_result
answer_unsupported_request(struct smmuv3_model *m, const struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, bool record)
{
	struct smmuv3_fault fault = { .id = SMMUV3_F_BAD_ATS_TREQ };
	struct smmuv3_evt evt;

	if (record) {
		smmuv3_evt_make(&dma->conf, acc, &fault, &evt);
		smmuv3_fe_evt_report(&m->fe, &evt);
	}
	return SMMUV3_FAULT;
}

/* Completer Abort: the configuration is illegal, or its fetch aborted. */
static enum smmuv3_result
answer_completer_abort(struct smmuv3_model *m, const struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, const struct smmuv3_fault *fault)
{
	struct smmuv3_evt evt;

	if (fault->id != 0 && m->fe.val[SMMUV3_FE_CR2] & SMMUV3_CR2_REC_CFG_ATS) {
		smmuv3_evt_make(&dma->conf, acc, fault, &evt);
		smmuv3_fe_evt_report(&m->fe, &evt);
	}
	return SMMUV3_FAULT;
}

enum smmuv3_result
smmuv3_ats_request(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_page *page,
		struct smmuv3_fault *fault)
{
	struct smmuv3_ctx *ctx = &dma->ctx;
	enum smmuv3_result r;

	*page = (struct smmuv3_page){ 0 };
	if (m->fe.sfm)
		return answer_unsupported_request(m, dma, acc, false);
	if (!smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_SMMUEN))
		return answer_unsupported_request(m, dma, acc, true);
	r = smmuv3_ctx_get(m, dma, fault);
	if (r == SMMUV3_BUSY)
		return r;
	if (ctx->ste == SMMUV3_CTX_STE_ABORTS)
		return answer_unsupported_request(m, dma, acc, false);
	if (ctx->ste == SMMUV3_CTX_STE_LEGAL && !is_ats_allowed(m, ctx))
		return answer_unsupported_request(m, dma, acc, true);
	if (r == SMMUV3_OK)
		r = smmuv3_translate_page(m, dma, acc, page, fault);
	if (r == SMMUV3_OK)
		return r;
	if (r == SMMUV3_FAULT && fault->id >= SMMUV3_F_TRANSLATION &&
			fault->id <= SMMUV3_F_PERMISSION)
		return SMMUV3_OK;	/* a Success response without permissions */
	return answer_completer_abort(m, dma, acc, fault);
}

/* A translated transaction has no PASID here. S2S is 0 with split-stage ATS [5.2]. */
static enum smmuv3_result
translate_split(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_target *to)
{
	struct smmuv3_fault fault = { .no_ssid = true };
	enum smmuv3_result r = smmuv3_translate_ipa(m, dma, acc->write, to, &fault);
	struct smmuv3_evt evt;

	if (r == SMMUV3_FAULT && (fault.id == SMMUV3_F_WALK_EABT || dma->ctx.s2.record)) {
		smmuv3_evt_make(&dma->conf, acc, &fault, &evt);
		smmuv3_fe_evt_report(&m->fe, &evt);
	}
	return r;
}

enum smmuv3_result
smmuv3_ats_check_translated(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		bool write, struct smmuv3_target *to)
{
	struct smmuv3_access acc = { .va = to->pa, .write = write };
	struct smmuv3_fault fault = { 0 };
	struct smmuv3_ctx *ctx = &dma->ctx;
	struct smmuv3_evt evt;

	if (m->fe.sfm)
		return SMMUV3_FAULT;
	if (smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_SMMUEN)) {
		if (!smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_ATSCHK))
			return SMMUV3_OK;
		if (smmuv3_ctx_get(m, dma, &fault) == SMMUV3_BUSY)
			return SMMUV3_BUSY;
		if (ctx->ste != SMMUV3_CTX_STE_LEGAL)
			return SMMUV3_FAULT;
		if (ctx->ats == SMMUV3_EATS_FULL)
			return SMMUV3_OK;
		if (ctx->ats == SMMUV3_EATS_SPLIT)
			return translate_split(m, dma, &acc, to);
	}
	fault = (struct smmuv3_fault){ .id = SMMUV3_F_TRANSL_FORBIDDEN, .no_ssid = true };
	smmuv3_evt_make(&dma->conf, &acc, &fault, &evt);
	smmuv3_fe_evt_report(&m->fe, &evt);
	return SMMUV3_FAULT;
}
