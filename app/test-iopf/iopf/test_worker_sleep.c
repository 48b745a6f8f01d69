/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Idle workers sleep, and no deferred fault waits while a worker sleeps. */

#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_pause.h>

#include "iopf_handler.h"
#include "mmem.h"
#include "smmuv3_model.h"
#include "test.h"
#include "worker.h"
#include "worker_rig.h"

/*
 * Context switches of the threads with this name so far. UINT64_MAX if one of them is not asleep,
 * or if there is none. A thread that is asleep twice, with no switch between, has not run between.
 */
static uint64_t
count_switches(const char *name)
{
	char path[300], line[128], comm[32], run;
	DIR *dir = opendir("/proc/self/task");
	uint64_t sum = 0, n;
	unsigned int found = 0, asleep = 0;
	struct dirent *task;
	FILE *f;

	assert_non_null(dir);
	while ((task = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
		f = task->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (f == NULL)
			continue;
		comm[0] = 0;
		while (fgets(line, sizeof(line), f) != NULL) {
			sscanf(line, "Name: %31s", comm);
			if (strcmp(comm, name) != 0)
				continue;
			if (sscanf(line, "State: %c", &run) == 1) {
				found++;
				asleep += run == 'S';
			}
			if (sscanf(line, "voluntary_ctxt_switches: %ju", &n) == 1 ||
					sscanf(line, "nonvoluntary_ctxt_switches: %ju", &n) == 1)
				sum += n;
		}
		fclose(f);
	}
	closedir(dir);
	return found != 0 && asleep == found ? sum : UINT64_MAX;
}

/* Wait until the threads with this name do not run for a while. */
static void
expect_rest(const char *name)
{
	uint64_t end = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
	uint64_t before, now = count_switches(name);

	do {
		assert_true(rte_rdtsc() < end);
		before = now;
		usleep(100000);
		now = count_switches(name);
	} while (now != before || now == UINT64_MAX);
}

static void
idle_workers_sleep(void **state)
{
	(void)state;
	expect_rest("iopf-worker");
	/* Also after each thread has worked. */
	for (unsigned int i = 0; i < 16; i++)
		wk_put_stall(i);
	WK_AWAIT(hw.nb_out == 16);
	expect_rest("iopf-worker");
}

static void
idle_spaces_sleep(void **state)
{
	struct mmem_space *space[32];
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct mmem_pool *pool;
	void *p;

	(void)state;
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "idle" });
	smmu = iopf_iommu_open("smmuv3,model=idle");
	assert_non_null(smmu);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu, .size = 64 << 20,
			.ahead = 2, .no_hugepages = true });
	assert_non_null(pool);
	for (unsigned int i = 0; i < RTE_DIM(space); i++) {
		space[i] = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
		assert_non_null(space[i]);
	}
	expect_rest("iopf-worker");
	/* Also with a region that is populated in part. */
	p = mmem_alloc(space[0], 32 << 20, MMEM_READ);
	assert_non_null(p);
	assert_int_equal(0, mmem_resolve(space[0], (uintptr_t)p, IOPF_PERM_READ));
	expect_rest("mmem-ahead");
	for (unsigned int i = 0; i < RTE_DIM(space); i++)
		assert_int_equal(0, mmem_space_destroy(space[i]));
	assert_int_equal(0, mmem_pool_destroy(pool));
	assert_int_equal(0, iopf_iommu_close(smmu));
	smmuv3_model_destroy(model);
}

/* A fault can come at any point while a worker goes to sleep: the worker handles it. */
static void
no_fault_is_left_beside_a_sleeping_worker(void **state)
{
	unsigned int rounds = 2000 * test_scale(), n, i;

	(void)state;
	for (unsigned int round = 0; round < rounds; round++) {
		atomic_store(&hw.nb_out, 0);
		n = 1 + round % 5;
		for (i = 0; i < n; i++) {
			wk_put_stall(i);
			if (round % 2)
				iopf_poll(wk.poller);
		}
		/* Poll only the faults put here: the answers must come without another fault. */
		while (iopf_poll(wk.poller) != 0)
			;
		WK_AWAIT(hw.nb_out == n);
		/*
		 * Vary the delay, so that the next fault finds the worker looking, going to sleep
		 * or asleep.
		 */
		for (i = 0; i < round * 7 % 2048; i++)
			rte_pause();
	}
}

static int
count_posts(void)
{
	int n;

	assert_int_equal(0, sem_getvalue(&wk.worker->wake, &n));
	return n;
}

/* sem_post() is the only system call of the poll thread. */
static void
a_worker_that_is_awake_is_not_woken(void **state)
{
	(void)state;
	atomic_store(&wk.deferred, wk_wait_for_release);
	atomic_store(&wk.hold, true);
	wk_put_stall(0);
	WK_AWAIT(atomic_load(&wk.called) == 1);
	assert_int_equal(0, atomic_load(&wk.worker->nb_asleep));
	for (unsigned int i = 1; i < 16; i++) {
		wk_put_stall(i);
		assert_int_equal(1, iopf_poll(wk.poller));
	}
	assert_int_equal(0, count_posts());
	atomic_store(&wk.hold, false);
	WK_AWAIT(hw.nb_out == 16);
	/* A sleeping worker is woken once for any number of faults. */
	WK_AWAIT(atomic_load(&wk.worker->nb_asleep) == 1);
	atomic_store(&wk.hold, true);
	for (unsigned int i = 0; i < 16; i++)
		wk_put_stall(i);
	assert_int_equal(16, iopf_poll(wk.poller));
	assert_int_equal(0, atomic_load(&wk.worker->nb_asleep));
	assert_in_range(count_posts(), 0, 1);
	atomic_store(&wk.hold, false);
	WK_AWAIT(hw.nb_out == 32);
}

static enum iopf_verdict
defer_and_wait(const struct iopf_group *group)
{
	if (atomic_load(&wk.called) != 1)
		return IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(0, iopf_group_defer(group->id));
	wk_wait_for_release(group);
	return IOPF_TAKEN;
}

/* A thread looks again once in a millisecond at most, however long the handler needs. */
static void
workers_sleep_while_a_handler_has_the_group(void **state)
{
	uint64_t hz = rte_get_tsc_hz(), begin, first, n, ms;

	(void)state;
	atomic_store(&wk.deferred, defer_and_wait);
	atomic_store(&wk.hold, true);
	wk_put_stall(1);
	WK_AWAIT(atomic_load(&wk.worker->nb_put_back) != 0);
	begin = rte_rdtsc();
	first = atomic_load(&wk.worker->nb_put_back);
	usleep(200000);
	WK_AWAIT(atomic_load(&wk.worker->nb_put_back) != first);
	n = atomic_load(&wk.worker->nb_put_back) - first;
	/* Of three threads one has the handler. Each of the two others may begin in between. */
	ms = (rte_rdtsc() - begin) / (hz / 1000) + 1;
	assert_in_range(n, 1, 2 * ms + 2);
	/* A thread that sleeps so serves new faults. */
	wk_put_stall(2);
	WK_AWAIT(hw.nb_out == 1);
	assert_int_equal(2, hw.out[0].answer.token);
	atomic_store(&wk.hold, false);
	WK_AWAIT(hw.nb_out == 2);
	assert_int_equal(3, atomic_load(&wk.called));
}

static const struct CMUnitTest tests[] = {
	WK_TEST(idle_workers_sleep),
	WK_TEST_THREE(idle_workers_sleep),
	WK_TEST(idle_spaces_sleep),
	WK_TEST(no_fault_is_left_beside_a_sleeping_worker),
	WK_TEST_THREE(no_fault_is_left_beside_a_sleeping_worker),
	WK_TEST(a_worker_that_is_awake_is_not_woken),
	WK_TEST_THREE(workers_sleep_while_a_handler_has_the_group),
};

TEST_SUITE(worker_sleep, tests, NULL, NULL);
