/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Fetches and maps pages ahead of the devices. */

#include <errno.h>

#include <rte_cycles.h>

#include "mmem_access.h"
#include "mmem_huge.h"
#include "mmem_import.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_prefetch.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"

int
mmem_prefetch_pages(struct mmem_space *space, uint64_t off, uint64_t end)
{
	uint64_t mapped = 0;
	uint32_t prot;
	uint8_t page;
	int rc = 0;

	for (; off < end && rc == 0; off += MMEM_PAGE_SIZE) {
		/* Pairs with the releases in page_zero_and_map() and mmem_block_switch_pages(). */
		page = atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2],
				memory_order_acquire);
		prot = mmem_page_get_prot(space, off, page, false);
		if (prot == 0)
			continue;
		rc = mmem_page_map(space, off, page, prot);
		if (rc == -ENOENT && mmem_chunk_is_huge(&space->chunks[off >> MMEM_CHUNK_LOG2])) {
			rc = mmem_huge_map(space, off, prot);
			/* The other pages of the block are mapped too. */
			if (rc == 0)
				mapped += MMEM_CHUNK_SIZE / MMEM_PAGE_SIZE - 1;
		}
		if (rc == 0)
			mapped++;
		else if (rc == -EALREADY || rc == -EACCES || rc == -EBUSY)
			rc = 0;		/* a fault has mapped it */
	}
	mmem_stat_add(space, MMEM_STAT_PREFETCHED, mapped);
	return rc;
}

/* Start the fetches of a range; some may be pending or complete. */
static int
begin_fetches(struct mmem_space *space, struct mmem_region *region, uint64_t off, uint64_t end,
		uint64_t began)
{
	int rc = 0;

	if (!mmem_region_has_pager(region))
		return 0;
	pthread_mutex_lock(&space->pool->lock);
	for (; off < end && (rc == 0 || rc == -EINPROGRESS);
			off = mmem_fetch_block_end(region, off)) {
		rc = 0;
		if (atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2],
				memory_order_relaxed) & PAGE_ABSENT)
			rc = mmem_fetch_begin(space->pool, region, off, began, 0);
	}
	pthread_mutex_unlock(&space->pool->lock);
	return rc == -EINPROGRESS ? 0 : rc;
}

bool
mmem_page_is_present(const struct mmem_space *space, uint64_t off)
{
	/*
	 * Pairs with the releases in mmem_block_switch_pages() and mmem_pool_populate_chunk().
	 */
	return !(atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2],
			memory_order_acquire) & PAGE_ABSENT) &&
		(atomic_load_explicit(&space->chunks[off >> MMEM_CHUNK_LOG2].state,
			memory_order_acquire) & CHUNK_POPULATED);
}

int
mmem_prefetch(struct mmem_space *space, void *ptr, size_t len)
{
	uint64_t began = rte_rdtsc();
	struct mmem_import *import;
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
	rc = mmem_import_find_range(space, &ptr, &len, &import);
	if (rc < 0 || import != NULL) {
		if (rc == 0)
			rc = mmem_import_prefetch(space, import, ptr, len);
		mmem_space_unlock(space);
		return mmem_ret(rc);
	}
	do {
		/*
		 * Find the region again: while the lock was released it may have been freed or
		 * replaced.
		 */
		region = mmem_region_find_range(space, ptr, len);
		if (region == NULL) {
			rc = -EINVAL;
			break;
		}
		if (mmem_self.paging != NULL) {
			rc = begin_fetches(space, region, off, end, began);
			break;
		}
		next = RTE_MIN(end, (off | (MMEM_CHUNK_SIZE - 1)) + 1);
		if (ahead < next) {
			rc = begin_fetches(space, region, off, next, began);
			ahead = next;
			continue;
		}
		if (mmem_region_has_pager(region))
			next = RTE_MIN(next, mmem_fetch_block_end(region, off));
		if (mmem_page_is_present(space, off)) {
			rc = mmem_prefetch_pages(space, off, next);
			off = next;
			continue;
		}
		mmem_space_unlock(space);
		rc = mmem_pool_bring_page(space->pool, space, off, began, 0);
		pthread_mutex_lock(&space->lock);
	} while (rc == 0 && off < end);
	mmem_space_unlock(space);
	return mmem_ret(rc);
}
