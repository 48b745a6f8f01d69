/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's TLB, and what its invalidations reach. */

#include "test.h"
#include "walk_rig.h"

static void
walk_invalidate_tlb(struct rig *r)
{
	rig_send(r, smmuv3_cmd_tlbi_nsnh_all());
	rig_sync(r);
}

/* True if a TLB still has the page of @p va, which is unmapped. */
static bool
is_cached(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	return walk_access(r, dma, va, rd, NULL) == 0;
}

static const struct smmuv3_model_conf sticky = { .choices = SMMUV3_MODEL_STICKY_TLB };

static void
test_tlb_is_stale_until_the_right_command(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &sticky);
	for (int i = 0; i < 8; i++) {
		rig_map(&r, 0x1000 * i, RIG_DATA, RIG_RW);
		assert_int_equal(walk_access(&r, dma, 0x1000 * i, rd, NULL), 0);
		rig_unmap(&r, 0x1000 * i);
	}
	assert_true(is_cached(&r, dma, 0));
	/* A TLBI of another ASID or another address has no effect. */
	rig_send(&r, smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID + 1));
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID + 1, 0, true));
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, 0x100000, true));
	rig_sync(&r);
	assert_true(is_cached(&r, dma, 0));
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, 0, true));
	rig_sync(&r);
	assert_false(is_cached(&r, dma, 0));
	assert_true(is_cached(&r, dma, 0x1000));
	/* Any ASID. */
	rig_send(&r, (struct smmuv3_cmd){ { 0x13, 0x1000 } });
	assert_false(is_cached(&r, dma, 0x1000));
	/* A range of pages 2, 3 and 4. */
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, 0x2000, true, SMMUV3_TLBI_TG_4K,
			2, 0, 0));
	assert_false(is_cached(&r, dma, 0x2000));
	assert_false(is_cached(&r, dma, 0x4000));
	assert_true(is_cached(&r, dma, 0x5000));
	/* A range of another granule or another level does not cover these. */
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, 0, true, SMMUV3_TLBI_TG_64K, 1, 0,
			0));
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, 0, true, SMMUV3_TLBI_TG_4K, 0, 9,
			2));
	assert_true(is_cached(&r, dma, 0x5000));
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, 0x5000, true, SMMUV3_TLBI_TG_4K, 0,
			0, 3));
	assert_false(is_cached(&r, dma, 0x5000));
	assert_true(is_cached(&r, dma, 0x6000));
	/* A range too long for a search page by page. */
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, 0, true, SMMUV3_TLBI_TG_4K, 31, 20,
			0));
	assert_false(is_cached(&r, dma, 0x6000));
	rig_sync(&r);
	walk_close(&r, dma);
}

static void
test_tlb_global_entries_outlive_their_asid(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &sticky);
	rig_map(&r, 0x1000, RIG_DATA, RIG_AF | RIG_UNPRIV);
	rig_map(&r, 0x2000, RIG_DATA, RIG_RW);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
	assert_int_equal(walk_access(&r, dma, 0x2000, rd, NULL), 0);
	rig_unmap(&r, 0x1000);
	rig_unmap(&r, 0x2000);
	rig_send(&r, smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID));
	rig_sync(&r);
	assert_true(is_cached(&r, dma, 0x1000));
	assert_false(is_cached(&r, dma, 0x2000));
	/* Global entries are invalidated by address with any ASID. */
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, 77, 0x1000, true));
	rig_sync(&r);
	assert_false(is_cached(&r, dma, 0x1000));
	walk_close(&r, dma);
}

static void
test_tlb_permission_upgrade_needs_an_invalidation(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &sticky);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW | RIG_RO);
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, NULL), SMMUV3_F_PERMISSION);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, NULL), SMMUV3_F_PERMISSION);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, 0x1000, true));
	rig_sync(&r);
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, NULL), 0);
	walk_close(&r, dma);
}

static void
test_tlb_faults_are_not_cached(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &sticky);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), SMMUV3_F_TRANSLATION);
	rig_map(&r, 0x1000, RIG_DATA, RIG_NG | RIG_UNPRIV);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), SMMUV3_F_ACCESS);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
	walk_close(&r, dma);
}

static void
test_tlb_table_pointers_go_with_leaf_0_only(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t *l2, *other;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &sticky);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
	/* Another level 3 table, which does not map the page but maps its neighbour. */
	l2 = rig_get_entry(&r, r.ttb0, 12, 0, 2, 0x1000);
	other = rig_alloc(&r, 4096, 4096);
	other[2] = RIG_DATA | RIG_RW | 3;
	smmuv3_set_dw(l2, rig_get_addr(&r, other) | 3);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, 0x1000, true));
	rig_sync(&r);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
	assert_int_equal(walk_access(&r, dma, 0x2000, rd, NULL), SMMUV3_F_TRANSLATION);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, 0x1000, false));
	rig_sync(&r);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), SMMUV3_F_TRANSLATION);
	assert_int_equal(walk_access(&r, dma, 0x2000, rd, NULL), 0);
	walk_close(&r, dma);
}

static void
test_tlb_blocks_go_with_any_address_inside(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t *l2;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &sticky);
	l2 = rig_get_entry(&r, r.ttb0, 12, 0, 2, 0x40000000);
	smmuv3_set_dw(l2, RIG_DATA | RIG_RW | 1);
	assert_int_equal(walk_access(&r, dma, 0x40000000, rd, NULL), 0);
	assert_int_equal(walk_access(&r, dma, 0x401ff000, rd, NULL), 0);
	smmuv3_set_dw(l2, 0);
	assert_true(is_cached(&r, dma, 0x40100000));
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, 0x40123000, true));
	assert_false(is_cached(&r, dma, 0x40100000));
	rig_sync(&r);
	walk_close(&r, dma);
}

static void
test_tlb_sticky_keeps_every_entry(void **state)
{
	enum { N = 2000 };
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB,
			.tlb_log2 = 3 });
	for (uint64_t i = 0; i < N; i++) {
		rig_map(&r, i << 12, RIG_DATA, RIG_RW);
		assert_int_equal(walk_access(&r, dma, i << 12, rd, NULL), 0);
		rig_unmap(&r, i << 12);
	}
	for (uint64_t i = 0; i < N; i++)
		assert_true(is_cached(&r, dma, i << 12));
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_TLB_HITS), N);
	walk_invalidate_tlb(&r);
	assert_false(is_cached(&r, dma, 0));
	assert_false(is_cached(&r, dma, (N - 1) << 12));
	walk_close(&r, dma);
}

static void
test_tlb_over_invalidation_empties_everything(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t fetches;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_OVER_INVALIDATE });
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
	rig_unmap(&r, 0x1000);
	fetches = rig_get_stat(&r, SMMUV3_MODEL_STAT_STE_FETCHES);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, 99, 0x7000, true));
	assert_false(is_cached(&r, dma, 0x1000));
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_STE_FETCHES), fetches + 1);
	walk_close(&r, dma);
}

static void
test_tlb_small_evicts_and_translates_correctly(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &(struct smmuv3_model_conf){ .tlb_log2 = 1 });
	for (uint64_t i = 0; i < 64; i++) {
		rig_map(&r, i << 12, RIG_DATA + (i << 12), RIG_RW);
		r.data[i << 12] = (uint8_t)i;
	}
	for (uint64_t i = 0; i < 256; i++) {
		uint64_t page = (i * 37) % 64;

		assert_int_equal(walk_access(&r, dma, page << 12, rd, NULL), 0);
		assert_int_equal(walk_buf[0], page);
	}
	walk_close(&r, dma);
}

static void
test_tlb_misaligned_range_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, NULL);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, 0x1000, true, SMMUV3_TLBI_TG_4K, 0,
			9, 2));
	rig_expect_error(&r, "not aligned");
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, 0x1000, true, SMMUV3_TLBI_TG_64K,
			1, 0, 0));
	rig_expect_error(&r, "not aligned");
	walk_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_tlb_is_stale_until_the_right_command),
	cmocka_unit_test(test_tlb_global_entries_outlive_their_asid),
	cmocka_unit_test(test_tlb_permission_upgrade_needs_an_invalidation),
	cmocka_unit_test(test_tlb_faults_are_not_cached),
	cmocka_unit_test(test_tlb_table_pointers_go_with_leaf_0_only),
	cmocka_unit_test(test_tlb_blocks_go_with_any_address_inside),
	cmocka_unit_test(test_tlb_sticky_keeps_every_entry),
	cmocka_unit_test(test_tlb_over_invalidation_empties_everything),
	cmocka_unit_test(test_tlb_small_evicts_and_translates_correctly),
	cmocka_unit_test(test_tlb_misaligned_range_is_reported),
};

TEST_SUITE(model_tlb, tests, NULL, NULL);
