/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Rounds. Each round measures every case once. The cases of a set (those of one depth, or of one
 * load) alternate, each round starting with another one, so that a change of the machine's speed
 * affects all of them. Only the threads of the mode under test run.
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
#include "mmio.h"
#include "progress.h"

const struct mode_ops *const bench_modes[] = { &mode_polled, &mode_null, &mode_eventfd,
	&mode_local, &mode_pri, &mode_uffd };
const unsigned int bench_nb_modes = sizeof(bench_modes) / sizeof(bench_modes[0]);

struct smmuv3_model *
bench_create_model(const char *name, const struct bench_conf *conf, uint32_t features)
{
	return smmuv3_model_create(&(struct smmuv3_model_conf){ .name = name,
			.stall_max = BENCH_MAX_DEPTH,
			.features = features | (conf->ats ? SMMUV3_MODEL_ATS |
					SMMUV3_MODEL_PRI : 0),
			.no_features = conf->no_msi ? SMMUV3_MODEL_NO_MSI : 0,
			/* Each page is used once: a larger TLB would only slow the model down. */
			.tlb_log2 = 6 });
}

static struct bench_case *
case_add(struct bench_conf *conf, enum case_kind kind, unsigned int set, unsigned int mode)
{
	struct bench_case *c = &conf->cases[conf->nb_cases++];

	memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->set = set;
	c->mode = mode;
	return c;
}

static void
case_add_closed(struct bench_conf *conf, unsigned int mode, unsigned int d, unsigned int group_log2)
{
	struct bench_case *c = case_add(conf, CASE_CLOSED, d, mode);
	const char *name = bench_modes[conf->modes[mode]]->name;

	c->depth = conf->depths[d];
	c->group_log2 = group_log2;
	if (group_log2 == 0)
		snprintf(c->name, sizeof(c->name), "%s_d%u", name, c->depth);
	else
		snprintf(c->name, sizeof(c->name), "%s_g%u_d%u", name, 1u << group_log2, c->depth);
}

/* A case of each variant that the mode has for this depth; depth nb_depths: the servicer alone. */
static void
case_add_variants(struct bench_conf *conf, unsigned int mode, unsigned int d)
{
	const struct mode_ops *ops = bench_modes[conf->modes[mode]];
	bool drain = d == conf->nb_depths;
	unsigned int v, n = drain ? ops->nb_drain_variants : ops->nb_variants;
	struct bench_case *c;

	if (!drain && conf->depths[d] > ops->max_depth)
		return;
	for (v = 0; v < n; v++) {
		c = case_add(conf, drain ? CASE_DRAIN : CASE_CLOSED, d, mode);
		c->variant = v;
		c->depth = drain ? 0 : conf->depths[d];
		if (drain)
			snprintf(c->name, sizeof(c->name), "%s_%s_drain", ops->name,
					ops->variants[v]);
		else
			snprintf(c->name, sizeof(c->name), "%s_%s_d%u", ops->name,
					ops->variants[v], c->depth);
	}
}

/* Groups of all sizes at the first depth, of 8 pages at the others, if credits and pages allow. */
static bool
case_fits(const struct bench_conf *conf, unsigned int d, unsigned int group_log2)
{
	unsigned int pages = conf->depths[d] << group_log2;

	/* The pages of a group follow each other. */
	return conf->order == NULL && pages <= BENCH_MAX_DEPTH &&
			BENCH_MIN_WRITES * pages <= conf->faults && (d == 0 || group_log2 == BENCH_GROUP_LOG2);
}

static void
cases_make_closed(struct bench_conf *conf)
{
	const struct mode_ops *ops;
	unsigned int d, m, g;

	for (d = 0; d < conf->nb_depths; d++) {
		for (m = 0; m < conf->nb_modes; m++) {
			ops = bench_modes[conf->modes[m]];
			if (ops->variants != NULL)
				case_add_variants(conf, m, d);
			else
				case_add_closed(conf, m, d, 0);
			for (g = 1; ops->requests && g < BENCH_NB_GROUPS; g++)
				if (case_fits(conf, d, g))
					case_add_closed(conf, m, d, g);
		}
	}
	for (m = 0; m < conf->nb_modes; m++) {
		ops = bench_modes[conf->modes[m]];
		if (ops->variants != NULL)
			case_add_variants(conf, m, conf->nb_depths);
		else if (ops->drain != NULL)
			snprintf(case_add(conf, CASE_DRAIN, conf->nb_depths, m)->name,
					sizeof(conf->cases[0].name), "%s_drain", ops->name);
	}
}

/* The capacities come first: the rates depend on them. */
static void
cases_make_open(struct bench_conf *conf)
{
	unsigned int set = conf->nb_depths + 1, m, a, i;
	const struct mode_ops *ops;
	struct bench_case *c;

	for (m = 0; m < conf->nb_modes; m++) {
		ops = bench_modes[conf->modes[m]];
		if (ops->run == NULL)
			snprintf(case_add(conf, CASE_OPEN_MAX, set, m)->name, sizeof(c->name),
					"%s_open_max", ops->name);
	}
	for (a = 0; a < BENCH_NB_ARRIVALS; a++) {
		for (i = 0; i < conf->nb_loads && conf->arrivals[a]; i++) {
			set++;
			for (m = 0; m < conf->nb_modes; m++) {
				ops = bench_modes[conf->modes[m]];
				if (ops->run != NULL)
					continue;
				c = case_add(conf, CASE_OPEN, set, m);
				c->arrival = a;
				c->load = conf->loads[i];
				snprintf(c->name, sizeof(c->name), "%s_open_%s_l%u", ops->name,
						open_arrival_names[a], c->load);
			}
		}
	}
}

void
cases_make(struct bench_conf *conf)
{
	if (conf->closed)
		cases_make_closed(conf);
	if (conf->open)
		cases_make_open(conf);
}

void
cases_make_passive(struct bench_conf *conf)
{
	conf->nb_cases = 0;
	snprintf(case_add(conf, CASE_PASSIVE, 0, 0)->name, sizeof(conf->cases[0].name), "passive");
}

static bool
shares_rate(const struct results *res, unsigned int mode)
{
	const struct mode_ops *ops = bench_modes[res->conf->modes[mode]];

	return ops == &mode_polled || ops == &mode_null;
}

double
cases_get_rate(const struct results *res, unsigned int round, unsigned int at)
{
	const struct bench_case *c = res->conf->cases;
	unsigned int mode = c[at].mode, i;
	double capacity = 0, this;

	for (i = 0; i < res->conf->nb_cases; i++) {
		if (c[i].kind != CASE_OPEN_MAX || (c[i].mode != mode &&
				!(shares_rate(res, mode) && shares_rate(res, c[i].mode))))
			continue;
		/* Millions in a second. */
		this = results_get_metric(res, round, i, METRIC_RATE) * 1e-3 / res->cycles_per_ns;
		if (capacity <= 0 || this < capacity)
			capacity = this;
	}
	return capacity * c[at].load / 100;
}

static double
get_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Processor time in seconds of all processes of the machine; negative: unknown. */
static double
read_busy_all(void)
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
read_busy_own(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e-6;
}

static int
case_run(struct results *res, struct mode *modes, unsigned int r, unsigned int at)
{
	const struct bench_conf *conf = res->conf;
	const struct bench_case *c = &conf->cases[at];
	struct cell *cell = results_get_cell(res, r, at);
	struct mode *mode = &modes[c->mode];
	uint64_t reads = atomic_load(&mmio_nb_reads), faults = mode->faults;
	int ret = -EINVAL;

	if (mode->ops->run != NULL)
		return mode->ops->run(mode, conf, c, cell);
	switch (c->kind) {
	case CASE_CLOSED:
		ret = loop_run(mode, conf, c, cell);
		break;
	case CASE_DRAIN:
		ret = drain_run(mode, conf, c, cell);
		break;
	case CASE_OPEN_MAX:
		ret = open_run(mode, conf, c, 0, 0, cell);
		break;
	case CASE_OPEN:
		ret = open_run(mode, conf, c, cases_get_rate(res, r, at), r + 1, cell);
		break;
	case CASE_PASSIVE:
		break;
	}
	cell->reads = atomic_load(&mmio_nb_reads) - reads;
	cell->faults = mode->faults - faults;
	return ret;
}

/* Run the n cases of one set in rotated order, which begins with case r modulo n. */
static int
cases_run_set(struct results *res, struct mode *modes, unsigned int r, unsigned int first,
		unsigned int n, struct progress *progress)
{
	unsigned int i, at;
	int ret;

	for (i = 0; i < n; i++) {
		at = first + (r + i) % n;
		progress_show(progress, res->conf->cases[at].name, get_seconds());
		if (interrupt_is_asked())
			return -EINTR;
		ret = case_run(res, modes, r, at);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void
round_begin(const struct bench_conf *conf, struct round *round)
{
	round->pingpong_ns = pingpong_measure_ns(conf->cpu_model, conf->cpu_servicer);
	round->busy_all = read_busy_all();
	round->busy_own = read_busy_own();
	round->seconds = -get_seconds();
}

void
round_end(const struct bench_conf *conf, struct round *round)
{
	double all_end, after;

	round->seconds += get_seconds();
	all_end = read_busy_all();
	round->foreign = -1;
	if (round->busy_all >= 0 && all_end >= 0) {
		round->foreign = (all_end - round->busy_all -
				(read_busy_own() - round->busy_own)) / round->seconds;
		if (round->foreign < 0)		/* /proc/stat counts in ticks */
			round->foreign = 0;
	}
	after = pingpong_measure_ns(conf->cpu_model, conf->cpu_servicer);
	if (after > round->pingpong_ns)
		round->pingpong_ns = after;
}

static int
round_run_cases(struct results *res, struct mode *modes, unsigned int r, struct progress *progress)
{
	const struct bench_conf *conf = res->conf;
	unsigned int i, n;
	int ret;

	round_begin(conf, &res->rounds[r]);
	for (i = 0; i < conf->nb_cases; i += n) {
		for (n = 1; i + n < conf->nb_cases; n++)
			if (conf->cases[i + n].set != conf->cases[i].set)
				break;
		ret = cases_run_set(res, modes, r, i, n, progress);
		if (ret < 0)
			return ret;
	}
	round_end(conf, &res->rounds[r]);
	return 0;
}

int
rounds_keep(struct results *res)
{
	res->interrupted = true;
	if (res->nb_rounds > 0)
		return 0;
	bench_error("interrupted in the first round: there is nothing to report");
	return -EINTR;
}

void
rounds_select(struct results *res)
{
	unsigned int i, quiet = 0;

	for (i = 0; i < res->nb_rounds; i++)
		quiet += res->rounds[i].foreign <= BENCH_FOREIGN_LIMIT;
	res->noisy = quiet < BENCH_MIN_ROUNDS && quiet < res->nb_rounds;
	for (i = 0; i < res->nb_rounds; i++) {
		res->rounds[i].counted = res->noisy ||
				res->rounds[i].foreign <= BENCH_FOREIGN_LIMIT;
		res->nb_counted += res->rounds[i].counted;
	}
}

static bool
mode_check_counts(struct mode *mode)
{
	static const struct {
		enum smmuv3_model_stat stat;
		enum { NONE, STALLS, GROUPS, REQUESTS } of;	/* counted once for each */
	} want[] = {
		{ SMMUV3_MODEL_STAT_STALLS, STALLS },
		{ SMMUV3_MODEL_STAT_EVENTS, STALLS },
		{ SMMUV3_MODEL_STAT_RESUMES, STALLS },
		{ SMMUV3_MODEL_STAT_RESUMES_STALE, NONE },
		{ SMMUV3_MODEL_STAT_EVENTS_LOST, NONE },
		{ SMMUV3_MODEL_STAT_TERMINATED, NONE },
		{ SMMUV3_MODEL_STAT_CERRORS, NONE },
		{ SMMUV3_MODEL_STAT_PPRS, REQUESTS },
		{ SMMUV3_MODEL_STAT_PRI_GROUPS, GROUPS },
		{ SMMUV3_MODEL_STAT_PRI_RESPS, GROUPS },
		{ SMMUV3_MODEL_STAT_PRI_RESPS_STALE, NONE },
		{ SMMUV3_MODEL_STAT_PPRS_LOST, NONE },
		{ SMMUV3_MODEL_STAT_ATC_TIMEOUTS, NONE },
	};
	const uint64_t count[] = {
		[STALLS] = mode->ops->requests ? 0 : mode->faults,
		[GROUPS] = mode->ops->requests ? mode->faults : 0,
		[REQUESTS] = mode->ops->requests ? mode->pages : 0,
	};
	struct smmuv3_model *model = mode->model;
	unsigned int i, n;
	uint64_t have;
	bool ok;

	ok = mode->ops->check(mode);
	if (model == NULL)
		return ok;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		have = smmuv3_model_stat(model, want[i].stat);
		if (have == count[want[i].of])
			continue;
		ok = false;
		bench_error("%s: %lu faults on %lu pages, but the model counts %lu of %s",
				mode->ops->name, (unsigned long)mode->faults,
				(unsigned long)mode->pages, (unsigned long)have,
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
		if (ret == 0 && modes[i].ops->run == NULL) {
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
	res->cells = calloc((size_t)conf->rounds * conf->nb_cases, sizeof(*res->cells));
	if (res->rounds == NULL || res->cells == NULL) {
		bench_error("no memory for the results of %u rounds; take fewer with --rounds",
				conf->rounds);
		return -ENOMEM;
	}
	mmio_set_ns(conf->mmio_ns);
	ret = modes_setup(conf, modes);
	progress.cells = conf->nb_cases;
	progress.rounds = conf->rounds;
	progress.start = progress.said = get_seconds();
	interrupt_catch();
	for (i = 0; i < conf->rounds && ret == 0; i++) {
		ret = round_run_cases(res, modes, i, &progress);
		res->nb_rounds += ret == 0;
	}
	progress_clear(&progress);
	if (ret == -EINTR)
		ret = rounds_keep(res);
	/* Writes that never ended cannot be undone: the process ends without clean-up. */
	if (ret == -ETIMEDOUT)
		return ret;
	for (i = 0; i < conf->nb_modes && ret == 0; i++)
		if (!mode_check_counts(&modes[i]))
			ret = -EIO;
	modes_teardown(conf, modes);
	if (ret == 0) {
		rounds_select(res);
		ratios_choose_variants(res);
	}
	return ret;
}

void
results_free(struct results *res)
{
	free(res->rounds);
	free(res->cells);
}
