/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A breaker that blocks the whole device, since the IOMMU can only stall: the block ends with the
 * attachment of the breaker, also if the driver fails at first.
 */

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "test.h"

#define LIMIT		4
#define OTHER_PASID	3

static const struct iopf_storm_conf conf = { .max_held = LIMIT, .abort_device = true };

/* The IOMMU has domain 0, with the breaker, and domain 1 at another PASID of device 0. */
static void
open_two_pasids(void)
{
	hw.stall_forced = true;
	ctl.storm = &conf;
	ctl_open(false, true);
	hw.stall_forced = false;
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], OTHER_PASID));
}

/* More stalls of domain 0 than its breaker allows. */
static void
storm(void)
{
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < LIMIT + 1; i++)
		ctl_put_stall(0, i);
	while (iopf_poll(ctl.poller) != 0)
		;
	assert_true(iopf_domain_is_tripped(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
}

static void
await_blocked(bool on)
{
	for (unsigned int i = 0; i < 200000 && hw.blocked != on; i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_int_equal(on, hw.blocked);
}

static void
detach_breaker(void)
{
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
}

static void
a_block_that_a_detach_cannot_end_is_ended_later(void **state)
{
	(void)state;
	open_two_pasids();
	storm();
	await_blocked(true);
	hw.knobs[ARRAY_DEV_BLOCK].fail = -EIO;
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = UINT_MAX;
	detach_breaker();
	assert_true(hw.blocked);
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 0;
	/* No control call: the other PASID has its accesses back. */
	await_blocked(false);
	/* The next storm is as the first. */
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	storm();
	await_blocked(true);
	detach_breaker();
	assert_false(hw.blocked);
}

/* After an error the driver may have blocked the device. */
static void
a_block_that_may_have_been_made_is_ended_too(void **state)
{
	(void)state;
	open_two_pasids();
	hw.knobs[ARRAY_DEV_BLOCK].fail = -EIO;
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = UINT_MAX;
	storm();
	for (unsigned int i = 0; i < 200000 && hw.knobs[ARRAY_DEV_BLOCK].calls == 0; i++)
		usleep(100);
	detach_breaker();
	hw.blocked = true;
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 0;
	await_blocked(false);
}

/* A quarantine keeps the device blocked, whatever the breaker had. */
static void
a_quarantine_keeps_the_block(void **state)
{
	unsigned int calls;

	(void)state;
	open_two_pasids();
	storm();
	await_blocked(true);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	hw.knobs[ARRAY_DEV_BLOCK].fail = -EIO;
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 1;
	detach_breaker();
	calls = hw.knobs[ARRAY_DEV_BLOCK].calls;
	usleep(20000);
	assert_true(hw.blocked);
	assert_int_equal(calls, hw.knobs[ARRAY_DEV_BLOCK].calls);
	hw.knobs[ARRAY_DEV_BLOCK].nb_fail = 0;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(hw.blocked);
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_block_that_a_detach_cannot_end_is_ended_later),
	CTL_TEST(a_block_that_may_have_been_made_is_ended_too),
	CTL_TEST(a_quarantine_keeps_the_block),
};

TEST_SUITE(breaker_block, tests, NULL, NULL);
