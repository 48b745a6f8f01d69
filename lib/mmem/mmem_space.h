/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_SPACE_H
#define MMEM_SPACE_H

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

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_lcore.h>

#include <iopf_support.h>

#include "mmem_chunk.h"
#include "mmem_groups.h"
#include "mmem_log.h"

struct mmem_pool;
struct pgt;

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
	_Atomic unsigned int nb_kept;	/* regions that could not be freed; written under lock */
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
#define MMEM_LOG_LIMITED(space, fmt, ...) do {							\
	char tail_[IOPF_LOG_TAIL];							\
	uint64_t before_;								\
											\
	if (iopf_log_take(&(space)->log, &before_))					\
		MMEM_LOG(ERR, "space %s: " fmt "%s", (space)->name, ## __VA_ARGS__,	\
				iopf_log_tail(tail_, before_));				\
} while (0)

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
 * Let space->lock go: what waits for it is deferred again, and regions that could not be freed
 * are, if they can be now.
 */
void mmem_space_unlock(struct mmem_space *space);

#endif /* MMEM_SPACE_H */
