/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Maps and imports memfds and hugetlbfs files, which processes share by descriptor. */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <rte_common.h>

#include "mmem_import.h"
#include "mmem_space.h"
#include "mmem_thread.h"

#ifndef F_ADD_SEALS
#define F_ADD_SEALS	1033	/* Linux 3.17 */
#define F_GET_SEALS	1034
#define F_SEAL_SHRINK	0x0002
#endif

/*
 * A file that shrinks would take memory from the devices, and end a CPU's access by SIGBUS. So it
 * is sealed; files of a hugetlbfs mount cannot be.
 */
static int
file_seal(int fd, bool is_huge, const char **why)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 && is_huge)
		return 0;
	if (seals < 0) {
		*why = "not a memfd or a file on hugetlbfs: use mmem_map_file()";
		return -ENOTSUP;
	}
	if ((seals & F_SEAL_SHRINK) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0)
		return 0;
	*why = "it can shrink, and cannot be sealed: make it with MFD_ALLOW_SEALING";
	return -EPERM;
}

/* Check the file and find the alignment of its mapping. Returns 0, or -errno and the reason. */
static int
file_check(int fd, off_t offset, size_t size, size_t *align, const char **why)
{
	struct statfs fs;
	struct stat st;
	bool is_huge;
	int rc;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0) {
		*why = rte_strerror(errno);
		return -errno;
	}
	is_huge = fs.f_type == HUGETLBFS_MAGIC;
	*align = is_huge ? (size_t)fs.f_bsize : MMEM_PAGE_SIZE;
	rc = file_seal(fd, is_huge, why);
	if (rc < 0)
		return rc;
	if (size == 0 || offset < 0 || ((size_t)offset | size) & (*align - 1)) {
		*why = "use multiples of the file's page size, not 0";
		return -EINVAL;
	}
	/* Sealed before: the file does not shrink after this check. */
	if (fstat(fd, &st) < 0 || offset > st.st_size || size > (size_t)(st.st_size - offset)) {
		*why = "the file is shorter: use ftruncate()";
		return -EINVAL;
	}
	*align = RTE_MAX(*align, MMEM_CHUNK_SIZE);
	return 0;
}

/* Map it where a device can have blocks. Returns the pointer, or NULL with errno. */
static uint8_t *
file_map(int fd, off_t offset, size_t size, size_t align, int prot)
{
	size_t room = size + align;
	uint8_t *start, *mem;
	int error;

	start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	mem = RTE_PTR_ALIGN_CEIL(start, align);
	if (mmap(mem, size, prot, MAP_SHARED | MAP_FIXED, fd, offset) == MAP_FAILED) {
		error = errno;
		munmap(start, room);
		errno = error;
		return NULL;
	}
	if (mem != start)
		munmap(start, mem - start);
	munmap(mem + size, start + room - (mem + size));
	/* A child of fork() has no mapping of the devices' memory, as for a pool. */
	madvise(mem, size, MADV_DONTFORK);
	return mem;
}

void *
mmem_import_fd(struct mmem_space *space, int fd, off_t offset, size_t size, unsigned int flags)
{
	int prot = PROT_READ | (flags & MMEM_WRITE ? PROT_WRITE : 0);
	const char *why = NULL;
	uint8_t *mem;
	size_t align = 0;
	int rc;

	rc = space == NULL ? -EINVAL : mmem_may_wait();
	if (rc < 0) {
		rte_errno = -rc;
		return NULL;
	}
	rc = file_check(fd, offset, size, &align, &why);
	if (rc == 0) {
		mem = file_map(fd, offset, size, align, prot);
		if (mem == NULL) {
			rc = -errno;
			why = rc == -EACCES ? "the descriptor does not allow these rights: open "
					"it O_RDWR" : rte_strerror(errno);
		}
	}
	if (rc < 0) {
		MMEM_LOG_LIMITED(space, "no import of %zu bytes of descriptor %d from offset %jd: "
				"%s", size, fd, (intmax_t)offset, why);
		rte_errno = -rc;
		return NULL;
	}
	rc = mmem_import_mapping(space, mem, size, flags, true);
	if (rc == 0)
		return mem;
	munmap(mem, size);
	rte_errno = -rc;
	return NULL;
}
