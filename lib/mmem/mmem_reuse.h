/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_REUSE_H
#define MMEM_REUSE_H

/*
 * After which time blocks are used again, learned while they are used: the estimate behind the
 * replacement policy (mmem_policy.h). No function allocates, locks or calls out; the caller of the
 * policy holds a lock.
 *
 * Model. Time is counted in fetched blocks. The age of a block is the time since its last known
 * access. Blocks are divided into classes by the intervals between their accesses so far. For each
 * class and age there are two sums: hits, the accesses at this age; and exposure, the time that
 * blocks spent at this age, which is sampled over all blocks, also those that are not in memory.
 * Hits over exposure is the chance of an access in the next unit of time. The prior of a class is
 * the chance of all blocks, whose own prior is that of LRU: the chance falls with the age.
 *
 * The rank of (class, age) is the worth of a block in memory: the largest ratio, over all times t,
 * of the chance of an access before t to the mean time until that access or t (the Gittins index).
 * It covers falling chances (recency: the oldest block has the lowest rank) and rising ones (a loop
 * over more than fits: the newest block has the lowest rank).
 *
 * Old observations lose half of their weight each MMEM_REUSE_HALF_LIFE times the capacity.
 */

#include <stdint.h>

#define MMEM_REUSE_HALF_LIFE	8
/* Two per power of two. */
#define MMEM_REUSE_AGES		64
/* Powers of two that are told apart in the intervals of a block. */
#define MMEM_REUSE_INTERVALS	19

/* Classes: */
enum {
	MMEM_REUSE_NEW,		/* one access so far */
	MMEM_REUSE_PREFETCHED,	/* none yet */
	MMEM_REUSE_ONCE,	/* one interval, by its power of two */
	MMEM_REUSE_OFTEN = MMEM_REUSE_ONCE + MMEM_REUSE_INTERVALS,	/* more, by their mean */
	MMEM_REUSE_ALL = MMEM_REUSE_OFTEN + MMEM_REUSE_INTERVALS,	/* sums over the classes */
	MMEM_REUSE_ROWS,
};

struct mmem_reuse {
	float hits[MMEM_REUSE_ROWS][MMEM_REUSE_AGES];
	float exposure[MMEM_REUSE_ROWS][MMEM_REUSE_AGES];
	float rank[MMEM_REUSE_ROWS][MMEM_REUSE_AGES];
	uint32_t halved[MMEM_REUSE_ROWS];	/* when */
	uint32_t capacity;
	uint32_t next;		/* class to be ranked, or MMEM_REUSE_ALL */
	uint32_t due;		/* parts of a class that are to be ranked */
};

/* The bucket of an age; ages in it begin with mmem_reuse_get_first_age(). */
static inline unsigned int
mmem_reuse_get_bucket(uint32_t age)
{
	unsigned int log2;

	if (age < 2)
		return age;
	log2 = 31 - __builtin_clz(age);
	return 2 * log2 + (age >> (log2 - 1) & 1);
}

static inline uint64_t
mmem_reuse_get_first_age(unsigned int bucket)
{
	unsigned int log2 = bucket / 2;

	return bucket < 2 ? bucket : (UINT64_C(2) + bucket % 2) << (log2 - 1);
}

/* What keeping a block is worth: the lower, the better a victim. */
static inline float
mmem_reuse_get_rank(const struct mmem_reuse *reuse, unsigned int class, uint32_t age)
{
	return reuse->rank[class][mmem_reuse_get_bucket(age)];
}

/* @p capacity is 1 or more. */
void mmem_reuse_init(struct mmem_reuse *reuse, uint32_t capacity);
void mmem_reuse_set_capacity(struct mmem_reuse *reuse, uint32_t capacity);

/* An access of a block at an age. Returns its next class. */
unsigned int mmem_reuse_add_hit(struct mmem_reuse *reuse, unsigned int class, uint32_t age);
/* A block was found at an age; it stands for @p time. */
void mmem_reuse_add_exposure(struct mmem_reuse *reuse, unsigned int class, uint32_t age,
		float time);
/*
 * Rank the classes that are due after one unit of time: all are ranked once in a sixteenth of the
 * capacity, and at most MMEM_REUSE_ROWS / 8 + 1 of them in one call.
 */
void mmem_reuse_advance(struct mmem_reuse *reuse, uint32_t now);

#endif /* MMEM_REUSE_H */
