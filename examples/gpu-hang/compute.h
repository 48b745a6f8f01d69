/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef COMPUTE_H
#define COMPUTE_H

/*
 * A context that computes y = a * x + y again and again, in managed memory that nothing pins or
 * maps. The CPU checks each result and unmaps y, so that each round faults. Nothing here knows of
 * hangs of other contexts.
 */

#include <stdbool.h>
#include <stdint.h>

#include <mmem.h>

#include "gpu.h"

/* Chunks of the pool that a context uses. */
#define COMPUTE_CHUNKS 2

struct compute_conf {
	struct mmem_pool *pool;
	struct iopf_dev *dev;
	struct smmuv3_model *model;
	uint32_t sid;
	uint32_t pasid;
};

struct compute_stats {
	uint64_t rounds;
	uint64_t wrong;		/* words of y that the CPU found wrong */
	uint64_t refused;	/* accesses that its address space refused */
	uint64_t faults;	/* that were answered */
};

struct compute;

/* Returns NULL after one line on stderr. */
struct compute *compute_open(const struct compute_conf *conf);

/* After an access that never ends: stop the IOMMU first. */
void compute_close(struct compute *compute);

/* Work a little. Returns the accesses that have ended, or -1 after one line on stderr. */
int compute_poll(struct compute *compute);

/* End the round that runs, and begin no other. */
void compute_finish(struct compute *compute);
bool compute_is_finished(const struct compute *compute);

void compute_get_stats(const struct compute *compute, struct compute_stats *stats);
const struct gpu_stats *compute_gpu_stats(const struct compute *compute);

#endif /* COMPUTE_H */
