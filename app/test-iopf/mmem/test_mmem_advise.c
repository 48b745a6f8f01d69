/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Advice, and blocks that are pinned. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "log_lines.h"
#include "mmem_space.h"
#include "mmem_stream.h"
#include "pager_rig.h"
#include "test.h"

#define NB_PAGES	(CHUNK / PAGE)
#define BUDGET		(32 * PAGE)

static int
setup(void **state)
{
	pg_setup(state);
	pg.space->window = MMEM_WINDOW_MAX;
	return 0;
}

static uint8_t *
alloc_plain(void)
{
	uint8_t *p = mmem_alloc(pg.space, CHUNK, RW | MMEM_POPULATE);

	assert_non_null(p);
	return p;
}

static void
read_pages(const uint8_t *p, unsigned int nb)
{
	for (unsigned int i = 0; i < nb; i++)
		assert_int_equal(pg_dev_read(p + i * PAGE, 8), SMMUV3_MODEL_OK);
}

static void
test_random_maps_nothing_ahead_until_normal(void **state)
{
	uint8_t *p = alloc_plain();

	(void)state;
	read_pages(p, 2);
	assert_int_equal(pg_stat(MMEM_STAT_AHEAD), 2);
	assert_int_equal(mmem_advise(pg.space, p, CHUNK, MMEM_ADVISE_RANDOM), 0);
	assert_int_equal(mmem_unmap(pg.space, p, CHUNK), 0);
	read_pages(p, NB_PAGES);
	assert_int_equal(pg_stat(MMEM_STAT_AHEAD), 2);
	assert_int_equal(mmem_advise(pg.space, p, CHUNK, MMEM_ADVISE_NORMAL), 0);
	assert_int_equal(mmem_unmap(pg.space, p, CHUNK), 0);
	read_pages(p, NB_PAGES);
	assert_true(pg_stat(MMEM_STAT_AHEAD) > NB_PAGES / 2);
	/* The next region in these chunks has none of the advice. */
	assert_int_equal(mmem_advise(pg.space, p, CHUNK, MMEM_ADVISE_RANDOM), 0);
	assert_int_equal(mmem_free(pg.space, p), 0);
	assert_ptr_equal(alloc_plain(), p);
	read_pages(p, NB_PAGES);
	assert_true(pg_stat(MMEM_STAT_AHEAD) > NB_PAGES * 3 / 2);
}

static void
test_sequential_maps_a_window_with_the_first_fault(void **state)
{
	uint8_t *p = alloc_plain();

	(void)state;
	assert_int_equal(mmem_advise(pg.space, p, CHUNK, MMEM_ADVISE_SEQUENTIAL), 0);
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_stat(MMEM_STAT_AHEAD), 127);
	read_pages(p, NB_PAGES);
	assert_int_equal(pg_stat(MMEM_STAT_MAPPED), 4);
}

static void
test_will_need_fetches_and_dont_need_unmaps(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);

	(void)state;
	assert_int_equal(mmem_advise(pg.space, p, CHUNK, MMEM_ADVISE_WILL_NEED), 0);
	AWAIT(pg_stat(MMEM_STAT_PREFETCHED) == NB_PAGES);
	read_pages(p, NB_PAGES);
	assert_int_equal(pg_stat(MMEM_STAT_MAPPED), 0);
	assert_int_equal(mmem_advise(pg.space, p, CHUNK, MMEM_ADVISE_DONT_NEED), 0);
	assert_int_equal(pg_stat(MMEM_STAT_UNMAPPED), NB_PAGES);
	read_pages(p, NB_PAGES);
	assert_int_equal(atomic_load(&pager->calls), NB_PAGES);
}

static void
test_read_mostly_pages_fault_on_their_first_write(void **state)
{
	uint8_t *p = alloc_plain();

	(void)state;
	read_pages(p, 8);
	assert_int_equal(mmem_advise(pg.space, p, CHUNK, MMEM_ADVISE_READ_MOSTLY), 0);
	read_pages(p, 8);
	assert_int_equal(pg_stat(MMEM_STAT_UPGRADED), 0);
	assert_int_equal(pg_dev_write(pg.dma, p + PAGE), SMMUV3_MODEL_OK);
	assert_int_equal(pg_dev_write(pg.dma, p + PAGE), SMMUV3_MODEL_OK);
	assert_int_equal(pg_stat(MMEM_STAT_UPGRADED), 1);
}

static void
test_advice_out_of_range_is_refused(void **state)
{
	uint8_t *p = alloc_plain();

	(void)state;
	SAYS("advice 7: use", assert_int_equal(mmem_advise(pg.space, p, CHUNK,
			MMEM_ADVISE_HUGE + 1), -EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_advise(pg.space, p, 2 * CHUNK,
			MMEM_ADVISE_RANDOM), -EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_pin(pg.space, p + 1, PAGE), -EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_unpin(pg.space, p, 0), -EINVAL));
	/* What is never evicted needs no pin. */
	assert_int_equal(mmem_pin(pg.space, p, PAGE), 0);
	assert_int_equal(mmem_unpin(pg.space, p, PAGE), 0);
}

static void
test_pinned_blocks_are_not_evicted(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){
			.pool = pg.pool, .budget = BUDGET, .window = 1 });
	const size_t pinned = 8 * PAGE;
	unsigned int i;
	uint8_t *p;

	(void)state;
	assert_non_null(space);
	p = mmem_alloc_paged(space, CHUNK, MMEM_READ, &pager->conf);
	assert_non_null(p);
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_pin(space, p, pinned), 0);
	assert_int_equal(mmem_pin(space, p, pinned), 0);
	assert_int_equal(mmem_unpin(space, p, pinned), 0);
	for (i = 8; i < NB_PAGES; i++) {
		pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + i * PAGE, pg_bytes, 8);
		assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	}
	for (i = 0; i < 8; i++) {
		pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + i * PAGE, pg_bytes, 8);
		assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
		assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(pager, i * PAGE), 8));
	}
	/* A fault may have told that they are used, but nothing was fetched again. */
	assert_int_equal(mmem_stat(space, MMEM_STAT_REFILLED), 0);

	/* Half of the budget, and no more; a refused call pins nothing. */
	SAYS("half of a budget", assert_int_equal(mmem_pin(space, p, BUDGET), -ENOMEM));
	assert_int_equal(space->budget.pinned, pinned);
	assert_int_equal(mmem_pin(space, p + pinned, pinned), 0);
	assert_int_equal(space->budget.pinned, BUDGET / 2);
	assert_int_equal(mmem_unpin(space, p + pinned, pinned), 0);
	SAYS("not all pinned", assert_int_equal(mmem_unpin(space, p, 2 * pinned), -EINVAL));
	assert_int_equal(space->budget.pinned, pinned);
	/* A pin that fails to fetch is none. */
	atomic_store(&pager->error, -EREMOTEIO);
	assert_int_equal(mmem_pin(space, p + 200 * PAGE, PAGE), -EIO);
	atomic_store(&pager->error, 0);
	assert_int_equal(space->budget.pinned, pinned);

	/* Unpinned blocks leave as others do. */
	assert_int_equal(mmem_unpin(space, p, pinned), 0);
	assert_int_equal(space->budget.pinned, 0);
	for (i = 0; i < 4 * NB_PAGES; i++) {
		pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + i % NB_PAGES * PAGE, pg_bytes, 8);
		assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	}
	assert_int_equal(mmem_pin(space, p, pinned), 0);
	/* A free takes back its pins. */
	assert_int_equal(mmem_free(space, p), 0);
	assert_int_equal(pg.pool->budget.pinned, 0);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
}

#define ADVISE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, pg_teardown)

static const struct CMUnitTest tests[] = {
	ADVISE_TEST(test_random_maps_nothing_ahead_until_normal),
	ADVISE_TEST(test_sequential_maps_a_window_with_the_first_fault),
	ADVISE_TEST(test_will_need_fetches_and_dont_need_unmaps),
	ADVISE_TEST(test_read_mostly_pages_fault_on_their_first_write),
	ADVISE_TEST(test_advice_out_of_range_is_refused),
	ADVISE_TEST(test_pinned_blocks_are_not_evicted),
};
TEST_SUITE(mmem_advise, tests, NULL, NULL);
