/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_pause.h>

#include <iopf.h>
#include <iopf_iommu.h>
#include <iopf_pci.h>

#include "arena.h"
#include "eal.h"
#include "guest.h"

#define REST_US	50

struct guest {
	struct guest_mailbox *mailbox;
	struct arena arena;
	struct pgt *pgt;
};

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const uint64_t va = group->faults[0]->addr & ~(uint64_t)(GUEST_PAGE - 1);
	struct guest *g = ctx;
	void *page;

	RTE_SET_USED(domain);
	if (atomic_load(&g->mailbox->slow))
		return IOPF_TAKEN;
	page = arena_alloc(&g->arena, GUEST_PAGE);
	if (page == NULL || pgt_map(g->pgt, va, (uintptr_t)page, GUEST_PAGE,
			PGT_READ | PGT_WRITE) < 0)
		return IOPF_ANSWER(IOPF_INVALID);
	atomic_store(&g->mailbox->last_page, (uintptr_t)page);
	atomic_fetch_add(&g->mailbox->nb_faults, 1);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

/*
 * The driver of the PCIe function. A VMM emulates the function's ATS and PRI capabilities; here it
 * has both on while the STE allows ATS.
 */
static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(stu);
	RTE_SET_USED(ctx);
	return 0;
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(n);
	RTE_SET_USED(ctx);
	return 0;
}

static int
disable(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return 0;
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	struct guest *g = ctx;

	RTE_SET_USED(dev);
	return atomic_load(&g->mailbox->nb_requests) == 0;
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = ats_enable,
	.ats_disable = disable,
	.pri_enable = pri_enable,
	.pri_disable = disable,
	.pri_drained = pri_drained,
};

static int
fail(const char *what)
{
	fprintf(stderr, "vmm-relay, guest: cannot %s: %s\n", what, rte_strerror(rte_errno));
	return 1;
}

static void
poll_once(struct guest *g, struct iopf_poller *poller)
{
	if (atomic_load(&g->mailbox->rest))
		usleep(REST_US);
	else if (iopf_poll(poller) > 0)
		return;
	else if (atomic_load(&g->mailbox->has_cpu))
		rte_pause();
	else
		sched_yield();
}

static int
serve(struct guest *g, struct iopf_iommu *smmu)
{
	const uint32_t sids[] = { GUEST_VSID, GUEST_VSID_PRI };
	const struct iopf_dev_conf conf = { .sids = &sids[0], .nb_sids = 1 };
	const struct iopf_dev_conf pri_conf = { .sids = &sids[1], .nb_sids = 1,
		.recover = IOPF_PRI, .pci = &pci_ops, .ctx = g };
	struct iopf_domain *domain;
	struct iopf_poller *poller = iopf_poller_create(NULL);
	struct iopf_dev *dev = iopf_dev_add(smmu, &conf);
	struct iopf_dev *pri_dev = iopf_dev_add(smmu, &pri_conf);

	g->pgt = pgt_create(&(struct pgt_conf){ .mem = arena_pgt_mem(&g->arena) });
	if (poller == NULL || dev == NULL || pri_dev == NULL || g->pgt == NULL)
		return fail("add its devices");
	domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = on_fault, .ctx = g, .translation = {
			.format = IOPF_FORMAT_ARM64_S1, .root = pgt_root(g->pgt),
			.va_bits = pgt_va_bits(g->pgt),
			.granule_log2 = pgt_granule_log2(g->pgt) } });
	if (domain == NULL || iopf_poller_add(poller, smmu, IOPF_QUEUE_ALL) < 0 ||
			iopf_iommu_start(smmu) < 0 ||
			iopf_domain_attach(domain, dev, IOPF_NO_PASID) < 0 ||
			iopf_domain_attach(domain, pri_dev, IOPF_NO_PASID) < 0)
		return fail("attach its devices");
	atomic_store(&g->mailbox->ready, 1);
	while (!atomic_load(&g->mailbox->stop))
		poll_once(g, poller);
	if (iopf_dev_remove(dev) < 0 || iopf_dev_remove(pri_dev) < 0 ||
			iopf_domain_destroy(domain) < 0 ||
			iopf_iommu_stop(smmu) < 0 || iopf_poller_destroy(poller) < 0)
		return fail("stop in order");
	pgt_destroy(g->pgt);
	return 0;
}

int
guest_main(const char *path)
{
	char name[] = "guest";
	uint8_t *mem = (uint8_t *)(uintptr_t)GUEST_MEM_ADDR;
	struct iopf_iommu *smmu;
	struct guest g = { .arena = { .mem = mem + GUEST_MEM_DRIVER,
		.size = GUEST_MEM_SIZE - GUEST_MEM_DRIVER - GUEST_PAGE } };
	char devstr[128];
	uint64_t addr;
	int ret;

	if (eal_start(name) < 0)
		return fail("start EAL");
	snprintf(devstr, sizeof(devstr), "smmuv3,page=%s", path);
	smmu = iopf_iommu_open(devstr);
	if (smmu == NULL)
		return fail("open its SMMU");
	/* The open has mapped the memory. */
	g.mailbox = guest_find_mailbox(mem);
	if (iopf_dma_map(smmu, g.arena.mem, g.arena.size, &addr) < 0)
		return fail("map its memory for DMA");
	ret = serve(&g, smmu);
	if (ret == 0 && (iopf_dma_unmap(smmu, g.arena.mem, g.arena.size, addr) < 0 ||
			iopf_iommu_close(smmu) < 0))
		ret = fail("close its SMMU");
	rte_eal_cleanup();
	return ret;
}
