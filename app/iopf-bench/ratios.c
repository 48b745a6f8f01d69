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
	case METRIC_P999:
		return hist_get_percentile(&cell->service, 0.999) / res->cycles_per_ns;
	case METRIC_LOOK:
		return cell->look / res->cycles_per_ns;
	case METRIC_WHOLE_P50:
		return hist_get_percentile(&cell->whole, 0.5) / res->cycles_per_ns;
	case METRIC_RATE:
		if (c->kind == CASE_DRAIN)
			return DRAIN_DEPTH * 1e3 / results_get_metric(res, round, at, METRIC_P50);
		return (double)(cell->service.samples << c->group_log2) * res->cycles_per_ns *
				1e3 / (double)cell->cycles;
	case METRIC_CPU:
		return cell->cpu;
	case METRIC_BUSY:
		return cell->busy;
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

static bool
is_of_samples(enum metric metric)
{
	return metric != METRIC_RATE && metric != METRIC_LOOK && metric != METRIC_CPU &&
		metric != METRIC_BUSY;
}

struct spread
results_get_spread(const struct results *res, unsigned int at, enum metric metric)
{
	double values[BENCH_MAX_INTERVALS];
	unsigned int i, n = 0;

	/* An interval of a passive run may have no fault, and then no latency. */
	for (i = 0; i < res->conf->rounds; i++)
		if (res->rounds[i].counted && (!is_of_samples(metric) ||
				results_get_cell(res, i, at)->service.samples != 0)) {
			values[n] = results_get_metric(res, i, at, metric);
			n += values[n] >= 0;
		}
	return spread_make(values, n);
}

void
results_sum_cells(const struct results *res, unsigned int at, struct cell *sum)
{
	unsigned int i;

	hist_reset(&sum->service);
	hist_reset(&sum->whole);
	hist_reset(&sum->lag);
	sum->reads = sum->faults = 0;
	for (i = 0; i < res->conf->rounds; i++) {
		if (!res->rounds[i].counted)
			continue;
		hist_merge(&sum->service, &results_get_cell(res, i, at)->service);
		hist_merge(&sum->whole, &results_get_cell(res, i, at)->whole);
		sum->reads += results_get_cell(res, i, at)->reads;
		sum->faults += results_get_cell(res, i, at)->faults;
		if (res->conf->cases[at].kind == CASE_OPEN)
			hist_merge(&sum->lag, &results_get_cell(res, i, at)->lag);
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
find_case(const struct results *res, const char *mode, const struct bench_case *like)
{
	const struct bench_case *c = res->conf->cases;
	unsigned int i;

	for (i = 0; i < res->conf->nb_cases; i++, c++)
		if (c->kind == like->kind && c->depth == like->depth &&
				c->group_log2 == like->group_log2 && c->load == like->load &&
				c->arrival == like->arrival &&
				strcmp(results_get_mode(res, c->mode), mode) == 0)
			return i;
	return -1;
}

/* A ratio of the mode num over the mode den; name may have a %s. */
struct want {
	enum metric metric;
	const char *name;
	const char *num, *den;
	unsigned int group_log2;	/* of num */
	enum { LOW, HIGH, DRAIN } at;	/* smallest depth, largest, servicer alone */
	double at_most;
};

/* Add a ratio of two cases like @p like, if there are such. Returns the number of ratios. */
static unsigned int
ratio_add(const struct results *res, struct ratio *ratios, unsigned int n, const struct want *want,
		const struct bench_case *like, const char *part)
{
	struct bench_case top = *like;
	int num, den;

	top.group_log2 = want->group_log2;
	num = find_case(res, want->num, &top);
	den = find_case(res, want->den, like);
	if (num < 0 || den < 0 || n == BENCH_MAX_RATIOS)
		return n;
	snprintf(ratios[n].name, sizeof(ratios[n].name), want->name, part);
	ratios[n].at_most = want->at_most;
	ratios[n].at_least = 0;
	ratios[n].variant = NULL;
	ratios[n].all = ratio_get_spread(res, num, den, want->metric, false);
	ratios[n].fast = ratio_get_spread(res, num, den, want->metric, true);
	return n + 1;
}

static unsigned int
get_smallest_depth(const struct bench_conf *conf)
{
	unsigned int i, low = conf->depths[0];

	for (i = 1; i < conf->nb_depths; i++)
		low = conf->depths[i] < low ? conf->depths[i] : low;
	return low;
}

static unsigned int
ratios_make_closed(const struct results *res, struct ratio *ratios)
{
	/* The depth is part of the name if a ratio exists at several depths. */
	static const struct want want[] = {
		{ METRIC_P50, "p50%s_eventfd_over_polled", "eventfd", "polled", 0, LOW, 0 },
		{ METRIC_P99, "p99%s_eventfd_over_polled", "eventfd", "polled", 0, LOW, 0 },
		{ METRIC_P50, "p50%s_polled_over_null", "polled", "null", 0, LOW, 0 },
		{ METRIC_P50, "p50%s_local_over_polled", "local", "polled", 0, LOW, 0 },
		{ METRIC_P50, "p50%s_pri_over_stall", "pri", "polled", 0, LOW, 0 },
		{ METRIC_P50_PAGE, "p50_page%s_pri_g8_over_stall", "pri", "polled", 3, LOW, 0 },
		{ METRIC_RATE, "throughput%s_polled_over_eventfd", "polled", "eventfd", 0, LOW, 0 },
		{ METRIC_RATE, "throughput%s_polled_over_eventfd", "polled", "eventfd", 0, HIGH,
			0 },
		{ METRIC_RATE, "throughput%s_polled_over_local", "polled", "local", 0, HIGH, 0 },
		{ METRIC_RATE, "throughput%s_polled_over_null", "polled", "null", 0, HIGH, 0 },
		{ METRIC_RATE, "throughput%s_pri_over_stall", "pri", "polled", 0, HIGH, 0 },
		{ METRIC_RATE, "capacity%s_polled_over_local", "polled", "local", 0, DRAIN, 0 },
		{ METRIC_RATE, "capacity%s_polled_over_null", "polled", "null", 0, DRAIN, 0 },
		{ METRIC_RATE, "capacity%s_pri_over_stall", "pri", "polled", 0, DRAIN, 0 },
	};
	const struct bench_conf *conf = res->conf;
	unsigned int i, low = get_smallest_depth(conf), high = low, n = 0;
	struct bench_case like;
	char depth[16];

	for (i = 0; i < conf->nb_depths; i++)
		if (conf->depths[i] > high)
			high = conf->depths[i];
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (want[i].at == HIGH && high == low)
			continue;
		like = (struct bench_case){ .kind = want[i].at == DRAIN ? CASE_DRAIN : CASE_CLOSED,
			.depth = want[i].at == DRAIN ? 0 : want[i].at == HIGH ? high : low };
		snprintf(depth, sizeof(depth), "_d%u", like.depth);
		if (like.depth == 0 || (like.depth == 1 && want[i].metric != METRIC_RATE))
			depth[0] = '\0';
		n = ratio_add(res, ratios, n, &want[i], &like, depth);
	}
	return n;
}

void
ratios_choose_variants(struct results *res)
{
	unsigned int i, low = get_smallest_depth(res->conf);
	const struct bench_case *c = res->conf->cases;
	double p50, rate, lowest = 0, highest = 0;

	res->uffd_p50 = res->uffd_rate = -1;
	for (i = 0; i < res->conf->nb_cases; i++) {
		if (bench_modes[res->conf->modes[c[i].mode]] != &mode_uffd)
			continue;
		p50 = results_get_spread(res, i, METRIC_P50).median;
		rate = results_get_spread(res, i, METRIC_RATE).median;
		if (c[i].kind == CASE_CLOSED && c[i].depth == low &&
				(res->uffd_p50 < 0 || p50 < lowest)) {
			res->uffd_p50 = i;
			lowest = p50;
		}
		if (res->uffd_rate < 0 || rate > highest) {
			res->uffd_rate = i;
			highest = rate;
		}
	}
}

bool
ratio_is_met(const struct ratio *ratio)
{
	return (ratio->at_most <= 0 || ratio->all.median <= ratio->at_most) &&
			ratio->all.median >= ratio->at_least;
}

/* Of the best variant. An access is compared with a fault's service, and with a whole access. */
static unsigned int
ratios_make_uffd(const struct results *res, struct ratio *ratios, unsigned int n)
{
	const struct {
		const char *name;
		enum metric metric;
		enum case_kind kind;	/* of "polled" */
		int variant;
		double at_least;
	} want[] = {
		{ "p50%s_uffd_over_polled", METRIC_P50, CASE_CLOSED, res->uffd_p50, 15 },
		{ "end_to_end_p50%s_uffd_over_polled", METRIC_WHOLE_P50, CASE_CLOSED,
			res->uffd_p50, 0 },
		{ "capacity%s_polled_over_uffd", METRIC_RATE, CASE_DRAIN, res->uffd_rate, 20 },
	};
	struct bench_case like = { 0 };
	char depth[16];
	unsigned int i;
	int polled, num, den;

	for (i = 0; i < sizeof(want) / sizeof(want[0]) && n < BENCH_MAX_RATIOS; i++) {
		like.kind = want[i].kind;
		like.depth = like.kind == CASE_DRAIN ? 0 : get_smallest_depth(res->conf);
		polled = find_case(res, "polled", &like);
		if (polled < 0 || want[i].variant < 0)
			continue;
		num = want[i].metric == METRIC_RATE ? polled : want[i].variant;
		den = want[i].metric == METRIC_RATE ? want[i].variant : polled;
		snprintf(depth, sizeof(depth), "_d%u", like.depth);
		snprintf(ratios[n].name, sizeof(ratios[n].name), want[i].name,
				like.depth <= 1 ? "" : depth);
		ratios[n].at_most = 0;
		ratios[n].at_least = want[i].at_least;
		ratios[n].variant = res->conf->cases[want[i].variant].name;
		ratios[n].all = ratio_get_spread(res, num, den, want[i].metric, false);
		ratios[n++].fast = ratio_get_spread(res, num, den, want[i].metric, true);
	}
	return n;
}

/* At half load. The targets are those of Poisson arrivals; others are named. */
static unsigned int
ratios_make_open(const struct results *res, struct ratio *ratios, unsigned int n)
{
	static const struct want want[] = {
		{ METRIC_P50, "p50_open%s_polled_over_null", "polled", "null", 0, LOW, 0 },
		{ METRIC_P99, "p99_open%s_polled_over_null", "polled", "null", 0, LOW, 2 },
		{ METRIC_P999, "p999_open%s_polled_over_null", "polled", "null", 0, LOW, 2 },
	};
	struct bench_case like = { .kind = CASE_OPEN, .load = BENCH_HALF_LOAD };
	unsigned int i;

	for (like.arrival = 0; like.arrival < BENCH_NB_ARRIVALS; like.arrival++)
		for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
			n = ratio_add(res, ratios, n, &want[i], &like,
					like.arrival == ARRIVAL_POISSON ? "" : "_constant");
	return n;
}

unsigned int
ratios_make(const struct results *res, struct ratio *ratios)
{
	unsigned int n = ratios_make_closed(res, ratios);

	return ratios_make_open(res, ratios, ratios_make_uffd(res, ratios, n));
}
