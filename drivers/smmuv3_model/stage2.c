/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Stage 2 [3.3.2]. Its entries, IPA to address, have a TLB of their own, and the walks of both
 * stages have separate caches of table pointers. The entry of an access through both stages
 * combines them, is in the TLB of stage 1, and TLBI_S2_IPA does not reach it [4.4].
 */

#include "model.h"
#include "model_access.h"
#include "model_ctx.h"
#include "model_httu.h"
#include "model_oracle.h"
#include "model_stage2.h"
#include "model_tlb.h"
#include "model_walk.h"
#include "model_win.h"
#include "smmuv3_spec.h"

enum smmuv3_result
smmuv3_s2_find(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t ipa,
		unsigned int why, uint64_t va, bool write, struct smmuv3_tlb_entry **e,
		struct smmuv3_fault *fault)
{
	const struct smmuv3_s2 *s2 = &ctx->s2;
	struct smmuv3_tlb_entry leaf, *old;
	struct smmuv3_desc desc;
	enum smmuv3_result r;

	if (ipa >> s2->bits != 0)
		return smmuv3_s2_fault(fault, SMMUV3_F_TRANSLATION, why, ipa);
	*e = smmuv3_tlb_find(&m->tlb2, s2->space, ipa);
	if (*e != NULL && !(write && (*e)->s2_clean && s2->hd)) {
		smmuv3_oracle_check_ipa(&m->oracle, *e, ipa);
		if (m->harsh & SMMUV3_MODEL_HARSH_ASIDS)
			smmuv3_oracle_check_s2_root(&m->oracle, ctx, *e, ipa);
		return SMMUV3_OK;
	}
	old = *e;
	r = smmuv3_walk_s2(m, ctx, ipa, why, va, &leaf, &desc, fault);
	if (r == SMMUV3_OK && s2->ha)
		r = smmuv3_httu_update_s2(m, ctx, write, &desc, &leaf);
	if (r != SMMUV3_OK)
		return r;
	if (old != NULL)
		smmuv3_tlb_drop(&m->tlb2, old);
	*e = smmuv3_tlb_insert(m, &m->tlb2, &leaf, ipa);
	return SMMUV3_OK;
}

bool
smmuv3_s2_is_permitted(const struct smmuv3_tlb_entry *e, bool write, bool instr)
{
	if (write)
		return e->s2_write;
	return e->s2_read && !(instr && e->s2_xn);
}

enum smmuv3_result
smmuv3_s2_read(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t ipa,
		unsigned int why, uint64_t va, uint64_t *pa, struct smmuv3_fault *fault)
{
	struct smmuv3_tlb_entry *e;
	enum smmuv3_result r;

	r = smmuv3_s2_find(m, ctx, ipa, why, va, false, &e, fault);
	if (r != SMMUV3_OK)
		return r;
	/* S2PTW protects walks from Device memory [5.2]. */
	if (!e->s2_read || (ctx->s2.ptw && e->s2_device))
		return smmuv3_s2_fault(fault, SMMUV3_F_PERMISSION, why, ipa);
	*pa = e->pa + (ipa & smmuv3_low_bits(e->shift));
	return SMMUV3_OK;
}

enum smmuv3_result
smmuv3_s2_allow_update(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t ipa,
		uint64_t va, struct smmuv3_fault *fault)
{
	struct smmuv3_tlb_entry *e;
	enum smmuv3_result r;

	r = smmuv3_s2_find(m, ctx, ipa, SMMUV3_CLASS_TT, va, true, &e, fault);
	if (r != SMMUV3_OK || e->s2_write)
		return r;
	fault->s2_update = true;
	return smmuv3_s2_fault(fault, SMMUV3_F_PERMISSION, SMMUV3_CLASS_TT, ipa);
}

void
smmuv3_s2_combine(struct smmuv3_model *m, struct smmuv3_tlb_entry *leaf,
		const struct smmuv3_tlb_entry *s2, uint64_t va)
{
	uint8_t shift = leaf->shift < s2->shift ? leaf->shift : s2->shift;
	uint64_t low = smmuv3_low_bits(shift);
	uint64_t ipa = (leaf->pa + (va & smmuv3_low_bits(leaf->shift))) & ~low;
	unsigned int win = m->data_win;

	leaf->pa = s2->pa + (ipa & smmuv3_low_bits(s2->shift));
	/* Level and granule remain those of stage 1: a TLBI by VA names them. */
	leaf->shift = shift;
	leaf->ipa_page = ipa >> SMMUV3_PAGE_SHIFT;
	leaf->s2_read = s2->s2_read;
	leaf->s2_write = s2->s2_write;
	leaf->s2_clean = s2->s2_clean;
	leaf->s2_xn = s2->s2_xn;
	leaf->s2_device = s2->s2_device;
	leaf->host = smmuv3_win_find(&m->wins, &win, leaf->pa, UINT64_C(1) << shift);
	m->data_win = win;
	leaf->win_gen = m->wins.gen;
}
