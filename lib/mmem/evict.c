/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <pgtable.h>

#include <iopf_support.h>

#include "iopf_handler.h"
#include "mmem_block.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_dirty_map.h"
#include "mmem_evict.h"
#include "mmem_fetch.h"
#include "mmem_late.h"
#include "mmem_need.h"
#include "mmem_pager.h"
#include "mmem_space.h"
#include "mmem_unmap.h"

/* Blocks that leave with one invalidation. */
#define BATCH		16
/* Looks of the policy for one victim, and between batches. */
#define LOOKS		32
#define WATCH_LOOKS	256
/* The evictor looks again after this time if all blocks are to stay. */
#define AGAIN_NS	UINT64_C(100000)
/* A block whose eviction failed stays so long. */
#define FAILED_NS	UINT64_C(100000000)
/* Late writes hold all memory: the evictor looks again after this time. */
#define LATE_AGAIN_NS	UINT64_C(1000000)
/* Of a policy. */
#define MAX_CAPACITY	(UINT64_C(1) << 28)

struct victim {
	struct mmem_region *region;
	size_t block;
	uint64_t off;			/* in the pool */
	size_t len;
	struct mmem_fetch *fetch;
	bool dirty;			/* a device has written it; later: or a CPU */
};

static uint32_t
block_to_index(const struct mmem_region *region, size_t block)
{
	return mmem_block_off(region, block) >> MMEM_PAGE_LOG2;
}

/* A resident block of the policy. Under pool->lock, so that its region stays. */
static struct mmem_region *
index_to_region(struct mmem_pool *pool, uint32_t index)
{
	return pool->chunks[index >> (MMEM_CHUNK_LOG2 - MMEM_PAGE_LOG2)].region;
}

/*
 * Has a device or a CPU accessed the block since the last look? A CPU's access is known by the
 * fault that maps the block into the CPU's view, from which it is removed here. The next batch of
 * victims invalidates TLBs: otherwise a block that stays in one would never be seen as accessed
 * again.
 */
static bool
block_test_accessed(void *ctx, uint32_t index)
{
	struct mmem_space *space = ctx;
	struct mmem_pool *pool = space->pool;
	struct mmem_region *region = index_to_region(pool, index);
	uint64_t off = (uint64_t)index << MMEM_PAGE_LOG2;
	size_t block = mmem_region_get_block(region, off), len = mmem_block_len(region, block);
	struct pgt_used used = { .va = mmem_off_to_va(space, off), .size = len };
	struct pgt_unmapped out;
	bool by_cpu = region->blocks[block].state & BLOCK_CPU;

	pgt_unmapped_init(&out, space->looked, MMEM_MAX_LOOKED);
	out.nb_inv = space->nb_looked;
	out.used = &used;
	pgt_harvest(space->pgt, mmem_off_to_va(space, off), len, PGT_ACCESSED | PGT_INV_ACCESSED,
			&out);
	space->nb_looked = out.nb_inv;
	if (by_cpu) {
		mmem_cpu_unmap(pool, off, len);
		region->blocks[block].state &= (uint8_t)~BLOCK_CPU;
	}
	return by_cpu || used.accessed_bytes != 0;
}

/* The policy's capacity, in blocks of this size. */
static uint32_t
get_capacity(const struct mmem_space *space, uint64_t block_size)
{
	uint64_t limit = space->budget.limit ? space->budget.limit : space->pool->budget.limit;

	return RTE_MIN(RTE_MAX(limit / block_size, UINT64_C(1)), MAX_CAPACITY);
}

int
mmem_evict_init(struct mmem_space *space)
{
	struct mmem_policy_conf conf = {
		.nb_blocks = space->size >> MMEM_PAGE_LOG2,
		.capacity = get_capacity(space, MMEM_CHUNK_SIZE),
		.accessed = block_test_accessed,
		.ctx = space,
	};

	return mmem_policy_init(&space->policy, &conf);
}

void
mmem_evict_fini(struct mmem_space *space)
{
	mmem_policy_fini(&space->policy);
}

/* The block's memory is the only copy of its contents. */
static bool
block_must_stay(const struct mmem_region *region, size_t block)
{
	return (region->blocks[block].state & BLOCK_WRITTEN) &&
			!mmem_pager_can_write(&region->pager);
}

/* Blocks may differ in size: the policy's capacity is that of blocks of the mean size. */
static void
update_capacity(struct mmem_space *space)
{
	struct mmem_policy *policy = &space->policy;
	uint64_t capacity = policy->conf.capacity, now;

	if (policy->nb_resident == 0 || space->budget.resident < policy->nb_resident)
		return;
	now = get_capacity(space, space->budget.resident / policy->nb_resident);
	if (now > capacity + capacity / 8 || now < capacity - capacity / 8)
		mmem_policy_set_capacity(policy, now);
}

void
mmem_evict_add(struct mmem_region *region, size_t block, bool prefetched)
{
	if (!mmem_space_has_budget(region->space))
		return;
	region->blocks[block].stays_until = mmem_now_ns() + region->space->throttle.stay_ns;
	mmem_policy_add(&region->space->policy, block_to_index(region, block), prefetched);
	/* Looks begin before memory is full, as the first victims would be any ones otherwise. */
	update_capacity(region->space);
	mmem_policy_watch(&region->space->policy, MMEM_POLICY_LOOKS);
}

void
mmem_evict_unpin(struct mmem_region *region, size_t block)
{
	if (!mmem_space_has_budget(region->space) || region->hidden ||
			!(region->blocks[block].state & BLOCK_RESIDENT) ||
			region->fetches[block] != NULL)
		return;
	mmem_policy_add(&region->space->policy, block_to_index(region, block), false);
	mmem_evict_wake(region->space->pool);
}

void
mmem_evict_remove(struct mmem_region *region, size_t block)
{
	if (mmem_space_has_budget(region->space))
		mmem_policy_remove(&region->space->policy, block_to_index(region, block));
}

void
mmem_evict_end(struct mmem_region *region, size_t block, bool left)
{
	struct mmem_policy *policy = &region->space->policy;
	uint32_t index = block_to_index(region, block);

	if (left)
		mmem_policy_evicted(policy, index);
	else if (block_must_stay(region, block))
		mmem_policy_remove(policy, index);
	else
		mmem_policy_keep(policy, index);
}

static bool
block_may_leave(const struct mmem_region *region, size_t block, uint64_t now)
{
	return !region->hidden && !region->moving && region->blocks[block].stays_until <= now &&
		region->fetches[block] == NULL && region->blocks[block].nb_pins == 0;
}

/* Step 1. Returns false if the block stays. */
static bool
victim_take(struct mmem_pool *pool, struct mmem_region *region, size_t block, struct victim *v)
{
	v->fetch = mmem_fetch_leave(region, block);
	if (v->fetch == NULL)
		return false;
	v->region = region;
	v->block = block;
	v->off = mmem_block_off(region, block);
	v->len = mmem_block_len(region, block);
	v->dirty = false;
	mmem_block_switch_pages(pool, v->off, v->len);
	return true;
}

/*
 * Under pool->lock. The number of blocks; *again: a block may leave later. Blocks that may not
 * leave now are kept at the end: the policy may rank a block that was just kept lowest, and would
 * name it again and again.
 */
static unsigned int
name_victims(struct mmem_space *space, struct victim *victims, uint64_t excess, bool *again)
{
	uint64_t now = mmem_now_ns(), freed = 0;
	unsigned int n = 0, nb_kept = 0, looks;
	uint32_t index, kept[2 * BATCH];
	struct mmem_region *region;
	size_t block;

	update_capacity(space);
	mmem_policy_watch(&space->policy, WATCH_LOOKS);
	for (looks = 0; looks < 2 * BATCH && n < BATCH && freed < excess; looks++) {
		index = mmem_policy_name_victim(&space->policy, LOOKS);
		if (index == MMEM_POLICY_NONE)
			break;
		region = index_to_region(space->pool, index);
		block = mmem_region_get_block(region, (uint64_t)index << MMEM_PAGE_LOG2);
		if (block_must_stay(region, block) || region->hidden ||
				region->blocks[block].nb_pins != 0) {
			mmem_policy_remove(&space->policy, index);
		} else if (region->nb_late != 0 && (region->blocks[block].state & BLOCK_WRITTEN)) {
			mmem_late_spare(region, block);
		} else if (block_may_leave(region, block, now) &&
				victim_take(space->pool, region, block, &victims[n])) {
			freed += victims[n++].len;
		} else {
			kept[nb_kept++] = index;
		}
	}
	while (nb_kept > 0)
		mmem_policy_keep(&space->policy, kept[--nb_kept]);
	*again = space->policy.nb_candidates != 0 || space->nb_open != 0;
	return n;
}

/* Step 3, and what devices have written. Under space->lock. */
static int
victims_close(struct mmem_space *space, struct victim *victims, unsigned int n)
{
	struct pgt_inv inv[MMEM_MAX_INV];
	struct pgt_unmapped out;
	struct mmem_dirty_step step;
	unsigned int i;
	int rc = 0, rc_inv;

	pgt_unmapped_init(&out, inv, MMEM_MAX_INV);
	pthread_mutex_lock(&space->pool->lock);
	memcpy(inv, space->looked, space->nb_looked * sizeof(inv[0]));
	out.nb_inv = space->nb_looked;
	space->nb_looked = 0;
	pthread_mutex_unlock(&space->pool->lock);
	out.used = &step.used;
	for (i = 0; i < n; i++) {
		mmem_dirty_step_init(&step, victims[i].region,
				mmem_off_to_va(space, victims[i].off), victims[i].len);
		if (rc == 0)
			rc = pgt_unmap(space->pgt, step.used.va, step.used.size, PGT_CLOSE, &out);
		victims[i].dirty = step.used.dirty_bytes != 0;
		mmem_dirty_step_keep(victims[i].region, &step);
	}
	rc_inv = mmem_invalidate_unmapped(space, &out);
	for (i = 0; i < n; i++)
		pgt_open(space->pgt, mmem_off_to_va(space, victims[i].off), victims[i].len);
	return rc < 0 ? rc : rc_inv;
}

/* Has a device or a CPU written the block? Neither can now. Under pool->lock. */
static void
victim_decide(struct victim *v)
{
	struct mmem_block *block = &v->region->blocks[v->block];

	if (v->dirty)
		block->state |= BLOCK_WRITTEN;
	v->dirty = block->state & BLOCK_WRITTEN;
}

/* The end of a batch. Under pool->lock. */
static void
victim_end(struct mmem_pool *pool, struct victim *v, int error)
{
	if (error < 0)
		v->region->blocks[v->block].stays_until = mmem_now_ns() + FAILED_NS;
	/* A write behind a late one would be late. mmem_sync() waits for it all the same. */
	if (error < 0 || block_must_stay(v->region, v->block) ||
			(v->dirty && v->region->nb_late != 0 && !v->region->syncing))
		mmem_fetch_stay(pool, v->fetch);
	else if (v->dirty)
		mmem_fetch_write(pool, v->fetch);
	else
		mmem_fetch_left(pool, v->fetch);
}

static void
evict_batch(struct mmem_space *space, struct victim *victims, unsigned int n)
{
	struct mmem_pool *pool = space->pool;
	unsigned int i;
	int rc;

	rc = iopf_quiesce();
	pthread_mutex_lock(&space->lock);
	if (rc == 0)
		rc = victims_close(space, victims, n);
	mmem_space_unlock(space);
	for (i = 0; i < n && rc == 0; i++)
		rc = mmem_cpu_unmap(pool, victims[i].off, victims[i].len);
	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < n; i++)
		victim_decide(&victims[i]);
	pthread_mutex_unlock(&pool->lock);
	for (i = 0; i < n; i++)
		if (rc == 0 && !victims[i].dirty)
			mmem_block_release(pool, victims[i].off, victims[i].len);
	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < n; i++)
		victim_end(pool, &victims[i], rc);
	mmem_budget_start_fetches(pool);
	/* The last access to the space. */
	space->is_evicting = false;
	pthread_cond_broadcast(&pool->changed_cond);
	pthread_mutex_unlock(&pool->lock);
}

void
mmem_evict_end_space(struct mmem_space *space, bool ends)
{
	struct mmem_pool *pool = space->pool;

	pthread_mutex_lock(&pool->lock);
	space->ends = ends;
	while (ends && space->is_evicting)
		pthread_cond_wait(&pool->changed_cond, &pool->lock);
	mmem_evict_wake(pool);
	pthread_mutex_unlock(&pool->lock);
}

/* Until a block may leave, or a time (mmem_now_ns(), 0: none). Under pool->lock. */
static void
wait_until(struct mmem_pool *pool, uint64_t until)
{
	struct timespec ts = mmem_ns_to_timespec(until);

	if (until == 0)
		pthread_cond_wait(&pool->evict_cond, &pool->lock);
	else
		pthread_cond_timedwait(&pool->evict_cond, &pool->lock, &ts);
}

/*
 * No block of the giver can leave now. Wait, or refuse the accesses if none can later: all memory
 * is written, and is not to be written back, or by a pager that does not or fails. A region with a
 * late pager waits as long as its deadline says.
 */
static void
end_without_victims(struct mmem_pool *pool, const struct mmem_need *need, bool again)
{
	const struct mmem_space *giver = need->giver;
	uint64_t now = mmem_now_ns(), wait_ns = AGAIN_NS;

	if (pool->nb_late != 0 && giver->policy.nb_candidates == 0) {
		again = need->region->nb_late != 0 || giver->nb_open > giver->nb_late ||
				now - pool->late_since < MMEM_NO_ROOM_NS;
		wait_ns = LATE_AGAIN_NS;
	}
	if (mmem_need_writes_fail(giver, now))
		again = false;
	if (giver != need->region->space) {
		giver = mmem_need_find_giver(pool);
		again |= giver != NULL && !mmem_need_writes_fail(giver, now);
	}
	if (again)
		wait_until(pool, now + wait_ns);
	else
		mmem_region_fail_queued(pool, need->region, -ENOMEM);
}

static void *
evictor_main(void *arg)
{
	struct victim victims[BATCH];
	struct mmem_pool *pool = arg;
	uint64_t next_late;
	struct mmem_need need;
	unsigned int n;
	bool again;

	pthread_mutex_lock(&pool->lock);
	while (!pool->quit) {
		next_late = mmem_late_expire(pool);
		need = mmem_need_find(pool);
		if (need.region == NULL) {
			wait_until(pool, next_late);
			continue;
		}
		n = name_victims(need.giver, victims, need.excess, &again);
		if (n == 0) {
			end_without_victims(pool, &need, again);
			continue;
		}
		need.giver->is_evicting = true;
		pthread_mutex_unlock(&pool->lock);
		evict_batch(need.giver, victims, n);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int
mmem_evict_start(struct mmem_pool *pool)
{
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	if (!pool->has_evictor) {
		rc = iopf_thread_create(&pool->evictor, "mmem-evict", evictor_main, pool);
		pool->has_evictor = rc == 0;
	}
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

void
mmem_evict_stop(struct mmem_pool *pool)
{
	if (!pool->has_evictor)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_signal(&pool->evict_cond);
	pthread_mutex_unlock(&pool->lock);
	pthread_join(pool->evictor, NULL);
}

void
mmem_evict_wake(struct mmem_pool *pool)
{
	pthread_cond_signal(&pool->evict_cond);
}
