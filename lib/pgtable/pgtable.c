/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Creates and destroys tables, looks up entries, and maps for control calls. */

#include <errno.h>
#include <stdlib.h>

#include "pgt_entry.h"
#include "pgt_walk.h"

/* Tables the stage-2 root may have, as a power of two. */
#define CONCAT_BITS	4u

/* Bytes of a number of tables. */
static size_t
get_tables_size(const struct pgt *pgt, unsigned int nb)
{
	return (size_t)nb << pgt->granule_log2;
}

/* Allocate zeroed, contiguous tables. Returns 0, -ENOMEM or -EFAULT. */
static int
tables_alloc(struct pgt *pgt, unsigned int nb, _Atomic uint64_t **table, uint64_t *pa)
{
	size_t size = get_tables_size(pgt, nb);
	void *p = pgt->mem.alloc(pgt->mem.ctx, size);
	bool usable;

	if (p == NULL)
		return -ENOMEM;
	*pa = pgt->mem.va_to_pa(pgt->mem.ctx, p);
	usable = !(((uintptr_t)p | *pa) & (size - 1)) && pgt_pa_is_valid(pgt, *pa);
	if (pgt->root != NULL && pgt->mem.pa_to_va == NULL)
		usable = usable && (uintptr_t)p - *pa == pgt->window;
	if (!usable) {
		pgt->mem.free(pgt->mem.ctx, p, size);
		return -EFAULT;
	}
	*table = p;
	atomic_fetch_add_explicit(&pgt->nb_tables, nb, memory_order_relaxed);
	return 0;
}

static void
tables_free(struct pgt *pgt, unsigned int nb, _Atomic uint64_t *table)
{
	atomic_fetch_sub_explicit(&pgt->nb_tables, nb, memory_order_relaxed);
	pgt->mem.free(pgt->mem.ctx, table, get_tables_size(pgt, nb));
}

int
pgt_table_alloc(struct pgt *pgt, _Atomic uint64_t **table, uint64_t *pa)
{
	return tables_alloc(pgt, 1, table, pa);
}

void
pgt_table_free(struct pgt *pgt, _Atomic uint64_t *table)
{
	tables_free(pgt, 1, table);
}

int
pgt_table_make(struct pgt *pgt, const struct pgt_pos *pos)
{
	_Atomic uint64_t *table;
	uint64_t expected = pos->e;
	uint64_t pa, i;
	int rc;

	rc = pgt_table_alloc(pgt, &table, &pa);
	if (rc)
		return rc;
	if (ent_is_closed(pos->e)) {
		for (i = 0; i < pgt_nb_entries(pgt); i++)
			atomic_store_explicit(&table[i], htole64(ENT_CLOSED),
					memory_order_relaxed);
	}
	if (!ent_cas(pos->entry, &expected, pa | ENT_VALID | ENT_TABLE))
		pgt_table_free(pgt, table);
	return 0;
}

static bool
conf_is_valid(const struct pgt *pgt)
{
	return (pgt->granule_log2 == 12 || pgt->granule_log2 == 14 || pgt->granule_log2 == 16) &&
		pgt->va_bits >= 25 && pgt->va_bits <= 48 &&
		pgt->pa_bits >= 32 && pgt->pa_bits <= 48 &&
		pgt->mem.alloc && pgt->mem.free && pgt->mem.va_to_pa;
}

/*
 * Choose the start level, and in stage 2 the number of concatenated tables. Stage 1: 4 -
 * ceil((va_bits - granule_log2) / index_bits), the fewest levels whose indices hold the bits
 * [D8.2]. Stage 2: the root's index may have CONCAT_BITS more. With 4K granules level 3 would need
 * small translation tables. The smallest va_bits leaves at least one bit for each root.
 */
static void
choose_root(struct pgt *pgt)
{
	unsigned int wide = pgt->stage2 ? CONCAT_BITS : 0;
	unsigned int above = (pgt->va_bits - pgt->granule_log2 - 1 - wide) / pgt->index_bits;
	unsigned int one_table;

	if (above == 0 && pgt->granule_log2 == 12)
		above = 1;
	pgt->start_level = PGT_LAST_LEVEL - above;
	one_table = pgt_shift(pgt, pgt->start_level) + pgt->index_bits;
	pgt->root_tables = pgt->va_bits > one_table ? 1u << (pgt->va_bits - one_table) : 1;
}

struct pgt *
pgt_create(const struct pgt_conf *conf)
{
	struct pgt *pgt;
	int rc = -EINVAL;

	if (conf == NULL) {
		errno = EINVAL;
		return NULL;
	}
	pgt = calloc(1, sizeof(*pgt));
	if (pgt == NULL)
		return NULL;
	pgt->granule_log2 = conf->granule_log2 ? conf->granule_log2 : 12;
	pgt->va_bits = conf->va_bits ? conf->va_bits : 48;
	pgt->pa_bits = conf->pa_bits ? conf->pa_bits : 48;
	pgt->stage2 = conf->stage2;
	ent_init_format(&pgt->format, conf->stage2);
	pgt->mem = conf->mem;
	if (!conf_is_valid(pgt))
		goto fail;
	pgt->index_bits = pgt->granule_log2 - 3;
	choose_root(pgt);
	pgt->start_shift = pgt_shift(pgt, pgt->start_level);
	pgt->addr_mask = ((UINT64_C(1) << 48) - 1) & ~(pgt_span(pgt, PGT_LAST_LEVEL) - 1);
	pgt->pa_refused = ~((UINT64_C(1) << pgt->pa_bits) - 1) |
		(pgt_span(pgt, PGT_LAST_LEVEL) - 1);

	rc = tables_alloc(pgt, pgt->root_tables, &pgt->root, &pgt->root_pa);
	if (rc)
		goto fail;
	pgt->window = (uintptr_t)pgt->root - pgt->root_pa;
	return pgt;

fail:
	free(pgt);
	errno = -rc;
	return NULL;
}

/* Free one table, or the concatenated ones of the root. The recursion has at most four levels. */
static void
table_free_tree(struct pgt *pgt, unsigned int nb, _Atomic uint64_t *table, unsigned int level)
{
	uint64_t e, i;

	for (i = 0; level < PGT_LAST_LEVEL && i < nb * pgt_nb_entries(pgt); i++) {
		e = ent_load(&table[i]);
		if (ent_is_table(e, level))
			table_free_tree(pgt, 1, pgt_next_table(pgt, e), level + 1);
	}
	tables_free(pgt, nb, table);
}

void
pgt_destroy(struct pgt *pgt)
{
	if (pgt == NULL)
		return;
	table_free_tree(pgt, pgt->root_tables, pgt->root, pgt->start_level);
	free(pgt);
}

uint64_t
pgt_root(const struct pgt *pgt)
{
	return pgt != NULL ? pgt->root_pa : 0;
}

unsigned int
pgt_va_bits(const struct pgt *pgt)
{
	return pgt != NULL ? pgt->va_bits : 0;
}

unsigned int
pgt_granule_log2(const struct pgt *pgt)
{
	return pgt != NULL ? pgt->granule_log2 : 0;
}

void
pgt_info(const struct pgt *pgt, struct pgt_info *info)
{
	if (info == NULL)
		return;
	*info = (struct pgt_info){ .root = 0 };
	if (pgt == NULL)
		return;
	info->root = pgt->root_pa;
	info->granule_log2 = pgt->granule_log2;
	info->va_bits = pgt->va_bits;
	info->pa_bits = pgt->pa_bits;
	info->stage2 = pgt->stage2;
	info->start_level = pgt->start_level;
	info->root_tables = pgt->root_tables;
	info->nb_tables = atomic_load_explicit(&pgt->nb_tables, memory_order_relaxed);
}

static const char * const state_names[] = {
	[PGT_ABSENT] = "absent",
	[PGT_INVALID] = "invalid",
	[PGT_RESOLVING] = "resolving",
	[PGT_VALID] = "valid",
	[PGT_CLOSED] = "closed",
};

const char *
pgt_state_name(enum pgt_state state)
{
	unsigned int i = state;

	return i < sizeof(state_names) / sizeof(state_names[0]) ? state_names[i] : "?";
}

int
pgt_walk(const struct pgt *pgt, uint64_t va, struct pgt_leaf *leaf)
{
	struct pgt_pos pos;

	if (pgt == NULL || leaf == NULL || !pgt_va_is_valid(pgt, va))
		return -EINVAL;
	pgt_find_entry(pgt, va, 0, &pos);
	*leaf = (struct pgt_leaf){ .level = pos.level, .size = pgt_span(pgt, pos.level) };
	leaf->va = va & ~(leaf->size - 1);
	if (ent_is_valid(pos.e)) {
		leaf->state = PGT_VALID;
		leaf->pa = pos.e & pgt->addr_mask;
		leaf->prot = ent_get_prot(&pgt->format, pos.e);
		leaf->accessed = pos.e & ENT_AF;
		leaf->dirty = ent_is_dirty(&pgt->format, pos.e);
	} else if (ent_is_closed(pos.e)) {
		leaf->state = PGT_CLOSED;
	} else if (pos.e) {
		leaf->state = PGT_RESOLVING;
		leaf->tag = pos.e;
	} else {
		leaf->state = pos.level == PGT_LAST_LEVEL ? PGT_INVALID : PGT_ABSENT;
	}
	return 0;
}

int
pgt_prealloc(struct pgt *pgt, uint64_t va, uint64_t size)
{
	uint64_t end = va + size;
	struct pgt_pos pos;
	int rc;

	if (pgt == NULL || !pgt_range_is_valid(pgt, va, size))
		return -EINVAL;
	while (va < end) {
		pgt_find_entry(pgt, va, 0, &pos);
		if (pos.level == PGT_LAST_LEVEL) {
			va = pgt_entry_end(pgt, PGT_LAST_LEVEL - 1, va);
		} else if (ent_is_valid(pos.e)) {
			va = pgt_entry_end(pgt, pos.level, va);
		} else if (ent_is_closed(pos.e)) {
			return -ECANCELED;
		} else {
			rc = pgt_table_make(pgt, &pos);
			if (rc)
				return rc;
		}
	}
	return 0;
}

/*
 * Blocks without 52-bit addresses: 1 GiB and 2 MiB with 4 KiB granules, 32 MiB with 16 KiB, 512 MiB
 * with 64 KiB.
 */
static bool
leaf_fits(const struct pgt *pgt, unsigned int level, uint64_t va, uint64_t pa, uint64_t end,
		uint32_t prot)
{
	if (level == PGT_LAST_LEVEL)
		return true;
	if ((prot & PGT_PAGES_ONLY) || level < (pgt->granule_log2 == 12 ? 1 : 2))
		return false;
	return pgt_is_whole(pgt, level, va, end) && !(pa & (pgt_span(pgt, level) - 1));
}

/*
 * Check that the range is empty, and make tables where no leaf fits: mapping then allocates
 * nothing.
 */
static int
map_prepare(struct pgt *pgt, uint64_t va, uint64_t pa, uint64_t end, uint32_t prot)
{
	struct pgt_pos pos;
	uint64_t next;
	int rc;

	pgt_find_entry(pgt, va, 0, &pos);
	while (va < end) {
		if (ent_is_closed(pos.e))
			return -ECANCELED;
		if (pos.e)
			return -EEXIST;
		if (leaf_fits(pgt, pos.level, va, pa, end, prot)) {
			next = pgt_entry_end(pgt, pos.level, va);
			pa += next - va;
			va = next;
			pgt_find_next_entry(pgt, va, 0, &pos);
			continue;
		}
		rc = pgt_table_make(pgt, &pos);
		if (rc)
			return rc;
		pgt_find_entry(pgt, va, 0, &pos);
	}
	return 0;
}

/* What an SMMU, or pgt_resolve(), makes of a leaf without changing the page or its rights. */
static bool
is_same_leaf(uint64_t e, uint64_t leaf)
{
	uint64_t flags = ENT_AF | (leaf & ENT_DBM ? ENT_AP_RO : 0);

	return !((e ^ leaf) & ~flags);
}

/* Undo pgt_map() from va up to end: clear only entries that still hold its value. */
static void
map_undo(struct pgt *pgt, uint64_t va, uint64_t pa, uint64_t end, uint32_t prot)
{
	struct pgt_pos pos;
	unsigned int tries;
	uint64_t leaf, next;

	pgt_find_entry(pgt, va, 0, &pos);
	while (va < end) {
		leaf = ent_make_leaf(&pgt->format, pa, pos.level, prot);
		for (tries = 0; pgt_is_whole(pgt, pos.level, va, end) && tries < PGT_TRIES &&
				is_same_leaf(pos.e, leaf); tries++)
			if (ent_cas(pos.entry, &pos.e, 0))
				break;
		next = pgt_entry_end(pgt, pos.level, va);
		pa += next - va;
		va = next;
		pgt_find_next_entry(pgt, va, 0, &pos);
	}
}

int
pgt_map(struct pgt *pgt, uint64_t va, uint64_t pa, uint64_t size, uint32_t prot)
{
	uint32_t leaf_prot = prot & ~PGT_PAGES_ONLY;
	uint64_t end = va + size;
	uint64_t at = va;
	struct pgt_pos pos;
	int rc;

	if (pgt == NULL || !pgt_range_is_valid(pgt, va, size) ||
	    !ent_prot_is_valid(&pgt->format, leaf_prot) ||
	    !pgt_pa_is_valid(pgt, pa) || size > (UINT64_C(1) << pgt->pa_bits) - pa)
		return -EINVAL;
	rc = map_prepare(pgt, va, pa, end, prot);
	if (rc)
		return rc;

	pgt_find_entry(pgt, at, 0, &pos);
	while (at < end) {
		if (pos.e || !leaf_fits(pgt, pos.level, at, pa + (at - va), end, prot)) {
			map_undo(pgt, va, pa, at, leaf_prot);
			return -EAGAIN;
		}
		/* If the swap fails: descend into a new table, or find another writer's entry. */
		if (!ent_cas(pos.entry, &pos.e, ent_make_leaf(&pgt->format, pa + (at - va),
				pos.level, leaf_prot))) {
			pgt_find_entry(pgt, at, 0, &pos);
			continue;
		}
		at = pgt_entry_end(pgt, pos.level, at);
		pgt_find_next_entry(pgt, at, 0, &pos);
	}
	return 0;
}
