/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The virtual SMMU of examples/vmm-relay. The test writes registers, queues and tables as a guest's
 * driver does. All guests have the same IPAs, VAs, StreamID and ASID, and share the host's SMMU,
 * whose TLB keeps each entry that no command removes.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include <iopf_iommu.h>

#include "arena.h"
#include "relay.h"
#include "smmuv3_cmd.h"
#include "smmuv3_model.h"
#include "smmuv3_model_page.h"
#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "test.h"

#define VSID		3
#define ASID		7
#define NB_VMS		2
#define PAGE		4096u
#define MEM_SIZE	(1u << 20)
#define ARENA_SIZE	((size_t)2 << 20)
#define VA(page)	(UINT64_C(0x1234400000) + (uint64_t)(page) * PAGE)
#define CMDQ_LOG2	6
#define EVTQ_LOG2	5

/* Offsets in the guest's memory. */
#define CMDQ		0x10000u
#define EVTQ		0x11000u
#define STRTAB		0x12000u
#define CDS		0x13000u
#define L1		0x14000u
#define L2		0x15000u
#define L3		0x16000u
#define DATA		0x20000u

/* nG, AF, ISH, unprivileged, RW */
#define LEAF		(UINT64_C(3) | 1 << 11 | 1 << 10 | 3 << 8 | 1 << 6)

struct vm {
	struct smmuv3_model_page page;
	struct pgt *pgt;
	struct iopf_domain *stage2;
	struct iopf_dev *dev;
	struct smmuv3_model_dma *dma;
	struct relay *relay;
	uint8_t *regs, *mem;
	uint32_t evt_cons;
};

static struct {
	struct smmuv3_model *m;
	struct iopf_iommu *smmu;
	struct iopf_poller *poller;
	struct arena arena;
	struct vm vm[NB_VMS];
} host;

static uint64_t
get_ipa(const struct vm *v, uint32_t offset)
{
	return v->page.mem_addr + offset;
}

static void
set_dw(struct vm *v, uint32_t offset, uint64_t value)
{
	smmuv3_set_dw((uint64_t *)(void *)(v->mem + offset), value);
}

/* Everything that the guests have written takes effect, and everything of their devices happens. */
static void
run(void)
{
	for (unsigned int idle = 0, i = 0; idle < 4; i++) {
		unsigned int n = 0;

		assert_in_range(i, 0, 100000);
		for (unsigned int k = 0; k < NB_VMS; k++)
			n += host.vm[k].relay != NULL ? relay_step(host.vm[k].relay) : 0;
		n += smmuv3_model_step(host.m, 256);
		n += iopf_poll(host.poller);
		idle = n == 0 ? idle + 1 : 0;
	}
}

static void
put(struct vm *v, struct smmuv3_cmd cmd)
{
	uint32_t prod = smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD);

	memcpy(v->mem + CMDQ + sizeof(cmd) * smmuv3_q_slot(CMDQ_LOG2, prod), &cmd, sizeof(cmd));
	smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, smmuv3_q_add(CMDQ_LOG2, prod, 1));
}

static const struct smmuv3_cmd sync_cmd = { .dw = { SMMUV3_OP_SYNC, 0 } };

static void
sync_guest(struct vm *v)
{
	put(v, sync_cmd);
	run();
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS),
			smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD));
}

/* Switch the virtual SMMU on, with the device's STE, CD and tables. No page is mapped. */
static void
boot(struct vm *v)
{
	const uint32_t queues = SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN;

	memset(v->mem, 0, MEM_SIZE);
	smmuv3_write32(v->regs, SMMUV3_CR0, 0);
	run();
	smmuv3_write32(v->regs, SMMUV3_GERRORN, smmuv3_read32(v->regs, SMMUV3_GERROR));
	smmuv3_write64(v->regs, SMMUV3_CMDQ_BASE, get_ipa(v, CMDQ) | CMDQ_LOG2);
	smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(v->regs, SMMUV3_CMDQ_CONS, 0);
	smmuv3_write64(v->regs, SMMUV3_EVENTQ_BASE, get_ipa(v, EVTQ) | EVTQ_LOG2);
	smmuv3_write32(v->regs, SMMUV3_EVENTQ_PROD, 0);
	smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS, 0);
	v->evt_cons = 0;
	smmuv3_write64(v->regs, SMMUV3_STRTAB_BASE, get_ipa(v, STRTAB));
	smmuv3_write32(v->regs, SMMUV3_STRTAB_BASE_CFG, 4);
	run();
	smmuv3_write32(v->regs, SMMUV3_CR0, queues);
	run();
	smmuv3_write32(v->regs, SMMUV3_CR0, queues | SMMUV3_CR0_SMMUEN);
	run();
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CR0ACK), queues | SMMUV3_CR0_SMMUEN);
	set_dw(v, CDS, SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_R |
			SMMUV3_CD0_A | SMMUV3_CD0_ASET | SMMUV3_CD0_S |
			SMMUV3_PUT(SMMUV3_CD0_ASID, ASID) | SMMUV3_PUT(SMMUV3_CD0_T0SZ, 25) |
			SMMUV3_PUT(SMMUV3_CD0_IPS, 2));
	set_dw(v, CDS + 8, get_ipa(v, L1));
	set_dw(v, CDS + 24, 0xff);
	set_dw(v, L1 + (VA(0) >> 30 & 511) * 8, get_ipa(v, L2) | 3);
	set_dw(v, L2 + (VA(0) >> 21 & 511) * 8, get_ipa(v, L3) | 3);
	set_dw(v, STRTAB + VSID * 64, SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
			get_ipa(v, CDS));
	put(v, smmuv3_cmd_cfgi_ste(VSID, true));
	sync_guest(v);
}

/* VA page @p page is at data page @p at. */
static void
map(struct vm *v, unsigned int page, unsigned int at)
{
	set_dw(v, L3 + (VA(page) >> 12 & 511) * 8, get_ipa(v, DATA + at * PAGE) | LEAF);
}

static void
unmap(struct vm *v, unsigned int page)
{
	set_dw(v, L3 + (VA(page) >> 12 & 511) * 8, 0);
	put(v, smmuv3_cmd_tlbi_nh_va(0, ASID, VA(page), true));
	sync_guest(v);
}

static void
submit(struct vm *v, unsigned int page, const uint64_t *value)
{
	assert_int_equal(smmuv3_model_dma_submit(v->dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = VA(page), .buf = (void *)(uintptr_t)value,
		.len = sizeof(*value) }), 0);
	run();
}

static enum smmuv3_model_status
take_done(struct vm *v)
{
	struct smmuv3_model_done done;

	assert_int_equal(smmuv3_model_dma_poll(v->dma, &done, 1), 1);
	return done.status;
}

static uint64_t
read_data(const struct vm *v, unsigned int at)
{
	uint64_t value;

	memcpy(&value, v->mem + DATA + at * PAGE, sizeof(value));
	return value;
}

/* A write of the device reaches this data page of its guest. */
static void
expect_write(struct vm *v, unsigned int page, unsigned int at)
{
	static uint64_t serial = 1000;
	const uint64_t value = serial++;

	submit(v, page, &value);
	assert_int_equal(take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(read_data(v, at), value);
}

/* The next record of the guest's event queue is a stall at @p page; returns its STAG. */
static uint16_t
take_stall(struct vm *v, unsigned int page)
{
	struct smmuv3_evt evt;

	assert_int_not_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), v->evt_cons);
	memcpy(&evt, v->mem + EVTQ + smmuv3_q_slot(EVTQ_LOG2, v->evt_cons) * sizeof(evt),
			sizeof(evt));
	v->evt_cons = smmuv3_q_add(EVTQ_LOG2, v->evt_cons, 1);
	smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS, v->evt_cons);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_ID, evt.dw[0]), SMMUV3_F_TRANSLATION);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_SID, evt.dw[0]), VSID);
	assert_true(evt.dw[1] & SMMUV3_EVT1_STALL);
	assert_false(evt.dw[1] & (SMMUV3_EVT1_RNW | SMMUV3_EVT1_S2));
	assert_int_equal(evt.dw[2], VA(page));
	return (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG, evt.dw[1]);
}

static void
on_report(struct iopf_iommu *smmu, const struct iopf_fault *fault, void *ctx)
{
	RTE_SET_USED(smmu);
	RTE_SET_USED(ctx);
	for (unsigned int i = 0; i < NB_VMS; i++)
		if (host.vm[i].relay != NULL)
			relay_report(host.vm[i].relay, fault);
}

static enum iopf_verdict
on_stage2_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(group);
	RTE_SET_USED(ctx);
	return IOPF_ANSWER(IOPF_INVALID);
}

static void
add_vm(struct vm *v, uint32_t sid)
{
	uint64_t addr;

	assert_int_equal(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
		.mem_size = MEM_SIZE }, &v->page), 0);
	v->regs = v->page.regs;
	v->mem = v->page.mem;
	assert_int_equal(iopf_dma_map(host.smmu, v->mem, MEM_SIZE, &addr), 0);
	v->pgt = pgt_create(&(struct pgt_conf){ .stage2 = true, .va_bits = 36,
		.mem = arena_pgt_mem(&host.arena) });
	assert_non_null(v->pgt);
	assert_int_equal(pgt_map(v->pgt, v->page.mem_addr, addr, MEM_SIZE, PGT_READ | PGT_WRITE),
			0);
	v->stage2 = iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_stage2_fault,
		.translation = { .format = IOPF_FORMAT_ARM64_S2, .root = pgt_root(v->pgt),
			.va_bits = 36, .granule_log2 = 12 } });
	assert_non_null(v->stage2);
	v->dev = iopf_dev_add(host.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(v->dev);
	v->dma = smmuv3_model_dma_create(host.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(v->dma);
	v->relay = relay_create(&(struct relay_conf){ .iommu = host.smmu, .parent = v->stage2,
		.regs = v->regs, .regs_size = v->page.regs_size, .mem_addr = v->page.mem_addr,
		.mem = v->mem, .mem_size = MEM_SIZE });
	assert_non_null(v->relay);
	assert_int_equal(relay_add_dev(v->relay, VSID, v->dev, sid), 0);
	assert_int_equal(relay_add_dev(v->relay, VSID, v->dev, sid), -EINVAL);
	assert_int_equal(relay_add_dev(v->relay, 16, v->dev, sid), -EINVAL);
}

static int
setup(void **state)
{
	uint64_t addr;

	(void)state;
	memset(&host, 0, sizeof(host));
	host.m = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "relay",
		.features = SMMUV3_MODEL_S2, .choices = SMMUV3_MODEL_STICKY_TLB,
		.harsh = SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE });
	assert_non_null(host.m);
	host.smmu = iopf_iommu_open("smmuv3,model=relay");
	assert_non_null(host.smmu);
	assert_int_equal(iopf_iommu_configure(host.smmu, &(struct iopf_iommu_conf){
		.report = on_report }), 0);
	host.arena = (struct arena){ .mem = aligned_alloc(1 << 16, ARENA_SIZE),
		.size = ARENA_SIZE };
	memset(host.arena.mem, 0, ARENA_SIZE);
	assert_int_equal(iopf_dma_map(host.smmu, host.arena.mem, ARENA_SIZE, &addr), 0);
	host.poller = iopf_poller_create(NULL);
	assert_int_equal(iopf_poller_add(host.poller, host.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(host.smmu), 0);
	for (unsigned int i = 0; i < NB_VMS; i++)
		add_vm(&host.vm[i], 8 + i);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < NB_VMS; i++) {
		struct vm *v = &host.vm[i];

		assert_int_equal(relay_destroy(v->relay), 0);
		v->relay = NULL;
		run();
		smmuv3_model_dma_destroy(v->dma);
		assert_int_equal(iopf_dev_remove(v->dev), 0);
		assert_int_equal(iopf_domain_destroy(v->stage2), 0);
		pgt_destroy(v->pgt);
		assert_int_equal(iopf_dma_unmap(host.smmu, v->mem, MEM_SIZE, (uintptr_t)v->mem),
				0);
		smmuv3_model_page_destroy(&v->page);
	}
	assert_int_equal(iopf_iommu_stop(host.smmu), 0);
	assert_int_equal(iopf_poller_destroy(host.poller), 0);
	assert_int_equal(iopf_dma_unmap(host.smmu, host.arena.mem, ARENA_SIZE,
			(uintptr_t)host.arena.mem), 0);
	assert_int_equal(iopf_iommu_close(host.smmu), 0);
	for (unsigned int i = 0; smmuv3_model_driver_error(host.m, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(host.m, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(host.m, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(host.m, i));
	assert_int_equal(smmuv3_model_driver_errors(host.m), 0);
	assert_int_equal(smmuv3_model_oracle_errors(host.m), 0);
	smmuv3_model_destroy(host.m);
	free(host.arena.mem);
	return 0;
}

static void
test_accesses_pass_both_stages_of_their_own_guest(void **state)
{
	static const uint64_t value = 5;

	(void)state;
	for (unsigned int i = 0; i < NB_VMS; i++) {
		boot(&host.vm[i]);
		map(&host.vm[i], 1, 2 + i);
	}
	for (unsigned int i = 0; i < NB_VMS; i++)
		expect_write(&host.vm[i], 1, 2 + i);
	/* An IPA that is none of the guest's memory. */
	set_dw(&host.vm[0], L3 + (VA(4) >> 12 & 511) * 8, (get_ipa(&host.vm[0], MEM_SIZE)) | LEAF);
	submit(&host.vm[0], 4, &value);
	assert_int_equal(take_done(&host.vm[0]), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_read32(host.vm[0].regs, SMMUV3_EVENTQ_PROD), 0);
}

static void
test_invalidations_reach_the_caches_of_their_own_guest(void **state)
{
	static const uint64_t value = 6;
	struct vm *v = &host.vm[0], *other = &host.vm[1];
	uint16_t stag;

	(void)state;
	boot(v);
	boot(other);
	map(v, 1, 1);
	map(other, 1, 1);
	expect_write(v, 1, 1);
	expect_write(other, 1, 1);
	/* The same command of the other guest removes nothing here. */
	map(v, 1, 2);
	put(other, smmuv3_cmd_tlbi_nh_va(0, ASID, VA(1), true));
	sync_guest(other);
	expect_write(v, 1, 1);
	smmuv3_model_oracle_errors_clear(host.m);
	put(v, smmuv3_cmd_tlbi_nh_va(0, ASID, VA(1), true));
	sync_guest(v);
	expect_write(v, 1, 2);
	unmap(v, 1);
	submit(v, 1, &value);
	stag = take_stall(v, 1);
	put(v, smmuv3_cmd_resume(VSID, stag, false, true));
	sync_guest(v);
	assert_int_equal(take_done(v), SMMUV3_MODEL_ABORTED);
	expect_write(other, 1, 1);
}

static void
test_a_stall_is_answered_by_its_own_guest(void **state)
{
	static const uint64_t values[NB_VMS] = { 11, 12 };
	struct vm *v = &host.vm[0], *other = &host.vm[1];
	uint16_t stag, other_stag;

	(void)state;
	boot(v);
	boot(other);
	submit(v, 1, &values[0]);
	submit(other, 1, &values[1]);
	stag = take_stall(v, 1);
	other_stag = take_stall(other, 1);
	assert_int_equal(stag, other_stag);
	/* Of another StreamID, of no stall, of the other guest. */
	put(v, smmuv3_cmd_resume(VSID + 1, stag, true, false));
	put(v, smmuv3_cmd_resume(VSID, stag + 1, true, false));
	put(v, smmuv3_cmd_resume(VSID, 0xffff, true, false));
	map(other, 1, 1);
	put(other, smmuv3_cmd_resume(VSID, stag, true, false));
	sync_guest(v);
	sync_guest(other);
	assert_int_equal(take_done(other), SMMUV3_MODEL_OK);
	assert_int_equal(read_data(other, 1), values[1]);
	assert_int_equal(smmuv3_model_dma_outstanding(v->dma), 1);
	assert_int_equal(relay_count_stalls(v->relay), 1);
	map(v, 1, 3);
	put(v, smmuv3_cmd_resume(VSID, stag, true, false));
	/* Twice: the second one has no effect. */
	put(v, smmuv3_cmd_resume(VSID, stag, false, true));
	sync_guest(v);
	assert_int_equal(take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(read_data(v, 3), values[0]);
	assert_int_equal(relay_count_stalls(v->relay), 0);
}

static void
test_a_guest_that_stops_leaves_nothing_stalled(void **state)
{
	static const uint64_t value = 13;
	struct vm *v = &host.vm[0];

	(void)state;
	for (unsigned int how = 0; how < 4; how++) {
		boot(v);
		submit(v, 1, &value);
		take_stall(v, 1);
		switch (how) {
		case 0:
			smmuv3_write32(v->regs, SMMUV3_CR0, 0);
			break;
		case 1:
			put(v, (struct smmuv3_cmd){ .dw = { SMMUV3_OP_STALL_TERM |
					(uint64_t)VSID << 32, 0 } });
			break;
		case 2:
			set_dw(v, STRTAB + VSID * 64, 0);
			put(v, smmuv3_cmd_cfgi_ste(VSID, true));
			break;
		default:
			assert_int_equal(relay_reset(v->relay), 0);
			break;
		}
		run();
		assert_int_equal(take_done(v), SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_stalls_outstanding(host.m), 0);
	}
	/* And it can come back. */
	boot(v);
	map(v, 1, 1);
	expect_write(v, 1, 1);
}

/* Stalls beyond the guest's queue wait for room in it. */
static void
test_a_full_event_queue_of_a_guest_delays_its_own_stalls(void **state)
{
	static const uint64_t value = 14;
	struct vm *v = &host.vm[0], *other = &host.vm[1];
	const unsigned int n = (1u << EVTQ_LOG2) + 8;

	(void)state;
	boot(v);
	boot(other);
	map(other, 1, 1);
	for (unsigned int i = 0; i < n; i++)
		submit(v, i, &value);
	assert_int_equal(relay_count_stalls(v->relay), n);
	expect_write(other, 1, 1);
	for (unsigned int i = 0; i < n; i++) {
		uint16_t stag;

		stag = take_stall(v, i);
		map(v, i, i);
		put(v, smmuv3_cmd_resume(VSID, stag, true, false));
		sync_guest(v);
		assert_int_equal(take_done(v), SMMUV3_MODEL_OK);
	}
	assert_int_equal(relay_count_stalls(v->relay), 0);
}

static void
test_stes_that_a_guest_must_not_have_cut_the_device_off(void **state)
{
	static const uint64_t value = 15;
	struct vm *v = &host.vm[0];
	const uint64_t good = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		get_ipa(v, CDS);
	const uint64_t bad[][2] = {
		{ 0, 0 }, { SMMUV3_STE0_V, 0 },
		{ SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, 6), 0 },
		{ SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, 7) | get_ipa(v, CDS), 0 },
		{ good | UINT64_C(1) << 50, 0 },
		{ good, SMMUV3_PUT(SMMUV3_STE1_STRW, 2) },
		{ good, SMMUV3_PUT(SMMUV3_STE1_EATS, 1) },
	};

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	for (unsigned int i = 0; i < RTE_DIM(bad); i++) {
		boot(v);
		map(v, 1, 1);
		expect_write(v, 1, 1);
		set_dw(v, STRTAB + VSID * 64, bad[i][0]);
		set_dw(v, STRTAB + VSID * 64 + 8, bad[i][1]);
		put(v, smmuv3_cmd_cfgi_ste(VSID, true));
		sync_guest(v);
		submit(v, 1, &value);
		assert_int_equal(take_done(v), SMMUV3_MODEL_ABORTED);
	}
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	/* Bypass is stage 2 alone: the access is at an IPA. */
	boot(v);
	set_dw(v, STRTAB + VSID * 64, SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS));
	put(v, smmuv3_cmd_cfgi_ste(VSID, true));
	sync_guest(v);
	assert_int_equal(smmuv3_model_dma_submit(v->dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = get_ipa(v, DATA + 5 * PAGE),
		.buf = (void *)(uintptr_t)&value, .len = sizeof(value) }), 0);
	run();
	assert_int_equal(take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(read_data(v, 5), value);
}

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static bool
is_with_sid(uint8_t op)
{
	return op < SMMUV3_OP_TLBI_NH_ALL || op > SMMUV3_OP_TLBI_NSNH_ALL;
}

/* Replace a refused command, and acknowledge the error. */
static void
go_on(struct vm *v)
{
	memcpy(v->mem + CMDQ + smmuv3_q_slot(CMDQ_LOG2, smmuv3_read32(v->regs,
			SMMUV3_CMDQ_CONS)) * 16, &sync_cmd, 16);
	smmuv3_write32(v->regs, SMMUV3_GERRORN, smmuv3_read32(v->regs, SMMUV3_GERROR));
}

/* One step of a hostile guest. */
static void
misbehave(struct vm *v, uint64_t *x)
{
	static const uint8_t ops[] = { SMMUV3_OP_CFGI_STE, SMMUV3_OP_CFGI_STE_RANGE,
		SMMUV3_OP_CFGI_CD, SMMUV3_OP_CFGI_CD_ALL, SMMUV3_OP_TLBI_NH_ALL,
		SMMUV3_OP_TLBI_NH_ASID, SMMUV3_OP_TLBI_NH_VA, SMMUV3_OP_TLBI_NH_VAA,
		SMMUV3_OP_TLBI_NSNH_ALL, SMMUV3_OP_RESUME, SMMUV3_OP_STALL_TERM, SMMUV3_OP_SYNC,
		SMMUV3_OP_ATC_INV, SMMUV3_OP_PRI_RESP, SMMUV3_OP_TLBI_S12_VMALL };
	static const uint32_t regs[] = { SMMUV3_CR0, SMMUV3_CMDQ_PROD, SMMUV3_EVENTQ_CONS,
		SMMUV3_GERRORN, SMMUV3_STRTAB_BASE, SMMUV3_GBPA };
	static uint64_t value;
	uint64_t r = next_random(x), sid = r >> 60 == 0 ? r >> 50 & 15 : VSID;
	const uint64_t noise = r >> 40 & 7 ? 0 : next_random(x) & next_random(x);
	uint8_t op;

	switch (r % 16) {
	case 0:		/* a register */
		smmuv3_write32(v->regs, regs[(r >> 8) % RTE_DIM(regs)],
				(uint32_t)(next_random(x) & 0x1f));
		break;
	case 1:		/* tables */
		set_dw(v, (r & 32 ? CDS : STRTAB + VSID * 64) + (uint32_t)(r >> 8) % 4 * 8,
				next_random(x) & next_random(x));
		break;
	case 2:
		set_dw(v, (r & 32 ? L1 : L3) + (uint32_t)(r >> 8) % 512 * 8, next_random(x));
		break;
	case 3:
	case 4:
	case 5:
		if (smmuv3_model_dma_outstanding(v->dma) < 64)
			smmuv3_model_dma_submit(v->dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .addr = VA((r >> 8) % 64),
				.buf = &value, .len = sizeof(value) });
		break;
	default:	/* a command */
		op = ops[(r >> 8) % sizeof(ops)];
		put(v, (struct smmuv3_cmd){ .dw = {
			op | (is_with_sid(op) ? sid << 32 : 0) | (noise & ~UINT64_C(0xff)),
			op == SMMUV3_OP_RESUME ? (r >> 20) % 64 :
				op == SMMUV3_OP_TLBI_NH_VA || op == SMMUV3_OP_TLBI_NH_VAA ?
				VA((r >> 20) % 64) | (r >> 30 & 1) : noise } });
		break;
	}
}

/* The other guest's device works on, with its own memory, and its own stalls. */
static void
test_a_hostile_guest_harms_itself_alone(void **state)
{
	static const uint64_t value = 16;
	struct vm *v = &host.vm[0], *other = &host.vm[1];
	uint64_t x = test_seed("hostile guest") * UINT64_C(0x9e3779b97f4a7c15);
	const unsigned int rounds = 200 * test_scale();
	struct smmuv3_model_done done;
	const struct relay_stats *stats = relay_get_stats(v->relay);

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	boot(other);
	map(other, 1, 1);
	for (unsigned int round = 0; round < rounds; round++) {
		uint16_t stag;

		boot(v);
		for (unsigned int i = 0; i < 32; i++)
			map(v, i, i);
		for (unsigned int i = 0; i < 50; i++) {
			misbehave(v, &x);
			if (i % 4 == 0) {
				run();
				if (smmuv3_read32(v->regs, SMMUV3_GERROR) !=
						smmuv3_read32(v->regs, SMMUV3_GERRORN))
					go_on(v);
			}
		}
		run();
		expect_write(other, 1, 1);
		submit(other, 2, &value);
		stag = take_stall(other, 2);
		map(other, 2, 2);
		put(other, smmuv3_cmd_resume(VSID, stag, true, false));
		sync_guest(other);
		assert_int_equal(take_done(other), SMMUV3_MODEL_OK);
		unmap(other, 2);
		/* The VMM ends it. */
		assert_int_equal(relay_reset(v->relay), 0);
		run();
		assert_int_equal(relay_count_stalls(v->relay), 0);
		while (smmuv3_model_dma_poll(v->dma, &done, 1) == 1)
			;
		assert_int_equal(smmuv3_model_dma_outstanding(v->dma), 0);
		assert_int_equal(smmuv3_model_driver_errors(host.m), 0);
		/* What it makes of its own tables without a TLBI is its own affair. */
		smmuv3_model_oracle_errors_clear(host.m);
	}
	print_message("  %llu STEs, %llu invalidations, %llu stalls, %llu answers, %llu refused\n",
			(unsigned long long)stats->stes, (unsigned long long)stats->invalidations,
			(unsigned long long)stats->stalls, (unsigned long long)stats->resumes,
			(unsigned long long)stats->refused);
	assert_true(stats->invalidations > rounds && stats->stalls > rounds / 4);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
	CASE(test_accesses_pass_both_stages_of_their_own_guest),
	CASE(test_invalidations_reach_the_caches_of_their_own_guest),
	CASE(test_a_stall_is_answered_by_its_own_guest),
	CASE(test_a_guest_that_stops_leaves_nothing_stalled),
	CASE(test_a_full_event_queue_of_a_guest_delays_its_own_stalls),
	CASE(test_stes_that_a_guest_must_not_have_cut_the_device_off),
	CASE(test_a_hostile_guest_harms_itself_alone),
};

TEST_SUITE(vmm_relay, tests, NULL, NULL);
