/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The product on the CPU with the matrix in a file mapping, as the kernel pages it: for a process
 * with a memory limit, beside managed memory with a budget.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "spmv.h"

#define PAGE_SIZE	4096

/* An array of the file. */
struct part {
	const void *own;
	size_t size;
	size_t offset;
};

/* Nothing of the file is in memory afterwards, if the kernel can help it. */
static int
write_file(FILE *file, const struct part *parts, unsigned int nb)
{
	unsigned int i;

	for (i = 0; i < nb; i++) {
		if (fseek(file, parts[i].offset, SEEK_SET) != 0 ||
				fwrite(parts[i].own, 1, parts[i].size, file) != parts[i].size)
			return accel_fail("cannot write a temporary file: %s", strerror(errno));
	}
	if (fflush(file) != 0 || fsync(fileno(file)) != 0)
		return accel_fail("cannot write a temporary file: %s", strerror(errno));
	posix_fadvise(fileno(file), 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

/* The memory that the process has beside files, in bytes; 0: not known. */
static size_t
get_private_memory(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	size_t kib = 0;
	char line[128];

	while (file != NULL && kib == 0 && fgets(line, sizeof(line), file) != NULL)
		sscanf(line, "RssAnon: %zu kB", &kib);
	if (file != NULL)
		fclose(file);
	return kib << 10;
}

static int
map_and_run(FILE *file, const struct csr *own, const struct part *parts, size_t size,
		struct outcome *out, uint64_t *y)
{
	struct csr csr = *own;
	unsigned int i;
	uint64_t begin;
	char *mem;

	mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fileno(file), 0);
	if (mem == MAP_FAILED)
		return accel_fail("cannot map a temporary file: %s", strerror(errno));
	csr.ptr = (uint64_t *)(mem + parts[0].offset);
	csr.col = (uint32_t *)(mem + parts[1].offset);
	csr.val = (int64_t *)(mem + parts[2].offset);
	begin = rte_rdtsc();
	for (i = 0; i < out->setup.repeat; i++)
		spmv_multiply_on_cpu(&csr, y);
	out->seconds = (double)(rte_rdtsc() - begin) / rte_get_tsc_hz();
	out->private = get_private_memory();
	munmap(mem, size);
	return 0;
}

int
spmv_mapping_run(const struct csr *own, struct outcome *out, uint64_t *y)
{
	struct part parts[] = {
		{ .own = own->ptr, .size = (own->rows + UINT64_C(1)) * sizeof(*own->ptr) },
		{ .own = own->col, .size = own->nb_entries * sizeof(*own->col) },
		{ .own = own->val, .size = own->nb_entries * sizeof(*own->val) },
	};
	FILE *file = tmpfile();
	size_t size = 0;
	unsigned int i;
	int ret;

	if (file == NULL)
		return accel_fail("cannot make a temporary file: %s", strerror(errno));
	for (i = 0; i < RTE_DIM(parts); i++) {
		parts[i].offset = size;
		size += RTE_ALIGN_CEIL(parts[i].size, PAGE_SIZE);
	}
	out->data = size;
	ret = write_file(file, parts, RTE_DIM(parts));
	if (ret == 0)
		ret = map_and_run(file, own, parts, size, out, y);
	fclose(file);
	return ret;
}
