/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The memory of a pool, the owners of its chunks, and page table memory. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_dma.h"
#include "mmem_evict.h"
#include "mmem_frame.h"
#include "mmem_log.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_prefetch.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_swap.h"
#include "mmem_telemetry.h"
#include "mmem_thread.h"
#include "mmem_uring.h"

#define DEFAULT_SIZE	((size_t)4 << 30)
#define DEFAULT_AHEAD	8

RTE_LOG_REGISTER(mmem_logtype, lib.mmem, NOTICE);

/* Log the resource limit that denied @p what, and the way out. */
static void
log_no_memory(const struct mmem_pool *pool, const char *what, int error)
{
	struct rlimit limit;

	if (error == EAGAIN && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
			limit.rlim_cur != RLIM_INFINITY)
		MMEM_LOG(ERR, "pool %s: cannot lock %zu MiB after mlockall(): RLIMIT_MEMLOCK is "
				"%ju MiB: raise it (ulimit -l), use MCL_ONFAULT or a smaller size",
				pool->name, pool->size >> 20, (uintmax_t)limit.rlim_cur >> 20);
	else if (error == ENOMEM && getrlimit(RLIMIT_AS, &limit) == 0 &&
			limit.rlim_cur != RLIM_INFINITY)
		MMEM_LOG(ERR, "pool %s: no %s for %zu MiB: RLIMIT_AS is %ju MiB: raise it "
				"(ulimit -v) or use a smaller size", pool->name, what,
				pool->size >> 20, (uintmax_t)limit.rlim_cur >> 20);
	else
		MMEM_LOG(ERR, "pool %s: no %s for %zu MiB: %s: use a smaller size", pool->name,
				what, pool->size >> 20, rte_strerror(error));
}

static void
init_locks(struct mmem_pool *pool)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&pool->lock, NULL);
	pthread_mutex_init(&pool->cpu_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->changed_cond, &attr);
	pthread_cond_init(&pool->fetch_cond, &attr);
	pthread_cond_init(&pool->evict_cond, &attr);
	pthread_condattr_destroy(&attr);
}

static void
destroy_locks(struct mmem_pool *pool)
{
	pthread_cond_destroy(&pool->evict_cond);
	pthread_cond_destroy(&pool->fetch_cond);
	pthread_cond_destroy(&pool->changed_cond);
	pthread_mutex_destroy(&pool->cpu_lock);
	pthread_mutex_destroy(&pool->lock);
}

int
mmem_frames_init(struct mmem_pool *pool)
{
	size_t i;

	pool->frames = malloc(pool->nb_chunks * sizeof(*pool->frames));
	pool->frame_dma = malloc(pool->nb_chunks * sizeof(*pool->frame_dma));
	if (pool->frames == NULL || pool->frame_dma == NULL)
		return -ENOMEM;
	for (i = 0; i < pool->nb_chunks; i++)
		atomic_init(&pool->frames[i], i);
	return 0;
}

static void
free_pool(struct mmem_pool *pool)
{
	free(pool->pages);
	free(pool->chunks);
	free(pool->frame_dma);
	free(pool->frames);
	free(pool->by_addr);
	free(pool->iommus);
	free(pool);
}

struct mmem_pool *
mmem_pool_create(const struct mmem_pool_conf *conf)
{
	static atomic_uint serial;
	struct mmem_pool *pool;
	int rc;

	rc = mmem_may_wait();
	if (rc < 0) {
		rte_errno = -rc;
		return NULL;
	}
	if (conf == NULL || conf->iommu == NULL || conf->size % MMEM_CHUNK_SIZE ||
			(conf->io & ~(MMEM_IO_THREADS | MMEM_IO_DIRECT))) {
		if (conf == NULL || conf->iommu == NULL)
			MMEM_LOG(ERR, "pool: mmem_pool_conf has no IOMMU: set iommu");
		else if (conf->size % MMEM_CHUNK_SIZE == 0)
			MMEM_LOG(ERR, "pool: io 0x%x of mmem_pool_conf: use MMEM_IO_*", conf->io);
		else
			MMEM_LOG(ERR, "pool: size %zu of mmem_pool_conf: use a multiple of 2 MiB",
					conf->size);
		rte_errno = EINVAL;
		return NULL;
	}
	pool = calloc(1, sizeof(*pool));
	if (pool == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	pool->cpu_fd = pool->swap.fd = pool->swap.direct_fd = -1;
	pool->io = conf->io;
	pool->node = conf->node;
	pool->no_userfaultfd = conf->no_userfaultfd;
	pool->budget.limit = conf->budget;
	pool->size = conf->size ? conf->size : DEFAULT_SIZE;
	pool->nb_chunks = pool->size >> MMEM_CHUNK_LOG2;
	pool->ahead = conf->ahead ? conf->ahead : DEFAULT_AHEAD;
	mmem_name_init(pool->name, sizeof(pool->name), conf->name, &serial);
	TAILQ_INIT(&pool->regions);
	TAILQ_INIT(&pool->prefetches);
	TAILQ_INIT(&pool->ready);
	TAILQ_INIT(&pool->timed);
	TAILQ_INIT(&pool->writes);

	rc = mmem_iommus_init(pool, conf);
	if (rc < 0)
		goto fail;
	/* Write all of them now: the fault path reads them and must not take a CPU page fault. */
	pool->chunks = malloc(pool->nb_chunks * sizeof(*pool->chunks));
	pool->pages = calloc(pool->size >> MMEM_PAGE_LOG2, sizeof(*pool->pages));
	rc = mmem_frames_init(pool);
	if (rc < 0 || pool->chunks == NULL || pool->pages == NULL) {
		rc = -ENOMEM;
		log_no_memory(pool, "bookkeeping memory", ENOMEM);
		goto fail;
	}
	memset(pool->chunks, 0, pool->nb_chunks * sizeof(*pool->chunks));
	rc = mmem_node_check(conf->node);
	if (rc < 0) {
		MMEM_LOG(ERR, "pool %s: NUMA node %u of mmem_pool_conf: %s: use MMEM_NODE() of a "
				"node with memory, or 0", pool->name, conf->node - 1,
				rc == -EINVAL ? "no such node, or no memory of it is allowed" :
				rte_strerror(-rc));
		goto fail;
	}
	rc = mmem_swap_open(pool, conf->swap);
	if (rc < 0)
		goto fail;
	rc = mmem_pool_map_memory(pool, conf->no_hugepages || conf->budget != 0);
	if (rc < 0) {
		log_no_memory(pool, "address space", -rc);
		goto fail;
	}
	rc = mmem_dma_map(pool);
	if (rc < 0)
		goto fail_memory;
	init_locks(pool);
	rc = mmem_control_start(pool);
	if (rc < 0) {
		MMEM_LOG(ERR, "pool %s: cannot create the control thread: %s: raise "
				"RLIMIT_NPROC (ulimit -u) or the control group's pids.max",
				pool->name, rte_strerror(-rc));
		goto fail_locks;
	}
	mmem_telemetry_add(pool);
	return pool;

fail_locks:
	destroy_locks(pool);
	mmem_dma_unmap(pool);
fail_memory:
	mmem_pool_unmap_memory(pool);
fail:
	mmem_swap_close(pool);
	free_pool(pool);
	rte_errno = -rc;
	return NULL;
}

int
mmem_pool_destroy(struct mmem_pool *pool)
{
	unsigned int users;
	int rc;

	if (pool == NULL)
		return 0;
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&pool->lock);
	users = pool->users;
	pthread_mutex_unlock(&pool->lock);
	if (users) {
		MMEM_LOG(ERR, "pool %s: %u spaces use it: destroy them first", pool->name, users);
		return mmem_ret(-EBUSY);
	}
	if (pool->worker != NULL) {
		rc = iopf_worker_destroy(pool->worker);
		if (rc < 0)
			return mmem_ret(rc);
		pool->worker = NULL;
	}
	/* Memory that a device may still reach must not be reused. */
	rc = mmem_dma_unmap(pool);
	if (rc < 0)
		return mmem_ret(rc);
	mmem_telemetry_remove(pool);
	mmem_evict_stop(pool);
	mmem_prefetch_stop(pool);
	mmem_fetchers_stop(pool);
	mmem_control_stop(pool);
	mmem_cpu_stop(pool);
	mmem_uring_stop(pool->uring);
	mmem_pool_unmap_memory(pool);
	mmem_swap_close(pool);
	destroy_locks(pool);
	free_pool(pool);
	return 0;
}

struct iopf_worker *
mmem_pool_get_worker(struct mmem_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	if (pool->worker == NULL)
		pool->worker = iopf_worker_create(&(struct iopf_worker_conf){ .name = pool->name });
	pthread_mutex_unlock(&pool->lock);
	return pool->worker;
}

bool
mmem_pool_hugepages(const struct mmem_pool *pool)
{
	if (pool == NULL) {
		rte_errno = EINVAL;
		return false;
	}
	return pool->hugepages;
}

static bool
chunk_has_state(const struct mmem_chunk *chunk, uint32_t bits)
{
	return atomic_load_explicit(&chunk->state, memory_order_relaxed) & bits;
}

/* First fit. Under pool->lock. */
static bool
find_free_run(const struct mmem_pool *pool, size_t n, size_t *first)
{
	size_t i, run = 0;

	for (i = 0; i < pool->nb_chunks; i++) {
		run = chunk_has_state(&pool->chunks[i], CHUNK_TAKEN) ? 0 : run + 1;
		if (run == n) {
			*first = i + 1 - n;
			return true;
		}
	}
	return false;
}

int
mmem_pool_take_chunks(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_chunk *chunk;
	bool zero, dirty = false;
	bool found;
	size_t i;

	pthread_mutex_lock(&pool->lock);
	found = find_free_run(pool, region->nb_chunks, &region->first_chunk);
	for (i = 0; found && i < region->nb_chunks; i++) {
		chunk = &pool->chunks[region->first_chunk + i];
		chunk->region = region;
		atomic_fetch_or_explicit(&chunk->state, CHUNK_TAKEN, memory_order_relaxed);
	}
	pthread_mutex_unlock(&pool->lock);
	if (!found)
		return -ENOMEM;

	/* Only the caller uses the region before it is published. */
	zero = !(region->flags & MMEM_ZERO_INLINE);
	for (i = 0; i < region->nb_chunks; i++) {
		chunk = &pool->chunks[region->first_chunk + i];
		dirty = chunk_has_state(chunk, CHUNK_DIRTY);
		if (dirty && zero) {
			mmem_zero_chunks(pool, region->first_chunk + i, 1);
			atomic_store_explicit(&chunk->state, CHUNK_TAKEN |
					(pool->hugepages ? CHUNK_POPULATED : 0),
					memory_order_relaxed);
		}
		if (!chunk_has_state(chunk, CHUNK_POPULATED))
			region->nb_empty++;
	}
	return 0;
}

void
mmem_pool_return_chunks(struct mmem_pool *pool, struct mmem_region *region)
{
	bool keep = pool->hugepages || (region->flags & MMEM_ZERO_INLINE);
	size_t page = region->first_chunk << (MMEM_CHUNK_LOG2 - MMEM_PAGE_LOG2);
	struct mmem_chunk *chunk;
	uint32_t left;
	size_t i;

	if (!keep)
		mmem_zero_chunks(pool, region->first_chunk, region->nb_chunks);
	/* A CPU may have written to a chunk that was never populated for a device. */
	for (i = region->first_chunk; keep && i < region->first_chunk + region->nb_chunks; i++)
		if (!chunk_has_state(&pool->chunks[i], CHUNK_POPULATED))
			mmem_zero_chunks(pool, i, 1);
	for (i = 0; i < region->size >> MMEM_PAGE_LOG2; i++)
		atomic_store_explicit(&pool->pages[page + i], 0, memory_order_relaxed);

	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < region->nb_chunks; i++) {
		chunk = &pool->chunks[region->first_chunk + i];
		left = keep && chunk_has_state(chunk, CHUNK_POPULATED) ?
				CHUNK_POPULATED | CHUNK_DIRTY : 0;
		chunk->region = NULL;
		atomic_store_explicit(&chunk->state, left, memory_order_relaxed);
	}
	pthread_mutex_unlock(&pool->lock);
}

void
mmem_pool_hide_region(struct mmem_pool *pool, struct mmem_region *region)
{
	size_t i;

	pthread_mutex_lock(&pool->lock);
	region->hidden = true;
	for (i = 0; i < region->nb_chunks; i++)
		atomic_store_explicit(&pool->chunks[region->first_chunk + i].space, NULL,
				memory_order_relaxed);
	if (mmem_region_has_pager(region))
		mmem_region_cancel_fetches(pool, region);
	pthread_mutex_unlock(&pool->lock);
}

static bool
region_is_busy(const struct mmem_pool *pool, const struct mmem_region *region)
{
	size_t i;

	if (region->nb_open != 0 || region->nb_threads != 0 ||
			region->nb_leaving != 0 || region->syncing || region->reporting)
		return true;
	for (i = 0; i < region->nb_chunks; i++)
		if (chunk_has_state(&pool->chunks[region->first_chunk + i], CHUNK_BUSY))
			return true;
	return false;
}

int
mmem_pool_wait_region_idle(struct mmem_pool *pool, struct mmem_region *region,
		unsigned int wait_ms)
{
	struct timespec until = mmem_ns_to_timespec(mmem_now_ns() + wait_ms * UINT64_C(1000000));
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	while (region_is_busy(pool, region) && rc != ETIMEDOUT) {
		/* Populating and a report always end, so they need no timeout. */
		if (region->nb_open != 0 || region->nb_threads != 0 || region->nb_leaving != 0)
			rc = pthread_cond_timedwait(&pool->changed_cond, &pool->lock, &until);
		else
			pthread_cond_wait(&pool->changed_cond, &pool->lock);
	}
	rc = region_is_busy(pool, region) ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

int
mmem_pool_populate_region(struct mmem_pool *pool, struct mmem_region *region)
{
	size_t i;
	int rc;

	if (region->nb_empty == 0)
		return 0;
	rc = mmem_populate_chunks(pool, region->first_chunk, region->nb_chunks);
	if (rc < 0)
		return rc;
	for (i = 0; i < region->nb_chunks; i++)
		atomic_fetch_or_explicit(&pool->chunks[region->first_chunk + i].state,
				CHUNK_POPULATED, memory_order_relaxed);
	region->nb_empty = 0;
	return 0;
}

int
mmem_pool_populate_chunk(struct mmem_pool *pool, struct mmem_chunk *chunk)
{
	int rc = 0;

	while (chunk_has_state(chunk, CHUNK_BUSY))
		pthread_cond_wait(&pool->changed_cond, &pool->lock);
	if (chunk_has_state(chunk, CHUNK_POPULATED))
		return 0;
	atomic_fetch_or_explicit(&chunk->state, CHUNK_BUSY, memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
	rc = mmem_populate_chunks(pool, chunk - pool->chunks, 1);
	pthread_mutex_lock(&pool->lock);
	if (rc == 0) {	/* Pairs with the acquire in mmem_access_check(). */
		atomic_fetch_or_explicit(&chunk->state, CHUNK_POPULATED, memory_order_release);
		chunk->region->nb_empty--;
	}
	atomic_fetch_and_explicit(&chunk->state, ~CHUNK_BUSY, memory_order_release);
	pthread_cond_broadcast(&pool->changed_cond);
	return rc;
}

/*
 * Start or await what the page lacks: contents, else memory. Under pool->lock. -EAGAIN: the lock
 * was released meanwhile, so call this again.
 */
static int
page_bring_step(struct mmem_pool *pool, struct mmem_space *space, uint64_t off, uint64_t began,
		uint64_t id)
{
	struct mmem_chunk *chunk = &pool->chunks[off >> MMEM_CHUNK_LOG2];
	int rc;

	if (atomic_load_explicit(&chunk->space, memory_order_relaxed) != space)
		return -EFAULT;
	if (atomic_load_explicit(&pool->pages[off >> MMEM_PAGE_LOG2], memory_order_relaxed) &
			PAGE_ABSENT) {
		rc = mmem_fetch_begin(pool, chunk->region, off, began, id);
		if (rc != -EINPROGRESS || id != 0)
			return rc;
		if (mmem_self.paging != NULL)
			return -EDEADLK;
		mmem_fetch_wait(chunk->region, off);
		pthread_cond_wait(&pool->changed_cond, &pool->lock);
		return -EAGAIN;
	}
	if (chunk_has_state(chunk, CHUNK_POPULATED))
		return 0;
	atomic_fetch_or_explicit(&chunk->state, mmem_chunk_touched_bit(space, chunk),
			memory_order_relaxed);
	rc = chunk_has_state(chunk, CHUNK_BUSY) ?
			pthread_cond_wait(&pool->changed_cond, &pool->lock) :
			mmem_pool_populate_chunk(pool, chunk);
	mmem_control_wake(pool);
	return rc < 0 ? rc : -EAGAIN;
}

int
mmem_pool_bring_page(struct mmem_pool *pool, struct mmem_space *space, uint64_t off, uint64_t began,
		uint64_t id)
{
	int rc;

	pthread_mutex_lock(&pool->lock);
	do
		rc = page_bring_step(pool, space, off, began, id);
	while (rc == -EAGAIN);
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

/* Use the last free chunk for table pages until the pool is destroyed. Under pool->lock. */
static void
tables_add_chunk(struct mmem_pool *pool)
{
	size_t i = pool->nb_chunks;
	uint8_t *p, *end;

	while (i > 0 && chunk_has_state(&pool->chunks[i - 1], CHUNK_TAKEN))
		i--;
	if (i == 0)
		return;
	i--;
	if (!chunk_has_state(&pool->chunks[i], CHUNK_POPULATED) &&
			mmem_populate_chunks(pool, i, 1) < 0)
		return;
	atomic_fetch_or_explicit(&pool->chunks[i].state, CHUNK_TAKEN | CHUNK_POPULATED,
			memory_order_relaxed);
	p = mmem_off_to_dev(pool, (uint64_t)i << MMEM_CHUNK_LOG2);
	for (end = p + MMEM_CHUNK_SIZE; p < end; p += MMEM_PAGE_SIZE) {
		*(void **)p = pool->tables;
		pool->tables = p;
	}
}

void *
mmem_table_alloc(void *ctx, size_t size)
{
	struct mmem_pool *pool = ctx;
	void *p;

	RTE_SET_USED(size);	/* the granule: MMEM_PAGE_SIZE */
	pthread_mutex_lock(&pool->lock);
	if (pool->tables == NULL)
		tables_add_chunk(pool);
	p = pool->tables;
	if (p != NULL)
		pool->tables = *(void **)p;
	pthread_mutex_unlock(&pool->lock);
	if (p != NULL)
		memset(p, 0, MMEM_PAGE_SIZE);
	return p;
}

void
mmem_table_free(void *ctx, void *p, size_t size)
{
	struct mmem_pool *pool = ctx;

	RTE_SET_USED(size);
	pthread_mutex_lock(&pool->lock);
	*(void **)p = pool->tables;
	pool->tables = p;
	pthread_mutex_unlock(&pool->lock);
}
