/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

#include "iopf_handler.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "iopf_iommu.h"
#include "test.h"

struct one one;
unsigned int one_max_stalls;

enum iopf_verdict
one_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	assert_ptr_equal(domain, one.domain);
	assert_ptr_equal(ctx, &one);
	assert_ptr_equal(iopf_domain_ctx(domain), ctx);
	assert_int_equal(group->nb_faults, 1);
	one.last_id = group->id;
	one.called++;
	return one.in_handler != NULL ? one.in_handler(group) : one.verdict;
}

enum iopf_verdict
one_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	one.last_id = group->id;
	one.called_deferred++;
	while (atomic_load(&one.hold))
		usleep(100);
	return one.deferred_verdict;
}

static void
one_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	assert_ptr_equal(iommu, one.iommu);
	assert_ptr_equal(ctx, &one);
	one.reported++;
	one.report = *fault;
}

int
one_setup(void **state)
{
	const uint32_t sid = SID;

	(void)state;
	memset(&one, 0, sizeof(one));
	array_iommu_reset();
	if (one_max_stalls != 0)
		hw.max_stalls = one_max_stalls;
	one.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	one.deferred_verdict = IOPF_ANSWER(IOPF_SUCCESS);
	one.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(one.iommu);
	assert_int_equal(0, iopf_iommu_configure(one.iommu,
			&(struct iopf_iommu_conf){ .report = one_report, .report_ctx = &one }));
	one.worker = iopf_worker_create(NULL);
	assert_non_null(one.worker);
	one.dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){
			.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS });
	assert_non_null(one.dev);
	one.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = one_fast,
			.deferred = one_deferred, .worker = one.worker, .ctx = &one });
	assert_non_null(one.domain);
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	one.poller = iopf_poller_create(NULL);
	assert_non_null(one.poller);
	assert_int_equal(0, iopf_poller_add(one.poller, one.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
	return 0;
}

int
one_teardown(void **state)
{
	(void)state;
	one.hold = false;
	assert_int_equal(0, iopf_dev_remove(one.dev));
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(0, iopf_poller_destroy(one.poller));
	assert_int_equal(0, iopf_domain_destroy(one.domain));
	assert_int_equal(0, iopf_worker_destroy(one.worker));
	assert_int_equal(0, iopf_iommu_close(one.iommu));
	assert_int_equal(0, hw.domains);
	assert_int_equal(0, hw.attached);
	return 0;
}

void
one_put(struct iopf_event ev)
{
	array_put(IOPF_QUEUE_EVENTS, &ev);
}

void
one_put_stall(uint16_t stag, uint64_t addr)
{
	one_put((struct iopf_event){ .addr = addr, .sid = SID, .pasid = IOPF_NO_PASID,
			.token = stag, .perm = IOPF_PERM_READ, .flags = IOPF_EVENT_STALL,
			.raw_id = 0x10 });
}

void
one_await_answers(unsigned int n)
{
	for (unsigned int i = 0; i < 200000 && hw.nb_out < n; i++) {
		iopf_poll(one.poller);
		usleep(100);
	}
	assert_int_equal(hw.nb_out, n);
}

void
one_await_counts(void)
{
	for (unsigned int i = 0; i < 200000 && iopf_domain_pending(one.domain) != 0; i++)
		usleep(100);
	assert_int_equal(0, iopf_domain_pending(one.domain));
}

void
one_mute_log(bool on)
{
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
}
