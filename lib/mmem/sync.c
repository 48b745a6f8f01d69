/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Writes written blocks back while they stay in memory and in use. For a batch of blocks:
 *
 *	1  BLOCK_WRITTEN is cleared	(pool->lock)	a write from here on sets it again
 *	2  the CPU's view is unmapped	(cpu_lock)	so that it is noticed
 *	3  devices' leaves become clean, invalidate	(space->lock)	and theirs too
 *	4  write			(pager)		has each byte that was written before 1
 *
 * A block whose write fails is BLOCK_WRITTEN again.
 */

#include <errno.h>

#include <pgtable.h>

#include "mmem_block.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_dirty_map.h"
#include "mmem_fetch.h"
#include "mmem_pager.h"
#include "mmem_space.h"
#include "mmem_swap.h"
#include "mmem_sync.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"

/* Blocks with one invalidation. */
#define BATCH	16
/* A thread that waits for another mmem_sync() looks again after this time. */
#define WAIT_NS	UINT64_C(10000000)

struct batch {
	struct mmem_region *region;
	struct mmem_fetch *fetches[BATCH];
	bool written[BATCH];
	unsigned int nb;
};

/* Step 1, for the blocks from *next on. With a fetch they cannot leave. Returns 0 or -ENOMEM. */
static int
batch_collect(struct batch *batch, struct mmem_pool *pool, size_t *next, size_t end)
{
	struct mmem_region *region = batch->region;
	struct mmem_fetch *fetch;
	struct mmem_block *block;
	int rc = 0;

	batch->nb = 0;
	pthread_mutex_lock(&pool->lock);
	for (; *next < end && batch->nb < BATCH; (*next)++) {
		block = &region->blocks[*next];
		/* A block that leaves is written by the evictor. */
		if (!(block->state & BLOCK_RESIDENT) || region->fetches[*next] != NULL)
			continue;
		fetch = mmem_fetch_create(region, *next, FETCH_CLEAN_QUEUED);
		if (fetch == NULL) {
			rc = -ENOMEM;
			break;
		}
		batch->written[batch->nb] = block->state & BLOCK_WRITTEN;
		batch->fetches[batch->nb++] = fetch;
		block->state &= (uint8_t)~(BLOCK_WRITTEN | BLOCK_CPU);
	}
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

/* Steps 2 and 3. Under space->lock. */
static int
batch_clean(struct batch *batch, struct mmem_space *space)
{
	struct pgt_inv inv[BATCH];
	struct pgt_unmapped out;
	struct mmem_dirty_step step;
	unsigned int i;
	uint64_t off;
	size_t len;
	int rc = 0, rc_inv, rc_cpu;

	pgt_unmapped_init(&out, inv, BATCH);
	out.used = &step.used;
	for (i = 0; i < batch->nb; i++) {
		mmem_fetch_get_range(batch->fetches[i], &off, &len);
		rc_cpu = mmem_cpu_unmap(space->pool, off, len);
		if (rc == 0)
			rc = rc_cpu;
		mmem_dirty_step_init(&step, batch->region, mmem_off_to_va(space, off), len);
		if (rc == 0)
			rc = pgt_harvest(space->pgt, step.used.va, len, PGT_DIRTY, &out);
		if (step.used.dirty_bytes != 0)
			batch->written[i] = true;
		mmem_dirty_step_keep(batch->region, &step);
	}
	rc_inv = mmem_invalidate_unmapped(space, &out);
	return rc < 0 ? rc : rc_inv;
}

/* Step 4. Under pool->lock. */
static void
batch_write(struct batch *batch, struct mmem_pool *pool, int error)
{
	unsigned int i;

	for (i = 0; i < batch->nb; i++) {
		if (!batch->written[i])
			mmem_fetch_end_clean(pool, batch->fetches[i], 0);
		else if (error < 0 || mmem_fetch_enqueue(pool, batch->fetches[i]) < 0)
			mmem_fetch_end_clean(pool, batch->fetches[i], error < 0 ? error : -ENOMEM);
	}
}

/* A block of the range is being written, also by an eviction if @p leaving. Under pool->lock. */
static bool
is_writing(const struct mmem_region *region, size_t first, size_t end, bool leaving)
{
	for (; first < end; first++)
		if (region->fetches[first] != NULL &&
				((leaving && mmem_fetch_is_leaving(region->fetches[first])) ||
				mmem_fetch_is_cleaning(region->fetches[first])))
			return true;
	return false;
}

/* Until no block is. @p until NULL: as long as it takes. Under pool->lock: 0 or -ETIMEDOUT. */
static int
wait_written(struct mmem_region *region, size_t first, size_t end, bool leaving,
		const struct timespec *until)
{
	struct mmem_pool *pool = region->space->pool;
	int rc = 0;

	while (is_writing(region, first, end, leaving) && rc != ETIMEDOUT)
		rc = until == NULL ? pthread_cond_wait(&pool->changed_cond, &pool->lock) :
				pthread_cond_timedwait(&pool->changed_cond, &pool->lock, until);
	return is_writing(region, first, end, leaving) ? -ETIMEDOUT : 0;
}

/*
 * Write back the written blocks from first to end - 1 of a region that stays. Under space->lock,
 * which is released meanwhile.
 */
static int
region_sync(struct mmem_region *region, size_t first, size_t end, unsigned int wait_ms)
{
	struct timespec limit = mmem_ns_to_timespec(mmem_now_ns() + wait_ms * UINT64_C(1000000));
	const struct timespec *until = wait_ms != 0 ? &limit : NULL;
	struct mmem_space *space = region->space;
	struct mmem_pool *pool = space->pool;
	struct batch batch = { .region = region };
	size_t next = first;
	int rc, rc_clean, rc_wait;

	/* A write of a call that timed out has not the bytes that were written since. */
	mmem_space_unlock(space);
	pthread_mutex_lock(&pool->lock);
	rc = wait_written(region, first, end, false, until);
	region->sync_error = 0;
	pthread_mutex_unlock(&pool->lock);
	pthread_mutex_lock(&space->lock);
	while (next < end && rc == 0) {
		rc = batch_collect(&batch, pool, &next, end);
		rc_clean = batch_clean(&batch, space);
		pthread_mutex_lock(&pool->lock);
		batch_write(&batch, pool, rc_clean);
		pthread_mutex_unlock(&pool->lock);
		if (rc == 0)
			rc = rc_clean;
	}
	mmem_space_unlock(space);
	pthread_mutex_lock(&pool->lock);
	rc_wait = wait_written(region, first, end, true, until);
	if (rc_wait < 0)
		rc = rc_wait;
	if (rc == 0)
		rc = region->sync_error;
	pthread_mutex_unlock(&pool->lock);
	if (rc == 0 && region->pager.flush != NULL)
		rc = region->pager.flush(region->pager.ctx) < 0 ? -EIO : 0;
	pthread_mutex_lock(&space->lock);
	return rc;
}

void
mmem_region_set_syncing(struct mmem_region *region, bool syncing)
{
	struct mmem_pool *pool = region->space->pool;

	pthread_mutex_lock(&pool->lock);
	region->syncing = syncing;
	pthread_cond_broadcast(&pool->changed_cond);
	pthread_mutex_unlock(&pool->lock);
}

int
mmem_region_sync_all(struct mmem_region *region)
{
	int rc;

	if (region->hidden || region->blocks == NULL || !mmem_pager_can_write(&region->pager) ||
			mmem_pager_is_swap(&region->pager))
		return 0;
	mmem_region_set_syncing(region, true);
	rc = region_sync(region, 0, mmem_region_nb_blocks(region), region->space->wait_ms);
	mmem_region_set_syncing(region, false);
	return rc;
}

void
mmem_sync_wait(struct mmem_space *space)
{
	struct timespec until = mmem_ns_to_timespec(mmem_now_ns() + WAIT_NS);

	mmem_space_unlock(space);
	pthread_mutex_lock(&space->pool->lock);
	pthread_cond_timedwait(&space->pool->changed_cond, &space->pool->lock, &until);
	pthread_mutex_unlock(&space->pool->lock);
	pthread_mutex_lock(&space->lock);
}

int
mmem_sync(struct mmem_space *space, void *ptr, size_t len)
{
	struct mmem_region *region;
	bool syncing = false;
	uint64_t off;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc == 0 && mmem_self.paging != NULL)
		rc = -EDEADLK;
	if (rc < 0)
		return mmem_ret(rc);
	off = (uintptr_t)ptr - (uintptr_t)space->mem;
	pthread_mutex_lock(&space->lock);
	region = mmem_region_find_range(space, ptr, len);
	while (region != NULL && region->syncing) {
		mmem_sync_wait(space);
		region = mmem_region_find_range(space, ptr, len);
	}
	rc = region == NULL ? -EINVAL : 0;
	if (rc == 0 && region->blocks != NULL && mmem_pager_can_write(&region->pager)) {
		syncing = true;
		mmem_region_set_syncing(region, true);
		rc = region_sync(region, mmem_region_get_block(region, off),
				mmem_region_get_block(region, off + len - 1) + 1, 0);
	}
	mmem_space_unlock(space);
	/* The last access: from here on it may be freed, and the space destroyed. */
	if (syncing)
		mmem_region_set_syncing(region, false);
	return mmem_ret(rc);
}
