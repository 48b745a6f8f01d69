/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdlib.h>
#include <string.h>

#include "bench.h"

const char *const open_arrival_names[BENCH_NB_ARRIVALS] = {
	[ARRIVAL_POISSON] = "poisson",
	[ARRIVAL_CONSTANT] = "constant",
};

static const char *const loop_names[] = { "closed", "open" };

/* Set the flags whose names the list has. */
static bool
parse_names(const char *option, char *text, const char *const *names, unsigned int nb, bool *flags)
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
			bench_error("%s: '%s' is unknown; use %s, %s or both", option, word,
					names[0], names[1]);
			return false;
		}
		if (flags[i]) {
			bench_error("%s: %s is given twice", option, word);
			return false;
		}
		flags[i] = true;
	}
	return true;
}

bool
open_parse_loop(char *text, struct bench_conf *conf)
{
	bool flags[2];

	if (!parse_names("--loop", text, loop_names, 2, flags))
		return false;
	conf->loop_given = true;
	conf->closed = flags[0];
	conf->open = flags[1];
	return true;
}

bool
open_parse_arrival(char *text, struct bench_conf *conf)
{
	conf->arrival_given = true;
	return parse_names("--arrival", text, open_arrival_names, BENCH_NB_ARRIVALS,
			conf->arrivals);
}

bool
open_parse_loads(char *text, struct bench_conf *conf)
{
	char *word, *next, *end;
	unsigned int i;
	unsigned long v;

	conf->nb_loads = 0;
	for (word = text; word != NULL; word = next) {
		next = strchr(word, ',');
		if (next != NULL)
			*next++ = '\0';
		v = strtoul(word, &end, 10);
		if (word[0] < '0' || word[0] > '9' || *end != '\0' || v < 1 ||
				v > BENCH_MAX_LOAD) {
			bench_error("--loads: '%s' is not a percentage from 1 to %d", word,
					BENCH_MAX_LOAD);
			return false;
		}
		for (i = 0; i < conf->nb_loads; i++) {
			if (conf->loads[i] == v) {
				bench_error("--loads: %s is given twice", word);
				return false;
			}
		}
		if (conf->nb_loads == BENCH_MAX_LOADS) {
			bench_error("--loads: more than %d loads; give fewer", BENCH_MAX_LOADS);
			return false;
		}
		conf->loads[conf->nb_loads++] = v;
	}
	return true;
}

bool
open_check_options(const struct bench_conf *conf)
{
	if (conf->loop_given && !conf->open && (conf->nb_loads != 0 || conf->arrival_given)) {
		bench_error("--loads and --arrival are for --loop open");
		return false;
	}
	if (conf->loop_given && !conf->closed && conf->nb_depths != 0) {
		bench_error("--depths is for --loop closed");
		return false;
	}
	return true;
}

void
open_set_defaults(struct bench_conf *conf)
{
	static const unsigned int few[] = { 20, 50, 80, 100, 120 };
	static const unsigned int many[] = { 10, 20, 30, 50, 70, 80, 90, 100, 110, 120 };

	if (!conf->loop_given)
		conf->closed = conf->open = true;
	if (!conf->arrival_given)
		conf->arrivals[ARRIVAL_POISSON] = true;
	if (conf->nb_loads == 0 && conf->quick) {
		memcpy(conf->loads, few, sizeof(few));
		conf->nb_loads = sizeof(few) / sizeof(few[0]);
	} else if (conf->nb_loads == 0) {
		memcpy(conf->loads, many, sizeof(many));
		conf->nb_loads = sizeof(many) / sizeof(many[0]);
	}
}
