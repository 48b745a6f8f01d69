/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_RECOVERY_H
#define SMMUV3_RECOVERY_H

/**
 * @file
 * Recovery from lost stall records. The thread that checks.
 */

#include <stdint.h>

struct smmuv3;

/* Recovery from lost stall records, step by step in check(), while the state is RUNNING. */
enum smmuv3_recovery {
	SMMUV3_RECOVERY_NONE,
	SMMUV3_RECOVERY_DRAINING,	/* PRI_RESPs sent before are being consumed */
	SMMUV3_RECOVERY_STOPPING,	/* SMMUEN cleared, not acknowledged */
	SMMUV3_RECOVERY_SYNCING,	/* ... and records of stalls that it ended become visible */
	SMMUV3_RECOVERY_STOPPED,	/* all stalls have ended, the library has been told */
	SMMUV3_RECOVERY_STARTING,	/* SMMUEN set, not acknowledged */
	SMMUV3_RECOVERY_SENDING,	/* ... and what was held back is sent */
	SMMUV3_RECOVERY_GIVEN_UP,	/* the state is FAILED, SMMUEN cleared, the library told */
};


unsigned int smmuv3_recovery_step(struct smmuv3 *s);
/* Where nothing stalls no record is an outstanding stall's: to acknowledge is enough. */
unsigned int smmuv3_recovery_ack_only(struct smmuv3 *s, uint32_t active);
unsigned int smmuv3_give_up(struct smmuv3 *s, const char *why);
/* The one way to end stalls that needs no command; nothing more can be done. */
void smmuv3_clear_smmuen(struct smmuv3 *s);

#endif /* SMMUV3_RECOVERY_H */
