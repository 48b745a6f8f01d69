/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Map and resolve: the results, and the effect of a concurrent writer of the same entry.
 */

#include <errno.h>

#include "table_rig.h"
#include "test.h"

static void
map_that_fails_leaves_nothing(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 48);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;

	(void)arg;
	assert_int_equal(pgt_map(pgt, 7 * K4, 0, K4, PGT_READ), 0);
	assert_int_equal(pgt_map(pgt, 0, G1, 16 * K4, PGT_READ), -EEXIST);
	assert_int_equal(pgt_map(pgt, 0, G1, G1, PGT_READ), -EEXIST);
	assert_int_equal(table_state(pgt, 0), PGT_INVALID);
	assert_int_equal(table_state(pgt, 8 * K4), PGT_INVALID);
	assert_int_equal(pgt_resolve_begin(pgt, 20 * K4, PGT_READ, 4, &ticket), 0);
	assert_int_equal(pgt_map(pgt, 16 * K4, G1, 8 * K4, PGT_READ), -EEXIST);
	assert_int_equal(table_state(pgt, 16 * K4), PGT_INVALID);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_unmap(pgt, 40 * K4, K4, PGT_CLOSE, &out), 0);
	assert_int_equal(pgt_map(pgt, 32 * K4, G1, 16 * K4, PGT_READ), -ECANCELED);
	assert_int_equal(table_state(pgt, 32 * K4), PGT_INVALID);
	table_close(&mem);
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
	struct pgt *pgt = table_open(&mem, 12, 48);
	uint64_t va;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, K4), 0);
	/*
	 * A fault is resolved while the map, which has checked the range up to M2, makes its second
	 * table.
	 */
	mem.hook = hook_resolve_in_the_middle;
	assert_int_equal(pgt_map(pgt, M2 - 16 * K4, G1, 32 * K4, PGT_READ), -EAGAIN);
	assert_int_equal(mem.hook_rc, 0);
	for (va = M2 - 16 * K4; va < M2 + 16 * K4; va += K4)
		assert_int_equal(table_state(pgt, va), va == M2 - 2 * K4 ? PGT_VALID : PGT_INVALID);
	assert_int_equal(table_walk(pgt, M2 - 2 * K4).pa, 42 * K4);
	table_close(&mem);
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
	struct pgt *pgt = table_open(&mem, 12, 48);
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
	table_close(&mem);
}

static void
hook_map_a_block(struct mem *mem)
{
	mem->hook_rc = pgt_map(mem->pgt, 0, 0, M2, PGT_READ);
}

static void
a_block_wins_a_race_against_a_table(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 48);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, M2, K4), 0);
	mem.hook = hook_map_a_block;
	assert_int_equal(pgt_prealloc(pgt, 0, K4), 0);
	assert_int_equal(mem.hook_rc, 0);
	assert_int_equal(mem.nb_free, 1);
	assert_int_equal(table_walk(pgt, 0).size, M2);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_unmap(pgt, 0, M2, 0, &out), 0);

	/* The same race while an unmap makes a table for an edge of its range. */
	mem.hook = hook_map_a_block;
	assert_int_equal(pgt_unmap(pgt, 0, K4, PGT_CLOSE, &out), -EINVAL);
	assert_int_equal(mem.hook_rc, 0);
	assert_int_equal(table_state(pgt, 0), PGT_VALID);
	table_close(&mem);
}

static void
resolve_returns_the_reason_of_a_refusal(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
	struct pgt_ticket ticket;
	struct pgt_inv inv[4];
	struct pgt_unmapped out;
	unsigned int nb_alloc;

	(void)arg;
	assert_int_equal(pgt_resolve(pgt, 0, 0, PGT_READ), -ENOENT);
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	nb_alloc = mem.nb_alloc;
	assert_int_equal(pgt_resolve(pgt, 0x1abc, 0x5000, PGT_READ), 0);
	assert_int_equal(table_walk(pgt, 0x1000).pa, 0x5000);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_READ), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_WRITE), -EACCES);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_EXEC), -EACCES);
	assert_int_equal(table_walk(pgt, 0x1000).pa, 0x5000);
	assert_int_equal(pgt_resolve(pgt, 0x3000, 0x6000, PGT_WRITE | PGT_EXEC), 0);
	assert_int_equal(pgt_resolve(pgt, 0x3000, 0x6000, PGT_EXEC), -EALREADY);

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
	table_close(&mem);
}

static void
resolve_tells_privileged_from_other_pages(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x5000, PGT_READ), 0);
	assert_int_equal(pgt_resolve(pgt, 0x1000, 0x6000, PGT_READ | PGT_PRIV), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0x6000, PGT_WRITE | PGT_PRIV), 0);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0x6000, PGT_READ), -EACCES);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0x6000, PGT_READ | PGT_PRIV), -EALREADY);
	assert_int_equal(pgt_resolve(pgt, 0x3000, 0x6000, PGT_WRITE | PGT_EXEC), 0);
	assert_int_equal(pgt_resolve(pgt, 0x3000, 0x6000, PGT_EXEC | PGT_PRIV), -EACCES);
	table_close(&mem);
}

static void
two_phases_of_a_resolution(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
	struct pgt_ticket ticket;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	assert_int_equal(pgt_resolve_begin(pgt, 0x1fff, PGT_READ, 0xdeadbeef00, &ticket), 0);
	assert_int_equal(table_state(pgt, 0x1000), PGT_RESOLVING);
	assert_int_equal(table_walk(pgt, 0x1000).tag, 0xdeadbeef00);
	assert_int_equal(table_desc(&mem, 0x40002000, 1) & 1, 0);
	assert_int_equal(pgt_resolve_commit(&ticket, 0x123, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve_commit(&ticket, 0x7000, 0), -EINVAL);
	assert_int_equal(table_state(pgt, 0x1000), PGT_RESOLVING);
	assert_int_equal(pgt_resolve_commit(&ticket, 0x7000, PGT_WRITE), 0);
	assert_int_equal(table_desc(&mem, 0x40002000, 1), table_page(0x7000, PGT_WRITE));
	/* A ticket can be committed once. */
	assert_int_equal(pgt_resolve_commit(&ticket, 0x8000, PGT_WRITE), -ECANCELED);
	assert_int_equal(pgt_resolve_cancel(&ticket), -ECANCELED);
	assert_int_equal(table_walk(pgt, 0x1000).pa, 0x7000);

	assert_int_equal(pgt_resolve_begin(pgt, 0x2000, PGT_READ, 8, &ticket), 0);
	assert_int_equal(pgt_resolve_cancel(&ticket), 0);
	assert_int_equal(table_state(pgt, 0x2000), PGT_INVALID);
	assert_int_equal(pgt_resolve(pgt, 0x2000, 0, PGT_READ), 0);
	table_close(&mem);
}

static void
unmap_wins_over_a_resolver(void **arg)
{
	struct mem mem;
	struct pgt *pgt = table_open(&mem, 12, 39);
	struct pgt_ticket first, second;
	struct pgt_inv inv[1];
	struct pgt_unmapped out;

	(void)arg;
	assert_int_equal(pgt_prealloc(pgt, 0, M2), 0);
	pgt_unmapped_init(&out, inv, 1);
	assert_int_equal(pgt_resolve_begin(pgt, 0, PGT_READ, 0x10, &first), 0);
	assert_int_equal(pgt_unmap(pgt, 0, K4, PGT_CLOSE, &out), 0);
	assert_int_equal(pgt_resolve_commit(&first, K4, PGT_READ), -ECANCELED);
	assert_int_equal(table_state(pgt, 0), PGT_CLOSED);
	/* A second unmap without PGT_CLOSE does not open the entry. */
	assert_int_equal(pgt_unmap(pgt, 0, K4, 0, &out), 0);
	assert_int_equal(table_state(pgt, 0), PGT_CLOSED);
	assert_int_equal(pgt_open(pgt, 0, K4), 0);
	assert_int_equal(table_state(pgt, 0), PGT_INVALID);
	/* The entry is open and has a second ticket: the first ticket stays cancelled. */
	assert_int_equal(pgt_resolve_begin(pgt, 0, PGT_READ, 0x14, &second), 0);
	assert_int_equal(pgt_resolve_commit(&first, K4, PGT_READ), -ECANCELED);
	assert_int_equal(pgt_resolve_cancel(&first), -ECANCELED);
	/* pgt_open() leaves an entry that is resolving or valid. */
	assert_int_equal(pgt_open(pgt, 0, K4), 0);
	assert_int_equal(pgt_resolve_commit(&second, K4, PGT_READ), 0);
	assert_int_equal(pgt_open(pgt, 0, K4), 0);
	assert_int_equal(table_state(pgt, 0), PGT_VALID);

	/* An unmap without PGT_CLOSE removes the marker of a resolution too. */
	assert_int_equal(pgt_resolve_begin(pgt, K4, PGT_READ, 0x18, &first), 0);
	assert_int_equal(pgt_unmap(pgt, K4, K4, 0, &out), 0);
	assert_int_equal(table_state(pgt, K4), PGT_INVALID);
	assert_int_equal(pgt_resolve_commit(&first, K4, PGT_READ), -ECANCELED);
	assert_int_equal(out.nb_inv, 0);
	table_close(&mem);
}

static const struct CMUnitTest stage1_tests[] = {
	cmocka_unit_test(resolve_tells_privileged_from_other_pages),
};
TEST_SUITE(pgtable_resolve_privileged, stage1_tests, NULL, NULL);

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(map_that_fails_leaves_nothing),
	cmocka_unit_test(map_that_meets_a_writer_is_taken_back),
	cmocka_unit_test(loser_of_a_table_race_frees_its_own),
	cmocka_unit_test(a_block_wins_a_race_against_a_table),
	cmocka_unit_test(resolve_returns_the_reason_of_a_refusal),
	cmocka_unit_test(two_phases_of_a_resolution),
	cmocka_unit_test(unmap_wins_over_a_resolver),
};
TEST_SUITE(pgtable_resolve, tests, NULL, NULL);
TEST_SUITE(pgtable_resolve_stage2, tests, table_use_stage2, table_use_stage1);
