/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>

#include "call.h"
#include "dev.h"
#include "driver.h"
#include "idle.h"
#include "iommu.h"
#include "iopf_log.h"
#include "iopf_trace.h"
#include "listener.h"
#include "rcu.h"
#include "shut_down.h"

#define DEFAULT_PARTIAL_MS 1000
#define DEFAULT_SHARE_MS 1000

RTE_LOG_REGISTER(iopf_logtype, lib.iopf, INFO);

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
/* All IOMMUs, from before the driver's open until after its close; under the lock. */
static struct iopf_iommu *registry[IOPF_MAX_IOMMUS];
/* The open ones, read without the lock: each is complete, and is freed after a grace period. */
static _Atomic(struct iopf_iommu *) iommus[IOPF_MAX_IOMMUS];

struct iopf_iommu *
iopf_iommu_get(unsigned int id)
{
	/* Acquire: with the release in iopf_iommu_open(). */
	return id < IOPF_MAX_IOMMUS ?
		atomic_load_explicit(&iommus[id], memory_order_acquire) : NULL;
}

static void
iommu_free(struct iopf_iommu *iommu)
{
	iopf_table_fini(&iommu->sids);
	iopf_table_fini(&iommu->attached);
	iopf_idle_fini(iommu);
	pthread_mutex_destroy(&iommu->state_lock);
	pthread_mutex_destroy(&iommu->lock);
	pthread_mutex_destroy(&iommu->dma_lock);
	free(iommu->name);
	free(iommu);
}

/* An eighth of the queue is for stop markers, which are not counted against the budget. */
static uint32_t
budget_of(uint32_t size)
{
	return size <= 1 ? size : size - RTE_MAX(size / 8, 1u);
}

/* No fault is outstanding, and no thread drains the queue. */
static void
requests_resize(struct iopf_iommu *iommu, uint32_t size)
{
	if (iommu->info.request_queue_size == 0)
		return;
	iommu->info.request_queue_size = size;
	iommu->info.max_requests = budget_of(size);
	iopf_queue_resize(&iommu->queues[IOPF_QUEUE_REQUESTS], RTE_MAX(size * 2, 64u));
}

static int
iommu_init_queues(struct iopf_iommu *iommu)
{
	const struct iopf_iommu_info *info = &iommu->info;
	/*
	 * Each outstanding stall or page request has a slot. A cancelled fault keeps its slot
	 * while a handler holds it, and its token may be used again: twice as many slots.
	 */
	const uint32_t outstanding[IOPF_MAX_QUEUES] = {
		[IOPF_QUEUE_EVENTS] = info->max_stalls,
		[IOPF_QUEUE_REQUESTS] = IOPF_MAX_REQUESTS,
	};
	int ret = 0;

	iommu->partial_cycles = rte_get_tsc_hz() / 1000 * DEFAULT_PARTIAL_MS;
	iommu->share_cycles = rte_get_tsc_hz() / 1000 * DEFAULT_SHARE_MS;
	if (info->nb_queues > IOPF_MAX_QUEUES || info->max_stalls > IOPF_MAX_SLOTS / 2 ||
			(info->request_queue_size != 0) != (info->nb_queues == IOPF_MAX_QUEUES)) {
		IOPF_LOG(ERR, "\"%s\": the driver has %u queues, %u stalls and a request queue of "
				"%u: correct the driver: at most %u stalls, and 1 queue, or 2 with "
				"page requests", iommu->name, info->nb_queues, info->max_stalls,
				info->request_queue_size, IOPF_MAX_SLOTS / 2);
		return -EINVAL;
	}
	for (uint16_t i = 0; i < info->nb_queues && ret == 0; i++)
		ret = iopf_queue_init(&iommu->queues[i], iommu, i,
				RTE_MAX(outstanding[i] * 2, 64u));
	iommu->default_requests = info->request_queue_size;
	atomic_init(&iommu->default_share, UINT32_MAX);
	if (ret == 0)
		requests_resize(iommu, info->request_queue_size);
	return ret;
}

/* A device that is attached alone may hold all stalls. */
void
iopf_iommu_count_attached(struct iopf_iommu *iommu, int n)
{
	uint32_t all = iommu->info.max_stalls != 0 ? iommu->info.max_stalls :
			iommu->queues[IOPF_QUEUE_EVENTS].nb_slots;

	iommu->nb_attached += n;
	atomic_store_explicit(&iommu->default_share, iommu->nb_attached < 2 ? UINT32_MAX :
			all - all / 8, memory_order_relaxed);
}

static int
registry_add(struct iopf_iommu *iommu)
{
	int id = -ENOSPC;

	pthread_mutex_lock(&registry_lock);
	for (int i = IOPF_MAX_IOMMUS; i-- > 0 && id != -EBUSY;) {
		if (registry[i] == NULL)
			id = i;
		else if (strcmp(registry[i]->name, iommu->name) == 0)
			id = -EBUSY;
	}
	if (id >= 0) {
		registry[id] = iommu;
		iommu->id = id;
	}
	pthread_mutex_unlock(&registry_lock);
	if (id < 0)
		IOPF_LOG(ERR, "\"%s\": %s", iommu->name, id == -EBUSY ?
				"is open already; close it first" :
				"64 IOMMUs are open; close one first");
	return id < 0 ? id : 0;
}

static void
registry_del(struct iopf_iommu *iommu)
{
	/* First: the next IOMMU with this index continues with the generations of the slots. */
	for (unsigned int i = 0; i < IOPF_MAX_QUEUES; i++)
		iopf_queue_fini(&iommu->queues[i]);
	pthread_mutex_lock(&registry_lock);
	registry[iommu->id] = NULL;
	pthread_mutex_unlock(&registry_lock);
}

static struct iopf_iommu *
iommu_new(const char *devstr)
{
	struct iopf_iommu *iommu = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*iommu), RTE_CACHE_LINE_SIZE));

	if (iommu == NULL)
		return NULL;
	memset(iommu, 0, sizeof(*iommu));
	iommu->name = strdup(devstr);
	pthread_mutex_init(&iommu->state_lock, NULL);
	iopf_idle_init(iommu);
	pthread_mutex_init(&iommu->lock, NULL);
	pthread_mutex_init(&iommu->dma_lock, NULL);
	iopf_power_init(&iommu->power);
	if (iommu->name == NULL || iopf_table_init(&iommu->sids) < 0 ||
			iopf_table_init(&iommu->attached) < 0) {
		iommu_free(iommu);
		return NULL;
	}
	return iommu;
}

struct iopf_iommu *
iopf_iommu_open(const char *devstr)
{
	struct iopf_iommu *iommu;
	int ret;

	if (devstr == NULL)
		return iopf_ret_null();
	if (rte_get_tsc_hz() == 0) {
		IOPF_LOG(ERR, "\"%s\": EAL is not initialised: call rte_eal_init() first", devstr);
		return iopf_ret_null();
	}
	if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
		IOPF_LOG(ERR, "\"%s\": not in a secondary process; open it in the primary", devstr);
		rte_errno = ENOTSUP;
		return NULL;
	}
	iommu = iommu_new(devstr);
	if (iommu == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	ret = registry_add(iommu);
	if (ret == 0) {
		ret = iopf_driver_open(iommu, devstr);
		if (ret == 0) {
			ret = iommu_init_queues(iommu);
			if (ret < 0)
				iommu->driver->ops.close(iommu->priv);
		}
		if (ret < 0)
			registry_del(iommu);
	}
	iopf_trace_open(devstr, ret);
	if (ret < 0) {
		iommu_free(iommu);
		rte_errno = -ret;
		return NULL;
	}
	/* Release: with the acquire in iopf_iommu_get(). */
	atomic_store_explicit(&iommus[iommu->id], iommu, memory_order_release);
	return iommu;
}

static uint32_t
iommu_nb_held(struct iopf_iommu *iommu)
{
	uint32_t held = 0;

	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		held += iopf_queue_nb_held(&iommu->queues[i]);
	return held;
}

/* No fault is outstanding. */
static int
iommu_configure(struct iopf_iommu *iommu, const struct iopf_iommu_conf *conf, uint32_t requests)
{
	int ret = 0;

	if (requests > IOPF_MAX_REQUESTS) {
		IOPF_LOG(ERR, "\"%s\": request_queue_size %u is too large; use at most "
				"%u", iommu->name,
				requests, IOPF_MAX_REQUESTS);
		return -EINVAL;
	}
	pthread_mutex_lock(&iommu->lock);
	if (requests != iommu->info.request_queue_size &&
			atomic_load(&iommu->granted) > budget_of(requests)) {
		IOPF_LOG(ERR, "\"%s\": request_queue_size %u is too small for the page requests of "
				"attached devices; detach them first, or use a larger "
				"size", iommu->name, requests);
		ret = -EBUSY;
	}
	pthread_mutex_unlock(&iommu->lock);
	if (ret == 0)
		ret = iommu->driver->ops.configure(iommu->priv, conf);
	if (ret < 0)
		return ret;
	iommu->conf = *conf;
	bucket_init(&iommu->unknown_sids, rte_get_tsc_hz(), conf->unknown_sid_rate,
			conf->unknown_sid_rate);
	iommu->partial_cycles = rte_get_tsc_hz() / 1000 *
		(conf->partial_ms != 0 ? conf->partial_ms : DEFAULT_PARTIAL_MS);
	iommu->share_cycles = rte_get_tsc_hz() / 1000 *
		(conf->share_ms != 0 ? conf->share_ms : DEFAULT_SHARE_MS);
	pthread_mutex_lock(&iommu->lock);
	requests_resize(iommu, requests);
	pthread_mutex_unlock(&iommu->lock);
	return 0;
}

/* @p max 0: unknown; the driver's configure() refuses what is too large. */
static bool
queue_size_is_valid(const struct iopf_iommu *iommu, const char *name, uint32_t size, uint32_t max)
{
	uint32_t below = rte_align32prevpow2(size);
	char larger[24] = "";

	if (max != 0 && size > max) {
		IOPF_LOG(ERR, "\"%s\": %s %u is too large; use at most %u", iommu->name, name, size,
				max);
		return false;
	}
	if (size == below)
		return true;
	if (below <= UINT32_MAX / 2 && (max == 0 || below < max))
		snprintf(larger, sizeof(larger), " or %u", below * 2);
	IOPF_LOG(ERR, "\"%s\": %s %u is no power of two: use %u%s", iommu->name, name, size, below,
			larger);
	return false;
}

int
iopf_iommu_configure(struct iopf_iommu *iommu, const struct iopf_iommu_conf *conf)
{
	static const struct iopf_iommu_conf defaults;
	const struct iopf_iommu_info *info;
	uint32_t held;
	bool runs;
	int ret;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	info = &iommu->info;
	if (conf == NULL)
		conf = &defaults;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (!queue_size_is_valid(iommu, "event_queue_size", conf->event_queue_size,
				info->max_event_queue) ||
			!queue_size_is_valid(iommu, "command_queue_size",
				conf->command_queue_size, info->max_command_queue) ||
			!queue_size_is_valid(iommu, "request_queue_size",
				conf->request_queue_size, info->max_request_queue != 0 ?
				info->max_request_queue : IOPF_MAX_REQUESTS))
		return iopf_ret(-EINVAL);
	pthread_mutex_lock(&iommu->state_lock);
	runs = iopf_iommu_is_polled(iommu) || atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED;
	held = runs ? 0 : iommu_nb_held(iommu);
	if (runs)
		IOPF_LOG(ERR, "\"%s\" is running: stop it, then configure it", iommu->name);
	else if (held != 0)
		IOPF_LOG(ERR, "\"%s\": deferred handlers still have %u faults from before the "
				"stop; configure it after they have returned", iommu->name, held);
	if (runs || held != 0)
		ret = -EBUSY;
	else
		ret = iommu_configure(iommu, conf, conf->request_queue_size != 0 ?
				conf->request_queue_size : iommu->default_requests);
	pthread_mutex_unlock(&iommu->state_lock);
	return iopf_ret(ret);
}

int
iopf_iommu_start(struct iopf_iommu *iommu)
{
	int ret;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&iommu->state_lock);
	if (atomic_load(&iommu->state) == IOPF_STATE_FAILED) {
		IOPF_LOG(ERR, "\"%s\" has failed and serves no faults: stop it, then start "
				"it again", iommu->name);
		ret = -EIO;
	} else if (iopf_iommu_is_polled(iommu)) {
		IOPF_LOG(WARNING, "\"%s\" is started already", iommu->name);
		ret = 0;
	} else {
		ret = iopf_iommu_start_up(iommu);
	}
	pthread_mutex_unlock(&iommu->state_lock);
	iopf_trace_start(iommu->id, ret);
	return iopf_ret(ret);
}

int
iopf_iommu_stop(struct iopf_iommu *iommu)
{
	int ret = 0;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&iommu->state_lock);
	if (atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED)
		iopf_iommu_stop_suspended(iommu);
	else if (atomic_load(&iommu->state) != IOPF_STATE_OFF)
		ret = iopf_iommu_shut_down(iommu);
	pthread_mutex_unlock(&iommu->state_lock);
	iopf_trace_stop(iommu->id, ret);
	return iopf_ret(ret);
}

/* True: the IOMMU cannot be closed; the log has all the reasons. */
static bool
close_is_refused(struct iopf_iommu *iommu)
{
	bool running = iopf_iommu_is_polled(iommu), has_devices, has_memory, in_poller = false;

	pthread_mutex_lock(&iommu->lock);
	has_devices = !LIST_EMPTY(&iommu->devs);
	pthread_mutex_unlock(&iommu->lock);
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		in_poller |= atomic_load(&iommu->queues[i].poller) != NULL;
	pthread_mutex_lock(&iommu->dma_lock);
	has_memory = iommu->nb_dma != 0;
	pthread_mutex_unlock(&iommu->dma_lock);
	if (!running && !has_devices && !in_poller && !has_memory)
		return false;
	IOPF_LOG(ERR, "\"%s\" is not closed: %s%s%s%sthen close it again", iommu->name,
			running ? "stop it; " : "",
			has_devices ? "remove its devices; " : "",
			in_poller ? "remove it from its poller; " : "",
			has_memory ? "unmap its memory, or destroy the pools that mapped it; " :
			"");
	return true;
}

int
iopf_iommu_close(struct iopf_iommu *iommu)
{
	int ret;

	if (iommu == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&iommu->state_lock);
	if (close_is_refused(iommu)) {
		ret = -EBUSY;
	} else {
		atomic_store(&iommus[iommu->id], NULL);
		iopf_rcu_synchronize();
		ret = iommu->driver->ops.close(iommu->priv);
		if (ret < 0)
			atomic_store_explicit(&iommus[iommu->id], iommu, memory_order_release);
	}
	pthread_mutex_unlock(&iommu->state_lock);
	if (ret == 0) {
		iopf_power_fini(&iommu->power);
		registry_del(iommu);
		iopf_listeners_end(iommu, NULL);
		iommu_free(iommu);
	}
	return iopf_ret(ret);
}

const struct iopf_iommu_info *
iopf_iommu_info(const struct iopf_iommu *iommu)
{
	if (iommu == NULL)
		return iopf_ret_null();
	return &iommu->info;
}

const char *
iopf_iommu_name(const struct iopf_iommu *iommu)
{
	if (iommu == NULL)
		return iopf_ret_null();
	return iommu->name;
}

int
iopf_dma_map(struct iopf_iommu *iommu, void *ptr, size_t len, uint64_t *addr)
{
	int ret;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (ptr == NULL || len == 0 || addr == NULL) {
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_dma_map() of %zu bytes at %p: pass "
				"memory, a length above 0, and a pointer for the device address",
				iommu->name, len, ptr);
		return iopf_ret(-EINVAL);
	}
	pthread_mutex_lock(&iommu->dma_lock);
	ret = iommu->driver->ops.dma_map(iommu->priv, ptr, len, addr);
	iommu->nb_dma += ret == 0;
	pthread_mutex_unlock(&iommu->dma_lock);
	return iopf_ret(ret);
}

int
iopf_dma_unmap(struct iopf_iommu *iommu, void *ptr, size_t len, uint64_t addr)
{
	int ret;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	pthread_mutex_lock(&iommu->dma_lock);
	ret = iommu->driver->ops.dma_unmap(iommu->priv, ptr, len, addr);
	iommu->nb_dma -= ret == 0;
	pthread_mutex_unlock(&iommu->dma_lock);
	if (ret == -ENOENT)
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_dma_unmap(): %p, device address %#"
				PRIx64 ", is not mapped: pass what iopf_dma_map() got and "
				"returned", iommu->name, ptr, addr);
	return iopf_ret(ret);
}
