/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_GBPA_H
#define SMMUV3_GBPA_H

/**
 * @file
 * GBPA: what becomes of DMA while SMMUEN is 0 [6.3.14].
 */

struct smmuv3;

/* With SMMUEN = 0 every access is aborted from here on. */
int smmuv3_gbpa_block(struct smmuv3 *s);
/* At close: what becomes of DMA, as the device string says. */
void smmuv3_gbpa_restore(struct smmuv3 *s);

#endif /* SMMUV3_GBPA_H */
