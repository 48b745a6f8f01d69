/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RUNTIME_H
#define RUNTIME_H

/*
 * A small accelerator: a software device with several queues, each a DMA engine behind an SMMUv3. A
 * kernel runs on the calling thread and accesses memory only through asynchronous DMA at the CPU's
 * own pointers. The memory is neither pinned nor mapped in advance: the first access to each page
 * faults, and a poller on another core serves the fault.
 *
 *	accel_open()			a device with stalls, or one with page requests
 *	accel_alloc(), accel_map_file()		buffers that CPU and device share
 *	accel_read(), accel_write(), accel_copy(), accel_wait()
 *	accel_get_figures()			the number and cost of the faults
 *	accel_close()
 *
 * For one thread only. A function that fails prints one line on stderr and returns -1 or NULL. A
 * device's local memory must stay valid until accel_close().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_stats.h>
#include <mmem.h>

struct accel;

/* Bytes that a kernel moves in one DMA. */
#define ACCEL_TILE ((size_t)64 << 10)

/* A pending DMA; a kernel waits for it. */
struct accel_req {
	bool busy;
};

struct accel_figures {
	uint64_t touched;	/* different pages that the device's DMAs used */
	uint64_t faults;	/* faults delivered to the poller: page requests or stalls */
	uint64_t groups;	/* their groups; equal to faults with stalls */
	uint64_t mapped;	/* pages mapped by faults */
	uint64_t ahead;		/* pages mapped by faults on other pages of their streams */
	uint64_t prefetched;	/* pages mapped otherwise */
	uint64_t deferred;	/* faults that waited for contents of a file or for memory */
	uint64_t bytes;		/* moved by DMA */
	double seconds;		/* from the first DMA to the end of the last one */
	unsigned int mistakes;	/* driver errors and oracle errors of the model */
	struct iopf_latency latency;
};

/*
 * Open a device with buffers of up to size bytes in all. EAL must be initialised. With pri the
 * device is two PCIe endpoints with ATS and PRI, which request all pages of a DMA in groups.
 */
struct accel *accel_open(size_t size, bool pri);
void accel_close(struct accel *accel);

/*
 * Keep the pages of all DMAs from now on; and write them to the file, as a trace for iopf-bench. The
 * second returns 0, or -1 after one line on stderr.
 */
void accel_record(const char *path);
int accel_save_record(void);

/* flags: MMEM_READ, MMEM_WRITE: the device's rights. The CPU may read and write. */
void *accel_alloc(struct accel *accel, size_t size, unsigned int flags);
void *accel_map_file(struct accel *accel, const char *path, size_t size, unsigned int flags);

/*
 * Start a DMA; waits only while all queues are full. req may be NULL. Local memory belongs to the
 * device and is accessed without the SMMU.
 */
int accel_read(struct accel *accel, void *local, const void *mem, size_t len,
		struct accel_req *req);
int accel_write(struct accel *accel, void *mem, const void *local, size_t len,
		struct accel_req *req);
int accel_copy(struct accel *accel, void *dst, const void *src, size_t len,
		struct accel_req *req);

/* Wait for one DMA, or with NULL for all. */
int accel_wait(struct accel *accel, const struct accel_req *req);

/* Transfer whole arrays in tiles, all pending together; returns at the end. */
int accel_load(struct accel *accel, void *local, const void *mem, size_t len);
int accel_store(struct accel *accel, void *mem, const void *local, size_t len);

/*
 * Managed memory as a stream of tiles in order, with some tiles always pending. accel_stream_next()
 * returns the bytes of the next tile, 0 at the end, or -1; the tile is valid until the next call.
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
/* Call it after accel_close() if a function failed. */
void accel_stream_close(struct accel_stream *stream);

void accel_get_figures(const struct accel *accel, struct accel_figures *figures);

/* Print "accel: ..." on stderr. Returns -1. */
int accel_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* RUNTIME_H */
