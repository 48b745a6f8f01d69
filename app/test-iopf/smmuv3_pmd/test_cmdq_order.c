/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The order of commands in a queue whose SMMU is this file: registers in an array, and a wait that
 * does what the test says.
 */

#include <stdlib.h>
#include <string.h>

#include "cmdq.h"
#include "cmdq_ring.h"
#include "smmuv3_cmd.h"
#include "test.h"

#define LOG2	6
#define BURST	32
#define LEFT	40	/* commands that a slow SMMU does not execute yet */

static struct {
	struct smmuv3_cmdq q;
	smmuv3_reg32_t word;
	smmuv3_state_word_t state;
	struct smmuv3_cmd ring[1 << LOG2];
	uint32_t regs[(SMMUV3_CMDQ_CONS + 64) / 4];
	unsigned int waits;
	void (*on_wait)(void);
} t __attribute__((aligned(SMMUV3_ALIGN)));

static void
begin_wait(void *ctx, struct smmuv3_wait *w)
{
	(void)ctx;
	memset(w, 0, sizeof(*w));
}

/* The SMMU executes all that it sees. */
static void
execute(void)
{
	uint32_t prod = smmuv3_read32(t.regs, SMMUV3_CMDQ_PROD);

	smmuv3_write32(t.regs, SMMUV3_CMDQ_CONS, prod);
	atomic_store_explicit(&t.word, t.q.sync_seq, memory_order_release);
}

static bool
wait_once(void *ctx, struct smmuv3_wait *w)
{
	(void)ctx;
	w->n++;
	t.waits++;
	if (t.on_wait != NULL)
		t.on_wait();
	else
		execute();
	return t.waits < 1000;
}

static int
get_no_error(void *ctx)
{
	(void)ctx;
	return 0;
}

static void
fail_test(void *ctx)
{
	(void)ctx;
	fail_msg("the queue has failed, or has lost an answer");
}

static void
ignore(void *ctx)
{
	(void)ctx;
}

static const struct smmuv3_cmdq_ops ops = {
	.wait_begin = begin_wait,
	.wait = wait_once,
	.closed_error = get_no_error,
	.on_failed = fail_test,
	.on_left = ignore,
	.on_answer_lost = fail_test,
	.ack_error = fail_test,
};

static int
open_queue(void **state)
{
	struct smmuv3_mem mem = { .va = t.ring, .addr = 0x10000 };

	(void)state;
	memset(&t, 0, sizeof(t));
	atomic_store(&t.state, SMMUV3_STATE_RUNNING);
	assert_int_equal(0, smmuv3_cmdq_open(&t.q, &(struct smmuv3_cmdq_conf){
		.name = "test", .ops = &ops, .state = &t.state, .regs = t.regs,
		.base_reg = SMMUV3_CMDQ_BASE, .prod_reg = SMMUV3_CMDQ_PROD,
		.cons_reg = SMMUV3_CMDQ_CONS, .word = &t.word, .word_addr = 0x20000,
		.backlog = 64,
	}));
	assert_int_equal(0, smmuv3_cmdq_set_ring(&t.q, &mem, LOG2));
	smmuv3_cmdq_setup(&t.q);
	return 0;
}

static int
close_queue(void **state)
{
	(void)state;
	smmuv3_cmdq_close(&t.q);
	return 0;
}

static unsigned int
get_op(unsigned int index)
{
	return SMMUV3_GET(SMMUV3_CMD0_OP, t.ring[index].dw[0]);
}

static void
post_resume(void)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_resume(8, 1, true, false);

	smmuv3_cmdq_post(&t.q, &cmd, 1);
}

static int
sync_tlbi(void)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_tlbi_nh_asid(0, 1);

	return smmuv3_cmdq_sync(&t.q, &cmd, 1, NULL);
}

static void
a_burst_costs_one_prod_write(void **state)
{
	struct smmuv3_cmd cmds[BURST];
	unsigned int i;

	(void)state;
	for (i = 0; i < BURST; i++)
		cmds[i] = smmuv3_cmd_resume(8, (uint16_t)i, true, false);
	smmuv3_cmdq_post(&t.q, cmds, BURST);
	assert_int_equal(1, atomic_load(&t.q.batches));
	assert_int_equal(BURST, smmuv3_read32(t.regs, SMMUV3_CMDQ_PROD));
	for (i = 0; i < BURST; i++)
		assert_memory_equal(&cmds[i], &t.ring[i], sizeof(cmds[i]));
}

static void
a_post_does_not_wait_for_the_owner(void **state)
{
	(void)state;
	assert_true(smmuv3_cmdq_try_own(&t.q));
	post_resume();
	assert_int_equal(0, t.waits);
	assert_int_equal(0, smmuv3_read32(t.regs, SMMUV3_CMDQ_PROD));
	smmuv3_cmdq_disown(&t.q);
	assert_int_equal(1, smmuv3_read32(t.regs, SMMUV3_CMDQ_PROD));
	assert_int_equal(SMMUV3_OP_RESUME, get_op(0));
}

/* While a call waits for the owner: an answer is posted, then the owner leaves without a look. */
static void
post_and_release(void)
{
	post_resume();
	t.on_wait = NULL;
	smmuv3_cmdq_clear_owner(&t.q);
}

static void
an_answer_is_ahead_of_invalidations_that_are_not_published(void **state)
{
	(void)state;
	assert_true(smmuv3_cmdq_try_own(&t.q));
	t.on_wait = post_and_release;
	assert_int_equal(0, sync_tlbi());
	assert_int_equal(SMMUV3_OP_RESUME, get_op(0));
	assert_int_equal(SMMUV3_OP_TLBI_NH_ASID, get_op(1));
	assert_int_equal(SMMUV3_OP_SYNC, get_op(2));
	/* The answer has a PROD write of its own: it was published before the others. */
	assert_int_equal(2, atomic_load(&t.q.batches));
}

static void
an_answer_in_the_backlog_goes_before_a_later_one(void **state)
{
	const struct smmuv3_cmd later = smmuv3_cmd_resume(8, 2, true, false);

	(void)state;
	assert_true(smmuv3_cmdq_try_own(&t.q));
	post_resume();
	smmuv3_cmdq_clear_owner(&t.q);
	smmuv3_cmdq_post(&t.q, &later, 1);
	assert_int_equal(2, smmuv3_read32(t.regs, SMMUV3_CMDQ_PROD));
	assert_int_equal(1, SMMUV3_GET(SMMUV3_RESUME1_STAG, t.ring[0].dw[1]));
	assert_memory_equal(&later, &t.ring[1], sizeof(later));
}

static void
a_call_alone_waits_once(void **state)
{
	(void)state;
	assert_int_equal(0, sync_tlbi());
	assert_int_equal(1, t.waits);
	assert_int_equal(1, atomic_load(&t.q.batches));
	assert_int_equal(2, smmuv3_read32(t.regs, SMMUV3_CMDQ_PROD));
}

/* Entries are free when CONS says so, in each position of a ring that wraps. */
static void
a_full_queue_keeps_the_order(void **state)
{
	struct smmuv3_cmd cmds[BURST + 5];
	unsigned int i, k, stag = 0, seen = 0;

	(void)state;
	for (k = 0; k < 200; k++) {
		for (i = 0; i < BURST + 5; i++)
			cmds[i] = smmuv3_cmd_resume(8, (uint16_t)stag++, true, false);
		smmuv3_cmdq_post(&t.q, cmds, BURST + 5);
		do {
			uint32_t prod = smmuv3_read32(t.regs, SMMUV3_CMDQ_PROD);
			uint32_t cons = smmuv3_read32(t.regs, SMMUV3_CMDQ_CONS);

			assert_true(smmuv3_q_legal(LOG2, prod, cons));
			for (; smmuv3_q_count(LOG2, prod, cons) > LEFT;
					cons = smmuv3_q_add(LOG2, cons, 1))
				assert_int_equal((uint16_t)seen++,
						SMMUV3_GET(SMMUV3_RESUME1_STAG, t.ring[
						smmuv3_q_slot(LOG2, cons)].dw[1]));
			smmuv3_write32(t.regs, SMMUV3_CMDQ_CONS, cons);
			smmuv3_cmdq_try_flush(&t.q);
		} while (smmuv3_backlog_has_cmd(&t.q.backlog));
	}
	assert_true(atomic_load(&t.q.full) > 0);
	assert_true(stag - seen <= 1 << LOG2);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(a_burst_costs_one_prod_write, open_queue, close_queue),
	cmocka_unit_test_setup_teardown(a_post_does_not_wait_for_the_owner, open_queue,
			close_queue),
	cmocka_unit_test_setup_teardown(an_answer_is_ahead_of_invalidations_that_are_not_published,
			open_queue, close_queue),
	cmocka_unit_test_setup_teardown(an_answer_in_the_backlog_goes_before_a_later_one,
			open_queue, close_queue),
	cmocka_unit_test_setup_teardown(a_call_alone_waits_once, open_queue, close_queue),
	cmocka_unit_test_setup_teardown(a_full_queue_keeps_the_order, open_queue, close_queue),
};

TEST_SUITE(cmdq_order, tests, NULL, NULL);
