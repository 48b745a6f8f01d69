/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_fetch.h"
#include "mmem_pager.h"
#include "mmem_space.h"

/* Blocks that leave at a time for queued ones, so that their write-backs are under way together. */
#define AT_A_TIME	16

uint64_t
mmem_budget_get_excess(const struct mmem_budget *budget, size_t block)
{
	uint64_t need = budget->resident - budget->leaving +
			RTE_MIN(budget->queued, AT_A_TIME * (uint64_t)block);

	return budget->limit != 0 && budget->queued != 0 && need > budget->limit ?
			need - budget->limit : 0;
}

static bool
has_room(const struct mmem_budget *budget, size_t len)
{
	return budget->limit == 0 || budget->resident + len <= budget->limit;
}

bool
mmem_budget_has_room(const struct mmem_fetch *fetch)
{
	const struct mmem_region *region = fetch->region;
	size_t len = mmem_block_len(region, fetch->block);

	return region->blocks == NULL || fetch->state != FETCH_QUEUED ||
		(has_room(&region->space->budget, len) &&
		has_room(&region->space->pool->budget, len));
}

/* Add to a counter of the space, and to the pool's. */
static void
add(const struct mmem_region *region, uint64_t *of_space, uint64_t *of_pool, size_t block, int sign)
{
	uint64_t len = mmem_block_len(region, block);

	if (region->blocks == NULL)
		return;
	*of_space += sign > 0 ? len : -len;
	*of_pool += sign > 0 ? len : -len;
}

void
mmem_budget_queue(const struct mmem_fetch *fetch, int sign)
{
	struct mmem_space *space = fetch->region->space;

	add(fetch->region, &space->budget.queued, &space->pool->budget.queued, fetch->block, sign);
}

void
mmem_budget_take(const struct mmem_region *region, size_t block, int sign)
{
	struct mmem_space *space = region->space;

	add(region, &space->budget.resident, &space->pool->budget.resident, block, sign);
}

void
mmem_budget_leave(const struct mmem_region *region, size_t block, int sign)
{
	struct mmem_space *space = region->space;

	add(region, &space->budget.leaving, &space->pool->budget.leaving, block, sign);
}

void
mmem_budget_start_fetches(struct mmem_pool *pool)
{
	struct mmem_region *region;

	TAILQ_FOREACH(region, &pool->regions, next)
		if (region->blocks != NULL && !region->ready)
			mmem_region_start_fetches(pool, region);
}
