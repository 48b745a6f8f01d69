/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The memory of a pool, mapped twice: mmem_cpu.h. */

#include <errno.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_common.h>

#include "mmem_pool.h"
#include "mmem_populate.h"

/* Address space that is aligned to a chunk. MAP_FAILED with errno. */
static uint8_t *
reserve_aligned(size_t size)
{
	size_t room = size + MMEM_CHUNK_SIZE;
	uint8_t *start, *mem;

	start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return start;
	mem = RTE_PTR_ALIGN_CEIL(start, MMEM_CHUNK_SIZE);
	if (mem != start)
		munmap(start, mem - start);
	munmap(mem + size, start + room - (mem + size));
	return mem;
}

/* Map ordinary memory. The kernel provides it when it is populated. */
static int
map_ordinary(struct mmem_pool *pool)
{
	uint8_t *mem = reserve_aligned(pool->size);
	int rc;

	if (mem == MAP_FAILED)
		return -errno;
	/*
	 * Shared: after fork(), a copy-on-write would give the parent new pages that devices do not
	 * see. Anonymous: RLIMIT_FSIZE and RLIMIT_NOFILE do not apply.
	 */
	if (mmap(mem, pool->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED |
			MAP_NORESERVE, -1, 0) == MAP_FAILED) {
		rc = -errno;
		munmap(mem, pool->size);
		return rc;
	}
	pool->mem = mem;
	pool->hugepages = false;
	return 0;
}

/* Reserve all hugepages or fail: no SIGBUS later. */
static int
map_hugepages(struct mmem_pool *pool)
{
	int fd = memfd_create("mmem", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	uint8_t *mem, *dev;

	if (fd < 0)
		return -errno;
	mem = dev = MAP_FAILED;
	if (ftruncate(fd, pool->size) == 0) {
		mem = mmap(NULL, pool->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		dev = mmap(NULL, pool->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	close(fd);
	if (mem == MAP_FAILED) {
		if (dev != MAP_FAILED)
			munmap(dev, pool->size);
		return -ENOMEM;
	}
	pool->mem = mem;
	pool->dev = dev != MAP_FAILED ? dev : mem;
	pool->hugepages = true;
	return 0;
}

/* Without a second view the pool works, but CPU accesses cannot be watched. */
static void
map_second_view(struct mmem_pool *pool)
{
	uint8_t *dev = reserve_aligned(pool->size);

	pool->dev = pool->mem;
	if (dev == MAP_FAILED)
		return;
	if (mremap(pool->mem, 0, pool->size, MREMAP_MAYMOVE | MREMAP_FIXED, dev) == MAP_FAILED) {
		munmap(dev, pool->size);
		return;
	}
	pool->dev = dev;
	madvise(pool->dev, pool->size, MADV_HUGEPAGE);
}

#define LONG_BITS	(8 * sizeof(unsigned long))

/*
 * MPOL_MF_MOVE is for mlockall(), which populates a mapping at once. Preferred, not bound: a bound
 * mapping ends in the OOM killer, or in SIGBUS with hugepages, when the node has no memory left.
 */
int
mmem_prefer_node(void *mem, size_t size, unsigned int node)
{
	unsigned long mask[MMEM_MAX_NODES / LONG_BITS] = { 0 };

	if (node == 0) {
		syscall(SYS_mbind, mem, size, MPOL_DEFAULT, NULL, 0ul, 0);
		return 0;
	}
	if (node > MMEM_MAX_NODES)
		return -EINVAL;
	mask[(node - 1) / LONG_BITS] = 1ul << (node - 1) % LONG_BITS;
	/* The kernel reads one bit less than it is told. */
	if (syscall(SYS_mbind, mem, size, MPOL_PREFERRED, mask, (unsigned long)MMEM_MAX_NODES + 1,
			MPOL_MF_MOVE) == 0)
		return 0;
	/* A kernel without NUMA has one node. */
	if (errno == ENOSYS)
		return node == MMEM_NODE(0) ? 0 : -EINVAL;
	return -errno;
}

int
mmem_node_check(unsigned int node)
{
	void *page;
	int rc;

	page = mmap(NULL, MMEM_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -errno;
	rc = mmem_prefer_node(page, MMEM_PAGE_SIZE, node);
	munmap(page, MMEM_PAGE_SIZE);
	return rc;
}

/* Both views: the policy of hugepages is that of the mapping which populates them. */
static void
pool_prefer_node(struct mmem_pool *pool)
{
	mmem_prefer_node(pool->mem, pool->size, pool->node);
	mmem_prefer_node(pool->dev, pool->size, pool->node);
}

void
mmem_pool_unmap_memory(struct mmem_pool *pool)
{
	if (pool->dev != pool->mem)
		munmap(pool->dev, pool->size);
	munmap(pool->mem, pool->size);
}

int
mmem_pool_map_memory(struct mmem_pool *pool, bool no_hugepages)
{
	bool huge = !no_hugepages && map_hugepages(pool) == 0;
	size_t i;
	int rc = 0;

	if (huge)
		pool_prefer_node(pool);
	if (huge && mmem_populate_chunks(pool, 0, pool->nb_chunks) < 0) {
		mmem_pool_unmap_memory(pool);
		huge = false;
	}
	if (!huge) {
		rc = map_ordinary(pool);
		if (rc < 0)
			return rc;
		map_second_view(pool);
		pool_prefer_node(pool);
	}
	/* Nothing uses the memory yet. */
	pool->is_locked = !huge && madvise(pool->dev, MMEM_PAGE_SIZE, MADV_REMOVE) < 0;
	for (i = 0; huge && i < pool->nb_chunks; i++)
		atomic_init(&pool->chunks[i].state, CHUNK_POPULATED);
	/* A child must not get a mapping of the devices' memory. */
	madvise(pool->mem, pool->size, MADV_DONTFORK);
	madvise(pool->dev, pool->size, MADV_DONTFORK);
	return 0;
}
