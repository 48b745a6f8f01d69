/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The virtual SMMU of examples/vmm-relay: a guest that misuses the ATS and PRI of its devices, at
 * random. Its devices may ask for pages without end: nothing here waits until all rests before the
 * VMM has ended the guest.
 */

#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_relay_rig.h"

static const uint64_t value = 61;

static int
setup_pri(void **state)
{
	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	vm_open(&(struct vm_conf){ .pri = true });
	return 0;
}

static int
teardown(void **state)
{
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	return vm_teardown(state);
}

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Replace a refused command, and acknowledge the error. */
static void
go_on(struct vm *v)
{
	const uint32_t gerror = smmuv3_read32(v->regs, SMMUV3_GERROR);

	if (gerror == smmuv3_read32(v->regs, SMMUV3_GERRORN))
		return;
	memcpy(v->mem + VM_CMDQ + smmuv3_q_slot(VM_CMDQ_LOG2, smmuv3_read32(v->regs,
			SMMUV3_CMDQ_CONS)) * sizeof(vm_sync_cmd), &vm_sync_cmd,
			sizeof(vm_sync_cmd));
	smmuv3_write32(v->regs, SMMUV3_GERRORN, gerror);
}

static void
misbehave(struct vm *v, uint64_t *x)
{
	const uint64_t r = next_random(x);
	const uint32_t sid = VM_SID + (r >> 8) % (VM_DEVS + 1);
	const unsigned int dev = (r >> 16) % VM_DEVS, page = (r >> 24) % 64;

	switch (r % 12) {
	case 0:
		vm_write_ste(v, dev, (r >> 32) % 3);
		break;
	case 1:		/* the queue on and off */
		smmuv3_write32(v->regs, SMMUV3_CR0, smmuv3_read32(v->regs, SMMUV3_CR0) ^
				(r >> 32 & 3 ? 0 : SMMUV3_CR0_PRIQEN));
		break;
	case 2:		/* entries freed that never were, overflows acknowledged that never were */
		smmuv3_write32(v->regs, SMMUV3_PRIQ_CONS, (uint32_t)(r >> 32) &
				(SMMUV3_Q_OVFLG | 0x7f));
		break;
	case 3:
		vm_map(v, page, page);
		break;
	case 4:
		vm_put(v, smmuv3_cmd_atc_inv(sid, r >> 40 & 1, r >> 41 & 7, r >> 44 & 1,
				VM_VA(page), (r >> 48) % 54));
		break;
	case 5:
	case 6:
		vm_put(v, smmuv3_cmd_pri_resp(sid, (r >> 40 & 7) == 0, r >> 43 & 1,
				(r >> 44) % 8, (r >> 52) % 3));
		break;
	default:
		if (smmuv3_model_dma_outstanding(v->dev[dev].dma) < 64)
			vm_dev_write(&v->dev[dev], page, &value, sizeof(value));
		break;
	}
}

/* Until the guest's commands are consumed. */
static void
sync_busy(struct vm *v)
{
	vm_put(v, vm_sync_cmd);
	for (unsigned int i = 0; smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS) !=
			smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD); i++) {
		assert_in_range(i, 0, 100000);
		vm_run_some(1);
	}
}

/* A page request, its answer, an access through the ATC, and its end. */
static void
expect_service(struct vm *v)
{
	struct vm_dev *d = &v->dev[0];

	vm_dev_write(d, 1, &value, sizeof(value));
	for (unsigned int i = 0; smmuv3_q_pos(VM_PRIQ_LOG2, smmuv3_read32(v->regs,
			SMMUV3_PRIQ_PROD)) == v->ppr_cons; i++) {
		assert_in_range(i, 0, 100000);
		vm_run_some(1);
	}
	vm_map(v, 1, 1);
	vm_put(v, smmuv3_cmd_pri_resp(VM_SID, false, 0, vm_dev_take_request(d, 1),
			SMMUV3_PRI_RESP_SUCCESS));
	assert_int_equal(vm_dev_wait_done(d), SMMUV3_MODEL_OK);
	vm_dev_write(d, 1, &value, sizeof(value));
	assert_int_equal(vm_dev_wait_done(d), SMMUV3_MODEL_OK);
	vm_set_dw(v, VM_L3 + (VM_VA(1) >> 12 & 511) * 8, 0);
	vm_put(v, smmuv3_cmd_tlbi_nh_va(0, VM_ASID, VM_VA(1), true));
	sync_busy(v);
	vm_put(v, smmuv3_cmd_atc_inv(VM_SID, false, 0, false, VM_VA(1), 0));
	sync_busy(v);
	assert_int_equal(relay_count_groups(v->relay), 0);
}

static void
test_a_guest_that_misuses_ats_and_pri_harms_itself_alone(void **state)
{
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];
	uint64_t x = test_seed("hostile guest, PRI") * UINT64_C(0x9e3779b97f4a7c15);
	const unsigned int rounds = 100 * test_scale();
	const struct relay_stats *stats = relay_get_stats(v->relay);
	struct smmuv3_model_done done;

	(void)state;
	vm_boot(other);
	for (unsigned int round = 0; round < rounds; round++) {
		vm_boot(v);
		for (unsigned int i = 0; i < 60; i++) {
			misbehave(v, &x);
			if (i % 4 == 0) {
				vm_run_some(20);
				go_on(v);
			}
		}
		expect_service(other);
		/* The VMM ends it. */
		assert_int_equal(relay_reset(v->relay), 0);
		vm_run();
		assert_int_equal(relay_count_groups(v->relay), 0);
		for (unsigned int i = 0; i < VM_DEVS; i++) {
			while (smmuv3_model_dma_poll(v->dev[i].dma, &done, 1) == 1)
				;
			assert_int_equal(smmuv3_model_dma_outstanding(v->dev[i].dma), 0);
			assert_int_equal(smmuv3_model_dma_pri_outstanding(v->dev[i].dma), 0);
		}
		assert_int_equal(smmuv3_model_driver_errors(vm_host.m), 0);
		/* What it makes of its own ATCs without an ATC_INV is its own affair. */
		smmuv3_model_oracle_errors_clear(vm_host.m);
	}
	print_message("  %llu STEs, %llu invalidations, %llu groups, %llu answers, %llu refused\n",
			(unsigned long long)stats->stes, (unsigned long long)stats->invalidations,
			(unsigned long long)stats->groups, (unsigned long long)stats->responses,
			(unsigned long long)stats->refused);
	assert_true(stats->groups > rounds && stats->responses > rounds / 10 &&
			stats->invalidations > rounds / 4);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(test_a_guest_that_misuses_ats_and_pri_harms_itself_alone,
			setup_pri, teardown),
};

TEST_SUITE(vmm_relay_pri_hostile, tests, NULL, NULL);
