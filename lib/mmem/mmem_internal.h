/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_INTERNAL_H
#define MMEM_INTERNAL_H

/*
 * Three kinds of state, three kinds of protection.
 *
 * What the fault path reads: struct mmem_chunk's space and state, a byte for each
 * page, the page table. Read without a lock, inside lib/iopf's read section. What
 * takes something away changes the first two, waits with iopf_quiesce(), and only
 * then relies on no thread using what was there before.
 *
 * pool->lock: which region has a chunk, fetches and what waits for them, the list of
 * regions, table pages. Held for moments, never across a pager's callback, across
 * populating or across an invalidation.
 *
 * space->lock: changes of a space's mappings. Held across invalidations, never across
 * a pager's callback. A deferred fault that finds it taken is put on space->blocked,
 * and deferred again when the lock is free: no worker waits here. Taken before
 * pool->lock.
 */

#include <assert.h>
#include <inttypes.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <time.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include <iopf_support.h>
#include <pgtable.h>

#include "mmem.h"

extern int mmem_logtype;
#define MMEM_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_ ## level, mmem_logtype, "mmem: " fmt "\n", ## __VA_ARGS__)

#define MMEM_PAGE_LOG2	12
#define MMEM_PAGE_SIZE	((size_t)1 << MMEM_PAGE_LOG2)
#define MMEM_CHUNK_LOG2	21
#define MMEM_RIGHTS	(MMEM_READ | MMEM_WRITE | MMEM_EXEC)

/*
 * A page's byte: its rights, MMEM_TRACK_WRITES, and these. 0: in no region. Of USED and ABSENT
 * it has one, so that the fault path tests one bit.
 */
#define PAGE_WANTED	(1u << 4)	/* by page requests that were lost: fetch it */
#define PAGE_ABSENT	(1u << 5)	/* in a region; its pager has not given its bytes */
#define PAGE_USED	(1u << 6)	/* in a region */
#define PAGE_DIRTY	(1u << 7)	/* holds what was there before: zero it first */
static_assert(!((MMEM_RIGHTS | MMEM_TRACK_WRITES) & (PAGE_WANTED | PAGE_ABSENT | PAGE_USED)),
		"a bit for each");

/* A chunk's state. All but TOUCHED and WANTED are changed under pool->lock. */
#define CHUNK_TAKEN	(1u << 0)	/* by a region, or for tables */
#define CHUNK_POPULATED	(1u << 1)	/* has memory */
#define CHUNK_BUSY	(1u << 2)	/* is being populated; the region stays meanwhile */
#define CHUNK_TOUCHED	(1u << 3)	/* a device was here: populate those behind it */
#define CHUNK_DIRTY	(1u << 4)	/* has the bytes of a region before */
#define CHUNK_WANTED	(1u << 5)	/* it, or pages of it, by page requests that were lost */

/* Groups that wait, to be deferred again. */
struct mmem_groups {
	uint64_t *ids;
	unsigned int nb;
	unsigned int max;
};

struct mmem_region {
	TAILQ_ENTRY(mmem_region) next;
	struct mmem_space *space;
	size_t first;			/* chunk */
	size_t nb_chunks;
	size_t size;			/* bytes, whole pages */
	size_t nb_empty;		/* chunks without memory */
	unsigned int flags;

	/* On its way out: each step once, by one thread at a time; space->lock. */
	bool dead;			/* hidden from faults */
	bool freeing;			/* a thread is at it */
	bool taken_away;		/* from the devices, and that is confirmed */
	bool kept;			/* and counted as such */

	struct mmem_pager pager;	/* neither fill nor start: zeroes */
	/* Fetches, of regions with a pager. Under pool->lock. */
	TAILQ_ENTRY(mmem_region) next_ready;
	struct mmem_fetch **fetches;	/* by block: under way, or failed; NULL */
	TAILQ_HEAD(, mmem_fetch) queue;
	bool ready;			/* on pool->ready */
	unsigned int nb_threads;	/* that are in fill or start */
	unsigned int nb_open;		/* fetches that have begun and are not done */
	unsigned int nb_overdue;	/* of these, past their deadline */
};
TAILQ_HEAD(mmem_region_list, mmem_region);

struct mmem_chunk {
	_Atomic(struct mmem_space *) space;	/* that may use it now, or NULL */
	_Atomic uint32_t state;
	uint32_t reserved;
	uint64_t dma;			/* device address */
	struct mmem_region *region;
};
/* The fault path touches one line of it. */
static_assert(sizeof(struct mmem_chunk) == 32, "two chunks in a line");

struct mmem_pool {
	uint8_t *mem;
	size_t size;
	struct mmem_chunk *chunks;
	uint32_t *by_addr;		/* chunk + 1 by device address; NULL: all is one range */
	size_t by_addr_mask;
	_Atomic uint8_t *pages;
	size_t nb_chunks;
	unsigned int ahead;
	bool hugepages;
	struct iopf_iommu *iommu;
	char name[32];

	pthread_mutex_t lock;
	pthread_cond_t changed;		/* a chunk is no longer busy, a fetch has ended */
	struct mmem_region_list regions;
	void *tables;			/* free table pages, linked through their first word */
	unsigned int users;
	struct iopf_worker *worker;	/* of spaces without one; made for the first */
	bool quit;

	/* Threads that fetch: made when there is none for a region that is ready. */
	struct mmem_region_list ready;	/* have fetches queued, and may begin one */
	pthread_cond_t fetch;		/* some region is ready, or quit */
	unsigned int nb_fetchers;
	unsigned int nb_idle;		/* of these, waiting */
	unsigned int nb_called;		/* of these, to be woken */
	TAILQ_HEAD(, mmem_fetch) timed;	/* under way, with a deadline */

	/* The control thread: populates ahead, fetches what is wanted, ends what is overdue. */
	pthread_t thread;
	_Atomic uint32_t asleep;	/* enum control_sleep */
	sem_t kick;
	atomic_bool wanted;		/* some chunk is */
};

/* One thread writes a lane, so that counting costs no atomic read-modify-write. */
struct mmem_lane {
	_Atomic uint64_t stat[MMEM_NB_STATS];
} __rte_cache_aligned;

struct mmem_space {
	uint8_t *mem;			/* the pool's, together for the fault path */
	size_t size;
	struct mmem_chunk *chunks;
	_Atomic uint8_t *pages;
	struct pgt *pgt;

	struct mmem_pool *pool;
	_Atomic(struct iopf_domain *) domain;	/* NULL: half destroyed */
	unsigned int wait_ms;
	void (*report)(struct mmem_space *space, const struct mmem_report *report, void *ctx);
	void *ctx;
	char name[32];

	pthread_mutex_t lock;
	struct mmem_groups blocked;	/* wait for the lock; under pool->lock */
	atomic_bool is_blocked;		/* there are some */
	_Atomic unsigned int nb_dying;	/* regions that could not be freed; written under lock */
	struct iopf_log_limit log;	/* of lines that a device can cause */
	/* Raised rights, or a failed invalidation: made up for by the next one. */
	atomic_bool inv_missing;

	/* Of each lcore, and the last one of all other threads. */
	struct mmem_lane lanes[RTE_MAX_LCORE + 1];
};

/*
 * A line about a space. A device can cause it, also by way of a pager's callback: at most
 * IOPF_LOG_LINES_PER_S in a second.
 */
#define MMEM_SAY(space, fmt, ...) do {							\
	char tail_[IOPF_LOG_TAIL];							\
	uint64_t before_;								\
											\
	if (iopf_log_take(&(space)->log, &before_))					\
		MMEM_LOG(ERR, "space %s: " fmt "%s", (space)->name, ## __VA_ARGS__,	\
				iopf_log_tail(tail_, before_));				\
} while (0)

/* What this thread is doing. */
struct mmem_thread {
	bool in_report;
	struct mmem_region *paging;	/* in fill or start of its pager */
	struct mmem_space *releasing;	/* in release of a pager of its */
};
extern _Thread_local struct mmem_thread mmem_self;

/* 0, or -EDEADLK where a function that may wait is forbidden. */
static inline int
mmem_may_wait(void)
{
	return mmem_self.in_report ? -EDEADLK : iopf_may_wait();
}

/* An int function's way out: 0 or -errno, and rte_errno. */
static inline int
mmem_ret(int rc)
{
	if (rc < 0)
		rte_errno = -rc;
	return rc;
}

static inline void
mmem_count(struct mmem_space *space, enum mmem_stat stat, uint64_t n)
{
	unsigned int lcore = rte_lcore_id();
	_Atomic uint64_t *count;

	if (unlikely(lcore >= RTE_MAX_LCORE)) {
		atomic_fetch_add_explicit(&space->lanes[RTE_MAX_LCORE].stat[stat], n,
				memory_order_relaxed);
		return;
	}
	count = &space->lanes[lcore].stat[stat];
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
			memory_order_relaxed);
}

/* Input address of devices, and the CPU's, of an offset in the pool. */
static inline uint64_t
mmem_va(const struct mmem_space *space, uint64_t off)
{
	return (uintptr_t)space->mem + off;
}

/* What a page table entry points to. */
static inline uint64_t
mmem_pa(const struct mmem_space *space, uint64_t off)
{
	return space->chunks[off >> MMEM_CHUNK_LOG2].dma + (off & (MMEM_CHUNK_SIZE - 1));
}

/*
 * pool.c
 */

/* Take n free chunks in a row for a region; its first is set. 0 or -ENOMEM. */
int mmem_pool_take(struct mmem_pool *pool, struct mmem_region *region);

/* Give them back: no device and no fault handler can be at them any more. */
void mmem_pool_give(struct mmem_pool *pool, struct mmem_region *region);

/* Hide the region from what resolves faults; groups that wait for its bytes are refused. */
void mmem_pool_hide(struct mmem_pool *pool, struct mmem_region *region);

/*
 * Wait until no chunk of a hidden region is being populated, and no pager is at it.
 * 0, or -ETIMEDOUT: a pager is, after wait_ms.
 */
int mmem_pool_settle(struct mmem_pool *pool, struct mmem_region *region, unsigned int wait_ms);

/*
 * Memory for one chunk of a region, which stays meanwhile. Under the lock, which is let go
 * while another thread or this one populates. 0 or -ENOMEM.
 */
int mmem_pool_populate_chunk(struct mmem_pool *pool, struct mmem_chunk *chunk);

/*
 * Make sure that the page at an offset has memory and bytes. With @p id: 0, they are there;
 * -EINPROGRESS, the group will be deferred again. Without, waits. An access that began
 * (rte_rdtsc()) before a fetch failed shares the failure.
 * -EFAULT (not this space's), -EIO, -ETIMEDOUT, -ENOMEM, -EDEADLK (to wait, in a pager).
 */
int mmem_pool_bring(struct mmem_pool *pool, struct mmem_space *space, uint64_t off,
		uint64_t began, uint64_t id);

/* The worker of spaces without one of their own, or NULL with rte_errno. */
struct iopf_worker *mmem_pool_worker(struct mmem_pool *pool);

/* Memory for all of a region that is not yet anybody's. 0 or -ENOMEM. */
int mmem_pool_populate(struct mmem_pool *pool, struct mmem_region *region);

/* Callbacks of the page table; with those of dma.c. */
void *mmem_table_alloc(void *pool, size_t size);
void mmem_table_free(void *pool, void *p, size_t size);

/*
 * pager.c: under the pool's lock
 */

static inline bool
mmem_region_paged(const struct mmem_region *region)
{
	return region->pager.fill != NULL || region->pager.start != NULL;
}

/* A region with a pager: 0, -EINVAL or -ENOMEM. The reverse, behind mmem_pool_settle(). */
int mmem_pager_init(struct mmem_region *region, const struct mmem_pager *pager);
void mmem_pager_fini(struct mmem_region *region);

/*
 * The fetch of a page that has no bytes, begun if it is not under way: -EINPROGRESS. Other
 * errors as for mmem_pool_bring(). @p id: of a group that waits for it, or 0.
 */
int mmem_fetch_begin(struct mmem_pool *pool, struct mmem_region *region, uint64_t off,
		uint64_t began, uint64_t id);

/* Bytes that are fetched together: the offset in the pool behind those with this one. */
uint64_t mmem_fetch_end(const struct mmem_region *region, uint64_t off);

/* What has not begun never will; what waits is deferred again. */
void mmem_fetch_cancel(struct mmem_pool *pool, struct mmem_region *region);

/* Refuse what waits past a deadline. The time of the next one (mmem_now_ns()), or 0. */
uint64_t mmem_fetch_expire(struct mmem_pool *pool);

/* No region is left: end the threads. */
void mmem_fetchers_stop(struct mmem_pool *pool);

int mmem_groups_add(struct mmem_groups *groups, uint64_t id);
/* Defer them again, and forget them. */
void mmem_groups_defer(struct mmem_groups *groups);

/* CLOCK_MONOTONIC. */
uint64_t mmem_now_ns(void);
struct timespec mmem_timespec(uint64_t ns);

/*
 * dma.c
 */

/* Give each chunk its device address. 0 or what iopf_dma_map() said. */
int mmem_dma_map(struct mmem_pool *pool);
int mmem_dma_unmap(struct mmem_pool *pool);

uint64_t mmem_table_addr(void *pool, const void *p);
/* Only for a pool that is not one range. */
void *mmem_table_at(void *pool, uint64_t addr);

/*
 * populate.c
 */

/* Memory for chunks that the caller alone is at. 0 or -ENOMEM. */
int mmem_populate(struct mmem_pool *pool, size_t chunk, size_t nb_chunks);

/* The memory holds zeroes afterwards: given back to the kernel, or overwritten. */
void mmem_clean(struct mmem_pool *pool, size_t chunk, size_t nb_chunks);

/* The control thread. */
int mmem_control_start(struct mmem_pool *pool);
void mmem_control_stop(struct mmem_pool *pool);

/* There is something for it to do. Under the pool's lock. */
void mmem_control_kick(struct mmem_pool *pool);
/* The same from the poll core, where it may be seen a little later: a chunk was touched, or is
 * wanted. */
void mmem_control_hint(struct mmem_pool *pool, bool touched);

/*
 * fault.c
 */
enum iopf_verdict mmem_fault(struct iopf_domain *domain, const struct iopf_group *group,
		void *space);
void mmem_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
enum iopf_verdict mmem_deferred(struct iopf_domain *domain, const struct iopf_group *group,
		void *space);

/* Map a page whose bytes are there, zeroing it if need be; as pgt_resolve(). */
int mmem_page_map(struct mmem_space *space, uint64_t off, uint8_t page, uint32_t prot);

/*
 * region.c
 */

/* Invalidate, and what is missing still; n may be 0. Under space->lock. */
int mmem_invalidate(struct mmem_space *space, const struct iopf_inv *inv, unsigned int n);

/*
 * Let space->lock go: what waits for it is deferred again, and regions that could not be freed
 * are, if they can be now.
 */
void mmem_space_unlock(struct mmem_space *space);

/* All that is left of a detached space. 0, or -ETIMEDOUT: a pager has not returned. */
int mmem_regions_drop(struct mmem_space *space);

/* pager_file.c: a pager for the file, or -errno. */
int mmem_pager_file(const char *path, off_t offset, size_t size, struct mmem_pager *pager);

#endif /* MMEM_INTERNAL_H */
