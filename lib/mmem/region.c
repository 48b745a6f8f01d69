/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Regions: made, changed, freed. */

#include <errno.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "mmem_internal.h"

/* Ranges of one invalidation; pgt_unmap() makes them larger when there are more. */
#define MAX_INV 16

#define REGION_FLAGS (MMEM_RIGHTS | MMEM_TRACK_WRITES | MMEM_ZERO_INLINE | MMEM_POPULATE)

/* To write is to read; and what may be executed can be read in the tables' format. */
static uint8_t
page_rights(unsigned int flags)
{
	uint8_t page = flags & (MMEM_RIGHTS | MMEM_TRACK_WRITES);

	return flags & MMEM_RIGHTS ? page | MMEM_READ : page;
}

static size_t
region_off(const struct mmem_region *region)
{
	return region->first << MMEM_CHUNK_LOG2;
}

/* Let faults find it. */
static void
publish(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	struct mmem_pool *pool = space->pool;
	size_t i;

	pthread_mutex_lock(&pool->lock);
	TAILQ_INSERT_TAIL(&pool->regions, region, next);
	for (i = 0; i < region->nb_chunks; i++)	/* Pairs with the acquire in resolve(). */
		atomic_store_explicit(&space->chunks[region->first + i].space, space,
				memory_order_release);
	if (region->nb_empty || region->nb_unfilled)
		pthread_cond_signal(&pool->kick);
	pthread_mutex_unlock(&pool->lock);
}

static void
set_pages(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	size_t first = region_off(region) >> MMEM_PAGE_LOG2;
	uint8_t rights = page_rights(region->flags) | PAGE_USED;
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

static int
region_make(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	struct mmem_pool *pool = space->pool;
	int rc;

	rc = mmem_pool_take(pool, region);
	if (rc < 0)
		return rc;
	rc = pgt_prealloc(space->pgt, mmem_va(space, region_off(region)), region->size);
	if (rc == 0 && (region->flags & MMEM_POPULATE))
		rc = mmem_pool_populate(pool, region);
	if (rc < 0) {
		mmem_pool_give(pool, region);
		return rc;
	}
	set_pages(region);
	return 0;
}

static void *
region_create(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *pager)
{
	struct mmem_region *region;
	void *ptr;
	int rc;

	if (space == NULL || size == 0 || !(flags & MMEM_RIGHTS) || (flags & ~REGION_FLAGS)) {
		rte_errno = EINVAL;
		return NULL;
	}
	if (size > space->size) {
		rte_errno = ENOMEM;
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
	if (pager) {
		/* Whatever it leaves unwritten must not show what was there before. */
		region->flags &= ~MMEM_ZERO_INLINE;
		region->pager = *pager;
		region->nb_unfilled = region->nb_chunks;
	}
	rc = region_make(region);
	if (rc < 0) {
		MMEM_LOG(ERR, "space %s: no region of %zu bytes in pool %s of %zu MiB: %s",
				space->name, size, space->pool->name, space->size >> 20,
				rte_strerror(-rc));
		free(region);
		rte_errno = -rc;
		return NULL;
	}
	/* From here on it may be freed by whoever guesses its address. */
	ptr = space->mem + region_off(region);
	publish(region);
	return ptr;
}

void *
mmem_alloc(struct mmem_space *space, size_t size, unsigned int flags)
{
	return region_create(space, size, flags, NULL);
}

void *
mmem_alloc_paged(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *pager)
{
	if (pager == NULL || pager->fill == NULL) {
		rte_errno = EINVAL;
		return NULL;
	}
	return region_create(space, size, flags, pager);
}

void *
mmem_map_file(struct mmem_space *space, const char *path, off_t offset, size_t size,
		unsigned int flags)
{
	struct mmem_pager pager;
	void *ptr;
	int rc;

	rc = mmem_pager_file(path, offset, size, &pager);
	if (rc < 0) {
		rte_errno = -rc;
		return NULL;
	}
	ptr = region_create(space, size, flags, &pager);
	if (ptr == NULL)
		pager.release(pager.ctx);
	return ptr;
}

/* A live region with this range inside, or NULL. Under space->lock, so that it stays. */
static struct mmem_region *
region_find(struct mmem_space *space, const void *ptr, size_t len)
{
	uint64_t off = (uintptr_t)ptr - (uintptr_t)space->mem;
	struct mmem_region *region;

	if (off >= space->size)
		return NULL;
	pthread_mutex_lock(&space->pool->lock);
	region = space->chunks[off >> MMEM_CHUNK_LOG2].region;
	if (region != NULL && (region->space != space || region->dead))
		region = NULL;
	pthread_mutex_unlock(&space->pool->lock);
	if (region == NULL || atomic_load_explicit(&space->chunks[region->first].space,
			memory_order_relaxed) != space)
		return NULL;
	off -= region_off(region);
	if (off >= region->size || len > region->size - off)
		return NULL;
	return region;
}

static struct mmem_region *
range_find(struct mmem_space *space, const void *ptr, size_t len)
{
	if (len == 0 || (((uintptr_t)ptr | len) & (MMEM_PAGE_SIZE - 1)))
		return NULL;
	return region_find(space, ptr, len);
}

/* log2 of the entries of a level; 0 for any. */
static uint8_t
leaf_log2(const struct pgt_inv *inv)
{
	if (inv->level == 0)
		return 0;
	return MMEM_PAGE_LOG2 + (3 - inv->level) * (MMEM_PAGE_LOG2 - 3);
}

int
mmem_invalidate(struct mmem_space *space, const struct iopf_inv *inv, unsigned int n)
{
	const struct iopf_inv all = { .all = true };
	int rc;

	/* Pairs with the release in mmem_fault(): what it left out is covered by this. */
	if (atomic_exchange_explicit(&space->inv_missing, false, memory_order_acquire)) {
		inv = &all;
		n = 1;
	}
	if (n == 0)
		return 0;
	rc = iopf_invalidate(space->domain, inv, n, NULL);
	if (rc < 0) {
		MMEM_LOG(ERR, "space %s: devices may still use pages that were taken from them: "
				"invalidation: %s", space->name, rte_strerror(-rc));
		atomic_store_explicit(&space->inv_missing, true, memory_order_relaxed);
	}
	return rc;
}

/* What a change of the table says. */
static int
invalidate_unmapped(struct mmem_space *space, const struct pgt_unmapped *out)
{
	struct iopf_inv inv[MAX_INV];
	unsigned int i;

	for (i = 0; i < out->nb_inv; i++) {
		inv[i] = (struct iopf_inv){
			.addr = out->inv[i].va,
			.size = out->inv[i].size,
			.leaf_log2 = leaf_log2(&out->inv[i]),
			.leaf_only = out->inv[i].leaf_only,
		};
	}
	return mmem_invalidate(space, inv, out->nb_inv);
}

/*
 * Close a range and invalidate it. Whoever resolves a page in it now fails in the
 * entry's compare-and-swap; the caller opens it again. Under space->lock.
 */
static int
take_away(struct mmem_space *space, uint64_t va, size_t len)
{
	struct pgt_inv inv[MAX_INV];
	struct pgt_unmapped out;
	int rc, rc_inv;

	pgt_unmapped_init(&out, inv, MAX_INV);
	rc = pgt_unmap(space->pgt, va, len, PGT_CLOSE, &out);
	rc_inv = invalidate_unmapped(space, &out);
	mmem_count(space, MMEM_STAT_UNMAPPED, out.bytes >> MMEM_PAGE_LOG2);
	return rc < 0 ? rc : rc_inv;
}

int
mmem_free(struct mmem_space *space, void *ptr)
{
	struct mmem_pager pager;
	struct mmem_region *region;
	uint64_t va;
	int rc, rc_quiesce;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	pthread_mutex_lock(&space->lock);
	region = region_find(space, ptr, 0);
	if (region == NULL || ptr != space->mem + region_off(region)) {
		pthread_mutex_unlock(&space->lock);
		return mmem_ret(-EINVAL);
	}
	va = (uintptr_t)ptr;
	mmem_pool_hide(space->pool, region);
	rc = take_away(space, va, region->size);
	/*
	 * A handler that found the region before it was hidden has returned then, and met
	 * closed entries if it was late: only now they can be opened.
	 */
	rc_quiesce = iopf_quiesce();
	if (rc == 0)
		rc = rc_quiesce;
	mmem_pool_settle(space->pool, region);
	pager = region->pager;
	region->pager.release = NULL;
	if (rc == 0)
		rc = pgt_open(space->pgt, va, region->size);
	if (rc == 0) {
		pthread_mutex_lock(&space->pool->lock);
		TAILQ_REMOVE(&space->pool->regions, region, next);
		pthread_mutex_unlock(&space->pool->lock);
		mmem_pool_give(space->pool, region);
		free(region);
	} else {
		mmem_count(space, MMEM_STAT_KEPT, region->nb_chunks);
		MMEM_LOG(ERR, "space %s: region %p is kept until the space is destroyed",
				space->name, ptr);
	}
	pthread_mutex_unlock(&space->lock);
	if (pager.release)
		pager.release(pager.ctx);
	return mmem_ret(rc);
}

int
mmem_unmap(struct mmem_space *space, void *ptr, size_t len)
{
	int rc, rc_open;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	pthread_mutex_lock(&space->lock);
	if (range_find(space, ptr, len) == NULL) {
		rc = -EINVAL;
	} else {
		rc = take_away(space, (uintptr_t)ptr, len);
		/* In any case: the page behind an entry stays the same. */
		rc_open = pgt_open(space->pgt, (uintptr_t)ptr, len);
		if (rc == 0)
			rc = rc_open;
	}
	pthread_mutex_unlock(&space->lock);
	return mmem_ret(rc);
}

static void
set_rights(struct mmem_space *space, uint64_t off, size_t len, uint8_t rights)
{
	_Atomic uint8_t *page = &space->pages[off >> MMEM_PAGE_LOG2];
	_Atomic uint8_t *end = page + (len >> MMEM_PAGE_LOG2);
	uint8_t old;

	for (; page < end; page++) {
		/* PAGE_DIRTY may be cleared by a handler at the same time. */
		old = atomic_load_explicit(page, memory_order_relaxed);
		while (!atomic_compare_exchange_weak_explicit(page, &old,
				(old & (PAGE_USED | PAGE_DIRTY)) | rights,
				memory_order_relaxed, memory_order_relaxed))
			;
	}
}

/* Valid entries get the rights of their page; those that get none are taken away. */
static int
apply_rights(struct mmem_space *space, uint64_t va, size_t len, uint8_t rights)
{
	uint32_t prot = rights & MMEM_RIGHTS;
	struct pgt_inv inv[MAX_INV];
	struct pgt_unmapped out;
	int rc, rc_open;

	if (rights & MMEM_TRACK_WRITES)
		prot &= ~MMEM_WRITE;
	if (prot) {
		pgt_unmapped_init(&out, inv, MAX_INV);
		rc = pgt_protect(space->pgt, va, len, prot, &out);
		if (rc == 0)
			return invalidate_unmapped(space, &out);
		/* An entry kept changing; closing it always works. All is invalidated with it. */
		atomic_store_explicit(&space->inv_missing, true, memory_order_relaxed);
	}
	rc = take_away(space, va, len);
	rc_open = pgt_open(space->pgt, va, len);
	return rc < 0 ? rc : rc_open;
}

int
mmem_protect(struct mmem_space *space, void *ptr, size_t len, unsigned int flags)
{
	uint8_t rights = page_rights(flags);
	int rc;

	if (space == NULL || (flags & ~(MMEM_RIGHTS | MMEM_TRACK_WRITES)))
		return mmem_ret(-EINVAL);
	pthread_mutex_lock(&space->lock);
	if (range_find(space, ptr, len) == NULL) {
		rc = -EINVAL;
	} else {
		set_rights(space, (uintptr_t)ptr - (uintptr_t)space->mem, len, rights);
		/* Handlers that read the old rights are done; what they mapped is changed now. */
		rc = iopf_quiesce();
		if (rc == 0)
			rc = apply_rights(space, (uintptr_t)ptr, len, rights);
	}
	pthread_mutex_unlock(&space->lock);
	return mmem_ret(rc);
}

/* Pages of one chunk whose bytes are there. */
static int
prefetch_pages(struct mmem_space *space, uint64_t off, uint64_t end)
{
	uint64_t mapped = 0;
	uint32_t prot;
	uint8_t page;
	int rc = 0;

	for (; off < end && rc == 0; off += MMEM_PAGE_SIZE) {
		page = atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2],
				memory_order_acquire);
		prot = page & MMEM_RIGHTS;
		if (page & MMEM_TRACK_WRITES)
			prot &= ~MMEM_WRITE;
		if (prot == 0)
			continue;
		rc = mmem_page_map(space, off, page, prot);
		if (rc == 0)
			mapped++;
		else if (rc == -EALREADY || rc == -EACCES || rc == -EBUSY)
			rc = 0;		/* mapped by a fault, in whatever way */
	}
	mmem_count(space, MMEM_STAT_PREFETCHED, mapped);
	return rc;
}

int
mmem_prefetch(struct mmem_space *space, void *ptr, size_t len)
{
	uint64_t began = rte_rdtsc();
	uint64_t off, end, next;
	uint32_t state;
	int rc = 0;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	off = (uintptr_t)ptr - (uintptr_t)space->mem;
	end = off + len;
	pthread_mutex_lock(&space->lock);
	do {
		/* Each time: without the lock it may have been freed, and made anew. */
		if (range_find(space, ptr, len) == NULL) {
			rc = -EINVAL;
			break;
		}
		/* Pairs with the release of who fetched the chunk. */
		state = atomic_load_explicit(&space->chunks[off >> MMEM_CHUNK_LOG2].state,
				memory_order_acquire);
		if (state & CHUNK_READY) {
			next = RTE_MIN(end, (off | (MMEM_CHUNK_SIZE - 1)) + 1);
			rc = prefetch_pages(space, off, next);
			off = next;
			continue;
		}
		pthread_mutex_unlock(&space->lock);
		rc = mmem_pool_fetch(space->pool, space, off, began);
		pthread_mutex_lock(&space->lock);
	} while (rc == 0 && off < end);
	pthread_mutex_unlock(&space->lock);
	return mmem_ret(rc);
}

/* The next region of a space that nobody knows any more, taken off the list. */
static struct mmem_region *
region_pop(struct mmem_space *space)
{
	struct mmem_region *region;

	pthread_mutex_lock(&space->pool->lock);
	TAILQ_FOREACH(region, &space->pool->regions, next) {
		if (region->space == space)
			break;
	}
	if (region != NULL)
		TAILQ_REMOVE(&space->pool->regions, region, next);
	pthread_mutex_unlock(&space->pool->lock);
	return region;
}

void
mmem_regions_drop(struct mmem_space *space)
{
	struct mmem_region *region;

	while ((region = region_pop(space)) != NULL) {
		mmem_pool_hide(space->pool, region);
		mmem_pool_settle(space->pool, region);
		mmem_pool_give(space->pool, region);
		if (region->pager.release)
			region->pager.release(region->pager.ctx);
		free(region);
	}
}
