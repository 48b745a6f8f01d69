/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The harsh modes that test_model_late.c does not cover: a driver's mistake shows, and a correct
 * driver sees no difference.
 */

#include <sys/eventfd.h>
#include <unistd.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define VA	UINT64_C(0x100000000)

static uint8_t buf[64];

static struct smmuv3_model_dma *
setup(struct rig *r, const struct smmuv3_model_conf *conf)
{
	rig_open(r, conf);
	rig_start(r);
	rig_set_s1(r, 0);
	return rig_add_dma(r, RIG_SID, -1);
}

/* A write that stalls. Returns its STAG. */
static uint16_t
make_stall(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	struct smmuv3_evt evt;

	rig_submit(r, dma, SMMUV3_MODEL_WRITE, va, buf, 8);
	rig_run(r);
	assert_true(rig_take_evt(r, &evt));
	assert_int_equal(evt.dw[2], va);
	assert_true(evt.dw[1] & SMMUV3_EVT1_STALL);
	return (uint16_t)evt.dw[1];
}

static void
resume_abort(struct rig *r, uint16_t stag)
{
	rig_send(r, smmuv3_cmd_resume(RIG_SID, stag, false, true));
}

/* STAGs */

/*
 * A second RESUME for a STAG is reported, and with STAGs last in, first out it ends another stall.
 */
static void
test_harsh_stag_lifo_lets_a_second_resume_end_another_stall(void **state)
{
	struct smmuv3_model_dma *dma;
	uint16_t first, second;
	struct rig r;

	(void)state;
	for (int lifo = 0; lifo < 2; lifo++) {
		dma = setup(&r, &(struct smmuv3_model_conf){
			.harsh = lifo ? SMMUV3_MODEL_HARSH_STAG_LIFO : 0 });
		first = make_stall(&r, dma, VA);
		resume_abort(&r, first);
		assert_int_equal(rig_poll(&r, dma), 1);
		second = make_stall(&r, dma, VA + 4096);
		assert_int_equal(first == second, lifo);
		/* Wrong: the stall was answered before. */
		resume_abort(&r, first);
		assert_int_equal(rig_poll(&r, dma), lifo);
		if (!lifo) {
			rig_expect_error(&r, "RESUME twice for SID 8 STAG");
			resume_abort(&r, second);
			assert_int_equal(rig_poll(&r, dma), 1);
		}
		smmuv3_model_dma_destroy(dma);
		rig_close(&r);
	}
}

/* In any order the STAGs are unique, all of them are used, and a RESUME frees its STAG. */
static void
collect_stags(uint32_t harsh, uint32_t seed, uint16_t out[3 * 8])
{
	struct smmuv3_model_dma *dma;
	uint32_t used, all = 0;
	struct rig r;

	dma = setup(&r, &(struct smmuv3_model_conf){ .harsh = harsh, .seed = seed,
			.stall_max = 8 });
	for (unsigned int round = 0; round < 3; round++) {
		uint16_t *stag = &out[8 * round];

		used = 0;
		for (unsigned int i = 0; i < 8; i++) {
			stag[i] = make_stall(&r, dma, VA + 4096 * i);
			assert_true(stag[i] < 8);
			assert_false(used & 1u << stag[i]);
			used |= 1u << stag[i];
			/* Every third STAG is freed at once. */
			if (i % 3 == 0) {
				resume_abort(&r, stag[i]);
				assert_int_equal(rig_poll(&r, dma), 1);
				used &= ~(1u << stag[i]);
			}
			all |= 1u << stag[i];
		}
		for (unsigned int i = 0; i < 8; i++)
			if (i % 3 != 0) {
				resume_abort(&r, stag[i]);
				assert_int_equal(rig_poll(&r, dma), 1);
			}
	}
	if (!(harsh & SMMUV3_MODEL_HARSH_STAG_LIFO))
		assert_int_equal(all, 0xff);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_harsh_stags_are_unique_in_any_order(void **state)
{
	uint16_t fifo[24], lifo[24], a[24], b[24], again[24];

	(void)state;
	collect_stags(0, 1, fifo);
	collect_stags(SMMUV3_MODEL_HARSH_STAG_LIFO, 1, lifo);
	collect_stags(SMMUV3_MODEL_HARSH_STAG_RANDOM, 1, a);
	collect_stags(SMMUV3_MODEL_HARSH_STAG_RANDOM, 2, b);
	collect_stags(SMMUV3_MODEL_HARSH_STAG_RANDOM, 1, again);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(fifo[i], i);
	/* The STAG that was freed at once is used again at once. */
	assert_int_equal(lifo[0], lifo[1]);
	assert_int_equal(lifo[3], lifo[4]);
	assert_memory_not_equal(a, fifo, sizeof(a));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_equal(a, again, sizeof(a));
}

/* The seeds select all three orders, and each seed always the same one. */
static void
test_harsh_all_chooses_the_order_of_stags_by_seed(void **state)
{
	const uint32_t stags = SMMUV3_MODEL_HARSH_STAG_LIFO | SMMUV3_MODEL_HARSH_STAG_RANDOM;
	unsigned int nb[3] = { 0 };
	uint32_t harsh, again;
	struct rig r;

	(void)state;
	for (uint32_t seed = 1; seed <= 60; seed++) {
		rig_open(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_ALL,
				.seed = seed });
		harsh = smmuv3_model_harsh(r.m);
		rig_close(&r);
		rig_open(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_ALL,
				.seed = seed });
		again = smmuv3_model_harsh(r.m);
		rig_close(&r);
		assert_int_equal(harsh, again);
		assert_int_not_equal(harsh & stags, stags);
		nb[0] += (harsh & stags) == 0;
		nb[1] += (harsh & stags) == SMMUV3_MODEL_HARSH_STAG_LIFO;
		nb[2] += (harsh & stags) == SMMUV3_MODEL_HARSH_STAG_RANDOM;
		/* An order that the test selects stays. */
		rig_open(&r, &(struct smmuv3_model_conf){ .seed = seed, .harsh =
				SMMUV3_MODEL_HARSH_ALL | SMMUV3_MODEL_HARSH_STAG_LIFO });
		assert_int_equal(smmuv3_model_harsh(r.m) & stags, SMMUV3_MODEL_HARSH_STAG_LIFO);
		rig_close(&r);
	}
	for (unsigned int i = 0; i < 3; i++)
		assert_true(nb[i] >= 5);
	rig_open(&r, NULL);
	assert_int_equal(smmuv3_model_harsh(r.m), 0);
	rig_close(&r);
}

/*
 * The event queue
 */
static void
test_harsh_event_write_aborts_late(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt, old;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	r.evtq_log2 = 1;
	rig_start(&r);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	/* One round. */
	resume_abort(&r, make_stall(&r, dma, VA));
	resume_abort(&r, make_stall(&r, dma, VA + 4096));
	assert_int_equal(rig_poll(&r, dma), 2);
	old = r.evtq[0];
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 1);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 8192, buf, 8);
	smmuv3_model_step(r.m, 64);
	/* PROD moved and there is no error: the entry holds the record of the round before. */
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
	assert_true(rig_take_evt(&r, &evt));
	assert_memory_equal(&evt, &old, sizeof(evt));
	/* Wrong: a driver takes it for a stall. */
	rig_put(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
	rig_ring(&r);
	rig_run(&r);
	rig_expect_error(&r, "RESUME twice for SID 8 STAG 0");
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_EVENTQ_ABT);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_EVENTS_LOST), 1);
	/* Right: all stalls of the stream end. */
	rig_write(&r, SMMUV3_GERRORN, SMMUV3_GERROR_EVENTQ_ABT);
	smmuv3_set_dw(&rig_get_ste(&r, RIG_SID)->dw[0], SMMUV3_STE0_V);
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	rig_sync(&r);
	rig_send(&r, smmuv3_cmd_stall_term(RIG_SID));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* EVENTQEN = 0 is acknowledged only after the error is visible. */
static void
test_harsh_event_abort_shows_before_the_queue_is_off(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, NULL);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 1);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	smmuv3_model_step(r.m, 64);
	rig_write(&r, SMMUV3_CR0, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_SMMUEN);
	while (rig_read(&r, SMMUV3_CR0ACK) & SMMUV3_CR0_EVENTQEN) {
		assert_int_equal(rig_read(&r, SMMUV3_GERROR), 0);
		smmuv3_model_step(r.m, 64);
	}
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_EVENTQ_ABT);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN);
	assert_int_equal(rig_poll(&r, dma), 1);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/*
 * Commands
 */
#define PREFETCH (&(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_PREFETCH })

static void
test_harsh_prefetch_reports_a_slot_rewritten_too_early(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t syncs;
	uint32_t at;
	struct rig r;

	(void)state;
	dma = setup(&r, PREFETCH);
	rig_put(&r, smmuv3_cmd_cfgi_all());
	at = r.cmd_prod;
	rig_put(&r, smmuv3_cmd_cfgi_all());
	rig_put(&r, smmuv3_cmd_tlbi_nsnh_all());
	rig_ring(&r);
	smmuv3_model_step(r.m, 1);
	assert_int_equal(smmuv3_q_pos(r.cmdq_log2, rig_read(&r, SMMUV3_CMDQ_CONS)), at);
	/* Wrong: CONS has not passed the slot. */
	syncs = rig_get_stat(&r, SMMUV3_MODEL_STAT_SYNCS);
	r.cmdq[smmuv3_q_slot(r.cmdq_log2, at)] = smmuv3_cmd_sync();
	rig_run(&r);
	rig_expect_error(&r, "was rewritten before CONS passed it");
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_SYNCS), syncs);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_harsh_prefetch_drops_its_copies_on_an_error(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t syncs;
	uint32_t at;
	struct rig r;

	(void)state;
	dma = setup(&r, PREFETCH);
	at = r.cmd_prod;
	rig_put(&r, smmuv3_cmd(0, 0, 0));
	rig_put(&r, smmuv3_cmd_cfgi_all());
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_CMDQ_CONS), at | SMMUV3_CERROR_ILL << 24);
	/* Right: the queue is idle. */
	syncs = rig_get_stat(&r, SMMUV3_MODEL_STAT_SYNCS);
	r.cmdq[smmuv3_q_slot(r.cmdq_log2, at)] = smmuv3_cmd_sync();
	r.cmdq[smmuv3_q_slot(r.cmdq_log2, at + 1)] = smmuv3_cmd_sync();
	rig_write(&r, SMMUV3_GERRORN, SMMUV3_GERROR_CMDQ_ERR);
	rig_run(&r);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_SYNCS), syncs + 2);
	/* CMDQEN 0 and 1 in the middle of a batch: another queue, other commands. */
	rig_put(&r, smmuv3_cmd_cfgi_all());
	rig_put(&r, smmuv3_cmd_cfgi_all());
	rig_ring(&r);
	smmuv3_model_step(r.m, 1);
	rig_write(&r, SMMUV3_CR0, SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	smmuv3_model_step(r.m, 1);
	assert_int_equal(rig_read(&r, SMMUV3_CR0ACK), SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	at = smmuv3_q_pos(r.cmdq_log2, rig_read(&r, SMMUV3_CMDQ_CONS));
	assert_int_equal(smmuv3_q_add(r.cmdq_log2, at, 1), r.cmd_prod);
	r.cmdq[smmuv3_q_slot(r.cmdq_log2, at)] = smmuv3_cmd_sync();
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	rig_run(&r);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_SYNCS), syncs + 3);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* Batches of any size, with fetches that abort: each command is executed once, in order. */
static void
test_harsh_prefetch_executes_each_command_once(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (uint32_t seed = 1; seed <= 30; seed++) {
		uint64_t commands, aborts = 0;
		uint32_t *word;

		dma = setup(&r, &(struct smmuv3_model_conf){ .seed = seed, .harsh =
				SMMUV3_MODEL_HARSH_PREFETCH | SMMUV3_MODEL_HARSH_RANDOM });
		word = rig_alloc(&r, 4, 4);
		commands = rig_get_stat(&r, SMMUV3_MODEL_STAT_COMMANDS);
		for (uint32_t i = 1; i <= 200; i++) {
			if (i % 70 == 0)
				smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
			rig_put(&r, smmuv3_cmd_sync_msi(rig_get_addr(&r, word), i));
			if (i % 9 == 0)
				rig_ring(&r);
			if (i % 7 != 0)
				continue;
			smmuv3_model_step(r.m, 5);
			if (rig_read(&r, SMMUV3_GERROR) != rig_read(&r, SMMUV3_GERRORN)) {
				rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
				aborts++;
			}
		}
		rig_ring(&r);
		rig_run(&r);
		while (rig_read(&r, SMMUV3_GERROR) != rig_read(&r, SMMUV3_GERRORN)) {
			rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
			aborts++;
			rig_run(&r);
		}
		assert_int_equal(*word, 200);
		assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_COMMANDS), commands + 200);
		assert_true(aborts >= 1);
		smmuv3_model_dma_destroy(dma);
		rig_close(&r);
	}
}

/* Level-triggered wires */
static uint64_t
read_signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void
test_harsh_level_interrupts_again_only_after_an_unmask(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;
	int fd;

	(void)state;
	for (int levels = 0; levels < 2; levels++) {
		dma = setup(&r, &(struct smmuv3_model_conf){ .harsh = levels ?
				SMMUV3_MODEL_HARSH_LEVEL_IRQ : 0 });
		fd = eventfd(0, EFD_NONBLOCK);
		assert_true(fd >= 0);
		smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_EVTQ, fd);
		rig_write(&r, SMMUV3_IRQ_CTRL, SMMUV3_IRQ_CTRL_EVENTQ);
		rig_run(&r);
		make_stall(&r, dma, VA);
		rig_run(&r);
		assert_int_equal(read_signals(fd), 1);
		/* Wrong with a level: the driver sleeps without unmasking first. */
		make_stall(&r, dma, VA + 4096);
		rig_run(&r);
		assert_int_equal(read_signals(fd), levels ? 0 : 1);
		/* Right: unmasked. First no event is there, then one is, until it is consumed. */
		smmuv3_model_irq_unmask(r.m, SMMUV3_MODEL_IRQ_EVTQ);
		rig_run(&r);
		assert_int_equal(read_signals(fd), 0);
		rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 8192, buf, 8);
		rig_run(&r);
		assert_int_equal(read_signals(fd), 1);
		smmuv3_model_irq_unmask(r.m, SMMUV3_MODEL_IRQ_EVTQ);
		rig_run(&r);
		assert_int_equal(read_signals(fd), levels);
		/* The interrupt is disabled: the wire stays quiet. */
		rig_write(&r, SMMUV3_IRQ_CTRL, 0);
		rig_run(&r);
		smmuv3_model_irq_unmask(r.m, SMMUV3_MODEL_IRQ_EVTQ);
		rig_run(&r);
		assert_int_equal(read_signals(fd), 0);
		for (uint16_t stag = 0; stag < 3; stag++)
			resume_abort(&r, stag);
		assert_int_equal(rig_poll(&r, dma), 3);
		smmuv3_model_dma_destroy(dma);
		rig_close(&r);
		close(fd);
	}
}

static void
test_harsh_level_of_gerror_ends_with_its_acknowledgement(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_LEVEL_IRQ });
	rig_start(&r);
	fd = eventfd(0, EFD_NONBLOCK);
	assert_true(fd >= 0);
	smmuv3_model_irq_fd(r.m, SMMUV3_MODEL_IRQ_GERROR, fd);
	rig_write(&r, SMMUV3_IRQ_CTRL, SMMUV3_IRQ_CTRL_GERROR);
	rig_run(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1);
	rig_put(&r, smmuv3_cmd_cfgi_all());
	rig_ring(&r);
	rig_run(&r);
	assert_int_equal(read_signals(fd), 1);
	smmuv3_model_irq_unmask(r.m, SMMUV3_MODEL_IRQ_GERROR);
	rig_run(&r);
	assert_int_equal(read_signals(fd), 1);
	rig_write(&r, SMMUV3_GERRORN, rig_read(&r, SMMUV3_GERROR));
	smmuv3_model_irq_unmask(r.m, SMMUV3_MODEL_IRQ_GERROR);
	rig_run(&r);
	assert_int_equal(read_signals(fd), 0);
	rig_close(&r);
	close(fd);
}

/*
 * GBPA
 */
static void
test_harsh_gbpa_that_cannot_abort_lets_dma_through(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = setup(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_GBPA });
	assert_int_equal(smmuv3_model_frame_give(r.m, RIG_DATA, 4096, 1), 0);
	rig_write(&r, SMMUV3_GBPA, (uint32_t)(SMMUV3_GBPA_UPDATE | SMMUV3_GBPA_ABORT));
	rig_run(&r);
	/* A driver that reads GBPA can see it. */
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), 0);
	/* Wrong: SMMUEN = 0 to stop devices. */
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, RIG_DATA, buf, 8),
			SMMUV3_MODEL_OK);
	rig_expect_oracle(&r, "untranslated, while SMMUEN is 0");
	/* Right: SMMUEN stays 1, and the STE aborts. */
	smmuv3_set_dw(&rig_get_ste(&r, RIG_SID)->dw[0], SMMUV3_STE0_V);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	rig_flush(&r);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, RIG_DATA, buf, 8),
			SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_harsh_stag_lifo_lets_a_second_resume_end_another_stall),
	cmocka_unit_test(test_harsh_stags_are_unique_in_any_order),
	cmocka_unit_test(test_harsh_all_chooses_the_order_of_stags_by_seed),
	cmocka_unit_test(test_harsh_event_write_aborts_late),
	cmocka_unit_test(test_harsh_event_abort_shows_before_the_queue_is_off),
	cmocka_unit_test(test_harsh_prefetch_reports_a_slot_rewritten_too_early),
	cmocka_unit_test(test_harsh_prefetch_drops_its_copies_on_an_error),
	cmocka_unit_test(test_harsh_prefetch_executes_each_command_once),
	cmocka_unit_test(test_harsh_level_interrupts_again_only_after_an_unmask),
	cmocka_unit_test(test_harsh_level_of_gerror_ends_with_its_acknowledgement),
	cmocka_unit_test(test_harsh_gbpa_that_cannot_abort_lets_dma_through),
};

TEST_SUITE(model_harsh, tests, NULL, NULL);
