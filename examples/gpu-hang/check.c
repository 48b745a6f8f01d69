/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <inttypes.h>
#include <stdio.h>

#include "check.h"

static int
check_model(const struct smmuv3_model *model)
{
	unsigned int mistakes = smmuv3_model_driver_errors(model) +
			smmuv3_model_oracle_errors(model);
	const char *text = smmuv3_model_driver_error(model, 0);

	if (text == NULL)
		text = smmuv3_model_oracle_error(model, 0);
	if (mistakes != 0)
		return fail("the model reports %u errors of the driver, first: %s", mistakes,
				text);
	return 0;
}

/*
 * The callback comes once. A context that has ended before the IOMMU was told to abort its accesses
 * has none.
 */
static int
check_breaker(const struct run *run, const struct vm_stats *stats)
{
	const struct iopf_episode *episode = &run->crash.episode;
	double seconds = run->seconds[PHASE_DURING];
	uint32_t limit = run->crash.breaker;

	if (stats->trips > (episode->trip_time != 0))
		return fail("the breaker has told of %" PRIu64 " trips", stats->trips);
	if (limit != 0 && episode->trip_time == 0 && episode->faults > limit * (1 + seconds))
		return fail("%" PRIu64 " faults in %.3f s, and the breaker has not tripped",
				episode->faults, seconds);
	return 0;
}

/* The context that hung: one report, all counted, and it works again. */
static int
check_render(const struct run *run)
{
	const struct report_row *row = &run->rows[0];
	const struct iopf_episode *episode = &run->crash.episode;
	uint64_t aborted = row->aborted[PHASE_DURING], lost = run->crash.lost;
	struct render_stats stats;
	int ret = 0;

	render_get_stats(run->machine->render, &stats);
	if (stats.vm.fatal != 1)
		ret = fail("%" PRIu64 " reports instead of one", stats.vm.fatal);
	if (aborted < run->machine->options->lanes || aborted != row->ended[PHASE_DURING])
		ret = fail("%" PRIu64 " of %" PRIu64 " accesses with a wrong pointer were refused "
				"or aborted", aborted, row->ended[PHASE_DURING]);
	if (1 + episode->faults + lost != aborted)
		ret = fail("%" PRIu64 " accesses refused or aborted, but %" PRIu64 " faults "
				"counted and %" PRIu64 " records lost", aborted, 1 + episode->faults, lost);
	if (row->aborted[PHASE_AFTER] != 0 || row->faults[PHASE_AFTER] == 0 ||
			vm_is_cut_off(render_vm(run->machine->render)))
		ret = fail("the context does not work after its reset: %" PRIu64 " accesses "
				"aborted, %" PRIu64 " faults served", row->aborted[PHASE_AFTER],
				row->faults[PHASE_AFTER]);
	if (check_breaker(run, &stats.vm) < 0)
		ret = -1;
	if (stats.wrong != 0)
		ret = fail("%" PRIu64 " pixels wrong in %" PRIu64 " frames", stats.wrong,
				stats.frames);
	printf("PASID %u: %" PRIu64 " report, %" PRIu64 " accesses refused or aborted; %" PRIu64
			" frames, %s\n", RENDER_PASID, stats.vm.fatal, aborted, stats.frames,
			stats.wrong == 0 ? "each pixel right" : "WRONG");
	return ret;
}

/* The other contexts: right results, no access aborted. */
static int
check_computes(const struct run *run)
{
	struct compute_stats stats;
	const struct gpu_stats *gpu;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < run->machine->nb_computes; i++) {
		uint32_t pasid = run->rows[1 + i].pasid;

		compute_get_stats(run->machine->computes[i], &stats);
		gpu = compute_gpu_stats(run->machine->computes[i]);
		if (gpu->aborted != 0 || stats.refused != 0)
			ret = fail("PASID %u: %" PRIu64 " accesses aborted, %" PRIu64 " refused",
					pasid, gpu->aborted, stats.refused);
		if (stats.rounds == 0 || stats.wrong != 0)
			ret = fail("PASID %u: %" PRIu64 " words wrong in %" PRIu64 " rounds",
					pasid, stats.wrong, stats.rounds);
		printf("PASID %u: %" PRIu64 " rounds, %s\n", pasid, stats.rounds,
				stats.wrong == 0 ? "each word right" : "WRONG");
	}
	return ret;
}

int
check_run(const struct run *run)
{
	int ret = check_render(run);

	if (check_computes(run) < 0 || check_model(run->machine->model) < 0)
		ret = -1;
	return ret;
}
