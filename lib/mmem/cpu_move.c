/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sys/mman.h>

#include "mmem_cpu.h"
#include "mmem_cpu_move.h"
#include "mmem_cpu_view.h"

/* How the CPU's accesses to a region are watched: MMEM_WATCH_*. */
static unsigned int
get_watch(const struct mmem_pool *pool, const struct mmem_region *region)
{
	unsigned int watch = mmem_region_is_watched(region) ? MMEM_WATCH_ABSENT : 0;

	if (region->dirty != NULL || (watch != 0 && region->blocks != NULL && pool->cpu_protects))
		watch |= MMEM_WATCH_WRITES;
	return watch;
}

int
mmem_cpu_stage(struct mmem_pool *pool, const struct mmem_region *region, uint8_t *frame,
		uint8_t **staged)
{
	uint8_t *start;
	int rc;

	start = mremap(frame, 0, MMEM_CHUNK_SIZE, MREMAP_MAYMOVE);
	if (start == MAP_FAILED)
		return -ENOMEM;
	rc = pool->view->stage(pool, start, get_watch(pool, region));
	if (rc < 0)
		munmap(start, MMEM_CHUNK_SIZE);
	else
		*staged = start;
	return rc;
}

int
mmem_cpu_hold(struct mmem_pool *pool, const struct mmem_region *region, uint64_t off)
{
	int rc = pool->view->watch(pool, off, MMEM_CHUNK_SIZE, get_watch(pool, region) |
			MMEM_WATCH_WRITES);

	if (rc == 0)
		rc = mmem_cpu_protect(pool, off, MMEM_CHUNK_SIZE);
	if (rc < 0)
		mmem_cpu_unhold(pool, region, off);
	return rc;
}

void
mmem_cpu_unhold(struct mmem_pool *pool, const struct mmem_region *region, uint64_t off)
{
	/* Otherwise the service thread allows writes when they come. */
	if (get_watch(pool, region) == 0)
		pool->view->unwatch(pool, off, MMEM_CHUNK_SIZE);
}

int
mmem_cpu_place(struct mmem_pool *pool, const struct mmem_region *region, uint64_t off,
		uint8_t *staged)
{
	/* The mapping stays watched as it was staged. */
	if (mremap(staged, MMEM_CHUNK_SIZE, MMEM_CHUNK_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
			pool->mem + off) == MAP_FAILED)
		return -errno;
	mmem_cpu_unhold(pool, region, off);
	return 0;
}
