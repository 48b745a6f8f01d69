/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Unmap, protect and close: entries, invalidations and unlinked tables.
 */

#include <errno.h>

#include "table_rig.h"
#include "test.h"

static void
close_where_no_table_is(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;

	(void)arg;
	pgt_unmapped_init(&out, inv, 1);
	/* Two whole 1G slots, one page before and one behind. */
	assert_int_equal(pgt_unmap(pgt, G1 - K4, 2 * G1 + 2 * K4, PGT_CLOSE, &out), 0);
	assert_int_equal(mem.nb_alloc, 5);
	assert_int_equal(table_state(pgt, G1 - 2 * K4), PGT_INVALID);
	assert_int_equal(table_walk(pgt, G1 - K4).size, K4);
	assert_int_equal(table_state(pgt, G1 - K4), PGT_CLOSED);
	assert_int_equal(table_state(pgt, G1), PGT_CLOSED);
	assert_int_equal(table_walk(pgt, 2 * G1).size, G1);
	assert_int_equal(table_state(pgt, 3 * G1 - 1), PGT_CLOSED);
	assert_int_equal(table_state(pgt, 3 * G1), PGT_CLOSED);
	assert_int_equal(table_state(pgt, 3 * G1 + K4), PGT_INVALID);
	assert_int_equal(out.nb_inv, 0);
	assert_int_equal(pgt_prealloc(pgt, G1, K4), -ECANCELED);
	assert_int_equal(pgt_map(pgt, G1, 0, G1, PGT_READ), -ECANCELED);
	assert_int_equal(pgt_resolve(pgt, G1 + 5 * K4, 0, PGT_READ), -ECANCELED);

	/* Open a part: the rest stays closed. */
	assert_int_equal(pgt_open(pgt, G1 - K4, K4 + M2 + K4), 0);
	assert_int_equal(table_state(pgt, G1 - K4), PGT_INVALID);
	assert_int_equal(table_state(pgt, G1), PGT_ABSENT);
	assert_int_equal(table_state(pgt, G1 + M2), PGT_INVALID);
	assert_int_equal(table_state(pgt, G1 + M2 + K4), PGT_CLOSED);
	assert_int_equal(table_state(pgt, G1 + 2 * M2), PGT_CLOSED);
	assert_int_equal(pgt_open(pgt, 0, 4 * G1), 0);
	assert_int_equal(table_state(pgt, G1 + M2 + K4), PGT_INVALID);
	assert_int_equal(table_state(pgt, 2 * G1), PGT_ABSENT);
	assert_int_equal(pgt_map(pgt, 2 * G1, 0, G1, PGT_READ), 0);
	table_close(&mem);
}

static void
protect_changes_valid_leaves_only(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
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
	assert_int_equal(table_desc(&mem, 0x40002000, 1), table_page(0x1001000, PGT_WRITE));
	assert_int_equal(table_state(pgt, 2 * K4), PGT_RESOLVING);
	assert_int_equal(table_state(pgt, 3 * K4), PGT_INVALID);
	/* Remove the write permission again. */
	assert_int_equal(pgt_protect(pgt, 0, K4, PGT_READ, &out), 0);
	assert_int_equal(table_desc(&mem, 0x40002000, 0), table_page(0x1000000, PGT_READ));
	assert_int_equal(out.nb_inv, 4);
	table_close(&mem);
}

static void
invalidation_list_merges_and_never_says_too_little(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
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

	/*
	 * The list accumulates over calls. The last entry grows to cover ranges that find no room.
	 */
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
	/* A table was unlinked: the invalidation must not be leaf-only. */
	assert_int_equal(pgt_unmap(pgt, 10 * M2, M2, PGT_TABLES, &out), 0);
	assert_int_equal(inv[1].va, 8 * M2);
	assert_int_equal(inv[1].size, 3 * M2);
	assert_false(inv[1].leaf_only);
	pgt_free_tables(pgt, &out.tables);

	/* A page and the block after it are adjacent, but of two levels. */
	assert_int_equal(pgt_map(pgt, 4 * M2 - K4, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, 4 * M2, 0, M2, PGT_READ), 0);
	pgt_unmapped_init(&out, inv, 2);
	assert_int_equal(pgt_unmap(pgt, 3 * M2, 2 * M2, 0, &out), 0);
	assert_int_equal(out.nb_inv, 2);
	assert_int_equal(inv[0].level, 3);
	assert_int_equal(inv[1].level, 2);
	table_close(&mem);
}

static void
unlinked_tables_stay_closed_until_freed(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
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
	/* The page at 0 is unmapped; the range does not cover its whole table. */
	assert_int_equal(pgt_unmap(pgt, 0, 2 * G1 - 2 * K4, PGT_TABLES, &out), 0);
	assert_int_equal(table_state(pgt, 2 * G1 - K4), PGT_VALID);
	assert_int_equal(out.tables.nb, 3);
	assert_int_equal(out.bytes, 2 * K4 + M2);
	assert_int_equal(table_state(pgt, 0), PGT_ABSENT);
	assert_int_equal(pgt_resolve_commit(&ticket, 0, PGT_READ), -ECANCELED);

	/* Close the rest of the second 1G. */
	assert_int_equal(pgt_unmap(pgt, G1, G1, PGT_CLOSE | PGT_TABLES, &out), 0);
	assert_int_equal(table_state(pgt, G1), PGT_CLOSED);
	assert_int_equal(table_walk(pgt, G1).size, G1);
	assert_int_equal(out.tables.nb, 5);
	assert_int_equal(mem.nb_free, 0);
	assert_false(inv[0].leaf_only);
	assert_int_equal(inv[0].va, 0);
	/* A device with a cached walk and a late thread see closed entries only. */
	for (i = 0; i < 5 * 512; i++)
		assert_int_equal(table_desc(&mem, 0x40001000, i) & 3, 2);

	pgt_free_tables(pgt, &out.tables);
	assert_null(out.tables.head);
	assert_int_equal(out.tables.nb, 0);
	assert_int_equal(mem.nb_free, 5);
	pgt_info(pgt, &info);
	assert_int_equal(info.nb_tables, 1);
	assert_int_equal(pgt_open(pgt, G1, G1), 0);
	assert_int_equal(pgt_map(pgt, G1, 0, G1, PGT_READ), 0);
	table_close(&mem);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(close_where_no_table_is),
	cmocka_unit_test(protect_changes_valid_leaves_only),
	cmocka_unit_test(invalidation_list_merges_and_never_says_too_little),
	cmocka_unit_test(unlinked_tables_stay_closed_until_freed),
};
TEST_SUITE(pgtable_unmap, tests, NULL, NULL);
TEST_SUITE(pgtable_unmap_stage2, tests, table_use_stage2, table_use_stage1);
