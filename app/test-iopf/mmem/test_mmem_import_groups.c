/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Groups of page requests on imported memory, made by the test: the verdicts of the two handlers, at
 * most one invalidation for each group, and a fast handler that takes no lock and allocates nothing.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "groups_rig.h"
#include "interpose.h"
#include "mmem_rig.h"
#include "test.h"

#define R		IOPF_PERM_READ
#define W		IOPF_PERM_WRITE
#define SUCCESS		IOPF_ANSWER(IOPF_SUCCESS)
#define INVALID		IOPF_ANSWER(IOPF_INVALID)
#define SUCCESS_AFTER	IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS)

static struct hand hand;

static uint8_t *
import_shared(size_t len, unsigned int flags)
{
	uint8_t *p = mm_map_shared(len);

	hand_clear(&hand);
	assert_int_equal(mmem_import(gr.space, p, len, flags), 0);
	return p;
}

static void
release_shared(uint8_t *p, size_t len)
{
	assert_int_equal(mmem_release(gr.space, p), 0);
	assert_int_equal(munmap(p, len), 0);
}

static void
test_a_group_has_pages_of_regions_and_imports(void **state)
{
	uint8_t *p = import_shared(8 * PAGE, RW), *buf = gr_alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	hand_add_pages(&hand, p, 8, W);
	hand_add_pages(&hand, buf, 8, R);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 16);
	assert_int_equal(gr_rights_at(p + 7 * PAGE), RW);
	assert_int_equal(gr_rights_at(buf + 7 * PAGE), RW);
	/* The group again, and one page of no region. */
	hand_add(&hand, p + 8 * PAGE, R);
	assert_int_equal(hand_run_fast(&hand), INVALID);
	assert_int_equal(gr_stat(MMEM_STAT_JOINED), 16);
	assert_int_equal(gr_stat(MMEM_STAT_NO_REGION), 1);
	assert_int_equal(gr.report.error, -EFAULT);
	assert_int_equal(gr.report.addr, (uintptr_t)p + 8 * PAGE);
	assert_int_equal(gr.invs, 0);
	release_shared(p, 8 * PAGE);
}

/* Contents are fetched first; the import is resolved with them under the lock. */
static void
test_an_import_in_a_deferred_group_is_mapped_with_the_fetched_page(void **state)
{
	uint8_t *p = import_shared(PAGE, RW), *paged = gr_alloc_paged(CHUNK);

	(void)state;
	hand_add(&hand, paged, R);
	hand_add(&hand, p, W);
	assert_int_equal(hand_run_fast(&hand), IOPF_DEFER);
	assert_int_equal(gr_rights_at(p), 0);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	assert_int_equal(gr_rights_at(p), RW);
	assert_int_equal(gr_rights_at(paged), RW);
	/* A page of nothing beside it refuses the group. */
	hand_clear(&hand);
	hand_add(&hand, paged + PAGE, R);
	hand_add(&hand, p + PAGE, W);
	assert_int_equal(hand_run_deferred(&hand), INVALID);
	assert_int_equal(gr.report.error, -EFAULT);
	assert_int_equal(gr.invs, 0);
	release_shared(p, PAGE);
	assert_int_equal(gr.invs, 1);
}

static void
test_raised_rights_of_imported_pages_are_one_invalidation(void **state)
{
	uint8_t *p = import_shared(CHUNK, TRACKED & ~MMEM_POPULATE);

	(void)state;
	hand_add_pages(&hand, p, 40, R);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	hand_clear(&hand);
	hand_add_pages(&hand, p + 3 * PAGE, 20, W);
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	gr_expect_inv(&hand.pass.inv[0], p + 3 * PAGE, 20);
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 20);
	assert_int_equal(gr_rights_at(p), MMEM_READ);
	assert_int_equal(gr_rights_at(p + 3 * PAGE), RW);
	release_shared(p, CHUNK);
}

/* An entry that maps a block has another level than a page: the invalidation must cover it. */
static void
test_raised_rights_of_a_block_are_an_invalidation_of_all(void **state)
{
	uint8_t *p = import_shared(CHUNK, RW);

	(void)state;
	hand_add(&hand, p + 5 * PAGE, R);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), CHUNK / PAGE);
	assert_int_equal(mmem_protect(gr.space, p, CHUNK, RW | MMEM_TRACK_WRITES), 0);
	assert_int_equal(gr.invs, 1);
	assert_int_equal(gr.inv.leaf_log2, 21);
	assert_int_equal(gr_rights_at(p), MMEM_READ);
	hand_make_stall(&hand, p + 9 * PAGE, W, IOPF_REASON_PERMISSION);
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_true(hand.pass.inv[0].all);
	assert_int_equal(gr_rights_at(p), RW);
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 1);
	/* A stale entry of the block refused the access. */
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_true(hand.pass.inv[0].all);
	release_shared(p, CHUNK);
}

/* The first faults of memory at an address where the space has no tables but those of the import. */
static void
expect_no_lock(const uint8_t *p, size_t len)
{
	for (size_t at = 0; at < len; at += len / 2) {
		hand_make_stall(&hand, p + at, W, IOPF_REASON_TRANSLATION);
		interpose_locks = 0;
		interpose_allocs = 0;
		interpose_watch(true);
		assert_int_equal(hand_run_fast(&hand), SUCCESS);
		interpose_watch(false);
		assert_int_equal(interpose_locks, 0);
		assert_int_equal(interpose_allocs, 0);
		assert_int_equal(gr_rights_at(p + at), RW);
	}
}

/* Contract 2. The blocks come first: the tables of pages would do for them too. */
static void
test_the_fast_handler_takes_no_lock_and_allocates_nothing(void **state)
{
	uint8_t *p = import_shared(2 * CHUNK, RW);

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizers interpose the same functions");
#endif
	expect_no_lock(p, 2 * CHUNK);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 2 * CHUNK / PAGE);
	release_shared(p, 2 * CHUNK);
	p = import_shared(2 * PAGE, RW);
	expect_no_lock(p, 2 * PAGE);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 2 * CHUNK / PAGE + 2);
	assert_int_equal(gr_stat(MMEM_STAT_DEFERRED), 0);
	release_shared(p, 2 * PAGE);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(test_a_group_has_pages_of_regions_and_imports,
			gr_setup, gr_teardown),
	cmocka_unit_test_setup_teardown(
			test_an_import_in_a_deferred_group_is_mapped_with_the_fetched_page,
			gr_setup, gr_teardown),
	cmocka_unit_test_setup_teardown(test_raised_rights_of_imported_pages_are_one_invalidation,
			gr_setup, gr_teardown),
	cmocka_unit_test_setup_teardown(test_raised_rights_of_a_block_are_an_invalidation_of_all,
			gr_setup, gr_teardown),
	cmocka_unit_test_setup_teardown(test_the_fast_handler_takes_no_lock_and_allocates_nothing,
			gr_setup, gr_teardown),
};
TEST_SUITE(mmem_import_groups, tests, NULL, NULL);
