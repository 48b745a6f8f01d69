/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Populates and releases memory, and the control thread that populates ahead of the devices. */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <rte_cycles.h>

#include <iopf_support.h>

#include "mmem_clock.h"
#include "mmem_frame.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_region.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23	/* Linux 5.14 */
#endif

/* The interval between scans of the chunks that devices have touched. */
#define SCAN_MIN_MS	1
#define SCAN_MAX_MS	64

/*
 * For Linux before 5.14. The touch must not change a concurrent write of another CPU: a
 * compare-and-swap puts back the value it found.
 */
static void
populate_by_touch(uint8_t *mem, size_t len)
{
	unsigned char expected;
	size_t i;

	for (i = 0; i < len; i += MMEM_PAGE_SIZE) {
		expected = 0;
		atomic_compare_exchange_strong_explicit(
				(_Atomic unsigned char *)(mem + i), &expected, 0,
				memory_order_relaxed, memory_order_relaxed);
	}
}

int
mmem_populate_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks)
{
	return mmem_populate(pool, chunk << MMEM_CHUNK_LOG2, nb_chunks << MMEM_CHUNK_LOG2);
}

int
mmem_populate(struct mmem_pool *pool, size_t off, size_t len)
{
	uint8_t *mem;
	size_t run;

	for (; len != 0; off += run, len -= run) {
		run = mmem_dev_run(pool, off, len);
		mem = mmem_off_to_dev(pool, off);
		if (madvise(mem, run, MADV_POPULATE_WRITE) == 0)
			continue;
		if (errno != EINVAL)
			return -ENOMEM;
		populate_by_touch(mem, run);
	}
	return 0;
}

/*
 * Hugepages are overwritten, not released: they are reserved in any case, and a driver may have
 * looked up their physical addresses.
 */
void
mmem_zero_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks)
{
	size_t off = chunk << MMEM_CHUNK_LOG2;
	size_t len = nb_chunks << MMEM_CHUNK_LOG2;

	uint8_t *mem;
	size_t run;

	for (; len != 0; off += run, len -= run) {
		run = mmem_dev_run(pool, off, len);
		mem = mmem_off_to_dev(pool, off);
		/* madvise() refuses to release locked memory. */
		if (pool->hugepages || madvise(mem, run, MADV_REMOVE) < 0)
			memset(mem, 0, run);
	}
}

/* A chunk without memory that a device may soon access. */
static struct mmem_chunk *
find_chunk_ahead(struct mmem_pool *pool, const struct mmem_region *region)
{
	struct mmem_chunk *chunk = &pool->chunks[region->first_chunk];
	unsigned int wanted = pool->ahead;
	uint32_t state;
	size_t i;

	for (i = 0; i < region->nb_chunks; i++, chunk++) {
		state = atomic_load_explicit(&chunk->state, memory_order_relaxed);
		if (state & (CHUNK_TOUCHED | CHUNK_STREAMED))
			wanted = pool->ahead + 1;
		if (wanted == 0)
			continue;
		if (!(state & (CHUNK_POPULATED | CHUNK_BUSY)))
			return chunk;
		wanted--;
	}
	return NULL;
}

/* Populate one chunk; pool->lock is released meanwhile. False: nothing to do. */
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
	/* Without memory: the fault that needs the chunk reports it. */
	return chunk != NULL && mmem_pool_populate_chunk(pool, chunk) == 0;
}

/*
 * Fetch the pages of a chunk that lost page requests or streams asked for. No group waits for them,
 * so no worker fetches them. After a failure the next request asks again. pool->lock may be
 * released meanwhile.
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

/* False: no chunk was wanted. */
static bool
fetch_wanted_chunks(struct mmem_pool *pool)
{
	struct mmem_chunk *chunk;
	size_t i;

	/* Pairs with the release in mmem_page_mark_wanted(): the chunks' marks. */
	if (!atomic_exchange_explicit(&pool->wanted, false, memory_order_acquire))
		return false;
	for (i = 0; i < pool->nb_chunks && !pool->quit; i++) {
		chunk = &pool->chunks[i];
		if (!(atomic_load_explicit(&chunk->state, memory_order_relaxed) & CHUNK_WANTED))
			continue;
		/* Pairs with the release in mmem_page_mark_wanted(): the pages' marks. */
		atomic_fetch_and_explicit(&chunk->state, ~CHUNK_WANTED, memory_order_acquire);
		if (atomic_load_explicit(&chunk->space, memory_order_relaxed) != NULL)
			chunk_fetch_wanted(pool, chunk);
	}
	return true;
}

/*
 * The control thread sleeps until it is woken. While devices proceed, it scans the chunks they
 * touch at growing intervals, because the poll thread marks chunks and wakes no thread. After the
 * longest interval it is CONTROL_ASLEEP, and the next mark of the poll thread wakes it: one system
 * call at the first fault in a chunk after a pause, and none once all chunks are populated.
 *
 *	poll thread			control thread
 *	mark				state = CONTROL_ASLEEP
 *	full barrier			full barrier
 *	state: exchange, post		marks: none
 *					wait for the semaphore
 *
 * A thread whose exchange reads a value other than CONTROL_AWAKE then posts the semaphore. The
 * control thread exchanges too, and does not post.
 */
enum control_state {
	CONTROL_AWAKE,
	CONTROL_SCANNING,		/* sleeps for one interval */
	CONTROL_ASLEEP,
	CONTROL_IDLE,		/* asleep, and all is populated: a touch does not wake it */
};

void
mmem_control_wake(struct mmem_pool *pool)
{
	/* Pairs with the fence in control_sleep(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&pool->control_state, memory_order_relaxed) != CONTROL_AWAKE &&
			atomic_exchange_explicit(&pool->control_state, CONTROL_AWAKE,
			memory_order_relaxed) != CONTROL_AWAKE)
		sem_post(&pool->control_sem);
}

void
mmem_control_notify(struct mmem_pool *pool, bool touched)
{
	uint32_t how;

	/* Pairs with the fence in control_sleep(). */
	atomic_thread_fence(memory_order_seq_cst);
	how = atomic_load_explicit(&pool->control_state, memory_order_relaxed);
	if (how == CONTROL_ASLEEP || (how == CONTROL_IDLE && !touched))
		mmem_control_wake(pool);
}

/* A chunk was touched, and a chunk after it needs memory. */
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
 * Sleep until woken or until a time (mmem_now_ns(), 0: none). Called under pool->lock, which is
 * released meanwhile. Returns true if woken.
 */
static bool
control_sleep(struct mmem_pool *pool, enum control_state how, uint64_t until)
{
	struct timespec ts = mmem_ns_to_timespec(until);
	bool woken = false;
	int rc;

	atomic_store_explicit(&pool->control_state, how, memory_order_relaxed);
	/* Pairs with the fences in mmem_control_wake() and mmem_control_notify(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&pool->wanted, memory_order_relaxed) &&
			(how != CONTROL_ASLEEP || !has_chunk_ahead(pool))) {
		pthread_mutex_unlock(&pool->lock);
		do
			rc = until != 0 ? sem_clockwait(&pool->control_sem, CLOCK_MONOTONIC, &ts) :
					sem_wait(&pool->control_sem);
		while (rc < 0 && errno == EINTR);
		pthread_mutex_lock(&pool->lock);
		woken = rc == 0;
	}
	if (!woken && atomic_exchange_explicit(&pool->control_state, CONTROL_AWAKE,
			memory_order_relaxed) == CONTROL_AWAKE) {
		/* Woken after the timeout: consume the post. */
		while (sem_wait(&pool->control_sem) < 0)
			;
		woken = true;
	}
	return woken;
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
		/* A chunk is due and was not populated: memory may be available later. */
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

	sem_init(&pool->control_sem, 0, 0);
	rc = iopf_thread_create(&pool->thread, "mmem-ahead", control_main, pool);
	if (rc < 0)
		sem_destroy(&pool->control_sem);
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
	sem_destroy(&pool->control_sem);
}
