/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>

#include "atc_rig.h"
#include "test.h"

static const struct smmuv3_model_conf atc_conf = { .features = SMMUV3_MODEL_ATS };

void
atc_open(struct rig *r)
{
	rig_open(r, &atc_conf);
	rig_start(r);
	rig_set_s1_pasids(r, EATS);
	rig_map(r, VA, RIG_DATA, RIG_RW);
}

struct smmuv3_model_dma *
atc_add_engine(struct rig *r, int32_t ssid)
{
	struct smmuv3_model_dma *dma = rig_add_ats_dma(r, ssid, 0, 0, false);
	int ret = smmuv3_model_dma_ats_enable(dma, 0);

	/* For the second engine of an endpoint ATS is enabled already. */
	assert_true(ret == 0 || ret == -EBUSY);
	return dma;
}

enum smmuv3_model_status
atc_access(struct rig *r, struct smmuv3_model_dma *dma, bool write, uint64_t va)
{
	static uint8_t buf[8];

	return rig_access(r, dma, write ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ, va, buf, 8);
}

void
atc_check_no_event(struct rig *r)
{
	struct smmuv3_evt evt;

	assert_false(rig_take_evt(r, &evt));
}

void
atc_close(struct rig *r, struct smmuv3_model_dma *dma)
{
	smmuv3_model_dma_destroy(dma);
	rig_close(r);
}
