/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Contract 15: calls that wait for the command queue get their turn. */

#include <errno.h>
#include <pthread.h>

#include "cmdq_ring.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"
#include "turn.h"

#define THREADS		12
#define CALLS		300
#define NESTED_WAITS	4

/*
 * A call that finds the queue owned by another thread each time that it looks. In each of its waits
 * one other call is made, in the same thread: it passes, or it waits until its time is over.
 */
static struct {
	struct smmuv3_cmdq_ops ops;
	const struct smmuv3_cmdq_ops *real;
	struct pmd *p;
	unsigned int depth, nested_waits;
	unsigned int waits, max_waits;	/* of the first call */
	unsigned int passed, refused;	/* other calls */
	bool owned;
	bool goes_on;			/* others call also after one was refused */
} t;

static int
sync_tlbi(struct pmd *p)
{
	const struct smmuv3_cmd cmd = pmd_make_tlbi(0);

	return smmuv3_cmdq_sync(&p->s->cmdq, &cmd, 1, NULL);
}

static void
let_other_pass(void)
{
	int ret;

	t.nested_waits = 0;
	t.depth++;
	ret = sync_tlbi(t.p);
	t.depth--;
	if (ret == 0) {
		t.passed++;
		return;
	}
	assert_int_equal(-ETIMEDOUT, ret);
	t.refused++;
}

static bool
wait_passed(void *ctx, struct smmuv3_wait *w)
{
	bool left = t.real->wait(ctx, w);

	pmd_step(t.p);
	if (t.depth > 0)
		return left && ++t.nested_waits < NESTED_WAITS;
	if (t.owned)
		smmuv3_cmdq_disown(&t.p->s->cmdq);
	/* As soon as another is refused this one may go. */
	if (t.refused == 0 || t.goes_on)
		let_other_pass();
	t.owned = t.refused == 0 && smmuv3_cmdq_try_own(&t.p->s->cmdq);
	return ++t.waits < t.max_waits;
}

static int
sync_passed(struct pmd *p, struct smmuv3_cmd cmd, unsigned int max_waits, bool goes_on)
{
	struct smmuv3_cmdq *q = &p->s->cmdq;
	int ret;

	memset(&t, 0, sizeof(t));
	t.p = p;
	t.max_waits = max_waits;
	t.goes_on = goes_on;
	t.real = q->ops;
	t.ops = *t.real;
	t.ops.wait = wait_passed;
	q->ops = &t.ops;
	t.owned = smmuv3_cmdq_try_own(q);
	ret = smmuv3_cmdq_sync(q, &cmd, 1, NULL);
	if (t.owned)
		smmuv3_cmdq_disown(q);
	q->ops = t.real;
	return ret;
}

static void
a_waiting_call_is_passed_by_a_bounded_number(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	assert_int_equal(0, sync_passed(&p, pmd_make_tlbi(1), 10 * SMMUV3_MAX_PASSED, false));
	assert_int_equal(SMMUV3_MAX_PASSED, t.passed);
	assert_true(t.refused > 0);
	assert_false(smmuv3_turn_is_awaited(&p.s->cmdq.turns));
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
a_call_whose_time_is_over_leaves_its_turn(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	/* Its turn has come, and it does not look again. */
	assert_int_equal(-ETIMEDOUT, sync_passed(&p, pmd_make_tlbi(1), SMMUV3_MAX_PASSED + 1,
			false));
	assert_int_equal(SMMUV3_MAX_PASSED, t.passed);
	assert_int_equal(1, t.refused);
	assert_false(smmuv3_turn_is_awaited(&p.s->cmdq.turns));
	assert_int_equal(0, sync_tlbi(&p));
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
a_call_that_a_recovery_holds_back_gives_up_its_turn(void **state)
{
	const struct smmuv3_cmd atc = smmuv3_cmd_atc_inv(PMD_SID, false, 0, false, 0,
			SMMUV3_ATC_SIZE_ALL);
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	p.s->cmdq.divert = SMMUV3_DIVERT_PRI_RESP;
	assert_int_equal(-ETIMEDOUT, sync_passed(&p, atc, SMMUV3_MAX_PASSED + 20, true));
	/* It had a turn when another call was refused, and none when it had found the reason. */
	assert_int_equal(1, t.refused);
	assert_int_equal(SMMUV3_MAX_PASSED + 19, t.passed);
	p.s->cmdq.divert = 0;
	assert_int_equal(0, sync_tlbi(&p));
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
a_post_waits_for_no_turn(void **state)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_resume(PMD_SID, 0, false, true);
	struct smmuv3_cmdq *q;
	struct pmd p;
	uint64_t turn = 0;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	q = &p.s->cmdq;
	assert_true(smmuv3_turn_take(&q->turns, &turn));
	smmuv3_cmdq_post(q, &cmd, 1);
	assert_int_equal(q->tail, atomic_load(&q->prod));
	assert_false(smmuv3_backlog_has_cmd(&q->backlog));
	smmuv3_turn_end(&q->turns, turn);
	pmd_step(&p);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The next permutation of n numbers in order; false after the last. */
static bool
permute(unsigned int *v, unsigned int n)
{
	unsigned int i = n - 1, k = n - 1, lo, swap;

	while (i > 0 && v[i - 1] > v[i])
		i--;
	if (i == 0)
		return false;
	while (v[k] < v[i - 1])
		k--;
	swap = v[k], v[k] = v[i - 1], v[i - 1] = swap;
	for (lo = i, k = n - 1; lo < k; lo++, k--)
		swap = v[k], v[k] = v[lo], v[lo] = swap;
	return true;
}

static void
turns_come_in_order_whichever_ends_early(void **state)
{
	static struct smmuv3_turns turns;
	unsigned int order[5] = { 0, 1, 2, 3, 4 }, i, k;
	bool ended[5];
	uint64_t turn[5], first;

	(void)state;
	do {
		for (i = 0; i < 5; i++)
			assert_true(smmuv3_turn_take(&turns, &turn[i]));
		memset(ended, 0, sizeof(ended));
		for (i = 0; i < 5; i++) {
			assert_true(smmuv3_turn_is_awaited(&turns));
			first = 0;
			while (ended[first])
				first++;
			for (k = 0; k < 5; k++)
				assert_int_equal(k == first,
						smmuv3_turn_has_come(&turns, turn[k]));
			smmuv3_turn_end(&turns, turn[order[i]]);
			ended[order[i]] = true;
		}
		assert_false(smmuv3_turn_is_awaited(&turns));
	} while (permute(order, 5));
}

static void
turns_are_as_many_as_their_slots(void **state)
{
	static struct smmuv3_turns turns;
	uint64_t turn[SMMUV3_TURNS], more;
	unsigned int i;

	(void)state;
	for (i = 0; i < SMMUV3_TURNS; i++)
		assert_true(smmuv3_turn_take(&turns, &turn[i]));
	assert_false(smmuv3_turn_take(&turns, &more));
	/* The slot of the first is in use as long as its turn is not over. */
	smmuv3_turn_end(&turns, turn[1]);
	assert_false(smmuv3_turn_take(&turns, &more));
	smmuv3_turn_end(&turns, turn[0]);
	assert_true(smmuv3_turn_has_come(&turns, turn[2]));
	assert_true(smmuv3_turn_take(&turns, &more));
}

static _Atomic unsigned int nb_failed;

static void *
sync_often(void *arg)
{
	const struct smmuv3_cmd cmd = pmd_make_tlbi(0);
	struct pmd *p = arg;

	for (unsigned int i = 0; i < CALLS; i++)
		if (smmuv3_cmdq_sync(&p->s->cmdq, &cmd, 1, NULL) != 0)
			atomic_fetch_add(&nb_failed, 1);
	return NULL;
}

static void
each_of_more_callers_than_entries_gets_its_turn(void **state)
{
	pthread_t threads[THREADS];
	struct pmd p;

	(void)state;
	for (unsigned int log2 = 0; log2 < 3; log2++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
				.cmdq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2 });
		pmd_start(&p, IOPF_STALL);
		/* The machine may be busy. */
		p.s->timeout *= 60;
		assert_int_equal(0, smmuv3_model_start(p.m, -1));
		atomic_store(&nb_failed, 0);
		for (unsigned int i = 0; i < THREADS; i++)
			assert_int_equal(0, pthread_create(&threads[i], NULL, sync_often, &p));
		for (unsigned int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(0, atomic_load(&nb_failed));
		assert_int_equal(0, atomic_load(&p.s->cmdq.sync_waiters));
		assert_false(smmuv3_turn_is_awaited(&p.s->cmdq.turns));
		assert_int_equal(0, smmuv3_model_stop(p.m));
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_waiting_call_is_passed_by_a_bounded_number),
	cmocka_unit_test(a_call_whose_time_is_over_leaves_its_turn),
	cmocka_unit_test(a_call_that_a_recovery_holds_back_gives_up_its_turn),
	cmocka_unit_test(a_post_waits_for_no_turn),
	cmocka_unit_test(turns_come_in_order_whichever_ends_early),
	cmocka_unit_test(turns_are_as_many_as_their_slots),
	cmocka_unit_test(each_of_more_callers_than_entries_gets_its_turn),
};

TEST_SUITE(pmd_cmdq_turns, tests, NULL, NULL);
