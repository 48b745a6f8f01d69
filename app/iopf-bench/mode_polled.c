/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Two modes: "polled", a device that stalls, and "pri", an endpoint with page requests. Both use
 * iopf as an application does: managed memory, one poller on one core. The memory is populated;
 * each fault maps one page or a group of pages.
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>

#include <iopf.h>
#include <iopf_pci.h>
#include <iopf_poller.h>
#include <iopf_stats.h>
#include <mmem.h>

#include "bench.h"

struct polled {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct smmuv3_model_dma *endpoint;	/* pri: an engine to switch ATS and PRI */
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	void *region;
	size_t size;
	uint32_t rights;	/* of the region */
	unsigned int nb_sids;
	enum idle idle;
	bool renew;	/* the region, after each cell */
	bool attached;
	bool started;
	pthread_t thread;
	atomic_bool stop;
	int cpu;
};

/* With ATS and PRI the device's driver switches them in these operations. */
static int
on_ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	(void)dev;
	return smmuv3_model_dma_ats_enable(ctx, stu);
}

static int
on_ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	/* The call fails only if ATS is already off. */
	smmuv3_model_dma_ats_disable(ctx);
	return 0;
}

static int
on_pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	(void)dev;
	return smmuv3_model_dma_pri_enable(ctx, n);
}

static int
on_pri_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	/* The call fails only if PRI is already off. */
	smmuv3_model_dma_pri_disable(ctx);
	return 0;
}

static bool
on_pri_drained(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	return smmuv3_model_dma_pri_drained(ctx);
}

static int
polled_log_error(const char *what)
{
	bench_error("polled: %s: %s", what, rte_strerror(rte_errno));
	return -rte_errno;
}

/* Use ordinary memory, as the baselines do. */
static int
polled_make_memory(struct polled *p)
{
	size_t chunks = (p->size + MMEM_CHUNK_SIZE - 1) / MMEM_CHUNK_SIZE;

	p->pool = mmem_pool_create(&(struct mmem_pool_conf){ .name = "bench",
			.iommu = p->iommu, .size = (chunks + 1) * MMEM_CHUNK_SIZE,
			.no_hugepages = true });
	if (p->pool == NULL)
		return polled_log_error("mmem_pool_create()");
	p->space = mmem_space_create(&(struct mmem_space_conf){ .name = "bench",
			.pool = p->pool, .window = 1 });
	if (p->space == NULL)
		return polled_log_error("mmem_space_create()");
	p->region = mmem_alloc(p->space, p->size, p->rights);
	if (p->region == NULL)
		return polled_log_error("mmem_alloc()");
	return 0;
}

const struct iopf_pci_ops bench_pci_ops = {
	.ats_enable = on_ats_enable,
	.ats_disable = on_ats_disable,
	.pri_enable = on_pri_enable,
	.pri_disable = on_pri_disable,
	.pri_drained = on_pri_drained,
};

static int
polled_add_device(struct mode *mode, struct polled *p)
{
	uint32_t sids[BENCH_MAX_REQUESTERS];
	struct iopf_dev_conf conf = { .name = "engines", .sids = sids, .nb_sids = p->nb_sids,
		.recover = IOPF_STALL };
	unsigned int i;

	for (i = 0; i < p->nb_sids; i++)
		sids[i] = BENCH_SID + i;

	if (mode->ops->requests) {
		p->endpoint = smmuv3_model_dma_create(mode->model, &(struct smmuv3_model_dma_conf){
				.sid = BENCH_SID, .kind = SMMUV3_MODEL_DMA_ATS, .depth = 1 });
		if (p->endpoint == NULL)
			return -errno;
		conf.recover = IOPF_PRI;
		conf.pri_requests = BENCH_MAX_DEPTH;
		conf.pci = &bench_pci_ops;
		conf.ctx = p->endpoint;
	}
	p->dev = iopf_dev_add(p->iommu, &conf);
	return p->dev == NULL ? polled_log_error("iopf_dev_add()") : 0;
}

static void
set_region(struct mode *mode, const struct polled *p)
{
	mode->va = (uintptr_t)p->region;
	mode->mem = p->region;
}

/*
 * Give the region back and take one with the same memory. The pool zeroes it now, or the faults do
 * page by page.
 */
static int
polled_renew_region(struct mode *mode, struct polled *p)
{
	if (mmem_free(p->space, p->region) < 0)
		return polled_log_error("mmem_free()");
	p->region = mmem_alloc(p->space, p->size, p->rights);
	if (p->region == NULL)
		return polled_log_error("mmem_alloc()");
	set_region(mode, p);
	return 0;
}

static const enum iopf_idle policies[BENCH_NB_IDLES] = {
	[IDLE_PAUSE] = IOPF_IDLE_PAUSE,
	[IDLE_SPIN] = IOPF_IDLE_SPIN,
	[IDLE_YIELD] = IOPF_IDLE_YIELD,
	[IDLE_SLEEP] = IOPF_IDLE_SLEEP,
};

static int
polled_setup(struct mode *mode, const struct bench_conf *conf)
{
	struct polled *p = calloc(1, sizeof(*p));
	char name[32], devstr[64];
	int ret;

	if (p == NULL)
		return -ENOMEM;
	mode->priv = p;
	p->cpu = conf->cpu_servicer;
	p->size = (size_t)conf->faults * BENCH_PAGE_SIZE;
	p->nb_sids = conf->sids;
	p->idle = conf->idle;
	p->renew = conf->zero_pool || conf->zero_inline;
	p->rights = MMEM_READ | MMEM_WRITE | MMEM_POPULATE |
			(conf->zero_inline ? MMEM_ZERO_INLINE : 0);
	snprintf(name, sizeof(name), "iopf-bench-%s", mode->ops->name);
	mode->model = bench_create_model(name, conf, mode->ops->requests ?
			SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0);
	if (mode->model == NULL)
		return -errno;
	snprintf(devstr, sizeof(devstr), "%s,model=%s", conf->mmio_ns != 0 ? "smmuv3_mmio" :
			"smmuv3", name);
	p->iommu = iopf_iommu_open(devstr);
	if (p->iommu == NULL)
		return polled_log_error("iopf_iommu_open()");
	ret = polled_add_device(mode, p);
	if (ret < 0)
		return ret;
	p->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "bench",
			.burst = BENCH_BURST, .idle = policies[conf->idle] });
	if (p->poller == NULL)
		return polled_log_error("iopf_poller_create()");
	if (iopf_poller_add(p->poller, p->iommu, IOPF_QUEUE_ALL) < 0)
		return polled_log_error("iopf_poller_add()");
	ret = polled_make_memory(p);
	if (ret < 0)
		return ret;
	if (iopf_iommu_start(p->iommu) < 0)
		return polled_log_error("iopf_iommu_start()");
	p->started = true;
	if (mmem_attach(p->space, p->dev, IOPF_NO_PASID) < 0)
		return polled_log_error("mmem_attach()");
	p->attached = true;
	set_region(mode, p);
	/* Memory is zeroed when it is used again: let that be so for the first cell. */
	return conf->zero_inline ? polled_renew_region(mode, p) : 0;
}

static void *
polled_run_servicer(void *arg)
{
	struct mode *mode = arg;
	struct polled *p = mode->priv;

	bench_pin_thread("polled", p->cpu);
	if (p->idle != IDLE_POLL)
		iopf_poller_run(p->poller);
	else
		while (!atomic_load_explicit(&p->stop, memory_order_relaxed))
			cpu_count_pass(&mode->use, iopf_poll(p->poller));
	return NULL;
}

static int
polled_start(struct mode *mode)
{
	struct polled *p = mode->priv;
	int ret;

	atomic_store(&p->stop, false);
	ret = pthread_create(&p->thread, NULL, polled_run_servicer, mode);
	if (ret != 0) {
		bench_error("polled: cannot create a thread: %s", strerror(ret));
		return -ret;
	}
	cpu_set_poll_thread(&mode->use, p->thread);
	/* iopf_poller_run() does not tell how many passes were empty. */
	if (p->idle != IDLE_POLL)
		mode->use.kind = CPU_UNKNOWN;
	return 0;
}

static void
polled_stop(struct mode *mode)
{
	struct polled *p = mode->priv;

	atomic_store(&p->stop, true);
	if (p->idle != IDLE_POLL)
		iopf_poller_stop(p->poller);
	pthread_join(p->thread, NULL);
}

static uint64_t
polled_drain_queue(struct mode *mode, unsigned int n)
{
	struct polled *p = mode->priv;
	unsigned int done = 0;

	while (done < n)
		done += iopf_poll(p->poller);
	return smmuv3_model_cycles();
}

static void
polled_look(struct mode *mode)
{
	struct polled *p = mode->priv;

	iopf_poll(p->poller);
}

static int
polled_unmap_pages(struct mode *mode)
{
	struct polled *p = mode->priv;

	if (p->renew)
		return polled_renew_region(mode, p);
	return mmem_unmap(p->space, p->region, p->size) < 0 ? polled_log_error("mmem_unmap()") : 0;
}

static bool
polled_check_counts(struct mode *mode)
{
	struct polled *p = mode->priv;
	struct iopf_domain *domain = mmem_space_domain(p->space);
	uint64_t asked = iopf_domain_stat(domain, IOPF_STAT_FAULTS);
	uint64_t success = iopf_domain_stat(domain, IOPF_STAT_SUCCESS);
	uint64_t mapped = mmem_stat(p->space, MMEM_STAT_MAPPED);
	uint64_t zeroed = mmem_stat(p->space, MMEM_STAT_ZEROED);
	uint64_t deferred = iopf_domain_stat(domain, IOPF_STAT_DEFERRED);

	if (asked == mode->faults && success == mode->faults && mapped == mode->pages &&
			deferred == 0 && iopf_domain_pending(domain) == 0 &&
			zeroed == (p->rights & MMEM_ZERO_INLINE ? mode->pages : 0))
		return true;
	bench_error("%s: of %lu faults on %lu pages %lu reached the domain, %lu were answered with "
			"success, %lu pages were mapped, %lu zeroed, %lu were deferred",
			mode->ops->name,
			(unsigned long)mode->faults, (unsigned long)mode->pages,
			(unsigned long)asked, (unsigned long)success, (unsigned long)mapped,
			(unsigned long)zeroed,
			(unsigned long)deferred);
	return false;
}

static void
polled_teardown(struct mode *mode)
{
	struct polled *p = mode->priv;

	if (p == NULL)
		return;
	if (p->attached)
		mmem_detach(p->space, p->dev, IOPF_NO_PASID);
	if (p->space != NULL)
		mmem_space_destroy(p->space);
	if (p->pool != NULL)
		mmem_pool_destroy(p->pool);
	if (p->dev != NULL)
		iopf_dev_remove(p->dev);
	smmuv3_model_dma_destroy(p->endpoint);
	if (p->started)
		iopf_iommu_stop(p->iommu);
	if (p->poller != NULL)
		iopf_poller_destroy(p->poller);
	if (p->iommu != NULL)
		iopf_iommu_close(p->iommu);
	smmuv3_model_destroy(mode->model);
	free(p);
	mode->priv = NULL;
}

#define POLLED_OPS .setup = polled_setup, .start = polled_start, .stop = polled_stop, \
	.drain = polled_drain_queue, .look = polled_look, .unmap = polled_unmap_pages, .check = polled_check_counts, \
	.teardown = polled_teardown

const struct mode_ops mode_polled = {
	.name = "polled",
	.what = "iopf: one poller, managed memory",
	POLLED_OPS
};

const struct mode_ops mode_pri = {
	.name = "pri",
	.what = "the same for a device that asks for pages (ATS, PRI) instead of stalling",
	.requests = true,
	POLLED_OPS
};
