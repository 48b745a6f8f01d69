/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Fetches of contents through pagers.
 *
 *	begin --> region's queue --> thread: populate, fill or start --> done
 *	                                                  '--> mmem_fetch_done()
 *
 * A fetch has one block: pager.fetch_size bytes. Groups and threads wait for it: the groups are
 * deferred again when it ends, the threads wait for pool->changed_cond. fill and start run on fetch
 * threads of the pool, outside all locks. A region has at most pager.nb_threads of them, so
 * that a pager that does not return blocks only these. A fetch thread is created when a region is
 * ready and no thread is idle, and ends after LINGER_NS idle.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <sys/mman.h>

#include <rte_cycles.h>

#include <iopf_support.h>

#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_evict.h"
#include "mmem_fetch.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"
#include "mmem_waiting.h"

/* The largest errno. */
#define MAX_ERRNO	4095
/* An idle fetch thread ends after this time. */
#define LINGER_NS	UINT64_C(2000000000)
/* A block whose write failed stays so long. */
#define WRITE_AGAIN_NS	UINT64_C(1000000000)

/*
 * Regions
 */

/* The region counts in a budget. */
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
	if ((size & (size - 1)) || size < MMEM_PAGE_SIZE || size > MMEM_CHUNK_SIZE) {
		MMEM_LOG_LIMITED(region->space, "fetch_size %zu of a pager: use a power of two "
				"from 4 KiB to 2 MiB", size);
		return -EINVAL;
	}
	region->pager = *pager;
	region->pager.fetch_size = size;
	region->pager.nb_threads = pager->nb_threads ? pager->nb_threads : 1;
	TAILQ_INIT(&region->queue);
	region->fetches = calloc(mmem_region_nb_blocks(region), sizeof(*region->fetches));
	if (region->fetches == NULL)
		return -ENOMEM;
	return mmem_space_has_budget(region->space) ? blocks_init(region) : 0;
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

/*
 * Threads
 */

static void
region_clear_ready(struct mmem_pool *pool, struct mmem_region *region)
{
	if (region->ready)
		TAILQ_REMOVE(&pool->ready, region, next_ready);
	region->ready = false;
}

/* Put the region on the list of regions that may start a fetch, or take it off. */
static void
region_update_ready(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch = TAILQ_FIRST(&region->queue);
	bool ready = fetch != NULL && region->nb_threads < region->pager.nb_threads;

	if (ready && !mmem_budget_has_room(fetch)) {
		ready = false;
		mmem_evict_wake(pool);
	}

	if (ready && !region->ready)
		TAILQ_INSERT_TAIL(&pool->ready, region, next_ready);
	if (ready)
		region->ready = true;
	else
		region_clear_ready(pool, region);
}

static void
log_pager_failure(struct mmem_pool *pool, struct mmem_region *region, uint64_t off, int error)
{
	const uint64_t start = mmem_region_off(region);

	if (error > 0 || error < -MAX_ERRNO)
		MMEM_LOG_LIMITED(region->space, "pager returned %d at offset 0x%" PRIx64 " of "
				"region %p, taken as -EIO: return 0 or -errno", error, off - start,
				pool->mem + start);
	else
		MMEM_LOG_LIMITED(region->space, "pager failed at offset 0x%" PRIx64 " of region "
				"%p: %s", off - start, pool->mem + start, rte_strerror(-error));
}

static void
fetch_get_range(const struct mmem_fetch *fetch, uint64_t *off, size_t *len)
{
	*off = mmem_block_off(fetch->region, fetch->block);
	*len = mmem_block_len(fetch->region, fetch->block);
}

/* Wake all waiting accesses. With an error, they are refused, and so are later accesses. */
static void
fetch_wake_waiters(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	uint64_t off;
	size_t len;

	fetch->error = error;
	if (fetch->deadline != 0)
		TAILQ_REMOVE(&pool->timed, fetch, next_timed);
	fetch->deadline = 0;
	mmem_waiting_defer(&fetch->groups);
	if (fetch->cpu_waits) {
		fetch_get_range(fetch, &off, &len);
		if (error == 0)
			mmem_cpu_wake(pool, off, len);
		else
			mmem_cpu_fail(pool, fetch->region, off, error);
	}
	fetch->cpu_waits = false;
	pthread_cond_broadcast(&pool->changed_cond);
}

static void
fetch_set_failed(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	fetch->state = FETCH_FAILED;
	fetch->failed_at = rte_rdtsc();
	fetch_wake_waiters(pool, fetch, error);
}

static int fetch_enqueue(struct mmem_pool *pool, struct mmem_fetch *fetch);
static void fetch_dequeue(struct mmem_fetch *fetch);
static int fetcher_wake_or_create(struct mmem_pool *pool);

void
mmem_block_release(struct mmem_pool *pool, uint64_t off, size_t len)
{
	madvise(pool->dev + off, len, MADV_REMOVE);
}

/* Complete a started fetch. */
static void
fetch_finish(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	struct mmem_region *region = fetch->region;
	uint64_t off;
	size_t len;

	fetch_get_range(fetch, &off, &len);
	if (fetch->error != 0)
		region->nb_overdue--;
	if (error != 0) {
		if (region->blocks != NULL)
			mmem_block_release(pool, off, len);
		mmem_budget_take(region, fetch->block, -1);
		fetch_set_failed(pool, fetch, error);
		mmem_evict_wake(pool);
		return;
	}
	mmem_block_switch_pages(pool, off, len);
	mmem_stat_add(region->space, MMEM_STAT_FILLED, len >> MMEM_PAGE_LOG2);
	if (region->blocks != NULL) {
		if (region->blocks[fetch->block].state & BLOCK_EVICTED)
			mmem_stat_add(region->space, MMEM_STAT_REFILLED, len >> MMEM_PAGE_LOG2);
		region->blocks[fetch->block].state = BLOCK_RESIDENT;
		mmem_evict_add(region, fetch->block, fetch->prefetched);
	}
	region->fetches[fetch->block] = NULL;
	fetch_wake_waiters(pool, fetch, 0);
	free(fetch);
}

/* A block that was to leave stays, or has left. */
static void
leaving_end(struct mmem_pool *pool, struct mmem_fetch *fetch, bool left)
{
	struct mmem_region *region = fetch->region;
	bool wanted = fetch->wanted && left && !region->hidden;

	region->nb_leaving--;
	mmem_budget_leave(region, fetch->block, -1);
	mmem_evict_end(region, fetch->block, left);
	fetch->wanted = false;
	if (wanted) {
		fetch->state = FETCH_QUEUED;
		fetch->error = 0;
		if (fetch_enqueue(pool, fetch) < 0)
			fetch_set_failed(pool, fetch, -ENOMEM);
	} else {
		region->fetches[fetch->block] = NULL;
		fetch_wake_waiters(pool, fetch, 0);
		free(fetch);
	}
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
	mmem_budget_take(region, fetch->block, -1);
	leaving_end(pool, fetch, true);
	mmem_budget_start_fetches(pool);
}

void
mmem_fetch_stay(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	uint64_t off;
	size_t len;

	fetch_get_range(fetch, &off, &len);
	mmem_block_switch_pages(pool, off, len);
	leaving_end(pool, fetch, false);
}

/* The write of a leaving block has ended. pool->lock is released meanwhile. */
static void
write_finish(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	struct mmem_region *region = fetch->region;
	uint64_t off;
	size_t len;

	fetch_get_range(fetch, &off, &len);
	if (error != 0) {
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

/* Apply the result that the pager gave. pool->lock may be released meanwhile. */
static void
fetch_apply_result(struct mmem_pool *pool, struct mmem_fetch *fetch, int rc)
{
	struct mmem_region *region = fetch->region;

	if (rc != 0)
		log_pager_failure(pool, region, mmem_block_off(region, fetch->block), rc);
	/* The fetch may be freed or begin again before start returns. */
	if (fetch->ended_in_start != NULL)
		*fetch->ended_in_start = true;
	fetch->ended_in_start = NULL;
	region->nb_open--;
	region->space->nb_open--;
	if (fetch->state == FETCH_WRITING)
		write_finish(pool, fetch, rc);
	else
		fetch_finish(pool, fetch, rc != 0 ? -EIO : 0);
}

/* Give the block of a fetch memory. Called under pool->lock, which is released meanwhile. */
static int
fetch_populate(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	uint64_t off;
	size_t len;
	int rc;

	fetch_get_range(fetch, &off, &len);
	if (region->blocks == NULL)
		return mmem_pool_populate_chunk(pool, &pool->chunks[off >> MMEM_CHUNK_LOG2]);
	pthread_mutex_unlock(&pool->lock);
	rc = mmem_populate(pool, off, len);
	pthread_mutex_lock(&pool->lock);
	return rc;
}

/* Call fill, start or write. Under pool->lock, which is released meanwhile. */
static void
fetch_call_pager(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	const struct mmem_pager *pager = &region->pager;
	bool ended = false, sync = pager->fill != NULL;
	uint64_t off, at;
	size_t len;
	int rc;

	fetch_get_range(fetch, &off, &len);
	at = off - mmem_region_off(region);
	fetch->ended_in_start = &ended;
	mmem_self.paging = region;
	if (fetch->state == FETCH_WRITING) {
		sync = true;
		pthread_mutex_unlock(&pool->lock);
		rc = pager->write(pager->ctx, at, pool->dev + off, len);
	} else if (sync) {
		pthread_mutex_unlock(&pool->lock);
		rc = pager->fill(pager->ctx, at, pool->dev + off, len);
	} else {
		pthread_mutex_unlock(&pool->lock);
		rc = pager->start(pager->ctx, fetch, at, pool->dev + off, len);
	}
	mmem_self.paging = NULL;
	pthread_mutex_lock(&pool->lock);
	if (!ended)
		fetch->ended_in_start = NULL;
	if (!ended && (sync || rc != 0))
		fetch_apply_result(pool, fetch, rc);
	else if (rc != 0)
		MMEM_LOG_LIMITED(region->space, "start of a pager returned %d after "
				"mmem_fetch_done() at offset 0x%" PRIx64 " of region %p: "
				"ignored; return 0", rc, at, pool->mem + mmem_region_off(region));
}


/* Run the first fetch of a region's queue. Called under pool->lock, which is released meanwhile. */
static void
region_run_fetch(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch = TAILQ_FIRST(&region->queue);
	int rc = 0;

	/* Another region has taken the room. */
	if (!mmem_budget_has_room(fetch)) {
		region_update_ready(pool, region);
		return;
	}
	fetch_dequeue(fetch);
	region->nb_open++;
	region->space->nb_open++;
	region->nb_threads++;
	if (fetch->state == FETCH_QUEUED)
		mmem_budget_take(region, fetch->block, 1);
	fetch->state = fetch->state == FETCH_QUEUED ? FETCH_OPEN : FETCH_WRITING;
	region_update_ready(pool, region);
	if (region->ready)	/* Without another thread, this one runs the next fetch later. */
		fetcher_wake_or_create(pool);
	if (fetch->state == FETCH_OPEN)
		rc = fetch_populate(pool, fetch);
	if (rc == 0) {
		fetch_call_pager(pool, fetch);
	} else {
		region->nb_open--;
		region->space->nb_open--;
		fetch_finish(pool, fetch, rc);
	}
	region->nb_threads--;
	region_update_ready(pool, region);
	/* A free waits for the last thread to leave. */
	pthread_cond_broadcast(&pool->changed_cond);
}

static void *
fetcher_main(void *arg)
{
	struct mmem_pool *pool = arg;
	struct mmem_region *region;
	struct timespec until;
	int rc = 0;

	pthread_detach(pthread_self());
	pthread_mutex_lock(&pool->lock);
	while (!pool->quit) {
		region = TAILQ_FIRST(&pool->ready);
		if (region != NULL) {
			region_clear_ready(pool, region);
			region_run_fetch(pool, region);
			rc = 0;
			continue;
		}
		if (rc == ETIMEDOUT)
			break;
		until = mmem_ns_to_timespec(mmem_now_ns() + LINGER_NS);
		pool->nb_idle++;
		rc = pthread_cond_timedwait(&pool->fetch_cond, &pool->lock, &until);
		pool->nb_idle--;
		if (pool->nb_woken != 0)
			pool->nb_woken--;
	}
	pool->nb_fetchers--;
	pthread_cond_broadcast(&pool->changed_cond);
	/*
	 * Last access to the pool: mmem_fetchers_stop() takes this lock before the pool is freed.
	 */
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Wake an idle thread for a ready region, or create one. Returns 0, or -errno: no thread comes. */
static int
fetcher_wake_or_create(struct mmem_pool *pool)
{
	pthread_t thread;
	int rc;

	/* A signalled thread counts as idle until it has the lock; do not signal it again. */
	if (pool->nb_idle > pool->nb_woken) {
		pool->nb_woken++;
		pthread_cond_signal(&pool->fetch_cond);
		return 0;
	}
	rc = iopf_thread_create(&thread, "mmem-fetch", fetcher_main, pool);
	if (rc == 0)
		pool->nb_fetchers++;
	/* Busy threads look for ready regions when fill or start returns. */
	return pool->nb_fetchers != 0 ? 0 : rc;
}

void
mmem_fetchers_stop(struct mmem_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->fetch_cond);
	while (pool->nb_fetchers != 0)
		pthread_cond_wait(&pool->changed_cond, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

/*
 * Fetches
 */

static struct mmem_fetch *
fetch_create(struct mmem_region *region, size_t block, enum fetch_state state)
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
	fetch->wanted = fetch->prefetched = false;
	region->fetches[block] = fetch;
	return fetch;
}

static void
fetch_dequeue(struct mmem_fetch *fetch)
{
	TAILQ_REMOVE(&fetch->region->queue, fetch, next);
	if (fetch->state == FETCH_QUEUED)
		mmem_budget_queue(fetch, -1);
}

static void
fetch_set_deadline(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	unsigned int ms = fetch->region->pager.deadline_ms;

	if (ms == 0 || fetch->deadline != 0 || fetch->state == FETCH_WRITE_QUEUED)
		return;
	fetch->deadline = mmem_now_ns() + ms * UINT64_C(1000000);
	TAILQ_INSERT_TAIL(&pool->timed, fetch, next_timed);
	mmem_control_wake(pool);
}

static int
fetch_enqueue(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	int rc;

	/* Writes first: they make room. */
	if (fetch->state == FETCH_WRITE_QUEUED)
		TAILQ_INSERT_HEAD(&region->queue, fetch, next);
	else
		TAILQ_INSERT_TAIL(&region->queue, fetch, next);
	if (fetch->state == FETCH_QUEUED)
		mmem_budget_queue(fetch, 1);
	rc = mmem_region_start_fetches(pool, region);
	if (rc < 0) {
		fetch_dequeue(fetch);
		region_update_ready(pool, region);
		return -ENOMEM;
	}
	fetch_set_deadline(pool, fetch);
	return 0;
}

int
mmem_region_start_fetches(struct mmem_pool *pool, struct mmem_region *region)
{
	bool was_ready = region->ready;
	int rc;

	region_update_ready(pool, region);
	if (!region->ready || was_ready)
		return 0;
	rc = fetcher_wake_or_create(pool);
	if (rc < 0)
		MMEM_LOG_LIMITED(region->space, "cannot create a fetch thread: %s: raise "
				"RLIMIT_NPROC (ulimit -u) or the control group's pids.max",
				rte_strerror(-rc));
	return rc;
}

void
mmem_region_fail_queued(struct mmem_pool *pool, struct mmem_region *region, int error)
{
	struct mmem_fetch *fetch, *after;

	for (fetch = TAILQ_FIRST(&region->queue); fetch != NULL; fetch = after) {
		after = TAILQ_NEXT(fetch, next);
		if (fetch->state != FETCH_QUEUED)
			continue;
		fetch_dequeue(fetch);
		fetch_set_failed(pool, fetch, error);
	}
	region_update_ready(pool, region);
}

struct mmem_fetch *
mmem_fetch_leave(struct mmem_region *region, size_t block)
{
	struct mmem_fetch *fetch = fetch_create(region, block, FETCH_LEAVING);

	if (fetch != NULL) {
		region->nb_leaving++;
		mmem_budget_leave(region, block, 1);
	}
	return fetch;
}

void
mmem_fetch_write(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	fetch->state = FETCH_WRITE_QUEUED;
	/* Without a thread the block stays; the evictor tries again. */
	if (fetch->region->hidden || fetch_enqueue(pool, fetch) < 0)
		mmem_fetch_stay(pool, fetch);
}

/* An access waits for the end of an eviction. */
static int
leaving_wait(struct mmem_pool *pool, struct mmem_fetch *fetch, uint64_t began)
{
	if (fetch->error != 0 && began <= fetch->failed_at)
		return fetch->error;
	fetch->error = 0;
	fetch->wanted = true;
	if (fetch->deadline == 0)
		fetch_set_deadline(pool, fetch);
	return 0;
}

int
mmem_fetch_begin(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began, uint64_t id)
{
	size_t block = mmem_region_get_block(region, off);
	struct mmem_fetch *fetch = region->fetches[block];
	int rc = 0;

	if (fetch != NULL && mmem_fetch_is_leaving(fetch)) {
		rc = leaving_wait(pool, fetch, began);
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
		fetch = fetch_create(region, block, FETCH_QUEUED);
		if (fetch == NULL)
			return -ENOMEM;
		rc = fetch_enqueue(pool, fetch);
		if (rc < 0) {
			region->fetches[block] = NULL;
			free(fetch);
			return rc;
		}
	}
	rc = id != 0 ? mmem_waiting_add(&fetch->groups, id) : 0;
	return rc < 0 ? rc : -EINPROGRESS;
}

int
mmem_fetch_begin_cpu(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began)
{
	int rc = mmem_fetch_begin(pool, region, off, began, 0);

	if (rc == -EINPROGRESS)
		region->fetches[mmem_region_get_block(region, off)]->cpu_waits = true;
	return rc;
}

void
mmem_region_cancel_fetches(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch;
	size_t i;

	while ((fetch = TAILQ_FIRST(&region->queue)) != NULL) {
		fetch_dequeue(fetch);
		if (fetch->state == FETCH_WRITE_QUEUED)
			mmem_fetch_stay(pool, fetch);
		else
			fetch_set_failed(pool, fetch, -EIO);
	}
	region_update_ready(pool, region);
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
			fetch->wanted = false;
			fetch->failed_at = rte_rdtsc();
			fetch_wake_waiters(pool, fetch, -ETIMEDOUT);
		} else if (fetch->state == FETCH_QUEUED) {
			fetch_dequeue(fetch);
			region_update_ready(pool, fetch->region);
			fetch_set_failed(pool, fetch, -ETIMEDOUT);
		} else {
			fetch->region->nb_overdue++;
			fetch_wake_waiters(pool, fetch, -ETIMEDOUT);
		}
	}
	return next;
}

void
mmem_fetch_done(struct mmem_fetch *fetch, int error)
{
	struct mmem_pool *pool;

	if (fetch == NULL)
		return;
	pool = fetch->region->space->pool;
	pthread_mutex_lock(&pool->lock);
	fetch_apply_result(pool, fetch, error);
	pthread_mutex_unlock(&pool->lock);
}
