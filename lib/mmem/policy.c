/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mmem_policy.h"

#define MAX_BLOCKS	(UINT32_C(1) << 31)
#define MAX_CAPACITY	(UINT32_C(1) << 28)
/* Candidates whose ranks are compared for a victim. */
#define SAMPLE		64
/* Blocks whose ages are sampled for each fetch. */
#define AGE_SAMPLE	16
#define MAX_LOOKED	((1u << 23) - 1)
/* After so many fetches the access that fetched a block has ended, and has set its flag. */
#define SETTLES_AFTER	8

/* Below n, of a linear congruential generator: the same in each run. */
static uint32_t
pick_random(struct mmem_policy *policy, uint32_t n)
{
	policy->random = policy->random * UINT64_C(6364136223846793005) +
			UINT64_C(1442695040888963407);
	return (policy->random >> 32) * n >> 32;
}

static void
put_at(struct mmem_policy *policy, uint32_t at, uint32_t block)
{
	policy->order[at] = block;
	policy->blocks[block].at = at;
}

/* Exchange two places of order[]. */
static void
swap(struct mmem_policy *policy, uint32_t at, uint32_t with)
{
	uint32_t block = policy->order[at];

	put_at(policy, at, policy->order[with]);
	put_at(policy, with, block);
}

/* Over each border of order[] behind it the block moves to the other side. */
static void
move_to_candidates(struct mmem_policy *policy, uint32_t block)
{
	const struct mmem_policy_block *b = &policy->blocks[block];

	if (b->at >= policy->nb_resident)
		swap(policy, b->at, policy->nb_resident++);
	swap(policy, b->at, policy->nb_candidates++);
}

static void
move_to_named(struct mmem_policy *policy, uint32_t block)
{
	swap(policy, policy->blocks[block].at, --policy->nb_candidates);
}

static void
move_to_absent(struct mmem_policy *policy, uint32_t block)
{
	const struct mmem_policy_block *b = &policy->blocks[block];

	if (b->at < policy->nb_candidates)
		move_to_named(policy, block);
	if (b->at < policy->nb_resident)
		swap(policy, b->at, --policy->nb_resident);
}

/*
 * The block was accessed at a time that is not known, after the last look and not after now; and it
 * may have been accessed several times. The statistics get any age in this time, as each is as
 * likely: always the latest would be wrong for blocks that are accessed all the time, always the
 * first for those of a loop. The last access is taken as now.
 */
static void
note_access(struct mmem_policy *policy, struct mmem_policy_block *b)
{
	uint32_t age = policy->now - b->last, first = b->looked;

	if (first < age)
		age = first + pick_random(policy, age - first + 1);
	b->class = mmem_reuse_add_hit(&policy->reuse, b->class, age);
	b->last = policy->now;
	b->looked = 0;
}

static bool
look(struct mmem_policy *policy, uint32_t block)
{
	struct mmem_policy_block *b = &policy->blocks[block];
	uint32_t since = policy->now - b->last;

	bool accessed = policy->conf.accessed(policy->conf.ctx, block);

	policy->looks++;
	policy->looks_accessed += accessed;
	if (accessed && b->settled) {
		note_access(policy, b);
		return true;
	}
	b->settled = true;
	b->looked = since < MAX_LOOKED ? since : MAX_LOOKED;
	return false;
}

/* Look at the block that was added first of the recent ones, if it is time. */
static void
settle_block(struct mmem_policy *policy)
{
	const struct mmem_policy_block *b;
	bool looked = false;
	uint32_t i;

	for (i = 0; i < policy->nb_recent; i++) {
		b = &policy->blocks[policy->recent[i]];
		if (b->settled || b->at >= policy->nb_candidates)
			continue;
		if (looked || policy->now - b->last < SETTLES_AFTER)
			break;
		look(policy, policy->recent[i]);
		looked = true;
	}
	policy->nb_recent -= i;
	memmove(policy->recent, policy->recent + i, policy->nb_recent * sizeof(policy->recent[0]));
}

int
mmem_policy_init(struct mmem_policy *policy, const struct mmem_policy_conf *conf)
{
	uint32_t i;

	memset(policy, 0, sizeof(*policy));
	if (conf->nb_blocks == 0 || conf->nb_blocks > MAX_BLOCKS || conf->capacity == 0 ||
			conf->capacity > MAX_CAPACITY || conf->accessed == NULL)
		return -EINVAL;
	policy->conf = *conf;
	policy->random = conf->seed;
	policy->blocks = malloc(conf->nb_blocks * sizeof(*policy->blocks));
	policy->order = malloc(conf->nb_blocks * sizeof(*policy->order));
	if (policy->blocks == NULL || policy->order == NULL) {
		mmem_policy_fini(policy);
		return -ENOMEM;
	}
	for (i = 0; i < conf->nb_blocks; i++)
		policy->blocks[i] = (struct mmem_policy_block){ .at = MMEM_POLICY_NONE };
	mmem_reuse_init(&policy->reuse, conf->capacity);
	return 0;
}

void
mmem_policy_fini(struct mmem_policy *policy)
{
	free(policy->blocks);
	free(policy->order);
	policy->blocks = NULL;
	policy->order = NULL;
}

void
mmem_policy_set_capacity(struct mmem_policy *policy, uint32_t capacity)
{
	policy->conf.capacity = capacity;
	mmem_reuse_set_capacity(&policy->reuse, capacity);
}

void
mmem_policy_add(struct mmem_policy *policy, uint32_t block, bool prefetched)
{
	struct mmem_policy_block *b = &policy->blocks[block];

	if (b->at < policy->nb_resident)
		return;
	policy->now++;
	policy->owed++;
	if (b->at == MMEM_POLICY_NONE) {
		b->class = MMEM_REUSE_NEW;
		put_at(policy, policy->nb_known++, block);
	} else if (!prefetched) {
		b->class = mmem_reuse_add_hit(&policy->reuse, b->class, policy->now - b->last);
	}
	if (prefetched)
		b->class = MMEM_REUSE_PREFETCHED;
	b->last = policy->now;
	b->looked = 0;
	b->settled = prefetched;
	/* If there is no room, the first look of another kind settles it. */
	if (!prefetched && policy->nb_recent < MMEM_POLICY_RECENT)
		policy->recent[policy->nb_recent++] = block;
	move_to_candidates(policy, block);
}

void
mmem_policy_remove(struct mmem_policy *policy, uint32_t block)
{
	struct mmem_policy_block *b = &policy->blocks[block];

	if (b->at == MMEM_POLICY_NONE)
		return;
	move_to_absent(policy, block);
	swap(policy, b->at, --policy->nb_known);
	b->at = MMEM_POLICY_NONE;
}

/* Blocks of all ages, in memory or not, stand for all known ones and for so many fetches. */
static void
sample_ages(struct mmem_policy *policy, float fetches)
{
	float time = fetches * policy->nb_known / AGE_SAMPLE;
	const struct mmem_policy_block *b;
	unsigned int i;

	for (i = 0; i < AGE_SAMPLE; i++) {
		b = &policy->blocks[policy->order[pick_random(policy, policy->nb_known)]];
		mmem_reuse_add_exposure(&policy->reuse, b->class, policy->now - b->last, time);
	}
}

void
mmem_policy_watch(struct mmem_policy *policy, unsigned int looks)
{
	uint32_t rounds = looks / MMEM_POLICY_LOOKS, owed = policy->owed, r, i;

	if (rounds == 0 || owed == 0 || policy->nb_known == 0)
		return;
	/* One round for each fetch, or one for several. */
	if (rounds > owed)
		rounds = owed;
	policy->owed = 0;
	for (r = 0; r < rounds; r++) {
		sample_ages(policy, (float)owed / rounds);
		mmem_reuse_advance(&policy->reuse, policy->now);
		if (policy->nb_candidates < policy->conf.capacity / 2)
			continue;
		settle_block(policy);
		for (i = 1; i < MMEM_POLICY_LOOKS && policy->nb_candidates != 0; i++) {
			if (policy->hand >= policy->nb_candidates)
				policy->hand = 0;
			look(policy, policy->order[policy->hand++]);
		}
	}
}

/* The candidate with the lowest rank of a sample; of equal ones the oldest. */
static uint32_t
find_lowest(struct mmem_policy *policy)
{
	uint32_t n = policy->nb_candidates, i, block, lowest = 0, age, oldest = 0;
	const struct mmem_policy_block *b;
	float rank, least = 0;

	for (i = 0; i < SAMPLE && i < n; i++) {
		block = policy->order[n <= SAMPLE ? i : pick_random(policy, n)];
		b = &policy->blocks[block];
		age = policy->now - b->last;
		rank = mmem_reuse_get_rank(&policy->reuse, b->class, age);
		/* Its access may not have ended. */
		if (!b->settled)
			rank += 1;
		if (i == 0 || rank < least || (rank == least && age > oldest)) {
			least = rank;
			oldest = age;
			lowest = block;
		}
	}
	return lowest;
}

uint32_t
mmem_policy_name_victim(struct mmem_policy *policy, unsigned int looks)
{
	uint32_t block;

	if (policy->nb_candidates == 0)
		return MMEM_POLICY_NONE;
	while (looks-- != 0) {
		block = find_lowest(policy);
		if (look(policy, block))
			continue;
		move_to_named(policy, block);
		return block;
	}
	return MMEM_POLICY_NONE;
}

static bool
is_named(const struct mmem_policy *policy, uint32_t block)
{
	uint32_t at = policy->blocks[block].at;

	return at >= policy->nb_candidates && at < policy->nb_resident;
}

void
mmem_policy_evicted(struct mmem_policy *policy, uint32_t block)
{
	if (is_named(policy, block))
		move_to_absent(policy, block);
}

void
mmem_policy_keep(struct mmem_policy *policy, uint32_t block)
{
	struct mmem_policy_block *b = &policy->blocks[block];

	if (!is_named(policy, block))
		return;
	/* No access is known: the statistics do not change, and others are named before it. */
	b->last = policy->now;
	b->looked = 0;
	move_to_candidates(policy, block);
}
