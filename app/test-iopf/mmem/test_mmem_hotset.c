/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A run's hot set, which the next run fetches. */

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "iopf_stats.h"
#include "log_lines.h"
#include "mmem_stream.h"
#include "pager_rig.h"
#include "test.h"

#define PATIENCE_MS	(PATIENCE_S * 1000)
#define PAGES		(8 * CHUNK / PAGE)

static char path[] = "test-iopf-hotset-XXXXXX";

static int
setup(void **state)
{
	int fd;

	pg_setup(state);
	pg.space->window = MMEM_WINDOW_MAX;
	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	return 0;
}

static int
teardown(void **state)
{
	unlink(path);
	return pg_teardown(state);
}

static uint64_t
nb_faults(void)
{
	return iopf_domain_stat(mmem_space_domain(pg.space), IOPF_STAT_FAULTS);
}

struct run {
	struct test_pager *pager;
	uint8_t *paged, *plain;
};

static struct run
begin_run(void)
{
	struct run r;

	r.pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE, .nb_threads = 2 });
	r.paged = pg_alloc(PAGES * PAGE, r.pager);
	r.plain = mmem_alloc(pg.space, 2 * CHUNK, RW);
	assert_non_null(r.plain);
	return r;
}

static void
end_run(struct run *r)
{
	assert_int_equal(mmem_free(pg.space, r->paged), 0);
	assert_int_equal(mmem_free(pg.space, r->plain), 0);
}

/* Accesses at random, and a stream. Returns the number of faults. */
static uint64_t
use(struct run *r)
{
	uint64_t before = nb_faults();
	unsigned int i, page;
	uint32_t x = 7;

	for (i = 0; i < 500; i++) {
		x = x * 1664525 + 1013904223;
		page = (x >> 8) % PAGES;
		assert_int_equal(pg_dev_read(r->paged + page * PAGE, 8), SMMUV3_MODEL_OK);
		assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(r->pager, page * PAGE), 8));
		page = (x >> 4) % (2 * CHUNK / PAGE);
		assert_int_equal(pg_dev_read(r->plain + page * PAGE, 8), SMMUV3_MODEL_OK);
	}
	for (i = 0; i < 200; i++)
		assert_int_equal(pg_dev_read(r->paged + i * PAGE, 8), SMMUV3_MODEL_OK);
	return nb_faults() - before;
}

static void
test_a_replay_leaves_few_faults_and_fetches_no_more(void **state)
{
	struct mmem_completion done;
	uint64_t cold, hot;
	struct run r = begin_run();
	size_t cold_bytes;

	(void)state;
	assert_int_equal(mmem_hotset_record(pg.space), 0);
	cold = use(&r);
	AWAIT(atomic_load(&r.pager->inside) == 0);
	assert_int_equal(mmem_hotset_save(pg.space, path), 0);
	cold_bytes = atomic_load(&r.pager->asked);
	end_run(&r);

	r = begin_run();
	assert_int_equal(mmem_hotset_replay(pg.space, path, &done), 0);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
	hot = use(&r);
	assert_true(hot * 20 <= cold);
	assert_true(atomic_load(&r.pager->asked) * 100 <= cold_bytes * 105);
	end_run(&r);
}

/* The device may start at once. */
static void
test_a_device_may_run_during_the_replay(void **state)
{
	struct mmem_completion done;
	struct run r = begin_run();

	(void)state;
	assert_int_equal(mmem_hotset_record(pg.space), 0);
	use(&r);
	assert_int_equal(mmem_hotset_save(pg.space, path), 0);
	end_run(&r);
	r = begin_run();
	assert_int_equal(mmem_hotset_replay(pg.space, path, &done), 0);
	use(&r);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
	end_run(&r);
}

static void
test_blocks_are_fetched_in_the_recorded_order(void **state)
{
	static const unsigned int order[] = { 9, 2, 40, 7 };
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .start = pg_start,
			.fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	struct mmem_completion done;
	unsigned int i;
	FILE *f;

	(void)state;
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "mmem hotset 1\nregion %zu\n", CHUNK);
	for (i = 0; i < RTE_DIM(order); i++)
		fprintf(f, "pages 0 %u 1\n", order[i]);
	fprintf(f, "end\n");
	fclose(f);
	assert_int_equal(mmem_hotset_replay(pg.space, path, &done), 0);
	for (i = 0; i < RTE_DIM(order); i++) {
		AWAIT(pg_nb_started(pager) != 0);
		assert_int_equal(pager->fetches[0].off, order[i] * PAGE);
		/* One is queued while one thread is in start: the others follow. */
		AWAIT(pg_nb_started(pager) == RTE_DIM(order) - i);
		pg_nb_started(pager);
		memmove(&pager->fetches[RTE_DIM(order)], &pager->fetches[0],
				sizeof(pager->fetches[0]));
		memmove(&pager->fetches[0], &pager->fetches[1],
				sizeof(pager->fetches[0]) * (RTE_DIM(order) - 1 - i));
		pager->fetches[RTE_DIM(order) - 1 - i] = pager->fetches[RTE_DIM(order)];
		pg_finish_fetch(pager, 0);
	}
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
	assert_int_equal(mmem_free(pg.space, p), 0);
}

static void
test_a_file_that_does_not_fit_is_refused_in_one_line(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "line 0 is the last one" },
		{ "mmem hotset 2\n", "line 1 is not: mmem hotset 1" },
		{ "mmem hotset 1", "line 1 is too long" },
		{ "mmem hotset 1\nregion 2097152\n", "line 2 is the last one" },
		{ "mmem hotset 1\nregion 4096\n", "line 2 is not the size" },
		{ "mmem hotset 1\nregion -1\n", "line 2 is no size" },
		{ "mmem hotset 1\nregion 2097152\nregion 2097152\n", "line 3 is a region" },
		{ "mmem hotset 1\npages 0 0 1\n", "line 2 comes before" },
		{ "mmem hotset 1\nregion 2097152\npages 1 0 1\n", "line 3 names a region" },
		{ "mmem hotset 1\nregion 2097152\npages 0 512 1\n", "line 3 is outside" },
		{ "mmem hotset 1\nregion 2097152\npages 0 1 512\n", "line 3 is outside" },
		{ "mmem hotset 1\nregion 2097152\npages 0 0 18446744073709551616\n",
			"line 3 is not: pages" },
		{ "mmem hotset 1\nregion 2097152\npages 0 0 0\n", "line 3 is not: pages" },
		{ "mmem hotset 1\nregion 2097152\npages 0 0 1 \n", "line 3 is not: pages" },
		{ "mmem hotset 1\nregion 2097152\nhello\n", "line 3 is unknown" },
		{ "mmem hotset 1\nregion 2097152\nend\nend\n", "line 4 follows the end" },
	};
	uint8_t *p = mmem_alloc(pg.space, CHUNK, RW);
	struct mmem_completion done;
	unsigned int i;
	FILE *f;

	(void)state;
	assert_non_null(p);
	for (i = 0; i < RTE_DIM(bad); i++) {
		f = fopen(path, "w");
		assert_non_null(f);
		fputs(bad[i].text, f);
		fclose(f);
		memset(&pg.space->log, 0, sizeof(pg.space->log));
		SAYS(bad[i].why, assert_int_equal(mmem_hotset_replay(pg.space, path, &done),
				-EINVAL));
	}
	assert_int_equal(mmem_hotset_replay(pg.space, "test-iopf-no-such", &done), -ENOENT);
	assert_int_equal(mmem_hotset_save(pg.space, path), -EINVAL);
	assert_int_equal(mmem_hotset_record(pg.space), 0);
	assert_int_equal(mmem_hotset_save(pg.space, "test-iopf-no-such/x"), -ENOENT);
	/* An empty set is complete at once. */
	assert_int_equal(mmem_hotset_save(pg.space, path), 0);
	assert_int_equal(mmem_hotset_replay(pg.space, path, &done), 0);
	assert_int_equal(mmem_completion_poll(&done), 0);
}

#define HOTSET_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	HOTSET_TEST(test_a_replay_leaves_few_faults_and_fetches_no_more),
	HOTSET_TEST(test_a_device_may_run_during_the_replay),
	HOTSET_TEST(test_blocks_are_fetched_in_the_recorded_order),
	HOTSET_TEST(test_a_file_that_does_not_fit_is_refused_in_one_line),
};
TEST_SUITE(mmem_hotset, tests, NULL, NULL);
