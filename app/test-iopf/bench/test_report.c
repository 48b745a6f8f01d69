/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The results of iopf-bench: histograms, and the files that are made of the tree of JSON. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "report_json.h"
#include "test.h"

static struct hist hist;

static void
the_highest_value_of_a_bucket_is_in_it_and_the_next_is_not(void **state)
{
	uint64_t v, upper;
	unsigned int i;

	(void)state;
	for (v = 0; v < UINT64_C(1) << 38; v += 1 + v / 50) {
		hist_reset(&hist);
		hist_add(&hist, v);
		for (i = 0; hist.count[i] == 0; i++)
			;
		upper = hist_get_upper(i);
		assert_true(upper >= v && upper - v <= v >> HIST_SUB_LOG2);
		hist_add(&hist, upper);
		assert_int_equal(2, hist.count[i]);
		hist_add(&hist, upper + 1);
		assert_int_equal(1, hist.count[i + 1]);
	}
}

static void
a_percentile_needs_ten_samples_beyond_it(void **state)
{
	static const struct {
		uint64_t samples;
		unsigned int per_10000;
	} enough[] = { { 20, 5000 }, { 100, 9000 }, { 1000, 9900 }, { 10000, 9990 },
		{ 100000, 9999 } };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(enough) / sizeof(enough[0]); i++) {
		hist.samples = enough[i].samples;
		assert_true(hist_supports(&hist, enough[i].per_10000));
		hist.samples--;
		assert_false(hist_supports(&hist, enough[i].per_10000));
	}
}

/* Returns the output of @p print for a text of JSON; the caller frees it. */
static char *
print(int (*print_tree)(FILE *f, const cJSON *from), const char *json, int want)
{
	cJSON *tree = cJSON_Parse(json);
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(tree);
	assert_non_null(f);
	assert_int_equal(want, print_tree(f, tree));
	assert_int_equal(0, fclose(f));
	cJSON_Delete(tree);
	return text;
}

static void
csv_has_a_column_for_each_plain_field(void **state)
{
	char *text = print(report_print_csv, "["
			"{\"name\": \"a\", \"n\": 1.25, \"none\": null, \"list\": [1],"
			" \"in\": {\"n\": 3, \"deep\": {\"x\": 1}}},"
			"{\"name\": \"b\", \"late\": true, \"in\": {\"n\": 4}},"
			"{\"name\": \"c\", \"n\": 0}]", 0);

	(void)state;
	assert_string_equal("name,n,none,in.n,late\n"
			"a,1.25,,3,\n"
			"b,,,4,true\n"
			"c,0,,,\n", text);
	free(text);
}

static void
csv_quotes_what_would_end_a_field(void **state)
{
	char *text = print(report_print_csv,
			"[{\"name\": \"a,b\", \"q\": \"say \\\"x\\\"\", \"l\": \"1\\n2\"}]", 0);

	(void)state;
	assert_string_equal("name,q,l\n\"a,b\",\"say \"\"x\"\"\",\"1\n2\"\n", text);
	free(text);
}

static void
hgrm_lists_each_half_of_the_distance_to_all_samples(void **state)
{
	static const char begin[] =
			"       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
			"       1.000 0.000000000000        500           1.00\n"
			"       1.000 0.100000000000        500           1.11\n"
			"       1.000 0.200000000000        500           1.25\n"
			"       1.000 0.300000000000        500           1.43\n"
			"       1.000 0.400000000000        500           1.67\n"
			"       1.000 0.500000000000        500           2.00\n"
			"       2.500 0.550000000000        900           2.22\n";
	static const char end[] =
			"       4.000 1.000000000000       1000\n"
			"#[Mean    =        1.801, StdDeviation   =        0.814]\n"
			"#[Max     =        4.000, Total count    =         1000]\n";
	char *text = print(report_print_hgrm, "[[1000, 500], [2500, 400], [3000, 99], [4000, 1]]",
			0);
	double value, level, factor, before = -1;
	const char *line;
	unsigned long count;
	unsigned int n = 0;

	(void)state;
	assert_memory_equal(begin, text, sizeof(begin) - 1);
	assert_non_null(strstr(text, end));
	for (line = strstr(text, "\n\n") + 2; *line != '#'; line = strchr(line, '\n') + 1, n++) {
		if (sscanf(line, "%lf %lf %lu %lf\n", &value, &level, &count, &factor) != 4 ||
				level >= 1)
			continue;
		/* The samples up to the value are at least this share, and factor is 1/(1-p). */
		assert_true((double)count / 1000 >= level);
		assert_true(level > before);
		assert_true(factor * (1 - level) > 0.99 && factor * (1 - level) < 1.01);
		before = level;
	}
	/* 1 in 1000 is almost ten halvings, with five lines each. */
	assert_true(n > 40 && n < 60);
	free(text);
}

static void
hgrm_of_no_samples_has_no_lines(void **state)
{
	char *text = print(report_print_hgrm, "[]", 0);

	(void)state;
	assert_non_null(strstr(text, "1/(1-Percentile)\n\n#[Mean    =        0.000"));
	free(text);
}

static void
hgrm_refuses_what_is_no_histogram(void **state)
{
	(void)state;
	free(print(report_print_hgrm, "[[1000, 5], [2000]]", -EINVAL));
	free(print(report_print_hgrm, "[7]", -EINVAL));
	free(print(report_print_hgrm, "[[1000, 0]]", -EINVAL));
}

static void
the_time_left_is_that_of_rounds_like_the_complete_ones(void **state)
{
	struct progress p = { .cells = 4, .rounds = 5, .start = 100 };

	(void)state;
	p.done = 3;
	assert_true(progress_get_left(&p, 107) < 0);
	/* Two rounds of 10 s, and the third has begun. */
	p.done = 9;
	p.rounds_end = 120;
	assert_int_equal(27, (int)(progress_get_left(&p, 123) + 0.5));
	/* A round that takes longer than those before. */
	p.done = 19;
	p.rounds_end = 140;
	assert_int_equal(0, (int)progress_get_left(&p, 300));
}

static void
the_progress_fits_in_a_row_of_the_terminal(void **state)
{
	struct progress p = { .cells = 4, .rounds = 5, .start = 100, .done = 9, .rounds_end = 120 };
	const char *name = "uffd_zeropage_cross_block_d16_and_a_name_that_is_longer_than_all_others";
	char line[PROGRESS_LINE];
	unsigned int columns;

	(void)state;
	for (columns = 0; columns < 200; columns++) {
		progress_print(&p, name, 123, columns, line, sizeof(line));
		/* A character in the last column may wrap the next one. */
		assert_true(columns == 0 ? line[0] == '\0' : strlen(line) < columns);
	}
	progress_print(&p, "polled_d1", 123, 80, line, sizeof(line));
	assert_string_equal("[#############.................]  45%  0:27 left   polled_d1", line);
	progress_print(&p, "polled_d1", 123, 40, line, sizeof(line));
	assert_string_equal(" 45%  0:27 left   polled_d1", line);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_progress_fits_in_a_row_of_the_terminal),
	cmocka_unit_test(the_time_left_is_that_of_rounds_like_the_complete_ones),
	cmocka_unit_test(the_highest_value_of_a_bucket_is_in_it_and_the_next_is_not),
	cmocka_unit_test(a_percentile_needs_ten_samples_beyond_it),
	cmocka_unit_test(csv_has_a_column_for_each_plain_field),
	cmocka_unit_test(csv_quotes_what_would_end_a_field),
	cmocka_unit_test(hgrm_lists_each_half_of_the_distance_to_all_samples),
	cmocka_unit_test(hgrm_of_no_samples_has_no_lines),
	cmocka_unit_test(hgrm_refuses_what_is_no_histogram),
};

TEST_SUITE(bench_report, tests, NULL, NULL);
