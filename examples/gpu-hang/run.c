/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "run.h"

#define START_SECONDS	0.01
#define STUCK_SECONDS	20

static void
name_rows(struct run *run)
{
	unsigned int i;

	for (i = 0; i <= run->machine->nb_computes; i++)
		run->rows[i] = (struct report_row){ .pasid = RENDER_PASID + i,
				.name = i == 0 ? "the one that hangs" : "y = a * x + y" };
}

/* What the contexts have done so far, minus what is in the table already. */
static void
count_phase(struct run *run)
{
	struct compute_stats compute;
	const struct gpu_stats *gpu;
	struct render_stats render;
	struct report_row *row;
	unsigned int i;
	uint64_t faults;
	int p, phase = run->phase;

	render_get_stats(run->machine->render, &render);
	for (i = 0; i <= run->machine->nb_computes; i++) {
		row = &run->rows[i];
		if (i == 0) {
			gpu = render_gpu_stats(run->machine->render);
			faults = render.vm.mapped;
		} else {
			gpu = compute_gpu_stats(run->machine->computes[i - 1]);
			compute_get_stats(run->machine->computes[i - 1], &compute);
			faults = compute.faults;
		}
		row->ended[phase] = gpu->ended;
		row->aborted[phase] = gpu->aborted;
		row->faults[phase] = faults;
		for (p = 0; p < phase; p++) {
			row->ended[phase] -= row->ended[p];
			row->aborted[phase] -= row->aborted[p];
			row->faults[phase] -= row->faults[p];
		}
	}
}

static double
get_seconds(uint64_t since)
{
	return (double)(rte_rdtsc() - since) / rte_get_tsc_hz();
}

static void
begin_phase(struct run *run, enum phase phase)
{
	run->phase = phase;
	run->phase_begin = rte_rdtsc();
	run->moved = run->phase_begin;
}

static void
end_phase(struct run *run)
{
	run->seconds[run->phase] = get_seconds(run->phase_begin);
	count_phase(run);
}

/*
 * Let all contexts work. Returns 0, or -1 after one line on stderr: the contexts are stuck, or one
 * has failed.
 */
static int
poll_contexts(struct run *run)
{
	unsigned int n = render_poll(run->machine->render), i;
	uint64_t now = rte_rdtsc();
	int ret;

	for (i = 0; i < run->machine->nb_computes; i++) {
		ret = compute_poll(run->machine->computes[i]);
		if (ret < 0)
			return -1;
		n += ret;
	}
	if (n > 0) {
		run->moved = now;
		return 0;
	}
	if (now - run->moved > STUCK_SECONDS * rte_get_tsc_hz())
		return fail("no access has ended for " RTE_STR(STUCK_SECONDS) " seconds: the "
				"SMMU has failed (a log line above says why), or the machine is so "
				"busy that its thread does not run; try again on an idle machine, or "
				"with EAL option --log-level=*:debug");
	smmuv3_model_wait(run->machine->model);
	return 0;
}

/* Frame after frame, for so long. */
static int
run_frames(struct run *run, double seconds)
{
	uint64_t begin = rte_rdtsc();
	bool late = false;

	while (!late || !render_is_idle(run->machine->render)) {
		late = get_seconds(begin) >= seconds;
		if (!late && render_is_idle(run->machine->render))
			render_begin(run->machine->render);
		if (poll_contexts(run) < 0)
			return -1;
	}
	return 0;
}

static int
run_wrong_frame(struct run *run, double seconds)
{
	const struct vm *vm = render_vm(run->machine->render);
	uint64_t begin = rte_rdtsc();

	render_begin_wrong(run->machine->render, seconds > 0);
	while (!render_is_idle(run->machine->render)) {
		if ((seconds > 0 && get_seconds(begin) >= seconds) || vm_has_tripped(vm))
			render_kill(run->machine->render);
		if (poll_contexts(run) < 0)
			return -1;
	}
	return 0;
}

/* Let the other contexts end the rounds that they have begun. */
static int
finish_computes(struct run *run)
{
	unsigned int i;

	for (i = 0; i < run->machine->nb_computes; i++)
		compute_finish(run->machine->computes[i]);
	for (i = 0; i < run->machine->nb_computes; i++) {
		while (!compute_is_finished(run->machine->computes[i])) {
			if (poll_contexts(run) < 0)
				return -1;
		}
	}
	return 0;
}

/* The GPU has ended the accesses of the context. The report comes first, whatever comes then. */
static int
reset_render(struct run *run)
{
	struct report_crash *crash = &run->crash;

	if (!render_is_hung(run->machine->render))
		return fail("no fault of the wrong pointer came to the handler");
	if (vm_reset(render_vm(run->machine->render), &crash->episode, &crash->trip) < 0)
		return -1;
	crash->breaker = run->machine->options->breaker;
	crash->lost = smmuv3_model_stat(run->machine->model, SMMUV3_MODEL_STAT_EVENTS_LOST);
	report_print_crash(crash, run->start);
	printf("\n");
	return 0;
}

int
run_phases(struct run *run, struct machine *machine, uint64_t start)
{
	double seconds = machine->options->ms / 1e3;

	*run = (struct run){ .machine = machine, .start = start };
	name_rows(run);
	/* The first accesses to all pages fault, and that is no hang. */
	begin_phase(run, PHASE_START);
	if (run_frames(run, START_SECONDS) < 0)
		return -1;
	end_phase(run);

	begin_phase(run, PHASE_BEFORE);
	if (run_frames(run, seconds) < 0)
		return -1;
	end_phase(run);

	begin_phase(run, PHASE_DURING);
	if (run_wrong_frame(run, machine->options->hang_ms / 1e3) < 0)
		return -1;
	end_phase(run);
	if (reset_render(run) < 0)
		return -1;

	begin_phase(run, PHASE_AFTER);
	if (run_frames(run, seconds) < 0)
		return -1;
	end_phase(run);
	return finish_computes(run);
}
