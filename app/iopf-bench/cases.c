/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Rounds. In each, every mode serves one cell at every depth, the modes taking
 * turns within a depth (and changing who begins), so that what changes on the
 * machine changes for all of them. Only the threads of the mode under test run.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "bench.h"

#define BAR_WIDTH	40
#define LINE_SECONDS	5

const struct mode_ops *const bench_modes[] = { &mode_polled, &mode_null, &mode_eventfd,
	&mode_local };
const unsigned int bench_nb_modes = sizeof(bench_modes) / sizeof(bench_modes[0]);

struct smmuv3_model *
bench_model(const char *name)
{
	return smmuv3_model_create(&(struct smmuv3_model_conf){ .name = name,
			.stall_max = BENCH_MAX_DEPTH,
			/* Each page is used once: a larger TLB would only cost the model. */
			.tlb_log2 = 6 });
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Processor time in seconds of all processes of the machine; negative: not known. */
static double
busy_all(void)
{
	unsigned long long user, nice, system, idle, iowait, irq, softirq;
	FILE *f = fopen("/proc/stat", "r");
	int n;

	if (f == NULL)
		return -1;
	n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
			&iowait, &irq, &softirq);
	fclose(f);
	if (n != 7)
		return -1;
	return (double)(user + nice + system + irq + softirq) / (double)sysconf(_SC_CLK_TCK);
}

static double
busy_own(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e-6;
}

struct progress {
	unsigned int cells;
	unsigned int done;
	double start;
	double said;
	bool bar;
};

static void
progress_step(struct progress *p, const char *mode, unsigned int depth)
{
	double now = seconds();
	unsigned int i, fill = p->done * BAR_WIDTH / p->cells;

	if (p->bar) {
		fprintf(stderr, "\r[");
		for (i = 0; i < BAR_WIDTH; i++)
			fputc(i < fill ? '#' : '.', stderr);
		fprintf(stderr, "] %3u%%  %-8s depth %-3u", p->done * 100 / p->cells, mode, depth);
		fflush(stderr);
	} else if (now - p->said >= LINE_SECONDS) {
		fprintf(stderr, "iopf-bench: %u%% after %.0f s\n", p->done * 100 / p->cells,
				now - p->start);
		p->said = now;
	}
	p->done++;
}

static void
progress_end(const struct progress *p)
{
	if (p->bar)
		fprintf(stderr, "\r\033[K");
}

static int
round_run(struct results *res, struct mode *modes, unsigned int r, struct progress *progress)
{
	const struct bench_conf *conf = res->conf;
	struct round *round = &res->rounds[r];
	unsigned int d, i, m;
	double all, own, all_end, after;
	int ret;

	round->pingpong_ns = pingpong_ns(conf->cpu_model, conf->cpu_servicer);
	all = busy_all();
	own = busy_own();
	round->seconds = -seconds();
	for (d = 0; d < conf->nb_depths; d++) {
		for (i = 0; i < conf->nb_modes; i++) {
			m = (r + i) % conf->nb_modes;
			progress_step(progress, modes[m].ops->name, conf->depths[d]);
			ret = loop_run(&modes[m], conf, conf->depths[d],
					results_cell(res, r, d, m));
			if (ret < 0)
				return ret;
		}
	}
	for (i = 0; i < conf->nb_modes; i++) {
		m = (r + i) % conf->nb_modes;
		ret = modes[m].ops->drain == NULL ? 0 :
				drain_run(&modes[m], conf, &res->drain_ns[r * conf->nb_modes + m]);
		if (ret < 0)
			return ret;
	}
	round->seconds += seconds();
	all_end = busy_all();
	round->foreign = -1;
	if (all >= 0 && all_end >= 0) {
		round->foreign = (all_end - all - (busy_own() - own)) / round->seconds;
		if (round->foreign < 0)		/* the kernel counts in ticks */
			round->foreign = 0;
	}
	after = pingpong_ns(conf->cpu_model, conf->cpu_servicer);
	if (after > round->pingpong_ns)
		round->pingpong_ns = after;
	return 0;
}

/* Which rounds count was decided before the first one: this only applies it. */
static void
rounds_select(struct results *res)
{
	unsigned int i, quiet = 0;

	for (i = 0; i < res->conf->rounds; i++)
		quiet += res->rounds[i].foreign <= BENCH_FOREIGN_LIMIT;
	res->noisy = quiet < BENCH_MIN_ROUNDS && quiet < res->conf->rounds;
	for (i = 0; i < res->conf->rounds; i++) {
		res->rounds[i].counted = res->noisy ||
				res->rounds[i].foreign <= BENCH_FOREIGN_LIMIT;
		res->nb_counted += res->rounds[i].counted;
	}
}

static bool
mode_check(struct mode *mode)
{
	static const struct {
		enum smmuv3_model_stat stat;
		bool all;	/* one for each fault, or none at all */
	} want[] = {
		{ SMMUV3_MODEL_STAT_STALLS, true },
		{ SMMUV3_MODEL_STAT_EVENTS, true },
		{ SMMUV3_MODEL_STAT_RESUMES, true },
		{ SMMUV3_MODEL_STAT_RESUMES_STALE, false },
		{ SMMUV3_MODEL_STAT_EVENTS_LOST, false },
		{ SMMUV3_MODEL_STAT_TERMINATED, false },
		{ SMMUV3_MODEL_STAT_CERRORS, false },
	};
	struct smmuv3_model *model = mode->model;
	unsigned int i, n;
	uint64_t have;
	bool ok;

	ok = mode->ops->check(mode, mode->faults);
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		have = smmuv3_model_stat(model, want[i].stat);
		if (have == (want[i].all ? mode->faults : 0))
			continue;
		ok = false;
		bench_error("%s: %lu faults, but the model counts %lu of %s", mode->ops->name,
				(unsigned long)mode->faults, (unsigned long)have,
				smmuv3_model_stat_name(want[i].stat));
	}
	n = smmuv3_model_driver_errors(model);
	if (n != 0)
		bench_error("%s: %u driver errors, the first: %s", mode->ops->name, n,
				smmuv3_model_driver_error(model, 0));
	ok = ok && n == 0;
	n = smmuv3_model_oracle_errors(model);
	if (n != 0)
		bench_error("%s: %u oracle errors, the first: %s", mode->ops->name, n,
				smmuv3_model_oracle_error(model, 0));
	return ok && n == 0;
}

static int
modes_setup(const struct bench_conf *conf, struct mode *modes)
{
	unsigned int i;
	int ret;

	for (i = 0; i < conf->nb_modes; i++) {
		modes[i].ops = bench_modes[conf->modes[i]];
		ret = modes[i].ops->setup(&modes[i], conf);
		if (ret == 0) {
			modes[i].loop = loop_create(&modes[i], conf);
			ret = modes[i].loop == NULL ? -errno : 0;
		}
		if (ret < 0) {
			bench_error("cannot set up mode %s with a region of %u pages: %s",
					modes[i].ops->name, conf->faults, strerror(-ret));
			return ret;
		}
	}
	return 0;
}

static void
modes_teardown(const struct bench_conf *conf, struct mode *modes)
{
	unsigned int i;

	for (i = 0; i < conf->nb_modes; i++) {
		loop_destroy(modes[i].loop);
		if (modes[i].ops != NULL)
			modes[i].ops->teardown(&modes[i]);
	}
}

int
cases_run(const struct bench_conf *conf, struct results *res)
{
	struct mode modes[sizeof(bench_modes) / sizeof(bench_modes[0])] = { { 0 } };
	struct progress progress = { .bar = isatty(STDERR_FILENO) };
	unsigned int i;
	int ret;

	memset(res, 0, sizeof(*res));
	res->conf = conf;
	res->cycles_per_ns = (double)rte_get_tsc_hz() * 1e-9;
	res->rounds = calloc(conf->rounds, sizeof(*res->rounds));
	res->cells = calloc((size_t)conf->rounds * conf->nb_depths * conf->nb_modes,
			sizeof(*res->cells));
	res->drain_ns = calloc((size_t)conf->rounds * conf->nb_modes, sizeof(*res->drain_ns));
	if (res->rounds == NULL || res->cells == NULL || res->drain_ns == NULL) {
		bench_error("no memory for the results of %u rounds; take fewer with --rounds",
				conf->rounds);
		return -ENOMEM;
	}
	ret = modes_setup(conf, modes);
	progress.cells = conf->rounds * conf->nb_depths * conf->nb_modes;
	progress.start = progress.said = seconds();
	for (i = 0; i < conf->rounds && ret == 0; i++)
		ret = round_run(res, modes, i, &progress);
	progress_end(&progress);
	/* Writes that never ended cannot be taken back: the process ends as it is. */
	if (ret == -ETIMEDOUT)
		return ret;
	for (i = 0; i < conf->nb_modes && ret == 0; i++)
		if (!mode_check(&modes[i]))
			ret = -EIO;
	modes_teardown(conf, modes);
	if (ret == 0)
		rounds_select(res);
	return ret;
}

void
results_free(struct results *res)
{
	free(res->rounds);
	free(res->cells);
	free(res->drain_ns);
}
