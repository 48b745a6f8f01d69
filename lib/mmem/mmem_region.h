/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_REGION_H
#define MMEM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmem_chunk.h"
#include "mmem_stream.h"

struct mmem_block;
struct mmem_dirty;
struct mmem_fetch;
struct mmem_space;

struct mmem_region {
	TAILQ_ENTRY(mmem_region) next;
	struct mmem_space *space;
	size_t first_chunk;
	size_t nb_chunks;
	size_t size;			/* bytes, a multiple of the page size */
	size_t nb_empty;		/* chunks without memory */
	unsigned int flags;

	/* Progress of a free, which one thread at a time makes. Under space->lock. */
	bool hidden;			/* faults do not find the region */
	bool freeing;			/* a thread frees the region now */
	bool is_closed;			/* unmapped from the devices, invalidation confirmed */
	bool kept;			/* a free failed; counted in MMEM_STAT_KEPT */

	struct mmem_streams streams;	/* of its faults */

	struct mmem_pager pager;	/* neither fill nor start: zero-filled */
	/* Fetches of a region with a pager. Under pool->lock. */
	TAILQ_ENTRY(mmem_region) next_ready;
	struct mmem_fetch **fetches;	/* by block: mmem_fetch.h, or NULL */
	struct mmem_dirty *dirty;	/* mmem_dirty_map.h, or NULL; under space->lock, and changed
					 * under pool->lock too */
	bool keeps_dirty;		/* the dirty states of its entries matter: blocks or dirty
					 * is set */
	struct mmem_block *blocks;	/* mmem_block.h; NULL: it counts in no budget */
	unsigned int nb_leaving;	/* blocks in an eviction */
	unsigned int nb_late;		/* of them, late writes: mmem_late.h */
	bool was_late;			/* and it was logged */
	uint32_t spared;			/* 1 + a block that is to leave after them, or 0 */
	bool hw_dirty;			/* see CHUNK_HW_DIRTY */
	bool syncing;			/* a thread writes it back or moves it; it stays */
	bool moving;			/* a chunk moves: no fetch and no eviction begins */
	int sync_error;			/* of that thread's writes */
	TAILQ_HEAD(, mmem_fetch) queue;
	TAILQ_HEAD(, mmem_fetch) cleans;	/* writes of mmem_sync() */
	bool is_clean_next;
	bool ready;			/* on pool->ready */
	unsigned int nb_threads;	/* threads in fill or start */
	unsigned int nb_open;		/* fetches started and not completed */
	unsigned int nb_overdue;	/* open fetches past their deadline */
	/* A failed fetch that a CPU access waits for: mmem_cpu.h. */
	int cpu_error;			/* not reported yet, or 0 */
	uint64_t cpu_error_off;
	bool reporting;			/* cpu_thread is in report */
};

static inline uint64_t
mmem_region_off(const struct mmem_region *region)
{
	return (uint64_t)region->first_chunk << MMEM_CHUNK_LOG2;
}

static inline bool
mmem_region_has_pager(const struct mmem_region *region)
{
	return region->pager.fill != NULL || region->pager.start != NULL;
}

/* Accesses of the CPU are watched: mmem_cpu.h. */
static inline bool
mmem_region_is_watched(const struct mmem_region *region)
{
	return mmem_region_has_pager(region) && !(region->flags & MMEM_CPU_LATER);
}

/*
 * The rights in a page's byte. Write and execute include read: the table format has no entry
 * without it.
 */
static inline uint8_t
mmem_flags_to_rights(unsigned int flags)
{
	uint8_t page = flags & (MMEM_RIGHTS | MMEM_TRACK_WRITES);

	return flags & MMEM_RIGHTS ? page | MMEM_READ : page;
}

/* Writes are tracked where blocks are written back, and by mmem_dirty_start(). */
static inline uint8_t
mmem_region_get_rights(const struct mmem_region *region, unsigned int flags)
{
	uint8_t rights = mmem_flags_to_rights(flags);

	return region->keeps_dirty && (rights & MMEM_WRITE) ? rights | MMEM_TRACK_WRITES : rights;
}

/* Find the region that contains a range, or NULL. Under space->lock. */
struct mmem_region *mmem_region_find(struct mmem_space *space, const void *ptr, size_t len);

/*
 * Find the region that contains a range given by the caller of the library. Under space->lock. NULL
 * is logged.
 */
struct mmem_region *mmem_region_find_range(struct mmem_space *space, const void *ptr, size_t len);

/* The region at an address that a free has hidden, and that no thread frees now, or NULL. */
struct mmem_region *mmem_region_find_hidden(struct mmem_space *space, const void *ptr);

/*
 * Free regions that a failed mmem_free() kept. Does nothing while an invalidation is missing: only
 * a call that invalidates tests whether the IOMMU confirms again.
 */
void mmem_regions_free_kept(struct mmem_space *space);

/* Free all regions of a detached space. Returns 0, or -ETIMEDOUT: a pager has not returned. */
int mmem_regions_free_all(struct mmem_space *space);

#endif /* MMEM_REGION_H */
