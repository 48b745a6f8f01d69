/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RUNTIME_H
#define RUNTIME_H

/*
 * A small accelerator: a software device with several queues, each a DMA engine
 * behind an SMMUv3. Its kernels run on the thread that calls, and see memory only
 * through asynchronous DMA at the CPU's own pointers. Nobody pins or maps those:
 * the first touch of each page faults, and a poller on another core serves it.
 *
 *	accel_open()			a device that stalls, or one that asks for pages
 *	accel_alloc(), accel_map_file()		buffers that CPU and device share
 *	accel_read(), accel_write(), accel_copy(), accel_wait()
 *	accel_get_figures()				what it cost in faults
 *	accel_close()
 *
 * One thread. What fails has said so in one line on stderr; then it returns -1
 * or NULL. A device's local memory must stay until accel_close().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_stats.h>
#include <mmem.h>

struct accel;

/* Bytes a kernel moves at a time. */
#define ACCEL_TILE ((size_t)64 << 10)

/* One DMA under way; the kernel's own, to wait for it. */
struct accel_req {
	bool busy;
};

struct accel_figures {
	uint64_t touched;	/* different pages that the device's DMAs named */
	uint64_t faults;	/* that the poller was given: page requests, or stalls */
	uint64_t groups;	/* that they came in: as many, for stalls */
	uint64_t mapped;	/* pages mapped by faults */
	uint64_t prefetched;	/* pages mapped by anything else */
	uint64_t deferred;	/* faults that waited for bytes of a file or for memory */
	uint64_t bytes;		/* moved by DMA */
	double seconds;		/* from the first DMA to the end of the last */
	unsigned int mistakes;	/* that the model saw, of driver or of itself */
	struct iopf_latency latency;
};

/*
 * For buffers of up to size bytes in all. EAL is up. With pri the device is two PCIe
 * functions with ATS and PRI, which ask for all pages of a DMA in groups.
 */
struct accel *accel_open(size_t size, bool pri);
void accel_close(struct accel *accel);

/* flags: MMEM_READ, MMEM_WRITE: what the device may do. The CPU may do both. */
void *accel_alloc(struct accel *accel, size_t size, unsigned int flags);
void *accel_map_file(struct accel *accel, const char *path, size_t size, unsigned int flags);

/*
 * Start a DMA; waits only while all queues are full. req may be NULL. Local
 * memory is the device's own and never goes through the SMMU.
 */
int accel_read(struct accel *accel, void *local, const void *mem, size_t len,
		struct accel_req *req);
int accel_write(struct accel *accel, void *mem, const void *local, size_t len,
		struct accel_req *req);
int accel_copy(struct accel *accel, void *dst, const void *src, size_t len,
		struct accel_req *req);

/* For one DMA, or with NULL for all. */
int accel_wait(struct accel *accel, const struct accel_req *req);

/* Whole arrays in tiles, all in flight; return when done. */
int accel_load(struct accel *accel, void *local, const void *mem, size_t len);
int accel_store(struct accel *accel, void *mem, const void *local, size_t len);

/*
 * Managed memory as a stream of tiles in order, some of them always under way.
 * accel_stream_next() gives the bytes of the next tile, 0 at the end, or -1; they
 * are valid until the next call.
 */
#define ACCEL_STREAM_DEPTH 16
struct accel_stream {
	struct accel *accel;
	const char *mem;
	size_t size;
	size_t issued;
	size_t taken;
	char *tiles;
	struct accel_req reqs[ACCEL_STREAM_DEPTH];
};
int accel_stream_open(struct accel_stream *stream, struct accel *accel, const void *mem,
		size_t size);
long accel_stream_next(struct accel_stream *stream, const void **tile);
/* After accel_close() when anything failed. */
void accel_stream_close(struct accel_stream *stream);

void accel_get_figures(const struct accel *accel, struct accel_figures *figures);

/* "accel: ..." on stderr. Returns -1. */
int accel_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* RUNTIME_H */
