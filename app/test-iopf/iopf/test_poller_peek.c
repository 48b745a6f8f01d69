/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A pass of a poller with several queues leaves out those that peek idle: each is polled in its
 * turn, a record ends that at once, and what is due by time is not late.
 */

#include <unistd.h>

#include "fault_queue.h"
#include "iopf_poller.h"
#include "prg_rig.h"
#include "test.h"

#define NB_QUEUES	2
/* Within so many passes each queue has looked at the clock. */
#define CLOCK_PASSES	(IOPF_CLOCK_PASSES + NB_QUEUES)

static int
setup(void **state)
{
	array_has_peek = true;
	return prg_setup(state);
}

static int
teardown(void **state)
{
	array_has_peek = false;
	return prg_teardown(state);
}

static void
poll_idle(unsigned int passes)
{
	for (unsigned int i = 0; i < passes; i++)
		assert_int_equal(0, iopf_poll(prg.poller));
}

static void
check_polls(unsigned int passes, unsigned int each)
{
	const unsigned int before[NB_QUEUES] = { hw.q[0].polls, hw.q[1].polls };

	poll_idle(passes);
	for (unsigned int i = 0; i < NB_QUEUES; i++)
		assert_int_equal(each, hw.q[i].polls - before[i]);
}

static void
an_idle_queue_is_polled_in_its_turn(void **state)
{
	(void)state;
	poll_idle(NB_QUEUES);
	check_polls(100 * NB_QUEUES, 100);
}

static void
without_peek_each_pass_polls_each_queue(void **state)
{
	(void)state;
	poll_idle(NB_QUEUES);
	check_polls(100, 100);
}

/* Also after the last queue of a list that has shrunk, and with one queue. */
static void
a_change_of_the_list_keeps_the_turns(void **state)
{
	unsigned int polls;

	(void)state;
	for (unsigned int passes = 0; passes <= NB_QUEUES; passes++) {
		poll_idle(passes);
		assert_int_equal(0, iopf_poller_remove(prg.poller, prg.iommu, 0));
		polls = hw.q[1].polls;
		poll_idle(10);
		assert_int_equal(10, hw.q[1].polls - polls);
		assert_int_equal(0, iopf_poller_add(prg.poller, prg.iommu, 0));
		poll_idle(NB_QUEUES);
		check_polls(10 * NB_QUEUES, 10);
	}
}

/* Whichever queue has the turn. */
static void
the_next_pass_reads_a_record(void **state)
{
	unsigned int reads = 0;

	(void)state;
	for (unsigned int idle = 1; idle <= 2 * NB_QUEUES + 1; idle++) {
		poll_idle(idle);
		array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .sid = SID,
				.pasid = IOPF_NO_PASID, .reason = IOPF_REASON_OTHER });
		assert_int_equal(1, iopf_poll(prg.poller));
		assert_int_equal(++reads, prg.reported);
		poll_idle(idle);
		prg_put_group(SID, IOPF_NO_PASID, 1, 2);
		assert_int_equal(2, iopf_poll(prg.poller));
		assert_int_equal(reads, prg.called);
	}
}

static void
a_queue_with_records_is_polled_until_it_is_empty(void **state)
{
	(void)state;
	poll_idle(NB_QUEUES);
	for (unsigned int i = 0; i < 20; i++) {
		prg_put_group(SID, IOPF_NO_PASID, 1, 1);
		assert_int_equal(1, iopf_poll(prg.poller));
	}
	assert_int_equal(20, prg.called);
}

static void
a_held_group_expires_although_passes_are_left_out(void **state)
{
	(void)state;
	for (unsigned int idle = 1; idle <= CLOCK_PASSES; idle++) {
		prg.verdict = IOPF_TAKEN;
		prg_put_group(SID, IOPF_NO_PASID, 1, 1);
		assert_int_equal(1, iopf_poll(prg.poller));
		assert_int_equal(0, iopf_group_set_deadline(prg.last_id, 1));
		poll_idle(idle);
		usleep(5000);
		poll_idle(CLOCK_PASSES);
		assert_int_equal(idle, hw.nb_out);
		assert_int_equal(IOPF_INVALID, hw.out[hw.nb_out - 1].answer.code);
	}
}

static void
an_error_is_found_although_passes_are_left_out(void **state)
{
	(void)state;
	prg_mute_log(true);
	poll_idle(NB_QUEUES);
	for (unsigned int i = 1; i <= 5; i++) {
		hw.check = IOPF_CHECK_TERMINATED;
		usleep(5000);
		poll_idle(CLOCK_PASSES);
		assert_int_equal(0, hw.check);
		assert_int_equal(i, prg_stat(IOPF_IOMMU_STAT_RESETS));
	}
	prg_mute_log(false);
}

#define PEEK_TEST(test)	cmocka_unit_test_setup_teardown(test, setup, teardown)

static const struct CMUnitTest tests[] = {
	PEEK_TEST(an_idle_queue_is_polled_in_its_turn),
	PRG_TEST(without_peek_each_pass_polls_each_queue),
	PEEK_TEST(a_change_of_the_list_keeps_the_turns),
	PEEK_TEST(the_next_pass_reads_a_record),
	PEEK_TEST(a_queue_with_records_is_polled_until_it_is_empty),
	PEEK_TEST(a_held_group_expires_although_passes_are_left_out),
	PEEK_TEST(an_error_is_found_although_passes_are_left_out),
};

TEST_SUITE(poller_peek, tests, NULL, NULL);
