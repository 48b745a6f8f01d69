/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A drain of the suite scaling serves each fault once, and fails if one is not answered so. */

#include <errno.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include <iopf_handler.h>

#include "bench_stub.h"
#include "scale_suite.h"
#include "suite.h"
#include "test.h"

#define FAULTS	64
/* Threads are not pinned here: on a busy machine a CPU of the two may be away for long. */
#define SERVICER(first, nb) { .cpu = -1, .fill_cpu = -1, .first_lane = first, .nb_lanes = nb }

static struct bench_conf conf;
static struct suite suite;
static struct scale_rig rig;
static struct scale_result result;

static int
set_up(void **state)
{
	(void)state;
	suite.conf = &conf;
	suite.cycles_per_ns = (double)rte_get_tsc_hz() * 1e-9;
	bench_stub_error[0] = '\0';
	return 0;
}

static void
open_rig(unsigned int nb_smmus, uint32_t features)
{
	assert_int_equal(0, scale_open(&rig, &suite, &(struct scale_conf){ .nb_smmus = nb_smmus,
			.stalls = FAULTS, .features = features }));
}

static void
add_lane(unsigned int smmu, bool requests, bool echo)
{
	assert_int_equal(0, scale_add_lane(&rig, &(struct scale_lane_conf){ .smmu = smmu,
			.faults = FAULTS, .requests = requests, .echo = echo }));
}

static void
two_servicers_of_private_smmus_answer_each_fault_once(void **state)
{
	const struct scale_servicer memory[] = { SERVICER(0, 1), SERVICER(1, 1) };
	const struct scale_servicer echo[] = { SERVICER(2, 1), SERVICER(3, 1) };
	unsigned int i;

	(void)state;
	open_rig(2, 0);
	for (i = 0; i < 4; i++)
		add_lane(i % 2, false, i >= 2);
	assert_int_equal(0, scale_drain(&rig, memory, 2, &result));
	assert_true(result.faults == 2 * FAULTS);
	assert_true(result.ns > 0);
	assert_int_equal(0, scale_drain(&rig, echo, 2, &result));
	assert_int_equal(0, scale_drain(&rig, echo, 1, &result));
	assert_true(result.faults == FAULTS);
	assert_int_equal(0, scale_close(&rig, 0));
	assert_string_equal("", bench_stub_error);
}

static void
two_servicers_of_one_smmu_answer_each_fault_once(void **state)
{
	const struct scale_servicer two[] = { SERVICER(0, 1), SERVICER(1, 1) };
	const struct scale_servicer one = SERVICER(0, 2);

	(void)state;
	open_rig(1, SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI);
	add_lane(0, false, false);
	add_lane(0, true, false);
	assert_int_equal(0, scale_drain(&rig, two, 2, &result));
	assert_int_equal(0, scale_drain(&rig, &one, 1, &result));
	assert_true(result.faults == 2 * FAULTS);
	assert_int_equal(0, scale_close(&rig, 0));
	assert_string_equal("", bench_stub_error);
}

static void
a_queue_that_is_full_of_faults_needs_one_prod_write_for_each_burst(void **state)
{
	const struct scale_servicer one = SERVICER(0, 1);
	unsigned int i;

	(void)state;
	open_rig(1, 0);
	for (i = 0; i < 2; i++)
		add_lane(0, false, i == 1);
	assert_int_equal(0, scale_drain(&rig, &one, 1, &result));
	assert_true(result.prod_writes == FAULTS / BENCH_BURST);
	assert_int_equal(0, scale_close(&rig, 0));
}

static enum iopf_verdict
refuse(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(group);
	RTE_SET_USED(ctx);
	return IOPF_ANSWER(IOPF_INVALID);
}

static enum iopf_verdict
take(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(group);
	RTE_SET_USED(ctx);
	return IOPF_TAKEN;
}

/* Of two servicers one gets other answers than it expects: both end. */
static void
check_fails(iopf_handler_t handler, const char *text)
{
	const struct scale_servicer two[] = { SERVICER(0, 1), SERVICER(1, 1) };

	open_rig(2, 0);
	add_lane(0, false, true);
	add_lane(1, false, true);
	assert_int_equal(0, iopf_domain_set_handler(rig.lanes[1]->domain, handler, NULL, NULL));
	assert_int_equal(-EIO, scale_drain(&rig, two, 2, &result));
	if (strstr(bench_stub_error, text) == NULL)
		fail_msg("\"%s\" is not in: %s", text, bench_stub_error);
	assert_int_equal(-EIO, scale_close(&rig, -EIO));
}

static void
a_drain_with_aborted_accesses_fails(void **state)
{
	(void)state;
	check_fails(refuse, "64 of 64 accesses have ended, 64 of them not as");
}

static void
a_drain_with_faults_that_wait_fails(void **state)
{
	(void)state;
	check_fails(take, "accesses have ended, 0 of them");
}

static void
a_fault_that_is_not_counted_by_its_domain_fails(void **state)
{
	const struct scale_servicer one = SERVICER(0, 1);

	(void)state;
	open_rig(1, 0);
	add_lane(0, false, true);
	assert_int_equal(0, scale_drain(&rig, &one, 1, &result));
	rig.lanes[0]->faults++;
	assert_int_equal(-EIO, scale_close(&rig, 0));
	assert_non_null(strstr(bench_stub_error, "reached the domain"));
}

static void
a_queue_that_is_not_full_at_the_begin_of_a_drain_fails(void **state)
{
	const struct scale_servicer one = SERVICER(0, 1);

	(void)state;
	open_rig(1, 0);
	assert_int_equal(0, scale_add_lane(&rig, &(struct scale_lane_conf){ .faults = FAULTS + 1,
			.echo = true }));
	assert_int_equal(-EIO, scale_drain(&rig, &one, 1, &result));
	assert_string_equal("64 of 65 faults were recorded", bench_stub_error);
	assert_int_equal(-EIO, scale_close(&rig, -EIO));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup(two_servicers_of_private_smmus_answer_each_fault_once, set_up),
	cmocka_unit_test_setup(two_servicers_of_one_smmu_answer_each_fault_once, set_up),
	cmocka_unit_test_setup(
		a_queue_that_is_full_of_faults_needs_one_prod_write_for_each_burst, set_up),
	cmocka_unit_test_setup(a_drain_with_aborted_accesses_fails, set_up),
	cmocka_unit_test_setup(a_drain_with_faults_that_wait_fails, set_up),
	cmocka_unit_test_setup(a_fault_that_is_not_counted_by_its_domain_fails, set_up),
	cmocka_unit_test_setup(a_queue_that_is_not_full_at_the_begin_of_a_drain_fails, set_up),
};
TEST_SUITE(bench_scale, tests, NULL, NULL);
