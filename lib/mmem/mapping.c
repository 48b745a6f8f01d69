/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Mappings of this process [Linux: filesystems/proc.rst, smaps]. A device keeps a page's address,
 * so the kernel must not put another page in its place: by copy-on-write, after fork() or on the
 * first write, by a merge of equal pages, or by a userfaultfd.
 */

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include <rte_common.h>

#include "mmem_chunk.h"
#include "mmem_window.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22	/* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

/* A head is one line: no part of a path is taken for a line of its own. */
#define LINE_MAX_SIZE (PATH_MAX + 256)

struct vma {
	uintptr_t start, end;
	char perms[5];
	char path[LINE_MAX_SIZE];
};

/* "start-end perms offset device inode path" */
static bool
parse_head(const char *line, struct vma *vma)
{
	unsigned long start, end;
	char perms[5];
	int at = 0;

	/* Names of other lines also begin with hexadecimal digits. */
	if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %*u %n", &start, &end, perms, &at) != 3 ||
			at == 0)
		return false;
	vma->start = start;
	vma->end = end;
	memcpy(vma->perms, perms, sizeof(perms));
	snprintf(vma->path, sizeof(vma->path), "%.*s", (int)strcspn(line + at, "\n"), line + at);
	return true;
}

/* One of the two-letter words of the line VmFlags. */
static bool
has_flag(const char *line, const char *flag)
{
	const char *at = strstr(line, flag);

	return at != NULL && at[-1] == ' ' && (at[2] == ' ' || at[2] == '\n');
}

/* A file whose pages the kernel writes back itself. A file without a name is none. */
static bool
is_on_disk(const char *path)
{
	struct statfs fs;

	return path[0] == '/' && statfs(path, &fs) == 0 && fs.f_type != TMPFS_MAGIC &&
			fs.f_type != HUGETLBFS_MAGIC;
}

static int
check_vma(const struct vma *vma, const char *flags, bool write, const char **why)
{
	bool is_private = vma->perms[3] != 's';

	if (vma->perms[0] != 'r' || ((write || is_private) && vma->perms[1] != 'w')) {
		*why = is_private ? "a private mapping has to be readable and writable" :
				"it is not mapped with these rights: use mprotect(), or fewer "
				"flags";
		return -EACCES;
	}
	if (is_private && !has_flag(flags, "dc")) {
		*why = "a private mapping, whose pages fork() lets the kernel replace: map it with "
			"MAP_SHARED, or exclude it with madvise(MADV_DONTFORK)";
		return -EINVAL;
	}
	if (has_flag(flags, "io") || has_flag(flags, "pf")) {
		*why = "registers or memory of a device, not ordinary memory";
		return -ENOTSUP;
	}
	if (has_flag(flags, "mg") || has_flag(flags, "um") || has_flag(flags, "uw") ||
			has_flag(flags, "ui")) {
		*why = "MADV_MERGEABLE or a userfaultfd replaces its pages: undo that first";
		return -EINVAL;
	}
	if (!is_private && is_on_disk(vma->path)) {
		*why = "a file on disk: use mmem_map_file()";
		return -ENOTSUP;
	}
	return 0;
}

int
mmem_mapping_check(const void *ptr, size_t size, bool write, struct mmem_mapping *mapping,
		const char **why)
{
	uintptr_t at = (uintptr_t)ptr, end = at + size;
	struct vma vma = { 0 };
	size_t page_size = 0;
	char line[LINE_MAX_SIZE];
	int rc = 0;
	FILE *f;

	*mapping = (struct mmem_mapping){ .page_size = SIZE_MAX, .is_writable = true };
	f = fopen("/proc/self/smaps", "re");
	if (f == NULL) {
		*why = "cannot read /proc/self/smaps: raise RLIMIT_NOFILE (ulimit -n), or mount "
			"/proc";
		return -errno;
	}
	/* Each mapping has a head, and VmFlags as its last line. */
	while (rc == 0 && at < end && fgets(line, sizeof(line), f) != NULL) {
		if (parse_head(line, &vma))
			continue;
		if (sscanf(line, "KernelPageSize: %zu kB", &page_size) == 1)
			continue;
		if (strncmp(line, "VmFlags:", 8) != 0 || vma.end <= at)
			continue;
		if (vma.start > at)
			break;
		rc = check_vma(&vma, line, write, why);
		mapping->page_size = RTE_MIN(mapping->page_size, page_size << 10);
		mapping->is_writable = mapping->is_writable && vma.perms[1] == 'w';
		at = vma.end;
	}
	fclose(f);
	if (rc == 0 && at < end) {
		*why = "not all of it is mapped";
		rc = -EINVAL;
	}
	return rc;
}

int
mmem_mapping_populate(void *ptr, size_t size, const struct mmem_mapping *mapping, const char **why)
{
	if (madvise(ptr, size, mapping->is_writable ? MADV_POPULATE_WRITE :
			MADV_POPULATE_READ) == 0)
		return 0;
	switch (errno) {
	case EINVAL:
		*why = "the kernel cannot populate it: Linux 5.14 is needed";
		return -ENOTSUP;
	case EFAULT:
		*why = "a part of it has no memory: it is beyond the end of its file, or there "
			"are not enough hugepages";
		return -EFAULT;
	default:
		*why = "no memory";
		return -ENOMEM;
	}
}
