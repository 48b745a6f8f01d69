/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STE_H
#define SMMUV3_STE_H

/**
 * @file
 * The STEs of a device [5.2]. They are written by the one thread that adds, removes, attaches
 * or detaches it; threads of different devices do so concurrently.
 */

#include <stdint.h>

struct smmuv3;
struct smmuv3_dev;

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
void smmuv3_ste_set_abort(struct smmuv3 *s, uint32_t sid);

#endif /* SMMUV3_STE_H */
