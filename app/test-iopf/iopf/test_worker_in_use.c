/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* IOMMUs, pools, workers and domains in use are not closed or destroyed. */

#include <errno.h>

#include <rte_errno.h>
#include <rte_log.h>

#include "iopf_iommu.h"
#include "mmem.h"
#include "smmuv3_model.h"
#include "test.h"
#include "worker_rig.h"

static void
an_iommu_that_reaches_memory_is_not_closed(void **state)
{
	struct smmuv3_model *model;
	struct mmem_space *space;
	struct iopf_iommu *smmu;
	struct mmem_pool *pool;
	static uint8_t page[2 * 4096] __attribute__((aligned(4096)));
	uint64_t addr;

	(void)state;
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "lives" });
	smmu = iopf_iommu_open("smmuv3,model=lives");
	assert_non_null(smmu);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu, .size = 8 << 20,
			.no_hugepages = true });
	assert_non_null(pool);
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	assert_non_null(space);
	rte_log_set_level_pattern("lib.*", RTE_LOG_EMERG);
	assert_int_equal(-EBUSY, iopf_iommu_close(smmu));
	assert_int_equal(EBUSY, rte_errno);
	assert_int_equal(-EBUSY, mmem_pool_destroy(pool));
	assert_int_equal(0, mmem_space_destroy(space));
	assert_int_equal(-EBUSY, iopf_iommu_close(smmu));
	assert_int_equal(0, mmem_pool_destroy(pool));
	assert_int_equal(0, iopf_dma_map(smmu, page, 4096, &addr));
	assert_int_equal(-EEXIST, iopf_dma_map(smmu, page, 4096, &(uint64_t){ 0 }));
	assert_int_equal(-EBUSY, iopf_iommu_close(smmu));
	assert_int_equal(0, iopf_dma_unmap(smmu, page, 4096, addr));
	rte_log_set_level_pattern("lib.*", RTE_LOG_INFO);
	assert_int_equal(0, iopf_iommu_close(smmu));
	smmuv3_model_destroy(model);
}

static void
a_worker_and_a_domain_in_use_are_not_destroyed(void **state)
{
	(void)state;
	rte_log_set_level_pattern("lib.*", RTE_LOG_EMERG);
	assert_int_equal(-EBUSY, iopf_worker_destroy(wk.worker));
	assert_int_equal(-EBUSY, iopf_domain_destroy(wk.domain));
	rte_log_set_level_pattern("lib.*", RTE_LOG_INFO);
}

static const struct CMUnitTest tests[] = {
	WK_TEST(an_iommu_that_reaches_memory_is_not_closed),
	WK_TEST(a_worker_and_a_domain_in_use_are_not_destroyed),
};

TEST_SUITE(worker_in_use, tests, NULL, NULL);
