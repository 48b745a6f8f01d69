/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Stall records that are lost: EVENTQ_ABT_ERR and the end of all stalls. */

#include <string.h>

#include "fake_evtq.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* Stall records may be lost: the recovery ends every stall, and no stall of later accesses. */
static void
test_after_an_aborted_record_all_stalls_are_ended(void **state)
{
	struct iopf_event events[16];
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i, k, n, told;
	struct pmd p;

	(void)state;
	for (k = 0; k < 4; k++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.ack_delay = k & 2 ? 5 : 0,
			.stall_max = 16 });
		pmd_start(&p, IOPF_STALL);
		/* Two stalls read and not answered, three not read, one record lost. */
		for (i = 0; i < 2; i++)
			pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		for (i = 0; i < 2; i++)
			pmd_wait_event(&p, &events[i]);
		for (i = 2; i < 5; i++)
			pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		pmd_step(&p);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
		pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		pmd_step(&p);
		told = 0;
		for (i = 0; i < 100 && told == 0; i++) {
			told = p.ops->check(p.s);
			smmuv3_model_step(p.m, 1);
		}
		assert_int_equal(told, IOPF_CHECK_TERMINATED);
		assert_int_equal(pmd_read_stat(&p, "evtq_aborts"), 1);
		for (i = 0; i < 6; i++)
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		/* The driver drops a late answer to one of them. */
		pmd_answer(&p, &events[0], IOPF_SUCCESS);
		assert_int_equal(pmd_read_stat(&p, "answers_dropped"), 1);
		/* The records left in the queue are no stalls any more. */
		memset(events, 0xa5, sizeof(events));
		n = p.ops->poll(p.s, 0, events, 16);
		assert_int_equal(n, 3);
		for (i = 0; i < n; i++) {
			assert_int_equal(events[i].flags, 0);
			assert_int_equal(events[i].stage, 1);
			assert_int_equal(events[i].event_class, IOPF_CLASS_IN);
			assert_int_equal(events[i].fetch_addr, 0);
			assert_int_equal(events[i].record_flags, 0);
		}
		assert_int_equal(pmd_read_stat(&p, "stale_stalls"), 3);
		for (i = 0; i < 20; i++) {
			assert_int_equal(p.ops->check(p.s), 0);
			smmuv3_model_step(p.m, 1);
		}
		/* New stalls are answered as usual. */
		for (i = 0; i < 16; i++)
			pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
		for (i = 0; i < 16; i++) {
			pmd_wait_event(&p, &event);
			assert_int_equal(event.flags, IOPF_EVENT_STALL);
			pmd_answer(&p, &event, IOPF_INVALID);
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		}
		pmd_serve_fault(&p, PMD_VA);
		assert_int_equal(pmd_read_stat(&p, "resets"), 1);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* Without stalls an aborted record is counted and told. SMMUEN stays 1. */
static void
test_an_aborted_record_of_an_smmu_without_stalls_is_counted(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = SMMUV3_STALL_MODEL_TERM });
	pmd_start(&p, IOPF_TERMINATE);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		assert_true(smmuv3_read32(p.s->regs, SMMUV3_CR0) & SMMUV3_CR0_SMMUEN);
		pmd_step(&p);
	}
	assert_int_equal(pmd_read_stat(&p, "evtq_aborts"), 1);
	assert_int_equal(pmd_read_stat(&p, "resets"), 0);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
	assert_int_equal(event.flags, IOPF_EVENT_LOST);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* PROD passes a record that was never written: it is told before the error is. */
static void
test_an_unwritten_record_of_an_smmu_without_stalls_is_told(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = SMMUV3_STALL_MODEL_TERM });
	pmd_start(&p, IOPF_TERMINATE);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	while (p.ops->poll(p.s, 0, &event, 1) == 0)
		smmuv3_model_step(p.m, 1);
	assert_int_equal(event.flags, IOPF_EVENT_BAD);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
	assert_int_equal(event.flags, IOPF_EVENT_LOST);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	for (unsigned int i = 0; i < 20; i++) {
		pmd_step(&p);
		assert_int_equal(p.ops->check(p.s), 0);
	}
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	/* EVENTQ_ABT_ERR is the second report of it. */
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
	assert_int_equal(event.flags, IOPF_EVENT_LOST);
	assert_int_equal(pmd_read_stat(&p, "resets"), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The SMMU consumes RESUMEs that were sent before the error before new stalls exist. */
static void
test_answers_under_way_are_waited_for_before_a_restart(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i, told = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 2, .stall_max = 16 });
	pmd_start(&p, IOPF_STALL);
	for (i = 0; i < 8; i++)
		pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
	pmd_step(&p);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA + i * 0x10000, buf, sizeof(buf));
	pmd_step(&p);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	/* Four fit into the CMDQ, four are in the backlog. */
	for (i = 0; i < 8; i++) {
		pmd_wait_event(&p, &event);
		pmd_answer(&p, &event, IOPF_INVALID);
	}
	for (i = 0; i < 50; i++) {
		told |= p.ops->check(p.s);
		smmuv3_model_step(p.m, 1);
	}
	assert_int_equal(told, 0);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN, 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	for (i = 0; i < 50; i++) {
		told |= p.ops->check(p.s);
		smmuv3_model_step(p.m, 1);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN,
			SMMUV3_CR0_SMMUEN);
	for (i = 0; i < 9; i++)
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The entry keeps the record of the round before, and the error comes late. */
static void
test_a_stall_whose_record_was_lost_is_not_taken_for_an_old_one(void **state)
{
	struct iopf_event e;
	uint8_t buf[4] = { 0 };
	unsigned int i, told = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 2 });
	pmd_start(&p, IOPF_STALL);
	for (i = 0; i < 4; i++)
		pmd_serve_fault(&p, PMD_VA + (i << 20));
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 1);
	pmd_write(&p, PMD_VA + (i << 20), buf, sizeof(buf));
	/* The record is read as soon as PROD shows it, before GERROR shows the error. */
	for (i = 0; i < 1000 && p.ops->poll(p.s, 0, &e, 1) == 0; i++)
		smmuv3_model_step(p.m, 1);
	assert_int_equal(e.flags, IOPF_EVENT_BAD);
	for (i = 0; i < 1000 && told == 0; i++) {
		pmd_step(&p);
		told = p.ops->check(p.s);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pmd_read_stat(&p, "unwritten_events"), 1);
	/* EVENTQ_ABT_ERR may end the stalls a second time. */
	for (i = 0; i < 1000; i++) {
		pmd_step(&p);
		assert_int_equal(p.ops->check(p.s) & ~IOPF_CHECK_TERMINATED, 0);
	}
	pmd_serve_fault(&p, PMD_VA + (8 << 20));
	pmd_finish(&p, IOPF_NO_PASID);
}

/*
 * The record of a stall that SMMUEN = 0 ended may become visible until a later CMD_SYNC is complete
 * [4.7.3].
 */
static void
test_a_record_that_comes_late_in_a_recovery_is_no_stall(void **state)
{
	struct iopf_event e;
	uint32_t prod;
	unsigned int i;
	struct pmd p;

	(void)state;
	fake_open(&p, 3);
	prod = smmuv3_read32(p.s->regs, SMMUV3_CMDQ_PROD);
	atomic_store(&p.s->recovery.wanted, true);
	assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0) & SMMUV3_CR0_SMMUEN, 0);
	smmuv3_write32(p.s->regs, SMMUV3_CR0ACK, smmuv3_read32(p.s->regs, SMMUV3_CR0));
	/* The SMMU does not consume the CMD_SYNC. */
	for (i = 0; i < 20; i++)
		assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CMDQ_PROD), prod + 1);
	*fake_get_slot(&p, 0) = (struct smmuv3_evt){ .dw = {
		0x10 | SID, UINT64_C(1) << 31, 0, 0 } };
	fake_write_prod(&p, 1);
	smmuv3_write32(p.s->regs, SMMUV3_CMDQ_CONS, prod + 1);
	assert_int_equal(p.ops->check(p.s), IOPF_CHECK_TERMINATED);
	assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 1);
	assert_int_equal(e.flags, 0);
	assert_int_equal(pmd_read_stat(&p, "stale_stalls"), 1);
	/* SMMUEN becomes 1 again. */
	for (i = 0; i < 20; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		smmuv3_write32(p.s->regs, SMMUV3_CR0ACK, smmuv3_read32(p.s->regs, SMMUV3_CR0));
	}
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
	e = fake_decode(&p, 0x10 | SID, UINT64_C(1) << 31, 0, 0);
	assert_int_equal(e.flags, IOPF_EVENT_STALL);
	fake_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_after_an_aborted_record_all_stalls_are_ended),
	cmocka_unit_test(test_an_aborted_record_of_an_smmu_without_stalls_is_counted),
	cmocka_unit_test(test_an_unwritten_record_of_an_smmu_without_stalls_is_told),
	cmocka_unit_test(test_answers_under_way_are_waited_for_before_a_restart),
	cmocka_unit_test(test_a_stall_whose_record_was_lost_is_not_taken_for_an_old_one),
	cmocka_unit_test(test_a_record_that_comes_late_in_a_recovery_is_no_stall),
};

TEST_SUITE(pmd_evtq_recovery, tests, NULL, NULL);
