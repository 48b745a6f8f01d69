/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_POPULATE_H
#define MMEM_POPULATE_H

#include <stdbool.h>
#include <stddef.h>

struct mmem_pool;

/* Memory for chunks that the caller alone is at. 0 or -ENOMEM. */
int mmem_populate_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks);

/* The memory holds zeroes afterwards: given back to the kernel, or overwritten. */
void mmem_zero_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks);

/* The control thread. */
int mmem_control_start(struct mmem_pool *pool);
void mmem_control_stop(struct mmem_pool *pool);

/* There is something for it to do. Under the pool's lock. */
void mmem_control_wake(struct mmem_pool *pool);
/* The same from the poll core, where it may be seen a little later: a chunk was touched, or is
 * wanted. */
void mmem_control_notify(struct mmem_pool *pool, bool touched);

#endif /* MMEM_POPULATE_H */
