/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Registers of the model: identification, guards, acknowledgement, GBPA, GERROR. */

#include <errno.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static void
test_regs_identify_the_default_smmu(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	/* S1P, TTF=2, COHACC, ASID16, MSI, CD2L, TTENDIAN=2, STALL_MODEL=0, ST_LEVEL=1 */
	assert_int_equal(rig_read(&r, SMMUV3_IDR0), 0x0848301a);
	/* SIDSIZE 16, SSIDSIZE 16, EVENTQS 10, CMDQS 10, ATTR_PERMS_OVR, ATTR_TYPES_OVR */
	assert_int_equal(rig_read(&r, SMMUV3_IDR1), 0x0d4a0410);
	/* HAD, RIL */
	assert_int_equal(rig_read(&r, SMMUV3_IDR3), 0x00000404);
	/* OAS 48 bits, all granules, STALL_MAX 512 */
	assert_int_equal(rig_read(&r, SMMUV3_IDR5), 0x02000075);
	assert_int_equal(rig_read(&r, SMMUV3_AIDR), 0x2);
	assert_int_equal(rig_read(&r, SMMUV3_CR0), 0);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	assert_int_equal((uintptr_t)r.regs % 65536, 0);
	rig_close(&r);
}

static void
test_regs_show_features_taken_away(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){
		.sid_bits = 6, .ssid_bits = SMMUV3_MODEL_NONE, .cmdq_log2 = 19,
		.evtq_log2 = SMMUV3_MODEL_NONE, .oas_bits = 36, .stall_model = 2,
		.stall_max = 3, .no_features = 0x3ff });
	/* S1P, TTF=2, TTENDIAN=2, STALL_MODEL=2, TERM_MODEL=1 */
	assert_int_equal(rig_read(&r, SMMUV3_IDR0), 0x0640000a);
	assert_int_equal(rig_read(&r, SMMUV3_IDR1), 0x0e600006);
	assert_int_equal(rig_read(&r, SMMUV3_IDR3), 0x00000004);
	assert_int_equal(rig_read(&r, SMMUV3_IDR5), 0x00030001);
	rig_close(&r);
}

static void
test_regs_configuration_is_checked(void **state)
{
	const struct smmuv3_model_conf bad[] = {
		{ .sid_bits = 33 }, { .ssid_bits = 21 }, { .cmdq_log2 = 20 }, { .evtq_log2 = 20 },
		{ .oas_bits = 41 }, { .oas_bits = 52 }, { .stall_model = 3 },
		{ .stall_max = 65536 }, { .tlb_log2 = 21 }, { .no_features = 0x400 },
		{ .choices = 0x2000 }, { .harsh = 0x1000 }, { .sid_bits = SMMUV3_MODEL_NONE },
	};
	struct smmuv3_model *m;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		assert_null(smmuv3_model_create(&bad[i]));
		assert_int_equal(errno, EINVAL);
	}
	m = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "a" });
	assert_ptr_equal(smmuv3_model_lookup("a"), m);
	assert_null(smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "a" }));
	assert_int_equal(errno, EEXIST);
	assert_null(smmuv3_model_lookup("b"));
	smmuv3_model_destroy(m);
	assert_null(smmuv3_model_lookup("a"));
}

static void
test_regs_cr0_bits_are_acknowledged_one_at_a_time_and_late(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .ack_delay = 2 });
	rig_write(&r, SMMUV3_CR0, 0xd);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(smmuv3_model_step(r.m, 8), 1);
		assert_int_equal(rig_read(&r, SMMUV3_CR0), 0xd);
		assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0);
	}
	smmuv3_model_step(r.m, 8);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0x1);
	smmuv3_model_step(r.m, 8);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0x5);
	smmuv3_model_step(r.m, 8);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0xd);
	assert_int_equal(smmuv3_model_step(r.m, 8), 0);
	rig_close(&r);
}

static void
test_regs_cr0_without_delay_is_acknowledged_in_the_next_step(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_write(&r, SMMUV3_CR0, 0xd);
	rig_write(&r, SMMUV3_IRQ_CTRL, 0x5);
	smmuv3_model_step(r.m, 8);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0xd);
	assert_int_equal(rig_read(&r, SMMUV3_IRQ_CTRLACK), 0x5);
	rig_close(&r);
}

static void
test_regs_unsupported_bits_are_never_acknowledged(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_write(&r, SMMUV3_CR0, (uint32_t)(SMMUV3_CR0_CMDQEN | SMMUV3_CR0_PRIQEN));
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CR0), (uint32_t)SMMUV3_CR0_CMDQEN);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), (uint32_t)SMMUV3_CR0_CMDQEN);
	rig_expect_error(&r, "CR0: PRIQEN set, but this SMMU does not implement it");
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_IRQ_CTRLACK), 0);
	rig_expect_error(&r, "IRQ_CTRL: PRIQ_IRQEN set");
	rig_close(&r);
}

static void
test_regs_no_ack_knob_stops_acknowledgement(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	rig_write(&r, SMMUV3_CR0, (uint32_t)SMMUV3_CR0_CMDQEN);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), (uint32_t)SMMUV3_CR0_CMDQEN);
	rig_close(&r);
}

static void
test_regs_rewriting_a_bit_in_transition_is_reported(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .ack_delay = 4 });
	rig_write(&r, SMMUV3_CR0, (uint32_t)SMMUV3_CR0_CMDQEN);
	smmuv3_model_step(r.m, 1);
	/* Writing the same value again is allowed. */
	rig_write(&r, SMMUV3_CR0, (uint32_t)SMMUV3_CR0_CMDQEN);
	smmuv3_model_step(r.m, 1);
	assert_int_equal(smmuv3_model_driver_errors(r.m), 0);
	rig_write(&r, SMMUV3_CR0, 0);
	smmuv3_model_step(r.m, 1);
	rig_expect_error(&r, "CR0.CMDQEN written again before it was acknowledged");
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CR0), (uint32_t)SMMUV3_CR0_CMDQEN);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), (uint32_t)SMMUV3_CR0_CMDQEN);
	rig_close(&r);
}

static void
test_regs_guarded_registers_keep_their_value_while_enabled(void **state)
{
	static const struct {
		uint32_t offset;
		unsigned int size;
		const char *error;
	} guarded[] = {
		{ SMMUV3_IDR0, 4, "IDR0 written although it is read-only" },
		{ SMMUV3_CR0ACK, 4, "CR0ACK written although it is read-only" },
		{ SMMUV3_GERROR, 4, "GERROR written although it is read-only" },
		{ SMMUV3_CR1, 4, "CR1 written while" },
		{ SMMUV3_CR2, 4, "CR2 written while SMMUEN is set" },
		{ SMMUV3_STRTAB_BASE, 8, "STRTAB_BASE written while SMMUEN is set" },
		{ SMMUV3_STRTAB_BASE_CFG, 4, "STRTAB_BASE_CFG written while SMMUEN is set" },
		{ SMMUV3_CMDQ_BASE, 8, "CMDQ_BASE written while CMDQEN is set" },
		{ SMMUV3_CMDQ_CONS, 4, "CMDQ_CONS written while CMDQEN is set" },
		{ SMMUV3_EVENTQ_BASE, 8, "EVENTQ_BASE written while EVENTQEN is set" },
		{ SMMUV3_EVENTQ_PROD, 4, "EVENTQ_PROD written while EVENTQEN is set" },
		{ SMMUV3_GERROR_IRQ_CFG0, 8, "GERROR_IRQ_CFG0 written while GERROR_IRQEN is set" },
		{ SMMUV3_EVENTQ_IRQ_CFG1, 4, "EVENTQ_IRQ_CFG1 written while EVENTQ_IRQEN is set" },
		{ SMMUV3_PRIQ_BASE, 8, "PRIQ_BASE written although it is reserved" },
		{ 0xac, 4, "EVENTQ_CONS of page 0 written although it is reserved" },
	};
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_write(&r, SMMUV3_IRQ_CTRL, 0x5);
	rig_run(&r);
	for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
		uint32_t offset = guarded[i].offset;
		uint64_t before = smmuv3_read32(r.regs, offset);

		rig_write(&r, offset, (uint32_t)before ^ 0x40);
		rig_run(&r);
		assert_int_equal(rig_read(&r, offset), before);
		rig_expect_error(&r, guarded[i].error);
		if (guarded[i].size == 4)
			continue;
		before = smmuv3_read32(r.regs, offset + 4);
		rig_write(&r, offset + 4, (uint32_t)before ^ 0x40);
		rig_run(&r);
		assert_int_equal(rig_read(&r, offset + 4), before);
		rig_expect_error(&r, guarded[i].error);
	}
	rig_close(&r);
}

static void
test_regs_guards_hold_until_the_disable_is_acknowledged(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .ack_delay = 3 });
	rig_start(&r);
	rig_write(&r, SMMUV3_CR0, 0);
	smmuv3_model_step(r.m, 1);
	rig_write(&r, SMMUV3_CR2, 0);
	smmuv3_model_step(r.m, 1);
	rig_expect_error(&r, "CR2 written while SMMUEN is set");
	rig_run(&r);
	rig_write(&r, SMMUV3_CR2, 0);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CR2), 0);
	rig_close(&r);
}

static void
test_regs_reserved_bits_read_as_zero(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_write(&r, SMMUV3_CR1, UINT32_MAX);
	smmuv3_write64(r.regs, SMMUV3_STRTAB_BASE, UINT64_MAX);
	smmuv3_write64(r.regs, SMMUV3_CMDQ_BASE, UINT64_MAX);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CR1), 0xfff);
	assert_int_equal(rig_read(&r, SMMUV3_STRTAB_BASE), 0xffffffc0);
	assert_int_equal(rig_read(&r, SMMUV3_STRTAB_BASE + 4), 0x40ffffff);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_BASE), 0xffffffff);
	rig_close(&r);
}

static void
test_regs_gbpa_update_protocol(void **state)
{
	const uint32_t abort = (uint32_t)SMMUV3_GBPA_ABORT;
	const uint32_t update = (uint32_t)SMMUV3_GBPA_UPDATE;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .ack_delay = 2 });
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), 0x1000);
	rig_write(&r, SMMUV3_GBPA, abort);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), 0x1000);
	rig_expect_error(&r, "GBPA written without UPDATE");
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 1);
	rig_write(&r, SMMUV3_GBPA, update | abort);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), update | abort);
	rig_write(&r, SMMUV3_GBPA, update);
	rig_run(&r);
	rig_expect_error(&r, "GBPA written while UPDATE is set");
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_GBPA_STUCK, 0);
	smmuv3_model_step(r.m, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), update | abort);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), abort);
	rig_close(&r);
}

static void
test_regs_gerrorn_of_an_inactive_error_is_reported(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_write(&r, SMMUV3_GERRORN, (uint32_t)SMMUV3_GERROR_CMDQ_ERR);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GERRORN), 0);
	rig_expect_error(&r, "GERRORN bit 0x1 toggled while that error is not active");
	rig_close(&r);
}

static void
test_regs_sfm_stays_when_acknowledged(void **state)
{
	struct smmuv3_model_dma *dma;
	uint8_t buf[8];
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_set_s1(&r, 0);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	dma = rig_add_dma(&r, RIG_SID, -1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_SFM, 1);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), (uint32_t)SMMUV3_GERROR_SFM);
	rig_write(&r, SMMUV3_GERRORN, (uint32_t)SMMUV3_GERROR_SFM);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8),
			SMMUV3_MODEL_ABORTED);
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	rig_run(&r);
	assert_int_not_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_SFM, 0);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8),
			SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	TEST_WITHOUT_ECMDQS(test_regs_identify_the_default_smmu),
	cmocka_unit_test(test_regs_show_features_taken_away),
	cmocka_unit_test(test_regs_configuration_is_checked),
	cmocka_unit_test(test_regs_cr0_bits_are_acknowledged_one_at_a_time_and_late),
	cmocka_unit_test(test_regs_cr0_without_delay_is_acknowledged_in_the_next_step),
	cmocka_unit_test(test_regs_unsupported_bits_are_never_acknowledged),
	cmocka_unit_test(test_regs_no_ack_knob_stops_acknowledgement),
	cmocka_unit_test(test_regs_rewriting_a_bit_in_transition_is_reported),
	cmocka_unit_test(test_regs_guarded_registers_keep_their_value_while_enabled),
	cmocka_unit_test(test_regs_guards_hold_until_the_disable_is_acknowledged),
	cmocka_unit_test(test_regs_reserved_bits_read_as_zero),
	cmocka_unit_test(test_regs_gbpa_update_protocol),
	cmocka_unit_test(test_regs_gerrorn_of_an_inactive_error_is_reported),
	cmocka_unit_test(test_regs_sfm_stays_when_acknowledged),
};

TEST_SUITE(model_regs, tests, NULL, NULL);
