/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Access and dirty flags of leaves, as literal descriptors: AF is bit 10 (0x400), AP[2] bit 7, and
 * DBM bit 51 (0x0008...).
 */

#include <errno.h>
#include <string.h>

#include "table_rig.h"
#include "test.h"

#define RW	(PGT_READ | PGT_WRITE)
/* The first table of pages. */
#define PAGES	UINT64_C(0x40002000)

struct flags {
	struct mem mem;
	struct pgt *pgt;
	struct pgt_inv inv[4];
	struct pgt_unmapped out;
	struct pgt_used used;
	uint64_t accessed[2], dirty[2];
};

static void
flags_open(struct flags *f, bool stage2)
{
	struct pgt_conf conf;

	memset(f, 0, sizeof(*f));
	mem_init(&f->mem, 12);
	conf = mem_conf(&f->mem, 12, 39);
	conf.stage2 = stage2;
	f->pgt = f->mem.pgt = pgt_create(&conf);
	assert_non_null(f->pgt);
	assert_int_equal(pgt_prealloc(f->pgt, 0, K4), 0);
}

/* An empty report for the first 128 pages. */
static struct pgt_unmapped *
flags_out(struct flags *f)
{
	memset(f->accessed, 0, sizeof(f->accessed));
	memset(f->dirty, 0, sizeof(f->dirty));
	f->used = (struct pgt_used){ .size = 128 * K4, .accessed = f->accessed, .dirty = f->dirty };
	pgt_unmapped_init(&f->out, f->inv, 4);
	f->out.used = &f->used;
	return &f->out;
}

static uint64_t
page_desc(struct flags *f, unsigned int index)
{
	return table_desc(&f->mem, PAGES, index);
}

/* What an SMMU does to a descriptor. */
static void
flip_bits(struct flags *f, unsigned int index, unsigned int bit)
{
	f->mem.base[PAGES - TABLE_PA + index * 8 + bit / 8] ^= 1u << bit % 8;
}

static void
new_leaves_have_the_flags_asked_for(void **arg)
{
	static const struct {
		bool stage2;
		uint32_t prot;
		uint64_t desc;
	} rows[] = {
		{ false, RW, 0x0060000000000f43 },
		{ false, RW | PGT_CLEAN, 0x0068000000000fc3 },
		{ false, RW | PGT_OLD, 0x0060000000000b43 },
		{ false, RW | PGT_OLD | PGT_CLEAN, 0x0068000000000bc3 },
		{ false, RW | PGT_EXEC | PGT_PRIV | PGT_CLEAN, 0x0048000000000f83 },
		{ false, PGT_READ | PGT_CLEAN, 0x0060000000000fc3 },
		{ false, PGT_READ | PGT_OLD, 0x0060000000000bc3 },
		{ true, RW | PGT_CLEAN, 0x004800000000077f },
		{ true, RW | PGT_OLD, 0x00400000000003ff },
		{ true, RW | PGT_OLD | PGT_CLEAN, 0x004800000000037f },
		{ true, PGT_READ | PGT_CLEAN, 0x004000000000077f },
	};
	struct pgt_ticket ticket;
	struct pgt_leaf leaf;
	struct flags f;
	unsigned int i, n;

	(void)arg;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		flags_open(&f, rows[i].stage2);
		assert_int_equal(pgt_resolve(f.pgt, 0, 0, rows[i].prot), 0);
		assert_int_equal(pgt_map(f.pgt, K4, 0, K4, rows[i].prot), 0);
		assert_int_equal(pgt_resolve_begin(f.pgt, 2 * K4, rows[i].prot, 4, &ticket), 0);
		assert_int_equal(pgt_resolve_commit(&ticket, 0, rows[i].prot), 0);
		for (n = 0; n < 3; n++) {
			assert_int_equal(page_desc(&f, n), rows[i].desc);
			leaf = table_walk(f.pgt, n * K4);
			assert_int_equal(leaf.prot, (rows[i].prot & ~(PGT_OLD | PGT_CLEAN)));
			assert_int_equal(leaf.accessed, !(rows[i].prot & PGT_OLD));
			assert_int_equal(leaf.dirty,
					(rows[i].prot & (PGT_WRITE | PGT_CLEAN)) == PGT_WRITE);
		}
		table_close(&f.mem);
	}
}

static void
harvest_reports_and_clears_both_flags(void **arg)
{
	struct flags f;

	(void)arg;
	flags_open(&f, false);
	assert_int_equal(pgt_map(f.pgt, 0, 0, 3 * K4, RW), 0);
	assert_int_equal(pgt_map(f.pgt, 3 * K4, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(f.pgt, 70 * K4, 0, K4, RW | PGT_OLD | PGT_CLEAN), 0);
	assert_int_equal(pgt_map(f.pgt, 71 * K4, 0, K4, RW | PGT_CLEAN), 0);
	assert_int_equal(pgt_harvest(f.pgt, 0, 128 * K4, PGT_ACCESSED | PGT_DIRTY, flags_out(&f)),
			0);
	assert_int_equal(f.accessed[0], 0xf);
	assert_int_equal(f.accessed[1], 0x80);
	assert_int_equal(f.dirty[0], 0x7);
	assert_int_equal(f.dirty[1], 0);
	assert_int_equal(f.used.accessed_bytes, 5 * K4);
	assert_int_equal(f.used.dirty_bytes, 3 * K4);
	assert_int_equal(page_desc(&f, 0), 0x0068000000000bc3);
	assert_int_equal(page_desc(&f, 3), 0x0060000000000bc3);
	assert_int_equal(page_desc(&f, 70), 0x0068000000000bc3);
	assert_int_equal(page_desc(&f, 71), 0x0068000000000bc3);
	/* Only what was dirty needs an invalidation. */
	assert_int_equal(f.out.nb_inv, 1);
	assert_int_equal(f.out.bytes, 3 * K4);
	assert_int_equal(f.inv[0].va, 0);
	assert_int_equal(f.inv[0].size, 3 * K4);
	assert_int_equal(f.inv[0].level, 3);
	assert_true(f.inv[0].leaf_only);
	/* The SMMU reads page 1 and writes page 70. */
	flip_bits(&f, 1, 10);
	flip_bits(&f, 70, 10);
	flip_bits(&f, 70, 7);
	assert_int_equal(pgt_harvest(f.pgt, 0, 128 * K4, PGT_ACCESSED | PGT_DIRTY, flags_out(&f)),
			0);
	assert_int_equal(f.accessed[0], 0x2);
	assert_int_equal(f.accessed[1], 0x40);
	assert_int_equal(f.dirty[0], 0);
	assert_int_equal(f.dirty[1], 0x40);
	assert_int_equal(page_desc(&f, 70), 0x0068000000000bc3);
	table_close(&f.mem);
}

static void
harvest_clears_only_what_is_asked_for(void **arg)
{
	struct flags f;

	(void)arg;
	flags_open(&f, false);
	assert_int_equal(pgt_map(f.pgt, 0, 0, K4, RW), 0);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_ACCESSED | PGT_DIRTY | PGT_KEEP |
			PGT_INV_ACCESSED, flags_out(&f)), 0);
	assert_int_equal(f.accessed[0], 1);
	assert_int_equal(f.dirty[0], 1);
	assert_int_equal(f.out.nb_inv, 0);
	assert_int_equal(page_desc(&f, 0), 0x0060000000000f43);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_ACCESSED, flags_out(&f)), 0);
	assert_int_equal(f.accessed[0], 1);
	assert_int_equal(f.dirty[0], 0);
	assert_int_equal(f.used.dirty_bytes, 0);
	assert_int_equal(f.out.nb_inv, 0);
	assert_int_equal(page_desc(&f, 0), 0x0060000000000b43);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_DIRTY, flags_out(&f)), 0);
	assert_int_equal(f.dirty[0], 1);
	assert_int_equal(f.out.nb_inv, 1);
	assert_int_equal(page_desc(&f, 0), 0x0068000000000bc3);
	flip_bits(&f, 0, 10);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_ACCESSED | PGT_INV_ACCESSED, flags_out(&f)),
			0);
	assert_int_equal(f.out.nb_inv, 1);
	assert_int_equal(f.out.bytes, K4);
	/* Nothing is left, and nothing is changed. */
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_ACCESSED | PGT_DIRTY, flags_out(&f)), 0);
	assert_int_equal(f.used.accessed_bytes | f.used.dirty_bytes, 0);
	assert_int_equal(page_desc(&f, 0), 0x0068000000000bc3);
	table_close(&f.mem);
}

static void
harvest_of_blocks_sets_the_bits_of_their_granules(void **arg)
{
	uint64_t dirty[512 / 64 + 1] = { 0 };
	struct flags f;
	unsigned int i;

	(void)arg;
	flags_open(&f, true);
	assert_int_equal(pgt_map(f.pgt, M2, M2, M2, RW), 0);
	assert_int_equal(pgt_harvest(f.pgt, M2, K4, PGT_DIRTY, flags_out(&f)), -EINVAL);
	flags_out(&f);
	/* From the last page in front of the block to the last but one in it. */
	f.used = (struct pgt_used){ .va = M2 - K4, .size = M2, .dirty = dirty };
	assert_int_equal(pgt_harvest(f.pgt, 0, 8 * M2, PGT_DIRTY | PGT_ACCESSED, &f.out), 0);
	assert_int_equal(f.used.dirty_bytes, M2);
	assert_int_equal(f.used.accessed_bytes, M2);
	assert_int_equal(dirty[0], UINT64_MAX - 1);
	for (i = 1; i < 8; i++)
		assert_int_equal(dirty[i], UINT64_MAX);
	assert_int_equal(dirty[8], 0);
	assert_int_equal(f.inv[0].level, 2);
	/* Level 2, entry 1: block, S2AP read, DBM, AF clear. */
	assert_int_equal(table_desc(&f.mem, 0x40001000, 1), 0x004800000020037d);
	table_close(&f.mem);
}

static void
unmap_reports_the_flags_of_what_it_removes(void **arg)
{
	static const uint32_t flags[] = { 0, PGT_CLOSE, PGT_TABLES, PGT_CLOSE | PGT_TABLES };
	struct flags f;
	unsigned int i;

	(void)arg;
	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		flags_open(&f, false);
		assert_int_equal(pgt_map(f.pgt, 0, 0, K4, RW), 0);
		assert_int_equal(pgt_map(f.pgt, K4, 0, K4, PGT_READ), 0);
		assert_int_equal(pgt_map(f.pgt, 2 * K4, 0, 2 * K4, RW | PGT_OLD | PGT_CLEAN), 0);
		flip_bits(&f, 3, 10);
		flip_bits(&f, 3, 7);
		assert_int_equal(pgt_unmap(f.pgt, 0, M2, flags[i], flags_out(&f)), 0);
		assert_int_equal(f.accessed[0], 0xb);
		assert_int_equal(f.dirty[0], 0x9);
		assert_int_equal(f.used.dirty_bytes, 2 * K4);
		assert_int_equal(f.out.bytes, 4 * K4);
		pgt_free_tables(f.pgt, &f.out.tables);
		table_close(&f.mem);
	}
}

static void
protect_keeps_or_reports_the_dirty_state(void **arg)
{
	struct flags f;

	(void)arg;
	flags_open(&f, false);
	assert_int_equal(pgt_map(f.pgt, 0, 0, K4, RW), 0);
	assert_int_equal(pgt_map(f.pgt, K4, 0, K4, RW | PGT_CLEAN | PGT_OLD), 0);
	assert_int_equal(pgt_map(f.pgt, 2 * K4, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_protect(f.pgt, 0, 3 * K4, RW | PGT_CLEAN, flags_out(&f)), 0);
	assert_int_equal(page_desc(&f, 0), 0x0060000000000f43);
	assert_int_equal(page_desc(&f, 1), 0x0068000000000bc3);
	assert_int_equal(page_desc(&f, 2), 0x0068000000000fc3);
	assert_int_equal(f.out.bytes, K4);
	assert_int_equal(f.used.dirty_bytes, 0);
	assert_int_equal(pgt_protect(f.pgt, 0, 3 * K4, PGT_READ, flags_out(&f)), 0);
	assert_int_equal(f.dirty[0], 0x1);
	assert_int_equal(f.accessed[0], 0);
	assert_int_equal(page_desc(&f, 0), 0x0060000000000fc3);
	assert_int_equal(page_desc(&f, 1), 0x0060000000000bc3);
	assert_int_equal(f.out.bytes, 3 * K4);
	assert_int_equal(pgt_protect(f.pgt, K4, 2 * K4, RW, flags_out(&f)), 0);
	assert_int_equal(page_desc(&f, 1), 0x0060000000000b43);
	assert_int_equal(page_desc(&f, 2), 0x0060000000000f43);
	assert_int_equal(pgt_protect(f.pgt, 0, K4, RW | PGT_OLD, flags_out(&f)), -EINVAL);
	table_close(&f.mem);
}

static void
resolve_answers_an_access_fault_by_setting_af(void **arg)
{
	struct pgt_ticket ticket;
	struct flags f;

	(void)arg;
	flags_open(&f, false);
	assert_int_equal(pgt_map(f.pgt, 0, 0, 4 * K4, PGT_READ | PGT_OLD), 0);
	assert_int_equal(pgt_map(f.pgt, M2, M2, M2, PGT_READ | PGT_OLD), 0);
	/* A prefetch is no access. */
	assert_int_equal(pgt_resolve(f.pgt, 0, 0, PGT_READ | PGT_OLD), -EALREADY);
	assert_int_equal(page_desc(&f, 0), 0x0060000000000bc3);
	assert_int_equal(pgt_resolve(f.pgt, 0, 0, PGT_READ), -EALREADY);
	assert_int_equal(page_desc(&f, 0), 0x0060000000000fc3);
	assert_int_equal(pgt_resolve(f.pgt, K4, 0, PGT_WRITE), -EACCES);
	assert_int_equal(page_desc(&f, 1), 0x0060000000001fc3);
	assert_int_equal(pgt_resolve_begin(f.pgt, 2 * K4, PGT_READ, 4, &ticket), -EALREADY);
	assert_int_equal(page_desc(&f, 2), 0x0060000000002fc3);
	assert_int_equal(page_desc(&f, 3), 0x0060000000003bc3);
	assert_int_equal(table_desc(&f.mem, 0x40001000, 1), 0x0060000000200bc1);
	assert_int_equal(pgt_resolve(f.pgt, M2 + 5 * K4, 0, PGT_READ), -EALREADY);
	assert_int_equal(table_desc(&f.mem, 0x40001000, 1), 0x0060000000200fc1);
	table_close(&f.mem);
}

static void
write_to_a_clean_page_without_hd_needs_protect(void **arg)
{
	struct flags f;

	(void)arg;
	flags_open(&f, false);
	assert_int_equal(pgt_map(f.pgt, 0, 0, K4, RW | PGT_CLEAN), 0);
	assert_int_equal(pgt_resolve(f.pgt, 0, 0, PGT_READ), -EALREADY);
	assert_int_equal(pgt_resolve(f.pgt, 0, 0, RW | PGT_CLEAN), -EALREADY);
	assert_int_equal(pgt_resolve(f.pgt, 0, 0, RW), -EACCES);
	assert_int_equal(pgt_protect(f.pgt, 0, K4, RW, flags_out(&f)), 0);
	assert_int_equal(f.out.nb_inv, 1);
	assert_int_equal(pgt_resolve(f.pgt, 0, 0, RW), -EALREADY);
	/* AP[2] = 0; DBM stays, without meaning. */
	assert_int_equal(page_desc(&f, 0), 0x0068000000000f43);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_DIRTY, flags_out(&f)), 0);
	assert_int_equal(f.dirty[0], 1);
	assert_int_equal(page_desc(&f, 0), 0x0068000000000fc3);
	table_close(&f.mem);
}

static void
harvest_refuses_bad_arguments(void **arg)
{
	struct flags f;

	(void)arg;
	flags_open(&f, false);
	assert_int_equal(pgt_map(f.pgt, 0, 0, K4, RW), 0);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, 0, flags_out(&f)), -EINVAL);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_KEEP, &f.out), -EINVAL);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_DIRTY | 1u << 4, &f.out), -EINVAL);
	assert_int_equal(pgt_harvest(f.pgt, 0, 0, PGT_DIRTY, &f.out), -EINVAL);
	assert_int_equal(pgt_harvest(f.pgt, 1, K4, PGT_DIRTY, &f.out), -EINVAL);
	assert_int_equal(pgt_harvest(f.pgt, UINT64_C(1) << 39, K4, PGT_DIRTY, &f.out), -EINVAL);
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_DIRTY, NULL), -EINVAL);
	f.out.max_inv = 0;
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_DIRTY, &f.out), -EINVAL);
	flags_out(&f)->used = NULL;
	assert_int_equal(pgt_harvest(f.pgt, 0, K4, PGT_DIRTY, &f.out), -EINVAL);
	assert_int_equal(page_desc(&f, 0), 0x0060000000000f43);
	table_close(&f.mem);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(new_leaves_have_the_flags_asked_for),
	cmocka_unit_test(harvest_reports_and_clears_both_flags),
	cmocka_unit_test(harvest_clears_only_what_is_asked_for),
	cmocka_unit_test(harvest_of_blocks_sets_the_bits_of_their_granules),
	cmocka_unit_test(unmap_reports_the_flags_of_what_it_removes),
	cmocka_unit_test(protect_keeps_or_reports_the_dirty_state),
	cmocka_unit_test(resolve_answers_an_access_fault_by_setting_af),
	cmocka_unit_test(write_to_a_clean_page_without_hd_needs_protect),
	cmocka_unit_test(harvest_refuses_bad_arguments),
};
TEST_SUITE(pgtable_flags, tests, NULL, NULL);
