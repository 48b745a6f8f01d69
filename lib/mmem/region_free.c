/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Frees regions, and those that a failed free kept. */

#include <errno.h>
#include <stdlib.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_dirty_map.h"
#include "mmem_evict.h"
#include "mmem_import.h"
#include "mmem_log.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_sync.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"

/* Before its memory is released: fetches that are started then may have it at once. */
static void
region_leave_budget(struct mmem_region *region)
{
	struct mmem_pool *pool = region->space->pool;
	size_t i;

	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < mmem_region_nb_blocks(region); i++) {
		if (region->blocks[i].state & BLOCK_RESIDENT)
			mmem_budget_take(region, i, -1);
		mmem_evict_remove(region, i);
		mmem_pins_drop(region, i);
	}
	mmem_budget_start_fetches(pool);
	pthread_mutex_unlock(&pool->lock);
}

/* Return the memory of a region without users. Outside all locks. */
static void
region_destroy(struct mmem_region *region)
{
	struct mmem_space *space = region->space, *outer = mmem_self.releasing;

	if (region->blocks != NULL)
		region_leave_budget(region);
	mmem_dirty_free(region);
	if (mmem_region_is_watched(region))
		mmem_cpu_unwatch(space->pool, region);
	/* Before another region can have its chunks, and so its place in the swap file. */
	if (region->pager.release) {
		mmem_self.releasing = space;
		region->pager.release(region->pager.ctx);
		mmem_self.releasing = outer;
	}
	mmem_pool_return_chunks(space->pool, region);
	mmem_pager_fini(region);
	free(region);
}

/* Remove the region from the list, so that no other thread finds it. Under space->lock. */
static void
region_unlink(struct mmem_region *region)
{
	struct mmem_space *space = region->space;

	pthread_mutex_lock(&space->pool->lock);
	TAILQ_REMOVE(&space->pool->regions, region, next);
	pthread_mutex_unlock(&space->pool->lock);
	if (region->kept) {
		atomic_fetch_sub_explicit(&space->nb_kept, 1, memory_order_relaxed);
		mmem_stat_add(space, MMEM_STAT_KEPT, -(uint64_t)region->nb_chunks);
	}
}

/*
 * Try to free a region that only this thread frees (freeing). Under space->lock, which is released
 * while a pager is waited for. Returns 0: the region is off the list.
 */
static int
region_try_free(struct mmem_region *region, unsigned int wait_ms)
{
	struct mmem_space *space = region->space;
	uint64_t va = mmem_off_to_va(space, mmem_region_off(region));
	int rc = 0;

	if (!region->hidden)
		mmem_pool_hide_region(space->pool, region);
	/* Without a domain no device has a mapping. */
	if (space->domain == NULL)
		region->is_closed = true;
	if (!region->is_closed)
		rc = mmem_range_close(space, region, va, region->size);
	if (rc == 0)
		region->is_closed = true;
	pthread_mutex_unlock(&space->lock);
	/*
	 * Handlers that found the region before it was hidden have now returned; late ones met
	 * closed entries. Only now the entries can be opened.
	 */
	iopf_quiesce();
	if (rc == 0)
		rc = mmem_pool_wait_region_idle(space->pool, region, wait_ms);
	pthread_mutex_lock(&space->lock);
	if (rc == 0)
		rc = pgt_open(space->pgt, va, region->size);
	if (rc == 0) {
		region_unlink(region);
		return 0;
	}
	if (!region->kept) {
		region->kept = true;
		atomic_fetch_add_explicit(&space->nb_kept, 1, memory_order_relaxed);
		mmem_stat_add(space, MMEM_STAT_KEPT, region->nb_chunks);
	}
	region->freeing = false;
	return rc;
}

/* A region that a failed free kept and that no thread uses. Under space->lock. */
static struct mmem_region *
find_kept_region(struct mmem_space *space)
{
	struct mmem_region *region;

	pthread_mutex_lock(&space->pool->lock);
	TAILQ_FOREACH(region, &space->pool->regions, next) {
		if (region->space == space && region->kept && !region->freeing &&
				region->nb_open == 0 && region->nb_threads == 0)
			break;
	}
	pthread_mutex_unlock(&space->pool->lock);
	return region;
}

void
mmem_regions_free_kept(struct mmem_space *space)
{
	struct mmem_region *region;
	int rc;

	if (likely(atomic_load_explicit(&space->nb_kept, memory_order_relaxed) == 0))
		return;
	do {
		rc = -ENOENT;
		pthread_mutex_lock(&space->lock);
		region = atomic_load_explicit(&space->inv_missing, memory_order_relaxed) ? NULL :
				find_kept_region(space);
		if (region != NULL) {
			region->freeing = true;
			rc = region_try_free(region, 0);
		}
		mmem_space_unlock(space);
		if (rc == 0)
			region_destroy(region);
	} while (rc == 0);
}

int
mmem_free(struct mmem_space *space, void *ptr)
{
	struct mmem_region *region;
	bool is_import;
	uint64_t until;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&space->lock);
	until = mmem_now_ns() + space->wait_ms * UINT64_C(1000000);
	region = mmem_region_find(space, ptr, 0);
	while (region != NULL && region->syncing && mmem_self.paging != region) {
		if (mmem_now_ns() > until) {
			mmem_space_unlock(space);
			return mmem_ret(-ETIMEDOUT);
		}
		mmem_sync_wait(space);
		region = mmem_region_find(space, ptr, 0);
	}
	if (region == NULL)
		region = mmem_region_find_hidden(space, ptr);
	if (region == NULL || ptr != space->mem + mmem_region_off(region))
		rc = -EINVAL;
	else if (mmem_self.paging == region)
		rc = -EDEADLK;
	if (rc < 0) {
		is_import = mmem_import_find(space, (uintptr_t)ptr) != NULL;
		mmem_space_unlock(space);
		if (rc == -EINVAL && is_import)
			MMEM_LOG_LIMITED(space, "no region begins at %p: it is imported: use "
					"mmem_release()", ptr);
		else if (rc == -EINVAL)
			MMEM_LOG_LIMITED(space, "no region begins at %p: pass a pointer that "
					"mmem_alloc() returned, and free it once", ptr);
		return mmem_ret(rc);
	}
	rc = mmem_region_sync_all(region);
	if (rc < 0) {
		mmem_space_unlock(space);
		MMEM_LOG_LIMITED(space, "region %p is not freed: it cannot be written back: %s: "
				"free it again when its pager can write", ptr, rte_strerror(-rc));
		return mmem_ret(rc);
	}
	region->freeing = true;
	rc = region_try_free(region, space->wait_ms);
	mmem_space_unlock(space);
	if (rc < 0) {
		MMEM_LOG(ERR, "space %s: region %p is kept: %s: free it again", space->name, ptr,
				rc == -ETIMEDOUT && region->is_closed ?
				"its pager has not returned" : rte_strerror(-rc));
		return mmem_ret(rc);
	}
	region_destroy(region);
	mmem_regions_free_kept(space);
	return 0;
}

/* The space's first region, or the one after a region that stays. */
static struct mmem_region *
find_next_region(struct mmem_space *space, struct mmem_region *region)
{
	struct mmem_pool *pool = space->pool;

	pthread_mutex_lock(&pool->lock);
	region = region == NULL ? TAILQ_FIRST(&pool->regions) : TAILQ_NEXT(region, next);
	while (region != NULL && region->space != space)
		region = TAILQ_NEXT(region, next);
	pthread_mutex_unlock(&pool->lock);
	return region;
}

/*
 * Write all regions back before the first is freed, so that a failed call loses nothing. Under
 * space->lock, which is released meanwhile.
 */
static int
regions_sync_all(struct mmem_space *space)
{
	uint64_t until = mmem_now_ns() + space->wait_ms * UINT64_C(1000000);
	struct mmem_region *region = NULL;
	int rc = 0;

	do {
		region = find_next_region(space, region);
		if (region == NULL)
			return 0;
		if (!region->syncing) {
			rc = mmem_region_sync_all(region);
		} else if (mmem_now_ns() > until) {
			rc = -ETIMEDOUT;
		} else {
			/* Meanwhile other threads may free regions: begin again. */
			mmem_sync_wait(space);
			region = NULL;
		}
	} while (rc == 0);
	MMEM_LOG_LIMITED(space, "not destroyed: region %p cannot be written back: %s: destroy "
			"the space again when its pager can write",
			space->pool->mem + mmem_region_off(region), rte_strerror(-rc));
	return rc;
}

int
mmem_regions_free_all(struct mmem_space *space)
{
	struct mmem_region *region;
	int rc;

	pthread_mutex_lock(&space->lock);
	rc = regions_sync_all(space);
	while (rc == 0) {
		region = find_next_region(space, NULL);
		if (region == NULL)
			break;
		region->freeing = true;
		rc = region_try_free(region, space->wait_ms);
		pthread_mutex_unlock(&space->lock);
		if (rc < 0) {
			MMEM_LOG(ERR, "space %s: the pager of region %p has not returned: destroy "
					"the space again", space->name,
					space->pool->mem + mmem_region_off(region));
			return rc;
		}
		region_destroy(region);
		pthread_mutex_lock(&space->lock);
	}
	pthread_mutex_unlock(&space->lock);
	return rc;
}
