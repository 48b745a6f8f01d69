/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_RECOVERY_H
#define SMMUV3_RECOVERY_H

/**
 * @file
 * Recovery from lost stall records. For the thread that checks.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wait.h"

struct smmuv3;

/* Steps of the recovery in check(), while the state is RUNNING. */
enum smmuv3_recovery_step {
	SMMUV3_RECOVERY_NONE,
	SMMUV3_RECOVERY_DRAINING,	/* the SMMU consumes the PRI_RESPs sent before */
	SMMUV3_RECOVERY_STOPPING,	/* SMMUEN cleared, not acknowledged */
	SMMUV3_RECOVERY_SYNCING,	/* a CMD_SYNC makes the records of these stalls visible */
	SMMUV3_RECOVERY_STOPPED,	/* all stalls have ended, the library has been told */
	SMMUV3_RECOVERY_STARTING,	/* SMMUEN set, not acknowledged */
	SMMUV3_RECOVERY_SENDING,	/* the answers held back are sent */
	SMMUV3_RECOVERY_GIVEN_UP,	/* the state is FAILED, SMMUEN cleared, the library told */
};

/* Written by the holder of ctl, but for wanted. Any thread reads step. */
struct smmuv3_recovery {
	_Atomic bool wanted;	/* stall records or answers may be lost. Any thread */
	_Atomic enum smmuv3_recovery_step step;
	struct smmuv3_wait wait;	/* for the acknowledgement of SMMUEN */
	uint64_t pos;		/* of the command queue or backlog: see smmuv3_recovery_advance() */
};

/* Return IOPF_CHECK_* flags. */
unsigned int smmuv3_recovery_advance(struct smmuv3 *s);
/* Without stalls no record of an outstanding stall is lost: acknowledge the error only. */
unsigned int smmuv3_recovery_ack_only(struct smmuv3 *s, uint32_t active);
unsigned int smmuv3_give_up(struct smmuv3 *s, const char *why);
/* Clear SMMUEN of an SMMU that is given up: it ends all stalls without a command. */
void smmuv3_clear_smmuen(struct smmuv3 *s);

#endif /* SMMUV3_RECOVERY_H */
