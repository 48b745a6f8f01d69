/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Imported memory: CPU and devices share pointer and contents, a fault maps a page or a block, and
 * behind an unmap or a release no access to it succeeds.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_mempool.h>
#include <rte_memzone.h>

#include "mmem_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define CHUNK_PAGES	(CHUNK / PAGE)

static void
expect_aborted(const uint8_t *p)
{
	assert_int_equal(mm_dev_read(p, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(p, IOPF_NO_PASID, MMEM_READ, -EFAULT);
}

/* An odd number of pages on both sides of a multiple of 2 MiB, where device addresses may jump. */
static void
test_cpu_and_device_share_imported_memory_at_one_pointer(void **state)
{
	uint8_t *mem = mm_map_shared(2 * CHUNK), *p = mem + CHUNK - 3 * PAGE;
	const size_t len = 21 * PAGE;

	(void)state;
	memset(p, 0x11, len);
	expect_aborted(p);
	mm_import(p, len, RW);
	mm_dev_expect(p, 0x11, len);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 21);
	assert_int_equal(mm_stat(MMEM_STAT_DEFERRED), 0);
	mm_dev_set(p, 0x22, len);
	mm_cpu_expect(p, 0x22, len);
	/* The device has no access beside the import. */
	expect_aborted(p - 8);
	expect_aborted(p + len);
	mm_release(p);
	expect_aborted(p);
	mm_cpu_expect(p, 0x22, len);
	/* Another range of the same memory, by pages that had tables. */
	mm_import(p + PAGE, PAGE, MMEM_READ);
	mm_dev_expect(p + PAGE, 0x22, PAGE);
	assert_int_equal(mm_dev_write(p + PAGE, "x", 1).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(p + PAGE, IOPF_NO_PASID, MMEM_WRITE, -EACCES);
	expect_aborted(p);
	mm_release(p + PAGE);
	munmap(mem, 2 * CHUNK);
}

/* The search finds each of many imports, and none in the gaps. */
static void
test_many_imports_are_told_apart(void **state)
{
	uint8_t *mem = mm_map_shared(CHUNK);
	unsigned int i, n = 40;

	(void)state;
	for (i = 0; i < n; i++) {
		memset(mem + i * 2 * PAGE, i, PAGE);
		/* In no order of addresses. */
		mm_import(mem + i * 7 % n * 2 * PAGE, PAGE, RW);
	}
	for (i = 0; i < n; i++) {
		mm_dev_expect(mem + i * 2 * PAGE, i, PAGE);
		expect_aborted(mem + (i * 2 + 1) * PAGE);
	}
	for (i = 0; i < n; i += 2)
		mm_release(mem + i * 2 * PAGE);
	mm_mute_log(true);
	for (i = 0; i < n; i++) {
		assert_int_equal(mmem_unmap(mm.space, mem + i * 2 * PAGE, PAGE), i % 2 ? 0 :
				-EINVAL);
		if (i % 2)
			mm_dev_expect(mem + i * 2 * PAGE, i, PAGE);
		else
			expect_aborted(mem + i * 2 * PAGE);
	}
	mm_mute_log(false);
	for (i = 1; i < n; i += 2)
		mm_release(mem + i * 2 * PAGE);
	munmap(mem, CHUNK);
}

static void
test_memory_of_dpdk_is_imported(void **state)
{
	const struct rte_memzone *zone;
	struct rte_mempool *pool;
	uint8_t *obj, *start;
	size_t len;

	(void)state;
	zone = rte_memzone_reserve_aligned("import", 4 * PAGE, SOCKET_ID_ANY, 0, PAGE);
	assert_non_null(zone);
	mm_import(zone->addr, 4 * PAGE, RW);
	mm_dev_set(zone->addr, 0x33, 4 * PAGE);
	mm_cpu_expect(zone->addr, 0x33, 4 * PAGE);
	mm_release(zone->addr);
	rte_memzone_free(zone);

	pool = rte_mempool_create("import", 16, 512, 0, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY,
			0);
	if (pool == NULL && rte_mempool_ops_table.num_ops == 0)
		test_skip("EAL has no driver for mempools: librte_mempool_ring is not here");
	assert_non_null(pool);
	assert_int_equal(pool->nb_mem_chunks, 1);
	/* Whole pages: EAL's memory is mapped by pages. */
	start = RTE_PTR_ALIGN_FLOOR(STAILQ_FIRST(&pool->mem_list)->addr, PAGE);
	len = RTE_ALIGN_CEIL((uintptr_t)STAILQ_FIRST(&pool->mem_list)->addr +
			STAILQ_FIRST(&pool->mem_list)->len, PAGE) - (uintptr_t)start;
	mm_import(start, len, RW);
	assert_int_equal(rte_mempool_get(pool, (void **)&obj), 0);
	mm_dev_set(obj, 0x44, 512);
	mm_cpu_expect(obj, 0x44, 512);
	rte_mempool_put(pool, obj);
	mm_release(start);
	rte_mempool_free(pool);
}

/* A device gets all memory that EAL has now. For rte_memseg_contig_walk(). */
static int
import_memseg(const struct rte_memseg_list *msl, const struct rte_memseg *ms, size_t len,
		void *space)
{
	(void)msl;
	return mmem_import(space, ms->addr, len, MMEM_READ | MMEM_WRITE);
}

static int
release_memseg(const struct rte_memseg_list *msl, const struct rte_memseg *ms, size_t len,
		void *space)
{
	(void)msl;
	(void)len;
	return mmem_release(space, ms->addr);
}

static void
test_all_memory_of_eal_is_imported(void **state)
{
	uint8_t *p = rte_malloc(NULL, PAGE, 0);

	(void)state;
	assert_non_null(p);
	assert_int_equal(rte_memseg_contig_walk(import_memseg, mm.space), 0);
	mm_dev_set(p, 0x88, PAGE);
	mm_cpu_expect(p, 0x88, PAGE);
	assert_int_equal(rte_memseg_contig_walk(release_memseg, mm.space), 0);
	expect_aborted(p);
	rte_free(p);
}

/* EAL has the memory as external: its device addresses stay those of the import. */
static void
test_external_memory_of_eal_is_imported(void **state)
{
	uint8_t *p = mm_map_shared(CHUNK);

	(void)state;
	assert_int_equal(rte_extmem_register(p, CHUNK, NULL, 0, PAGE), 0);
	mm_import(p, CHUNK, RW);
	mm_dev_set(p, 0x99, 2 * PAGE);
	mm_cpu_expect(p, 0x99, 2 * PAGE);
	mm_release(p);
	assert_int_equal(rte_extmem_unregister(p, CHUNK), 0);
	munmap(p, CHUNK);
}

/* A process that has the descriptor only. Its pages are where it likes. */
static void
run_other_process(int fd, size_t len, uint8_t expected, uint8_t byte)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (p == MAP_FAILED)
			_exit(1);
		for (size_t i = 0; i < len; i++) {
			if (p[i] != expected)
				_exit(2);
			p[i] = byte;
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
test_processes_share_a_memfd_with_devices(void **state)
{
	const size_t len = 8 * PAGE;
	int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t *p, *q;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, len), 0);
	p = mmem_import_fd(mm.space, fd, 0, len, RW);
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % CHUNK, 0);
	mm_dev_set(p, 0x55, len);
	run_other_process(fd, len, 0x55, 0x66);
	mm_dev_expect(p, 0x66, len);
	/* It cannot shrink below the devices. */
	assert_int_equal(ftruncate(fd, len - PAGE), -1);
	assert_int_equal(errno, EPERM);
	/* A part of it once more, at another pointer. */
	q = mmem_import_fd(mm.space, fd, 3 * PAGE, 2 * PAGE, MMEM_READ);
	assert_non_null(q);
	mm_dev_set(p + 3 * PAGE, 0x77, PAGE);
	mm_dev_expect(q, 0x77, PAGE);
	assert_int_equal(close(fd), 0);
	mm_dev_expect(q + PAGE, 0x66, PAGE);
	mm_release(q);
	mm_release(p);
	expect_aborted(p);
	/* The release has unmapped it from the CPU. */
	assert_int_equal(msync(p, len, MS_ASYNC), -1);
	assert_int_equal(errno, ENOMEM);
}

static void
test_a_memfd_of_hugepages_is_mapped_by_blocks(void **state)
{
	int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
	uint8_t *p = NULL;

	(void)state;
	if (fd >= 0 && ftruncate(fd, 2 * CHUNK) == 0) {
		mm_mute_log(true);
		p = mmem_import_fd(mm.space, fd, 0, 2 * CHUNK, RW);
		mm_mute_log(false);
	}
	if (p == NULL) {
		if (fd >= 0)
			close(fd);
		test_skip("two hugepages of 2 MiB are needed");
	}
	mm_dev_set(p, 0x10, 2 * CHUNK);
	mm_cpu_expect(p, 0x10, 2 * CHUNK);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 2 * CHUNK_PAGES);
	mm_mute_log(true);
	assert_null(mmem_import_fd(mm.space, fd, PAGE, CHUNK, RW));
	mm_mute_log(false);
	assert_int_equal(close(fd), 0);
	mm_release(p);
}

/* The PASID gets a second space. */
static struct mmem_space *
attach_second_space(void)
{
	struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){
			.pool = mm.pool });

	assert_non_null(space);
	assert_int_equal(mmem_detach(mm.space, mm.dev, PASID), 0);
	assert_int_equal(mmem_attach(space, mm.dev, PASID), 0);
	return space;
}

static void
destroy_second_space(struct mmem_space *space)
{
	assert_int_equal(mmem_detach(space, mm.dev, PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	assert_int_equal(mmem_attach(mm.space, mm.dev, PASID), 0);
}

static struct smmuv3_model_done
pasid_write(const uint8_t *p, uint8_t byte)
{
	memset(mm_scratch, byte, PAGE);
	mm_submit(mm.dma_pasid, SMMUV3_MODEL_WRITE, p, mm_scratch, PAGE);
	return mm_await(mm.dma_pasid);
}

static void
test_spaces_import_the_same_memory_each_for_itself(void **state)
{
	struct mmem_space *space = attach_second_space();
	uint8_t *p = mm_map_shared(CHUNK);

	(void)state;
	mm_import(p, CHUNK, RW);
	mm_dev_set(p, 1, PAGE);
	assert_int_equal(pasid_write(p, 2).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_import(space, p, CHUNK, RW), 0);
	assert_int_equal(pasid_write(p, 2).status, SMMUV3_MODEL_OK);
	mm_dev_expect(p, 2, PAGE);
	/* An unmap in one leaves the other's entries. */
	assert_int_equal(mmem_unmap(mm.space, p, CHUNK), 0);
	assert_int_equal(pasid_write(p, 3).nb_stalls, 0);
	mm_release(p);
	expect_aborted(p);
	assert_int_equal(pasid_write(p, 4).status, SMMUV3_MODEL_OK);
	mm_cpu_expect(p, 4, PAGE);
	/* The last one releases with its space. */
	destroy_second_space(space);
	mm_import(p, PAGE, RW);
	mm_dev_expect(p, 4, PAGE);
	mm_release(p);
	munmap(p, CHUNK);
}

static void
test_a_space_is_destroyed_with_its_imports(void **state)
{
	struct mmem_space *space = attach_second_space();
	uint8_t *p = mm_map_shared(2 * CHUNK);
	int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t *q;

	(void)state;
	assert_int_equal(ftruncate(fd, PAGE), 0);
	q = mmem_import_fd(space, fd, 0, PAGE, RW);
	assert_non_null(q);
	assert_int_equal(close(fd), 0);
	assert_int_equal(mmem_import(space, p, CHUNK, RW), 0);
	assert_int_equal(mmem_import(space, p + CHUNK, PAGE, RW), 0);
	assert_int_equal(pasid_write(p, 1).status, SMMUV3_MODEL_OK);
	assert_int_equal(pasid_write(p + CHUNK, 1).status, SMMUV3_MODEL_OK);
	assert_int_equal(pasid_write(q, 1).status, SMMUV3_MODEL_OK);
	destroy_second_space(space);
	assert_int_equal(pasid_write(p, 1).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(msync(q, PAGE, MS_ASYNC), -1);
	/* Nothing of it is left. */
	mm_import(p + CHUNK, CHUNK, RW);
	mm_release(p + CHUNK);
	munmap(p, 2 * CHUNK);
}

static void
test_protect_prefetch_resolve_and_tracked_writes_work(void **state)
{
	uint8_t *p = mm_map_shared(CHUNK);
	struct mmem_completion done;

	(void)state;
	mm_import(p, 8 * PAGE, RW | MMEM_TRACK_WRITES);
	assert_int_equal(mmem_prefetch(mm.space, p, 2 * PAGE), 0);
	assert_int_equal(mmem_prefetch_start(mm.space, p + PAGE, 3 * PAGE, &done), 0);
	assert_int_equal(mmem_completion_poll(&done), 0);
	assert_int_equal(mm_stat(MMEM_STAT_PREFETCHED), 4);
	assert_int_equal(mm_dev_read(p, mm_scratch, 4 * PAGE).nb_stalls, 0);
	assert_int_equal(mm_dev_write(p, "x", 1).nb_stalls, 1);
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(mm_dev_write(p, "x", 1).nb_stalls, 0);
	assert_int_equal(mmem_protect(mm.space, p, 2 * PAGE, MMEM_READ), 0);
	assert_int_equal(mm_dev_write(p, "y", 1).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(p, IOPF_NO_PASID, MMEM_WRITE, -EACCES);
	assert_int_equal(mm_dev_write(p + 2 * PAGE, "y", 1).status, SMMUV3_MODEL_OK);
	assert_int_equal(mmem_protect(mm.space, p, 8 * PAGE, 0), 0);
	assert_int_equal(mm_dev_read(p, mm_scratch, 1).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_protect(mm.space, p, 8 * PAGE, RW), 0);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)p + 5 * PAGE, IOPF_PERM_WRITE), 0);
	assert_int_equal(mm_dev_write(p + 5 * PAGE, "y", 1).nb_stalls, 0);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)p + 8 * PAGE, IOPF_PERM_READ), -EFAULT);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)p, IOPF_PERM_EXEC), -EACCES);
	mm_release(p);
	munmap(p, CHUNK);
}

static void
test_a_device_that_streams_over_blocks_takes_a_fault_for_2_mib(void **state)
{
	const size_t nb = 4;
	uint8_t *p = mm_map_shared(nb * CHUNK);
	uint64_t faults;
	size_t i;

	(void)state;
	mm_import(p, nb * CHUNK, RW);
	faults = mm_count_faults();
	for (i = 0; i < nb; i++)
		mm_dev_set(p + i * CHUNK, i, CHUNK);
	assert_int_equal(mm_count_faults() - faults, nb);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), nb * CHUNK_PAGES);
	assert_int_equal(mm_stat(MMEM_STAT_DEFERRED), 0);
	for (i = 0; i < nb; i++)
		mm_cpu_expect(p + i * CHUNK, i, CHUNK);
	/* A page of a block takes the block with it, and no other. */
	assert_int_equal(mmem_unmap(mm.space, p + CHUNK + 5 * PAGE, PAGE), 0);
	assert_int_equal(mm_stat(MMEM_STAT_UNMAPPED), CHUNK_PAGES);
	assert_int_equal(mm_dev_read(p + 2 * CHUNK - 8, mm_scratch, 16).nb_stalls, 1);
	assert_int_equal(mm_dev_read(p + CHUNK, mm_scratch, 8).nb_stalls, 0);
	/* Rights are those of blocks. */
	assert_int_equal(mmem_protect(mm.space, p, CHUNK, RW | MMEM_TRACK_WRITES), 0);
	assert_int_equal(mm_dev_read(p, mm_scratch, 8).nb_stalls, 0);
	assert_int_equal(mm_dev_write(p + 9 * PAGE, "x", 1).nb_stalls, 1);
	assert_int_equal(mm_dev_write(p + 10 * PAGE, "x", 1).nb_stalls, 0);
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(mmem_protect(mm.space, p, CHUNK, MMEM_READ), 0);
	assert_int_equal(mm_dev_write(p, "x", 1).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mm_dev_write(p + CHUNK, "x", 1).status, SMMUV3_MODEL_OK);
	assert_int_equal(mmem_unmap(mm.space, p, nb * CHUNK), 0);
	assert_int_equal(mmem_prefetch(mm.space, p + PAGE, CHUNK), 0);
	assert_int_equal(mm_stat(MMEM_STAT_PREFETCHED), 2 * CHUNK_PAGES);
	mm_release(p);
	/* With pages, and then with blocks where these have left their tables. */
	mm_import(p, CHUNK, RW | MMEM_TRACK_WRITES);
	assert_int_equal(mm_dev_read(p + PAGE - 8, mm_scratch, 16).nb_stalls, 2);
	mm_release(p);
	mm_import(p, CHUNK, RW);
	mm_dev_expect(p + PAGE, 0, 2 * PAGE);
	assert_int_equal(mmem_unmap(mm.space, p, PAGE), 0);
	mm_dev_expect(p + PAGE, 0, 2 * PAGE);
	mm_release(p);
	expect_aborted(p + PAGE);
	munmap(p, nb * CHUNK);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_cpu_and_device_share_imported_memory_at_one_pointer),
	MM_TEST(test_many_imports_are_told_apart),
	MM_TEST(test_memory_of_dpdk_is_imported),
	MM_TEST(test_all_memory_of_eal_is_imported),
	MM_TEST(test_external_memory_of_eal_is_imported),
	MM_TEST(test_processes_share_a_memfd_with_devices),
	MM_TEST(test_a_memfd_of_hugepages_is_mapped_by_blocks),
	MM_TEST(test_spaces_import_the_same_memory_each_for_itself),
	MM_TEST(test_a_space_is_destroyed_with_its_imports),
	MM_TEST(test_protect_prefetch_resolve_and_tracked_writes_work),
	MM_TEST(test_a_device_that_streams_over_blocks_takes_a_fault_for_2_mib),
};
TEST_SUITE(mmem_import, tests, NULL, NULL);

/* Memory whose device addresses are not contiguous: pages of 4 KiB, so no blocks. */
static const struct CMUnitTest pieces_tests[] = {
	MM_TEST(test_cpu_and_device_share_imported_memory_at_one_pointer),
	MM_TEST(test_many_imports_are_told_apart),
	MM_TEST(test_memory_of_dpdk_is_imported),
	MM_TEST(test_processes_share_a_memfd_with_devices),
	MM_TEST(test_protect_prefetch_resolve_and_tracked_writes_work),
};
TEST_SUITE(mmem_pieces_import, pieces_tests, mm_set_pieces, mm_set_address);
