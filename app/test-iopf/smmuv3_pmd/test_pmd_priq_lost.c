/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The page request queue: the driver reports overflows and losses where they happened. */

#include <stdlib.h>

#include "fake_priq.h"
#include "test.h"

/*
 * The overflow happens at each position, with each burst size. LOST comes last. Its burst frees the
 * entries before it and acknowledges the overflow in one store.
 */
static void
test_an_overflow_is_acknowledged_where_it_is_reported(void **state)
{
	struct iopf_event e[16];
	struct fake_priq fake;
	unsigned int log2, n, at, i, got, left;

	(void)state;
	for (log2 = 0; log2 < 4; log2++)
		for (n = 1; n <= 10; n++)
			for (at = 0; at < 2u << log2; at++) {
				fq_open(&fake, log2, at & 1);
				for (i = 0; i < at; i++) {
					fq_add_request();
					assert_int_equal(fq_poll_stream(8), 1);
				}
				for (i = 0; i < (2u << log2) + 1; i++)
					fq_add_request();
				assert_int_equal(fq->nb_overflows, 1);
				for (left = 1u << log2; left > 0; left -= got) {
					uint32_t ack = fq_read(SMMUV3_PRIQ_CONS) & SMMUV3_Q_OVFLG;

					got = fq_poll(e, n);
					assert_true(got > 0);
					/*
					 * The overflow is not acknowledged earlier: the SMMU must
					 * not accept requests yet.
					 */
					if (got < left + 1)
						assert_int_equal(fq->cons & SMMUV3_Q_OVFLG, ack);
					for (i = 0; i < RTE_MIN(got, left); i++)
						assert_int_equal(e[i].flags & ~IOPF_EVENT_LAST,
								IOPF_EVENT_PAGE_REQUEST);
					if (got == left + 1)
						break;
				}
				if (n == 1) {
					assert_int_equal(left, 0);
					got = fq_poll(e, 1);
					assert_int_equal(got, 1);
				} else {
					assert_int_equal(got, left + 1);
				}
				assert_int_equal(e[got - 1].flags, IOPF_EVENT_LOST);
				assert_int_equal(fq->cons, fq->prod);
				/* LOST is reported once, and the next item is a request. */
				assert_int_equal(fq_poll(e, n), 0);
				fq->head = fq->tail;
				fq_add_request();
				assert_int_equal(fq_poll_stream(n), 1);
				assert_int_equal(pmd_read_stat(&fake.p, "priq_overflows"), 1);
				assert_int_equal(pmd_read_stat(&fake.p, "priq_losses"), 1);
				fq_close();
			}
}

/* The overflow begins after PROD was read, so no entry is left that could be freed with it. */
static void
test_an_overflow_behind_an_empty_queue_is_reported(void **state)
{
	struct iopf_event e[4];
	struct fake_priq fake;

	(void)state;
	for (unsigned int msi = 0; msi < 2; msi++) {
		fq_open(&fake, 1, msi);
		fq_add_request();
		fq_add_request();
		/* The driver knows of two entries and has read one. */
		assert_int_equal(fq_poll(e, 1), 1);
		/* A request that came after that found the queue full. */
		fq_write_prod(fq->prod ^ SMMUV3_Q_OVFLG);
		assert_int_equal(fq_poll(e, 4), 1);
		assert_int_equal(e[0].flags & IOPF_EVENT_LOST, 0);
		assert_int_equal(fq->cons & SMMUV3_Q_OVFLG, 0);
		for (unsigned int i = 0; i < 64 && fq_poll(e, 4) == 0; i++)
			;
		assert_int_equal(e[0].flags, IOPF_EVENT_LOST);
		assert_int_equal(fq->cons, fq->prod);
		assert_int_equal(fq_poll(e, 4), 0);
		assert_int_equal(pmd_read_stat(&fake.p, "priq_overflows"), 1);
		fq->head = fq->tail;
		fq_add_request();
		assert_int_equal(fq_poll_stream(4), 1);
		fq_close();
	}
}

static void
test_an_impossible_prod_drops_all_requests(void **state)
{
	struct iopf_event e[4];
	struct fake_priq fake;
	unsigned int i, k;

	(void)state;
	for (unsigned int msi = 0; msi < 2; msi++) {
		fq_open(&fake, 3, msi);
		for (i = 9; i < 16; i++)
			for (k = 0; k < 2; k++) {
				uint64_t was = pmd_read_stat(&fake.p, "bad_priq_prod");
				uint32_t prod;

				/* Items skipped earlier are not expected. */
				fq->head = fq->tail;
				fq->told = false;
				fq_add_request();
				assert_int_equal(fq_poll_stream(4), 1);
				fq_add_request();
				prod = smmuv3_q_add(3, fq_read(SMMUV3_PRIQ_CONS), i) |
					(fq->prod & SMMUV3_Q_OVFLG);
				fq_write_prod(prod ^ (k == 1 ? SMMUV3_Q_OVFLG : 0));
				assert_int_equal(fq_poll(e, 4), 1);
				assert_int_equal(e[0].flags, IOPF_EVENT_LOST);
				assert_int_equal(fq->cons, fq->prod);
				assert_int_equal(pmd_read_stat(&fake.p, "bad_priq_prod"), was + 1);
				assert_int_equal(fq_poll(e, 4), 0);
				fq->head = fq->tail;
				fq->told = false;
				for (unsigned int u = 0; u < 8; u++)
					fq_add(UNWRITTEN, 0, 0);
				for (unsigned int u = 0; u < 8; u++)
					assert_int_equal(fq_poll_stream(1), 1);
			}
		fq_close();
	}
}

/* PROD passed entries that were not written because of an abort. */
static void
test_an_entry_that_was_never_written_is_no_old_request(void **state)
{
	struct fake_priq fake;

	(void)state;
	fq_open(&fake, 2, false);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < 4; i++)
			fq_add_request();
		while (fq->head != fq->tail)
			assert_true(fq_poll_stream(3) > 0);
		fq_add(UNWRITTEN, 0, 0);
		fq_add_request();
		fq_add(UNWRITTEN, 0, 0);
		assert_int_equal(fq_poll_stream(8), 3);
	}
	assert_int_equal(pmd_read_stat(&fake.p, "bad_requests"), 10);
	fq_close();
}

/* A loss found by check(), at each position among the entries. */
static void
test_a_loss_is_reported_at_its_place(void **state)
{
	struct iopf_event e[16];
	struct fake_priq fake;
	unsigned int n, before, read, i, at;

	(void)state;
	for (n = 1; n <= 9; n++)
		for (before = 0; before <= 4; before++)
			for (read = 0; read <= before; read++) {
				fq_open(&fake, 3, n & 1);
				for (i = 0; i < before; i++)
					fq_add_request();
				for (i = 0; i < read; i++)
					assert_int_equal(fq_poll_stream(1), 1);
				fq_block();
				if (fq->head == fq->tail)
					assert_int_equal(before, read);
				fq_unblock();
				assert_true(seen_losing(fq->p.s));
				for (i = 0; i < 4; i++)
					fq_add_request();
				while (fq->head != fq->tail)
					assert_true(fq_poll_stream(n) > 0);
				assert_false(seen_losing(fq->p.s));
				assert_int_equal(fq_poll(e, 8), 0);
				assert_int_equal(pmd_read_stat(&fake.p, "priq_losses"), 1);
				fq_close();
			}
	/*
	 * Two losses without a poll between them: LOST has the later place, and all entries are
	 * reported.
	 */
	fq_open(&fake, 3, false);
	fq_add_request();
	seen_lost(fq->p.s);
	fq_add_request();
	seen_lost(fq->p.s);
	fq_add_request();
	for (at = 0, i = 0; i < 4; i++) {
		assert_int_equal(fq_poll(e, 1), 1);
		if (e[0].flags == IOPF_EVENT_LOST)
			at = i;
	}
	assert_int_equal(at, 2);
	assert_int_equal(fq_poll(e, 1), 0);
	fq_close();
}

/*
 * Random events at any moment, between two accesses of the driver too. The driver reports requests
 * and losses in their order.
 */
static void
test_requests_and_losses_are_reported_in_order(void **state)
{
	struct fake_priq fake;
	unsigned int overflows = 0, lost = 0;

	(void)state;
	for (unsigned int k = 0; k < 2 * 5 * 3; k++) {
		fq_open(&fake, k / 2 % 5, k & 1);
		fq->meanwhile = k / 10 == 0 ? 0 : 1 + k / 10;
		fq->seed = k;
		for (unsigned int i = 0; i < 4000; i++) {
			if (fq_chance(3))
				fq_act_randomly();
			fq_poll_stream(1 + (unsigned int)rand_r(&fq->seed) % (i & 256 ? 3 : 40));
		}
		fq->meanwhile = 0;
		for (unsigned int i = 0; i < 500; i++) {
			fq_unblock();
			fq_poll_stream(5);
		}
		assert_false(fq->blocked);
		assert_int_equal(fq->head, fq->tail);
		assert_int_equal((fq->prod ^ fq_read(SMMUV3_PRIQ_CONS)) & SMMUV3_Q_OVFLG, 0);
		assert_int_equal(pmd_read_stat(&fake.p, "priq_overflows"), fq->nb_overflows);
		assert_int_equal(pmd_read_stat(&fake.p, "missed_priq_msis"), 0);
		assert_int_equal(pmd_read_stat(&fake.p, "bad_priq_prod"), 0);
		overflows += fq->nb_overflows;
		lost += fq->nb_lost;
		fq_close();
	}
	/* The runs had enough overflows and losses. */
	assert_true(overflows > 1000);
	assert_true(lost > 1000);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_overflow_is_acknowledged_where_it_is_reported),
	cmocka_unit_test(test_an_overflow_behind_an_empty_queue_is_reported),
	cmocka_unit_test(test_an_impossible_prod_drops_all_requests),
	cmocka_unit_test(test_an_entry_that_was_never_written_is_no_old_request),
	cmocka_unit_test(test_a_loss_is_reported_at_its_place),
	cmocka_unit_test(test_requests_and_losses_are_reported_in_order),
};

TEST_SUITE(pmd_priq_lost, tests, NULL, NULL);
