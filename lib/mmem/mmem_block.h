/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_BLOCK_H
#define MMEM_BLOCK_H

/*
 * Blocks of a region with a pager: the units that are fetched, evicted and written back. A region
 * of a space or pool with a budget has a struct mmem_block for each. Under pool->lock.
 */

#include <stdint.h>

#include <rte_common.h>

#include "mmem_fetch.h"
#include "mmem_pool.h"
#include "mmem_region.h"

#define BLOCK_RESIDENT	(1u << 0)	/* it has memory, counted in the budgets */
#define BLOCK_WRITTEN	(1u << 1)	/* a CPU may have written it, or a device had, since the
					 * pager has its contents */
#define BLOCK_CPU	(1u << 2)	/* the CPU's view may map it */
#define BLOCK_EVICTED	(1u << 3)	/* it was evicted once */

struct mmem_block {
	uint64_t stays_until;		/* mmem_now_ns(): not to be evicted before; of a block that
					 * left: when it did */
	uint8_t state;
	uint16_t nb_pins;		/* it is not evicted while this is not 0 */
	uint32_t next_spared;		/* 1 + the next block on region->spared, or 0 */
};

static inline size_t
mmem_region_nb_blocks(const struct mmem_region *region)
{
	return (region->size + region->pager.fetch_size - 1) / region->pager.fetch_size;
}

/* The block at an offset in the pool. */
static inline size_t
mmem_region_get_block(const struct mmem_region *region, uint64_t off)
{
	return (off - mmem_region_off(region)) / region->pager.fetch_size;
}

/* Its offset in the pool. */
static inline uint64_t
mmem_block_off(const struct mmem_region *region, size_t block)
{
	return mmem_region_off(region) + block * region->pager.fetch_size;
}

static inline size_t
mmem_block_len(const struct mmem_region *region, size_t block)
{
	return RTE_MIN(region->size - block * region->pager.fetch_size, region->pager.fetch_size);
}

static inline void
mmem_fetch_get_range(const struct mmem_fetch *fetch, uint64_t *off, size_t *len)
{
	*off = mmem_block_off(fetch->region, fetch->block);
	*len = mmem_block_len(fetch->region, fetch->block);
}

/* Its region is freed: take back all its pins. */
void mmem_pins_drop(struct mmem_region *region, size_t block);

/* Return its memory to the kernel. No device and no CPU reaches it. */
void mmem_block_release(struct mmem_pool *pool, uint64_t off, size_t len);

/* The contents of all its pages change from absent to present, or back. */
void mmem_block_switch_pages(struct mmem_pool *pool, uint64_t off, size_t len);

#endif /* MMEM_BLOCK_H */
