/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_INTERNAL_H
#define MMEM_INTERNAL_H

/*
 * Three kinds of state, three kinds of protection.
 *
 * What the fault path reads: struct mmem_chunk's space and state, a byte for each
 * page, the page table. Read without a lock, inside lib/iopf's read section. Who
 * takes something away changes the first two, waits with iopf_quiesce(), and only
 * then relies on nobody using what was there before.
 *
 * pool->lock: who owns which chunk, who is fetching it, the list of regions, table
 * pages. Held for moments, never across a fetch or an invalidation.
 *
 * space->lock: changes of a space's mappings. Held across invalidations; a deferred
 * fault that met a page being unmapped waits here. Taken before pool->lock.
 */

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include <pgtable.h>

#include "mmem.h"

extern int mmem_logtype;
#define MMEM_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_ ## level, mmem_logtype, "mmem: " fmt "\n", ## __VA_ARGS__)

#define MMEM_PAGE_LOG2	12
#define MMEM_PAGE_SIZE	((size_t)1 << MMEM_PAGE_LOG2)
#define MMEM_CHUNK_LOG2	21
#define MMEM_RIGHTS	(MMEM_READ | MMEM_WRITE | MMEM_EXEC)

/* A page's byte: its rights, MMEM_TRACK_WRITES, and these. 0: in no region. */
#define PAGE_USED	(1u << 6)
#define PAGE_DIRTY	(1u << 7)	/* holds what was there before: zero it first */

/* A chunk's state. All but TOUCHED and WANTED are changed under pool->lock. */
#define CHUNK_TAKEN	(1u << 0)	/* by a region, or for tables */
#define CHUNK_POPULATED	(1u << 1)	/* has memory */
#define CHUNK_READY	(1u << 2)	/* its bytes are there */
#define CHUNK_BUSY	(1u << 3)	/* somebody fetches them; the region stays meanwhile */
#define CHUNK_TOUCHED	(1u << 4)	/* a device was here: populate those behind it */
#define CHUNK_DIRTY	(1u << 5)	/* has the bytes of a region before */
#define CHUNK_WANTED	(1u << 6)	/* by page requests that were lost: fetch it */

struct mmem_region {
	TAILQ_ENTRY(mmem_region) next;
	struct mmem_space *space;
	size_t first;			/* chunk */
	size_t nb_chunks;
	size_t size;			/* bytes, whole pages */
	size_t nb_empty;		/* chunks without memory */
	size_t nb_unfilled;		/* chunks that its pager has not filled */
	unsigned int flags;
	bool dead;			/* freed; kept, for an IOMMU that may still use it */
	struct mmem_pager pager;	/* fill is NULL: zeroes */
};
TAILQ_HEAD(mmem_region_list, mmem_region);

struct mmem_chunk {
	_Atomic(struct mmem_space *) space;	/* that may use it now, or NULL */
	_Atomic uint32_t state;
	int error;			/* of the last fetch, if it failed */
	uint64_t dma;			/* device address */
	struct mmem_region *region;
};
/* The fault path touches one line of it. */
static_assert(sizeof(struct mmem_chunk) == 32, "two chunks in a line");

struct mmem_pool {
	uint8_t *mem;
	size_t size;
	struct mmem_chunk *chunks;
	uint64_t *failed_at;		/* rte_rdtsc(), of each chunk with an error */
	uint32_t *by_addr;		/* chunk + 1 by device address; NULL: all is one range */
	size_t by_addr_mask;
	_Atomic uint8_t *pages;
	size_t nb_chunks;
	unsigned int ahead;
	int fd;
	bool hugepages;
	struct iopf_iommu *iommu;
	char name[32];

	pthread_mutex_t lock;
	pthread_cond_t fetched;		/* a chunk is no longer busy */
	struct mmem_region_list regions;
	void *tables;			/* free table pages, linked through their first word */
	unsigned int users;

	pthread_t thread;		/* populates ahead, fetches what is wanted */
	pthread_cond_t kick;
	atomic_bool wanted;		/* some chunk is */
	bool quit;
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
	struct iopf_domain *domain;
	struct iopf_worker *own_worker;
	void (*report)(struct mmem_space *space, const struct mmem_report *report, void *ctx);
	void *ctx;
	char name[32];

	pthread_mutex_t lock;
	/* Raised rights, or a failed invalidation: made up for by the next one. */
	atomic_bool inv_missing;

	/* Of each lcore, and the last one of all other threads. */
	struct mmem_lane lanes[RTE_MAX_LCORE + 1];
};

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

/* Take the region from whoever resolves faults, and wait until nobody fetches a chunk. */
void mmem_pool_hide(struct mmem_pool *pool, struct mmem_region *region);
void mmem_pool_settle(struct mmem_pool *pool, struct mmem_region *region);

/*
 * Make sure that the bytes of the chunk at an offset are there. An access that began
 * (rte_rdtsc()) before a fetch of the chunk failed shares the failure.
 * 0, -EFAULT (not this space's), -EIO, -ENOMEM.
 */
int mmem_pool_fetch(struct mmem_pool *pool, struct mmem_space *space, uint64_t off,
		uint64_t began);

/* Memory for all of a region that is not yet anybody's. 0 or -ENOMEM. */
int mmem_pool_populate(struct mmem_pool *pool, struct mmem_region *region);

/* Callbacks of the page table; with those of dma.c. */
void *mmem_table_alloc(void *pool, size_t size);
void mmem_table_free(void *pool, void *p, size_t size);

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

/* The control thread: chunks ahead of the devices, and those that are wanted. */
int mmem_ahead_start(struct mmem_pool *pool);
void mmem_ahead_stop(struct mmem_pool *pool);

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

/* All that is left of a detached space. */
void mmem_regions_drop(struct mmem_space *space);

/* pager_file.c: a pager for the file, or -errno. */
int mmem_pager_file(const char *path, off_t offset, size_t size, struct mmem_pager *pager);

#endif /* MMEM_INTERNAL_H */
