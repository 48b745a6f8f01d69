/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* iopf_dev_fence(), on an IOMMU made of arrays: the records of ended accesses were dispatched. */

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "test.h"

static struct {
	_Atomic bool hold;	/* the fast handler does not return while set */
	_Atomic bool entered;
	_Atomic int ret;	/* of a fence in the handler */
	struct iopf_domain *domain;
} held;

static void
put(uint16_t token, uint8_t flags)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = IOPF_NO_PASID, .token = token, .perm = IOPF_PERM_WRITE,
			.flags = flags, .raw_id = 0x10 });
}

static void
open_with_episode(void)
{
	static const struct iopf_storm_conf storm = { .report_first = true };

	ctl.storm = &storm;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_INVALID);
	put(0, IOPF_EVENT_STALL);
	while (iopf_poll(ctl.poller) != 0)
		;
}

static uint64_t
count_faults(void)
{
	struct iopf_episode episode;

	assert_int_equal(0, iopf_domain_episode(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID,
			&episode));
	return episode.faults;
}

static int
fence(void *dev)
{
	return iopf_dev_fence(dev);
}

/* No thread polls: it reads the queue itself. */
static void
records_from_before_it_are_counted(void **state)
{
	(void)state;
	open_with_episode();
	for (unsigned int i = 0; i < 100; i++)
		put(i, i % 2 == 0 ? IOPF_EVENT_STALL : 0);
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
	assert_int_equal(100, count_faults());
	/* Nothing is left that could open another episode. */
	assert_int_equal(0, iopf_domain_rearm(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID, NULL));
	assert_int_equal(0, iopf_poll(ctl.poller));
	assert_int_equal(-ENOENT, iopf_domain_episode(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID,
			NULL));
}

static void
put_late(void)
{
	for (unsigned int i = 0; i < 10; i++)
		put(i, 0);
}

/* The device has seen an access end, and the IOMMU writes its record at the sync at the latest. */
static void
records_that_come_by_the_sync_are_counted(void **state)
{
	(void)state;
	open_with_episode();
	hw.on_sync = put_late;
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
	assert_int_equal(10, count_faults());
	assert_int_equal(1, hw.knobs[ARRAY_SYNC].calls);
}

static enum iopf_verdict
hold(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	held.ret = iopf_dev_fence(group->dev);
	held.entered = true;
	while (held.hold)
		usleep(100);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static int
poll_once(void *poller)
{
	iopf_poll(poller);
	return 0;
}

/* The record was read, and its handler runs. */
static void
it_waits_for_the_fast_handler(void **state)
{
	struct call *poll, *call;

	(void)state;
	ctl_open(false, false);
	held.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = hold });
	assert_non_null(held.domain);
	assert_int_equal(0, iopf_domain_attach(held.domain, ctl.dev[0], IOPF_NO_PASID));
	held.hold = true;
	held.entered = false;
	put(1, IOPF_EVENT_STALL);
	poll = ctl_start_call(poll_once, ctl.poller);
	for (unsigned int i = 0; i < 100000 && !held.entered; i++)
		usleep(100);
	assert_true(held.entered);
	assert_int_equal(-EDEADLK, held.ret);
	call = ctl_start_call(fence, ctl.dev[0]);
	usleep(50000);
	assert_false(call->ended);
	held.hold = false;
	assert_int_equal(0, ctl_end_call(call));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, ctl_end_call(poll));
	assert_int_equal(0, iopf_domain_detach(held.domain, ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(held.domain));
}

static void
it_returns_the_drivers_error(void **state)
{
	(void)state;
	open_with_episode();
	hw.knobs[ARRAY_SYNC].fail = -EIO;
	hw.knobs[ARRAY_SYNC].nb_fail = 1;
	assert_int_equal(-EIO, iopf_dev_fence(ctl.dev[0]));
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
}

static void
a_stopped_iommu_has_nothing_to_wait_for(void **state)
{
	(void)state;
	open_with_episode();
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
	assert_int_equal(0, hw.knobs[ARRAY_SYNC].calls);
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
}

static void
a_driver_without_a_sync_is_fenced(void **state)
{
	(void)state;
	ctl.bare = true;
	open_with_episode();
	put(1, 0);
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
	assert_int_equal(1, count_faults());
}

static int
stop(void *iommu)
{
	return iopf_iommu_stop(iommu);
}

/* The driver reads a register for the mark, and after a stop the IOMMU may have no power. */
static void
a_stop_waits_until_the_driver_has_the_mark(void **state)
{
	struct call *fencing, *stopping;

	(void)state;
	ctl_open(false, true);
	hw.knobs[ARRAY_MARK].hold = 1;
	fencing = ctl_start_call(fence, ctl.dev[0]);
	assert_true(array_wait_held(ARRAY_MARK, 1));
	stopping = ctl_start_call(stop, ctl.iommu);
	/* It would be in the driver by now. */
	usleep(50000);
	assert_int_equal(0, hw.knobs[ARRAY_STOP].calls);
	array_release(ARRAY_MARK);
	assert_int_equal(0, ctl_end_call(fencing));
	assert_int_equal(0, ctl_end_call(stopping));
	assert_int_equal(1, hw.knobs[ARRAY_STOP].calls);
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
}

static int
fence_teardown(void **state)
{
	held.hold = false;
	return ctl_teardown(state);
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(records_from_before_it_are_counted),
	CTL_TEST(records_that_come_by_the_sync_are_counted),
	cmocka_unit_test_setup_teardown(it_waits_for_the_fast_handler, ctl_setup, fence_teardown),
	CTL_TEST(it_returns_the_drivers_error),
	CTL_TEST(a_stopped_iommu_has_nothing_to_wait_for),
	CTL_TEST(a_driver_without_a_sync_is_fenced),
	CTL_TEST(a_stop_waits_until_the_driver_has_the_mark),
};

TEST_SUITE(dev_fence, tests, NULL, NULL);
