/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "forward.h"
#include "packet.h"

#define PAGE_SIZE	4096
#define NOWHERE		0	/* an address outside every region */
#define NO_BUF		UINT32_MAX

static uint32_t
get_stride(const struct forward_conf *conf)
{
	/* Whole pages, so that unmapping one buffer does not unmap others. */
	return RTE_ALIGN_CEIL(conf->packet_size, PAGE_SIZE);
}

size_t
forward_get_memory_size(const struct forward_conf *conf)
{
	size_t ring = RTE_ALIGN_CEIL(conf->ring_size * sizeof(struct desc), PAGE_SIZE) +
			conf->ring_size * sizeof(uint64_t);

	return 2 * RTE_ALIGN_CEIL(ring, MMEM_CHUNK_SIZE) +
			RTE_ALIGN_CEIL((size_t)conf->nb_buffers * get_stride(conf),
					MMEM_CHUNK_SIZE);
}

static void
put_free_buffer(struct forward *f, uint32_t buf)
{
	f->free[(f->free_head + f->nb_free++) % f->conf.nb_buffers] = buf;
}

static uint32_t
take_free_buffer(struct forward *f)
{
	uint32_t buf = f->free[f->free_head];

	f->free_head = (f->free_head + 1) % f->conf.nb_buffers;
	f->nb_free--;
	return buf;
}

static struct packet *
get_packet(const struct forward *f, uint32_t buf)
{
	return (struct packet *)(f->bufs + (size_t)buf * f->stride);
}

int
forward_open(struct forward *f, const struct forward_conf *conf)
{
	uint32_t i;
	int ret;

	f->conf = *conf;
	f->stride = get_stride(conf);
	ret = ring_open(&f->rx, conf->space, conf->ring_size);
	if (ret == 0)
		ret = ring_open(&f->tx, conf->space, conf->ring_size);
	if (ret < 0)
		return ret;
	f->bufs = mmem_alloc(conf->space, (size_t)conf->nb_buffers * f->stride,
			MMEM_READ | MMEM_WRITE);
	if (f->bufs == NULL)
		return -rte_errno;
	f->free = calloc(conf->nb_buffers, sizeof(*f->free));
	if (f->free == NULL)
		return -ENOMEM;
	for (i = 0; i < conf->nb_buffers; i++)
		put_free_buffer(f, i);
	return 0;
}

void
forward_close(struct forward *f)
{
	ring_close(&f->rx);
	ring_close(&f->tx);
	free(f->free);
}

static bool
is_bad(const struct forward *f, uint32_t pos)
{
	return f->conf.bad_every != 0 && (pos + UINT64_C(1)) % f->conf.bad_every == 0;
}

/* A driver that makes a mistake now and then: only its packet must be lost. */
static void
fill_rx(struct forward *f)
{
	uint32_t buf;

	while (!ring_is_full(&f->rx)) {
		if (is_bad(f, f->rx.posted)) {
			ring_post(&f->rx, NOWHERE, f->conf.packet_size, NO_BUF);
			continue;
		}
		if (f->nb_free == 0)
			return;
		buf = take_free_buffer(f);
		ring_post(&f->rx, (uintptr_t)get_packet(f, buf), f->conf.packet_size, buf);
	}
}

static unsigned int
reap_tx(struct forward *f)
{
	struct ring_entry entry;
	unsigned int n = 0;

	for (; ring_reap(&f->tx, &entry); n++) {
		f->stats.sent += entry.status == COMP_OK;
		f->stats.dropped += entry.status != COMP_OK;
		put_free_buffer(f, entry.buf);
	}
	return n;
}

/*
 * Acts as an evictor: takes alternately the free buffer that is next for receiving and a buffer
 * that the device is about to send.
 */
static void
unmap_buffer(struct forward *f, struct packet *hot)
{
	void *buf = hot;
	int ret;

	f->unmap_hot = !f->unmap_hot;
	if (!f->unmap_hot && f->nb_free > 0)
		buf = get_packet(f, f->free[f->free_head]);
	ret = mmem_unmap(f->conf.space, buf, f->stride);
	if (ret < 0)
		f->error = ret;
}

static void
turn_packet(struct forward *f, const struct ring_entry *entry)
{
	struct packet *packet = get_packet(f, entry->buf);

	f->stats.received++;
	if (entry->len != f->conf.packet_size || !packet_is_valid(packet, entry->len, 0)) {
		f->stats.damaged++;
		put_free_buffer(f, entry->buf);
		return;
	}
	/* The device numbers packets like their descriptors. */
	f->stats.disordered += (uint32_t)packet->seq != entry->pos;
	packet_mark_turned(packet, entry->len);
	ring_post(&f->tx, (uintptr_t)packet, entry->len, entry->buf);
	if (f->conf.unmap_every != 0 && f->stats.received % f->conf.unmap_every == 0)
		unmap_buffer(f, packet);
}

static unsigned int
reap_rx(struct forward *f)
{
	struct ring_entry entry;
	unsigned int n = 0;

	for (; !ring_is_full(&f->tx) && ring_reap(&f->rx, &entry); n++) {
		if (entry.buf == NO_BUF) {
			f->stats.expected += entry.status == COMP_DROPPED;
			f->stats.damaged += entry.status != COMP_DROPPED;
		} else if (entry.status == COMP_OK) {
			turn_packet(f, &entry);
		} else {
			f->stats.dropped++;
			put_free_buffer(f, entry.buf);
		}
	}
	return n;
}

unsigned int
forward_poll(struct forward *f)
{
	unsigned int n = reap_tx(f) + reap_rx(f);

	fill_rx(f);
	return n;
}
