/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What ends the trip of a stall breaker: accesses stall again. */

#include <errno.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "iopf_handler.h"
#include "iopf_stats.h"
#include "test.h"
#include "trip_rig.h"

static struct iopf_storm_conf conf;

static void
a_rearm_has_accesses_stall_again(void **state)
{
	struct iopf_episode episode;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		tripped.times = 0;
		if (i != 0)
			ctl_setup(NULL);
		trip_open(i == 0 ? &trip_by_number : &trip_by_rate);
		trip_await_calls(1);
		/* Nothing ends it without quiet_ms. */
		usleep(20000);
		assert_false(hw.stalls);
		assert_true(trip_is_tripped());
		assert_false(iopf_domain_is_tripped(ctl.domain[1], ctl.dev[0], IOPF_NO_PASID));
		assert_false(iopf_domain_is_tripped(ctl.domain[0], ctl.dev[0], 3));
		/* The driver does not manage to let accesses stall at first. */
		hw.knobs[ARRAY_STALL_SET].fail = -EIO;
		hw.knobs[ARRAY_STALL_SET].nb_fail = UINT32_MAX;
		assert_int_equal(0, trip_rearm(&episode));
		assert_int_equal(3, episode.faults);
		trip_expect_first(&episode);
		usleep(20000);
		assert_true(trip_is_tripped());
		hw.knobs[ARRAY_STALL_SET].nb_fail = 0;
		while (trip_is_tripped())
			usleep(100);
		assert_true(hw.stalls);
		/* It stands at 0 again: as many faults as the limit are served. */
		for (unsigned int n = 0; n < LIMIT; n++)
			trip_expect_served(0);
		assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
		if (i == 0)
			ctl_teardown(NULL);
	}
}

static void
a_rearm_in_the_callback_ends_the_trip(void **state)
{
	(void)state;
	tripped.rearm = true;
	trip_open(&trip_by_number);
	trip_await_calls(1);
	trip_await_end();
	assert_true(hw.stalls);
	assert_int_equal(-ENOENT, trip_read_episode(NULL));
	trip_expect_served(0);
}

static void
a_quiet_time_has_accesses_stall_again(void **state)
{
	(void)state;
	conf = trip_by_number;
	conf.quiet_ms = 20;
	trip_open(&conf);
	trip_await_calls(1);
	trip_await_end();
	assert_true(hw.stalls);
	assert_int_equal(-ENOENT, trip_read_episode(NULL));
	trip_expect_served(0);
	/* The next storm trips it again. */
	ctl.verdict = IOPF_TAKEN;
	trip_put_stalls(0, LIMIT + 1);
	trip_poll_all();
	trip_await_calls(2);
	trip_expect_first(&tripped.episode);
	assert_int_equal(2, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
}

/* Aborted accesses are the evidence that the storm goes on. */
static void
aborted_accesses_prolong_the_trip(void **state)
{
	const uint64_t ms = rte_get_tsc_hz() / 1000;
	enum { QUIET = 400 };

	(void)state;
	conf = trip_by_number;
	conf.quiet_ms = QUIET;
	for (unsigned int round = 0; round < 10; round++) {
		uint64_t begin, last, gap = 0;

		tripped.times = 0;
		if (round != 0)
			ctl_setup(NULL);
		trip_open(&conf);
		trip_await_calls(1);
		begin = last = rte_rdtsc();
		while (rte_rdtsc() - begin < 2 * QUIET * ms) {
			trip_put(SID, IOPF_NO_PASID, 1, 0);
			trip_poll_all();
			usleep(1000);
			gap = RTE_MAX(gap, rte_rdtsc() - last);
			last = rte_rdtsc();
		}
		/* A test that did not run for so long cannot tell. */
		if (gap < QUIET / 2 * ms) {
			assert_false(hw.stalls);
			return;
		}
		ctl_teardown(NULL);
	}
	ctl_setup(NULL);
	test_skip("the machine is too busy");
}

static void
with_report_first_only_a_rearm_ends_the_episode(void **state)
{
	struct iopf_episode episode;

	(void)state;
	conf = trip_by_number;
	conf.report_first = true;
	conf.max_rate = 10;
	conf.quiet_ms = 20;
	ctl.storm = &conf;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_INVALID);
	trip_put_stalls(0, 1);
	trip_poll_all();
	assert_int_equal(0, trip_read_episode(&episode));
	assert_int_equal(0, episode.faults);
	/* The faults of the open episode trip it. */
	trip_put_stalls(1, 5);
	trip_poll_all();
	assert_int_equal(0, trip_read_episode(&episode));
	assert_int_equal(5, episode.faults);
	assert_int_equal(0, episode.trip_time);
	trip_put_stalls(6, 15);
	trip_poll_all();
	trip_await_calls(1);
	trip_expect_first(&tripped.episode);
	assert_int_equal(20, tripped.episode.faults);
	assert_true(tripped.episode.trip_time > episode.counted_to);
	assert_int_equal(tripped.episode.counted_to, tripped.episode.trip_time);
	trip_await_end();
	assert_true(hw.stalls);
	trip_put_stalls(21, 1);
	trip_poll_all();
	assert_int_equal(0, trip_rearm(&episode));
	assert_int_equal(21, episode.faults);
	assert_int_equal(tripped.episode.trip_time, episode.trip_time);
	trip_expect_served(0);
}

static const struct CMUnitTest tests[] = {
	TRIP_TEST(a_rearm_has_accesses_stall_again),
	TRIP_TEST(a_rearm_in_the_callback_ends_the_trip),
	TRIP_TEST(a_quiet_time_has_accesses_stall_again),
	TRIP_TEST(aborted_accesses_prolong_the_trip),
	TRIP_TEST(with_report_first_only_a_rearm_ends_the_episode),
};

TEST_SUITE(breaker_end, tests, NULL, NULL);
