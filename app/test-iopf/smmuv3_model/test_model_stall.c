/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Stalled transactions of the model: STAGs, RESUME, STALL_TERM, SMMUEN, the choices. */

#include <string.h>

#include "model_rig.h"
#include "test.h"

static uint8_t buf[256];

static struct smmuv3_model_dma *
setup(struct rig *r, const struct smmuv3_model_conf *conf)
{
	rig_open(r, conf);
	rig_start(r);
	rig_set_s1(r, 0);
	return rig_add_dma(r, RIG_SID, -1);
}

static uint16_t
make_stall(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	struct smmuv3_evt evt;

	rig_submit(r, dma, SMMUV3_MODEL_WRITE, va, buf, 8);
	rig_run(r);
	assert_true(rig_take_evt(r, &evt));
	assert_int_equal(evt.dw[2], va);
	assert_true(evt.dw[1] & SMMUV3_EVT1_STALL);
	return (uint16_t)evt.dw[1];
}

static void
test_stall_record_fields(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x12345678, buf, 8);
	rig_run(&r);
	assert_true(rig_take_evt(&r, &evt));
	/* F_TRANSLATION of SID 8; STALL, RnW, CLASS = IN, STAG 0; no IPA */
	assert_int_equal(evt.dw[0], UINT64_C(0x0000000800000010));
	assert_int_equal(evt.dw[1], UINT64_C(0x0000020880000000));
	assert_int_equal(evt.dw[2], 0x12345678);
	assert_int_equal(evt.dw[3], 0);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, 0, false, true));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(r.done[0].bytes, 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_retry_uses_the_current_tables(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	uint16_t stag;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	memset(buf, 0x77, sizeof(buf));
	stag = make_stall(&r, dma, 0x1000);
	/* The page is not mapped: the access stalls again, with a new record. */
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, stag, true, false));
	rig_run(&r);
	assert_int_equal(rig_poll(&r, dma), 0);
	assert_true(rig_take_evt(&r, &evt));
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], true, false));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	assert_int_equal(r.done[0].nb_stalls, 2);
	assert_int_equal(r.data[0], 0x77);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_STALLS), 2);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_RESUMES), 2);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_RETRIES), 2);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_each_page_of_a_dma_faults_by_itself(void **state)
{
	struct smmuv3_model_dma *dma;
	static uint8_t big[3 * 4096];
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, 0x1800, big, sizeof(big));
	for (uint64_t page = 0x1000; page < 0x5000; page += 0x1000) {
		rig_run(&r);
		assert_true(rig_take_evt(&r, &evt));
		assert_int_equal(evt.dw[2] & ~UINT64_C(0xfff), page);
		rig_map(&r, page, RIG_DATA + page, RIG_RW);
		rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], true, false));
	}
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].nb_stalls, 4);
	assert_int_equal(r.done[0].bytes, sizeof(big));
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_terminate_with_and_without_abort(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, make_stall(&r, dma, 0x1000), false, true));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, make_stall(&r, dma, 0x1000), false, false));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_RAZWI);
	assert_int_equal(r.done[0].bytes, 0);
	/* Ab has no effect with Ac = 1. */
	rig_map(&r, 0x9000, RIG_DATA, RIG_RW);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, make_stall(&r, dma, 0x1000), true, true));
	rig_run(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	rig_set_cr0(&r, 0);
	rig_poll(&r, dma);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);

	dma = setup(&r, &(struct smmuv3_model_conf){
			.no_features = SMMUV3_MODEL_TERM_ABORT_ONLY });
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, make_stall(&r, dma, 0x1000), false, false));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_razwi_reads_zero_and_goes_on(void **state)
{
	struct smmuv3_model_dma *dma;
	static uint8_t in[8192];
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	memset(in, 0xff, sizeof(in));
	memset(r.data, 0x33, 4096);
	rig_map(&r, 0x2000, RIG_DATA, RIG_RW);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000, in, 8192);
	rig_run(&r);
	assert_true(rig_take_evt(&r, &evt));
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, false));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_RAZWI);
	assert_int_equal(r.done[0].bytes, 4096);
	assert_int_equal(in[0], 0);
	assert_int_equal(in[4095], 0);
	assert_int_equal(in[4096], 0x33);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_resume_that_names_no_stall_does_nothing(void **state)
{
	struct smmuv3_model_dma *dma;
	uint16_t stag;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	stag = make_stall(&r, dma, 0x1000);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID + 1, stag, false, true));
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, stag + 1, false, true));
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, 0xffff, false, true));
	rig_run(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_RESUMES_STALE), 3);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, stag, false, true));
	assert_int_equal(rig_poll(&r, dma), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_resume_twice_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	uint16_t stag;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	stag = make_stall(&r, dma, 0x1000);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, stag, false, true));
	assert_int_equal(smmuv3_model_driver_errors(r.m), 0);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, stag, false, true));
	rig_expect_error(&r, "RESUME twice for SID 8 STAG 0");
	assert_int_equal(rig_poll(&r, dma), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_resume_of_an_unseen_record_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	uint16_t stag;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	r.queue_size_1 = true;
	r.cmdq_log2 = 4;
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x2000, buf, 8);
	rig_run(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	/* The second stall will get STAG 1, but its record is not visible yet. */
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, 1, false, true));
	rig_expect_error(&r, "RESUME for SID 8 STAG 1, whose record is not visible yet");
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_RESUMES), 0);
	assert_int_equal(rig_poll(&r, dma), 0);
	for (int i = 0; i < 2; i++) {
		struct smmuv3_evt evt;

		rig_run(&r);
		assert_true(rig_take_evt(&r, &evt));
		stag = (uint16_t)evt.dw[1];
		rig_send(&r, smmuv3_cmd_resume(RIG_SID, stag, false, true));
	}
	assert_int_equal(rig_poll(&r, dma), 2);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_max_bounds_records_and_stags_are_unique(void **state)
{
	enum { MAX = 6, N = 40 };
	struct smmuv3_model_dma *dma;
	bool used[MAX] = { false };
	unsigned int n = 0, ended = 0;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, &(struct smmuv3_model_conf){ .stall_max = MAX });
	for (int i = 0; i < N; i++)
		rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000 * i, buf, 8);
	rig_run(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), MAX);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), MAX);
	/* The stalls are answered in pairs and out of order. */
	while (ended < N) {
		uint16_t pair[2];

		for (int k = 0; k < 2; k++) {
			assert_true(rig_take_evt(&r, &evt));
			pair[k] = (uint16_t)evt.dw[1];
			assert_true(pair[k] < MAX);
			assert_false(used[pair[k]]);
			used[pair[k]] = true;
			n++;
		}
		for (int k = 2; k-- > 0;) {
			rig_send(&r, smmuv3_cmd_resume(RIG_SID, pair[k], false, true));
			used[pair[k]] = false;
		}
		ended += rig_poll(&r, dma);
	}
	assert_int_equal(n, N);
	/* A stall that waits for a STAG is not held back by the queue. */
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_STALLS_HELD), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_smmuen_off_ends_all_and_frees_stags(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .stall_max = 3 });
	r.evtq_log2 = 1;
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	for (int i = 0; i < 5; i++)
		rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000 * i, buf, 8);
	rig_run(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 2);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	assert_int_equal(rig_poll(&r, dma), 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(r.done[i].status, SMMUV3_MODEL_ABORTED);
	/* The three stalls that were held back leave no record, and a late RESUME has no effect. */
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 2);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, 0, true, false));
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_TERMINATED), 5);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0, buf, 8);
	rig_run(&r);
	rig_set_cr0(&r, 0);
	assert_int_equal(rig_poll(&r, dma), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_term_after_an_abort_ste(void **state)
{
	const struct smmuv3_ste aborting = { .dw = { SMMUV3_STE0_V } };
	struct smmuv3_model_dma *dma, *other;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	*rig_get_ste(&r, 9) = *rig_get_ste(&r, RIG_SID);
	rig_flush(&r);
	other = rig_add_dma(&r, 9, -1);
	rig_submit(&r, other, SMMUV3_MODEL_READ, 0x9000, buf, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x2000, buf, 8);
	rig_run(&r);
	rig_set_ste(&r, RIG_SID, &aborting);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 3);
	rig_send(&r, smmuv3_cmd_stall_term(RIG_SID));
	assert_int_equal(rig_poll(&r, dma), 2);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	/* The stall of the other stream remains. */
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	rig_set_ste(&r, 9, &aborting);
	rig_send(&r, smmuv3_cmd_stall_term(9));
	assert_int_equal(rig_poll(&r, other), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_STALL_TERMS), 2);
	smmuv3_model_dma_destroy(dma);
	smmuv3_model_dma_destroy(other);
	rig_close(&r);
}

static void
test_stall_term_without_an_abort_ste_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	uint8_t in[8];
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_send(&r, smmuv3_cmd_stall_term(RIG_SID));
	rig_expect_error(&r, "STALL_TERM for SID 8, whose STE does not abort");
	/* The STE changed in memory without a CFGI: the cached STE still translates. */
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, 0x1000, in, 8), SMMUV3_MODEL_OK);
	smmuv3_set_dw(&rig_get_ste(&r, RIG_SID)->dw[0], SMMUV3_STE0_V);
	rig_send(&r, smmuv3_cmd_stall_term(RIG_SID));
	rig_expect_error(&r, "STALL_TERM for SID 8, whose STE does not abort");
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	rig_send(&r, smmuv3_cmd_stall_term(RIG_SID));
	rig_expect_error(&r, "STALL_TERM for SID 8 before the SYNC");
	rig_sync(&r);
	rig_send(&r, smmuv3_cmd_stall_term(RIG_SID));
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_suppressed_duplicates_are_retried_with_the_first(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_SUPPRESS_DUP });
	for (int i = 0; i < 5; i++)
		rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000 + 8 * i, buf, 8);
	/* Neither a write nor another page is a duplicate. */
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, 0x1000, buf, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x2000, buf, 8);
	rig_run(&r);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_STALLS), 3);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_STALLS_SUPPRESSED), 4);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_true(rig_take_evt(&r, &evt));
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], true, false));
	assert_int_equal(rig_poll(&r, dma), 5);
	while (rig_take_evt(&r, &evt))
		rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	assert_int_equal(rig_poll(&r, dma), 2);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_early_retry_leaves_the_stag_to_be_resumed(void **state)
{
	struct smmuv3_model_dma *dma;
	uint16_t stag;
	struct rig r;

	(void)state;
	dma = setup(&r, &(struct smmuv3_model_conf){ .stall_max = 2,
			.choices = SMMUV3_MODEL_EARLY_RETRY });
	stag = make_stall(&r, dma, 0x1000);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	for (int i = 0; i < 1000 && rig_poll(&r, dma) == 0; i++)
		;
	assert_int_equal(r.nb_done, 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	/* The STAG is still in use, and a RESUME of a transaction that has ended is legal. */
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, stag, true, false));
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	assert_int_equal(rig_poll(&r, dma), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* The transaction has ended, and SMMUEN = 0 ends its stall. */
static void
test_the_end_of_stalls_counts_one_that_was_tried_again(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, &(struct smmuv3_model_conf){ .stall_max = 2,
			.choices = SMMUV3_MODEL_EARLY_RETRY });
	make_stall(&r, dma, 0x1000);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	for (int i = 0; i < 1000 && rig_poll(&r, dma) == 0; i++)
		;
	assert_int_equal(r.nb_done, 1);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_TERMINATED), 1);
	assert_int_equal(rig_poll(&r, dma), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_stall_may_be_refused_by_the_smmu(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, &(struct smmuv3_model_conf){
			.choices = SMMUV3_MODEL_NO_STALL_SUPPORT });
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8),
			SMMUV3_MODEL_ABORTED);
	assert_true(rig_take_evt(&r, &evt));
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_TRANSLATION);
	assert_false(evt.dw[1] & SMMUV3_EVT1_STALL);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* Stage 1, terminate: the effect of CD.R and CD.A [5.5]. */
static void
test_stall_terminate_follows_r_and_a(void **state)
{
	(void)state;
	for (unsigned int ra = 0; ra < 4; ra++) {
		bool record = ra & 1, abort = ra & 2;
		struct smmuv3_model_dma *dma;
		struct smmuv3_evt evt;
		struct rig r;

		dma = setup(&r, NULL);
		smmuv3_set_dw(&r.cd->dw[0], (r.cd->dw[0] & ~(SMMUV3_CD0_S | SMMUV3_CD0_R |
				SMMUV3_CD0_A)) | SMMUV3_PUT(SMMUV3_CD0_R, record) |
				SMMUV3_PUT(SMMUV3_CD0_A, abort));
		rig_flush(&r);
		assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8),
				abort ? SMMUV3_MODEL_ABORTED : SMMUV3_MODEL_RAZWI);
		assert_int_equal(rig_take_evt(&r, &evt), record);
		if (record)
			assert_int_equal(evt.dw[1], UINT64_C(0x0000020800000000));
		smmuv3_model_dma_destroy(dma);
		rig_close(&r);
	}
}

/* stall_model, S1STALLD, CD.S [5.5]. */
static void
test_stall_model_table(void **state)
{
	static const struct {
		unsigned int model;
		bool s1stalld, s;
		uint8_t id;
		bool stall;
	} rows[] = {
		{ 0, false, false, SMMUV3_F_TRANSLATION, false },
		{ 0, false, true, SMMUV3_F_TRANSLATION, true },
		{ 0, true, false, SMMUV3_F_TRANSLATION, false },
		{ 0, true, true, SMMUV3_C_BAD_CD, false },
		{ 1, false, false, SMMUV3_F_TRANSLATION, false },
		{ 1, false, true, SMMUV3_C_BAD_CD, false },
		{ 1, true, false, SMMUV3_C_BAD_STE, false },
		{ 2, false, true, SMMUV3_F_TRANSLATION, true },
		{ 2, false, false, SMMUV3_C_BAD_CD, false },
		{ 2, true, true, SMMUV3_C_BAD_STE, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smmuv3_model_dma *dma;
		struct smmuv3_ste *ste;
		struct smmuv3_evt evt;
		struct rig r;

		dma = setup(&r, &(struct smmuv3_model_conf){ .stall_model = rows[i].model });
		ste = rig_get_ste(&r, RIG_SID);
		if (!rows[i].s)
			r.cd->dw[0] &= ~SMMUV3_CD0_S;
		if (rows[i].s1stalld)
			ste->dw[1] |= SMMUV3_STE1_S1STALLD;
		rig_flush(&r);
		rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8);
		rig_run(&r);
		assert_true(rig_take_evt(&r, &evt));
		assert_int_equal(evt.dw[0] & 0xff, rows[i].id);
		assert_int_equal(!!(evt.dw[1] & SMMUV3_EVT1_STALL), rows[i].stall);
		rig_set_cr0(&r, 0);
		assert_int_equal(rig_poll(&r, dma), 1);
		smmuv3_model_dma_destroy(dma);
		rig_close(&r);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_stall_record_fields),
	cmocka_unit_test(test_stall_retry_uses_the_current_tables),
	cmocka_unit_test(test_stall_each_page_of_a_dma_faults_by_itself),
	cmocka_unit_test(test_stall_terminate_with_and_without_abort),
	cmocka_unit_test(test_stall_razwi_reads_zero_and_goes_on),
	cmocka_unit_test(test_stall_resume_that_names_no_stall_does_nothing),
	cmocka_unit_test(test_stall_resume_twice_is_reported),
	cmocka_unit_test(test_stall_resume_of_an_unseen_record_is_reported),
	cmocka_unit_test(test_stall_max_bounds_records_and_stags_are_unique),
	cmocka_unit_test(test_stall_smmuen_off_ends_all_and_frees_stags),
	cmocka_unit_test(test_stall_term_after_an_abort_ste),
	cmocka_unit_test(test_stall_term_without_an_abort_ste_is_reported),
	cmocka_unit_test(test_stall_suppressed_duplicates_are_retried_with_the_first),
	cmocka_unit_test(test_stall_early_retry_leaves_the_stag_to_be_resumed),
	cmocka_unit_test(test_the_end_of_stalls_counts_one_that_was_tried_again),
	cmocka_unit_test(test_stall_may_be_refused_by_the_smmu),
	cmocka_unit_test(test_stall_terminate_follows_r_and_a),
	cmocka_unit_test(test_stall_model_table),
};

TEST_SUITE(model_stall, tests, NULL, NULL);
