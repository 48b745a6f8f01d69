/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A control call in a pager or in a report works, or returns -EDEADLK and has changed nothing.
 */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <rte_errno.h>

#include "pager_rig.h"
#include "test.h"

static struct {
	/* Regions: of the pager that is called, and two others. */
	uint8_t *own, *plain, *paged;
	struct mmem_space *victim;	/* not attached */
	int alloc, free_own, free_other, unmap_own, unmap, protect, prefetch_own, prefetch, resolve,
		resolve_absent, attach, detach, space, destroy_own, destroy_other, pool,
		pool_destroy;
	void *allocated;
	_Atomic bool called;
} in;

static int
result(const void *p)
{
	return p != NULL ? 0 : -rte_errno;
}

static void
call_everything(void)
{
	struct mmem_space *space;
	struct mmem_pool *pool;

	in.allocated = mmem_alloc(pg.space, CHUNK, RW);
	in.alloc = result(in.allocated);
	in.unmap = mmem_unmap(pg.space, in.plain, PAGE);
	in.protect = mmem_protect(pg.space, in.plain, PAGE, MMEM_READ);
	in.prefetch = mmem_prefetch(pg.space, in.plain, PAGE);
	in.resolve = mmem_resolve(pg.space, (uintptr_t)in.plain, IOPF_PERM_READ);
	in.resolve_absent = mmem_resolve(pg.space, (uintptr_t)in.paged, IOPF_PERM_READ);
	in.prefetch_own = mmem_prefetch(pg.space, in.own, 2 * CHUNK);
	in.unmap_own = mmem_unmap(pg.space, in.own, PAGE);
	in.attach = mmem_attach(pg.space, pg.other_dev, IOPF_NO_PASID);
	in.detach = mmem_detach(pg.space, pg.other_dev, IOPF_NO_PASID);
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pg.pool });
	in.space = result(space);
	if (space != NULL)
		in.destroy_other = mmem_space_destroy(space);
	else
		in.destroy_other = mmem_space_destroy(in.victim);
	in.destroy_own = mmem_space_destroy(pg.space);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu, .size = 2 * CHUNK });
	in.pool = result(pool);
	in.pool_destroy = mmem_pool_destroy(pool != NULL ? pool : pg.pool);
	in.free_own = mmem_free(pg.space, in.own);
	in.free_other = mmem_free(pg.space, in.plain);
	atomic_store(&in.called, true);
}

static void
alloc_regions(struct test_pager *own, struct test_pager *paged)
{
	memset(&in, 0, sizeof(in));
	in.own = pg_alloc(2 * CHUNK, own);
	in.paged = pg_alloc(CHUNK, paged);
	in.plain = mmem_alloc(pg.space, CHUNK, RW);
	assert_non_null(in.plain);
	memset(in.plain, 0x77, PAGE);
	in.victim = mmem_space_create(&(struct mmem_space_conf){ .pool = pg.pool });
	assert_non_null(in.victim);
}

/* The refused calls have changed nothing, and work now. */
static void
check_all_calls_work(bool freed_other)
{
	assert_int_equal(pg_stat(MMEM_STAT_KEPT), 0);
	assert_int_equal(mmem_space_destroy(in.victim), 0);
	if (!freed_other) {
		assert_int_equal(pg_dev_read(in.plain, PAGE), SMMUV3_MODEL_OK);
		assert_true(pg_is_filled_with(pg_bytes, 0x77, PAGE));
		assert_int_equal(mmem_free(pg.space, in.plain), 0);
	}
	if (in.allocated != NULL)
		assert_int_equal(mmem_free(pg.space, in.allocated), 0);
	assert_int_equal(mmem_prefetch(pg.space, in.paged, PAGE), 0);
	assert_int_equal(mmem_free(pg.space, in.paged), 0);
	assert_int_equal(mmem_prefetch(pg.space, in.own, 2 * CHUNK), 0);
	assert_int_equal(pg_dev_read(in.own, 8), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_free(pg.space, in.own), 0);
}

static void
check_all_calls_refused(void)
{
	const int *rc = &in.alloc;

	assert_true(atomic_load(&in.called));
	for (; rc <= &in.pool_destroy; rc++)
		assert_int_equal(*rc, -EDEADLK);
}

static void
test_a_report_on_the_poll_thread_allows_no_call(void **state)
{
	struct test_pager *own = pg_new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = pg_new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	alloc_regions(own, paged);
	atomic_store(&pg_call_inside, call_everything);
	assert_int_equal(pg_dev_read((void *)PAGE, 8), SMMUV3_MODEL_ABORTED);
	check_all_calls_refused();
	check_all_calls_work(false);
}

static void
test_a_report_on_a_worker_allows_no_call(void **state)
{
	struct test_pager *own = pg_new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = pg_new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	alloc_regions(own, paged);
	atomic_store(&own->error, -EREMOTEIO);
	pg_hold_fetch(own, in.own);
	atomic_store(&pg_call_inside, call_everything);
	atomic_store(&own->hold, false);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_ABORTED);
	check_all_calls_refused();
	atomic_store(&own->error, 0);
	check_all_calls_work(false);
}

/* fill and start can make each call that does not wait for their own return. */
static void
check_calls_in_pager(struct test_pager *own)
{
	struct test_pager *paged = pg_new_pager(&(struct mmem_pager){ 0 });

	own->at_once = true;
	alloc_regions(own, paged);
	atomic_store(&pg_call_inside, call_everything);
	assert_int_equal(pg_dev_read(in.own, 8), SMMUV3_MODEL_OK);
	assert_true(atomic_load(&in.called));
	assert_int_equal(in.alloc, 0);
	assert_int_equal(in.unmap, 0);
	assert_int_equal(in.unmap_own, 0);
	assert_int_equal(in.protect, 0);
	assert_int_equal(in.prefetch, 0);
	assert_int_equal(in.prefetch_own, 0);
	assert_int_equal(in.resolve, 0);
	assert_int_equal(in.resolve_absent, -EDEADLK);
	assert_int_equal(in.attach, 0);
	assert_int_equal(in.detach, 0);
	assert_int_equal(in.space, 0);
	assert_int_equal(in.destroy_other, 0);
	assert_int_equal(in.destroy_own, -EDEADLK);
	assert_int_equal(in.pool, 0);
	assert_int_equal(in.pool_destroy, 0);
	assert_int_equal(in.free_own, -EDEADLK);
	assert_int_equal(in.free_other, 0);
	/* The prefetch is completed. */
	AWAIT(pg_stat(MMEM_STAT_FILLED) >= 2 * CHUNK / PAGE);
	check_all_calls_work(true);
}

static void
test_calls_that_fill_allows(void **state)
{
	(void)state;
	check_calls_in_pager(pg_new_pager(&(struct mmem_pager){ 0 }));
}

static void
test_calls_that_start_allows(void **state)
{
	(void)state;
	check_calls_in_pager(pg_new_pager(&(struct mmem_pager){ .start = pg_start }));
}

/* In release the own region is gone and cannot be freed. The space cannot be destroyed. */
static void
test_calls_that_release_allows(void **state)
{
	struct test_pager *own = pg_new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = pg_new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	alloc_regions(own, paged);
	atomic_store(&pg_call_inside, call_everything);
	assert_int_equal(mmem_free(pg.space, in.own), 0);
	assert_true(atomic_load(&in.called));
	assert_int_equal(in.alloc, 0);
	assert_int_equal(in.unmap, 0);
	assert_int_equal(in.protect, 0);
	assert_int_equal(in.prefetch, 0);
	assert_int_equal(in.resolve, 0);
	assert_int_equal(in.resolve_absent, 0);
	assert_int_equal(in.attach, 0);
	assert_int_equal(in.detach, 0);
	assert_int_equal(in.space, 0);
	assert_int_equal(in.destroy_other, 0);
	assert_int_equal(in.destroy_own, -EDEADLK);
	assert_int_equal(in.pool, 0);
	assert_int_equal(in.pool_destroy, 0);
	assert_int_equal(in.free_other, 0);
	/* The new region may have the chunk of the old one; then the free succeeds. */
	if (in.allocated != in.own)
		assert_int_equal(in.free_own, -EINVAL);
	assert_int_equal(mmem_space_destroy(in.victim), 0);
}

/* release is also called while a space is destroyed. */
static void
test_calls_that_release_allows_while_its_space_is_destroyed(void **state)
{
	struct test_pager *own = pg_new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = pg_new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	alloc_regions(own, paged);
	assert_int_equal(mmem_detach(pg.space, pg.dev, IOPF_NO_PASID), 0);
	atomic_store(&pg_call_inside, call_everything);
	assert_int_equal(mmem_space_destroy(pg.space), 0);
	pg.space = NULL;
	assert_true(atomic_load(&in.called));
	assert_int_equal(in.destroy_own, -EDEADLK);
	assert_int_equal(in.attach, -ESHUTDOWN);
	assert_null(in.allocated);
	assert_int_equal(mmem_space_destroy(in.victim), 0);
}

static const struct CMUnitTest tests[] = {
	PG_TEST(test_a_report_on_the_poll_thread_allows_no_call),
	PG_TEST(test_a_report_on_a_worker_allows_no_call),
	PG_TEST(test_calls_that_fill_allows),
	PG_TEST(test_calls_that_start_allows),
	PG_TEST(test_calls_that_release_allows),
	PG_TEST(test_calls_that_release_allows_while_its_space_is_destroyed),
};
TEST_SUITE(mmem_pager_calls, tests, NULL, NULL);
