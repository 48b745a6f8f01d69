/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Allocates and finds regions. */

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "mmem_cpu.h"
#include "mmem_huge.h"
#include "mmem_log.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_swap.h"
#include "mmem_thread.h"

#define REGION_FLAGS (MMEM_RIGHTS | MMEM_TRACK_WRITES | MMEM_ZERO_INLINE | MMEM_POPULATE | \
		MMEM_CPU_LATER | MMEM_SHARED | MMEM_HUGE)

/* Let faults find the region. */
static void
region_publish(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	struct mmem_pool *pool = space->pool;
	struct mmem_chunk *chunk;
	size_t i;

	pthread_mutex_lock(&pool->lock);
	TAILQ_INSERT_TAIL(&pool->regions, region, next);
	for (i = 0; i < region->nb_chunks; i++) {
		chunk = &space->chunks[region->first_chunk + i];
		atomic_store_explicit(&chunk->advice, MMEM_ADVISE_NORMAL, memory_order_relaxed);
		/* Pairs with the acquire in mmem_access_check(). */
		atomic_store_explicit(&chunk->space, space, memory_order_release);
	}
	if (region->nb_empty)
		mmem_control_wake(pool);
	pthread_mutex_unlock(&pool->lock);
}

static void
region_init_pages(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	size_t first = mmem_region_off(region) >> MMEM_PAGE_LOG2;
	uint8_t rights = mmem_region_get_rights(region, region->flags) |
		(mmem_region_has_pager(region) ? PAGE_ABSENT : PAGE_USED);
	struct mmem_chunk *chunk;
	uint8_t page;
	size_t i;

	for (i = 0; i < region->size >> MMEM_PAGE_LOG2; i++) {
		chunk = &space->chunks[(first + i) >> (MMEM_CHUNK_LOG2 - MMEM_PAGE_LOG2)];
		page = rights;
		if (atomic_load_explicit(&chunk->state, memory_order_relaxed) & CHUNK_DIRTY)
			page |= PAGE_DIRTY;
		atomic_store_explicit(&space->pages[first + i], page, memory_order_relaxed);
	}
}

/* Each block gets its memory with its fetch. */
static void
region_set_populated(struct mmem_region *region)
{
	uint32_t state;
	size_t i;

	region->hw_dirty = region->space->hw_dirty && !(region->flags & MMEM_TRACK_WRITES);
	state = CHUNK_POPULATED | (region->hw_dirty ? CHUNK_HW_DIRTY : 0);

	for (i = 0; i < region->nb_chunks; i++)
		atomic_fetch_or_explicit(&region->space->chunks[region->first_chunk + i].state,
				state, memory_order_relaxed);
	region->nb_empty = 0;
	region->keeps_dirty = true;
}

static int
region_take_memory(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	struct mmem_pool *pool = space->pool;
	int rc;

	rc = mmem_pool_take_chunks(pool, region);
	if (rc < 0) {
		MMEM_LOG_LIMITED(space, "no region of %zu bytes in pool %s of %zu MiB: %zu "
				"adjacent free chunks of 2 MiB are needed: free regions, or use a "
				"larger pool", region->size, pool->name, pool->size >> 20,
				region->nb_chunks);
		return rc;
	}
	rc = mmem_region_make_tables(region);
	if (rc == -ENOMEM)
		MMEM_LOG_LIMITED(space, "no region of %zu bytes in pool %s of %zu MiB: no chunk is "
				"left for its page tables: free regions, or use a larger pool",
				region->size, pool->name, pool->size >> 20);
	/* Blocks under a budget have memory when they are fetched. */
	if (rc == 0 && (region->flags & MMEM_POPULATE) && region->blocks == NULL) {
		rc = mmem_pool_populate_region(pool, region);
		if (rc < 0)
			MMEM_LOG_LIMITED(space, "no memory for a region of %zu bytes: %s: use a "
					"smaller region, or no MMEM_POPULATE",
					region->size, rte_strerror(-rc));
	}
	if (rc < 0) {
		mmem_pool_return_chunks(pool, region);
		return rc;
	}
	if (region->blocks != NULL)
		region_set_populated(region);
	mmem_swap_set_base(&region->pager, mmem_region_off(region));
	region_init_pages(region);
	if (mmem_region_is_watched(region))
		rc = mmem_cpu_watch(pool, region);
	if (rc < 0)
		mmem_pool_return_chunks(pool, region);
	return rc;
}

/* Returns 0, or the error that forbids the region, after logging it. */
static int
region_check_args(struct mmem_space *space, size_t size, unsigned int flags)
{
	if (space->domain == NULL) {
		MMEM_LOG_LIMITED(space, "half destroyed, cannot allocate a region: destroy "
				"it again");
		return -ESHUTDOWN;
	}
	if (size == 0) {
		MMEM_LOG_LIMITED(space, "a region of 0 bytes: give a size");
		return -EINVAL;
	}
	if (!(flags & MMEM_RIGHTS) || (flags & ~REGION_FLAGS)) {
		MMEM_LOG_LIMITED(space, "flags 0x%x of a region: set at least one of MMEM_READ, "
				"MMEM_WRITE and MMEM_EXEC, and no bit outside 0x%x",
				flags, REGION_FLAGS);
		return -EINVAL;
	}
	if ((flags & MMEM_HUGE) && (flags & MMEM_ZERO_INLINE)) {
		MMEM_LOG_LIMITED(space, "MMEM_HUGE and MMEM_ZERO_INLINE of a region: a fault must "
				"not zero 2 MiB: use one of them");
		return -EINVAL;
	}
	if (size > space->size) {
		MMEM_LOG_LIMITED(space, "no region of %zu bytes in pool %s of %zu MiB: it is "
				"larger than the pool: use a larger pool", size,
				space->pool->name, space->size >> 20);
		return -ENOMEM;
	}
	return 0;
}

/*
 * The pager of a region: the caller's, or one that keeps what is written in the swap file. Returns
 * 1, 0 (none) or -ENOMEM.
 */
static int
choose_pager(const struct mmem_space *space, const struct mmem_pager *given, size_t size,
		struct mmem_pager *pager)
{
	bool swaps = mmem_space_has_budget(space) && space->pool->swap.fd >= 0;
	int rc;

	if (given != NULL)
		*pager = *given;
	if (!swaps || (given != NULL && mmem_pager_can_write(given)))
		return given != NULL;
	rc = mmem_swap_cover(space->pool, given, size, pager);
	return rc < 0 ? rc : 1;
}

static void *
region_create(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *given)
{
	struct mmem_region *region;
	struct mmem_pager pager = { 0 };
	void *ptr;
	int rc;

	if (space == NULL) {
		rte_errno = EINVAL;
		return NULL;
	}
	rc = mmem_may_wait();
	if (rc == 0)
		rc = region_check_args(space, size, flags);
	if (rc < 0) {
		rte_errno = -rc;
		return NULL;
	}
	region = calloc(1, sizeof(*region));
	if (region == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	region->space = space;
	region->size = RTE_ALIGN_CEIL(size, MMEM_PAGE_SIZE);
	region->nb_chunks = RTE_ALIGN_CEIL(size, MMEM_CHUNK_SIZE) >> MMEM_CHUNK_LOG2;
	region->flags = flags;
	rc = choose_pager(space, given, region->size, &pager);
	if (rc > 0 && (flags & MMEM_HUGE)) {
		MMEM_LOG_LIMITED(space, "MMEM_HUGE of a region with a pager, or of a pool with a "
				"budget and a swap file: its blocks leave memory one by one: leave "
				"out MMEM_HUGE");
		rc = -EINVAL;
	}
	if (rc > 0) {
		/*
		 * Bytes that the pager leaves unwritten must not show contents of an earlier
		 * region.
		 */
		region->flags &= ~MMEM_ZERO_INLINE;
		rc = mmem_pager_init(region, &pager);
	}
	if (rc == 0)
		rc = region_take_memory(region);
	if (rc < 0) {
		mmem_swap_uncover(&pager);
		mmem_pager_fini(region);
		free(region);
		rte_errno = -rc;
		return NULL;
	}
	/* After region_publish() another thread may free the region. */
	ptr = space->mem + mmem_region_off(region);
	region_publish(region);
	mmem_regions_free_kept(space);
	return ptr;
}

/* True, after a log line, for MMEM_SHARED of memory that is no file. */
static bool
refuse_shared(struct mmem_space *space, unsigned int flags)
{
	if (space == NULL || !(flags & MMEM_SHARED))
		return false;
	MMEM_LOG_LIMITED(space, "MMEM_SHARED of a region that is no file: use mmem_map_file()");
	rte_errno = EINVAL;
	return true;
}

void *
mmem_alloc(struct mmem_space *space, size_t size, unsigned int flags)
{
	if (refuse_shared(space, flags))
		return NULL;
	return region_create(space, size, flags, NULL);
}

void *
mmem_alloc_paged(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *pager)
{
	if (pager == NULL) {
		if (space != NULL)
			MMEM_LOG_LIMITED(space, "mmem_alloc_paged() without a pager: give a "
					"pager, or use mmem_alloc()");
		rte_errno = EINVAL;
		return NULL;
	}
	if (refuse_shared(space, flags))
		return NULL;
	return region_create(space, size, flags, pager);
}

/* A shared file is not extended. */
static void
warn_beyond_end(struct mmem_space *space, const char *path, off_t offset, size_t size)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < offset + (off_t)size)
		MMEM_LOG_LIMITED(space, "%ju bytes of the region lie beyond the end of %s: what is "
				"written there is not kept: ftruncate() the file first",
				(uintmax_t)(offset + size - RTE_MAX(st.st_size, offset)), path);
}

void *
mmem_map_file(struct mmem_space *space, const char *path, off_t offset, size_t size,
		unsigned int flags)
{
	struct mmem_pager pager;
	void *ptr;
	int rc;

	rc = space == NULL || path == NULL ? -EINVAL : mmem_may_wait();
	if (rc == 0)
		rc = region_check_args(space, size, flags);
	if (rc == 0)
		rc = mmem_pager_open_file(space->pool, path, offset, size, flags & MMEM_SHARED,
				&pager);
	if (rc < 0) {
		rte_errno = -rc;
		return NULL;
	}
	ptr = region_create(space, size, flags, &pager);
	if (ptr == NULL)
		pager.release(pager.ctx);
	else if (flags & MMEM_SHARED)
		warn_beyond_end(space, path, offset, size);
	return ptr;
}

/*
 * The region that contains this range, or NULL; not a region that a thread frees. Under
 * space->lock, so that the region stays.
 */
static struct mmem_region *
region_find(struct mmem_space *space, const void *ptr, size_t len, bool hidden)
{
	uint64_t off = (uintptr_t)ptr - (uintptr_t)space->mem;
	struct mmem_region *region;

	if (off >= space->size)
		return NULL;
	pthread_mutex_lock(&space->pool->lock);
	region = space->chunks[off >> MMEM_CHUNK_LOG2].region;
	if (region != NULL && (region->space != space || region->hidden != hidden ||
			region->freeing))
		region = NULL;
	/* A region that is not published yet is not in use. */
	if (region != NULL && !hidden &&
			atomic_load_explicit(&space->chunks[region->first_chunk].space,
			memory_order_relaxed) != space)
		region = NULL;
	pthread_mutex_unlock(&space->pool->lock);
	if (region == NULL)
		return NULL;
	off -= mmem_region_off(region);
	if (off >= region->size || len > region->size - off)
		return NULL;
	return region;
}

struct mmem_region *
mmem_region_find(struct mmem_space *space, const void *ptr, size_t len)
{
	return region_find(space, ptr, len, false);
}

struct mmem_region *
mmem_region_find_hidden(struct mmem_space *space, const void *ptr)
{
	return region_find(space, ptr, 0, true);
}

struct mmem_region *
mmem_region_find_range(struct mmem_space *space, const void *ptr, size_t len)
{
	struct mmem_region *region = NULL;

	if (len != 0 && !(((uintptr_t)ptr | len) & (MMEM_PAGE_SIZE - 1)))
		region = region_find(space, ptr, len, false);
	if (region == NULL && space->domain == NULL)
		MMEM_LOG_LIMITED(space, "half destroyed, cannot unmap, protect or prefetch %zu "
				"bytes at %p: destroy it again", len, ptr);
	else if (region == NULL)
		MMEM_LOG_LIMITED(space, "%zu bytes at %p are no range of a region: use multiples "
				"of 4 KiB, not 0, within one region", len, ptr);
	return region;
}
