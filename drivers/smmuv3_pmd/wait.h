/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_WAIT_H
#define SMMUV3_WAIT_H

/**
 * @file
 * Bounded waits for the SMMU, and the lock of control calls.
 */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3;

/*
 * A wait for one thing, of a call or of a recovery, is at most this long, in which the waiting
 * thread runs. A thread that is not scheduled for long, and with it perhaps a software SMMU on the
 * same processor, has given the SMMU no time: between two calls of smmuv3_wait() or
 * smmuv3_wait_count() at most this time / SMMUV3_WAIT_STEPS counts. A call may wait for several
 * things, one after the other.
 */
#define SMMUV3_TIMEOUT_MS	1000
#define SMMUV3_WAIT_STEPS	16

struct smmuv3_wait {
	uint64_t left;		/* TSC cycles */
	uint64_t last;		/* call */
	unsigned int n;
};

/* smmuv3_wait() lets the SMMU run and checks GERROR. It returns false when the time is over. */
void smmuv3_wait_begin(const struct smmuv3 *s, struct smmuv3_wait *w);
bool smmuv3_wait(struct smmuv3 *s, struct smmuv3_wait *w);
/* Only count the time since the last call. False when the time is over. */
bool smmuv3_wait_count(const struct smmuv3 *s, struct smmuv3_wait *w);
/* Wait until (register & mask) == want. -ETIMEDOUT, logged. */
int smmuv3_wait_reg(struct smmuv3 *s, const char *name, uint32_t offset, uint32_t mask,
		uint32_t want);
/* One control call at a time. Waits at most SMMUV3_TIMEOUT_MS, else -ETIMEDOUT. */
int smmuv3_ctl_lock(struct smmuv3 *s);
bool smmuv3_ctl_trylock(struct smmuv3 *s);
void smmuv3_ctl_unlock(struct smmuv3 *s);

#endif /* SMMUV3_WAIT_H */
