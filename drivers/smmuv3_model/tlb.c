/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * TLBs: leaves of any size, tagged with the VMID, and with the ASID unless global, in sets that
 * a hash selects. Without stage 2 each ASID has a generation, so that TLBI_NH_ASID visits no
 * entry. One TLB has the entries of VAs, the other those of stage 2 alone.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_access.h"
#include "model_inval.h"
#include "model_tlb.h"

#define TLB_MAX_SETS_LOG2 20	/* the largest size of a sticky TLB */

int
smmuv3_tlb_init(struct smmuv3_tlb *tlb, unsigned int log2)
{
	tlb->sets_log2 = log2 < 2 ? 0 : log2 - 2;
	tlb->entry = calloc((size_t)SMMUV3_TLB_WAYS << tlb->sets_log2, sizeof(*tlb->entry));
	tlb->asid_gen = calloc(UINT64_C(1) << 16, sizeof(*tlb->asid_gen));
	return tlb->entry != NULL && tlb->asid_gen != NULL ? 0 : -ENOMEM;
}

void
smmuv3_tlb_fini(struct smmuv3_tlb *tlb)
{
	free(tlb->entry);
	free(tlb->asid_gen);
}

static inline struct smmuv3_tlb_entry *
tlb_set(const struct smmuv3_tlb *tlb, uint32_t space, uint8_t shift, uint64_t vpn)
{
	uint64_t h = (vpn ^ (uint64_t)space << 40 ^ (uint64_t)shift << 57) *
		UINT64_C(0x9e3779b97f4a7c15);

	return &tlb->entry[((h >> 32) & ((UINT64_C(1) << tlb->sets_log2) - 1)) *
		SMMUV3_TLB_WAYS];
}

static inline bool
tlb_is_alive(const struct smmuv3_tlb *tlb, const struct smmuv3_tlb_entry *e)
{
	return e->valid && (e->global || e->asid_gen == tlb->asid_gen[(uint16_t)e->space]);
}

size_t
smmuv3_tlb_size(const struct smmuv3_tlb *tlb)
{
	return (size_t)SMMUV3_TLB_WAYS << tlb->sets_log2;
}

const struct smmuv3_tlb_entry *
smmuv3_tlb_at(const struct smmuv3_tlb *tlb, size_t i)
{
	return tlb_is_alive(tlb, &tlb->entry[i]) ? &tlb->entry[i] : NULL;
}

struct smmuv3_tlb_entry *
smmuv3_tlb_find(struct smmuv3_tlb *tlb, uint32_t space, uint64_t va)
{
	for (unsigned int k = 0; k < tlb->nb_kinds; k++) {
		uint8_t shift = tlb->kind[k].shift;
		bool global = tlb->kind[k].global;
		uint32_t tag = global ? space | SMMUV3_ANY_ASID : space;
		struct smmuv3_tlb_entry *e = tlb_set(tlb, tag, shift, va >> shift);

		for (unsigned int i = 0; i < SMMUV3_TLB_WAYS; i++, e++)
			if (e->vpn == va >> shift && e->shift == shift && e->global == global &&
					e->space == tag && tlb_is_alive(tlb, e))
				return e;
	}
	return NULL;
}

static void
tlb_count(struct smmuv3_tlb *tlb, uint8_t shift, bool global, bool in)
{
	unsigned int k;

	for (k = 0; k < tlb->nb_kinds; k++)
		if (tlb->kind[k].shift == shift && tlb->kind[k].global == global)
			break;
	if (in) {
		if (k == tlb->nb_kinds)
			tlb->kind[tlb->nb_kinds++] = (struct smmuv3_tlb_kind){
				.shift = shift, .global = global };
		tlb->kind[k].nb++;
	} else if (--tlb->kind[k].nb == 0) {
		tlb->kind[k] = tlb->kind[--tlb->nb_kinds];
	}
}

void
smmuv3_tlb_drop(struct smmuv3_tlb *tlb, struct smmuv3_tlb_entry *e)
{
	tlb_count(tlb, e->shift, e->global, false);
	e->valid = 0;
}

/* A way of the set without a valid entry, or NULL. */
static struct smmuv3_tlb_entry *
tlb_find_room(struct smmuv3_tlb *tlb, const struct smmuv3_tlb_entry *e)
{
	struct smmuv3_tlb_entry *way = tlb_set(tlb, e->space, e->shift, e->vpn);

	for (unsigned int i = 0; i < SMMUV3_TLB_WAYS; i++)
		if (!tlb_is_alive(tlb, &way[i]))
			return &way[i];
	return NULL;
}

static bool
tlb_grow(struct smmuv3_tlb *tlb)
{
	struct smmuv3_tlb_entry *old = tlb->entry, *to;
	uint32_t old_log2 = tlb->sets_log2;
	size_t nb = (size_t)SMMUV3_TLB_WAYS << old_log2;

	while (tlb->sets_log2 < TLB_MAX_SETS_LOG2) {
		bool fits = true;

		tlb->sets_log2++;
		tlb->entry = calloc((size_t)SMMUV3_TLB_WAYS << tlb->sets_log2, sizeof(*old));
		if (tlb->entry == NULL)
			break;
		for (size_t i = 0; i < nb && fits; i++) {
			if (!tlb_is_alive(tlb, &old[i]))
				continue;
			to = tlb_find_room(tlb, &old[i]);
			fits = to != NULL;
			if (fits)
				*to = old[i];
		}
		if (fits) {
			tlb->nb_kinds = 0;
			for (size_t i = 0; i < (size_t)SMMUV3_TLB_WAYS << tlb->sets_log2; i++)
				if (tlb->entry[i].valid)
					tlb_count(tlb, tlb->entry[i].shift,
							tlb->entry[i].global, true);
			free(old);
			return true;
		}
		free(tlb->entry);
	}
	tlb->entry = old;
	tlb->sets_log2 = old_log2;
	return false;
}

struct smmuv3_tlb_entry *
smmuv3_tlb_insert(struct smmuv3_model *m, struct smmuv3_tlb *tlb, struct smmuv3_tlb_entry *e,
		uint64_t va)
{
	struct smmuv3_tlb_entry *to;

	e->vpn = va >> e->shift;
	e->asid_gen = tlb->asid_gen[(uint16_t)e->space];
	e->valid = 1;
	to = tlb_find_room(tlb, e);
	while (to == NULL && m->choices & SMMUV3_MODEL_STICKY_TLB && tlb_grow(tlb))
		to = tlb_find_room(tlb, e);
	if (to == NULL)
		to = tlb_set(tlb, e->space, e->shift, e->vpn) +
			smmuv3_rand(m) % SMMUV3_TLB_WAYS;
	if (to->valid)
		smmuv3_tlb_drop(tlb, to);
	*to = *e;
	tlb_count(tlb, e->shift, e->global, true);
	return to;
}

static void
tlb_clear(struct smmuv3_tlb *tlb)
{
	if (tlb->nb_kinds != 0)
		memset(tlb->entry, 0, ((size_t)SMMUV3_TLB_WAYS << tlb->sets_log2) *
				sizeof(*tlb->entry));
	tlb->nb_kinds = 0;
}

void
smmuv3_tlb_clear(struct smmuv3_model *m)
{
	tlb_clear(&m->tlb);
	tlb_clear(&m->tlb2);
}

/* The smallest part of a stage-1 leaf that stage 2 divides goes with the whole leaf. */
static bool
tlb_is_in_range(const struct smmuv3_tlb_entry *e, const struct smmuv3_inv *inv)
{
	unsigned int shift = smmuv3_tlb_leaf_shift(e);
	uint64_t leaf = e->vpn << e->shift >> shift;

	if ((inv->tg != 0 && e->gran != inv->tg) || (inv->ttl != 0 && e->level != inv->ttl))
		return false;
	return leaf >= inv->va >> shift && leaf <= inv->last >> shift;
}

static bool
tlb_is_covered(const struct smmuv3_tlb_entry *e, const struct smmuv3_inv *inv)
{
	if (!smmuv3_space_is_same_vm(e->space, inv->space))
		return false;
	switch (inv->kind) {
	case SMMUV3_INV_TLB_ASID:
		return !e->global && e->space == inv->space;
	case SMMUV3_INV_TLB_VA:
		return (e->global || e->space == inv->space) && tlb_is_in_range(e, inv);
	case SMMUV3_INV_TLB_VAA:
	case SMMUV3_INV_TLB_IPA:
		return tlb_is_in_range(e, inv);
	default:
		return true;
	}
}

/* A TLBI of fewer pages looks each of them up; otherwise it checks all entries. */
#define TLB_LOOKUPS 64

static void
tlb_invalidate_va(struct smmuv3_tlb *tlb, const struct smmuv3_inv *inv)
{
	for (unsigned int k = tlb->nb_kinds; k-- > 0;) {
		uint8_t shift = tlb->kind[k].shift;
		bool global = tlb->kind[k].global;

		for (uint64_t vpn = inv->va >> shift; vpn <= inv->last >> shift; vpn++) {
			struct smmuv3_tlb_entry *e = tlb_set(tlb, inv->space |
					(global ? SMMUV3_ANY_ASID : 0), shift, vpn);

			for (unsigned int i = 0; i < SMMUV3_TLB_WAYS; i++, e++)
				if (e->valid && e->vpn == vpn && e->shift == shift &&
						e->global == global && tlb_is_covered(e, inv))
					smmuv3_tlb_drop(tlb, e);
		}
	}
}

static void
tlb_scan(struct smmuv3_tlb *tlb, const struct smmuv3_inv *inv)
{
	for (size_t i = 0; i < (size_t)SMMUV3_TLB_WAYS << tlb->sets_log2; i++)
		if (tlb->entry[i].valid && tlb_is_covered(&tlb->entry[i], inv))
			smmuv3_tlb_drop(tlb, &tlb->entry[i]);
}

void
smmuv3_tlb_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv)
{
	bool s2 = m->features & SMMUV3_MODEL_S2;

	switch (inv->kind) {
	case SMMUV3_INV_TLB_ALL:
		smmuv3_tlb_clear(m);
		return;
	case SMMUV3_INV_TLB_ASID:
		if (s2)
			tlb_scan(&m->tlb, inv);
		else
			m->tlb.asid_gen[(uint16_t)inv->space]++;
		return;
	case SMMUV3_INV_TLB_VA:
		/* An entry of both stages may be smaller than the leaf that it belongs to. */
		if (!s2 && (inv->last - inv->va) >> SMMUV3_PAGE_SHIFT < TLB_LOOKUPS)
			tlb_invalidate_va(&m->tlb, inv);
		else
			tlb_scan(&m->tlb, inv);
		return;
	case SMMUV3_INV_TLB_VAA:
	case SMMUV3_INV_TLB_VM_S1:
		tlb_scan(&m->tlb, inv);
		return;
	case SMMUV3_INV_TLB_IPA:
		tlb_scan(&m->tlb2, inv);
		return;
	case SMMUV3_INV_TLB_VM:
		tlb_scan(&m->tlb, inv);
		tlb_scan(&m->tlb2, inv);
		return;
	default:
		return;
	}
}
