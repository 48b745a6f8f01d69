/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A harvest, or a move, whose invalidation the SMMU does not confirm: no poll thread mends it. */

#include <errno.h>
#include <string.h>

#include <rte_log.h>

#include <iopf_iommu.h>

#include "iommu.h"
#include "mmem_dirty.h"
#include "mmem_move.h"
#include "mmem_rig.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "test.h"

static void
smmu_stick(bool on)
{
	struct smmuv3 *s = (struct smmuv3 *)mm.smmu->priv;

	mm_mute_log(on);
	rte_log_set_level_pattern("pmd.smmuv3", on ? RTE_LOG_EMERG : RTE_LOG_NOTICE);
	s->timeout = on ? s->timeout / 20 : s->timeout * 20;
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, on);
}

/* A device may still write to the pages: they stay written. */
static void
test_a_failed_harvest_loses_no_page(void **state)
{
	uint8_t *p = mmem_alloc(mm.space, CHUNK, RW);
	uint64_t map[MMEM_DIRTY_WORDS(CHUNK)], none[MMEM_DIRTY_WORDS(CHUNK)] = { 0 };
	int rc;

	(void)state;
	assert_non_null(p);
	rc = mmem_dirty_start(mm.space, p);
	if (rc == -ENOTSUP)
		test_skip("userfaultfd with write protection of shared memory is needed");
	assert_int_equal(rc, 0);
	mm_dev_set(p + 2 * PAGE, 1, PAGE);
	p[70 * PAGE] = 1;
	smmu_stick(true);
	memset(map, 0xff, sizeof(map));
	assert_true(mmem_dirty_harvest(mm.space, p, CHUNK, map) < 0);
	assert_memory_equal(map, none, sizeof(map));
	smmu_stick(false);
	assert_int_equal(mmem_dirty_harvest(mm.space, p, CHUNK, map), 0);
	assert_int_equal(map[0], 4);
	assert_int_equal(map[1], 1 << (70 - 64));
	assert_int_equal(mmem_dirty_harvest(mm.space, p, CHUNK, map), 0);
	assert_memory_equal(map, none, sizeof(map));
}

/* A device may still write to the old memory: it stays the region's. */
static void
test_a_move_that_is_not_confirmed_changes_nothing(void **state)
{
	uint8_t *p = mmem_alloc(mm.space, CHUNK, RW);
	uint64_t dma;
	int rc;

	(void)state;
	assert_non_null(p);
	rc = mmem_move(mm.space, p, CHUNK, MMEM_ANY_NODE);
	if (rc == -ENOTSUP)
		test_skip("userfaultfd with write protection, and no hugepages, are needed");
	assert_int_equal(rc, 0);
	mm_dev_set(p, 1, PAGE);
	dma = mm.pool->chunks[(p - mm.pool->mem) >> MMEM_CHUNK_LOG2].dma;
	smmu_stick(true);
	assert_true(mmem_move(mm.space, p, CHUNK, MMEM_ANY_NODE) < 0);
	smmu_stick(false);
	assert_int_equal(mm.pool->chunks[(p - mm.pool->mem) >> MMEM_CHUNK_LOG2].dma, dma);
	p[1] = 2;
	assert_int_equal(mmem_move(mm.space, p, CHUNK, MMEM_ANY_NODE), 0);
	assert_int_not_equal(mm.pool->chunks[(p - mm.pool->mem) >> MMEM_CHUNK_LOG2].dma, dma);
	assert_int_equal(p[0], 1);
	assert_int_equal(p[1], 2);
	mm_dev_set(p, 3, PAGE);
	assert_int_equal(p[1], 3);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_a_failed_harvest_loses_no_page),
	MM_TEST(test_a_move_that_is_not_confirmed_changes_nothing),
};
TEST_SUITE(mmem_dirty_kept, tests, NULL, NULL);
