/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Errors of the command queue: illegal commands, and fetches that abort. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "iopf_handler.h"
#include "log_lines.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static void
test_an_illegal_command_is_found_and_skipped(void **state)
{
	struct smmuv3_cmd cmds[10];
	unsigned int log2, bad, n, start;
	struct iopf_inv_result result;
	struct pmd p;

	(void)state;
	/*
	 * The first, a middle and the last command; batches that fit, that wrap, and that are
	 * larger than the queue.
	 */
	for (log2 = 0; log2 <= 5; log2++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = log2 & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.cmdq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2 });
		pmd_start(&p, IOPF_STALL);
		for (start = 0; start < 32; start += 5)
			for (bad = 0; bad < RTE_DIM(cmds); bad++) {
				for (n = 0; n < RTE_DIM(cmds); n++)
					cmds[n] = n == bad ? pmd_illegal : pmd_make_tlbi(n);
				for (n = 0; n < start; n++)
					assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0,
							NULL), 0);
				assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, cmds, RTE_DIM(cmds),
						&result), -EIO);
				assert_int_equal(result.done, bad);
				assert_int_equal(result.failed, bad);
				assert_int_equal(result.error, IOPF_INV_ILL);
				/* Of two illegal commands the first counts. */
				cmds[9] = pmd_illegal;
				assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, cmds, RTE_DIM(cmds),
						&result), -EIO);
				assert_int_equal(result.done, bad);
				assert_int_equal(result.failed, bad);
				assert_int_equal(result.error, IOPF_INV_ILL);
				/* The next batch has no error. */
				cmds[0] = pmd_make_tlbi(0);
				assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, cmds, 1, NULL), 0);
			}
		assert_int_equal(pmd_read_stat(&p, "cerror_ill"), 7 * (10 + 19));
		pmd_serve_fault(&p, PMD_VA);
		assert_int_equal(p.ops->check(p.s), 0);
		/* The model reports each illegal command as an error of the driver. */
		p.untidy = true;
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* More illegal commands than the driver keeps: it takes the whole batch as failed. */
static void
test_many_illegal_commands_are_all_skipped(void **state)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	struct iopf_inv_result result;
	unsigned int i;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	for (i = 0; i < SMMUV3_CHUNK; i++)
		cmds[i] = i == 0 ? pmd_make_tlbi(i) : pmd_illegal;
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, cmds, SMMUV3_CHUNK, &result), -EIO);
	assert_int_equal(result.failed, 1);
	for (i = 0; i < 3; i++)
		smmuv3_cmdq_post(&p.s->cmdq, cmds, SMMUV3_CHUNK);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), 0);
	assert_int_equal(pmd_read_stat(&p, "cerror_ill"), 4 * (SMMUV3_CHUNK - 1));
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* A guest could cause a line for each command. */
static void
test_the_first_illegal_command_is_named_in_the_log(void **state)
{
	char part[64], *lines;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	snprintf(part, sizeof(part), "command 0x%016" PRIx64 " 0x%016" PRIx64, pmd_illegal.dw[0],
			pmd_illegal.dw[1]);
	SAYS(part, assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &pmd_illegal, 1, NULL), -EIO));
	log_lines_begin();
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &pmd_illegal, 1, NULL), -EIO);
	lines = log_lines_end();
	assert_string_equal(lines, "");
	free(lines);
	assert_int_equal(pmd_read_stat(&p, "cerror_ill"), 2);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_an_illegal_answer_does_not_leave_a_stall(void **state)
{
	struct iopf_event event;
	struct smmuv3_cmd cmd;
	uint8_t buf[4] = { 0 };
	struct pmd p;
	unsigned int i, told = 0;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_wait_event(&p, &event);
	cmd = smmuv3_cmd_resume(event.sid, event.token, false, true);
	cmd.dw[1] |= UINT64_C(1) << 63;
	smmuv3_cmdq_post(&p.s->cmdq, &cmd, 1);
	for (i = 0; i < 100; i++) {
		pmd_step(&p);
		told |= p.ops->check(p.s);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);
	pmd_serve_fault(&p, PMD_VA);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_command_fetch_that_aborts_is_tried_again(void **state)
{
	struct smmuv3_cmd cmds[3] = { pmd_make_tlbi(0), pmd_make_tlbi(1), pmd_make_tlbi(2) };
	struct pmd p;

	(void)state;
	for (unsigned int aborts = 1; aborts <= SMMUV3_ABT_RETRIES; aborts += 5) {
		pmd_open(&p, NULL);
		pmd_start(&p, IOPF_STALL);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, aborts);
		assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, cmds, 3, NULL), 0);
		assert_int_equal(pmd_read_stat(&p, "cerror_abt"), aborts);
		pmd_serve_fault(&p, PMD_VA);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_a_command_queue_that_cannot_be_read_is_given_up(void **state)
{
	struct smmuv3_cmd cmds[3] = { pmd_make_tlbi(0), pmd_make_tlbi(1), pmd_make_tlbi(2) };
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 4096 };
	struct iopf_inv_result result;
	uint8_t buf[4] = { 0 };
	struct iopf_event event;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_wait_event(&p, &event);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1000);
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, cmds, 3, &result), -EIO);
	assert_int_equal(result.done, 0);
	assert_int_equal(result.error, IOPF_INV_ABT);
	result.error = IOPF_INV_OK;
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), -EIO);
	assert_int_equal(result.done, 0);
	assert_int_equal(result.error, IOPF_INV_ABT);
	/* The stall cannot be answered, and ends nevertheless. */
	assert_int_equal(p.ops->check(p.s), IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED);
	assert_int_equal(p.ops->check(p.s), IOPF_CHECK_DEAD);
	pmd_answer(&p, &event, IOPF_SUCCESS);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pmd_read_stat(&p, "sync_timeouts"), 0);
	/* The queue works again after a stop and a start. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_int_equal(p.ops->check(p.s), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* While a caller waits, other callers' commands fail. */
static struct {
	const struct smmuv3_backend *real;
	struct smmuv3_cmdq *q;
	unsigned int nb_errors;
} others;

static void
wait_and_fail_others(void *ctx)
{
	others.real->wait(ctx);
	for (; others.nb_errors > 0; others.nb_errors--)
		smmuv3_cmdq_record_error(others.q, UINT64_C(1) << 40, false);
}

/*
 * The array holds the last 64 errors. When a caller has missed 64, the owner may be overwriting
 * the first of them: it is not known that none was the caller's.
 */
static void
test_as_many_errors_as_are_kept_may_include_the_callers(void **state)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_tlbi_nsnh_all();
	struct smmuv3_backend backend;
	struct iopf_inv_result result;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	others.real = p.s->backend;
	others.q = &p.s->cmdq;
	backend = *others.real;
	backend.wait = wait_and_fail_others;
	p.s->backend = &backend;
	others.nb_errors = SMMUV3_CMD_ERRORS - 1;
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &cmd, 1, NULL), 0);
	assert_int_equal(others.nb_errors, 0);
	others.nb_errors = SMMUV3_CMD_ERRORS;
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &cmd, 1, &result), -EIO);
	assert_int_equal(result.failed, 0);
	p.s->backend = others.real;
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_illegal_command_is_found_and_skipped),
	cmocka_unit_test(test_many_illegal_commands_are_all_skipped),
	cmocka_unit_test(test_the_first_illegal_command_is_named_in_the_log),
	cmocka_unit_test(test_an_illegal_answer_does_not_leave_a_stall),
	cmocka_unit_test(test_a_command_fetch_that_aborts_is_tried_again),
	cmocka_unit_test(test_as_many_errors_as_are_kept_may_include_the_callers),
	cmocka_unit_test(test_a_command_queue_that_cannot_be_read_is_given_up),
};

TEST_SUITE(pmd_cmdq_error, tests, NULL, NULL);
