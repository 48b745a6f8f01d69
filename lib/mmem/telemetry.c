/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The telemetry command /iopf/pools. */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_telemetry.h>

#include <iopf_compat.h>
#include <iopf_iommu.h>
#include <iopf_support.h>

#include "mmem_pool.h"
#include "mmem_region.h"
#include "mmem_telemetry.h"
#include "mmem_uring.h"

/* A reply has at most 16 KiB. */
#define PAGE_POOLS 24

/* Taken before a pool's lock. A pool in the list is not freed. */
static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, mmem_pool) pools = LIST_HEAD_INITIALIZER(pools);

void
mmem_telemetry_add(struct mmem_pool *pool)
{
	pthread_mutex_lock(&pools_lock);
	LIST_INSERT_HEAD(&pools, pool, next);
	pthread_mutex_unlock(&pools_lock);
}

void
mmem_telemetry_remove(struct mmem_pool *pool)
{
	pthread_mutex_lock(&pools_lock);
	LIST_REMOVE(pool, next);
	pthread_mutex_unlock(&pools_lock);
}

static bool
view_overlaps(const struct mmem_pool *pool, const uint8_t *view, const uint8_t *ptr, size_t len)
{
	return ptr < view + pool->size && view < ptr + len;
}

bool
mmem_pools_overlap(const void *ptr, size_t len)
{
	struct mmem_pool *pool;

	pthread_mutex_lock(&pools_lock);
	LIST_FOREACH(pool, &pools, next)
		if (view_overlaps(pool, pool->mem, ptr, len) ||
				view_overlaps(pool, pool->dev, ptr, len))
			break;
	pthread_mutex_unlock(&pools_lock);
	return pool != NULL;
}

static void
add_name(struct rte_tel_data *d, const char *key, const char *name)
{
	char encoded[RTE_TEL_MAX_STRING_LEN];

	iopf_name_encode(encoded, sizeof(encoded), name);
	rte_tel_data_add_dict_string(d, key, encoded);
}

static void
add_chunks(struct rte_tel_data *d, const struct mmem_pool *pool)
{
	uint64_t taken = 0, populated = 0;

	for (size_t i = 0; i < pool->nb_chunks; i++) {
		uint32_t state = atomic_load_explicit(&pool->chunks[i].state,
				memory_order_relaxed);

		taken += (state & CHUNK_TAKEN) != 0;
		populated += (state & CHUNK_POPULATED) != 0;
	}
	rte_tel_data_add_dict_uint(d, "chunk_size", MMEM_CHUNK_SIZE);
	rte_tel_data_add_dict_uint(d, "chunks", pool->nb_chunks);
	rte_tel_data_add_dict_uint(d, "chunks_taken", taken);
	rte_tel_data_add_dict_uint(d, "chunks_populated", populated);
}

static void
add_users(struct rte_tel_data *d, struct mmem_pool *pool)
{
	const struct mmem_region *region;
	uint64_t regions = 0, fetches = 0, overdue = 0, spaces, requests_most;
	struct mmem_budget budget;

	pthread_mutex_lock(&pool->lock);
	spaces = pool->users;
	budget = pool->budget;
	requests_most = mmem_uring_get_most(pool->uring);
	TAILQ_FOREACH(region, &pool->regions, next) {
		regions++;
		fetches += region->nb_open;
		overdue += region->nb_overdue;
	}
	pthread_mutex_unlock(&pool->lock);
	rte_tel_data_add_dict_uint(d, "spaces", spaces);
	rte_tel_data_add_dict_uint(d, "regions", regions);
	rte_tel_data_add_dict_uint(d, "fetches", fetches);
	rte_tel_data_add_dict_uint(d, "fetches_overdue", overdue);
	rte_tel_data_add_dict_uint(d, "requests_most", requests_most);
	rte_tel_data_add_dict_uint(d, "budget", budget.limit);
	rte_tel_data_add_dict_uint(d, "resident", budget.resident);
	rte_tel_data_add_dict_uint(d, "leaving", budget.leaving);
}

static bool
add_pool(struct rte_tel_data *d, uint64_t n, struct mmem_pool *pool)
{
	struct rte_tel_data *entry = rte_tel_data_alloc();
	char key[32];

	if (entry == NULL)
		return false;
	rte_tel_data_start_dict(entry);
	add_name(entry, "pool", pool->name);
	add_name(entry, "iommu", iopf_iommu_name(pool->iommus[0]));
	rte_tel_data_add_dict_int(entry, "hugepages", pool->hugepages);
	add_chunks(entry, pool);
	add_users(entry, pool);
	snprintf(key, sizeof(key), "pool_%" PRIu64, n);
	if (rte_tel_data_add_dict_container(d, key, entry, 0) == 0)
		return true;
	rte_tel_data_free(entry);
	return false;
}

/* Nothing, or digits only. */
static bool
parse_first(const char *params, uint64_t *first)
{
	char *end;

	*first = 0;
	if (params == NULL || *params == '\0')
		return true;
	if (*params < '0' || *params > '9')
		return false;
	errno = 0;
	*first = strtoull(params, &end, 10);
	return errno == 0 && *end == '\0';
}

static int
handle_pools(const char *cmd, const char *params, struct rte_tel_data *d)
{
	uint64_t first, total = 0, shown = 0;
	struct mmem_pool *pool;

	RTE_SET_USED(cmd);
	if (!parse_first(params, &first))
		return -EINVAL;
	rte_tel_data_start_dict(d);
	pthread_mutex_lock(&pools_lock);
	LIST_FOREACH(pool, &pools, next) {
		if (total == first + shown && shown < PAGE_POOLS)
			shown += add_pool(d, total, pool);
		total++;
	}
	pthread_mutex_unlock(&pools_lock);
	rte_tel_data_add_dict_uint(d, "pools", total);
	if (first < total && shown < total - first)
		rte_tel_data_add_dict_uint(d, "next", first + shown);
	return 0;
}

RTE_INIT(mmem_telemetry)
{
	rte_telemetry_register_cmd("/iopf/pools", handle_pools,
			"Pools of managed memory. Parameter: none, or the first pool.");
}
