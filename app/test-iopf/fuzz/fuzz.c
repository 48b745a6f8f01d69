/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* fopencookie() */
#endif

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_log.h>

#include <iopf_stats.h>

#include "fuzz.h"
#include "test.h"

/*
 * Each limit permits 10 lines in a second that begins with its first line, so 20 in any second. A
 * guest has few objects with a limit.
 */
#define MAX_LINES_PER_S	100

static struct smmuv3_model *smmu;	/* of the last check */
static struct {
	uint64_t begin;			/* of the current second, in TSC cycles */
	unsigned int lines;
	char last[4096];
} log;

void
fuzz_die(const char *why)
{
	fprintf(stderr, "fuzz: %s\n%s", why, log.last);
	for (unsigned int i = 0; smmuv3_model_driver_error(smmu, i) != NULL; i++)
		fprintf(stderr, "driver error: %s\n", smmuv3_model_driver_error(smmu, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(smmu, i) != NULL; i++)
		fprintf(stderr, "oracle error: %s\n", smmuv3_model_oracle_error(smmu, i));
	abort();
}

/* For the rigs, whose back end cannot be chosen here. */
void
test_skip(const char *why)
{
	fuzz_die(why);
}

static ssize_t
write_log(void *cookie, const char *text, size_t len)
{
	const uint64_t now = rte_rdtsc();

	RTE_SET_USED(cookie);
	if (now - log.begin >= rte_get_tsc_hz()) {
		log.begin = now;
		log.lines = 0;
	}
	for (size_t i = 0; i < len; i++)
		log.lines += text[i] == '\n';
	snprintf(log.last, sizeof(log.last), "%.*s", (int)len, text);
	return (ssize_t)len;
}

void
fuzz_init(const char *name)
{
	char *eal[] = { (char *)(uintptr_t)name, "--no-huge", "-m", "64", "--no-pci",
		"--no-shconf", "--no-telemetry", "--log-level=lib.eal:1" };
	FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = write_log });
	cpu_set_t cpus;

	/* A failed assertion of a rig shows its stack. */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	if (stream == NULL || rte_eal_init(RTE_DIM(eal), eal) < 0)
		fuzz_die("EAL does not start");
	/* EAL pins this thread to one processor, which it may share with another target. */
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	setvbuf(stream, NULL, _IOLBF, 0);
	rte_openlog_stream(stream);
}

static bool
is_error(const char *stat)
{
	return strcmp(stat, "cerror_ill") == 0 || strcmp(stat, "cerror_abt") == 0 ||
		strcmp(stat, "sync_timeouts") == 0;
}

void
fuzz_check(struct smmuv3_model *m, struct iopf_iommu *iommu)
{
	const char *name;
	uint64_t value;

	smmu = m;
	if (smmuv3_model_driver_errors(m) != 0 || smmuv3_model_oracle_errors(m) != 0)
		fuzz_die("errors of the driver");
	for (unsigned int i = 0; ; i++) {
		name = NULL;
		value = iopf_iommu_driver_stat(iommu, i, &name);
		if (name == NULL)
			break;
		if (is_error(name) && value != 0)
			fuzz_die(name);
	}
	if (log.lines > MAX_LINES_PER_S)
		fuzz_die("too many lines of the log in a second");
}
