/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The virtual SMMU of examples/vmm-relay: stages, stalls, STEs; a hostile guest. */

#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
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
	memcpy(v->mem + VM_CMDQ + smmuv3_q_slot(VM_CMDQ_LOG2, smmuv3_read32(v->regs,
			SMMUV3_CMDQ_CONS)) * 16, &vm_sync_cmd, 16);
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
	uint64_t r = next_random(x), sid = r >> 60 == 0 ? r >> 50 & 15 : VM_SID;
	const uint64_t noise = r >> 40 & 7 ? 0 : next_random(x) & next_random(x);
	uint8_t op;

	switch (r % 16) {
	case 0:		/* a register */
		smmuv3_write32(v->regs, regs[(r >> 8) % RTE_DIM(regs)],
				(uint32_t)(next_random(x) & 0x1f));
		break;
	case 1:		/* tables */
		vm_set_dw(v, (r & 32 ? VM_CDS : VM_STRTAB + VM_SID * 64) +
				(uint32_t)(r >> 8) % 4 * 8, next_random(x) & next_random(x));
		break;
	case 2:
		vm_set_dw(v, (r & 32 ? VM_L1 : VM_L3) + (uint32_t)(r >> 8) % 512 * 8,
				next_random(x));
		break;
	case 3:
	case 4:
	case 5:
		if (smmuv3_model_dma_outstanding(v->dev[0].dma) < 64)
			smmuv3_model_dma_submit(v->dev[0].dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .addr = VM_VA((r >> 8) % 64),
				.buf = &value, .len = sizeof(value) });
		break;
	default:	/* a command */
		op = ops[(r >> 8) % sizeof(ops)];
		vm_put(v, (struct smmuv3_cmd){ .dw = {
			op | (is_with_sid(op) ? sid << 32 : 0) | (noise & ~UINT64_C(0xff)),
			op == SMMUV3_OP_RESUME ? (r >> 20) % 64 :
				op == SMMUV3_OP_TLBI_NH_VA || op == SMMUV3_OP_TLBI_NH_VAA ?
				VM_VA((r >> 20) % 64) | (r >> 30 & 1) : noise } });
		break;
	}
}

/* The other guest's device works on, with its own memory, and its own stalls. */
static void
test_a_hostile_guest_harms_itself_alone(void **state)
{
	static const uint64_t value = 16;
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	uint64_t x = test_seed("hostile guest") * UINT64_C(0x9e3779b97f4a7c15);
	const unsigned int rounds = 200 * test_scale();
	struct smmuv3_model_done done;
	const struct relay_stats *stats = relay_get_stats(v->relay);

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	vm_boot(other);
	vm_map(other, 1, 1);
	for (unsigned int round = 0; round < rounds; round++) {
		uint16_t stag;

		vm_boot(v);
		for (unsigned int i = 0; i < 32; i++)
			vm_map(v, i, i);
		for (unsigned int i = 0; i < 50; i++) {
			misbehave(v, &x);
			if (i % 4 == 0) {
				vm_run();
				if (smmuv3_read32(v->regs, SMMUV3_GERROR) !=
						smmuv3_read32(v->regs, SMMUV3_GERRORN))
					go_on(v);
			}
		}
		vm_run();
		vm_expect_write(other, 1, 1);
		vm_submit(other, 2, &value);
		stag = vm_take_stall(other, 2);
		vm_map(other, 2, 2);
		vm_put(other, smmuv3_cmd_resume(VM_SID, stag, true, false));
		vm_sync(other);
		assert_int_equal(vm_take_done(other), SMMUV3_MODEL_OK);
		vm_unmap(other, 2);
		/* The VMM ends it. */
		assert_int_equal(relay_reset(v->relay), 0);
		vm_run();
		assert_int_equal(relay_count_stalls(v->relay), 0);
		while (smmuv3_model_dma_poll(v->dev[0].dma, &done, 1) == 1)
			;
		assert_int_equal(smmuv3_model_dma_outstanding(v->dev[0].dma), 0);
		assert_int_equal(smmuv3_model_driver_errors(vm_host.m), 0);
		/* What it makes of its own tables without a TLBI is its own affair. */
		smmuv3_model_oracle_errors_clear(vm_host.m);
	}
	print_message("  %llu STEs, %llu invalidations, %llu stalls, %llu answers, %llu refused\n",
			(unsigned long long)stats->stes, (unsigned long long)stats->invalidations,
			(unsigned long long)stats->stalls, (unsigned long long)stats->resumes,
			(unsigned long long)stats->refused);
	assert_true(stats->invalidations > rounds && stats->stalls > rounds / 4);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, vm_setup, vm_teardown)
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
