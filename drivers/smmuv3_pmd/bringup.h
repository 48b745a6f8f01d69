/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_BRINGUP_H
#define SMMUV3_BRINGUP_H

/**
 * @file
 * Start, stop, and taking over an SMMU that runs.
 */

struct smmuv3;

/* At open: stop an SMMU that an earlier driver has left running. */
int smmuv3_take_over(struct smmuv3 *s);
int smmuv3_start(void *priv);
int smmuv3_stop(void *priv);

#endif /* SMMUV3_BRINGUP_H */
