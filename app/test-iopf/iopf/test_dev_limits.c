/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A device's share of the stalls, and its rate. */

#include <errno.h>
#include <unistd.h>

#include <rte_errno.h>

#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "test.h"

/* After more than 200 us past the share the handler is called once more. */
#define FULL_US	1000

static void
put_stalls(unsigned int dev, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		ctl_put_stall(dev, i);
}

static void
poll_all(void)
{
	while (iopf_poll(ctl.poller) != 0)
		;
}

/* All answers since @p from are INVALID, for StreamID SID. */
static void
expect_refused(unsigned int from, unsigned int n)
{
	assert_int_equal(from + n, hw.nb_out);
	for (unsigned int i = from; i < from + n; i++) {
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
		assert_int_equal(SID, hw.out[i].answer.sid);
	}
}

static void
check_share(enum iopf_verdict verdict)
{
	ctl.limits = &(struct iopf_dev_limits){ .stalls = 4 };
	ctl_open(false, true);
	ctl.verdict = verdict;
	ctl.hold = true;
	put_stalls(0, 10);
	poll_all();
	/* Refused at once, in the order of the records, and the others are not disturbed. */
	expect_refused(0, 6);
	assert_int_equal(4, hw.out[0].answer.token);
	assert_int_equal(4, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(6, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_SHARE));
	/* Another device holds what it needs, and is answered. */
	put_stalls(1, 10);
	poll_all();
	assert_int_equal(10, iopf_domain_pending(ctl.domain[1]));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[1], IOPF_DEV_STAT_REFUSED_SHARE));
	/* A handler that answers at once holds nothing: the device is served, after a while. */
	usleep(FULL_US);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put_stalls(0, 1);
	poll_all();
	assert_int_equal(7, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[6].answer.code);
}

static void
a_device_holds_its_share_of_taken_stalls(void **state)
{
	(void)state;
	check_share(IOPF_TAKEN);
}

static void
a_device_holds_its_share_of_deferred_stalls(void **state)
{
	(void)state;
	check_share(IOPF_DEFER);
}

static void
by_default_an_eighth_of_the_stalls_is_left_for_others(void **state)
{
	const unsigned int share = MAX_STALLS - MAX_STALLS / 8;

	(void)state;
	ctl.share_ms = 1000000;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	put_stalls(0, MAX_STALLS);
	poll_all();
	assert_int_equal(share, iopf_domain_pending(ctl.domain[0]));
	expect_refused(0, MAX_STALLS / 8);
	/* They never get an answer: another device is served all the same. */
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put_stalls(1, 100);
	poll_all();
	assert_int_equal(100, iopf_domain_stat(ctl.domain[1], IOPF_STAT_SUCCESS));
	/* Alone it may hold all. */
	for (unsigned int i = 1; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_domain_detach(ctl.domain[i], ctl.dev[i], IOPF_NO_PASID));
	ctl.verdict = IOPF_TAKEN;
	put_stalls(0, MAX_STALLS / 8);
	poll_all();
	assert_int_equal(MAX_STALLS, iopf_domain_pending(ctl.domain[0]));
}

static uint64_t refused_id;

/* Page requests have credits, and no share: their answers may be withheld. */
static void
page_requests_have_no_share(void **state)
{
	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .stalls = 1 };
	ctl_open(true, true);
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 3; i++)
		array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
				.pasid = IOPF_NO_PASID, .token = i, .perm = IOPF_PERM_READ,
				.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	poll_all();
	assert_int_equal(3, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(0, hw.nb_out);
}

static enum iopf_verdict
take_and_keep_id(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	refused_id = group->id;
	return IOPF_TAKEN;
}

/* The handler that took it finds that it is answered, as after a deadline. */
static void
the_id_of_a_refused_stall_is_stale(void **state)
{
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = take_and_keep_id });

	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .stalls = 1 };
	ctl_open(false, false);
	assert_int_equal(0, iopf_domain_attach(domain, ctl.dev[0], IOPF_NO_PASID));
	put_stalls(0, 1);
	poll_all();
	put_stalls(0, 1);
	poll_all();
	expect_refused(0, 1);
	assert_int_equal(-ESTALE, iopf_group_respond(refused_id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(0, iopf_domain_destroy(domain));
}

static unsigned int nb_asked;

/* Give no work away without room. */
static enum iopf_verdict
take_with_room(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	nb_asked++;
	return iopf_group_has_room(group) ? IOPF_TAKEN : IOPF_ANSWER(IOPF_FAILURE);
}

static void
a_handler_finds_whether_the_share_has_room(void **state)
{
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = take_with_room });

	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .stalls = 3 };
	ctl_open(true, false);
	assert_int_equal(0, iopf_domain_attach(domain, ctl.dev[0], IOPF_NO_PASID));
	nb_asked = 0;
	put_stalls(0, 5);
	poll_all();
	assert_int_equal(5, nb_asked);
	assert_int_equal(3, iopf_domain_pending(domain));
	assert_int_equal(2, iopf_domain_stat(domain, IOPF_STAT_FAILURE));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_SHARE));
	/* Page requests have credits. */
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = IOPF_NO_PASID, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	poll_all();
	assert_int_equal(4, iopf_domain_pending(domain));
	assert_int_equal(0, iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(domain));
}

static uint64_t held_id;	/* of the first group that take() had */

static enum iopf_verdict
take(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	unsigned int *calls = ctx;

	(void)domain;
	if ((*calls)++ == 0)
		held_id = group->id;
	return IOPF_TAKEN;
}

static enum iopf_verdict
resolve(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	++*(unsigned int *)ctx;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

/* So a device that holds its share does not cost others the time of its handler for each fault. */
static void
past_the_share_a_handler_is_called_now_and_then(void **state)
{
	unsigned int taken = 0, resolved = 0;
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = take, .ctx = &taken });
	struct iopf_domain *other = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = resolve, .ctx = &resolved });

	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .stalls = 4 };
	ctl_open(true, false);
	assert_int_equal(0, iopf_domain_attach(domain, ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(other, ctl.dev[0], 1));
	/* One burst, which has one time. */
	put_stalls(0, 10);
	poll_all();
	assert_int_equal(5, taken);
	expect_refused(0, 6);
	assert_int_equal(6, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_SHARE));
	/* The handler of another PASID may answer at once, and has not been seen to hold. */
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID, .pasid = 1,
			.perm = IOPF_PERM_READ, .flags = IOPF_EVENT_STALL });
	poll_all();
	assert_int_equal(1, resolved);
	assert_int_equal(IOPF_SUCCESS, hw.out[6].answer.code);
	/* Page requests have no share. */
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = IOPF_NO_PASID, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	poll_all();
	assert_int_equal(6, taken);
	usleep(FULL_US);
	put_stalls(0, 3);
	poll_all();
	assert_int_equal(7, taken);
	assert_int_equal(9, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_SHARE));
	/* An answer makes room, and the handler is called at once. */
	assert_int_equal(0, iopf_group_respond(held_id, IOPF_SUCCESS));
	put_stalls(0, 1);
	poll_all();
	assert_int_equal(8, taken);
	assert_int_equal(9, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_SHARE));
	assert_int_equal(5, iopf_domain_pending(domain));
	assert_int_equal(0, iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_detach(other, ctl.dev[0], 1));
	assert_int_equal(0, iopf_domain_destroy(domain));
	assert_int_equal(0, iopf_domain_destroy(other));
}

static void
a_refused_stall_does_not_count_for_the_breaker(void **state)
{
	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .stalls = 2 };
	ctl.storm = &(struct iopf_storm_conf){ .max_held = 4 };
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 10; i++) {
		put_stalls(0, 1);
		poll_all();
	}
	expect_refused(0, 8);
	assert_int_equal(8, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_SHARE));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_TRIPS));
	assert_int_equal(2, iopf_domain_pending(ctl.domain[0]));
}

static void
faults_past_the_rate_are_refused(void **state)
{
	(void)state;
	/* All in one burst, which has one time. */
	ctl.limits = &(struct iopf_dev_limits){ .rate = 1, .burst = 3 };
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put_stalls(0, 8);
	poll_all();
	assert_int_equal(3, iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS));
	expect_refused(3, 5);
	assert_int_equal(5, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_RATE));
	put_stalls(1, 100);
	poll_all();
	assert_int_equal(100, iopf_domain_stat(ctl.domain[1], IOPF_STAT_SUCCESS));
}

static void
the_rate_comes_back_with_time(void **state)
{
	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .rate = 1000, .burst = 1 };
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < 20; i++) {
		uint64_t before = iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS);

		while (iopf_domain_stat(ctl.domain[0], IOPF_STAT_SUCCESS) == before) {
			put_stalls(0, 2);
			poll_all();
		}
	}
}

static void
limits_that_contradict_each_other_are_refused(void **state)
{
	static const struct iopf_dev_limits wrong[] = {
		{ .burst = 1 },
		{ .quarantine_ms = 1 },
	};
	const uint32_t sid = 100;

	(void)state;
	ctl_open(false, false);
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_null(iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid,
				.nb_sids = 1, .limits = &wrong[i] }));
		assert_int_equal(EINVAL, rte_errno);
	}
}

#define NEW_SID	100

static void
more_stalls_than_there_are_is_told(void **state)
{
	const uint32_t sid = NEW_SID;
	struct iopf_dev *dev;

	(void)state;
	ctl_open(false, false);
	SAYS("device: limits: stalls 33 limits nothing: \"arrays,n=1\" has 32 stalls",
		dev = iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
				.limits = &(struct iopf_dev_limits){ .stalls = MAX_STALLS + 1 } }));
	assert_int_equal(0, iopf_dev_remove(dev));
}

/* Accesses of the StreamID abort at the time of the driver's dev_add. */
static void
flood_new_sid(void)
{
	for (unsigned int i = 0; i < 10; i++)
		array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .sid = NEW_SID,
				.pasid = IOPF_NO_PASID, .raw_id = 0x10 });
	poll_all();
	/* Ticks of the policy thread. */
	for (unsigned int i = 0; i < 500 && hw.knobs[ARRAY_DEV_BLOCK].calls == 0; i++)
		usleep(100);
}

static void
a_device_that_floods_is_added_before_it_is_quarantined(void **state)
{
	const uint32_t sid = NEW_SID;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1,
		.limits = &(struct iopf_dev_limits){ .quarantine_rate = 1,
			.quarantine_ms = 1000000 } };
	struct iopf_dev *dev;

	(void)state;
	ctl_open(false, false);
	hw.on_dev_add = flood_new_sid;
	/* The driver refuses it: it was never there. */
	hw.knobs[ARRAY_DEV_ADD].fail = -ENOMEM;
	hw.knobs[ARRAY_DEV_ADD].nb_fail = 1;
	assert_null(iopf_dev_add(ctl.iommu, &conf));
	assert_int_equal(ENOMEM, rte_errno);
	assert_int_equal(0, hw.knobs[ARRAY_DEV_BLOCK].calls);
	dev = iopf_dev_add(ctl.iommu, &conf);
	assert_non_null(dev);
	assert_true(iopf_dev_is_quarantined(dev));
	for (unsigned int i = 0; i < 200000 && !hw.blocked; i++)
		usleep(100);
	assert_true(hw.blocked);
	assert_int_equal(0, hw.misused);
	assert_int_equal(0, iopf_dev_remove(dev));
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_device_holds_its_share_of_taken_stalls),
	CTL_TEST(a_device_holds_its_share_of_deferred_stalls),
	CTL_TEST(by_default_an_eighth_of_the_stalls_is_left_for_others),
	CTL_TEST(page_requests_have_no_share),
	CTL_TEST(the_id_of_a_refused_stall_is_stale),
	CTL_TEST(a_handler_finds_whether_the_share_has_room),
	CTL_TEST(past_the_share_a_handler_is_called_now_and_then),
	CTL_TEST(a_refused_stall_does_not_count_for_the_breaker),
	CTL_TEST(faults_past_the_rate_are_refused),
	CTL_TEST(the_rate_comes_back_with_time),
	CTL_TEST(limits_that_contradict_each_other_are_refused),
	CTL_TEST(more_stalls_than_there_are_is_told),
	CTL_TEST(a_device_that_floods_is_added_before_it_is_quarantined),
};

TEST_SUITE(dev_limits, tests, NULL, NULL);
