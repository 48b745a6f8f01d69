/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A configuration file of iopf-bench is read as written, or refused with a line that says where. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_stub.h"
#include "options.h"
#include "test.h"

/* 100 digits. */
#define LONG10	"1234567890"
#define LONG	LONG10 LONG10 LONG10 LONG10 LONG10 LONG10 LONG10 LONG10 LONG10 LONG10

static struct bench_conf base, *runs;
static struct given given;
static char path[] = "/tmp/test-bench.XXXXXX";

static int
make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	base.cpu_model = base.cpu_servicer = -1;
	return 0;
}

static int
remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static int
read_text(const char *text)
{
	FILE *f = fopen(path, "w");
	int n;

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(0, fclose(f));
	bench_stub_error[0] = '\0';
	n = config_read(path, &base, &given, &runs);
	options_context[0] = '\0';
	return n;
}

static void
a_section_overrides_global_and_the_command_line_both(void **state)
{
	const char *text = "[GLOBAL]\nrounds=3\nfaults=1024\ndepths=1,16\n; a comment\n"
			"[case1]\nfaults = 4096\nmodes=null,polled ; another\n[case2]\nrounds=4\n"
			"[case3]\nskip=1\nfaults=2048\n";

	(void)state;
	assert_int_equal(2, read_text(text));
	assert_string_equal("case1", runs[0].run);
	assert_int_equal(3, runs[0].rounds);
	assert_int_equal(4096, runs[0].faults);
	assert_int_equal(2, runs[0].nb_modes);
	assert_ptr_equal(&mode_null, bench_modes[runs[0].modes[0]]);
	assert_string_equal("case2", runs[1].run);
	assert_int_equal(4, runs[1].rounds);
	assert_int_equal(1024, runs[1].faults);
	assert_int_equal(bench_nb_modes - (mode_uffd.find_obstacle() != NULL), runs[1].nb_modes);
	free(runs);

	assert_true(given_add(&given, settings_find("rounds"), "7"));
	assert_int_equal(2, read_text(text));
	assert_int_equal(7, runs[0].rounds);
	assert_int_equal(7, runs[1].rounds);
	free(runs);
	given.nb = 0;
}

static void
a_range_of_depths_is_a_list_and_others_are_runs(void **state)
{
	(void)state;
	assert_int_equal(3, read_text("[case1]\ndepths=1,64,4,MUL\nfaults=1024,4096,2,MUL\n"
			"loads=50,150,50,ADD\n"));
	assert_int_equal(4, runs[2].nb_depths);
	assert_int_equal(64, runs[2].depths[3]);
	assert_int_equal(3, runs[2].nb_loads);
	assert_int_equal(150, runs[2].loads[2]);
	assert_int_equal(1024, runs[0].faults);
	assert_int_equal(4096, runs[2].faults);
	assert_string_equal("case1_faults_4096", runs[2].run);
	free(runs);
}

static void
wrong_files_get_a_line_that_says_where(void **state)
{
	static const struct {
		const char *text, *says;
	} wrong[] = {
		{ "", "no section [caseN] to run" },
		{ "[GLOBAL]\nrounds=3\n", "no section [caseN] to run" },
		{ "[case1]\nskip=1\n", "no section [caseN] to run" },
		{ "[case1\nrounds=3\n", "line 1: a section is [NAME]" },
		{ "[case1] x\nrounds=3\n", "line 1: a section is [NAME]" },
		{ "; first\n[case1]\nrounds\n", "line 3: a line is [SECTION], KEY=VALUE or" },
		{ "[case1]\nrounds = ; 3\n", "line 2: a line is" },
		{ "[case1]\n=3\n", "line 2: a line is" },
		{ "rounds=3\n[case1]\n", "line 1: KEY=VALUE before the first" },
		{ "[case1]\nrounds=" LONG LONG LONG "\n", "line 2: the line is too long" },
		{ "[case1]\n" LONG "=3\n", "line 2: the line is too long" },
		{ "[" LONG "]\n", "line 1: the name is too long" },
		{ "[case]\nrounds=3\n", "[case]: unknown section; use [GLOBAL], [case1]" },
		{ "[case1x]\n", "[case1x]: unknown section" },
		{ "[case1]\n[case1]\n", "[case1]: a second section" },
		{ "[GLOBAL]\n[GLOBAL]\n", "[GLOBAL]: a second section" },
		{ "[case1]\nrounds=3\nrounds=4\n", "[case1]: rounds: given twice" },
		{ "[case1]\ndepht=3\n", "[case1]: unknown key 'depht'; use modes, depths, rounds" },
		{ "[GLOBAL]\nskip=1\n[case1]\n", "[GLOBAL]: unknown key 'skip'" },
		{ "[case1]\nskip=2\n", "[case1]: skip: '2' is not a number from 0 to 1" },
		{ "[case1]\nrounds=x\n", "[case1]: rounds: 'x' is not a number from 1 to 200" },
		{ "[GLOBAL]\nrounds=0\n[case1]\n", "[GLOBAL]: rounds: '0' is not a number" },
		{ "[case1]\nmodes=polled,fast\n", "[case1]: modes: unknown mode 'fast'; use" },
		{ "[case1]\nloop=ajar\n", "[case1]: loop: 'ajar' is unknown; use closed, open" },
		{ "[case1]\ndepths=0,4,2,MUL\n", "[case1]: depths: '0,4,2,MUL' never ends" },
		{ "[case1]\ndepths=1,4,1,MUL\n", "never ends" },
		{ "[case1]\ndepths=4,1,1,ADD\n", "has no value" },
		{ "[case1]\ndepths=1,2,4,SUB\n", "'SUB' is not a number" },
		{ "[case1]\ndepths=1,4,ADD\n", "is not FIRST,LAST,STEP,ADD" },
		{ "[case1]\ndepths=1,400,1,ADD\n", "has more than 16 values" },
		{ "[case1]\ndepths=1,1024,2,MUL\n", "'1024' is not a number from 1 to 512" },
		{ "[case1]\nfaults=256,10000,1,ADD\n", "faults: '256,10000,1,ADD' has more than" },
		{ "[GLOBAL]\nfaults=256,1024,2,MUL\n[case1]\n", "a range is for a case" },
		{ "[case1]\nfaults=256,512,1,ADD\n", "has more than 256 values" },
		{ "[GLOBAL]\ndepths=1\n[case1]\nfaults=256,356,1,ADD\n"
			"[case2]\nfaults=256,456,1,ADD\n", "302 runs, more than 256" },
		{ "[case1]\nmodes=uffd\nloop=open\n", "[case1]: mode uffd " },
		{ "[case1]\nfaults=256\ndepths=512\n", "[case1]: --faults: 256 are too few" },
		{ "[case1]\nengine=none\nstreams=8\n", "[case1]: engine none: give the SMMU" },
		{ "[GLOBAL]\nrounds=3\n[case1]\nengine=none\n", "[case1]: rounds is not for" },
		{ "[case1]\nstreams=8\n", "[case1]: streams is not for engine model" },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (read_text(wrong[i].text) >= 0 ||
				strstr(bench_stub_error, wrong[i].says) == NULL ||
				strstr(bench_stub_error, path) != bench_stub_error)
			fail_msg("%s: \"%s\" instead of \"%s\"", wrong[i].text, bench_stub_error,
					wrong[i].says);
		assert_null(runs);
	}
	assert_true(config_read("/nonexistent/x.ini", &base, &given, &runs) < 0);
	assert_non_null(strstr(bench_stub_error, "/nonexistent/x.ini: cannot read: No such file"));
	assert_true(config_read("/", &base, &given, &runs) < 0);
	options_context[0] = '\0';
}

static void
each_run_has_files_of_its_own(void **state)
{
	static const char *const names[][2] = {
		{ "x.json", "x.case1.json" }, { "a.b/x", "a.b/x.case1" },
		{ "/a/x.y.json", "/a/x.y.case1.json" }, { "a/.x", "a/.x.case1" },
		{ ".x", ".x.case1" },
	};
	unsigned int i;
	char *name;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		name = config_name_file(names[i][0], "case1");
		assert_string_equal(names[i][1], name);
		free(name);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_section_overrides_global_and_the_command_line_both),
	cmocka_unit_test(a_range_of_depths_is_a_list_and_others_are_runs),
	cmocka_unit_test(wrong_files_get_a_line_that_says_where),
	cmocka_unit_test(each_run_has_files_of_its_own),
};

TEST_SUITE(bench_config, tests, make_file, remove_file);
