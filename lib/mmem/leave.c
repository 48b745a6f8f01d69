/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Blocks that leave memory, or are written while they stay: mmem_fetch.h. */

#include <errno.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_clock.h"
#include "mmem_evict.h"
#include "mmem_fetch.h"
#include "mmem_late.h"
#include "mmem_pager.h"
#include "mmem_space.h"

/* A block whose write failed stays so long. */
#define WRITE_AGAIN_NS	UINT64_C(1000000000)

struct mmem_fetch *
mmem_fetch_leave(struct mmem_region *region, size_t block)
{
	struct mmem_fetch *fetch = mmem_fetch_create(region, block, FETCH_LEAVING);

	if (fetch != NULL) {
		region->nb_leaving++;
		mmem_budget_leave(region, block, 1);
	}
	return fetch;
}

/* A block that was to leave stays, or has left. */
static void
leaving_end(struct mmem_pool *pool, struct mmem_fetch *fetch, bool left)
{
	struct mmem_region *region = fetch->region;

	region->nb_leaving--;
	if (!fetch->is_late)
		mmem_budget_leave(region, fetch->block, -1);
	mmem_late_unwatch(pool, fetch);
	mmem_evict_end(region, fetch->block, left);
	region->fetches[fetch->block] = NULL;
	mmem_fetch_wake(pool, fetch, 0);
	free(fetch);
	/* A free waits for it. */
	pthread_cond_broadcast(&pool->changed_cond);
	mmem_evict_wake(pool);
}

void
mmem_fetch_left(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;

	mmem_stat_add(region->space, MMEM_STAT_EVICTED,
			mmem_block_len(region, fetch->block) >> MMEM_PAGE_LOG2);
	region->blocks[fetch->block].state = BLOCK_EVICTED;
	region->blocks[fetch->block].stays_until = mmem_now_ns();
	region->space->nb_failed = 0;
	mmem_budget_take(region, fetch->block, -1);
	leaving_end(pool, fetch, true);
	mmem_budget_start_fetches(pool);
}

void
mmem_fetch_stay(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	uint64_t off;
	size_t len;

	/* mmem_sync() waits for it, and did not write it itself. */
	if (fetch->region->blocks[fetch->block].state & BLOCK_WRITTEN)
		fetch->region->sync_error = -EIO;
	mmem_fetch_get_range(fetch, &off, &len);
	mmem_block_switch_pages(pool, off, len);
	leaving_end(pool, fetch, false);
}

void
mmem_fetch_write(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	fetch->state = FETCH_WRITE_QUEUED;
	mmem_late_watch(pool, fetch);
	/* Without a thread the block stays; the evictor tries again. */
	if (fetch->region->hidden || mmem_fetch_enqueue(pool, fetch) < 0)
		mmem_fetch_stay(pool, fetch);
}

/* The write of a leaving block has ended. pool->lock is released meanwhile. */
void
mmem_fetch_end_write(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	struct mmem_region *region = fetch->region;
	uint64_t off;
	size_t len;

	mmem_fetch_get_range(fetch, &off, &len);
	if (error != 0) {
		if (region->space->nb_failed++ == 0)
			region->space->failed_since = mmem_now_ns();
		region->blocks[fetch->block].stays_until = mmem_now_ns() + WRITE_AGAIN_NS;
		mmem_fetch_stay(pool, fetch);
		return;
	}
	mmem_stat_add(region->space, MMEM_STAT_WRITTEN, len >> MMEM_PAGE_LOG2);
	pthread_mutex_unlock(&pool->lock);
	mmem_block_release(pool, off, len);
	pthread_mutex_lock(&pool->lock);
	mmem_fetch_left(pool, fetch);
}

/* An access waits for the end of an eviction. */
int
mmem_fetch_wait_leaving(struct mmem_pool *pool, struct mmem_fetch *fetch, uint64_t began)
{
	if (fetch->error != 0 && began <= fetch->failed_at)
		return fetch->error;
	fetch->error = 0;
	if (fetch->deadline == 0)
		mmem_fetch_set_deadline(pool, fetch);
	return 0;
}

void
mmem_fetch_end_clean(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	struct mmem_region *region = fetch->region;

	if (error != 0) {
		region->blocks[fetch->block].state |= BLOCK_WRITTEN;
		region->sync_error = error;
	} else if (fetch->state == FETCH_CLEANING) {
		mmem_stat_add(region->space, MMEM_STAT_WRITTEN,
				mmem_block_len(region, fetch->block) >> MMEM_PAGE_LOG2);
	}
	region->fetches[fetch->block] = NULL;
	free(fetch);
	pthread_cond_broadcast(&pool->changed_cond);
	mmem_evict_wake(pool);
}
