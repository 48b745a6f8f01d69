/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What the application knows about its accesses: advice, and blocks that stay in memory. */

#include <errno.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "mmem_block.h"
#include "mmem_evict.h"
#include "mmem_huge.h"
#include "mmem_pool.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"

/* Pinned bytes are at most this part of a budget, so that others can be fetched. */
#define PIN_PART	2

/* How the faults of chunks are handled from now on. */
static void
chunks_set_advice(struct mmem_space *space, uint64_t off, size_t len, enum mmem_advice advice)
{
	struct mmem_chunk *chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
	struct mmem_chunk *last = &space->chunks[(off + len - 1) >> MMEM_CHUNK_LOG2];
	uint32_t bit, state;

	for (; chunk <= last; chunk++) {
		atomic_store_explicit(&chunk->advice, advice, memory_order_relaxed);
		atomic_store_explicit(&chunk->misses, 0, memory_order_relaxed);
		state = atomic_load_explicit(&chunk->state, memory_order_relaxed);
		if (!(state & (CHUNK_TOUCHED | CHUNK_STREAMED)))
			continue;
		/* It has one of both bits at any time. */
		bit = mmem_chunk_touched_bit(space, chunk);
		atomic_fetch_or_explicit(&chunk->state, bit, memory_order_relaxed);
		if (bit == CHUNK_STREAMED)
			atomic_fetch_and_explicit(&chunk->state, ~CHUNK_TOUCHED,
					memory_order_relaxed);
	}
}

/* Map pages read-only until their first write. */
static int
pages_track_writes(struct mmem_space *space, struct mmem_region *region, uint64_t off, size_t len)
{
	_Atomic uint8_t *page = &space->pages[off >> MMEM_PAGE_LOG2];
	_Atomic uint8_t *end = page + (len >> MMEM_PAGE_LOG2);
	uint64_t va = mmem_off_to_va(space, off);
	int rc, rc_open;

	rc = mmem_huge_split(space, va, len, true);
	if (rc < 0)
		return rc;
	for (; page < end; page++)
		if (atomic_load_explicit(page, memory_order_relaxed) & MMEM_WRITE)
			atomic_fetch_or_explicit(page, MMEM_TRACK_WRITES, memory_order_relaxed);
	/* Handlers that read the byte before have returned. */
	rc = iopf_quiesce();
	if (rc < 0)
		return rc;
	rc = mmem_range_close(space, region, va, len);
	rc_open = pgt_open(space->pgt, va, len);
	return rc < 0 ? rc : rc_open;
}

int
mmem_advise(struct mmem_space *space, void *ptr, size_t len, enum mmem_advice advice)
{
	struct mmem_region *region;
	uint64_t off;
	int rc;

	if (advice == MMEM_ADVISE_WILL_NEED)
		return mmem_prefetch_start(space, ptr, len, NULL);
	if (advice == MMEM_ADVISE_DONT_NEED)
		return mmem_unmap(space, ptr, len);
	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	if ((unsigned int)advice > MMEM_ADVISE_HUGE) {
		MMEM_LOG_LIMITED(space, "advice %d: use a value of enum mmem_advice", (int)advice);
		return mmem_ret(-EINVAL);
	}
	off = (uintptr_t)ptr - (uintptr_t)space->mem;
	pthread_mutex_lock(&space->lock);
	region = mmem_region_find_range(space, ptr, len);
	if (region == NULL)
		rc = -EINVAL;
	else if (advice == MMEM_ADVISE_READ_MOSTLY)
		rc = pages_track_writes(space, region, off, len);
	else if (advice == MMEM_ADVISE_HUGE)
		rc = mmem_huge_join(space, (uintptr_t)ptr, len);
	else
		chunks_set_advice(space, off, len, advice);
	mmem_space_unlock(space);
	return mmem_ret(rc);
}

/*
 * Pins
 */

static bool
has_room(const struct mmem_budget *budget, uint64_t len)
{
	return budget->limit == 0 || budget->pinned + len <= budget->limit / PIN_PART;
}

static void
add_pinned(struct mmem_space *space, size_t len, int sign)
{
	space->budget.pinned += sign > 0 ? len : -len;
	space->pool->budget.pinned += sign > 0 ? len : -len;
}

/* Under pool->lock. */
static void
block_unpin(struct mmem_region *region, size_t block)
{
	if (--region->blocks[block].nb_pins == 0)
		add_pinned(region->space, mmem_block_len(region, block), -1);
	if (region->blocks[block].nb_pins == 0)
		mmem_evict_unpin(region, block);
}

/* Under pool->lock. Returns 0, -ENOMEM: over the budget's part, or -EOVERFLOW. */
static int
block_pin(struct mmem_region *region, size_t block)
{
	struct mmem_space *space = region->space;
	size_t len = mmem_block_len(region, block);

	if (region->blocks[block].nb_pins == UINT16_MAX)
		return -EOVERFLOW;
	if (region->blocks[block].nb_pins == 0) {
		if (!has_room(&space->budget, len) || !has_room(&space->pool->budget, len))
			return -ENOMEM;
		add_pinned(space, len, 1);
	}
	region->blocks[block].nb_pins++;
	return 0;
}

void
mmem_pins_drop(struct mmem_region *region, size_t block)
{
	if (region->blocks[block].nb_pins != 0) {
		region->blocks[block].nb_pins = 1;
		block_unpin(region, block);
	}
}

/* Pin (1) or unpin (-1) all blocks of a range or none. Under space->lock. */
static int
blocks_pin(struct mmem_space *space, struct mmem_region *region, uint64_t off, size_t len, int sign)
{
	size_t first = mmem_region_get_block(region, off);
	size_t last = mmem_region_get_block(region, off + len - 1), i;
	int rc = 0;

	pthread_mutex_lock(&space->pool->lock);
	for (i = first; i <= last && sign < 0; i++)
		if (region->blocks[i].nb_pins == 0)
			rc = -EINVAL;
	for (i = first; i <= last && rc == 0; i++)
		if (sign < 0)
			block_unpin(region, i);
		else
			rc = block_pin(region, i);
	/* The last one tried was not pinned. */
	if (sign > 0 && rc < 0)
		for (i--; i > first; i--)
			block_unpin(region, i - 1);
	pthread_mutex_unlock(&space->pool->lock);
	return rc;
}

static int
range_pin(struct mmem_space *space, void *ptr, size_t len, int sign)
{
	struct mmem_region *region;
	int rc = 0;

	pthread_mutex_lock(&space->lock);
	region = mmem_region_find_range(space, ptr, len);
	if (region == NULL)
		rc = -EINVAL;
	/* Only blocks under a budget are evicted. */
	else if (region->blocks != NULL)
		rc = blocks_pin(space, region, (uintptr_t)ptr - (uintptr_t)space->mem, len, sign);
	mmem_space_unlock(space);
	if (rc == -ENOMEM)
		MMEM_LOG_LIMITED(space, "cannot pin %zu bytes at %p: at most half of a budget may "
				"be pinned: unpin others, or use a larger budget", len, ptr);
	else if (rc == -EINVAL && region != NULL)
		MMEM_LOG_LIMITED(space, "%zu bytes at %p are not all pinned: unpin what was pinned",
				len, ptr);
	return rc;
}

int
mmem_pin(struct mmem_space *space, void *ptr, size_t len)
{
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_self.paging != NULL ? -EDEADLK : mmem_may_wait();
	if (rc == 0)
		rc = range_pin(space, ptr, len, 1);
	if (rc < 0)
		return mmem_ret(rc);
	rc = mmem_prefetch(space, ptr, len);
	if (rc < 0)
		range_pin(space, ptr, len, -1);
	return mmem_ret(rc);
}

int
mmem_unpin(struct mmem_space *space, void *ptr, size_t len)
{
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	return mmem_ret(rc < 0 ? rc : range_pin(space, ptr, len, -1));
}
