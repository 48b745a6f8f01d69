/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Where and how a run was made, and what to bear in mind when its figures are read. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <rte_version.h>

#include "report_json.h"
#include "suite.h"

/* Fewer rounds give no useful range. */
#define FEW_ROUNDS	5
/* Times of rounds differ much if the round trips of the cache line have this ratio. */
#define FAR_RATIO	1.5

#define SAFE_CHARS	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%"

char *
report_quote_command(int argc, char **argv)
{
	char *text = NULL;
	const char *c;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int i;

	if (f == NULL)
		return NULL;
	for (i = 0; i < argc; i++) {
		if (i > 0)
			fputc(' ', f);
		if (argv[i][0] != '\0' && argv[i][strspn(argv[i], SAFE_CHARS)] == '\0') {
			fputs(argv[i], f);
			continue;
		}
		fputc('\'', f);
		for (c = argv[i]; *c != '\0'; c++)
			fputs(*c == '\'' ? "'\\''" : (const char[]){ *c, '\0' }, f);
		fputc('\'', f);
	}
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static void
add_program(cJSON *root, const struct bench_conf *conf)
{
	cJSON *o = cJSON_AddObjectToObject(root, "program");
	time_t now = time(NULL);
	char text[32];
	struct tm tm;

	cJSON_AddStringToObject(o, "version", BENCH_VERSION);
	cJSON_AddStringToObject(o, "dpdk", rte_version());
	cJSON_AddStringToObject(o, "compiler", __VERSION__);
	cJSON_AddStringToObject(o, "build", "buildtype " BENCH_BUILDTYPE ", b_sanitize "
			BENCH_SANITIZE);
	if (conf->command != NULL)
		cJSON_AddStringToObject(o, "command", conf->command);
	if (gmtime_r(&now, &tm) != NULL && strftime(text, sizeof(text), "%FT%TZ", &tm) > 0)
		cJSON_AddStringToObject(o, "ended", text);
}

static void
add_loop_options(cJSON *o, const struct bench_conf *conf)
{
	cJSON *list = cJSON_AddArrayToObject(o, "loop");
	unsigned int i;

	if (conf->closed)
		cJSON_AddItemToArray(list, cJSON_CreateString("closed"));
	if (!conf->open)
		return;
	cJSON_AddItemToArray(list, cJSON_CreateString("open"));
	list = cJSON_AddArrayToObject(o, "arrival");
	for (i = 0; i < BENCH_NB_ARRIVALS; i++)
		if (conf->arrivals[i])
			cJSON_AddItemToArray(list, cJSON_CreateString(open_arrival_names[i]));
	list = cJSON_AddArrayToObject(o, "loads");
	for (i = 0; i < conf->nb_loads; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber(conf->loads[i] / 100.0));
}

static void
add_options(cJSON *root, const struct bench_conf *conf)
{
	cJSON *o = cJSON_AddObjectToObject(root, "options"), *list;
	unsigned int i;

	cJSON_AddBoolToObject(o, "quick", conf->quick);
	if (conf->run[0] != '\0')
		cJSON_AddStringToObject(o, "run", conf->run);
	report_add_number(o, "rounds", conf->rounds);
	if (conf->suite != NULL) {
		list = cJSON_AddArrayToObject(o, "parts");
		for (i = 0; i < conf->suite->nb_parts; i++)
			if (conf->parts == 0 || conf->parts & UINT32_C(1) << i)
				cJSON_AddItemToArray(list, cJSON_CreateString(
						conf->suite->parts[i].name));
		return;
	}
	cJSON_AddStringToObject(o, "engine", engine_names[conf->engine]);
	if (conf->engine != ENGINE_MODEL) {
		report_add_passive_options(o, conf);
		return;
	}
	report_add_number(o, "faults", conf->faults);
	report_add_number(o, "budget_ms", conf->budget_ms);
	report_add_number(o, "requesters", conf->requesters);
	report_add_number(o, "sids", conf->sids);
	cJSON_AddStringToObject(o, "pattern", pattern_names[conf->pattern]);
	if (conf->trace != NULL)
		cJSON_AddStringToObject(o, "trace", conf->trace);
	cJSON_AddStringToObject(o, "zero", conf->zero_inline ? "inline" :
			conf->zero_pool ? "pool" : "none");
	cJSON_AddStringToObject(o, "msi", conf->no_msi ? "off" : "on");
	report_add_number(o, "mmio_ns", conf->mmio_ns);
	cJSON_AddStringToObject(o, "ats", conf->ats ? "on" : "off");
	cJSON_AddStringToObject(o, "idle", idle_names[conf->idle]);
	list = cJSON_AddArrayToObject(o, "modes");
	for (i = 0; i < conf->nb_modes; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(bench_modes[conf->modes[i]]->name));
	list = cJSON_AddArrayToObject(o, "depths");
	for (i = 0; i < conf->nb_depths; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber(conf->depths[i]));
	add_loop_options(o, conf);
}

/* Read the value of a line of /proc/cpuinfo. */
static bool
read_cpuinfo(const char *key, char *value, size_t size)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool found = false;
	char *line = NULL, *colon;
	size_t room = 0;

	while (f != NULL && !found && getline(&line, &room, f) > 0) {
		colon = strchr(line, ':');
		if (strncmp(line, key, strlen(key)) != 0 || colon == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(value, size, "%s", colon[1] == ' ' ? colon + 2 : colon + 1);
		found = value[0] != '\0';
	}
	free(line);
	if (f != NULL)
		fclose(f);
	return found;
}

/* Read one line of a file about a CPU in sysfs. */
static bool
read_cpu_file(int cpu, const char *name, char *text, size_t size)
{
	char path[96];
	bool found;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/%s", cpu, name);
	f = fopen(path, "r");
	if (f == NULL)
		return false;
	found = fgets(text, size, f) != NULL;
	fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return found;
}

static bool
is_virtual(void)
{
	char flags[8192];

	return read_cpuinfo("flags", flags, sizeof(flags)) && strstr(flags, " hypervisor") != NULL;
}

/* Threads of one core have the same list of siblings. */
static bool
cpus_share_core(const struct bench_conf *conf)
{
	char a[256], b[256];

	return read_cpu_file(conf->cpu_model, "topology/thread_siblings_list", a, sizeof(a)) &&
			read_cpu_file(conf->cpu_servicer, "topology/thread_siblings_list", b,
			sizeof(b)) && strcmp(a, b) == 0;
}

static void
add_machine(cJSON *root, const struct results *res)
{
	const struct bench_conf *conf = res->conf;
	cJSON *o = cJSON_AddObjectToObject(root, "machine");
	char text[256];
	struct utsname uts;

	cJSON_AddStringToObject(o, "cpu", read_cpuinfo("model name", text, sizeof(text)) ? text :
			"unknown");
	report_add_number(o, "cpus", (double)sysconf(_SC_NPROCESSORS_ONLN));
	if (uname(&uts) == 0) {
		cJSON_AddStringToObject(o, "arch", uts.machine);
		cJSON_AddStringToObject(o, "kernel", uts.release);
	}
	report_add_number(o, "clock_ghz", res->cycles_per_ns);
	if (conf->engine == ENGINE_MODEL)
		report_add_number(o, "model_on_cpu", conf->cpu_model);
	report_add_number(o, "servicer_on_cpu", conf->cpu_servicer);
	cJSON_AddBoolToObject(o, "virtual", is_virtual());
	cJSON_AddBoolToObject(o, "cpus_share_a_core", cpus_share_core(conf));
	if (read_cpu_file(conf->cpu_servicer, "cpufreq/scaling_governor", text, sizeof(text)))
		cJSON_AddStringToObject(o, "governor", text);
}

static void __attribute__((format(printf, 2, 3)))
add_caveat(cJSON *list, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cJSON_AddItemToArray(list, cJSON_CreateString(text));
}

static void
add_caveats_of_machine(cJSON *list, const struct bench_conf *conf)
{
	char governor[64];

	if (conf->engine != ENGINE_MODEL)
		add_caveat(list, "A latency begins when the poll thread reads a record: how long "
				"the record was in the queue is not known.");
	else
		add_caveat(list, "The SMMU is a software model in memory: these are no figures of "
				"silicon.");
	if (is_virtual())
		add_caveat(list, "This is a virtual machine: to wake another CPU costs more than "
				"on bare metal, and pauses of the machine are in the high "
				"percentiles.");
	if (cpus_share_core(conf))
		add_caveat(list, "CPU %d and CPU %d are threads of one core: model and servicer "
				"slow each other down.", conf->cpu_model, conf->cpu_servicer);
	if (read_cpu_file(conf->cpu_servicer, "cpufreq/scaling_governor", governor,
			sizeof(governor)) && strcmp(governor, "performance") != 0)
		add_caveat(list, "The frequency governor is %s, not performance: the clock may "
				"change during the run.", governor);
#ifndef __OPTIMIZE__
	add_caveat(list, "The program was built without optimisation.");
#endif
	if (strcmp(BENCH_SANITIZE, "none") != 0)
		add_caveat(list, "The program was built with a sanitizer: %s.", BENCH_SANITIZE);
}

static void
add_caveats_of_rounds(cJSON *list, const struct results *res)
{
	unsigned int i, n = res->nb_rounds;
	double min = 0, max = 0, ns;

	if (res->interrupted)
		add_caveat(list, "The run was interrupted: %u of %u rounds are complete.", n,
				res->conf->rounds);
	if (res->noisy)
		add_caveat(list, "NOISY: other processes used the CPUs in most rounds, and all "
				"rounds count. Measure again on a quiet machine.");
	else if (res->nb_counted < n)
		add_caveat(list, "%u of %u rounds do not count: other processes used more than "
				"%.0f %% of a core.", n - res->nb_counted, n,
				BENCH_FOREIGN_LIMIT * 100);
	if (res->nb_counted < FEW_ROUNDS)
		add_caveat(list, "Only %u rounds count: the ranges say little.", res->nb_counted);
	for (i = 0; i < n; i++) {
		ns = res->rounds[i].pingpong_ns;
		if (!res->rounds[i].counted || ns <= 0)
			continue;
		if (min <= 0 || ns < min)
			min = ns;
		if (ns > max)
			max = ns;
	}
	if (max > min * FAR_RATIO)
		add_caveat(list, "A cache line needed between %.0f and %.0f ns from core to core "
				"and back: times of different rounds differ with it, ratios "
				"hardly.", min, max);
}

void
report_add_origin(cJSON *root, const struct results *res)
{
	cJSON *list;

	report_add_number(root, "format", 1);
	add_program(root, res->conf);
	add_options(root, res->conf);
	add_machine(root, res);
	cJSON_AddBoolToObject(root, "noisy", res->noisy);
	cJSON_AddBoolToObject(root, "interrupted", res->interrupted);
	list = cJSON_AddArrayToObject(root, "caveats");
	add_caveats_of_machine(list, res->conf);
	add_caveats_of_rounds(list, res);
}
