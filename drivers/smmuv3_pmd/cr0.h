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

/* What may be set in CR0, and is acknowledged. */
uint32_t smmuv3_cr0_fields(const struct smmuv3 *s);
/* Fields of CR0 whose last change is not acknowledged. */
uint32_t smmuv3_cr0_get_unacked(struct smmuv3 *s);
/* Both CR0 and CR0ACK say so. */
bool smmuv3_smmuen_is_off(struct smmuv3 *s);
/*
 * A field whose last change is not acknowledged must not be changed [6.3.9]: that is waited
 * for, and a field for which it does not come is left as it is.
 */
int smmuv3_cr0_write(struct smmuv3 *s, uint32_t cr0);

#endif /* SMMUV3_CR0_H */
