/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <math.h>
#include <stdio.h>

#include "report_json.h"

/* Four decimals exceed the precision of the measurement. */
void
report_add_number(cJSON *to, const char *name, double v)
{
	cJSON_AddNumberToObject(to, name, (double)(int64_t)(v * 1e4 + 0.5) / 1e4);
}

void
report_add_spread(cJSON *to, const char *name, const struct spread *s)
{
	cJSON *o;

	if (s->rounds == 0)
		return;
	o = cJSON_AddObjectToObject(to, name);
	report_add_number(o, "median", s->median);
	report_add_number(o, "min", s->min);
	report_add_number(o, "max", s->max);
	report_add_number(o, "rounds", s->rounds);
}

void
report_add_percentiles(cJSON *to, const char *prefix, const struct hist *h, double cycles_per_ns)
{
	static const struct {
		const char *name;
		unsigned int per_10000;
	} points[] = { { "p50_ns", 5000 }, { "p90_ns", 9000 }, { "p99_ns", 9900 },
		{ "p999_ns", 9990 }, { "p9999_ns", 9999 } };
	char name[32];
	unsigned int i;

	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", prefix, points[i].name);
		if (hist_supports(h, points[i].per_10000))
			report_add_number(to, name, hist_get_percentile(h,
					points[i].per_10000 / 1e4) / cycles_per_ns);
		else
			cJSON_AddNullToObject(to, name);
	}
}

void
report_add_histogram(cJSON *to, const char *prefix, const struct hist *h, double cycles_per_ns)
{
	double pair[2];
	char name[32];
	cJSON *list;
	unsigned int i;

	snprintf(name, sizeof(name), "%shistogram", prefix);
	list = cJSON_AddArrayToObject(to, name);
	for (i = 0; i < HIST_BUCKETS; i++) {
		if (h->count[i] == 0)
			continue;
		pair[0] = round((double)hist_get_upper(i) / cycles_per_ns * 100) / 100;
		pair[1] = h->count[i];
		cJSON_AddItemToArray(list, cJSON_CreateDoubleArray(pair, 2));
	}
}

static void
add_case(cJSON *cases, const struct results *res, unsigned int at)
{
	static struct cell sum;
	const struct bench_case *c = &res->conf->cases[at];
	const struct mode_ops *ops = bench_modes[res->conf->modes[c->mode]];
	struct spread p50 = results_get_spread(res, at, METRIC_P50);
	struct spread rate = results_get_spread(res, at, METRIC_RATE);
	struct spread look = results_get_spread(res, at, METRIC_LOOK);
	cJSON *o = cJSON_CreateObject();

	results_sum_cells(res, at, &sum);
	cJSON_AddStringToObject(o, "name", c->name);
	cJSON_AddStringToObject(o, "mode", results_get_mode(res, c->mode));
	if (ops->variants != NULL)
		cJSON_AddStringToObject(o, "variant", ops->variants[c->variant]);
	cJSON_AddItemToArray(cases, o);
	if (res->conf->mmio_ns != 0)
		report_add_number(o, "register_reads_by_fault",
				(double)sum.reads / (double)sum.faults);
	if (c->kind == CASE_OPEN || c->kind == CASE_OPEN_MAX) {
		report_add_open_case(o, res, at, &sum);
		return;
	}
	if (c->kind == CASE_PASSIVE) {
		report_add_passive_case(o, res, &sum);
		return;
	}
	if (c->kind == CASE_DRAIN) {
		report_add_number(o, "waiting", DRAIN_DEPTH);
		report_add_number(o, "ns_per_fault", 1e3 / rate.median);
		if (look.median > 0) {
			report_add_number(o, "ns_per_empty_pass", look.median);
			report_add_spread(o, "ns_per_empty_pass_by_round", &look);
		}
	} else {
		report_add_number(o, "depth", c->depth);
		report_add_number(o, "pages", 1u << c->group_log2);
		report_add_percentiles(o, "", &sum.service, res->cycles_per_ns);
		report_add_number(o, "p50_ns_by_page", hist_get_percentile(&sum.service, 0.5) /
				res->cycles_per_ns / (1u << c->group_log2));
		report_add_percentiles(o, "end_to_end_", &sum.whole, res->cycles_per_ns);
		report_add_number(o, "samples", (double)sum.service.samples);
		report_add_spread(o, "p50_ns_by_round", &p50);
	}
	report_add_number(o, "mfaults_per_s", rate.median);
	report_add_spread(o, "mfaults_per_s_by_round", &rate);
	if (c->kind == CASE_CLOSED) {
		report_add_histogram(o, "", &sum.service, res->cycles_per_ns);
		report_add_histogram(o, "end_to_end_", &sum.whole, res->cycles_per_ns);
	}
}

cJSON *
report_add_round(cJSON *rounds, const struct round *round)
{
	cJSON *o = cJSON_CreateObject();

	if (round->pingpong_ns >= 0)
		report_add_number(o, "pingpong_ns", round->pingpong_ns);
	if (round->foreign >= 0)
		report_add_number(o, "foreign_cores", round->foreign);
	report_add_number(o, "seconds", round->seconds);
	cJSON_AddBoolToObject(o, "counted", round->counted);
	cJSON_AddItemToArray(rounds, o);
	return o;
}

/* The ratios of a run that has this round only. */
static void
add_round_ratios(cJSON *to, const struct results *res, unsigned int r)
{
	static struct ratio ratios[BENCH_MAX_RATIOS];
	struct bench_conf conf = *res->conf;
	struct round only = res->rounds[r];
	struct results one = *res;
	cJSON *list = cJSON_AddObjectToObject(to, "ratios");
	unsigned int i, n;

	conf.rounds = 1;
	only.counted = true;
	one.conf = &conf;
	one.rounds = &only;
	one.cells = results_get_cell(res, r, 0);
	n = ratios_make(&one, ratios);
	for (i = 0; i < n; i++)
		if (ratios[i].all.rounds != 0)
			report_add_number(list, ratios[i].name, ratios[i].all.median);
}

static void
add_round(cJSON *rounds, const struct results *res, unsigned int i)
{
	cJSON *o = report_add_round(rounds, &res->rounds[i]), *cells, *c;
	const struct bench_case *bc = res->conf->cases;
	unsigned int at;

	cells = cJSON_AddObjectToObject(o, "cases");
	for (at = 0; at < res->conf->nb_cases; at++, bc++) {
		double rate = results_get_metric(res, i, at, METRIC_RATE);

		c = cJSON_AddObjectToObject(cells, bc->name);
		if (bc->kind == CASE_DRAIN) {
			report_add_number(c, "ns_per_fault", 1e3 / rate);
			continue;
		}
		if (bc->kind != CASE_OPEN_MAX)
			report_add_percentiles(c, "", &results_get_cell(res, i, at)->service,
					res->cycles_per_ns);
		if (bc->kind == CASE_OPEN)
			report_add_percentiles(c, "generator_lag_",
					&results_get_cell(res, i, at)->lag, res->cycles_per_ns);
		report_add_number(c, "mfaults_per_s", rate);
		if (bc->kind != CASE_CLOSED && bc->kind != CASE_PASSIVE)
			report_add_cpu(c, results_get_metric(res, i, at, METRIC_CPU),
					results_get_metric(res, i, at, METRIC_BUSY));
		/* A device may have few faults, and mfaults_per_s has four decimals. */
		if (bc->kind == CASE_PASSIVE)
			report_add_number(c, "faults_per_s", rate * 1e6);
		report_add_number(c, "samples",
				(double)results_get_cell(res, i, at)->service.samples);
	}
	add_round_ratios(o, res, i);
}

cJSON *
report_make_json(const struct results *res)
{
	static struct ratio ratios[BENCH_MAX_RATIOS];
	unsigned int i, n = ratios_make(res, ratios);
	cJSON *root = cJSON_CreateObject(), *list, *detail, *o;

	report_add_origin(root, res);
	report_add_number(root, "rounds_counted", res->nb_counted);
	if (res->conf->engine == ENGINE_MODEL)
		report_add_number(root, "faults", res->conf->faults);
	list = cJSON_AddArrayToObject(root, "cases");
	for (i = 0; i < res->conf->nb_cases; i++)
		add_case(list, res, i);
	list = cJSON_AddObjectToObject(root, "ratios");
	detail = cJSON_AddObjectToObject(root, "ratios_detail");
	for (i = 0; i < n; i++) {
		report_add_number(list, ratios[i].name, ratios[i].all.median);
		o = cJSON_AddObjectToObject(detail, ratios[i].name);
		report_add_spread(o, "all", &ratios[i].all);
		report_add_spread(o, "close_cores", &ratios[i].fast);
		if (ratios[i].variant != NULL)
			cJSON_AddStringToObject(o, "variant", ratios[i].variant);
		if (ratios[i].at_most > 0)
			report_add_number(o, "at_most", ratios[i].at_most);
		else if (ratios[i].at_least > 0)
			report_add_number(o, "at_least", ratios[i].at_least);
		else
			continue;
		cJSON_AddBoolToObject(o, "met", ratio_is_met(&ratios[i]));
	}
	list = cJSON_AddArrayToObject(root, "rounds");
	for (i = 0; i < res->nb_rounds; i++)
		add_round(list, res, i);
	return root;
}
