/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The device addresses of a pool's memory. If the IOMMU maps the pool to one range, an address is a
 * base plus an offset. Otherwise each chunk is mapped alone, because physical addresses are
 * contiguous only within a hugepage. A hash of the chunks' addresses then finds a table; it never
 * changes after it was filled, and half of it is empty, so that each lookup ends.
 */

#include <errno.h>
#include <stdlib.h>

#include <rte_bitops.h>

#include <iopf.h>
#include <iopf_iommu.h>

#include "mmem_dma.h"
#include "mmem_pool.h"

static size_t
hash_addr(const struct mmem_pool *pool, uint64_t addr)
{
	return addr >> MMEM_CHUNK_LOG2 & pool->by_addr_mask;
}

static void
unmap_chunks(struct mmem_pool *pool, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		iopf_dma_unmap(pool->iommu, pool->dev + (i << MMEM_CHUNK_LOG2), MMEM_CHUNK_SIZE,
				pool->chunks[i].dma);
	free(pool->by_addr);
	pool->by_addr = NULL;
}

static int
map_chunks(struct mmem_pool *pool)
{
	size_t nb_slots = rte_align64pow2(2 * pool->nb_chunks), i, slot;
	uint64_t addr;
	int rc;

	pool->by_addr = calloc(nb_slots, sizeof(*pool->by_addr));
	if (pool->by_addr == NULL)
		return -ENOMEM;
	pool->by_addr_mask = nb_slots - 1;
	for (i = 0; i < pool->nb_chunks; i++) {
		rc = iopf_dma_map(pool->iommu, pool->dev + (i << MMEM_CHUNK_LOG2), MMEM_CHUNK_SIZE,
				&addr);
		if (rc == 0 && addr & (MMEM_CHUNK_SIZE - 1))
			rc = -ENOTSUP;
		if (rc < 0) {
			unmap_chunks(pool, i);
			return rc;
		}
		pool->chunks[i].dma = addr;
		for (slot = hash_addr(pool, addr); pool->by_addr[slot] != 0;
				slot = (slot + 1) & pool->by_addr_mask)
			;
		pool->by_addr[slot] = i + 1;
	}
	return 0;
}

int
mmem_dma_map(struct mmem_pool *pool)
{
	uint64_t addr;
	size_t i;
	int rc;

	rc = iopf_dma_map(pool->iommu, pool->dev, pool->size, &addr);
	if (rc == -ENOTSUP)
		return map_chunks(pool);
	if (rc < 0)
		return rc;
	for (i = 0; i < pool->nb_chunks; i++)
		pool->chunks[i].dma = addr + (i << MMEM_CHUNK_LOG2);
	return 0;
}

int
mmem_dma_unmap(struct mmem_pool *pool)
{
	if (pool->by_addr == NULL)
		return iopf_dma_unmap(pool->iommu, pool->dev, pool->size, pool->chunks[0].dma);
	unmap_chunks(pool, pool->nb_chunks);
	return 0;
}

uint64_t
mmem_table_va_to_pa(void *ctx, const void *p)
{
	const struct mmem_pool *pool = ctx;
	uint64_t off = (const uint8_t *)p - pool->dev;

	return pool->chunks[off >> MMEM_CHUNK_LOG2].dma + (off & (MMEM_CHUNK_SIZE - 1));
}

void *
mmem_table_pa_to_va(void *ctx, uint64_t addr)
{
	const struct mmem_pool *pool = ctx;
	size_t slot = hash_addr(pool, addr), i;

	/* mmem_table_va_to_pa() returned this address, so its chunk is in the hash. */
	for (;;) {
		i = pool->by_addr[slot] - 1;
		if (pool->chunks[i].dma == (addr & ~(uint64_t)(MMEM_CHUNK_SIZE - 1)))
			break;
		slot = (slot + 1) & pool->by_addr_mask;
	}
	return pool->dev + (i << MMEM_CHUNK_LOG2) + (addr & (MMEM_CHUNK_SIZE - 1));
}
