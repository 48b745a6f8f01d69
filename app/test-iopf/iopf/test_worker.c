/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Workers on an IOMMU made of arrays: idle workers sleep, no deferred fault waits while a worker
 * sleeps, and a taken group can be deferred again.
 */

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "array_iommu.h"
#include "iopf_handler.h"
#include "iopf_stats.h"
#include "iopf_iommu.h"
#include "mmem.h"
#include "slot.h"
#include "smmuv3_model.h"
#include "test.h"
#include "worker.h"

#define SID		8
#define PATIENCE_S	30

static struct {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	struct iopf_worker *worker;
	struct iopf_poller *poller;
	enum iopf_verdict verdict;
	enum iopf_verdict (*_Atomic deferred)(const struct iopf_group *group);
	_Atomic unsigned int called;
	_Atomic uint64_t id;		/* of the last group */
	_Atomic bool hold;
} t;

static enum iopf_verdict
fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	atomic_store(&t.id, group->id);
	return t.verdict;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	enum iopf_verdict (*f)(const struct iopf_group *group) = atomic_load(&t.deferred);

	(void)domain;
	(void)ctx;
	assert_int_equal(group->nb_faults, 1);
	assert_ptr_equal(group->dev, t.dev);
	atomic_store(&t.id, group->id);
	atomic_fetch_add(&t.called, 1);
	return f != NULL ? f(group) : IOPF_ANSWER(IOPF_SUCCESS);
}

static int
setup_threads(unsigned int nb_threads)
{
	const uint32_t sid = SID;

	memset(&t, 0, sizeof(t));
	array_iommu_reset();
	t.verdict = IOPF_DEFER;
	t.iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(t.iommu);
	t.worker = iopf_worker_create(&(struct iopf_worker_conf){ .nb_threads = nb_threads });
	assert_non_null(t.worker);
	t.dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(t.dev);
	t.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = fast,
			.deferred = deferred, .worker = t.worker });
	assert_non_null(t.domain);
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
	t.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_threads(1);
}

static int
setup_three(void **state)
{
	(void)state;
	return setup_threads(3);
}

static int
teardown(void **state)
{
	(void)state;
	atomic_store(&t.hold, false);
	assert_int_equal(0, iopf_dev_remove(t.dev));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	assert_int_equal(0, iopf_domain_destroy(t.domain));
	assert_int_equal(0, iopf_worker_destroy(t.worker));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	return 0;
}

static void
put_stall(uint16_t stag)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = IOPF_NO_PASID, .token = stag, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
}

#define AWAIT(condition) do {						\
	uint64_t end_ = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();	\
									\
	while (!(condition)) {						\
		assert_true(rte_rdtsc() < end_);			\
		iopf_poll(t.poller);					\
		sched_yield();						\
	}								\
} while (0)

/*
 * Sleep
 */

/* Context switches of the threads with this name so far; UINT64_MAX without one. */
static uint64_t
count_switches(const char *name)
{
	char path[300], line[128], comm[32];
	DIR *dir = opendir("/proc/self/task");
	uint64_t sum = 0, n;
	unsigned int found = 0;
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
			if (strcmp(comm, name) == 0 &&
					(sscanf(line, "voluntary_ctxt_switches: %ju", &n) == 1 ||
					sscanf(line, "nonvoluntary_ctxt_switches: %ju", &n) == 1)) {
				sum += n;
				found++;
			}
		}
		fclose(f);
	}
	closedir(dir);
	return found != 0 ? sum : UINT64_MAX;
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
	} while (now != before);
	assert_true(now != UINT64_MAX);
}

static void
idle_workers_sleep(void **state)
{
	(void)state;
	expect_rest("iopf-worker");
	/* Also after each thread has worked. */
	for (unsigned int i = 0; i < 16; i++)
		put_stall(i);
	AWAIT(hw.nb_out == 16);
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
			put_stall(i);
			if (round % 2)
				iopf_poll(t.poller);
		}
		/* Poll only the faults put here: the answers must come without another fault. */
		while (iopf_poll(t.poller) != 0)
			;
		AWAIT(hw.nb_out == n);
		/*
		 * Vary the delay, so that the next fault finds the worker looking, going to sleep
		 * or asleep.
		 */
		for (i = 0; i < round * 7 % 2048; i++)
			rte_pause();
	}
}

static enum iopf_verdict
wait_for_release(const struct iopf_group *group)
{
	(void)group;
	while (atomic_load(&t.hold))
		usleep(100);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static int
count_posts(void)
{
	int n;

	assert_int_equal(0, sem_getvalue(&t.worker->wake, &n));
	return n;
}

/* sem_post() is the only system call of the poll thread. */
static void
a_worker_that_is_awake_is_not_woken(void **state)
{
	(void)state;
	atomic_store(&t.deferred, wait_for_release);
	atomic_store(&t.hold, true);
	put_stall(0);
	AWAIT(atomic_load(&t.called) == 1);
	assert_int_equal(0, atomic_load(&t.worker->nb_asleep));
	for (unsigned int i = 1; i < 16; i++) {
		put_stall(i);
		assert_int_equal(1, iopf_poll(t.poller));
	}
	assert_int_equal(0, count_posts());
	atomic_store(&t.hold, false);
	AWAIT(hw.nb_out == 16);
	/* A sleeping worker is woken once for any number of faults. */
	AWAIT(atomic_load(&t.worker->nb_asleep) == 1);
	atomic_store(&t.hold, true);
	for (unsigned int i = 0; i < 16; i++)
		put_stall(i);
	assert_int_equal(16, iopf_poll(t.poller));
	assert_int_equal(0, atomic_load(&t.worker->nb_asleep));
	assert_in_range(count_posts(), 0, 1);
	atomic_store(&t.hold, false);
	AWAIT(hw.nb_out == 32);
}

/*
 * Repeated deferral
 */

static enum iopf_verdict
take(const struct iopf_group *group)
{
	(void)group;
	return atomic_load(&t.called) < 3 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_taken_group_can_be_deferred_again(void **state)
{
	(void)state;
	atomic_store(&t.deferred, take);
	t.verdict = IOPF_TAKEN;
	put_stall(7);
	AWAIT(atomic_load(&t.id) != 0);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_int_equal(1, iopf_domain_pending(t.domain));
		assert_int_equal(0, hw.nb_out);
		assert_int_equal(0, iopf_group_defer(atomic_load(&t.id)));
		AWAIT(atomic_load(&t.called) == i);
	}
	AWAIT(hw.nb_out == 1);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(7, hw.out[0].answer.token);
	AWAIT(iopf_group_defer(atomic_load(&t.id)) == -ESTALE);
	assert_int_equal(0, iopf_domain_pending(t.domain));
	assert_int_equal(-ESTALE, iopf_group_defer(0));
	assert_int_equal(-ESTALE, iopf_group_defer(UINT64_MAX));
}

/* Defer the group before its handler returns: the handler is called again afterwards. */
static enum iopf_verdict
defer_inside(const struct iopf_group *group)
{
	static _Atomic unsigned int inside;
	unsigned int n = atomic_load(&t.called);

	assert_int_equal(1, atomic_fetch_add(&inside, 1) + 1);
	if (n == 1) {
		assert_int_equal(0, iopf_group_defer(group->id));
		/* Some time before the return, or right before it. */
		if (IOPF_ID_GEN(group->id) % 16 == 0)
			usleep(2000);
	}
	atomic_fetch_sub(&inside, 1);
	return n == 1 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_group_is_deferred_again_before_its_handler_returns(void **state)
{
	(void)state;
	atomic_store(&t.deferred, defer_inside);
	for (unsigned int i = 0; i < 1000 * test_scale(); i++) {
		atomic_store(&t.called, 0);
		atomic_store(&hw.nb_out, 0);
		put_stall(i);
		AWAIT(hw.nb_out == 1);
		assert_int_equal(2, atomic_load(&t.called));
	}
}

static enum iopf_verdict
defer_and_wait(const struct iopf_group *group)
{
	if (atomic_load(&t.called) != 1)
		return IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(0, iopf_group_defer(group->id));
	wait_for_release(group);
	return IOPF_TAKEN;
}

/* A thread looks again once in a millisecond at most, however long the handler needs. */
static void
workers_sleep_while_a_handler_has_the_group(void **state)
{
	uint64_t hz = rte_get_tsc_hz(), begin, n, ms;

	(void)state;
	atomic_store(&t.deferred, defer_and_wait);
	atomic_store(&t.hold, true);
	put_stall(1);
	AWAIT(atomic_load(&t.worker->nb_put_back) != 0);
	begin = rte_rdtsc();
	n = atomic_load(&t.worker->nb_put_back);
	usleep(200000);
	n = atomic_load(&t.worker->nb_put_back) - n;
	/* Of three threads one has the handler. Each of the two others may begin in between. */
	ms = (rte_rdtsc() - begin) / (hz / 1000) + 1;
	assert_in_range(n, 1, 2 * ms + 2);
	/* A thread that sleeps so serves new faults. */
	put_stall(2);
	AWAIT(hw.nb_out == 1);
	assert_int_equal(2, hw.out[0].answer.token);
	atomic_store(&t.hold, false);
	AWAIT(hw.nb_out == 2);
	assert_int_equal(3, atomic_load(&t.called));
}

static enum iopf_verdict
take_always(const struct iopf_group *group)
{
	(void)group;
	while (atomic_load(&t.hold))
		usleep(100);
	return IOPF_TAKEN;
}

/* A detach ends a group in any of these states, and its id is stale afterwards. */
static void
a_group_that_is_deferred_again_ends_with_a_detach(void **state)
{
	uint64_t id;

	(void)state;
	atomic_store(&t.deferred, take_always);
	put_stall(1);
	AWAIT(atomic_load(&t.called) == 1);
	id = atomic_load(&t.id);
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(0, iopf_group_defer(id));
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-ESTALE, iopf_group_defer(id));
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
	/* The worker works as before. */
	atomic_store(&t.deferred, NULL);
	put_stall(2);
	AWAIT(hw.nb_out == 2);
}

static void
group_defer_without_a_deferred_handler_is_refused(void **state)
{
	struct iopf_domain *plain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = fast });

	(void)state;
	assert_non_null(plain);
	t.verdict = IOPF_TAKEN;
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(plain, t.dev, IOPF_NO_PASID));
	put_stall(1);
	AWAIT(atomic_load(&t.id) != 0);
	assert_int_equal(-EINVAL, iopf_group_defer(atomic_load(&t.id)));
	assert_int_equal(0, iopf_group_respond(atomic_load(&t.id), IOPF_SUCCESS));
	assert_int_equal(0, iopf_domain_detach(plain, t.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(plain));
}

/* Other threads defer the group repeatedly while it is answered or detached and its slot reused. */
static _Atomic bool quit;

static void *
defer_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&quit))
		iopf_group_defer(atomic_load(&t.id));
	return NULL;
}

static enum iopf_verdict
take_sometimes(const struct iopf_group *group)
{
	return group->id % 3 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
}

static void
repeated_deferral_races_with_answer_and_detach(void **state)
{
	unsigned int rounds = 500 * test_scale();
	pthread_t thread[2];

	(void)state;
	atomic_store(&quit, false);
	atomic_store(&t.deferred, take_sometimes);
	for (unsigned int i = 0; i < RTE_DIM(thread); i++)
		assert_int_equal(0, pthread_create(&thread[i], NULL, defer_main, NULL));
	for (unsigned int round = 0; round < rounds; round++) {
		atomic_store(&hw.nb_out, 0);
		put_stall(round);
		put_stall(round + 1);
		while (iopf_poll(t.poller) != 0)
			;
		if (round % 3 == 0)
			iopf_group_respond(atomic_load(&t.id), IOPF_SUCCESS);
		if (round % 2 == 0) {
			atomic_store(&t.deferred, NULL);
			AWAIT(iopf_group_defer(atomic_load(&t.id)) == -ESTALE);
			atomic_store(&t.deferred, take_sometimes);
		}
		assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
		assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
		/* One answer each. */
		assert_int_equal(2, hw.nb_out);
	}
	atomic_store(&quit, true);
	for (unsigned int i = 0; i < RTE_DIM(thread); i++)
		assert_int_equal(0, pthread_join(thread[i], NULL));
}

/*
 * Lifetimes
 */

static void
an_iommu_that_reaches_memory_is_not_closed(void **state)
{
	struct smmuv3_model *model;
	struct mmem_space *space;
	struct iopf_iommu *smmu;
	struct mmem_pool *pool;
	static uint8_t page[2 * 4096] __attribute__((aligned(4096)));
	uint64_t addr;

	(void)state;
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "lives" });
	smmu = iopf_iommu_open("smmuv3,model=lives");
	assert_non_null(smmu);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu, .size = 8 << 20,
			.no_hugepages = true });
	assert_non_null(pool);
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	assert_non_null(space);
	rte_log_set_level_pattern("lib.*", RTE_LOG_EMERG);
	assert_int_equal(-EBUSY, iopf_iommu_close(smmu));
	assert_int_equal(EBUSY, rte_errno);
	assert_int_equal(-EBUSY, mmem_pool_destroy(pool));
	assert_int_equal(0, mmem_space_destroy(space));
	assert_int_equal(-EBUSY, iopf_iommu_close(smmu));
	assert_int_equal(0, mmem_pool_destroy(pool));
	assert_int_equal(0, iopf_dma_map(smmu, page, 4096, &addr));
	assert_int_equal(-EEXIST, iopf_dma_map(smmu, page, 4096, &(uint64_t){ 0 }));
	assert_int_equal(-EBUSY, iopf_iommu_close(smmu));
	assert_int_equal(0, iopf_dma_unmap(smmu, page, 4096, addr));
	rte_log_set_level_pattern("lib.*", RTE_LOG_INFO);
	assert_int_equal(0, iopf_iommu_close(smmu));
	smmuv3_model_destroy(model);
	/* A worker and a domain in use are not destroyed either. */
	assert_int_equal(-EBUSY, iopf_worker_destroy(t.worker));
	rte_log_set_level_pattern("lib.*", RTE_LOG_EMERG);
	assert_int_equal(-EBUSY, iopf_domain_destroy(t.domain));
	rte_log_set_level_pattern("lib.*", RTE_LOG_INFO);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define THREE_TEST(f) { #f "_of_three_threads", f, setup_three, teardown, NULL }

static const struct CMUnitTest tests[] = {
	RIG_TEST(idle_workers_sleep),
	THREE_TEST(idle_workers_sleep),
	RIG_TEST(idle_spaces_sleep),
	RIG_TEST(no_fault_is_left_beside_a_sleeping_worker),
	THREE_TEST(no_fault_is_left_beside_a_sleeping_worker),
	RIG_TEST(a_worker_that_is_awake_is_not_woken),
	RIG_TEST(a_taken_group_can_be_deferred_again),
	RIG_TEST(a_group_is_deferred_again_before_its_handler_returns),
	THREE_TEST(a_group_is_deferred_again_before_its_handler_returns),
	THREE_TEST(workers_sleep_while_a_handler_has_the_group),
	RIG_TEST(a_group_that_is_deferred_again_ends_with_a_detach),
	RIG_TEST(group_defer_without_a_deferred_handler_is_refused),
	RIG_TEST(repeated_deferral_races_with_answer_and_detach),
	THREE_TEST(repeated_deferral_races_with_answer_and_detach),
	RIG_TEST(an_iommu_that_reaches_memory_is_not_closed),
};
TEST_SUITE(worker, tests, NULL, NULL);
