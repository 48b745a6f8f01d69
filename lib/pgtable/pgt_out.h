/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PGT_OUT_H
#define PGT_OUT_H

/* What the calls that change leaves report in a struct pgt_unmapped. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pgt_entry.h"
#include "pgt_walk.h"

static inline bool
pgt_out_is_valid(const struct pgt_unmapped *out)
{
	return out && out->inv && out->max_inv;
}

/* Add a range to invalidate. Level 0: leaves of any level, and tables. */
void pgt_out_add_inv(const struct pgt *pgt, struct pgt_unmapped *out, uint64_t va, uint64_t size,
		unsigned int level);

/* The part of pgt_out_add_used() if the caller wants the flags. */
void pgt_out_set_used(const struct pgt *pgt, struct pgt_used *used, uint64_t va, uint64_t size,
		bool accessed, bool dirty);

/* Report flags of a leaf. */
static inline void
pgt_out_add_used(const struct pgt *pgt, struct pgt_unmapped *out, uint64_t va, uint64_t size,
		bool accessed, bool dirty)
{
	if (out->used != NULL && (accessed || dirty))
		pgt_out_set_used(pgt, out->used, va, size, accessed, dirty);
}

/* Count a leaf that was removed, and report the flags of its last value. */
static inline void
pgt_out_add_leaf(const struct pgt *pgt, struct pgt_unmapped *out, uint64_t va, unsigned int level,
		uint64_t e)
{
	out->bytes += pgt_span(pgt, level);
	pgt_out_add_used(pgt, out, va, pgt_span(pgt, level), e & ENT_AF,
			ent_is_dirty(&pgt->format, e));
}

/* Put an unlinked table, all of whose entries are closed, on the list. */
static inline void
pgt_out_add_table(struct pgt_unmapped *out, _Atomic uint64_t *table)
{
	atomic_store_explicit(&table[0],
			htole64((uint64_t)(uintptr_t)out->tables.head | ENT_CLOSED),
			memory_order_relaxed);
	out->tables.head = table;
	out->tables.nb++;
}

#endif /* PGT_OUT_H */
