/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Tracks the pages of a region that devices and CPUs write: mmem_dirty.h. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iopf_handler.h"
#include "mmem_cpu.h"
#include "mmem_dirty.h"
#include "mmem_dirty_map.h"
#include "mmem_huge.h"
#include "mmem_space.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"

/* Set bits of @p to, from the bit @p at, as @p nb bits of @p from, from the bit @p first. */
static void
bits_add(uint64_t *to, size_t at, const uint64_t *from, size_t first, size_t nb)
{
	uint64_t bits;
	size_t n;

	for (; nb != 0; nb -= n, at += n, first += n) {
		n = RTE_MIN(64 - RTE_MAX(at % 64, first % 64), nb);
		bits = from[first / 64] >> first % 64 & UINT64_MAX >> (64 - n);
		to[at / 64] |= bits << at % 64;
	}
}

static void
bits_clear(uint64_t *map, size_t first, size_t nb)
{
	size_t n;

	for (; nb != 0; nb -= n, first += n) {
		n = RTE_MIN(64 - first % 64, nb);
		map[first / 64] &= ~(UINT64_MAX >> (64 - n) << first % 64);
	}
}

static size_t
get_page(const struct mmem_region *region, uint64_t off)
{
	return (off - mmem_region_off(region)) >> MMEM_PAGE_LOG2;
}

/* Add a bitmap, whose first bit stands for the page at off. */
static void
region_add(struct mmem_region *region, uint64_t off, size_t len, const uint64_t *map)
{
	struct mmem_pool *pool = region->space->pool;

	pthread_mutex_lock(&pool->lock);
	bits_add(region->dirty->map, get_page(region, off), map, 0, len >> MMEM_PAGE_LOG2);
	pthread_mutex_unlock(&pool->lock);
}

void
mmem_dirty_step_keep(struct mmem_region *region, const struct mmem_dirty_step *step)
{
	if (step->used.dirty_bytes != 0 && step->used.dirty != NULL)
		region_add(region, step->used.va - (uintptr_t)region->space->mem, step->used.size,
				step->map);
}

void
mmem_dirty_mark(struct mmem_region *region, uint64_t off, uint64_t end)
{
	uint64_t limit = mmem_region_off(region) + region->size;

	if (region->dirty == NULL)
		return;
	for (; off < RTE_MIN(end, limit); off += MMEM_PAGE_SIZE)
		region->dirty->map[get_page(region, off) / 64] |=
				UINT64_C(1) << get_page(region, off) % 64;
}

void
mmem_dirty_protect(struct mmem_region *region, uint64_t off, size_t len, unsigned int flags)
{
	size_t page = get_page(region, off), end = page + (len >> MMEM_PAGE_LOG2);

	if (region->dirty == NULL)
		return;
	bits_clear(region->dirty->caller_tracks, page, end - page);
	for (; (flags & MMEM_TRACK_WRITES) && page < end; page++)
		region->dirty->caller_tracks[page / 64] |= UINT64_C(1) << page % 64;
}

/* Move the bits of a part of the range from the region to the caller's bitmap, if there is one. */
static void
range_take(struct mmem_region *region, uint64_t off, size_t len, uint64_t *bitmap, size_t at)
{
	size_t first = get_page(region, off), nb = len >> MMEM_PAGE_LOG2;
	struct mmem_pool *pool = region->space->pool;

	pthread_mutex_lock(&pool->lock);
	if (bitmap != NULL)
		bits_add(bitmap, at, region->dirty->map, first, nb);
	bits_clear(region->dirty->map, first, nb);
	pthread_mutex_unlock(&pool->lock);
}

/* Make the entries of a part of the range clean. */
static int
entries_clean(struct mmem_region *region, uint64_t off, uint64_t end, struct pgt_unmapped *out)
{
	struct mmem_space *space = region->space;
	uint64_t next;
	int rc = 0;

	for (; off < end && rc == 0; off = next) {
		next = RTE_MIN(end, mmem_dirty_step_end(region, off));
		out->used->dirty_bytes = 0;
		rc = pgt_harvest(space->pgt, mmem_off_to_va(space, off), next - off, PGT_DIRTY,
				out);
		/* What a harvest takes from an entry is still to be written back. */
		mmem_block_keep_dirty(region, off, out->used);
	}
	return rc;
}

/* Under space->lock. */
static int
range_harvest(struct mmem_region *region, uint64_t start, size_t len, uint64_t *bitmap)
{
	struct mmem_space *space = region->space;
	struct pgt_inv inv[MMEM_MAX_INV];
	struct pgt_used used = { .va = mmem_off_to_va(space, start), .size = len, .dirty = bitmap };
	uint64_t off = start, end = start + len, next;
	struct pgt_unmapped out;
	int rc = 0, rc_inv;

	pgt_unmapped_init(&out, inv, MMEM_MAX_INV);
	out.used = &used;
	for (; off < end && rc == 0; off = next) {
		next = RTE_MIN(end, RTE_ALIGN_FLOOR(off, MMEM_CHUNK_SIZE) + MMEM_CHUNK_SIZE);
		range_take(region, off, next - off, bitmap, (off - start) >> MMEM_PAGE_LOG2);
		rc = mmem_cpu_protect(space->pool, off, next - off);
		if (rc == 0)
			rc = entries_clean(region, off, next, &out);
	}
	rc_inv = mmem_invalidate_unmapped(space, &out);
	if (rc == 0)
		rc = rc_inv;
	if (rc < 0 && bitmap != NULL) {
		region_add(region, start, len, bitmap);
		memset(bitmap, 0, MMEM_DIRTY_WORDS(len) * sizeof(*bitmap));
	}
	return rc;
}

/*
 * Map pages that a device only reads so that its first write is noticed, or as the caller wants
 * them again. Pages of blocks always are. Under space->lock.
 */
static void
pages_track(struct mmem_region *region, bool track)
{
	uint64_t *caller_tracks = region->dirty->caller_tracks;
	size_t i, nb = region->size >> MMEM_PAGE_LOG2;
	_Atomic uint8_t *page = &region->space->pages[mmem_region_off(region) >> MMEM_PAGE_LOG2];
	uint8_t old;

	for (i = 0; i < nb && region->blocks == NULL; i++, page++) {
		if (track) {
			old = atomic_fetch_or_explicit(page, MMEM_TRACK_WRITES,
					memory_order_relaxed);
			caller_tracks[i / 64] |= (uint64_t)!!(old & MMEM_TRACK_WRITES) << i % 64;
		} else if (!(caller_tracks[i / 64] >> i % 64 & 1)) {
			atomic_fetch_and_explicit(page, (uint8_t)~MMEM_TRACK_WRITES,
					memory_order_relaxed);
		}
	}
}

/* Under space->lock. */
static void
region_untrack(struct mmem_region *region)
{
	struct mmem_pool *pool = region->space->pool;
	struct mmem_dirty *dirty = region->dirty;

	pages_track(region, false);
	region->keeps_dirty = region->blocks != NULL;
	pthread_mutex_lock(&pool->lock);
	region->dirty = NULL;
	pthread_mutex_unlock(&pool->lock);
	mmem_cpu_untrack(pool, region);
	free(dirty);
}

/* Under space->lock. */
static int
region_track(struct mmem_region *region)
{
	size_t words = MMEM_DIRTY_WORDS(region->size);
	struct mmem_pool *pool = region->space->pool;
	struct mmem_dirty *dirty;
	int rc;

	/* Writes are tracked by pages. */
	if (region->flags & MMEM_HUGE) {
		rc = mmem_huge_split(region->space, mmem_off_to_va(region->space,
				mmem_region_off(region)), region->size, true);
		if (rc < 0)
			return rc;
	}
	dirty = calloc(1, sizeof(*dirty) + 2 * words * sizeof(*dirty->map));
	if (dirty == NULL)
		return -ENOMEM;
	dirty->map = (uint64_t *)(dirty + 1);
	dirty->caller_tracks = dirty->map + words;
	rc = mmem_cpu_track(pool, region);
	if (rc < 0) {
		free(dirty);
		return rc;
	}
	pthread_mutex_lock(&pool->lock);
	region->dirty = dirty;
	pthread_mutex_unlock(&pool->lock);
	region->keeps_dirty = true;
	pages_track(region, true);
	/* Handlers that read the old rights have returned; change the entries they mapped. */
	rc = iopf_quiesce();
	if (rc == 0)
		rc = range_harvest(region, mmem_region_off(region), region->size, NULL);
	if (rc < 0)
		region_untrack(region);
	return rc;
}

void
mmem_dirty_free(struct mmem_region *region)
{
	if (region->dirty != NULL)
		mmem_cpu_untrack(region->space->pool, region);
	free(region->dirty);
}

/* The region that begins there, or NULL. Under space->lock. */
static struct mmem_region *
find_region(struct mmem_space *space, void *ptr)
{
	struct mmem_region *region = mmem_region_find(space, ptr, 0);

	if (region != NULL && ptr == space->mem + mmem_region_off(region))
		return region;
	MMEM_LOG_LIMITED(space, "no region begins at %p: its writes cannot be tracked: pass a "
			"pointer that mmem_alloc() returned", ptr);
	return NULL;
}

int
mmem_dirty_start(struct mmem_space *space, void *ptr)
{
	struct mmem_region *region;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&space->lock);
	region = find_region(space, ptr);
	if (region == NULL) {
		rc = -EINVAL;
	} else if (region->dirty != NULL) {
		rc = -EALREADY;
	} else if (region->flags & MMEM_ZERO_INLINE) {
		/* A device's first access changes what a CPU reads, and is no write. */
		MMEM_LOG_LIMITED(space, "region %p has MMEM_ZERO_INLINE: its writes cannot be "
				"tracked: allocate it without", ptr);
		rc = -ENOTSUP;
	} else {
		rc = region_track(region);
	}
	mmem_space_unlock(space);
	return mmem_ret(rc);
}

/* Returns -EINVAL, after a log line, if the region is not tracked. */
static int
check_tracked(const struct mmem_region *region)
{
	struct mmem_space *space = region->space;

	if (region->dirty != NULL)
		return 0;
	MMEM_LOG_LIMITED(space, "the writes to region %p are not tracked: call mmem_dirty_start() "
			"first", space->mem + mmem_region_off(region));
	return -EINVAL;
}

int
mmem_dirty_harvest(struct mmem_space *space, void *ptr, size_t len, uint64_t *bitmap)
{
	struct mmem_region *region;
	int rc;

	if (space == NULL || bitmap == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&space->lock);
	region = mmem_region_find_range(space, ptr, len);
	rc = region != NULL ? check_tracked(region) : -EINVAL;
	if (rc == 0) {
		memset(bitmap, 0, MMEM_DIRTY_WORDS(len) * sizeof(*bitmap));
		rc = range_harvest(region, (uintptr_t)ptr - (uintptr_t)space->mem, len, bitmap);
	}
	mmem_space_unlock(space);
	return mmem_ret(rc);
}

int
mmem_dirty_stop(struct mmem_space *space, void *ptr)
{
	struct mmem_region *region;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&space->lock);
	region = find_region(space, ptr);
	rc = region != NULL ? check_tracked(region) : -EINVAL;
	if (rc == 0)
		region_untrack(region);
	mmem_space_unlock(space);
	return mmem_ret(rc);
}
