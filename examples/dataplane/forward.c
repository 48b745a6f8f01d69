/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <rte_common.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "forward.h"
#include "packet.h"

#define PAGE_SIZE	4096
#define NOWHERE		0	/* an address outside every region */

/* The bytes of the region for each mbuf. */
static size_t
get_room(const struct forward_conf *conf)
{
	/* Whole pages, so that unmapping one buffer does not unmap others. */
	return RTE_ALIGN_CEIL(RTE_PKTMBUF_HEADROOM + conf->packet_size, PAGE_SIZE);
}

size_t
forward_get_memory_size(const struct forward_conf *conf)
{
	size_t ring = RTE_ALIGN_CEIL(conf->ring_size * sizeof(struct desc), PAGE_SIZE) +
			conf->ring_size * sizeof(uint64_t);

	return 2 * RTE_ALIGN_CEIL(ring, MMEM_CHUNK_SIZE) +
			RTE_ALIGN_CEIL(conf->nb_buffers * get_room(conf), MMEM_CHUNK_SIZE);
}

/*
 * Mbufs whose data is in a region: nothing pins it, and its device address is its pointer, whatever
 * EAL uses as IOVA. The mbufs themselves stay in EAL's memory, where no device reaches them.
 */
static struct rte_mempool *
create_mbufs(struct mmem_space *space, unsigned int n, size_t room)
{
	struct rte_pktmbuf_extmem data = {
		.buf_ptr = mmem_alloc(space, n * room, MMEM_READ | MMEM_WRITE),
		.buf_len = n * room,
		.elt_size = room,
	};

	if (data.buf_ptr == NULL)
		return NULL;
	data.buf_iova = (uintptr_t)data.buf_ptr;
	return rte_pktmbuf_pool_create_extbuf("dataplane", n, 0, 0, room, SOCKET_ID_ANY, &data, 1);
}

int
forward_open(struct forward *f, const struct forward_conf *conf)
{
	int ret;

	f->conf = *conf;
	ret = ring_open(&f->rx, conf->space, conf->ring_size);
	if (ret == 0)
		ret = ring_open(&f->tx, conf->space, conf->ring_size);
	if (ret < 0)
		return ret;
	f->pool = create_mbufs(conf->space, conf->nb_buffers, get_room(conf));
	return f->pool != NULL ? 0 : -rte_errno;
}

void
forward_close(struct forward *f)
{
	ring_close(&f->rx);
	ring_close(&f->tx);
	rte_mempool_free(f->pool);
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
	struct rte_mbuf *buf;

	while (!ring_is_full(&f->rx)) {
		if (is_bad(f, f->rx.posted)) {
			ring_post(&f->rx, NOWHERE, f->conf.packet_size, NULL);
			continue;
		}
		buf = rte_pktmbuf_alloc(f->pool);
		if (buf == NULL)
			return;
		ring_post(&f->rx, rte_pktmbuf_iova(buf), f->conf.packet_size, buf);
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
		rte_pktmbuf_free(entry.buf);
	}
	return n;
}

/*
 * Acts as an evictor: takes alternately the oldest free buffer and a buffer that the device is about
 * to send.
 */
static void
unmap_buffer(struct forward *f, const struct rte_mbuf *hot)
{
	struct rte_mbuf *cold = NULL;
	int ret;

	f->unmap_hot = !f->unmap_hot;
	if (!f->unmap_hot)
		cold = rte_pktmbuf_alloc(f->pool);
	ret = mmem_unmap(f->conf.space, cold != NULL ? cold->buf_addr : hot->buf_addr,
			get_room(&f->conf));
	rte_pktmbuf_free(cold);
	if (ret < 0)
		f->error = ret;
}

static void
turn_packet(struct forward *f, const struct ring_entry *entry)
{
	struct rte_mbuf *buf = entry->buf;
	struct packet *packet = rte_pktmbuf_mtod(buf, struct packet *);

	f->stats.received++;
	if (entry->len != f->conf.packet_size || !packet_is_valid(packet, entry->len, 0)) {
		f->stats.damaged++;
		rte_pktmbuf_free(buf);
		return;
	}
	/* The device numbers packets like their descriptors. */
	f->stats.disordered += (uint32_t)packet->seq != entry->pos;
	packet_mark_turned(packet, entry->len);
	rte_pktmbuf_append(buf, entry->len);
	ring_post(&f->tx, rte_pktmbuf_iova(buf), rte_pktmbuf_data_len(buf), buf);
	if (f->conf.unmap_every != 0 && f->stats.received % f->conf.unmap_every == 0)
		unmap_buffer(f, buf);
}

static unsigned int
reap_rx(struct forward *f)
{
	struct ring_entry entry;
	unsigned int n = 0;

	for (; !ring_is_full(&f->tx) && ring_reap(&f->rx, &entry); n++) {
		if (entry.buf == NULL) {
			f->stats.expected += entry.status == COMP_DROPPED;
			f->stats.damaged += entry.status != COMP_DROPPED;
		} else if (entry.status == COMP_OK) {
			turn_packet(f, &entry);
		} else {
			f->stats.dropped++;
			rte_pktmbuf_free(entry.buf);
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
