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

#include "mmem_block.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24	/* Linux 5.18 */
#endif

/* Newer than the headers of Debian 11. */
#define FEATURE_WP		(UINT64_C(1) << 12)	/* UFFD_FEATURE_WP_HUGETLBFS_SHMEM */
#define CONTINUE_MODE_WP	(UINT64_C(1) << 1)	/* UFFDIO_CONTINUE_MODE_WP, Linux 6.4 */

/* An access whose fetch failed is repeated after this time. */
#define RETRY_MS	100
#define NS_PER_MS	UINT64_C(1000000)
/* Messages in one read. */
#define MAX_EVENTS	16
/* Pages after the accessed one that are mapped with it, if their contents are present. */
#define MAP_AROUND	16

/* How a unit is mapped into the CPU's view. */
struct cpu_map {
	uint64_t limit;		/* with the units after it, up to this offset */
	bool protect;		/* the first write is another access */
	bool unprotect;		/* it is mapped; allow writes */
};

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
open_service(struct mmem_pool *pool, bool *user_only)
{
	uint64_t features = pool->hugepages ?
			UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS :
			UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
	int fd;

	pool->cpu_protects = true;
	fd = open_with_features(features | FEATURE_WP, user_only);
	if (fd >= 0)
		return fd;
	pool->cpu_protects = false;
	return open_with_features(features, user_only);
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
	/* Pairs with the release in mmem_block_switch_pages(). */
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
map_units(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	struct uffdio_continue range = {
		.range = { .start = (uintptr_t)pool->mem + off, .len = len },
		.mode = protect ? CONTINUE_MODE_WP : 0,
	};

	return ioctl(pool->uffd, UFFDIO_CONTINUE, &range) == 0 ? 0 : -errno;
}

static void
unprotect_unit(struct mmem_pool *pool, uint64_t off)
{
	struct uffdio_writeprotect range = {
		.range = { .start = (uintptr_t)pool->mem + off, .len = get_unit(pool) },
	};

	ioctl(pool->uffd, UFFDIO_WRITEPROTECT, &range);
}

/*
 * Map a unit whose contents are present, and those after it up to the limit, and wake the threads
 * that wait for it. Returns as map_units().
 */
static int
map_present(struct mmem_pool *pool, uint64_t off, const struct cpu_map *map)
{
	size_t unit = get_unit(pool);
	uint64_t end = off + unit;
	int rc = 0;

	pthread_mutex_lock(&pool->cpu_lock);
	if (unit_is_present(pool, off) && map->unprotect) {
		unprotect_unit(pool, off);
	} else if (unit_is_present(pool, off)) {
		while (end < map->limit && (page_get(pool, end) & PAGE_USED))
			end += unit;
		rc = map_units(pool, off, end - off, map->protect);
		/* A page after the first one has no memory yet. */
		if (rc < 0 && rc != -EEXIST)
			rc = map_units(pool, off, unit, map->protect);
		if (rc == -EFAULT && mmem_populate(pool, off, unit) == 0)
			rc = map_units(pool, off, unit, map->protect);
	}
	pthread_mutex_unlock(&pool->cpu_lock);
	return rc;
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

/* Remember in the unit's blocks that the CPU has access. Under pool->lock. */
static void
mark_blocks(struct mmem_region *region, uint64_t off, uint64_t end, uint8_t state)
{
	uint64_t limit = mmem_region_off(region) + region->size;

	for (end = RTE_MIN(end, limit); off < end; off = mmem_fetch_block_end(region, off))
		region->blocks[mmem_region_get_block(region, off)].state |= state;
}

/*
 * Start the missing fetches of a unit. Returns 0: none is missing, and how the unit is to be
 * mapped; -EINPROGRESS; -ENOENT.
 */
static int
fetch_unit(struct mmem_pool *pool, uint64_t off, uint64_t flags, struct cpu_map *map)
{
	size_t unit = get_unit(pool);
	struct mmem_region *region;
	bool written = flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	int rc = -ENOENT;

	pthread_mutex_lock(&pool->lock);
	region = find_watched(pool, off);
	if (region != NULL)
		rc = begin_fetches(pool, region, off, off + unit);
	if (rc < 0 && rc != -EINPROGRESS)
		mmem_cpu_fail(pool, region, off, rc);
	*map = (struct cpu_map){ .unprotect = flags & UFFD_PAGEFAULT_FLAG_WP };
	if (rc == 0) {
		map->limit = (off | (RTE_MAX(unit, MAP_AROUND * MMEM_PAGE_SIZE) - 1)) + 1;
		map->protect = region->blocks != NULL && pool->cpu_protects && !written;
	}
	/* Before the write: the evictor reads the state after it has unmapped the block. */
	if (rc == 0 && region->blocks != NULL) {
		map->limit = RTE_MIN(map->limit, mmem_fetch_block_end(region, off));
		mark_blocks(region, off, off + unit, map->protect ? BLOCK_CPU :
				BLOCK_CPU | BLOCK_WRITTEN);
	}
	if (written)
		map->limit = 0;
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

static void
handle_access(struct mmem_pool *pool, uint64_t addr, uint64_t flags)
{
	uint64_t off = RTE_ALIGN_FLOOR(addr - (uintptr_t)pool->mem, get_unit(pool));
	struct cpu_map map;
	int rc;

	if (off >= pool->size || fetch_unit(pool, off, flags, &map) != 0)
		return;
	rc = map_present(pool, off, &map);
	/* Linux before 6.4 maps no page protected: it counts as written then. */
	if (rc == -EINVAL && map.protect)
		pool->cpu_protects = false;
	/* The thread has not been woken, or its page has become absent: it repeats its access. */
	if (rc < 0 || !unit_is_present(pool, off))
		mmem_cpu_wake(pool, off, get_unit(pool));
}

static void
handle_events(struct mmem_pool *pool)
{
	struct uffd_msg msgs[MAX_EVENTS];
	ssize_t n = read(pool->uffd, msgs, sizeof(msgs));
	size_t i;

	for (i = 0; n > 0 && i < n / sizeof(msgs[0]); i++)
		if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
			handle_access(pool, msgs[i].arg.pagefault.address,
					msgs[i].arg.pagefault.flags);
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
	pool->uffd = open_service(pool, &user_only);
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
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	if (pool->uffd < 0)
		rc = service_start(pool);
	pthread_mutex_unlock(&pool->lock);
	if (rc == 0 && region->blocks != NULL && pool->cpu_protects)
		reg.mode |= UFFDIO_REGISTER_MODE_WP;
	if (rc == 0 && ioctl(pool->uffd, UFFDIO_REGISTER, &reg) < 0)
		rc = -errno;
	if (rc == 0) {
		/* The view may map pages of an earlier region. */
		rc = mmem_cpu_unmap(pool, mmem_region_off(region), reg.range.len);
		if (rc < 0)
			mmem_cpu_unwatch(pool, region);
	}
	if (rc < 0)
		MMEM_LOG_LIMITED(region->space, "the CPU's accesses to a region with a pager "
				"cannot be watched: %s: %s, or give MMEM_CPU_LATER",
				rte_strerror(-rc), pool->dev == pool->mem ?
				"allow twice the pool's size of address space and locked memory "
				"(ulimit -v, -l)" : "allow userfaultfd (Linux 5.14 or newer)");
	return rc;
}

int
mmem_cpu_unmap(struct mmem_pool *pool, uint64_t off, size_t len)
{
	void *start = pool->mem + off;
	int rc = 0;

	pthread_mutex_lock(&pool->cpu_lock);
	if (madvise(start, len, MADV_DONTNEED) < 0 &&
	    madvise(start, len, MADV_DONTNEED_LOCKED) < 0)
		rc = -errno;
	pthread_mutex_unlock(&pool->cpu_lock);
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
