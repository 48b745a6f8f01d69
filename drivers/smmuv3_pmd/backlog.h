/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_BACKLOG_H
#define SMMUV3_BACKLOG_H

/**
 * @file
 * The backlog: a ring of commands with many producers and one consumer, the owner of the
 * command queue. A producer claims a run of entries with one compare-and-swap and publishes each
 * entry by its sequence number. So it never waits for another producer that was interrupted
 * half-way (rte_ring's multi-producer mode does). The consumer stops at the first entry that is
 * not published. The thread that publishes this entry then tries to become the owner, so no
 * command behind it is forgotten (cmdq_post.c).
 *
 * Slot p & mask holds position p when its seq is p + 1.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base.h"
#include "smmuv3_cmd.h"

/* A command that found the queue owned by another thread, or full. */
struct smmuv3_backlog_entry {
	_Atomic uint64_t seq;
	struct smmuv3_cmd cmd;
};

struct smmuv3_backlog {
	_Atomic uint64_t tail;
	uint64_t mask;
	struct smmuv3_backlog_entry *entries;
	uint64_t reserve;	/* tight when fewer entries are free; 0: never tight */
	_Atomic uint64_t head __rte_aligned(SMMUV3_ALIGN);
};

/* Records stay in their queue until there is room for their answers. */
static inline bool
smmuv3_backlog_is_tight(const struct smmuv3_backlog *b)
{
	/*
	 * Load tail first, so that it is not beyond head. Pairs with the release in
	 * smmuv3_backlog_pop().
	 */
	uint64_t tail = atomic_load_explicit(&b->tail, memory_order_acquire);
	uint64_t used = atomic_load_explicit(&b->head, memory_order_relaxed) - tail;

	return b->reserve > 0 && used + b->reserve > b->mask + 1;
}

/* Any thread. False when there is no room for all n commands: it takes none. */
static inline bool
smmuv3_backlog_push(struct smmuv3_backlog *b, const struct smmuv3_cmd *cmds, unsigned int n)
{
	uint64_t head = atomic_load_explicit(&b->head, memory_order_relaxed);
	unsigned int i;

	do {
		/*
		 * Acquires tail from smmuv3_backlog_pop(): the entries have been read. If head is
		 * old it may be behind tail; then the compare-and-swap fails.
		 */
		uint64_t tail = atomic_load_explicit(&b->tail, memory_order_acquire);

		if ((int64_t)(head + n - tail) > (int64_t)(b->mask + 1))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&b->head, &head, head + n,
			memory_order_relaxed, memory_order_relaxed));

	/*
	 * Backward: until the run is published whole, the consumer stops at its first entry. So an
	 * owner that looks meanwhile takes all answers of a burst or none, and they need one PROD
	 * store.
	 */
	for (i = n; i-- > 0;) {
		struct smmuv3_backlog_entry *entry = &b->entries[(head + i) & b->mask];

		entry->cmd = cmds[i];
		atomic_store_explicit(&entry->seq, head + i + 1, memory_order_release);
	}
	return true;
}

/* Any thread. A thread other than the owner may read true although the command is gone. */
static inline bool
smmuv3_backlog_has_cmd(const struct smmuv3_backlog *b)
{
	uint64_t tail = atomic_load_explicit(&b->tail, memory_order_relaxed);

	return atomic_load_explicit(&b->entries[tail & b->mask].seq, memory_order_relaxed) ==
			tail + 1;
}

/* Position of the next command that a producer adds. Any thread. */
static inline uint64_t
smmuv3_backlog_load_end(const struct smmuv3_backlog *b)
{
	return atomic_load_explicit(&b->head, memory_order_relaxed);
}

/* The next command to take is before this position. Owner. */
static inline bool
smmuv3_backlog_is_before(const struct smmuv3_backlog *b, uint64_t end)
{
	return atomic_load_explicit(&b->tail, memory_order_relaxed) < end;
}

/* Take the next command. False: it is not published. Owner. */
static inline bool
smmuv3_backlog_pop(struct smmuv3_backlog *b, struct smmuv3_cmd *cmd)
{
	uint64_t tail = atomic_load_explicit(&b->tail, memory_order_relaxed);
	const struct smmuv3_backlog_entry *entry = &b->entries[tail & b->mask];

	/* Acquires the seq that smmuv3_backlog_push() released: the command is complete. */
	if (atomic_load_explicit(&entry->seq, memory_order_acquire) != tail + 1)
		return false;
	*cmd = entry->cmd;
	atomic_store_explicit(&b->tail, tail + 1, memory_order_release);
	return true;
}

/* The n-th command from the next one to take, or NULL; the owner may change it in place. */
static inline struct smmuv3_cmd *
smmuv3_backlog_peek(struct smmuv3_backlog *b, uint64_t n)
{
	uint64_t pos = atomic_load_explicit(&b->tail, memory_order_relaxed) + n;
	struct smmuv3_backlog_entry *entry = &b->entries[pos & b->mask];

	/* Acquires the seq that smmuv3_backlog_push() released: the command is complete. */
	return atomic_load_explicit(&entry->seq, memory_order_acquire) == pos + 1 ?
			&entry->cmd : NULL;
}

#endif /* SMMUV3_BACKLOG_H */
