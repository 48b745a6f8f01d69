/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_CPU_VIEW_H
#define MMEM_CPU_VIEW_H

/*
 * The CPU's view of a pool's memory (mmem_cpu.h), as the kernel sees it. It is mapped in units:
 * pages, or hugepages. There are two ways to watch it:
 *
 *	userfaultfd	cpu_uffd.c	the kernel stops the thread, also in a system call
 *	traps		cpu_trap.c	page protection, and a handler of SIGSEGV, where
 *					userfaultfd is not allowed
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmem_pool.h"
#include "mmem_region.h"

/* How a unit is mapped into the CPU's view. */
struct mmem_cpu_map {
	uint64_t limit;		/* with the units after it, up to this offset */
	bool protect;		/* the first write is another access */
	bool unprotect;		/* it is mapped; allow writes */
};

#define MMEM_WATCH_ABSENT	(1u << 0)	/* accesses to units that are not mapped */
#define MMEM_WATCH_WRITES	(1u << 1)	/* writes to units that are protected */

/* Ranges are whole units. Functions with int results return 0 or -errno. */
struct mmem_view_ops {
	/*
	 * Set pool->cpu_fd, from which accesses are read as struct uffd_msg, and
	 * pool->cpu_protects. *user_only: accesses of system calls are not seen.
	 */
	int (*open)(struct mmem_pool *pool, bool *user_only);
	void (*close)(struct mmem_pool *pool);
	/* Watch a range, or watch it in another way. -ENOTSUP: it cannot watch writes. */
	int (*watch)(struct mmem_pool *pool, uint64_t off, size_t len, unsigned int watch);
	/* All accesses pass, and threads that wait continue. */
	void (*unwatch)(struct mmem_pool *pool, uint64_t off, size_t len);
	/* Watch a mapping of one frame, which is to be placed in the view: mmem_cpu_move.h. */
	int (*stage)(struct mmem_pool *pool, uint8_t *start, unsigned int watch);
	/*
	 * The functions below are called under pool->cpu_lock. Map units that have contents, and
	 * wake threads that wait for them. -EEXIST: one is mapped already, and no thread is woken;
	 * -EFAULT: one has no memory; -EINVAL: it maps no unit protected; -ENOMEM: the process has
	 * too many mappings.
	 */
	int (*map)(struct mmem_pool *pool, uint64_t off, size_t len, bool protect);
	/* Also units that are not mapped. Allowing writes wakes threads. */
	int (*protect)(struct mmem_pool *pool, uint64_t off, size_t len, bool protect);
	/* The next access is seen. NULL: it is enough that the kernel unmaps the range. */
	int (*unmap)(struct mmem_pool *pool, uint64_t off, size_t len);
	/* Any thread. */
	void (*wake)(struct mmem_pool *pool, uint64_t off, size_t len);
};

extern const struct mmem_view_ops mmem_view_uffd, mmem_view_traps;

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

/* Set pool->view to a way that works. *user_only: as mmem_view_ops.open. Returns 0 or -errno. */
int mmem_view_open(struct mmem_pool *pool, bool *user_only);

/* A region's range in the CPU's view. Its last chunk belongs to it as a whole. */
static inline size_t
mmem_view_get_len(const struct mmem_region *region)
{
	return region->nb_chunks << MMEM_CHUNK_LOG2;
}

/*
 * Map a unit whose contents are present, and those after it up to the limit, and wake the threads
 * that wait for it. Under pool->cpu_lock. Returns as mmem_view_ops.map.
 */
int mmem_view_map(struct mmem_pool *pool, uint64_t off, const struct mmem_cpu_map *map);

#endif /* MMEM_CPU_VIEW_H */
