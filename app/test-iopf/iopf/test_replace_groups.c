/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 9: a replace with page request groups, with a device that repeats its accesses itself
 * (IOPF_TERMINATE), with an answer that waits for the end of its burst, and with records that are
 * read late.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "iopf_rig.h"
#include "prg_rig.h"
#include "test.h"

/* The domain that replaces the rig's. */
static struct {
	struct iopf_domain *domain;
	unsigned int called, lost, nb_faults;
	uint64_t first;
} next;

/* A fast handler waits while hold is set. */
static _Atomic bool hold, held, replaced;

static enum iopf_verdict
on_next(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)ctx;
	assert_ptr_equal(next.domain, domain);
	next.called++;
	next.nb_faults = group->nb_faults;
	next.first = group->faults[0]->addr;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
on_next_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	next.lost++;
}

static void
next_open(void)
{
	memset(&next, 0, sizeof(next));
	next.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_next,
			.lost = on_next_lost });
	assert_non_null(next.domain);
}

/*
 * Page requests
 */

static int
groups_setup(void **state)
{
	prg_setup(state);
	next_open();
	return 0;
}

static int
groups_teardown(void **state)
{
	assert_int_equal(0, iopf_domain_replace(prg.domain, prg.dev, 1));
	assert_int_equal(0, iopf_domain_destroy(next.domain));
	assert_int_equal(0, hw.misused);
	return prg_teardown(state);
}

/* The requests of the old domain are dropped: its handler and the new one's must not mix them. */
static void
the_last_of_a_partial_group_is_a_group_of_the_new_domain(void **state)
{
	(void)state;
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_put(SID, 1, 1, 0x2000, 0);
	/* One of another PASID, which goes on. */
	prg_put(SID, 2, 1, 0x1000, 0);
	prg_poll_all();
	assert_int_equal(0, iopf_domain_replace(next.domain, prg.dev, 1));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_domain_pending(prg.domain));
	prg_put(SID, 1, 1, 0x3000, LAST);
	prg_poll_all();
	assert_int_equal(1, next.called);
	assert_int_equal(1, next.nb_faults);
	assert_int_equal(0x3000, next.first);
	assert_int_equal(0, prg.called);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(2, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
	prg_put(SID, 2, 1, 0x2000, LAST);
	prg_poll_all();
	assert_int_equal(1, prg.called);
	assert_int_equal(2, prg.nb_faults);
	assert_int_equal(2, hw.nb_out);
	/* ATS and PRI stay on. */
	assert_string_equal("", prg.log);
}

static void
put_last(void)
{
	prg_put(SID, 1, 1, 0x2000, LAST);
	hw.on_replace = NULL;
	prg_poll_all();
}

/* During the call the Last completes a group of neither domain: no handler maps its pages. */
static void
a_last_during_the_replace_is_sent_back(void **state)
{
	(void)state;
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_poll_all();
	hw.on_replace = put_last;
	assert_int_equal(0, iopf_domain_replace(next.domain, prg.dev, 1));
	assert_int_equal(0, prg.called + next.called);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(1, iopf_domain_stat(prg.domain, IOPF_STAT_RETRIED) +
			iopf_domain_stat(next.domain, IOPF_STAT_RETRIED));
}

static void
put_first(void)
{
	hw.on_replace = NULL;
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_poll_all();
}

/* A group begins, then the driver refuses. The attachment that the group has found is freed. */
static void
refuse_a_replace_with_a_partial_group(void)
{
	prg_mute_log(true);
	hw.on_replace = put_first;
	hw.knobs[ARRAY_REPLACE].fail = -ENOMEM;
	hw.knobs[ARRAY_REPLACE].nb_fail = 1;
	assert_int_equal(-ENOMEM, iopf_domain_replace(next.domain, prg.dev, 1));
	prg_mute_log(false);
}

static void
the_last_after_a_refused_replace_is_a_group_of_the_old_domain(void **state)
{
	(void)state;
	refuse_a_replace_with_a_partial_group();
	prg_put(SID, 1, 1, 0x2000, LAST);
	prg_poll_all();
	assert_int_equal(0, next.called);
	assert_int_equal(1, prg.called);
	assert_int_equal(1, prg.nb_faults);
	assert_int_equal(0x2000, prg.addrs[0]);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
}

static void
a_loss_after_a_refused_replace_is_not_for_the_new_domain(void **state)
{
	(void)state;
	refuse_a_replace_with_a_partial_group();
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	prg_poll_all();
	assert_int_equal(0, next.lost);
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	assert_int_equal(1, prg.called);
	assert_int_equal(2, prg.nb_faults);
	assert_int_equal(0, next.called);
}

/* The index of a taken group is free after the replace: its late answer is for no other group. */
static void
a_late_answer_does_not_reach_the_new_group_of_its_index(void **state)
{
	uint64_t id;

	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	id = prg.last_id;
	assert_int_equal(0, iopf_domain_replace(next.domain, prg.dev, 1));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	assert_int_equal(1, next.called);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_INVALID));
	assert_int_equal(2, hw.nb_out);
}

/*
 * IOPF_TERMINATE
 */

static struct {
	_Atomic unsigned int n;
	struct iopf_retry last;
} retries;

static void
on_retry(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx)
{
	(void)ctx;
	assert_ptr_equal(one.dev, dev);
	retries.last = *retry;
	retries.n++;
}

static int
one_next_setup(void **state)
{
	one_setup(state);
	next_open();
	retries.n = 0;
	return 0;
}

static int
one_next_teardown(void **state)
{
	hold = false;
	assert_int_equal(0, iopf_dev_remove(one.dev));
	one.dev = NULL;
	assert_int_equal(0, iopf_domain_destroy(next.domain));
	assert_int_equal(0, hw.misused);
	return one_teardown(state);
}

static void
put_aborted(void)
{
	one_put((struct iopf_event){ .addr = 0x4000, .sid = SID, .pasid = IOPF_NO_PASID,
			.perm = IOPF_PERM_WRITE, .raw_id = 0x10 });
}

static void
put_aborted_and_poll(void)
{
	put_aborted();
	iopf_poll(one.poller);
}

static void
a_device_that_repeats_accesses_is_told_to_by_a_replace(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	assert_int_equal(0, iopf_dev_remove(one.dev));
	one.dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops = { .retry = on_retry } });
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	one.verdict = IOPF_TAKEN;
	put_aborted();
	iopf_poll(one.poller);
	assert_int_equal(1, one.called);
	/* One that is taken, and two that come before and after the switch. */
	hw.on_replace = put_aborted_and_poll;
	assert_int_equal(0, iopf_domain_replace(next.domain, one.dev, IOPF_NO_PASID));
	hw.on_replace = NULL;
	assert_int_equal(3, retries.n);
	assert_int_equal(IOPF_SUCCESS, retries.last.code);
	assert_int_equal(0x4000, retries.last.addr);
	assert_int_equal(IOPF_PERM_WRITE, retries.last.perm);
	assert_int_equal(1, one.called);
	assert_int_equal(0, next.called);
	assert_int_equal(-ESTALE, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	assert_int_equal(3, retries.n);
	/* The repeated access faults in the new domain. */
	put_aborted_and_poll();
	assert_int_equal(1, next.called);
	assert_int_equal(4, retries.n);
	assert_int_equal(0, hw.nb_out);
}

/*
 * A staged answer
 */

static enum iopf_verdict
answer_after_or_hold(const struct iopf_group *group)
{
	if (group->faults[0]->token == 2) {
		held = true;
		while (hold)
			usleep(50);
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){
			.addr = 0x1000, .size = 0x1000 }));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void *
poll_once(void *arg)
{
	iopf_poll(arg);
	return NULL;
}

static void *
replace_and_destroy(void *arg)
{
	int *ret = arg;

	*ret = iopf_domain_replace(next.domain, one.dev, IOPF_NO_PASID);
	replaced = true;
	return NULL;
}

/* The batch has an invalidation of the old domain: the domain must not be released before it. */
static void
a_staged_answer_is_sent_before_the_old_domain_is_released(void **state)
{
	pthread_t poller, replacer;
	int ret = 1;

	(void)state;
	hold = true;
	held = replaced = false;
	one.in_handler = answer_after_or_hold;
	one_put_stall(1, 0x1000);
	one_put_stall(2, 0x2000);
	pthread_create(&poller, NULL, poll_once, one.poller);
	while (!held)
		usleep(50);
	pthread_create(&replacer, NULL, replace_and_destroy, &ret);
	usleep(2000);
	assert_false(replaced);
	assert_int_equal(0, hw.nb_out);
	hold = false;
	pthread_join(replacer, NULL);
	assert_int_equal(0, ret);
	assert_int_equal(2, hw.nb_out);
	pthread_join(poller, NULL);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(IOPF_SUCCESS, hw.out[i].answer.code);
	assert_int_equal(1, hw.posted_invs);
	assert_int_equal(0, hw.misused);
	assert_int_equal(0, iopf_domain_stat(one.domain, IOPF_STAT_RETRIED));
	one.in_handler = NULL;
	one_put_stall(3, 0x3000);
	iopf_poll(one.poller);
	assert_int_equal(1, next.called);
}

/*
 * Records of the old domain that are read or dispatched late
 */

static struct {
	struct iopf_domain *domain;	/* of another PASID, whose fast handler holds up the pass */
	pthread_t thread;
	bool unread;			/* the record of the old domain comes after the burst */
} slow;

static enum iopf_verdict
hold_pass(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	held = true;
	while (hold)
		usleep(50);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

/* Called before the switch: a pass is held up in front of a fault of the old domain. */
static void
begin_slow_pass(void)
{
	hw.on_replace = NULL;
	one_put((struct iopf_event){ .addr = 0x1000, .sid = SID, .pasid = 2, .token = 1,
			.perm = IOPF_PERM_READ, .flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
	if (!slow.unread)
		one_put_stall(2, 0x2000);
	hold = true;
	held = false;
	pthread_create(&slow.thread, NULL, poll_once, one.poller);
	while (!held)
		usleep(50);
	if (slow.unread)
		one_put_stall(2, 0x2000);
}

static void
slow_open(bool unread)
{
	slow.unread = unread;
	slow.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = hold_pass });
	assert_non_null(slow.domain);
	assert_int_equal(0, iopf_domain_attach(slow.domain, one.dev, 2));
	hw.on_replace = begin_slow_pass;
}

static void
slow_close(void)
{
	assert_int_equal(0, iopf_domain_detach(slow.domain, one.dev, 2));
	assert_int_equal(0, iopf_domain_destroy(slow.domain));
}

/* Both faults were answered SUCCESS, the one of the old domain without a handler. */
static void
check_sent_back(unsigned int from)
{
	assert_int_equal(from + 2, hw.nb_out);
	for (unsigned int i = from; i < from + 2; i++)
		assert_int_equal(IOPF_SUCCESS, hw.out[i].answer.code);
	assert_int_equal(0, one.called + next.called);
}

/* Poll has returned the record, which is all that the fence waits for. */
static void
a_fault_that_is_dispatched_late_is_not_for_the_new_domain(void **state)
{
	pthread_t replacer;
	int ret = 1;

	(void)state;
	slow_open(false);
	pthread_create(&replacer, NULL, replace_and_destroy, &ret);
	/* The fence. */
	while (hw.knobs[ARRAY_MARK].calls == 0)
		usleep(50);
	usleep(20000);
	hold = false;
	pthread_join(replacer, NULL);
	pthread_join(slow.thread, NULL);
	assert_int_equal(0, ret);
	check_sent_back(0);
	one_put_stall(3, 0x3000);
	iopf_poll(one.poller);
	assert_int_equal(1, next.called);
	slow_close();
}

/* The call times out: the queue is read after it. */
static void
a_fault_that_is_read_late_is_not_for_the_new_domain(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	assert_int_equal(0, iopf_dev_remove(one.dev));
	one.dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.nb_pasids = NB_PASIDS, .wait_ms = 100 });
	for (unsigned int i = 0; i < 2; i++) {
		unsigned int out = hw.nb_out;

		next.called = 0;
		one.called = 0;
		assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
		slow_open(true);
		one_mute_log(true);
		assert_int_equal(-ETIMEDOUT, iopf_domain_replace(next.domain, one.dev,
				IOPF_NO_PASID));
		one_mute_log(false);
		hold = false;
		pthread_join(slow.thread, NULL);
		while (iopf_poll(one.poller) != 0)
			;
		check_sent_back(out);
		/* Two ways to finish it: then the new domain's handlers are called. */
		if (i == 0)
			assert_int_equal(0, iopf_domain_replace(next.domain, one.dev,
					IOPF_NO_PASID));
		else
			assert_int_equal(0, iopf_domain_detach(one.domain, one.dev,
					IOPF_NO_PASID));
		one_put_stall(3, 0x3000);
		iopf_poll(one.poller);
		assert_int_equal(1, next.called);
		assert_int_equal(0, iopf_domain_detach(next.domain, one.dev, IOPF_NO_PASID));
		slow_close();
	}
}

#define GROUPS_TEST(fn) cmocka_unit_test_setup_teardown(fn, groups_setup, groups_teardown)
#define NEXT_TEST(fn) cmocka_unit_test_setup_teardown(fn, one_next_setup, one_next_teardown)

static const struct CMUnitTest tests[] = {
	GROUPS_TEST(the_last_of_a_partial_group_is_a_group_of_the_new_domain),
	GROUPS_TEST(a_last_during_the_replace_is_sent_back),
	GROUPS_TEST(the_last_after_a_refused_replace_is_a_group_of_the_old_domain),
	GROUPS_TEST(a_loss_after_a_refused_replace_is_not_for_the_new_domain),
	GROUPS_TEST(a_late_answer_does_not_reach_the_new_group_of_its_index),
	NEXT_TEST(a_device_that_repeats_accesses_is_told_to_by_a_replace),
	NEXT_TEST(a_staged_answer_is_sent_before_the_old_domain_is_released),
	NEXT_TEST(a_fault_that_is_dispatched_late_is_not_for_the_new_domain),
	NEXT_TEST(a_fault_that_is_read_late_is_not_for_the_new_domain),
};

TEST_SUITE(replace_groups, tests, NULL, NULL);
