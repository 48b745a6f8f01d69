/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_WAIT_H
#define SMMUV3_WAIT_H

/**
 * @file
 * Bounded waits, for the SMMU and for other control calls.
 */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3;

/* Every wait for the SMMU ends. */
#define SMMUV3_TIMEOUT_MS	1000

struct smmuv3_wait {
	uint64_t end;
	unsigned int n;
};

/*
 * smmuv3_wait() gives the SMMU time, looks at GERROR now and then, and returns false once
 * the time is over.
 */
void smmuv3_wait_begin(const struct smmuv3 *s, struct smmuv3_wait *w);
bool smmuv3_wait(struct smmuv3 *s, struct smmuv3_wait *w);
/* Until (register & mask) == want. */
int smmuv3_wait_reg(struct smmuv3 *s, const char *name, uint32_t offset, uint32_t mask,
		uint32_t want);
int smmuv3_ctl_lock(struct smmuv3 *s);
bool smmuv3_ctl_trylock(struct smmuv3 *s);
void smmuv3_ctl_unlock(struct smmuv3 *s);

#endif /* SMMUV3_WAIT_H */
