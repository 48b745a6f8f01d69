/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Regions that lack room: mmem_need.h. */

#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_clock.h"
#include "mmem_fetch.h"
#include "mmem_need.h"
#include "mmem_space.h"

/* Of so many failures in a row some are of blocks that were tried twice, or of a full store. */
#define MANY_FAILED	64u

bool
mmem_need_writes_fail(const struct mmem_space *space, uint64_t now)
{
	return space->nb_failed != 0 && now - space->failed_since >= MMEM_NO_ROOM_NS &&
			space->nb_failed >= RTE_MIN(2 * space->policy.nb_candidates, MANY_FAILED);
}

static bool
gives_before(const struct mmem_space *a, const struct mmem_space *b, uint64_t now)
{
	bool a_fails = mmem_need_writes_fail(a, now), b_fails = mmem_need_writes_fail(b, now);

	if (a_fails != b_fails)
		return b_fails;
	return a->budget.resident - a->budget.leaving > b->budget.resident - b->budget.leaving;
}

struct mmem_space *
mmem_need_find_giver(struct mmem_pool *pool)
{
	struct mmem_space *giver = NULL;
	struct mmem_region *region;
	uint64_t now = mmem_now_ns();

	TAILQ_FOREACH(region, &pool->regions, next)
		if (region->blocks != NULL && region->space->policy.nb_candidates != 0 &&
				!region->space->ends &&
				(giver == NULL || gives_before(region->space, giver, now)))
			giver = region->space;
	return giver;
}

struct mmem_need
mmem_need_find(struct mmem_pool *pool)
{
	struct mmem_need need = { 0 }, last = { 0 };
	struct mmem_region *region;
	struct mmem_fetch *fetch;
	size_t len;

	TAILQ_FOREACH(region, &pool->regions, next) {
		fetch = region->blocks != NULL ? TAILQ_FIRST(&region->queue) : NULL;
		if (fetch == NULL || region->space->ends || mmem_budget_has_room(fetch))
			continue;
		len = mmem_block_len(region, fetch->block);
		need.region = region;
		need.giver = region->space;
		need.excess = mmem_budget_get_excess(&region->space->budget, len);
		if (need.excess == 0) {
			need.giver = mmem_need_find_giver(pool);
			if (need.giver == NULL)
				need.giver = region->space;
			need.excess = mmem_budget_get_excess(&pool->budget, len);
		}
		if (need.excess != 0 && need.giver->policy.nb_candidates != 0)
			return need;
		/* One that waits for its own writes is not refused. */
		if (need.excess != 0 && (last.region == NULL || region->nb_late == 0))
			last = need;
	}
	return last;
}
