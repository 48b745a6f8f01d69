/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_GERROR_H
#define SMMUV3_MODEL_GERROR_H

#include "front.h"

void smmuv3_fe_raise_gerror(struct smmuv3_fe *f, uint32_t bit);
unsigned int smmuv3_fe_gerrorn_written(struct smmuv3_fe *f, uint32_t v);

static inline bool
smmuv3_fe_is_gerror_active(const struct smmuv3_fe *f, uint32_t bit)
{
	return (f->gerror ^ f->gerrorn) & bit;
}

/* Process a write of GERRORN. Each step calls this, and writes are rare. */
static inline unsigned int
smmuv3_fe_poll_gerrorn(struct smmuv3_fe *f)
{
	/* Acquire: commands rewritten before the acknowledgement are fetched after it. */
	uint32_t v = atomic_load_explicit(smmuv3_reg32(f->regs, SMMUV3_GERRORN),
			memory_order_acquire);

	return v == f->gerrorn ? 0 : smmuv3_fe_gerrorn_written(f, v);
}

#endif /* SMMUV3_MODEL_GERROR_H */
