/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The Matrix Market parser of examples/accel: files that it accepts, and its errors for the others.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "../../examples/accel/mtx.h"

#include "test.h"

static char dir[200];
static char path[sizeof(dir) + 16];

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%s/test-mtx-XXXXXX", tmp != NULL ? tmp : P_tmpdir);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/a.mtx", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void
write_file(const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static size_t
compress_text(const char *text, unsigned char *out, size_t room)
{
	z_stream z = { 0 };
	size_t len;

	/* 16: a gzip header and trailer. */
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)text;
	z.avail_in = strlen(text);
	z.next_out = out;
	z.avail_out = room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	len = z.total_out;
	deflateEnd(&z);
	return len;
}

/*
 * The parser refuses the file with this error and one line, which names the place and contains @p
 * says.
 */
static void
refuse_file(int error, const char *where, const char *says)
{
	char err[512] = "", place[sizeof(path) + 16];
	struct mtx mtx;

	snprintf(place, sizeof(place), "%s%s: ", path, where);
	assert_int_equal(mtx_read(path, &mtx, err, sizeof(err)), error);
	if (strncmp(err, place, strlen(place)) != 0 || strstr(err, says) == NULL)
		fail_msg("\"%s\" is not \"%s... %s\"", err, place, says);
	assert_null(strchr(err, '\n'));
	assert_null(mtx.entries);
	assert_int_equal(mtx.nb_entries, 0);
}

static void
refuse_text(const char *text, int error, const char *where, const char *says)
{
	write_file(text, strlen(text));
	refuse_file(error, where, says);
}

static void
accept_file(struct mtx *mtx)
{
	char err[512] = "";

	if (mtx_read(path, mtx, err, sizeof(err)) != 0)
		fail_msg("refused: %s", err);
}

static void
check_entry(const struct mtx *mtx, uint64_t i, uint32_t row, uint32_t col, int64_t val)
{
	assert_in_range(i, 0, mtx->nb_entries - 1);
	assert_int_equal(mtx->entries[i].row, row);
	assert_int_equal(mtx->entries[i].col, col);
	assert_int_equal(mtx->entries[i].val, val);
}

#define PATTERN "%%MatrixMarket matrix coordinate pattern general\n"
#define INTEGER "%%MatrixMarket matrix coordinate integer general\n"
#define SYMMETRIC "%%MatrixMarket matrix coordinate integer symmetric\n"

static void
test_a_general_pattern_is_parsed(void **state)
{
	const char *text = PATTERN "% a comment\n%\n\n3 4 2\n1 4\n3 1\n";
	struct mtx mtx;

	(void)state;
	write_file(text, strlen(text));
	accept_file(&mtx);
	assert_int_equal(mtx.rows, 3);
	assert_int_equal(mtx.cols, 4);
	assert_int_equal(mtx.nb_entries, 2);
	check_entry(&mtx, 0, 0, 3, 1);
	check_entry(&mtx, 1, 2, 0, 1);
	mtx_free(&mtx);
	assert_null(mtx.entries);
}

static void
test_integers_of_the_whole_range_are_parsed(void **state)
{
	const char *text = INTEGER "2 2 3\n1 1 -9223372036854775808\n2 2 9223372036854775807\n"
			"2 1 +5\n";
	struct mtx mtx;

	(void)state;
	write_file(text, strlen(text));
	accept_file(&mtx);
	check_entry(&mtx, 0, 0, 0, INT64_MIN);
	check_entry(&mtx, 1, 1, 1, INT64_MAX);
	check_entry(&mtx, 2, 1, 0, 5);
	mtx_free(&mtx);
}

static void
test_symmetric_gives_both_halves_and_one_diagonal(void **state)
{
	const char *text = SYMMETRIC "3 3 2\n2 2 7\n3 1 9\n";
	struct mtx mtx;

	(void)state;
	write_file(text, strlen(text));
	accept_file(&mtx);
	assert_int_equal(mtx.nb_entries, 3);
	check_entry(&mtx, 0, 1, 1, 7);
	check_entry(&mtx, 1, 2, 0, 9);
	check_entry(&mtx, 2, 0, 2, 9);
	mtx_free(&mtx);
}

static void
test_line_ends_and_blanks_have_no_meaning(void **state)
{
	const char *text = "%%MatrixMarket MATRIX Coordinate  Pattern\tGENERAL\r\n"
			"\t2  2 2 \r\n\r\n 1\t2 \r\n2 1";
	struct mtx mtx;

	(void)state;
	write_file(text, strlen(text));
	accept_file(&mtx);
	assert_int_equal(mtx.nb_entries, 2);
	check_entry(&mtx, 0, 0, 1, 1);
	check_entry(&mtx, 1, 1, 0, 1);
	mtx_free(&mtx);
}

static void
test_a_matrix_may_have_no_entries(void **state)
{
	struct mtx mtx;

	(void)state;
	write_file(PATTERN "5 5 0\n", strlen(PATTERN "5 5 0\n"));
	accept_file(&mtx);
	assert_int_equal(mtx.rows, 5);
	assert_int_equal(mtx.nb_entries, 0);
	mtx_free(&mtx);
}

static void
test_every_truncation_of_a_gzip_is_refused(void **state)
{
	const char *text = PATTERN "3 3 4\n1 2\n2 3\n3 1\n1 3\n";
	unsigned char gz[512];
	char err[512];
	struct mtx mtx;
	size_t len, n;

	(void)state;
	len = compress_text(text, gz, sizeof(gz));
	write_file(gz, len);
	accept_file(&mtx);
	assert_int_equal(mtx.nb_entries, 4);
	mtx_free(&mtx);
	for (n = 0; n < len; n++) {
		write_file(gz, n);
		err[0] = '\0';
		assert_true(mtx_read(path, &mtx, err, sizeof(err)) < 0);
		assert_null(mtx.entries);
		assert_int_equal(strncmp(err, path, strlen(path)), 0);
	}
	write_file(gz, len - 1);
	refuse_file(-EINVAL, ":7", "truncated");
}

static void
test_every_flipped_byte_of_a_gzip_body_is_refused(void **state)
{
	const char *text = PATTERN "3 3 4\n1 2\n2 3\n3 1\n1 3\n";
	unsigned char gz[512];
	char err[512];
	struct mtx mtx;
	size_t len, n;

	(void)state;
	len = compress_text(text, gz, sizeof(gz));
	/* The first ten bytes hold a time and a system, which have no meaning here. */
	for (n = 10; n < len; n++) {
		gz[n] ^= 0x55;
		write_file(gz, len);
		assert_true(mtx_read(path, &mtx, err, sizeof(err)) < 0);
		assert_null(mtx.entries);
		gz[n] ^= 0x55;
	}
}

static void
test_every_truncation_of_a_text_is_refused(void **state)
{
	const char *text = INTEGER "3 3 3\n1 2 5\n2 3 6\n3 1 7\n";
	char err[512];
	struct mtx mtx;
	size_t n;

	(void)state;
	/* Without its last line end the file is still complete. */
	for (n = 0; n < strlen(text) - 1; n++) {
		write_file(text, n);
		assert_true(mtx_read(path, &mtx, err, sizeof(err)) < 0);
		assert_null(mtx.entries);
	}
	write_file(text, n);
	accept_file(&mtx);
	mtx_free(&mtx);
}

static void
test_other_files_are_refused(void **state)
{
	char line[1200];

	(void)state;
	refuse_text("", -EINVAL, "", "empty");
	refuse_text("1 2 3\n", -EINVAL, ":1", "not a Matrix Market file");
	refuse_text("%%MatrixMarket matrix coordinate pattern\n1 1 0\n", -EINVAL, ":1",
			"first line");
	refuse_text("%%MatrixMarket vector coordinate pattern general\n", -EINVAL, ":1",
			"first line");
	refuse_text("%%MatrixMarket matrix array integer general\n", -ENOTSUP, ":1", "array");
	refuse_text("%%MatrixMarket matrix coordinate real general\n", -ENOTSUP, ":1", "real");
	refuse_text("%%MatrixMarket matrix coordinate complex general\n", -ENOTSUP, ":1",
			"complex");
	refuse_text("%%MatrixMarket matrix coordinate integer hermitian\n", -ENOTSUP, ":1",
			"hermitian");
	refuse_text("%%MatrixMarket matrix coordinate integer skew-symmetric\n", -ENOTSUP, ":1",
			"skew-symmetric");
	write_file(PATTERN "1 1\0 1\n1 1\n", sizeof(PATTERN "1 1\0 1\n1 1\n") - 1);
	refuse_file(-EINVAL, ":2", "byte 0x00");
	memset(line, '%', sizeof(line));
	write_file(line, sizeof(line));
	refuse_file(-EINVAL, ":1", "longer than");
}

static void
test_impossible_size_lines_are_refused(void **state)
{
	(void)state;
	refuse_text(PATTERN "% only comments\n", -EINVAL, ":3", "truncated");
	refuse_text(PATTERN "3 3\n", -EINVAL, ":2", "size line");
	refuse_text(PATTERN "3 3 1 1\n", -EINVAL, ":2", "size line");
	refuse_text(PATTERN "-3 3 1\n", -EINVAL, ":2", "size line");
	refuse_text(PATTERN "3 3 1x\n", -EINVAL, ":2", "size line");
	refuse_text(PATTERN "3 3 99999999999999999999\n", -EINVAL, ":2", "size line");
	refuse_text(PATTERN "0 3 0\n", -EINVAL, ":2", "is empty");
	refuse_text(PATTERN "3 3 10\n", -EINVAL, ":2", "do not fit");
	refuse_text(PATTERN "67108865 1 1\n", -EFBIG, ":2", "too large");
	refuse_text(PATTERN "67108864 67108864 268435457\n", -EFBIG, ":2", "too large");
	refuse_text(PATTERN "18446744073709551615 18446744073709551615 1\n", -EFBIG, ":2",
			"too large");
	refuse_text(SYMMETRIC "3 4 1\n1 1 1\n", -EINVAL, ":2", "symmetric");
}

static void
test_a_huge_count_costs_no_memory(void **state)
{
	(void)state;
	refuse_text(PATTERN "67108864 67108864 268435456\n1 1\n", -EINVAL, ":4",
			"after 1 of 268435456 entries");
}

static void
test_impossible_entries_are_refused(void **state)
{
	(void)state;
	refuse_text(PATTERN "3 3 1\n0 1\n", -ERANGE, ":3", "row 0 is outside 1 to 3");
	refuse_text(PATTERN "3 3 2\n1 1\n4 1\n", -ERANGE, ":4", "row 4 is outside 1 to 3");
	refuse_text(PATTERN "3 2 1\n1 3\n", -ERANGE, ":3", "column 3 is outside 1 to 2");
	refuse_text(PATTERN "3 3 1\n1 4294967297\n", -ERANGE, ":3", "column 4294967297");
	refuse_text(PATTERN "3 3 1\n1 1 1\n", -EINVAL, ":3", "not an entry");
	refuse_text(PATTERN "3 3 1\n1\n", -EINVAL, ":3", "not an entry");
	refuse_text(PATTERN "3 3 1\n1 -1\n", -EINVAL, ":3", "not an entry");
	refuse_text(PATTERN "3 3 1\n% late comment\n", -EINVAL, ":3", "not an entry");
	refuse_text(INTEGER "3 3 1\n1 1\n", -EINVAL, ":3", "not an entry");
	refuse_text(INTEGER "3 3 1\n1 1 2.5\n", -EINVAL, ":3", "not an entry");
	refuse_text(INTEGER "3 3 1\n1 1 9223372036854775808\n", -EINVAL, ":3", "not an entry");
	refuse_text(SYMMETRIC "3 3 1\n1 2 5\n", -EINVAL, ":3", "above the diagonal");
}

static void
test_wrong_counts_are_refused(void **state)
{
	(void)state;
	refuse_text(PATTERN "3 3 2\n1 1\n", -EINVAL, ":4", "after 1 of 2 entries");
	refuse_text(PATTERN "3 3 1\n1 1\n2 2\n", -EINVAL, ":4", "more than the 1 entries");
	refuse_text(PATTERN "3 3 0\n1 1\n", -EINVAL, ":3", "more than the 0 entries");
}

static void
test_unreadable_files_are_refused(void **state)
{
	char err[512];
	struct mtx mtx;

	(void)state;
	unlink(path);
	refuse_file(-ENOENT, "", "cannot open");
	assert_int_equal(mtx_read(dir, &mtx, err, sizeof(err)), -EISDIR);
	assert_non_null(strstr(err, "cannot read"));
}

static void
test_a_file_without_permission_is_refused(void **state)
{
	(void)state;
	write_file(PATTERN "1 1 0\n", strlen(PATTERN "1 1 0\n"));
	assert_int_equal(chmod(path, 0), 0);
	if (access(path, R_OK) == 0) {
		unlink(path);
		test_skip("this user can read every file; run the suite as another user");
	}
	refuse_file(-EACCES, "", "cannot open");
	unlink(path);
}

static void
test_the_error_never_outgrows_its_buffer(void **state)
{
	char err[16];
	struct mtx mtx;

	(void)state;
	write_file("x", 1);
	memset(err, 'x', sizeof(err));
	assert_true(mtx_read(path, &mtx, err, 8) < 0);
	assert_int_equal(strnlen(err, sizeof(err)), 7);
	assert_int_equal(err[8], 'x');
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_general_pattern_is_parsed),
	cmocka_unit_test(test_integers_of_the_whole_range_are_parsed),
	cmocka_unit_test(test_symmetric_gives_both_halves_and_one_diagonal),
	cmocka_unit_test(test_line_ends_and_blanks_have_no_meaning),
	cmocka_unit_test(test_a_matrix_may_have_no_entries),
	cmocka_unit_test(test_every_truncation_of_a_gzip_is_refused),
	cmocka_unit_test(test_every_flipped_byte_of_a_gzip_body_is_refused),
	cmocka_unit_test(test_every_truncation_of_a_text_is_refused),
	cmocka_unit_test(test_other_files_are_refused),
	cmocka_unit_test(test_impossible_size_lines_are_refused),
	cmocka_unit_test(test_a_huge_count_costs_no_memory),
	cmocka_unit_test(test_impossible_entries_are_refused),
	cmocka_unit_test(test_wrong_counts_are_refused),
	cmocka_unit_test(test_unreadable_files_are_refused),
	cmocka_unit_test(test_a_file_without_permission_is_refused),
	cmocka_unit_test(test_the_error_never_outgrows_its_buffer),
};

TEST_SUITE(mtx, tests, setup, teardown);
