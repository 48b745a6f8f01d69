/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Translation of one access: context, TLB or walk, permissions. */

#include "model.h"
#include "model_access.h"
#include "model_ctx.h"
#include "model_dma.h"
#include "model_httu.h"
#include "model_oracle.h"
#include "model_silent.h"
#include "model_stage2.h"
#include "model_tlb.h"
#include "model_translate.h"
#include "model_walk.h"

/* [VMSAv8-64: AP, PXN, UXN; CD.WXN, CD.PAN] */
bool
smmuv3_s1_is_permitted(const struct smmuv3_ctx *ctx, const struct smmuv3_tlb_entry *e,
		const struct smmuv3_access *acc)
{
	/* For execution a writable-clean page is writable [3.13.8]. */
	bool writable = !e->ro || (e->clean && ctx->hd);
	bool read, write, exec;

	if (acc->priv) {
		read = !ctx->pan || !e->unpriv || acc->instr;
		write = read && !e->ro;
		/* Privileged code does not execute from a page that unprivileged code can write. */
		exec = !e->pxn && !(e->unpriv && writable) && !(ctx->wxn && writable);
	} else {
		read = e->unpriv;
		write = read && !e->ro;
		exec = !e->uxn && !(ctx->wxn && read && writable);
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

/*
 * The TLB entry of an access in a stage 1 context. @p leaf is room for a walk. A fault of its
 * permissions is possible only if the walk would set AF.
 */
static inline __attribute__((always_inline)) enum smmuv3_result
find_leaf(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, const struct smmuv3_access *acc,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_tlb_entry **e,
		struct smmuv3_fault *fault)
{
	uint64_t input = acc->va, va = input & SMMUV3_BITS(55, 0);
	struct smmuv3_tlb_entry *old;
	struct smmuv3_desc desc;
	enum smmuv3_result r;

	/* The TLB compares 56 bits: check the others first. */
	if (!is_in_range(ctx, input))
		return set_fault(fault, SMMUV3_F_TRANSLATION);
	*e = smmuv3_tlb_find(&m->tlb, ctx->space, va);
	if (*e != NULL && !(acc->write && smmuv3_httu_is_clean(ctx, *e))) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_TLB_HITS);
		smmuv3_oracle_check_leaf(&m->oracle, &(*e)->checked, ctx->space, (*e)->global,
				(*e)->gran, (*e)->level, (*e)->shift, va);
		if (__builtin_expect(m->harsh & SMMUV3_MODEL_HARSH_ASIDS, 0))
			smmuv3_oracle_check_root(&m->oracle, ctx, *e, input);
		return SMMUV3_OK;
	}
	old = *e;
	r = smmuv3_walk(m, ctx, input, leaf, &desc, fault);
	if (r == SMMUV3_OK && __builtin_expect(ctx->ha, 0))
		r = smmuv3_httu_update(m, ctx, acc, &desc, leaf, fault);
	if (r != SMMUV3_OK)
		return r;
	if (__builtin_expect(old != NULL, 0))
		smmuv3_tlb_drop(&m->tlb, old);
	*e = smmuv3_tlb_insert(m, &m->tlb, leaf, va);
	return SMMUV3_OK;
}

/* Will stage 2 permit a write to the IPA, once it has made its leaf dirty? */
static enum smmuv3_result
check_s2_write(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t ipa, uint64_t input,
		bool *writable, struct smmuv3_fault *fault)
{
	struct smmuv3_tlb_entry *s2;
	enum smmuv3_result r;

	r = smmuv3_s2_find(m, ctx, ipa, SMMUV3_CLASS_IN, input, false, &s2, fault);
	if (r == SMMUV3_OK)
		*writable = s2->s2_write || (s2->s2_clean && ctx->s2.hd);
	return r;
}

/*
 * Update the stage-1 descriptor of a nested access. A leaf becomes dirty only if stage 2 permits
 * the write too. *write: the access will be a write, if both do [3.13.7].
 */
static enum smmuv3_result
update_nested(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		const struct smmuv3_access *asked, const struct smmuv3_desc *desc,
		struct smmuv3_tlb_entry *leaf, bool *write, struct smmuv3_fault *fault)
{
	uint64_t va = asked->va & SMMUV3_BITS(55, 0);
	struct smmuv3_access acc = *asked;
	enum smmuv3_result r;

	*write = acc.write && smmuv3_httu_will_permit(ctx, leaf, &acc);
	if (*write) {
		r = check_s2_write(m, ctx, leaf->pa + (va & smmuv3_low_bits(leaf->shift)),
				acc.va, write, fault);
		if (r != SMMUV3_OK)
			return r;
	}
	acc.write = *write;
	return ctx->ha ? smmuv3_httu_update(m, ctx, &acc, desc, leaf, fault) : SMMUV3_OK;
}

/*
 * The TLB entry of an access in a context with both stages. A fault of stage 1, also of its
 * permissions if they are to be checked, comes before the walk of stage 2 [7.3].
 */
static enum smmuv3_result
find_combined(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		const struct smmuv3_access *acc, bool check, struct smmuv3_tlb_entry **e,
		struct smmuv3_fault *fault)
{
	uint64_t input = acc->va, va = input & SMMUV3_BITS(55, 0);
	struct smmuv3_tlb_entry leaf, *s2, *old;
	struct smmuv3_desc desc;
	enum smmuv3_result r;
	bool write = false;

	if (!is_in_range(ctx, input))
		return set_fault(fault, SMMUV3_F_TRANSLATION);
	*e = smmuv3_tlb_find(&m->tlb, ctx->space, va);
	if (*e != NULL && !(acc->write && smmuv3_httu_is_clean(ctx, *e))) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_TLB_HITS);
		if (m->harsh & SMMUV3_MODEL_HARSH_REPORT)
			smmuv3_silent_check_combined(m, *e, input);
		smmuv3_oracle_check_leaf(&m->oracle, &(*e)->checked, ctx->space, (*e)->global,
				(*e)->gran, (*e)->level, smmuv3_tlb_leaf_shift(*e), va);
		if (m->harsh & SMMUV3_MODEL_HARSH_ASIDS)
			smmuv3_oracle_check_root(&m->oracle, ctx, *e, input);
		return SMMUV3_OK;
	}
	old = *e;
	r = smmuv3_walk_nested(m, ctx, input, &leaf, &desc, fault);
	if (r != SMMUV3_OK)
		return r;
	if (check && !smmuv3_httu_will_permit(ctx, &leaf, acc))
		return set_fault(fault, SMMUV3_F_PERMISSION);
	if (ctx->ha || ctx->s2.ha) {
		r = update_nested(m, ctx, acc, &desc, &leaf, &write, fault);
		if (r != SMMUV3_OK)
			return r;
	}
	/* With split-stage ATS the translated access makes the page dirty. */
	r = smmuv3_s2_find(m, ctx, leaf.pa + (va & smmuv3_low_bits(leaf.shift)),
			SMMUV3_CLASS_IN, input, write && (check || ctx->ats != SMMUV3_EATS_SPLIT),
			&s2, fault);
	if (r != SMMUV3_OK)
		return r;
	smmuv3_s2_combine(m, &leaf, s2, va);
	if (old != NULL)
		smmuv3_tlb_drop(&m->tlb, old);
	*e = smmuv3_tlb_insert(m, &m->tlb, &leaf, va);
	return SMMUV3_OK;
}

/*
 * The TLB entry of an access in a context with stage 2, and the IPA. With both stages the
 * permissions of stage 1 are checked if @p check; those of stage 2 are not.
 */
static enum smmuv3_result
find_s2_leaf(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		const struct smmuv3_access *acc, bool check, struct smmuv3_tlb_entry **e,
		uint64_t *ipa, struct smmuv3_fault *fault)
{
	uint64_t input = acc->va;
	enum smmuv3_result r;

	if (ctx->kind == SMMUV3_CTX_S2) {
		/* An input address that stage 1 does not translate has IAS bits at most [3.4]. */
		if (input >> m->oas_bits != 0)
			return set_fault(fault, SMMUV3_F_ADDR_SIZE);
		*ipa = input;
		return smmuv3_s2_find(m, ctx, input, SMMUV3_CLASS_IN, input, acc->write, e, fault);
	}
	r = find_combined(m, ctx, acc, check, e, fault);
	if (r != SMMUV3_OK)
		return r;
	*ipa = ((uint64_t)(*e)->ipa_page << SMMUV3_PAGE_SHIFT) +
		(input & smmuv3_low_bits((*e)->shift));
	/* A leaf that is still clean here is one that stage 2 does not let become dirty. */
	if (check && !smmuv3_httu_will_permit(ctx, *e, acc))
		return set_fault(fault, SMMUV3_F_PERMISSION);
	return SMMUV3_OK;
}

/* The CD of a context, for the oracle. */
static uint32_t
cd_index(const struct smmuv3_model_dma *dma)
{
	if (dma->ctx.kind < SMMUV3_CTX_NESTED)
		return UINT32_MAX;
	return dma->conf.has_ssid ? dma->conf.ssid : 0;
}

static __attribute__((noinline)) enum smmuv3_result
translate_without_s1_alone(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_target *to,
		struct smmuv3_fault *fault)
{
	struct smmuv3_ctx *ctx = &dma->ctx;
	struct smmuv3_tlb_entry *e;
	enum smmuv3_result r;
	uint64_t ipa, off;

	if (ctx->kind == SMMUV3_CTX_BYPASS) {
		smmuv3_oracle_check_cfg(&m->oracle, ctx, dma->conf.sid, UINT32_MAX);
		return translate_bypass(m, acc->va, SMMUV3_F_ADDR_SIZE, to, fault);
	}
	r = find_s2_leaf(m, ctx, acc, true, &e, &ipa, fault);
	if (r != SMMUV3_OK)
		return r;
	if (!smmuv3_s2_is_permitted(e, acc->write, acc->instr))
		return smmuv3_s2_fault(fault, SMMUV3_F_PERMISSION, SMMUV3_CLASS_IN, ipa);
	smmuv3_oracle_check_cfg(&m->oracle, ctx, dma->conf.sid, cd_index(dma));
	off = acc->va & smmuv3_low_bits(e->shift);
	to->bypass = false;
	to->pa = e->pa + off;
	to->host = e->host != NULL && e->win_gen == m->wins.gen ? e->host + off : NULL;
	return SMMUV3_OK;
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
	if (ctx->kind != SMMUV3_CTX_S1)
		return translate_without_s1_alone(m, dma, acc, to, fault);
	r = find_leaf(m, ctx, acc, &leaf, &e, fault);
	if (r != SMMUV3_OK)
		return r;
	va = acc->va & SMMUV3_BITS(55, 0);
	if (!smmuv3_s1_is_permitted(ctx, e, acc))
		return set_fault(fault, SMMUV3_F_PERMISSION);
	smmuv3_oracle_check_cfg(&m->oracle, ctx, dma->conf.sid,
			dma->conf.has_ssid ? dma->conf.ssid : 0);
	off = va & ((UINT64_C(1) << e->shift) - 1);
	to->bypass = false;
	to->pa = e->pa + off;
	to->host = e->host != NULL && e->win_gen == m->wins.gen ? e->host + off : NULL;
	return SMMUV3_OK;
}

/* What stage 1 permits, if it translates. */
static void
set_s1_permissions(const struct smmuv3_ctx *ctx, const struct smmuv3_tlb_entry *e,
		struct smmuv3_access acc, struct smmuv3_page *page)
{
	acc.write = false;
	apply_overrides(ctx, &acc);
	page->read = smmuv3_s1_is_permitted(ctx, e, &acc);
	acc.instr = ctx->instcfg != 2;
	page->exec = smmuv3_s1_is_permitted(ctx, e, &acc);
	acc.instr = false;
	acc.write = true;
	page->write = smmuv3_s1_is_permitted(ctx, e, &acc);
}

static enum smmuv3_result
translate_page_s2(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_page *page,
		struct smmuv3_fault *fault)
{
	const struct smmuv3_ctx *ctx = &dma->ctx;
	uint64_t page_bits = SMMUV3_BITS(55, SMMUV3_PAGE_SHIFT), ipa;
	bool nested = ctx->kind == SMMUV3_CTX_NESTED;
	struct smmuv3_tlb_entry *e;
	enum smmuv3_result r;

	r = find_s2_leaf(m, ctx, acc, false, &e, &ipa, fault);
	if (r != SMMUV3_OK)
		return r;
	smmuv3_oracle_check_cfg(&m->oracle, &dma->ctx, dma->conf.sid, cd_index(dma));
	*page = (struct smmuv3_page){ .ipa = ipa & page_bits, .s1 = nested, .s2 = true,
		.space = nested ? ctx->space : ctx->s2.space,
		.read = true, .write = true, .exec = true };
	page->pa = e->pa + (acc->va & page_bits & smmuv3_low_bits(e->shift));
	/* The SMMU translates the IPA when the translated transaction arrives [3.9.1]. */
	if (ctx->ats == SMMUV3_EATS_SPLIT)
		page->pa = page->ipa;
	if (nested)
		set_s1_permissions(ctx, e, *acc, page);
	page->read &= smmuv3_s2_is_permitted(e, false, false);
	page->exec &= smmuv3_s2_is_permitted(e, false, ctx->instcfg != 2);
	page->write &= smmuv3_s2_is_permitted(e, true, false) ||
		(ctx->ats == SMMUV3_EATS_SPLIT && e->s2_clean && ctx->s2.hd);
	return SMMUV3_OK;
}

enum smmuv3_result
smmuv3_translate_ipa(struct smmuv3_model *m, struct smmuv3_model_dma *dma, bool write,
		struct smmuv3_target *to, struct smmuv3_fault *fault)
{
	struct smmuv3_tlb_entry *e;
	enum smmuv3_result r;
	uint64_t ipa = to->pa;

	r = smmuv3_s2_find(m, &dma->ctx, ipa, SMMUV3_CLASS_IN, ipa, write, &e, fault);
	if (r != SMMUV3_OK)
		return r;
	if (!smmuv3_s2_is_permitted(e, write, false))
		return smmuv3_s2_fault(fault, SMMUV3_F_PERMISSION, SMMUV3_CLASS_IN, ipa);
	to->pa = e->pa + (ipa & smmuv3_low_bits(e->shift));
	return SMMUV3_OK;
}

enum smmuv3_result
smmuv3_translate_page(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *asked, struct smmuv3_page *page,
		struct smmuv3_fault *fault)
{
	const struct smmuv3_ctx *ctx = &dma->ctx;
	/* A request with NW = 0 is one to write, and makes the page dirty [3.13.7]. */
	struct smmuv3_access acc = { .va = asked->va, .priv = asked->priv,
		.write = asked->write };
	struct smmuv3_tlb_entry *e, leaf;
	struct smmuv3_target to;
	enum smmuv3_result r;

	if (ctx->kind == SMMUV3_CTX_BYPASS) {
		smmuv3_oracle_check_cfg(&m->oracle, &dma->ctx, dma->conf.sid, UINT32_MAX);
		r = translate_bypass(m, acc.va, SMMUV3_F_ADDR_SIZE, &to, fault);
		*page = (struct smmuv3_page){ .pa = acc.va & ~SMMUV3_BITS(11, 0),
			.read = true, .write = true, .exec = true };
		return r;
	}
	apply_overrides(ctx, &acc);
	if (ctx->kind != SMMUV3_CTX_S1)
		return translate_page_s2(m, dma, &acc, page, fault);
	r = find_leaf(m, ctx, &acc, &leaf, &e, fault);
	if (r == SMMUV3_FAULT && fault->id == SMMUV3_F_PERMISSION && acc.write) {
		acc.write = false;
		r = find_leaf(m, ctx, &acc, &leaf, &e, fault);
	}
	if (r != SMMUV3_OK)
		return r;
	smmuv3_oracle_check_cfg(&m->oracle, &dma->ctx, dma->conf.sid,
			dma->conf.has_ssid ? dma->conf.ssid : 0);
	*page = (struct smmuv3_page){ .space = ctx->space, .s1 = true };
	page->pa = e->pa + (acc.va & SMMUV3_BITS(55, 12) & ((UINT64_C(1) << e->shift) - 1));
	set_s1_permissions(ctx, e, acc, page);
	return SMMUV3_OK;
}
