/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The settings of a run together: checks, and defaults of those that are not given. */

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "options.h"
#include "passive.h"

static bool
has_arrivals(const struct bench_conf *conf)
{
	return conf->arrivals[ARRIVAL_POISSON] || conf->arrivals[ARRIVAL_CONSTANT];
}

static bool
check_loop(const struct bench_conf *conf)
{
	if (conf->closed && !conf->open && (conf->nb_loads != 0 || has_arrivals(conf))) {
		bench_error("--loads and --arrival are for --loop open");
		return false;
	}
	if (conf->open && !conf->closed && conf->nb_depths != 0) {
		bench_error("--depths is for --loop closed");
		return false;
	}
	return true;
}

static void
set_default_loads(struct bench_conf *conf)
{
	static const unsigned int few[] = { 20, 50, 80, 100, 120 };
	static const unsigned int many[] = { 10, 20, 30, 50, 70, 80, 90, 100, 110, 120 };
	const unsigned int *loads = conf->quick ? few : many;
	unsigned int n = conf->quick ? sizeof(few) / sizeof(few[0]) :
			sizeof(many) / sizeof(many[0]);

	if (conf->nb_loads != 0)
		return;
	memcpy(conf->loads, loads, n * sizeof(loads[0]));
	conf->nb_loads = n;
}

/* All modes that this machine can run. */
static void
set_default_modes(struct bench_conf *conf)
{
	const char *why;
	unsigned int i;

	for (i = 0; i < bench_nb_modes; i++) {
		why = bench_modes[i]->find_obstacle != NULL ? bench_modes[i]->find_obstacle() : NULL;
		if (why != NULL)
			bench_error("mode %s is left out: %s", bench_modes[i]->name, why);
		else if (conf->closed || bench_modes[i]->run == NULL)
			conf->modes[conf->nb_modes++] = i;
	}
}

static bool
check_modes(const struct bench_conf *conf)
{
	const struct mode_ops *ops;
	const char *why;
	unsigned int i;

	for (i = 0; i < conf->nb_modes; i++) {
		ops = bench_modes[conf->modes[i]];
		if (!conf->closed && ops->run != NULL) {
			bench_error("mode %s has no open loop; leave it out or use --loop closed",
					ops->name);
			return false;
		}
		why = ops->find_obstacle != NULL ? ops->find_obstacle() : NULL;
		if (why != NULL) {
			bench_error("mode %s cannot run: %s", ops->name, why);
			return false;
		}
	}
	return true;
}

/* All modes and both loops; a quick or a full set of depths, loads and rounds. */
static void
set_defaults(struct bench_conf *conf)
{
	static const unsigned int quick_depths[] = { 1, 16, 256 };
	unsigned int i;

	if (conf->nb_depths == 0 && conf->quick) {
		memcpy(conf->depths, quick_depths, sizeof(quick_depths));
		conf->nb_depths = sizeof(quick_depths) / sizeof(quick_depths[0]);
	}
	if (conf->nb_depths == 0)
		for (i = 1; i <= 256; i *= 2)
			conf->depths[conf->nb_depths++] = i;
	if (conf->rounds == 0)
		conf->rounds = conf->quick ? 9 : 15;
	if (conf->requesters == 0)
		conf->requesters = 1;
	if (conf->sids == 0)
		conf->sids = 1;
	if (conf->faults == 0)
		conf->faults = conf->quick ? 16384 : 32768;
	if (!conf->closed && !conf->open)
		conf->closed = conf->open = true;
	if (conf->nb_modes == 0)
		set_default_modes(conf);
	if (!has_arrivals(conf))
		conf->arrivals[ARRIVAL_POISSON] = true;
	set_default_loads(conf);
	conf->budget_ms = conf->quick ? 250 : 400;
	conf->max_depth = 0;
	for (i = 0; i < conf->nb_depths; i++)
		if (conf->depths[i] > conf->max_depth)
			conf->max_depth = conf->depths[i];
}

/* Choose two of the CPUs that this process may use. */
static bool
choose_cpus(struct bench_conf *conf)
{
	cpu_set_t set;
	int i;

	if (sched_getaffinity(0, sizeof(set), &set) < 0) {
		bench_error("cannot read the CPU affinity: %s", strerror(errno));
		return false;
	}
	if (CPU_COUNT(&set) < 2) {
		bench_error("this process may use %d CPU only, and two are needed: the model on "
				"one and the servicer on the other, or every figure would be of "
				"the scheduler; allow more (taskset, cpuset)", CPU_COUNT(&set));
		return false;
	}
	for (i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		if (conf->cpu_model < 0 && i != conf->cpu_servicer)
			conf->cpu_model = i;
		else if (conf->cpu_servicer < 0 && i != conf->cpu_model)
			conf->cpu_servicer = i;
	}
	if (conf->cpu_model == conf->cpu_servicer) {
		bench_error("--cpu-model and --cpu-servicer are both %d; give two different CPUs",
				conf->cpu_model);
		return false;
	}
	if (!CPU_ISSET(conf->cpu_model, &set) || !CPU_ISSET(conf->cpu_servicer, &set)) {
		bench_error("this process may not use CPU %d; see `taskset -cp $$`",
				CPU_ISSET(conf->cpu_model, &set) ? conf->cpu_servicer :
				conf->cpu_model);
		return false;
	}
	return true;
}

static bool
check_requesters(const struct bench_conf *conf)
{
	unsigned int i;

	if (conf->sids > conf->requesters) {
		bench_error("sids: %u StreamIDs are more than the %u requesters", conf->sids,
				conf->requesters);
		return false;
	}
	for (i = 0; i < conf->nb_modes && conf->sids > 1; i++) {
		if (bench_modes[conf->modes[i]]->requests) {
			bench_error("sids: the endpoint of mode pri has one StreamID; leave pri "
					"out or sids");
			return false;
		}
	}
	return true;
}

static bool
check_engine(const struct bench_conf *conf)
{
	static const unsigned int runs[BENCH_NB_ENGINES] = { [ENGINE_MODEL] = FOR_MODES,
		[ENGINE_NONE] = FOR_NONE, [ENGINE_MAILBOX] = FOR_MAILBOX };
	unsigned int i;

	for (i = 0; i < nb_settings; i++) {
		if (!(conf->given & UINT64_C(1) << i) || settings[i].runs & runs[conf->engine])
			continue;
		bench_error(conf->engine != ENGINE_MODEL ? "%s is not for engine %s: leave it out" :
				"%s is not for engine %s: leave it out, or give --engine none or "
				"mailbox=PATH", settings[i].name, engine_names[conf->engine]);
		return false;
	}
	return true;
}

bool
conf_fill_in(struct bench_conf *conf)
{
	if (!check_engine(conf))
		return false;
	if (conf->engine != ENGINE_MODEL)
		return passive_fill_in(conf);
	if (!check_loop(conf) || !pattern_read(conf))
		return false;
	set_defaults(conf);
	if (!check_modes(conf))
		return false;
	if (conf->closed && conf->faults < BENCH_MIN_WRITES * conf->max_depth) {
		bench_error("--faults: %u are too few for depth %u; give at least %u", conf->faults,
				conf->max_depth, BENCH_MIN_WRITES * conf->max_depth);
		return false;
	}
	if (!check_requesters(conf) || !pattern_make(conf))
		return false;
	cases_make(conf);
	return choose_cpus(conf);
}
