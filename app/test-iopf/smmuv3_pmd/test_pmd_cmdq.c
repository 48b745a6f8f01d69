/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The command queue: full, shared, stopped; batches and their order. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include <rte_cycles.h>

#include "backlog.h"
#include "iopf_handler.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define POSTERS		2
#define SYNCERS		2
#define ROUNDS		500

/* The commands that the SMMU has not consumed continue the series pmd_make_tlbi(0), (1), ... */
static void
check_order(struct pmd *p, uint64_t first)
{
	const struct smmuv3_cmdq *q = &p->s->cmdq;

	for (uint64_t pos = smmuv3_cmdq_load_cons(&p->s->cmdq); pos != q->tail; pos++) {
		struct smmuv3_cmd cmd = pmd_make_tlbi((pos - first) % SMMUV3_CHUNK);

		assert_memory_equal(&q->ring[pos & ((1u << q->log2) - 1)], &cmd, sizeof(cmd));
	}
}

static void
test_commands_without_room_are_sent_later_and_in_order(void **state)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	uint64_t before, first;
	unsigned int i;
	struct pmd p;

	(void)state;
	for (unsigned int log2 = 1; log2 < 5; log2++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = log2 });
		pmd_start(&p, IOPF_STALL);
		before = smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_COMMANDS);
		first = p.s->cmdq.tail;
		for (i = 0; i < SMMUV3_CHUNK; i++)
			cmds[i] = pmd_make_tlbi(i);
		/* The model does not run: the queue fills and stays full. */
		for (i = 0; i < 10; i++)
			smmuv3_cmdq_post(&p.s->cmdq, cmds, SMMUV3_CHUNK);
		assert_int_equal(pmd_read_stat(&p, "backlog_pushes"),
				10 * SMMUV3_CHUNK - (1 << log2));
		assert_true(pmd_read_stat(&p, "cmdq_full") > 0);
		assert_int_equal(pmd_read_stat(&p, "backlog_lost"), 0);
		/* An idle poll moves commands from the backlog to the queue. */
		for (i = 0; i < 10000; i++) {
			struct iopf_event event;

			smmuv3_model_step(p.m, 1);
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
			check_order(&p, first);
		}
		assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_COMMANDS) - before,
				10 * SMMUV3_CHUNK);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_a_batch_has_one_producer_store(void **state)
{
	struct iopf_answer answers[SMMUV3_CHUNK] = { { .sid = PMD_SID, .token = 9 } };
	struct pmd p;
	uint64_t batches;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	batches = pmd_read_stat(&p, "batches");
	p.ops->answer(p.s, answers, SMMUV3_CHUNK);
	assert_int_equal(pmd_read_stat(&p, "batches"), batches + 1);
	pmd_step(&p);
	/* No transaction was stalled: the answers name no stall. */
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_wait_for_a_stuck_queue_ends(void **state)
{
	uint64_t start;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 2 });
	pmd_start(&p, IOPF_STALL);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	start = rte_get_tsc_cycles();
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), -ETIMEDOUT);
	/* The wait takes a second; other processes may hold up this thread. */
	assert_true(rte_get_tsc_cycles() - start < 30 * rte_get_tsc_hz());
	assert_int_equal(pmd_read_stat(&p, "sync_timeouts"), 1);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_lost_completion_word_fails_no_sync(void **state)
{
	struct smmuv3_cmd cmd = pmd_make_tlbi(0);
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &cmd, 1, NULL), 0);
	pmd_step(&p);
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(pmd_read_stat(&p, "msi_aborts"), 1);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_positions_outlive_the_registers(void **state)
{
	struct smmuv3_cmd cmd = pmd_make_tlbi(0);
	uint64_t pos, last = 0;
	struct pmd p;

	(void)state;
	for (unsigned int log2 = 0; log2 < 4; log2++) {
		last = 0;
		pmd_open(&p, &(struct smmuv3_model_conf){
			.cmdq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2,
			.no_features = SMMUV3_MODEL_NO_MSI });
		pmd_start(&p, IOPF_STALL);
		for (unsigned int i = 0; i < 100; i++) {
			assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &cmd, 1, NULL), 0);
			pos = smmuv3_cmdq_load_cons(&p.s->cmdq);
			assert_int_equal(pos, p.s->cmdq.tail);
			if (last != 0 && i % 10 != 0)
				assert_int_equal(pos, last + 2);
			last = pos;
			if (i % 10 == 9) {
				assert_int_equal(p.ops->stop(p.s), 0);
				assert_int_equal(p.ops->start(p.s), 0);
				assert_true(smmuv3_cmdq_load_cons(&p.s->cmdq) > last);
			}
		}
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

struct crowd {
	struct pmd *p;
	_Atomic unsigned int bad;
};

static void *
run_poster(void *arg)
{
	struct smmuv3_cmd cmds[5] = { pmd_make_tlbi(1), pmd_make_tlbi(2), pmd_make_tlbi(3),
		pmd_make_tlbi(4), pmd_make_tlbi(5) };
	struct crowd *crowd = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		smmuv3_cmdq_post(&crowd->p->s->cmdq, cmds, 1 + i % 5);
		/*
		 * The sizes of queue and backlog assume at most one answer per stall, so posters
		 * wait.
		 */
		while (i % 10 == 9 && smmuv3_cmdq_sync(&crowd->p->s->cmdq, NULL, 0, NULL) != 0)
			atomic_fetch_add(&crowd->bad, 1);
	}
	return NULL;
}

static void *
run_syncer(void *arg)
{
	struct smmuv3_cmd cmds[7];
	struct crowd *crowd = arg;
	struct iopf_inv_result result;

	for (unsigned int i = 0; i < ROUNDS / 10; i++) {
		unsigned int bad = i % 8;

		for (unsigned int k = 0; k < 7; k++)
			cmds[k] = k == bad ? pmd_illegal : pmd_make_tlbi(k);
		if (smmuv3_cmdq_sync(&crowd->p->s->cmdq, cmds, 7, &result) !=
				(bad < 7 ? -EIO : 0) || (bad < 7 && result.failed != bad))
			atomic_fetch_add(&crowd->bad, 1);
	}
	return NULL;
}

/* Each command is sent once, and each waiting caller gets only its own errors. */
static void
test_callers_share_the_queue(void **state)
{
	static const unsigned int sizes[] = { SMMUV3_MODEL_NONE, 2, 6 };
	pthread_t threads[POSTERS + SYNCERS];
	struct crowd crowd;
	uint64_t commands, wanted;
	struct pmd p;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < 2 * RTE_DIM(sizes); i++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.cmdq_log2 = sizes[i / 2],
			.no_features = i & 1 ? SMMUV3_MODEL_NO_MSI : 0 });
		pmd_start(&p, IOPF_STALL);
		/* The machine may be busy. */
		p.s->timeout *= 60;
		assert_int_equal(smmuv3_model_start(p.m, -1), 0);
		commands = pmd_read_stat(&p, "commands");
		wanted = pmd_read_stat(&p, "syncs");
		crowd = (struct crowd){ .p = &p };
		for (k = 0; k < POSTERS + SYNCERS; k++)
			assert_int_equal(pthread_create(&threads[k], NULL,
					k < POSTERS ? run_poster : run_syncer, &crowd), 0);
		for (k = 0; k < POSTERS + SYNCERS; k++)
			pthread_join(threads[k], NULL);
		smmuv3_cmdq_try_flush(&p.s->cmdq);
		while (smmuv3_backlog_has_cmd(&p.s->cmdq.backlog)) {
			smmuv3_cmdq_try_flush(&p.s->cmdq);
			sched_yield();
		}
		assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), 0);
		assert_int_equal(crowd.bad, 0);
		assert_int_equal(pmd_read_stat(&p, "backlog_lost"), 0);
		wanted = pmd_read_stat(&p, "syncs") - wanted + POSTERS * ROUNDS * 3 +
				SYNCERS * ROUNDS / 10 * 7;
		assert_int_equal(pmd_read_stat(&p, "commands") - commands, wanted);
		assert_int_equal(smmuv3_model_stop(p.m), 0);
		p.untidy = true;
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static struct {
	struct smmuv3 *s;
	void (*wait)(void *ctx);
} flood;

/* While the caller waits the SMMU consumes commands, and answers take each free slot. */
static void
wait_and_post(void *ctx)
{
	struct smmuv3_cmd cmds[5] = { pmd_make_tlbi(1), pmd_make_tlbi(2), pmd_make_tlbi(3),
		pmd_make_tlbi(4), pmd_make_tlbi(5) };

	flood.wait(ctx);
	if (smmuv3_backlog_load_end(&flood.s->cmdq.backlog) -
			atomic_load(&flood.s->cmdq.backlog.tail) < SMMUV3_CHUNK)
		smmuv3_cmdq_post(&flood.s->cmdq, cmds, 5);
	smmuv3_cmdq_try_flush(&flood.s->cmdq);
}

static void
test_a_waiting_caller_gets_its_turn(void **state)
{
	struct smmuv3_cmd cmds[3] = { pmd_make_tlbi(1), pmd_make_tlbi(2), pmd_make_tlbi(3) };
	const struct smmuv3_backend *before;
	struct smmuv3_backend backend;
	struct pmd p;

	(void)state;
	for (unsigned int log2 = 1; log2 < 4; log2++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = log2 });
		pmd_start(&p, IOPF_STALL);
		before = p.s->backend;
		backend = *before;
		flood.s = p.s;
		flood.wait = before->wait;
		backend.wait = wait_and_post;
		p.s->backend = &backend;
		for (unsigned int i = 0; i < 40; i++)
			assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, cmds, i % 4, NULL), 0);
		p.s->backend = before;
		assert_int_equal(smmuv3_cmdq_drain(&p.s->cmdq), 0);
		assert_int_equal(atomic_load(&p.s->cmdq.sync_waiters), 0);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* Such an answer would end a new stall with the same STAG. */
static void
test_no_answer_to_an_old_stall_outlives_a_recovery(void **state)
{
	const struct smmuv3_cmd fill[2] = { pmd_make_tlbi(0), pmd_make_tlbi(1) };
	const struct smmuv3_cmd old = smmuv3_cmd_resume(PMD_SID, 0, false, true);
	uint8_t buf[4] = { 0 };
	unsigned int i, told = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 1 });
	pmd_start(&p, IOPF_STALL);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	for (i = 0; i < 100 && told == 0; i++) {
		pmd_step(&p);
		told = p.ops->check(p.s);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	/* The queue is full when the answer is posted. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	smmuv3_cmdq_post(&p.s->cmdq, fill, 2);
	smmuv3_cmdq_post(&p.s->cmdq, &old, 1);
	for (i = 0; i < 10; i++) {
		assert_int_equal(p.ops->check(p.s), 0);
		pmd_step(&p);
	}
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	for (i = 0; i < 20; i++) {
		pmd_step(&p);
		assert_int_equal(p.ops->check(p.s), 0);
	}
	assert_int_equal(pmd_read_stat(&p, "answers_dropped"), 1);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* MMU-700, 2812531: a CMD_SYNC must separate the invalidations of different batches. */
static void
test_a_batch_is_written_whole_where_an_erratum_needs_it(void **state)
{
	const struct smmuv3_cmd sync = smmuv3_cmd_sync();
	const struct smmuv3_cmd answer = smmuv3_cmd_resume(PMD_SID, 0, false, true);
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	struct smmuv3_cmdq *q;
	struct pmd p;
	uint64_t at;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 7 });
	p.s->cmdq.sync_batches = true;
	p.s->cmdq.records_cmds = true;
	pmd_start(&p, IOPF_STALL);
	q = &p.s->cmdq;
	for (unsigned int i = 0; i < SMMUV3_CHUNK; i++)
		cmds[i] = pmd_make_tlbi(i);
	/* A posted invalidation without a CMD_SYNC may be in front. Answers need no CMD_SYNC. */
	for (unsigned int lead = 0; lead < 2; lead++) {
		smmuv3_cmdq_post(q, lead ? &cmds[0] : &answer, 1);
		at = q->tail;
		assert_int_equal(smmuv3_cmdq_sync(q, cmds, 3, NULL), 0);
		assert_int_equal(q->tail, at + lead + 4);
		if (lead)
			assert_memory_equal(&q->ring[smmuv3_q_slot(q->log2, at)], &sync,
					sizeof(sync));
		assert_memory_equal(&q->ring[smmuv3_q_slot(q->log2, at + lead)], cmds,
				sizeof(cmds[0]));
	}
	/* The batch is not split: it waits for room. */
	p.s->timeout /= 20;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	for (unsigned int i = 0; i < (1u << q->log2) - SMMUV3_CHUNK - 1; i++)
		smmuv3_cmdq_post(q, &answer, 1);
	at = q->tail;
	assert_int_equal(smmuv3_cmdq_sync(q, cmds, SMMUV3_CHUNK, NULL), -ETIMEDOUT);
	assert_int_equal(q->tail, at);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	assert_int_equal(smmuv3_cmdq_sync(q, cmds, SMMUV3_CHUNK, NULL), 0);
	assert_int_equal(q->tail, at + SMMUV3_CHUNK + 1);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The operations of the queue, with a function that the first wait calls. */
static struct {
	struct smmuv3_cmdq_ops ops;
	const struct smmuv3_cmdq_ops *real;
	void (*in_wait)(struct pmd *p);
	struct pmd *p;
	unsigned int waits;
} hook;

static bool
wait_hooked(void *ctx, struct smmuv3_wait *w)
{
	void (*in_wait)(struct pmd *p) = hook.in_wait;

	hook.waits++;
	hook.in_wait = NULL;
	if (in_wait != NULL)
		in_wait(hook.p);
	return hook.real->wait(ctx, w);
}

static void
hook_wait(struct pmd *p, void (*in_wait)(struct pmd *p))
{
	hook.real = p->s->cmdq.ops;
	hook.ops = *hook.real;
	hook.ops.wait = wait_hooked;
	hook.in_wait = in_wait;
	hook.p = p;
	hook.waits = 0;
	p->s->cmdq.ops = &hook.ops;
}

static void
restart_and_stick(struct pmd *p)
{
	smmuv3_model_knob(p->m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	assert_int_equal(p->ops->stop(p->s), 0);
	assert_int_equal(p->ops->start(p->s), 0);
	smmuv3_model_knob(p->m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
}

/* The start has invalidated everything: see state.h. */
static void
test_a_wait_over_a_stop_and_a_start_needs_no_command(void **state)
{
	const struct smmuv3_cmd cmd = pmd_make_tlbi(0);
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 2 });
	pmd_start(&p, IOPF_STALL);
	p.s->timeout /= 20;
	/* The queue is full: the batch is not in it when the stop comes. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	for (unsigned int i = 0; i < 4; i++)
		smmuv3_cmdq_post(&p.s->cmdq, &cmd, 1);
	hook_wait(&p, restart_and_stick);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &cmd, 1, NULL), 0);
	assert_null(hook.in_wait);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	p.s->cmdq.ops = hook.real;
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
run_smmu(struct pmd *p)
{
	pmd_step(p);
}

/* CMDQ_CONS is a register: a read of it costs more than one of the word. */
static void
test_the_word_of_a_sync_ends_its_wait(void **state)
{
	const struct smmuv3_cmd cmd = pmd_make_tlbi(0);
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	assert_non_null(p.s->cmdq.word);
	hook_wait(&p, run_smmu);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &cmd, 1, NULL), 0);
	/* The first wait finds the word of an earlier CMD_SYNC. */
	assert_in_range(hook.waits, 1, 2);
	p.s->cmdq.ops = hook.real;
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_commands_without_room_are_sent_later_and_in_order),
	cmocka_unit_test(test_a_batch_has_one_producer_store),
	cmocka_unit_test(test_a_wait_for_a_stuck_queue_ends),
	cmocka_unit_test(test_a_lost_completion_word_fails_no_sync),
	cmocka_unit_test(test_positions_outlive_the_registers),
	cmocka_unit_test(test_callers_share_the_queue),
	cmocka_unit_test(test_a_waiting_caller_gets_its_turn),
	cmocka_unit_test(test_no_answer_to_an_old_stall_outlives_a_recovery),
	cmocka_unit_test(test_a_wait_over_a_stop_and_a_start_needs_no_command),
	cmocka_unit_test(test_the_word_of_a_sync_ends_its_wait),
	cmocka_unit_test(test_a_batch_is_written_whole_where_an_erratum_needs_it),
};

TEST_SUITE(pmd_cmdq, tests, NULL, NULL);
