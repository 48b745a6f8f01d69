/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_IO_H
#define MMEM_IO_H

/* Whole reads and writes of files. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* A file of regions: a regular file or a block device. */
struct mmem_file {
	int fd;				/* -1: none */
	int direct_fd;			/* with O_DIRECT, or -1 */
	off_t size;			/* of a block device, when it was opened; else 0 */
};

/* O_DIRECT needs bytes, length and offset aligned to blocks of the device. */
#define MMEM_DIRECT_ALIGN	4096

/* Through which descriptor this range is read or written. */
static inline int
mmem_file_choose(const struct mmem_file *file, const void *bytes, size_t len, off_t offset)
{
	return file->direct_fd >= 0 && (((uintptr_t)bytes | len | (uint64_t)offset) &
			(MMEM_DIRECT_ALIGN - 1)) == 0 ? file->direct_fd : file->fd;
}

/*
 * A read found the end there. A block device that is gone, such as one of a network, has size 0
 * until it is back: its bytes are not zero. Returns 0 or -EIO.
 */
static inline int
mmem_file_check_end(const struct mmem_file *file, off_t offset)
{
	return offset < file->size ? -EIO : 0;
}

/* Bytes beyond the end of the file are zero. Returns 0 or -errno. */
static inline int
mmem_file_read(const struct mmem_file *file, void *dst, size_t len, off_t offset)
{
	bool no_direct = false;
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(no_direct ? file->fd : mmem_file_choose(file, (char *)dst + done,
				len - done, offset + done), (char *)dst + done, len - done,
				offset + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && !no_direct && file->direct_fd >= 0) {
			no_direct = true;
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0 && mmem_file_check_end(file, offset + done) < 0)
			return -EIO;
		if (n == 0)
			break;
		done += n;
	}
	memset((char *)dst + done, 0, len - done);
	return 0;
}

/* Returns 0 or -errno. */
static inline int
mmem_file_write(const struct mmem_file *file, const void *src, size_t len, off_t offset)
{
	bool no_direct = false;
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pwrite(no_direct ? file->fd : mmem_file_choose(file, (const char *)src + done,
				len - done, offset + done), (const char *)src + done, len - done,
				offset + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && !no_direct && file->direct_fd >= 0) {
			no_direct = true;
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += n;
	}
	return 0;
}

/*
 * pager_file.c
 */

/*
 * Open a regular file or a block device, with these flags of open(2); with @p direct also for
 * O_DIRECT, if its file system can. A block device always: a write through the page cache ends
 * before the device has the bytes, and they are lost if it fails then. Returns 0 or -errno.
 */
int mmem_file_open(struct mmem_file *file, const char *path, int flags, bool direct);
void mmem_file_close(struct mmem_file *file);

#endif /* MMEM_IO_H */
