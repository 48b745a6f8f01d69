/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_CPU_MOVE_H
#define MMEM_CPU_MOVE_H

/*
 * The CPU's view of a chunk that moves to another frame (move.c), CHUNK_MOVING. Threads that stop
 * meanwhile wait: the service thread leaves their accesses alone. After the move mmem_cpu_wake()
 * lets them repeat the access. mmem_cpu_start() comes first. Called without pool->lock: the kernel
 * waits for the service thread.
 */

#include <stdint.h>

struct mmem_pool;
struct mmem_region;

/*
 * Map a frame so that it can become the region's, watched as the region is. Returns 0 or -errno.
 * Release *staged with munmap(), or place it.
 */
int mmem_cpu_stage(struct mmem_pool *pool, const struct mmem_region *region, uint8_t *frame,
		uint8_t **staged);

/* Writes to the chunk at an offset wait. Returns 0 or -errno: then as before. */
int mmem_cpu_hold(struct mmem_pool *pool, const struct mmem_region *region, uint64_t off);

/* The reverse, if the chunk does not move. */
void mmem_cpu_unhold(struct mmem_pool *pool, const struct mmem_region *region, uint64_t off);

/* Put what is staged in the place of a chunk. Returns 0 or -errno: then as before. */
int mmem_cpu_place(struct mmem_pool *pool, const struct mmem_region *region, uint64_t off,
		uint8_t *staged);

#endif /* MMEM_CPU_MOVE_H */
