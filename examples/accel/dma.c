/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The device's access to memory: asynchronous DMA on its queues, and streams. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "device.h"

#define STUCK_SECONDS	10

/* Memory outside every buffer is not marked: the SMMU refuses the access. */
static void
mark_touched(struct accel *accel, uint64_t addr, size_t len)
{
	uint64_t offset;
	struct buf *buf;
	unsigned int i;

	for (i = 0; i < accel->nb_bufs; i++) {
		buf = &accel->bufs[i];
		offset = addr - (uintptr_t)buf->ptr;
		if (offset >= buf->size || len > buf->size - offset)
			continue;
		memset(&buf->touched[offset / PAGE_SIZE], true,
				(offset + len - 1) / PAGE_SIZE - offset / PAGE_SIZE + 1);
		return;
	}
}

static int
fail_once(struct accel *accel, const char *why, const char *next)
{
	if (!accel->failed)
		accel_fail("%s; %s", why, next);
	accel->failed = true;
	return -1;
}

/* Take completed DMAs; if there are none, yield to other threads. */
static int
reap_completions(struct accel *accel)
{
	struct smmuv3_model_done done[32];
	struct accel_req *req;
	unsigned int i, j, n, total = 0;
	uint64_t now;
	int error;

	for (i = 0; i < NB_QUEUES; i++) {
		n = smmuv3_model_dma_poll(accel->dma[i], done, RTE_DIM(done));
		for (j = 0; j < n; j++) {
			req = (struct accel_req *)(uintptr_t)done[j].cookie;
			if (req != NULL)
				req->busy = false;
			accel->bytes += done[j].bytes;
			accel->t_end = RTE_MAX(accel->t_end, done[j].t_end);
			if (done[j].status == SMMUV3_MODEL_OK)
				continue;
			error = atomic_load(&accel->refused);
			fail_once(accel, "the device's access was refused",
					error != 0 ? strerror(-error) :
					"no handler was called; attach its PASID");
		}
		total += n;
	}
	if (accel->failed)
		return -1;
	if (total > 0) {
		accel->idle_since = 0;
		return 0;
	}
	now = rte_rdtsc();
	if (accel->idle_since == 0)
		accel->idle_since = now;
	else if (now - accel->idle_since > STUCK_SECONDS * rte_get_tsc_hz())
		return fail_once(accel, "no DMA has finished for " RTE_STR(STUCK_SECONDS)
				" seconds: faults are not answered",
				"try again with EAL option --log-level=*:debug");
	smmuv3_model_wait(accel->model);
	return 0;
}

static int
submit_dma(struct accel *accel, struct smmuv3_model_op *op, struct accel_req *req)
{
	unsigned int i;
	int ret;

	op->cookie = (uintptr_t)req;
	if (accel->t_start == 0)
		accel->t_start = smmuv3_model_cycles();
	for (;;) {
		for (i = 0; i < NB_QUEUES; i++) {
			ret = smmuv3_model_dma_submit(accel->dma[accel->next], op);
			accel->next = (accel->next + 1) % NB_QUEUES;
			if (ret == 0) {
				if (req != NULL)
					req->busy = true;
				return 0;
			}
			if (ret != -EAGAIN)
				return fail_once(accel, "cannot submit a DMA", strerror(-ret));
		}
		if (reap_completions(accel) < 0)
			return -1;
	}
}

int
accel_read(struct accel *accel, void *local, const void *mem, size_t len, struct accel_req *req)
{
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_READ, .addr = (uintptr_t)mem,
			.buf = local, .len = len };

	mark_touched(accel, op.addr, len);
	if (record_add(op.addr, len, false) < 0)
		return -1;
	return submit_dma(accel, &op, req);
}

int
accel_write(struct accel *accel, void *mem, const void *local, size_t len,
		struct accel_req *req)
{
	/* The engine only reads buf for a write. */
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_WRITE, .addr = (uintptr_t)mem,
			.buf = (void *)(uintptr_t)local, .len = len };

	mark_touched(accel, op.addr, len);
	if (record_add(op.addr, len, true) < 0)
		return -1;
	return submit_dma(accel, &op, req);
}

int
accel_copy(struct accel *accel, void *dst, const void *src, size_t len, struct accel_req *req)
{
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_COPY, .addr = (uintptr_t)src,
			.dst = (uintptr_t)dst, .len = len };

	mark_touched(accel, op.addr, len);
	mark_touched(accel, op.dst, len);
	if (record_add(op.addr, len, false) < 0 || record_add(op.dst, len, true) < 0)
		return -1;
	return submit_dma(accel, &op, req);
}

static bool
are_queues_idle(const struct accel *accel)
{
	unsigned int i;

	for (i = 0; i < NB_QUEUES; i++) {
		if (smmuv3_model_dma_outstanding(accel->dma[i]) != 0)
			return false;
	}
	return true;
}

int
accel_wait(struct accel *accel, const struct accel_req *req)
{
	while (req != NULL ? req->busy : !are_queues_idle(accel)) {
		if (reap_completions(accel) < 0)
			return -1;
	}
	return accel->failed ? -1 : 0;
}

int
accel_load(struct accel *accel, void *local, const void *mem, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += ACCEL_TILE) {
		if (accel_read(accel, (char *)local + i, (const char *)mem + i,
				RTE_MIN(ACCEL_TILE, len - i), NULL) < 0)
			return -1;
	}
	return accel_wait(accel, NULL);
}

int
accel_store(struct accel *accel, void *mem, const void *local, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += ACCEL_TILE) {
		if (accel_write(accel, (char *)mem + i, (const char *)local + i,
				RTE_MIN(ACCEL_TILE, len - i), NULL) < 0)
			return -1;
	}
	return accel_wait(accel, NULL);
}

int
accel_stream_open(struct accel_stream *stream, struct accel *accel, const void *mem, size_t size)
{
	memset(stream, 0, sizeof(*stream));
	stream->accel = accel;
	stream->mem = mem;
	stream->size = size;
	stream->tiles = malloc(ACCEL_STREAM_DEPTH * ACCEL_TILE);
	return stream->tiles != NULL ? 0 : accel_fail("out of memory");
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
		if (accel_read(stream->accel, stream->tiles + slot * ACCEL_TILE,
				stream->mem + stream->issued, len, &stream->reqs[slot]) < 0)
			return -1;
		stream->issued += len;
	}
	if (stream->taken == stream->size)
		return 0;
	slot = stream->taken / ACCEL_TILE % ACCEL_STREAM_DEPTH;
	len = RTE_MIN(ACCEL_TILE, stream->size - stream->taken);
	if (accel_wait(stream->accel, &stream->reqs[slot]) < 0)
		return -1;
	*tile = stream->tiles + slot * ACCEL_TILE;
	stream->taken += len;
	return len;
}

void
accel_stream_close(struct accel_stream *stream)
{
	free(stream->tiles);
	stream->tiles = NULL;
}
