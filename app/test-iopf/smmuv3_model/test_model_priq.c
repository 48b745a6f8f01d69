/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The PRIQ of the model: overflow, automatic responses, what happens to requests while it is
 * off or broken, interrupts.
 */

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "test.h"
#include "pri_rig.h"

static void
test_priq_registers_are_guarded(void **state)
{
	struct rig r;

	(void)state;
	pri_setup(&r);
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
	rig_cr0(&r, PRI_CR0_ON & ~1u);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_PROD written while PRIQEN is set");
	rig_cr0(&r, PRI_CR0_ON & ~3u);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	rig_close(&r);
}

/* One entry, whose wrap is bit 0; and a LOG2SIZE above what IDR1 allows. */
static void
test_priq_sizes_at_the_ends(void **state)
{
	struct smmuv3_model_conf conf = pri_conf;
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	conf.priq_log2 = 2;
	for (unsigned int log2 = 0; log2 <= 10; log2 += 10) {
		unsigned int nb = log2 == 0 ? 1 : 4;

		rig_open(&r, &conf);
		rig_up(&r);
		r.queue_size_1 = true;
		rig_priq_up(&r);
		rig_s1_pasids(&r, PRI_EATS);
		if (log2 != 0) {
			rig_cr0(&r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_PRIQEN);
			r.priq = rig_alloc(&r, 64, 64);
			smmuv3_write64(r.regs, SMMUV3_PRIQ_BASE, rig_addr(&r, r.priq) | log2);
			rig_cr0(&r, PRI_CR0_ON);
			r.priq_log2 = 2;
		}
		dma = pri_function(&r, 1, 1, 0, false, 64);
		for (unsigned int i = 1; i <= 3 * nb; i++) {
			ppr = pri_ask(&r, dma, PRI_VA);
			assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), i % (2 * nb));
			pri_refuse(&r, dma, &ppr);
		}
		pri_fill(&r, dma, nb);
		pri_begin(&r, dma, PRI_VA, 1);
		assert_true(rig_priq_over(&r));
		pri_map(&r, PRI_VA, 1);
		pri_refuse_all(&r);
		assert_int_equal(rig_poll(&r, dma), nb + 1);
		pri_close(&r, dma);
	}
}

static void
test_priq_overflow_at_each_position_of_a_group(void **state)
{
	struct smmuv3_model_dma *dma, *filler;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	/* Room for n of the three requests of the group. */
	for (unsigned int room = 0; room < 4; room++) {
		unsigned int partial = 0;

		pri_setup(&r);
		filler = pri_function(&r, 2, 1, 0, false, 64);
		dma = pri_function(&r, 1, 3, 0, false, 64);
		pri_fill(&r, filler, 4 - room);
		/* Step by step: an answer to the overflow makes it ask again, endlessly. */
		pri_begin(&r, dma, PRI_VA, 3);
		for (unsigned int i = 1; i < 3; i++)
			assert_int_equal(smmuv3_model_step(r.m, 1), 1);
		assert_int_equal(rig_priq_over(&r), room < 3);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), room < 3);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 3 - room);
		/* Last was lost: Success from the SMMU. Else nothing from it. */
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), room < 3);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 4 - room +
				(room < 3 ? 0 : 3));
		pri_map(&r, PRI_VA, 3);
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
			rig_pri_resp(&r, &ppr, false, room == 3 && ppr.dw[1] < PRI_VA + 0x100000 ?
					SUCCESS : INVALID);
		}
		assert_int_equal(partial, room < 3 ? room : 2);
		rig_priq_ack(&r);
		assert_false(rig_priq_over(&r));
		pri_ended(&r, dma, SMMUV3_MODEL_OK);
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
	dma = pri_up(&r, 1, 64);
	pri_fill(&r, dma, 4);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_true(rig_priq_over(&r));
	/* Empty it all: still blocked, and the flag does not move again. */
	for (unsigned int i = 0; i < 4; i++)
		ppr = pri_take(&r);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 4 | SMMUV3_Q_OVFLG);
	pri_none(&r);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 1);
	assert_true(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) > 4);
	/* Acknowledged, the function's next try arrives. */
	rig_priq_ack(&r);
	rig_run(&r);
	ppr = pri_take(&r);
	assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, PRI_VA);
	pri_refuse(&r, dma, &ppr);
	/* What was in the queue before is answered by software as ever. */
	for (unsigned int i = 0; i < 4; i++) {
		ppr.dw[1] = i;
		rig_pri_resp(&r, &ppr, false, INVALID);
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
	dma = pri_up(&r, 1, 64);
	pri_fill(&r, dma, 4);
	rig_write(&r, SMMUV3_PRIQ_CONS, (uint32_t)SMMUV3_Q_OVFLG);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8);
	smmuv3_model_step(r.m, 1);
	rig_expect_error(&r, "PRIQ_CONS.OVACKFLG toggled while there is no overflow");
	rig_write(&r, SMMUV3_PRIQ_CONS, 0);
	pri_map(&r, PRI_VA, 1);
	pri_ended(&r, dma, SMMUV3_MODEL_OK);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
}

/* PRIQEN does not end an overflow; the acknowledgement does, and the next toggles back. */
static void
test_priq_overflow_comes_again_after_the_acknowledgement(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_up(&r, 1, 64);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 4 | SMMUV3_Q_OVFLG);
	rig_cr0(&r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_PRIQEN);
	rig_cr0(&r, PRI_CR0_ON);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 5);
	pri_restart(dma, 64);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 4 | SMMUV3_Q_OVFLG);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 1);
	rig_priq_ack(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 5 | SMMUV3_Q_OVFLG);
	ppr = pri_take(&r);
	pri_refuse(&r, dma, &ppr);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_true(rig_priq_over(&r));
	/* Nothing freed: full as before. */
	rig_priq_ack(&r);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1 | SMMUV3_Q_OVFLG);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 3);
	pri_map(&r, PRI_VA, 1);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 5);
	pri_close(&r, dma);
}

/* A function with one index: the group that software drops leaves it to the next. */
static void
test_priq_index_of_a_dropped_group_is_used_again(void **state)
{
	struct smmuv3_model_dma *dma, *filler;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	pri_setup_conf(&r, &pri_conf, SMMUV3_STE1_PPAR);
	filler = pri_function(&r, 2, 1, 1, true, 64);
	dma = pri_function(&r, 1, 2, 1, true, 64);
	ppr = pri_ask(&r, filler, PRI_VA);
	rig_pri_resp(&r, &ppr, true, INVALID);
	pri_ended(&r, filler, SMMUV3_MODEL_ABORTED);
	/* One entry is left: its first request is written, its Last is not. */
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(smmuv3_model_dma_stop_marker(filler), 0);
	pri_begin(&r, dma, PRI_VA, 2);
	assert_int_equal(smmuv3_model_step(r.m, 1), 1);
	assert_true(rig_priq_over(&r));
	for (unsigned int i = 0; i < 4; i++)
		ppr = pri_take(&r);
	assert_int_equal(ppr.dw[0] & (SMMUV3_PPR0_LAST | SMMUV3_PPR0_SSID),
			SMMUV3_PUT(SMMUV3_PPR0_SSID, 1));
	assert_int_equal(pri_index(&ppr), 0);
	rig_priq_ack(&r);
	rig_run(&r);
	/* The same index, from its first page. */
	for (unsigned int i = 0; i < 2; i++) {
		ppr = pri_take(&r);
		assert_int_equal(pri_index(&ppr), 0);
		assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, PRI_VA + i * 4096);
		assert_int_equal(!!(ppr.dw[0] & SMMUV3_PPR0_LAST), i == 1);
	}
	rig_pri_resp(&r, &ppr, true, INVALID);
	pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(filler);
	pri_close(&r, dma);
}

/* CR0.ATSCHK and STE.EATS say what is translated, not what is asked for. */
static void
test_priq_requests_do_not_depend_on_eats_and_atschk(void **state)
{
	const uint32_t on = PRI_CR0_ON | (uint32_t)SMMUV3_CR0_ATSCHK;
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	for (int atschk = 0; atschk < 2; atschk++) {
		pri_setup(&r);
		if (atschk)
			rig_cr0(&r, on);
		dma = pri_half_sent(&r, 1, false);
		rig_ste_ptr(&r, RIG_SID)->dw[1] &= ~SMMUV3_STE1_EATS;
		rig_cmd(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
		ppr = pri_take(&r);
		assert_false(ppr.dw[0] & SMMUV3_PPR0_LAST);
		ppr = pri_take(&r);
		assert_true(ppr.dw[0] & SMMUV3_PPR0_LAST);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
		rig_pri_resp(&r, &ppr, false, SUCCESS);
		/* What it asked for is not translated. */
		pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_true(rig_evt(&r, &evt));
		assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_BAD_ATS_TREQ);
		pri_close(&r, dma);
	}
}

/* One cell of the matrix of automatic responses [2.4 of the facts]. */
struct auto_row {
	bool substreams, pasid;		/* of the SMMU, of the request */
	bool pps, ppar;
	bool prg_pasid;			/* the function wants PASID on responses */
	bool given;			/* and the response has it */
};

static void
auto_response(const struct auto_row *row)
{
	struct smmuv3_model_conf conf = pri_conf;
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	conf.ssid_bits = row->substreams ? 0 : SMMUV3_MODEL_NONE;
	conf.features |= row->pps ? SMMUV3_MODEL_PPS : 0;
	pri_setup_conf(&r, &conf, row->ppar ? SMMUV3_STE1_PPAR : 0);
	dma = pri_function(&r, row->pasid ? 1 : -1, 1, 0, row->prg_pasid, 64);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	/* Success: it translates again. */
	assert_false(smmuv3_model_dma_pri_failed(dma));
	/* With IDR3.PPS a function gets the PASID whether it wants it or not. */
	if (row->given != (row->pasid && (row->prg_pasid || row->pps)))
		rig_expect_error(&r, row->given ? "an automatic response with PASID" :
				"an automatic response without PASID");
	pri_map(&r, PRI_VA, 1);
	pri_ended(&r, dma, SMMUV3_MODEL_OK);
	for (unsigned int i = 0; i < 4; i++) {
		ppr = pri_take(&r);
		rig_pri_resp(&r, &ppr, row->pasid && (row->prg_pasid || row->pps), INVALID);
	}
	rig_priq_ack(&r);
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
		auto_response(&row);
	}
}

/* What becomes of the STE between the two requests of a group, of which Last is lost. */
enum ste_change {
	STE_INVALID,
	STE_ILLEGAL,		/* EATS = 2 without stage 2 */
	STE_ABORT,		/* Config = 000 is valid */
	STE_BEYOND,		/* L1STD.Span = 0: no such StreamID */
	STE_UNREADABLE,		/* L1STD.L2Ptr is outside of all windows */
	STE_TORN,		/* as it was, and read word by word */
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
ste_change(struct rig *r, enum ste_change change)
{
	struct smmuv3_ste *ste = rig_ste_ptr(r, RIG_SID);

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
auto_response_and_ste(const struct ste_row *row)
{
	struct smmuv3_model_conf conf = pri_conf;
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	conf.features |= row->pps ? SMMUV3_MODEL_PPS : 0;
	conf.choices |= row->change == STE_TORN ? SMMUV3_MODEL_TORN_FETCH : 0;
	rig_open(&r, &conf);
	r.split = true;
	rig_up(&r);
	rig_priq_up(&r);
	rig_s1_pasids(&r, PRI_EATS | SMMUV3_STE1_PPAR);
	rig_cr0(&r, PRI_CR0_ON & ~1u);
	smmuv3_write32(r.regs, SMMUV3_CR2, row->cr2);
	rig_cr0(&r, PRI_CR0_ON);
	dma = pri_function(&r, row->no_pasid ? -1 : 1, 2, 0, true, 64);
	pri_fill(&r, dma, 4);
	pri_begin(&r, dma, PRI_VA, 2);
	if (row->change == STE_TORN)
		while (!rig_priq_over(&r))
			smmuv3_model_step(r.m, 1);
	assert_true(rig_priq_over(&r));
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	ste_change(&r, row->change);
	rig_put(&r, smmuv3_cmd_cfgi_ste(RIG_SID, false));
	rig_ring(&r);
	assert_int_equal(smmuv3_model_step(r.m, 2), 2);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	assert_int_equal(smmuv3_model_dma_pri_failed(dma), row->failure);
	assert_int_equal(rig_evt(&r, &evt), row->event != 0);
	if (row->event != 0)
		assert_int_equal(evt.dw[0] & 0xff, row->event);
	smmuv3_model_dma_reset(dma);
	assert_int_equal(rig_poll(&r, dma), 5);
	while (rig_evt(&r, &evt))
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
		/* not read: no PASID in the request, IDR3.PPS */
		{ STE_INVALID, ats, 0, false, true, false },
		{ STE_UNREADABLE, ats, 0, false, false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		auto_response_and_ste(&rows[i]);
}

/* The rows "effective PRIQEN = 0" and "PRIQ_ABT_ERR is active": the same of both. */
enum off {
	OFF_PRIQEN,
	OFF_SMMUEN,
	OFF_ABT,
	OFF_SFM,
};
#define NB_OFF 4

/* Each of them, with and without a response to requests that have no Last. */
static void
off_setup(struct rig *r, bool each)
{
	struct smmuv3_model_conf conf = pri_conf;

	conf.choices = each ? SMMUV3_MODEL_FAIL_EACH_PPR : 0;
	pri_setup_conf(r, &conf, 0);
}

static void
off(struct rig *r, struct smmuv3_model_dma *any, enum off how)
{
	struct smmuv3_ppr ppr;

	switch (how) {
	case OFF_PRIQEN:
		rig_cr0(r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_PRIQEN);
		break;
	case OFF_SMMUEN:
		rig_cr0(r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_SMMUEN);
		break;
	case OFF_ABT:
		smmuv3_model_knob(r->m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		assert_int_equal(smmuv3_model_dma_stop_marker(any), 0);
		assert_int_equal(rig_read(r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
		break;
	case OFF_SFM:
		smmuv3_model_knob(r->m, SMMUV3_MODEL_KNOB_SFM, 1);
		break;
	}
	rig_run(r);
	assert_false(rig_ppr(r, &ppr));
}

static void
off_in_a_group(enum off how, bool each, bool prg_pasid)
{
	struct smmuv3_model_dma *dma, *other;
	struct rig r;

	off_setup(&r, each);
	other = pri_function(&r, 2, 1, 0, prg_pasid, 64);
	dma = pri_function(&r, 1, 3, 0, prg_pasid, 64);
	/* The first request is written, the second and Last come too late. */
	pri_begin(&r, dma, PRI_VA, 3);
	pri_take(&r);
	off(&r, other, how);
	/* Failure, without PASID, whatever the function wants on others. */
	assert_true(smmuv3_model_dma_pri_failed(dma));
	pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST),
			(each ? 1 : 2) + (how == OFF_ABT));
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 0);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	smmuv3_model_dma_destroy(other);
	pri_close(&r, dma);
}

static void
test_priq_requests_fail_while_the_queue_is_off(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 4 * NB_OFF; i++)
		off_in_a_group(i / 4, i & 1, i & 2);
}

static void
test_priq_stop_marker_has_no_response_while_the_queue_is_off(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < 2 * NB_OFF; i++) {
		off_setup(&r, i & 1);
		dma = pri_function(&r, 1, 1, 0, false, 8);
		off(&r, dma, i / 2);
		assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
		pri_none(&r);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST),
				1 + (i / 2 == OFF_ABT));
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
		assert_false(smmuv3_model_dma_pri_failed(dma));
		pri_close(&r, dma);
	}
}

/* The write of each of a group's two requests aborts. */
static void
test_priq_aborted_write_at_each_position_of_a_group(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		bool last = i & 2, each = i & 1;

		off_setup(&r, each);
		dma = pri_function(&r, 1, 2, 0, false, 8);
		if (last) {
			pri_begin(&r, dma, PRI_VA, 2);
			pri_take(&r);
		}
		smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		if (!last)
			pri_begin(&r, dma, PRI_VA, 2);
		else
			assert_int_equal(smmuv3_model_step(r.m, 1), 1);
		assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
		assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), last);
		assert_int_equal(smmuv3_model_dma_pri_failed(dma), last || each);
		/* Without Last it is the Last behind it that fails. */
		pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_true(smmuv3_model_dma_pri_failed(dma));
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
		assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), last || each ? 1 : 2);
		pri_close(&r, dma);
	}
}

static void
test_priq_aborted_write_fails_and_stops_the_queue(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	dma = pri_up(&r, 1, 8);
	pri_start(&r, dma, PRI_VA, 1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
	pri_start(&r, dma, PRI_VA + 0x1000, 1);
	pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	/* Entries below PROD are valid; the next is as with PRIQEN off. */
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	ppr = pri_take(&r);
	pri_refuse(&r, dma, &ppr);
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	pri_restart(dma, 8);
	ppr = pri_ask(&r, dma, PRI_VA);
	pri_refuse(&r, dma, &ppr);
	/* A queue outside the windows aborts by itself. */
	rig_cr0(&r, 0xd);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_BASE, UINT64_C(0x700000000) | 2);
	rig_cr0(&r, PRI_CR0_ON);
	pri_start(&r, dma, PRI_VA, 1);
	pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR) ^ rig_read(&r, SMMUV3_GERRORN),
			SMMUV3_GERROR_PRIQ_ABT);
	pri_close(&r, dma);
}


/* Seen too late: nobody answers for what was lost; a Last behind it fails. */
static void
test_priq_late_abort_of_what_has_no_last(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pri_up(&r, 2, 8);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	pri_begin(&r, dma, PRI_VA, 2);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	pri_restart(dma, 8);
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	rig_run(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR) ^ rig_read(&r, SMMUV3_GERRORN),
			SMMUV3_GERROR_PRIQ_ABT);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 2);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 1);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	pri_close(&r, dma);
}

/* With LO: a Last discarded by an overflow interrupts, by anything else it does not. */
static void
test_priq_no_interrupt_for_what_is_discarded_otherwise(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct smmuv3_model_dma *dma, *other;
	uint64_t n;
	struct rig r;

	(void)state;
	for (unsigned int i = 0; i < NB_OFF; i++) {
		off_setup(&r, false);
		smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_PRIQ, fd);
		smmuv3_write32(r.regs, SMMUV3_PRIQ_IRQ_CFG2, (uint32_t)SMMUV3_PRIQ_IRQ_CFG2_LO);
		rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
		rig_run(&r);
		dma = pri_half_sent(&r, 1, false);
		other = pri_function(&r, 2, 1, 0, false, 8);
		pri_take(&r);
		off(&r, other, i);
		pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_int_equal(read(fd, &n, sizeof(n)), -1);
		smmuv3_model_dma_destroy(other);
		pri_close(&r, dma);
	}
	close(fd);
}

static void
test_priq_late_abort_leaves_a_group_that_a_reset_ends(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pri_up(&r, 1, 8);
	memset(r.priq, 0xee, sizeof(*r.priq));
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	pri_start(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_PRIQ_ABT);
	/* PROD moved over what was there before: the queue is not to be trusted. */
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	assert_int_equal(r.priq[0].dw[0], 0xeeeeeeeeeeeeeeee);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	assert_int_equal(rig_poll(&r, dma), 0);
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	assert_false(smmuv3_model_dma_pri_drained(dma));
	smmuv3_model_dma_reset(dma);
	pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	pri_close(&r, dma);
}

static void
test_priq_stop_marker_lost_to_an_overflow_has_no_response(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = pri_up(&r, 1, 8);
	pri_fill(&r, dma, 4);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_true(rig_priq_over(&r));
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 1);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	pri_refuse_all(&r);
	/* Overflow, then off: the same. */
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	rig_cr0(&r, 0xd);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PPRS_LOST), 3);
	assert_int_equal(rig_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
}

/*
 * Interrupts at: the first request, its Last, a third in a queue that is not empty, one
 * without Last and one with it lost to overflow.
 */
static void
interrupts(bool lo, bool msi)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct smmuv3_model_dma *dma;
	smmuv3_reg32_t *word;
	uint64_t n;
	struct rig r;
	const uint64_t want[5] = { !lo, lo, lo, 0, lo };

	pri_setup(&r);
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
	dma = pri_function(&r, 1, 2, 0, false, 64);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8192);
	for (unsigned int i = 0; i < 5; i++) {
		if (i == 2) {
			rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA + 0x10000, pri_buf[0], 8);
		} else if (i == 3) {
			pri_start(&r, dma, PRI_VA + 0x20000, 1);
			atomic_store(word, 0);
			(void)!read(fd, &n, sizeof(n));
			rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA + 0x30000, pri_buf[0],
					8192);
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
	pri_map(&r, PRI_VA + 0x30000, 2);
	rig_run(&r);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
	close(fd);
}

static void
test_priq_interrupts(void **state)
{
	(void)state;
	interrupts(false, false);
	interrupts(false, true);
	interrupts(true, false);
	interrupts(true, true);
}

static void
test_priq_aborted_msi_is_an_error(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	pri_setup(&r);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_IRQ_CFG0, 0x10);
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	dma = pri_function(&r, 1, 1, 0, false, 8);
	pri_start(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_MSI_PRIQ_ABT);
	pri_refuse_all(&r);
	pri_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	pri_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_priq_registers_are_guarded),
	cmocka_unit_test(test_priq_sizes_at_the_ends),
	cmocka_unit_test(test_priq_overflow_at_each_position_of_a_group),
	cmocka_unit_test(test_priq_overflow_blocks_until_it_is_acknowledged),
	cmocka_unit_test(test_priq_ovackflg_without_overflow_is_reported),
	cmocka_unit_test(test_priq_overflow_comes_again_after_the_acknowledgement),
	cmocka_unit_test(test_priq_index_of_a_dropped_group_is_used_again),
	cmocka_unit_test(test_priq_requests_do_not_depend_on_eats_and_atschk),
	cmocka_unit_test(test_priq_auto_responses_to_an_overflow),
	cmocka_unit_test(test_priq_auto_response_where_the_ste_is_read),
	cmocka_unit_test(test_priq_requests_fail_while_the_queue_is_off),
	cmocka_unit_test(test_priq_stop_marker_has_no_response_while_the_queue_is_off),
	cmocka_unit_test(test_priq_aborted_write_at_each_position_of_a_group),
	cmocka_unit_test(test_priq_aborted_write_fails_and_stops_the_queue),
	cmocka_unit_test(test_priq_late_abort_of_what_has_no_last),
	cmocka_unit_test(test_priq_no_interrupt_for_what_is_discarded_otherwise),
	cmocka_unit_test(test_priq_late_abort_leaves_a_group_that_a_reset_ends),
	cmocka_unit_test(test_priq_stop_marker_lost_to_an_overflow_has_no_response),
	cmocka_unit_test(test_priq_interrupts),
	cmocka_unit_test(test_priq_aborted_msi_is_an_error),
};

TEST_SUITE(model_priq, tests, NULL, NULL);
