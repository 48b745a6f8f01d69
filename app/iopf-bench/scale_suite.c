/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The parts of the suite scaling and its ratios: doc/guides/bench.rst defines them. */

#include <errno.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "scale_suite.h"
#include "suite.h"

/* Of a drain of a servicer: long beside the time in which two servicers see the barrier. */
#define FAULTS		4096
/* An endpoint has 512 page request groups under way at most. */
#define REQUESTS	512
#define LOOP_STEPS	100000
#define REPEATS		5	/* of the cells in a round */

static const struct suite_part parts[] = {
	{ "private", "one servicer and two, each with an SMMU of its own", scale_suite_private },
	{ "shared", "one servicer and two for the queues of one SMMU", scale_suite_shared },
	{ "smmus", "as many faults, of 1 to 64 SMMUs", scale_suite_smmus },
	{ "idle", "passes over 1 to 64 idle SMMUs", scale_suite_idle },
};

static const struct suite_ratio ratios[] = {
	{ "private_2_servicers_over_1", "private", AT_LEAST, 1.9 },
	{ "private_2_servicers_over_1_echo", "private", NO_TARGET, 0 },
	{ "private_2_servicers_over_1_crossed", "private", NO_TARGET, 0 },
	{ "private_2_loops_over_1", "private", NO_TARGET, 0 },
	{ "faults_per_prod_write_at_saturation", "private", AT_LEAST, 32 },
	{ "shared_cmdq_2_servicers_over_1", "shared", NO_TARGET, 0 },
	{ "shared_smmu_2_servicers_over_1_ecmdq", "shared", NO_TARGET, 0 },
	{ "ns_per_fault_64_smmus_over_1", "smmus", NO_TARGET, 0 },
	{ "idle_pass_64_smmus_over_1", "idle", NO_TARGET, 0 },
	{ "idle_pass_64_smmus_over_1_no_msi", "idle", NO_TARGET, 0 },
};

const struct suite_def suite_scaling = {
	.name = "scaling",
	.parts = parts,
	.nb_parts = RTE_DIM(parts),
	.ratios = ratios,
	.nb_ratios = RTE_DIM(ratios),
};

/* One servicer on each of the two CPUs in turn, and between these two servicers. */
struct comparison {
	const char *name;	/* of its figures */
	struct scale_servicer one[2];
	struct scale_servicer two[2][SCALE_MAX_SERVICERS];
};

struct outcome {
	double ratio;			/* two over one, in faults per time */
	double faults_per_prod_write;	/* the smallest */
};

static int
compare(struct suite *suite, struct scale_rig *rig, const struct comparison *c,
		struct outcome *out)
{
	double ratio[REPEATS], one[2 * REPEATS], two[2 * REPEATS], writes[2] = { 0, 0 };
	double faults[2] = { 0, 0 }, pushed = 0;
	struct scale_result r1, r2;
	unsigned int rep, i, k = 0;
	int ret;

	for (rep = 0; rep < REPEATS; rep++) {
		for (i = 0; i < 2; i++, k++) {
			ret = scale_drain(rig, &c->one[i], 1, &r1);
			if (ret == 0)
				ret = scale_drain(rig, c->two[i], SCALE_MAX_SERVICERS, &r2);
			if (ret < 0)
				return ret;
			one[k] = r1.ns / r1.faults;
			two[k] = r2.ns / r2.faults;
			writes[0] += r1.prod_writes;
			writes[1] += r2.prod_writes;
			faults[0] += r1.faults;
			faults[1] += r2.faults;
			pushed += r2.pushed;
		}
		ratio[rep] = (1 / two[k - 1] + 1 / two[k - 2]) / (1 / one[k - 1] + 1 / one[k - 2]);
	}
	out->ratio = spread_make(ratio, REPEATS).median;
	suite_put(suite, spread_make(one, k).median, "%s.1.ns_per_fault", c->name);
	suite_put(suite, spread_make(two, k).median, "%s.2.ns_per_fault", c->name);
	if (writes[0] <= 0 || writes[1] <= 0)
		return 0;
	suite_put(suite, faults[0] / writes[0], "%s.1.faults_per_prod_write", c->name);
	suite_put(suite, faults[1] / writes[1], "%s.2.faults_per_prod_write", c->name);
	suite_put(suite, pushed / faults[1], "%s.2.pushed_share", c->name);
	out->faults_per_prod_write = RTE_MIN(faults[0] / writes[0], faults[1] / writes[1]);
	return 0;
}

/* Lanes first_lane and first_lane + 1 are of different SMMUs. Without them: the loop. */
static struct comparison
make_private(const struct suite *suite, const char *name, unsigned int first_lane, bool crossed,
		uint64_t steps)
{
	const int cpus[2] = { suite->conf->cpu_model, suite->conf->cpu_servicer };
	struct comparison c = { .name = name };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		c.one[i] = (struct scale_servicer){ .cpu = cpus[i], .fill_cpu = cpus[i ^ crossed],
			.first_lane = first_lane + i, .nb_lanes = steps == 0, .steps = steps };
		c.two[0][i] = c.two[1][i] = c.one[i];
	}
	return c;
}

int
scale_suite_private(struct suite *suite)
{
	const struct comparison managed = make_private(suite, "private.managed", 0, false, 0);
	const struct comparison crossed = make_private(suite, "private.crossed", 0, true, 0);
	const struct comparison echo = make_private(suite, "private.echo", 2, false, 0);
	const struct comparison loop = make_private(suite, "private.loop", 0, false, LOOP_STEPS);
	struct outcome m = { 0 }, c = { 0 }, e = { 0 }, l = { 0 };
	struct scale_rig rig;
	unsigned int i;
	int ret;

	ret = scale_open(&rig, suite, &(struct scale_conf){ .nb_smmus = 2, .stalls = FAULTS });
	for (i = 0; ret == 0 && i < 4; i++)
		ret = scale_add_lane(&rig, &(struct scale_lane_conf){ .smmu = i % 2,
				.faults = FAULTS, .echo = i >= 2 });
	if (ret == 0)
		ret = compare(suite, &rig, &managed, &m);
	if (ret == 0)
		ret = compare(suite, &rig, &crossed, &c);
	if (ret == 0)
		ret = compare(suite, &rig, &echo, &e);
	if (ret == 0)
		ret = compare(suite, &rig, &loop, &l);
	ret = scale_close(&rig, ret);
	if (ret < 0)
		return ret;
	suite_put(suite, m.ratio, "private_2_servicers_over_1");
	suite_put(suite, e.ratio, "private_2_servicers_over_1_echo");
	suite_put(suite, c.ratio, "private_2_servicers_over_1_crossed");
	suite_put(suite, l.ratio, "private_2_loops_over_1");
	suite_put(suite, RTE_MIN(RTE_MIN(m.faults_per_prod_write, c.faults_per_prod_write),
			e.faults_per_prod_write), "faults_per_prod_write_at_saturation");
	return 0;
}

/*
 * Each of the two queues alone: two servicers that had nothing in common would need as long as the
 * slower one.
 */
static int
measure_each_queue(struct suite *suite, const char *name, struct scale_rig *rig)
{
	static const char *const names[] = { "stall", "request" };
	const int cpu = suite->conf->cpu_servicer;
	double ns[2][REPEATS], most[2];
	struct scale_result r;
	unsigned int i, rep;
	int ret;

	for (rep = 0; rep < REPEATS; rep++) {
		for (i = 0; i < 2; i++) {
			ret = scale_drain(rig, &(struct scale_servicer){ .cpu = cpu,
					.fill_cpu = cpu, .first_lane = i, .nb_lanes = 1 }, 1, &r);
			if (ret < 0)
				return ret;
			ns[i][rep] = r.ns / r.faults;
		}
	}
	for (i = 0; i < 2; i++) {
		most[i] = spread_make(ns[i], REPEATS).median;
		suite_put(suite, most[i], "%s.%s.ns_per_fault", name, names[i]);
	}
	suite_put(suite, (most[0] + most[1]) / RTE_MAX(most[0], most[1]), "%s.most_ratio",
			name);
	return 0;
}

static int
run_shared(struct suite *suite, const char *name, uint32_t features, double *ratio)
{
	const int cpus[2] = { suite->conf->cpu_model, suite->conf->cpu_servicer };
	struct comparison c = { .name = name };
	struct outcome out = { 0 };
	struct scale_rig rig;
	unsigned int i, k;
	int ret;

	for (i = 0; i < 2; i++) {
		c.one[i] = (struct scale_servicer){ .cpu = cpus[i], .fill_cpu = cpus[i],
			.nb_lanes = 2 };
		for (k = 0; k < 2; k++)
			c.two[i][k] = (struct scale_servicer){ .cpu = cpus[i ^ k],
				.fill_cpu = cpus[i ^ k], .first_lane = k, .nb_lanes = 1 };
	}
	ret = scale_open(&rig, suite, &(struct scale_conf){ .nb_smmus = 1, .stalls = REQUESTS,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI | features });
	for (i = 0; ret == 0 && i < 2; i++)
		ret = scale_add_lane(&rig, &(struct scale_lane_conf){ .faults = REQUESTS,
				.requests = i == 1 });
	if (ret == 0)
		ret = compare(suite, &rig, &c, &out);
	if (ret == 0)
		ret = measure_each_queue(suite, name, &rig);
	*ratio = out.ratio;
	return scale_close(&rig, ret);
}

/*
 * An event queue and a page request queue, whose answers go to one command queue; and, for
 * comparison, those to stalls to an ECMDQ.
 */
int
scale_suite_shared(struct suite *suite)
{
	double shared, ecmdq;
	int ret;

	ret = run_shared(suite, "shared.cmdq", 0, &shared);
	if (ret == 0)
		ret = run_shared(suite, "shared.ecmdq", SMMUV3_MODEL_ECMDQ, &ecmdq);
	if (ret < 0)
		return ret;
	suite_put(suite, shared, "shared_cmdq_2_servicers_over_1");
	suite_put(suite, ecmdq, "shared_smmu_2_servicers_over_1_ecmdq");
	return 0;
}

/* Those of the ratio follow each other. */
static const unsigned int numbers[] = { 1, 64, 2, 32, 4, 16, 8 };
#define NB_NUMBERS	RTE_DIM(numbers)
enum { ONE = 0, MANY = 1 };

int
scale_suite_smmus(struct suite *suite)
{
	double ns[NB_NUMBERS][REPEATS], ratio[REPEATS];
	struct scale_servicer s = { .cpu = suite->conf->cpu_servicer,
		.fill_cpu = suite->conf->cpu_servicer };
	struct scale_result r;
	struct scale_rig rig;
	unsigned int i, k, rep;
	int ret;

	ret = scale_open(&rig, suite, &(struct scale_conf){ .nb_smmus = SCALE_MAX_SMMUS,
			.stalls = FAULTS });
	for (i = 0; ret == 0 && i < SCALE_MAX_SMMUS; i++)
		ret = scale_add_lane(&rig, &(struct scale_lane_conf){ .smmu = i, .faults = FAULTS,
				.echo = true });
	for (rep = 0; ret == 0 && rep < REPEATS; rep++) {
		for (i = 0; ret == 0 && i < NB_NUMBERS; i++) {
			s.nb_lanes = numbers[i];
			for (k = 0; k < s.nb_lanes; k++)
				rig.lanes[k]->conf.faults = FAULTS / s.nb_lanes;
			ret = scale_drain(&rig, &s, 1, &r);
			ns[i][rep] = r.ns / r.faults;
		}
		ratio[rep] = ns[MANY][rep] / ns[ONE][rep];
	}
	ret = scale_close(&rig, ret);
	if (ret < 0)
		return ret;
	for (i = 0; i < NB_NUMBERS; i++)
		suite_put(suite, spread_make(ns[i], REPEATS).median, "smmus.%u.ns_per_fault",
				numbers[i]);
	suite_put(suite, spread_make(ratio, REPEATS).median, "ns_per_fault_64_smmus_over_1");
	return 0;
}

static int
measure_idle_pass(struct scale_rig *rig, unsigned int n, double *ns)
{
	struct iopf_poller *poller = iopf_poller_create(&(struct iopf_poller_conf){
			.name = "idle", .burst = BENCH_BURST });
	unsigned int i;

	for (i = 0; poller != NULL && i < n; i++)
		if (iopf_poller_add(poller, rig->iommus[i], IOPF_QUEUE_EVENTS) < 0)
			break;
	if (poller == NULL || i < n) {
		bench_error("a poller of %u SMMUs: %s", n, rte_strerror(rte_errno));
		iopf_poller_destroy(poller);
		return -EIO;
	}
	*ns = suite_measure_pass_ns(rig->suite, poller);
	iopf_poller_destroy(poller);
	return 0;
}

static int
measure_idle(struct suite *suite, const char *name, uint32_t no_features, double *ratio)
{
	double ns[NB_NUMBERS][REPEATS], ratios_of_repeats[REPEATS];
	struct scale_rig rig;
	unsigned int i, rep;
	int ret;

	ret = scale_open(&rig, suite, &(struct scale_conf){ .nb_smmus = SCALE_MAX_SMMUS,
			.stalls = FAULTS, .no_features = no_features });
	for (rep = 0; ret == 0 && rep < REPEATS; rep++) {
		for (i = 0; ret == 0 && i < NB_NUMBERS; i++)
			ret = measure_idle_pass(&rig, numbers[i], &ns[i][rep]);
		ratios_of_repeats[rep] = ns[MANY][rep] / ns[ONE][rep];
	}
	ret = scale_close(&rig, ret);
	if (ret < 0)
		return ret;
	for (i = 0; i < NB_NUMBERS; i++)
		suite_put(suite, spread_make(ns[i], REPEATS).median, "idle.%s.%u.pass_ns", name,
				numbers[i]);
	*ratio = spread_make(ratios_of_repeats, REPEATS).median;
	return 0;
}

int
scale_suite_idle(struct suite *suite)
{
	double with, without;
	int ret;

	bench_pin_thread("idle", suite->conf->cpu_servicer);
	ret = measure_idle(suite, "msi", 0, &with);
	if (ret == 0)
		ret = measure_idle(suite, "no_msi", SMMUV3_MODEL_NO_MSI, &without);
	if (ret < 0)
		return ret;
	suite_put(suite, with, "idle_pass_64_smmus_over_1");
	suite_put(suite, without, "idle_pass_64_smmus_over_1_no_msi");
	return 0;
}
