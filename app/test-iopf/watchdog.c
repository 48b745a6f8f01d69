/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Ends the program if a suite does not end: some tests wait in loops without a bound for what a
 * defect may prevent. The time is far beyond that of each suite, in a guest too: no test measures
 * with it.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#define SUITE_S	900	/* with IOPF_TEST_SCALE = 1 */

static _Atomic(const char *) watched;	/* NULL: no suite runs */
static _Atomic time_t began;

static time_t
get_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void *
watchdog_main(void *arg)
{
	time_t limit = (time_t)SUITE_S * test_scale();

	(void)arg;
	for (;;) {
		const char *suite = watched;

		if (suite != NULL && get_seconds() - began > limit) {
			fprintf(stderr, "test-iopf: suite %s has not ended after %lld s: it is "
					"ended with all threads\n", suite, (long long)limit);
			abort();
		}
		sleep(1);
	}
	return NULL;
}

void
test_watchdog_start(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, watchdog_main, NULL) == 0)
		pthread_detach(thread);
}

void
test_watchdog_watch(const char *suite)
{
	began = get_seconds();
	watched = suite;
}
