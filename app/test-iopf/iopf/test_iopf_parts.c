/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Unit tests of the histogram and the hash table.
 */

#include <errno.h>
#include <string.h>

#include "hist.h"
#include "table.h"
#include "test.h"

static void
histogram_values_are_at_most_a_32nd_too_large(void **state)
{
	static struct iopf_hist hist;

	(void)state;
	for (uint64_t v = 1; v < UINT64_C(1) << 39; v = v * 5 / 4 + 1) {
		uint64_t got = iopf_hist_value(iopf_hist_step(v));

		assert_true(got >= v && (got - v) * 32 <= v + 32);
	}
	assert_int_equal(IOPF_HIST_STEPS - 1, iopf_hist_step(UINT64_MAX));
	memset(&hist, 0, sizeof(hist));
	assert_int_equal(0, iopf_hist_permille(&hist, 0, 500));
	for (unsigned int i = 1; i <= 1000; i++)
		iopf_hist_add(&hist, i < 32 ? i : 31, 1);
	iopf_hist_add(&hist, 5000, 1);
	assert_int_equal(1001, iopf_hist_samples(&hist));
	assert_int_equal(1, iopf_hist_permille(&hist, 1001, 0));
	assert_int_equal(31, iopf_hist_permille(&hist, 1001, 500));
	assert_true(iopf_hist_permille(&hist, 1001, 1000) >= 5000);
}

static void
table_finds_what_is_in_it_at_any_size(void **state)
{
	struct iopf_table_trash trash = { NULL, NULL };
	struct iopf_table table;
	static int values[5000];

	(void)state;
	assert_int_equal(0, iopf_table_init(&table));
	for (uint64_t i = 0; i < 5000; i++)
		assert_int_equal(0, iopf_table_add(&table, i << 32 | 7, &values[i],
				&trash));
	assert_int_equal(-EEXIST, iopf_table_add(&table, UINT64_C(5) << 32 | 7, values,
			&trash));
	for (uint64_t i = 0; i < 5000; i += 500)
		iopf_table_del(&table, i << 32 | 7, &trash);
	for (uint64_t i = 0; i < 5000; i++)
		assert_ptr_equal(i % 500 == 0 ? NULL : &values[i],
				iopf_table_find(&table, i << 32 | 7));
	assert_null(iopf_table_find(&table, 8));
	iopf_table_empty(&trash);
	iopf_table_fini(&table);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(histogram_values_are_at_most_a_32nd_too_large),
	cmocka_unit_test(table_finds_what_is_in_it_at_any_size),
};
TEST_SUITE(iopf_parts, tests, NULL, NULL);
