/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * test-iopf [EAL options --] [--list] [suite ...]
 *
 * Runs the suites named, or all, in one process, and ends with a line
 * "N passed, N failed, N skipped". Exits with 1 if one failed.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "test.h"

#define MAX_EAL_ARGS 32

static struct test_suite *suites;
static unsigned int nb_skipped;
static char runtime_dir[256];
static pid_t run_pid;		/* that started EAL with a runtime directory of its own */
void (*test_before_eal)(void);
const char *(*test_find_obstacle)(const char *suite, const char *test);

void
test_suite_register(struct test_suite *suite)
{
	struct test_suite **at = &suites;

	while (*at != NULL && strcmp((*at)->name, suite->name) < 0)
		at = &(*at)->next;
	suite->next = *at;
	*at = suite;
}

void
test_skip(const char *why)
{
	nb_skipped++;
	print_message("skipped: %s\n", why);
	skip();
}

unsigned int
test_scale(void)
{
	const char *s = getenv("IOPF_TEST_SCALE");
	int n = s != NULL ? atoi(s) : 1;

	return n > 0 ? n : 1;
}

uint32_t
test_seed(const char *what)
{
	const char *s = getenv("IOPF_TEST_SEED");
	uint32_t seed = s != NULL ? (uint32_t)strtoul(s, NULL, 0) : (uint32_t)rte_rdtsc();

	if (seed == 0)
		seed = 1;
	print_message("%s: IOPF_TEST_SEED=%u\n", what, seed);
	return seed;
}

static struct test_suite *
find_suite(const char *name)
{
	struct test_suite *suite = suites;

	while (suite != NULL && strcmp(suite->name, name) != 0)
		suite = suite->next;
	return suite;
}

static void
remove_runtime_dir(void)
{
	/* A forked child must leave the directory to its parent. */
	if (getpid() == run_pid && rmdir(runtime_dir) != 0 && errno != ENOENT)
		fprintf(stderr, "test-iopf: cannot remove %s: %s\n", runtime_dir, strerror(errno));
}

static int
start_eal(const char *program, int argc, char **argv)
{
	static char prefix[64];
	static char *defaults[] = {
		"test-iopf", "--no-huge", "-m", "256", "--no-pci", "--no-shconf", prefix,
		"--log-level=7", NULL,
	};
	int ret;

	if (argc > 0) {
		char *args[MAX_EAL_ARGS + 2] = { (char *)(uintptr_t)program };

		memcpy(&args[1], argv, argc * sizeof(args[0]));
		return rte_eal_init(argc + 1, args);
	}
	/*
	 * Each run has a runtime directory of its own, for the telemetry socket. The files of a
	 * shared configuration would outlive rte_eal_cleanup().
	 */
	run_pid = getpid();
	snprintf(prefix, sizeof(prefix), "--file-prefix=test-iopf-%d", run_pid);
	/* Handlers run in reverse order: EAL registers the one that removes the socket later. */
	atexit(remove_runtime_dir);
	ret = rte_eal_init(RTE_DIM(defaults) - 1, defaults);
	snprintf(runtime_dir, sizeof(runtime_dir), "%s", rte_eal_get_runtime_dir());
	return ret;
}

/*
 * EAL pins this thread, and the threads that it makes later, to one processor. Races would then run
 * on one processor.
 */
static int
init_eal(const char *program, int argc, char **argv)
{
	cpu_set_t cpus;
	int ret;

	CPU_ZERO(&cpus);
	pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	ret = start_eal(program, argc, argv);
	if (CPU_COUNT(&cpus) > 0)
		pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	return ret;
}

static void
skip_for_obstacle(void **state)
{
	test_skip(*state);
}

/* The suite's tests, those with an obstacle replaced. */
static struct CMUnitTest *
copy_tests(const struct test_suite *suite)
{
	struct CMUnitTest *tests = calloc(suite->nb_tests, sizeof(*tests));

	if (tests == NULL)
		abort();
	for (size_t i = 0; i < suite->nb_tests; i++) {
		const char *why = test_find_obstacle == NULL ? NULL :
			test_find_obstacle(suite->name, suite->tests[i].name);

		tests[i] = suite->tests[i];
		if (why != NULL)
			tests[i] = (struct CMUnitTest){ .name = tests[i].name,
				.test_func = skip_for_obstacle,
				.initial_state = (void *)(uintptr_t)why };
	}
	return tests;
}

static int
run(const struct test_suite *suite, size_t *passed, size_t *failed)
{
	struct CMUnitTest *tests = copy_tests(suite);
	unsigned int skipped = nb_skipped;
	int bad;

	test_watchdog_watch(suite->name);
	bad = _cmocka_run_group_tests(suite->name, tests, suite->nb_tests, suite->setup,
			suite->teardown);
	free(tests);
	if (bad < 0 || (size_t)bad > suite->nb_tests)
		bad = suite->nb_tests;
	*failed += bad;
	*passed += suite->nb_tests - bad - (nb_skipped - skipped);
	return bad;
}

int
main(int argc, char **argv)
{
	size_t passed = 0, failed = 0;
	int nb_eal = 0, first = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			nb_eal = i - 1;
			first = i + 1;
			break;
		}
	}
	if (nb_eal > MAX_EAL_ARGS) {
		fprintf(stderr, "test-iopf: %d EAL options; at most %d\n", nb_eal, MAX_EAL_ARGS);
		return 2;
	}
	for (int i = first; i < argc; i++) {
		if (strcmp(argv[i], "--list") == 0) {
			for (struct test_suite *s = suites; s != NULL; s = s->next)
				printf("%s\n", s->name);
			return 0;
		}
		if (strcmp(argv[i], "--help") == 0) {
			printf("Usage: test-iopf [EAL options --] [--list] [suite ...]\n"
					"Runs the suites named, or all. IOPF_TEST_SCALE=N makes "
					"the soak and race tests N times as long.\n"
					"IOPF_TEST_SEED=N repeats their choices. IOPF_TEST_ECMDQ=1 "
					"gives the software SMMUs ECMDQs.\n");
			return 0;
		}
		if (find_suite(argv[i]) == NULL) {
			fprintf(stderr, "test-iopf: there is no suite \"%s\"; --list names them\n",
					argv[i]);
			return 2;
		}
	}
	if (test_before_eal != NULL)
		test_before_eal();
	if (init_eal(argv[0], nb_eal, &argv[1]) < 0) {
		fprintf(stderr, "test-iopf: EAL did not start: %s\n", rte_strerror(rte_errno));
		return 2;
	}
	test_watchdog_start();
	if (first == argc)
		for (struct test_suite *s = suites; s != NULL; s = s->next)
			run(s, &passed, &failed);
	for (int i = first; i < argc; i++)
		run(find_suite(argv[i]), &passed, &failed);
	rte_eal_cleanup();
	printf("%zu passed, %zu failed, %u skipped\n", passed, failed, nb_skipped);
	return failed != 0;
}
