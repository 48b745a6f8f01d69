/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ATC_H
#define SMMUV3_ATC_H

/**
 * @file
 * The ATCs of attachments. tables_lock protects writes of their table; the fast path reads it
 * without the lock (atc.c).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "smmuv3_cmd.h"
#include "smmuv3_spec.h"

struct smmuv3;
struct smmuv3_attachment;
struct smmuv3_dev;
struct smmuv3_domain;

/* (StreamID, PASID) pairs with ATS: limit of one domain, and of all domains together. */
#define SMMUV3_MAX_ATCS		32
#define SMMUV3_NB_ATCS		1024

/* One (StreamID, PASID) that is attached with ATS: see atc.c. */
struct smmuv3_atc {
	_Atomic uint64_t word;		/* SMMUV3_ATC_*; 0: unused */
};

#define SMMUV3_ATC_SID	SMMUV3_BITS(31, 0)
#define SMMUV3_ATC_SSID	SMMUV3_BITS(51, 32)
#define SMMUV3_ATC_SSV	SMMUV3_BIT(52)
#define SMMUV3_ATC_USED	SMMUV3_BIT(53)
#define SMMUV3_ATC_CUT	SMMUV3_BIT(54)
/*
 * Of a nested domain, whose changes are of IPAs: each ATC_INV is of all addresses; with GLOBAL of
 * each PASID.
 */
#define SMMUV3_ATC_WHOLE	SMMUV3_BIT(55)
#define SMMUV3_ATC_GLOBAL	SMMUV3_BIT(56)

static inline uint64_t
smmuv3_atc_load(const struct smmuv3_atc *atcs, unsigned int i)
{
	/* Pairs with the releases in add_atc(), del_atcs() and mark_cut(). */
	return atomic_load_explicit(&atcs[i].word, memory_order_acquire);
}

/* The driver sends ATC_INVs to it. */
static inline bool
smmuv3_atc_takes_inv(uint64_t word)
{
	return (word & (SMMUV3_ATC_USED | SMMUV3_ATC_CUT)) == SMMUV3_ATC_USED;
}

int smmuv3_atc_open(struct smmuv3 *s);
void smmuv3_atc_close(struct smmuv3 *s);
/* Add the device's ATCs to the domain's list. -ENOSPC, -EIO (cut off). */
int smmuv3_atc_add(struct smmuv3 *s, struct smmuv3_attachment *a);
void smmuv3_atc_del(struct smmuv3 *s, struct smmuv3_attachment *a);
/*
 * Invalidate this PASID, or everything, in the device's ATCs, and wait. 0: they are invalidated,
 * or cut off and the SMMU has been told.
 */
int smmuv3_atc_inv_attachment(struct smmuv3 *s, const struct smmuv3_attachment *a);
/* Invalidate everything in all ATCs, and wait. For start. */
int smmuv3_atc_inv_all(struct smmuv3 *s);
/* The same without a wait. For recovery. */
void smmuv3_atc_post_inv_all(struct smmuv3 *s);
/*
 * Invalidate these ranges in the domain's ATCs, and wait. After a TLBI and CMD_SYNC that are
 * complete. After an error *result tells of these ranges.
 */
int smmuv3_atc_inv_ranges(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n, struct iopf_inv_result *result);
/*
 * The ATC_INVs and CMD_SYNCs that must follow the TLBIs of these ranges and their CMD_SYNC.
 * Returns their number.
 */
unsigned int smmuv3_atc_make_cmds(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n,
		struct smmuv3_cmd cmds[2 * SMMUV3_MAX_ATCS]);

/*
 * Write the ATC_INVs of one request, of another type than IOPF_INV_RANGE of a domain that is not
 * nested, for an attachment of @p domain or of a domain nested in it. Returns their number, at most
 * a->nb_atcs. tables_lock is held.
 */
unsigned int smmuv3_atc_make_invs(const struct smmuv3 *s, const struct smmuv3_attachment *a,
		const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		struct smmuv3_cmd *cmds);

/* atc_issue.c */
/*
 * Issue these ATC_INVs, of any StreamIDs, under as few CMD_SYNCs as possible, and wait. Those of a
 * StreamID that is cut off already are left out: none of its accesses reaches memory. After a
 * CMD_SYNC that failed, each distinct StreamID before it is probed once: its ATC_INVs are issued
 * again, with a CMD_SYNC of their own. All others are complete then. After an error *result tells
 * of these commands: before result->done all are complete. IOPF_INV_ATC: result->sid did not answer
 * the command at result->failed, its first, and is cut off.
 */
int smmuv3_atc_issue_invs(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result);
/*
 * Issue up to SMMUV3_CHUNK commands for one StreamID, and wait. Again while the error may be
 * another endpoint's. If it is cut off already, or by this, and the SMMU has been told:
 * IOPF_INV_ATC.
 */
int smmuv3_atc_probe_sid(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n,
		uint32_t sid, struct iopf_inv_result *result);

/* atc_cut.c */
/* An ATC of this StreamID did not answer, and it is still cut off. */
bool smmuv3_atc_is_sid_cut(const struct smmuv3 *s, uint32_t sid);
/*
 * One of the device's ATCs did not answer: its accesses abort until the whole device has been
 * detached.
 */
bool smmuv3_atc_is_cut(const struct smmuv3 *s, const struct smmuv3_dev *dev);
/*
 * The CMD_SYNC at this position failed for an ATC_INV, and the queue has stopped. Owner of the
 * queue.
 */
void smmuv3_atc_handle_timeout(struct smmuv3 *s, uint64_t pos);

#endif /* SMMUV3_ATC_H */
