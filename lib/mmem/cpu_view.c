/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_common.h>

#include "mmem_cpu.h"
#include "mmem_cpu_view.h"
#include "mmem_populate.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24	/* Linux 5.18 */
#endif

/* Newer than the headers of Debian 11. */
#define FEATURE_WP		(UINT64_C(1) << 12)	/* UFFD_FEATURE_WP_HUGETLBFS_SHMEM */
#define CONTINUE_MODE_WP	(UINT64_C(1) << 1)	/* UFFDIO_CONTINUE_MODE_WP, Linux 6.4 */

/* Faults of system calls too, if that is allowed; else those of user mode. Returns -errno. */
static int
open_descriptor(bool *user_only)
{
	int fd, rc, dev;

	*user_only = false;
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		return fd;
#ifdef USERFAULTFD_IOC_NEW
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev >= 0) {
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		close(dev);
		if (fd >= 0)
			return fd;
	}
#else
	(void)dev;
#endif
	*user_only = true;
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	rc = -errno;
	return fd >= 0 ? fd : rc;
}

static int
open_with_features(uint64_t features, bool *user_only)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = open_descriptor(user_only), rc;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* With write protection if the kernel has it (Linux 5.19). */
int
mmem_view_open(struct mmem_pool *pool, bool *user_only)
{
	uint64_t features = pool->hugepages ?
			UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS :
			UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
	int fd;

	pool->cpu_protects = true;
	fd = open_with_features(features | FEATURE_WP, user_only);
	if (fd < 0) {
		pool->cpu_protects = false;
		fd = open_with_features(features, user_only);
	}
	pool->uffd = RTE_MAX(fd, -1);
	return fd < 0 ? fd : 0;
}

/* Returns 0 or -errno; -EEXIST: a unit of the range is mapped already. */
static int
map_units(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	struct uffdio_continue range = {
		.range = { .start = (uintptr_t)pool->mem + off, .len = len },
		.mode = protect ? CONTINUE_MODE_WP : 0,
	};

	return ioctl(pool->uffd, UFFDIO_CONTINUE, &range) == 0 ? 0 : -errno;
}

/* Also pages that the view does not map. Allowing writes wakes the threads that wait. */
static int
protect_units(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	struct uffdio_writeprotect range = {
		.range = { .start = (uintptr_t)pool->mem + off, .len = len },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(pool->uffd, UFFDIO_WRITEPROTECT, &range) == 0 ? 0 : -errno;
}

int
mmem_view_map(struct mmem_pool *pool, uint64_t off, const struct mmem_cpu_map *map)
{
	size_t unit = mmem_view_get_unit(pool);
	uint64_t end = off + unit;
	int rc = 0;

	if (mmem_view_is_present(pool, off) && map->unprotect) {
		protect_units(pool, off, unit, false);
	} else if (mmem_view_is_present(pool, off)) {
		while (end < map->limit && (mmem_view_get_page(pool, end) & PAGE_USED))
			end += unit;
		rc = map_units(pool, off, end - off, map->protect);
		/* A page after the first one has no memory yet. */
		if (rc < 0 && rc != -EEXIST)
			rc = map_units(pool, off, unit, map->protect);
		if (rc == -EFAULT && mmem_populate(pool, off, unit) == 0)
			rc = map_units(pool, off, unit, map->protect);
	}
	return rc;
}

int
mmem_cpu_protect(struct mmem_pool *pool, uint64_t off, size_t len)
{
	size_t unit = mmem_view_get_unit(pool);
	uint64_t start = RTE_ALIGN_FLOOR(off, unit), end = RTE_ALIGN_CEIL(off + len, unit);
	int rc;

	pthread_mutex_lock(&pool->cpu_lock);
	rc = protect_units(pool, start, end - start, true);
	pthread_mutex_unlock(&pool->cpu_lock);
	return rc;
}

int
mmem_cpu_unmap(struct mmem_pool *pool, uint64_t off, size_t len)
{
	/* Linux unmaps whole hugepages only, and ignores the part of one at the end. */
	size_t unit = mmem_view_get_unit(pool);
	uint64_t end = RTE_ALIGN_CEIL(off + len, unit);
	void *start = pool->mem + RTE_ALIGN_FLOOR(off, unit);
	int rc = 0;

	len = end - RTE_ALIGN_FLOOR(off, unit);
	pthread_mutex_lock(&pool->cpu_lock);
	if (madvise(start, len, MADV_DONTNEED) < 0 &&
	    madvise(start, len, MADV_DONTNEED_LOCKED) < 0)
		rc = -errno;
	pthread_mutex_unlock(&pool->cpu_lock);
	return rc;
}

void
mmem_cpu_wake(struct mmem_pool *pool, uint64_t off, size_t len)
{
	struct uffdio_range range = { .start = (uintptr_t)pool->mem + off, .len = len };
	size_t unit = mmem_view_get_unit(pool);

	range.len = RTE_ALIGN_CEIL(off + len, unit) - RTE_ALIGN_FLOOR(off, unit);
	range.start = (uintptr_t)pool->mem + RTE_ALIGN_FLOOR(off, unit);
	ioctl(pool->uffd, UFFDIO_WAKE, &range);
}
