/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STRTAB_H
#define SMMUV3_STRTAB_H

/**
 * @file
 * The stream table [5.1, 5.2] and the STEs of a device.
 *
 * A device's STEs are written by the one thread that adds, removes, attaches or detaches it;
 * threads of different devices do so concurrently. The first level of the table is under
 * smmuv3.tables_lock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"
#include "smmuv3_spec.h"

struct smmuv3;
struct smmuv3_dev;

/* STEs in a second-level table: SPLIT = 8. */
#define SMMUV3_SPLIT		8
/* First-level tables end at 1 MiB, linear ones at 4 MiB. */
#define SMMUV3_L1_LOG2_MAX	17
#define SMMUV3_LINEAR_LOG2_MAX	16

struct smmuv3_strtab {
	struct smmuv3_mem mem;
	unsigned int log2;		/* StreamIDs */
	bool two_level;
	struct smmuv3_ste **l2;		/* by first-level index; NULL until needed */
};

int smmuv3_strtab_open(struct smmuv3 *s);
void smmuv3_strtab_close(struct smmuv3 *s);
void smmuv3_strtab_setup(struct smmuv3 *s);
/* -ENOMEM. Then the STE exists and may be written. */
int smmuv3_strtab_need(struct smmuv3 *s, uint32_t sid);

/*
 * All STEs of a device, with CFGI_STE and CMD_SYNC. After an error each may be as before or
 * as wanted for the SMMU; the call can be repeated.
 */
/* They point to its CDs, with EATS if it has ATS. They did not translate before. */
int smmuv3_stes_start(struct smmuv3 *s, struct smmuv3_dev *dev);
/* They are not valid: an access aborts and is recorded as C_BAD_STE. */
int smmuv3_stes_stop(struct smmuv3 *s, const struct smmuv3_dev *dev);
/* They are valid and abort without a record, which STALL_TERM needs [4.6.2]. */
int smmuv3_stes_abort(struct smmuv3 *s, const struct smmuv3_dev *dev);
/* The STE aborts, but for what is cached of it. Any thread. */
void smmuv3_ste_cut(struct smmuv3 *s, uint32_t sid);

#endif /* SMMUV3_STRTAB_H */
