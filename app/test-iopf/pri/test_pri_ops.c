/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Operations of a device with PRI that fail (iopf_pci.h): the call that comes next goes on with
 * what failed, and a result that is no errno is -EIO.
 */

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_pci.h"
#include "iopf_policy.h"
#include "iopf_support.h"
#include "log_lines.h"
#include "quarantine.h"
#include "test.h"

/* A wait for a device that never drains ends soon. */
static void
open_dev(void)
{
	ctl.wait_ms = 20;
	ctl_open(true, true);
	assert_true(ctl.pri_fn.ats && ctl.pri_fn.pri);
}

static void
expect_on(void)
{
	assert_true(ctl.pri_fn.ats && ctl.pri_fn.pri);
	assert_true(ctl.dev[0]->ats_on && ctl.dev[0]->pri_on);
	assert_int_equal(0, ctl.pri_fn.nb_wrong);
	assert_int_equal(0, ctl.pri_fn.nb_early);
}

static void
expect_off(void)
{
	assert_false(ctl.pri_fn.ats || ctl.pri_fn.pri);
	assert_false(ctl.dev[0]->ats_on || ctl.dev[0]->pri_on);
	assert_int_equal(0, ctl.pri_fn.nb_wrong);
	assert_int_equal(0, ctl.pri_fn.nb_early);
}

/* In a quarantine by hand. The log must not say that PRI is off. */
static void
quarantine_with_pri_left_on(void)
{
	char *lines;

	ctl.fail_pri_off = -EAGAIN;
	log_lines_begin();
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(-EAGAIN, iopf_dev_release(ctl.dev[0]));
	lines = log_lines_end();
	assert_non_null(strstr(lines, "its operation pri_disable returned -11"));
	assert_null(strstr(lines, "PRI is off"));
	free(lines);
	assert_false(ctl.pri_fn.ats);
	assert_true(ctl.pri_fn.pri);
	ctl.fail_pri_off = 0;
	ctl.pri_fn.nb_pri_off = 0;
}

static void
a_release_switches_off_pri_that_the_quarantine_left_on(void **state)
{
	(void)state;
	open_dev();
	ctl.fail_pri_off = -EAGAIN;
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_true(hw.blocked);
	ctl.fail_pri_off = 0;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	expect_on();
}

static void
a_restart_goes_on_with_pri_disable_that_failed(void **state)
{
	(void)state;
	open_dev();
	quarantine_with_pri_left_on();
	assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
	assert_int_equal(1, ctl.pri_fn.nb_pri_off);
	expect_on();
	/* The next ones as usual. */
	assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
	assert_int_equal(2, ctl.pri_fn.nb_pri_off);
	expect_on();
}

static void
a_detach_goes_on_with_pri_disable_that_failed(void **state)
{
	(void)state;
	open_dev();
	quarantine_with_pri_left_on();
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(1, ctl.pri_fn.nb_pri_off);
	expect_off();
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	expect_on();
}

/* A stop makes the call twice. */
static void
a_start_goes_on_with_pri_disable_that_failed(void **state)
{
	char *lines;

	(void)state;
	open_dev();
	for (unsigned int i = 0; i < 2; i++) {
		ctl.fail_pri_off = -EIO;
		assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
		assert_true(ctl.pri_fn.pri);
		ctl.fail_pri_off = i == 0 ? 0 : -EIO;
		log_lines_begin();
		assert_int_equal(0, iopf_iommu_start(ctl.iommu));
		lines = log_lines_end();
		assert_true(i == 0 || strstr(lines, "starts without page requests") != NULL);
		free(lines);
		ctl.fail_pri_off = 0;
		if (i == 1)
			assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
		expect_on();
	}
}

/* One step of the policy thread. True: it calls the application. */
static bool
serve(struct iopf_dev *dev)
{
	struct iopf_quarantine_note note;

	pthread_mutex_lock(&dev->lock);
	iopf_quarantine_serve(dev, rte_rdtsc(), &note);
	pthread_mutex_unlock(&dev->lock);
	return note.is_due;
}

/* The policy thread tries again until PRI has gone off and on. */
static void
the_end_of_a_quarantine_goes_on_with_pri_disable_that_failed(void **state)
{
	struct iopf_dev *dev;

	(void)state;
	open_dev();
	dev = ctl.dev[0];
	atomic_store(&dev->limits.quarantine, IOPF_QUARANTINE_WANTED);
	ctl.fail_pri_off = -EIO;
	assert_true(serve(dev));
	dev->limits.next_step = rte_rdtsc();
	for (unsigned int i = 0; i < 3; i++) {
		ctl.fail_pri_off = i < 2 ? -EIO : 0;
		assert_int_equal(i == 2, serve(dev));
		dev->limits.next_pri = rte_rdtsc();
	}
	expect_on();
}

static void
ats_is_not_enabled_before_ats_disable_has_succeeded(void **state)
{
	(void)state;
	open_dev();
	ctl.fail_ats_off = -EIO;
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(-EIO, iopf_dev_release(ctl.dev[0]));
	assert_int_equal(-EIO, iopf_dev_pri_restart(ctl.dev[0]));
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	assert_true(ctl.pri_fn.ats);
	assert_false(ctl.pri_fn.pri);
	ctl.fail_ats_off = 0;
	assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
	expect_on();
}

/* ATS stays on after pri_enable and then ats_disable failed. */
static void
a_failed_undo_of_ats_is_made_again(void **state)
{
	(void)state;
	open_dev();
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	expect_off();
	assert_int_equal(1, ctl.pri_fn.nb_pri_off);
	ctl.fail_pri = -EIO;
	ctl.fail_ats_off = -EAGAIN;
	assert_int_equal(-EIO, iopf_dev_release(ctl.dev[0]));
	assert_true(ctl.pri_fn.ats);
	ctl.fail_pri = 0;
	assert_int_equal(-EAGAIN, iopf_dev_pri_restart(ctl.dev[0]));
	ctl.fail_ats_off = 0;
	assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
	expect_on();
}

static void
a_result_that_is_no_errno_is_eio(void **state)
{
	static const int results[] = { 1, 5, INT_MAX, INT_MIN, -4096 };
	int *const fail[] = { &ctl.fail_ats, &ctl.fail_ats_off, &ctl.fail_pri, &ctl.fail_pri_off };
	static const char *const names[] = { "ats_enable", "ats_disable", "pri_enable",
		"pri_disable" };
	char text[64];
	char *lines;

	(void)state;
	open_dev();
	for (unsigned int i = 0; i < RTE_DIM(fail); i++) {
		for (unsigned int k = 0; k < RTE_DIM(results); k++) {
			/* Its lines have a limit. */
			ctl.dev[0]->log = (struct iopf_log_limit){ 0 };
			*fail[i] = results[k];
			rte_errno = 0;
			log_lines_begin();
			assert_int_equal(-EIO, iopf_dev_pri_restart(ctl.dev[0]));
			lines = log_lines_end();
			assert_int_equal(EIO, rte_errno);
			snprintf(text, sizeof(text), "%s returned %d, taken as -EIO", names[i],
					results[k]);
			assert_non_null(strstr(lines, text));
			free(lines);
			*fail[i] = 0;
			assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
			expect_on();
		}
		*fail[i] = -4095;
		assert_int_equal(-4095, iopf_dev_pri_restart(ctl.dev[0]));
		*fail[i] = 0;
		assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
		expect_on();
	}
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_release_switches_off_pri_that_the_quarantine_left_on),
	CTL_TEST(a_restart_goes_on_with_pri_disable_that_failed),
	CTL_TEST(a_detach_goes_on_with_pri_disable_that_failed),
	CTL_TEST(a_start_goes_on_with_pri_disable_that_failed),
	CTL_TEST(the_end_of_a_quarantine_goes_on_with_pri_disable_that_failed),
	CTL_TEST(ats_is_not_enabled_before_ats_disable_has_succeeded),
	CTL_TEST(a_failed_undo_of_ats_is_made_again),
	CTL_TEST(a_result_that_is_no_errno_is_eio),
};

TEST_SUITE(pri_ops, tests, NULL, NULL);
