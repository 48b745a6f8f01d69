/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PGTABLE_RESIZE_H
#define PGTABLE_RESIZE_H

/**
 * @file
 * For an application of pgtable.h that changes the size of leaves: a block becomes a table of
 * smaller leaves, or a table of leaves becomes a block. What is mapped stays the same.
 *
 * Break-before-make. A TLB must not get both sizes of one address. So each change has two calls,
 * and the invalidation between them; between them the range is closed, and accesses fault:
 *
 *	struct pgt_resize resize;
 *
 *	pgt_unmapped_init(&out, inv, 8);
 *	if (pgt_join_begin(pgt, va, size, &resize, &out) == 0) {
 *		invalidate(out.inv, out.nb_inv);	// TLBI, SYNC
 *		pgt_resize_end(&resize);
 *		// after a grace period: pgt_free_tables(pgt, &out.tables)
 *	}
 *
 * A resolver gets -ECANCELED meanwhile, as for an unmap with PGT_CLOSE: the fault's answer lets the
 * device retry. Each begin needs its end, also if the invalidation fails: then behind a later one
 * of the range that is complete. To give up the change, pgt_open() the range first: end frees what
 * begin prepared, and returns -ECANCELED; the range is then empty.
 *
 * Flags. The leaves keep AF and dirty state, with the updates of an SMMU up to the moment they were
 * closed. A block from leaves is accessed if one of them was, and dirty if one of them was.
 *
 * Threads. From begin to end, no other thread unmaps, protects, harvests, opens or resizes the
 * range: unmap would not remove what end makes valid. Faults may be resolved at any time. A join
 * unlinks a table, so the rule of PGT_TABLES holds: all calls are in read-side sections.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pgtable.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A change in progress. Plain data: it may be copied and kept. */
struct pgt_resize {
	struct pgt *pgt;
	uint64_t va;		/**< of the block */
	uint64_t size;
	bool block;		/**< it will be a block */
	uint64_t entry;		/* private: what end installs */
	void *table;		/* private: the smaller leaves */
};

/**
 * Close the block of @p va, any address of it, and prepare a table of leaves of the next smaller
 * size (512 pages of 4K from 2M).
 * @return 0; -ENOENT (no block); -EINVAL (out of range, a pointer missing); -ENOMEM or -EFAULT; or
 *   -EAGAIN (the entry kept changing): nothing was changed.
 */
int pgt_split_begin(struct pgt *pgt, uint64_t va, struct pgt_resize *resize,
		struct pgt_unmapped *out);

/**
 * Close the table of [@p va, @p va + @p size), a block's size, and prepare a block, if each leaf is
 * valid, has the same permissions, and their output is contiguous and aligned to size. An unmap
 * just before the close may leave a table that is not full any more: then resize->block is false,
 * and end installs the leaves as they were.
 * @return 0; -ENOENT (no table of such leaves); -EALREADY (a block); -EINVAL (as above, or size is
 *   not a block's, or va not aligned to it); -ENOMEM or -EFAULT; -EAGAIN: nothing was changed.
 */
int pgt_join_begin(struct pgt *pgt, uint64_t va, uint64_t size, struct pgt_resize *resize,
		struct pgt_unmapped *out);

/**
 * Make the range valid again, after the SYNC of the invalidation.
 * @return 0; -ECANCELED: the range was opened before, and stays as it is.
 */
int pgt_resize_end(const struct pgt_resize *resize);

#ifdef __cplusplus
}
#endif

#endif /* PGTABLE_RESIZE_H */
