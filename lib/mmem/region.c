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
	for (i = 0; i < region->nb_chunks; i++)	/* Pairs with the acquire in look(). */
		atomic_store_explicit(&space->chunks[region->first + i].space, space,
				memory_order_release);
	if (region->nb_empty)
		mmem_control_kick(pool);
	pthread_mutex_unlock(&pool->lock);
}

static void
set_pages(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	size_t first = region_off(region) >> MMEM_PAGE_LOG2;
	uint8_t rights = page_rights(region->flags) |
		(mmem_region_paged(region) ? PAGE_ABSENT : PAGE_USED);
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

static void reap(struct mmem_space *space);

static int
region_make(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	struct mmem_pool *pool = space->pool;
	int rc;

	rc = mmem_pool_take(pool, region);
	if (rc < 0) {
		MMEM_SAY(space, "no region of %zu bytes in pool %s of %zu MiB: it has not %zu free "
				"chunks of 2 MiB in a row: free regions, or use a larger pool",
				region->size, pool->name, pool->size >> 20, region->nb_chunks);
		return rc;
	}
	rc = pgt_prealloc(space->pgt, mmem_va(space, region_off(region)), region->size);
	if (rc < 0)
		MMEM_SAY(space, "no region of %zu bytes in pool %s of %zu MiB: no chunk is "
				"left for its page tables: free regions, or use a larger pool",
				region->size, pool->name, pool->size >> 20);
	if (rc == 0 && (region->flags & MMEM_POPULATE)) {
		rc = mmem_pool_populate(pool, region);
		if (rc < 0)
			MMEM_SAY(space, "no memory for a region of %zu bytes: %s: use a "
					"smaller one, or no MMEM_POPULATE",
					region->size, rte_strerror(-rc));
	}
	if (rc < 0) {
		mmem_pool_give(pool, region);
		return rc;
	}
	set_pages(region);
	return 0;
}

/* 0, or why no region can be made of it, which is logged. */
static int
region_check(struct mmem_space *space, size_t size, unsigned int flags)
{
	if (space->domain == NULL) {
		MMEM_SAY(space, "half destroyed, no region can be made: destroy it again");
		return -ESHUTDOWN;
	}
	if (size == 0) {
		MMEM_SAY(space, "a region of 0 bytes: a size is needed");
		return -EINVAL;
	}
	if (!(flags & MMEM_RIGHTS) || (flags & ~REGION_FLAGS)) {
		MMEM_SAY(space, "flags 0x%x of a region: at least one of MMEM_READ, "
				"MMEM_WRITE and MMEM_EXEC is needed, and none beyond 0x%x is known",
				flags, REGION_FLAGS);
		return -EINVAL;
	}
	if (size > space->size) {
		MMEM_SAY(space, "no region of %zu bytes in pool %s of %zu MiB: it is larger than "
				"the pool: use a larger pool", size, space->pool->name,
				space->size >> 20);
		return -ENOMEM;
	}
	return 0;
}

static void *
region_create(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *pager)
{
	struct mmem_region *region;
	void *ptr;
	int rc;

	if (space == NULL) {
		rte_errno = EINVAL;
		return NULL;
	}
	rc = mmem_may_wait();
	if (rc == 0)
		rc = region_check(space, size, flags);
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
	if (pager) {
		/* Whatever it leaves unwritten must not show what was there before. */
		region->flags &= ~MMEM_ZERO_INLINE;
		rc = mmem_pager_init(region, pager);
	}
	if (rc == 0)
		rc = region_make(region);
	if (rc < 0) {
		mmem_pager_fini(region);
		free(region);
		rte_errno = -rc;
		return NULL;
	}
	/* From here on it may be freed by a caller that guesses its address. */
	ptr = space->mem + region_off(region);
	publish(region);
	reap(space);
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
	if (pager == NULL) {
		if (space != NULL)
			MMEM_SAY(space, "a pager is needed; or use mmem_alloc()");
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

	rc = space == NULL || path == NULL ? -EINVAL : mmem_may_wait();
	if (rc == 0)
		rc = region_check(space, size, flags);
	if (rc == 0)
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

/*
 * The region with this range inside, or NULL; one that is being freed is none. Under space->lock,
 * so that it stays.
 */
static struct mmem_region *
region_find(struct mmem_space *space, const void *ptr, size_t len, bool dead)
{
	uint64_t off = (uintptr_t)ptr - (uintptr_t)space->mem;
	struct mmem_region *region;

	if (off >= space->size)
		return NULL;
	pthread_mutex_lock(&space->pool->lock);
	region = space->chunks[off >> MMEM_CHUNK_LOG2].region;
	if (region != NULL && (region->space != space || region->dead != dead || region->freeing))
		region = NULL;
	/* One that is not published yet is not in use. */
	if (region != NULL && !dead && atomic_load_explicit(&space->chunks[region->first].space,
			memory_order_relaxed) != space)
		region = NULL;
	pthread_mutex_unlock(&space->pool->lock);
	if (region == NULL)
		return NULL;
	off -= region_off(region);
	if (off >= region->size || len > region->size - off)
		return NULL;
	return region;
}

/* The same for an argument; NULL is logged. */
static struct mmem_region *
range_find(struct mmem_space *space, const void *ptr, size_t len)
{
	struct mmem_region *region = NULL;

	if (len != 0 && !(((uintptr_t)ptr | len) & (MMEM_PAGE_SIZE - 1)))
		region = region_find(space, ptr, len, false);
	if (region == NULL)
		MMEM_SAY(space, "%zu bytes at %p are no range of a region: multiples of 4 "
				"KiB, not 0, within one region, are needed", len, ptr);
	return region;
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
	/* A space without a domain is attached nowhere. */
	if (n == 0 || space->domain == NULL)
		return 0;
	rc = iopf_invalidate(space->domain, inv, n, NULL);
	if (rc < 0) {
		MMEM_SAY(space, "devices may still use pages that were taken from them: "
				"invalidation: %s", rte_strerror(-rc));
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

/* The region has no user any more: its memory goes back. Outside of all locks. */
static void
region_release(struct mmem_region *region)
{
	struct mmem_space *space = region->space, *outer = mmem_self.releasing;

	mmem_pool_give(space->pool, region);
	if (region->pager.release) {
		mmem_self.releasing = space;
		region->pager.release(region->pager.ctx);
		mmem_self.releasing = outer;
	}
	mmem_pager_fini(region);
	free(region);
}

/* Off the list, after which no other thread finds it. Under space->lock. */
static void
region_unlist(struct mmem_region *region)
{
	struct mmem_space *space = region->space;

	pthread_mutex_lock(&space->pool->lock);
	TAILQ_REMOVE(&space->pool->regions, region, next);
	pthread_mutex_unlock(&space->pool->lock);
	if (region->kept) {
		atomic_fetch_sub_explicit(&space->nb_dying, 1, memory_order_relaxed);
		mmem_count(space, MMEM_STAT_KEPT, -(uint64_t)region->nb_chunks);
	}
}

/*
 * One more try to end a region that this thread alone is at (freeing). Under space->lock, which
 * is let go while a pager is waited for. 0: it is off the list.
 */
static int
region_end(struct mmem_region *region, unsigned int wait_ms)
{
	struct mmem_space *space = region->space;
	uint64_t va = mmem_va(space, region_off(region));
	int rc = 0;

	if (!region->dead)
		mmem_pool_hide(space->pool, region);
	/* Without a domain there is nothing to take it from. */
	if (space->domain == NULL)
		region->taken_away = true;
	if (!region->taken_away)
		rc = take_away(space, va, region->size);
	if (rc == 0)
		region->taken_away = true;
	pthread_mutex_unlock(&space->lock);
	/*
	 * A handler that found the region before it was hidden has returned then, and met closed
	 * entries if it was late: only now they can be opened.
	 */
	iopf_quiesce();
	if (rc == 0)
		rc = mmem_pool_settle(space->pool, region, wait_ms);
	pthread_mutex_lock(&space->lock);
	if (rc == 0)
		rc = pgt_open(space->pgt, va, region->size);
	if (rc == 0) {
		region_unlist(region);
		return 0;
	}
	if (!region->kept) {
		region->kept = true;
		atomic_fetch_add_explicit(&space->nb_dying, 1, memory_order_relaxed);
		mmem_count(space, MMEM_STAT_KEPT, region->nb_chunks);
	}
	region->freeing = false;
	return rc;
}

/* A region that could not be freed, and that no thread is at. Under space->lock. */
static struct mmem_region *
dying_find(struct mmem_space *space)
{
	struct mmem_region *region;

	pthread_mutex_lock(&space->pool->lock);
	TAILQ_FOREACH(region, &space->pool->regions, next) {
		if (region->space == space && region->kept && !region->freeing &&
				region->nb_open == 0 && region->nb_threads == 0)
			break;
	}
	pthread_mutex_unlock(&space->pool->lock);
	return region;
}

/*
 * Free what could not be freed before. Not while an invalidation is missing: it is for a call
 * that invalidates to find out whether that works again.
 */
static void
reap(struct mmem_space *space)
{
	struct mmem_region *region;
	int rc;

	if (likely(atomic_load_explicit(&space->nb_dying, memory_order_relaxed) == 0))
		return;
	do {
		rc = -ENOENT;
		pthread_mutex_lock(&space->lock);
		region = atomic_load_explicit(&space->inv_missing, memory_order_relaxed) ? NULL :
				dying_find(space);
		if (region != NULL) {
			region->freeing = true;
			rc = region_end(region, 0);
		}
		mmem_space_unlock(space);
		if (rc == 0)
			region_release(region);
	} while (rc == 0);
}

void
mmem_space_unlock(struct mmem_space *space)
{
	struct mmem_pool *pool = space->pool;

	pthread_mutex_unlock(&space->lock);
	/* Pairs with the fence in lock_space(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (likely(!atomic_load_explicit(&space->is_blocked, memory_order_relaxed)))
		return;
	pthread_mutex_lock(&pool->lock);
	atomic_store_explicit(&space->is_blocked, false, memory_order_relaxed);
	mmem_groups_defer(&space->blocked);
	pthread_mutex_unlock(&pool->lock);
}

int
mmem_free(struct mmem_space *space, void *ptr)
{
	struct mmem_region *region;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&space->lock);
	region = region_find(space, ptr, 0, false);
	if (region == NULL)
		region = region_find(space, ptr, 0, true);
	if (region == NULL || ptr != space->mem + region_off(region))
		rc = -EINVAL;
	else if (mmem_self.paging == region)
		rc = -EDEADLK;
	if (rc < 0) {
		mmem_space_unlock(space);
		if (rc == -EINVAL)
			MMEM_SAY(space, "no region begins at %p: free what mmem_alloc() "
					"returned, once", ptr);
		return mmem_ret(rc);
	}
	region->freeing = true;
	rc = region_end(region, space->wait_ms);
	mmem_space_unlock(space);
	if (rc < 0) {
		MMEM_LOG(ERR, "space %s: region %p is kept: %s; free it again", space->name, ptr,
				rc == -ETIMEDOUT && region->taken_away ? "its pager has not returned" :
				rte_strerror(-rc));
		return mmem_ret(rc);
	}
	region_release(region);
	reap(space);
	return 0;
}

int
mmem_unmap(struct mmem_space *space, void *ptr, size_t len)
{
	int rc, rc_open;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
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
	mmem_space_unlock(space);
	if (rc == 0)
		reap(space);
	return mmem_ret(rc);
}

static void
set_rights(struct mmem_space *space, uint64_t off, size_t len, uint8_t rights)
{
	_Atomic uint8_t *page = &space->pages[off >> MMEM_PAGE_LOG2];
	_Atomic uint8_t *end = page + (len >> MMEM_PAGE_LOG2);
	uint8_t old;

	for (; page < end; page++) {
		/* The other bits may be changed at the same time, by a handler or a fetch. */
		old = atomic_load_explicit(page, memory_order_relaxed);
		while (!atomic_compare_exchange_weak_explicit(page, &old,
				(old & ~(MMEM_RIGHTS | MMEM_TRACK_WRITES)) | rights,
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

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	if (flags & ~(MMEM_RIGHTS | MMEM_TRACK_WRITES)) {
		MMEM_SAY(space, "flags 0x%x to protect with: MMEM_READ, MMEM_WRITE, MMEM_EXEC "
				"and MMEM_TRACK_WRITES are possible", flags);
		return mmem_ret(-EINVAL);
	}
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
	mmem_space_unlock(space);
	if (rc == 0)
		reap(space);
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

/* Begin the fetches of a range, in which some may be under way or done. */
static int
fetch_ahead(struct mmem_space *space, struct mmem_region *region, uint64_t off, uint64_t end,
		uint64_t began)
{
	int rc = 0;

	if (!mmem_region_paged(region))
		return 0;
	pthread_mutex_lock(&space->pool->lock);
	for (; off < end && (rc == 0 || rc == -EINPROGRESS); off = mmem_fetch_end(region, off)) {
		rc = 0;
		if (atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2],
				memory_order_relaxed) & PAGE_ABSENT)
			rc = mmem_fetch_begin(space->pool, region, off, began, 0);
	}
	pthread_mutex_unlock(&space->pool->lock);
	return rc == -EINPROGRESS ? 0 : rc;
}

/* Its page's memory and bytes are there. */
static bool
is_there(const struct mmem_space *space, uint64_t off)
{
	/* Pair with the releases in pages_present() and mmem_pool_populate_chunk(). */
	return !(atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2],
			memory_order_acquire) & PAGE_ABSENT) &&
		(atomic_load_explicit(&space->chunks[off >> MMEM_CHUNK_LOG2].state,
			memory_order_acquire) & CHUNK_POPULATED);
}

int
mmem_prefetch(struct mmem_space *space, void *ptr, size_t len)
{
	uint64_t began = rte_rdtsc();
	struct mmem_region *region;
	uint64_t off, end, next, ahead = 0;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	off = (uintptr_t)ptr - (uintptr_t)space->mem;
	end = off + len;
	pthread_mutex_lock(&space->lock);
	do {
		/* Each time: without the lock it may have been freed, and made anew. */
		region = range_find(space, ptr, len);
		if (region == NULL) {
			rc = -EINVAL;
			break;
		}
		if (mmem_self.paging != NULL) {
			rc = fetch_ahead(space, region, off, end, began);
			break;
		}
		next = RTE_MIN(end, (off | (MMEM_CHUNK_SIZE - 1)) + 1);
		if (ahead < next) {
			rc = fetch_ahead(space, region, off, next, began);
			ahead = next;
			continue;
		}
		if (mmem_region_paged(region))
			next = RTE_MIN(next, mmem_fetch_end(region, off));
		if (is_there(space, off)) {
			rc = prefetch_pages(space, off, next);
			off = next;
			continue;
		}
		mmem_space_unlock(space);
		rc = mmem_pool_bring(space->pool, space, off, began, 0);
		pthread_mutex_lock(&space->lock);
	} while (rc == 0 && off < end);
	mmem_space_unlock(space);
	return mmem_ret(rc);
}

int
mmem_regions_drop(struct mmem_space *space)
{
	struct mmem_pool *pool = space->pool;
	struct mmem_region *region;
	int rc;

	pthread_mutex_lock(&space->lock);
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		TAILQ_FOREACH(region, &pool->regions, next) {
			if (region->space == space)
				break;
		}
		pthread_mutex_unlock(&pool->lock);
		if (region == NULL)
			break;
		region->freeing = true;
		rc = region_end(region, space->wait_ms);
		pthread_mutex_unlock(&space->lock);
		if (rc < 0) {
			MMEM_LOG(ERR, "space %s: the pager of region %p has not returned: destroy the "
					"space again", space->name, pool->mem + region_off(region));
			return rc;
		}
		region_release(region);
		pthread_mutex_lock(&space->lock);
	}
	pthread_mutex_unlock(&space->lock);
	return 0;
}
