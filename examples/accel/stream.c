/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Kernels on the bytes of a file: copy and sha256. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_common.h>

#include "digest.h"
#include "kernels.h"

static int
get_file_size(const char *path, size_t *size)
{
	struct stat st;
	int error, fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return accel_fail("%s: cannot open: %s; give a readable file", path,
				strerror(errno));
	error = fstat(fd, &st) < 0 ? errno : 0;
	close(fd);
	if (error != 0)
		return accel_fail("%s: cannot stat: %s", path, strerror(error));
	if (!S_ISREG(st.st_mode))
		return accel_fail("%s: not a regular file; give a regular file", path);
	if (st.st_size == 0)
		return accel_fail("%s: the file is empty; give a file with contents", path);
	*size = st.st_size;
	return 0;
}

/* The CPU's side: read(2) without managed memory. */
static int
hash_file(const char *path, size_t *size, char text[DIGEST_LEN])
{
	struct digest *digest = digest_new();
	ssize_t n = -1;
	char *buf = malloc(ACCEL_TILE);
	int error, fd = open(path, O_RDONLY | O_CLOEXEC);

	*size = 0;
	if (fd >= 0 && buf != NULL) {
		while ((n = read(fd, buf, ACCEL_TILE)) > 0) {
			digest_add(digest, buf, n);
			*size += n;
		}
	}
	error = n < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	free(buf);
	if (digest_finish(digest, text) < 0 && error == 0)
		return accel_fail("%s: libcrypto cannot compute its SHA-256", path);
	return error == 0 ? 0 : accel_fail("%s: cannot read: %s", path, strerror(error));
}

static int
put_result(char *text, size_t size, const char *digest)
{
	snprintf(text, RESULT_LEN, "%zu bytes, sha256 %s", size, digest);
	return 0;
}

static int
hash_on_cpu(const char *path, struct outcome *out)
{
	char digest[DIGEST_LEN];
	size_t size;

	if (hash_file(path, &size, digest) < 0)
		return -1;
	return put_result(out->cpu, size, digest);
}

static int
copy_on_device(struct accel *accel, char *dst, const char *src, size_t size)
{
	size_t i;

	for (i = 0; i < size; i += ACCEL_TILE) {
		if (accel_copy(accel, dst + i, src + i, RTE_MIN(ACCEL_TILE, size - i), NULL) < 0)
			return -1;
	}
	return accel_wait(accel, NULL);
}

int
kernel_copy(const char *path, struct outcome *out)
{
	char digest[DIGEST_LEN];
	struct accel *accel;
	char *src, *dst;
	size_t size;
	int ret = -1;

	if (get_file_size(path, &size) < 0)
		return -1;
	accel = accel_open(2 * size, out->pri);
	if (accel == NULL)
		return -1;
	src = accel_map_file(accel, path, size, MMEM_READ);
	dst = src == NULL ? NULL : accel_alloc(accel, size, MMEM_WRITE);
	if (dst != NULL && copy_on_device(accel, dst, src, size) == 0) {
		accel_get_figures(accel, &out->figures);
		ret = digest_compute(dst, size, digest) == 0 ?
				put_result(out->device, size, digest) :
				accel_fail("libcrypto cannot compute SHA-256");
	}
	accel_close(accel);
	return ret == 0 ? hash_on_cpu(path, out) : -1;
}

static int
hash_on_device(struct accel *accel, struct accel_stream *stream, const char *src, size_t size,
		char text[DIGEST_LEN])
{
	struct digest *digest = digest_new();
	const void *tile;
	long n = -1;

	if (accel_stream_open(stream, accel, src, size) == 0) {
		while ((n = accel_stream_next(stream, &tile)) > 0)
			digest_add(digest, tile, n);
	}
	if (digest_finish(digest, text) < 0 && n == 0)
		return accel_fail("libcrypto cannot compute SHA-256");
	return n == 0 ? 0 : -1;
}

int
kernel_sha256(const char *path, struct outcome *out)
{
	struct accel_stream stream = { 0 };
	char digest[DIGEST_LEN];
	struct accel *accel;
	const char *src;
	size_t size;
	int ret = -1;

	if (get_file_size(path, &size) < 0)
		return -1;
	accel = accel_open(size, out->pri);
	if (accel == NULL)
		return -1;
	src = accel_map_file(accel, path, size, MMEM_READ);
	if (src != NULL && hash_on_device(accel, &stream, src, size, digest) == 0) {
		accel_get_figures(accel, &out->figures);
		ret = put_result(out->device, size, digest);
	}
	accel_close(accel);
	accel_stream_close(&stream);
	return ret == 0 ? hash_on_cpu(path, out) : -1;
}
