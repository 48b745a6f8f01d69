/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <iopf_iommu.h>
#include <iopf_poller.h>

#include "machine.h"

#define SID		8
#define EVTQ_LOG2_MAX	18	/* holds a record of each stall and each aborted access */

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
	const struct options *options = machine->options;
	unsigned int i;

	machine->render = render_open(&(struct render_conf){ .iommu = machine->smmu,
			.dev = machine->gpu, .model = machine->model, .sid = SID,
			.pasid = RENDER_PASID, .lanes = options->lanes,
			.breaker = options->breaker });
	if (machine->render == NULL)
		return -1;
	for (i = 0; i < options->contexts; i++) {
		machine->computes[i] = compute_open(&(struct compute_conf){
				.pool = machine->pool, .dev = machine->gpu,
				.model = machine->model, .sid = SID,
				.pasid = RENDER_PASID + 1 + i });
		if (machine->computes[i] == NULL)
			return -1;
		machine->nb_computes++;
	}
	return 0;
}

int
machine_open(struct machine *machine, const struct options *options)
{
	*machine = (struct machine){ .options = options };
	if (open_smmu(machine) < 0 || open_gpu(machine) < 0)
		return -1;
	return open_contexts(machine);
}

void
machine_close(struct machine *machine, bool failed)
{
	unsigned int i;

	/* Stalls without an answer end with the SMMU; then the queues can drain. */
	if (failed && machine->smmu != NULL)
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
