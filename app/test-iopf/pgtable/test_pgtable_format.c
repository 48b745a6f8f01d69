/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The descriptors that pgtable writes: bits, levels, blocks.
 */

#include <errno.h>

#include "table_rig.h"
#include "test.h"

static void
descriptors_4k_48_bits(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 48);

	(void)arg;
	assert_int_equal(pgt_root(pgt), 0x40000000);
	/* L0 0x24, L1 0x0d1, L2 0x0b3, L3 0x189 */
	assert_int_equal(pgt_map(pgt, 0x123456789000, 0x876543000, K4, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x24), 0x40001003);
	assert_int_equal(table_desc(&mem, 0x40001000, 0xd1), 0x40002003);
	assert_int_equal(table_desc(&mem, 0x40002000, 0xb3), 0x40003003);
	assert_int_equal(table_desc(&mem, 0x40003000, 0x189), 0x0060000876543f43);
	assert_int_equal(table_desc(&mem, 0x40003000, 0x188), 0);
	assert_int_equal(table_desc(&mem, 0x40003000, 0x18a), 0);
	/* The last page of the address space: index 511 at each level. */
	assert_int_equal(pgt_map(pgt, 0xfffffffff000, 0xfffffffff000, K4, PGT_READ), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x1ff), 0x40004003);
	assert_int_equal(table_desc(&mem, 0x40006000, 0x1ff), 0x0060ffffffffffc3);
	table_close(&mem);
}

static void
descriptors_16k_48_bits(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 14, 48);

	(void)arg;
	/* L0 1, L1 0x012, L2 0x1a2, L3 0x59e */
	assert_int_equal(pgt_map(pgt, 0x812345678000, 0x42000c000, 0x4000, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 1), 0x40004003);
	assert_int_equal(table_desc(&mem, 0x40004000, 0x12), 0x40008003);
	assert_int_equal(table_desc(&mem, 0x40008000, 0x1a2), 0x4000c003);
	assert_int_equal(table_desc(&mem, 0x4000c000, 0x59e), 0x006000042000cf43);
	table_close(&mem);
}

static void
descriptors_64k_48_bits(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 16, 48);

	(void)arg;
	/* L1 0x3f, L2 0x16e5, L3 0x1a98 */
	assert_int_equal(pgt_map(pgt, 0xfedcba980000, 0x123450000, 0x10000, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x3f), 0x40010003);
	assert_int_equal(table_desc(&mem, 0x40010000, 0x16e5), 0x40020003);
	assert_int_equal(table_desc(&mem, 0x40020000, 0x1a98), 0x0060000123450f43);
	table_close(&mem);
}

static void
descriptors_of_a_root_at_the_last_level(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 14, 25);

	(void)arg;
	assert_int_equal(pgt_map(pgt, 0x1ffc000, 0x8000, 0x4000, PGT_READ), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x7ff), 0x0060000000008fc3);
	assert_int_equal(mem.nb_alloc, 1);
	assert_int_equal(pgt_map(pgt, 0x2000000, 0x8000, 0x4000, PGT_READ), -EINVAL);
	table_close(&mem);
}

static void
attributes_follow_the_permissions(void **arg)
{
	static const struct {
		uint32_t prot;
		uint32_t back;
		uint64_t bits;
	} rows[] = {
		{ PGT_READ, PGT_READ, 0x0060000000000fc3 },
		{ PGT_WRITE, PGT_READ | PGT_WRITE, 0x0060000000000f43 },
		{ PGT_EXEC, PGT_READ | PGT_EXEC, 0x0000000000000fc3 },
		{ PGT_WRITE | PGT_EXEC, PGT_READ | PGT_WRITE | PGT_EXEC, 0x0000000000000f43 },
		{ PGT_READ | PGT_PRIV, PGT_READ | PGT_PRIV, 0x0060000000000f83 },
		{ PGT_WRITE | PGT_PRIV, PGT_READ | PGT_WRITE | PGT_PRIV, 0x0060000000000f03 },
		{ PGT_EXEC | PGT_PRIV, PGT_READ | PGT_EXEC | PGT_PRIV, 0x0040000000000f83 },
	};
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
	unsigned int i;

	(void)arg;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(pgt_map(pgt, i * K4, 0, K4, rows[i].prot), 0);
		assert_int_equal(table_desc(&mem, 0x40002000, i), rows[i].bits);
		assert_int_equal(table_walk(pgt, i * K4).prot, rows[i].back);
		assert_int_equal(pgt_resolve(pgt, (64 + i) * K4, 0, rows[i].prot), 0);
		assert_int_equal(table_desc(&mem, 0x40002000, 64 + i), rows[i].bits);
		/* Change it to the same permissions by pgt_protect(). */
		pgt_unmapped_init(&out, inv, 1);
		assert_int_equal(pgt_protect(pgt, 64 * K4, K4, rows[i].prot, &out), 0);
		assert_int_equal(table_desc(&mem, 0x40002000, 64), rows[i].bits);
		assert_int_equal(out.nb_inv, i ? 1 : 0);
	}
	table_close(&mem);
}

static void
start_level_follows_the_input_size(void **arg)
{
	/* The first and last TxSZ of each start level [Arm ARM D8.2]. */
	static const struct {
		unsigned int granule_log2, txsz, level;
	} rows[] = {
		{ 12, 16, 0 }, { 12, 24, 0 }, { 12, 25, 1 }, { 12, 33, 1 }, { 12, 34, 2 },
		{ 12, 39, 2 }, { 14, 16, 0 }, { 14, 17, 1 }, { 14, 27, 1 }, { 14, 28, 2 },
		{ 14, 38, 2 }, { 14, 39, 3 }, { 16, 16, 1 }, { 16, 21, 1 }, { 16, 22, 2 },
		{ 16, 34, 2 }, { 16, 35, 3 }, { 16, 39, 3 },
	};
	struct pgt_info info;
	struct mem mem;
	struct pgt *pgt;
	uint64_t top, page;
	unsigned int i;

	(void)arg;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pgt = table_open(&mem, rows[i].granule_log2, 64 - rows[i].txsz);
		pgt_info(pgt, &info);
		assert_int_equal(info.start_level, rows[i].level);
		assert_int_equal(info.nb_tables, 1);
		assert_int_equal(info.root_tables, 1);
		assert_false(info.stage2);
		assert_int_equal(info.root, TABLE_PA);
		assert_int_equal(pgt_va_bits(pgt), 64 - rows[i].txsz);
		assert_int_equal(pgt_granule_log2(pgt), rows[i].granule_log2);
		page = UINT64_C(1) << rows[i].granule_log2;
		top = (UINT64_C(1) << (64 - rows[i].txsz)) - page;
		assert_int_equal(pgt_map(pgt, top, page, page, PGT_READ), 0);
		assert_int_equal(table_walk(pgt, top).pa, page);
		pgt_info(pgt, &info);
		assert_int_equal(info.nb_tables, 4 - rows[i].level);
		assert_int_equal(pgt_map(pgt, top + page, page, page, PGT_READ), -EINVAL);
		table_close(&mem);
	}
}

static void
blocks_where_both_addresses_are_aligned(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 48);
	struct pgt_leaf leaf;

	(void)arg;
	/* One page, then 2M blocks up to 1G, a 1G block, a 2M block, a page. */
	assert_int_equal(pgt_map(pgt, G1 - M2 - K4, 5 * G1 - M2 - K4, K4 + M2 + G1 + M2 + K4,
			PGT_WRITE), 0);
	assert_int_equal(mem.nb_alloc, 6);
	leaf = table_walk(pgt, G1 - M2 - 1);
	assert_int_equal(leaf.size, K4);
	assert_int_equal(leaf.pa, 5 * G1 - M2 - K4);
	leaf = table_walk(pgt, G1 - 1);
	assert_int_equal(leaf.size, M2);
	assert_int_equal(leaf.level, 2);
	assert_int_equal(leaf.pa, 5 * G1 - M2);
	leaf = table_walk(pgt, G1 + 12345);
	assert_int_equal(leaf.size, G1);
	assert_int_equal(leaf.level, 1);
	assert_int_equal(leaf.pa, 5 * G1);
	/* L1 table is the second granule: entry 1 is the 1G block. */
	assert_int_equal(table_desc(&mem, 0x40001000, 1), 0x0060000140000f41);
	assert_int_equal(table_walk(pgt, 2 * G1).size, M2);
	assert_int_equal(table_walk(pgt, 2 * G1 + M2).size, K4);
	assert_int_equal(table_state(pgt, 2 * G1 + M2 + K4), PGT_INVALID);

	/* The output address is not aligned: pages. */
	assert_int_equal(pgt_map(pgt, 8 * G1, 8 * G1 + K4, M2, PGT_READ), 0);
	assert_int_equal(table_walk(pgt, 8 * G1).size, K4);
	assert_int_equal(table_walk(pgt, 8 * G1 + M2 - 1).pa, 8 * G1 + M2);
	/* PGT_PAGES_ONLY: pages. */
	assert_int_equal(pgt_map(pgt, 9 * G1, 9 * G1, M2, PGT_READ | PGT_PAGES_ONLY), 0);
	assert_int_equal(table_walk(pgt, 9 * G1).size, K4);
	/* A table exists there: pages, as a block would need break-before-make. */
	assert_int_equal(pgt_prealloc(pgt, 10 * G1, K4), 0);
	assert_int_equal(pgt_map(pgt, 10 * G1, 10 * G1, 2 * M2, PGT_READ), 0);
	assert_int_equal(table_walk(pgt, 10 * G1).size, K4);
	assert_int_equal(table_walk(pgt, 10 * G1 + M2).size, M2);
	/* No block at level 0, whose entries span 512G. */
	assert_int_equal(pgt_map(pgt, 512 * G1, 512 * G1, 512 * G1, PGT_READ), 0);
	assert_int_equal(table_walk(pgt, 512 * G1).size, G1);
	assert_int_equal(table_walk(pgt, 1024 * G1 - 1).pa, 1023 * G1);
	table_close(&mem);
}

static void
blocks_of_the_larger_granules(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 14, 47);

	(void)arg;
	/* 64G blocks need 52-bit addresses, so a level 1 slot is 2048 blocks of 32M. */
	assert_int_equal(pgt_map(pgt, UINT64_C(1) << 36, UINT64_C(1) << 36, UINT64_C(1) << 36,
			PGT_READ), 0);
	assert_int_equal(mem.nb_alloc, 2);
	assert_int_equal(table_walk(pgt, UINT64_C(1) << 36).size, 0x2000000);
	assert_int_equal(table_desc(&mem, 0x40004000, 0x7ff), 0x0060001ffe000fc1);
	table_close(&mem);

	pgt = table_open(&mem, 16, 48);
	assert_int_equal(pgt_map(pgt, UINT64_C(1) << 42, UINT64_C(1) << 42, UINT64_C(1) << 29,
			PGT_READ), 0);
	assert_int_equal(table_walk(pgt, UINT64_C(1) << 42).size, 0x20000000);
	assert_int_equal(table_desc(&mem, 0x40010000, 0), 0x0060040000000fc1);
	table_close(&mem);
}

static void
block_is_never_split(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 48);
	struct pgt_inv inv[4];
	struct pgt_unmapped out;

	(void)arg;
	assert_int_equal(pgt_map(pgt, 0, 0, 3 * M2, PGT_READ), 0);
	pgt_unmapped_init(&out, inv, 4);
	assert_int_equal(pgt_unmap(pgt, M2, K4, 0, &out), -EINVAL);
	assert_int_equal(pgt_unmap(pgt, M2, M2 + K4, PGT_CLOSE, &out), -EINVAL);
	assert_int_equal(pgt_unmap(pgt, M2 - K4, M2 + K4, PGT_CLOSE | PGT_TABLES, &out), -EINVAL);
	assert_int_equal(out.nb_inv, 0);
	assert_int_equal(pgt_protect(pgt, M2 + K4, K4, PGT_WRITE, &out), -EINVAL);
	assert_int_equal(out.nb_inv, 0);
	assert_int_equal(table_walk(pgt, M2).prot, PGT_READ);
	assert_int_equal(pgt_unmap(pgt, M2, M2, 0, &out), 0);
	assert_int_equal(table_state(pgt, M2), PGT_ABSENT);
	assert_int_equal(table_state(pgt, 0), PGT_VALID);
	assert_int_equal(table_state(pgt, 2 * M2), PGT_VALID);
	assert_int_equal(out.nb_inv, 1);
	assert_int_equal(inv[0].va, M2);
	assert_int_equal(inv[0].size, M2);
	assert_int_equal(inv[0].level, 2);
	assert_true(inv[0].leaf_only);
	assert_int_equal(out.bytes, M2);
	table_close(&mem);
}

static uint64_t
crooked_va_to_pa(void *ctx, const void *p)
{
	struct mem *mem = ctx;
	uint64_t pa = mem_va_to_pa(ctx, p);

	/* The window has a hole after the second granule. */
	return pa < TABLE_PA + 2 * mem->granule ? pa : pa + 0x100000;
}

static void
tables_in_one_window_need_no_reverse_lookup(void **arg)
{
	struct pgt_conf conf;
	struct mem mem;

	(void)arg;
	mem_init(&mem, 12);
	conf = mem_conf(&mem, 12, 39);
	conf.mem.pa_to_va = NULL;
	mem.pgt = pgt_create(&conf);
	assert_non_null(mem.pgt);
	assert_int_equal(pgt_map(mem.pgt, 5 * K4, 9 * K4, K4, PGT_READ), 0);
	assert_int_equal(table_desc(&mem, 0x40002000, 5), 0x0060000000009fc3);
	assert_int_equal(table_walk(mem.pgt, 5 * K4).pa, 9 * K4);
	table_close(&mem);

	mem_init(&mem, 12);
	conf.mem.va_to_pa = crooked_va_to_pa;
	mem.pgt = pgt_create(&conf);
	assert_non_null(mem.pgt);
	assert_int_equal(pgt_map(mem.pgt, 0, 0, K4, PGT_READ), -EFAULT);
	assert_int_equal(table_state(mem.pgt, 0), PGT_ABSENT);
	table_close(&mem);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(descriptors_4k_48_bits),
	cmocka_unit_test(descriptors_16k_48_bits),
	cmocka_unit_test(descriptors_64k_48_bits),
	cmocka_unit_test(descriptors_of_a_root_at_the_last_level),
	cmocka_unit_test(attributes_follow_the_permissions),
	cmocka_unit_test(start_level_follows_the_input_size),
	cmocka_unit_test(blocks_where_both_addresses_are_aligned),
	cmocka_unit_test(blocks_of_the_larger_granules),
	cmocka_unit_test(block_is_never_split),
	cmocka_unit_test(tables_in_one_window_need_no_reverse_lookup),
};
TEST_SUITE(pgtable_format, tests, NULL, NULL);
