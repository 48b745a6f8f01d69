/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The virtual SMMU of examples/vmm-relay: stages, stalls, STEs. */

#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "test.h"
#include "vmm_relay_rig.h"

static void
test_accesses_pass_both_stages_of_their_own_guest(void **state)
{
	static const uint64_t value = 5;

	(void)state;
	for (unsigned int i = 0; i < VM_COUNT; i++) {
		vm_boot(&vm_host.vm[i]);
		vm_map(&vm_host.vm[i], 1, 2 + i);
	}
	for (unsigned int i = 0; i < VM_COUNT; i++)
		vm_expect_write(&vm_host.vm[i], 1, 2 + i);
	/* An IPA that is none of the guest's memory. */
	vm_set_dw(&vm_host.vm[0], VM_L3 + (VM_VA(4) >> 12 & 511) * 8,
			vm_get_ipa(&vm_host.vm[0], VM_MEM_SIZE) | VM_LEAF);
	vm_submit(&vm_host.vm[0], 4, &value);
	assert_int_equal(vm_take_done(&vm_host.vm[0]), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_read32(vm_host.vm[0].regs, SMMUV3_EVENTQ_PROD), 0);
}

static void
test_invalidations_reach_the_caches_of_their_own_guest(void **state)
{
	static const uint64_t value = 6;
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	uint16_t stag;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	vm_map(v, 1, 1);
	vm_map(other, 1, 1);
	vm_expect_write(v, 1, 1);
	vm_expect_write(other, 1, 1);
	/* The same command of the other guest removes nothing here. */
	vm_map(v, 1, 2);
	vm_put(other, smmuv3_cmd_tlbi_nh_va(0, VM_ASID, VM_VA(1), true));
	vm_sync(other);
	vm_expect_write(v, 1, 1);
	smmuv3_model_oracle_errors_clear(vm_host.m);
	vm_put(v, smmuv3_cmd_tlbi_nh_va(0, VM_ASID, VM_VA(1), true));
	vm_sync(v);
	vm_expect_write(v, 1, 2);
	vm_unmap(v, 1);
	vm_submit(v, 1, &value);
	stag = vm_take_stall(v, 1);
	vm_put(v, smmuv3_cmd_resume(VM_SID, stag, false, true));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	vm_expect_write(other, 1, 1);
}

static void
test_a_stall_is_answered_by_its_own_guest(void **state)
{
	static const uint64_t values[VM_COUNT] = { 11, 12 };
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	uint16_t stag, other_stag;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	vm_submit(v, 1, &values[0]);
	vm_submit(other, 1, &values[1]);
	stag = vm_take_stall(v, 1);
	other_stag = vm_take_stall(other, 1);
	assert_int_equal(stag, other_stag);
	/* Of another device, of no device, of no stall; and of the other guest. */
	vm_put(v, smmuv3_cmd_resume(VM_SID + 1, stag, false, true));
	vm_put(v, smmuv3_cmd_resume(VM_SID + VM_DEVS, stag, false, true));
	vm_put(v, smmuv3_cmd_resume(VM_SID, stag + 1, false, true));
	vm_put(v, smmuv3_cmd_resume(VM_SID, 0xffff, false, true));
	vm_map(other, 1, 1);
	vm_put(other, smmuv3_cmd_resume(VM_SID, stag, true, false));
	vm_sync(v);
	vm_sync(other);
	assert_int_equal(vm_take_done(other), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(other, 1), values[1]);
	assert_int_equal(smmuv3_model_dma_outstanding(v->dev[0].dma), 1);
	assert_int_equal(relay_count_stalls(v->relay), 1);
	vm_map(v, 1, 3);
	vm_put(v, smmuv3_cmd_resume(VM_SID, stag, true, false));
	/* Twice: the second one has no effect. */
	vm_put(v, smmuv3_cmd_resume(VM_SID, stag, false, true));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 3), values[0]);
	assert_int_equal(relay_count_stalls(v->relay), 0);
}

static void
test_a_guest_that_stops_leaves_nothing_stalled(void **state)
{
	static const uint64_t value = 13;
	struct vm *v = &vm_host.vm[0];

	(void)state;
	for (unsigned int how = 0; how < 4; how++) {
		vm_boot(v);
		vm_submit(v, 1, &value);
		vm_take_stall(v, 1);
		switch (how) {
		case 0:
			smmuv3_write32(v->regs, SMMUV3_CR0, 0);
			break;
		case 1:
			vm_put(v, (struct smmuv3_cmd){ .dw = { SMMUV3_OP_STALL_TERM |
					(uint64_t)VM_SID << 32, 0 } });
			break;
		case 2:
			vm_set_dw(v, VM_STRTAB + VM_SID * 64, 0);
			vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
			break;
		default:
			assert_int_equal(relay_reset(v->relay), 0);
			break;
		}
		vm_run();
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_stalls_outstanding(vm_host.m), 0);
	}
	/* And it can come back. */
	vm_boot(v);
	vm_map(v, 1, 1);
	vm_expect_write(v, 1, 1);
}

/* Stalls beyond the guest's queue wait for room in it. */
static void
test_a_full_event_queue_of_a_guest_delays_its_own_stalls(void **state)
{
	static const uint64_t value = 14;
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	const unsigned int n = (1u << VM_EVTQ_LOG2) + 8;

	(void)state;
	vm_boot(v);
	vm_boot(other);
	vm_map(other, 1, 1);
	for (unsigned int i = 0; i < n; i++)
		vm_submit(v, i, &value);
	assert_int_equal(relay_count_stalls(v->relay), n);
	vm_expect_write(other, 1, 1);
	for (unsigned int i = 0; i < n; i++) {
		uint16_t stag;

		stag = vm_take_stall(v, i);
		vm_map(v, i, i);
		vm_put(v, smmuv3_cmd_resume(VM_SID, stag, true, false));
		vm_sync(v);
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	}
	assert_int_equal(relay_count_stalls(v->relay), 0);
}

static void
test_stes_that_a_guest_must_not_have_cut_the_device_off(void **state)
{
	static const uint64_t value = 15;
	struct vm *v = &vm_host.vm[0];
	const uint64_t good = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		vm_get_ipa(v, VM_CDS);
	const uint64_t bad[][2] = {
		{ 0, 0 }, { SMMUV3_STE0_V, 0 },
		{ SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, 6), 0 },
		{ SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, 7) | vm_get_ipa(v, VM_CDS), 0 },
		{ good | UINT64_C(1) << 50, 0 },
		{ good, SMMUV3_PUT(SMMUV3_STE1_STRW, 2) },
		{ good, SMMUV3_PUT(SMMUV3_STE1_EATS, 1) },
	};

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	for (unsigned int i = 0; i < RTE_DIM(bad); i++) {
		vm_boot(v);
		vm_map(v, 1, 1);
		vm_expect_write(v, 1, 1);
		vm_set_dw(v, VM_STRTAB + VM_SID * 64, bad[i][0]);
		vm_set_dw(v, VM_STRTAB + VM_SID * 64 + 8, bad[i][1]);
		vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
		vm_sync(v);
		vm_submit(v, 1, &value);
		assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	}
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	/* Bypass is stage 2 alone: the access is at an IPA. */
	vm_boot(v);
	vm_set_dw(v, VM_STRTAB + VM_SID * 64, SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS));
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	vm_sync(v);
	assert_int_equal(smmuv3_model_dma_submit(v->dev[0].dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = vm_get_ipa(v, VM_DATA + 5 * VM_PAGE),
		.buf = (void *)(uintptr_t)&value, .len = sizeof(value) }), 0);
	vm_run();
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 5), value);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, vm_setup, vm_teardown)
static const struct CMUnitTest tests[] = {
	CASE(test_accesses_pass_both_stages_of_their_own_guest),
	CASE(test_invalidations_reach_the_caches_of_their_own_guest),
	CASE(test_a_stall_is_answered_by_its_own_guest),
	CASE(test_a_guest_that_stops_leaves_nothing_stalled),
	CASE(test_a_full_event_queue_of_a_guest_delays_its_own_stalls),
	CASE(test_stes_that_a_guest_must_not_have_cut_the_device_off),
};

TEST_SUITE(vmm_relay, tests, NULL, NULL);
