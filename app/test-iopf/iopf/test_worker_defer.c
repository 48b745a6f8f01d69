/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A taken group can be deferred again. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <rte_common.h>

#include "iopf_handler.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "slot.h"
#include "test.h"
#include "worker_rig.h"

static enum iopf_verdict
take(const struct iopf_group *group)
{
	(void)group;
	return atomic_load(&wk.called) < 3 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_taken_group_can_be_deferred_again(void **state)
{
	(void)state;
	atomic_store(&wk.deferred, take);
	wk.verdict = IOPF_TAKEN;
	wk_put_stall(7);
	WK_AWAIT(atomic_load(&wk.id) != 0);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_int_equal(1, iopf_domain_pending(wk.domain));
		assert_int_equal(0, hw.nb_out);
		assert_int_equal(0, iopf_group_defer(atomic_load(&wk.id)));
		WK_AWAIT(atomic_load(&wk.called) == i);
	}
	WK_AWAIT(hw.nb_out == 1);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(7, hw.out[0].answer.token);
	WK_AWAIT(iopf_group_defer(atomic_load(&wk.id)) == -ESTALE);
	/* The worker counts the answer after it has sent it. */
	WK_AWAIT(iopf_domain_pending(wk.domain) == 0);
	assert_int_equal(-ESTALE, iopf_group_defer(0));
	assert_int_equal(-ESTALE, iopf_group_defer(UINT64_MAX));
}

/* Defer the group before its handler returns: the handler is called again afterwards. */
static enum iopf_verdict
defer_inside(const struct iopf_group *group)
{
	static _Atomic unsigned int inside;
	unsigned int n = atomic_load(&wk.called);

	assert_int_equal(1, atomic_fetch_add(&inside, 1) + 1);
	if (n == 1) {
		assert_int_equal(0, iopf_group_defer(group->id));
		/* Some time before the return, or right before it. */
		if (IOPF_ID_GEN(group->id) % 16 == 0)
			usleep(2000);
	}
	atomic_fetch_sub(&inside, 1);
	return n == 1 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_group_is_deferred_again_before_its_handler_returns(void **state)
{
	(void)state;
	atomic_store(&wk.deferred, defer_inside);
	for (unsigned int i = 0; i < 1000 * test_scale(); i++) {
		atomic_store(&wk.called, 0);
		atomic_store(&hw.nb_out, 0);
		wk_put_stall(i);
		WK_AWAIT(hw.nb_out == 1);
		assert_int_equal(2, atomic_load(&wk.called));
	}
}

static enum iopf_verdict
take_always(const struct iopf_group *group)
{
	(void)group;
	while (atomic_load(&wk.hold))
		usleep(100);
	return IOPF_TAKEN;
}

/* A detach ends a group in any of these states, and its id is stale afterwards. */
static void
a_group_that_is_deferred_again_ends_with_a_detach(void **state)
{
	uint64_t id;

	(void)state;
	atomic_store(&wk.deferred, take_always);
	wk_put_stall(1);
	WK_AWAIT(atomic_load(&wk.called) == 1);
	id = atomic_load(&wk.id);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(0, iopf_group_defer(id));
	assert_int_equal(0, iopf_domain_detach(wk.domain, wk.dev, IOPF_NO_PASID));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-ESTALE, iopf_group_defer(id));
	assert_int_equal(0, iopf_domain_attach(wk.domain, wk.dev, IOPF_NO_PASID));
	/* The worker works as before. */
	atomic_store(&wk.deferred, NULL);
	wk_put_stall(2);
	WK_AWAIT(hw.nb_out == 2);
}

static void
group_defer_without_a_deferred_handler_is_refused(void **state)
{
	struct iopf_domain *plain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = wk_fast });

	(void)state;
	assert_non_null(plain);
	wk.verdict = IOPF_TAKEN;
	assert_int_equal(0, iopf_domain_detach(wk.domain, wk.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(plain, wk.dev, IOPF_NO_PASID));
	wk_put_stall(1);
	WK_AWAIT(atomic_load(&wk.id) != 0);
	SAYS("iopf_group_defer(): the domain has no deferred handler: set deferred and worker",
		assert_int_equal(-EINVAL, iopf_group_defer(atomic_load(&wk.id))));
	assert_int_equal(0, iopf_group_respond(atomic_load(&wk.id), IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_detach(plain, wk.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(plain));
}

/* Other threads defer the group repeatedly while it is answered or detached and its slot reused. */
static _Atomic bool quit;

static void *
defer_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&quit))
		iopf_group_defer(atomic_load(&wk.id));
	return NULL;
}

static enum iopf_verdict
take_sometimes(const struct iopf_group *group)
{
	return group->id % 3 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
}

static void
repeated_deferral_races_with_answer_and_detach(void **state)
{
	unsigned int rounds = 500 * test_scale();
	pthread_t thread[2];

	(void)state;
	atomic_store(&quit, false);
	atomic_store(&wk.deferred, take_sometimes);
	for (unsigned int i = 0; i < RTE_DIM(thread); i++)
		assert_int_equal(0, pthread_create(&thread[i], NULL, defer_main, NULL));
	for (unsigned int round = 0; round < rounds; round++) {
		atomic_store(&hw.nb_out, 0);
		wk_put_stall(round);
		wk_put_stall(round + 1);
		while (iopf_poll(wk.poller) != 0)
			;
		if (round % 3 == 0)
			iopf_group_respond(atomic_load(&wk.id), IOPF_SUCCESS);
		if (round % 2 == 0) {
			atomic_store(&wk.deferred, NULL);
			WK_AWAIT(iopf_group_defer(atomic_load(&wk.id)) == -ESTALE);
			atomic_store(&wk.deferred, take_sometimes);
		}
		assert_int_equal(0, iopf_domain_detach(wk.domain, wk.dev, IOPF_NO_PASID));
		assert_int_equal(0, iopf_domain_attach(wk.domain, wk.dev, IOPF_NO_PASID));
		/* One answer each. */
		assert_int_equal(2, hw.nb_out);
	}
	atomic_store(&quit, true);
	for (unsigned int i = 0; i < RTE_DIM(thread); i++)
		assert_int_equal(0, pthread_join(thread[i], NULL));
}

static const struct CMUnitTest tests[] = {
	WK_TEST(a_taken_group_can_be_deferred_again),
	WK_TEST(a_group_is_deferred_again_before_its_handler_returns),
	WK_TEST_THREE(a_group_is_deferred_again_before_its_handler_returns),
	WK_TEST(a_group_that_is_deferred_again_ends_with_a_detach),
	WK_TEST(group_defer_without_a_deferred_handler_is_refused),
	WK_TEST(repeated_deferral_races_with_answer_and_detach),
	WK_TEST_THREE(repeated_deferral_races_with_answer_and_detach),
};

TEST_SUITE(worker_defer, tests, NULL, NULL);
