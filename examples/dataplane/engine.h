/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ENGINE_H
#define ENGINE_H

/* An engine moves the bytes of a request once; dma.c decides on retries. */

#include <stdbool.h>

#include "dma.h"

struct engine_done {
	struct dma_req *req;
	bool aborted;
};

struct engine_ops {
	/* Returns NULL with rte_errno on error. */
	void *(*open)(const struct dma_conf *conf);
	/* NULL is allowed. */
	void (*close)(void *engine);
	/* Returns 0 or -errno. */
	int (*submit)(void *engine, struct dma_req *req);
	/* Returns up to @n requests that ended. */
	unsigned int (*poll)(void *engine, struct engine_done *done, unsigned int n);
	/* Called when there is no work: waits for a moment. */
	void (*wait)(void *engine);
};

/*
 * The software SMMUv3's engine: moves many requests concurrently, and waits for answers if the SMMU
 * stalls.
 */
extern const struct engine_ops engine_model;
/* QEMU's PCI device. */
extern const struct engine_ops engine_edu;

#endif /* ENGINE_H */
