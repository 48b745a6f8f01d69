/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Prefetches that their caller does not wait for.
 *
 * One thread of the pool makes all of them. It never waits for one pager: a prefetch that needs
 * contents starts fetches, a limited number ahead of the page that it maps next, and the thread
 * continues with the other prefetches. If all wait, it waits for the end of any fetch. The thread
 * is created with the first prefetch and ends after LINGER_NS without one.
 */

#include <errno.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include <iopf_support.h>

#include "mmem_block.h"
#include "mmem_clock.h"
#include "mmem_fetch.h"
#include "mmem_import.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_prefetch.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"

#define LINGER_NS	UINT64_C(2000000000)
/* Blocks that an asynchronous pager fetches at the same time for prefetches. */
#define MAX_OPEN	32
/* Bytes between the page to map next and the last one that is fetched. */
#define MAX_AHEAD	(8 * MMEM_CHUNK_SIZE)

struct mmem_prefetch {
	TAILQ_ENTRY(mmem_prefetch) next;	/* of pool->prefetches; under pool->lock */
	struct mmem_space *space;
	struct mmem_completion *completion;	/* or NULL */
	uint64_t began;				/* rte_rdtsc() */
	bool running;				/* the thread works on it */
	bool cancelled;
	/* Of the thread. */
	struct mmem_range *ranges;
	size_t nb_ranges;
	size_t range;				/* of the page to map next */
	uint64_t at;				/* this page */
	size_t fetch_range;			/* of the page to fetch next */
	uint64_t fetch_at;			/* this page */
	uint64_t ahead;				/* bytes between the two */
};

static _Atomic int *
completion_status(struct mmem_completion *completion)
{
	return (_Atomic int *)&completion->status;
}

void
mmem_completion_set(struct mmem_completion *completion, int status)
{
	/* Pairs with the acquire in mmem_completion_poll(). */
	if (completion != NULL)
		atomic_store_explicit(completion_status(completion), status, memory_order_release);
}

/* Under pool->lock. */
static void
prefetch_end(struct mmem_pool *pool, struct mmem_prefetch *p, int rc)
{
	TAILQ_REMOVE(&pool->prefetches, p, next);
	mmem_completion_set(p->completion, rc);
	free(p->ranges);
	free(p);
	pthread_cond_broadcast(&pool->changed_cond);
}

/* Step over bytes of a range. */
static void
step_over(const struct mmem_prefetch *p, size_t *range, uint64_t *at, uint64_t len)
{
	*at += len;
	if (*at < p->ranges[*range].off + p->ranges[*range].len)
		return;
	if (++*range < p->nb_ranges)
		*at = p->ranges[*range].off;
}

static bool
is_absent(const struct mmem_pool *pool, uint64_t off)
{
	return atomic_load_explicit(&pool->pages[off >> MMEM_PAGE_LOG2], memory_order_relaxed) &
		PAGE_ABSENT;
}

/*
 * May one more fetch begin? Not more than the pager's threads can take next, so that an access that
 * faults does not wait behind many prefetches.
 */
static bool
region_has_room(const struct mmem_region *region)
{
	const struct mmem_fetch *fetch;
	unsigned int queued = 0;

	TAILQ_FOREACH(fetch, &region->queue, next)
		if (++queued >= region->pager.nb_threads)
			return false;
	return region->nb_open < (region->pager.start != NULL ? MAX_OPEN :
			2 * region->pager.nb_threads);
}

/* The region of a page, or NULL. Under pool->lock. */
static struct mmem_region *
page_get_region(const struct mmem_prefetch *p, uint64_t off)
{
	const struct mmem_chunk *chunk = &p->space->chunks[off >> MMEM_CHUNK_LOG2];

	return atomic_load_explicit(&chunk->space, memory_order_relaxed) == p->space ?
			chunk->region : NULL;
}

/* Begin fetches up to the limits. Under pool->lock. Errors show when the page is to be mapped. */
static void
begin_fetches(struct mmem_prefetch *p)
{
	struct mmem_pool *pool = p->space->pool;
	const struct mmem_range *range;
	struct mmem_region *region;
	uint64_t len;

	while (p->fetch_range < p->nb_ranges && p->ahead < MAX_AHEAD) {
		range = &p->ranges[p->fetch_range];
		len = range->off + range->len - p->fetch_at;
		region = page_get_region(p, p->fetch_at);
		if (region != NULL && mmem_region_has_pager(region)) {
			if (!region_has_room(region))
				break;
			len = RTE_MIN(len, mmem_fetch_block_end(region, p->fetch_at) -
					p->fetch_at);
			if (is_absent(pool, p->fetch_at))
				mmem_fetch_begin(pool, region, p->fetch_at, p->began, 0);
		}
		p->ahead += len;
		step_over(p, &p->fetch_range, &p->fetch_at, len);
	}
}

/*
 * Map up to the end of a chunk or block. Returns 0, -EINPROGRESS: the contents are not present; or
 * the error. Under space->lock, which may be released meanwhile.
 */
static int
map_next(struct mmem_prefetch *p, struct mmem_region *region, uint64_t end)
{
	struct mmem_space *space = p->space;
	uint64_t next = RTE_MIN(end, (p->at | (MMEM_CHUNK_SIZE - 1)) + 1);
	bool has_pager = mmem_region_has_pager(region);
	uint64_t len;
	int rc;

	if (has_pager)
		next = RTE_MIN(next, mmem_fetch_block_end(region, p->at));
	if (mmem_page_is_present(space, p->at)) {
		rc = mmem_prefetch_pages(space, p->at, next);
		if (rc == 0) {
			/* Fetches may not have come so far. */
			len = next - p->at;
			if (p->ahead < len)
				step_over(p, &p->fetch_range, &p->fetch_at, len - p->ahead);
			p->ahead -= RTE_MIN(p->ahead, len);
			step_over(p, &p->range, &p->at, len);
		}
		return rc;
	}
	if (has_pager) {
		pthread_mutex_lock(&space->pool->lock);
		/* It may have failed, or have left memory again. */
		rc = is_absent(space->pool, p->at) ?
				mmem_fetch_begin(space->pool, region, p->at, p->began, 0) : 0;
		pthread_mutex_unlock(&space->pool->lock);
		return rc;
	}
	/* Populating needs no pager, so the thread may wait for it. */
	mmem_space_unlock(space);
	rc = mmem_pool_bring_page(space->pool, space, p->at, p->began, 0);
	pthread_mutex_lock(&space->lock);
	return rc;
}

/* Returns 0: call it again; 1: complete; -EINPROGRESS: it waits for a fetch; or the error. */
static int
prefetch_step(struct mmem_prefetch *p)
{
	struct mmem_space *space = p->space;
	struct mmem_pool *pool = space->pool;
	const struct mmem_range *range = &p->ranges[p->range];
	uint64_t end = range->off + range->len;
	struct mmem_region *region;
	int rc;

	pthread_mutex_lock(&space->lock);
	pthread_mutex_lock(&pool->lock);
	begin_fetches(p);
	pthread_mutex_unlock(&pool->lock);
	region = mmem_region_find(space, space->mem + range->off, range->len);
	rc = region == NULL ? -ECANCELED : map_next(p, region, end);
	mmem_space_unlock(space);
	return rc == 0 && p->range == p->nb_ranges ? 1 : rc;
}

/* Nothing has changed since the step that returned -EINPROGRESS. Under pool->lock. */
static bool
still_waits(struct mmem_pool *pool, const struct mmem_prefetch *p)
{
	struct mmem_region *region = page_get_region(p, p->at);

	return region != NULL && is_absent(pool, p->at) &&
		mmem_fetch_begin(pool, region, p->at, p->began, 0) == -EINPROGRESS;
}

/* One step of each prefetch. Under pool->lock, which is released meanwhile. False: all wait. */
static bool
run_all(struct mmem_pool *pool)
{
	struct mmem_prefetch *p, *next;
	bool progress = false;
	int rc;

	for (p = TAILQ_FIRST(&pool->prefetches); p != NULL; p = next) {
		p->running = true;
		pthread_mutex_unlock(&pool->lock);
		rc = prefetch_step(p);
		pthread_mutex_lock(&pool->lock);
		p->running = false;
		next = TAILQ_NEXT(p, next);
		if (p->cancelled)
			prefetch_end(pool, p, -ECANCELED);
		else if (rc == 1 || (rc < 0 && rc != -EINPROGRESS))
			prefetch_end(pool, p, rc == 1 ? 0 : rc);
		else if (rc == 0)
			progress = true;
	}
	if (progress)
		return true;
	TAILQ_FOREACH(p, &pool->prefetches, next)
		if (!still_waits(pool, p))
			return true;
	return false;
}

static void *
prefetch_main(void *arg)
{
	struct mmem_pool *pool = arg;
	struct timespec until;
	int rc = 0;

	pthread_detach(pthread_self());
	pthread_mutex_lock(&pool->lock);
	while (!pool->quit && (rc != ETIMEDOUT || !TAILQ_EMPTY(&pool->prefetches))) {
		if (run_all(pool) && !TAILQ_EMPTY(&pool->prefetches)) {
			rc = 0;
			continue;
		}
		until = mmem_ns_to_timespec(mmem_now_ns() + LINGER_NS);
		rc = pthread_cond_timedwait(&pool->changed_cond, &pool->lock, &until);
	}
	pool->has_prefetcher = false;
	pthread_cond_broadcast(&pool->changed_cond);
	/* Last access to the pool: mmem_prefetch_stop() takes this lock. */
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int
mmem_prefetch_ranges(struct mmem_space *space, struct mmem_range *ranges, size_t nb,
		struct mmem_completion *completion)
{
	struct mmem_prefetch *p = calloc(1, sizeof(*p));
	struct mmem_pool *pool = space->pool;
	pthread_t thread;
	int rc = 0;

	if (p == NULL)
		return -ENOMEM;
	p->space = space;
	p->completion = completion;
	p->began = rte_rdtsc();
	p->ranges = ranges;
	p->nb_ranges = nb;
	p->at = p->fetch_at = ranges[0].off;
	pthread_mutex_lock(&pool->lock);
	if (!pool->has_prefetcher) {
		rc = iopf_thread_create(&thread, "mmem-prefetch", prefetch_main, pool);
		pool->has_prefetcher = rc == 0;
	}
	if (rc == 0) {
		if (completion != NULL) {
			completion->pool = pool;
			atomic_store_explicit(completion_status(completion), -EINPROGRESS,
					memory_order_relaxed);
		}
		TAILQ_INSERT_TAIL(&pool->prefetches, p, next);
		pthread_cond_broadcast(&pool->changed_cond);
	}
	pthread_mutex_unlock(&pool->lock);
	if (rc == 0)
		return 0;
	free(p);
	MMEM_LOG_LIMITED(space, "cannot create a prefetch thread: %s: raise RLIMIT_NPROC (ulimit "
			"-u) or the control group's pids.max", rte_strerror(-rc));
	return -ENOMEM;
}

void
mmem_prefetch_cancel(struct mmem_space *space)
{
	struct mmem_pool *pool = space->pool;
	struct mmem_prefetch *p, *next;

	pthread_mutex_lock(&pool->lock);
	for (p = TAILQ_FIRST(&pool->prefetches); p != NULL; p = next) {
		next = TAILQ_NEXT(p, next);
		if (p->space != space)
			continue;
		if (!p->running) {
			prefetch_end(pool, p, -ECANCELED);
			continue;
		}
		p->cancelled = true;
		pthread_cond_wait(&pool->changed_cond, &pool->lock);
		next = TAILQ_FIRST(&pool->prefetches);
	}
	pthread_mutex_unlock(&pool->lock);
}

void
mmem_prefetch_stop(struct mmem_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_broadcast(&pool->changed_cond);
	while (pool->has_prefetcher)
		pthread_cond_wait(&pool->changed_cond, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

/* Imported memory has its contents: there is nothing to wait for. */
static void
prefetch_import(struct mmem_space *space, const struct mmem_import *import, void *ptr, size_t len,
		struct mmem_completion *completion)
{
	int rc = mmem_import_prefetch(space, import, ptr, len);

	if (completion == NULL)
		return;
	completion->pool = space->pool;
	/* Pairs with the acquire in mmem_completion_poll(). */
	atomic_store_explicit(completion_status(completion), rc, memory_order_release);
}

int
mmem_prefetch_start(struct mmem_space *space, void *ptr, size_t len,
		struct mmem_completion *completion)
{
	struct mmem_import *import;
	struct mmem_range *range;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	range = malloc(sizeof(*range));
	if (range == NULL)
		return mmem_ret(-ENOMEM);
	range->off = (uintptr_t)ptr - (uintptr_t)space->mem;
	range->len = len;
	pthread_mutex_lock(&space->lock);
	rc = mmem_import_find_range(space, &ptr, &len, &import);
	if (rc == 0 && import != NULL)
		prefetch_import(space, import, ptr, len, completion);
	else if (rc == 0)
		rc = mmem_region_find_range(space, ptr, len) == NULL ? -EINVAL :
				mmem_prefetch_ranges(space, range, 1, completion);
	mmem_space_unlock(space);
	if (rc < 0 || import != NULL)
		free(range);
	return mmem_ret(rc);
}

int
mmem_completion_poll(struct mmem_completion *completion)
{
	if (completion == NULL)
		return mmem_ret(-EINVAL);
	/* Pairs with the release in mmem_completion_set(). */
	return atomic_load_explicit(completion_status(completion), memory_order_acquire);
}

int
mmem_completion_wait(struct mmem_completion *completion, unsigned int wait_ms)
{
	struct timespec until = mmem_ns_to_timespec(mmem_now_ns() + wait_ms * UINT64_C(1000000));
	struct mmem_pool *pool;
	int rc = 0, status;

	if (completion == NULL)
		return mmem_ret(-EINVAL);
	status = mmem_completion_poll(completion);
	if (status != -EINPROGRESS)
		return status;
	if (mmem_may_wait() < 0 || mmem_self.paging != NULL)
		return mmem_ret(-EDEADLK);
	pool = completion->pool;
	pthread_mutex_lock(&pool->lock);
	while ((status = mmem_completion_poll(completion)) == -EINPROGRESS && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&pool->changed_cond, &pool->lock, &until);
	pthread_mutex_unlock(&pool->lock);
	return status;
}
