/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ASID_H
#define SMMUV3_ASID_H

/**
 * @file
 * ASIDs, one for each domain. The caller holds tables_lock for get and put.
 */

#include <stdint.h>

struct smmuv3;

/* No domain has this ASID: the TLB has no entry of it. */
#define SMMUV3_ASID_NONE	0

struct smmuv3_asids {
	uint64_t *used;		/* bit set: in use */
	unsigned int nb, next;
};

int smmuv3_asid_open(struct smmuv3 *s);
void smmuv3_asid_close(struct smmuv3 *s);
/* -ENOSPC: all are in use. */
int smmuv3_asid_get(struct smmuv3 *s);
/* The TLB must have no entry of it. */
void smmuv3_asid_put(struct smmuv3 *s, uint16_t asid);

#endif /* SMMUV3_ASID_H */
