/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef REPORT_JSON_H
#define REPORT_JSON_H

/* Pieces of the JSON report that the suite's report has too. */

#include <cjson/cJSON.h>

#include "bench.h"

/* With four decimals. */
void report_add_number(cJSON *to, const char *name, double v);
/* Nothing without rounds. */
void report_add_spread(cJSON *to, const char *name, const struct spread *s);
void report_add_machine(cJSON *root, const struct results *res);
/*
 * Write a temporary file beside @p path and rename it. Frees @p text, of cJSON_Print(); NULL is an
 * error. Returns 0, or -errno after reporting the error.
 */
int report_write_text(char *text, const char *path);

#endif /* REPORT_JSON_H */
