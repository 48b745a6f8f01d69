/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Stage 2: descriptors and permissions. test_pgtable_root.c has the root. The contracts that stage
 * 2 shares with stage 1 are tested by the other suites, as NAME_stage2.
 */

#include <endian.h>
#include <errno.h>

#include "ref_walk.h"
#include "table_rig.h"
#include "test.h"

static void
descriptors_of_concatenated_tables(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 40);

	(void)arg;
	/* Two tables of level 1, and entry 0 of the second one; L2 0x91, L3 0x145 */
	assert_int_equal(pgt_root(pgt), 0x40000000);
	assert_int_equal(pgt_map(pgt, 0x8012345000, 0x876543000, K4, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x200), 0x40002003);
	assert_int_equal(table_desc(&mem, 0x40001000, 0), 0x40002003);
	assert_int_equal(table_desc(&mem, 0x40002000, 0x91), 0x40003003);
	assert_int_equal(table_desc(&mem, 0x40003000, 0x145), 0x00400008765437ff);
	assert_int_equal(table_desc(&mem, 0x40000000, 0), 0);
	assert_int_equal(pgt_map(pgt, 0xfffffff000, 0xfffffffff000, K4, PGT_READ), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x3ff), 0x40004003);
	assert_int_equal(table_desc(&mem, 0x40005000, 0x1ff), 0x0040fffffffff77f);
	assert_int_equal(pgt_map(pgt, 0x10000000000, 0, K4, PGT_READ), -EINVAL);
	table_close(&mem);

	/* 16K and 48 bits: L1 0x812, L2 0x1a2, L3 0x59e */
	pgt = table_open(&mem, 14, 48);
	assert_int_equal(pgt_map(pgt, 0x812345678000, 0x42000c000, 0x4000, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x812), 0x40008003);
	assert_int_equal(table_desc(&mem, 0x40008000, 0x1a2), 0x4000c003);
	assert_int_equal(table_desc(&mem, 0x4000c000, 0x59e), 0x004000042000c7ff);
	table_close(&mem);

	/* 64K and 46 bits: 16 tables of level 2, the last one: 0x1f6e5; L3 0x1a98 */
	pgt = table_open(&mem, 16, 46);
	assert_int_equal(pgt_map(pgt, 0x3edcba980000, 0x123450000, 0x10000, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x1f6e5), 0x40100003);
	assert_int_equal(table_desc(&mem, 0x40100000, 0x1a98), 0x00400001234507ff);
	table_close(&mem);

	/* 16K and 29 bits: 16 tables of pages. */
	pgt = table_open(&mem, 14, 29);
	assert_int_equal(pgt_map(pgt, 0x1fffc000, 0x8000, 0x4000, PGT_READ), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 0x7fff), 0x004000000000877f);
	assert_int_equal(mem.nb_alloc, 1);
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
		{ PGT_READ, PGT_READ, 0x004000000000077f },
		{ PGT_WRITE, PGT_READ | PGT_WRITE, 0x00400000000007ff },
		{ PGT_READ | PGT_WRITE, PGT_READ | PGT_WRITE, 0x00400000000007ff },
		{ PGT_EXEC, PGT_READ | PGT_EXEC, 0x000000000000077f },
		{ PGT_WRITE | PGT_EXEC, PGT_READ | PGT_WRITE | PGT_EXEC, 0x00000000000007ff },
	};
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;
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
		assert_int_equal(pgt_resolve_begin(pgt, (128 + i) * K4, PGT_READ, 4, &ticket), 0);
		assert_int_equal(pgt_resolve_commit(&ticket, 0, rows[i].prot), 0);
		assert_int_equal(table_desc(&mem, 0x40002000, 128 + i), rows[i].bits);
		/* Change it to the same permissions by pgt_protect(). */
		pgt_unmapped_init(&out, inv, 1);
		assert_int_equal(pgt_protect(pgt, 64 * K4, K4, rows[i].prot, &out), 0);
		assert_int_equal(table_desc(&mem, 0x40002000, 64), rows[i].bits);
		assert_int_equal(out.nb_inv, rows[i].bits == rows[i ? i - 1 : 0].bits ? 0 : 1);
	}
	/* A block: bits 1:0 = 01. */
	assert_int_equal(pgt_map(pgt, G1, G1, G1, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 1), 0x00400000400007fd);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_protect(pgt, G1, G1, PGT_READ | PGT_EXEC, &out), 0);
	assert_int_equal(table_desc(&mem, 0x40000000, 1), 0x000000004000077d);
	table_close(&mem);
}

static void
resolve_compares_permissions(void **arg)
{
	static const uint32_t prots[] = {
		PGT_READ, PGT_WRITE, PGT_EXEC, PGT_READ | PGT_WRITE, PGT_READ | PGT_EXEC,
		PGT_WRITE | PGT_EXEC, PGT_READ | PGT_WRITE | PGT_EXEC,
	};
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
	struct pgt_ticket ticket;
	unsigned int i, n;
	uint32_t have;
	int want;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	for (i = 0; i < 7; i++) {
		assert_int_equal(pgt_resolve(pgt, i * K4, 0, prots[i]), 0);
		have = prots[i] | PGT_READ;
		for (n = 0; n < 7; n++) {
			want = prots[n] & ~have ? -EACCES : -EALREADY;
			assert_int_equal(pgt_resolve(pgt, i * K4, 0, prots[n]), want);
			assert_int_equal(pgt_resolve_begin(pgt, i * K4, prots[n], 4, &ticket),
					want);
		}
	}
	table_close(&mem);
}

static void
privileged_permission_is_refused(void **arg)
{
	static const uint32_t prots[] = {
		PGT_PRIV, PGT_PRIV | PGT_READ, PGT_PRIV | PGT_WRITE, PGT_PRIV | PGT_EXEC,
	};
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;
	unsigned int i;

	(void)arg;
	assert_int_equal(pgt_map(pgt, 0, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_resolve_begin(pgt, K4, PGT_READ, 4, &ticket), 0);
	pgt_unmapped_init(&out, inv, 1);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pgt_map(pgt, 2 * K4, 0, K4, prots[i]), -EINVAL);
		assert_int_equal(pgt_map(pgt, 2 * K4, 0, K4, prots[i] | PGT_PAGES_ONLY), -EINVAL);
		assert_int_equal(pgt_resolve(pgt, 2 * K4, 0, prots[i]), -EINVAL);
		/* Of a valid page too, where it would be -EALREADY or -EACCES. */
		assert_int_equal(pgt_resolve(pgt, 0, 0, prots[i]), -EINVAL);
		assert_int_equal(pgt_resolve_begin(pgt, 2 * K4, prots[i], 8, &ticket), -EINVAL);
		assert_int_equal(pgt_resolve_commit(&ticket, 0, prots[i]), -EINVAL);
		assert_int_equal(pgt_protect(pgt, 0, K4, prots[i], &out), -EINVAL);
	}
	assert_int_equal(out.nb_inv, 0);
	assert_int_equal(table_desc(&mem, 0x40002000, 0), 0x004000000000077f);
	assert_int_equal(table_state(pgt, K4), PGT_RESOLVING);
	assert_int_equal(table_state(pgt, 2 * K4), PGT_INVALID);
	assert_int_equal(pgt_resolve_commit(&ticket, K4, PGT_WRITE), 0);
	table_close(&mem);
}

static void
walker_of_the_test_is_strict(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open_heap(&mem, 12, 40);
	struct ref_table ref, bad;
	struct ref_leaf leaf;
	uint64_t *root = (uint64_t *)(uintptr_t)pgt_root(pgt);

	(void)arg;
	assert_int_equal(pgt_map(pgt, G1, G1, G1, PGT_READ), 0);
	ref = ref_table_of(pgt, ref_read_pointer, NULL);
	assert_int_equal(ref.txsz, 24);
	assert_int_equal(ref_walk(&ref, G1, &leaf), REF_LEAF);
	bad = ref;
	bad.sl0 = 0;
	assert_int_equal(ref_walk(&bad, G1, &leaf), REF_BAD_CONFIG);
	bad.sl0 = 3;
	assert_int_equal(ref_walk(&bad, G1, &leaf), REF_BAD_CONFIG);
	bad = ref;
	bad.ttb += K4;
	assert_int_equal(ref_walk(&bad, G1, &leaf), REF_BAD_CONFIG);
	/* A stage-1 leaf is stray here, and this one there. */
	root[1] = htole64(UINT64_C(0x0060000040000fc1));
	assert_int_equal(ref_walk(&ref, G1, &leaf), REF_STRAY);
	root[1] = htole64(UINT64_C(0x004000004000077d));
	assert_int_equal(ref_walk(&ref, G1, &leaf), REF_LEAF);
	bad = ref;
	bad.stage2 = false;
	bad.txsz = 25;
	assert_int_equal(ref_walk(&bad, G1, &leaf), REF_STRAY);
	root[1] = 0;
	table_close(&mem);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(descriptors_of_concatenated_tables),
	cmocka_unit_test(attributes_follow_the_permissions),
	cmocka_unit_test(resolve_compares_permissions),
	cmocka_unit_test(privileged_permission_is_refused),
	cmocka_unit_test(walker_of_the_test_is_strict),
};
TEST_SUITE(pgtable_stage2, tests, table_use_stage2, table_use_stage1);
