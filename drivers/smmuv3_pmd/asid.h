/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ASID_H
#define SMMUV3_ASID_H

/**
 * @file
 * ASIDs: one for each domain.
 */

#include <stdint.h>

struct smmuv3;

/* No domain's: the TLB has nothing of it. */
#define SMMUV3_ASID_NONE	0

int smmuv3_asid_open(struct smmuv3 *s);
void smmuv3_asid_close(struct smmuv3 *s);
/* tables_lock is held. -ENOSPC. */
int smmuv3_asid_get(struct smmuv3 *s);
/* The TLB has nothing of it. tables_lock is held. */
void smmuv3_asid_put(struct smmuv3 *s, uint16_t asid);

#endif /* SMMUV3_ASID_H */
