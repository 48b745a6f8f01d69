/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Stop and close, a driver without the operations that may be absent, and counters of refused
 * accesses (contract 16).
 */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_log.h>

#include "control_rig.h"
#include "idle.h"
#include "iopf_handler.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "iommu.h"
#include "iopf_iommu.h"
#include "iopf_policy.h"
#include "test.h"

static void
an_iommu_that_has_failed_is_not_started_before_it_is_stopped(void **state)
{
	(void)state;
	ctl_open(false, true);
	hw.check = IOPF_CHECK_DEAD;
	while (hw.check != 0)
		iopf_poll(ctl.poller);
	assert_int_equal(-EIO, iopf_iommu_start(ctl.iommu));
	assert_int_equal(EIO, rte_errno);
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
}

/* Poll threads read them still: the next user of the StreamID and PASID gets none of them. */
static void
control_calls_wait_for_the_records_of_an_iommu_that_has_failed(void **state)
{
	struct array_queue *q = &hw.q[IOPF_QUEUE_EVENTS];

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		ctl_open(false, true);
		ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		hw.check = IOPF_CHECK_DEAD;
		while (hw.check != 0)
			iopf_poll(ctl.poller);
		ctl_put_stall(0, 1);
		if (i == 0)
			assert_int_equal(0, iopf_dev_fence(ctl.dev[0]));
		else
			assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0],
					IOPF_NO_PASID));
		assert_int_equal(q->prod, q->cons);
		assert_int_equal(0, ctl_teardown(state));
		assert_int_equal(0, ctl_setup(state));
	}
}

static void
a_failed_stop_can_be_repeated_and_close_is_refused_before(void **state)
{
	(void)state;
	ctl_open(false, false);
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(ctl.dev[i]));
	assert_int_equal(0, iopf_poller_destroy(ctl.poller));
	hw.knobs[ARRAY_STOP].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_STOP].nb_fail = 2;
	assert_int_equal(-ETIMEDOUT, iopf_iommu_stop(ctl.iommu));
	hw.knobs[ARRAY_CLOSE].fail = -EBUSY;
	hw.knobs[ARRAY_CLOSE].nb_fail = 1;
	assert_int_equal(-EBUSY, iopf_iommu_close(ctl.iommu));
	assert_null(iopf_iommu_open("arrays,n=1"));
	assert_int_equal(-ETIMEDOUT, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(3, hw.knobs[ARRAY_STOP].calls);
	/* The IOMMU is off already. */
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(3, hw.knobs[ARRAY_STOP].calls);
	assert_int_equal(0, iopf_iommu_close(ctl.iommu));
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_domain_destroy(ctl.domain[i]));
	assert_int_equal(0, iopf_worker_destroy(ctl.worker));
	ctl.iommu = NULL;
}

static void
an_iommu_with_mapped_memory_is_not_closed(void **state)
{
	static uint8_t area[2][4096];
	uint64_t addr[2];

	(void)state;
	ctl.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(ctl.iommu);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(0, iopf_dma_map(ctl.iommu, area[i], 4096, &addr[i]));
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(-EBUSY, iopf_iommu_close(ctl.iommu));
		assert_int_equal(0, iopf_dma_unmap(ctl.iommu, area[i], 4096, addr[i]));
	}
	assert_int_equal(0, iopf_iommu_close(ctl.iommu));
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	ctl.iommu = NULL;
}

static void
memory_that_is_none_is_refused_with_a_line(void **state)
{
	static uint8_t area[4096];
	uint64_t addr;

	(void)state;
	ctl.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(ctl.iommu);
	SAYS("iopf_dma_map() of 0 bytes",
		assert_int_equal(-EINVAL, iopf_dma_map(ctl.iommu, area, 0, &addr)));
	SAYS("iopf_dma_map() of 4096 bytes at (nil)",
		assert_int_equal(-EINVAL, iopf_dma_map(ctl.iommu, NULL, 4096, &addr)));
	SAYS("a pointer for the device address",
		assert_int_equal(-EINVAL, iopf_dma_map(ctl.iommu, area, 4096, NULL)));
	assert_int_equal(0, iopf_iommu_close(ctl.iommu));
	ctl.iommu = NULL;
}

static void
a_driver_can_omit_operations(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	(void)state;
	ctl.bare = true;
	ctl_open(false, true);
	/* The invalidation comes before the answer. If it fails the answer is Invalid. */
	ctl.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	ctl.upgrade = true;
	for (unsigned int i = 0; i < 2; i++) {
		hw.knobs[ARRAY_INVALIDATE].fail = -EIO;
		hw.knobs[ARRAY_INVALIDATE].nb_fail = i;
		ctl_put_stall(0, i);
		assert_int_equal(1, iopf_poll(ctl.poller));
		assert_int_equal(i + 1, hw.knobs[ARRAY_INVALIDATE].calls);
		assert_int_equal(i + 1, hw.nb_out);
		assert_int_equal(i == 0 ? IOPF_SUCCESS : IOPF_INVALID, hw.out[i].answer.code);
	}
	/* Without a mark the detach reads the queue to its end. */
	for (unsigned int i = 0; i < 500; i++)
		ctl_put_stall(0, i % 30);
	assert_int_equal(0, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(502, hw.nb_out);
	assert_int_equal(-ENOTSUP, iopf_iommu_idle(ctl.iommu, -1));
	f = open_memstream(&text, &len);
	iopf_iommu_dump(ctl.iommu, f);
	fclose(f);
	assert_non_null(strstr(text, "running"));
	free(text);
	/* Enough passes to reach the check for errors. */
	for (unsigned int i = 0; i < 100; i++)
		iopf_poll(ctl.poller);
}

/* Contract 16: a refused access increments a counter for its reason and its device. */
static void
a_refused_access_is_counted_for_its_device(void **state)
{
	struct iopf_event ev = { .addr = 0x1000, .sid = SID, .pasid = 3, .raw_id = 0x0a,
		.reason = IOPF_REASON_CONFIG };

	(void)state;
	ctl_open(false, true);
	array_put(IOPF_QUEUE_EVENTS, &ev);		/* a PASID that is not attached */
	ev.flags = IOPF_EVENT_STALL;
	array_put(IOPF_QUEUE_EVENTS, &ev);
	ev.flags = 0;
	ev.sid = 99;
	array_put(IOPF_QUEUE_EVENTS, &ev);		/* no known device */
	ev.sid = SID;
	ev.pasid = IOPF_NO_PASID;
	array_put(IOPF_QUEUE_EVENTS, &ev);		/* attached, but not for a handler */
	iopf_poll(ctl.poller);
	assert_int_equal(2, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_NO_DOMAIN));
	assert_int_equal(1, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_REPORTS));
	assert_int_equal(1, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(1, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN));
	assert_int_equal(0, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_UNKNOWN_SID));
	assert_int_equal(1, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID));
	assert_int_equal(3, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_REPORTS));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[1], IOPF_DEV_STAT_NO_DOMAIN));
	assert_int_equal(1, hw.nb_out);
	assert_string_equal("unknown", iopf_dev_stat_name(IOPF_NB_DEV_STATS));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[0], IOPF_NB_DEV_STATS));
	assert_int_equal(0, iopf_dev_stat(NULL, IOPF_DEV_STAT_REPORTS));
}

static int
stop(void *arg)
{
	(void)arg;
	return iopf_iommu_stop(ctl.iommu);
}

static int
idle(void *fd)
{
	return iopf_iommu_idle(ctl.iommu, *(int *)fd);
}

/*
 * A stop waits for devices with page requests, and these for passes of the poll thread: a poll
 * thread about to sleep, or just awake, must not wait for the stop.
 */
static void
a_poll_thread_that_wants_to_sleep_does_not_wait_for_a_stop(void **state)
{
	int fds[] = { eventfd(0, EFD_NONBLOCK), -1 };
	struct call *stopping, *calls[2];

	(void)state;
	ctl_open(false, true);
	hw.can_idle = true;
	assert_int_equal(0, iopf_iommu_idle(ctl.iommu, fds[0]));
	hw.knobs[ARRAY_STOP].hold = 1;
	stopping = ctl_start_call(stop, NULL);
	assert_true(array_wait_held(ARRAY_STOP, 1));
	for (unsigned int i = 0; i < 2; i++)
		calls[i] = ctl_start_call(idle, &fds[i]);
	for (unsigned int n = 0; n < 100000 && !(calls[0]->ended && calls[1]->ended); n++)
		usleep(100);
	assert_true(calls[0]->ended && calls[1]->ended);
	assert_false(stopping->ended);
	/* It does not sleep, and the stop ends a sleep. */
	assert_int_equal(1, ctl_end_call(calls[0]));
	assert_int_equal(0, ctl_end_call(calls[1]));
	array_release(ARRAY_STOP);
	assert_int_equal(0, ctl_end_call(stopping));
	assert_int_equal(-EINVAL, iopf_iommu_idle(ctl.iommu, fds[0]));
	close(fds[0]);
}

/* The calls of idle inside the operation of a device, and their ends before the operation ended. */
static struct {
	unsigned int calls, ended;
} inside;

static void
idle_inside(void)
{
	static int fds[] = { 0, -1 };
	struct call *calls[2];

	if (inside.calls != 0)
		return;
	for (unsigned int i = 0; i < 2; i++, inside.calls++)
		calls[i] = ctl_start_call(idle, &fds[i]);
	for (unsigned int n = 0; n < 20000 && !(calls[0]->ended && calls[1]->ended); n++)
		usleep(100);
	for (unsigned int i = 0; i < 2; i++)
		inside.ended += calls[i]->ended;
}

/*
 * A start and a stop wait for a device, whose control call may wait for an ATC invalidation that a
 * recovery holds back, and the recovery needs passes of the poll thread.
 */
static void
a_poll_thread_that_wants_to_sleep_does_not_wait_for_a_device(void **state)
{
	(void)state;
	ctl_open(true, true);
	hw.can_idle = true;
	for (unsigned int i = 0; i < 2; i++) {
		memset(&inside, 0, sizeof(inside));
		ctl.in_pci_op = idle_inside;
		assert_int_equal(0, i == 0 ? iopf_iommu_stop(ctl.iommu) :
				iopf_iommu_start(ctl.iommu));
		ctl.in_pci_op = NULL;
		assert_int_equal(2, inside.calls);
		assert_int_equal(2, inside.ended);
	}
}

/*
 * A thread that asks, as a poll thread before its sleep, whether a queue has faults. A signal holds
 * it at any of its instructions.
 */
static struct {
	struct iopf_queue *queue;
	_Atomic bool end, hold, held;
} asker;

static void
hold_asker(int sig)
{
	(void)sig;
	asker.held = true;
	while (asker.hold)
		poll(NULL, 0, 1);
	asker.held = false;
}

static void *
ask_for_faults(void *arg)
{
	(void)arg;
	while (!asker.end)
		iopf_queue_has_faults(asker.queue);
	return NULL;
}

static void *
stop_once(void *arg)
{
	*(int *)arg = iopf_iommu_stop(ctl.iommu);
	return NULL;
}

/*
 * Stop the IOMMU while the thread is held. Returns true if the thread owns the queue in the middle
 * of the stop. If the stop waits for the thread, it is released after a while.
 */
static bool
stop_meets_an_owner(pthread_t thread)
{
	pthread_t stopper;
	bool owned;
	int ret = 1;

	asker.hold = true;
	assert_int_equal(0, pthread_kill(thread, SIGUSR1));
	while (!asker.held)
		usleep(10);
	hw.knobs[ARRAY_STOP].hold = 1;
	assert_int_equal(0, pthread_create(&stopper, NULL, stop_once, &ret));
	for (unsigned int i = 0; i < 30 && hw.knobs[ARRAY_STOP].held == 0; i++)
		usleep(100);
	owned = hw.knobs[ARRAY_STOP].held != 0 && asker.queue->owned != 0;
	asker.hold = false;
	while (asker.held)
		usleep(10);
	array_wait_held(ARRAY_STOP, 1);
	array_release(ARRAY_STOP);
	pthread_join(stopper, NULL);
	assert_int_equal(0, ret);
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	return owned;
}

/* The stop discards partial groups and writes to listeners as the only owner of the queues. */
static void
a_stop_waits_for_a_thread_that_looks_for_faults(void **state)
{
	struct sigaction action = { .sa_handler = hold_asker }, before;
	unsigned int owners = 0;
	pthread_t thread;

	(void)state;
	ctl_open(false, true);
	asker.queue = &ctl.iommu->queues[IOPF_QUEUE_EVENTS];
	asker.end = false;
	assert_int_equal(0, sigaction(SIGUSR1, &action, &before));
	assert_int_equal(0, pthread_create(&thread, NULL, ask_for_faults, NULL));
	for (unsigned int round = 0; round < 200; round++)
		owners += stop_meets_an_owner(thread);
	asker.end = true;
	pthread_join(thread, NULL);
	sigaction(SIGUSR1, &before, NULL);
	assert_int_equal(0, owners);
}

/* The request queue of a failed IOMMU may have ended the PRI of its devices. */
static void
a_start_after_a_failure_switches_pri_on_again(void **state)
{
	(void)state;
	ctl_open(true, true);
	assert_true(ctl.pri_fn.pri);
	hw.check = IOPF_CHECK_DEAD;
	for (unsigned int i = 0; i < 1000000 && hw.check != 0; i++)
		iopf_poll(ctl.poller);
	assert_int_equal(-EIO, iopf_iommu_start(ctl.iommu));
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_false(ctl.pri_fn.pri);
	assert_false(ctl.pri_fn.ats);
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	assert_true(ctl.pri_fn.pri);
	assert_int_equal(1, ctl.pri_fn.nb_pri_off);
	assert_int_equal(0, ctl.pri_fn.nb_wrong);
}

/* It polls: the end of a sleep that did not begin wakes no other poll thread. */
static void
a_sleep_that_the_driver_refuses_has_not_begun(void **state)
{
	struct array_knob *knob = &hw.knobs[ARRAY_IDLE];
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	ctl_open(false, true);
	hw.can_idle = true;
	knob->fail = -ETIMEDOUT;
	knob->nb_fail = 1;
	assert_int_equal(-ETIMEDOUT, iopf_iommu_idle(ctl.iommu, fd));
	iopf_idle_end(ctl.iommu, NULL);
	assert_int_equal(1, knob->calls);
	knob->nb_fail = 1;
	assert_int_equal(-ETIMEDOUT, iopf_idle_begin(ctl.iommu, fd));
	iopf_idle_end(ctl.iommu, NULL);
	assert_int_equal(2, knob->calls);
	/* One that has begun goes on, if the next call fails, until its end. */
	assert_int_equal(0, iopf_iommu_idle(ctl.iommu, fd));
	knob->nb_fail = 2;
	assert_int_equal(-ETIMEDOUT, iopf_iommu_idle(ctl.iommu, fd));
	assert_int_equal(-ETIMEDOUT, iopf_iommu_idle(ctl.iommu, -1));
	iopf_idle_end(ctl.iommu, NULL);
	assert_int_equal(6, knob->calls);
	iopf_idle_end(ctl.iommu, NULL);
	assert_int_equal(6, knob->calls);
	close(fd);
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_start_after_a_failure_switches_pri_on_again),
	CTL_TEST(a_sleep_that_the_driver_refuses_has_not_begun),
	CTL_TEST(a_refused_access_is_counted_for_its_device),
	CTL_TEST(an_iommu_that_has_failed_is_not_started_before_it_is_stopped),
	CTL_TEST(control_calls_wait_for_the_records_of_an_iommu_that_has_failed),
	CTL_TEST(a_failed_stop_can_be_repeated_and_close_is_refused_before),
	CTL_TEST(an_iommu_with_mapped_memory_is_not_closed),
	CTL_TEST(memory_that_is_none_is_refused_with_a_line),
	CTL_TEST(a_driver_can_omit_operations),
	CTL_TEST(a_poll_thread_that_wants_to_sleep_does_not_wait_for_a_stop),
	CTL_TEST(a_poll_thread_that_wants_to_sleep_does_not_wait_for_a_device),
	CTL_TEST(a_stop_waits_for_a_thread_that_looks_for_faults),
};
TEST_SUITE(control_stop, tests, NULL, NULL);
