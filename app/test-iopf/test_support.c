/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* lib/iopf/iopf_support.h: what the libraries and drivers have in common. */

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <rte_lcore.h>

#include "iopf_support.h"
#include "test.h"

struct thread_seen {
	cpu_set_t cpus;
};

static void *
look_around(void *arg)
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
		test_skip("one processor is no choice");
	poll_core = rte_lcore_cpuset(lcore);
	assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof(before), &before), 0);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(poll_core), &poll_core), 0);
	assert_int_equal(iopf_thread_create(&thread, "look-around", look_around, &seen), 0);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(before), &before), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &seen);
	CPU_AND(&poll_core, &poll_core, &seen.cpus);
	assert_int_equal(CPU_COUNT(&poll_core), 0);
	assert_int_not_equal(CPU_COUNT(&seen.cpus), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_thread_does_not_inherit_the_affinity_of_a_poll_core),
};
TEST_SUITE(support, tests, NULL, NULL);
