/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Memory of the queues and tables. Each piece is a power of two in size and aligned to it, as
 * queue bases, linear tables and leaves need. Large ones are blocks of their own (memzones, or
 * memory of the backend). Small ones are pieces of chunks and return to a free list, so
 * that a thousand devices do not take a thousand blocks and mappings.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_memzone.h>

#include "backend.h"
#include "base.h"
#include "mem.h"
#include "smmuv3_pmd.h"

#define CHUNK_SIZE	(UINT64_C(4) << SMMUV3_MEM_LOG2_BIG)

/* The contents of a free piece. */
struct piece {
	struct piece *next;
	uint64_t addr;
};

static void
memory_free(const struct smmuv3 *s, struct smmuv3_mem *mem)
{
	if (mem->mz != NULL)
		rte_memzone_free(mem->mz);
	else
		s->backend->free(s->backend_ctx, mem->block, mem->block_size);
}

/* Allocate a block and set its fields in @p mem. */
static int
memory_alloc(const struct smmuv3 *s, size_t align, size_t room, struct smmuv3_mem *mem)
{
	static _Atomic unsigned int serial;
	char name[RTE_MEMZONE_NAMESIZE];

	*mem = (struct smmuv3_mem){ .block_size = room };
	if (s->backend->alloc != NULL) {
		mem->block = s->backend->alloc(s->backend_ctx, align, room);
	} else {
		snprintf(name, sizeof(name), "smmuv3_%u",
				atomic_fetch_add_explicit(&serial, 1, memory_order_relaxed));
		mem->mz = rte_memzone_reserve_aligned(name, room, SOCKET_ID_ANY,
				RTE_MEMZONE_IOVA_CONTIG, align);
		mem->block = mem->mz != NULL ? mem->mz->addr : NULL;
	}
	if (mem->block == NULL) {
		SMMUV3_LOG(ERR, s, "no %zu KiB of %s for queues or tables: %smake the queues "
				"smaller", room >> 10, s->backend->alloc != NULL ? "memory" :
				"contiguous memory", s->backend->alloc != NULL ? "" :
				"give EAL more (-m), or ");
		return -ENOMEM;
	}
	memset(mem->block, 0, room);
	return 0;
}

/*
 * Align the device address too: EAL aligns the CPU address, and the two agree only within a
 * hugepage. A block of twice the size always contains an aligned piece.
 */
static int
block_try(struct smmuv3 *s, size_t size, size_t align, size_t room, struct smmuv3_mem *mem)
{
	uint64_t addr;
	int ret;

	ret = memory_alloc(s, align, room, mem);
	if (ret < 0)
		return ret;
	ret = s->backend->dma_map(s->backend_ctx, mem->block, room, UINT64_C(1) << s->oas_bits,
			&addr);
	if (ret < 0) {
		SMMUV3_LOG(ERR, s, "cannot give %zu KiB at %p a device address below 2^%u: %s",
				room >> 10, mem->block, s->oas_bits, strerror(-ret));
		memory_free(s, mem);
		return ret;
	}
	mem->va = RTE_PTR_ADD(mem->block, RTE_ALIGN_CEIL(addr, align) - addr);
	mem->addr = RTE_ALIGN_CEIL(addr, align);
	mem->size = size;
	return 0;
}

static void
block_free(struct smmuv3 *s, struct smmuv3_mem *mem)
{
	s->backend->dma_unmap(s->backend_ctx, mem->block, mem->block_size,
			mem->addr - RTE_PTR_DIFF(mem->va, mem->block));
	memory_free(s, mem);
}

static int
block_alloc(struct smmuv3 *s, size_t size, size_t align, struct smmuv3_mem *mem)
{
	int ret = block_try(s, size, align, size, mem);

	if (ret < 0 || mem->va == mem->block)
		return ret;
	block_free(s, mem);
	return block_try(s, size, align, 2 * size, mem);
}

static unsigned int
get_class(size_t size)
{
	return rte_log2_u64(size) - SMMUV3_MEM_LOG2_MIN;
}

static int
piece_alloc(struct smmuv3 *s, size_t size, struct smmuv3_mem *mem)
{
	struct smmuv3_mem_pool *pool = &s->pool;
	struct smmuv3_mem_chunk *chunk = pool->chunks;
	struct piece *piece;
	size_t at;
	int ret;

	piece = pool->free[get_class(size)];
	if (piece != NULL) {
		pool->free[get_class(size)] = piece->next;
		*mem = (struct smmuv3_mem){ .va = piece, .addr = piece->addr, .size = size };
		memset(piece, 0, size);
		return 0;
	}
	at = chunk == NULL ? CHUNK_SIZE : RTE_ALIGN_CEIL(chunk->used, size);
	if (at + size > CHUNK_SIZE) {
		chunk = calloc(1, sizeof(*chunk));
		if (chunk == NULL)
			return -ENOMEM;
		ret = block_alloc(s, CHUNK_SIZE, (size_t)1 << SMMUV3_MEM_LOG2_BIG, &chunk->mem);
		if (ret < 0) {
			free(chunk);
			return ret;
		}
		chunk->next = pool->chunks;
		pool->chunks = chunk;
		at = 0;
	}
	chunk->used = at + size;
	*mem = (struct smmuv3_mem){
		.va = RTE_PTR_ADD(chunk->mem.va, at),
		.addr = chunk->mem.addr + at,
		.size = size,
	};
	return 0;
}

int
smmuv3_mem_alloc(struct smmuv3 *s, size_t size, struct smmuv3_mem *mem)
{
	unsigned int log2 = RTE_MAX(rte_log2_u64(size), (uint32_t)SMMUV3_MEM_LOG2_MIN);
	int ret;

	size = (size_t)1 << log2;
	if (log2 >= SMMUV3_MEM_LOG2_BIG)
		return block_alloc(s, size, size, mem);
	pthread_mutex_lock(&s->tables_lock);
	ret = piece_alloc(s, size, mem);
	pthread_mutex_unlock(&s->tables_lock);
	return ret;
}

void
smmuv3_mem_free(struct smmuv3 *s, struct smmuv3_mem *mem)
{
	struct piece *piece = mem->va;

	if (piece == NULL)
		return;
	if (mem->block != NULL) {
		block_free(s, mem);
	} else {
		pthread_mutex_lock(&s->tables_lock);
		piece->addr = mem->addr;
		piece->next = s->pool.free[get_class(mem->size)];
		s->pool.free[get_class(mem->size)] = piece;
		pthread_mutex_unlock(&s->tables_lock);
	}
	*mem = (struct smmuv3_mem){ .va = NULL };
}

void
smmuv3_mem_fini(struct smmuv3 *s)
{
	struct smmuv3_mem_chunk *chunk;

	while ((chunk = s->pool.chunks) != NULL) {
		s->pool.chunks = chunk->next;
		block_free(s, &chunk->mem);
		free(chunk);
	}
}
