/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_telemetry.h>

#include "iopf_compat.h"
#include "iopf_private.h"

/* Listed at once: what a telemetry reply holds comfortably. */
#define MAX_LISTED 64

/*
 * Handlers run on telemetry's thread. An IOMMU is found and used inside a read
 * section, and its lock is only tried: a detach that waits for a handler holds it,
 * and just then somebody will want to look.
 */
static struct iopf_iommu *
find_iommu(const char *params)
{
	unsigned long id;
	char *end;

	if (params == NULL || *params < '0' || *params > '9')
		return NULL;
	errno = 0;
	id = strtoul(params, &end, 10);
	if (errno != 0 || *end != '\0' || id >= IOPF_MAX_IOMMUS)
		return NULL;
	return iopf_iommu_get(id);
}

typedef int (*reply_t)(struct iopf_iommu *iommu, struct rte_tel_data *d);

static int
reply(const char *params, struct rte_tel_data *d, reply_t make)
{
	struct iopf_iommu *iommu;
	int ret = -EINVAL;

	iopf_rcu_read_lock();
	iommu = find_iommu(params);
	if (iommu != NULL)
		ret = make(iommu, d);
	iopf_rcu_read_unlock();
	return ret;
}

static int
handle_list(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	RTE_SET_USED(params);
	rte_tel_data_start_array(d, RTE_TEL_INT_VAL);
	for (unsigned int i = 0; i < IOPF_MAX_IOMMUS; i++)
		if (iopf_iommu_get(i) != NULL)
			rte_tel_data_add_array_int(d, i);
	return 0;
}

static int
make_info(struct iopf_iommu *iommu, struct rte_tel_data *d)
{
	const struct iopf_iommu_info *info = &iommu->info;

	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "name", iommu->name);
	rte_tel_data_add_dict_string(d, "driver", info->driver);
	rte_tel_data_add_dict_string(d, "backend", info->backend);
	rte_tel_data_add_dict_int(d, "started", atomic_load(&iommu->started));
	rte_tel_data_add_dict_int(d, "dead", atomic_load(&iommu->dead));
	rte_tel_data_add_dict_int(d, "sid_bits", info->sid_bits);
	rte_tel_data_add_dict_int(d, "pasid_bits", info->pasid_bits);
	rte_tel_data_add_dict_int(d, "addr_bits", info->addr_bits);
	rte_tel_data_add_dict_int(d, "va_bits", info->va_bits);
	rte_tel_data_add_dict_int(d, "max_stalls", info->max_stalls);
	rte_tel_data_add_dict_int(d, "stall_forced", info->stall_forced);
	rte_tel_data_add_dict_int(d, "nb_queues", info->nb_queues);
	rte_tel_data_add_dict_uint(d, "request_queue_size", info->request_queue_size);
	rte_tel_data_add_dict_uint(d, "max_requests", info->max_requests);
	rte_tel_data_add_dict_uint(d, "requests_granted", iopf_iommu_requests_granted(iommu));
	return 0;
}

static int
handle_info(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return reply(params, d, make_info);
}

typedef void (*each_t)(struct rte_tel_data *d, const struct iopf_dev *dev,
		const struct iopf_attachment *attachment);

/* One entry for each (device, PASID), named "device" or "device/PASID". */
static void
add_attachments(struct iopf_iommu *iommu, struct rte_tel_data *d, each_t fill)
{
	struct iopf_attachment *attachment;
	unsigned int listed = 0;
	struct iopf_dev *dev;

	if (pthread_mutex_trylock(&iommu->lock) != 0) {
		rte_tel_data_add_dict_string(d, "devices", "busy");
		return;
	}
	LIST_FOREACH(dev, &iommu->devs, next) {
		LIST_FOREACH(attachment, &dev->attachments, next) {
			struct rte_tel_data *entry;
			char name[RTE_TEL_MAX_STRING_LEN / 2];

			if (listed++ == MAX_LISTED)
				break;
			entry = rte_tel_data_alloc();
			if (entry == NULL)
				break;
			if (attachment->pasid == IOPF_NO_PASID)
				snprintf(name, sizeof(name), "%s", dev->name);
			else
				snprintf(name, sizeof(name), "%s/%u", dev->name,
						attachment->pasid);
			rte_tel_data_start_dict(entry);
			rte_tel_data_add_dict_string(entry, "domain", attachment->domain->name);
			fill(entry, dev, attachment);
			if (rte_tel_data_add_dict_container(d, name, entry, 0) < 0)
				rte_tel_data_free(entry);
		}
	}
	pthread_mutex_unlock(&iommu->lock);
}

static void
fill_stats(struct rte_tel_data *d, const struct iopf_dev *dev,
		const struct iopf_attachment *attachment)
{
	RTE_SET_USED(dev);
	for (unsigned int i = 0; i < IOPF_NB_STATS; i++)
		rte_tel_data_add_dict_uint(d, iopf_stat_name(i),
				iopf_domain_stat(attachment->domain, i));
	rte_tel_data_add_dict_uint(d, "pending", iopf_domain_pending(attachment->domain));
}

static int
make_stats(struct iopf_iommu *iommu, struct rte_tel_data *d)
{
	rte_tel_data_start_dict(d);
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		rte_tel_data_add_dict_uint(d, iopf_iommu_stat_name(i), iopf_iommu_stat(iommu, i));
	for (unsigned int i = 0; i < iommu->info.nb_stats; i++) {
		const char *name;
		uint64_t v = iopf_iommu_driver_stat(iommu, i, &name);

		rte_tel_data_add_dict_uint(d, name, v);
	}
	add_attachments(iommu, d, fill_stats);
	return 0;
}

static int
handle_stats(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return reply(params, d, make_stats);
}

static void
fill_latency(struct rte_tel_data *d, const struct iopf_dev *dev,
		const struct iopf_attachment *attachment)
{
	struct iopf_latency l;

	RTE_SET_USED(dev);
	iopf_domain_latency(attachment->domain, &l);
	rte_tel_data_add_dict_uint(d, "samples", l.samples);
	rte_tel_data_add_dict_uint(d, "min_ns", l.min_ns);
	rte_tel_data_add_dict_uint(d, "p50_ns", l.p50_ns);
	rte_tel_data_add_dict_uint(d, "p90_ns", l.p90_ns);
	rte_tel_data_add_dict_uint(d, "p99_ns", l.p99_ns);
	rte_tel_data_add_dict_uint(d, "p999_ns", l.p999_ns);
	rte_tel_data_add_dict_uint(d, "max_ns", l.max_ns);
}

static int
make_latency(struct iopf_iommu *iommu, struct rte_tel_data *d)
{
	rte_tel_data_start_dict(d);
	add_attachments(iommu, d, fill_latency);
	return 0;
}

static int
handle_latency(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return reply(params, d, make_latency);
}

static int
make_outstanding(struct iopf_iommu *iommu, struct rte_tel_data *d)
{
	struct iopf_outstanding list[MAX_LISTED];
	uint64_t now = rte_rdtsc(), hz = rte_get_tsc_hz();
	unsigned int n = 0;

	rte_tel_data_start_dict(d);
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		n += iopf_queue_outstanding(&iommu->queues[i], &list[n], MAX_LISTED - n);
	for (unsigned int i = 0; i < n; i++) {
		const struct iopf_fault *f = &list[i].fault;
		struct rte_tel_data *entry = rte_tel_data_alloc();
		char name[32];

		if (entry == NULL)
			break;
		snprintf(name, sizeof(name), "%016" PRIx64, list[i].id);
		rte_tel_data_start_dict(entry);
		rte_tel_data_add_dict_string(entry, "state", iopf_slot_state_name(list[i].state));
		rte_tel_data_add_dict_uint(entry, "sid", f->sid);
		if (f->pasid != IOPF_NO_PASID)
			rte_tel_data_add_dict_uint(entry, "pasid", f->pasid);
		rte_tel_data_add_dict_uint(entry, "token", f->token);
		rte_tel_data_add_dict_uint(entry, "addr", f->addr);
		rte_tel_data_add_dict_uint(entry, "perm", f->perm);
		rte_tel_data_add_dict_string(entry, "reason", iopf_reason_name(f->reason));
		rte_tel_data_add_dict_uint(entry, "age_us",
				(uint64_t)((double)(now - f->time) * 1e6 / (double)hz));
		if (rte_tel_data_add_dict_container(d, name, entry, 0) < 0)
			rte_tel_data_free(entry);
	}
	return 0;
}

static int
handle_outstanding(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return reply(params, d, make_outstanding);
}

RTE_INIT(iopf_telemetry)
{
	rte_telemetry_register_cmd("/iopf/list", handle_list,
			"Ids of the open IOMMUs. No parameter.");
	rte_telemetry_register_cmd("/iopf/info", handle_info,
			"What an IOMMU is and can do. Parameter: id.");
	rte_telemetry_register_cmd("/iopf/stats", handle_stats,
			"Counters of an IOMMU, its driver and its devices' domains. Parameter: id.");
	rte_telemetry_register_cmd("/iopf/latency", handle_latency,
			"From record read to answer sent, per device. Parameter: id.");
	rte_telemetry_register_cmd("/iopf/outstanding", handle_outstanding,
			"Faults not answered yet, at most 64. Parameter: id.");
}
