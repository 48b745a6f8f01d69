/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ATS of the model: Translation Requests, their answers, records and permissions. */

#include <errno.h>

#include "atc_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define CR0_PRI	0xfu

static const struct smmuv3_model_conf with_pri = {
	.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI };

static void
test_ats_exists_only_when_configured(void **state)
{
	const struct smmuv3_model_conf bad[] = {
		{ .features = SMMUV3_MODEL_PRI },
		{ .features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PPS },
		{ .features = 1 << 8 },
		{ .features = SMMUV3_MODEL_VMID16 },
		{ .features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI, .priq_log2 = 20 },
	};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		assert_null(smmuv3_model_create(&bad[i]));
		assert_int_equal(errno, EINVAL);
	}
	rig_open(&r, NULL);
	assert_int_equal(rig_read(&r, SMMUV3_IDR0) & 0x00810400, 0);
	rig_start(&r);
	errno = 0;
	assert_null(smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){
			.kind = SMMUV3_MODEL_DMA_ATS }));
	assert_int_equal(errno, EINVAL);
	rig_put(&r, rig_make_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL));
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS) >> 24, SMMUV3_CERROR_ILL);
	rig_close(&r);
	rig_open(&r, &(struct smmuv3_model_conf){ .priq_log2 = 7, .features =
			SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI | SMMUV3_MODEL_PPS });
	/* ATS 10, PRI 16, ATSRECERR 23 */
	assert_int_equal(rig_read(&r, SMMUV3_IDR0), 0x08c9341a);
	assert_int_equal(rig_read(&r, SMMUV3_IDR1), 0x0d4a3c10);
	assert_int_equal(rig_read(&r, SMMUV3_IDR3), 0x00000424);
	rig_close(&r);
}

static void
test_ats_control_calls_are_checked(void **state)
{
	struct smmuv3_model_dma *dma, *plain;
	struct rig r;

	(void)state;
	atc_open(&r);
	dma = rig_add_ats_dma(&r, -1, 0, 4, false);
	plain = rig_add_dma(&r, RIG_SID + 1, -1);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 11), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 31), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(plain, 0), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), -EBUSY);
	/* This SMMU has no PRI. */
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 4), -EINVAL);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), -EINVAL);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	/* All engines of an endpoint have the same setting. */
	errno = 0;
	assert_null(smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = RIG_SID,
			.kind = SMMUV3_MODEL_DMA_ATS, .prg_indices = 5 }));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	smmuv3_model_dma_destroy(plain);
	atc_close(&r, dma);
}

/* STE and CD, and the answer to a Translation Request [3.9.1, 7.3.6]. */
static void
check_request(uint64_t dw0_clear, uint64_t dw0_set, uint64_t dw1, uint32_t cr2, bool smmuen,
		enum smmuv3_model_status status, uint8_t event)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct smmuv3_ste ste;
	struct rig r;

	atc_open(&r);
	ste = *rig_get_ste(&r, RIG_SID);
	ste.dw[0] = (ste.dw[0] & ~dw0_clear) | dw0_set;
	ste.dw[1] = dw1;
	rig_set_ste(&r, RIG_SID, &ste);
	rig_set_cr0(&r, 0xc);
	smmuv3_write32(r.regs, SMMUV3_CR2, cr2);
	rig_set_cr0(&r, smmuen ? 0xd : 0xc);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, VA), status);
	if (event == 0) {
		atc_check_no_event(&r);
	} else {
		assert_true(rig_take_evt(&r, &evt));
		assert_int_equal(evt.dw[0], (uint64_t)RIG_SID << 32 | event);
		if (event == SMMUV3_F_BAD_ATS_TREQ) {
			/* R, W, one STU */
			assert_int_equal(evt.dw[1], 0xc0000001);
			assert_int_equal(evt.dw[2], VA);
		}
	}
	atc_check_no_event(&r);
	atc_close(&r, dma);
}

static void
test_ats_request_answers_follow_the_ste(void **state)
{
	const uint64_t config = SMMUV3_STE0_CONFIG, dss = SMMUV3_S1DSS_SSID0;
	const uint64_t off = dss, split = dss | SMMUV3_PUT(SMMUV3_STE1_EATS, 2),
		reserved = dss | SMMUV3_PUT(SMMUV3_STE1_EATS, 3);
	const uint64_t bypass = SMMUV3_PUT(config, SMMUV3_STE_BYPASS);
	const uint32_t rec = SMMUV3_CR2_REC_CFG_ATS;

	(void)state;
	check_request(0, 0, dss | EATS, 0, true, SMMUV3_MODEL_OK, 0);
	/* UR */
	check_request(0, 0, off, 0, true, SMMUV3_MODEL_ABORTED, SMMUV3_F_BAD_ATS_TREQ);
	check_request(0, 0, reserved, 0, true, SMMUV3_MODEL_ABORTED, SMMUV3_F_BAD_ATS_TREQ);
	check_request(config, bypass, dss | EATS, 0, true, SMMUV3_MODEL_ABORTED,
			SMMUV3_F_BAD_ATS_TREQ);
	check_request(0, 0, dss | EATS, 0, false, SMMUV3_MODEL_ABORTED, SMMUV3_F_BAD_ATS_TREQ);
	check_request(config, 0, dss | EATS, rec, true, SMMUV3_MODEL_ABORTED, 0);
	/* Split-stage ATS needs two stages. Without translation it behaves as EATS = 0. */
	check_request(config, bypass, split, rec, true, SMMUV3_MODEL_ABORTED,
			SMMUV3_F_BAD_ATS_TREQ);
	check_request(config, 0, split, rec, true, SMMUV3_MODEL_ABORTED, 0);
	/* CA: EATS = 2 is illegal without stage 2, or V = 0. Recorded only with REC_CFG_ATS. */
	check_request(0, 0, split, 0, true, SMMUV3_MODEL_ABORTED, 0);
	check_request(0, 0, split, rec, true, SMMUV3_MODEL_ABORTED, SMMUV3_C_BAD_STE);
	check_request(SMMUV3_STE0_V, 0, dss | EATS, 0, true, SMMUV3_MODEL_ABORTED, 0);
	check_request(SMMUV3_STE0_V, 0, dss | EATS, rec, true, SMMUV3_MODEL_ABORTED,
			SMMUV3_C_BAD_STE);
}

static void
test_ats_record_of_a_request_that_is_not_allowed(void **state)
{
	static const struct {
		int32_t ssid;
		struct smmuv3_model_op op;
		uint64_t dw0, dw1;
	} rows[] = {
		/* One STU. R is always set; W, X and P show the requested permissions. */
		{ -1, { .type = SMMUV3_MODEL_READ }, 0x0000000800000005, 0x80000001 },
		{ -1, { .type = SMMUV3_MODEL_WRITE }, 0x0000000800000005, 0xc0000001 },
		{ 3, { .type = SMMUV3_MODEL_READ, .instruction = true }, 0x0000000800003805,
			0xa0000001 },
		{ 3, { .type = SMMUV3_MODEL_WRITE, .privileged = true }, 0x0000000800003805,
			0xd0000001 },
	};
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_op op;
	struct smmuv3_evt evt;
	uint8_t buf[8] = { 0 };
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		atc_open(&r);
		rig_get_ste(&r, RIG_SID)->dw[1] &= ~SMMUV3_STE1_EATS;
		rig_flush(&r);
		dma = atc_add_engine(&r, rows[i].ssid);
		op = rows[i].op;
		op.addr = VA + 0x123;
		op.buf = buf;
		op.len = 8;
		assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
		assert_int_equal(rig_poll(&r, dma), 1);
		assert_true(rig_take_evt(&r, &evt));
		if (evt.dw[0] != rows[i].dw0 || evt.dw[1] != rows[i].dw1 || evt.dw[2] != VA)
			fail_msg("row %zu: %llx %llx %llx", i, (unsigned long long)evt.dw[0],
					(unsigned long long)evt.dw[1],
					(unsigned long long)evt.dw[2]);
		atc_check_no_event(&r);
		atc_close(&r, dma);
	}
}

/* A fetch that aborts leads to CA, as bad configuration does. */
static void
test_ats_request_whose_fetches_abort_is_a_completer_abort(void **state)
{
	const uint64_t nowhere = UINT64_C(0x700000000), rec = SMMUV3_CR2_REC_CFG_ATS;
	static const uint8_t ids[] = { SMMUV3_F_STE_FETCH, SMMUV3_F_CD_FETCH,
		SMMUV3_F_WALK_EABT };
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < 6; i++) {
		rig_open(&r, &with_pri);
		r.split = true;
		rig_start(&r);
		rig_enable_priq(&r);
		rig_set_s1_pasids(&r, EATS);
		rig_map(&r, VA, RIG_DATA, RIG_RW);
		if (i / 2 == 0)
			r.l1strtab[0] = nowhere | 9;
		else if (i / 2 == 1)
			rig_get_ste(&r, RIG_SID)->dw[0] ^= nowhere;
		else
			r.cd[0].dw[1] = nowhere;
		rig_flush(&r);
		rig_set_cr0(&r, CR0_PRI & ~1u);
		smmuv3_write32(r.regs, SMMUV3_CR2, i & 1 ? (uint32_t)rec : 0);
		rig_set_cr0(&r, CR0_PRI);
		dma = atc_add_engine(&r, -1);
		assert_int_equal(smmuv3_model_dma_pri_enable(dma, 8), 0);
		/* The endpoint sends no page request. */
		assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS), 0);
		assert_int_equal(rig_take_evt(&r, &evt), i & 1);
		if (i & 1)
			assert_int_equal(evt.dw[0] & 0xff, ids[i / 2]);
		atc_check_no_event(&r);
		atc_close(&r, dma);
	}
}

/* Success without permissions, or with fewer. The endpoint may send a page request. */
static void
test_ats_faults_of_the_tables_take_permissions_away(void **state)
{
	static const struct {
		uint64_t va, pa, attrs;		/* 0: not mapped */
	} rows[] = {
		{ VA, 0, 0 },					/* F_TRANSLATION */
		{ UINT64_C(1) << 50, 0, 0 },			/* ... beyond T0SZ */
		{ VA, UINT64_C(1) << 44, RIG_RW },		/* F_ADDR_SIZE */
		{ VA, RIG_DATA, RIG_NG | RIG_UNPRIV },		/* F_ACCESS */
		{ VA, RIG_DATA, RIG_RW | RIG_RO },		/* F_PERMISSION */
		{ VA, RIG_DATA, RIG_AF | RIG_NG },
	};
	struct smmuv3_model_conf conf = with_pri;
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;
	uint8_t buf[8];

	(void)state;
	conf.oas_bits = 40;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig_open(&r, &conf);
		rig_start(&r);
		rig_enable_priq(&r);
		rig_set_s1_pasids(&r, EATS);
		if (rows[i].attrs != 0)
			rig_map(&r, rows[i].va, rows[i].pa, rows[i].attrs);
		dma = atc_add_engine(&r, -1);
		assert_int_equal(smmuv3_model_dma_pri_enable(dma, 8), 0);
		rig_submit(&r, dma, SMMUV3_MODEL_WRITE, rows[i].va, buf, 8);
		rig_run(&r);
		if (!rig_take_ppr(&r, &ppr))
			fail_msg("row %zu: no page request", i);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, rows[i].va);
		atc_check_no_event(&r);
		rig_send_pri_resp(&r, &ppr, false, SMMUV3_PRI_RESP_INVALID);
		assert_int_equal(rig_poll(&r, dma), 1);
		atc_close(&r, dma);
	}
}

/* Service Failure Mode: Translation Requests and translated traffic fail, without records. */
static void
test_ats_ends_with_service_failure(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	atc_open(&r);
	rig_map(&r, VA + 0x1000, RIG_DATA + 0x1000, RIG_RW);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_SFM, 1);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	assert_int_equal(atc_access(&r, dma, true, VA + 0x1000), SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 2);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_SFM, 0);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	/* That request got no answer, so the ATC has no entry. */
	assert_int_equal(atc_access(&r, dma, true, VA + 0x1000), SMMUV3_MODEL_OK);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 3);
	atc_check_no_event(&r);
	atc_close(&r, dma);
}

static void
test_ats_works_with_s1dss_bypass(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ste ste;
	struct rig r;

	(void)state;
	atc_open(&r);
	ste = *rig_get_ste(&r, RIG_SID);
	ste.dw[1] = SMMUV3_S1DSS_BYPASS | EATS;
	rig_set_ste(&r, RIG_SID, &ste);
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, true, RIG_DATA + 0x5008), SMMUV3_MODEL_OK);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 1);
	atc_check_no_event(&r);
	atc_close(&r, dma);
}

static void
test_ats_request_of_an_unknown_stream_or_cd_is_a_completer_abort(void **state)
{
	struct smmuv3_model_dma *dma, *far;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	for (int rec = 0; rec < 2; rec++) {
		atc_open(&r);
		rig_set_cr0(&r, 0xc);
		smmuv3_write32(r.regs, SMMUV3_CR2, SMMUV3_CR2_RECINVSID |
				(rec ? (uint32_t)SMMUV3_CR2_REC_CFG_ATS : 0));
		rig_set_cr0(&r, 0xd);
		dma = atc_add_engine(&r, -1);
		far = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = 5000,
				.kind = SMMUV3_MODEL_DMA_ATS });
		assert_int_equal(smmuv3_model_dma_ats_enable(far, 0), 0);
		assert_int_equal(atc_access(&r, far, true, VA), SMMUV3_MODEL_ABORTED);
		assert_int_equal(rig_take_evt(&r, &evt), rec);
		if (rec)
			assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STREAMID);
		r.cd[0].dw[0] &= ~SMMUV3_CD0_V;
		rig_flush(&r);
		assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
		assert_int_equal(rig_take_evt(&r, &evt), rec);
		if (rec)
			assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_CD);
		atc_check_no_event(&r);
		smmuv3_model_dma_destroy(far);
		atc_close(&r, dma);
	}
}

static void
test_ats_faults_are_answered_without_event_and_never_stall(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	atc_open(&r);
	/* S and R have no effect. */
	r.cd[0].dw[0] |= SMMUV3_CD0_S;
	rig_flush(&r);
	dma = atc_add_engine(&r, -1);
	rig_map(&r, VA + 0x1000, RIG_DATA, RIG_RW | RIG_RO);
	rig_map(&r, VA + 0x2000, RIG_DATA, RIG_NG | RIG_UNPRIV);	/* F_ACCESS */
	assert_int_equal(atc_access(&r, dma, true, VA + 0x5000), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atc_access(&r, dma, true, VA + 0x1000), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atc_access(&r, dma, false, VA + 0x1000), SMMUV3_MODEL_OK);
	assert_int_equal(atc_access(&r, dma, false, VA + 0x2000), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atc_access(&r, dma, false, UINT64_C(1) << 50), SMMUV3_MODEL_ABORTED);
	atc_check_no_event(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	atc_close(&r, dma);
}

static void
test_ats_untranslated_stall_of_a_function_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	uint8_t buf[8] = { 0 };
	struct rig r;

	(void)state;
	atc_open(&r);
	r.cd[0].dw[0] |= SMMUV3_CD0_S;
	rig_flush(&r);
	dma = rig_add_ats_dma(&r, -1, 0, 0, false);
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 0x1000, buf, 8);
	rig_run(&r);
	rig_expect_error(&r, "SID 8 is an endpoint and its CD has S set");
	assert_true(rig_take_evt(&r, &evt));
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	assert_int_equal(rig_poll(&r, dma), 1);
	atc_close(&r, dma);
}

static void
test_ats_privilege_is_kept_apart_and_needs_a_pasid(void **state)
{
	struct smmuv3_model_dma *dma, *untagged;
	uint8_t buf[8] = { 0 };
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_READ, .privileged = true, .addr = VA,
		.buf = buf, .len = 8 };
	struct rig r;

	(void)state;
	atc_open(&r);
	dma = atc_add_engine(&r, 1);
	untagged = atc_add_engine(&r, -1);
	rig_map(&r, VA, RIG_DATA, RIG_AF | RIG_NG);	/* privileged only */
	assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	assert_int_equal(atc_access(&r, dma, false, VA), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_dma_submit(untagged, &op), 0);
	assert_int_equal(rig_poll(&r, untagged), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(untagged);
	atc_close(&r, dma);
}

/* X in the answer is the page's, and the ATC applies it. */
static void
test_ats_execution_is_a_permission_of_its_own(void **state)
{
	static const struct {
		uint64_t attrs;
		bool read, exec;
	} rows[] = {
		{ RIG_RW, true, true },
		{ RIG_RW | RIG_UXN, true, false },
		{ RIG_RW | RIG_RO | RIG_PXN, true, true },
		{ RIG_AF | RIG_NG, false, false },
	};
	struct smmuv3_model_dma *dma;
	uint8_t buf[8] = { 0 };
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_READ, .instruction = true, .addr = VA,
		.buf = buf, .len = 8 };
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		atc_open(&r);
		rig_map(&r, VA, RIG_DATA, rows[i].attrs);
		dma = atc_add_engine(&r, 1);
		for (unsigned int again = 0; again < 2; again++) {
			assert_int_equal(atc_access(&r, dma, false, VA), rows[i].read ?
					SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED);
			assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
			assert_int_equal(rig_poll(&r, dma), 1);
			assert_int_equal(r.done[0].status, rows[i].exec ?
					SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED);
		}
		atc_close(&r, dma);
	}
}

static const struct CMUnitTest tests[] = {
	TEST_WITHOUT_ECMDQS(test_ats_exists_only_when_configured),
	cmocka_unit_test(test_ats_control_calls_are_checked),
	cmocka_unit_test(test_ats_request_answers_follow_the_ste),
	cmocka_unit_test(test_ats_record_of_a_request_that_is_not_allowed),
	cmocka_unit_test(test_ats_request_whose_fetches_abort_is_a_completer_abort),
	cmocka_unit_test(test_ats_faults_of_the_tables_take_permissions_away),
	cmocka_unit_test(test_ats_ends_with_service_failure),
	cmocka_unit_test(test_ats_works_with_s1dss_bypass),
	cmocka_unit_test(test_ats_request_of_an_unknown_stream_or_cd_is_a_completer_abort),
	cmocka_unit_test(test_ats_faults_are_answered_without_event_and_never_stall),
	cmocka_unit_test(test_ats_untranslated_stall_of_a_function_is_reported),
	cmocka_unit_test(test_ats_privilege_is_kept_apart_and_needs_a_pasid),
	cmocka_unit_test(test_ats_execution_is_a_permission_of_its_own),
};

TEST_SUITE(model_ats, tests, NULL, NULL);
