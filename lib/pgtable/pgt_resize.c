/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Splits a block into a table, and joins a table to a block, in two steps. */

#include <errno.h>

#include "pgt_entry.h"
#include "pgt_out.h"
#include "pgt_walk.h"
#include "pgtable_resize.h"

static bool
is_leaf(uint64_t e, unsigned int level)
{
	return ent_is_valid(e) && !ent_is_table(e, level);
}

/* Both are not linked: the swap in pgt_resize_end() publishes them. */
static void
table_set(_Atomic uint64_t *table, uint64_t i, uint64_t e)
{
	atomic_store_explicit(&table[i], htole64(e), memory_order_relaxed);
}

/* Smaller leaves of the same pages, with the flags of the block. */
static void
fill_from_block(const struct pgt *pgt, _Atomic uint64_t *table, uint64_t e, unsigned int level)
{
	uint64_t bits = (e & ~pgt->addr_mask) | (level == PGT_LAST_LEVEL ? ENT_TABLE : 0);
	uint64_t i;

	for (i = 0; i < pgt_nb_entries(pgt); i++)
		table_set(table, i, bits | ((e & pgt->addr_mask) + i * pgt_span(pgt, level)));
}

int
pgt_split_begin(struct pgt *pgt, uint64_t va, struct pgt_resize *resize, struct pgt_unmapped *out)
{
	_Atomic uint64_t *table;
	unsigned int tries;
	struct pgt_pos pos;
	uint64_t e, pa;
	int rc;

	if (pgt == NULL || resize == NULL || !pgt_out_is_valid(out) || !pgt_va_is_valid(pgt, va))
		return -EINVAL;
	pgt_find_entry(pgt, va, 0, &pos);
	if (pos.level == PGT_LAST_LEVEL || !is_leaf(pos.e, pos.level))
		return -ENOENT;
	rc = pgt_table_alloc(pgt, &table, &pa);
	if (rc)
		return rc;
	for (tries = 0; tries < PGT_TRIES && is_leaf(pos.e, pos.level); tries++) {
		e = pos.e;
		if (!ent_cas(pos.entry, &pos.e, ENT_CLOSED))
			continue;
		fill_from_block(pgt, table, e, pos.level + 1);
		va &= ~(pgt_span(pgt, pos.level) - 1);
		*resize = (struct pgt_resize){
			.pgt = pgt,
			.va = va,
			.size = pgt_span(pgt, pos.level),
			.entry = pa | ENT_VALID | ENT_TABLE,
			.table = table,
		};
		pgt_out_add_inv(pgt, out, va, resize->size, pos.level);
		out->bytes += resize->size;
		return 0;
	}
	pgt_table_free(pgt, table);
	return -EAGAIN;
}

/* The block that is the same as all leaves of a table of this level; 0 if there is none. */
static uint64_t
join_leaves(const struct pgt *pgt, _Atomic uint64_t *table, unsigned int level)
{
	const struct ent_format *format = &pgt->format;
	uint64_t first = ent_load(&table[0]), pa = first & pgt->addr_mask, i, e;
	uint32_t flags = PGT_OLD | PGT_CLEAN;

	if (pa & (pgt_span(pgt, level - 1) - 1))
		return 0;
	for (i = 0; i < pgt_nb_entries(pgt); i++) {
		e = ent_load(&table[i]);
		if (!is_leaf(e, level) || ent_get_prot(format, e) != ent_get_prot(format, first) ||
				(e & pgt->addr_mask) != pa + i * pgt_span(pgt, level))
			return 0;
		flags &= ~((e & ENT_AF ? PGT_OLD : 0) |
				(ent_is_dirty(format, e) ? PGT_CLEAN : 0));
	}
	return ent_make_leaf(format, pa, level - 1, ent_get_prot(format, first) | flags);
}

/*
 * Close all entries of an unlinked table and copy the last value of each. A late walker finds
 * *closed*. The ticket of a resolving entry is cancelled: its marker does not return.
 */
static void
move_entries(const struct pgt *pgt, _Atomic uint64_t *from, _Atomic uint64_t *to,
		unsigned int level, struct pgt_unmapped *out)
{
	uint64_t e, i;

	for (i = 0; i < pgt_nb_entries(pgt); i++) {
		e = le64toh(atomic_exchange_explicit(&from[i], htole64(ENT_CLOSED),
				memory_order_acq_rel));
		table_set(to, i, ent_is_valid(e) || ent_is_closed(e) ? e : 0);
		out->bytes += is_leaf(e, level) ? pgt_span(pgt, level) : 0;
	}
}

int
pgt_join_begin(struct pgt *pgt, uint64_t va, uint64_t size, struct pgt_resize *resize,
		struct pgt_unmapped *out)
{
	_Atomic uint64_t *table, *copy;
	struct pgt_pos pos;
	unsigned int level;
	uint64_t pa, block;
	int rc;

	if (pgt == NULL || resize == NULL || !pgt_out_is_valid(out) ||
			!pgt_range_is_valid(pgt, va, size))
		return -EINVAL;
	level = pgt_find_block_level(pgt, size);
	if (level == PGT_LAST_LEVEL || (va & (size - 1)))
		return -EINVAL;
	pgt_find_entry(pgt, va, va + size, &pos);
	if (pos.level <= level && is_leaf(pos.e, pos.level))
		return -EALREADY;
	if (pos.level != level || !ent_is_table(pos.e, level))
		return -ENOENT;
	table = pgt_next_table(pgt, pos.e);
	if (join_leaves(pgt, table, level + 1) == 0)
		return -ENOENT;
	rc = pgt_table_alloc(pgt, &copy, &pa);
	if (rc)
		return rc;
	if (!ent_cas(pos.entry, &pos.e, ENT_CLOSED)) {
		pgt_table_free(pgt, copy);
		return -EAGAIN;
	}
	move_entries(pgt, table, copy, level + 1, out);
	pgt_out_add_table(out, table);
	pgt_out_add_inv(pgt, out, va, size, 0);
	block = join_leaves(pgt, copy, level + 1);
	*resize = (struct pgt_resize){
		.pgt = pgt,
		.va = va,
		.size = size,
		.block = block != 0,
		.entry = block != 0 ? block : pa | ENT_VALID | ENT_TABLE,
		.table = copy,
	};
	return 0;
}

int
pgt_resize_end(const struct pgt_resize *resize)
{
	struct pgt_pos pos;
	struct pgt *pgt;
	int rc = -ECANCELED;

	if (resize == NULL || resize->pgt == NULL)
		return -EINVAL;
	pgt = resize->pgt;
	pgt_find_entry(pgt, resize->va, 0, &pos);
	if (pgt_span(pgt, pos.level) == resize->size && pos.e == ENT_CLOSED &&
			ent_cas(pos.entry, &pos.e, resize->entry))
		rc = 0;
	if (rc || resize->block)
		pgt_table_free(pgt, resize->table);
	return rc;
}
