/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <pgtable.h>

#include "test.h"

/*
 * Literal descriptors are worked out by hand from VMSAv8-64: page bits 1:0 = 11,
 * block 01, AP[7:6], SH inner 9:8, AF 10, nG 11, PXN 53, UXN 54. So RW is 0xf43,
 * RO 0xfc3, privileged RW 0xf03, a block RW 0xf41, and 0x0060... is no execution.
 */

#define TABLE_PA	UINT64_C(0x40000000)
#define NB_TABLES	64

#define K4	UINT64_C(0x1000)
#define M2	UINT64_C(0x200000)
#define G1	UINT64_C(0x40000000)

/* Table memory: granule n lies at device address TABLE_PA + n * granule, in order of allocation. */
struct mem {
	uint8_t *base;
	size_t granule;
	_Atomic unsigned int next;
	_Atomic unsigned int nb_alloc;
	_Atomic unsigned int nb_free;
	unsigned int fail_from;		/* allocations from this one on fail; 0 = none */
	unsigned int skew;		/* hand out memory that is off by this many bytes */
	void (*hook)(struct mem *mem);	/* called once, inside the next allocation */
	struct pgt *pgt;
	int hook_rc;
};

static void *
mem_alloc(void *ctx, size_t size)
{
	struct mem *mem = ctx;
	void (*hook)(struct mem *mem) = mem->hook;
	unsigned int n;

	if (hook != NULL) {
		mem->hook = NULL;
		hook(mem);
	}
	assert_int_equal(size, mem->granule);
	n = atomic_fetch_add(&mem->nb_alloc, 1);
	if (mem->fail_from && n + 1 >= mem->fail_from) {
		atomic_fetch_sub(&mem->nb_alloc, 1);
		return NULL;
	}
	/* Freed granules are not reused, so that a stale one keeps its place. */
	n = atomic_fetch_add(&mem->next, 1);
	assert_true(n < NB_TABLES);
	return mem->base + n * size + mem->skew;
}

static void
mem_free(void *ctx, void *p, size_t size)
{
	struct mem *mem = ctx;

	/* A walk into a freed table would find valid descriptors of nowhere. */
	memset((void *)((uintptr_t)p & ~(uintptr_t)(size - 1)), 0xff, size);
	atomic_fetch_add(&mem->nb_free, 1);
}

static uint64_t
mem_va_to_pa(void *ctx, const void *p)
{
	struct mem *mem = ctx;

	return (uint64_t)((const uint8_t *)p - mem->base) + TABLE_PA;
}

static void *
mem_pa_to_va(void *ctx, uint64_t pa)
{
	struct mem *mem = ctx;

	assert_true(pa >= TABLE_PA && pa - TABLE_PA < NB_TABLES * mem->granule);
	return mem->base + (pa - TABLE_PA);
}

static void
mem_init(struct mem *mem, unsigned int granule_log2)
{
	*mem = (struct mem){ .granule = (size_t)1 << granule_log2 };
	mem->base = aligned_alloc(mem->granule, NB_TABLES * mem->granule);
	assert_non_null(mem->base);
	memset(mem->base, 0, NB_TABLES * mem->granule);
}

static struct pgt_conf
mem_conf(struct mem *mem, unsigned int granule_log2, unsigned int va_bits)
{
	return (struct pgt_conf){
		.granule_log2 = granule_log2,
		.va_bits = va_bits,
		.mem = { mem, mem_alloc, mem_free, mem_va_to_pa, mem_pa_to_va },
	};
}

static struct pgt *
open_table(struct mem *mem, unsigned int granule_log2, unsigned int va_bits)
{
	struct pgt_conf conf;

	mem_init(mem, granule_log2);
	conf = mem_conf(mem, granule_log2, va_bits);
	mem->pgt = pgt_create(&conf);
	assert_non_null(mem->pgt);
	return mem->pgt;
}

static void
close_table(struct mem *mem)
{
	pgt_destroy(mem->pgt);
	assert_int_equal(mem->nb_alloc, mem->nb_free);
	free(mem->base);
}

/* A descriptor as a device would read it: entry `index` of the table at `pa`. */
static uint64_t
desc(struct mem *mem, uint64_t pa, unsigned int index)
{
	const uint8_t *p = (uint8_t *)mem_pa_to_va(mem, pa) + index * 8;
	uint64_t v = 0;
	int i;

	for (i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static struct pgt_leaf
walk(struct pgt *pgt, uint64_t va)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(pgt, va, &leaf), 0);
	assert_true(leaf.va <= va && va - leaf.va < leaf.size);
	return leaf;
}

static enum pgt_state
state(struct pgt *pgt, uint64_t va)
{
	return walk(pgt, va).state;
}

static void
descriptors_4k_48_bits(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 48);

	(void)arg;
	assert_int_equal(pgt_root(pgt), 0x40000000);
	/* L0 0x24, L1 0x0d1, L2 0x0b3, L3 0x189 */
	assert_int_equal(pgt_map(pgt, 0x123456789000, 0x876543000, K4, PGT_WRITE), 0);
	assert_int_equal(desc(&mem, 0x40000000, 0x24), 0x40001003);
	assert_int_equal(desc(&mem, 0x40001000, 0xd1), 0x40002003);
	assert_int_equal(desc(&mem, 0x40002000, 0xb3), 0x40003003);
	assert_int_equal(desc(&mem, 0x40003000, 0x189), 0x0060000876543f43);
	assert_int_equal(desc(&mem, 0x40003000, 0x188), 0);
	assert_int_equal(desc(&mem, 0x40003000, 0x18a), 0);
	/* The last page there is: index 511 four times. */
	assert_int_equal(pgt_map(pgt, 0xfffffffff000, 0xfffffffff000, K4, PGT_READ), 0);
	assert_int_equal(desc(&mem, 0x40000000, 0x1ff), 0x40004003);
	assert_int_equal(desc(&mem, 0x40006000, 0x1ff), 0x0060ffffffffffc3);
	close_table(&mem);
}

static void
descriptors_16k_48_bits(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 14, 48);

	(void)arg;
	/* L0 1, L1 0x012, L2 0x1a2, L3 0x59e */
	assert_int_equal(pgt_map(pgt, 0x812345678000, 0x42000c000, 0x4000, PGT_WRITE), 0);
	assert_int_equal(desc(&mem, 0x40000000, 1), 0x40004003);
	assert_int_equal(desc(&mem, 0x40004000, 0x12), 0x40008003);
	assert_int_equal(desc(&mem, 0x40008000, 0x1a2), 0x4000c003);
	assert_int_equal(desc(&mem, 0x4000c000, 0x59e), 0x006000042000cf43);
	close_table(&mem);
}

static void
descriptors_64k_48_bits(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 16, 48);

	(void)arg;
	/* L1 0x3f, L2 0x16e5, L3 0x1a98 */
	assert_int_equal(pgt_map(pgt, 0xfedcba980000, 0x123450000, 0x10000, PGT_WRITE), 0);
	assert_int_equal(desc(&mem, 0x40000000, 0x3f), 0x40010003);
	assert_int_equal(desc(&mem, 0x40010000, 0x16e5), 0x40020003);
	assert_int_equal(desc(&mem, 0x40020000, 0x1a98), 0x0060000123450f43);
	close_table(&mem);
}

static void
descriptors_of_a_root_at_the_last_level(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 14, 25);

	(void)arg;
	assert_int_equal(pgt_map(pgt, 0x1ffc000, 0x8000, 0x4000, PGT_READ), 0);
	assert_int_equal(desc(&mem, 0x40000000, 0x7ff), 0x0060000000008fc3);
	assert_int_equal(mem.nb_alloc, 1);
	assert_int_equal(pgt_map(pgt, 0x2000000, 0x8000, 0x4000, PGT_READ), -EINVAL);
	close_table(&mem);
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
	struct pgt *pgt = open_table(&mem, 12, 39);
	unsigned int i;

	(void)arg;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(pgt_map(pgt, i * K4, 0, K4, rows[i].prot), 0);
		assert_int_equal(desc(&mem, 0x40002000, i), rows[i].bits);
		assert_int_equal(walk(pgt, i * K4).prot, rows[i].back);
		assert_int_equal(pgt_resolve(pgt, (64 + i) * K4, 0, rows[i].prot), 0);
		assert_int_equal(desc(&mem, 0x40002000, 64 + i), rows[i].bits);
		/* and from any other by pgt_protect() */
		pgt_unmapped_init(&out, inv, 1);
		assert_int_equal(pgt_protect(pgt, 64 * K4, K4, rows[i].prot, &out), 0);
		assert_int_equal(desc(&mem, 0x40002000, 64), rows[i].bits);
		assert_int_equal(out.nb_inv, i ? 1 : 0);
	}
	close_table(&mem);
}

static void
start_level_follows_the_input_size(void **arg)
{
	/* Rows of table 8.1 of the facts: the first and last TxSZ of each step. */
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
		pgt = open_table(&mem, rows[i].granule_log2, 64 - rows[i].txsz);
		pgt_info(pgt, &info);
		assert_int_equal(info.start_level, rows[i].level);
		assert_int_equal(info.nb_tables, 1);
		assert_int_equal(info.root, TABLE_PA);
		assert_int_equal(pgt_va_bits(pgt), 64 - rows[i].txsz);
		assert_int_equal(pgt_granule_log2(pgt), rows[i].granule_log2);
		page = UINT64_C(1) << rows[i].granule_log2;
		top = (UINT64_C(1) << (64 - rows[i].txsz)) - page;
		assert_int_equal(pgt_map(pgt, top, page, page, PGT_READ), 0);
		assert_int_equal(walk(pgt, top).pa, page);
		pgt_info(pgt, &info);
		assert_int_equal(info.nb_tables, 4 - rows[i].level);
		assert_int_equal(pgt_map(pgt, top + page, page, page, PGT_READ), -EINVAL);
		close_table(&mem);
	}
}

static void
blocks_where_both_addresses_are_aligned(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 48);
	struct pgt_leaf leaf;

	(void)arg;
	/* One page, then 2M blocks up to 1G, a 1G block, a 2M block, a page. */
	assert_int_equal(pgt_map(pgt, G1 - M2 - K4, 5 * G1 - M2 - K4, K4 + M2 + G1 + M2 + K4,
			PGT_WRITE), 0);
	assert_int_equal(mem.nb_alloc, 6);
	leaf = walk(pgt, G1 - M2 - 1);
	assert_int_equal(leaf.size, K4);
	assert_int_equal(leaf.pa, 5 * G1 - M2 - K4);
	leaf = walk(pgt, G1 - 1);
	assert_int_equal(leaf.size, M2);
	assert_int_equal(leaf.level, 2);
	assert_int_equal(leaf.pa, 5 * G1 - M2);
	leaf = walk(pgt, G1 + 12345);
	assert_int_equal(leaf.size, G1);
	assert_int_equal(leaf.level, 1);
	assert_int_equal(leaf.pa, 5 * G1);
	/* L1 table is the second granule: entry 1 is the 1G block. */
	assert_int_equal(desc(&mem, 0x40001000, 1), 0x0060000140000f41);
	assert_int_equal(walk(pgt, 2 * G1).size, M2);
	assert_int_equal(walk(pgt, 2 * G1 + M2).size, K4);
	assert_int_equal(state(pgt, 2 * G1 + M2 + K4), PGT_INVALID);

	/* Output not aligned: pages. */
	assert_int_equal(pgt_map(pgt, 8 * G1, 8 * G1 + K4, M2, PGT_READ), 0);
	assert_int_equal(walk(pgt, 8 * G1).size, K4);
	assert_int_equal(walk(pgt, 8 * G1 + M2 - 1).pa, 8 * G1 + M2);
	/* Asked for: pages. */
	assert_int_equal(pgt_map(pgt, 9 * G1, 9 * G1, M2, PGT_READ | PGT_PAGES_ONLY), 0);
	assert_int_equal(walk(pgt, 9 * G1).size, K4);
	/* A table stands there: pages, for a block would need break-before-make. */
	assert_int_equal(pgt_prealloc(pgt, 10 * G1, K4), 0);
	assert_int_equal(pgt_map(pgt, 10 * G1, 10 * G1, 2 * M2, PGT_READ), 0);
	assert_int_equal(walk(pgt, 10 * G1).size, K4);
	assert_int_equal(walk(pgt, 10 * G1 + M2).size, M2);
	/* No block at level 0, whose entries span 512G. */
	assert_int_equal(pgt_map(pgt, 512 * G1, 512 * G1, 512 * G1, PGT_READ), 0);
	assert_int_equal(walk(pgt, 512 * G1).size, G1);
	assert_int_equal(walk(pgt, 1024 * G1 - 1).pa, 1023 * G1);
	close_table(&mem);
}

static void
blocks_of_the_larger_granules(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 14, 47);

	(void)arg;
	/* 64G blocks need 52-bit addresses, so a level 1 slot is 2048 blocks of 32M. */
	assert_int_equal(pgt_map(pgt, UINT64_C(1) << 36, UINT64_C(1) << 36, UINT64_C(1) << 36,
			PGT_READ), 0);
	assert_int_equal(mem.nb_alloc, 2);
	assert_int_equal(walk(pgt, UINT64_C(1) << 36).size, 0x2000000);
	assert_int_equal(desc(&mem, 0x40004000, 0x7ff), 0x0060001ffe000fc1);
	close_table(&mem);

	pgt = open_table(&mem, 16, 48);
	assert_int_equal(pgt_map(pgt, UINT64_C(1) << 42, UINT64_C(1) << 42, UINT64_C(1) << 29,
			PGT_READ), 0);
	assert_int_equal(walk(pgt, UINT64_C(1) << 42).size, 0x20000000);
	assert_int_equal(desc(&mem, 0x40010000, 0), 0x0060040000000fc1);
	close_table(&mem);
}

static void
block_is_never_split(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 48);
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
	assert_int_equal(walk(pgt, M2).prot, PGT_READ);
	assert_int_equal(pgt_unmap(pgt, M2, M2, 0, &out), 0);
	assert_int_equal(state(pgt, M2), PGT_ABSENT);
	assert_int_equal(state(pgt, 0), PGT_VALID);
	assert_int_equal(state(pgt, 2 * M2), PGT_VALID);
	assert_int_equal(out.nb_inv, 1);
	assert_int_equal(inv[0].va, M2);
	assert_int_equal(inv[0].size, M2);
	assert_int_equal(inv[0].level, 2);
	assert_true(inv[0].leaf_only);
	assert_int_equal(out.bytes, M2);
	close_table(&mem);
}

static void
map_that_fails_leaves_nothing(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 48);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;

	(void)arg;
	assert_int_equal(pgt_map(pgt, 7 * K4, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, 0, G1, 16 * K4, PGT_READ), -EEXIST);
	assert_int_equal(pgt_map(pgt, 0, G1, G1, PGT_READ), -EEXIST);
	assert_int_equal(state(pgt, 0), PGT_INVALID);
	assert_int_equal(state(pgt, 8 * K4), PGT_INVALID);
	assert_int_equal(pgt_resolve_begin(pgt, 20 * K4, PGT_READ, 4, &ticket), 0);
	assert_int_equal(pgt_map(pgt, 16 * K4, G1, 8 * K4, PGT_READ), -EEXIST);
	assert_int_equal(state(pgt, 16 * K4), PGT_INVALID);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_unmap(pgt, 40 * K4, K4, PGT_CLOSE, &out), 0);
	assert_int_equal(pgt_map(pgt, 32 * K4, G1, 16 * K4, PGT_READ), -ECANCELED);
	assert_int_equal(state(pgt, 32 * K4), PGT_INVALID);
	close_table(&mem);
}

static void
hook_resolve_in_the_middle(struct mem *mem)
{
	mem->hook_rc = pgt_resolve(mem->pgt, M2 - 2 * K4, 42 * K4, PGT_READ);
}

static void
map_that_meets_a_writer_is_taken_back(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 48);
	uint64_t va;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, K4), 0);
	/* The range was looked at up to M2 when the second table is made; then a fault comes. */
	mem.hook = hook_resolve_in_the_middle;
	assert_int_equal(pgt_map(pgt, M2 - 16 * K4, G1, 32 * K4, PGT_READ), -EAGAIN);
	assert_int_equal(mem.hook_rc, 0);
	for (va = M2 - 16 * K4; va < M2 + 16 * K4; va += K4)
		assert_int_equal(state(pgt, va), va == M2 - 2 * K4 ? PGT_VALID : PGT_INVALID);
	assert_int_equal(walk(pgt, M2 - 2 * K4).pa, 42 * K4);
	close_table(&mem);
}

static void
hook_prealloc_the_same(struct mem *mem)
{
	mem->hook_rc = pgt_prealloc(mem->pgt, 0, K4);
}

static void
loser_of_a_table_race_frees_its_own(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 48);
	struct pgt_info info;

	(void)arg;
	mem.hook = hook_prealloc_the_same;
	assert_int_equal(pgt_prealloc(pgt, 0, K4), 0);
	assert_int_equal(mem.hook_rc, 0);
	assert_int_equal(mem.nb_alloc, 5);
	assert_int_equal(mem.nb_free, 1);
	pgt_info(pgt, &info);
	assert_int_equal(info.nb_tables, 4);
	assert_int_equal(pgt_resolve(pgt, 0, K4, PGT_READ), 0);
	close_table(&mem);
}

static void
hook_map_a_block(struct mem *mem)
{
	mem->hook_rc = pgt_map(mem->pgt, 0, 0, M2, PGT_READ);
}

static void
table_race_lost_to_a_block(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 48);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, M2, K4), 0);
	mem.hook = hook_map_a_block;
	assert_int_equal(pgt_prealloc(pgt, 0, K4), 0);
	assert_int_equal(mem.hook_rc, 0);
	assert_int_equal(mem.nb_free, 1);
	assert_int_equal(walk(pgt, 0).size, M2);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_unmap(pgt, 0, M2, 0, &out), 0);

	/* The same while an edge of an unmap makes its table. */
	mem.hook = hook_map_a_block;
	assert_int_equal(pgt_unmap(pgt, 0, K4, PGT_CLOSE, &out), -EINVAL);
	assert_int_equal(mem.hook_rc, 0);
	assert_int_equal(state(pgt, 0), PGT_VALID);
	close_table(&mem);
}

static void
resolve_tells_why_not(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 39);
	struct pgt_ticket ticket;
	struct pgt_inv inv[4];
	struct pgt_unmapped out;
	unsigned int nb_alloc;

	(void)arg;
	assert_int_equal(pgt_resolve(pgt, 0, 0, PGT_READ), -ENOENT);
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	nb_alloc = mem.nb_alloc;
	assert_int_equal(pgt_resolve(pgt, 0x1abc, 0x5000, PGT_READ), 0);
	assert_int_equal(walk(pgt, 0x1000).pa, 0x5000);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_READ), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_READ | PGT_PRIV), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_WRITE), -EACCES);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_EXEC), -EACCES);
	assert_int_equal(walk(pgt, 0x1000).pa, 0x5000);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0x6000, PGT_WRITE | PGT_PRIV), 0);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0x6000, PGT_READ), -EACCES);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0x6000, PGT_READ | PGT_PRIV), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, 0x3000, 0x6000, PGT_WRITE | PGT_EXEC), 0);
	assert_int_equal(pgt_resolve(pgt, 0x3000, 0x6000, PGT_EXEC), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, 0x3000, 0x6000, PGT_EXEC | PGT_PRIV), -EACCES);

	assert_int_equal(pgt_resolve_begin(pgt, 0x4000, PGT_READ, 0x1230, &ticket), 0);
	assert_int_equal(pgt_resolve(pgt, 0x4000, 0x6000, PGT_READ), -EBUSY);
	assert_int_equal(pgt_resolve_begin(pgt, 0x4000, PGT_READ, 0x1234, &ticket), -EBUSY);
	assert_int_equal(pgt_resolve_begin(pgt, 0x1000, PGT_READ, 0x1234, &ticket), -EALREADY);
	assert_int_equal(pgt_resolve_begin(pgt, 0x1000, PGT_WRITE, 0x1234, &ticket), -EACCES);

	pgt_unmapped_init(&out, inv, 4);
	assert_int_equal(pgt_unmap(pgt, 0x5000, K4, PGT_CLOSE, &out), 0);
	assert_int_equal(pgt_resolve(pgt, 0x5000, 0x6000, PGT_READ), -ECANCELED);
	assert_int_equal(pgt_resolve_begin(pgt, 0x5000, PGT_READ, 4, &ticket), -ECANCELED);
	assert_int_equal(out.nb_inv, 0);
	assert_int_equal(mem.nb_alloc, nb_alloc);

	assert_int_equal(pgt_map(pgt, M2, 0, M2, PGT_READ), 0);
	assert_int_equal(pgt_resolve(pgt, M2 + K4, 0, PGT_READ), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, M2 + K4, 0, PGT_WRITE), -EACCES);
	close_table(&mem);
}

static void
two_phases_of_a_resolution(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 39);
	struct pgt_ticket ticket;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	assert_int_equal(pgt_resolve_begin(pgt, 0x1fff, PGT_READ, 0xdeadbeef00, &ticket), 0);
	assert_int_equal(state(pgt, 0x1000), PGT_RESOLVING);
	assert_int_equal(walk(pgt, 0x1000).tag, 0xdeadbeef00);
	assert_int_equal(desc(&mem, 0x40002000, 1) & 1, 0);
	assert_int_equal(pgt_resolve_commit(&ticket, 0x123, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve_commit(&ticket, 0x7000, 0), -EINVAL);
	assert_int_equal(state(pgt, 0x1000), PGT_RESOLVING);
	assert_int_equal(pgt_resolve_commit(&ticket, 0x7000, PGT_WRITE), 0);
	assert_int_equal(desc(&mem, 0x40002000, 1), 0x0060000000007f43);
	/* A ticket works once. */
	assert_int_equal(pgt_resolve_commit(&ticket, 0x8000, PGT_WRITE), -ECANCELED);
	assert_int_equal(pgt_resolve_cancel(&ticket), -ECANCELED);
	assert_int_equal(walk(pgt, 0x1000).pa, 0x7000);

	assert_int_equal(pgt_resolve_begin(pgt, 0x2000, PGT_READ, 8, &ticket), 0);
	assert_int_equal(pgt_resolve_cancel(&ticket), 0);
	assert_int_equal(state(pgt, 0x2000), PGT_INVALID);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0, PGT_READ), 0);
	close_table(&mem);
}

static void
unmap_wins_over_a_resolver(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 39);
	struct pgt_ticket first, second;
	struct pgt_inv inv[1];
	struct pgt_unmapped out;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_resolve_begin(pgt, 0, PGT_READ, 0x10, &first), 0);
	assert_int_equal(pgt_unmap(pgt, 0, K4, PGT_CLOSE, &out), 0);
	assert_int_equal(pgt_resolve_commit(&first, K4, PGT_READ), -ECANCELED);
	assert_int_equal(state(pgt, 0), PGT_CLOSED);
	/* Unmapping once more without PGT_CLOSE does not open. */
	assert_int_equal(pgt_unmap(pgt, 0, K4, 0, &out), 0);
	assert_int_equal(state(pgt, 0), PGT_CLOSED);
	assert_int_equal(pgt_open(pgt, 0, K4), 0);
	assert_int_equal(state(pgt, 0), PGT_INVALID);
	/* Opened and being resolved again: the first ticket is not the second. */
	assert_int_equal(pgt_resolve_begin(pgt, 0, PGT_READ, 0x14, &second), 0);
	assert_int_equal(pgt_resolve_commit(&first, K4, PGT_READ), -ECANCELED);
	assert_int_equal(pgt_resolve_cancel(&first), -ECANCELED);
	/* Opening leaves what is not closed: resolving, then valid. */
	assert_int_equal(pgt_open(pgt, 0, K4), 0);
	assert_int_equal(pgt_resolve_commit(&second, K4, PGT_READ), 0);
	assert_int_equal(pgt_open(pgt, 0, K4), 0);
	assert_int_equal(state(pgt, 0), PGT_VALID);

	/* Without PGT_CLOSE the marker goes as well. */
	assert_int_equal(pgt_resolve_begin(pgt, K4, PGT_READ, 0x18, &first), 0);
	assert_int_equal(pgt_unmap(pgt, K4, K4, 0, &out), 0);
	assert_int_equal(state(pgt, K4), PGT_INVALID);
	assert_int_equal(pgt_resolve_commit(&first, K4, PGT_READ), -ECANCELED);
	assert_int_equal(out.nb_inv, 0);
	close_table(&mem);
}

static void
close_where_no_table_is(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 39);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;

	(void)arg;
	pgt_unmapped_init(&out, inv, 1);
	/* Two whole 1G slots, one page before and one behind. */
	assert_int_equal(pgt_unmap(pgt, G1 - K4, 2 * G1 + 2 * K4, PGT_CLOSE, &out), 0);
	assert_int_equal(mem.nb_alloc, 5);
	assert_int_equal(state(pgt, G1 - 2 * K4), PGT_INVALID);
	assert_int_equal(walk(pgt, G1 - K4).size, K4);
	assert_int_equal(state(pgt, G1 - K4), PGT_CLOSED);
	assert_int_equal(state(pgt, G1), PGT_CLOSED);
	assert_int_equal(walk(pgt, 2 * G1).size, G1);
	assert_int_equal(state(pgt, 3 * G1 - 1), PGT_CLOSED);
	assert_int_equal(state(pgt, 3 * G1), PGT_CLOSED);
	assert_int_equal(state(pgt, 3 * G1 + K4), PGT_INVALID);
	assert_int_equal(out.nb_inv, 0);
	assert_int_equal(pgt_prealloc(pgt, G1, K4), -ECANCELED);
	assert_int_equal(pgt_map(pgt, G1, 0, G1, PGT_READ), -ECANCELED);
	assert_int_equal(pgt_resolve(pgt, G1 + 5 * K4, 0, PGT_READ), -ECANCELED);

	/* Opened in part: the rest stays closed. */
	assert_int_equal(pgt_open(pgt, G1 - K4, K4 + M2 + K4), 0);
	assert_int_equal(state(pgt, G1 - K4), PGT_INVALID);
	assert_int_equal(state(pgt, G1), PGT_ABSENT);
	assert_int_equal(state(pgt, G1 + M2), PGT_INVALID);
	assert_int_equal(state(pgt, G1 + M2 + K4), PGT_CLOSED);
	assert_int_equal(state(pgt, G1 + 2 * M2), PGT_CLOSED);
	assert_int_equal(pgt_open(pgt, 0, 4 * G1), 0);
	assert_int_equal(state(pgt, G1 + M2 + K4), PGT_INVALID);
	assert_int_equal(state(pgt, 2 * G1), PGT_ABSENT);
	assert_int_equal(pgt_map(pgt, 2 * G1, 0, G1, PGT_READ), 0);
	close_table(&mem);
}

static void
protect_changes_valid_leaves_only(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 39);
	struct pgt_inv inv[4];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;

	(void)arg;
	assert_int_equal(pgt_map(pgt, 0, 8 * M2, 2 * K4, PGT_READ), 0);
	assert_int_equal(pgt_resolve_begin(pgt, 2 * K4, PGT_READ, 4, &ticket), 0);
	assert_int_equal(pgt_map(pgt, 4 * K4, 9 * M2, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, 5 * K4, 9 * M2, K4, PGT_WRITE), 0);
	assert_int_equal(pgt_map(pgt, M2, M2, M2, PGT_READ), 0);
	pgt_unmapped_init(&out, inv, 4);
	assert_int_equal(pgt_protect(pgt, 0, 2 * M2, PGT_WRITE, &out), 0);
	assert_int_equal(out.nb_inv, 3);
	assert_int_equal(out.bytes, 3 * K4 + M2);
	assert_int_equal(inv[0].va, 0);
	assert_int_equal(inv[0].size, 2 * K4);
	assert_int_equal(inv[0].level, 3);
	assert_int_equal(inv[0].granule_log2, 12);
	assert_true(inv[0].leaf_only);
	assert_int_equal(inv[1].va, 4 * K4);
	assert_int_equal(inv[1].size, K4);
	assert_int_equal(inv[2].va, M2);
	assert_int_equal(inv[2].level, 2);
	assert_int_equal(desc(&mem, 0x40002000, 1), 0x0060000001001f43);
	assert_int_equal(state(pgt, 2 * K4), PGT_RESOLVING);
	assert_int_equal(state(pgt, 3 * K4), PGT_INVALID);
	/* Down again. */
	assert_int_equal(pgt_protect(pgt, 0, K4, PGT_READ, &out), 0);
	assert_int_equal(desc(&mem, 0x40002000, 0), 0x0060000001000fc3);
	assert_int_equal(out.nb_inv, 4);
	close_table(&mem);
}

static void
invalidation_list_merges_and_never_says_too_little(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 39);
	struct pgt_inv inv[2];
	struct pgt_unmapped out;

	(void)arg;
	/* Two last-level tables side by side make one range. */
	assert_int_equal(pgt_map(pgt, 0, 0, 2 * M2, PGT_READ | PGT_PAGES_ONLY), 0);
	pgt_unmapped_init(&out, inv, 2);
	assert_int_equal(pgt_unmap(pgt, K4, 2 * M2 - 2 * K4, 0, &out), 0);
	assert_int_equal(out.nb_inv, 1);
	assert_int_equal(inv[0].va, K4);
	assert_int_equal(inv[0].size, 2 * M2 - 2 * K4);
	assert_int_equal(inv[0].level, 3);
	assert_int_equal(out.bytes, 2 * M2 - 2 * K4);

	/* Accumulates over calls; what no longer fits is covered by the last. */
	assert_int_equal(pgt_map(pgt, 10 * M2, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, 8 * M2, 0, M2, PGT_READ), 0);
	assert_int_equal(pgt_unmap(pgt, 10 * M2, K4, 0, &out), 0);
	assert_int_equal(out.nb_inv, 2);
	assert_int_equal(pgt_unmap(pgt, 8 * M2, M2, 0, &out), 0);
	assert_int_equal(out.nb_inv, 2);
	assert_int_equal(inv[1].va, 8 * M2);
	assert_int_equal(inv[1].size, 2 * M2 + K4);
	assert_int_equal(inv[1].level, 0);
	assert_true(inv[1].leaf_only);
	/* A table among them: leaves alone are not enough any more. */
	assert_int_equal(pgt_unmap(pgt, 10 * M2, M2, PGT_TABLES, &out), 0);
	assert_int_equal(inv[1].va, 8 * M2);
	assert_int_equal(inv[1].size, 3 * M2);
	assert_false(inv[1].leaf_only);
	pgt_free_tables(pgt, &out.tables);

	/* A page and the block behind it: neighbours, but of two levels. */
	assert_int_equal(pgt_map(pgt, 4 * M2 - K4, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, 4 * M2, 0, M2, PGT_READ), 0);
	pgt_unmapped_init(&out, inv, 2);
	assert_int_equal(pgt_unmap(pgt, 3 * M2, 2 * M2, 0, &out), 0);
	assert_int_equal(out.nb_inv, 2);
	assert_int_equal(inv[0].level, 3);
	assert_int_equal(inv[1].level, 2);
	close_table(&mem);
}

static void
unlinked_tables_stay_closed_until_freed(void **arg)
{
	struct mem mem;
	struct pgt *pgt = open_table(&mem, 12, 39);
	struct pgt_inv inv[4];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;
	struct pgt_info info;
	unsigned int i;

	(void)arg;
	/* Granules: 1 and 2 under the first 1G, 3, 4 and 5 under the second. */
	assert_int_equal(pgt_map(pgt, 0, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, G1, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, 2 * G1 - K4, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, G1 + 2 * M2, 0, M2, PGT_READ), 0);
	assert_int_equal(pgt_resolve_begin(pgt, G1 + K4, PGT_READ, 4, &ticket), 0);
	pgt_unmapped_init(&out, inv, 4);
	/* The page at 0 goes, its table is not covered whole. */
	assert_int_equal(pgt_unmap(pgt, 0, 2 * G1 - 2 * K4, PGT_TABLES, &out), 0);
	assert_int_equal(state(pgt, 2 * G1 - K4), PGT_VALID);
	assert_int_equal(out.tables.nb, 3);
	assert_int_equal(out.bytes, 2 * K4 + M2);
	assert_int_equal(state(pgt, 0), PGT_ABSENT);
	assert_int_equal(pgt_resolve_commit(&ticket, 0, PGT_READ), -ECANCELED);

	/* Rest of the second 1G, closed. */
	assert_int_equal(pgt_unmap(pgt, G1, G1, PGT_CLOSE | PGT_TABLES, &out), 0);
	assert_int_equal(state(pgt, G1), PGT_CLOSED);
	assert_int_equal(walk(pgt, G1).size, G1);
	assert_int_equal(out.tables.nb, 5);
	assert_int_equal(mem.nb_free, 0);
	assert_false(inv[0].leaf_only);
	assert_int_equal(inv[0].va, 0);
	/* A device with a cached walk and a late thread see nothing but closed. */
	for (i = 0; i < 5 * 512; i++)
		assert_int_equal(desc(&mem, 0x40001000, i) & 3, 2);

	pgt_free_tables(pgt, &out.tables);
	assert_null(out.tables.head);
	assert_int_equal(out.tables.nb, 0);
	assert_int_equal(mem.nb_free, 5);
	pgt_info(pgt, &info);
	assert_int_equal(info.nb_tables, 1);
	assert_int_equal(pgt_open(pgt, G1, G1), 0);
	assert_int_equal(pgt_map(pgt, G1, 0, G1, PGT_READ), 0);
	close_table(&mem);
}

static void
out_of_range_and_misaligned_is_refused(void **arg)
{
	struct mem mem;
	struct pgt_conf conf;
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;
	struct pgt_leaf leaf;
	struct pgt *pgt;
	uint64_t top = UINT64_C(1) << 39, ptop = UINT64_C(1) << 40;
	unsigned int i;
	static const struct {
		uint64_t va, size;
	} bad[] = {
		{ 0, 0 }, { 1, K4 }, { 0, K4 + 1 }, { UINT64_C(1) << 39, K4 },
		{ (UINT64_C(1) << 39) - K4, 2 * K4 }, { K4, UINT64_MAX - K4 + 1 },
		{ UINT64_MAX - K4 + 1, K4 }, { UINT64_MAX - K4 + 1, 2 * K4 },
	};

	(void)arg;
	mem_init(&mem, 12);
	conf = mem_conf(&mem, 12, 39);
	conf.pa_bits = 40;
	mem.pgt = pgt = pgt_create(&conf);
	assert_non_null(pgt);
	pgt_unmapped_init(&out, inv, 1);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(pgt_prealloc(pgt, bad[i].va, bad[i].size), -EINVAL);
		assert_int_equal(pgt_map(pgt, bad[i].va, 0, bad[i].size, PGT_READ), -EINVAL);
		assert_int_equal(pgt_unmap(pgt, bad[i].va, bad[i].size, 0, &out), -EINVAL);
		assert_int_equal(pgt_protect(pgt, bad[i].va, bad[i].size, PGT_READ, &out), -EINVAL);
		assert_int_equal(pgt_open(pgt, bad[i].va, bad[i].size), -EINVAL);
	}
	assert_int_equal(pgt_map(pgt, 0, 1, K4, PGT_READ), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, ptop, K4, PGT_READ), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, ptop - K4, 2 * K4, PGT_READ), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, 0, K4, 0), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, 0, K4, PGT_PRIV), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, 0, K4, PGT_READ | 1u << 30), -EINVAL);
	assert_int_equal(pgt_unmap(pgt, 0, K4, 1u << 30, &out), -EINVAL);
	assert_int_equal(pgt_unmap(pgt, 0, K4, 0, NULL), -EINVAL);
	out.max_inv = 0;
	assert_int_equal(pgt_unmap(pgt, 0, K4, 0, &out), -EINVAL);
	assert_int_equal(pgt_protect(pgt, 0, K4, PGT_READ, &out), -EINVAL);
	assert_int_equal(pgt_walk(pgt, top, &leaf), -EINVAL);
	assert_int_equal(mem.nb_alloc, 1);

	assert_int_equal(pgt_prealloc(pgt, 0, K4), 0);
	assert_int_equal(pgt_resolve(pgt, top, 0, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, UINT64_MAX, 0, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, 0, ptop, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, 0, 8, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, 0, 0, 0), -EINVAL);
	assert_int_equal(pgt_resolve_begin(pgt, top, PGT_READ, 4, &ticket), -EINVAL);
	for (i = 0; i < 4; i++)
		assert_int_equal(pgt_resolve_begin(pgt, 0, PGT_READ, i, &ticket), -EINVAL);
	assert_int_equal(state(pgt, 0), PGT_INVALID);
	close_table(&mem);
}

static void
configuration_is_checked(void **arg)
{
	struct pgt_conf good, conf;
	struct mem mem;

	(void)arg;
	mem_init(&mem, 12);
	good = mem_conf(&mem, 0, 0);
	mem.pgt = pgt_create(&good);
	assert_non_null(mem.pgt);
	assert_int_equal(pgt_va_bits(mem.pgt), 48);
	assert_int_equal(pgt_granule_log2(mem.pgt), 12);
	pgt_destroy(mem.pgt);

#define REFUSED(err, ...) do {							\
		conf = good;							\
		__VA_ARGS__;							\
		errno = 0;							\
		assert_null(pgt_create(&conf));					\
		assert_int_equal(errno, err);					\
	} while (0)
	REFUSED(EINVAL, conf.granule_log2 = 13);
	REFUSED(EINVAL, conf.va_bits = 24);
	REFUSED(EINVAL, conf.va_bits = 49);
	REFUSED(EINVAL, conf.pa_bits = 31);
	REFUSED(EINVAL, conf.pa_bits = 52);
	REFUSED(EINVAL, conf.mem.alloc = NULL);
	REFUSED(EINVAL, conf.mem.free = NULL);
	REFUSED(EINVAL, conf.mem.va_to_pa = NULL);
	mem.skew = 64;
	REFUSED(EFAULT, conf = good);
	mem.skew = 0;
	mem.fail_from = 1;
	mem.nb_alloc = mem.nb_free = 0;
	REFUSED(ENOMEM, conf = good);
	mem.fail_from = 0;
#undef REFUSED

	/* Memory that turns bad later. */
	mem.pgt = pgt_create(&good);
	assert_non_null(mem.pgt);
	mem.skew = 8;
	assert_int_equal(pgt_prealloc(mem.pgt, 0, K4), -EFAULT);
	mem.skew = 0;
	assert_int_equal(pgt_prealloc(mem.pgt, 0, K4), 0);
	pgt_destroy(mem.pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
	free(mem.base);
	pgt_destroy(NULL);

	assert_string_equal(pgt_state_name(PGT_ABSENT), "absent");
	assert_string_equal(pgt_state_name(PGT_CLOSED), "closed");
	assert_string_equal(pgt_state_name((enum pgt_state)99), "?");
}

static uint64_t
crooked_va_to_pa(void *ctx, const void *p)
{
	struct mem *mem = ctx;
	uint64_t pa = mem_va_to_pa(ctx, p);

	/* From the third granule on the window has a hole. */
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
	assert_int_equal(desc(&mem, 0x40002000, 5), 0x0060000000009fc3);
	assert_int_equal(walk(mem.pgt, 5 * K4).pa, 9 * K4);
	close_table(&mem);

	mem_init(&mem, 12);
	conf.mem.va_to_pa = crooked_va_to_pa;
	mem.pgt = pgt_create(&conf);
	assert_non_null(mem.pgt);
	assert_int_equal(pgt_map(mem.pgt, 0, 0, K4, PGT_READ), -EFAULT);
	assert_int_equal(state(mem.pgt, 0), PGT_ABSENT);
	close_table(&mem);
}

static int
step_map(struct pgt *pgt, struct pgt_unmapped *out)
{
	(void)out;
	return pgt_map(pgt, G1 - 2 * M2 - K4, G1 - 2 * M2 - K4, 4 * M2 + 2 * K4, PGT_READ);
}

static int
step_prealloc(struct pgt *pgt, struct pgt_unmapped *out)
{
	(void)out;
	return pgt_prealloc(pgt, G1 - M2, 3 * M2);
}

static int
step_close(struct pgt *pgt, struct pgt_unmapped *out)
{
	return pgt_unmap(pgt, 7 * G1 - K4, 2 * G1 + 2 * K4, PGT_CLOSE, out);
}

static int
step_open_in_part(struct pgt *pgt, struct pgt_unmapped *out)
{
	(void)out;
	return pgt_open(pgt, 7 * G1 + M2, K4);
}

static void
nth_allocation_failure_leaves_a_consistent_table(void **arg)
{
	static int (* const steps[])(struct pgt *pgt, struct pgt_unmapped *out) = {
		step_map, step_prealloc, step_close, step_open_in_part,
	};
	/* Where a map that failed would have left something. */
	static const uint64_t probes[] = { G1 - 2 * M2 - K4, G1 - M2, G1, G1 + 2 * M2 };
	struct pgt_unmapped out;
	struct pgt_inv inv[4];
	struct pgt_info info;
	struct mem mem;
	struct pgt *pgt;
	unsigned int fail, s, i, failures = 0;
	bool all;
	int rc;

	(void)arg;
	for (fail = 2, all = false; !all; fail++) {
		pgt = open_table(&mem, 12, 48);
		pgt_unmapped_init(&out, inv, 4);
		all = true;
		for (s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
			mem.fail_from = fail;
			rc = steps[s](pgt, &out);
			mem.fail_from = 0;
			if (rc == 0)
				continue;
			assert_int_equal(rc, -ENOMEM);
			all = false;
			failures++;
			if (s == 0) {
				for (i = 0; i < 4; i++)
					assert_int_not_equal(state(pgt, probes[i]), PGT_VALID);
			} else if (s == 2) {
				assert_int_not_equal(state(pgt, 7 * G1 - K4), PGT_CLOSED);
				assert_int_not_equal(state(pgt, 7 * G1), PGT_CLOSED);
				assert_int_not_equal(state(pgt, 9 * G1), PGT_CLOSED);
			} else if (s == 3) {
				assert_int_equal(state(pgt, 7 * G1 + M2), PGT_CLOSED);
			}
			pgt_info(pgt, &info);
			assert_int_equal(info.nb_tables, mem.nb_alloc);
			assert_int_equal(out.nb_inv, 0);
			/* And again, with memory. */
			assert_int_equal(steps[s](pgt, &out), 0);
		}
		assert_int_equal(walk(pgt, G1 + M2).pa, G1 + M2);
		assert_int_equal(state(pgt, 7 * G1 + M2), PGT_INVALID);
		assert_int_equal(state(pgt, 7 * G1 + M2 - K4), PGT_CLOSED);
		close_table(&mem);
	}
	assert_true(failures > 8);
}

/* ---- races: threads on a few pages, so that they meet ---- */

#define RACE_PAGES	8
#define RACE_RESOLVERS	3
#define RACE_ROUNDS	20000u

struct race {
	struct pgt *pgt;
	uint32_t unmap_flags;
	_Atomic bool stop;
	/* Passes of each resolver: one that has advanced by two holds no table it saw before. */
	_Atomic uint64_t pass[RACE_RESOLVERS];
	_Atomic uint64_t resolved;
	_Atomic uint64_t odd;		/* results that cannot be */
};

struct race_arg {
	struct race *race;
	unsigned int id;
};

static void *
race_resolver(void *p)
{
	struct race_arg *a = p;
	struct race *race = a->race;
	struct pgt_ticket ticket;
	uint64_t n = 0, done = 0, odd = 0;
	uint64_t va;
	int rc;

	while (!atomic_load_explicit(&race->stop, memory_order_relaxed)) {
		n++;
		va = (n * 5 + a->id) % RACE_PAGES * K4;
		if (a->id == 0) {
			rc = pgt_prealloc(race->pgt, 0, RACE_PAGES * K4);
			odd += rc != 0 && rc != -ECANCELED;
		}
		if (n & 1) {
			rc = pgt_resolve(race->pgt, va, va + M2, PGT_READ);
			done += rc == 0;
			odd += rc == -EACCES || rc == -EINVAL;
		} else if (pgt_resolve_begin(race->pgt, va, PGT_READ, (n * 4 + a->id) * 4,
				&ticket) == 0) {
			if (n % 16 == 0) {
				rc = pgt_resolve_cancel(&ticket);
			} else {
				if (n % 8 == 0)
					sched_yield();
				rc = pgt_resolve_commit(&ticket, va + M2, PGT_READ);
				done += rc == 0;
			}
			odd += rc != 0 && rc != -ECANCELED;
		}
		/* Between two sections: pairs with the acquire in race_grace(). */
		atomic_store_explicit(&race->pass[a->id], n, memory_order_release);
		if (n % 64 == 0)
			sched_yield();
	}
	/* A thread that left holds nothing: let a grace period see it advance. */
	atomic_store_explicit(&race->pass[a->id], UINT64_MAX, memory_order_release);
	atomic_fetch_add(&race->resolved, done);
	atomic_fetch_add(&race->odd, odd);
	return NULL;
}

static void
race_grace(struct race *race)
{
	uint64_t seen;
	unsigned int i;

	for (i = 0; i < RACE_RESOLVERS; i++) {
		seen = atomic_load_explicit(&race->pass[i], memory_order_acquire);
		/* Two: the pass under way when we looked may have begun before the unlink. */
		while (atomic_load_explicit(&race->pass[i], memory_order_acquire) < seen + 2)
			sched_yield();
	}
}

static void *
heap_alloc(void *ctx, size_t size)
{
	struct mem *mem = ctx;
	void *p = aligned_alloc(size, size);

	if (p != NULL) {
		memset(p, 0, size);
		atomic_fetch_add(&mem->nb_alloc, 1);
	}
	return p;
}

static void
heap_free(void *ctx, void *p, size_t size)
{
	struct mem *mem = ctx;

	(void)size;
	atomic_fetch_add(&mem->nb_free, 1);
	free(p);
}

static uint64_t
heap_va_to_pa(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

/* What resolvers were told they mapped is what unmap took, plus what is left: no more, no less. */
static void
race_unmap(uint32_t flags)
{
	struct mem mem = { 0 };
	struct pgt_conf conf = {
		.mem = { &mem, heap_alloc, heap_free, heap_va_to_pa, NULL },
	};
	struct race race = { .pgt = pgt_create(&conf), .unmap_flags = flags };
	struct race_arg args[RACE_RESOLVERS];
	pthread_t threads[RACE_RESOLVERS];
	uint64_t size = flags & PGT_TABLES ? M2 : RACE_PAGES * K4;
	uint64_t taken = 0, broken = 0;
	struct pgt_unmapped out;
	struct pgt_inv inv[4];
	unsigned int i, round;

	assert_non_null(race.pgt);
	for (i = 0; i < RACE_RESOLVERS; i++) {
		args[i] = (struct race_arg){ &race, i };
		assert_int_equal(pthread_create(&threads[i], NULL, race_resolver, &args[i]), 0);
	}
	for (round = 0; round < RACE_ROUNDS * test_scale(); round++) {
		pgt_unmapped_init(&out, inv, 4);
		if (pgt_unmap(race.pgt, 0, size, flags, &out))
			broken++;
		taken += out.bytes / K4;
		if (flags & PGT_CLOSE) {
			if (round % 4 == 0)
				sched_yield();
			for (i = 0; i < 2 * RACE_PAGES; i++)
				broken += state(race.pgt, i % RACE_PAGES * K4) != PGT_CLOSED;
		}
		if (out.tables.nb) {
			race_grace(&race);
			pgt_free_tables(race.pgt, &out.tables);
		}
		if ((flags & PGT_CLOSE) && pgt_open(race.pgt, 0, size))
			broken++;
		if (round % 8 == 0)
			sched_yield();
	}
	atomic_store(&race.stop, true);
	for (i = 0; i < RACE_RESOLVERS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < RACE_PAGES; i++)
		taken += state(race.pgt, i * K4) == PGT_VALID;
	assert_int_equal(broken, 0);
	assert_int_equal(race.odd, 0);
	assert_int_equal(taken, race.resolved);
	assert_true(race.resolved > 0);
	pgt_destroy(race.pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
}

static void
race_resolve_with_close(void **arg)
{
	(void)arg;
	race_unmap(PGT_CLOSE);
}

static void
race_resolve_with_plain_unmap(void **arg)
{
	(void)arg;
	race_unmap(0);
}

static void
race_resolve_with_unlinked_tables(void **arg)
{
	(void)arg;
	race_unmap(PGT_CLOSE | PGT_TABLES);
}

static void *
race_preallocator(void *p)
{
	struct race_arg *a = p;
	uint64_t i;

	/* Neighbours and overlaps: each takes four 2M slots, beginning with its own. */
	for (i = 0; i < 64; i++)
		if (pgt_prealloc(a->race->pgt, i * G1 + a->id * M2, 4 * M2) ||
		    pgt_resolve(a->race->pgt, i * G1 + a->id * M2 + a->id * K4, a->id * K4,
				PGT_WRITE))
			atomic_fetch_add(&a->race->odd, 1);
	return NULL;
}

static void
race_prealloc_of_neighbours(void **arg)
{
	struct mem mem = { 0 };
	struct pgt_conf conf = {
		.va_bits = 39,
		.mem = { &mem, heap_alloc, heap_free, heap_va_to_pa, NULL },
	};
	struct race race = { .pgt = pgt_create(&conf) };
	struct race_arg args[RACE_RESOLVERS];
	pthread_t threads[RACE_RESOLVERS];
	struct pgt_info info;
	uint64_t i, n;

	(void)arg;
	assert_non_null(race.pgt);
	for (i = 0; i < RACE_RESOLVERS; i++) {
		args[i] = (struct race_arg){ &race, i };
		assert_int_equal(pthread_create(&threads[i], NULL, race_preallocator, &args[i]), 0);
	}
	for (i = 0; i < RACE_RESOLVERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.odd, 0);
	for (i = 0; i < 64; i++)
		for (n = 0; n < RACE_RESOLVERS; n++)
			assert_int_equal(walk(race.pgt, i * G1 + n * M2 + n * K4).pa, n * K4);
	pgt_info(race.pgt, &info);
	/* The root, 64 tables of level 2, and slots 0 to 5 below each. */
	assert_int_equal(info.nb_tables, 1 + 64 + 64 * 6);
	assert_int_equal(mem.nb_alloc - mem.nb_free, info.nb_tables);
	pgt_destroy(race.pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
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
	cmocka_unit_test(map_that_fails_leaves_nothing),
	cmocka_unit_test(map_that_meets_a_writer_is_taken_back),
	cmocka_unit_test(loser_of_a_table_race_frees_its_own),
	cmocka_unit_test(table_race_lost_to_a_block),
	cmocka_unit_test(resolve_tells_why_not),
	cmocka_unit_test(two_phases_of_a_resolution),
	cmocka_unit_test(unmap_wins_over_a_resolver),
	cmocka_unit_test(close_where_no_table_is),
	cmocka_unit_test(protect_changes_valid_leaves_only),
	cmocka_unit_test(invalidation_list_merges_and_never_says_too_little),
	cmocka_unit_test(unlinked_tables_stay_closed_until_freed),
	cmocka_unit_test(out_of_range_and_misaligned_is_refused),
	cmocka_unit_test(configuration_is_checked),
	cmocka_unit_test(tables_in_one_window_need_no_reverse_lookup),
	cmocka_unit_test(nth_allocation_failure_leaves_a_consistent_table),
	cmocka_unit_test(race_resolve_with_close),
	cmocka_unit_test(race_resolve_with_plain_unmap),
	cmocka_unit_test(race_resolve_with_unlinked_tables),
	cmocka_unit_test(race_prealloc_of_neighbours),
};

TEST_SUITE(pgtable, tests, NULL, NULL);
