/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The PRIQ of the model: requests while it is disabled, or while its writes abort. */

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pri_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define NB_OFF 4

/* The rows "effective PRIQEN = 0" and "PRIQ_ABT_ERR is active", which behave the same. */
enum off {
	OFF_PRIQEN,
	OFF_SMMUEN,
	OFF_ABT,
	OFF_SFM,
};

/* Each of them, with and without a response to requests without Last. */
static void
set_up_off(struct rig *r, bool each)
{
	struct smmuv3_model_conf conf = pri_conf;

	conf.choices = each ? SMMUV3_MODEL_FAIL_EACH_PPR : 0;
	pri_setup_conf(r, &conf, 0);
}

static void
switch_off(struct rig *r, struct smmuv3_model_dma *any, enum off how)
{
	struct smmuv3_ppr ppr;

	switch (how) {
	case OFF_PRIQEN:
		rig_set_cr0(r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_PRIQEN);
		break;
	case OFF_SMMUEN:
		rig_set_cr0(r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_SMMUEN);
		break;
	case OFF_ABT:
		smmuv3_model_knob(r->m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		assert_int_equal(smmuv3_model_dma_stop_marker(any), 0);
		assert_int_equal(rig_read(r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
		break;
	case OFF_SFM:
		smmuv3_model_knob(r->m, SMMUV3_MODEL_KNOB_SFM, 1);
		break;
	}
	rig_run(r);
	assert_false(rig_take_ppr(r, &ppr));
}

static void
check_off_in_a_group(enum off how, bool each, bool prg_pasid)
{
	struct smmuv3_model_dma *dma, *other;
	struct rig r;

	set_up_off(&r, each);
	other = pri_add_engine(&r, 2, 1, 0, prg_pasid, 64);
	dma = pri_add_engine(&r, 1, 3, 0, prg_pasid, 64);
	/* The first request is written; the second and Last come too late. */
	pri_begin(&r, dma, PRI_VA, 3);
	pri_take(&r);
	switch_off(&r, other, how);
	/* Failure, without PASID, whatever form of response the endpoint requires. */
	assert_true(smmuv3_model_dma_pri_failed(dma));
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST),
			(each ? 1 : 2) + (how == OFF_ABT));
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 0);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	smmuv3_model_dma_destroy(other);
	pri_close(&r, dma);
}

static void
test_priq_requests_fail_while_the_queue_is_off(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4 * NB_OFF; i++)
		check_off_in_a_group(i / 4, i & 1, i & 2);
}

static void
test_priq_stop_marker_has_no_response_while_the_queue_is_off(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < 2 * NB_OFF; i++) {
		set_up_off(&r, i & 1);
		dma = pri_add_engine(&r, 1, 1, 0, false, 8);
		switch_off(&r, dma, i / 2);
		assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
		pri_check_empty(&r);
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST),
				1 + (i / 2 == OFF_ABT));
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
		assert_false(smmuv3_model_dma_pri_failed(dma));
		pri_close(&r, dma);
	}
}

/* The write of each of a group's two requests aborts. */
static void
test_priq_aborted_write_at_each_position_of_a_group(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		bool last = i & 2, each = i & 1;

		set_up_off(&r, each);
		dma = pri_add_engine(&r, 1, 2, 0, false, 8);
		if (last) {
			pri_begin(&r, dma, PRI_VA, 2);
			pri_take(&r);
		}
		smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		if (!last)
			pri_begin(&r, dma, PRI_VA, 2);
		else
			assert_int_equal(smmuv3_model_step(r.m, 1), 1);
		assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
		assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), last);
		assert_int_equal(smmuv3_model_dma_pri_failed(dma), last || each);
		/* Without Last the request is lost, and the Last behind it fails. */
		pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_true(smmuv3_model_dma_pri_failed(dma));
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST),
				last || each ? 1 : 2);
		pri_close(&r, dma);
	}
}

static void
test_priq_aborted_write_fails_and_stops_the_queue(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 8);
	pri_start(&r, dma, PRI_VA, 1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
	pri_start(&r, dma, PRI_VA + 0x1000, 1);
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	/* Entries below PROD are valid. The next request behaves as with PRIQEN = 0. */
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	ppr = pri_take(&r);
	pri_refuse(&r, dma, &ppr);
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	pri_restart(dma, 8);
	ppr = pri_ask(&r, dma, PRI_VA);
	pri_refuse(&r, dma, &ppr);
	/* The write to a queue outside the windows aborts. */
	rig_set_cr0(&r, 0xd);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_BASE, UINT64_C(0x700000000) | 2);
	rig_set_cr0(&r, PRI_CR0_ON);
	pri_start(&r, dma, PRI_VA, 1);
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR) ^ rig_read(&r, SMMUV3_GERRORN),
			SMMUV3_GERROR_PRIQ_ABT);
	pri_close(&r, dma);
}

/* The error comes too late: a lost request gets no answer, and a Last behind it fails. */
static void
test_priq_late_abort_loses_a_request_without_last(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 2, 8);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	pri_begin(&r, dma, PRI_VA, 2);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	pri_restart(dma, 8);
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR) ^ rig_read(&r, SMMUV3_GERRORN),
			SMMUV3_GERROR_PRIQ_ABT);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 2);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	pri_close(&r, dma);
}

/*
 * With LO: a Last that an overflow discards raises an interrupt, a Last discarded for another
 * reason does not.
 */
static void
test_priq_only_an_overflow_interrupts_for_a_discarded_last(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct smmuv3_model_dma *dma, *other;
	uint64_t n;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < NB_OFF; i++) {
		set_up_off(&r, false);
		smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_PRIQ, fd);
		smmuv3_write32(r.regs, SMMUV3_PRIQ_IRQ_CFG2, (uint32_t)SMMUV3_PRIQ_IRQ_CFG2_LO);
		rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
		rig_run(&r);
		dma = pri_send_half(&r, 1, false);
		other = pri_add_engine(&r, 2, 1, 0, false, 8);
		pri_take(&r);
		switch_off(&r, other, i);
		pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_int_equal(read(fd, &n, sizeof(n)), -1);
		smmuv3_model_dma_destroy(other);
		pri_close(&r, dma);
	}
	close(fd);
}

static void
test_priq_late_abort_leaves_a_group_that_a_reset_ends(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 8);
	memset(r.priq, 0xee, sizeof(*r.priq));
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	pri_start(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	/* PROD passed an old entry: the queue's contents are not valid. */
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_int_equal(r.priq[0].dw[0], 0xeeeeeeeeeeeeeeee);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	assert_int_equal(rig_poll(&r, dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	smmuv3_model_dma_reset(dma);
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	pri_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_priq_requests_fail_while_the_queue_is_off),
	cmocka_unit_test(test_priq_stop_marker_has_no_response_while_the_queue_is_off),
	cmocka_unit_test(test_priq_aborted_write_at_each_position_of_a_group),
	cmocka_unit_test(test_priq_aborted_write_fails_and_stops_the_queue),
	cmocka_unit_test(test_priq_late_abort_loses_a_request_without_last),
	cmocka_unit_test(test_priq_only_an_overflow_interrupts_for_a_discarded_last),
	cmocka_unit_test(test_priq_late_abort_leaves_a_group_that_a_reset_ends),
};

TEST_SUITE(model_priq_off, tests, NULL, NULL);
