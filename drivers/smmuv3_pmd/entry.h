/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ENTRY_H
#define SMMUV3_ENTRY_H

/**
 * @file
 * Change an STE or a CD that the SMMU may be reading.
 */

#include <stdint.h>

#define SMMUV3_STEP_SYNC	8
#define SMMUV3_NB_STEPS		12

struct smmuv3_step {
	unsigned int word;	/* 0 to 7, or SMMUV3_STEP_SYNC */
	uint64_t value;
};

/* The steps from live to next; @p v is the valid bit in word 0. Returns their number. */
unsigned int smmuv3_entry_plan(const uint64_t live[8], const uint64_t next[8], uint64_t v,
		struct smmuv3_step steps[SMMUV3_NB_STEPS]);
/* Carry out these steps, with a CFGI and CMD_SYNC by sync() after each group of stores. */
int smmuv3_entry_write(uint64_t live[8], const uint64_t next[8], uint64_t v,
		int (*sync)(void *ctx), void *ctx);

#endif /* SMMUV3_ENTRY_H */
