/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PGT_WALK_H
#define PGT_WALK_H

/* A table, its geometry, and the walk that all of pgtable uses. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pgt_entry.h"

struct pgt {
	_Atomic uint64_t *root;
	uint64_t window;		/* CPU pointer minus device address, if no pa_to_va */
	uint64_t addr_mask;		/* bits 47:granule_log2 */
	unsigned int granule_log2;
	unsigned int index_bits;	/* per level: granule_log2 - 3 */
	unsigned int start_level;
	unsigned int start_shift;	/* pgt_shift() of it */
	uint64_t pa_refused;		/* bits that no page's address has */
	unsigned int va_bits;
	unsigned int pa_bits;
	struct ent_format format;
	struct pgt_mem mem;
	/* Not used by the fault path. */
	uint64_t root_pa;
	unsigned int root_tables;	/* concatenated, at the start level */
	bool stage2;
	_Atomic unsigned int nb_tables;
};

/*
 * Attempts to change an entry. Each lost attempt is another writer's success; an SMMU has two
 * updates of a leaf at most, before it is changed.
 */
#define PGT_TRIES	16u

/* The end of a walk: an entry, its level, and the value that was read. */
struct pgt_pos {
	_Atomic uint64_t *entry;
	uint64_t e;
	unsigned int level;
};

static inline unsigned int
pgt_shift(const struct pgt *pgt, unsigned int level)
{
	return pgt->granule_log2 + (PGT_LAST_LEVEL - level) * pgt->index_bits;
}

/* Bytes that one entry of a level spans. */
static inline uint64_t
pgt_span(const struct pgt *pgt, unsigned int level)
{
	return UINT64_C(1) << pgt_shift(pgt, level);
}

static inline uint64_t
pgt_nb_entries(const struct pgt *pgt)
{
	return UINT64_C(1) << pgt->index_bits;
}

static inline bool
pgt_va_is_valid(const struct pgt *pgt, uint64_t va)
{
	return !(va >> pgt->va_bits);
}

static inline bool
pgt_pa_is_valid(const struct pgt *pgt, uint64_t pa)
{
	return !(pa & pgt->pa_refused);
}

static inline bool
pgt_range_is_valid(const struct pgt *pgt, uint64_t va, uint64_t size)
{
	return size && !((va | size) & (pgt_span(pgt, PGT_LAST_LEVEL) - 1)) &&
		pgt_va_is_valid(pgt, va) && size <= (UINT64_C(1) << pgt->va_bits) - va;
}

typedef void *(*pgt_pa_to_va_t)(void *ctx, uint64_t pa);

/* @p pa_to_va is that of pgt->mem: a constant NULL leaves the call out. */
static inline _Atomic uint64_t *
pgt_next_table_by(const struct pgt *pgt, pgt_pa_to_va_t pa_to_va, uint64_t e)
{
	uint64_t pa = e & pgt->addr_mask;

	if (pa_to_va)
		return pa_to_va(pgt->mem.ctx, pa);
	return (_Atomic uint64_t *)(uintptr_t)(pa + pgt->window);
}

static inline _Atomic uint64_t *
pgt_next_table(const struct pgt *pgt, uint64_t e)
{
	return pgt_next_table_by(pgt, pgt->mem.pa_to_va, e);
}

/*
 * Walk from the root to the entry of va that is not a table, or, if whole_end is not 0, to the
 * first entry that lies entirely in [va, whole_end). The caller has checked va.
 */
static inline void
pgt_find_entry(const struct pgt *pgt, uint64_t va, uint64_t whole_end, struct pgt_pos *pos)
{
	unsigned int level = pgt->start_level;
	unsigned int shift = pgt->start_shift;
	uint64_t mask = pgt_nb_entries(pgt) - 1;
	/* Concatenated tables are one array: all bits of va index it. */
	_Atomic uint64_t *entry = &pgt->root[va >> shift];
	uint64_t e;

	for (;;) {
		e = ent_load(entry);
		if (!ent_is_table(e, level))
			break;
		if (whole_end && !(va & ((UINT64_C(1) << shift) - 1)) &&
		    whole_end - va >= UINT64_C(1) << shift)
			break;
		shift -= pgt->index_bits;
		level++;
		entry = &pgt_next_table(pgt, e)[(va >> shift) & mask];
	}
	pos->entry = entry;
	pos->e = e;
	pos->level = level;
}

/* Move to the next entry, at va: the neighbour at the last level, else walk from the root. */
static inline void
pgt_find_next_entry(const struct pgt *pgt, uint64_t va, uint64_t whole_end, struct pgt_pos *pos)
{
	if (pos->level == PGT_LAST_LEVEL &&
	    (va & (pgt_span(pgt, PGT_LAST_LEVEL - 1) - 1))) {
		pos->entry++;
		pos->e = ent_load(pos->entry);
	} else if (pgt_va_is_valid(pgt, va)) {
		pgt_find_entry(pgt, va, whole_end, pos);
	}
}

/*
 * The level whose blocks have this size, or the last level: 1 GiB and 2 MiB with 4 KiB granules, 32
 * MiB with 16 KiB, 512 MiB with 64 KiB.
 */
static inline unsigned int
pgt_find_block_level(const struct pgt *pgt, uint64_t size)
{
	unsigned int level = pgt->granule_log2 == 12 ? 1 : 2;

	if (level < pgt->start_level)
		level = pgt->start_level;
	while (level < PGT_LAST_LEVEL && pgt_span(pgt, level) != size)
		level++;
	return level;
}

/* The entry of va at this level spans only addresses in [va, end). */
static inline bool
pgt_is_whole(const struct pgt *pgt, unsigned int level, uint64_t va, uint64_t end)
{
	uint64_t span = pgt_span(pgt, level);

	return !(va & (span - 1)) && end - va >= span;
}

static inline uint64_t
pgt_entry_end(const struct pgt *pgt, unsigned int level, uint64_t va)
{
	return (va | (pgt_span(pgt, level) - 1)) + 1;
}

/*
 * Replace pos->e (invalid or closed) by a table; all its entries are closed if pos->e was closed. A
 * thread that loses the race frees its own table. The caller walks again. Returns 0, -ENOMEM or
 * -EFAULT.
 */
int pgt_table_make(struct pgt *pgt, const struct pgt_pos *pos);

/* One table, zeroed. Returns 0, -ENOMEM or -EFAULT. */
int pgt_table_alloc(struct pgt *pgt, _Atomic uint64_t **table, uint64_t *pa);

/* Free one table that no walk reaches any more. */
void pgt_table_free(struct pgt *pgt, _Atomic uint64_t *table);

#endif /* PGT_WALK_H */
