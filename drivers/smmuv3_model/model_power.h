/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_POWER_H
#define SMMUV3_MODEL_POWER_H

#include <stddef.h>
#include <stdint.h>

uint8_t *smmuv3_regs_alloc(size_t size);
void smmuv3_regs_free(uint8_t *regs, size_t size);

#endif /* SMMUV3_MODEL_POWER_H */
