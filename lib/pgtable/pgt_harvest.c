/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Tests and clears the access flag and the dirty state, while an SMMU sets them. */

#include <errno.h>

#include "pgt_entry.h"
#include "pgt_out.h"
#include "pgt_walk.h"

/* The flags that have something to report: PGT_ACCESSED, PGT_DIRTY. */
static uint32_t
get_used(const struct ent_format *format, uint64_t e, uint32_t flags)
{
	uint32_t used = 0;

	if (e & ENT_AF)
		used |= PGT_ACCESSED;
	if (ent_is_dirty(format, e))
		used |= PGT_DIRTY;
	return used & flags;
}

static uint64_t
clear_used(uint64_t e, uint32_t used)
{
	if (used & PGT_ACCESSED)
		e &= ~ENT_AF;
	if (used & PGT_DIRTY)
		e = ent_clean(e);
	return e;
}

/*
 * Harvest the leaf at pos. Returns what it reports, or -EAGAIN. After 0 it may be no leaf any more:
 * pos->e tells. The swap takes all flags that it found: an update of the SMMU before it is seen by
 * the next attempt, and one behind it is left for the next call.
 */
static int
harvest_leaf(const struct pgt *pgt, struct pgt_pos *pos, uint32_t flags)
{
	unsigned int tries;
	uint32_t used;
	uint64_t e;

	for (tries = 0; tries < PGT_TRIES; tries++) {
		e = pos->e;
		if (!ent_is_valid(e) || ent_is_table(e, pos->level))
			return 0;
		used = get_used(&pgt->format, e, flags);
		if (used == 0 || (flags & PGT_KEEP) ||
				ent_cas(pos->entry, &pos->e, clear_used(e, used)))
			return (int)used;
	}
	return -EAGAIN;
}

int
pgt_harvest(struct pgt *pgt, uint64_t va, uint64_t size, uint32_t flags, struct pgt_unmapped *out)
{
	uint32_t inv = PGT_DIRTY | (flags & PGT_INV_ACCESSED ? PGT_ACCESSED : 0);
	uint64_t end = va + size;
	struct pgt_pos pos;
	uint64_t span;
	int used;

	if (pgt == NULL || !pgt_range_is_valid(pgt, va, size) || !pgt_out_is_valid(out) ||
			out->used == NULL || !(flags & (PGT_ACCESSED | PGT_DIRTY)) ||
			(flags & ~(PGT_ACCESSED | PGT_DIRTY | PGT_KEEP | PGT_INV_ACCESSED)))
		return -EINVAL;
	if (flags & PGT_KEEP)
		inv = 0;
	pgt_find_entry(pgt, va, 0, &pos);
	while (va < end) {
		if (ent_is_valid(pos.e) && !pgt_is_whole(pgt, pos.level, va, end))
			return -EINVAL;
		used = harvest_leaf(pgt, &pos, flags);
		if (used < 0)
			return used;
		if (ent_is_table(pos.e, pos.level)) {
			/* Another thread put a table here: descend. */
			pgt_find_entry(pgt, va, 0, &pos);
			continue;
		}
		span = pgt_span(pgt, pos.level);
		pgt_out_add_used(pgt, out, va, span, used & PGT_ACCESSED, used & PGT_DIRTY);
		if ((uint32_t)used & inv) {
			pgt_out_add_inv(pgt, out, va, span, pos.level);
			out->bytes += span;
		}
		va = pgt_entry_end(pgt, pos.level, va);
		pgt_find_next_entry(pgt, va, 0, &pos);
	}
	return 0;
}
