/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Imported memory under the accesses of a device: behind an unmap or a release none of them
 * succeeds.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "busy_rig.h"
#include "mmem_rig.h"
#include "test.h"

static void
run_busy_unmaps(uint8_t *p, size_t len, size_t step)
{
	unsigned int round, rounds = 60 * test_scale();
	uint8_t *copy = malloc(len);

	assert_non_null(copy);
	mm_import(p, len, RW);
	busy_start(p, len);
	for (round = 0; round < rounds; round++) {
		assert_int_equal(mmem_unmap(mm.space, p + round % 4 * step, len - round % 4 * step),
				0);
		busy_await(&busy.done, 4);
		assert_int_equal(mmem_protect(mm.space, p, len, round % 2 ? MMEM_READ : 0), 0);
		memcpy(copy, p, len);
		busy_await(&busy.aborted, 2);
		assert_memory_equal(copy, p, len);
		assert_int_equal(mmem_protect(mm.space, p, len,
				RW | (round % 3 ? MMEM_TRACK_WRITES : 0)), 0);
		busy_await(&busy.done, 4);
	}
	busy_stop();
	mm_release(p);
	free(copy);
}

static void
test_unmap_wins_over_faults_on_pages(void **state)
{
	uint8_t *p = mm_map_shared(2 * CHUNK);

	(void)state;
	run_busy_unmaps(p + CHUNK - 9 * PAGE, 64 * PAGE, PAGE);
	munmap(p, 2 * CHUNK);
}

static void
test_unmap_wins_over_faults_on_blocks(void **state)
{
	uint8_t *p = mm_map_shared(4 * CHUNK);

	(void)state;
	run_busy_unmaps(p, 4 * CHUNK, CHUNK);
	munmap(p, 4 * CHUNK);
}

/* The memory is the caller's again when mmem_release() returns: no device writes it. */
static void
test_imports_come_and_go_under_faults(void **state)
{
	unsigned int round, rounds = 100 * test_scale();
	uint8_t *p = mm_map_shared(2 * CHUNK);
	uint8_t *copy = malloc(CHUNK);

	(void)state;
	assert_non_null(copy);
	busy_start(p, 2 * CHUNK);
	for (round = 0; round < rounds; round++) {
		mm_import(p, CHUNK, RW | (round % 2 ? MMEM_TRACK_WRITES : 0));
		mm_import(p + CHUNK, CHUNK, RW);
		busy_await(&busy.done, 8);
		mm_release(p);
		memcpy(copy, p, CHUNK);
		busy_await(&busy.aborted, 2);
		busy_await(&busy.done, 1);
		assert_memory_equal(copy, p, CHUNK);
		mm_release(p + CHUNK);
	}
	busy_stop();
	free(copy);
	munmap(p, 2 * CHUNK);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_unmap_wins_over_faults_on_pages),
	MM_TEST(test_unmap_wins_over_faults_on_blocks),
	MM_TEST(test_imports_come_and_go_under_faults),
};
TEST_SUITE(mmem_import_races, tests, NULL, NULL);

/* Without blocks: see mmem_pieces_import. */
static const struct CMUnitTest pieces_tests[] = {
	MM_TEST(test_unmap_wins_over_faults_on_pages),
};
TEST_SUITE(mmem_pieces_import_races, pieces_tests, mm_set_pieces, mm_set_address);
