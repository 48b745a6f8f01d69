/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Managed memory in a process that forks, or ends without tearing down.
 */

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>

#include "child_rig.h"
#include "test.h"

/* A child of fork ends in each way; the devices of the parent go on. */
static void
child_fork(void)
{
	int status, how;
	pid_t pid;

	child_open();
	child.pool = child_make_pool((size_t)64 << 20);
	CHECK(child.pool != NULL);
	child_attach();
	for (how = 0; how < 4; how++) {
		CHECK(smmuv3_model_dma_submit(child.dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE,
				.addr = (uintptr_t)child.buf + how * 4096,
				.buf = child_data[how], .len = 4096 }) == 0);
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
			/* A child must not access the memory: it gets a signal. */
			child.buf[0] = 1;
			_exit(1);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		if (how < 3)
			CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		else
			CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 1);
		CHECK(smmuv3_model_dma_write(child.dma, (uintptr_t)child.buf + (1 << 20),
				child_data[how], 4096) == 0);
	}
	for (how = 0; how < 4;) {
		struct smmuv3_model_done done;

		if (smmuv3_model_dma_poll(child.dma, &done, 1) == 0)
			continue;
		CHECK(done.status == SMMUV3_MODEL_OK);
		how++;
	}
	child_close();
}

/*
 * The process ends while DMA is under way, faults are deferred and a pager runs
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
submit_dma(enum smmuv3_model_op_type type, uint8_t *addr, size_t len)
{
	CHECK(smmuv3_model_dma_submit(child.dma, &(struct smmuv3_model_op){ .type = type,
			.addr = (uintptr_t)addr, .buf = child_data[nb_submitted % 64],
			.len = len }) == 0);
	nb_submitted++;
}

static void
start_load(void)
{
	uint8_t *paged;

	child_open();
	child.pool = child_make_pool((size_t)128 << 20);
	CHECK(child.pool != NULL);
	child_attach();
	paged = mmem_alloc_paged(child.space, (size_t)32 << 20, MMEM_READ,
			&(struct mmem_pager){ .fill = fill });
	CHECK(paged != NULL);
	for (size_t i = 0; i < 2000; i++) {
		submit_dma(SMMUV3_MODEL_WRITE, child.buf + i * 16384, 4096);
		if (i % 100 == 0)
			submit_dma(SMMUV3_MODEL_READ, paged + i * 8192, 64);
	}
	usleep(2000);
}

static void
child_exit(void)
{
	start_load();
	exit(0);
}

/* Some DPDK applications call only this at their end. */
static void
child_cleanup(void)
{
	start_load();
	/* The device, the model, the poll thread and the workers go on. */
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
	start_load();
	signal(SIGUSR1, on_signal);
	pthread_kill(child.thread, SIGUSR1);
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

	start_load();
	CHECK(pthread_create(&thread, NULL, exit_main, NULL) == 0);
	pthread_exit(NULL);
}

static void
child_kill(void)
{
	start_load();
	raise(SIGTERM);
}

static const struct child_case children[] = {
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
	(void)state;
	return child_setup("mmem_exit", children, RTE_DIM(children));
}

/*
 * In the parent
 */

static void
a_child_of_fork_ends_and_the_devices_go_on(void **state)
{
	(void)state;
	child_expect_exit("fork");
}

static void
a_process_ends_by_exit(void **state)
{
	(void)state;
	child_expect_exit("exit");
}

static void
a_process_ends_behind_rte_eal_cleanup(void **state)
{
	(void)state;
	child_expect_exit("cleanup");
}

static void
a_process_ends_in_a_signal_handler_of_the_poll_thread(void **state)
{
	(void)state;
	child_expect_exit("signal");
}

static void
a_process_ends_after_its_main_thread(void **state)
{
	(void)state;
	child_expect_exit("thread");
}

static void
a_process_ends_by_a_signal(void **state)
{
	int status;

	(void)state;
	status = child_run("kill");
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_child_of_fork_ends_and_the_devices_go_on),
	cmocka_unit_test(a_process_ends_by_exit),
	cmocka_unit_test(a_process_ends_behind_rte_eal_cleanup),
	cmocka_unit_test(a_process_ends_in_a_signal_handler_of_the_poll_thread),
	cmocka_unit_test(a_process_ends_after_its_main_thread),
	cmocka_unit_test(a_process_ends_by_a_signal),
};
TEST_SUITE(mmem_exit, tests, suite_setup, NULL);
