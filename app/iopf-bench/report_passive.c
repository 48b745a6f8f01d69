/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A passive run in JSON. */

#include "passive.h"
#include "report_json.h"

void
report_add_passive_case(cJSON *to, const struct results *res, const struct cell *sum)
{
	static const char *const objects[] = { [PASSIVE_DOMAIN] = "domain",
		[PASSIVE_MEMORY] = "memory", [PASSIVE_IOMMU] = "iommu" };
	struct spread rate = results_get_spread(res, 0, METRIC_RATE);
	struct spread p50 = results_get_spread(res, 0, METRIC_P50);
	cJSON *o = NULL;
	unsigned int i;

	cJSON_AddStringToObject(to, "loop", "passive");
	report_add_percentiles(to, "", &sum->service, res->cycles_per_ns);
	report_add_spread(to, "p50_ns_by_round", &p50);
	report_add_number(to, "faults_per_s", passive_get_mean_rate(res, sum->service.samples));
	report_add_number(to, "mfaults_per_s", rate.median);
	report_add_spread(to, "mfaults_per_s_by_round", &rate);
	report_add_number(to, "samples", (double)sum->service.samples);
	for (i = 0; i < PASSIVE_NB_COUNTS; i++) {
		if (i == 0 || passive_counts[i].of != passive_counts[i - 1].of)
			o = cJSON_AddObjectToObject(to, objects[passive_counts[i].of]);
		report_add_number(o, passive_count_name(&passive_counts[i]),
				(double)res->counts[i]);
	}
	report_add_histogram(to, "", &sum->service, res->cycles_per_ns);
}

void
report_add_passive_options(cJSON *to, const struct bench_conf *conf)
{
	const struct passive_conf *passive = &conf->passive;
	cJSON *list;
	unsigned int i;

	cJSON_AddStringToObject(to, "device", passive->device);
	list = cJSON_AddArrayToObject(to, "streams");
	for (i = 0; i < passive->nb_streams; i++)
		cJSON_AddItemToArray(list, cJSON_CreateNumber(passive->streams[i]));
	if (passive->pasid != 0)
		report_add_number(to, "pasid", passive->pasid);
	report_add_number(to, "region_mib", passive->region_mib);
	if (conf->engine == ENGINE_MAILBOX)
		report_add_number(to, "burst", passive->burst);
	report_add_number(to, "interval_ms", passive->interval_ms);
	report_add_number(to, "refault_ms", passive->refault_ms);
	cJSON_AddStringToObject(to, "idle", idle_names[conf->idle]);
}
