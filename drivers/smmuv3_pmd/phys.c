/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Physical addresses. No IOMMU translates the accesses of an SMMU itself, so its queues and
 * tables, and the frames that tables point to, need physical addresses that do not change. EAL's
 * memory has them (with physical IOVAs), and hugepages, which the kernel neither swaps nor
 * compacts. The kernel may move any other memory at any time, so it is refused.
 */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <rte_memory.h>

#include "base.h"
#include "phys.h"

#define LOG(level, fmt, ...)							\
	rte_log(RTE_LOG_ ## level, smmuv3_logtype, "smmuv3: " fmt "\n", ##__VA_ARGS__)

/* /proc/self/pagemap and /proc/kpageflags, by page [Linux: admin-guide/mm/pagemap]. */
#define PAGEMAP_PRESENT	(UINT64_C(1) << 63)
#define PAGEMAP_PFN	((UINT64_C(1) << 55) - 1)
#define KPF_HUGE	(UINT64_C(1) << 17)

#define BATCH		512

static int
find_eal_addr(const void *ptr, size_t len, uint64_t *addr)
{
	const uint8_t *at = ptr, *end = at + len;
	const struct rte_memseg *ms;
	uint64_t next = 0, iova;

	for (; at < end; at = RTE_PTR_ADD(ms->addr, ms->len)) {
		ms = rte_mem_virt2memseg(at, NULL);
		if (ms == NULL || ms->iova == RTE_BAD_IOVA)
			return -ENOTSUP;
		iova = ms->iova + RTE_PTR_DIFF(at, ms->addr);
		if (at == ptr)
			*addr = iova;
		else if (iova != next)
			return -ENOTSUP;
		next = ms->iova + ms->len;
	}
	return 0;
}

/* Read n entries of a file with 8 bytes for each page. */
static int
read_entries(int fd, uint64_t first, uint64_t *entries, unsigned int n)
{
	size_t size = n * sizeof(*entries);

	return pread(fd, entries, size, first * sizeof(*entries)) == (ssize_t)size ? 0 : -EPERM;
}

/* Check that the pages are contiguous; the first is at *pfn unless that is 0. */
static int
check_pages(const uint64_t *entries, unsigned int n, uint64_t *pfn)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (!(entries[i] & PAGEMAP_PRESENT))
			return -EFAULT;
		if ((entries[i] & PAGEMAP_PFN) == 0)
			return -EPERM;
		if (*pfn == 0)
			*pfn = entries[i] & PAGEMAP_PFN;
		else if ((entries[i] & PAGEMAP_PFN) != *pfn + i)
			return -ENOTSUP;
	}
	return 0;
}

static int
find_hugepage_addr(int pagemap, int flags, const void *ptr, size_t len, uint64_t *addr,
		const char **why)
{
	uint64_t page_size = sysconf(_SC_PAGESIZE), entries[BATCH], pfn, first_pfn = 0;
	uint64_t first = (uintptr_t)ptr / page_size;
	uint64_t nb = ((uintptr_t)ptr + len - 1) / page_size + 1 - first, at;
	unsigned int i, n;
	int ret;

	for (at = 0; at < nb; at += n) {
		n = RTE_MIN(nb - at, (uint64_t)BATCH);
		pfn = first_pfn == 0 ? 0 : first_pfn + at;
		ret = read_entries(pagemap, first + at, entries, n);
		if (ret == 0)
			ret = check_pages(entries, n, &pfn);
		if (ret < 0)
			return ret;
		if (first_pfn == 0)
			first_pfn = pfn;
		ret = read_entries(flags, pfn, entries, n);
		if (ret < 0)
			return ret;
		for (i = 0; i < n; i++)
			if (!(entries[i] & KPF_HUGE)) {
				*why = "it is not in hugepages, and the kernel may move it";
				return -ENOTSUP;
			}
	}
	*addr = first_pfn * page_size + (uintptr_t)ptr % page_size;
	return 0;
}

int
smmuv3_phys_lookup(const void *ptr, size_t len, uint64_t *addr)
{
	const char *why = NULL;
	int pagemap, flags, ret;

	if (len == 0 || len > UINTPTR_MAX - (uintptr_t)ptr)
		return -EINVAL;
	if (rte_mem_virt2memseg(ptr, NULL) != NULL)
		return find_eal_addr(ptr, len, addr);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	ret = pagemap < 0 || flags < 0 ? -EPERM :
			find_hugepage_addr(pagemap, flags, ptr, len, addr, &why);
	if (flags >= 0)
		close(flags);
	if (pagemap >= 0)
		close(pagemap);
	if (ret == -EPERM)
		why = "the kernel hides its physical address (/proc/self/pagemap, "
			"/proc/kpageflags): run as root, on a kernel with CONFIG_PROC_PAGE_MONITOR";
	else if (ret == -EFAULT)
		why = "not all of it is populated";
	if (why != NULL)
		LOG(ERR, "memory at %p, %zu bytes: %s", ptr, len, why);
	return ret;
}
