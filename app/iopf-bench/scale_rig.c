/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* SMMUs that no thread steps, and lanes. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_errno.h>

#include <iopf_handler.h>
#include <iopf_iommu.h>
#include <iopf_pci.h>

#include "scale_suite.h"
#include "suite.h"

#define FIRST_ADDR	(UINT64_C(1) << 32)
#define ACCESS_SIZE	8
#define STEP_BUDGET	256

static int
log_error(const char *what)
{
	bench_error("%s: %s", what, rte_strerror(rte_errno));
	return -rte_errno;
}

static int
open_smmu(struct scale_rig *rig, unsigned int i)
{
	/* Twice the stalls: the event queue has room for other events, as the driver has it. */
	unsigned int log2 = rte_log2_u32(2 * rig->conf.stalls);
	char name[32], devstr[64];

	snprintf(name, sizeof(name), "iopf-bench-scale%u", i);
	rig->models[i] = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = name,
			.stall_max = rig->conf.stalls, .evtq_log2 = log2, .cmdq_log2 = log2,
			.features = rig->conf.features, .no_features = rig->conf.no_features });
	if (rig->models[i] == NULL) {
		bench_error("cannot create SMMU %u: %s", i, strerror(errno));
		return -errno;
	}
	snprintf(devstr, sizeof(devstr), "smmuv3,model=%s", name);
	rig->iommus[i] = iopf_iommu_open(devstr);
	if (rig->iommus[i] == NULL)
		return log_error("iopf_iommu_open()");
	if (iopf_iommu_configure(rig->iommus[i], &(struct iopf_iommu_conf){
			.command_queue_size = 1u << log2 }) < 0)
		return log_error("iopf_iommu_configure()");
	if (iopf_iommu_start(rig->iommus[i]) < 0)
		return log_error("iopf_iommu_start()");
	rig->started[i] = true;
	return 0;
}

int
scale_open(struct scale_rig *rig, const struct suite *suite, const struct scale_conf *conf)
{
	unsigned int i;
	int ret = 0;

	memset(rig, 0, sizeof(*rig));
	rig->suite = suite;
	rig->conf = *conf;
	for (i = 0; ret == 0 && i < conf->nb_smmus; i++)
		ret = open_smmu(rig, i);
	return ret;
}

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_RAZWI);
}

static void
on_done(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	struct scale_lane *lane = ctx;

	(void)dma;
	lane->done++;
	lane->wrong += done->status != (lane->conf.echo ? SMMUV3_MODEL_RAZWI : SMMUV3_MODEL_OK) ||
			done->nb_stalls != !lane->conf.requests ||
			done->nb_groups != lane->conf.requests;
}

static int
add_device(struct scale_lane *lane)
{
	struct iopf_dev_conf conf = { .recover = IOPF_STALL, .nb_sids = 1 };
	/* An SMMU has one lane of each kind at most. */
	uint32_t sid = BENCH_SID + lane->conf.requests + 2 * lane->conf.echo;

	lane->dma = smmuv3_model_dma_create(lane->model, &(struct smmuv3_model_dma_conf){
			.sid = sid, .depth = lane->conf.faults, .on_done = on_done, .ctx = lane,
			.kind = lane->conf.requests ? SMMUV3_MODEL_DMA_ATS :
					SMMUV3_MODEL_DMA_PLAIN });
	if (lane->dma == NULL) {
		bench_error("cannot create an engine: %s", strerror(errno));
		return -errno;
	}
	conf.sids = &sid;
	if (lane->conf.requests) {
		conf.recover = IOPF_PRI;
		conf.pri_requests = lane->conf.faults;
		conf.pci = &bench_pci_ops;
		conf.ctx = lane->dma;
	}
	lane->dev = iopf_dev_add(lane->iommu, &conf);
	return lane->dev == NULL ? log_error("iopf_dev_add()") : 0;
}

static int
attach_echo(struct scale_lane *lane)
{
	lane->domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_fault });
	if (lane->domain == NULL)
		return log_error("iopf_domain_create()");
	lane->attached = iopf_domain_attach(lane->domain, lane->dev, IOPF_NO_PASID) == 0;
	return lane->attached ? 0 : log_error("iopf_domain_attach()");
}

static size_t
get_region_size(const struct scale_lane *lane)
{
	return RTE_ALIGN_CEIL((size_t)lane->conf.faults * BENCH_PAGE_SIZE, MMEM_CHUNK_SIZE);
}

static int
attach_memory(struct scale_lane *lane)
{
	size_t size = get_region_size(lane);

	lane->pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = lane->iommu,
			.size = size + MMEM_CHUNK_SIZE, .no_hugepages = true });
	if (lane->pool == NULL)
		return log_error("mmem_pool_create()");
	lane->space = mmem_space_create(&(struct mmem_space_conf){ .pool = lane->pool,
			.window = 1 });
	if (lane->space == NULL)
		return log_error("mmem_space_create()");
	lane->region = mmem_alloc(lane->space, size, MMEM_READ | MMEM_WRITE | MMEM_POPULATE);
	if (lane->region == NULL)
		return log_error("mmem_alloc()");
	lane->attached = mmem_attach(lane->space, lane->dev, IOPF_NO_PASID) == 0;
	return lane->attached ? 0 : log_error("mmem_attach()");
}

int
scale_add_lane(struct scale_rig *rig, const struct scale_lane_conf *conf)
{
	struct scale_lane *lane = aligned_alloc(SCALE_ALIGN, RTE_ALIGN_CEIL(sizeof(*lane),
			(size_t)SCALE_ALIGN));
	int ret;

	if (lane == NULL)
		return -ENOMEM;
	memset(lane, 0, sizeof(*lane));
	lane->conf = *conf;
	lane->model = rig->models[conf->smmu];
	lane->iommu = rig->iommus[conf->smmu];
	rig->lanes[rig->nb_lanes++] = lane;
	ret = add_device(lane);
	if (ret == 0)
		ret = conf->echo ? attach_echo(lane) : attach_memory(lane);
	return ret;
}

static void
step_until_idle(struct smmuv3_model *model)
{
	while (smmuv3_model_step(model, STEP_BUDGET) != 0)
		;
}

int
scale_lane_fill(struct scale_lane *lane)
{
	uint64_t first = lane->conf.echo ? FIRST_ADDR : (uintptr_t)lane->region;
	unsigned int i, n;
	int ret = 0;

	lane->done = lane->wrong = 0;
	for (i = 0; ret == 0 && i < lane->conf.faults; i++)
		ret = smmuv3_model_dma_submit(lane->dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_READ, .buf = &lane->bytes, .len = ACCESS_SIZE,
				.addr = first + (uint64_t)i * BENCH_PAGE_SIZE });
	step_until_idle(lane->model);
	n = lane->conf.requests ? smmuv3_model_dma_pri_outstanding(lane->dma) :
			smmuv3_model_stalls_outstanding(lane->model);
	if (ret == 0 && n == lane->conf.faults)
		return 0;
	bench_error("%u of %u faults were recorded", n, lane->conf.faults);
	return -EIO;
}

int
scale_lane_finish(struct scale_lane *lane)
{
	step_until_idle(lane->model);
	lane->faults += lane->conf.faults;
	if (lane->done != lane->conf.faults || lane->wrong != 0) {
		bench_error("%u of %u accesses have ended, %u of them not as their answer says or "
				"not with one fault", lane->done, lane->conf.faults, lane->wrong);
		return -EIO;
	}
	if (!lane->conf.echo && mmem_unmap(lane->space, lane->region, get_region_size(lane)) < 0)
		return log_error("mmem_unmap()");
	return 0;
}

uint64_t
scale_get_stat(const struct scale_rig *rig, const char *name)
{
	unsigned int i, k, nb_stats;
	const char *found = "";
	uint64_t value, sum = 0;

	for (i = 0; i < rig->conf.nb_smmus; i++) {
		nb_stats = iopf_iommu_info(rig->iommus[i])->nb_stats;
		for (k = 0; k < nb_stats; k++) {
			value = iopf_iommu_driver_stat(rig->iommus[i], k, &found);
			if (strcmp(found, name) == 0)
				sum += value;
		}
	}
	return sum;
}

/* Each fault was answered once, and no other one. */
static int
check_lane(const struct scale_lane *lane)
{
	const struct iopf_domain *domain = lane->conf.echo ? lane->domain :
			mmem_space_domain(lane->space);
	uint64_t faults = iopf_domain_stat(domain, IOPF_STAT_FAULTS);
	uint64_t answered = iopf_domain_stat(domain, lane->conf.echo ? IOPF_STAT_RAZWI :
			IOPF_STAT_SUCCESS);

	if (faults == lane->faults && answered == faults && iopf_domain_pending(domain) == 0)
		return 0;
	bench_error("of %" PRIu64 " faults %" PRIu64 " reached the domain, and %" PRIu64
			" were answered as they should be", lane->faults, faults, answered);
	return -EIO;
}

static int
close_lane(struct scale_lane *lane, int ret)
{
	if (ret == 0)
		ret = check_lane(lane);
	if (lane->dev != NULL && iopf_dev_remove(lane->dev) < 0)
		return log_error("iopf_dev_remove()");
	iopf_domain_destroy(lane->domain);
	mmem_space_destroy(lane->space);
	mmem_pool_destroy(lane->pool);
	smmuv3_model_dma_destroy(lane->dma);
	free(lane);
	return ret;
}

int
scale_close(struct scale_rig *rig, int ret)
{
	unsigned int i;

	for (i = 0; i < rig->nb_lanes; i++)
		ret = close_lane(rig->lanes[i], ret);
	for (i = 0; i < rig->conf.nb_smmus; i++) {
		if (rig->started[i])
			iopf_iommu_stop(rig->iommus[i]);
		ret = rig_close_smmu(rig->iommus[i], rig->models[i], ret);
	}
	return ret;
}
