/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MEM_H
#define SMMUV3_MEM_H

/**
 * @file
 * Memory that the SMMU reads or writes: queues, tables, MSI words.
 */

#include <stddef.h>
#include <stdint.h>

struct rte_memzone;
struct smmuv3;

struct smmuv3_mem {
	void *va;
	uint64_t addr;			/* device address */
	size_t size;			/* a power of two; aligned to it */
	void *block;			/* that holds it; NULL when it is a piece of a chunk */
	size_t block_size;
	const struct rte_memzone *mz;	/* of the block; NULL: the backend's memory */
};

struct smmuv3_mem_chunk {
	struct smmuv3_mem_chunk *next;
	struct smmuv3_mem mem;
	size_t used;
};

#define SMMUV3_MEM_LOG2_MIN	6	/* one CD */
#define SMMUV3_MEM_LOG2_BIG	16	/* from this size on: a block of its own */

struct smmuv3_mem_pool {
	struct smmuv3_mem_chunk *chunks;
	void *free[SMMUV3_MEM_LOG2_BIG - SMMUV3_MEM_LOG2_MIN];
};

/* Any thread. -ENOMEM, or an error of the backend. */
int smmuv3_mem_alloc(struct smmuv3 *s, size_t size, struct smmuv3_mem *mem);
/* The SMMU must not use it any more. Any thread. */
void smmuv3_mem_free(struct smmuv3 *s, struct smmuv3_mem *mem);
void smmuv3_mem_fini(struct smmuv3 *s);

#endif /* SMMUV3_MEM_H */
