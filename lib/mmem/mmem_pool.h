/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_POOL_H
#define MMEM_POOL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmem_chunk.h"

struct mmem_fetch;
struct mmem_region;

TAILQ_HEAD(mmem_region_list, mmem_region);

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
	unsigned int nb_woken;		/* of these, to be woken */
	TAILQ_HEAD(, mmem_fetch) timed;	/* under way, with a deadline */

	/* The control thread: populates ahead, fetches what is wanted, ends what is overdue. */
	pthread_t thread;
	_Atomic uint32_t asleep;	/* enum control_state */
	sem_t kick;
	atomic_bool wanted;		/* some chunk is */
};

/* Take n free chunks in a row for a region; its first is set. 0 or -ENOMEM. */
int mmem_pool_take_chunks(struct mmem_pool *pool, struct mmem_region *region);

/* Give them back: no device and no fault handler can be at them any more. */
void mmem_pool_return_chunks(struct mmem_pool *pool, struct mmem_region *region);

/* Hide the region from what resolves faults; groups that wait for its bytes are refused. */
void mmem_pool_hide_region(struct mmem_pool *pool, struct mmem_region *region);

/*
 * Wait until no chunk of a hidden region is being populated, and no pager is at it.
 * 0, or -ETIMEDOUT: a pager is, after wait_ms.
 */
int mmem_pool_wait_region_idle(struct mmem_pool *pool, struct mmem_region *region,
		unsigned int wait_ms);

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
int mmem_pool_bring_page(struct mmem_pool *pool, struct mmem_space *space, uint64_t off,
		uint64_t began, uint64_t id);

/* The worker of spaces without one of their own, or NULL with rte_errno. */
struct iopf_worker *mmem_pool_get_worker(struct mmem_pool *pool);

/* Memory for all of a region that is not yet anybody's. 0 or -ENOMEM. */
int mmem_pool_populate_region(struct mmem_pool *pool, struct mmem_region *region);

/* Callbacks of the page table; with those of dma.c. */
void *mmem_table_alloc(void *pool, size_t size);
void mmem_table_free(void *pool, void *p, size_t size);

#endif /* MMEM_POOL_H */
