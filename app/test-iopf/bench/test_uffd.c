/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The mode "uffd": each fault is resolved once, and its ratios are those of the best variant. */

#include <pthread.h>
#include <string.h>

#include "bench_rig.h"
#include "test.h"
#include "uffd.h"

#define FAULTS	256

static struct bench_conf conf;
static struct uffd uffd = { .fd = -1 };

static void
skip_without_userfaultfd(void)
{
	const char *why = uffd_find_obstacle();

	if (why != NULL)
		test_skip(why);
}

static void
set_modes(const struct mode_ops *other)
{
	unsigned int i;

	bench_rig_set_conf(&conf, FAULTS);
	conf.open = false;
	conf.closed = true;
	/* A cell ends early where the threads wait for a CPU. */
	conf.budget_ms = 800;
	for (i = 0; i < bench_nb_modes; i++)
		if (bench_modes[i] == &mode_uffd || bench_modes[i] == other)
			conf.modes[conf.nb_modes++] = i;
}

static void
each_variant_resolves_each_fault_once(void **state)
{
	struct results res;
	unsigned int i;

	(void)state;
	skip_without_userfaultfd();
	set_modes(NULL);
	conf.depths[0] = 1;
	conf.depths[1] = 3;
	conf.depths[2] = 64;
	conf.nb_depths = 3;
	conf.rounds = 2;
	cases_make(&conf);
	/* Not with more threads than a variant allows. */
	assert_int_equal(8 + 8 + 4, conf.nb_cases);
	for (i = 0; i < 2; i++) {
		assert_int_equal(0, cases_run(&conf, &res));
		assert_int_equal(2, res.nb_rounds);
		results_free(&res);
		conf.zero_inline = true;
	}
	assert_string_equal("", bench_stub_error);
}

static void *
run_handler(void *arg)
{
	while (uffd_serve(arg) >= 0)
		;
	return NULL;
}

static int
close_region(void **state)
{
	(void)state;
	uffd_close(&uffd);
	return 0;
}

static void
a_page_faults_once_until_it_is_unmapped(void **state)
{
	pthread_t handler;
	unsigned int i, k;

	(void)state;
	skip_without_userfaultfd();
	for (i = 0; i < 2; i++) {
		assert_int_equal(0, uffd_open(&uffd, i == 1, 4, false));
		for (k = 0; k < 2; k++) {
			assert_int_equal(0, pthread_create(&handler, NULL, run_handler, &uffd));
			uffd.mem[BENCH_PAGE_SIZE] = 1;
			uffd.mem[BENCH_PAGE_SIZE + 1] = 2;
			uffd_end_handler(&uffd);
			assert_int_equal(0, pthread_join(handler, NULL));
			assert_int_equal(0, uffd.resolved[0]);
			assert_int_equal(1, uffd.resolved[1]);
			assert_true(uffd_holds_its_words(&uffd, 1));
			uffd.mem[2 * BENCH_PAGE_SIZE - 1] ^= 1;
			assert_false(uffd_holds_its_words(&uffd, 1));
			uffd.mem[2 * BENCH_PAGE_SIZE - 1] ^= 1;
			assert_int_equal(0, uffd_unmap_pages(&uffd));
			assert_int_equal(0, uffd.resolved[1]);
		}
		assert_int_equal(0, uffd.error);
		assert_int_equal(0, uffd.strange);
		uffd_close(&uffd);
	}
}

static void
set_times(struct results *res, unsigned int at, const uint64_t *cycles)
{
	unsigned int r;

	for (r = 0; r < conf.rounds; r++) {
		struct cell *cell = results_get_cell(res, r, at);

		hist_add(&cell->service, cycles[r]);
		hist_add(&cell->whole, 2 * cycles[r]);
		cell->cycles = cycles[r];
	}
}

static const struct ratio *
find_ratio(const struct ratio *ratios, unsigned int n, const char *name)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (strcmp(ratios[i].name, name) == 0)
			return &ratios[i];
	fail_msg("there is no ratio %s", name);
	return NULL;
}

static void
the_ratios_are_of_the_variant_that_is_best_over_all_rounds(void **state)
{
	/* The second variant has the lowest time of all, in one round. */
	static const uint64_t times[3][3] = { { 20, 20, 20 }, { 30, 30, 4 }, { 40, 40, 40 } };
	static const uint64_t polled[3] = { 1, 1, 2 };
	static const uint64_t drains[2][3] = { { 90, 90, 90 }, { 63, 63, 63 } };
	static const uint64_t drain[3] = { 3, 3, 3 };
	static struct round rounds[3] = { { .counted = true }, { .counted = true },
		{ .counted = true } };
	static struct ratio ratios[BENCH_MAX_RATIOS];
	static struct cell cells[3 * 64];
	struct results res = { .conf = &conf, .cycles_per_ns = 1, .rounds = rounds,
		.cells = cells, .nb_rounds = 3, .nb_counted = 3 };
	unsigned int i, n, slow = 0, slow_drain = 0;
	const struct ratio *ratio;

	(void)state;
	set_modes(&mode_polled);
	conf.depths[0] = 1;
	conf.nb_depths = 1;
	conf.rounds = 3;
	cases_make(&conf);
	for (i = 0; i < conf.nb_cases; i++) {
		const struct bench_case *c = &conf.cases[i];
		bool is_uffd = strcmp("uffd", results_get_mode(&res, c->mode)) == 0;

		if (c->kind == CASE_CLOSED)
			set_times(&res, i, is_uffd ? times[slow] : polled);
		else
			set_times(&res, i, is_uffd ? drains[slow_drain] : drain);
		slow += is_uffd && c->kind == CASE_CLOSED && slow < 2;
		slow_drain += is_uffd && c->kind == CASE_DRAIN && slow_drain < 1;
	}
	/* The rates of the closed loop are lower. */
	for (i = 0; i < 3 * conf.nb_cases; i++)
		if (conf.cases[i % conf.nb_cases].kind == CASE_CLOSED)
			cells[i].cycles *= 1000;
	ratios_choose_variants(&res);
	n = ratios_make(&res, ratios);
	ratio = find_ratio(ratios, n, "p50_uffd_over_polled");
	assert_string_equal("uffd_continue_same_block_d1", ratio->variant);
	assert_int_equal(20, (int)ratio->all.median);
	assert_int_equal(10, (int)ratio->all.min);
	assert_true(ratio_is_met(ratio));
	ratio = find_ratio(ratios, n, "end_to_end_p50_uffd_over_polled");
	assert_int_equal(20, (int)ratio->all.median);
	ratio = find_ratio(ratios, n, "capacity_polled_over_uffd");
	assert_string_equal("uffd_zeropage_same_block_drain", ratio->variant);
	assert_int_equal(21, (int)(ratio->all.median + 0.5));
	assert_true(ratio_is_met(ratio));
}

static void
a_target_is_met_at_its_limit_and_not_beyond(void **state)
{
	struct ratio least = { .at_least = 15, .all = { .median = 15 } };
	struct ratio most = { .at_most = 2, .all = { .median = 2 } };

	(void)state;
	assert_true(ratio_is_met(&least));
	assert_true(ratio_is_met(&most));
	least.all.median -= 0.1;
	most.all.median += 0.1;
	assert_false(ratio_is_met(&least));
	assert_false(ratio_is_met(&most));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_variant_resolves_each_fault_once),
	cmocka_unit_test_teardown(a_page_faults_once_until_it_is_unmapped, close_region),
	cmocka_unit_test(the_ratios_are_of_the_variant_that_is_best_over_all_rounds),
	cmocka_unit_test(a_target_is_met_at_its_limit_and_not_beyond),
};

TEST_SUITE(bench_uffd, tests, NULL, NULL);
