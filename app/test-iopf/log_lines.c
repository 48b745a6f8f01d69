/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "log_lines.h"
#include "test.h"

static const char *const types[] = { "lib.iopf", "lib.mmem", "pmd.smmuv3" };
static int levels[RTE_DIM(types)];
static FILE *log, *before;
static char *text;
static size_t len;

void
log_lines_begin(void)
{
	unsigned int i;
	int type;

	log = open_memstream(&text, &len);
	assert_non_null(log);
	for (i = 0; i < RTE_DIM(types); i++) {
		/* This call looks up a type that is registered already. */
		type = rte_log_register(types[i]);
		levels[i] = rte_log_get_level(type);
		rte_log_set_level(type, RTE_LOG_NOTICE);
	}
	before = rte_log_get_stream();
	rte_openlog_stream(log);
}

char *
log_lines_end(void)
{
	unsigned int i;

	rte_openlog_stream(before == stderr ? NULL : before);
	for (i = 0; i < RTE_DIM(types); i++)
		rte_log_set_level(rte_log_register(types[i]), levels[i]);
	fclose(log);
	return text;
}

void
log_lines_one(const char *part)
{
	char *lines = log_lines_end();
	char *end = strchr(lines, '\n');

	if (end == NULL || end[1] != '\0' || strstr(lines, part) == NULL)
		fail_msg("expected one line with \"%s\", not: %s", part, lines);
	free(lines);
}
