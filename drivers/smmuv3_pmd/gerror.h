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

/*
 * Read GERROR and handle its errors. Returns the errors that recovery has to handle. The thread
 * that checks.
 */
uint32_t smmuv3_gerror_handle(struct smmuv3 *s);
/*
 * In waits: repair the command queue if an error has stopped it. @p force: read the register even
 * if the MSI word is 0. Reads no register unless the queue executes commands.
 */
void smmuv3_gerror_check_cmdq(struct smmuv3 *s, bool force);
/* Acknowledge errors. Owner of the command queue. */
void smmuv3_gerror_ack(struct smmuv3 *s, uint32_t bits);

#endif /* SMMUV3_GERROR_H */
