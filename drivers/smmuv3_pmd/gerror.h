/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_GERROR_H
#define SMMUV3_GERROR_H

/**
 * @file
 * Global errors [6.3.18, 7.1], and recovery from lost stall records.
 */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3;

/* Recovery from lost stall records, step by step in check(), while the state is RUNNING. */
enum smmuv3_reset {
	SMMUV3_RESET_NONE,
	SMMUV3_RESET_DRAINING,	/* PRI_RESPs sent before are being consumed */
	SMMUV3_RESET_STOPPING,	/* SMMUEN cleared, not acknowledged */
	SMMUV3_RESET_SYNCING,	/* ... and records of stalls that this ended become visible */
	SMMUV3_RESET_STOPPED,	/* all stalls have ended, the library has been told */
	SMMUV3_RESET_STARTING,	/* SMMUEN set, not acknowledged */
	SMMUV3_RESET_SENDING,	/* ... and what was held back is sent */
	SMMUV3_RESET_GIVEN_UP,	/* the state is FAILED, SMMUEN cleared, the library told */
};

unsigned int smmuv3_check(void *priv);
/* In waits: recover the command queue if it stands still. */
void smmuv3_gerror_look(struct smmuv3 *s, bool force);
/* Acknowledge. Owner of the command queue. */
void smmuv3_gerror_ack(struct smmuv3 *s, uint32_t bits);

#endif /* SMMUV3_GERROR_H */
