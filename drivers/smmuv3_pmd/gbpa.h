/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_GBPA_H
#define SMMUV3_GBPA_H

/**
 * @file
 * GBPA: DMA while SMMUEN is 0 [6.3.14].
 */

struct smmuv3;

/* From here on every access aborts while SMMUEN is 0. */
int smmuv3_gbpa_block(struct smmuv3 *s);
/* Unsafe: from here on every access passes untranslated while SMMUEN is 0. */
int smmuv3_gbpa_bypass(struct smmuv3 *s);
/* At close: block or restore DMA, as the device string says. */
void smmuv3_gbpa_restore(struct smmuv3 *s);

#endif /* SMMUV3_GBPA_H */
