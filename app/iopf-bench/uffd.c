/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "bench.h"
#include "uffd.h"

#define OWN_WORD	UINT64_C(0x756666640a000000)

/*
 * Faults of user mode only: that needs no privilege, whatever vm.unprivileged_userfaultfd is. Where
 * the system call is forbidden, the device may be allowed. Returns the descriptor or -errno.
 */
static int
open_descriptor(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY), ret, dev;

	if (fd >= 0)
		return fd;
	ret = -errno;
#ifdef USERFAULTFD_IOC_NEW
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev >= 0) {
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | UFFD_USER_MODE_ONLY);
		close(dev);
		if (fd >= 0)
			return fd;
	}
#else
	(void)dev;
#endif
	return ret;
}

/* Returns a descriptor with minor faults of shared memory, or -errno. */
static int
open_with_features(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM };
	int fd = open_descriptor(), ret;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

const char *
uffd_find_obstacle(void)
{
	int fd = open_with_features();

	if (fd >= 0) {
		close(fd);
		return NULL;
	}
	switch (-fd) {
	case ENOSYS:
		return "this kernel has no userfaultfd; use one with CONFIG_USERFAULTFD";
	case EPERM:
	case EACCES:
		return "userfaultfd is forbidden, by a seccomp profile for instance; allow the system "
			"call there, or the device: sudo chmod a+rw /dev/userfaultfd";
	case EINVAL:
		return "this kernel's userfaultfd has no minor faults of shared memory for faults of "
			"user mode; use Linux 5.14 or later";
	default:
		return strerror(-fd);
	}
}

static uint64_t *
get_own_words(uint8_t *mem, uint32_t page)
{
	return (uint64_t *)(void *)(mem + (size_t)(page + 1) * BENCH_PAGE_SIZE - BENCH_OP_SIZE);
}

/* Memory whose pages are there, in an alias, and not in the region. */
static int
map_memfd(struct uffd *u, size_t size)
{
	int fd = memfd_create("iopf-bench-uffd", MFD_CLOEXEC), ret = 0;
	uint32_t page, i;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	u->alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	u->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (u->alias == MAP_FAILED || u->mem == MAP_FAILED)
		ret = -errno;
	close(fd);
	for (page = 0; page <= u->pages && ret == 0; page++)
		for (i = 0; i < BENCH_OP_SIZE / sizeof(uint64_t); i++)
			get_own_words(u->alias, page)[i] = OWN_WORD | page;
	return ret;
}

int
uffd_open(struct uffd *u, bool zeropage, uint32_t pages, bool zero)
{
	size_t size = (size_t)(pages + 1) * BENCH_PAGE_SIZE;
	struct uffdio_register reg = { .mode = zeropage ? UFFDIO_REGISTER_MODE_MISSING :
			UFFDIO_REGISTER_MODE_MINOR };
	int ret = 0;

	*u = (struct uffd){ .zeropage = zeropage, .zero = zero, .pages = pages,
		.mem = MAP_FAILED, .alias = MAP_FAILED };
	u->fd = open_with_features();
	if (u->fd < 0)
		return u->fd;
	u->resolved = calloc(pages + 1, sizeof(*u->resolved));
	if (u->resolved == NULL)
		return -ENOMEM;
	if (zeropage) {
		u->mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (u->mem == MAP_FAILED)
			return -errno;
		/* A huge page would resolve 512 faults; without support for them EINVAL is right. */
		madvise(u->mem, size, MADV_NOHUGEPAGE);
	} else {
		ret = map_memfd(u, size);
	}
	reg.range = (struct uffdio_range){ (uintptr_t)u->mem, size };
	if (ret == 0 && ioctl(u->fd, UFFDIO_REGISTER, &reg) < 0)
		ret = -errno;
	return ret;
}

void
uffd_close(struct uffd *u)
{
	size_t size = (size_t)(u->pages + 1) * BENCH_PAGE_SIZE;

	if (u->fd < 0)
		return;
	if (u->mem != MAP_FAILED)
		munmap(u->mem, size);
	if (u->alias != MAP_FAILED)
		munmap(u->alias, size);
	free(u->resolved);
	close(u->fd);
	u->fd = -1;
}

int
uffd_set_blocking(struct uffd *u, bool blocking)
{
	return fcntl(u->fd, F_SETFL, blocking ? 0 : O_NONBLOCK) < 0 ? -errno : 0;
}

static void
wake_threads(struct uffd *u, size_t offset, size_t size)
{
	struct uffdio_range range = { (uintptr_t)u->mem + offset, size };

	if (ioctl(u->fd, UFFDIO_WAKE, &range) < 0 && u->error == 0)
		u->error = errno;
}

static int
resolve_page(struct uffd *u, uint32_t page, bool wake)
{
	struct uffdio_range range = { (uintptr_t)u->mem + (size_t)page * BENCH_PAGE_SIZE,
		BENCH_PAGE_SIZE };
	struct uffdio_zeropage zeropage = { .range = range,
		.mode = wake ? 0 : UFFDIO_ZEROPAGE_MODE_DONTWAKE };
	struct uffdio_continue cont = { .range = range,
		.mode = wake ? 0 : UFFDIO_CONTINUE_MODE_DONTWAKE };

	if (u->zeropage)
		return ioctl(u->fd, UFFDIO_ZEROPAGE, &zeropage);
	if (u->zero)
		memset(u->alias + (size_t)page * BENCH_PAGE_SIZE, 0, BENCH_PAGE_SIZE);
	return ioctl(u->fd, UFFDIO_CONTINUE, &cont);
}

static void
resolve_fault(struct uffd *u, uint32_t page, bool wake)
{
	if (resolve_page(u, page, wake) == 0) {
		u->resolved[page]++;
	} else if (errno == EEXIST) {
		/* A thread that was stopped by a signal meanwhile has faulted once more. */
		u->repeated++;
		wake_threads(u, (size_t)page * BENCH_PAGE_SIZE, BENCH_PAGE_SIZE);
	} else if (u->error == 0) {
		u->error = errno;
	}
}

int
uffd_serve(struct uffd *u)
{
	struct uffd_msg msgs[DRAIN_DEPTH];
	ssize_t size = read(u->fd, msgs, sizeof(msgs));
	uint64_t page;
	bool end = false;
	int i, n;

	if (size < 0) {
		if (errno != EAGAIN && errno != EINTR && u->error == 0)
			u->error = errno;
		return 0;
	}
	n = size / sizeof(msgs[0]);
	for (i = 0; i < n; i++) {
		page = (msgs[i].arg.pagefault.address - (uintptr_t)u->mem) / BENCH_PAGE_SIZE;
		if (msgs[i].event != UFFD_EVENT_PAGEFAULT || page > u->pages) {
			u->strange++;
			continue;
		}
		resolve_fault(u, page, n == 1);
		end |= page == u->pages;
	}
	/* One system call wakes all, which is cheaper than a wake-up in each of the others. */
	if (n > 1)
		wake_threads(u, 0, (size_t)(u->pages + 1) * BENCH_PAGE_SIZE);
	return end ? -1 : n;
}

void
uffd_end_handler(struct uffd *u)
{
	*(volatile uint8_t *)(u->mem + (size_t)u->pages * BENCH_PAGE_SIZE) = 0;
}

int
uffd_unmap_pages(struct uffd *u)
{
	memset(u->resolved, 0, (u->pages + 1) * sizeof(*u->resolved));
	return madvise(u->mem, (size_t)(u->pages + 1) * BENCH_PAGE_SIZE, MADV_DONTNEED) < 0 ?
			-errno : 0;
}

bool
uffd_holds_its_words(const struct uffd *u, uint32_t page)
{
	uint64_t want = u->zeropage || u->zero ? 0 : OWN_WORD | page;
	const uint64_t *words = get_own_words(u->mem, page);
	uint32_t i;

	for (i = 0; i < BENCH_OP_SIZE / sizeof(uint64_t); i++)
		if (words[i] != want)
			return false;
	return true;
}
