/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The state of an SMMU: whether it may translate, and which calls succeed then. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "cr0.h"
#include "gerror.h"
#include "iopf_handler.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"
#include "wait.h"

#define CHECKERS	6

static bool
can_translate(struct pmd *p)
{
	uint8_t byte = 1;

	pmd_write(p, PMD_VA, &byte, 1);
	return pmd_wait_done(p) == SMMUV3_MODEL_OK;
}

static int
invalidate_page(struct pmd *p)
{
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 1u << p->granule_log2 };
	struct iopf_inv_result result;

	return p->ops->invalidate(p->s, p->domain, &inv, 1, &result);
}

/* The SMMU translates one page and does not acknowledge the stop. */
static void
stop_without_ack(struct pmd *p)
{
	pmd_open(p, NULL);
	pmd_start(p, IOPF_STALL);
	p->s->timeout /= 20;
	pmd_map(p, PMD_VA, pmd_alloc(p, 1u << p->granule_log2, 1u << p->granule_log2));
	assert_true(can_translate(p));
	smmuv3_model_knob(p->m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	assert_int_equal(p->ops->stop(p->s), -ETIMEDOUT);
	assert_true(smmuv3_read32(p->s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN);
}

static void
test_no_invalidation_succeeds_while_a_stop_is_not_acknowledged(void **state)
{
	struct iopf_event event;
	struct pmd p;

	(void)state;
	stop_without_ack(&p);
	assert_true(can_translate(&p));
	*pmd_get_pte(&p, PMD_VA) = 0;
	assert_true(invalidate_page(&p) < 0);
	/* The error is correct: the device still reaches the old page. */
	assert_true(can_translate(&p));
	assert_true(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL) < 0);
	assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	assert_int_equal(p.ops->check(p.s), 0);
	/* The SMMU acknowledges. The next caller sees that. */
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	pmd_step(&p);
	assert_int_equal(invalidate_page(&p), 0);
	assert_false(can_translate(&p));
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_stop_that_failed_can_be_called_again(void **state)
{
	struct pmd p;

	(void)state;
	stop_without_ack(&p);
	assert_int_equal(p.ops->stop(p.s), -ETIMEDOUT);
	assert_true(invalidate_page(&p) < 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(invalidate_page(&p), 0);
	assert_false(can_translate(&p));
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_true(can_translate(&p));
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_start_recovers_an_smmu_that_did_not_stop(void **state)
{
	struct pmd p;

	(void)state;
	stop_without_ack(&p);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	assert_true(invalidate_page(&p) < 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	assert_int_equal(p.ops->start(p.s), 0);
	*pmd_get_pte(&p, PMD_VA) = 0;
	assert_int_equal(invalidate_page(&p), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The driver keeps its memory while the SMMU may use it. */
static void
test_close_keeps_what_the_smmu_may_use(void **state)
{
	struct pmd p;

	(void)state;
	stop_without_ack(&p);
	assert_int_equal(p.ops->close(p.s), -EBUSY);
	assert_int_equal(p.ops->close(p.s), -EBUSY);
	assert_true(can_translate(&p));
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_false(can_translate(&p));
	assert_int_equal(p.ops->start(p.s), 0);
	assert_true(can_translate(&p));
	pmd_finish(&p, IOPF_NO_PASID);
}

/* A running SMMU is not off. */
static void
test_close_is_refused_while_the_smmu_runs(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	assert_int_equal(p.ops->close(p.s), -EBUSY);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static struct {
	struct pmd *p;
	void (*wait)(void *ctx);
} deaf;

/* The SMMU acknowledges neither SMMUEN = 1 nor SMMUEN = 0. */
static void
wait_without_ack(void *ctx)
{
	if (smmuv3_read32(deaf.p->s->regs, SMMUV3_CR0) & SMMUV3_CR0_SMMUEN)
		smmuv3_model_knob(deaf.p->m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	deaf.wait(ctx);
}

static void
test_a_start_that_failed_half_way_is_undone_or_unsafe(void **state)
{
	const struct smmuv3_backend *before;
	struct smmuv3_backend backend;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .ack_delay = 3 });
	pmd_add_dev(&p, IOPF_STALL, 0, IOPF_NO_PASID);
	p.s->timeout /= 20;
	before = p.s->backend;
	backend = *before;
	backend.wait = wait_without_ack;
	deaf.p = &p;
	deaf.wait = before->wait;
	p.s->backend = &backend;
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	/* CR0ACK has CMDQEN and EVENTQEN: the SMMU uses its queues. */
	assert_int_equal(p.ops->close(p.s), -EBUSY);
	p.s->backend = before;
	/* CR0ACK.SMMUEN reads 0 and may become 1 at any time. */
	assert_true(invalidate_page(&p) < 0);
	assert_int_equal(p.ops->stop(p.s), -ETIMEDOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	pmd_step(&p);
	assert_true(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN);
	assert_true(invalidate_page(&p) < 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(invalidate_page(&p), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The SMMU is given up and does not answer. It uses its TLB until SMMUEN reads 0. */
static void
test_an_smmu_that_is_given_up_is_not_off(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	p.s->timeout /= 20;
	pmd_map(&p, PMD_VA, pmd_alloc(&p, 1u << p.granule_log2, 1u << p.granule_log2));
	assert_true(can_translate(&p));
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1000);
	*pmd_get_pte(&p, PMD_VA) = 0;
	assert_int_equal(invalidate_page(&p), -EIO);
	assert_int_equal(p.ops->check(p.s), IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED);
	assert_int_equal(invalidate_page(&p), -EIO);
	assert_int_equal(p.ops->close(p.s), -EBUSY);
	assert_int_equal(p.ops->stop(p.s), -ETIMEDOUT);
	assert_true(invalidate_page(&p) < 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* Another thread stopped in the middle of a recovery, or of a start, and does not go on. */
static void
test_control_waits_for_another_call_no_longer_than_for_the_smmu(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	p.s->timeout /= 20;
	assert_true(smmuv3_ctl_trylock(p.s));
	assert_int_equal(p.ops->stop(p.s), -ETIMEDOUT);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	assert_int_equal(p.ops->idle(p.s, -1), -ETIMEDOUT);
	assert_int_equal(p.ops->check(p.s), 0);
	smmuv3_ctl_unlock(p.s);
	p.s->timeout *= 20;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* Another thread owns the command queue and does not release it. */
static void
test_control_waits_for_the_owner_of_the_cmdq_no_longer_than_for_the_smmu(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	p.s->timeout /= 20;
	assert_true(smmuv3_cmdq_try_own(&p.s->cmdq));
	assert_int_equal(p.ops->stop(p.s), -ETIMEDOUT);
	assert_int_equal(p.ops->start(p.s), -ETIMEDOUT);
	/* That thread still owns the queue. */
	assert_false(smmuv3_cmdq_try_own(&p.s->cmdq));
	smmuv3_cmdq_disown(&p.s->cmdq);
	p.s->timeout *= 20;
	assert_int_equal(p.ops->start(p.s), 0);
	assert_true(smmuv3_cmdq_try_own(&p.s->cmdq));
	smmuv3_cmdq_disown(&p.s->cmdq);
	pmd_finish(&p, IOPF_NO_PASID);
}

static struct {
	struct smmuv3 *s;
	struct smmuv3_model *m;
	const struct smmuv3_backend *real;
	struct smmuv3_wait wait;
} late;

/* The acknowledgement comes during the next wait, not the first. */
static void
wait_and_acknowledge_late(void *ctx)
{
	if (!smmuv3_wait_count(late.s, &late.wait))
		smmuv3_model_knob(late.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	late.real->wait(ctx);
}

/* A field keeps its value until its last change is acknowledged: it is not what was asked for. */
static void
test_a_cr0_write_that_had_to_leave_a_field_fails(void **state)
{
	struct smmuv3_backend backend;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	p.s->timeout /= 10;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	smmuv3_cr0_store(p.s, p.s->cr0 & ~SMMUV3_CR0_SMMUEN);
	late.s = p.s;
	late.m = p.m;
	late.real = p.s->backend;
	smmuv3_wait_begin(p.s, &late.wait);
	late.wait.left += p.s->timeout / 2;
	backend = *late.real;
	backend.wait = wait_and_acknowledge_late;
	p.s->backend = &backend;
	assert_int_equal(smmuv3_cr0_write(p.s, p.s->cr0 | SMMUV3_CR0_SMMUEN), -ETIMEDOUT);
	assert_int_equal(p.s->cr0 & SMMUV3_CR0_SMMUEN, 0);
	p.s->backend = late.real;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	pmd_step(&p);
	assert_int_equal(smmuv3_cr0_write(p.s, p.s->cr0 | SMMUV3_CR0_SMMUEN), 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

struct checkers {
	struct pmd *p;
	_Atomic bool end;
};

/* The part of a wait that reads GERROR, in a loop. */
static void *
run_checker(void *arg)
{
	struct checkers *checkers = arg;

	while (!atomic_load(&checkers->end))
		smmuv3_gerror_check_cmdq(checkers->p->s, true);
	return NULL;
}

/*
 * Threads that wait may be preempted between any two instructions, and go on after a stop, when the
 * SMMU has no power. A read of a register then ends the program. There are more threads than
 * processors, so that some are always preempted.
 */
static void
test_no_wait_reads_a_register_after_a_stop(void **state)
{
	struct checkers checkers = { .end = false };
	pthread_t threads[CHECKERS];
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	/* A thread that is preempted may own the queue. */
	p.s->timeout *= 60;
	checkers.p = &p;
	for (unsigned int i = 0; i < CHECKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_checker, &checkers), 0);
	for (unsigned int i = 0; i < 60; i++) {
		assert_int_equal(p.ops->stop(p.s), 0);
		assert_int_equal(smmuv3_model_power_off(p.m), 0);
		usleep(5000);
		assert_int_equal(smmuv3_model_power_on(p.m), 0);
		assert_int_equal(p.ops->start(p.s), 0);
		usleep(1000);
	}
	atomic_store(&checkers.end, true);
	for (unsigned int i = 0; i < CHECKERS; i++)
		pthread_join(threads[i], NULL);
	p.s->timeout /= 60;
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static struct pmd *dumped;

/* The file of a dump: while it blocks, the SMMU is stopped and loses its power. */
static ssize_t
write_and_stop(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	(void)text;
	if (dumped != NULL) {
		assert_int_equal(dumped->ops->stop(dumped->s), 0);
		assert_int_equal(smmuv3_model_power_off(dumped->m), 0);
		dumped = NULL;
	}
	return len;
}

static void
test_a_dump_reads_no_register_after_a_stop(void **state)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = write_and_stop });
	struct pmd p;

	(void)state;
	assert_non_null(f);
	setvbuf(f, NULL, _IONBF, 0);
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	dumped = &p;
	p.ops->dump(p.s, f);
	assert_null(dumped);
	/* Nor the next one. */
	p.ops->dump(p.s, f);
	fclose(f);
	assert_int_equal(smmuv3_model_power_on(p.m), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_dump_reads_no_register_during_another_control_call(void **state)
{
	char text[4096] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");
	struct pmd p;

	(void)state;
	assert_non_null(f);
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	p.s->timeout = 1;
	assert_true(smmuv3_ctl_trylock(p.s));
	p.ops->dump(p.s, f);
	fclose(f);
	assert_non_null(strstr(text, "registers are not read"));
	assert_null(strstr(text, "CR0ACK"));
	/* The dump leaves ctl to its holder. */
	assert_false(smmuv3_ctl_trylock(p.s));
	smmuv3_ctl_unlock(p.s);
	p.s->timeout = rte_get_tsc_hz();
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_control_waits_for_the_owner_of_the_cmdq_no_longer_than_for_the_smmu),
	cmocka_unit_test(test_control_waits_for_another_call_no_longer_than_for_the_smmu),
	cmocka_unit_test(test_no_invalidation_succeeds_while_a_stop_is_not_acknowledged),
	cmocka_unit_test(test_a_stop_that_failed_can_be_called_again),
	cmocka_unit_test(test_a_start_recovers_an_smmu_that_did_not_stop),
	cmocka_unit_test(test_close_keeps_what_the_smmu_may_use),
	cmocka_unit_test(test_close_is_refused_while_the_smmu_runs),
	cmocka_unit_test(test_a_start_that_failed_half_way_is_undone_or_unsafe),
	cmocka_unit_test(test_an_smmu_that_is_given_up_is_not_off),
	cmocka_unit_test(test_a_cr0_write_that_had_to_leave_a_field_fails),
	cmocka_unit_test(test_no_wait_reads_a_register_after_a_stop),
	cmocka_unit_test(test_a_dump_reads_no_register_after_a_stop),
	cmocka_unit_test(test_a_dump_reads_no_register_during_another_control_call),
};

TEST_SUITE(pmd_state, tests, NULL, NULL);
