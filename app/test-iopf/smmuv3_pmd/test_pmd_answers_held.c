/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Answers to page requests around SMMUEN 0: the driver holds them back and loses none. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "requests_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* An event that cannot be written: SMMUEN 1 -> 0 -> 1 ends all stalls. */
static void
abort_event(struct requests *r)
{
	static uint8_t buf[4];

	smmuv3_model_knob(r->p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&r->p, PMD_VA + (UINT64_C(1) << 40), buf, sizeof(buf));
	assert_int_equal(pmd_wait_done(&r->p), SMMUV3_MODEL_ABORTED);
}

static bool
is_smmu_on(struct requests *r)
{
	return smmuv3_read32(r->p.s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN;
}

/* Answers given at any moment of a recovery arrive once. */
static void
test_answers_are_held_back_while_the_smmu_is_off(void **state)
{
	struct requests r;

	(void)state;
	for (unsigned int k = 0; k < 2; k++)
		for (unsigned int when = 0; when < 30; when++) {
			unsigned int told = 0, i;
			bool was_off = false;

			requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4,
				.cmdq_log2 = k == 0 ? 0 : 2, .ack_delay = 3 }, NULL);
			for (i = 0; i < 9; i++)
				requests_ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
			pmd_step(&r.p);
			while (requests_serve(&r, 4) > 0)
				;
			assert_int_equal(r.nb_waiting, 9);
			abort_event(&r);
			requests_send_answers(&r, 2);
			for (i = 0; i < 100; i++) {
				if (i == when)
					requests_send_answers(&r, r.nb_waiting);
				told |= r.p.ops->check(r.p.s);
				smmuv3_model_step(r.p.m, 1);
				was_off |= !is_smmu_on(&r);
			}
			assert_true(was_off);
			assert_true(is_smmu_on(&r));
			assert_int_equal(told, IOPF_CHECK_TERMINATED);
			assert_int_equal(pmd_read_stat(&r.p, "resets"), 1);
			pmd_step(&r.p);
			/* All answers arrived, and the SMMU ignored none. */
			assert_int_equal(requests_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 9);
			assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 9);
			if (when == 5)
				assert_int_equal(pmd_read_stat(&r.p, "answers_held"), 7);
			assert_int_equal(pmd_read_stat(&r.p, "answers_dropped"), 0);
			assert_int_equal(pmd_read_stat(&r.p, "backlog_lost"), 0);
			/* Requests that came meanwhile got a Response Failure. */
			requests_serve_all(&r);
			assert_int_equal(r.lost, 1);
			requests_ask(&r, 0, PMD_VA + 20 * PAGE, 1);
			requests_serve_all(&r);
			assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
			requests_close(&r);
		}
}

/* The SMMU consumes the answers that were sent earlier before SMMUEN becomes 0. */
static void
test_the_smmu_stays_on_until_answers_are_consumed(void **state)
{
	unsigned int told = 0, i;
	struct requests r;

	(void)state;
	requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4, .cmdq_log2 = 2 }, NULL);
	for (i = 0; i < 9; i++)
		requests_ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
	pmd_step(&r.p);
	requests_serve(&r, 32);
	assert_int_equal(r.nb_waiting, 9);
	abort_event(&r);
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	/*
	 * Four fit into the CMDQ, five are in the backlog. The driver holds these back when they
	 * leave the backlog.
	 */
	requests_send_answers(&r, 9);
	for (i = 0; i < 50; i++) {
		assert_int_equal(r.p.ops->check(r.p.s), 0);
		smmuv3_model_step(r.p.m, 1);
		assert_true(is_smmu_on(&r));
	}
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	for (i = 0; i < 50; i++) {
		told |= r.p.ops->check(r.p.s);
		smmuv3_model_step(r.p.m, 1);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_true(is_smmu_on(&r));
	pmd_step(&r.p);
	assert_int_equal(requests_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 9);
	assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 9);
	requests_serve_all(&r);
	assert_int_equal(r.lost, 1);
	requests_close(&r);
}

/* Groups of one page, one request at a time, so that even a small queue holds each request. */
static void
take_groups(struct requests *r, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		requests_ask(r, i % NB_FNS, PMD_VA + i * PAGE, 1);
		pmd_step(&r->p);
		while (requests_serve(r, 4) > 0)
			;
	}
	assert_int_equal(r->nb_waiting, n);
}

/*
 * Check until the driver holds answers back, SMMUEN = 0 is acknowledged, and the library was told.
 */
static void
begin_recovery(struct requests *r)
{
	unsigned int i;

	abort_event(r);
	for (i = 0; i < 100 && r->p.ops->check(r->p.s) != IOPF_CHECK_TERMINATED; i++)
		smmuv3_model_step(r->p.m, 1);
	assert_true(i < 100);
	assert_false(is_smmu_on(r));
}

/* All groups were answered once, and the queue works. */
static void
finish_recovery(struct requests *r, unsigned int answers)
{
	requests_check(r, 40);
	assert_true(is_smmu_on(r));
	for (unsigned int i = 0; i < 20000; i++) {
		smmuv3_model_step(r->p.m, 1);
		r->p.ops->poll(r->p.s, IOPF_QUEUE_EVENTS, &(struct iopf_event){ 0 }, 1);
	}
	assert_int_equal(requests_model_stat(r, SMMUV3_MODEL_STAT_PRI_RESPS), answers);
	assert_int_equal(requests_count_ended(r, SMMUV3_MODEL_OK), answers);
	assert_int_equal(pmd_read_stat(&r->p, "backlog_lost"), 0);
	requests_serve_all(r);
	assert_int_equal(r->lost, 1);
	requests_ask(r, 0, PMD_VA + 4000 * PAGE, 1);
	requests_serve_all(r);
	assert_int_equal(requests_count_ended(r, SMMUV3_MODEL_OK), 1);
}

/*
 * The library has 64 slots for a queue of two entries, and twice the number of entries for any
 * other queue.
 */
static void
test_all_answers_that_there_can_be_are_held_back(void **state)
{
	struct requests r;

	(void)state;
	for (unsigned int log2 = 1; log2 < 8; log2 += 2)
		for (unsigned int k = 0; k < 3; k++) {
			unsigned int slots = RTE_MAX(64u, 2u << log2), i;

			requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = log2,
				.cmdq_log2 = k }, &(struct requests_fns){ .prg_indices = 512,
				.credits = slots });
			take_groups(&r, slots);
			begin_recovery(&r);
			for (i = 0; i < slots; i += 8)
				requests_send_answers(&r, 8);
			assert_int_equal(r.nb_waiting, 0);
			if (k == 0)
				assert_int_equal(pmd_read_stat(&r.p, "answers_held"), slots);
			finish_recovery(&r, slots);
			requests_close(&r);
		}
}

/* Another thread owns the command queue when the recovery would send what was held back. */
static void
test_answers_that_were_held_back_wait_for_the_queue(void **state)
{
	struct smmuv3_cmdq *q;
	struct requests r;

	(void)state;
	requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4, .ack_delay = 3 }, NULL);
	take_groups(&r, 3);
	begin_recovery(&r);
	requests_send_answers(&r, 3);
	q = &r.p.s->cmdq;
	assert_int_equal(q->nb_held, 3);
	assert_int_equal(r.p.ops->check(r.p.s), 0);
	assert_int_equal(r.p.s->recovery.step, SMMUV3_RECOVERY_STARTING);
	assert_true(smmuv3_cmdq_try_own(q));
	requests_check(&r, 40);
	assert_int_equal(r.p.s->recovery.step, SMMUV3_RECOVERY_SENDING);
	assert_int_equal(q->nb_held, 3);
	assert_false(smmuv3_cmdq_try_own(q));
	smmuv3_cmdq_disown(q);
	finish_recovery(&r, 3);
	requests_close(&r);
}

/* A request that the library refuses needs an answer, although it has no slot. */
static void
test_no_requests_are_taken_while_answers_are_held_back(void **state)
{
	unsigned int i;
	uint64_t mark;
	struct requests r;

	(void)state;
	requests_open(&r);
	requests_ask(&r, 0, PMD_VA, 1);
	pmd_step(&r.p);
	begin_recovery(&r);
	mark = r.p.ops->queue_mark(r.p.s, IOPF_QUEUE_REQUESTS);
	for (i = 0; i < 10; i++) {
		assert_int_equal(requests_serve(&r, 4), 0);
		assert_false(r.p.ops->queue_passed(r.p.s, IOPF_QUEUE_REQUESTS, mark));
	}
	/* A caller that waits for the mark polls and checks. */
	for (i = 0; i < 100 && !r.p.ops->queue_passed(r.p.s, IOPF_QUEUE_REQUESTS, mark); i++) {
		requests_serve(&r, 4);
		requests_check(&r, 1);
	}
	assert_true(i < 100);
	assert_int_equal(r.nb_waiting, 1);
	requests_send_answers(&r, 1);
	pmd_step(&r.p);
	finish_recovery(&r, 1);
	requests_close(&r);
}

/* The recovery fails half-way. A detach waits for the queue nevertheless. */
static void
test_requests_are_taken_when_a_recovery_fails(void **state)
{
	unsigned int told = 0, i;
	uint64_t mark;
	struct requests r;

	(void)state;
	requests_open(&r);
	requests_ask(&r, 0, PMD_VA, 1);
	pmd_step(&r.p);
	abort_event(&r);
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	smmuv3_cmdq_post(&r.p.s->cmdq, &(struct smmuv3_cmd){ .dw = { SMMUV3_OP_SYNC } }, 1);
	r.p.s->timeout /= 100;
	mark = r.p.ops->queue_mark(r.p.s, IOPF_QUEUE_REQUESTS);
	for (i = 0; i < 10000000 && !(told & IOPF_CHECK_DEAD); i++)
		told |= r.p.ops->check(r.p.s);
	assert_true(told & IOPF_CHECK_DEAD);
	assert_int_equal(requests_serve(&r, 4), 1);
	requests_serve(&r, 4);
	assert_true(r.p.ops->queue_passed(r.p.s, IOPF_QUEUE_REQUESTS, mark));
	r.p.s->timeout *= 100;
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	r.nb_waiting = 0;
	assert_int_equal(r.p.ops->stop(r.p.s), 0);
	smmuv3_model_dma_reset(r.fns[0]);
	assert_int_equal(r.p.ops->start(r.p.s), 0);
	requests_enable_pri(&r);
	pmd_step(&r.p);
	while (smmuv3_model_dma_poll(r.fns[0], &(struct smmuv3_model_done){ 0 }, 1) > 0)
		;
	requests_close(&r);
}

/* An answer that cannot be held stays in the backlog and delays no command behind it. */
static void
test_an_answer_that_cannot_be_held_is_not_lost(void **state)
{
	const struct smmuv3_cmd atc = smmuv3_cmd_atc_inv(PMD_SID, false, 0, false, 0,
			SMMUV3_ATC_SIZE_ALL);
	struct requests r;

	(void)state;
	for (unsigned int k = 0; k < 3; k++) {
		requests_open_conf(&r,
			&(struct smmuv3_model_conf){ .priq_log2 = 4, .cmdq_log2 = k },
			&(struct requests_fns){ .prg_indices = 512, .credits = 40 });
		r.p.s->cmdq.max_held = 3;
		take_groups(&r, 40);
		begin_recovery(&r);
		requests_send_answers(&r, 20);
		assert_int_equal(smmuv3_cmdq_sync(&r.p.s->cmdq, &(struct smmuv3_cmd){
			.dw = { SMMUV3_OP_SYNC } }, 1, NULL), 0);
		requests_send_answers(&r, 20);
		assert_int_equal(pmd_read_stat(&r.p, "answers_held"), 3);
		/*
		 * The SMMU would ignore the ATC_INV now, so it waits. This thread does not call
		 * check(), so the wait times out.
		 */
		r.p.s->timeout /= 100;
		assert_int_equal(smmuv3_cmdq_sync(&r.p.s->cmdq, &atc, 1, NULL), -ETIMEDOUT);
		r.p.s->timeout *= 100;
		finish_recovery(&r, 40);
		assert_int_equal(smmuv3_cmdq_sync(&r.p.s->cmdq, &atc, 1, NULL), 0);
		requests_close(&r);
	}
}

static void
test_a_refused_answer_ends_no_stalls(void **state)
{
	/* Resp = 3. */
	const struct smmuv3_cmd illegal = smmuv3_cmd_pri_resp(PMD_SID, false, 0, 0, 3);
	struct requests r;

	(void)state;
	requests_open(&r);
	r.p.untidy = true;
	smmuv3_cmdq_post(&r.p.s->cmdq, &illegal, 1);
	pmd_step(&r.p);
	requests_check(&r, 40);
	assert_int_equal(pmd_read_stat(&r.p, "cerror_ill"), 1);
	assert_int_equal(pmd_read_stat(&r.p, "resets"), 0);
	requests_ask(&r, 0, PMD_VA, 1);
	requests_serve_all(&r);
	assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
	requests_close(&r);
}

/* The driver sends the answers before the stop, after which the SMMU would ignore them. */
static void
test_answers_are_consumed_before_a_stop(void **state)
{
	unsigned int i;
	struct requests r;

	(void)state;
	requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4, .cmdq_log2 = 1 }, NULL);
	for (i = 0; i < 9; i++)
		requests_ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
	pmd_step(&r.p);
	requests_serve(&r, 32);
	/* A request that is not polled. */
	requests_ask(&r, 0, PMD_VA + 30 * PAGE, 1);
	pmd_step(&r.p);
	assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD), 10);
	requests_send_answers(&r, 9);
	assert_int_equal(r.p.ops->stop(r.p.s), 0);
	assert_int_equal(requests_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 9);
	assert_int_equal(pmd_read_stat(&r.p, "answers_dropped"), 0);
	/* Translation Requests were refused since then; the request has ended. */
	pmd_step(&r.p);
	smmuv3_model_dma_reset(r.fns[0]);
	assert_int_equal(r.p.ops->start(r.p.s), 0);
	r.p.ops->poll(r.p.s, 0, &(struct iopf_event){ 0 }, 1);
	for (i = 0; i < NB_FNS; i++)
		while (smmuv3_model_dma_poll(r.fns[i], &(struct smmuv3_model_done){ 0 }, 1) > 0)
			;
	/* The queue holds nothing from before the stop, and it works. */
	for (i = 0; i < 16; i++)
		assert_int_equal(((struct smmuv3_ppr *)r.p.s->priq.q.ring)[i].dw[0], 0);
	requests_enable_pri(&r);
	requests_ask(&r, 0, PMD_VA + 20 * PAGE, 1);
	requests_serve_all(&r);
	assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
	assert_int_equal(r.bad + r.lost, 0);
	requests_close(&r);
}

/*
 * A poll thread that also calls check(), a thread that answers, the model's thread, and the test's
 * thread.
 */
struct crew {
	struct requests r;
	pthread_mutex_t lock;
	struct iopf_answer todo[1024];
	unsigned int nb_todo;
	_Atomic bool stop;
};

static void *
run_poller(void *arg)
{
	struct crew *c = arg;
	struct iopf_event events[8];
	struct requests *r = &c->r;

	while (!atomic_load(&c->stop)) {
		unsigned int n = requests_serve(r, 8);

		r->p.ops->poll(r->p.s, IOPF_QUEUE_EVENTS, events, 8);
		r->p.ops->check(r->p.s);
		if (r->nb_waiting > 0) {
			pthread_mutex_lock(&c->lock);
			assert_true(c->nb_todo + r->nb_waiting <= RTE_DIM(c->todo));
			memcpy(&c->todo[c->nb_todo], r->waiting,
					r->nb_waiting * sizeof(c->todo[0]));
			c->nb_todo += r->nb_waiting;
			pthread_mutex_unlock(&c->lock);
			r->nb_waiting = 0;
		}
		if (n == 0)
			sched_yield();
	}
	return NULL;
}

static void *
run_answerer(void *arg)
{
	struct iopf_answer mine[1024];
	struct crew *c = arg;
	unsigned int n;

	while (!atomic_load(&c->stop)) {
		pthread_mutex_lock(&c->lock);
		n = c->nb_todo;
		memcpy(mine, c->todo, n * sizeof(mine[0]));
		c->nb_todo = 0;
		pthread_mutex_unlock(&c->lock);
		if (n > 0)
			c->r.p.ops->answer(c->r.p.s, mine, n);
		sched_yield();
	}
	return NULL;
}

/* Take the ends of @p left DMAs. False after ten seconds without all of them. */
static bool
wait_for_ends(struct crew *c, unsigned int left)
{
	struct smmuv3_model_dma *of[] = { c->r.fns[0], c->r.fns[1], c->r.fns[2], c->r.p.dma };
	struct smmuv3_model_done done;
	time_t end = time(NULL) + 10;

	while (left > 0 && time(NULL) < end) {
		for (unsigned int i = 0; i < RTE_DIM(of); i++)
			while (smmuv3_model_dma_poll(of[i], &done, 1) == 1)
				left--;
		sched_yield();
	}
	return left == 0;
}

/* Events and requests that cannot be written, at any moment: no answer is lost. */
static void
test_recovery_loses_no_answer_of_another_thread(void **state)
{
	static struct crew c;
	struct requests *r = &c.r;
	static uint8_t buf[4];
	pthread_t threads[2];
	unsigned int seed = 3, rounds = 150 * test_scale(), va = 0;
	uint64_t groups;

	(void)state;
	memset(&c, 0, sizeof(c));
	pthread_mutex_init(&c.lock, NULL);
	requests_open_conf(r, &(struct smmuv3_model_conf){ .priq_log2 = 3, .cmdq_log2 = 3,
		.ack_delay = 5 }, &(struct requests_fns){ .group_pages = 3, .credits = 6 });
	assert_int_equal(smmuv3_model_start(r->p.m, -1), 0);
	assert_int_equal(pthread_create(&threads[0], NULL, run_poller, &c), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, run_answerer, &c), 0);
	for (unsigned int round = 0; round < rounds; round++) {
		unsigned int n = 0, kind = (unsigned int)rand_r(&seed) % 4;
		const char *counter = kind == 0 ? "resets" : "priq_aborts";
		uint64_t count = pmd_read_stat(&r->p, counter);
		time_t end = time(NULL) + 10;

		if (kind == 1)
			smmuv3_model_knob(r->p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		for (unsigned int i = 0; i < 6; i++, n++, va = (va + 8) % 16384)
			requests_ask(r, i % NB_FNS, PMD_VA + (uint64_t)va * PAGE,
					1 + (unsigned int)rand_r(&seed) % 6);
		if (kind == 0) {
			smmuv3_model_knob(r->p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
			pmd_write(&r->p, PMD_VA + (UINT64_C(1) << 40), buf, sizeof(buf));
			n++;
		}
		assert_true(wait_for_ends(&c, n));
		/* While the SMMU is off it refuses requests, so no write would abort. */
		while (kind < 2 && (pmd_read_stat(&r->p, counter) == count || !is_smmu_on(r))) {
			assert_true(time(NULL) < end);
			sched_yield();
		}
		if (!smmuv3_model_dma_pri_failed(r->fns[0]))
			continue;
		assert_int_equal(smmuv3_model_dma_pri_disable(r->fns[0]), 0);
		while (!smmuv3_model_dma_pri_drained(r->fns[0])) {
			assert_true(time(NULL) < end);
			sched_yield();
		}
		assert_int_equal(smmuv3_model_dma_pri_enable(r->fns[0], r->credits), 0);
	}
	atomic_store(&c.stop, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	assert_int_equal(smmuv3_model_stop(r->p.m), 0);
	assert_int_equal(c.nb_todo, 0);
	groups = r->groups;
	assert_int_equal(requests_model_stat(r, SMMUV3_MODEL_STAT_PRI_RESPS), groups);
	assert_true(pmd_read_stat(&r->p, "resets") > 5 && pmd_read_stat(&r->p, "priq_aborts") > 5);
	assert_int_equal(pmd_read_stat(&r->p, "backlog_lost"), 0);
	print_message("  %u groups, %u resets, %u answers held\n", (unsigned int)groups,
			(unsigned int)pmd_read_stat(&r->p, "resets"),
			(unsigned int)pmd_read_stat(&r->p, "answers_held"));
	/* A recovery may be under way. */
	for (unsigned int i = 0; i < 100; i++) {
		r->p.ops->check(r->p.s);
		pmd_step(&r->p);
	}
	requests_close(r);
	pthread_mutex_destroy(&c.lock);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_answers_are_held_back_while_the_smmu_is_off),
	cmocka_unit_test(test_the_smmu_stays_on_until_answers_are_consumed),
	cmocka_unit_test(test_all_answers_that_there_can_be_are_held_back),
	cmocka_unit_test(test_answers_that_were_held_back_wait_for_the_queue),
	cmocka_unit_test(test_no_requests_are_taken_while_answers_are_held_back),
	cmocka_unit_test(test_requests_are_taken_when_a_recovery_fails),
	cmocka_unit_test(test_an_answer_that_cannot_be_held_is_not_lost),
	cmocka_unit_test(test_recovery_loses_no_answer_of_another_thread),
	cmocka_unit_test(test_a_refused_answer_ends_no_stalls),
	cmocka_unit_test(test_answers_are_consumed_before_a_stop),
};

TEST_SUITE(pmd_answers_held, tests, NULL, NULL);
