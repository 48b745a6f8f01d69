/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Blocks that are split and joined under the accesses of a device. */

#include <stdlib.h>
#include <string.h>

#include "busy_rig.h"
#include "mmem_rig.h"
#include "test.h"

#define LEN	(3 * CHUNK)

static void
expect_refused(uint8_t *p, size_t len, uint8_t *copy)
{
	memcpy(copy, p, len);
	busy_await(&busy.aborted, 2);
	assert_memory_equal(copy, p, len);
}

/* Behind an unmap or a removed right no access of the device succeeds, with any size of leaves. */
static void
test_unmap_and_protect_win_over_faults_on_blocks(void **state)
{
	unsigned int round, rounds = 40 * test_scale();
	uint8_t *p = mm_alloc(LEN, RW | MMEM_HUGE), *copy = malloc(LEN);
	uint8_t *part;

	(void)state;
	assert_non_null(copy);
	busy_start(p, LEN);
	for (round = 0; round < rounds; round++) {
		part = p + round * 37 % (LEN / PAGE - 64) * PAGE;
		assert_int_equal(mmem_unmap(mm.space, part, 64 * PAGE), 0);
		busy_await(&busy.done, 4);
		assert_int_equal(mmem_protect(mm.space, part, LEN / 2 - round % 3 * PAGE <=
				(size_t)(p + LEN - part) ? LEN / 2 - round % 3 * PAGE : PAGE,
				MMEM_READ), 0);
		busy_await(&busy.done, 4);
		/* All of it: full tables, blocks and empty chunks. */
		assert_int_equal(mmem_protect(mm.space, p, LEN, round % 2 ? MMEM_READ : 0), 0);
		expect_refused(p, LEN, copy);
		assert_int_equal(mmem_protect(mm.space, p, LEN, round % 5 ? RW :
				RW | MMEM_TRACK_WRITES), 0);
		assert_int_equal(mmem_prefetch(mm.space, p, LEN), 0);
		assert_int_equal(mmem_advise(mm.space, p, LEN, MMEM_ADVISE_HUGE), 0);
		busy_await(&busy.done, 4);
		assert_int_equal(mmem_protect(mm.space, p, LEN, RW), 0);
		assert_int_equal(mmem_advise(mm.space, p, LEN, MMEM_ADVISE_HUGE), 0);
		busy_await(&busy.done, 4);
	}
	busy_stop();
	assert_int_equal(mmem_free(mm.space, p), 0);
	free(copy);
}

/* Regions with and without blocks follow each other in the same chunks. */
static void
test_regions_of_blocks_come_and_go_under_faults(void **state)
{
	unsigned int round, rounds = 60 * test_scale();
	uint8_t *p, *first = mm_alloc(LEN, RW);
	uint64_t word;

	(void)state;
	assert_int_equal(mmem_free(mm.space, first), 0);
	busy_start(first, LEN);
	for (round = 0; round < rounds; round++) {
		p = mm_alloc(LEN, RW | (round % 3 ? MMEM_HUGE : 0));
		assert_ptr_equal(p, first);
		busy_await(&busy.done, 8);
		if (round % 4 == 0)
			assert_int_equal(mmem_unmap(mm.space, p + PAGE, LEN - 2 * PAGE), 0);
		assert_int_equal(mmem_free(mm.space, p), 0);
		busy_await(&busy.aborted, 2);
		memcpy(&word, p, sizeof(word));
		assert_int_equal(word, 0);
	}
	busy_stop();
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_unmap_and_protect_win_over_faults_on_blocks),
	MM_TEST(test_regions_of_blocks_come_and_go_under_faults),
};
TEST_SUITE(mmem_huge_races, tests, NULL, NULL);
TEST_SUITE(mmem_pieces_huge_races, tests, mm_set_pieces, mm_set_address);
