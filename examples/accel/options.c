/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

#define MAX_BUDGET	((unsigned long long)1 << 40)
#define MAX_REPEAT	1000

void
options_print_help(void)
{
	printf("\n"
		"  --devices N    1 to %d [1]\n"
		"  --queues N     of each device, 1 to %d [1]; copy and spmv use all queues\n"
		"  --pri          the devices have ATS and PRI: they do not stall, but request\n"
		"                 the pages of each DMA in groups\n"
		"  --no-httu      the SMMU does not set access flags and the dirty state\n"
		"  --budget SIZE  at most so many bytes of the data are in memory, the others in\n"
		"                 a temporary file; 3000K, 16M, 1G\n"
		"  --prefetch     map all of the data before the start\n"
		"  --copies       spmv: no faults; copy the matrix to buffers within the budget\n"
		"  --hints        spmv: fetch the matrix ahead, in another queue: two or more\n"
		"  --mapping      spmv: no device; the CPU, with the matrix in a file mapping\n"
		"  --repeat N     run the kernel so often [1]\n"
		"  --record FILE  write the pages of the devices' DMAs to FILE, as a trace for\n"
		"                 iopf-bench\n"
		"  --json FILE    write the figures of the run to FILE\n",
		ACCEL_MAX_DEVICES, ACCEL_MAX_QUEUES);
}

/* A number with K, M, G or nothing. */
static int
read_number(const char *name, const char *text, unsigned long long most,
		unsigned long long *value)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	unit = *end != '\0' ? strchr(units, *end) : NULL;
	if (unit != NULL && *value <= most) {
		*value <<= 10 * (unit - units + 1);
		end++;
	}
	if (errno != 0 || !isdigit((unsigned char)text[0]) || *end != '\0' || *value == 0 ||
			*value > most)
		return accel_fail("%s %s: not a number from 1 to %llu; see accel --help", name,
				text, most);
	return 0;
}

/* An option with a value. Returns 1 for another option. */
static int
read_value(const char *name, const char *text, struct options *options)
{
	struct setup *setup = &options->setup;
	unsigned long long value = 0;
	int ret = 0;

	if (strcmp(name, "--record") == 0) {
		options->record = text;
	} else if (strcmp(name, "--json") == 0) {
		options->json = text;
	} else if (strcmp(name, "--devices") == 0) {
		ret = read_number(name, text, ACCEL_MAX_DEVICES, &value);
		setup->nb_devices = value;
	} else if (strcmp(name, "--queues") == 0) {
		ret = read_number(name, text, ACCEL_MAX_QUEUES, &value);
		setup->nb_queues = value;
	} else if (strcmp(name, "--repeat") == 0) {
		ret = read_number(name, text, MAX_REPEAT, &value);
		setup->repeat = value;
	} else if (strcmp(name, "--budget") == 0) {
		ret = read_number(name, text, MAX_BUDGET, &value);
		setup->budget = value;
	} else {
		return 1;
	}
	return ret;
}

static bool
read_flag(const char *name, struct setup *setup)
{
	if (strcmp(name, "--pri") == 0)
		setup->pri = true;
	else if (strcmp(name, "--no-httu") == 0)
		setup->no_httu = true;
	else if (strcmp(name, "--prefetch") == 0)
		setup->prefetch = true;
	else if (strcmp(name, "--copies") == 0)
		setup->copies = true;
	else if (strcmp(name, "--hints") == 0)
		setup->hints = true;
	else if (strcmp(name, "--mapping") == 0)
		setup->mapping = true;
	else
		return false;
	return true;
}

int
options_read(int argc, char **argv, struct options *options)
{
	int i, ret;

	*options = (struct options){ .setup = { .nb_devices = 1, .nb_queues = 1, .repeat = 1 } };
	for (i = 0; i < argc && argv[i][0] == '-'; i++) {
		if (read_flag(argv[i], &options->setup))
			continue;
		if (i + 1 == argc)
			return accel_fail("option \"%s\" is unknown or needs a value; see "
					"accel --help", argv[i]);
		ret = read_value(argv[i], argv[i + 1], options);
		if (ret > 0)
			return accel_fail("unknown option \"%s\"; see accel --help", argv[i]);
		if (ret < 0)
			return -1;
		i++;
	}
	if (argc - i != 2)
		return accel_fail("give a kernel and a file, options first; see accel --help");
	options->kernel = argv[i];
	options->file = argv[i + 1];
	return 0;
}
