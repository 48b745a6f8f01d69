/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_POOL_H
#define IOPF_POOL_H

/*
 * Objects of one size that the fault path reads, close to each other. From malloc() each would lie
 * on a page of its own, between what else its device has: with thousands of devices each fault
 * would miss the TLB.
 *
 * The memory of freed objects is used again, and is never returned to the system.
 */

#include <pthread.h>
#include <stddef.h>

#include <rte_common.h>

struct iopf_pool {
	pthread_mutex_t lock;
	size_t size;			/* a multiple of the cache line */
	void *free;			/* the first word of each is the next */
	void *chunks;			/* the same */
};

#define IOPF_POOL_INITIALIZER(type)						\
	{									\
		.lock = PTHREAD_MUTEX_INITIALIZER,				\
		.size = RTE_ALIGN_CEIL(sizeof(type), RTE_CACHE_LINE_SIZE),	\
	}

/* Zeroed, and aligned to the cache line. NULL: no memory. */
void *iopf_pool_zalloc(struct iopf_pool *pool);
/* No thread uses the object any more. */
void iopf_pool_free(struct iopf_pool *pool, void *object);

#endif /* IOPF_POOL_H */
