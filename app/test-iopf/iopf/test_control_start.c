/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Control calls during a start: the IOMMU translates already, so that stalls are recorded, and no
 * thread polls yet. On an IOMMU made of arrays.
 */

#include <errno.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_iommu.h"
#include "iopf_policy.h"
#include "test.h"

static struct {
	struct call *call;		/* the start */
	unsigned int out_at_unblock;	/* answers when the block ended */
} start;

static int
start_iommu(void *iommu)
{
	return iopf_iommu_start(iommu);
}

static void
let_start_end(void)
{
	array_release(ARRAY_START);
}

/* A start that does not return before a control call waits. Device 0 has stalled meanwhile. */
static void
begin_start(void)
{
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	hw.knobs[ARRAY_START].hold = 1;
	start.call = ctl_start_call(start_iommu, ctl.iommu);
	assert_true(array_wait_held(ARRAY_START, 1));
	ctl_put_stall(0, 3);
	hw.on_wait = let_start_end;
}

/* Without this the start of a broken library would wait for ever. */
static void
end_start(void)
{
	array_release(ARRAY_START);
	assert_int_equal(0, ctl_end_call(start.call));
}

static void
a_fence_waits_for_the_records_of_a_start(void **state)
{
	unsigned int nb_out;

	(void)state;
	begin_start();
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
	nb_out = hw.nb_out;
	end_start();
	assert_int_equal(1, nb_out);
}

/* A device that is added again gets no answer to a stall of the one that was removed. */
static void
a_removal_waits_for_the_records_of_a_start(void **state)
{
	unsigned int nb_out;

	(void)state;
	begin_start();
	assert_int_equal(0, iopf_dev_remove(ctl.dev[0]));
	nb_out = hw.nb_out;
	ctl.dev[0] = NULL;
	end_start();
	assert_int_equal(1, nb_out);
}

static void
note_unblock(bool on)
{
	if (!on)
		start.out_at_unblock = hw.nb_out;
}

/* The tokens of the stalls that the block has ended are used again after it. */
static void
a_block_ends_after_the_records_of_a_start(void **state)
{
	(void)state;
	begin_start();
	hw.on_block = note_unblock;
	start.out_at_unblock = UINT32_MAX;
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
	end_start();
	assert_int_equal(1, start.out_at_unblock);
}

static void
a_start_that_does_not_end_is_a_timeout(void **state)
{
	(void)state;
	ctl.wait_ms = 200;
	begin_start();
	hw.on_wait = NULL;
	assert_int_equal(-ETIMEDOUT, iopf_dev_fence(ctl.dev[0]));
	end_start();
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
	assert_int_equal(1, hw.nb_out);
}

static void
a_start_that_fails_ends_the_wait(void **state)
{
	(void)state;
	begin_start();
	hw.knobs[ARRAY_START].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_START].nb_fail = 1;
	assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
	array_release(ARRAY_START);
	ctl_end_call(start.call);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
}

static int
detach0(void *domain)
{
	return iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID);
}

/* The IOMMU may translate: ATS stays on at a device that has requests outstanding. */
static void
a_device_drains_during_a_start(void **state)
{
	(void)state;
	ctl.wait_ms = 200;
	ctl_open(true, true);
	ctl.not_drained = true;
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	/* ATS is counted as on: the device has not drained. */
	assert_true(ctl.dev[0]->ats_on);
	hw.knobs[ARRAY_START].hold = 1;
	start.call = ctl_start_call(start_iommu, ctl.iommu);
	assert_true(array_wait_held(ARRAY_START, 1));
	hw.on_wait = let_start_end;
	assert_int_equal(-ETIMEDOUT, detach0(ctl.domain[0]));
	assert_true(ctl.dev[0]->ats_on);
	end_start();
	ctl.not_drained = false;
	assert_int_equal(0, detach0(ctl.domain[0]));
	assert_false(ctl.dev[0]->ats_on);
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_device_drains_during_a_start),
	CTL_TEST(a_fence_waits_for_the_records_of_a_start),
	CTL_TEST(a_removal_waits_for_the_records_of_a_start),
	CTL_TEST(a_block_ends_after_the_records_of_a_start),
	CTL_TEST(a_start_that_does_not_end_is_a_timeout),
	CTL_TEST(a_start_that_fails_ends_the_wait),
};

TEST_SUITE(control_start, tests, NULL, NULL);
