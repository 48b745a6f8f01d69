/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_GBPA_H
#define SMMUV3_MODEL_GBPA_H

#include "front.h"

void smmuv3_fe_reset_gbpa(struct smmuv3_fe *f);
/* Process a write, or an update in progress. Returns the units of work done. */
unsigned int smmuv3_fe_update_gbpa(struct smmuv3_fe *f);

static inline unsigned int
smmuv3_fe_poll_gbpa(struct smmuv3_fe *f)
{
	if (f->gbpa_next == 0 && f->gbpa == atomic_load_explicit(
			smmuv3_reg32(f->regs, SMMUV3_GBPA), memory_order_acquire))
		return 0;
	return smmuv3_fe_update_gbpa(f);
}

#endif /* SMMUV3_MODEL_GBPA_H */
