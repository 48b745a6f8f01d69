/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The oracle and page frames: a driver's mistake reaches a frame that is free, or that belongs to
 * another owner. A correct driver does not.
 */

#include <errno.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define VA	UINT64_C(0x100000000)
#define FRAME	(RIG_DATA + 0x5000)
#define OTHER	(RIG_DATA + 0x9000)

static uint8_t buf[64];

static struct smmuv3_model_dma *
setup(struct rig *r, const struct smmuv3_model_conf *conf)
{
	rig_open(r, conf);
	rig_start(r);
	rig_set_s1(r, 0);
	return rig_add_dma(r, RIG_SID, -1);
}

static void
give_frame(struct rig *r, uint64_t addr, uint32_t owner)
{
	assert_int_equal(smmuv3_model_frame_give(r->m, addr, 4096, owner), 0);
}

static void
free_frame(struct rig *r, uint64_t addr)
{
	assert_int_equal(smmuv3_model_frame_free(r->m, addr, 4096), 0);
}

static void
tlbi(struct rig *r, uint64_t va)
{
	rig_send(r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, va, true));
}

static void
test_frame_is_reached_after_it_was_freed_without_an_invalidation(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	give_frame(&r, FRAME, 1);
	rig_map(&r, VA, FRAME, RIG_RW);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8), SMMUV3_MODEL_OK);
	/* Wrong: no TLBI. */
	rig_unmap(&r, VA);
	free_frame(&r, FRAME);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8), SMMUV3_MODEL_OK);
	rig_expect_oracle(&r, "a write of SID 8 at VA 0x100000000 reached frame 0x80005000, which "
			"owner 1 freed before");
	/* The frame is given again, and the driver is correct: the access stalls. */
	tlbi(&r, VA);
	rig_sync(&r);
	give_frame(&r, FRAME, 2);
	rig_submit(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_run(&r);
	assert_true(rig_take_evt(&r, &evt));
	rig_map(&r, VA, FRAME, RIG_RW);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], true, true));
	assert_int_equal(rig_poll(&r, dma), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* A COPY reads one frame and writes another: the oracle checks both. */
static void
test_frame_of_another_owner_is_reached(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	give_frame(&r, FRAME, 1);
	give_frame(&r, OTHER, 2);
	give_frame(&r, OTHER + 4096, 0);
	rig_map(&r, VA, FRAME, RIG_RW);
	rig_map(&r, VA + 4096, OTHER, RIG_RW);
	rig_map(&r, VA + 8192, OTHER + 4096, RIG_RW);
	/* The engine has no owner. */
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 4096, buf, 8);
	smmuv3_model_dma_owner(dma, 1);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 8192, buf, 8);
	assert_int_equal(smmuv3_model_oracle_errors(r.m), 0);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 4096, buf, 8);
	rig_expect_oracle(&r, "for owner 1, reached frame 0x80009000 of owner 2");
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_COPY, .addr = VA, .dst = VA + 4096, .len = 8 }), 0);
	assert_int_equal(rig_poll(&r, dma), 1);
	rig_expect_oracle(&r, "a write of SID 8 at VA 0x100001000, for owner 1, reached frame");
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* Frames that the SMMU itself reads: a table through its cached pointer, a CD, an STE. */
static void
test_frame_of_a_table_is_reached_by_a_walk(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t table;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_map(&r, VA, FRAME, RIG_RW);
	rig_map(&r, VA + 4096, FRAME, RIG_RW);
	table = rig_get_addr(&r, rig_get_pte(&r, r.ttb0, VA)) & ~UINT64_C(0xfff);
	give_frame(&r, table, 1);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	/* Wrong: Leaf = 1 leaves the cached pointer to the table. */
	tlbi(&r, VA);
	rig_sync(&r);
	free_frame(&r, table);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 4096, buf, 8);
	rig_expect_oracle(&r, "a table walk of SID 8 at VA 0x100001000 reached frame");
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_frame_of_a_cd_is_fetched_from(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_map(&r, VA, FRAME, RIG_RW);
	give_frame(&r, rig_get_addr(&r, r.cd) & ~UINT64_C(0xfff), 1);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	free_frame(&r, rig_get_addr(&r, r.cd) & ~UINT64_C(0xfff));
	/* The model caches the CD. */
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	assert_int_equal(smmuv3_model_oracle_errors(r.m), 0);
	rig_send(&r, smmuv3_cmd_cfgi_all());
	rig_sync(&r);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_expect_oracle(&r, "a configuration fetch of SID 8");
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* A driver frees its queues while the SMMU still uses them. */
static void
test_frame_of_a_queue_is_used(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t cmdq, evtq;
	uint32_t *word;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	/* Each queue is in frames of its own. */
	rig_alloc(&r, 4096, 4096);
	r.evtq_log2 = 7;
	r.cmdq_log2 = 8;
	rig_start(&r);
	dma = rig_add_dma(&r, RIG_SID, -1);
	cmdq = rig_get_addr(&r, r.cmdq);
	evtq = rig_get_addr(&r, r.evtq);
	word = rig_alloc(&r, 4096, 4096);
	give_frame(&r, cmdq, 7);
	give_frame(&r, evtq, 7);
	give_frame(&r, rig_get_addr(&r, word), 7);
	/* C_BAD_STE, which writes an event. */
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_send(&r, smmuv3_cmd_sync_msi(rig_get_addr(&r, word), 1));
	assert_int_equal(*word, 1);
	assert_int_equal(smmuv3_model_oracle_errors(r.m), 0);
	free_frame(&r, evtq);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_expect_oracle(&r, "EVENTQ of SID 0");
	free_frame(&r, rig_get_addr(&r, word));
	rig_send(&r, smmuv3_cmd_sync_msi(rig_get_addr(&r, word), 1));
	rig_expect_oracle(&r, "an MSI of SID 0");
	free_frame(&r, cmdq);
	rig_sync(&r);
	rig_expect_oracle(&r, "CMDQ of SID 0");
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* A driver relies on GBPA.ABORT, or on SMMUEN, where it must not. */
static void
test_frame_is_reached_while_the_smmu_is_off(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	give_frame(&r, FRAME, 3);
	rig_write(&r, SMMUV3_GBPA, (uint32_t)(SMMUV3_GBPA_UPDATE | SMMUV3_GBPA_ABORT));
	rig_run(&r);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, FRAME, buf, 8),
			SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_oracle_errors(r.m), 0);
	rig_write(&r, SMMUV3_GBPA, (uint32_t)SMMUV3_GBPA_UPDATE);
	rig_run(&r);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, FRAME, buf, 8), SMMUV3_MODEL_OK);
	rig_expect_oracle(&r, "reached frame 0x80005000 of owner 3 untranslated");
	/* This frame was not given to an owner. */
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, OTHER, buf, 8), SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* The ASID goes to another address space. @p invalidate: with the TLBI that this needs. */
static void
reuse_asid(bool invalidate)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	dma = setup(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_ASIDS });
	rig_map(&r, VA, FRAME, RIG_RW);
	rig_map(&r, VA + 4096, FRAME, RIG_RW & ~RIG_NG);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 4096, buf, 8);
	r.ttb0 = rig_alloc(&r, 4096, 4096);
	smmuv3_set_dw(&r.cd->dw[1], rig_get_addr(&r, r.ttb0));
	rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
	if (invalidate)
		rig_send(&r, smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID));
	rig_sync(&r);
	if (!invalidate) {
		assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8),
				SMMUV3_MODEL_OK);
		rig_expect_oracle(&r, "SID 8, VA 0x100000000: ASID 5 has table");
	} else {
		rig_submit(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
		rig_run(&r);
		assert_true(rig_take_evt(&r, &evt));
		rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
		assert_int_equal(rig_poll(&r, dma), 1);
	}
	/* A global entry belongs to all ASIDs. */
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 4096, buf, 8),
			SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_frame_oracle_sees_an_asid_used_again_without_tlbi(void **state)
{
	(void)state;
	reuse_asid(false);
}

static void
test_frame_oracle_accepts_an_asid_used_again_after_tlbi(void **state)
{
	(void)state;
	reuse_asid(true);
}

/* A disabled table (EPD0) is not another table: the TLB may serve until a TLBI. */
static void
test_frame_oracle_accepts_a_tlb_entry_whose_walks_ended(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_ASIDS });
	rig_map(&r, VA, FRAME, RIG_RW);
	rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8);
	smmuv3_set_dw(&r.cd->dw[0], r.cd->dw[0] | SMMUV3_CD0_EPD0);
	rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
	rig_sync(&r);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 8), SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_frame_calls_check_their_arguments(void **state)
{
	struct smmuv3_model *m = smmuv3_model_create(NULL);

	(void)state;
	assert_int_equal(smmuv3_model_frame_give(m, 0x1234, 4096, 1), -EINVAL);
	assert_int_equal(smmuv3_model_frame_give(m, 0x1000, 0, 1), -EINVAL);
	assert_int_equal(smmuv3_model_frame_give(m, 0x1000, 100, 1), -EINVAL);
	assert_int_equal(smmuv3_model_frame_give(m, UINT64_MAX - 4095, 4096, 1), -EINVAL);
	assert_int_equal(smmuv3_model_frame_free(m, 0x1000, 4096), -ENOENT);
	/* More than one chunk of the oracle. */
	assert_int_equal(smmuv3_model_frame_give(m, 0x1000, 8 << 20, 1), 0);
	assert_int_equal(smmuv3_model_frame_give(m, 0x800000, 4096, 1), -EEXIST);
	/* All frames or none. */
	assert_int_equal(smmuv3_model_frame_give(m, 0, 0x2000, 1), -EEXIST);
	assert_int_equal(smmuv3_model_frame_free(m, 0, 0x2000), -ENOENT);
	assert_int_equal(smmuv3_model_frame_give(m, 0, 0x1000, 1), 0);
	assert_int_equal(smmuv3_model_frame_free(m, 0, 0x1000 + (8 << 20)), 0);
	assert_int_equal(smmuv3_model_frame_free(m, 0, 0x1000), -ENOENT);
	assert_int_equal(smmuv3_model_frame_give(m, 0, 0x1000, 2), 0);
	smmuv3_model_destroy(m);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_frame_is_reached_after_it_was_freed_without_an_invalidation),
	cmocka_unit_test(test_frame_of_another_owner_is_reached),
	cmocka_unit_test(test_frame_of_a_table_is_reached_by_a_walk),
	cmocka_unit_test(test_frame_of_a_cd_is_fetched_from),
	cmocka_unit_test(test_frame_of_a_queue_is_used),
	cmocka_unit_test(test_frame_is_reached_while_the_smmu_is_off),
	cmocka_unit_test(test_frame_oracle_sees_an_asid_used_again_without_tlbi),
	cmocka_unit_test(test_frame_oracle_accepts_an_asid_used_again_after_tlbi),
	cmocka_unit_test(test_frame_oracle_accepts_a_tlb_entry_whose_walks_ended),
	cmocka_unit_test(test_frame_calls_check_their_arguments),
};

TEST_SUITE(model_frames, tests, NULL, NULL);
