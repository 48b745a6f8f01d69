/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RING_H
#define RING_H

/*
 * A descriptor ring and its completions, as the CPU sees them. Both are in managed memory, and the
 * device accesses them by DMA, so faults map them too.
 *
 *	ring_post()	the CPU writes a descriptor; the doorbell tells the device
 *	ring_reap()	the device wrote a completion, in the order of the descriptors
 */

#include <stdbool.h>
#include <stdint.h>

#include <mmem.h>

struct rte_mbuf;

struct desc {
	uint64_t addr;
	uint32_t len;
	uint32_t reserved;
};

enum comp_status {
	COMP_OK,
	COMP_DROPPED,	/* the device could not access the buffer */
};

/*
 * A completion is one 64-bit word, so that it becomes visible as a whole: its position plus one in
 * the low half (which differs from the previous lap), then 16 bits each of length and status.
 */
static inline uint64_t
comp_pack(uint32_t pos, uint32_t len, enum comp_status status)
{
	return (uint64_t)status << 48 | (uint64_t)len << 32 | (pos + 1);
}

/* The CPU's copy of a descriptor, and its completion. */
struct ring_entry {
	uint32_t pos;
	struct rte_mbuf *buf;
	uint32_t len;
	enum comp_status status;
};

struct ring {
	struct desc *desc;
	uint64_t *comp;
	uint32_t size;		/* a power of two */
	uint32_t posted;	/* positions wrap at 2^32 */
	uint32_t reaped;
	struct rte_mbuf **bufs;
};

/* Returns 0 or -errno. The space frees the memory that the device sees. */
int ring_open(struct ring *ring, struct mmem_space *space, uint32_t size);
void ring_close(struct ring *ring);

static inline bool
ring_is_full(const struct ring *ring)
{
	return ring->posted - ring->reaped == ring->size;
}

void ring_post(struct ring *ring, uint64_t addr, uint32_t len, struct rte_mbuf *buf);
bool ring_reap(struct ring *ring, struct ring_entry *entry);

#endif /* RING_H */
