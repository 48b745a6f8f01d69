/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Where memory comes from and goes to, and the thread that sees to it ahead of need. */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <rte_cycles.h>

#include <iopf_support.h>

#include "mmem_clock.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_region.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23	/* Linux 5.14 */
#endif

/* Between looks at what the devices touched. */
#define SCAN_MIN_MS	1
#define SCAN_MAX_MS	64

/*
 * Before Linux 5.14. The touch must not change what another CPU writes there at the
 * same time: a compare-and-swap that puts back what it found.
 */
static void
populate_by_touch(struct mmem_pool *pool, size_t off, size_t len)
{
	unsigned char expected;
	size_t i;

	for (i = 0; i < len; i += MMEM_PAGE_SIZE) {
		expected = 0;
		atomic_compare_exchange_strong_explicit(
				(_Atomic unsigned char *)(pool->mem + off + i), &expected, 0,
				memory_order_relaxed, memory_order_relaxed);
	}
}

int
mmem_populate_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks)
{
	size_t off = chunk << MMEM_CHUNK_LOG2;
	size_t len = nb_chunks << MMEM_CHUNK_LOG2;

	if (madvise(pool->mem + off, len, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno != EINVAL)
		return -ENOMEM;
	populate_by_touch(pool, off, len);
	return 0;
}

/*
 * Hugepages stay: they are reserved whether used or not, and a driver may have
 * looked up where they are.
 */
void
mmem_zero_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks)
{
	size_t off = chunk << MMEM_CHUNK_LOG2;
	size_t len = nb_chunks << MMEM_CHUNK_LOG2;

	/* Memory that is locked is not given back: it refuses. */
	if (pool->hugepages || madvise(pool->mem + off, len, MADV_REMOVE) < 0)
		memset(pool->mem + off, 0, len);
}

/* A chunk of the region that a device may come to soon and that has no memory. */
static struct mmem_chunk *
find_chunk_ahead(struct mmem_pool *pool, const struct mmem_region *region)
{
	struct mmem_chunk *chunk = &pool->chunks[region->first];
	unsigned int wanted = pool->ahead;
	uint32_t state;
	size_t i;

	for (i = 0; i < region->nb_chunks; i++, chunk++) {
		state = atomic_load_explicit(&chunk->state, memory_order_relaxed);
		if (state & CHUNK_TOUCHED)
			wanted = pool->ahead + 1;
		if (wanted == 0)
			continue;
		if (!(state & (CHUNK_POPULATED | CHUNK_BUSY)))
			return chunk;
		wanted--;
	}
	return NULL;
}

/* One chunk, with the lock let go meanwhile. False: nothing to do. */
static bool
populate_chunk_ahead(struct mmem_pool *pool, bool *incomplete)
{
	struct mmem_chunk *chunk = NULL;
	struct mmem_region *region;

	*incomplete = false;
	TAILQ_FOREACH(region, &pool->regions, next) {
		if (region->hidden || region->nb_empty == 0)
			continue;
		*incomplete = true;
		chunk = find_chunk_ahead(pool, region);
		if (chunk != NULL)
			break;
	}
	/* Out of memory: a fault that needs the chunk will say so. */
	return chunk != NULL && mmem_pool_populate_chunk(pool, chunk) == 0;
}

/*
 * What lost page requests wanted of a chunk: no group waits, so no worker fetches it. What
 * fails is wanted again if a device still asks for it. The lock may be let go meanwhile.
 */
static void
chunk_fetch_wanted(struct mmem_pool *pool, struct mmem_chunk *chunk)
{
	uint64_t off = (uint64_t)(chunk - pool->chunks) << MMEM_CHUNK_LOG2;
	uint64_t end = off + MMEM_CHUNK_SIZE;
	struct mmem_region *region = chunk->region;
	_Atomic uint8_t *page;

	if (!mmem_region_has_pager(region)) {
		if (!(atomic_load_explicit(&chunk->state, memory_order_relaxed) & CHUNK_BUSY))
			mmem_pool_populate_chunk(pool, chunk);
		return;
	}
	for (; off < end; off += MMEM_PAGE_SIZE) {
		page = &pool->pages[off >> MMEM_PAGE_LOG2];
		if (!(atomic_load_explicit(page, memory_order_relaxed) & PAGE_WANTED))
			continue;
		atomic_fetch_and_explicit(page, (uint8_t)~PAGE_WANTED, memory_order_relaxed);
		if (atomic_load_explicit(page, memory_order_relaxed) & PAGE_ABSENT)
			mmem_fetch_begin(pool, region, off, rte_rdtsc(), 0);
	}
}

/* False: nothing was wanted. */
static bool
fetch_wanted_chunks(struct mmem_pool *pool)
{
	struct mmem_chunk *chunk;
	size_t i;

	/* Pairs with the release in page_mark_wanted(): the chunks' marks. */
	if (!atomic_exchange_explicit(&pool->wanted, false, memory_order_acquire))
		return false;
	for (i = 0; i < pool->nb_chunks && !pool->quit; i++) {
		chunk = &pool->chunks[i];
		if (!(atomic_load_explicit(&chunk->state, memory_order_relaxed) & CHUNK_WANTED))
			continue;
		/* Acquire, with the release in page_mark_wanted(): the pages' marks. */
		atomic_fetch_and_explicit(&chunk->state, ~CHUNK_WANTED, memory_order_acquire);
		if (atomic_load_explicit(&chunk->space, memory_order_relaxed) != NULL)
			chunk_fetch_wanted(pool, chunk);
	}
	return true;
}

/*
 * The control thread sleeps until it is kicked. While devices move on it looks at what they
 * touched in ever longer steps, since the poll core marks chunks and wakes nothing; behind the
 * longest it is asleep, and the next mark on the poll core wakes it: one system call at the
 * first fault in a chunk after a pause, and none once all is populated.
 *
 *	poll core			control thread
 *	mark				asleep = CONTROL_ASLEEP
 *	full barrier			full barrier
 *	asleep: exchange, post		marks: none
 *					wait for the semaphore
 *
 * Each exchange that finds it asleep, the thread's own excepted, is followed by a post.
 */
enum control_state {
	CONTROL_AWAKE,
	CONTROL_SCANNING,		/* soon, by itself */
	CONTROL_ASLEEP,
	CONTROL_IDLE,		/* asleep, and all is populated: no touch need wake it */
};

void
mmem_control_wake(struct mmem_pool *pool)
{
	/* Pairs with the fence in control_sleep(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&pool->asleep, memory_order_relaxed) != CONTROL_AWAKE &&
			atomic_exchange_explicit(&pool->asleep, CONTROL_AWAKE,
			memory_order_relaxed) != CONTROL_AWAKE)
		sem_post(&pool->kick);
}

void
mmem_control_notify(struct mmem_pool *pool, bool touched)
{
	uint32_t how;

	/* Pairs with the fence in control_sleep(). */
	atomic_thread_fence(memory_order_seq_cst);
	how = atomic_load_explicit(&pool->asleep, memory_order_relaxed);
	if (how == CONTROL_ASLEEP || (how == CONTROL_IDLE && !touched))
		mmem_control_wake(pool);
}

/* A chunk was touched behind which some are to be populated. */
static bool
has_chunk_ahead(struct mmem_pool *pool)
{
	struct mmem_region *region;

	TAILQ_FOREACH(region, &pool->regions, next)
		if (!region->hidden && region->nb_empty != 0 &&
				find_chunk_ahead(pool, region) != NULL)
			return true;
	return false;
}

/*
 * Until kicked, or until a time (mmem_now_ns(), 0: none). The lock is held, and let go
 * meanwhile. True: kicked.
 */
static bool
control_sleep(struct mmem_pool *pool, enum control_state how, uint64_t until)
{
	struct timespec ts = mmem_ns_to_timespec(until);
	bool kicked = false;
	int rc;

	atomic_store_explicit(&pool->asleep, how, memory_order_relaxed);
	/* Pairs with the fences in mmem_control_wake() and mmem_control_notify(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&pool->wanted, memory_order_relaxed) &&
			(how != CONTROL_ASLEEP || !has_chunk_ahead(pool))) {
		pthread_mutex_unlock(&pool->lock);
		do
			rc = until != 0 ? sem_clockwait(&pool->kick, CLOCK_MONOTONIC, &ts) :
					sem_wait(&pool->kick);
		while (rc < 0 && errno == EINTR);
		pthread_mutex_lock(&pool->lock);
		kicked = rc == 0;
	}
	if (!kicked && atomic_exchange_explicit(&pool->asleep, CONTROL_AWAKE,
			memory_order_relaxed) == CONTROL_AWAKE) {
		/* Kicked all the same: take the post. */
		while (sem_wait(&pool->kick) < 0)
			;
		kicked = true;
	}
	return kicked;
}

static void *
control_main(void *arg)
{
	struct mmem_pool *pool = arg;
	unsigned int scan_ms = SCAN_MIN_MS;
	uint64_t deadline, until;
	enum control_state how;
	bool incomplete;

	pthread_mutex_lock(&pool->lock);
	while (!pool->quit) {
		if (fetch_wanted_chunks(pool) || populate_chunk_ahead(pool, &incomplete)) {
			scan_ms = SCAN_MIN_MS;
			continue;
		}
		deadline = until = mmem_fetches_expire(pool);
		how = incomplete ? CONTROL_ASLEEP : CONTROL_IDLE;
		/* Wanted and not done: memory is lacking, and may be there later. */
		if (incomplete && (scan_ms < SCAN_MAX_MS || has_chunk_ahead(pool))) {
			how = CONTROL_SCANNING;
			until = mmem_now_ns() + scan_ms * UINT64_C(1000000);
			if (deadline != 0)
				until = RTE_MIN(until, deadline);
		}
		if (control_sleep(pool, how, until))
			scan_ms = SCAN_MIN_MS;
		else
			scan_ms = RTE_MIN(scan_ms * 2, (unsigned int)SCAN_MAX_MS);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int
mmem_control_start(struct mmem_pool *pool)
{
	int rc;

	sem_init(&pool->kick, 0, 0);
	rc = iopf_thread_create(&pool->thread, "mmem-ahead", control_main, pool);
	if (rc < 0)
		sem_destroy(&pool->kick);
	return rc;
}

void
mmem_control_stop(struct mmem_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	mmem_control_wake(pool);
	pthread_mutex_unlock(&pool->lock);
	pthread_join(pool->thread, NULL);
	sem_destroy(&pool->kick);
}
