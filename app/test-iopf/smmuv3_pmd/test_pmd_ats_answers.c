/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Answers to page requests: behind an invalidation, and with a PASID or without. */

#include "ats_rig.h"
#include "iopf_handler.h"
#include "test.h"

static void
enable_pri(struct smmuv3_model_dma *dma)
{
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 8), 0);
}

static void
disable_pri(struct pmd *p, struct smmuv3_model_dma *dma)
{
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	pmd_step(p);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
}

static void
wait_for_request(struct pmd *p, struct iopf_event *event)
{
	for (unsigned int i = 0; i < 10000; i++) {
		if (p->ops->poll(p->s, IOPF_QUEUE_REQUESTS, event, 1) == 1) {
			assert_int_equal(event->flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
			return;
		}
		smmuv3_model_step(p->m, 64);
	}
	fail_msg("no page request");
}

/* The retry finds the new page, and the ATC lost the other pages of the range too. */
static void
test_an_answer_follows_the_atc_invs_of_its_batch(void **state)
{
	const struct iopf_inv inv[2] = { { .addr = VA, .size = PAGE },
		{ .addr = VA + PAGE, .size = PAGE } };
	struct smmuv3_model_dma *dma[2];
	struct iopf_answer answer;
	uint8_t byte = 9, *page;
	void *dev[2], *domain;
	struct iopf_event event;
	uint64_t batches;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	domain = ats_add_domain(&p);
	for (unsigned int i = 0; i < 2; i++) {
		dev[i] = ats_add_dev(&p, SID + i, 4);
		ats_attach(&p, dev[i], 3, domain);
		dma[i] = ats_add_engine(&p, SID + i, 3, false);
		enable_pri(dma[i]);
	}
	/* VA is read-only, so a write requests it. VA + PAGE moves. */
	pmd_map(&p, VA, pmd_alloc(&p, PAGE, PAGE));
	*pmd_get_pte(&p, VA) |= 1 << 7;
	ats_map(&p, VA + PAGE);
	p.dma = dma[0];
	assert_int_equal(smmuv3_model_dma_submit(dma[0], &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_READ, .addr = VA, .buf = &byte, .len = 1 }), 0);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
	assert_true(ats_can_reach(&p, dma[0], VA + PAGE));
	assert_true(ats_can_reach(&p, dma[1], VA + PAGE));
	p.dma = dma[0];
	byte = 9;
	pmd_write(&p, VA, &byte, 1);
	wait_for_request(&p, &event);
	assert_int_equal(event.addr, VA);
	page = ats_map(&p, VA);
	pmd_map(&p, VA + PAGE, page);
	answer = (struct iopf_answer){ .sid = event.sid, .pasid = IOPF_NO_PASID,
		.token = event.token, .code = IOPF_SUCCESS, .page_request = true };
	batches = pmd_read_stat(&p, "batches");
	p.ops->answer_after(p.s, domain, inv, 2, &answer, 1);
	assert_int_equal(pmd_read_stat(&p, "batches"), batches + 1);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
	assert_int_equal(page[0], 9);
	for (unsigned int i = 0; i < 2; i++) {
		page[0] = 0;
		assert_true(ats_can_reach(&p, dma[i], VA + PAGE));
		assert_int_equal(page[0], 0x5a);
	}
	for (unsigned int i = 0; i < 2; i++) {
		disable_pri(&p, dma[i]);
		ats_detach(&p, dev[i], 3);
		smmuv3_model_dma_destroy(dma[i]);
		p.ops->dev_del(p.s, dev[i]);
	}
	p.ops->domain_del(p.s, domain);
	ats_close(&p);
}

/* One batch: TLBI, SYNC, an ATC_INV for each ATC, SYNC, answers. */
static void
test_the_batch_of_an_answer_behind_an_invalidation(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = 2 * PAGE };
	const struct iopf_answer answers[2] = {
		{ .sid = SID, .pasid = 3, .token = 0x1a5, .page_request = true },
		{ .sid = SID, .pasid = IOPF_NO_PASID, .token = 1, .page_request = true,
			.code = IOPF_INVALID } };
	static const uint64_t want[][2] = {
		{ UINT64_C(0x0000000000000046), 0 },
		{ UINT64_C(0x0000000800003840), VA | 1 },
		{ UINT64_C(0x0000000900000040), VA | 1 },
		{ UINT64_C(0x0000000000000046), 0 },
		{ UINT64_C(0x0000000800003841), 0x21a5 },
		{ UINT64_C(0x0000000800000041), 0x1001 },
	};
	void *dev[2], *domain;
	const struct smmuv3_cmd *ring;
	uint64_t at;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	domain = ats_add_domain(&p);
	dev[0] = ats_add_dev(&p, SID, 4);
	dev[1] = ats_add_dev(&p, SID + 1, 4);
	ats_attach(&p, dev[0], 3, domain);
	ats_attach(&p, dev[1], IOPF_NO_PASID, domain);
	at = p.s->cmdq.tail;
	ring = p.s->cmdq.ring;
	p.ops->answer_after(p.s, domain, &inv, 1, answers, 2);
	assert_int_equal(p.s->cmdq.tail, at + 1 + RTE_DIM(want));
	at &= (1u << p.s->cmdq.log2) - 1;
	assert_true((ring[at].dw[0] & 0xff) == SMMUV3_OP_TLBI_NH_VA ||
			(ring[at].dw[0] & 0xff) == SMMUV3_OP_TLBI_NH_ASID);
	for (unsigned int i = 0; i < RTE_DIM(want); i++) {
		assert_int_equal(ring[at + 1 + i].dw[0], want[i][0]);
		assert_int_equal(ring[at + 1 + i].dw[1], want[i][1]);
	}
	/* The endpoint had requested nothing. */
	pmd_step(&p);
	p.untidy = true;
	ats_detach(&p, dev[0], 3);
	ats_detach(&p, dev[1], IOPF_NO_PASID);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev[0]);
	p.ops->dev_del(p.s, dev[1]);
	ats_close(&p);
}

/*
 * IDR3.PPS of the SMMU and "PRG Response PASID Required" of the endpoint decide. The model reports
 * a PRI_RESP of the wrong form as a driver error.
 */
static void
test_answers_carry_a_pasid_where_it_is_required(void **state)
{
	static const struct {
		enum iopf_code code;
		enum smmuv3_model_status status;
	} codes[] = {
		{ IOPF_SUCCESS, SMMUV3_MODEL_OK },
		{ IOPF_INVALID, SMMUV3_MODEL_ABORTED },
		{ IOPF_RAZWI, SMMUV3_MODEL_ABORTED },
		{ IOPF_FAILURE, SMMUV3_MODEL_ABORTED },
	};
	struct iopf_event event;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 8; k++) {
		struct smmuv3_model_conf conf = ats_conf;
		bool pps = k & 1, prg_pasid = k & 2;
		uint32_t sid = SID, pasid = k & 4 ? 2 : IOPF_NO_PASID;
		struct smmuv3_model_dma *dma;

		conf.features |= pps ? SMMUV3_MODEL_PPS : 0;
		ats_open(&p, &conf);
		assert_int_equal(p.info.pri_pasid, pps);
		dev = ats_add_dev_sids(&p, &sid, 1, 4, prg_pasid);
		domain = ats_add_domain(&p);
		ats_attach(&p, dev, pasid, domain);
		dma = ats_add_engine(&p, SID, pasid, prg_pasid);
		enable_pri(dma);
		for (unsigned int i = 0; i < RTE_DIM(codes); i++) {
			uint64_t va = VA + i * PAGE;
			struct iopf_answer answer = { .sid = SID, .code = codes[i].code,
				.page_request = true };
			uint8_t byte = 1;

			p.dma = dma;
			pmd_write(&p, va, &byte, 1);
			wait_for_request(&p, &event);
			assert_int_equal(event.addr, va);
			assert_int_equal(event.pasid, pasid);
			if (codes[i].code == IOPF_SUCCESS)
				ats_map(&p, va);
			answer.token = event.token;
			/* As the library does. */
			answer.pasid = pps || prg_pasid ? event.pasid : IOPF_NO_PASID;
			p.ops->answer(p.s, &answer, 1);
			assert_int_equal(pmd_wait_done(&p), codes[i].status);
		}
		assert_true(smmuv3_model_dma_pri_failed(dma));
		assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_PRI_RESPS), 4);
		disable_pri(&p, dma);
		ats_detach(&p, dev, pasid);
		smmuv3_model_dma_destroy(dma);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		ats_close(&p);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_answer_follows_the_atc_invs_of_its_batch),
	cmocka_unit_test(test_the_batch_of_an_answer_behind_an_invalidation),
	cmocka_unit_test(test_answers_carry_a_pasid_where_it_is_required),
};

TEST_SUITE(pmd_ats_answers, tests, NULL, NULL);
