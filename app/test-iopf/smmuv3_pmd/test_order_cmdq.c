/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Barriers of the command queue: between its entries, its registers and the threads that use it. */

#include <rte_cycles.h>

#include "iopf_handler.h"
#include "order_rig.h"
#include "test.h"

/* Words that the SMMU may fetch are in memory before the command that makes it fetch them. */
static void
test_stores_come_before_each_doorbell(void **state)
{
	static const uint32_t doorbells[] = {
		SMMUV3_CMDQ_PROD, SMMUV3_CR0, SMMUV3_GERRORN, SMMUV3_IRQ_CTRL,
	};
	unsigned int i, at, seen;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	trail_start();
	pmd_start(&p, IOPF_STALL);
	/* The driver acknowledges a fetch that aborted, and the SMMU fetches again. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	order_send_answer(&p);
	pmd_step(&p);
	for (i = 0; i < 32; i++)
		p.ops->check(p.s);
	trail_stop();
	for (i = 0; i < RTE_DIM(doorbells); i++) {
		seen = 0;
		for (at = trail_find(0, WRITE, doorbells[i]); at < trail.n;
				at = trail_find(at + 1, WRITE, doorbells[i])) {
			/* The store of 0 to PROD of a disabled queue enables nothing. */
			if (trail.events[at].value == 0 && doorbells[i] == SMMUV3_CMDQ_PROD)
				continue;
			trail_expect_stores_before(at);
			seen++;
		}
		assert_true(seen > 0);
	}
	pmd_finish(&p, IOPF_NO_PASID);
}

/* An entry of the command queue is written after the read of the CONS that frees it. */
static void
test_entries_are_written_after_the_cons_that_frees_them(void **state)
{
	unsigned int at, seen = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 2 });
	pmd_start(&p, IOPF_STALL);
	trail_start();
	for (unsigned int i = 0; i < 16; i++) {
		order_send_answer(&p);
		pmd_step(&p);
	}
	trail_stop();
	for (at = trail_find(0, READ, SMMUV3_CMDQ_CONS); at < trail.n;
			at = trail_find(at + 1, READ, SMMUV3_CMDQ_CONS)) {
		/* smmuv3_load_status() logs its barrier, and then the access. */
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, RMB);
		seen++;
	}
	assert_true(seen > 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* cmdq_post.c, O2 and P2. */
static void
test_owner_and_poster_read_behind_a_full_barrier(void **state)
{
	unsigned int prod;
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_STALL);
	trail_start();
	order_send_answer(&p);
	trail_stop();
	prod = trail_expect(0, WRITE, SMMUV3_CMDQ_PROD);
	trail_expect(prod, MB, 0);

	assert_true(smmuv3_cmdq_try_own(&p.s->cmdq));
	trail_start();
	order_send_answer(&p);
	trail_stop();
	assert_int_equal(trail_find(0, WRITE, SMMUV3_CMDQ_PROD), trail.n);
	trail_expect(0, MB, 0);
	smmuv3_cmdq_disown(&p.s->cmdq);
	assert_false(smmuv3_backlog_has_cmd(&p.s->cmdq.backlog));
	pmd_finish(&p, IOPF_NO_PASID);
}

/* atc.c, B2: the table is changed before the list of ATCs is read. */
static void
test_the_list_of_atcs_is_read_behind_a_full_barrier(void **state)
{
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 4096, .leaf_log2 = 12,
		.leaf_only = true };
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_PRI);
	trail_start();
	p.ops->answer_after(p.s, p.domain, &inv, 1, NULL, 0);
	trail_stop();
	assert_true(trail_find(0, MB, 0) < trail_expect(0, WRITE, SMMUV3_CMDQ_PROD));
	pmd_step(&p);
	pmd_finish(&p, IOPF_NO_PASID);
}

/*
 * A stop completes while no other thread owns the command queue, and then the SMMU may have no
 * power: a call that does not own the queue reads no register, whatever its result is.
 */
static void
test_a_wait_reads_registers_as_the_owner_of_the_queue_only(void **state)
{
	const struct iopf_inv inv = { .all = true };
	struct iopf_inv_result result;
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_STALL);
	p.s->timeout = 1;
	assert_true(smmuv3_cmdq_try_own(&p.s->cmdq));
	trail_start();
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), -ETIMEDOUT);
	/* No command is executed any more. */
	assert_true(smmuv3_state_set_failed(&p.s->state));
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), -ETIMEDOUT);
	trail_stop();
	for (unsigned int i = 0; i < trail.n; i++)
		assert_int_not_equal(trail.events[i].kind, READ);
	smmuv3_cmdq_disown(&p.s->cmdq);
	p.s->timeout = rte_get_tsc_hz();
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_stores_come_before_each_doorbell),
	cmocka_unit_test(test_entries_are_written_after_the_cons_that_frees_them),
	cmocka_unit_test(test_owner_and_poster_read_behind_a_full_barrier),
	cmocka_unit_test(test_the_list_of_atcs_is_read_behind_a_full_barrier),
	cmocka_unit_test(test_a_wait_reads_registers_as_the_owner_of_the_queue_only),
};

TEST_SUITE(order_cmdq, tests, NULL, NULL);
