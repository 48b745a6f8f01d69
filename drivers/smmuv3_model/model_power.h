/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_POWER_H
#define SMMUV3_MODEL_POWER_H

#include <stdint.h>

uint8_t *smmuv3_regs_alloc(void);
void smmuv3_regs_free(uint8_t *regs);

#endif /* SMMUV3_MODEL_POWER_H */
