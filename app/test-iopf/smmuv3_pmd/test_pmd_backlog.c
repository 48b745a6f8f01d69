/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The backlog of a command queue. */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_pause.h>

#include "backlog.h"
#include "test.h"

#define RUN		32
#define RUNS		20000
#define WAIT_SPIN	1024

static void
test_a_full_backlog_refuses_commands_and_loses_none(void **state)
{
	struct smmuv3_backlog_entry entries[8] = { 0 };
	struct smmuv3_backlog b = { .mask = RTE_DIM(entries) - 1, .entries = entries };
	struct smmuv3_cmd cmds[RTE_DIM(entries)], cmd;
	unsigned int i, round;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (i = 0; i < RTE_DIM(cmds); i++)
			cmds[i] = (struct smmuv3_cmd){ .dw = { 100 * round + i, 0 } };
		assert_true(smmuv3_backlog_push(&b, cmds, 5));
		assert_false(smmuv3_backlog_push(&b, cmds, 4));
		assert_true(smmuv3_backlog_push(&b, &cmds[5], 3));
		assert_false(smmuv3_backlog_push(&b, cmds, 1));
		for (i = 0; i < RTE_DIM(cmds); i++) {
			assert_true(smmuv3_backlog_pop(&b, &cmd));
			assert_int_equal(cmd.dw[0], 100 * round + i);
		}
		assert_false(smmuv3_backlog_pop(&b, &cmd));
	}
}

static void
wait_once(unsigned int *waits)
{
	if (++*waits % WAIT_SPIN == 0)
		sched_yield();
	else
		rte_pause();
}

static void *
push_runs(void *arg)
{
	struct smmuv3_cmd cmds[RUN] = { 0 };
	struct smmuv3_backlog *b = arg;
	unsigned int i, run, waits = 0;

	for (run = 0; run < RUNS; run++) {
		for (i = 0; i < RUN; i++)
			cmds[i].dw[0] = (uint64_t)run * RUN + i;
		while (!smmuv3_backlog_push(b, cmds, RUN))
			wait_once(&waits);
	}
	return NULL;
}

/*
 * So the consumer, which stores PROD behind what it took, needs no second store for the rest. On a
 * machine with one CPU this test seldom sees a run that is published in part.
 */
static void
test_a_run_is_seen_whole_or_not_at_all(void **state)
{
	/* Room for one run: the consumer waits for each, and takes it while it is published. */
	struct smmuv3_backlog_entry *entries = calloc(RUN, sizeof(*entries));
	struct smmuv3_backlog b = { .mask = RUN - 1, .entries = entries };
	unsigned int taken, torn = 0, waits = 0;
	struct smmuv3_cmd cmd;
	pthread_t thread;

	(void)state;
	assert_non_null(entries);
	assert_int_equal(0, pthread_create(&thread, NULL, push_runs, &b));
	for (taken = 0; taken < RUN * RUNS;) {
		if (!smmuv3_backlog_pop(&b, &cmd)) {
			torn += taken % RUN != 0;
			wait_once(&waits);
			continue;
		}
		assert_int_equal(cmd.dw[0], taken);
		taken++;
	}
	pthread_join(thread, NULL);
	free(entries);
	assert_int_equal(torn, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_full_backlog_refuses_commands_and_loses_none),
	cmocka_unit_test(test_a_run_is_seen_whole_or_not_at_all),
};

TEST_SUITE(pmd_backlog, tests, NULL, NULL);
