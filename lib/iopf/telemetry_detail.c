/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Histograms of latency; queues, with their poll threads. */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "attachment.h"
#include "domain.h"
#include "hist.h"
#include "iopf_compat.h"
#include "poller.h"
#include "stats.h"
#include "telemetry.h"

/* Steps of a histogram in a reply: two arrays of numbers of up to 20 digits. */
#define PAGE_STEPS 256

/*
 * The counts of the steps that are not 0, from @p step on, each with the largest latency of its
 * step. A reader that adds the pages, and subtracts those of an earlier reading, has the latencies
 * of the time between.
 */
static void
add_histogram(struct rte_tel_data *d, const struct iopf_hist *hist, uint64_t step)
{
	struct rte_tel_data *bounds = rte_tel_data_alloc(), *counts = rte_tel_data_alloc();
	uint64_t i = step;

	if (bounds == NULL || counts == NULL) {
		rte_tel_data_free(bounds);
		rte_tel_data_free(counts);
		return;
	}
	rte_tel_data_start_array(bounds, RTE_TEL_UINT_VAL);
	rte_tel_data_start_array(counts, RTE_TEL_UINT_VAL);
	for (unsigned int shown = 0; i < IOPF_HIST_STEPS && shown < PAGE_STEPS; i++) {
		uint64_t n = atomic_load_explicit(&hist->count[i], memory_order_relaxed);

		if (n == 0)
			continue;
		rte_tel_data_add_array_uint(bounds, iopf_cycles_to_ns(iopf_hist_value(i)));
		rte_tel_data_add_array_uint(counts, n);
		shown++;
	}
	iopf_tel_add_entry(d, "max_ns", bounds);
	iopf_tel_add_entry(d, "samples", counts);
	if (i < IOPF_HIST_STEPS)
		rte_tel_data_add_dict_uint(d, "next", i);
}

static int
make_histogram(const struct iopf_query *query, struct rte_tel_data *d)
{
	struct iopf_iommu *iommu = query->iommu;
	const struct iopf_attachment *attachment;
	const struct iopf_dev *dev;
	uint64_t n = 0;

	rte_tel_data_start_dict(d);
	/* Only tries: see iopf_tel_reply(). */
	if (pthread_mutex_trylock(&iommu->lock) != 0) {
		rte_tel_data_add_dict_string(d, "attachments", "busy");
		return 0;
	}
	LIST_FOREACH(dev, &iommu->devs, next)
		LIST_FOREACH(attachment, &dev->attachments, next) {
			if (n++ != query->first)
				continue;
			iopf_tel_add_attachment(d, attachment);
			add_histogram(d, &attachment->domain->latency, query->step);
		}
	pthread_mutex_unlock(&iommu->lock);
	rte_tel_data_add_dict_uint(d, "attachments", n);
	return 0;
}

static int
handle_histogram(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return iopf_tel_reply(params, d, 3, make_histogram);
}

static void
add_queue(struct rte_tel_data *d, const struct iopf_queue *q)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	struct iopf_poller_info poller;
	char key[32];

	if (entry == NULL)
		return;
	rte_tel_data_start_dict(entry);
	rte_tel_data_add_dict_string(entry, "queue", q->id == IOPF_QUEUE_EVENTS ? "events" :
			"requests");
	rte_tel_data_add_dict_uint(entry, "slots", atomic_load_explicit(&q->nb_slots,
			memory_order_relaxed));
	/* 32 bits: a reader takes the difference modulo 2^32. */
	rte_tel_data_add_dict_uint(entry, "passes", atomic_load_explicit(&q->passes,
			memory_order_relaxed));
	rte_tel_data_add_dict_uint(entry, "busy_ns", iopf_cycles_to_ns(
			atomic_load_explicit(&q->busy.cycles, memory_order_relaxed)));
	if (iopf_queue_get_poller(q, &poller)) {
		iopf_tel_add_name(entry, "poller", poller.name);
		rte_tel_data_add_dict_uint(entry, "poller_id", poller.id);
		rte_tel_data_add_dict_string(entry, "idle", iopf_idle_name(poller.idle));
		for (unsigned int i = 0; i < IOPF_NB_POLLER_STATS; i++)
			rte_tel_data_add_dict_uint(entry, iopf_poller_stat_name(i),
					poller.stats[i]);
	}
	snprintf(key, sizeof(key), "queue_%u", q->id);
	iopf_tel_add_entry(d, key, entry);
}

static int
make_queues(const struct iopf_query *query, struct rte_tel_data *d)
{
	const struct iopf_iommu *iommu = query->iommu;

	rte_tel_data_start_dict(d);
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		add_queue(d, &iommu->queues[i]);
	rte_tel_data_add_dict_uint(d, "queues", iommu->info.nb_queues);
	return 0;
}

static int
handle_queues(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return iopf_tel_reply(params, d, 1, make_queues);
}

RTE_INIT(iopf_telemetry_detail)
{
	rte_telemetry_register_cmd("/iopf/histogram", handle_histogram,
			"Latencies of the domain of an attachment, as a histogram. "
			"Parameters: id[,attachment[,first step]].");
	rte_telemetry_register_cmd("/iopf/queues", handle_queues,
			"Queues of an IOMMU and their pollers. Parameter: id.");
}
