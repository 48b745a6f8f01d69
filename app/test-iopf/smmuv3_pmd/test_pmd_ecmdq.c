/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ECMDQs: a command queue for each thread, and the order between queues. */

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "bringup.h"
#include "cmdq.h"
#include "cmdq_ring.h"
#include "ecmdq.h"
#include "pmd_rig.h"
#include "test.h"

#define ENACK	((uint32_t)SMMUV3_ECMDQ_CONS_ENACK)

static const struct smmuv3_model_conf with_ecmdqs = { .features = SMMUV3_MODEL_ECMDQ };

static uint64_t
count_ecmdq_cmds(const struct pmd *p)
{
	return smmuv3_model_stat(p->m, SMMUV3_MODEL_STAT_ECMDQ_COMMANDS);
}

static uint64_t
count_cmdq_cmds(const struct pmd *p)
{
	return atomic_load(&p->s->cmdq.commands);
}

static uint32_t
read_ecmdq_cons(const struct pmd *p, unsigned int i)
{
	return smmuv3_read32(p->s->regs, p->s->ecmdq_regs.first + i * p->s->ecmdq_regs.stride +
			SMMUV3_ECMDQ_CONS);
}

/* Waits of the driver end soon. */
static void
shorten_waits(struct pmd *p)
{
	p->s->timeout = rte_get_tsc_hz() / 50;
}

static void *
find_queue(void *arg)
{
	return smmuv3_thread_cmdq(arg);
}

static void *
find_queue_of_other_thread(struct smmuv3 *s)
{
	pthread_t thread;
	void *q;

	assert_int_equal(pthread_create(&thread, NULL, find_queue, s), 0);
	pthread_join(thread, &q);
	return q;
}

static void
test_ecmdqs_are_used_where_the_smmu_has_them(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.s->nb_ecmdqs, 0);
	assert_ptr_equal(smmuv3_thread_cmdq(p.s), &p.s->cmdq);
	pmd_close(&p);
	for (unsigned int log2 = 0; log2 <= 6; log2++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ,
			.ecmdq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2,
			.ecmdq_pages_log2 = log2 % 3 });
		assert_int_equal(p.s->ecmdq_regs.nb, 1u << (log2 + log2 % 3));
		assert_int_equal(p.s->nb_ecmdqs, RTE_MIN(1u << (log2 + log2 % 3), 16u));
		pmd_start(&p, IOPF_STALL);
		for (unsigned int i = 0; i < p.s->ecmdq_regs.nb; i++)
			assert_int_equal(read_ecmdq_cons(&p, i) & ENACK,
					i < p.s->nb_ecmdqs ? ENACK : 0);
		pmd_serve_fault(&p, PMD_VA);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_a_thread_has_a_queue_of_its_own(void **state)
{
	struct smmuv3_cmdq *mine;
	struct pmd p;

	(void)state;
	pmd_open(&p, &with_ecmdqs);
	mine = smmuv3_thread_cmdq(p.s);
	assert_ptr_not_equal(mine, &p.s->cmdq);
	assert_ptr_equal(smmuv3_thread_cmdq(p.s), mine);
	assert_ptr_not_equal(find_queue_of_other_thread(p.s), mine);
	/* More threads than queues share them. */
	for (unsigned int i = 0; i < 20; i++)
		assert_non_null(find_queue_of_other_thread(p.s));
	pmd_close(&p);
}

static void
test_answers_and_invalidations_are_in_the_threads_queue(void **state)
{
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 4096, .leaf_log2 = 12 };
	struct iopf_answer answer = { .sid = PMD_SID, .token = 1 };
	uint64_t main_cmds, cmds;
	struct iopf_inv_result result;
	struct pmd p;

	(void)state;
	pmd_open(&p, &with_ecmdqs);
	pmd_start(&p, IOPF_STALL);
	main_cmds = count_cmdq_cmds(&p);
	cmds = count_ecmdq_cmds(&p);
	pmd_serve_fault(&p, PMD_VA);
	assert_int_equal(count_ecmdq_cmds(&p), cmds + 1);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), 0);
	assert_int_equal(count_ecmdq_cmds(&p), cmds + 3);
	/* TLBI, CMD_SYNC, RESUME: one batch of one queue */
	p.ops->answer_after(p.s, p.domain, &inv, 1, &answer, 1);
	pmd_step(&p);
	assert_int_equal(count_ecmdq_cmds(&p), cmds + 6);
	assert_int_equal(count_cmdq_cmds(&p), main_cmds);
	/* The counters are sums. */
	assert_int_equal(pmd_read_stat(&p, "commands"), count_ecmdq_cmds(&p) + main_cmds);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_an_error_is_repaired_in_its_own_queue(void **state)
{
	struct smmuv3_cmd cmds[5];
	struct iopf_inv_result result;
	unsigned int k;
	struct pmd p;

	(void)state;
	pmd_open(&p, &with_ecmdqs);
	pmd_start(&p, IOPF_STALL);
	for (unsigned int round = 0; round < 40; round++) {
		struct smmuv3_cmdq *q = &p.s->ecmdqs[round % 7].q;

		for (k = 0; k < RTE_DIM(cmds); k++)
			cmds[k] = k == round % 5 ? pmd_illegal : pmd_make_tlbi(k);
		/* Two more queues stop, and no thread waits for their commands. */
		smmuv3_cmdq_post(&p.s->ecmdqs[7].q, &pmd_illegal, 1);
		smmuv3_cmdq_post(&p.s->ecmdqs[8].q, &pmd_illegal, 1);
		assert_int_equal(smmuv3_cmdq_sync(q, cmds, RTE_DIM(cmds), &result), -EIO);
		assert_int_equal(result.failed, round % 5);
		cmds[round % 5] = pmd_make_tlbi(0);
		assert_int_equal(smmuv3_cmdq_sync(q, cmds, RTE_DIM(cmds), NULL), 0);
		for (k = 0; k < 16; k++)
			assert_int_equal(smmuv3_cmdq_sync(&p.s->ecmdqs[k].q, NULL, 0, NULL), 0);
	}
	assert_int_equal(pmd_read_stat(&p, "cerror_ill"), 3 * 40);
	assert_int_equal(atomic_load(&p.s->cmdq.cerror_ill), 0);
	assert_int_equal(atomic_load(&p.s->ecmdqs[7].q.cerror_ill), 40);
	/* Fetches that abort are repeated. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 3);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->ecmdqs[2].q, NULL, 0, NULL), 0);
	assert_int_equal(atomic_load(&p.s->ecmdqs[2].q.cerror_abt), 3);
	pmd_serve_fault(&p, PMD_VA);
	assert_int_equal(p.ops->check(p.s), 0);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* No thread waits: the check finds the error. */
static void
test_the_check_repairs_a_queue(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, &with_ecmdqs);
	pmd_start(&p, IOPF_STALL);
	for (unsigned int owned = 0; owned < 2; owned++) {
		struct smmuv3_cmdq *q = &p.s->ecmdqs[3].q;

		smmuv3_cmdq_post(q, &pmd_illegal, 1);
		pmd_step(&p);
		/* Another thread owns the queue at the first check. */
		if (owned)
			assert_true(smmuv3_cmdq_try_own(q));
		assert_int_equal(p.ops->check(p.s), 0);
		if (owned) {
			assert_int_equal(atomic_load(&q->cerror_ill), 1);
			smmuv3_cmdq_disown(q);
			assert_int_equal(p.ops->check(p.s), 0);
		}
		pmd_step(&p);
		assert_int_equal(atomic_load(&q->cerror_ill), owned + 1);
		assert_int_equal(smmuv3_cmdq_load_cons(q), q->tail);
	}
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_stuck_ecmdq_is_given_up(void **state)
{
	unsigned int told = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &with_ecmdqs);
	pmd_start(&p, IOPF_STALL);
	shorten_waits(&p);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	smmuv3_cmdq_post(&p.s->ecmdqs[9].q, &(struct smmuv3_cmd){ .dw = { 0x30 } }, 1);
	for (unsigned int i = 0; i < 1000000 && told == 0; i++)
		told = p.ops->check(p.s);
	assert_int_equal(told, IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	pmd_step(&p);
	pmd_finish(&p, IOPF_NO_PASID);
}

/*
 * A RESUME that STALL_TERM has overtaken names a STAG that is free. It must be consumed before
 * accesses of the StreamID can stall again.
 */
static void
test_an_unblock_waits_for_answers_in_every_queue(void **state)
{
	const struct smmuv3_cmd old = smmuv3_cmd_resume(PMD_SID, 0, false, true);
	struct smmuv3_cmdq *q;
	struct pmd p;

	(void)state;
	pmd_open(&p, &with_ecmdqs);
	pmd_start(&p, IOPF_STALL);
	q = &p.s->ecmdqs[11].q;
	assert_int_equal(p.ops->dev_block(p.s, p.dev, true), 0);
	/* Another thread owns the queue, so that the answer stays in the backlog. */
	assert_true(smmuv3_cmdq_try_own(q));
	smmuv3_cmdq_post(q, &old, 1);
	assert_true(smmuv3_backlog_has_cmd(&q->backlog));
	shorten_waits(&p);
	assert_int_equal(p.ops->dev_block(p.s, p.dev, false), -ETIMEDOUT);
	smmuv3_cmdq_disown(q);
	assert_int_equal(p.ops->dev_block(p.s, p.dev, false), 0);
	assert_int_equal(smmuv3_cmdq_load_cons(q), q->tail);
	pmd_serve_fault(&p, PMD_VA);
	/* The model reports a RESUME without a stall. */
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* Each step of a recovery is for all queues. */
static void
test_a_recovery_waits_for_every_queue(void **state)
{
	const struct smmuv3_cmd old = smmuv3_cmd_resume(PMD_SID, 0, false, true);
	struct smmuv3_cmdq *q[2];
	uint8_t buf[4] = { 0 };
	unsigned int told = 0, i;
	struct pmd p;

	(void)state;
	pmd_open(&p, &with_ecmdqs);
	pmd_start(&p, IOPF_STALL);
	q[0] = &p.s->ecmdqs[4].q;
	q[1] = &p.s->ecmdqs[5].q;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_step(&p);
	/* One queue is owned: the recovery does not begin. */
	assert_true(smmuv3_cmdq_try_own(q[0]));
	for (i = 0; i < 40; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		pmd_step(&p);
		assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
	}
	/* An answer before it goes into its queue, and the recovery waits for it. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	smmuv3_cmdq_put_cmd(q[0], &old);
	smmuv3_cmdq_disown(q[0]);
	/* GERROR is read in one of 16 checks. */
	for (i = 0; i < 40; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		pmd_step(&p);
	}
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_STOPPING);
	/* Later ones are dropped, in every queue. */
	smmuv3_cmdq_post(q[0], &old, 1);
	smmuv3_cmdq_post(q[1], &old, 1);
	smmuv3_cmdq_post(&p.s->cmdq, &old, 1);
	assert_int_equal(pmd_read_stat(&p, "answers_dropped"), 3);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	for (i = 0; i < 100 && told == 0; i++) {
		pmd_step(&p);
		told = p.ops->check(p.s);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	/* The last answers to old stalls are in a backlog: SMMUEN stays 0 until they are dropped. */
	assert_true(smmuv3_cmdq_try_own(q[1]));
	smmuv3_cmdq_post(q[1], &old, 1);
	for (i = 0; i < 5; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		pmd_step(&p);
		assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_STOPPED);
		assert_int_equal(p.s->cr0 & SMMUV3_CR0_SMMUEN, 0);
	}
	smmuv3_cmdq_disown(q[1]);
	for (i = 0; i < 20; i++) {
		pmd_step(&p);
		assert_int_equal(p.ops->check(p.s), 0);
	}
	assert_int_equal(pmd_read_stat(&p, "answers_dropped"), 4);
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
	pmd_serve_fault(&p, PMD_VA);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_stop_disables_all_ecmdqs(void **state)
{
	struct pmd p;

	(void)state;
	for (unsigned int delay = 0; delay < 4; delay += 3) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ,
				.ack_delay = delay });
		for (unsigned int round = 0; round < 3; round++) {
			assert_int_equal(p.ops->start(p.s), 0);
			for (unsigned int i = 0; i < 16; i++)
				assert_int_equal(smmuv3_cmdq_sync(&p.s->ecmdqs[i].q, NULL, 0,
						NULL), 0);
			assert_true(smmuv3_ecmdqs_are_on(p.s));
			assert_int_equal(p.ops->stop(p.s), 0);
			assert_false(smmuv3_ecmdqs_are_on(p.s));
			/* Commands are not needed now. */
			assert_int_equal(smmuv3_cmdq_sync(&p.s->ecmdqs[5].q, NULL, 0, NULL), 0);
			assert_int_equal(smmuv3_model_power_off(p.m), 0);
			assert_int_equal(smmuv3_cmdq_sync(&p.s->ecmdqs[5].q, NULL, 0, NULL), 0);
			assert_int_equal(smmuv3_model_power_on(p.m), 0);
		}
		pmd_close(&p);
	}
}

/* A driver that was killed may have left a queue on whose memory belongs to others now. */
static void
test_opening_disables_ecmdqs_of_another_driver(void **state)
{
	struct pmd p;
	uint32_t at;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ,
			.ecmdq_log2 = 6 });
	at = p.s->ecmdq_regs.first + 40 * p.s->ecmdq_regs.stride;
	assert_int_equal(p.s->nb_ecmdqs, 16);
	smmuv3_write32(p.s->regs, at + SMMUV3_ECMDQ_PROD, (uint32_t)SMMUV3_ECMDQ_PROD_EN);
	pmd_step(&p);
	assert_int_equal(read_ecmdq_cons(&p, 40) & ENACK, ENACK);
	assert_int_equal(smmuv3_take_over(p.s), 0);
	assert_int_equal(read_ecmdq_cons(&p, 40) & ENACK, 0);
	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The poll thread must not sleep while an answer waits for room in any queue. */
static void
test_no_thread_sleeps_while_an_ecmdq_has_a_backlog(void **state)
{
	const struct smmuv3_cmd cmd = { .dw = { 0x30 } };
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct smmuv3_cmdq *q;
	struct pmd p;

	(void)state;
	backend_rig_skip_page("a page file has no wired interrupt");
	pmd_open(&p, &with_ecmdqs);
	pmd_start(&p, IOPF_STALL);
	q = &p.s->ecmdqs[6].q;
	assert_true(smmuv3_cmdq_try_own(q));
	smmuv3_cmdq_post(q, &cmd, 1);
	assert_int_equal(p.ops->idle(p.s, fd), 1);
	assert_int_equal(p.ops->idle(p.s, -1), 0);
	smmuv3_cmdq_disown(q);
	pmd_step(&p);
	assert_int_equal(p.ops->idle(p.s, fd), 0);
	assert_int_equal(p.ops->idle(p.s, -1), 0);
	pmd_finish(&p, IOPF_NO_PASID);
	close(fd);
}

/* Answers that found no room go with the next polls, without a check. */
static void
test_a_poll_sends_what_found_no_room(void **state)
{
	struct smmuv3_cmd cmds[6];
	struct iopf_event event;
	struct smmuv3_cmdq *q;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ,
			.cmdq_log2 = 1 });
	pmd_start(&p, IOPF_STALL);
	q = smmuv3_thread_cmdq(p.s);
	for (unsigned int i = 0; i < RTE_DIM(cmds); i++)
		cmds[i] = pmd_make_tlbi(i);
	smmuv3_cmdq_post(q, cmds, RTE_DIM(cmds));
	assert_true(smmuv3_backlog_has_cmd(&q->backlog));
	for (unsigned int i = 0; i < 4; i++) {
		pmd_step(&p);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	}
	assert_false(smmuv3_backlog_has_cmd(&q->backlog));
	pmd_finish(&p, IOPF_NO_PASID);
}

/* With page requests PRI_RESPs, and TLBIs that ATC_INVs follow, stay in the CMDQ. */
static void
test_with_page_requests_only_resumes_are_in_the_threads_queue(void **state)
{
	const struct iopf_answer answers[2] = {
		{ .sid = PMD_SID, .token = 1, .code = IOPF_INVALID },
		{ .sid = PMD_SID, .token = 2, .code = IOPF_INVALID, .page_request = true } };
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 4096, .leaf_log2 = 12 };
	uint64_t main_cmds, cmds;
	struct iopf_inv_result result;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ |
			SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	pmd_start(&p, IOPF_STALL);
	main_cmds = count_cmdq_cmds(&p);
	cmds = count_ecmdq_cmds(&p);
	p.ops->answer(p.s, answers, 1);
	pmd_step(&p);
	assert_int_equal(count_ecmdq_cmds(&p), cmds + 1);
	p.ops->answer(p.s, answers, 2);
	pmd_step(&p);
	assert_int_equal(count_ecmdq_cmds(&p), cmds + 1);
	assert_int_equal(count_cmdq_cmds(&p), main_cmds + 2);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), 0);
	p.ops->answer_after(p.s, p.domain, &inv, 1, answers, 1);
	pmd_step(&p);
	assert_int_equal(count_ecmdq_cmds(&p), cmds + 1);
	assert_int_equal(count_cmdq_cmds(&p), main_cmds + 2 + 2 + 3);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

#define THREADS	4
#define ROUNDS	400

static void *
invalidate(void *arg)
{
	struct pmd *p = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		const struct iopf_inv inv = { .addr = PMD_VA + (uint64_t)i * 4096,
			.size = 4096 << i % 4, .leaf_log2 = 12 };
		struct iopf_inv_result result;

		if (p->ops->invalidate(p->s, p->domain, &inv, 1, &result) != 0)
			return p;
	}
	return NULL;
}

static void
test_threads_invalidate_at_once(void **state)
{
	pthread_t thread[THREADS];
	void *bad;

	(void)state;
	for (unsigned int harsh = 0; harsh < 2; harsh++) {
		struct pmd p;

		pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ,
				.harsh = harsh ? SMMUV3_MODEL_HARSH_ALL : 0 });
		pmd_start(&p, IOPF_STALL);
		assert_int_equal(smmuv3_model_start(p.m, -1), 0);
		for (unsigned int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&thread[i], NULL, invalidate, &p), 0);
		/*
		 * Fetches that abort, in any of the queues. The check comes first: the command is
		 * read again before the next abort, or its queue would be given up.
		 */
		for (unsigned int i = 0; i < 50; i++) {
			p.ops->check(p.s);
			rte_delay_us_sleep(200);
			smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
		}
		for (unsigned int i = 0; i < THREADS; i++) {
			pthread_join(thread[i], &bad);
			assert_null(bad);
		}
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);
		assert_int_equal(smmuv3_model_stop(p.m), 0);
		assert_true(count_ecmdq_cmds(&p) >= 2 * THREADS * ROUNDS);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static const struct CMUnitTest tests[] = {
	TEST_WITHOUT_ECMDQS(test_ecmdqs_are_used_where_the_smmu_has_them),
	cmocka_unit_test(test_a_thread_has_a_queue_of_its_own),
	cmocka_unit_test(test_answers_and_invalidations_are_in_the_threads_queue),
	cmocka_unit_test(test_an_error_is_repaired_in_its_own_queue),
	cmocka_unit_test(test_the_check_repairs_a_queue),
	cmocka_unit_test(test_a_stuck_ecmdq_is_given_up),
	cmocka_unit_test(test_an_unblock_waits_for_answers_in_every_queue),
	cmocka_unit_test(test_a_recovery_waits_for_every_queue),
	cmocka_unit_test(test_a_stop_disables_all_ecmdqs),
	cmocka_unit_test(test_opening_disables_ecmdqs_of_another_driver),
	cmocka_unit_test(test_no_thread_sleeps_while_an_ecmdq_has_a_backlog),
	cmocka_unit_test(test_a_poll_sends_what_found_no_room),
	cmocka_unit_test(test_with_page_requests_only_resumes_are_in_the_threads_queue),
	cmocka_unit_test(test_threads_invalidate_at_once),
};

TEST_SUITE(pmd_ecmdq, tests, NULL, NULL);
