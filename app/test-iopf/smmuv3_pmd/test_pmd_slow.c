/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A command queue that stops: behind a slow endpoint, or for good. */

#include <errno.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "iopf_handler.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"
#include "wait.h"

static const struct smmuv3_cmd sync_cmd = { .dw = { SMMUV3_OP_SYNC } };

static void
open_smmu(struct pmd *p)
{
	pmd_open(p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	pmd_start(p, IOPF_STALL);
	p->s->timeout /= 20;
}

/* CONS stays at the CMD_SYNC behind an ATC_INV. */
static void
stop_cmdq_behind_endpoint(struct pmd *p)
{
	const struct smmuv3_cmd inv = smmuv3_cmd_atc_inv(PMD_SID, false, 0, false, 0,
			SMMUV3_ATC_SIZE_ALL);

	smmuv3_cmdq_post(&p->s->cmdq, &inv, 1);
	pmd_step(p);
	smmuv3_model_knob(p->m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	smmuv3_cmdq_post(&p->s->cmdq, &sync_cmd, 1);
	pmd_step(p);
	assert_int_equal(smmuv3_cmdq_load_cons(&p->s->cmdq), p->s->cmdq.tail - 1);
}

/* Call check() for @p times the length of a wait, and at least 100 times. */
static unsigned int
check_repeatedly(struct pmd *p, unsigned int times)
{
	uint64_t end = rte_get_tsc_cycles() + times * p->s->timeout;
	unsigned int told = 0, i;

	for (i = 0; i < 100 || rte_get_tsc_cycles() < end; i++) {
		told |= p->ops->check(p->s);
		smmuv3_model_step(p->m, 1);
	}
	return told;
}

static unsigned int
wait_for_report(struct pmd *p)
{
	uint64_t end = rte_get_tsc_cycles() + 60 * rte_get_tsc_hz();
	unsigned int told = 0;

	while (told == 0 && rte_get_tsc_cycles() < end) {
		told = p->ops->check(p->s);
		smmuv3_model_step(p->m, 1);
	}
	return told;
}

static void
test_a_slow_endpoint_does_not_make_the_smmu_dead(void **state)
{
	struct pmd p;

	(void)state;
	open_smmu(&p);
	stop_cmdq_behind_endpoint(&p);
	for (unsigned int i = 0; i < 3; i++) {
		/* Waiting callers get an error and can try again. */
		assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), -ETIMEDOUT);
		assert_int_equal(check_repeatedly(&p, 2), 0);
	}
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_recovery_waits_for_a_slow_endpoint(void **state)
{
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	open_smmu(&p);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_step(&p);
	stop_cmdq_behind_endpoint(&p);
	assert_int_equal(check_repeatedly(&p, 4), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	/* Each step has its own time limit. That of the first step has passed long ago. */
	assert_int_equal(wait_for_report(&p), IOPF_CHECK_TERMINATED);
	assert_int_equal(check_repeatedly(&p, 1), 0);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The last steps of a recovery wait for the queue too. */
static void
test_the_end_of_a_recovery_waits_for_a_slow_endpoint(void **state)
{
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	open_smmu(&p);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	assert_int_equal(wait_for_report(&p), IOPF_CHECK_TERMINATED);
	stop_cmdq_behind_endpoint(&p);
	assert_int_equal(check_repeatedly(&p, 4), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	for (unsigned int i = 0; i < 1000 && p.s->recovery.step != SMMUV3_RECOVERY_NONE; i++) {
		pmd_step(&p);
		assert_int_equal(p.ops->check(p.s), 0);
	}
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_stuck_queue_without_an_endpoint_is_given_up(void **state)
{
	const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nh_asid(0, 1);
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	for (unsigned int recovers = 0; recovers < 2; recovers++) {
		open_smmu(&p);
		if (recovers)
			smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
		smmuv3_cmdq_post(&p.s->cmdq, &tlbi, 1);
		assert_int_equal(wait_for_report(&p), IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
		assert_int_equal(p.ops->stop(p.s), 0);
		assert_int_equal(p.ops->start(p.s), 0);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		pmd_serve_fault(&p, PMD_VA);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* The queue moves, slowly. */
static void
test_a_queue_that_moves_is_not_given_up(void **state)
{
	struct smmuv3_cmd tlbi[8];
	struct pmd p;

	(void)state;
	open_smmu(&p);
	/* Other processes may hold up this thread for three quarters of the time limit. */
	p.s->timeout *= 8;
	for (unsigned int i = 0; i < RTE_DIM(tlbi); i++)
		tlbi[i] = smmuv3_cmd_tlbi_nh_asid(0, 1);
	smmuv3_cmdq_post(&p.s->cmdq, tlbi, RTE_DIM(tlbi));
	for (unsigned int i = 0; i < RTE_DIM(tlbi); i++) {
		uint64_t end = rte_get_tsc_cycles() + p.s->timeout / 4;

		while (rte_get_tsc_cycles() < end)
			assert_int_equal(p.ops->check(p.s), 0);
		smmuv3_model_step(p.m, 1);
	}
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The model's ATC takes eight times the length of a wait. Meanwhile a stall is lost. */
static void
test_a_slow_atc_delays_its_own_callers_alone(void **state)
{
	const uint32_t sid = PMD_SID + 1;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .recover = IOPF_PRI };
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 1u << 12 };
	struct smmuv3_model_dma *plain, *ats;
	uint8_t buf[4] = { 0 };
	struct iopf_inv_result result;
	unsigned int told, i;
	struct pmd p;
	void *dev;
	int ret;

	(void)state;
	for (unsigned int loses = 0; loses < 2; loses++) {
		open_smmu(&p);
		plain = p.dma;
		assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), 0);
		assert_int_equal(rig_attach(p.ops, p.s, dev, IOPF_NO_PASID, p.domain), 0);
		ats = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
			.sid = sid, .kind = SMMUV3_MODEL_DMA_ATS });
		assert_int_equal(smmuv3_model_dma_ats_enable(ats, 12), 0);
		pmd_map(&p, PMD_VA, pmd_alloc(&p, 1 << 12, 1 << 12));
		p.dma = ats;
		pmd_write(&p, PMD_VA, buf, 1);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
		smmuv3_model_dma_atc_delay(ats, 8 * p.s->timeout * 1000 / rte_get_tsc_hz());
		*pmd_get_pte(&p, PMD_VA) = 0;
		/* 0 if this thread did not run for that time. */
		ret = p.ops->invalidate(p.s, p.domain, &inv, 1, &result);
		assert_true(ret == -ETIMEDOUT || ret == 0);
		smmuv3_model_dma_atc_delay(ats, 0);
		p.dma = plain;
		told = 0;
		if (loses) {
			smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
			pmd_write(&p, PMD_VA, buf, 1);
			pmd_step(&p);
		}
		for (i = 0; i < 1000; i++) {
			told |= p.ops->check(p.s);
			ret = p.ops->invalidate(p.s, p.domain, &inv, 1, &result);
			if (ret != -ETIMEDOUT)
				break;
		}
		assert_int_equal(ret, 0);
		if (loses) {
			/* Not if check() reported it while the ATC was slow. */
			if (told == 0)
				told = wait_for_report(&p);
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		}
		assert_int_equal(told, loses ? IOPF_CHECK_TERMINATED : 0);
		for (i = 0; i < 1000 && p.s->recovery.step != SMMUV3_RECOVERY_NONE; i++) {
			pmd_step(&p);
			assert_int_equal(p.ops->check(p.s), 0);
		}
		assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
		assert_int_equal(pmd_read_stat(&p, "atc_cuts"), 0);
		pmd_serve_fault(&p, PMD_VA);
		assert_int_equal(smmuv3_model_dma_ats_disable(ats), 0);
		smmuv3_model_dma_destroy(ats);
		assert_int_equal(rig_detach(p.ops, p.s, dev, IOPF_NO_PASID), 0);
		assert_int_equal(p.ops->dev_del(p.s, dev), 0);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* Time in which the waiting thread does not run is no time that the SMMU had. */
static void
test_a_wait_does_not_end_by_one_long_pause(void **state)
{
	struct smmuv3_wait w;
	unsigned int n = 1;
	struct pmd p;

	(void)state;
	open_smmu(&p);
	smmuv3_wait_begin(p.s, &w);
	for (;; n++) {
		usleep(2 * p.s->timeout * 1000000 / rte_get_tsc_hz());
		if (!smmuv3_wait(p.s, &w))
			break;
	}
	/* Each call after a pause counts the same. */
	assert_int_equal(n, SMMUV3_WAIT_STEPS);
	/* Without pauses it ends too. */
	smmuv3_wait_begin(p.s, &w);
	while (smmuv3_wait(p.s, &w))
		;
	p.s->timeout *= 20;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The same for the acknowledgement that a recovery waits for, from one check() to the next. */
static void
test_a_recovery_does_not_end_by_one_long_pause(void **state)
{
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	for (unsigned int acks = 0; acks < 2; acks++) {
		open_smmu(&p);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
		for (unsigned int i = 0; i < 100 &&
				p.s->recovery.step != SMMUV3_RECOVERY_STOPPING; i++)
			assert_int_equal(p.ops->check(p.s), 0);
		assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_STOPPING);
		usleep(2 * p.s->timeout * 1000000 / rte_get_tsc_hz());
		assert_int_equal(p.ops->check(p.s), 0);
		if (acks) {
			smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
			assert_int_equal(wait_for_report(&p), IOPF_CHECK_TERMINATED);
		} else {
			/* Without an acknowledgement the SMMU is given up. */
			assert_int_equal(wait_for_report(&p), IOPF_CHECK_DEAD |
					IOPF_CHECK_TERMINATED);
			smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
			pmd_step(&p);
			assert_int_equal(p.ops->stop(p.s), 0);
			assert_int_equal(p.ops->start(p.s), 0);
		}
		for (unsigned int i = 0; i < 1000 &&
				p.s->recovery.step != SMMUV3_RECOVERY_NONE; i++) {
			pmd_step(&p);
			assert_int_equal(p.ops->check(p.s), 0);
		}
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		p.s->timeout *= 20;
		pmd_serve_fault(&p, PMD_VA);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_slow_endpoint_does_not_make_the_smmu_dead),
	cmocka_unit_test(test_a_recovery_waits_for_a_slow_endpoint),
	cmocka_unit_test(test_the_end_of_a_recovery_waits_for_a_slow_endpoint),
	cmocka_unit_test(test_a_stuck_queue_without_an_endpoint_is_given_up),
	cmocka_unit_test(test_a_queue_that_moves_is_not_given_up),
	cmocka_unit_test(test_a_slow_atc_delays_its_own_callers_alone),
	cmocka_unit_test(test_a_wait_does_not_end_by_one_long_pause),
	cmocka_unit_test(test_a_recovery_does_not_end_by_one_long_pause),
};

TEST_SUITE(pmd_slow, tests, NULL, NULL);
