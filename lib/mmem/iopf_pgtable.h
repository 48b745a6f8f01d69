/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_PGTABLE_H
#define IOPF_PGTABLE_H

/**
 * @file
 * Conversions between pgtable.h and iopf.h, for a domain with page tables of lib/pgtable. Neither
 * header includes the other.
 */

#include <stddef.h>

#include "iopf_handler.h"
#include "pgtable.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The invalidation for iopf_invalidate() after a change of the page tables. */
static inline struct iopf_inv
iopf_inv_from_pgt(const struct pgt_inv *pgt)
{
	struct iopf_inv inv;

	inv.addr = pgt->va;
	inv.size = pgt->size;
	/* A last-level entry maps a granule; an entry above it maps as much as a whole table. */
	inv.leaf_log2 = pgt->level == 0 ? 0 : (uint8_t)(pgt->granule_log2 +
			(3 - pgt->level) * (pgt->granule_log2 - 3));
	inv.leaf_only = pgt->leaf_only;
	inv.all = false;
	inv.type = IOPF_INV_RANGE;
	inv.dev = NULL;
	inv.pasid = 0;
	inv.tag = 0;
	return inv;
}

#ifdef __cplusplus
}
#endif

#endif /* IOPF_PGTABLE_H */
