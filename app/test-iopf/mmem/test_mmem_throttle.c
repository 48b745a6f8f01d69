/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Thrash: blocks that come back as soon as they have left stay longer. */

#include "evict_rig.h"
#include "mmem_throttle.h"

#define MS	UINT64_C(1000000)

static void
test_early_fetches_let_blocks_stay_longer(void **state)
{
	struct mmem_throttle t;
	uint64_t now = 1000 * MS;
	unsigned int i;

	(void)state;
	mmem_throttle_init(&t);
	assert_int_equal(t.stay_ns, MMEM_STAY_MIN_NS);
	/* New contents, and blocks that left long ago. */
	mmem_throttle_note(&t, 0, now);
	mmem_throttle_note(&t, now - MMEM_EARLY_NS, now);
	assert_int_equal(t.stay_ns, MMEM_STAY_MIN_NS);
	for (i = 0; i < 3; i++) {
		assert_false(mmem_is_throttled(&t));
		mmem_throttle_note(&t, now - 1, now);
	}
	assert_int_equal(t.stay_ns, 8 * MMEM_STAY_MIN_NS);
	assert_true(mmem_is_throttled(&t));
	for (i = 0; i < 10; i++)
		mmem_throttle_note(&t, now - 1, now);
	assert_int_equal(t.stay_ns, MMEM_STAY_MAX_NS);
	/* New contents between early fetches change nothing. */
	for (i = 0; i < 1000; i++)
		mmem_throttle_note(&t, 0, now + MMEM_CALM_NS - 1);
	assert_int_equal(t.stay_ns, MMEM_STAY_MAX_NS);
	for (i = 0; i < 10; i++) {
		now += MMEM_CALM_NS;
		mmem_throttle_note(&t, 0, now);
	}
	assert_int_equal(t.stay_ns, MMEM_STAY_MIN_NS);
	assert_false(mmem_is_throttled(&t));
}

/* Two blocks in turn, in a budget of one: each comes back as soon as it has left. */
static void
test_a_space_that_thrashes_is_throttled(void **state)
{
	struct mmem_pager pager = pager_ro;
	volatile uint8_t *p;
	unsigned int i = 0;

	(void)state;
	pager.fetch_size = BUDGET;
	p = mmem_alloc_paged(space, REGION, MMEM_READ, &pager);
	assert_non_null(p);
	/* A busy machine may make a few of the fetches late. */
	AWAIT(p[i++ % 2 * BUDGET] + 1u != 0 && stat(MMEM_STAT_THROTTLED) != 0);
	assert_true(stat(MMEM_STAT_THROTTLED) <= stat(MMEM_STAT_REFILLED) + BUDGET / PAGE);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_early_fetches_let_blocks_stay_longer),
	EV_TEST(test_a_space_that_thrashes_is_throttled),
};
TEST_SUITE(mmem_throttle, tests, NULL, NULL);
