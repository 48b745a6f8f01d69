/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Barriers of the control registers, of start and stop, and of tables that the SMMU may read. */

#include <rte_cycles.h>

#include "cr0.h"
#include "iopf_handler.h"
#include "order_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* The SMMU may have no power after a stop. */
static void
test_a_mark_reads_no_register_after_a_stop(void **state)
{
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_PRI);
	assert_int_equal(p.ops->stop(p.s), 0);
	trail_start();
	for (uint16_t queue = 0; queue < 2; queue++)
		assert_true(p.ops->queue_passed(p.s, queue, p.ops->queue_mark(p.s, queue)));
	trail_stop();
	assert_int_equal(trail.n, 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_recovery_reads_gerror_as_a_status(void **state)
{
	unsigned int i, at, told = 0, seen = 0;
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_STALL);
	atomic_store(&p.s->recovery.wanted, true);
	trail_start();
	for (i = 0; i < 1000 && (told == 0 || p.s->recovery.step != SMMUV3_RECOVERY_NONE); i++) {
		told |= p.ops->check(p.s);
		pmd_step(&p);
	}
	trail_stop();
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	for (at = trail_find(0, READ, SMMUV3_GERROR); at < trail.n;
			at = trail_find(at + 1, READ, SMMUV3_GERROR)) {
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, RMB);
		seen++;
	}
	assert_true(seen > 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* Also the last look of a wait that has timed out. */
static void
test_each_look_of_a_wait_is_behind_a_barrier(void **state)
{
	unsigned int at, last = 0, seen = 0;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->start(p.s), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	p.s->timeout = 1;
	trail_start();
	assert_int_equal(smmuv3_cr0_write(p.s, p.s->cr0 & ~SMMUV3_CR0_SMMUEN), -ETIMEDOUT);
	trail_stop();
	for (at = trail_find(0, READ, SMMUV3_CR0ACK); at < trail.n;
			at = trail_find(at + 1, READ, SMMUV3_CR0ACK)) {
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, RMB);
		last = at;
		seen++;
	}
	assert_true(seen >= 2);
	/* The other one is that of the MSI word of GERROR, which each wait reads. */
	assert_int_equal(trail.events[last - 2].kind, RMB);
	p.s->timeout = rte_get_tsc_hz();
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

static void
test_gerror_is_read_behind_a_full_barrier(void **state)
{
	unsigned int gerror, i;
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_STALL);
	for (i = 0; i < 16; i++) {
		trail_start();
		assert_int_equal(p.ops->check(p.s), 0);
		trail_stop();
		gerror = trail_find(0, READ, SMMUV3_GERROR);
		if (gerror < trail.n)
			break;
	}
	/* One check() in 16 reads the register whatever the word says. */
	assert_in_range(i, 0, 15);
	assert_true(trail_find(0, MB, 0) < gerror);
	assert_int_equal(trail.events[gerror - 1].kind, RMB);
	pmd_finish(&p, IOPF_NO_PASID);
}

static bool
is_within(const uint64_t *dw, const struct smmuv3_mem *mem)
{
	return (const uint8_t *)dw >= (const uint8_t *)mem->va &&
		(const uint8_t *)dw < (const uint8_t *)mem->va + mem->size;
}

/* A second-level table is empty in memory before its first-level entry points to it. */
static void
assert_leaf_comes_first(const struct smmuv3_mem *first_level)
{
	unsigned int at;

	for (at = trail_find(0, DW, 0); at < trail.n; at = trail_find(at + 1, DW, 0)) {
		if (!is_within(trail.events[at].dw, first_level))
			continue;
		assert_true(at > 0);
		assert_int_equal(trail.events[at - 1].kind, WMB);
		return;
	}
	fail_msg("no first-level entry was written");
}

static void
test_leaf_tables_are_written_before_they_are_linked(void **state)
{
	const uint32_t sid = 0x4321;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 1024 };
	struct smmuv3_dev *dev;
	struct pmd p;
	void *handle;

	(void)state;
	order_open(&p, IOPF_STALL);
	assert_true(p.s->strtab.two_level);
	trail_start();
	assert_int_equal(p.ops->dev_add(p.s, &conf, &handle), 0);
	trail_stop();
	assert_leaf_comes_first(&p.s->strtab.mem);
	dev = handle;
	assert_int_not_equal(dev->cds.fmt, SMMUV3_S1FMT_LINEAR);
	trail_start();
	assert_int_equal(rig_attach(p.ops, p.s, handle, 700, p.domain), 0);
	trail_stop();
	assert_leaf_comes_first(&dev->cds.mem);
	/* A replace links a second leaf. */
	trail_start();
	assert_int_equal(rig_replace(p.ops, p.s, handle, 700, p.domain), 0);
	trail_stop();
	assert_leaf_comes_first(&dev->cds.mem);
	assert_int_equal(rig_detach(p.ops, p.s, handle, 700), 0);
	assert_int_equal(p.ops->dev_del(p.s, handle), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* state.h, C2: the caller changes its table before it reads the state. */
static void
test_an_invalidation_reads_the_state_behind_a_full_barrier(void **state)
{
	const struct iopf_inv inv = { .all = true };
	struct iopf_inv_result result;
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_STALL);
	assert_int_equal(p.ops->stop(p.s), 0);
	trail_start();
	assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), 0);
	trail_stop();
	assert_int_equal(trail_find(0, WRITE, SMMUV3_CMDQ_PROD), trail.n);
	trail_expect(0, MB, 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The same where another thread owns the command queue, whose owner would need no barrier. */
static void
test_a_call_that_finds_the_queue_owned_has_a_barrier(void **state)
{
	const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nsnh_all();
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_STALL);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_true(smmuv3_cmdq_try_own(&p.s->cmdq));
	trail_start();
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &tlbi, 1, NULL), 0);
	trail_stop();
	trail_expect(0, MB, 0);
	smmuv3_cmdq_disown(&p.s->cmdq);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* state.h, S2: STARTING is stored before the commands that empty the caches. */
static void
test_a_start_is_published_behind_a_full_barrier(void **state)
{
	unsigned int at, last_cr0;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	trail_start();
	assert_int_equal(p.ops->start(p.s), 0);
	trail_stop();
	at = trail_expect(0, WRITE, SMMUV3_CMDQ_PROD);
	while (trail.events[at].value == 0)
		at = trail_expect(at + 1, WRITE, SMMUV3_CMDQ_PROD);
	/* The barrier is between the stores of the queue's registers and the first commands. */
	last_cr0 = trail_expect(0, WRITE, SMMUV3_CMDQ_BASE);
	assert_in_range(trail_find(last_cr0, MB, 0), last_cr0, at - 1);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_mark_reads_no_register_after_a_stop),
	cmocka_unit_test(test_a_recovery_reads_gerror_as_a_status),
	cmocka_unit_test(test_each_look_of_a_wait_is_behind_a_barrier),
	cmocka_unit_test(test_gerror_is_read_behind_a_full_barrier),
	cmocka_unit_test(test_leaf_tables_are_written_before_they_are_linked),
	cmocka_unit_test(test_an_invalidation_reads_the_state_behind_a_full_barrier),
	cmocka_unit_test(test_a_call_that_finds_the_queue_owned_has_a_barrier),
	cmocka_unit_test(test_a_start_is_published_behind_a_full_barrier),
};

TEST_SUITE(order_state, tests, NULL, NULL);
