/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_CHUNK_H
#define MMEM_CHUNK_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "mmem.h"

struct mmem_region;

#define MMEM_PAGE_LOG2	12
#define MMEM_PAGE_SIZE	((size_t)1 << MMEM_PAGE_LOG2)
#define MMEM_CHUNK_LOG2	21
#define MMEM_RIGHTS	(MMEM_READ | MMEM_WRITE | MMEM_EXEC)

/*
 * A page's byte holds its rights, MMEM_TRACK_WRITES and these bits. 0: in no region. A page of a
 * region has either USED or ABSENT, so that the fault path tests one bit.
 */
#define PAGE_WANTED	(1u << 4)	/* a lost page request or a stream asked for it */
#define PAGE_ABSENT	(1u << 5)	/* in a region; its contents are not fetched */
#define PAGE_USED	(1u << 6)	/* in a region; its contents are present */
#define PAGE_DIRTY	(1u << 7)	/* holds contents of an earlier region: zero it first */
static_assert(!((MMEM_RIGHTS | MMEM_TRACK_WRITES) & (PAGE_WANTED | PAGE_ABSENT | PAGE_USED)),
		"a bit for each");

/* A chunk's state. All bits but TOUCHED, STREAMED, WANTED and CPU_WAITS change under pool->lock. */
#define CHUNK_TAKEN	(1u << 0)	/* by a region, or for page tables */
#define CHUNK_POPULATED	(1u << 1)	/* has memory */
#define CHUNK_BUSY	(1u << 2)	/* a thread populates it; its region must stay */
#define CHUNK_TOUCHED	(1u << 3)	/* a device accessed it: populate the chunks after it */
#define CHUNK_DIRTY	(1u << 4)	/* holds contents of an earlier region */
#define CHUNK_WANTED	(1u << 5)	/* a lost page request asked for it or for pages of it */
#define CHUNK_CPU_WAITS	(1u << 6)	/* a CPU access to it is repeated later */
#define CHUNK_HW_DIRTY	(1u << 8)	/* writes are tracked, by the IOMMU: map pages that are
					 * only read writable-clean */
#define CHUNK_HUGE	(1u << 9)	/* mapped by a block: mmem_huge.h */
#define CHUNK_MOVING	(1u << 10)	/* gets another frame: CPU accesses that stop wait */
#define CHUNK_TRAPS	(1u << 11)	/* traps watch the CPU's accesses: cpu_trap.c */
#define CHUNK_STREAMED	(1u << 7)	/* as TOUCHED; without TOUCHED, its faults take the general
					 * path, which looks for streams: ahead.c */

struct mmem_chunk {
	_Atomic(struct mmem_space *) space;	/* the space that may use it now, or NULL */
	_Atomic uint32_t state;
	_Atomic uint16_t misses;	/* faults outside all streams since the last one inside */
	_Atomic uint8_t advice;		/* MMEM_ADVISE_NORMAL, SEQUENTIAL or RANDOM */
	uint8_t reserved;
	_Atomic uint64_t dma;		/* device address of its frame: mmem_frame.h */
	struct mmem_region *region;
};
/* The fault path touches one cache line of it. */
static_assert(sizeof(struct mmem_chunk) == 32, "two chunks in a line");

#endif /* MMEM_CHUNK_H */
