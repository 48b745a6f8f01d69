/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page requests that the PRIQ loses: overflows, writes that abort, entries that were not written.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_log.h>

#include "requests_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

/*
 * The endpoints request more than the queue holds, in groups of each size. The overflow happens at
 * each position of a group, and two PASIDs use the same indices. Every DMA gets its pages. Each
 * group gets one answer, from the test or from the SMMU.
 */
static void
test_every_group_is_answered_once_under_overflow(void **state)
{
	unsigned int seed = 7, overflows = 0, discarded = 0;
	struct requests r;

	(void)state;
	for (unsigned int k = 0; k < 60; k++) {
		unsigned int log2 = k % 5, pages = 1 + k % 7, done = 0, nb = 100, sent = 0;

		requests_open_conf(&r, &(struct smmuv3_model_conf){
			.priq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2,
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.features = k & 2 ? SMMUV3_MODEL_PPS : 0,
			.seed = k + 1 },
			&(struct requests_fns){ .group_pages = pages,
				.prg_indices = k % 3 == 0 ? 1 : 4,
				.prg_pasid = k & 4, .credits = 1u << log2 });
		for (unsigned int i = 0; i < 200000 && done < nb; i++) {
			/*
			 * A group larger than the queue succeeds only while the others do not
			 * request.
			 */
			if (i % 1000 == 900)
				smmuv3_model_dma_quirks(r.fns[0], 0, 1);
			if (i % 1000 == 0)
				smmuv3_model_dma_quirks(r.fns[0], SMMUV3_MODEL_QUIRK_CREDITS, 1);
			if (sent < nb && rand_r(&seed) % 4 == 0) {
				requests_ask(&r, sent % NB_FNS, PMD_VA + sent * 16 * PAGE,
						1 + (unsigned int)rand_r(&seed) % 9);
				sent++;
			}
			smmuv3_model_step(r.p.m, 1 + (unsigned int)rand_r(&seed) % 8);
			if (rand_r(&seed) % 3 == 0)
				requests_serve(&r, 1 + (unsigned int)rand_r(&seed) %
						((k & 8) != 0 ? 3 : 40));
			if (r.nb_waiting > 0 && rand_r(&seed) % 2 == 0)
				requests_send_answers(&r, 1 + (unsigned int)rand_r(&seed) %
						r.nb_waiting);
			done += requests_count_ended(&r, SMMUV3_MODEL_OK);
		}
		assert_int_equal(done, nb);
		requests_serve_all(&r);
		/* All partial groups were discarded, and their indices were used again. */
		assert_int_equal(r.nb_partial, 0);
		assert_false(requests_has_overflow(&r));
		assert_int_equal(r.lost, requests_model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS));
		assert_int_equal(pmd_read_stat(&r.p, "priq_overflows"), r.lost);
		assert_int_equal(requests_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), r.groups);
		assert_int_equal(requests_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 0);
		assert_int_equal(r.bad, 0);
		overflows += r.lost;
		discarded += r.discarded;
		requests_close(&r);
	}
	assert_true(overflows > 500);
	assert_true(discarded > 100);
}

/* Free entries are not enough: the SMMU writes nothing until the overflow is acknowledged. */
static void
test_no_request_is_accepted_before_the_loss_is_reported(void **state)
{
	struct iopf_event e[8];
	struct requests r;
	unsigned int i;

	(void)state;
	requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 2 }, NULL);
	for (i = 0; i < 6; i++)
		requests_ask(&r, 0, PMD_VA + i * PAGE, 1);
	/*
	 * The SMMU answers requests that find the queue full with Success, and the endpoint
	 * requests again.
	 */
	for (i = 0; i < 50; i++)
		smmuv3_model_step(r.p.m, 4);
	assert_true(requests_has_overflow(&r));
	assert_int_equal(r.p.ops->poll(r.p.s, 1, e, 3), 3);
	assert_true(requests_has_overflow(&r));
	for (i = 0; i < 50; i++)
		smmuv3_model_step(r.p.m, 4);
	assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD) & ~SMMUV3_Q_OVFLG, 4);
	/* One store frees the fourth request and acknowledges the overflow. */
	assert_int_equal(r.p.ops->poll(r.p.s, 1, e + 3, 3), 2);
	assert_int_equal(e[3].flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e[4].flags, IOPF_EVENT_LOST);
	assert_false(requests_has_overflow(&r));
	for (i = 0; i < 50; i++)
		smmuv3_model_step(r.p.m, 4);
	assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD) & ~SMMUV3_Q_OVFLG, 6);
	for (i = 0; i < 4; i++)
		requests_take(&r, &e[i]);
	requests_serve_all(&r);
	assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 6);
	requests_close(&r);
}

/* The endpoint lost PRI. Its driver disables and enables PRI. */
static void
requests_restart_pri(struct requests *r)
{
	assert_true(smmuv3_model_dma_pri_failed(r->fns[0]));
	assert_int_equal(smmuv3_model_dma_pri_disable(r->fns[0]), 0);
	assert_true(smmuv3_model_dma_pri_drained(r->fns[0]));
	assert_int_equal(smmuv3_model_dma_pri_enable(r->fns[0], r->credits), 0);
}

static void
test_an_aborted_write_loses_requests_and_the_queue_goes_on(void **state)
{
	struct requests r;

	(void)state;
	for (unsigned int k = 0; k < 6; k++) {
		requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4,
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0 },
			&(struct requests_fns){ .group_pages = 3 });
		for (unsigned int round = 1; round <= 20; round++) {
			/* Requests and half a group are in the queue before the abort. */
			requests_ask(&r, 0, PMD_VA + round * 64 * PAGE, 1);
			pmd_step(&r.p);
			requests_ask(&r, 1, PMD_VA + (round * 64 + 16) * PAGE, 3);
			for (unsigned int i = 0; i < k; i++)
				smmuv3_model_step(r.p.m, 1);
			smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
			requests_ask(&r, 2, PMD_VA + (round * 64 + 32) * PAGE, 1);
			pmd_step(&r.p);
			assert_true((smmuv3_read32(r.p.s->regs, SMMUV3_GERROR) ^
					smmuv3_read32(r.p.s->regs, SMMUV3_GERRORN)) &
					SMMUV3_GERROR_PRIQ_ABT);
			requests_check(&r, 17);
			assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_GERROR),
					smmuv3_read32(r.p.s->regs, SMMUV3_GERRORN));
			assert_int_equal(pmd_read_stat(&r.p, "priq_aborts"), round);
			requests_serve_all(&r);
			assert_int_equal(r.lost, round);
			assert_int_equal(r.nb_partial, 0);
			requests_restart_pri(&r);
			for (struct smmuv3_model_done done; ;) {
				unsigned int got = 0;

				for (unsigned int i = 0; i < NB_FNS; i++)
					got += smmuv3_model_dma_poll(r.fns[i], &done, 1);
				if (got == 0)
					break;
			}
			requests_ask(&r, round % NB_FNS, PMD_VA + (round * 64 + 48) * PAGE, 5);
			requests_serve_all(&r);
			assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
		}
		assert_int_equal(pmd_read_stat(&r.p, "resets"), 0);
		requests_close(&r);
	}
}

/*
 * The second error is acknowledged only after the first loss was reported: two losses do not become
 * one.
 */
static void
test_a_second_abort_waits_for_the_report_of_the_first(void **state)
{
	struct requests r;

	(void)state;
	requests_open(&r);
	for (unsigned int i = 0; i < 2; i++) {
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		requests_ask(&r, 0, PMD_VA, 1);
		pmd_step(&r.p);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_ABORTED), 1);
		requests_check(&r, 40);
		requests_restart_pri(&r);
	}
	assert_int_equal(pmd_read_stat(&r.p, "priq_aborts"), 1);
	assert_true(smmuv3_read32(r.p.s->regs, SMMUV3_GERROR) !=
			smmuv3_read32(r.p.s->regs, SMMUV3_GERRORN));
	requests_serve_all(&r);
	assert_int_equal(r.lost, 1);
	requests_check(&r, 40);
	requests_serve_all(&r);
	assert_int_equal(r.lost, 2);
	assert_int_equal(pmd_read_stat(&r.p, "priq_aborts"), 2);
	requests_ask(&r, 0, PMD_VA, 1);
	requests_serve_all(&r);
	assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
	requests_close(&r);
}

static unsigned int
count_matches(const char *text, const char *what)
{
	unsigned int n = 0;

	while ((text = strstr(text, what)) != NULL) {
		text += strlen(what);
		n++;
	}
	return n;
}

static void
test_aborts_are_logged_once_per_start(void **state)
{
	FILE *before = rte_log_get_stream();
	char *text = NULL;
	size_t len;
	FILE *log = open_memstream(&text, &len);
	struct requests r;

	(void)state;
	assert_non_null(log);
	requests_open(&r);
	rte_openlog_stream(log);
	for (unsigned int i = 0; i < 4; i++) {
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		requests_ask(&r, 0, PMD_VA, 1);
		pmd_step(&r.p);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_ABORTED), 1);
		requests_check(&r, 40);
		requests_serve_all(&r);
		requests_restart_pri(&r);
		fflush(log);
		assert_int_equal(count_matches(text, "PRIQ_ABT_ERR"), i < 2 ? 1 : 2);
		if (i == 1) {
			assert_int_equal(r.p.ops->stop(r.p.s), 0);
			assert_int_equal(r.p.ops->start(r.p.s), 0);
		}
	}
	rte_openlog_stream(before == stderr ? NULL : before);
	assert_int_equal(count_matches(text, "iopf_dev_pri_restart()"), 2);
	assert_int_equal(count_matches(text, "priq_aborts"), 2);
	assert_int_equal(pmd_read_stat(&r.p, "priq_aborts"), 4);
	requests_close(&r);
	fclose(log);
	free(text);
}

/*
 * The abort shows too late: PROD passed an entry that was not written, and the request gets no
 * answer.
 */
static void
test_a_request_lost_in_the_middle_of_a_burst(void **state)
{
	struct requests r;

	(void)state;
	for (unsigned int at = 0; at < 4; at++) {
		requests_open_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 2 }, NULL);
		/* A full round first: the slot of the lost request holds an old request. */
		for (unsigned int i = 0; i < 8; i++)
			requests_ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
		requests_serve_all(&r);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 8);
		r.lost = 0;
		for (unsigned int i = 0; i < at; i++) {
			requests_ask(&r, 0, PMD_VA + (16 + i) * PAGE, 1);
			pmd_step(&r.p);
		}
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
		requests_ask(&r, 1, PMD_VA + 32 * PAGE, 1);
		pmd_step(&r.p);
		assert_int_equal(smmuv3_q_pos(2, smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD) -
				smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_CONS)), at + 1);
		requests_check(&r, 17);
		requests_serve_all(&r);
		assert_int_equal(r.groups, 8 + at);
		assert_int_equal(r.bad, 1);
		assert_int_equal(r.lost, 1);
		assert_int_equal(pmd_read_stat(&r.p, "bad_requests"), 1);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), at);
		/* The group gets no answer: the endpoint must be reset. */
		assert_int_equal(smmuv3_model_dma_pri_disable(r.fns[0]), 0);
		assert_false(smmuv3_model_dma_pri_drained(r.fns[0]));
		smmuv3_model_dma_reset(r.fns[0]);
		pmd_step(&r.p);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_ABORTED), 1);
		requests_enable_pri(&r);
		requests_ask(&r, 1, PMD_VA + 32 * PAGE, 1);
		requests_serve_all(&r);
		assert_int_equal(requests_count_ended(&r, SMMUV3_MODEL_OK), 1);
		requests_close(&r);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_every_group_is_answered_once_under_overflow),
	cmocka_unit_test(test_no_request_is_accepted_before_the_loss_is_reported),
	cmocka_unit_test(test_an_aborted_write_loses_requests_and_the_queue_goes_on),
	cmocka_unit_test(test_a_second_abort_waits_for_the_report_of_the_first),
	cmocka_unit_test(test_aborts_are_logged_once_per_start),
	cmocka_unit_test(test_a_request_lost_in_the_middle_of_a_burst),
};

TEST_SUITE(pmd_requests_lost, tests, NULL, NULL);
