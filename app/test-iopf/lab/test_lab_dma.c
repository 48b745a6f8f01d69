/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The complete path on QEMU's SMMUv3, through VFIO, on arm64: DMA into unmapped memory faults, the
 * SMMU records the fault, the handler resolves it, and the repeated DMA succeeds.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <rte_common.h>

#include <iopf_stats.h>
#include <iopf_iommu.h>
#include <mmem.h>
#include <pgtable.h>

#include "iopf_handler.h"
#include "iopf_pgtable.h"
#include "lab_space.h"
#include "smmuv3_spec.h"
#include "test.h"

/* A device address for a test's own tables; a multiple of 2 MiB. */
#define VA		UINT64_C(0x1234600000)

static void
test_the_smmu_found_is_described(void **state)
{
	const struct iopf_iommu_info *info;

	(void)state;
	lab_skip_elsewhere();
	lab_start(NULL, false);
	info = iopf_iommu_info(lab.smmu);
	iopf_iommu_dump(lab.smmu, stdout);
	assert_string_equal(info->driver, "smmuv3");
	assert_string_equal(info->backend, "vfio");
	assert_int_equal(info->sid_bits, 16);
	assert_int_equal(info->pasid_bits, 0);
	assert_true(info->addr_bits >= 40 && info->addr_bits <= 48);
	assert_true(info->granules & 1u << 12);
	/* This SMMU only terminates, and only with an abort. */
	assert_int_equal(info->max_stalls, 0);
	assert_false(info->stall_forced);
	assert_false(info->razwi);
}

static void
test_dma_into_unmapped_memory_lands_after_a_retry(void **state)
{
	static const uint32_t sizes[] = { 1, 4, 7, 100, LAB_DMA_MAX };
	uint8_t *src, *dst;
	unsigned int i;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(NULL);
	src = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	dst = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(src);
	assert_non_null(dst);
	for (i = 0; i < RTE_DIM(sizes); i++) {
		uint64_t mapped = mmem_stat(lab_space, MMEM_STAT_MAPPED);

		/* Each DMA has a page of its own, and the last two cross into a second page. */
		lab_copy(src + i * 2 * PAGE + (i >= 3 ? PAGE / 2 : 0),
				dst + i * 2 * PAGE + (i >= 3 ? PAGE - 10 : 0), sizes[i], i);
		assert_true(mmem_stat(lab_space, MMEM_STAT_MAPPED) >= mapped + 2);
	}
	assert_int_equal(lab_nb_refusals, 0);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(lab_space)), 0);
	/* The page is mapped now: no fault. */
	lab_clear();
	lab_try(false, (uintptr_t)src, 64);
	assert_int_equal(lab.nb_retries, 0);
}

static void
test_each_fault_is_reported_with_its_access(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(NULL);
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	lab_fill(buf, PAGE, 1);
	lab_clear();
	lab_try(false, (uintptr_t)buf + 8, 4);
	assert_int_equal(lab.nb_retries, 1);
	assert_int_equal(lab.retry.addr, (uintptr_t)buf + 8);
	assert_int_equal(lab.retry.sid, lab.edu.sid);
	assert_int_equal(lab.retry.pasid, IOPF_NO_PASID);
	assert_true(lab.retry.perm & IOPF_PERM_READ);
	assert_false(lab.retry.perm & IOPF_PERM_WRITE);
	assert_int_equal(lab.retry.code, IOPF_SUCCESS);

	lab_clear();
	lab_try(true, (uintptr_t)buf + 2 * PAGE, 4);
	assert_int_equal(lab.nb_retries, 1);
	assert_true(lab.retry.perm & IOPF_PERM_WRITE);
	assert_int_equal(lab.retry.addr, (uintptr_t)buf + 2 * PAGE);
	/* The write that faulted changed no byte. */
	assert_int_equal(buf[2 * PAGE], 0);
}

/* A test's own tables: pages of one granule, or blocks. */
struct table {
	struct lab_table table;
	struct lab_zone data;
	uint64_t unit;			/* bytes mapped by one fault */
	unsigned int nb_faults;
};

static enum iopf_verdict
map_unit(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	uint64_t va = group->faults[0]->addr;
	struct table *t = ctx;
	int rc;

	(void)domain;
	va &= ~(t->unit - 1);
	if (va < VA || va - VA >= LAB_ZONE_SIZE)
		return IOPF_ANSWER(IOPF_INVALID);
	rc = pgt_map(t->table.pgt, va, t->data.addr + (va - VA), t->unit, PGT_READ | PGT_WRITE);
	if (rc == 0)
		t->nb_faults++;
	return IOPF_ANSWER(rc == 0 || rc == -EEXIST ? IOPF_SUCCESS : IOPF_INVALID);
}

static void
check_table(unsigned int granule_log2, uint64_t unit)
{
	struct table t = { .unit = unit };
	const struct iopf_iommu_info *info = iopf_iommu_info(lab.smmu);
	struct pgt_unmapped out;
	struct pgt_leaf leaf;
	struct pgt_inv inv[4];
	struct iopf_inv iinv;
	struct iopf_domain *domain;
	uint64_t at = unit == PAGE ? 0 : unit - 3 * PAGE;
	unsigned int i;

	print_message("  granule 2^%u, mapped by %" PRIu64 " KiB\n", granule_log2, unit >> 10);
	lab_table_make(&t.table, granule_log2, info->addr_bits);
	lab_zone_make(&t.data);
	domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = map_unit, .ctx = &t,
			.translation = { .format = IOPF_FORMAT_ARM64_S1,
			.root = pgt_root(t.table.pgt), .va_bits = 48,
			.granule_log2 = granule_log2 } });
	assert_non_null(domain);
	assert_int_equal(iopf_domain_attach(domain, lab.dev, IOPF_NO_PASID), 0);

	/* Both directions, at the start and near the end of what one fault maps. */
	lab_fill(t.data.va, 512, granule_log2);
	assert_int_equal(lab_move(false, VA, 512), 0);
	assert_int_equal(t.nb_faults, 1);
	assert_int_equal(lab_move(true, VA + at + 1024, 512), 0);
	lab_check_bytes(t.data.va + at + 1024, 512, granule_log2);
	assert_int_equal(t.nb_faults, 1);
	assert_int_equal(pgt_walk(t.table.pgt, VA, &leaf), 0);
	assert_int_equal(leaf.state, PGT_VALID);
	assert_int_equal(leaf.size, unit);

	/* Unmapped: the next access faults and changes no byte. */
	pgt_unmapped_init(&out, inv, RTE_DIM(inv));
	assert_int_equal(pgt_unmap(t.table.pgt, VA, unit, 0, &out), 0);
	assert_int_equal(out.nb_inv, 1);
	iinv = iopf_inv_from_pgt(&inv[0]);
	assert_int_equal(iopf_invalidate(domain, &iinv, 1, NULL), 0);
	memset(t.data.va, 0xee, 512);
	lab_clear();
	lab_try(true, VA, 64);
	assert_true(lab.nb_retries > 0);
	assert_int_equal(t.nb_faults, 2);
	for (i = 0; i < 64; i++)
		assert_int_equal(t.data.va[i], 0xee);
	assert_int_equal(lab_move(true, VA, 64), 0);
	lab_check_bytes(t.data.va, 64, granule_log2);

	assert_int_equal(iopf_domain_detach(domain, lab.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(domain), 0);
	lab_zone_free(&t.data);
	lab_table_free(&t.table);
}

static void
test_pages_and_blocks_of_every_granule_translate(void **state)
{
	static const unsigned int granules[] = { 12, 14, 16 };
	unsigned int i, done = 0;

	(void)state;
	lab_skip_elsewhere();
	lab_start(NULL, false);
	for (i = 0; i < RTE_DIM(granules); i++) {
		if (!(iopf_iommu_info(lab.smmu)->granules & 1u << granules[i])) {
			print_message("  granule 2^%u: not in IDR5 of this SMMU\n", granules[i]);
			continue;
		}
		check_table(granules[i], UINT64_C(1) << granules[i]);
		done++;
	}
	check_table(12, 2 << 20);
	assert_true(done >= 1);
}

static void
test_a_forbidden_write_is_refused_and_reported(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(NULL);
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ);
	assert_non_null(buf);
	lab_fill(buf, 64, 5);
	assert_int_equal(lab_move(false, (uintptr_t)buf, 64), 0);
	/* The page is mapped read-only: a permission fault. */
	assert_int_equal(lab_move(true, (uintptr_t)buf + 128, 64), -EFAULT);
	assert_true(lab_nb_refusals > 0);
	assert_int_equal(lab_refusal.error, -EACCES);
	assert_ptr_equal(lab_refusal.dev, lab.dev);
	assert_true(lab_refusal.perm & IOPF_PERM_WRITE);
	assert_int_equal(buf[128], 0);
	/* Writes are allowed now: the next fault raises the entry's rights. */
	assert_int_equal(mmem_protect(lab_space, buf, 1 << 20, MMEM_READ | MMEM_WRITE), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + 128, 64), 0);
	lab_check_bytes(buf + 128, 64, 5);
	/* Writes are forbidden again. */
	assert_int_equal(mmem_protect(lab_space, buf, 1 << 20, MMEM_READ), 0);
	memset(buf + 128, 0, 64);
	assert_int_equal(lab_move(true, (uintptr_t)buf + 128, 64), -EFAULT);
	assert_int_equal(buf[128], 0);
}

static void
test_the_first_write_of_a_read_page_raises_its_rights(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(NULL);
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE | MMEM_TRACK_WRITES);
	assert_non_null(buf);
	lab_fill(buf, 64, 6);
	assert_int_equal(lab_move(false, (uintptr_t)buf, 64), 0);
	assert_int_equal(mmem_stat(lab_space, MMEM_STAT_UPGRADED), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + 512, 64), 0);
	lab_check_bytes(buf + 512, 64, 6);
	assert_int_equal(mmem_stat(lab_space, MMEM_STAT_UPGRADED), 1);
}

static void
test_memory_that_was_unmapped_faults_again(void **state)
{
	uint8_t *buf;
	unsigned int i;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(NULL);
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	lab_copy(buf, buf + PAGE, 64, 7);
	for (i = 0; i < 3; i++) {
		assert_int_equal(mmem_unmap(lab_space, buf + PAGE, PAGE), 0);
		memset(buf + PAGE, 0xdd, 64);
		lab_clear();
		lab_try(true, (uintptr_t)buf + PAGE, 64);
		assert_true(lab.nb_retries > 0);
		/* No byte changed. */
		for (unsigned int k = 0; k < 64; k++)
			assert_int_equal(buf[PAGE + k], 0xdd);
		assert_int_equal(lab_move(true, (uintptr_t)buf + PAGE, 64), 0);
		lab_check_bytes(buf + PAGE, 64, 7);
	}
	/* The region is freed: every access is refused. */
	assert_int_equal(mmem_free(lab_space, buf), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + PAGE, 64), -EFAULT);
	assert_int_equal(lab_refusal.error, -EFAULT);
}

static void
test_an_access_outside_every_region_is_refused(void **state)
{
	(void)state;
	lab_skip_elsewhere();
	lab_space_open(NULL);
	assert_int_equal(lab_move(true, UINT64_C(0x1000), 16), -EFAULT);
	assert_int_equal(lab_refusal.error, -EFAULT);
	assert_int_equal(lab_refusal.addr & ~UINT64_C(15), 0x1000);
	assert_int_equal(lab_move(false, (UINT64_C(1) << 47) + 64, 16), -EFAULT);
	assert_true(lab_nb_refusals >= 2);
}

static void
test_a_detached_device_reaches_nothing(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(NULL);
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	lab_copy(buf, buf + PAGE, 64, 8);
	assert_int_equal(mmem_detach(lab_space, lab.dev, IOPF_NO_PASID), 0);
	memset(buf + PAGE, 0xcc, 64);
	lab_clear();
	lab_try(true, (uintptr_t)buf + PAGE, 64);
	assert_int_equal(buf[PAGE], 0xcc);
	/* Its STE is not valid: a report (C_BAD_STE), and no retry. */
	assert_int_equal(lab.nb_retries, 0);
	assert_true(lab.nb_reports > 0);
	assert_int_equal(mmem_attach(lab_space, lab.dev, IOPF_NO_PASID), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + PAGE, 64), 0);
	lab_check_bytes(buf + PAGE, 64, 8);
}

static void
test_an_unknown_stream_is_reported(void **state)
{
	static const uint32_t other = 0x40, far_away = 0x4000;
	struct iopf_dev *dev;
	unsigned int round;

	(void)state;
	lab_skip_elsewhere();
	lab_start(NULL, true);
	dev = iopf_dev_add(lab.smmu, &(struct iopf_dev_conf){ .sids = &far_away, .nb_sids = 1,
			.recover = IOPF_TERMINATE });
	assert_non_null(dev);
	/* First no table has the StreamID; then a table has it that was made for a neighbour. */
	for (round = 0; round < 2; round++) {
		lab_clear();
		lab_try(true, VA, 4);
		assert_true(lab.nb_reports > 0);
		assert_int_equal(lab.report.sid, lab.edu.sid);
		assert_int_equal(lab.report.reason, IOPF_REASON_CONFIG);
		assert_int_equal(lab.report.raw_id, round == 0 ? SMMUV3_C_BAD_STREAMID :
				SMMUV3_C_BAD_STE);
		if (round == 0) {
			assert_int_equal(iopf_dev_remove(dev), 0);
			dev = iopf_dev_add(lab.smmu, &(struct iopf_dev_conf){ .sids = &other,
					.nb_sids = 1, .recover = IOPF_TERMINATE });
			assert_non_null(dev);
		}
	}
	assert_int_equal(iopf_dev_remove(dev), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_the_smmu_found_is_described, lab_space_close),
	cmocka_unit_test_teardown(test_dma_into_unmapped_memory_lands_after_a_retry,
			lab_space_close),
	cmocka_unit_test_teardown(test_each_fault_is_reported_with_its_access, lab_space_close),
	cmocka_unit_test_teardown(test_pages_and_blocks_of_every_granule_translate,
			lab_space_close),
	cmocka_unit_test_teardown(test_a_forbidden_write_is_refused_and_reported, lab_space_close),
	cmocka_unit_test_teardown(test_the_first_write_of_a_read_page_raises_its_rights,
			lab_space_close),
	cmocka_unit_test_teardown(test_memory_that_was_unmapped_faults_again, lab_space_close),
	cmocka_unit_test_teardown(test_an_access_outside_every_region_is_refused, lab_space_close),
	cmocka_unit_test_teardown(test_a_detached_device_reaches_nothing, lab_space_close),
	cmocka_unit_test_teardown(test_an_unknown_stream_is_reported, lab_space_close),
};

TEST_SUITE(lab_dma, tests, NULL, NULL);
