/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Shared virtual addressing: an endpoint whose DMA has the process's PASID reads and writes the
 * process's memory while the memory changes.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define PAGE	4096ul
#define MIB	(1ul << 20)

static const char text[] __attribute__((aligned(64))) = "a string in a file's page";

static __attribute__((noinline, aligned(64))) int
code(int x)
{
	return x * 3;
}

static int
write_dma(void *va, size_t len, int byte)
{
	memset(lab_buf, byte, len);
	return lab_dma(LAB_WRITE, va, len, false);
}

static int
read_dma(void *va, size_t len)
{
	memset(lab_buf, 0xcc, len);
	return lab_dma(LAB_READ, va, len, false);
}

static bool
is(const void *p, size_t len, int byte)
{
	const unsigned char *b = p;

	while (len-- > 0)
		if (*b++ != byte)
			return false;
	return true;
}

static bool
writes(unsigned char *va, size_t len, int byte)
{
	return write_dma(va, len, byte) == 0 && is(va, len, byte);
}

static bool
reads(void *va, size_t len, int byte)
{
	return read_dma(va, len) == 0 && is(lab_buf, len, byte);
}

static void *
anonymous(size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void
without_faults(unsigned char *p)
{
	printf("lab: SVA without page faults\n");
	p[0] = 1;
	CHECK(writes(p, PAGE, 2), "write to a page touched");
	munmap(p, PAGE);
	CHECK(read_dma(p, 64) != 0, "read of memory unmapped is refused");
}

static void
populate(unsigned char *p)
{
	CHECK(writes(p, PAGE, 2) && lab_last.nb_stalls == 0, "second write does not stall");
	CHECK(writes(p + 3 * PAGE + 100, 4 * PAGE, 3), "write of five pages");
	printf("lab: five pages: %u stalls\n", lab_last.nb_stalls);
	CHECK(reads(p + 10 * PAGE, 64, 0), "read of the zero page");
	CHECK(writes(p + 10 * PAGE, 64, 4) && lab_last.nb_stalls >= 1, "write to the zero page");
	p[11 * PAGE] = 7;
	CHECK(read_dma(p + 11 * PAGE, 64) == 0 && lab_buf[0] == 7 && is(lab_buf + 1, 63, 0),
		"read of what the process wrote");
}

static void
file_pages(unsigned char *p)
{
	void *fn = (void *)((uintptr_t)code & ~63ul);

	CHECK(read_dma((void *)(uintptr_t)text, sizeof(text)) == 0 &&
		memcmp(lab_buf, text, sizeof(text)) == 0, "read of a file's page");
	CHECK(code(1) == 3 && lab_dma(LAB_READ, fn, 64, true) == 0, "fetch from code");
	CHECK(lab_dma(LAB_READ, p, 64, true) != 0, "fetch from data is refused");
}

static void
change(unsigned char *p)
{
	unsigned char *q = p + 3 * PAGE + 100;

	madvise(p, PAGE, MADV_DONTNEED);
	CHECK(reads(p, 64, 0), "read after MADV_DONTNEED");
	CHECK(reads(q, 64, 3), "read beside it");
	mprotect(p + 3 * PAGE, PAGE, PROT_READ);
	CHECK(write_dma(q, 64, 5) != 0, "write after mprotect is refused");
	CHECK(reads(q, 64, 3), "read after mprotect");
	munmap(p + 3 * PAGE, PAGE);
	CHECK(read_dma(q, 64) != 0, "read of memory unmapped is refused");
	CHECK(read_dma(NULL, 64) != 0, "read of NULL is refused");
	CHECK(read_dma((void *)0xffff800000000000ul, 64) != 0, "read of the kernel is refused");
	CHECK(read_dma((void *)0x0001000000000000ul, 64) != 0, "read beyond the top is refused");
}

/* The child's copy of the page must not change. */
static void
copy_on_write(unsigned char *p)
{
	int pipes[2], status = 0;
	pid_t child;
	char c;

	*p = 0x55;
	CHECK(read_dma(p, 1) == 0 && lab_buf[0] == 0x55, "read before fork");
	if (!CHECK(pipe(pipes) == 0, "pipe"))
		return;
	child = fork();
	if (child == 0) {
		close(pipes[1]);
		_exit(read(pipes[0], &c, 1) == 1 && *p == 0x55 ? 0 : 1);
	}
	CHECK(writes(p, 64, 0x66) && lab_last.nb_stalls >= 1, "write after fork");
	CHECK(write(pipes[1], "x", 1) == 1, "pipe");
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's page is as it was");
	close(pipes[0]);
	close(pipes[1]);
}

static void
huge_pages(void)
{
	unsigned char *mem = anonymous(8 * MIB), *p;

	lab_mark("SVA: huge pages");
	p = (unsigned char *)(((uintptr_t)mem + 2 * MIB - 1) & ~(2 * MIB - 1));
	madvise(p, 4 * MIB, MADV_HUGEPAGE);
	CHECK(writes(p + 0x12345, PAGE, 9), "write to a huge page");
	CHECK(writes(p + 0x54321, PAGE, 8), "second write to it");
	printf("lab: second write in 2 MiB: %u stalls (0: a block)\n", lab_last.nb_stalls);
	madvise(p + 0x12000, PAGE, MADV_DONTNEED);
	CHECK(reads(p + 0x12345, 64, 0), "read after MADV_DONTNEED of a part");
	CHECK(reads(p + 0x13000, 64, 9), "read beside it in the huge page");
	mprotect(p + 0x54000, PAGE, PROT_NONE);
	CHECK(read_dma(p + 0x54321, 64) != 0, "read after mprotect of a part is refused");
	munmap(mem, 8 * MIB);
	CHECK(read_dma(p + 0x13000, 64) != 0, "read of a huge page unmapped is refused");
}

#define RANDOM_PAGES	256

static void
random_step(unsigned char *mem, unsigned char *want)
{
	int page = rand() % RANDOM_PAGES, byte = rand() % 255 + 1, len = 1 + rand() % 20;
	unsigned char *p = mem + page * PAGE;

	switch (rand() % 5) {
	case 0:
		if (page + len > RANDOM_PAGES)
			len = RANDOM_PAGES - page;
		madvise(p, len * PAGE, MADV_DONTNEED);
		memset(want + page, 0, len);
		break;
	case 1:
		memset(p, byte, 64);
		want[page] = (unsigned char)byte;
		break;
	case 2:
		CHECK(writes(p, 64, byte), "write of a random page");
		want[page] = (unsigned char)byte;
		break;
	default:
		CHECK(reads(p, 64, want[page]), "read of a random page");
		break;
	}
}

static void
random_pages(void)
{
	unsigned char *mem = anonymous(RANDOM_PAGES * PAGE), want[RANDOM_PAGES] = { 0 };
	int i;

	lab_mark("SVA: random");
	for (i = 0; i < 1500; i++)
		random_step(mem, want);
	munmap(mem, RANDOM_PAGES * PAGE);
	CHECK(read_dma(mem, 64) != 0, "read of memory unmapped is refused");
}

static void
under_dma(void)
{
	unsigned char *mem = anonymous(4 * PAGE);
	struct lab_dma stream;
	unsigned int i;

	lab_mark("SVA: changes under DMA");
	for (i = 0; i < 3; i++) {
		stream = (struct lab_dma){ .op = LAB_STREAM_ON, .pasid = lab_pasid, .stream = i,
			.write = i != 2, .addr = (uintptr_t)mem + i * PAGE };
		CHECK(ioctl(lab_fd, LAB_IOC_DMA, &stream) == 0, "stream starts");
	}
	for (i = 0; i < 1000; i++) {
		if (i % 4 == 3) {
			mprotect(mem, 4 * PAGE, PROT_READ);
			mprotect(mem, 4 * PAGE, PROT_READ | PROT_WRITE);
		} else {
			madvise(mem, 4 * PAGE, MADV_DONTNEED);
		}
		usleep(200);
	}
	for (i = 0; i < 3; i++) {
		stream = (struct lab_dma){ .op = LAB_STREAM_OFF, .stream = i };
		CHECK(ioctl(lab_fd, LAB_IOC_DMA, &stream) == 0, "stream ends");
		printf("lab: stream %u: %u DMAs failed\n", i, stream.nb_bad);
	}
	munmap(mem, 4 * PAGE);
}

/* A process that ends while it is bound, with DMA after that. */
static void
process_ends(unsigned char *p)
{
	int pipes[2], status = 0;
	pid_t child;

	lab_mark("SVA: a process ends while it is bound");
	if (!CHECK(pipe(pipes) == 0, "pipe"))
		return;
	child = fork();
	if (child == 0) {
		bool ok = lab_bind() && write_dma(p, 64, 1) == 0 &&
			write(pipes[1], &lab_pasid, sizeof(lab_pasid)) == sizeof(lab_pasid);

		_exit(ok ? 0 : 1);
	}
	close(pipes[1]);
	CHECK(read(pipes[0], &lab_pasid, sizeof(lab_pasid)) == sizeof(lab_pasid),
		"write of the process that ends");
	close(pipes[0]);
	waitpid(child, &status, 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the process ends well");
	CHECK(read_dma(p, 64) != 0, "read after its end is refused");
	lab_unbind();
	CHECK(read_dma(p, 64) != 0, "read after unbind is refused");
}

void
sva_test(void)
{
	unsigned char *p = anonymous(64 * PAGE);

	lab_mark("SVA");
	if (!CHECK(lab_bind(), "bind"))
		return;
	printf("lab: PASID %u\n", lab_pasid);
	CHECK(writes(p, PAGE, 1) && lab_last.nb_stalls >= 1, "first write stalls");
	if (lab_last.status != 0 && lab_last.nb_stalls == 0) {
		without_faults(p);
		lab_unbind();
		return;
	}
	populate(p);
	file_pages(p);
	change(p);
	copy_on_write(p + 5 * PAGE);
	huge_pages();
	random_pages();
	under_dma();
	lab_mark("SVA: unbind");
	lab_unbind();
	CHECK(read_dma(p + 4 * PAGE, 64) != 0, "read after unbind is refused");
	process_ends(p + 4 * PAGE);
}
