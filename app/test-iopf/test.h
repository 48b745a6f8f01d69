/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef TEST_H
#define TEST_H

/*
 * A suite is a file that ends with TEST_SUITE(name, tests, setup, teardown). main.c runs the suites
 * that the command line names, or all.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct test_suite {
	const char *name;
	const struct CMUnitTest *tests;
	size_t nb_tests;
	CMFixtureFunction setup;
	CMFixtureFunction teardown;
	struct test_suite *next;
};

void test_suite_register(struct test_suite *suite);

#define TEST_SUITE(name_, tests_, setup_, teardown_)				\
	static struct test_suite suite_ ## name_ = {				\
		.name = #name_,							\
		.tests = tests_,						\
		.nb_tests = sizeof(tests_) / sizeof((tests_)[0]),		\
		.setup = setup_,						\
		.teardown = teardown_,						\
	};									\
	__attribute__((constructor)) static void				\
	suite_register_ ## name_(void)						\
	{									\
		test_suite_register(&suite_ ## name_);				\
	}									\
	struct test_suite /* takes the semicolon */

/* Called before EAL is initialised, for a test of calls at that time. May be NULL. */
extern void (*test_before_eal)(void);

/* Why this test cannot run in this run of the program, or NULL. May be NULL. */
extern const char *(*test_find_obstacle)(const char *suite, const char *test);

/* Count the test as skipped, print the reason, and leave the test. */
void test_skip(const char *why);

/* A factor for the length of soak tests: IOPF_TEST_SCALE in the environment, 1 if unset. */
unsigned int test_scale(void);

/*
 * A seed for random choices, printed with its purpose @p what: IOPF_TEST_SEED in the environment,
 * or a new seed in each run. Never 0.
 */
uint32_t test_seed(const char *what);

/*
 * With IOPF_TEST_ECMDQ in the environment the software SMMUs of all tests have ECMDQs: see ecmdq.c.
 * Not those of a test that is entered in its suite with this macro.
 */
bool test_adds_ecmdqs(void);
#define TEST_WITHOUT_ECMDQS(test)						\
	cmocka_unit_test_setup_teardown(test, test_begin_without_ecmdqs,	\
			test_end_without_ecmdqs)
int test_begin_without_ecmdqs(void **state);
int test_end_without_ecmdqs(void **state);

/* For main.c: end the program if a suite takes a quarter of an hour, times the scale. */
void test_watchdog_start(void);
void test_watchdog_watch(const char *suite);

#endif /* TEST_H */
