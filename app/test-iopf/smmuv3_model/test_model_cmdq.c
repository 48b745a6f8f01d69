/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's command queue: legality, errors and recovery, SYNC. */

#include <sys/eventfd.h>
#include <unistd.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define ERR(cons) SMMUV3_GET(SMMUV3_CMDQ_CONS_ERR, cons)

static bool
read_active(const struct rig *r, uint64_t bit)
{
	return (rig_read(r, SMMUV3_GERROR) ^ rig_read(r, SMMUV3_GERRORN)) & bit;
}

static void
acknowledge_error(const struct rig *r)
{
	rig_write(r, SMMUV3_GERRORN, rig_read(r, SMMUV3_GERROR));
}

/* An error at the @p at-th of @p nb commands: CONS stops there, ERR is set, later commands wait. */
static void
check_error_at(struct rig *r, unsigned int nb, unsigned int at)
{
	uint32_t first = r->cmd_prod, bad = 0;
	uint64_t before = rig_get_stat(r, SMMUV3_MODEL_STAT_SYNCS);

	for (unsigned int i = 0; i < nb; i++) {
		if (i == at)
			bad = r->cmd_prod;
		rig_put(r, i == at ? (struct smmuv3_cmd){ .dw = { 0xff } } : smmuv3_cmd_sync());
	}
	rig_ring(r);
	rig_run(r);
	assert_true(read_active(r, SMMUV3_GERROR_CMDQ_ERR));
	assert_int_equal(ERR(rig_read(r, SMMUV3_CMDQ_CONS)), SMMUV3_CERROR_ILL);
	assert_int_equal(smmuv3_q_pos(r->cmdq_log2, rig_read(r, SMMUV3_CMDQ_CONS)), bad);
	assert_int_equal(rig_get_stat(r, SMMUV3_MODEL_STAT_SYNCS) - before, at);
	/* The command is rewritten and the error acknowledged. PROD is not written. */
	r->cmdq[smmuv3_q_slot(r->cmdq_log2, first + at)] = smmuv3_cmd_sync();
	acknowledge_error(r);
	rig_run(r);
	assert_false(read_active(r, SMMUV3_GERROR_CMDQ_ERR));
	assert_int_equal(rig_read(r, SMMUV3_CMDQ_CONS), r->cmd_prod);
	assert_int_equal(rig_get_stat(r, SMMUV3_MODEL_STAT_SYNCS) - before, nb);
}

static void
test_cmdq_illegal_at_first_middle_last_and_wrapped_entry(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	r.cmdq_log2 = 3;
	rig_start(&r);
	/* Enough rounds that each position meets each index and both wraps. */
	for (unsigned int round = 0; round < 16; round++) {
		check_error_at(&r, 5, 0);
		check_error_at(&r, 5, 2);
		check_error_at(&r, 5, 4);
		check_error_at(&r, 8, 7);
	}
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_CERRORS), 64);
	rig_close(&r);
}

static void
test_cmdq_illegal_commands(void **state)
{
	static const struct smmuv3_cmd bad[] = {
		{ { 0x00 } }, { { 0x07 } }, { { 0x18 } }, { { 0x1a } }, { { 0x20 } }, { { 0x21 } },
		{ { 0x22 } }, { { 0x23 } }, { { 0x28 } }, { { 0x2a } }, { { 0x40 } }, { { 0x41 } },
		{ { 0x50 } }, { { 0x70 } }, { { 0x73 } }, { { 0x80 } }, { { 0xff } },
		{ { 0x46 | 3 << 12 } },			/* CS = 3 */
		{ { 0x46 | 1 << 10 } },			/* SSec */
		{ { 0x03 | 1 << 10 } },
		{ { 0x03 | 1 << 8 } },			/* RES0 */
		{ { 0x30, 1 } },
		{ { 0x12, 0x400 } },			/* TG without NUM, SCALE, TTL */
		{ { 0x12, 0x900 } },			/* 16K with TTL 1, as TTL 0 */
		{ { 0x12, 0x100 } },			/* TTL without TG */
		{ { 0x12 | 1 << 12 } },			/* NUM without TG */
		{ { 0x13 | UINT64_C(1) << 48 } },	/* VAA has no ASID */
		{ { 0x10 | UINT64_C(1) << 40 } },	/* VMID16 = 0 */
	};
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_put(&r, bad[i]);
		rig_ring(&r);
		rig_run(&r);
		if (!read_active(&r, SMMUV3_GERROR_CMDQ_ERR))
			fail_msg("command %zu was legal", i);
		assert_int_equal(ERR(rig_read(&r, SMMUV3_CMDQ_CONS)), SMMUV3_CERROR_ILL);
		r.cmdq[smmuv3_q_slot(r.cmdq_log2, r.cmd_prod - 1)] = smmuv3_cmd_sync();
		acknowledge_error(&r);
		rig_run(&r);
	}
	rig_close(&r);
}

static void
test_cmdq_legal_commands(void **state)
{
	struct smmuv3_cmd good[] = {
		{ { 0x01 | UINT64_C(8) << 32 } }, { { 0x02 | UINT64_C(8) << 32, 0x1000 } },
		smmuv3_cmd_cfgi_ste(8, true), smmuv3_cmd_cfgi_ste(8, false),
		{ { 0x04 | UINT64_C(8) << 32, 5 } }, smmuv3_cmd_cfgi_all(),
		smmuv3_cmd_cfgi_cd(8, 3, true), smmuv3_cmd_cfgi_cd_all(8),
		{ { 0x10 } }, smmuv3_cmd_tlbi_nh_asid(0, 0xffff),
		smmuv3_cmd_tlbi_nh_va(0, 5, 0x12345000, true),
		smmuv3_cmd_tlbi_nh_va_range(0, 5, 0x12345000, true, 1, 3, 0, 3),
		smmuv3_cmd_tlbi_nh_va_range(0, 5, 0x12345000, false, 1, 0, 1, 0),
		{ { 0x13, 0x12345000 } }, smmuv3_cmd_tlbi_nsnh_all(),
		smmuv3_cmd_resume(8, 77, true, false), smmuv3_cmd_sync(),
		{ { 0x46 | 2 << 12 } },
	};
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		rig_send(&r, good[i]);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_RESUMES_STALE), 1);
	rig_close(&r);
}

static void
test_cmdq_features_taken_away_make_commands_illegal(void **state)
{
	const struct smmuv3_cmd bad[] = {
		smmuv3_cmd_resume(8, 0, true, false), smmuv3_cmd_stall_term(8),
		smmuv3_cmd_tlbi_nh_asid(0, 0x100),
		smmuv3_cmd_tlbi_nh_va_range(0, 5, 0x12345000, true, 1, 3, 0, 3),
	};
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .stall_model = 1,
			.no_features = SMMUV3_MODEL_NO_RIL | SMMUV3_MODEL_NO_ASID16 });
	rig_start(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_put(&r, bad[i]);
		rig_ring(&r);
		rig_run(&r);
		assert_true(read_active(&r, SMMUV3_GERROR_CMDQ_ERR));
		r.cmdq[smmuv3_q_slot(r.cmdq_log2, r.cmd_prod - 1)] = smmuv3_cmd_sync();
		acknowledge_error(&r);
		rig_run(&r);
	}
	rig_close(&r);
}

static void
test_cmdq_lax_smmu_ignores_reserved_bits(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_LAX_RES0 });
	rig_start(&r);
	rig_send(&r, (struct smmuv3_cmd){ { 0x03 | 1 << 8 | UINT64_C(8) << 32 } });
	rig_send(&r, (struct smmuv3_cmd){ { 0x30, 1 } });
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	rig_close(&r);
}

static void
test_cmdq_fetch_abort_leaves_the_command_to_be_fetched_again(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_sync(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	rig_put(&r, smmuv3_cmd_sync());
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	rig_run(&r);
	assert_true(read_active(&r, SMMUV3_GERROR_CMDQ_ERR));
	assert_int_equal(ERR(rig_read(&r, SMMUV3_CMDQ_CONS)), SMMUV3_CERROR_ABT);
	assert_int_equal(smmuv3_q_pos(r.cmdq_log2, rig_read(&r, SMMUV3_CMDQ_CONS)),
			r.cmd_prod - 2);
	acknowledge_error(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	rig_close(&r);
}

static void
test_cmdq_queue_outside_memory_aborts(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	smmuv3_write64(r.regs, SMMUV3_CMDQ_BASE, UINT64_C(0x7f00000000) | 4);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN);
	rig_write(&r, SMMUV3_CMDQ_PROD, 1);
	rig_run(&r);
	assert_true(read_active(&r, SMMUV3_GERROR_CMDQ_ERR));
	assert_int_equal(ERR(rig_read(&r, SMMUV3_CMDQ_CONS)), SMMUV3_CERROR_ABT);
	rig_close(&r);
}

static void
test_cmdq_prod_may_move_back_while_the_error_is_active_only(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_put(&r, (struct smmuv3_cmd){ { 0 } });
	rig_put(&r, smmuv3_cmd_sync());
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	rig_run(&r);
	assert_true(read_active(&r, SMMUV3_GERROR_CMDQ_ERR));
	r.cmd_prod -= 3;
	rig_ring(&r);
	rig_run(&r);
	acknowledge_error(&r);
	rig_run(&r);
	assert_int_equal(smmuv3_model_driver_errors(r.m), 0);
	rig_sync(&r);

	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	rig_put(&r, smmuv3_cmd_sync());
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	rig_run(&r);
	r.cmd_prod -= 1;
	rig_ring(&r);
	rig_run(&r);
	rig_expect_error(&r, "CMDQ_PROD moved back");
	rig_close(&r);
}

static void
test_cmdq_stops_at_an_impossible_prod(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_write(&r, SMMUV3_CMDQ_PROD, smmuv3_q_add(8, r.cmd_prod, 257));
	rig_run(&r);
	rig_expect_error(&r, "is out of range for CONS");
	rig_write(&r, SMMUV3_CMDQ_PROD, r.cmd_prod);
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	rig_run(&r);
	assert_int_not_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	/* CMDQEN 0 and 1 starts the queue again. */
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_EVENTQEN);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_CMDQEN);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	rig_close(&r);
}

static void
test_cmdq_error_outlives_cmdqen_and_gerror_toggles_once(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_put(&r, (struct smmuv3_cmd){ { 0 } });
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 1);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_EVENTQEN);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_CMDQEN);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 1);
	assert_true(read_active(&r, SMMUV3_GERROR_CMDQ_ERR));
	/* Acknowledged without a repair: the same error again, whose bit toggles back to 0. */
	acknowledge_error(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	assert_true(read_active(&r, SMMUV3_GERROR_CMDQ_ERR));
	rig_close(&r);
}

static void
test_cmdq_sync_msi_comes_before_cons_and_onto_its_own_slot(void **state)
{
	smmuv3_reg32_t *word;
	struct rig r;
	uint32_t slot;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	word = rig_alloc(&r, 4, 4);
	rig_send(&r, smmuv3_cmd_sync_msi(rig_get_addr(&r, word), 0xdeadbeef));
	assert_int_equal(smmuv3_load_word(word), 0xdeadbeef);
	slot = smmuv3_q_slot(r.cmdq_log2, r.cmd_prod);
	rig_send(&r, smmuv3_cmd_sync_msi(rig_get_addr(&r, &r.cmdq[slot]), 0));
	assert_int_equal((uint32_t)r.cmdq[slot].dw[0], 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_MSIS), 2);
	/* GERROR reports an MSI that aborts, and the SYNC is consumed. */
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	rig_send(&r, smmuv3_cmd_sync_msi(rig_get_addr(&r, word), 1));
	assert_int_equal(smmuv3_load_word(word), 0xdeadbeef);
	assert_true(read_active(&r, SMMUV3_GERROR_MSI_CMDQ_ABT));
	acknowledge_error(&r);
	rig_send(&r, smmuv3_cmd_sync_msi(UINT64_C(0x7000000000), 1));
	assert_true(read_active(&r, SMMUV3_GERROR_MSI_CMDQ_ABT));
	rig_close(&r);
}

static void
test_cmdq_sync_irq_pulses_the_wire(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t n = 0;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .no_features = SMMUV3_MODEL_NO_MSI });
	rig_start(&r);
	smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_CMD_SYNC, fd);
	rig_sync(&r);
	assert_int_equal(read(fd, &n, sizeof(n)), -1);
	/* Without IDR0.MSI the address has no meaning. */
	rig_send(&r, smmuv3_cmd_sync_msi(0x1000, 1));
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	rig_close(&r);
	close(fd);
}

static void
test_cmdq_of_one_entry_and_beyond_the_limit(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	r.queue_size_1 = true;
	rig_start(&r);
	for (int i = 0; i < 9; i++)
		rig_sync(&r);
	rig_close(&r);
	/* LOG2SIZE 31 reads back and acts as IDR1.CMDQS. */
	rig_open(&r, &(struct smmuv3_model_conf){ .cmdq_log2 = 2 });
	r.cmdq_log2 = 2;
	r.cmdq = rig_alloc(&r, 64, 64);
	smmuv3_write64(r.regs, SMMUV3_CMDQ_BASE, rig_get_addr(&r, r.cmdq) | 31);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN);
	for (int i = 0; i < 9; i++)
		rig_sync(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_BASE) & 31, 31);
	rig_close(&r);
}

static void
test_cmdq_of_half_a_million_entries_wraps(void **state)
{
	const uint32_t n = 1u << 19;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .cmdq_log2 = 19 });
	r.cmdq_log2 = 19;
	r.cmdq = rig_alloc(&r, n * sizeof(*r.cmdq), n * sizeof(*r.cmdq));
	smmuv3_write64(r.regs, SMMUV3_CMDQ_BASE, rig_get_addr(&r, r.cmdq) | 19);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN);
	for (uint32_t i = 0; i < n; i++)
		r.cmdq[i] = smmuv3_cmd_tlbi_nsnh_all();
	for (int round = 0; round < 3; round++) {
		r.cmd_prod = smmuv3_q_add(19, r.cmd_prod, n);
		rig_ring(&r);
		rig_run(&r);
		assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), r.cmd_prod);
	}
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_COMMANDS), 3 * (uint64_t)n);
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_cmdq_illegal_at_first_middle_last_and_wrapped_entry),
	cmocka_unit_test(test_cmdq_illegal_commands),
	cmocka_unit_test(test_cmdq_legal_commands),
	cmocka_unit_test(test_cmdq_features_taken_away_make_commands_illegal),
	cmocka_unit_test(test_cmdq_lax_smmu_ignores_reserved_bits),
	cmocka_unit_test(test_cmdq_fetch_abort_leaves_the_command_to_be_fetched_again),
	cmocka_unit_test(test_cmdq_queue_outside_memory_aborts),
	cmocka_unit_test(test_cmdq_prod_may_move_back_while_the_error_is_active_only),
	cmocka_unit_test(test_cmdq_stops_at_an_impossible_prod),
	cmocka_unit_test(test_cmdq_error_outlives_cmdqen_and_gerror_toggles_once),
	cmocka_unit_test(test_cmdq_sync_msi_comes_before_cons_and_onto_its_own_slot),
	cmocka_unit_test(test_cmdq_sync_irq_pulses_the_wire),
	cmocka_unit_test(test_cmdq_of_one_entry_and_beyond_the_limit),
	cmocka_unit_test(test_cmdq_of_half_a_million_entries_wraps),
};

TEST_SUITE(model_cmdq, tests, NULL, NULL);
