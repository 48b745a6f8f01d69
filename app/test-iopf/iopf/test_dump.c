/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* iopf_iommu_dump() shows the states of devices and attachments as they are now. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_rig.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "test.h"

static const struct iopf_storm_conf storm = { .report_first = true, .max_held = 2 };

/* The number of times that the dump has this text. */
static unsigned int
dump_count(const char *what)
{
	char *text = NULL, *at;
	unsigned int n = 0;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	iopf_iommu_dump(ctl.iommu, f);
	fclose(f);
	for (at = text; (at = strstr(at, what)) != NULL; at++)
		n++;
	free(text);
	return n;
}

static void
put(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		ctl_put_stall(0, i);
	while (iopf_poll(ctl.poller) != 0)
		;
}

static void
a_quarantine_is_shown_until_the_release(void **state)
{
	(void)state;
	ctl_open(false, true);
	assert_int_equal(0, dump_count(" dev_quarantined 1"));
	assert_int_equal(NB_DEVS, dump_count(" dev_quarantined 0"));
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(1, dump_count(" dev_quarantined 1"));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_int_equal(0, dump_count(" dev_quarantined 1"));
}

static void
an_episode_is_shown_until_its_rearm(void **state)
{
	(void)state;
	ctl.storm = &storm;
	ctl_open(false, true);
	assert_int_equal(0, dump_count(" episode_open 1"));
	ctl.verdict = IOPF_ANSWER(IOPF_INVALID);
	put(1);
	assert_int_equal(1, dump_count(" tripped 0 episode_open 1"));
	assert_int_equal(0, iopf_domain_rearm(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID, NULL));
	assert_int_equal(0, dump_count(" episode_open 1"));
}

static void
a_trip_is_shown(void **state)
{
	(void)state;
	ctl.storm = &storm;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	put(2);
	assert_int_equal(0, dump_count(" tripped 1"));
	put(1);
	assert_true(iopf_domain_is_tripped(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(1, dump_count(" tripped 1 episode_open 1"));
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_quarantine_is_shown_until_the_release),
	CTL_TEST(an_episode_is_shown_until_its_rearm),
	CTL_TEST(a_trip_is_shown),
};
TEST_SUITE(dump, tests, NULL, NULL);
