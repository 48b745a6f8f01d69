/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Each wait of a control call has wait_ms for itself: a step that took long before it does not end
 * it early. On an IOMMU made of arrays.
 */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "quarantine.h"
#include "test.h"

#define WAIT_MS 50

/* A fast handler that does not return while hold is set. */
static struct {
	_Atomic bool hold;
	_Atomic unsigned int calls;
	struct iopf_domain *domain;
	unsigned int out_at_return;	/* answers when the control call returned */
	unsigned int waits;
} slow;

static enum iopf_verdict
take_slowly(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	slow.calls++;
	for (unsigned int i = 0; i < 100000 && slow.hold; i++)
		usleep(100);
	return IOPF_TAKEN;
}

static void
open_slow(bool requests)
{
	memset(&slow, 0, sizeof(slow));
	ctl_open(requests, false);
	slow.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = take_slowly });
	assert_non_null(slow.domain);
	assert_int_equal(0, iopf_domain_attach(slow.domain, ctl.dev[0], IOPF_NO_PASID));
	slow.hold = true;
}

static void
close_slow(void)
{
	assert_int_equal(0, iopf_domain_detach(slow.domain, ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(slow.domain));
}

static int
poll_once(void *poller)
{
	iopf_poll(poller);
	return 0;
}

static struct call *
begin_slow_handler(void)
{
	struct call *call = ctl_start_call(poll_once, ctl.poller);

	for (unsigned int i = 0; i < 100000 && slow.calls == 0; i++)
		usleep(100);
	assert_int_equal(1, slow.calls);
	return call;
}

static int
quarantine0(void *dev)
{
	int ret = iopf_dev_quarantine(dev);

	slow.out_at_return = hw.nb_out;
	return ret;
}

/* The second record was read with the first, and is not dispatched yet. */
static void
a_quarantine_by_hand_waits_for_the_pass_that_has_its_records(void **state)
{
	struct call *polling, *call;

	(void)state;
	open_slow(false);
	ctl_put_stall(0, 1);
	ctl_put_stall(0, 2);
	polling = begin_slow_handler();
	call = ctl_start_call(quarantine0, ctl.dev[0]);
	for (unsigned int i = 0; i < 1000 && !call->ended; i++)
		usleep(100);
	slow.hold = false;
	assert_int_equal(0, ctl_end_call(polling));
	assert_int_equal(0, ctl_end_call(call));
	assert_int_equal(2, slow.out_at_return);
	assert_int_equal(1, slow.calls);
	close_slow();
}

/* Another thread wants the quarantine while the thread of the request queue is in a handler. */
static void
a_quarantine_answers_a_group_that_is_taken_meanwhile(void **state)
{
	struct iopf_quarantine_note note;
	struct iopf_dev *dev;
	struct call *polling;

	(void)state;
	open_slow(true);
	dev = ctl.dev[0];
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = IOPF_NO_PASID, .token = 1, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	polling = begin_slow_handler();
	atomic_store(&dev->limits.quarantine, IOPF_QUARANTINE_WANTED);
	pthread_mutex_lock(&dev->lock);
	iopf_quarantine_serve(dev, rte_rdtsc(), &note);
	pthread_mutex_unlock(&dev->lock);
	assert_true(note.is_due);
	slow.hold = false;
	assert_int_equal(0, ctl_end_call(polling));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(0, iopf_domain_pending(slow.domain));
	assert_int_equal(0, iopf_dev_release(dev));
	assert_int_equal(1, hw.nb_out);
	close_slow();
}

static void
end_callback(void)
{
	atomic_store(&ctl.dev[0]->told, NULL);
}

/* A driver's detach that takes longer than wait_ms, of which nothing is left then. */
static void
end_slow_detach(void)
{
	assert_true(array_wait_held(ARRAY_DETACH, 1));
	usleep(2 * WAIT_MS * 1000);
	array_release(ARRAY_DETACH);
}

static int
remove0(void *dev)
{
	int ret = iopf_dev_remove(dev);

	if (ret == 0)
		ctl.dev[0] = NULL;
	return ret;
}

static int
detach0(void *domain)
{
	return iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID);
}

/* The callback of a breaker is not blamed for the detach of another PASID. */
static void
a_removal_waits_for_a_callback_after_a_slow_detach(void **state)
{
	struct call *call;

	(void)state;
	ctl.wait_ms = WAIT_MS;
	ctl_open(false, true);
	/* Detached first. */
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 1));
	atomic_store(&ctl.dev[0]->told, iopf_attachment_find(ctl.dev[0], IOPF_NO_PASID));
	hw.knobs[ARRAY_DETACH].hold = 1;
	call = ctl_start_call(remove0, ctl.dev[0]);
	assert_true(array_wait_held(ARRAY_DETACH, 1));
	hw.on_wait = end_callback;
	end_slow_detach();
	assert_int_equal(0, ctl_end_call(call));
}

/* As a thread of a process or a virtual machine that is stopped for a while. */
static void
stop_for_long(void)
{
	usleep(2 * WAIT_MS * 1000);
	hw.on_wait = end_callback;
}

static void
a_wait_does_not_count_the_time_in_which_its_thread_is_stopped(void **state)
{
	(void)state;
	ctl.wait_ms = WAIT_MS;
	ctl_open(false, true);
	atomic_store(&ctl.dev[0]->told, iopf_attachment_find(ctl.dev[0], IOPF_NO_PASID));
	hw.on_wait = stop_for_long;
	assert_int_equal(0, remove0(ctl.dev[0]));
}

static void
wait_slowly(void)
{
	slow.waits++;
	usleep(2 * WAIT_MS * 1000);
	hw.on_wait = wait_slowly;
}

/* Steps that each take longer than the wait do not make it much longer. */
static void
a_wait_of_long_steps_ends_after_the_second(void **state)
{
	(void)state;
	ctl.wait_ms = WAIT_MS;
	ctl_open(false, true);
	atomic_store(&ctl.dev[0]->told, iopf_attachment_find(ctl.dev[0], IOPF_NO_PASID));
	slow.waits = 0;
	hw.on_wait = wait_slowly;
	assert_int_equal(-ETIMEDOUT, remove0(ctl.dev[0]));
	assert_int_equal(2, slow.waits);
	hw.on_wait = NULL;
	end_callback();
	assert_int_equal(0, remove0(ctl.dev[0]));
}

/* A poll thread is not blamed for a slow driver either. */
static void
a_detach_waits_for_the_queue_after_a_slow_driver(void **state)
{
	struct call *call;

	(void)state;
	ctl.wait_ms = WAIT_MS;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	hw.knobs[ARRAY_DETACH].hold = 1;
	call = ctl_start_call(detach0, ctl.domain[0]);
	assert_true(array_wait_held(ARRAY_DETACH, 1));
	ctl_put_stall(1, 1);
	end_slow_detach();
	assert_int_equal(0, ctl_end_call(call));
	assert_int_equal(1, hw.nb_out);
}

/* The device does not drain within wait_ms, and loses ATS all the same. */
static void
a_quarantine_by_hand_waits_for_the_queue_after_the_drain(void **state)
{
	(void)state;
	ctl.wait_ms = WAIT_MS;
	ctl_open(true, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	ctl.not_drained = true;
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID + 1,
			.pasid = IOPF_NO_PASID, .raw_id = 0x10 });
	assert_int_equal(0, iopf_dev_quarantine(ctl.dev[0]));
	ctl.not_drained = false;
	assert_int_equal(0, iopf_dev_release(ctl.dev[0]));
}

/* The line has the time of the wait, whatever bounds it. */
static void
a_queue_that_is_not_read_is_named_with_the_time(void **state)
{
	struct call *polling;

	(void)state;
	ctl.wait_ms = WAIT_MS;
	open_slow(false);
	ctl_put_stall(0, 1);
	polling = begin_slow_handler();
	ctl_put_stall(1, 1);
	SAYS("queue 0 was not read within 50 ms: a fast handler or a poll thread does not return",
		assert_int_equal(-ETIMEDOUT, iopf_dev_fence(ctl.dev[1])));
	slow.hold = false;
	assert_int_equal(0, ctl_end_call(polling));
	close_slow();
}

/* As in a drain, which has waited for the device before. */
static void
a_queue_is_named_with_the_time_that_was_left_for_it(void **state)
{
	struct call *polling;
	struct iopf_wait wait;

	(void)state;
	open_slow(false);
	ctl_put_stall(0, 1);
	polling = begin_slow_handler();
	ctl_put_stall(1, 1);
	iopf_wait_begin(&wait, rte_get_tsc_hz() / 1000 * WAIT_MS);
	wait.left /= 2;
	SAYS("queue 0 was not read within 25 ms: ", assert_int_equal(-ETIMEDOUT,
		iopf_queue_fence(&ctl.dev[0]->iommu->queues[0], &wait)));
	slow.hold = false;
	assert_int_equal(0, ctl_end_call(polling));
	close_slow();
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_quarantine_by_hand_waits_for_the_pass_that_has_its_records),
	CTL_TEST(a_quarantine_answers_a_group_that_is_taken_meanwhile),
	CTL_TEST(a_removal_waits_for_a_callback_after_a_slow_detach),
	CTL_TEST(a_wait_does_not_count_the_time_in_which_its_thread_is_stopped),
	CTL_TEST(a_wait_of_long_steps_ends_after_the_second),
	CTL_TEST(a_detach_waits_for_the_queue_after_a_slow_driver),
	CTL_TEST(a_quarantine_by_hand_waits_for_the_queue_after_the_drain),
	CTL_TEST(a_queue_that_is_not_read_is_named_with_the_time),
	CTL_TEST(a_queue_is_named_with_the_time_that_was_left_for_it),
};

TEST_SUITE(control_waits, tests, NULL, NULL);
