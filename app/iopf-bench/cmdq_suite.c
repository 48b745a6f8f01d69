/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The parts of the suite cmdq and its ratios: doc/guides/bench.rst defines them. */

#include <stdio.h>

#include "cmdq_suite.h"
#include "suite.h"

#define NB_IMPLS	3
/* Threads that invalidate beside the one whose RESUMEs are measured. */
#define RESUME_BESIDE	4

enum { DRIVER, SPINLOCK, GATHER };

static const struct suite_part parts[] = {
	{ "traffic", "calls in a second, with 1 to 32 threads", cmdq_suite_traffic },
	{ "resume", "commands ahead of a RESUME beside threads that invalidate",
		cmdq_suite_resume },
	{ "atomics", "atomic operations of a command", cmdq_suite_atomics },
};

static const struct suite_ratio ratios[] = {
	{ "cmdq_32_threads_over_1", "traffic", AT_LEAST, 0.9 },
	{ "cmdq_2_threads_over_spinlock", "traffic", AT_LEAST, 1 },
	{ "cmdq_32_threads_over_spinlock", "traffic", AT_LEAST, 1 },
	{ "cmdq_32_threads_over_gather", "traffic", AT_LEAST, 1.1 },
	{ "cmdq_32_threads_over_1_map", "traffic", NO_TARGET, 0 },
	{ "cmdq_32_threads_over_1_mixed", "traffic", NO_TARGET, 0 },
	{ "cmdq_2_threads_over_spinlock_map", "traffic", NO_TARGET, 0 },
	{ "cmdq_2_threads_over_spinlock_mixed", "traffic", NO_TARGET, 0 },
	{ "cmdq_32_threads_over_spinlock_map", "traffic", NO_TARGET, 0 },
	{ "cmdq_32_threads_over_spinlock_mixed", "traffic", NO_TARGET, 0 },
	{ "cmdq_32_threads_over_gather_map", "traffic", NO_TARGET, 0 },
	{ "cmdq_32_threads_over_gather_mixed", "traffic", NO_TARGET, 0 },
};

const struct suite_def suite_cmdq = {
	.name = "cmdq",
	.parts = parts,
	.nb_parts = sizeof(parts) / sizeof(parts[0]),
	.ratios = ratios,
	.nb_ratios = sizeof(ratios) / sizeof(ratios[0]),
};

static const struct cmdq_impl *const impls[NB_IMPLS] = {
	[DRIVER] = &cmdq_driver, [SPINLOCK] = &cmdq_spinlock, [GATHER] = &cmdq_gather,
};
static const struct cmdq_impl *const counted[NB_IMPLS] = {
	[DRIVER] = &counted_cmdq_driver, [SPINLOCK] = &counted_cmdq_spinlock,
	[GATHER] = &counted_cmdq_gather,
};
static const char *const kinds[] = { [CMDQ_MAP] = "map", [CMDQ_MIXED] = "mixed" };

/* The cells of ratios are close together in time. */
static const unsigned int threads[] = { 1, 32, 2, 16, 4, 8 };
#define NB_THREADS	(sizeof(threads) / sizeof(threads[0]))
enum { AT_1 = 0, AT_32 = 1, AT_2 = 2 };

/* rates[][]: calls in a second. The queues alternate, and each round begins with another. */
static int
run_kind(struct suite *suite, enum cmdq_kind kind, double rates[NB_THREADS][NB_IMPLS])
{
	unsigned int n, i, at;
	int ret;

	for (n = 0; n < NB_THREADS; n++) {
		for (i = 0; i < NB_IMPLS; i++) {
			struct cmdq_cell cell = { .kind = kind, .threads = threads[n] };

			at = (suite->round + i) % NB_IMPLS;
			cell.impl = impls[at];
			ret = cmdq_cell_run(suite, &cell, suite->cell_ms);
			if (ret < 0)
				return ret;
			rates[n][at] = cell.rate;
			suite_put(suite, cell.rate, "traffic.%s.%s.t%u.calls_per_s", kinds[kind],
					cell.impl->name, threads[n]);
		}
	}
	return 0;
}

int
cmdq_suite_traffic(struct suite *suite)
{
	struct {
		const char *name;
		double worst;
	} r[] = {
		{ "cmdq_32_threads_over_1", -1 },
		{ "cmdq_2_threads_over_spinlock", -1 },
		{ "cmdq_32_threads_over_spinlock", -1 },
		{ "cmdq_32_threads_over_gather", -1 },
	};
	double rates[NB_THREADS][NB_IMPLS], value[4];
	unsigned int kind, i;
	int ret;

	for (kind = CMDQ_MAP; kind <= CMDQ_MIXED; kind++) {
		ret = run_kind(suite, kind, rates);
		if (ret < 0)
			return ret;
		value[0] = rates[AT_32][DRIVER] / rates[AT_1][DRIVER];
		value[1] = rates[AT_2][DRIVER] / rates[AT_2][SPINLOCK];
		value[2] = rates[AT_32][DRIVER] / rates[AT_32][SPINLOCK];
		value[3] = rates[AT_32][DRIVER] / rates[AT_32][GATHER];
		for (i = 0; i < 4; i++) {
			suite_put(suite, value[i], "%s_%s", r[i].name, kinds[kind]);
			if (r[i].worst < 0 || value[i] < r[i].worst)
				r[i].worst = value[i];
		}
	}
	for (i = 0; i < 4; i++)
		suite_put(suite, r[i].worst, "%s", r[i].name);
	return 0;
}

static double
get_ns(const struct suite *suite, const struct hist *h, double share)
{
	return hist_get_percentile(h, share) / suite->cycles_per_ns;
}

int
cmdq_suite_resume(struct suite *suite)
{
	unsigned int i;
	int ret;

	for (i = 0; i < NB_IMPLS; i++) {
		struct cmdq_cell cell = { .kind = CMDQ_RESUME, .threads = 1 + RESUME_BESIDE };
		const char *name;

		cell.impl = impls[(suite->round + i) % NB_IMPLS];
		name = cell.impl->name;
		ret = cmdq_cell_run(suite, &cell, suite->cell_ms);
		if (ret < 0)
			return ret;
		suite_put(suite, hist_get_percentile(&cell.ahead, 0.5),
				"resume.%s.ahead_p50", name);
		suite_put(suite, hist_get_percentile(&cell.ahead, 0.99),
				"resume.%s.ahead_p99", name);
		suite_put(suite, get_ns(suite, &cell.post, 0.5), "resume.%s.post_p50_ns", name);
		suite_put(suite, get_ns(suite, &cell.post, 0.99), "resume.%s.post_p99_ns", name);
		suite_put(suite, (double)cell.post.samples, "resume.%s.bursts", name);
	}
	return 0;
}

/* Of one queue with n threads. */
static int
count_atomics(struct suite *suite, const struct cmdq_impl *impl, enum cmdq_kind kind,
		unsigned int n)
{
	struct cmdq_cell cell = { .impl = impl, .kind = kind, .threads = n };
	char name[SUITE_NAME_LEN];
	int ret = cmdq_cell_run(suite, &cell, suite->cell_ms / 4.0);

	if (ret < 0)
		return ret;
	snprintf(name, sizeof(name), "atomics.%s.%s.t%u", kinds[kind], impl->name, n);
	suite_put(suite, cell.rmws_per_cmd, "%s.rmws", name);
	suite_put(suite, cell.barriers_per_cmd, "%s.barriers", name);
	suite_put(suite, cell.prod_writes_per_cmd, "%s.prod_writes", name);
	suite_put(suite, cell.syncs_per_call, "%s.syncs_per_call", name);
	return 0;
}

int
cmdq_suite_atomics(struct suite *suite)
{
	unsigned int i, kind;
	int ret;

	for (kind = CMDQ_MAP; kind <= CMDQ_MIXED; kind++) {
		for (i = 0; i < NB_IMPLS; i++) {
			ret = count_atomics(suite, counted[i], kind, 1);
			if (ret == 0)
				ret = count_atomics(suite, counted[i], kind, 32);
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}
