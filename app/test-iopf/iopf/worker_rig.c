/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "test.h"
#include "worker_rig.h"

struct wk wk;

enum iopf_verdict
wk_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	atomic_store(&wk.id, group->id);
	return wk.verdict;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	enum iopf_verdict (*f)(const struct iopf_group *group) = atomic_load(&wk.deferred);

	(void)domain;
	(void)ctx;
	assert_int_equal(group->nb_faults, 1);
	assert_ptr_equal(group->dev, wk.dev);
	atomic_store(&wk.id, group->id);
	atomic_fetch_add(&wk.called, 1);
	return f != NULL ? f(group) : IOPF_ANSWER(IOPF_SUCCESS);
}

static int
setup_threads(unsigned int nb_threads)
{
	const uint32_t sid = SID;

	memset(&wk, 0, sizeof(wk));
	array_iommu_reset();
	wk.verdict = IOPF_DEFER;
	wk.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(wk.iommu);
	wk.worker = iopf_worker_create(&(struct iopf_worker_conf){ .nb_threads = nb_threads });
	assert_non_null(wk.worker);
	wk.dev = iopf_dev_add(wk.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(wk.dev);
	wk.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = wk_fast,
			.deferred = deferred, .worker = wk.worker });
	assert_non_null(wk.domain);
	assert_int_equal(0, iopf_domain_attach(wk.domain, wk.dev, IOPF_NO_PASID));
	wk.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(wk.poller, wk.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(wk.iommu));
	return 0;
}

int
wk_setup(void **state)
{
	(void)state;
	return setup_threads(1);
}

int
wk_setup_three(void **state)
{
	(void)state;
	return setup_threads(3);
}

int
wk_teardown(void **state)
{
	(void)state;
	atomic_store(&wk.hold, false);
	assert_int_equal(0, iopf_dev_remove(wk.dev));
	assert_int_equal(0, iopf_iommu_stop(wk.iommu));
	assert_int_equal(0, iopf_poller_destroy(wk.poller));
	assert_int_equal(0, iopf_domain_destroy(wk.domain));
	assert_int_equal(0, iopf_worker_destroy(wk.worker));
	assert_int_equal(0, iopf_iommu_close(wk.iommu));
	return 0;
}

void
wk_put_stall(uint16_t stag)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = IOPF_NO_PASID, .token = stag, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
}

enum iopf_verdict
wk_wait_for_release(const struct iopf_group *group)
{
	(void)group;
	while (atomic_load(&wk.hold))
		usleep(100);
	return IOPF_ANSWER(IOPF_SUCCESS);
}
