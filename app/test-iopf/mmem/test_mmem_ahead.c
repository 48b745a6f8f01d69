/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Pages that faults on other pages map, ahead of a device: with contents in memory. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "mmem_ahead.h"
#include "mmem_rig.h"
#include "mmem_stream.h"
#include "test.h"

#define PAGES_OF_CHUNK	(CHUNK / PAGE)

static int
setup(void **state)
{
	mm_setup(state);
	mm.space->window = MMEM_WINDOW_MAX;
	return 0;
}

/* One access to a page. Returns the number of pages that it mapped ahead. */
static uint64_t
touch(const uint8_t *p)
{
	uint64_t before = mm_stat(MMEM_STAT_AHEAD);

	assert_int_equal(mm_dev_read(p, mm_scratch, 8).status, SMMUV3_MODEL_OK);
	return mm_stat(MMEM_STAT_AHEAD) - before;
}

static void
touch_range(const uint8_t *p, size_t first, size_t end)
{
	for (; first < end; first++)
		touch(p + first * PAGE);
}

static void
test_a_sequential_device_faults_once_in_64_pages(void **state)
{
	const size_t pages = 4 * PAGES_OF_CHUNK;
	uint8_t *buf = mm_alloc(pages * PAGE, RW | MMEM_POPULATE);
	size_t i;

	(void)state;
	for (i = 0; i < pages; i++)
		buf[i * PAGE] = i;
	for (i = 0; i < pages; i++) {
		touch(buf + i * PAGE);
		assert_int_equal(mm_scratch[0], (uint8_t)i);
	}
	assert_true(mm_count_faults() * 64 <= pages);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED) + mm_stat(MMEM_STAT_AHEAD), pages);
	/* The same pages again, after an unmap. */
	assert_int_equal(mmem_unmap(mm.space, buf, pages * PAGE), 0);
	touch_range(buf, 0, pages);
	assert_true(mm_count_faults() * 64 <= 2 * pages);
}

static void
test_memory_that_is_not_populated_is_streamed_too(void **state)
{
	const size_t pages = 8 * PAGES_OF_CHUNK;
	uint8_t *buf = mm_alloc(pages * PAGE, RW);

	(void)state;
	touch_range(buf, 0, pages);
	assert_true(mm_count_faults() * 64 <= pages);
}

static void
test_a_backward_device_is_a_stream(void **state)
{
	uint8_t *buf = mm_alloc(4 * CHUNK, RW | MMEM_POPULATE);
	size_t i;

	(void)state;
	for (i = 4 * PAGES_OF_CHUNK; i-- > 0; )
		touch(buf + i * PAGE);
	assert_true(mm_count_faults() * 64 <= 4 * PAGES_OF_CHUNK);
}

/* With a stride only the pages of the stride are mapped. */
static void
test_a_stride_maps_its_pages_only(void **state)
{
	uint8_t *buf = mm_alloc(8 * CHUNK, RW | MMEM_POPULATE);
	size_t i;

	(void)state;
	for (i = 0; i < 8 * PAGES_OF_CHUNK; i += 7)
		touch(buf + i * PAGE);
	assert_true(mm_count_faults() < 16);
	assert_true(mm_stat(MMEM_STAT_MAPPED) + mm_stat(MMEM_STAT_AHEAD) <=
			8 * PAGES_OF_CHUNK / 7 + 1);
}

static void
test_random_accesses_map_what_they_need(void **state)
{
	enum { PAGES = 8 * CHUNK / PAGE, TIMES = 2000 };
	uint8_t *buf = mm_alloc(8 * CHUNK, RW | MMEM_POPULATE);
	uint32_t x = 12345, state_bits;
	unsigned int i;

	(void)state;
	for (i = 0; i < TIMES; i++) {
		x = x * 1664525 + 1013904223;
		touch(buf + (size_t)(x >> 8) % PAGES * PAGE);
	}
	assert_true(mm_stat(MMEM_STAT_AHEAD) * 20 <= mm_stat(MMEM_STAT_MAPPED));
	/* The rest of them take the short path. */
	for (i = 0; i < 8; i++) {
		state_bits = atomic_load(&mm.pool->chunks[(buf - mm.pool->mem) / CHUNK + i].state);
		assert_true(state_bits & CHUNK_TOUCHED);
	}
}

/* Contract 2: loops of the poll thread have a bound. */
static void
test_one_fault_maps_a_bounded_number_of_pages(void **state)
{
	uint8_t *buf = mm_alloc(8 * CHUNK, RW | MMEM_POPULATE);
	uint64_t n, most = 0;
	size_t i;

	(void)state;
	for (i = 0; i < 8 * PAGES_OF_CHUNK; i++) {
		n = touch(buf + i * PAGE);
		most = n > most ? n : most;
	}
	assert_int_equal(most, MMEM_AHEAD_POLL);
}

static void
test_window_limits_what_a_fault_maps(void **state)
{
	uint8_t *buf = mm_alloc(2 * CHUNK, RW | MMEM_POPULATE);
	size_t i;

	(void)state;
	mm.space->window = 8;
	for (i = 0; i < PAGES_OF_CHUNK; i++)
		assert_in_range(touch(buf + i * PAGE), 0, 7);
	assert_in_range(mm_count_faults(), PAGES_OF_CHUNK / 8, PAGES_OF_CHUNK / 8 + 2);
	mm.space->window = 1;
	for (i = 0; i < 16; i++)
		assert_int_equal(touch(buf + CHUNK + i * PAGE), 0);
}

/* What a fault on the page itself would not get, is not mapped ahead. */
static void
test_pages_keep_their_rights(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	assert_int_equal(mmem_protect(mm.space, buf + 20 * PAGE, PAGE, MMEM_READ), 0);
	assert_int_equal(mmem_protect(mm.space, buf + 40 * PAGE, PAGE, 0), 0);
	touch_range(buf, 0, 40);
	mm_mute_log(true);
	assert_int_equal(mm_dev_write(buf + 20 * PAGE, mm_scratch, 8).status,
			SMMUV3_MODEL_ABORTED);
	assert_int_equal(mm_dev_read(buf + 40 * PAGE, mm_scratch, 8).status,
			SMMUV3_MODEL_ABORTED);
	mm_expect_report(buf + 40 * PAGE, IOPF_NO_PASID, IOPF_PERM_READ, -EACCES);
	mm_mute_log(false);
}

/* The next pages may be another space's, which the device must not access. */
static void
test_a_stream_ends_with_its_region(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK - 7 * PAGE, RW | MMEM_POPULATE), *next;
	struct mmem_space *other = mm_make_space();
	unsigned int i;
	uint64_t first = 0, before;

	(void)state;
	assert_non_null(other);
	next = mmem_alloc(other, CHUNK, RW | MMEM_POPULATE);
	assert_ptr_equal(next, buf + CHUNK);
	for (i = 0; i < 20; i++) {
		before = mm_count_faults();
		touch_range(buf, 0, PAGES_OF_CHUNK - 7);
		/* That the region ends is not held against the stream. */
		if (i == 0)
			first = mm_count_faults() - before;
		else
			assert_int_equal(mm_count_faults() - before, first);
		assert_int_equal(mmem_unmap(mm.space, buf, CHUNK - 7 * PAGE), 0);
	}
	mm_mute_log(true);
	assert_int_equal(mm_dev_read(next - PAGE, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mm_dev_read(next, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	mm_mute_log(false);
	assert_int_equal(mmem_space_destroy(other), 0);
}

/* The faults of a group share what one call of the handler may map. */
static void
test_streams_of_a_group_share_one_bound(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_POPULATE);
	uint64_t off = buf - mm.pool->mem, before;
	struct mmem_chunk *chunk = &mm.pool->chunks[off / CHUNK];
	unsigned int most = 3;

	(void)state;
	touch_range(buf, 0, 2);		/* maps up to page 3 */
	touch_range(buf, 200, 202);	/* maps up to page 203 */
	before = mm_stat(MMEM_STAT_AHEAD);
	pthread_mutex_lock(&mm.space->lock);
	mmem_ahead_follow(mm.space, chunk, off + 4 * PAGE, &most);
	mmem_ahead_follow(mm.space, chunk, off + 204 * PAGE, &most);
	pthread_mutex_unlock(&mm.space->lock);
	assert_int_equal(mm_stat(MMEM_STAT_AHEAD) - before, 3);
	assert_int_equal(most, 0);
}

static void
test_tracked_pages_are_mapped_ahead_without_write(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_POPULATE | MMEM_TRACK_WRITES);
	size_t i;

	(void)state;
	touch_range(buf, 0, 64);
	assert_true(mm_stat(MMEM_STAT_AHEAD) > 0);
	for (i = 0; i < 64; i++)
		mm_dev_set(buf + i * PAGE, i, 8);
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 64);
}

/* A page that holds an earlier region's contents is zeroed by its own fault. */
static void
test_pages_that_must_be_zeroed_are_not_mapped_ahead(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_ZERO_INLINE);
	uint64_t before;

	(void)state;
	mm_dev_set(buf, 0xff, CHUNK);
	assert_int_equal(mmem_free(mm.space, buf), 0);
	assert_ptr_equal(mm_alloc(CHUNK, RW | MMEM_ZERO_INLINE), buf);
	before = mm_stat(MMEM_STAT_AHEAD);
	mm_dev_expect(buf, 0, CHUNK);
	assert_int_equal(mm_stat(MMEM_STAT_AHEAD), before);
	assert_int_equal(mm_stat(MMEM_STAT_ZEROED), PAGES_OF_CHUNK);
}

/* Pages that were mapped ahead are unmapped as all others: the oracle of the model checks it. */
static void
test_a_device_has_no_access_after_unmap_of_pages_ahead(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	touch_range(buf, 0, 17);	/* maps up to page 63 */
	assert_int_equal(mm_dev_read(buf + 63 * PAGE, mm_scratch, 8).nb_stalls, 0);
	assert_int_equal(mmem_unmap(mm.space, buf + 63 * PAGE, PAGE), 0);
	assert_int_equal(mm_dev_read(buf + 63 * PAGE, mm_scratch, 8).nb_stalls, 1);
	assert_int_equal(mmem_free(mm.space, buf), 0);
	mm_mute_log(true);
	assert_int_equal(mm_dev_read(buf + 30 * PAGE, mm_scratch, 8).status,
			SMMUV3_MODEL_ABORTED);
	mm_mute_log(false);
}

static _Atomic bool stop;

static void *
unmap_main(void *arg)
{
	uint8_t *buf = arg;
	unsigned int i;

	for (i = 0; !atomic_load(&stop); i++)
		if (i % 3 == 0)
			assert_int_equal(mmem_protect(mm.space, buf + i % 97 * PAGE, 32 * PAGE,
					i % 2 ? RW : RW | MMEM_TRACK_WRITES), 0);
		else
			assert_int_equal(mmem_unmap(mm.space, buf + i % 61 * PAGE, 64 * PAGE), 0);
	return NULL;
}

/* A stream maps pages while another thread unmaps them and changes their rights. */
static void
test_streams_race_with_unmap_and_protect(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_POPULATE);
	unsigned int i, times = 20 * test_scale();
	pthread_t thread;

	(void)state;
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, unmap_main, buf), 0);
	for (i = 0; i < times; i++) {
		mm_dev_set(buf, i, 128 * PAGE);
		mm_dev_expect(buf, i, 128 * PAGE);
	}
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	mm_cpu_expect(buf, i - 1, 128 * PAGE);
	assert_true(mm_stat(MMEM_STAT_AHEAD) > 0);
}

#define AHEAD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, mm_teardown)

static const struct CMUnitTest tests[] = {
	AHEAD_TEST(test_a_sequential_device_faults_once_in_64_pages),
	AHEAD_TEST(test_memory_that_is_not_populated_is_streamed_too),
	AHEAD_TEST(test_a_backward_device_is_a_stream),
	AHEAD_TEST(test_a_stride_maps_its_pages_only),
	AHEAD_TEST(test_random_accesses_map_what_they_need),
	AHEAD_TEST(test_one_fault_maps_a_bounded_number_of_pages),
	AHEAD_TEST(test_window_limits_what_a_fault_maps),
	AHEAD_TEST(test_pages_keep_their_rights),
	AHEAD_TEST(test_a_stream_ends_with_its_region),
	AHEAD_TEST(test_streams_of_a_group_share_one_bound),
	AHEAD_TEST(test_tracked_pages_are_mapped_ahead_without_write),
	AHEAD_TEST(test_pages_that_must_be_zeroed_are_not_mapped_ahead),
	AHEAD_TEST(test_a_device_has_no_access_after_unmap_of_pages_ahead),
	AHEAD_TEST(test_streams_race_with_unmap_and_protect),
};
TEST_SUITE(mmem_ahead, tests, NULL, NULL);

TEST_SUITE(mmem_pieces_ahead, tests, mm_set_pieces, mm_set_address);
