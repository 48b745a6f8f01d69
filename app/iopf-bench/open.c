/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * An open loop: faults come by the clock, as those of a device that does not wait for its
 * servicer. The generator's thread is the device and the SMMU. It submits the writes that are due
 * and steps the model, in turns.
 *
 * The device has one place for each write under way. Places are used in the order in which they
 * became free, so the time since a place is free tells for how long the device had room for the
 * fault that takes it.
 */

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "bench.h"

/* Small, so that a fault that becomes due during a step waits for few others. */
#define STEP_BUDGET	8

struct place {
	uint32_t fault;
	uint64_t due;
	uint64_t freed;
};

struct open {
	struct mode *mode;
	struct cell *cell;
	bool at_rate;		/* otherwise all faults are due at once */
	uint64_t *due;		/* of each fault, from the first */
	uint64_t start;
	uint64_t end;		/* at once: no more faults after this and the warm-up */
	uint64_t progress;	/* when a write was submitted or ended last */
	uint32_t faults;
	uint32_t warm;
	uint32_t next;
	uint32_t done;
	struct place places[BENCH_MAX_DEPTH];
	uint16_t free[BENCH_MAX_DEPTH];	/* a ring of places */
	uint32_t nb_freed, nb_taken;
	int error;
};

static inline uint64_t
get_time_since(uint64_t t, uint64_t now)
{
	return now > t ? now - t : 0;
}

/* On the generator's thread, within a step. */
static void
on_write(const struct smmuv3_model_done *done, void *ctx)
{
	struct open *open = ctx;
	struct place *place = &open->places[done->cookie];

	if (place->fault >= open->warm) {
		hist_add(&open->cell->service, get_time_since(place->due, done->t_resume));
		hist_add(&open->cell->whole, get_time_since(place->due, done->t_end));
		hist_add(&open->cell->lag, get_time_since(place->freed > place->due ?
				place->freed : place->due, done->t_start));
	}
	place->freed = done->t_end;
	open->free[open->nb_freed++ % BENCH_MAX_DEPTH] = done->cookie;
	open->done++;
	open->progress = done->t_end;
}

/* Submit the faults that are due, as far as the device has room. */
static void
submit_due(struct open *open, uint64_t now)
{
	struct place *place;
	uint16_t slot;
	uint64_t due;

	while (open->next < open->faults && open->nb_taken != open->nb_freed) {
		due = open->start + (open->at_rate ? open->due[open->next] : 0);
		if (due > now)
			return;
		slot = open->free[open->nb_taken++ % BENCH_MAX_DEPTH];
		place = &open->places[slot];
		place->fault = open->next;
		place->due = due;
		if (!loop_submit_write(open->mode->loop, slot)) {
			open->error = -EAGAIN;
			return;
		}
		open->next++;
		open->progress = now;
	}
}

static void *
run_generator(void *arg)
{
	struct open *open = arg;
	uint64_t stuck = rte_get_tsc_hz() * BENCH_STUCK_SECONDS, now, warm;
	struct cpu_reading cpu;

	cpu_begin(open->mode, &cpu);
	now = smmuv3_model_cycles();
	open->end += now;
	open->start = open->progress = now;
	while (open->done < open->faults && open->error == 0) {
		now = smmuv3_model_cycles();
		/* However slow: with samples after the warm-up. */
		if (!open->at_rate && now > open->end && open->done > open->warm)
			open->faults = open->next;
		submit_due(open, now);
		smmuv3_model_step(open->mode->model, STEP_BUDGET);
		if (get_time_since(open->progress, now) > stuck)
			open->error = -ETIMEDOUT;
	}
	warm = open->start + (open->at_rate ? open->due[open->warm] : 0);
	open->cell->cycles = get_time_since(warm, open->progress);
	if (open->error == 0)
		cpu_end(open->mode, &cpu, open->cell);
	return NULL;
}

uint64_t
bench_next_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

void
open_make_schedule(uint64_t *due, unsigned int n, double interval, enum arrival arrival,
		uint32_t seed)
{
	uint64_t state = seed;
	double at = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		due[i] = (uint64_t)at;
		if (arrival == ARRIVAL_CONSTANT)
			at = interval * (i + 1);
		else
			at -= interval * log(((double)(bench_next_random(&state) >> 11) + 1) *
					0x1p-53);
	}
}

bool
open_kept_up(const struct cell *cell)
{
	return hist_get_percentile(&cell->lag, 0.5) <= OPEN_LATE * cell->interval;
}

/* It must not need another thread's CPU to begin. */
static int
start_generator(pthread_t *thread, int cpu, struct open *open)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	int ret;

	CPU_ZERO(&cpus);
	if (cpu >= 0)
		CPU_SET(cpu, &cpus);
	ret = pthread_attr_init(&attr);
	if (ret != 0)
		return -ret;
	/* Negative, as of smmuv3_model_start(): any CPU. */
	if (cpu >= 0)
		ret = pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	if (ret == 0)
		ret = pthread_create(thread, &attr, run_generator, open);
	pthread_attr_destroy(&attr);
	return -ret;
}

static int
run_threads(struct open *open, const struct bench_conf *conf, const struct bench_case *c)
{
	struct mode *mode = open->mode;
	pthread_t generator;
	int ret;

	ret = mode->ops->start(mode);
	if (ret < 0)
		return ret;
	ret = start_generator(&generator, conf->cpu_model, open);
	if (ret < 0) {
		bench_error("%s: cannot start the generator on CPU %d: %s", c->name,
				conf->cpu_model, strerror(-ret));
		mode->ops->stop(mode);
		return ret;
	}
	pthread_join(generator, NULL);
	if (open->error == -ETIMEDOUT)
		return loop_report_stuck(mode, c);
	mode->ops->stop(mode);
	return 0;
}

static void
prepare(struct open *open, const struct bench_conf *conf, const struct bench_case *c, double rate,
		uint32_t seed)
{
	struct cell *cell = open->cell;
	double most;
	unsigned int i;

	open->at_rate = c->kind == CASE_OPEN;
	open->end = rte_get_tsc_hz() / 1000 * conf->budget_ms;
	open->faults = conf->faults;
	if (open->at_rate) {
		most = rate * (double)open->end;
		if (most < open->faults)
			open->faults = most > BENCH_MIN_FAULTS ? most : BENCH_MIN_FAULTS;
		cell->interval = 1 / rate;
		open_make_schedule(open->due, open->faults, cell->interval, c->arrival, seed);
	}
	open->warm = open->faults / BENCH_WARM_SHARE;
	for (i = 0; i < BENCH_MAX_DEPTH; i++)
		open->free[open->nb_freed++] = i;
	hist_reset(&cell->lag);
}

int
open_run(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
		double rate, uint32_t seed, struct cell *cell)
{
	struct open *open = calloc(1, sizeof(*open));
	int ret;

	if (open != NULL)
		open->due = malloc(conf->faults * sizeof(*open->due));
	if (open == NULL || open->due == NULL) {
		bench_error("%s: no memory for the times of %u faults", c->name, conf->faults);
		free(open);
		return -ENOMEM;
	}
	open->mode = mode;
	open->cell = cell;
	loop_reset(mode->loop, conf, c, cell);
	loop_set_hook(mode->loop, on_write, open);
	prepare(open, conf, c, rate, seed);
	ret = run_threads(open, conf, c);
	if (ret == 0 && cell->service.samples == 0) {
		bench_error("%s: no samples", c->name);
		ret = -EIO;
	}
	if (ret == 0)
		ret = loop_finish_cell(mode, c);
	free(open->due);
	free(open);
	return ret;
}
