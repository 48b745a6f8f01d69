/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

#include "gpu.h"

struct gpu_queue {
	struct smmuv3_model_dma *dma;
	struct gpu_dispatch dispatch;
	uint32_t next;		/* lane that has not accessed memory yet */
	struct gpu_stats stats;
};

struct gpu_queue *
gpu_queue_open(struct smmuv3_model *model, uint32_t sid, uint32_t pasid, uint32_t depth)
{
	struct gpu_queue *queue = calloc(1, sizeof(*queue));

	if (queue == NULL)
		return NULL;
	queue->dma = smmuv3_model_dma_create(model, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.has_ssid = true, .ssid = pasid, .depth = depth });
	if (queue->dma == NULL) {
		free(queue);
		return NULL;
	}
	return queue;
}

void
gpu_queue_close(struct gpu_queue *queue)
{
	if (queue == NULL)
		return;
	smmuv3_model_dma_destroy(queue->dma);
	free(queue);
}

bool
gpu_queue_is_idle(const struct gpu_queue *queue)
{
	return queue->next == queue->dispatch.lanes &&
		queue->stats.ended == queue->stats.started;
}

int
gpu_queue_run(struct gpu_queue *queue, const struct gpu_dispatch *dispatch)
{
	if (!gpu_queue_is_idle(queue))
		return -EBUSY;
	queue->dispatch = *dispatch;
	queue->next = 0;
	return 0;
}

void
gpu_queue_kill(struct gpu_queue *queue)
{
	queue->next = queue->dispatch.lanes;
	queue->dispatch.replay = false;
}

/* False: as many accesses are outstanding as the queue is deep. */
static bool
start_lane(struct gpu_queue *queue, uint64_t lane)
{
	const struct gpu_dispatch *dispatch = &queue->dispatch;
	uint64_t offset = lane * dispatch->size;

	if (smmuv3_model_dma_submit(queue->dma, &(struct smmuv3_model_op){
			.type = dispatch->store ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ,
			.addr = dispatch->addr + offset, .len = dispatch->size,
			.buf = (char *)dispatch->local + offset, .cookie = lane }) < 0)
		return false;
	queue->stats.started++;
	return true;
}

static void
end_lane(struct gpu_queue *queue, const struct smmuv3_model_done *done)
{
	queue->stats.ended++;
	if (done->status == SMMUV3_MODEL_OK)
		return;
	queue->stats.aborted++;
	/* There is room: an access has just ended. */
	if (queue->dispatch.replay)
		start_lane(queue, done->cookie);
}

unsigned int
gpu_queue_poll(struct gpu_queue *queue)
{
	struct smmuv3_model_done done[256];
	unsigned int i, n;

	while (queue->next < queue->dispatch.lanes && start_lane(queue, queue->next))
		queue->next++;
	n = smmuv3_model_dma_poll(queue->dma, done, RTE_DIM(done));
	for (i = 0; i < n; i++)
		end_lane(queue, &done[i]);
	return n;
}

const struct gpu_stats *
gpu_queue_stats(const struct gpu_queue *queue)
{
	return &queue->stats;
}
