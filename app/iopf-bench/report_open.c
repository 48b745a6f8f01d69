/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The open loop in the report: its table, and its cases in JSON. */

#include <stdio.h>

#include "report_json.h"

/* A percentile in 10 columns, or "-" if too few samples are beyond it. */
static void
print_percentile(const struct hist *h, unsigned int per_10000, double cycles_per_ns)
{
	if (hist_supports(h, per_10000))
		printf(" %9.0f", hist_get_percentile(h, per_10000 / 1e4) / cycles_per_ns);
	else
		printf(" %9s", "-");
}

/* In half of the rounds that count, or more? */
static bool
case_kept_up(const struct results *res, unsigned int at)
{
	unsigned int i, n = 0;

	for (i = 0; i < res->conf->rounds; i++)
		n += res->rounds[i].counted && open_kept_up(results_get_cell(res, i, at));
	return 2 * n >= res->nb_counted;
}

/* In millions in a second; the median of the rounds. */
static double
get_offered(const struct results *res, unsigned int at)
{
	double values[BENCH_MAX_ROUNDS];
	unsigned int i, n = 0;

	for (i = 0; i < res->conf->rounds; i++)
		if (res->rounds[i].counted)
			values[n++] = 1e3 * res->cycles_per_ns /
					results_get_cell(res, i, at)->interval;
	return spread_make(values, n).median;
}

/* The median of the rounds; negative: unknown. */
static double
get_share(const struct results *res, unsigned int at, enum metric metric)
{
	struct spread s = results_get_spread(res, at, metric);

	return s.rounds > 0 ? s.median : -1;
}

/* In percent of a CPU, or "-", in 6 columns. */
static void
print_share(double share)
{
	if (share >= 0)
		printf(" %5.1f", share * 100);
	else
		printf(" %5s", "-");
}

static void
print_case(const struct results *res, unsigned int at)
{
	static struct cell sum;
	const struct bench_case *c = &res->conf->cases[at];
	double ns = res->cycles_per_ns;

	results_sum_cells(res, at, &sum);
	printf("%4u%% %-8s %-8s | %7.3f %7.3f |", c->load, open_arrival_names[c->arrival],
			results_get_mode(res, c->mode), get_offered(res, at),
			results_get_spread(res, at, METRIC_RATE).median);
	print_percentile(&sum.service, 5000, ns);
	print_percentile(&sum.service, 9000, ns);
	print_percentile(&sum.service, 9900, ns);
	print_percentile(&sum.service, 9990, ns);
	print_percentile(&sum.service, 9999, ns);
	printf(" |");
	print_percentile(&sum.lag, 5000, ns);
	print_percentile(&sum.lag, 9900, ns);
	printf(" |");
	print_share(get_share(res, at, METRIC_CPU));
	print_share(get_share(res, at, METRIC_BUSY));
	printf(" | %8lu%s\n", (unsigned long)sum.service.samples,
			case_kept_up(res, at) ? "" : " generator too slow");
}

void
report_print_open(const struct results *res)
{
	const struct bench_case *c = res->conf->cases;
	struct spread s;
	unsigned int i;

	for (i = 0; i < res->conf->nb_cases && c[i].kind != CASE_OPEN_MAX; i++)
		;
	if (i == res->conf->nb_cases)
		return;
	printf("\nopen loop: faults at a rate, each timed from when it was due\n"
			"at most, by servicer and generator together   Mpages/s [rounds]\n");
	for (i = 0; i < res->conf->nb_cases; i++) {
		if (c[i].kind != CASE_OPEN_MAX)
			continue;
		s = results_get_spread(res, i, METRIC_RATE);
		printf("       %-8s %40.3f [%6.3f-%7.3f]\n", results_get_mode(res, c[i].mode),
				s.median, s.min, s.max);
	}
	printf("%5s %-8s %-8s | %15s | %9s %9s %9s %9s %9s | %19s | %11s | %8s\n", "load", "arrival",
			"mode", "Mpages/s: given", "p50 ns", "p90", "p99", "p99.9", "p99.99",
			"generator late: p50", "servicer: %", "samples");
	printf("%23s | %7s %7s | %49s | %9s %9s | %5s %5s |\n", "", "", "reached", "", "", "p99",
			"CPU", "busy");
	for (i = 0; i < res->conf->nb_cases; i++)
		if (c[i].kind == CASE_OPEN)
			print_case(res, i);
}

void
report_add_cpu(cJSON *to, double cpu, double busy)
{
	if (cpu >= 0)
		report_add_number(to, "servicer_cpu_share", cpu);
	else
		cJSON_AddNullToObject(to, "servicer_cpu_share");
	if (busy >= 0)
		report_add_number(to, "servicer_busy_share", busy);
	else
		cJSON_AddNullToObject(to, "servicer_busy_share");
}

void
report_add_open_case(cJSON *to, const struct results *res, unsigned int at, const struct cell *sum)
{
	const struct bench_case *c = &res->conf->cases[at];
	struct spread rate = results_get_spread(res, at, METRIC_RATE);
	struct spread p50 = results_get_spread(res, at, METRIC_P50);
	struct spread p99 = results_get_spread(res, at, METRIC_P99);
	double ns = res->cycles_per_ns;

	cJSON_AddStringToObject(to, "loop", "open");
	report_add_number(to, "mfaults_per_s", rate.median);
	report_add_spread(to, "mfaults_per_s_by_round", &rate);
	report_add_number(to, "samples", (double)sum->service.samples);
	report_add_cpu(to, get_share(res, at, METRIC_CPU), get_share(res, at, METRIC_BUSY));
	if (c->kind == CASE_OPEN_MAX)
		return;
	cJSON_AddStringToObject(to, "arrival", open_arrival_names[c->arrival]);
	report_add_number(to, "load", c->load / 100.0);
	report_add_number(to, "offered_mfaults_per_s", get_offered(res, at));
	report_add_percentiles(to, "", &sum->service, ns);
	report_add_percentiles(to, "end_to_end_", &sum->whole, ns);
	report_add_percentiles(to, "generator_lag_", &sum->lag, ns);
	cJSON_AddBoolToObject(to, "generator_kept_up", case_kept_up(res, at));
	report_add_spread(to, "p50_ns_by_round", &p50);
	report_add_spread(to, "p99_ns_by_round", &p99);
	report_add_histogram(to, "", &sum->service, ns);
	report_add_histogram(to, "end_to_end_", &sum->whole, ns);
	report_add_histogram(to, "generator_lag_", &sum->lag, ns);
}
