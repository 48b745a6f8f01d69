/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_STREAM_H
#define MMEM_STREAM_H

/*
 * Streams: the regular sequences among the faults of a region.
 *
 * A stream is two faults on adjacent pages, or three at equal distances (the stride, forward or
 * backward). Its next fault is expected at the end of its window, the pages that were mapped or
 * fetched ahead. A fault there shows that the window was used, since no page of it faulted: the
 * window grows fourfold, up to the limit.
 *
 *	fault at	0   1     4          16            64 ...
 *	window		-   4     16         64            256
 *	mapped ahead	-   2-3   5-15       17-63         65-255
 *
 * A window that no further fault follows was wrong, as far as faults tell. It is noticed when its
 * stream is the least recently used one and is replaced. The limit for all streams of the region is
 * then halved; it doubles after LIMIT_UP windows in a row that reached it and were used.
 *
 * A pure data structure. The thread that sets busy uses it; another thread, which finds it set,
 * does not wait.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MMEM_NB_STREAMS		8
/* The smallest and largest window, in strides, the faulted page included. */
#define MMEM_WINDOW_MIN		4
#define MMEM_WINDOW_MAX		512

struct mmem_stream {
	uint64_t page;			/* of its last fault */
	uint64_t next;			/* where the next fault is expected */
	int64_t stride;			/* in pages; 0: unknown */
	uint32_t window;		/* in strides; 0: a candidate, not a stream yet */
	uint32_t hits;			/* faults at the end of a window */
	uint64_t used;			/* the time of its last fault; 0: an unused entry */
};

struct mmem_streams {
	atomic_bool busy;
	uint8_t limit_shift;		/* the limit is MMEM_WINDOW_MAX >> limit_shift */
	uint8_t nb_good;		/* windows at the limit that were used, in a row */
	uint64_t clock;			/* counts faults */
	struct mmem_stream streams[MMEM_NB_STREAMS];
};

/*
 * Note a fault. Returns the stream that it continues, with its new window, or NULL. The caller maps
 * or fetches pages ahead, and then stores next. @p sequential: the application says that accesses
 * are: each fault outside all streams begins one.
 */
struct mmem_stream *mmem_streams_note(struct mmem_streams *streams, uint64_t page, bool sequential);

/* The stream has ended at the region's end, not because it was wrong. */
void mmem_stream_end(struct mmem_stream *stream);

#endif /* MMEM_STREAM_H */
