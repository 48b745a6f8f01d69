/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

#include "control_rig.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_iommu.h"
#include "test.h"

struct ctl ctl;

static enum iopf_verdict
fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	ctl.last_id = group->id;
	if (ctl.upgrade)
		assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){
				.size = 4096 }));
	return ctl.verdict;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	ctl.holding++;
	while (ctl.hold)
		usleep(100);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
call_hook(void)
{
	if (ctl.in_pci_op != NULL)
		ctl.in_pci_op();
}

/* The operations of device 0 change this; those of the others change nothing. */
static struct pri_fn *
fn_of(const struct iopf_dev *dev)
{
	static _Thread_local struct pri_fn other;

	other = (struct pri_fn){ 0 };
	return dev == ctl.dev[0] ? &ctl.pri_fn : &other;
}

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	struct pri_fn *fn = fn_of(dev);

	(void)stu;
	(void)ctx;
	call_hook();
	fn->nb_wrong += fn->ats;
	if (ctl.fail_ats == 0)
		fn->ats = true;
	return ctl.fail_ats;
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)ctx;
	call_hook();
	if (ctl.fail_ats_off == 0)
		fn_of(dev)->ats = false;
	return ctl.fail_ats_off;
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	struct pri_fn *fn = fn_of(dev);

	(void)n;
	(void)ctx;
	fn->nb_wrong += fn->pri || (dev == ctl.dev[0] && !fn->ats);
	if (ctl.fail_pri == 0)
		fn->pri = true;
	return ctl.fail_pri;
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	struct pri_fn *fn = fn_of(dev);

	(void)ctx;
	call_hook();
	fn->nb_pri_off++;
	if (ctl.fail_pri_off == 0)
		fn->pri = false;
	return ctl.fail_pri_off;
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	struct pri_fn *fn = fn_of(dev);

	(void)ctx;
	fn->nb_early += fn->pri;
	if (fn->pri)
		return false;
	if (dev != ctl.dev[0] || !ctl.not_drained)
		return true;
	ctl.asked++;
	return false;
}

static const struct iopf_pci_ops pri_ops = {
	.ats_enable = ats_enable, .ats_disable = ats_disable,
	.pri_enable = pri_enable, .pri_disable = pri_disable, .pri_drained = pri_drained,
};

void
ctl_open(bool requests, bool attach)
{
	hw.requests = requests;
	hw.sid_bits = 17;
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	ctl.verdict = IOPF_DEFER;
	ctl.iommu = iopf_iommu_open(ctl.bare ? "bare,n=1" : "arrays,n=1");
	assert_non_null(ctl.iommu);
	assert_int_equal(0, iopf_iommu_configure(ctl.iommu, &(struct iopf_iommu_conf){
			.share_ms = ctl.share_ms }));
	ctl.worker = iopf_worker_create(&(struct iopf_worker_conf){ .nb_threads = ctl.nb_threads });
	assert_non_null(ctl.worker);
	for (unsigned int i = 0; i < NB_DEVS; i++) {
		const uint32_t sid = SID + i;
		struct iopf_dev_conf conf = {
			.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS,
			.recover = requests ? IOPF_PRI : IOPF_STALL,
			.pri_requests = requests ? 4 : 0,
			/* Longer than any test: a test releases its waits, or sets wait_ms. */
			.wait_ms = ctl.wait_ms != 0 ? ctl.wait_ms : 600000,
		};

		if (requests)
			conf.pci = &pri_ops;
		if (i == 0)
			conf.limits = ctl.limits;
		ctl.dev[i] = iopf_dev_add(ctl.iommu, &conf);
		assert_non_null(ctl.dev[i]);
		ctl.domain[i] = iopf_domain_create(&(struct iopf_domain_conf){ .handler = fast,
				.deferred = deferred, .worker = ctl.worker,
				.storm = i == 0 ? ctl.storm : NULL });
		assert_non_null(ctl.domain[i]);
		if (attach)
			assert_int_equal(0, iopf_domain_attach(ctl.domain[i], ctl.dev[i],
					IOPF_NO_PASID));
	}
	ctl.poller = iopf_poller_create(NULL);
	assert_non_null(ctl.poller);
	assert_int_equal(0, iopf_poller_add(ctl.poller, ctl.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(ctl.iommu));
}

int
ctl_setup(void **state)
{
	(void)state;
	memset(&ctl, 0, sizeof(ctl));
	array_iommu_reset();
	return 0;
}

int
ctl_teardown(void **state)
{
	(void)state;
	/* Release all waits that a failed test has left. */
	ctl.hold = false;
	ctl.storm_stop = true;
	ctl.not_drained = false;
	for (unsigned int i = 0; i < NB_ARRAY_CALLS; i++) {
		hw.knobs[i].nb_fail = 0;
		array_release(i);
	}
	hw.fail_attach = 0;
	ctl.fail_ats = ctl.fail_ats_off = ctl.fail_pri = ctl.fail_pri_off = 0;
	/* As after a reset of the device. */
	ctl.pri_fn = (struct pri_fn){ 0 };
	for (unsigned int i = 0; i < ctl.nb_calls; i++)
		pthread_join(ctl.calls[i].thread, NULL);
	if (ctl.iommu == NULL)
		return 0;
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(ctl.dev[i]));
	assert_int_equal(0, iopf_iommu_stop(ctl.iommu));
	assert_int_equal(0, iopf_poller_destroy(ctl.poller));
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_domain_destroy(ctl.domain[i]));
	assert_int_equal(0, iopf_worker_destroy(ctl.worker));
	assert_int_equal(0, iopf_iommu_close(ctl.iommu));
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

struct call *
ctl_start_call(int (*fn)(void *arg), void *arg)
{
	struct call *call = &ctl.calls[ctl.nb_calls];

	assert_true(ctl.nb_calls < MAX_THREADS);
	*call = (struct call){ .fn = fn, .arg = arg };
	assert_int_equal(0, pthread_create(&call->thread, NULL, call_main, call));
	ctl.nb_calls++;
	return call;
}

int
ctl_end_call(struct call *call)
{
	for (unsigned int i = 0; i < 200000 && !atomic_load(&call->ended); i++)
		usleep(100);
	assert_true(atomic_load(&call->ended));
	return call->ret;
}

int
ctl_run_call(int (*fn)(void *arg), void *arg)
{
	return ctl_end_call(ctl_start_call(fn, arg));
}

void
ctl_put_stall(unsigned int dev, uint16_t stag)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID + dev,
			.pasid = IOPF_NO_PASID, .token = stag, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
}

void
ctl_await_handler(void)
{
	for (unsigned int i = 0; i < 100000 && ctl.holding == 0; i++)
		usleep(100);
	assert_true(ctl.holding != 0);
}

void
ctl_hold_handler(unsigned int dev)
{
	ctl.hold = true;
	ctl_put_stall(dev, 1);
	iopf_poll(ctl.poller);
	ctl_await_handler();
}

void
ctl_await_answers(unsigned int n)
{
	for (unsigned int i = 0; i < 100000 && hw.nb_out < n; i++)
		usleep(100);
	assert_int_equal(n, hw.nb_out);
}

int
ctl_attach0(void *domain)
{
	return iopf_domain_attach(domain, ctl.dev[0], 1);
}

int
ctl_detach2(void *domain)
{
	return iopf_domain_detach(domain, ctl.dev[2], IOPF_NO_PASID);
}

int
ctl_invalidate(void *domain)
{
	return iopf_invalidate(domain, &(struct iopf_inv){ .all = true }, 1, NULL);
}
