/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_AHEAD_H
#define MMEM_AHEAD_H

#include <stdint.h>

#include "mmem_space.h"

/*
 * The most pages that one call of a handler maps or asks for beside those that faulted. The bound
 * of the poll thread is some microseconds.
 */
#define MMEM_AHEAD_POLL		127
#define MMEM_AHEAD_WORKER	511

/*
 * A fault has mapped the page at an offset of a streamed chunk. Map pages ahead if it continues a
 * stream of its region, at most *@p most, which is reduced. Contents that are absent are fetched by
 * the control thread. In a read section or under space->lock, so that the region stays. Takes no
 * lock, and reads populated memory only.
 */
void mmem_ahead_follow(struct mmem_space *space, struct mmem_chunk *chunk, uint64_t off,
		unsigned int *most);

static inline bool
mmem_chunk_is_streamed(const struct mmem_chunk *chunk)
{
	return (atomic_load_explicit(&chunk->state, memory_order_relaxed) &
			(CHUNK_TOUCHED | CHUNK_STREAMED)) == CHUNK_STREAMED;
}

/* The first access of a device to a chunk. */
void mmem_chunk_mark_touched(struct mmem_space *space, struct mmem_chunk *chunk);

/*
 * Make the control thread fetch a page, for a thread that must not take a lock or start a fetch
 * itself.
 */
void mmem_page_mark_wanted(struct mmem_space *space, uint64_t off);

#endif /* MMEM_AHEAD_H */
