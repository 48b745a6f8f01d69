/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "pri_rig.h"
#include "test.h"

const struct smmuv3_model_conf pri_conf = {
	.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI };

uint8_t pri_buf[64][8 * 4096];

void
pri_setup_conf(struct rig *r, const struct smmuv3_model_conf *conf, uint64_t ste1)
{
	rig_open(r, conf);
	rig_start(r);
	rig_enable_priq(r);
	rig_set_s1_pasids(r, PRI_EATS | ste1);
}

void
pri_setup(struct rig *r)
{
	pri_setup_conf(r, &pri_conf, 0);
}

struct smmuv3_model_dma *
pri_add_engine(struct rig *r, int32_t ssid, unsigned int pages, unsigned int indices,
		bool prg_pasid, uint32_t credits)
{
	struct smmuv3_model_dma *dma = rig_add_ats_dma(r, ssid, pages, indices, prg_pasid);

	if (smmuv3_model_dma_ats_enable(dma, 0) == 0)
		assert_int_equal(smmuv3_model_dma_pri_enable(dma, credits), 0);
	return dma;
}

struct smmuv3_model_dma *
pri_open(struct rig *r, unsigned int pages, uint32_t credits)
{
	pri_setup(r);
	return pri_add_engine(r, 1, pages, 0, false, credits);
}

void
pri_restart(struct smmuv3_model_dma *dma, uint32_t credits)
{
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, credits), 0);
}

void
pri_close(struct rig *r, struct smmuv3_model_dma *dma)
{
	smmuv3_model_dma_destroy(dma);
	rig_close(r);
}

static void
submit(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages)
{
	static unsigned int i;

	rig_submit(r, dma, SMMUV3_MODEL_WRITE, va, pri_buf[i++ % 64], pages * 4096);
}

void
pri_start(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages)
{
	submit(r, dma, va, pages);
	rig_run(r);
}

void
pri_begin(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages)
{
	submit(r, dma, va, pages);
	assert_int_equal(smmuv3_model_step(r->m, 1), 1);
}

struct smmuv3_ppr
pri_take(struct rig *r)
{
	struct smmuv3_ppr ppr = { { 0 } };

	assert_true(rig_take_ppr(r, &ppr));
	return ppr;
}

struct smmuv3_ppr
pri_ask(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	pri_start(r, dma, va, 1);
	return pri_take(r);
}

void
pri_check_empty(struct rig *r)
{
	struct smmuv3_ppr ppr;

	assert_false(rig_take_ppr(r, &ppr));
}

void
pri_map(struct rig *r, uint64_t va, unsigned int pages)
{
	for (unsigned int i = 0; i < pages; i++)
		rig_map(r, va + i * 4096, RIG_DATA + i * 4096, RIG_RW);
}

void
pri_check_ended(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_status status)
{
	assert_int_equal(rig_poll(r, dma), 1);
	assert_int_equal(r->done[0].status, status);
}

void
pri_refuse(struct rig *r, struct smmuv3_model_dma *dma, const struct smmuv3_ppr *ppr)
{
	rig_send_pri_resp(r, ppr, false, INVALID);
	pri_check_ended(r, dma, SMMUV3_MODEL_ABORTED);
}

void
pri_refuse_all(struct rig *r)
{
	struct smmuv3_ppr ppr;

	while (rig_take_ppr(r, &ppr))
		if (ppr.dw[0] & SMMUV3_PPR0_LAST)
			rig_send_pri_resp(r, &ppr, false, INVALID);
}

unsigned int
pri_get_index(const struct smmuv3_ppr *ppr)
{
	return (unsigned int)(ppr->dw[1] & SMMUV3_PPR1_PRGINDEX);
}

void
pri_fill(struct rig *r, struct smmuv3_model_dma *dma, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		pri_start(r, dma, PRI_VA + 0x100000 + i * 0x10000, 1);
	assert_false(rig_has_overflow(r));
}

struct smmuv3_model_dma *
pri_send_half(struct rig *r, int32_t ssid, bool full)
{
	struct smmuv3_model_dma *dma = pri_add_engine(r, ssid, 2, 0, false, 64);

	if (full)
		pri_fill(r, dma, 4);
	pri_begin(r, dma, PRI_VA, 2);
	return dma;
}
