/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "options.h"

static const struct number {
	const char *name;
	size_t at;
	uint32_t value;
	uint32_t min;
	uint32_t max;
	const char *text;
} numbers[] = {
	{ "--lanes", offsetof(struct options, lanes), 10000, 1, OPTIONS_MAX_LANES,
		"lanes of the shader: accesses at once" },
	{ "--stalls", offsetof(struct options, stalls), 512, 1, 65535,
		"accesses that the SMMU can stall" },
	{ "--contexts", offsetof(struct options, contexts), 3, 1, OPTIONS_MAX_CONTEXTS,
		"other contexts of the GPU" },
	{ "--ms", offsetof(struct options, ms), 200, 1, 600000,
		"milliseconds before the hang, and after it" },
	{ "--hang-ms", offsetof(struct options, hang_ms), 200, 0, 600000,
		"milliseconds in which lanes that fail try again, until a kill; 0: only once" },
	{ "--breaker", offsetof(struct options, breaker), 100000, 0, 1000000000,
		"faults a second past which accesses abort, and a kill comes; 0: off;\n"
		"                 otherwise more than --lanes" },
};

int
fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("gpu-hang: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

void
options_print(void)
{
	unsigned int i;

	printf("Each option has a number N [default, smallest to largest]:\n");
	for (i = 0; i < RTE_DIM(numbers); i++)
		printf("  %-11s N  %s [%u, %u to %u]\n", numbers[i].name, numbers[i].text,
				numbers[i].value, numbers[i].min, numbers[i].max);
}

static uint32_t *
get_value(struct options *options, const struct number *number)
{
	return (uint32_t *)((char *)options + number->at);
}

static int
parse_number(struct options *options, const char *name, const char *text)
{
	const struct number *number = numbers;
	unsigned long value;
	char *end;

	while (number < numbers + RTE_DIM(numbers) && strcmp(number->name, name) != 0)
		number++;
	if (number == numbers + RTE_DIM(numbers))
		return fail("unknown option \"%s\"; see gpu-hang --help", name);
	if (text == NULL)
		return fail("%s: give a value; see gpu-hang --help", name);
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < number->min ||
			value > number->max)
		return fail("%s \"%s\": use a number from %u to %u", name, text, number->min,
				number->max);
	*get_value(options, number) = value;
	return 0;
}

int
options_parse(struct options *options, int argc, char **argv)
{
	unsigned int i;
	int arg;

	memset(options, 0, sizeof(*options));
	for (i = 0; i < RTE_DIM(numbers); i++)
		*get_value(options, &numbers[i]) = numbers[i].value;
	for (arg = 0; arg < argc; arg += 2) {
		if (strcmp(argv[arg], "--help") == 0 || strcmp(argv[arg], "-h") == 0) {
			options->help = true;
			return 0;
		}
		if (parse_number(options, argv[arg], arg + 1 < argc ? argv[arg + 1] : NULL) < 0)
			return -1;
	}
	/* Each lane of the first frame may fault, and that is no storm. */
	if (options->breaker != 0 && options->breaker <= options->lanes)
		return fail("--breaker %u: use more than the %u --lanes, or 0", options->breaker,
				options->lanes);
	return 0;
}
