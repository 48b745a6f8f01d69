/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef FORWARD_H
#define FORWARD_H

/*
 * The CPU's side: it owns buffers and rings, gives empty buffers to the RX ring, checks
 * what comes in them, and turns it around to the TX ring. It reads and writes at the
 * pointers that it puts into the descriptors. It never maps anything for the device; but
 * now and then it takes a buffer away from it.
 *
 *	free buffers -> RX ring -> checked -> TX ring -> free buffers
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
	uint64_t unmap_every;	/* packets; 0: never */
	uint64_t bad_every;	/* RX descriptors; 0: none */
};

struct forward_stats {
	uint64_t received;
	uint64_t sent;
	uint64_t expected;	/* dropped by the device: the descriptor pointed nowhere */
	uint64_t dropped;	/* others */
	uint64_t damaged;
	uint64_t disordered;
};

struct forward {
	struct forward_conf conf;
	struct ring rx;
	struct ring tx;
	char *bufs;
	uint32_t stride;
	uint32_t *free;		/* oldest first */
	uint32_t free_head;
	uint32_t nb_free;
	bool unmap_hot;
	int error;		/* of mmem_unmap() */
	struct forward_stats stats;
};

/* Of managed memory that it will take, in regions of their own. */
size_t forward_get_memory_size(const struct forward_conf *conf);

/* 0 or -errno. */
int forward_open(struct forward *forward, const struct forward_conf *conf);
void forward_close(struct forward *forward);

/* Returns how much it did. Then ring the doorbells: rx.posted and tx.posted. */
unsigned int forward_poll(struct forward *forward);

#endif /* FORWARD_H */
