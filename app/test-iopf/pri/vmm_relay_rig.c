/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include <iopf_iommu.h>
#include <iopf_pci.h>

#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_relay_rig.h"


struct vm_host vm_host;

uint64_t
vm_get_ipa(const struct vm *v, uint32_t offset)
{
	return v->page.mem_addr + offset;
}

void
vm_set_dw(struct vm *v, uint32_t offset, uint64_t value)
{
	smmuv3_set_dw((uint64_t *)(void *)(v->mem + offset), value);
}

static unsigned int
step(void)
{
	unsigned int n = 0;

	for (unsigned int k = 0; k < VM_COUNT; k++)
		n += vm_host.vm[k].relay != NULL ? relay_step(vm_host.vm[k].relay) : 0;
	n += smmuv3_model_step(vm_host.m, 256);
	return n + iopf_poll(vm_host.poller);
}

void
vm_run(void)
{
	for (unsigned int idle = 0, i = 0; idle < 4; i++) {
		assert_in_range(i, 0, 100000);
		idle = step() == 0 ? idle + 1 : 0;
	}
}

void
vm_run_some(unsigned int steps)
{
	while (steps-- > 0)
		step();
}

enum smmuv3_model_status
vm_dev_wait_done(struct vm_dev *d)
{
	const uint64_t end = rte_rdtsc() + rte_get_tsc_hz() * 60;
	struct smmuv3_model_done done;

	while (smmuv3_model_dma_poll(d->dma, &done, 1) == 0) {
		if (rte_rdtsc() > end)
			fail_msg("it does not end within a minute");
		step();
	}
	return done.status;
}

void
vm_put(struct vm *v, struct smmuv3_cmd cmd)
{
	uint32_t prod = smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD);

	memcpy(v->mem + VM_CMDQ + sizeof(cmd) * smmuv3_q_slot(VM_CMDQ_LOG2, prod), &cmd,
			sizeof(cmd));
	smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, smmuv3_q_add(VM_CMDQ_LOG2, prod, 1));
}

const struct smmuv3_cmd vm_sync_cmd = { .dw = { SMMUV3_OP_SYNC, 0 } };

void
vm_sync(struct vm *v)
{
	vm_put(v, vm_sync_cmd);
	vm_run();
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS),
			smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD));
}

void
vm_boot(struct vm *v)
{
	const bool pri = vm_host.conf.pri && !vm_host.conf.no_ats;
	const uint32_t queues = SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
		(pri ? SMMUV3_CR0_PRIQEN : 0);

	memset(v->mem, 0, VM_MEM_SIZE);
	smmuv3_write32(v->regs, SMMUV3_CR0, 0);
	vm_run();
	smmuv3_write32(v->regs, SMMUV3_GERRORN, smmuv3_read32(v->regs, SMMUV3_GERROR));
	smmuv3_write64(v->regs, SMMUV3_CMDQ_BASE, vm_get_ipa(v, VM_CMDQ) | VM_CMDQ_LOG2);
	smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(v->regs, SMMUV3_CMDQ_CONS, 0);
	smmuv3_write64(v->regs, SMMUV3_EVENTQ_BASE, vm_get_ipa(v, VM_EVTQ) | VM_EVTQ_LOG2);
	smmuv3_write32(v->regs, SMMUV3_EVENTQ_PROD, 0);
	smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS, 0);
	v->evt_cons = 0;
	if (pri) {
		smmuv3_write64(v->regs, SMMUV3_PRIQ_BASE, vm_get_ipa(v, VM_PRIQ) | VM_PRIQ_LOG2);
		smmuv3_write32(v->regs, SMMUV3_PRIQ_PROD, 0);
		smmuv3_write32(v->regs, SMMUV3_PRIQ_CONS, 0);
		v->ppr_cons = 0;
	}
	smmuv3_write64(v->regs, SMMUV3_STRTAB_BASE, vm_get_ipa(v, VM_STRTAB));
	smmuv3_write32(v->regs, SMMUV3_STRTAB_BASE_CFG, 4);
	vm_run();
	smmuv3_write32(v->regs, SMMUV3_CR0, queues);
	vm_run();
	smmuv3_write32(v->regs, SMMUV3_CR0, queues | SMMUV3_CR0_SMMUEN);
	vm_run();
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CR0ACK), queues | SMMUV3_CR0_SMMUEN);
	vm_set_dw(v, VM_CDS, SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_R |
			SMMUV3_CD0_A | SMMUV3_CD0_ASET |
			(vm_host.conf.pri ? 0 : SMMUV3_CD0_S) |
			SMMUV3_PUT(SMMUV3_CD0_ASID, VM_ASID) | SMMUV3_PUT(SMMUV3_CD0_T0SZ, 25) |
			SMMUV3_PUT(SMMUV3_CD0_IPS, 2));
	vm_set_dw(v, VM_CDS + 8, vm_get_ipa(v, VM_L1));
	vm_set_dw(v, VM_CDS + 24, 0xff);
	vm_set_dw(v, VM_L1 + (VM_VA(0) >> 30 & 511) * 8, vm_get_ipa(v, VM_L2) | 3);
	vm_set_dw(v, VM_L2 + (VM_VA(0) >> 21 & 511) * 8, vm_get_ipa(v, VM_L3) | 3);
	for (unsigned int i = 0; i < VM_DEVS; i++)
		vm_write_ste(v, i, pri ? SMMUV3_EATS_FULL : SMMUV3_EATS_OFF);
	vm_sync(v);
}

void
vm_write_ste(struct vm *v, unsigned int i, unsigned int eats)
{
	const uint32_t at = VM_STRTAB + (VM_SID + i) * 64;

	vm_set_dw(v, at + 8, SMMUV3_PUT(SMMUV3_STE1_EATS, eats));
	vm_set_dw(v, at, SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
			vm_get_ipa(v, VM_CDS));
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID + i, true));
}

void
vm_map(struct vm *v, unsigned int page, unsigned int at)
{
	vm_set_dw(v, VM_L3 + (VM_VA(page) >> 12 & 511) * 8,
			vm_get_ipa(v, VM_DATA + at * VM_PAGE) | VM_LEAF);
}

void
vm_unmap(struct vm *v, unsigned int page)
{
	vm_set_dw(v, VM_L3 + (VM_VA(page) >> 12 & 511) * 8, 0);
	vm_put(v, smmuv3_cmd_tlbi_nh_va(0, VM_ASID, VM_VA(page), true));
	vm_sync(v);
}

void
vm_dev_write(struct vm_dev *d, unsigned int page, const void *data, size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(d->dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = VM_VA(page), .buf = (void *)(uintptr_t)data,
		.len = len }), 0);
}

void
vm_dev_submit(struct vm_dev *d, unsigned int page, const uint64_t *value)
{
	vm_dev_write(d, page, value, sizeof(*value));
	vm_run();
}

enum smmuv3_model_status
vm_dev_take_done(struct vm_dev *d)
{
	struct smmuv3_model_done done;

	assert_int_equal(smmuv3_model_dma_poll(d->dma, &done, 1), 1);
	return done.status;
}

void
vm_submit(struct vm *v, unsigned int page, const uint64_t *value)
{
	vm_dev_submit(&v->dev[0], page, value);
}

enum smmuv3_model_status
vm_take_done(struct vm *v)
{
	return vm_dev_take_done(&v->dev[0]);
}

uint64_t
vm_read_data(const struct vm *v, unsigned int at)
{
	uint64_t value;

	memcpy(&value, v->mem + VM_DATA + at * VM_PAGE, sizeof(value));
	return value;
}

void
vm_dev_expect_write(struct vm_dev *d, unsigned int page, unsigned int at)
{
	static uint64_t serial = 1000;
	const uint64_t value = serial++;

	vm_dev_submit(d, page, &value);
	assert_int_equal(vm_dev_take_done(d), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(d->vm, at), value);
}

void
vm_expect_write(struct vm *v, unsigned int page, unsigned int at)
{
	vm_dev_expect_write(&v->dev[0], page, at);
}

uint16_t
vm_dev_take_stall(struct vm_dev *d, unsigned int page)
{
	struct vm *v = d->vm;
	struct smmuv3_evt evt;

	assert_int_not_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), v->evt_cons);
	memcpy(&evt, v->mem + VM_EVTQ + smmuv3_q_slot(VM_EVTQ_LOG2, v->evt_cons) * sizeof(evt),
			sizeof(evt));
	v->evt_cons = smmuv3_q_add(VM_EVTQ_LOG2, v->evt_cons, 1);
	smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS, v->evt_cons);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_ID, evt.dw[0]), SMMUV3_F_TRANSLATION);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_SID, evt.dw[0]), d->vsid);
	assert_true(evt.dw[1] & SMMUV3_EVT1_STALL);
	assert_false(evt.dw[1] & (SMMUV3_EVT1_RNW | SMMUV3_EVT1_S2));
	assert_int_equal(evt.dw[2], VM_VA(page));
	return (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG, evt.dw[1]);
}

uint16_t
vm_take_stall(struct vm *v, unsigned int page)
{
	return vm_dev_take_stall(&v->dev[0], page);
}

struct smmuv3_ppr
vm_take_ppr(struct vm *v)
{
	struct smmuv3_ppr ppr;

	assert_int_not_equal(smmuv3_q_pos(VM_PRIQ_LOG2, smmuv3_read32(v->regs, SMMUV3_PRIQ_PROD)),
			v->ppr_cons);
	memcpy(&ppr, v->mem + VM_PRIQ + smmuv3_q_slot(VM_PRIQ_LOG2, v->ppr_cons) * sizeof(ppr),
			sizeof(ppr));
	v->ppr_cons = smmuv3_q_add(VM_PRIQ_LOG2, v->ppr_cons, 1);
	/* An overflow is not acknowledged. */
	smmuv3_write32(v->regs, SMMUV3_PRIQ_CONS, v->ppr_cons |
			(smmuv3_read32(v->regs, SMMUV3_PRIQ_CONS) & SMMUV3_Q_OVFLG));
	return ppr;
}

uint16_t
vm_dev_take_request(struct vm_dev *d, unsigned int page)
{
	const struct smmuv3_ppr ppr = vm_take_ppr(d->vm);

	assert_int_equal(ppr.dw[0], SMMUV3_PUT(SMMUV3_PPR0_SID, d->vsid) |
			SMMUV3_PPR0_W | SMMUV3_PPR0_LAST);
	assert_int_equal(ppr.dw[1] & ~SMMUV3_PPR1_PRGINDEX, VM_VA(page));
	return (uint16_t)SMMUV3_GET(SMMUV3_PPR1_PRGINDEX, ppr.dw[1]);
}

static void
on_report(struct iopf_iommu *smmu, const struct iopf_fault *fault, void *ctx)
{
	RTE_SET_USED(smmu);
	RTE_SET_USED(ctx);
	for (unsigned int i = 0; i < VM_COUNT; i++)
		if (vm_host.vm[i].relay != NULL)
			relay_report(vm_host.vm[i].relay, fault);
}

static enum iopf_verdict
on_stage2_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(group);
	RTE_SET_USED(ctx);
	return IOPF_ANSWER(IOPF_INVALID);
}

/*
 * The operations of a device, which is the guest's: the VMM lets it have the ATS and PRI that the
 * guest's STE asks for.
 */
static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	struct vm_dev *d = ctx;

	RTE_SET_USED(dev);
	return relay_uses_ats(d->vm->relay, d->vsid) ?
		smmuv3_model_dma_ats_enable(d->dma, stu) : 0;
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	struct vm_dev *d = ctx;

	RTE_SET_USED(dev);
	/* An error: it is off. */
	smmuv3_model_dma_ats_disable(d->dma);
	return 0;
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	struct vm_dev *d = ctx;

	RTE_SET_USED(dev);
	return relay_uses_ats(d->vm->relay, d->vsid) ? smmuv3_model_dma_pri_enable(d->dma, n) : 0;
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	struct vm_dev *d = ctx;

	RTE_SET_USED(dev);
	/* An error: it is off. */
	smmuv3_model_dma_pri_disable(d->dma);
	return 0;
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	const struct vm_dev *d = ctx;

	RTE_SET_USED(dev);
	return smmuv3_model_dma_pri_drained(d->dma);
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = ats_enable,
	.ats_disable = ats_disable,
	.pri_enable = pri_enable,
	.pri_disable = pri_disable,
	.pri_drained = pri_drained,
};

void
vm_create_relay(struct vm *v)
{
	v->relay = relay_create(&(struct relay_conf){ .iommu = vm_host.smmu, .parent = v->stage2,
		.regs = v->regs, .regs_size = v->page.regs_size, .mem_addr = v->page.mem_addr,
		.mem = v->mem, .mem_size = VM_MEM_SIZE, .no_ats = vm_host.conf.no_ats,
		.deadline_ms = v == vm_host.vm ? vm_host.conf.deadline_ms : 0 });
	assert_non_null(v->relay);
	for (unsigned int i = 0; i < VM_DEVS; i++) {
		const struct vm_dev *d = &v->dev[i];

		assert_int_equal(relay_add_dev(v->relay, d->vsid, d->dev, d->sid), 0);
		assert_int_equal(relay_add_dev(v->relay, d->vsid, d->dev, d->sid), -EINVAL);
		assert_int_equal(relay_add_dev(v->relay, 1u << 16, d->dev, d->sid), -EINVAL);
	}
}

static void
add_dev(struct vm *v, unsigned int i, uint32_t sid)
{
	const bool pri = vm_host.conf.pri;
	struct vm_dev *d = &v->dev[i];

	*d = (struct vm_dev){ .vm = v, .vsid = VM_SID + i, .sid = sid };
	d->dev = iopf_dev_add(vm_host.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
		.nb_pasids = 16,
		.recover = pri ? IOPF_PRI : IOPF_STALL, .pri_requests = pri ? VM_CREDITS : 0,
		.pci = pri ? &pci_ops : NULL, .ctx = d });
	assert_non_null(d->dev);
	d->dma = smmuv3_model_dma_create(vm_host.m, &(struct smmuv3_model_dma_conf){ .sid = sid,
		.kind = pri ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN, .group_pages = 4 });
	assert_non_null(d->dma);
}

static void
add_vm(struct vm *v, uint32_t sid)
{
	uint64_t addr;

	assert_int_equal(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
		.mem_size = VM_MEM_SIZE }, &v->page), 0);
	v->regs = v->page.regs;
	v->mem = v->page.mem;
	assert_int_equal(iopf_dma_map(vm_host.smmu, v->mem, VM_MEM_SIZE, &addr), 0);
	v->pgt = pgt_create(&(struct pgt_conf){ .stage2 = true, .va_bits = 36,
		.mem = arena_pgt_mem(&vm_host.arena) });
	assert_non_null(v->pgt);
	assert_int_equal(pgt_map(v->pgt, v->page.mem_addr, addr, VM_MEM_SIZE,
			PGT_READ | PGT_WRITE), 0);
	v->stage2 = iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_stage2_fault,
		.translation = { .format = IOPF_FORMAT_ARM64_S2, .root = pgt_root(v->pgt),
			.va_bits = 36, .granule_log2 = 12 } });
	assert_non_null(v->stage2);
	for (unsigned int i = 0; i < VM_DEVS; i++)
		add_dev(v, i, sid + i);
	vm_create_relay(v);
}

void
vm_open(const struct vm_conf *conf)
{
	uint64_t addr;

	vm_host = (struct vm_host){ .conf = *conf };
	vm_host.m = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "relay",
		.features = SMMUV3_MODEL_S2 |
			(conf->pri ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0),
		.choices = SMMUV3_MODEL_STICKY_TLB,
		.harsh = SMMUV3_MODEL_HARSH_LATE |
			(conf->any_asids ? 0 : SMMUV3_MODEL_HARSH_ASIDS),
		.tlb_log2 = conf->tlb_log2 });
	assert_non_null(vm_host.m);
	vm_host.smmu = iopf_iommu_open("smmuv3,model=relay");
	assert_non_null(vm_host.smmu);
	assert_int_equal(iopf_iommu_configure(vm_host.smmu, &(struct iopf_iommu_conf){
		.report = on_report, .partial_ms = conf->partial_ms }), 0);
	vm_host.arena = (struct arena){ .mem = aligned_alloc(1 << 16, VM_ARENA_SIZE),
		.size = VM_ARENA_SIZE };
	memset(vm_host.arena.mem, 0, VM_ARENA_SIZE);
	assert_int_equal(iopf_dma_map(vm_host.smmu, vm_host.arena.mem, VM_ARENA_SIZE, &addr), 0);
	vm_host.poller = iopf_poller_create(NULL);
	assert_int_equal(iopf_poller_add(vm_host.poller, vm_host.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(vm_host.smmu), 0);
	for (unsigned int i = 0; i < VM_COUNT; i++)
		add_vm(&vm_host.vm[i], 8 + i * VM_DEVS);
}

int
vm_setup(void **state)
{
	(void)state;
	vm_open(&(struct vm_conf){ .pri = false });
	return 0;
}

int
vm_teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VM_COUNT; i++) {
		struct vm *v = &vm_host.vm[i];

		assert_int_equal(relay_destroy(v->relay), 0);
		v->relay = NULL;
		vm_run();
		for (unsigned int k = 0; k < VM_DEVS; k++) {
			smmuv3_model_dma_destroy(v->dev[k].dma);
			assert_int_equal(iopf_dev_remove(v->dev[k].dev), 0);
		}
		assert_int_equal(iopf_domain_destroy(v->stage2), 0);
		pgt_destroy(v->pgt);
		assert_int_equal(iopf_dma_unmap(vm_host.smmu, v->mem, VM_MEM_SIZE,
				(uintptr_t)v->mem), 0);
		smmuv3_model_page_destroy(&v->page);
	}
	assert_int_equal(iopf_iommu_stop(vm_host.smmu), 0);
	assert_int_equal(iopf_poller_destroy(vm_host.poller), 0);
	assert_int_equal(iopf_dma_unmap(vm_host.smmu, vm_host.arena.mem, VM_ARENA_SIZE,
			(uintptr_t)vm_host.arena.mem), 0);
	assert_int_equal(iopf_iommu_close(vm_host.smmu), 0);
	for (unsigned int i = 0; smmuv3_model_driver_error(vm_host.m, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(vm_host.m, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(vm_host.m, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(vm_host.m, i));
	assert_int_equal(smmuv3_model_driver_errors(vm_host.m), 0);
	assert_int_equal(smmuv3_model_oracle_errors(vm_host.m), 0);
	smmuv3_model_destroy(vm_host.m);
	free(vm_host.arena.mem);
	return 0;
}
