/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Translation of one access: context, TLB or walk, permissions. */

#include "model.h"
#include "model_access.h"
#include "model_ctx.h"
#include "model_dma.h"
#include "model_oracle.h"
#include "model_tlb.h"
#include "model_translate.h"
#include "model_walk.h"

/* [VMSAv8-64: AP, PXN, UXN; CD.WXN, CD.PAN] */
static bool
is_permitted(const struct smmuv3_ctx *ctx, const struct smmuv3_tlb_entry *e,
		const struct smmuv3_access *acc)
{
	bool read, write, exec;

	if (acc->priv) {
		read = !ctx->pan || !e->unpriv || acc->instr;
		write = read && !e->ro;
		/* Privileged code does not execute from a page that unprivileged code can write. */
		exec = !e->pxn && !(e->unpriv && !e->ro) && !(ctx->wxn && !e->ro);
	} else {
		read = e->unpriv;
		write = read && !e->ro;
		exec = !e->uxn && !(ctx->wxn && write);
	}
	if (acc->write)
		return write;
	return read && (!acc->instr || exec);
}

static enum smmuv3_result
set_fault(struct smmuv3_fault *fault, uint8_t id)
{
	fault->id = id;
	return SMMUV3_FAULT;
}

/* Without stage 1 the output address is the input address. */
static enum smmuv3_result
translate_bypass(const struct smmuv3_model *m, uint64_t va, uint8_t too_large,
		struct smmuv3_target *to, struct smmuv3_fault *fault)
{
	if (va >> m->oas_bits != 0)
		return set_fault(fault, too_large);
	*to = (struct smmuv3_target){ .pa = va };
	return SMMUV3_OK;
}

static void
apply_overrides(const struct smmuv3_ctx *ctx, struct smmuv3_access *acc)
{
	if (ctx->privcfg >= 2)
		acc->priv = ctx->privcfg == 3;
	if (ctx->instcfg >= 2)
		acc->instr = ctx->instcfg == 3 && !acc->write;
}

static bool
is_in_range(const struct smmuv3_ctx *ctx, uint64_t va)
{
	const struct smmuv3_half *half = &ctx->half[(va >> 55) & 1];
	uint64_t bits;

	if (half->epd)
		return true;
	bits = SMMUV3_BITS(half->tbi ? 55 : 63, 64 - half->tsz);
	return (va & bits) == ((va & SMMUV3_BIT(55)) ? bits : 0);
}

/* The TLB entry of an address in a stage 1 context. @p leaf is room for a walk. */
static inline __attribute__((always_inline)) enum smmuv3_result
find_leaf(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t input,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_tlb_entry **e,
		struct smmuv3_fault *fault)
{
	uint64_t va = input & SMMUV3_BITS(55, 0);
	enum smmuv3_result r;

	/* The TLB compares 56 bits: check the others first. */
	if (!is_in_range(ctx, input))
		return set_fault(fault, SMMUV3_F_TRANSLATION);
	*e = smmuv3_tlb_find(&m->tlb, ctx->asid, va);
	if (*e != NULL) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_TLB_HITS);
		smmuv3_oracle_check_leaf(&m->oracle, &(*e)->checked, ctx->asid, (*e)->global,
				(*e)->gran, (*e)->level, (*e)->shift, va);
		if (__builtin_expect(m->harsh & SMMUV3_MODEL_HARSH_ASIDS, 0))
			smmuv3_oracle_check_root(&m->oracle, ctx, *e, input);
		return SMMUV3_OK;
	}
	r = smmuv3_walk(m, ctx, input, leaf, fault);
	if (r == SMMUV3_OK)
		*e = smmuv3_tlb_insert(m, leaf, va);
	return r;
}

enum smmuv3_result
smmuv3_translate(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		struct smmuv3_access *acc, struct smmuv3_target *to, struct smmuv3_fault *fault)
{
	struct smmuv3_ctx *ctx = &dma->ctx;
	struct smmuv3_tlb_entry *e, leaf;
	enum smmuv3_result r;
	uint64_t va, off;

	*fault = (struct smmuv3_fault){ 0 };
	if (m->fe.sfm)
		return set_fault(fault, 0);
	if (!smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_SMMUEN)) {
		if (m->fe.gbpa & SMMUV3_GBPA_ABORT)
			return set_fault(fault, 0);
		r = translate_bypass(m, acc->va, 0, to, fault);
		to->bypass = true;
		return r;
	}
	r = smmuv3_ctx_get(m, dma, fault);
	if (r != SMMUV3_OK)
		return r;
	apply_overrides(ctx, acc);
	if (ctx->kind == SMMUV3_CTX_BYPASS) {
		smmuv3_oracle_check_cfg(&m->oracle, ctx, dma->conf.sid, UINT32_MAX);
		return translate_bypass(m, acc->va, SMMUV3_F_ADDR_SIZE, to, fault);
	}
	r = find_leaf(m, ctx, acc->va, &leaf, &e, fault);
	if (r != SMMUV3_OK)
		return r;
	va = acc->va & SMMUV3_BITS(55, 0);
	if (!is_permitted(ctx, e, acc))
		return set_fault(fault, SMMUV3_F_PERMISSION);
	smmuv3_oracle_check_cfg(&m->oracle, ctx, dma->conf.sid,
			dma->conf.has_ssid ? dma->conf.ssid : 0);
	off = va & ((UINT64_C(1) << e->shift) - 1);
	to->bypass = false;
	to->pa = e->pa + off;
	to->host = e->host != NULL && e->win_gen == m->wins.gen ? e->host + off : NULL;
	return SMMUV3_OK;
}

enum smmuv3_result
smmuv3_translate_page(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *asked, struct smmuv3_page *page,
		struct smmuv3_fault *fault)
{
	const struct smmuv3_ctx *ctx = &dma->ctx;
	struct smmuv3_access acc = { .va = asked->va, .priv = asked->priv };
	struct smmuv3_tlb_entry *e, leaf;
	struct smmuv3_target to;
	enum smmuv3_result r;

	if (ctx->kind == SMMUV3_CTX_BYPASS) {
		smmuv3_oracle_check_cfg(&m->oracle, &dma->ctx, dma->conf.sid, UINT32_MAX);
		r = translate_bypass(m, acc.va, SMMUV3_F_ADDR_SIZE, &to, fault);
		*page = (struct smmuv3_page){ .pa = acc.va & ~SMMUV3_BITS(11, 0), .asid = -1,
			.read = true, .write = true, .exec = true };
		return r;
	}
	r = find_leaf(m, ctx, acc.va, &leaf, &e, fault);
	if (r != SMMUV3_OK)
		return r;
	smmuv3_oracle_check_cfg(&m->oracle, &dma->ctx, dma->conf.sid,
			dma->conf.has_ssid ? dma->conf.ssid : 0);
	apply_overrides(ctx, &acc);
	page->asid = ctx->asid;
	page->pa = e->pa + (acc.va & SMMUV3_BITS(55, 12) & ((UINT64_C(1) << e->shift) - 1));
	page->read = is_permitted(ctx, e, &acc);
	acc.instr = ctx->instcfg != 2;
	page->exec = is_permitted(ctx, e, &acc);
	acc.instr = false;
	acc.write = true;
	page->write = is_permitted(ctx, e, &acc);
	return SMMUV3_OK;
}
