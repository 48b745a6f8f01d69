/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A GPU, one context of which hangs: bring-up, the three phases, and the checks. */

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <iopf.h>
#include <iopf_iommu.h>
#include <iopf_poller.h>
#include <iopf_stats.h>
#include <mmem.h>
#include <smmuv3_model.h>

#include "compute.h"
#include "options.h"
#include "render.h"
#include "report.h"

#define SID		8
#define RENDER_PASID	1
#define EVTQ_LOG2_MAX	18	/* holds a record of each stall and each aborted access */
#define START_SECONDS	0.01
#define STUCK_SECONDS	20
#define WRONG_INPUT	2

/* Needs no hugepages, devices or privileges and leaves no files. */
static const char *const eal_defaults[] = {
	"--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
	"--log-level=lib.eal:warning",
};

struct machine {
	const struct options *options;
	struct iopf_iommu *smmu;
	struct iopf_dev *gpu;
	struct iopf_poller *poller;
	struct smmuv3_model *model;
	struct mmem_pool *pool;
	struct render *render;
	struct compute *computes[OPTIONS_MAX_CONTEXTS];
	unsigned int nb_computes;
	bool failed;
	bool polling;
	unsigned int lcore;	/* of the poll thread; RTE_MAX_LCORE if thread polls */
	pthread_t thread;
	atomic_bool quit;
	uint64_t start;
	uint64_t moved;		/* when an access ended last */
	enum phase phase;
	uint64_t phase_begin;
	double seconds[NB_PHASES];
	struct report_row rows[1 + OPTIONS_MAX_CONTEXTS];
};

static void
print_help(void)
{
	unsigned int i;

	printf("Usage: gpu-hang [EAL options --] [options]\n\n"
			"A software GPU has several contexts, each with a PASID. The shader of one\n"
			"gets a wrong pointer, and all its lanes fault at once. One report has the\n"
			"first fault and the counts of the others; the other contexts work on.\n"
			"Then the context is reset and works again.\n\n");
	options_print();
	printf("\nWithout EAL options:");
	for (i = 0; i < RTE_DIM(eal_defaults); i++)
		printf(" %s", eal_defaults[i]);
	printf("\nExit status: 0 when one report came, each fault is counted in it, the results of\n"
			"all contexts are right and no access of another context was aborted; 2 for\n"
			"wrong input; else 1.\n");
}

static int
init_eal(char *name, int argc, char **argv)
{
	char *args[64] = { name };
	int i, n = 1;

	if (argc > (int)RTE_DIM(args) - 2)
		return fail("more than %d EAL options", (int)RTE_DIM(args) - 2);
	for (i = 0; i < argc; i++)
		args[n++] = argv[i];
	if (argc == 0) {
		for (i = 0; i < (int)RTE_DIM(eal_defaults); i++)
			args[n++] = (char *)(uintptr_t)eal_defaults[i];
	}
	if (rte_eal_init(n, args) < 0)
		return fail("EAL does not start: %s; without hugepages use "
				"--no-huge -m 64 --no-pci", rte_strerror(rte_errno));
	return 0;
}

/* For a single core: the poll thread must yield it. */
static void *
poll_and_yield(void *arg)
{
	struct machine *machine = arg;

	while (!atomic_load_explicit(&machine->quit, memory_order_relaxed)) {
		if (iopf_poll(machine->poller) == 0)
			sched_yield();
	}
	return NULL;
}

static int
start_polling(struct machine *machine)
{
	int ret;

	/* The model's thread and the GPU share the first core; the poll thread has its own. */
	machine->lcore = rte_get_next_lcore(-1, 1, 0);
	if (machine->lcore < RTE_MAX_LCORE)
		ret = -rte_eal_remote_launch(iopf_poller_run, machine->poller, machine->lcore);
	else
		ret = pthread_create(&machine->thread, NULL, poll_and_yield, machine);
	machine->polling = ret == 0;
	return ret == 0 ? 0 : fail("cannot start the poller: %s", strerror(ret));
}

static void
stop_polling(struct machine *machine)
{
	if (!machine->polling)
		return;
	if (machine->lcore < RTE_MAX_LCORE) {
		iopf_poller_stop(machine->poller);
		rte_eal_wait_lcore(machine->lcore);
	} else {
		atomic_store_explicit(&machine->quit, true, memory_order_relaxed);
		pthread_join(machine->thread, NULL);
	}
}

static int
open_smmu(struct machine *machine)
{
	const struct options *options = machine->options;
	struct iopf_iommu_conf conf = { 0 };
	char devstr[128];

	snprintf(devstr, sizeof(devstr), "smmuv3,model=1,model_stall_max=%u,model_evtq=%u",
			options->stalls, EVTQ_LOG2_MAX);
	machine->smmu = iopf_iommu_open(devstr);
	if (machine->smmu == NULL)
		return fail("cannot open %s: %s", devstr, rte_strerror(rte_errno));
	machine->model = smmuv3_model_lookup("1");
	if (machine->model == NULL)
		return fail("%s is open, but no model has the name 1", devstr);
	/*
	 * A stall record is never lost, but the record of an aborted access is, where the queue is
	 * full. With room for all of them the counts are exact.
	 */
	conf.event_queue_size = rte_align32pow2(2 * options->stalls + options->lanes);
	if (iopf_iommu_configure(machine->smmu, &conf) < 0 || iopf_iommu_start(machine->smmu) < 0)
		return fail("cannot start %s: %s", devstr, rte_strerror(rte_errno));
	machine->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "gpu-hang" });
	if (machine->poller == NULL ||
			iopf_poller_add(machine->poller, machine->smmu, IOPF_QUEUE_ALL) < 0)
		return fail("cannot make a poller: %s", rte_strerror(rte_errno));
	return start_polling(machine);
}

static int
open_gpu(struct machine *machine)
{
	const uint32_t sid = SID;

	machine->gpu = iopf_dev_add(machine->smmu, &(struct iopf_dev_conf){ .name = "gpu",
			.sids = &sid, .nb_sids = 1, .recover = IOPF_STALL,
			.nb_pasids = RENDER_PASID + 1 + machine->options->contexts });
	if (machine->gpu == NULL)
		return fail("cannot add the GPU: %s", rte_strerror(rte_errno));
	/* One chunk more, for page tables. */
	machine->pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = machine->smmu,
			.size = (machine->options->contexts * COMPUTE_CHUNKS + 1) *
					MMEM_CHUNK_SIZE });
	if (machine->pool == NULL)
		return fail("cannot make a pool of memory: %s; use fewer --contexts",
				rte_strerror(rte_errno));
	return 0;
}

static int
open_contexts(struct machine *machine)
{
	struct report_row *row = &machine->rows[0];
	unsigned int i;

	*row = (struct report_row){ .name = "the one that hangs", .pasid = RENDER_PASID };
	machine->render = render_open(&(struct render_conf){ .iommu = machine->smmu,
			.dev = machine->gpu, .model = machine->model, .sid = SID,
			.pasid = RENDER_PASID, .lanes = machine->options->lanes });
	if (machine->render == NULL)
		return -1;
	for (i = 0; i < machine->options->contexts; i++) {
		row = &machine->rows[1 + i];
		*row = (struct report_row){ .name = "y = a * x + y",
				.pasid = RENDER_PASID + 1 + i };
		machine->computes[i] = compute_open(&(struct compute_conf){
				.pool = machine->pool, .dev = machine->gpu,
				.model = machine->model, .sid = SID, .pasid = row->pasid });
		if (machine->computes[i] == NULL)
			return -1;
		machine->nb_computes++;
	}
	return 0;
}

static void
close_machine(struct machine *machine)
{
	unsigned int i;

	/* Stalls without an answer end with the SMMU; then the queues can drain. */
	if (machine->failed && machine->smmu != NULL)
		iopf_iommu_stop(machine->smmu);
	render_close(machine->render);
	for (i = 0; i < machine->nb_computes; i++)
		compute_close(machine->computes[i]);
	iopf_dev_remove(machine->gpu);
	stop_polling(machine);
	iopf_poller_destroy(machine->poller);
	mmem_pool_destroy(machine->pool);
	if (machine->smmu != NULL) {
		iopf_iommu_stop(machine->smmu);
		if (iopf_iommu_close(machine->smmu) < 0)
			fail("cannot close the SMMU: %s", rte_strerror(rte_errno));
	}
}

/* What the contexts have done so far, minus what is in the table already. */
static void
count_phase(struct machine *machine)
{
	struct compute_stats compute;
	const struct gpu_stats *gpu;
	struct render_stats render;
	struct report_row *row;
	unsigned int i;
	uint64_t faults;
	int p, phase = machine->phase;

	render_get_stats(machine->render, &render);
	for (i = 0; i <= machine->nb_computes; i++) {
		row = &machine->rows[i];
		if (i == 0) {
			gpu = render_gpu_stats(machine->render);
			faults = render.vm.mapped;
		} else {
			gpu = compute_gpu_stats(machine->computes[i - 1]);
			compute_get_stats(machine->computes[i - 1], &compute);
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
begin_phase(struct machine *machine, enum phase phase)
{
	machine->phase = phase;
	machine->phase_begin = rte_rdtsc();
	machine->moved = machine->phase_begin;
}

static void
end_phase(struct machine *machine)
{
	machine->seconds[machine->phase] = get_seconds(machine->phase_begin);
	count_phase(machine);
}

/*
 * Let all contexts work. Returns 0, or -1 after one line on stderr: the contexts are stuck, or one
 * has failed.
 */
static int
poll_contexts(struct machine *machine)
{
	unsigned int n = render_poll(machine->render), i;
	uint64_t now = rte_rdtsc();
	int ret;

	for (i = 0; i < machine->nb_computes; i++) {
		ret = compute_poll(machine->computes[i]);
		if (ret < 0)
			return -1;
		n += ret;
	}
	if (n > 0) {
		machine->moved = now;
		return 0;
	}
	if (now - machine->moved > STUCK_SECONDS * rte_get_tsc_hz())
		return fail("no access has ended for " RTE_STR(STUCK_SECONDS) " seconds: faults "
				"are not answered; try EAL option --log-level=*:debug");
	smmuv3_model_wait(machine->model);
	return 0;
}

/* Frame after frame, for so long. */
static int
run_frames(struct machine *machine, double seconds)
{
	uint64_t begin = rte_rdtsc();
	bool late = false;

	while (!late || !render_is_idle(machine->render)) {
		late = get_seconds(begin) >= seconds;
		if (!late && render_is_idle(machine->render))
			render_begin(machine->render);
		if (poll_contexts(machine) < 0)
			return -1;
	}
	return 0;
}

static int
run_wrong_frame(struct machine *machine, double seconds)
{
	uint64_t begin = rte_rdtsc();

	render_begin_wrong(machine->render, seconds > 0);
	while (!render_is_idle(machine->render)) {
		if (seconds > 0 && get_seconds(begin) >= seconds)
			render_kill(machine->render);
		if (poll_contexts(machine) < 0)
			return -1;
	}
	return 0;
}

/* Let the other contexts end the rounds that they have begun. */
static int
finish_computes(struct machine *machine)
{
	unsigned int i;

	for (i = 0; i < machine->nb_computes; i++)
		compute_finish(machine->computes[i]);
	for (i = 0; i < machine->nb_computes; i++) {
		while (!compute_is_finished(machine->computes[i])) {
			if (poll_contexts(machine) < 0)
				return -1;
		}
	}
	return 0;
}

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

/* The context that hung: one report, all counted, and it works again. */
static int
check_render(const struct machine *machine, const struct iopf_episode *episode)
{
	const struct report_row *row = &machine->rows[0];
	uint64_t aborted = row->aborted[PHASE_DURING], lost;
	struct render_stats stats;
	int ret = 0;

	render_get_stats(machine->render, &stats);
	lost = smmuv3_model_stat(machine->model, SMMUV3_MODEL_STAT_EVENTS_LOST);
	if (stats.vm.fatal != 1)
		ret = fail("%" PRIu64 " reports instead of one", stats.vm.fatal);
	if (aborted < machine->options->lanes || aborted != row->ended[PHASE_DURING])
		ret = fail("%" PRIu64 " of %" PRIu64 " accesses with a wrong pointer aborted",
				aborted, row->ended[PHASE_DURING]);
	if (1 + episode->faults + lost != aborted)
		ret = fail("%" PRIu64 " accesses aborted, but %" PRIu64 " faults counted and %"
				PRIu64 " records lost", aborted, 1 + episode->faults, lost);
	if (row->aborted[PHASE_AFTER] != 0 || row->faults[PHASE_AFTER] == 0 ||
			render_has_episode(machine->render))
		ret = fail("the context does not work after its reset: %" PRIu64 " accesses "
				"aborted, %" PRIu64 " faults served", row->aborted[PHASE_AFTER],
				row->faults[PHASE_AFTER]);
	if (stats.wrong != 0)
		ret = fail("%" PRIu64 " pixels wrong in %" PRIu64 " frames", stats.wrong,
				stats.frames);
	printf("PASID %u: %" PRIu64 " report of %" PRIu64 " aborted accesses; %" PRIu64
			" frames, %s\n", RENDER_PASID, stats.vm.fatal, aborted, stats.frames,
			stats.wrong == 0 ? "each pixel right" : "WRONG");
	return ret;
}

/* The other contexts: right results, no access aborted. */
static int
check_computes(const struct machine *machine)
{
	struct compute_stats stats;
	const struct gpu_stats *gpu;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < machine->nb_computes; i++) {
		uint32_t pasid = machine->rows[1 + i].pasid;

		compute_get_stats(machine->computes[i], &stats);
		gpu = compute_gpu_stats(machine->computes[i]);
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

static int
run_machine(struct machine *machine)
{
	double seconds = machine->options->ms / 1e3;
	struct iopf_episode episode;
	int ret;

	/* The first accesses to all pages fault, and that is no hang. */
	begin_phase(machine, PHASE_START);
	if (run_frames(machine, START_SECONDS) < 0)
		return -1;
	end_phase(machine);

	begin_phase(machine, PHASE_BEFORE);
	if (run_frames(machine, seconds) < 0)
		return -1;
	end_phase(machine);

	begin_phase(machine, PHASE_DURING);
	if (run_wrong_frame(machine, machine->options->hang_ms / 1e3) < 0)
		return -1;
	end_phase(machine);
	if (!render_is_hung(machine->render))
		return fail("no fault of the wrong pointer came to the handler");
	if (render_reset(machine->render, &episode) < 0)
		return -1;
	report_print_crash(&episode, machine->start);
	printf("\n");

	begin_phase(machine, PHASE_AFTER);
	if (run_frames(machine, seconds) < 0)
		return -1;
	end_phase(machine);
	if (finish_computes(machine) < 0)
		return -1;
	report_print_rates(machine->rows, 1 + machine->nb_computes, machine->seconds);
	ret = check_render(machine, &episode);
	if (check_computes(machine) < 0 || check_model(machine->model) < 0)
		ret = -1;
	return ret;
}

static int
run_example(const struct options *options)
{
	struct machine machine = { .options = options, .start = rte_rdtsc() };
	int ret = -1;

	if (open_smmu(&machine) == 0 && open_gpu(&machine) == 0 && open_contexts(&machine) == 0)
		ret = run_machine(&machine);
	machine.failed = ret < 0;
	close_machine(&machine);
	return ret;
}

int
main(int argc, char **argv)
{
	int first = 1, nb_eal = 0, i, ret;
	struct options options;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") != 0)
			continue;
		nb_eal = i - 1;
		first = i + 1;
		break;
	}
	if (options_parse(&options, argc - first, argv + first) < 0)
		return WRONG_INPUT;
	if (options.help) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (init_eal(argv[0], nb_eal, argv + 1) < 0)
		return WRONG_INPUT;
	ret = run_example(&options);
	rte_eal_cleanup();
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
