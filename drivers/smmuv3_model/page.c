/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Page files: the side of the process that is the SMMU. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* memfd_create() */
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "smmuv3_model_page.h"
#include "smmuv3_page.h"

#define DEFAULT_ADDR	(UINT64_C(1) << 30)
#define DEFAULT_SIZE	(UINT64_C(64) << 20)

static struct smmuv3_page
make_header(const struct smmuv3_model_page_conf *conf)
{
	struct smmuv3_page page = {
		.magic = SMMUV3_PAGE_MAGIC,
		.version = SMMUV3_PAGE_VERSION,
		.regs_offset = SMMUV3_PAGE_ALIGN,
		.regs_size = conf->regs_size != 0 ? conf->regs_size : SMMUV3_REGS_SIZE,
		.mem_size = conf->mem_size != 0 ? conf->mem_size : DEFAULT_SIZE,
		.mem_addr = conf->mem_addr != 0 ? conf->mem_addr : DEFAULT_ADDR,
		.mem_driver = conf->mem_driver,
	};

	page.mem_offset = page.regs_offset + page.regs_size;
	if (page.mem_driver == 0)
		page.mem_driver = page.mem_size / 4 & ~(SMMUV3_PAGE_ALIGN - 1);
	return page;
}

/* The end of the file; 0: no file can be so large. */
static uint64_t
get_file_size(const struct smmuv3_page *header)
{
	uint64_t end = header->mem_offset + header->mem_size;

	return header->regs_size > SMMUV3_PAGE_REGS_MAX || end < header->mem_size ||
		end > INT64_MAX ? 0 : end;
}

/* A file that shrinks would be a SIGBUS in this process: no process can change its size. */
static int
fill_file(int fd, const struct smmuv3_page *header, uint64_t size)
{
	if (ftruncate(fd, size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW |
			F_SEAL_SEAL) < 0)
		return -errno;
	if (pwrite(fd, header, sizeof(*header), 0) != (ssize_t)sizeof(*header))
		return -EIO;
	return 0;
}

int
smmuv3_model_page_create(const struct smmuv3_model_page_conf *conf,
		struct smmuv3_model_page *page)
{
	static const struct smmuv3_model_page_conf dflt;
	struct smmuv3_page header;
	uint8_t *at = MAP_FAILED;
	uint64_t size;
	int fd, ret;

	if (page == NULL)
		return -EINVAL;
	header = make_header(conf != NULL ? conf : &dflt);
	size = get_file_size(&header);
	if (size == 0 || smmuv3_page_check(&header, size) != NULL)
		return -EINVAL;
	fd = memfd_create("smmuv3", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	ret = fill_file(fd, &header, size);
	if (ret == 0) {
		at = mmap(NULL, size - header.regs_offset, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				header.regs_offset);
		ret = at == MAP_FAILED ? -errno : 0;
	}
	if (ret < 0) {
		close(fd);
		return ret;
	}
	*page = (struct smmuv3_model_page){
		.fd = fd,
		.regs = at,
		.regs_size = header.regs_size,
		.mem = at + header.regs_size,
		.mem_size = header.mem_size,
		.mem_addr = header.mem_addr,
	};
	snprintf(page->path, sizeof(page->path), "/proc/%d/fd/%d", (int)getpid(), fd);
	return 0;
}

void
smmuv3_model_page_destroy(struct smmuv3_model_page *page)
{
	if (page == NULL)
		return;
	munmap(page->regs, page->regs_size + page->mem_size);
	close(page->fd);
	memset(page, 0, sizeof(*page));
	page->fd = -1;
}
