/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ENGINE_H
#define ENGINE_H

/*
 * What moves the bytes of a request, once: dma.c decides whether it is done again.
 */

#include <stdbool.h>

#include "dma.h"

struct engine_done {
	struct dma_req *req;
	bool aborted;
};

struct engine_ops {
	/* NULL with rte_errno. */
	void *(*open)(const struct dma_conf *conf);
	/* NULL is allowed. */
	void (*close)(void *engine);
	/* 0 or -errno. */
	int (*submit)(void *engine, struct dma_req *req);
	/* Up to @n that ended. */
	unsigned int (*poll)(void *engine, struct engine_done *done, unsigned int n);
	/* Nothing is to be done but wait, for a moment. */
	void (*wait)(void *engine);
};

/* Of the software SMMUv3: moves many at a time, and waits for answers if the SMMU does. */
extern const struct engine_ops engine_model;
/* QEMU's PCI device. */
extern const struct engine_ops engine_edu;

#endif /* ENGINE_H */
