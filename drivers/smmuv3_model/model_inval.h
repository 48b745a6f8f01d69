/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_INVAL_H
#define SMMUV3_MODEL_INVAL_H

/*
 * Invalidations, and the list of those that have no effect before their SYNC completes.
 */

#include <stdbool.h>
#include <stdint.h>

#include "front.h"

/* Those up to VAA concern the TLBs. VM: of one VMID; VM_S1: not the entries of stage 2 alone. */
enum smmuv3_inv_kind {
	SMMUV3_INV_TLB_ALL,
	SMMUV3_INV_TLB_VM,
	SMMUV3_INV_TLB_VM_S1,
	SMMUV3_INV_TLB_IPA,	/* the entries of stage 2 alone */
	SMMUV3_INV_TLB_ASID,
	SMMUV3_INV_TLB_VA,
	SMMUV3_INV_TLB_VAA,
	SMMUV3_INV_CFG_ALL,
	SMMUV3_INV_CFG_SIDS,	/* STEs from sid to sid_last, and their CDs */
	SMMUV3_INV_CFG_CDS,	/* all CDs of sid */
	SMMUV3_INV_CFG_CD,
	SMMUV3_INV_ATC,		/* sid; ssv, global, ssid; va to last */
	SMMUV3_INV_VOID,	/* an ATC invalidation whose SYNC failed */
};

struct smmuv3_inv {
	uint64_t seq;
	enum smmuv3_inv_kind kind;
	uint16_t queue;		/* of its command: 0: the CMDQ; n + 1: ECMDQ n */
	bool leaf;
	bool ssv, global;	/* ATC only */
	uint8_t tg;		/* granule shift, 0 for any */
	uint8_t ttl;		/* 0 for any */
	uint32_t space;		/* VMID and ASID */
	uint32_t sid, sid_last, ssid;
	uint64_t va, last;	/* inclusive; 56 bits, 64 for an ATC; or IPAs */
};

struct smmuv3_pending {
	struct smmuv3_inv inv;
	bool slow, fails;	/* an ATC that answers at `due`, or never */
	uint64_t due;		/* ms */
};

struct smmuv3_inval_list {
	struct smmuv3_pending *pending;
	unsigned int nb, cap;
};

/* Execute an invalidation, or defer it to its SYNC. */
void smmuv3_inv_issue(struct smmuv3_model *m, const struct smmuv3_inv *inv);
/* An ATC answers after @p ms, or (@p fails) never. */
void smmuv3_inv_issue_slow(struct smmuv3_model *m, const struct smmuv3_inv *inv, uint32_t ms,
		bool fails);
/*
 * Before a SYNC of the queue completes: execute what the queue has deferred, unless an ATC has not
 * answered.
 */
enum smmuv3_fe_sync smmuv3_inv_complete(struct smmuv3_model *m, unsigned int queue);

#endif /* SMMUV3_MODEL_INVAL_H */
