/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include <iopf_support.h>

#include "mmem_block.h"
#include "mmem_clock.h"
#include "mmem_cpu.h"
#include "mmem_cpu_view.h"
#include "mmem_dirty_map.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"

/* An access whose fetch failed is repeated after this time. */
#define RETRY_MS	100
#define NS_PER_MS	UINT64_C(1000000)
/* Messages in one read. */
#define MAX_EVENTS	16
/* Pages after the accessed one that are mapped with it, if their contents are present. */
#define MAP_AROUND	16

/* The region that a CPU access waits for, or NULL. Under pool->lock. */
static struct mmem_region *
find_watched(struct mmem_pool *pool, uint64_t off)
{
	struct mmem_region *region = pool->chunks[off >> MMEM_CHUNK_LOG2].region;

	return region != NULL && (mmem_region_has_pager(region) || region->dirty != NULL) &&
			!region->hidden ? region : NULL;
}

/* Returns 0; -EINPROGRESS: the fetches wake the thread; another error: of a fetch. */
static int
begin_fetches(struct mmem_pool *pool, struct mmem_region *region, uint64_t off, uint64_t end)
{
	int rc, ret = 0;

	if (!mmem_region_has_pager(region))
		return 0;
	for (; off < end; off = mmem_fetch_block_end(region, off)) {
		if (!(mmem_view_get_page(pool, off) & PAGE_ABSENT))
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
 * mapped, with pool->cpu_lock taken; -EINPROGRESS; -EBUSY; -ENOENT.
 */
static int
fetch_unit(struct mmem_pool *pool, uint64_t off, uint64_t flags, struct mmem_cpu_map *map)
{
	size_t unit = mmem_view_get_unit(pool);
	struct mmem_region *region;
	bool written = flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);
	int rc = -ENOENT;

	pthread_mutex_lock(&pool->lock);
	if (atomic_load_explicit(&pool->chunks[off >> MMEM_CHUNK_LOG2].state,
			memory_order_relaxed) & CHUNK_MOVING) {
		/* The end of the move wakes the thread. */
		pthread_mutex_unlock(&pool->lock);
		return -EBUSY;
	}
	region = find_watched(pool, off);
	if (region != NULL)
		rc = begin_fetches(pool, region, off, off + unit);
	if (rc < 0 && rc != -EINPROGRESS)
		mmem_cpu_fail(pool, region, off, rc);
	*map = (struct mmem_cpu_map){ .unprotect = flags & UFFD_PAGEFAULT_FLAG_WP };
	if (rc == 0) {
		map->limit = (off | (RTE_MAX(unit, MAP_AROUND * MMEM_PAGE_SIZE) - 1)) + 1;
		map->protect = (region->blocks != NULL || region->dirty != NULL) &&
				pool->cpu_protects && !written;
	}
	/* Before the write: the evictor reads the state after it has unmapped the block. */
	if (rc == 0 && region->blocks != NULL) {
		map->limit = RTE_MIN(map->limit, mmem_fetch_block_end(region, off));
		mark_blocks(region, off, off + unit, map->protect ? BLOCK_CPU :
				BLOCK_CPU | BLOCK_WRITTEN);
	}
	if (written)
		map->limit = 0;
	if (rc == 0 && !map->protect)
		mmem_dirty_mark(region, off, RTE_MAX(map->limit, off + unit));
	/*
	 * A thread that takes back the marks under pool->lock, and then unmaps the block, comes
	 * before them or after the mapping.
	 */
	if (rc == 0)
		pthread_mutex_lock(&pool->cpu_lock);
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

static void
handle_access(struct mmem_pool *pool, uint64_t addr, uint64_t flags)
{
	uint64_t off = RTE_ALIGN_FLOOR(addr - (uintptr_t)pool->mem, mmem_view_get_unit(pool));
	struct mmem_cpu_map map;
	int rc;

	if (off >= pool->size || fetch_unit(pool, off, flags, &map) != 0)
		return;
	rc = mmem_view_map(pool, off, &map);
	pthread_mutex_unlock(&pool->cpu_lock);
	if (rc == -ENOMEM) {
		pthread_mutex_lock(&pool->lock);
		mmem_cpu_fail(pool, find_watched(pool, off), off, rc);
		pthread_mutex_unlock(&pool->lock);
		return;
	}
	/* Linux before 6.4 maps no page protected: it counts as written then. */
	if (rc == -EINVAL && map.protect)
		pool->cpu_protects = false;
	/* The thread has not been woken, or its page has become absent: it repeats its access. */
	if (rc < 0 || !mmem_view_is_present(pool, off))
		mmem_cpu_wake(pool, off, mmem_view_get_unit(pool));
}

static void
handle_events(struct mmem_pool *pool)
{
	struct uffd_msg msgs[MAX_EVENTS];
	ssize_t n = read(pool->cpu_fd, msgs, sizeof(msgs));
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
		{ .fd = pool->cpu_fd, .events = POLLIN },
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

static void
close_view(struct mmem_pool *pool)
{
	pool->view->close(pool);
	pool->view = NULL;
	pool->cpu_fd = -1;
}

/* Returns 0 or -errno. Under pool->lock. */
static int
service_create(struct mmem_pool *pool)
{
	bool user_only;
	int rc;

	if (pool->dev == pool->mem)
		return -ENOMEM;
	rc = mmem_view_open(pool, &user_only);
	if (rc < 0)
		return rc;
	pool->cpu_quit = false;
	pool->cpu_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = pool->cpu_event < 0 ? -errno :
			iopf_thread_create(&pool->cpu_thread, "mmem-cpu", service_main, pool);
	if (rc < 0) {
		if (pool->cpu_event >= 0)
			close(pool->cpu_event);
		close_view(pool);
		return rc;
	}
	if (user_only)
		MMEM_LOG(INFO, "pool %s: system calls on memory whose contents are absent return "
				"EFAULT: access it first, or allow /dev/userfaultfd or "
				"vm.unprivileged_userfaultfd", pool->name);
	return 0;
}

int
mmem_cpu_start(struct mmem_pool *pool)
{
	int rc = 0;

	pthread_mutex_lock(&pool->lock);
	if (pool->cpu_fd < 0)
		rc = service_create(pool);
	pthread_mutex_unlock(&pool->lock);
	return rc;
}

void
mmem_cpu_stop(struct mmem_pool *pool)
{
	if (pool->cpu_fd < 0)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->cpu_quit = true;
	pthread_mutex_unlock(&pool->lock);
	eventfd_write(pool->cpu_event, 1);
	pthread_join(pool->cpu_thread, NULL);
	close(pool->cpu_event);
	close_view(pool);
}

/* Watch a whole region. Returns 0 or -errno. */
static int
region_watch(struct mmem_pool *pool, const struct mmem_region *region, unsigned int watch)
{
	int rc = mmem_cpu_start(pool);

	return rc < 0 ? rc : pool->view->watch(pool, mmem_region_off(region),
			mmem_view_get_len(region), watch);
}

int
mmem_cpu_watch(struct mmem_pool *pool, const struct mmem_region *region)
{
	unsigned int watch = MMEM_WATCH_ABSENT;
	int rc = mmem_cpu_start(pool);

	if (rc == 0 && region->blocks != NULL && pool->cpu_protects)
		watch |= MMEM_WATCH_WRITES;
	if (rc == 0)
		rc = region_watch(pool, region, watch);
	if (rc == 0) {
		/* The view may map pages of an earlier region. */
		rc = mmem_cpu_unmap(pool, mmem_region_off(region), mmem_view_get_len(region));
		if (rc < 0)
			mmem_cpu_unwatch(pool, region);
	}
	if (rc < 0)
		MMEM_LOG_LIMITED(region->space, "the CPU's accesses to a region with a pager "
				"cannot be watched: %s: %s, or give MMEM_CPU_LATER",
				rte_strerror(-rc), pool->dev == pool->mem ?
				"allow twice the pool's size of address space and locked memory "
				"(ulimit -v, -l)" :
				"allow three more descriptors and a thread (ulimit -n, -u)");
	return rc;
}

void
mmem_cpu_unwatch(struct mmem_pool *pool, const struct mmem_region *region)
{
	pool->view->unwatch(pool, mmem_region_off(region), mmem_view_get_len(region));
}

int
mmem_cpu_track(struct mmem_pool *pool, const struct mmem_region *region)
{
	int rc = region_watch(pool, region, MMEM_WATCH_WRITES |
			(mmem_region_is_watched(region) ? MMEM_WATCH_ABSENT : 0));

	if (rc < 0)
		MMEM_LOG_LIMITED(region->space, "the CPU's writes to a region cannot be tracked: "
				"%s: use Linux 5.19 or newer (Arm: 6.10), or no_userfaultfd of "
				"mmem_pool_conf", rte_strerror(-rc));
	return rc;
}

void
mmem_cpu_untrack(struct mmem_pool *pool, const struct mmem_region *region)
{
	if (!mmem_region_is_watched(region))
		mmem_cpu_unwatch(pool, region);
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

