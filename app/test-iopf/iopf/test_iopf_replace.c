/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 9: a domain is replaced by another while its faults are in each state. Each fault is
 * answered once. After the call no handler of the old domain runs for the device.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "test.h"

/* A domain with its handlers. */
struct side {
	struct iopf_domain *domain;
	enum iopf_verdict verdict;
	_Atomic unsigned int fast, deferred;	/* calls */
	_Atomic uint64_t last_id;
	_Atomic bool hold;			/* handlers wait while set */
	_Atomic unsigned int holding;
};

static struct side a, b;

static void
wait_while_held(struct side *side)
{
	side->holding++;
	while (side->hold)
		usleep(100);
	side->holding--;
}

static enum iopf_verdict
run_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct side *side = ctx;

	assert_ptr_equal(domain, side->domain);
	side->last_id = group->id;
	side->fast++;
	if (side->verdict != IOPF_DEFER)
		wait_while_held(side);
	return side->verdict;
}

static enum iopf_verdict
run_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct side *side = ctx;

	assert_ptr_equal(domain, side->domain);
	side->last_id = group->id;
	side->deferred++;
	wait_while_held(side);
	return IOPF_ANSWER(IOPF_INVALID);
}

static void
side_open(struct side *side)
{
	side->domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = run_fast,
			.deferred = run_deferred, .worker = one.worker, .ctx = side });
	assert_non_null(side->domain);
	side->verdict = IOPF_ANSWER(IOPF_SUCCESS);
	side->fast = side->deferred = 0;
	side->hold = false;
}

/* A device of its own with the domain a; a wait of handlers takes 100 ms. */
static int
setup(void **state)
{
	const uint32_t sids[2] = { SID, SID + 1 };

	one_setup(state);
	assert_int_equal(0, iopf_dev_remove(one.dev));
	one.dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = sids, .nb_sids = 2,
			.nb_pasids = NB_PASIDS, .wait_ms = 100 });
	assert_non_null(one.dev);
	side_open(&a);
	side_open(&b);
	assert_int_equal(0, iopf_domain_attach(a.domain, one.dev, IOPF_NO_PASID));
	return 0;
}

static int
teardown(void **state)
{
	a.hold = b.hold = false;
	one_mute_log(false);
	while (iopf_dev_remove(one.dev) != 0)
		usleep(100);
	assert_int_equal(0, iopf_domain_destroy(a.domain));
	assert_int_equal(0, iopf_domain_destroy(b.domain));
	one.dev = NULL;
	assert_int_equal(0, hw.misused);
	return one_teardown(state);
}

static int
replace(struct side *side)
{
	return iopf_domain_replace(side->domain, one.dev, IOPF_NO_PASID);
}

/* The device's next fault is given to this domain, and to no other. */
static void
check_domain(struct side *side)
{
	unsigned int in_a = a.fast, in_b = b.fast, out = hw.nb_out;
	enum iopf_verdict verdict = side->verdict;

	side->verdict = IOPF_ANSWER(IOPF_SUCCESS);
	one_put_stall(29, 0x7000);
	while (iopf_poll(one.poller) == 0)
		;
	assert_int_equal(out + 1, hw.nb_out);
	assert_int_equal(in_a + (side == &a), a.fast);
	assert_int_equal(in_b + (side == &b), b.fast);
	side->verdict = verdict;
}

static void
assert_all_answered_success(unsigned int n)
{
	assert_int_equal(n, hw.nb_out);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(IOPF_SUCCESS, hw.out[i].answer.code);
}

static void
taken_faults_are_sent_back_to_the_device(void **state)
{
	(void)state;
	a.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 10; i++)
		one_put_stall(i, 0x1000 * i);
	iopf_poll(one.poller);
	assert_int_equal(0, replace(&b));
	assert_all_answered_success(10);
	assert_int_equal(10, iopf_domain_stat(a.domain, IOPF_STAT_RETRIED));
	assert_int_equal(0, iopf_domain_pending(a.domain));
	assert_int_equal(-ESTALE, iopf_group_respond(a.last_id, IOPF_INVALID));
	assert_int_equal(10, hw.nb_out);
	check_domain(&b);
	/* The other way round: a can be used again. */
	assert_int_equal(0, replace(&a));
	check_domain(&a);
	assert_int_equal(1, hw.attached);
}

static void
a_replaced_domain_can_be_destroyed(void **state)
{
	(void)state;
	assert_int_equal(0, replace(&b));
	assert_int_equal(0, iopf_domain_destroy(a.domain));
	check_domain(&b);
	side_open(&a);
}

static void
records_not_yet_read_are_sent_back_without_a_handler(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 200; i++)
		one_put((struct iopf_event){ .addr = 0x1000 * i, .sid = SID + i % 2,
			.pasid = IOPF_NO_PASID, .token = i % 30, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
	assert_int_equal(0, replace(&b));
	assert_all_answered_success(200);
	assert_int_equal(0, a.fast + b.fast);
	assert_int_equal(200, iopf_domain_stat(a.domain, IOPF_STAT_RETRIED) +
			iopf_domain_stat(b.domain, IOPF_STAT_RETRIED));
	check_domain(&b);
}

static void
put_and_poll(void)
{
	one_put_stall(1, 0x5000);
	iopf_poll(one.poller);
}

/* Before and after the switch: the access finds the old domain or the new one, whichever it is. */
static void
faults_during_the_switch_reach_no_handler(void **state)
{
	(void)state;
	hw.on_replace = put_and_poll;
	assert_int_equal(0, replace(&b));
	hw.on_replace = NULL;
	assert_all_answered_success(2);
	assert_int_equal(0, a.fast + b.fast);
	check_domain(&b);
}

static void
queued_faults_are_sent_back_and_a_deferred_handler_is_awaited(void **state)
{
	(void)state;
	a.verdict = IOPF_DEFER;
	a.hold = true;
	one_put_stall(1, 0x1000);
	one_put_stall(2, 0x2000);
	iopf_poll(one.poller);
	while (a.holding == 0)
		usleep(100);
	/* It does not return within wait_ms: the device has its new domain all the same. */
	one_mute_log(true);
	assert_int_equal(-ETIMEDOUT, replace(&b));
	assert_all_answered_success(2);
	check_domain(&b);
	assert_int_equal(-EBUSY, iopf_domain_destroy(a.domain));
	assert_int_equal(-ETIMEDOUT, replace(&b));
	a.hold = false;
	/* On a busy machine the handler's thread may need several times wait_ms. */
	for (unsigned int i = 0; i < 1000 && replace(&b) == -ETIMEDOUT; i++)
		;
	assert_int_equal(0, replace(&b));
	/* The second was not given to its handler, and the late answer to the first is stale. */
	assert_int_equal(1, a.deferred);
	assert_int_equal(0, a.holding);
	assert_int_equal(3, hw.nb_out);
	check_domain(&b);
}

static void *
poll_once(void *arg)
{
	(void)arg;
	while (iopf_poll(one.poller) == 0)
		;
	return NULL;
}

static void *
release_a_later(void *arg)
{
	(void)arg;
	/* The answer of the replace does not wait for the handler. */
	while (hw.nb_out == 0)
		usleep(100);
	assert_int_equal(1, a.holding);
	a.hold = false;
	return NULL;
}

static void
a_fault_in_a_fast_handler_is_sent_back_and_the_handler_awaited(void **state)
{
	pthread_t poller, releaser;

	(void)state;
	a.verdict = IOPF_ANSWER(IOPF_INVALID);
	a.hold = true;
	one_put_stall(1, 0x1000);
	pthread_create(&poller, NULL, poll_once, NULL);
	while (a.holding == 0)
		usleep(100);
	/* The pass is a read section: the replace waits for its end, then finds it answered. */
	a.hold = false;
	assert_int_equal(0, replace(&b));
	assert_int_equal(0, a.holding);
	assert_int_equal(1, hw.nb_out);
	pthread_join(poller, NULL);
	/* A deferred handler holds up no read section: its fault is answered while it runs. */
	assert_int_equal(0, replace(&a));
	hw.nb_out = 0;
	a.verdict = IOPF_DEFER;
	a.hold = true;
	one_put_stall(2, 0x2000);
	iopf_poll(one.poller);
	while (a.holding == 0)
		usleep(100);
	pthread_create(&releaser, NULL, release_a_later, NULL);
	while (replace(&b) != 0)
		;
	pthread_join(releaser, NULL);
	assert_int_equal(0, a.holding);
	assert_all_answered_success(1);
	check_domain(&b);
}

static enum iopf_verdict
replace_inside(const struct iopf_group *group)
{
	(void)group;
	assert_int_equal(-EDEADLK, iopf_domain_replace(b.domain, one.dev, IOPF_NO_PASID));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
wrong_calls_change_nothing(void **state)
{
	unsigned int calls = hw.knobs[ARRAY_REPLACE].calls;

	(void)state;
	one_mute_log(true);
	assert_int_equal(-EINVAL, iopf_domain_replace(NULL, one.dev, IOPF_NO_PASID));
	assert_int_equal(-EINVAL, iopf_domain_replace(a.domain, NULL, IOPF_NO_PASID));
	assert_int_equal(-ENOTCONN, iopf_domain_replace(b.domain, one.dev, 3));
	one_mute_log(false);
	SAYS("PASID 16 is out of range; the device was added with 16 PASIDs: raise nb_pasids",
		assert_int_equal(-ERANGE, iopf_domain_replace(b.domain, one.dev, NB_PASIDS)));
	one_mute_log(true);
	/* The same domain: its faults stay. */
	a.verdict = IOPF_TAKEN;
	one_put_stall(1, 0x1000);
	iopf_poll(one.poller);
	assert_int_equal(0, replace(&a));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_group_respond(a.last_id, IOPF_SUCCESS));
	assert_int_equal(calls, hw.knobs[ARRAY_REPLACE].calls);
	/* In a handler. */
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, 1));
	one.in_handler = replace_inside;
	one_put((struct iopf_event){ .sid = SID, .pasid = 1, .token = 2, .flags = IOPF_EVENT_STALL,
			.raw_id = 0x10 });
	iopf_poll(one.poller);
	assert_int_equal(1, one.called);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, 1));
	check_domain(&a);
	assert_int_equal(0, iopf_domain_stat(b.domain, IOPF_STAT_FAULTS));
}

static void
a_failed_replace_that_changed_nothing_leaves_the_old_domain(void **state)
{
	uint64_t id;

	(void)state;
	one_mute_log(true);
	a.verdict = IOPF_TAKEN;
	one_put_stall(1, 0x1000);
	iopf_poll(one.poller);
	id = a.last_id;
	hw.knobs[ARRAY_REPLACE].fail = -EIO;
	hw.knobs[ARRAY_REPLACE].nb_fail = 1;
	hw.on_replace = put_and_poll;
	assert_int_equal(-EIO, replace(&b));
	hw.on_replace = NULL;
	/* The fault that came meanwhile was sent back; the other one still waits. */
	assert_all_answered_success(1);
	check_domain(&a);
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_destroy(b.domain));
	side_open(&b);
	assert_int_equal(0, replace(&b));
	check_domain(&b);
}

/* What finishes a replace that failed after the switch. */
static int
finish_by_replace(void)
{
	return replace(&b);
}

static int
finish_by_replace_back(void)
{
	return replace(&a);
}

static int
finish_by_detach(void)
{
	return iopf_domain_detach(b.domain, one.dev, IOPF_NO_PASID);
}

static int
finish_by_detach_of_the_old(void)
{
	return iopf_domain_detach(a.domain, one.dev, IOPF_NO_PASID);
}

static void
a_replace_that_failed_after_the_switch_is_finished_later(void **state)
{
	static int (*const finish[])(void) = { finish_by_replace, finish_by_replace_back,
		finish_by_detach, finish_by_detach_of_the_old };

	(void)state;
	one_mute_log(true);
	for (unsigned int i = 0; i < sizeof(finish) / sizeof(finish[0]); i++) {
		hw.nb_out = 0;
		a.verdict = IOPF_TAKEN;
		one_put_stall(1, 0x1000);
		iopf_poll(one.poller);
		hw.knobs[ARRAY_REPLACE].fail = hw.knobs[ARRAY_DETACH].fail = -ETIMEDOUT;
		hw.knobs[ARRAY_REPLACE].nb_fail = 1;
		hw.replace_half = true;
		assert_int_equal(-ETIMEDOUT, replace(&b));
		hw.replace_half = false;
		assert_int_equal(2, hw.attached);
		/* The new domain serves the device. The old one keeps what the IOMMU may use. */
		check_domain(&b);
		assert_int_equal(-EBUSY, iopf_domain_destroy(a.domain));
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		assert_int_equal(-ETIMEDOUT, replace(&b));
		check_domain(&b);
		assert_int_equal(0, finish[i]());
		/* Its fault was sent back, and it is not attached any more. */
		assert_all_answered_success(3);
		assert_int_equal(-ESTALE, iopf_group_respond(a.last_id, IOPF_SUCCESS));
		assert_int_equal(finish[i] == finish_by_detach ? 0 : 1, hw.attached);
		if (finish[i] == finish_by_detach)
			assert_int_equal(0, iopf_domain_attach(a.domain, one.dev, IOPF_NO_PASID));
		else if (finish[i] != finish_by_replace_back)
			assert_int_equal(0, replace(&a));
	}
	/* A removal finishes it too: see teardown(). */
	hw.knobs[ARRAY_REPLACE].nb_fail = 1;
	hw.replace_half = true;
	assert_int_equal(-ETIMEDOUT, replace(&b));
}

/* A queue that is not read holds up the end of a replace, not the device. */
static void
an_iommu_that_is_off_can_be_replaced_on(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(0, replace(&b));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
	check_domain(&b);
}

static void
other_pasids_keep_their_domain_and_faults(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, 2));
	one.verdict = IOPF_TAKEN;
	one_put((struct iopf_event){ .sid = SID, .pasid = 2, .token = 2, .flags = IOPF_EVENT_STALL,
			.raw_id = 0x10 });
	iopf_poll(one.poller);
	assert_int_equal(0, replace(&b));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, 2));
}

static _Atomic bool stop;

static void *
invalidate_both(void *arg)
{
	const struct iopf_inv inv = { .addr = 0x1000, .size = 0x1000 };

	(void)arg;
	while (!stop) {
		iopf_invalidate(a.domain, &inv, 1, NULL);
		iopf_invalidate(b.domain, &inv, 1, NULL);
	}
	return NULL;
}

static void *
poll_until_stopped(void *arg)
{
	(void)arg;
	while (!stop)
		iopf_poll(one.poller);
	return NULL;
}

static void
replace_invalidate_and_faults_run_at_once(void **state)
{
	pthread_t threads[2];
	unsigned int put = 0;

	(void)state;
	stop = false;
	a.verdict = IOPF_DEFER;
	pthread_create(&threads[0], NULL, invalidate_both, NULL);
	pthread_create(&threads[1], NULL, poll_until_stopped, NULL);
	for (unsigned int i = 0; i < 200 * test_scale(); i++) {
		for (unsigned int k = 0; k < 3; k++, put++)
			one_put_stall(put % 30, 0x1000 * put);
		while (replace(i % 2 ? &a : &b) != 0)
			;
		while (hw.q[0].prod - hw.q[0].cons > 100)
			usleep(100);
	}
	for (unsigned int i = 0; i < 100000 && hw.nb_out < put; i++)
		usleep(100);
	stop = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	assert_int_equal(put, hw.nb_out);
	assert_int_equal(1, hw.attached);
}

/* A driver without the operation. */
static void
a_driver_that_cannot_replace_says_so(void **state)
{
	const uint32_t sid = SID;
	struct iopf_domain *domains[2];
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;

	(void)state;
	one_mute_log(true);
	array_iommu_reset();
	iommu = iopf_iommu_open("bare,n=1");
	assert_non_null(iommu);
	dev = iopf_dev_add(iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	for (unsigned int i = 0; i < 2; i++)
		domains[i] = iopf_domain_create(&(struct iopf_domain_conf){ .handler = run_fast,
				.ctx = &a });
	assert_int_equal(0, iopf_domain_attach(domains[0], dev, IOPF_NO_PASID));
	assert_int_equal(-ENOTSUP, iopf_domain_replace(domains[1], dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_replace(domains[0], dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(domains[1]));
	assert_int_equal(-EBUSY, iopf_domain_destroy(domains[0]));
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_domain_destroy(domains[0]));
	assert_int_equal(0, iopf_iommu_close(iommu));
	one_mute_log(false);
}

#define REPLACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static const struct CMUnitTest tests[] = {
	REPLACE_TEST(taken_faults_are_sent_back_to_the_device),
	REPLACE_TEST(a_replaced_domain_can_be_destroyed),
	REPLACE_TEST(records_not_yet_read_are_sent_back_without_a_handler),
	REPLACE_TEST(faults_during_the_switch_reach_no_handler),
	REPLACE_TEST(queued_faults_are_sent_back_and_a_deferred_handler_is_awaited),
	REPLACE_TEST(a_fault_in_a_fast_handler_is_sent_back_and_the_handler_awaited),
	REPLACE_TEST(wrong_calls_change_nothing),
	REPLACE_TEST(a_failed_replace_that_changed_nothing_leaves_the_old_domain),
	REPLACE_TEST(a_replace_that_failed_after_the_switch_is_finished_later),
	REPLACE_TEST(an_iommu_that_is_off_can_be_replaced_on),
	REPLACE_TEST(other_pasids_keep_their_domain_and_faults),
	REPLACE_TEST(replace_invalidate_and_faults_run_at_once),
	cmocka_unit_test(a_driver_that_cannot_replace_says_so),
};

TEST_SUITE(iopf_replace, tests, NULL, NULL);
