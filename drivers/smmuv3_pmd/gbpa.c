/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* GBPA: DMA while SMMUEN is 0 [6.3.14]. */

#include "base.h"
#include "gbpa.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "wait.h"

int
smmuv3_gbpa_block(struct smmuv3 *s)
{
	uint32_t gbpa;
	int ret;

	ret = smmuv3_wait_reg(s, "GBPA", SMMUV3_GBPA, SMMUV3_GBPA_UPDATE, 0);
	if (ret < 0)
		return ret;
	gbpa = smmuv3_read32(s->regs, SMMUV3_GBPA);
	if (gbpa & SMMUV3_GBPA_ABORT)
		return 0;
	smmuv3_write32(s->regs, SMMUV3_GBPA, gbpa | SMMUV3_GBPA_ABORT | SMMUV3_GBPA_UPDATE);
	ret = smmuv3_wait_reg(s, "GBPA", SMMUV3_GBPA, SMMUV3_GBPA_UPDATE, 0);
	if (ret < 0)
		return ret;
	if (!(smmuv3_read32(s->regs, SMMUV3_GBPA) & SMMUV3_GBPA_ABORT) && !s->gbpa_logged) {
		s->gbpa_logged = true;
		SMMUV3_LOG(WARNING, s, "GBPA.ABORT does not stay set: DMA is not blocked while "
				"the SMMU is off; let devices be bus masters only while it runs");
	}
	return 0;
}

int
smmuv3_gbpa_bypass(struct smmuv3 *s)
{
	uint32_t gbpa;
	int ret;

	ret = smmuv3_wait_reg(s, "GBPA", SMMUV3_GBPA, SMMUV3_GBPA_UPDATE, 0);
	if (ret < 0)
		return ret;
	gbpa = smmuv3_read32(s->regs, SMMUV3_GBPA) & ~SMMUV3_GBPA_ABORT;
	smmuv3_write32(s->regs, SMMUV3_GBPA, gbpa | SMMUV3_GBPA_UPDATE);
	return smmuv3_wait_reg(s, "GBPA", SMMUV3_GBPA, SMMUV3_GBPA_UPDATE, 0);
}

void
smmuv3_gbpa_restore(struct smmuv3 *s)
{
	if (!s->restore_gbpa)
		return;
	if (s->suspended) {
		SMMUV3_LOG(NOTICE, s, "the SMMU is suspended, and its registers are not accessed: "
				"close does not restore GBPA; resume it and stop it first");
		return;
	}
	if (s->initial_gbpa == UINT32_MAX) {
		SMMUV3_LOG(NOTICE, s, "the SMMU was running at open, which close does not restore: "
				"DMA stays blocked");
		return;
	}
	if (smmuv3_wait_reg(s, "GBPA", SMMUV3_GBPA, SMMUV3_GBPA_UPDATE, 0) < 0) {
		SMMUV3_LOG(ERR, s, "GBPA is not restored: it cannot be written; reset the SMMU");
		return;
	}
	smmuv3_write32(s->regs, SMMUV3_GBPA, s->initial_gbpa | SMMUV3_GBPA_UPDATE);
	if (smmuv3_wait_reg(s, "GBPA", SMMUV3_GBPA, SMMUV3_GBPA_UPDATE, 0) < 0)
		SMMUV3_LOG(ERR, s, "GBPA is not restored: the SMMU has not accepted 0x%x, the "
				"value at open, and keeps that of the stop until it does; reset "
				"the SMMU", s->initial_gbpa);
}
