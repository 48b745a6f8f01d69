/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contents from a file, read when a block is first accessed. Contents beyond the end of the file
 * are zero, also if the file shrinks while the region exists. A shared file gets what was written.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_common.h>

#include "mmem_chunk.h"
#include "mmem_io.h"
#include "mmem_log.h"
#include "mmem_pager.h"

struct pager_file {
	int fd;
	off_t offset;
};

static int
file_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	const struct pager_file *file = ctx;

	return mmem_read_all(file->fd, dst, len, file->offset + offset);
}

/* A file that was truncated stays so: bytes beyond its end are not written. */
static int
file_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	const struct pager_file *file = ctx;
	off_t at = file->offset + offset, end;

	end = lseek(file->fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	if (at >= end)
		return 0;
	return mmem_write_all(file->fd, src, RTE_MIN(len, (uint64_t)(end - at)), at);
}

static int
file_flush(void *ctx)
{
	const struct pager_file *file = ctx;

	return fdatasync(file->fd) < 0 ? -errno : 0;
}

static void
file_release(void *ctx)
{
	struct pager_file *file = ctx;

	close(file->fd);
	free(file);
}

/* Accept only files that pread() reads repeatably and without waiting. */
static int
file_open(const char *path, bool shared)
{
	struct stat st;
	int fd, rc;

	/* O_NONBLOCK: do not wait for the writer of a FIFO. */
	fd = open(path, (shared ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (S_ISDIR(st.st_mode))
		rc = -EISDIR;
	else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		rc = -EINVAL;
	else
		return fd;
	close(fd);
	return rc;
}

int
mmem_pager_open_file(const char *path, off_t offset, size_t size, bool shared,
		struct mmem_pager *pager)
{
	struct pager_file *file;
	off_t end;
	int rc;

	if (offset < 0 || offset % (off_t)MMEM_PAGE_SIZE ||
	    __builtin_add_overflow(offset, RTE_ALIGN_CEIL(size, MMEM_PAGE_SIZE), &end)) {
		MMEM_LOG(ERR, "%s: %zu bytes from offset %jd: use an offset that is a multiple of "
				"4 KiB, and a range between 0 and the largest file offset", path,
				size, (intmax_t)offset);
		return -EINVAL;
	}
	file = malloc(sizeof(*file));
	if (file == NULL)
		return -ENOMEM;
	file->offset = offset;
	rc = file_open(path, shared);
	if (rc < 0) {
		MMEM_LOG(ERR, "%s: cannot map the file: %s%s", path, strerror(-rc), rc == -EMFILE ?
				": raise RLIMIT_NOFILE (ulimit -n), or map fewer files" :
				rc == -EINVAL ? ": use a regular file or a block device" : "");
		free(file);
		return rc;
	}
	file->fd = rc;
	*pager = (struct mmem_pager){
		.fill = file_fill,
		.write = shared ? file_write : NULL,
		.flush = shared ? file_flush : NULL,
		.release = file_release,
		.ctx = file,
	};
	return 0;
}
