/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_URING_H
#define MMEM_URING_H

/*
 * Reads and writes of files and block devices through io_uring: many under way at a time. A pool
 * has one ring and one thread for it ("mmem-uring"), made for its first file. A request goes to the
 * ring's queue; the thread submits what is queued and reaps what has ended, in batches with one
 * system call, with at most MMEM_URING_DEPTH requests in the kernel. It continues short reads and
 * writes, and sends refused ones of O_DIRECT again without it.
 *
 * Only this thread submits: the kernel cancels requests of a thread that ends, and fetch threads
 * do. Built without liburing, or where the kernel refuses io_uring, there is no ring, and the
 * pagers of files block in their fetch threads.
 *
 * Any thread may call these functions. They do not wait, but for mmem_uring_stop().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "mmem_io.h"

#define MMEM_URING_DEPTH	256

struct mmem_fetch;
struct mmem_pool;
struct mmem_uring;
struct mmem_write;

struct mmem_request {
	STAILQ_ENTRY(mmem_request) next;
	const struct mmem_file *file;
	bool is_write;
	uint8_t *bytes;
	size_t len;
	off_t offset;			/* in the file */
	/* Called on the ring's thread: 0, or -errno. A read beyond the end of the file is zero. */
	void (*end)(struct mmem_request *request, int error);
	void *ctx;			/* the caller's */
	/* of the ring */
	size_t done;			/* bytes */
	unsigned int nb_again;
	bool no_direct;
};

/* The pool's ring, or NULL: a line in the log says why, once. */
struct mmem_uring *mmem_uring_get(struct mmem_pool *pool);

/* The request is the ring's until it has ended. */
void mmem_uring_submit(struct mmem_uring *ring, struct mmem_request *request);

/*
 * pager_uring.c: start and write_start of a pager, as requests. Before a write that succeeded is
 * done, @p written is called, if there is one. Returns 0 or -ENOMEM.
 */
int mmem_uring_fetch(struct mmem_uring *ring, const struct mmem_file *file, off_t at, void *dst,
		size_t len, struct mmem_fetch *fetch);
int mmem_uring_write(struct mmem_uring *ring, const struct mmem_file *file, off_t at,
		const void *src, size_t len, struct mmem_write *write,
		void (*written)(void *ctx, off_t at), void *ctx);

/* Without requests. NULL: nothing. */
void mmem_uring_stop(struct mmem_uring *ring);

/* Requests in the kernel at a time, at most so far. NULL: 0. */
unsigned int mmem_uring_get_most(const struct mmem_uring *ring);

#endif /* MMEM_URING_H */
