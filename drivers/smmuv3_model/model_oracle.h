/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_ORACLE_H
#define SMMUV3_MODEL_ORACLE_H

/*
 * The oracle numbers the invalidations from 1, in the order in which the SMMU executes them, and
 * keeps the newest SMMUV3_ORACLE_MAX. A SYNC covers those of its own queue only [3.5.6.1]:
 * those of queue q up to done[q] have completed. No invalidation after `completed` has completed,
 * and all up to `floor` have. The two are equal unless several queues have invalidations under
 * way.
 */

#include "model_inval.h"
#include "model_log.h"

#define SMMUV3_ORACLE_MAX	1024
#define SMMUV3_ORACLE_QUEUES	(1 + SMMUV3_ECMDQS_MAX)

struct smmuv3_atc_entry;
struct smmuv3_ctx;
struct smmuv3_tlb_entry;

struct smmuv3_oracle {
	struct smmuv3_inv inv[SMMUV3_ORACLE_MAX];
	uint64_t seq;		/* of the newest invalidation */
	uint64_t tlb_seq;	/* of the newest TLB invalidation */
	uint64_t completed, floor;	/* see above */
	uint64_t done[SMMUV3_ORACLE_QUEUES];
	uint64_t first[SMMUV3_ORACLE_QUEUES];	/* the oldest that no SYNC covers; 0: none */
	unsigned int nb_open;		/* queues with such a one */
	struct smmuv3_log log;
};

/* Does a completed SYNC cover this invalidation? Also true if it is no longer kept. */
static inline bool
smmuv3_oracle_is_done(const struct smmuv3_oracle *o, uint64_t seq)
{
	return seq <= o->floor || seq + SMMUV3_ORACLE_MAX <= o->seq ||
		seq <= o->done[o->inv[seq % SMMUV3_ORACLE_MAX].queue];
}

void smmuv3_oracle_note_invalidation(struct smmuv3_oracle *o, const struct smmuv3_inv *inv);
/* A SYNC of the queue has completed. */
void smmuv3_oracle_note_sync(struct smmuv3_oracle *o, unsigned int queue);
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
/* A SYNC of the queue failed: its ATC_INVs are not known to have completed. */
void smmuv3_oracle_void_atc_invs(struct smmuv3_oracle *o, unsigned int queue);
void smmuv3_oracle_check_atc(struct smmuv3_oracle *o, struct smmuv3_atc_entry *e, uint32_t sid,
		uint64_t va);

/* Does the TLB entry come from the table of the CD? */
void smmuv3_oracle_check_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t va) __attribute__((cold));
/* Does the entry of stage 2 come from the table of the STE? */
void smmuv3_oracle_check_s2_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t ipa) __attribute__((cold));

#endif /* SMMUV3_MODEL_ORACLE_H */
