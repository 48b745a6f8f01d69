/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The device addresses of a pool's memory. They are the same behind each of its IOMMUs, since all
 * of them walk the same page tables. If the IOMMU maps the pool to one range, an address is a base
 * plus an offset. Otherwise each frame (mmem_frame.h) is mapped alone, because physical addresses
 * are contiguous only within a hugepage. A hash of the frames' addresses then finds a table; it
 * never changes after it was filled, and half of it is empty, so that each lookup ends.
 */

#include <errno.h>
#include <stdlib.h>

#include <rte_bitops.h>
#include <rte_errno.h>

#include <iopf.h>
#include <iopf_iommu.h>

#include "mmem_dma.h"
#include "mmem_log.h"
#include "mmem_pool.h"

/* Of an input address, and of an output address of pgtable.h. */
#define MAX_BITS	48

static size_t
hash_addr(const struct mmem_pool *pool, uint64_t addr)
{
	return addr >> MMEM_CHUNK_LOG2 & pool->by_addr_mask;
}

int
mmem_iommus_init(struct mmem_pool *pool, const struct mmem_pool_conf *conf)
{
	const struct iopf_iommu_info *info;
	unsigned int i, k;

	if (conf->nb_others != 0 && conf->others == NULL) {
		MMEM_LOG(ERR, "pool %s: mmem_pool_conf.nb_others is %u: set others", pool->name,
				conf->nb_others);
		return -EINVAL;
	}
	pool->iommus = calloc((size_t)conf->nb_others + 1, sizeof(*pool->iommus));
	if (pool->iommus == NULL)
		return -ENOMEM;
	pool->va_bits = pool->addr_bits = MAX_BITS;
	pool->access_flag = pool->dirty = true;
	for (i = 0; i <= conf->nb_others; i++) {
		pool->iommus[i] = i == 0 ? conf->iommu : conf->others[i - 1];
		if (pool->iommus[i] == NULL) {
			MMEM_LOG(ERR, "pool %s: entry %u of mmem_pool_conf.others is NULL",
					pool->name, i - 1);
			return -EINVAL;
		}
		for (k = 0; k < i; k++) {
			if (pool->iommus[k] == pool->iommus[i]) {
				MMEM_LOG(ERR, "pool %s: mmem_pool_conf names %s twice", pool->name,
						iopf_iommu_name(pool->iommus[i]));
				return -EINVAL;
			}
		}
		info = iopf_iommu_info(pool->iommus[i]);
		if (info->va_bits != 0)
			pool->va_bits = RTE_MIN(pool->va_bits, (unsigned int)info->va_bits);
		if (info->addr_bits != 0)
			pool->addr_bits = RTE_MIN(pool->addr_bits, (unsigned int)info->addr_bits);
		pool->access_flag &= info->access_flag;
		pool->dirty &= info->dirty;
		pool->fixed_memory |= info->fixed_memory;
	}
	pool->nb_max = i;
	return 0;
}

static int
map_range(struct mmem_pool *pool, struct iopf_iommu *iommu, size_t first, size_t n, uint64_t *addr)
{
	return iopf_dma_map(iommu, pool->dev + (first << MMEM_CHUNK_LOG2), n << MMEM_CHUNK_LOG2,
			addr);
}

static int
unmap_range(struct mmem_pool *pool, struct iopf_iommu *iommu, size_t first, size_t n)
{
	return iopf_dma_unmap(iommu, pool->dev + (first << MMEM_CHUNK_LOG2), n << MMEM_CHUNK_LOG2,
			pool->frame_dma[first]);
}

static void
unmap_chunks(struct mmem_pool *pool, struct iopf_iommu *iommu, size_t n)
{
	while (n-- > 0)
		unmap_range(pool, iommu, n, 1);
}

static void
hash_chunk(struct mmem_pool *pool, size_t i)
{
	size_t slot = hash_addr(pool, pool->frame_dma[i]);

	while (pool->by_addr[slot] != 0)
		slot = (slot + 1) & pool->by_addr_mask;
	pool->by_addr[slot] = i + 1;
}

static int
map_chunks(struct mmem_pool *pool, struct iopf_iommu *iommu)
{
	size_t nb_slots = rte_align64pow2(2 * pool->nb_chunks), i;
	int rc;

	pool->by_addr = calloc(nb_slots, sizeof(*pool->by_addr));
	if (pool->by_addr == NULL)
		return -ENOMEM;
	pool->by_addr_mask = nb_slots - 1;
	for (i = 0; i < pool->nb_chunks; i++) {
		rc = map_range(pool, iommu, i, 1, &pool->frame_dma[i]);
		if (rc == 0 && pool->frame_dma[i] & (MMEM_CHUNK_SIZE - 1)) {
			unmap_range(pool, iommu, i, 1);
			rc = -ENOTSUP;
		}
		if (rc < 0) {
			unmap_chunks(pool, iommu, i);
			return rc;
		}
		hash_chunk(pool, i);
	}
	return 0;
}

static int
map_first(struct mmem_pool *pool)
{
	uint64_t addr;
	size_t i;
	int rc;

	rc = map_range(pool, pool->iommus[0], 0, pool->nb_chunks, &addr);
	if (rc == -ENOTSUP)
		return map_chunks(pool, pool->iommus[0]);
	if (rc < 0)
		return rc;
	for (i = 0; i < pool->nb_chunks; i++)
		pool->frame_dma[i] = addr + (i << MMEM_CHUNK_LOG2);
	return 0;
}

/* Map chunks for one more IOMMU, at the addresses that they have. */
static int
map_same(struct mmem_pool *pool, struct iopf_iommu *iommu, size_t first, size_t n)
{
	uint64_t addr;
	int rc;

	rc = map_range(pool, iommu, first, n, &addr);
	if (rc < 0 || addr == pool->frame_dma[first])
		return rc;
	iopf_dma_unmap(iommu, pool->dev + (first << MMEM_CHUNK_LOG2), n << MMEM_CHUNK_LOG2, addr);
	return -ENOTSUP;
}

static int
map_other(struct mmem_pool *pool, struct iopf_iommu *iommu)
{
	size_t i;
	int rc = 0;

	if (pool->by_addr == NULL)
		return map_same(pool, iommu, 0, pool->nb_chunks);
	for (i = 0; i < pool->nb_chunks && rc == 0; i++)
		rc = map_same(pool, iommu, i, 1);
	if (rc < 0)
		unmap_chunks(pool, iommu, i - 1);
	return rc;
}

int
mmem_dma_map(struct mmem_pool *pool)
{
	struct iopf_iommu *iommu;
	size_t i;
	int rc = 0;

	for (; pool->nb_iommus < pool->nb_max; pool->nb_iommus++) {
		iommu = pool->iommus[pool->nb_iommus];
		rc = pool->nb_iommus == 0 ? map_first(pool) : map_other(pool, iommu);
		if (rc < 0)
			break;
	}
	for (i = 0; rc == 0 && i < pool->nb_chunks; i++)
		atomic_store_explicit(&pool->chunks[i].dma, pool->frame_dma[i],
				memory_order_relaxed);
	if (rc == 0)
		return 0;
	if (pool->nb_iommus != 0 && rc == -ENOTSUP)
		MMEM_LOG(ERR, "pool %s: its memory has another device address behind %s than "
				"behind %s: use a pool for each", pool->name,
				iopf_iommu_name(iommu), iopf_iommu_name(pool->iommus[0]));
	else
		MMEM_LOG(ERR, "pool %s: %s cannot reach its memory: %s%s", pool->name,
				iopf_iommu_name(iommu), rte_strerror(-rc),
				pool->hugepages ? "" : "; reserve hugepages for it");
	mmem_dma_unmap(pool);
	return rc;
}

int
mmem_dma_unmap(struct mmem_pool *pool)
{
	struct iopf_iommu *iommu;
	int rc;

	for (; pool->nb_iommus > 0; pool->nb_iommus--) {
		iommu = pool->iommus[pool->nb_iommus - 1];
		if (pool->by_addr != NULL) {
			unmap_chunks(pool, iommu, pool->nb_chunks);
			continue;
		}
		rc = unmap_range(pool, iommu, 0, pool->nb_chunks);
		if (rc < 0)
			return rc;
	}
	return 0;
}

uint64_t
mmem_table_va_to_pa(void *ctx, const void *p)
{
	const struct mmem_pool *pool = ctx;
	uint64_t off = (const uint8_t *)p - pool->dev;

	return pool->frame_dma[off >> MMEM_CHUNK_LOG2] + (off & (MMEM_CHUNK_SIZE - 1));
}

void *
mmem_table_pa_to_va(void *ctx, uint64_t addr)
{
	const struct mmem_pool *pool = ctx;
	size_t slot = hash_addr(pool, addr), i;

	/* mmem_table_va_to_pa() returned this address, so its chunk is in the hash. */
	for (;;) {
		i = pool->by_addr[slot] - 1;
		if (pool->frame_dma[i] == (addr & ~(uint64_t)(MMEM_CHUNK_SIZE - 1)))
			break;
		slot = (slot + 1) & pool->by_addr_mask;
	}
	return pool->dev + (i << MMEM_CHUNK_LOG2) + (addr & (MMEM_CHUNK_SIZE - 1));
}
