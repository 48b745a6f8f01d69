/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include <iopf_support.h>

#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23	/* Linux 5.14 */
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24	/* Linux 5.18 */
#endif

/* An access whose fetch failed is repeated after this time. */
#define RETRY_MS	100
#define NS_PER_MS	UINT64_C(1000000)
/* Messages in one read. */
#define MAX_EVENTS	16
/* Pages after the accessed one that are mapped with it, if their contents are present. */
#define MAP_AROUND	16

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
open_with_features(const struct mmem_pool *pool, bool *user_only)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = pool->hugepages ?
				UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS :
				UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM,
	};
	int fd = open_descriptor(user_only), rc;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* The unit in which the CPU's view is mapped. */
static size_t
get_unit(const struct mmem_pool *pool)
{
	return pool->hugepages ? MMEM_CHUNK_SIZE : MMEM_PAGE_SIZE;
}

static uint8_t
page_get(const struct mmem_pool *pool, uint64_t off)
{
	/* Pairs with the release in pages_set_present(). */
	return atomic_load_explicit(&pool->pages[off >> MMEM_PAGE_LOG2], memory_order_acquire);
}

/* The contents of all pages of the unit at this offset are present. */
static bool
unit_is_present(const struct mmem_pool *pool, uint64_t off)
{
	uint64_t end = off + get_unit(pool);

	/* Beyond the end of a region the byte is 0. */
	for (; off < end; off += MMEM_PAGE_SIZE)
		if (page_get(pool, off) & PAGE_ABSENT)
			return false;
	return true;
}

/* Returns 0 or -errno; -EEXIST: a unit of the range is mapped already. */
static int
map_units(struct mmem_pool *pool, uint64_t off, size_t len)
{
	struct uffdio_continue range = {
		.range = { .start = (uintptr_t)pool->mem + off, .len = len },
	};

	return ioctl(pool->uffd, UFFDIO_CONTINUE, &range) == 0 ? 0 : -errno;
}

/*
 * Map a unit whose contents are present, and those after it in its window, and wake the threads
 * that wait for it.
 */
static void
map_present(struct mmem_pool *pool, uint64_t off)
{
	size_t unit = get_unit(pool), window = unit == MMEM_PAGE_SIZE ? MAP_AROUND * unit : unit;
	uint64_t end = off + unit, limit = (off | (window - 1)) + 1;
	int rc = 0;

	pthread_mutex_lock(&pool->cpu_lock);
	if (unit_is_present(pool, off)) {
		while (end < limit && (page_get(pool, end) & PAGE_USED))
			end += unit;
		rc = map_units(pool, off, end - off);
		/* A page after the first one has no memory yet. */
		if (rc < 0 && rc != -EEXIST)
			rc = map_units(pool, off, unit);
		if (rc == -EFAULT && madvise(pool->dev + off, unit, MADV_POPULATE_WRITE) == 0)
			rc = map_units(pool, off, unit);
	}
	pthread_mutex_unlock(&pool->cpu_lock);
	/* -EEXIST wakes no thread, and the thread of another access may wait. */
	if (rc < 0)
		mmem_cpu_wake(pool, off, unit);
}

/* The region that a CPU access needs contents of, or NULL. Under pool->lock. */
static struct mmem_region *
find_watched(struct mmem_pool *pool, uint64_t off)
{
	struct mmem_region *region = pool->chunks[off >> MMEM_CHUNK_LOG2].region;

	return region != NULL && mmem_region_has_pager(region) && !region->hidden ? region : NULL;
}

/* Returns 0; -EINPROGRESS: the fetches wake the thread; another error: of a fetch. */
static int
begin_fetches(struct mmem_pool *pool, struct mmem_region *region, uint64_t off, uint64_t end)
{
	int rc, ret = 0;

	for (; off < end; off = mmem_fetch_block_end(region, off)) {
		if (!(page_get(pool, off) & PAGE_ABSENT))
			continue;
		rc = mmem_fetch_begin_cpu(pool, region, off, rte_rdtsc());
		if (ret == 0 || rc != -EINPROGRESS)
			ret = rc;
	}
	return ret;
}

/* Start the missing fetches of a unit. Returns 0: none is missing; -EINPROGRESS; -ENOENT. */
static int
fetch_unit(struct mmem_pool *pool, uint64_t off)
{
	struct mmem_region *region;
	int rc = -ENOENT;

	pthread_mutex_lock(&pool->lock);
	region = find_watched(pool, off);
	if (region != NULL)
		rc = begin_fetches(pool, region, off, off + get_unit(pool));
	if (rc < 0 && rc != -EINPROGRESS)
		mmem_cpu_fail(pool, region, off, rc);
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

static void
handle_events(struct mmem_pool *pool)
{
	struct uffd_msg msgs[MAX_EVENTS];
	ssize_t n = read(pool->uffd, msgs, sizeof(msgs));
	uint64_t off;
	size_t i;

	for (i = 0; n > 0 && i < n / sizeof(msgs[0]); i++) {
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT)
			continue;
		off = msgs[i].arg.pagefault.address - (uintptr_t)pool->mem;
		off = RTE_ALIGN_FLOOR(off, get_unit(pool));
		if (off < pool->size && fetch_unit(pool, off) == 0)
			map_present(pool, off);
	}
}

static void
report_failure(struct mmem_space *space, uint64_t off, int error)
{
	const struct mmem_report report = {
		.pasid = IOPF_NO_PASID,
		.addr = mmem_off_to_va(space, off),
		.perm = IOPF_PERM_READ,
		.error = error,
	};

	if (space->report == NULL)
		return;
	mmem_self.in_report = true;
	space->report(space, &report, space->ctx);
	mmem_self.in_report = false;
}

/* A region with a failure that is not reported. Under pool->lock. */
static struct mmem_region *
find_failed(struct mmem_pool *pool)
{
	struct mmem_region *region;

	TAILQ_FOREACH(region, &pool->regions, next)
		if (region->cpu_error != 0 && !region->hidden)
			return region;
	return NULL;
}

/* Under pool->lock, which is released meanwhile. */
static void
report_failures(struct mmem_pool *pool)
{
	struct mmem_region *region;
	uint64_t off;
	int error;

	while ((region = find_failed(pool)) != NULL) {
		error = region->cpu_error;
		off = region->cpu_error_off;
		region->cpu_error = 0;
		/* The region and its space stay. */
		region->reporting = true;
		pthread_mutex_unlock(&pool->lock);
		report_failure(region->space, off, error);
		pthread_mutex_lock(&pool->lock);
		region->reporting = false;
		pthread_cond_broadcast(&pool->changed_cond);
	}
}

static void
repeat_accesses(struct mmem_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->nb_chunks; i++)
		if (atomic_fetch_and_explicit(&pool->chunks[i].state, ~CHUNK_CPU_WAITS,
				memory_order_relaxed) & CHUNK_CPU_WAITS)
			mmem_cpu_wake(pool, i << MMEM_CHUNK_LOG2, MMEM_CHUNK_SIZE);
}

/* Returns false at the end of the service. */
static bool
handle_wake_up(struct mmem_pool *pool)
{
	eventfd_t n;
	bool quit;

	eventfd_read(pool->cpu_event, &n);
	pthread_mutex_lock(&pool->lock);
	report_failures(pool);
	quit = pool->cpu_quit;
	pthread_mutex_unlock(&pool->lock);
	return !quit;
}

static void *
service_main(void *arg)
{
	struct mmem_pool *pool = arg;
	struct pollfd fds[2] = {
		{ .fd = pool->uffd, .events = POLLIN },
		{ .fd = pool->cpu_event, .events = POLLIN },
	};
	uint64_t retry = 0, now;

	for (;;) {
		now = mmem_now_ns();
		if (retry != 0 && now >= retry) {
			retry = 0;
			repeat_accesses(pool);
		}
		if (poll(fds, 2, retry != 0 ? (int)((retry - now) / NS_PER_MS) + 1 : -1) <= 0)
			continue;
		if (fds[0].revents & POLLIN)
			handle_events(pool);
		if (!(fds[1].revents & POLLIN))
			continue;
		if (!handle_wake_up(pool))
			return NULL;
		if (retry == 0)
			retry = mmem_now_ns() + RETRY_MS * NS_PER_MS;
	}
}

/* Returns 0 or -errno. Under pool->lock. */
static int
service_start(struct mmem_pool *pool)
{
	bool user_only;
	int rc;

	if (pool->dev == pool->mem)
		return -ENOMEM;
	pool->uffd = open_with_features(pool, &user_only);
	if (pool->uffd < 0)
		return pool->uffd;
	pool->cpu_quit = false;
	pool->cpu_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = pool->cpu_event < 0 ? -errno :
			iopf_thread_create(&pool->cpu_thread, "mmem-cpu", service_main, pool);
	if (rc < 0) {
		if (pool->cpu_event >= 0)
			close(pool->cpu_event);
		close(pool->uffd);
		pool->uffd = -1;
		return rc;
	}
	if (user_only)
		MMEM_LOG(INFO, "pool %s: system calls on memory whose contents are absent return "
				"EFAULT: access it first, or allow /dev/userfaultfd or "
				"vm.unprivileged_userfaultfd", pool->name);
	return 0;
}

void
mmem_cpu_stop(struct mmem_pool *pool)
{
	if (pool->uffd < 0)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->cpu_quit = true;
	pthread_mutex_unlock(&pool->lock);
	eventfd_write(pool->cpu_event, 1);
	pthread_join(pool->cpu_thread, NULL);
	close(pool->cpu_event);
	close(pool->uffd);
	pool->uffd = -1;
}

/* A region's range in the CPU's view. Its last chunk belongs to it as a whole. */
static struct uffdio_range
get_range(const struct mmem_pool *pool, const struct mmem_region *region)
{
	return (struct uffdio_range){
		.start = (uintptr_t)pool->mem + mmem_region_off(region),
		.len = region->nb_chunks << MMEM_CHUNK_LOG2,
	};
}

int
mmem_cpu_watch(struct mmem_pool *pool, const struct mmem_region *region)
{
	struct uffdio_register reg = {
		.range = get_range(pool, region),
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
	};
	void *start = pool->mem + mmem_region_off(region);
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	if (pool->uffd < 0)
		rc = service_start(pool);
	pthread_mutex_unlock(&pool->lock);
	if (rc == 0 && ioctl(pool->uffd, UFFDIO_REGISTER, &reg) < 0)
		rc = -errno;
	if (rc == 0) {
		/* The view may map pages of an earlier region. */
		pthread_mutex_lock(&pool->cpu_lock);
		if (madvise(start, reg.range.len, MADV_DONTNEED) < 0 &&
		    madvise(start, reg.range.len, MADV_DONTNEED_LOCKED) < 0)
			rc = -errno;
		pthread_mutex_unlock(&pool->cpu_lock);
		if (rc < 0)
			mmem_cpu_unwatch(pool, region);
	}
	if (rc < 0)
		MMEM_LOG_LIMITED(region->space, "the CPU's accesses to a region with a pager "
				"cannot be watched: %s: %s, or give MMEM_CPU_LATER",
				rte_strerror(-rc), pool->dev == pool->mem ? "allow twice the pool's size of address "
				"space and locked memory (ulimit -v, -l)" :
				"allow userfaultfd (Linux 5.14 or newer)");
	return rc;
}

void
mmem_cpu_unwatch(struct mmem_pool *pool, const struct mmem_region *region)
{
	struct uffdio_range range = get_range(pool, region);

	/* It fails only for a range that is not registered. */
	ioctl(pool->uffd, UFFDIO_UNREGISTER, &range);
}

void
mmem_cpu_fail(struct mmem_pool *pool, struct mmem_region *region, uint64_t off, int error)
{
	atomic_fetch_or_explicit(&pool->chunks[off >> MMEM_CHUNK_LOG2].state, CHUNK_CPU_WAITS,
			memory_order_relaxed);
	if (region != NULL) {
		region->cpu_error = error;
		region->cpu_error_off = off;
	}
	eventfd_write(pool->cpu_event, 1);
}

void
mmem_cpu_wake(struct mmem_pool *pool, uint64_t off, size_t len)
{
	struct uffdio_range range = { .start = (uintptr_t)pool->mem + off, .len = len };
	size_t unit = get_unit(pool);

	range.len = RTE_ALIGN_CEIL(off + len, unit) - RTE_ALIGN_FLOOR(off, unit);
	range.start = (uintptr_t)pool->mem + RTE_ALIGN_FLOOR(off, unit);
	ioctl(pool->uffd, UFFDIO_WAKE, &range);
}
