/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* lib/iopf/iopf_support.h: helpers that the libraries and drivers share. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_lcore.h>

#include "iopf_support.h"
#include "test.h"

struct thread_seen {
	cpu_set_t cpus;
};

static void *
read_affinity(void *arg)
{
	struct thread_seen *seen = arg;

	pthread_getaffinity_np(pthread_self(), sizeof(seen->cpus), &seen->cpus);
	return arg;
}

static void
test_a_thread_does_not_inherit_the_affinity_of_a_poll_core(void **state)
{
	unsigned int lcore = rte_get_next_lcore(-1, 1, 0);
	struct thread_seen seen;
	cpu_set_t before, poll_core;
	pthread_t thread;
	void *result;

	(void)state;
	if (lcore >= RTE_MAX_LCORE)
		test_skip("two processors are needed");
	poll_core = rte_lcore_cpuset(lcore);
	assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof(before), &before), 0);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(poll_core), &poll_core), 0);
	assert_int_equal(iopf_thread_create(&thread, "look-around", read_affinity, &seen), 0);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(before), &before), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &seen);
	CPU_AND(&poll_core, &poll_core, &seen.cpus);
	assert_int_equal(CPU_COUNT(&poll_core), 0);
	assert_int_not_equal(CPU_COUNT(&seen.cpus), 0);
}

static void
test_log_lines_of_an_object_are_limited(void **state)
{
	enum { LINES = 100000 };
	struct iopf_log_limit limit = { 0 }, other = { 0 };
	uint64_t began = rte_rdtsc(), said = 0, told = 0, before = 1, seconds;

	(void)state;
	/* All of the first lines are written, with none left out before them. */
	for (unsigned int i = 0; i < IOPF_LOG_LINES_PER_S; i++) {
		assert_true(iopf_log_take(&limit, &before));
		assert_int_equal(before, 0);
	}
	for (unsigned int i = 0; i < LINES; i++) {
		if (!iopf_log_take(&limit, &before))
			continue;
		said++;
		told += before;
	}
	seconds = (rte_rdtsc() - began) / rte_get_tsc_hz() + 1;
	assert_true(said <= seconds * IOPF_LOG_LINES_PER_S);
	assert_int_equal(said + atomic_load(&limit.left_out), LINES);
	/* The lines of another object are not limited. */
	assert_true(iopf_log_take(&other, &before));
	/* Lines are written again in the next second, with the number left out. */
	while (!iopf_log_take(&limit, &before))
		sched_yield();
	told += before;
	assert_int_equal(told, atomic_load(&limit.left_out));
}

static void
test_a_line_names_the_number_left_out_unless_it_is_zero(void **state)
{
	char text[IOPF_LOG_TAIL];

	(void)state;
	assert_string_equal(iopf_log_tail(text, 0), "");
	assert_string_equal(iopf_log_tail(text, 1), " (1 line left out before)");
	assert_string_equal(iopf_log_tail(text, 2), " (2 lines left out before)");
	assert_string_equal(iopf_log_tail(text, UINT64_MAX),
			" (18446744073709551615 lines left out before)");
}

struct taker {
	struct iopf_log_limit *limit;
	uint64_t said, told;
};

static void *
take_lines(void *arg)
{
	struct taker *taker = arg;
	uint64_t before;

	for (unsigned int i = 0; i < 20000; i++) {
		if (iopf_log_take(taker->limit, &before)) {
			taker->said++;
			taker->told += before;
		}
	}
	return NULL;
}

static void
test_threads_share_a_limit(void **state)
{
	struct iopf_log_limit limit = { 0 };
	struct taker takers[4];
	pthread_t threads[4];
	uint64_t said = 0, told = 0;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(threads); i++) {
		takers[i] = (struct taker){ .limit = &limit };
		assert_int_equal(pthread_create(&threads[i], NULL, take_lines, &takers[i]), 0);
	}
	for (unsigned int i = 0; i < RTE_DIM(threads); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		said += takers[i].said;
		told += takers[i].told;
	}
	assert_int_equal(said + atomic_load(&limit.left_out), 4 * 20000);
	assert_int_equal(told + atomic_load(&limit.unsaid), atomic_load(&limit.left_out));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_log_lines_of_an_object_are_limited),
	cmocka_unit_test(test_a_line_names_the_number_left_out_unless_it_is_zero),
	cmocka_unit_test(test_threads_share_a_limit),
	cmocka_unit_test(test_a_thread_does_not_inherit_the_affinity_of_a_poll_core),
};
TEST_SUITE(support, tests, NULL, NULL);
