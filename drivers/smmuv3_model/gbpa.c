/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* GBPA: abort or bypass while SMMUEN is 0, and its update protocol [6.3.14]. */

#include "front.h"
#include "model_gbpa.h"
#include "model_log.h"

#define GBPA_WRITABLE	(SMMUV3_BITS(3, 0) | SMMUV3_BIT(4) | SMMUV3_BITS(13, 8) |	\
			SMMUV3_BITS(20, 16))
#define GBPA_RESET	((uint32_t)SMMUV3_PUT(SMMUV3_GBPA_SHCFG, SMMUV3_SHCFG_INCOMING))

void
smmuv3_fe_reset_gbpa(struct smmuv3_fe *f)
{
	f->gbpa = GBPA_RESET;
	if (f->choices & SMMUV3_MODEL_GBPA_RESET_ABORT)
		f->gbpa |= SMMUV3_GBPA_ABORT;
	atomic_store_explicit(smmuv3_reg32(f->regs, SMMUV3_GBPA), f->gbpa,
			memory_order_relaxed);
}

unsigned int
smmuv3_fe_update_gbpa(struct smmuv3_fe *f)
{
	smmuv3_reg32_t *reg = smmuv3_reg32(f->regs, SMMUV3_GBPA);
	/* Acquire: what software wrote before GBPA is visible. */
	uint32_t v = atomic_load_explicit(reg, memory_order_acquire);
	uint32_t want;

	if (f->gbpa_next == 0) {
		if (v == f->gbpa)
			return 0;
		if (!(v & SMMUV3_GBPA_UPDATE)) {
			smmuv3_log_add(f->log, "GBPA written without UPDATE");
			atomic_compare_exchange_strong_explicit(reg, &v, f->gbpa,
					memory_order_relaxed, memory_order_relaxed);
			return 0;
		}
		f->gbpa_next = v;
		f->gbpa_wait = f->ack_delay;
	} else if (v != f->gbpa_next) {
		smmuv3_log_add(f->log, "GBPA written while UPDATE is set");
		atomic_compare_exchange_strong_explicit(reg, &v, f->gbpa_next,
				memory_order_relaxed, memory_order_relaxed);
		return 0;
	}
	if (smmuv3_fe_knob(f, SMMUV3_MODEL_KNOB_GBPA_STUCK))
		return 0;
	if (f->gbpa_wait > 0) {
		f->gbpa_wait--;
		return 1;
	}
	want = f->gbpa_next & (uint32_t)GBPA_WRITABLE;
	if (f->harsh & SMMUV3_MODEL_HARSH_GBPA)
		want &= ~(uint32_t)SMMUV3_GBPA_ABORT;
	/* If software wrote the register since the load, the next call reports it. */
	if (atomic_compare_exchange_strong_explicit(reg, &v, want, memory_order_release,
			memory_order_relaxed)) {
		f->gbpa = want;
		f->gbpa_next = 0;
	}
	return 1;
}
