/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Regions of MMEM_HUGE: blocks that faults map, that calls split, and that advice joins. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_log.h>

#include <iopf_iommu.h>

#include "iommu.h"
#include "log_lines.h"
#include "mmem_rig.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "test.h"

#define CHUNK_PAGES	(CHUNK / PAGE)
#define HUGE_RW		(RW | MMEM_HUGE)

/* One access to each page of a range. */
static void
write_pages(uint8_t *p, size_t nb)
{
	uint64_t i;

	for (i = 0; i < nb; i++)
		assert_int_equal(mm_dev_write(p + i * PAGE, &i, 8).status, SMMUV3_MODEL_OK);
}

static void
expect_written(const uint8_t *p, size_t nb)
{
	uint64_t i;

	for (i = 0; i < nb; i++)
		assert_memory_equal(p + i * PAGE, &i, 8);
}

static struct pgt_leaf
leaf_at(const uint8_t *p)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(mm.space->pgt, (uintptr_t)p, &leaf), 0);
	return leaf;
}

/* The size of the leaf that maps an address; 0: none does. */
static size_t
mapped_at(const uint8_t *p)
{
	struct pgt_leaf leaf = leaf_at(p);

	return leaf.state == PGT_VALID ? leaf.size : 0;
}

static unsigned int
count_tables(void)
{
	struct pgt_info info;

	pgt_info(mm.space->pgt, &info);
	return info.nb_tables;
}

static void
test_a_device_that_streams_faults_once_in_2_mib(void **state)
{
	const size_t chunks = NB_CHUNKS - 1;
	uint64_t faults;
	uint8_t *p;
	unsigned int i;

	(void)state;
	/* Memory that is populated by the faults, and before. */
	for (i = 0; i < 2; i++) {
		p = mm_alloc(chunks * CHUNK, HUGE_RW | (i ? MMEM_POPULATE : 0));
		faults = mm_count_faults();
		write_pages(p, chunks * CHUNK_PAGES);
		expect_written(p, chunks * CHUNK_PAGES);
		assert_int_equal(mm_count_faults() - faults, chunks);
		assert_int_equal(mm_stat(MMEM_STAT_MAPPED), (i + 1) * chunks * CHUNK_PAGES);
		assert_int_equal(mmem_free(mm.space, p), 0);
		assert_int_equal(mm_stat(MMEM_STAT_UNMAPPED), (i + 1) * chunks * CHUNK_PAGES);
		assert_int_equal(mm_dev_read(p, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	}
}

static void
test_the_end_of_a_region_is_mapped_by_pages(void **state)
{
	uint8_t *p = mm_alloc(2 * CHUNK + 3 * PAGE, HUGE_RW);

	(void)state;
	write_pages(p, 2 * CHUNK_PAGES + 3);
	assert_int_equal(mm_count_faults(), 2 + 3);
	assert_int_equal(mapped_at(p + 2 * CHUNK - 1), CHUNK);
	assert_int_equal(mapped_at(p + 2 * CHUNK), PAGE);
	assert_int_equal(mm_dev_read(p + 2 * CHUNK + 3 * PAGE, mm_scratch, 8).status,
			SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

static void
test_unmap_of_a_part_splits_the_block(void **state)
{
	uint8_t *p = mm_alloc(3 * CHUNK, HUGE_RW);
	uint64_t faults;

	(void)state;
	write_pages(p, 3 * CHUNK_PAGES);
	/* The last page of the first block, the second block, the first page of the third. */
	assert_int_equal(mmem_unmap(mm.space, p + CHUNK - PAGE, CHUNK + 2 * PAGE), 0);
	assert_int_equal(mm_stat(MMEM_STAT_UNMAPPED), CHUNK_PAGES + 2);
	assert_int_equal(mapped_at(p), PAGE);
	assert_int_equal(mapped_at(p + CHUNK - PAGE), 0);
	assert_int_equal(mapped_at(p + CHUNK), 0);
	assert_int_equal(mapped_at(p + 2 * CHUNK), 0);
	assert_int_equal(mapped_at(p + 2 * CHUNK + PAGE), PAGE);
	faults = mm_count_faults();
	write_pages(p, 3 * CHUNK_PAGES);
	/* Two pages, and a block in the middle, where no table is. */
	assert_int_equal(mm_count_faults() - faults, 3);
	assert_int_equal(mapped_at(p + CHUNK), CHUNK);
	expect_written(p, 3 * CHUNK_PAGES);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

static void
test_protect_of_a_part_splits_the_block(void **state)
{
	uint8_t *p = mm_alloc(2 * CHUNK, HUGE_RW);
	uint64_t faults;

	(void)state;
	write_pages(p, CHUNK_PAGES);
	/* In the second chunk nothing is mapped yet. */
	assert_int_equal(mmem_protect(mm.space, p + CHUNK - PAGE, 2 * PAGE, MMEM_READ), 0);
	faults = mm_count_faults();
	mm_dev_expect(p + CHUNK - 2 * PAGE, 0xfe, 1);
	assert_int_equal(mm_dev_write(p + CHUNK - 2 * PAGE, "w", 1).status, SMMUV3_MODEL_OK);
	assert_int_equal(mm_count_faults(), faults);
	assert_int_equal(mm_dev_write(p + CHUNK - PAGE, "w", 1).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(p + CHUNK - PAGE, IOPF_NO_PASID, IOPF_PERM_WRITE, -EACCES);
	assert_int_equal(mm_dev_write(p + CHUNK, "w", 1).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(p + CHUNK, IOPF_NO_PASID, IOPF_PERM_WRITE, -EACCES);
	mm_dev_expect(p + CHUNK, 0, 1);
	assert_int_equal(mm_dev_write(p + CHUNK + PAGE, "w", 1).status, SMMUV3_MODEL_OK);
	assert_int_equal(mapped_at(p + CHUNK + PAGE), PAGE);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

static void
test_protect_of_whole_blocks_keeps_them(void **state)
{
	uint8_t *p = mm_alloc(2 * CHUNK, HUGE_RW);

	(void)state;
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(mmem_protect(mm.space, p, 2 * CHUNK, MMEM_READ), 0);
	assert_int_equal(mm_dev_write(p + 7 * PAGE, "w", 1).status, SMMUV3_MODEL_ABORTED);
	mm_dev_expect(p + CHUNK, 0, 1);
	assert_int_equal(leaf_at(p).prot, PGT_READ);
	assert_int_equal(mapped_at(p), CHUNK);
	assert_int_equal(mapped_at(p + CHUNK), CHUNK);
	assert_int_equal(mmem_protect(mm.space, p, 2 * CHUNK, RW), 0);
	assert_int_equal(mm_dev_write(p + 7 * PAGE, "w", 1).status, SMMUV3_MODEL_OK);
	assert_int_equal(mapped_at(p), CHUNK);
	assert_int_equal(mmem_protect(mm.space, p, 2 * CHUNK, 0), 0);
	assert_int_equal(mapped_at(p), 0);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

static void
test_advice_joins_full_tables(void **state)
{
	uint8_t *p = mm_alloc(2 * CHUNK, HUGE_RW);
	unsigned int tables;
	uint64_t faults;

	(void)state;
	write_pages(p, CHUNK_PAGES);
	tables = count_tables();
	assert_int_equal(mmem_unmap(mm.space, p, PAGE), 0);
	assert_int_equal(count_tables(), tables + 1);
	/* A page is missing. */
	assert_int_equal(mmem_advise(mm.space, p, 2 * CHUNK, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(mapped_at(p + PAGE), PAGE);
	/* A page has other rights. */
	write_pages(p, 1);
	assert_int_equal(mmem_protect(mm.space, p, PAGE, MMEM_READ), 0);
	assert_int_equal(mmem_advise(mm.space, p, 2 * CHUNK, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(mapped_at(p), PAGE);
	assert_int_equal(mmem_protect(mm.space, p, PAGE, RW), 0);
	/* A part is not joined. */
	assert_int_equal(mmem_advise(mm.space, p + PAGE, CHUNK, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(mapped_at(p), PAGE);
	assert_int_equal(mmem_advise(mm.space, p, CHUNK + PAGE, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(mapped_at(p), CHUNK);
	assert_int_equal(count_tables(), tables);
	faults = mm_count_faults();
	expect_written(p, CHUNK_PAGES);
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(mm_count_faults(), faults);
	assert_int_equal(mmem_free(mm.space, p), 0);
	/* Other regions stay as they are. */
	p = mm_alloc(CHUNK, RW);
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(mmem_advise(mm.space, p, CHUNK, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(mapped_at(p), PAGE);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

/* The first write to each page is noticed, so it is mapped alone. */
static void
test_tracked_writes_are_tracked_by_page(void **state)
{
	uint8_t *p = mm_alloc(3 * CHUNK, HUGE_RW);
	unsigned int i;

	(void)state;
	mm_dev_expect(p, 0, 1);
	assert_int_equal(mmem_protect(mm.space, p, 2 * CHUNK, RW | MMEM_TRACK_WRITES), 0);
	assert_int_equal(mmem_advise(mm.space, p + 2 * CHUNK, CHUNK, MMEM_ADVISE_READ_MOSTLY), 0);
	for (i = 0; i < 3; i++) {
		mm_dev_expect(p + i * CHUNK, 0, CHUNK);
		assert_int_equal(mmem_advise(mm.space, p, 3 * CHUNK, MMEM_ADVISE_HUGE), 0);
		assert_int_equal(mm_dev_write(p + i * CHUNK + PAGE, "w", 1).status,
				SMMUV3_MODEL_OK);
		assert_int_equal(leaf_at(p + i * CHUNK).prot, PGT_READ);
		assert_int_equal(leaf_at(p + i * CHUNK + PAGE).prot, PGT_READ | PGT_WRITE);
	}
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 3);
	/* One page is tracked, and was written. */
	assert_int_equal(mmem_protect(mm.space, p, CHUNK, RW), 0);
	assert_int_equal(mmem_protect(mm.space, p + 5 * PAGE, PAGE, RW | MMEM_TRACK_WRITES), 0);
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(leaf_at(p + 5 * PAGE).prot, leaf_at(p).prot);
	assert_int_equal(mmem_advise(mm.space, p, CHUNK, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(mapped_at(p), PAGE);
	/* Not tracked any more. */
	assert_int_equal(mmem_protect(mm.space, p, 3 * CHUNK, RW), 0);
	assert_int_equal(mmem_advise(mm.space, p, 3 * CHUNK, MMEM_ADVISE_HUGE), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(mapped_at(p + i * CHUNK), CHUNK);
	assert_int_equal(mmem_free(mm.space, p), 0);
	p = mm_alloc(CHUNK, HUGE_RW | MMEM_TRACK_WRITES);
	mm_dev_expect(p, 0, 1);
	assert_int_equal(mapped_at(p), PAGE);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

static void
test_tables_of_an_earlier_region_are_removed(void **state)
{
	uint8_t *p = mm_alloc(4 * CHUNK, RW), *q;
	unsigned int tables = count_tables();
	void *free_tables;

	(void)state;
	write_pages(p, 4 * CHUNK_PAGES);
	assert_int_equal(mmem_free(mm.space, p), 0);
	assert_int_equal(count_tables(), tables);
	free_tables = mm.pool->tables;
	q = mm_alloc(4 * CHUNK, HUGE_RW);
	assert_ptr_equal(q, p);
	assert_int_equal(count_tables(), tables - 4);
	assert_ptr_not_equal(mm.pool->tables, free_tables);
	write_pages(q, 4 * CHUNK_PAGES);
	assert_int_equal(mapped_at(q), CHUNK);
	assert_int_equal(mmem_free(mm.space, q), 0);
	/* And pages where blocks were. */
	p = mm_alloc(4 * CHUNK, RW);
	write_pages(p, 4 * CHUNK_PAGES);
	assert_int_equal(mapped_at(p), PAGE);
	expect_written(p, 4 * CHUNK_PAGES);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

static void
test_a_prefetch_maps_blocks(void **state)
{
	uint8_t *p = mm_alloc(3 * CHUNK, HUGE_RW);
	uint64_t faults = mm_count_faults();

	(void)state;
	assert_int_equal(mmem_prefetch(mm.space, p, 3 * CHUNK), 0);
	assert_int_equal(mm_stat(MMEM_STAT_PREFETCHED), 3 * CHUNK_PAGES);
	write_pages(p, 3 * CHUNK_PAGES);
	assert_int_equal(mm_count_faults(), faults);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

/* Rights that were added between the fault and its answer: as for a page. */
static void
test_a_fault_upgrades_a_block(void **state)
{
	uint8_t *p = mm_alloc(CHUNK, HUGE_RW);
	struct pgt_unmapped out;
	struct pgt_inv inv;

	(void)state;
	assert_int_equal(mmem_prefetch(mm.space, p, CHUNK), 0);
	pgt_unmapped_init(&out, &inv, 1);
	assert_int_equal(pgt_protect(mm.space->pgt, (uintptr_t)p, CHUNK, PGT_READ, &out), 0);
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(mapped_at(p), CHUNK);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

/* An unmap must succeed in any case: all of the block, if no table is left for a part. */
static void
test_unmap_without_memory_for_a_table_unmaps_the_block(void **state)
{
	uint8_t *p = mm_alloc(3 * CHUNK, HUGE_RW), *rest = mm_alloc((NB_CHUNKS - 4) * CHUNK, RW);
	void *tables;

	(void)state;
	write_pages(p, 2 * CHUNK_PAGES);
	tables = mm.pool->tables;
	mm.pool->tables = NULL;
	assert_int_equal(mmem_unmap(mm.space, p + CHUNK - PAGE, 2 * PAGE), 0);
	assert_int_equal(mm_stat(MMEM_STAT_UNMAPPED), 2 * CHUNK_PAGES);
	assert_int_equal(mapped_at(p), 0);
	assert_int_equal(mapped_at(p + 2 * CHUNK - PAGE), 0);
	/* Nothing is mapped in the third chunk. */
	assert_int_equal(mmem_unmap(mm.space, p + 3 * CHUNK - PAGE, PAGE), 0);
	/* Rights are not changed. */
	write_pages(p, 2 * CHUNK_PAGES);
	assert_int_equal(mmem_protect(mm.space, p, PAGE, MMEM_READ), -ENOMEM);
	write_pages(p, 2 * CHUNK_PAGES);
	assert_int_equal(mmem_protect(mm.space, p, 2 * CHUNK, RW | MMEM_TRACK_WRITES), -ENOMEM);
	mm.pool->tables = tables;
	write_pages(p, 3 * CHUNK_PAGES);
	assert_int_equal(mapped_at(p + 2 * CHUNK), CHUNK);
	assert_int_equal(mmem_unmap(mm.space, p, PAGE), 0);
	write_pages(p, 1);
	tables = mm.pool->tables;
	mm.pool->tables = NULL;
	assert_int_equal(mmem_advise(mm.space, p, CHUNK, MMEM_ADVISE_HUGE), -ENOMEM);
	mm.pool->tables = tables;
	assert_int_equal(mmem_free(mm.space, rest), 0);
	assert_int_equal(mmem_free(mm.space, p), 0);
}

/* The chunk is left empty: no second size of its leaves, and a later call is complete. */
static void
test_a_resize_that_the_iommu_does_not_confirm_unmaps(void **state)
{
	uint8_t *p = mm_alloc(CHUNK, HUGE_RW), *q;
	unsigned int tables;

	(void)state;
	write_pages(p, CHUNK_PAGES);
	tables = count_tables();
	mm_smmu_stick(true);
	assert_true(mmem_unmap(mm.space, p, PAGE) < 0);
	assert_int_equal(mapped_at(p + PAGE), 0);
	assert_true(mmem_unmap(mm.space, p, PAGE) < 0);
	mm_smmu_stick(false);
	assert_int_equal(mmem_unmap(mm.space, p, PAGE), 0);
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(mapped_at(p), PAGE);
	mm_smmu_stick(true);
	assert_true(mmem_advise(mm.space, p, CHUNK, MMEM_ADVISE_HUGE) < 0);
	assert_int_equal(mapped_at(p), 0);
	/* The table that was unlinked waits for an invalidation. */
	assert_int_equal(count_tables(), tables + 1);
	assert_true(mmem_advise(mm.space, p, CHUNK, MMEM_ADVISE_HUGE) < 0);
	mm_smmu_stick(false);
	assert_int_equal(mmem_advise(mm.space, p, CHUNK, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(count_tables(), tables);
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(mapped_at(p), CHUNK);
	expect_written(p, CHUNK_PAGES);
	assert_int_equal(mmem_free(mm.space, p), 0);
	/* And the removal of tables, for which a region is refused. */
	p = mm_alloc(CHUNK, RW);
	write_pages(p, CHUNK_PAGES);
	assert_int_equal(mmem_free(mm.space, p), 0);
	mm_smmu_stick(true);
	assert_null(mmem_alloc(mm.space, CHUNK, HUGE_RW));
	mm_smmu_stick(false);
	q = mm_alloc(CHUNK, HUGE_RW);
	write_pages(q, CHUNK_PAGES);
	assert_int_equal(mapped_at(q), CHUNK);
	assert_int_equal(count_tables(), tables);
	assert_int_equal(mmem_free(mm.space, q), 0);
}

static int
no_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	(void)ctx;
	(void)offset;
	(void)dst;
	(void)len;
	return -EIO;
}

static void
test_flags_that_exclude_blocks_are_refused(void **state)
{
	const struct mmem_pager pager = { .fill = no_fill };

	(void)state;
	SAYS("a fault must not zero 2 MiB",
			assert_null(mmem_alloc(mm.space, CHUNK, HUGE_RW | MMEM_ZERO_INLINE)));
	assert_int_equal(rte_errno, EINVAL);
	SAYS("leave out MMEM_HUGE",
			assert_null(mmem_alloc_paged(mm.space, CHUNK, HUGE_RW, &pager)));
	assert_int_equal(rte_errno, EINVAL);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_a_device_that_streams_faults_once_in_2_mib),
	MM_TEST(test_the_end_of_a_region_is_mapped_by_pages),
	MM_TEST(test_unmap_of_a_part_splits_the_block),
	MM_TEST(test_protect_of_a_part_splits_the_block),
	MM_TEST(test_protect_of_whole_blocks_keeps_them),
	MM_TEST(test_advice_joins_full_tables),
	MM_TEST(test_tracked_writes_are_tracked_by_page),
	MM_TEST(test_tables_of_an_earlier_region_are_removed),
	MM_TEST(test_a_prefetch_maps_blocks),
	MM_TEST(test_a_fault_upgrades_a_block),
	MM_TEST(test_unmap_without_memory_for_a_table_unmaps_the_block),
	MM_TEST(test_a_resize_that_the_iommu_does_not_confirm_unmaps),
	MM_TEST(test_flags_that_exclude_blocks_are_refused),
};
TEST_SUITE(mmem_huge, tests, NULL, NULL);
TEST_SUITE(mmem_pieces_huge, tests, mm_set_pieces, mm_set_address);
