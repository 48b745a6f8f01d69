/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What a passive run prints: its lines while it runs, and its table. */

#include <stdio.h>

#include "passive.h"

static const unsigned int points[] = { 5000, 9000, 9900, 9990 };
#define NB_POINTS	(sizeof(points) / sizeof(points[0]))

/* A percentile in 10 columns, or "-" if too few samples are beyond it. */
static void
print_percentiles(const struct hist *h, double cycles_per_ns)
{
	unsigned int i;

	for (i = 0; i < NB_POINTS; i++) {
		if (hist_supports(h, points[i]))
			printf(" %9.0f", hist_get_percentile(h, points[i] / 1e4) / cycles_per_ns);
		else
			printf(" %9s", "-");
	}
}

void
passive_print_header(const struct passive *p, const struct bench_conf *conf)
{
	unsigned int i;
	size_t size;
	const char *region = passive_get_region(p, &size);

	printf("StreamID");
	for (i = 0; i < conf->passive.nb_streams; i++)
		printf("%s %u", i == 0 ? "" : ",", conf->passive.streams[i]);
	if (conf->passive.pasid != 0)
		printf(" with PASID %u", conf->passive.pasid);
	printf(" may use %p to %p (%u MiB). ", (const void *)region,
			(const void *)(region + size - 1), conf->passive.region_mib);
	printf("%s; Ctrl-C ends the run.\n\n", conf->engine == ENGINE_NONE ? "Start the device" :
			"The mailbox drives the device");
	printf("%9s %12s | %9s %9s %9s %9s | %9s\n", "seconds", "faults/s", "p50 ns", "p90", "p99",
			"p99.9", "waiting");
	fflush(stdout);
}

static double
get_rate(const struct results *res, unsigned int i)
{
	return (double)results_get_cell(res, i, 0)->service.samples / res->rounds[i].seconds;
}

void
passive_print_interval(const struct results *res, unsigned int i, uint64_t waiting)
{
	double seconds = 0;
	unsigned int k;

	for (k = 0; k <= i; k++)
		seconds += res->rounds[k].seconds;
	printf("%9.1f %12.0f |", seconds, get_rate(res, i));
	print_percentiles(&results_get_cell(res, i, 0)->service, res->cycles_per_ns);
	printf(" | %9lu\n", (unsigned long)waiting);
	fflush(stdout);
}

double
passive_get_mean_rate(const struct results *res, uint64_t samples)
{
	double seconds = 0;
	unsigned int i;

	for (i = 0; i < res->nb_rounds; i++)
		seconds += res->rounds[i].seconds;
	return (double)samples / seconds;
}

void
report_print_passive(const struct results *res)
{
	static const char *const objects[] = { [PASSIVE_DOMAIN] = "domain",
		[PASSIVE_MEMORY] = "memory", [PASSIVE_IOMMU] = "SMMU" };
	static struct cell sum;
	unsigned int i;

	results_sum_cells(res, 0, &sum);
	printf("%9s %12.0f |", "all", passive_get_mean_rate(res, sum.service.samples));
	print_percentiles(&sum.service, res->cycles_per_ns);
	printf(" | %9lu faults answered\n\n", (unsigned long)sum.service.samples);
	if (res->interrupted)
		printf("INTERRUPTED: %u intervals were measured, the last one in part.\n",
				res->nb_rounds);
	for (i = 0; i < PASSIVE_NB_COUNTS; i++)
		if (res->counts[i] != 0)
			printf("%-8s %-16s %12lu\n", objects[passive_counts[i].of],
					passive_count_name(&passive_counts[i]),
					(unsigned long)res->counts[i]);
	printf("\nEach latency is the time from the read of a record to the send of its answer.\n"
			"The time that the record waits in the queue is not in it: the SMMU does\n"
			"not tell when it stored it.\n");
}
