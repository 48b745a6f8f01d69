/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Fetch threads. They run fill, start and write of pagers, outside all locks. A region has at most
 * pager.nb_threads of them, so that a pager that does not return blocks only these. A thread is
 * created when a region is ready and no thread is idle, and ends after LINGER_NS idle. A region is
 * ready if it has a queued fetch, a free thread, and room in the budgets.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include <iopf_support.h>

#include "mmem_block.h"
#include "mmem_budget.h"
#include "mmem_clock.h"
#include "mmem_evict.h"
#include "mmem_fetch.h"
#include "mmem_frame.h"
#include "mmem_pager.h"
#include "mmem_populate.h"
#include "mmem_space.h"
#include "mmem_thread.h"

/* An idle fetch thread ends after this time. */
#define LINGER_NS	UINT64_C(2000000000)

static void *fetcher_main(void *arg);

static void
region_clear_ready(struct mmem_pool *pool, struct mmem_region *region)
{
	if (region->ready)
		TAILQ_REMOVE(&pool->ready, region, next_ready);
	region->ready = false;
}

/*
 * The fetch or write to start next, or NULL. Writes of mmem_sync() take turns with the others: an
 * access waits for one of them, and they wait for one fetch.
 */
static struct mmem_fetch *
region_get_next(const struct mmem_region *region)
{
	struct mmem_fetch *fetch = TAILQ_FIRST(&region->queue);
	struct mmem_fetch *clean = TAILQ_FIRST(&region->cleans);

	/* While a chunk moves only evictions that have begun go on. */
	if (region->moving)
		return fetch != NULL && fetch->state == FETCH_WRITE_QUEUED ? fetch : NULL;
	if (fetch == NULL || !mmem_budget_has_room(fetch))
		return clean;
	return clean != NULL && region->is_clean_next ? clean : fetch;
}

/* Put the region on the list of regions that may start a fetch, or take it off. */
void
mmem_region_update_ready(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch = TAILQ_FIRST(&region->queue);
	bool ready = region_get_next(region) != NULL &&
			region->nb_threads < region->pager.nb_threads;

	if (fetch != NULL && !mmem_budget_has_room(fetch))
		mmem_evict_wake(pool);

	if (ready && !region->ready)
		TAILQ_INSERT_TAIL(&pool->ready, region, next_ready);
	if (ready)
		region->ready = true;
	else
		region_clear_ready(pool, region);
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

int
mmem_region_start_fetches(struct mmem_pool *pool, struct mmem_region *region)
{
	bool was_ready = region->ready;
	int rc;

	mmem_region_update_ready(pool, region);
	if (!region->ready || was_ready)
		return 0;
	rc = fetcher_wake_or_create(pool);
	if (rc < 0)
		MMEM_LOG_LIMITED(region->space, "cannot create a fetch thread: %s: raise "
				"RLIMIT_NPROC (ulimit -u) or the control group's pids.max",
				rte_strerror(-rc));
	return rc;
}

/* Give the block of a fetch memory. Called under pool->lock, which is released meanwhile. */
static int
fetch_populate(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	uint64_t off;
	size_t len;
	int rc;

	mmem_fetch_get_range(fetch, &off, &len);
	if (region->blocks == NULL)
		return mmem_pool_populate_chunk(pool, &pool->chunks[off >> MMEM_CHUNK_LOG2]);
	pthread_mutex_unlock(&pool->lock);
	rc = mmem_populate(pool, off, len);
	pthread_mutex_lock(&pool->lock);
	return rc;
}

/* Call fill, start, write or write_start. *waits: the call was the whole fetch or write. */
static int
call_pager(const struct mmem_pager *pager, struct mmem_fetch *fetch, bool writes, uint64_t at,
		uint8_t *bytes, size_t len, bool *waits)
{
	*waits = writes ? pager->write != NULL : pager->fill != NULL;
	if (writes && *waits)
		return pager->write(pager->ctx, at, bytes, len);
	/* struct mmem_write is the fetch, by another name. */
	if (writes)
		return pager->write_start(pager->ctx, (struct mmem_write *)fetch, at, bytes, len);
	if (*waits)
		return pager->fill(pager->ctx, at, bytes, len);
	return pager->start(pager->ctx, fetch, at, bytes, len);
}

/* Start a fetch or write, and end it if the pager has. pool->lock is released meanwhile. */
static void
fetch_call_pager(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	const struct mmem_pager *pager = &region->pager;
	bool writes = fetch->state != FETCH_OPEN, ended = false, waits;
	uint64_t off, at;
	size_t len;
	int rc;

	mmem_fetch_get_range(fetch, &off, &len);
	at = off - mmem_region_off(region);
	fetch->ended_in_start = &ended;
	mmem_self.paging = region;
	pthread_mutex_unlock(&pool->lock);
	rc = call_pager(pager, fetch, writes, at, mmem_off_to_dev(pool, off), len, &waits);
	mmem_self.paging = NULL;
	pthread_mutex_lock(&pool->lock);
	if (!ended)
		fetch->ended_in_start = NULL;
	if (!ended && (waits || rc != 0))
		mmem_fetch_apply_result(pool, fetch, rc);
	else if (rc != 0)
		MMEM_LOG_LIMITED(region->space, "%s of a pager returned %d after %s() at offset "
				"0x%" PRIx64 " of region %p: ignored; return 0",
				writes ? "write_start" : "start", rc,
				writes ? "mmem_write_done" : "mmem_fetch_done", at,
				pool->mem + mmem_region_off(region));
}

/* Run the first fetch of a region's queue. Called under pool->lock, which is released meanwhile. */
static void
region_run_fetch(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch = region_get_next(region);
	int rc = 0;

	/* Another region has taken the room. */
	if (fetch == NULL) {
		mmem_region_update_ready(pool, region);
		return;
	}
	region->is_clean_next = !mmem_fetch_is_cleaning(fetch);
	mmem_fetch_dequeue(fetch);
	region->nb_open++;
	region->space->nb_open++;
	region->nb_threads++;
	if (fetch->state == FETCH_QUEUED)
		mmem_budget_take(region, fetch->block, 1);
	fetch->state++;	/* QUEUED to OPEN, and the two of writes alike */
	mmem_region_update_ready(pool, region);
	if (region->ready)	/* Without another thread, this one runs the next fetch later. */
		fetcher_wake_or_create(pool);
	if (fetch->state == FETCH_OPEN)
		rc = fetch_populate(pool, fetch);
	if (rc == 0) {
		fetch_call_pager(pool, fetch);
	} else {
		region->nb_open--;
		region->space->nb_open--;
		mmem_fetch_finish(pool, fetch, rc);
	}
	region->nb_threads--;
	mmem_region_update_ready(pool, region);
	/* A free waits for the last thread to leave. */
	pthread_cond_broadcast(&pool->changed_cond);
}

static void *
fetcher_main(void *arg)
{
	struct mmem_pool *pool = arg;
	struct mmem_region *region;
	struct timespec until;
	sigset_t set;
	int rc = 0;

	/* A write beyond RLIMIT_FSIZE returns EFBIG. */
	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
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
