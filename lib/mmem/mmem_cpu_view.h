/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_CPU_VIEW_H
#define MMEM_CPU_VIEW_H

/*
 * The CPU's view of a pool's memory (mmem_cpu.h), as the kernel sees it: the calls of userfaultfd.
 * It is mapped in units: pages, or hugepages.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/userfaultfd.h>

#include "mmem_pool.h"
#include "mmem_region.h"

/* How a unit is mapped into the CPU's view. */
struct mmem_cpu_map {
	uint64_t limit;		/* with the units after it, up to this offset */
	bool protect;		/* the first write is another access */
	bool unprotect;		/* it is mapped; allow writes */
};

/* The unit in which the CPU's view is mapped. */
static inline size_t
mmem_view_get_unit(const struct mmem_pool *pool)
{
	return pool->hugepages ? MMEM_CHUNK_SIZE : MMEM_PAGE_SIZE;
}

static inline uint8_t
mmem_view_get_page(const struct mmem_pool *pool, uint64_t off)
{
	/* Pairs with the release in mmem_block_switch_pages(). */
	return atomic_load_explicit(&pool->pages[off >> MMEM_PAGE_LOG2], memory_order_acquire);
}

/* The contents of all pages of the unit at this offset are present. */
static inline bool
mmem_view_is_present(const struct mmem_pool *pool, uint64_t off)
{
	uint64_t end = off + mmem_view_get_unit(pool);

	/* Beyond the end of a region the byte is 0. */
	for (; off < end; off += MMEM_PAGE_SIZE)
		if (mmem_view_get_page(pool, off) & PAGE_ABSENT)
			return false;
	return true;
}

/* Open pool->uffd. *user_only: it does not see accesses of system calls. Returns 0 or -errno. */
int mmem_view_open(struct mmem_pool *pool, bool *user_only);

/* A region's range in the CPU's view. Its last chunk belongs to it as a whole. */
static inline struct uffdio_range
mmem_view_get_range(const struct mmem_pool *pool, const struct mmem_region *region)
{
	return (struct uffdio_range){
		.start = (uintptr_t)pool->mem + mmem_region_off(region),
		.len = region->nb_chunks << MMEM_CHUNK_LOG2,
	};
}

/*
 * Map a unit whose contents are present, and those after it up to the limit, and wake the threads
 * that wait for it. Under pool->cpu_lock. Returns 0 or -errno; -EEXIST: a unit is mapped already,
 * and no thread is woken.
 */
int mmem_view_map(struct mmem_pool *pool, uint64_t off, const struct mmem_cpu_map *map);

#endif /* MMEM_CPU_VIEW_H */
