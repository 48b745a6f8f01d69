/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_NEED_H
#define MMEM_NEED_H

/*
 * Which region lacks room, and which space is to give it: its own, if that is at its budget, or the
 * one with most memory, if the pool is. A need that no block can meet comes last, so that it does
 * not hold up others. Under pool->lock.
 */

#include <stdbool.h>
#include <stdint.h>

struct mmem_pool;
struct mmem_region;
struct mmem_space;

struct mmem_need {
	struct mmem_region *region;	/* NULL: there is none */
	struct mmem_space *giver;
	uint64_t excess;		/* bytes that are to leave */
};

struct mmem_need mmem_need_find(struct mmem_pool *pool);

/* If no write-back has ended, or succeeded, for this time, accesses without room are refused. */
#define MMEM_NO_ROOM_NS	UINT64_C(1000000000)

/* The space's write-backs fail, one after the other. */
bool mmem_need_writes_fail(const struct mmem_space *space, uint64_t now);

/*
 * The space with most memory of those that can give some, or NULL. One whose write-backs fail comes
 * last.
 */
struct mmem_space *mmem_need_find_giver(struct mmem_pool *pool);

#endif /* MMEM_NEED_H */
