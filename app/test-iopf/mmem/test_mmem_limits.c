/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Managed memory in a process that has limits, forks, or ends without tearing down. Each case
 * is a process of its own: this program again, with the name of the case in IOPF_TEST_CHILD,
 * which the suite's setup runs in place of the tests.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "interpose.h"
#include "mmem.h"
#include "smmuv3_model.h"
#include "test.h"

#define CHILD		"IOPF_TEST_CHILD"
#define SID		8
#define RW		(MMEM_READ | MMEM_WRITE)
#define NOBODY		65534
/* A child that takes longer hangs. */
#define PATIENCE_S	120

/*
 * In the child. Exit codes: 0, as it must be; 2, not so; 77, this machine cannot show it.
 */

#define CHECK(condition) do {							\
	if (!(condition)) {							\
		fprintf(stderr, "%s:%d: not so: %s (rte_errno %d)\n", __FILE__,	\
				__LINE__, #condition, rte_errno);		\
		_exit(2);							\
	}									\
} while (0)

static struct {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;
	uint8_t *buf;
	size_t len;
	pthread_t thread;
	_Atomic bool quit;
} c;

static uint8_t data[64][4096];

static void *
poller_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&c.quit))
		if (iopf_poll(c.poller) == 0)
			sched_yield();
	return NULL;
}

static void
up(void)
{
	/* With a thread of its own. */
	c.smmu = iopf_iommu_open("smmuv3,model=limits");
	CHECK(c.smmu != NULL);
	c.model = smmuv3_model_lookup("limits");
	CHECK(c.model != NULL);
	c.poller = iopf_poller_create(NULL);
	CHECK(iopf_poller_add(c.poller, c.smmu, IOPF_QUEUE_ALL) == 0);
	CHECK(iopf_iommu_start(c.smmu) == 0);
	CHECK(pthread_create(&c.thread, NULL, poller_main, NULL) == 0);
}

static void
down(void)
{
	smmuv3_model_dma_destroy(c.dma);
	CHECK(iopf_dev_remove(c.dev) == 0);
	CHECK(mmem_space_destroy(c.space) == 0);
	CHECK(mmem_pool_destroy(c.pool) == 0);
	atomic_store(&c.quit, true);
	pthread_join(c.thread, NULL);
	CHECK(iopf_poller_destroy(c.poller) == 0);
	CHECK(iopf_iommu_stop(c.smmu) == 0);
	CHECK(iopf_iommu_close(c.smmu) == 0);
}

static struct mmem_pool *
make_pool(size_t size)
{
	return mmem_pool_create(&(struct mmem_pool_conf){ .iommu = c.smmu, .size = size,
			.no_hugepages = true });
}

static void
attach(void)
{
	const uint32_t sid = SID;

	c.space = mmem_space_create(&(struct mmem_space_conf){ .pool = c.pool });
	CHECK(c.space != NULL);
	c.dev = iopf_dev_add(c.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	CHECK(c.dev != NULL);
	CHECK(mmem_attach(c.space, c.dev, IOPF_NO_PASID) == 0);
	c.len = (size_t)48 << 20;
	c.buf = mmem_alloc(c.space, c.len, RW);
	CHECK(c.buf != NULL);
	c.dma = smmuv3_model_dma_create(c.model, &(struct smmuv3_model_dma_conf){
			.sid = SID, .depth = 4096 });
	CHECK(c.dma != NULL);
}

/* A pool that is there works. */
static void
works(void)
{
	attach();
	memset(data[0], 0x5a, sizeof(data[0]));
	CHECK(smmuv3_model_dma_write(c.dma, (uintptr_t)c.buf, data[0], sizeof(data[0])) == 0);
	CHECK(memcmp(c.buf, data[0], sizeof(data[0])) == 0);
	/* Used again it is zero. */
	CHECK(mmem_free(c.space, c.buf) == 0);
	CHECK(mmem_alloc(c.space, c.len, RW) == c.buf);
	CHECK(c.buf[0] == 0 && c.buf[4095] == 0);
	down();
}

static void
limit(int resource, rlim_t n)
{
	struct rlimit r;

	/* Not raised: that may be forbidden. */
	CHECK(getrlimit(resource, &r) == 0);
	n = RTE_MIN(n, r.rlim_max);
	CHECK(setrlimit(resource, &(struct rlimit){ n, n }) == 0);
}

/* Root is above some of them. */
static void
be_nobody(void)
{
	if (geteuid() == 0)
		CHECK(setuid(NOBODY) == 0);
}

static void
child_fsize(void)
{
	limit(RLIMIT_FSIZE, 1 << 20);
	up();
	c.pool = make_pool((size_t)64 << 20);
	CHECK(c.pool != NULL);
	works();
}

static void
child_nofile(void)
{
	up();
	while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		;
	c.pool = make_pool((size_t)64 << 20);
	CHECK(c.pool != NULL);
	attach();
	CHECK(mmem_map_file(c.space, "/proc/self/exe", 0, 4096, MMEM_READ) == NULL);
	CHECK(rte_errno == EMFILE);
	CHECK(smmuv3_model_dma_write(c.dma, (uintptr_t)c.buf, data[0], sizeof(data[0])) == 0);
	down();
}

static void
child_as(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	up();
	CHECK(f != NULL && fscanf(f, "%lu", &pages) == 1);
	limit(RLIMIT_AS, pages * sysconf(_SC_PAGESIZE) + ((rlim_t)512 << 20));
	CHECK(make_pool((size_t)4 << 30) == NULL);
	CHECK(rte_errno == ENOMEM);
	c.pool = make_pool((size_t)64 << 20);
	CHECK(c.pool != NULL);
	works();
}

static void
child_memlock(void)
{
	up();
	limit(RLIMIT_MEMLOCK, 16 << 20);
	be_nobody();
	if (mlockall(MCL_FUTURE) < 0)
		_exit(77);
	CHECK(make_pool((size_t)64 << 20) == NULL);
	CHECK(rte_errno == EAGAIN);
}

static void
child_onfault(void)
{
	up();
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		_exit(77);
	c.pool = make_pool((size_t)64 << 20);
	if (c.pool == NULL)
		_exit(77);
	works();
}

static void
child_nproc(void)
{
	up();
	be_nobody();
	limit(RLIMIT_NPROC, 1);
	CHECK(make_pool((size_t)64 << 20) == NULL);
	CHECK(rte_errno == EAGAIN);
}

/* The child of a fork ends, in whatever way; the parent's devices go on. */
static void
child_fork(void)
{
	int status, how;
	pid_t pid;

	up();
	c.pool = make_pool((size_t)64 << 20);
	CHECK(c.pool != NULL);
	attach();
	for (how = 0; how < 4; how++) {
		CHECK(smmuv3_model_dma_submit(c.dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .addr = (uintptr_t)c.buf + how * 4096,
				.buf = data[how], .len = 4096 }) == 0);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(PATIENCE_S);
			if (how == 0)
				exit(0);
			if (how == 1)
				_exit(0);
			if (how == 2)
				execl("/bin/true", "true", (char *)NULL);
			/* What it must not do, and what comes of it. */
			c.buf[0] = 1;
			_exit(1);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		if (how < 3)
			CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		else
			CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 1);
		CHECK(smmuv3_model_dma_write(c.dma, (uintptr_t)c.buf + (1 << 20), data[how],
				4096) == 0);
	}
	for (how = 0; how < 4;) {
		struct smmuv3_model_done done;

		if (smmuv3_model_dma_poll(c.dma, &done, 1) == 0)
			continue;
		CHECK(done.status == SMMUV3_MODEL_OK);
		how++;
	}
	down();
}

/*
 * Ends: DMA is under way, faults are deferred, a pager is at work.
 */

static int
fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	(void)ctx;
	usleep(2000);
	memset(dst, (int)(offset >> 12), len);
	return 0;
}

static unsigned int nb_submitted;

static void
dma(enum smmuv3_model_op_type type, uint8_t *addr, size_t len)
{
	CHECK(smmuv3_model_dma_submit(c.dma, &(struct smmuv3_model_op){ .type = type,
			.addr = (uintptr_t)addr, .buf = data[nb_submitted % 64], .len = len }) == 0);
	nb_submitted++;
}

static void
busy(void)
{
	uint8_t *paged;

	up();
	c.pool = make_pool((size_t)128 << 20);
	CHECK(c.pool != NULL);
	attach();
	paged = mmem_alloc_paged(c.space, (size_t)32 << 20, MMEM_READ,
			&(struct mmem_pager){ .fill = fill });
	CHECK(paged != NULL);
	for (size_t i = 0; i < 2000; i++) {
		dma(SMMUV3_MODEL_WRITE, c.buf + i * 16384, 4096);
		if (i % 100 == 0)
			dma(SMMUV3_MODEL_READ, paged + i * 8192, 64);
	}
	usleep(2000);
}

static void
child_exit(void)
{
	busy();
	exit(0);
}

/* Some DPDK applications do this and nothing else. */
static void
child_cleanup(void)
{
	busy();
	/* Device, model, poll thread and workers go on. */
	rte_eal_cleanup();
	usleep(20000);
	exit(0);
}

static void
on_signal(int sig)
{
	(void)sig;
	exit(0);
}

static void
child_signal(void)
{
	busy();
	signal(SIGUSR1, on_signal);
	pthread_kill(c.thread, SIGUSR1);
	for (;;)
		pause();
}

static void *
exit_main(void *arg)
{
	(void)arg;
	usleep(1000);
	exit(0);
}

static void
child_thread(void)
{
	pthread_t thread;

	busy();
	CHECK(pthread_create(&thread, NULL, exit_main, NULL) == 0);
	pthread_exit(NULL);
}

static void
child_kill(void)
{
	busy();
	raise(SIGTERM);
}

static const struct {
	const char *name;
	void (*run)(void);
} children[] = {
	{ "fsize", child_fsize },
	{ "nofile", child_nofile },
	{ "as", child_as },
	{ "memlock", child_memlock },
	{ "onfault", child_onfault },
	{ "nproc", child_nproc },
	{ "fork", child_fork },
	{ "exit", child_exit },
	{ "cleanup", child_cleanup },
	{ "signal", child_signal },
	{ "thread", child_thread },
	{ "kill", child_kill },
};

static int
suite_setup(void **state)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	const char *name = getenv(CHILD);
	unsigned int i;

	(void)state;
	if (name == NULL)
		return 0;
	/* cmocka's are for the test's own thread. */
	for (i = 0; i < RTE_DIM(crashes); i++)
		signal(crashes[i], SIG_DFL);
	alarm(PATIENCE_S);
	for (i = 0; i < RTE_DIM(children); i++)
		if (strcmp(children[i].name, name) == 0)
			children[i].run();
	_exit(i == 0);
}

/*
 * In the parent
 */

static char log_text[65536];

static void
append_option(const char *name, const char *option)
{
	const char *old = getenv(name);
	char text[1024];

	snprintf(text, sizeof(text), "%s%s%s", old != NULL ? old : "", old != NULL ? ":" : "",
			option);
	setenv(name, text, 1);
}

/* Run a case; what it logs is in log_text. */
static int
run_child(const char *name)
{
	int fds[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setenv(CHILD, name, 1);
		/* Nothing is torn down: that is the case. */
		append_option("ASAN_OPTIONS", "detect_leaks=0");
		append_option("TSAN_OPTIONS", "report_thread_leaks=0:report_signal_unsafe=0");
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		/* No files that it would leave behind. */
		execl("/proc/self/exe", "test-iopf", "--no-huge", "-m", "256", "--no-pci",
				"--no-shconf", "--no-telemetry", "--log-level=7", "--",
				"mmem_limits", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while ((n = read(fds[0], log_text + len, sizeof(log_text) - 1 - len)) > 0)
		len += n;
	log_text[len] = 0;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
expect_exit(const char *name)
{
	int status = run_child(name);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		test_skip("this process may not lock memory");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		print_error("%s\n", log_text);
		if (WIFSIGNALED(status))
			fail_msg("%s: ended by signal %d", name, WTERMSIG(status));
		fail_msg("%s: exit code %d", name, WEXITSTATUS(status));
	}
}

static void
expect_log(const char *text)
{
	if (strstr(log_text, text) == NULL)
		fail_msg("no \"%s\" in: %s", text, log_text);
}

static void
a_limit_of_file_size_does_not_apply(void **state)
{
	(void)state;
	expect_exit("fsize");
}

static void
a_pool_needs_no_file_and_a_file_names_the_limit(void **state)
{
	(void)state;
	expect_exit("nofile");
	expect_log("RLIMIT_NOFILE");
}

static void
a_limit_of_address_space_is_named(void **state)
{
	(void)state;
#ifdef __SANITIZE_THREAD__
	test_skip("ThreadSanitizer takes address space as it likes");
#endif
	expect_exit("as");
	expect_log("RLIMIT_AS");
}

static void
a_limit_of_locked_memory_is_named(void **state)
{
	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizers make mlockall() do nothing");
#endif
	expect_exit("memlock");
	expect_log("RLIMIT_MEMLOCK");
}

static void
memory_that_is_locked_on_fault_works(void **state)
{
	(void)state;
	expect_exit("onfault");
}

static void
a_limit_of_threads_is_named(void **state)
{
	(void)state;
	expect_exit("nproc");
	expect_log("RLIMIT_NPROC");
}

static void
a_child_of_fork_ends_and_the_devices_go_on(void **state)
{
	(void)state;
	expect_exit("fork");
}

static void
a_process_ends_by_exit(void **state)
{
	(void)state;
	expect_exit("exit");
}

static void
a_process_ends_behind_rte_eal_cleanup(void **state)
{
	(void)state;
	expect_exit("cleanup");
}

static void
a_process_ends_in_a_signal_handler_of_the_poll_thread(void **state)
{
	(void)state;
	expect_exit("signal");
}

static void
a_process_ends_after_its_main_thread(void **state)
{
	(void)state;
	expect_exit("thread");
}

static void
a_process_ends_by_a_signal(void **state)
{
	int status;

	(void)state;
	status = run_child("kill");
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_limit_of_file_size_does_not_apply),
	cmocka_unit_test(a_pool_needs_no_file_and_a_file_names_the_limit),
	cmocka_unit_test(a_limit_of_address_space_is_named),
	cmocka_unit_test(a_limit_of_locked_memory_is_named),
	cmocka_unit_test(memory_that_is_locked_on_fault_works),
	cmocka_unit_test(a_limit_of_threads_is_named),
	cmocka_unit_test(a_child_of_fork_ends_and_the_devices_go_on),
	cmocka_unit_test(a_process_ends_by_exit),
	cmocka_unit_test(a_process_ends_behind_rte_eal_cleanup),
	cmocka_unit_test(a_process_ends_in_a_signal_handler_of_the_poll_thread),
	cmocka_unit_test(a_process_ends_after_its_main_thread),
	cmocka_unit_test(a_process_ends_by_a_signal),
};
TEST_SUITE(mmem_limits, tests, suite_setup, NULL);
