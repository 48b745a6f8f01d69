/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* PRI of the model under overflow: each group is answered once, with a thread and without. */

#include <errno.h>

#include "pri_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* A correct driver of the queue, and engines whose pages come and go. */
struct churn {
	struct rig *r;
	uint64_t seed;
	unsigned int groups, discarded;
};

static uint32_t
rnd(struct churn *c)
{
	c->seed = c->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(c->seed >> 33);
}

static void
churn_cmd(struct churn *c, struct smmuv3_cmd cmd)
{
	struct rig *r = c->r;

	while (smmuv3_q_full(r->cmdq_log2, r->cmd_prod, rig_read(r, SMMUV3_CMDQ_CONS)))
		smmuv3_model_wait(r->m);
	rig_put(r, cmd);
	rig_ring(r);
}

/* Take @p n requests and answer complete groups. Partial groups need no memory here. */
static void
churn_serve(struct churn *c, unsigned int n, bool pasid)
{
	struct rig *r = c->r;
	uint32_t prod = smmuv3_load_prod(r->regs, SMMUV3_PRIQ_PROD);
	struct smmuv3_ppr ppr;

	while (n-- > 0 && !smmuv3_q_empty(r->priq_log2, prod, r->pri_cons)) {
		uint64_t dw0;

		if (!rig_take_ppr(r, &ppr))
			return;
		if (!(ppr.dw[0] & SMMUV3_PPR0_LAST))
			continue;
		if (!(ppr.dw[0] & (SMMUV3_PPR0_R | SMMUV3_PPR0_W)))
			continue;
		c->groups++;
		dw0 = SMMUV3_PUT(SMMUV3_CMD0_SID, ppr.dw[0] & SMMUV3_PPR0_SID);
		if (pasid)
			dw0 |= SMMUV3_CMD0_SSV | SMMUV3_PUT(SMMUV3_CMD0_SSID,
					SMMUV3_GET(SMMUV3_PPR0_SSID, ppr.dw[0]));
		churn_cmd(c, smmuv3_cmd(SMMUV3_OP_PRI_RESP, dw0, (ppr.dw[1] &
				SMMUV3_PPR1_PRGINDEX) | SMMUV3_PUT(SMMUV3_PRI1_RESP,
				rnd(c) % 4 ? INVALID : SUCCESS)));
	}
	if (rig_has_overflow(r) && smmuv3_q_empty(r->priq_log2, prod, r->pri_cons) &&
			prod == rig_read(r, SMMUV3_PRIQ_PROD)) {
		c->discarded++;
		rig_ack_overflow(r);
	}
}

static void
run_churn(bool threaded, unsigned int ops)
{
	struct smmuv3_model_dma *dma[3];
	struct churn c = { .seed = 7 };
	struct smmuv3_model_done done[64];
	unsigned int out = 0, submitted = 0;
	struct rig r;

	c.r = &r;
	rig_open(&r, &pri_conf);
	rig_start(&r);
	/* Between threads an overflow costs a time slice or two, so there are fewer. */
	r.priq_log2 = threaded ? 4 : 2;
	rig_enable_priq(&r);
	rig_set_s1_pasids(&r, PRI_EATS | SMMUV3_STE1_PPAR);
	for (int i = 0; i < 3; i++) {
		/* More credits than entries cause overflows. */
		dma[i] = pri_add_engine(&r, i + 1, 4, 8, true, 32);
		smmuv3_model_dma_quirks(dma[i], SMMUV3_MODEL_QUIRK_DUP_LAST, 16);
	}
	if (threaded)
		assert_int_equal(smmuv3_model_start(r.m, -1), 0);
	while (submitted < ops || out != 0) {
		struct smmuv3_model_dma *e = dma[rnd(&c) % 3];

		if (submitted < ops && smmuv3_model_dma_submit(e, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .buf = pri_buf[0], .len = 4096 *
				(1 + rnd(&c) % 8), .addr = PRI_VA +
				4096 * (rnd(&c) % 512) }) == 0) {
			submitted++;
			out++;
		}
		if (!threaded)
			smmuv3_model_step(r.m, 1 + rnd(&c) % 8);
		churn_serve(&c, rnd(&c) % 8, true);
		for (int i = 0; i < 3; i++)
			out -= smmuv3_model_dma_poll(dma[i], done, 64);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(smmuv3_model_dma_pri_disable(dma[i]), i == 0 ? 0 : -EINVAL);
	while (!smmuv3_model_dma_pri_drained(dma[0]))
		smmuv3_model_wait(r.m);
	if (threaded)
		assert_int_equal(smmuv3_model_stop(r.m), 0);
	/* Answers to a second Last may be under way. */
	rig_run(&r);
	assert_true(c.discarded > 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS),
			rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS) +
			rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS));
	assert_true(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) > 0);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma[0]), 0);
	for (int i = 0; i < 3; i++)
		smmuv3_model_dma_destroy(dma[i]);
	rig_close(&r);
}

static void
test_pri_each_group_is_answered_once_under_overflow(void **state)
{
	(void)state;
	run_churn(false, 4000 * test_scale());
}

static void
test_pri_each_group_is_answered_once_with_a_thread(void **state)
{
	(void)state;
	run_churn(true, 400 * test_scale());
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_pri_each_group_is_answered_once_under_overflow),
	cmocka_unit_test(test_pri_each_group_is_answered_once_with_a_thread),
};

TEST_SUITE(model_pri_churn, tests, NULL, NULL);
