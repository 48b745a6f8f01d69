/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Settings of the load of iopf-bench have the effect that they name. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_rig.h"
#include "mmio.h"
#include "options.h"
#include "smmuv3_order.h"
#include "smmuv3_spec.h"
#include "test.h"

#define FAULTS	512

static struct bench_conf conf;
static struct cell cell;

static void
set_conf(void)
{
	bench_rig_set_conf(&conf, FAULTS);
	conf.depths[0] = conf.max_depth = 8;
	conf.nb_depths = 1;
	conf.loads[0] = 50;
	conf.nb_loads = 1;
	conf.closed = true;
}

static void
run_cell(void)
{
	struct bench_case c = { .kind = CASE_OPEN_MAX, .name = "cell" };

	assert_int_equal(0, open_run(&bench_mode, &conf, &c, 0, 0, &cell));
}

static uint64_t
close_mode(enum smmuv3_model_stat stat)
{
	uint64_t value = smmuv3_model_stat(bench_mode.model, stat);

	bench_rig_close();
	return value;
}

/* All modes with an SMMU but those that wait for each other on one CPU for long. */
static void
run_all(bool pri)
{
	struct results res;
	unsigned int i;

	conf.nb_modes = 0;
	for (i = 0; i < bench_nb_modes; i++)
		if (bench_modes[i] != &mode_local && bench_modes[i]->run == NULL && (pri || !bench_modes[i]->requests))
			conf.modes[conf.nb_modes++] = i;
	conf.nb_cases = 0;
	cases_make(&conf);
	assert_int_equal(0, cases_run(&conf, &res));
	results_free(&res);
	assert_string_equal("", bench_stub_error);
}

static void
each_setting_serves_each_fault(void **state)
{
	static uint32_t reversed[FAULTS];
	unsigned int i;

	(void)state;
	for (i = 0; i < FAULTS; i++)
		reversed[i] = FAULTS - 1 - i;
	set_conf();
	conf.requesters = 5;
	conf.order = reversed;
	run_all(true);
	conf.sids = 3;
	conf.no_msi = true;
	run_all(false);
	conf.mmio_ns = 100;
	run_all(false);
	conf.mmio_ns = 0;
	conf.zero_pool = true;
	run_all(false);
	conf.zero_pool = false;
	conf.zero_inline = true;
	run_all(false);
	for (conf.idle = 1; conf.idle < BENCH_NB_IDLES; conf.idle++)
		run_all(false);
}

static void
requesters_use_each_stream_id(void **state)
{
	static const struct mode_ops *const modes[] = { &mode_null, &mode_polled };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		set_conf();
		bench_rig_open(modes[i], &conf);
		run_cell();
		assert_int_equal(1, close_mode(SMMUV3_MODEL_STAT_STE_FETCHES));
		conf.requesters = 64;
		conf.sids = 40;
		bench_rig_open(modes[i], &conf);
		run_cell();
		assert_int_equal(40, close_mode(SMMUV3_MODEL_STAT_STE_FETCHES));
	}
}

static void
without_msi_none_is_sent(void **state)
{
	(void)state;
	set_conf();
	bench_rig_open(&mode_polled, &conf);
	run_cell();
	assert_true(close_mode(SMMUV3_MODEL_STAT_MSIS) > 0);
	conf.no_msi = true;
	bench_rig_open(&mode_polled, &conf);
	run_cell();
	assert_int_equal(0, close_mode(SMMUV3_MODEL_STAT_MSIS));
}

/* Each servicer reads PROD to find its faults, but how often depends on the machine. */
static void
only_reads_of_registers_have_a_cost_and_only_if_asked_for(void **state)
{
	static const struct mode_ops *const modes[] = { &mode_null, &mode_eventfd, &mode_polled,
		&mode_pri };
	uint64_t before;
	unsigned int i, ns;

	(void)state;
	for (i = 0; i < 4; i++) {
		for (ns = 0; ns < 2; ns++) {
			set_conf();
			conf.mmio_ns = ns;
			bench_rig_open(modes[i], &conf);
			before = atomic_load(&mmio_nb_reads);
			run_cell();
			assert_int_equal(ns, atomic_load(&mmio_nb_reads) > before);
			close_mode(SMMUV3_MODEL_STAT_MSIS);
		}
	}
	mmio_set_ns(0);
}

static void
each_smmu_has_ats_and_pri_if_asked_for(void **state)
{
	static const struct mode_ops *const modes[] = { &mode_null, &mode_eventfd, &mode_polled,
		&mode_pri };
	unsigned int i, ats;
	uint32_t idr0;

	(void)state;
	for (i = 0; i < 4; i++) {
		for (ats = 0; ats < 2; ats++) {
			set_conf();
			conf.ats = ats;
			bench_rig_open(modes[i], &conf);
			idr0 = smmuv3_read32(smmuv3_model_regs(bench_mode.model), SMMUV3_IDR0);
			run_cell();
			close_mode(SMMUV3_MODEL_STAT_MSIS);
			assert_int_equal(ats || modes[i] == &mode_pri,
					(idr0 & SMMUV3_IDR0_ATS) != 0);
			assert_int_equal(ats || modes[i] == &mode_pri,
					(idr0 & SMMUV3_IDR0_PRI) != 0);
		}
	}
}

/*
 * The write to a page is a line that is the last one of each 64th page. A cell ends with an unmap:
 * a pool has then zeroed the pages for the next one.
 */
static void
only_zeroing_changes_other_bytes(void **state)
{
	static const struct mode_ops *const modes[] = { &mode_null, &mode_eventfd, &mode_polled };
	unsigned int i, zero;

	(void)state;
	for (i = 0; i < 3; i++) {
		for (zero = 0; zero < 3; zero++) {
			set_conf();
			conf.zero_pool = zero == 1;
			conf.zero_inline = zero == 2;
			bench_rig_open(modes[i], &conf);
			memset(bench_mode.mem, 0xa5, FAULTS * BENCH_PAGE_SIZE);
			run_cell();
			assert_int_equal(zero ? 0 : 0xa5, bench_mode.mem[BENCH_PAGE_SIZE - 1]);
			assert_int_equal(zero ? 0 : 0xa5,
					bench_mode.mem[(FAULTS - 1) * BENCH_PAGE_SIZE - 1]);
			close_mode(SMMUV3_MODEL_STAT_MSIS);
		}
	}
}

static void
a_random_pattern_has_each_page_once(void **state)
{
	uint8_t seen[FAULTS] = { 0 };
	unsigned int i, moved = 0;

	(void)state;
	set_conf();
	conf.pattern = PATTERN_RANDOM;
	assert_true(pattern_make(&conf));
	for (i = 0; i < FAULTS; i++) {
		assert_true(conf.order[i] < FAULTS);
		assert_int_equal(0, seen[conf.order[i]]++);
		moved += conf.order[i] != i;
	}
	assert_true(moved > FAULTS / 2);
	free(conf.order);
}

static char path[] = "/tmp/test-bench.XXXXXX";

static int
make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int
remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

/* Pages are touched from the highest address to the lowest; page 3 lies above all others. */
static void
write_trace(unsigned int n, const char *header, const char *line)
{
	FILE *f = fopen(path, "w");
	unsigned int i;

	assert_non_null(f);
	fprintf(f, header != NULL ? header : "# iopf trace 1 page_size=4096 pages=%u accesses=9 "
			"lines=9 program=\"x\"\n", n);
	for (i = 0; i < n; i++)
		fprintf(f, "%u R\n%u W 7\n", i, i / 2);
	if (line != NULL)
		fputs(line, f);
	for (i = 1; i < n; i++)
		fprintf(f, "#M %u %d\n", i, i == 3 ? 100000 : i == 4 ? -100009 : -3);
	assert_int_equal(0, fclose(f));
}

static bool
read_trace(unsigned int faults)
{
	set_conf();
	conf.faults = faults;
	conf.pattern = PATTERN_TRACE;
	conf.trace = path;
	return pattern_read(&conf);
}

static void
a_trace_gives_the_order_of_the_pages(void **state)
{
	unsigned int i;

	(void)state;
	write_trace(300, NULL, NULL);
	assert_true(read_trace(0));
	assert_int_equal(300, conf.faults);
	for (i = 0; i < 300; i++)
		assert_int_equal(i == 3 ? 299 : i < 3 ? 298 - i : 299 - i, conf.order[i]);
	free(conf.order);
	assert_true(read_trace(256));
	assert_int_equal(255, conf.order[3]);
	assert_int_equal(0, conf.order[255]);
	free(conf.order);
}

static void
a_damaged_trace_gets_a_line_that_says_where(void **state)
{
	static const struct {
		unsigned int n;
		const char *header, *line, *says;
	} wrong[] = {
		{ 300, "hello %u\n", NULL, "line 1: no header of a trace" },
		{ 300, "# iopf trace 2 page_size=4096 pages=%u\n", NULL, "line 1: no header" },
		{ 300, "# iopf trace 1 page_size=65536 pages=%u\n", NULL, "line 1: a trace has" },
		{ 300, "# iopf trace 1 page_size=4096 pages=9%u00000\n", NULL,
			"line 1: a trace has" },
		{ 300, NULL, "500 R\n", "line 602: not \"PAGE R|W" },
		{ 300, NULL, "1 X\n", "line 602: not \"PAGE R|W" },
		{ 300, NULL, "-1 R\n", "line 602: not \"PAGE R|W" },
		{ 300, NULL, "1 R 1 1\n", "line 602: not \"PAGE R|W" },
		{ 300, NULL, "\n", "line 602: not \"PAGE R|W" },
		{ 300, NULL, "#M 2 1\n", "line 602: not \"#M PAGE DELTA\"" },
		{ 300, NULL, "#M 1 99999999999\n", "line 602: not \"#M PAGE DELTA\"" },
		{ 300, "# iopf trace 1 page_size=4096 pages=1%u\n", NULL, "fewer pages than its" },
		{ 200, NULL, NULL, "has 200 pages" },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		write_trace(wrong[i].n, wrong[i].header, wrong[i].line);
		if (read_trace(0) || strstr(bench_stub_error, wrong[i].says) == NULL ||
				strstr(bench_stub_error, path) == NULL)
			fail_msg("\"%s\" instead of \"%s\"", bench_stub_error, wrong[i].says);
	}
	write_trace(300, NULL, NULL);
	assert_false(read_trace(400));
	assert_non_null(strstr(bench_stub_error, "has 300 pages, and 400 faults"));
	set_conf();
	conf.pattern = PATTERN_TRACE;
	assert_false(pattern_read(&conf));
}

static void
each_recorded_trace_is_read(void **state)
{
	static const char *const names[] = { "bfs", "cc1", "sqlite3" };
	bool met[4096];
	char file[512];
	unsigned int i, k;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(file, sizeof(file), "%s/%s.trace.gz", TRACES, names[i]);
		set_conf();
		conf.faults = 0;
		conf.pattern = PATTERN_TRACE;
		conf.trace = file;
		if (!pattern_read(&conf))
			fail_msg("%s", bench_stub_error);
		assert_in_range(conf.faults, BENCH_MIN_FAULTS, sizeof(met));
		memset(met, 0, sizeof(met));
		for (k = 0; k < conf.faults; k++) {
			assert_in_range(conf.order[k], 0, conf.faults - 1);
			assert_false(met[conf.order[k]]);
			met[conf.order[k]] = true;
		}
		free(conf.order);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_setting_serves_each_fault),
	cmocka_unit_test_teardown(requesters_use_each_stream_id, bench_rig_teardown),
	cmocka_unit_test_teardown(without_msi_none_is_sent, bench_rig_teardown),
	cmocka_unit_test_teardown(only_reads_of_registers_have_a_cost_and_only_if_asked_for,
			bench_rig_teardown),
	cmocka_unit_test_teardown(each_smmu_has_ats_and_pri_if_asked_for, bench_rig_teardown),
	cmocka_unit_test_teardown(only_zeroing_changes_other_bytes, bench_rig_teardown),
	cmocka_unit_test(a_random_pattern_has_each_page_once),
	cmocka_unit_test(a_trace_gives_the_order_of_the_pages),
	cmocka_unit_test(a_damaged_trace_gets_a_line_that_says_where),
	cmocka_unit_test(each_recorded_trace_is_read),
};

TEST_SUITE(bench_load, tests, make_file, remove_file);
