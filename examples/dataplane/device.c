/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>

#include "device.h"
#include "packet.h"
#include "ring.h"

#define BATCH		8	/* descriptors or completions in one DMA: completions fill a
				 * cache line */
#define MAX_SAMPLES	(UINT64_C(1) << 20)

struct slot {
	struct dma_req req;
	uint32_t len;
	struct packet *packet;	/* in the device's own memory */
};

/* Positions, in order: head <= started <= fetched <= tail. */
struct queue {
	uint64_t desc;
	uint64_t comp;
	uint32_t tail;
	uint32_t fetched;
	uint32_t started;
	uint32_t head;
	struct slot *slots;
	char *packets;
	struct dma_req fetch;
	struct dma_req write_back;
	struct desc descs[BATCH];
	uint64_t comps[BATCH];
	uint32_t nb_comps;
};

struct device {
	struct device_conf conf;
	struct queue queues[DEVICE_NB_QUEUES];
	bool broken;
	uint64_t next_seq;	/* lowest sequence number that may follow */
	uint64_t sample_every;
	uint64_t nb_samples;
	uint64_t *samples;
	struct device_stats stats;
};

static int
open_queue(struct device *device, enum device_queue which)
{
	const struct device_conf *conf = &device->conf;
	struct queue *q = &device->queues[which];
	size_t stride = RTE_ALIGN_CEIL(conf->packet_size, RTE_CACHE_LINE_SIZE);
	uint32_t i;

	q->desc = conf->rings[which].desc;
	q->comp = conf->rings[which].comp;
	q->slots = calloc(conf->ring_size, sizeof(*q->slots));
	q->packets = calloc(conf->ring_size, stride);
	if (q->slots == NULL || q->packets == NULL)
		return -ENOMEM;
	for (i = 0; i < conf->ring_size; i++)
		q->slots[i].packet = (struct packet *)(q->packets + i * stride);
	return 0;
}

struct device *
device_open(const struct device_conf *conf)
{
	struct device *device = calloc(1, sizeof(*device));
	uint64_t nb_samples = RTE_MIN(conf->nb_packets, MAX_SAMPLES);

	if (device != NULL) {
		device->conf = *conf;
		device->sample_every = (conf->nb_packets + nb_samples - 1) / nb_samples;
		device->samples = calloc(nb_samples, sizeof(*device->samples));
		if (device->samples != NULL && open_queue(device, DEVICE_RX) == 0 &&
				open_queue(device, DEVICE_TX) == 0)
			return device;
	}
	device_close(device);
	rte_errno = ENOMEM;
	return NULL;
}

void
device_close(struct device *device)
{
	unsigned int i;

	if (device == NULL)
		return;
	for (i = 0; i < DEVICE_NB_QUEUES; i++) {
		free(device->queues[i].slots);
		free(device->queues[i].packets);
	}
	free(device->samples);
	free(device);
}

void
device_doorbell(struct device *device, enum device_queue queue, uint32_t tail)
{
	device->queues[queue].tail = tail;
}

bool
device_is_broken(const struct device *device)
{
	return device->broken;
}

const struct device_stats *
device_stats(const struct device *device)
{
	return &device->stats;
}

/* The number of adjacent ring entries from pos, at most n and BATCH. */
static uint32_t
get_run(const struct device *device, uint32_t pos, uint32_t n)
{
	n = RTE_MIN(n, device->conf.ring_size - (pos & (device->conf.ring_size - 1)));
	return RTE_MIN(n, (uint32_t)BATCH);
}

static struct slot *
get_slot(struct device *device, struct queue *q, uint32_t pos)
{
	return &q->slots[pos & (device->conf.ring_size - 1)];
}

/* Validate a descriptor: the device does not trust the driver. */
static void
decode_desc(struct device *device, enum device_queue which, const struct desc *desc,
		struct slot *slot)
{
	uint32_t size = device->conf.packet_size;
	bool fits = which == DEVICE_RX ? desc->len >= size :
			desc->len >= PACKET_MIN && desc->len <= size;

	slot->len = which == DEVICE_RX ? size : RTE_MIN(desc->len, size);
	slot->req = (struct dma_req){ .addr = desc->addr, .buf = slot->packet, .len = slot->len,
			.write = which == DEVICE_RX, .state = fits ? DMA_IDLE : DMA_FAILED };
}

static unsigned int
fetch_descs(struct device *device, enum device_queue which)
{
	struct queue *q = &device->queues[which];
	uint32_t i, n;

	if (q->fetch.state == DMA_DONE) {
		n = q->fetch.len / sizeof(*q->descs);
		for (i = 0; i < n; i++, q->fetched++)
			decode_desc(device, which, &q->descs[i], get_slot(device, q, q->fetched));
		q->fetch.state = DMA_IDLE;
	}
	if (q->fetch.state == DMA_FAILED)
		device->broken = true;
	if (q->fetch.state != DMA_IDLE || q->fetched == q->tail)
		return 0;
	n = get_run(device, q->fetched, q->tail - q->fetched);
	q->fetch = (struct dma_req){
		.addr = q->desc + (q->fetched & (device->conf.ring_size - 1)) * sizeof(*q->descs),
		.buf = q->descs, .len = n * sizeof(*q->descs) };
	device->broken |= dma_start(device->conf.dma, &q->fetch) < 0;
	return 1;
}

/* The packet at an RX position has the position as its number. */
static unsigned int
start_accesses(struct device *device, enum device_queue which)
{
	struct queue *q = &device->queues[which];
	unsigned int n = 0;
	struct slot *slot;

	for (; q->started != q->fetched; q->started++, n++) {
		slot = get_slot(device, q, q->started);
		if (which == DEVICE_RX) {
			if (device->stats.received == device->conf.nb_packets)
				break;
			packet_make(slot->packet, slot->len, device->stats.received++);
		}
		if (slot->req.state == DMA_IDLE && dma_start(device->conf.dma, &slot->req) < 0)
			slot->req.state = DMA_FAILED;
	}
	return n;
}

/* Send a packet that was read from memory, in the order of the ring. */
static void
send_packet(struct device *device, const struct slot *slot)
{
	struct device_stats *stats = &device->stats;
	const struct packet *packet = slot->packet;

	if (!packet_is_valid(packet, slot->len, 1)) {
		stats->damaged++;
		return;
	}
	stats->disordered += packet->seq < device->next_seq;
	device->next_seq = packet->seq + 1;
	if (stats->sent++ % device->sample_every == 0)
		device->samples[device->nb_samples++] = rte_rdtsc() - packet->stamp;
}

static enum comp_status
finish_slot(struct device *device, enum device_queue which, const struct slot *slot)
{
	if (slot->req.state == DMA_FAILED) {
		device->stats.dropped[which]++;
		return COMP_DROPPED;
	}
	device->stats.bytes += slot->len;
	if (which == DEVICE_TX)
		send_packet(device, slot);
	return COMP_OK;
}

static unsigned int
write_completions(struct device *device, enum device_queue which)
{
	struct queue *q = &device->queues[which];
	const struct slot *slot;
	uint32_t i, n;

	if (q->write_back.state == DMA_DONE) {
		q->head += q->nb_comps;
		q->write_back.state = DMA_IDLE;
	}
	if (q->write_back.state == DMA_FAILED)
		device->broken = true;
	if (q->write_back.state != DMA_IDLE)
		return 0;
	n = get_run(device, q->head, q->started - q->head);
	for (i = 0; i < n; i++) {
		slot = get_slot(device, q, q->head + i);
		if (slot->req.state != DMA_DONE && slot->req.state != DMA_FAILED)
			break;
		q->comps[i] = comp_pack(q->head + i, slot->len, finish_slot(device, which, slot));
	}
	q->nb_comps = i;
	if (i == 0)
		return 0;
	q->write_back = (struct dma_req){
		.addr = q->comp + (q->head & (device->conf.ring_size - 1)) * sizeof(*q->comps),
		.buf = q->comps, .len = i * sizeof(*q->comps), .write = true };
	device->broken |= dma_start(device->conf.dma, &q->write_back) < 0;
	return i;
}

unsigned int
device_poll(struct device *device)
{
	unsigned int i, n = dma_poll(device->conf.dma);

	for (i = 0; i < DEVICE_NB_QUEUES; i++)
		n += fetch_descs(device, i) + start_accesses(device, i) +
				write_completions(device, i);
	return n;
}

static int
compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t
device_get_latency(struct device *device, unsigned int percent)
{
	if (device->nb_samples == 0)
		return 0;
	qsort(device->samples, device->nb_samples, sizeof(*device->samples), compare_u64);
	return device->samples[(device->nb_samples - 1) * percent / 100] * 1e9 / rte_get_tsc_hz();
}
