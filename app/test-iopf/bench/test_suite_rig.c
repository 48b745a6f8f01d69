/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A round of iopf-bench fails if a fault of it was not answered by the handler. */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "bench_stub.h"
#include "log_lines.h"
#include "smmuv3_model_test.h"
#include "suite.h"
#include "test.h"

#define NB_ACCESSES	64
#define PATIENCE_S	30

static struct bench_conf conf;
static struct suite suite;
static struct rig rig;

static void
open_rig(void)
{
	bench_stub_error[0] = '\0';
	conf.cpu_servicer = sched_getcpu();
	suite.conf = &conf;
	suite.cycles_per_ns = (double)rte_get_tsc_hz() * 1e-9;
	assert_int_equal(0, rig_open(&rig, &suite, 1, IOPF_IDLE_YIELD));
}

static int
run_in_turn(enum iopf_verdict verdict)
{
	assert_non_null(rig_add_source(&rig, &(struct source_conf){ .sid = 8, .depth = 1,
			.once = true, .verdict = verdict }));
	return rig_run_in_turn(&rig, NB_ACCESSES, NULL);
}

static void
a_round_whose_faults_are_answered_is_good(void **state)
{
	(void)state;
	open_rig();
	assert_int_equal(0, run_in_turn(IOPF_ANSWER(IOPF_RAZWI)));
	assert_int_equal(0, rig_run_in_turn(&rig, NB_ACCESSES, NULL));
	assert_int_equal(0, rig_close(&rig, 0));
	assert_string_equal("", bench_stub_error);
}

static void
a_round_with_an_aborted_access_fails(void **state)
{
	(void)state;
	open_rig();
	assert_int_equal(-EIO, run_in_turn(IOPF_ANSWER(IOPF_INVALID)));
	assert_string_equal("0 of 60 accesses were answered by the handler", bench_stub_error);
	assert_int_equal(-EIO, rig_close(&rig, -EIO));
}

static void
a_round_in_which_the_smmu_failed_fails(void **state)
{
	uint64_t end = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();

	(void)state;
	open_rig();
	assert_int_equal(0, run_in_turn(IOPF_ANSWER(IOPF_RAZWI)));
	log_lines_begin();
	smmuv3_model_knob(rig.models[0], SMMUV3_MODEL_KNOB_SFM, 1);
	while (iopf_iommu_stat(rig.iommus[0], IOPF_IOMMU_STAT_RESETS) == 0) {
		assert_true(rte_rdtsc() < end);
		rig_run(&rig, 1, false);
	}
	rig_stop_poller(&rig);
	assert_int_equal(-EIO, rig_close(&rig, 0));
	free(log_lines_end());
	assert_non_null(strstr(bench_stub_error, "was given up"));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_round_whose_faults_are_answered_is_good),
	cmocka_unit_test(a_round_with_an_aborted_access_fails),
	cmocka_unit_test(a_round_in_which_the_smmu_failed_fails),
};
TEST_SUITE(bench_rig, tests, NULL, NULL);
