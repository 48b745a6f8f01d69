/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 9: detach, stop, termination and deadline.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_poller.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "iopf_iommu.h"
#include "test.h"

static enum iopf_verdict
call_control_inside(const struct iopf_group *group)
{
	const uint32_t sid = 99;

	(void)group;
	assert_int_equal(-EDEADLK, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(-EDEADLK, iopf_domain_attach(one.domain, one.dev, 1));
	assert_int_equal(-EDEADLK, iopf_domain_destroy(one.domain));
	assert_int_equal(-EDEADLK, iopf_dev_remove(one.dev));
	assert_int_equal(-EDEADLK, iopf_iommu_stop(one.iommu));
	assert_int_equal(-EDEADLK, iopf_quiesce());
	assert_int_equal(-EDEADLK, iopf_iommu_configure(one.iommu, NULL));
	assert_int_equal(-EDEADLK, iopf_iommu_start(one.iommu));
	assert_int_equal(-EDEADLK, iopf_iommu_close(one.iommu));
	assert_int_equal(-EDEADLK, iopf_poller_destroy(one.poller));
	assert_int_equal(-EDEADLK, iopf_worker_destroy(one.worker));
	assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 }));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
control_calls_in_a_handler_return_edeadlk(void **state)
{
	(void)state;
	one.in_handler = call_control_inside;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(1, one.called);
	assert_int_equal(1, hw.nb_out);
}

static void
detach_answers_taken_faults_and_later_answers_are_stale(void **state)
{
	(void)state;
	one.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 10; i++)
		one_put_stall(i, 0x1000 * i);
	iopf_poll(one.poller);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(10, hw.nb_out);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(-ESTALE, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	assert_int_equal(10, iopf_domain_stat(one.domain, IOPF_STAT_CANCELLED));
	assert_int_equal(0, iopf_domain_pending(one.domain));
	/* A detach without an attachment returns 0. */
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, 3));
}

static void
detach_without_a_running_poller_drains_the_queue_itself(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 200; i++)
		one_put_stall(i % 30, 0x1000 * i);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(200, hw.nb_out);
	/* A repeated access would abort, so no handler is called. */
	assert_int_equal(0, one.called);
	assert_int_equal(200, iopf_domain_stat(one.domain, IOPF_STAT_CANCELLED));
	for (unsigned int i = 0; i < 200; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(0, iopf_domain_pending(one.domain));
}

static void *
run_poller_when_held(void *arg)
{
	while (!one.hold)
		usleep(100);
	iopf_poller_run(arg);
	return NULL;
}

static pthread_t detacher;

static _Atomic unsigned int by_detacher;

static enum iopf_verdict
count_calls_by_detacher(const struct iopf_group *group)
{
	(void)group;
	by_detacher += pthread_equal(pthread_self(), detacher) != 0;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
detach_leaves_handlers_to_a_poller_that_runs(void **state)
{
	pthread_t thread;
	int busy;

	(void)state;
	one.in_handler = count_calls_by_detacher;
	detacher = pthread_self();
	by_detacher = 0;
	pthread_create(&thread, NULL, run_poller_when_held, one.poller);
	one.hold = true;
	/* The poll thread runs when it has answered a fault. */
	one_put_stall(30, 0);
	for (unsigned int i = 0; i < 200000 && hw.nb_out == 0; i++)
		usleep(100);
	assert_int_equal(1, hw.nb_out);
	for (unsigned int i = 0; i < 200; i++) {
		one_put_stall(i % 30, 0x1000 * i);
		if (i % 20 == 19) {
			assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
			assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
		}
	}
	busy = iopf_poller_destroy(one.poller);
	iopf_poller_stop(one.poller);
	pthread_join(thread, NULL);
	assert_int_equal(-EBUSY, busy);
	/* Each fault has one answer, by a handler or by a detach. */
	assert_int_equal(201, hw.nb_out);
	/* The detach may have called some handlers while the poll thread did not run. */
	assert_in_range(by_detacher, 0, 199);
}

static void *
release_later(void *arg)
{
	(void)arg;
	usleep(50000);
	one.hold = false;
	return NULL;
}

static void
detach_answers_at_once_but_waits_for_the_handler_on_a_worker(void **state)
{
	pthread_t thread;

	(void)state;
	one.verdict = IOPF_DEFER;
	one.hold = true;
	one_put_stall(1, 0x1000);
	one_put_stall(2, 0x2000);
	iopf_poll(one.poller);
	while (one.called_deferred == 0)
		usleep(100);
	pthread_create(&thread, NULL, release_later, NULL);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	/* The handler returned before the detach did, and its answer was ignored. */
	assert_false(one.hold);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, one.called_deferred);
	pthread_join(thread, NULL);
}

static void
a_termination_by_the_iommu_sends_no_answers(void **state)
{
	uint64_t id;

	(void)state;
	one.verdict = IOPF_TAKEN;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	id = one.last_id;
	hw.check = IOPF_CHECK_TERMINATED;
	while (iopf_domain_pending(one.domain) != 0)
		iopf_poll(one.poller);
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_TERMINATED));
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_RESETS));
}

static void
stop_ends_everything_outstanding(void **state)
{
	(void)state;
	one.verdict = IOPF_TAKEN;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(0, iopf_domain_pending(one.domain));
	assert_int_equal(-ESTALE, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
	one.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	one_put_stall(1, 0);
	assert_int_equal(1, iopf_poll(one.poller));
	assert_int_equal(1, hw.nb_out);
}

static void
a_deadline_answers_invalid(void **state)
{
	struct iopf_domain *domain;

	(void)state;
	one.verdict = IOPF_TAKEN;
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	domain = one.domain;
	one.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = one_fast,
			.ctx = &one, .deadline_ms = 20 });
	assert_non_null(one.domain);
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(0, hw.nb_out);
	one_await_answers(1);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_EXPIRED));
	assert_int_equal(0, iopf_domain_destroy(domain));
}

static void
attach_that_fails_in_the_driver_leaves_nothing(void **state)
{
	(void)state;
	hw.fail_attach = -ENOSPC;
	assert_int_equal(-ENOSPC, iopf_domain_attach(one.domain, one.dev, 2));
	hw.fail_attach = 0;
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, 2));
	assert_int_equal(-EEXIST, iopf_domain_attach(one.domain, one.dev, 2));
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, 2));
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(detach_leaves_handlers_to_a_poller_that_runs),
	ONE_TEST(control_calls_in_a_handler_return_edeadlk),
	ONE_TEST(detach_answers_taken_faults_and_later_answers_are_stale),
	ONE_TEST(detach_without_a_running_poller_drains_the_queue_itself),
	ONE_TEST(detach_answers_at_once_but_waits_for_the_handler_on_a_worker),
	ONE_TEST(a_termination_by_the_iommu_sends_no_answers),
	ONE_TEST(stop_ends_everything_outstanding),
	ONE_TEST(a_deadline_answers_invalid),
	ONE_TEST(attach_that_fails_in_the_driver_leaves_nothing),
};
TEST_SUITE(iopf_detach, tests, NULL, NULL);
