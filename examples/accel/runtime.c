/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Opening and closing the device, buffers, the poller, figures. */

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <iopf_pci.h>
#include <iopf_poller.h>
#include <iopf_stats.h>

#include "device.h"

#define QUEUE_DEPTH	16	/* a larger depth only lengthens the queue of faults */
#define GROUP_PAGES	16	/* for one tile; an unaligned tile takes two groups */
#define PRI_REQUESTS	256	/* for both functions together */

/* Queues differ in StreamID and PASID; all use the same address space. */
static const uint32_t sids[] = { 8, 9 };
static const struct {
	uint32_t sid;
	uint32_t pasid;
} queues[NB_QUEUES] = {
	{ 8, IOPF_NO_PASID }, { 9, IOPF_NO_PASID }, { 8, 1 }, { 9, 2 },
};
static const uint32_t pasids[] = { IOPF_NO_PASID, 1, 2 };

int
accel_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("accel: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -1;
}

/* For a single core: the poll thread must yield it. */
static void *
poll_and_yield(void *arg)
{
	struct accel *accel = arg;

	while (!atomic_load_explicit(&accel->quit, memory_order_relaxed)) {
		if (iopf_poll(accel->poller) == 0)
			sched_yield();
	}
	return NULL;
}

static int
start_polling(struct accel *accel)
{
	int ret;

	/* The model's thread and the device share the first core; the poll thread has its own. */
	accel->lcore = rte_get_next_lcore(-1, 1, 0);
	if (accel->lcore < RTE_MAX_LCORE)
		ret = -rte_eal_remote_launch(iopf_poller_run, accel->poller, accel->lcore);
	else
		ret = pthread_create(&accel->thread, NULL, poll_and_yield, accel);
	accel->polling = ret == 0;
	return ret == 0 ? 0 : accel_fail("cannot start the poller: %s", strerror(ret));
}

static void
stop_polling(struct accel *accel)
{
	if (!accel->polling)
		return;
	if (accel->lcore < RTE_MAX_LCORE) {
		iopf_poller_stop(accel->poller);
		rte_eal_wait_lcore(accel->lcore);
	} else {
		atomic_store_explicit(&accel->quit, true, memory_order_relaxed);
		pthread_join(accel->thread, NULL);
	}
	accel->polling = false;
}

static void
on_report(struct mmem_space *space __rte_unused, const struct mmem_report *report, void *ctx)
{
	struct accel *accel = ctx;
	int none = 0;

	atomic_compare_exchange_strong(&accel->refused, &none, report->error);
}

/*
 * The device's operations for ATS and PRI. Each StreamID is an endpoint, and each of the first
 * queues has one.
 */
static int
on_ats_disable(struct iopf_dev *dev __rte_unused, void *ctx)
{
	struct accel *accel = ctx;

	/* The call fails only if ATS is already off. */
	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		smmuv3_model_dma_ats_disable(accel->dma[i]);
	return 0;
}

static int
on_ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	struct accel *accel = ctx;
	int ret = 0;

	for (unsigned int i = 0; i < RTE_DIM(sids) && ret == 0; i++)
		ret = smmuv3_model_dma_ats_enable(accel->dma[i], stu);
	if (ret < 0)
		on_ats_disable(dev, ctx);
	return ret;
}

static int
on_pri_disable(struct iopf_dev *dev __rte_unused, void *ctx)
{
	struct accel *accel = ctx;

	/* The call fails only if PRI is already off. */
	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		smmuv3_model_dma_pri_disable(accel->dma[i]);
	return 0;
}

static int
on_pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	struct accel *accel = ctx;
	int ret = 0;

	for (unsigned int i = 0; i < RTE_DIM(sids) && ret == 0; i++)
		ret = smmuv3_model_dma_pri_enable(accel->dma[i], n / RTE_DIM(sids));
	if (ret < 0)
		on_pri_disable(dev, ctx);
	return ret;
}

static bool
on_pri_drained(struct iopf_dev *dev __rte_unused, void *ctx)
{
	struct accel *accel = ctx;
	bool drained = true;

	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		drained = drained && smmuv3_model_dma_pri_drained(accel->dma[i]);
	return drained;
}

/* Called on the thread that takes completions: no other thread takes any meanwhile. */
static bool
on_pasid_drained(struct iopf_dev *dev __rte_unused, uint32_t pasid, void *ctx)
{
	struct smmuv3_model_done done[QUEUE_DEPTH];
	struct accel *accel = ctx;
	bool drained = true;

	for (unsigned int i = 0; i < NB_QUEUES; i++) {
		if (queues[i].pasid != pasid)
			continue;
		smmuv3_model_dma_poll(accel->dma[i], done, RTE_DIM(done));
		drained = drained && smmuv3_model_dma_outstanding(accel->dma[i]) == 0;
	}
	return drained;
}

static int
open_smmu(struct accel *accel, size_t size)
{
	accel->smmu_name = accel->pri ? "smmuv3,model=1,model_pri=1" : "smmuv3,model=1";
	accel->smmu = iopf_iommu_open(accel->smmu_name);
	if (accel->smmu == NULL)
		return accel_fail("cannot open %s: %s", accel->smmu_name, rte_strerror(rte_errno));
	accel->model = smmuv3_model_lookup("1");
	if (accel->model == NULL)
		return accel_fail("%s is open, but no model has the name 1", accel->smmu_name);
	accel->pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = accel->smmu,
			.size = RTE_ALIGN_CEIL(size, MMEM_CHUNK_SIZE) +
					NB_BUFS * MMEM_CHUNK_SIZE });
	if (accel->pool == NULL)
		return accel_fail("cannot make a pool of %zu bytes: %s; give a smaller file", size,
				rte_strerror(rte_errno));
	accel->space = mmem_space_create(&(struct mmem_space_conf){ .pool = accel->pool,
			.report = on_report, .ctx = accel });
	if (accel->space == NULL)
		return accel_fail("cannot make an address space: %s", rte_strerror(rte_errno));
	if (iopf_iommu_start(accel->smmu) < 0)
		return accel_fail("cannot start %s: %s", accel->smmu_name,
				rte_strerror(rte_errno));
	accel->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "accel" });
	if (accel->poller == NULL ||
			iopf_poller_add(accel->poller, accel->smmu, IOPF_QUEUE_ALL) < 0)
		return accel_fail("cannot make a poller: %s", rte_strerror(rte_errno));
	return 0;
}

static int
open_queues(struct accel *accel)
{
	struct smmuv3_model_dma_conf conf;
	unsigned int i;

	for (i = 0; i < NB_QUEUES; i++) {
		conf = (struct smmuv3_model_dma_conf){ .sid = queues[i].sid,
				.depth = QUEUE_DEPTH };
		if (accel->pri) {
			conf.kind = SMMUV3_MODEL_DMA_ATS;
			conf.group_pages = GROUP_PAGES;
		}
		if (queues[i].pasid != IOPF_NO_PASID) {
			conf.has_ssid = true;
			conf.ssid = queues[i].pasid;
		}
		accel->dma[i] = smmuv3_model_dma_create(accel->model, &conf);
		if (accel->dma[i] == NULL)
			return accel_fail("cannot make queue %u: %s", i, strerror(errno));
	}
	return 0;
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = on_ats_enable,
	.ats_disable = on_ats_disable,
	.pri_enable = on_pri_enable,
	.pri_disable = on_pri_disable,
	.pri_drained = on_pri_drained,
	.pasid_drained = on_pasid_drained,
};

static int
open_device(struct accel *accel)
{
	struct iopf_dev_conf conf = { .name = "accel", .sids = sids, .nb_sids = RTE_DIM(sids),
		.nb_pasids = 4, .recover = IOPF_STALL };
	unsigned int i;

	if (accel->pri) {
		conf.recover = IOPF_PRI;
		conf.pri_requests = PRI_REQUESTS;
		conf.pci = &pci_ops;
		conf.ctx = accel;
	}
	accel->dev = iopf_dev_add(accel->smmu, &conf);
	if (accel->dev == NULL)
		return accel_fail("cannot add the device: %s", rte_strerror(rte_errno));
	for (i = 0; i < RTE_DIM(pasids); i++) {
		if (mmem_attach(accel->space, accel->dev, pasids[i]) < 0)
			return pasids[i] == IOPF_NO_PASID ?
				accel_fail("cannot attach untagged traffic: %s",
						rte_strerror(rte_errno)) :
				accel_fail("cannot attach PASID %u: %s", pasids[i],
						rte_strerror(rte_errno));
		accel->nb_attached++;
	}
	return 0;
}

struct accel *
accel_open(size_t size, bool pri)
{
	struct accel *accel = calloc(1, sizeof(*accel));

	if (accel == NULL) {
		accel_fail("out of memory");
		return NULL;
	}
	accel->pri = pri;
	if (open_smmu(accel, size) < 0 || open_queues(accel) < 0 || open_device(accel) < 0 ||
			start_polling(accel) < 0) {
		accel_close(accel);
		return NULL;
	}
	return accel;
}

void
accel_close(struct accel *accel)
{
	unsigned int i;

	if (accel == NULL)
		return;
	/* Faults without an answer end with the SMMU; then the queues can drain. */
	if (accel->failed)
		iopf_iommu_stop(accel->smmu);
	for (i = 0; i < accel->nb_attached; i++)
		mmem_detach(accel->space, accel->dev, pasids[i]);
	/* With PRI only after the detach, which switches PRI off through them. */
	for (i = 0; i < NB_QUEUES; i++)
		smmuv3_model_dma_destroy(accel->dma[i]);
	if (accel->dev != NULL)
		iopf_dev_remove(accel->dev);
	stop_polling(accel);
	if (accel->poller != NULL)
		iopf_poller_destroy(accel->poller);
	if (accel->space != NULL)
		mmem_space_destroy(accel->space);
	if (accel->pool != NULL)
		mmem_pool_destroy(accel->pool);
	if (accel->smmu != NULL) {
		iopf_iommu_stop(accel->smmu);
		if (iopf_iommu_close(accel->smmu) < 0)
			accel_fail("cannot close %s: %s", accel->smmu_name,
					rte_strerror(rte_errno));
	}
	for (i = 0; i < accel->nb_bufs; i++)
		free(accel->bufs[i].touched);
	free(accel);
}

static void *
add_buf(struct accel *accel, void *ptr, size_t size)
{
	struct buf *buf = &accel->bufs[accel->nb_bufs];

	buf->touched = calloc((size + PAGE_SIZE - 1) / PAGE_SIZE, sizeof(*buf->touched));
	if (buf->touched == NULL) {
		accel_fail("out of memory");
		return NULL;
	}
	buf->ptr = ptr;
	buf->size = size;
	accel->nb_bufs++;
	return ptr;
}

void *
accel_alloc(struct accel *accel, size_t size, unsigned int flags)
{
	void *ptr;

	if (accel->nb_bufs == NB_BUFS) {
		accel_fail("more than %d buffers", NB_BUFS);
		return NULL;
	}
	ptr = mmem_alloc(accel->space, size, flags);
	if (ptr == NULL) {
		accel_fail("cannot allocate %zu bytes: %s; give a smaller file", size,
				rte_strerror(rte_errno));
		return NULL;
	}
	return add_buf(accel, ptr, size);
}

void *
accel_map_file(struct accel *accel, const char *path, size_t size, unsigned int flags)
{
	void *ptr;

	if (accel->nb_bufs == NB_BUFS) {
		accel_fail("more than %d buffers", NB_BUFS);
		return NULL;
	}
	ptr = mmem_map_file(accel->space, path, 0, size, flags);
	if (ptr == NULL) {
		accel_fail("%s: cannot map %zu bytes: %s; give a readable file", path, size,
				rte_strerror(rte_errno));
		return NULL;
	}
	return add_buf(accel, ptr, size);
}

void
accel_get_figures(const struct accel *accel, struct accel_figures *figures)
{
	const struct iopf_domain *domain = mmem_space_domain(accel->space);
	unsigned int i;
	size_t page;

	memset(figures, 0, sizeof(*figures));
	for (i = 0; i < accel->nb_bufs; i++) {
		for (page = 0; page * PAGE_SIZE < accel->bufs[i].size; page++)
			figures->touched += accel->bufs[i].touched[page];
	}
	figures->groups = iopf_domain_stat(domain, IOPF_STAT_FAULTS);
	figures->faults = accel->pri ? iopf_domain_stat(domain, IOPF_STAT_REQUESTS) :
			figures->groups;
	figures->mapped = mmem_stat(accel->space, MMEM_STAT_MAPPED);
	figures->ahead = mmem_stat(accel->space, MMEM_STAT_AHEAD);
	figures->prefetched = mmem_stat(accel->space, MMEM_STAT_PREFETCHED);
	figures->deferred = mmem_stat(accel->space, MMEM_STAT_DEFERRED);
	figures->bytes = accel->bytes;
	figures->seconds = (double)(accel->t_end - accel->t_start) / rte_get_tsc_hz();
	figures->mistakes = smmuv3_model_driver_errors(accel->model) +
			smmuv3_model_oracle_errors(accel->model);
	iopf_domain_latency(domain, &figures->latency);
}
