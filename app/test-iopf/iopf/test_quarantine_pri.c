/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The PRI of a device at the begin and the end of its quarantine, without a policy thread. */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_pci.h"
#include "iopf_policy.h"
#include "iopf_support.h"
#include "log_lines.h"
#include "quarantine.h"
#include "test.h"

/* As a poll thread does past the rate. */
static void
want_quarantine(void)
{
	atomic_store(&ctl.dev[0]->limits.quarantine, IOPF_QUARANTINE_WANTED);
}

/* One step of the policy thread. True: it calls the application, with note->ms. */
static bool
serve(struct iopf_quarantine_note *note)
{
	struct iopf_dev *dev = ctl.dev[0];

	pthread_mutex_lock(&dev->lock);
	iopf_quarantine_serve(dev, rte_rdtsc(), note);
	pthread_mutex_unlock(&dev->lock);
	return note->is_due;
}

static void
a_quarantine_during_a_restart_of_pri_is_told(void **state)
{
	(void)state;
	ctl_open(true, true);
	ctl.in_pci_op = want_quarantine;
	assert_int_equal(-EBUSY, iopf_dev_pri_restart(ctl.dev[0]));
	ctl.in_pci_op = NULL;
	atomic_store(&ctl.dev[0]->limits.quarantine, IOPF_QUARANTINE_FREE);
	assert_int_equal(0, iopf_dev_pri_restart(ctl.dev[0]));
	assert_true(ctl.dev[0]->pri_on);
}

/* Its operation ats_enable fails twice. */
static void
a_device_has_come_back_when_its_pri_is_on(void **state)
{
	struct iopf_quarantine_note note;
	struct iopf_limits *limits;

	(void)state;
	ctl_open(true, true);
	limits = &ctl.dev[0]->limits;
	want_quarantine();
	assert_true(serve(&note));
	assert_true(note.ms > 0);
	assert_false(ctl.dev[0]->pri_on);
	ctl.fail_ats = -EIO;
	limits->next_step = rte_rdtsc();
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(serve(&note));
		assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
		assert_false(hw.blocked);
		assert_false(ctl.dev[0]->pri_on);
		limits->next_pri = rte_rdtsc();
	}
	ctl.fail_ats = 0;
	assert_true(serve(&note));
	assert_int_equal(0, note.ms);
	assert_true(ctl.dev[0]->pri_on);
	assert_false(serve(&note));
}

/* A release finds it free: it changes nothing about the library's attempts. */
static void
a_release_leaves_the_attempts_to_switch_pri_on(void **state)
{
	struct iopf_quarantine_note note;
	struct iopf_limits *limits;

	(void)state;
	ctl_open(true, true);
	limits = &ctl.dev[0]->limits;
	want_quarantine();
	assert_true(serve(&note));
	ctl.fail_ats = -EIO;
	limits->next_step = rte_rdtsc();
	assert_false(serve(&note));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	assert_false(ctl.dev[0]->pri_on);
	ctl.fail_ats = 0;
	limits->next_pri = rte_rdtsc();
	assert_true(serve(&note));
	assert_int_equal(0, note.ms);
	assert_true(ctl.dev[0]->pri_on);
	assert_false(serve(&note));
}

/* The start switches its PRI on. */
static void
a_device_has_come_back_when_its_iommu_is_started(void **state)
{
	struct iopf_quarantine_note note;
	struct iopf_limits *limits;

	(void)state;
	ctl_open(true, true);
	limits = &ctl.dev[0]->limits;
	want_quarantine();
	assert_true(serve(&note));
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	limits->next_step = rte_rdtsc();
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(serve(&note));
		assert_false(iopf_dev_is_quarantined(ctl.dev[0]));
		assert_false(hw.blocked);
		limits->next_pri = rte_rdtsc();
	}
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	assert_true(ctl.dev[0]->pri_on);
	/* At the next tick. */
	limits->next_pri = rte_rdtsc() + rte_get_tsc_hz() * 1000;
	assert_true(serve(&note));
	assert_int_equal(0, note.ms);
	assert_false(serve(&note));
}

/* A device without a domain has no PRI: nothing of it is still to come back. */
static void
a_device_that_is_not_attached_has_come_back(void **state)
{
	struct iopf_quarantine_note note;

	(void)state;
	ctl_open(true, true);
	want_quarantine();
	assert_true(serve(&note));
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	ctl.dev[0]->limits.next_step = rte_rdtsc();
	assert_false(serve(&note));
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_true(serve(&note));
	assert_int_equal(0, note.ms);
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_true(ctl.dev[0]->pri_on);
}

static unsigned int
count_lines(const char *text)
{
	unsigned int n = 0;

	for (; (text = strchr(text, '\n')) != NULL; text++)
		n++;
	return n;
}

/* The library tries again each quarantine_ms, which may be a millisecond. */
static void
attempts_that_fail_log_few_lines(void **state)
{
	struct iopf_quarantine_note note;
	struct iopf_limits *limits;
	unsigned int nb_lines;
	uint64_t begin;
	char *lines;

	(void)state;
	ctl.wait_ms = 1;
	ctl_open(true, true);
	limits = &ctl.dev[0]->limits;
	want_quarantine();
	assert_true(serve(&note));
	limits->next_step = rte_rdtsc();
	begin = rte_rdtsc();
	log_lines_begin();
	for (unsigned int i = 0; i < 200; i++) {
		/* Its operation fails, or it has not drained since PRI went off. */
		ctl.fail_ats = i < 100 ? -EIO : 0;
		ctl.not_drained = i >= 100;
		ctl.dev[0]->ats_on = i >= 100;
		serve(&note);
		limits->next_pri = rte_rdtsc();
	}
	lines = log_lines_end();
	nb_lines = count_lines(lines);
	free(lines);
	ctl.not_drained = false;
	ctl.dev[0]->ats_on = false;
	assert_true(nb_lines > 0);
	assert_true(nb_lines <= IOPF_LOG_LINES_PER_S *
			(2 + (rte_rdtsc() - begin) / rte_get_tsc_hz()));
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_quarantine_during_a_restart_of_pri_is_told),
	CTL_TEST(a_device_has_come_back_when_its_pri_is_on),
	CTL_TEST(a_release_leaves_the_attempts_to_switch_pri_on),
	CTL_TEST(a_device_has_come_back_when_its_iommu_is_started),
	CTL_TEST(a_device_that_is_not_attached_has_come_back),
	CTL_TEST(attempts_that_fail_log_few_lines),
};

TEST_SUITE(quarantine_pri, tests, NULL, NULL);
