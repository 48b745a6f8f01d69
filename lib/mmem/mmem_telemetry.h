/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_TELEMETRY_H
#define MMEM_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>

struct mmem_pool;

/* /iopf/pools has the pool from here on. */
void mmem_telemetry_add(struct mmem_pool *pool);
/* When it returns, telemetry does not use the pool any more. */
void mmem_telemetry_remove(struct mmem_pool *pool);

/* True if a pool that telemetry has owns a part of this memory. */
bool mmem_pools_overlap(const void *ptr, size_t len);

#endif /* MMEM_TELEMETRY_H */
