/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DMA_H
#define DMA_H

/*
 * The device's DMA, and the handling of an access that faults:
 *
 *   stall	the access waits in the SMMU until the fault is answered; no work here
 *   retry	for a device that cannot stall: the SMMU aborts the access; it is kept
 *		here and submitted again after dma_notify() was called for its page
 *
 * Device and rings use only this interface. An engine (engine.h) moves the bytes: the software
 * SMMUv3's, or `edu`, a PCI device of QEMU.
 *
 * For one thread; dma_notify() is for any thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <iopf.h>
#include <iopf_handler.h>

struct dma;
struct mmem_space;
struct smmuv3_model;

enum dma_state {
	DMA_IDLE,
	DMA_BUSY,
	DMA_KEPT,	/* aborted, waits for an answer */
	DMA_DONE,
	DMA_FAILED,
};

/* One access. The owner fills the first four fields; it stays in place until DONE or FAILED. */
struct dma_req {
	uint64_t addr;
	void *buf;
	uint32_t len;
	bool write;
	enum dma_state state;
	TAILQ_ENTRY(dma_req) link;
	STAILQ_ENTRY(dma_req) queued;	/* for the engine */
	unsigned int tries;
	unsigned int unanswered;	/* the number of last retries without an answer */
	unsigned int answer;	/* 0, or 1 + enum iopf_code answered since it was submitted */
	uint64_t since;		/* time of the abort: rte_rdtsc() */
};

/* The largest request that edu can move, and the managed memory that it takes. */
#define DMA_EDU_MAX	4095
#define DMA_EDU_STAGE	4096

struct dma_conf {
	struct smmuv3_model *model;
	/* Instead of model, only with retry: edu's PCI address; its engine also polls. */
	const char *edu;
	struct iopf_iommu *iommu;
	struct iopf_poller *poller;
	struct mmem_space *space;
	uint32_t sid;
	unsigned int depth;	/* pending requests */
	bool retry;
	unsigned int max_retries;	/* retries of one request, for each page that it covers */
};

struct dma_stats {
	uint64_t retries;	/* requests submitted again */
	uint64_t unanswered;	/* retries without an answer, after the patience */
	uint64_t refused;	/* FAILED: answered IOPF_INVALID */
	uint64_t given_up;	/* FAILED: too many retries */
};

/* Returns NULL with rte_errno on error. */
struct dma *dma_open(const struct dma_conf *conf);
/* Pending requests must be able to end. NULL is allowed. */
void dma_close(struct dma *dma);

/* For struct iopf_dev_ops.retry; the context is the struct dma. */
void dma_notify(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx);

/* Returns 0 or -errno. */
int dma_start(struct dma *dma, struct dma_req *req);

/* Returns the number of accesses that ended, successfully or not. */
unsigned int dma_poll(struct dma *dma);

/* Called by the loop when it has no work. */
void dma_wait(struct dma *dma);

/* No request is pending or kept. */
bool dma_is_idle(const struct dma *dma);

const struct dma_stats *dma_stats(const struct dma *dma);

#endif /* DMA_H */
