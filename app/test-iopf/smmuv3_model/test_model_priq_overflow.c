/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The PRIQ of the model: overflow, and automatic responses to it. */

#include "pri_rig.h"
#include "test.h"

static void
test_priq_overflow_at_each_position_of_a_group(void **state)
{
	struct smmuv3_model_dma *dma, *filler;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	/* Free entries for @p room of the three requests of the group. */
	for (unsigned int room = 0; room < 4; room++) {
		unsigned int partial = 0;

		pri_setup(&r);
		filler = pri_add_engine(&r, 2, 1, 0, false, 64);
		dma = pri_add_engine(&r, 1, 3, 0, false, 64);
		pri_fill(&r, filler, 4 - room);
		/*
		 * Step by step, because the endpoint repeats its request after each automatic
		 * answer.
		 */
		pri_begin(&r, dma, PRI_VA, 3);
		for (unsigned int i = 1; i < 3; i++)
			assert_int_equal(smmuv3_model_step(r.m, 1), 1);
		assert_int_equal(rig_has_overflow(&r), room < 3);
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), room < 3);
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 3 - room);
		/* If Last was lost the SMMU answers Success, else it does not answer. */
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), room < 3);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 4 - room +
				(room < 3 ? 0 : 3));
		pri_map(&r, PRI_VA, 3);
		/*
		 * Software drains the queue, answers groups with Last, discards the others, and
		 * acknowledges.
		 */
		while (r.pri_cons != smmuv3_q_pos(2, rig_read(&r, SMMUV3_PRIQ_PROD))) {
			ppr = r.priq[smmuv3_q_slot(2, r.pri_cons)];
			r.pri_cons = smmuv3_q_add(2, r.pri_cons, 1);
			partial += !(ppr.dw[0] & SMMUV3_PPR0_LAST);
			if (!(ppr.dw[0] & SMMUV3_PPR0_LAST))
				continue;
			smmuv3_store_cons(r.regs, SMMUV3_PRIQ_CONS, r.pri_cons |
					(smmuv3_read32(r.regs, SMMUV3_PRIQ_CONS) &
					 (uint32_t)SMMUV3_Q_OVFLG));
			rig_send_pri_resp(&r, &ppr, false,
					room == 3 && ppr.dw[1] < PRI_VA + 0x100000 ?
					SUCCESS : INVALID);
		}
		assert_int_equal(partial, room < 3 ? room : 2);
		rig_ack_overflow(&r);
		assert_false(rig_has_overflow(&r));
		pri_check_ended(&r, dma, SMMUV3_MODEL_OK);
		assert_int_equal(rig_poll(&r, filler), 4 - room);
		smmuv3_model_dma_destroy(filler);
		pri_close(&r, dma);
	}
}

static void
test_priq_overflow_blocks_until_it_is_acknowledged(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 64);
	pri_fill(&r, dma, 4);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_true(rig_has_overflow(&r));
	/* All entries are free: the SMMU still writes nothing, and OVFLG does not change again. */
	for (unsigned int i = 0; i < 4; i++)
		ppr = pri_take(&r);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 4 | SMMUV3_Q_OVFLG);
	pri_check_empty(&r);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 1);
	assert_true(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) > 4);
	/* After the acknowledgement the endpoint's next request arrives. */
	rig_ack_overflow(&r);
	rig_run(&r);
	ppr = pri_take(&r);
	assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, PRI_VA);
	pri_refuse(&r, dma, &ppr);
	/* Software answers the requests that were in the queue before the overflow. */
	for (unsigned int i = 0; i < 4; i++) {
		ppr.dw[1] = i;
		rig_send_pri_resp(&r, &ppr, false, INVALID);
	}
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
}

static void
test_priq_ovackflg_without_overflow_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 64);
	pri_fill(&r, dma, 4);
	rig_write(&r, SMMUV3_PRIQ_CONS, (uint32_t)SMMUV3_Q_OVFLG);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8);
	smmuv3_model_step(r.m, 1);
	rig_expect_error(&r, "PRIQ_CONS.OVACKFLG toggled while no overflow is active");
	rig_write(&r, SMMUV3_PRIQ_CONS, 0);
	pri_map(&r, PRI_VA, 1);
	pri_check_ended(&r, dma, SMMUV3_MODEL_OK);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
}

/*
 * PRIQEN does not end an overflow. The acknowledgement does, and the next overflow toggles OVFLG
 * back.
 */
static void
test_priq_overflow_comes_again_after_the_acknowledgement(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 64);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 4 | SMMUV3_Q_OVFLG);
	rig_set_cr0(&r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_PRIQEN);
	rig_set_cr0(&r, PRI_CR0_ON);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 5);
	pri_restart(dma, 64);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 4 | SMMUV3_Q_OVFLG);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 1);
	rig_ack_overflow(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 5 | SMMUV3_Q_OVFLG);
	ppr = pri_take(&r);
	pri_refuse(&r, dma, &ppr);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_true(rig_has_overflow(&r));
	/* No entry was freed: the queue is full as before. */
	rig_ack_overflow(&r);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1 | SMMUV3_Q_OVFLG);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 3);
	pri_map(&r, PRI_VA, 1);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 5);
	pri_close(&r, dma);
}

/* An endpoint with one index: when software discards the group, the next group uses the index. */
static void
test_priq_index_of_a_dropped_group_is_used_again(void **state)
{
	struct smmuv3_model_dma *dma, *filler;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	pri_setup_conf(&r, &pri_conf, SMMUV3_STE1_PPAR);
	filler = pri_add_engine(&r, 2, 1, 1, true, 64);
	dma = pri_add_engine(&r, 1, 2, 1, true, 64);
	ppr = pri_ask(&r, filler, PRI_VA);
	rig_send_pri_resp(&r, &ppr, true, INVALID);
	pri_check_ended(&r, filler, SMMUV3_MODEL_ABORTED);
	/* One entry is free: the first request is written, its Last is lost. */
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(smmuv3_model_dma_stop_marker(filler), 0);
	pri_begin(&r, dma, PRI_VA, 2);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_true(rig_has_overflow(&r));
	for (unsigned int i = 0; i < 4; i++)
		ppr = pri_take(&r);
	assert_int_equal(ppr.dw[0] & (SMMUV3_PPR0_LAST | SMMUV3_PPR0_SSID),
			SMMUV3_PUT(SMMUV3_PPR0_SSID, 1));
	assert_int_equal(pri_get_index(&ppr), 0);
	rig_ack_overflow(&r);
	rig_run(&r);
	/* The same index, from the group's first page. */
	for (unsigned int i = 0; i < 2; i++) {
		ppr = pri_take(&r);
		assert_int_equal(pri_get_index(&ppr), 0);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, PRI_VA + i * 4096);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i == 1);
	}
	rig_send_pri_resp(&r, &ppr, true, INVALID);
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(filler);
	pri_close(&r, dma);
}

/* One cell of the matrix of automatic responses [3.5.3, 8]. */
struct auto_row {
	bool substreams, pasid;		/* of the SMMU, of the request */
	bool pps, ppar;
	bool prg_pasid;			/* the endpoint requires a PASID on responses */
	bool given;			/* and the response has it */
};

static void
check_auto_response(const struct auto_row *row)
{
	struct smmuv3_model_conf conf = pri_conf;
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	conf.ssid_bits = row->substreams ? 0 : SMMUV3_MODEL_NONE;
	conf.features |= row->pps ? SMMUV3_MODEL_PPS : 0;
	pri_setup_conf(&r, &conf, row->ppar ? SMMUV3_STE1_PPAR : 0);
	dma = pri_add_engine(&r, row->pasid ? 1 : -1, 1, 0, row->prg_pasid, 64);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	/* Success: the endpoint translates again. */
	assert_false(smmuv3_model_dma_pri_failed(dma));
	/* With IDR3.PPS the response has the PASID, required or not. */
	if (row->given != (row->pasid && (row->prg_pasid || row->pps)))
		rig_expect_error(&r, row->given ? "an automatic response with PASID" :
				"an automatic response without PASID");
	pri_map(&r, PRI_VA, 1);
	pri_check_ended(&r, dma, SMMUV3_MODEL_OK);
	for (unsigned int i = 0; i < 4; i++) {
		ppr = pri_take(&r);
		rig_send_pri_resp(&r, &ppr, row->pasid && (row->prg_pasid || row->pps), INVALID);
	}
	rig_ack_overflow(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
}

static void
test_priq_auto_responses_to_an_overflow(void **state)
{
	struct auto_row row;

	(void)state;
	for (unsigned int i = 0; i < 32; i++) {
		row = (struct auto_row){ .substreams = i & 1, .pasid = i & 2, .pps = i & 4,
			.ppar = i & 8, .prg_pasid = i & 16 };
		/* A request has a PASID only where there are substreams. */
		if (row.pasid && !row.substreams)
			continue;
		row.given = row.pasid && (row.pps || row.ppar);
		check_auto_response(&row);
	}
}

/* The STE changes between the two requests of a group whose Last is lost. */
enum ste_change {
	STE_INVALID,
	STE_ILLEGAL,		/* EATS = 2 without stage 2 */
	STE_ABORT,		/* Config = 000 is valid */
	STE_BEYOND,		/* L1STD.Span = 0: no such StreamID */
	STE_UNREADABLE,		/* L1STD.L2Ptr is outside of all windows */
	STE_TORN,		/* unchanged, and fetched word by word */
};

struct ste_row {
	enum ste_change change;
	uint32_t cr2;
	uint8_t event;
	bool failure;
	/* of the request and of the SMMU */
	bool no_pasid, pps;
};

static void
change_ste(struct rig *r, enum ste_change change)
{
	struct smmuv3_ste *ste = rig_get_ste(r, RIG_SID);

	switch (change) {
	case STE_INVALID:
		ste->dw[0] &= ~SMMUV3_STE0_V;
		break;
	case STE_ILLEGAL:
		ste->dw[1] |= SMMUV3_PUT(SMMUV3_STE1_EATS, 3);
		ste->dw[1] &= ~SMMUV3_PUT(SMMUV3_STE1_EATS, 1);
		break;
	case STE_ABORT:
		ste->dw[0] &= ~SMMUV3_STE0_CONFIG;
		break;
	case STE_BEYOND:
		r->l1strtab[0] &= ~(uint64_t)SMMUV3_L1STD_SPAN;
		break;
	case STE_UNREADABLE:
		r->l1strtab[0] = UINT64_C(0x700000000) | 9;
		break;
	case STE_TORN:
		break;
	}
}

/* The table of automatic responses, where the STE is read. */
static void
check_auto_response_and_ste(const struct ste_row *row)
{
	struct smmuv3_model_conf conf = pri_conf;
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	conf.features |= row->pps ? SMMUV3_MODEL_PPS : 0;
	conf.choices |= row->change == STE_TORN ? SMMUV3_MODEL_TORN_FETCH : 0;
	rig_open(&r, &conf);
	r.split = true;
	rig_start(&r);
	rig_enable_priq(&r);
	rig_set_s1_pasids(&r, PRI_EATS | SMMUV3_STE1_PPAR);
	rig_set_cr0(&r, PRI_CR0_ON & ~1u);
	smmuv3_write32(r.regs, SMMUV3_CR2, row->cr2);
	rig_set_cr0(&r, PRI_CR0_ON);
	dma = pri_add_engine(&r, row->no_pasid ? -1 : 1, 2, 0, true, 64);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 2);
	if (row->change == STE_TORN)
		while (!rig_has_overflow(&r))
			smmuv3_model_step(r.m, 1);
	assert_true(rig_has_overflow(&r));
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	change_ste(&r, row->change);
	rig_put(&r, smmuv3_cmd_cfgi_ste(RIG_SID, false));
	rig_ring(&r);
	assert_int_equal(smmuv3_model_step(r.m, 2), 2);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	assert_int_equal(smmuv3_model_dma_pri_failed(dma), row->failure);
	assert_int_equal(rig_take_evt(&r, &evt), row->event != 0);
	if (row->event != 0)
		assert_int_equal(evt.dw[0] & 0xff, row->event);
	smmuv3_model_dma_reset(dma);
	assert_int_equal(rig_poll(&r, dma), 5);
	while (rig_take_evt(&r, &evt))
		;
	pri_close(&r, dma);
}

static void
test_priq_auto_response_where_the_ste_is_read(void **state)
{
	const uint32_t ats = SMMUV3_CR2_REC_CFG_ATS, sid = SMMUV3_CR2_RECINVSID;
	const struct ste_row rows[] = {
		{ STE_INVALID, sid, 0, true, false, false },
		{ STE_INVALID, ats, SMMUV3_C_BAD_STE, true, false, false },
		{ STE_ILLEGAL, sid, 0, true, false, false },
		{ STE_ILLEGAL, ats, SMMUV3_C_BAD_STE, true, false, false },
		{ STE_UNREADABLE, sid, 0, true, false, false },
		{ STE_UNREADABLE, ats, SMMUV3_F_STE_FETCH, true, false, false },
		{ STE_BEYOND, sid, 0, true, false, false },
		{ STE_BEYOND, ats, 0, true, false, false },
		{ STE_BEYOND, ats | sid, SMMUV3_C_BAD_STREAMID, true, false, false },
		{ STE_ABORT, ats, 0, false, false, false },
		{ STE_TORN, ats, 0, false, false, false },
		/* not fetched: no PASID in the request, or IDR3.PPS */
		{ STE_INVALID, ats, 0, false, true, false },
		{ STE_UNREADABLE, ats, 0, false, false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_auto_response_and_ste(&rows[i]);
}

static void
test_priq_stop_marker_lost_to_an_overflow_has_no_response(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pri_open(&r, 1, 8);
	pri_fill(&r, dma, 4);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_true(rig_has_overflow(&r));
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	pri_refuse_all(&r);
	/* After an overflow, and with the queue off: no response. */
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	rig_set_cr0(&r, 0xd);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 3);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_priq_overflow_at_each_position_of_a_group),
	cmocka_unit_test(test_priq_overflow_blocks_until_it_is_acknowledged),
	cmocka_unit_test(test_priq_ovackflg_without_overflow_is_reported),
	cmocka_unit_test(test_priq_overflow_comes_again_after_the_acknowledgement),
	cmocka_unit_test(test_priq_index_of_a_dropped_group_is_used_again),
	cmocka_unit_test(test_priq_auto_responses_to_an_overflow),
	cmocka_unit_test(test_priq_auto_response_where_the_ste_is_read),
	cmocka_unit_test(test_priq_stop_marker_lost_to_an_overflow_has_no_response),
};

TEST_SUITE(model_priq_overflow, tests, NULL, NULL);
