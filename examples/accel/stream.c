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

#include "accel_device.h"
#include "digest.h"
#include "machine.h"

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

struct copy_args {
	char *dst;
	const char *src;
	size_t size;
};

/* On a device. */
static int
copy_bytes(struct accel_queue *queue, void *args)
{
	const struct copy_args *a = args;
	size_t i;

	for (i = 0; i < a->size; i += ACCEL_TILE) {
		if (accel_copy(queue, a->dst + i, a->src + i, RTE_MIN(ACCEL_TILE, a->size - i),
				NULL) < 0)
			return -1;
	}
	return accel_req_wait(queue, NULL);
}

/* Each queue copies a part. */
static int
copy_on_devices(struct machine *m, char *dst, char *src, size_t size)
{
	size_t part = RTE_ALIGN_CEIL(size / m->nb_queues + 1, ACCEL_TILE), begin;
	struct copy_args args[RTE_DIM(m->queues)];
	unsigned int i, k;

	if (machine_prefetch(m, src, size) < 0 || machine_prefetch(m, dst, size) < 0 ||
			machine_start(m) < 0)
		return -1;
	for (i = 0; i < m->nb_queues; i++) {
		begin = RTE_MIN(i * part, size);
		args[i] = (struct copy_args){ .dst = dst + begin, .src = src + begin,
			.size = RTE_MIN(part, size - begin) };
	}
	for (k = 0; k < m->out->setup.repeat; k++) {
		for (i = 0; i < m->nb_queues; i++)
			accel_launch(m->queues[i], copy_bytes, &args[i]);
	}
	/* Here, since the arguments are this function's; with it the errors. */
	return machine_finish(m);
}

int
kernel_copy(const char *path, struct outcome *out)
{
	char digest[DIGEST_LEN];
	char *src, *dst = NULL;
	struct machine m;
	size_t size;
	int ret = -1;

	if (get_file_size(path, &size) < 0)
		return -1;
	if (machine_open(&m, out, 2 * size) == 0) {
		src = accel_map_file(m.accel, path, size, MMEM_READ);
		if (src != NULL)
			dst = accel_malloc_managed(m.accel, size, MMEM_WRITE);
		if (dst != NULL && copy_on_devices(&m, dst, src, size) == 0)
			ret = digest_compute(dst, size, digest) == 0 ?
					put_result(out->device, size, digest) :
					accel_fail("libcrypto cannot compute SHA-256");
	}
	machine_close(&m);
	return ret == 0 ? hash_on_cpu(path, out) : -1;
}

struct hash_args {
	char *src;
	size_t size;
	char text[DIGEST_LEN];
};

/* On a device. */
static int
hash_bytes(struct accel_queue *queue, void *args)
{
	struct hash_args *a = args;
	struct digest *digest = digest_new();
	struct accel_stream stream;
	const void *tile;
	long n = -1;

	if (accel_stream_open(&stream, queue, a->src, a->size) == 0) {
		while ((n = accel_stream_next(&stream, &tile)) > 0)
			digest_add(digest, tile, n);
	}
	if (digest_finish(digest, a->text) < 0 && n == 0)
		return accel_fail("libcrypto cannot compute SHA-256");
	return n == 0 ? 0 : -1;
}

int
kernel_sha256(const char *path, struct outcome *out)
{
	struct hash_args args = { 0 };
	struct machine m;
	unsigned int i;
	int ret = -1;

	if (get_file_size(path, &args.size) < 0)
		return -1;
	if (machine_open(&m, out, args.size) == 0)
		args.src = accel_map_file(m.accel, path, args.size, MMEM_READ);
	if (args.src != NULL && machine_prefetch(&m, args.src, args.size) == 0 &&
			machine_start(&m) == 0) {
		/* Each byte needs those before it: one queue. */
		for (i = 0; i < out->setup.repeat; i++)
			accel_launch(m.queues[0], hash_bytes, &args);
		ret = machine_finish(&m);
	}
	machine_close(&m);
	if (ret == 0)
		ret = put_result(out->device, args.size, args.text);
	return ret == 0 ? hash_on_cpu(path, out) : -1;
}
