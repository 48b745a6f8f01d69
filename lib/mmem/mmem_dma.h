/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_DMA_H
#define MMEM_DMA_H

#include <stdint.h>

struct mmem_pool;
struct mmem_pool_conf;

/*
 * Set the IOMMUs of a pool and the limits of all. Returns 0, or -EINVAL (logged), -ENOMEM. Free
 * pool->iommus.
 */
int mmem_iommus_init(struct mmem_pool *pool, const struct mmem_pool_conf *conf);

/*
 * Give each chunk its device address, the same behind each IOMMU. Returns 0, or -ENOTSUP (the
 * addresses differ) or the error of iopf_dma_map(), logged.
 */
int mmem_dma_map(struct mmem_pool *pool);
/* Returns 0, or the error of iopf_dma_unmap(): call it again. */
int mmem_dma_unmap(struct mmem_pool *pool);

uint64_t mmem_table_va_to_pa(void *pool, const void *p);
/* Only for a pool without a common device address range. */
void *mmem_table_pa_to_va(void *pool, uint64_t addr);

#endif /* MMEM_DMA_H */
