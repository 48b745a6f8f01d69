/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The guest's SMMU is the virtual one of examples/vmm-relay. Its endpoints are devices of the
 * host's SMMU, a software one that this project's driver drives. A stage 2 has all of the guest's
 * RAM, but for the registers, at its own addresses.
 *
 * A thread is the VMM: it steps the virtual SMMU and polls the host's. Endpoints have StreamIDs of
 * their own on the host.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <iopf_iommu.h>
#include <iopf_pci.h>
#include <iopf_policy.h>
#include <smmuv3_front.h>

#include "arena.h"
#include "relay.h"

#include "../host/host.h"

#define SID_BASE	0x1000
#define ARENA_SIZE	((size_t)4 << 20)
#define IPA_BITS	48

static const uint32_t vsids[] = { 5, 0x203 };	/* of the device tree in row.sh */
#define FUNCTION_VSID	0x100			/* of the PCIe function */

static struct {
	struct iopf_iommu *iommu;
	struct iopf_poller *poller;
	struct iopf_domain *stage2;
	struct arena arena;
	struct pgt *pgt;
	struct relay *relay;
	struct smmuv3_model_dma *function;
	pthread_t thread;
	atomic_bool stop;
} vmm;

static bool
fail(const char *what)
{
	fprintf(stderr, "host: cannot %s: %s\n", what, rte_strerror(rte_errno));
	return false;
}

/* EAL pins the calling thread, and all others would inherit that. */
static bool
start_eal(void)
{
	static char *args[] = { "host", "--no-huge", "-m", "64", "--no-pci", "--no-telemetry",
		"--no-shconf", "--log-level=lib.eal:warning", NULL };
	cpu_set_t cpus;

	return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 &&
		rte_eal_init(RTE_DIM(args) - 1, args) >= 0 &&
		sched_setaffinity(0, sizeof(cpus), &cpus) == 0;
}

static void
on_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	RTE_SET_USED(iommu);
	RTE_SET_USED(ctx);
	if (vmm.relay != NULL)
		relay_report(vmm.relay, fault);
}

/* All of the guest's RAM is mapped. */
static enum iopf_verdict
on_stage2_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(group);
	RTE_SET_USED(ctx);
	return IOPF_ANSWER(IOPF_INVALID);
}

/* The host's SMMU has the model options of the row. */
static bool
open_host(struct lab_host *h)
{
	struct smmuv3_model_conf conf = h->opt.conf;

	conf.name = "host";
	conf.features |= SMMUV3_MODEL_S2;
	h->model = smmuv3_model_create(&conf);
	rte_errno = errno;
	if (h->model == NULL || smmuv3_model_start(h->model, -1) != 0)
		return fail("create the host's SMMU");
	vmm.iommu = iopf_iommu_open("smmuv3,model=host");
	/* The guest may be slow: no device gives up stalls for another. */
	if (vmm.iommu == NULL || iopf_iommu_configure(vmm.iommu, &(struct iopf_iommu_conf){
			.report = on_report, .share_ms = h->opt.limit * 1000 }) < 0)
		return fail("open the host's SMMU");
	return true;
}

static bool
make_stage2(struct lab_host *h)
{
	const uint64_t behind = LAB_REGS + LAB_REGS_SIZE - LAB_RAM;
	uint64_t ram, tables;

	vmm.arena = (struct arena){ .mem = aligned_alloc(1 << 16, ARENA_SIZE),
		.size = ARENA_SIZE };
	if (vmm.arena.mem == NULL)
		return fail("allocate tables");
	memset(vmm.arena.mem, 0, ARENA_SIZE);
	if (iopf_dma_map(vmm.iommu, vmm.arena.mem, ARENA_SIZE, &tables) < 0 ||
			iopf_dma_map(vmm.iommu, h->ram, h->ram_size, &ram) < 0)
		return fail("map memory for DMA");
	vmm.pgt = pgt_create(&(struct pgt_conf){ .stage2 = true, .va_bits = IPA_BITS,
			.mem = arena_pgt_mem(&vmm.arena) });
	if (vmm.pgt == NULL || pgt_map(vmm.pgt, LAB_RAM, ram, LAB_REGS - LAB_RAM,
			PGT_READ | PGT_WRITE | PGT_EXEC) < 0 ||
			pgt_map(vmm.pgt, LAB_RAM + behind, ram + behind, h->ram_size - behind,
				PGT_READ | PGT_WRITE | PGT_EXEC) < 0)
		return fail("map the guest's memory in its stage 2");
	vmm.stage2 = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = on_stage2_fault, .translation = {
			.format = IOPF_FORMAT_ARM64_S2, .root = pgt_root(vmm.pgt),
			.va_bits = IPA_BITS, .granule_log2 = pgt_granule_log2(vmm.pgt) } });
	return vmm.stage2 != NULL || fail("make the domain of stage 2");
}

/* A device may have all stalls, as on an SMMU of the guest's own. */
static bool
add_devices(void)
{
	const struct iopf_iommu_info *info = iopf_iommu_info(vmm.iommu);
	const struct iopf_dev_limits limits = { .stalls = info->max_stalls };

	for (unsigned int i = 0; i < RTE_DIM(vsids); i++) {
		const uint32_t sid = lab_smmu_get_sid(vsids[i]);
		struct iopf_dev *dev = iopf_dev_add(vmm.iommu, &(struct iopf_dev_conf){
			.sids = &sid, .nb_sids = 1, .nb_pasids = 1u << info->pasid_bits,
			.recover = info->max_stalls != 0 ? IOPF_STALL : IOPF_TERMINATE,
			.limits = info->max_stalls != 0 ? &limits : NULL });

		if (dev == NULL || relay_add_dev(vmm.relay, vsids[i], dev, sid) < 0)
			return fail("give the guest a device");
	}
	return true;
}

/*
 * The function is the guest's: the guest's driver switches its ATS and PRI on and off, as in the
 * configuration space of the function. The VMM switches them off before the function loses its STE.
 */
static int
enable_ats(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(stu);
	RTE_SET_USED(ctx);
	return 0;
}

static int
enable_pri(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(n);
	RTE_SET_USED(ctx);
	return 0;
}

/* An error: it is off. */
static int
disable_ats(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	smmuv3_model_dma_ats_disable(vmm.function);
	return 0;
}

static int
disable_pri(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	smmuv3_model_dma_pri_disable(vmm.function);
	return 0;
}

static bool
is_drained(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return smmuv3_model_dma_pri_drained(vmm.function);
}

static bool
add_function(struct lab_host *h)
{
	static const struct iopf_pci_ops ops = { .ats_enable = enable_ats,
		.ats_disable = disable_ats, .pri_enable = enable_pri,
		.pri_disable = disable_pri, .pri_drained = is_drained };
	const struct iopf_iommu_info *info = iopf_iommu_info(vmm.iommu);
	const uint32_t sid = lab_smmu_get_sid(FUNCTION_VSID);
	struct iopf_dev *dev;

	if (info->request_queue_size == 0)
		return true;
	vmm.function = lab_find_engine(h, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.kind = SMMUV3_MODEL_DMA_ATS });
	dev = iopf_dev_add(vmm.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
		.nb_pasids = 1u << info->pasid_bits, .recover = IOPF_PRI, .pci = &ops });
	if (vmm.function == NULL || dev == NULL ||
			relay_add_dev(vmm.relay, FUNCTION_VSID, dev, sid) < 0)
		return fail("give the guest a PCIe function");
	return true;
}

static void *
run_vmm(void *arg)
{
	RTE_SET_USED(arg);
	while (!atomic_load(&vmm.stop))
		if (relay_step(vmm.relay) + iopf_poll(vmm.poller) == 0)
			sched_yield();
	return NULL;
}

bool
lab_smmu_start(struct lab_host *h)
{
	if (!start_eal())
		return fail("start EAL");
	if (!open_host(h) || !make_stage2(h))
		return false;
	vmm.relay = relay_create(&(struct relay_conf){ .iommu = vmm.iommu, .parent = vmm.stage2,
		.regs = h->regs, .regs_size = LAB_REGS_SIZE, .mem_addr = LAB_RAM, .mem = h->ram,
		.mem_size = h->ram_size, .smmu = { .no_features = h->opt.conf.no_features } });
	rte_errno = errno;
	if (vmm.relay == NULL)
		return fail("create the virtual SMMU");
	vmm.poller = iopf_poller_create(NULL);
	if (!add_devices() || !add_function(h))
		return false;
	if (vmm.poller == NULL || iopf_poller_add(vmm.poller, vmm.iommu, IOPF_QUEUE_ALL) < 0 ||
			iopf_iommu_start(vmm.iommu) < 0)
		return fail("start the host's SMMU");
	return pthread_create(&vmm.thread, NULL, run_vmm, NULL) == 0 || fail("start the VMM");
}

void
lab_smmu_stop(struct lab_host *h)
{
	const struct relay_stats *stats = relay_get_stats(vmm.relay);
	struct smmuv3_front *front = relay_get_front(vmm.relay);

	atomic_store(&vmm.stop, true);
	pthread_join(vmm.thread, NULL);
	if (relay_reset(vmm.relay) < 0)
		lab_say("driver error: the devices of the guest cannot be cut off\n");
	for (unsigned int i = 0; i < smmuv3_front_errors(front); i++) {
		const char *text = smmuv3_front_error(front, i);

		lab_say("driver error: of the guest: %s\n", text != NULL ? text : "(no text)");
	}
	lab_say("relayed: %llu STEs, %llu invalidations, %llu stalls, %llu RESUMEs, %llu groups, "
		"%llu PRI_RESPs, %llu refused\n", (unsigned long long)stats->stes,
		(unsigned long long)stats->invalidations, (unsigned long long)stats->stalls,
		(unsigned long long)stats->resumes, (unsigned long long)stats->groups,
		(unsigned long long)stats->responses, (unsigned long long)stats->refused);
	smmuv3_model_stop(h->model);
}

uint32_t
lab_smmu_get_sid(uint32_t sid)
{
	return SID_BASE + sid;
}

void
lab_smmu_set_irq(struct lab_host *h, enum smmuv3_model_irq irq, int fd)
{
	RTE_SET_USED(h);
	smmuv3_front_irq_fd(relay_get_front(vmm.relay), irq, fd);
}
