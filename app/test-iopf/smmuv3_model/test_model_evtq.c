/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's event queue: overflow, held stalls, aborts, interrupts. */

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define TERM (SMMUV3_CD0_S)	/* removed from the CD: terminate */

/* A rig whose RIG_SID terminates or stalls, with an EVTQ of four. */
static struct smmuv3_model_dma *
setup(struct rig *r, bool stall, uint32_t choices)
{
	rig_open(r, &(struct smmuv3_model_conf){ .choices = choices });
	r->evtq_log2 = 2;
	rig_start(r);
	rig_set_s1(r, 0);
	if (!stall) {
		smmuv3_set_dw(&r->cd->dw[0], r->cd->dw[0] & ~TERM);
		rig_send(r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
		rig_sync(r);
	}
	return rig_add_dma(r, RIG_SID, -1);
}

static uint8_t buf[64];

static void
make_fault(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	rig_submit(r, dma, SMMUV3_MODEL_READ, va, buf, 4);
	rig_run(r);
}

static unsigned int
drain_events(struct rig *r)
{
	struct smmuv3_evt evt;
	unsigned int n = 0;

	while (rig_take_evt(r, &evt))
		n++;
	return n;
}

static void
test_evtq_overflow_is_flagged_once_and_does_not_block(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	for (int i = 0; i < 4; i++)
		make_fault(&r, dma, 0x1000 * i);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 4);
	make_fault(&r, dma, 0x5000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0x80000004);
	/* A second loss is not reported before the first is acknowledged. */
	make_fault(&r, dma, 0x6000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0x80000004);
	/* Free entries are enough: delivery continues without an acknowledgement. */
	assert_true(rig_take_evt(&r, &evt));
	assert_int_equal(evt.dw[2], 0);
	make_fault(&r, dma, 0x7000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0x80000005);
	make_fault(&r, dma, 0x8000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0x80000005);
	/* Acknowledge. The next loss toggles OVFLG back. */
	rig_write(&r, SMMUV3_EVENTQ_CONS, r.evt_cons | (uint32_t)SMMUV3_Q_OVFLG);
	make_fault(&r, dma, 0x9000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0x00000005);
	assert_int_equal(drain_events(&r), 4);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_EVENTS), 5);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_EVENTS_LOST), 4);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_evtq_disabled_loses_events_without_overflow(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_CMDQEN);
	make_fault(&r, dma, 0x1000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_EVENTS_LOST), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_evtq_records_beyond_prod_are_not_written_early(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	/* The queue may start at any index, wrapped or full. */
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_CMDQEN);
	rig_write(&r, SMMUV3_EVENTQ_PROD, 6);
	rig_write(&r, SMMUV3_EVENTQ_CONS, 2);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	memset(r.evtq, 0xee, 4 * sizeof(*r.evtq));
	make_fault(&r, dma, 0x1000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0x80000006);
	assert_int_equal(r.evtq[2].dw[0], UINT64_C(0xeeeeeeeeeeeeeeee));
	r.evt_cons = 3;
	rig_write(&r, SMMUV3_EVENTQ_CONS, 0x80000003);
	make_fault(&r, dma, 0x2000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 0x80000007);
	assert_int_equal(r.evtq[2].dw[2], 0x2000);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_evtq_bad_cons_is_reported_and_blocks(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	for (int i = 0; i < 4; i++)
		make_fault(&r, dma, 0x1000 * i);
	rig_write(&r, SMMUV3_EVENTQ_CONS, 6);
	make_fault(&r, dma, 0x1000);
	rig_expect_error(&r, "EVENTQ_CONS 0x6 is out of range for PROD 0x4");
	assert_int_equal(smmuv3_q_pos(2, rig_read(&r, SMMUV3_EVENTQ_PROD)), 4);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* Fill the queue with 4 stalls, so that a fifth at @p va is held back. */
static void
hold_back_stall(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	for (int i = 0; i < 4; i++)
		make_fault(r, dma, 0x100000 + 0x1000 * i);
	make_fault(r, dma, va);
	/* The fifth is neither lost nor an overflow. */
	assert_int_equal(rig_read(r, SMMUV3_EVENTQ_PROD), 4);
	assert_int_equal(rig_get_stat(r, SMMUV3_MODEL_STAT_STALLS_HELD), 1);
	assert_int_equal(smmuv3_model_stalls_outstanding(r->m), 4);
}

/* Abort all outstanding stalls, so that the engine can be destroyed. */
static void
abort_stalls(struct rig *r, struct smmuv3_model_dma *dma)
{
	struct smmuv3_evt evt;

	rig_run(r);
	while (rig_take_evt(r, &evt)) {
		if (evt.dw[1] & SMMUV3_EVT1_STALL)
			rig_send(r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
		rig_run(r);
	}
	rig_poll(r, dma);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(r);
}

static void
test_evtq_held_stall_is_replayed_when_there_is_space(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, true, 0);
	hold_back_stall(&r, dma, 0x7000);
	/* The page is mapped meanwhile. A replayed record may come nevertheless. */
	rig_map(&r, 0x7000, RIG_DATA, RIG_RW);
	assert_true(rig_take_evt(&r, &evt));
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 5);
	assert_int_equal(r.evtq[0].dw[2], 0x7000);
	abort_stalls(&r, dma);
}

static void
test_evtq_held_stall_is_retried_by_choice(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, true, SMMUV3_MODEL_RETRY_HELD);
	hold_back_stall(&r, dma, 0x7000);
	make_fault(&r, dma, 0x8000);
	rig_map(&r, 0x7000, RIG_DATA, RIG_RW);
	assert_true(rig_take_evt(&r, &evt));
	rig_run(&r);
	/* 0x7000 succeeded without a record, so 0x8000 got the entry. */
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 5);
	assert_int_equal(r.evtq[0].dw[2], 0x8000);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].cookie, 0x7000);
	assert_int_equal(r.done[0].nb_stalls, 0);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	abort_stalls(&r, dma);
}

static void
test_evtq_several_held_stalls_that_fault_again_are_all_recorded(void **state)
{
	struct smmuv3_model_dma *dma;
	unsigned int n = 0;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, true, SMMUV3_MODEL_RETRY_HELD);
	for (int i = 0; i < 20; i++)
		make_fault(&r, dma, 0x1000 * i);
	while (rig_take_evt(&r, &evt)) {
		assert_int_equal(evt.dw[2], 0x1000 * n);
		n++;
		rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
		rig_run(&r);
	}
	assert_int_equal(n, 20);
	abort_stalls(&r, dma);
}

static void
test_evtq_held_stall_that_an_invalidation_came_after_is_retried(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, true, 0);
	hold_back_stall(&r, dma, 0x7000);
	rig_map(&r, 0x7000, RIG_DATA, RIG_RW);
	rig_send(&r, smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID));
	rig_sync(&r);
	assert_true(rig_take_evt(&r, &evt));
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	assert_int_equal(rig_poll(&r, dma), 2);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 4);
	abort_stalls(&r, dma);
}

static void
test_evtq_stalls_wait_for_eventqen(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, true, 0);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_CMDQEN);
	make_fault(&r, dma, 0x1000);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN | SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 1);
	abort_stalls(&r, dma);
}

static void
test_evtq_write_abort_stops_delivery_until_acknowledged(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	make_fault(&r, dma, 0x1000);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	make_fault(&r, dma, 0x2000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 1);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), (uint32_t)SMMUV3_GERROR_EVENTQ_ABT);
	make_fault(&r, dma, 0x3000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 1);
	rig_write(&r, SMMUV3_GERRORN, (uint32_t)SMMUV3_GERROR_EVENTQ_ABT);
	rig_run(&r);
	make_fault(&r, dma, 0x4000);
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 2);
	assert_int_equal(r.evtq[1].dw[2], 0x4000);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_evtq_stall_record_lost_to_an_abort_ends_with_smmuen(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, true, 0);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	make_fault(&r, dma, 0x2000);
	make_fault(&r, dma, 0x3000);
	rig_write(&r, SMMUV3_GERRORN, (uint32_t)SMMUV3_GERROR_EVENTQ_ABT);
	rig_run(&r);
	/* The second stall was held back and is recorded. The first one is never recorded. */
	assert_int_equal(rig_read(&r, SMMUV3_EVENTQ_PROD), 1);
	assert_int_equal(r.evtq[0].dw[2], 0x3000);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	rig_set_cr0(&r, SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_CMDQEN);
	assert_int_equal(rig_poll(&r, dma), 2);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(r.done[1].status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_TERMINATED), 2);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_evtq_msi_on_empty_to_non_empty_only(void **state)
{
	struct smmuv3_model_dma *dma;
	smmuv3_reg32_t *word;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	word = rig_alloc(&r, 4, 4);
	smmuv3_write64(r.regs, SMMUV3_EVENTQ_IRQ_CFG0, rig_get_addr(&r, word));
	smmuv3_write32(r.regs, SMMUV3_EVENTQ_IRQ_CFG1, 7);
	rig_write(&r, SMMUV3_IRQ_CTRL, (uint32_t)SMMUV3_IRQ_CTRL_EVENTQ);
	rig_run(&r);
	make_fault(&r, dma, 0x1000);
	assert_int_equal(smmuv3_load_word(word), 7);
	atomic_store(word, 0);
	make_fault(&r, dma, 0x2000);
	assert_int_equal(smmuv3_load_word(word), 0);
	assert_true(rig_take_evt(&r, &evt));
	make_fault(&r, dma, 0x3000);
	assert_int_equal(smmuv3_load_word(word), 0);
	assert_int_equal(drain_events(&r), 2);
	make_fault(&r, dma, 0x4000);
	assert_int_equal(smmuv3_load_word(word), 7);
	/* An MSI that aborts. */
	assert_int_equal(drain_events(&r), 1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	make_fault(&r, dma, 0x5000);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), (uint32_t)SMMUV3_GERROR_MSI_EVENTQ_ABT);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_evtq_wired_interrupt_without_an_msi_address(void **state)
{
	int evt_fd = eventfd(0, EFD_NONBLOCK), err_fd = eventfd(0, EFD_NONBLOCK);
	struct smmuv3_model_dma *dma;
	uint64_t n = 0;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_EVTQ, evt_fd);
	smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_GERROR, err_fd);
	make_fault(&r, dma, 0x1000);
	assert_int_equal(read(evt_fd, &n, sizeof(n)), -1);
	assert_int_equal(drain_events(&r), 1);
	rig_write(&r, SMMUV3_IRQ_CTRL, 5);
	rig_run(&r);
	make_fault(&r, dma, 0x1000);
	make_fault(&r, dma, 0x1000);
	assert_int_equal(read(evt_fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	assert_int_equal(read(err_fd, &n, sizeof(n)), -1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	make_fault(&r, dma, 0x1000);
	assert_int_equal(read(err_fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
	close(evt_fd);
	close(err_fd);
}

static void
test_evtq_gerror_msi_that_aborts_is_reported_once(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, false, 0);
	smmuv3_write64(r.regs, SMMUV3_GERROR_IRQ_CFG0, UINT64_C(0x7000000000));
	rig_write(&r, SMMUV3_IRQ_CTRL, 1);
	rig_run(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	make_fault(&r, dma, 0x1000);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), (uint32_t)(SMMUV3_GERROR_EVENTQ_ABT |
			SMMUV3_GERROR_MSI_GERROR_ABT));
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_evtq_of_one_entry(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	r.queue_size_1 = true;
	r.cmdq_log2 = 4;
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	for (int i = 0; i < 7; i++)
		make_fault(&r, dma, 0x1000 * i);
	for (int i = 0; i < 7; i++) {
		assert_true(rig_take_evt(&r, &evt));
		assert_int_equal(evt.dw[2], 0x1000 * i);
		rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
		rig_run(&r);
	}
	abort_stalls(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_evtq_overflow_is_flagged_once_and_does_not_block),
	cmocka_unit_test(test_evtq_disabled_loses_events_without_overflow),
	cmocka_unit_test(test_evtq_records_beyond_prod_are_not_written_early),
	cmocka_unit_test(test_evtq_bad_cons_is_reported_and_blocks),
	cmocka_unit_test(test_evtq_held_stall_is_replayed_when_there_is_space),
	cmocka_unit_test(test_evtq_held_stall_is_retried_by_choice),
	cmocka_unit_test(test_evtq_several_held_stalls_that_fault_again_are_all_recorded),
	cmocka_unit_test(test_evtq_held_stall_that_an_invalidation_came_after_is_retried),
	cmocka_unit_test(test_evtq_stalls_wait_for_eventqen),
	cmocka_unit_test(test_evtq_write_abort_stops_delivery_until_acknowledged),
	cmocka_unit_test(test_evtq_stall_record_lost_to_an_abort_ends_with_smmuen),
	cmocka_unit_test(test_evtq_msi_on_empty_to_non_empty_only),
	cmocka_unit_test(test_evtq_wired_interrupt_without_an_msi_address),
	cmocka_unit_test(test_evtq_gerror_msi_that_aborts_is_reported_once),
	cmocka_unit_test(test_evtq_of_one_entry),
};

TEST_SUITE(model_evtq, tests, NULL, NULL);
