/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_BRINGUP_H
#define SMMUV3_BRINGUP_H

/**
 * @file
 * Start, stop, suspend, resume, and taking over an SMMU that runs.
 */

#include <stdbool.h>

struct smmuv3;

/* At open: stop an SMMU that an earlier driver has left running. */
int smmuv3_take_over(struct smmuv3 *s);
/* Also the resume: it writes all registers. */
int smmuv3_start(void *priv);
int smmuv3_stop(void *priv);
/* The same as stop, after which close touches no register either. @p bypass: see iopf_driver.h. */
int smmuv3_suspend(void *priv, bool bypass);

#endif /* SMMUV3_BRINGUP_H */
