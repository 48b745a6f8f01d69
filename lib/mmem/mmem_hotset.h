/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_HOTSET_H
#define MMEM_HOTSET_H

/* The blocks that were fetched, each once, in this order. Under pool->lock. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mmem_space;

struct mmem_hotset {
	uint64_t *seen;			/* a bit for each page of the pool; NULL: not recording */
	uint32_t *pages;		/* the first page of each block, and its length in pages */
	size_t nb, max;			/* blocks */
	bool incomplete;		/* a block is missing for lack of memory */
};

/* A block was fetched. */
void mmem_hotset_add(struct mmem_space *space, uint64_t off, size_t len);

void mmem_hotset_free(struct mmem_space *space);

#endif /* MMEM_HOTSET_H */
