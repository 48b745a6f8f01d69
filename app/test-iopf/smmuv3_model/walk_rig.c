/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "test.h"
#include "walk_rig.h"

const struct walk_how rd = { 0 }, wr = { .write = true };
uint8_t walk_buf[64];

struct smmuv3_model_dma *
walk_open(struct rig *r, const struct smmuv3_model_conf *conf)
{
	rig_open(r, conf);
	rig_start(r);
	rig_set_s1(r, 0);
	r->cd->dw[0] &= ~SMMUV3_CD0_S;
	rig_flush(r);
	return rig_add_dma(r, RIG_SID, -1);
}

void
walk_close(struct rig *r, struct smmuv3_model_dma *dma)
{
	smmuv3_model_dma_destroy(dma);
	rig_close(r);
}

unsigned int
walk_access(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, struct walk_how how,
		struct smmuv3_evt *evt)
{
	struct smmuv3_evt e;

	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = how.write ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ,
			.privileged = how.priv, .instruction = how.instr,
			.addr = va, .buf = walk_buf, .len = 8 }), 0);
	assert_int_equal(rig_poll(r, dma), 1);
	if (!rig_take_evt(r, &e)) {
		assert_int_equal(r->done[0].status, SMMUV3_MODEL_OK);
		return 0;
	}
	assert_int_equal(r->done[0].status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(e.dw[2], e.dw[0] & 0x10 ? va : e.dw[2]);
	if (evt != NULL)
		*evt = e;
	return e.dw[0] & 0xff;
}
