/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Calls that leave the SMMU alone: check() during a control call or without an error, and poll()
 * while the backlog has no room. Where the test plays the SMMU, the model does not step.
 */

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cmdq_ring.h"
#include "ecmdq.h"
#include "log_lines.h"
#include "pmd_rig.h"
#include "test.h"

static unsigned int
check_some(struct pmd *p)
{
	unsigned int i, told = 0;

	for (i = 0; i < 100 && told == 0; i++) {
		told |= p->ops->check(p->s);
		pmd_step(p);
	}
	return told;
}

static void
test_check_does_nothing_during_a_control_call(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	assert_int_equal(smmuv3_ctl_lock(p.s), 0);
	atomic_store(&p.s->recovery.wanted, true);
	assert_int_equal(check_some(&p), 0);
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
	/* check() did not release the control call's ownership. */
	assert_false(smmuv3_ctl_trylock(p.s));
	smmuv3_ctl_unlock(p.s);
	assert_int_equal(check_some(&p), IOPF_CHECK_TERMINATED);
	while (p.s->recovery.step != SMMUV3_RECOVERY_NONE)
		check_some(&p);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The test plays the SMMU: it adds one entry to the EVTQ. */
static void
write_event(struct pmd *p, uint64_t dw0)
{
	uint32_t prod = smmuv3_read32(p->s->regs, SMMUV3_EVENTQ_PROD);
	unsigned int log2 = p->s->evtq.q.log2;
	struct smmuv3_evt *ring = p->s->evtq.q.mem.va;

	ring[smmuv3_q_slot(log2, prod)] = (struct smmuv3_evt){ .dw = { dw0, 0, 0, 0 } };
	smmuv3_store_prod(p->s->regs, SMMUV3_EVENTQ_PROD, smmuv3_q_add(log2, prod, 1));
	atomic_store(&p->s->words->evtq.v, 1);
}

static void
write_request(struct pmd *p)
{
	uint32_t prod = smmuv3_read32(p->s->regs, SMMUV3_PRIQ_PROD);
	unsigned int log2 = p->s->priq.q.log2;
	struct smmuv3_ppr *ring = p->s->priq.q.mem.va;

	ring[smmuv3_q_slot(log2, prod)] = (struct smmuv3_ppr){ .dw = {
			SMMUV3_PPR0_LAST | SMMUV3_PPR0_R | 5, (PMD_VA & ~UINT64_C(0xfff)) | 1 } };
	smmuv3_store_prod(p->s->regs, SMMUV3_PRIQ_PROD, smmuv3_q_add(log2, prod, 1));
	atomic_store(&p->s->words->priq.v, 1);
}

/* A record that was not written may have been a stall. A record of an unknown type was none. */
static void
test_a_record_of_unknown_type_ends_no_stalls(void **state)
{
	struct iopf_event event;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	write_event(&p, 0x7f);
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 1);
	assert_int_equal(event.flags, IOPF_EVENT_BAD);
	assert_int_equal(event.raw_id, 0x7f);
	assert_int_equal(pmd_read_stat(&p, "unwritten_events"), 0);
	assert_int_equal(check_some(&p), 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	p.untidy = true;
	pmd_close(&p);
}

/* The CMDQ is full too: the driver moves commands there from the backlog. */
static void
fill_backlog(struct pmd *p)
{
	const struct smmuv3_cmd sync = smmuv3_cmd_sync();

	while (smmuv3_cmdq_count_free(&p->s->cmdq, 1) > 0) {
		smmuv3_backlog_push(&p->s->cmdq.backlog, &sync, 1);
		smmuv3_cmdq_try_flush(&p->s->cmdq);
	}
	while (smmuv3_backlog_push(&p->s->cmdq.backlog, &sync, 1))
		;
}

/* An answer without room would be lost: records stay in the queue until there is room. */
static void
test_records_wait_while_the_backlog_is_full(void **state)
{
	struct iopf_event event;
	struct smmuv3_cmd cmd;
	unsigned int i;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 3, .stall_max = 16,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	assert_int_equal(p.ops->start(p.s), 0);
	write_event(&p, 0x7f);
	write_request(&p);
	fill_backlog(&p);
	for (i = 0; i < 4; i++) {
		assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 0);
		assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_REQUESTS, &event, 1), 0);
	}
	/* This thread owns the queue. A step of the model would write PROD anew. */
	while (smmuv3_backlog_pop(&p.s->cmdq.backlog, &cmd))
		;
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 1);
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_REQUESTS, &event, 1), 1);
	assert_int_equal(p.ops->stop(p.s), 0);
	p.untidy = true;
	pmd_close(&p);
}

/* Held PRI_RESPs that find no room are released by a later check. */
static void
test_a_recovery_lasts_until_all_held_answers_are_sent(void **state)
{
	struct smmuv3_cmd cmd;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 3, .stall_max = 16,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	assert_int_equal(p.ops->start(p.s), 0);
	fill_backlog(&p);
	p.s->cmdq.divert = SMMUV3_DIVERT_PRI_RESP;
	p.s->cmdq.held[0] = smmuv3_cmd_sync();
	p.s->cmdq.nb_held = 1;
	p.s->recovery.step = SMMUV3_RECOVERY_SENDING;
	assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_SENDING);
	assert_int_equal(p.s->cmdq.nb_held, 1);
	while (smmuv3_backlog_pop(&p.s->cmdq.backlog, &cmd))
		;
	assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
	assert_int_equal(p.s->cmdq.nb_held, 0);
	assert_int_equal(p.s->cmdq.divert, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	p.untidy = true;
	pmd_close(&p);
}

/* The SMMU cannot have such an error. What it writes is not trusted. */
static void
test_an_atc_error_of_an_smmu_without_ats_is_survived(void **state)
{
	uint32_t cons;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_false(p.s->pri);
	cons = smmuv3_read32(p.s->regs, SMMUV3_CMDQ_CONS);
	smmuv3_write32(p.s->regs, SMMUV3_CMDQ_CONS,
			cons | SMMUV3_PUT(SMMUV3_CMDQ_CONS_ERR, SMMUV3_CERROR_ATC_INV_SYNC));
	smmuv3_write32(p.s->regs, SMMUV3_GERROR,
			smmuv3_read32(p.s->regs, SMMUV3_GERROR) ^ SMMUV3_GERROR_CMDQ_ERR);
	atomic_store(&p.s->words->gerror.v, 1);
	assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(pmd_read_stat(&p, "cerror_atc"), 1);
	smmuv3_write32(p.s->regs, SMMUV3_CMDQ_CONS, cons);
	p.untidy = true;
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

/* For example an SMMU without power, behind a bus that answers so. */
static void
test_registers_of_all_ones_are_named(void **state)
{
	uint32_t gerror;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	gerror = smmuv3_read32(p.s->regs, SMMUV3_GERROR);
	smmuv3_write32(p.s->regs, SMMUV3_GERROR, UINT32_MAX);
	atomic_store(&p.s->words->gerror.v, 1);
	SAYS("registers read as all ones",
		assert_true(p.ops->check(p.s) & IOPF_CHECK_DEAD));
	smmuv3_write32(p.s->regs, SMMUV3_GERROR, gerror);
	p.untidy = true;
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

/* The answer waits for the owner of the queue, not for room. */
static void
test_a_queue_with_room_does_not_count_as_full(void **state)
{
	struct iopf_event event;
	struct smmuv3_cmdq *q;
	uint8_t byte = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, &byte, 1);
	pmd_wait_event(&p, &event);
	q = smmuv3_thread_cmdq(p.s);
	assert_true(smmuv3_cmdq_try_own(q));
	pmd_answer(&p, &event, IOPF_INVALID);
	assert_true(smmuv3_backlog_has_cmd(&q->backlog));
	smmuv3_cmdq_disown(q);
	assert_false(smmuv3_backlog_has_cmd(&q->backlog));
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pmd_read_stat(&p, "backlog_pushes"), 1);
	assert_int_equal(pmd_read_stat(&p, "cmdq_full"), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_no_sleep_on_a_closed_fd(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct pmd p;

	(void)state;
	backend_rig_skip_page("a page file has no wired interrupt");
	close(fd);
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_int_equal(p.ops->idle(p.s, fd), -EBADF);
	assert_int_equal(p.ops->idle(p.s, -1), 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_check_does_nothing_during_a_control_call),
	cmocka_unit_test(test_a_record_of_unknown_type_ends_no_stalls),
	cmocka_unit_test(test_a_recovery_lasts_until_all_held_answers_are_sent),
	cmocka_unit_test(test_an_atc_error_of_an_smmu_without_ats_is_survived),
	cmocka_unit_test(test_registers_of_all_ones_are_named),
	cmocka_unit_test(test_a_queue_with_room_does_not_count_as_full),
	cmocka_unit_test(test_no_sleep_on_a_closed_fd),
	cmocka_unit_test(test_records_wait_while_the_backlog_is_full),
};
TEST_SUITE(pmd_check, tests, NULL, NULL);
