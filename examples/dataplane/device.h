/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DEVICE_H
#define DEVICE_H

/*
 * A network device in software. It receives packets (which it makes), writes them to the buffers in
 * the descriptors of its RX ring, and sends the packets of its TX ring (which it checks). It
 * fetches descriptors and writes completions by DMA in batches. It accesses buffers concurrently,
 * so that a fault delays only its own packet; completions are in the order of the ring.
 *
 * For one thread: device_poll() is its clock, device_doorbell() its register.
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

/* Its largest number of pending requests. */
#define DEVICE_DEPTH(ring_size) (DEVICE_NB_QUEUES * ((ring_size) + 2))

struct device_conf {
	struct dma *dma;
	uint32_t ring_size;	/* a power of two */
	struct {
		uint64_t desc;	/* device address of the ring, from the driver */
		uint64_t comp;
	} rings[DEVICE_NB_QUEUES];
	uint32_t packet_size;
	uint64_t nb_packets;	/* packets that arrive, as fast as descriptors allow */
};

struct device_stats {
	uint64_t received;	/* packets that arrived */
	uint64_t sent;		/* packets sent and valid */
	uint64_t bytes;		/* of both */
	uint64_t dropped[DEVICE_NB_QUEUES];	/* packets whose buffer could not be accessed */
	uint64_t damaged;	/* packets to send that differ from the received ones */
	uint64_t disordered;
};

struct device;

/* Returns NULL with rte_errno on error. */
struct device *device_open(const struct device_conf *conf);
/* Call it after dma_close(). NULL is allowed. */
void device_close(struct device *device);

/* Descriptors before position @tail are valid. */
void device_doorbell(struct device *device, enum device_queue queue, uint32_t tail);

/* Returns the number of steps done; 0 if all work waits for memory or for the driver. */
unsigned int device_poll(struct device *device);

/* The device cannot access its rings, so it makes no more progress. */
bool device_is_broken(const struct device *device);

const struct device_stats *device_stats(const struct device *device);

/*
 * The latency from arrival to sending at this percentile, in nanoseconds; 0 without samples. Sorts
 * the samples.
 */
uint64_t device_get_latency(struct device *device, unsigned int percent);

#endif /* DEVICE_H */
