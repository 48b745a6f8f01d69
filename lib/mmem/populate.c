/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Where memory comes from and goes to, and the thread that sees to it ahead of need. */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <rte_cycles.h>

#include <iopf_support.h>

#include "mmem_internal.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23	/* Linux 5.14 */
#endif

/* Between looks at what the devices touched. */
#define LOOK_MIN_MS	1
#define LOOK_MAX_MS	64

/*
 * Before Linux 5.14. fallocate() says that memory is lacking where a touch would
 * raise SIGBUS. The touch must not change what another CPU writes there at the same
 * time: a compare-and-swap that puts back what it found.
 */
static int
populate_by_touch(struct mmem_pool *pool, size_t off, size_t len)
{
	unsigned char expected;
	size_t i;

	if (fallocate(pool->fd, 0, off, len) < 0)
		return -ENOMEM;
	for (i = 0; i < len; i += MMEM_PAGE_SIZE) {
		expected = 0;
		atomic_compare_exchange_strong_explicit(
				(_Atomic unsigned char *)(pool->mem + off + i), &expected, 0,
				memory_order_relaxed, memory_order_relaxed);
	}
	return 0;
}

int
mmem_populate(struct mmem_pool *pool, size_t chunk, size_t nb_chunks)
{
	size_t off = chunk << MMEM_CHUNK_LOG2;
	size_t len = nb_chunks << MMEM_CHUNK_LOG2;

	if (madvise(pool->mem + off, len, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno == EINVAL)
		return populate_by_touch(pool, off, len);
	return -ENOMEM;
}

/*
 * Hugepages stay: they are reserved whether used or not, and a driver may have
 * looked up where they are.
 */
void
mmem_clean(struct mmem_pool *pool, size_t chunk, size_t nb_chunks)
{
	size_t off = chunk << MMEM_CHUNK_LOG2;
	size_t len = nb_chunks << MMEM_CHUNK_LOG2;

	if (pool->hugepages || fallocate(pool->fd,
			FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len) < 0)
		memset(pool->mem + off, 0, len);
}

/* A chunk of the region that a device may come to soon and that has no memory. */
static struct mmem_chunk *
ahead_next(struct mmem_pool *pool, const struct mmem_region *region)
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
ahead_one(struct mmem_pool *pool, bool *incomplete)
{
	struct mmem_chunk *chunk = NULL;
	struct mmem_region *region;
	uint32_t gained;
	int rc;

	*incomplete = false;
	TAILQ_FOREACH(region, &pool->regions, next) {
		if (region->dead || (region->nb_empty == 0 && region->nb_unfilled == 0))
			continue;
		*incomplete = true;
		if (region->nb_empty == 0)
			continue;
		chunk = ahead_next(pool, region);
		if (chunk != NULL)
			break;
	}
	if (chunk == NULL)
		return false;

	atomic_fetch_or_explicit(&chunk->state, CHUNK_BUSY, memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
	rc = mmem_populate(pool, chunk - pool->chunks, 1);
	pthread_mutex_lock(&pool->lock);
	if (rc == 0) {
		gained = CHUNK_POPULATED | (region->pager.fill == NULL ? CHUNK_READY : 0);
		/* Pairs with the acquire in resolve(). */
		atomic_fetch_or_explicit(&chunk->state, gained, memory_order_release);
		region->nb_empty--;
	}
	atomic_fetch_and_explicit(&chunk->state, ~CHUNK_BUSY, memory_order_release);
	pthread_cond_broadcast(&pool->fetched);
	/* Out of memory: a fault that needs the chunk will say so. */
	return rc == 0;
}

/*
 * What lost page requests wanted: with nobody to answer no worker fetches it. The lock is let
 * go meanwhile; the space is only a name here, for mmem_pool_fetch() to look whether the chunk
 * is still its. False: nothing was fetched. What failed is wanted again if a device still
 * asks for it.
 */
static bool
fetch_wanted(struct mmem_pool *pool)
{
	bool fetched = false;

	/* Pairs with the release in want(): the chunks' marks. */
	if (!atomic_exchange_explicit(&pool->wanted, false, memory_order_acquire))
		return false;
	for (size_t i = 0; i < pool->nb_chunks && !pool->quit; i++) {
		struct mmem_chunk *chunk = &pool->chunks[i];
		struct mmem_space *space = atomic_load_explicit(&chunk->space,
				memory_order_relaxed);

		if (!(atomic_load_explicit(&chunk->state, memory_order_relaxed) & CHUNK_WANTED))
			continue;
		atomic_fetch_and_explicit(&chunk->state, ~CHUNK_WANTED, memory_order_relaxed);
		if (space == NULL)
			continue;
		pthread_mutex_unlock(&pool->lock);
		if (mmem_pool_fetch(pool, space, (uint64_t)i << MMEM_CHUNK_LOG2,
				rte_rdtsc()) == 0)
			fetched = true;
		pthread_mutex_lock(&pool->lock);
	}
	return fetched;
}

static void *
ahead_main(void *arg)
{
	struct mmem_pool *pool = arg;
	unsigned int look_ms = LOOK_MIN_MS;
	struct timespec until;
	bool incomplete;

	pthread_mutex_lock(&pool->lock);
	while (!pool->quit) {
		if (fetch_wanted(pool) || ahead_one(pool, &incomplete)) {
			look_ms = LOOK_MIN_MS;
			continue;
		}
		if (!incomplete) {
			pthread_cond_wait(&pool->kick, &pool->lock);
			look_ms = LOOK_MIN_MS;
			continue;
		}
		/* The poll core marks chunks and wakes nobody. */
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += look_ms * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		if (pthread_cond_timedwait(&pool->kick, &pool->lock, &until) == 0)
			look_ms = LOOK_MIN_MS;
		else
			look_ms = RTE_MIN(look_ms * 2, (unsigned int)LOOK_MAX_MS);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int
mmem_ahead_start(struct mmem_pool *pool)
{
	return iopf_thread_create(&pool->thread, "mmem-ahead", ahead_main, pool);
}

void
mmem_ahead_stop(struct mmem_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->quit = true;
	pthread_cond_signal(&pool->kick);
	pthread_mutex_unlock(&pool->lock);
	pthread_join(pool->thread, NULL);
}
