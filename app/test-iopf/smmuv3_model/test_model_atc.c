/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ATCs of the model: ATC_INV, stale entries, Translated transactions. */

#include "atc_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static void
test_ats_atc_is_stale_until_it_is_invalidated(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	atc_open(&r);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	rig_unmap(&r, VA);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	rig_sync(&r);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_send(&r, rig_make_atc_inv(RIG_SID, -1, 0, VA, 0));
	rig_sync(&r);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS), 1);
	/* When ATS is enabled the ATC is empty. */
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_unmap(&r, VA);
	rig_flush(&r);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	atc_close(&r, dma);
}

static void
test_ats_more_permission_needs_no_invalidation(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	atc_open(&r);
	dma = atc_add_engine(&r, -1);
	rig_map(&r, VA, RIG_DATA, RIG_RW | RIG_RO);
	assert_int_equal(atc_access(&r, dma, false, VA), SMMUV3_MODEL_OK);
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	rig_sync(&r);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	atc_close(&r, dma);
}

/* Which of three engines (no PASID, PASID 1, PASID 2) keep VA and VA + 0x3000. */
static void
check_reach(struct smmuv3_cmd inv, unsigned int stale)
{
	static const uint64_t off[2] = { 0, 0x3000 };
	struct smmuv3_model_dma *dma[3];
	struct rig r;

	atc_open(&r);
	rig_map(&r, VA + 0x3000, RIG_DATA + 0x3000, RIG_RW);
	for (int i = 0; i < 3; i++) {
		dma[i] = atc_add_engine(&r, i == 0 ? -1 : i);
		for (int j = 0; j < 2; j++)
			assert_int_equal(atc_access(&r, dma[i], true, VA + off[j]),
					SMMUV3_MODEL_OK);
	}
	rig_unmap(&r, VA);
	rig_unmap(&r, VA + 0x3000);
	rig_flush(&r);
	rig_send(&r, inv);
	rig_sync(&r);
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 2; j++)
			if (atc_access(&r, dma[i], true, VA + off[j]) !=
					(stale & 1 << (2 * i + j) ? SMMUV3_MODEL_OK :
					 SMMUV3_MODEL_ABORTED))
				fail_msg("engine %d page %d", i, j);
	for (int i = 0; i < 3; i++)
		smmuv3_model_dma_destroy(dma[i]);
	rig_close(&r);
}

static void
test_ats_invalidation_reaches_its_range_and_pasid(void **state)
{
	(void)state;
	/* Bits: no PASID 0 and 1, PASID 1 2 and 3, PASID 2 4 and 5. */
	check_reach(rig_make_atc_inv(RIG_SID, -1, 0, VA, 0), 0x3e);
	check_reach(rig_make_atc_inv(RIG_SID, 1, 0, VA, 0), 0x3b);
	check_reach(rig_make_atc_inv(RIG_SID, 1, 0, VA + 0x1000, 0), 0x3f);
	/* The ATC ignores low bits of the address. */
	check_reach(rig_make_atc_inv(RIG_SID, 1, 0, VA + 0x1000, 1), 0x3b);
	check_reach(rig_make_atc_inv(RIG_SID, 2, 0, VA + 0x2000, 2), 0x0f);
	check_reach(rig_make_atc_inv(RIG_SID, 2, 0, 0, SMMUV3_ATC_SIZE_ALL), 0x0f);
	check_reach(rig_make_atc_inv(RIG_SID, 2, 0, VA, 20), 0x0f);
	check_reach(rig_make_atc_inv(RIG_SID, 1, SMMUV3_ATC0_GLOBAL, VA, 0), 0x2b);
	check_reach(rig_make_atc_inv(RIG_SID, 1, SMMUV3_ATC0_GLOBAL, 0, SMMUV3_ATC_SIZE_ALL), 0x03);
	/* Global has no meaning without SSV. */
	check_reach(rig_make_atc_inv(RIG_SID, -1, SMMUV3_ATC0_GLOBAL, 0, SMMUV3_ATC_SIZE_ALL),
			0x3c);
	/* An ATC_INV of another stream. */
	check_reach(rig_make_atc_inv(RIG_SID + 1, -1, 0, 0, SMMUV3_ATC_SIZE_ALL), 0x3f);
}

static void
test_ats_invalidation_below_the_smallest_unit_does_nothing(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	atc_open(&r);
	dma = rig_add_ats_dma(&r, -1, 0, 0, false);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 16), 0);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_unmap(&r, VA);
	rig_flush(&r);
	rig_send(&r, rig_make_atc_inv(RIG_SID, -1, 0, VA, 3));
	rig_expect_error(&r, "ATC_INV for SID 8 covers less than its smallest translation unit");
	rig_sync(&r);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_send(&r, rig_make_atc_inv(RIG_SID, -1, 0, VA, 4));
	rig_sync(&r);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	atc_close(&r, dma);
}

static void
test_ats_size_above_52_is_illegal(void **state)
{
	struct rig r;

	(void)state;
	atc_open(&r);
	rig_put(&r, rig_make_atc_inv(RIG_SID, -1, 0, 0, 53));
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS) >> 24, SMMUV3_CERROR_ILL);
	rig_close(&r);
}

static void
test_ats_dead_atc_fails_the_sync_and_only_that(void **state)
{
	struct smmuv3_model_dma *dma;
	uint32_t cons;
	struct rig r;

	(void)state;
	atc_open(&r);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	rig_unmap(&r, VA);
	rig_flush(&r);
	rig_put(&r, rig_make_atc_inv(RIG_SID, -1, 0, VA, 0));
	cons = r.cmd_prod;
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	rig_run(&r);
	/* CONS stays at the SYNC, which sent no completion signal. */
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), cons | SMMUV3_CERROR_ATC_INV_SYNC << 24);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_CMDQ_ERR);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
	/* After the acknowledgement the SYNC is executed again and has nothing to wait for. */
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	assert_int_equal(smmuv3_q_pos(r.cmdq_log2, rig_read(&r, SMMUV3_CMDQ_CONS)), r.cmd_prod);
	/* The entry is stale, but its invalidation is not complete: the oracle reports nothing. */
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	smmuv3_model_dma_quirks(dma, 0, 0);
	rig_send(&r, rig_make_atc_inv(RIG_SID, -1, 0, VA, 0));
	rig_sync(&r);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	atc_close(&r, dma);
}

static void
test_ats_invalidation_is_ignored_while_the_smmu_is_off(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	atc_open(&r);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_unmap(&r, VA);
	rig_flush(&r);
	rig_set_cr0(&r, 0xc);
	rig_send(&r, rig_make_atc_inv(RIG_SID, -1, 0, VA, 0));
	rig_sync(&r);
	rig_set_cr0(&r, 0xd);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	atc_close(&r, dma);
}

/* A translated write after the STE became @p dw0 and @p eats, with ATSCHK 1 or 0. */
static void
check_translated(bool atschk, bool smmuen, uint64_t dw0, bool eats, enum smmuv3_model_status status,
		bool event)
{
	uint32_t cr0 = 0xc | (atschk ? (uint32_t)SMMUV3_CR0_ATSCHK : 0);
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct smmuv3_ste ste;
	struct rig r;

	atc_open(&r);
	dma = atc_add_engine(&r, 3);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	ste = *rig_get_ste(&r, RIG_SID);
	ste.dw[0] = (ste.dw[0] & ~(SMMUV3_STE0_CONFIG | SMMUV3_STE0_V)) | dw0;
	if (!eats)
		ste.dw[1] &= ~SMMUV3_STE1_EATS;
	rig_set_ste(&r, RIG_SID, &ste);
	rig_set_cr0(&r, cr0 | 1);
	rig_set_cr0(&r, cr0 | smmuen);
	assert_int_equal(atc_access(&r, dma, true, VA + 8), status);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	if (event) {
		assert_true(rig_take_evt(&r, &evt));
		/*
		 * The record has the StreamID alone, without SSV and SSID. Its address is the
		 * translated one.
		 */
		assert_int_equal(evt.dw[0], (uint64_t)RIG_SID << 32 | SMMUV3_F_TRANSL_FORBIDDEN);
		assert_int_equal(evt.dw[1], 0);
		assert_int_equal(evt.dw[2], RIG_DATA + 8);
	}
	atc_check_no_event(&r);
	atc_close(&r, dma);
}

static void
test_ats_translated_traffic_is_checked_with_atschk(void **state)
{
	const uint64_t v = SMMUV3_STE0_V;
	const uint64_t s1 = v | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1);
	const uint64_t bypass = v | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS);

	(void)state;
	check_translated(false, true, s1, true, SMMUV3_MODEL_OK, false);
	check_translated(false, true, s1, false, SMMUV3_MODEL_OK, false);
	check_translated(false, true, v, false, SMMUV3_MODEL_OK, false);
	check_translated(false, false, s1, true, SMMUV3_MODEL_ABORTED, true);
	check_translated(true, true, s1, true, SMMUV3_MODEL_OK, false);
	check_translated(true, true, s1, false, SMMUV3_MODEL_ABORTED, true);
	check_translated(true, true, bypass, true, SMMUV3_MODEL_ABORTED, true);
	check_translated(true, true, v, true, SMMUV3_MODEL_ABORTED, false);	/* Config = 000 */
	check_translated(true, true, s1 & ~v, true, SMMUV3_MODEL_ABORTED, false); /* bad STE */
	check_translated(true, false, s1, true, SMMUV3_MODEL_ABORTED, true);
}

/* A TLBI, and an ATC_INV without the SYNC between them, and the effect. */
struct order {
	struct smmuv3_cmd tlbi, inv;
	bool sync;		/* the SYNC is between them */
	bool again;		/* another ATC_INV of this page follows */
	uint64_t page;
	bool untouched;		/* the endpoint has translated nothing */
	bool wrong;
};

static void
check_order(const struct order *o, bool disable, size_t row)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	atc_open(&r);
	rig_map(&r, VA + 0x1000, RIG_DATA + 0x1000, RIG_RW);
	dma = atc_add_engine(&r, -1);
	if (!o->untouched) {
		assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
		assert_int_equal(atc_access(&r, dma, true, VA + 0x1000), SMMUV3_MODEL_OK);
	}
	rig_put(&r, o->tlbi);
	if (o->sync)
		rig_put(&r, smmuv3_cmd_sync());
	rig_put(&r, o->inv);
	rig_put(&r, smmuv3_cmd_sync());
	if (o->again) {
		rig_put(&r, rig_make_atc_inv(RIG_SID, -1, 0, o->page, 0));
		rig_put(&r, smmuv3_cmd_sync());
	}
	rig_sync(&r);
	/* The TLBI may belong to another caller whose ATC_INV follows later. */
	assert_int_equal(smmuv3_model_driver_errors(r.m), 0);
	if (disable)
		assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	else
		smmuv3_model_dma_destroy(dma);
	if (smmuv3_model_driver_errors(r.m) != o->wrong)
		fail_msg("row %zu", row);
	if (o->wrong)
		rig_expect_error(&r, "ATC_INV for SID 8, VA 0x10000000 was sent before "
				"the SYNC of its TLBI completed, and no other followed");
	if (disable)
		smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_ats_invalidation_before_the_sync_is_reported(void **state)
{
	const struct smmuv3_cmd page = smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true);
	const struct smmuv3_cmd inv = rig_make_atc_inv(RIG_SID, -1, 0, VA, 0);
	const struct smmuv3_cmd all = rig_make_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL);
	const struct order rows[] = {
		{ .tlbi = page, .inv = inv, .wrong = true },
		{ .tlbi = page, .inv = all, .wrong = true },
		{ .tlbi = smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID), .inv = inv, .wrong = true },
		{ .tlbi = smmuv3_cmd_tlbi_nsnh_all(), .inv = inv, .wrong = true },
		/* In the right order. */
		{ .tlbi = page, .inv = inv, .sync = true },
		{ .tlbi = smmuv3_cmd_tlbi_nsnh_all(), .inv = all, .sync = true },
		/*
		 * Too early, and a second ATC_INV of the page repairs that. An ATC_INV of another
		 * page does not.
		 */
		{ .tlbi = page, .inv = inv, .again = true, .page = VA },
		{ .tlbi = page, .inv = inv, .again = true, .page = VA + 0x1000, .wrong = true },
		/* No TLBI reached this: another page, another address space. */
		{ .tlbi = page, .inv = rig_make_atc_inv(RIG_SID, -1, 0, VA + 0x1000, 0) },
		{ .tlbi = smmuv3_cmd_tlbi_nh_va(0, RIG_ASID + 1, VA, true), .inv = inv },
		{ .tlbi = smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID + 1), .inv = all },
		/* The ATC has no such entry: another PASID, or an empty ATC. */
		{ .tlbi = page, .inv = rig_make_atc_inv(RIG_SID, 1, 0, VA, 0) },
		{ .tlbi = page, .inv = inv, .untouched = true },
	};
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++)
		check_order(&rows[i / 2], i & 1, i / 2);
	/* While ATS is disabled, and after a reset has emptied the ATC. */
	atc_open(&r);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	rig_put(&r, smmuv3_cmd_tlbi_nsnh_all());
	rig_put(&r, all);
	rig_sync(&r);
	atc_close(&r, dma);
	atc_open(&r);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_put(&r, page);
	rig_put(&r, inv);
	rig_sync(&r);
	smmuv3_model_dma_reset(dma);
	atc_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_ats_atc_is_stale_until_it_is_invalidated),
	cmocka_unit_test(test_ats_more_permission_needs_no_invalidation),
	cmocka_unit_test(test_ats_invalidation_reaches_its_range_and_pasid),
	cmocka_unit_test(test_ats_invalidation_below_the_smallest_unit_does_nothing),
	cmocka_unit_test(test_ats_size_above_52_is_illegal),
	cmocka_unit_test(test_ats_dead_atc_fails_the_sync_and_only_that),
	cmocka_unit_test(test_ats_invalidation_is_ignored_while_the_smmu_is_off),
	cmocka_unit_test(test_ats_translated_traffic_is_checked_with_atschk),
	cmocka_unit_test(test_ats_invalidation_before_the_sync_is_reported),
};

TEST_SUITE(model_atc, tests, NULL, NULL);
