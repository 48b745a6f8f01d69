/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 2: no lock, no allocation, no system call and no CPU page fault between the event queue
 * and the answer. The test counts them: it interposes the allocation and locking functions of libc,
 * catches system calls by the syscall user dispatch of the kernel, and reads the page fault count
 * of the kernel.
 */

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>

#include <rte_common.h>

#include "interpose.h"
#include "iopf.h"
#include "mmem.h"
#include "pcie_rig.h"
#include "smmuv3_model.h"
#include "test.h"

#define SID	3
#define PAGE	4096
#define PAGES	2048

/*
 * The counters
 */

static unsigned int nb_syscalls, nb_page_faults;
static bool can_watch_syscalls;

#if defined(__x86_64__) && !defined(INTERPOSE_OFF)
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH	59
#define PR_SYS_DISPATCH_OFF		0
#define PR_SYS_DISPATCH_ON		1
#endif
#define SYSCALL_INSN_SIZE 2

/* 1: the kernel sends SIGSYS instead of making the call. */
static char selector;

static void
on_syscall(int sig, siginfo_t *info, void *arg)
{
	ucontext_t *uc = arg;

	(void)sig;
	(void)info;
	nb_syscalls++;
	/* Make the call and stop watching: one call fails the test. */
	selector = 0;
	uc->uc_mcontext.gregs[REG_RIP] -= SYSCALL_INSN_SIZE;
}

static void
watch_syscalls(bool on)
{
	struct sigaction action = { .sa_sigaction = on_syscall, .sa_flags = SA_SIGINFO };

	if (on) {
		sigaction(SIGSYS, &action, NULL);
		can_watch_syscalls = prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0,
				&selector) == 0;
	} else {
		prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
		signal(SIGSYS, SIG_DFL);
	}
}
#else
static char selector;

static void
watch_syscalls(bool on)
{
	(void)on;
}
#endif

static long
page_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static unsigned int
watched_poll(struct iopf_poller *poller)
{
	long faults = page_faults();
	unsigned int n;

	interpose_watch(true);
	selector = can_watch_syscalls;
	n = iopf_poll(poller);
	selector = 0;
	interpose_watch(false);
	nb_page_faults += page_faults() - faults;
	return n;
}

/*
 * The path
 */

static struct {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;
	unsigned int group;		/* pages of one access */
	unsigned int window;		/* of the space; 0: the default */
	struct pcie_fn fn;
	char *buf;
} t;

static void
bring_up(const struct smmuv3_model_conf *model_conf, struct iopf_dev_conf *dev_conf,
		const struct smmuv3_model_dma_conf *dma_conf)
{
	static const uint32_t sid = SID;

	t.model = smmuv3_model_create(model_conf);
	assert_non_null(t.model);
	t.iommu = iopf_iommu_open("smmuv3,model=hotpath");
	assert_non_null(t.iommu);
	dev_conf->sids = &sid;
	dev_conf->nb_sids = 1;
	t.dev = iopf_dev_add(t.iommu, dev_conf);
	assert_non_null(t.dev);
	t.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = t.iommu,
			.size = 64 << 20 });
	assert_non_null(t.pool);
	t.space = mmem_space_create(&(struct mmem_space_conf){ .pool = t.pool,
			.window = t.window });
	assert_non_null(t.space);
	t.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	t.dma = smmuv3_model_dma_create(t.model, dma_conf);
	assert_non_null(t.dma);
	t.fn.dma[0] = t.dma;
	assert_int_equal(0, mmem_attach(t.space, t.dev, IOPF_NO_PASID));
}

static int
setup_window(unsigned int window)
{
	t.group = 1;
	t.window = window;
	bring_up(&(struct smmuv3_model_conf){ .name = "hotpath" }, &(struct iopf_dev_conf){
			.recover = IOPF_STALL }, &(struct smmuv3_model_dma_conf){ .sid = SID });
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_window(1);
}

static int
setup_streams(void **state)
{
	(void)state;
	return setup_window(0);
}

static int
setup_pri(unsigned int group)
{
	t.group = group;
	t.window = 1;
	t.fn = (struct pcie_fn){ .silent = true };
	bring_up(&(struct smmuv3_model_conf){ .name = "hotpath",
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI },
		&(struct iopf_dev_conf){ .recover = IOPF_PRI, .pci = &pcie_fn_ops, .ctx = &t.fn },
		&(struct smmuv3_model_dma_conf){ .sid = SID, .kind = SMMUV3_MODEL_DMA_ATS,
			.group_pages = group });
	return 0;
}

static int
setup_requests(void **state)
{
	(void)state;
	return setup_pri(1);
}

static int
setup_groups(void **state)
{
	(void)state;
	return setup_pri(16);
}

static int
setup_small_groups(void **state)
{
	(void)state;
	/* A handler can queue four invalidations in front of its answer. */
	return setup_pri(4);
}

static int
teardown(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_dev_remove(t.dev));
	smmuv3_model_dma_destroy(t.dma);
	assert_int_equal(0, mmem_space_destroy(t.space));
	assert_int_equal(0, mmem_pool_destroy(t.pool));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	assert_int_equal(0, smmuv3_model_driver_errors(t.model));
	assert_int_equal(0, smmuv3_model_oracle_errors(t.model));
	smmuv3_model_destroy(t.model);
	return 0;
}

/* Access n pages, t.group pages at a time, served by watched polls. */
static void
access_pages(unsigned int first, unsigned int n, enum smmuv3_model_op_type type)
{
	static char data[16 * PAGE];
	unsigned int done = 0;

	for (unsigned int i = 0; i < n; i += t.group) {
		unsigned int pages = RTE_MIN(t.group, n - i);

		assert_int_equal(0, smmuv3_model_dma_submit(t.dma, &(struct smmuv3_model_op){
				.type = type, .addr = (uintptr_t)t.buf + (first + i) * PAGE,
				.buf = data, .len = (pages - 1) * PAGE + 64 }));
	}
	n = (n + t.group - 1) / t.group;
	while (done < n) {
		struct smmuv3_model_done d[64];
		unsigned int got;

		while (smmuv3_model_step(t.model, 64) != 0)
			;
		watched_poll(t.poller);
		while (smmuv3_model_step(t.model, 64) != 0)
			;
		got = smmuv3_model_dma_poll(t.dma, d, 64);
		for (unsigned int i = 0; i < got; i++)
			assert_int_equal(SMMUV3_MODEL_OK, d[i].status);
		done += got;
	}
}

static void
check_path(unsigned int flags, enum smmuv3_model_op_type first, enum smmuv3_model_op_type second)
{
	t.buf = mmem_alloc(t.space, PAGES * PAGE, MMEM_READ | MMEM_WRITE | flags);
	assert_non_null(t.buf);
	/* The first use of each function binds its symbol and faults in its pages. */
	access_pages(0, 64, first);
	access_pages(0, 64, second);

	interpose_allocs = interpose_locks = nb_syscalls = nb_page_faults = 0;
	watch_syscalls(true);
	for (unsigned int i = 64; i < PAGES; i += 64) {
		/* Single pages, then many at once. */
		for (unsigned int k = 0; k < 16; k++)
			access_pages(i + k, 1, first);
		access_pages(i + 16, 48, first);
		access_pages(i, 64, second);
	}
	watch_syscalls(false);
#ifndef INTERPOSE_OFF
	/* A sanitizer allocates, locks and faults itself. */
	assert_int_equal(0, interpose_allocs);
	assert_int_equal(0, interpose_locks);
	assert_int_equal(0, nb_syscalls);
	assert_int_equal(0, nb_page_faults);
#endif
	assert_int_equal(PAGES, mmem_stat(t.space, MMEM_STAT_MAPPED) +
			mmem_stat(t.space, MMEM_STAT_AHEAD));
	assert_int_equal(0, mmem_stat(t.space, MMEM_STAT_DEFERRED));
	assert_int_equal(0, mmem_free(t.space, t.buf));
}

static void
the_counters_see_each_call(void **state)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	void *volatile p;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizers interpose the same functions");
#endif
	interpose_allocs = interpose_locks = nb_syscalls = 0;
	watch_syscalls(true);
	interpose_watch(true);
	p = malloc(10);
	free(p);
	pthread_mutex_lock(&mutex);
	selector = can_watch_syscalls;
	(void)getppid();
	selector = 0;
	interpose_watch(false);
	pthread_mutex_unlock(&mutex);
	watch_syscalls(false);
	assert_int_equal(2, interpose_allocs);
	assert_int_equal(1, interpose_locks);
	if (!can_watch_syscalls)
		test_skip("this kernel or processor has no syscall user dispatch");
	assert_int_equal(1, nb_syscalls);
}

static void
pages_are_mapped_without_lock_or_syscall(void **state)
{
	(void)state;
	check_path(MMEM_POPULATE, SMMUV3_MODEL_WRITE, SMMUV3_MODEL_READ);
}

static void
pages_are_upgraded_without_lock_or_syscall(void **state)
{
	(void)state;
	check_path(MMEM_POPULATE | MMEM_TRACK_WRITES, SMMUV3_MODEL_READ, SMMUV3_MODEL_WRITE);
	assert_int_equal(PAGES, mmem_stat(t.space, MMEM_STAT_UPGRADED));
}

static void
pages_are_mapped_ahead_without_lock_or_syscall(void **state)
{
	(void)state;
	check_path(MMEM_POPULATE, SMMUV3_MODEL_WRITE, SMMUV3_MODEL_READ);
	assert_true(mmem_stat(t.space, MMEM_STAT_AHEAD) > PAGES / 2);
}

static void
page_requests_are_served_without_lock_or_syscall(void **state)
{
	(void)state;
	check_path(MMEM_POPULATE, SMMUV3_MODEL_WRITE, SMMUV3_MODEL_READ);
}

static void
page_requests_upgrade_pages_without_lock_or_syscall(void **state)
{
	(void)state;
	check_path(MMEM_POPULATE | MMEM_TRACK_WRITES, SMMUV3_MODEL_READ, SMMUV3_MODEL_WRITE);
	assert_int_equal(PAGES, mmem_stat(t.space, MMEM_STAT_UPGRADED));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_counters_see_each_call),
	cmocka_unit_test_setup_teardown(pages_are_mapped_without_lock_or_syscall, setup, teardown),
	cmocka_unit_test_setup_teardown(pages_are_upgraded_without_lock_or_syscall, setup,
			teardown),
	cmocka_unit_test_setup_teardown(pages_are_mapped_ahead_without_lock_or_syscall,
			setup_streams, teardown),
	cmocka_unit_test_setup_teardown(page_requests_are_served_without_lock_or_syscall,
			setup_requests, teardown),
	{ "page_request_groups_are_served_without_lock_or_syscall",
			page_requests_are_served_without_lock_or_syscall, setup_groups, teardown,
			NULL },
	cmocka_unit_test_setup_teardown(page_requests_upgrade_pages_without_lock_or_syscall,
			setup_small_groups, teardown),
};
TEST_SUITE(hotpath, tests, NULL, NULL);
