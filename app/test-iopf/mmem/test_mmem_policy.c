/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The replacement policy: the states of its blocks, its bounds, and what it keeps in memory. Memory
 * and access flags are arrays here.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "mmem_policy.h"
#include "test.h"

#define MAX_BLOCKS	1024

enum state { UNKNOWN, RESIDENT, NAMED, ABSENT };

static struct mmem_policy policy;
static struct {
	uint32_t nb_blocks, capacity;
	uint32_t nb_in_memory;
	enum state states[MAX_BLOCKS];
	bool flags[MAX_BLOCKS];
	unsigned int looks;
	unsigned int wrong_looks;	/* at blocks that are not candidates */
	uint64_t page_ins;
} memory;

static bool
test_and_clear(void *ctx, uint32_t block)
{
	bool accessed = memory.flags[block];

	assert_ptr_equal(&memory, ctx);
	memory.looks++;
	memory.wrong_looks += memory.states[block] != RESIDENT;
	memory.flags[block] = false;
	return accessed;
}

static void
open_policy(uint32_t nb_blocks, uint32_t capacity)
{
	memset(&memory, 0, sizeof(memory));
	memory.nb_blocks = nb_blocks;
	memory.capacity = capacity;
	assert_int_equal(0, mmem_policy_init(&policy, &(struct mmem_policy_conf){
			.nb_blocks = nb_blocks, .capacity = capacity,
			.accessed = test_and_clear, .ctx = &memory }));
}

static int
close_policy(void **state)
{
	(void)state;
	mmem_policy_fini(&policy);
	return 0;
}

static void
fetch(uint32_t block, bool prefetched)
{
	mmem_policy_add(&policy, block, prefetched);
	memory.states[block] = RESIDENT;
	/* The access is repeated. */
	memory.flags[block] = !prefetched;
	memory.nb_in_memory++;
	memory.page_ins++;
}

/* As after a first look at each block. */
static void
settle_all(void)
{
	uint32_t i;

	memset(memory.flags, 0, sizeof(memory.flags));
	for (i = 0; i < policy.nb_known; i++)
		policy.blocks[policy.order[i]].settled = true;
}

static uint32_t
name_victim(void)
{
	uint32_t block;

	do {
		block = mmem_policy_name_victim(&policy, 32);
	} while (block == MMEM_POLICY_NONE && policy.nb_candidates != 0);
	if (block != MMEM_POLICY_NONE) {
		assert_int_equal(RESIDENT, memory.states[block]);
		memory.states[block] = NAMED;
	}
	return block;
}

static void
evict(uint32_t block)
{
	mmem_policy_evicted(&policy, block);
	memory.states[block] = ABSENT;
	memory.flags[block] = false;
	memory.nb_in_memory--;
}

/* As the owner of a budget does. */
static void
access_block(uint32_t block)
{
	if (memory.states[block] == RESIDENT) {
		memory.flags[block] = true;
		return;
	}
	if (memory.nb_in_memory == memory.capacity)
		evict(name_victim());
	fetch(block, false);
	mmem_policy_watch(&policy, MMEM_POLICY_LOOKS);
}

static void
a_number_out_of_range_is_refused(void **state)
{
	static const struct mmem_policy_conf wrong[] = {
		{ .nb_blocks = 0, .capacity = 1, .accessed = test_and_clear },
		{ .nb_blocks = (UINT32_C(1) << 31) + 1, .capacity = 1, .accessed = test_and_clear },
		{ .nb_blocks = 1, .capacity = 0, .accessed = test_and_clear },
		{ .nb_blocks = 1, .capacity = (1 << 28) + 1, .accessed = test_and_clear },
		{ .nb_blocks = 1, .capacity = 1 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(wrong); i++) {
		assert_int_equal(-EINVAL, mmem_policy_init(&policy, &wrong[i]));
		mmem_policy_fini(&policy);
	}
}

static void
a_block_costs_16_bytes(void **state)
{
	(void)state;
	assert_int_equal(16, sizeof(struct mmem_policy_block) + sizeof(*policy.order));
}

static void
nothing_is_named_without_candidates(void **state)
{
	(void)state;
	open_policy(4, 2);
	assert_int_equal(MMEM_POLICY_NONE, mmem_policy_name_victim(&policy, 8));
	fetch(3, false);
	assert_int_equal(3, name_victim());
	assert_int_equal(MMEM_POLICY_NONE, mmem_policy_name_victim(&policy, 8));
	evict(3);
	assert_int_equal(MMEM_POLICY_NONE, mmem_policy_name_victim(&policy, 8));
	fetch(3, false);
	mmem_policy_remove(&policy, 3);
	assert_int_equal(MMEM_POLICY_NONE, mmem_policy_name_victim(&policy, 8));
	assert_int_equal(0, memory.wrong_looks);
}

static void
a_block_is_named_once_until_it_is_kept(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(100, 100);
	for (i = 0; i < 100; i++)
		fetch(i, false);
	for (i = 0; i < 100; i++)
		name_victim();	/* checks that the block was not named before */
	assert_int_equal(MMEM_POLICY_NONE, mmem_policy_name_victim(&policy, 8));
	mmem_policy_keep(&policy, 42);
	memory.states[42] = RESIDENT;
	assert_int_equal(42, name_victim());
}

static void
a_block_that_was_kept_is_named_after_the_others(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(32, 32);
	for (i = 0; i < 32; i++)
		fetch(i, false);
	settle_all();
	i = name_victim();
	assert_int_equal(0, i);
	mmem_policy_keep(&policy, i);
	memory.states[i] = RESIDENT;
	for (i = 1; i < 31; i++)
		assert_int_not_equal(0, name_victim());
}

static void
a_call_looks_no_more_often_than_it_may(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(512, 512);
	for (i = 0; i < 512; i++)
		fetch(i, false);
	settle_all();
	memset(memory.flags, true, sizeof(memory.flags));
	memory.looks = 0;
	assert_int_equal(MMEM_POLICY_NONE, mmem_policy_name_victim(&policy, 0));
	assert_int_equal(0, memory.looks);
	assert_int_equal(MMEM_POLICY_NONE, mmem_policy_name_victim(&policy, 10));
	assert_int_equal(10, memory.looks);
	mmem_policy_watch(&policy, 100);	/* of 4096 that are owed */
	assert_in_range(memory.looks, 10 + 50, 10 + 100);
	memory.looks = 0;
	mmem_policy_watch(&policy, 100);	/* nothing more is owed */
	assert_int_equal(0, memory.looks);
}

static void
blocks_are_looked_at_in_turn_once_half_of_the_capacity_is_used(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(128, 128);
	for (i = 0; i < 128; i++) {
		fetch(i, false);
		memory.looks = 0;
		mmem_policy_watch(&policy, MMEM_POLICY_LOOKS);
		if (i < 63)
			assert_int_equal(0, memory.looks);
		else
			assert_in_range(memory.looks, MMEM_POLICY_LOOKS - 1, MMEM_POLICY_LOOKS);
	}
	for (i = 0; i < 128 - MMEM_POLICY_LOOKS; i++)
		assert_false(memory.flags[i]);
}

static void
a_call_that_follows_many_fetches_counts_the_time_of_all(void **state)
{
	float sum = 0;
	uint32_t i;

	(void)state;
	open_policy(100, 1000);
	for (i = 0; i < 100; i++)
		fetch(i, false);
	mmem_policy_watch(&policy, 4 * MMEM_POLICY_LOOKS);
	for (i = 0; i < MMEM_REUSE_AGES; i++)
		sum += policy.reuse.exposure[MMEM_REUSE_ALL][i];
	/* 100 fetches, in each of which 100 blocks grew older. */
	assert_in_range(sum, 9900, 10100);
}

static void
an_accessed_block_is_not_named(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(64, 64);
	for (i = 0; i < 64; i++)
		fetch(i, false);
	settle_all();
	for (i = 0; i < 64; i += 2)
		memory.flags[i] = true;
	for (i = 0; i < 4; i++)
		assert_int_equal(1 + 2 * i, name_victim());
	/* They were looked at first. */
	assert_false(memory.flags[0]);
	assert_false(memory.flags[6]);
}

static void
blocks_of_one_access_are_named_in_their_order(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(64, 64);
	for (i = 0; i < 64; i++)
		fetch(i * 5 % 64, false);
	for (i = 0; i < 64; i++)
		assert_int_equal(i * 5 % 64, name_victim());
}

static void
blocks_that_were_prefetched_for_nothing_are_named_first(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(64, 64);
	for (i = 0; i < 64; i++)
		fetch(i, i >= 32 && i < 48);
	settle_all();
	memory.flags[40] = true;	/* this one was not for nothing */
	for (i = 0; i < 15; i++)
		assert_in_range(name_victim(), 32, 47);
	assert_int_equal(RESIDENT, memory.states[40]);
	assert_int_equal(0, name_victim());
}

/* It would look like a use of each block of a scan. */
static void
the_access_that_fetched_a_block_is_not_a_use(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(100, 100);
	for (i = 0; i < 100; i++) {
		fetch(i, false);
		mmem_policy_watch(&policy, MMEM_POLICY_LOOKS);
	}
	for (i = 0; i < 80; i++)
		assert_int_equal(MMEM_REUSE_NEW, policy.blocks[i].class);
	memory.flags[0] = true;
	for (i = 0; i < 20; i++) {
		mmem_policy_remove(&policy, 99);
		memory.states[99] = UNKNOWN;
		fetch(99, false);
		mmem_policy_watch(&policy, MMEM_POLICY_LOOKS);
	}
	assert_int_not_equal(MMEM_REUSE_NEW, policy.blocks[0].class);
}

static void
a_block_whose_access_may_not_have_ended_leaves_last(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(64, 64);
	for (i = 0; i < 64; i++)
		fetch(i, false);
	settle_all();
	policy.blocks[0].settled = false;
	for (i = 1; i < 64; i++)
		assert_int_not_equal(0, name_victim());
	assert_int_equal(0, name_victim());
}

static void
a_second_fetch_of_a_block_in_memory_has_no_effect(void **state)
{
	(void)state;
	open_policy(4, 4);
	fetch(1, false);
	fetch(2, false);
	mmem_policy_add(&policy, 1, true);
	assert_int_equal(2, policy.nb_resident);
	assert_int_equal(1, name_victim());
	mmem_policy_add(&policy, 1, false);
	assert_int_equal(2, policy.nb_resident);
	assert_int_equal(2, name_victim());
}

static void
only_a_named_block_is_kept_or_evicted(void **state)
{
	(void)state;
	open_policy(4, 4);
	mmem_policy_evicted(&policy, 0);
	mmem_policy_keep(&policy, 0);
	assert_false(mmem_policy_is_resident(&policy, 0));
	fetch(1, false);
	mmem_policy_evicted(&policy, 1);
	assert_true(mmem_policy_is_resident(&policy, 1));
	assert_int_equal(1, name_victim());
	mmem_policy_remove(&policy, 1);	/* freed in the middle of its eviction */
	mmem_policy_evicted(&policy, 1);
	mmem_policy_keep(&policy, 1);
	assert_false(mmem_policy_is_resident(&policy, 1));
	assert_int_equal(0, policy.nb_known);
}

/* 100 blocks that are in use, among 20,000 others that are used once. */
static void
a_scan_leaves_the_hot_set_in_memory(void **state)
{
	uint32_t i, missed = 0, hot, next = 1;

	(void)state;
	open_policy(1000, 200);
	for (i = 0; i < 40000; i++) {
		next = next * 1664525 + 1013904223;
		hot = (next >> 8) % 100;
		if (i % 2 == 0)
			access_block(100 + i / 2 % 900);
		else if (memory.states[hot] != RESIDENT && i > 10000)
			missed++;
		if (i % 2 == 1)
			access_block(hot);
	}
	/* LRU misses about one in seven of the 15,000. */
	assert_in_range(missed, 0, 150);
}

/* The optimum is 100 - 80 page-ins for each turn; LRU, CLOCK and FIFO have 100. */
static void
a_loop_over_more_than_memory_finds_most_of_memory_in_use(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(100, 80);
	for (i = 0; i < 100 * 50; i++)
		access_block(i % 100);
	assert_in_range(memory.page_ins, 100 + 49 * 20, 100 + 49 * 35);
}

static void
the_hot_set_may_move(void **state)
{
	uint32_t i, missed = 0, block, next = 1;

	(void)state;
	open_policy(400, 100);
	for (i = 0; i < 40000; i++) {
		next = next * 1664525 + 1013904223;
		block = i / 10000 * 100 + (next >> 8) % 90;
		if (i % 10000 > 1000)
			missed += memory.states[block] != RESIDENT;
		access_block(block);
	}
	assert_int_equal(0, missed);
}

static void
a_smaller_capacity_is_reached_and_a_larger_one_is_used(void **state)
{
	uint32_t i;

	(void)state;
	open_policy(400, 200);
	for (i = 0; i < 200; i++)
		access_block(i);
	mmem_policy_set_capacity(&policy, 50);
	memory.capacity = 50;
	while (memory.nb_in_memory >= 50)
		evict(name_victim());
	for (i = 200; i < 400; i++)
		access_block(i);
	assert_int_equal(50, policy.nb_resident);
	mmem_policy_set_capacity(&policy, 400);
	memory.capacity = 400;
	for (i = 0; i < 400; i++)
		access_block(i);
	assert_int_equal(400, policy.nb_resident);
}

static void
equal_runs_name_equal_victims(void **state)
{
	uint64_t page_ins[2], sum[2] = { 0, 0 };
	uint32_t i, run, next;

	(void)state;
	for (run = 0; run < 2; run++) {
		open_policy(500, 200);
		for (i = 0, next = 7; i < 20000; i++) {
			next = next * 1664525 + 1013904223;
			access_block((uint64_t)(next >> 16) * (next >> 16) % 500);
		}
		for (i = 0; i < 500; i++)
			sum[run] = sum[run] * 31 + memory.states[i];
		page_ins[run] = memory.page_ins;
		mmem_policy_fini(&policy);
	}
	assert_int_equal(page_ins[0], page_ins[1]);
	assert_int_equal(sum[0], sum[1]);
}

/* Each block once, those of a state together. */
static void
check_order(void)
{
	uint32_t i, block, counts[4] = { 0 };

	for (i = 0; i < memory.nb_blocks; i++)
		counts[memory.states[i]]++;
	assert_int_equal(counts[RESIDENT], policy.nb_candidates);
	assert_int_equal(counts[RESIDENT] + counts[NAMED], policy.nb_resident);
	assert_int_equal(memory.nb_blocks - counts[UNKNOWN], policy.nb_known);
	for (i = 0; i < policy.nb_known; i++) {
		block = policy.order[i];
		assert_int_equal(i, policy.blocks[block].at);
		assert_int_equal(i < policy.nb_candidates ? RESIDENT :
				i < policy.nb_resident ? NAMED : ABSENT, memory.states[block]);
		assert_true(policy.now - policy.blocks[block].last <= policy.now);
		assert_in_range(policy.blocks[block].class, 0, MMEM_REUSE_ALL - 1);
	}
	for (i = 0; i < memory.nb_blocks; i++)
		if (memory.states[i] == UNKNOWN)
			assert_int_equal(MMEM_POLICY_NONE, policy.blocks[i].at);
}

static void
do_anything(uint32_t block, uint32_t what)
{
	enum state *state = &memory.states[block];
	unsigned int looks = memory.looks;
	uint32_t victim;

	switch (what % 8) {
	case 0:
	case 1:
		mmem_policy_add(&policy, block, what & 8);
		if (*state == UNKNOWN || *state == ABSENT)
			*state = RESIDENT;
		break;
	case 2:
		memory.flags[block] = true;
		break;
	case 3:
		mmem_policy_watch(&policy, what / 8 % 64);
		assert_in_range(memory.looks - looks, 0, what / 8 % 64);
		break;
	case 4:
		victim = mmem_policy_name_victim(&policy, what / 8 % 4);
		assert_in_range(memory.looks - looks, 0, what / 8 % 4);
		if (victim != MMEM_POLICY_NONE) {
			assert_int_equal(RESIDENT, memory.states[victim]);
			memory.states[victim] = NAMED;
		}
		break;
	case 5:
		mmem_policy_evicted(&policy, block);
		if (*state == NAMED)
			*state = ABSENT;
		break;
	case 6:
		mmem_policy_keep(&policy, block);
		if (*state == NAMED)
			*state = RESIDENT;
		break;
	case 7:
		if (what & 8) {
			mmem_policy_remove(&policy, block);
			*state = UNKNOWN;
		} else if (what % 128 == 7) {
			mmem_policy_set_capacity(&policy, 1 + what / 128 % 100);
		}
		break;
	}
}

static void
any_calls_keep_each_block_in_one_state(void **state)
{
	uint32_t i, k, next = test_seed("calls of the policy");

	(void)state;
	for (i = 0; i < 20; i++) {
		open_policy(1 + i * 5, 1 + i * 2);
		for (k = 0; k < 2000; k++) {
			next = next * 1664525 + 1013904223;
			do_anything((next >> 4) % memory.nb_blocks, next >> 16);
			check_order();
		}
		assert_int_equal(0, memory.wrong_looks);
		mmem_policy_fini(&policy);
	}
}

static void
each_age_is_in_the_bucket_that_begins_before_it(void **state)
{
	uint64_t age;
	unsigned int bucket;

	(void)state;
	for (age = 0; age <= UINT32_MAX; age += 1 + age / 100) {
		bucket = mmem_reuse_get_bucket(age);
		assert_in_range(bucket, 0, MMEM_REUSE_AGES - 1);
		assert_true(mmem_reuse_get_first_age(bucket) <= age);
		assert_true(age < mmem_reuse_get_first_age(bucket + 1));
	}
}

static struct mmem_reuse reuse;

static void
rank_all(uint32_t now)
{
	unsigned int i;

	/* A turn takes at most 100 / 16 units or 8. */
	for (i = 0; i < 8; i++)
		mmem_reuse_advance(&reuse, now);
}

static void
without_observations_older_blocks_have_lower_ranks(void **state)
{
	unsigned int class, age;

	(void)state;
	mmem_reuse_init(&reuse, 100);
	for (class = 0; class < MMEM_REUSE_ALL; class++)
		for (age = 2; age < 1600; age *= 2)
			assert_true(mmem_reuse_get_rank(&reuse, class, age) <
					mmem_reuse_get_rank(&reuse, class, age / 2));
	assert_true(mmem_reuse_get_rank(&reuse, MMEM_REUSE_PREFETCHED, 0) <
			mmem_reuse_get_rank(&reuse, MMEM_REUSE_NEW, 2));
}

/* The class of blocks that are accessed each 128 units of time, and never between. */
static void
in_a_loop_the_rank_rises_until_the_access(void **state)
{
	unsigned int age, i;

	(void)state;
	mmem_reuse_init(&reuse, 100);
	for (i = 0; i < 1000; i++) {
		for (age = 0; age < 128; age++)
			mmem_reuse_add_exposure(&reuse, MMEM_REUSE_ONCE, age, 1);
		mmem_reuse_add_hit(&reuse, MMEM_REUSE_ONCE, 128);
	}
	rank_all(1);
	for (age = 4; age < 128; age *= 2)
		assert_true(mmem_reuse_get_rank(&reuse, MMEM_REUSE_ONCE, age) >
				mmem_reuse_get_rank(&reuse, MMEM_REUSE_ONCE, age / 2));
	/* Behind it the prior decides again. */
	assert_true(mmem_reuse_get_rank(&reuse, MMEM_REUSE_ONCE, 1000) <
			mmem_reuse_get_rank(&reuse, MMEM_REUSE_ONCE, 64));
}

static void
observations_lose_half_of_their_weight(void **state)
{
	float before;

	(void)state;
	mmem_reuse_init(&reuse, 100);
	mmem_reuse_add_hit(&reuse, MMEM_REUSE_ONCE, 5);
	mmem_reuse_add_exposure(&reuse, MMEM_REUSE_ONCE, 5, 3);
	rank_all(MMEM_REUSE_HALF_LIFE * 100 - 1);
	before = reuse.exposure[MMEM_REUSE_ONCE][mmem_reuse_get_bucket(5)];
	assert_true(before == 3);
	rank_all(MMEM_REUSE_HALF_LIFE * 100);
	assert_true(reuse.exposure[MMEM_REUSE_ONCE][mmem_reuse_get_bucket(5)] == 1.5f);
	assert_true(reuse.hits[MMEM_REUSE_ONCE][mmem_reuse_get_bucket(5)] == 0.5f);
}

static void
an_interval_that_comes_again_becomes_the_class(void **state)
{
	unsigned int class = MMEM_REUSE_PREFETCHED, i;

	(void)state;
	mmem_reuse_init(&reuse, 100);
	class = mmem_reuse_add_hit(&reuse, class, 1000);
	assert_int_equal(MMEM_REUSE_NEW, class);
	class = mmem_reuse_add_hit(&reuse, class, 1000);
	assert_int_equal(MMEM_REUSE_ONCE + 10, class);
	for (i = 0; i < 10; i++)
		class = mmem_reuse_add_hit(&reuse, class, 3);
	assert_int_equal(MMEM_REUSE_OFTEN + 2, class);
	for (i = 0; i < 10; i++)
		class = mmem_reuse_add_hit(&reuse, class, UINT32_MAX);
	assert_int_equal(MMEM_REUSE_ALL - 1, class);
	for (i = 0; i < 10; i++)
		class = mmem_reuse_add_hit(&reuse, class, 0);
	assert_int_equal(MMEM_REUSE_OFTEN, class);
}

#define WITH_POLICY(test)	cmocka_unit_test_teardown(test, close_policy)

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_number_out_of_range_is_refused),
	cmocka_unit_test(a_block_costs_16_bytes),
	WITH_POLICY(nothing_is_named_without_candidates),
	WITH_POLICY(a_block_is_named_once_until_it_is_kept),
	WITH_POLICY(a_block_that_was_kept_is_named_after_the_others),
	WITH_POLICY(a_call_looks_no_more_often_than_it_may),
	WITH_POLICY(blocks_are_looked_at_in_turn_once_half_of_the_capacity_is_used),
	WITH_POLICY(a_call_that_follows_many_fetches_counts_the_time_of_all),
	WITH_POLICY(an_accessed_block_is_not_named),
	WITH_POLICY(blocks_of_one_access_are_named_in_their_order),
	WITH_POLICY(blocks_that_were_prefetched_for_nothing_are_named_first),
	WITH_POLICY(the_access_that_fetched_a_block_is_not_a_use),
	WITH_POLICY(a_block_whose_access_may_not_have_ended_leaves_last),
	WITH_POLICY(a_second_fetch_of_a_block_in_memory_has_no_effect),
	WITH_POLICY(only_a_named_block_is_kept_or_evicted),
	WITH_POLICY(a_scan_leaves_the_hot_set_in_memory),
	WITH_POLICY(a_loop_over_more_than_memory_finds_most_of_memory_in_use),
	WITH_POLICY(the_hot_set_may_move),
	WITH_POLICY(a_smaller_capacity_is_reached_and_a_larger_one_is_used),
	cmocka_unit_test(equal_runs_name_equal_victims),
	cmocka_unit_test(any_calls_keep_each_block_in_one_state),
	cmocka_unit_test(each_age_is_in_the_bucket_that_begins_before_it),
	cmocka_unit_test(without_observations_older_blocks_have_lower_ranks),
	cmocka_unit_test(in_a_loop_the_rank_rises_until_the_access),
	cmocka_unit_test(observations_lose_half_of_their_weight),
	cmocka_unit_test(an_interval_that_comes_again_becomes_the_class),
};
TEST_SUITE(mmem_policy, tests, NULL, NULL);
