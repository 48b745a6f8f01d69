/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Random calls on random tables of both stages. An array per area says what each page must be; the
 * results of the calls, pgt_walk() and the walker of the test are compared with it.
 */

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
	uint32_t prot;
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

	return !w->info.stage2 && choose(w, 3) == 0 ? prot | PGT_PRIV : prot;
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
resolve_result(const struct unit *unit, uint32_t prot)
{
	switch (unit->state) {
	case PGT_VALID:
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
	assert_int_equal(leaf.prot, unit->prot | PGT_READ);
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

static void
call_protect(struct world *w, struct area *area, unsigned int first, unsigned int nb)
{
	struct pgt_unmapped out;
	struct pgt_inv inv[UNITS];
	uint32_t prot = choose_prot(w);
	uint64_t bytes = 0;
	unsigned int i;

	for (i = first; i < first + nb; i++) {
		if (area->units[i].state != PGT_VALID)
			continue;
		if ((area->units[i].prot | PGT_READ) != (prot | PGT_READ))
			bytes += area->size;
		area->units[i].prot = prot;
	}
	pgt_unmapped_init(&out, inv, UNITS);
	assert_int_equal(pgt_protect(w->pgt, area->va + first * area->size, nb * area->size, prot,
			&out), 0);
	assert_int_equal(out.bytes, bytes);
}

static void
call_unmap(struct world *w, struct area *area, unsigned int first, unsigned int nb)
{
	uint32_t flags = choose(w, 2) ? PGT_CLOSE : 0;
	enum pgt_state left = area->nb == BLOCKS ? PGT_ABSENT : PGT_INVALID;
	struct pgt_unmapped out;
	struct pgt_inv inv[UNITS];
	uint64_t bytes = 0, covered = 0;
	unsigned int i;

	for (i = first; i < first + nb; i++) {
		if (area->units[i].state == PGT_VALID)
			bytes += area->size;
		if (area->units[i].state != PGT_CLOSED)
			area->units[i].state = flags ? PGT_CLOSED : left;
	}
	pgt_unmapped_init(&out, inv, UNITS);
	assert_int_equal(pgt_unmap(w->pgt, area->va + first * area->size, nb * area->size, flags,
			&out), 0);
	assert_int_equal(out.bytes, bytes);
	for (i = 0; i < out.nb_inv; i++) {
		covered += inv[i].size;
		assert_true(inv[i].leaf_only);
		assert_int_equal(inv[i].level, area->nb == BLOCKS ? 2 : 3);
	}
	assert_int_equal(covered, bytes);
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

	switch (choose(w, 9)) {
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
