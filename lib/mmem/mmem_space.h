/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_SPACE_H
#define MMEM_SPACE_H

/*
 * Three kinds of state, each with its own protection.
 *
 * The fault path reads struct mmem_chunk's space and state, a byte for each page, and the page
 * table, without a lock, inside lib/iopf's read section. A thread that removes a region or rights
 * changes the chunk or the byte, calls iopf_quiesce(), and only then relies on no handler using the
 * old value.
 *
 * pool->lock protects the region of each chunk, fetches and their waiting groups, the list of
 * regions, and table pages. It is held briefly, never across a call of a pager, populating memory
 * or an invalidation.
 *
 * space->lock protects changes to a space's mappings. It is held across invalidations, never across
 * a call of a pager. A deferred fault that finds it taken goes to space->blocked and is deferred
 * again when the lock is free: no worker thread waits for this lock. Lock order: space->lock before
 * pool->lock.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_lcore.h>

#include <pgtable.h>

#include <iopf_support.h>

#include "mmem_budget.h"
#include "mmem_chunk.h"
#include "mmem_hotset.h"
#include "mmem_log.h"
#include "mmem_policy.h"
#include "mmem_pool.h"
#include "mmem_throttle.h"
#include "mmem_waiting.h"

struct mmem_import;
struct mmem_import_table;
struct pgt;

/* One thread writes a lane, so that counting needs no atomic read-modify-write. */
struct mmem_lane {
	_Atomic uint64_t stat[MMEM_NB_STATS];
} __rte_cache_aligned;

#define MMEM_MAX_LOOKED	16

struct mmem_space {
	uint8_t *mem;			/* copies of the pool's fields, together for the fault
					 * path */
	size_t size;
	struct mmem_chunk *chunks;
	_Atomic uint8_t *pages;
	struct pgt *pgt;

	struct mmem_pool *pool;
	_Atomic(struct iopf_domain *) domain;	/* NULL: half destroyed */
	unsigned int wait_ms;
	unsigned int window;		/* the most pages of one fault */
	void (*report)(struct mmem_space *space, const struct mmem_report *report, void *ctx);
	void *ctx;
	char name[32];

	pthread_mutex_t lock;
	struct mmem_hotset hotset;	/* under pool->lock */
	struct mmem_waiting blocked;	/* groups that wait for lock; under pool->lock */
	atomic_bool is_blocked;		/* blocked is not empty */
	_Atomic unsigned int nb_kept;	/* regions that a failed free kept; written under lock */
	struct iopf_log_limit log;	/* for log lines that a device can cause */
	/*
	 * An upgrade or a failed invalidation left stale entries: the next invalidation covers all.
	 */
	atomic_bool inv_missing;

	/* Eviction; under pool->lock. */
	struct mmem_budget budget;
	struct mmem_throttle throttle;
	bool hw_dirty;			/* the IOMMU sets the dirty state of leaves */
	struct mmem_policy policy;
	/* Access flags that were cleared, and that the next eviction invalidates. */
	struct pgt_inv looked[MMEM_MAX_LOOKED];
	unsigned int nb_looked;
	unsigned int nb_open;		/* fetches and writes that pagers have */
	unsigned int nb_late;		/* of them, late writes: mmem_late.h */
	unsigned int nb_failed;		/* write-backs that failed since a block has left */
	uint64_t failed_since;		/* mmem_now_ns(): the first of them */
	bool is_evicting;		/* the evictor has a batch of this space */
	bool ends;			/* no more batches: the domain is being destroyed */

	/*
	 * Unlinked tables that wait for an invalidation: mmem_huge.h. Under lock.
	 */
	struct pgt_tables retired;

	/* See mmem_import.h. */
	_Atomic(struct mmem_import_table *) import_table;
	struct mmem_import_table *import_spare;
	size_t imports_max;		/* entries of each of the two */
	_Atomic size_t nb_imports;
	TAILQ_HEAD(, mmem_import) imports;

	/* One lane for each lcore; the last lane for all other threads. */
	struct mmem_lane lanes[RTE_MAX_LCORE + 1];
};

/*
 * Log a line about a space that a device can cause, also through a pager: at most
 * IOPF_LOG_LINES_PER_S lines a second.
 */
#define MMEM_LOG_LIMITED(space, fmt, ...) do {							\
	char tail_[IOPF_LOG_TAIL];							\
	uint64_t before_;								\
											\
	if (iopf_log_take(&(space)->log, &before_))					\
		MMEM_LOG(ERR, "space %s: " fmt "%s", (space)->name, ## __VA_ARGS__,	\
				iopf_log_tail(tail_, before_));				\
} while (0)

static inline void
mmem_stat_add(struct mmem_space *space, enum mmem_stat stat, uint64_t n)
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

static inline bool
mmem_space_has_budget(const struct mmem_space *space)
{
	return space->budget.limit != 0 || space->pool->budget.limit != 0;
}

static inline bool
mmem_is_in_pool(const struct mmem_space *space, uint64_t va)
{
	return va - (uintptr_t)space->mem < space->size;
}

/* An import may hold this address. An access that comes while one is made may be refused. */
static inline bool
mmem_may_be_import(const struct mmem_space *space, uint64_t va)
{
	return !mmem_is_in_pool(space, va) &&
			atomic_load_explicit(&space->nb_imports, memory_order_relaxed) != 0;
}

/* The address of an offset in the pool, for CPU and devices. */
static inline uint64_t
mmem_off_to_va(const struct mmem_space *space, uint64_t off)
{
	return (uintptr_t)space->mem + off;
}

/* The output address of a page table entry. */
static inline uint64_t
mmem_off_to_pa(const struct mmem_space *space, uint64_t off)
{
	return atomic_load_explicit(&space->chunks[off >> MMEM_CHUNK_LOG2].dma,
			memory_order_relaxed) + (off & (MMEM_CHUNK_SIZE - 1));
}

/* The bit of a chunk's state after the first access of a device. */
static inline uint32_t
mmem_chunk_touched_bit(const struct mmem_space *space, const struct mmem_chunk *chunk)
{
	return space->window > 1 && atomic_load_explicit(&chunk->advice, memory_order_relaxed) !=
			MMEM_ADVISE_RANDOM ? CHUNK_STREAMED : CHUNK_TOUCHED;
}

/* Release space->lock and defer the groups that wait for it. */
void mmem_space_unlock(struct mmem_space *space);

#endif /* MMEM_SPACE_H */
