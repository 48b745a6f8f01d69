/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The stream table, STEs and PASIDs of a guest with a virtual SMMU. What its device's access meets
 * there is recorded as its SMMU would do it, and costs that device alone.
 */

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "iommu.h"
#include "log_lines.h"
#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_relay_rig.h"

#define HOST_SID	8		/* of device 0 of guest 0 */
#define FAR_SID		0x143		/* a StreamID that needs tables of two levels */
#define PASID		2
#define ASID2		9

/* More offsets in the guest's memory. */
#define L1STDS		0x17000u
#define CDS2		0x18000u	/* for S1CDMax = 2 */
#define NO_STALL_CD	0x18800u
#define L1_2		0x19000u	/* another table, and its PASID's */
#define L2_2		0x1a000u
#define L3_2		0x1b000u
#define STES		0x40000u	/* a second level of 64 KiB */

static const uint64_t some = 77;

static uint64_t
make_s1_word(const struct vm *v, uint32_t cds)
{
	return SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) | vm_get_ipa(v, cds);
}

static void
write_ste(struct vm *v, uint64_t word0, uint64_t word1)
{
	vm_set_dw(v, VM_STRTAB + VM_SID * 64 + 8, word1);
	vm_set_dw(v, VM_STRTAB + VM_SID * 64, word0);
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	vm_sync(v);
}

/* Page 0 of the second table of the guest is at this data page. */
static void
map_2(struct vm *v, unsigned int at)
{
	vm_set_dw(v, L1_2 + (VM_VA(0) >> 30 & 511) * 8, vm_get_ipa(v, L2_2) | 3);
	vm_set_dw(v, L2_2 + (VM_VA(0) >> 21 & 511) * 8, vm_get_ipa(v, L3_2) | 3);
	vm_set_dw(v, L3_2 + (VM_VA(0) >> 12 & 511) * 8,
			vm_get_ipa(v, VM_DATA + at * VM_PAGE) | VM_LEAF);
}

static uint64_t
read_dw(struct vm *v, uint32_t offset)
{
	return smmuv3_get_dw((uint64_t *)(void *)(v->mem + offset));
}

/* A CD with the second table. */
static void
write_cd_2(struct vm *v, uint32_t offset)
{
	memcpy(v->mem + offset, v->mem + VM_CDS, 64);
	vm_set_dw(v, offset + 8, vm_get_ipa(v, L1_2));
	vm_set_dw(v, offset, SMMUV3_PUT(SMMUV3_CD0_ASID, ASID2) |
			(read_dw(v, VM_CDS) & ~SMMUV3_CD0_ASID));
}

/* Another stream table takes effect. */
static void
use_strtab(struct vm *v, uint64_t base, uint32_t cfg, bool record_sids)
{
	const uint32_t queues = SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN;

	smmuv3_write32(v->regs, SMMUV3_CR0, queues);
	vm_run();
	smmuv3_write64(v->regs, SMMUV3_STRTAB_BASE, base);
	smmuv3_write32(v->regs, SMMUV3_STRTAB_BASE_CFG, cfg);
	smmuv3_write32(v->regs, SMMUV3_CR2, record_sids ? SMMUV3_CR2_RECINVSID : 0);
	vm_run();
	smmuv3_write32(v->regs, SMMUV3_CR0, queues | SMMUV3_CR0_SMMUEN);
	vm_run();
}

/* Give device 0 another StreamID. */
static void
give_sid(struct vm *v, uint32_t vsid)
{
	assert_int_equal(relay_destroy(v->relay), 0);
	v->relay = relay_create(&(struct relay_conf){ .iommu = vm_host.smmu, .parent = v->stage2,
		.regs = v->regs, .regs_size = v->page.regs_size, .mem_addr = v->page.mem_addr,
		.mem = v->mem, .mem_size = VM_MEM_SIZE });
	assert_non_null(v->relay);
	assert_int_equal(relay_add_dev(v->relay, vsid, v->dev[0].dev, HOST_SID), 0);
}

static bool
take_event(struct vm *v, struct smmuv3_evt *evt)
{
	if (smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD) == v->evt_cons)
		return false;
	memcpy(evt, v->mem + VM_EVTQ + smmuv3_q_slot(VM_EVTQ_LOG2, v->evt_cons) * sizeof(*evt),
			sizeof(*evt));
	v->evt_cons = smmuv3_q_add(VM_EVTQ_LOG2, v->evt_cons, 1);
	smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS, v->evt_cons);
	return true;
}

/* An access of device 0 ends with exactly this record of the guest's; id 0: it succeeds. */
static void
expect_record(struct vm *v, uint32_t vsid, unsigned int id, uint64_t fetch_addr)
{
	struct smmuv3_evt evt;

	vm_submit(v, 0, &some);
	assert_int_equal(vm_take_done(v), id == 0 ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED);
	if (id != 0) {
		assert_true(take_event(v, &evt));
		assert_int_equal(evt.dw[0], id | (uint64_t)vsid << 32);
		assert_int_equal(evt.dw[1], 0);
		assert_int_equal(evt.dw[2], 0);
		assert_int_equal(evt.dw[3], fetch_addr);
	}
	assert_false(take_event(v, &evt));
}

static void
expect_silent_abort(struct vm *v)
{
	struct smmuv3_evt evt;

	vm_submit(v, 0, &some);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_false(take_event(v, &evt));
}

static uint32_t
make_cfg(unsigned int log2, unsigned int split)
{
	return (uint32_t)(SMMUV3_PUT(SMMUV3_STRTAB_CFG_FMT, SMMUV3_STRTAB_2LVL) |
		SMMUV3_PUT(SMMUV3_STRTAB_CFG_SPLIT, split) |
		SMMUV3_PUT(SMMUV3_STRTAB_CFG_LOG2SIZE, log2));
}

static void
test_a_stream_table_of_two_levels_is_bounded_by_its_spans(void **state)
{
	static const struct {
		unsigned int split, span, event;
	} cases[] = {
		/* FAR_SID: index 3 of 64, 0x43 of 256, 0x143 of 1024. */
		{ 6, 3, 0 }, { 6, 7, 0 }, { 6, 2, SMMUV3_C_BAD_STREAMID },
		{ 6, 8, SMMUV3_C_BAD_STREAMID }, { 6, 0, SMMUV3_C_BAD_STREAMID },
		{ 8, 8, 0 }, { 8, 9, 0 }, { 8, 7, SMMUV3_C_BAD_STREAMID },
		{ 8, 10, SMMUV3_C_BAD_STREAMID },
		{ 10, 10, 0 }, { 10, 11, 0 }, { 10, 9, SMMUV3_C_BAD_STREAMID },
		{ 10, 12, SMMUV3_C_BAD_STREAMID }, { 10, 31, SMMUV3_C_BAD_STREAMID },
		/* Reserved: as 6. */
		{ 7, 3, 0 }, { 0, 7, 0 }, { 7, 8, SMMUV3_C_BAD_STREAMID },
	};
	struct vm *v = &vm_host.vm[0];

	(void)state;
	give_sid(v, FAR_SID);
	for (unsigned int i = 0; i < RTE_DIM(cases); i++) {
		unsigned int split = cases[i].split == 8 || cases[i].split == 10 ?
			cases[i].split : 6;
		uint32_t low = FAR_SID & ((1u << split) - 1);

		vm_boot(v);
		vm_map(v, 0, 1);
		vm_set_dw(v, STES + low * 64, make_s1_word(v, VM_CDS));
		vm_set_dw(v, L1STDS + (FAR_SID >> split) * 8,
				vm_get_ipa(v, STES) | cases[i].span);
		use_strtab(v, vm_get_ipa(v, L1STDS), make_cfg(9, cases[i].split), true);
		expect_record(v, FAR_SID, cases[i].event, 0);
		/* CR2.RECINVSID is 0. */
		use_strtab(v, vm_get_ipa(v, L1STDS), make_cfg(9, cases[i].split), false);
		if (cases[i].event != 0)
			expect_silent_abort(v);
		else
			expect_record(v, FAR_SID, 0, 0);
	}
	/* The SMMU takes the low bits of both addresses as 0. */
	vm_boot(v);
	vm_map(v, 0, 1);
	vm_set_dw(v, STES + 3 * 64, make_s1_word(v, VM_CDS));
	vm_set_dw(v, L1STDS + (FAR_SID >> 6) * 8, vm_get_ipa(v, STES + 64) | 3);
	use_strtab(v, vm_get_ipa(v, L1STDS + 64), make_cfg(10, 6), true);
	expect_record(v, FAR_SID, 0, 0);
	/* An L1STD that becomes valid needs a CFGI_STE. */
	vm_set_dw(v, L1STDS + (FAR_SID >> 6) * 8, 0);
	vm_put(v, smmuv3_cmd_cfgi_ste(FAR_SID, false));
	vm_sync(v);
	expect_record(v, FAR_SID, SMMUV3_C_BAD_STREAMID, 0);
	vm_set_dw(v, L1STDS + (FAR_SID >> 6) * 8, vm_get_ipa(v, STES) | 7);
	vm_put(v, smmuv3_cmd_cfgi_ste(FAR_SID, false));
	vm_sync(v);
	expect_record(v, FAR_SID, 0, 0);
}

static void
test_a_streamid_or_table_out_of_range_is_recorded(void **state)
{
	const uint64_t outside = vm_get_ipa(&vm_host.vm[0], VM_MEM_SIZE);
	struct vm *v = &vm_host.vm[0];

	(void)state;
	give_sid(v, FAR_SID);
	vm_boot(v);
	vm_map(v, 0, 1);
	vm_set_dw(v, STES + 0x143 * 64, make_s1_word(v, VM_CDS));
	/* LOG2SIZE, linear and of two levels. */
	use_strtab(v, vm_get_ipa(v, STES), 8, true);
	expect_record(v, FAR_SID, SMMUV3_C_BAD_STREAMID, 0);
	use_strtab(v, vm_get_ipa(v, L1STDS), make_cfg(8, 6), true);
	expect_record(v, FAR_SID, SMMUV3_C_BAD_STREAMID, 0);
	use_strtab(v, vm_get_ipa(v, STES), 8, false);
	expect_silent_abort(v);
	/* The low bits of a linear table's address are 0. */
	use_strtab(v, vm_get_ipa(v, STES + 64), 9, true);
	expect_record(v, FAR_SID, 0, 0);
	/* A table that is none of the guest's memory. */
	use_strtab(v, outside, 9, true);
	expect_record(v, FAR_SID, SMMUV3_F_STE_FETCH, outside + FAR_SID * 64);
	use_strtab(v, outside, make_cfg(9, 6), true);
	expect_record(v, FAR_SID, SMMUV3_F_STE_FETCH, outside + (FAR_SID >> 6) * 8);
	vm_set_dw(v, L1STDS + (FAR_SID >> 6) * 8, outside | 7);
	use_strtab(v, vm_get_ipa(v, L1STDS), make_cfg(9, 6), true);
	expect_record(v, FAR_SID, SMMUV3_F_STE_FETCH, outside + 3 * 64);
}

static void
test_an_access_without_a_legal_ste_is_recorded(void **state)
{
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	const uint64_t good = make_s1_word(v, VM_CDS);
	const uint64_t bad[][2] = {
		{ 0, 0 },
		{ SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S2), 0 },
		{ SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1_S2), 0 },
		{ good | SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 20), 0 },
		{ good, SMMUV3_PUT(SMMUV3_STE1_STRW, 2) },
	};
	struct smmuv3_model_done done;
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	dma = smmuv3_model_dma_create(vm_host.m, &(struct smmuv3_model_dma_conf){
		.sid = HOST_SID, .has_ssid = true, .ssid = PASID });
	vm_boot(other);
	vm_map(other, 0, 1);
	for (unsigned int i = 0; i < RTE_DIM(bad); i++) {
		vm_boot(v);
		vm_map(v, 0, 1);
		write_ste(v, bad[i][0], bad[i][1]);
		expect_record(v, VM_SID, SMMUV3_C_BAD_STE, 0);
		/* Each access has its own record, with its PASID. */
		assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = VM_VA(0),
			.buf = (void *)(uintptr_t)&some, .len = sizeof(some) }), 0);
		vm_run();
		assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
		assert_true(take_event(v, &evt));
		assert_int_equal(evt.dw[0], SMMUV3_C_BAD_STE | SMMUV3_EVT0_SSV |
				SMMUV3_PUT(SMMUV3_EVT0_SSID, PASID) | (uint64_t)VM_SID << 32);
		/* Config = abort, and an SMMU that is off: no record. */
		write_ste(v, SMMUV3_STE0_V, 0);
		expect_silent_abort(v);
		write_ste(v, bad[i][0], bad[i][1]);
		smmuv3_write32(v->regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
		vm_run();
		expect_silent_abort(v);
		/* The other guest's device goes on, and has no record. */
		vm_expect_write(other, 0, 1);
		assert_false(take_event(other, &evt));
	}
	/* A full event queue loses them, and the guest sees an overflow. */
	vm_boot(v);
	write_ste(v, 0, 0);
	for (unsigned int i = 0; i < (2u << VM_EVTQ_LOG2); i++) {
		vm_submit(v, 0, &some);
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	}
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD),
			(1u << VM_EVTQ_LOG2) | SMMUV3_Q_OVFLG);
	smmuv3_model_dma_destroy(dma);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
}

/* A CD, a table or a page that is none of the guest's memory. */
static void
test_a_table_outside_of_the_guests_memory_is_an_external_abort(void **state)
{
	const uint64_t outside = vm_get_ipa(&vm_host.vm[0], VM_MEM_SIZE);
	struct vm *v = &vm_host.vm[0];
	struct smmuv3_evt evt;

	(void)state;
	for (unsigned int stalls = 0; stalls < 2; stalls++) {
		vm_boot(v);
		if (!stalls)
			vm_set_dw(v, VM_CDS, read_dw(v, VM_CDS) & ~SMMUV3_CD0_S);
		write_ste(v, SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
				outside, 0);
		expect_record(v, VM_SID, SMMUV3_F_CD_FETCH, outside);
		vm_set_dw(v, VM_L2 + (VM_VA(0) >> 21 & 511) * 8, (outside + VM_PAGE) | 3);
		write_ste(v, make_s1_word(v, VM_CDS), 0);
		vm_submit(v, 0, &some);
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
		assert_true(take_event(v, &evt));
		assert_int_equal(evt.dw[0], SMMUV3_F_WALK_EABT | (uint64_t)VM_SID << 32);
		assert_int_equal(evt.dw[1], SMMUV3_PUT(SMMUV3_EVT1_CLASS, SMMUV3_CLASS_TT));
		assert_int_equal(evt.dw[2], VM_VA(0));
		assert_int_equal(evt.dw[3], outside + VM_PAGE);
		vm_set_dw(v, VM_L2 + (VM_VA(0) >> 21 & 511) * 8, vm_get_ipa(v, VM_L3) | 3);
		vm_set_dw(v, VM_L3 + (VM_VA(0) >> 12 & 511) * 8, outside | VM_LEAF);
		vm_put(v, smmuv3_cmd_tlbi_nh_asid(0, VM_ASID));
		vm_sync(v);
		expect_silent_abort(v);
	}
}

static void
test_a_flood_of_illegal_stes_is_a_few_lines_in_the_log(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const uint64_t good = make_s1_word(v, VM_CDS);
	unsigned int nb = 0;
	char *lines;

	(void)state;
	vm_boot(v);
	log_lines_begin();
	for (unsigned int i = 0; i < 100; i++) {
		/* Illegal, and more PASIDs than the device has: refused in other places. */
		write_ste(v, good | UINT64_C(1) << 50, 0);
		write_ste(v, good, 0);
		write_ste(v, good | SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 8), 0);
		write_ste(v, good, 0);
	}
	lines = log_lines_end();
	for (const char *at = strchr(lines, '\n'); at != NULL; at = strchr(at + 1, '\n'))
		nb++;
	free(lines);
	assert_in_range(nb, 1, 40);
	vm_map(v, 0, 1);
	vm_expect_write(v, 0, 1);
}

/* CFGI_STE is for all that was found through the STE [4.3.1]. */
static void
test_cfgi_ste_is_for_the_cds_too(void **state)
{
	struct vm *v = &vm_host.vm[0];

	(void)state;
	for (unsigned int all = 0; all < 2; all++) {
		vm_boot(v);
		vm_map(v, 0, 1);
		vm_expect_write(v, 0, 1);
		map_2(v, 2);
		write_cd_2(v, VM_CDS);
		vm_put(v, all ? smmuv3_cmd_cfgi_all() : smmuv3_cmd_cfgi_ste(VM_SID, true));
		vm_sync(v);
		vm_expect_write(v, 0, 2);
	}
}

/* From one valid STE to another, bypass among them. */
static void
test_an_ste_is_replaced_under_an_access(void **state)
{
	static const uint64_t bypass = SMMUV3_STE0_V |
		SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS);
	struct vm *v = &vm_host.vm[0];
	struct smmuv3_evt evt;
	uint16_t stag;

	(void)state;
	vm_boot(v);
	map_2(v, 2);
	write_cd_2(v, CDS2);
	write_cd_2(v, NO_STALL_CD);
	vm_set_dw(v, NO_STALL_CD, read_dw(v, NO_STALL_CD) & ~SMMUV3_CD0_S);
	vm_submit(v, 0, &some);
	stag = vm_take_stall(v, 0);
	/* The access is not aborted: it continues with the new CD. */
	write_ste(v, make_s1_word(v, CDS2), 0);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 2), some);
	/* Its stall is the guest's until its answer. */
	assert_int_equal(relay_count_stalls(v->relay), 1);
	vm_put(v, smmuv3_cmd_resume(VM_SID, stag, false, true));
	vm_sync(v);
	assert_int_equal(relay_count_stalls(v->relay), 0);
	for (unsigned int i = 0; i < 3; i++) {
		write_ste(v, bypass, 0);
		/* The same domain with another STE. */
		write_ste(v, bypass, SMMUV3_STE1_S1STALLD);
		assert_int_equal(smmuv3_model_dma_submit(v->dev[0].dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = vm_get_ipa(v, VM_DATA + 5 * VM_PAGE),
			.buf = (void *)(uintptr_t)&some, .len = sizeof(some) }), 0);
		vm_run();
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
		assert_int_equal(vm_read_data(v, 5), some);
		write_ste(v, make_s1_word(v, CDS2), 0);
		vm_expect_write(v, 0, 2);
		/* Word 1 differs. CD.S is illegal with S1STALLD [5.5]. */
		write_ste(v, make_s1_word(v, NO_STALL_CD), SMMUV3_STE1_S1STALLD);
		vm_submit(v, 1, &some);
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
		assert_true(take_event(v, &evt));
		assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_ID, evt.dw[0]), SMMUV3_F_TRANSLATION);
		assert_false(evt.dw[1] & SMMUV3_EVT1_STALL);
	}
	/* An illegal STE in place of a valid one: the device is cut off, and comes back. */
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	write_ste(v, make_s1_word(v, CDS2) | UINT64_C(1) << 50, 0);
	expect_record(v, VM_SID, SMMUV3_C_BAD_STE, 0);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	write_ste(v, make_s1_word(v, CDS2), 0);
	vm_expect_write(v, 0, 2);
}

/* The host's SMMU stands still: its driver finds out when its wait is over. */
static void
test_a_sync_waits_until_the_host_follows_the_ste(void **state)
{
	struct vm *v = &vm_host.vm[0];

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	vm_boot(v);
	vm_map(v, 0, 1);
	vm_expect_write(v, 0, 1);
	((struct smmuv3 *)vm_host.smmu->priv)->timeout /= 20;
	smmuv3_model_knob(vm_host.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	vm_set_dw(v, VM_STRTAB + VM_SID * 64, 0);
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	vm_put(v, vm_sync_cmd);
	relay_step(v->relay);
	assert_int_not_equal(smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS),
			smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD));
	smmuv3_model_knob(vm_host.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	((struct smmuv3 *)vm_host.smmu->priv)->timeout *= 20;
	vm_run();
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS),
			smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD));
	expect_record(v, VM_SID, SMMUV3_C_BAD_STE, 0);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
}

static void
submit_pasid(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, unsigned int page,
		uint64_t *value)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
		.type = type, .addr = VM_VA(page), .buf = value, .len = sizeof(*value) }), 0);
	vm_run();
}

static enum smmuv3_model_status
take_status(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_done done;

	assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
	return done.status;
}

static void
test_faults_and_commands_of_a_pasid_are_its_own(void **state)
{
	struct smmuv3_model_dma *dma, *beyond;
	struct vm *v = &vm_host.vm[0];
	uint64_t value = 99;
	struct smmuv3_evt evt;

	(void)state;
	dma = smmuv3_model_dma_create(vm_host.m, &(struct smmuv3_model_dma_conf){
		.sid = HOST_SID, .has_ssid = true, .ssid = PASID });
	beyond = smmuv3_model_dma_create(vm_host.m, &(struct smmuv3_model_dma_conf){
		.sid = HOST_SID, .has_ssid = true, .ssid = 4 });
	assert_int_equal(SMMUV3_GET(SMMUV3_IDR1_SSIDSIZE, smmuv3_read32(v->regs, SMMUV3_IDR1)),
			16);
	vm_boot(v);
	vm_map(v, 0, 1);
	/* Untagged accesses use CD 0. */
	memcpy(v->mem + CDS2, v->mem + VM_CDS, 64);
	map_2(v, 2);
	write_cd_2(v, CDS2 + PASID * 64);
	write_ste(v, make_s1_word(v, CDS2) | SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 2),
			SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_SSID0));
	vm_expect_write(v, 0, 1);
	submit_pasid(dma, SMMUV3_MODEL_WRITE, 0, &value);
	assert_int_equal(take_status(dma), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 2), 99);
	/* A stall of the PASID, and its answer. */
	submit_pasid(dma, SMMUV3_MODEL_READ, 1, &value);
	assert_true(take_event(v, &evt));
	assert_int_equal(evt.dw[0], SMMUV3_F_TRANSLATION | SMMUV3_EVT0_SSV |
			SMMUV3_PUT(SMMUV3_EVT0_SSID, PASID) | (uint64_t)VM_SID << 32);
	assert_true(evt.dw[1] & SMMUV3_EVT1_STALL && evt.dw[1] & SMMUV3_EVT1_RNW);
	assert_int_equal(evt.dw[2], VM_VA(1));
	vm_set_dw(v, L3_2 + (VM_VA(1) >> 12 & 511) * 8,
			vm_get_ipa(v, VM_DATA + 2 * VM_PAGE) | VM_LEAF);
	vm_put(v, smmuv3_cmd_resume(VM_SID, (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG, evt.dw[1]),
			true, false));
	vm_sync(v);
	assert_int_equal(take_status(dma), SMMUV3_MODEL_OK);
	assert_int_equal(value, 99);
	/* One that the STE does not have. */
	submit_pasid(beyond, SMMUV3_MODEL_WRITE, 0, &value);
	assert_int_equal(take_status(beyond), SMMUV3_MODEL_ABORTED);
	assert_true(take_event(v, &evt));
	assert_int_equal(evt.dw[0], SMMUV3_C_BAD_SUBSTREAMID | SMMUV3_PUT(SMMUV3_EVT0_SSID, 4) |
			(uint64_t)VM_SID << 32);
	assert_int_equal(evt.dw[1] | evt.dw[2] | evt.dw[3], 0);
	/* CFGI_CD of another PASID leaves its CD cached; its own does not. */
	vm_set_dw(v, CDS2 + PASID * 64, 0);
	vm_put(v, smmuv3_cmd_cfgi_cd(VM_SID, PASID + 1, true));
	vm_sync(v);
	submit_pasid(dma, SMMUV3_MODEL_WRITE, 0, &value);
	assert_int_equal(take_status(dma), SMMUV3_MODEL_OK);
	vm_put(v, smmuv3_cmd_cfgi_cd(VM_SID, PASID, true));
	vm_sync(v);
	submit_pasid(dma, SMMUV3_MODEL_WRITE, 0, &value);
	assert_int_equal(take_status(dma), SMMUV3_MODEL_ABORTED);
	assert_true(take_event(v, &evt));
	assert_int_equal(evt.dw[0], SMMUV3_C_BAD_CD | SMMUV3_EVT0_SSV |
			SMMUV3_PUT(SMMUV3_EVT0_SSID, PASID) | (uint64_t)VM_SID << 32);
	assert_int_equal(evt.dw[1] | evt.dw[2] | evt.dw[3], 0);
	vm_expect_write(v, 0, 1);
	smmuv3_model_dma_destroy(dma);
	smmuv3_model_dma_destroy(beyond);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, vm_setup, vm_teardown)
static const struct CMUnitTest tests[] = {
	CASE(test_a_stream_table_of_two_levels_is_bounded_by_its_spans),
	CASE(test_a_streamid_or_table_out_of_range_is_recorded),
	CASE(test_an_access_without_a_legal_ste_is_recorded),
	CASE(test_a_table_outside_of_the_guests_memory_is_an_external_abort),
	CASE(test_a_flood_of_illegal_stes_is_a_few_lines_in_the_log),
	CASE(test_cfgi_ste_is_for_the_cds_too),
	CASE(test_an_ste_is_replaced_under_an_access),
	CASE(test_a_sync_waits_until_the_host_follows_the_ste),
	CASE(test_faults_and_commands_of_a_pasid_are_its_own),
};

TEST_SUITE(vmm_relay_ste, tests, NULL, NULL);
