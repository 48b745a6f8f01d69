/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_PAGER_H
#define MMEM_PAGER_H

/* pager.c: call these under pool->lock. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mmem.h"

struct mmem_region;

static inline bool
mmem_pager_can_write(const struct mmem_pager *pager)
{
	return pager->write != NULL || pager->write_start != NULL;
}

/*
 * Set up a region with a pager: 0, -EINVAL or -ENOMEM. Undo it after mmem_pool_wait_region_idle().
 */
int mmem_pager_init(struct mmem_region *region, const struct mmem_pager *pager);
void mmem_pager_fini(struct mmem_region *region);

/*
 * Start the fetch of a page without contents, unless it is pending: -EINPROGRESS. Other errors as
 * for mmem_pool_bring_page(). @p id: the group that waits for it, or 0.
 */
int mmem_fetch_begin(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began, uint64_t id);

/* The fetch that is in progress at an offset: an access waits for it. */
struct mmem_fetch *mmem_fetch_wait(struct mmem_region *region, uint64_t off);

/* mmem_fetch_begin() for a CPU access: the end of the fetch wakes it with mmem_cpu_wake(). */
int mmem_fetch_begin_cpu(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began);

/* The end of the block (the unit of a fetch) that holds this offset, as an offset in the pool. */
uint64_t mmem_fetch_block_end(const struct mmem_region *region, uint64_t off);

/*
 * Start queued fetches, as far as there are threads and room. Returns 0, or -errno: no thread
 * comes.
 */
int mmem_region_start_fetches(struct mmem_pool *pool, struct mmem_region *region);

/* Refuse the accesses that wait for queued fetches. */
void mmem_region_fail_queued(struct mmem_pool *pool, struct mmem_region *region, int error);

/* Drop fetches that have not started, and defer the groups that wait for any fetch. */
void mmem_region_cancel_fetches(struct mmem_pool *pool, struct mmem_region *region);

/*
 * Refuse accesses that wait past a deadline. Returns the time of the next deadline (mmem_now_ns()),
 * or 0.
 */
uint64_t mmem_fetches_expire(struct mmem_pool *pool);

/* End the fetch threads after the last region. */
void mmem_fetchers_stop(struct mmem_pool *pool);

/* pager_file.c: make a pager for the file; @p shared: it writes to it. Returns 0 or -errno. */
int mmem_pager_open_file(struct mmem_pool *pool, const char *path, off_t offset, size_t size,
		bool shared, struct mmem_pager *pager);

#endif /* MMEM_PAGER_H */
