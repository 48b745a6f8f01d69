/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_IDR_H
#define SMMUV3_IDR_H

/**
 * @file
 * ID registers [6.3.1 - 6.3.6].
 */

#include <stdint.h>

#include <iopf_driver.h>

struct smmuv3;

/* Invalidations of two batches must not follow each other without a CMD_SYNC between. */
#define SMMUV3_ERRATUM_SYNC_BATCHES	(1u << 0)

int smmuv3_idr_read(struct smmuv3 *s);
/* Of an SMMU with this IIDR; *name: of product and errata, when there are any. */
uint32_t smmuv3_errata_lookup(uint32_t iidr, const char **name);
void smmuv3_idr_fill_info(const struct smmuv3 *s, struct iopf_iommu_info *info);

#endif /* SMMUV3_IDR_H */
