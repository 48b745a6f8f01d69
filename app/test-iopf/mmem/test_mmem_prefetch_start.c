/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Prefetches that their caller does not wait for. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <rte_common.h>

#include "iopf_stats.h"
#include "mmem_fetch.h"
#include "mmem_region.h"
#include "pager_rig.h"
#include "test.h"

#define PATIENCE_MS	(PATIENCE_S * 1000)

static uint64_t
nb_faults(void)
{
	return iopf_domain_stat(mmem_space_domain(pg.space), IOPF_STAT_FAULTS);
}

static void
test_a_device_finds_what_was_prefetched(void **state)
{
	static const size_t sizes[] = { PAGE, 16 * PAGE, CHUNK };
	struct mmem_completion done;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(sizes); i++) {
		struct test_pager *pager = pg_new_pager(&(struct mmem_pager){
				.fetch_size = sizes[i], .nb_threads = 2 });
		uint8_t *p = pg_alloc(3 * CHUNK + 5 * PAGE, pager);
		size_t off;

		assert_int_equal(mmem_prefetch_start(pg.space, p + PAGE, 3 * CHUNK + 4 * PAGE,
				&done), 0);
		assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
		assert_int_equal(mmem_completion_poll(&done), 0);
		for (off = PAGE; off < 3 * CHUNK + 5 * PAGE; off += 7 * PAGE) {
			assert_int_equal(pg_dev_read(p + off, 8), SMMUV3_MODEL_OK);
			assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(pager, off), 8));
		}
		assert_int_equal(nb_faults(), 0);
		assert_in_range(atomic_load(&pager->most), 1, 2);
		assert_int_equal(mmem_free(pg.space, p), 0);
	}
}

static void
test_memory_without_a_pager_is_prefetched_too(void **state)
{
	uint8_t *p = mmem_alloc(pg.space, 4 * CHUNK, RW);
	struct mmem_completion done;

	(void)state;
	assert_non_null(p);
	assert_int_equal(mmem_prefetch_start(pg.space, p, 4 * CHUNK, &done), 0);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
	assert_int_equal(pg_stat(MMEM_STAT_PREFETCHED), 4 * CHUNK / PAGE);
	assert_int_equal(pg_dev_read(p + 3 * CHUNK, 8), SMMUV3_MODEL_OK);
	assert_int_equal(nb_faults(), 0);
}

static void
test_a_slow_pager_delays_only_its_own_prefetch(void **state)
{
	struct test_pager *slow = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	struct test_pager *fast = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, slow), *q = pg_alloc(CHUNK, fast);
	struct mmem_completion first, second;

	(void)state;
	atomic_store(&slow->hold, true);
	assert_int_equal(mmem_prefetch_start(pg.space, p, CHUNK, &first), 0);
	AWAIT(atomic_load(&slow->inside) != 0);
	assert_int_equal(mmem_prefetch_start(pg.space, q, CHUNK, &second), 0);
	assert_int_equal(mmem_completion_wait(&second, PATIENCE_MS), 0);
	assert_int_equal(mmem_completion_wait(&first, 1), -EINPROGRESS);
	atomic_store(&slow->hold, false);
	assert_int_equal(mmem_completion_wait(&first, PATIENCE_MS), 0);
}

/* A fault waits behind no more prefetches than the pager has threads. */
static void
test_a_fault_does_not_wait_behind_a_prefetch(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	struct mmem_region *region = pg.pool->chunks[(p - pg.pool->mem) / CHUNK].region;
	const struct mmem_fetch *fetch;
	struct mmem_completion done;
	unsigned int queued = 0;

	(void)state;
	atomic_store(&pager->hold, true);
	assert_int_equal(mmem_prefetch_start(pg.space, p, CHUNK, &done), 0);
	AWAIT(atomic_load(&pager->inside) != 0);
	pg_submit(pg.dma, SMMUV3_MODEL_READ, p + CHUNK - PAGE, pg_bytes, 8);
	AWAIT(pg_stat(MMEM_STAT_DEFERRED) == 1);
	usleep(WAIT_MS * 1000);
	assert_int_equal(atomic_load(&pager->calls), 1);
	/* The fault's own, and as many as there are threads. */
	pthread_mutex_lock(&pg.pool->lock);
	TAILQ_FOREACH(fetch, &region->queue, next)
		queued++;
	pthread_mutex_unlock(&pg.pool->lock);
	assert_in_range(queued, 1, 2);
	atomic_store(&pager->hold, false);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
}

static void
test_an_asynchronous_pager_gets_many_fetches_at_once(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .start = pg_start,
			.fetch_size = PAGE });
	uint8_t *p = pg_alloc(32 * PAGE, pager);
	struct mmem_completion done;
	unsigned int i;

	(void)state;
	assert_int_equal(mmem_prefetch_start(pg.space, p, 32 * PAGE, &done), 0);
	/* pg_finish_fetch() needs that no other fetch starts. */
	AWAIT(pg_nb_started(pager) == 32);
	for (i = 0; i < 32; i++)
		pg_finish_fetch(pager, 0);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
	assert_int_equal(pg_stat(MMEM_STAT_PREFETCHED), 32);
}

static void
test_a_failure_is_the_result(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	struct mmem_completion done;

	(void)state;
	atomic_store(&pager->error, -EREMOTEIO);
	assert_int_equal(mmem_prefetch_start(pg.space, p, CHUNK, &done), 0);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), -EIO);
	atomic_store(&pager->error, 0);
	assert_int_equal(mmem_prefetch_start(pg.space, p, CHUNK, &done), 0);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), 0);
	assert_int_equal(mmem_prefetch_start(pg.space, p, 2 * CHUNK, &done), -EINVAL);
	assert_int_equal(mmem_prefetch_start(pg.space, p + 1, PAGE, &done), -EINVAL);
}

/* A free and a destroy end the prefetch; it keeps neither from returning. */
static void
test_a_region_that_is_freed_ends_its_prefetch(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	struct test_pager *other = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	struct mmem_completion done, second;
	int rc;

	(void)state;
	atomic_store(&pager->hold, true);
	assert_int_equal(mmem_prefetch_start(pg.space, p, CHUNK, &done), 0);
	AWAIT(atomic_load(&pager->inside) != 0);
	assert_int_equal(mmem_free(pg.space, p), -ETIMEDOUT);
	assert_int_equal(mmem_completion_wait(&done, PATIENCE_MS), -ECANCELED);
	atomic_store(&pager->hold, false);

	p = pg_alloc(CHUNK, other);
	atomic_store(&other->hold, true);
	assert_int_equal(mmem_prefetch_start(pg.space, p, CHUNK, &done), 0);
	assert_int_equal(mmem_prefetch_start(pg.space, p, PAGE, &second), 0);
	AWAIT(atomic_load(&other->inside) != 0);
	assert_int_equal(mmem_detach(pg.space, pg.dev, IOPF_NO_PASID), 0);
	rc = mmem_space_destroy(pg.space);
	assert_true(rc == -ETIMEDOUT || rc == 0);
	assert_int_equal(mmem_completion_poll(&done), -ECANCELED);
	assert_int_equal(mmem_completion_poll(&second), -ECANCELED);
	atomic_store(&other->hold, false);
	while (rc == -ETIMEDOUT)
		rc = mmem_space_destroy(pg.space);
	assert_int_equal(rc, 0);
	pg.space = NULL;
}

static const struct CMUnitTest tests[] = {
	PG_TEST(test_a_device_finds_what_was_prefetched),
	PG_TEST(test_memory_without_a_pager_is_prefetched_too),
	PG_TEST(test_a_slow_pager_delays_only_its_own_prefetch),
	PG_TEST(test_a_fault_does_not_wait_behind_a_prefetch),
	PG_TEST(test_an_asynchronous_pager_gets_many_fetches_at_once),
	PG_TEST(test_a_failure_is_the_result),
	PG_TEST(test_a_region_that_is_freed_ends_its_prefetch),
};
TEST_SUITE(mmem_prefetch_start, tests, NULL, NULL);
