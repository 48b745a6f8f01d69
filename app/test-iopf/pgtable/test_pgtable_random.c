/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Random calls on random tables of both stages. An array per area says what each page must be; the
 * results of the calls, pgt_walk() and the walker of the test are compared with it.
 */

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "ref_walk.h"
#include "table_rig.h"
#include "test.h"

#define TABLES		40u	/* random tables, of each stage */
#define CALLS		600u	/* for each table */
#define AREAS		4u
#define UNITS		48u	/* pages of an area, or blocks of the last area */
#define BLOCKS		8u

struct unit {
	enum pgt_state state;
	uint64_t pa;
	uint32_t prot;			/* with PGT_OLD and PGT_CLEAN */
	uint64_t tag;
	struct pgt_ticket ticket;
};

struct area {
	uint64_t va;
	uint64_t size;			/* of a unit */
	unsigned int nb;
	struct unit units[UNITS];
};

struct world {
	struct mem mem;
	struct pgt *pgt;
	struct pgt_info info;
	struct ref_table ref;
	struct area areas[AREAS];
	unsigned int nb_areas;
	uint64_t next_tag;
	uint32_t seed;
};

static uint32_t
choose(struct world *w, uint32_t n)
{
	/* xorshift32 */
	w->seed ^= w->seed << 13;
	w->seed ^= w->seed >> 17;
	w->seed ^= w->seed << 5;
	return (uint32_t)(((uint64_t)w->seed * n) >> 32);
}

static uint32_t
choose_prot(struct world *w)
{
	uint32_t prot = choose(w, 7) + 1;

	if (!w->info.stage2 && choose(w, 3) == 0)
		prot |= PGT_PRIV;
	if (choose(w, 3) == 0)
		prot |= PGT_OLD;
	if (choose(w, 3) == 0)
		prot |= PGT_CLEAN;
	return prot;
}

static bool
is_clean(uint32_t prot)
{
	return (prot & (PGT_WRITE | PGT_CLEAN)) != PGT_WRITE;
}

static uint64_t
choose_pa(struct world *w, uint64_t align)
{
	return ((uint64_t)choose(w, UINT32_MAX) << 16 ^ choose(w, UINT32_MAX)) & ~(align - 1) &
		((UINT64_C(1) << 48) - 1);
}

/* Read is implied. Without privilege, writable excludes executable with privilege. */
static bool
lacks(uint32_t have, uint32_t want)
{
	have |= PGT_READ;
	if (want & ~have & (PGT_READ | PGT_WRITE | PGT_EXEC))
		return true;
	if ((have & PGT_PRIV) && !(want & PGT_PRIV))
		return true;
	return (want & PGT_PRIV) && (want & PGT_EXEC) && (have & PGT_WRITE) && !(have & PGT_PRIV);
}

static int
resolve_result(struct unit *unit, uint32_t prot)
{
	switch (unit->state) {
	case PGT_VALID:
		if (!(prot & PGT_OLD))
			unit->prot &= ~PGT_OLD;
		if (!is_clean(prot) && is_clean(unit->prot))
			return -EACCES;
		return lacks(unit->prot, prot) ? -EACCES : -EALREADY;
	case PGT_CLOSED:
		return -ECANCELED;
	case PGT_RESOLVING:
		return -EBUSY;
	case PGT_INVALID:
		return 0;
	default:
		return -ENOENT;
	}
}

static void
check_unit(struct world *w, const struct area *area, unsigned int i)
{
	const struct unit *unit = &area->units[i];
	uint64_t va = area->va + i * area->size;
	struct pgt_leaf leaf = table_walk(w->pgt, va + area->size - 1);

	assert_int_equal(leaf.state, unit->state);
	if (unit->state != PGT_VALID) {
		ref_expect_fault(&w->ref, va);
		ref_expect_fault(&w->ref, va + area->size - 1);
		assert_int_equal(leaf.tag, unit->state == PGT_RESOLVING ? unit->tag : 0);
		return;
	}
	ref_expect_leaf(&w->ref, va, unit->pa, unit->prot, area->size);
	ref_expect_leaf(&w->ref, va + area->size - 1, unit->pa + area->size - 1, unit->prot,
			area->size);
	assert_int_equal(leaf.pa, unit->pa);
	assert_int_equal(leaf.prot, (unit->prot & (PGT_WRITE | PGT_EXEC | PGT_PRIV)) | PGT_READ);
	assert_int_equal(leaf.accessed, !(unit->prot & PGT_OLD));
	assert_int_equal(leaf.dirty, !is_clean(unit->prot));
}

static void
check_all(struct world *w)
{
	unsigned int a, i;

	for (a = 0; a < w->nb_areas; a++)
		for (i = 0; i < w->areas[a].nb; i++)
			check_unit(w, &w->areas[a], i);
}

/* Tables down to the units' level: the units become invalid (or absent, as blocks). */
static void
prepare(struct world *w)
{
	struct area *area;
	unsigned int a, i;

	for (a = 0; a < w->nb_areas; a++) {
		area = &w->areas[a];
		for (i = 0; i < area->nb; i++)
			area->units[i] = (struct unit){
				.state = area->nb == BLOCKS ? PGT_ABSENT : PGT_INVALID,
			};
		if (area->nb != BLOCKS)
			assert_int_equal(pgt_prealloc(w->pgt, area->va, area->nb * area->size), 0);
	}
}

static void
call_resolve(struct world *w, struct area *area, unsigned int i)
{
	struct unit *unit = &area->units[i];
	uint64_t page = UINT64_C(1) << w->info.granule_log2;
	uint64_t va = area->va + i * area->size + choose(w, (uint32_t)page);
	uint64_t pa = choose_pa(w, page);
	uint32_t prot = choose_prot(w);
	int want = resolve_result(unit, prot);

	if (choose(w, 2)) {
		assert_int_equal(pgt_resolve(w->pgt, va, pa, prot), want);
		if (want == 0)
			*unit = (struct unit){ .state = PGT_VALID, .pa = pa, .prot = prot };
		return;
	}
	w->next_tag += 4;
	if (want == 0) {
		assert_int_equal(pgt_resolve_begin(w->pgt, va, prot, w->next_tag, &unit->ticket),
				0);
		unit->state = PGT_RESOLVING;
		unit->tag = w->next_tag;
	} else {
		assert_int_equal(pgt_resolve_begin(w->pgt, va, prot, w->next_tag,
				&(struct pgt_ticket){ NULL, 0, 0 }), want);
	}
}

/* Commit or cancel the last ticket of a page, which may be an old one. */
static void
call_finish(struct world *w, struct area *area, unsigned int i)
{
	struct unit *unit = &area->units[i];
	uint64_t pa = choose_pa(w, UINT64_C(1) << w->info.granule_log2);
	uint32_t prot = choose_prot(w);
	int want = unit->state == PGT_RESOLVING ? 0 : -ECANCELED;

	if (unit->ticket.pgt == NULL)
		return;
	if (choose(w, 4) == 0) {
		assert_int_equal(pgt_resolve_cancel(&unit->ticket), want);
		if (want == 0)
			unit->state = PGT_INVALID;
		return;
	}
	assert_int_equal(pgt_resolve_commit(&unit->ticket, pa, prot), want);
	if (want == 0) {
		unit->state = PGT_VALID;
		unit->pa = pa;
		unit->prot = prot;
	}
}

static void
call_map(struct world *w, struct area *area, unsigned int first, unsigned int nb)
{
	uint64_t pa = choose_pa(w, area->size) & ((UINT64_C(1) << 47) - 1);
	uint32_t prot = choose_prot(w);
	unsigned int i;
	int want = 0;

	for (i = first; i < first + nb && want == 0; i++) {
		if (area->units[i].state == PGT_CLOSED)
			want = -ECANCELED;
		else if (area->units[i].state == PGT_VALID || area->units[i].state == PGT_RESOLVING)
			want = -EEXIST;
	}
	assert_int_equal(pgt_map(w->pgt, area->va + first * area->size, pa, nb * area->size, prot),
			want);
	for (i = first; i < first + nb && want == 0; i++) {
		area->units[i].state = PGT_VALID;
		area->units[i].pa = pa + (i - first) * area->size;
		area->units[i].prot = prot;
	}
}

/* Bitmaps that a call fills, and those that it must fill; two words around each for strays. */
#define MAP_WORDS	(BLOCKS * 8192 / 64 + 2)

struct used {
	struct pgt_used got, want;
	uint64_t accessed[2][MAP_WORDS];
	uint64_t dirty[2][MAP_WORDS];
};

/* The bitmaps cover a random part of the range, of the first granules of blocks. */
static void
used_init(struct world *w, struct used *used, const struct area *area, unsigned int first,
		unsigned int nb)
{
	uint64_t granule = UINT64_C(1) << w->info.granule_log2;
	uint64_t va = area->va + first * area->size, size = nb * area->size;
	uint64_t skip = choose(w, (uint32_t)(size / granule));

	*used = (struct used){ 0 };
	if (choose(w, 2))
		skip = 0;
	used->got.va = va + skip * granule;
	used->got.size = (1 + choose(w, (uint32_t)(size / granule - skip))) * granule;
	used->want = used->got;
	used->got.accessed = &used->accessed[0][1];
	used->got.dirty = &used->dirty[0][1];
	used->want.accessed = &used->accessed[1][1];
	used->want.dirty = &used->dirty[1][1];
}

static void
used_expect(struct world *w, struct used *used, const struct area *area, unsigned int i,
		bool accessed, bool dirty)
{
	uint64_t granule = UINT64_C(1) << w->info.granule_log2, va, n;

	used->want.accessed_bytes += accessed ? area->size : 0;
	used->want.dirty_bytes += dirty ? area->size : 0;
	for (va = area->va + i * area->size; va < area->va + (i + 1) * area->size; va += granule) {
		n = (va - used->want.va) / granule;
		if (va < used->want.va || n >= used->want.size / granule)
			continue;
		used->want.accessed[n / 64] |= (uint64_t)accessed << n % 64;
		used->want.dirty[n / 64] |= (uint64_t)dirty << n % 64;
	}
}

static void
used_check(const struct used *used)
{
	assert_int_equal(used->got.accessed_bytes, used->want.accessed_bytes);
	assert_int_equal(used->got.dirty_bytes, used->want.dirty_bytes);
	assert_memory_equal(used->accessed[0], used->accessed[1], sizeof(used->accessed[0]));
	assert_memory_equal(used->dirty[0], used->dirty[1], sizeof(used->dirty[0]));
}

/* PGT_CLEAN without PGT_WRITE has no effect. */
static uint32_t
normalize(uint32_t prot)
{
	return (prot & PGT_WRITE ? prot : prot & ~PGT_CLEAN) | PGT_READ;
}

static void
call_protect(struct world *w, struct area *area, unsigned int first, unsigned int nb)
{
	struct pgt_unmapped out;
	struct pgt_inv inv[UNITS];
	uint32_t prot = choose_prot(w) & ~PGT_OLD, now;
	struct used used;
	uint64_t bytes = 0;
	unsigned int i;

	used_init(w, &used, area, first, nb);
	for (i = first; i < first + nb; i++) {
		if (area->units[i].state != PGT_VALID)
			continue;
		now = prot;
		if (!is_clean(area->units[i].prot))
			now &= ~PGT_CLEAN;
		if (!(now & PGT_WRITE)) {
			used_expect(w, &used, area, i, false, !is_clean(area->units[i].prot));
			now &= ~PGT_CLEAN;
		}
		now |= (area->units[i].prot & PGT_OLD) | PGT_READ;
		if (normalize(area->units[i].prot) != now)
			bytes += area->size;
		area->units[i].prot = now;
	}
	pgt_unmapped_init(&out, inv, UNITS);
	out.used = &used.got;
	assert_int_equal(pgt_protect(w->pgt, area->va + first * area->size, nb * area->size, prot,
			&out), 0);
	assert_int_equal(out.bytes, bytes);
	used_check(&used);
}

static void
call_unmap(struct world *w, struct area *area, unsigned int first, unsigned int nb)
{
	uint32_t flags = choose(w, 2) ? PGT_CLOSE : 0;
	enum pgt_state left = area->nb == BLOCKS ? PGT_ABSENT : PGT_INVALID;
	struct pgt_unmapped out;
	struct pgt_inv inv[UNITS];
	uint64_t bytes = 0, covered = 0;
	struct used used;
	unsigned int i;

	used_init(w, &used, area, first, nb);
	for (i = first; i < first + nb; i++) {
		if (area->units[i].state == PGT_VALID) {
			bytes += area->size;
			used_expect(w, &used, area, i, !(area->units[i].prot & PGT_OLD),
					!is_clean(area->units[i].prot));
		}
		if (area->units[i].state != PGT_CLOSED)
			area->units[i].state = flags ? PGT_CLOSED : left;
	}
	pgt_unmapped_init(&out, inv, UNITS);
	out.used = &used.got;
	assert_int_equal(pgt_unmap(w->pgt, area->va + first * area->size, nb * area->size, flags,
			&out), 0);
	assert_int_equal(out.bytes, bytes);
	for (i = 0; i < out.nb_inv; i++) {
		covered += inv[i].size;
		assert_true(inv[i].leaf_only);
		assert_int_equal(inv[i].level, area->nb == BLOCKS ? 2 : 3);
	}
	assert_int_equal(covered, bytes);
	used_check(&used);
}

static void
call_harvest(struct world *w, struct area *area, unsigned int first, unsigned int nb)
{
	uint32_t flags = choose(w, 16);
	struct pgt_unmapped out;
	struct pgt_inv inv[UNITS];
	uint64_t bytes = 0, covered = 0;
	bool accessed, dirty;
	struct used used;
	unsigned int i;

	if (!(flags & (PGT_ACCESSED | PGT_DIRTY)))
		return;
	used_init(w, &used, area, first, nb);
	for (i = first; i < first + nb; i++) {
		if (area->units[i].state != PGT_VALID)
			continue;
		accessed = (flags & PGT_ACCESSED) && !(area->units[i].prot & PGT_OLD);
		dirty = (flags & PGT_DIRTY) && !is_clean(area->units[i].prot);
		used_expect(w, &used, area, i, accessed, dirty);
		if (flags & PGT_KEEP)
			continue;
		if (dirty || (accessed && (flags & PGT_INV_ACCESSED)))
			bytes += area->size;
		area->units[i].prot |= (accessed ? PGT_OLD : 0) | (dirty ? PGT_CLEAN : 0);
	}
	pgt_unmapped_init(&out, inv, UNITS);
	out.used = &used.got;
	assert_int_equal(pgt_harvest(w->pgt, area->va + first * area->size, nb * area->size, flags,
			&out), 0);
	assert_int_equal(out.bytes, bytes);
	for (i = 0; i < out.nb_inv; i++)
		covered += inv[i].size;
	assert_int_equal(covered, bytes);
	used_check(&used);
}

/* What an SMMU with HA and HD does at an access. */
static void
play_smmu(struct world *w, struct area *area, unsigned int i)
{
	struct unit *unit = &area->units[i];
	struct ref_leaf leaf;
	uint64_t *desc;

	if (unit->state != PGT_VALID)
		return;
	assert_int_equal(ref_walk(&w->ref, area->va + i * area->size, &leaf), REF_LEAF);
	desc = (uint64_t *)(uintptr_t)leaf.desc;
	*desc |= htole64(UINT64_C(1) << 10);
	unit->prot &= ~PGT_OLD;
	if (choose(w, 2) && leaf.dbm && is_clean(unit->prot)) {
		*desc ^= htole64(UINT64_C(1) << 7);
		unit->prot &= ~PGT_CLEAN;
	}
}

static void
call_open(struct world *w, struct area *area, unsigned int first, unsigned int nb)
{
	unsigned int i;

	for (i = first; i < first + nb; i++)
		if (area->units[i].state == PGT_CLOSED)
			area->units[i].state = area->nb == BLOCKS ? PGT_ABSENT : PGT_INVALID;
	assert_int_equal(pgt_open(w->pgt, area->va + first * area->size, nb * area->size), 0);
}

/* Unmap the whole space with its tables: the root alone is left. */
static void
call_unmap_all(struct world *w)
{
	uint32_t flags = PGT_TABLES | (choose(w, 2) ? PGT_CLOSE : 0);
	uint64_t size = UINT64_C(1) << w->info.va_bits, bytes = 0;
	struct pgt_unmapped out;
	struct pgt_info info;
	struct pgt_inv inv[1];
	unsigned int a, i;

	for (a = 0; a < w->nb_areas; a++)
		for (i = 0; i < w->areas[a].nb; i++)
			if (w->areas[a].units[i].state == PGT_VALID)
				bytes += w->areas[a].size;
	/* A range that is closed already stays closed: open it first. */
	assert_int_equal(pgt_open(w->pgt, 0, size), 0);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_unmap(w->pgt, 0, size, flags, &out), 0);
	assert_int_equal(out.bytes, bytes);
	for (a = 0; a < w->nb_areas; a++)
		for (i = 0; i < w->areas[a].nb; i++)
			ref_expect_fault(&w->ref, w->areas[a].va + i * w->areas[a].size);
	pgt_free_tables(w->pgt, &out.tables);
	pgt_info(w->pgt, &info);
	assert_int_equal(info.nb_tables, info.root_tables);
	if (flags & PGT_CLOSE)
		assert_int_equal(pgt_open(w->pgt, 0, size), 0);
	prepare(w);
}

static void
call_any(struct world *w)
{
	struct area *area = &w->areas[choose(w, w->nb_areas)];
	unsigned int first = choose(w, area->nb);
	unsigned int nb = 1 + choose(w, area->nb - first);
	bool pages = area->nb != BLOCKS;

	switch (choose(w, 12)) {
	case 0:
	case 1:
	case 2:
		if (pages)
			call_resolve(w, area, first);
		break;
	case 3:
		if (pages)
			call_finish(w, area, first);
		break;
	case 4:
		call_map(w, area, first, 1 + choose(w, nb > 4 ? 4 : nb));
		break;
	case 5:
		call_protect(w, area, first, nb);
		break;
	case 6:
		call_unmap(w, area, first, 1 + choose(w, nb));
		break;
	case 7:
		call_open(w, area, first, nb);
		break;
	case 8:
	case 9:
		call_harvest(w, area, first, nb);
		break;
	case 10:
		play_smmu(w, area, first);
		break;
	default:
		if (choose(w, 60) == 0)
			call_unmap_all(w);
	}
	check_unit(w, area, first);
}

static void
make_areas(struct world *w)
{
	uint64_t page = UINT64_C(1) << w->info.granule_log2;
	uint64_t block = page << (w->info.granule_log2 - 3);
	uint64_t size = UINT64_C(1) << w->info.va_bits;
	uint64_t span = size / w->info.root_tables;
	uint64_t edge = span * (1 + choose(w, w->info.root_tables));

	/* The first pages, the last ones, and those around an edge of the root's tables. */
	w->areas[w->nb_areas++] = (struct area){ .va = 0, .size = page, .nb = UNITS };
	w->areas[w->nb_areas++] = (struct area){
		.va = size - UNITS * page, .size = page, .nb = UNITS,
	};
	if (edge < size)
		w->areas[w->nb_areas++] = (struct area){
			.va = edge - UNITS / 2 * page, .size = page, .nb = UNITS,
		};
	/* Blocks, if there are enough away from the other areas. */
	if (w->info.start_level < 3 && span >= 64 * block)
		w->areas[w->nb_areas++] = (struct area){
			.va = span / 2, .size = block, .nb = BLOCKS,
		};
}

static void
run_table(bool stage2, uint32_t seed)
{
	struct world w = { .seed = seed };
	struct pgt_conf conf;
	unsigned int i;

	conf = (struct pgt_conf){
		.granule_log2 = 12 + 2 * choose(&w, 3),
		.va_bits = 25 + choose(&w, 24),
		.stage2 = stage2,
		.mem = mem_heap(&w.mem),
	};
	w.pgt = pgt_create(&conf);
	assert_non_null(w.pgt);
	pgt_info(w.pgt, &w.info);
	w.ref = ref_table_of(w.pgt, ref_read_pointer, NULL);
	make_areas(&w);
	prepare(&w);
	check_all(&w);
	for (i = 0; i < CALLS; i++) {
		call_any(&w);
		if (i % 32 == 0)
			check_all(&w);
	}
	check_all(&w);
	pgt_destroy(w.pgt);
	assert_int_equal(w.mem.nb_alloc, w.mem.nb_free);
}

static void
run(bool stage2)
{
	uint32_t seed = test_seed("random calls of pgtable");
	unsigned int i;

	for (i = 0; i < TABLES * test_scale(); i++) {
		run_table(stage2, seed);
		seed = seed * 1664525u + 1013904223u;
		if (seed == 0)
			seed = 1;
	}
}

static void
random_calls_on_stage_1(void **arg)
{
	(void)arg;
	run(false);
}

static void
random_calls_on_stage_2(void **arg)
{
	(void)arg;
	run(true);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(random_calls_on_stage_1),
	cmocka_unit_test(random_calls_on_stage_2),
};
TEST_SUITE(pgtable_random, tests, NULL, NULL);
