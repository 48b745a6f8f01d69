/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "progress.h"
#include "report_json.h"
#include "suite.h"

static const struct suite_part parts[] = {
	{ "storm", "a victim's latency beside a storm", suite_storm },
	{ "fairness", "a victim's throughput beside a storm", suite_fairness },
	{ "overload", "throughput when twice as much is offered", suite_overload },
	{ "duplicate", "the cost of further faults on a page", suite_duplicate },
	{ "breaker", "the time in which a breaker ends a storm", suite_breaker },
	{ "replace", "accesses while their domain is replaced", suite_replace },
	{ "sids", "4096 StreamIDs", suite_sids },
	{ "smmus", "64 SMMUs with one poller", suite_smmus },
	{ "idle", "cost and wake-up latency of the idle policies", suite_idle },
};

static const struct suite_ratio ratios[] = {
	{ "victim_p99_over_alone", "storm", AT_MOST, 1.5 },
	{ "victim_p99_over_alone_breaker", "storm", NO_TARGET, 0 },
	{ "victim_p99_over_alone_quarantine", "storm", NO_TARGET, 0 },
	{ "victim_p99_over_alone_taken", "storm", NO_TARGET, 0 },
	{ "victim_p99_over_alone_none", "storm", NO_TARGET, 0 },
	{ "victim_p50_over_alone_breaker", "storm", NO_TARGET, 0 },
	{ "victim_p50_over_alone_quarantine", "storm", NO_TARGET, 0 },
	{ "victim_p50_over_alone_taken", "storm", NO_TARGET, 0 },
	{ "victim_p50_over_alone_none", "storm", NO_TARGET, 0 },
	{ "victim_whole_p99_over_alone", "storm", NO_TARGET, 0 },
	{ "victim_throughput_over_share", "fairness", AT_LEAST, 0.9 },
	{ "victim_throughput_over_share_rate", "fairness", NO_TARGET, 0 },
	{ "victim_throughput_over_share_breaker", "fairness", NO_TARGET, 0 },
	{ "victim_throughput_over_share_taken", "fairness", NO_TARGET, 0 },
	{ "victim_throughput_over_share_none", "fairness", NO_TARGET, 0 },
	{ "overload_over_peak", "overload", AT_LEAST, 0.95 },
	{ "duplicate_cost_over_fault", "duplicate", AT_MOST, 0.3 },
	{ "joined_cost_over_fault", "duplicate", AT_MOST, 0.3 },
	{ "replace_rate_over_without", "replace", NO_TARGET, 0 },
	{ "p50_4096_sids_over_1", "sids", AT_MOST, 1.25 },
	{ "p50_64_smmus_over_1", "smmus", AT_MOST, 1.25 },
};

const struct suite_def suite_fault_path = {
	.name = "fault-path",
	.parts = parts,
	.nb_parts = sizeof(parts) / sizeof(parts[0]),
	.ratios = ratios,
	.nb_ratios = sizeof(ratios) / sizeof(ratios[0]),
};

static struct suite_figure *
suite_find(const struct suite *suite, const char *name)
{
	unsigned int i;

	for (i = 0; i < suite->nb_figures; i++)
		if (strcmp(suite->figures[i].name, name) == 0)
			return (struct suite_figure *)(uintptr_t)&suite->figures[i];
	return NULL;
}

void
suite_put(struct suite *suite, double value, const char *fmt, ...)
{
	char name[SUITE_NAME_LEN];
	struct suite_figure *figure;
	unsigned int i;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	figure = suite_find(suite, name);
	if (figure == NULL && suite->nb_figures < SUITE_MAX_FIGURES) {
		figure = &suite->figures[suite->nb_figures++];
		memcpy(figure->name, name, sizeof(name));
		for (i = 0; i < BENCH_MAX_ROUNDS; i++)
			figure->measured[i] = false;
	}
	if (figure == NULL) {
		bench_error("more than %d figures", SUITE_MAX_FIGURES);
		return;
	}
	figure->values[suite->round] = value;
	figure->measured[suite->round] = true;
}

struct spread
suite_get_spread(const struct suite *suite, const char *name)
{
	const struct suite_figure *figure = suite_find(suite, name);
	double values[BENCH_MAX_ROUNDS];
	unsigned int i, n = 0;

	for (i = 0; figure != NULL && i < suite->conf->rounds; i++)
		if (suite->rounds.rounds[i].counted && figure->measured[i])
			values[n++] = figure->values[i];
	return spread_make(values, n);
}

static int
suite_run_round(struct suite *suite)
{
	const struct bench_conf *conf = suite->conf;
	struct round *round = &suite->rounds.rounds[suite->round];
	const struct suite_part *part = conf->suite->parts;
	unsigned int i;
	int ret;

	round_begin(conf, round);
	for (i = 0; i < conf->suite->nb_parts; i++, part++) {
		if (conf->parts != 0 && !(conf->parts & (UINT32_C(1) << i)))
			continue;
		if (interrupt_is_asked())
			return -EINTR;
		fprintf(stderr, "iopf-bench: round %u of %u: %s\n", suite->round + 1, conf->rounds,
				part->what);
		ret = part->run(suite);
		if (ret < 0) {
			bench_error("part %s failed: %s", part->name, strerror(-ret));
			return ret;
		}
	}
	round_end(conf, round);
	return 0;
}

int
suite_run(const struct bench_conf *conf)
{
	struct suite *suite = calloc(1, sizeof(*suite));
	int ret = 0;

	if (suite == NULL)
		return -ENOMEM;
	suite->conf = conf;
	suite->cycles_per_ns = (double)rte_get_tsc_hz() * 1e-9;
	suite->cell_ms = conf->quick ? 100 : 300;
	suite->rounds.conf = conf;
	suite->rounds.cycles_per_ns = suite->cycles_per_ns;
	suite->rounds.rounds = calloc(conf->rounds, sizeof(*suite->rounds.rounds));
	if (suite->rounds.rounds == NULL)
		ret = -ENOMEM;
	interrupt_catch();
	for (; suite->round < conf->rounds && ret == 0; suite->round++) {
		ret = suite_run_round(suite);
		suite->rounds.nb_rounds += ret == 0;
	}
	if (ret == -EINTR)
		ret = rounds_keep(&suite->rounds);
	if (ret == 0) {
		rounds_select(&suite->rounds);
		suite_print(suite);
		ret = report_write_files(conf, suite_make_json(suite));
		if (ret == 0 && suite->rounds.interrupted)
			ret = -EINTR;
	}
	results_free(&suite->rounds);
	free(suite);
	return ret;
}
