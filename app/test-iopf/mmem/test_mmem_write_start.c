/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The asynchronous form of write: any number of writes under way with one fetch thread. */

#include "evict_rig.h"
#include "mmem_region.h"

static struct {
	pthread_mutex_t lock;
	struct {
		struct mmem_write *write;
		uint64_t offset;
		const void *src;
		size_t len;
	} pending[NB_BLOCKS];
	unsigned int nb;
	_Atomic bool at_once;		/* done before write_start returns */
	_Atomic int error;		/* of write_start */
} writes = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int
copy_to_store(uint64_t offset, const void *src, size_t len)
{
	pthread_mutex_lock(&store.lock);
	memcpy(store.bytes + offset, src, len);
	pthread_mutex_unlock(&store.lock);
	return 0;
}

static int
write_start(void *ctx, struct mmem_write *write, uint64_t offset, const void *src, size_t len)
{
	(void)ctx;
	if (atomic_load(&writes.error) != 0)
		return atomic_load(&writes.error);
	if (atomic_load(&writes.at_once)) {
		mmem_write_done(write, copy_to_store(offset, src, len));
		return 0;
	}
	pthread_mutex_lock(&writes.lock);
	writes.pending[writes.nb].write = write;
	writes.pending[writes.nb].offset = offset;
	writes.pending[writes.nb].src = src;
	writes.pending[writes.nb++].len = len;
	pthread_mutex_unlock(&writes.lock);
	return 0;
}

static unsigned int
get_nb_pending(void)
{
	unsigned int n;

	pthread_mutex_lock(&writes.lock);
	n = writes.nb;
	pthread_mutex_unlock(&writes.lock);
	return n;
}

/* End the write that was started last. */
static void
end_write(int error)
{
	struct mmem_write *write;
	unsigned int i;

	pthread_mutex_lock(&writes.lock);
	i = --writes.nb;
	if (error == 0)
		copy_to_store(writes.pending[i].offset, writes.pending[i].src,
				writes.pending[i].len);
	write = writes.pending[i].write;
	pthread_mutex_unlock(&writes.lock);
	mmem_write_done(write, error);
}

static const struct mmem_pager pager_async = { .fill = store_fill, .write_start = write_start,
	.ctx = &store, .fetch_size = BLOCK, .nb_threads = 1 };

static int
setup_async(void **state)
{
	writes.nb = 0;
	atomic_store(&writes.at_once, false);
	atomic_store(&writes.error, 0);
	return setup(state);
}

static void *
sync_main(void *p)
{
	return mmem_sync(space, p, REGION) == 0 ? p : NULL;
}

static void
test_a_sync_has_all_its_writes_under_way(void **state)
{
	uint8_t *p = alloc(&pager_async, RW);
	pthread_t thread;
	void *done;
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0x81 + off / BLOCK);
	assert_int_equal(pthread_create(&thread, NULL, sync_main, p), 0);
	AWAIT(get_nb_pending() == BUDGET / BLOCK);
	while (get_nb_pending() != 0)
		end_write(0);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, p);
	for (off = 0; off < BUDGET; off += BLOCK)
		assert_int_equal(store.bytes[off], 0x81 + off / BLOCK);
}

/* A thread waits in mmem_sync(), or in mmem_free() for its writes. */
static bool
is_syncing(struct mmem_region *region)
{
	bool syncing;

	pthread_mutex_lock(&space->lock);
	pthread_mutex_lock(&pg.pool->lock);
	syncing = region->syncing;
	pthread_mutex_unlock(&pg.pool->lock);
	pthread_mutex_unlock(&space->lock);
	return syncing;
}

static void *
free_main(void *p)
{
	return mmem_free(space, p) == 0 ? p : NULL;
}

/* A write that an earlier call began, and did not wait for, has not the bytes written since. */
static void
test_bytes_written_after_a_free_timed_out_are_written_back(void **state)
{
	uint8_t *p = alloc(&pager_async, RW);
	struct mmem_region *region;
	pthread_t thread;
	void *done;

	(void)state;
	dev_write(p, 0x85);
	space->wait_ms = 20;
	assert_int_equal(mmem_free(space, p), -ETIMEDOUT);
	assert_int_equal(get_nb_pending(), 1);
	copy_to_store(0, writes.pending[0].src, BLOCK);
	dev_write(p, 0x86);
	space->wait_ms = 5000;
	atomic_store(&writes.at_once, true);	/* of further writes */
	region = pg.pool->chunks[(p - pg.pool->mem) / CHUNK].region;
	assert_int_equal(pthread_create(&thread, NULL, free_main, p), 0);
	AWAIT(is_syncing(region));
	writes.nb = 0;
	mmem_write_done(writes.pending[0].write, 0);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, p);
	assert_int_equal(store_get(0), 0x86);
}

static void
test_evicted_blocks_are_written(void **state)
{
	uint8_t *p = alloc(&pager_async, RW);
	size_t off;

	(void)state;
	atomic_store(&writes.at_once, true);
	for (off = 0; off < REGION; off += BLOCK)
		dev_write(p + off, 0x91);
	for (off = 0; off < REGION; off += BLOCK) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0x91);
	}
	assert_true(get_resident() <= BUDGET);
	assert_true(stat(MMEM_STAT_WRITTEN) >= (REGION - BUDGET) / PAGE);
}

/* Each of them waits for room. */
static void
test_accesses_have_their_evictions_under_way_together(void **state)
{
	uint8_t *p = alloc(&pager_async, RW);
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0x95);
	for (off = BUDGET; off < 2 * BUDGET; off += BLOCK)
		pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + off, pg_bytes, 8);
	AWAIT(get_nb_pending() >= BUDGET / BLOCK / 2);
	atomic_store(&writes.at_once, true);	/* of further writes */
	while (get_nb_pending() != 0)
		end_write(0);
	for (off = BUDGET; off < 2 * BUDGET; off += BLOCK)
		assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	for (off = 0; off < BUDGET; off += BLOCK) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0x95);
	}
}

/* An access waits for the end of the write, and fetches the block again. */
static void
test_an_access_waits_for_a_write_under_way(void **state)
{
	uint8_t *p = alloc(&pager_async, RW);
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xa1);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
	AWAIT(get_nb_pending() != 0);
	off = writes.pending[0].offset;
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + off, pg_bytes + 64, 8);
	atomic_store(&writes.at_once, true);	/* of further writes */
	while (get_nb_pending() != 0)
		end_write(0);
	assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[64], 0xa1);
}

static void
test_a_write_that_fails_loses_nothing(void **state)
{
	uint8_t *p = alloc(&pager_async, RW);
	pthread_t thread;
	void *done;

	(void)state;
	p[0] = 0xb1;
	atomic_store(&writes.error, -ENOSPC);
	assert_int_equal(mmem_sync(space, p, REGION), -EIO);
	atomic_store(&writes.error, 0);
	assert_int_equal(pthread_create(&thread, NULL, sync_main, p), 0);
	AWAIT(get_nb_pending() == 1);
	end_write(-EIO);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_null(done);
	assert_int_equal(store.bytes[0], 0);
	atomic_store(&writes.at_once, true);
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(store.bytes[0], 0xb1);
}

static void
test_a_free_waits_for_a_write_under_way(void **state)
{
	uint8_t *p = alloc(&pager_async, RW);
	pthread_t thread;
	void *done;

	(void)state;
	p[0] = 0xc1;
	assert_int_equal(pthread_create(&thread, NULL, free_main, p), 0);
	AWAIT(get_nb_pending() == 1);
	end_write(0);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, p);
	assert_int_equal(store.bytes[0], 0xc1);
}

static _Atomic bool hold_flush, in_flush, is_destroyed;

static int
flush(void *ctx)
{
	(void)ctx;
	atomic_store(&in_flush, true);
	while (atomic_load(&hold_flush))
		usleep(100);
	return 0;
}

static void *
destroy_main(void *arg)
{
	int rc = mmem_space_destroy(space);

	atomic_store(&is_destroyed, true);
	return rc == 0 ? arg : NULL;
}

/* Both would write the region back. */
static void
test_a_space_is_destroyed_after_a_sync_has_ended(void **state)
{
	struct mmem_pager pager = pager_async;
	pthread_t thread, destroyer;
	uint8_t *p;
	void *done;

	(void)state;
	pager.flush = flush;
	p = alloc(&pager, RW);
	atomic_store(&in_flush, false);
	atomic_store(&is_destroyed, false);
	atomic_store(&hold_flush, true);
	assert_int_equal(pthread_create(&thread, NULL, sync_main, p), 0);
	AWAIT(atomic_load(&in_flush));
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	atomic_store(&in_flush, false);
	assert_int_equal(pthread_create(&destroyer, NULL, destroy_main, p), 0);
	usleep(WAIT_MS * 1000);
	assert_false(atomic_load(&in_flush) || atomic_load(&is_destroyed));
	atomic_store(&hold_flush, false);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, p);
	assert_int_equal(pthread_join(destroyer, &done), 0);
	assert_ptr_equal(done, p);
	space = NULL;
}

static void
test_both_forms_of_write_are_refused(void **state)
{
	struct mmem_pager pager = pager_async;

	(void)state;
	pager.write = store_write;
	assert_null(mmem_alloc_paged(space, REGION, RW, &pager));
	assert_int_equal(rte_errno, EINVAL);
}

#define ASYNC_TEST(f) cmocka_unit_test_setup_teardown(f, setup_async, teardown)

static const struct CMUnitTest tests[] = {
	ASYNC_TEST(test_a_sync_has_all_its_writes_under_way),
	ASYNC_TEST(test_bytes_written_after_a_free_timed_out_are_written_back),
	ASYNC_TEST(test_evicted_blocks_are_written),
	ASYNC_TEST(test_accesses_have_their_evictions_under_way_together),
	ASYNC_TEST(test_an_access_waits_for_a_write_under_way),
	ASYNC_TEST(test_a_write_that_fails_loses_nothing),
	ASYNC_TEST(test_a_free_waits_for_a_write_under_way),
	ASYNC_TEST(test_a_space_is_destroyed_after_a_sync_has_ended),
	ASYNC_TEST(test_both_forms_of_write_are_refused),
};
TEST_SUITE(mmem_write_start, tests, NULL, NULL);
