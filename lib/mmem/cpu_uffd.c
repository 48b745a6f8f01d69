/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The CPU's view watched by userfaultfd. */

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "mmem_cpu_view.h"

/* Newer than the headers of Debian 11. */
#define FEATURE_WP		(UINT64_C(1) << 12)	/* UFFD_FEATURE_WP_HUGETLBFS_SHMEM */
#define CONTINUE_MODE_WP	(UINT64_C(1) << 1)	/* UFFDIO_CONTINUE_MODE_WP, Linux 6.4 */

/* May be outside of the view. */
static int
register_range(const struct mmem_pool *pool, struct uffdio_range range, unsigned int watch)
{
	struct uffdio_register reg = {
		.range = range,
		.mode = (watch & MMEM_WATCH_ABSENT ?
				UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR : 0) |
			(watch & MMEM_WATCH_WRITES ? UFFDIO_REGISTER_MODE_WP : 0),
	};

	if (ioctl(pool->cpu_fd, UFFDIO_REGISTER, &reg) == 0)
		return 0;
	/* This kernel does not protect shared memory. */
	return errno == EINVAL && (watch & MMEM_WATCH_WRITES) ? -ENOTSUP : -errno;
}

static struct uffdio_range
to_range(const struct mmem_pool *pool, uint64_t off, size_t len)
{
	return (struct uffdio_range){ .start = (uintptr_t)pool->mem + off, .len = len };
}

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
static int
uffd_open(struct mmem_pool *pool, bool *user_only)
{
	/* With EVENT_REMAP a mapping that is moved stays watched: mmem_cpu_place(). */
	uint64_t features = UFFD_FEATURE_EVENT_REMAP | (pool->hugepages ?
			UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS :
			UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM);
	int fd;

	pool->cpu_protects = true;
	fd = open_with_features(features | FEATURE_WP, user_only);
	if (fd < 0) {
		pool->cpu_protects = false;
		fd = open_with_features(features, user_only);
	}
	if (fd < 0)
		return fd;
	pool->cpu_fd = fd;
	return 0;
}

static void
uffd_close(struct mmem_pool *pool)
{
	close(pool->cpu_fd);
}

static int
uffd_watch(struct mmem_pool *pool, uint64_t off, size_t len, unsigned int watch)
{
	return register_range(pool, to_range(pool, off, len), watch);
}

/* No thread has the mapping, and the service thread does not see it. */
static int
uffd_stage(struct mmem_pool *pool, uint8_t *start, unsigned int watch)
{
	struct uffdio_writeprotect range = {
		.range = { .start = (uintptr_t)start, .len = MMEM_CHUNK_SIZE },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	int rc = watch != 0 ? register_range(pool, range.range, watch) : 0;

	/* With MMEM_WATCH_ABSENT the first access to each page comes to the service thread. */
	if (rc < 0 || watch != MMEM_WATCH_WRITES)
		return rc;
	/* EAGAIN: another mapping is being placed. */
	while (ioctl(pool->cpu_fd, UFFDIO_WRITEPROTECT, &range) < 0)
		if (errno != EAGAIN)
			return -errno;
	return 0;
}

/* It fails only for a range that is not registered. */
static void
uffd_unwatch(struct mmem_pool *pool, uint64_t off, size_t len)
{
	struct uffdio_range range = to_range(pool, off, len);

	ioctl(pool->cpu_fd, UFFDIO_UNREGISTER, &range);
}

static int
uffd_map(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	struct uffdio_continue range = {
		.range = to_range(pool, off, len),
		.mode = protect ? CONTINUE_MODE_WP : 0,
	};

	return ioctl(pool->cpu_fd, UFFDIO_CONTINUE, &range) == 0 ? 0 : -errno;
}

static int
uffd_protect(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	struct uffdio_writeprotect range = {
		.range = to_range(pool, off, len),
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(pool->cpu_fd, UFFDIO_WRITEPROTECT, &range) == 0 ? 0 : -errno;
}

static void
uffd_wake(struct mmem_pool *pool, uint64_t off, size_t len)
{
	struct uffdio_range range = to_range(pool, off, len);

	ioctl(pool->cpu_fd, UFFDIO_WAKE, &range);
}

const struct mmem_view_ops mmem_view_uffd = {
	.open = uffd_open,
	.close = uffd_close,
	.watch = uffd_watch,
	.unwatch = uffd_unwatch,
	.stage = uffd_stage,
	.map = uffd_map,
	.protect = uffd_protect,
	.wake = uffd_wake,
};
