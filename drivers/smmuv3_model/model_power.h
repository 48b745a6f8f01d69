/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_POWER_H
#define SMMUV3_MODEL_POWER_H

#include "front.h"

/* Use the caller's memory for the registers, or allocate some. Returns 0 or an errno. */
int smmuv3_fe_take_regs(struct smmuv3_fe *f, const struct smmuv3_model_conf *conf);
void smmuv3_fe_free_regs(struct smmuv3_fe *f);

#endif /* SMMUV3_MODEL_POWER_H */
