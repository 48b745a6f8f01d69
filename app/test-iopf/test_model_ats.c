/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ATS of the model: Translation Requests, Translated transactions, the ATC, ATC_INV. */

#include <errno.h>
#include <string.h>

#include "test.h"
#include "model_rig.h"

#define VA	UINT64_C(0x10000000)
#define EATS	SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL)

static const struct smmuv3_model_conf with_ats = { .features = SMMUV3_MODEL_ATS };

static void
setup(struct rig *r)
{
	rig_open(r, &with_ats);
	rig_up(r);
	rig_s1_pasids(r, EATS);
	rig_map(r, VA, RIG_DATA, RIG_RW);
}

static struct smmuv3_model_dma *
engine(struct rig *r, int32_t ssid)
{
	struct smmuv3_model_dma *dma = rig_ats_dma(r, ssid, 0, 0, false);
	int ret = smmuv3_model_dma_ats_enable(dma, 0);

	/* The second engine of a function finds it on. */
	assert_true(ret == 0 || ret == -EBUSY);
	return dma;
}

static enum smmuv3_model_status
touch(struct rig *r, struct smmuv3_model_dma *dma, bool write, uint64_t va)
{
	static uint8_t buf[8];

	return rig_access(r, dma, write ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ, va, buf, 8);
}

static void
no_event(struct rig *r)
{
	struct smmuv3_evt evt;

	assert_false(rig_evt(r, &evt));
}

static void
close_rig(struct rig *r, struct smmuv3_model_dma *dma)
{
	smmuv3_model_dma_destroy(dma);
	rig_close(r);
}

static void
test_ats_is_there_only_when_asked_for(void **state)
{
	const struct smmuv3_model_conf bad[] = {
		{ .features = SMMUV3_MODEL_PRI },
		{ .features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PPS },
		{ .features = 8 },
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
	rig_up(&r);
	errno = 0;
	assert_null(smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){
			.kind = SMMUV3_MODEL_DMA_ATS }));
	assert_int_equal(errno, EINVAL);
	rig_put(&r, rig_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL));
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
	setup(&r);
	dma = rig_ats_dma(&r, -1, 0, 4, false);
	plain = rig_dma(&r, RIG_SID + 1, -1);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 11), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 31), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(plain, 0), -EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), -EBUSY);
	/* No PRI in this SMMU. */
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 4), -EINVAL);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), -EINVAL);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	/* Engines of one function agree about it. */
	errno = 0;
	assert_null(smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = RIG_SID,
			.kind = SMMUV3_MODEL_DMA_ATS, .prg_indices = 5 }));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	smmuv3_model_dma_destroy(plain);
	close_rig(&r, dma);
}

/* A row of 4.5: what the STE and CD say, and what comes of a Translation Request. */
static void
treq(uint64_t dw0_clear, uint64_t dw0_set, uint64_t dw1, uint32_t cr2, bool smmuen,
		enum smmuv3_model_status status, uint8_t event)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct smmuv3_ste ste;
	struct rig r;

	setup(&r);
	ste = *rig_ste_ptr(&r, RIG_SID);
	ste.dw[0] = (ste.dw[0] & ~dw0_clear) | dw0_set;
	ste.dw[1] = dw1;
	rig_ste(&r, RIG_SID, &ste);
	rig_cr0(&r, 0xc);
	smmuv3_write32(r.regs, SMMUV3_CR2, cr2);
	rig_cr0(&r, smmuen ? 0xd : 0xc);
	dma = engine(&r, -1);
	assert_int_equal(touch(&r, dma, true, VA), status);
	if (event == 0) {
		no_event(&r);
	} else {
		assert_true(rig_evt(&r, &evt));
		assert_int_equal(evt.dw[0], (uint64_t)RIG_SID << 32 | event);
		if (event == SMMUV3_F_BAD_ATS_TREQ) {
			/* R, W, one STU */
			assert_int_equal(evt.dw[1], 0xc0000001);
			assert_int_equal(evt.dw[2], VA);
		}
	}
	no_event(&r);
	close_rig(&r, dma);
}

static void
test_ats_request_answers(void **state)
{
	const uint64_t config = SMMUV3_STE0_CONFIG, dss = SMMUV3_S1DSS_SSID0;
	const uint64_t off = dss, split = dss | SMMUV3_PUT(SMMUV3_STE1_EATS, 2),
		reserved = dss | SMMUV3_PUT(SMMUV3_STE1_EATS, 3);
	const uint64_t bypass = SMMUV3_PUT(config, SMMUV3_STE_BYPASS);
	const uint32_t rec = SMMUV3_CR2_REC_CFG_ATS;

	(void)state;
	treq(0, 0, dss | EATS, 0, true, SMMUV3_MODEL_OK, 0);
	/* UR */
	treq(0, 0, off, 0, true, SMMUV3_MODEL_ABORTED, SMMUV3_F_BAD_ATS_TREQ);
	treq(0, 0, reserved, 0, true, SMMUV3_MODEL_ABORTED, SMMUV3_F_BAD_ATS_TREQ);
	treq(config, bypass, dss | EATS, 0, true, SMMUV3_MODEL_ABORTED, SMMUV3_F_BAD_ATS_TREQ);
	treq(0, 0, dss | EATS, 0, false, SMMUV3_MODEL_ABORTED, SMMUV3_F_BAD_ATS_TREQ);
	treq(config, 0, dss | EATS, rec, true, SMMUV3_MODEL_ABORTED, 0);
	/* CA, recorded only with REC_CFG_ATS: EATS = 2 is illegal without stage 2, V = 0 */
	treq(0, 0, split, 0, true, SMMUV3_MODEL_ABORTED, 0);
	treq(0, 0, split, rec, true, SMMUV3_MODEL_ABORTED, SMMUV3_C_BAD_STE);
	treq(SMMUV3_STE0_V, 0, dss | EATS, 0, true, SMMUV3_MODEL_ABORTED, 0);
	treq(SMMUV3_STE0_V, 0, dss | EATS, rec, true, SMMUV3_MODEL_ABORTED, SMMUV3_C_BAD_STE);
}

static void
test_ats_works_with_s1dss_bypass(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ste ste;
	struct rig r;

	(void)state;
	setup(&r);
	ste = *rig_ste_ptr(&r, RIG_SID);
	ste.dw[1] = SMMUV3_S1DSS_BYPASS | EATS;
	rig_ste(&r, RIG_SID, &ste);
	dma = engine(&r, -1);
	assert_int_equal(touch(&r, dma, true, RIG_DATA + 0x5008), SMMUV3_MODEL_OK);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 1);
	no_event(&r);
	close_rig(&r, dma);
}

static void
test_ats_request_of_an_unknown_stream_or_cd_is_a_completer_abort(void **state)
{
	struct smmuv3_model_dma *dma, *far;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	for (int rec = 0; rec < 2; rec++) {
		setup(&r);
		rig_cr0(&r, 0xc);
		smmuv3_write32(r.regs, SMMUV3_CR2, SMMUV3_CR2_RECINVSID |
				(rec ? (uint32_t)SMMUV3_CR2_REC_CFG_ATS : 0));
		rig_cr0(&r, 0xd);
		dma = engine(&r, -1);
		far = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = 5000,
				.kind = SMMUV3_MODEL_DMA_ATS });
		assert_int_equal(smmuv3_model_dma_ats_enable(far, 0), 0);
		assert_int_equal(touch(&r, far, true, VA), SMMUV3_MODEL_ABORTED);
		assert_int_equal(rig_evt(&r, &evt), rec);
		if (rec)
			assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STREAMID);
		r.cd[0].dw[0] &= ~SMMUV3_CD0_V;
		rig_flush(&r);
		assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
		assert_int_equal(rig_evt(&r, &evt), rec);
		if (rec)
			assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_CD);
		no_event(&r);
		smmuv3_model_dma_destroy(far);
		close_rig(&r, dma);
	}
}

static void
test_ats_faults_are_answered_without_event_and_never_stall(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	/* S and R: no say in it. */
	r.cd[0].dw[0] |= SMMUV3_CD0_S;
	rig_flush(&r);
	dma = engine(&r, -1);
	rig_map(&r, VA + 0x1000, RIG_DATA, RIG_RW | RIG_RO);
	rig_map(&r, VA + 0x2000, RIG_DATA, RIG_NG | RIG_UNPRIV);	/* F_ACCESS */
	assert_int_equal(touch(&r, dma, true, VA + 0x5000), SMMUV3_MODEL_ABORTED);
	assert_int_equal(touch(&r, dma, true, VA + 0x1000), SMMUV3_MODEL_ABORTED);
	assert_int_equal(touch(&r, dma, false, VA + 0x1000), SMMUV3_MODEL_OK);
	assert_int_equal(touch(&r, dma, false, VA + 0x2000), SMMUV3_MODEL_ABORTED);
	assert_int_equal(touch(&r, dma, false, UINT64_C(1) << 50), SMMUV3_MODEL_ABORTED);
	no_event(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	close_rig(&r, dma);
}

static void
test_ats_untranslated_stall_of_a_function_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	uint8_t buf[8] = { 0 };
	struct rig r;

	(void)state;
	setup(&r);
	r.cd[0].dw[0] |= SMMUV3_CD0_S;
	rig_flush(&r);
	dma = rig_ats_dma(&r, -1, 0, 0, false);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 0x1000, buf, 8);
	rig_run(&r);
	rig_expect_error(&r, "SID 8 is a PCIe function and its CD has S set");
	assert_true(rig_evt(&r, &evt));
	rig_cmd(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	assert_int_equal(rig_poll(&r, dma), 1);
	close_rig(&r, dma);
}

static void
test_ats_atc_is_stale_until_it_is_invalidated(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	dma = engine(&r, -1);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	rig_unmap(&r, VA);
	rig_cmd(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	rig_sync(&r);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_cmd(&r, rig_atc_inv(RIG_SID, -1, 0, VA, 0));
	rig_sync(&r);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS), 1);
	/* Switching ATS on starts with an empty ATC. */
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_unmap(&r, VA);
	rig_flush(&r);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

static void
test_ats_more_permission_needs_no_invalidation(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	dma = engine(&r, -1);
	rig_map(&r, VA, RIG_DATA, RIG_RW | RIG_RO);
	assert_int_equal(touch(&r, dma, false, VA), SMMUV3_MODEL_OK);
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	rig_cmd(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
	rig_sync(&r);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	close_rig(&r, dma);
}

/* Which of three engines (untagged, PASID 1, PASID 2) keep VA and VA + 0x3000. */
static void
reach(struct smmuv3_cmd inv, unsigned int stale)
{
	static const uint64_t off[2] = { 0, 0x3000 };
	struct smmuv3_model_dma *dma[3];
	struct rig r;

	setup(&r);
	rig_map(&r, VA + 0x3000, RIG_DATA + 0x3000, RIG_RW);
	for (int i = 0; i < 3; i++) {
		dma[i] = engine(&r, i == 0 ? -1 : i);
		for (int j = 0; j < 2; j++)
			assert_int_equal(touch(&r, dma[i], true, VA + off[j]), SMMUV3_MODEL_OK);
	}
	rig_unmap(&r, VA);
	rig_unmap(&r, VA + 0x3000);
	rig_flush(&r);
	rig_cmd(&r, inv);
	rig_sync(&r);
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 2; j++)
			if (touch(&r, dma[i], true, VA + off[j]) !=
					(stale & 1 << (2 * i + j) ? SMMUV3_MODEL_OK :
					 SMMUV3_MODEL_ABORTED))
				fail_msg("engine %d page %d", i, j);
	for (int i = 0; i < 3; i++)
		smmuv3_model_dma_destroy(dma[i]);
	rig_close(&r);
}

static void
test_ats_invalidation_reaches_what_it_names(void **state)
{
	(void)state;
	/* Bits: untagged 0 and 1, PASID 1 2 and 3, PASID 2 4 and 5. */
	reach(rig_atc_inv(RIG_SID, -1, 0, VA, 0), 0x3e);
	reach(rig_atc_inv(RIG_SID, 1, 0, VA, 0), 0x3b);
	reach(rig_atc_inv(RIG_SID, 1, 0, VA + 0x1000, 0), 0x3f);
	/* Low bits of the address are taken as 0. */
	reach(rig_atc_inv(RIG_SID, 1, 0, VA + 0x1000, 1), 0x3b);
	reach(rig_atc_inv(RIG_SID, 2, 0, VA + 0x2000, 2), 0x0f);
	reach(rig_atc_inv(RIG_SID, 2, 0, 0, SMMUV3_ATC_SIZE_ALL), 0x0f);
	reach(rig_atc_inv(RIG_SID, 2, 0, VA, 20), 0x0f);
	reach(rig_atc_inv(RIG_SID, 1, SMMUV3_ATC0_GLOBAL, VA, 0), 0x2b);
	reach(rig_atc_inv(RIG_SID, 1, SMMUV3_ATC0_GLOBAL, 0, SMMUV3_ATC_SIZE_ALL), 0x03);
	/* Global has no meaning without SSV. */
	reach(rig_atc_inv(RIG_SID, -1, SMMUV3_ATC0_GLOBAL, 0, SMMUV3_ATC_SIZE_ALL), 0x3c);
	/* Of another stream. */
	reach(rig_atc_inv(RIG_SID + 1, -1, 0, 0, SMMUV3_ATC_SIZE_ALL), 0x3f);
}

static void
test_ats_invalidation_below_the_smallest_unit_does_nothing(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	dma = rig_ats_dma(&r, -1, 0, 0, false);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 16), 0);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_unmap(&r, VA);
	rig_flush(&r);
	rig_cmd(&r, rig_atc_inv(RIG_SID, -1, 0, VA, 3));
	rig_expect_error(&r, "ATC_INV for SID 8 of less than its smallest translation unit");
	rig_sync(&r);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_cmd(&r, rig_atc_inv(RIG_SID, -1, 0, VA, 4));
	rig_sync(&r);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

static void
test_ats_size_above_52_is_illegal(void **state)
{
	struct rig r;

	(void)state;
	setup(&r);
	rig_put(&r, rig_atc_inv(RIG_SID, -1, 0, 0, 53));
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
	setup(&r);
	dma = engine(&r, -1);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	rig_unmap(&r, VA);
	rig_flush(&r);
	rig_put(&r, rig_atc_inv(RIG_SID, -1, 0, VA, 0));
	cons = r.cmd_prod;
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	rig_run(&r);
	/* RD stays on the SYNC, which gave no signal. */
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), cons | SMMUV3_CERROR_ATC_INV_SYNC << 24);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_CMDQ_ERR);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
	/* Acknowledged, it is executed again and there is nothing it waits for. */
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	assert_int_equal(smmuv3_q_pos(r.cmdq_log2, rig_read(&r, SMMUV3_CMDQ_CONS)), r.cmd_prod);
	/* The entry is stale and nothing was promised: no word of the oracle. */
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	smmuv3_model_dma_quirks(dma, 0, 0);
	rig_cmd(&r, rig_atc_inv(RIG_SID, -1, 0, VA, 0));
	rig_sync(&r);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

static void
test_ats_invalidation_is_ignored_while_the_smmu_is_off(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	dma = engine(&r, -1);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	rig_unmap(&r, VA);
	rig_flush(&r);
	rig_cr0(&r, 0xc);
	rig_cmd(&r, rig_atc_inv(RIG_SID, -1, 0, VA, 0));
	rig_sync(&r);
	rig_cr0(&r, 0xd);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	close_rig(&r, dma);
}

/* A translated write after the STE became @p ste0/@p eats; ATSCHK on or off. */
static void
translated(bool atschk, bool smmuen, uint64_t dw0, bool eats, enum smmuv3_model_status status,
		bool event)
{
	uint32_t cr0 = 0xc | (atschk ? (uint32_t)SMMUV3_CR0_ATSCHK : 0);
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct smmuv3_ste ste;
	struct rig r;

	setup(&r);
	dma = engine(&r, 3);
	assert_int_equal(touch(&r, dma, true, VA), SMMUV3_MODEL_OK);
	ste = *rig_ste_ptr(&r, RIG_SID);
	ste.dw[0] = (ste.dw[0] & ~(SMMUV3_STE0_CONFIG | SMMUV3_STE0_V)) | dw0;
	if (!eats)
		ste.dw[1] &= ~SMMUV3_STE1_EATS;
	rig_ste(&r, RIG_SID, &ste);
	rig_cr0(&r, cr0 | 1);
	rig_cr0(&r, cr0 | smmuen);
	assert_int_equal(touch(&r, dma, true, VA + 8), status);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	if (event) {
		assert_true(rig_evt(&r, &evt));
		/* No SSV, no SSID: the StreamID alone; the address is the translated one. */
		assert_int_equal(evt.dw[0], (uint64_t)RIG_SID << 32 | SMMUV3_F_TRANSL_FORBIDDEN);
		assert_int_equal(evt.dw[1], 0);
		assert_int_equal(evt.dw[2], RIG_DATA + 8);
	}
	no_event(&r);
	close_rig(&r, dma);
}

static void
test_ats_translated_traffic_is_checked_with_atschk(void **state)
{
	const uint64_t v = SMMUV3_STE0_V;
	const uint64_t s1 = v | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1);
	const uint64_t bypass = v | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS);

	(void)state;
	translated(false, true, s1, true, SMMUV3_MODEL_OK, false);
	translated(false, true, s1, false, SMMUV3_MODEL_OK, false);
	translated(false, true, v, false, SMMUV3_MODEL_OK, false);
	translated(false, false, s1, true, SMMUV3_MODEL_ABORTED, true);
	translated(true, true, s1, true, SMMUV3_MODEL_OK, false);
	translated(true, true, s1, false, SMMUV3_MODEL_ABORTED, true);
	translated(true, true, bypass, true, SMMUV3_MODEL_ABORTED, true);
	translated(true, true, v, true, SMMUV3_MODEL_ABORTED, false);		/* Config = 000 */
	translated(true, true, s1 & ~v, true, SMMUV3_MODEL_ABORTED, false);	/* bad STE */
	translated(true, false, s1, true, SMMUV3_MODEL_ABORTED, true);
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
	setup(&r);
	dma = engine(&r, 1);
	untagged = engine(&r, -1);
	rig_map(&r, VA, RIG_DATA, RIG_AF | RIG_NG);	/* privileged only */
	assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	assert_int_equal(touch(&r, dma, false, VA), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_dma_submit(untagged, &op), 0);
	assert_int_equal(rig_poll(&r, untagged), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(untagged);
	close_rig(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_ats_is_there_only_when_asked_for),
	cmocka_unit_test(test_ats_control_calls_are_checked),
	cmocka_unit_test(test_ats_request_answers),
	cmocka_unit_test(test_ats_works_with_s1dss_bypass),
	cmocka_unit_test(test_ats_request_of_an_unknown_stream_or_cd_is_a_completer_abort),
	cmocka_unit_test(test_ats_faults_are_answered_without_event_and_never_stall),
	cmocka_unit_test(test_ats_untranslated_stall_of_a_function_is_reported),
	cmocka_unit_test(test_ats_atc_is_stale_until_it_is_invalidated),
	cmocka_unit_test(test_ats_more_permission_needs_no_invalidation),
	cmocka_unit_test(test_ats_invalidation_reaches_what_it_names),
	cmocka_unit_test(test_ats_invalidation_below_the_smallest_unit_does_nothing),
	cmocka_unit_test(test_ats_size_above_52_is_illegal),
	cmocka_unit_test(test_ats_dead_atc_fails_the_sync_and_only_that),
	cmocka_unit_test(test_ats_invalidation_is_ignored_while_the_smmu_is_off),
	cmocka_unit_test(test_ats_translated_traffic_is_checked_with_atschk),
	cmocka_unit_test(test_ats_privilege_is_kept_apart_and_needs_a_pasid),
};

TEST_SUITE(model_ats, tests, NULL, NULL);
