/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * VMSAv8-64 walks of both stages, and their caches of pointers to last-level tables. A TLBI by
 * address with Leaf = 1 does not invalidate these pointers [4.4.2].
 */

#include "model.h"
#include "model_access.h"
#include "model_ctx.h"
#include "model_desc.h"
#include "model_frames.h"
#include "model_httu.h"
#include "model_inval.h"
#include "model_oracle.h"
#include "model_stage2.h"
#include "model_tlb.h"
#include "model_walk.h"
#include "model_win.h"

/* Address bits that a level 3 table and its pages translate. */
static unsigned int
table_reach(unsigned int gran)
{
	return gran + gran - 3;
}

static struct smmuv3_wc_entry *
wc_slot(struct smmuv3_wc *wc, uint32_t space, uint64_t tag)
{
	uint64_t h = (tag ^ (uint64_t)space << 36) * UINT64_C(0x9e3779b97f4a7c15);

	return &wc->entry[h >> (64 - SMMUV3_WC_LOG2)];
}

static bool
wc_is_match(const struct smmuv3_wc *wc, const struct smmuv3_wc_entry *e, uint32_t space,
		unsigned int gran, uint64_t tag)
{
	return e->tag == tag && e->space == space && e->gran == gran && e->gen == wc->gen;
}

void
smmuv3_wc_clear(struct smmuv3_model *m)
{
	m->wc.gen++;
	m->wc2.gen++;
}

/* With stage 2: drop exactly the pointers that the invalidation covers. */
static void
wc_drop(struct smmuv3_wc *wc, const struct smmuv3_inv *inv, bool s2)
{
	for (size_t i = 0; i < sizeof(wc->entry) / sizeof(wc->entry[0]); i++) {
		struct smmuv3_wc_entry *e = &wc->entry[i];
		unsigned int reach;
		uint64_t first, last;

		if (e->gen != wc->gen || (inv->tg != 0 && inv->tg != e->gran))
			continue;
		reach = table_reach(e->gran);
		first = e->tag << reach;
		last = first + smmuv3_low_bits(reach);
		if (s2 ? smmuv3_inv_reaches_ipa(inv, e->space, first, last) :
				smmuv3_inv_reaches(inv, e->space, false, first, last))
			e->gen = 0;
	}
}

/* A TLBI of more tables clears the cache. */
#define WC_LOOKUPS 64

void
smmuv3_wc_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv)
{
	if (inv->leaf)
		return;			/* by address, last level only */
	if (m->features & SMMUV3_MODEL_S2) {
		wc_drop(&m->wc, inv, false);
		wc_drop(&m->wc2, inv, true);
		return;
	}
	if (inv->kind != SMMUV3_INV_TLB_VA ||
			(inv->last - inv->va) >> table_reach(12) >= WC_LOOKUPS) {
		smmuv3_wc_clear(m);
		return;
	}
	for (unsigned int gran = 12; gran <= 16; gran += 2) {
		if (inv->tg != 0 && inv->tg != gran)
			continue;
		for (uint64_t tag = inv->va >> table_reach(gran);
				tag <= inv->last >> table_reach(gran); tag++) {
			struct smmuv3_wc_entry *e = wc_slot(&m->wc, inv->space, tag);

			if (wc_is_match(&m->wc, e, inv->space, gran, tag))
				e->gen = 0;
		}
	}
}

/* The attributes that the table descriptors give the leaf. */
struct above {
	uint8_t apt;
	bool uxnt, pxnt;
};

static inline __attribute__((always_inline)) enum smmuv3_result
leaf_make(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, const struct smmuv3_half *half,
		unsigned int level, uint64_t desc, const struct above *above,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_fault *fault, bool nested)
{
	unsigned int shift = half->gran + (3 - level) * (half->gran - 3u);
	uint64_t pa = desc & SMMUV3_BITS(47, shift);
	unsigned int win = m->data_win;

	if (pa >> ctx->out_bits != 0)
		return smmuv3_fault_set(fault, SMMUV3_F_ADDR_SIZE, 0);
	if (!(desc & DESC_AF) && !ctx->affd)
		return smmuv3_fault_set(fault, SMMUV3_F_ACCESS, 0);
	leaf->pa = pa;
	leaf->shift = (uint8_t)shift;
	leaf->level = (uint8_t)level;
	leaf->gran = half->gran;
	leaf->root = smmuv3_ctx_root(ctx, half);
	leaf->global = !(desc & DESC_NG);
	leaf->space = ctx->space | (leaf->global ? SMMUV3_ANY_ASID : 0);
	leaf->unpriv = (desc & DESC_UNPRIV) && !(above->apt & APT_NO_UNPRIV);
	leaf->ro = (desc & DESC_RO) || above->apt & APT_NO_WRITE;
	/* APTable makes a leaf read-only whatever DBM says [3.13.3]. */
	leaf->clean = desc & DESC_RO && desc & DESC_DBM && !(above->apt & APT_NO_WRITE);
	leaf->uxn = (desc & DESC_UXN) || above->uxnt;
	leaf->pxn = (desc & DESC_PXN) || above->pxnt;
	leaf->checked = m->oracle.seq;
	leaf->ipa_page = 0;
	leaf->s2_read = leaf->s2_write = 1;
	leaf->s2_xn = leaf->s2_device = leaf->s2_clean = 0;
	if (nested)
		return SMMUV3_OK;	/* see smmuv3_s2_combine() */
	leaf->host = smmuv3_win_find(&m->wins, &win, pa, UINT64_C(1) << shift);
	m->data_win = win;
	leaf->win_gen = m->wins.gen;
	return SMMUV3_OK;
}

/* Blocks exist at levels 1 and 2 with a 4 KiB granule, at level 2 with the others. */
static bool
is_block_allowed(unsigned int gran, unsigned int level)
{
	return level == 2 || (level == 1 && gran == 12);
}

/*
 * The caller has checked that the address is in the range of its half. The order of the faults
 * is that of their priorities [7.3].
 */
static inline __attribute__((always_inline)) enum smmuv3_result
walk_s1(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t va,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_desc *leaf_desc,
		struct smmuv3_fault *fault, bool nested)
{
	const struct smmuv3_half *half = &ctx->half[(va >> 55) & 1];
	unsigned int gran = half->gran, bits = gran - 3;
	unsigned int level = half->start;
	uint64_t table = half->ttb, tag;
	struct smmuv3_wc_entry *wc;
	struct above above = { 0 };
	enum smmuv3_result r;

	if (half->epd)
		return smmuv3_fault_set(fault, SMMUV3_F_TRANSLATION, 0);
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_WALKS);
	tag = (va & SMMUV3_BITS(55, 0)) >> table_reach(gran);
	wc = wc_slot(&m->wc, ctx->space, tag);
	if (wc_is_match(&m->wc, wc, ctx->space, gran, tag)) {
		smmuv3_oracle_check_table(&m->oracle, &wc->checked, ctx->space, gran,
				table_reach(gran), va);
		level = 3;
		table = wc->table;
		above = (struct above){ wc->apt, wc->uxnt, wc->pxnt };
	}
	for (;; level++) {
		unsigned int shift = gran + (3 - level) * bits;
		unsigned int width = bits;
		const uint64_t *p;
		uint64_t desc, addr;

		/* The first table may have fewer entries. */
		if (level == half->start)
			width = 64 - half->tsz - shift;
		addr = table + 8 * ((va >> shift) & ((UINT64_C(1) << width) - 1));
		leaf_desc->addr = addr;
		if (nested) {
			r = smmuv3_s2_read(m, ctx, addr, SMMUV3_CLASS_TT, va, &addr, fault);
			if (r != SMMUV3_OK)
				return r;
		}
		smmuv3_frames_check_smmu(&m->frames, "a table walk", ctx->sid, va, addr,
				sizeof(*p));
		p = smmuv3_win_find(&m->wins, &m->table_win, addr, sizeof(*p));
		if (p == NULL)
			return smmuv3_fault_set(fault, SMMUV3_F_WALK_EABT, addr);
		/* Acquire: pairs with the release of the entry; the page contents are visible. */
		desc = atomic_load_explicit((const smmuv3_reg64_t *)(const void *)p,
				memory_order_acquire);
		fault->desc = p;
		leaf_desc->at = p;
		leaf_desc->val = desc;
		if (!(desc & DESC_VALID))
			return smmuv3_fault_set(fault, SMMUV3_F_TRANSLATION, 0);
		if (level == 3) {
			if (!(desc & DESC_TABLE))
				return smmuv3_fault_set(fault, SMMUV3_F_TRANSLATION, 0);
			return leaf_make(m, ctx, half, level, desc, &above, leaf, fault,
					nested);
		}
		if (!(desc & DESC_TABLE)) {
			if (!is_block_allowed(gran, level))
				return smmuv3_fault_set(fault, SMMUV3_F_TRANSLATION, 0);
			return leaf_make(m, ctx, half, level, desc, &above, leaf, fault,
					nested);
		}
		table = desc & SMMUV3_BITS(47, gran);
		if (table >> ctx->out_bits != 0)
			return smmuv3_fault_set(fault, SMMUV3_F_ADDR_SIZE, 0);
		if (!half->had) {
			above.apt |= (uint8_t)SMMUV3_GET(TABLE_AP, desc);
			above.uxnt |= (desc & TABLE_UXN) != 0;
			above.pxnt |= (desc & TABLE_PXN) != 0;
		}
		if (level == 2)
			*wc = (struct smmuv3_wc_entry){
				.tag = tag, .table = table, .checked = m->oracle.seq,
				.gen = m->wc.gen, .space = ctx->space, .gran = (uint8_t)gran,
				.apt = above.apt, .uxnt = above.uxnt, .pxnt = above.pxnt,
			};
	}
}

enum smmuv3_result
smmuv3_walk(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t va,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_desc *desc,
		struct smmuv3_fault *fault)
{
	return walk_s1(m, ctx, va, leaf, desc, fault, false);
}

enum smmuv3_result
smmuv3_walk_nested(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t va,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_desc *desc,
		struct smmuv3_fault *fault)
{
	return walk_s1(m, ctx, va, leaf, desc, fault, true);
}

static enum smmuv3_result
leaf_make_s2(struct smmuv3_model *m, const struct smmuv3_s2 *s2, unsigned int level, uint64_t desc,
		unsigned int why, uint64_t ipa, struct smmuv3_tlb_entry *leaf,
		struct smmuv3_fault *fault)
{
	unsigned int shift = s2->gran + (3 - level) * (s2->gran - 3u);
	uint64_t pa = desc & SMMUV3_BITS(47, shift);
	unsigned int win = m->data_win;

	if (pa >> s2->out_bits != 0)
		return smmuv3_s2_fault(fault, SMMUV3_F_ADDR_SIZE, why, ipa);
	if (!(desc & DESC_AF) && !s2->affd)
		return smmuv3_s2_fault(fault, SMMUV3_F_ACCESS, why, ipa);
	*leaf = (struct smmuv3_tlb_entry){
		.pa = pa, .root = s2->ttb, .checked = m->oracle.seq, .space = s2->space,
		.shift = (uint8_t)shift, .level = (uint8_t)level, .gran = s2->gran, .global = 1,
		.s2_read = (desc & DESC_S2_READ) != 0, .s2_write = (desc & DESC_S2_WRITE) != 0,
		.s2_clean = !(desc & DESC_S2_WRITE) && desc & DESC_DBM,
		.s2_xn = (desc & DESC_S2_XN) != 0, .s2_device = (desc & DESC_S2_NORMAL) == 0,
		.host = smmuv3_win_find(&m->wins, &win, pa, UINT64_C(1) << shift),
		.win_gen = m->wins.gen,
	};
	m->data_win = win;
	return SMMUV3_OK;
}

/* The caller has checked that the IPA is in the range of S2T0SZ. */
enum smmuv3_result
smmuv3_walk_s2(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t ipa,
		unsigned int why, uint64_t va, struct smmuv3_tlb_entry *leaf,
		struct smmuv3_desc *leaf_desc, struct smmuv3_fault *fault)
{
	const struct smmuv3_s2 *s2 = &ctx->s2;
	unsigned int gran = s2->gran, bits = gran - 3, level = s2->start;
	uint64_t tag = ipa >> table_reach(gran), table = s2->ttb;
	struct smmuv3_wc_entry *wc = wc_slot(&m->wc2, s2->space, tag);

	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_WALKS);
	if (level < 3 && wc_is_match(&m->wc2, wc, s2->space, gran, tag)) {
		smmuv3_oracle_check_s2_table(&m->oracle, &wc->checked, s2->space, gran,
				table_reach(gran), ipa);
		level = 3;
		table = wc->table;
	}
	for (;; level++) {
		unsigned int shift = gran + (3 - level) * bits;
		/* Concatenated tables: the first index may be wider than that of a table. */
		unsigned int width = level == s2->start ? s2->bits - shift : bits;
		uint64_t addr = table + 8 * ((ipa >> shift) & smmuv3_low_bits(width));
		const uint64_t *p;
		uint64_t desc;

		smmuv3_frames_check_smmu(&m->frames, "a stage-2 table walk", ctx->sid, va, addr,
				sizeof(*p));
		p = smmuv3_win_find(&m->wins, &m->table_win, addr, sizeof(*p));
		if (p == NULL)
			return smmuv3_s2_fault(fault, SMMUV3_F_WALK_EABT, why, addr);
		/* Acquire: pairs with the release of the entry; the page contents are visible. */
		desc = atomic_load_explicit((const smmuv3_reg64_t *)(const void *)p,
				memory_order_acquire);
		fault->desc = p;
		*leaf_desc = (struct smmuv3_desc){ .at = p, .val = desc, .addr = addr };
		if (!(desc & DESC_VALID))
			return smmuv3_s2_fault(fault, SMMUV3_F_TRANSLATION, why, ipa);
		if (level == 3 ? !(desc & DESC_TABLE) :
				!(desc & DESC_TABLE) && !is_block_allowed(gran, level))
			return smmuv3_s2_fault(fault, SMMUV3_F_TRANSLATION, why, ipa);
		if (level == 3 || !(desc & DESC_TABLE))
			return leaf_make_s2(m, s2, level, desc, why, ipa, leaf, fault);
		table = desc & SMMUV3_BITS(47, gran);
		if (table >> s2->out_bits != 0)
			return smmuv3_s2_fault(fault, SMMUV3_F_ADDR_SIZE, why, ipa);
		if (level == 2)
			*wc = (struct smmuv3_wc_entry){
				.tag = tag, .table = table, .checked = m->oracle.seq,
				.gen = m->wc2.gen, .space = s2->space, .gran = (uint8_t)gran,
			};
	}
}
