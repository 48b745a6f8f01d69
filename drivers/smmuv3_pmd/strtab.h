/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STRTAB_H
#define SMMUV3_STRTAB_H

/**
 * @file
 * The stream table [5.1, 5.2]. tables_lock protects its first level.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

#include "mem.h"
#include "smmuv3_spec.h"

struct smmuv3;

/* STEs in a second-level table: SPLIT = 8. */
#define SMMUV3_SPLIT		8
/* Limits: a first-level table of 1 MiB, a linear one of 4 MiB. */
#define SMMUV3_L1_LOG2_MAX	17
#define SMMUV3_LINEAR_LOG2_MAX	16

struct smmuv3_strtab {
	struct smmuv3_mem mem;
	unsigned int log2;		/* of the number of StreamIDs */
	bool two_level;
	struct smmuv3_ste **l2;		/* by first-level index; NULL until needed */
};

int smmuv3_strtab_open(struct smmuv3 *s);
void smmuv3_strtab_close(struct smmuv3 *s);
void smmuv3_strtab_setup(struct smmuv3 *s);
/* After this the STE exists and may be written. -ENOMEM. */
int smmuv3_strtab_ensure_ste(struct smmuv3 *s, uint32_t sid);

static inline struct smmuv3_ste *
smmuv3_strtab_ste(const struct smmuv3_strtab *t, uint32_t sid)
{
	return t->two_level ?
		&t->l2[sid >> SMMUV3_SPLIT][sid & RTE_LEN2MASK(SMMUV3_SPLIT, uint32_t)] :
		(struct smmuv3_ste *)t->mem.va + sid;
}

#endif /* SMMUV3_STRTAB_H */
