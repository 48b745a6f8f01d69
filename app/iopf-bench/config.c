/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Configuration files in the grammar of dpdk-test-dma-perf: sections [GLOBAL] and [caseN], lines
 * key=value, comments after ";", ranges FIRST,LAST,STEP,ADD or MUL. A section is one run, or with
 * ranges one for each combination of their values. A range of depths or loads is a list within a
 * run.
 */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cfgfile.h>
#include <rte_log.h>

#include "options.h"

#define GLOBAL		"GLOBAL"
#define MAX_SECTIONS	64
#define MAX_ENTRIES	64
#define MAX_RANGES	4

struct range {
	const struct setting *setting;
	unsigned int values[CONFIG_MAX_RUNS];
	unsigned int nb;
};

struct section {
	char name[CFG_NAME_LEN];
	struct rte_cfgfile_entry entries[MAX_ENTRIES];
	unsigned int nb_entries;
	struct range ranges[MAX_RANGES];
	unsigned int nb_ranges;
	unsigned int nb_runs;
	bool skip;
};

struct config {
	const char *path;
	struct section *sections;	/* the first is [GLOBAL] */
	unsigned int nb_sections;
};

static void
set_context(const char *path, const char *section)
{
	if (section[0] != '\0')
		snprintf(options_context, sizeof(options_context), "%s: [%s]: ", path, section);
	else
		snprintf(options_context, sizeof(options_context), "%s: ", path);
}

static char *
trim(char *text)
{
	size_t n;

	text += strspn(text, " \t\r\n");
	for (n = strlen(text); n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL; n--)
		;
	text[n] = '\0';
	return text;
}

/* Returns what is wrong with a line that rte_cfgfile would skip or cut, or NULL. */
static const char *
check_line(char *line, bool *in_section)
{
	char *text, *value;

	line[strcspn(line, ";")] = '\0';
	text = trim(line);
	if (text[0] == '\0')
		return NULL;
	if (text[0] == '[') {
		*in_section = true;
		if (text[strlen(text) - 1] != ']' || strchr(text, ']') != text + strlen(text) - 1)
			return "a section is [NAME]";
		return strlen(text) < CFG_NAME_LEN ? NULL : "the name is too long";
	}
	value = strchr(text, '=');
	if (value == NULL || value == text || trim(value + 1)[0] == '\0')
		return "a line is [SECTION], KEY=VALUE or a comment after ;";
	if (!*in_section)
		return "KEY=VALUE before the first [SECTION]";
	if (value - text >= CFG_NAME_LEN || strlen(value) >= CFG_VALUE_LEN)
		return "the line is too long";
	return NULL;
}

static bool
check_lines(const char *path)
{
	const char *wrong = NULL;
	bool in_section = false, ok;
	unsigned int nb = 0;
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	FILE *f = fopen(path, "r");

	while (f != NULL && wrong == NULL && (n = getline(&line, &room, f)) >= 0) {
		nb++;
		wrong = strlen(line) == (size_t)n ? check_line(line, &in_section) :
				"a zero byte";
	}
	ok = f != NULL && !ferror(f) && wrong == NULL;
	if (wrong != NULL)
		bench_error("line %u: %s", nb, wrong);
	else if (!ok)
		bench_error("cannot read: %s", strerror(errno));
	free(line);
	if (f != NULL)
		fclose(f);
	return ok;
}

/* One error has one line: keep the library from logging another. */
static struct rte_cfgfile *
load_file(const char *path)
{
	struct rte_cfgfile *file;

	if (!check_lines(path))
		return NULL;
	rte_log_set_level_pattern("lib.cfgfile", RTE_LOG_EMERG);
	file = rte_cfgfile_load(path, 0);
	if (file == NULL)
		bench_error("DPDK's rte_cfgfile_load() cannot read it");
	return file;
}

static bool
is_case(const char *name)
{
	return strncmp(name, "case", 4) == 0 && name[4] != '\0' &&
			name[4 + strspn(name + 4, "0123456789")] == '\0';
}

static bool
read_skip(struct section *section, const char *value)
{
	unsigned int skip;

	if (!parse_number("skip", value, 0, 1, &skip))
		return false;
	section->skip = skip;
	return true;
}

static void
report_unknown_key(const char *key)
{
	char list[256] = "";
	unsigned int i;
	size_t n = 0;

	for (i = 0; i < nb_settings && n < sizeof(list); i++)
		n += snprintf(list + n, sizeof(list) - n, "%s, ", settings[i].name);
	bench_error("unknown key '%s'; use %sor in a case skip", key, list);
}

static bool
read_entry(struct section *section, const struct rte_cfgfile_entry *entry)
{
	const struct setting *setting = settings_find(entry->name);
	struct range *range = &section->ranges[section->nb_ranges];
	int n;

	if (strcmp(entry->name, "skip") == 0 && is_case(section->name))
		return read_skip(section, entry->value);
	if (setting == NULL) {
		report_unknown_key(entry->name);
		return false;
	}
	section->entries[section->nb_entries++] = *entry;
	if (!setting->ranges)
		return true;
	n = parse_range(entry->name, entry->value,
			section->nb_ranges < MAX_RANGES ? range->values : (unsigned int[1]){ 0 },
			section->nb_ranges < MAX_RANGES ? CONFIG_MAX_RUNS : 1);
	if (n < 0)
		return false;
	if (n == 0)
		return true;
	if (section->nb_ranges == MAX_RANGES || !is_case(section->name)) {
		bench_error(section->nb_ranges == MAX_RANGES ? "%s: more than %d ranges" :
				"%s: a range is for a case, not for [" GLOBAL "]", entry->name,
				MAX_RANGES);
		return false;
	}
	section->nb_entries--;
	range->setting = setting;
	range->nb = n;
	section->nb_ranges++;
	section->nb_runs *= n;
	if (section->nb_runs > CONFIG_MAX_RUNS) {
		bench_error("%s: more than %d combinations of values", entry->name,
				CONFIG_MAX_RUNS);
		return false;
	}
	return true;
}

static bool
read_section(struct config *config, struct rte_cfgfile *file, int index)
{
	struct rte_cfgfile_entry entries[MAX_ENTRIES];
	char name[CFG_NAME_LEN];
	struct section *section;
	int i, k, n;

	n = rte_cfgfile_section_num_entries_by_index(file, name, index);
	set_context(config->path, name);
	if (strcmp(name, GLOBAL) != 0 && !is_case(name)) {
		bench_error("unknown section; use [" GLOBAL "], [case1], [case2] ...");
		return false;
	}
	section = &config->sections[strcmp(name, GLOBAL) == 0 ? 0 : config->nb_sections++];
	if (n > MAX_ENTRIES) {
		bench_error("more than %d lines", MAX_ENTRIES);
		return false;
	}
	for (i = 0; i < (int)config->nb_sections; i++) {
		if (strcmp(config->sections[i].name, name) == 0) {
			bench_error("a second section of this name");
			return false;
		}
	}
	snprintf(section->name, sizeof(section->name), "%s", name);
	section->nb_runs = 1;
	n = rte_cfgfile_section_entries_by_index(file, index, name, entries, MAX_ENTRIES);
	for (i = 0; i < n; i++) {
		for (k = 0; k < i; k++) {
			if (strcmp(entries[i].name, entries[k].name) == 0) {
				bench_error("%s: given twice", entries[i].name);
				return false;
			}
		}
		if (!read_entry(section, &entries[i]))
			return false;
	}
	return true;
}

static bool
read_sections(struct config *config, struct rte_cfgfile *file)
{
	int i, n = rte_cfgfile_num_sections(file, NULL, 0);

	if (n > MAX_SECTIONS) {
		bench_error("more than %d sections", MAX_SECTIONS);
		return false;
	}
	config->sections = calloc(n + 1, sizeof(*config->sections));
	if (config->sections == NULL) {
		bench_error("no memory for %d sections", n);
		return false;
	}
	config->nb_sections = 1;
	for (i = 0; i < n; i++)
		if (!read_section(config, file, i))
			return false;
	return true;
}

static bool
apply_entries(const struct section *section, struct bench_conf *conf)
{
	unsigned int i;

	for (i = 0; i < section->nb_entries; i++)
		if (!setting_apply(settings_find(section->entries[i].name), conf,
				section->entries[i].name, section->entries[i].value))
			return false;
	return true;
}

/* The run with the combination @p at of the values of the ranges. */
static bool
make_run(const struct config *config, const struct section *section, unsigned int at,
		const struct given *given, struct bench_conf *conf)
{
	const struct range *range;
	unsigned int i, value;
	char text[16];
	size_t n;

	set_context(config->path, GLOBAL);
	if (!apply_entries(&config->sections[0], conf))
		return false;
	set_context(config->path, section->name);
	if (!apply_entries(section, conf))
		return false;
	n = snprintf(conf->run, sizeof(conf->run), "%s", section->name);
	for (i = 0; i < section->nb_ranges; i++) {
		range = &section->ranges[i];
		value = range->values[at % range->nb];
		at /= range->nb;
		snprintf(text, sizeof(text), "%u", value);
		if (!setting_apply(range->setting, conf, range->setting->name, text))
			return false;
		if (n < sizeof(conf->run))
			n += snprintf(conf->run + n, sizeof(conf->run) - n, "_%s_%u",
					range->setting->name, value);
	}
	return given_apply(given, conf) && conf_fill_in(conf);
}

static int
make_runs(const struct config *config, const struct bench_conf *base, const struct given *given,
		struct bench_conf **runs)
{
	const struct section *section;
	unsigned int s, i, n = 0, total = 0;

	for (s = 1; s < config->nb_sections; s++)
		if (!config->sections[s].skip)
			total += config->sections[s].nb_runs;
	set_context(config->path, "");
	if (total == 0 || total > CONFIG_MAX_RUNS) {
		bench_error(total == 0 ? "no section [caseN] to run" :
				"%u runs, more than %d: give fewer values", total, CONFIG_MAX_RUNS);
		return -1;
	}
	*runs = calloc(total, sizeof(**runs));
	if (*runs == NULL) {
		bench_error("no memory for %u runs", total);
		return -1;
	}
	for (s = 1; s < config->nb_sections; s++) {
		section = &config->sections[s];
		for (i = 0; i < section->nb_runs && !section->skip; i++, n++) {
			(*runs)[n] = *base;
			if (!make_run(config, section, i, given, &(*runs)[n]))
				return -1;
		}
	}
	return total;
}

int
config_read(const char *path, const struct bench_conf *base, const struct given *given,
		struct bench_conf **runs)
{
	struct config config = { .path = path };
	struct rte_cfgfile *file;
	int ret = -1;

	*runs = NULL;
	set_context(path, "");
	file = load_file(path);
	if (file == NULL)
		return -1;
	if (read_sections(&config, file))
		ret = make_runs(&config, base, given, runs);
	rte_cfgfile_close(file);
	free(config.sections);
	if (ret < 0) {
		free(*runs);
		*runs = NULL;
		return -1;
	}
	options_context[0] = '\0';
	return ret;
}

char *
config_name_file(const char *path, const char *run)
{
	const char *slash = strrchr(path, '/');
	const char *dot = strrchr(slash != NULL ? slash + 1 : path, '.');
	size_t size = strlen(path) + strlen(run) + 2;
	char *name = malloc(size);

	if (dot == NULL || dot == path || dot == slash + 1)
		dot = path + strlen(path);
	if (name != NULL)
		snprintf(name, size, "%.*s.%s%s", (int)(dot - path), path, run, dot);
	return name;
}
