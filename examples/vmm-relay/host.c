/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_errno.h>

#include <iopf_iommu.h>
#include <iopf_pci.h>

#include "guest.h"
#include "host.h"

#define DEVSTR		"smmuv3,model=host,model_s2=1,model_pri=1,model_stall_max=64"
#define ARENA_SIZE	((size_t)1 << 20)
#define IPA_BITS	36

static int
fail(const char *what)
{
	fprintf(stderr, "vmm-relay: cannot %s: %s\n", what, rte_strerror(rte_errno));
	return -1;
}

static void
on_report(struct iopf_iommu *smmu, const struct iopf_fault *fault, void *ctx)
{
	struct host *h = ctx;

	(void)smmu;
	if (h->relay != NULL)
		relay_report(h->relay, fault);
}

/* All of the guest's memory is mapped: an IPA that faults is none of it. */
static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_INVALID);
}

static int
make_stage2(struct host *h, const struct smmuv3_model_page *guest)
{
	uint64_t addr;

	h->arena = (struct arena){ .mem = aligned_alloc(1 << 16, ARENA_SIZE), .size = ARENA_SIZE };
	if (h->arena.mem == NULL)
		return fail("allocate tables");
	memset(h->arena.mem, 0, ARENA_SIZE);
	if (iopf_dma_map(h->smmu, h->arena.mem, ARENA_SIZE, &addr) < 0 ||
			iopf_dma_map(h->smmu, guest->mem, guest->mem_size, &addr) < 0)
		return fail("map memory for DMA");
	h->pgt = pgt_create(&(struct pgt_conf){ .stage2 = true, .va_bits = IPA_BITS,
			.mem = arena_pgt_mem(&h->arena) });
	if (h->pgt == NULL)
		return fail("make the guest's stage 2");
	/* The guest's memory is at its IPA, and addr is where the host's SMMU finds it. */
	if (pgt_map(h->pgt, guest->mem_addr, addr, guest->mem_size, PGT_READ | PGT_WRITE) < 0)
		return fail("map the guest's memory in its stage 2");
	h->stage2 = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = on_fault, .translation = {
			.format = IOPF_FORMAT_ARM64_S2, .root = pgt_root(h->pgt),
			.va_bits = IPA_BITS, .granule_log2 = pgt_granule_log2(h->pgt) } });
	return h->stage2 == NULL ? fail("make the domain of stage 2") : 0;
}

/* The operations of the PCIe function: the guest's STE says whether it may use ATS and PRI. */
static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	struct host_dev *d = ctx;

	(void)dev;
	return relay_uses_ats(d->host->relay, GUEST_VSID_PRI) ?
		smmuv3_model_dma_ats_enable(d->engine, stu) : 0;
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	struct host_dev *d = ctx;

	(void)dev;
	/* An error: it is off. */
	smmuv3_model_dma_ats_disable(d->engine);
	return 0;
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	struct host_dev *d = ctx;

	(void)dev;
	return relay_uses_ats(d->host->relay, GUEST_VSID_PRI) ?
		smmuv3_model_dma_pri_enable(d->engine, n) : 0;
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	struct host_dev *d = ctx;

	(void)dev;
	/* An error: it is off. */
	smmuv3_model_dma_pri_disable(d->engine);
	return 0;
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	const struct host_dev *d = ctx;

	(void)dev;
	return smmuv3_model_dma_pri_drained(d->engine);
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = ats_enable,
	.ats_disable = ats_disable,
	.pri_enable = pri_enable,
	.pri_disable = pri_disable,
	.pri_drained = pri_drained,
};

static int
add_dev(struct host *h, unsigned int i)
{
	const uint32_t sid = HOST_SID + i;
	const bool pri = i == HOST_PRI;
	struct host_dev *d = &h->dev[i];

	d->host = h;
	d->dev = iopf_dev_add(h->smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = pri ? IOPF_PRI : IOPF_STALL, .pci = pri ? &pci_ops : NULL,
			.ctx = d });
	d->engine = smmuv3_model_dma_create(h->model, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.kind = pri ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN });
	if (d->dev != NULL && d->engine == NULL)
		rte_errno = errno;
	return d->dev == NULL || d->engine == NULL ? fail("make a device") : 0;
}

int
host_open(struct host *h, const struct smmuv3_model_page *guest, int cpu)
{
	char devstr[128] = DEVSTR;

	if (cpu >= 0)
		snprintf(devstr, sizeof(devstr), DEVSTR ",model_cpu=%d", cpu);
	h->smmu = iopf_iommu_open(devstr);
	if (h->smmu == NULL || iopf_iommu_configure(h->smmu, &(struct iopf_iommu_conf){
			.report = on_report, .report_ctx = h }) < 0)
		return fail("open " DEVSTR);
	if (make_stage2(h, guest) < 0)
		return -1;
	h->poller = iopf_poller_create(NULL);
	if (h->poller == NULL || iopf_poller_add(h->poller, h->smmu, IOPF_QUEUE_ALL) < 0 ||
			iopf_iommu_start(h->smmu) < 0)
		return fail("start the host's SMMU");
	h->model = smmuv3_model_lookup("host");
	for (unsigned int i = 0; i < HOST_DEVS; i++)
		if (add_dev(h, i) < 0)
			return -1;
	return 0;
}

int
host_close(struct host *h, const struct smmuv3_model_page *guest)
{
	for (unsigned int i = 0; i < HOST_DEVS; i++) {
		smmuv3_model_dma_destroy(h->dev[i].engine);
		if (iopf_dev_remove(h->dev[i].dev) < 0)
			return fail("remove a device");
	}
	if (iopf_domain_destroy(h->stage2) < 0 ||
			iopf_poller_destroy(h->poller) < 0 || iopf_iommu_stop(h->smmu) < 0 ||
			iopf_dma_unmap(h->smmu, guest->mem, guest->mem_size,
				(uintptr_t)guest->mem) < 0 ||
			iopf_dma_unmap(h->smmu, h->arena.mem, ARENA_SIZE,
				(uintptr_t)h->arena.mem) < 0 ||
			iopf_iommu_close(h->smmu) < 0)
		return fail("close the host's SMMU");
	pgt_destroy(h->pgt);
	free(h->arena.mem);
	return 0;
}
