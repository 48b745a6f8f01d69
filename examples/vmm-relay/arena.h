/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ARENA_H
#define ARENA_H

/*
 * Memory for tables and pages, whose device address is its CPU address. It is freed as a whole.
 */

#include <stddef.h>
#include <stdint.h>

#include <pgtable.h>

struct arena {
	uint8_t *mem;		/* zeroed */
	size_t size, used;
};

/* Aligned to @p size, a power of two. NULL: none is left. */
void *arena_alloc(struct arena *a, size_t size);
/* Tables from the arena. */
struct pgt_mem arena_pgt_mem(struct arena *a);

#endif /* ARENA_H */
