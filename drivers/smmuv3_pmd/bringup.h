/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_BRINGUP_H
#define SMMUV3_BRINGUP_H

/**
 * @file
 * Start and stop.
 */

struct smmuv3;

/* At open: one that runs is somebody's before us, who has died, and is stopped. */
int smmuv3_take_over(struct smmuv3 *s);
int smmuv3_start(void *priv);
int smmuv3_stop(void *priv);

#endif /* SMMUV3_BRINGUP_H */
