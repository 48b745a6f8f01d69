/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

char options_context[256];

const char *const open_arrival_names[BENCH_NB_ARRIVALS] = {
	[ARRIVAL_POISSON] = "poisson",
	[ARRIVAL_CONSTANT] = "constant",
};

const char *const idle_names[BENCH_NB_IDLES] = {
	[IDLE_POLL] = "poll",
	[IDLE_PAUSE] = "pause",
	[IDLE_SPIN] = "spin",
	[IDLE_YIELD] = "yield",
	[IDLE_SLEEP] = "sleep",
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

bool
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
			bench_error("%s: unknown mode '%s'; use polled, null, eventfd, local, "
					"pri or uffd", where, word);
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
	return parse_number(where, text, BENCH_MIN_FAULTS, BENCH_MAX_FAULTS, &conf->faults);
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
set_requesters(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 1, BENCH_MAX_REQUESTERS, &conf->requesters);
}

static bool
set_sids(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 1, BENCH_MAX_REQUESTERS, &conf->sids);
}

bool
parse_name(const char *where, const char *text, const char *const *names, unsigned int nb,
		unsigned int *index)
{
	char list[128] = "";
	size_t n = 0;

	for (*index = 0; *index < nb; ++*index)
		if (strcmp(text, names[*index]) == 0)
			return true;
	for (*index = 0; *index < nb && n < sizeof(list); ++*index)
		n += snprintf(list + n, sizeof(list) - n, "%s%s", *index == 0 ? "" :
				*index + 1 == nb ? " or " : ", ", names[*index]);
	bench_error("%s: '%s' is unknown; use %s", where, text, list);
	return false;
}

static bool
set_pattern(struct bench_conf *conf, const char *where, char *text)
{
	unsigned int i;

	if (!parse_name(where, text, pattern_names, BENCH_NB_PATTERNS, &i))
		return false;
	conf->pattern = i;
	return true;
}

/* The run keeps the name until the program ends. */
static bool
set_trace(struct bench_conf *conf, const char *where, char *text)
{
	free(conf->trace);
	conf->trace = strdup(text);
	if (conf->trace == NULL)
		bench_error("%s: no memory", where);
	return conf->trace != NULL;
}

static bool
set_zero(struct bench_conf *conf, const char *where, char *text)
{
	static const char *const names[] = { "none", "pool", "inline" };
	unsigned int i;

	if (!parse_name(where, text, names, 3, &i))
		return false;
	conf->zero_pool = i == 1;
	conf->zero_inline = i == 2;
	return true;
}

static bool
set_msi(struct bench_conf *conf, const char *where, char *text)
{
	static const char *const names[] = { "on", "off" };
	unsigned int i;

	if (!parse_name(where, text, names, 2, &i))
		return false;
	conf->no_msi = i;
	return true;
}

static bool
set_mmio_ns(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 0, BENCH_MAX_MMIO_NS, &conf->mmio_ns);
}

static bool
set_ats(struct bench_conf *conf, const char *where, char *text)
{
	static const char *const names[] = { "off", "on" };
	unsigned int i;

	if (!parse_name(where, text, names, 2, &i))
		return false;
	conf->ats = i;
	return true;
}

static bool
set_idle(struct bench_conf *conf, const char *where, char *text)
{
	unsigned int i;

	if (!parse_name(where, text, idle_names, BENCH_NB_IDLES, &i))
		return false;
	conf->idle = i;
	return true;
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
	{ "modes", set_modes, false, FOR_MODES },
	{ "depths", set_depths, false, FOR_MODES },
	{ "rounds", set_rounds, false, FOR_MODES | FOR_SUITE },
	{ "faults", set_faults, true, FOR_MODES },
	{ "loop", set_loop, false, FOR_MODES },
	{ "loads", set_loads, false, FOR_MODES },
	{ "arrival", set_arrival, false, FOR_MODES },
	{ "requesters", set_requesters, true, FOR_MODES },
	{ "sids", set_sids, true, FOR_MODES },
	{ "pattern", set_pattern, false, FOR_MODES },
	{ "trace", set_trace, false, FOR_MODES },
	{ "zero", set_zero, false, FOR_MODES },
	{ "msi", set_msi, false, FOR_MODES },
	{ "mmio-ns", set_mmio_ns, true, FOR_MODES },
	{ "ats", set_ats, false, FOR_MODES },
	{ "idle", set_idle, false, FOR_MODES | FOR_DEVICE },
	{ "cpu-model", set_cpu_model, false, FOR_MODES | FOR_SUITE },
	{ "cpu-servicer", set_cpu_servicer, false, FOR_MODES | FOR_SUITE | FOR_DEVICE },
	{ "engine", set_engine, false, FOR_MODES | FOR_DEVICE },
	{ "device", set_device, false, FOR_DEVICE },
	{ "streams", set_streams, false, FOR_DEVICE },
	{ "pasid", set_pasid, false, FOR_DEVICE },
	{ "region", set_region, true, FOR_DEVICE },
	{ "seconds", set_seconds, false, FOR_DEVICE },
	{ "interval", set_interval, false, FOR_DEVICE },
	{ "burst", set_burst, true, FOR_MAILBOX },
	{ "refault", set_refault, true, FOR_NONE },
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
	conf->given |= UINT64_C(1) << (setting - settings);
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
		if (conf->suite != NULL && !(given->setting[i]->runs & FOR_SUITE)) {
			bench_error("%s is not for --suite: leave it out", where);
			return false;
		}
	}
	return true;
}
