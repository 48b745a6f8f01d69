/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>

#include "iopf_private.h"
#include "iopf_trace.h"

#define DEFAULT_PARTIAL_MS 1000

RTE_LOG_REGISTER(iopf_logtype, lib.iopf, INFO);

static struct iopf_driver *drivers;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
/* Read without the lock: an entry appears whole and goes after a grace period. */
static _Atomic(struct iopf_iommu *) iommus[IOPF_MAX_IOMMUS];

void
iopf_driver_register(struct iopf_driver *driver)
{
	driver->next = drivers;
	drivers = driver;
}

struct iopf_iommu *
iopf_iommu_get(unsigned int id)
{
	/* Acquire: with the release in iopf_iommu_open(). */
	return id < IOPF_MAX_IOMMUS ?
		atomic_load_explicit(&iommus[id], memory_order_acquire) : NULL;
}

static void
say_drivers(const char *devstr)
{
	char names[256] = "";
	size_t len = 0;

	for (struct iopf_driver *d = drivers; d != NULL && len < sizeof(names); d = d->next)
		len += snprintf(names + len, sizeof(names) - len, " \"%s,%s\"", d->name, d->usage);
	if (drivers == NULL)
		IOPF_LOG(ERR, "\"%s\": no driver is loaded; link one whole or load it with -d",
				devstr);
	else
		IOPF_LOG(ERR, "\"%s\": no such driver; there is%s", devstr, names);
}

static int
check_keys(const struct rte_kvargs *args, const struct iopf_driver *driver, const char *devstr)
{
	for (unsigned int i = 0; i < args->count; i++) {
		bool known = false;

		for (unsigned int k = 0; k < i; k++) {
			if (strcmp(args->pairs[i].key, args->pairs[k].key) == 0) {
				IOPF_LOG(ERR, "\"%s\": \"%s\" is there twice", devstr,
						args->pairs[i].key);
				return -EINVAL;
			}
		}
		for (unsigned int k = 0; driver->params[k] != NULL; k++)
			known |= strcmp(args->pairs[i].key, driver->params[k]) == 0;
		if (!known || args->pairs[i].value == NULL) {
			IOPF_LOG(ERR, "\"%s\": %s \"%s\"; use \"%s,%s\"", devstr,
					known ? "no value for" : "unknown key",
					args->pairs[i].key, driver->name, driver->usage);
			return -EINVAL;
		}
	}
	return 0;
}

static int
iommu_open(struct iopf_iommu *iommu, const char *devstr)
{
	size_t len = strcspn(devstr, ",");
	struct iopf_driver *driver = drivers;
	struct rte_kvargs *args;
	int ret;

	while (driver != NULL && (strlen(driver->name) != len ||
			strncmp(driver->name, devstr, len) != 0))
		driver = driver->next;
	if (driver == NULL) {
		say_drivers(devstr);
		return -ENODEV;
	}
	iommu->driver = driver;

	args = rte_kvargs_parse(devstr[len] == ',' ? devstr + len + 1 : "", NULL);
	if (args == NULL) {
		IOPF_LOG(ERR, "\"%s\": not a list of key=value; use \"%s,%s\"", devstr,
				driver->name, driver->usage);
		return -EINVAL;
	}
	ret = check_keys(args, driver, devstr);
	if (ret == 0)
		ret = driver->ops.open(args, &iommu->info, &iommu->priv);
	rte_kvargs_free(args);
	iommu->info.driver = driver->name;
	return ret;
}

static void
iommu_free(struct iopf_iommu *iommu)
{
	for (unsigned int i = 0; i < IOPF_MAX_QUEUES; i++)
		iopf_queue_fini(&iommu->queues[i]);
	iopf_table_fini(&iommu->sids);
	iopf_table_fini(&iommu->attached);
	pthread_mutex_destroy(&iommu->lock);
	pthread_mutex_destroy(&iommu->dma_lock);
	free(iommu->name);
	free(iommu);
}

/* An eighth is left to stop markers, for which devices need no leave. */
static uint32_t
request_budget(uint32_t size)
{
	return size <= 1 ? size : size - RTE_MAX(size / 8, 1u);
}

/* Nothing is outstanding, and nobody drains. */
static void
resize_requests(struct iopf_iommu *iommu, uint32_t size)
{
	if (iommu->info.request_queue_size == 0)
		return;
	iommu->info.request_queue_size = size;
	iommu->info.max_requests = request_budget(size);
	iopf_queue_resize(&iommu->queues[IOPF_QUEUE_REQUESTS], RTE_MAX(size * 2, 64u));
}

static int
iommu_queues(struct iopf_iommu *iommu)
{
	const struct iopf_iommu_info *info = &iommu->info;
	/*
	 * Each outstanding stall or page request has a slot, and one that was cancelled
	 * keeps its slot while a handler holds it: twice as many.
	 */
	const uint32_t outstanding[IOPF_MAX_QUEUES] = {
		[IOPF_QUEUE_EVENTS] = info->max_stalls,
		[IOPF_QUEUE_REQUESTS] = IOPF_MAX_REQUESTS,
	};
	int ret = 0;

	iommu->partial_cycles = rte_get_tsc_hz() / 1000 * DEFAULT_PARTIAL_MS;
	if (info->nb_queues > IOPF_MAX_QUEUES ||
			(info->request_queue_size != 0) != (info->nb_queues == IOPF_MAX_QUEUES))
		return -EINVAL;
	for (uint16_t i = 0; i < info->nb_queues && ret == 0; i++)
		ret = iopf_queue_init(&iommu->queues[i], iommu, i,
				RTE_MAX(outstanding[i] * 2, 64u));
	iommu->default_requests = info->request_queue_size;
	if (ret == 0)
		resize_requests(iommu, info->request_queue_size);
	return ret;
}

static int
registry_find(const char *devstr)
{
	int free_id = -ENOSPC;

	for (unsigned int i = IOPF_MAX_IOMMUS; i-- > 0;) {
		struct iopf_iommu *iommu = atomic_load(&iommus[i]);

		if (iommu == NULL)
			free_id = i;
		else if (strcmp(iommu->name, devstr) == 0)
			return -EBUSY;
	}
	return free_id;
}

struct iopf_iommu *
iopf_iommu_open(const char *devstr)
{
	struct iopf_iommu *iommu = NULL;
	int id, ret = 0;

	if (devstr == NULL)
		return iopf_null();
	if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
		IOPF_LOG(ERR, "\"%s\": not in a secondary process; open it in the primary", devstr);
		rte_errno = ENOTSUP;
		return NULL;
	}
	pthread_mutex_lock(&registry_lock);
	id = registry_find(devstr);
	if (id < 0) {
		IOPF_LOG(ERR, "\"%s\": %s", devstr, id == -EBUSY ? "is open already; close it first" :
				"64 IOMMUs are open; close one first");
		ret = id;
		goto out;
	}
	iommu = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*iommu), RTE_CACHE_LINE_SIZE));
	if (iommu == NULL) {
		ret = -ENOMEM;
		goto out;
	}
	memset(iommu, 0, sizeof(*iommu));
	iommu->id = id;
	iommu->name = strdup(devstr);
	pthread_mutex_init(&iommu->lock, NULL);
	pthread_mutex_init(&iommu->dma_lock, NULL);
	if (iommu->name == NULL || iopf_table_init(&iommu->sids) < 0 ||
			iopf_table_init(&iommu->attached) < 0)
		ret = -ENOMEM;
	if (ret == 0)
		ret = iommu_open(iommu, devstr);
	if (ret == 0) {
		ret = iommu_queues(iommu);
		if (ret < 0)
			iommu->driver->ops.close(iommu->priv);
	}
	if (ret < 0) {
		iommu_free(iommu);
		iommu = NULL;
		goto out;
	}
	/* Release: with the acquire in iopf_iommu_get(). */
	atomic_store_explicit(&iommus[id], iommu, memory_order_release);
out:
	pthread_mutex_unlock(&registry_lock);
	iopf_trace_open(devstr, ret);
	if (ret < 0)
		rte_errno = -ret;
	return iommu;
}

int
iopf_iommu_configure(struct iopf_iommu *iommu, const struct iopf_iommu_conf *conf)
{
	static const struct iopf_iommu_conf defaults;
	uint32_t requests;
	int ret;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (conf == NULL)
		conf = &defaults;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if ((conf->event_queue_size & (conf->event_queue_size - 1)) != 0 ||
			(conf->command_queue_size & (conf->command_queue_size - 1)) != 0 ||
			(conf->request_queue_size & (conf->request_queue_size - 1)) != 0) {
		IOPF_LOG(ERR, "\"%s\": queue sizes %u, %u and %u must be powers of two",
				iommu->name, conf->event_queue_size, conf->command_queue_size,
				conf->request_queue_size);
		return iopf_ret(-EINVAL);
	}
	pthread_mutex_lock(&iommu->lock);
	requests = conf->request_queue_size != 0 ? conf->request_queue_size :
			iommu->default_requests;
	if (atomic_load(&iommu->started)) {
		ret = -EBUSY;
	} else if (requests > IOPF_MAX_REQUESTS) {
		IOPF_LOG(ERR, "\"%s\": request_queue_size %u is more than %u", iommu->name,
				requests, IOPF_MAX_REQUESTS);
		ret = -EINVAL;
	} else if (requests != iommu->info.request_queue_size &&
			atomic_load(&iommu->granted) > request_budget(requests)) {
		IOPF_LOG(ERR, "\"%s\": request_queue_size %u is less than attached devices have; "
				"detach them first", iommu->name, requests);
		ret = -EBUSY;
	} else {
		ret = iommu->driver->ops.configure(iommu->priv, conf);
	}
	if (ret == 0) {
		iommu->conf = *conf;
		iommu->partial_cycles = rte_get_tsc_hz() / 1000 *
			(conf->partial_ms != 0 ? conf->partial_ms : DEFAULT_PARTIAL_MS);
		resize_requests(iommu, requests);
	}
	pthread_mutex_unlock(&iommu->lock);
	return iopf_ret(ret);
}

/* One that cannot does not keep the others from starting. */
static void
pri_all_up(struct iopf_iommu *iommu)
{
	struct iopf_dev *dev;

	LIST_FOREACH(dev, &iommu->devs, next)
		if (iopf_dev_attached(dev) && iopf_pri_up(dev) < 0)
			IOPF_LOG(ERR, "%s: starts without page requests; mend or reset the device, "
					"then call iopf_dev_pri_restart()", dev->name);
}

static int
iommu_stop(struct iopf_iommu *iommu)
{
	unsigned int held;
	int ret;

	/* A page request that finds the IOMMU off is the device's last. */
	iopf_pri_all_down(iommu);
	/* No pass begins any more, and those under way end. */
	atomic_store(&iommu->started, false);
	iopf_rcu_synchronize();
	ret = iommu->driver->ops.stop(iommu->priv);
	do {
		held = 0;
		for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
			held += iopf_queue_cancel(&iommu->queues[i], NULL,
					IOPF_CANCEL_TERMINATED);
		if (held != 0)
			iommu->driver->ops.wait(iommu->priv);
	} while (held != 0);
	iopf_rcu_synchronize();
	/* Nobody else drains: started was false before the last grace period. */
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		if (iommu->queues[i].prg != NULL)
			iopf_prg_discard_all(&iommu->queues[i]);
	return ret;
}

int
iopf_iommu_start(struct iopf_iommu *iommu)
{
	int ret;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&iommu->lock);
	if (atomic_load(&iommu->started)) {
		IOPF_LOG(WARNING, "\"%s\" is started already", iommu->name);
		ret = 0;
	} else {
		ret = iommu->driver->ops.start(iommu->priv);
		atomic_store(&iommu->dead, false);
		if (ret == 0) {
			atomic_store_explicit(&iommu->started, true, memory_order_release);
			pri_all_up(iommu);
		}
	}
	pthread_mutex_unlock(&iommu->lock);
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
	pthread_mutex_lock(&iommu->lock);
	if (atomic_load(&iommu->started))
		ret = iommu_stop(iommu);
	pthread_mutex_unlock(&iommu->lock);
	iopf_trace_stop(iommu->id, ret);
	return iopf_ret(ret);
}

int
iopf_iommu_close(struct iopf_iommu *iommu)
{
	const char *busy = NULL;
	int ret;

	if (iommu == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&registry_lock);
	pthread_mutex_lock(&iommu->lock);
	if (atomic_load(&iommu->started))
		busy = "is running; stop it first";
	else if (!LIST_EMPTY(&iommu->devs))
		busy = "has devices; remove them first";
	else if (atomic_load(&iommu->nb_dma) != 0)
		busy = "reaches memory of the application or of a pool; unmap it or destroy the "
				"pool first";
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		if (iommu->queues[i].poller != NULL)
			busy = "is in a poller; remove it from there first";
	pthread_mutex_unlock(&iommu->lock);
	if (busy != NULL) {
		IOPF_LOG(ERR, "\"%s\" %s", iommu->name, busy);
		pthread_mutex_unlock(&registry_lock);
		return iopf_ret(-EBUSY);
	}
	atomic_store(&iommus[iommu->id], NULL);
	iopf_rcu_synchronize();
	ret = iommu->driver->ops.close(iommu->priv);
	if (ret == 0)
		iommu_free(iommu);
	else
		atomic_store_explicit(&iommus[iommu->id], iommu, memory_order_release);
	pthread_mutex_unlock(&registry_lock);
	return iopf_ret(ret);
}

int
iopf_iommu_idle(struct iopf_iommu *iommu, int fd)
{
	int ret = -EINVAL;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&iommu->lock);
	if (iommu->driver->ops.idle == NULL)
		ret = -ENOTSUP;
	else if (atomic_load(&iommu->started))
		ret = iommu->driver->ops.idle(iommu->priv, fd);
	pthread_mutex_unlock(&iommu->lock);
	return iopf_ret(ret);
}

const struct iopf_iommu_info *
iopf_iommu_info(const struct iopf_iommu *iommu)
{
	if (iommu == NULL)
		return iopf_null();
	return &iommu->info;
}

const char *
iopf_iommu_name(const struct iopf_iommu *iommu)
{
	if (iommu == NULL)
		return iopf_null();
	return iommu->name;
}

int
iopf_dma_map(struct iopf_iommu *iommu, void *ptr, size_t len, uint64_t *addr)
{
	int ret;

	if (iommu == NULL || ptr == NULL || len == 0 || addr == NULL)
		return iopf_ret(-EINVAL);
	pthread_mutex_lock(&iommu->dma_lock);
	ret = iommu->driver->ops.dma_map(iommu->priv, ptr, len, addr);
	if (ret == 0)
		atomic_fetch_add(&iommu->nb_dma, 1);
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
	if (ret == 0)
		atomic_fetch_sub(&iommu->nb_dma, 1);
	pthread_mutex_unlock(&iommu->dma_lock);
	return iopf_ret(ret);
}
