/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* PRI of the model: groups, credits, the PRIQ and its overflow, responses. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "test.h"
#include "model_rig.h"

#define VA	UINT64_C(0x10000000)
#define EATS	SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL)
#define CR0_ON	0xfu
#define FAILURE	SMMUV3_PRI_RESP_FAILURE
#define INVALID	SMMUV3_PRI_RESP_INVALID
#define SUCCESS	SMMUV3_PRI_RESP_SUCCESS

static const struct smmuv3_model_conf with_pri = {
	.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI };

static uint8_t buf[64][8 * 4096];

static void
setup_conf(struct rig *r, const struct smmuv3_model_conf *conf, uint64_t ste1)
{
	rig_open(r, conf);
	rig_up(r);
	rig_priq_up(r);
	rig_s1_pasids(r, EATS | ste1);
}

static void
setup(struct rig *r)
{
	setup_conf(r, &with_pri, 0);
}

/* A function with PRI on, of @p credits. */
static struct smmuv3_model_dma *
function(struct rig *r, int32_t ssid, unsigned int pages, unsigned int indices, bool prg_pasid,
		uint32_t credits)
{
	struct smmuv3_model_dma *dma = rig_ats_dma(r, ssid, pages, indices, prg_pasid);

	if (smmuv3_model_dma_ats_enable(dma, 0) == 0)
		assert_int_equal(smmuv3_model_dma_pri_enable(dma, credits), 0);
	return dma;
}

static void
start(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages)
{
	static unsigned int i;

	rig_submit(r, dma, SMMUV3_MODEL_WRITE, va, buf[i++ % 64], pages * 4096);
	rig_run(r);
}

static unsigned int
index_of(const struct smmuv3_ppr *ppr)
{
	return (unsigned int)(ppr->dw[1] & SMMUV3_PPR1_PRGINDEX);
}

static void
map(struct rig *r, uint64_t va, unsigned int pages)
{
	for (unsigned int i = 0; i < pages; i++)
		rig_map(r, va + i * 4096, RIG_DATA + i * 4096, RIG_RW);
}

static void
ended(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_status status)
{
	assert_int_equal(rig_poll(r, dma), 1);
	assert_int_equal(r->done[0].status, status);
}

static void
no_ppr(struct rig *r)
{
	struct smmuv3_ppr ppr;

	assert_false(rig_ppr(r, &ppr));
}

static void
close_rig(struct rig *r, struct smmuv3_model_dma *dma)
{
	smmuv3_model_dma_destroy(dma);
	rig_close(r);
}

static void
test_pri_page_is_asked_for_and_the_dma_goes_on(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 5, 1, 0, false, 4);
	memset(buf[0], 0x5a, 8);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 16, buf[0], 8);
	rig_run(&r);
	assert_true(rig_ppr(&r, &ppr));
	/* SSV, Last, W; SSID 5; SID 8; index 0 */
	assert_int_equal(ppr.dw[0], 0xe000000500000008);
	assert_int_equal(ppr.dw[1], VA);
	no_ppr(&r);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 1);
	map(&r, VA, 1);
	rig_pri_resp(&r, &ppr, false, SUCCESS);
	ended(&r, dma, SMMUV3_MODEL_OK);
	assert_int_equal(r.data[16], 0x5a);
	assert_int_equal(r.done[0].nb_groups, 1);
	assert_int_equal(r.done[0].nb_stalls, 0);
	assert_true(r.done[0].t_event >= r.done[0].t_start);
	assert_true(r.done[0].t_resume >= r.done[0].t_event);
	assert_true(r.done[0].t_end >= r.done[0].t_resume);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	close_rig(&r, dma);
}

static void
test_pri_request_fields_follow_the_access(void **state)
{
	static const struct {
		int32_t ssid;
		struct smmuv3_model_op op;
		uint64_t dw0;
	} rows[] = {
		{ 1, { .type = SMMUV3_MODEL_READ }, 0xd000000100000008 },
		{ 1, { .type = SMMUV3_MODEL_READ, .privileged = true }, 0xd400000100000008 },
		{ 1, { .type = SMMUV3_MODEL_READ, .instruction = true }, 0xd800000100000008 },
		{ 1, { .type = SMMUV3_MODEL_WRITE, .privileged = true }, 0xe400000100000008 },
		/* Without SSV neither X nor Priv exists. */
		{ -1, { .type = SMMUV3_MODEL_READ, .privileged = true, .instruction = true },
			0x5000000000000008 },
	};
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_op op;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		setup(&r);
		dma = function(&r, rows[i].ssid, 1, 0, false, 4);
		op = rows[i].op;
		op.addr = VA + 5;
		op.buf = buf[0];
		op.len = 8;
		assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
		rig_run(&r);
		assert_true(rig_ppr(&r, &ppr));
		if (ppr.dw[0] != rows[i].dw0 || ppr.dw[1] != VA)
			fail_msg("row %zu: %llx", i, (unsigned long long)ppr.dw[0]);
		rig_pri_resp(&r, &ppr, false, INVALID);
		ended(&r, dma, SMMUV3_MODEL_ABORTED);
		close_rig(&r, dma);
	}
}

static void
test_pri_group_has_several_pages_and_last_on_the_final_one(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 3, 0, false, 8);
	start(&r, dma, VA, 5);
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(rig_ppr(&r, &ppr));
		assert_int_equal(ppr.dw[1], VA + i * 4096);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i == 2);
	}
	no_ppr(&r);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 3);
	map(&r, VA, 3);
	rig_pri_resp(&r, &ppr, false, SUCCESS);
	/* The rest of the DMA is a second, shorter group. */
	for (unsigned int i = 3; i < 5; i++) {
		assert_true(rig_ppr(&r, &ppr));
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, VA + i * 4096);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i == 4);
	}
	map(&r, VA, 5);
	rig_pri_resp(&r, &ppr, false, SUCCESS);
	ended(&r, dma, SMMUV3_MODEL_OK);
	assert_int_equal(r.done[0].nb_groups, 2);
	close_rig(&r, dma);
}

static void
test_pri_invalid_aborts_and_success_without_mapping_asks_again(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 8);
	start(&r, dma, VA, 1);
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, SUCCESS);
	assert_true(rig_ppr(&r, &ppr));
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(r.done[0].nb_groups, 2);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	/* PRI goes on. */
	start(&r, dma, VA, 1);
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

static void
test_pri_response_failure_ends_pri_until_it_is_enabled_again(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr a, b;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 2);
	start(&r, dma, VA, 1);
	start(&r, dma, VA + 0x10000, 1);
	start(&r, dma, VA + 0x20000, 1);	/* waits for a credit */
	assert_true(rig_ppr(&r, &a));
	assert_true(rig_ppr(&r, &b));
	rig_pri_resp(&r, &a, false, FAILURE);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	/* The first, and the one that waited; the second still has its answer to come. */
	assert_int_equal(rig_poll(&r, dma), 2);
	assert_int_equal(r.done[1].status, SMMUV3_MODEL_ABORTED);
	start(&r, dma, VA, 1);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	no_ppr(&r);
	map(&r, VA + 0x10000, 1);
	rig_pri_resp(&r, &b, false, SUCCESS);
	ended(&r, dma, SMMUV3_MODEL_OK);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 2), -EBUSY);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 2), 0);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	start(&r, dma, VA, 1);
	assert_true(rig_ppr(&r, &a));
	rig_pri_resp(&r, &a, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

static void
test_pri_credits_bound_what_is_outstanding_and_come_back(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr[3];
	struct rig r;

	(void)state;
	rig_open(&r, &with_pri);
	rig_up(&r);
	r.priq_log2 = 4;
	rig_priq_up(&r);
	rig_s1_pasids(&r, EATS);
	/* Three credits: a group of two, one cut to one page, one that waits. */
	dma = function(&r, 1, 2, 0, false, 3);
	for (unsigned int i = 0; i < 3; i++)
		start(&r, dma, VA + i * 0x10000, 2);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(rig_ppr(&r, &ppr[i]));
	no_ppr(&r);
	assert_true(ppr[1].dw[0] & SMMUV3_PPR0_LAST);
	assert_true(ppr[2].dw[0] & SMMUV3_PPR0_LAST);
	assert_int_equal(ppr[2].dw[1] & SMMUV3_PPR1_ADDR, VA + 0x10000);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 3);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_WAITS), 1);
	/* A returned group lets the one that waits send as much. */
	rig_pri_resp(&r, &ppr[1], false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(rig_ppr(&r, &ppr[0]));
	assert_true(rig_ppr(&r, &ppr[1]));
	no_ppr(&r);
	assert_int_equal(ppr[0].dw[1] & SMMUV3_PPR1_ADDR, VA + 0x20000);
	rig_pri_resp(&r, &ppr[1], false, INVALID);
	rig_pri_resp(&r, &ppr[2], false, INVALID);
	assert_int_equal(rig_poll(&r, dma), 2);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	/* A function that ignores its allocation. */
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_CREDITS, 0);
	for (unsigned int i = 0; i < 3; i++)
		start(&r, dma, VA + i * 0x10000, 2);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 6);
	for (unsigned int i = 0; i < 6; i++) {
		assert_true(rig_ppr(&r, &ppr[0]));
		if (ppr[0].dw[0] & SMMUV3_PPR0_LAST)
			rig_pri_resp(&r, &ppr[0], false, INVALID);
	}
	assert_int_equal(rig_poll(&r, dma), 3);
	close_rig(&r, dma);
}

static void
test_pri_index_is_reused_and_bounds_the_groups(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 1, false, 8);
	start(&r, dma, VA, 1);
	start(&r, dma, VA + 0x1000, 1);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(rig_ppr(&r, &ppr));
		assert_int_equal(index_of(&ppr), 0);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, VA + i * 0x1000);
		no_ppr(&r);
		rig_pri_resp(&r, &ppr, false, INVALID);
		ended(&r, dma, SMMUV3_MODEL_ABORTED);
	}
	close_rig(&r, dma);
}

static void
test_pri_pasids_have_the_same_index_when_responses_carry_pasid(void **state)
{
	struct smmuv3_model_dma *one, *two;
	struct smmuv3_ppr a, b;
	struct rig r;

	(void)state;
	setup_conf(&r, &with_pri, SMMUV3_STE1_PPAR);
	one = function(&r, 1, 1, 1, true, 8);
	two = function(&r, 2, 1, 1, true, 8);
	start(&r, one, VA, 1);
	start(&r, two, VA, 1);
	assert_true(rig_ppr(&r, &a));
	assert_true(rig_ppr(&r, &b));
	assert_int_equal(index_of(&a), index_of(&b));
	rig_pri_resp(&r, &b, true, INVALID);
	ended(&r, two, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_poll(&r, one), 0);
	/* Without the PASID it is nobody's. */
	rig_pri_resp(&r, &a, false, INVALID);
	rig_expect_error(&r, "PRI_RESP for SID 8, PRG 0 has the PASID form wrong");
	assert_int_equal(rig_poll(&r, one), 0);
	rig_pri_resp(&r, &a, true, INVALID);
	ended(&r, one, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(two);
	close_rig(&r, one);
}

static void
test_pri_form_of_the_response(void **state)
{
	static const struct {
		uint32_t features;
		int32_t ssid;
		bool prg_pasid, pasid;	/* function, response */
		bool right;
	} rows[] = {
		{ 0, 1, false, false, true }, { 0, 1, false, true, false },
		{ 0, 1, true, true, true }, { 0, 1, true, false, false },
		{ 0, -1, true, false, true }, { 0, -1, true, true, false },
		{ SMMUV3_MODEL_PPS, 1, false, true, true },
		{ SMMUV3_MODEL_PPS, 1, false, false, false },
		{ SMMUV3_MODEL_PPS, -1, false, false, true },
	};
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smmuv3_model_conf conf = with_pri;

		conf.features |= rows[i].features;
		setup_conf(&r, &conf, 0);
		dma = function(&r, rows[i].ssid, 1, 0, rows[i].prg_pasid, 4);
		start(&r, dma, VA, 1);
		assert_true(rig_ppr(&r, &ppr));
		rig_pri_resp(&r, &ppr, rows[i].pasid, INVALID);
		if (!rows[i].right) {
			rig_expect_error(&r, "PASID form wrong");
			rig_pri_resp(&r, &ppr, !rows[i].pasid, INVALID);
		}
		ended(&r, dma, SMMUV3_MODEL_ABORTED);
		close_rig(&r, dma);
	}
}

static void
test_pri_misuse_of_responses_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr, other;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 2, 0, false, 8);
	start(&r, dma, VA, 1);
	/* Before CONS: the entry is freed first, then answered. */
	ppr = r.priq[0];
	rig_pri_resp(&r, &ppr, false, INVALID);
	rig_expect_error(&r, "PRG 0 before PRIQ_CONS passed its request");
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, INVALID);
	rig_expect_error(&r, "PRI_RESP for SID 8, PRG 0 came twice");
	other = ppr;
	other.dw[1] += 7;
	rig_pri_resp(&r, &other, false, SUCCESS);
	rig_expect_error(&r, "PRG 7 names a group that is not outstanding");
	other.dw[0]++;
	rig_pri_resp(&r, &other, false, SUCCESS);
	rig_expect_error(&r, "names a function that does not exist");
	/* Before Last was sent: one request a step. */
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf[0], 8192);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_true(rig_ppr(&r, &ppr));
	assert_false(ppr.dw[0] & SMMUV3_PPR0_LAST);
	rig_pri_resp(&r, &ppr, false, SUCCESS);
	rig_expect_error(&r, "came before the group's Last");
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 4);
	/* Resp = 3 */
	rig_put(&r, smmuv3_cmd(SMMUV3_OP_PRI_RESP, SMMUV3_PUT(SMMUV3_CMD0_SID, RIG_SID),
			SMMUV3_PUT(SMMUV3_PRI1_RESP, 3)));
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS) >> 24, SMMUV3_CERROR_ILL);
	close_rig(&r, dma);
}

static void
test_pri_resp_is_illegal_without_pri_and_ignored_while_smmuen_is_0(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ATS });
	rig_up(&r);
	rig_put(&r, smmuv3_cmd(SMMUV3_OP_PRI_RESP, 0, 0));
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS) >> 24, SMMUV3_CERROR_ILL);
	rig_close(&r);
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 8);
	start(&r, dma, VA, 1);
	assert_true(rig_ppr(&r, &ppr));
	rig_cr0(&r, CR0_ON & ~1u);
	rig_pri_resp(&r, &ppr, false, INVALID);
	assert_int_equal(rig_poll(&r, dma), 0);
	rig_cr0(&r, CR0_ON);
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

static void
test_pri_registers_are_guarded(void **state)
{
	struct rig r;

	(void)state;
	setup(&r);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_PROD written while PRIQEN is set");
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 0);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_BASE, 0);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_BASE written while PRIQEN is set");
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_IRQ_CTRLACK), (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_write(&r, SMMUV3_PRIQ_IRQ_CFG1, 5);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_IRQ_CFG1 written while PRIQ_IRQEN is set");
	/* The guards use the raw bit: PRIQEN without SMMUEN holds. */
	rig_cr0(&r, CR0_ON & ~1u);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_PROD written while PRIQEN is set");
	rig_cr0(&r, CR0_ON & ~3u);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	rig_close(&r);
}

/*
 * Fill the queue of four with other groups, then let the function send @p pages that
 * find no room from page @p at on.
 */
static void
fill(struct rig *r, struct smmuv3_model_dma *dma, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		start(r, dma, VA + 0x100000 + i * 0x10000, 1);
	assert_false(rig_priq_over(r));
}

static void
answer_all(struct rig *r)
{
	struct smmuv3_ppr ppr;

	while (rig_ppr(r, &ppr))
		if (ppr.dw[0] & SMMUV3_PPR0_LAST)
			rig_pri_resp(r, &ppr, false, INVALID);
}

static void
test_pri_overflow_at_each_position_of_a_group(void **state)
{
	struct smmuv3_model_dma *dma, *filler;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	/* Room for n of the three requests of the group. */
	for (unsigned int room = 0; room < 4; room++) {
		unsigned int partial = 0;

		setup(&r);
		filler = function(&r, 2, 1, 0, false, 64);
		dma = function(&r, 1, 3, 0, false, 64);
		fill(&r, filler, 4 - room);
		/* Step by step: an answer to the overflow makes it ask again, endlessly. */
		rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf[0], 3 * 4096);
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(smmuv3_model_step(r.m, 1), 1);
		assert_int_equal(rig_priq_over(&r), room < 3);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), room < 3);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 3 - room);
		/* Last was lost: Success from the SMMU. Else nothing from it. */
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), room < 3);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 4 - room +
				(room < 3 ? 0 : 3));
		map(&r, VA, 3);
		/* Software: drain, answer what had its Last, drop the rest, acknowledge. */
		while (r.pri_cons != smmuv3_q_pos(2, rig_read(&r, SMMUV3_PRIQ_PROD))) {
			ppr = r.priq[smmuv3_q_slot(2, r.pri_cons)];
			r.pri_cons = smmuv3_q_add(2, r.pri_cons, 1);
			partial += !(ppr.dw[0] & SMMUV3_PPR0_LAST);
			if (!(ppr.dw[0] & SMMUV3_PPR0_LAST))
				continue;
			smmuv3_store_cons(r.regs, SMMUV3_PRIQ_CONS, r.pri_cons |
					(smmuv3_read32(r.regs, SMMUV3_PRIQ_CONS) &
					 (uint32_t)SMMUV3_Q_OVFLG));
			rig_pri_resp(&r, &ppr, false, room == 3 && ppr.dw[1] < VA + 0x100000 ?
					SUCCESS : INVALID);
		}
		assert_int_equal(partial, room < 3 ? room : 2);
		rig_priq_ack(&r);
		assert_false(rig_priq_over(&r));
		ended(&r, dma, SMMUV3_MODEL_OK);
		assert_int_equal(rig_poll(&r, filler), 4 - room);
		smmuv3_model_dma_destroy(filler);
		close_rig(&r, dma);
	}
}

static void
test_pri_overflow_blocks_until_it_is_acknowledged(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 64);
	fill(&r, dma, 4);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf[0], 8);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_true(rig_priq_over(&r));
	/* Empty it all: still blocked, and the flag does not move again. */
	for (unsigned int i = 0; i < 4; i++)
		assert_true(rig_ppr(&r, &ppr));
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 4 | SMMUV3_Q_OVFLG);
	no_ppr(&r);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 1);
	assert_true(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) > 4);
	/* Acknowledged, the function's next try arrives. */
	rig_priq_ack(&r);
	rig_run(&r);
	assert_true(rig_ppr(&r, &ppr));
	assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, VA);
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	/* What was in the queue before is answered by software as ever. */
	for (unsigned int i = 0; i < 4; i++) {
		ppr.dw[1] = i;
		rig_pri_resp(&r, &ppr, false, INVALID);
	}
	assert_int_equal(rig_poll(&r, dma), 4);
	close_rig(&r, dma);
}

static void
test_pri_ovackflg_without_overflow_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 64);
	fill(&r, dma, 4);
	rig_write(&r, SMMUV3_PRIQ_CONS, (uint32_t)SMMUV3_Q_OVFLG);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf[0], 8);
	smmuv3_model_step(r.m, 1);
	rig_expect_error(&r, "PRIQ_CONS.OVACKFLG toggled while there is no overflow");
	rig_write(&r, SMMUV3_PRIQ_CONS, 0);
	map(&r, VA, 1);
	ended(&r, dma, SMMUV3_MODEL_OK);
	answer_all(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	close_rig(&r, dma);
}

/* One row of the matrix of automatic responses. */
struct auto_row {
	unsigned int ssid_bits;
	uint32_t features;
	int32_t ssid;
	bool ppar;
	bool prg_pasid;		/* the function wants PASID on responses */
	bool mismatch;		/* and does not get what it wants */
};

static void
auto_response(const struct auto_row *row)
{
	struct smmuv3_model_conf conf = with_pri;
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	conf.ssid_bits = row->ssid_bits;
	conf.features |= row->features;
	setup_conf(&r, &conf, row->ppar ? SMMUV3_STE1_PPAR : 0);
	dma = function(&r, row->ssid, 1, 0, row->prg_pasid, 64);
	fill(&r, dma, 4);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf[0], 8);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	/* Success: it translates again. */
	assert_false(smmuv3_model_dma_pri_failed(dma));
	if (row->mismatch)
		rig_expect_error(&r, "see STE.PPAR");
	map(&r, VA, 1);
	ended(&r, dma, SMMUV3_MODEL_OK);
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(rig_ppr(&r, &ppr));
		rig_pri_resp(&r, &ppr, row->ssid >= 0 && (row->prg_pasid || row->features),
				INVALID);
	}
	rig_priq_ack(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	close_rig(&r, dma);
}

static void
test_pri_auto_responses_to_an_overflow(void **state)
{
	static const struct auto_row rows[] = {
		/* no substreams */
		{ SMMUV3_MODEL_NONE, 0, -1, false, false, false },
		/* no PASID in the request: without, STE not consulted */
		{ 0, 0, -1, false, false, false },
		{ 0, 0, -1, true, true, false },
		{ 0, SMMUV3_MODEL_PPS, -1, false, true, false },
		/* PASID and PPS: with, STE not consulted */
		{ 0, SMMUV3_MODEL_PPS, 1, false, true, false },
		{ 0, SMMUV3_MODEL_PPS, 1, false, false, false },
		/* PASID: as PPAR says */
		{ 0, 0, 1, true, true, false },
		{ 0, 0, 1, false, false, false },
		/* which is not as the function wants it */
		{ 0, 0, 1, false, true, true },
		{ 0, 0, 1, true, false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		auto_response(&rows[i]);
}

/*
 * A group of two whose first request was sent; then @p cmd, or a new value of CR0,
 * before its Last.
 */
static struct smmuv3_model_dma *
half_sent(struct rig *r, int32_t ssid, bool full)
{
	struct smmuv3_model_dma *dma = function(r, ssid, 2, 0, false, 64);

	if (full)
		fill(r, dma, 4);
	rig_submit(r, dma, SMMUV3_MODEL_WRITE, VA, buf[0], 8192);
	assert_int_equal(smmuv3_model_step(r->m, 1), 1);
	return dma;
}

static void
bad_ste(uint32_t features, int32_t ssid, uint32_t cr2, bool failure, bool event)
{
	struct smmuv3_model_conf conf = with_pri;
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	conf.features |= features;
	setup_conf(&r, &conf, 0);
	rig_cr0(&r, 0xe);
	smmuv3_write32(r.regs, SMMUV3_CR2, cr2);
	rig_cr0(&r, CR0_ON);
	dma = half_sent(&r, ssid, true);
	assert_true(rig_priq_over(&r));
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	rig_ste_ptr(&r, RIG_SID)->dw[0] &= ~SMMUV3_STE0_V;
	rig_put(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	rig_ring(&r);
	assert_int_equal(smmuv3_model_step(r.m, 2), 2);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	assert_int_equal(smmuv3_model_dma_pri_failed(dma), failure);
	assert_int_equal(rig_evt(&r, &evt), event);
	if (event)
		assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STE);
	/* Failed or translated with the bad STE: it aborts. */
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	while (rig_evt(&r, &evt))
		;
	smmuv3_model_dma_reset(dma);
	assert_int_equal(rig_poll(&r, dma), 4);
	close_rig(&r, dma);
}

static void
test_pri_auto_response_fails_with_a_bad_ste_only_where_it_is_read(void **state)
{
	(void)state;
	bad_ste(0, 1, 0, true, false);
	bad_ste(0, 1, SMMUV3_CR2_REC_CFG_ATS, true, true);
	bad_ste(SMMUV3_MODEL_PPS, 1, SMMUV3_CR2_REC_CFG_ATS, false, false);
	bad_ste(0, -1, SMMUV3_CR2_REC_CFG_ATS, false, false);
}

static void
test_pri_request_with_the_queue_off_fails(void **state)
{
	/* PRIQEN off; SMMUEN off: effective PRIQEN = 0 */
	static const uint32_t cr0[] = { 0xd, 0xe };
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		setup(&r);
		dma = half_sent(&r, 1, false);
		assert_true(rig_ppr(&r, &ppr));
		rig_cr0(&r, cr0[i]);
		ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_true(smmuv3_model_dma_pri_failed(dma));
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 0);
		no_ppr(&r);
		close_rig(&r, dma);
	}
	/* Without Last: nothing, or (by choice) Failure at once. */
	for (int each = 0; each < 2; each++) {
		struct smmuv3_model_conf conf = with_pri;

		conf.choices = each ? SMMUV3_MODEL_FAIL_EACH_PPR : 0;
		setup_conf(&r, &conf, 0);
		rig_cr0(&r, 0xd);
		dma = half_sent(&r, 1, false);
		assert_int_equal(smmuv3_model_dma_pri_failed(dma), each);
		ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_true(smmuv3_model_dma_pri_failed(dma));
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), each ? 1 : 2);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
		close_rig(&r, dma);
	}
}

static void
test_pri_aborted_write_fails_and_stops_the_queue(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 8);
	start(&r, dma, VA, 1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
	start(&r, dma, VA + 0x1000, 1);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	/* Entries below PROD are valid; the next is as with PRIQEN off. */
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 8), 0);
	start(&r, dma, VA, 1);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 8), 0);
	start(&r, dma, VA, 1);
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	/* A queue outside the windows aborts by itself. */
	rig_cr0(&r, 0xd);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_BASE, UINT64_C(0x700000000) | 2);
	rig_cr0(&r, CR0_ON);
	start(&r, dma, VA, 1);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR) ^ rig_read(&r, SMMUV3_GERRORN),
			SMMUV3_GERROR_PRIQ_ABT);
	close_rig(&r, dma);
}

static void
test_pri_late_abort_leaves_a_group_that_a_reset_ends(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 8);
	memset(r.priq, 0xee, sizeof(*r.priq));
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	start(&r, dma, VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	/* PROD moved over what was there before: the queue is not to be trusted. */
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_int_equal(r.priq[0].dw[0], 0xeeeeeeeeeeeeeeee);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	assert_int_equal(rig_poll(&r, dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	smmuv3_model_dma_reset(dma);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	close_rig(&r, dma);
}

static void
test_pri_stop_marker_with_pasid_has_no_answer(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 7, 1, 0, false, 8);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_true(rig_ppr(&r, &ppr));
	/* SSV, Last, nothing else */
	assert_int_equal(ppr.dw[0], 0xc000000700000008);
	/* No credit is used, and an answer is a mistake. */
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	rig_pri_resp(&r, &ppr, false, INVALID);
	rig_expect_error(&r, "names a group that is not outstanding");
	/* Not in the middle of a group of its PASID. */
	smmuv3_model_dma_destroy(dma);
	dma = half_sent(&r, 7, false);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), -EAGAIN);
	rig_run(&r);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	answer_all(&r);
	/* answer_all() took the marker for a request. */
	rig_expect_error(&r, "PRI_RESP for SID 8, PRG 0");
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

static void
test_pri_stop_marker_lost_to_an_overflow_has_no_response(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 8);
	fill(&r, dma, 4);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_true(rig_priq_over(&r));
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	answer_all(&r);
	/* Overflow, then off: the same. */
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	rig_cr0(&r, 0xd);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 3);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	assert_int_equal(rig_poll(&r, dma), 4);
	close_rig(&r, dma);
}

static void
test_pri_stop_marker_without_pasid_is_a_request(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, -1, 1, 0, false, 1);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), -EAGAIN);
	assert_true(rig_ppr(&r, &ppr));
	assert_int_equal(ppr.dw[0], 0x4000000000000008);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	rig_pri_resp(&r, &ppr, false, SUCCESS);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	close_rig(&r, dma);
}

static void
test_pri_lost_last_leaves_a_group_that_software_may_answer(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 2, 0, false, 8);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	start(&r, dma, VA, 2);
	assert_true(rig_ppr(&r, &ppr));
	assert_false(ppr.dw[0] & SMMUV3_PPR0_LAST);
	no_ppr(&r);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	close_rig(&r, dma);
}

static void
test_pri_last_sent_twice_may_be_answered_twice_and_not_more(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr, dup;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 8);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DUP_LAST, 0);
	start(&r, dma, VA, 1);
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, INVALID);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(rig_ppr(&r, &dup));
	assert_memory_equal(&dup, &ppr, sizeof(ppr));
	rig_pri_resp(&r, &dup, false, INVALID);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 1);
	rig_pri_resp(&r, &dup, false, INVALID);
	rig_expect_error(&r, "came twice");
	close_rig(&r, dma);
}

static void
test_pri_disable_drains(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = function(&r, 1, 1, 0, false, 1);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 1), -EBUSY);
	start(&r, dma, VA, 1);
	start(&r, dma, VA + 0x1000, 1);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), -EINVAL);
	/* The one that had not asked yet never will. */
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(r.done[0].cookie, VA + 0x1000);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	rig_expect_error(&r, "ATS of SID 8 switched off while its PRI is not drained");
	assert_true(rig_ppr(&r, &ppr));
	rig_pri_resp(&r, &ppr, false, INVALID);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 1), -EINVAL);
	close_rig(&r, dma);
}

static void
test_pri_reset_ends_whatever_the_function_waits_for(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	setup(&r);
	dma = half_sent(&r, 1, false);			/* being sent */
	start(&r, dma, VA + 0x10000, 1);		/* sent */
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	start(&r, dma, VA + 0x20000, 1);		/* lost */
	assert_true(rig_ppr(&r, &ppr));
	smmuv3_model_dma_reset(dma);
	assert_int_equal(rig_poll(&r, dma), 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(r.done[i].status, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	/* Untranslated again. */
	map(&r, VA, 1);
	start(&r, dma, VA, 1);
	ended(&r, dma, SMMUV3_MODEL_OK);
	close_rig(&r, dma);
}

static void
test_pri_groups_of_two_engines_interleave(void **state)
{
	struct smmuv3_model_dma *one, *two;
	struct smmuv3_ppr ppr[4];
	struct rig r;

	(void)state;
	setup(&r);
	one = function(&r, 1, 2, 0, false, 8);
	two = function(&r, 2, 2, 0, false, 8);
	rig_submit(&r, one, SMMUV3_MODEL_WRITE, VA, buf[0], 8192);
	rig_submit(&r, two, SMMUV3_MODEL_WRITE, VA, buf[0], 8192);
	rig_run(&r);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(rig_ppr(&r, &ppr[i]));
	assert_int_equal(index_of(&ppr[0]), index_of(&ppr[2]));
	assert_int_equal(index_of(&ppr[1]), index_of(&ppr[3]));
	assert_int_not_equal(index_of(&ppr[0]), index_of(&ppr[1]));
	rig_pri_resp(&r, &ppr[2], false, INVALID);
	rig_pri_resp(&r, &ppr[3], false, INVALID);
	assert_int_equal(rig_poll(&r, one) + rig_poll(&r, two), 2);
	smmuv3_model_dma_destroy(two);
	close_rig(&r, one);
}

/* Interrupts at: first request, its Last, a third in a queue not empty, one lost to overflow. */
static void
interrupts(bool lo, bool msi)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct smmuv3_model_dma *dma;
	smmuv3_reg32_t *word;
	uint64_t n;
	struct rig r;
	const uint64_t want[4] = { !lo, lo, lo, lo };

	setup(&r);
	smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_PRIQ, fd);
	word = rig_alloc(&r, 64, 64);
	if (msi) {
		smmuv3_write64(r.regs, SMMUV3_PRIQ_IRQ_CFG0, rig_addr(&r, (void *)word));
		smmuv3_write32(r.regs, SMMUV3_PRIQ_IRQ_CFG1, 0x77);
	}
	smmuv3_write32(r.regs, SMMUV3_PRIQ_IRQ_CFG2,
			(uint32_t)(lo ? SMMUV3_PRIQ_IRQ_CFG2_LO : 0) | 0xf);
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	dma = function(&r, 1, 2, 0, false, 64);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf[0], 8192);
	for (unsigned int i = 0; i < 4; i++) {
		if (i == 2) {
			rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 0x10000, buf[0], 8);
		} else if (i == 3) {
			start(&r, dma, VA + 0x20000, 1);
			atomic_store(word, 0);
			(void)!read(fd, &n, sizeof(n));
			rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 0x30000, buf[0], 8);
		}
		assert_int_equal(smmuv3_model_step(r.m, 1), 1);
		n = 0;
		(void)!read(fd, &n, sizeof(n));
		if (msi) {
			assert_int_equal(n, 0);
			n = atomic_load(word) == 0x77;
			atomic_store(word, 0);
		}
		if (n != want[i])
			fail_msg("lo %d msi %d step %u", lo, msi, i);
	}
	assert_true(rig_priq_over(&r));
	map(&r, VA + 0x30000, 1);
	rig_run(&r);
	answer_all(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	close_rig(&r, dma);
	close(fd);
}

static void
test_pri_interrupts(void **state)
{
	(void)state;
	interrupts(false, false);
	interrupts(false, true);
	interrupts(true, false);
	interrupts(true, true);
}

static void
test_pri_aborted_msi_is_an_error(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_IRQ_CFG0, 0x10);
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	dma = function(&r, 1, 1, 0, false, 8);
	start(&r, dma, VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_MSI_PRIQ_ABT);
	answer_all(&r);
	ended(&r, dma, SMMUV3_MODEL_ABORTED);
	close_rig(&r, dma);
}

/* A driver of the queue by the rules, with one engine of pages that come and go. */
struct churn {
	struct rig *r;
	uint64_t seed;
	unsigned int groups, discarded;
};

static uint32_t
rnd(struct churn *c)
{
	c->seed = c->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(c->seed >> 33);
}

static void
churn_cmd(struct churn *c, struct smmuv3_cmd cmd)
{
	struct rig *r = c->r;

	while (smmuv3_q_full(r->cmdq_log2, r->cmd_prod, rig_read(r, SMMUV3_CMDQ_CONS)))
		smmuv3_model_wait(r->m);
	rig_put(r, cmd);
	rig_ring(r);
}

/* Take @p n requests; answer groups that are whole. Partial ones need no memory here. */
static void
churn_serve(struct churn *c, unsigned int n, bool pasid)
{
	struct rig *r = c->r;
	uint32_t prod = smmuv3_load_prod(r->regs, SMMUV3_PRIQ_PROD);
	struct smmuv3_ppr ppr;

	while (n-- > 0 && !smmuv3_q_empty(r->priq_log2, prod, r->pri_cons)) {
		uint64_t dw0;

		if (!rig_ppr(r, &ppr))
			return;
		if (!(ppr.dw[0] & SMMUV3_PPR0_LAST))
			continue;
		if (!(ppr.dw[0] & (SMMUV3_PPR0_R | SMMUV3_PPR0_W)))
			continue;
		c->groups++;
		dw0 = SMMUV3_PUT(SMMUV3_CMD0_SID, ppr.dw[0] & SMMUV3_PPR0_SID);
		if (pasid)
			dw0 |= SMMUV3_CMD0_SSV | SMMUV3_PUT(SMMUV3_CMD0_SSID,
					SMMUV3_GET(SMMUV3_PPR0_SSID, ppr.dw[0]));
		churn_cmd(c, smmuv3_cmd(SMMUV3_OP_PRI_RESP, dw0, (ppr.dw[1] &
				SMMUV3_PPR1_PRGINDEX) | SMMUV3_PUT(SMMUV3_PRI1_RESP,
				rnd(c) % 4 ? INVALID : SUCCESS)));
	}
	if (rig_priq_over(r) && smmuv3_q_empty(r->priq_log2, prod, r->pri_cons) &&
			prod == rig_read(r, SMMUV3_PRIQ_PROD)) {
		c->discarded++;
		rig_priq_ack(r);
	}
}

static void
churn(bool threaded, unsigned int ops)
{
	struct smmuv3_model_dma *dma[3];
	struct churn c = { .seed = 7 };
	struct smmuv3_model_done done[64];
	unsigned int out = 0, submitted = 0;
	struct rig r;

	c.r = &r;
	rig_open(&r, &with_pri);
	rig_up(&r);
	/* Between threads an overflow costs a time slice or two: fewer of them. */
	r.priq_log2 = threaded ? 4 : 2;
	rig_priq_up(&r);
	rig_s1_pasids(&r, EATS | SMMUV3_STE1_PPAR);
	for (int i = 0; i < 3; i++) {
		/* More credits than entries: overflows come. */
		dma[i] = function(&r, i + 1, 4, 8, true, 32);
		smmuv3_model_dma_quirks(dma[i], SMMUV3_MODEL_QUIRK_DUP_LAST, 16);
	}
	if (threaded)
		assert_int_equal(smmuv3_model_start(r.m, -1), 0);
	while (submitted < ops || out != 0) {
		struct smmuv3_model_dma *e = dma[rnd(&c) % 3];

		if (submitted < ops && smmuv3_model_dma_submit(e, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .buf = buf[0], .len = 4096 *
				(1 + rnd(&c) % 8), .addr = VA + 4096 * (rnd(&c) % 512) }) == 0) {
			submitted++;
			out++;
		}
		if (!threaded)
			smmuv3_model_step(r.m, 1 + rnd(&c) % 8);
		churn_serve(&c, rnd(&c) % 8, true);
		for (int i = 0; i < 3; i++)
			out -= smmuv3_model_dma_poll(dma[i], done, 64);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(smmuv3_model_dma_pri_disable(dma[i]), i == 0 ? 0 : -EINVAL);
	while (!smmuv3_model_dma_pri_drained(dma[0]))
		smmuv3_model_wait(r.m);
	if (threaded)
		assert_int_equal(smmuv3_model_stop(r.m), 0);
	/* Answers to a Last that came twice may be under way still. */
	rig_run(&r);
	assert_true(c.discarded > 0);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS),
			rig_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS) +
			rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS));
	assert_true(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) > 0);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma[0]), 0);
	for (int i = 0; i < 3; i++)
		smmuv3_model_dma_destroy(dma[i]);
	rig_close(&r);
}

static void
test_pri_each_group_is_answered_once_under_overflow(void **state)
{
	(void)state;
	churn(false, 4000 * test_scale());
}

static void
test_pri_with_a_thread(void **state)
{
	(void)state;
	churn(true, 400 * test_scale());
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_pri_page_is_asked_for_and_the_dma_goes_on),
	cmocka_unit_test(test_pri_request_fields_follow_the_access),
	cmocka_unit_test(test_pri_group_has_several_pages_and_last_on_the_final_one),
	cmocka_unit_test(test_pri_invalid_aborts_and_success_without_mapping_asks_again),
	cmocka_unit_test(test_pri_response_failure_ends_pri_until_it_is_enabled_again),
	cmocka_unit_test(test_pri_credits_bound_what_is_outstanding_and_come_back),
	cmocka_unit_test(test_pri_index_is_reused_and_bounds_the_groups),
	cmocka_unit_test(test_pri_pasids_have_the_same_index_when_responses_carry_pasid),
	cmocka_unit_test(test_pri_form_of_the_response),
	cmocka_unit_test(test_pri_misuse_of_responses_is_reported),
	cmocka_unit_test(test_pri_resp_is_illegal_without_pri_and_ignored_while_smmuen_is_0),
	cmocka_unit_test(test_pri_registers_are_guarded),
	cmocka_unit_test(test_pri_overflow_at_each_position_of_a_group),
	cmocka_unit_test(test_pri_overflow_blocks_until_it_is_acknowledged),
	cmocka_unit_test(test_pri_ovackflg_without_overflow_is_reported),
	cmocka_unit_test(test_pri_auto_responses_to_an_overflow),
	cmocka_unit_test(test_pri_auto_response_fails_with_a_bad_ste_only_where_it_is_read),
	cmocka_unit_test(test_pri_request_with_the_queue_off_fails),
	cmocka_unit_test(test_pri_aborted_write_fails_and_stops_the_queue),
	cmocka_unit_test(test_pri_late_abort_leaves_a_group_that_a_reset_ends),
	cmocka_unit_test(test_pri_stop_marker_with_pasid_has_no_answer),
	cmocka_unit_test(test_pri_stop_marker_lost_to_an_overflow_has_no_response),
	cmocka_unit_test(test_pri_stop_marker_without_pasid_is_a_request),
	cmocka_unit_test(test_pri_lost_last_leaves_a_group_that_software_may_answer),
	cmocka_unit_test(test_pri_last_sent_twice_may_be_answered_twice_and_not_more),
	cmocka_unit_test(test_pri_disable_drains),
	cmocka_unit_test(test_pri_reset_ends_whatever_the_function_waits_for),
	cmocka_unit_test(test_pri_groups_of_two_engines_interleave),
	cmocka_unit_test(test_pri_interrupts),
	cmocka_unit_test(test_pri_aborted_msi_is_an_error),
	cmocka_unit_test(test_pri_each_group_is_answered_once_under_overflow),
	cmocka_unit_test(test_pri_with_a_thread),
};

TEST_SUITE(model_pri, tests, NULL, NULL);
