/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Joined faults, and the end of their leader or of themselves by other means than a handler: each
 * is answered exactly once.
 */

#include <errno.h>
#include <unistd.h>

#include "attachment.h"
#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "join_rig.h"
#include "test.h"

/* A leader of device A with token 1; joined: A 2, B 3, and a page request 4. */
static void
put_one_of_each(void)
{
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	join_put_stall(SID_A, 2, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_B, 3, PAGE, IOPF_PERM_READ);
	prg_put(SID, 3, 4, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(0, hw.nb_out);
}

/* All slots can be used again. */
static void
check_slots(void)
{
	unsigned int n = hw.nb_out, called = join.called;

	join.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < 64; i++) {
		join_put_stall(SID_A, i, PAGE + 0x1000 * i, IOPF_PERM_READ);
		prg_put(SID, 3, i, PAGE + 0x1000 * i, LAST);
	}
	prg_poll_all();
	assert_int_equal(called + 128, join.called);
	assert_int_equal(n + 128, hw.nb_out);
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(0, iopf_domain_pending(join.domain));
	/* No stall counts for its device's share any more. */
	assert_int_equal(0, join.a->held);
	assert_true(join.b == NULL || join.b->held == 0);
}

static void
a_detach_of_the_leaders_device_answers_all(void **state)
{
	(void)state;
	put_one_of_each();
	assert_int_equal(0, iopf_domain_detach(join.domain, join.a, 1));
	assert_int_equal(4, hw.nb_out);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(0, iopf_domain_pending(join.domain));
	assert_int_equal(-ESTALE, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(4, hw.nb_out);
	assert_int_equal(0, iopf_domain_attach(join.domain, join.a, 1));
	check_slots();
}

/* It does not wait for the leader, which is another device's. */
static void
a_detach_of_a_joined_device_answers_its_own(void **state)
{
	(void)state;
	put_one_of_each();
	assert_int_equal(0, iopf_dev_remove(join.b));
	join.b = NULL;
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(3, hw.out[0].answer.token);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(0, iopf_domain_detach(join.domain, prg.dev, 3));
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(4, hw.out[1].answer.token);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	assert_int_equal(2, iopf_domain_pending(join.domain));
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(4, hw.nb_out);
	assert_int_equal(1, hw.out[2].answer.token);
	assert_int_equal(2, hw.out[3].answer.token);
	assert_int_equal(2, join_stat(IOPF_STAT_CANCELLED));
	assert_int_equal(0, iopf_domain_attach(join.domain, prg.dev, 3));
	check_slots();
}

/* Its answer ends the group: the device may use the index again, with the leader still open. */
static void
the_index_of_a_cancelled_joined_group_is_free(void **state)
{
	uint64_t leader;

	(void)state;
	put_one_of_each();
	leader = join.id;
	assert_int_equal(0, iopf_domain_detach(join.domain, prg.dev, 3));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, iopf_domain_attach(join.domain, prg.dev, 3));
	prg_put(SID, 3, 4, PAGE + 0x1000, LAST);
	prg_poll_all();
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(2, join.called);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_group_respond(leader, IOPF_SUCCESS));
	assert_int_equal(5, hw.nb_out);
	check_slots();
}

/* The leader has been given more time. */
static void
a_joined_fault_has_a_deadline_of_its_own(void **state)
{
	(void)state;
	join_close_domain();
	join_open_domain((struct iopf_domain_conf){ .deadline_ms = 10,
			.storm = &(struct iopf_storm_conf){ .join_log2 = 12 } });
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(0, iopf_group_set_deadline(join.id, 0));
	join_put_stall(SID_B, 2, PAGE, IOPF_PERM_READ);
	prg_put(SID, 3, 3, PAGE, LAST);
	prg_poll_all();
	for (unsigned int i = 0; i < 1000000 && hw.nb_out < 2; i++)
		iopf_poll(prg.poller);
	assert_int_equal(2, hw.nb_out);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(hw.out[i].answer.token != 1);
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	}
	assert_int_equal(2, join_stat(IOPF_STAT_EXPIRED));
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(3, hw.nb_out);
	check_slots();
}

/* The slots that have left are free when the leader is answered, however often. */
static void
slots_of_cancelled_joined_faults_come_back(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		hw.nb_out = 0;
		put_one_of_each();
		for (unsigned int k = 5; k < 20; k++)
			join_put_stall(SID_B, k, PAGE, IOPF_PERM_READ);
		prg_poll_all();
		assert_int_equal(0, iopf_domain_detach(join.domain, join.b, 1));
		assert_int_equal(16, hw.nb_out);
		assert_int_equal(0, iopf_domain_attach(join.domain, join.b, 1));
		assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
		assert_int_equal(19, hw.nb_out);
	}
	hw.nb_out = 0;
	check_slots();
}

/*
 * A device whose joined faults are cancelled again and again does not use up the slots of the
 * others behind a leader that is held for long.
 */
static void
cancelled_joined_faults_leave_slots_to_others(void **state)
{
	uint64_t leader;

	(void)state;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	leader = join.id;
	for (unsigned int i = 0; i < 12; i++) {
		for (unsigned int k = 2; k < 22; k++)
			join_put_stall(SID_B, k, PAGE, IOPF_PERM_READ);
		/* Groups of two requests. */
		for (unsigned int k = 2; k < 8; k++) {
			prg_put(SID, 3, k, PAGE, 0);
			prg_put(SID, 3, k, PAGE + 8, LAST);
		}
		prg_poll_all();
		assert_int_equal(27, iopf_domain_pending(join.domain));
		assert_int_equal(0, iopf_domain_detach(join.domain, join.b, 1));
		assert_int_equal(0, iopf_domain_detach(join.domain, prg.dev, 3));
		assert_int_equal(26 * (i + 1), hw.nb_out);
		assert_int_equal(0, iopf_domain_attach(join.domain, join.b, 1));
		assert_int_equal(0, iopf_domain_attach(join.domain, prg.dev, 3));
	}
	assert_true(join_stat(IOPF_STAT_JOINED) > 0);
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_CUT));
	/* All come back with the leader's answer, and faults join again. */
	assert_int_equal(0, iopf_group_respond(leader, IOPF_SUCCESS));
	hw.nb_out = 0;
	put_one_of_each();
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	join_check_answers(4, (uint16_t []){ 1, 2, 3, 4 }, IOPF_SUCCESS);
	assert_int_equal(0, prg.iommu->queues[IOPF_QUEUE_EVENTS].nb_stacked);
	assert_int_equal(0, prg.iommu->queues[IOPF_QUEUE_REQUESTS].nb_stacked);
	check_slots();
}

/* A leader in a deferred handler: the detach waits for the handler, the joined ones do not. */
static void
a_detach_of_a_deferred_leader_answers_all_at_once(void **state)
{
	(void)state;
	join.verdict = IOPF_DEFER;
	join.hold = true;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	while (!join.holding)
		usleep(10);
	join_put_stall(SID_B, 2, PAGE, IOPF_PERM_READ);
	prg_put(SID, 3, 3, PAGE, LAST);
	prg_poll_all();
	prg_mute_log(true);
	join.a->conf.wait_ms = SHORT_WAIT_MS;
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(join.domain, join.a, 1));
	prg_mute_log(false);
	join_check_answers(3, (uint16_t []){ 1, 2, 3 }, IOPF_INVALID);
	join.hold = false;
	assert_int_equal(0, iopf_domain_detach(join.domain, join.a, 1));
	assert_int_equal(3, hw.nb_out);
	assert_int_equal(0, iopf_domain_attach(join.domain, join.a, 1));
	check_slots();
}

static void
a_deadline_answers_the_leader_and_the_joined_ones(void **state)
{
	(void)state;
	join_close_domain();
	join_open_domain((struct iopf_domain_conf){ .deadline_ms = 10,
			.storm = &(struct iopf_storm_conf){ .join_log2 = 12 } });
	put_one_of_each();
	for (unsigned int i = 0; i < 1000000 && hw.nb_out < 4; i++)
		iopf_poll(prg.poller);
	for (unsigned int i = 0; i < 10000; i++)
		iopf_poll(prg.poller);
	assert_int_equal(4, hw.nb_out);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(0, iopf_domain_pending(join.domain));
	assert_int_equal(-ESTALE, iopf_group_respond(join.id, IOPF_SUCCESS));
	check_slots();
}

/* The list of outstanding faults has its id. */
static void
a_joined_fault_can_be_answered_by_its_id(void **state)
{
	struct iopf_outstanding list[8];
	uint32_t from = 0;
	unsigned int n, answered = 0;

	(void)state;
	put_one_of_each();
	n = iopf_queue_list_outstanding(&prg.iommu->queues[IOPF_QUEUE_EVENTS], &from, list, 8);
	assert_int_equal(3, n);
	for (unsigned int i = 0; i < n; i++) {
		if (list[i].state != IOPF_SLOT_JOINED)
			continue;
		assert_int_equal(0, iopf_group_respond(list[i].id, IOPF_SUCCESS));
		assert_int_equal(-ESTALE, iopf_group_respond(list[i].id, IOPF_SUCCESS));
		assert_int_equal(++answered, hw.nb_out);
	}
	assert_int_equal(2, answered);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(4, hw.nb_out);
	check_slots();
}

static void
a_stop_ends_the_leader_and_the_joined_ones(void **state)
{
	(void)state;
	put_one_of_each();
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	/* The IOMMU ends the stalls, and no page request. */
	assert_int_equal(1, hw.nb_out);
	assert_true(hw.out[0].answer.page_request);
	assert_int_equal(4, hw.out[0].answer.token);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, join_stat(IOPF_STAT_CANCELLED));
	assert_int_equal(3, join_stat(IOPF_STAT_TERMINATED));
	assert_int_equal(-ESTALE, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_pending(join.domain));
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	check_slots();
}

static void
recover(void)
{
	uint64_t resets = prg_stat(IOPF_IOMMU_STAT_RESETS);

	hw.check = IOPF_CHECK_TERMINATED;
	for (unsigned int i = 0; i < 10000000 && prg_stat(IOPF_IOMMU_STAT_RESETS) == resets; i++)
		iopf_poll(prg.poller);
	assert_int_equal(resets + 1, prg_stat(IOPF_IOMMU_STAT_RESETS));
}

/* The recovery ends stalls, not page requests: the device requests the page again. */
static void
a_recovery_ends_a_stalled_leader(void **state)
{
	(void)state;
	put_one_of_each();
	recover();
	assert_int_equal(3, join_stat(IOPF_STAT_TERMINATED));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(4, hw.out[0].answer.token);
	assert_true(hw.out[0].answer.page_request);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(-ESTALE, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_pending(join.domain));
	check_slots();
}

static void
a_recovery_ends_stalls_that_have_joined_a_page_request(void **state)
{
	(void)state;
	prg_put(SID, 3, 1, PAGE, LAST);
	prg_poll_all();
	join_put_stall(SID_A, 2, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_B, 3, PAGE, IOPF_PERM_READ);
	prg_put(SID, 3, 4, PAGE, LAST);
	prg_poll_all();
	recover();
	assert_int_equal(2, join_stat(IOPF_STAT_TERMINATED));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	join_check_answers(2, (uint16_t []){ 1, 4 }, IOPF_SUCCESS);
	check_slots();
}

static void
a_loss_of_requests_leaves_joined_groups(void **state)
{
	(void)state;
	put_one_of_each();
	prg_put(SID, 3, 5, PAGE, 0);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	prg_poll_all();
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	join_check_answers(4, (uint16_t []){ 1, 2, 3, 4 }, IOPF_SUCCESS);
	check_slots();
}

/* The ring of the worker is full: the fault is answered by the library, and leads none. */
static void
faults_do_not_join_one_that_could_not_be_deferred(void **state)
{
	unsigned int n = 0;

	(void)state;
	join_close_domain();
	assert_int_equal(0, iopf_worker_destroy(join.worker));
	join.worker = iopf_worker_create(&(struct iopf_worker_conf){ .size = 1 });
	join_open_domain((struct iopf_domain_conf){
			.storm = &(struct iopf_storm_conf){ .join_log2 = 12 } });
	join.verdict = IOPF_DEFER;
	join.hold = true;
	join_put_stall(SID_A, n++, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	while (!join.holding)
		usleep(10);
	while (hw.nb_out == 0) {
		join_put_stall(SID_A, n, PAGE + 0x1000 * n, IOPF_PERM_READ);
		n++;
		prg_poll_all();
	}
	assert_int_equal(n, join.called);
	join.verdict = IOPF_TAKEN;
	join_put_stall(SID_B, n, PAGE + 0x1000 * (n - 1), IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(n + 1, join.called);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	join.hold = false;
	for (unsigned int i = 0; i < 100000 && hw.nb_out < n + 1; i++)
		usleep(10);
	assert_int_equal(n + 1, hw.nb_out);
}

/* It switches PRI off: the other devices keep theirs. */
static void
a_failure_is_for_the_leaders_device_alone(void **state)
{
	static const enum iopf_code codes[] = {
		[1] = IOPF_FAILURE, IOPF_FAILURE, IOPF_INVALID, IOPF_INVALID,
	};

	(void)state;
	assert_int_equal(0, iopf_domain_attach(join.domain, prg.dev2, 3));
	prg_put(SID, 3, 1, PAGE, LAST);
	prg_poll_all();
	prg_put(SID, 3, 2, PAGE, LAST);
	prg_put(SID2, 3, 3, PAGE, LAST);
	join_put_stall(SID_A, 4, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(1, join.called);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_FAILURE));
	assert_int_equal(4, hw.nb_out);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(codes[hw.out[i].answer.token], hw.out[i].answer.code);
	assert_int_equal(2, join_stat(IOPF_STAT_FAILURE));
	assert_int_equal(2, join_stat(IOPF_STAT_INVALID));
	/* In a burst: the handler is called for each device. */
	join.called = 0;
	join.verdict = IOPF_ANSWER(IOPF_FAILURE);
	prg_put(SID, 3, 1, PAGE, LAST);
	prg_put(SID2, 3, 2, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(2, join.called);
	assert_int_equal(3, join_stat(IOPF_STAT_JOINED));
	assert_int_equal(0, iopf_domain_detach(join.domain, prg.dev2, 3));
}

static const struct CMUnitTest tests[] = {
	JOIN_TEST(a_detach_of_the_leaders_device_answers_all),
	JOIN_TEST(a_detach_of_a_joined_device_answers_its_own),
	JOIN_TEST(the_index_of_a_cancelled_joined_group_is_free),
	JOIN_TEST(a_joined_fault_has_a_deadline_of_its_own),
	JOIN_TEST(slots_of_cancelled_joined_faults_come_back),
	JOIN_TEST(cancelled_joined_faults_leave_slots_to_others),
	JOIN_TEST(a_detach_of_a_deferred_leader_answers_all_at_once),
	JOIN_TEST(a_deadline_answers_the_leader_and_the_joined_ones),
	JOIN_TEST(a_joined_fault_can_be_answered_by_its_id),
	JOIN_TEST(a_stop_ends_the_leader_and_the_joined_ones),
	JOIN_TEST(a_recovery_ends_a_stalled_leader),
	JOIN_TEST(a_recovery_ends_stalls_that_have_joined_a_page_request),
	JOIN_TEST(a_loss_of_requests_leaves_joined_groups),
	JOIN_TEST(faults_do_not_join_one_that_could_not_be_deferred),
	JOIN_TEST(a_failure_is_for_the_leaders_device_alone),
};
TEST_SUITE(join_control, tests, NULL, NULL);
