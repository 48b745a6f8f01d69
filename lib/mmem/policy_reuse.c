/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "mmem_reuse.h"

/*
 * The prior of all blocks: one that was used a time t ago is used in the next unit of time with a
 * chance of 1 / (t + 1). It weighs as much as so many hits in each bucket.
 */
#define PRIOR_HITS_ALL		8
/* The weight of the chance of all blocks as the prior of a class. */
#define PRIOR_HITS_CLASS	16
/* Of a block that was prefetched and not used yet: it leaves before blocks of its age. */
#define PRIOR_PREFETCHED	0.25f
/* Ages above so many times the capacity are not waited for. */
#define LONGEST			16
/* Units of time in which all classes are ranked, at least. */
#define SHORTEST_TURN		8

/* The mean of what was observed and of a prior chance that weighs as much as @p hits. */
static float
estimate(const struct mmem_reuse *reuse, unsigned int row, unsigned int bucket, float prior,
		float hits)
{
	float chance = (reuse->hits[row][bucket] + hits) /
			(reuse->exposure[row][bucket] + hits / prior);

	return chance < 1 ? chance : 1;
}

/* The chance of an access in a unit of time, at an age. */
static float
estimate_chance(const struct mmem_reuse *reuse, unsigned int class, unsigned int bucket)
{
	float middle = (mmem_reuse_get_first_age(bucket) +
			mmem_reuse_get_first_age(bucket + 1)) * 0.5f;
	float all = estimate(reuse, MMEM_REUSE_ALL, bucket, 1 / (middle + 1), PRIOR_HITS_ALL);

	if (class == MMEM_REUSE_PREFETCHED)
		all *= PRIOR_PREFETCHED;
	return estimate(reuse, class, bucket, all, PRIOR_HITS_CLASS);
}

static void
rank_class(struct mmem_reuse *reuse, unsigned int class)
{
	float ends[MMEM_REUSE_AGES];	/* the chance that a bucket's accesses come in it */
	float times[MMEM_REUSE_AGES];	/* the mean time until they do, or the bucket's end */
	uint64_t longest = (uint64_t)LONGEST * reuse->capacity;
	float left, chance, time, width, best;
	unsigned int i, k, nb;

	for (nb = 0; nb < MMEM_REUSE_AGES && mmem_reuse_get_first_age(nb) <= longest; nb++) {
		width = mmem_reuse_get_first_age(nb + 1) - mmem_reuse_get_first_age(nb);
		chance = estimate_chance(reuse, class, nb);
		ends[nb] = chance * width / (1 + chance * width);
		times[nb] = ends[nb] / chance;
	}
	for (i = 0; i < MMEM_REUSE_AGES; i++) {
		left = 1;
		time = 0;
		best = 0;
		for (k = i; k < nb; k++) {
			time += left * times[k];
			left -= left * ends[k];
			if (1 - left > best * time)
				best = (1 - left) / time;
		}
		reuse->rank[class][i] = best;
	}
}

static void
halve_class(struct mmem_reuse *reuse, unsigned int class)
{
	unsigned int i;

	for (i = 0; i < MMEM_REUSE_AGES; i++) {
		reuse->hits[class][i] *= 0.5f;
		reuse->exposure[class][i] *= 0.5f;
	}
}

void
mmem_reuse_init(struct mmem_reuse *reuse, uint32_t capacity)
{
	memset(reuse, 0, sizeof(*reuse));
	mmem_reuse_set_capacity(reuse, capacity);
}

void
mmem_reuse_set_capacity(struct mmem_reuse *reuse, uint32_t capacity)
{
	unsigned int i;

	reuse->capacity = capacity;
	for (i = 0; i < MMEM_REUSE_ROWS; i++)
		rank_class(reuse, i);
}

static unsigned int
get_next_class(unsigned int class, uint32_t interval)
{
	unsigned int log2 = interval == 0 ? 0 : 32 - __builtin_clz(interval), before;

	if (class == MMEM_REUSE_PREFETCHED)
		return MMEM_REUSE_NEW;
	if (log2 >= MMEM_REUSE_INTERVALS)
		log2 = MMEM_REUSE_INTERVALS - 1;
	if (class == MMEM_REUSE_NEW)
		return MMEM_REUSE_ONCE + log2;
	before = (class - MMEM_REUSE_ONCE) % MMEM_REUSE_INTERVALS;
	/* Rounded towards the interval now, so that it is reached. */
	return MMEM_REUSE_OFTEN + (before + log2 + (log2 > before)) / 2;
}

unsigned int
mmem_reuse_add_hit(struct mmem_reuse *reuse, unsigned int class, uint32_t age)
{
	unsigned int bucket = mmem_reuse_get_bucket(age);

	reuse->hits[class][bucket] += 1;
	reuse->hits[MMEM_REUSE_ALL][bucket] += 1;
	return get_next_class(class, age);
}

void
mmem_reuse_add_exposure(struct mmem_reuse *reuse, unsigned int class, uint32_t age, float time)
{
	unsigned int bucket = mmem_reuse_get_bucket(age);

	reuse->exposure[class][bucket] += time;
	reuse->exposure[MMEM_REUSE_ALL][bucket] += time;
}

void
mmem_reuse_advance(struct mmem_reuse *reuse, uint32_t now)
{
	uint32_t turn = reuse->capacity / 16;

	if (turn < SHORTEST_TURN)
		turn = SHORTEST_TURN;
	for (reuse->due += MMEM_REUSE_ROWS; reuse->due >= turn; reuse->due -= turn) {
		if (now - reuse->halved[reuse->next] >= MMEM_REUSE_HALF_LIFE * reuse->capacity) {
			halve_class(reuse, reuse->next);
			reuse->halved[reuse->next] = now;
		}
		rank_class(reuse, reuse->next);
		reuse->next = (reuse->next + 1) % MMEM_REUSE_ROWS;
	}
}
