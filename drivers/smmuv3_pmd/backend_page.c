/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * "page=FILE": an SMMU in another process, whose registers and memory are in a file
 * (smmuv3_page.h). The memory is mapped where the file says, so device addresses are CPU addresses.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_pause.h>

#include "backend.h"
#include "base.h"
#include "smmuv3_page.h"

/* The server may run on the same processor: let it run once in so many waits. */
#define WAITS_PER_YIELD	64

#define LOG(level, name, fmt, ...)						\
	rte_log(RTE_LOG_ ## level, smmuv3_logtype, "smmuv3 page=%s: " fmt "\n",	\
		name, ##__VA_ARGS__)

struct page {
	int fd;				/* holds the lock of the file */
	struct smmuv3_page file;	/* the checked copy of the header */
	void *regs;
	uint8_t *mem;
	pthread_mutex_t lock;
	bool *used;			/* by unit of SMMUV3_PAGE_ALIGN of the driver's part */
};

static int
open_file(const char *name)
{
	int fd = open(name, O_RDWR | O_CLOEXEC), err;

	if (fd < 0) {
		err = errno;
		LOG(ERR, name, "cannot open it: %s", strerror(err));
		return err == ENOMEM ? -ENOMEM : -ENODEV;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		err = errno;
		if (err == EWOULDBLOCK)
			LOG(ERR, name, "another driver has it open; close that first");
		else
			LOG(ERR, name, "cannot lock it: %s", strerror(err));
		close(fd);
		return err == EWOULDBLOCK ? -EBUSY : -ENODEV;
	}
	return fd;
}

static int
read_header(const char *name, struct page *p)
{
	const char *why;
	struct stat st;

	if (fstat(p->fd, &st) < 0 || pread(p->fd, &p->file, sizeof(p->file), 0) !=
			(ssize_t)sizeof(p->file))
		why = "it is too short, or cannot be read";
	else
		why = smmuv3_page_check(&p->file, st.st_size);
	if (why == NULL)
		return 0;
	LOG(ERR, name, "it is no SMMU: %s; name the file of a running server", why);
	return -EINVAL;
}

static int
map_file(const char *name, struct page *p)
{
	void *want = (void *)(uintptr_t)p->file.mem_addr;
	int err;

	p->regs = mmap(NULL, p->file.regs_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd,
			p->file.regs_offset);
	if (p->regs == MAP_FAILED) {
		err = errno;
		LOG(ERR, name, "cannot map its registers: %s", strerror(err));
		return -err;
	}
	p->mem = mmap(want, p->file.mem_size, PROT_READ | PROT_WRITE, MAP_SHARED |
			MAP_FIXED_NOREPLACE, p->fd, p->file.mem_offset);
	err = errno;
	/* Kernels before 4.17 take the address for a hint. */
	if (p->mem != MAP_FAILED && p->mem != want) {
		munmap(p->mem, p->file.mem_size);
		p->mem = MAP_FAILED;
		err = EEXIST;
	}
	if (p->mem != MAP_FAILED)
		return 0;
	LOG(ERR, name, "cannot map its %" PRIu64 " KiB of memory at %p, their device address: "
			"%s%s", p->file.mem_size >> 10, want, strerror(err), err != EEXIST ? "" :
			": the process uses this range; let the server choose another mem_addr");
	munmap(p->regs, p->file.regs_size);
	return err == EEXIST ? -EBUSY : -err;
}

static int
page_open(const struct rte_kvargs *args, void **regs, void **ctx)
{
	const char *name = rte_kvargs_get(args, smmuv3_backend_page.name);
	struct page *p;
	int ret;

	if (name == NULL || name[0] == '\0') {
		LOG(ERR, "", "the path of a file is needed");
		return -EINVAL;
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->fd = open_file(name);
	if (p->fd < 0) {
		ret = p->fd;
		goto fail;
	}
	ret = read_header(name, p);
	if (ret < 0)
		goto fail_fd;
	p->used = calloc(p->file.mem_driver / SMMUV3_PAGE_ALIGN, sizeof(*p->used));
	ret = p->used == NULL ? -ENOMEM : map_file(name, p);
	if (ret < 0)
		goto fail_fd;
	pthread_mutex_init(&p->lock, NULL);
	*regs = p->regs;
	*ctx = p;
	return 0;

fail_fd:
	close(p->fd);
fail:
	free(p->used);
	free(p);
	return ret;
}

static size_t
page_get_regs_size(void *ctx)
{
	const struct page *p = ctx;

	return p->file.regs_size;
}

static void
page_close(void *ctx)
{
	struct page *p = ctx;

	munmap(p->mem, p->file.mem_size);
	munmap(p->regs, p->file.regs_size);
	close(p->fd);
	pthread_mutex_destroy(&p->lock);
	free(p->used);
	free(p);
}

/* The first free place; NULL: there is none. */
static bool *
find_units(const struct page *p, uint64_t align, uint64_t nb)
{
	const uint64_t nb_units = p->file.mem_driver / SMMUV3_PAGE_ALIGN;
	uint64_t at = RTE_ALIGN_CEIL(p->file.mem_addr, align) - p->file.mem_addr;

	for (at /= SMMUV3_PAGE_ALIGN; at < nb_units && nb <= nb_units - at;
			at += align / SMMUV3_PAGE_ALIGN)
		if (memchr(&p->used[at], true, nb) == NULL)
			return &p->used[at];
	return NULL;
}

static void *
page_alloc(void *ctx, size_t align, size_t len)
{
	uint64_t nb = len / SMMUV3_PAGE_ALIGN;
	struct page *p = ctx;
	bool *first;

	pthread_mutex_lock(&p->lock);
	first = find_units(p, align, nb);
	if (first != NULL)
		memset(first, true, nb);
	pthread_mutex_unlock(&p->lock);
	return first == NULL ? NULL : p->mem + (first - p->used) * SMMUV3_PAGE_ALIGN;
}

static void
page_free(void *ctx, void *ptr, size_t len)
{
	struct page *p = ctx;

	pthread_mutex_lock(&p->lock);
	memset(&p->used[RTE_PTR_DIFF(ptr, p->mem) / SMMUV3_PAGE_ALIGN], false,
			len / SMMUV3_PAGE_ALIGN);
	pthread_mutex_unlock(&p->lock);
}

static int
page_dma_map(void *ctx, void *ptr, size_t len, uint64_t limit, uint64_t *addr)
{
	const struct page *p = ctx;
	uint64_t offset = (uintptr_t)ptr - p->file.mem_addr;

	if (offset >= p->file.mem_size || len > p->file.mem_size - offset) {
		rte_log(RTE_LOG_ERR, smmuv3_logtype, "smmuv3: memory at %p, %zu bytes, is not in "
				"the page file: take it from [%p, %p), the application's part\n",
				ptr, len, p->mem + p->file.mem_driver, p->mem + p->file.mem_size);
		return -ENOTSUP;
	}
	*addr = (uintptr_t)ptr;
	return *addr >= limit || len > limit - *addr ? -ERANGE : 0;
}

/* The SMMU reaches the whole memory of the file in any case. */
static int
page_dma_unmap(void *ctx, void *ptr, size_t len, uint64_t addr)
{
	RTE_SET_USED(ctx);
	RTE_SET_USED(ptr);
	RTE_SET_USED(len);
	RTE_SET_USED(addr);
	return 0;
}

static int
page_connect_irq(void *ctx, enum smmuv3_irq irq, int fd)
{
	RTE_SET_USED(ctx);
	RTE_SET_USED(irq);
	RTE_SET_USED(fd);
	return -ENOTSUP;
}

static void
page_wait(void *ctx)
{
	static _Thread_local unsigned int waits;

	RTE_SET_USED(ctx);
	if (++waits % WAITS_PER_YIELD == 0)
		sched_yield();
	else
		rte_pause();
}

const struct smmuv3_backend smmuv3_backend_page = {
	.name = "page",
	.alloc = page_alloc,
	.free = page_free,
	.open = page_open,
	.get_regs_size = page_get_regs_size,
	.close = page_close,
	.dma_map = page_dma_map,
	.dma_unmap = page_dma_unmap,
	.connect_irq = page_connect_irq,
	.wait = page_wait,
};
