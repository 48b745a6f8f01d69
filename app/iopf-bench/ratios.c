/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Absolute times jump when the host moves the cores; times of two modes in one round jump together.
 * So each round gives a ratio, and the report has its median and range.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

double
results_get_metric(const struct results *res, unsigned int round, unsigned int at,
		enum metric metric)
{
	const struct bench_case *c = &res->conf->cases[at];
	const struct cell *cell = results_get_cell(res, round, at);

	switch (metric) {
	case METRIC_P50:
		return hist_get_percentile(&cell->service, 0.5) / res->cycles_per_ns;
	case METRIC_P50_PAGE:
		return results_get_metric(res, round, at, METRIC_P50) / (1u << c->group_log2);
	case METRIC_P99:
		return hist_get_percentile(&cell->service, 0.99) / res->cycles_per_ns;
	case METRIC_RATE:
		if (c->depth == 0)
			return DRAIN_DEPTH * 1e3 / results_get_metric(res, round, at, METRIC_P50);
		return (double)(cell->service.samples << c->group_log2) * res->cycles_per_ns *
				1e3 / (double)cell->cycles;
	}
	return 0;
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct spread
spread_make(double *values, unsigned int n)
{
	struct spread s = { .rounds = n };

	if (n == 0)
		return s;
	qsort(values, n, sizeof(*values), compare_doubles);
	s.min = values[0];
	s.max = values[n - 1];
	s.median = (values[(n - 1) / 2] + values[n / 2]) / 2;
	return s;
}

struct spread
results_get_spread(const struct results *res, unsigned int at, enum metric metric)
{
	double values[BENCH_MAX_ROUNDS];
	unsigned int i, n = 0;

	for (i = 0; i < res->conf->rounds; i++)
		if (res->rounds[i].counted)
			values[n++] = results_get_metric(res, i, at, metric);
	return spread_make(values, n);
}

void
results_sum_cells(const struct results *res, unsigned int at, struct cell *sum)
{
	unsigned int i;

	hist_reset(&sum->service);
	hist_reset(&sum->whole);
	for (i = 0; i < res->conf->rounds; i++) {
		if (!res->rounds[i].counted)
			continue;
		hist_merge(&sum->service, &results_get_cell(res, i, at)->service);
		hist_merge(&sum->whole, &results_get_cell(res, i, at)->whole);
	}
}

static struct spread
ratio_get_spread(const struct results *res, unsigned int num, unsigned int den, enum metric metric,
		bool fast)
{
	double values[BENCH_MAX_ROUNDS], below;
	unsigned int i, n = 0;

	for (i = 0; i < res->conf->rounds; i++) {
		if (!res->rounds[i].counted)
			continue;
		if (fast && !(res->rounds[i].pingpong_ns >= 0 &&
				res->rounds[i].pingpong_ns < BENCH_FAST_NS))
			continue;
		below = results_get_metric(res, i, den, metric);
		if (below > 0)
			values[n++] = results_get_metric(res, i, num, metric) / below;
	}
	return spread_make(values, n);
}

static int
find_case(const struct results *res, const char *mode, unsigned int depth,
		unsigned int group_log2)
{
	const struct bench_case *c = res->conf->cases;
	unsigned int i;

	for (i = 0; i < res->conf->nb_cases; i++, c++)
		if (c->depth == depth && c->group_log2 == group_log2 &&
				strcmp(results_get_mode(res, c->mode), mode) == 0)
			return i;
	return -1;
}

unsigned int
ratios_make(const struct results *res, struct ratio *ratios)
{
	static const struct {
		enum metric metric;
		const char *name;	/* the depth is part of it if a ratio exists at several
					 * depths */
		const char *num, *den;
		unsigned int group_log2;	/* of num */
		enum { LOW, HIGH, DRAIN } at;	/* smallest depth, largest, servicer alone */
	} want[] = {
		{ METRIC_P50, "p50%s_eventfd_over_polled", "eventfd", "polled", 0, LOW },
		{ METRIC_P99, "p99%s_eventfd_over_polled", "eventfd", "polled", 0, LOW },
		{ METRIC_P50, "p50%s_polled_over_null", "polled", "null", 0, LOW },
		{ METRIC_P50, "p50%s_local_over_polled", "local", "polled", 0, LOW },
		{ METRIC_P50, "p50%s_pri_over_stall", "pri", "polled", 0, LOW },
		{ METRIC_P50_PAGE, "p50_page%s_pri_g8_over_stall", "pri", "polled", 3, LOW },
		{ METRIC_RATE, "throughput%s_polled_over_eventfd", "polled", "eventfd", 0, LOW },
		{ METRIC_RATE, "throughput%s_polled_over_eventfd", "polled", "eventfd", 0, HIGH },
		{ METRIC_RATE, "throughput%s_polled_over_local", "polled", "local", 0, HIGH },
		{ METRIC_RATE, "throughput%s_polled_over_null", "polled", "null", 0, HIGH },
		{ METRIC_RATE, "throughput%s_pri_over_stall", "pri", "polled", 0, HIGH },
		{ METRIC_RATE, "capacity%s_polled_over_local", "polled", "local", 0, DRAIN },
		{ METRIC_RATE, "capacity%s_polled_over_null", "polled", "null", 0, DRAIN },
		{ METRIC_RATE, "capacity%s_pri_over_stall", "pri", "polled", 0, DRAIN },
	};
	const struct bench_conf *conf = res->conf;
	unsigned int i, low = conf->depths[0], high = conf->depths[0], d, n = 0;
	char depth[16];
	int num, den;

	for (i = 1; i < conf->nb_depths; i++) {
		if (conf->depths[i] < low)
			low = conf->depths[i];
		if (conf->depths[i] > high)
			high = conf->depths[i];
	}
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		d = want[i].at == DRAIN ? 0 : want[i].at == HIGH ? high : low;
		num = find_case(res, want[i].num, d, want[i].group_log2);
		den = find_case(res, want[i].den, d, 0);
		if (num < 0 || den < 0 || (want[i].at == HIGH && high == low))
			continue;
		snprintf(depth, sizeof(depth), "_d%u", d);
		if (d == 0 || (d == 1 && want[i].metric != METRIC_RATE))
			depth[0] = '\0';
		snprintf(ratios[n].name, sizeof(ratios[n].name), want[i].name, depth);
		ratios[n].all = ratio_get_spread(res, num, den, want[i].metric, false);
		ratios[n].fast = ratio_get_spread(res, num, den, want[i].metric, true);
		n++;
	}
	return n;
}
