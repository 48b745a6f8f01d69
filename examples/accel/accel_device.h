/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ACCEL_DEVICE_H
#define ACCEL_DEVICE_H

/*
 * The device's side: what a kernel calls. A kernel runs on the thread of its queue. It computes on
 * local memory, which belongs to the device and is accessed without the SMMU, and moves bytes
 * between that and managed memory by asynchronous DMA.
 *
 *	static int
 *	negate(struct accel_queue *queue, void *args)
 *	{
 *		const struct vector *v = args;
 *		int32_t *local = accel_local(queue, v->size);
 *
 *		if (local == NULL || accel_load(queue, local, v->ptr, v->size) < 0)
 *			return -1;
 *		...
 *		return accel_store(queue, v->ptr, local, v->size);
 *	}
 *
 * Threads. For the thread of the queue, inside a kernel.
 */

#include "accel.h"

/* Bytes that a kernel moves in one DMA. */
#define ACCEL_TILE ((size_t)64 << 10)

/* A pending DMA. */
struct accel_req {
	bool busy;
};

/* Local memory of zeros, for any type. It is freed when the kernel and its DMAs have ended. */
void *accel_local(struct accel_queue *queue, size_t size);

/* Start a DMA; waits only while the queue has no room for it. req may be NULL. */
int accel_read(struct accel_queue *queue, void *local, const void *mem, size_t len,
		struct accel_req *req);
int accel_write(struct accel_queue *queue, void *mem, const void *local, size_t len,
		struct accel_req *req);
int accel_copy(struct accel_queue *queue, void *dst, const void *src, size_t len,
		struct accel_req *req);

/* Wait for one DMA, or with NULL for all of the kernel. */
int accel_req_wait(struct accel_queue *queue, const struct accel_req *req);

/* Transfer whole arrays in tiles, all pending together; return at the end. */
int accel_load(struct accel_queue *queue, void *local, const void *mem, size_t len);
int accel_store(struct accel_queue *queue, void *mem, const void *local, size_t len);

/*
 * Managed memory as a stream of tiles in order, with some tiles always pending. accel_stream_next()
 * returns the bytes of the next tile, 0 at the end, or -1; the tile is valid until the next call.
 */
#define ACCEL_STREAM_DEPTH 16
struct accel_stream {
	struct accel_queue *queue;
	const char *mem;
	size_t size;
	size_t issued;
	size_t taken;
	char *tiles;
	struct accel_req reqs[ACCEL_STREAM_DEPTH];
};
int accel_stream_open(struct accel_stream *stream, struct accel_queue *queue, const void *mem,
		size_t size);
long accel_stream_next(struct accel_stream *stream, const void **tile);

#endif /* ACCEL_DEVICE_H */
