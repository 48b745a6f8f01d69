/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The policies of the suite mmem, with sequences whose page-ins are known. */

#include <stdlib.h>

#include "bench_stub.h"
#include "mem_suite.h"
#include "test.h"

static struct mem_result result;

static uint64_t
count(enum mem_policy policy, uint32_t capacity, const uint32_t *accesses, uint32_t n)
{
	struct trace trace = { .nb_accesses = n,
		.accesses = (uint32_t *)(uintptr_t)accesses };
	uint32_t i;

	for (i = 0; i < n; i++)
		if (accesses[i] >= trace.nb_pages)
			trace.nb_pages = accesses[i] + 1;
	assert_int_equal(0, mem_simulate(&trace, capacity, policy, 1, &result));
	return result.page_ins;
}

#define COUNT(policy, capacity, accesses)	\
	count(policy, capacity, accesses, sizeof(accesses) / sizeof((accesses)[0]))

/* L. Belady, R. Nelson, G. Shedler: an anomaly in space-time characteristics, 1969. */
static void
the_sequence_of_beladys_anomaly_has_its_page_ins(void **state)
{
	static const uint32_t accesses[] = { 0, 1, 2, 3, 0, 1, 4, 0, 1, 2, 3, 4 };

	(void)state;
	assert_int_equal(9, COUNT(MEM_FIFO, 3, accesses));
	assert_int_equal(10, COUNT(MEM_FIFO, 4, accesses));
	assert_int_equal(10, COUNT(MEM_LRU, 3, accesses));
	assert_int_equal(8, COUNT(MEM_LRU, 4, accesses));
	assert_int_equal(7, COUNT(MEM_BELADY, 3, accesses));
	assert_int_equal(6, COUNT(MEM_BELADY, 4, accesses));
}

/* The example of textbooks with 20 accesses and 3 frames. */
static void
the_textbooks_sequence_has_its_page_ins(void **state)
{
	static const uint32_t accesses[] = { 7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7,
		0, 1 };

	(void)state;
	assert_int_equal(15, COUNT(MEM_FIFO, 3, accesses));
	assert_int_equal(12, COUNT(MEM_LRU, 3, accesses));
	assert_int_equal(9, COUNT(MEM_BELADY, 3, accesses));
}

static void
clock_gives_an_accessed_page_a_second_turn(void **state)
{
	/* 0 is accessed again, so 1 leaves for 3, and 2 for 4; then 0 is there, and 1 is not. */
	static const uint32_t accesses[] = { 0, 1, 2, 0, 3, 4, 0, 1 };

	(void)state;
	assert_int_equal(6, COUNT(MEM_CLOCK, 3, accesses));
	assert_int_equal(8 - 1, COUNT(MEM_FIFO, 3, accesses));
	COUNT(MEM_CLOCK, 3, accesses);
	assert_int_equal(1 + 1, result.cleared);	/* 0 twice */
}

static void
no_policy_has_fewer_page_ins_than_belady(void **state)
{
	uint32_t accesses[2000], i, k, next = test_seed("accesses"), capacity;
	uint64_t best;

	(void)state;
	for (k = 0; k < 20; k++) {
		for (i = 0; i < 2000; i++) {
			next = next * 1664525 + 1013904223;
			accesses[i] = (next >> 8) % 60 * ((next >> 20) % 60) / 60;
		}
		capacity = 1 + k * 3;
		best = COUNT(MEM_BELADY, capacity, accesses);
		for (i = 0; i < MEM_NB_POLICIES; i++)
			assert_true(COUNT(i, capacity, accesses) >= best);
	}
}

static void
all_policies_fetch_each_page_once_if_all_fit(void **state)
{
	static const uint32_t accesses[] = { 0, 1, 2, 3, 0, 3, 2, 1, 0 };
	unsigned int i;

	(void)state;
	for (i = 0; i < MEM_NB_POLICIES; i++)
		assert_int_equal(4, COUNT(i, 4, accesses));
	for (i = 0; i < MEM_NB_POLICIES; i++)
		assert_int_equal(9, COUNT(i, 1, accesses));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_sequence_of_beladys_anomaly_has_its_page_ins),
	cmocka_unit_test(the_textbooks_sequence_has_its_page_ins),
	cmocka_unit_test(clock_gives_an_accessed_page_a_second_turn),
	cmocka_unit_test(no_policy_has_fewer_page_ins_than_belady),
	cmocka_unit_test(all_policies_fetch_each_page_once_if_all_fit),
};
TEST_SUITE(bench_mem, tests, NULL, NULL);
