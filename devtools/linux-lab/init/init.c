/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The first process of the Linux lab's guest: loads the test driver, runs the tests in tests= of
 * the kernel's command line (NAME.DEVICE or sva, separated by commas), and powers off.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"

#define MAX_NAMES	64

int lab_fd;
struct lab_dma lab_last;
unsigned char lab_buf[LAB_DATA_SIZE];
unsigned int lab_pasid;
static unsigned int nb_checks, nb_failed;

/* Failures are printed once by name, because there may be thousands. */
static bool
first_of_name(const char *name)
{
	static const char *names[MAX_NAMES];
	unsigned int i;

	for (i = 0; i < MAX_NAMES && names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return false;
	if (i < MAX_NAMES)
		names[i] = name;
	return i < MAX_NAMES;
}

bool
lab_check(bool ok, const char *name, int line)
{
	nb_checks++;
	nb_failed += !ok;
	if (!ok && first_of_name(name))
		printf("lab: FAILED sva: %s (line %d: status %u, %u stalls)\n", name, line,
			lab_last.status, lab_last.nb_stalls);
	return ok;
}

void
lab_mark(const char *text)
{
	char buf[128] = "";

	strncpy(buf, text, sizeof(buf) - 1);
	ioctl(lab_fd, LAB_IOC_MARK, buf);
}

static void
end(void)
{
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
}

int
lab_dma(unsigned int op, void *va, size_t len, bool instruction)
{
	lab_last = (struct lab_dma){ .op = op, .pasid = lab_pasid, .instruction = instruction,
		.addr = (uintptr_t)va, .len = len, .buf = (uintptr_t)lab_buf };
	if (ioctl(lab_fd, LAB_IOC_DMA, &lab_last) < 0) {
		printf("lab: FAILED sva: a DMA ends (%s)\n", strerror(errno));
		/* No later DMA can end either. */
		end();
	}
	return (int)lab_last.status;
}

bool
lab_bind(void)
{
	unsigned int arg = 0;

	if (ioctl(lab_fd, LAB_IOC_BIND, &arg) < 0)
		return false;
	lab_pasid = arg;
	return true;
}

void
lab_unbind(void)
{
	unsigned int dev = 0;

	ioctl(lab_fd, LAB_IOC_UNBIND, &dev);
}

static void
mount_all(void)
{
	int log;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("dev", "/dev", "devtmpfs", 0, "");
	mount("proc", "/proc", "proc", 0, "");
	mount("sys", "/sys", "sysfs", 0, "");
	/* Each line is a record there and does not mix with the kernel's lines. */
	log = open("/dev/kmsg", O_WRONLY);
	dup2(log, 1);
	dup2(log, 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* The text after name on the kernel's command line, or "". */
static char *
argument(const char *name)
{
	static char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY);
	ssize_t len = read(fd, line, sizeof(line) - 1);
	char *value;

	close(fd);
	line[len < 0 ? 0 : len] = '\0';
	value = strstr(line, name);
	if (value == NULL)
		return strchr(line, '\0');
	value[strcspn(value, " \n")] = '\0';
	return value;
}

static bool
load_driver(void)
{
	int fd = open("/smmulab.ko", O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, argument("wait_ms="), 0) < 0) {
		printf("lab: FAILED init: smmulab.ko is loaded (%s)\n", strerror(errno));
		return false;
	}
	close(fd);
	lab_fd = open("/dev/smmulab", O_RDWR);
	if (lab_fd < 0)
		printf("lab: FAILED init: /dev/smmulab is there (%s)\n", strerror(errno));
	return lab_fd >= 0;
}

static void
run(char *test)
{
	struct lab_run run = { .dev = 0 };
	char *dot = strchr(test, '.');

	if (strcmp(test, "sva") == 0) {
		nb_checks = nb_failed = 0;
		sva_test();
		printf("lab: test sva: %u checks, %u failed\n", nb_checks, nb_failed);
		return;
	}
	if (dot != NULL) {
		*dot = '\0';
		run.dev = (unsigned int)atoi(dot + 1);
	}
	strncpy(run.test, test, sizeof(run.test) - 1);
	if (ioctl(lab_fd, LAB_IOC_RUN, &run) < 0)
		printf("lab: FAILED init: %s.%u is a test (%s)\n", test, run.dev, strerror(errno));
}

static void
run_all(void)
{
	char *tests = argument("tests="), *test, *save;

	if (*tests == '\0')
		return;
	tests += strlen("tests=");
	for (test = strtok_r(tests, ",", &save); test != NULL; test = strtok_r(NULL, ",", &save))
		run(test);
}

static void
report(void)
{
	struct lab_report r = { 0 };

	if (ioctl(lab_fd, LAB_IOC_REPORT, &r) < 0)
		printf("lab: FAILED init: the model reports (%s)\n", strerror(errno));
	printf("lab: end: driver errors %u, oracle errors %u, stalls outstanding %u\n",
		r.driver_errors, r.oracle_errors, r.stalls_outstanding);
	ioctl(lab_fd, LAB_IOC_END);
}

int
main(void)
{
	mount_all();
	if (load_driver()) {
		run_all();
		report();
	}
	end();
	return 0;
}
