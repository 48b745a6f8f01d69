/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 14: no handle is released that the IOMMU may still use, a failed attach, detach or
 * removal can be repeated, and invalidations do not starve attach and detach.
 */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "control_rig.h"
#include "interpose.h"
#include "iopf_pci.h"
#include "log_lines.h"
#include "test.h"

/*
 * Attach and its undo
 */

static void
a_domain_is_not_destroyed_while_it_is_being_attached(void **state)
{
	struct call *attach;

	(void)state;
	ctl_open(false, false);
	hw.knobs[ARRAY_ATTACH].hold = 1;
	attach = ctl_start_call(ctl_attach0, ctl.domain[1]);
	assert_true(array_wait_held(ARRAY_ATTACH, 1));
	assert_int_equal(-EBUSY, iopf_domain_destroy(ctl.domain[1]));
	array_release(ARRAY_ATTACH);
	assert_int_equal(0, ctl_end_call(attach));
	assert_int_equal(-EBUSY, iopf_domain_destroy(ctl.domain[1]));
}

/* An attach that fails, and whose undo fails once. */
static void
fail_attach_and_its_undo(struct iopf_domain *domain, bool in_driver, int ret)
{
	hw.attach_half = in_driver;
	hw.fail_attach = in_driver ? ret : 0;
	ctl.fail_ats = in_driver ? 0 : ret;
	hw.knobs[ARRAY_DETACH].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_DETACH].nb_fail = 1;
	assert_int_equal(ret, iopf_domain_attach(domain, ctl.dev[0], 1));
	hw.fail_attach = 0;
	ctl.fail_ats = 0;
	/* The IOMMU may still use it. */
	assert_int_equal(1, hw.attached);
	assert_int_equal(0, hw.misused);
	assert_int_equal(-EBUSY, iopf_domain_destroy(domain));
}

static void
a_failed_undo_logs_the_next_step(void **state)
{
	char *text;

	(void)state;
	ctl_open(true, false);
	hw.attach_half = true;
	hw.knobs[ARRAY_DETACH].fail = -ETIMEDOUT;
	for (unsigned int i = 0; i < 2; i++) {
		const uint32_t pasid = i == 0 ? IOPF_NO_PASID : 3;

		hw.fail_attach = -ENOSPC;
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		log_lines_begin();
		assert_int_equal(-ENOSPC, iopf_domain_attach(ctl.domain[1], ctl.dev[0], pasid));
		text = log_lines_end();
		assert_non_null(strstr(text, i == 0 ? "detach untagged traffic" :
				"detach PASID 3"));
		assert_non_null(strstr(text, "next attach, detach or removal"));
		/* The application called attach: the log must not tell it to repeat a detach. */
		assert_null(strstr(text, "detach again"));
		assert_null(strstr(text, "detach it"));
		free(text);
		hw.fail_attach = 0;
		assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], pasid));
		SAYS(i == 0 ? "untagged traffic is attached to" : "PASID 3 is attached to",
			assert_int_equal(-EEXIST, iopf_domain_attach(ctl.domain[1], ctl.dev[0],
					pasid)));
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		SAYS("detach it, or remove the device, again",
			assert_int_equal(-ETIMEDOUT, iopf_domain_detach(ctl.domain[1], ctl.dev[0],
					pasid)));
		assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[0], pasid));
	}
	assert_int_equal(0, hw.attached);
}

static void
an_attach_whose_undo_failed_is_undone_by_a_detach(void **state)
{
	(void)state;
	ctl_open(true, false);
	for (unsigned int i = 0; i < 2; i++) {
		fail_attach_and_its_undo(ctl.domain[1], i == 0, -ENOSPC);
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		assert_int_equal(-ETIMEDOUT, iopf_domain_detach(ctl.domain[1], ctl.dev[0], 1));
		assert_int_equal(1, hw.attached);
		assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[0], 1));
		assert_int_equal(0, hw.attached);
		assert_int_equal(0, hw.domains);
		assert_int_equal(0, iopf_iommu_requests_granted(ctl.iommu));
	}
}

static void
an_attach_whose_undo_failed_is_undone_by_the_next_attach(void **state)
{
	(void)state;
	ctl_open(true, false);
	for (uint32_t pasid = 1; pasid < 3; pasid++) {
		fail_attach_and_its_undo(ctl.domain[1], pasid == 1, -ENOSPC);
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		assert_int_equal(-EBUSY, iopf_domain_attach(ctl.domain[2], ctl.dev[0], 1));
		assert_int_equal(1, hw.attached);
		assert_int_equal(0, iopf_domain_attach(ctl.domain[2], ctl.dev[0], pasid));
		assert_int_equal(1, hw.attached);
		assert_int_equal(1, hw.domains);
		/* The attachment of domain 1 is gone: its detach has no effect. */
		assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[0], 1));
		assert_int_equal(0, iopf_domain_detach(ctl.domain[2], ctl.dev[0], pasid));
		assert_int_equal(0, hw.attached);
	}
}

static void
an_attach_whose_undo_failed_is_undone_with_its_device(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	ctl_open(true, false);
	fail_attach_and_its_undo(ctl.domain[1], false, -EIO);
	hw.knobs[ARRAY_DETACH].nb_fail = 1;
	assert_int_equal(-ETIMEDOUT, iopf_dev_remove(ctl.dev[0]));
	assert_int_equal(0, iopf_dev_remove(ctl.dev[0]));
	assert_int_equal(0, hw.attached);
	ctl.dev[0] = iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(ctl.dev[0]);
}

/* ATS cannot be switched off at the device, so that the driver's detach is not called. */
static void
no_handler_gets_faults_of_an_attach_whose_undo_failed(void **state)
{
	(void)state;
	ctl_open(true, false);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	ctl.fail_pri = -EIO;
	ctl.fail_ats_off = -EIO;
	assert_int_equal(-EIO, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 1));
	ctl.fail_pri = ctl.fail_ats_off = 0;
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = 1, .token = 1, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	iopf_poll(ctl.poller);
	assert_int_equal(0, ctl.last_id);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	/* A start switches PRI on for devices that are attached. */
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	assert_false(ctl.pri_fn.pri);
	assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[0], 1));
	assert_int_equal(0, hw.attached);
}

static void
a_failed_detach_continues_with_the_next_call(void **state)
{
	(void)state;
	ctl_open(false, true);
	hw.knobs[ARRAY_DETACH].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_DETACH].nb_fail = 2;
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	/* A later fault is answered Invalid, as if the device were not attached. */
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	ctl_put_stall(0, 1);
	iopf_poll(ctl.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-EEXIST, iopf_domain_attach(ctl.domain[1], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(-EBUSY, iopf_domain_destroy(ctl.domain[0]));
	assert_int_equal(NB_DEVS, hw.attached);
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(NB_DEVS - 1, hw.attached);
}

static void
a_removal_that_failed_can_be_called_again(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	ctl_open(false, true);
	hw.knobs[ARRAY_DEV_DEL].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_DEV_DEL].nb_fail = 1;
	assert_int_equal(-ETIMEDOUT, iopf_dev_remove(ctl.dev[0]));
	assert_null(iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 }));
	assert_int_equal(EEXIST, rte_errno);
	assert_int_equal(0, iopf_dev_remove(ctl.dev[0]));
	ctl.dev[0] = iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(ctl.dev[0]);
}

/*
 * Invalidations do not starve attach and detach
 */

static void
attach_waits_for_no_invalidation(void **state)
{
	struct call *held, *attach;

	(void)state;
	ctl_open(false, true);
	hw.knobs[ARRAY_INVALIDATE].hold = 1;
	held = ctl_start_call(ctl_invalidate, ctl.domain[1]);
	assert_true(array_wait_held(ARRAY_INVALIDATE, 1));
	attach = ctl_start_call(ctl_attach0, ctl.domain[1]);
	assert_int_equal(0, ctl_end_call(attach));
	/* A detach that is not the last of the domain does not wait either. */
	assert_int_equal(0, iopf_domain_detach(ctl.domain[1], ctl.dev[0], 1));
	assert_false(held->ended);
	array_release(ARRAY_INVALIDATE);
	assert_int_equal(0, ctl_end_call(held));
}

/*
 * The last detach of a domain waits for the invalidations under way. No invalidation that begins
 * later reaches the driver, whatever the scheduler does.
 */
static void
no_invalidation_overtakes_a_detach_that_waits(void **state)
{
	struct call *held, *detach;
	unsigned int reached, n;

	(void)state;
	ctl_open(false, true);
	hw.knobs[ARRAY_INVALIDATE].hold = 1;
	held = ctl_start_call(ctl_invalidate, ctl.domain[2]);
	assert_true(array_wait_held(ARRAY_INVALIDATE, 1));
	detach = ctl_start_call(ctl_detach2, ctl.domain[2]);
	/* The detach waits as soon as an invalidation does not reach the driver. */
	for (n = 0; n < 100000; n++) {
		reached = hw.invalidated;
		assert_int_equal(0, ctl_invalidate(ctl.domain[2]));
		if (hw.invalidated == reached)
			break;
		usleep(100);
	}
	assert_in_range(n, 0, 99999);
	for (n = 0; n < 100; n++)
		assert_int_equal(0, ctl_invalidate(ctl.domain[2]));
	assert_int_equal(reached, hw.invalidated);
	/* The invalidation under way holds the handle, so the detach has not released it. */
	assert_false(detach->ended);
	assert_false(held->ended);
	assert_int_equal(NB_DEVS, hw.domains);
	array_release(ARRAY_INVALIDATE);
	assert_int_equal(0, ctl_end_call(held));
	assert_int_equal(0, ctl_end_call(detach));
	assert_int_equal(NB_DEVS - 1, hw.domains);
}

static int
invalidate_until_stopped(void *domain)
{
	int ret = 0;

	while (!ctl.storm_stop && ret == 0)
		ret = ctl_invalidate(domain);
	return ret;
}

static int
attach_and_detach(void *domain)
{
	int ret = 0;

	for (unsigned int i = 0; i < 200 && ret == 0; i++) {
		ret = iopf_domain_attach(domain, ctl.dev[2], 1 + i % 4);
		if (ret == 0)
			ret = iopf_domain_detach(domain, ctl.dev[2], 1 + i % 4);
	}
	ctl.storm_stop = true;
	return ret;
}

static void
attach_goes_on_beside_threads_that_invalidate_without_pause(void **state)
{
	/* A domain that stays attached to another device, and one that does not. */
	for (unsigned int d = 1; d < 3; d++) {
		struct call *calls[4], *attach;

		(void)state;
		if (d == 1)
			ctl_open(false, true);
		else
			assert_int_equal(0, ctl_detach2(ctl.domain[2]));
		ctl.storm_stop = false;
		hw.invalidate_us = 50;
		ctl.nb_calls = 0;
		for (unsigned int i = 0; i < RTE_DIM(calls); i++)
			calls[i] = ctl_start_call(invalidate_until_stopped, ctl.domain[d]);
		attach = ctl_start_call(attach_and_detach, ctl.domain[d]);
		assert_int_equal(0, ctl_end_call(attach));
		for (unsigned int i = 0; i < RTE_DIM(calls); i++)
			assert_int_equal(0, ctl_end_call(calls[i]));
		for (unsigned int i = 0; i < ctl.nb_calls; i++)
			pthread_join(ctl.calls[i].thread, NULL);
		ctl.nb_calls = 0;
	}
}

/*
 * Grace periods
 */

static void
many_streamids_cost_few_grace_periods(void **state)
{
	static uint32_t sids[65536];
	unsigned int before;
	struct iopf_dev *dev;

	(void)state;
	ctl_open(false, true);
	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		sids[i] = 1000 + i;
	before = interpose_grace_periods;
	dev = iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){
			.sids = sids, .nb_sids = RTE_DIM(sids), .nb_pasids = NB_PASIDS });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], dev, 1));
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], dev, 1));
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_in_range(interpose_grace_periods - before, 1, 16);
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_domain_is_not_destroyed_while_it_is_being_attached),
	CTL_TEST(a_failed_undo_logs_the_next_step),
	CTL_TEST(an_attach_whose_undo_failed_is_undone_by_a_detach),
	CTL_TEST(an_attach_whose_undo_failed_is_undone_by_the_next_attach),
	CTL_TEST(an_attach_whose_undo_failed_is_undone_with_its_device),
	CTL_TEST(no_handler_gets_faults_of_an_attach_whose_undo_failed),
	CTL_TEST(a_failed_detach_continues_with_the_next_call),
	CTL_TEST(a_removal_that_failed_can_be_called_again),
	CTL_TEST(attach_waits_for_no_invalidation),
	CTL_TEST(no_invalidation_overtakes_a_detach_that_waits),
	CTL_TEST(attach_goes_on_beside_threads_that_invalidate_without_pause),
	CTL_TEST(many_streamids_cost_few_grace_periods),
};
TEST_SUITE(control_attach, tests, NULL, NULL);
