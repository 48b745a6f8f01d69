/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A cell of the suite cmdq executes each command of its callers exactly once, and fails if the
 * queue under test does not.
 */

#include <errno.h>
#include <sched.h>
#include <string.h>

#include <rte_cycles.h>

#include "bench_stub.h"
#include "cmdq_suite.h"
#include "suite.h"
#include "test.h"

#define CELL_MS		20.0
#define MAX_CELL_MS	20000.0

static struct bench_conf conf;
static struct suite suite;

static int
set_up(void **state)
{
	(void)state;
	conf.cpu_model = sched_getcpu();
	suite.conf = &conf;
	suite.cycles_per_ns = (double)rte_get_tsc_hz() * 1e-9;
	return 0;
}

static int
run_once(const struct cmdq_impl *impl, enum cmdq_kind kind, unsigned int threads, double ms,
		struct cmdq_cell *cell)
{
	bench_stub_error[0] = '\0';
	*cell = (struct cmdq_cell){ .impl = impl, .kind = kind, .threads = threads };
	return cmdq_cell_run(&suite, cell, ms);
}

/* On a busy machine a cell may end before a call of a thread does: a longer one follows. */
static int
run(const struct cmdq_impl *impl, enum cmdq_kind kind, unsigned int threads, struct cmdq_cell *cell)
{
	double ms = CELL_MS;
	bool enough;
	int ret;

	do {
		ret = run_once(impl, kind, threads, ms, cell);
		enough = cell->rate > 0 && (kind != CMDQ_RESUME || cell->ahead.samples > 0);
		ms *= 2;
	} while (ret == 0 && !enough && ms <= MAX_CELL_MS);
	return ret;
}

static void
each_queue_executes_each_command_once(void **state)
{
	static const struct cmdq_impl *const impls[] = { &cmdq_driver, &cmdq_spinlock,
		&cmdq_gather, &counted_cmdq_driver, &counted_cmdq_spinlock,
		&counted_cmdq_gather };
	struct cmdq_cell cell;
	unsigned int i, kind;

	(void)state;
	for (i = 0; i < sizeof(impls) / sizeof(impls[0]); i++) {
		for (kind = CMDQ_MAP; kind <= CMDQ_RESUME; kind++) {
			assert_int_equal(0, run(impls[i], kind, 6, &cell));
			assert_string_equal("", bench_stub_error);
			assert_true(cell.rate > 0);
			assert_true(cell.prod_writes_per_cmd > 0);
			assert_int_equal(kind == CMDQ_RESUME, cell.ahead.samples > 0);
		}
	}
}

static void
one_caller_of_the_lock_needs_one_atomic_operation(void **state)
{
	struct cmdq_cell cell;

	(void)state;
	assert_int_equal(0, run(&counted_cmdq_spinlock, CMDQ_MAP, 1, &cell));
	assert_true(cell.rmws_per_cmd == 1);
	assert_true(cell.syncs_per_call == 1);
	assert_int_equal(0, run(&cmdq_spinlock, CMDQ_MAP, 1, &cell));
	assert_true(cell.rmws_per_cmd == 0);
	assert_int_equal(0, run(&counted_cmdq_gather, CMDQ_MAP, 1, &cell));
	assert_true(cell.rmws_per_cmd >= 5);
}

/* The lock, with a mistake in one of its functions. */
static struct cmdq_impl broken;

static void
check_fails(enum cmdq_kind kind, const char *text)
{
	double ms = CELL_MS;
	struct cmdq_cell cell;
	int ret;

	/* A short cell may end before the mistake is made. */
	do {
		ret = run_once(&broken, kind, 4, ms, &cell);
		ms *= 2;
	} while (ret == 0 && ms <= MAX_CELL_MS);
	assert_int_equal(-EIO, ret);
	if (strstr(bench_stub_error, text) == NULL)
		fail_msg("\"%s\" is not in: %s", text, bench_stub_error);
}

static int
sync_without_wait(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	return cmdq_spinlock.post(queue, cmds, n);
}

static void
a_sync_that_does_not_wait_fails(void **state)
{
	(void)state;
	broken = cmdq_spinlock;
	broken.sync = sync_without_wait;
	check_fails(CMDQ_MAP, "went on before its TLBI");
}

static int
post_without_last(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	return cmdq_spinlock.post(queue, cmds, n - 1);
}

static void
a_lost_command_fails(void **state)
{
	(void)state;
	broken = cmdq_spinlock;
	broken.post = post_without_last;
	check_fails(CMDQ_MIXED, "was due");
}

static int
post_twice(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	int ret = cmdq_spinlock.post(queue, cmds, n);

	return ret < 0 ? ret : cmdq_spinlock.post(queue, &cmds[n - 1], 1);
}

static void
a_repeated_command_fails(void **state)
{
	(void)state;
	broken = cmdq_spinlock;
	broken.post = post_twice;
	check_fails(CMDQ_MIXED, "was due");
}

static _Atomic uint64_t posts;

/* The first posts are done, and no later one: what is lost is at the end. */
static int
post_first_only(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	return atomic_fetch_add(&posts, 1) < 8 ? cmdq_spinlock.post(queue, cmds, n) : 0;
}

static void
commands_lost_at_the_end_fail(void **state)
{
	(void)state;
	broken = cmdq_spinlock;
	broken.post = post_first_only;
	atomic_store(&posts, 0);
	check_fails(CMDQ_MIXED, "were executed");
}

static int
sync_fails(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	(void)queue;
	(void)cmds;
	(void)n;
	return -EIO;
}

static void
an_error_of_a_call_fails(void **state)
{
	(void)state;
	broken = cmdq_spinlock;
	broken.sync = sync_fails;
	check_fails(CMDQ_MAP, "a caller failed");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_queue_executes_each_command_once),
	cmocka_unit_test(one_caller_of_the_lock_needs_one_atomic_operation),
	cmocka_unit_test(a_sync_that_does_not_wait_fails),
	cmocka_unit_test(a_lost_command_fails),
	cmocka_unit_test(a_repeated_command_fails),
	cmocka_unit_test(commands_lost_at_the_end_fail),
	cmocka_unit_test(an_error_of_a_call_fails),
};

TEST_SUITE(suite_cmdq, tests, set_up, NULL);
