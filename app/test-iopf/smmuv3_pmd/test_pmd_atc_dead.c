/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Contract 10 with ATS: the driver cuts off an ATC that does not answer an ATC_INV. */

#include <errno.h>

#include "ats_rig.h"
#include "cmdq.h"
#include "iopf_handler.h"
#include "smmuv3_cmd.h"
#include "smmuv3_model_test.h"
#include "test.h"

/*
 * Contract 10: the driver reports the error once and cuts the ATC off. Others do not wait for it
 * again.
 */
static void
test_an_atc_that_does_not_answer_is_cut_off(void **state)
{
	struct smmuv3_model_dma *dead, *alive;
	void *dev[2], *domain, *other;
	unsigned int done = 77;
	uint64_t syncs;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev[0] = ats_add_dev(&p, SID, 4);
	dev[1] = ats_add_dev(&p, SID + 1, 0);
	domain = ats_add_domain(&p);
	ats_map(&p, VA);
	other = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_attach(&p, dev[0], 1, domain);
	ats_attach(&p, dev[1], IOPF_NO_PASID, other);
	dead = ats_add_engine(&p, SID, 1, false);
	alive = ats_add_engine(&p, SID + 1, IOPF_NO_PASID, false);
	assert_true(ats_can_reach(&p, dead, VA));
	assert_true(ats_can_reach(&p, alive, VA));
	smmuv3_model_dma_quirks(dead, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	assert_int_equal(ats_invalidate(&p, domain, VA, &done), -EIO);
	assert_int_equal(done, 0);
	assert_int_equal(pmd_read_stat(&p, "cerror_atc"), 1);
	assert_int_equal(pmd_read_stat(&p, "atc_cuts"), 1);
	/* The ATC still holds the page but cannot use it: the invalidation succeeds. */
	ats_invalidate_page(&p, domain, VA);
	assert_false(ats_can_reach(&p, dead, VA));
	assert_false(ats_can_reach(&p, dead, VA + PAGE));
	ats_unmap(&p, VA);
	ats_invalidate_page(&p, other, VA);
	assert_false(ats_can_reach(&p, alive, VA));
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
	/*
	 * It stays cut off, for other PASIDs and over a restart, until all its PASIDs are detached.
	 */
	syncs = pmd_read_stat(&p, "syncs");
	assert_int_equal(rig_attach(p.ops, p.s, dev[0], 2, other), -EIO);
	assert_int_equal(pmd_read_stat(&p, "syncs"), syncs);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_false(ats_can_reach(&p, dead, VA));
	ats_detach(&p, dev[0], 1);
	/* The ATC does not answer: not attached. */
	assert_int_equal(rig_attach(p.ops, p.s, dev[0], 1, other), -EIO);
	smmuv3_model_dma_quirks(dead, 0, 0);
	smmuv3_model_dma_reset(dead);
	ats_attach(&p, dev[0], 1, other);
	assert_int_equal(smmuv3_model_dma_ats_enable(dead, 0), 0);
	ats_map(&p, VA + PAGE);
	assert_true(ats_can_reach(&p, dead, VA + PAGE));
	ats_unmap(&p, VA + PAGE);
	ats_invalidate_page(&p, other, VA + PAGE);
	assert_false(ats_can_reach(&p, dead, VA + PAGE));
	ats_detach(&p, dev[0], 1);
	ats_detach(&p, dev[1], IOPF_NO_PASID);
	smmuv3_model_dma_destroy(dead);
	smmuv3_model_dma_destroy(alive);
	p.ops->domain_del(p.s, domain);
	p.ops->domain_del(p.s, other);
	p.ops->dev_del(p.s, dev[0]);
	p.ops->dev_del(p.s, dev[1]);
	ats_close(&p);
}

/*
 * One call finds and cuts off all ATCs that do not answer: beside the first failure it waits once
 * for each of them. The others are invalidated by the same call.
 */
static void
test_each_dead_atc_among_several_costs_one_timeout(void **state)
{
	const struct iopf_inv inv[] = { { .addr = VA, .size = PAGE }, { .addr = VA + 8 * PAGE,
		.size = PAGE } };
	struct iopf_inv_result result;
	struct smmuv3_model_dma *dma[4];
	void *dev[4], *domain;
	struct pmd p;

	(void)state;
	for (unsigned int bad = 1; bad < 16; bad++) {
		unsigned int nb_bad = __builtin_popcount(bad);

		ats_open(&p, NULL);
		domain = ats_add_domain(&p);
		ats_map(&p, VA);
		for (unsigned int i = 0; i < 4; i++) {
			dev[i] = ats_add_dev(&p, SID + i, 0);
			ats_attach(&p, dev[i], IOPF_NO_PASID, domain);
			dma[i] = ats_add_engine(&p, SID + i, IOPF_NO_PASID, false);
			assert_true(ats_can_reach(&p, dma[i], VA));
			if (bad & 1 << i)
				smmuv3_model_dma_quirks(dma[i], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		}
		ats_unmap(&p, VA);
		result.done = 77;
		assert_int_equal(p.ops->invalidate(p.s, domain, inv, 2, &result), -EIO);
		assert_int_equal(result.done, 0);
		assert_int_equal(result.failed, 0);
		assert_int_equal(result.error, IOPF_INV_ATC);
		assert_int_equal(result.sid, SID + __builtin_ctz(bad));
		assert_int_equal(pmd_read_stat(&p, "cerror_atc"), 1 + nb_bad);
		assert_int_equal(pmd_read_stat(&p, "atc_cuts"), nb_bad);
		/* The SMMU has been told: nothing is left in the queue. */
		assert_int_equal(smmuv3_cmdq_load_cons(&p.s->cmdq),
				atomic_load(&p.s->cmdq.prod));
		assert_false(smmuv3_backlog_has_cmd(&p.s->cmdq.backlog));
		assert_int_equal(p.ops->invalidate(p.s, domain, inv, 2, &result), 0);
		assert_int_equal(pmd_read_stat(&p, "cerror_atc"), 1 + nb_bad);
		for (unsigned int i = 0; i < 4; i++)
			assert_false(ats_can_reach(&p, dma[i], VA));
		/* ATCs that answer stay in use. */
		ats_map(&p, VA + PAGE);
		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(ats_can_reach(&p, dma[i], VA + PAGE), !(bad & 1 << i));
		for (unsigned int i = 0; i < 4; i++) {
			ats_detach(&p, dev[i], IOPF_NO_PASID);
			smmuv3_model_dma_destroy(dma[i]);
			p.ops->dev_del(p.s, dev[i]);
		}
		p.ops->domain_del(p.s, domain);
		ats_close(&p);
	}
}

static void
test_a_pasid_of_a_dead_atc_can_be_detached(void **state)
{
	struct smmuv3_model_dma *dma[2];
	void *dev, *domain;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 4);
	domain = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_attach(&p, dev, 1, domain);
	ats_attach(&p, dev, 2, domain);
	dma[0] = ats_add_engine(&p, SID, 1, false);
	dma[1] = ats_add_engine(&p, SID, 2, false);
	assert_true(ats_can_reach(&p, dma[0], VA));
	assert_true(ats_can_reach(&p, dma[1], VA));
	smmuv3_model_dma_quirks(dma[0], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	/* No access of the endpoint succeeds, by this PASID or another. */
	ats_detach(&p, dev, 1);
	assert_false(ats_can_reach(&p, dma[0], VA));
	assert_false(ats_can_reach(&p, dma[1], VA));
	ats_invalidate_page(&p, domain, VA);
	ats_detach(&p, dev, 2);
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
	smmuv3_model_dma_destroy(dma[0]);
	smmuv3_model_dma_destroy(dma[1]);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	ats_close(&p);
}

/* No caller waits for these answers: the next read of GERROR finds the error. */
static void
test_a_dead_atc_does_not_hold_up_answers_for_good(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = PAGE };
	struct smmuv3_model_dma *dma;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		struct smmuv3_model_conf conf = ats_conf;

		/* All commands are in the queue, or most are in the backlog. */
		conf.cmdq_log2 = k == 0 ? 10 : 3;
		ats_open(&p, &conf);
		dev = ats_add_dev(&p, SID, 0);
		domain = ats_add_domain(&p);
		ats_map(&p, VA);
		ats_attach(&p, dev, IOPF_NO_PASID, domain);
		dma = ats_add_engine(&p, SID, IOPF_NO_PASID, false);
		assert_true(ats_can_reach(&p, dma, VA));
		smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
		for (unsigned int i = 0; i < 50; i++)
			p.ops->answer_after(p.s, domain, &inv, 1, NULL, 0);
		assert_int_equal(pmd_read_stat(&p, "backlog_pushes") > 0, k);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
		ats_finish_recovery(&p);
		/* ATC_INVs behind the failed one were rewritten. */
		assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
		assert_int_equal(pmd_read_stat(&p, "atc_cuts"), 1);
		assert_false(ats_can_reach(&p, dma, VA));
		ats_invalidate_page(&p, domain, VA);
		smmuv3_model_dma_destroy(dma);
		ats_detach(&p, dev, IOPF_NO_PASID);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		ats_close(&p);
	}
}

/*
 * A post that does not fit leaves its CMD_SYNC in the backlog. The CMD_SYNC of a caller that waits
 * for another ATC is not the one that fails for it, and the dead ATC is named.
 */
static void
test_a_dead_atc_fails_no_other_caller(void **state)
{
	struct smmuv3_model_dma *dead, *alive;
	void *dev[2], *domain[2];
	struct smmuv3_cmd cmd[2];
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		dev[i] = ats_add_dev(&p, SID + i, 0);
		domain[i] = ats_add_domain(&p);
		ats_map(&p, VA);
		ats_attach(&p, dev[i], IOPF_NO_PASID, domain[i]);
		cmd[i] = smmuv3_cmd_atc_inv(SID + i, false, 0, false, 0, SMMUV3_ATC_SIZE_ALL);
	}
	dead = ats_add_engine(&p, SID, IOPF_NO_PASID, false);
	alive = ats_add_engine(&p, SID + 1, IOPF_NO_PASID, false);
	assert_true(ats_can_reach(&p, dead, VA));
	assert_true(ats_can_reach(&p, alive, VA));
	smmuv3_model_dma_quirks(dead, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	smmuv3_cmdq_post(&p.s->cmdq, &cmd[0], 1);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &cmd[1], 1, NULL), 0);
	assert_int_equal(pmd_read_stat(&p, "cerror_atc"), 1);
	assert_int_equal(pmd_read_stat(&p, "atc_cuts"), 1);
	assert_false(ats_can_reach(&p, dead, VA));
	assert_true(ats_can_reach(&p, alive, VA));
	for (unsigned int i = 0; i < 2; i++) {
		ats_detach(&p, dev[i], IOPF_NO_PASID);
		p.ops->domain_del(p.s, domain[i]);
		p.ops->dev_del(p.s, dev[i]);
	}
	smmuv3_model_dma_destroy(dead);
	smmuv3_model_dma_destroy(alive);
	ats_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_atc_that_does_not_answer_is_cut_off),
	cmocka_unit_test(test_each_dead_atc_among_several_costs_one_timeout),
	cmocka_unit_test(test_a_pasid_of_a_dead_atc_can_be_detached),
	cmocka_unit_test(test_a_dead_atc_does_not_hold_up_answers_for_good),
	cmocka_unit_test(test_a_dead_atc_fails_no_other_caller),
};

TEST_SUITE(pmd_atc_dead, tests, NULL, NULL);
