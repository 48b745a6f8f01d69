/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Deadlines of domains and of groups: a fault past its deadline is answered INVALID once, counted
 * and reported, wherever it is; a fault before it, or without one, is not.
 *
 * The tests call the sweep with a time of their own, and deadlines are far away, so that the passes
 * of iopf_poll() find none.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "cancel.h"
#include "deadline.h"
#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "rcu.h"
#include "test.h"

#define ADDR	UINT64_C(0x5000)
#define FAR_MS	1000000u

static struct iopf_queue *
queue(void)
{
	return &one.iommu->queues[IOPF_QUEUE_EVENTS];
}

/* A whole sweep at a time in TSC cycles from now. Returns the number of its parts. */
static unsigned int
sweep_at(int64_t cycles)
{
	struct iopf_queue *q = queue();
	unsigned int parts = 0;

	assert_true(iopf_queue_own(q));
	iopf_rcu_read_lock();
	do {
		iopf_queue_expire(q, rte_rdtsc() + cycles);
		parts++;
	} while (q->scan != 0);
	iopf_rcu_read_unlock();
	iopf_queue_disown(q);
	return parts;
}

/* A whole sweep, as if @p ms had passed. */
static unsigned int
sweep(uint64_t ms)
{
	return sweep_at(ms * rte_get_tsc_hz() / 1000);
}

static void
put_one(enum iopf_verdict verdict, uint16_t stag)
{
	iopf_slot_reclaim(queue());
	one.verdict = verdict;
	one_put_stall(stag, ADDR);
	assert_int_equal(1, iopf_poll(one.poller));
}

/* @p n faults have expired; the last answer is theirs. */
static void
check_expired(unsigned int n)
{
	assert_int_equal(n, iopf_domain_stat(one.domain, IOPF_STAT_EXPIRED));
	assert_int_equal(n, iopf_dev_stat(one.dev, IOPF_DEV_STAT_EXPIRED));
	assert_int_equal(n, one.reported);
	assert_int_equal(n, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_REPORTS));
	if (n == 0)
		return;
	assert_int_equal(IOPF_INVALID, hw.out[hw.nb_out - 1].answer.code);
	assert_int_equal(IOPF_FAULT_EXPIRED | IOPF_FAULT_STALLED, one.report.flags);
	assert_int_equal(ADDR, one.report.addr);
	assert_int_equal(SID, one.report.sid);
}

static void
a_taken_group_expires_at_its_deadline(void **state)
{
	(void)state;
	put_one(IOPF_TAKEN, 1);
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, FAR_MS));
	sweep(FAR_MS - 100000);
	check_expired(0);
	sweep(FAR_MS + 3);
	assert_int_equal(1, hw.nb_out);
	check_expired(1);
	assert_int_equal(0, iopf_domain_pending(one.domain));
	/* The late answer. */
	assert_int_equal(-ESTALE, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_STALE_ANSWERS));
	assert_int_equal(-ESTALE, iopf_group_set_deadline(one.last_id, 1));
	sweep(2 * FAR_MS);
	assert_int_equal(1, hw.nb_out);
}

/* Nothing but iopf_poll() is needed. */
static void
the_poll_thread_finds_a_deadline(void **state)
{
	(void)state;
	put_one(IOPF_TAKEN, 1);
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, 1));
	one_await_answers(1);
	check_expired(1);
}

static enum iopf_verdict
set_in_handler(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_set_deadline(group->id, FAR_MS));
	return one.verdict;
}

static void
the_fast_handler_may_set_it(void **state)
{
	(void)state;
	one.in_handler = set_in_handler;
	put_one(IOPF_TAKEN, 1);
	sweep(FAR_MS + 3);
	check_expired(1);
	/* A group that is answered at once is not concerned. */
	put_one(IOPF_ANSWER(IOPF_SUCCESS), 2);
	sweep(FAR_MS + 3);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[1].answer.code);
	assert_int_equal(1, one.reported);
}

static void
await_deferred(unsigned int n)
{
	for (unsigned int i = 0; i < 100000 && one.called_deferred < n; i++)
		usleep(100);
	assert_int_equal(n, one.called_deferred);
}

/* A worker's thread has the first group, its ring has the second. */
static void
deferred_groups_expire(void **state)
{
	(void)state;
	one.in_handler = set_in_handler;
	one.hold = true;
	put_one(IOPF_DEFER, 1);
	await_deferred(1);
	put_one(IOPF_DEFER, 2);
	sweep(FAR_MS + 3);
	check_expired(2);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(1, hw.out[0].answer.token);
	assert_int_equal(2, hw.out[1].answer.token);
	assert_int_equal(0, iopf_domain_pending(one.domain));
	one.hold = false;
	/* The handler's verdict is late, and the second group is not handled. */
	one.in_handler = NULL;
	put_one(IOPF_DEFER, 3);
	await_deferred(2);
	one_await_answers(3);
	assert_int_equal(3, hw.out[2].answer.token);
}

static void
the_last_call_counts(void **state)
{
	(void)state;
	put_one(IOPF_TAKEN, 1);
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, FAR_MS));
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, 3 * FAR_MS));
	sweep(2 * FAR_MS);
	check_expired(0);
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, 0));
	sweep(4 * FAR_MS);
	check_expired(0);
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, FAR_MS));
	sweep(2 * FAR_MS);
	check_expired(1);
}

/* The domain's deadline, and that of a group which is later, earlier, or none. */
static void
a_groups_deadline_replaces_that_of_its_domain(void **state)
{
	struct iopf_domain *other = one.domain;
	uint64_t late, early, none;

	(void)state;
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	one.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = one_fast,
			.ctx = &one, .deadline_ms = FAR_MS });
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	put_one(IOPF_TAKEN, 1);
	put_one(IOPF_TAKEN, 2);
	late = one.last_id;
	put_one(IOPF_TAKEN, 3);
	early = one.last_id;
	put_one(IOPF_TAKEN, 4);
	none = one.last_id;
	assert_int_equal(0, iopf_group_set_deadline(late, 3 * FAR_MS));
	assert_int_equal(0, iopf_group_set_deadline(early, FAR_MS / 2));
	assert_int_equal(0, iopf_group_set_deadline(none, 0));
	sweep(FAR_MS / 4);
	check_expired(0);
	sweep(FAR_MS / 4 * 3);
	check_expired(1);
	assert_int_equal(3, hw.out[0].answer.token);
	sweep(FAR_MS * 2);
	check_expired(2);
	assert_int_equal(1, hw.out[1].answer.token);
	sweep(FAR_MS * 4);
	check_expired(3);
	assert_int_equal(2, hw.out[2].answer.token);
	assert_int_equal(0, iopf_group_respond(none, IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_destroy(other));
}

/* The queue moves to a poll thread whose clock is behind that of the one before. */
static void
a_clock_that_is_behind_makes_no_fault_late(void **state)
{
	struct iopf_domain *other = one.domain;

	(void)state;
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	one.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = one_fast,
			.ctx = &one, .deadline_ms = FAR_MS });
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	put_one(IOPF_TAKEN, 1);
	sweep_at(-(int64_t)rte_get_tsc_hz() * 60);
	check_expired(0);
	assert_int_equal(0, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_destroy(other));
}

/* Neither a call for the slot's last fault that comes late, nor what that fault had, matters. */
static void
a_deadline_is_for_one_fault(void **state)
{
	uint64_t old, entry;

	(void)state;
	put_one(IOPF_TAKEN, 1);
	old = one.last_id;
	assert_int_equal(0, iopf_group_set_deadline(old, FAR_MS));
	entry = queue()->deadlines[IOPF_ID_SLOT(old)];
	assert_int_equal(0, iopf_group_respond(old, IOPF_SUCCESS));
	put_one(IOPF_TAKEN, 2);
	assert_int_equal(IOPF_ID_SLOT(old), IOPF_ID_SLOT(one.last_id));
	assert_int_equal(-ESTALE, iopf_group_set_deadline(old, 1));
	sweep(2 * FAR_MS);
	check_expired(0);
	/* A call for the last fault that has just found it pending, and one for the next fault. */
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, FAR_MS));
	entry = queue()->deadlines[IOPF_ID_SLOT(old)] + (UINT64_C(1) << IOPF_ID_GEN_SHIFT);
	queue()->deadlines[IOPF_ID_SLOT(old)] = entry;
	assert_int_equal(-ESTALE, iopf_group_set_deadline(one.last_id, 1));
	assert_true(entry == queue()->deadlines[IOPF_ID_SLOT(old)]);
	assert_int_equal(1, iopf_domain_pending(one.domain));
}

/* The plain path: no sweep before the first deadline, nor after the last one. */
static void
the_sweep_ends_with_the_last_deadline(void **state)
{
	uint64_t id;

	(void)state;
	assert_false(iopf_queue_has_deadlines(queue()));
	put_one(IOPF_TAKEN, 1);
	id = one.last_id;
	put_one(IOPF_TAKEN, 2);
	assert_false(iopf_queue_has_deadlines(queue()));
	assert_int_equal(0, iopf_group_set_deadline(id, FAR_MS));
	assert_true(iopf_queue_has_deadlines(queue()));
	sweep(0);
	assert_true(iopf_queue_has_deadlines(queue()));
	/* Set in the middle of a sweep: there is another sweep. */
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	assert_true(iopf_queue_has_deadlines(queue()));
	queue()->scan = 32;
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, FAR_MS));
	sweep(0);
	assert_true(iopf_queue_has_deadlines(queue()));
	sweep(0);
	assert_true(iopf_queue_has_deadlines(queue()));
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, 0));
	sweep(0);
	assert_false(iopf_queue_has_deadlines(queue()));
}

static void
too_long_a_deadline_is_refused_with_a_line(void **state)
{
	struct iopf_domain *domain;

	(void)state;
	put_one(IOPF_TAKEN, 1);
	assert_int_equal(0, iopf_group_set_deadline(one.last_id, IOPF_MAX_DEADLINE_MS));
	SAYS("iopf_group_set_deadline(): 4194305 ms is too long: use at most 4194304",
		assert_int_equal(-ERANGE, iopf_group_set_deadline(one.last_id,
				IOPF_MAX_DEADLINE_MS + 1)));
	sweep(IOPF_MAX_DEADLINE_MS - 100000);
	check_expired(0);
	sweep(IOPF_MAX_DEADLINE_MS + 3);
	check_expired(1);
	SAYS("late: deadline_ms 4194305 is too long: use at most 4194304, or 0 for no deadline",
		assert_null(iopf_domain_create(&(struct iopf_domain_conf){ .name = "late",
				.handler = one_fast, .deadline_ms = IOPF_MAX_DEADLINE_MS + 1 })));
	assert_int_equal(EINVAL, rte_errno);
	domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = one_fast,
			.deadline_ms = IOPF_MAX_DEADLINE_MS });
	assert_non_null(domain);
	assert_int_equal(0, iopf_domain_destroy(domain));
}

/* The next fault uses this slot. */
static void
use_slot_next(uint32_t index)
{
	struct iopf_queue *q = queue();

	for (uint32_t i = 0; i < q->nb_free; i++)
		if (q->free[i] == index) {
			q->free[i] = q->free[q->nb_free - 1];
			q->free[q->nb_free - 1] = index;
			return;
		}
	fail();
}

static int
setup_largest(void **state)
{
	one_max_stalls = UINT16_MAX;
	return one_setup(state);
}

static int
teardown_largest(void **state)
{
	one_max_stalls = 0;
	return one_teardown(state);
}

static void
a_sweep_over_the_most_slots_has_64_parts(void **state)
{
	uint32_t nb_slots = queue()->nb_slots;

	(void)state;
	assert_int_equal(IOPF_MAX_SLOTS, nb_slots);
	one.in_handler = set_in_handler;
	for (uint32_t i = 0; i < nb_slots; i += nb_slots / 64) {
		use_slot_next(i);
		put_one(IOPF_TAKEN, i);
		use_slot_next(i + nb_slots / 64 - 1);
		put_one(IOPF_TAKEN, i);
	}
	queue()->scan = 0;	/* iopf_poll() has begun a sweep */
	assert_int_equal(64, sweep(FAR_MS + 3));
	check_expired(128);
}

/*
 * Two threads set deadlines of any fault, and a third answers, while the poll thread expires: each
 * fault has one answer.
 */
#define NB_RACES 2000

static struct {
	_Atomic uint64_t id;
	_Atomic bool end;
	_Atomic unsigned int answered;
} race;

static void *
race_set(void *arg)
{
	uint32_t ms = (uintptr_t)arg;

	while (!race.end)
		iopf_group_set_deadline(race.id, ms);
	return NULL;
}

static void *
race_answer(void *arg)
{
	(void)arg;
	while (!race.end) {
		uint64_t id = race.id;

		if (IOPF_ID_GEN(id) % 4 == 0 && iopf_group_respond(id, IOPF_SUCCESS) == 0)
			race.answered++;
	}
	return NULL;
}

static enum iopf_verdict
race_take(const struct iopf_group *group)
{
	race.id = group->id;
	return IOPF_TAKEN;
}

static void
deadlines_and_answers_from_several_threads(void **state)
{
	pthread_t threads[3];
	uint64_t end;

	(void)state;
	race.id = 0;
	race.end = false;
	race.answered = 0;
	one.in_handler = race_take;
	pthread_create(&threads[0], NULL, race_set, (void *)1);
	pthread_create(&threads[1], NULL, race_set, (void *)2);
	pthread_create(&threads[2], NULL, race_answer, NULL);
	end = rte_rdtsc() + 2 * rte_get_tsc_hz();
	for (unsigned int i = 0; i < NB_RACES && rte_rdtsc() < end; i++) {
		unsigned int n = hw.nb_out;

		put_one(IOPF_TAKEN, i);
		while (hw.nb_out == n)
			iopf_poll(one.poller);
		assert_int_equal(n + 1, hw.nb_out);
	}
	race.end = true;
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(hw.nb_out, race.answered +
			iopf_domain_stat(one.domain, IOPF_STAT_EXPIRED));
	assert_int_equal(0, iopf_domain_pending(one.domain));
	assert_true(one.reported > 0 && one.reported ==
			iopf_domain_stat(one.domain, IOPF_STAT_EXPIRED));
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(a_taken_group_expires_at_its_deadline),
	ONE_TEST(the_poll_thread_finds_a_deadline),
	ONE_TEST(the_fast_handler_may_set_it),
	ONE_TEST(deferred_groups_expire),
	ONE_TEST(the_last_call_counts),
	ONE_TEST(a_groups_deadline_replaces_that_of_its_domain),
	ONE_TEST(a_clock_that_is_behind_makes_no_fault_late),
	ONE_TEST(a_deadline_is_for_one_fault),
	ONE_TEST(the_sweep_ends_with_the_last_deadline),
	ONE_TEST(too_long_a_deadline_is_refused_with_a_line),
	cmocka_unit_test_setup_teardown(a_sweep_over_the_most_slots_has_64_parts, setup_largest,
			teardown_largest),
	ONE_TEST(deadlines_and_answers_from_several_threads),
};

TEST_SUITE(iopf_deadline, tests, NULL, NULL);
