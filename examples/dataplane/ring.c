/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "ring.h"

#define PAGE_SIZE 4096

int
ring_open(struct ring *ring, struct mmem_space *space, uint32_t size)
{
	/* On separate pages: the device only reads descriptors and writes completions. */
	size_t descs = RTE_ALIGN_CEIL(size * sizeof(*ring->desc), PAGE_SIZE);
	char *mem;

	mem = mmem_alloc(space, descs + size * sizeof(*ring->comp), MMEM_READ | MMEM_WRITE);
	if (mem == NULL)
		return -rte_errno;
	ring->bufs = calloc(size, sizeof(*ring->bufs));
	if (ring->bufs == NULL)
		return -ENOMEM;
	ring->desc = (struct desc *)mem;
	ring->comp = (uint64_t *)(mem + descs);
	ring->size = size;
	return 0;
}

void
ring_close(struct ring *ring)
{
	free(ring->bufs);
}

void
ring_post(struct ring *ring, uint64_t addr, uint32_t len, struct rte_mbuf *buf)
{
	uint32_t slot = ring->posted++ & (ring->size - 1);

	ring->desc[slot] = (struct desc){ .addr = addr, .len = len };
	ring->bufs[slot] = buf;
}

/*
 * Acquire: the device's writes to the buffer are visible with its completion. Pairs with the
 * device, which starts the completion's DMA after the buffer's DMA has ended. ThreadSanitizer does
 * not see a device's write as atomic.
 */
#ifdef __clang__
__attribute__((noinline, disable_sanitizer_instrumentation))
#else
__attribute__((noinline, no_sanitize_thread))
#endif
static uint64_t
read_comp(const uint64_t *comp)
{
	return __atomic_load_n(comp, __ATOMIC_ACQUIRE);
}

bool
ring_reap(struct ring *ring, struct ring_entry *entry)
{
	uint32_t slot = ring->reaped & (ring->size - 1);
	uint64_t comp;

	if (ring->reaped == ring->posted)
		return false;
	comp = read_comp(&ring->comp[slot]);
	if ((uint32_t)comp != ring->reaped + 1)
		return false;
	*entry = (struct ring_entry){
		.pos = ring->reaped++,
		.buf = ring->bufs[slot],
		.len = comp >> 32 & UINT16_MAX,
		.status = comp >> 48,
	};
	return true;
}
