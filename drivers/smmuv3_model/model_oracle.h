/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_ORACLE_H
#define SMMUV3_MODEL_ORACLE_H

/*
 * The oracle numbers the invalidations from 1, and keeps the newest SMMUV3_ORACLE_MAX. The
 * newest that a completed SYNC covers is `completed`.
 */

#include "model_inval.h"
#include "model_log.h"

#define SMMUV3_ORACLE_MAX 1024

struct smmuv3_atc_entry;
struct smmuv3_ctx;
struct smmuv3_tlb_entry;

struct smmuv3_oracle {
	struct smmuv3_inv inv[SMMUV3_ORACLE_MAX];
	uint64_t seq;		/* of the newest invalidation */
	uint64_t tlb_seq;	/* of the newest TLB invalidation */
	uint64_t completed;	/* of the newest that a SYNC covers */
	struct smmuv3_log log;
};

void smmuv3_oracle_note_invalidation(struct smmuv3_oracle *o, const struct smmuv3_inv *inv);
void smmuv3_oracle_note_sync(struct smmuv3_oracle *o);
/*
 * Does a TLB invalidation cover an address in [first, last] of this VMID and ASID, in entries of
 * stage 1 or of both stages?
 */
bool smmuv3_inv_reaches(const struct smmuv3_inv *p, uint32_t space, bool global, uint64_t first,
		uint64_t last);
/* The same of IPAs, in entries of stage 2 alone. */
bool smmuv3_inv_reaches_ipa(const struct smmuv3_inv *p, uint32_t space, uint64_t first,
		uint64_t last);
/* Does a TLB invalidation cover the translation, by either stage, that an ATC entry holds? */
bool smmuv3_inv_reaches_atc(const struct smmuv3_inv *p, const struct smmuv3_atc_entry *e);
/*
 * An access used a cached entry. No invalidation up to the number *checked covers the entry,
 * so only later ones are checked.
 */
void smmuv3_oracle_check_leaf(struct smmuv3_oracle *o, uint64_t *checked, uint32_t space,
		bool global, unsigned int gran, unsigned int level, unsigned int shift,
		uint64_t va);
void smmuv3_oracle_check_table(struct smmuv3_oracle *o, uint64_t *checked, uint32_t space,
		unsigned int gran, unsigned int shift, uint64_t va);
/* The same of stage 2. */
void smmuv3_oracle_check_ipa(struct smmuv3_oracle *o, struct smmuv3_tlb_entry *e, uint64_t ipa);
void smmuv3_oracle_check_s2_table(struct smmuv3_oracle *o, uint64_t *checked, uint32_t space,
		unsigned int gran, unsigned int shift, uint64_t ipa);
void smmuv3_oracle_check_cfg(struct smmuv3_oracle *o, struct smmuv3_ctx *ctx, uint32_t sid,
		uint32_t ssid);
/* A SYNC failed: its ATC_INVs are not known to have completed. */
void smmuv3_oracle_void_atc_invs(struct smmuv3_oracle *o);
void smmuv3_oracle_check_atc(struct smmuv3_oracle *o, struct smmuv3_atc_entry *e, uint32_t sid,
		uint64_t va);

/* Does the TLB entry come from the table of the CD? */
void smmuv3_oracle_check_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t va) __attribute__((cold));
/* Does the entry of stage 2 come from the table of the STE? */
void smmuv3_oracle_check_s2_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t ipa) __attribute__((cold));

#endif /* SMMUV3_MODEL_ORACLE_H */
