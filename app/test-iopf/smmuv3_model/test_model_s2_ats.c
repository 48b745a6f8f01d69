/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ATS with stage 2: full and split-stage. */

#include "atc_rig.h"
#include "s2_rig.h"
#include "test.h"

#define CR0_ON	(SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN)
#define SPLIT	SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_SPLIT)

static const struct smmuv3_model_conf with_ats = { .features = SMMUV3_MODEL_ATS };

static struct smmuv3_model_dma *
ats_open(struct s2_rig *s, unsigned int config, uint64_t eats, bool atschk)
{
	s2_open(s, &with_ats, config);
	s2_change_ste(s, 1, 0, eats);
	rig_set_cr0(&s->r, (uint32_t)(CR0_ON | (atschk ? SMMUV3_CR0_ATSCHK : 0)));
	return atc_add_engine(&s->r, -1);
}

static void
ats_close(struct s2_rig *s, struct smmuv3_model_dma *dma)
{
	smmuv3_model_dma_destroy(dma);
	s2_close(s);
}

static void
test_s2_ats_full_returns_the_address_and_the_final_permissions(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		bool nested = k & 1;
		uint64_t va = nested ? S2_VA : S2_DATA;
		struct smmuv3_model_dma *dma;
		struct s2_rig s;

		dma = ats_open(&s, nested ? SMMUV3_STE_S1_S2 : SMMUV3_STE_S2, EATS, k & 2);
		assert_int_equal(atc_access(&s.r, dma, true, va), SMMUV3_MODEL_OK);
		/* The ATC has the address: stage 2 is not needed again. */
		*s2_get_pte(&s, S2_DATA) = 0;
		rig_flush(&s.r);
		assert_int_equal(atc_access(&s.r, dma, true, va), SMMUV3_MODEL_OK);
		assert_int_equal(rig_get_stat(&s.r, SMMUV3_MODEL_STAT_ATC_HITS), 1);
		rig_send(&s.r, rig_make_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL));
		rig_sync(&s.r);
		/* A fault of stage 2 is a response without permissions, and no event. */
		assert_int_equal(atc_access(&s.r, dma, false, va), SMMUV3_MODEL_ABORTED);
		/* Read-only at stage 2, writable at stage 1. */
		s2_map(&s, S2_DATA, RIG_DATA, RIG_AF | S2_NORMAL | S2_READ);
		rig_flush(&s.r);
		assert_int_equal(atc_access(&s.r, dma, false, va), SMMUV3_MODEL_OK);
		assert_int_equal(atc_access(&s.r, dma, true, va), SMMUV3_MODEL_ABORTED);
		if (nested) {
			s2_map(&s, S2_DATA, RIG_DATA, S2_RW);
			s2_map_s1(&s, S2_VA, S2_DATA, RIG_RW | RIG_RO);
			rig_flush(&s.r);
			rig_send(&s.r, rig_make_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL));
			rig_sync(&s.r);
			assert_int_equal(atc_access(&s.r, dma, false, va), SMMUV3_MODEL_OK);
			assert_int_equal(atc_access(&s.r, dma, true, va), SMMUV3_MODEL_ABORTED);
			/* A CD and a descriptor that stage 2 does not map: the same answer. */
			*s2_get_pte(&s, s2_get_ipa(&s, s.cd)) = 0;
			rig_flush(&s.r);
			assert_int_equal(atc_access(&s.r, dma, true, va), SMMUV3_MODEL_ABORTED);
		}
		atc_check_no_event(&s.r);
		ats_close(&s, dma);
	}
}

static void
test_s2_ats_split_translates_again_when_the_transaction_arrives(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	dma = ats_open(&s, SMMUV3_STE_S1_S2, SPLIT, true);
	/* The ATC gets an IPA. Used as an address it would abort. */
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_OK);
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_OK);
	assert_int_equal(rig_get_stat(&s.r, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	/* Stage 2 changes, without an ATC_INV. */
	s2_map(&s, S2_DATA, RIG_DATA + 0x3000, S2_RW);
	rig_send(&s.r, smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, true));
	rig_sync(&s.r);
	s.r.data[0x3000] = 88;
	assert_int_equal(rig_access(&s.r, dma, SMMUV3_MODEL_READ, S2_VA, walk_buf, 1),
			SMMUV3_MODEL_OK);
	assert_int_equal(walk_buf[0], 88);
	assert_int_equal(rig_get_stat(&s.r, SMMUV3_MODEL_STAT_ATC_HITS), 2);
	/* The page goes: a fault of stage 2 at the IPA, without a PASID. */
	*s2_get_pte(&s, S2_DATA) = 0;
	rig_send(&s.r, smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, true));
	rig_sync(&s.r);
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA + 8), SMMUV3_MODEL_ABORTED);
	assert_true(rig_take_evt(&s.r, &evt));
	assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000028000000000));
	assert_int_equal(evt.dw[2], S2_DATA + 8);
	assert_int_equal(evt.dw[3], S2_DATA);
	/* Permissions; then no record without S2R. */
	s2_map(&s, S2_DATA, RIG_DATA, RIG_AF | S2_NORMAL | S2_READ);
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_ABORTED);
	assert_true(rig_take_evt(&s.r, &evt));
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_PERMISSION);
	s2_change_ste(&s, 2, SMMUV3_STE2_S2R, 0);
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_ABORTED);
	atc_check_no_event(&s.r);
	ats_close(&s, dma);
}

/* Without ATSCHK split-stage ATS is as EATS = 0. */
static void
test_s2_ats_split_needs_atschk(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	dma = ats_open(&s, SMMUV3_STE_S1_S2, SPLIT, false);
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_ABORTED);
	assert_true(rig_take_evt(&s.r, &evt));
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_BAD_ATS_TREQ);
	rig_set_cr0(&s.r, (uint32_t)(CR0_ON | SMMUV3_CR0_ATSCHK));
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_OK);
	atc_check_no_event(&s.r);
	ats_close(&s, dma);
}

/* An ATC_INV before the SYNC of a TLBI_S2_IPA, as before that of a stage-1 TLBI. */
static void
test_s2_ats_early_atc_inv_is_reported(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < 3; k++) {
		struct smmuv3_model_dma *dma;
		struct s2_rig s;

		dma = ats_open(&s, SMMUV3_STE_S1_S2, EATS, true);
		assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_OK);
		rig_send(&s.r, smmuv3_cmd_tlbi_s2_ipa(k == 1 ? 9 : S2_VMID, S2_DATA, true));
		if (k == 2)
			rig_sync(&s.r);
		rig_send(&s.r, rig_make_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL));
		rig_sync(&s.r);
		smmuv3_model_dma_destroy(dma);
		if (k == 0)
			rig_expect_error(&s.r, "was sent before the SYNC of its TLBI completed");
		s2_close(&s);
	}
}

/* An endpoint whose faults of stage 2 stall is a driver error. */
static void
test_s2_ats_endpoint_with_s2s_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, &with_ats, SMMUV3_STE_S2);
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2S);
	dma = rig_add_ats_dma(&s.r, -1, 0, 0, false);
	rig_submit(&s.r, dma, SMMUV3_MODEL_READ, 0x1000, walk_buf, 8);
	rig_run(&s.r);
	rig_expect_error(&s.r, "STE has S2S set");
	assert_true(rig_take_evt(&s.r, &evt));
	rig_send(&s.r, smmuv3_cmd_resume(RIG_SID, (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG, evt.dw[1]),
			false, true));
	assert_int_equal(rig_poll(&s.r, dma), 1);
	ats_close(&s, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_s2_ats_full_returns_the_address_and_the_final_permissions),
	cmocka_unit_test(test_s2_ats_split_translates_again_when_the_transaction_arrives),
	cmocka_unit_test(test_s2_ats_split_needs_atschk),
	cmocka_unit_test(test_s2_ats_early_atc_inv_is_reported),
	cmocka_unit_test(test_s2_ats_endpoint_with_s2s_is_reported),
};

TEST_SUITE(model_s2_ats, tests, NULL, NULL);
