/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_FRAME_H
#define MMEM_FRAME_H

/*
 * A chunk's frame: 2 MiB of the pool's memory, at the same index of pool->dev. Chunk and frame have
 * the same index until mmem_move() exchanges the frames of two chunks. A frame's device address and
 * its place in pool->dev never change; a chunk's place in pool->mem never changes.
 *
 *	chunks[i]	pool->mem + i * 2 MiB		regions, pages, page table entries
 *	frames[i] = f	pool->dev + f * 2 MiB		memory
 *			frame_dma[f] = chunks[i].dma	device address
 *
 * The frame of a chunk changes only while no handler, fetch, populating or eviction uses it:
 * move.c.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_common.h>

#include "mmem_chunk.h"
#include "mmem_pool.h"

static inline uint32_t
mmem_chunk_get_frame(const struct mmem_pool *pool, size_t chunk)
{
	return atomic_load_explicit(&pool->frames[chunk], memory_order_relaxed);
}

/* The memory at an offset in the pool, for this library and pagers; up to the end of its chunk. */
static inline uint8_t *
mmem_off_to_dev(const struct mmem_pool *pool, uint64_t off)
{
	return pool->dev + ((size_t)mmem_chunk_get_frame(pool, off >> MMEM_CHUNK_LOG2) <<
			MMEM_CHUNK_LOG2) + (off & (MMEM_CHUNK_SIZE - 1));
}

/* Bytes from an offset on whose memory is adjacent; at most len. */
static inline size_t
mmem_dev_run(const struct mmem_pool *pool, uint64_t off, size_t len)
{
	size_t chunk = off >> MMEM_CHUNK_LOG2;
	size_t run = MMEM_CHUNK_SIZE - (off & (MMEM_CHUNK_SIZE - 1));

	for (; run < len && mmem_chunk_get_frame(pool, chunk) + 1 ==
			mmem_chunk_get_frame(pool, chunk + 1); chunk++)
		run += MMEM_CHUNK_SIZE;
	return RTE_MIN(run, len);
}

/* Allocate frames and frame_dma; the pool's end frees them. Returns 0 or -ENOMEM. */
int mmem_frames_init(struct mmem_pool *pool);

#endif /* MMEM_FRAME_H */
