/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report_json.h"

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

static bool
probe_file(const char *option, const char *path)
{
	struct stat st;
	char *temp;
	int fd;

	/* The rename would replace a device or a link by a file. */
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		bench_error("%s: %s is not a regular file; give a file that may be replaced",
				option, path);
		return false;
	}
	fd = temp_open(path, &temp);
	if (fd < 0) {
		bench_error("%s: cannot write %s: %s; give a path in a folder that you may write",
				option, path, strerror(-fd));
		return false;
	}
	close(fd);
	unlink(temp);
	free(temp);
	return true;
}

/* The folder is made if it is missing: later, when there is something to write. */
static bool
probe_folder(const char *option, const char *path)
{
	struct stat st;

	if (mkdir(path, 0777) == 0) {
		rmdir(path);
		return true;
	}
	if (errno == EEXIST && stat(path, &st) == 0) {
		if (!S_ISDIR(st.st_mode))
			errno = ENOTDIR;
		else if (access(path, W_OK | X_OK) == 0)
			return true;
	}
	bench_error("%s: cannot write to %s: %s; give a folder that you may write, or a new one",
			option, path, strerror(errno));
	return false;
}

bool
report_probe_files(const struct bench_conf *conf)
{
	return (conf->json == NULL || probe_file("--json", conf->json)) &&
			(conf->csv == NULL || probe_file("--csv", conf->csv)) &&
			(conf->hgrm == NULL || probe_folder("--hgrm", conf->hgrm)) &&
			(conf->html == NULL || (probe_file("--html", conf->html) &&
			report_check_html()));
}

static int
write_text(const char *path, const char *text)
{
	mode_t mask = umask(0);
	int fd, ret = 0;
	char *temp;
	FILE *f;

	umask(mask);
	fd = text == NULL ? -ENOMEM : temp_open(path, &temp);
	if (fd < 0) {
		bench_error("cannot write %s: %s", path, strerror(-fd));
		return fd;
	}
	f = fdopen(fd, "w");
	if (f == NULL) {
		ret = -errno;
		close(fd);
	} else {
		if (fputs(text, f) == EOF || fflush(f) != 0 || fsync(fd) < 0 ||
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
	return ret;
}

/* Write the output of @p print for @p from, a part of the tree. */
static int
write_printed(const char *path, int (*print)(FILE *f, const cJSON *from), const cJSON *from)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int ret = f == NULL ? -ENOMEM : print(f, from);

	if (f != NULL && fclose(f) != 0)
		ret = -ENOMEM;
	if (ret == 0)
		ret = write_text(path, text);
	else
		bench_error("cannot write %s: %s", path, strerror(-ret));
	free(text);
	return ret;
}

static int
print_json(FILE *f, const cJSON *root)
{
	char *text = cJSON_Print(root);

	if (text == NULL)
		return -ENOMEM;
	fprintf(f, "%s\n", text);
	cJSON_free(text);
	return 0;
}

static int
write_html(const char *path, const cJSON *root)
{
	char *text = cJSON_PrintUnformatted(root);
	int ret = -ENOMEM;

	if (text != NULL)
		ret = report_write_html(path, text);
	else
		bench_error("cannot write %s: %s", path, strerror(ENOMEM));
	cJSON_free(text);
	return ret;
}

/* The ratios and figures of a suite as a list. */
static cJSON *
list_figures(const cJSON *root)
{
	const cJSON *ratios = cJSON_GetObjectItemCaseSensitive(root, "ratios_detail");
	const cJSON *figures = cJSON_GetObjectItemCaseSensitive(root, "figures"), *i, *k;
	cJSON *list = cJSON_CreateArray(), *o;

	cJSON_ArrayForEach(i, ratios) {
		o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "name", i->string);
		cJSON_ArrayForEach(k, cJSON_GetObjectItemCaseSensitive(i, "all"))
			cJSON_AddItemToObject(o, k->string, cJSON_Duplicate(k, true));
		cJSON_ArrayForEach(k, i)
			if (!cJSON_IsObject(k))
				cJSON_AddItemToObject(o, k->string, cJSON_Duplicate(k, true));
		cJSON_AddItemToArray(list, o);
	}
	cJSON_ArrayForEach(i, figures) {
		o = cJSON_CreateObject();
		cJSON_AddStringToObject(o, "name", i->string);
		cJSON_ArrayForEach(k, i)
			cJSON_AddItemToObject(o, k->string, cJSON_Duplicate(k, true));
		cJSON_AddItemToArray(list, o);
	}
	return list;
}

static int
write_csv(const char *path, const cJSON *root)
{
	const cJSON *cases = cJSON_GetObjectItemCaseSensitive(root, "cases");
	cJSON *list = cases == NULL ? list_figures(root) : NULL;
	int ret = write_printed(path, report_print_csv, cases == NULL ? list : cases);

	cJSON_Delete(list);
	return ret;
}

/* "<prefix>histogram" of a case is written to CASE.hgrm, or to CASE.PREFIX.hgrm. */
static int
write_hgrm(const char *folder, const char *name, const cJSON *histogram)
{
	size_t len = strlen(histogram->string) - strlen("histogram");
	char *path;
	int ret;

	if (len == 0)
		ret = asprintf(&path, "%s/%s.hgrm", folder, name);
	else
		ret = asprintf(&path, "%s/%s.%.*s.hgrm", folder, name, (int)len - 1,
				histogram->string);
	if (ret < 0)
		return -ENOMEM;
	ret = write_printed(path, report_print_hgrm, histogram);
	free(path);
	return ret;
}

static int
write_hgrms(const char *folder, const cJSON *root)
{
	const cJSON *cases = cJSON_GetObjectItemCaseSensitive(root, "cases"), *c, *i;
	int ret = 0;

	if (mkdir(folder, 0777) < 0 && errno != EEXIST) {
		ret = -errno;
		bench_error("cannot make the folder %s: %s", folder, strerror(-ret));
	}
	cJSON_ArrayForEach(c, cases) {
		const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(c, "name"));

		cJSON_ArrayForEach(i, c) {
			size_t len = strlen(i->string);

			if (ret == 0 && name != NULL && cJSON_IsArray(i) && len >= 9 &&
					strcmp(i->string + len - 9, "histogram") == 0)
				ret = write_hgrm(folder, name, i);
		}
	}
	return ret;
}

int
report_write_files(const struct bench_conf *conf, cJSON *root)
{
	int ret = 0;

	if (root == NULL) {
		bench_error("no memory for the results");
		return -ENOMEM;
	}
	if (conf->json != NULL)
		ret = write_printed(conf->json, print_json, root);
	if (ret == 0 && conf->csv != NULL)
		ret = write_csv(conf->csv, root);
	if (ret == 0 && conf->hgrm != NULL)
		ret = write_hgrms(conf->hgrm, root);
	if (ret == 0 && conf->html != NULL)
		ret = write_html(conf->html, root);
	cJSON_Delete(root);
	if (ret < 0)
		return ret;
	if (conf->json != NULL)
		printf("\nThe same as JSON, with every round: %s\n", conf->json);
	if (conf->csv != NULL)
		printf("The same as CSV, a line for each case: %s\n", conf->csv);
	if (conf->hgrm != NULL)
		printf("Histograms, for the plotters of HdrHistogram: %s/*.hgrm\n", conf->hgrm);
	if (conf->html != NULL)
		printf("Report with figures: %s\n", conf->html);
	return 0;
}
