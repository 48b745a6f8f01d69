/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The open loop of iopf-bench leaves no fault out, however late the servicer is. */

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>

#include "bench_rig.h"
#include "test.h"

#define FAULTS		4096
#define PER_MS		100	/* faults */
#define DELAY_MS	20

static struct bench_conf conf;
static struct cell cell;
static uint64_t due[65536];

/* A servicer that starts DELAY_MS after the first stall. */
static struct mode_ops late_ops;
static pthread_t late_thread;
static struct mode late_mode;

static void *
start_later(void *arg)
{
	struct timespec delay = { .tv_nsec = DELAY_MS * 1000000L };
	struct mode *mode = arg;

	while (smmuv3_model_stat(mode->model, SMMUV3_MODEL_STAT_STALLS) == 0)
		sched_yield();
	while (nanosleep(&delay, &delay) != 0)
		;
	mode_null.start(mode);
	return NULL;
}

static int
late_start(struct mode *mode)
{
	/* The generator reads the CPU time of a mode that has started. */
	late_mode = *mode;
	return -pthread_create(&late_thread, NULL, start_later, &late_mode);
}

static void
late_stop(struct mode *mode)
{
	pthread_join(late_thread, NULL);
	mode_null.stop(mode);
}

static void
each_fault_is_timed_from_when_it_was_due(void **state)
{
	struct bench_case c = { .kind = CASE_OPEN, .arrival = ARRIVAL_CONSTANT, .name = "late" };
	double per_ms = (double)rte_get_tsc_hz() / 1000;
	uint64_t slow = 0;
	unsigned int i;

	(void)state;
	bench_rig_set_conf(&conf, FAULTS);
	late_ops = mode_null;
	late_ops.start = late_start;
	late_ops.stop = late_stop;
	bench_rig_open(&late_ops, &conf);
	assert_int_equal(0, open_run(&bench_mode, &conf, &c, PER_MS / per_ms, 1, &cell));
	bench_rig_close();

	assert_int_equal(FAULTS - FAULTS / BENCH_WARM_SHARE, cell.service.samples);
	assert_int_equal(cell.service.samples, cell.whole.samples);
	assert_int_equal(cell.service.samples, cell.lag.samples);
	/* All faults of the first half of the delay: more than the device has places. */
	for (i = 0; i < HIST_BUCKETS; i++)
		if ((double)hist_get_upper(i) >= DELAY_MS / 2 * per_ms)
			slow += cell.service.count[i];
	assert_true(slow >= DELAY_MS / 2 * PER_MS - FAULTS / BENCH_WARM_SHARE);
	/* It has named no thread. */
	assert_true(cell.cpu < 0 && cell.busy < 0);
}

static void
constant_arrivals_are_an_interval_apart(void **state)
{
	unsigned int i;

	(void)state;
	open_make_schedule(due, 65536, 1000.25, ARRIVAL_CONSTANT, 1);
	for (i = 0; i < 65536; i++)
		assert_int_equal((uint64_t)(1000.25 * i), due[i]);
}

/* For each seed the same; mean and standard deviation of the times between are the interval. */
static void
poisson_arrivals_have_exponential_distances(void **state)
{
	double gap, sum = 0, squares = 0;
	unsigned int i, long_ones = 0;
	uint64_t last;

	(void)state;
	open_make_schedule(due, 65536, 1000, ARRIVAL_POISSON, 7);
	assert_int_equal(0, due[0]);
	for (i = 1; i < 65536; i++) {
		assert_true(due[i] >= due[i - 1]);
		gap = (double)(due[i] - due[i - 1]);
		sum += gap;
		squares += gap * gap;
		long_ones += gap > 3000;
	}
	sum /= 65535;
	assert_true(fabs(sum - 1000) < 20);
	assert_true(fabs(sqrt(squares / 65535 - sum * sum) - 1000) < 30);
	assert_true(fabs(long_ones / 65535. - exp(-3)) < 0.005);

	last = due[65535];
	open_make_schedule(due, 65536, 1000, ARRIVAL_POISSON, 7);
	assert_int_equal(last, due[65535]);
	open_make_schedule(due, 65536, 1000, ARRIVAL_POISSON, 8);
	assert_int_not_equal(last, due[65535]);
}

static void
a_late_generator_says_so(void **state)
{
	(void)state;
	memset(&cell, 0, sizeof(cell));
	cell.interval = 100;
	hist_add(&cell.lag, OPEN_LATE * 100 / 2);
	assert_true(open_kept_up(&cell));
	hist_add(&cell.lag, OPEN_LATE * 100 * 2);
	hist_add(&cell.lag, OPEN_LATE * 100 * 2);
	assert_false(open_kept_up(&cell));
}

static unsigned int
find_case(enum case_kind kind, const struct mode_ops *ops, unsigned int load)
{
	unsigned int i;

	for (i = 0; i < conf.nb_cases; i++)
		if (conf.cases[i].kind == kind && conf.cases[i].load == load &&
				bench_modes[conf.modes[conf.cases[i].mode]] == ops)
			return i;
	fail();
	return 0;
}

static void
set_modes(const struct mode_ops *const *ops, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < bench_nb_modes; i++)
		for (unsigned int k = 0; k < n; k++)
			if (bench_modes[i] == ops[k])
				conf.modes[conf.nb_modes++] = i;
	assert_int_equal(n, conf.nb_modes);
}

static void
empty_passes_are_not_busy(void **state)
{
	(void)state;
	assert_true(fabs(cpu_get_busy(1e6, 0, 25) - 1e6) < 1);
	assert_true(fabs(cpu_get_busy(1e6, 30000, 25) - 25e4) < 1);
	/* An empty pass was slower when it was measured. */
	assert_true(cpu_get_busy(1e6, 40001, 25) < 1);
}

static void
unknown_cpu_shares_are_in_no_median(void **state)
{
	static struct cell cells[4];
	struct round rounds[4] = { { .counted = true }, { .counted = true }, { .counted = true },
		{ .counted = false } };
	struct results res = { .conf = &conf, .rounds = rounds, .cells = cells };

	(void)state;
	bench_rig_set_conf(&conf, FAULTS);
	conf.rounds = 4;
	conf.nb_cases = 1;
	for (unsigned int i = 0; i < 4; i++)
		cells[i].busy = i == 1 ? -1 : 0.25 * (i + 1);
	assert_int_equal(2, results_get_spread(&res, 0, METRIC_BUSY).rounds);
	assert_true(fabs(results_get_spread(&res, 0, METRIC_BUSY).median - 0.5) < 1e-9);
}

/* A poll thread has counted its empty passes; a servicer that sleeps makes none. */
static void
check_cpu(const struct cell *cell, const struct mode_ops *ops)
{
	assert_true(cell->cpu > 0);
	if (ops == &mode_eventfd)
		assert_true(fabs(cell->busy - cell->cpu) < 1e-9);
	else
		assert_true(cell->busy >= 0 && cell->busy <= cell->cpu);
}

static void
each_mode_serves_each_fault_at_a_rate(void **state)
{
	static const struct mode_ops *const modes[] = { &mode_polled, &mode_null, &mode_pri,
		&mode_eventfd };
	struct results res;
	unsigned int i, want;

	(void)state;
	bench_rig_set_conf(&conf, FAULTS);
	conf.faults = 1024;
	set_modes(modes, 4);
	conf.loads[0] = 50;
	conf.loads[1] = 120;
	conf.nb_loads = 2;
	cases_make(&conf);
	assert_int_equal(4 * 3, conf.nb_cases);
	assert_int_equal(0, cases_run(&conf, &res));
	for (i = 0; i < conf.nb_cases; i++) {
		want = conf.faults - conf.faults / BENCH_WARM_SHARE;
		assert_int_equal(want, results_get_cell(&res, 0, i)->service.samples);
		check_cpu(results_get_cell(&res, 0, i), bench_modes[conf.modes[conf.cases[i].mode]]);
	}
	results_free(&res);
	assert_string_equal("", bench_stub_error);
}

/* Cells of a thousand faults in a thousand intervals of 2^28 cycles. */
static void
rates_are_shares_of_the_capacity(void **state)
{
	static const struct mode_ops *const modes[] = { &mode_polled, &mode_null, &mode_pri };
	const double per_cycle = 1.0 / (1 << 28);
	struct results res = { .conf = &conf, .cycles_per_ns = 3 };
	static struct cell cells[6];
	unsigned int at;

	(void)state;
	bench_rig_set_conf(&conf, FAULTS);
	set_modes(modes, 3);
	conf.loads[0] = 50;
	conf.nb_loads = 1;
	cases_make(&conf);
	assert_int_equal(6, conf.nb_cases);
	res.cells = cells;
	for (at = 0; at < 6; at++) {
		cells[at].service.samples = 1000;
		cells[at].cycles = UINT64_C(1000) << 28;
	}
	cells[find_case(CASE_OPEN_MAX, &mode_polled, 0)].service.samples *= 4;
	cells[find_case(CASE_OPEN_MAX, &mode_null, 0)].service.samples *= 2;
	at = find_case(CASE_OPEN, &mode_pri, 50);
	assert_true(fabs(cases_get_rate(&res, 0, at) / per_cycle - 0.5) < 1e-9);
	/* These two get the same rate, that of the slower one. */
	at = find_case(CASE_OPEN, &mode_polled, 50);
	assert_true(fabs(cases_get_rate(&res, 0, at) / per_cycle - 1) < 1e-9);
	at = find_case(CASE_OPEN, &mode_null, 50);
	assert_true(fabs(cases_get_rate(&res, 0, at) / per_cycle - 1) < 1e-9);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(each_fault_is_timed_from_when_it_was_due, bench_rig_teardown),
	cmocka_unit_test(constant_arrivals_are_an_interval_apart),
	cmocka_unit_test(poisson_arrivals_have_exponential_distances),
	cmocka_unit_test(a_late_generator_says_so),
	cmocka_unit_test(rates_are_shares_of_the_capacity),
	cmocka_unit_test(empty_passes_are_not_busy),
	cmocka_unit_test(unknown_cpu_shares_are_in_no_median),
	cmocka_unit_test(each_mode_serves_each_fault_at_a_rate),
};

TEST_SUITE(bench_open, tests, NULL, NULL);
