/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The oracle alone, called directly: it must report uses that the caches never make. */

#include <string.h>

#include "../../../drivers/smmuv3_model/model_atc.h"
#include "../../../drivers/smmuv3_model/model_ctx.h"
#include "../../../drivers/smmuv3_model/model_oracle.h"
#include "test.h"

static struct smmuv3_oracle o;

static int
reset(void **state)
{
	(void)state;
	memset(&o, 0, sizeof(o));
	return 0;
}

static unsigned int
count_errors(void)
{
	return atomic_load(&o.log.nb);
}

/* Use a 4K leaf of ASID 5 at @p va that the TLB filled after invalidation @p born. */
static void
use_leaf(uint64_t born, uint64_t va)
{
	uint64_t checked = born;

	smmuv3_oracle_check_leaf(&o, &checked, 5, false, 12, 3, 12, va);
}

static const struct smmuv3_inv page = { .kind = SMMUV3_INV_TLB_VA, .space = 5, .leaf = true,
	.va = 0x1000, .last = 0x1fff };

static void
test_oracle_stale_use_is_legal_before_the_sync_only(void **state)
{
	reset(state);
	smmuv3_oracle_note_invalidation(&o, &page);
	use_leaf(0, 0x1234);
	assert_int_equal(count_errors(), 0);
	smmuv3_oracle_note_sync(&o, 0);
	use_leaf(0, 0x1234);
	assert_int_equal(count_errors(), 1);
	assert_non_null(strstr(smmuv3_log_text(&o.log, 0), "VA 0x1234, ASID 5"));
	/* Filled after the invalidation; another page. */
	use_leaf(1, 0x1234);
	use_leaf(0, 0x2000);
	assert_int_equal(count_errors(), 1);
}

static void
test_oracle_knows_the_reach_of_an_invalidation(void **state)
{
	static const struct {
		struct smmuv3_inv inv;
		unsigned int errors;
	} rows[] = {
		{ { .kind = SMMUV3_INV_TLB_ALL }, 1 },
		{ { .kind = SMMUV3_INV_TLB_ASID, .space = 5 }, 1 },
		{ { .kind = SMMUV3_INV_TLB_ASID, .space = 6 }, 0 },
		{ { .kind = SMMUV3_INV_TLB_VA, .space = 6, .va = 0x1000, .last = 0x1fff }, 0 },
		{ { .kind = SMMUV3_INV_TLB_VAA, .va = 0, .last = 0xffff }, 1 },
		{ { .kind = SMMUV3_INV_TLB_VAA, .tg = 12, .last = 0xffff }, 1 },
		{ { .kind = SMMUV3_INV_TLB_VAA, .tg = 16, .last = 0xffff }, 0 },
		{ { .kind = SMMUV3_INV_TLB_VAA, .tg = 12, .ttl = 2, .last = 0xffff }, 0 },
		{ { .kind = SMMUV3_INV_CFG_ALL }, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		reset(state);
		smmuv3_oracle_note_invalidation(&o, &rows[i].inv);
		smmuv3_oracle_note_sync(&o, 0);
		use_leaf(0, 0x1000);
		if (count_errors() != rows[i].errors)
			fail_msg("row %zu", i);
	}
}

static void
test_oracle_checks_each_invalidation_once(void **state)
{
	uint64_t checked = 0;

	reset(state);
	smmuv3_oracle_note_invalidation(&o, &page);
	smmuv3_oracle_note_sync(&o, 0);
	smmuv3_oracle_check_leaf(&o, &checked, 5, false, 12, 3, 12, 0x9000);
	assert_int_equal(checked, 1);
	/* More invalidations than the oracle keeps: it still has the newest. */
	for (int i = 0; i < 5000; i++)
		smmuv3_oracle_note_invalidation(&o, &page);
	smmuv3_oracle_note_sync(&o, 0);
	smmuv3_oracle_check_leaf(&o, &checked, 5, false, 12, 3, 12, 0x1000);
	assert_int_equal(count_errors(), 1);
}

static void
test_oracle_tables_and_configuration(void **state)
{
	struct smmuv3_ctx ctx = { .kind = SMMUV3_CTX_S1 };
	uint64_t checked = 0;
	struct smmuv3_inv inv = page;

	reset(state);
	/* Leaf = 1 does not cover tables. */
	smmuv3_oracle_note_invalidation(&o, &inv);
	smmuv3_oracle_note_sync(&o, 0);
	smmuv3_oracle_check_table(&o, &checked, 5, 12, 21, 0x5000);
	assert_int_equal(count_errors(), 0);
	inv.leaf = false;
	smmuv3_oracle_note_invalidation(&o, &inv);
	smmuv3_oracle_note_sync(&o, 0);
	smmuv3_oracle_check_table(&o, &checked, 5, 12, 21, 0x5000);
	assert_int_equal(count_errors(), 1);

	inv = (struct smmuv3_inv){ .kind = SMMUV3_INV_CFG_CD, .sid = 8, .ssid = 3 };
	smmuv3_oracle_note_invalidation(&o, &inv);
	smmuv3_oracle_note_sync(&o, 0);
	ctx.checked = o.seq - 1;
	smmuv3_oracle_check_cfg(&o, &ctx, 8, 4);
	assert_int_equal(count_errors(), 1);
	ctx.checked = o.seq - 1;
	smmuv3_oracle_check_cfg(&o, &ctx, 8, 3);
	assert_int_equal(count_errors(), 2);
	/* Fetched after the invalidation. */
	ctx.checked = o.seq - 1;
	ctx.cd_born = o.seq;
	smmuv3_oracle_check_cfg(&o, &ctx, 8, 3);
	assert_int_equal(count_errors(), 2);
	inv = (struct smmuv3_inv){ .kind = SMMUV3_INV_CFG_SIDS, .sid = 8, .sid_last = 15 };
	smmuv3_oracle_note_invalidation(&o, &inv);
	smmuv3_oracle_note_sync(&o, 0);
	smmuv3_oracle_check_cfg(&o, &ctx, 15, 3);
	assert_int_equal(count_errors(), 3);
}

static void
test_oracle_atc_entries_and_failed_syncs(void **state)
{
	struct smmuv3_atc_entry e = { .ssv = true, .ssid = 3 };
	static const struct {
		struct smmuv3_inv inv;
		unsigned int errors;
	} rows[] = {
		{ { .sid = 8, .ssv = true, .ssid = 3, .va = 0x1000, .last = 0x1fff }, 1 },
		{ { .sid = 8, .ssv = true, .ssid = 3, .va = 0x2000, .last = 0x2fff }, 0 },
		{ { .sid = 8, .ssv = true, .ssid = 4, .va = 0, .last = UINT64_MAX }, 0 },
		{ { .sid = 9, .ssv = true, .ssid = 3, .va = 0, .last = UINT64_MAX }, 0 },
		{ { .sid = 8, .ssv = false, .va = 0, .last = UINT64_MAX }, 0 },
		{ { .sid = 8, .ssv = true, .global = true, .va = 0, .last = UINT64_MAX }, 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smmuv3_inv inv = rows[i].inv;

		inv.kind = SMMUV3_INV_ATC;
		reset(state);
		smmuv3_oracle_note_invalidation(&o, &inv);
		e.checked = 0;
		smmuv3_oracle_check_atc(&o, &e, 8, 0x1234);
		assert_int_equal(count_errors(), 0);
		smmuv3_oracle_note_sync(&o, 0);
		smmuv3_oracle_check_atc(&o, &e, 8, 0x1234);
		if (count_errors() != rows[i].errors)
			fail_msg("row %zu", i);
	}
	/*
	 * A SYNC that failed completes no invalidation, and the next SYNC does not complete the
	 * earlier ones.
	 */
	reset(state);
	smmuv3_oracle_note_invalidation(&o, &(struct smmuv3_inv){ .kind = SMMUV3_INV_ATC, .sid = 8,
			.ssv = true, .ssid = 3, .last = UINT64_MAX });
	smmuv3_oracle_void_atc_invs(&o, 0);
	smmuv3_oracle_note_sync(&o, 0);
	e.checked = 0;
	smmuv3_oracle_check_atc(&o, &e, 8, 0x1234);
	assert_int_equal(count_errors(), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_oracle_stale_use_is_legal_before_the_sync_only),
	cmocka_unit_test(test_oracle_knows_the_reach_of_an_invalidation),
	cmocka_unit_test(test_oracle_checks_each_invalidation_once),
	cmocka_unit_test(test_oracle_tables_and_configuration),
	cmocka_unit_test(test_oracle_atc_entries_and_failed_syncs),
};

TEST_SUITE(model_oracle, tests, NULL, NULL);
