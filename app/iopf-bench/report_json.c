/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "report_json.h"

/* Four decimals exceed the precision of the measurement. */
void
report_add_number(cJSON *to, const char *name, double v)
{
	cJSON_AddNumberToObject(to, name, (double)(int64_t)(v * 1e4 + 0.5) / 1e4);
}

void
report_add_spread(cJSON *to, const char *name, const struct spread *s)
{
	cJSON *o;

	if (s->rounds == 0)
		return;
	o = cJSON_AddObjectToObject(to, name);
	report_add_number(o, "median", s->median);
	report_add_number(o, "min", s->min);
	report_add_number(o, "max", s->max);
	report_add_number(o, "rounds", s->rounds);
}

static void
add_percentiles(cJSON *to, const char *prefix, const struct hist *h, double cycles_per_ns)
{
	static const struct {
		const char *name;
		double share;
	} points[] = { { "p50_ns", 0.5 }, { "p99_ns", 0.99 }, { "p999_ns", 0.999 } };
	char name[32];
	unsigned int i;

	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", prefix, points[i].name);
		report_add_number(to, name, hist_get_percentile(h, points[i].share) / cycles_per_ns);
	}
}

static void
add_case(cJSON *cases, const struct results *res, unsigned int at)
{
	static struct cell sum;
	const struct bench_case *c = &res->conf->cases[at];
	struct spread p50 = results_get_spread(res, at, METRIC_P50);
	struct spread rate = results_get_spread(res, at, METRIC_RATE);
	cJSON *o = cJSON_CreateObject();

	results_sum_cells(res, at, &sum);
	cJSON_AddStringToObject(o, "name", c->name);
	cJSON_AddStringToObject(o, "mode", results_get_mode(res, c->mode));
	if (c->depth == 0) {
		report_add_number(o, "waiting", DRAIN_DEPTH);
		report_add_number(o, "ns_per_fault", 1e3 / rate.median);
	} else {
		report_add_number(o, "depth", c->depth);
		report_add_number(o, "pages", 1u << c->group_log2);
		add_percentiles(o, "", &sum.service, res->cycles_per_ns);
		report_add_number(o, "p50_ns_by_page", hist_get_percentile(&sum.service, 0.5) /
				res->cycles_per_ns / (1u << c->group_log2));
		add_percentiles(o, "end_to_end_", &sum.whole, res->cycles_per_ns);
		report_add_number(o, "samples", (double)sum.service.samples);
		report_add_spread(o, "p50_ns_by_round", &p50);
	}
	report_add_number(o, "mfaults_per_s", rate.median);
	report_add_spread(o, "mfaults_per_s_by_round", &rate);
	cJSON_AddItemToArray(cases, o);
}

static void
add_round(cJSON *rounds, const struct results *res, unsigned int i)
{
	const struct round *round = &res->rounds[i];
	cJSON *o = cJSON_CreateObject(), *cells, *c;
	const struct bench_case *bc = res->conf->cases;
	unsigned int at;

	if (round->pingpong_ns >= 0)
		report_add_number(o, "pingpong_ns", round->pingpong_ns);
	if (round->foreign >= 0)
		report_add_number(o, "foreign_cores", round->foreign);
	report_add_number(o, "seconds", round->seconds);
	cJSON_AddBoolToObject(o, "counted", round->counted);
	cells = cJSON_AddObjectToObject(o, "cases");
	for (at = 0; at < res->conf->nb_cases; at++, bc++) {
		double rate = results_get_metric(res, i, at, METRIC_RATE);

		c = cJSON_AddObjectToObject(cells, bc->name);
		if (bc->depth == 0) {
			report_add_number(c, "ns_per_fault", 1e3 / rate);
			continue;
		}
		add_percentiles(c, "", &results_get_cell(res, i, at)->service, res->cycles_per_ns);
		report_add_number(c, "mfaults_per_s", rate);
		report_add_number(c, "samples", (double)results_get_cell(res, i, at)->service.samples);
	}
	cJSON_AddItemToArray(rounds, o);
}

void
report_add_machine(cJSON *root, const struct results *res)
{
	cJSON *o = cJSON_AddObjectToObject(root, "machine");
	char line[256], *value = NULL;
	struct utsname uts;
	FILE *f;

	f = fopen("/proc/cpuinfo", "r");
	while (f != NULL && value == NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "model name", 10) != 0)
			continue;
		value = strchr(line, ':');
		line[strcspn(line, "\n")] = '\0';
	}
	if (f != NULL)
		fclose(f);
	cJSON_AddStringToObject(o, "cpu", value != NULL && strlen(value) > 2 ? value + 2 :
			"unknown");
	report_add_number(o, "cpus", (double)sysconf(_SC_NPROCESSORS_ONLN));
	if (uname(&uts) == 0) {
		cJSON_AddStringToObject(o, "arch", uts.machine);
		cJSON_AddStringToObject(o, "kernel", uts.release);
	}
	report_add_number(o, "clock_ghz", res->cycles_per_ns);
	report_add_number(o, "model_on_cpu", res->conf->cpu_model);
	report_add_number(o, "servicer_on_cpu", res->conf->cpu_servicer);
}

static char *
make_json(const struct results *res)
{
	struct ratio ratios[BENCH_MAX_RATIOS];
	unsigned int i, n = ratios_make(res, ratios);
	cJSON *root = cJSON_CreateObject(), *list, *detail, *o;
	char *text;

	report_add_number(root, "rounds_counted", res->nb_counted);
	cJSON_AddBoolToObject(root, "noisy", res->noisy);
	report_add_number(root, "faults", res->conf->faults);
	list = cJSON_AddArrayToObject(root, "cases");
	for (i = 0; i < res->conf->nb_cases; i++)
		add_case(list, res, i);
	list = cJSON_AddObjectToObject(root, "ratios");
	detail = cJSON_AddObjectToObject(root, "ratios_detail");
	for (i = 0; i < n; i++) {
		report_add_number(list, ratios[i].name, ratios[i].all.median);
		o = cJSON_AddObjectToObject(detail, ratios[i].name);
		report_add_spread(o, "all", &ratios[i].all);
		report_add_spread(o, "close_cores", &ratios[i].fast);
	}
	list = cJSON_AddArrayToObject(root, "rounds");
	for (i = 0; i < res->conf->rounds; i++)
		add_round(list, res, i);
	report_add_machine(root, res);
	text = cJSON_Print(root);
	cJSON_Delete(root);
	return text;
}

/*
 * Create a new file beside @p path. Returns its descriptor or -errno; the caller frees *temp, its
 * name.
 */
static int
temp_open(const char *path, char **temp)
{
	size_t size = strlen(path) + sizeof(".XXXXXX");
	int fd;

	*temp = malloc(size);
	if (*temp == NULL)
		return -ENOMEM;
	snprintf(*temp, size, "%s.XXXXXX", path);
	fd = mkstemp(*temp);
	if (fd >= 0)
		return fd;
	fd = -errno;
	free(*temp);
	return fd;
}

bool
report_probe_json(const char *path)
{
	struct stat st;
	char *temp;
	int fd;

	/* The rename would replace a device or a link by a file. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		bench_error("--json: %s is not a regular file; give a file that may be "
				"replaced", path);
		return false;
	}
	fd = temp_open(path, &temp);
	if (fd < 0) {
		bench_error("--json: cannot write %s: %s; give a path in a folder that you may "
				"write", path, strerror(-fd));
		return false;
	}
	close(fd);
	unlink(temp);
	free(temp);
	return true;
}

int
report_write_text(char *text, const char *path)
{
	char *temp;
	mode_t mask = umask(0);
	int fd, ret = 0;
	FILE *f;

	umask(mask);
	if (text == NULL)
		fd = -ENOMEM;
	else
		fd = temp_open(path, &temp);
	if (fd < 0) {
		bench_error("cannot write %s: %s", path, strerror(-fd));
		cJSON_free(text);
		return fd;
	}
	f = fdopen(fd, "w");
	if (f == NULL) {
		ret = -errno;
		close(fd);
	} else {
		if (fprintf(f, "%s\n", text) < 0 || fflush(f) != 0 || fsync(fd) < 0 ||
				fchmod(fd, 0666 & ~mask) < 0)
			ret = -errno;
		if (fclose(f) != 0 && ret == 0)
			ret = -errno;
	}
	if (ret == 0 && rename(temp, path) < 0)
		ret = -errno;
	if (ret < 0) {
		bench_error("cannot write %s: %s", path, strerror(-ret));
		unlink(temp);
	}
	free(temp);
	cJSON_free(text);
	return ret;
}

int
report_write_json(const struct results *res, const char *path)
{
	return report_write_text(make_json(res), path);
}
