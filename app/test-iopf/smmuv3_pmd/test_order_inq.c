/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Barriers of the event queue and the PRI queue, and of a sleeper that waits for their records. */

#include <sys/eventfd.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "order_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* Data that a status word covers are read after it. Entries are read before CONS frees them. */
static void
test_loads_come_after_each_status_and_before_cons(void **state)
{
	static const uint32_t status[] = {
		SMMUV3_CMDQ_CONS, SMMUV3_CR0ACK, SMMUV3_EVENTQ_PROD, SMMUV3_GERROR,
		SMMUV3_IRQ_CTRLACK,
	};
	struct iopf_event event;
	unsigned int i, at, seen;
	struct pmd p;
	uint8_t byte;

	(void)state;
	pmd_open(&p, NULL);
	trail_start();
	pmd_start(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, &byte, 1);
	pmd_wait_event(&p, &event);
	pmd_answer(&p, &event, IOPF_INVALID);
	pmd_wait_done(&p);
	assert_int_equal(smmuv3_cmdq_load_cons(&p.s->cmdq), p.s->cmdq.tail);
	p.ops->queue_mark(p.s, IOPF_QUEUE_EVENTS);
	assert_true(smmuv3_uses_memory(p.s));
	assert_int_equal(p.ops->stop(p.s), 0);
	/* As after a stop that failed: the registers decide. */
	p.s->stopped = false;
	assert_false(smmuv3_uses_memory(p.s));
	trail_stop();
	assert_int_equal(p.ops->start(p.s), 0);
	for (i = 0; i < RTE_DIM(status); i++) {
		seen = 0;
		/*
		 * smmuv3_load_status() loads, executes and logs its barrier, and then logs the
		 * access.
		 */
		for (at = trail_find(0, READ, status[i]); at < trail.n;
				at = trail_find(at + 1, READ, status[i])) {
			assert_true(at > 0);
			assert_int_equal(trail.events[at - 1].kind, RMB);
			seen++;
		}
		assert_true(seen > 0);
	}
	/* The first store of CONS sets the queue up, the second one frees the entry. */
	at = trail_expect(0, WRITE, SMMUV3_EVENTQ_CONS);
	at = trail_expect(at + 1, WRITE, SMMUV3_EVENTQ_CONS);
	assert_int_equal(trail.events[at + 1].kind, RMB);
	pmd_finish(&p, IOPF_NO_PASID);
}

/*
 * inq.h: store CONS, clear the word, full barrier, read PROD. Only then the poll trusts the word.
 */
static void
check_idle_poll(struct pmd *p, uint16_t queue, uint32_t prod)
{
	struct iopf_event events[4];
	unsigned int first, mb;

	trail_start();
	assert_int_equal(p->ops->poll(p->s, queue, events, 4), 0);
	trail_stop();
	first = trail_expect(0, READ, prod);
	mb = trail_expect(first, MB, 0);
	trail_expect(mb, READ, prod);
	/* The poll trusts the word now, and does not read PROD. */
	trail_start();
	assert_int_equal(p->ops->poll(p->s, queue, events, 4), 0);
	trail_stop();
	assert_int_equal(trail_find(0, READ, prod), trail.n);
}

static void
test_prod_is_read_behind_a_full_barrier_before_the_word_is_trusted(void **state)
{
	struct pmd p;

	(void)state;
	order_open(&p, IOPF_PRI);
	check_idle_poll(&p, IOPF_QUEUE_EVENTS, SMMUV3_EVENTQ_PROD);
	check_idle_poll(&p, IOPF_QUEUE_REQUESTS, SMMUV3_PRIQ_PROD);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* After an asynchronous abort an entry that was not written again must be empty. */
static void
test_entries_are_cleared_before_they_are_freed(void **state)
{
	struct iopf_event event;
	struct pmd p;
	uint8_t byte;

	(void)state;
	order_open(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, &byte, 1);
	pmd_step(&p);
	trail_start();
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 1);
	trail_stop();
	assert_int_equal(trail.events[trail_expect(1, WRITE, SMMUV3_EVENTQ_CONS) - 1].kind, WMB);
	pmd_answer(&p, &event, IOPF_INVALID);
	pmd_wait_done(&p);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_page_requests_are_cleared_before_they_are_freed(void **state)
{
	struct smmuv3_model_dma *fn;
	struct iopf_answer answer;
	struct iopf_event event;
	struct pmd p;
	uint8_t byte;

	(void)state;
	order_open(&p, IOPF_PRI);
	fn = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
		.sid = PMD_SID, .kind = SMMUV3_MODEL_DMA_ATS });
	assert_non_null(fn);
	assert_int_equal(smmuv3_model_dma_ats_enable(fn, 12), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(fn, 8), 0);
	assert_int_equal(smmuv3_model_dma_submit(fn, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = PMD_VA, .buf = &byte, .len = 1 }), 0);
	pmd_step(&p);
	trail_start();
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_REQUESTS, &event, 1), 1);
	trail_stop();
	assert_int_equal(trail.events[trail_expect(1, WRITE, SMMUV3_PRIQ_CONS) - 1].kind, WMB);
	answer = (struct iopf_answer){ .sid = PMD_SID, .pasid = IOPF_NO_PASID,
		.token = event.token, .code = IOPF_INVALID, .page_request = true };
	assert_int_equal(p.ops->answer(p.s, &answer, 1), 1);
	pmd_step(&p);
	assert_int_equal(smmuv3_model_dma_pri_disable(fn), 0);
	assert_true(smmuv3_model_dma_pri_drained(fn));
	assert_int_equal(smmuv3_model_dma_ats_disable(fn), 0);
	smmuv3_model_dma_destroy(fn);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* irq.c: CONS and the sleeper's flag are stored before PROD, GERROR and the backlog are read. */
static void
test_a_sleeper_reads_behind_a_full_barrier(void **state)
{
	unsigned int irqs, mb;
	struct pmd p;
	int fd;

	(void)state;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(fd >= 0);
	order_open(&p, IOPF_STALL);
	trail_start();
	assert_int_equal(p.ops->idle(p.s, fd), 0);
	trail_stop();
	for (irqs = 0; trail_find(irqs + 1, WRITE, SMMUV3_IRQ_CTRL) < trail.n;)
		irqs = trail_find(irqs + 1, WRITE, SMMUV3_IRQ_CTRL);
	mb = trail_expect(irqs, MB, 0);
	assert_int_equal(trail.events[trail_expect(mb, READ, SMMUV3_GERROR) - 1].kind, RMB);
	assert_int_equal(trail.events[trail_expect(mb, READ, SMMUV3_EVENTQ_PROD) - 1].kind, RMB);
	assert_int_equal(p.ops->idle(p.s, -1), 0);
	close(fd);
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_loads_come_after_each_status_and_before_cons),
	cmocka_unit_test(test_prod_is_read_behind_a_full_barrier_before_the_word_is_trusted),
	cmocka_unit_test(test_entries_are_cleared_before_they_are_freed),
	cmocka_unit_test(test_page_requests_are_cleared_before_they_are_freed),
	cmocka_unit_test(test_a_sleeper_reads_behind_a_full_barrier),
};

TEST_SUITE(order_inq, tests, NULL, NULL);
