/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Policies that meet faults and control calls in the order that a race would give. */

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "test.h"

#define RATE	10

static struct races {
	_Atomic unsigned int quarantined;	/* calls of the callback */
	_Atomic uint32_t ms;			/* of the last one */
	_Atomic unsigned int tripped;		/* calls of the callback */
} races;

static void
tell_quarantined(struct iopf_dev *dev, uint32_t ms, void *ctx)
{
	(void)dev;
	(void)ctx;
	races.ms = ms;
	races.quarantined++;
}

static void
tell_tripped(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		const struct iopf_episode *episode, void *ctx)
{
	(void)domain;
	(void)dev;
	(void)pasid;
	(void)episode;
	(void)ctx;
	races.tripped++;
}

static const struct iopf_dev_limits by_rate = {
	.quarantine_rate = RATE,
	.quarantine_ms = 50,
	.quarantined = tell_quarantined,
};

static int
races_setup(void **state)
{
	memset(&races, 0, sizeof(races));
	return ctl_setup(state);
}

static int
races_teardown(void **state)
{
	return ctl_teardown(state);
}

static void
poll_all(void)
{
	while (iopf_poll(ctl.poller) != 0)
		;
}

/* Poll until the word has the value. */
static void
await(_Atomic unsigned int *word, unsigned int value)
{
	for (unsigned int i = 0; i < 200000 && *word < value; i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_true(*word >= value);
}

/* Groups of one page request, of device 0. */
static void
put_requests(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
				.pasid = IOPF_NO_PASID, .token = i, .perm = IOPF_PERM_READ,
				.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
}

static void
storm_once(void)
{
	ctl.in_pci_op = NULL;
	put_requests(RATE + 5);
	poll_all();
}

/* The device is past its rate as soon as ATS is on, before the release has returned. */
static void
a_storm_during_the_release_quarantines_by_rate(void **state)
{
	uint64_t before;

	(void)state;
	ctl.limits = &by_rate;
	ctl_open(true, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(0, races.quarantined);
	ctl.in_pci_op = storm_once;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_null(ctl.in_pci_op);
	/* The policy thread blocks it, tells, and has it come back. */
	await(&races.quarantined, 2);
	assert_int_equal(0, races.ms);
	assert_int_equal(2, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_QUARANTINES));
	assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
	assert_false(hw.blocked);
	assert_true(ctl.dev[0]->pri_on);
	before = iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS);
	put_requests(1);
	poll_all();
	assert_int_equal(before + 1, iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS));
}

static bool
is_tripped(void)
{
	return iopf_domain_is_tripped(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID);
}

static int
rearm(void)
{
	return iopf_domain_rearm(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID, NULL);
}

/*
 * Between the re-arm and the next tick of the policy thread a fatal verdict opens an episode: the
 * trip ends all the same, and this episode stays open.
 */
static void
a_fatal_verdict_after_the_rearm_does_not_prolong_the_trip(void **state)
{
	struct iopf_episode episode;

	(void)state;
	for (unsigned int quiet_ms = 0; quiet_ms <= 20; quiet_ms += 20) {
		const struct iopf_storm_conf storm = { .report_first = true, .max_rate = RATE,
			.quiet_ms = quiet_ms, .tripped = tell_tripped };

		if (quiet_ms != 0)
			races_setup(NULL);
		ctl.storm = &storm;
		ctl_open(true, true);
		ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		put_requests(RATE + 3);
		await(&races.tripped, 1);
		/* No tick before the end of this. */
		pthread_mutex_lock(&ctl.dev[0]->lock);
		/* If this thread did not run for quiet_ms, the trip has ended by itself. */
		if (rearm() < 0)
			assert_int_not_equal(0, quiet_ms);
		ctl.verdict = IOPF_ANSWER(IOPF_INVALID);
		put_requests(1);
		poll_all();
		assert_int_equal(0, iopf_domain_episode(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID,
				&episode));
		assert_int_equal(0, episode.faults);
		assert_int_equal(0, episode.tripped);
		pthread_mutex_unlock(&ctl.dev[0]->lock);
		for (unsigned int i = 0; i < 100000 && is_tripped(); i++)
			usleep(100);
		assert_false(is_tripped());
		usleep(2000 * quiet_ms);
		assert_int_equal(0, rearm());
		if (quiet_ms == 0)
			ctl_teardown(NULL);
	}
}

/* The same before the cut: the callback of the trip is not called for the next episode. */
static void
a_trip_that_is_rearmed_before_the_cut_is_not_told(void **state)
{
	static const struct iopf_storm_conf storm = { .report_first = true, .max_rate = RATE,
		.tripped = tell_tripped };

	(void)state;
	ctl.storm = &storm;
	ctl_open(true, true);
	/* No tick before the end of this. */
	pthread_mutex_lock(&ctl.dev[0]->lock);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put_requests(RATE + 3);
	poll_all();
	assert_true(is_tripped());
	assert_int_equal(0, rearm());
	ctl.verdict = IOPF_ANSWER(IOPF_INVALID);
	put_requests(1);
	poll_all();
	pthread_mutex_unlock(&ctl.dev[0]->lock);
	for (unsigned int i = 0; i < 100000 && is_tripped(); i++)
		usleep(100);
	assert_false(is_tripped());
	assert_int_equal(0, races.tripped);
	assert_int_equal(0, rearm());
}

#define RACES_TEST(fn) cmocka_unit_test_setup_teardown(fn, races_setup, races_teardown)

static const struct CMUnitTest tests[] = {
	RACES_TEST(a_storm_during_the_release_quarantines_by_rate),
	RACES_TEST(a_fatal_verdict_after_the_rearm_does_not_prolong_the_trip),
	RACES_TEST(a_trip_that_is_rearmed_before_the_cut_is_not_told),
};

TEST_SUITE(policy_races, tests, NULL, NULL);
