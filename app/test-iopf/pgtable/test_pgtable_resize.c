/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Blocks split into tables, tables joined to blocks, and faults that map blocks. */

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include <pgtable_resize.h>

#include "ref_walk.h"
#include "table_rig.h"
#include "test.h"

#define RW	(PGT_READ | PGT_WRITE)
#define CLEAN	(RW | PGT_OLD | PGT_CLEAN)
#define PA	(5 * G1)

struct resize_rig {
	struct mem mem;
	struct pgt *pgt;
	struct ref_table ref;
	struct pgt_inv inv[2];
	struct pgt_unmapped out;
	struct pgt_resize resize;
};

static uint64_t
read_rig(void *ctx, uint64_t pa)
{
	return table_desc(ctx, pa, 0);
}

static void
resize_open(struct resize_rig *r, unsigned int granule_log2)
{
	r->pgt = table_open(&r->mem, granule_log2, 48 - (granule_log2 == 12 ? 9 : 1));
	r->ref = ref_table_of(r->pgt, read_rig, &r->mem);
	pgt_unmapped_init(&r->out, r->inv, 2);
}

static unsigned int
count_tables(const struct pgt *pgt)
{
	struct pgt_info info;

	pgt_info(pgt, &info);
	return info.nb_tables;
}

static void
split_maps_the_same_pages_with_the_same_flags(void **arg)
{
	static const uint32_t prots[] = { RW, CLEAN, PGT_READ | PGT_EXEC, RW | PGT_OLD };
	/* A block, the leaves that it is split into, and their number. */
	static const struct { unsigned int granule_log2; uint64_t block, leaf; } rows[] = {
		{ 12, M2, K4 }, { 12, G1, M2 }, { 14, 0x2000000, 0x4000 },
		{ 16, 0x20000000, 0x10000 },
	};
	struct resize_rig r;
	uint64_t va, i;

	(void)arg;
	for (i = 0; i < 16; i++) {
		uint64_t block = rows[i / 4].block, leaf = rows[i / 4].leaf;

		resize_open(&r, rows[i / 4].granule_log2);
		assert_int_equal(pgt_map(r.pgt, 4 * G1, PA, block, prots[i % 4]), 0);
		ref_expect_leaf(&r.ref, 4 * G1, PA, prots[i % 4], block);
		assert_int_equal(pgt_split_begin(r.pgt, 4 * G1 + block - 1, &r.resize, &r.out), 0);
		/* Break: a device and a resolver find nothing. */
		ref_expect_fault(&r.ref, 4 * G1);
		assert_int_equal(table_state(r.pgt, 4 * G1 + leaf), PGT_CLOSED);
		assert_int_equal(pgt_resolve(r.pgt, 4 * G1, 0, PGT_READ), -ECANCELED);
		assert_int_equal(r.out.nb_inv, 1);
		assert_int_equal(r.inv[0].va, 4 * G1);
		assert_int_equal(r.inv[0].size, block);
		assert_int_equal(r.inv[0].level, i / 4 == 1 ? 1 : 2);
		assert_int_equal(r.out.bytes, block);
		assert_false(r.resize.block);
		assert_int_equal(pgt_resize_end(&r.resize), 0);
		for (va = 0; va < block; va += leaf)
			ref_expect_leaf(&r.ref, 4 * G1 + va, PA + va, prots[i % 4], leaf);
		table_close(&r.mem);
	}
}

static void
join_maps_the_same_pages_as_one_block(void **arg)
{
	struct resize_rig r;

	(void)arg;
	resize_open(&r, 12);
	assert_int_equal(pgt_map(r.pgt, G1, PA, M2, RW | PGT_PAGES_ONLY), 0);
	assert_int_equal(count_tables(r.pgt), 3);
	assert_int_equal(pgt_join_begin(r.pgt, G1, M2, &r.resize, &r.out), 0);
	ref_expect_fault(&r.ref, G1);
	assert_int_equal(pgt_resolve(r.pgt, G1, 0, PGT_READ), -ECANCELED);
	assert_int_equal(pgt_prealloc(r.pgt, G1, M2), -ECANCELED);
	/* A table went: its pointer is to be invalidated too. */
	assert_int_equal(r.out.nb_inv, 1);
	assert_int_equal(r.inv[0].size, M2);
	assert_int_equal(r.inv[0].level, 0);
	assert_false(r.inv[0].leaf_only);
	assert_int_equal(r.out.bytes, M2);
	assert_int_equal(r.out.tables.nb, 1);
	assert_true(r.resize.block);
	assert_int_equal(pgt_resize_end(&r.resize), 0);
	ref_expect_leaf(&r.ref, G1 + M2 - 1, PA + M2 - 1, RW, M2);
	if (!table_stage2)
		assert_int_equal(table_desc(&r.mem, 0x40001000, 0), 0x0060000140000f41);
	pgt_free_tables(r.pgt, &r.out.tables);
	assert_int_equal(count_tables(r.pgt), 2);
	assert_int_equal(pgt_join_begin(r.pgt, G1, M2, &r.resize, &r.out), -EALREADY);
	/* And 512 blocks of 2M to one of 1G. */
	assert_int_equal(pgt_map(r.pgt, G1 + M2, PA + M2, G1 - M2, RW), 0);
	pgt_unmapped_init(&r.out, r.inv, 2);
	assert_int_equal(pgt_join_begin(r.pgt, G1, G1, &r.resize, &r.out), 0);
	assert_int_equal(pgt_resize_end(&r.resize), 0);
	ref_expect_leaf(&r.ref, G1 + G1 / 2, PA + G1 / 2, RW, G1);
	pgt_free_tables(r.pgt, &r.out.tables);
	assert_int_equal(count_tables(r.pgt), 1);
	table_close(&r.mem);
}

static void
join_adds_the_flags_of_the_leaves(void **arg)
{
	/* Of page 7; all others are clean and not accessed. */
	static const uint32_t prots[] = { CLEAN, RW | PGT_CLEAN, RW | PGT_OLD, RW };
	struct resize_rig r;
	unsigned int i;

	(void)arg;
	for (i = 0; i < 4; i++) {
		resize_open(&r, 12);
		assert_int_equal(pgt_map(r.pgt, 0, PA, 7 * K4, CLEAN), 0);
		assert_int_equal(pgt_map(r.pgt, 7 * K4, PA + 7 * K4, K4, prots[i]), 0);
		assert_int_equal(pgt_map(r.pgt, 8 * K4, PA + 8 * K4, M2 - 8 * K4, CLEAN), 0);
		assert_int_equal(pgt_join_begin(r.pgt, 0, M2, &r.resize, &r.out), 0);
		assert_int_equal(pgt_resize_end(&r.resize), 0);
		ref_expect_leaf(&r.ref, 0, PA, prots[i], M2);
		pgt_free_tables(r.pgt, &r.out.tables);
		table_close(&r.mem);
	}
}

static void
resize_is_refused_without_a_change(void **arg)
{
	struct resize_rig r;
	unsigned int i;

	(void)arg;
	resize_open(&r, 12);
	assert_int_equal(pgt_split_begin(r.pgt, 0, &r.resize, &r.out), -ENOENT);
	assert_int_equal(pgt_join_begin(r.pgt, 0, M2, &r.resize, &r.out), -ENOENT);
	assert_int_equal(pgt_join_begin(r.pgt, 0, K4, &r.resize, &r.out), -EINVAL);
	assert_int_equal(pgt_join_begin(r.pgt, 0, 2 * M2, &r.resize, &r.out), -EINVAL);
	assert_int_equal(pgt_join_begin(r.pgt, K4, M2, &r.resize, &r.out), -EINVAL);
	assert_int_equal(pgt_join_begin(r.pgt, 0, M2, NULL, &r.out), -EINVAL);
	assert_int_equal(pgt_split_begin(r.pgt, UINT64_C(1) << 39, &r.resize, &r.out), -EINVAL);
	assert_int_equal(pgt_split_begin(r.pgt, 0, &r.resize, NULL), -EINVAL);
	/* One page short; another right; another page; not aligned. */
	assert_int_equal(pgt_map(r.pgt, 0, PA, M2 - K4, RW | PGT_PAGES_ONLY), 0);
	assert_int_equal(pgt_map(r.pgt, M2, PA, M2 - K4, RW | PGT_PAGES_ONLY), 0);
	assert_int_equal(pgt_map(r.pgt, 2 * M2 - K4, PA + M2 - K4, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(r.pgt, 2 * M2, PA, M2 - K4, RW | PGT_PAGES_ONLY), 0);
	assert_int_equal(pgt_map(r.pgt, 3 * M2 - K4, PA, K4, RW), 0);
	assert_int_equal(pgt_map(r.pgt, 3 * M2, PA + K4, M2, RW | PGT_PAGES_ONLY), 0);
	for (i = 0; i < 4; i++)
		assert_int_equal(pgt_join_begin(r.pgt, i * M2, M2, &r.resize, &r.out), -ENOENT);
	assert_int_equal(pgt_split_begin(r.pgt, 0, &r.resize, &r.out), -ENOENT);
	/* No memory. */
	assert_int_equal(pgt_map(r.pgt, 4 * M2, PA, M2, RW), 0);
	assert_int_equal(pgt_map(r.pgt, 5 * M2, PA, M2, RW | PGT_PAGES_ONLY), 0);
	r.mem.fail_from = r.mem.nb_alloc + 1;
	assert_int_equal(pgt_split_begin(r.pgt, 4 * M2, &r.resize, &r.out), -ENOMEM);
	assert_int_equal(pgt_join_begin(r.pgt, 5 * M2, M2, &r.resize, &r.out), -ENOMEM);
	assert_int_equal(r.out.nb_inv, 0);
	assert_int_equal(r.out.tables.nb, 0);
	ref_expect_leaf(&r.ref, 4 * M2, PA, RW, M2);
	ref_expect_leaf(&r.ref, 6 * M2 - K4, PA + M2 - K4, RW, K4);
	r.mem.fail_from = 0;
	table_close(&r.mem);
}

static struct pgt_ticket ticket;

/* Between the check of the leaves and their close. */
static void
unmap_two_pages(struct mem *mem)
{
	struct pgt_unmapped out;
	struct pgt_inv inv[2];

	pgt_unmapped_init(&out, inv, 2);
	mem->hook_rc = pgt_unmap(mem->pgt, 3 * K4, 2 * K4, 0, &out);
	mem->hook_rc |= pgt_resolve_begin(mem->pgt, 4 * K4, PGT_READ, 64, &ticket);
}

static void
join_that_lost_a_leaf_restores_the_table(void **arg)
{
	struct resize_rig r;

	(void)arg;
	resize_open(&r, 12);
	assert_int_equal(pgt_map(r.pgt, 0, PA, M2, RW | PGT_PAGES_ONLY), 0);
	r.mem.hook = unmap_two_pages;
	r.mem.hook_rc = -1;
	assert_int_equal(pgt_join_begin(r.pgt, 0, M2, &r.resize, &r.out), 0);
	assert_int_equal(r.mem.hook_rc, 0);
	assert_false(r.resize.block);
	ref_expect_fault(&r.ref, 0);
	assert_int_equal(pgt_resize_end(&r.resize), 0);
	ref_expect_leaf(&r.ref, 2 * K4, PA + 2 * K4, RW, K4);
	ref_expect_leaf(&r.ref, M2 - K4, PA + M2 - K4, RW, K4);
	assert_int_equal(table_state(r.pgt, 3 * K4), PGT_INVALID);
	/* The resolver lost its marker, as to an unmap. */
	assert_int_equal(table_state(r.pgt, 4 * K4), PGT_INVALID);
	assert_int_equal(pgt_resolve_commit(&ticket, PA, RW), -ECANCELED);
	assert_int_equal(pgt_resolve(r.pgt, 4 * K4, PA + 4 * K4, RW), 0);
	pgt_free_tables(r.pgt, &r.out.tables);
	assert_int_equal(count_tables(r.pgt), 3);
	table_close(&r.mem);
}

static void
unmap_block(struct mem *mem)
{
	struct pgt_unmapped out;
	struct pgt_inv inv[1];

	pgt_unmapped_init(&out, inv, 1);
	mem->hook_rc = pgt_unmap(mem->pgt, 0, M2, 0, &out);
}

static void
resize_loses_to_unmap(void **arg)
{
	struct resize_rig r;

	(void)arg;
	resize_open(&r, 12);
	assert_int_equal(pgt_map(r.pgt, 0, PA, M2, RW), 0);
	r.mem.hook = unmap_block;
	assert_int_equal(pgt_split_begin(r.pgt, 0, &r.resize, &r.out), -EAGAIN);
	assert_int_equal(r.mem.hook_rc, 0);
	assert_int_equal(table_state(r.pgt, 0), PGT_ABSENT);
	/* Given up: opened before the end. */
	assert_int_equal(pgt_map(r.pgt, 0, PA, M2, RW), 0);
	assert_int_equal(pgt_split_begin(r.pgt, 0, &r.resize, &r.out), 0);
	assert_int_equal(pgt_open(r.pgt, 0, M2), 0);
	assert_int_equal(pgt_resize_end(&r.resize), -ECANCELED);
	assert_int_equal(table_state(r.pgt, 0), PGT_ABSENT);
	assert_int_equal(count_tables(r.pgt), 2);
	table_close(&r.mem);
}

static void
resolve_maps_a_block_where_no_table_is(void **arg)
{
	struct resize_rig r;

	(void)arg;
	resize_open(&r, 12);
	/* No table above it. */
	assert_int_equal(pgt_resolve_block(r.pgt, 2 * M2, PA, M2, RW), -ENOENT);
	assert_int_equal(pgt_prealloc(r.pgt, 0, M2), 0);
	assert_int_equal(pgt_resolve_block(r.pgt, 2 * M2, PA, M2, RW), 0);
	ref_expect_leaf(&r.ref, 3 * M2 - 1, PA + M2 - 1, RW, M2);
	assert_int_equal(pgt_resolve_block(r.pgt, 2 * M2, PA, M2, PGT_READ), -EALREADY);
	assert_int_equal(pgt_resolve_block(r.pgt, 2 * M2, PA, M2, RW | PGT_EXEC), -EACCES);
	/* A table of pages, whose entry stays as it is. */
	assert_int_equal(pgt_resolve_block(r.pgt, 0, PA, M2, RW), -ENOENT);
	assert_int_equal(pgt_resolve(r.pgt, 0, PA, RW), 0);
	assert_int_equal(pgt_resolve_block(r.pgt, 0, PA, G1, RW), -ENOENT);
	assert_int_equal(pgt_unmap(r.pgt, 4 * M2, M2, PGT_CLOSE, &r.out), 0);
	assert_int_equal(pgt_resolve_block(r.pgt, 4 * M2, PA, M2, RW), -ECANCELED);
	/* 1 GiB, and 2 MiB inside it. */
	assert_int_equal(pgt_resolve_block(r.pgt, G1, 2 * G1, G1, PGT_READ | PGT_OLD), 0);
	ref_expect_leaf(&r.ref, 2 * G1 - 1, 3 * G1 - 1, PGT_READ | PGT_OLD, G1);
	assert_int_equal(pgt_resolve_block(r.pgt, G1 + M2, 2 * G1 + M2, M2, PGT_READ), -EALREADY);
	ref_expect_leaf(&r.ref, G1, 2 * G1, PGT_READ, G1);
	/* Refused. */
	assert_int_equal(pgt_resolve_block(r.pgt, 6 * M2, PA, K4, RW), -EINVAL);
	assert_int_equal(pgt_resolve_block(r.pgt, 6 * M2, PA, 2 * M2, RW), -EINVAL);
	assert_int_equal(pgt_resolve_block(r.pgt, 6 * M2 + K4, PA, M2, RW), -EINVAL);
	assert_int_equal(pgt_resolve_block(r.pgt, 6 * M2, PA + K4, M2, RW), -EINVAL);
	assert_int_equal(pgt_resolve_block(r.pgt, 6 * M2, PA, M2, 0), -EINVAL);
	assert_int_equal(pgt_resolve_block(r.pgt, UINT64_C(1) << 39, PA, M2, RW), -EINVAL);
	assert_int_equal(pgt_resolve_block(r.pgt, 6 * M2, UINT64_C(1) << 48, M2, RW), -EINVAL);
	assert_int_equal(table_state(r.pgt, 6 * M2), PGT_ABSENT);
	table_close(&r.mem);
}

#define RACE_ROUNDS	1000u
#define RACE_PAGES	512u

struct resize_race {
	struct ref_table ref;
	uint64_t walked;		/* the descriptor that ended the last walk */
	_Atomic unsigned int round;	/* the writer works while it is not equal to done */
	_Atomic unsigned int done;
	_Atomic bool stop, started, go, resized;
	uint64_t written[RACE_PAGES / 64];	/* pages whose write passed in this round */
};

/* A descriptor that changes: read at once. @p ctx keeps the last one, which ends the walk. */
static uint64_t
read_atomic(void *ctx, uint64_t pa)
{
	uint64_t *last = ctx;

	*last = le64toh(atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)pa,
			memory_order_acquire));
	return *last;
}

/*
 * An SMMU with HD: a write passes if the leaf is dirty, or becomes so by a swap. Both compare with
 * what the walk read: the entry of a block may hold the pointer to a table now, whose bit 7 says
 * nothing.
 */
static bool
play_write(_Atomic uint64_t *desc, uint64_t e)
{
	uint64_t raw = htole64(e);

	if (!(e & 1))
		return false;
	if (table_stage2 ? (e & 0x80) != 0 : !(e & 0x80))
		return true;
	return atomic_compare_exchange_strong(desc, &raw, htole64(e ^ 0x80));
}

/* The descriptor of a page, or of the first page, whose table the SMMU may have cached; or NULL. */
static _Atomic uint64_t *
find_desc(const struct ref_table *ref, uint64_t va, uint64_t size)
{
	struct ref_leaf leaf;

	if (ref_walk(ref, va, &leaf) != REF_LEAF || (size != 0 && leaf.size != size))
		return NULL;
	return (_Atomic uint64_t *)(uintptr_t)leaf.desc;
}

static void
write_page(struct resize_race *race, _Atomic uint64_t *desc, uint64_t e, unsigned int page)
{
	if (desc != NULL && play_write(desc, e))
		race->written[page / 64] |= UINT64_C(1) << page % 64;
}

/*
 * While the table is joined: one page, through a cached pointer to the table, from the moment the
 * table is unlinked. One page only, since it makes the whole block dirty.
 */
static void
write_during_join(struct resize_race *race, _Atomic uint64_t *table)
{
	unsigned int page = race->round / 2 % 32, spins = 0;

	while (!race->resized && find_desc(&race->ref, 0, 0) != NULL)
		if (spins++ > 10000)
			sched_yield();
	while (!race->resized)
		write_page(race, &table[page], le64toh(table[page]), page);
}

/* While the block is split, and once behind that: any page. */
static void
write_during_split(struct resize_race *race)
{
	unsigned int page = race->round, spins = 0, left;
	_Atomic uint64_t *desc;

	while (!race->go)
		if (spins++ > 10000)
			sched_yield();
	for (left = 2; left > 0; left -= race->resized) {
		page = (page + 167) % RACE_PAGES;
		desc = find_desc(&race->ref, page * K4, 0);
		write_page(race, desc, race->walked, page);
	}
}

static void *
write_pages(void *p)
{
	struct resize_race *race = p;
	_Atomic uint64_t *table;

	while (!race->stop) {
		if (race->done == race->round) {
			sched_yield();
			continue;
		}
		table = find_desc(&race->ref, 0, K4);
		race->started = true;
		if (table != NULL)
			write_during_join(race, table);
		else
			write_during_split(race);
		race->started = false;
		race->done++;
	}
	return NULL;
}

/* What the SMMU made dirty before the close is dirty in the other size. */
static void
race_of_resizes_with_updates(void **arg)
{
	uint64_t dirty[RACE_PAGES / 64];
	struct pgt_used used = { .size = M2, .dirty = dirty };
	struct pgt_tables tables = { NULL, 0 };
	struct resize_race race = { .round = 0 };
	struct pgt_resize resize;
	struct pgt_unmapped out;
	struct pgt_inv inv[2];
	unsigned int i, k;
	struct mem mem;
	struct pgt *pgt;
	pthread_t t;

	(void)arg;
	pgt = table_open_heap(&mem, 12, 39);
	assert_int_equal(pgt_map(pgt, 0, PA, M2, CLEAN), 0);
	race.ref = ref_table_of(pgt, read_atomic, &race.walked);
	assert_int_equal(pthread_create(&t, NULL, write_pages, &race), 0);
	for (i = 0; i < RACE_ROUNDS * test_scale(); i++) {
		memset(race.written, 0, sizeof(race.written));
		race.resized = race.go = false;
		race.round++;
		pgt_unmapped_init(&out, inv, 2);
		out.tables = tables;
		while (!race.started)
			sched_yield();
		race.go = true;
		if (i & 1)
			assert_int_equal(pgt_join_begin(pgt, 0, M2, &resize, &out), 0);
		else
			assert_int_equal(pgt_split_begin(pgt, 0, &resize, &out), 0);
		assert_int_equal(resize.block, i & 1);
		assert_int_equal(pgt_resize_end(&resize), 0);
		/* No grace period: the tables stay until the writer has ended. */
		tables = out.tables;
		race.resized = true;
		while (race.done != race.round)
			sched_yield();
		pgt_unmapped_init(&out, inv, 2);
		out.used = &used;
		memset(dirty, 0, sizeof(dirty));
		assert_int_equal(pgt_harvest(pgt, 0, M2, PGT_DIRTY, &out), 0);
		for (k = 0; k < RACE_PAGES / 64; k++)
			assert_int_equal(race.written[k] & ~dirty[k], 0);
	}
	race.stop = true;
	pthread_join(t, NULL);
	pgt_free_tables(pgt, &tables);
	pgt_destroy(pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(split_maps_the_same_pages_with_the_same_flags),
	cmocka_unit_test(join_maps_the_same_pages_as_one_block),
	cmocka_unit_test(join_adds_the_flags_of_the_leaves),
	cmocka_unit_test(resize_is_refused_without_a_change),
	cmocka_unit_test(join_that_lost_a_leaf_restores_the_table),
	cmocka_unit_test(resize_loses_to_unmap),
	cmocka_unit_test(resolve_maps_a_block_where_no_table_is),
	cmocka_unit_test(race_of_resizes_with_updates),
};
TEST_SUITE(pgtable_resize, tests, NULL, NULL);
TEST_SUITE(pgtable_resize_stage2, tests, table_use_stage2, table_use_stage1);
