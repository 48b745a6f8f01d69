/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef FORWARD_H
#define FORWARD_H

/*
 * The CPU's side: it owns mbufs and rings, gives empty mbufs to the RX ring, checks received packets
 * and moves them to the TX ring. The descriptors have the address of an mbuf's data, which is the
 * CPU's pointer. It never maps a page for the device, but now and then it unmaps a buffer.
 *
 *	mempool -> RX ring -> checked -> TX ring -> mempool
 */

#include <stdbool.h>
#include <stdint.h>

#include <mmem.h>

#include "ring.h"

struct forward_conf {
	struct mmem_space *space;
	uint32_t ring_size;
	uint32_t nb_buffers;
	uint32_t packet_size;
	uint64_t unmap_every;	/* in packets; 0: never */
	uint64_t bad_every;	/* in RX descriptors; 0: never */
};

struct forward_stats {
	uint64_t received;
	uint64_t sent;
	uint64_t expected;	/* dropped by the device: the descriptor had a bad address */
	uint64_t dropped;	/* dropped for other reasons */
	uint64_t damaged;
	uint64_t disordered;
};

struct forward {
	struct forward_conf conf;
	struct ring rx;
	struct ring tx;
	struct rte_mempool *pool;	/* free mbufs, oldest first */
	bool unmap_hot;
	int error;		/* from mmem_unmap() */
	struct forward_stats stats;
};

/* The managed memory that it takes, in several regions. */
size_t forward_get_memory_size(const struct forward_conf *conf);

/* Returns 0 or -errno. */
int forward_open(struct forward *forward, const struct forward_conf *conf);
void forward_close(struct forward *forward);

/*
 * Returns the number of steps done. The caller then rings the doorbells: rx.posted and tx.posted.
 */
unsigned int forward_poll(struct forward *forward);

#endif /* FORWARD_H */
