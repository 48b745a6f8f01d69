/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Finds streams among the faults of a region. */

#include <string.h>

#include <rte_common.h>

#include "mmem_stream.h"

/* The largest stride of a stream, in pages: 16 MiB. */
#define STRIDE_MAX	4096
/*
 * A device with several accesses under way faults out of order: a fault this many strides past the
 * expected page still continues the stream.
 */
#define SLACK		16
/* Used windows in a row after which the limit doubles. */
#define LIMIT_UP	4

static uint32_t
window_limit(const struct mmem_streams *streams)
{
	return MMEM_WINDOW_MAX >> streams->limit_shift;
}

static void
limit_halve(struct mmem_streams *streams)
{
	if (window_limit(streams) > MMEM_WINDOW_MIN)
		streams->limit_shift++;
	streams->nb_good = 0;
}

/* A window was used. Under a lowered limit, several of them raise it. */
static void
limit_confirm(struct mmem_streams *streams, const struct mmem_stream *stream)
{
	if (streams->limit_shift == 0 || stream->window < window_limit(streams))
		return;
	if (++streams->nb_good < LIMIT_UP)
		return;
	streams->limit_shift--;
	streams->nb_good = 0;
}

static bool
stream_continues(const struct mmem_stream *stream, uint64_t page)
{
	int64_t distance = page - stream->next, most = RTE_MAX(stream->window, (uint32_t)SLACK);

	return distance % stream->stride == 0 && distance / stream->stride >= 0 &&
		distance / stream->stride < most;
}

static struct mmem_stream *
stream_begin(struct mmem_streams *streams, struct mmem_stream *stream, int64_t stride,
		uint32_t window)
{
	stream->stride = stride;
	stream->window = RTE_MIN(window, window_limit(streams));
	stream->next = stream->page + stride;
	stream->hits = 0;
	return stream;
}

static void
stream_grow(struct mmem_streams *streams, struct mmem_stream *stream, uint64_t page)
{
	/* Past the expected page there may be a hole: keep the window. */
	if (page == stream->next) {
		limit_confirm(streams, stream);
		stream->window = RTE_MIN(stream->window * 4, window_limit(streams));
	}
	stream->hits++;
}

/* The candidate that is nearest to the page, or NULL. */
static struct mmem_stream *
find_candidate(struct mmem_streams *streams, uint64_t page)
{
	struct mmem_stream *stream, *nearest = NULL;
	uint64_t distance, least = STRIDE_MAX + 1;
	unsigned int i;

	for (i = 0; i < MMEM_NB_STREAMS; i++) {
		stream = &streams->streams[i];
		distance = page > stream->page ? page - stream->page : stream->page - page;
		if (stream->used != 0 && stream->window == 0 && distance < least) {
			nearest = stream;
			least = distance;
		}
	}
	return nearest;
}

/* Replace the least recently used stream or candidate by a candidate. */
static struct mmem_stream *
add_candidate(struct mmem_streams *streams, uint64_t page)
{
	struct mmem_stream *oldest = &streams->streams[0];
	unsigned int i;

	for (i = 1; i < MMEM_NB_STREAMS; i++)
		if (streams->streams[i].used < oldest->used)
			oldest = &streams->streams[i];
	if (oldest->window > MMEM_WINDOW_MIN)
		limit_halve(streams);
	memset(oldest, 0, sizeof(*oldest));
	oldest->page = page;
	oldest->used = streams->clock;
	return oldest;
}

struct mmem_stream *
mmem_streams_note(struct mmem_streams *streams, uint64_t page, bool sequential)
{
	struct mmem_stream *stream;
	int64_t distance;
	unsigned int i;

	streams->clock++;
	for (i = 0; i < MMEM_NB_STREAMS; i++) {
		stream = &streams->streams[i];
		if (stream->window == 0 || !stream_continues(stream, page))
			continue;
		stream_grow(streams, stream, page);
		stream->page = page;
		stream->used = streams->clock;
		return stream;
	}
	stream = find_candidate(streams, page);
	if (stream == NULL || sequential) {
		stream = add_candidate(streams, page);
		return sequential ? stream_begin(streams, stream, 1, MMEM_WINDOW_MAX) : NULL;
	}
	distance = page - stream->page;
	stream->page = page;
	stream->used = streams->clock;
	if (distance == 1 || distance == -1 || (distance == stream->stride && distance != 0))
		return stream_begin(streams, stream, distance, MMEM_WINDOW_MIN);
	stream->stride = distance;
	return NULL;
}

void
mmem_stream_end(struct mmem_stream *stream)
{
	memset(stream, 0, sizeof(*stream));
}
