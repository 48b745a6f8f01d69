/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_FETCH_H
#define MMEM_FETCH_H

/*
 * What happens to a block's contents now. Under pool->lock.
 *
 *	(none) --> QUEUED --> OPEN --> (none)		a fetch; FAILED after an error
 *	(none) --> LEAVING --> (none)			an eviction of a clean block
 *	           LEAVING --> WRITE_QUEUED --> WRITING --> (none)	of a written one
 *	(none) --> CLEAN_QUEUED --> CLEANING --> (none)	mmem_sync()
 *
 * Accesses wait for the end of a fetch and of an eviction; after an eviction they fetch the block
 * again. While it is cleaned it is in memory and in use, and cannot leave.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmem_waiting.h"

struct mmem_pool;
struct mmem_region;

enum fetch_state {
	FETCH_QUEUED,
	FETCH_OPEN,		/* a thread has taken it; not completed */
	FETCH_FAILED,		/* kept to refuse the accesses that began before it failed */
	FETCH_CLEAN_QUEUED,
	FETCH_CLEANING,		/* as OPEN */
	FETCH_LEAVING,		/* the evictor has it */
	FETCH_WRITE_QUEUED,
	FETCH_WRITING,		/* as OPEN */
};

struct mmem_fetch {
	TAILQ_ENTRY(mmem_fetch) next;	/* in the region's queue */
	TAILQ_ENTRY(mmem_fetch) next_timed;
	TAILQ_ENTRY(mmem_fetch) next_write;	/* in pool->writes */
	struct mmem_region *region;
	size_t block;
	enum fetch_state state;
	int error;			/* the error for accesses, or 0: they wait */
	uint64_t failed_at;		/* rte_rdtsc() */
	uint64_t deadline;		/* mmem_now_ns(), or 0 */
	uint64_t late_at;		/* of the write of a leaving block, or 0: mmem_late.h */
	bool is_late;
	struct mmem_waiting groups;
	bool cpu_waits;			/* a CPU access waits for it */
	bool prefetched;		/* no access has waited for it */
	bool *ended_in_start;		/* of the thread in start, or NULL */
};

static inline bool
mmem_fetch_is_leaving(const struct mmem_fetch *fetch)
{
	return fetch->state >= FETCH_LEAVING;
}

static inline bool
mmem_fetch_is_cleaning(const struct mmem_fetch *fetch)
{
	return fetch->state == FETCH_CLEAN_QUEUED || fetch->state == FETCH_CLEANING;
}

/*
 * pager.c
 */

/* The fetch of a block, in this state. NULL: no memory. */
struct mmem_fetch *mmem_fetch_create(struct mmem_region *region, size_t block,
		enum fetch_state state);

/* Put it into its region's queue, and start it if possible. Returns 0 or -ENOMEM. */
int mmem_fetch_enqueue(struct mmem_pool *pool, struct mmem_fetch *fetch);
void mmem_fetch_dequeue(struct mmem_fetch *fetch);

/* Accesses wait for it from now on, at most as long as the pager's deadline. */
void mmem_fetch_set_deadline(struct mmem_pool *pool, struct mmem_fetch *fetch);

/* Wake all waiting accesses. With an error, they are refused, and so are later accesses. */
void mmem_fetch_wake(struct mmem_pool *pool, struct mmem_fetch *fetch, int error);
void mmem_fetch_set_failed(struct mmem_pool *pool, struct mmem_fetch *fetch, int error);

/* Complete a fetch that was OPEN. */
void mmem_fetch_finish(struct mmem_pool *pool, struct mmem_fetch *fetch, int error);

/* Complete a fetch or a write with the pager's result. pool->lock may be released meanwhile. */
void mmem_fetch_apply_result(struct mmem_pool *pool, struct mmem_fetch *fetch, int rc);

/*
 * fetcher.c
 */

/* Put the region on the list of regions that may start a fetch, or take it off. */
void mmem_region_update_ready(struct mmem_pool *pool, struct mmem_region *region);

/*
 * leave.c
 */

/* A block leaves. Its pages are PAGE_ABSENT. Returns NULL without memory. */
struct mmem_fetch *mmem_fetch_leave(struct mmem_region *region, size_t block);

/* The contents of a leaving block are to be written first. */
void mmem_fetch_write(struct mmem_pool *pool, struct mmem_fetch *fetch);

/* A leaving block has no memory any more. */
void mmem_fetch_left(struct mmem_pool *pool, struct mmem_fetch *fetch);

/* A leaving block stays in memory. */
void mmem_fetch_stay(struct mmem_pool *pool, struct mmem_fetch *fetch);

/* Its write has ended. pool->lock is released meanwhile. */
void mmem_fetch_end_write(struct mmem_pool *pool, struct mmem_fetch *fetch, int error);

/* An access waits for the end of an eviction. Returns 0, or the error of one that has failed. */
int mmem_fetch_wait_leaving(struct mmem_pool *pool, struct mmem_fetch *fetch, uint64_t began);

/* The cleaning of a block has ended. With an error it is still written. */
void mmem_fetch_end_clean(struct mmem_pool *pool, struct mmem_fetch *fetch, int error);

#endif /* MMEM_FETCH_H */
