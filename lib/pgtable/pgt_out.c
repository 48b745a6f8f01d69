/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What the calls that change leaves report: ranges to invalidate, and flags. */

#include "pgt_entry.h"
#include "pgt_out.h"
#include "pgt_walk.h"

void
pgt_out_add_inv(const struct pgt *pgt, struct pgt_unmapped *out, uint64_t va, uint64_t size,
		unsigned int level)
{
	struct pgt_inv *last = out->nb_inv ? &out->inv[out->nb_inv - 1] : NULL;
	uint64_t lo, hi;

	if (last && last->va + last->size == va && last->level == level &&
	    last->leaf_only == (level != 0)) {
		last->size += size;
		return;
	}
	if (out->nb_inv < out->max_inv) {
		out->inv[out->nb_inv++] = (struct pgt_inv){
			.va = va,
			.size = size,
			.level = level,
			.granule_log2 = pgt->granule_log2,
			.leaf_only = level != 0,
		};
		return;
	}
	lo = last->va < va ? last->va : va;
	hi = last->va + last->size > va + size ? last->va + last->size : va + size;
	last->va = lo;
	last->size = hi - lo;
	if (last->level != level)
		last->level = 0;
	last->leaf_only = last->leaf_only && level;
}

/* Set bits first to last. */
static void
bitmap_set(uint64_t *map, uint64_t first, uint64_t last)
{
	uint64_t word = first / 64;

	for (; word < last / 64; word++, first = word * 64)
		map[word] |= UINT64_MAX << first % 64;
	map[word] |= (UINT64_MAX << first % 64) & (UINT64_MAX >> (63 - last % 64));
}

void
pgt_out_set_used(const struct pgt *pgt, struct pgt_used *used, uint64_t va, uint64_t size,
		bool accessed, bool dirty)
{
	uint64_t first = va > used->va ? va - used->va : 0;
	/* The first byte behind both; a leaf in front of used->va has none. */
	uint64_t end = va + size > used->va ? va + size - used->va : 0;

	used->accessed_bytes += accessed ? size : 0;
	used->dirty_bytes += dirty ? size : 0;
	if (end > used->size)
		end = used->size;
	if (first >= end)
		return;
	first >>= pgt->granule_log2;
	end = (end - 1) >> pgt->granule_log2;
	if (accessed && used->accessed != NULL)
		bitmap_set(used->accessed, first, end);
	if (dirty && used->dirty != NULL)
		bitmap_set(used->dirty, first, end);
}
