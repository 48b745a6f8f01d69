/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>

#include "dma.h"
#include "options.h"
#include "packet.h"

#define MODEL_SID	8

static const struct number {
	const char *name;
	size_t at;
	uint64_t value;
	uint64_t min;
	uint64_t max;
	const char *text;
} numbers[] = {
	{ "--packets", offsetof(struct options, packets), 100000, 1, 1000000000,
		"packets that the device receives" },
	{ "--ring", offsetof(struct options, ring), 256, 8, 4096,
		"descriptors of each ring, a power of two" },
	{ "--buffers", offsetof(struct options, buffers), 1024, 8, 65536,
		"packet buffers, at least as many as --ring" },
	{ "--size", offsetof(struct options, size), 1500, PACKET_MIN, PACKET_MAX,
		"bytes of a packet" },
	{ "--unmap-every", offsetof(struct options, unmap_every), 16, 0, 1000000000,
		"unmap a buffer after this many packets; 0: never" },
	{ "--bad-every", offsetof(struct options, bad_every), 0, 0, 1000000000,
		"give one of this many receive descriptors a bad address; 0: never" },
	{ "--retries", offsetof(struct options, retries), 16, 1, 1000,
		"retries of an access, for each of its pages; with --recover retry" },
};

int
fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("dataplane: ", stderr);
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

	printf("  %-20s%s\n", "--recover stall",
			"an access that faults waits for the answer [default]");
	printf("  %-20s%s\n", "--recover retry", "the access is aborted and submitted again");
	printf("  %-20s%s\n", "--iommu DEVSTR", "such as smmuv3,vfio=9050000.smmuv3; with --edu");
	printf("  %-20s%s\n", "--edu PCI-ADDRESS",
			"QEMU's edu moves the bytes, through VFIO; with --iommu");
	for (i = 0; i < RTE_DIM(numbers); i++)
		printf("  %-14s%-6s%s [%" PRIu64 "]\n", numbers[i].name, "N", numbers[i].text,
				numbers[i].value);
}

static uint64_t *
get_value(struct options *options, const struct number *number)
{
	return (uint64_t *)((char *)options + number->at);
}

static int
parse_number(struct options *options, const struct number *number, const char *text)
{
	uint64_t value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value < number->min ||
			value > number->max)
		return fail("%s \"%s\": use a number from %" PRIu64 " to %" PRIu64,
				number->name, text, number->min, number->max);
	*get_value(options, number) = value;
	return 0;
}

static int
parse_recover(struct options *options, const char *text)
{
	options->retry = strcmp(text, "retry") == 0;
	if (!options->retry && strcmp(text, "stall") != 0)
		return fail("--recover \"%s\": use stall or retry", text);
	return 0;
}

/* A PCIe root complex uses requester IDs as StreamIDs. */
static int
parse_edu(struct options *options, const char *text)
{
	unsigned int bus, dev, fn;
	int end = 0;

	if (sscanf(text, "%*4x:%2x:%2x.%1x%n", &bus, &dev, &fn, &end) != 3 ||
			text[end] != '\0' || dev > 31 || fn > 7)
		return fail("--edu \"%s\": use a PCI address such as 0000:00:02.0", text);
	options->edu = text;
	options->sid = bus << 8 | dev << 3 | fn;
	return 0;
}

static int
parse_iommu(struct options *options, const char *text)
{
	options->iommu = text;
	return 0;
}

static const struct word {
	const char *name;
	int (*parse)(struct options *options, const char *text);
} words[] = {
	{ "--recover", parse_recover },
	{ "--iommu", parse_iommu },
	{ "--edu", parse_edu },
};

static int
parse_pair(struct options *options, const char *name, const char *text)
{
	const struct number *number = numbers;
	const struct word *word = words;

	while (number < numbers + RTE_DIM(numbers) && strcmp(number->name, name) != 0)
		number++;
	while (word < words + RTE_DIM(words) && strcmp(word->name, name) != 0)
		word++;
	if (number == numbers + RTE_DIM(numbers) && word == words + RTE_DIM(words))
		return fail("unknown option \"%s\"; see dataplane --help", name);
	if (text == NULL)
		return fail("%s: give a value; see dataplane --help", name);
	if (word < words + RTE_DIM(words))
		return word->parse(options, text);
	return parse_number(options, number, text);
}

int
options_parse(struct options *options, int argc, char **argv)
{
	unsigned int i;
	int arg;

	memset(options, 0, sizeof(*options));
	options->sid = MODEL_SID;
	for (i = 0; i < RTE_DIM(numbers); i++)
		*get_value(options, &numbers[i]) = numbers[i].value;
	for (arg = 0; arg < argc; arg += 2) {
		if (strcmp(argv[arg], "--help") == 0 || strcmp(argv[arg], "-h") == 0) {
			options->help = true;
			return 0;
		}
		if (parse_pair(options, argv[arg], arg + 1 < argc ? argv[arg + 1] : NULL) < 0)
			return -1;
	}
	if (!rte_is_power_of_2(options->ring))
		return fail("--ring %" PRIu64 ": use a power of two such as %" PRIu64,
				options->ring, rte_align64pow2(options->ring));
	if (options->buffers < options->ring)
		return fail("--buffers %" PRIu64 ": use at least as many as --ring, %" PRIu64,
				options->buffers, options->ring);
	if ((options->edu == NULL) != (options->iommu == NULL))
		return fail("give --edu and --iommu together: edu is behind that SMMU");
	if (options->edu != NULL && !options->retry)
		return fail("--edu %s: it cannot stall; add --recover retry", options->edu);
	if (options->edu != NULL && options->size > DMA_EDU_MAX)
		return fail("--size %" PRIu64 ": edu moves at most %d bytes", options->size,
				DMA_EDU_MAX);
	return 0;
}
