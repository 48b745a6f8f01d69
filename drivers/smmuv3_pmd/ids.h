/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_IDS_H
#define SMMUV3_IDS_H

/**
 * @file
 * The numbers by which the TLB tells domains apart: ASIDs, one for each stage-1 domain, and VMIDs,
 * one for each stage-2 domain. The caller holds tables_lock for get and put.
 */

#include <stdint.h>

/* No domain has this ASID: the TLB has no entry of it. */
#define SMMUV3_ASID_NONE	0
/* The VMID of all accesses that stage 2 does not translate. */
#define SMMUV3_VMID_NONE	0

struct smmuv3_ids {
	uint64_t *used;		/* bit set: in use */
	unsigned int nb, next;	/* nb is 0 if not open */
};

/* Numbers of 8 or 16 bits. 0 is in use from the start. -ENOMEM. */
int smmuv3_ids_open(struct smmuv3_ids *ids, unsigned int bits);
void smmuv3_ids_close(struct smmuv3_ids *ids);
/* -ENOSPC: all are in use. */
int smmuv3_ids_get(struct smmuv3_ids *ids);
/* The TLB must have no entry of it. */
void smmuv3_ids_put(struct smmuv3_ids *ids, uint16_t id);

#endif /* SMMUV3_IDS_H */
