/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What kernels call: local memory, asynchronous DMA, and streams. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "internal.h"

void *
accel_local(struct accel_queue *queue, size_t size)
{
	struct local *local = calloc(1, sizeof(*local) + size);

	if (local == NULL) {
		accel_fail("out of memory for %zu bytes of a device; give a smaller file", size);
		return NULL;
	}
	local->next = queue->locals;
	queue->locals = local;
	return local->bytes;
}

void
accel_free_locals(struct accel_queue *queue)
{
	struct local *local;

	while ((local = queue->locals) != NULL) {
		queue->locals = local->next;
		free(local);
	}
}

/* Memory outside every buffer is not marked: the SMMU refuses the access. */
static void
mark_touched(struct accel *accel, uint64_t addr, size_t len)
{
	/* Pairs with the release in add_buf(). */
	unsigned int i, nb = atomic_load_explicit(&accel->nb_bufs, memory_order_acquire);
	uint64_t offset, page;
	struct buf *buf;

	for (i = 0; i < nb; i++) {
		buf = &accel->bufs[i];
		offset = addr - (uintptr_t)atomic_load(&buf->ptr);
		if (offset >= buf->size || len > buf->size - offset)
			continue;
		for (page = offset / PAGE_SIZE; page <= (offset + len - 1) / PAGE_SIZE; page++)
			atomic_store_explicit(&buf->touched[page], true, memory_order_relaxed);
		return;
	}
}

/* The first error of all queues is printed. */
static int
fail_once(struct accel *accel, const char *why, const char *next)
{
	if (!atomic_exchange(&accel->failed, true))
		accel_fail("%s; %s", why, next);
	return -1;
}

/* Returns the number of DMAs that have ended. */
static unsigned int
take_completions(struct accel_queue *queue)
{
	struct accel *accel = queue->device->accel;
	struct smmuv3_model_done done[QUEUE_DEPTH];
	struct accel_req *req;
	unsigned int i, n;
	int error;

	n = smmuv3_model_dma_poll(queue->dma, done, RTE_DIM(done));
	for (i = 0; i < n; i++) {
		req = (struct accel_req *)(uintptr_t)done[i].cookie;
		if (req != NULL)
			req->busy = false;
		queue->bytes += done[i].bytes;
		queue->t_end = RTE_MAX(queue->t_end, done[i].t_end);
		if (done[i].status == SMMUV3_MODEL_OK)
			continue;
		error = atomic_load(&accel->refused);
		fail_once(accel, "the device's access was refused",
				error != 0 ? strerror(-error) :
				"no handler was called; attach its PASID");
	}
	return n;
}

/* Returns false if DMAs do not end. */
static bool
await_progress(struct accel_queue *queue)
{
	struct accel *accel = queue->device->accel;
	uint64_t now;

	if (take_completions(queue) > 0) {
		queue->idle_since = 0;
		return true;
	}
	now = rte_rdtsc();
	if (queue->idle_since == 0)
		queue->idle_since = now;
	else if (now - queue->idle_since > STUCK_SECONDS * rte_get_tsc_hz())
		return false;
	smmuv3_model_wait(accel->model);
	return true;
}

int
accel_reap(struct accel_queue *queue)
{
	struct accel *accel = queue->device->accel;

	if (!await_progress(queue))
		return fail_once(accel, "no DMA has finished for " RTE_STR(STUCK_SECONDS)
				" seconds: faults are not answered",
				"try again with EAL option --log-level=*:debug");
	return atomic_load_explicit(&accel->failed, memory_order_relaxed) ? -1 : 0;
}

void
accel_drain(struct accel_queue *queue)
{
	while (smmuv3_model_dma_outstanding(queue->dma) != 0) {
		if (await_progress(queue))
			continue;
		atomic_store(&queue->device->accel->hung, true);
		return;
	}
	queue->idle_since = 0;
	accel_free_locals(queue);
}

static int
submit_dma(struct accel_queue *queue, struct smmuv3_model_op *op, struct accel_req *req)
{
	int ret;

	op->cookie = (uintptr_t)req;
	if (queue->t_start == 0)
		queue->t_start = smmuv3_model_cycles();
	/* Before the DMA, which may end at once. */
	if (req != NULL)
		req->busy = true;
	while ((ret = smmuv3_model_dma_submit(queue->dma, op)) == -EAGAIN) {
		if (accel_reap(queue) < 0)
			return -1;
	}
	return ret == 0 ? 0 : fail_once(queue->device->accel, "cannot submit a DMA",
			strerror(-ret));
}

int
accel_read(struct accel_queue *queue, void *local, const void *mem, size_t len,
		struct accel_req *req)
{
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_READ, .addr = (uintptr_t)mem,
			.buf = local, .len = len };

	mark_touched(queue->device->accel, op.addr, len);
	if (record_add(op.addr, len, false) < 0)
		return -1;
	return submit_dma(queue, &op, req);
}

int
accel_write(struct accel_queue *queue, void *mem, const void *local, size_t len,
		struct accel_req *req)
{
	/* The engine only reads buf for a write. */
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_WRITE, .addr = (uintptr_t)mem,
			.buf = (void *)(uintptr_t)local, .len = len };

	mark_touched(queue->device->accel, op.addr, len);
	if (record_add(op.addr, len, true) < 0)
		return -1;
	return submit_dma(queue, &op, req);
}

int
accel_copy(struct accel_queue *queue, void *dst, const void *src, size_t len,
		struct accel_req *req)
{
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_COPY, .addr = (uintptr_t)src,
			.dst = (uintptr_t)dst, .len = len };

	mark_touched(queue->device->accel, op.addr, len);
	mark_touched(queue->device->accel, op.dst, len);
	if (record_add(op.addr, len, false) < 0 || record_add(op.dst, len, true) < 0)
		return -1;
	return submit_dma(queue, &op, req);
}

int
accel_req_wait(struct accel_queue *queue, const struct accel_req *req)
{
	while (req != NULL ? req->busy : smmuv3_model_dma_outstanding(queue->dma) != 0) {
		if (accel_reap(queue) < 0)
			return -1;
	}
	return atomic_load(&queue->device->accel->failed) ? -1 : 0;
}

int
accel_load(struct accel_queue *queue, void *local, const void *mem, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += ACCEL_TILE) {
		if (accel_read(queue, (char *)local + i, (const char *)mem + i,
				RTE_MIN(ACCEL_TILE, len - i), NULL) < 0)
			return -1;
	}
	return accel_req_wait(queue, NULL);
}

int
accel_store(struct accel_queue *queue, void *mem, const void *local, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += ACCEL_TILE) {
		if (accel_write(queue, (char *)mem + i, (const char *)local + i,
				RTE_MIN(ACCEL_TILE, len - i), NULL) < 0)
			return -1;
	}
	return accel_req_wait(queue, NULL);
}

int
accel_stream_open(struct accel_stream *stream, struct accel_queue *queue, const void *mem,
		size_t size)
{
	memset(stream, 0, sizeof(*stream));
	stream->queue = queue;
	stream->mem = mem;
	stream->size = size;
	stream->tiles = accel_local(queue, RTE_MIN(ACCEL_STREAM_DEPTH * ACCEL_TILE,
			RTE_ALIGN_CEIL(size, ACCEL_TILE)));
	return stream->tiles != NULL ? 0 : -1;
}

long
accel_stream_next(struct accel_stream *stream, const void **tile)
{
	size_t len, slot;

	/* The tile that the caller had is free again, so one slot is never pending. */
	while (stream->issued < stream->size &&
			stream->issued - stream->taken < ACCEL_STREAM_DEPTH * ACCEL_TILE) {
		slot = stream->issued / ACCEL_TILE % ACCEL_STREAM_DEPTH;
		len = RTE_MIN(ACCEL_TILE, stream->size - stream->issued);
		if (accel_read(stream->queue, stream->tiles + slot * ACCEL_TILE,
				stream->mem + stream->issued, len, &stream->reqs[slot]) < 0)
			return -1;
		stream->issued += len;
	}
	if (stream->taken == stream->size)
		return 0;
	slot = stream->taken / ACCEL_TILE % ACCEL_STREAM_DEPTH;
	len = RTE_MIN(ACCEL_TILE, stream->size - stream->taken);
	if (accel_req_wait(stream->queue, &stream->reqs[slot]) < 0)
		return -1;
	*tile = stream->tiles + slot * ACCEL_TILE;
	stream->taken += len;
	return len;
}
