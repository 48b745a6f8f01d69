/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Control calls with a full pool, arguments out of range and failed allocations, and memory that is
 * kept while the SMMU does not confirm an invalidation.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_log.h>

#include "interpose.h"
#include "iommu.h"
#include "log_lines.h"
#include "mmem_rig.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "test.h"

static void
test_a_full_pool_returns_enomem_and_recovers(void **state)
{
	uint8_t *p[NB_CHUNKS] = { NULL };
	unsigned int i, n;

	(void)state;
	mm_mute_log(true);
	assert_null(mmem_alloc(mm.space, (NB_CHUNKS + 1) * CHUNK, RW));
	assert_int_equal(rte_errno, ENOMEM);
	for (n = 0; n < NB_CHUNKS; n++) {
		p[n] = mmem_alloc(mm.space, PAGE, RW);
		if (p[n] == NULL)
			break;
	}
	/* The page tables use one chunk. */
	assert_int_equal(rte_errno, ENOMEM);
	assert_int_equal(n, NB_CHUNKS - 1);
	for (i = 0; i < n; i++)
		mm_dev_set(p[i], i, PAGE);
	for (i = 0; i < n; i++)
		mm_cpu_expect(p[i], i, PAGE);
	assert_int_equal(mmem_free(mm.space, p[3]), 0);
	assert_null(mmem_alloc(mm.space, 2 * CHUNK, RW));
	assert_int_equal(mmem_free(mm.space, p[4]), 0);
	assert_ptr_equal(mmem_alloc(mm.space, 2 * CHUNK, RW), p[3]);
	mm_dev_expect(p[3], 0, 2 * CHUNK);
	mm_mute_log(false);
}

static void
test_a_pool_or_space_in_use_is_not_destroyed(void **state)
{
	(void)state;
	mm_mute_log(true);
	assert_int_equal(mmem_pool_destroy(mm.pool), -EBUSY);
	assert_int_equal(mmem_space_destroy(mm.space), -EBUSY);
	mm_mute_log(false);
	mm_dev_set(mm_alloc(CHUNK, RW), 1, PAGE);
}

/* Each call logs one line. */
static void
test_each_refusal_logs_its_reason_in_one_line(void **state)
{
	uint8_t *buf = mm_alloc(3 * PAGE, RW);

	(void)state;
	SAYS("pool: mmem_pool_conf has no IOMMU", assert_null(mmem_pool_create(
			&(struct mmem_pool_conf){ .size = CHUNK })));
	SAYS("pool: size 2101248 of mmem_pool_conf", assert_null(mmem_pool_create(
			&(struct mmem_pool_conf){ .iommu = mm.smmu, .size = CHUNK + PAGE })));
	SAYS("a region of 0 bytes", assert_null(mmem_alloc(mm.space, 0, RW)));
	SAYS("flags 0x0 of a region", assert_null(mmem_alloc(mm.space, PAGE, 0)));
	SAYS("flags 0x80000003", assert_null(mmem_alloc(mm.space, PAGE, RW | 1u << 31)));
	SAYS("larger than the pool",
		assert_null(mmem_alloc(mm.space, (NB_CHUNKS + 1) * CHUNK, RW)));
	SAYS("adjacent free chunks of 2 MiB",
		assert_null(mmem_alloc(mm.space, NB_CHUNKS * CHUNK, RW)));
	assert_int_equal(rte_errno, ENOMEM);
	SAYS("without a pager", assert_null(mmem_alloc_paged(mm.space, PAGE, RW, NULL)));
	/* Reset the limit of log lines of the space. */
	memset(&mm.space->log, 0, sizeof(mm.space->log));
	SAYS("no region begins at", assert_int_equal(mmem_free(mm.space, buf + PAGE), -EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_unmap(mm.space, buf, PAGE + 1),
			-EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_protect(mm.space, buf, 4 * PAGE, RW),
			-EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_prefetch(mm.space, buf, 0), -EINVAL));
	SAYS("flags 0x20 of mmem_protect()", assert_int_equal(mmem_protect(mm.space, buf, PAGE,
			MMEM_POPULATE), -EINVAL));
	SAYS("use a regular file or a block device",
		assert_null(mmem_map_file(mm.space, "/dev/null", 0, PAGE, RW)));
	SAYS("from offset 1", assert_null(mmem_map_file(mm.space, "/proc/self/exe", 1, PAGE, RW)));
	assert_int_equal(mmem_free(mm.space, buf), 0);
}

/* A number names a pool and a space without a name. */
static void
test_log_lines_name_a_space_without_a_name(void **state)
{
	struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){
			.pool = mm.pool });
	char part[32];
	unsigned int n;

	(void)state;
	assert_non_null(space);
	assert_int_equal(sscanf(iopf_domain_name(mmem_space_domain(space)), "space:%u", &n), 1);
	snprintf(part, sizeof(part), "mmem: space %u: a region", n);
	SAYS(part, assert_null(mmem_alloc(space, 0, RW)));
	assert_int_equal(mmem_space_destroy(space), 0);
}

static void
test_arguments_out_of_range_are_refused(void **state)
{
	uint8_t *buf = mm_alloc(3 * PAGE, RW);
	int inside;

	(void)state;
	mm_mute_log(true);
	assert_null(mmem_pool_create(NULL));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_pool_create(&(struct mmem_pool_conf){ .size = CHUNK }));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_pool_create(&(struct mmem_pool_conf){
			.iommu = mm.smmu, .size = CHUNK + PAGE }));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_space_create(NULL));
	assert_int_equal(rte_errno, EINVAL);

	assert_null(mmem_alloc(mm.space, 0, RW));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_alloc(mm.space, SIZE_MAX, RW));
	assert_int_equal(rte_errno, ENOMEM);
	assert_null(mmem_alloc(mm.space, PAGE, 0));
	assert_null(mmem_alloc(mm.space, PAGE, RW | 1u << 31));
	assert_null(mmem_alloc_paged(mm.space, PAGE, RW, NULL));
	assert_null(mmem_alloc_paged(mm.space, PAGE, RW, &(struct mmem_pager){ 0 }));

	assert_int_equal(mmem_free(mm.space, NULL), -EINVAL);
	assert_int_equal(mmem_free(mm.space, buf + PAGE), -EINVAL);
	assert_int_equal(mmem_free(mm.space, buf + CHUNK), -EINVAL);
	assert_int_equal(mmem_free(mm.space, &inside), -EINVAL);
	assert_int_equal(mmem_unmap(mm.space, buf + 1, PAGE), -EINVAL);
	assert_int_equal(mmem_unmap(mm.space, buf, PAGE + 1), -EINVAL);
	assert_int_equal(mmem_unmap(mm.space, buf, 0), -EINVAL);
	assert_int_equal(mmem_unmap(mm.space, buf, 4 * PAGE), -EINVAL);
	assert_int_equal(mmem_unmap(mm.space, buf + PAGE, SIZE_MAX & ~(PAGE - 1)), -EINVAL);
	assert_int_equal(mmem_protect(mm.space, buf, PAGE, MMEM_POPULATE), -EINVAL);
	assert_int_equal(mmem_protect(mm.space, buf + 2 * PAGE, 2 * PAGE, RW), -EINVAL);
	assert_int_equal(mmem_prefetch(mm.space, buf, 0), -EINVAL);
	assert_int_equal(mmem_prefetch(mm.space, buf + CHUNK, PAGE), -EINVAL);
	assert_int_equal(mmem_free(mm.space, buf), 0);
	assert_int_equal(mmem_free(mm.space, buf), -EINVAL);
	mm_mute_log(false);
}

static void
test_counters_have_names(void **state)
{
	unsigned int i, j;

	(void)state;
	for (i = 0; i < MMEM_NB_STATS; i++) {
		assert_non_null(mmem_stat_name(i));
		for (j = 0; j < i; j++)
			assert_string_not_equal(mmem_stat_name(i), mmem_stat_name(j));
	}
	assert_string_equal(mmem_stat_name(MMEM_NB_STATS), "?");
	assert_int_equal(mmem_stat(mm.space, MMEM_NB_STATS), 0);
}

/* Each allocation of a call fails in turn: the call returns an error and leaves nothing behind. */
static bool
create_all(void)
{
	struct mmem_space *space = NULL;
	struct mmem_pool *pool;
	void *p = NULL;
	bool made;

	pool = mm_make_pool();
	if (pool != NULL)
		space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	if (space != NULL)
		p = mmem_map_file(space, "/proc/self/exe", 0, CHUNK, MMEM_READ);
	made = p != NULL;
	interpose_fail(0);
	if (!made)
		assert_true(rte_errno == ENOMEM || rte_errno == EAGAIN);
	if (p != NULL)
		assert_int_equal(mmem_free(space, p), 0);
	if (space != NULL)
		assert_int_equal(mmem_space_destroy(space), 0);
	if (pool != NULL)
		assert_int_equal(mmem_pool_destroy(pool), 0);
	return made;
}

static void
test_each_failed_allocation_is_a_clean_error(void **state)
{
	unsigned int n, failures = 0;
	bool failed;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizer interposes malloc itself");
#endif
	mm_mute_log(true);
	for (n = 1; n < 1000; n++) {
		interpose_fail(n);
		if (!create_all())
			failures++;
		failed = interpose_failed();
		if (!failed)
			break;
	}
	mm_mute_log(false);
	assert_false(failed);
	/* Pool: 4, space: 2, file and region: 2, and the allocations of lib/iopf. */
	assert_true(failures >= 8);
}

static void
test_reserved_hugepages_are_used(void **state)
{
	struct mmem_space *space;
	struct mmem_pool *pool;
	uint8_t *buf;

	(void)state;
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = mm.smmu, .size = 2 * CHUNK });
	assert_non_null(pool);
	if (!mmem_pool_hugepages(pool)) {
		assert_int_equal(mmem_pool_destroy(pool), 0);
		test_skip("two hugepages of 2 MiB are needed");
	}
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	assert_non_null(space);
	buf = mmem_alloc(space, CHUNK, RW);
	assert_non_null(buf);
	assert_int_equal(mmem_detach(mm.space, mm.dev, PASID), 0);
	assert_int_equal(mmem_attach(space, mm.dev, PASID), 0);
	memset(mm_scratch, 0xff, CHUNK);
	mm_submit(mm.dma_pasid, SMMUV3_MODEL_WRITE, buf, mm_scratch, CHUNK);
	assert_int_equal(mm_await(mm.dma_pasid).status, SMMUV3_MODEL_OK);
	mm_cpu_expect(buf, 0xff, CHUNK);
	assert_int_equal(mmem_stat(space, MMEM_STAT_DEFERRED), 0);
	assert_int_equal(mmem_free(space, buf), 0);
	assert_ptr_equal(mmem_alloc(space, CHUNK, RW), buf);
	mm_cpu_expect(buf, 0, CHUNK);
	assert_int_equal(mmem_detach(space, mm.dev, PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	assert_int_equal(mmem_pool_destroy(pool), 0);
}

/*
 * The IOMMU does not answer for a while. Memory that a device may still use is not given out, and a
 * later call makes the missing invalidation.
 */
static void
test_memory_is_kept_when_the_iommu_does_not_confirm(void **state)
{
	uint8_t *a = mm_alloc(CHUNK, RW), *b = mm_alloc(CHUNK, RW);
	uint64_t syncs;

	(void)state;
	mm_dev_set(a, 1, PAGE);
	mm_dev_set(b, 1, PAGE);
	mm_mute_log(true);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	((struct smmuv3 *)mm.smmu->priv)->timeout /= 20;
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	assert_true(mmem_unmap(mm.space, b, PAGE) < 0);
	assert_true(mmem_free(mm.space, a) < 0);
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	((struct smmuv3 *)mm.smmu->priv)->timeout *= 20;
	mm_mute_log(false);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	assert_int_equal(mm_stat(MMEM_STAT_KEPT), 1);

	/* The page is unmapped already, but its invalidation is still missing. */
	syncs = smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_SYNCS);
	assert_int_equal(mmem_unmap(mm.space, b, PAGE), 0);
	assert_true(smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_SYNCS) > syncs);
	assert_int_equal(mm_dev_read(b, mm_scratch, 8).nb_stalls, 1);
	assert_int_equal(mm_dev_read(a, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	/* The successful invalidation released the kept chunk too. */
	assert_int_equal(mm_stat(MMEM_STAT_KEPT), 0);
	assert_ptr_equal(mm_alloc(CHUNK, RW), a);
	assert_int_equal(mmem_free(mm.space, b), 0);
}

/*
 * The IOMMU is stuck for longer: each call returns an error, changes nothing, and can be repeated.
 */
static void
test_calls_that_the_iommu_did_not_confirm_can_be_repeated(void **state)
{
	uint8_t *a = mm_alloc(CHUNK, RW), *b = mm_alloc(CHUNK, RW);
	unsigned int i;

	(void)state;
	mm_dev_set(a, 1, PAGE);
	mm_dev_set(b, 1, PAGE);
	mm_mute_log(true);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	((struct smmuv3 *)mm.smmu->priv)->timeout /= 20;
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	for (i = 0; i < 2; i++) {
		assert_true(mmem_free(mm.space, a) < 0);
		assert_int_equal(mm_stat(MMEM_STAT_KEPT), 1);
		assert_true(mmem_unmap(mm.space, b, PAGE) < 0);
	}
	/* The region is gone, and its chunk is not given out. */
	assert_int_equal(mmem_unmap(mm.space, a, PAGE), -EINVAL);
	assert_ptr_not_equal(mm_alloc(CHUNK, RW), a);
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	((struct smmuv3 *)mm.smmu->priv)->timeout *= 20;
	mm_mute_log(false);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	assert_int_equal(mmem_free(mm.space, a), 0);
	assert_int_equal(mm_stat(MMEM_STAT_KEPT), 0);
	assert_int_equal(mmem_free(mm.space, a), -EINVAL);
	assert_int_equal(mm_dev_read(a, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_unmap(mm.space, b, PAGE), 0);
	assert_int_equal(mm_dev_read(b, mm_scratch, 8).nb_stalls, 1);
	assert_ptr_equal(mm_alloc(CHUNK, RW), a);
	mm_cpu_expect(a, 0, CHUNK);
	mm_dev_expect(a, 0, CHUNK);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_a_full_pool_returns_enomem_and_recovers),
	MM_TEST(test_a_pool_or_space_in_use_is_not_destroyed),
	MM_TEST(test_each_refusal_logs_its_reason_in_one_line),
	MM_TEST(test_log_lines_name_a_space_without_a_name),
	MM_TEST(test_arguments_out_of_range_are_refused),
	MM_TEST(test_counters_have_names),
	MM_TEST(test_each_failed_allocation_is_a_clean_error),
	MM_TEST(test_reserved_hugepages_are_used),
	MM_TEST(test_memory_is_kept_when_the_iommu_does_not_confirm),
	MM_TEST(test_calls_that_the_iommu_did_not_confirm_can_be_repeated),
};
TEST_SUITE(mmem_control, tests, NULL, NULL);

TEST_SUITE(mmem_pieces_control, tests, mm_set_pieces, mm_set_address);
