/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_GERROR_H
#define SMMUV3_GERROR_H

/**
 * @file
 * Global errors [6.3.18, 7.1].
 */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3;

/* Returns what is active and not recovered here. The thread that checks. */
uint32_t smmuv3_gerror_handle(struct smmuv3 *s);
/* In waits: recover the command queue if it stands still. */
void smmuv3_gerror_check_cmdq(struct smmuv3 *s, bool force);
/* Acknowledge. Owner of the command queue. */
void smmuv3_gerror_ack(struct smmuv3 *s, uint32_t bits);

#endif /* SMMUV3_GERROR_H */
