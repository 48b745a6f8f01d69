/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Imports that are refused, each in one line, and failed allocations. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <rte_errno.h>
#include <rte_log.h>

#include <iopf_iommu.h>

#include "interpose.h"
#include "log_lines.h"
#include "mmem_rig.h"
#include "test.h"

#define SHARED		(MAP_SHARED | MAP_ANONYMOUS)
#define PRIVATE		(MAP_PRIVATE | MAP_ANONYMOUS)

static uint8_t *
map_pages(size_t nb, int prot, int flags)
{
	uint8_t *p = mmap(NULL, nb * PAGE, prot, flags, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Refused with this error and one line. */
#define REFUSED(error, part, ptr, len, flags) do {					\
	memset(&mm.space->log, 0, sizeof(mm.space->log));				\
	SAYS(part, assert_int_equal(mmem_import(mm.space, ptr, len, flags), -(error)));	\
	assert_int_equal(rte_errno, error);						\
} while (0)

#define REFUSED_FD(error, part, fd, offset, size, flags) do {				\
	memset(&mm.space->log, 0, sizeof(mm.space->log));				\
	SAYS(part, assert_null(mmem_import_fd(mm.space, fd, offset, size, flags)));	\
	assert_int_equal(rte_errno, error);						\
} while (0)

static void
test_arguments_out_of_range_are_refused_in_one_line(void **state)
{
	uint8_t *p = map_pages(4, PROT_READ | PROT_WRITE, SHARED);
	uint8_t *region = mm_alloc(CHUNK, RW);

	(void)state;
	REFUSED(EINVAL, "use multiples of 4 KiB", p + 1, PAGE, RW);
	REFUSED(EINVAL, "use multiples of 4 KiB", p, PAGE + 1, RW);
	REFUSED(EINVAL, "use multiples of 4 KiB", p, 0, RW);
	REFUSED(EINVAL, "use multiples of 4 KiB", p, SIZE_MAX & ~(PAGE - 1), RW);
	REFUSED(EINVAL, "flags 0x0 of an import", p, PAGE, 0);
	REFUSED(EINVAL, "flags 0x23 of an import", p, PAGE, RW | MMEM_POPULATE);
	REFUSED(EINVAL, "flags 0x13 of an import", p, PAGE, RW | MMEM_ZERO_INLINE);
	REFUSED(ERANGE, "48 address bits", (void *)(uintptr_t)(UINT64_C(1) << 52), PAGE, RW);
	REFUSED(EEXIST, "memory of a pool", region, PAGE, RW);
	REFUSED(EEXIST, "memory of a pool", mm.pool->mem - PAGE, 2 * PAGE, RW);
	REFUSED(EEXIST, "memory of a pool", mm.pool->dev, PAGE, RW);
	assert_int_equal(mmem_import(mm.space, p + PAGE, 2 * PAGE, RW), 0);
	REFUSED(EEXIST, "overlaps it", p, 2 * PAGE, RW);
	REFUSED(EEXIST, "overlaps it", p + 2 * PAGE, PAGE, RW);
	memset(&mm.space->log, 0, sizeof(mm.space->log));
	SAYS("use mmem_release()", assert_int_equal(mmem_free(mm.space, p + PAGE), -EINVAL));
	SAYS("no range of the import", assert_int_equal(mmem_unmap(mm.space, p + PAGE, 3 * PAGE),
			-EINVAL));
	SAYS("no range of the import", assert_int_equal(mmem_prefetch(mm.space, p + PAGE, 1),
			-EINVAL));
	SAYS("no range of the import", assert_int_equal(mmem_prefetch_start(mm.space, p + PAGE,
			3 * PAGE, NULL), -EINVAL));
	SAYS("no range of the import", assert_int_equal(mmem_protect(mm.space, p + PAGE, 0, RW),
			-EINVAL));
	SAYS("no import begins at", assert_int_equal(mmem_release(mm.space, p + 2 * PAGE),
			-EINVAL));
	SAYS("no import begins at", assert_int_equal(mmem_release(mm.space, region), -EINVAL));
	assert_int_equal(mmem_release(mm.space, p + PAGE), 0);
	SAYS("no import begins at", assert_int_equal(mmem_release(mm.space, p + PAGE), -EINVAL));
	munmap(p, 4 * PAGE);
}

static void
test_mappings_whose_pages_may_change_are_refused_in_one_line(void **state)
{
	uint8_t *p = map_pages(4, PROT_READ | PROT_WRITE, PRIVATE);
	struct statfs fs;
	uint8_t *file;
	int fd;

	(void)state;
	/* A private mapping, before and after it is excluded from fork(). */
	REFUSED(EINVAL, "madvise(MADV_DONTFORK)", p, 4 * PAGE, RW);
	assert_int_equal(madvise(p, 2 * PAGE, MADV_DONTFORK), 0);
	REFUSED(EINVAL, "madvise(MADV_DONTFORK)", p, 4 * PAGE, RW);
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), 0);
	mm_dev_set(p, 1, 2 * PAGE);
	mm_cpu_expect(p, 1, 2 * PAGE);
	assert_int_equal(mmem_release(mm.space, p), 0);
	assert_int_equal(mprotect(p, PAGE, PROT_READ), 0);
	REFUSED(EACCES, "a private mapping has to be", p, PAGE, MMEM_READ);
	munmap(p, 4 * PAGE);

	/* A hole, and fewer rights than the devices would have. */
	p = map_pages(4, PROT_READ | PROT_WRITE, SHARED);
	munmap(p + 2 * PAGE, PAGE);
	REFUSED(EINVAL, "not all of it is mapped", p, 4 * PAGE, RW);
	REFUSED(EINVAL, "not all of it is mapped", p + 2 * PAGE, PAGE, RW);
	assert_int_equal(mprotect(p, PAGE, PROT_READ), 0);
	REFUSED(EACCES, "not mapped with these rights", p, 2 * PAGE, RW);
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, MMEM_READ), 0);
	mm_dev_expect(p, 0, 2 * PAGE);
	assert_int_equal(mmem_release(mm.space, p), 0);
	assert_int_equal(mprotect(p, PAGE, PROT_NONE), 0);
	REFUSED(EACCES, "not mapped with these rights", p, PAGE, MMEM_READ);
	munmap(p, 4 * PAGE);

	/* A file on disk, and a memfd that is shorter than its mapping. */
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	file = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(file, MAP_FAILED);
	/* In a guest that runs from its initramfs this file is memory. */
	assert_int_equal(fstatfs(fd, &fs), 0);
	if (fs.f_type != RAMFS_MAGIC && fs.f_type != TMPFS_MAGIC) {
		REFUSED(ENOTSUP, "use mmem_map_file()", file, PAGE, MMEM_READ);
		REFUSED_FD(ENOTSUP, "use mmem_map_file()", fd, 0, PAGE, MMEM_READ);
	}
	munmap(file, PAGE);
	close(fd);
	fd = memfd_create("short", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	REFUSED(EFAULT, "beyond the end of its file", p, 2 * PAGE, RW);
	munmap(p, 2 * PAGE);
	REFUSED_FD(EPERM, "MFD_ALLOW_SEALING", fd, 0, PAGE, RW);
	close(fd);
}

/*
 * The path of a mapping is longer than a short buffer for its line, and what would be the next line
 * looks like the flags of a mapping that fork() does not copy. A path begins at column 73.
 */
static void
test_the_name_of_a_file_does_not_stand_for_its_flags(void **state)
{
	char dir[] = "/tmp/iopf-import-XXXXXX", sub[256], path[600];
	uint8_t *p;
	int fd, n;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(sub, sizeof(sub), "%s/%0200d", dir, 0);
	assert_int_equal(mkdir(sub, 0700), 0);
	n = 511 - 73 - strlen(sub) - 1;
	snprintf(path, sizeof(path), "%s/%0*dVmFlags: rd dc x", sub, n, 0);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	REFUSED(EINVAL, "madvise(MADV_DONTFORK)", p, PAGE, RW);
	munmap(p, PAGE);
	close(fd);
	unlink(path);
	rmdir(sub);
	rmdir(dir);
}

static void
test_descriptors_out_of_range_are_refused_in_one_line(void **state)
{
	int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char path[64];
	int ro;

	(void)state;
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	REFUSED_FD(EBADF, "descriptor -1", -1, 0, PAGE, RW);
	REFUSED_FD(EINVAL, "the file is shorter", fd, PAGE, 2 * PAGE, RW);
	REFUSED_FD(EINVAL, "the file is shorter", fd, 3 * PAGE, PAGE, RW);
	REFUSED_FD(EINVAL, "page size", fd, 1, PAGE, RW);
	REFUSED_FD(EINVAL, "page size", fd, -(off_t)PAGE, PAGE, RW);
	REFUSED_FD(EINVAL, "page size", fd, 0, 0, RW);
	REFUSED_FD(EINVAL, "flags 0x0", fd, 0, PAGE, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	REFUSED_FD(EACCES, "O_RDWR", ro, 0, PAGE, RW);
	assert_non_null(mmem_import_fd(mm.space, ro, 0, PAGE, MMEM_READ));
	close(ro);
	close(fd);
}

/* Memory that the SMMU has for another space, or for another owner, in part. */
static void
test_a_part_of_another_owners_memory_is_refused(void **state)
{
	uint8_t *p = map_pages(4, PROT_READ | PROT_WRITE, SHARED);
	struct mmem_space *space = mm_make_space();
	uint64_t addr;

	(void)state;
	assert_non_null(space);
	assert_int_equal(mmem_import(space, p, 2 * PAGE, RW), 0);
	REFUSED(EEXIST, "import the same range", p, PAGE, RW);
	REFUSED(EEXIST, "import the same range", p + PAGE, 2 * PAGE, RW);
	assert_int_equal(mmem_import(mm.space, p + 2 * PAGE, PAGE, RW), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	assert_int_equal(mmem_release(mm.space, p + 2 * PAGE), 0);
	assert_int_equal(iopf_dma_map(mm.smmu, p, PAGE, &addr), 0);
	mm_mute_log(true);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	assert_int_equal(mmem_import(mm.space, p, 4 * PAGE, RW), -EEXIST);
	mm_mute_log(false);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	assert_int_equal(iopf_dma_unmap(mm.smmu, p, PAGE, addr), 0);
	assert_int_equal(mmem_import(mm.space, p, 4 * PAGE, RW), 0);
	mm_dev_set(p, 1, 4 * PAGE);
	assert_int_equal(mmem_release(mm.space, p), 0);
	munmap(p, 4 * PAGE);
}

/* Pools of one IOMMU share its device addresses, and none imports memory of the other. */
static void
test_spaces_of_two_pools_share_memory(void **state)
{
	uint8_t *p = map_pages(2, PROT_READ | PROT_WRITE, SHARED);
	struct mmem_pool *pool = mm_make_pool();
	struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });

	(void)state;
	assert_non_null(space);
	REFUSED(EEXIST, "memory of a pool", pool->mem, PAGE, RW);
	assert_int_equal(mmem_import(space, p, 2 * PAGE, RW), 0);
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	assert_int_equal(mmem_pool_destroy(pool), 0);
	mm_dev_set(p, 1, 2 * PAGE);
	assert_int_equal(mmem_release(mm.space, p), 0);
	munmap(p, 2 * PAGE);
}

/* A full pool has no page tables: nothing of the import is left behind. */
static void
test_an_import_without_page_tables_is_refused(void **state)
{
	uint8_t *p = map_pages(2, PROT_READ | PROT_WRITE, SHARED);
	void *tables = NULL, *table;

	(void)state;
	for (unsigned int i = 0; i < NB_CHUNKS - 1; i++)
		mm_alloc(PAGE, RW);
	while ((table = mmem_table_alloc(mm.pool, PAGE)) != NULL) {
		*(void **)table = tables;
		tables = table;
	}
	REFUSED(ENOMEM, "for its page tables", p, 2 * PAGE, RW);
	while ((table = tables) != NULL) {
		tables = *(void **)table;
		mmem_table_free(mm.pool, table, PAGE);
	}
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), 0);
	mm_dev_set(p, 1, 2 * PAGE);
	assert_int_equal(mmem_release(mm.space, p), 0);
	munmap(p, 2 * PAGE);
}

static void
test_rights_of_a_part_of_a_block_are_refused(void **state)
{
	uint8_t *room = map_pages(1024, PROT_READ | PROT_WRITE, SHARED);
	uint8_t *p = RTE_PTR_ALIGN_CEIL(room, CHUNK);

	(void)state;
	assert_int_equal(mmem_import(mm.space, p, CHUNK, RW), 0);
	SAYS("use multiples of 2 MiB", assert_int_equal(mmem_protect(mm.space, p, PAGE,
			MMEM_READ), -EINVAL));
	mm_dev_set(p, 1, PAGE);
	assert_int_equal(mmem_release(mm.space, p), 0);
	munmap(room, 1024 * PAGE);
}

/* Calls in a fast handler, where all but a few are forbidden. */
static int in_handler[3];
static uint8_t *in_handler_ptr;

static void
call_in_handler(void)
{
	in_handler[0] = mmem_import(mm.space, in_handler_ptr, PAGE, RW);
	in_handler[1] = mmem_release(mm.space, in_handler_ptr);
	in_handler[2] = mmem_import_fd(mm.space, 0, 0, PAGE, RW) == NULL ? -rte_errno : 0;
}

static void
test_import_and_release_are_refused_in_a_report(void **state)
{
	unsigned int i;

	(void)state;
	in_handler_ptr = map_pages(1, PROT_READ | PROT_WRITE, SHARED);
	mm_in_handler = call_in_handler;
	assert_int_equal(mm_dev_read((void *)PAGE, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	for (i = 0; i < RTE_DIM(in_handler); i++)
		assert_int_equal(in_handler[i], -EDEADLK);
	munmap(in_handler_ptr, PAGE);
}

/* Each allocation of an import fails in turn: it returns an error and leaves nothing behind. */
static void
test_each_failed_allocation_is_a_clean_error(void **state)
{
	uint8_t *p = map_pages(64, PROT_READ | PROT_WRITE, SHARED);
	int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	unsigned int n, failures = 0, i;
	struct mmem_space *space;
	bool made, failed = true;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizer interposes malloc itself");
#endif
	assert_int_equal(ftruncate(fd, PAGE), 0);
	mm_mute_log(true);
	for (n = 1; failed; n++) {
		assert_true(n < 100);
		space = mm_make_space();
		assert_non_null(space);
		/* These fill the space's first arrays. */
		for (i = 0; i < 8; i++)
			assert_int_equal(mmem_import(space, p + i * 2 * PAGE, PAGE, RW), 0);
		interpose_fail(n);
		made = mmem_import(space, p + 32 * PAGE, 4 * PAGE, RW) == 0 &&
				mmem_import_fd(space, fd, 0, PAGE, RW) != NULL;
		failed = interpose_failed();
		interpose_fail(0);
		assert_true(failed || made);
		if (!made)
			assert_int_equal(rte_errno, ENOMEM);
		failures += !made;
		assert_int_equal(mmem_space_destroy(space), 0);
	}
	mm_mute_log(false);
	/* Of both calls: smaps, import, windows, window, addresses; of the first: two arrays. */
	assert_int_equal(failures, 12);
	close(fd);
	munmap(p, 64 * PAGE);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_arguments_out_of_range_are_refused_in_one_line),
	MM_TEST(test_mappings_whose_pages_may_change_are_refused_in_one_line),
	MM_TEST(test_the_name_of_a_file_does_not_stand_for_its_flags),
	MM_TEST(test_descriptors_out_of_range_are_refused_in_one_line),
	MM_TEST(test_a_part_of_another_owners_memory_is_refused),
	MM_TEST(test_spaces_of_two_pools_share_memory),
	MM_TEST(test_an_import_without_page_tables_is_refused),
	MM_TEST(test_rights_of_a_part_of_a_block_are_refused),
	MM_TEST(test_import_and_release_are_refused_in_a_report),
	MM_TEST(test_each_failed_allocation_is_a_clean_error),
};
TEST_SUITE(mmem_import_refused, tests, NULL, NULL);
