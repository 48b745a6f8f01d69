/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_POLICY_H
#define MMEM_POLICY_H

/*
 * The replacement policy: which block leaves memory next.
 *
 * Model. A block is named by an index below nb_blocks and is in one of four states:
 *
 *	unknown		never added, or removed
 *	resident	in memory, a candidate
 *	named		in memory; mmem_policy_name_victim() named it, and the caller evicts it or
 *			keeps it. It is not named again meanwhile
 *	absent		evicted; the policy remembers its class and the time of its last access
 *
 * The policy learns of accesses in two ways. A block that is added was fetched, and unless it was
 * prefetched it was accessed now. Of a resident block accessed() tells whether the block was
 * accessed since the call before, by a device or a CPU, and clears the access flag. This is a look.
 * The first look at a block that was fetched for an access only clears the flag, which this access
 * has set. It comes after a few further fetches; until then other blocks are named first.
 * Each look at an accessed block costs the owner something later (the flag is set again, by the
 * hardware or by a fault), so each function bounds its looks.
 *
 * The victim is the block with the lowest rank (mmem_reuse.h) in a sample of the residents, if a
 * look finds that it was not accessed. Blocks that were prefetched and not accessed yet have a low
 * rank until their class is seen to be used.
 *
 * Cost. A call takes constant time, whatever the number of blocks, but mmem_policy_init(). Memory:
 * 16 bytes a block, allocated by mmem_policy_init().
 *
 * Call order, of an owner that keeps the number of blocks in memory at most at the capacity:
 *
 *	mmem_policy_init(&policy, &conf);
 *	...				a block was fetched:
 *	mmem_policy_add(&policy, block, false);
 *	...				on the evictor's thread:
 *	mmem_policy_watch(&policy, 256);
 *	while (too full && (block = mmem_policy_name_victim(&policy, 32)) != MMEM_POLICY_NONE) {
 *		if (it is pinned)
 *			mmem_policy_keep(&policy, block);
 *		else ...		evict it; then
 *			mmem_policy_evicted(&policy, block);
 *	}
 *	mmem_policy_remove(&policy, block);	its memory is freed
 *	mmem_policy_fini(&policy);
 *
 * mmem_policy_watch() makes the looks that keep the known accesses recent: MMEM_POLICY_LOOKS for
 * each block that was added, as soon as half of the capacity is used. Without it the policy works,
 * and knows less.
 *
 * Threads. The caller holds one lock for all calls. accessed() is called under it, by
 * mmem_policy_watch() and mmem_policy_name_victim() alone, and calls no function of the policy.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mmem_reuse.h"

#define MMEM_POLICY_NONE	UINT32_MAX
/* Looks for each block that is added: a first one at a recent block, the others in turn. */
#define MMEM_POLICY_LOOKS	8
/* Blocks that were added and wait for the first of these looks. */
#define MMEM_POLICY_RECENT	64

struct mmem_policy_conf {
	uint32_t nb_blocks;	/* blocks are 0 to nb_blocks - 1; 1 to 2^31 */
	uint32_t capacity;	/* blocks that fit in memory; 1 to 2^28 */
	/* Test and clear the access flag of a resident block. */
	bool (*accessed)(void *ctx, uint32_t block);
	void *ctx;
	uint64_t seed;		/* of the samples: equal ones name equal victims */
};

struct mmem_policy_block {
	uint32_t at;		/* in order[]; MMEM_POLICY_NONE: unknown */
	uint32_t last;		/* time of the last known access; if prefetched, of the fetch */
	uint32_t looked : 23;	/* the last look, after that time; the largest: or later */
	uint32_t settled : 1;	/* the flag of the access that fetched it has been cleared */
	uint32_t class : 8;
};

struct mmem_policy {
	struct mmem_policy_conf conf;
	struct mmem_policy_block *blocks;
	uint32_t *order;	/* blocks: residents, named ones, absent ones */
	uint32_t nb_candidates;	/* residents that are not named */
	uint32_t nb_resident;	/* with those named */
	uint32_t nb_known;	/* with those absent */
	uint32_t now;		/* fetches so far */
	uint32_t owed;		/* fetches that mmem_policy_watch() has not followed */
	uint32_t hand;		/* the next look, in order[] */
	uint32_t recent[MMEM_POLICY_RECENT];	/* added last, not settled, the oldest first */
	uint32_t nb_recent;
	uint64_t random;
	struct mmem_reuse reuse;
	uint64_t looks;		/* counters */
	uint64_t looks_accessed;
};

/*
 * Returns 0, -EINVAL for a number out of range or no accessed(), or -ENOMEM. mmem_policy_fini()
 * frees; it may be called for a zeroed policy.
 */
int mmem_policy_init(struct mmem_policy *policy, const struct mmem_policy_conf *conf);
void mmem_policy_fini(struct mmem_policy *policy);

/* The budget has changed; 1 to 2^28. More blocks than the capacity may be resident. */
void mmem_policy_set_capacity(struct mmem_policy *policy, uint32_t capacity);

/* A block was fetched: it was accessed, or @p prefetched. Of one that is in memory: no effect. */
void mmem_policy_add(struct mmem_policy *policy, uint32_t block, bool prefetched);
/* Forget a block, in any state. */
void mmem_policy_remove(struct mmem_policy *policy, uint32_t block);

/* Make looks that are owed, at most @p looks, rounded down to a multiple of MMEM_POLICY_LOOKS. */
void mmem_policy_watch(struct mmem_policy *policy, unsigned int looks);

/*
 * Returns a block to be evicted, which is named from now on; or MMEM_POLICY_NONE if there is no
 * candidate, or if @p looks at the best ones found all accessed: then further calls go on.
 */
uint32_t mmem_policy_name_victim(struct mmem_policy *policy, unsigned int looks);
/* The named block is not in memory any more. This and the next have no effect in other states. */
void mmem_policy_evicted(struct mmem_policy *policy, uint32_t block);
/* The named block stays in memory, as one that was accessed now: it is pinned or busy. */
void mmem_policy_keep(struct mmem_policy *policy, uint32_t block);

static inline bool
mmem_policy_is_resident(const struct mmem_policy *policy, uint32_t block)
{
	return policy->blocks[block].at < policy->nb_resident;
}

#endif /* MMEM_POLICY_H */
