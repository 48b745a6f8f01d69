/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Accesses of a device, allowed and refused. The TLB of the model evicts nothing by itself, so that
 * a missing invalidation shows.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "iopf_inval.h"
#include "iopf_stats.h"
#include "mmem_rig.h"
#include "test.h"

/*
 * Contents
 */

static void
test_cpu_and_device_share_pointer_and_bytes(void **state)
{
	uint8_t *buf = mm_alloc(3 * CHUNK + 5 * PAGE, RW);

	(void)state;
	memset(buf + PAGE, 0xa5, PAGE);
	mm_dev_expect(buf, 0, PAGE);
	mm_dev_expect(buf + PAGE, 0xa5, PAGE);
	mm_dev_set(buf + 2 * CHUNK - 100, 0x5a, 200);
	mm_cpu_expect(buf + 2 * CHUNK - 100, 0x5a, 200);
	mm_cpu_expect(buf + 2 * CHUNK + 100, 0, CHUNK);
	mm_dev_set(buf + 3 * CHUNK + 4 * PAGE, 0x11, PAGE);
	mm_cpu_expect(buf + 3 * CHUNK + 4 * PAGE, 0x11, PAGE);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 5);
	assert_int_equal(atomic_load(&mm.nb_reports), 0);
}

static void
test_memory_is_zero_after_reuse(void **state)
{
	uint8_t *first = mm_alloc(CHUNK + PAGE, RW), *again;

	(void)state;
	mm_dev_set(first, 0xff, CHUNK + PAGE);
	assert_int_equal(mmem_free(mm.space, first), 0);
	again = mm_alloc(2 * CHUNK, RW);
	assert_ptr_equal(again, first);
	mm_cpu_expect(again, 0, CHUNK);
	mm_dev_expect(again + CHUNK, 0, CHUNK);
}

static void
test_memory_is_zeroed_inline_at_the_first_fault_only(void **state)
{
	uint8_t *first = mm_alloc(CHUNK, RW | MMEM_ZERO_INLINE), *again;

	(void)state;
	mm_dev_set(first, 0xff, CHUNK);
	assert_int_equal(mm_stat(MMEM_STAT_ZEROED), 0);
	assert_int_equal(mmem_free(mm.space, first), 0);

	again = mm_alloc(CHUNK, RW | MMEM_ZERO_INLINE);
	assert_ptr_equal(again, first);
	mm_dev_set(again + 7, 0x77, 1);
	mm_dev_expect(again, 0, 7);
	mm_dev_expect(again + 8, 0, PAGE - 8);
	assert_int_equal(mm_stat(MMEM_STAT_ZEROED), 1);
	/* Also a page in a chunk that the device has touched before. */
	mm_dev_expect(again + 3 * PAGE, 0, PAGE);
	assert_int_equal(mm_stat(MMEM_STAT_ZEROED), 2);
	/* A fault after an unmap must not zero the page again. */
	assert_int_equal(mmem_unmap(mm.space, again, PAGE), 0);
	mm_dev_expect(again + 7, 0x77, 1);
	assert_int_equal(mm_stat(MMEM_STAT_ZEROED), 2);
	/* A prefetch and a resolve zero their page too. */
	assert_int_equal(mmem_prefetch(mm.space, again + PAGE, PAGE), 0);
	mm_cpu_expect(again + PAGE, 0, PAGE);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)again + 2 * PAGE, IOPF_PERM_READ), 0);
	mm_cpu_expect(again + 2 * PAGE, 0, PAGE);
	assert_int_equal(mm_stat(MMEM_STAT_ZEROED), 4);
	assert_int_equal(mmem_free(mm.space, again), 0);

	/* A region without MMEM_ZERO_INLINE is zero from the start. */
	again = mm_alloc(CHUNK, RW);
	assert_ptr_equal(again, first);
	mm_cpu_expect(again, 0, CHUNK);
	mm_dev_expect(again, 0, CHUNK);
	assert_int_equal(mm_stat(MMEM_STAT_ZEROED), 4);
}

static int
make_file(char *path, size_t size, uint8_t **bytes)
{
	int fd = mkstemp(path);
	size_t i;

	assert_true(fd >= 0);
	*bytes = malloc(size);
	assert_non_null(*bytes);
	for (i = 0; i < size; i++)
		(*bytes)[i] = (i * 2654435761u) >> 13;
	assert_int_equal(write(fd, *bytes, size), size);
	return fd;
}

static void
test_file_backed_bytes_equal_the_file_and_zero_beyond_it(void **state)
{
	const size_t size = 2 * CHUNK + 3 * PAGE + 123, offset = 2 * PAGE;
	const size_t len = size - offset;
	char path[] = "test-iopf-XXXXXX";
	uint8_t *bytes, *got, *p;
	uint8_t byte;
	int fd;

	(void)state;
	fd = make_file(path, size, &bytes);
	p = mmem_map_file(mm.space, path, offset, 2 * CHUNK + 6 * PAGE, RW);
	assert_int_equal(unlink(path), 0);
	assert_non_null(p);
	got = malloc(len);
	assert_non_null(got);
	assert_int_equal(mm_dev_read(p, got, len).status, SMMUV3_MODEL_OK);
	assert_memory_equal(got, bytes + offset, len);
	assert_memory_equal(p, bytes + offset, len);
	mm_dev_expect(p + len, 0, 2 * CHUNK + 6 * PAGE - len);
	assert_int_equal(mm_stat(MMEM_STAT_FILLED), (2 * CHUNK + 6 * PAGE) / PAGE);
	/* Writes do not reach the file. */
	mm_dev_set(p, bytes[offset] ^ 0xff, 1);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	assert_int_equal(byte, bytes[offset]);
	assert_int_equal(mmem_free(mm.space, p), 0);
	close(fd);
	free(got);
	free(bytes);
}

static void
test_a_file_that_cannot_be_mapped_sets_rte_errno(void **state)
{
	(void)state;
	mm_mute_log(true);
	assert_null(mmem_map_file(mm.space, "test-iopf-no-such-file", 0, PAGE, RW));
	assert_int_equal(rte_errno, ENOENT);
	assert_null(mmem_map_file(mm.space, ".", 0, PAGE, RW));
	assert_int_equal(rte_errno, EISDIR);
	assert_null(mmem_map_file(mm.space, "/dev/null", 0, PAGE, RW));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_map_file(mm.space, "/proc/self/exe", 1, PAGE, RW));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_map_file(mm.space, "/proc/self/exe", 0, PAGE, 0));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_map_file(mm.space, NULL, 0, PAGE, RW));
	assert_int_equal(rte_errno, EINVAL);
	mm_mute_log(false);
}

/*
 * Unmap and protect
 */

static void
test_a_device_has_no_access_after_unmap(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW);
	struct smmuv3_model_done done;
	uint64_t before;

	(void)state;
	mm_dev_set(buf, 0x42, 3 * PAGE);
	before = mm_count_faults();
	assert_int_equal(mm_dev_read(buf, mm_scratch, PAGE).nb_stalls, 0);
	assert_int_equal(mmem_unmap(mm.space, buf, 2 * PAGE), 0);
	assert_int_equal(mm_stat(MMEM_STAT_UNMAPPED), 2);
	assert_int_equal(mm_count_faults(), before);

	done = mm_dev_read(buf, mm_scratch, PAGE);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_stalls, 1);
	assert_int_equal(mm_count_faults(), before + 1);
	mm_dev_expect(buf, 0x42, 3 * PAGE);
	/* The page that stayed mapped did not fault. */
	assert_int_equal(mm_count_faults(), before + 2);

	assert_int_equal(mmem_free(mm.space, buf), 0);
	done = mm_dev_read(buf + PAGE + 8, mm_scratch, 4);
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&mm.nb_reports), 1);
	mm_expect_report(buf + PAGE + 8, IOPF_NO_PASID, IOPF_PERM_READ, -EFAULT);
	assert_int_equal(mm_dev_write(buf, mm_scratch, 4).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(buf, IOPF_NO_PASID, IOPF_PERM_WRITE, -EFAULT);
	assert_int_equal(mm_stat(MMEM_STAT_NO_REGION), 2);
}

static void
test_protect_removes_and_restores_rights(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW);

	(void)state;
	mm_dev_set(buf, 1, 3 * PAGE);
	assert_int_equal(mmem_protect(mm.space, buf + PAGE, PAGE, MMEM_READ), 0);
	mm_dev_set(buf, 2, PAGE);
	mm_dev_set(buf + 2 * PAGE, 2, PAGE);
	mm_dev_expect(buf + PAGE, 1, PAGE);
	assert_int_equal(mm_dev_write(buf + PAGE, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(buf + PAGE, IOPF_NO_PASID, IOPF_PERM_WRITE, -EACCES);
	assert_int_equal(mm_stat(MMEM_STAT_FORBIDDEN), 1);

	assert_int_equal(mmem_protect(mm.space, buf + PAGE, PAGE, 0), 0);
	assert_int_equal(mm_dev_read(buf + PAGE, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(buf + PAGE, IOPF_NO_PASID, IOPF_PERM_READ, -EACCES);
	mm_cpu_expect(buf + PAGE, 1, PAGE);

	assert_int_equal(mmem_protect(mm.space, buf + PAGE, PAGE, MMEM_WRITE), 0);
	mm_dev_expect(buf + PAGE, 1, PAGE);
	mm_dev_set(buf + PAGE, 3, PAGE);
	assert_int_equal(mm_stat(MMEM_STAT_FORBIDDEN), 2);
	assert_int_equal(atomic_load(&mm.nb_reports), 2);
}

static void
test_permission_upgrade_is_one_batch(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_TRACK_WRITES | MMEM_POPULATE);
	struct iopf_domain *domain = mmem_space_domain(mm.space);
	struct smmuv3_model_done done;
	uint64_t batches, syncs;

	(void)state;
	mm_dev_expect(buf, 0, PAGE);
	batches = smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_CMDQ_BATCHES);
	syncs = smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_SYNCS);
	done = mm_dev_write(buf, "x", 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_stalls, 1);
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_AFTER_INV), 1);
	assert_int_equal(smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_CMDQ_BATCHES),
			batches + 1);
	assert_int_equal(smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_SYNCS), syncs + 1);
	assert_int_equal(mm_dev_write(buf + 1, "y", 1).nb_stalls, 0);
	assert_memory_equal(buf, "xy", 2);
}

static void
test_tracked_writes_are_seen_page_by_page(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_TRACK_WRITES);
	unsigned int round;

	(void)state;
	for (round = 1; round <= 3; round++) {
		mm_dev_expect(buf + 8 * PAGE, 0, 8 * PAGE);
		mm_dev_set(buf, round, 4 * PAGE);
		mm_dev_set(buf, round, 4 * PAGE);
		mm_dev_set(buf + 8 * PAGE, 0, PAGE);
		/* Start again: pages stay mapped for reads, and the first write to each is seen. */
		assert_int_equal(mmem_protect(mm.space, buf, CHUNK, RW | MMEM_TRACK_WRITES), 0);
		if (round == 1)	/* the first access to an unmapped page is a write */
			assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1);
		else
			assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1 + (round - 1) * 5);
	}
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 12);
}

/*
 * Refused accesses
 */

static void
test_access_outside_every_region_is_invalid_and_reported(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK + PAGE, RW);
	uint8_t *where[] = {
		(uint8_t *)0x1000,		/* far from the pool */
		buf - PAGE,			/* in front of it */
		buf + CHUNK + PAGE,		/* after the end, in the same chunk */
		buf + 2 * CHUNK,		/* a free chunk */
		buf + NB_CHUNKS * CHUNK,
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(where); i++) {
		mm_submit(mm.dma_pasid, SMMUV3_MODEL_WRITE, where[i], mm_scratch, 8);
		assert_int_equal(mm_await(mm.dma_pasid).status, SMMUV3_MODEL_ABORTED);
		mm_expect_report(where[i], PASID, IOPF_PERM_WRITE, -EFAULT);
	}
	assert_int_equal(atomic_load(&mm.nb_reports), RTE_DIM(where));
	assert_int_equal(mm_stat(MMEM_STAT_NO_REGION), RTE_DIM(where));
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 0);
}

static void
test_write_to_a_read_only_region_is_invalid(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, MMEM_READ);

	(void)state;
	assert_int_equal(mm_dev_write(buf, "x", 1).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(buf, IOPF_NO_PASID, IOPF_PERM_WRITE, -EACCES);
	buf[1] = 0x99;		/* the CPU can write */
	mm_dev_expect(buf + 1, 0x99, 1);
	/* The page is mapped now: the entry refuses the write. */
	assert_int_equal(mm_dev_write(buf, "x", 1).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mm_stat(MMEM_STAT_FORBIDDEN), 2);
	assert_int_equal(buf[0], 0);
}

static void
test_a_space_does_not_reach_the_regions_of_another(void **state)
{
	struct mmem_space *other = mm_make_space();
	uint8_t *buf, *theirs;

	(void)state;
	assert_non_null(other);
	buf = mm_alloc(CHUNK, RW);
	theirs = mmem_alloc(other, CHUNK, RW);
	assert_non_null(theirs);
	assert_ptr_not_equal(buf, theirs);
	mm_dev_set(buf, 1, 8);
	assert_int_equal(mm_dev_read(theirs, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_free(mm.space, theirs), -EINVAL);
	assert_int_equal(mmem_unmap(mm.space, theirs, PAGE), -EINVAL);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)theirs, IOPF_PERM_READ), -EFAULT);
	assert_int_equal(mmem_resolve(other, (uintptr_t)theirs, IOPF_PERM_READ), 0);
	/* The destroy frees the region too. */
	assert_int_equal(mmem_space_destroy(other), 0);
	assert_ptr_equal(mmem_alloc(mm.space, CHUNK, RW), theirs);
}

/*
 * mmem_resolve()
 */

static void
test_resolve_returns_the_result_of_a_fault(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, MMEM_READ), *rw = mm_alloc(CHUNK, RW | MMEM_TRACK_WRITES);

	(void)state;
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)buf + 5, IOPF_PERM_READ), 0);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)buf + 9, IOPF_PERM_READ), 0);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 1);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)buf, IOPF_PERM_WRITE), -EACCES);
	assert_int_equal(rte_errno, EACCES);
	assert_int_equal(mmem_resolve(mm.space, 4096, IOPF_PERM_READ), -EFAULT);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)rw, IOPF_PERM_READ), 0);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)rw, IOPF_PERM_WRITE), 0);
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1);
	mm_dev_expect(buf, 0, PAGE);
	mm_dev_set(rw, 1, PAGE);
	assert_int_equal(mm_count_faults(), 0);
	assert_int_equal(atomic_load(&mm.nb_reports), 0);
}

/* Without HTTU an access to a page whose access flag is clear faults; the mapping is the same. */
static void
test_a_clear_access_flag_is_set_by_the_next_fault(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW);
	struct pgt_used used = { .va = (uintptr_t)buf, .size = PAGE };
	const struct iopf_inv all = { .all = true };
	struct pgt_unmapped out;
	struct pgt_inv inv;
	struct pgt_leaf leaf;
	uint64_t faults;

	(void)state;
	mm_dev_set(buf, 0x5a, PAGE);
	faults = mm_count_faults();
	pgt_unmapped_init(&out, &inv, 1);
	out.used = &used;
	assert_int_equal(pgt_harvest(mm.space->pgt, (uintptr_t)buf, PAGE, PGT_ACCESSED, &out), 0);
	assert_int_equal(used.accessed_bytes, PAGE);
	assert_int_equal(iopf_invalidate(mm.space->domain, &all, 1, NULL), 0);
	mm_dev_expect(buf, 0x5a, PAGE);
	assert_int_equal(mm_count_faults(), faults + 1);
	assert_int_equal(pgt_walk(mm.space->pgt, (uintptr_t)buf, &leaf), 0);
	assert_true(leaf.accessed);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 1);
	assert_int_equal(mm.nb_reports, 0);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_cpu_and_device_share_pointer_and_bytes),
	MM_TEST(test_memory_is_zero_after_reuse),
	MM_TEST(test_memory_is_zeroed_inline_at_the_first_fault_only),
	MM_TEST(test_file_backed_bytes_equal_the_file_and_zero_beyond_it),
	MM_TEST(test_a_file_that_cannot_be_mapped_sets_rte_errno),
	MM_TEST(test_a_device_has_no_access_after_unmap),
	MM_TEST(test_protect_removes_and_restores_rights),
	MM_TEST(test_permission_upgrade_is_one_batch),
	MM_TEST(test_tracked_writes_are_seen_page_by_page),
	MM_TEST(test_access_outside_every_region_is_invalid_and_reported),
	MM_TEST(test_write_to_a_read_only_region_is_invalid),
	MM_TEST(test_a_space_does_not_reach_the_regions_of_another),
	MM_TEST(test_resolve_returns_the_result_of_a_fault),
	MM_TEST(test_a_clear_access_flag_is_set_by_the_next_fault),
};
TEST_SUITE(mmem_access, tests, NULL, NULL);

TEST_SUITE(mmem_pieces_access, tests, mm_set_pieces, mm_set_address);
