/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Maps pages ahead of the streams of a region, in the handler of a fault.
 *
 * A chunk is CHUNK_STREAMED from its first access. Its faults take the general path, which looks
 * for streams. A chunk whose faults do not belong to streams becomes CHUNK_TOUCHED, and its faults
 * take the short path from then on.
 */

#include <errno.h>

#include <pgtable.h>

#include <rte_bitops.h>

#include "mmem_access.h"
#include "mmem_ahead.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_stream.h"

/* Faults of a chunk outside all streams, after which it is CHUNK_TOUCHED. */
#define MISSES_MAX		32
/* Windows of a stream that were used, before contents are fetched ahead of it. */
#define FETCH_HITS		2
/*
 * Blocks to fetch ahead of a stream: this many bytes, and at least this many blocks; under a budget
 * at most this part of it.
 */
#define FETCH_BYTES		((size_t)512 << 10)
#define FETCH_BLOCKS_MIN	4
/* In a budget of fewer blocks nothing is fetched ahead: it would take the room of what is used. */
#define FETCH_BUDGET_MIN	16
#define FETCH_BUDGET_PART	32

void
mmem_chunk_mark_touched(struct mmem_space *space, struct mmem_chunk *chunk)
{
	atomic_store_explicit(&chunk->misses, 0, memory_order_relaxed);
	atomic_fetch_or_explicit(&chunk->state, mmem_chunk_touched_bit(space, chunk),
			memory_order_relaxed);
	mmem_control_notify(space->pool, true);
}

void
mmem_page_mark_wanted(struct mmem_space *space, uint64_t off)
{
	struct mmem_chunk *chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];

	atomic_fetch_or_explicit(&space->pages[off >> MMEM_PAGE_LOG2], PAGE_WANTED,
			memory_order_relaxed);
	/* Pairs with the acquire in fetch_wanted_chunks(): the page's mark. */
	if (atomic_fetch_or_explicit(&chunk->state, CHUNK_WANTED, memory_order_release) &
			CHUNK_WANTED)
		return;		/* the thread that set CHUNK_WANTED notifies */
	/* Pairs with the acquire in fetch_wanted_chunks(): the mark. */
	atomic_store_explicit(&space->pool->wanted, true, memory_order_release);
	mmem_control_notify(space->pool, false);
}

/* Map a page if it is present and need not be zeroed. Returns 1, 0: it was mapped, or -EAGAIN. */
static int
map_present_page(struct mmem_space *space, uint64_t off)
{
	struct mmem_chunk *chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
	uint32_t state, prot;
	uint8_t page;
	int rc;

	/* These loads pair as in mmem_access_check(). */
	page = atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2], memory_order_acquire);
	state = atomic_load_explicit(&chunk->state, memory_order_acquire);
	prot = mmem_page_get_prot(space, off, page, false);
	if ((page & (PAGE_USED | PAGE_DIRTY)) != PAGE_USED || !(state & CHUNK_POPULATED) ||
			prot == 0)
		return -EAGAIN;
	if (!(state & (CHUNK_TOUCHED | CHUNK_STREAMED)))
		mmem_chunk_mark_touched(space, chunk);
	rc = mmem_page_map(space, off, page, prot);
	return rc == 0 ? 1 : rc == -EALREADY || rc == -EACCES ? 0 : -EAGAIN;
}

static bool
page_of_region(const struct mmem_region *region, uint64_t page)
{
	return page < region->size >> MMEM_PAGE_LOG2;
}

/* The end of the pages to map, as the number of strides from the faulted page. */
static uint32_t
window_width(const struct mmem_space *space, const struct mmem_stream *stream, uint64_t page,
		unsigned int most)
{
	uint32_t width = RTE_MIN(RTE_MIN(stream->window, space->window), most + 1);
	uint64_t end, align;

	/* Windows that end aligned cover blocks of the table, and are as long as they can be. */
	if (stream->stride == 1) {
		align = rte_align32prevpow2(width);
		end = (page + width) & ~(align - 1);
		if (end > page + 1)
			width = end - page;
	}
	return width;
}

/*
 * Map from the page where the fault was expected to the end of the window, up to the first page
 * that cannot be mapped here. Returns that page, or the window's end.
 */
static uint64_t
map_window(struct mmem_space *space, const struct mmem_region *region,
		const struct mmem_stream *stream, uint64_t page, uint32_t width, unsigned int *most)
{
	const uint64_t first = mmem_region_off(region), end = page + width * stream->stride;
	unsigned int mapped = 0;
	uint64_t at;
	int rc;

	for (at = stream->next; at != end && *most != 0; at += stream->stride) {
		if (at == page)
			continue;
		if (!page_of_region(region, at))
			break;
		(*most)--;
		rc = map_present_page(space, first + (at << MMEM_PAGE_LOG2));
		if (rc < 0 && (int64_t)(at - page) * stream->stride > 0)
			break;
		mapped += rc == 1;
	}
	mmem_stat_add(space, MMEM_STAT_AHEAD, mapped);
	/* The page itself is mapped. */
	return *most == 0 && (int64_t)(at - page) * stream->stride <= 0 ? page + stream->stride :
			at;
}

static unsigned int
nb_blocks_to_fetch(const struct mmem_space *space, const struct mmem_region *region)
{
	uint64_t limit = space->budget.limit ? space->budget.limit : space->pool->budget.limit;
	size_t nb = RTE_MAX(FETCH_BYTES / region->pager.fetch_size, (size_t)FETCH_BLOCKS_MIN);

	if (limit == 0)
		return nb;
	limit /= region->pager.fetch_size;
	return limit < FETCH_BUDGET_MIN ? 0 :
			RTE_MIN(nb, RTE_MAX(limit / FETCH_BUDGET_PART, UINT64_C(1)));
}

/* Ask for the absent contents of the window after the one that is mapped. */
static void
fetch_window(struct mmem_space *space, const struct mmem_region *region,
		const struct mmem_stream *stream, uint32_t width)
{
	const uint64_t first = mmem_region_off(region);
	unsigned int left = nb_blocks_to_fetch(space, region);
	uint64_t off, block, last_block = UINT64_MAX, page = stream->next;
	uint32_t i;

	for (i = 0; i < width && left != 0 && page_of_region(region, page);
			i++, page += stream->stride) {
		off = first + (page << MMEM_PAGE_LOG2);
		block = off / region->pager.fetch_size;
		if (block == last_block || !(atomic_load_explicit(
				&space->pages[off >> MMEM_PAGE_LOG2], memory_order_relaxed) &
				PAGE_ABSENT))
			continue;
		mmem_page_mark_wanted(space, off);
		last_block = block;
		left--;
	}
}

static void
stream_follow(struct mmem_space *space, const struct mmem_region *region,
		struct mmem_stream *stream, uint64_t page, unsigned int *most)
{
	uint32_t width = window_width(space, stream, page, *most);

	stream->next = map_window(space, region, stream, page, width, most);
	if (!page_of_region(region, stream->next))
		mmem_stream_end(stream);
	else if (mmem_region_has_pager(region) && stream->hits >= FETCH_HITS &&
			!mmem_is_throttled(&space->throttle))
		fetch_window(space, region, stream, width);
}

void
mmem_ahead_follow(struct mmem_space *space, struct mmem_chunk *chunk, uint64_t off,
		unsigned int *most)
{
	struct mmem_region *region = chunk->region;
	struct mmem_stream *stream;
	bool sequential;
	uint64_t page;

	/* Pairs with the release below: the streams. */
	if (atomic_exchange_explicit(&region->streams.busy, true, memory_order_acquire))
		return;
	page = (off - mmem_region_off(region)) >> MMEM_PAGE_LOG2;
	sequential = atomic_load_explicit(&chunk->advice, memory_order_relaxed) ==
			MMEM_ADVISE_SEQUENTIAL;
	stream = mmem_streams_note(&region->streams, page, sequential);
	if (stream != NULL)
		stream_follow(space, region, stream, page, most);
	/* Pairs with the acquire above. */
	atomic_store_explicit(&region->streams.busy, false, memory_order_release);
	if (stream != NULL)
		atomic_store_explicit(&chunk->misses, 0, memory_order_relaxed);
	else if (atomic_fetch_add_explicit(&chunk->misses, 1, memory_order_relaxed) == MISSES_MAX)
		atomic_fetch_or_explicit(&chunk->state, CHUNK_TOUCHED, memory_order_relaxed);
}
