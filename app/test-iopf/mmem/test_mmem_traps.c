/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The CPU's accesses watched by a handler of SIGSEGV: its place in the process, and its limits. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_errno.h>

#include "mmem_space.h"
#include "pager_rig.h"
#include "test.h"

#define NB_PAGES	64
#define LEFT		16
#define STATUS_CALLED	7

static uint8_t *
alloc_pages(struct test_pager **pager)
{
	*pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	return pg_alloc(NB_PAGES * PAGE, *pager);
}

/* A handler of the application, set before the pool's. */
static void
exit_in_handler(int sig)
{
	(void)sig;
	_exit(STATUS_CALLED);
}

/* In a child, which inherits the handlers: a fault outside of all pools. Returns its status. */
static int
run_wild_child(void)
{
	const struct rlimit none = { 0 };
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		*(volatile int *)mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) =
				1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
test_other_faults_go_to_the_handler_before(void **state)
{
	struct sigaction action = { .sa_handler = exit_in_handler }, before, now;
	struct test_pager *pager;
	uint8_t *p;
	int status;

	(void)state;
	assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
	p = alloc_pages(&pager);
	errno = ERANGE;
	assert_int_equal(p[1], pg_byte_at(pager, 0));
	assert_int_equal(errno, ERANGE);
	status = run_wild_child();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), STATUS_CALLED);
	/* The handler goes with the last pool. */
	assert_int_equal(mmem_detach(pg.space, pg.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(pg.space), 0);
	assert_int_equal(mmem_space_destroy(pg.other), 0);
	pg.space = pg.other = NULL;
	assert_int_equal(mmem_pool_destroy(pg.pool), 0);
	pg.pool = NULL;
	assert_int_equal(sigaction(SIGSEGV, &before, &now), 0);
	assert_true(now.sa_handler == exit_in_handler);
}

static void
test_a_wild_access_ends_the_process_as_without_the_handler(void **state)
{
	struct sigaction action = { .sa_handler = SIG_DFL }, before;
	struct test_pager *pager;
	uint8_t *p;
	int status;

	(void)state;
	assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
	p = alloc_pages(&pager);
	assert_int_equal(p[1], pg_byte_at(pager, 0));
	status = run_wild_child();
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/*
 * Use up the mappings of the process but for a few: each page of the filler is one.
 * vm.max_map_count may be any number, so the filler grows until it fails.
 */
#define FILLER_PAGES	((size_t)1 << 21)

static uint8_t *
fill_mappings(unsigned int left)
{
	uint8_t *filler = mmap(NULL, FILLER_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_NORESERVE, -1, 0);
	size_t i;

	assert_ptr_not_equal(filler, MAP_FAILED);
	for (i = 1; i < FILLER_PAGES; i += 2)
		if (mprotect(filler + i * PAGE, PAGE, PROT_READ) < 0)
			break;
	for (; i < FILLER_PAGES && left > 1; left -= 2) {
		i -= 2;
		assert_int_equal(mprotect(filler + i * PAGE, PAGE, PROT_NONE), 0);
	}
	if (i < FILLER_PAGES)
		return filler;
	munmap(filler, FILLER_PAGES * PAGE);
	return NULL;
}

static void
test_accesses_end_with_few_mappings_left(void **state)
{
	struct test_pager *pager;
	uint8_t *p = alloc_pages(&pager), *filler;
	unsigned int i, wrong = 0, round;

	(void)state;
	assert_int_equal(p[0], pg_byte_at(pager, 0));
	filler = fill_mappings(LEFT);
	/* Each second page: a mapping for each. */
	for (round = 0; filler != NULL && round < 3; round++)
		for (i = 0; i < NB_PAGES; i += 2)
			wrong += p[i * PAGE + 1] != pg_byte_at(pager, i * PAGE);
	if (filler == NULL)
		test_skip("vm.max_map_count is larger than this test's filler");
	munmap(filler, FILLER_PAGES * PAGE);
	assert_int_equal(wrong, 0);
	assert_int_equal(atomic_load(&pg.nb_reports), 0);
}

static void *
read_byte(void *arg)
{
	volatile uint8_t *p = arg;

	return (void *)(uintptr_t)*p;
}

static void
test_an_access_without_any_mapping_left_is_reported_and_repeated(void **state)
{
	struct test_pager *pager;
	uint8_t *p = alloc_pages(&pager), *filler;
	pthread_t thread;
	void *byte;

	(void)state;
	assert_int_equal(p[0], pg_byte_at(pager, 0));
	/* Its stack is a mapping too. */
	atomic_store(&pager->hold, true);
	assert_int_equal(pthread_create(&thread, NULL, read_byte, p + 9 * PAGE), 0);
	AWAIT(atomic_load(&pager->inside) != 0);
	filler = fill_mappings(0);
	atomic_store(&pager->hold, false);
	if (filler != NULL) {
		AWAIT(atomic_load(&pg.nb_reports) != 0);
		munmap(filler, FILLER_PAGES * PAGE);
		assert_int_equal(atomic_load(&pg.error), -ENOMEM);
	}
	assert_int_equal(pthread_join(thread, &byte), 0);
	assert_int_equal((uintptr_t)byte, pg_byte_at(pager, 9 * PAGE));
	if (filler == NULL)
		test_skip("vm.max_map_count is larger than this test's filler");
}

static const struct CMUnitTest tests[] = {
	PG_TEST(test_other_faults_go_to_the_handler_before),
	PG_TEST(test_a_wild_access_ends_the_process_as_without_the_handler),
	PG_TEST(test_accesses_end_with_few_mappings_left),
	PG_TEST(test_an_access_without_any_mapping_left_is_reported_and_repeated),
};
TEST_SUITE(mmem_traps, tests, pg_set_traps, pg_set_no_traps);
