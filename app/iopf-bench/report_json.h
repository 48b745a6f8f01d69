/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef REPORT_JSON_H
#define REPORT_JSON_H

/*
 * The files that a run leaves. All are made from one tree of JSON, so that they agree:
 *
 *	report_json.c		the tree of the modes; suite_report.c: that of a suite
 *	report_open.c		the cases of the open loop
 *	report_passive.c	the engine none
 *	report_machine.c	its part that says where and how the run was made, and the caveats
 *	report_text.c		the tree as CSV and as HdrHistogram's percentile text
 *	report_file.c		checks the paths before the run; writes the files after it
 *	report_tool.c		the tree as HTML, by usertools/iopf-bench-report
 *
 * Call report_probe_files() before the run, then make the tree and call report_write_files(). All
 * on the main thread. doc/guides/bench.rst documents the fields.
 */

#include <stdio.h>

#include <cjson/cJSON.h>

#include "bench.h"

/* With four decimals. */
void report_add_number(cJSON *to, const char *name, double v);
/* Nothing without rounds. */
void report_add_spread(cJSON *to, const char *name, const struct spread *s);
/* The percentiles, named "<prefix>p50_ns" and so on; null if too few samples are beyond. */
void report_add_percentiles(cJSON *to, const char *prefix, const struct hist *h,
		double cycles_per_ns);
/* "<prefix>histogram": a list of [highest value in ns, samples], without empty buckets. */
void report_add_histogram(cJSON *to, const char *prefix, const struct hist *h,
		double cycles_per_ns);
/* The fields of a case of the open loop, but name and mode. */
void report_add_open_case(cJSON *to, const struct results *res, unsigned int at,
		const struct cell *sum);
/* The CPU shares of the servicer; null if unknown, which is negative. */
void report_add_cpu(cJSON *to, double cpu, double busy);
/* The same of the engine none; and its options. */
void report_add_passive_case(cJSON *to, const struct results *res, const struct cell *sum);
void report_add_passive_options(cJSON *to, const struct bench_conf *conf);
/* Add an object for a round to the list "rounds"; the caller adds its figures to it. */
cJSON *report_add_round(cJSON *rounds, const struct round *round);
/* The tree of the modes; the caller frees it. NULL without memory. */
cJSON *report_make_json(const struct results *res);

/* The objects "program", "options" and "machine", the list "caveats", and "noisy". */
void report_add_origin(cJSON *root, const struct results *res);
/* The command line, quoted for a shell; the caller frees it. NULL without memory. */
char *report_quote_command(int argc, char **argv);

/*
 * Write a list of objects as CSV: a column for each number, string, boolean or null that one of
 * them has, "a.b" for those of an object in an object; the others are left out. Returns 0 or
 * -ENOMEM.
 */
int report_print_csv(FILE *f, const cJSON *list);
/* Write one histogram of the tree in microseconds. Returns 0, or -EINVAL if it is none. */
int report_print_hgrm(FILE *f, const cJSON *histogram);

/* Become the program that compares two results. Returns only after reporting an error. */
void report_compare(const char *a, const char *b);
/* Check that a report can be made of a result, and report an error. */
bool report_check_html(void);
/* Returns 0, or -errno after reporting the error. */
int report_write_html(const char *path, const char *json);

/* Check that all files of the options can be written, and report an error. Leaves no file. */
bool report_probe_files(const struct bench_conf *conf);
/*
 * Write the files of the options: each into a temporary file beside it, which is renamed. Frees
 * @p root; NULL is an error. Returns 0, or -errno after reporting the error.
 */
int report_write_files(const struct bench_conf *conf, cJSON *root);

#endif /* REPORT_JSON_H */
