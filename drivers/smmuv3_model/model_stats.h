/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_STATS_H
#define SMMUV3_MODEL_STATS_H

/*
 * Counters. The stepping thread writes them, any thread reads them.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "smmuv3_model.h"

struct smmuv3_stats {
	_Atomic uint64_t n[SMMUV3_MODEL_NB_STATS];
};

static inline void
smmuv3_count_add(struct smmuv3_stats *stats, enum smmuv3_model_stat stat, uint64_t n)
{
	_Atomic uint64_t *c = &stats->n[stat];

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			memory_order_relaxed);
}

static inline void
smmuv3_count(struct smmuv3_stats *stats, enum smmuv3_model_stat stat)
{
	smmuv3_count_add(stats, stat, 1);
}

#endif /* SMMUV3_MODEL_STATS_H */
