/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The policies for storms through the public interface, on the software SMMUv3 with its oracle: the
 * stall breaker, also where the SMMU can only stall, and quarantine of an endpoint.
 */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <rte_common.h>

#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "pcie_rig.h"
#include "smmuv3_spec.h"
#include "test.h"

#define SID		8
#define VICTIM		0x345
#define LIMIT		4
#define STORM		(3 * LIMIT)
#define RATE		20

static struct pcie r;
static struct pcie_fn fn, victim;
static struct pcie_space space, peace;

static struct told {
	_Atomic unsigned int trips;
	_Atomic unsigned int quarantines, returns;
	struct iopf_episode episode;
} told;

static void
tell_trip(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		const struct iopf_episode *episode, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(dev);
	RTE_SET_USED(pasid);
	RTE_SET_USED(ctx);
	told.episode = *episode;
	told.trips++;
}

static void
tell_quarantine(struct iopf_dev *dev, uint32_t ms, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	if (ms != 0)
		told.quarantines++;
	else
		told.returns++;
}

static const struct iopf_storm_conf breaks = {
	.max_held = LIMIT, .abort_device = true, .tripped = tell_trip,
};

static bool
has_tripped(const void *arg)
{
	RTE_SET_USED(arg);
	return told.trips != 0;
}

static bool
is_quarantined(const void *arg)
{
	RTE_SET_USED(arg);
	return told.quarantines != 0;
}

static bool
has_returned(const void *arg)
{
	RTE_SET_USED(arg);
	return told.returns != 0;
}

static uint64_t
model_events(void)
{
	return pcie_model_stat(&r, SMMUV3_MODEL_STAT_EVENTS);
}

/* Two devices that stall: a victim that is served, and one with this policy. */
static void
open_stalling(unsigned int stall_model, const struct iopf_storm_conf *storm)
{
	memset(&told, 0, sizeof(told));
	pcie_open(&r, &(struct smmuv3_model_conf){ .stall_model = stall_model,
			.harsh = SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_FLIGHT }, NULL);
	pcie_add_stalling_fn(&r, &fn, SID, NULL);
	pcie_create_engine(&r, &fn, &(struct smmuv3_model_dma_conf){ .depth = 64 });
	pcie_create_storm_space(&r, &space, storm);
	pcie_add_stalling_fn(&r, &victim, VICTIM, NULL);
	pcie_create_engine(&r, &victim, &(struct smmuv3_model_dma_conf){ .depth = 64 });
	pcie_create_space(&r, &peace);
	pcie_attach(&peace, &victim, IOPF_NO_PASID);
}

static void
expect_served(struct pcie_fn *f, struct pcie_space *s, unsigned int page)
{
	pcie_write_and_wait(&r, f->dma[0], page, 1, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, s, page, 1);
}

static unsigned int
take_aborted(void)
{
	struct smmuv3_model_done done;
	unsigned int n = 0;

	for (; smmuv3_model_dma_poll(fn.dma[0], &done, 1) == 1; n++)
		assert_int_equal(SMMUV3_MODEL_ABORTED, done.status);
	return n;
}

/* Have the breaker trip. Each access of the storm has aborted, and no stall is left. */
static void
trip(void)
{
	pcie_attach(&space, &fn, IOPF_NO_PASID);
	space.verdict = IOPF_TAKEN;
	space.leave_unmapped = true;
	for (unsigned int i = 0; i < STORM; i++)
		pcie_write(&r, fn.dma[0], i, 1);
	pcie_run_until(&r, has_tripped, NULL);
	pcie_run(&r);
	assert_int_equal(STORM, take_aborted());
	assert_int_equal(LIMIT, space.calls);
	assert_int_equal(0, smmuv3_model_stalls_outstanding(r.m));
	assert_int_equal(0, iopf_domain_pending(space.domain));
	assert_int_equal(LIMIT, iopf_domain_stat(space.domain, IOPF_STAT_CANCELLED));
	assert_int_equal(SID, told.episode.first.sid);
	assert_int_equal(PCIE_VA, told.episode.first.addr);
	assert_true(told.episode.first.flags & IOPF_FAULT_STALLED);
	/* The victim is served as before. */
	expect_served(&victim, &peace, 0);
}

/* The episode is closed: accesses stall again, and are served. */
static void
rearm(void)
{
	struct iopf_episode episode;

	assert_int_equal(0, iopf_domain_rearm(space.domain, fn.dev, IOPF_NO_PASID, &episode));
	assert_int_equal(PCIE_VA, episode.first.addr);
	space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	space.leave_unmapped = false;
}

static bool
is_served_again(const void *arg)
{
	struct smmuv3_model_done done;

	RTE_SET_USED(arg);
	if (smmuv3_model_dma_outstanding(fn.dma[0]) == 0)
		pcie_write(&r, fn.dma[0], 0, 1);
	return smmuv3_model_dma_poll(fn.dma[0], &done, 1) == 1 && done.status == SMMUV3_MODEL_OK;
}

static void
expect_way_back(void)
{
	uint64_t stalls = pcie_model_stat(&r, SMMUV3_MODEL_STAT_STALLS);

	rearm();
	pcie_run_until(&r, is_served_again, NULL);
	assert_true(pcie_model_stat(&r, SMMUV3_MODEL_STAT_STALLS) > stalls);
	pcie_expect_pattern(&r, &space, 0, 1);
	expect_served(&fn, &space, 1);
	expect_served(&victim, &peace, 1);
	assert_int_equal(1, iopf_dev_stat(fn.dev, IOPF_DEV_STAT_TRIPS));
}

static void
a_tripped_breaker_has_accesses_abort_and_stall_again(void **state)
{
	struct iopf_episode episode;
	uint64_t events;

	(void)state;
	open_stalling(SMMUV3_STALL_MODEL_BOTH, &breaks);
	trip();
	/* They abort with a record, which is counted. */
	events = model_events();
	pcie_write_and_wait(&r, fn.dma[0], 20, 1, SMMUV3_MODEL_ABORTED);
	assert_int_equal(events + 1, model_events());
	assert_int_equal(0, iopf_domain_episode(space.domain, fn.dev, IOPF_NO_PASID, &episode));
	assert_true(episode.aborted >= 1);
	assert_int_equal(PCIE_VA + 20 * PCIE_PAGE, episode.highest);
	assert_int_equal(0, r.nb_reports);
	expect_way_back();
	pcie_close(&r);
}

static void
a_smmu_that_can_only_stall_refuses_a_breaker(void **state)
{
	struct iopf_storm_conf conf = breaks;

	(void)state;
	conf.abort_device = false;
	open_stalling(SMMUV3_STALL_MODEL_FORCED, &conf);
	SAYS("set abort_device", assert_int_equal(-ENOTSUP, iopf_domain_attach(space.domain,
			fn.dev, IOPF_NO_PASID)));
	/* Nothing of it is left: the device can have another domain. */
	pcie_write_and_wait(&r, fn.dma[0], 0, 1, SMMUV3_MODEL_ABORTED);
	pcie_attach(&peace, &fn, IOPF_NO_PASID);
	expect_served(&fn, &peace, 0);
	pcie_close(&r);
}

static void
a_smmu_that_can_only_stall_aborts_the_device(void **state)
{
	uint64_t events;

	(void)state;
	open_stalling(SMMUV3_STALL_MODEL_FORCED, &breaks);
	trip();
	/* The whole device aborts, without a record. */
	events = model_events();
	pcie_write_and_wait(&r, fn.dma[0], 20, 1, SMMUV3_MODEL_ABORTED);
	assert_int_equal(events, model_events());
	expect_way_back();
	pcie_close(&r);
}

/*
 * Quarantine of an endpoint
 */

static void
open_endpoint(const struct iopf_dev_limits *limits)
{
	memset(&told, 0, sizeof(told));
	pcie_open(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_LATE |
			SMMUV3_MODEL_HARSH_FLIGHT }, NULL);
	pcie_add_simple(&r, &victim, &peace, VICTIM, 1);
	pcie_add_attached_fn(&r, &fn, &space, SID, 1, 0, &(struct iopf_dev_conf){
			.limits = limits, .wait_ms = 60000 });
	/* Its ATC has a page. */
	expect_served(&fn, &space, 0);
	space.calls = 0;
}

/* PRI and ATS are off, each group is answered, and no access succeeds. */
static void
expect_quarantined(unsigned int outstanding)
{
	unsigned int calls = space.calls;
	uint64_t events;

	assert_true(iopf_dev_is_quarantined(fn.dev));
	assert_string_equal("APpa", fn.log);
	assert_true(smmuv3_model_dma_pri_drained(fn.dma[0]));
	pcie_run(&r);
	assert_int_equal(outstanding, take_aborted());
	assert_int_equal(0, iopf_domain_pending(space.domain));
	assert_int_equal(0, smmuv3_model_dma_pri_outstanding(fn.dma[0]));
	/* Also of the page that its ATC had, and without a record. */
	events = model_events();
	pcie_write_and_wait(&r, fn.dma[0], 0, 1, SMMUV3_MODEL_ABORTED);
	pcie_write_and_wait(&r, fn.dma[0], 60, 1, SMMUV3_MODEL_ABORTED);
	assert_int_equal(events, model_events());
	assert_int_equal(calls, space.calls);
	expect_served(&victim, &peace, 1);
}

static void
expect_free(void)
{
	assert_false(iopf_dev_is_quarantined(fn.dev));
	assert_string_equal("APpaAP", fn.log);
	expect_served(&fn, &space, 0);
	expect_served(&fn, &space, 60);
	expect_served(&victim, &peace, 2);
}

static void
an_endpoint_in_quarantine_loses_pri_and_comes_back(void **state)
{
	const struct iopf_dev_limits limits = {
		.quarantine_rate = RATE,
		/* The checks of the quarantine come before its end: it is ended by hand. */
		.quarantine_ms = 1000000,
		.quarantined = tell_quarantine,
	};

	(void)state;
	open_endpoint(&limits);
	space.verdict = IOPF_TAKEN;
	space.leave_unmapped = true;
	for (unsigned int i = 1; i < 3 * RATE; i++)
		pcie_write(&r, fn.dma[0], i, 1);
	pcie_run_until(&r, is_quarantined, NULL);
	assert_in_range(space.calls, 1, RATE);
	expect_quarantined(3 * RATE - 1);
	assert_true(iopf_dev_stat(fn.dev, IOPF_DEV_STAT_REFUSED_QUARANTINE) > 0);
	assert_int_equal(space.calls, iopf_domain_stat(space.domain, IOPF_STAT_CANCELLED));
	assert_int_equal(0, iopf_dev_release(fn.dev));
	space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	space.leave_unmapped = false;
	expect_free();
	pcie_close(&r);
}

static void
an_endpoint_comes_back_by_itself(void **state)
{
	const struct iopf_dev_limits limits = {
		.quarantine_rate = RATE, .quarantine_ms = 1, .quarantined = tell_quarantine,
	};
	struct smmuv3_model_done done;
	unsigned int ended = 0;

	(void)state;
	open_endpoint(&limits);
	/* No more, so that those that are left then are no relapse. */
	for (unsigned int i = 1; i < RATE + 5; i++)
		pcie_write(&r, fn.dma[0], i, 1);
	pcie_run_until(&r, has_returned, NULL);
	pcie_run(&r);
	assert_int_equal(0, iopf_domain_pending(space.domain));
	/* Those from before the quarantine and after it have succeeded. */
	while (smmuv3_model_dma_poll(fn.dma[0], &done, 1) == 1)
		ended++;
	assert_int_equal(RATE + 4, ended);
	expect_free();
	pcie_close(&r);
}

static void
by_hand_all_groups_of_an_endpoint_are_answered(void **state)
{
	(void)state;
	open_endpoint(NULL);
	space.verdict = IOPF_TAKEN;
	space.leave_unmapped = true;
	for (unsigned int i = 1; i <= 8; i++)
		pcie_write(&r, fn.dma[0], i, 1);
	pcie_run(&r);
	assert_int_equal(8, iopf_domain_pending(space.domain));
	/* Sent, and not read yet. */
	pcie_write(&r, fn.dma[0], 9, 1);
	pcie_run_model(&r);
	assert_int_equal(0, iopf_dev_quarantine(fn.dev));
	assert_int_equal(-ESTALE, iopf_group_respond(space.group.id, IOPF_SUCCESS));
	expect_quarantined(9);
	assert_int_equal(0, iopf_dev_release(fn.dev));
	space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	space.leave_unmapped = false;
	expect_free();
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_tripped_breaker_has_accesses_abort_and_stall_again),
	cmocka_unit_test(a_smmu_that_can_only_stall_refuses_a_breaker),
	cmocka_unit_test(a_smmu_that_can_only_stall_aborts_the_device),
	cmocka_unit_test(an_endpoint_in_quarantine_loses_pri_and_comes_back),
	cmocka_unit_test(an_endpoint_comes_back_by_itself),
	cmocka_unit_test(by_hand_all_groups_of_an_endpoint_are_answered),
};

TEST_SUITE(policies, tests, NULL, NULL);
