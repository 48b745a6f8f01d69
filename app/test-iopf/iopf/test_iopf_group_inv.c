/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Invalidations of a handler's group: posted before the answer, with the verdict for it only. */

#include <errno.h>

#include "iopf_handler.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "test.h"

static enum iopf_verdict
upgrade(const struct iopf_group *group)
{
	struct iopf_inv inv = { .addr = group->faults[0]->addr & ~UINT64_C(0xfff), .size = 4096 };

	assert_int_equal(0, iopf_group_invalidate(group, &inv));
	assert_int_equal(-EDEADLK, iopf_invalidate(one.domain, &inv, 1, NULL));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_upgrade_is_invalidated_before_it_is_answered(void **state)
{
	(void)state;
	one.in_handler = upgrade;
	for (unsigned int i = 0; i < 40; i++)
		one_put_stall(i, 0x10000 + 0x1000 * i);
	while (iopf_poll(one.poller) != 0)
		;
	assert_int_equal(40, hw.nb_out);
	for (unsigned int i = 0; i < 40; i++)
		assert_true(hw.out[i].nb_inv > 0);
	assert_int_equal(0x10000, hw.out[0].inv_addr);
	assert_int_equal(40, iopf_domain_stat(one.domain, IOPF_STAT_AFTER_INV));
}

static void
answer_after_inv_without_an_invalidation_answers(void **state)
{
	(void)state;
	one.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	one.verdict = (enum iopf_verdict)(IOPF_VERDICT_AFTER_INV | 77);
	one_put_stall(2, 0);
	SAYS("which is no verdict", iopf_poll(one.poller));
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
}

static enum iopf_verdict
upgrade_five(const struct iopf_group *group)
{
	struct iopf_inv inv = { .addr = 0x1000, .size = 4096 };

	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(0, iopf_group_invalidate(group, &inv));
	assert_int_equal(-ENOSPC, iopf_group_invalidate(group, &inv));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
a_group_has_four_invalidations(void **state)
{
	(void)state;
	one.in_handler = upgrade_five;
	for (unsigned int i = 0; i < 30; i++)
		one_put_stall(i, 0);
	while (iopf_poll(one.poller) != 0)
		;
	assert_int_equal(30, hw.nb_out);
}

static enum iopf_verdict
invalidate_wrong_ranges(const struct iopf_group *group)
{
	const struct iopf_inv inv = { .addr = UINT64_C(0) - 4096, .size = 8192 };

	SAYS("iopf_group_invalidate(): 0x1 + 0: the size is 0: use a multiple of 4096, or all",
		assert_int_equal(-EINVAL, iopf_group_invalidate(group,
				&(struct iopf_inv){ .addr = 1 })));
	SAYS("iopf_group_invalidate(): 0xfffffffffffff000 + 0x2000: the range ends beyond 2^64",
		assert_int_equal(-EINVAL, iopf_group_invalidate(group, &inv)));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_invalidation_of_a_wrong_range_is_named(void **state)
{
	(void)state;
	one.in_handler = invalidate_wrong_ranges;
	one_put_stall(1, 0);
	assert_int_equal(1, iopf_poll(one.poller));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, hw.out[0].nb_inv);
}

static enum iopf_verdict
invalidate_then_answer_plain(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){ .size = 4096 }));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
an_invalidation_without_its_verdict_is_dropped(void **state)
{
	(void)state;
	one.in_handler = invalidate_then_answer_plain;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, hw.out[0].nb_inv);
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(an_upgrade_is_invalidated_before_it_is_answered),
	ONE_TEST(answer_after_inv_without_an_invalidation_answers),
	ONE_TEST(a_group_has_four_invalidations),
	ONE_TEST(an_invalidation_of_a_wrong_range_is_named),
	ONE_TEST(an_invalidation_without_its_verdict_is_dropped),
};

TEST_SUITE(iopf_group_inv, tests, NULL, NULL);
