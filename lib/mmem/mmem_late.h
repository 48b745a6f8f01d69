/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_LATE_H
#define MMEM_LATE_H

/*
 * Write-backs of blocks that leave, and that are late: the pager has not ended them after 10 ms. A
 * pager that is slow or dead must not hold up the evictions of others. So such a block does not
 * count as leaving any more, and other blocks leave in its place; a block whose write no thread has
 * begun stays in memory. Until the late writes of a region have ended, no more of its written
 * blocks leave: the policy has named them, and they are spared, so that it names others. The
 * evictor watches the time. Under pool->lock.
 */

#include <stddef.h>
#include <stdint.h>

struct mmem_fetch;
struct mmem_pool;
struct mmem_region;

/* The write of a leaving block is queued; it has ended, or the block stays. */
void mmem_late_watch(struct mmem_pool *pool, struct mmem_fetch *fetch);
void mmem_late_unwatch(struct mmem_pool *pool, struct mmem_fetch *fetch);

/* A block of a region with late writes that the policy has named. */
void mmem_late_spare(struct mmem_region *region, size_t block);

/* Returns the time at which the next write is late (mmem_now_ns()), or 0. */
uint64_t mmem_late_expire(struct mmem_pool *pool);

#endif /* MMEM_LATE_H */
