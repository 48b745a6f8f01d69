/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sys/mman.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "mmem_cpu.h"
#include "mmem_cpu_view.h"
#include "mmem_log.h"
#include "mmem_populate.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24	/* Linux 5.18 */
#endif

int
mmem_view_open(struct mmem_pool *pool, bool *user_only)
{
	int rc = -EPERM;

	if (!pool->no_userfaultfd) {
		rc = mmem_view_uffd.open(pool, user_only);
		if (rc == 0) {
			pool->view = &mmem_view_uffd;
			return 0;
		}
		MMEM_LOG(INFO, "pool %s: userfaultfd: %s: a handler of SIGSEGV serves the CPU's "
				"accesses to absent contents", pool->name, rte_strerror(-rc));
	}
	rc = mmem_view_traps.open(pool, user_only);
	if (rc == 0)
		pool->view = &mmem_view_traps;
	return rc;
}

int
mmem_view_map(struct mmem_pool *pool, uint64_t off, const struct mmem_cpu_map *map)
{
	size_t unit = mmem_view_get_unit(pool);
	uint64_t end = off + unit;
	int rc = 0;

	if (mmem_view_is_present(pool, off) && map->unprotect) {
		rc = pool->view->protect(pool, off, unit, false);
	} else if (mmem_view_is_present(pool, off)) {
		while (end < map->limit && (mmem_view_get_page(pool, end) & PAGE_USED))
			end += unit;
		rc = pool->view->map(pool, off, end - off, map->protect);
		/* A page after the first one has no memory yet. */
		if (rc < 0 && rc != -EEXIST)
			rc = pool->view->map(pool, off, unit, map->protect);
		if (rc == -EFAULT && mmem_populate(pool, off, unit) == 0)
			rc = pool->view->map(pool, off, unit, map->protect);
	}
	return rc;
}

/* The units that a range touches. Returns the offset of the first one. */
static uint64_t
to_units(const struct mmem_pool *pool, uint64_t off, size_t *len)
{
	size_t unit = mmem_view_get_unit(pool);
	uint64_t start = RTE_ALIGN_FLOOR(off, unit);

	*len = RTE_ALIGN_CEIL(off + *len, unit) - start;
	return start;
}

int
mmem_cpu_protect(struct mmem_pool *pool, uint64_t off, size_t len)
{
	int rc;

	off = to_units(pool, off, &len);
	do {
		pthread_mutex_lock(&pool->cpu_lock);
		rc = pool->view->protect(pool, off, len, true);
		pthread_mutex_unlock(&pool->cpu_lock);
		/* A mapping is being placed: the service thread ends that. It may need the lock. */
	} while (rc == -EAGAIN);
	return rc;
}

/* Linux unmaps whole hugepages only, and ignores the part of one at the end. */
static int
unmap_units(struct mmem_pool *pool, uint64_t off, size_t len)
{
	const struct mmem_view_ops *view = pool->view;
	void *start = pool->mem + off;
	int rc = 0;

	if (view != NULL && view->unmap != NULL)
		rc = view->unmap(pool, off, len);
	if (rc == 0 && madvise(start, len, MADV_DONTNEED) < 0 &&
			madvise(start, len, MADV_DONTNEED_LOCKED) < 0)
		rc = -errno;
	return rc;
}

int
mmem_cpu_unmap(struct mmem_pool *pool, uint64_t off, size_t len)
{
	int rc;

	off = to_units(pool, off, &len);
	pthread_mutex_lock(&pool->cpu_lock);
	rc = unmap_units(pool, off, len);
	pthread_mutex_unlock(&pool->cpu_lock);
	return rc;
}

void
mmem_cpu_wake(struct mmem_pool *pool, uint64_t off, size_t len)
{
	const struct mmem_view_ops *view = pool->view;

	off = to_units(pool, off, &len);
	/* Without a service no thread waits. */
	if (view != NULL)
		view->wake(pool, off, len);
}
