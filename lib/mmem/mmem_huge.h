/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_HUGE_H
#define MMEM_HUGE_H

/*
 * Regions of MMEM_HUGE. Each chunk that such a region covers as a whole is CHUNK_HUGE: a fault maps
 * it by one block of 2 MiB, unless the page table has a table of pages there.
 *
 * The pages of a CHUNK_HUGE chunk without a table of pages all have the same rights, and no writes
 * are tracked: a fault takes the rights of the block from the byte of its page. So a call that
 * changes some of the bytes, or tracks writes, makes the table first. A fault that comes before the
 * table maps the block, which the call then splits; one that comes after it maps its page.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmem_chunk.h"
#include "mmem_space.h"

struct mmem_access;
struct mmem_region;

static inline bool
mmem_chunk_is_huge(const struct mmem_chunk *chunk)
{
	return atomic_load_explicit(&chunk->state, memory_order_relaxed) & CHUNK_HUGE;
}

/*
 * Make the tables that the faults of a region need, before it is published: down to the last level,
 * but not where blocks shall be. Outside of space->lock. Returns 0 or -errno.
 */
int mmem_region_make_tables(struct mmem_region *region);

/* Make the tables above blocks: nothing is mapped in the range. Returns 0 or -errno. */
int mmem_make_tables_for_blocks(struct mmem_space *space, uint64_t va, size_t size);

/*
 * The second half of mmem_access_resolve() in a chunk that is CHUNK_HUGE: @p rc is the result of
 * mapping the page at an offset.
 */
int mmem_huge_resolve(struct mmem_space *space, const struct mmem_access *access, uint64_t off,
		int rc, uint32_t prot);

/* Map the block of a chunk that is populated. Returns as pgt_resolve(). */
int mmem_huge_map(struct mmem_space *space, uint64_t off, uint32_t prot);

/*
 * Make the tables of pages that a change of this range needs: in the chunks that it covers in part;
 * with @p all in each chunk. Under space->lock. Returns 0 or -errno; the range is mapped as before,
 * or, after an error of the IOMMU, not at all.
 */
int mmem_huge_split(struct mmem_space *space, uint64_t va, size_t len, bool all);

/*
 * The same for an unmap, which must not fail for want of memory: the range is extended to chunks
 * that cannot be split.
 */
int mmem_huge_split_or_extend(struct mmem_space *space, uint64_t *va, size_t *len);

/*
 * Make blocks of the chunks in a range whose pages are all mapped, with the same rights. Under
 * space->lock. Returns 0, -ENOMEM or the error of the IOMMU.
 */
int mmem_huge_join(struct mmem_space *space, uint64_t va, size_t len);

#endif /* MMEM_HUGE_H */
