/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Hardware updates of the access flag and the dirty state [3.13]. */

#include "model.h"
#include "model_access.h"
#include "model_desc.h"
#include "model_httu.h"
#include "model_stage2.h"
#include "model_translate.h"
#include "model_win.h"

static bool
desc_swap(const uint64_t *at, uint64_t old, uint64_t val)
{
	/* Acquire as the walk's load; release: it orders the update before the access. */
	return atomic_compare_exchange_strong_explicit((smmuv3_reg64_t *)(uintptr_t)at, &old, val,
			memory_order_acq_rel, memory_order_acquire);
}

/* Count an update. The dirty state implies AF [3.13.2]. */
static void
count_update(struct smmuv3_model *m, uint64_t old, bool dirty)
{
	if (!(old & DESC_AF))
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_ACCESS_UPDATES);
	if (dirty)
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_DIRTY_UPDATES);
}

/* A leaf that a write has made dirty. */
static struct smmuv3_tlb_entry
make_dirty(const struct smmuv3_tlb_entry *leaf)
{
	struct smmuv3_tlb_entry dirty = *leaf;

	dirty.ro = 0;
	dirty.clean = 0;
	return dirty;
}

bool
smmuv3_httu_will_permit(const struct smmuv3_ctx *ctx, const struct smmuv3_tlb_entry *leaf,
		const struct smmuv3_access *acc)
{
	struct smmuv3_tlb_entry dirty;

	if (!acc->write || !ctx->hd || !leaf->clean)
		return smmuv3_s1_is_permitted(ctx, leaf, acc);
	dirty = make_dirty(leaf);
	return smmuv3_s1_is_permitted(ctx, &dirty, acc);
}

/* AF of the next page, as if the SMMU had speculated on an access to it. */
static void
speculate(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, const struct smmuv3_desc *desc,
		const struct smmuv3_tlb_entry *leaf, uint64_t va)
{
	uint64_t index = ((va >> leaf->shift) + 1) & smmuv3_low_bits(leaf->gran - 3u);
	const uint64_t *next;
	uint64_t d;

	/* The next page has its descriptor in another table, or the first table has fewer. */
	if (index == 0 || leaf->level != 3 || ctx->half[(va >> 55) & 1].start == 3)
		return;
	next = smmuv3_win_find(&m->wins, &m->table_win, desc->addr + 8, sizeof(*next));
	if (next == NULL || smmuv3_rand(m) & 1)
		return;
	d = atomic_load_explicit((const smmuv3_reg64_t *)(const void *)next, memory_order_acquire);
	if ((d & (DESC_VALID | DESC_TABLE | DESC_AF)) == (DESC_VALID | DESC_TABLE) &&
			desc_swap(next, d, d | DESC_AF))
		count_update(m, d, false);
}

enum smmuv3_result
smmuv3_httu_update(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		const struct smmuv3_access *acc, const struct smmuv3_desc *desc,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_fault *fault)
{
	bool permitted = smmuv3_httu_will_permit(ctx, leaf, acc);
	bool dirty = permitted && acc->write && ctx->hd && leaf->clean;
	uint64_t val = (desc->val | DESC_AF) & ~(dirty ? DESC_RO : 0);
	enum smmuv3_result r;

	/* It is UNKNOWN whether a refused access sets AF [3.13.2]. */
	if (!permitted && !(desc->val & DESC_AF) && !(m->choices & SMMUV3_MODEL_REFUSED_SETS_AF))
		return smmuv3_fault_set(fault, SMMUV3_F_PERMISSION, 0);
	if (val != desc->val) {
		if (ctx->kind == SMMUV3_CTX_NESTED) {
			r = smmuv3_s2_allow_update(m, ctx, desc->addr, acc->va, fault);
			if (r != SMMUV3_OK)
				return r;
		}
		if (!desc_swap(desc->at, desc->val, val))
			return SMMUV3_BUSY;
		count_update(m, desc->val, dirty);
	}
	if (dirty)
		*leaf = make_dirty(leaf);
	if (m->choices & SMMUV3_MODEL_SPECULATE_AF && ctx->kind == SMMUV3_CTX_S1)
		speculate(m, ctx, desc, leaf, acc->va);
	return SMMUV3_OK;
}

enum smmuv3_result
smmuv3_httu_update_s2(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, bool write,
		const struct smmuv3_desc *desc, struct smmuv3_tlb_entry *leaf)
{
	bool dirty = write && ctx->s2.hd && leaf->s2_clean;
	uint64_t val = desc->val | DESC_AF | (dirty ? DESC_S2_WRITE : 0);

	if (val != desc->val) {
		if (!desc_swap(desc->at, desc->val, val))
			return SMMUV3_BUSY;
		count_update(m, desc->val, dirty);
	}
	if (dirty) {
		leaf->s2_write = 1;
		leaf->s2_clean = 0;
	}
	return SMMUV3_OK;
}
