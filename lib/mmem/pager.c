/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Fetches of contents through pagers.
 *
 *	begin --> region's queue --> thread: populate, fill or start --> done
 *	                                                  '--> mmem_fetch_done()
 *
 * A fetch has one block: pager.fetch_size bytes. Groups and threads wait for it: the groups are
 * deferred again when it ends, the threads wait for pool->changed_cond. The threads: fetcher.c.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_evict.h"
#include "mmem_fetch.h"
#include "mmem_frame.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_waiting.h"

/* The largest errno. */
#define MAX_ERRNO	4095

/* The region counts in a budget, or is written back. */
static int
blocks_init(struct mmem_region *region)
{
	const struct mmem_space *space = region->space;
	uint64_t limit = space->budget.limit ? space->budget.limit : UINT64_MAX;

	if (space->pool->budget.limit != 0)
		limit = RTE_MIN(limit, space->pool->budget.limit);
	if (region->pager.fetch_size > limit) {
		MMEM_LOG_LIMITED(region->space, "fetch_size %zu of a pager is larger than the "
				"budget of %" PRIu64 " bytes: use a larger budget, or a smaller "
				"fetch_size", region->pager.fetch_size, limit);
		return -EINVAL;
	}
	region->blocks = calloc(mmem_region_nb_blocks(region), sizeof(*region->blocks));
	return region->blocks ? 0 : -ENOMEM;
}

int
mmem_pager_init(struct mmem_region *region, const struct mmem_pager *pager)
{
	size_t size = pager->fetch_size ? pager->fetch_size : MMEM_CHUNK_SIZE;

	if ((pager->fill != NULL) == (pager->start != NULL)) {
		MMEM_LOG_LIMITED(region->space, "a pager needs either fill or start: %s",
				pager->fill != NULL ? "both are set" : "neither is set");
		return -EINVAL;
	}
	if (pager->write != NULL && pager->write_start != NULL) {
		MMEM_LOG_LIMITED(region->space, "a pager has write and write_start: set one");
		return -EINVAL;
	}
	if ((size & (size - 1)) || size < MMEM_PAGE_SIZE || size > MMEM_CHUNK_SIZE) {
		MMEM_LOG_LIMITED(region->space, "fetch_size %zu of a pager: use a power of two "
				"from 4 KiB to 2 MiB", size);
		return -EINVAL;
	}
	region->pager = *pager;
	region->pager.fetch_size = size;
	region->pager.nb_threads = pager->nb_threads ? pager->nb_threads : 1;
	TAILQ_INIT(&region->queue);
	TAILQ_INIT(&region->cleans);
	region->fetches = calloc(mmem_region_nb_blocks(region), sizeof(*region->fetches));
	if (region->fetches == NULL)
		return -ENOMEM;
	return mmem_space_has_budget(region->space) || mmem_pager_can_write(pager) ?
			blocks_init(region) : 0;
}

void
mmem_pager_fini(struct mmem_region *region)
{
	size_t i;

	if (region->fetches == NULL)
		return;
	for (i = 0; i < mmem_region_nb_blocks(region); i++)
		free(region->fetches[i]);
	free(region->fetches);
	free(region->blocks);
	region->fetches = NULL;
	region->blocks = NULL;
}

uint64_t
mmem_fetch_block_end(const struct mmem_region *region, uint64_t off)
{
	return (off | (region->pager.fetch_size - 1)) + 1;
}

void
mmem_block_switch_pages(struct mmem_pool *pool, uint64_t off, size_t len)
{
	_Atomic uint8_t *page = &pool->pages[off >> MMEM_PAGE_LOG2];
	_Atomic uint8_t *end = page + (len >> MMEM_PAGE_LOG2);

	/*
	 * Pairs with the acquire in mmem_access_check(): a thread that reads the bits of a present
	 * page sees its contents.
	 */
	for (; page < end; page++)
		atomic_fetch_xor_explicit(page, PAGE_ABSENT | PAGE_USED, memory_order_release);
}

static void
log_pager_failure(struct mmem_pool *pool, struct mmem_region *region, uint64_t off, int error,
		bool in_write)
{
	const uint64_t start = mmem_region_off(region);

	if (error > 0 || error < -MAX_ERRNO)
		MMEM_LOG_LIMITED(region->space, "pager returned %d at offset 0x%" PRIx64 " of "
				"region %p, taken as -EIO: return 0 or -errno", error, off - start,
				pool->mem + start);
	else if (in_write)
		MMEM_LOG_LIMITED(region->space, "write-back failed at offset 0x%" PRIx64 " of "
				"region %p: %s: the block stays in memory; make room in the store",
				off - start, pool->mem + start, rte_strerror(-error));
	else
		MMEM_LOG_LIMITED(region->space, "pager failed at offset 0x%" PRIx64 " of region "
				"%p: %s", off - start, pool->mem + start, rte_strerror(-error));
}

/* Wake all waiting accesses. With an error, they are refused, and so are later accesses. */
void
mmem_fetch_wake(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	uint64_t off;
	size_t len;

	fetch->error = error;
	if (fetch->deadline != 0)
		TAILQ_REMOVE(&pool->timed, fetch, next_timed);
	fetch->deadline = 0;
	mmem_waiting_defer(&fetch->groups);
	if (fetch->cpu_waits) {
		mmem_fetch_get_range(fetch, &off, &len);
		if (error == 0)
			mmem_cpu_wake(pool, off, len);
		else
			mmem_cpu_fail(pool, fetch->region, off, error);
	}
	fetch->cpu_waits = false;
	pthread_cond_broadcast(&pool->changed_cond);
}

void
mmem_fetch_set_failed(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	fetch->state = FETCH_FAILED;
	fetch->failed_at = rte_rdtsc();
	mmem_fetch_wake(pool, fetch, error);
}

void
mmem_block_release(struct mmem_pool *pool, uint64_t off, size_t len)
{
	/* Hugepages stay where the driver has looked them up. */
	if (!pool->hugepages)
		madvise(mmem_off_to_dev(pool, off), len, MADV_REMOVE);
}

/* Complete a started fetch. */
void
mmem_fetch_finish(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	struct mmem_region *region = fetch->region;
	uint64_t off;
	size_t len;

	mmem_fetch_get_range(fetch, &off, &len);
	if (fetch->error != 0)
		region->nb_overdue--;
	if (error != 0) {
		if (region->blocks != NULL)
			mmem_block_release(pool, off, len);
		mmem_budget_take(region, fetch->block, -1);
		mmem_fetch_set_failed(pool, fetch, error);
		/* The room is another one's now. */
		mmem_budget_start_fetches(pool);
		return;
	}
	mmem_block_switch_pages(pool, off, len);
	mmem_stat_add(region->space, MMEM_STAT_FILLED, len >> MMEM_PAGE_LOG2);
	if (region->space->hotset.seen != NULL)
		mmem_hotset_add(region->space, off, len);
	if (region->blocks != NULL) {
		if (region->blocks[fetch->block].state & BLOCK_EVICTED)
			mmem_stat_add(region->space, MMEM_STAT_REFILLED, len >> MMEM_PAGE_LOG2);
		region->blocks[fetch->block].state = BLOCK_RESIDENT;
		mmem_evict_add(region, fetch->block, fetch->prefetched);
	}
	region->fetches[fetch->block] = NULL;
	mmem_fetch_wake(pool, fetch, 0);
	free(fetch);
}

/* Apply the result that the pager gave. pool->lock may be released meanwhile. */
void
mmem_fetch_apply_result(struct mmem_pool *pool, struct mmem_fetch *fetch, int rc)
{
	struct mmem_region *region = fetch->region;

	if (rc != 0)
		log_pager_failure(pool, region, mmem_block_off(region, fetch->block), rc,
				fetch->state != FETCH_OPEN);
	/* The fetch may be freed or begin again before start returns. */
	if (fetch->ended_in_start != NULL)
		*fetch->ended_in_start = true;
	fetch->ended_in_start = NULL;
	region->nb_open--;
	region->space->nb_open--;
	if (fetch->state == FETCH_WRITING)
		mmem_fetch_end_write(pool, fetch, rc);
	else if (fetch->state == FETCH_CLEANING)
		mmem_fetch_end_clean(pool, fetch, rc != 0 ? -EIO : 0);
	else
		mmem_fetch_finish(pool, fetch, rc != 0 ? -EIO : 0);
}

struct mmem_fetch *
mmem_fetch_create(struct mmem_region *region, size_t block, enum fetch_state state)
{
	struct mmem_fetch *fetch = region->fetches[block];

	if (fetch == NULL)
		fetch = calloc(1, sizeof(*fetch));
	if (fetch == NULL)
		return NULL;
	fetch->region = region;
	fetch->block = block;
	fetch->state = state;
	fetch->error = 0;
	fetch->prefetched = false;
	region->fetches[block] = fetch;
	return fetch;
}

void
mmem_fetch_dequeue(struct mmem_fetch *fetch)
{
	if (fetch->state == FETCH_CLEAN_QUEUED)
		TAILQ_REMOVE(&fetch->region->cleans, fetch, next);
	else
		TAILQ_REMOVE(&fetch->region->queue, fetch, next);
	if (fetch->state == FETCH_QUEUED)
		mmem_budget_queue(fetch, -1);
}

void
mmem_fetch_set_deadline(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	unsigned int ms = fetch->region->pager.deadline_ms;

	if (ms == 0 || fetch->deadline != 0)
		return;
	fetch->deadline = mmem_now_ns() + ms * UINT64_C(1000000);
	TAILQ_INSERT_TAIL(&pool->timed, fetch, next_timed);
	mmem_control_wake(pool);
}

int
mmem_fetch_enqueue(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	int rc;

	/* Writes first: they need no room, and the fetches behind them may wait for it. */
	if (fetch->state == FETCH_CLEAN_QUEUED)
		TAILQ_INSERT_TAIL(&region->cleans, fetch, next);
	else if (fetch->state == FETCH_WRITE_QUEUED)
		TAILQ_INSERT_HEAD(&region->queue, fetch, next);
	else
		TAILQ_INSERT_TAIL(&region->queue, fetch, next);
	if (fetch->state == FETCH_QUEUED)
		mmem_budget_queue(fetch, 1);
	rc = mmem_region_start_fetches(pool, region);
	if (rc < 0) {
		mmem_fetch_dequeue(fetch);
		mmem_region_update_ready(pool, region);
		return -ENOMEM;
	}
	/* For a write no access waits yet. */
	if (fetch->state == FETCH_QUEUED)
		mmem_fetch_set_deadline(pool, fetch);
	return 0;
}

void
mmem_region_fail_queued(struct mmem_pool *pool, struct mmem_region *region, int error)
{
	struct mmem_fetch *fetch, *after;

	for (fetch = TAILQ_FIRST(&region->queue); fetch != NULL; fetch = after) {
		after = TAILQ_NEXT(fetch, next);
		if (fetch->state != FETCH_QUEUED)
			continue;
		mmem_fetch_dequeue(fetch);
		mmem_fetch_set_failed(pool, fetch, error);
	}
	mmem_region_update_ready(pool, region);
}

/* The first access that waits for a fetch. */
static void
note_access(struct mmem_region *region, const struct mmem_fetch *fetch)
{
	const struct mmem_block *block = &region->blocks[fetch->block];
	struct mmem_throttle *throttle = &region->space->throttle;

	mmem_throttle_note(throttle, block->state & BLOCK_EVICTED ? block->stays_until : 0,
			mmem_now_ns());
	if (mmem_is_throttled(throttle))
		mmem_stat_add(region->space, MMEM_STAT_THROTTLED,
				mmem_block_len(region, fetch->block) >> MMEM_PAGE_LOG2);
}

/* An access waits for the fetch: it goes before those that are made ahead of accesses. */
static void
fetch_set_awaited(struct mmem_region *region, struct mmem_fetch *fetch)
{
	struct mmem_fetch *other;

	if (fetch->prefetched && fetch->state == FETCH_QUEUED) {
		TAILQ_REMOVE(&region->queue, fetch, next);
		TAILQ_FOREACH(other, &region->queue, next)
			if (other->prefetched)
				break;
		if (other != NULL)
			TAILQ_INSERT_BEFORE(other, fetch, next);
		else
			TAILQ_INSERT_TAIL(&region->queue, fetch, next);
	}
	if (fetch->prefetched && region->blocks != NULL)
		note_access(region, fetch);
	fetch->prefetched = false;
}

int
mmem_fetch_begin(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began, uint64_t id)
{
	size_t block = mmem_region_get_block(region, off);
	struct mmem_fetch *fetch = region->fetches[block];
	int rc = 0;

	if (fetch != NULL && mmem_fetch_is_leaving(fetch)) {
		rc = mmem_fetch_wait_leaving(pool, fetch, began);
		if (rc == 0 && id != 0)
			rc = mmem_waiting_add(&fetch->groups, id);
		return rc < 0 ? rc : -EINPROGRESS;
	}
	/* The fetch failed or is past its deadline. */
	if (fetch != NULL && fetch->error != 0 &&
			(fetch->state == FETCH_OPEN || began <= fetch->failed_at))
		return fetch->error;
	if (fetch == NULL || fetch->state == FETCH_FAILED) {
		/*
		 * All threads of the region are in a late fill or start: do not wait for another
		 * deadline.
		 */
		if (region->nb_overdue >= region->pager.nb_threads && region->nb_threads >=
				region->pager.nb_threads)
			return -ETIMEDOUT;
		fetch = mmem_fetch_create(region, block, FETCH_QUEUED);
		if (fetch == NULL)
			return -ENOMEM;
		fetch->prefetched = true;
		rc = mmem_fetch_enqueue(pool, fetch);
		if (rc < 0) {
			region->fetches[block] = NULL;
			free(fetch);
			return rc;
		}
	}
	if (id == 0)
		return -EINPROGRESS;
	fetch_set_awaited(region, fetch);
	rc = mmem_waiting_add(&fetch->groups, id);
	return rc < 0 ? rc : -EINPROGRESS;
}

struct mmem_fetch *
mmem_fetch_wait(struct mmem_region *region, uint64_t off)
{
	struct mmem_fetch *fetch = region->fetches[mmem_region_get_block(region, off)];

	fetch_set_awaited(region, fetch);
	return fetch;
}

int
mmem_fetch_begin_cpu(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began)
{
	int rc = mmem_fetch_begin(pool, region, off, began, 0);

	if (rc == -EINPROGRESS)
		mmem_fetch_wait(region, off)->cpu_waits = true;
	return rc;
}

void
mmem_region_cancel_fetches(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch;
	size_t i;

	while ((fetch = TAILQ_FIRST(&region->queue)) != NULL) {
		mmem_fetch_dequeue(fetch);
		if (fetch->state == FETCH_WRITE_QUEUED)
			mmem_fetch_stay(pool, fetch);
		else
			mmem_fetch_set_failed(pool, fetch, -EIO);
	}
	while ((fetch = TAILQ_FIRST(&region->cleans)) != NULL) {
		mmem_fetch_dequeue(fetch);
		mmem_fetch_end_clean(pool, fetch, -EIO);
	}
	mmem_region_update_ready(pool, region);
	for (i = 0; (region->nb_open != 0 || region->nb_leaving != 0) &&
			i < mmem_region_nb_blocks(region); i++)
		if (region->fetches[i] != NULL)
			mmem_waiting_defer(&region->fetches[i]->groups);
	pthread_cond_broadcast(&pool->changed_cond);
}

uint64_t
mmem_fetches_expire(struct mmem_pool *pool)
{
	uint64_t now = mmem_now_ns(), next = 0;
	struct mmem_fetch *fetch, *after;

	for (fetch = TAILQ_FIRST(&pool->timed); fetch != NULL; fetch = after) {
		after = TAILQ_NEXT(fetch, next_timed);
		if (fetch->deadline > now) {
			if (next == 0 || fetch->deadline < next)
				next = fetch->deadline;
		} else if (mmem_fetch_is_leaving(fetch)) {
			fetch->failed_at = rte_rdtsc();
			mmem_fetch_wake(pool, fetch, -ETIMEDOUT);
		} else if (fetch->state == FETCH_QUEUED) {
			mmem_fetch_dequeue(fetch);
			mmem_region_update_ready(pool, fetch->region);
			mmem_fetch_set_failed(pool, fetch, -ETIMEDOUT);
		} else {
			fetch->region->nb_overdue++;
			mmem_fetch_wake(pool, fetch, -ETIMEDOUT);
		}
	}
	return next;
}

void
mmem_write_done(struct mmem_write *write, int error)
{
	mmem_fetch_done((struct mmem_fetch *)write, error);
}

void
mmem_fetch_done(struct mmem_fetch *fetch, int error)
{
	struct mmem_pool *pool;

	if (fetch == NULL)
		return;
	pool = fetch->region->space->pool;
	pthread_mutex_lock(&pool->lock);
	mmem_fetch_apply_result(pool, fetch, error);
	pthread_mutex_unlock(&pool->lock);
}
