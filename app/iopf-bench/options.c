/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "suite.h"

#define MAX_FAULTS	262144

char options_context[256];

const char *const open_arrival_names[BENCH_NB_ARRIVALS] = {
	[ARRIVAL_POISSON] = "poisson",
	[ARRIVAL_CONSTANT] = "constant",
};

bool
parse_number(const char *where, const char *text, unsigned long min, unsigned long max,
		unsigned int *value)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v < min || v > max) {
		bench_error("%s: '%s' is not a number from %lu to %lu", where, text, min, max);
		return false;
	}
	*value = v;
	return true;
}

int
parse_range(const char *where, const char *text, unsigned int *values, unsigned int max)
{
	unsigned int first, last, step, n = 0;
	unsigned long v;
	char how[4], rest;

	if (sscanf(text, "%9u,%9u,%9u,%3[A-Z]%c", &first, &last, &step, how, &rest) != 4 ||
			(strcmp(how, "ADD") != 0 && strcmp(how, "MUL") != 0)) {
		if (strstr(text, "ADD") == NULL && strstr(text, "MUL") == NULL)
			return 0;
		bench_error("%s: '%s' is not FIRST,LAST,STEP,ADD or FIRST,LAST,STEP,MUL", where,
				text);
		return -1;
	}
	if (first > last || step < (how[0] == 'M' ? 2 : 1) || (how[0] == 'M' && first == 0)) {
		bench_error("%s: '%s' never ends or has no value: LAST is at least FIRST, STEP at "
				"least 1, or 2 with MUL", where, text);
		return -1;
	}
	for (v = first; v <= last; v = how[0] == 'M' ? v * step : v + step) {
		if (n == max) {
			bench_error("%s: '%s' has more than %u values", where, text, max);
			return -1;
		}
		values[n++] = v;
	}
	return n;
}

/* Parse a list or range of different numbers. */
static bool
parse_numbers(const char *where, char *text, unsigned long low, unsigned long high,
		unsigned int *values, unsigned int max, unsigned int *nb)
{
	unsigned int i;
	char *word, *next, number[16];
	int n;

	n = parse_range(where, text, values, max);
	if (n < 0)
		return false;
	for (i = 0; i < (unsigned int)n; i++) {
		snprintf(number, sizeof(number), "%u", values[i]);
		if (!parse_number(where, number, low, high, &values[i]))
			return false;
	}
	*nb = n;
	for (word = text; n == 0 && word != NULL; word = next) {
		next = strchr(word, ',');
		if (next != NULL)
			*next++ = '\0';
		if (*nb == max) {
			bench_error("%s: more than %u numbers; give fewer", where, max);
			return false;
		}
		if (!parse_number(where, word, low, high, &values[*nb]))
			return false;
		for (i = 0; i < *nb; i++) {
			if (values[i] == values[*nb]) {
				bench_error("%s: %s is given twice", where, word);
				return false;
			}
		}
		++*nb;
	}
	return true;
}

/* Set the flags whose names the list has; @p names is the list of all for the message. */
static bool
parse_names(const char *where, char *text, const char *const *names, unsigned int nb, bool *flags)
{
	char *word, *next;
	unsigned int i;

	memset(flags, 0, nb * sizeof(*flags));
	for (word = text; word != NULL; word = next) {
		next = strchr(word, ',');
		if (next != NULL)
			*next++ = '\0';
		for (i = 0; i < nb; i++)
			if (strcmp(word, names[i]) == 0)
				break;
		if (i == nb) {
			bench_error("%s: '%s' is unknown; use %s, %s or both", where, word,
					names[0], names[1]);
			return false;
		}
		if (flags[i]) {
			bench_error("%s: %s is given twice", where, word);
			return false;
		}
		flags[i] = true;
	}
	return true;
}

static bool
set_modes(struct bench_conf *conf, const char *where, char *text)
{
	unsigned int i, k;
	char *save, *word;

	conf->nb_modes = 0;
	for (word = strtok_r(text, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
		for (i = 0; i < bench_nb_modes; i++)
			if (strcmp(word, bench_modes[i]->name) == 0)
				break;
		if (i == bench_nb_modes) {
			bench_error("%s: unknown mode '%s'; use polled, null, eventfd, local or "
					"pri", where, word);
			return false;
		}
		for (k = 0; k < conf->nb_modes; k++) {
			if (conf->modes[k] == i) {
				bench_error("%s: %s is given twice", where, word);
				return false;
			}
		}
		conf->modes[conf->nb_modes++] = i;
	}
	if (conf->nb_modes == 0)
		bench_error("%s: the list is empty; give one such as polled,eventfd", where);
	return conf->nb_modes > 0;
}

static bool
set_depths(struct bench_conf *conf, const char *where, char *text)
{
	return parse_numbers(where, text, 1, BENCH_MAX_DEPTH, conf->depths, BENCH_MAX_DEPTHS,
			&conf->nb_depths);
}

static bool
set_rounds(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 1, BENCH_MAX_ROUNDS, &conf->rounds);
}

static bool
set_faults(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, BENCH_MIN_FAULTS, MAX_FAULTS, &conf->faults);
}

static bool
set_loop(struct bench_conf *conf, const char *where, char *text)
{
	static const char *const names[] = { "closed", "open" };
	bool flags[2];

	if (!parse_names(where, text, names, 2, flags))
		return false;
	conf->closed = flags[0];
	conf->open = flags[1];
	return true;
}

static bool
set_arrival(struct bench_conf *conf, const char *where, char *text)
{
	return parse_names(where, text, open_arrival_names, BENCH_NB_ARRIVALS, conf->arrivals);
}

static bool
set_loads(struct bench_conf *conf, const char *where, char *text)
{
	return parse_numbers(where, text, 1, BENCH_MAX_LOAD, conf->loads, BENCH_MAX_LOADS,
			&conf->nb_loads);
}

static bool
set_cpu(const char *where, const char *text, int *cpu)
{
	unsigned int v;

	if (!parse_number(where, text, 0, CPU_SETSIZE - 1, &v))
		return false;
	*cpu = v;
	return true;
}

static bool
set_cpu_model(struct bench_conf *conf, const char *where, char *text)
{
	return set_cpu(where, text, &conf->cpu_model);
}

static bool
set_cpu_servicer(struct bench_conf *conf, const char *where, char *text)
{
	return set_cpu(where, text, &conf->cpu_servicer);
}

const struct setting settings[] = {
	{ "modes", set_modes, false, false },
	{ "depths", set_depths, false, false },
	{ "rounds", set_rounds, false, true },
	{ "faults", set_faults, true, false },
	{ "loop", set_loop, false, false },
	{ "loads", set_loads, false, false },
	{ "arrival", set_arrival, false, false },
	{ "cpu-model", set_cpu_model, false, true },
	{ "cpu-servicer", set_cpu_servicer, false, true },
};
const unsigned int nb_settings = sizeof(settings) / sizeof(settings[0]);

const struct setting *
settings_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < nb_settings; i++)
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	return NULL;
}

bool
setting_apply(const struct setting *setting, struct bench_conf *conf, const char *where,
		const char *text)
{
	char *copy = strdup(text);
	bool ok;

	if (copy == NULL) {
		bench_error("%s: no memory", where);
		return false;
	}
	ok = setting->set(conf, where, copy);
	free(copy);
	return ok;
}

bool
given_add(struct given *given, const struct setting *setting, const char *text)
{
	if (given->nb == MAX_GIVEN) {
		bench_error("--%s: more than %d options", setting->name, MAX_GIVEN);
		return false;
	}
	given->setting[given->nb] = setting;
	given->text[given->nb++] = text;
	return true;
}

bool
given_apply(const struct given *given, struct bench_conf *conf)
{
	unsigned int i;
	char where[32];

	for (i = 0; i < given->nb; i++) {
		snprintf(where, sizeof(where), "--%s", given->setting[i]->name);
		if (!setting_apply(given->setting[i], conf, where, given->text[i]))
			return false;
		if (conf->suite != NULL && !given->setting[i]->suite) {
			bench_error("%s is not for --suite: leave it out", where);
			return false;
		}
	}
	return true;
}

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

/* All modes and both loops; a quick or a full set of depths, loads and rounds. */
static void
set_defaults(struct bench_conf *conf)
{
	static const unsigned int quick_depths[] = { 1, 16, 256 };
	unsigned int i;

	if (conf->nb_modes == 0)
		for (; conf->nb_modes < bench_nb_modes; conf->nb_modes++)
			conf->modes[conf->nb_modes] = conf->nb_modes;
	if (conf->nb_depths == 0 && conf->quick) {
		memcpy(conf->depths, quick_depths, sizeof(quick_depths));
		conf->nb_depths = sizeof(quick_depths) / sizeof(quick_depths[0]);
	}
	if (conf->nb_depths == 0)
		for (i = 1; i <= 256; i *= 2)
			conf->depths[conf->nb_depths++] = i;
	if (conf->rounds == 0)
		conf->rounds = conf->quick ? 9 : 15;
	if (conf->faults == 0)
		conf->faults = conf->quick ? 16384 : 32768;
	if (!conf->closed && !conf->open)
		conf->closed = conf->open = true;
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

bool
conf_fill_in(struct bench_conf *conf)
{
	if (!check_loop(conf))
		return false;
	set_defaults(conf);
	if (conf->closed && conf->faults < BENCH_MIN_WRITES * conf->max_depth) {
		bench_error("--faults: %u are too few for depth %u; give at least %u", conf->faults,
				conf->max_depth, BENCH_MIN_WRITES * conf->max_depth);
		return false;
	}
	cases_make(conf);
	return choose_cpus(conf);
}
