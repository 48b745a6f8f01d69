/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_PAGER_H
#define MMEM_PAGER_H

/* pager.c: under the pool's lock */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mmem.h"

struct mmem_region;

/*
 * A region with a pager: 0, -EINVAL or -ENOMEM. The reverse, behind
 * mmem_pool_wait_region_idle().
 */
int mmem_pager_init(struct mmem_region *region, const struct mmem_pager *pager);
void mmem_pager_fini(struct mmem_region *region);

/*
 * The fetch of a page that has no bytes, begun if it is not under way: -EINPROGRESS. Other
 * errors as for mmem_pool_bring_page(). @p id: of a group that waits for it, or 0.
 */
int mmem_fetch_begin(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began, uint64_t id);

/* Bytes that are fetched together: the offset in the pool behind those with this one. */
uint64_t mmem_fetch_block_end(const struct mmem_region *region, uint64_t off);

/* What has not begun never will; what waits is deferred again. */
void mmem_region_cancel_fetches(struct mmem_pool *pool, struct mmem_region *region);

/* Refuse what waits past a deadline. The time of the next one (mmem_now_ns()), or 0. */
uint64_t mmem_fetches_expire(struct mmem_pool *pool);

/* No region is left: end the threads. */
void mmem_fetchers_stop(struct mmem_pool *pool);

/* pager_file.c: a pager for the file, or -errno. */
int mmem_pager_open_file(const char *path, off_t offset, size_t size, struct mmem_pager *pager);

#endif /* MMEM_PAGER_H */
