/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DEVICE_H
#define DEVICE_H

/*
 * A network device in software. It receives packets (which it makes), writes them where
 * the descriptors of its RX ring say, and sends those of its TX ring (which it checks).
 * Descriptors are fetched, and completions written back, by DMA and in batches; buffers
 * are reached concurrently, so that a fault holds up none but its own packet; completions
 * are in the order of the ring.
 *
 * One thread: device_poll() is its clock, device_doorbell() its register.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dma.h"

enum device_queue {
	DEVICE_RX,
	DEVICE_TX,
};
#define DEVICE_NB_QUEUES 2

/* Requests that it has under way at most. */
#define DEVICE_DEPTH(ring_size) (DEVICE_NB_QUEUES * ((ring_size) + 2))

struct device_conf {
	struct dma *dma;
	uint32_t ring_size;	/* a power of two */
	struct {
		uint64_t desc;	/* what the driver writes into its registers */
		uint64_t comp;
	} rings[DEVICE_NB_QUEUES];
	uint32_t packet_size;
	uint64_t nb_packets;	/* that arrive, as fast as there are descriptors */
};

struct device_stats {
	uint64_t received;	/* arrived */
	uint64_t sent;		/* and right */
	uint64_t bytes;		/* of both */
	uint64_t dropped[DEVICE_NB_QUEUES];	/* the buffer could not be reached */
	uint64_t damaged;	/* to be sent, but not what was received */
	uint64_t disordered;
};

struct device;

/* NULL with rte_errno. */
struct device *device_open(const struct device_conf *conf);
/* After dma_close(). NULL is allowed. */
void device_close(struct device *device);

/* Descriptors before position @tail are valid. */
void device_doorbell(struct device *device, enum device_queue queue, uint32_t tail);

/* Returns how much it did; 0 when all waits for memory or for the driver. */
unsigned int device_poll(struct device *device);

/* It cannot reach its rings: nothing more will happen. */
bool device_is_broken(const struct device *device);

const struct device_stats *device_stats(const struct device *device);

/* From arrival until sent, in nanoseconds; 0 without a sample. Sorts them. */
uint64_t device_get_latency(struct device *device, unsigned int percent);

#endif /* DEVICE_H */
