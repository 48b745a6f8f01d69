/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Each allocation of the control calls fails in turn: the call returns an error, all objects made
 * before can be removed, and the same calls succeed afterwards.
 */

#include <errno.h>

#include <rte_errno.h>
#include <rte_log.h>

#include "interpose.h"
#include "iopf.h"
#include "iopf_iommu.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "mmem.h"
#include "pcie_rig.h"
#include "smmuv3_model.h"
#include "test.h"

#define MAX_ALLOCS 2000

/* Each in a second-level table of its own, together more than one chunk of the driver's pool. */
#define NB_SIDS		24

static struct smmuv3_model *model;
static struct pcie_fn fn = { .sid = 9, .silent = true };

static enum iopf_verdict
handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_INVALID);
}

/* Create all objects in order, then remove them, also after a failure. */
static bool
create_and_destroy_all(void)
{
	uint32_t sids[NB_SIDS];
	struct iopf_iommu *iommu;
	struct iopf_dev *dev = NULL, *asking = NULL;
	struct iopf_domain *domain = NULL;
	struct iopf_poller *poller = NULL;
	struct iopf_worker *worker = NULL;
	struct mmem_pool *pool = NULL;
	struct mmem_space *space = NULL;
	bool started = false, ok = false;

	for (unsigned int i = 0; i < NB_SIDS; i++)
		sids[i] = i << 8 | 4;
	iommu = iopf_iommu_open("smmuv3,model=nomem");
	if (iommu == NULL)
		return false;
	/* Queues too large for the small pieces of the driver's memory pool. */
	if (iopf_iommu_configure(iommu, &(struct iopf_iommu_conf){ .event_queue_size = 8192,
			.request_queue_size = 4096, .command_queue_size = 8192 }) < 0)
		goto out;
	dev = iopf_dev_add(iommu, &(struct iopf_dev_conf){ .sids = sids, .nb_sids = NB_SIDS,
			.nb_pasids = 8 });
	if (dev == NULL)
		goto out;
	asking = iopf_dev_add(iommu, &(struct iopf_dev_conf){ .sids = &fn.sid, .nb_sids = 1,
			.nb_pasids = 8, .recover = IOPF_PRI, .pci = &pcie_fn_ops, .ctx = &fn });
	if (asking == NULL)
		goto out;
	worker = iopf_worker_create(&(struct iopf_worker_conf){ .size = 64 });
	if (worker == NULL)
		goto out;
	domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = handler });
	if (domain == NULL || iopf_domain_attach(domain, dev, 3) < 0 ||
			iopf_domain_attach(domain, asking, 5) < 0)
		goto out;
	poller = iopf_poller_create(NULL);
	if (poller == NULL || iopf_poller_add(poller, iommu, IOPF_QUEUE_ALL) < 0)
		goto out;
	if (iopf_iommu_start(iommu) < 0)
		goto out;
	started = true;
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = iommu, .size = 16 << 20 });
	if (pool == NULL)
		goto out;
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .worker = worker });
	if (space == NULL || mmem_attach(space, dev, IOPF_NO_PASID) < 0 ||
			mmem_attach(space, asking, IOPF_NO_PASID) < 0)
		goto out;
	ok = mmem_alloc(space, 3 << 20, MMEM_READ) != NULL;
out:
	/* Removal needs no allocation. */
	interpose_fail(0);
	if (dev != NULL)
		assert_int_equal(0, iopf_dev_remove(dev));
	if (asking != NULL)
		assert_int_equal(0, iopf_dev_remove(asking));
	assert_int_equal(0, iopf_iommu_requests_granted(iommu));
	if (space != NULL)
		assert_int_equal(0, mmem_space_destroy(space));
	if (pool != NULL)
		assert_int_equal(0, mmem_pool_destroy(pool));
	if (started)
		assert_int_equal(0, iopf_iommu_stop(iommu));
	assert_int_equal(0, iopf_poller_destroy(poller));
	assert_int_equal(0, iopf_domain_destroy(domain));
	assert_int_equal(0, iopf_worker_destroy(worker));
	assert_int_equal(0, iopf_iommu_close(iommu));
	return ok;
}

static void
each_failing_allocation_is_a_clean_error(void **state)
{
	unsigned int n;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizers interpose the same functions");
#endif
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "nomem",
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
			.cmdq_log2 = 13, .evtq_log2 = 13, .priq_log2 = 12 });
	assert_non_null(model);
	fn.dma[0] = smmuv3_model_dma_create(model, &(struct smmuv3_model_dma_conf){
			.sid = fn.sid, .kind = SMMUV3_MODEL_DMA_ATS });
	assert_non_null(fn.dma[0]);
	rte_log_set_level_pattern("lib.*", RTE_LOG_EMERG);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	/* Once without a failure, for allocations that are made at the first use only. */
	assert_true(create_and_destroy_all());
	for (n = 1; n < MAX_ALLOCS; n++) {
		bool ok, failed;

		interpose_fail(n);
		ok = create_and_destroy_all();
		failed = interpose_failed();
		interpose_fail(0);
		if (!failed) {
			assert_true(ok);
			break;
		}
		/* The failure of an optional allocation may go unnoticed. */
		if (!ok)
			assert_true(rte_errno == ENOMEM || rte_errno == EAGAIN ||
					rte_errno == ENODEV || rte_errno == EINVAL);
	}
	rte_log_set_level_pattern("lib.*", RTE_LOG_INFO);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_INFO);
	print_message("%u allocations failed in turn\n", n - 1);
	assert_in_range(n, 20, MAX_ALLOCS - 1);
	assert_true(create_and_destroy_all());
	smmuv3_model_dma_destroy(fn.dma[0]);
	assert_int_equal(0, smmuv3_model_driver_errors(model));
	assert_int_equal(0, smmuv3_model_oracle_errors(model));
	smmuv3_model_destroy(model);
}

/* Without one of them the driver would not know whose ATC_INV had failed, for example. */
static void
each_allocation_of_a_start_is_needed(void **state)
{
	struct iopf_iommu *iommu;
	bool failed = true;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizers interpose the same functions");
#endif
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "nomem",
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
			.cmdq_log2 = 13, .evtq_log2 = 13, .priq_log2 = 12 });
	assert_non_null(model);
	iommu = iopf_iommu_open("smmuv3,model=nomem");
	assert_non_null(iommu);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	for (unsigned int n = 1; failed; n++) {
		int ret;

		assert_true(n < MAX_ALLOCS);
		interpose_fail(n);
		ret = iopf_iommu_start(iommu);
		failed = interpose_failed();
		interpose_fail(0);
		assert_int_equal(failed ? -ENOMEM : 0, ret);
	}
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_INFO);
	assert_int_equal(0, iopf_iommu_stop(iommu));
	assert_int_equal(0, iopf_iommu_close(iommu));
	smmuv3_model_destroy(model);
}

/* The queues are kept: a start that follows a stop cannot fail for want of memory. */
static void
a_restart_with_the_same_sizes_needs_no_memory(void **state)
{
	struct iopf_iommu *iommu;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizers interpose the same functions");
#endif
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "nomem",
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
			.cmdq_log2 = 13, .evtq_log2 = 13, .priq_log2 = 12 });
	assert_non_null(model);
	iommu = iopf_iommu_open("smmuv3,model=nomem");
	assert_non_null(iommu);
	assert_int_equal(0, iopf_iommu_configure(iommu, &(struct iopf_iommu_conf){
			.event_queue_size = 8192, .request_queue_size = 4096,
			.command_queue_size = 8192 }));
	assert_int_equal(0, iopf_iommu_start(iommu));
	assert_int_equal(0, iopf_iommu_stop(iommu));
	interpose_fail(1);
	assert_int_equal(0, iopf_iommu_start(iommu));
	assert_false(interpose_failed());
	interpose_fail(0);
	assert_int_equal(0, iopf_iommu_stop(iommu));
	assert_int_equal(0, iopf_iommu_close(iommu));
	smmuv3_model_destroy(model);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_restart_with_the_same_sizes_needs_no_memory),
	cmocka_unit_test(each_allocation_of_a_start_is_needed),
	cmocka_unit_test(each_failing_allocation_is_a_clean_error),
};
TEST_SUITE(nomem, tests, NULL, NULL);
