/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_SYNC_H
#define MMEM_SYNC_H

#include <stdbool.h>

struct mmem_region;
struct mmem_space;

/*
 * Write back what was written in a region that ends, unless it is in the swap file. No other thread
 * does (region->syncing). Returns 0, or the error of a write: the region is as before. Under
 * space->lock, which is released meanwhile.
 */
int mmem_region_sync_all(struct mmem_region *region);

/*
 * A thread writes a region back or moves it, so that it stays; or has ended, which is the thread's
 * last access to it. One at a time.
 */
void mmem_region_set_syncing(struct mmem_region *region, bool syncing);

/* Another thread does: wait a moment. space->lock is released meanwhile. */
void mmem_sync_wait(struct mmem_space *space);

#endif /* MMEM_SYNC_H */
