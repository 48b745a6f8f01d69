/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contracts 14 and 15, on an IOMMU made of two arrays: nothing is released that the IOMMU
 * may still use, each control call that failed can be called again, and a party that is
 * slow or gone costs itself alone.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "array_iommu.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "interpose.h"
#include "iopf.h"
#include "test.h"

#define SID		7
#define NB_DEVS		3
#define NB_PASIDS	8
#define MAX_THREADS	8

/* A control call on a thread of its own. */
struct call {
	pthread_t thread;
	int (*fn)(void *arg);
	void *arg;
	int ret;
	_Atomic bool ended;
};

static struct {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev[NB_DEVS];
	struct iopf_domain *domain[NB_DEVS];
	struct iopf_poller *poller;
	struct iopf_worker *worker;
	struct call calls[MAX_THREADS];
	unsigned int nb_calls;
	_Atomic bool hold;		/* the deferred handler waits while set */
	_Atomic unsigned int holding;
	_Atomic bool storm_stop;
	_Atomic bool not_drained;
	_Atomic unsigned int asked;	/* pri_drained, while it is not */
	int fail_ats;
	uint32_t wait_ms;
	uint32_t share_ms;
	unsigned int nb_threads;
	bool bare;
	bool upgrade;
	enum iopf_verdict verdict;
} t;

static enum iopf_verdict
fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	if (t.upgrade)
		assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){
				.size = 4096 }));
	return t.verdict;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	t.holding++;
	while (t.hold)
		usleep(100);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	(void)dev;
	(void)stu;
	(void)ctx;
	return t.fail_ats;
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return 0;
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	(void)dev;
	(void)n;
	(void)ctx;
	return 0;
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	(void)ctx;
	if (dev != t.dev[0] || !t.not_drained)
		return true;
	t.asked++;
	return false;
}

static const struct iopf_pci_ops pri_ops = {
	.ats_enable = ats_enable, .ats_disable = ats_disable,
	.pri_enable = pri_enable, .pri_disable = ats_disable, .pri_drained = pri_drained,
};

static void
open_iommu(bool requests, bool attach)
{
	hw.requests = requests;
	hw.sid_bits = 17;
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	t.verdict = IOPF_DEFER;
	t.iommu = iopf_iommu_open(t.bare ? "bare,n=1" : "arrays,n=1");
	assert_non_null(t.iommu);
	assert_int_equal(0, iopf_iommu_configure(t.iommu, &(struct iopf_iommu_conf){
			.share_ms = t.share_ms }));
	t.worker = iopf_worker_create(&(struct iopf_worker_conf){ .nb_threads = t.nb_threads });
	assert_non_null(t.worker);
	for (unsigned int i = 0; i < NB_DEVS; i++) {
		const uint32_t sid = SID + i;
		struct iopf_dev_conf conf = {
			.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS,
			.recover = requests ? IOPF_PRI : IOPF_STALL,
			.pri_requests = requests ? 4 : 0,
			/* What a test lets wait is let go, or has a time of its own. */
			.wait_ms = t.wait_ms != 0 ? t.wait_ms : 600000,
		};

		if (requests)
			conf.pci = &pri_ops;
		t.dev[i] = iopf_dev_add(t.iommu, &conf);
		assert_non_null(t.dev[i]);
		t.domain[i] = iopf_domain_create(&(struct iopf_domain_conf){ .handler = fast,
				.deferred = deferred, .worker = t.worker });
		assert_non_null(t.domain[i]);
		if (attach)
			assert_int_equal(0, iopf_domain_attach(t.domain[i], t.dev[i],
					IOPF_NO_PASID));
	}
	t.poller = iopf_poller_create(NULL);
	assert_non_null(t.poller);
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
}

static int
setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	array_iommu_reset();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	/* Whatever a failed test has left waiting. */
	t.hold = false;
	t.storm_stop = true;
	t.not_drained = false;
	for (unsigned int i = 0; i < NB_ARRAY_CALLS; i++) {
		hw.knobs[i].nb_fail = 0;
		array_release(i);
	}
	hw.fail_attach = 0;
	for (unsigned int i = 0; i < t.nb_calls; i++)
		pthread_join(t.calls[i].thread, NULL);
	if (t.iommu == NULL)
		return 0;
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(t.dev[i]));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_domain_destroy(t.domain[i]));
	assert_int_equal(0, iopf_worker_destroy(t.worker));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	assert_int_equal(0, hw.domains);
	assert_int_equal(0, hw.attached);
	assert_int_equal(0, hw.misused);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	return 0;
}

static void *
call_main(void *arg)
{
	struct call *call = arg;

	call->ret = call->fn(call->arg);
	atomic_store(&call->ended, true);
	return NULL;
}

static struct call *
begin(int (*fn)(void *arg), void *arg)
{
	struct call *call = &t.calls[t.nb_calls];

	assert_true(t.nb_calls < MAX_THREADS);
	*call = (struct call){ .fn = fn, .arg = arg };
	assert_int_equal(0, pthread_create(&call->thread, NULL, call_main, call));
	t.nb_calls++;
	return call;
}

/* It ends, though others wait. */
static int
end(struct call *call)
{
	for (unsigned int i = 0; i < 200000 && !atomic_load(&call->ended); i++)
		usleep(100);
	assert_true(atomic_load(&call->ended));
	return call->ret;
}

static void
put_stall(unsigned int dev, uint16_t stag)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID + dev,
			.pasid = IOPF_NO_PASID, .token = stag, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
}

/*
 * Attach and its undo
 */

static int
attach0(void *domain)
{
	return iopf_domain_attach(domain, t.dev[0], 1);
}

static void
a_domain_is_not_destroyed_while_it_is_being_attached(void **state)
{
	struct call *attach;

	(void)state;
	open_iommu(false, false);
	hw.knobs[ARRAY_ATTACH].hold = 1;
	attach = begin(attach0, t.domain[1]);
	assert_true(array_wait_held(ARRAY_ATTACH, 1));
	assert_int_equal(-EBUSY, iopf_domain_destroy(t.domain[1]));
	array_release(ARRAY_ATTACH);
	assert_int_equal(0, end(attach));
	assert_int_equal(-EBUSY, iopf_domain_destroy(t.domain[1]));
}

/* An attach that fails, and whose undo fails once. */
static void
attach_fails_and_so_does_its_undo(struct iopf_domain *domain, bool in_driver, int ret)
{
	hw.attach_half = in_driver;
	hw.fail_attach = in_driver ? ret : 0;
	t.fail_ats = in_driver ? 0 : ret;
	hw.knobs[ARRAY_DETACH].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_DETACH].nb_fail = 1;
	assert_int_equal(ret, iopf_domain_attach(domain, t.dev[0], 1));
	hw.fail_attach = 0;
	t.fail_ats = 0;
	/* The IOMMU may still use it. */
	assert_int_equal(1, hw.attached);
	assert_int_equal(0, hw.misused);
	assert_int_equal(-EBUSY, iopf_domain_destroy(domain));
}

static void
an_undo_that_failed_says_the_next_step(void **state)
{
	char *text;

	(void)state;
	open_iommu(true, false);
	hw.attach_half = true;
	hw.knobs[ARRAY_DETACH].fail = -ETIMEDOUT;
	for (unsigned int i = 0; i < 2; i++) {
		const uint32_t pasid = i == 0 ? IOPF_NO_PASID : 3;

		hw.fail_attach = -ENOSPC;
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		log_lines_begin();
		assert_int_equal(-ENOSPC, iopf_domain_attach(t.domain[1], t.dev[0], pasid));
		text = log_lines_end();
		assert_non_null(strstr(text, i == 0 ? "detach untagged traffic" :
				"detach PASID 3"));
		assert_non_null(strstr(text, "next attach, detach or removal"));
		/* To an application that has attached, and does not detach. */
		assert_null(strstr(text, "detach again"));
		assert_null(strstr(text, "detach it"));
		free(text);
		hw.fail_attach = 0;
		assert_int_equal(0, iopf_domain_attach(t.domain[1], t.dev[0], pasid));
		SAYS(i == 0 ? "untagged traffic is attached to" : "PASID 3 is attached to",
			assert_int_equal(-EEXIST, iopf_domain_attach(t.domain[1], t.dev[0],
					pasid)));
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		SAYS("detach it, or remove the device, again",
			assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain[1], t.dev[0],
					pasid)));
		assert_int_equal(0, iopf_domain_detach(t.domain[1], t.dev[0], pasid));
	}
	assert_int_equal(0, hw.attached);
}

static void
an_attach_whose_undo_failed_is_undone_by_a_detach(void **state)
{
	(void)state;
	open_iommu(true, false);
	for (unsigned int i = 0; i < 2; i++) {
		attach_fails_and_so_does_its_undo(t.domain[1], i == 0, -ENOSPC);
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain[1], t.dev[0], 1));
		assert_int_equal(1, hw.attached);
		assert_int_equal(0, iopf_domain_detach(t.domain[1], t.dev[0], 1));
		assert_int_equal(0, hw.attached);
		assert_int_equal(0, hw.domains);
		assert_int_equal(0, iopf_iommu_requests_granted(t.iommu));
	}
}

static void
an_attach_whose_undo_failed_is_undone_by_the_next_attach(void **state)
{
	(void)state;
	open_iommu(true, false);
	for (uint32_t pasid = 1; pasid < 3; pasid++) {
		attach_fails_and_so_does_its_undo(t.domain[1], pasid == 1, -ENOSPC);
		hw.knobs[ARRAY_DETACH].nb_fail = 1;
		assert_int_equal(-EBUSY, iopf_domain_attach(t.domain[2], t.dev[0], 1));
		assert_int_equal(1, hw.attached);
		assert_int_equal(0, iopf_domain_attach(t.domain[2], t.dev[0], pasid));
		assert_int_equal(1, hw.attached);
		assert_int_equal(1, hw.domains);
		/* No owner has it any more. */
		assert_int_equal(0, iopf_domain_detach(t.domain[1], t.dev[0], 1));
		assert_int_equal(0, iopf_domain_detach(t.domain[2], t.dev[0], pasid));
		assert_int_equal(0, hw.attached);
	}
}

static void
an_attach_whose_undo_failed_is_undone_with_its_device(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	open_iommu(true, false);
	attach_fails_and_so_does_its_undo(t.domain[1], false, -EIO);
	hw.knobs[ARRAY_DETACH].nb_fail = 1;
	assert_int_equal(-ETIMEDOUT, iopf_dev_remove(t.dev[0]));
	assert_int_equal(0, iopf_dev_remove(t.dev[0]));
	assert_int_equal(0, hw.attached);
	t.dev[0] = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(t.dev[0]);
}

static void
a_detach_that_failed_goes_on_where_it_was(void **state)
{
	(void)state;
	open_iommu(false, true);
	hw.knobs[ARRAY_DETACH].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_DETACH].nb_fail = 2;
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain[0], t.dev[0], IOPF_NO_PASID));
	/* What still comes is answered, and not as if it were attached. */
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	put_stall(0, 1);
	iopf_poll(t.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-EEXIST, iopf_domain_attach(t.domain[1], t.dev[0], IOPF_NO_PASID));
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain[0], t.dev[0], IOPF_NO_PASID));
	assert_int_equal(-EBUSY, iopf_domain_destroy(t.domain[0]));
	assert_int_equal(NB_DEVS, hw.attached);
	assert_int_equal(0, iopf_domain_detach(t.domain[0], t.dev[0], IOPF_NO_PASID));
	assert_int_equal(NB_DEVS - 1, hw.attached);
}

static void
a_removal_that_failed_can_be_called_again(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	open_iommu(false, true);
	hw.knobs[ARRAY_DEV_DEL].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_DEV_DEL].nb_fail = 1;
	assert_int_equal(-ETIMEDOUT, iopf_dev_remove(t.dev[0]));
	assert_null(iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 }));
	assert_int_equal(EEXIST, rte_errno);
	assert_int_equal(0, iopf_dev_remove(t.dev[0]));
	t.dev[0] = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(t.dev[0]);
}

/*
 * Invalidations do not starve attach and detach
 */

static int
invalidate(void *domain)
{
	return iopf_invalidate(domain, &(struct iopf_inv){ .all = true }, 1, NULL);
}

static int
detach2(void *domain)
{
	return iopf_domain_detach(domain, t.dev[2], IOPF_NO_PASID);
}

static void
attach_waits_for_no_invalidation(void **state)
{
	struct call *held, *attach;

	(void)state;
	open_iommu(false, true);
	hw.knobs[ARRAY_INVALIDATE].hold = 1;
	held = begin(invalidate, t.domain[1]);
	assert_true(array_wait_held(ARRAY_INVALIDATE, 1));
	attach = begin(attach0, t.domain[1]);
	assert_int_equal(0, end(attach));
	/* And a detach that is not the domain's last waits for none either. */
	assert_int_equal(0, iopf_domain_detach(t.domain[1], t.dev[0], 1));
	assert_false(held->ended);
	array_release(ARRAY_INVALIDATE);
	assert_int_equal(0, end(held));
}

/*
 * The domain's last detach waits for the invalidations under way, and none that begins
 * once it waits overtakes it: their number is 0, whatever the scheduler does.
 */
static void
no_invalidation_overtakes_a_detach_that_waits(void **state)
{
	struct call *held, *detach;
	unsigned int reached, n;

	(void)state;
	open_iommu(false, true);
	hw.knobs[ARRAY_INVALIDATE].hold = 1;
	held = begin(invalidate, t.domain[2]);
	assert_true(array_wait_held(ARRAY_INVALIDATE, 1));
	detach = begin(detach2, t.domain[2]);
	/* Until one does not reach the driver: the detach has begun to wait. */
	for (n = 0; n < 100000; n++) {
		reached = hw.invalidated;
		assert_int_equal(0, invalidate(t.domain[2]));
		if (hw.invalidated == reached)
			break;
		usleep(100);
	}
	assert_in_range(n, 0, 99999);
	for (n = 0; n < 100; n++)
		assert_int_equal(0, invalidate(t.domain[2]));
	assert_int_equal(reached, hw.invalidated);
	/* The one under way holds the handle, so the detach has not released it. */
	assert_false(detach->ended);
	assert_false(held->ended);
	assert_int_equal(NB_DEVS, hw.domains);
	array_release(ARRAY_INVALIDATE);
	assert_int_equal(0, end(held));
	assert_int_equal(0, end(detach));
	assert_int_equal(NB_DEVS - 1, hw.domains);
}

static int
storm(void *domain)
{
	int ret = 0;

	while (!t.storm_stop && ret == 0)
		ret = invalidate(domain);
	return ret;
}

static int
attach_and_detach(void *domain)
{
	int ret = 0;

	for (unsigned int i = 0; i < 200 && ret == 0; i++) {
		ret = iopf_domain_attach(domain, t.dev[2], 1 + i % 4);
		if (ret == 0)
			ret = iopf_domain_detach(domain, t.dev[2], 1 + i % 4);
	}
	t.storm_stop = true;
	return ret;
}

static void
attach_goes_on_beside_threads_that_invalidate_without_pause(void **state)
{
	/* Of a domain that stays attached elsewhere, and of one that does not. */
	for (unsigned int d = 1; d < 3; d++) {
		struct call *calls[4], *attach;

		(void)state;
		if (d == 1)
			open_iommu(false, true);
		else
			assert_int_equal(0, detach2(t.domain[2]));
		t.storm_stop = false;
		hw.invalidate_us = 50;
		t.nb_calls = 0;
		for (unsigned int i = 0; i < RTE_DIM(calls); i++)
			calls[i] = begin(storm, t.domain[d]);
		attach = begin(attach_and_detach, t.domain[d]);
		assert_int_equal(0, end(attach));
		for (unsigned int i = 0; i < RTE_DIM(calls); i++)
			assert_int_equal(0, end(calls[i]));
		for (unsigned int i = 0; i < t.nb_calls; i++)
			pthread_join(t.calls[i].thread, NULL);
		t.nb_calls = 0;
	}
}

/*
 * A party that is slow or gone costs itself alone
 */

static int
detach0(void *domain)
{
	return iopf_domain_detach(domain, t.dev[0], IOPF_NO_PASID);
}

/* What concerns other devices, or the IOMMU as a whole. */
static int
others_control(void *arg)
{
	const uint32_t sid = 100;
	struct iopf_dev *dev;
	int ret = 0;

	(void)arg;
	ret |= iopf_domain_detach(t.domain[1], t.dev[1], IOPF_NO_PASID);
	ret |= iopf_domain_attach(t.domain[2], t.dev[1], 2);
	ret |= iopf_domain_detach(t.domain[2], t.dev[1], 2);
	ret |= iopf_domain_attach(t.domain[1], t.dev[1], IOPF_NO_PASID);
	dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE });
	if (dev == NULL)
		return -rte_errno;
	ret |= iopf_domain_attach(t.domain[1], dev, IOPF_NO_PASID);
	ret |= invalidate(t.domain[1]);
	ret |= iopf_dev_remove(dev);
	ret |= iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_EVENTS);
	ret |= iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_EVENTS);
	return ret;
}

static int
stop_and_start(void *arg)
{
	int ret = iopf_iommu_stop(t.iommu);

	(void)arg;
	return ret != 0 ? ret : iopf_iommu_start(t.iommu);
}

static int
stop(void *arg)
{
	(void)arg;
	return iopf_iommu_stop(t.iommu);
}

static void
a_handler_that_never_returns_costs_its_device_alone(void **state)
{
	struct call *detach;

	(void)state;
	open_iommu(false, true);
	t.hold = true;
	put_stall(0, 1);
	iopf_poll(t.poller);
	for (unsigned int i = 0; i < 100000 && t.holding == 0; i++)
		usleep(100);
	assert_int_equal(1, t.holding);
	detach = begin(detach0, t.domain[0]);
	/* Its fault is answered; then the detach waits. */
	for (unsigned int i = 0; i < 100000 && hw.nb_out == 0; i++)
		usleep(100);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, end(begin(others_control, NULL)));
	assert_int_equal(0, end(begin(stop_and_start, NULL)));
	assert_false(detach->ended);
	t.hold = false;
	assert_int_equal(0, end(detach));
}

static void
a_detach_whose_handler_does_not_return_times_out_and_is_called_again(void **state)
{
	(void)state;
	t.wait_ms = 20;
	open_iommu(false, true);
	t.hold = true;
	put_stall(0, 1);
	iopf_poll(t.poller);
	for (unsigned int i = 0; i < 100000 && t.holding == 0; i++)
		usleep(100);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain[0], t.dev[0],
				IOPF_NO_PASID));
	assert_int_equal(-ETIMEDOUT, iopf_dev_remove(t.dev[0]));
	/* It aborts, its fault is answered, and its place is kept. */
	assert_int_equal(NB_DEVS - 1, hw.attached);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-EEXIST, iopf_domain_attach(t.domain[1], t.dev[0], IOPF_NO_PASID));
	assert_int_equal(-EBUSY, iopf_domain_destroy(t.domain[0]));
	/* Its other PASIDs go on. */
	assert_int_equal(0, iopf_domain_attach(t.domain[1], t.dev[0], 1));
	assert_int_equal(0, iopf_domain_detach(t.domain[1], t.dev[0], 1));
	/* A stop does not wait for it; its slot is not another's until it has returned. */
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(-EBUSY, iopf_iommu_configure(t.iommu, NULL));
	assert_int_equal(-EBUSY, iopf_iommu_close(t.iommu));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	t.hold = false;
	for (unsigned int i = 0; i < 1000; i++)
		if (iopf_domain_detach(t.domain[0], t.dev[0], IOPF_NO_PASID) == 0)
			break;
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_iommu_configure(t.iommu, NULL));
	assert_int_equal(0, iopf_domain_attach(t.domain[0], t.dev[0], IOPF_NO_PASID));
	assert_int_equal(1, hw.nb_out);
}

static int
detach_pasid(void *domain)
{
	return iopf_domain_detach(domain, t.dev[0], 2);
}

/* A second detach of what is being detached ends with it. */
static void
two_detaches_of_one_attachment_end_together(void **state)
{
	struct call *calls[2];

	(void)state;
	open_iommu(false, true);
	assert_int_equal(0, iopf_domain_attach(t.domain[0], t.dev[0], 2));
	t.hold = true;
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .sid = SID, .pasid = 2,
			.flags = IOPF_EVENT_STALL });
	iopf_poll(t.poller);
	for (unsigned int i = 0; i < 100000 && t.holding == 0; i++)
		usleep(100);
	for (unsigned int i = 0; i < 2; i++)
		calls[i] = begin(detach_pasid, t.domain[0]);
	for (unsigned int i = 0; i < 100000 && hw.nb_out == 0; i++)
		usleep(100);
	/* The device's other PASIDs do not wait for the handler. */
	assert_int_equal(0, end(begin(attach0, t.domain[1])));
	assert_false(calls[0]->ended || calls[1]->ended);
	t.hold = false;
	assert_int_equal(0, end(calls[0]));
	assert_int_equal(0, end(calls[1]));
	assert_int_equal(NB_DEVS + 1, hw.attached);
}

static void
a_fault_behind_anothers_handler_keeps_no_detach(void **state)
{
	struct call *detach;

	(void)state;
	open_iommu(false, true);
	t.hold = true;
	put_stall(0, 1);
	put_stall(2, 2);
	iopf_poll(t.poller);
	for (unsigned int i = 0; i < 100000 && t.holding == 0; i++)
		usleep(100);
	detach = begin(detach2, t.domain[2]);
	assert_int_equal(0, end(detach));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(2, hw.out[0].answer.token);
	t.hold = false;
	for (unsigned int i = 0; i < 100000 && hw.nb_out < 2; i++)
		usleep(100);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(1, t.holding);
}

static void
a_device_that_does_not_drain_holds_up_no_other(void **state)
{
	struct call *detach;

	(void)state;
	open_iommu(true, true);
	t.not_drained = true;
	detach = begin(detach0, t.domain[0]);
	for (unsigned int i = 0; i < 100000 && t.asked == 0; i++)
		usleep(100);
	assert_int_equal(0, end(begin(others_control, NULL)));
	assert_false(detach->ended);
	t.not_drained = false;
	assert_int_equal(0, end(detach));
}

static int
attach_other(void *arg)
{
	(void)arg;
	return iopf_domain_attach(t.domain[1], t.dev[1], 3);
}

static void
an_attach_that_the_driver_is_slow_with_holds_up_no_other(void **state)
{
	struct call *attach;

	(void)state;
	open_iommu(false, true);
	hw.knobs[ARRAY_ATTACH].hold = 1;
	attach = begin(attach0, t.domain[1]);
	assert_true(array_wait_held(ARRAY_ATTACH, 1));
	assert_int_equal(0, end(begin(attach_other, NULL)));
	assert_int_equal(0, end(begin(others_control, NULL)));
	assert_false(attach->ended);
	array_release(ARRAY_ATTACH);
	assert_int_equal(0, end(attach));
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
an_iommu_that_is_slow_to_stop_or_close_holds_up_no_other(void **state)
{
	struct iopf_iommu *third;
	struct call *call;

	(void)state;
	open_iommu(false, true);
	hw.knobs[ARRAY_STOP].hold = 1;
	call = begin(stop, NULL);
	assert_true(array_wait_held(ARRAY_STOP, 1));
	assert_int_equal(0, end(begin(others_control, NULL)));
	assert_int_equal(0, end(begin(open_and_close_another, NULL)));
	assert_false(call->ended);
	array_release(ARRAY_STOP);
	assert_int_equal(0, end(call));
	third = iopf_iommu_open("arrays,n=3");
	assert_non_null(third);
	hw.knobs[ARRAY_CLOSE].hold = 1;
	call = begin(close_third, third);
	assert_true(array_wait_held(ARRAY_CLOSE, 1));
	assert_int_equal(0, end(begin(open_and_close_another, NULL)));
	/* Its place is its own until the driver has let go. */
	assert_null(iopf_iommu_open("arrays,n=3"));
	assert_int_equal(EBUSY, rte_errno);
	array_release(ARRAY_CLOSE);
	assert_int_equal(0, end(call));
}

/* Of a device whose faults are not answered, of which the IOMMU has a limited number. */
static void
a_device_cannot_hold_all_stalls(void **state)
{
	uint64_t held;

	(void)state;
	t.share_ms = 1;
	open_iommu(false, true);
	t.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < MAX_STALLS; i++)
		put_stall(0, i);
	while (iopf_poll(t.poller) != 0)
		;
	/* Taken at once, they are not refused: they may be answered soon. */
	assert_int_equal(MAX_STALLS, iopf_domain_pending(t.domain[0]));
	held = MAX_STALLS / NB_DEVS;
	for (unsigned int i = 0; i < 200000 && iopf_domain_pending(t.domain[0]) > held; i++) {
		iopf_poll(t.poller);
		usleep(10);
	}
	assert_int_equal(held, iopf_domain_pending(t.domain[0]));
	assert_int_equal(MAX_STALLS - held, hw.nb_out);
	for (unsigned int i = 0; i < hw.nb_out; i++)
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
	assert_int_equal(MAX_STALLS - held, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_OVER_SHARE));
	assert_int_equal(MAX_STALLS - held, iopf_dev_stat(t.dev[0], IOPF_DEV_STAT_OVER_SHARE));
	/* Another has what it gave up. */
	put_stall(1, 1);
	iopf_poll(t.poller);
	assert_int_equal(1, iopf_domain_pending(t.domain[1]));
	assert_int_equal(0, iopf_dev_stat(t.dev[1], IOPF_DEV_STAT_OVER_SHARE));
}

/* Faults that were answered, and whose handlers have not returned, are no stalls. */
static void
handlers_that_never_return_take_no_share_of_others(void **state)
{
	(void)state;
	t.share_ms = 1;
	t.wait_ms = 1;
	t.nb_threads = MAX_STALLS;
	open_iommu(false, false);
	/* Alone, it may have all stalls, however late the worker calls the handlers. */
	assert_int_equal(0, iopf_domain_attach(t.domain[0], t.dev[0], IOPF_NO_PASID));
	t.hold = true;
	for (unsigned int i = 0; i < MAX_STALLS; i++)
		put_stall(0, i);
	while (t.holding < MAX_STALLS) {
		iopf_poll(t.poller);
		usleep(10);
	}
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(t.domain[0], t.dev[0], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_pending(t.domain[0]));
	assert_int_equal(0, iopf_domain_attach(t.domain[1], t.dev[1], IOPF_NO_PASID));
	/* More than an equal share, for longer than share_ms, and all are left to it. */
	t.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < MAX_STALLS - MAX_STALLS / 8 - 1; i++)
		put_stall(1, i);
	for (unsigned int i = 0; i < 500; i++) {
		iopf_poll(t.poller);
		usleep(10);
	}
	assert_int_equal(MAX_STALLS - MAX_STALLS / 8 - 1, iopf_domain_pending(t.domain[1]));
	assert_int_equal(0, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_OVER_SHARE));
	t.hold = false;
	while (iopf_domain_detach(t.domain[0], t.dev[0], IOPF_NO_PASID) == -ETIMEDOUT)
		;
}

/*
 * Stalls, and records that want no answer, of a device that is attached or not: whatever it
 * puts into the queue between two polls, what another puts behind that is answered by the next
 * polls that take as many records.
 */
static void
storm_of(bool attached, uint8_t flags)
{
	enum { STORM = 300, PER_POLL = 32 * 4, ROUNDS = 50 };
	struct iopf_event ev = { .addr = 0x5000, .sid = attached ? SID : 99,
		.pasid = IOPF_NO_PASID, .flags = flags };

	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t before = iopf_domain_stat(t.domain[1], IOPF_STAT_SUCCESS);

		for (unsigned int k = 0; k < STORM; k++) {
			ev.token = k % MAX_STALLS;
			array_put(IOPF_QUEUE_EVENTS, &ev);
		}
		put_stall(1, 1);
		for (unsigned int polls = 0; polls < STORM / PER_POLL + 1; polls++)
			iopf_poll(t.poller);
		assert_int_equal(before + 1, iopf_domain_stat(t.domain[1], IOPF_STAT_SUCCESS));
	}
}

static void
a_storm_of_one_device_delays_another_by_its_records_alone(void **state)
{
	(void)state;
	open_iommu(false, true);
	t.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	storm_of(true, IOPF_EVENT_STALL);
	storm_of(true, 0);
	storm_of(false, IOPF_EVENT_STALL);
	storm_of(false, 0);
}

/* Contract 16: an access that is refused moves a counter that names the reason and the device. */
static void
a_refused_access_is_counted_for_its_device(void **state)
{
	struct iopf_event ev = { .addr = 0x1000, .sid = SID, .pasid = 3, .raw_id = 0x0a,
		.reason = IOPF_REASON_CONFIG };

	(void)state;
	open_iommu(false, true);
	array_put(IOPF_QUEUE_EVENTS, &ev);		/* a PASID that is not attached */
	ev.flags = IOPF_EVENT_STALL;
	array_put(IOPF_QUEUE_EVENTS, &ev);
	ev.flags = 0;
	ev.sid = 99;
	array_put(IOPF_QUEUE_EVENTS, &ev);		/* no known device */
	ev.sid = SID;
	ev.pasid = IOPF_NO_PASID;
	array_put(IOPF_QUEUE_EVENTS, &ev);		/* attached: not for a handler */
	iopf_poll(t.poller);
	assert_int_equal(2, iopf_dev_stat(t.dev[0], IOPF_DEV_STAT_NO_DOMAIN));
	assert_int_equal(1, iopf_dev_stat(t.dev[0], IOPF_DEV_STAT_REPORTS));
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN));
	assert_int_equal(0, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_UNKNOWN_SID));
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID));
	assert_int_equal(3, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_REPORTS));
	assert_int_equal(0, iopf_dev_stat(t.dev[1], IOPF_DEV_STAT_NO_DOMAIN));
	assert_int_equal(1, hw.nb_out);
	assert_string_equal("unknown", iopf_dev_stat_name(IOPF_NB_DEV_STATS));
	assert_int_equal(0, iopf_dev_stat(t.dev[0], IOPF_NB_DEV_STATS));
	assert_int_equal(0, iopf_dev_stat(NULL, IOPF_DEV_STAT_REPORTS));
}

/*
 * Stop and close
 */

static void
an_iommu_that_has_failed_is_not_started_before_it_is_stopped(void **state)
{
	(void)state;
	open_iommu(false, true);
	hw.check = IOPF_CHECK_DEAD;
	while (hw.check != 0)
		iopf_poll(t.poller);
	assert_int_equal(-EIO, iopf_iommu_start(t.iommu));
	assert_int_equal(EIO, rte_errno);
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
}

static void
a_stop_that_failed_is_called_again_and_close_keeps_all(void **state)
{
	(void)state;
	open_iommu(false, false);
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(t.dev[i]));
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	hw.knobs[ARRAY_STOP].fail = -ETIMEDOUT;
	hw.knobs[ARRAY_STOP].nb_fail = 2;
	assert_int_equal(-ETIMEDOUT, iopf_iommu_stop(t.iommu));
	hw.knobs[ARRAY_CLOSE].fail = -EBUSY;
	hw.knobs[ARRAY_CLOSE].nb_fail = 1;
	assert_int_equal(-EBUSY, iopf_iommu_close(t.iommu));
	assert_null(iopf_iommu_open("arrays,n=1"));
	assert_int_equal(-ETIMEDOUT, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(3, hw.knobs[ARRAY_STOP].calls);
	/* Off: nothing to do. */
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(3, hw.knobs[ARRAY_STOP].calls);
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_domain_destroy(t.domain[i]));
	assert_int_equal(0, iopf_worker_destroy(t.worker));
	t.iommu = NULL;
}

static void
an_iommu_with_mapped_memory_is_not_closed(void **state)
{
	static uint8_t area[2][4096];
	uint64_t addr[2];

	(void)state;
	t.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(t.iommu);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(0, iopf_dma_map(t.iommu, area[i], 4096, &addr[i]));
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(-EBUSY, iopf_iommu_close(t.iommu));
		assert_int_equal(0, iopf_dma_unmap(t.iommu, area[i], 4096, addr[i]));
	}
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	t.iommu = NULL;
}

/*
 * A driver without the operations that may be absent
 */

static void
a_driver_may_leave_operations_out(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	(void)state;
	t.bare = true;
	open_iommu(false, true);
	/* Invalidated, then answered; and not answered so when that failed. */
	t.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	t.upgrade = true;
	for (unsigned int i = 0; i < 2; i++) {
		hw.knobs[ARRAY_INVALIDATE].fail = -EIO;
		hw.knobs[ARRAY_INVALIDATE].nb_fail = i;
		put_stall(0, i);
		assert_int_equal(1, iopf_poll(t.poller));
		assert_int_equal(i + 1, hw.knobs[ARRAY_INVALIDATE].calls);
		assert_int_equal(i + 1, hw.nb_out);
		assert_int_equal(i == 0 ? IOPF_SUCCESS : IOPF_INVALID, hw.out[i].answer.code);
	}
	/* No mark: what the queue holds is read to its end, by the detach. */
	for (unsigned int i = 0; i < 500; i++)
		put_stall(0, i % 30);
	assert_int_equal(0, iopf_domain_detach(t.domain[0], t.dev[0], IOPF_NO_PASID));
	assert_int_equal(502, hw.nb_out);
	assert_int_equal(-ENOTSUP, iopf_iommu_idle(t.iommu, -1));
	f = open_memstream(&text, &len);
	iopf_iommu_dump(t.iommu, f);
	fclose(f);
	assert_non_null(strstr(text, "running"));
	free(text);
	/* Passes beyond those where errors are looked at. */
	for (unsigned int i = 0; i < 100; i++)
		iopf_poll(t.poller);
}

/*
 * Grace periods
 */

static void
many_streamids_cost_few_grace_periods(void **state)
{
	static uint32_t sids[65536];
	unsigned int before;
	struct iopf_dev *dev;

	(void)state;
	open_iommu(false, true);
	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		sids[i] = 1000 + i;
	before = interpose_grace_periods;
	dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){
			.sids = sids, .nb_sids = RTE_DIM(sids), .nb_pasids = NB_PASIDS });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(t.domain[0], dev, 1));
	assert_int_equal(0, iopf_domain_detach(t.domain[0], dev, 1));
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_in_range(interpose_grace_periods - before, 1, 16);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(a_domain_is_not_destroyed_while_it_is_being_attached),
	T(an_undo_that_failed_says_the_next_step),
	T(an_attach_whose_undo_failed_is_undone_by_a_detach),
	T(an_attach_whose_undo_failed_is_undone_by_the_next_attach),
	T(an_attach_whose_undo_failed_is_undone_with_its_device),
	T(a_detach_that_failed_goes_on_where_it_was),
	T(a_removal_that_failed_can_be_called_again),
	T(attach_waits_for_no_invalidation),
	T(no_invalidation_overtakes_a_detach_that_waits),
	T(attach_goes_on_beside_threads_that_invalidate_without_pause),
	T(a_handler_that_never_returns_costs_its_device_alone),
	T(a_detach_whose_handler_does_not_return_times_out_and_is_called_again),
	T(two_detaches_of_one_attachment_end_together),
	T(a_fault_behind_anothers_handler_keeps_no_detach),
	T(a_device_that_does_not_drain_holds_up_no_other),
	T(an_attach_that_the_driver_is_slow_with_holds_up_no_other),
	T(an_iommu_that_is_slow_to_stop_or_close_holds_up_no_other),
	T(a_device_cannot_hold_all_stalls),
	T(handlers_that_never_return_take_no_share_of_others),
	T(a_storm_of_one_device_delays_another_by_its_records_alone),
	T(a_refused_access_is_counted_for_its_device),
	T(an_iommu_that_has_failed_is_not_started_before_it_is_stopped),
	T(a_stop_that_failed_is_called_again_and_close_keeps_all),
	T(an_iommu_with_mapped_memory_is_not_closed),
	T(a_driver_may_leave_operations_out),
	T(many_streamids_cost_few_grace_periods),
};
TEST_SUITE(control, tests, NULL, NULL);
