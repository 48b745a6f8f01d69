/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_UNMAP_H
#define MMEM_UNMAP_H

#include <stddef.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_handler.h>

struct mmem_region;
struct mmem_space;

/* Invalidate, and all addresses if an invalidation is missing. n may be 0. Under space->lock. */
int mmem_invalidate(struct mmem_space *space, const struct iopf_inv *inv, unsigned int n);

struct pgt_unmapped;
struct pgt_used;

/*
 * The leaves of a block are removed, or become clean: remember that a device has written it. A
 * write may come up to the invalidation, but only to a page that is dirty before. For a region
 * without blocks it does nothing. Under space->lock.
 */
void mmem_block_keep_dirty(struct mmem_region *region, uint64_t off, const struct pgt_used *used);

/* The most ranges of mmem_invalidate_unmapped(): of looks, and of a batch of victims. */
#define MMEM_MAX_INV	32

/* Invalidate the ranges that changes of the table returned. Under space->lock. */
int mmem_invalidate_unmapped(struct mmem_space *space, const struct pgt_unmapped *out);

/*
 * Close a range and invalidate it. A handler that resolves a page in it fails in the entry's
 * compare-and-swap from now on. The caller opens the range again. @p region is NULL for an import.
 * Under space->lock.
 */
int mmem_range_close(struct mmem_space *space, struct mmem_region *region, uint64_t va,
		size_t len);

#endif /* MMEM_UNMAP_H */
