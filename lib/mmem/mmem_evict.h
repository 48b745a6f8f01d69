/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_EVICT_H
#define MMEM_EVICT_H

/*
 * Eviction. A thread of the pool makes room for fetches that the budget of their space, or of the
 * pool, holds back. For a batch of blocks of one space, which its policy (mmem_policy.h) names:
 *
 *	1  pages: PAGE_ABSENT		(pool->lock)	new faults wait for the block
 *	2  iopf_quiesce()				no handler maps a page that it saw present
 *	3  close the entries, invalidate (space->lock)	no device reaches the memory; the entries
 *							tell which pages a device has written
 *	4  remove from the CPU's view	(cpu_lock)	no CPU reaches it; BLOCK_WRITTEN is final
 *	5  write the block, if written	(pager)
 *	6  release the memory; an access that has waited fetches the block again
 *
 * After a failure in 3 or 5 the block stays: its memory is the only copy, or a device may reach it.
 * No step is made by a poll thread, and none waits for a pager.
 */

#include <stdbool.h>
#include <stddef.h>

struct mmem_pool;
struct mmem_region;
struct mmem_space;

/* The thread, created with the first space that has a budget. Returns 0 or -errno. */
int mmem_evict_start(struct mmem_pool *pool);
void mmem_evict_stop(struct mmem_pool *pool);

/* The policy of a space with a budget, or in a pool with one. Returns 0 or -errno. */
int mmem_evict_init(struct mmem_space *space);
void mmem_evict_fini(struct mmem_space *space);

/*
 * A space's domain is to be destroyed: wait until no batch of it is under way, and begin none.
 * False takes it back.
 */
void mmem_evict_end_space(struct mmem_space *space, bool ends);

/* The functions below are called under pool->lock. */

/* A fetch waits for room, or another block may leave. */
void mmem_evict_wake(struct mmem_pool *pool);

/* A block has been fetched; it is freed; it left, or stays after all. */
void mmem_evict_add(struct mmem_region *region, size_t block, bool prefetched);
void mmem_evict_unpin(struct mmem_region *region, size_t block);
void mmem_evict_remove(struct mmem_region *region, size_t block);
void mmem_evict_end(struct mmem_region *region, size_t block, bool left);

#endif /* MMEM_EVICT_H */
