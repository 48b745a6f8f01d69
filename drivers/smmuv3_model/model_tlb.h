/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_TLB_H
#define SMMUV3_MODEL_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smmuv3_inv;
struct smmuv3_model;

#define SMMUV3_TLB_WAYS 4

struct smmuv3_tlb_entry {
	uint64_t vpn;		/* address bits 55..shift */
	uint64_t pa;
	uint8_t *host;		/* NULL: not inside one window */
	uint64_t root;		/* smmuv3_ctx_root(), or the first table of stage 2 */
	uint64_t checked;	/* the oracle has checked invalidations up to this number */
	/* What stage 2 permits, and the IPA if the entry combines both stages. */
	uint64_t ipa_page : 44;
	uint64_t s2_read : 1;
	uint64_t s2_write : 1;
	uint64_t s2_xn : 1;
	uint64_t s2_device : 1;
	uint64_t s2_clean : 1;	/* S2AP[1] is 0, and DBM is 1 */
	uint32_t space;		/* VMID and ASID */
	uint32_t asid_gen;
	uint32_t win_gen;
	uint8_t shift, level, gran;	/* level, gran: of stage 1 if both stages are combined */
	uint8_t valid : 1;
	uint8_t global : 1;
	uint8_t unpriv : 1;	/* AP[1] */
	uint8_t ro : 1;		/* AP[2] */
	uint8_t clean : 1;	/* read-only by AP[2] alone, and DBM is 1 */
	uint8_t uxn : 1;
	uint8_t pxn : 1;
};

struct smmuv3_tlb_kind {
	uint8_t shift;
	bool global;
	uint32_t nb;		/* entries of this kind, also those of an invalidated ASID */
};
#define SMMUV3_TLB_KINDS 16

struct smmuv3_tlb {
	struct smmuv3_tlb_entry *entry;
	uint32_t sets_log2;
	uint32_t *asid_gen;	/* [65536], incremented by TLBI_NH_ASID without stage 2 */
	struct smmuv3_tlb_kind kind[SMMUV3_TLB_KINDS];
	unsigned int nb_kinds;
};

int smmuv3_tlb_init(struct smmuv3_tlb *tlb, unsigned int log2);
void smmuv3_tlb_fini(struct smmuv3_tlb *tlb);
struct smmuv3_tlb_entry *smmuv3_tlb_find(struct smmuv3_tlb *tlb, uint32_t space, uint64_t va);
/* Insert a copy of @p e. Returns the copy. */
struct smmuv3_tlb_entry *smmuv3_tlb_insert(struct smmuv3_model *m, struct smmuv3_tlb *tlb,
		struct smmuv3_tlb_entry *e, uint64_t va);
void smmuv3_tlb_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_tlb_clear(struct smmuv3_model *m);
/* log2 of the size of the stage-1 leaf; of the leaf of an entry of stage 2 alone. */
static inline unsigned int
smmuv3_tlb_leaf_shift(const struct smmuv3_tlb_entry *e)
{
	return e->gran + (3u - e->level) * (e->gran - 3u);
}

/* Drop an entry that smmuv3_tlb_find() has returned. */
void smmuv3_tlb_drop(struct smmuv3_tlb *tlb, struct smmuv3_tlb_entry *e);
size_t smmuv3_tlb_size(const struct smmuv3_tlb *tlb);
/* Entry @p i, or NULL if it is not valid. */
const struct smmuv3_tlb_entry *smmuv3_tlb_at(const struct smmuv3_tlb *tlb, size_t i);

#endif /* SMMUV3_MODEL_TLB_H */
