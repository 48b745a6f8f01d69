/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 15: a handler, device or driver that is slow or gone delays itself only.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>

#include "attachment.h"
#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_stats.h"
#include "iopf_iommu.h"
#include "test.h"

static int
detach0(void *domain)
{
	return iopf_domain_detach(domain, ctl.dev[0], IOPF_NO_PASID);
}

/* Control calls for other devices and for the IOMMU. */
static int
control_other_devices(void *arg)
{
	const uint32_t sid = 100;
	struct iopf_dev *dev;
	int ret = 0;

	(void)arg;
	ret |= iopf_domain_detach(ctl.domain[1], ctl.dev[1], IOPF_NO_PASID);
	ret |= iopf_domain_attach(ctl.domain[2], ctl.dev[1], 2);
	ret |= iopf_domain_detach(ctl.domain[2], ctl.dev[1], 2);
	ret |= iopf_domain_attach(ctl.domain[1], ctl.dev[1], IOPF_NO_PASID);
	dev = iopf_dev_add(ctl.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE });
	if (dev == NULL)
		return -rte_errno;
	ret |= iopf_domain_attach(ctl.domain[1], dev, IOPF_NO_PASID);
	ret |= ctl_invalidate(ctl.domain[1]);
	ret |= iopf_dev_remove(dev);
	ret |= iopf_poller_remove(ctl.poller, ctl.iommu, IOPF_QUEUE_EVENTS);
	ret |= iopf_poller_add(ctl.poller, ctl.iommu, IOPF_QUEUE_EVENTS);
	return ret;
}

static int
stop_and_start(void *arg)
{
	int ret = iopf_iommu_stop(ctl.iommu);

	(void)arg;
	return ret != 0 ? ret : iopf_iommu_start(ctl.iommu);
}

static int
stop(void *arg)
{
	(void)arg;
	return iopf_iommu_stop(ctl.iommu);
}

static void
a_handler_that_does_not_return_delays_its_device_only(void **state)
{
	struct call *detach;

	(void)state;
	ctl_open(false, true);
	ctl_hold_handler(0);
	assert_int_equal(1, ctl.holding);
	detach = ctl_start_call(detach0, ctl.domain[0]);
	/* The detach answers the fault, then waits for the handler. */
	ctl_await_answers(1);
	assert_int_equal(0, ctl_run_call(control_other_devices, NULL));
	assert_int_equal(0, ctl_run_call(stop_and_start, NULL));
	assert_false(detach->ended);
	ctl.hold = false;
	assert_int_equal(0, ctl_end_call(detach));
}

/* Detach device 0. The poll thread may not run for longer than wait_ms. */
static int
detach_in_time(struct iopf_domain *domain, uint32_t pasid)
{
	int ret = -ETIMEDOUT;

	for (unsigned int i = 0; i < 1000 && ret == -ETIMEDOUT; i++)
		ret = iopf_domain_detach(domain, ctl.dev[0], pasid);
	return ret;
}

static void
a_detach_whose_handler_does_not_return_times_out_and_is_called_again(void **state)
{
	(void)state;
	ctl.wait_ms = 100;
	ctl_open(false, true);
	ctl_hold_handler(0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(-ETIMEDOUT, iopf_domain_detach(ctl.domain[0], ctl.dev[0],
				IOPF_NO_PASID));
	assert_int_equal(-ETIMEDOUT, iopf_dev_remove(ctl.dev[0]));
	/* The device is cut off, its fault is answered, and its attachment is kept. */
	assert_int_equal(NB_DEVS - 1, hw.attached);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-EEXIST, iopf_domain_attach(ctl.domain[1], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(-EBUSY, iopf_domain_destroy(ctl.domain[0]));
	/* Other PASIDs of the device can be attached. */
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[0], 1));
	assert_int_equal(0, detach_in_time(ctl.domain[1], 1));
	/* A stop does not wait for the handler. The slot stays in use until the handler returns. */
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(-EBUSY, iopf_iommu_configure(ctl.iommu, NULL));
	assert_int_equal(-EBUSY, iopf_iommu_close(ctl.iommu));
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
	ctl.hold = false;
	assert_int_equal(0, detach_in_time(ctl.domain[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_iommu_configure(ctl.iommu, NULL));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(1, hw.nb_out);
}

static int
detach_pasid(void *domain)
{
	return iopf_domain_detach(domain, ctl.dev[0], 2);
}

/* A second detach of the same attachment ends with the first. */
static void
two_detaches_of_one_attachment_end_together(void **state)
{
	struct call *calls[2];

	(void)state;
	ctl_open(false, true);
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], 2));
	ctl.hold = true;
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .sid = SID, .pasid = 2,
			.flags = IOPF_EVENT_STALL });
	iopf_poll(ctl.poller);
	ctl_await_handler();
	for (unsigned int i = 0; i < 2; i++)
		calls[i] = ctl_start_call(detach_pasid, ctl.domain[0]);
	ctl_await_answers(1);
	/* The device's other PASIDs do not wait for the handler. */
	assert_int_equal(0, ctl_run_call(ctl_attach0, ctl.domain[1]));
	assert_false(calls[0]->ended || calls[1]->ended);
	ctl.hold = false;
	assert_int_equal(0, ctl_end_call(calls[0]));
	assert_int_equal(0, ctl_end_call(calls[1]));
	assert_int_equal(NB_DEVS + 1, hw.attached);
}

static void
a_fault_behind_another_handler_does_not_delay_a_detach(void **state)
{
	struct call *detach;

	(void)state;
	ctl_open(false, true);
	ctl.hold = true;
	ctl_put_stall(0, 1);
	ctl_put_stall(2, 2);
	iopf_poll(ctl.poller);
	ctl_await_handler();
	detach = ctl_start_call(ctl_detach2, ctl.domain[2]);
	assert_int_equal(0, ctl_end_call(detach));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(2, hw.out[0].answer.token);
	ctl.hold = false;
	ctl_await_answers(2);
	assert_int_equal(1, ctl.holding);
}

static void
a_device_that_does_not_drain_delays_no_other(void **state)
{
	struct call *detach;

	(void)state;
	ctl_open(true, true);
	ctl.not_drained = true;
	detach = ctl_start_call(detach0, ctl.domain[0]);
	for (unsigned int i = 0; i < 100000 && ctl.asked == 0; i++)
		usleep(100);
	assert_int_equal(0, ctl_run_call(control_other_devices, NULL));
	assert_false(detach->ended);
	ctl.not_drained = false;
	assert_int_equal(0, ctl_end_call(detach));
}

static int
attach_other(void *arg)
{
	(void)arg;
	return iopf_domain_attach(ctl.domain[1], ctl.dev[1], 3);
}

static void
a_slow_attach_delays_no_other_device(void **state)
{
	struct call *attach;

	(void)state;
	ctl_open(false, true);
	hw.knobs[ARRAY_ATTACH].hold = 1;
	attach = ctl_start_call(ctl_attach0, ctl.domain[1]);
	assert_true(array_wait_held(ARRAY_ATTACH, 1));
	assert_int_equal(0, ctl_run_call(attach_other, NULL));
	assert_int_equal(0, ctl_run_call(control_other_devices, NULL));
	assert_false(attach->ended);
	array_release(ARRAY_ATTACH);
	assert_int_equal(0, ctl_end_call(attach));
}

static int
open_and_close_another(void *arg)
{
	struct iopf_iommu *iommu = iopf_iommu_open("arrays,n=2");

	(void)arg;
	return iommu == NULL ? -rte_errno : iopf_iommu_close(iommu);
}

static int
close_third(void *iommu)
{
	return iopf_iommu_close(iommu);
}

static void
a_slow_stop_or_close_delays_no_other_call(void **state)
{
	struct iopf_iommu *third;
	struct call *call;

	(void)state;
	ctl_open(false, true);
	hw.knobs[ARRAY_STOP].hold = 1;
	call = ctl_start_call(stop, NULL);
	assert_true(array_wait_held(ARRAY_STOP, 1));
	assert_int_equal(0, ctl_run_call(control_other_devices, NULL));
	assert_int_equal(0, ctl_run_call(open_and_close_another, NULL));
	assert_false(call->ended);
	array_release(ARRAY_STOP);
	assert_int_equal(0, ctl_end_call(call));
	third = iopf_iommu_open("arrays,n=3");
	assert_non_null(third);
	hw.knobs[ARRAY_CLOSE].hold = 1;
	call = ctl_start_call(close_third, third);
	assert_true(array_wait_held(ARRAY_CLOSE, 1));
	assert_int_equal(0, ctl_run_call(open_and_close_another, NULL));
	/* The name stays in use until the driver has closed. */
	assert_null(iopf_iommu_open("arrays,n=3"));
	assert_int_equal(EBUSY, rte_errno);
	array_release(ARRAY_CLOSE);
	assert_int_equal(0, ctl_end_call(call));
}

/* A device whose faults are not answered, on an IOMMU with a limited number of stalls. */
static void
a_device_cannot_hold_all_stalls(void **state)
{
	uint64_t held;

	(void)state;
	ctl.share_ms = 1;
	ctl_open(false, true);
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < MAX_STALLS - MAX_STALLS / 8; i++)
		ctl_put_stall(0, i);
	while (iopf_poll(ctl.poller) != 0)
		;
	/* The first faults are not refused: they may be answered soon. */
	assert_int_equal(MAX_STALLS - MAX_STALLS / 8, iopf_domain_pending(ctl.domain[0]));
	held = MAX_STALLS / NB_DEVS;
	for (unsigned int i = 0; i < 200000 && iopf_domain_pending(ctl.domain[0]) > held; i++) {
		iopf_poll(ctl.poller);
		usleep(10);
	}
	assert_int_equal(held, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(MAX_STALLS - MAX_STALLS / 8 - held, hw.nb_out);
	for (unsigned int i = 0; i < hw.nb_out; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(hw.nb_out, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_OVER_SHARE));
	assert_int_equal(hw.nb_out, iopf_dev_stat(ctl.dev[0], IOPF_DEV_STAT_OVER_SHARE));
	/* Another device can use the freed stalls. */
	ctl_put_stall(1, 1);
	iopf_poll(ctl.poller);
	assert_int_equal(1, iopf_domain_pending(ctl.domain[1]));
	assert_int_equal(0, iopf_dev_stat(ctl.dev[1], IOPF_DEV_STAT_OVER_SHARE));
}

/* Answered faults whose handlers have not returned do not count as stalls. */
static void
handlers_that_do_not_return_take_no_share_of_others(void **state)
{
	(void)state;
	ctl.share_ms = 1;
	ctl.wait_ms = 1;
	ctl.nb_threads = MAX_STALLS;
	ctl_open(false, false);
	/* A single device can use all stalls, however late the worker calls the handlers. */
	assert_int_equal(0, iopf_domain_attach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	ctl.hold = true;
	for (unsigned int i = 0; i < MAX_STALLS; i++)
		ctl_put_stall(0, i);
	while (ctl.holding < MAX_STALLS) {
		iopf_poll(ctl.poller);
		usleep(10);
	}
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_pending(ctl.domain[0]));
	assert_int_equal(0, iopf_domain_attach(ctl.domain[1], ctl.dev[1], IOPF_NO_PASID));
	/* Device 1 keeps more than an equal share for longer than share_ms. */
	ctl.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < MAX_STALLS - MAX_STALLS / 8 - 1; i++)
		ctl_put_stall(1, i);
	for (unsigned int i = 0; i < 500; i++) {
		iopf_poll(ctl.poller);
		usleep(10);
	}
	assert_int_equal(MAX_STALLS - MAX_STALLS / 8 - 1, iopf_domain_pending(ctl.domain[1]));
	assert_int_equal(0, iopf_iommu_stat(ctl.iommu, IOPF_IOMMU_STAT_OVER_SHARE));
	ctl.hold = false;
	while (iopf_domain_detach(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID) == -ETIMEDOUT)
		;
}

/*
 * Stalls and records without an answer, of an attached device or an unknown one. A stall of another
 * device behind them is answered by as many polls as these records take.
 */
static void
check_storm(bool attached, uint8_t flags)
{
	enum { STORM = 300, PER_POLL = 32 * 4, ROUNDS = 50 };
	struct iopf_event ev = { .addr = 0x5000, .sid = attached ? SID : 99,
		.pasid = IOPF_NO_PASID, .flags = flags };

	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t before = iopf_domain_stat(ctl.domain[1], IOPF_STAT_SUCCESS);

		for (unsigned int k = 0; k < STORM; k++) {
			ev.token = k % MAX_STALLS;
			array_put(IOPF_QUEUE_EVENTS, &ev);
		}
		ctl_put_stall(1, 1);
		for (unsigned int polls = 0; polls < STORM / PER_POLL + 1; polls++)
			iopf_poll(ctl.poller);
		assert_int_equal(before + 1, iopf_domain_stat(ctl.domain[1], IOPF_STAT_SUCCESS));
	}
}

static void
a_storm_of_one_device_delays_another_by_its_records_alone(void **state)
{
	(void)state;
	ctl_open(false, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	check_storm(true, IOPF_EVENT_STALL);
	check_storm(true, 0);
	check_storm(false, IOPF_EVENT_STALL);
	check_storm(false, 0);
}

/* The callback of the breaker returns, and another thread replaces the domain first. */
static void
replace_half(void)
{
	atomic_store(&ctl.dev[0]->told, NULL);
	assert_int_equal(-ETIMEDOUT, iopf_domain_replace(ctl.domain[1], ctl.dev[0],
			IOPF_NO_PASID));
}

static int
replace0(void *domain)
{
	return iopf_domain_replace(domain, ctl.dev[0], IOPF_NO_PASID);
}

/*
 * A call for device 0 waits for the callback of a breaker. The replace that comes first cannot
 * complete: a handler of domain 0 does not return. Neither can the call.
 */
static void
check_replaced_meanwhile(int (*fn)(void *domain), unsigned int domain)
{
	int ret;

	ctl.wait_ms = 200;
	ctl_open(false, true);
	ctl_hold_handler(0);
	atomic_store(&ctl.dev[0]->told, iopf_attachment_find(ctl.dev[0], IOPF_NO_PASID));
	hw.on_wait = replace_half;
	assert_int_equal(-ETIMEDOUT, fn(ctl.domain[domain]));
	ctl.hold = false;
	/* On a busy machine the handler's thread may need longer than wait_ms. */
	do
		ret = fn(ctl.domain[domain]);
	while (ret == -ETIMEDOUT);
	assert_int_equal(0, ret);
	assert_int_equal(0, iopf_domain_destroy(ctl.domain[0]));
	ctl.domain[0] = NULL;
}

static void
a_detach_finishes_a_replace_that_came_first(void **state)
{
	(void)state;
	check_replaced_meanwhile(detach0, 0);
}

static void
a_replace_finishes_one_that_came_first(void **state)
{
	(void)state;
	check_replaced_meanwhile(replace0, 2);
}

static bool has_written, was_delayed;

/* The file of a dump blocks until a control call has ended, for five seconds at most. */
static ssize_t
write_slowly(void *cookie, const char *text, size_t len)
{
	struct call *call;

	(void)cookie;
	if (has_written || memmem(text, len, "device", strlen("device")) == NULL)
		return len;
	has_written = true;
	call = ctl_start_call(control_other_devices, NULL);
	for (unsigned int i = 0; i < 5000 && !call->ended; i++)
		usleep(1000);
	was_delayed = !call->ended;
	return len;
}

static void
a_dump_to_a_slow_file_delays_no_control_call(void **state)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = write_slowly });

	(void)state;
	assert_non_null(f);
	setvbuf(f, NULL, _IONBF, 0);
	ctl_open(false, true);
	has_written = false;
	iopf_iommu_dump(ctl.iommu, f);
	fclose(f);
	assert_true(has_written);
	assert_false(was_delayed);
	assert_int_equal(0, ctl_end_call(&ctl.calls[0]));
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_handler_that_does_not_return_delays_its_device_only),
	CTL_TEST(a_detach_whose_handler_does_not_return_times_out_and_is_called_again),
	CTL_TEST(two_detaches_of_one_attachment_end_together),
	CTL_TEST(a_fault_behind_another_handler_does_not_delay_a_detach),
	CTL_TEST(a_device_that_does_not_drain_delays_no_other),
	CTL_TEST(a_slow_attach_delays_no_other_device),
	CTL_TEST(a_slow_stop_or_close_delays_no_other_call),
	CTL_TEST(a_device_cannot_hold_all_stalls),
	CTL_TEST(handlers_that_do_not_return_take_no_share_of_others),
	CTL_TEST(a_storm_of_one_device_delays_another_by_its_records_alone),
	CTL_TEST(a_detach_finishes_a_replace_that_came_first),
	CTL_TEST(a_replace_finishes_one_that_came_first),
	CTL_TEST(a_dump_to_a_slow_file_delays_no_control_call),
};
TEST_SUITE(control_slow, tests, NULL, NULL);
