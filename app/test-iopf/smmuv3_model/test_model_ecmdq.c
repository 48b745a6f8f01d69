/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ECMDQs: identification, guards, the handshakes of enable and error, wrong clients. */

#include <errno.h>

#include "cmd_trace.h"
#include "ecmdq_rig.h"
#include "test.h"

static const struct smmuv3_cmd illegal = { { 0xff } };

static bool
is_active(const struct rig *r, uint64_t bit)
{
	return (rig_read(r, SMMUV3_GERROR) ^ rig_read(r, SMMUV3_GERRORN)) & bit;
}

static void
ack_gerror(struct rig *r)
{
	rig_write(r, SMMUV3_GERRORN, rig_read(r, SMMUV3_GERROR));
	rig_run(r);
}

/* ECMDQ 0 is on. */
static void
open_one(struct rig *r, struct ecmdq *q)
{
	ecmdq_open_rig(r, NULL);
	ecmdq_start(q, r, 0);
}

static void
test_ecmdq_is_identified(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ });
	assert_int_equal(rig_read(&r, SMMUV3_IDR1), 0x8d4a0410);
	/* 16 queues in one page */
	assert_int_equal(rig_read(&r, SMMUV3_IDR6), 0x00040000);
	assert_int_equal(rig_read(&r, SMMUV3_AIDR), 0x3);
	assert_int_equal(ecmdq_read64(&r, 0x4000), 0x20003);
	assert_int_equal(rig_read(&r, 0x4008), 1);
	assert_int_equal(rig_read(&r, 0x400c), 1);
	assert_int_equal(ecmdq_read64(&r, 0x4020), 0);
	assert_int_equal(smmuv3_model_regs_size(r.m), 0x30000);
	rig_close(&r);
	rig_open(&r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ,
			.ecmdq_log2 = 7, .ecmdq_pages_log2 = 1 });
	assert_int_equal(rig_read(&r, SMMUV3_IDR6), 0x01070000);
	assert_int_equal(ecmdq_read64(&r, 0x4020), 0x30003);
	assert_int_equal(smmuv3_model_regs_size(r.m), 0x40000);
	rig_close(&r);
	rig_open(&r, NULL);
	assert_int_equal(rig_read(&r, SMMUV3_IDR1) >> 31, 0);
	assert_int_equal(rig_read(&r, SMMUV3_IDR6), 0);
	assert_int_equal(smmuv3_model_regs_size(r.m), 0x20000);
	rig_close(&r);
	assert_int_equal(smmuv3_model_regs_size(NULL), 0);
}

static void
test_ecmdq_configuration_is_checked(void **state)
{
	const struct smmuv3_model_conf bad[] = {
		{ .features = SMMUV3_MODEL_ECMDQ, .no_features = SMMUV3_MODEL_NO_MSI },
		{ .features = SMMUV3_MODEL_ECMDQ, .no_features = SMMUV3_MODEL_NO_COHACC },
		{ .features = SMMUV3_MODEL_ECMDQ, .ecmdq_log2 = 9 },
		{ .features = SMMUV3_MODEL_ECMDQ, .ecmdq_pages_log2 = 9 },
		{ .features = SMMUV3_MODEL_ECMDQ, .ecmdq_log2 = 7, .ecmdq_pages_log2 = 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		assert_null(smmuv3_model_create(&bad[i]));
		assert_int_equal(errno, EINVAL);
	}
}

static void
test_ecmdq_consumes_only_while_enabled(void **state)
{
	struct ecmdq q;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, &(struct smmuv3_model_conf){ .ack_delay = 2 });
	ecmdq_init(&q, &r, 3, 2, 6);
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_ring(&q);
	rig_run(&r);
	assert_int_equal(ecmdq_read_cons(&q), 6);
	q.flags = ECMDQ_EN;
	ecmdq_ring(&q);
	for (int i = 0; i < 2; i++) {
		smmuv3_model_step(r.m, 8);
		assert_int_equal(ecmdq_read_cons(&q), 6);
	}
	/* ENACK, and the command */
	smmuv3_model_step(r.m, 8);
	assert_int_equal(ecmdq_read_cons(&q), ECMDQ_ENACK | 7);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ECMDQ_COMMANDS), 1);
	/* EN = 0 with commands behind CONS: they stay. */
	ecmdq_put(&q, smmuv3_cmd_sync());
	q.flags = 0;
	ecmdq_ring(&q);
	for (int i = 0; i < 2; i++) {
		smmuv3_model_step(r.m, 8);
		assert_int_equal(ecmdq_read_cons(&q), ECMDQ_ENACK | 7);
	}
	smmuv3_model_step(r.m, 8);
	assert_int_equal(ecmdq_read_cons(&q), 7);
	rig_run(&r);
	assert_int_equal(ecmdq_read_cons(&q), 7);
	/* Enabled again, it goes on there, past the wrap. */
	ecmdq_enable(&q, true);
	assert_int_equal(ecmdq_read_pos(&q), 0);
	for (int i = 0; i < 9; i++)
		ecmdq_send(&q, smmuv3_cmd_sync());
	rig_close(&r);
}

static void
test_ecmdq_acknowledgement_can_be_withheld(void **state)
{
	struct ecmdq q;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	ecmdq_init(&q, &r, 0, 2, 0);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	q.flags = ECMDQ_EN;
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_ring(&q);
	rig_run(&r);
	assert_int_equal(ecmdq_read_cons(&q), 0);
	/* PROD is read-only until then. */
	rig_write(&r, q.at + SMMUV3_ECMDQ_PROD, 0);
	rig_run(&r);
	rig_expect_error(&r, "ECMDQ0_PROD written before EN was acknowledged");
	assert_int_equal(rig_read(&r, q.at + SMMUV3_ECMDQ_PROD), ECMDQ_EN | 1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	rig_run(&r);
	assert_int_equal(ecmdq_read_cons(&q), ECMDQ_ENACK | 1);
	rig_close(&r);
}

static void
test_ecmdq_registers_are_guarded(void **state)
{
	uint64_t base;
	struct ecmdq q;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	ecmdq_start(&q, &r, 2);
	base = ecmdq_read64(&r, q.at);
	smmuv3_write64(r.regs, q.at, 0x1234);
	rig_run(&r);
	rig_expect_error(&r, "ECMDQ2_BASE written while the queue is enabled");
	assert_int_equal(ecmdq_read64(&r, q.at), base);
	rig_write(&r, q.at + SMMUV3_ECMDQ_CONS, 5);
	rig_run(&r);
	rig_expect_error(&r, "ECMDQ2_CONS written while the queue is enabled");
	assert_int_equal(ecmdq_read_cons(&q), ECMDQ_ENACK);
	ecmdq_send(&q, smmuv3_cmd_sync());
	/* CR1.QUEUE_*, with the other queues off */
	rig_set_cr0(&r, 0);
	smmuv3_write32(r.regs, SMMUV3_CR1, 0xd00);
	rig_run(&r);
	rig_expect_error(&r, "CR1 written while");
	ecmdq_enable(&q, false);
	/* Written before EN, in the same step */
	smmuv3_write32(r.regs, SMMUV3_CR1, 0xd00);
	ecmdq_enable(&q, true);
	assert_int_equal(rig_read(&r, SMMUV3_CR1), 0xd00);
	ecmdq_enable(&q, false);
	/* All may be written now but ENACK. */
	smmuv3_write64(r.regs, q.at, base);
	rig_write(&r, q.at + SMMUV3_ECMDQ_CONS, 7);
	rig_write(&r, q.at + SMMUV3_ECMDQ_PROD, 9);
	rig_run(&r);
	assert_int_equal(smmuv3_model_driver_errors(r.m), 0);
	rig_write(&r, q.at + SMMUV3_ECMDQ_CONS, ECMDQ_ENACK | 7);
	rig_run(&r);
	rig_expect_error(&r, "ECMDQ2_CONS.ENACK written by software");
	assert_int_equal(ecmdq_read_cons(&q), 7);
	/* The registers of the page */
	smmuv3_write64(r.regs, SMMUV3_CMDQ_CP_BASE(0), 0);
	rig_run(&r);
	rig_expect_error(&r, "CMDQ_CONTROL_PAGE_BASE written although it is read-only");
	rig_write(&r, SMMUV3_CMDQ_CP_CFG(0), 0);
	rig_run(&r);
	rig_expect_error(&r, "CMDQ_CONTROL_PAGE_CFG written");
	rig_write(&r, SMMUV3_CMDQ_CP_STATUS(0), 0);
	rig_run(&r);
	rig_expect_error(&r, "CMDQ_CONTROL_PAGE_STATUS written");
	rig_write(&r, SMMUV3_IDR6, 0);
	rig_run(&r);
	rig_expect_error(&r, "IDR6 written");
	assert_int_equal(ecmdq_read64(&r, SMMUV3_CMDQ_CP_BASE(0)), 0x20003);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CP_CFG(0)), 1);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CP_STATUS(0)), 1);
	rig_close(&r);
}

/* An error at the @p at-th of @p nb commands: that queue stops there, others go on. */
static void
check_error_at(struct ecmdq *q, struct ecmdq *other, unsigned int nb, unsigned int at)
{
	uint32_t bad = 0;

	for (unsigned int i = 0; i < nb; i++) {
		if (i == at)
			bad = q->prod;
		ecmdq_put(q, i == at ? illegal : smmuv3_cmd_sync());
	}
	ecmdq_ring(q);
	rig_run(q->r);
	ecmdq_expect_error(q, SMMUV3_CERROR_ILL, bad);
	assert_true(is_active(q->r, SMMUV3_GERROR_CMDQP_ERR));
	assert_false(is_active(q->r, SMMUV3_GERROR_CMDQ_ERR));
	ecmdq_send(other, smmuv3_cmd_sync());
	rig_sync(q->r);
	/* The acknowledgement in GERRORN has no effect on the queue. */
	q->ring[smmuv3_q_slot(q->log2, bad)] = smmuv3_cmd_sync();
	ack_gerror(q->r);
	assert_false(is_active(q->r, SMMUV3_GERROR_CMDQP_ERR));
	ecmdq_expect_error(q, SMMUV3_CERROR_ILL, bad);
	ecmdq_ack_error(q);
	assert_int_equal(ecmdq_read_pos(q), q->prod);
	assert_int_equal((ecmdq_read_cons(q) ^ q->flags) & ECMDQ_ERR, 0);
}

static void
test_ecmdq_error_stops_its_queue_alone(void **state)
{
	struct ecmdq q, other;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	ecmdq_init(&q, &r, 0, 3, 0);
	ecmdq_enable(&q, true);
	ecmdq_start(&other, &r, 1);
	for (unsigned int round = 0; round < 8; round++) {
		check_error_at(&q, &other, 5, 0);
		check_error_at(&q, &other, 5, 2);
		check_error_at(&q, &other, 5, 4);
		check_error_at(&q, &other, 8, 7);
	}
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_CERRORS), 32);
	/* An error of the CMDQ does not stop ECMDQs. */
	rig_put(&r, illegal);
	rig_ring(&r);
	rig_run(&r);
	assert_true(is_active(&r, SMMUV3_GERROR_CMDQ_ERR));
	ecmdq_send(&q, smmuv3_cmd_sync());
	rig_close(&r);
}

static void
test_ecmdq_errors_of_several_queues_share_gerror(void **state)
{
	struct ecmdq q[3];
	uint32_t gerror;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	for (unsigned int i = 0; i < 3; i++)
		ecmdq_start(&q[i], &r, i);
	ecmdq_put(&q[0], illegal);
	ecmdq_ring(&q[0]);
	rig_run(&r);
	gerror = rig_read(&r, SMMUV3_GERROR);
	assert_int_equal(gerror, SMMUV3_GERROR_CMDQP_ERR);
	/* While it is active GERROR does not change, but CONS of the queue does. */
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	ecmdq_put(&q[1], smmuv3_cmd_sync());
	ecmdq_ring(&q[1]);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), gerror);
	ecmdq_expect_error(&q[1], SMMUV3_CERROR_ABT, 0);
	ack_gerror(&r);
	/* The next error activates it again, while two queues still have theirs. */
	ecmdq_put(&q[2], illegal);
	ecmdq_ring(&q[2]);
	rig_run(&r);
	assert_true(is_active(&r, SMMUV3_GERROR_CMDQP_ERR));
	ecmdq_expect_error(&q[0], SMMUV3_CERROR_ILL, 0);
	ecmdq_ack_error(&q[1]);
	assert_int_equal(ecmdq_read_pos(&q[1]), 1);
	/* Acknowledged without a repair: the same error again. */
	ack_gerror(&r);
	ecmdq_ack_error(&q[0]);
	ecmdq_expect_error(&q[0], SMMUV3_CERROR_ILL, 0);
	assert_true(is_active(&r, SMMUV3_GERROR_CMDQP_ERR));
	rig_close(&r);
}

static void
write_gerrorn(void *ctx)
{
	struct rig *r = ctx;

	rig_write(r, SMMUV3_GERRORN, rig_read(r, SMMUV3_GERROR));
}

/* Software that has acknowledged has read the CONS of each queue, perhaps before this error. */
static void
test_an_ecmdq_error_just_after_an_acknowledgement_activates_gerror(void **state)
{
	static struct cmd_trace trace;
	struct ecmdq q[2];
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	for (unsigned int i = 0; i < 2; i++)
		ecmdq_start(&q[i], &r, i);
	ecmdq_put(&q[0], illegal);
	ecmdq_ring(&q[0]);
	rig_run(&r);
	assert_true(is_active(&r, SMMUV3_GERROR_CMDQP_ERR));
	cmd_trace_open(&trace, r.m);
	cmd_trace_begin(&trace, 1, write_gerrorn, &r);
	ecmdq_put(&q[1], smmuv3_cmd_tlbi_nsnh_all());
	ecmdq_put(&q[1], illegal);
	ecmdq_ring(&q[1]);
	rig_run(&r);
	cmd_trace_end(&trace);
	assert_true(trace.fired);
	ecmdq_expect_error(&q[1], SMMUV3_CERROR_ILL, 1);
	assert_true(is_active(&r, SMMUV3_GERROR_CMDQP_ERR));
	rig_close(&r);
}

static void
test_ecmdq_prod_moves_back_with_an_error_only(void **state)
{
	struct ecmdq q;
	struct rig r;

	(void)state;
	open_one(&r, &q);
	ecmdq_put(&q, illegal);
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_ring(&q);
	rig_run(&r);
	/* In the store that acknowledges the error */
	q.prod = 0;
	ecmdq_ack_error(&q);
	assert_int_equal(ecmdq_read_pos(&q), 0);
	assert_int_equal((ecmdq_read_cons(&q) ^ q.flags) & ECMDQ_ERR, 0);
	assert_int_equal(smmuv3_model_driver_errors(r.m), 0);
	ecmdq_send(&q, smmuv3_cmd_sync());
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_ring(&q);
	rig_run(&r);
	q.prod--;
	ecmdq_ring(&q);
	rig_run(&r);
	rig_expect_error(&r, "ECMDQ0_PROD moved back");
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	rig_run(&r);
	assert_int_equal(ecmdq_read_pos(&q), 1);
	/* EN 0 and 1 starts the queue again. */
	ecmdq_enable(&q, false);
	ecmdq_enable(&q, true);
	assert_int_equal(ecmdq_read_pos(&q), 2);
	rig_write(&r, q.at + SMMUV3_ECMDQ_PROD, q.flags | 20);
	rig_run(&r);
	rig_expect_error(&r, "ECMDQ0_PROD 0x14 is out of range for CONS 0x2");
	rig_close(&r);
}

static void
test_ecmdq_errack_without_an_error_is_reported(void **state)
{
	struct ecmdq q;
	struct rig r;

	(void)state;
	open_one(&r, &q);
	q.flags ^= ECMDQ_ERRACK;
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_ring(&q);
	rig_run(&r);
	rig_expect_error(&r, "ECMDQ0_PROD.ERRACK changed while no error is active");
	assert_int_equal(ecmdq_read_pos(&q), 0);
	/* The queue can be disabled; enabled with the mismatch it is wrong again. */
	ecmdq_enable(&q, false);
	ecmdq_enable(&q, true);
	rig_expect_error(&r, "ECMDQ0 enabled while ERRACK differs from ERR");
	assert_int_equal(ecmdq_read_pos(&q), 0);
	/* Disabled, made consistent, enabled: [3.5.6.3]. */
	ecmdq_enable(&q, false);
	rig_write(&r, q.at + SMMUV3_ECMDQ_CONS, ecmdq_read_cons(&q) ^ ECMDQ_ERR);
	ecmdq_enable(&q, true);
	assert_int_equal(ecmdq_read_pos(&q), 1);
	ecmdq_send(&q, smmuv3_cmd_sync());
	rig_close(&r);
}

static void
test_ecmdq_disable_completes_with_an_error(void **state)
{
	struct ecmdq q;
	struct rig r;

	(void)state;
	open_one(&r, &q);
	ecmdq_put(&q, illegal);
	ecmdq_ring(&q);
	rig_run(&r);
	ecmdq_enable(&q, false);
	ecmdq_expect_error(&q, SMMUV3_CERROR_ILL, 0);
	q.flags ^= ECMDQ_ERRACK;
	q.ring[0] = smmuv3_cmd_sync();
	ecmdq_enable(&q, true);
	assert_int_equal(ecmdq_read_pos(&q), 1);
	rig_close(&r);
}

static void
test_ecmdq_does_not_depend_on_cr0(void **state)
{
	struct ecmdq q;
	struct rig r;

	(void)state;
	open_one(&r, &q);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_EVENTQEN);
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	ecmdq_send(&q, smmuv3_cmd_cfgi_all());
	ecmdq_send(&q, smmuv3_cmd_sync());
	assert_int_not_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	rig_set_cr0(&r, 0);
	ecmdq_send(&q, smmuv3_cmd_sync());
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	rig_close(&r);
}

static void
test_ecmdq_loses_its_state_with_the_power(void **state)
{
	struct ecmdq q;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	ecmdq_start(&q, &r, 15);
	rig_set_cr0(&r, 0);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	ecmdq_put(&q, smmuv3_cmd_sync());
	ecmdq_ring(&q);
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	rig_expect_error(&r, "with commands that are not consumed");
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	rig_run(&r);
	assert_int_equal(smmuv3_model_power_on(r.m), 0);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_IDR6), 0x00040000);
	assert_int_equal(ecmdq_read64(&r, SMMUV3_CMDQ_CP_BASE(0)), 0x20003);
	/* Indices are UNKNOWN, the four flags 0. */
	for (uint32_t at = 0x20000; at < 0x30000; at += 0x1000) {
		assert_int_equal(rig_read(&r, at + SMMUV3_ECMDQ_PROD) &
				(ECMDQ_EN | ECMDQ_ERRACK), 0);
		assert_int_equal(ecmdq_read_cons(&(struct ecmdq){ .r = &r, .at = at }) &
				(ECMDQ_ENACK | ECMDQ_ERR), 0);
	}
	assert_int_not_equal(rig_read(&r, q.at + SMMUV3_ECMDQ_PROD), 0);
	ecmdq_start(&q, &r, 15);
	ecmdq_send(&q, smmuv3_cmd_sync());
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	TEST_WITHOUT_ECMDQS(test_ecmdq_is_identified),
	cmocka_unit_test(test_ecmdq_configuration_is_checked),
	cmocka_unit_test(test_ecmdq_consumes_only_while_enabled),
	cmocka_unit_test(test_ecmdq_acknowledgement_can_be_withheld),
	cmocka_unit_test(test_ecmdq_registers_are_guarded),
	cmocka_unit_test(test_ecmdq_error_stops_its_queue_alone),
	cmocka_unit_test(test_ecmdq_errors_of_several_queues_share_gerror),
	cmocka_unit_test(test_an_ecmdq_error_just_after_an_acknowledgement_activates_gerror),
	cmocka_unit_test(test_ecmdq_prod_moves_back_with_an_error_only),
	cmocka_unit_test(test_ecmdq_errack_without_an_error_is_reported),
	cmocka_unit_test(test_ecmdq_disable_completes_with_an_error),
	cmocka_unit_test(test_ecmdq_does_not_depend_on_cr0),
	cmocka_unit_test(test_ecmdq_loses_its_state_with_the_power),
};

TEST_SUITE(model_ecmdq, tests, NULL, NULL);
