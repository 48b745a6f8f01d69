/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Groups of page requests made by the test: the verdicts of the two handlers of a space, the pages
 * they map, and at most one invalidation for each group.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

#include "groups_rig.h"
#include "interpose.h"
#include "test.h"

#define R		IOPF_PERM_READ
#define W		IOPF_PERM_WRITE
#define SUCCESS		IOPF_ANSWER(IOPF_SUCCESS)
#define INVALID		IOPF_ANSWER(IOPF_INVALID)
#define SUCCESS_AFTER	IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS)
#define INVALID_AFTER	IOPF_ANSWER_AFTER_INV(IOPF_INVALID)

static struct hand hand;

/* Allocate tracked memory and map its first pages for reads. */
static uint8_t *
map_tracked(unsigned int pages)
{
	uint8_t *buf = gr_alloc(CHUNK, TRACKED);

	hand_clear(&hand);
	hand_add_pages(&hand, buf, pages, R);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	hand_clear(&hand);
	return buf;
}

static void
test_pages_of_a_group_are_mapped_without_invalidation(void **state)
{
	uint8_t *buf = gr_alloc(2 * CHUNK, RW | MMEM_POPULATE);

	(void)state;
	hand_clear(&hand);
	hand_add_pages(&hand, buf + CHUNK - 5 * PAGE, IOPF_MAX_GROUP_FAULTS, W);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), IOPF_MAX_GROUP_FAULTS);
	for (unsigned int i = 0; i < IOPF_MAX_GROUP_FAULTS; i++)
		assert_int_equal(gr_rights_at(buf + CHUNK - 5 * PAGE + i * PAGE), RW);
	/* The same group again: its faults join, without an invalidation. */
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), IOPF_MAX_GROUP_FAULTS);
	assert_int_equal(gr_stat(MMEM_STAT_JOINED), IOPF_MAX_GROUP_FAULTS);
	assert_int_equal(gr.invs, 0);
}

static void
test_raised_rights_of_a_group_are_one_invalidation(void **state)
{
	uint8_t *buf = map_tracked(100);

	(void)state;
	/* Pages in any order; some do not change, and some were not mapped. */
	for (unsigned int i = 0; i < 40; i++)
		hand_add(&hand, buf + (80 - i) * PAGE + 8, i % 2 ? W : R);
	hand_add_pages(&hand, buf + 100 * PAGE, 10, W);
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	gr_expect_inv(&hand.pass.inv[0], buf + 41 * PAGE, 39);
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 20);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 110);
	assert_int_equal(gr_stat(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(gr_rights_at(buf + 41 * PAGE), RW);
	assert_int_equal(gr_rights_at(buf + 42 * PAGE), MMEM_READ);
}

static void
test_pages_far_apart_are_one_invalidation_of_all(void **state)
{
	uint8_t *buf = map_tracked(512);

	(void)state;
	hand_add(&hand, buf, W);
	hand_add(&hand, buf + 31 * PAGE, W);
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	gr_expect_inv(&hand.pass.inv[0], buf, 32);
	hand_clear(&hand);
	hand_add(&hand, buf + 500 * PAGE, W);
	hand_add(&hand, buf + 468 * PAGE, W);
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	assert_true(hand.pass.inv[0].all);
}

static void
test_a_page_may_be_in_a_group_twice(void **state)
{
	uint8_t *buf = map_tracked(4);

	(void)state;
	hand_add(&hand, buf + 9 * PAGE, R);
	hand_add(&hand, buf + 9 * PAGE + 100, R);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 5);
	assert_int_equal(gr_stat(MMEM_STAT_JOINED), 1);
	hand_clear(&hand);
	/* Reads and writes of a page, in either order. */
	hand_add(&hand, buf + PAGE, W);
	hand_add(&hand, buf + PAGE, R);
	hand_add(&hand, buf + PAGE, W);
	hand_add(&hand, buf + 10 * PAGE, R);
	hand_add(&hand, buf + 10 * PAGE, W);
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	gr_expect_inv(&hand.pass.inv[0], buf + PAGE, 10);
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 2);
	assert_int_equal(gr_rights_at(buf + PAGE), RW);
	assert_int_equal(gr_rights_at(buf + 10 * PAGE), RW);
}

static void
test_a_request_without_rights_succeeds(void **state)
{
	uint8_t *buf = gr_alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	hand_clear(&hand);
	/* A stop marker without PASID is a request like this. Its address is in no region. */
	hand_add(&hand, NULL, 0);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	hand_add(&hand, buf, IOPF_PERM_PRIV);
	hand_add(&hand, buf + PAGE, R);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(gr_rights_at(buf), 0);
	assert_int_equal(gr_rights_at(buf + PAGE), RW);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 1);
	assert_int_equal(gr.reports, 0);
	/* A stall needs at least the read right. */
	hand_make_stall(&hand, NULL, 0, IOPF_REASON_TRANSLATION);
	assert_int_equal(hand_run_fast(&hand), INVALID);
	assert_int_equal(gr.reports, 1);
}

/* A stall on a page of a chunk that was touched has a short path. */
static void
test_a_stall_and_a_request_of_the_same_rights_have_the_same_end(void **state)
{
	static const unsigned int flags[] = { MMEM_READ, RW, MMEM_READ | MMEM_EXEC, RW | MMEM_EXEC,
		RW | MMEM_TRACK_WRITES };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(flags); i++) {
		uint8_t *buf = gr_alloc(CHUNK, flags[i] | MMEM_POPULATE);

		hand_clear(&hand);
		hand_add(&hand, buf, R);
		assert_int_equal(hand_run_fast(&hand), SUCCESS);
		for (unsigned int perm = R; perm < 2 * IOPF_PERM_PRIV; perm++) {
			uint8_t *page = buf + 2 * perm * PAGE;
			enum iopf_verdict verdict;

			if ((perm & MMEM_RIGHTS) == 0)
				continue;
			hand_clear(&hand);
			hand_add(&hand, page, perm);
			verdict = hand_run_fast(&hand);
			hand_make_stall(&hand, page + PAGE, perm, IOPF_REASON_TRANSLATION);
			assert_int_equal(hand_run_fast(&hand), verdict);
			assert_int_equal(gr_rights_at(page + PAGE), gr_rights_at(page));
		}
	}
}

static void
test_a_stall_that_no_mapping_resolves_is_refused(void **state)
{
	static const enum iopf_reason reasons[] = { IOPF_REASON_ADDR_SIZE, IOPF_REASON_CONFIG,
		IOPF_REASON_OTHER };
	uint8_t *buf = gr_alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	hand_make_stall(&hand, buf, R, IOPF_REASON_TRANSLATION);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	for (unsigned int i = 0; i < RTE_DIM(reasons); i++) {
		hand_make_stall(&hand, buf + PAGE, R, reasons[i]);
		assert_int_equal(hand_run_fast(&hand), INVALID);
	}
	hand_make_stall(&hand, buf + PAGE, R, IOPF_REASON_TRANSLATION);
	hand.fault[0].flags |= IOPF_FAULT_STAGE2;
	assert_int_equal(hand_run_fast(&hand), INVALID);
	assert_int_equal(gr_rights_at(buf + PAGE), 0);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 1);
}

static void
test_one_refused_page_refuses_the_group_and_is_reported_once(void **state)
{
	uint8_t *buf = map_tracked(4), *ro = gr_alloc(CHUNK, MMEM_READ | MMEM_POPULATE);

	(void)state;
	hand_add(&hand, buf + 8 * PAGE, R);
	hand_add(&hand, ro, W);
	hand_add(&hand, ro + PAGE, W);
	hand_add(&hand, NULL, R);
	assert_int_equal(hand_run_fast(&hand), INVALID);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(gr.reports, 1);
	assert_int_equal(gr.report.addr, (uintptr_t)ro);
	assert_int_equal(gr.report.error, -EACCES);
	assert_int_equal(gr.report.perm, W);
	assert_int_equal(gr_stat(MMEM_STAT_FORBIDDEN), 1);
	assert_int_equal(gr_stat(MMEM_STAT_NO_REGION), 0);
	assert_int_equal(gr_rights_at(buf + 8 * PAGE), MMEM_READ);
	/* The first page was upgraded before the refusal: the upgrade is invalidated. */
	hand_clear(&hand);
	hand_add(&hand, buf, W);
	hand_add(&hand, NULL, R);
	assert_int_equal(hand_run_fast(&hand), INVALID_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	gr_expect_inv(&hand.pass.inv[0], buf, 1);
	assert_int_equal(gr.reports, 2);
	assert_int_equal(gr.report.error, -EFAULT);
	/* The deferred handler checks all pages before it changes one. */
	hand_clear(&hand);
	hand_add(&hand, buf + PAGE, W);
	hand_add(&hand, ro, R);
	hand_add(&hand, ro, W);
	assert_int_equal(hand_run_deferred(&hand), INVALID);
	assert_int_equal(gr.invs, 0);
	assert_int_equal(gr_rights_at(buf + PAGE), MMEM_READ);
	assert_int_equal(gr.reports, 3);
	assert_int_equal(gr.report.addr, (uintptr_t)ro);
	assert_int_equal(gr.report.perm, W);
}

static void
test_a_deferred_group_keeps_its_mapped_pages(void **state)
{
	uint8_t *buf = gr_alloc(CHUNK, RW | MMEM_POPULATE), *paged = gr_alloc_paged(2 * CHUNK);

	(void)state;
	hand_clear(&hand);
	hand_add_pages(&hand, buf, 3, W);
	hand_add_pages(&hand, paged + CHUNK - 2 * PAGE, 4, W);
	hand_add_pages(&hand, buf + 3 * PAGE, 1, R);
	assert_int_equal(hand_run_fast(&hand), IOPF_DEFER);
	assert_int_equal(gr_stat(MMEM_STAT_DEFERRED), 1);
	assert_int_equal(gr_rights_at(buf + 2 * PAGE), RW);
	assert_int_equal(gr_rights_at(paged + CHUNK - 2 * PAGE), 0);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	for (unsigned int i = 0; i < hand.nb; i++)
		assert_int_equal(gr_rights_at((void *)(uintptr_t)hand.fault[i].addr), RW);
	assert_int_equal(paged[CHUNK], 0x5a);
	assert_int_equal(atomic_load(&gr.fills), 2);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 8);
	assert_int_equal(gr_stat(MMEM_STAT_JOINED), 3);
	/* No mapped page changed, so there is no invalidation. */
	assert_int_equal(gr.invs, 0);
}

static void
test_a_pager_that_fails_refuses_the_group(void **state)
{
	uint8_t *paged = gr_alloc_paged(CHUNK);

	(void)state;
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_EMERG);
	gr.fill_result = -EIO;
	hand_clear(&hand);
	hand_add_pages(&hand, paged, 4, R);
	assert_int_equal(hand_run_fast(&hand), IOPF_DEFER);
	assert_int_equal(hand_run_deferred(&hand), INVALID);
	assert_int_equal(gr.reports, 1);
	assert_int_equal(gr.report.error, -EIO);
	assert_int_equal(atomic_load(&gr.fills), 1);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_NOTICE);
}

/* The fast handler upgraded a page before it deferred, without an invalidation. */
static void
test_rights_raised_before_a_deferral_are_invalidated_by_the_deferred_half(void **state)
{
	uint8_t *buf = map_tracked(4), *paged = gr_alloc_paged(3 * CHUNK);

	(void)state;
	hand_add(&hand, buf, W);
	hand_add(&hand, paged, R);
	assert_int_equal(hand_run_fast(&hand), IOPF_DEFER);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(gr.invs, 0);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	assert_int_equal(gr.invs, 1);
	assert_true(gr.inv.all);
	/* The invalidation of an unmap in between covers the upgrade. */
	hand_clear(&hand);
	hand_add(&hand, buf + PAGE, W);
	hand_add(&hand, paged + CHUNK, R);
	assert_int_equal(hand_run_fast(&hand), IOPF_DEFER);
	assert_int_equal(mmem_unmap(gr.space, buf + 3 * PAGE, PAGE), 0);
	assert_int_equal(gr.invs, 2);
	assert_true(gr.inv.all);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	assert_int_equal(gr.invs, 2);
	/* The invalidation is not repeated. */
	hand_clear(&hand);
	hand_add(&hand, paged + 2 * CHUNK, R);
	assert_int_equal(hand_run_fast(&hand), IOPF_DEFER);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	assert_int_equal(gr.invs, 2);
}

/* Count the locks that the deferred handler takes for this group. */
static unsigned int
count_locks(void)
{
	interpose_locks = 0;
	interpose_watch(true);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	interpose_watch(false);
	return interpose_locks;
}

static void
test_the_deferred_half_takes_its_lock_once_and_invalidates_once(void **state)
{
	uint8_t *buf = map_tracked(200);
	unsigned int one;

	(void)state;
	hand_add(&hand, buf, W);
	one = count_locks();
	assert_int_equal(gr.invs, 1);
	gr_expect_inv(&gr.inv, buf, 1);
	hand_clear(&hand);
	hand_add_pages(&hand, buf + PAGE, 100, W);
	hand_add_pages(&hand, buf + 200 * PAGE, 100, W);
	assert_int_equal(count_locks(), one);
	assert_int_equal(gr.invs, 2);
	gr_expect_inv(&gr.inv, buf + PAGE, 100);
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 101);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 300);
	hand_clear(&hand);
	hand_add(&hand, buf + 101 * PAGE, W);
	hand_add(&hand, buf + 199 * PAGE, W);
	assert_int_equal(count_locks(), one);
	assert_int_equal(gr.invs, 3);
	assert_true(gr.inv.all);
}

/* An invalidation that the library refuses is left to the deferred handler. */
static void
test_the_deferred_half_makes_an_invalidation_that_was_refused(void **state)
{
	uint8_t *buf = map_tracked(4);
	struct iopf_group group;

	(void)state;
	hand_add(&hand, buf, W);
	group = hand_make_group(&hand);
	/* The library refuses an invalidation outside of a handler. */
	assert_int_equal(mmem_handle_fault(mmem_space_domain(gr.space), &group, gr.space),
			IOPF_DEFER);
	assert_int_equal(hand_run_deferred(&hand), SUCCESS);
	assert_int_equal(gr.invs, 1);
	assert_true(gr.inv.all);
}

static void
test_stalls_and_page_requests_of_a_page_join(void **state)
{
	static struct hand stalled, again;
	uint8_t *buf = gr_alloc(CHUNK, TRACKED);

	(void)state;
	hand_clear(&hand);
	hand_add_pages(&hand, buf, 2, R);
	hand_clear(&again);
	hand_add_pages(&again, buf + PAGE, 2, R);
	hand_make_stall(&stalled, buf, R, IOPF_REASON_TRANSLATION);
	assert_int_equal(hand_run_fast(&stalled), SUCCESS);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
	assert_int_equal(hand_run_fast(&again), SUCCESS);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 3);
	assert_int_equal(gr_stat(MMEM_STAT_JOINED), 2);
	/* A group maps a page, a stall joins. */
	hand_make_stall(&stalled, buf + 2 * PAGE, R, IOPF_REASON_TRANSLATION);
	assert_int_equal(hand_run_fast(&stalled), SUCCESS);
	assert_int_equal(gr_stat(MMEM_STAT_MAPPED), 3);
	assert_int_equal(gr_stat(MMEM_STAT_JOINED), 3);
	/*
	 * A group upgrades a page. A stall that the old rights refused is answered after the same
	 * invalidation.
	 */
	hand_clear(&hand);
	hand_add(&hand, buf, W);
	hand_make_stall(&stalled, buf, W, IOPF_REASON_PERMISSION);
	assert_int_equal(hand_run_fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand_run_fast(&stalled), SUCCESS_AFTER);
	gr_expect_inv(&stalled.pass.inv[0], buf, 1);
	assert_int_equal(gr_stat(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(gr_stat(MMEM_STAT_JOINED), 4);
	assert_int_equal(hand_run_fast(&hand), SUCCESS);
}

/* Poll threads of stalls and of page requests, on the same pages. */
#define RACERS 2

#define ROUNDS 200

struct racer {
	pthread_t thread;
	uint8_t *buf;
	bool pri;
	unsigned int bad;
	struct hand hand;
};

static pthread_barrier_t barrier;

static void *
race(void *arg)
{
	struct racer *r = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		for (unsigned int k = 0; k < 8; k++) {
			if (r->pri && k != 0)
				break;
			hand_clear(&r->hand);
			if (r->pri)
				hand_add_pages(&r->hand, r->buf + i * 8 * PAGE, 8, W);
			else
				hand_make_stall(&r->hand, r->buf + (i * 8 + k) * PAGE, W,
						IOPF_REASON_TRANSLATION);
			r->bad += hand_run_fast(&r->hand) != SUCCESS;
		}
	}
	return NULL;
}

static void
test_a_concurrent_stall_and_group_map_a_page_once(void **state)
{
	static struct racer racer[RACERS];
	uint8_t *buf;

	(void)state;
	for (unsigned int round = 0; round < test_scale(); round++) {
		uint64_t mapped = gr_stat(MMEM_STAT_MAPPED), joined = gr_stat(MMEM_STAT_JOINED);

		buf = gr_alloc(ROUNDS * 8 * PAGE, RW | MMEM_POPULATE);
		pthread_barrier_init(&barrier, NULL, RACERS);
		for (unsigned int i = 0; i < RACERS; i++) {
			racer[i].buf = buf;
			racer[i].pri = i == 0;
			racer[i].bad = 0;
			assert_int_equal(pthread_create(&racer[i].thread, NULL, race, &racer[i]),
					0);
		}
		for (unsigned int i = 0; i < RACERS; i++) {
			assert_int_equal(pthread_join(racer[i].thread, NULL), 0);
			assert_int_equal(racer[i].bad, 0);
		}
		pthread_barrier_destroy(&barrier);
		assert_int_equal(gr_stat(MMEM_STAT_MAPPED) - mapped, ROUNDS * 8);
		assert_int_equal(gr_stat(MMEM_STAT_JOINED) - joined, ROUNDS * 8);
		assert_int_equal(mmem_free(gr.space, buf), 0);
	}
}

static atomic_bool gone;

static _Atomic unsigned int filled, filled_late;

static int
fill_while_there(void *ctx, uint64_t offset, void *dst, size_t len)
{
	(void)ctx;
	(void)offset;
	usleep(200);
	memset(dst, 0x5a, len);
	atomic_fetch_add(atomic_load(&gone) ? &filled_late : &filled, 1);
	return 0;
}

static void
release(void *ctx)
{
	(void)ctx;
	atomic_store(&gone, true);
}

static void
report_lost(struct hand *h)
{
	struct iopf_group group = hand_make_group(h);

	memset(&h->pass, 0, sizeof(h->pass));
	iopf_self.in_fast = true;
	iopf_self.pass = &h->pass;
	mmem_handle_lost(mmem_space_domain(gr.space), &group, gr.space);
	iopf_self.in_fast = false;
	iopf_self.pass = NULL;
}

static void
test_a_freed_region_is_not_fetched_for_lost_requests(void **state)
{
	const struct mmem_pager pager = { .fill = fill_while_there, .release = release };
	uint8_t *buf;

	(void)state;
	atomic_store(&filled, 0);
	atomic_store(&filled_late, 0);
	for (unsigned int i = 0; i < 100 || (atomic_load(&filled) == 0 && i < 10000); i++) {
		atomic_store(&gone, false);
		buf = mmem_alloc_paged(gr.space, 2 * CHUNK, RW, &pager);
		assert_non_null(buf);
		hand_clear(&hand);
		hand_add_pages(&hand, buf + CHUNK - 2 * PAGE, 4, R);
		report_lost(&hand);
		usleep(i % 16 * 100);
		if (i % 2 == 0)
			report_lost(&hand);
		assert_int_equal(mmem_free(gr.space, buf), 0);
		assert_true(atomic_load(&gone));
		/* The pages are in no region: the report is ignored. */
		report_lost(&hand);
		assert_false(atomic_load(&gr.space->chunks[(buf - gr.pool->mem) /
				CHUNK].state) & CHUNK_WANTED);
		assert_int_equal(atomic_load(&filled_late), 0);
	}
	assert_int_equal(gr.reports, 0);
	/* The space is destroyed while a fetch is wanted. */
	atomic_store(&gone, false);
	assert_non_null(mmem_alloc_paged(gr.space, 2 * CHUNK, RW, &pager));
	report_lost(&hand);
}

#define GROUP_TEST(f) cmocka_unit_test_setup_teardown(f, gr_setup, gr_teardown)

static const struct CMUnitTest tests[] = {
	GROUP_TEST(test_pages_of_a_group_are_mapped_without_invalidation),
	GROUP_TEST(test_raised_rights_of_a_group_are_one_invalidation),
	GROUP_TEST(test_pages_far_apart_are_one_invalidation_of_all),
	GROUP_TEST(test_a_page_may_be_in_a_group_twice),
	GROUP_TEST(test_a_request_without_rights_succeeds),
	GROUP_TEST(test_a_stall_and_a_request_of_the_same_rights_have_the_same_end),
	GROUP_TEST(test_a_stall_that_no_mapping_resolves_is_refused),
	GROUP_TEST(test_one_refused_page_refuses_the_group_and_is_reported_once),
	GROUP_TEST(test_a_deferred_group_keeps_its_mapped_pages),
	GROUP_TEST(test_a_pager_that_fails_refuses_the_group),
	GROUP_TEST(test_rights_raised_before_a_deferral_are_invalidated_by_the_deferred_half),
	GROUP_TEST(test_the_deferred_half_takes_its_lock_once_and_invalidates_once),
	GROUP_TEST(test_the_deferred_half_makes_an_invalidation_that_was_refused),
	GROUP_TEST(test_stalls_and_page_requests_of_a_page_join),
	GROUP_TEST(test_a_concurrent_stall_and_group_map_a_page_once),
	GROUP_TEST(test_a_freed_region_is_not_fetched_for_lost_requests),
};
TEST_SUITE(mmem_groups, tests, NULL, NULL);
