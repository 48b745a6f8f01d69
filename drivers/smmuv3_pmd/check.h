/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CHECK_H
#define SMMUV3_CHECK_H

/**
 * @file
 * The driver's check operation: errors, recovery and a stuck command queue.
 */

#include <stdbool.h>

unsigned int smmuv3_check(void *priv);
bool smmuv3_is_recovering(void *priv);

#endif /* SMMUV3_CHECK_H */
