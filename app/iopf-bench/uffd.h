/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef UFFD_H
#define UFFD_H

/*
 * The mode "uffd": page faults of threads that userfaultfd hands to a thread of the same process.
 * It has no SMMU and no engines.
 *
 *	uffd.c		a region of memory, the events of its faults, and their resolution
 *	mode_uffd.c	the mode: threads that fault, cells, checks
 *
 * A variant is how a fault is resolved, where, and how the handler waits:
 *
 *   - UFFD_ZEROPAGE: private anonymous memory, of which nothing is there, and UFFDIO_ZEROPAGE. It
 *     maps the page of zeros read-only, so that the write faults once more and the kernel copies
 *     that page. Otherwise: a memfd whose pages are there but not mapped, and UFFDIO_CONTINUE.
 *   - UFFD_CROSS: the threads that fault run on the model's core and the handler on the
 *     servicer's. Otherwise all run on the servicer's.
 *   - UFFD_BUSY: the handler polls the descriptor. Otherwise it sleeps in read().
 *
 * The call order: uffd_open(), then for each cell uffd_set_blocking(), uffd_serve() on one thread
 * while others write to pages, uffd_unmap_pages() while no thread runs; last uffd_close().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UFFD_ZEROPAGE	1u
#define UFFD_CROSS	2u
#define UFFD_BUSY	4u

struct uffd {
	int fd;			/* -1: not open */
	bool zeropage;
	bool zero;		/* zero each page before it is mapped */
	uint8_t *mem;		/* registered: pages, and one more that ends uffd_serve() */
	uint8_t *alias;		/* of a memfd: the same pages, not registered */
	uint32_t pages;
	uint8_t *resolved;	/* how often each page was, since uffd_unmap_pages() */
	/* Written by uffd_serve(). */
	uint64_t repeated;	/* faults on pages that were resolved before */
	uint32_t strange;	/* events that are no fault of the region */
	int error;		/* of the first fault that could not be resolved */
};

/*
 * Returns NULL if this process may use userfaultfd for faults of user mode, with minor faults;
 * otherwise why not, and what to do.
 */
const char *uffd_find_obstacle(void);
/* Returns 0 or -errno; uffd_close() is allowed after both. */
int uffd_open(struct uffd *u, bool zeropage, uint32_t pages, bool zero);
void uffd_close(struct uffd *u);
/* Does uffd_serve() sleep until there is an event? Returns 0 or -errno. */
int uffd_set_blocking(struct uffd *u, bool blocking);
/*
 * Read at most DRAIN_DEPTH events, resolve each, and wake the threads. Returns the number of events;
 * 0: there is none; negative: one was of the last page, and the handler is to end.
 */
int uffd_serve(struct uffd *u);
/* Write to the last page: the calling thread continues when the handler has resolved it. */
void uffd_end_handler(struct uffd *u);
/* So that each page faults again. Returns 0 or -errno. */
int uffd_unmap_pages(struct uffd *u);
/*
 * What a page has where nothing was written to it: its last BENCH_OP_SIZE bytes are such words.
 * Right only for pages that were resolved.
 */
bool uffd_holds_its_words(const struct uffd *u, uint32_t page);

#endif /* UFFD_H */
