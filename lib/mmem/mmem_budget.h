/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_BUDGET_H
#define MMEM_BUDGET_H

/*
 * Memory of regions with a pager: how much a space and a pool may have. A fetch takes a block's
 * bytes before the memory is populated; without room it stays queued until the evictor (evict.c)
 * has made some. All functions are called under pool->lock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmem_fetch;
struct mmem_pool;
struct mmem_region;
struct mmem_space;

/* Bytes in memory, of a pool or a space. */
struct mmem_budget {
	uint64_t limit;			/* 0: none */
	uint64_t resident;		/* with blocks being fetched, and those leaving */
	uint64_t leaving;		/* of them, blocks being evicted */
	uint64_t queued;		/* blocks to be fetched */
	uint64_t pinned;		/* blocks that are not evicted */
};

/* Bytes to be evicted, so that the next queued blocks have room. */
uint64_t mmem_budget_get_excess(const struct mmem_budget *budget, size_t block);

/* May this fetch begin? */
bool mmem_budget_has_room(const struct mmem_fetch *fetch);

/* A fetch is queued (1), or is not any more (-1). */
void mmem_budget_queue(const struct mmem_fetch *fetch, int sign);

/* A block takes memory (1), or returns it (-1). */
void mmem_budget_take(const struct mmem_region *region, size_t block, int sign);

/* A block begins to leave (1), or does not leave any more (-1). */
void mmem_budget_leave(const struct mmem_region *region, size_t block, int sign);

/* Regions whose next fetch has room now start it. */
void mmem_budget_start_fetches(struct mmem_pool *pool);

#endif /* MMEM_BUDGET_H */
