/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef GPU_H
#define GPU_H

/*
 * A software GPU: one StreamID, and a queue for each context, whose accesses have the context's
 * PASID. A queue runs one dispatch at a time. Each lane of a dispatch makes one access between
 * memory and the GPU's local memory; all lanes access memory at once, as far as the queue is deep.
 * All functions are for one thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include <smmuv3_model.h>

struct gpu_queue;

struct gpu_dispatch {
	bool store;		/* local memory to memory; otherwise the reverse */
	bool replay;		/* a lane whose access was aborted tries again, until the kill */
	uint32_t lanes;
	uint32_t size;		/* bytes of a lane; lane i accesses addr + i * size */
	uint64_t addr;
	void *local;		/* lane i uses local + i * size; must stay until the end */
};

struct gpu_stats {
	uint64_t started;	/* accesses */
	uint64_t ended;
	uint64_t aborted;	/* of the ended ones; refused stalls included */
};

/** @return NULL with errno EINVAL or ENOMEM. */
struct gpu_queue *gpu_queue_open(struct smmuv3_model *model, uint32_t sid, uint32_t pasid,
		uint32_t depth);

/** Waits until no access is outstanding. NULL is allowed. */
void gpu_queue_close(struct gpu_queue *queue);

/** @return 0, or -EBUSY: a dispatch is running. */
int gpu_queue_run(struct gpu_queue *queue, const struct gpu_dispatch *dispatch);

/** Start accesses and take those that have ended. @return their number. */
unsigned int gpu_queue_poll(struct gpu_queue *queue);

/** The last dispatch has ended. */
bool gpu_queue_is_idle(const struct gpu_queue *queue);

/** End the dispatch: no access begins any more. Those that are outstanding end by themselves. */
void gpu_queue_kill(struct gpu_queue *queue);

const struct gpu_stats *gpu_queue_stats(const struct gpu_queue *queue);

#endif /* GPU_H */
