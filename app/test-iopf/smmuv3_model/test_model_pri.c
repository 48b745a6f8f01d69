/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* PRI of the model: requests of an endpoint, in groups, with credits. */

#include <errno.h>
#include <string.h>

#include "pri_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static void
test_pri_page_is_requested_and_the_dma_goes_on(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	pri_setup(&r);
	dma = pri_add_engine(&r, 5, 1, 0, false, 4);
	memset(pri_buf[0], 0x5a, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA + 16, pri_buf[0], 8);
	rig_run(&r);
	ppr = pri_take(&r);
	/* SSV, Last, W; SSID 5; SID 8; index 0 */
	assert_int_equal(ppr.dw[0], 0xe000000500000008);
	assert_int_equal(ppr.dw[1], PRI_VA);
	pri_check_empty(&r);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 1);
	pri_map(&r, PRI_VA, 1);
	rig_send_pri_resp(&r, &ppr, false, SUCCESS);
	pri_check_ended(&r, dma, SMMUV3_MODEL_OK);
	assert_int_equal(r.data[16], 0x5a);
	assert_int_equal(r.done[0].nb_groups, 1);
	assert_int_equal(r.done[0].nb_stalls, 0);
	assert_true(r.done[0].t_event >= r.done[0].t_start);
	assert_true(r.done[0].t_resume >= r.done[0].t_event);
	assert_true(r.done[0].t_end >= r.done[0].t_resume);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	pri_close(&r, dma);
}

static void
test_pri_request_fields_follow_the_access(void **state)
{
	static const struct {
		int32_t ssid;
		struct smmuv3_model_op op;
		uint64_t dw0;
	} rows[] = {
		{ 1, { .type = SMMUV3_MODEL_READ }, 0xd000000100000008 },
		{ 1, { .type = SMMUV3_MODEL_READ, .privileged = true }, 0xd400000100000008 },
		{ 1, { .type = SMMUV3_MODEL_READ, .instruction = true }, 0xd800000100000008 },
		{ 1, { .type = SMMUV3_MODEL_WRITE, .privileged = true }, 0xe400000100000008 },
		/* Without SSV there is neither X nor Priv. */
		{ -1, { .type = SMMUV3_MODEL_READ, .privileged = true, .instruction = true },
			0x5000000000000008 },
	};
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_op op;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pri_setup(&r);
		dma = pri_add_engine(&r, rows[i].ssid, 1, 0, false, 4);
		op = rows[i].op;
		op.addr = PRI_VA + 5;
		op.buf = pri_buf[0];
		op.len = 8;
		assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
		rig_run(&r);
		ppr = pri_take(&r);
		if (ppr.dw[0] != rows[i].dw0 || ppr.dw[1] != PRI_VA)
			fail_msg("row %zu: %llx", i, (unsigned long long)ppr.dw[0]);
		pri_refuse(&r, dma, &ppr);
		pri_close(&r, dma);
	}
}

static void
test_pri_group_has_several_pages_and_last_on_the_final_one(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 3, 8);
	pri_start(&r, dma, PRI_VA, 5);
	for (unsigned int i = 0; i < 3; i++) {
		ppr = pri_take(&r);
		assert_int_equal(ppr.dw[1], PRI_VA + i * 4096);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i == 2);
	}
	pri_check_empty(&r);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 3);
	pri_map(&r, PRI_VA, 3);
	rig_send_pri_resp(&r, &ppr, false, SUCCESS);
	/* The rest of the DMA is a second, shorter group. */
	for (unsigned int i = 3; i < 5; i++) {
		ppr = pri_take(&r);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, PRI_VA + i * 4096);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i == 4);
	}
	pri_map(&r, PRI_VA, 5);
	rig_send_pri_resp(&r, &ppr, false, SUCCESS);
	pri_check_ended(&r, dma, SMMUV3_MODEL_OK);
	assert_int_equal(r.done[0].nb_groups, 2);
	pri_close(&r, dma);
}

static void
test_pri_credits_bound_the_requests_and_come_back(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr[3];
	struct rig r;

	(void)state;
	rig_open(&r, &pri_conf);
	rig_start(&r);
	r.priq_log2 = 4;
	rig_enable_priq(&r);
	rig_set_s1_pasids(&r, PRI_EATS);
	/* Three credits: a group of two, a group cut to one page, one that waits. */
	dma = pri_add_engine(&r, 1, 2, 0, false, 3);
	for (unsigned int i = 0; i < 3; i++)
		pri_start(&r, dma, PRI_VA + i * 0x10000, 2);
	for (unsigned int i = 0; i < 3; i++)
		ppr[i] = pri_take(&r);
	pri_check_empty(&r);
	assert_true(ppr[1].dw[0] & SMMUV3_PPR0_LAST);
	assert_true(ppr[2].dw[0] & SMMUV3_PPR0_LAST);
	assert_int_equal(ppr[2].dw[1] & SMMUV3_PPR1_ADDR, PRI_VA + 0x10000);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 3);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_WAITS), 1);
	/* The credits of an answered group go to the group that waits. */
	pri_refuse(&r, dma, &ppr[1]);
	ppr[0] = pri_take(&r);
	ppr[1] = pri_take(&r);
	pri_check_empty(&r);
	assert_int_equal(ppr[0].dw[1] & SMMUV3_PPR1_ADDR, PRI_VA + 0x20000);
	rig_send_pri_resp(&r, &ppr[1], false, INVALID);
	rig_send_pri_resp(&r, &ppr[2], false, INVALID);
	assert_int_equal(rig_poll(&r, dma), 2);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	/* An endpoint that ignores its allocation. */
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_CREDITS, 0);
	for (unsigned int i = 0; i < 3; i++)
		pri_start(&r, dma, PRI_VA + i * 0x10000, 2);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 6);
	for (unsigned int i = 0; i < 6; i++) {
		ppr[0] = pri_take(&r);
		if (ppr[0].dw[0] & SMMUV3_PPR0_LAST)
			rig_send_pri_resp(&r, &ppr[0], false, INVALID);
	}
	assert_int_equal(rig_poll(&r, dma), 3);
	pri_close(&r, dma);
}

static void
test_pri_index_is_reused_and_bounds_the_groups(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	pri_setup(&r);
	dma = pri_add_engine(&r, 1, 1, 1, false, 8);
	pri_start(&r, dma, PRI_VA, 1);
	pri_start(&r, dma, PRI_VA + 0x1000, 1);
	for (unsigned int i = 0; i < 2; i++) {
		ppr = pri_take(&r);
		assert_int_equal(pri_get_index(&ppr), 0);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, PRI_VA + i * 0x1000);
		pri_check_empty(&r);
		pri_refuse(&r, dma, &ppr);
	}
	pri_close(&r, dma);
}

/* A transaction that was woken for an index or a credit and needs none passes it on. */
static void
test_pri_accesses_to_one_page_do_not_delay_later_ones(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		pri_setup(&r);
		dma = pri_add_engine(&r, 1, 1, i == 0 ? 1 : 8, false, i == 0 ? 8 : 1);
		for (unsigned int k = 0; k < 4; k++)
			pri_start(&r, dma, PRI_VA, 1);
		pri_start(&r, dma, PRI_VA + 0x1000, 1);
		ppr = pri_take(&r);
		pri_check_empty(&r);
		pri_map(&r, PRI_VA, 1);
		rig_send_pri_resp(&r, &ppr, false, SUCCESS);
		assert_int_equal(rig_poll(&r, dma), 4);
		ppr = pri_take(&r);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, PRI_VA + 0x1000);
		pri_refuse(&r, dma, &ppr);
		pri_close(&r, dma);
	}
}

static void
test_pri_stop_marker_with_pasid_has_no_answer(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	pri_setup(&r);
	dma = pri_add_engine(&r, 7, 1, 0, false, 8);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	ppr = pri_take(&r);
	/* SSV and Last alone */
	assert_int_equal(ppr.dw[0], 0xc000000700000008);
	/* The marker uses no credit, and an answer to it is a mistake. */
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	rig_send_pri_resp(&r, &ppr, false, INVALID);
	rig_expect_error(&r, "names a group that is not outstanding");
	/* The marker must not be in the middle of a group of its PASID. */
	smmuv3_model_dma_destroy(dma);
	dma = pri_send_half(&r, 7, false);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), -EAGAIN);
	rig_run(&r);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	pri_refuse_all(&r);
	/* pri_refuse_all() took the marker for a request. */
	rig_expect_error(&r, "PRI_RESP for SID 8, PRG 0");
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	pri_close(&r, dma);
}

static void
test_pri_stop_marker_without_pasid_is_a_request(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	pri_setup(&r);
	dma = pri_add_engine(&r, -1, 1, 0, false, 1);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), -EAGAIN);
	ppr = pri_take(&r);
	assert_int_equal(ppr.dw[0], 0x4000000000000008);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	rig_send_pri_resp(&r, &ppr, false, SUCCESS);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	pri_close(&r, dma);
}

static void
test_pri_disable_drains(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 1);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 1), -EBUSY);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	rig_expect_error(&r, "ATS of SID 8 was disabled while its PRI is on");
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	pri_start(&r, dma, PRI_VA, 1);
	pri_start(&r, dma, PRI_VA + 0x1000, 1);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), -EINVAL);
	/* The DMA that had not sent its request never sends it. */
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(r.done[0].cookie, PRI_VA + 0x1000);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	rig_expect_error(&r, "ATS of SID 8 was disabled while its PRI is not drained");
	ppr = pri_take(&r);
	rig_send_pri_resp(&r, &ppr, false, INVALID);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 1), -EINVAL);
	pri_close(&r, dma);
}

static void
test_pri_reset_ends_all_dma_of_the_function(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	pri_setup(&r);
	dma = pri_send_half(&r, 1, false);			/* being sent */
	pri_start(&r, dma, PRI_VA + 0x10000, 1);		/* sent */
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pri_start(&r, dma, PRI_VA + 0x20000, 1);		/* lost */
	pri_take(&r);
	smmuv3_model_dma_reset(dma);
	assert_int_equal(rig_poll(&r, dma), 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(r.done[i].status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_FORGOTTEN), 3);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	/* ATS is off: the endpoint's accesses are untranslated again. */
	pri_map(&r, PRI_VA, 1);
	pri_start(&r, dma, PRI_VA, 1);
	pri_check_ended(&r, dma, SMMUV3_MODEL_OK);
	pri_close(&r, dma);
}

static void
test_pri_groups_of_two_engines_interleave(void **state)
{
	struct smmuv3_model_dma *one, *two;
	struct smmuv3_ppr ppr[4];
	struct rig r;

	(void)state;
	pri_setup(&r);
	one = pri_add_engine(&r, 1, 2, 0, false, 8);
	two = pri_add_engine(&r, 2, 2, 0, false, 8);
	rig_submit(&r, one, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8192);
	rig_submit(&r, two, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8192);
	rig_run(&r);
	for (unsigned int i = 0; i < 4; i++)
		ppr[i] = pri_take(&r);
	assert_int_equal(pri_get_index(&ppr[0]), pri_get_index(&ppr[2]));
	assert_int_equal(pri_get_index(&ppr[1]), pri_get_index(&ppr[3]));
	assert_int_not_equal(pri_get_index(&ppr[0]), pri_get_index(&ppr[1]));
	rig_send_pri_resp(&r, &ppr[2], false, INVALID);
	rig_send_pri_resp(&r, &ppr[3], false, INVALID);
	assert_int_equal(rig_poll(&r, one) + rig_poll(&r, two), 2);
	smmuv3_model_dma_destroy(two);
	pri_close(&r, one);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_pri_page_is_requested_and_the_dma_goes_on),
	cmocka_unit_test(test_pri_request_fields_follow_the_access),
	cmocka_unit_test(test_pri_group_has_several_pages_and_last_on_the_final_one),
	cmocka_unit_test(test_pri_credits_bound_the_requests_and_come_back),
	cmocka_unit_test(test_pri_index_is_reused_and_bounds_the_groups),
	cmocka_unit_test(test_pri_accesses_to_one_page_do_not_delay_later_ones),
	cmocka_unit_test(test_pri_stop_marker_with_pasid_has_no_answer),
	cmocka_unit_test(test_pri_stop_marker_without_pasid_is_a_request),
	cmocka_unit_test(test_pri_disable_drains),
	cmocka_unit_test(test_pri_reset_ends_all_dma_of_the_function),
	cmocka_unit_test(test_pri_groups_of_two_engines_interleave),
};

TEST_SUITE(model_pri, tests, NULL, NULL);
