/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Fetches of a pager: their size and number, threads, and asynchronous fetches.
 */

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "log_lines.h"
#include "mmem_space.h"
#include "pager_rig.h"
#include "test.h"

static void
test_a_pager_is_asked_for_its_fetch_size(void **state)
{
	static const size_t sizes[] = { PAGE, 16 * PAGE, CHUNK / 2, CHUNK };
	const size_t len = 3 * CHUNK + 5 * PAGE;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(sizes); i++) {
		struct test_pager *pager = pg_new_pager(&(struct mmem_pager){
				.fetch_size = sizes[i] });
		uint64_t filled = pg_stat(MMEM_STAT_FILLED);
		uint8_t *p = pg_alloc(len, pager);
		size_t off = CHUNK + CHUNK / 2 + 3 * PAGE, first = off & ~(sizes[i] - 1);

		/* An access to one page fetches the block around it, once. */
		assert_int_equal(pg_dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(pager, off), 8));
		assert_int_equal(atomic_load(&pager->asked), sizes[i]);
		assert_int_equal(pg_stat(MMEM_STAT_FILLED) - filled, sizes[i] / PAGE);
		assert_int_equal(pg_dev_read(p + first, sizes[i]), SMMUV3_MODEL_OK);
		assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(pager, off), sizes[i]));
		assert_int_equal(atomic_load(&pager->calls), 1);
		/* An access across two blocks. */
		assert_int_equal(pg_dev_read(p + first + sizes[i] - 4, 8), SMMUV3_MODEL_OK);
		assert_int_equal(atomic_load(&pager->calls), 2);
		/* The last block is the rest of the region. */
		assert_int_equal(pg_dev_read(p + len - 8, 8), SMMUV3_MODEL_OK);
		assert_int_equal(atomic_load(&pager->asked), 2 * sizes[i] +
				RTE_MIN(sizes[i], 5 * PAGE));
		assert_int_equal(mmem_prefetch(pg.space, p, len), 0);
		assert_int_equal(atomic_load(&pager->asked), len);
		assert_int_equal(pg_stat(MMEM_STAT_FILLED) - filled, len / PAGE);
		assert_int_equal(mmem_free(pg.space, p), 0);
	}
	assert_int_equal(atomic_load(&pg.nb_reports), 0);
}

static void
test_a_failure_applies_to_one_block(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);

	(void)state;
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
	atomic_store(&pager->error, -EREMOTEIO);
	assert_int_equal(pg_dev_read(p + PAGE, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&pg.error), -EIO);
	assert_int_equal(pg_dev_read(p + 8, 8), SMMUV3_MODEL_OK);
	atomic_store(&pager->error, 0);
	assert_int_equal(pg_dev_read(p + PAGE, 8), SMMUV3_MODEL_OK);
	assert_int_equal(atomic_load(&pager->calls), 3);
}

static void
test_a_pager_may_have_more_threads(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE,
			.nb_threads = 3 });
	uint8_t *p = pg_alloc(CHUNK, pager);
	unsigned int i;

	(void)state;
	atomic_store(&pager->hold, true);
	for (i = 0; i < 8; i++)
		pg_submit(pg.dma, SMMUV3_MODEL_READ, p + i * PAGE, pg_bytes, 8);
	AWAIT(atomic_load(&pager->inside) == 3 && pg_stat(MMEM_STAT_DEFERRED) == 8);
	atomic_store(&pager->hold, false);
	for (i = 0; i < 8; i++)
		assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(atomic_load(&pager->most), 3);
}

static void
test_a_pager_out_of_range_is_refused(void **state)
{
	static const struct mmem_pager bad[] = {
		{ 0 },
		{ .fill = pg_fill, .start = pg_start },
		{ .fill = pg_fill, .fetch_size = PAGE / 2 },
		{ .fill = pg_fill, .fetch_size = 3 * PAGE },
		{ .fill = pg_fill, .fetch_size = 2 * CHUNK },
	};
	/* One line each: no second line about the pool. */
	static const char *const why[] = {
		"fill or start: neither is set", "fill or start: both are set",
		"fetch_size 2048", "fetch_size 12288", "fetch_size 4194304",
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(bad); i++) {
		rte_errno = 0;
		SAYS(why[i], assert_null(mmem_alloc_paged(pg.space, CHUNK, RW, &bad[i])));
		assert_int_equal(rte_errno, EINVAL);
	}
}

/*
 * Asynchronous
 */

static void
test_an_asynchronous_pager_runs_many_fetches(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .start = pg_start,
			.fetch_size = 4 * PAGE });
	uint8_t *p = pg_alloc(4 * CHUNK, pager);
	unsigned int i, failed = 0, aborted = 0;

	(void)state;
	for (i = 0; i < 16; i++)
		pg_submit(pg.dma, SMMUV3_MODEL_READ, p + i * 4 * PAGE, pg_bytes + i, 1);
	AWAIT(pg_nb_started(pager) == 16);
	assert_int_equal(atomic_load(&pager->most), 1);
	/* The fetches end in another order; one of them fails. */
	for (i = 0; i < 16; i++) {
		if (i == 3)
			failed = pager->fetches[15 - i].off / (4 * PAGE);
		pg_finish_fetch(pager, i == 3 ? -EREMOTEIO : 0);
	}
	for (i = 0; i < 16; i++)
		aborted += pg_await(pg.dma) == SMMUV3_MODEL_ABORTED;
	assert_int_equal(aborted, 1);
	for (i = 0; i < 16; i++)
		assert_true(i == failed || pg_bytes[i] == 0x40 + i);
	assert_int_equal(atomic_load(&pg.nb_reports), 1);
	/* The next fetch ends before start returns. */
	pager->at_once = true;
	assert_int_equal(pg_dev_read(p + failed * 4 * PAGE, 8), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_prefetch(pg.space, p, 4 * CHUNK), 0);
	assert_int_equal(pg_stat(MMEM_STAT_FILLED), 4 * CHUNK / PAGE);
	assert_int_equal(mmem_free(pg.space, p), 0);
}

static void
test_a_start_that_fails_is_a_failure(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .start = pg_start });
	uint8_t *p = pg_alloc(CHUNK, pager);

	(void)state;
	atomic_store(&pager->error, -EREMOTEIO);
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_prefetch(pg.space, p, PAGE), -EIO);
	atomic_store(&pager->error, 0);
	pager->at_once = true;
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
}

/* A result that is no -errno counts as -EIO. */
static void
test_a_result_out_of_range_is_a_failure(void **state)
{
	static const int results[] = { 1, INT_MAX, -4096, INT_MIN };
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = pg_alloc(CHUNK, pager);
	unsigned int i;
	char said[64];

	(void)state;
	for (i = 0; i < RTE_DIM(results); i++) {
		memset(&pg.space->log, 0, sizeof(pg.space->log));
		atomic_store(&pager->error, results[i]);
		snprintf(said, sizeof(said), "pager returned %d at offset 0x0", results[i]);
		SAYS(said, assert_int_equal(mmem_prefetch(pg.space, p, PAGE), -EIO));
	}
	atomic_store(&pager->error, 0);
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
}

static int done_result;

static int
start_then_fail(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len)
{
	(void)ctx;
	(void)offset;
	memset(dst, 0x55, len);
	mmem_fetch_done(fetch, done_result);
	return -EREMOTEIO;
}

/* The first result counts: the fetch is over, and may be freed. */
static void
test_a_start_that_fails_after_done_changes_nothing(void **state)
{
	const struct mmem_pager pager = { .start = start_then_fail };
	uint8_t *p = mmem_alloc_paged(pg.space, CHUNK, RW, &pager);

	(void)state;
	done_result = -EREMOTEIO;
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_ABORTED);
	done_result = 0;
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_true(pg_is_filled_with(pg_bytes, 0x55, 8));
	assert_int_equal(pg_stat(MMEM_STAT_FILLED), CHUNK / PAGE);
	assert_int_equal(mmem_free(pg.space, p), 0);
	p = mmem_alloc_paged(pg.space, CHUNK, RW, &pager);
	/* The fetch thread logs after the prefetch has returned, and before the free returns. */
	memset(&pg.space->log, 0, sizeof(pg.space->log));
	SAYS("start of a pager returned -121 after mmem_fetch_done()",
		assert_int_equal(mmem_prefetch(pg.space, p, PAGE), 0);
		assert_int_equal(mmem_free(pg.space, p), 0));
}

static void
test_a_region_stays_until_its_fetch_is_done(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .start = pg_start,
			.deadline_ms = 1 });
	uint8_t *p = pg_alloc(CHUNK, pager);

	(void)state;
	/* On a busy machine the deadline passes before a thread takes the fetch. */
	do
		assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_ABORTED);
	while (pg_nb_started(pager) == 0);
	assert_int_equal(mmem_free(pg.space, p), -ETIMEDOUT);
	assert_int_equal(atomic_load(&pager->releases), 0);
	pg_finish_fetch(pager, 0);
	assert_int_equal(mmem_free(pg.space, p), 0);
	assert_int_equal(atomic_load(&pager->releases), 1);
}

static const struct CMUnitTest tests[] = {
	PG_TEST(test_a_pager_is_asked_for_its_fetch_size),
	PG_TEST(test_a_failure_applies_to_one_block),
	PG_TEST(test_a_pager_may_have_more_threads),
	PG_TEST(test_a_pager_out_of_range_is_refused),
	PG_TEST(test_an_asynchronous_pager_runs_many_fetches),
	PG_TEST(test_a_start_that_fails_is_a_failure),
	PG_TEST(test_a_result_out_of_range_is_a_failure),
	PG_TEST(test_a_start_that_fails_after_done_changes_nothing),
	PG_TEST(test_a_region_stays_until_its_fetch_is_done),
};
TEST_SUITE(mmem_pager_fetch, tests, NULL, NULL);
