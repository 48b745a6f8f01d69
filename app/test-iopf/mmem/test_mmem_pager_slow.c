/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A pager that is slow, does not return or misses its deadline delays its own region only.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>

#include "iopf_stats.h"
#include "log_lines.h"
#include "pager_rig.h"
#include "test.h"

static void
test_a_slow_pager_holds_up_only_what_waits_for_its_bytes(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ 0 });
	uint8_t *paged = pg_alloc(8 * CHUNK, pager);
	uint8_t *plain = mmem_alloc(pg.space, 20 * CHUNK, RW), *theirs;
	unsigned int i;

	(void)state;
	assert_non_null(plain);
	theirs = mmem_alloc(pg.other, 20 * CHUNK, RW);
	assert_non_null(theirs);
	atomic_store(&pager->hold, true);
	for (i = 0; i < 8; i++)
		pg_submit(pg.dma, SMMUV3_MODEL_READ, paged + i * CHUNK, pg_bytes, 8);
	AWAIT(pg_stat(MMEM_STAT_DEFERRED) == 8 && atomic_load(&pager->inside) != 0);

	/* Another device of the same space accesses memory without content. */
	assert_int_equal(mmem_attach(pg.space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(pg_dev_write(pg.other_dma, plain + 15 * CHUNK), SMMUV3_MODEL_OK);
	assert_int_equal(pg_stat(MMEM_STAT_DEFERRED), 9);
	/* The same device accesses another region. */
	assert_int_equal(pg_dev_write(pg.dma, plain + 10 * CHUNK), SMMUV3_MODEL_OK);
	/* Control calls. */
	assert_int_equal(mmem_unmap(pg.space, paged, 8 * CHUNK), 0);
	assert_int_equal(mmem_protect(pg.space, paged, 8 * CHUNK, MMEM_READ), 0);
	assert_int_equal(mmem_prefetch(pg.space, plain, CHUNK), 0);
	assert_int_equal(mmem_detach(pg.space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_free(pg.space, plain), 0);
	/* A device of another space. */
	assert_int_equal(mmem_attach(pg.other, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(pg_dev_write(pg.other_dma, theirs + 15 * CHUNK), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_free(pg.other, theirs), 0);

	assert_int_equal(atomic_load(&pager->calls), 1);
	atomic_store(&pager->hold, false);
	for (i = 0; i < 8; i++)
		assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(atomic_load(&pager->calls), 8);
	assert_int_equal(atomic_load(&pager->most), 1);
	assert_int_equal(pg_stat(MMEM_STAT_FILLED), 8 * CHUNK / PAGE);
	assert_int_equal(atomic_load(&pg.nb_reports), 0);
}

static void
test_pagers_of_two_regions_run_beside_each_other(void **state)
{
	struct test_pager *slow = pg_new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *quick = pg_new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = pg_alloc(CHUNK, slow), *q = pg_alloc(2 * CHUNK, quick);

	(void)state;
	pg_hold_fetch(slow, p);
	assert_int_equal(pg_dev_read(q, 8), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_prefetch(pg.space, q, 2 * CHUNK), 0);
	assert_true(pg_is_filled_with(q + CHUNK, 0x41, CHUNK));
	assert_int_equal(mmem_free(pg.space, q), 0);
	atomic_store(&slow->hold, false);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
}

/* One idle thread, and two regions that need it. */
static void
test_two_regions_that_are_ready_at_once_get_a_thread_each(void **state)
{
	struct test_pager *a = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	struct test_pager *b = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, a), *q = pg_alloc(CHUNK, b);
	unsigned int i;

	(void)state;
	/* Populate both chunks and start a thread. */
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_dev_read(q, 8), SMMUV3_MODEL_OK);
	for (i = 1; i <= 64; i++) {
		atomic_store(&a->hold, true);
		atomic_store(&b->hold, true);
		pg_submit(pg.dma, SMMUV3_MODEL_READ, p + i * PAGE, pg_bytes, 8);
		pg_submit(pg.dma, SMMUV3_MODEL_READ, q + i * PAGE, pg_bytes, 8);
		AWAIT(atomic_load(&a->inside) == 1 && atomic_load(&b->inside) == 1);
		atomic_store(&a->hold, false);
		atomic_store(&b->hold, false);
		assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
		assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	}
}

/*
 * A pager that does not return
 */

static void
test_a_dead_pager_stops_no_other_device(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = pg_alloc(2 * CHUNK, pager), *b;
	struct iopf_dev *third;

	(void)state;
	b = mmem_alloc(pg.other, 2 * CHUNK, RW);
	assert_non_null(b);
	atomic_store(&pager->hold, true);
	pg_submit(pg.dma, SMMUV3_MODEL_READ, p, pg_bytes, 8);
	pg_submit(pg.dma, SMMUV3_MODEL_READ, p + CHUNK, pg_bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0 && pg_stat(MMEM_STAT_DEFERRED) == 2);

	/* Its own device can be detached: its faults are answered. */
	assert_int_equal(mmem_detach(pg.space, pg.dev, IOPF_NO_PASID), 0);
	assert_int_not_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_not_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(pg.space)), 0);
	assert_int_equal(mmem_attach(pg.space, pg.dev, IOPF_NO_PASID), 0);

	assert_int_equal(mmem_attach(pg.other, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(pg_dev_write(pg.other_dma, b), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_unmap(pg.other, b, CHUNK), 0);
	assert_int_equal(mmem_free(pg.other, b), 0);
	assert_int_equal(mmem_detach(pg.other, pg.other_dev, IOPF_NO_PASID), 0);
	third = pg_add_dev(OTHER_SID + 1);
	assert_non_null(third);
	assert_int_equal(mmem_attach(pg.other, third, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_dev_remove(third), 0);
	assert_int_equal(iopf_iommu_stop(pg.smmu), 0);
	assert_int_equal(iopf_iommu_start(pg.smmu), 0);
}

/* The faults are answered, the memory is kept, and the free can be repeated. */
static void
test_a_region_of_a_dead_pager_can_be_given_up(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = pg_alloc(2 * CHUNK, pager), *q;
	unsigned int i, n = 0;
	uint8_t *all[NB_CHUNKS];

	(void)state;
	pg_hold_fetch(pager, p);
	/* An unmap does not wait for the pager. */
	assert_int_equal(mmem_unmap(pg.space, p, 2 * CHUNK), 0);
	assert_int_equal(mmem_free(pg.space, p), -ETIMEDOUT);
	assert_int_equal(rte_errno, ETIMEDOUT);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&pg.error), -EFAULT);
	assert_int_equal(pg_dev_read(p + CHUNK, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pg_stat(MMEM_STAT_KEPT), 2);
	assert_int_equal(mmem_free(pg.space, p), -ETIMEDOUT);
	assert_int_equal(pg_stat(MMEM_STAT_KEPT), 2);
	assert_int_equal(mmem_unmap(pg.space, p, PAGE), -EINVAL);
	assert_int_equal(mmem_prefetch(pg.space, p, PAGE), -EINVAL);
	/* The pager may still write to the chunks, so they are not given out. */
	while ((q = mmem_alloc(pg.other, CHUNK, RW)) != NULL) {
		assert_true(q != p && q != p + CHUNK);
		all[n++] = q;
	}
	for (i = 0; i < n; i++)
		assert_int_equal(mmem_free(pg.other, all[i]), 0);
	assert_int_equal(atomic_load(&pager->releases), 0);
	assert_int_equal(mmem_pool_destroy(pg.pool), -EBUSY);

	atomic_store(&pager->hold, false);
	AWAIT(mmem_free(pg.space, p) == 0);
	assert_int_equal(atomic_load(&pager->releases), 1);
	assert_int_equal(pg_stat(MMEM_STAT_KEPT), 0);
	q = mmem_alloc(pg.space, 2 * CHUNK, RW);
	assert_ptr_equal(q, p);
	assert_true(pg_is_filled_with(q, 0, 2 * CHUNK));
}

/* A later call of another kind completes a free that gave up. */
static void
test_a_region_that_was_given_up_is_freed_by_a_later_call(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = pg_alloc(CHUNK, pager), *b = mmem_alloc(pg.space, CHUNK, RW);

	(void)state;
	pg_hold_fetch(pager, p);
	assert_int_equal(mmem_free(pg.space, p), -ETIMEDOUT);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_unmap(pg.space, b, PAGE), 0);
	assert_int_equal(pg_stat(MMEM_STAT_KEPT), 1);
	atomic_store(&pager->hold, false);
	AWAIT(mmem_unmap(pg.space, b, PAGE) == 0 && pg_stat(MMEM_STAT_KEPT) == 0);
	assert_int_equal(atomic_load(&pager->releases), 1);
	assert_int_equal(mmem_free(pg.space, p), -EINVAL);
}

static void
test_a_space_with_a_dead_pager_can_be_given_up(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = pg_alloc(CHUNK, pager);

	(void)state;
	pg_hold_fetch(pager, p);
	assert_int_equal(mmem_space_destroy(pg.space), -EBUSY);
	assert_int_equal(mmem_detach(pg.space, pg.dev, IOPF_NO_PASID), 0);
	assert_int_not_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_space_destroy(pg.space), -ETIMEDOUT);
	assert_int_equal(mmem_space_destroy(pg.space), -ETIMEDOUT);
	/* The space is half destroyed: each call refuses it. */
	assert_null(mmem_space_domain(pg.space));
	assert_int_equal(mmem_attach(pg.space, pg.dev, IOPF_NO_PASID), -ESHUTDOWN);
	assert_int_equal(mmem_detach(pg.space, pg.dev, IOPF_NO_PASID), -ESHUTDOWN);
	SAYS("half destroyed", assert_null(mmem_alloc(pg.space, PAGE, RW)));
	assert_int_equal(rte_errno, ESHUTDOWN);
	SAYS("half destroyed", assert_int_equal(mmem_unmap(pg.space, p, PAGE), -EINVAL));
	SAYS("half destroyed", assert_int_equal(mmem_protect(pg.space, p, PAGE, RW), -EINVAL));
	SAYS("half destroyed", assert_int_equal(mmem_prefetch(pg.space, p, PAGE), -EINVAL));
	assert_null(mmem_alloc_paged(pg.space, PAGE, RW, &pager->conf));
	assert_int_equal(rte_errno, ESHUTDOWN);
	assert_null(mmem_map_file(pg.space, "/proc/self/exe", 0, PAGE, RW));
	assert_int_equal(rte_errno, ESHUTDOWN);
	assert_int_equal(mmem_free(pg.space, p), -ETIMEDOUT);
	assert_int_equal(mmem_pool_destroy(pg.pool), -EBUSY);
	atomic_store(&pager->hold, false);
	AWAIT(mmem_space_destroy(pg.space) == 0);
	pg.space = NULL;
	assert_int_equal(atomic_load(&pager->releases), 1);
}

/*
 * Deadlines
 */

static void
test_an_access_waits_no_longer_than_the_deadline(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .deadline_ms = WAIT_MS });
	uint8_t *p = pg_alloc(3 * CHUNK, pager);

	(void)state;
	atomic_store(&pager->hold, true);
	/* The second fetch waits for the first and does not begin. */
	pg_submit(pg.dma, SMMUV3_MODEL_READ, p, pg_bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0);
	pg_submit(pg.dma, SMMUV3_MODEL_READ, p + CHUNK, pg_bytes, 8);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&pg.error), -ETIMEDOUT);
	assert_int_equal(pg_stat(MMEM_STAT_EXPIRED), 2);
	/* Later faults do not wait again. */
	assert_int_equal(pg_dev_read(p + 8, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pg_dev_read(p + 2 * CHUNK, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_resolve(pg.space, (uintptr_t)p, IOPF_PERM_READ), -ETIMEDOUT);
	assert_int_equal(mmem_prefetch(pg.space, p, PAGE), -ETIMEDOUT);
	assert_int_equal(pg_stat(MMEM_STAT_EXPIRED), 5);
	assert_int_equal(atomic_load(&pg.nb_reports), 4);
	assert_int_equal(atomic_load(&pager->calls), 1);
	assert_int_equal(pg_stat(MMEM_STAT_FAILED), 0);
	/* Late bytes are accepted. */
	atomic_store(&pager->hold, false);
	AWAIT(pg_stat(MMEM_STAT_FILLED) == CHUNK / PAGE);
	assert_int_equal(pg_dev_read(p, CHUNK), SMMUV3_MODEL_OK);
	assert_true(pg_is_filled_with(pg_bytes, 0x40, CHUNK));
	assert_int_equal(atomic_load(&pager->calls), 1);
	assert_int_equal(mmem_free(pg.space, p), 0);
}

/* A pager with a later deadline is not affected. */
static void
test_a_deadline_applies_to_one_region(void **state)
{
	struct test_pager *late = pg_new_pager(&(struct mmem_pager){ .deadline_ms = 1 });
	struct test_pager *good = pg_new_pager(&(struct mmem_pager){ .deadline_ms = 1000000 });
	uint8_t *p = pg_alloc(CHUNK, late), *q = pg_alloc(CHUNK, good);

	(void)state;
	atomic_store(&late->hold, true);
	pg_hold_fetch(good, q);
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_ABORTED);
	atomic_store(&good->hold, false);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(pg_stat(MMEM_STAT_EXPIRED), 1);
}

/*
 * Concurrent calls
 */

static _Atomic bool storm_quit;

static void *
control_main(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; !atomic_load(&storm_quit); i++) {
		uint8_t *p = mmem_alloc(pg.other, CHUNK, RW);

		if (p == NULL)
			continue;
		mmem_prefetch(pg.other, p, CHUNK);
		mmem_free(pg.other, p);
	}
	return NULL;
}

static int
storm_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	static _Atomic unsigned int seed;
	unsigned int n = atomic_fetch_add(&seed, 1) * 2654435761u >> 16;

	(void)ctx;
	if (n % 8 == 0)
		usleep(n % 2000);
	if (n % 16 == 1)
		return -EREMOTEIO;
	memset(dst, 0x40 + (offset / PAGE) % 64, len);
	return 0;
}

/* Regions with pagers are allocated and freed during faults, detaches, unmaps and deadlines. */
static void
test_regions_with_pagers_come_and_go_under_faults(void **state)
{
	unsigned int round, rounds = 60 * test_scale(), i, done;
	struct smmuv3_model_done d[64];
	pthread_t thread;

	(void)state;
	atomic_store(&storm_quit, false);
	assert_int_equal(pthread_create(&thread, NULL, control_main, NULL), 0);
	for (round = 0; round < rounds; round++) {
		const struct mmem_pager pager = { .fill = storm_fill,
			.fetch_size = PAGE << round % 4, .nb_threads = 1 + round % 3,
			.deadline_ms = round % 5 ? 0 : 1 };
		uint8_t *p = mmem_alloc_paged(pg.space, CHUNK + 16 * PAGE, RW, &pager);

		assert_non_null(p);
		for (i = 0; i < 64; i++)
			pg_submit(pg.dma, SMMUV3_MODEL_READ, p + (i * 37 % 528) * PAGE, pg_bytes,
					8);
		if (round % 2)
			assert_int_equal(mmem_unmap(pg.space, p, CHUNK), 0);
		if (round % 7 == 3) {
			assert_int_equal(mmem_detach(pg.space, pg.dev, IOPF_NO_PASID), 0);
			assert_int_equal(mmem_attach(pg.space, pg.dev, IOPF_NO_PASID), 0);
		}
		if (round % 3 == 0)
			AWAIT(mmem_free(pg.space, p) == 0);
		for (done = 0; done < 64;)
			AWAIT((done += smmuv3_model_dma_poll(pg.dma, d, 64), done == 64));
		if (round % 3 != 0)
			AWAIT(mmem_free(pg.space, p) == 0);
	}
	atomic_store(&storm_quit, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(pg.space)), 0);
	assert_int_equal(pg_stat(MMEM_STAT_KEPT), 0);
}

static const struct CMUnitTest tests[] = {
	PG_TEST(test_a_slow_pager_holds_up_only_what_waits_for_its_bytes),
	{ "test_a_slow_pager_and_an_own_worker",
		test_a_slow_pager_holds_up_only_what_waits_for_its_bytes, pg_setup_own_worker,
		pg_teardown, NULL },
	{ "test_a_slow_pager_and_four_threads",
		test_a_slow_pager_holds_up_only_what_waits_for_its_bytes, pg_setup_four_threads,
		pg_teardown, NULL },
	PG_TEST(test_pagers_of_two_regions_run_beside_each_other),
	PG_TEST(test_two_regions_that_are_ready_at_once_get_a_thread_each),
	PG_TEST(test_a_dead_pager_stops_no_other_device),
	PG_TEST(test_a_region_of_a_dead_pager_can_be_given_up),
	PG_TEST(test_a_region_that_was_given_up_is_freed_by_a_later_call),
	PG_TEST(test_a_space_with_a_dead_pager_can_be_given_up),
	PG_TEST(test_an_access_waits_no_longer_than_the_deadline),
	PG_TEST(test_a_deadline_applies_to_one_region),
	PG_TEST(test_regions_with_pagers_come_and_go_under_faults),
};
TEST_SUITE(mmem_pager_slow, tests, NULL, NULL);
