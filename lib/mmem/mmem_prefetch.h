/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_PREFETCH_H
#define MMEM_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmem_completion;
struct mmem_pool;
struct mmem_space;

/* Bytes of a pool. */
struct mmem_range {
	uint64_t off;
	uint64_t len;
};

/* Map pages of one chunk whose contents are present. Under space->lock. */
int mmem_prefetch_pages(struct mmem_space *space, uint64_t off, uint64_t end);

/* The page has memory and contents. */
bool mmem_page_is_present(const struct mmem_space *space, uint64_t off);

/*
 * Prefetch ranges of regions, one after the other, on a thread of the pool. The ranges are the
 * callee's after 0. nb is not 0. Returns 0 or -ENOMEM. Under space->lock.
 */
int mmem_prefetch_ranges(struct mmem_space *space, struct mmem_range *ranges, size_t nb,
		struct mmem_completion *completion);

/* A completion without work. */
void mmem_completion_set(struct mmem_completion *completion, int status);

/* End the prefetches of a space with -ECANCELED, and wait until no thread works on one. */
void mmem_prefetch_cancel(struct mmem_space *space);

/* End the thread. No space is left. */
void mmem_prefetch_stop(struct mmem_pool *pool);

#endif /* MMEM_PREFETCH_H */
