/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The PRIQ of the model: registers, sizes, interrupts. */

#include <sys/eventfd.h>
#include <unistd.h>

#include "pri_rig.h"
#include "test.h"

static void
test_priq_registers_are_guarded(void **state)
{
	struct rig r;

	(void)state;
	pri_setup(&r);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_PROD written while PRIQEN is set");
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 0);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_BASE, 0);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_BASE written while PRIQEN is set");
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_IRQ_CTRLACK), (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_write(&r, SMMUV3_PRIQ_IRQ_CFG1, 5);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_IRQ_CFG1 written while PRIQ_IRQEN is set");
	/* The guards use the bit itself: PRIQEN holds without SMMUEN. */
	rig_set_cr0(&r, PRI_CR0_ON & ~1u);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	rig_expect_error(&r, "PRIQ_PROD written while PRIQEN is set");
	rig_set_cr0(&r, PRI_CR0_ON & ~3u);
	rig_write(&r, SMMUV3_PRIQ_PROD, 1);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), 1);
	rig_close(&r);
}

/* One entry, whose wrap is bit 0; and a LOG2SIZE above the limit of IDR1. */
static void
test_priq_sizes_at_the_ends(void **state)
{
	struct smmuv3_model_conf conf = pri_conf;
	struct smmuv3_model_dma *dma;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	conf.priq_log2 = 2;
	for (unsigned int log2 = 0; log2 <= 10; log2 += 10) {
		unsigned int nb = log2 == 0 ? 1 : 4;

		rig_open(&r, &conf);
		rig_start(&r);
		r.queue_size_1 = true;
		rig_enable_priq(&r);
		rig_set_s1_pasids(&r, PRI_EATS);
		if (log2 != 0) {
			rig_set_cr0(&r, PRI_CR0_ON & ~(uint32_t)SMMUV3_CR0_PRIQEN);
			r.priq = rig_alloc(&r, 64, 64);
			smmuv3_write64(r.regs, SMMUV3_PRIQ_BASE, rig_get_addr(&r, r.priq) | log2);
			rig_set_cr0(&r, PRI_CR0_ON);
			r.priq_log2 = 2;
		}
		dma = pri_add_engine(&r, 1, 1, 0, false, 64);
		for (unsigned int i = 1; i <= 3 * nb; i++) {
			ppr = pri_ask(&r, dma, PRI_VA);
			assert_int_equal(rig_read(&r, SMMUV3_PRIQ_PROD), i % (2 * nb));
			pri_refuse(&r, dma, &ppr);
		}
		pri_fill(&r, dma, nb);
		pri_begin(&r, dma, PRI_VA, 1);
		assert_true(rig_has_overflow(&r));
		pri_map(&r, PRI_VA, 1);
		pri_refuse_all(&r);
		assert_int_equal(rig_poll(&r, dma), nb + 1);
		pri_close(&r, dma);
	}
}

/* CR0.ATSCHK and STE.EATS decide about translation, not about page requests. */
static void
test_priq_requests_do_not_depend_on_eats_and_atschk(void **state)
{
	const uint32_t on = PRI_CR0_ON | (uint32_t)SMMUV3_CR0_ATSCHK;
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct smmuv3_ppr ppr;
	struct rig r;

	(void)state;
	for (int atschk = 0; atschk < 2; atschk++) {
		pri_setup(&r);
		if (atschk)
			rig_set_cr0(&r, on);
		dma = pri_send_half(&r, 1, false);
		rig_get_ste(&r, RIG_SID)->dw[1] &= ~SMMUV3_STE1_EATS;
		rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
		ppr = pri_take(&r);
		assert_false(ppr.dw[0] & SMMUV3_PPR0_LAST);
		ppr = pri_take(&r);
		assert_true(ppr.dw[0] & SMMUV3_PPR0_LAST);
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);
		rig_send_pri_resp(&r, &ppr, false, SUCCESS);
		/* The endpoint cannot translate the page that it requested. */
		pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
		assert_true(rig_take_evt(&r, &evt));
		assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_BAD_ATS_TREQ);
		pri_close(&r, dma);
	}
}

/*
 * Interrupts for: the first request, its Last, a third one in a queue that is not empty, and two
 * lost to an overflow, without Last and with it.
 */
static void
check_interrupts(bool lo, bool msi)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct smmuv3_model_dma *dma;
	smmuv3_reg32_t *word;
	uint64_t n;
	struct rig r;
	const uint64_t want[5] = { !lo, lo, lo, 0, lo };

	pri_setup(&r);
	smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_PRIQ, fd);
	word = rig_alloc(&r, 64, 64);
	if (msi) {
		smmuv3_write64(r.regs, SMMUV3_PRIQ_IRQ_CFG0, rig_get_addr(&r, (void *)word));
		smmuv3_write32(r.regs, SMMUV3_PRIQ_IRQ_CFG1, 0x77);
	}
	smmuv3_write32(r.regs, SMMUV3_PRIQ_IRQ_CFG2,
			(uint32_t)(lo ? SMMUV3_PRIQ_IRQ_CFG2_LO : 0) | 0xf);
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	dma = pri_add_engine(&r, 1, 2, 0, false, 64);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA, pri_buf[0], 8192);
	for (unsigned int i = 0; i < 5; i++) {
		if (i == 2) {
			rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA + 0x10000, pri_buf[0], 8);
		} else if (i == 3) {
			pri_start(&r, dma, PRI_VA + 0x20000, 1);
			atomic_store(word, 0);
			(void)!read(fd, &n, sizeof(n));
			rig_submit(&r, dma, SMMUV3_MODEL_WRITE, PRI_VA + 0x30000, pri_buf[0],
					8192);
		}
		assert_int_equal(smmuv3_model_step(r.m, 1), 1);
		n = 0;
		(void)!read(fd, &n, sizeof(n));
		if (msi) {
			assert_int_equal(n, 0);
			n = atomic_load(word) == 0x77;
			atomic_store(word, 0);
		}
		if (n != want[i])
			fail_msg("lo %d msi %d step %u", lo, msi, i);
	}
	assert_true(rig_has_overflow(&r));
	pri_map(&r, PRI_VA + 0x30000, 2);
	rig_run(&r);
	pri_refuse_all(&r);
	assert_int_equal(rig_poll(&r, dma), 4);
	pri_close(&r, dma);
	close(fd);
}

static void
test_priq_interrupts(void **state)
{
	(void)state;
	check_interrupts(false, false);
	check_interrupts(false, true);
	check_interrupts(true, false);
	check_interrupts(true, true);
}

static void
test_priq_aborted_msi_is_an_error(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	pri_setup(&r);
	smmuv3_write64(r.regs, SMMUV3_PRIQ_IRQ_CFG0, 0x10);
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_PRIQ);
	rig_run(&r);
	dma = pri_add_engine(&r, 1, 1, 0, false, 8);
	pri_start(&r, dma, PRI_VA, 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_MSI_PRIQ_ABT);
	pri_refuse_all(&r);
	pri_check_ended(&r, dma, SMMUV3_MODEL_ABORTED);
	pri_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_priq_registers_are_guarded),
	cmocka_unit_test(test_priq_sizes_at_the_ends),
	cmocka_unit_test(test_priq_requests_do_not_depend_on_eats_and_atschk),
	cmocka_unit_test(test_priq_interrupts),
	cmocka_unit_test(test_priq_aborted_msi_is_an_error),
};

TEST_SUITE(model_priq, tests, NULL, NULL);
