/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>

#include "passive.h"

/* " continue_same_block", or nothing. */
static void
print_variant(const struct results *res, const struct bench_case *c)
{
	const struct mode_ops *ops = bench_modes[res->conf->modes[c->mode]];

	if (ops->variants != NULL)
		printf(" %s", ops->variants[c->variant]);
}

/* A percentile in 9 columns, or "-" if too few samples are beyond it. */
static void
print_percentile(const struct hist *h, unsigned int per_10000, double cycles_per_ns)
{
	if (hist_supports(h, per_10000))
		printf(" %8.0f", hist_get_percentile(h, per_10000 / 1e4) / cycles_per_ns);
	else
		printf(" %8s", "-");
}

static void
print_cells(const struct results *res)
{
	static struct cell sum;
	const struct bench_case *c = res->conf->cases;
	struct spread p50, rate;
	double ns = res->cycles_per_ns;
	unsigned int i;

	printf("%-5s  %-8s %5s | %28s %8s %8s %8s | %8s %8s | %24s | %8s\n", "depth", "mode",
			"pages", "service p50 ns [rounds]", "by page", "p99", "p99.9", "e2e p50",
			"p99", "Mpages/s [rounds]", "samples");
	for (i = 0; i < res->conf->nb_cases && c->kind == CASE_CLOSED; i++, c++) {
		results_sum_cells(res, i, &sum);
		p50 = results_get_spread(res, i, METRIC_P50);
		rate = results_get_spread(res, i, METRIC_RATE);
		printf("%-5u  %-8s %5u | %9.0f [%7.0f-%8.0f] %8.0f", c->depth,
				results_get_mode(res, c->mode),
				1u << c->group_log2,
				hist_get_percentile(&sum.service, 0.5) / ns, p50.min, p50.max,
				hist_get_percentile(&sum.service, 0.5) / ns /
				(1u << c->group_log2));
		print_percentile(&sum.service, 9900, ns);
		print_percentile(&sum.service, 9990, ns);
		printf(" |");
		print_percentile(&sum.whole, 5000, ns);
		print_percentile(&sum.whole, 9900, ns);
		printf(" | %7.3f [%6.3f-%7.3f] | %8lu", rate.median, rate.min, rate.max,
				(unsigned long)sum.service.samples);
		print_variant(res, c);
		printf("\n");
	}
}

static void
print_drain(const struct results *res)
{
	const struct bench_case *c = res->conf->cases;
	struct spread s, look;
	unsigned int i;

	printf("\nservicer alone: %u faults wait, the model stands still   Mpages/s [rounds]\n",
			DRAIN_DEPTH);
	for (i = 0; i < res->conf->nb_cases; i++, c++) {
		if (c->kind != CASE_DRAIN)
			continue;
		s = results_get_spread(res, i, METRIC_RATE);
		printf("       %-8s   %6.0f ns per fault %26.3f [%6.3f-%7.3f]",
				results_get_mode(res, c->mode), 1e3 / s.median, s.median,
				s.min, s.max);
		look = results_get_spread(res, i, METRIC_LOOK);
		if (look.median > 0)
			printf("   %.0f ns for a pass without faults", look.median);
		print_variant(res, c);
		printf("\n");
	}
}

static void
print_spread(const struct spread *s)
{
	if (s->rounds == 0)
		printf(" %26s", "no such round");
	else
		printf(" %7.2f [%6.2f-%7.2f] %2u", s->median, s->min, s->max, s->rounds);
}

static void
print_ratios(const struct results *res)
{
	struct ratio ratios[BENCH_MAX_RATIOS];
	unsigned int i, n = ratios_make(res, ratios);

	if (n == 0)
		return;
	printf("\n%-36s  %-27s  %s\n", "ratios, round by round", "median [min-max] rounds",
			"only rounds with close cores");
	for (i = 0; i < n; i++) {
		printf("%-36s ", ratios[i].name);
		print_spread(&ratios[i].all);
		printf("  ");
		print_spread(&ratios[i].fast);
		if (ratios[i].at_most > 0 || ratios[i].at_least > 0)
			printf("  target: at %s %.0f%s", ratios[i].at_most > 0 ? "most" : "least",
					ratios[i].at_most + ratios[i].at_least,
					ratio_is_met(&ratios[i]) ? "" : ", MISSED");
		if (ratios[i].variant != NULL)
			printf("  (%s)", ratios[i].variant);
		printf("\n");
	}
}

static void
print_rounds(const struct results *res)
{
	double min = 0, max = 0, ns, foreign = 0;
	unsigned int i, fast = 0;

	for (i = 0; i < res->nb_rounds; i++) {
		ns = res->rounds[i].pingpong_ns;
		if (i == 0 || ns < min)
			min = ns;
		if (i == 0 || ns > max)
			max = ns;
		fast += ns >= 0 && ns < BENCH_FAST_NS;
		if (res->rounds[i].foreign > foreign)
			foreign = res->rounds[i].foreign;
	}
	if (res->interrupted)
		printf("\nINTERRUPTED: %u of %u rounds are complete.\n", res->nb_rounds,
				res->conf->rounds);
	printf("\nA cache line went between the cores and back in %.0f to %.0f ns; in %u of %u "
			"rounds under %.0f ns.\n", min, max, fast, res->nb_rounds,
			BENCH_FAST_NS);
	if (res->noisy)
		printf("NOISY: other processes used up to %.0f %% of a core, and fewer than %d "
				"rounds were quiet.\nAll rounds are counted; measure again on a "
				"quiet machine.\n", foreign * 100, BENCH_MIN_ROUNDS);
	else
		printf("%u of %u rounds count; one does not if other processes use more than "
				"%.0f %% of a core (here up to %.0f %%).\n", res->nb_counted,
				res->nb_rounds, BENCH_FOREIGN_LIMIT * 100, foreign * 100);
}

void
report_print(const struct results *res)
{
	const struct bench_conf *conf = res->conf;
	unsigned int m;

	if (conf->engine != ENGINE_MODEL) {
		report_print_passive(res);
		return;
	}
	printf("Writes of %d bytes, each to pages of its own that are not mapped.\n"
			"Model and engines on CPU %d, servicer on CPU %d.\n\n", BENCH_OP_SIZE,
			conf->cpu_model, conf->cpu_servicer);
	for (m = 0; m < conf->nb_modes; m++)
		printf("  %-8s %s\n", results_get_mode(res, m), bench_modes[conf->modes[m]]->what);
	printf("\n");
	if (conf->closed) {
		print_cells(res);
		print_drain(res);
	}
	if (conf->open)
		report_print_open(res);
	print_ratios(res);
	print_rounds(res);
	printf("Every fault was answered exactly once, and all bytes are right.\n");
}
