/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* PRI of the model: the effect of answers, and which answers are driver errors. */

#include <errno.h>

#include "pri_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static void
test_pri_invalid_aborts_and_success_without_mapping_repeats(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 8);
	ppr = pri_ask(&r, dma, PRI_VA);
	rig_send_pri_resp(&r, &ppr, false, SUCCESS);
	ppr = pri_take(&r);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	pri_refuse(&r, dma, &ppr);
	assert_int_equal(r.done[0].nb_groups, 2);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	/* PRI stays enabled. */
	ppr = pri_ask(&r, dma, PRI_VA);
	pri_refuse(&r, dma, &ppr);
	pri_close(&r, dma);
}

static void
test_pri_response_failure_ends_pri_until_it_is_enabled_again(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr a, b;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 2);
	pri_start(&r, dma, PRI_VA, 1);
	pri_start(&r, dma, PRI_VA + 0x10000, 1);
	pri_start(&r, dma, PRI_VA + 0x20000, 1);	/* waits for a credit */
	a = pri_take(&r);
	b = pri_take(&r);
	rig_send_pri_resp(&r, &a, false, FAILURE);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	/*
	 * The first DMA and the one that waited have ended. The second one still waits for its
	 * answer.
	 */
	assert_int_equal(rig_poll(&r, dma), 2);
	assert_int_equal(r.done[1].status, SMMUV3_MODEL_ABORTED);
	pri_start(&r, dma, PRI_VA, 1);
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	pri_check_empty(&r);
	pri_map(&r, PRI_VA + 0x10000, 1);
	rig_send_pri_resp(&r, &b, false, SUCCESS);
	pri_check_ended(&r, dma, SMMUV3_MODEL_OK);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 2), -EBUSY);
	pri_restart(dma, 2);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	a = pri_ask(&r, dma, PRI_VA);
	pri_refuse(&r, dma, &a);
	pri_close(&r, dma);
}

static void
test_pri_pasids_have_the_same_index_when_responses_carry_pasid(void **state)
{
	struct smmuv3_model_dma *one, *two;
	struct smmuv3_ppr a, b;
	struct rig r;

	(void)state;
	pri_setup_conf(&r, &pri_conf, SMMUV3_STE1_PPAR);
	one = pri_add_engine(&r, 1, 1, 1, true, 8);
	two = pri_add_engine(&r, 2, 1, 1, true, 8);
	a = pri_ask(&r, one, PRI_VA);
	b = pri_ask(&r, two, PRI_VA);
	assert_int_equal(pri_get_index(&a), pri_get_index(&b));
	rig_send_pri_resp(&r, &b, true, INVALID);
	pri_check_ended(&r, two, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_poll(&r, one), 0);
	/* Without the PASID the answer belongs to no group. */
	rig_send_pri_resp(&r, &a, false, INVALID);
	rig_expect_error(&r, "PRI_RESP for SID 8, PRG 0 has the wrong PASID form");
	assert_int_equal(rig_poll(&r, one), 0);
	rig_send_pri_resp(&r, &a, true, INVALID);
	pri_check_ended(&r, one, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(two);
	pri_close(&r, one);
}

static void
test_pri_form_of_the_response(void **state)
{
	static const struct {
		uint32_t features;
		int32_t ssid;
		bool prg_pasid, pasid;	/* endpoint, response */
		bool right;
		bool other;		/* the PASID of another */
	} rows[] = {
		{ 0, 1, false, false, true, false },
		{ 0, 1, false, true, false, false },
		{ 0, 1, true, true, true, false },
		{ 0, 1, true, false, false, false },
		{ 0, -1, true, false, true, false },
		{ 0, -1, true, true, false, false },
		{ SMMUV3_MODEL_PPS, 1, false, true, true, false },
		{ SMMUV3_MODEL_PPS, 1, false, true, false, true },
		{ SMMUV3_MODEL_PPS, 1, false, false, false, false },
		{ SMMUV3_MODEL_PPS, -1, false, false, true, false },
	};
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr, answer;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smmuv3_model_conf conf = pri_conf;

		conf.features |= rows[i].features;
		pri_setup_conf(&r, &conf, 0);
		dma = pri_add_engine(&r, rows[i].ssid, 1, 0, rows[i].prg_pasid, 4);
		ppr = pri_ask(&r, dma, PRI_VA);
		answer = ppr;
		if (rows[i].other)
			answer.dw[0] += SMMUV3_PUT(SMMUV3_PPR0_SSID, 1);
		rig_send_pri_resp(&r, &answer, rows[i].pasid, INVALID);
		if (!rows[i].right) {
			rig_expect_error(&r, "wrong PASID form");
			rig_send_pri_resp(&r, &ppr, rows[i].pasid == rows[i].other, INVALID);
		}
		pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
		pri_close(&r, dma);
	}
}

static void
test_pri_misuse_of_responses_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr, other;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 2, 8);
	pri_start(&r, dma, PRI_VA, 1);
	/* Wrong: before CONS. The entry must be freed first, then answered. */
	ppr = r.priq[0];
	rig_send_pri_resp(&r, &ppr, false, INVALID);
	rig_expect_error(&r, "PRG 0 was sent before PRIQ_CONS passed its request");
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	ppr = pri_take(&r);
	rig_send_pri_resp(&r, &ppr, false, INVALID);
	rig_expect_error(&r, "PRI_RESP for SID 8, PRG 0 was sent twice");
	other = ppr;
	other.dw[1] += 7;
	rig_send_pri_resp(&r, &other, false, SUCCESS);
	rig_expect_error(&r, "PRG 7 names a group that is not outstanding");
	other.dw[0]++;
	rig_send_pri_resp(&r, &other, false, SUCCESS);
	rig_expect_error(&r, "names an endpoint that does not exist");
	/* Wrong: before Last was sent. The model sends one request a step. */
	pri_begin(&r, dma, PRI_VA, 2);
	ppr = pri_take(&r);
	assert_false(ppr.dw[0] & SMMUV3_PPR0_LAST);
	rig_send_pri_resp(&r, &ppr, false, SUCCESS);
	rig_expect_error(&r, "was sent before the group's Last");
	ppr = pri_take(&r);
	pri_refuse(&r, dma, &ppr);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 4);
	/* Resp = 3 */
	rig_put(&r, smmuv3_cmd(SMMUV3_OP_PRI_RESP, SMMUV3_PUT(SMMUV3_CMD0_SID, RIG_SID),
			SMMUV3_PUT(SMMUV3_PRI1_RESP, 3)));
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS) >> 24, SMMUV3_CERROR_ILL);
	pri_close(&r, dma);
}

static void
test_pri_resp_is_illegal_without_pri_and_ignored_while_smmuen_is_0(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ATS });
	rig_start(&r);
	rig_put(&r, smmuv3_cmd(SMMUV3_OP_PRI_RESP, 0, 0));
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS) >> 24, SMMUV3_CERROR_ILL);
	rig_close(&r);
	dma = pri_open(&r, 1, 8);
	ppr = pri_ask(&r, dma, PRI_VA);
	rig_set_cr0(&r, PRI_CR0_ON & ~1u);
	rig_send_pri_resp(&r, &ppr, false, INVALID);
	assert_int_equal(rig_poll(&r, dma), 0);
	rig_set_cr0(&r, PRI_CR0_ON);
	pri_refuse(&r, dma, &ppr);
	pri_close(&r, dma);
}

static void
test_pri_lost_last_leaves_a_group_that_software_may_answer(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 2, 8);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pri_start(&r, dma, PRI_VA, 2);
	ppr = pri_take(&r);
	assert_false(ppr.dw[0] & SMMUV3_PPR0_LAST);
	pri_check_empty(&r);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	pri_refuse(&r, dma, &ppr);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	pri_close(&r, dma);
}

static void
test_pri_last_sent_twice_may_be_answered_twice_and_not_more(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr, dup;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 8);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DUP_LAST, 0);
	ppr = pri_ask(&r, dma, PRI_VA);
	pri_refuse(&r, dma, &ppr);
	dup = pri_take(&r);
	assert_memory_equal(&dup, &ppr, sizeof(ppr));
	rig_send_pri_resp(&r, &dup, false, INVALID);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 1);
	rig_send_pri_resp(&r, &dup, false, INVALID);
	rig_expect_error(&r, "was sent twice");
	pri_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_pri_invalid_aborts_and_success_without_mapping_repeats),
	cmocka_unit_test(test_pri_response_failure_ends_pri_until_it_is_enabled_again),
	cmocka_unit_test(test_pri_pasids_have_the_same_index_when_responses_carry_pasid),
	cmocka_unit_test(test_pri_form_of_the_response),
	cmocka_unit_test(test_pri_misuse_of_responses_is_reported),
	cmocka_unit_test(test_pri_resp_is_illegal_without_pri_and_ignored_while_smmuen_is_0),
	cmocka_unit_test(test_pri_lost_last_leaves_a_group_that_software_may_answer),
	cmocka_unit_test(test_pri_last_sent_twice_may_be_answered_twice_and_not_more),
};

TEST_SUITE(model_pri_answers, tests, NULL, NULL);
