/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* On QEMU's SMMUv3: open and close repeatedly, also after a process that was killed. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_errno.h>
#include <rte_malloc.h>

#include <iopf_iommu.h>
#include <mmem.h>

#include "lab_space.h"
#include "test.h"

#define MAX_ARGS 64

static void
test_the_smmu_can_be_closed_and_opened_again(void **state)
{
	uint8_t *buf;
	unsigned int i;

	(void)state;
	lab_skip_elsewhere();
	for (i = 0; i < 3; i++) {
		lab_space_open(&(struct iopf_iommu_conf){ .event_queue_size = 32u << i,
				.command_queue_size = 16u << i });
		buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
		assert_non_null(buf);
		lab_copy(buf, buf + PAGE, 64, i);
		/* Stop and start with everything attached. */
		assert_int_equal(iopf_iommu_stop(lab.smmu), 0);
		assert_int_equal(iopf_iommu_start(lab.smmu), 0);
		lab_copy(buf, buf + 2 * PAGE, 64, i + 10);
		/* A second open of the same SMMU is refused. */
		assert_null(iopf_iommu_open(lab_get_devstr()));
		assert_int_equal(rte_errno, EBUSY);
		assert_int_equal(lab_space_close(NULL), 0);
	}
}

static void
test_memory_that_may_move_is_refused(void **state)
{
	static uint8_t in_image[PAGE];
	uint64_t addr;
	void *ptr;

	(void)state;
	lab_skip_elsewhere();
	lab_start(NULL, false);
	ptr = aligned_alloc(PAGE, 16 * PAGE);
	assert_non_null(ptr);
	memset(ptr, 1, 16 * PAGE);
	assert_int_equal(iopf_dma_map(lab.smmu, ptr, 16 * PAGE, &addr), -ENOTSUP);
	in_image[0] = 1;
	in_image[PAGE - 1] = 1;
	assert_int_equal(iopf_dma_map(lab.smmu, in_image, PAGE, &addr), -ENOTSUP);
	free(ptr);
	ptr = rte_malloc(NULL, PAGE, PAGE);
	assert_non_null(ptr);
	assert_int_equal(iopf_dma_map(lab.smmu, ptr, PAGE, &addr), 0);
	assert_int_equal(addr, rte_malloc_virt2iova(ptr));
	assert_int_equal(iopf_dma_unmap(lab.smmu, ptr, PAGE, addr), 0);
	rte_free(ptr);
}

static void
test_another_device_name_is_refused_with_a_reason(void **state)
{
	(void)state;
	lab_skip_elsewhere();
	assert_null(iopf_iommu_open("smmuv3,vfio=1234567.smmuv3"));
	assert_int_equal(rte_errno, ENODEV);
	assert_null(iopf_iommu_open("smmuv3,vfio=../x"));
	assert_int_equal(rte_errno, EINVAL);
}

/* The victim: this program in another process, with the suite lab_victim, which never ends. */
static pid_t
start_victim(int *ready)
{
	static char line[8192];
	char *args[MAX_ARGS], fd[16];
	unsigned int n = 0;
	int pipes[2];
	ssize_t len;
	FILE *f;
	pid_t pid;

	f = fopen("/proc/self/cmdline", "re");
	assert_non_null(f);
	len = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	/* With the same arguments up to "--". */
	for (char *p = line; p < line + len && n < MAX_ARGS - 3; p += strlen(p) + 1) {
		if (strcmp(p, "--") == 0)
			break;
		args[n++] = p;
	}
	args[n++] = (char *)(uintptr_t)"--";
	args[n++] = (char *)(uintptr_t)"lab_victim";
	args[n] = NULL;
	assert_int_equal(pipe(pipes), 0);
	snprintf(fd, sizeof(fd), "%d", pipes[1]);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("IOPF_LAB_VICTIM", fd, 1);
		execv("/proc/self/exe", args);
		_exit(127);
	}
	close(pipes[1]);
	*ready = pipes[0];
	return pid;
}

static void
test_a_killed_run_can_be_followed_by_the_next(void **state)
{
	/* Milliseconds after its start; 0: when it has started to move data. */
	static const unsigned int moments[] = { 0, 60, 0, 120, 200, 0, 300 };
	unsigned int i, running = 0;
	uint8_t *buf;
	char c;
	int ready, status;
	pid_t pid;

	(void)state;
	lab_skip_elsewhere();
	for (i = 0; i < RTE_DIM(moments); i++) {
		pid = start_victim(&ready);
		if (moments[i] == 0) {
			assert_int_equal(read(ready, &c, 1), 1);
			usleep(30000 * i);
			running++;
		} else {
			usleep(1000 * moments[i]);
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		close(ready);

		lab_space_open(NULL);
		buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
		assert_non_null(buf);
		lab_copy(buf, buf + PAGE, 256, i);
		assert_int_equal(lab_nb_refusals, 0);
		assert_int_equal(lab_space_close(NULL), 0);
	}
	assert_int_equal(running, 3);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_the_smmu_can_be_closed_and_opened_again, lab_space_close),
	cmocka_unit_test_teardown(test_memory_that_may_move_is_refused, lab_space_close),
	cmocka_unit_test_teardown(test_another_device_name_is_refused_with_a_reason,
			lab_space_close),
	cmocka_unit_test_teardown(test_a_killed_run_can_be_followed_by_the_next, lab_space_close),
};

TEST_SUITE(lab_open, tests, NULL, NULL);

/* Opens, starts, moves data, writes a byte to the pipe, and continues until it is killed. */
static void
test_victim_runs_until_it_is_killed(void **state)
{
	const char *fd = getenv("IOPF_LAB_VICTIM");
	uint8_t *buf;
	unsigned int i;

	(void)state;
	if (fd == NULL)
		test_skip("IOPF_LAB_VICTIM is not set: lab_open starts and kills this suite");
	lab_space_open(NULL);
	buf = mmem_alloc(lab_space, 8 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	lab_try(true, (uintptr_t)buf, LAB_DMA_MAX);
	assert_int_equal(write(atoi(fd), "r", 1), 1);
	for (i = 0; ; i++) {
		lab_edu_start(&lab.edu, true, (uintptr_t)buf + i % 512 * PAGE, 0, LAB_DMA_MAX);
		while (lab_edu_busy(&lab.edu)) {
			iopf_poll(lab.poller);
			usleep(500);
		}
	}
}

static const struct CMUnitTest victim_tests[] = {
	cmocka_unit_test_teardown(test_victim_runs_until_it_is_killed, lab_space_close),
};

TEST_SUITE(lab_victim, victim_tests, NULL, NULL);
