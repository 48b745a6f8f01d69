/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The operation peek: a queue that peeks idle has nothing for poll(), and an entry ends that before
 * poll() is called.
 */

#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static bool
is_idle(const struct iopf_peek *peek)
{
	return __atomic_load_n(peek->word, __ATOMIC_RELAXED) == peek->idle;
}

/* Also where the queue wraps, and after idle polls of any number. */
static void
test_an_event_ends_the_idle_peek(void **state)
{
	const struct iopf_peek *peek;
	struct iopf_event event;
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 3 });
	peek = p.ops->peek(p.s, IOPF_QUEUE_EVENTS);
	assert_non_null(peek);
	assert_false(is_idle(peek));
	pmd_start(&p, IOPF_STALL);
	assert_false(is_idle(peek));
	for (unsigned int i = 0; i < 100; i++) {
		for (unsigned int k = 0; k < 1 + i % 70; k++)
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		assert_true(is_idle(peek));
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		for (unsigned int k = 0; k < 100 && is_idle(peek); k++)
			smmuv3_model_step(p.m, 1);
		assert_false(is_idle(peek));
		pmd_wait_event(&p, &event);
		/* The next poll is needed: it stores that this burst has been processed. */
		assert_true(peek->idle == IOPF_PEEK_POLL);
		pmd_answer(&p, &event, IOPF_INVALID);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	}
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_start_needs_a_poll(void **state)
{
	const struct iopf_peek *peek;
	struct iopf_event event;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	peek = p.ops->peek(p.s, IOPF_QUEUE_EVENTS);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(p.ops->start(p.s), 0);
		assert_false(is_idle(peek));
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		assert_true(is_idle(peek));
		assert_int_equal(p.ops->stop(p.s), 0);
	}
	pmd_close(&p);
}

/* An SMMU that is off may have no power: nothing but memory is read then. */
static void
test_a_peek_reads_no_register(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	assert_ptr_equal(p.ops->peek(p.s, IOPF_QUEUE_EVENTS)->word, &p.s->words->evtq.v);
	assert_ptr_equal(p.ops->peek(p.s, IOPF_QUEUE_REQUESTS)->word, &p.s->words->priq.v);
	pmd_close(&p);
	pmd_open(&p, &(struct smmuv3_model_conf){ .no_features = SMMUV3_MODEL_NO_MSI });
	assert_null(p.ops->peek(p.s, IOPF_QUEUE_EVENTS));
	assert_null(p.ops->peek(p.s, IOPF_QUEUE_REQUESTS));
	pmd_close(&p);
}

/* SMMUs that are opened one after the other have their words in different sets of a cache. */
static void
test_words_of_several_smmus_differ_in_their_offsets(void **state)
{
	uintptr_t offsets[2];
	struct pmd p[2];

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		pmd_open(&p[i], NULL);
		offsets[i] = (uintptr_t)p[i].ops->peek(p[i].s, IOPF_QUEUE_EVENTS) % 4096;
	}
	assert_true(offsets[0] != offsets[1]);
	for (unsigned int i = 0; i < 2; i++)
		pmd_close(&p[i]);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_event_ends_the_idle_peek),
	cmocka_unit_test(test_a_start_needs_a_poll),
	cmocka_unit_test(test_a_peek_reads_no_register),
	cmocka_unit_test(test_words_of_several_smmus_differ_in_their_offsets),
};

TEST_SUITE(pmd_peek, tests, NULL, NULL);
