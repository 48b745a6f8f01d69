/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Control calls, and a driver that fails, while a stall breaker has tripped. */

#include <errno.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_stats.h"
#include "test.h"
#include "trip_rig.h"

static struct iopf_storm_conf conf;

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
	tripped.hold = true;
	trip_open(&trip_by_number);
	trip_await_calls(1);
	call = ctl_start_call(detach0, ctl.domain[0]);
	/* Control calls of other PASIDs and devices do not wait. */
	assert_int_equal(0, ctl_run_call(ctl_attach0, ctl.domain[1]));
	assert_int_equal(0, ctl_run_call(ctl_detach2, ctl.domain[2]));
	assert_false(call->ended);
	tripped.hold = false;
	assert_int_equal(0, ctl_end_call(call));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	trip_expect_served(0);
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
	tripped.hold = true;
	trip_open(&trip_by_number);
	trip_await_calls(1);
	call = ctl_start_call(replace0, ctl.domain[1]);
	assert_int_equal(0, ctl_run_call(ctl_detach2, ctl.domain[2]));
	assert_false(call->ended);
	tripped.hold = false;
	assert_int_equal(0, ctl_end_call(call));
	assert_int_equal(0, hw.misused);
	/* The next domain has no breaker: its handler is called. */
	before = iopf_domain_stat(ctl.domain[1], IOPF_STAT_SUCCESS);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	trip_put_stalls(0, LIMIT + 3);
	trip_poll_all();
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
	trip_open(&trip_by_number);
	trip_await_calls(1);
	assert_int_equal(4, hw.knobs[ARRAY_STALL_SET].calls);
	assert_false(hw.stalls);
	hw.knobs[ARRAY_STALL_SET].nb_fail = 3;
	assert_int_equal(0, trip_rearm(NULL));
	trip_await(&hw.stalls, true);
	assert_int_equal(8, hw.knobs[ARRAY_STALL_SET].calls);
}

/* Storms, re-arms, detaches and removals at the same time: nothing is answered twice or lost. */
static void
the_breaker_trips_while_control_calls_run(void **state)
{
	(void)state;
	conf = trip_by_number;
	conf.quiet_ms = 1;
	ctl.storm = &conf;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int n = hw.nb_out;

		trip_put_stalls(0, LIMIT + 3);
		trip_poll_all();
		if (i % 3 == 0)
			trip_rearm(NULL);
		if (i % 5 == 0)
			usleep(100);
		assert_int_equal(0, detach0(ctl.domain[0]));
		assert_int_equal(n + LIMIT + 3, hw.nb_out);
		assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0],
				IOPF_NO_PASID));
	}
}

static const struct CMUnitTest tests[] = {
	TRIP_TEST(a_detach_waits_for_the_callback),
	TRIP_TEST(a_replace_waits_for_the_callback),
	TRIP_TEST(a_driver_that_fails_is_called_again),
	TRIP_TEST(the_breaker_trips_while_control_calls_run),
};

TEST_SUITE(breaker_control, tests, NULL, NULL);
