/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Power off and on: accesses are caught, state is lost. */

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define VA	UINT64_C(0x100000000)
#define FRAME	(RIG_DATA + 0x5000)

static uint8_t buf[64];

/* True if the access, in a child, ends by SIGSEGV. */
static bool
is_caught(const struct rig *r, uint32_t offset, bool write)
{
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Neither cmocka's handler nor a sanitizer's. */
		signal(SIGSEGV, SIG_DFL);
		if (write)
			smmuv3_write32(r->regs, offset, 0);
		else
			smmuv3_read32(r->regs, offset);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static struct smmuv3_model_dma *
setup(struct rig *r, const struct smmuv3_model_conf *conf)
{
	rig_open(r, conf);
	rig_start(r);
	rig_set_s1(r, 0);
	return rig_add_dma(r, RIG_SID, -1);
}

static void
test_power_off_catches_each_access(void **state)
{
	static const uint32_t offsets[] = { SMMUV3_IDR0, SMMUV3_GERROR, SMMUV3_CMDQ_CONS,
		SMMUV3_CMDQ_PROD, SMMUV3_EVENTQ_PROD, SMMUV3_PRIQ_CONS };
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_set_cr0(&r, 0);
	assert_int_equal(smmuv3_model_power_on(r.m), -EALREADY);
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	assert_int_equal(smmuv3_model_power_off(r.m), -EALREADY);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		assert_true(is_caught(&r, offsets[i], false));
		assert_true(is_caught(&r, offsets[i], true));
	}
	/* The model itself does not access the page. */
	rig_run(&r);
	assert_int_equal(smmuv3_model_power_on(r.m), 0);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++)
		assert_false(is_caught(&r, offsets[i], false));
	rig_close(&r);
}

/* The power-off must be the driver's last act: work left to do is reported. */
static void
test_power_off_with_work_left_is_reported(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	rig_run(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	rig_expect_error(&r, "while SMMUEN is set");
	/* The stall ends, and accesses abort. */
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, RIG_DATA, buf, 8),
			SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);

	rig_open(&r, NULL);
	rig_start(&r);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN);
	rig_put(&r, smmuv3_cmd_sync());
	rig_ring(&r);
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	rig_expect_error(&r, "not consumed");
	rig_close(&r);

	rig_open(&r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ATS |
			SMMUV3_MODEL_PRI });
	rig_start(&r);
	rig_enable_priq(&r);
	rig_set_s1_pasids(&r, SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL));
	dma = rig_add_ats_dma(&r, -1, 0, 0, false);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 0), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 4), 0);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	rig_run(&r);
	rig_set_cr0(&r, 0);
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	rig_expect_error(&r, "SID 8 has 1 page request groups outstanding");
	smmuv3_model_dma_reset(dma);
	assert_int_equal(rig_poll(&r, dma), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* A driver that relies on the registers it wrote before, and one that writes them all again. */
static void
test_power_cycle_loses_registers_and_caches(void **state)
{
	static const uint32_t configured[] = { SMMUV3_CR1, SMMUV3_STRTAB_BASE, SMMUV3_CMDQ_BASE,
		SMMUV3_EVENTQ_BASE, SMMUV3_CMDQ_PROD, SMMUV3_EVENTQ_CONS, SMMUV3_EVENTQ_PROD,
		SMMUV3_GERROR_IRQ_CFG0, SMMUV3_EVENTQ_IRQ_CFG1 };
	struct smmuv3_model_dma *dma;
	uint32_t ids[3], was;
	unsigned int same = 0;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	rig_map(&r, VA, FRAME, RIG_RW);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8), SMMUV3_MODEL_OK);
	ids[0] = rig_read(&r, SMMUV3_IDR0);
	ids[1] = rig_read(&r, SMMUV3_IDR1);
	ids[2] = rig_read(&r, SMMUV3_IDR5);
	rig_set_cr0(&r, 0);
	was = rig_read(&r, SMMUV3_STRTAB_BASE);
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	/* No caller waits for a TLBI: the caches are empty. */
	rig_unmap(&r, VA);
	assert_int_equal(smmuv3_model_power_on(r.m), 0);
	assert_int_equal(rig_read(&r, SMMUV3_IDR0), ids[0]);
	assert_int_equal(rig_read(&r, SMMUV3_IDR1), ids[1]);
	assert_int_equal(rig_read(&r, SMMUV3_IDR5), ids[2]);
	assert_int_equal(rig_read(&r, SMMUV3_CR0) | rig_read(&r, SMMUV3_CR0ACK) |
			rig_read(&r, SMMUV3_IRQ_CTRL) | rig_read(&r, SMMUV3_GERROR) |
			rig_read(&r, SMMUV3_GERRORN), 0);
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), 0x1000);
	/* Random values: neither zero nor the old value. */
	assert_int_not_equal(rig_read(&r, SMMUV3_STRTAB_BASE), was);
	for (size_t i = 0; i < sizeof(configured) / sizeof(configured[0]); i++)
		same += rig_read(&r, configured[i]) == 0;
	assert_true(same < 3);
	rig_run(&r);

	/* Without any command: a page that was unmapped meanwhile is in no cache. */
	smmuv3_write64(r.regs, SMMUV3_STRTAB_BASE, rig_get_addr(&r, r.strtab));
	smmuv3_write32(r.regs, SMMUV3_STRTAB_BASE_CFG, r.strtab_log2);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	assert_int_equal(rig_poll(&r, dma), 0);
	rig_set_cr0(&r, 0);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);

	/* Set up queues and stream table again. */
	r.cmd_prod = r.evt_cons = 0;
	r.used = 0;
	rig_start(&r);
	rig_set_s1(&r, 0);
	rig_map(&r, VA, FRAME, RIG_RW);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8), SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* The driver enables a queue without writing its registers: the SMMU does not use the old queue. */
static void
test_power_cycle_and_a_queue_that_was_not_written_again(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_set_cr0(&r, 0);
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	assert_int_equal(smmuv3_model_power_on(r.m), 0);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN);
	rig_run(&r);
	/* Illegal indices, or commands fetched outside all windows. */
	assert_true(smmuv3_model_driver_errors(r.m) != 0 || rig_read(&r, SMMUV3_GERROR) != 0);
	smmuv3_model_driver_errors_clear(r.m);
	rig_close(&r);
}

static void
test_power_cycles_while_the_model_has_a_thread(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	dma = rig_add_dma(&r, RIG_SID, -1);
	assert_int_equal(smmuv3_model_start(r.m, -1), 0);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(smmuv3_model_power_off(r.m), 0);
		assert_int_equal(smmuv3_model_dma_write(dma, RIG_DATA, buf, 8), -EFAULT);
		assert_int_equal(smmuv3_model_power_on(r.m), 0);
		assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), 0);
		/* At reset GBPA does not abort. */
		assert_int_equal(smmuv3_model_dma_write(dma, RIG_DATA, buf, 8), 0);
	}
	assert_int_equal(smmuv3_model_stop(r.m), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_gbpa_resets_to_abort_by_choice(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (unsigned int abort = 0; abort < 2; abort++) {
		dma = setup(&r, &(struct smmuv3_model_conf){
			.choices = abort ? SMMUV3_MODEL_GBPA_RESET_ABORT : 0 });
		rig_set_cr0(&r, 0);
		assert_int_equal(smmuv3_model_power_off(r.m), 0);
		assert_int_equal(smmuv3_model_power_on(r.m), 0);
		assert_int_equal(!!(smmuv3_read32(r.regs, SMMUV3_GBPA) & SMMUV3_GBPA_ABORT), abort);
		assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, RIG_DATA, buf, 8),
				abort ? SMMUV3_MODEL_ABORTED : SMMUV3_MODEL_OK);
		rig_close(&r);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_power_off_catches_each_access),
	cmocka_unit_test(test_power_off_with_work_left_is_reported),
	cmocka_unit_test(test_power_cycle_loses_registers_and_caches),
	cmocka_unit_test(test_power_cycle_and_a_queue_that_was_not_written_again),
	cmocka_unit_test(test_power_cycles_while_the_model_has_a_thread),
	cmocka_unit_test(test_gbpa_resets_to_abort_by_choice),
};

TEST_SUITE(model_power, tests, NULL, NULL);
