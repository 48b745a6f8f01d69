/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The fields of a stall breaker, and an IOMMU that can only stall. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "test.h"
#include "trip_rig.h"

static struct iopf_storm_conf conf;

static void
an_iommu_that_can_only_stall_refuses_a_breaker(void **state)
{
	(void)state;
	hw.stall_forced = true;
	ctl.storm = &trip_by_number;
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
	conf = trip_by_number;
	conf.abort_device = true;
	ctl.storm = &conf;
	ctl_open(false, true);
	hw.stall_forced = false;
	ctl.verdict = IOPF_TAKEN;
	/* A stall of another PASID: the block ends it. */
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 3));
	trip_put(SID, 3, 50, IOPF_EVENT_STALL);
	trip_put_stalls(0, LIMIT + 1);
	trip_poll_all();
	trip_await_calls(1);
	assert_true(hw.blocked);
	assert_true(hw.stalls);
	assert_int_equal(0, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(0, iopf_domain_pending(ctl.domain[1]));
	assert_int_equal(0, trip_rearm(NULL));
	trip_await_end();
	assert_false(hw.blocked);
	trip_expect_served(0);
	/* A quarantine at the same time: the device is blocked until both have ended. */
	ctl.verdict = IOPF_TAKEN;
	trip_put_stalls(0, LIMIT + 1);
	trip_poll_all();
	trip_await_calls(2);
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_true(hw.blocked);
	/* A detach ends the block. */
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_false(hw.blocked);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	trip_expect_served(0);
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
fields_of_a_breaker_are_refused_without_a_limit(void **state)
{
	struct {
		const char *line;
		struct iopf_storm_conf storm;
	} wrong[] = {
		{ "gpu: storm.tripped is for a stall breaker", { .tripped = trip_by_number.tripped } },
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
the_largest_number_trips_the_breaker(void **state)
{
	(void)state;
	ctl.limits = &(struct iopf_dev_limits){ .stalls = LIMIT };
	ctl.storm = &trip_by_number;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	trip_put_stalls(0, LIMIT + 1);
	trip_poll_all();
	trip_await_calls(1);
}

static const struct CMUnitTest tests[] = {
	TRIP_TEST(an_iommu_that_can_only_stall_refuses_a_breaker),
	TRIP_TEST(an_iommu_that_can_only_stall_aborts_the_device),
	TRIP_TEST(a_number_that_is_not_reached_is_told_at_the_attach),
	TRIP_TEST(the_largest_number_trips_the_breaker),
	cmocka_unit_test(fields_of_a_breaker_are_refused_without_a_limit),
};

TEST_SUITE(breaker_conf, tests, NULL, NULL);
