/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The virtual SMMU of examples/vmm-relay: guests that write what no driver would. Whatever it is,
 * hostile_check() holds after it. fuzz-relay has the same guest.
 */

#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "smmuv3_order.h"
#include "test.h"
#include "vmm_hostile.h"
#include "vmm_hostile_world.h"

static int
open_with(bool pri)
{
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	vm_open(&(struct vm_conf){ .pri = pri, .any_asids = true, .tlb_log2 = 6 });
	hostile_open();
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return open_with(false);
}

static int
setup_pri(void **state)
{
	(void)state;
	return open_with(true);
}

static int
teardown(void **state)
{
	hostile_close();
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_NOTICE);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	return vm_teardown(state);
}

static uint32_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (uint32_t)(*x >> 16);
}

/* More of what a mapped page, a fault and its answer need than of the rest. */
static void
run_randomly(unsigned int rounds)
{
	static const uint8_t often[] = { HOSTILE_CMD, HOSTILE_CMD, HOSTILE_DMA, HOSTILE_DMA,
		HOSTILE_RUN, HOSTILE_MAP, HOSTILE_ACK };
	uint64_t x = test_seed("hostile guest") * UINT64_C(0x9e3779b97f4a7c15);
	struct hostile_op ops[50];

	for (unsigned int round = 0; round < rounds; round++) {
		for (unsigned int i = 0; i < RTE_DIM(ops); i++) {
			uint32_t r = next_random(&x), what = r % (HOSTILE_NB + RTE_DIM(often));

			ops[i] = (struct hostile_op){ (uint8_t)(i == 0 ? HOSTILE_BOOT :
				what < HOSTILE_NB ? what : often[what - HOSTILE_NB]),
				(uint8_t)(r >> 8), (uint8_t)(r >> 16), (uint8_t)(r >> 24) };
			/* Mostly a StreamID that it has, and no noise. */
			if (ops[i].what == HOSTILE_CMD && r & 0x80)
				ops[i].a &= 15;
		}
		hostile_run((const uint8_t *)ops, sizeof(ops));
		hostile_check();
	}
}

static void
test_a_random_guest_harms_itself_alone(void **state)
{
	const unsigned int rounds = 100 * test_scale();

	(void)state;
	run_randomly(rounds);
	assert_true(smmuv3_model_stat(vm_host.m, SMMUV3_MODEL_STAT_STALLS) > 2 * rounds);
}

static void
test_a_random_guest_with_page_requests_harms_itself_alone(void **state)
{
	const unsigned int rounds = 100 * test_scale();

	(void)state;
	run_randomly(rounds);
	assert_true(smmuv3_model_stat(vm_host.m, SMMUV3_MODEL_STAT_PRI_GROUPS) > 2 * rounds);
}

/* At each offset of both pages, also those of no register, of each size, misaligned. */
static void
test_a_guest_writes_each_register(void **state)
{
	static const uint64_t values[] = { UINT64_MAX, 0, UINT64_C(0x5555555555555555), 1 };
	struct vm *v = &vm_host.vm[0];

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(values); i++) {
		for (uint32_t offset = 0; offset + 8 <= v->page.regs_size; offset++) {
			/* Registers are in the first 512 bytes of a page. */
			if (offset % SMMUV3_PAGE_SIZE >= 0x200 && offset % 4096 != 0)
				continue;
			if (offset % 64 == 0)
				vm_boot(v);
			memcpy(v->regs + offset, &values[i], (size_t)1 << offset % 4);
			hostile_submit(4, VM_VA(1), 0);
			relay_step(v->relay);
			memcpy(v->regs + offset, &values[i], 8);
			vm_run();
			if (offset % 64 == 63)
				hostile_check();
		}
		hostile_check();
	}
}

/* Write queue registers while the virtual SMMU is off, and switch it on again. */
static void
reboot_with(struct vm *v, uint32_t reg, uint64_t value)
{
	smmuv3_write32(v->regs, SMMUV3_CR0, 0);
	vm_run();
	if (reg == SMMUV3_CMDQ_BASE || reg == SMMUV3_EVENTQ_BASE || reg == SMMUV3_STRTAB_BASE)
		smmuv3_write64(v->regs, reg, value);
	else
		smmuv3_write32(v->regs, reg, (uint32_t)value);
	vm_run();
	smmuv3_write32(v->regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN |
			SMMUV3_CR0_SMMUEN);
	vm_run();
}

static bool
has_gerror(const struct vm *v, uint32_t bit)
{
	return (smmuv3_read32(v->regs, SMMUV3_GERROR) ^ smmuv3_read32(v->regs, SMMUV3_GERRORN)) &
		bit;
}

static void
test_a_command_queue_that_is_nowhere_is_an_abort_of_its_guest(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const uint64_t bases[] = { vm_get_ipa(v, VM_MEM_SIZE), v->page.mem_addr - VM_PAGE, 0,
		(uintptr_t)v->mem, (uintptr_t)v->regs, (uintptr_t)vm_host.vm[1].mem,
		(uintptr_t)vm_host.arena.mem, SMMUV3_Q_BASE_ADDR };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(bases); i++) {
		vm_boot(v);
		/* At any size: more than the virtual SMMU has is as much as it has. */
		reboot_with(v, SMMUV3_CMDQ_BASE, bases[i] | (i % 2 ? 31 : 0));
		smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD,
				smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS) + 1);
		vm_run();
		assert_true(has_gerror(v, SMMUV3_GERROR_CMDQ_ERR));
		assert_int_equal(SMMUV3_GET(SMMUV3_CMDQ_CONS_ERR,
				smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS)), SMMUV3_CERROR_ABT);
		hostile_check();
	}
}

/* A queue that a guest says is fuller than full is not read until it is switched off. */
static void
test_a_cmdq_prod_out_of_range_stops_the_queue_of_its_guest(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const uint32_t size = 1u << VM_CMDQ_LOG2;
	uint32_t cons;

	(void)state;
	for (uint32_t n = size + 1; n < 2 * size; n++) {
		vm_boot(v);
		cons = smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS);
		smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, cons + n);
		vm_run();
		assert_int_equal(smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS), cons);
		assert_false(has_gerror(v, SMMUV3_GERROR_CMDQ_ERR));
		vm_boot(v);
		hostile_check();
	}
}

static void
test_an_event_queue_that_is_nowhere_is_an_abort_of_its_guest(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const uint64_t bases[] = { vm_get_ipa(v, VM_MEM_SIZE), v->page.mem_addr - VM_PAGE, 0,
		(uintptr_t)v->mem, (uintptr_t)v->regs, (uintptr_t)vm_host.vm[1].mem,
		(uintptr_t)vm_host.arena.mem, SMMUV3_Q_BASE_ADDR };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(bases); i++) {
		vm_boot(v);
		reboot_with(v, SMMUV3_EVENTQ_BASE, bases[i] | (i % 2 ? 31 : 0));
		hostile_submit(4, VM_VA(1), 0);
		vm_run();
		assert_true(has_gerror(v, SMMUV3_GERROR_EVENTQ_ABT));
		hostile_check();
	}
}

/* Of one entry; with indices that no queue can have, which counts as full. */
static void
test_an_event_queue_of_any_size_and_index_delays_its_own_guest(void **state)
{
	struct vm *v = &vm_host.vm[0];

	(void)state;
	for (uint32_t i = 0; i < 64; i++) {
		vm_boot(v);
		smmuv3_write32(v->regs, SMMUV3_CR0, 0);
		vm_run();
		smmuv3_write64(v->regs, SMMUV3_EVENTQ_BASE, vm_get_ipa(v, VM_EVTQ) | i % 3);
		smmuv3_write32(v->regs, SMMUV3_EVENTQ_PROD, i * UINT32_C(0x01000193));
		smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS, i >> 2);
		reboot_with(v, SMMUV3_CR2, i);
		for (unsigned int k = 0; k < 8; k++)
			hostile_submit((uint8_t)(4 + k % 2), VM_VA(k), 0);
		vm_run();
		smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS, i * UINT32_C(0x9e3779b9));
		vm_run();
		hostile_check();
	}
}

static void
test_a_stream_table_of_any_place_and_size_cuts_its_guest_off(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const uint64_t bases[] = { vm_get_ipa(v, VM_MEM_SIZE), vm_get_ipa(v, VM_MEM_SIZE - 64),
		v->page.mem_addr - VM_PAGE, 0, (uintptr_t)v->mem + VM_STRTAB,
		(uintptr_t)v->regs, (uintptr_t)vm_host.vm[1].mem + VM_STRTAB,
		SMMUV3_STRTAB_BASE_ADDR, SMMUV3_STRTAB_BASE_ADDR - (VM_SID - 1) * 64 };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(bases); i++) {
		vm_boot(v);
		vm_map(v, 1, 1);
		reboot_with(v, SMMUV3_STRTAB_BASE, bases[i]);
		hostile_submit(4, VM_VA(1), 0);
		vm_run();
		assert_int_equal(smmuv3_model_dma_outstanding(hostile.dma[0]), 1);
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
		hostile.submitted[0]--;
		hostile_check();
	}
	/* LOG2SIZE, SPLIT and FMT. */
	for (uint32_t cfg = 0; cfg < 64; cfg++) {
		vm_boot(v);
		reboot_with(v, SMMUV3_STRTAB_BASE_CFG, cfg | cfg << 6 | cfg << 16);
		hostile_submit(4, VM_VA(1), 0);
		vm_run();
		hostile_check();
	}
}

/* A CD or table at any place, also in itself, in the stream table, or where the device writes. */
static void
test_tables_of_any_place_reach_no_other_memory(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const uint64_t places[] = { 0, vm_get_ipa(v, VM_STRTAB), vm_get_ipa(v, VM_CDS),
		vm_get_ipa(v, VM_L1), vm_get_ipa(v, VM_L2), vm_get_ipa(v, VM_L3),
		vm_get_ipa(v, VM_CMDQ), vm_get_ipa(v, VM_EVTQ), vm_get_ipa(v, VM_DATA),
		vm_get_ipa(v, VM_MEM_SIZE - VM_PAGE), vm_get_ipa(v, VM_MEM_SIZE),
		v->page.mem_addr - VM_PAGE, (uintptr_t)v->mem + VM_L3, (uintptr_t)v->regs,
		(uintptr_t)vm_host.vm[1].mem + VM_DATA, (uintptr_t)vm_host.vm[1].regs,
		(uintptr_t)vm_host.arena.mem, UINT64_C(0xffff) << 32, UINT64_C(1) << 47 };
	const struct {
		uint32_t at;
		uint64_t bits;
	} pointers[] = {
		{ VM_STRTAB + VM_SID * 64, SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) },
		{ VM_STRTAB + VM_SID * 64, SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS) },
		{ VM_CDS + 8, 0 },
		{ VM_L1 + (VM_VA(0) >> 30 & 511) * 8, 3 },
		{ VM_L2 + (VM_VA(0) >> 21 & 511) * 8, 3 },
		{ VM_L2 + (VM_VA(0) >> 21 & 511) * 8, VM_LEAF & ~UINT64_C(2) },
		{ VM_L3 + (VM_VA(1) >> 12 & 511) * 8, VM_LEAF },
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(places); i++)
		for (unsigned int k = 0; k < RTE_DIM(pointers); k++) {
			vm_boot(v);
			vm_map(v, 0, 0);
			vm_map(v, 1, 1);
			vm_set_dw(v, pointers[k].at, places[i] | pointers[k].bits);
			vm_put(v, smmuv3_cmd_cfgi_all());
			vm_put(v, smmuv3_cmd_cfgi_cd_all(VM_SID));
			vm_put(v, smmuv3_cmd_tlbi_nsnh_all());
			vm_put(v, vm_sync_cmd);
			/* A read and a write of two pages, each at a VA and at the place itself. */
			for (uint8_t how = 0; how < 8; how += 4) {
				hostile_submit(how, VM_VA(0), 6);
				hostile_submit(how, places[i], 6);
			}
			vm_run();
			hostile_check();
		}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
	CASE(test_a_random_guest_harms_itself_alone),
	cmocka_unit_test_setup_teardown(test_a_random_guest_with_page_requests_harms_itself_alone,
			setup_pri, teardown),
	CASE(test_a_guest_writes_each_register),
	CASE(test_a_command_queue_that_is_nowhere_is_an_abort_of_its_guest),
	CASE(test_a_cmdq_prod_out_of_range_stops_the_queue_of_its_guest),
	CASE(test_an_event_queue_that_is_nowhere_is_an_abort_of_its_guest),
	CASE(test_an_event_queue_of_any_size_and_index_delays_its_own_guest),
	CASE(test_a_stream_table_of_any_place_and_size_cuts_its_guest_off),
	CASE(test_tables_of_any_place_reach_no_other_memory),
};

TEST_SUITE(vmm_relay_hostile, tests, NULL, NULL);
