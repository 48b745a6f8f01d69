/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The CPU cost of a servicer in an open loop. The kernel counts the time of its threads. A poll
 * thread uses its CPU always, with faults or without, so a second figure is the part that the
 * faults cost: the time less that of the empty passes. These are counted, not timed, since a clock
 * would be a large part of an empty pass. What one takes is measured after the last fault, while
 * the generator's thread steps an idle model, as it does between faults.
 */

#include <time.h>

#include <rte_cycles.h>

#include "bench.h"

/* Of the measurement of an empty pass. Its median leaves out a slice in which a thread paused. */
#define SLICES		9
#define SLICES_PER_S	10000
#define MAX_SLICES	1000
#define STEP_BUDGET	8

/* The CPU time of the servicer's threads in nanoseconds; negative: unknown. */
static double
read_cpu_ns(const struct cpu_use *use)
{
	double ns = use->nb_threads > 0 ? 0 : -1;
	struct timespec ts;
	clockid_t clock;
	unsigned int i;

	for (i = 0; i < use->nb_threads; i++) {
		if (pthread_getcpuclockid(use->threads[i], &clock) != 0 ||
				clock_gettime(clock, &ts) != 0)
			return -1;
		ns += (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
	}
	return ns;
}

void
cpu_begin(const struct mode *mode, struct cpu_reading *begin)
{
	/* The clock first here and last in cpu_end(): no share is above that of the threads. */
	begin->cycles = smmuv3_model_cycles();
	begin->empty = atomic_load_explicit(&mode->use.empty, memory_order_relaxed);
	begin->ns = read_cpu_ns(&mode->use);
}

/* The time of an empty pass in cycles; 0 if the thread made none. */
static double
measure_empty_pass(const struct mode *mode)
{
	uint64_t slice = rte_get_tsc_hz() / SLICES_PER_S, start, now, before, passes;
	double values[SLICES];
	unsigned int i, n = 0;

	for (i = 0; i < MAX_SLICES && n < SLICES; i++) {
		before = atomic_load_explicit(&mode->use.empty, memory_order_relaxed);
		start = smmuv3_model_cycles();
		do {
			smmuv3_model_step(mode->model, STEP_BUDGET);
			now = smmuv3_model_cycles();
		} while (now - start < slice);
		passes = atomic_load_explicit(&mode->use.empty, memory_order_relaxed) - before;
		if (passes > 0)
			values[n++] = (double)(now - start) / (double)passes;
	}
	return spread_make(values, n).median;
}

double
cpu_get_busy(double ns, double empty_passes, double empty_pass_ns)
{
	double busy = ns - empty_passes * empty_pass_ns;

	return busy > 0 ? busy : 0;
}

void
cpu_end(const struct mode *mode, const struct cpu_reading *begin, struct cell *cell)
{
	uint64_t empty = atomic_load_explicit(&mode->use.empty, memory_order_relaxed);
	double ns = read_cpu_ns(&mode->use), per_ns = (double)rte_get_tsc_hz() * 1e-9;
	double wall = (double)(smmuv3_model_cycles() - begin->cycles) / per_ns, pass;

	cell->cpu = cell->busy = -1;
	if (ns < 0 || begin->ns < 0)
		return;
	ns -= begin->ns;
	cell->cpu = ns / wall;
	if (mode->use.kind == CPU_SLEEPS)
		cell->busy = cell->cpu;
	if (mode->use.kind != CPU_POLLS)
		return;
	pass = measure_empty_pass(mode);
	if (pass > 0)
		cell->busy = cpu_get_busy(ns, (double)(empty - begin->empty), pass / per_ns) / wall;
}
