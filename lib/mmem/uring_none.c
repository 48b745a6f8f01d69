/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* In the place of uring.c, in a build without liburing. */

#include <rte_common.h>

#include "mmem_uring.h"

struct mmem_uring *
mmem_uring_get(struct mmem_pool *pool)
{
	RTE_SET_USED(pool);
	return NULL;
}

void
mmem_uring_submit(struct mmem_uring *ring, struct mmem_request *request)
{
	RTE_SET_USED(ring);
	RTE_SET_USED(request);
}

void
mmem_uring_stop(struct mmem_uring *ring)
{
	RTE_SET_USED(ring);
}

unsigned int
mmem_uring_get_most(const struct mmem_uring *ring)
{
	RTE_SET_USED(ring);
	return 0;
}
