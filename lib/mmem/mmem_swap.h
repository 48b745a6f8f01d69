/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_SWAP_H
#define MMEM_SWAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmem.h"

struct mmem_pool;

/*
 * The swap file of a pool, or none (NULL); pool->io is set. Returns 0 or -errno after a log line.
 */
int mmem_swap_open(struct mmem_pool *pool, const char *path);
void mmem_swap_close(struct mmem_pool *pool);

/*
 * Make a pager that keeps written blocks in the swap file, over another one or over zeros (NULL).
 * Its release releases the one below. Returns 0 or -ENOMEM.
 */
int mmem_swap_cover(struct mmem_pool *pool, const struct mmem_pager *below, size_t size,
		struct mmem_pager *pager);
/* Undo it without releasing the pager below. Other pagers are left alone. */
void mmem_swap_uncover(const struct mmem_pager *pager);

bool mmem_pager_is_swap(const struct mmem_pager *pager);

/* Where the region is in the pool. Other pagers are left alone. */
void mmem_swap_set_base(const struct mmem_pager *pager, uint64_t off);

#endif /* MMEM_SWAP_H */
