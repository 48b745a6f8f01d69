/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The streams among the faults of a region, without a device. */

#include <string.h>

#include "mmem_stream.h"
#include "test.h"

static struct mmem_streams streams;

static int
clear(void **state)
{
	(void)state;
	memset(&streams, 0, sizeof(streams));
	return 0;
}

/* Note a fault, and use the window as the fault path does. Returns the window, 0: no stream. */
static uint32_t
fault(uint64_t page)
{
	struct mmem_stream *stream = mmem_streams_note(&streams, page, false);

	if (stream == NULL)
		return 0;
	stream->next = page + stream->stride * stream->window;
	return stream->window;
}

/* Fault at the end of each window until @p nb windows were used. Returns the next page. */
static uint64_t
run(uint64_t page, int64_t stride, unsigned int nb)
{
	uint32_t window;

	fault(page);
	page += stride;
	while (nb-- != 0) {
		window = fault(page);
		page += stride * (window != 0 ? window : 1);
	}
	return page;
}

static void
test_a_window_grows_while_it_is_used(void **state)
{
	(void)state;
	assert_int_equal(fault(100), 0);
	assert_int_equal(fault(101), 4);
	assert_int_equal(fault(105), 16);
	assert_int_equal(fault(121), 64);
	assert_int_equal(fault(185), 256);
	assert_int_equal(fault(441), 512);
	assert_int_equal(fault(953), 512);
}

static void
test_streams_run_backward_and_in_strides(void **state)
{
	(void)state;
	assert_int_equal(fault(1000), 0);
	assert_int_equal(fault(999), 4);
	assert_int_equal(fault(995), 16);

	assert_int_equal(fault(50000), 0);
	assert_int_equal(fault(50512), 0);
	assert_int_equal(fault(51024), 4);
	assert_int_equal(fault(51024 + 4 * 512), 16);

	assert_int_equal(fault(90000), 0);
	assert_int_equal(fault(89997), 0);
	assert_int_equal(fault(89994), 4);
	assert_int_equal(fault(89982), 16);
}

static void
test_several_streams_do_not_disturb_each_other(void **state)
{
	unsigned int i, j;
	uint64_t page[6];
	uint32_t window;

	(void)state;
	for (i = 0; i < 6; i++)
		page[i] = run(i * 100000, 1, 1);
	for (j = 0; j < 4; j++)
		for (i = 0; i < 6; i++) {
			window = fault(page[i]);
			assert_int_equal(window, j == 3 ? 512 : 16u << 2 * j);
			page[i] += window;
		}
}

/* A device with many accesses under way faults out of order. */
static void
test_a_fault_beyond_the_expected_page_continues_the_stream(void **state)
{
	(void)state;
	run(0, 1, 2);			/* next is 21 */
	assert_int_equal(fault(24), 16);
	assert_int_equal(fault(40), 64);
	assert_int_equal(fault(5000), 0);
}

static void
test_the_same_page_again_is_no_stream(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 5; i++)
		assert_int_equal(fault(7), 0);
}

static void
test_windows_shrink_when_they_are_wrong(void **state)
{
	uint32_t largest = 0, window;
	unsigned int i, j;
	uint64_t page;

	(void)state;
	/* Runs of 24 pages far from each other: the last window of each is wrong. */
	for (i = 0; i < 100; i++) {
		largest = 0;
		for (page = i * 100000, j = 0; page < i * 100000 + 24; j++) {
			window = fault(page);
			largest = window > largest ? window : largest;
			page += window != 0 ? window : 1;
		}
	}
	assert_in_range(largest, MMEM_WINDOW_MIN, 8);
}

static void
test_windows_grow_again_when_they_are_right(void **state)
{
	struct mmem_stream *stream;
	unsigned int i;
	uint64_t page = 1000000000;

	(void)state;
	test_windows_shrink_when_they_are_wrong(state);
	fault(page++);
	for (i = 0; i < 64; i++)
		page += fault(page);
	stream = mmem_streams_note(&streams, page, false);
	assert_non_null(stream);
	assert_int_equal(stream->window, MMEM_WINDOW_MAX);
}

/* The end of a region says nothing about a window. */
static void
test_a_stream_that_ends_with_its_region_was_not_wrong(void **state)
{
	struct mmem_stream *stream;
	unsigned int i;

	(void)state;
	for (i = 0; i < 50; i++) {
		run(i * 100000, 1, 3);
		stream = mmem_streams_note(&streams, i * 100000 + 85, false);
		assert_non_null(stream);
		assert_int_equal(stream->window, 256);
		mmem_stream_end(stream);
	}
}

static void
test_a_sequential_region_needs_no_proof(void **state)
{
	struct mmem_stream *stream;

	(void)state;
	stream = mmem_streams_note(&streams, 40, true);
	assert_non_null(stream);
	assert_int_equal(stream->window, MMEM_WINDOW_MAX);
	assert_int_equal(stream->stride, 1);
}

#define STREAM_TEST(f) cmocka_unit_test_setup(f, clear)

static const struct CMUnitTest tests[] = {
	STREAM_TEST(test_a_window_grows_while_it_is_used),
	STREAM_TEST(test_streams_run_backward_and_in_strides),
	STREAM_TEST(test_several_streams_do_not_disturb_each_other),
	STREAM_TEST(test_a_fault_beyond_the_expected_page_continues_the_stream),
	STREAM_TEST(test_the_same_page_again_is_no_stream),
	STREAM_TEST(test_windows_shrink_when_they_are_wrong),
	STREAM_TEST(test_windows_grow_again_when_they_are_right),
	STREAM_TEST(test_a_stream_that_ends_with_its_region_was_not_wrong),
	STREAM_TEST(test_a_sequential_region_needs_no_proof),
};
TEST_SUITE(mmem_stream, tests, NULL, NULL);
