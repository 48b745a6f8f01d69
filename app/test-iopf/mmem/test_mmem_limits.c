/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Managed memory in a process that has limits: it works, or the log names the limit.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "child_rig.h"
#include "interpose.h"
#include "test.h"

#define NOBODY		65534

/* Check that the pool works. */
static void
check_pool(void)
{
	child_attach();
	memset(child_data[0], 0x5a, sizeof(child_data[0]));
	CHECK(smmuv3_model_dma_write(child.dma, (uintptr_t)child.buf, child_data[0],
			sizeof(child_data[0])) == 0);
	CHECK(memcmp(child.buf, child_data[0], sizeof(child_data[0])) == 0);
	/* A reused chunk is zero. */
	CHECK(mmem_free(child.space, child.buf) == 0);
	CHECK(mmem_alloc(child.space, child.len, RW) == child.buf);
	CHECK(child.buf[0] == 0 && child.buf[4095] == 0);
	child_close();
}

static void
set_limit(int resource, rlim_t n)
{
	struct rlimit r;

	/* The limit is not raised, as this may be forbidden. */
	CHECK(getrlimit(resource, &r) == 0);
	n = RTE_MIN(n, r.rlim_max);
	CHECK(setrlimit(resource, &(struct rlimit){ n, n }) == 0);
}

/* Some limits do not apply to root. */
static void
drop_root(void)
{
	if (geteuid() == 0)
		CHECK(setuid(NOBODY) == 0);
}

static void
child_fsize(void)
{
	set_limit(RLIMIT_FSIZE, 1 << 20);
	child_open();
	child.pool = child_make_pool((size_t)64 << 20);
	CHECK(child.pool != NULL);
	check_pool();
}

static void
child_nofile(void)
{
	child_open();
	while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		;
	child.pool = child_make_pool((size_t)64 << 20);
	CHECK(child.pool != NULL);
	child_attach();
	CHECK(mmem_map_file(child.space, "/proc/self/exe", 0, 4096, MMEM_READ) == NULL);
	CHECK(rte_errno == EMFILE);
	CHECK(smmuv3_model_dma_write(child.dma, (uintptr_t)child.buf, child_data[0],
			sizeof(child_data[0])) == 0);
	child_close();
}

static void
child_as(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	child_open();
	CHECK(f != NULL && fscanf(f, "%lu", &pages) == 1);
	set_limit(RLIMIT_AS, pages * sysconf(_SC_PAGESIZE) + ((rlim_t)512 << 20));
	CHECK(child_make_pool((size_t)4 << 30) == NULL);
	CHECK(rte_errno == ENOMEM);
	child.pool = child_make_pool((size_t)64 << 20);
	CHECK(child.pool != NULL);
	check_pool();
}

static void
child_memlock(void)
{
	child_open();
	set_limit(RLIMIT_MEMLOCK, 16 << 20);
	drop_root();
	if (mlockall(MCL_FUTURE) < 0)
		_exit(77);
	CHECK(child_make_pool((size_t)64 << 20) == NULL);
	CHECK(rte_errno == EAGAIN);
}

static void
child_onfault(void)
{
	child_open();
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		_exit(77);
	child.pool = child_make_pool((size_t)64 << 20);
	if (child.pool == NULL)
		_exit(77);
	check_pool();
}

static void
child_nproc(void)
{
	child_open();
	drop_root();
	set_limit(RLIMIT_NPROC, 1);
	CHECK(child_make_pool((size_t)64 << 20) == NULL);
	CHECK(rte_errno == EAGAIN);
}

static const struct child_case children[] = {
	{ "fsize", child_fsize },
	{ "nofile", child_nofile },
	{ "as", child_as },
	{ "memlock", child_memlock },
	{ "onfault", child_onfault },
	{ "nproc", child_nproc },
};

static int
suite_setup(void **state)
{
	(void)state;
	return child_setup("mmem_limits", children, RTE_DIM(children));
}

/*
 * In the parent
 */

static void
a_limit_of_file_size_does_not_apply(void **state)
{
	(void)state;
	child_expect_exit("fsize");
}

static void
a_pool_needs_no_file_and_a_file_names_the_limit(void **state)
{
	(void)state;
	child_expect_exit("nofile");
	child_expect_log("RLIMIT_NOFILE");
}

static void
a_limit_of_address_space_is_named(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	test_skip("ThreadSanitizer reserves address space");
#endif
	child_expect_exit("as");
	child_expect_log("RLIMIT_AS");
}

static void
a_limit_of_locked_memory_is_named(void **state)
{
	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizers disable mlockall()");
#endif
	child_expect_exit("memlock");
	child_expect_log("RLIMIT_MEMLOCK");
}

static void
memory_that_is_locked_on_fault_works(void **state)
{
	(void)state;
	child_expect_exit("onfault");
}

static void
a_limit_of_threads_is_named(void **state)
{
	(void)state;
	child_expect_exit("nproc");
	child_expect_log("RLIMIT_NPROC");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_limit_of_file_size_does_not_apply),
	cmocka_unit_test(a_pool_needs_no_file_and_a_file_names_the_limit),
	cmocka_unit_test(a_limit_of_address_space_is_named),
	cmocka_unit_test(a_limit_of_locked_memory_is_named),
	cmocka_unit_test(memory_that_is_locked_on_fault_works),
	cmocka_unit_test(a_limit_of_threads_is_named),
};
TEST_SUITE(mmem_limits, tests, suite_setup, NULL);
