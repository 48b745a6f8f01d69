/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contents from a file, read when a block is first accessed. Contents beyond the end of the file
 * are zero, also if the file shrinks while the region exists. A shared file gets what was written.
 * With a ring of io_uring no thread waits for the file: mmem_uring.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_common.h>

#include "mmem_chunk.h"
#include "mmem_io.h"
#include "mmem_log.h"
#include "mmem_pager.h"
#include "mmem_pool.h"
#include "mmem_uring.h"

#define NB_THREADS	4

struct pager_file {
	struct mmem_file file;
	off_t offset;
	struct mmem_uring *ring;	/* NULL: threads read and write */
};

static int
file_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	const struct pager_file *pager = ctx;

	return mmem_file_read(&pager->file, dst, len, pager->offset + offset);
}

/* A file that was truncated stays so: bytes beyond its end are not written. Returns 0 or -errno. */
static int
cut_at_end(const struct pager_file *pager, off_t at, size_t *len)
{
	off_t end = pager->file.size != 0 ? pager->file.size :
			lseek(pager->file.fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*len = at >= end ? 0 : RTE_MIN(*len, (uint64_t)(end - at));
	return 0;
}

static int
file_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	const struct pager_file *pager = ctx;
	off_t at = pager->offset + offset;
	int rc = cut_at_end(pager, at, &len);

	return rc < 0 ? rc : mmem_file_write(&pager->file, src, len, at);
}

static int
file_start(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len)
{
	struct pager_file *pager = ctx;

	return mmem_uring_fetch(pager->ring, &pager->file, pager->offset + offset, dst, len, fetch);
}

static int
file_write_start(void *ctx, struct mmem_write *write, uint64_t offset, const void *src, size_t len)
{
	struct pager_file *pager = ctx;
	off_t at = pager->offset + offset;
	int rc = cut_at_end(pager, at, &len);

	if (rc == 0 && len == 0)
		mmem_write_done(write, 0);
	else if (rc == 0)
		rc = mmem_uring_write(pager->ring, &pager->file, at, src, len, write, NULL, NULL);
	return rc;
}

static int
file_flush(void *ctx)
{
	const struct pager_file *pager = ctx;

	return fdatasync(pager->file.fd) < 0 ? -errno : 0;
}

static void
file_release(void *ctx)
{
	struct pager_file *pager = ctx;

	mmem_file_close(&pager->file);
	free(pager);
}

/* Accept only files that pread() reads repeatably and without waiting. Returns 0 or -errno. */
static int
check_type(struct mmem_file *file)
{
	struct stat st;

	file->size = 0;
	if (fstat(file->fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISREG(st.st_mode))
		return 0;
	if (!S_ISBLK(st.st_mode))
		return -EINVAL;
	file->size = lseek(file->fd, 0, SEEK_END);
	if (file->size < 0)
		return -errno;
	return file->size > 0 ? 0 : -ENOMEDIUM;
}

int
mmem_file_open(struct mmem_file *file, const char *path, int flags, bool direct)
{
	char again[32];
	int rc;

	file->direct_fd = -1;
	/* O_NONBLOCK: do not wait for the writer of a FIFO. */
	file->fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
	if (file->fd < 0)
		return -errno;
	rc = check_type(file);
	/* With it, io_uring would not wait for the file either. */
	if (rc == 0 && fcntl(file->fd, F_SETFL, 0) < 0)
		rc = -errno;
	if (rc < 0) {
		mmem_file_close(file);
		return rc;
	}
	/* The same file, also if its name is another's by now. */
	snprintf(again, sizeof(again), "/proc/self/fd/%d", file->fd);
	if (direct || file->size != 0)
		file->direct_fd = open(again, (flags & O_ACCMODE) | O_CLOEXEC | O_DIRECT);
	return 0;
}

void
mmem_file_close(struct mmem_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	if (file->direct_fd >= 0)
		close(file->direct_fd);
	file->fd = file->direct_fd = -1;
}

int
mmem_pager_open_file(struct mmem_pool *pool, const char *path, off_t offset, size_t size,
		bool shared, struct mmem_pager *pager)
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
	rc = mmem_file_open(&file->file, path, shared ? O_RDWR : O_RDONLY,
			pool->io & MMEM_IO_DIRECT);
	if (rc < 0) {
		MMEM_LOG(ERR, "%s: cannot map the file: %s%s", path, strerror(-rc), rc == -EMFILE ?
				": raise RLIMIT_NOFILE (ulimit -n), or map fewer files" :
				rc == -EINVAL ? ": use a regular file or a block device" : "");
		free(file);
		return rc;
	}
	file->ring = mmem_uring_get(pool);
	*pager = (struct mmem_pager){
		.flush = shared ? file_flush : NULL,
		.release = file_release,
		.ctx = file,
	};
	if (file->ring != NULL) {
		pager->start = file_start;
		pager->write_start = shared ? file_write_start : NULL;
	} else {
		pager->fill = file_fill;
		pager->write = shared ? file_write : NULL;
		pager->nb_threads = NB_THREADS;
	}
	return 0;
}
