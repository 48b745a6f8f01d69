/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_errno.h>

#include <iopf_stats.h>

#include "compute.h"
#include "options.h"

#define PAGE_SIZE	4096
#define PAGES		64
#define SIZE		(PAGES * PAGE_SIZE)
#define WORDS		(SIZE / sizeof(uint32_t))
#define FACTOR		3

enum step { STEP_LOAD_X, STEP_LOAD_Y, STEP_STORE_Y };

struct compute {
	struct compute_conf conf;
	struct mmem_space *space;
	struct gpu_queue *queue;
	bool attached;
	bool finishing;
	enum step step;
	uint32_t *x;		/* managed memory */
	uint32_t *y;
	uint32_t *local_x;	/* the GPU's memory */
	uint32_t *local_y;
	uint64_t rounds;
	uint64_t wrong;
	atomic_uint_fast64_t refused;
};

/* On the poll thread. */
static void
on_report(struct mmem_space *space __rte_unused, const struct mmem_report *report __rte_unused,
		void *ctx)
{
	struct compute *compute = ctx;

	atomic_fetch_add_explicit(&compute->refused, 1, memory_order_relaxed);
}

static void
begin_step(struct compute *compute, enum step step)
{
	struct gpu_dispatch dispatch = { .lanes = PAGES, .size = PAGE_SIZE };

	dispatch.store = step == STEP_STORE_Y;
	dispatch.addr = (uintptr_t)(step == STEP_LOAD_X ? compute->x : compute->y);
	dispatch.local = step == STEP_LOAD_X ? compute->local_x : compute->local_y;
	gpu_queue_run(compute->queue, &dispatch);
	compute->step = step;
}

static int
open_memory(struct compute *compute)
{
	const struct compute_conf *conf = &compute->conf;
	unsigned int i;

	compute->space = mmem_space_create(&(struct mmem_space_conf){ .pool = conf->pool,
			.report = on_report, .ctx = compute });
	if (compute->space == NULL)
		return fail("cannot make an address space: %s", rte_strerror(rte_errno));
	compute->x = mmem_alloc(compute->space, SIZE, MMEM_READ);
	compute->y = mmem_alloc(compute->space, SIZE, MMEM_READ | MMEM_WRITE);
	if (compute->x == NULL || compute->y == NULL)
		return fail("cannot allocate managed memory: %s", rte_strerror(rte_errno));
	compute->local_x = malloc(SIZE);
	compute->local_y = malloc(SIZE);
	if (compute->local_x == NULL || compute->local_y == NULL)
		return fail("out of memory");
	for (i = 0; i < WORDS; i++) {
		compute->x[i] = i + conf->pasid;
		compute->y[i] = i;
	}
	return 0;
}

struct compute *
compute_open(const struct compute_conf *conf)
{
	struct compute *compute = calloc(1, sizeof(*compute));

	if (compute == NULL) {
		fail("out of memory");
		return NULL;
	}
	compute->conf = *conf;
	if (open_memory(compute) < 0)
		goto error;
	compute->queue = gpu_queue_open(conf->model, conf->sid, conf->pasid, PAGES);
	if (compute->queue == NULL) {
		fail("cannot make a queue of the GPU: %s", strerror(errno));
		goto error;
	}
	if (mmem_attach(compute->space, conf->dev, conf->pasid) < 0) {
		fail("cannot attach PASID %u: %s", conf->pasid, rte_strerror(rte_errno));
		goto error;
	}
	compute->attached = true;
	begin_step(compute, STEP_LOAD_X);
	return compute;

error:
	compute_close(compute);
	return NULL;
}

void
compute_close(struct compute *compute)
{
	if (compute == NULL)
		return;
	gpu_queue_close(compute->queue);
	if (compute->attached)
		mmem_detach(compute->space, compute->conf.dev, compute->conf.pasid);
	mmem_space_destroy(compute->space);
	free(compute->local_x);
	free(compute->local_y);
	free(compute);
}

/* The shader's arithmetic. */
static void
run_shader(struct compute *compute)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		compute->local_y[i] += FACTOR * compute->local_x[i];
}

/* CPU and device share the pages: nothing is copied back. */
static void
check_result(struct compute *compute)
{
	uint32_t rounds = compute->rounds, pasid = compute->conf.pasid;
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		compute->wrong += compute->y[i] != i + rounds * FACTOR * (i + pasid);
}

static int
end_step(struct compute *compute)
{
	int ret;

	switch (compute->step) {
	case STEP_LOAD_X:
		begin_step(compute, STEP_LOAD_Y);
		return 0;
	case STEP_LOAD_Y:
		run_shader(compute);
		begin_step(compute, STEP_STORE_Y);
		return 0;
	default:
		compute->rounds++;
		check_result(compute);
		ret = mmem_unmap(compute->space, compute->y, SIZE);
		if (ret < 0)
			return fail("cannot unmap memory of PASID %u: %s", compute->conf.pasid,
					strerror(-ret));
		if (!compute->finishing)
			begin_step(compute, STEP_LOAD_X);
		return 0;
	}
}

int
compute_poll(struct compute *compute)
{
	unsigned int n;

	if (compute_is_finished(compute))
		return 0;
	n = gpu_queue_poll(compute->queue);
	if (gpu_queue_is_idle(compute->queue) && end_step(compute) < 0)
		return -1;
	return n;
}

void
compute_finish(struct compute *compute)
{
	compute->finishing = true;
}

bool
compute_is_finished(const struct compute *compute)
{
	return compute->finishing && compute->step == STEP_STORE_Y &&
		gpu_queue_is_idle(compute->queue);
}

void
compute_get_stats(const struct compute *compute, struct compute_stats *stats)
{
	stats->rounds = compute->rounds;
	stats->wrong = compute->wrong;
	stats->refused = atomic_load_explicit(&compute->refused, memory_order_relaxed);
	stats->faults = iopf_domain_stat(mmem_space_domain(compute->space), IOPF_STAT_SUCCESS);
}

const struct gpu_stats *
compute_gpu_stats(const struct compute *compute)
{
	return gpu_queue_stats(compute->queue);
}
