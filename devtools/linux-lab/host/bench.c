/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * LAB_BENCH: DMAs to pages that the guest has not touched, each of which stalls. The SMMU's thread
 * submits them itself, in on_done of the last: so the one before the first is a DMA too, to page
 * count, that is not measured. After the last the time stamps of all are printed, in the order of
 * struct smmuv3_model_done:
 *	bench COUNT BATCH CYCLES-PER-SECOND FAILED STALLS
 *	bench-dma START EVENT RESUME END
 */

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

#define BYTES		8
#define DEPTH		1024
#define PAGE		4096

static struct bench {
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_op op;
	uint64_t addr, stride, pause;
	uint32_t count, batch, sent, ended;
	sem_t end;
	uint8_t bytes[BYTES];
	struct smmuv3_model_done *done;
} bench;

static void
submit(uint32_t i)
{
	bench.op.addr = bench.addr + i * bench.stride;
	bench.op.cookie = i;
	/* The engine is deeper than a batch. */
	if (smmuv3_model_dma_submit(bench.dma, &bench.op) < 0)
		abort();
}

static void
on_done(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	uint64_t next;

	(void)dma;
	(void)ctx;
	bench.done[done->cookie] = *done;
	if (done->cookie != bench.count && ++bench.ended == bench.count) {
		sem_post(&bench.end);
		return;
	}
	if (bench.ended < bench.sent)
		return;
	next = smmuv3_model_cycles() + bench.pause;
	while (smmuv3_model_cycles() < next)
		;
	for (uint32_t i = 0; i < bench.batch && bench.sent < bench.count; i++)
		submit(bench.sent++);
}

/* A process's first touch of a page takes microseconds on some virtual machines. */
static void
touch_all(struct lab_host *h)
{
	static bool touched;

	for (size_t i = 0; !touched && i < h->ram_size; i += PAGE)
		__atomic_fetch_or((uint64_t *)(h->ram + i), 0, __ATOMIC_RELAXED);
	touched = true;
}

static double
measure_hz(void)
{
	uint64_t begin = smmuv3_model_cycles();
	double start = lab_now();

	usleep(200000);
	return (double)(smmuv3_model_cycles() - begin) / (lab_now() - start);
}

void
lab_bench_run(struct lab_host *h, struct lab_mailbox *mb)
{
	struct smmuv3_model_dma_conf conf = { .sid = lab_smmu_get_sid(mb->sid),
		.has_ssid = mb->has_pasid, .ssid = mb->pasid, .depth = DEPTH, .on_done = on_done };
	double hz = measure_hz();

	touch_all(h);
	bench = (struct bench){ .addr = mb->addr, .stride = mb->stride, .count = mb->count,
		.batch = mb->arg, .pause = (uint64_t)(mb->pause_us * hz / 1e6) };
	if (bench.count == 0 || bench.batch == 0 || bench.batch > DEPTH) {
		mb->status = UINT32_MAX;
		return;
	}
	memset(bench.bytes, 0x5a, sizeof(bench.bytes));
	bench.op = (struct smmuv3_model_op){ .type = SMMUV3_MODEL_WRITE, .buf = bench.bytes,
		.len = BYTES };
	bench.done = calloc(bench.count + 1, sizeof(*bench.done));
	bench.dma = smmuv3_model_dma_create(h->model, &conf);
	if (bench.done == NULL || bench.dma == NULL) {
		mb->status = UINT32_MAX;
		return;
	}
	sem_init(&bench.end, 0, 0);
	submit(bench.count);
	while (sem_trywait(&bench.end) < 0) {
		if (lab_qemu_ended(h) || lab_now() > h->opt.limit) {
			atomic_store(&h->stop, true);
			return;
		}
		usleep(2000);
	}
	mb->nb_stalls = 0;
	for (uint32_t i = 0; i < bench.count; i++) {
		mb->status += bench.done[i].status != SMMUV3_MODEL_OK;
		mb->nb_stalls += bench.done[i].nb_stalls;
	}
	printf("bench %u %u %.0f %u %u\n", bench.count, bench.batch, hz, mb->status,
		mb->nb_stalls);
	for (uint32_t i = 0; i < bench.count; i++)
		printf("bench-dma %llu %llu %llu %llu\n",
			(unsigned long long)bench.done[i].t_start,
			(unsigned long long)bench.done[i].t_event,
			(unsigned long long)bench.done[i].t_resume,
			(unsigned long long)bench.done[i].t_end);
	smmuv3_model_dma_destroy(bench.dma);
	free(bench.done);
}
