/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The MSI word of the event queue: an idle poll reads the word and misses no event. */

#include "fake_evtq.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* The poll finds the next event after any idle time and wherever the model's step ended. */
static void
test_an_idle_queue_wakes_up(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i, k, n;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	for (i = 0; i < 300; i++) {
		for (k = 0; k < i; k++)
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		/* An idle poll reads the word, which is 0. */
		if (i > 0)
			assert_int_equal(smmuv3_load_word(&p.s->words->evtq.v), 0);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		for (k = 0, n = 0; k < 100 && n == 0; k++) {
			smmuv3_model_step(p.m, 1);
			n = p.ops->poll(p.s, 0, &event, 1);
		}
		assert_int_equal(n, 1);
		pmd_answer(&p, &event, IOPF_INVALID);
		if (i & 1)
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	}
	/* The word showed each event. The slow PROD poll found none. */
	assert_int_equal(pmd_read_stat(&p, "missed_msis"), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_an_event_without_its_interrupt_is_found(void **state)
{
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	unsigned int i;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	for (i = 0; i < 4; i++)
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_step(&p);
	for (i = 0; i < 64 && p.ops->poll(p.s, 0, &event, 1) == 0; i++)
		;
	assert_true(i < 64);
	pmd_answer(&p, &event, IOPF_INVALID);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	for (i = 0; i < 200; i++)
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
	assert_int_equal(pmd_read_stat(&p, "missed_msis"), 1);
	for (i = 0; i < 16; i++)
		assert_int_equal(p.ops->check(p.s), 0);
	assert_int_equal(pmd_read_stat(&p, "msi_aborts"), 1);
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The poll may see PROD before it sees the word. That is no lost interrupt. */
static void
test_an_msi_word_that_follows_prod_is_no_lost_interrupt(void **state)
{
	struct iopf_event e;
	struct pmd p;
	unsigned int i;

	(void)state;
	for (unsigned int comes = 0; comes < 2; comes++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 3 });
		assert_int_equal(p.ops->start(p.s), 0);
		p.untidy = true;
		for (unsigned int round = 0; round < 5; round++) {
			for (i = 0; i < 4; i++)
				assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 0);
			*fake_get_slot(&p, round) = (struct smmuv3_evt){ .dw = { 0x02, 0, 0, 0 } };
			fake_write_prod(&p, round + 1);
			for (i = 0; i < 64 && p.ops->poll(p.s, 0, &e, 1) == 0; i++)
				;
			assert_true(i < 64);
			/* Further polls follow at once and find the queue empty. */
			if (round & 1)
				for (i = 0; i < 3; i++)
					assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 0);
			if (comes)
				atomic_store(&p.s->words->evtq.v, 1);
			for (i = 0; i < 200; i++)
				assert_int_equal(p.ops->poll(p.s, 0, &e, 1), 0);
			assert_int_equal(pmd_read_stat(&p, "missed_msis"), comes ? 0 : round + 1);
		}
		fake_close(&p);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_idle_queue_wakes_up),
	cmocka_unit_test(test_an_event_without_its_interrupt_is_found),
	cmocka_unit_test(test_an_msi_word_that_follows_prod_is_no_lost_interrupt),
};

TEST_SUITE(pmd_evtq_wake, tests, NULL, NULL);
