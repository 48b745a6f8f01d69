/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Unit tests of the histogram, the hash table and the pool.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "hist.h"
#include "pool.h"
#include "rcu.h"
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

/* Random keys, so that some share a place: the hash spreads those of a pattern evenly. */
static void
table_finds_what_is_in_it_at_any_size(void **state)
{
	struct iopf_table_trash trash = { NULL, false };
	static uint64_t keys[5000];
	static int values[5000];
	struct iopf_table table;
	unsigned int seed = 1;

	(void)state;
	assert_int_equal(0, iopf_table_init(&table));
	for (unsigned int i = 0; i < RTE_DIM(keys); i++) {
		keys[i] = (uint64_t)rand_r(&seed) << 32 | (uint32_t)rand_r(&seed);
		assert_int_equal(0, iopf_table_add(&table, keys[i], &values[i], &trash));
	}
	assert_int_equal(-EEXIST, iopf_table_add(&table, keys[5], values, &trash));
	for (unsigned int i = 0; i < RTE_DIM(keys); i += 3)
		iopf_table_del(&table, keys[i], &trash);
	for (unsigned int i = 0; i < RTE_DIM(keys); i++)
		assert_ptr_equal(i % 3 == 0 ? NULL : &values[i],
				iopf_table_find(&table, keys[i]));
	assert_null(iopf_table_find(&table, 8));
	iopf_table_empty(&trash);
	iopf_table_fini(&table);
}

/* Keys that come and go do not let the table grow, whatever their number. */
static void
table_of_changing_keys_stays_small(void **state)
{
	struct iopf_table_trash trash = { NULL, false };
	struct iopf_table table;
	static int values[2];

	(void)state;
	assert_int_equal(0, iopf_table_init(&table));
	for (uint64_t key = 0; key < 10000; key++) {
		assert_int_equal(0, iopf_table_add(&table, key, &values[0], &trash));
		iopf_table_set(&table, key, &values[1]);
		assert_ptr_equal(&values[1], iopf_table_find(&table, key));
		iopf_table_del(&table, key, &trash);
		assert_null(iopf_table_find(&table, key));
		/* Deleted keys have no value to replace. */
		iopf_table_set(&table, key, &values[1]);
		assert_null(iopf_table_find(&table, key));
		iopf_table_del(&table, key, &trash);
		assert_int_equal(0, table.nb_values);
		if (key % 2 == 0)
			continue;
		/* The same key again. */
		assert_int_equal(0, iopf_table_add(&table, key, &values[0], &trash));
		assert_ptr_equal(&values[0], iopf_table_find(&table, key));
		iopf_table_del(&table, key, &trash);
	}
	assert_true(atomic_load(&table.entries)->mask < 256);
	assert_true(trash.values);
	iopf_table_empty(&trash);
	assert_null(trash.entries);
	iopf_table_fini(&table);
}

#define CHURN_KEYS	96

static struct {
	struct iopf_table table;
	int values[CHURN_KEYS];
	_Atomic bool stop;
	_Atomic unsigned int wrong;
	_Atomic unsigned int found;
} churn;

static void *
churn_read(void *arg)
{
	(void)arg;
	for (uint64_t key = 0; !atomic_load(&churn.stop); key = (key + 1) % CHURN_KEYS) {
		iopf_rcu_read_lock();
		const int *value = iopf_table_find(&churn.table, key);

		iopf_rcu_read_unlock();
		churn.found += value != NULL;
		churn.wrong += value != NULL && value != &churn.values[key];
	}
	return NULL;
}

/* A reader beside changes finds the value of its key, or none; that of a key that stays always. */
static void
table_readers_find_the_value_of_their_key(void **state)
{
	struct iopf_table_trash trash = { NULL, false };
	unsigned int seed = 1;
	pthread_t thread;

	(void)state;
	memset(&churn, 0, sizeof(churn));
	assert_int_equal(0, iopf_table_init(&churn.table));
	assert_int_equal(0, pthread_create(&thread, NULL, churn_read, NULL));
	for (unsigned int i = 0; i < 100000 || churn.found < 1000; i++) {
		/* Keys beyond those that are read let the entries be built anew. */
		uint64_t key = (uint64_t)rand_r(&seed) % (4 * CHURN_KEYS);
		int *value = &churn.values[key % CHURN_KEYS];

		if (iopf_table_find(&churn.table, key) != NULL)
			iopf_table_del(&churn.table, key, &trash);
		else
			assert_int_equal(0, iopf_table_add(&churn.table, key, value, &trash));
		if (i % 1000 == 0)
			iopf_table_empty(&trash);
		trash.values = trash.entries != NULL;
	}
	atomic_store(&churn.stop, true);
	assert_int_equal(0, pthread_join(thread, NULL));
	assert_int_equal(0, churn.wrong);
	iopf_table_empty(&trash);
	iopf_table_fini(&churn.table);
}

struct pooled {
	char bytes[100];
};

static void
pool_objects_are_zeroed_aligned_and_close(void **state)
{
	static struct iopf_pool pool = IOPF_POOL_INITIALIZER(struct pooled);
	static struct pooled *objects[1000];
	const struct pooled zero = { { 0 } };
	unsigned int close = 0;
	void *chunks = NULL;

	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < RTE_DIM(objects); i++) {
			objects[i] = iopf_pool_zalloc(&pool);
			assert_non_null(objects[i]);
			assert_int_equal(0, (uintptr_t)objects[i] % RTE_CACHE_LINE_SIZE);
			assert_memory_equal(&zero, objects[i], sizeof(zero));
			memset(objects[i], 0xff, sizeof(zero));
			close += round == 0 && i > 0 && (uintptr_t)objects[i] -
					(uintptr_t)objects[i - 1] == pool.size;
		}
		/* Used again: no memory is added after the first round. */
		assert_true(round == 0 || pool.chunks == chunks);
		chunks = pool.chunks;
		for (unsigned int i = 0; i < RTE_DIM(objects); i++)
			iopf_pool_free(&pool, objects[i]);
	}
	assert_true(close > RTE_DIM(objects) * 9 / 10);
	iopf_pool_free(&pool, NULL);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(table_of_changing_keys_stays_small),
	cmocka_unit_test(table_readers_find_the_value_of_their_key),
	cmocka_unit_test(pool_objects_are_zeroed_aligned_and_close),
	cmocka_unit_test(histogram_values_are_at_most_a_32nd_too_large),
	cmocka_unit_test(table_finds_what_is_in_it_at_any_size),
};
TEST_SUITE(iopf_parts, tests, NULL, NULL);
