/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* GERROR: the SMMU reports errors, and software acknowledges them in GERRORN [6.3.18, 6.3.19]. */

#include "front.h"
#include "model_gerror.h"
#include "model_irq.h"
#include "model_log.h"

/* The SMMU toggles a bit of GERROR only while that error is not active [6.3.18]. */
void
smmuv3_fe_raise_gerror(struct smmuv3_fe *f, uint32_t bit)
{
	if (smmuv3_fe_is_gerror_active(f, bit))
		return;
	f->gerror ^= bit;
	smmuv3_fe_store_reg(f, SMMUV3_FE_GERROR, f->gerror);
	if (bit != SMMUV3_GERROR_MSI_GERROR_ABT)
		smmuv3_fe_signal_gerror(f);
}

/* Software wrote @p v into GERRORN. Returns the units of work done. */
unsigned int
smmuv3_fe_gerrorn_written(struct smmuv3_fe *f, uint32_t v)
{
	uint32_t changed = v ^ f->gerrorn;
	uint32_t bad = changed & ~(f->gerror ^ f->gerrorn);

	if (bad != 0) {
		smmuv3_log_add(f->log, "GERRORN bit 0x%x toggled while that error is not active",
				bad);
		atomic_compare_exchange_strong_explicit(smmuv3_reg32(f->regs, SMMUV3_GERRORN), &v,
				v ^ bad, memory_order_relaxed, memory_order_relaxed);
		changed &= ~bad;
	}
	f->gerrorn ^= changed;
	return changed != 0;
}
