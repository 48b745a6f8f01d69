/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Policies that meet faults and control calls in the order that a race would give. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "quarantine.h"
#include "test.h"

#define RATE	10

static struct races {
	_Atomic unsigned int quarantined;	/* calls of the callback */
	_Atomic uint32_t ms;			/* of the last one */
	_Atomic unsigned int tripped;		/* calls of the callback */
	_Atomic bool hold;			/* callbacks wait while set */
	struct iopf_dev *other;			/* a device of the test's own */
	_Atomic unsigned int blocked;		/* blocks that begin */
	_Atomic bool had_ats;			/* at the begin of one */
	_Atomic unsigned int unblocked;		/* blocks that end */
	_Atomic unsigned int held;		/* by handlers of domain 0, at the last end */
} races;

static void
tell_quarantined(struct iopf_dev *dev, uint32_t ms, void *ctx)
{
	(void)dev;
	(void)ctx;
	races.ms = ms;
	races.quarantined++;
	while (races.hold)
		usleep(100);
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
	if (races.other == NULL) {
		while (races.hold)
			usleep(100);
		return;
	}
	/* The policy thread serves it next, in the same tick. */
	races.other->limits.quarantine = IOPF_QUARANTINE_WANTED;
	iopf_policy_want(&races.other->policy);
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
	races.hold = false;
	if (races.other != NULL)
		assert_int_equal(0, iopf_dev_remove(races.other));
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
		assert_int_equal(0, episode.trip_time);
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

/* The IOMMU may use the tokens of the stalls that the block has ended from here on. */
static void
count_held(bool on)
{
	if (on)
		return;
	races.held = iopf_domain_pending(ctl.domain[0]);
	races.unblocked++;
}

/* The record of a stall that the block has ended is unread when the block is to end. */
static void
a_release_refuses_the_records_from_before(void **state)
{
	unsigned int out;

	(void)state;
	ctl_open(false, true);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	ctl.verdict = IOPF_TAKEN;
	/* The release reads it itself. */
	assert_int_equal(0, iopf_poller_remove(ctl.poller, ctl.iommu, IOPF_QUEUE_ALL));
	ctl_put_stall(0, 20);
	out = hw.nb_out;
	hw.on_block = count_held;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	hw.on_block = NULL;
	assert_int_equal(0, iopf_poller_add(ctl.poller, ctl.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(1, races.unblocked);
	assert_int_equal(0, races.held);
	assert_int_equal(0, ctl.last_id);
	assert_int_equal(out + 1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[out].answer.code);
}

static void
stall_at_the_end(bool on)
{
	if (on)
		return;
	ctl_put_stall(0, 20);
	poll_all();
}

/* The first access stalls before the driver's call returns. Its rate was used up by the storm. */
static void
a_device_comes_back_with_a_full_rate(void **state)
{
	static struct iopf_dev_limits limits;
	uint64_t before;

	(void)state;
	limits = by_rate;
	limits.rate = RATE;
	limits.quarantine_ms = 1000000;
	ctl.limits = &limits;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < RATE + 1; i++)
		ctl_put_stall(0, i);
	poll_all();
	await(&races.quarantined, 1);
	before = iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS);
	hw.on_block = stall_at_the_end;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	hw.on_block = NULL;
	assert_int_equal(before + 1, iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS));
	assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
}

static void
storm_at_the_end(bool on)
{
	if (on)
		return;
	hw.on_block = NULL;
	for (unsigned int i = 0; i < RATE + 5; i++)
		ctl_put_stall(0, i);
	poll_all();
}

/* The same as a_storm_during_the_release_quarantines_by_rate(), for stalls. */
static void
a_storm_at_the_end_of_the_block_quarantines_by_rate(void **state)
{
	(void)state;
	ctl.limits = &by_rate;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	hw.on_block = storm_at_the_end;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	await(&races.quarantined, 2);
	assert_int_equal(0, races.ms);
	assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
}

/*
 * An IOMMU that can only stall: the trip blocks the device. A handler takes the stale record after
 * the re-arm. A new stall with the same token does not get its answer.
 */
static void
a_stall_from_before_is_answered_before_the_block_ends(void **state)
{
	static const struct iopf_storm_conf storm = { .max_rate = RATE, .abort_device = true,
		.tripped = tell_tripped };
	uint64_t stale;
	unsigned int out;

	(void)state;
	hw.stall_forced = true;
	ctl.storm = &storm;
	ctl_open(false, true);
	hw.stall_forced = false;
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < RATE + 1; i++)
		ctl_put_stall(0, i);
	poll_all();
	await(&races.tripped, 1);
	assert_true(hw.blocked);
	hw.on_block = count_held;
	/* No tick before the end of this. */
	pthread_mutex_lock(&ctl.dev[0]->lock);
	assert_int_equal(0, rearm());
	ctl.verdict = IOPF_TAKEN;
	ctl_put_stall(0, 20);
	poll_all();
	stale = ctl.last_id;
	assert_int_equal(1, iopf_domain_pending(ctl.domain[0]));
	pthread_mutex_unlock(&ctl.dev[0]->lock);
	for (unsigned int i = 0; i < 100000 && is_tripped(); i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_false(is_tripped());
	assert_int_equal(1, races.unblocked);
	assert_int_equal(0, races.held);
	out = hw.nb_out;
	ctl_put_stall(0, 20);
	poll_all();
	assert_int_equal(-ESTALE, iopf_group_respond(stale, IOPF_SUCCESS));
	assert_int_equal(out, hw.nb_out);
	assert_int_equal(0, iopf_group_respond(ctl.last_id, IOPF_SUCCESS));
	assert_int_equal(out + 1, hw.nb_out);
}

/* The block of a breaker, at an attach of another PASID. */
static void
an_attach_ends_no_block_that_is_needed(void **state)
{
	static const struct iopf_storm_conf storm = { .max_rate = RATE, .abort_device = true,
		.tripped = tell_tripped };

	(void)state;
	hw.stall_forced = true;
	ctl.storm = &storm;
	ctl_open(false, true);
	hw.stall_forced = false;
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < RATE + 1; i++)
		ctl_put_stall(0, i);
	poll_all();
	await(&races.tripped, 1);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 3));
	assert_true(hw.blocked);
	assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[0], 3));
	assert_true(hw.blocked);
}

static void
check_ats(bool on)
{
	if (!on)
		return;
	races.had_ats |= ctl.dev[0]->ats_on;
	races.blocked++;
}

/* The poll thread has found it past its rate, and the attach has the device before the tick. */
static void
an_attach_begins_no_quarantine(void **state)
{
	struct iopf_quarantine_note note;
	struct iopf_dev *dev;

	(void)state;
	ctl_open(true, true);
	dev = ctl.dev[0];
	assert_true(dev->ats_on);
	hw.on_block = check_ats;
	dev->limits.quarantine = IOPF_QUARANTINE_WANTED;
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], dev, 3));
	assert_int_equal(0, races.blocked);
	assert_false(hw.blocked);
	pthread_mutex_lock(&dev->lock);
	iopf_quarantine_serve(dev, 0, &note);
	pthread_mutex_unlock(&dev->lock);
	assert_true(note.is_due);
	assert_int_equal(1, races.blocked);
	assert_false(races.had_ats);
	assert_true(hw.blocked);
	assert_int_equal(0, iopf_dev_release(dev));
	assert_false(hw.blocked);
	assert_true(dev->ats_on);
}

static const struct iopf_storm_conf by_max_rate = { .max_rate = RATE, .tripped = tell_tripped };

static int
detach0(void *domain)
{
	return iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID);
}

static int
replace0(void *domain)
{
	return iopf_domain_replace(domain, ctl.dev[0], IOPF_NO_PASID);
}

static int
remove_dev(void *dev)
{
	return iopf_dev_remove(dev);
}

static void
storm_of_stalls(void)
{
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < RATE + 1; i++)
		ctl_put_stall(0, i);
	poll_all();
}

/* The callback of this device has returned, that of the next one has not. */
static void
a_detach_does_not_wait_for_the_callback_of_another_device(void **state)
{
	const uint32_t sid = SID + NB_DEVS;

	(void)state;
	ctl.storm = &by_max_rate;
	ctl_open(false, false);
	/* The last one that joins the policy thread is served first. */
	races.other = iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.limits = &by_rate });
	assert_non_null(races.other);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	races.hold = true;
	storm_of_stalls();
	await(&races.quarantined, 1);
	assert_int_equal(1, races.tripped);
	assert_int_equal(0, ctl_run_call(detach0, ctl.domain[0]));
	assert_true(races.hold);
}

static void
a_callback_that_does_not_return_is_waited_for_in_bounded_time(void **state)
{
	int ret;

	(void)state;
	ctl.storm = &by_max_rate;
	ctl.wait_ms = 200;
	ctl_open(false, true);
	races.hold = true;
	storm_of_stalls();
	await(&races.tripped, 1);
	assert_int_equal(-ETIMEDOUT, ctl_run_call(detach0, ctl.domain[0]));
	assert_int_equal(-ETIMEDOUT, ctl_run_call(replace0, ctl.domain[1]));
	assert_int_equal(-ETIMEDOUT, ctl_run_call(remove_dev, ctl.dev[0]));
	/* Nothing has changed. */
	assert_int_equal(3, hw.attached);
	assert_true(is_tripped());
	races.hold = false;
	do
		ret = detach0(ctl.domain[0]);
	while (ret == -ETIMEDOUT);
	assert_int_equal(0, ret);
	assert_int_equal(2, hw.attached);
}

static void
a_removal_waits_for_a_callback_in_bounded_time(void **state)
{
	struct iopf_dev *dev;
	int ret;

	(void)state;
	ctl.limits = &by_rate;
	ctl.wait_ms = 200;
	ctl_open(false, true);
	dev = ctl.dev[0];
	races.hold = true;
	storm_of_stalls();
	await(&races.quarantined, 1);
	/* The teardown does not remove it again. */
	ctl.dev[0] = NULL;
	assert_int_equal(-ETIMEDOUT, ctl_run_call(remove_dev, dev));
	assert_int_equal(-ETIMEDOUT, ctl_run_call(remove_dev, dev));
	races.hold = false;
	do
		ret = iopf_dev_remove(dev);
	while (ret == -ETIMEDOUT);
	assert_int_equal(0, ret);
	assert_int_equal(2, hw.attached);
	assert_int_equal(1, races.quarantined);
}

#define RACES_TEST(fn) cmocka_unit_test_setup_teardown(fn, races_setup, races_teardown)

static const struct CMUnitTest tests[] = {
	RACES_TEST(a_storm_during_the_release_quarantines_by_rate),
	RACES_TEST(a_fatal_verdict_after_the_rearm_does_not_prolong_the_trip),
	RACES_TEST(a_trip_that_is_rearmed_before_the_cut_is_not_told),
	RACES_TEST(a_release_refuses_the_records_from_before),
	RACES_TEST(a_device_comes_back_with_a_full_rate),
	RACES_TEST(a_storm_at_the_end_of_the_block_quarantines_by_rate),
	RACES_TEST(a_stall_from_before_is_answered_before_the_block_ends),
	RACES_TEST(an_attach_ends_no_block_that_is_needed),
	RACES_TEST(an_attach_begins_no_quarantine),
	RACES_TEST(a_detach_does_not_wait_for_the_callback_of_another_device),
	RACES_TEST(a_callback_that_does_not_return_is_waited_for_in_bounded_time),
	RACES_TEST(a_removal_waits_for_a_callback_in_bounded_time),
};

TEST_SUITE(policy_races, tests, NULL, NULL);
