/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The end of a quarantine while a pass has the record of a stall that the block ended. */

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "test.h"

static struct {
	_Atomic bool hold;	/* the fast handler of device 1 does not return while set */
	_Atomic bool entered;
} held;

static enum iopf_verdict
hold_pass(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
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

static void *
release_later(void *arg)
{
	(void)arg;
	usleep(50000);
	held.hold = false;
	return NULL;
}

/*
 * The pass has taken both records from the queue, and waits in the handler of the first. The second
 * is of a stall that the block ended: the IOMMU may use its token again after the release.
 */
static void
a_release_waits_for_the_pass_that_has_a_record(void **state)
{
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = hold_pass });
	struct call *poll;
	pthread_t thread;

	(void)state;
	assert_non_null(domain);
	ctl_open(false, true);
	assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[1], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(domain, ctl.dev[1], IOPF_NO_PASID));
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	ctl.verdict = IOPF_TAKEN;
	held.hold = true;
	held.entered = false;
	ctl_put_stall(1, 3);
	ctl_put_stall(0, 20);
	poll = ctl_start_call(poll_once, ctl.poller);
	while (!held.entered)
		usleep(100);
	assert_int_equal(0, pthread_create(&thread, NULL, release_later, NULL));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(held.hold);
	assert_int_equal(0, ctl_end_call(poll));
	pthread_join(thread, NULL);
	/* Refused in the state from before: no handler got it. */
	assert_int_equal(0, ctl.last_id);
	assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REFUSED_QUARANTINE));
	assert_int_equal(0, iopf_domain_detach(domain, ctl.dev[1], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(domain));
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_release_waits_for_the_pass_that_has_a_record),
};

TEST_SUITE(quarantine_races, tests, NULL, NULL);
