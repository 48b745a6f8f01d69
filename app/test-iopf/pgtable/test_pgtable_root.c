/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The root of a stage-2 table: its level, its concatenated tables, its memory.
 */

#include <errno.h>
#include <stdlib.h>

#include "ref_walk.h"
#include "table_rig.h"
#include "test.h"

/* Each start level of each granule: sizes, and the largest size that one table holds. */
static const struct root {
	unsigned int granule_log2;
	unsigned int first, last;	/* va_bits */
	unsigned int level, sl0;
	unsigned int one_table;		/* va_bits */
} roots[] = {
	{ 12, 25, 34, 2, 0, 30 }, { 12, 35, 43, 1, 1, 39 }, { 12, 44, 48, 0, 2, 48 },
	{ 14, 25, 29, 3, 0, 25 }, { 14, 30, 40, 2, 1, 36 }, { 14, 41, 48, 1, 2, 47 },
	{ 16, 25, 33, 3, 0, 29 }, { 16, 34, 46, 2, 1, 42 }, { 16, 47, 48, 1, 2, 48 },
};
#define NB_ROOTS	(sizeof(roots) / sizeof(roots[0]))

static unsigned int
root_tables(const struct root *root, unsigned int va_bits)
{
	return va_bits > root->one_table ? 1u << (va_bits - root->one_table) : 1;
}

/* Unmap from the middle of the first table of the root to the middle of the last one. */
static void
check_unmap_of_the_middle(struct pgt *pgt, const struct ref_table *ref, unsigned int tables,
		uint64_t span)
{
	uint64_t page = UINT64_C(1) << ref->granule_log2;
	struct pgt_unmapped out;
	struct pgt_inv inv[4];
	unsigned int i;

	if (tables == 1)
		return;
	pgt_unmapped_init(&out, inv, 4);
	assert_int_equal(pgt_unmap(pgt, span / 2, (tables - 1) * span, PGT_TABLES, &out), 0);
	assert_int_equal(out.bytes, (2 * tables - 2) * page);
	pgt_free_tables(pgt, &out.tables);
	for (i = 1; i < tables; i++) {
		ref_expect_fault(ref, i * span - page);
		ref_expect_fault(ref, i * span);
	}
	ref_expect_leaf(ref, 0, page, PGT_WRITE, page);
	ref_expect_leaf(ref, tables * span - page, 2 * tables * page, PGT_READ, page);
}

/*
 * Each size of each granule: the level and the tables of the root, and the first and the last page
 * of each table of the root, which a walker reaches from the fields of the STE alone.
 */
static void
check_root(const struct root *root, unsigned int va_bits)
{
	unsigned int tables = root_tables(root, va_bits), i;
	uint64_t page = UINT64_C(1) << root->granule_log2;
	uint64_t span = (UINT64_C(1) << va_bits) / tables;
	struct ref_table ref;
	struct pgt_info info;
	struct mem mem;
	struct pgt *pgt = table_open_heap(&mem, root->granule_log2, va_bits);
	uint64_t first, last;

	pgt_info(pgt, &info);
	assert_true(info.stage2);
	assert_int_equal(info.va_bits, va_bits);
	assert_int_equal(info.granule_log2, root->granule_log2);
	assert_int_equal(info.start_level, root->level);
	assert_int_equal(info.root_tables, tables);
	assert_int_equal(info.nb_tables, tables);
	assert_int_equal(info.root, pgt_root(pgt));
	assert_int_equal(info.root & (tables * page - 1), 0);
	ref = ref_table_of(pgt, ref_read_pointer, NULL);
	assert_int_equal(ref.sl0, root->sl0);

	for (i = 0; i < tables; i++) {
		first = i * span;
		last = (i + 1) * span - page;
		ref_expect_fault(&ref, first);
		ref_expect_fault(&ref, last);
		assert_int_equal(pgt_map(pgt, first, (2 * i + 1) * page, page, PGT_WRITE), 0);
		assert_int_equal(pgt_prealloc(pgt, last, page), 0);
		assert_int_equal(pgt_resolve(pgt, last + page - 1, (2 * i + 2) * page, PGT_READ),
				0);
	}
	for (i = 0; i < tables; i++) {
		first = i * span;
		last = (i + 1) * span - page;
		ref_expect_leaf(&ref, first, (2 * i + 1) * page, PGT_WRITE, page);
		ref_expect_leaf(&ref, last + 5, (2 * i + 2) * page + 5, PGT_READ, page);
		ref_expect_fault(&ref, first + page);
		ref_expect_fault(&ref, last - 1);
		assert_int_equal(table_walk(pgt, first).pa, (2 * i + 1) * page);
		assert_int_equal(table_walk(pgt, last).pa, (2 * i + 2) * page);
	}
	ref_expect_fault(&ref, UINT64_C(1) << va_bits);
	assert_int_equal(pgt_map(pgt, UINT64_C(1) << va_bits, 0, page, PGT_READ), -EINVAL);
	assert_int_equal(pgt_prealloc(pgt, UINT64_C(1) << va_bits, page), -EINVAL);

	check_unmap_of_the_middle(pgt, &ref, tables, span);

	/* The tables of the root stay, and pgt_destroy() frees those below each of them. */
	for (i = 1; i < tables; i++)
		assert_int_equal(pgt_map(pgt, i * span, i * page, page, PGT_READ), 0);
	pgt_info(pgt, &info);
	assert_int_equal(info.root_tables, tables);
	table_close(&mem);
}

static void
start_level_and_tables_follow_the_input_size(void **arg)
{
	unsigned int i, va_bits, n = 0;

	(void)arg;
	for (i = 0; i < NB_ROOTS; i++)
		for (va_bits = roots[i].first; va_bits <= roots[i].last; va_bits++, n++)
			check_root(&roots[i], va_bits);
	/* 25 to 48 bits with each granule. */
	assert_int_equal(n, 3 * 24);
}

static void
blocks_across_tables_of_the_root(void **arg)
{
	struct pgt_unmapped out;
	struct pgt_inv inv[4];
	struct ref_table ref;
	struct mem mem;
	struct pgt *pgt = table_open_heap(&mem, 12, 43);
	const uint64_t m32 = UINT64_C(0x2000000), m512 = UINT64_C(0x20000000);
	uint64_t edge = 512 * G1;

	(void)arg;
	/* 1G on both sides of the edge of two tables of level 1; a 2M block and a page beside. */
	ref = ref_table_of(pgt, ref_read_pointer, NULL);
	assert_int_equal(pgt_map(pgt, edge - G1 - M2 - K4, 3 * G1 - M2 - K4, 2 * G1 + M2 + 2 * K4,
			PGT_WRITE), 0);
	ref_expect_leaf(&ref, edge - G1 - M2 - K4, 3 * G1 - M2 - K4, PGT_WRITE, K4);
	ref_expect_leaf(&ref, edge - G1 - 1, 3 * G1 - 1, PGT_WRITE, M2);
	ref_expect_leaf(&ref, edge - 1, 4 * G1 - 1, PGT_WRITE, G1);
	ref_expect_leaf(&ref, edge, 4 * G1, PGT_WRITE, G1);
	ref_expect_leaf(&ref, edge + G1, 5 * G1, PGT_WRITE, K4);
	ref_expect_fault(&ref, edge + G1 + K4);
	pgt_unmapped_init(&out, inv, 4);
	assert_int_equal(pgt_protect(pgt, edge - G1, 2 * G1, PGT_EXEC, &out), 0);
	ref_expect_leaf(&ref, edge, 4 * G1, PGT_EXEC, G1);
	assert_int_equal(out.nb_inv, 1);
	assert_int_equal(inv[0].va, edge - G1);
	assert_int_equal(inv[0].size, 2 * G1);
	assert_int_equal(inv[0].level, 1);
	assert_int_equal(pgt_unmap(pgt, edge - K4, K4, 0, &out), -EINVAL);
	assert_int_equal(pgt_unmap(pgt, edge - G1, 2 * G1, PGT_CLOSE, &out), 0);
	ref_expect_fault(&ref, edge - 1);
	ref_expect_fault(&ref, edge);
	table_close(&mem);

	/* 32M at level 2, which is the root. */
	pgt = table_open_heap(&mem, 14, 40);
	ref = ref_table_of(pgt, ref_read_pointer, NULL);
	edge = UINT64_C(1) << 36;
	assert_int_equal(pgt_map(pgt, edge - m32, edge - m32, 2 * m32, PGT_READ), 0);
	ref_expect_leaf(&ref, edge - 1, edge - 1, PGT_READ, m32);
	ref_expect_leaf(&ref, edge, edge, PGT_READ, m32);
	assert_int_equal(mem.nb_alloc, 1);
	table_close(&mem);

	/* 512M likewise. */
	pgt = table_open_heap(&mem, 16, 46);
	ref = ref_table_of(pgt, ref_read_pointer, NULL);
	edge = UINT64_C(1) << 42;
	assert_int_equal(pgt_map(pgt, edge - m512, edge - m512, 2 * m512, PGT_READ), 0);
	ref_expect_leaf(&ref, edge - 1, edge - 1, PGT_READ, m512);
	ref_expect_leaf(&ref, edge, edge, PGT_READ, m512);
	assert_int_equal(mem.nb_alloc, 1);
	table_close(&mem);

	/* No block at level 1 of 16K and of 64K, nor at level 0. */
	pgt = table_open_heap(&mem, 14, 48);
	edge = UINT64_C(1) << 47;
	assert_int_equal(pgt_map(pgt, edge, 0, UINT64_C(1) << 36, PGT_READ), 0);
	assert_int_equal(table_walk(pgt, edge).size, m32);
	table_close(&mem);
	pgt = table_open_heap(&mem, 16, 48);
	assert_int_equal(pgt_map(pgt, edge, 0, UINT64_C(1) << 42, PGT_READ), 0);
	assert_int_equal(table_walk(pgt, edge).size, m512);
	table_close(&mem);
	pgt = table_open_heap(&mem, 12, 48);
	assert_int_equal(pgt_map(pgt, edge, 0, UINT64_C(1) << 39, PGT_READ), 0);
	assert_int_equal(table_walk(pgt, edge).size, G1);
	table_close(&mem);
}

/* Close and open all of the space, and a part that crosses tables of the root. */
static void
check_close(unsigned int granule_log2, unsigned int va_bits)
{
	uint64_t page = UINT64_C(1) << granule_log2, size = UINT64_C(1) << va_bits;
	struct pgt_unmapped out;
	struct pgt_inv inv[4];
	struct ref_table ref;
	struct pgt_info info;
	struct mem mem;
	struct pgt *pgt = table_open_heap(&mem, granule_log2, va_bits);
	uint64_t span;
	unsigned int i;

	pgt_info(pgt, &info);
	ref = ref_table_of(pgt, ref_read_pointer, NULL);
	span = size / info.root_tables;
	for (i = 0; i < info.root_tables; i++)
		assert_int_equal(pgt_map(pgt, i * span, i * page, page, PGT_READ), 0);
	pgt_unmapped_init(&out, inv, 4);
	assert_int_equal(pgt_unmap(pgt, 0, size, PGT_CLOSE | PGT_TABLES, &out), 0);
	assert_int_equal(out.bytes, info.root_tables * page);
	for (i = 0; i < info.root_tables; i++) {
		assert_int_equal(table_state(pgt, i * span), PGT_CLOSED);
		assert_int_equal(table_state(pgt, (i + 1) * span - 1), PGT_CLOSED);
		assert_int_equal(pgt_resolve(pgt, i * span, 0, PGT_READ), -ECANCELED);
		ref_expect_fault(&ref, i * span);
	}
	pgt_free_tables(pgt, &out.tables);
	pgt_info(pgt, &info);
	assert_int_equal(info.nb_tables, info.root_tables);

	/* Open a page on each side of an edge: their neighbours stay closed. */
	assert_int_equal(pgt_open(pgt, span - page, 2 * page), 0);
	assert_int_equal(table_state(pgt, span - page - 1), PGT_CLOSED);
	assert_int_equal(table_state(pgt, span - page), PGT_INVALID);
	assert_int_equal(table_state(pgt, span), PGT_INVALID);
	assert_int_equal(table_state(pgt, span + page), PGT_CLOSED);
	assert_int_equal(pgt_map(pgt, span - page, 0, 2 * page, PGT_WRITE), 0);
	ref_expect_leaf(&ref, span, page, PGT_WRITE, page);
	assert_int_equal(pgt_open(pgt, 0, size), 0);
	assert_int_equal(table_state(pgt, 0), info.start_level == 3 ? PGT_INVALID : PGT_ABSENT);
	assert_int_equal(table_state(pgt, span + page), PGT_INVALID);
	assert_int_equal(table_state(pgt, span), PGT_VALID);
	table_close(&mem);
}

static void
close_reaches_all_tables_of_the_root(void **arg)
{
	(void)arg;
	check_close(12, 43);
	check_close(12, 34);
	check_close(14, 48);
	check_close(14, 29);
	check_close(14, 40);
	check_close(16, 33);
	check_close(16, 43);
}

struct sizes {
	struct mem mem;
	struct pgt_mem inner;
	size_t alloc[12], free[12];
	unsigned int nb_alloc, nb_free;
	uint64_t pa_shift;		/* added to device addresses */
};

static void *
sizes_alloc(void *ctx, size_t size)
{
	struct sizes *sizes = ctx;

	sizes->alloc[sizes->nb_alloc++] = size;
	return sizes->inner.alloc(sizes->inner.ctx, size);
}

static void
sizes_free(void *ctx, void *p, size_t size)
{
	struct sizes *sizes = ctx;

	sizes->free[sizes->nb_free++] = size;
	sizes->inner.free(sizes->inner.ctx, p, size);
}

static uint64_t
sizes_va_to_pa(void *ctx, const void *p)
{
	struct sizes *sizes = ctx;

	return sizes->inner.va_to_pa(sizes->inner.ctx, p) + sizes->pa_shift;
}

static void
root_is_one_block_of_memory(void **arg)
{
	struct sizes sizes = { .nb_alloc = 0 };
	struct pgt_conf conf;
	struct pgt *pgt;

	(void)arg;
	mem_init(&sizes.mem, 12);
	conf = mem_conf(&sizes.mem, 12, 41);
	sizes.inner = conf.mem;
	conf.mem = (struct pgt_mem){ &sizes, sizes_alloc, sizes_free, sizes_va_to_pa, NULL };
	pgt = pgt_create(&conf);
	assert_non_null(pgt);
	/* Without pa_to_va: all tables lie in one window. */
	assert_int_equal(pgt_map(pgt, 3 * 512 * G1, 0, K4, PGT_READ), 0);
	assert_int_equal(table_desc(&sizes.mem, 0x40000000, 3 * 512), 0x40004003);
	assert_int_equal(table_walk(pgt, 3 * 512 * G1).state, PGT_VALID);
	assert_int_equal(sizes.nb_alloc, 3);
	assert_int_equal(sizes.alloc[0], 4 * K4);
	assert_int_equal(sizes.alloc[1], K4);
	assert_int_equal(sizes.alloc[2], K4);
	pgt_destroy(pgt);
	assert_int_equal(sizes.nb_free, 3);
	assert_int_equal(sizes.free[0], K4);
	assert_int_equal(sizes.free[1], K4);
	assert_int_equal(sizes.free[2], 4 * K4);

	/* Aligned to a granule is not enough: the pointer, or the device address. */
	sizes.mem.skew = K4;
	assert_null(pgt_create(&conf));
	assert_int_equal(errno, EFAULT);
	assert_int_equal(sizes.free[3], 4 * K4);
	sizes.pa_shift = -K4;
	assert_null(pgt_create(&conf));
	assert_int_equal(errno, EFAULT);
	sizes.mem.skew = 0;
	sizes.pa_shift = 2 * K4;
	assert_null(pgt_create(&conf));
	assert_int_equal(errno, EFAULT);
	sizes.pa_shift = 4 * K4;
	pgt = pgt_create(&conf);
	assert_non_null(pgt);
	pgt_destroy(pgt);
	sizes.pa_shift = 0;
	sizes.mem.fail_from = sizes.mem.nb_alloc + 1;
	assert_null(pgt_create(&conf));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(sizes.mem.nb_alloc, sizes.mem.nb_free);
	free(sizes.mem.base);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(start_level_and_tables_follow_the_input_size),
	cmocka_unit_test(blocks_across_tables_of_the_root),
	cmocka_unit_test(close_reaches_all_tables_of_the_root),
	cmocka_unit_test(root_is_one_block_of_memory),
};
TEST_SUITE(pgtable_root, tests, table_use_stage2, table_use_stage1);
