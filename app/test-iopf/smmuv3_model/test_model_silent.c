/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Reports of mistakes about which the model is silent by default. */

#include <string.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define VA	UINT64_C(0x100000000)
#define REPORT	.harsh = SMMUV3_MODEL_HARSH_REPORT

static uint8_t buf[64];

/* There are @p more new reports, and the newest contains @p text. */
static void
expect_reports(const struct rig *r, unsigned int *seen, unsigned int more, const char *text)
{
	const char *got;

	assert_int_equal(smmuv3_model_silent_reports(r->m), *seen + more);
	*seen += more;
	if (more == 0)
		return;
	got = smmuv3_model_silent_report(r->m, *seen - 1);
	if (got == NULL || strstr(got, text) == NULL)
		fail_msg("expected \"%s\", got \"%s\"", text, got == NULL ? "" : got);
}

static struct smmuv3_cmd
tlbi(uint64_t va, unsigned int tg, unsigned int ttl)
{
	return smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID, va, true, tg, 0, 0, ttl);
}

static void
test_silent_ttl_that_misses_a_leaf(void **state)
{
	struct smmuv3_model_dma *dma;
	unsigned int seen = 0;
	uint64_t *block;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ REPORT });
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	block = rig_get_entry(&r, r.ttb0, 12, 0, 2, VA);
	smmuv3_set_dw(block, RIG_DATA | RIG_RW | 1);
	rig_map(&r, VA + (4 << 20), RIG_DATA, RIG_RW);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA + (4 << 20), buf, 8);
	/* Right: level 2, any level, another address, another ASID. */
	rig_send(&r, tlbi(VA, SMMUV3_TLBI_TG_4K, 2));
	expect_reports(&r, &seen, 0, "");
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_send(&r, tlbi(VA + (8 << 20), SMMUV3_TLBI_TG_4K, 3));
	rig_send(&r, smmuv3_cmd_tlbi_nh_va_range(0, RIG_ASID + 1, VA, true, SMMUV3_TLBI_TG_4K, 0,
			0, 3));
	expect_reports(&r, &seen, 0, "");
	/* Wrong: the leaf was a block. */
	rig_send(&r, tlbi(VA, SMMUV3_TLBI_TG_4K, 3));
	expect_reports(&r, &seen, 1,
			"misses a leaf of level 2, granule 2^12 at VA 0x100000000, ASID 5");
	/* Wrong: another granule. */
	rig_send(&r, tlbi(VA + (4 << 20), SMMUV3_TLBI_TG_64K, 3));
	expect_reports(&r, &seen, 1, "misses a leaf of level 3, granule 2^12");
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_silent_configuration_that_differs_at_a_sync(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ste *ste, keep;
	unsigned int seen = 0;
	uint64_t l1;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ REPORT });
	r.split = true;
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_sync(&r);
	expect_reports(&r, &seen, 0, "");
	/* Each structure, changed without its CFGI. With the CFGI there is no report. */
	ste = rig_get_ste(&r, RIG_SID);
	keep = *ste;
	smmuv3_set_dw(&ste->dw[1], keep.dw[1] | SMMUV3_STE1_MEV);
	rig_sync(&r);
	expect_reports(&r, &seen, 1, "STE of SID 8, SSID 0: at a SYNC, word 1");
	rig_sync(&r);
	expect_reports(&r, &seen, 0, "");
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_sync(&r);
	expect_reports(&r, &seen, 0, "");
	smmuv3_set_dw(&r.cd->dw[3], 0xff);
	rig_sync(&r);
	expect_reports(&r, &seen, 1, "CD of SID 8, SSID 0: at a SYNC, word 3 is 0x0 in "
			"the cache and 0xff in memory");
	rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
	rig_sync(&r);
	expect_reports(&r, &seen, 0, "");
	/* An L2 table that grows: Leaf = 1 does not invalidate the L1STD. */
	l1 = *r.l1strtab;
	smmuv3_set_dw(r.l1strtab, (l1 & ~UINT64_C(0x1f)) | 8);
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	rig_sync(&r);
	expect_reports(&r, &seen, 1, "L1STD of SID 0");
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, false));
	rig_sync(&r);
	expect_reports(&r, &seen, 0, "");
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* The ATC has a page whose TLB entry was invalidated. @p inv: an ATC_INV follows. */
static void
use_atc(bool inv, bool touched)
{
	struct smmuv3_model_dma *dma;
	unsigned int seen = 0;
	struct rig r;

	rig_open(&r, &(struct smmuv3_model_conf){ REPORT, .features = SMMUV3_MODEL_ATS });
	rig_start(&r);
	rig_set_s1_pasids(&r, SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL));
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	rig_map(&r, VA + 4096, RIG_DATA + 4096, RIG_RW);
	dma = rig_add_ats_dma(&r, -1, 0, 0, false);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA + 4096, buf, 8);
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	/* Before the SYNC the access is legal. */
	rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	rig_sync(&r);
	rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA + 4096, buf, 8);
	if (touched)
		rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	if (inv) {
		rig_send(&r, rig_make_atc_inv(RIG_SID, -1, 0, VA, 0));
		rig_sync(&r);
	}
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	expect_reports(&r, &seen, touched && !inv, "SID 8, VA 0x100000000: an ATC entry was used");
	smmuv3_model_dma_destroy(dma);
	expect_reports(&r, &seen, 0, "");
	rig_close(&r);
}

static void
test_silent_atc_entry_used_and_never_invalidated(void **state)
{
	(void)state;
	use_atc(false, true);
	use_atc(true, true);
	use_atc(false, false);
}

static void
test_silent_reports_are_off_by_default(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	smmuv3_set_dw(&r.cd->dw[3], 0xff);
	rig_sync(&r);
	rig_send(&r, tlbi(VA, SMMUV3_TLBI_TG_64K, 3));
	assert_int_equal(smmuv3_model_silent_reports(r.m), 0);
	assert_null(smmuv3_model_silent_report(r.m, 0));
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_silent_ttl_that_misses_a_leaf),
	cmocka_unit_test(test_silent_configuration_that_differs_at_a_sync),
	cmocka_unit_test(test_silent_atc_entry_used_and_never_invalidated),
	cmocka_unit_test(test_silent_reports_are_off_by_default),
};

TEST_SUITE(model_silent, tests, NULL, NULL);
