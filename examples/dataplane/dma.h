/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DMA_H
#define DMA_H

/*
 * The device's DMA, and what becomes of an access that faults:
 *
 *   stall	it waits in the SMMU until the fault is answered; nothing to do here
 *   retry	for a device that cannot wait: the SMMU aborts the access; it is kept
 *		here, and submitted again when dma_notify() is told that it will succeed
 *
 * Device and rings know only this interface. What moves the bytes is an engine (engine.h):
 * the software SMMUv3's, or `edu`, a PCI device of QEMU.
 *
 * One thread; dma_notify() is for any.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <iopf.h>

struct dma;
struct mmem_space;
struct smmuv3_model;

enum dma_state {
	DMA_IDLE,
	DMA_BUSY,
	DMA_KEPT,	/* aborted, and waiting for a word */
	DMA_DONE,
	DMA_FAILED,
};

/* One access. The owner fills the first four; it stays in place until DONE or FAILED. */
struct dma_req {
	uint64_t addr;
	void *buf;
	uint32_t len;
	bool write;
	enum dma_state state;
	TAILQ_ENTRY(dma_req) link;
	STAILQ_ENTRY(dma_req) queued;	/* the engine's */
	unsigned int tries;
	unsigned int unheard;	/* the last so many were without a word */
	unsigned int told;	/* 0, or 1 + enum iopf_code, since it was submitted */
	uint64_t since;		/* aborted: rte_rdtsc() */
};

/* Bytes of a request that edu can move, and of managed memory that it takes for itself. */
#define DMA_EDU_MAX	4095
#define DMA_EDU_STAGE	4096

struct dma_conf {
	struct smmuv3_model *model;
	/* Instead, and only with retry: its PCI address; it polls, too. */
	const char *edu;
	struct iopf_iommu *iommu;
	struct iopf_poller *poller;
	struct mmem_space *space;
	uint32_t sid;
	unsigned int depth;	/* requests under way */
	bool retry;
	unsigned int max_retries;	/* of one request, for each page that it touches */
};

struct dma_stats {
	uint64_t retries;	/* submitted again */
	uint64_t unheard;	/* of these, after a while without a word */
	uint64_t refused;	/* FAILED: answered IOPF_INVALID */
	uint64_t given_up;	/* FAILED: too many retries */
};

/* NULL with rte_errno. */
struct dma *dma_open(const struct dma_conf *conf);
/* What is under way must be able to end. NULL is allowed. */
void dma_close(struct dma *dma);

/* struct iopf_dev_ops.retry; the context is the struct dma. */
void dma_notify(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx);

/* 0 or -errno. */
int dma_start(struct dma *dma, struct dma_req *req);

/* Returns how many accesses ended, well or not. */
unsigned int dma_poll(struct dma *dma);

/* For the loop to call when nothing is to be done. */
void dma_wait(struct dma *dma);

/* Nothing is under way, and nothing kept. */
bool dma_is_idle(const struct dma *dma);

const struct dma_stats *dma_stats(const struct dma *dma);

#endif /* DMA_H */
