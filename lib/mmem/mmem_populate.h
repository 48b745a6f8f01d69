/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_POPULATE_H
#define MMEM_POPULATE_H

#include <stdbool.h>
#include <stddef.h>

struct mmem_pool;

/* Populate memory that only the caller uses. Returns 0 or -ENOMEM. */
int mmem_populate(struct mmem_pool *pool, size_t off, size_t len);
int mmem_populate_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks);

/* Fill chunks with zeros: return their memory to the kernel, or overwrite it. */
void mmem_zero_chunks(struct mmem_pool *pool, size_t chunk, size_t nb_chunks);

/* The control thread. */
int mmem_control_start(struct mmem_pool *pool);
void mmem_control_stop(struct mmem_pool *pool);

/* Wake the control thread. Called under pool->lock. */
void mmem_control_wake(struct mmem_pool *pool);
/*
 * For the poll thread: tell the control thread that a chunk was touched or is wanted. Does not wake
 * a control thread that scans anyway.
 */
void mmem_control_notify(struct mmem_pool *pool, bool touched);

#endif /* MMEM_POPULATE_H */
