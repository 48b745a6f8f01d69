/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Several command queues: the commands that a CMD_SYNC covers, turns, the oracle, threads. */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ecmdq_rig.h"
#include "model_oracle.h"
#include "model_tlb.h"
#include "test.h"

#define VA	UINT64_C(0x100000000)
#define FRAME	(RIG_DATA + 0x5000)
#define HOUR	3600000u

static uint8_t buf[64];

/* One write of 8 bytes; a stall is answered with an abort through @p q. */
static enum smmuv3_model_status
write_page(struct rig *r, struct ecmdq *q, struct smmuv3_model_dma *dma)
{
	struct smmuv3_evt evt;

	rig_submit(r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	if (rig_poll(r, dma) == 0) {
		assert_true(rig_take_evt(r, &evt));
		ecmdq_send(q, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], false, true));
		assert_int_equal(rig_poll(r, dma), 1);
	}
	return r->done[0].status;
}

static void
test_ecmdq_sync_covers_its_own_queue_only(void **state)
{
	struct smmuv3_model_dma *dma;
	struct ecmdq q[2];
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_LATE });
	for (unsigned int i = 0; i < 2; i++)
		ecmdq_start(&q[i], &r, i);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	for (unsigned int by = 0; by < 3; by++) {
		rig_map(&r, VA, FRAME, RIG_RW);
		assert_int_equal(write_page(&r, &q[0], dma), SMMUV3_MODEL_OK);
		rig_unmap(&r, VA);
		/* by: the queue of the TLBI; 2: the CMDQ */
		if (by == 2)
			rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
		else
			ecmdq_send(&q[by], smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, VA, true));
		/* SYNCs of the others: the entry stays in use, and the oracle agrees. */
		for (unsigned int i = 0; i < 2; i++)
			if (i != by)
				ecmdq_send(&q[i], smmuv3_cmd_sync());
		if (by != 2)
			rig_sync(&r);
		assert_int_equal(write_page(&r, &q[0], dma), SMMUV3_MODEL_OK);
		assert_int_equal(smmuv3_model_oracle_errors(r.m), 0);
		if (by == 2)
			rig_sync(&r);
		else
			ecmdq_send(&q[by], smmuv3_cmd_sync());
		assert_int_equal(write_page(&r, &q[0], dma), SMMUV3_MODEL_ABORTED);
	}
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

/* A resume needs no SYNC, in any queue. */
static void
test_ecmdq_resume_continues_a_stall(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct ecmdq q;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	ecmdq_start(&q, &r, 5);
	rig_set_s1(&r, 0);
	dma = rig_add_dma(&r, RIG_SID, -1);
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, buf, 8);
	assert_int_equal(rig_poll(&r, dma), 0);
	assert_true(rig_take_evt(&r, &evt));
	rig_map(&r, VA, FRAME, RIG_RW);
	ecmdq_send(&q, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], true, false));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
open_atc_rig(struct rig *r, struct ecmdq q[2], struct smmuv3_model_dma **dma, unsigned int ms)
{
	ecmdq_open_rig(r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ATS,
			.atc_timeout_ms = ms });
	rig_set_s1_pasids(r, SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL));
	for (unsigned int i = 0; i < 2; i++)
		ecmdq_start(&q[i], r, i);
	*dma = rig_add_ats_dma(r, -1, 0, 0, false);
	assert_int_equal(smmuv3_model_dma_ats_enable(*dma, 0), 0);
}

static void
test_ecmdq_sync_waits_for_the_atcs_of_its_own_queue_only(void **state)
{
	const struct smmuv3_cmd inv = rig_make_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL);
	struct smmuv3_model_dma *dma;
	struct ecmdq q[2];
	struct rig r;

	(void)state;
	open_atc_rig(&r, q, &dma, HOUR);
	smmuv3_model_dma_atc_delay(dma, HOUR);
	ecmdq_send(&q[0], inv);
	ecmdq_put(&q[0], smmuv3_cmd_sync());
	ecmdq_ring(&q[0]);
	rig_run(&r);
	assert_int_equal(ecmdq_read_pos(&q[0]), 1);
	ecmdq_send(&q[1], smmuv3_cmd_sync());
	rig_sync(&r);
	assert_int_equal(ecmdq_read_pos(&q[0]), 1);
	/* The queue can be disabled meanwhile, and goes on with the SYNC. */
	ecmdq_enable(&q[0], false);
	assert_int_equal(ecmdq_read_pos(&q[0]), 1);
	ecmdq_enable(&q[0], true);
	assert_int_equal(ecmdq_read_pos(&q[0]), 1);
	smmuv3_model_dma_atc_delay(dma, 0);
	rig_run(&r);
	assert_int_equal(ecmdq_read_pos(&q[0]), 2);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_ecmdq_atc_timeout_is_the_error_of_its_own_queue(void **state)
{
	const struct smmuv3_cmd inv = rig_make_atc_inv(RIG_SID, -1, 0, 0, SMMUV3_ATC_SIZE_ALL);
	struct smmuv3_model_dma *dma;
	struct ecmdq q[2];
	struct rig r;

	(void)state;
	open_atc_rig(&r, q, &dma, 0);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	ecmdq_send(&q[0], inv);
	ecmdq_send(&q[1], inv);
	rig_sync(&r);
	ecmdq_put(&q[1], smmuv3_cmd_sync());
	ecmdq_ring(&q[1]);
	rig_run(&r);
	ecmdq_expect_error(&q[1], SMMUV3_CERROR_ATC_INV_SYNC, 1);
	/* Acknowledged, the SYNC is executed again. It has no ATC_INVs left. */
	ecmdq_ack_error(&q[1]);
	assert_int_equal(ecmdq_read_pos(&q[1]), 2);
	/* The other queue's ATC_INV has not failed with it. */
	ecmdq_put(&q[0], smmuv3_cmd_sync());
	ecmdq_ring(&q[0]);
	rig_run(&r);
	ecmdq_expect_error(&q[0], SMMUV3_CERROR_ATC_INV_SYNC, 1);
	smmuv3_model_dma_quirks(dma, 0, 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_ecmdq_sync_msi_comes_before_cons(void **state)
{
	smmuv3_reg32_t *word;
	struct ecmdq q;
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	ecmdq_start(&q, &r, 0);
	word = rig_alloc(&r, 4, 4);
	ecmdq_send(&q, smmuv3_cmd_sync_msi(rig_get_addr(&r, word), 0xdeadbeef));
	assert_int_equal(smmuv3_load_word(word), 0xdeadbeef);
	/* An MSI that aborts is reported as one of the CMDQ, and the SYNC is consumed. */
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	ecmdq_send(&q, smmuv3_cmd_sync_msi(rig_get_addr(&r, word), 1));
	assert_int_equal(smmuv3_load_word(word), 0xdeadbeef);
	assert_int_equal(rig_read(&r, SMMUV3_GERROR), SMMUV3_GERROR_MSI_CMDQ_ABT);
	rig_close(&r);
}

static void
test_ecmdq_queues_take_turns(void **state)
{
	struct ecmdq q[3];
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		ecmdq_init(&q[i], &r, i, 7, 0);
		ecmdq_enable(&q[i], true);
	}
	rig_sync(&r);
	for (unsigned int budget = 1; budget <= 40; budget += 3) {
		uint32_t first = r.cmd_prod, from[3];

		for (unsigned int i = 0; i < 3; i++)
			from[i] = q[i].prod;
		for (unsigned int n = 0; n < 100; n++) {
			rig_put(&r, smmuv3_cmd_tlbi_nsnh_all());
			for (unsigned int i = 0; i < 3; i++)
				ecmdq_put(&q[i], smmuv3_cmd_tlbi_nsnh_all());
		}
		rig_ring(&r);
		for (unsigned int i = 0; i < 3; i++)
			ecmdq_ring(&q[i]);
		for (bool more = true; more;) {
			uint32_t low, high;

			more = smmuv3_model_step(r.m, budget) != 0;
			low = high = smmuv3_q_count(r.cmdq_log2,
					rig_read(&r, SMMUV3_CMDQ_CONS), first);
			for (unsigned int i = 0; i < 3; i++) {
				uint32_t n = smmuv3_q_count(7, ecmdq_read_cons(&q[i]), from[i]);

				low = n < low ? n : low;
				high = n > high ? n : high;
			}
			/* No queue is ahead of another by more than a turn. */
			assert_in_range(high - low, 0, 8);
		}
		for (unsigned int i = 0; i < 3; i++)
			assert_int_equal(ecmdq_read_pos(&q[i]), q[i].prod);
	}
	rig_close(&r);
}

static void
test_ecmdq_all_queues_of_all_pages_work(void **state)
{
	static struct ecmdq q[256];
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, &(struct smmuv3_model_conf){ .ecmdq_log2 = 5, .ecmdq_pages_log2 = 3 });
	for (unsigned int i = 0; i < 256; i++) {
		ecmdq_init(&q[i], &r, i, i % 3, 0);
		ecmdq_enable(&q[i], true);
	}
	assert_int_equal(q[33].at, 0x30800);
	for (unsigned int n = 0; n < 5; n++)
		for (unsigned int i = 0; i < 256; i++)
			ecmdq_send(&q[i], smmuv3_cmd_sync());
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ECMDQ_COMMANDS), 5 * 256);
	for (unsigned int i = 0; i < 256; i += 2)
		ecmdq_enable(&q[i], false);
	for (unsigned int i = 1; i < 256; i += 2)
		ecmdq_send(&q[i], smmuv3_cmd_sync());
	rig_close(&r);
}

static void
test_ecmdq_entries_rewritten_after_their_fetch_are_reported(void **state)
{
	struct ecmdq q[2];
	struct rig r;

	(void)state;
	ecmdq_open_rig(&r, &(struct smmuv3_model_conf){ .harsh = SMMUV3_MODEL_HARSH_PREFETCH });
	for (unsigned int i = 0; i < 2; i++) {
		ecmdq_start(&q[i], &r, i);
		for (unsigned int n = 0; n < 9; n++)
			ecmdq_put(&q[i], smmuv3_cmd_tlbi_nsnh_all());
		ecmdq_ring(&q[i]);
	}
	/* A step consumes the turn of one queue at least, and fetches more. */
	smmuv3_model_step(r.m, 1);
	for (unsigned int i = 0; i < 2; i++)
		q[i].ring[8] = smmuv3_cmd_sync();
	rig_run(&r);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(ecmdq_read_pos(&q[i]), 9);
	assert_in_range(smmuv3_model_driver_errors(r.m), 1, 2);
	assert_non_null(strstr(smmuv3_model_driver_error(r.m, 0), "entry 8 was rewritten"));
	assert_non_null(strstr(smmuv3_model_driver_error(r.m, 0), "ECMDQ"));
	smmuv3_model_driver_errors_clear(r.m);
	rig_close(&r);
}

static unsigned int
count_leaf_errors(struct smmuv3_oracle *o, uint64_t *checked, uint64_t va)
{
	unsigned int before = atomic_load(&o->log.nb);

	smmuv3_oracle_check_leaf(o, checked, RIG_ASID, false, 12, 3, 12, va);
	return atomic_load(&o->log.nb) - before;
}

/* Invalidations complete in another order than they were executed. */
static void
test_ecmdq_oracle_follows_each_queue(void **state)
{
	struct smmuv3_inv of1 = { .kind = SMMUV3_INV_TLB_VA, .queue = 1, .space = RIG_ASID,
		.va = 0x1000, .last = 0x1fff };
	struct smmuv3_inv of2 = { .kind = SMMUV3_INV_TLB_VA, .queue = 2, .space = RIG_ASID,
		.va = 0x2000, .last = 0x2fff };
	struct smmuv3_oracle *o = calloc(1, sizeof(*o));
	uint64_t old = 0, old2 = 0, young;

	(void)state;
	assert_non_null(o);
	smmuv3_oracle_note_invalidation(o, &of1);
	young = o->seq;
	smmuv3_oracle_note_invalidation(o, &of2);
	smmuv3_oracle_note_sync(o, 0);
	assert_int_equal(count_leaf_errors(o, &old, 0x1000), 0);
	assert_int_equal(count_leaf_errors(o, &old2, 0x2000), 0);
	smmuv3_oracle_note_sync(o, 2);
	assert_int_equal(count_leaf_errors(o, &old, 0x1000), 0);
	assert_int_equal(count_leaf_errors(o, &old2, 0x2000), 1);
	assert_false(smmuv3_oracle_is_done(o, 1));
	assert_true(smmuv3_oracle_is_done(o, 2));
	smmuv3_oracle_note_sync(o, 1);
	/* The entry that was checked before is checked for this one all the same. */
	assert_int_equal(count_leaf_errors(o, &old, 0x1000), 1);
	/* An entry that is younger than the invalidation is not covered by it. */
	assert_int_equal(count_leaf_errors(o, &young, 0x1000), 0);
	assert_int_equal(o->floor, o->seq);
	assert_int_equal(count_leaf_errors(o, &old, 0x1000), 0);
	/* A SYNC that fails voids the ATC_INVs of its queue that no SYNC covers yet. */
	of1.kind = of2.kind = SMMUV3_INV_ATC;
	smmuv3_oracle_note_invalidation(o, &of1);
	smmuv3_oracle_note_sync(o, 1);
	smmuv3_oracle_note_invalidation(o, &of2);
	smmuv3_oracle_note_invalidation(o, &of1);
	smmuv3_oracle_void_atc_invs(o, 1);
	assert_int_equal(o->inv[3].kind, SMMUV3_INV_ATC);
	assert_int_equal(o->inv[4].kind, SMMUV3_INV_ATC);
	assert_int_equal(o->inv[5].kind, SMMUV3_INV_VOID);
	free(o);
}

struct worker {
	struct ecmdq *q;
	smmuv3_reg32_t *word;
	pthread_t thread;
};

#define ROUNDS 2000

/* TLBIs and a SYNC that writes a word; wait for the word or for CONS. */
static void *
work(void *arg)
{
	struct worker *w = arg;
	struct ecmdq *q = w->q;

	for (uint32_t n = 1; n <= ROUNDS; n++) {
		for (unsigned int i = 0; i < n % 4; i++)
			ecmdq_put(q, smmuv3_cmd_tlbi_nsnh_all());
		ecmdq_put(q, smmuv3_cmd_sync_msi(rig_get_addr(q->r, w->word), n));
		ecmdq_ring(q);
		while (n % 2 == 0 ? smmuv3_load_word(w->word) != n :
				ecmdq_read_pos(q) != q->prod)
			smmuv3_model_wait(q->r->m);
		/* The word comes before CONS. */
		if (n % 2 != 0 && smmuv3_load_word(w->word) != n)
			return w;
		while (n % 2 == 0 && ecmdq_read_pos(q) != q->prod)
			smmuv3_model_wait(q->r->m);
	}
	return NULL;
}

static void
check_queue_per_thread(uint32_t harsh)
{
	struct worker w[4];
	struct ecmdq q[4];
	struct rig r;
	void *bad;

	ecmdq_open_rig(&r, &(struct smmuv3_model_conf){ .harsh = harsh });
	for (unsigned int i = 0; i < 4; i++) {
		ecmdq_start(&q[i], &r, i);
		w[i].q = &q[i];
		w[i].word = rig_alloc(&r, 64, 64);
	}
	assert_int_equal(smmuv3_model_start(r.m, -1), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(w[i].thread, &bad);
		assert_null(bad);
	}
	assert_int_equal(smmuv3_model_stop(r.m), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ECMDQ_COMMANDS),
			4 * (ROUNDS + ROUNDS / 4 * 6));
	rig_close(&r);
}

static void
test_ecmdq_each_thread_has_its_queue(void **state)
{
	(void)state;
	check_queue_per_thread(0);
	check_queue_per_thread(SMMUV3_MODEL_HARSH_ALL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_ecmdq_sync_covers_its_own_queue_only),
	cmocka_unit_test(test_ecmdq_resume_continues_a_stall),
	cmocka_unit_test(test_ecmdq_sync_waits_for_the_atcs_of_its_own_queue_only),
	cmocka_unit_test(test_ecmdq_atc_timeout_is_the_error_of_its_own_queue),
	cmocka_unit_test(test_ecmdq_sync_msi_comes_before_cons),
	cmocka_unit_test(test_ecmdq_queues_take_turns),
	cmocka_unit_test(test_ecmdq_all_queues_of_all_pages_work),
	cmocka_unit_test(test_ecmdq_entries_rewritten_after_their_fetch_are_reported),
	cmocka_unit_test(test_ecmdq_oracle_follows_each_queue),
	cmocka_unit_test(test_ecmdq_each_thread_has_its_queue),
};

TEST_SUITE(model_ecmdq_sync, tests, NULL, NULL);
