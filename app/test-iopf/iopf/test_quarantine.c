/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Quarantine of a device, by its rate and by hand; the policy thread and control calls. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "quarantine.h"
#include "test.h"

#define RATE 10

static struct told {
	_Atomic unsigned int times;
	_Atomic uint32_t ms;		/* of the last call */
	uint32_t log[64];		/* of each call */
	_Atomic int ret;		/* of a control call in the callback */
} told;

static void
tell(struct iopf_dev *dev, uint32_t ms, void *ctx)
{
	assert_ptr_equal(dev, ctl.dev[0]);
	assert_ptr_equal(ctx, &told);
	told.ret = iopf_dev_release(dev);
	told.ms = ms;
	told.log[told.times % 64] = ms;
	told.times++;
}

static const struct iopf_dev_limits by_rate = {
	.quarantine_rate = RATE,
	.quarantine_ms = 1000000,
	.quarantined = tell,
	.ctx = &told,
};
static struct iopf_dev_limits with_return;

static void
poll_all(void)
{
	while (iopf_poll(ctl.poller) != 0)
		;
}

static void
await_told(unsigned int times)
{
	for (unsigned int i = 0; i < 200000 && told.times < times; i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_true(told.times >= times);
}

/* More faults than the rate, in one burst. */
static void
storm(unsigned int dev)
{
	for (unsigned int i = 0; i < RATE + 5; i++)
		ctl_put_stall(dev, i);
	poll_all();
}

static void
serve_one(unsigned int dev)
{
	uint64_t before = iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS);

	ctl_put_stall(dev, 1);
	poll_all();
	assert_int_equal(before + 1, iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS));
}

static void
refuse_one(unsigned int dev)
{
	uint64_t before = iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS);
	unsigned int out = hw.nb_out;

	ctl_put_stall(dev, 1);
	poll_all();
	assert_int_equal(before, iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS));
	assert_int_equal(out + 1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[out % QUEUE].answer.code);
}

static void
a_device_past_the_rate_is_quarantined(void **state)
{
	unsigned int out, served;

	(void)state;
	memset(&told, 0, sizeof(told));
	ctl.limits = &by_rate;
	ctl_open(false, true);
	/* Two of its faults are held. */
	ctl.verdict = IOPF_TAKEN;
	ctl_put_stall(0, 100);
	ctl_put_stall(0, 101);
	poll_all();
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	hw.knobs[ARRAY_DEV_BLOCK].hold = 1;
	storm(0);
	/* Refused by the poll thread from the fault on that is past the rate. */
	served = iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS);
	/* The rate allows more for the time between the two passes. */
	assert_in_range(served, RATE - 2, RATE);
	assert_true(iopf_dev_is_quarantined(ctl.dev[0]));
	assert_int_equal(RATE + 5 - served,
			iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_QUARANTINE));
	refuse_one(0);
	assert_true(array_wait_held(ARRAY_DEV_BLOCK, 1));
	/* The driver waits: other devices are served, attached and detached. */
	serve_one(1);
	assert_int_equal(0, ctl_run_call(ctl_detach2, ctl.domain[2]));
	array_release(ARRAY_DEV_BLOCK);
	await_told(1);
	assert_int_equal(1000000, told.ms);
	assert_int_equal(-EDEADLK, told.ret);
	assert_true(hw.blocked);
	assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_QUARANTINES));
	/* What handlers held is answered. */
	assert_int_equal(0, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(2, iopf_domain_stat(ctl.domain[0], IOPF_STAT_CANCELLED));
	out = hw.nb_out;
	refuse_one(0);
	assert_int_equal(out + 1, hw.nb_out);
	serve_one(1);
	/* By hand it comes back before its time. */
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(hw.blocked);
	assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
	serve_one(0);
}

/* Aborted accesses count, with a domain and without. */
static void
aborted_accesses_count_for_the_rate(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		bool attached = i / 2 != 0, past = i % 2 != 0;

		if (i != 0)
			ctl_teardown(NULL);
		memset(&told, 0, sizeof(told));
		ctl_setup(NULL);
		ctl.limits = &by_rate;
		ctl_open(false, attached);
		/* In one pass, which has one time. */
		for (int n = 0; n < RATE + past; n++)
			array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .sid = SID,
					.pasid = IOPF_NO_PASID, .raw_id = 0x10 });
		poll_all();
		assert_int_equal(past, iopf_dev_is_quarantined(ctl.dev[0]));
		if (past) {
			await_told(1);
			assert_true(hw.blocked);
		}
	}
}

/* Quarantine the device once more, and return for how long. */
static uint32_t
relapse(void)
{
	unsigned int times = told.times;

	storm(0);
	await_told(times + 1);
	assert_int_not_equal(0, told.log[times % 64]);
	return told.log[times % 64];
}

static void
await_return(void)
{
	for (unsigned int i = 0; i < 200000 && iopf_dev_is_quarantined(ctl.dev[0]); i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
}

/*
 * Quarantined for @p ms, and twice more as soon as it is free: for twice and four times as long.
 * False: this thread was so late that the device may have been free for as long as it had been
 * quarantined.
 */
static bool
relapse_twice(uint32_t ms)
{
	const uint64_t cycles = rte_get_tsc_hz() / 1000 * ms;
	uint64_t last = 0;

	for (unsigned int i = 0; i < 3; i++) {
		unsigned int times = told.times;
		uint64_t begin = rte_rdtsc();

		storm(0);
		/* The quarantine before began at the earliest at last. */
		if (i != 0 && rte_rdtsc() - last >= cycles << i)
			return false;
		await_told(times + 1);
		assert_int_equal(ms << i, told.log[times % 64]);
		await_told(times + 2);
		assert_int_equal(0, told.log[(times + 1) % 64]);
		assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
		/* One fault comes through, as proof. */
		serve_one(0);
		last = begin;
	}
	return true;
}

static void
it_comes_back_and_a_relapse_doubles_the_time(void **state)
{
	enum { MS = 100 };
	uint32_t ms = 0;

	(void)state;
	memset(&told, 0, sizeof(told));
	with_return = by_rate;
	with_return.quarantine_ms = MS;
	with_return.quarantined = NULL;
	ctl.limits = &with_return;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	/* The copy in the device has no callback: it is only polled for. */
	storm(0);
	await_return();
	/* The device is free in software first. */
	for (unsigned int i = 0; i < 200000 && hw.blocked; i++)
		usleep(100);
	assert_false(hw.blocked);
	serve_one(0);
	ctl_teardown(NULL);

	ctl_setup(NULL);
	with_return.quarantined = tell;
	ctl.limits = &with_return;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; !relapse_twice(MS); i++) {
		/* Free for too long. */
		ctl_teardown(NULL);
		ctl_setup(NULL);
		if (i == 10)
			test_skip("the machine is too busy");
		ctl.limits = &with_return;
		ctl_open(false, true);
		ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	}
	/* In freedom for long enough, the time falls to the first one again. */
	for (unsigned int i = 0; i < 20; i++) {
		usleep(1000 * MS * 8);
		ms = relapse();
		await_return();
		if (ms == MS)
			break;
	}
	assert_int_equal(MS, ms);
}

/* One step of the policy thread at the time @p ms, for a device that has no policy thread. */
static uint32_t
serve_at(uint64_t ms, struct iopf_quarantine_note *note)
{
	struct iopf_dev *dev = ctl.dev[0];

	pthread_mutex_lock(&dev->lock);
	iopf_quarantine_serve(dev, rte_get_tsc_hz() / 1000 * ms, note);
	pthread_mutex_unlock(&dev->lock);
	return dev->limits.level;
}

static void
each_time_in_freedom_halves_the_time(void **state)
{
	struct iopf_quarantine_note note;
	uint64_t ms = 1000000;

	(void)state;
	ctl_open(false, true);
	ctl.dev[0]->limits.level = 4;
	ctl.dev[0]->limits.next_step = rte_get_tsc_hz() / 1000 * ms;
	assert_int_equal(4, serve_at(ms - 1, &note));
	assert_int_equal(3, serve_at(ms, &note));
	/* It was quarantined for 4, 2 and 1 seconds before. */
	for (unsigned int level = 3; level > 0; level--) {
		ms += 1000u << (level - 1);
		assert_int_equal(level, serve_at(ms - 1, &note));
		assert_int_equal(level - 1, serve_at(ms, &note));
	}
	assert_false(note.is_due);
}

static void
the_time_doubles_up_to_64_times(void **state)
{
	struct iopf_quarantine_note note;
	struct iopf_limits *limits;

	(void)state;
	ctl_open(false, true);
	limits = &ctl.dev[0]->limits;
	for (unsigned int i = 0; i < 10; i++) {
		limits->quarantine = IOPF_QUARANTINE_WANTED;
		serve_at(0, &note);
		assert_true(note.is_due);
		assert_int_equal(1000u << RTE_MIN(i, 6u), note.ms);
		assert_true(hw.blocked);
		limits->next_step = 0;
		serve_at(1, &note);
		assert_true(note.is_due);
		assert_int_equal(0, note.ms);
		assert_false(hw.blocked);
	}
}

static void
by_hand_everything_is_answered_when_it_returns(void **state)
{
	(void)state;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 5; i++)
		ctl_put_stall(0, i);
	poll_all();
	ctl_put_stall(1, 1);
	poll_all();
	/* Not read yet. */
	ctl_put_stall(0, 5);
	iopf_poller_remove(ctl.poller, ctl.iommu, IOPF_QUEUE_ALL);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	iopf_poller_add(ctl.poller, ctl.iommu, IOPF_QUEUE_ALL);
	assert_true(hw.blocked);
	assert_int_equal(6, hw.nb_out);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(SID, hw.out[i].answer.sid);
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	}
	assert_int_equal(0, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(1, iopf_domain_pending(ctl.domain[1]));
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	refuse_one(0);
	/* Again: nothing changes. */
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_QUARANTINES));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(hw.blocked);
	serve_one(0);
}

static void
control_calls_work_while_it_is_quarantined(void **state)
{
	(void)state;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	/* Detached and attached it stays quarantined, a new attachment too. */
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	refuse_one(0);
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	assert_true(iopf_dev_is_quarantined(ctl.dev[0]));
	assert_true(hw.blocked);
	refuse_one(0);
	/* It comes back while the IOMMU is stopped. */
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(hw.blocked);
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	serve_one(0);
	/* The teardown removes it while it is quarantined. */
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
}

static void
a_driver_that_fails_is_called_again(void **state)
{
	(void)state;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	hw.knobs[ARRAY_DEV_BLOCK].fail = -EIO;
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 1;
	assert_int_equal(-EIO, iopf_dev_quarantine(ctl.dev[0]));
	assert_true(iopf_dev_is_quarantined(ctl.dev[0]));
	refuse_one(0);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_true(hw.blocked);
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 1;
	assert_int_equal(-EIO, iopf_dev_release(ctl.dev[0]));
	refuse_one(0);
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(hw.blocked);
	serve_one(0);
	/* A block that failed may have been made: the release undoes it. */
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 1;
	assert_int_equal(-EIO, iopf_dev_quarantine(ctl.dev[0]));
	hw.blocked = true;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(hw.blocked);
}

/* The policy thread tries again by itself. */
static void
the_policy_thread_tries_again(void **state)
{
	(void)state;
	memset(&told, 0, sizeof(told));
	ctl.limits = &by_rate;
	ctl_open(false, true);
	hw.knobs[ARRAY_DEV_BLOCK].fail = -EIO;
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 3;
	storm(0);
	await_told(1);
	assert_true(hw.blocked);
	assert_int_equal(4, hw.knobs[ARRAY_DEV_BLOCK].calls);
}

/* A control call of one device waits in the driver: the policies of others go on. */
static void
a_slow_control_call_delays_no_other_policy(void **state)
{
	struct call *call;

	(void)state;
	memset(&told, 0, sizeof(told));
	ctl.limits = &by_rate;
	ctl_open(false, true);
	hw.knobs[ARRAY_DETACH].hold = 1;
	call = ctl_start_call(ctl_detach2, ctl.domain[2]);
	assert_true(array_wait_held(ARRAY_DETACH, 1));
	storm(0);
	await_told(1);
	assert_true(hw.blocked);
	array_release(ARRAY_DETACH);
	assert_int_equal(0, ctl_end_call(call));
}

static int
remove_dev0(void *arg)
{
	int ret = iopf_dev_remove(ctl.dev[0]);

	(void)arg;
	return ret;
}

/* A removal waits for the device's lock, not for its policy, and the policy for neither. */
static void
a_removal_meets_its_policy(void **state)
{
	struct call *call;

	(void)state;
	memset(&told, 0, sizeof(told));
	for (unsigned int i = 0; i < 20; i++) {
		if (i != 0)
			ctl_setup(NULL);
		ctl.limits = &by_rate;
		ctl_open(false, true);
		ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		storm(0);
		usleep(100 * i);
		call = ctl_start_call(remove_dev0, NULL);
		assert_int_equal(0, ctl_end_call(call));
		ctl.dev[0] = NULL;
		if (i != 19)
			ctl_teardown(NULL);
	}
}

/* The driver cannot block a device. */
static void
a_driver_without_dev_block_refuses(void **state)
{
	const uint32_t sid = 100;

	(void)state;
	ctl.bare = true;
	ctl_open(false, true);
	assert_null(iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.limits = &by_rate }));
	assert_int_equal(ENOTSUP, rte_errno);
	assert_int_equal(-ENOTSUP, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(-ENOTSUP, iopf_dev_release(ctl.dev[0]));
	assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
}

static enum iopf_verdict
quarantine_in_handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	assert_int_equal(-EDEADLK, iopf_dev_quarantine(group->dev));
	assert_int_equal(-EDEADLK, iopf_dev_release(group->dev));
	assert_false(iopf_dev_is_quarantined(group->dev));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_handler_cannot_quarantine(void **state)
{
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = quarantine_in_handler });

	(void)state;
	ctl_open(false, false);
	assert_int_equal(0, iopf_domain_attach(domain, ctl.dev[0], IOPF_NO_PASID));
	ctl_put_stall(0, 1);
	poll_all();
	assert_int_equal(1, iopf_domain_stat(domain, IOPF_STAT_SUCCESS));
	assert_int_equal(0, iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(domain));
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_device_past_the_rate_is_quarantined),
	CTL_TEST(aborted_accesses_count_for_the_rate),
	CTL_TEST(it_comes_back_and_a_relapse_doubles_the_time),
	CTL_TEST(each_time_in_freedom_halves_the_time),
	CTL_TEST(the_time_doubles_up_to_64_times),
	CTL_TEST(by_hand_everything_is_answered_when_it_returns),
	CTL_TEST(control_calls_work_while_it_is_quarantined),
	CTL_TEST(a_driver_that_fails_is_called_again),
	CTL_TEST(the_policy_thread_tries_again),
	CTL_TEST(a_slow_control_call_delays_no_other_policy),
	CTL_TEST(a_removal_meets_its_policy),
	CTL_TEST(a_driver_without_dev_block_refuses),
	CTL_TEST(a_handler_cannot_quarantine),
};

TEST_SUITE(quarantine, tests, NULL, NULL);
