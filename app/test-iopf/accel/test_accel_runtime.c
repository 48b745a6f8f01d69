/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The runtime of examples/accel: order, events, devices that share memory, a budget, errors. */

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/accel/accel_device.h"

#include "test.h"

#define RW		(MMEM_READ | MMEM_WRITE)
#define SIZE		((size_t)2 << 20)
#define NB_WORDS	(SIZE / sizeof(uint64_t))
/* What a device has of the words at a time. */
#define PART		((size_t)4096)

static struct accel *accel;
static struct accel_queue *queues[2][2];	/* [device][queue] */
static uint64_t *data;

static void
open_runtime(bool pri, size_t budget)
{
	struct accel_device *device;
	unsigned int i;

	accel = accel_create(&(struct accel_conf){ .size = 2 * SIZE, .pri = pri,
			.budget = budget });
	assert_non_null(accel);
	for (i = 0; i < 2; i++) {
		device = accel_open(accel);
		queues[i][0] = accel_queue_create(device);
		queues[i][1] = accel_queue_create(device);
		assert_non_null(queues[i][1]);
	}
	data = accel_malloc_managed(accel, SIZE, RW);
	assert_non_null(data);
}

static int
teardown(void **state)
{
	(void)state;
	accel_destroy(accel);
	accel = NULL;
	return 0;
}

static void
close_runtime(void)
{
	struct accel_figures f;

	accel_get_figures(accel, &f);
	assert_int_equal(f.mistakes, 0);
	teardown(NULL);
}

struct range {
	size_t begin;
	size_t end;
};

/* A kernel: word = 2 * word + 1. */
static int
double_words(struct accel_queue *queue, void *args)
{
	uint64_t *local = accel_local(queue, PART * sizeof(*local));
	const struct range *r = args;
	size_t i, j, n;

	for (i = r->begin; i < r->end; i += PART) {
		n = (r->end - i < PART ? r->end - i : PART) * sizeof(*local);
		if (accel_load(queue, local, data + i, n) < 0)
			return -1;
		for (j = 0; j < n / sizeof(*local); j++)
			local[j] = 2 * local[j] + 1;
		if (accel_store(queue, data + i, local, n) < 0)
			return -1;
	}
	return 0;
}

static void
expect_words(unsigned int times)
{
	uint64_t word;
	unsigned int k;
	size_t i;

	for (i = 0; i < NB_WORDS; i++) {
		for (word = i, k = 0; k < times; k++)
			word = 2 * word + 1;
		assert_int_equal(data[i], word);
	}
}

/* Each queue of each device doubles a quarter, then the next one, ... */
static void
double_on_all(unsigned int rounds)
{
	struct range quarters[4];
	struct accel_event done[4] = { 0 };
	unsigned int i, k;

	for (i = 0; i < NB_WORDS; i++)
		data[i] = i;
	for (i = 0; i < 4; i++)
		quarters[i] = (struct range){ i * NB_WORDS / 4, (i + 1) * NB_WORDS / 4 };
	for (k = 0; k < rounds; k++) {
		for (i = 0; i < 4; i++) {
			struct accel_queue *queue = queues[(i + k) % 4 / 2][(i + k) % 2];

			assert_int_equal(accel_event_delay(&done[i], queue), 0);
			assert_int_equal(accel_launch(queue, double_words, &quarters[i]), 0);
			assert_int_equal(accel_event_record(&done[i], queue), 0);
		}
	}
	for (i = 0; i < 4; i++)
		assert_int_equal(accel_event_wait(&done[i]), 0);
	expect_words(rounds);
}

static void
test_devices_and_queues_share_pointers_and_bytes(void **state)
{
	(void)state;
	open_runtime(false, 0);
	double_on_all(6);
	close_runtime();
}

static void
test_devices_with_page_requests_share_them_too(void **state)
{
	(void)state;
	open_runtime(true, 0);
	double_on_all(6);
	close_runtime();
}

static void
test_data_of_four_times_the_budget_stays_intact(void **state)
{
	struct accel_figures f;

	(void)state;
	open_runtime(false, SIZE / 4);
	double_on_all(4);
	accel_get_figures(accel, &f);
	assert_true(f.evicted > 0);
	close_runtime();
}

static atomic_uint nb_run;
static atomic_bool gate;

/* Kernels that note their order. */
static int
note_order(struct accel_queue *queue, void *args)
{
	(void)queue;
	*(unsigned int *)args = atomic_fetch_add(&nb_run, 1);
	return 0;
}

static int
wait_for_gate(struct accel_queue *queue, void *args)
{
	while (!atomic_load(&gate))
		sched_yield();
	return note_order(queue, args);
}

static int
fail_at_once(struct accel_queue *queue, void *args)
{
	(void)queue;
	(void)args;
	return -1;
}

static void
open_gate_late(void)
{
	unsigned int i;

	/* Time for a kernel that must not run. */
	for (i = 0; i < 1000; i++)
		sched_yield();
	atomic_store(&gate, true);
}

static void
test_kernels_of_a_queue_run_in_order(void **state)
{
	/* More than a queue holds. */
	unsigned int order[200], i;

	(void)state;
	open_runtime(false, 0);
	atomic_store(&nb_run, 0);
	for (i = 0; i < 200; i++)
		assert_int_equal(accel_launch(queues[0][0], note_order, &order[i]), 0);
	assert_int_equal(accel_wait(queues[0][0]), 0);
	for (i = 0; i < 200; i++)
		assert_int_equal(order[i], i);
	close_runtime();
}

static void
test_an_event_delays_the_queue_of_another_device(void **state)
{
	struct accel_event event = { 0 };
	unsigned int first, second;

	(void)state;
	open_runtime(false, 0);
	atomic_store(&nb_run, 0);
	atomic_store(&gate, false);
	assert_int_equal(accel_launch(queues[0][0], wait_for_gate, &first), 0);
	assert_int_equal(accel_event_record(&event, queues[0][0]), 0);
	assert_int_equal(accel_event_delay(&event, queues[1][1]), 0);
	assert_int_equal(accel_launch(queues[1][1], note_order, &second), 0);
	open_gate_late();
	assert_int_equal(accel_wait(queues[1][1]), 0);
	assert_int_equal(first, 0);
	assert_int_equal(second, 1);
	close_runtime();
}

static void
test_an_event_is_waited_for_on_the_host(void **state)
{
	struct accel_event before = { 0 }, after = { 0 }, never = { 0 };
	struct range all = { 0, NB_WORDS };
	size_t i;

	(void)state;
	open_runtime(false, 0);
	for (i = 0; i < NB_WORDS; i++)
		data[i] = i;
	assert_int_equal(accel_event_wait(&never), 0);
	assert_int_equal(accel_event_delay(&never, queues[0][0]), 0);
	assert_int_equal(accel_event_record(&before, queues[0][0]), 0);
	assert_int_equal(accel_launch(queues[0][0], double_words, &all), 0);
	assert_int_equal(accel_event_record(&after, queues[0][0]), 0);
	assert_int_equal(accel_event_wait(&after), 0);
	expect_words(1);
	assert_true(accel_event_seconds(&before, &after) > 0);
	close_runtime();
}

static void
test_after_an_error_no_kernel_starts_and_waits_fail(void **state)
{
	struct accel_event event = { 0 };
	unsigned int order;

	(void)state;
	open_runtime(false, 0);
	atomic_store(&nb_run, 0);
	accel_launch(queues[0][0], fail_at_once, NULL);
	accel_event_record(&event, queues[0][0]);
	accel_event_delay(&event, queues[1][0]);
	accel_launch(queues[1][0], note_order, &order);
	accel_launch(queues[0][0], note_order, &order);
	assert_int_equal(accel_wait(queues[0][0]), -1);
	assert_int_equal(accel_wait(queues[1][0]), -1);
	assert_int_equal(accel_event_wait(&event), -1);
	assert_int_equal(atomic_load(&nb_run), 0);
	close_runtime();
}

static int
read_beyond(struct accel_queue *queue, void *args)
{
	char *local = accel_local(queue, 8);

	return accel_load(queue, local, args, 8);
}

static void
test_an_access_to_freed_memory_is_an_error(void **state)
{
	(void)state;
	open_runtime(false, 0);
	assert_int_equal(accel_free(accel, data), 0);
	accel_launch(queues[0][1], read_beyond, data);
	assert_int_equal(accel_wait(queues[0][1]), -1);
	close_runtime();
}

static void
test_a_prefetch_comes_in_its_turn_and_leaves_no_faults(void **state)
{
	struct range all = { 0, NB_WORDS };
	struct accel_figures f;
	size_t i;

	(void)state;
	open_runtime(false, 0);
	for (i = 0; i < NB_WORDS; i++)
		data[i] = i;
	assert_int_equal(accel_advise(accel, data, SIZE, MMEM_ADVISE_SEQUENTIAL), 0);
	assert_int_equal(accel_prefetch(queues[0][0], data, SIZE), 0);
	assert_int_equal(accel_launch(queues[0][0], double_words, &all), 0);
	assert_int_equal(accel_wait(queues[0][0]), 0);
	expect_words(1);
	accel_get_figures(accel, &f);
	assert_int_equal(f.faults, 0);
	assert_int_equal(f.prefetched, f.touched);
	close_runtime();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_devices_and_queues_share_pointers_and_bytes, teardown),
	cmocka_unit_test_teardown(test_devices_with_page_requests_share_them_too, teardown),
	cmocka_unit_test_teardown(test_data_of_four_times_the_budget_stays_intact, teardown),
	cmocka_unit_test_teardown(test_kernels_of_a_queue_run_in_order, teardown),
	cmocka_unit_test_teardown(test_an_event_delays_the_queue_of_another_device, teardown),
	cmocka_unit_test_teardown(test_an_event_is_waited_for_on_the_host, teardown),
	cmocka_unit_test_teardown(test_after_an_error_no_kernel_starts_and_waits_fail, teardown),
	cmocka_unit_test_teardown(test_an_access_to_freed_memory_is_an_error, teardown),
	cmocka_unit_test_teardown(test_a_prefetch_comes_in_its_turn_and_leaves_no_faults, teardown),
};

TEST_SUITE(accel_runtime, tests, NULL, NULL);
