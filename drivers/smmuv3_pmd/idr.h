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

/* Invalidations of two batches need a CMD_SYNC between them. */
#define SMMUV3_ERRATUM_SYNC_BATCHES	(1u << 0)

int smmuv3_idr_read(struct smmuv3 *s);
/* Errata of the SMMU with this IIDR; *name: product and errata, if there are any. */
uint32_t smmuv3_errata_lookup(uint32_t iidr, const char **name);
void smmuv3_idr_fill_info(const struct smmuv3 *s, struct iopf_iommu_info *info);

#endif /* SMMUV3_IDR_H */
