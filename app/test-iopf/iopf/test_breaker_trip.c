/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What trips the stall breaker of a domain, and what becomes of the faults meanwhile. */

#include <errno.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "attachment.h"
#include "breaker.h"
#include "episode.h"
#include "iopf_handler.h"
#include "iopf_stats.h"
#include "rcu.h"
#include "test.h"
#include "trip_rig.h"

/* The policy thread may answer the stalls below the limit before, between or after these. */
static bool
is_refused(uint16_t token)
{
	for (unsigned int i = 0; i < hw.nb_out; i++)
		if (hw.out[i].answer.token == token)
			return hw.out[i].answer.code == IOPF_INVALID;
	return false;
}

static void
more_stalls_than_the_limit_trip_the_breaker(void **state)
{
	(void)state;
	trip_open(&trip_by_number);
	/* The poll thread refuses from the fault on that is past the limit. */
	assert_true(hw.nb_out >= 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(is_refused(LIMIT + i));
	trip_await_calls(1);
	assert_int_equal(-EDEADLK, tripped.ret);
	assert_false(hw.stalls);
	assert_false(hw.blocked);
	/* All that was held is answered. */
	assert_int_equal(LIMIT + 3, hw.nb_out);
	assert_int_equal(0, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(LIMIT, iopf_domain_stat(ctl.domain[0], IOPF_STAT_CANCELLED));
	assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
	trip_expect_first(&tripped.episode);
	/* The policy thread may serve the trip while the poll thread refuses the others. */
	assert_in_range(tripped.episode.faults, 1, 3);
	assert_int_equal(tripped.episode.faults, tripped.episode.stalls);
	/* It tripped at the first fault that is counted. */
	assert_int_equal(tripped.episode.counted_from, tripped.episode.trip_time);
	assert_int_equal(ADDR + 0x1000 * LIMIT, tripped.episode.lowest);
	/* Another device is served. */
	trip_expect_served(1);
}

static void
a_higher_rate_than_the_limit_trips_the_breaker(void **state)
{
	(void)state;
	trip_open(&trip_by_rate);
	assert_int_equal(LIMIT, iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS));
	assert_int_equal(3, iopf_domain_stat(ctl.domain[0], IOPF_STAT_INVALID));
	trip_await_calls(1);
	assert_false(hw.stalls);
	trip_expect_first(&tripped.episode);
	assert_in_range(tripped.episode.faults, 1, 3);
	trip_expect_served(1);
}

/* The policy thread may serve a trip at once: the fault is in the episode before. */
static void
a_trip_is_served_after_its_fault_is_counted(void **state)
{
	struct iopf_fault fault = { .addr = ADDR, .sid = SID, .pasid = IOPF_NO_PASID,
		.flags = IOPF_FAULT_STALLED, .queue = IOPF_QUEUE_EVENTS };
	const struct iopf_fault *faults = &fault;
	struct iopf_attachment *attachment;
	bool is_early, is_counted;
	unsigned int trips = 0;

	(void)state;
	ctl.storm = &trip_by_rate;
	ctl_open(false, true);
	attachment = LIST_FIRST(&ctl.dev[0]->attachments);
	fault.time = rte_rdtsc();
	iopf_rcu_read_lock();
	for (unsigned int i = 0; i <= LIMIT; i++)
		trips += iopf_breaker_count(attachment, &faults);
	usleep(5000);
	is_early = trip_is_tripped() || tripped.times != 0;
	is_counted = iopf_episode_count(attachment, &faults, 1, true);
	iopf_breaker_publish_trip(attachment);
	iopf_rcu_read_unlock();
	assert_int_equal(1, trips);
	assert_false(is_early);
	assert_true(is_counted);
	assert_true(trip_is_tripped());
	trip_await_calls(1);
	assert_int_equal(1, tripped.episode.faults);
	assert_int_equal(fault.time, tripped.episode.trip_time);
}

/* Answered stalls do not count, by whatever way they were answered. */
static void
stalls_that_are_answered_do_not_count(void **state)
{
	_Atomic uint32_t *held;

	(void)state;
	ctl.storm = &trip_by_number;
	ctl_open(false, true);
	for (unsigned int round = 0; round < 20; round++) {
		unsigned int out = hw.nb_out;

		/* By the deferred handler, and by the handler. */
		ctl.verdict = round % 2 == 0 ? IOPF_DEFER : IOPF_ANSWER(IOPF_INVALID);
		trip_put_stalls(0, LIMIT);
		trip_poll_all();
		ctl_await_answers(out + LIMIT);
		/* A worker frees its slot after the answer. */
		held = &LIST_FIRST(&ctl.dev[0]->attachments)->breaker->held;
		for (unsigned int i = 0; i < 100000 && *held != 0; i++)
			usleep(100);
		assert_int_equal(0, *held);
	}
	/* A detach and an attach: the new attachment counts from 0. */
	ctl.verdict = IOPF_TAKEN;
	trip_put_stalls(0, LIMIT);
	trip_poll_all();
	assert_int_equal(-ENOENT, trip_read_episode(NULL));
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	trip_put_stalls(0, LIMIT);
	trip_poll_all();
	assert_int_equal(-ENOENT, trip_read_episode(NULL));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
}

static void
other_pasids_are_served(void **state)
{
	unsigned int out;

	(void)state;
	trip_open(&trip_by_number);
	trip_await_calls(1);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 3));
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	out = hw.nb_out;
	trip_put(SID, 3, 1, IOPF_EVENT_STALL);
	trip_put(SID, IOPF_NO_PASID, 2, IOPF_EVENT_STALL);
	trip_poll_all();
	assert_int_equal(out + 2, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[out].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[out + 1].answer.code);
}

/* Accesses abort now: their records are counted in the episode, and not reported. */
static void
aborted_accesses_are_counted(void **state)
{
	struct iopf_episode episode;

	(void)state;
	trip_open(&trip_by_number);
	trip_await_calls(1);
	for (unsigned int i = 0; i < 10; i++)
		trip_put(SID, IOPF_NO_PASID, i, 0);
	trip_poll_all();
	assert_int_equal(0, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_REPORTS));
	assert_int_equal(0, trip_read_episode(&episode));
	assert_int_equal(13, episode.faults);
	assert_int_equal(10, episode.aborted);
	trip_expect_first(&episode);
}

static void
page_requests_trip_the_breaker(void **state)
{
	(void)state;
	ctl.storm = &trip_by_rate;
	ctl_open(true, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < LIMIT + 3; i++)
		array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
				.pasid = IOPF_NO_PASID, .token = i, .perm = IOPF_PERM_READ,
				.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	trip_poll_all();
	assert_int_equal(LIMIT + 3, hw.nb_out);
	for (unsigned int i = 0; i < LIMIT + 3; i++)
		assert_int_equal(i < LIMIT ? IOPF_SUCCESS : IOPF_INVALID,
				hw.out[i].answer.code);
	trip_await_calls(1);
	assert_int_equal(3, tripped.episode.requests);
	assert_int_equal(0, hw.knobs[ARRAY_STALL_SET].calls);
}

static const struct CMUnitTest tests[] = {
	TRIP_TEST(more_stalls_than_the_limit_trip_the_breaker),
	TRIP_TEST(a_higher_rate_than_the_limit_trips_the_breaker),
	TRIP_TEST(a_trip_is_served_after_its_fault_is_counted),
	TRIP_TEST(stalls_that_are_answered_do_not_count),
	TRIP_TEST(page_requests_trip_the_breaker),
	TRIP_TEST(other_pasids_are_served),
	TRIP_TEST(aborted_accesses_are_counted),
};

TEST_SUITE(breaker_trip, tests, NULL, NULL);
