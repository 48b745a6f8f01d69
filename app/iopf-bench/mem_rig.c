/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sched.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>

#include <iopf_iommu.h>
#include <iopf_stats.h>

#include "mem_rig.h"
#include "suite.h"

#define ACCESS_SIZE	8
#define STEP_BUDGET	256
#define PATIENCE_S	10

static int
log_error(const char *what)
{
	bench_error("%s: %s", what, rte_strerror(rte_errno));
	return -rte_errno;
}

static int
fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	RTE_SET_USED(ctx);
	RTE_SET_USED(offset);
	memset(dst, 0, len);
	return 0;
}

const struct mmem_pager mem_zero_pager = { .fill = fill, .fetch_size = BENCH_PAGE_SIZE };
const struct mmem_pager mem_zero_pager_64k = { .fill = fill, .fetch_size = 64 << 10 };
const struct mmem_pager mem_zero_pager_2m = { .fill = fill, .fetch_size = 2 << 20 };

int
mem_rig_open(struct mem_rig *rig, const struct mem_rig_conf *conf)
{
	size_t size = (size_t)conf->nb_pages * BENCH_PAGE_SIZE;

	memset(rig, 0, sizeof(*rig));
	rig->model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "iopf-bench-mem",
			.tlb_log2 = conf->tlb_log2 != 0 ? conf->tlb_log2 : 12,
			.features = conf->no_httu ? 0 : SMMUV3_MODEL_HTTU_AF });
	if (rig->model == NULL) {
		bench_error("cannot create an SMMU: %s", strerror(errno));
		return -errno;
	}
	rig->iommu = iopf_iommu_open("smmuv3,model=iopf-bench-mem");
	if (rig->iommu == NULL)
		return log_error("iopf_iommu_open()");
	if (iopf_iommu_start(rig->iommu) < 0)
		return log_error("iopf_iommu_start()");
	rig->started = true;
	rig->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "mem" });
	if (rig->poller == NULL ||
			iopf_poller_add(rig->poller, rig->iommu, IOPF_QUEUE_EVENTS) < 0)
		return log_error("a poller");
	rig->pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = rig->iommu,
			.size = RTE_ALIGN_CEIL(size, MMEM_CHUNK_SIZE) +
					2 * MEM_MAX_DEVS * MMEM_CHUNK_SIZE,
			.no_hugepages = true });
	return rig->pool != NULL ? 0 : log_error("mmem_pool_create()");
}

static int
add_memory(struct mem_dev *dev, const struct mem_dev_conf *conf)
{
	size_t size = (size_t)conf->nb_pages * BENCH_PAGE_SIZE;

	dev->space = mmem_space_create(&(struct mmem_space_conf){ .pool = dev->rig->pool,
			.window = conf->window,
			.budget = (uint64_t)conf->budget * BENCH_PAGE_SIZE });
	if (dev->space == NULL)
		return log_error("mmem_space_create()");
	dev->region = conf->pager != NULL ?
			mmem_alloc_paged(dev->space, size, MMEM_READ | MMEM_CPU_LATER,
					conf->pager) :
			mmem_alloc(dev->space, size, MMEM_READ | MMEM_POPULATE);
	if (dev->region == NULL)
		return log_error("a region");
	dev->attached = mmem_attach(dev->space, dev->dev, IOPF_NO_PASID) == 0;
	return dev->attached ? 0 : log_error("mmem_attach()");
}

int
mem_rig_add(struct mem_rig *rig, const struct mem_dev_conf *conf)
{
	struct mem_dev *dev = &rig->devs[rig->nb_devs];
	uint32_t sid = BENCH_SID + rig->nb_devs++;

	dev->rig = rig;
	dev->dma = smmuv3_model_dma_create(rig->model, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.depth = MEM_MAX_DEPTH });
	if (dev->dma == NULL) {
		bench_error("cannot create an engine: %s", strerror(errno));
		return -errno;
	}
	dev->dev = iopf_dev_add(rig->iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_STALL });
	if (dev->dev == NULL)
		return log_error("iopf_dev_add()");
	return add_memory(dev, conf);
}

int
mem_rig_close(struct mem_rig *rig, int ret)
{
	struct mem_dev *dev;

	for (dev = rig->devs; dev < rig->devs + rig->nb_devs; dev++) {
		if (dev->attached && mmem_detach(dev->space, dev->dev, IOPF_NO_PASID) < 0)
			ret = ret < 0 ? ret : log_error("mmem_detach()");
		if (dev->dev != NULL && iopf_dev_remove(dev->dev) < 0)
			ret = ret < 0 ? ret : log_error("iopf_dev_remove()");
	}
	iopf_poller_destroy(rig->poller);
	for (dev = rig->devs; dev < rig->devs + rig->nb_devs; dev++)
		mmem_space_destroy(dev->space);
	mmem_pool_destroy(rig->pool);
	for (dev = rig->devs; dev < rig->devs + rig->nb_devs; dev++)
		smmuv3_model_dma_destroy(dev->dma);
	if (rig->started)
		iopf_iommu_stop(rig->iommu);
	return rig_close_smmu(rig->iommu, rig->model, ret);
}

void
mem_turn(struct mem_rig *rig)
{
	if (smmuv3_model_step(rig->model, STEP_BUDGET) + iopf_poll(rig->poller) == 0)
		sched_yield();
}

int
mem_access_start(struct mem_dev *dev, uint32_t page)
{
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_READ, .buf = &dev->data,
		.len = ACCESS_SIZE,
		.addr = (uintptr_t)dev->region + (uint64_t)page * BENCH_PAGE_SIZE };
	int ret = smmuv3_model_dma_submit(dev->dma, &op);

	if (ret < 0)
		bench_error("the device cannot access page %u: %s", page, strerror(-ret));
	return ret;
}

int
mem_access(struct mem_dev *dev, uint32_t page)
{
	uint64_t begin = rte_rdtsc(), most = PATIENCE_S * rte_get_tsc_hz();
	struct smmuv3_model_done done;
	int ret = mem_access_start(dev, page);

	while (ret == 0 && smmuv3_model_dma_poll(dev->dma, &done, 1) == 0) {
		mem_turn(dev->rig);
		if (rte_rdtsc() - begin > most)
			ret = -ETIMEDOUT;
	}
	if (ret == 0 && done.status != SMMUV3_MODEL_OK)
		ret = -EIO;
	if (ret < 0)
		bench_error("the device's access to page %u has not ended well: %s", page,
				strerror(-ret));
	return ret;
}

uint64_t
mem_count_faults(const struct mem_dev *dev)
{
	return iopf_domain_stat(mmem_space_domain(dev->space), IOPF_STAT_FAULTS);
}
