/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CR0_H
#define SMMUV3_CR0_H

/**
 * @file
 * CR0 and CR0ACK [6.3.9].
 */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3;

/* The fields of CR0 that this driver may set; the SMMU acknowledges each. */
uint32_t smmuv3_cr0_fields(const struct smmuv3 *s);
/* Fields of CR0 whose last change is not acknowledged. */
uint32_t smmuv3_cr0_get_unacked(struct smmuv3 *s);
/* SMMUEN is 0 in both CR0 and CR0ACK. */
bool smmuv3_smmuen_is_off(struct smmuv3 *s);
/*
 * Write CR0 and wait for the acknowledgement. A field must not change again before its last change
 * is acknowledged [6.3.9]: wait for that first, and leave a field unchanged if it does not come.
 */
int smmuv3_cr0_write(struct smmuv3 *s, uint32_t cr0);
/* Write CR0 without a wait. The last change of each field that changes must be acknowledged. */
void smmuv3_cr0_store(struct smmuv3 *s, uint32_t cr0);

#endif /* SMMUV3_CR0_H */
