/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_DIRTY_MAP_H
#define MMEM_DIRTY_MAP_H

/*
 * The pages of a tracked region that were written: mmem_dirty.h.
 *
 * A harvest and the service thread (cpu.c) meet in two locks:
 *
 *	harvest				service thread, for a write
 *	clear bits	(pool->lock)	set the bit		(pool->lock)
 *	protect		(cpu_lock)	allow writes		(cpu_lock)
 *
 * The service thread takes cpu_lock before it releases pool->lock. So if a harvest clears the bit,
 * it protects the page behind the service thread, and the next write is noticed again.
 *
 * Bits of devices' writes are set under space->lock, under which the entries are invalidated too: a
 * harvest, which has that lock, finds no bit whose page a device may still write unnoticed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_common.h>

#include <pgtable.h>

#include "mmem_chunk.h"
#include "mmem_pager.h"
#include "mmem_region.h"

/* The pages of a chunk. */
#define MMEM_DIRTY_STEP_WORDS	(MMEM_CHUNK_SIZE / MMEM_PAGE_SIZE / 64)

struct mmem_dirty {
	uint64_t *map;			/* written pages; under pool->lock */
	uint64_t *caller_tracks;	/* pages with MMEM_TRACK_WRITES of the caller; under
					 * space->lock */
};

/* The flags of entries that a call changes, for one block of a region, or a part of it. */
struct mmem_dirty_step {
	struct pgt_used used;
	uint64_t map[MMEM_DIRTY_STEP_WORDS];
};

/* The end of the step from this offset: of its block, or of its chunk. */
static inline uint64_t
mmem_dirty_step_end(const struct mmem_region *region, uint64_t off)
{
	return mmem_region_has_pager(region) ? mmem_fetch_block_end(region, off) :
			RTE_ALIGN_FLOOR(off, MMEM_CHUNK_SIZE) + MMEM_CHUNK_SIZE;
}

static inline void
mmem_dirty_step_init(struct mmem_dirty_step *step, const struct mmem_region *region, uint64_t va,
		size_t len)
{
	size_t i;

	step->used = (struct pgt_used){ .va = va, .size = len };
	if (region->dirty == NULL)
		return;
	for (i = 0; i < RTE_DIM(step->map); i++)
		step->map[i] = 0;
	step->used.dirty = step->map;
}

/* Keep what the step has found. Under space->lock. */
void mmem_dirty_step_keep(struct mmem_region *region, const struct mmem_dirty_step *step);

/* A CPU may write these pages from now on. Under pool->lock. */
void mmem_dirty_mark(struct mmem_region *region, uint64_t off, uint64_t end);

/* The caller sets the flags of these pages. Under space->lock. */
void mmem_dirty_protect(struct mmem_region *region, uint64_t off, size_t len, unsigned int flags);

/* The region is freed. Outside all locks. */
void mmem_dirty_free(struct mmem_region *region);

#endif /* MMEM_DIRTY_MAP_H */
