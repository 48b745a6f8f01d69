/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_REGION_H
#define MMEM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmem_chunk.h"

struct mmem_fetch;
struct mmem_space;

struct mmem_region {
	TAILQ_ENTRY(mmem_region) next;
	struct mmem_space *space;
	size_t first;			/* chunk */
	size_t nb_chunks;
	size_t size;			/* bytes, whole pages */
	size_t nb_empty;		/* chunks without memory */
	unsigned int flags;

	/* On its way out: each step once, by one thread at a time; space->lock. */
	bool hidden;			/* hidden from faults */
	bool freeing;			/* a thread is at it */
	bool is_closed;		/* from the devices, and that is confirmed */
	bool kept;			/* and counted as such */

	struct mmem_pager pager;	/* neither fill nor start: zeroes */
	/* Fetches, of regions with a pager. Under pool->lock. */
	TAILQ_ENTRY(mmem_region) next_ready;
	struct mmem_fetch **fetches;	/* by block: under way, or failed; NULL */
	TAILQ_HEAD(, mmem_fetch) queue;
	bool ready;			/* on pool->ready */
	unsigned int nb_threads;	/* that are in fill or start */
	unsigned int nb_open;		/* fetches that have begun and are not done */
	unsigned int nb_overdue;	/* of these, past their deadline */
};

static inline uint64_t
mmem_region_off(const struct mmem_region *region)
{
	return (uint64_t)region->first << MMEM_CHUNK_LOG2;
}

static inline bool
mmem_region_has_pager(const struct mmem_region *region)
{
	return region->pager.fill != NULL || region->pager.start != NULL;
}

/* The rights in a page's byte. To write is to read; and what may be executed can be read. */
static inline uint8_t
mmem_flags_to_rights(unsigned int flags)
{
	uint8_t page = flags & (MMEM_RIGHTS | MMEM_TRACK_WRITES);

	return flags & MMEM_RIGHTS ? page | MMEM_READ : page;
}

/* For an argument: the region with this range inside. Under space->lock. NULL is logged. */
struct mmem_region *mmem_region_find_range(struct mmem_space *space, const void *ptr, size_t len);

/*
 * Free what could not be freed before. Not while an invalidation is missing: it is for a call
 * that invalidates to find out whether that works again.
 */
void mmem_regions_free_kept(struct mmem_space *space);

/* All that is left of a detached space. 0, or -ETIMEDOUT: a pager has not returned. */
int mmem_regions_free_all(struct mmem_space *space);

#endif /* MMEM_REGION_H */
