/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Measures the capacity of one servicer core. In a closed loop the slower of the two cores sets the
 * rate, and with a software SMMU this is often the model's core. So model and servicer alternate:
 * the model records DRAIN_DEPTH faults and stops, the servicer answers them all, the model
 * continues. Only the servicer's turn is timed. At the end it is timed once more, while there are no
 * faults.
 */

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <rte_pause.h>

#include "bench.h"

#define STEP_BUDGET	256

struct drain {
	struct mode *mode;
	const struct bench_conf *conf;
	struct cell *cell;	/* service: cycles of each turn */
	/* Turns given to the servicer, and turns it has completed; UINT32_MAX in given ends it. */
	_Atomic uint32_t given;
	_Atomic uint32_t taken;
	int error;
};

static void
drain_measure_looks(struct drain *d)
{
	struct mode *mode = d->mode;
	unsigned int i;
	uint64_t t0;

	if (mode->ops->look == NULL)
		return;
	/* The first ones may find the end of the last turn. */
	for (i = 0; i < DRAIN_LOOKS / 16; i++)
		mode->ops->look(mode);
	t0 = smmuv3_model_cycles();
	for (i = 0; i < DRAIN_LOOKS; i++)
		mode->ops->look(mode);
	d->cell->look = (double)(smmuv3_model_cycles() - t0) / DRAIN_LOOKS;
}

static void *
drain_run_servicer(void *arg)
{
	struct drain *d = arg;
	uint32_t turn = 0, given;
	uint64_t t0;

	bench_pin_thread("drain-servicer", d->conf->cpu_servicer);
	for (;;) {
		/* Pairs with the release in drain_run_model(): the queue is full. */
		given = atomic_load_explicit(&d->given, memory_order_acquire);
		if (given == UINT32_MAX) {
			if (d->error == 0)
				drain_measure_looks(d);
			return NULL;
		}
		if (given == turn) {
			rte_pause();
			continue;
		}
		t0 = smmuv3_model_cycles();
		hist_add(&d->cell->service, d->mode->ops->drain(d->mode, DRAIN_DEPTH) - t0);
		atomic_store_explicit(&d->taken, ++turn, memory_order_release);
	}
}

/* Step the model until it has no work left. */
static void
drain_step_model(struct smmuv3_model *model)
{
	while (smmuv3_model_step(model, STEP_BUDGET) > 0)
		;
}

static void *
drain_run_model(void *arg)
{
	struct drain *d = arg;
	struct smmuv3_model *model = d->mode->model;
	uint32_t turn, turns = d->conf->faults / DRAIN_DEPTH;

	bench_pin_thread("drain-model", d->conf->cpu_model);
	for (turn = 1; turn <= turns && d->error == 0; turn++) {
		if (!loop_submit_writes(d->mode->loop, DRAIN_DEPTH))
			d->error = -EAGAIN;
		drain_step_model(model);
		if (loop_count_waiting(d->mode) != DRAIN_DEPTH)
			d->error = -EIO;
		atomic_store_explicit(&d->given, turn, memory_order_release);
		/* Pairs with the release in drain_run_servicer(): all answers are in the CMDQ. */
		while (atomic_load_explicit(&d->taken, memory_order_acquire) != turn)
			rte_pause();
		drain_step_model(model);
		if (loop_count_pending(d->mode) != 0)
			d->error = -EIO;
	}
	atomic_store_explicit(&d->given, UINT32_MAX, memory_order_release);
	return NULL;
}

static int
drain_run_threads(struct drain *d)
{
	pthread_t servicer, model;
	int ret;

	ret = pthread_create(&servicer, NULL, drain_run_servicer, d);
	if (ret != 0)
		return -ret;
	ret = pthread_create(&model, NULL, drain_run_model, d);
	if (ret == 0)
		pthread_join(model, NULL);
	else
		atomic_store(&d->given, UINT32_MAX);
	pthread_join(servicer, NULL);
	return ret == 0 ? d->error : -ret;
}

int
drain_run(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
		struct cell *cell)
{
	static struct drain d;
	int ret;

	memset(&d, 0, sizeof(d));
	d.mode = mode;
	d.conf = conf;
	d.cell = cell;
	loop_reset(mode->loop, conf, c, cell);
	ret = mode->ops->start_drain != NULL ? mode->ops->start_drain(mode) : 0;
	if (ret == 0) {
		ret = drain_run_threads(&d);
		if (mode->ops->start_drain != NULL)
			mode->ops->stop(mode);
	}
	if (ret < 0) {
		bench_error("%s: cannot fill and drain the queue %u at a time: %s",
				mode->ops->name, DRAIN_DEPTH, strerror(-ret));
		return ret;
	}
	return loop_finish_cell(mode, c);
}
