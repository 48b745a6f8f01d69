/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_TELEMETRY_H
#define MMEM_TELEMETRY_H

struct mmem_pool;

/* /iopf/pools has the pool from here on. */
void mmem_telemetry_add(struct mmem_pool *pool);
/* When it returns, telemetry does not use the pool any more. */
void mmem_telemetry_remove(struct mmem_pool *pool);

#endif /* MMEM_TELEMETRY_H */
