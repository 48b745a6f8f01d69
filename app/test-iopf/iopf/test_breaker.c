/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The stall breaker of a domain, on an IOMMU made of arrays. */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "attachment.h"
#include "breaker.h"
#include "control_rig.h"
#include "episode.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "rcu.h"
#include "test.h"

#define LIMIT	4
#define ADDR	UINT64_C(0x1000)

static struct told {
	_Atomic unsigned int times;
	_Atomic int ret;		/* of a control call in the callback */
	_Atomic bool hold;		/* it does not return while set */
	bool rearm;
	struct iopf_episode episode;
} told;

static void
tell(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		const struct iopf_episode *episode, void *ctx)
{
	assert_ptr_equal(domain, ctl.domain[0]);
	assert_ptr_equal(dev, ctl.dev[0]);
	assert_int_equal(pasid, IOPF_NO_PASID);
	assert_ptr_equal(ctx, &told);
	told.episode = *episode;
	told.ret = iopf_domain_detach(domain, dev, pasid);
	if (told.rearm)
		assert_int_equal(0, iopf_domain_rearm(domain, dev, pasid, NULL));
	told.times++;
	while (told.hold)
		usleep(100);
}

static const struct iopf_storm_conf by_number = {
	.max_held = LIMIT, .tripped = tell, .ctx = &told,
};
static const struct iopf_storm_conf by_rate = {
	.max_rate = LIMIT, .tripped = tell, .ctx = &told,
};
static struct iopf_storm_conf conf;

static int
breaker_setup(void **state)
{
	memset(&told, 0, sizeof(told));
	return ctl_setup(state);
}

static int
breaker_teardown(void **state)
{
	told.hold = false;
	return ctl_teardown(state);
}

static void
poll_all(void)
{
	while (iopf_poll(ctl.poller) != 0)
		;
}

static void
put(uint32_t sid, uint32_t pasid, uint16_t token, uint8_t flags)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = ADDR + 0x1000 * token,
			.sid = sid, .pasid = pasid, .token = token, .perm = IOPF_PERM_WRITE,
			.reason = IOPF_REASON_PERMISSION, .flags = flags, .raw_id = 0x13 });
}

static void
put_stalls(unsigned int from, unsigned int n)
{
	for (unsigned int i = from; i < from + n; i++)
		put(SID, IOPF_NO_PASID, i, IOPF_EVENT_STALL);
}

static void
await(_Atomic bool *word, bool value)
{
	for (unsigned int i = 0; i < 200000 && *word != value; i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_int_equal(value, *word);
}

static void
await_told(unsigned int times)
{
	for (unsigned int i = 0; i < 200000 && told.times < times; i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_int_equal(times, told.times);
}

static int
read_episode(struct iopf_episode *episode)
{
	return iopf_domain_episode(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID, episode);
}

static bool
is_tripped(void)
{
	return iopf_domain_is_tripped(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID);
}

static int
rearm(struct iopf_episode *episode)
{
	return iopf_domain_rearm(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID, episode);
}

/* A stall is served by the handler of this device. */
static void
expect_served(unsigned int dev)
{
	uint64_t before = iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS);

	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put(SID + dev, IOPF_NO_PASID, 99, IOPF_EVENT_STALL);
	poll_all();
	assert_int_equal(before + 1, iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS));
}

static void
expect_first(const struct iopf_episode *episode)
{
	assert_int_equal(ADDR, episode->first.addr);
	assert_int_equal(SID, episode->first.sid);
	assert_int_equal(IOPF_NO_PASID, episode->first.pasid);
	assert_int_equal(0, episode->first.token);
	assert_int_equal(IOPF_PERM_WRITE, episode->first.perm);
	assert_int_equal(IOPF_REASON_PERMISSION, episode->first.reason);
	assert_int_equal(IOPF_FAULT_STALLED, episode->first.flags);
	assert_int_equal(0x13, episode->first.raw_id);
	assert_int_equal(IOPF_QUEUE_EVENTS, episode->first.queue);
	assert_true(episode->first.time != 0 && episode->first.time <= episode->counted_from);
}

static void
open_tripped(const struct iopf_storm_conf *storm)
{
	ctl.storm = storm;
	ctl_open(false, true);
	ctl.verdict = storm->max_held != 0 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
	put_stalls(0, LIMIT);
	poll_all();
	assert_int_equal(-ENOENT, read_episode(NULL));
	assert_false(is_tripped());
	put_stalls(LIMIT, 3);
	poll_all();
}

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
more_stalls_than_the_limit_trip_it(void **state)
{
	(void)state;
	open_tripped(&by_number);
	/* The poll thread refuses from the fault on that is past the limit. */
	assert_true(hw.nb_out >= 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(is_refused(LIMIT + i));
	await_told(1);
	assert_int_equal(-EDEADLK, told.ret);
	assert_false(hw.stalls);
	assert_false(hw.blocked);
	/* All that was held is answered. */
	assert_int_equal(LIMIT + 3, hw.nb_out);
	assert_int_equal(0, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(LIMIT, iopf_domain_stat(ctl.domain[0], IOPF_STAT_CANCELLED));
	assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
	expect_first(&told.episode);
	assert_int_equal(3, told.episode.faults);
	assert_int_equal(3, told.episode.stalls);
	/* It tripped at the first fault that is counted. */
	assert_int_equal(told.episode.counted_from, told.episode.trip_time);
	assert_int_equal(ADDR + 0x1000 * LIMIT, told.episode.lowest);
	/* Another device is served. */
	expect_served(1);
}

static void
a_higher_rate_than_the_limit_trips_it(void **state)
{
	(void)state;
	open_tripped(&by_rate);
	assert_int_equal(LIMIT, iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS));
	assert_int_equal(3, iopf_domain_stat(ctl.domain[0], IOPF_STAT_INVALID));
	await_told(1);
	assert_false(hw.stalls);
	expect_first(&told.episode);
	assert_int_equal(3, told.episode.faults);
	expect_served(1);
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
	ctl.storm = &by_rate;
	ctl_open(false, true);
	attachment = LIST_FIRST(&ctl.dev[0]->attachments);
	fault.time = rte_rdtsc();
	iopf_rcu_read_lock();
	for (unsigned int i = 0; i <= LIMIT; i++)
		trips += iopf_breaker_count(attachment, &faults);
	usleep(5000);
	is_early = is_tripped() || told.times != 0;
	is_counted = iopf_episode_count(attachment, &faults, 1, true);
	iopf_breaker_publish_trip(attachment);
	iopf_rcu_read_unlock();
	assert_int_equal(1, trips);
	assert_false(is_early);
	assert_true(is_counted);
	assert_true(is_tripped());
	await_told(1);
	assert_int_equal(1, told.episode.faults);
	assert_int_equal(fault.time, told.episode.trip_time);
}

/* Answered stalls do not count, by whatever way they were answered. */
static void
stalls_that_are_answered_do_not_count(void **state)
{
	(void)state;
	ctl.storm = &by_number;
	ctl_open(false, true);
	for (unsigned int round = 0; round < 20; round++) {
		unsigned int out = hw.nb_out;

		/* By the deferred handler, and by the handler. */
		ctl.verdict = round % 2 == 0 ? IOPF_DEFER : IOPF_ANSWER(IOPF_INVALID);
		put_stalls(0, LIMIT);
		poll_all();
		ctl_await_answers(out + LIMIT);
		/* A worker frees its slot after the answer. */
		for (unsigned int i = 0; i < 10000 && iopf_domain_pending(ctl.domain[0]); i++)
			usleep(100);
		usleep(1000);
	}
	/* A detach and an attach: the new attachment counts from 0. */
	ctl.verdict = IOPF_TAKEN;
	put_stalls(0, LIMIT);
	poll_all();
	assert_int_equal(-ENOENT, read_episode(NULL));
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	put_stalls(0, LIMIT);
	poll_all();
	assert_int_equal(-ENOENT, read_episode(NULL));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
}

static void
other_pasids_are_served(void **state)
{
	unsigned int out;

	(void)state;
	open_tripped(&by_number);
	await_told(1);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 3));
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	out = hw.nb_out;
	put(SID, 3, 1, IOPF_EVENT_STALL);
	put(SID, IOPF_NO_PASID, 2, IOPF_EVENT_STALL);
	poll_all();
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
	open_tripped(&by_number);
	await_told(1);
	for (unsigned int i = 0; i < 10; i++)
		put(SID, IOPF_NO_PASID, i, 0);
	poll_all();
	assert_int_equal(0, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_REPORTS));
	assert_int_equal(0, read_episode(&episode));
	assert_int_equal(13, episode.faults);
	assert_int_equal(10, episode.aborted);
	expect_first(&episode);
}

static void
a_rearm_has_accesses_stall_again(void **state)
{
	struct iopf_episode episode;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		told.times = 0;
		if (i != 0)
			ctl_setup(NULL);
		open_tripped(i == 0 ? &by_number : &by_rate);
		await_told(1);
		/* Nothing ends it without quiet_ms. */
		usleep(20000);
		assert_false(hw.stalls);
		assert_true(is_tripped());
		assert_false(iopf_domain_is_tripped(ctl.domain[1], ctl.dev[0], IOPF_NO_PASID));
		assert_false(iopf_domain_is_tripped(ctl.domain[0], ctl.dev[0], 3));
		/* The driver does not manage to let accesses stall at first. */
		hw.knobs[ARRAY_STALL_SET].fail = -EIO;
		hw.knobs[ARRAY_STALL_SET].nb_fail = UINT32_MAX;
		assert_int_equal(0, rearm(&episode));
		assert_int_equal(3, episode.faults);
		expect_first(&episode);
		usleep(20000);
		assert_true(is_tripped());
		hw.knobs[ARRAY_STALL_SET].nb_fail = 0;
		while (is_tripped())
			usleep(100);
		assert_true(hw.stalls);
		/* It stands at 0 again: as many faults as the limit are served. */
		for (unsigned int n = 0; n < LIMIT; n++)
			expect_served(0);
		assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
		if (i == 0)
			ctl_teardown(NULL);
	}
}

static void
a_rearm_in_the_callback_ends_it(void **state)
{
	(void)state;
	told.rearm = true;
	open_tripped(&by_number);
	await_told(1);
	await(&hw.stalls, true);
	assert_int_equal(-ENOENT, read_episode(NULL));
	usleep(5000);
	expect_served(0);
}

static void
a_quiet_time_has_accesses_stall_again(void **state)
{
	(void)state;
	conf = by_number;
	conf.quiet_ms = 20;
	open_tripped(&conf);
	await_told(1);
	await(&hw.stalls, true);
	for (unsigned int i = 0; i < 100000 && read_episode(NULL) == 0; i++)
		usleep(100);
	assert_int_equal(-ENOENT, read_episode(NULL));
	usleep(5000);
	expect_served(0);
	/* The next storm trips it again. */
	ctl.verdict = IOPF_TAKEN;
	put_stalls(0, LIMIT + 1);
	poll_all();
	await_told(2);
	expect_first(&told.episode);
	assert_int_equal(2, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
}

/* Aborted accesses are the evidence that the storm goes on. */
static void
it_is_not_quiet_while_accesses_abort(void **state)
{
	const uint64_t ms = rte_get_tsc_hz() / 1000;
	enum { QUIET = 400 };

	(void)state;
	conf = by_number;
	conf.quiet_ms = QUIET;
	for (unsigned int round = 0; round < 10; round++) {
		uint64_t begin, last, gap = 0;

		told.times = 0;
		if (round != 0)
			ctl_setup(NULL);
		open_tripped(&conf);
		begin = last = rte_rdtsc();
		while (rte_rdtsc() - begin < 2 * QUIET * ms) {
			put(SID, IOPF_NO_PASID, 1, 0);
			poll_all();
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
	conf = by_number;
	conf.report_first = true;
	conf.max_rate = 10;
	conf.quiet_ms = 20;
	ctl.storm = &conf;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_INVALID);
	put_stalls(0, 1);
	poll_all();
	assert_int_equal(0, read_episode(&episode));
	assert_int_equal(0, episode.faults);
	/* The faults of the open episode trip it. */
	put_stalls(1, 5);
	poll_all();
	assert_int_equal(0, read_episode(&episode));
	assert_int_equal(5, episode.faults);
	assert_int_equal(0, episode.trip_time);
	put_stalls(6, 15);
	poll_all();
	await_told(1);
	expect_first(&told.episode);
	assert_int_equal(20, told.episode.faults);
	assert_true(told.episode.trip_time > episode.counted_to);
	assert_int_equal(told.episode.counted_to, told.episode.trip_time);
	await(&hw.stalls, true);
	usleep(5000);
	put_stalls(21, 1);
	poll_all();
	assert_int_equal(0, rearm(&episode));
	assert_int_equal(21, episode.faults);
	assert_int_equal(told.episode.trip_time, episode.trip_time);
	expect_served(0);
}

static void
an_iommu_that_can_only_stall_refuses(void **state)
{
	(void)state;
	hw.stall_forced = true;
	ctl.storm = &by_number;
	ctl_open(false, false);
	assert_int_equal(-ENOTSUP, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[1], IOPF_NO_PASID));
	hw.stall_forced = false;
}

static void
an_iommu_that_can_only_stall_aborts_the_device(void **state)
{
	(void)state;
	hw.stall_forced = true;
	conf = by_number;
	conf.abort_device = true;
	ctl.storm = &conf;
	ctl_open(false, true);
	hw.stall_forced = false;
	ctl.verdict = IOPF_TAKEN;
	/* A stall of another PASID: the block ends it. */
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 3));
	put(SID, 3, 50, IOPF_EVENT_STALL);
	put_stalls(0, LIMIT + 1);
	poll_all();
	await_told(1);
	assert_true(hw.blocked);
	assert_true(hw.stalls);
	assert_int_equal(0, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(0, iopf_domain_pending(ctl.domain[1]));
	assert_int_equal(0, rearm(NULL));
	await(&hw.blocked, false);
	usleep(5000);
	expect_served(0);
	/* A quarantine at the same time: the device is blocked until both have ended. */
	ctl.verdict = IOPF_TAKEN;
	put_stalls(0, LIMIT + 1);
	poll_all();
	await_told(2);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_true(hw.blocked);
	/* A detach ends the block. */
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_false(hw.blocked);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	expect_served(0);
}

static int
detach0(void *domain)
{
	return iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID);
}

static void
a_detach_waits_for_the_callback(void **state)
{
	struct call *call;

	(void)state;
	told.hold = true;
	open_tripped(&by_number);
	await_told(1);
	call = ctl_start_call(detach0, ctl.domain[0]);
	/* Control calls of other PASIDs and devices do not wait. */
	assert_int_equal(0, ctl_run_call(ctl_attach0, ctl.domain[1]));
	assert_int_equal(0, ctl_run_call(ctl_detach2, ctl.domain[2]));
	assert_false(call->ended);
	told.hold = false;
	assert_int_equal(0, ctl_end_call(call));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	expect_served(0);
}

static int
replace0(void *domain)
{
	return iopf_domain_replace(domain, ctl.dev[0], IOPF_NO_PASID);
}

static void
a_replace_waits_for_the_callback(void **state)
{
	uint64_t before;
	struct call *call;

	(void)state;
	told.hold = true;
	open_tripped(&by_number);
	await_told(1);
	call = ctl_start_call(replace0, ctl.domain[1]);
	assert_int_equal(0, ctl_run_call(ctl_detach2, ctl.domain[2]));
	assert_false(call->ended);
	told.hold = false;
	assert_int_equal(0, ctl_end_call(call));
	assert_int_equal(0, hw.misused);
	/* The next domain has no breaker: its handler is called. */
	before = iopf_domain_stat(ctl.domain[1], IOPF_STAT_SUCCESS);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put_stalls(0, LIMIT + 3);
	poll_all();
	assert_int_equal(before + LIMIT + 3, iopf_domain_stat(ctl.domain[1], IOPF_STAT_SUCCESS));
	assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
}

static void
a_driver_that_fails_is_called_again(void **state)
{
	(void)state;
	hw.knobs[ARRAY_STALL_SET].fail = -EIO;
	hw.knobs[ARRAY_STALL_SET].nb_fail = 3;
	open_tripped(&by_number);
	await_told(1);
	assert_int_equal(4, hw.knobs[ARRAY_STALL_SET].calls);
	assert_false(hw.stalls);
	hw.knobs[ARRAY_STALL_SET].nb_fail = 3;
	assert_int_equal(0, rearm(NULL));
	await(&hw.stalls, true);
	assert_int_equal(8, hw.knobs[ARRAY_STALL_SET].calls);
}

static void
page_requests_trip_it_too(void **state)
{
	(void)state;
	ctl.storm = &by_rate;
	ctl_open(true, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < LIMIT + 3; i++)
		array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
				.pasid = IOPF_NO_PASID, .token = i, .perm = IOPF_PERM_READ,
				.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	poll_all();
	assert_int_equal(LIMIT + 3, hw.nb_out);
	for (unsigned int i = 0; i < LIMIT + 3; i++)
		assert_int_equal(i < LIMIT ? IOPF_SUCCESS : IOPF_INVALID,
				hw.out[i].answer.code);
	await_told(1);
	assert_int_equal(3, told.episode.requests);
	assert_int_equal(0, hw.knobs[ARRAY_STALL_SET].calls);
}

/* Storms, re-arms, detaches and removals at the same time: nothing is answered twice or lost. */
static void
it_trips_while_control_calls_run(void **state)
{
	(void)state;
	conf = by_number;
	conf.quiet_ms = 1;
	ctl.storm = &conf;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int n = hw.nb_out;

		put_stalls(0, LIMIT + 3);
		poll_all();
		if (i % 3 == 0)
			rearm(NULL);
		if (i % 5 == 0)
			usleep(100);
		assert_int_equal(0, detach0(ctl.domain[0]));
		assert_int_equal(n + LIMIT + 3, hw.nb_out);
		assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0],
				IOPF_NO_PASID));
	}
}

static enum iopf_verdict
refuse(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_INVALID);
}

static struct iopf_domain *
create_domain(const struct iopf_storm_conf *storm)
{
	rte_errno = 0;
	return iopf_domain_create(&(struct iopf_domain_conf){ .handler = refuse, .name = "gpu",
			.storm = storm });
}

static void
its_fields_are_refused_without_a_limit(void **state)
{
	struct {
		const char *line;
		struct iopf_storm_conf storm;
	} wrong[] = {
		{ "gpu: storm.tripped is for a stall breaker", { .tripped = tell } },
		{ "gpu: storm.quiet_ms is for a stall breaker", { .quiet_ms = 1 } },
		{ "gpu: storm.abort_device is for a stall breaker", { .abort_device = true,
			.report_first = true, .join_log2 = 12 } },
	};

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		struct iopf_domain *domain;

		SAYS(wrong[i].line, assert_null(create_domain(&wrong[i].storm)));
		assert_int_equal(EINVAL, rte_errno);
		wrong[i].storm.max_rate = 1;
		domain = create_domain(&wrong[i].storm);
		assert_non_null(domain);
		assert_int_equal(0, iopf_domain_destroy(domain));
	}
}

/* The line of an attach, or "". */
static void
expect_attach_line(uint32_t stalls, uint32_t max_held, const char *line)
{
	const uint32_t sid = SID + NB_DEVS;
	struct iopf_dev *dev = iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid,
			.nb_sids = 1, .limits = &(struct iopf_dev_limits){ .stalls = stalls } });
	struct iopf_domain *domain = create_domain(&(struct iopf_storm_conf){
			.max_held = max_held });
	char *lines;

	assert_non_null(dev);
	assert_non_null(domain);
	log_lines_begin();
	assert_int_equal(0, iopf_domain_attach(domain, dev, IOPF_NO_PASID));
	lines = log_lines_end();
	if (line[0] == '\0')
		assert_string_equal("", lines);
	else
		assert_non_null(strstr(lines, line));
	free(lines);
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_domain_destroy(domain));
}

static void
a_number_that_is_not_reached_is_told_at_the_attach(void **state)
{
	const unsigned int share = MAX_STALLS - MAX_STALLS / 8;

	(void)state;
	ctl_open(false, false);
	expect_attach_line(4, 4, "");
	expect_attach_line(4, 5, "sid:10: storm.max_held 5 of gpu is more than handlers can hold "
			"of the device, and does not trip the breaker: use at most 4");
	expect_attach_line(MAX_STALLS, MAX_STALLS - 1, "");
	expect_attach_line(MAX_STALLS, MAX_STALLS, "use at most 31");
	expect_attach_line(0, share, "");
	expect_attach_line(0, share + 1, "of the device while another is attached, and does not "
			"trip the breaker: use at most 28");
}

/* Those of the attach that warns of nothing. */
static void
the_largest_number_trips_it(void **state)
{
	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .stalls = LIMIT };
	ctl.storm = &by_number;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	put_stalls(0, LIMIT + 1);
	poll_all();
	await_told(1);
}

#define BREAKER_TEST(fn) cmocka_unit_test_setup_teardown(fn, breaker_setup, breaker_teardown)

static const struct CMUnitTest tests[] = {
	BREAKER_TEST(more_stalls_than_the_limit_trip_it),
	BREAKER_TEST(a_higher_rate_than_the_limit_trips_it),
	BREAKER_TEST(a_trip_is_served_after_its_fault_is_counted),
	BREAKER_TEST(stalls_that_are_answered_do_not_count),
	BREAKER_TEST(other_pasids_are_served),
	BREAKER_TEST(aborted_accesses_are_counted),
	BREAKER_TEST(a_rearm_has_accesses_stall_again),
	BREAKER_TEST(a_rearm_in_the_callback_ends_it),
	BREAKER_TEST(a_quiet_time_has_accesses_stall_again),
	BREAKER_TEST(it_is_not_quiet_while_accesses_abort),
	BREAKER_TEST(with_report_first_only_a_rearm_ends_the_episode),
	BREAKER_TEST(an_iommu_that_can_only_stall_refuses),
	BREAKER_TEST(an_iommu_that_can_only_stall_aborts_the_device),
	BREAKER_TEST(a_detach_waits_for_the_callback),
	BREAKER_TEST(a_replace_waits_for_the_callback),
	BREAKER_TEST(a_driver_that_fails_is_called_again),
	BREAKER_TEST(page_requests_trip_it_too),
	BREAKER_TEST(it_trips_while_control_calls_run),
	BREAKER_TEST(a_number_that_is_not_reached_is_told_at_the_attach),
	BREAKER_TEST(the_largest_number_trips_it),
	cmocka_unit_test(its_fields_are_refused_without_a_limit),
};

TEST_SUITE(breaker, tests, NULL, NULL);
