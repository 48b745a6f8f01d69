/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_telemetry.h>

#include "attachment.h"
#include "domain.h"
#include "iopf_compat.h"
#include "iopf_pci.h"
#include "listener.h"
#include "rcu.h"
#include "stats.h"
#include "telemetry.h"

/*
 * A reply of DPDK's telemetry has at most 16 KiB; DPDK silently omits the rest. So lists come in
 * pages that fit with the longest names and numbers, and each reply has the number of entries and
 * the start of the next page.
 */
#define PAGE_STATS 10
#define PAGE_DEVICES 20
#define PAGE_LATENCY 24
#define PAGE_OUTSTANDING 64

/* Length of an encoded name: DPDK's limit for strings. */
#define NAME_LEN RTE_TEL_MAX_STRING_LEN

void
iopf_name_encode(char *buf, size_t size, const char *name)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t at = 0;

	for (; *name != '\0'; name++) {
		unsigned char c = *name;
		bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '%';

		/* Room for this character, "..." and the final NUL. */
		if (at + (plain ? 1 : 3) + 4 > size) {
			memcpy(&buf[at], "...", 3);
			at += 3;
			break;
		}
		if (plain) {
			buf[at++] = c;
		} else {
			buf[at++] = '%';
			buf[at++] = hex[c >> 4];
			buf[at++] = hex[c & 15];
		}
	}
	buf[at] = '\0';
}

void
iopf_tel_add_name(struct rte_tel_data *d, const char *key, const char *name)
{
	char encoded[NAME_LEN];

	iopf_name_encode(encoded, sizeof(encoded), name);
	rte_tel_data_add_dict_string(d, key, encoded);
}

/* Only digits: no sign, no space. */
static const char *
parse_number(const char *s, uint64_t *v)
{
	char *end;

	if (*s < '0' || *s > '9')
		return NULL;
	errno = 0;
	*v = strtoull(s, &end, 10);
	return errno == 0 ? end : NULL;
}

/*
 * Commands run on telemetry's thread. An IOMMU is found and used inside one read section: a close
 * waits for its end. This thread only tries the IOMMU's lock: a read section that waits for a lock
 * would delay every grace period.
 */
static bool
parse_query(const char *params, unsigned int max, struct iopf_query *query)
{
	uint64_t numbers[3] = { 0 };
	unsigned int n = 0;

	for (; params != NULL; params++) {
		params = parse_number(params, &numbers[n++]);
		if (params == NULL || *params != ',' || n == max)
			break;
	}
	if (params == NULL || *params != '\0' || numbers[0] >= IOPF_MAX_IOMMUS)
		return false;
	query->iommu = iopf_iommu_get(numbers[0]);
	query->first = numbers[1];
	query->step = numbers[2];
	return query->iommu != NULL;
}

int
iopf_tel_reply(const char *params, struct rte_tel_data *d, unsigned int max, iopf_reply_t make)
{
	struct iopf_query query;
	int ret = -EINVAL;

	iopf_rcu_read_lock();
	if (parse_query(params, max, &query))
		ret = make(&query, d);
	iopf_rcu_read_unlock();
	return ret;
}

struct page;
/* Add the entries of a device, or nothing. */
typedef void (*add_dev_t)(struct page *page, const struct iopf_dev *dev);
typedef void (*fill_t)(struct rte_tel_data *d, const struct iopf_attachment *attachment);

/* A page of a list: at most @p max consecutive entries, from entry @p first on. */
struct page {
	struct rte_tel_data *d;
	uint64_t first, max;
	uint64_t total, shown;		/* entries so far, and those of the page */
	fill_t fill;			/* of an entry for an attachment */
};

/* The next entry belongs to the page. If one could not be added, it begins the next page. */
static bool
page_has_next(const struct page *page)
{
	return page->total == page->first + page->shown && page->shown < page->max;
}

/* Add the total, and the parameter for the entries after those of the page. */
static void
page_end(const struct page *page, const char *what)
{
	rte_tel_data_add_dict_uint(page->d, what, page->total);
	if (page->first != 0)
		rte_tel_data_add_dict_uint(page->d, "first", page->first);
	if (page->first < page->total && page->shown < page->total - page->first)
		rte_tel_data_add_dict_uint(page->d, "next", page->first + page->shown);
}

/* Add the page, with the entries of each device. */
static void
page_add_devs(struct page *page, struct iopf_iommu *iommu, const char *what, add_dev_t add)
{
	const struct iopf_dev *dev;

	if (pthread_mutex_trylock(&iommu->lock) != 0) {
		rte_tel_data_add_dict_string(page->d, what, "busy");
		return;
	}
	LIST_FOREACH(dev, &iommu->devs, next)
		add(page, dev);
	pthread_mutex_unlock(&iommu->lock);
	page_end(page, what);
}

bool
iopf_tel_add_entry(struct rte_tel_data *d, const char *key, struct rte_tel_data *entry)
{
	if (rte_tel_data_add_dict_container(d, key, entry, 0) == 0)
		return true;
	rte_tel_data_free(entry);
	return false;
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
make_info(const struct iopf_query *query, struct rte_tel_data *d)
{
	const struct iopf_iommu *iommu = query->iommu;
	const struct iopf_iommu_info *info = &iommu->info;

	rte_tel_data_start_dict(d);
	iopf_tel_add_name(d, "name", iommu->name);
	rte_tel_data_add_dict_string(d, "driver", info->driver);
	rte_tel_data_add_dict_string(d, "backend", info->backend);
	rte_tel_data_add_dict_int(d, "started", iopf_iommu_is_polled(iommu));
	rte_tel_data_add_dict_int(d, "dead", atomic_load(&iommu->state) == IOPF_STATE_FAILED);
	rte_tel_data_add_dict_string(d, "state", iopf_state_name(atomic_load(&iommu->state)));
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
	return iopf_tel_reply(params, d, 1, make_info);
}

static void
fill_dev(struct rte_tel_data *d, const struct iopf_dev *dev)
{
	for (unsigned int i = 0; i < IOPF_NB_SHOWN_STATES; i++)
		if (iopf_shown_states[i].is_of_dev != NULL)
			rte_tel_data_add_dict_int(d, iopf_shown_states[i].name,
					iopf_shown_states[i].is_of_dev(dev));
	for (unsigned int i = 0; i < IOPF_NB_DEV_STATS; i++)
		rte_tel_data_add_dict_uint(d, iopf_dev_stat_name(i), iopf_dev_stat(dev, i));
}

static bool
add_dev(struct rte_tel_data *d, uint64_t n, const struct iopf_dev *dev)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	const struct iopf_attachment *attachment;
	uint64_t attachments = 0;
	char key[32];

	if (entry == NULL)
		return false;
	rte_tel_data_start_dict(entry);
	iopf_tel_add_name(entry, "device", dev->name);
	rte_tel_data_add_dict_uint(entry, "sid", dev->sids[0]);
	LIST_FOREACH(attachment, &dev->attachments, next)
		attachments++;
	rte_tel_data_add_dict_uint(entry, "attachments", attachments);
	fill_dev(entry, dev);
	snprintf(key, sizeof(key), "device_%" PRIu64, n);
	return iopf_tel_add_entry(d, key, entry);
}

static void
page_add_dev(struct page *page, const struct iopf_dev *dev)
{
	if (page_has_next(page))
		page->shown += add_dev(page->d, page->total, dev);
	page->total++;
}

static int
make_devices(const struct iopf_query *query, struct rte_tel_data *d)
{
	struct page page = { .d = d, .first = query->first, .max = PAGE_DEVICES };

	rte_tel_data_start_dict(d);
	page_add_devs(&page, query->iommu, "devices", page_add_dev);
	return 0;
}

static int
handle_devices(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return iopf_tel_reply(params, d, 2, make_devices);
}

void
iopf_tel_add_attachment(struct rte_tel_data *d, const struct iopf_attachment *attachment)
{
	iopf_tel_add_name(d, "device", attachment->dev->name);
	rte_tel_data_add_dict_uint(d, "sid", attachment->dev->sids[0]);
	if (attachment->pasid != IOPF_NO_PASID)
		rte_tel_data_add_dict_uint(d, "pasid", attachment->pasid);
	iopf_tel_add_name(d, "domain", attachment->domain->name);
	rte_tel_data_add_dict_uint(d, "domain_id", attachment->domain->id);
}

static bool
add_attachment(struct rte_tel_data *d, uint64_t n, const struct iopf_attachment *attachment,
		fill_t fill)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	char key[32];

	if (entry == NULL)
		return false;
	rte_tel_data_start_dict(entry);
	iopf_tel_add_attachment(entry, attachment);
	fill(entry, attachment);
	/* A device's name cannot be a key: DPDK allows only letters, digits and few others. */
	snprintf(key, sizeof(key), "attachment_%" PRIu64, n);
	return iopf_tel_add_entry(d, key, entry);
}

static void
page_add_attachments(struct page *page, const struct iopf_dev *dev)
{
	const struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next) {
		if (page_has_next(page))
			page->shown += add_attachment(page->d, page->total, attachment, page->fill);
		page->total++;
	}
}

/* Add a page of entries, one for each (device, PASID). */
static void
add_attachments(const struct iopf_query *query, struct rte_tel_data *d, uint64_t max, fill_t fill)
{
	struct page page = { .d = d, .first = query->first, .max = max, .fill = fill };

	page_add_devs(&page, query->iommu, "attachments", page_add_attachments);
}

static void
fill_stats(struct rte_tel_data *d, const struct iopf_attachment *attachment)
{
	for (unsigned int i = 0; i < IOPF_NB_SHOWN_STATES; i++)
		if (iopf_shown_states[i].is_of_attachment != NULL)
			rte_tel_data_add_dict_int(d, iopf_shown_states[i].name,
					iopf_shown_states[i].is_of_attachment(attachment));
	for (unsigned int i = 0; i < IOPF_NB_STATS; i++)
		rte_tel_data_add_dict_uint(d, iopf_stat_name(i),
				iopf_domain_stat(attachment->domain, i));
	rte_tel_data_add_dict_uint(d, "pending", iopf_domain_pending(attachment->domain));
	fill_dev(d, attachment->dev);
}

static int
make_stats(const struct iopf_query *query, struct rte_tel_data *d)
{
	const struct iopf_iommu *iommu = query->iommu;

	rte_tel_data_start_dict(d);
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		rte_tel_data_add_dict_uint(d, iopf_iommu_stat_name(i), iopf_iommu_stat(iommu, i));
	for (unsigned int i = 0; i < iommu->info.nb_stats; i++) {
		const char *name;
		uint64_t v = iopf_iommu_driver_stat(iommu, i, &name);

		rte_tel_data_add_dict_uint(d, name, v);
	}
	add_attachments(query, d, PAGE_STATS, fill_stats);
	return 0;
}

static int
handle_stats(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return iopf_tel_reply(params, d, 2, make_stats);
}

static void
fill_latency(struct rte_tel_data *d, const struct iopf_attachment *attachment)
{
	struct iopf_latency l;

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
make_latency(const struct iopf_query *query, struct rte_tel_data *d)
{
	rte_tel_data_start_dict(d);
	add_attachments(query, d, PAGE_LATENCY, fill_latency);
	return 0;
}

static int
handle_latency(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return iopf_tel_reply(params, d, 2, make_latency);
}

static bool
add_outstanding(struct rte_tel_data *d, const struct iopf_iommu *iommu,
		const struct iopf_outstanding *o)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	const struct iopf_fault *f = &o->fault;
	/* In a read section; NULL: it was removed meanwhile. */
	const struct iopf_dev *dev = iopf_table_find(&iommu->sids, f->sid);
	char key[32];

	if (entry == NULL)
		return false;
	rte_tel_data_start_dict(entry);
	rte_tel_data_add_dict_string(entry, "state", iopf_slot_state_name(o->state));
	rte_tel_data_add_dict_uint(entry, "sid", f->sid);
	/* A device is named by its first StreamID, in each command. */
	if (dev != NULL)
		rte_tel_data_add_dict_uint(entry, "dev_sid", dev->sids[0]);
	if (f->pasid != IOPF_NO_PASID)
		rte_tel_data_add_dict_uint(entry, "pasid", f->pasid);
	rte_tel_data_add_dict_uint(entry, "token", f->token);
	rte_tel_data_add_dict_uint(entry, "addr", f->addr);
	rte_tel_data_add_dict_uint(entry, "perm", f->perm);
	rte_tel_data_add_dict_string(entry, "reason", iopf_reason_name(f->reason));
	rte_tel_data_add_dict_uint(entry, "age_us", (uint64_t)((double)(rte_rdtsc() - f->time) *
			1e6 / (double)rte_get_tsc_hz()));
	snprintf(key, sizeof(key), "%016" PRIx64, o->id);
	return iopf_tel_add_entry(d, key, entry);
}

static int
make_outstanding(const struct iopf_query *query, struct rte_tel_data *d)
{
	struct iopf_iommu *iommu = query->iommu;
	struct page page = { .d = d, .first = query->first, .max = PAGE_OUTSTANDING };
	struct iopf_outstanding list[PAGE_OUTSTANDING];

	rte_tel_data_start_dict(d);
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++) {
		struct iopf_queue *q = &iommu->queues[i];
		uint32_t from = 0;

		while (from < q->nb_slots) {
			unsigned int n = iopf_queue_list_outstanding(q, &from, list, RTE_DIM(list));

			for (unsigned int k = 0; k < n; k++, page.total++)
				if (page_has_next(&page))
					page.shown += add_outstanding(d, iommu,
						&list[k]);
		}
	}
	page_end(&page, "outstanding");
	return 0;
}

static int
handle_outstanding(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return iopf_tel_reply(params, d, 2, make_outstanding);
}

static bool
add_listener(struct rte_tel_data *d, unsigned int i, const struct iopf_listener *listener)
{
	const struct iopf_dev *dev = iopf_listener_dev(listener);
	struct rte_tel_data *entry = rte_tel_data_alloc();
	char key[32];

	if (entry == NULL)
		return false;
	rte_tel_data_start_dict(entry);
	if (dev != NULL)
		iopf_tel_add_name(entry, "device", dev->name);
	rte_tel_data_add_dict_uint(entry, "size", iopf_listener_size(listener));
	for (unsigned int k = 0; k < IOPF_NB_LISTENER_STATS; k++)
		rte_tel_data_add_dict_uint(entry, iopf_listener_stat_name(k),
				iopf_listener_stat(listener, k));
	snprintf(key, sizeof(key), "listener_%u", i);
	return iopf_tel_add_entry(d, key, entry);
}

static int
make_listeners(const struct iopf_query *query, struct rte_tel_data *d)
{
	unsigned int shown = 0;

	rte_tel_data_start_dict(d);
	for (unsigned int i = 0; i < IOPF_MAX_LISTENERS; i++) {
		const struct iopf_listener *listener = iopf_listener_get(query->iommu, i);

		if (listener != NULL)
			shown += add_listener(d, i, listener);
	}
	rte_tel_data_add_dict_uint(d, "listeners", shown);
	return 0;
}

static int
handle_listeners(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return iopf_tel_reply(params, d, 1, make_listeners);
}

RTE_INIT(iopf_telemetry)
{
	rte_telemetry_register_cmd("/iopf/list", handle_list,
			"Ids of the open IOMMUs. No parameter.");
	rte_telemetry_register_cmd("/iopf/info", handle_info,
			"State and capabilities of an IOMMU. Parameter: id.");
	rte_telemetry_register_cmd("/iopf/devices", handle_devices,
			"State and counters of the devices of an IOMMU, attached or not. "
			"Parameters: id[,first device].");
	rte_telemetry_register_cmd("/iopf/stats", handle_stats,
			"Counters of an IOMMU, its driver and its devices' domains. "
			"Parameters: id[,first attachment].");
	rte_telemetry_register_cmd("/iopf/latency", handle_latency,
			"Latency from record read to answer sent, per "
			"device. Parameters: id[,first attachment].");
	rte_telemetry_register_cmd("/iopf/outstanding", handle_outstanding,
			"Faults not answered yet. Parameters: id[,first fault].");
	rte_telemetry_register_cmd("/iopf/listeners", handle_listeners,
			"Counters of the listeners of an IOMMU. Parameter: id.");
}
