/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * versus-linux SPEC...: Linux's side of versus.sh, in the guest. A process's memory is shared with a
 * device (SVA), and each DMA of the device touches a page of it for the first time: Linux serves
 * the stall. SPEC is COUNT:BATCH:PAUSE_US.
 * versus-linux touch: touch nearly all free memory once, since the first touch of a page by QEMU's
 * process takes microseconds on some virtual machines.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guest/ioctl.h"

#define PAGE		4096ul
#define MAX_TICKS	8192
#define RESERVE_KB	(48l << 10)	/* free memory that the kernel keeps for itself */

/* In memory that both processes share. */
struct watcher {
	struct lab_watch watch;
	unsigned int ticks[MAX_TICKS];
};

static void
must(int ok, const char *what)
{
	if (ok)
		return;
	printf("versus: FAILED: cannot %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned char *
map(size_t len, int flags)
{
	unsigned char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED, "map memory");
	madvise(p, len, MADV_NOHUGEPAGE);
	return p;
}

static void
touch(unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i += PAGE)
		p[i] = 1;
}

/* A guest with one processor runs all on it. */
static void
run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void
touch_free_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = 0;
	size_t len;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "MemFree: %ld", &kb) == 1)
			break;
	must(kb > 2 * RESERVE_KB, "find free memory");
	len = (size_t)(kb - RESERVE_KB) * 1024;
	touch(map(len, MAP_PRIVATE), len);
}

static pid_t
start_watcher(struct watcher *w)
{
	pid_t pid = fork();
	int fd;

	must(pid >= 0, "fork");
	if (pid != 0)
		return pid;
	run_on(0);
	must(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 }) == 0,
			"have the lowest priority");
	fd = open("/dev/smmulab", O_RDWR);
	must(fd >= 0 && ioctl(fd, LAB_IOC_WATCH, &w->watch) == 0, "watch the event queue");
	exit(0);
}

static void
measure(int fd, unsigned int pasid, const char *spec)
{
	struct lab_bench b = { .pasid = pasid, .stride = PAGE };
	unsigned int wrong = 0;
	unsigned char *p;
	size_t len;

	must(sscanf(spec, "%u:%u:%u", &b.count, &b.batch, &b.pause_us) == 3, spec);
	len = (b.count + 1) * PAGE;
	/* The processor that serves the faults has as many free pages at hand. */
	run_on(0);
	p = map(len, MAP_PRIVATE);
	touch(p, len);
	munmap(p, len);
	run_on(1);
	p = map(len, MAP_PRIVATE);
	b.addr = (uintptr_t)p;
	must(ioctl(fd, LAB_IOC_BENCH, &b) == 0, "have the device access memory");
	for (size_t i = 0; i < len; i++)
		wrong += p[i] != (i % PAGE < 8 ? 0x5a : 0);
	printf("versus: %s: %u failed, %u stalls, %u bytes wrong\n", spec, b.nb_failed,
		b.nb_stalls, wrong);
	munmap(p, len);
}

int
main(int argc, char **argv)
{
	struct watcher *w = (struct watcher *)map(sizeof(*w), MAP_SHARED);
	unsigned int pasid = 0, dev = 0;
	pid_t watcher;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && strcmp(argv[1], "touch") == 0) {
		touch_free_memory();
		return 0;
	}
	touch((unsigned char *)w, sizeof(*w));
	w->watch = (struct lab_watch){ .ticks = (uintptr_t)w->ticks, .max = MAX_TICKS };
	watcher = start_watcher(w);
	run_on(1);
	fd = open("/dev/smmulab", O_RDWR);
	must(fd >= 0 && ioctl(fd, LAB_IOC_BIND, &pasid) == 0, "share memory with the device");
	for (int i = 1; i < argc; i++)
		measure(fd, pasid, argv[i]);
	kill(watcher, SIGTERM);
	waitpid(watcher, NULL, 0);
	for (unsigned int i = 0; i < w->watch.nb; i++)
		printf("versus: ticks %u\n", w->ticks[i]);
	must(ioctl(fd, LAB_IOC_UNBIND, &dev) == 0, "end the sharing");
	ioctl(fd, LAB_IOC_END);
	return 0;
}
