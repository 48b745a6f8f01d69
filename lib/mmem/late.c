/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Write-backs that are late: mmem_late.h. */

#include <inttypes.h>

#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_clock.h"
#include "mmem_evict.h"
#include "mmem_fetch.h"
#include "mmem_late.h"
#include "mmem_space.h"

/* A write-back that has not ended after this time is late. */
#define LATE_NS		UINT64_C(10000000)
/* A block whose write-back no thread has begun stays so long. */
#define NOT_BEGUN_NS	UINT64_C(100000000)

void
mmem_late_watch(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	fetch->late_at = mmem_now_ns() + LATE_NS;
	TAILQ_INSERT_TAIL(&pool->writes, fetch, next_write);
}

void
mmem_late_spare(struct mmem_region *region, size_t block)
{
	region->blocks[block].next_spared = region->spared;
	region->spared = block + 1;
}

static void
return_spared(struct mmem_region *region)
{
	size_t block;

	while (region->spared != 0) {
		block = region->spared - 1;
		region->spared = region->blocks[block].next_spared;
		mmem_evict_end(region, block, false);
	}
}

void
mmem_late_unwatch(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;

	if (fetch->is_late) {
		pool->nb_late--;
		pool->late_since = mmem_now_ns();
		region->space->nb_late--;
		if (--region->nb_late == 0)
			return_spared(region);
	} else if (fetch->late_at != 0) {
		TAILQ_REMOVE(&pool->writes, fetch, next_write);
	}
	fetch->late_at = 0;
}

static void
set_late(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	uint64_t start = mmem_region_off(region);

	fetch->is_late = true;
	mmem_budget_leave(region, fetch->block, -1);
	mmem_stat_add(region->space, MMEM_STAT_LATE_WRITES, 1);
	if (pool->nb_late++ == 0)
		pool->late_since = mmem_now_ns();
	region->nb_late++;
	region->space->nb_late++;
	if (region->was_late)
		return;
	region->was_late = true;
	MMEM_LOG_LIMITED(region->space, "write-back at offset 0x%" PRIx64 " of region %p takes "
			"longer than 10 ms: other blocks leave memory meanwhile; logged once for "
			"a region, counted in late_writes", mmem_block_off(region, fetch->block) -
			start, region->space->mem + start);
}

uint64_t
mmem_late_expire(struct mmem_pool *pool)
{
	uint64_t now = mmem_now_ns();
	struct mmem_fetch *fetch;

	while ((fetch = TAILQ_FIRST(&pool->writes)) != NULL) {
		if (fetch->late_at > now)
			return fetch->late_at;
		if (fetch->state == FETCH_WRITE_QUEUED && !fetch->region->syncing) {
			mmem_fetch_dequeue(fetch);
			fetch->region->blocks[fetch->block].stays_until = now + NOT_BEGUN_NS;
			mmem_fetch_stay(pool, fetch);
		} else {
			TAILQ_REMOVE(&pool->writes, fetch, next_write);
			set_late(pool, fetch);
		}
	}
	return 0;
}
