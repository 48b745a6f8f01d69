/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_common.h>

#include "child_rig.h"
#include "test.h"

#define CHILD		"IOPF_TEST_CHILD"
#define SID		8

struct child child;

uint8_t child_data[64][4096];

static void *
poller_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&child.quit))
		if (iopf_poll(child.poller) == 0)
			sched_yield();
	return NULL;
}

void
child_open(void)
{
	/* The model has a thread of its own. */
	child.smmu = iopf_iommu_open("smmuv3,model=limits");
	CHECK(child.smmu != NULL);
	child.model = smmuv3_model_lookup("limits");
	CHECK(child.model != NULL);
	child.poller = iopf_poller_create(NULL);
	CHECK(iopf_poller_add(child.poller, child.smmu, IOPF_QUEUE_ALL) == 0);
	CHECK(iopf_iommu_start(child.smmu) == 0);
	CHECK(pthread_create(&child.thread, NULL, poller_main, NULL) == 0);
}

void
child_close(void)
{
	smmuv3_model_dma_destroy(child.dma);
	CHECK(iopf_dev_remove(child.dev) == 0);
	CHECK(mmem_space_destroy(child.space) == 0);
	CHECK(mmem_pool_destroy(child.pool) == 0);
	atomic_store(&child.quit, true);
	pthread_join(child.thread, NULL);
	CHECK(iopf_poller_destroy(child.poller) == 0);
	CHECK(iopf_iommu_stop(child.smmu) == 0);
	CHECK(iopf_iommu_close(child.smmu) == 0);
}

struct mmem_pool *
child_make_pool(size_t size)
{
	return mmem_pool_create(&(struct mmem_pool_conf){ .iommu = child.smmu, .size = size,
			.no_hugepages = true });
}

void
child_attach(void)
{
	const uint32_t sid = SID;

	child.space = mmem_space_create(&(struct mmem_space_conf){ .pool = child.pool });
	CHECK(child.space != NULL);
	child.dev = iopf_dev_add(child.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	CHECK(child.dev != NULL);
	CHECK(mmem_attach(child.space, child.dev, IOPF_NO_PASID) == 0);
	child.len = (size_t)48 << 20;
	child.buf = mmem_alloc(child.space, child.len, RW);
	CHECK(child.buf != NULL);
	child.dma = smmuv3_model_dma_create(child.model, &(struct smmuv3_model_dma_conf){
			.sid = SID, .depth = 4096 });
	CHECK(child.dma != NULL);
}

/*
 * In the parent
 */

static char child_log[65536];

static const char *suite;

int
child_setup(const char *name, const struct child_case *cases, unsigned int n)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	const char *wanted = getenv(CHILD);
	unsigned int i;

	suite = name;
	if (wanted == NULL)
		return 0;
	/* The handlers of cmocka are for the thread of the test only. */
	for (i = 0; i < RTE_DIM(crashes); i++)
		signal(crashes[i], SIG_DFL);
	alarm(PATIENCE_S);
	for (i = 0; i < n; i++)
		if (strcmp(cases[i].name, wanted) == 0) {
			cases[i].run();
			_exit(0);
		}
	_exit(2);
}

static void
append_option(const char *name, const char *option)
{
	const char *old = getenv(name);
	char text[1024];

	snprintf(text, sizeof(text), "%s%s%s", old != NULL ? old : "", old != NULL ? ":" : "",
			option);
	setenv(name, text, 1);
}

int
child_run(const char *name)
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
		/* The child tears nothing down: that is what it tests. */
		append_option("ASAN_OPTIONS", "detect_leaks=0");
		append_option("TSAN_OPTIONS", "report_thread_leaks=0:report_signal_unsafe=0");
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		/* Options that leave no files behind. */
		execl("/proc/self/exe", "test-iopf", "--no-huge", "-m", "256", "--no-pci",
				"--no-shconf", "--no-telemetry", "--log-level=7", "--",
				suite, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while ((n = read(fds[0], child_log + len, sizeof(child_log) - 1 - len)) > 0)
		len += n;
	child_log[len] = 0;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

void
child_expect_exit(const char *name)
{
	int status = child_run(name);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		test_skip("this process may not lock memory");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		print_error("%s\n", child_log);
		if (WIFSIGNALED(status))
			fail_msg("%s: ended by signal %d", name, WTERMSIG(status));
		fail_msg("%s: exit code %d", name, WEXITSTATUS(status));
	}
}

void
child_expect_log(const char *text)
{
	if (strstr(child_log, text) == NULL)
		fail_msg("no \"%s\" in: %s", text, child_log);
}
