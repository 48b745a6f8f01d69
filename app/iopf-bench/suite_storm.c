/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Parts storm, fairness and breaker: a victim and an attacker, two devices of one SMMU, each in a
 * domain of its own. The variants are those of doc/guides/bench.rst.
 */

#include <errno.h>

#include <rte_cycles.h>

#include "suite.h"

#define VICTIM_SID	8
#define ATTACKER_SID	9
#define VICTIM_DEPTH	256
#define CAPACITY_DEPTH	64
#define OFFERED_SHARE	0.4
#define BREAKER_STALLS	64
#define FINISH_MS	30000
#define ACT_MS		2000
/* Longer than a cell: the device does not come back in between. */
#define QUARANTINE_MS	60000

static const struct iopf_storm_conf breaker = { .max_rate = SUITE_ATTACKER_RATE };
static const struct iopf_storm_conf stall_breaker = { .max_held = BREAKER_STALLS };
static const struct iopf_dev_limits quarantine = { .quarantine_rate = SUITE_ATTACKER_RATE,
	.quarantine_ms = QUARANTINE_MS };

/* What a cell says of its victim and attacker. */
struct outcome {
	double p50, p99, whole_p99, rate, offered;
};

static void
put_counters(struct suite *suite, const char *part, const char *name, const struct rig *rig)
{
	static const enum iopf_dev_stat stats[] = { IOPF_DEV_STAT_REFUSED_SHARE,
		IOPF_DEV_STAT_REFUSED_RATE, IOPF_DEV_STAT_QUARANTINES, IOPF_DEV_STAT_TRIPS };
	static const enum smmuv3_model_stat model_stats[] = { SMMUV3_MODEL_STAT_EVENTS,
		SMMUV3_MODEL_STAT_EVENTS_LOST, SMMUV3_MODEL_STAT_STALLS_HELD };
	const struct source *attacker = rig->nb_sources > 1 ? rig->sources[1] : NULL;
	unsigned int i;

	for (i = 0; i < sizeof(model_stats) / sizeof(model_stats[0]); i++)
		suite_put(suite, (double)smmuv3_model_stat(rig->models[0], model_stats[i]),
				"%s.%s.smmu_%s", part, name,
				smmuv3_model_stat_name(model_stats[i]));
	if (attacker == NULL)
		return;
	suite_put(suite, (double)attacker->served, "%s.%s.attacker_served", part, name);
	suite_put(suite, (double)attacker->aborted, "%s.%s.attacker_aborted", part, name);
	suite_put(suite, (double)atomic_load(&attacker->handled), "%s.%s.attacker_handled", part,
			name);
	for (i = 0; i < sizeof(stats) / sizeof(stats[0]); i++)
		if (iopf_dev_stat(attacker->dev, stats[i]) != 0)
			suite_put(suite, (double)iopf_dev_stat(attacker->dev, stats[i]),
					"%s.%s.%s", part, name, iopf_dev_stat_name(stats[i]));
}

/* Let the storm go on until a policy acts on the attacker, ACT_MS at most. Returns the ms. */
static double
await_policy(struct suite *suite, struct rig *rig)
{
	const struct source *a = rig->nb_sources > 1 ? rig->sources[1] : NULL;
	double ms = 0;

	if (a == NULL || (a->conf.storm == NULL && (a->conf.limits == NULL ||
			a->conf.limits->quarantine_rate == 0))) {
		rig_run(rig, suite->cell_ms / 10.0, false);
		return 0;
	}
	while (ms < ACT_MS && iopf_dev_stat(a->dev, IOPF_DEV_STAT_TRIPS) == 0 &&
			iopf_dev_stat(a->dev, IOPF_DEV_STAT_QUARANTINES) == 0) {
		rig_run(rig, 1, false);
		ms++;
	}
	/* The policy thread changes the SMMU's tables, and what waits is answered. */
	rig_run(rig, suite->cell_ms / 10.0, false);
	return ms;
}

/* One cell: the victim, and the attacker unless NULL. Puts the figures of part.name. */
static int
run_cell(struct suite *suite, const char *part, const char *name, const struct source_conf *victim,
		const struct source_conf *attacker, struct outcome *out)
{
	struct source *v;
	double acts_ms;
	struct rig rig;
	int ret;

	ret = rig_open(&rig, suite, 1, IOPF_IDLE_SPIN);
	if (ret < 0)
		return rig_close(&rig, ret);
	v = rig_add_source(&rig, victim);
	if (v == NULL || (attacker != NULL && rig_add_source(&rig, attacker) == NULL))
		return rig_close(&rig, -EIO);
	ret = rig_begin(&rig);
	if (ret < 0)
		return rig_close(&rig, ret);
	acts_ms = await_policy(suite, &rig);
	rig_run(&rig, suite->cell_ms, true);
	if (acts_ms > 0)
		suite_put(suite, acts_ms, "%s.%s.policy_acts_after_ms", part, name);
	out->p50 = source_get_ns(v, &v->service, 0.5);
	out->p99 = source_get_ns(v, &v->service, 0.99);
	out->whole_p99 = source_get_ns(v, &v->whole, 0.99);
	out->rate = source_get_rate(v);
	out->offered = (double)v->offered / rig.seconds;
	suite_put(suite, out->p50, "%s.%s.p50_ns", part, name);
	suite_put(suite, out->p99, "%s.%s.p99_ns", part, name);
	suite_put(suite, source_get_ns(v, &v->whole, 0.5), "%s.%s.whole_p50_ns", part, name);
	suite_put(suite, out->whole_p99, "%s.%s.whole_p99_ns", part, name);
	suite_put(suite, out->rate, "%s.%s.victim_served_per_s", part, name);
	suite_put(suite, (double)v->refused, "%s.%s.victim_not_started", part, name);
	suite_put(suite, (double)v->aborted, "%s.%s.victim_aborted", part, name);
	put_counters(suite, part, name, &rig);
	return rig_close(&rig, rig_finish(&rig, v, FINISH_MS));
}

static struct source_conf
make_attacker(void)
{
	return (struct source_conf){ .sid = ATTACKER_SID, .depth = SUITE_ATTACKER_DEPTH,
			.work_ns = SUITE_WORK_NS };
}

int
suite_storm(struct suite *suite)
{
	static const struct {
		const char *name;
		const struct iopf_storm_conf *storm;
		const struct iopf_dev_limits *limits;
		enum iopf_verdict verdict;
	} variants[] = {
		{ "breaker", &breaker, NULL, 0 },
		{ "quarantine", NULL, &quarantine, 0 },
		{ "taken", NULL, NULL, IOPF_TAKEN },
		{ "none", NULL, NULL, 0 },
	};
	const struct source_conf victim = { .sid = VICTIM_SID, .depth = VICTIM_DEPTH,
		.interval_ns = SUITE_VICTIM_NS, .work_ns = SUITE_WORK_NS };
	struct source_conf attacker = make_attacker();
	double worst = 0, worst_whole = 0;
	struct outcome alone, beside;
	unsigned int i;
	int ret;

	ret = run_cell(suite, "storm", "alone", &victim, NULL, &alone);
	for (i = 0; ret == 0 && i < sizeof(variants) / sizeof(variants[0]); i++) {
		attacker.storm = variants[i].storm;
		attacker.limits = variants[i].limits;
		attacker.verdict = variants[i].verdict;
		ret = run_cell(suite, "storm", variants[i].name, &victim, &attacker, &beside);
		suite_put(suite, beside.p99 / alone.p99, "victim_p99_over_alone_%s",
				variants[i].name);
		suite_put(suite, beside.p50 / alone.p50, "victim_p50_over_alone_%s",
				variants[i].name);
		if (i == sizeof(variants) / sizeof(variants[0]) - 1)
			break;
		if (beside.p99 > worst)
			worst = beside.p99;
		if (beside.whole_p99 > worst_whole)
			worst_whole = beside.whole_p99;
	}
	suite_put(suite, worst / alone.p99, "victim_p99_over_alone");
	suite_put(suite, worst_whole / alone.whole_p99, "victim_whole_p99_over_alone");
	return ret;
}

int
suite_fairness(struct suite *suite)
{
	struct source_conf victim = { .sid = VICTIM_SID, .depth = CAPACITY_DEPTH,
		.work_ns = SUITE_WORK_NS };
	struct source_conf attacker = make_attacker();
	struct iopf_dev_limits limits = { 0 };
	const struct {
		const char *name;
		const struct iopf_storm_conf *storm;
		const struct iopf_dev_limits *limits;
		enum iopf_verdict verdict;
	} variants[] = {
		{ "rate", NULL, &limits, 0 },
		{ "breaker", &breaker, NULL, 0 },
		{ "taken", NULL, NULL, IOPF_TAKEN },
		{ "none", NULL, NULL, 0 },
	};
	struct outcome out;
	double worst = -1;
	unsigned int i;
	int ret;

	ret = run_cell(suite, "fairness", "capacity", &victim, NULL, &out);
	victim.depth = SUITE_STALLS;
	victim.interval_ns = 1e9 / (OFFERED_SHARE * out.rate);
	limits.rate = (uint32_t)(out.rate / 2);
	limits.burst = CAPACITY_DEPTH;
	for (i = 0; ret == 0 && i < sizeof(variants) / sizeof(variants[0]); i++) {
		attacker.storm = variants[i].storm;
		attacker.limits = variants[i].limits;
		attacker.verdict = variants[i].verdict;
		ret = run_cell(suite, "fairness", variants[i].name, &victim, &attacker, &out);
		suite_put(suite, out.rate / out.offered, "victim_throughput_over_share_%s",
				variants[i].name);
		if (i < sizeof(variants) / sizeof(variants[0]) - 1 &&
				(worst < 0 || out.rate / out.offered < worst))
			worst = out.rate / out.offered;
	}
	suite_put(suite, worst, "victim_throughput_over_share");
	return ret;
}

int
suite_breaker(struct suite *suite)
{
	const struct source_conf victim = { .sid = VICTIM_SID, .depth = VICTIM_DEPTH,
		.interval_ns = SUITE_VICTIM_NS, .work_ns = SUITE_WORK_NS };
	struct source_conf attacker = make_attacker();
	struct source *v, *a;
	struct rig rig;
	uint64_t start;
	int ret;

	attacker.once = true;
	attacker.verdict = IOPF_TAKEN;
	attacker.storm = &stall_breaker;
	ret = rig_open(&rig, suite, 1, IOPF_IDLE_SPIN);
	if (ret < 0)
		return rig_close(&rig, ret);
	v = rig_add_source(&rig, &victim);
	a = v == NULL ? NULL : rig_add_source(&rig, &attacker);
	if (a == NULL)
		return rig_close(&rig, -EIO);
	ret = rig_begin(&rig);
	if (ret < 0)
		return rig_close(&rig, ret);
	v->recording = a->recording = true;
	start = smmuv3_model_cycles();
	ret = rig_finish(&rig, a, FINISH_MS);
	suite_put(suite, (double)(smmuv3_model_cycles() - start) / suite->cycles_per_ns * 1e-6,
			"breaker.end_ms");
	if (ret == 0)
		rig_run(&rig, suite->cell_ms, true);
	suite_put(suite, v->offered == 0 ? 0 : (double)v->served / (double)v->offered,
			"breaker.victim_rate_over_offered");
	suite_put(suite, source_get_ns(v, &v->service, 0.99), "breaker.victim_p99_ns");
	suite_put(suite, (double)a->aborted, "breaker.attacker_aborted");
	suite_put(suite, (double)iopf_dev_stat(a->dev, IOPF_DEV_STAT_TRIPS), "breaker.trips");
	return rig_close(&rig, ret < 0 ? ret : rig_finish(&rig, v, FINISH_MS));
}
