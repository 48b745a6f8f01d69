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

#include <rte_cycles.h>

#include <iopf_support.h>

#include "mmem_clock.h"
#include "mmem_cpu.h"
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

enum fetch_state {
	FETCH_QUEUED,
	FETCH_OPEN,		/* a thread has taken it; not completed */
	FETCH_FAILED,		/* kept to refuse the accesses that began before it failed */
};

struct mmem_fetch {
	TAILQ_ENTRY(mmem_fetch) next;	/* in the region's queue */
	TAILQ_ENTRY(mmem_fetch) next_timed;
	struct mmem_region *region;
	size_t block;
	enum fetch_state state;
	int error;			/* the error for accesses, or 0: they wait */
	uint64_t failed_at;		/* rte_rdtsc() */
	uint64_t deadline;		/* mmem_now_ns(), or 0 */
	struct mmem_waiting groups;
	bool cpu_waits;			/* a CPU access waits for it */
	bool *ended_in_start;		/* of the thread in start, or NULL */
};

/*
 * Regions
 */

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
	region->fetches = calloc((region->size + size - 1) / size, sizeof(*region->fetches));
	return region->fetches ? 0 : -ENOMEM;
}

void
mmem_pager_fini(struct mmem_region *region)
{
	size_t i;

	if (region->fetches == NULL)
		return;
	for (i = 0; i < (region->size + region->pager.fetch_size - 1) / region->pager.fetch_size;
			i++)
		free(region->fetches[i]);
	free(region->fetches);
	region->fetches = NULL;
}

uint64_t
mmem_fetch_block_end(const struct mmem_region *region, uint64_t off)
{
	return (off | (region->pager.fetch_size - 1)) + 1;
}

/* Publish the contents of a block: a thread that reads the page's bits sees its contents. */
static void
pages_set_present(struct mmem_pool *pool, uint64_t off, size_t len)
{
	_Atomic uint8_t *page = &pool->pages[off >> MMEM_PAGE_LOG2];
	_Atomic uint8_t *end = page + (len >> MMEM_PAGE_LOG2);

	for (; page < end; page++)	/* Pairs with the acquire in mmem_access_check(). */
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
	bool ready = !TAILQ_EMPTY(&region->queue) && region->nb_threads < region->pager.nb_threads;

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
	const struct mmem_region *region = fetch->region;
	uint64_t in_region = fetch->block * region->pager.fetch_size;

	*off = mmem_region_off(region) + in_region;
	*len = RTE_MIN(region->size - in_region, region->pager.fetch_size);
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

/* Complete a started fetch. */
static void
fetch_finish(struct mmem_pool *pool, struct mmem_fetch *fetch, int error)
{
	struct mmem_region *region = fetch->region;
	uint64_t off;
	size_t len;

	fetch_get_range(fetch, &off, &len);
	/* The fetch may be freed or begin again before start returns. */
	if (fetch->ended_in_start != NULL)
		*fetch->ended_in_start = true;
	fetch->ended_in_start = NULL;
	region->nb_open--;
	if (fetch->error != 0)
		region->nb_overdue--;
	if (error != 0) {
		fetch_set_failed(pool, fetch, error);
		return;
	}
	pages_set_present(pool, off, len);
	mmem_stat_add(region->space, MMEM_STAT_FILLED, len >> MMEM_PAGE_LOG2);
	region->fetches[fetch->block] = NULL;
	fetch_wake_waiters(pool, fetch, 0);
	free(fetch);
}

/* Apply the result that the pager gave. */
static void
fetch_apply_result(struct mmem_pool *pool, struct mmem_fetch *fetch, int rc)
{
	uint64_t off;
	size_t len;

	if (rc != 0) {
		fetch_get_range(fetch, &off, &len);
		log_pager_failure(pool, fetch->region, off, rc);
	}
	fetch_finish(pool, fetch, rc != 0 ? -EIO : 0);
}

static int fetcher_wake_or_create(struct mmem_pool *pool);

/* Run the first fetch of a region's queue. Called under pool->lock, which is released meanwhile. */
static void
region_run_fetch(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch = TAILQ_FIRST(&region->queue);
	const struct mmem_pager *pager = &region->pager;
	bool ended = false;
	uint64_t off;
	size_t len;
	int rc;

	TAILQ_REMOVE(&region->queue, fetch, next);
	fetch->state = FETCH_OPEN;
	region->nb_open++;
	region->nb_threads++;
	region_update_ready(pool, region);
	if (region->ready)	/* Without another thread, this one runs the next fetch later. */
		fetcher_wake_or_create(pool);
	fetch_get_range(fetch, &off, &len);
	rc = mmem_pool_populate_chunk(pool, &pool->chunks[off >> MMEM_CHUNK_LOG2]);
	if (rc < 0) {
		fetch_finish(pool, fetch, rc);
	} else {
		fetch->ended_in_start = &ended;
		pthread_mutex_unlock(&pool->lock);
		mmem_self.paging = region;
		if (pager->fill != NULL)
			rc = pager->fill(pager->ctx, off - mmem_region_off(region),
					pool->dev + off, len);
		else
			rc = pager->start(pager->ctx, fetch, off - mmem_region_off(region),
					pool->dev + off, len);
		mmem_self.paging = NULL;
		pthread_mutex_lock(&pool->lock);
		if (!ended)
			fetch->ended_in_start = NULL;
		if (!ended && (pager->fill != NULL || rc != 0))
			fetch_apply_result(pool, fetch, rc);
		else if (rc != 0)
			MMEM_LOG_LIMITED(region->space, "start of a pager returned %d after "
					"mmem_fetch_done() at offset 0x%" PRIx64 " of region %p: "
					"ignored; return 0", rc, off - mmem_region_off(region),
					pool->mem + mmem_region_off(region));
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
fetch_create(struct mmem_region *region, size_t block)
{
	struct mmem_fetch *fetch = region->fetches[block];

	if (fetch == NULL)
		fetch = calloc(1, sizeof(*fetch));
	if (fetch == NULL)
		return NULL;
	fetch->region = region;
	fetch->block = block;
	fetch->state = FETCH_QUEUED;
	fetch->error = 0;
	region->fetches[block] = fetch;
	return fetch;
}

static int
fetch_enqueue(struct mmem_pool *pool, struct mmem_fetch *fetch)
{
	struct mmem_region *region = fetch->region;
	bool was_ready = region->ready;
	int rc;

	TAILQ_INSERT_TAIL(&region->queue, fetch, next);
	region_update_ready(pool, region);
	if (region->ready && !was_ready) {
		rc = fetcher_wake_or_create(pool);
		if (rc < 0) {
			MMEM_LOG_LIMITED(region->space, "cannot create a fetch thread: %s: raise "
					"RLIMIT_NPROC (ulimit -u) or the control group's pids.max",
					rte_strerror(-rc));
			TAILQ_REMOVE(&region->queue, fetch, next);
			region_update_ready(pool, region);
			return -ENOMEM;
		}
	}
	if (region->pager.deadline_ms != 0) {
		fetch->deadline = mmem_now_ns() + region->pager.deadline_ms * UINT64_C(1000000);
		TAILQ_INSERT_TAIL(&pool->timed, fetch, next_timed);
		mmem_control_wake(pool);
	}
	return 0;
}

int
mmem_fetch_begin(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began, uint64_t id)
{
	size_t block = (off - mmem_region_off(region)) / region->pager.fetch_size;
	struct mmem_fetch *fetch = region->fetches[block];
	int rc;

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
		fetch = fetch_create(region, block);
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
		region->fetches[(off - mmem_region_off(region)) / region->pager.fetch_size]
				->cpu_waits = true;
	return rc;
}

void
mmem_region_cancel_fetches(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_fetch *fetch;
	size_t i;

	while ((fetch = TAILQ_FIRST(&region->queue)) != NULL) {
		TAILQ_REMOVE(&region->queue, fetch, next);
		fetch_set_failed(pool, fetch, -EIO);
	}
	region_update_ready(pool, region);
	for (i = 0; region->nb_open != 0 && i < (region->size + region->pager.fetch_size - 1) /
			region->pager.fetch_size; i++)
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
		} else if (fetch->state == FETCH_QUEUED) {
			TAILQ_REMOVE(&fetch->region->queue, fetch, next);
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
