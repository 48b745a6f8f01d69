/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Part duplicate: the servicer's time for a burst of stalls that wait, on the core of the SMMU, so
 * that the same caches are warm for each kind.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>

#include <mmem.h>

#include "suite.h"

#define SID		8
#define BURST		32
#define REGION		((size_t)BURST * BENCH_PAGE_SIZE)
#define BURSTS		1024
#define OTHER_ADDR	(UINT64_C(1) << 32)

enum kind { ECHO, FAULT, DUPLICATE, JOINED, NB_KINDS };
static const char *const names[] = { "echo", "fault", "duplicate", "joined" };

struct burst {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	struct iopf_poller *poller;
	struct iopf_dev *dev;
	struct smmuv3_model_dma *dma;
	struct mmem_pool *pool;
	struct mmem_space *space;
	void *region;
	struct iopf_domain *domain;
	enum iopf_verdict verdict;
	uint64_t leader;
	bool attached;
	bool started;
};

static uint8_t access_bytes[8];

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct burst *b = ctx;

	(void)domain;
	b->leader = group->id;
	return b->verdict;
}

static int
log_error(const char *what)
{
	bench_error("duplicate: %s: %s", what, rte_strerror(rte_errno));
	return -rte_errno;
}

static int
open_burst(struct burst *b)
{
	uint32_t sid = SID;

	b->model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "iopf-bench-burst",
			.stall_max = SUITE_STALLS });
	if (b->model == NULL)
		return -errno;
	b->iommu = iopf_iommu_open("smmuv3,model=iopf-bench-burst");
	b->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "burst",
			.burst = BURST });
	if (b->iommu == NULL || b->poller == NULL ||
			iopf_poller_add(b->poller, b->iommu, IOPF_QUEUE_ALL) < 0)
		return log_error("the poller");
	b->dev = iopf_dev_add(b->iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	b->dma = smmuv3_model_dma_create(b->model, &(struct smmuv3_model_dma_conf){ .sid = SID,
			.depth = BURST });
	if (b->dev == NULL || b->dma == NULL)
		return log_error("the device");
	b->pool = mmem_pool_create(&(struct mmem_pool_conf){ .name = "burst", .iommu = b->iommu,
			.size = 2 * MMEM_CHUNK_SIZE, .no_hugepages = true });
	b->space = b->pool == NULL ? NULL : mmem_space_create(&(struct mmem_space_conf){
			.name = "burst", .pool = b->pool, .window = 1 });
	b->region = b->space == NULL ? NULL : mmem_alloc(b->space, REGION,
			MMEM_READ | MMEM_WRITE | MMEM_POPULATE);
	if (b->region == NULL)
		return log_error("managed memory");
	b->started = iopf_iommu_start(b->iommu) == 0;
	return b->started ? 0 : log_error("iopf_iommu_start()");
}

static int
attach_kind(struct burst *b, enum kind kind)
{
	static const struct iopf_storm_conf join = { .join_log2 = 12 };

	if (kind == FAULT) {
		b->attached = mmem_attach(b->space, b->dev, IOPF_NO_PASID) == 0;
		return b->attached ? 0 : log_error("mmem_attach()");
	}
	b->verdict = kind == JOINED ? IOPF_TAKEN : IOPF_ANSWER(IOPF_INVALID);
	b->domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_fault, .ctx = b,
			.storm = kind == ECHO ? NULL : &join });
	if (b->domain == NULL || iopf_domain_attach(b->domain, b->dev, IOPF_NO_PASID) < 0)
		return log_error("iopf_domain_attach()");
	b->attached = true;
	return 0;
}

static int
detach_kind(struct burst *b)
{
	int ret = 0;

	if (b->attached)
		ret = b->domain == NULL ? mmem_detach(b->space, b->dev, IOPF_NO_PASID) :
				iopf_domain_detach(b->domain, b->dev, IOPF_NO_PASID);
	b->attached = false;
	if (ret == 0)
		ret = iopf_domain_destroy(b->domain);
	b->domain = NULL;
	return ret;
}

/* Let 32 stalls wait, serve them, and return the cycles of that; 0: they were not served. */
static uint64_t
run_burst(struct burst *b, enum kind kind)
{
	uint64_t base = kind == FAULT ? (uintptr_t)b->region : OTHER_ADDR, start, cycles;
	struct smmuv3_model_done done[BURST];
	unsigned int i, n = 0;

	for (i = 0; i < BURST; i++)
		smmuv3_model_dma_submit(b->dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_READ, .buf = access_bytes,
				.addr = base + (kind == FAULT ? i * BENCH_PAGE_SIZE : 0),
				.len = sizeof(access_bytes) });
	while (smmuv3_model_step(b->model, BURST) != 0)
		;
	start = smmuv3_model_cycles();
	while (n < BURST)
		n += iopf_poll(b->poller);
	if (kind == JOINED)
		iopf_group_respond(b->leader, IOPF_INVALID);
	cycles = smmuv3_model_cycles() - start;
	for (i = 0; i < BURST && smmuv3_model_dma_outstanding(b->dma) != 0;) {
		smmuv3_model_step(b->model, BURST);
		i += smmuv3_model_dma_poll(b->dma, done, BURST);
	}
	return cycles;
}

static int
measure_kind(struct suite *suite, struct burst *b, enum kind kind, double *ns)
{
	static struct hist hist;
	unsigned int i;
	int ret;

	hist_reset(&hist);
	ret = attach_kind(b, kind);
	for (i = 0; ret == 0 && i < BURSTS; i++) {
		hist_add(&hist, run_burst(b, kind));
		if (kind == FAULT && mmem_unmap(b->space, b->region, REGION) < 0)
			ret = log_error("mmem_unmap()");
	}
	if (ret == 0 && b->domain != NULL &&
			(kind == DUPLICATE || kind == JOINED) &&
			iopf_domain_stat(b->domain, IOPF_STAT_JOINED) != (BURST - 1) * BURSTS) {
		bench_error("duplicate: %lu of %u faults have joined",
				(unsigned long)iopf_domain_stat(b->domain, IOPF_STAT_JOINED),
				(BURST - 1) * BURSTS);
		ret = -EIO;
	}
	/* The median of the bursts: an interrupt of the CPU is in few of them. */
	*ns = hist_get_percentile(&hist, 0.5) / suite->cycles_per_ns / BURST;
	suite_put(suite, *ns, "duplicate.%s.ns", names[kind]);
	i = detach_kind(b);
	return ret < 0 ? ret : (int)i;
}

static void
close_burst(struct burst *b)
{
	detach_kind(b);
	smmuv3_model_dma_destroy(b->dma);
	if (b->dev != NULL)
		iopf_dev_remove(b->dev);
	mmem_space_destroy(b->space);
	mmem_pool_destroy(b->pool);
	if (b->started)
		iopf_iommu_stop(b->iommu);
	iopf_poller_destroy(b->poller);
	if (b->iommu != NULL)
		iopf_iommu_close(b->iommu);
	smmuv3_model_destroy(b->model);
}

int
suite_duplicate(struct suite *suite)
{
	struct burst b = { 0 };
	double ns[NB_KINDS];
	enum kind kind;
	int ret;

	bench_pin_thread("devices", suite->conf->cpu_model);
	ret = open_burst(&b);
	for (kind = ECHO; ret == 0 && kind < NB_KINDS; kind++)
		ret = measure_kind(suite, &b, kind, &ns[kind]);
	close_burst(&b);
	if (ret < 0)
		return ret;
	suite_put(suite, (ns[DUPLICATE] - ns[ECHO]) / (ns[FAULT] - ns[ECHO]),
			"duplicate_cost_over_fault");
	suite_put(suite, (ns[JOINED] - ns[ECHO]) / (ns[FAULT] - ns[ECHO]),
			"joined_cost_over_fault");
	return 0;
}
