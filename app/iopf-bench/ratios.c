/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Absolute times jump with the place of the two cores; what two modes took in the
 * same round jumps together. So a ratio is taken in each round, and its median
 * and range are given.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

double
results_metric(const struct results *res, unsigned int round, unsigned int depth,
		unsigned int mode, enum metric metric)
{
	const struct cell *cell = results_cell(res, round, depth, mode);
	double ns;

	switch (metric) {
	case METRIC_P50:
		return hist_percentile(&cell->service, 0.5) / res->cycles_per_ns;
	case METRIC_P99:
		return hist_percentile(&cell->service, 0.99) / res->cycles_per_ns;
	case METRIC_RATE:
		return (double)cell->service.samples * res->cycles_per_ns * 1e3 /
				(double)cell->cycles;
	case METRIC_DRAIN:
		ns = res->drain_ns[round * res->conf->nb_modes + mode];
		return ns > 0 ? 1e3 / ns : 0;
	}
	return 0;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct spread
spread_make(double *values, unsigned int n)
{
	struct spread s = { .rounds = n };

	if (n == 0)
		return s;
	qsort(values, n, sizeof(*values), compare);
	s.min = values[0];
	s.max = values[n - 1];
	s.median = (values[(n - 1) / 2] + values[n / 2]) / 2;
	return s;
}

struct spread
results_spread(const struct results *res, unsigned int depth, unsigned int mode,
		enum metric metric)
{
	double values[BENCH_MAX_ROUNDS];
	unsigned int i, n = 0;

	for (i = 0; i < res->conf->rounds; i++)
		if (res->rounds[i].counted)
			values[n++] = results_metric(res, i, depth, mode, metric);
	return spread_make(values, n);
}

static struct spread
ratio_spread(const struct results *res, unsigned int depth, unsigned int num, unsigned int den,
		enum metric metric, bool fast)
{
	double values[BENCH_MAX_ROUNDS], below;
	unsigned int i, n = 0;

	for (i = 0; i < res->conf->rounds; i++) {
		if (!res->rounds[i].counted)
			continue;
		if (fast && !(res->rounds[i].pingpong_ns >= 0 &&
				res->rounds[i].pingpong_ns < BENCH_FAST_NS))
			continue;
		below = results_metric(res, i, depth, den, metric);
		if (below > 0)
			values[n++] = results_metric(res, i, depth, num, metric) / below;
	}
	return spread_make(values, n);
}

static int
find_mode(const struct results *res, const char *name)
{
	unsigned int m;

	for (m = 0; m < res->conf->nb_modes; m++)
		if (strcmp(results_mode(res, m), name) == 0)
			return m;
	return -1;
}

unsigned int
ratios_make(const struct results *res, struct ratio *ratios)
{
	static const struct {
		enum metric metric;
		const char *metric_name;
		const char *num, *den;
		bool deep;	/* at the largest depth, else at the smallest */
	} want[] = {
		{ METRIC_P50, "p50", "eventfd", "polled", false },
		{ METRIC_P99, "p99", "eventfd", "polled", false },
		{ METRIC_P50, "p50", "polled", "null", false },
		{ METRIC_P50, "p50", "local", "polled", false },
		{ METRIC_RATE, "throughput", "polled", "eventfd", false },
		{ METRIC_RATE, "throughput", "polled", "eventfd", true },
		{ METRIC_RATE, "throughput", "polled", "local", true },
		{ METRIC_RATE, "throughput", "polled", "null", true },
		{ METRIC_DRAIN, "capacity", "polled", "local", false },
		{ METRIC_DRAIN, "capacity", "polled", "null", false },
	};
	const struct bench_conf *conf = res->conf;
	unsigned int i, d, low = 0, high = 0, n = 0;
	char depth[16];
	int num, den;

	for (i = 1; i < conf->nb_depths; i++) {
		if (conf->depths[i] < conf->depths[low])
			low = i;
		if (conf->depths[i] > conf->depths[high])
			high = i;
	}
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		num = find_mode(res, want[i].num);
		den = find_mode(res, want[i].den);
		if (num < 0 || den < 0 || (want[i].deep && high == low))
			continue;
		d = want[i].deep ? high : low;
		snprintf(depth, sizeof(depth), "_d%u", conf->depths[d]);
		if (want[i].metric == METRIC_DRAIN ||
				(conf->depths[d] == 1 && want[i].metric != METRIC_RATE))
			depth[0] = '\0';
		snprintf(ratios[n].name, sizeof(ratios[n].name), "%s%s_%s_over_%s",
				want[i].metric_name, depth, want[i].num, want[i].den);
		ratios[n].depth = conf->depths[d];
		ratios[n].all = ratio_spread(res, d, num, den, want[i].metric, false);
		ratios[n].fast = ratio_spread(res, d, num, den, want[i].metric, true);
		n++;
	}
	return n;
}
