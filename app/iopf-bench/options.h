/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef OPTIONS_H
#define OPTIONS_H

/*
 * The settings of a run: each is an option of the command line and a key of a configuration file,
 * with one parser. All functions but settings_find() report an error in one line, with
 * options_context in front, and return false. On the main thread, before the run.
 *
 *	options.c	the table of settings, their parsers and defaults
 *	options_passive.c	the settings of the engines none and mailbox
 *	defaults.c	checks and defaults of the settings together
 *	pattern.c	the order of the pages, recorded traces
 *	config.c	configuration files: a run for each section and combination of values
 *	main.c		the command line
 */

#include "bench.h"

struct setting {
	const char *name;	/* "cpu-model": --cpu-model, cpu-model= */
	bool (*set)(struct bench_conf *conf, const char *where, char *text);
	bool ranges;		/* a configuration file may give FIRST,LAST,STEP,ADD|MUL */
	unsigned int runs;	/* that it is for: bits */
};

#define FOR_MODES	(1u << 0)
#define FOR_SUITE	(1u << 1)
#define FOR_NONE	(1u << 2)	/* engine none */
#define FOR_MAILBOX	(1u << 3)	/* engine mailbox */
#define FOR_DEVICE	(FOR_NONE | FOR_MAILBOX)

extern const struct setting settings[];
extern const unsigned int nb_settings;

/* "FILE: [SECTION]: ", or "" on the command line. */
extern char options_context[256];

/* Returns NULL for an unknown name. */
const struct setting *settings_find(const char *name);
/* @p text stays unchanged. @p where is the name of the setting in messages. */
bool setting_apply(const struct setting *setting, struct bench_conf *conf, const char *where,
		const char *text);

/* Settings of the command line, which override those of a file. */
#define MAX_GIVEN	64
struct given {
	unsigned int nb;
	const struct setting *setting[MAX_GIVEN];
	const char *text[MAX_GIVEN];
};
bool given_add(struct given *given, const struct setting *setting, const char *text);
bool given_apply(const struct given *given, struct bench_conf *conf);

/* Parse a whole number. */
bool parse_number(const char *where, const char *text, unsigned long min, unsigned long max,
		unsigned int *value);
/* Parse one of @p nb names into its index. */
bool parse_name(const char *where, const char *text, const char *const *names, unsigned int nb,
		unsigned int *index);
/* Parse a list or range of different numbers. */
bool parse_numbers(const char *where, char *text, unsigned long low, unsigned long high,
		unsigned int *values, unsigned int max, unsigned int *nb);
/*
 * Parse FIRST,LAST,STEP,ADD|MUL. Returns the number of values; 0: the text is no range; negative
 * after reporting an error: a value or step that is none, a range that has no or more than @p max
 * values.
 */
int parse_range(const char *where, const char *text, unsigned int *values, unsigned int max);

/* options_passive.c */
bool set_engine(struct bench_conf *conf, const char *where, char *text);
bool set_device(struct bench_conf *conf, const char *where, char *text);
bool set_streams(struct bench_conf *conf, const char *where, char *text);
bool set_pasid(struct bench_conf *conf, const char *where, char *text);
bool set_region(struct bench_conf *conf, const char *where, char *text);
bool set_seconds(struct bench_conf *conf, const char *where, char *text);
bool set_interval(struct bench_conf *conf, const char *where, char *text);
bool set_burst(struct bench_conf *conf, const char *where, char *text);
bool set_refault(struct bench_conf *conf, const char *where, char *text);

/*
 * Read the trace and take the number of faults from it, unless one is given; or make another order
 * of the pages, once the number of faults is known.
 */
bool pattern_read(struct bench_conf *conf);
bool pattern_make(struct bench_conf *conf);
/* Check the settings together, set the defaults and make the cases. */
bool conf_fill_in(struct bench_conf *conf);

#define CONFIG_MAX_RUNS		256
/*
 * Read a configuration file. *runs has a run for each section [caseN] and combination of its
 * ranges: @p base, then [GLOBAL], the section and the command line. Returns their number, or
 * negative after reporting an error. The caller frees *runs.
 */
int config_read(const char *path, const struct bench_conf *base, const struct given *given,
		struct bench_conf **runs);
/* Put the name of a run into the name of a file: x.json, case1: x.case1.json. NULL: no memory. */
char *config_name_file(const char *path, const char *run);

#endif /* OPTIONS_H */
