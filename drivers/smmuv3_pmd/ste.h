/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STE_H
#define SMMUV3_STE_H

/**
 * @file
 * The STEs of a device [5.2]. One thread at a time adds, removes, attaches or detaches a device
 * and writes its STEs; threads of different devices do so concurrently.
 */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3;
struct smmuv3_dev;

/*
 * These write all STEs of a device and issue CFGI_STE and CMD_SYNC. After an error the SMMU may
 * use the old or the new value of each STE; the call can be repeated.
 */
/*
 * The STEs point to the CDs, or to the table of dev->stage2, with EATS if the device has ATS. They
 * did not translate before. The STEs of a device that is blocked still abort.
 */
int smmuv3_stes_start(struct smmuv3 *s, struct smmuv3_dev *dev);
/*
 * The STEs are not valid: an access aborts and is recorded as C_BAD_STE. The STEs of a device that
 * is blocked still abort without a record.
 */
int smmuv3_stes_stop(struct smmuv3 *s, const struct smmuv3_dev *dev);
/* The STEs are valid and abort accesses without a record, as STALL_TERM needs [4.6.2]. */
int smmuv3_stes_abort(struct smmuv3 *s, const struct smmuv3_dev *dev);
/*
 * Accesses that fault in stage 2 stall, or abort with a record. The device has a stage-2 domain.
 */
int smmuv3_stes_set_s2s(struct smmuv3 *s, struct smmuv3_dev *dev, bool on);
/*
 * The STEs translate, and the device's domain has changed between a stage-2 domain and domains
 * nested in it. @p from_nested: the former one is nested.
 */
int smmuv3_stes_switch(struct smmuv3 *s, struct smmuv3_dev *dev, bool from_nested);
/*
 * The STEs point to the device's CD table, which has moved; nothing else changes. No CFGI_STE: the
 * SMMU may use cached copies.
 */
void smmuv3_stes_set_table(struct smmuv3 *s, const struct smmuv3_dev *dev);
/* Set the STE to abort. No CFGI_STE: the SMMU may use a cached copy. Any thread. */
void smmuv3_ste_set_abort(struct smmuv3 *s, uint32_t sid);

#endif /* SMMUV3_STE_H */
