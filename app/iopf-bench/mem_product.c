/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The traces once more, by a device of the software SMMU in a space with a budget of half of the
 * pages: what the library fetches, beside what the simulator counts for the same policy.
 */

#include <errno.h>
#include <sched.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>

#include <iopf_iommu.h>
#include <mmem.h>

#include "mem_suite.h"
#include "progress.h"
#include "suite.h"

#define ACCESS_SIZE	8
#define STEP_BUDGET	256
#define PATIENCE_S	10
/* Accesses of a trace that are made; with more the part would take minutes. */
#define MAX_ACCESSES	60000

struct product {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	bool started;
	struct smmuv3_model_dma *dma;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	bool attached;
	uint8_t *region;
	uint64_t data;		/* the device's side of an access */
};

static int
log_error(const char *what)
{
	bench_error("%s: %s", what, rte_strerror(rte_errno));
	return -rte_errno;
}

/* All bytes of the contents are zero, and so is fresh memory. */
static int
fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	RTE_SET_USED(ctx);
	RTE_SET_USED(offset);
	memset(dst, 0, len);
	return 0;
}

static const struct mmem_pager pager = { .fill = fill, .fetch_size = BENCH_PAGE_SIZE };

static int
open_device(struct product *p, unsigned int tlb_log2)
{
	uint32_t sid = BENCH_SID;

	p->model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "iopf-bench-mem",
			.tlb_log2 = tlb_log2 });
	if (p->model == NULL) {
		bench_error("cannot create an SMMU: %s", strerror(errno));
		return -errno;
	}
	p->iommu = iopf_iommu_open("smmuv3,model=iopf-bench-mem");
	if (p->iommu == NULL)
		return log_error("iopf_iommu_open()");
	if (iopf_iommu_start(p->iommu) < 0)
		return log_error("iopf_iommu_start()");
	p->started = true;
	p->dma = smmuv3_model_dma_create(p->model, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.depth = 1 });
	if (p->dma == NULL) {
		bench_error("cannot create an engine: %s", strerror(errno));
		return -errno;
	}
	p->dev = iopf_dev_add(p->iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_STALL });
	if (p->dev == NULL)
		return log_error("iopf_dev_add()");
	p->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "mem" });
	if (p->poller == NULL || iopf_poller_add(p->poller, p->iommu, IOPF_QUEUE_EVENTS) < 0)
		return log_error("a poller");
	return 0;
}

static int
open_memory(struct product *p, uint32_t nb_pages, unsigned int window)
{
	size_t size = (size_t)nb_pages * BENCH_PAGE_SIZE;

	p->pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = p->iommu,
			.size = RTE_ALIGN_CEIL(size, MMEM_CHUNK_SIZE) + 2 * MMEM_CHUNK_SIZE,
			.no_hugepages = true });
	if (p->pool == NULL)
		return log_error("mmem_pool_create()");
	p->space = mmem_space_create(&(struct mmem_space_conf){ .pool = p->pool, .window = window,
			.budget = (uint64_t)(nb_pages / 2) * BENCH_PAGE_SIZE });
	if (p->space == NULL)
		return log_error("mmem_space_create()");
	p->region = mmem_alloc_paged(p->space, size, MMEM_READ | MMEM_CPU_LATER, &pager);
	if (p->region == NULL)
		return log_error("mmem_alloc_paged()");
	p->attached = mmem_attach(p->space, p->dev, IOPF_NO_PASID) == 0;
	return p->attached ? 0 : log_error("mmem_attach()");
}

static int
close_product(struct product *p, int ret)
{
	if (p->attached && mmem_detach(p->space, p->dev, IOPF_NO_PASID) < 0)
		ret = ret < 0 ? ret : log_error("mmem_detach()");
	if (p->dev != NULL && iopf_dev_remove(p->dev) < 0)
		ret = ret < 0 ? ret : log_error("iopf_dev_remove()");
	iopf_poller_destroy(p->poller);
	mmem_space_destroy(p->space);
	mmem_pool_destroy(p->pool);
	smmuv3_model_dma_destroy(p->dma);
	if (p->started)
		iopf_iommu_stop(p->iommu);
	return rig_close_smmu(p->iommu, p->model, ret);
}

/* This thread is the SMMU, the device and the poll thread. */
static int
access_page(struct product *p, uint32_t page)
{
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_READ, .buf = &p->data,
		.len = ACCESS_SIZE,
		.addr = (uintptr_t)p->region + (uint64_t)page * BENCH_PAGE_SIZE };
	uint64_t begin = rte_rdtsc(), most = PATIENCE_S * rte_get_tsc_hz();
	struct smmuv3_model_done done;
	int ret = smmuv3_model_dma_submit(p->dma, &op);

	while (ret == 0 && smmuv3_model_dma_poll(p->dma, &done, 1) == 0) {
		/* The library's threads may have this CPU. */
		if (smmuv3_model_step(p->model, STEP_BUDGET) + iopf_poll(p->poller) == 0)
			sched_yield();
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

struct variant {
	const char *name;
	unsigned int tlb_log2;	/* the entries of the SMMU's TLB */
	unsigned int window;	/* mmem_space_conf.window; 1: nothing is fetched ahead */
};

static const struct variant variants[] = {
	{ "page_ins", 12, 1 },
	{ "page_ins_small_tlb", 6, 1 },
	{ "page_ins_ahead", 12, 0 },
};
enum { ALONE, SMALL_TLB, AHEAD, NB_VARIANTS };

/* The page-ins of the library. */
static int
replay(const struct trace *trace, const struct variant *variant, double *page_ins)
{
	struct product p = { 0 };
	uint32_t i;
	int ret;

	ret = open_device(&p, variant->tlb_log2);
	if (ret == 0)
		ret = open_memory(&p, trace->nb_pages, variant->window);
	for (i = 0; ret == 0 && i < trace->nb_accesses; i++)
		ret = interrupt_is_asked() ? -EINTR : access_page(&p, trace->accesses[i]);
	if (ret == 0)
		*page_ins = mmem_stat(p.space, MMEM_STAT_FILLED);
	return close_product(&p, ret);
}

/* Page-ins of the variants over those of the simulator. */
static int
compare_product(struct suite *suite, const struct mem_file *file, double *over)
{
	double page_ins[NB_VARIANTS];
	struct mem_result r;
	struct trace trace;
	unsigned int i;
	int ret;

	ret = mem_read_trace(file, &trace);
	trace.nb_accesses = RTE_MIN(trace.nb_accesses, (uint32_t)MAX_ACCESSES);
	if (ret == 0)
		ret = mem_simulate(&trace, trace.nb_pages / 2, MEM_OURS, 0, &r);
	for (i = 0; ret == 0 && i < NB_VARIANTS; i++)
		ret = replay(&trace, &variants[i], &page_ins[i]);
	if (ret == 0)
		suite_put(suite, r.page_ins, "product.%s.page_ins_simulated", file->name);
	for (i = 0; ret == 0 && i < NB_VARIANTS; i++) {
		suite_put(suite, page_ins[i], "product.%s.%s", file->name, variants[i].name);
		over[i] = page_ins[i] / r.page_ins;
	}
	trace_free(&trace);
	return ret;
}

int
mem_suite_product(struct suite *suite)
{
	double worst[NB_VARIANTS] = { 0 }, over[NB_VARIANTS] = { 0 };
	unsigned int i, k;
	int ret;

	for (i = 0; i < mem_nb_files; i++) {
		ret = compare_product(suite, &mem_files[i], over);
		if (ret < 0)
			return ret;
		for (k = 0; k < NB_VARIANTS; k++)
			worst[k] = RTE_MAX(worst[k], over[k]);
	}
	suite_put(suite, worst[ALONE], "product_page_ins_over_simulated");
	suite_put(suite, worst[SMALL_TLB], "product_page_ins_over_simulated_small_tlb");
	suite_put(suite, worst[AHEAD], "product_page_ins_over_simulated_ahead");
	return 0;
}
