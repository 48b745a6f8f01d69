/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Contents that are fetched ahead of a device. */

#include <stdatomic.h>
#include <string.h>

#include "mmem_stream.h"
#include "pager_rig.h"
#include "test.h"

static int
setup(void **state)
{
	pg_setup(state);
	pg.space->window = MMEM_WINDOW_MAX;
	return 0;
}

static void
read_page(const struct test_pager *pager, const uint8_t *p, size_t page)
{
	assert_int_equal(pg_dev_read(p + page * PAGE, 8), SMMUV3_MODEL_OK);
	assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(pager, page * PAGE), 8));
}

static void
test_blocks_ahead_of_a_stream_are_fetched(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	unsigned int i;

	(void)state;
	for (i = 0; i < 6; i++)
		read_page(pager, p, i);
	/* No access asked for these. */
	AWAIT(atomic_load(&pager->calls) >= 32);
	for (; i < CHUNK / PAGE; i++)
		read_page(pager, p, i);
	assert_int_equal(atomic_load(&pager->asked), CHUNK);
	assert_int_equal(pg_stat(MMEM_STAT_FILLED), CHUNK / PAGE);
}

static void
test_a_stream_of_fetched_blocks_faults_once_in_64_pages(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = CHUNK });
	uint64_t faults, pages = 8 * CHUNK / PAGE;
	uint8_t *p = pg_alloc(8 * CHUNK, pager);
	unsigned int i;

	(void)state;
	for (i = 0; i < pages; i++)
		read_page(pager, p, i);
	faults = pg_stat(MMEM_STAT_MAPPED) + pg_stat(MMEM_STAT_JOINED);
	assert_true(faults * 64 <= pages);
	assert_int_equal(pg_stat(MMEM_STAT_MAPPED) + pg_stat(MMEM_STAT_AHEAD), pages);
	assert_int_equal(atomic_load(&pager->calls), 8);
}

/* Blocks at equal distances, such as the columns of a matrix. */
static void
test_a_stride_fetches_its_blocks_only(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(4 * CHUNK, pager);
	unsigned int i, nb = 0;

	(void)state;
	for (i = 0; i < 4 * CHUNK / PAGE; i += 16, nb++)
		read_page(pager, p, i);
	AWAIT(atomic_load(&pager->calls) == nb);
	assert_int_equal(atomic_load(&pager->asked), nb * PAGE);
}

static void
test_random_accesses_fetch_what_they_need(void **state)
{
	enum { PAGES = 16 * CHUNK / PAGE, TIMES = 1000 };
	static bool seen[PAGES];
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(16 * CHUNK, pager);
	unsigned int i, page, nb = 0;
	uint32_t x = 99;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (i = 0; i < TIMES; i++) {
		x = x * 1664525 + 1013904223;
		page = (x >> 8) % PAGES;
		read_page(pager, p, page);
		nb += !seen[page];
		seen[page] = true;
	}
	assert_true(atomic_load(&pager->calls) * 100 <= nb * 105);
}

/* A fetch ahead that fails answers no access; the access that needs the block asks again. */
static void
test_a_failure_ahead_is_not_the_devices(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	unsigned int i, calls;

	(void)state;
	for (i = 0; i < 3; i++)
		read_page(pager, p, i);
	/* Page 3 is here before the pager fails: the fault on it asks for pages ahead. */
	assert_int_equal(mmem_prefetch(pg.space, p + 3 * PAGE, PAGE), 0);
	assert_int_equal(mmem_unmap(pg.space, p + 3 * PAGE, PAGE), 0);
	atomic_store(&pager->error, -5);
	calls = atomic_load(&pager->calls);
	read_page(pager, p, 3);
	AWAIT(atomic_load(&pager->calls) > calls);
	AWAIT(atomic_load(&pager->inside) == 0);
	assert_int_equal(atomic_load(&pg.nb_reports), 0);
	atomic_store(&pager->error, 0);
	for (i = 4; i < CHUNK / PAGE; i++)
		if (pg_dev_read(p + i * PAGE, 8) != SMMUV3_MODEL_OK)
			read_page(pager, p, i);	/* a fetch ahead failed in between */
}

/* More than fits: what is fetched ahead takes no more than its part of the budget. */
static void
test_a_stream_keeps_to_the_budget(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){
			.pool = pg.pool, .budget = 32 * PAGE });
	unsigned int i, most = 0, calls;
	uint8_t *p;

	(void)state;
	assert_non_null(space);
	p = mmem_alloc_paged(space, CHUNK, MMEM_READ, &pager->conf);
	assert_non_null(p);
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	for (i = 0; i < 2 * CHUNK / PAGE; i++) {
		size_t off = i * PAGE % CHUNK;

		pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + off, pg_bytes, 8);
		assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
		assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(pager, off), 8));
		calls = atomic_load(&pager->calls);
		if (i < CHUNK / PAGE && calls > i + 1)
			most = calls - i - 1 > most ? calls - i - 1 : most;
	}
	/* One part is mapped ahead, and one is fetched; some of it may leave before its access. */
	assert_in_range(most, 1, 32 / 2);
	assert_true(mmem_stat(space, MMEM_STAT_EVICTED) > 0);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
}

#define AHEAD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, pg_teardown)

static const struct CMUnitTest tests[] = {
	AHEAD_TEST(test_blocks_ahead_of_a_stream_are_fetched),
	AHEAD_TEST(test_a_stream_of_fetched_blocks_faults_once_in_64_pages),
	AHEAD_TEST(test_a_stride_fetches_its_blocks_only),
	AHEAD_TEST(test_random_accesses_fetch_what_they_need),
	AHEAD_TEST(test_a_stream_keeps_to_the_budget),
	AHEAD_TEST(test_a_failure_ahead_is_not_the_devices),
};
TEST_SUITE(mmem_ahead_pager, tests, NULL, NULL);
