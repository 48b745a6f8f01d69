/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_json.h"

#define MAX_COLUMNS	256
/* As HdrHistogram does by default: lines for each halving of the distance to 100 %. */
#define TICKS_PER_HALF	5

struct column {
	const char *outer;	/* of an object in the object, or "" */
	const char *name;
};

/* A null is an empty field: a percentile that none of the cases supports keeps its column. */
static bool
is_plain(const cJSON *v)
{
	return cJSON_IsNumber(v) || cJSON_IsString(v) || cJSON_IsBool(v) || cJSON_IsNull(v);
}

static void
column_add(struct column *columns, unsigned int *n, const char *outer, const char *name)
{
	unsigned int i;

	for (i = 0; i < *n; i++)
		if (strcmp(columns[i].name, name) == 0 &&
				strcmp(columns[i].outer, outer) == 0)
			return;
	if (*n < MAX_COLUMNS)
		columns[(*n)++] = (struct column){ outer, name };
}

static unsigned int
columns_find(struct column *columns, const cJSON *list)
{
	const cJSON *o, *v, *inner;
	unsigned int n = 0;

	cJSON_ArrayForEach(o, list) {
		cJSON_ArrayForEach(v, o) {
			if (is_plain(v))
				column_add(columns, &n, "", v->string);
			if (!cJSON_IsObject(v))
				continue;
			cJSON_ArrayForEach(inner, v)
				if (is_plain(inner))
					column_add(columns, &n, v->string, inner->string);
		}
	}
	return n;
}

/* A field with a comma, a quote or a new line is quoted (RFC 4180). */
static void
print_text(FILE *f, const char *text)
{
	if (text[strcspn(text, ",\"\r\n")] == '\0') {
		fputs(text, f);
		return;
	}
	fputc('"', f);
	for (; *text != '\0'; text++) {
		if (*text == '"')
			fputc('"', f);
		fputc(*text, f);
	}
	fputc('"', f);
}

static void
print_value(FILE *f, const cJSON *v)
{
	if (cJSON_IsNumber(v))
		fprintf(f, "%.15g", v->valuedouble);
	else if (cJSON_IsString(v))
		print_text(f, v->valuestring);
	else if (cJSON_IsBool(v))
		fputs(cJSON_IsTrue(v) ? "true" : "false", f);
}

int
report_print_csv(FILE *f, const cJSON *list)
{
	struct column *columns = calloc(MAX_COLUMNS, sizeof(*columns));
	const cJSON *o, *from;
	unsigned int i, n;

	if (columns == NULL)
		return -ENOMEM;
	n = columns_find(columns, list);
	for (i = 0; i < n; i++)
		fprintf(f, "%s%s%s%s", i == 0 ? "" : ",", columns[i].outer,
				columns[i].outer[0] == '\0' ? "" : ".", columns[i].name);
	fputc('\n', f);
	cJSON_ArrayForEach(o, list) {
		for (i = 0; i < n; i++) {
			from = columns[i].outer[0] == '\0' ? o :
					cJSON_GetObjectItemCaseSensitive(o, columns[i].outer);
			if (i != 0)
				fputc(',', f);
			print_value(f, cJSON_GetObjectItemCaseSensitive(from, columns[i].name));
		}
		fputc('\n', f);
	}
	free(columns);
	return 0;
}

struct bucket {
	double us;	/* highest value */
	double count;
};

static bool
bucket_read(const cJSON *pair, struct bucket *b)
{
	const cJSON *ns = cJSON_GetArrayItem(pair, 0), *count = cJSON_GetArrayItem(pair, 1);

	if (!cJSON_IsNumber(ns) || !cJSON_IsNumber(count) || count->valuedouble < 1)
		return false;
	b->us = ns->valuedouble / 1e3;
	b->count = count->valuedouble;
	return true;
}

static double
get_next_level(double percentile)
{
	double halvings = floor(log2(100 / (100 - percentile))) + 1;

	return percentile + 100 / (TICKS_PER_HALF * exp2(halvings));
}

/* Mean and deviation are of the buckets' highest values, thus up to 1.6 % too large. */
int
report_print_hgrm(FILE *f, const cJSON *histogram)
{
	double total = 0, seen = 0, sum = 0, squares = 0, level = 0, max = 0, mean;
	const cJSON *pair;
	struct bucket b;

	cJSON_ArrayForEach(pair, histogram) {
		if (!bucket_read(pair, &b))
			return -EINVAL;
		total += b.count;
		sum += b.us * b.count;
		squares += b.us * b.us * b.count;
		max = b.us;
	}
	fprintf(f, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
			"1/(1-Percentile)");
	cJSON_ArrayForEach(pair, histogram) {
		bucket_read(pair, &b);
		seen += b.count;
		while (100 * seen / total >= level) {
			fprintf(f, "%12.3f %2.12f %10.0f %14.2f\n", b.us, level / 100, seen,
					1 / (1 - level / 100));
			level = get_next_level(level);
			if (seen >= total)
				break;
		}
	}
	mean = total > 0 ? sum / total : 0;
	if (total > 0)
		fprintf(f, "%12.3f %2.12f %10.0f\n", max, 1.0, total);
	fprintf(f, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean,
			total > 0 ? sqrt(fmax(squares / total - mean * mean, 0)) : 0);
	fprintf(f, "#[Max     = %12.3f, Total count    = %12.0f]\n", max, total);
	fprintf(f, "#[Buckets = %12d, SubBuckets     = %12d]\n", HIST_MAX_LOG2 - HIST_SUB_LOG2 + 1,
			1 << HIST_SUB_LOG2);
	return 0;
}
