/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 7, report first: the first fatal fault of an episode goes to a handler, the further ones
 * are counted until the attachment is re-armed.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "test.h"

static const struct iopf_storm_conf report_first = { .report_first = true };
static struct iopf_retry retried;
static unsigned int nb_retried;

static void
use_domain(const struct iopf_storm_conf *storm)
{
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(one.domain));
	one.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = one_fast,
			.deferred = one_deferred, .worker = one.worker, .ctx = &one,
			.storm = storm });
	assert_non_null(one.domain);
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
}

static int
setup(void **state)
{
	struct iopf_storm_conf storm = report_first;

	one_setup(state);
	use_domain(&storm);
	/* The domain has a copy. */
	memset(&storm, 0, sizeof(storm));
	one.verdict = IOPF_ANSWER(IOPF_INVALID);
	nb_retried = 0;
	return 0;
}

static void
put_aborted(uint64_t addr)
{
	one_put((struct iopf_event){ .addr = addr, .sid = SID, .pasid = IOPF_NO_PASID,
			.perm = IOPF_PERM_WRITE, .raw_id = 0x10 });
}

static int
rearm(struct iopf_episode *episode)
{
	return iopf_domain_rearm(one.domain, one.dev, IOPF_NO_PASID, episode);
}

static int
read_episode(struct iopf_episode *episode)
{
	return iopf_domain_episode(one.domain, one.dev, IOPF_NO_PASID, episode);
}

static void
faults_after_the_first_fatal_one_are_counted_not_handled(void **state)
{
	static struct iopf_episode episode;

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		one_put_stall(i, 0x5123 + 0x1000 * (i % 3));
	iopf_poll(one.poller);
	assert_int_equal(1, one.called);
	assert_int_equal(10, hw.nb_out);
	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
		assert_int_equal(i, hw.out[i].answer.token);
	}
	assert_int_equal(0, read_episode(&episode));
	assert_int_equal(9, episode.faults);
	assert_int_equal(9, episode.stalls);
	assert_int_equal(0, episode.aborted);
	assert_int_equal(0, episode.requests);
	assert_int_equal(3, episode.nb_pages);
	assert_int_equal(0x6000, episode.pages[0].addr);
	assert_int_equal(3, episode.pages[0].faults);
	assert_int_equal(0x7000, episode.pages[1].addr);
	assert_int_equal(0x5000, episode.pages[2].addr);
	assert_int_equal(3, episode.pages[2].faults);
	assert_int_equal(0x5123, episode.lowest);
	assert_int_equal(0x7123, episode.highest);
	assert_int_equal(0, episode.other_faults);
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_EPISODES));
	assert_int_equal(9, iopf_domain_stat(one.domain, IOPF_STAT_COUNTED));
	assert_int_equal(10, iopf_domain_stat(one.domain, IOPF_STAT_INVALID));
}

static void
the_first_fatal_fault_is_kept_whole(void **state)
{
	static struct iopf_episode episode;

	(void)state;
	one_put((struct iopf_event){ .addr = 0x123456, .ipa = 0x777000, .sid = SID,
			.pasid = IOPF_NO_PASID, .token = 9, .perm = IOPF_PERM_WRITE | IOPF_PERM_PRIV,
			.reason = IOPF_REASON_PERMISSION,
			.flags = IOPF_EVENT_STALL | IOPF_EVENT_STAGE2, .raw_id = 0x13,
			.event_class = IOPF_CLASS_TT });
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(0, rearm(&episode));
	assert_int_equal(0x123456, episode.first.addr);
	assert_int_equal(0x777000, episode.first.ipa);
	assert_true(episode.first.time != 0);
	assert_int_equal(SID, episode.first.sid);
	assert_int_equal(IOPF_NO_PASID, episode.first.pasid);
	assert_int_equal(9, episode.first.token);
	assert_int_equal(IOPF_PERM_WRITE | IOPF_PERM_PRIV, episode.first.perm);
	assert_int_equal(IOPF_REASON_PERMISSION, episode.first.reason);
	assert_int_equal(IOPF_FAULT_STALLED | IOPF_FAULT_STAGE2, episode.first.flags);
	assert_int_equal(0x13, episode.first.raw_id);
	assert_int_equal(IOPF_QUEUE_EVENTS, episode.first.queue);
	assert_int_equal(IOPF_CLASS_TT, episode.first.fault_class);
}

static void
an_episode_has_the_times_of_its_first_and_last_fault(void **state)
{
	static struct iopf_episode episode, later;

	(void)state;
	one_put_stall(0, 0);
	iopf_poll(one.poller);
	assert_int_equal(0, read_episode(&episode));
	assert_int_equal(0, episode.counted_from);
	assert_int_equal(0, episode.faults);
	assert_int_equal(0, episode.lowest);
	one_put_stall(1, 0x4000);
	iopf_poll(one.poller);
	assert_int_equal(0, read_episode(&episode));
	assert_true(episode.counted_from > episode.first.time);
	assert_true(episode.counted_to == episode.counted_from);
	one_put_stall(2, 0x4000);
	iopf_poll(one.poller);
	assert_int_equal(0, rearm(&later));
	assert_true(later.counted_from == episode.counted_from);
	assert_true(later.counted_to > episode.counted_to);
}

static void
without_a_fatal_verdict_no_episode_opens(void **state)
{
	(void)state;
	one.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	one_put_stall(0, 0);
	iopf_poll(one.poller);
	one.verdict = IOPF_TAKEN;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(0, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	one.verdict = (enum iopf_verdict)12345;
	one_put_stall(2, 0);
	one_mute_log(true);
	iopf_poll(one.poller);
	one_mute_log(false);
	assert_int_equal(3, one.called);
	assert_int_equal(-ENOENT, read_episode(NULL));
	assert_int_equal(-ENOENT, rearm(NULL));
	assert_int_equal(0, iopf_domain_stat(one.domain, IOPF_STAT_EPISODES));
}

static void
without_the_policy_each_fault_goes_to_the_handler(void **state)
{
	(void)state;
	use_domain(NULL);
	for (unsigned int i = 0; i < 3; i++)
		one_put_stall(i, 0);
	put_aborted(0);
	iopf_poll(one.poller);
	assert_int_equal(3, one.called);
	assert_int_equal(1, one.reported);
	assert_int_equal(-ENOENT, read_episode(NULL));
	assert_int_equal(-ENOENT, rearm(NULL));
}

static void
each_fatal_verdict_opens_an_episode(void **state)
{
	static const enum iopf_verdict fatal[] = {
		IOPF_ANSWER(IOPF_INVALID), IOPF_ANSWER(IOPF_FAILURE),
		IOPF_ANSWER_AFTER_INV(IOPF_INVALID),
	};

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		one.verdict = fatal[i];
		one_put_stall(1, 0);
		one_put_stall(2, 0);
		iopf_poll(one.poller);
		assert_int_equal(i + 1, one.called);
		assert_int_equal(0, rearm(NULL));
	}
	assert_int_equal(6, hw.nb_out);
	assert_int_equal(3, iopf_domain_stat(one.domain, IOPF_STAT_EPISODES));
}

/* No handler has judged the fault: the library answers INVALID in place of something else. */
static void
an_invalid_of_the_library_opens_no_episode(void **state)
{
	const enum iopf_verdict none = (enum iopf_verdict)IOPF_SUCCESS;

	(void)state;
	one_mute_log(true);
	/* No verdicts, or a code that stalls of this IOMMU cannot have. */
	one.verdict = none;
	one_put_stall(1, 0);
	one_await_answers(1);
	one.verdict = IOPF_ANSWER(IOPF_RAZWI);
	one_put_stall(2, 0);
	one_await_answers(2);
	one.verdict = IOPF_DEFER;
	one.deferred_verdict = none;
	one_put_stall(3, 0);
	one_await_answers(3);
	one.deferred_verdict = IOPF_ANSWER(IOPF_RAZWI);
	one_put_stall(4, 0);
	one_await_answers(4);
	one.verdict = IOPF_TAKEN;
	one_put_stall(5, 0);
	iopf_poll(one.poller);
	assert_int_equal(0, iopf_group_respond(one.last_id, IOPF_RAZWI));
	one_mute_log(false);
	assert_int_equal(5, hw.nb_out);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(0, iopf_domain_stat(one.domain, IOPF_STAT_EPISODES));
	assert_int_equal(-ENOENT, read_episode(NULL));
}

static void
after_a_rearm_the_handler_is_called_again(void **state)
{
	static struct iopf_episode episode;

	(void)state;
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < 3 + round; i++)
			one_put_stall(i, 0x1000 * round);
		iopf_poll(one.poller);
		assert_int_equal(round + 1, one.called);
		assert_int_equal(0, rearm(&episode));
		/* Nothing of an earlier episode is left in it. */
		assert_int_equal(2 + round, episode.faults);
		assert_int_equal(1, episode.nb_pages);
		assert_int_equal(0x1000 * round, episode.pages[0].addr);
		assert_int_equal(2 + round, episode.pages[0].faults);
		assert_int_equal(0x1000 * round, episode.lowest);
		assert_int_equal(-ENOENT, rearm(&episode));
		assert_int_equal(-ENOENT, read_episode(&episode));
	}
	one.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	one_put_stall(0, 0);
	iopf_poll(one.poller);
	assert_int_equal(6, one.called);
	assert_int_equal(IOPF_SUCCESS, hw.out[hw.nb_out - 1].answer.code);
}

static void
terminated_accesses_are_counted_and_not_reported(void **state)
{
	static struct iopf_episode episode;

	(void)state;
	put_aborted(0x8000);
	iopf_poll(one.poller);
	assert_int_equal(1, one.reported);
	one_put_stall(0, 0x1000);
	for (unsigned int i = 0; i < 4; i++)
		put_aborted(0x2000);
	iopf_poll(one.poller);
	assert_int_equal(1, one.reported);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, rearm(&episode));
	assert_int_equal(4, episode.faults);
	assert_int_equal(4, episode.aborted);
	assert_int_equal(0, episode.stalls);
	assert_int_equal(0x2000, episode.pages[0].addr);
	assert_int_equal(4, iopf_domain_stat(one.domain, IOPF_STAT_COUNTED));
	put_aborted(0x8000);
	iopf_poll(one.poller);
	assert_int_equal(2, one.reported);
}

static void
on_retry(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx)
{
	(void)dev;
	(void)ctx;
	retried = *retry;
	nb_retried++;
}

static void
a_retrying_device_is_told_that_a_counted_access_failed(void **state)
{
	static struct iopf_episode episode;
	const uint32_t sid = SID + 1;
	struct iopf_dev *dev;

	(void)state;
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops.retry = on_retry });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));
	for (unsigned int i = 0; i < 3; i++)
		one_put((struct iopf_event){ .addr = 0x1000 * i, .sid = sid,
				.pasid = IOPF_NO_PASID, .perm = IOPF_PERM_READ, .raw_id = 0x10 });
	iopf_poll(one.poller);
	assert_int_equal(1, one.called);
	assert_int_equal(3, nb_retried);
	assert_int_equal(IOPF_INVALID, retried.code);
	assert_int_equal(0x2000, retried.addr);
	assert_int_equal(0, iopf_domain_rearm(one.domain, dev, IOPF_NO_PASID, &episode));
	assert_int_equal(2, episode.aborted);
	assert_int_equal(0, iopf_dev_remove(dev));
}

static void
a_deferred_handlers_fatal_verdict_opens_an_episode(void **state)
{
	static struct iopf_episode episode;

	(void)state;
	one.verdict = IOPF_DEFER;
	one.deferred_verdict = IOPF_ANSWER(IOPF_INVALID);
	one_put_stall(5, 0xabc000);
	one_await_answers(1);
	one_put_stall(6, 0xabd000);
	iopf_poll(one.poller);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(1, one.called_deferred);
	assert_int_equal(1, one.called);
	assert_int_equal(0, rearm(&episode));
	assert_int_equal(0xabc000, episode.first.addr);
	assert_int_equal(5, episode.first.token);
	assert_int_equal(0x10, episode.first.raw_id);
	assert_int_equal(IOPF_FAULT_STALLED, episode.first.flags);
	assert_int_equal(1, episode.faults);
}

static void
a_fatal_answer_of_a_taken_fault_opens_an_episode(void **state)
{
	static struct iopf_episode episode;
	uint64_t id;

	(void)state;
	one.verdict = IOPF_TAKEN;
	one_put_stall(5, 0xabc000);
	iopf_poll(one.poller);
	id = one.last_id;
	assert_int_equal(-ENOENT, read_episode(NULL));
	assert_int_equal(0, iopf_group_respond(id, IOPF_INVALID));
	assert_int_equal(0, read_episode(&episode));
	assert_int_equal(0xabc000, episode.first.addr);
	assert_int_equal(0, episode.faults);
	/* A late answer opens none. */
	assert_int_equal(0, rearm(NULL));
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_INVALID));
	assert_int_equal(-ENOENT, read_episode(NULL));
}

/* They were with a handler before the episode opened. */
static void
faults_taken_or_deferred_before_stay_with_their_handler(void **state)
{
	static struct iopf_episode episode;
	uint64_t id;

	(void)state;
	one.verdict = IOPF_TAKEN;
	one_put_stall(1, 0x1000);
	iopf_poll(one.poller);
	id = one.last_id;
	one.hold = true;
	one.verdict = IOPF_DEFER;
	one_put_stall(2, 0x2000);
	one_put_stall(3, 0x3000);
	iopf_poll(one.poller);
	one.verdict = IOPF_ANSWER(IOPF_INVALID);
	one_put_stall(4, 0x4000);
	iopf_poll(one.poller);
	assert_int_equal(1, hw.nb_out);
	one.hold = false;
	one_await_answers(3);
	assert_int_equal(2, one.called_deferred);
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(4, hw.nb_out);
	assert_int_equal(3, iopf_domain_stat(one.domain, IOPF_STAT_SUCCESS));
	assert_int_equal(0, rearm(&episode));
	assert_int_equal(0, episode.faults);
}

static void
other_pasids_of_the_device_have_no_episode(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, 3));
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	one.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	one_put((struct iopf_event){ .sid = SID, .pasid = 3, .token = 2,
			.flags = IOPF_EVENT_STALL });
	iopf_poll(one.poller);
	assert_int_equal(2, one.called);
	assert_int_equal(IOPF_SUCCESS, hw.out[1].answer.code);
	assert_int_equal(-ENOENT, iopf_domain_episode(one.domain, one.dev, 3, NULL));
	assert_int_equal(-ENOENT, iopf_domain_rearm(one.domain, one.dev, 3, NULL));
	assert_int_equal(0, rearm(NULL));
}

static void
pages_beyond_the_first_are_counted_together(void **state)
{
	static struct iopf_episode episode;
	unsigned int n = IOPF_EPISODE_PAGES + 10;

	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		one_put_stall(0, 0);
		for (unsigned int i = 0; i < n; i++)
			one_put_stall(0, 0x1000 * (7 * i + round));
		while (iopf_poll(one.poller) != 0)
			;
		assert_int_equal(0, rearm(&episode));
		assert_int_equal(n, episode.faults);
		assert_int_equal(IOPF_EPISODE_PAGES, episode.nb_pages);
		assert_int_equal(10, episode.other_faults);
		for (unsigned int i = 0; i < IOPF_EPISODE_PAGES; i++) {
			assert_int_equal(0x1000 * (7 * i + round), episode.pages[i].addr);
			assert_int_equal(1, episode.pages[i].faults);
		}
		assert_int_equal(0x1000 * (7 * (n - 1) + round), episode.highest);
	}
}

static enum iopf_verdict
rearm_and_refuse(const struct iopf_group *group)
{
	if (group->pasid == IOPF_NO_PASID)
		return IOPF_ANSWER(IOPF_INVALID);
	return IOPF_ANSWER(rearm(NULL) == 0 ? IOPF_SUCCESS : IOPF_FAILURE);
}

/* On the poll thread, in the middle of a burst. */
static void
a_handler_may_rearm(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, 3));
	one.in_handler = rearm_and_refuse;
	one_put_stall(1, 0);
	one_put_stall(2, 0);
	one_put((struct iopf_event){ .sid = SID, .pasid = 3, .token = 3,
			.flags = IOPF_EVENT_STALL });
	one_put_stall(4, 0);
	one_put_stall(5, 0);
	iopf_poll(one.poller);
	assert_int_equal(3, one.called);
	assert_int_equal(IOPF_SUCCESS, hw.out[2].answer.code);
	assert_int_equal(2, iopf_domain_stat(one.domain, IOPF_STAT_COUNTED));
	assert_int_equal(2, iopf_domain_stat(one.domain, IOPF_STAT_EPISODES));
	assert_int_equal(0, rearm(NULL));
}

static void
a_detach_ends_the_episode(void **state)
{
	(void)state;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(0, read_episode(NULL));
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(-ENOENT, read_episode(NULL));
	assert_int_equal(-ENOENT, rearm(NULL));
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(-ENOENT, rearm(NULL));
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(2, one.called);
}

static void
another_domain_has_no_episode_there(void **state)
{
	struct iopf_domain *other = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = one_fast, .storm = &report_first });

	(void)state;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(-ENOENT, iopf_domain_rearm(other, one.dev, IOPF_NO_PASID, NULL));
	assert_int_equal(-ENOENT, iopf_domain_episode(other, one.dev, IOPF_NO_PASID, NULL));
	assert_int_equal(0, iopf_domain_destroy(other));
	assert_int_equal(0, rearm(NULL));
}

#define FIRST_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, one_teardown)

static const struct CMUnitTest tests[] = {
	FIRST_TEST(faults_after_the_first_fatal_one_are_counted_not_handled),
	FIRST_TEST(the_first_fatal_fault_is_kept_whole),
	FIRST_TEST(an_episode_has_the_times_of_its_first_and_last_fault),
	FIRST_TEST(without_a_fatal_verdict_no_episode_opens),
	FIRST_TEST(without_the_policy_each_fault_goes_to_the_handler),
	FIRST_TEST(each_fatal_verdict_opens_an_episode),
	FIRST_TEST(an_invalid_of_the_library_opens_no_episode),
	FIRST_TEST(after_a_rearm_the_handler_is_called_again),
	FIRST_TEST(terminated_accesses_are_counted_and_not_reported),
	FIRST_TEST(a_retrying_device_is_told_that_a_counted_access_failed),
	FIRST_TEST(a_deferred_handlers_fatal_verdict_opens_an_episode),
	FIRST_TEST(a_fatal_answer_of_a_taken_fault_opens_an_episode),
	FIRST_TEST(faults_taken_or_deferred_before_stay_with_their_handler),
	FIRST_TEST(other_pasids_of_the_device_have_no_episode),
	FIRST_TEST(pages_beyond_the_first_are_counted_together),
	FIRST_TEST(a_handler_may_rearm),
	FIRST_TEST(a_detach_ends_the_episode),
	FIRST_TEST(another_domain_has_no_episode_there),
};
TEST_SUITE(report_first, tests, NULL, NULL);
