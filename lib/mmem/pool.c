/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The memory of a pool, who has which chunk of it, and what is in it. */

#include <errno.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "mmem_internal.h"

#define DEFAULT_SIZE	((size_t)4 << 30)
#define DEFAULT_AHEAD	8

RTE_LOG_REGISTER(mmem_logtype, lib.mmem, NOTICE);

/* One mapping of the file, aligned to a chunk. */
static int
map_aligned(struct mmem_pool *pool)
{
	size_t room = pool->size + MMEM_CHUNK_SIZE;
	uint8_t *start, *mem;

	start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return -ENOMEM;
	mem = RTE_PTR_ALIGN_CEIL(start, MMEM_CHUNK_SIZE);
	/* Of hugepages this reserves all, or fails: no SIGBUS later. */
	if (mmap(mem, pool->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, pool->fd,
			0) == MAP_FAILED) {
		munmap(start, room);
		return -ENOMEM;
	}
	if (mem != start)
		munmap(start, mem - start);
	munmap(mem + pool->size, start + room - (mem + pool->size));
	pool->mem = mem;
	/* A child's copy would be mapped by nobody's leave. */
	madvise(mem, pool->size, MADV_DONTFORK);
	return 0;
}

static int
map_memory(struct mmem_pool *pool, bool hugepages)
{
	unsigned int flags = MFD_CLOEXEC;
	int rc;

	if (hugepages)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	pool->fd = memfd_create("mmem", flags);
	if (pool->fd < 0)
		return -ENOMEM;
	rc = ftruncate(pool->fd, pool->size) < 0 ? -ENOMEM : map_aligned(pool);
	if (rc < 0) {
		close(pool->fd);
		return rc;
	}
	pool->hugepages = hugepages;
	if (!hugepages)
		madvise(pool->mem, pool->size, MADV_HUGEPAGE);
	return 0;
}

static void
unmap_memory(struct mmem_pool *pool)
{
	munmap(pool->mem, pool->size);
	close(pool->fd);
}

/* Hugepages if all fit, and populated once for all, so that each has its place for good. */
static int
get_memory(struct mmem_pool *pool, bool no_hugepages)
{
	size_t i;

	if (no_hugepages || map_memory(pool, true) < 0)
		return map_memory(pool, false);
	if (mmem_populate(pool, 0, pool->nb_chunks) < 0) {
		unmap_memory(pool);
		return map_memory(pool, false);
	}
	for (i = 0; i < pool->nb_chunks; i++)
		atomic_init(&pool->chunks[i].state, CHUNK_POPULATED);
	return 0;
}

static void
init_locks(struct mmem_pool *pool)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->fetched, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->kick, &attr);
	pthread_condattr_destroy(&attr);
}

static void
free_pool(struct mmem_pool *pool)
{
	free(pool->pages);
	free(pool->failed_at);
	free(pool->chunks);
	free(pool->by_addr);
	free(pool);
}

struct mmem_pool *
mmem_pool_create(const struct mmem_pool_conf *conf)
{
	struct mmem_pool *pool;
	int rc = -ENOMEM;

	if (conf == NULL || conf->iommu == NULL || conf->size % MMEM_CHUNK_SIZE) {
		MMEM_LOG(ERR, "pool: needs an IOMMU and a size that is a multiple of 2 MiB");
		rte_errno = EINVAL;
		return NULL;
	}
	pool = calloc(1, sizeof(*pool));
	if (pool == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	pool->iommu = conf->iommu;
	pool->size = conf->size ? conf->size : DEFAULT_SIZE;
	pool->nb_chunks = pool->size >> MMEM_CHUNK_LOG2;
	pool->ahead = conf->ahead ? conf->ahead : DEFAULT_AHEAD;
	snprintf(pool->name, sizeof(pool->name), "%s", conf->name ? conf->name : "pool");
	TAILQ_INIT(&pool->regions);

	/* The fault path reads any of them: written now, so that it meets no page fault. */
	pool->chunks = malloc(pool->nb_chunks * sizeof(*pool->chunks));
	pool->failed_at = calloc(pool->nb_chunks, sizeof(*pool->failed_at));
	pool->pages = calloc(pool->size >> MMEM_PAGE_LOG2, sizeof(*pool->pages));
	if (pool->chunks == NULL || pool->failed_at == NULL || pool->pages == NULL) {
		MMEM_LOG(ERR, "pool %s: no memory to keep track of %zu MiB: use a smaller size",
				pool->name, pool->size >> 20);
		goto fail;
	}
	memset(pool->chunks, 0, pool->nb_chunks * sizeof(*pool->chunks));
	rc = get_memory(pool, conf->no_hugepages);
	if (rc < 0) {
		MMEM_LOG(ERR, "pool %s: no %zu MiB of address space: use a smaller size",
				pool->name, pool->size >> 20);
		goto fail;
	}
	rc = mmem_dma_map(pool);
	if (rc < 0) {
		MMEM_LOG(ERR, "pool %s: %s does not reach its memory: %s%s", pool->name,
				iopf_iommu_name(pool->iommu), rte_strerror(-rc),
				pool->hugepages ? "" : "; reserve hugepages for it");
		goto fail_memory;
	}
	init_locks(pool);
	rc = mmem_ahead_start(pool);
	if (rc < 0) {
		MMEM_LOG(ERR, "pool %s: control thread: %s", pool->name, rte_strerror(-rc));
		goto fail_dma;
	}
	return pool;

fail_dma:
	mmem_dma_unmap(pool);
fail_memory:
	unmap_memory(pool);
fail:
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
		return mmem_ret(-EINVAL);
	pthread_mutex_lock(&pool->lock);
	users = pool->users;
	pthread_mutex_unlock(&pool->lock);
	if (users) {
		MMEM_LOG(ERR, "pool %s: %u spaces use it: destroy them first", pool->name, users);
		return mmem_ret(-EBUSY);
	}
	/* What a device might still reach is not given to somebody else. */
	rc = mmem_dma_unmap(pool);
	if (rc < 0)
		return mmem_ret(rc);
	mmem_ahead_stop(pool);
	unmap_memory(pool);
	pthread_cond_destroy(&pool->kick);
	pthread_cond_destroy(&pool->fetched);
	pthread_mutex_destroy(&pool->lock);
	free_pool(pool);
	return 0;
}

bool
mmem_pool_hugepages(const struct mmem_pool *pool)
{
	return pool->hugepages;
}

static bool
chunk_is(const struct mmem_chunk *chunk, uint32_t bits)
{
	return atomic_load_explicit(&chunk->state, memory_order_relaxed) & bits;
}

/* First fit. Under the lock. */
static bool
find_run(const struct mmem_pool *pool, size_t n, size_t *first)
{
	size_t i, run = 0;

	for (i = 0; i < pool->nb_chunks; i++) {
		run = chunk_is(&pool->chunks[i], CHUNK_TAKEN) ? 0 : run + 1;
		if (run == n) {
			*first = i + 1 - n;
			return true;
		}
	}
	return false;
}

int
mmem_pool_take(struct mmem_pool *pool, struct mmem_region *region)
{
	struct mmem_chunk *chunk;
	bool zero, dirty = false;
	bool found;
	size_t i;

	pthread_mutex_lock(&pool->lock);
	found = find_run(pool, region->nb_chunks, &region->first);
	for (i = 0; found && i < region->nb_chunks; i++) {
		chunk = &pool->chunks[region->first + i];
		chunk->region = region;
		chunk->error = 0;
		atomic_fetch_or_explicit(&chunk->state, CHUNK_TAKEN, memory_order_relaxed);
	}
	pthread_mutex_unlock(&pool->lock);
	if (!found)
		return -ENOMEM;

	/* The caller's alone until it is published. */
	zero = !(region->flags & MMEM_ZERO_INLINE);
	for (i = 0; i < region->nb_chunks; i++) {
		chunk = &pool->chunks[region->first + i];
		dirty = chunk_is(chunk, CHUNK_DIRTY);
		if (dirty && zero) {
			mmem_clean(pool, region->first + i, 1);
			atomic_store_explicit(&chunk->state, CHUNK_TAKEN |
					(pool->hugepages ? CHUNK_POPULATED : 0),
					memory_order_relaxed);
		}
		if (!chunk_is(chunk, CHUNK_POPULATED))
			region->nb_empty++;
		else if (region->pager.fill == NULL)
			atomic_fetch_or_explicit(&chunk->state, CHUNK_READY, memory_order_relaxed);
	}
	return 0;
}

void
mmem_pool_give(struct mmem_pool *pool, struct mmem_region *region)
{
	bool keep = pool->hugepages || (region->flags & MMEM_ZERO_INLINE);
	size_t page = region->first << (MMEM_CHUNK_LOG2 - MMEM_PAGE_LOG2);
	struct mmem_chunk *chunk;
	uint32_t left;
	size_t i;

	if (!keep)
		mmem_clean(pool, region->first, region->nb_chunks);
	for (i = 0; i < region->size >> MMEM_PAGE_LOG2; i++)
		atomic_store_explicit(&pool->pages[page + i], 0, memory_order_relaxed);

	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < region->nb_chunks; i++) {
		chunk = &pool->chunks[region->first + i];
		left = keep && chunk_is(chunk, CHUNK_POPULATED) ? CHUNK_POPULATED | CHUNK_DIRTY : 0;
		chunk->region = NULL;
		atomic_store_explicit(&chunk->state, left, memory_order_relaxed);
	}
	pthread_mutex_unlock(&pool->lock);
}

void
mmem_pool_hide(struct mmem_pool *pool, struct mmem_region *region)
{
	size_t i;

	pthread_mutex_lock(&pool->lock);
	region->dead = true;
	for (i = 0; i < region->nb_chunks; i++)
		atomic_store_explicit(&pool->chunks[region->first + i].space, NULL,
				memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);
}

void
mmem_pool_settle(struct mmem_pool *pool, struct mmem_region *region)
{
	size_t i;

	pthread_mutex_lock(&pool->lock);
	for (i = 0; i < region->nb_chunks; i++) {
		while (chunk_is(&pool->chunks[region->first + i], CHUNK_BUSY))
			pthread_cond_wait(&pool->fetched, &pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
}

int
mmem_pool_populate(struct mmem_pool *pool, struct mmem_region *region)
{
	uint32_t gained = CHUNK_POPULATED | (region->pager.fill == NULL ? CHUNK_READY : 0);
	size_t i;
	int rc;

	if (region->nb_empty == 0)
		return 0;
	rc = mmem_populate(pool, region->first, region->nb_chunks);
	if (rc < 0)
		return rc;
	for (i = 0; i < region->nb_chunks; i++)
		atomic_fetch_or_explicit(&pool->chunks[region->first + i].state, gained,
				memory_order_relaxed);
	region->nb_empty = 0;
	return 0;
}

/* The part of fetching that takes time. */
static int
chunk_fetch(struct mmem_pool *pool, struct mmem_region *region, size_t index, bool populated)
{
	uint64_t off = (uint64_t)(index - region->first) << MMEM_CHUNK_LOG2;
	size_t len = RTE_MIN(region->size - off, (uint64_t)MMEM_CHUNK_SIZE);
	int rc;

	if (!populated) {
		rc = mmem_populate(pool, index, 1);
		if (rc < 0)
			return rc;
	}
	if (region->pager.fill == NULL)
		return 0;
	rc = region->pager.fill(region->pager.ctx, off,
			pool->mem + (index << MMEM_CHUNK_LOG2), len);
	if (rc == 0) {
		mmem_count(region->space, MMEM_STAT_FILLED, len >> MMEM_PAGE_LOG2);
		return 0;
	}
	MMEM_LOG(ERR, "space %s: pager failed at offset 0x%" PRIx64 " of region %p: %s",
			region->space->name, off,
			pool->mem + (region->first << MMEM_CHUNK_LOG2), rte_strerror(-rc));
	return -EIO;
}

int
mmem_pool_fetch(struct mmem_pool *pool, struct mmem_space *space, uint64_t off, uint64_t began)
{
	size_t index = off >> MMEM_CHUNK_LOG2;
	struct mmem_chunk *chunk = &pool->chunks[index];
	struct mmem_region *region;
	bool populated;
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		if (atomic_load_explicit(&chunk->space, memory_order_relaxed) != space) {
			rc = -EFAULT;
			goto out;
		}
		if (chunk_is(chunk, CHUNK_READY))
			goto out;
		if (!chunk_is(chunk, CHUNK_BUSY))
			break;
		pthread_cond_wait(&pool->fetched, &pool->lock);
	}
	if (chunk->error && began <= pool->failed_at[index]) {
		rc = chunk->error;
		goto out;
	}
	region = chunk->region;
	populated = chunk_is(chunk, CHUNK_POPULATED);
	atomic_fetch_or_explicit(&chunk->state, CHUNK_BUSY | CHUNK_TOUCHED, memory_order_relaxed);
	pthread_mutex_unlock(&pool->lock);

	rc = chunk_fetch(pool, region, index, populated);

	pthread_mutex_lock(&pool->lock);
	if (!populated && (rc == 0 || rc == -EIO)) {
		atomic_fetch_or_explicit(&chunk->state, CHUNK_POPULATED, memory_order_relaxed);
		region->nb_empty--;
	}
	chunk->error = rc;
	if (rc < 0)
		pool->failed_at[index] = rte_rdtsc();
	else	/* Pairs with the acquire in resolve(). */
		atomic_fetch_or_explicit(&chunk->state, CHUNK_READY, memory_order_release);
	if (rc == 0 && region->pager.fill != NULL)
		region->nb_unfilled--;
	atomic_fetch_and_explicit(&chunk->state, ~CHUNK_BUSY, memory_order_release);
	pthread_cond_broadcast(&pool->fetched);
	if (region->nb_empty)
		pthread_cond_signal(&pool->kick);
out:
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

/* Pages for tables: a chunk from the far end, kept for the life of the pool. Under the lock. */
static void
tables_grow(struct mmem_pool *pool)
{
	size_t i = pool->nb_chunks;
	uint8_t *p, *end;

	while (i > 0 && chunk_is(&pool->chunks[i - 1], CHUNK_TAKEN))
		i--;
	if (i == 0)
		return;
	i--;
	if (!chunk_is(&pool->chunks[i], CHUNK_POPULATED) && mmem_populate(pool, i, 1) < 0)
		return;
	atomic_fetch_or_explicit(&pool->chunks[i].state, CHUNK_TAKEN | CHUNK_POPULATED,
			memory_order_relaxed);
	p = pool->mem + (i << MMEM_CHUNK_LOG2);
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

	RTE_SET_USED(size);	/* a granule: MMEM_PAGE_SIZE */
	pthread_mutex_lock(&pool->lock);
	if (pool->tables == NULL)
		tables_grow(pool);
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
