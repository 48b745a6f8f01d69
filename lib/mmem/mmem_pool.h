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

#include "mmem_budget.h"
#include "mmem_chunk.h"
#include "mmem_io.h"

struct mmem_fetch;
struct mmem_region;
struct mmem_trap;
struct mmem_uring;
struct mmem_view_ops;

TAILQ_HEAD(mmem_region_list, mmem_region);

struct mmem_pool {
	uint8_t *mem;			/* the CPU's view */
	uint8_t *dev;			/* the view of the IOMMU, pagers and this library; see
					 * mmem_cpu.h. mem: there is no second one */
	size_t size;
	struct mmem_chunk *chunks;
	uint32_t *by_addr;		/* hash: 1 + index of the chunk at a device address;
					 * NULL: all chunks are one address range */
	size_t by_addr_mask;
	_Atomic uint32_t *frames;	/* by chunk: mmem_frame.h; changes under lock */
	uint64_t *frame_dma;
	_Atomic uint8_t *pages;
	size_t nb_chunks;
	unsigned int ahead;
	bool hugepages;
	unsigned int node;		/* of mmem_pool_conf */
	char name[32];

	struct iopf_iommu **iommus;	/* of mmem_pool_conf: iommu, then others */
	unsigned int nb_max;
	unsigned int nb_iommus;		/* the first ones, which map the memory; at the end all */
	/* All IOMMUs have these. */
	unsigned int va_bits, addr_bits;
	bool access_flag, dirty;	/* of struct iopf_iommu_info */
	bool fixed_memory;		/* one IOMMU has it */

	pthread_mutex_t lock;
	pthread_cond_t changed_cond;	/* a chunk is no longer busy, or a fetch has ended */
	struct mmem_region_list regions;
	void *tables;			/* free table pages, linked through their first word */
	unsigned int users;
	struct iopf_worker *worker;	/* for spaces without their own; created on demand */
	bool quit;

	/* Fetch threads, created when a region is ready and no thread is idle. */
	struct mmem_region_list ready;	/* regions with a queued fetch and a free thread */
	pthread_cond_t fetch_cond;	/* a region is ready, or quit */
	unsigned int nb_fetchers;
	unsigned int nb_idle;		/* fetch threads that wait */
	unsigned int nb_woken;		/* idle threads that were signalled */
	TAILQ_HEAD(, mmem_fetch) timed;	/* pending fetches with a deadline */
	TAILQ_HEAD(, mmem_fetch) writes;	/* of leaving blocks, not late: mmem_late.h */
	unsigned int nb_late;		/* late ones */
	uint64_t late_since;		/* mmem_now_ns(): of them no write has ended since */

	TAILQ_HEAD(, mmem_prefetch) prefetches;	/* prefetch_start.c */
	bool has_prefetcher;

	/* The control thread: populates ahead, fetches wanted pages, expires late fetches. */
	pthread_t thread;
	_Atomic uint32_t control_state; /* enum control_state */
	sem_t control_sem;
	atomic_bool wanted;		/* a chunk is CHUNK_WANTED */

	/* Eviction: mmem_evict.h. */
	struct mmem_budget budget;
	pthread_t evictor;
	pthread_cond_t evict_cond;	/* a fetch lacks room, or a block may leave now */
	bool has_evictor;
	bool is_locked;			/* mlockall(): the kernel keeps the memory */
	struct mmem_file swap;
	unsigned int io;		/* MMEM_IO_* */
	struct mmem_uring *uring;	/* NULL: no file needs it yet; under lock */

	/* CPU accesses to regions with a pager: mmem_cpu.h. */
	bool no_userfaultfd;
	_Atomic(const struct mmem_view_ops *) view;	/* NULL: no region needs it yet */
	struct mmem_trap *trap;		/* cpu_trap.c */
	int cpu_fd;			/* or -1, with view NULL */
	atomic_bool cpu_protects;	/* the first write after a read is seen too */
	int cpu_event;			/* a fetch has failed, or cpu_quit */
	bool cpu_quit;
	pthread_t cpu_thread;
	pthread_mutex_t cpu_lock;

	LIST_ENTRY(mmem_pool) next;	/* of mmem_telemetry_add() */
};

/* Does the kernel take memory of this node (MMEM_NODE())? Returns 0 or -errno. */
int mmem_node_check(unsigned int node);
/*
 * Take a mapping's memory of a node (MMEM_NODE(), 0: of any) from now on. Returns 0 or -errno.
 */
#define MMEM_MAX_NODES	1024
int mmem_prefer_node(void *mem, size_t size, unsigned int node);

/*
 * Use hugepages if all fit. Populate them once, so that their physical addresses never change.
 * Returns 0 or -errno.
 */
int mmem_pool_map_memory(struct mmem_pool *pool, bool no_hugepages);
void mmem_pool_unmap_memory(struct mmem_pool *pool);

/* Take adjacent free chunks for a region and set its first chunk. Returns 0 or -ENOMEM. */
int mmem_pool_take_chunks(struct mmem_pool *pool, struct mmem_region *region);

/* Return a region's chunks. No device and no fault handler may reach them any more. */
void mmem_pool_return_chunks(struct mmem_pool *pool, struct mmem_region *region);

/* Hide the region from fault handlers. Groups that wait for its contents are refused. */
void mmem_pool_hide_region(struct mmem_pool *pool, struct mmem_region *region);

/*
 * Wait until no thread populates a chunk of a hidden region and its pager has returned.
 * Returns 0, or -ETIMEDOUT: a pager has not returned within wait_ms.
 */
int mmem_pool_wait_region_idle(struct mmem_pool *pool, struct mmem_region *region,
		unsigned int wait_ms);

/*
 * Populate one chunk of a region that stays meanwhile. Called under pool->lock, which is released
 * while this or another thread populates. Returns 0 or -ENOMEM.
 */
int mmem_pool_populate_chunk(struct mmem_pool *pool, struct mmem_chunk *chunk);

/*
 * Give the page at an offset memory and contents. With @p id: 0, they are present; -EINPROGRESS,
 * the group will be deferred again. Without @p id: wait for them. An access that began
 * (rte_rdtsc()) before a fetch failed gets the fetch's error. Returns -EFAULT (not this space's),
 * -EIO, -ETIMEDOUT, -ENOMEM, -EDEADLK (would wait in fill or start).
 */
int mmem_pool_bring_page(struct mmem_pool *pool, struct mmem_space *space, uint64_t off,
		uint64_t began, uint64_t id);

/* The worker for spaces without their own, or NULL with rte_errno. */
struct iopf_worker *mmem_pool_get_worker(struct mmem_pool *pool);

/* Populate a whole region that is not published yet. Returns 0 or -ENOMEM. */
int mmem_pool_populate_region(struct mmem_pool *pool, struct mmem_region *region);

/* Operations of struct pgt_mem; see also mmem_dma.h. */
void *mmem_table_alloc(void *pool, size_t size);
void mmem_table_free(void *pool, void *p, size_t size);

#endif /* MMEM_POOL_H */
