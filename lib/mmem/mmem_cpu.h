/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_CPU_H
#define MMEM_CPU_H

/*
 * CPU accesses to regions with a pager.
 *
 * The pool's memory is mapped twice. pool->mem is the CPU's view: regions' pointers are in it.
 * pool->dev is the view of the IOMMU, of pagers, and of this library; it is never protected.
 * userfaultfd watches the regions with a pager in the CPU's view. A CPU access to a page that the
 * view does not map stops its thread; then
 *
 *	contents are present:	the service thread maps the page into the view
 *	contents are absent:	the service thread starts the fetch. When the fetch ends, the thread
 *				is woken, repeats its access, and the page is mapped
 *	the fetch failed:	the access is repeated after RETRY_MS, until a fetch succeeds or the
 *				region is freed: a CPU access has no error to return
 *
 * The service thread never waits for a pager.
 *
 * A region whose writes are tracked (mmem_dirty.h) is watched too; one without a pager for its
 * writes only.
 *
 * pool->cpu_lock orders mapping into the view against removal from it: a thread sets PAGE_ABSENT,
 * and then removes the page under the lock; the service thread tests PAGE_USED and maps the page
 * under the lock. So no page is in the view without its contents. The lock comes after pool->lock.
 */

#include <stddef.h>
#include <stdint.h>

struct mmem_pool;
struct mmem_region;

/* Start the service; the first watched region does. Returns 0 or -errno. */
int mmem_cpu_start(struct mmem_pool *pool);

/*
 * Watch a region that is not published yet; the first one starts the service. Returns 0, or -errno
 * after a log line.
 */
int mmem_cpu_watch(struct mmem_pool *pool, const struct mmem_region *region);

/* Let accesses of the CPU pass. Threads that wait for the region's contents continue. */
void mmem_cpu_unwatch(struct mmem_pool *pool, const struct mmem_region *region);

/*
 * Watch the writes to a published region too. Returns 0, -ENOTSUP (no write protection), or -errno,
 * after a log line.
 */
int mmem_cpu_track(struct mmem_pool *pool, const struct mmem_region *region);

/* The reverse. Pages may stay protected if the region is watched: the service unprotects them. */
void mmem_cpu_untrack(struct mmem_pool *pool, const struct mmem_region *region);

/*
 * The next write of a CPU to these pages of a tracked region is another access. Returns 0 or
 * -errno.
 */
int mmem_cpu_protect(struct mmem_pool *pool, uint64_t off, size_t len);

/*
 * Remove pages from the CPU's view, after they have become absent, or to learn of the next access.
 * Returns 0 or -errno.
 */
int mmem_cpu_unmap(struct mmem_pool *pool, uint64_t off, size_t len);

/* Threads that wait in this range repeat their access. */
void mmem_cpu_wake(struct mmem_pool *pool, uint64_t off, size_t len);

/*
 * The fetch that a CPU access waits for has failed, or the access is to no region (NULL): report
 * the error, and repeat the access later. Under pool->lock.
 */
void mmem_cpu_fail(struct mmem_pool *pool, struct mmem_region *region, uint64_t off, int error);

/* End the service. No region is watched. */
void mmem_cpu_stop(struct mmem_pool *pool);

#endif /* MMEM_CPU_H */
