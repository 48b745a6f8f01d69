/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The virtual SMMU of examples/vmm-relay: ATCs of its devices. */

#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_relay_rig.h"

static int
setup_pri(void **state)
{
	(void)state;
	vm_open(&(struct vm_conf){ .pri = true });
	return 0;
}

static void
put_tlbi(struct vm *v, unsigned int page)
{
	vm_put(v, smmuv3_cmd_tlbi_nh_va(0, VM_ASID, VM_VA(page), true));
}

static void
put_atc_inv(struct vm *v, unsigned int i, unsigned int page)
{
	vm_put(v, smmuv3_cmd_atc_inv(VM_SID + i, false, 0, false, VM_VA(page), 0));
}

/* The guest's command queue has stopped at its SYNC with CERROR_ATC_INV_SYNC; go on. */
static void
expect_atc_error(struct vm *v)
{
	const uint32_t cons = smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS);
	struct smmuv3_cmd cmd;

	assert_int_equal((smmuv3_read32(v->regs, SMMUV3_GERROR) ^
			smmuv3_read32(v->regs, SMMUV3_GERRORN)), SMMUV3_GERROR_CMDQ_ERR);
	assert_int_equal(SMMUV3_GET(SMMUV3_CMDQ_CONS_ERR, cons), SMMUV3_CERROR_ATC_INV_SYNC);
	memcpy(&cmd, v->mem + VM_CMDQ + smmuv3_q_slot(VM_CMDQ_LOG2, cons) * sizeof(cmd),
			sizeof(cmd));
	assert_int_equal(SMMUV3_GET(SMMUV3_CMD0_OP, cmd.dw[0]), SMMUV3_OP_SYNC);
	smmuv3_write32(v->regs, SMMUV3_GERRORN, smmuv3_read32(v->regs, SMMUV3_GERROR));
	vm_run();
	/* ERR keeps its value [6.3.28]. */
	assert_int_equal(smmuv3_q_pos(VM_CMDQ_LOG2, smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS)),
			smmuv3_q_pos(VM_CMDQ_LOG2, smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD)));
}

static void
test_an_atc_inv_reaches_the_atcs_of_its_own_guest(void **state)
{
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];

	(void)state;
	vm_boot(v);
	vm_boot(other);
	for (unsigned int i = 0; i < VM_DEVS; i++) {
		vm_map(v, 1, 1);
		vm_map(other, 1, 1);
		vm_dev_expect_write(&v->dev[i], 1, 1);
	}
	vm_expect_write(other, 1, 1);
	vm_map(v, 1, 2);
	put_tlbi(v, 1);
	/* Of the other guest, of the guest's other device, of another page. */
	put_atc_inv(other, 0, 1);
	vm_sync(other);
	put_atc_inv(v, 1, 1);
	put_atc_inv(v, 0, 2);
	vm_sync(v);
	vm_expect_write(v, 1, 1);
	vm_dev_expect_write(&v->dev[1], 1, 2);
	put_atc_inv(v, 0, 1);
	vm_sync(v);
	vm_expect_write(v, 1, 2);
	vm_expect_write(other, 1, 1);
	smmuv3_model_oracle_errors_clear(vm_host.m);
}

/* Names of devices that the guest does not have, as with a device without ATS: no effect. */
static void
test_an_atc_inv_of_no_device_is_no_error(void **state)
{
	struct vm *v = &vm_host.vm[0];
	const struct relay_stats *stats = relay_get_stats(v->relay);

	(void)state;
	vm_boot(v);
	vm_map(v, 1, 1);
	vm_expect_write(v, 1, 1);
	for (uint32_t sid = 0; sid < 16; sid++)
		if (sid < VM_SID || sid >= VM_SID + VM_DEVS)
			vm_put(v, smmuv3_cmd_atc_inv(sid, false, 0, false, 0,
					SMMUV3_ATC_SIZE_ALL));
	vm_put(v, smmuv3_cmd_atc_inv(0xffffffff, false, 0, false, 0, SMMUV3_ATC_SIZE_ALL));
	vm_sync(v);
	assert_int_equal(stats->refused, 0);
	assert_int_equal(stats->invalidations, 0);
}

static void
test_a_dead_atc_costs_its_own_device(void **state)
{
	static const uint64_t value = 41;
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	vm_boot(v);
	vm_boot(other);
	vm_map(v, 1, 1);
	vm_map(other, 1, 1);
	vm_expect_write(v, 1, 1);
	vm_dev_expect_write(&v->dev[1], 1, 1);
	vm_expect_write(other, 1, 1);
	smmuv3_model_dma_quirks(v->dev[0].dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	vm_map(v, 1, 2);
	put_tlbi(v, 1);
	put_atc_inv(v, 0, 1);
	put_atc_inv(v, 1, 1);
	vm_put(v, vm_sync_cmd);
	vm_run();
	/* The other device's ATC_INV has had its effect. */
	vm_dev_expect_write(&v->dev[1], 1, 2);
	vm_expect_write(other, 1, 1);
	expect_atc_error(v);
	vm_submit(v, 1, &value);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	/* One error, not one for each SYNC. */
	put_atc_inv(v, 0, 1);
	vm_put(v, vm_sync_cmd);
	vm_run();
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_GERROR),
			smmuv3_read32(v->regs, SMMUV3_GERRORN));
	/* The guest resets the device, and gives it a new STE. */
	smmuv3_model_dma_quirks(v->dev[0].dma, 0, 0);
	smmuv3_model_dma_reset(v->dev[0].dma);
	vm_set_dw(v, VM_STRTAB + VM_SID * 64, 0);
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	vm_run();
	vm_write_ste(v, 0, SMMUV3_EATS_FULL);
	vm_run();
	vm_expect_write(v, 1, 2);
	smmuv3_model_oracle_errors_clear(vm_host.m);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
}

/* Both devices of the guest, in one array: one error, and the commands behind have effect. */
static void
test_several_dead_atcs_are_one_error(void **state)
{
	static const uint64_t value = 42;
	struct vm *v = &vm_host.vm[0], *other = &vm_host.vm[1];

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	vm_boot(v);
	vm_boot(other);
	vm_map(other, 1, 1);
	for (unsigned int i = 0; i < VM_DEVS; i++)
		smmuv3_model_dma_quirks(v->dev[i].dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	/* The TLBIs keep the driver from asking both at once. */
	for (unsigned int i = 0; i < VM_DEVS; i++) {
		put_atc_inv(v, i, 1);
		put_tlbi(v, 1);
	}
	vm_put(v, vm_sync_cmd);
	vm_run();
	expect_atc_error(v);
	assert_int_equal(relay_get_stats(v->relay)->refused, 0);
	for (unsigned int i = 0; i < VM_DEVS; i++) {
		vm_dev_submit(&v->dev[i], 1, &value);
		assert_int_equal(vm_dev_take_done(&v->dev[i]), SMMUV3_MODEL_ABORTED);
		smmuv3_model_dma_quirks(v->dev[i].dma, 0, 0);
		smmuv3_model_dma_reset(v->dev[i].dma);
	}
	vm_expect_write(other, 1, 1);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
}

/* Its faults are events, and a TLBI without an ATC_INV shows a change. */
static void
test_without_eats_a_device_has_no_atc_and_no_page_requests(void **state)
{
	static const uint64_t value = 43;
	struct vm *v = &vm_host.vm[0];
	struct smmuv3_evt evt;

	(void)state;
	vm_boot(v);
	assert_true(relay_uses_ats(v->relay, VM_SID));
	assert_false(relay_uses_ats(v->relay, VM_SID + VM_DEVS));
	vm_write_ste(v, 0, SMMUV3_EATS_OFF);
	vm_sync(v);
	assert_false(relay_uses_ats(v->relay, VM_SID));
	vm_map(v, 1, 1);
	vm_expect_write(v, 1, 1);
	vm_map(v, 1, 2);
	put_tlbi(v, 1);
	put_atc_inv(v, 0, 1);
	vm_sync(v);
	assert_int_equal(relay_get_stats(v->relay)->invalidations, 1);
	vm_expect_write(v, 1, 2);
	vm_submit(v, 3, &value);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_PRIQ_PROD), 0);
	assert_int_equal(smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD), 1);
	memcpy(&evt, v->mem + VM_EVTQ, sizeof(evt));
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_ID, evt.dw[0]), SMMUV3_F_TRANSLATION);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_SID, evt.dw[0]), VM_SID);
	assert_false(evt.dw[1] & SMMUV3_EVT1_STALL);
	assert_int_equal(evt.dw[2], VM_VA(3));
	/* And with it again. */
	vm_write_ste(v, 0, SMMUV3_EATS_FULL);
	vm_sync(v);
	vm_submit(v, 3, &value);
	vm_map(v, 3, 3);
	vm_put(v, smmuv3_cmd_pri_resp(VM_SID, false, 0, vm_dev_take_request(&v->dev[0], 3),
			SMMUV3_PRI_RESP_SUCCESS));
	vm_sync(v);
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
}

/* Bypass has no ATS [5.2], whatever EATS is. */
static void
test_a_bypass_has_no_ats(void **state)
{
	static const uint64_t value = 44;
	struct vm *v = &vm_host.vm[0];

	(void)state;
	vm_boot(v);
	vm_set_dw(v, VM_STRTAB + VM_SID * 64, SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS));
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	put_atc_inv(v, 0, 1);
	vm_sync(v);
	assert_false(relay_uses_ats(v->relay, VM_SID));
	assert_int_equal(smmuv3_model_dma_submit(v->dev[0].dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = vm_get_ipa(v, VM_DATA + 5 * VM_PAGE),
		.buf = (void *)(uintptr_t)&value, .len = sizeof(value) }), 0);
	vm_run();
	assert_int_equal(vm_take_done(v), SMMUV3_MODEL_OK);
	assert_int_equal(vm_read_data(v, 5), value);
	assert_int_equal(smmuv3_model_stat(vm_host.m, SMMUV3_MODEL_STAT_ATS_REQUESTS), 0);
}

/* A guest's driver sets it for an endpoint that wants the PASID in answers. */
static void
test_an_ste_may_have_ppar(void **state)
{
	struct vm *v = &vm_host.vm[0];

	(void)state;
	vm_boot(v);
	vm_map(v, 1, 1);
	vm_set_dw(v, VM_STRTAB + VM_SID * 64 + 8, SMMUV3_STE1_PPAR |
			SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL));
	vm_put(v, smmuv3_cmd_cfgi_ste(VM_SID, true));
	vm_sync(v);
	vm_expect_write(v, 1, 1);
	assert_int_equal(relay_get_stats(v->relay)->refused, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup_pri, vm_teardown)
static const struct CMUnitTest tests[] = {
	CASE(test_an_atc_inv_reaches_the_atcs_of_its_own_guest),
	CASE(test_an_atc_inv_of_no_device_is_no_error),
	CASE(test_a_dead_atc_costs_its_own_device),
	CASE(test_several_dead_atcs_are_one_error),
	CASE(test_without_eats_a_device_has_no_atc_and_no_page_requests),
	CASE(test_a_bypass_has_no_ats),
	CASE(test_an_ste_may_have_ppar),
};

TEST_SUITE(vmm_relay_atc, tests, NULL, NULL);
