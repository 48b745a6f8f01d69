/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_IO_H
#define MMEM_IO_H

/* Whole reads and writes of files. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Bytes beyond the end of the file are zero. Returns 0 or -errno. */
static inline int
mmem_read_all(int fd, void *dst, size_t len, off_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(fd, (char *)dst + done, len - done, offset + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += n;
	}
	memset((char *)dst + done, 0, len - done);
	return 0;
}

/* Returns 0 or -errno. */
static inline int
mmem_write_all(int fd, const void *src, size_t len, off_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pwrite(fd, (const char *)src + done, len - done, offset + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += n;
	}
	return 0;
}

#endif /* MMEM_IO_H */
