/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Calls for listeners that wait: none delays another one, nor a grace period. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "iopf_stats.h"
#include "listener.h"
#include "listener_rig.h"
#include "rcu.h"
#include "test.h"

static _Atomic bool has_run;

/* Run @p fn on a thread, which sets has_run. False: it has not within ten seconds. */
static bool
run_on_thread(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	has_run = false;
	assert_int_equal(pthread_create(thread, NULL, fn, arg), 0);
	for (unsigned int i = 0; i < 10000 && !has_run; i++)
		usleep(1000);
	return has_run;
}

static void *
wait_for_sections(void *arg)
{
	(void)arg;
	iopf_quiesce();
	has_run = true;
	return NULL;
}

static unsigned int nb_waits;
static bool has_waited;
static pthread_t waiter;

/* The file of a dump: a grace period may end while it blocks. */
static ssize_t
write_slowly(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	if (nb_waits == 0 && memmem(text, len, "listener", strlen("listener")) != NULL) {
		nb_waits++;
		has_waited = run_on_thread(&waiter, wait_for_sections, NULL);
	}
	return len;
}

static void
test_a_dump_to_a_slow_file_delays_no_grace_period(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .size = 2 });
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = write_slowly });

	(void)state;
	assert_non_null(f);
	setvbuf(f, NULL, _IONBF, 0);
	nb_waits = 0;
	iopf_iommu_dump(one.iommu, f);
	fclose(f);
	assert_int_equal(nb_waits, 1);
	pthread_join(waiter, NULL);
	assert_true(has_waited);
	assert_int_equal(iopf_listener_close(l), 0);
}

static void *
end_listeners(void *arg)
{
	iopf_listeners_end(one.iommu, arg);
	return NULL;
}

static void *
open_listener(void *arg)
{
	*(struct iopf_listener **)arg = listen_with((struct iopf_listener_conf){ .size = 2 });
	has_run = true;
	return NULL;
}

/* As by the removal of a device, while a handler of another IOMMU does not return. */
static void
test_the_end_of_a_listener_delays_no_other_one(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .size = 2,
			.dev = one.dev });
	struct iopf_listener *other = NULL;
	pthread_t ends, opens;
	bool has_opened;

	(void)state;
	iopf_rcu_read_lock();
	assert_int_equal(pthread_create(&ends, NULL, end_listeners, one.dev), 0);
	for (unsigned int i = 0; i < 10000 && iopf_listener_get(one.iommu, 0) == l; i++)
		usleep(1000);
	has_opened = run_on_thread(&opens, open_listener, &other);
	iopf_rcu_read_unlock();
	pthread_join(ends, NULL);
	pthread_join(opens, NULL);
	assert_true(has_opened);
	assert_int_equal(iopf_listener_read(l, NULL, 0), -ENODEV);
	assert_int_equal(iopf_listener_close(l), 0);
	assert_int_equal(iopf_listener_close(other), 0);
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(test_a_dump_to_a_slow_file_delays_no_grace_period),
	ONE_TEST(test_the_end_of_a_listener_delays_no_other_one),
};

TEST_SUITE(listener_waits, tests, NULL, NULL);
