/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_TURN_H
#define SMMUV3_TURN_H

/**
 * @file
 * Turns: the order of callers that wait for one thing, here for a command queue. A caller takes a
 * turn and waits until it has come. Then no other turn has come, until this one ends. A caller that
 * waits no longer ends its turn early, and the turns behind it pass it.
 *
 *	if (smmuv3_turn_take(&turns, &turn)) {
 *		while (!smmuv3_turn_has_come(&turns, turn) && there is time)
 *			wait;
 *		...
 *		smmuv3_turn_end(&turns, turn);
 *	}
 *
 * Threads. Any. All calls of one turn are of one thread, and each returns without a wait. A caller
 * that needs no turn looks with smmuv3_turn_is_awaited() whether others wait.
 *
 * The end of a turn marks its slot, turn % SMMUV3_TURNS, and moves "now" past all turns that are
 * marked. A mark is the turn + 1, so that one of an older turn in the slot does not count; and a
 * slot is not used again before "now" has passed its turn.
 *
 *	ends turn t			ends turn t + 1
 *	E1 mark t			F1 mark t + 1
 *	E2 full barrier			F2 full barrier
 *	E3 t is marked: now = t + 1	F3 t is not marked: leave
 *	E4 t + 1 is not marked: leave
 *
 * Both may leave only if E4 reads before F1 and F3 before E1: the store buffering pattern, which
 * full barriers forbid. devtools/spin/cmdq_turn.pml checks this, and fails without them.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "smmuv3_order.h"

/* Turns that callers have at a time. More callers wait in no order. */
#define SMMUV3_TURNS	256

struct smmuv3_turns {
	_Atomic uint64_t next;		/* turn that is taken next */
	_Atomic uint64_t now;		/* all turns before it have ended, and it has not */
	_Atomic uint64_t ended[SMMUV3_TURNS];
};

static inline bool
smmuv3_turn_is_awaited(const struct smmuv3_turns *t)
{
	return atomic_load_explicit(&t->next, memory_order_relaxed) !=
		atomic_load_explicit(&t->now, memory_order_relaxed);
}

/* False: SMMUV3_TURNS callers have turns. */
static inline bool
smmuv3_turn_take(struct smmuv3_turns *t, uint64_t *turn)
{
	uint64_t next, now;

	do {
		/*
		 * Load now first, so that it is not beyond next. Acquires the release in
		 * smmuv3_turn_end(): the mark in the slot has been read.
		 */
		now = atomic_load_explicit(&t->now, memory_order_acquire);
		next = atomic_load_explicit(&t->next, memory_order_relaxed);
		if (next - now >= SMMUV3_TURNS)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&t->next, &next, next + 1,
			memory_order_relaxed, memory_order_relaxed));
	*turn = next;
	return true;
}

static inline bool
smmuv3_turn_has_come(const struct smmuv3_turns *t, uint64_t turn)
{
	return atomic_load_explicit(&t->now, memory_order_relaxed) == turn;
}

static inline void
smmuv3_turn_end(struct smmuv3_turns *t, uint64_t turn)
{
	uint64_t now;

	atomic_store_explicit(&t->ended[turn % SMMUV3_TURNS], turn + 1, memory_order_relaxed);
	smmuv3_io_mb();
	/* Each pass moves "now", or finds that another thread has. */
	for (;;) {
		now = atomic_load_explicit(&t->now, memory_order_relaxed);
		if (atomic_load_explicit(&t->ended[now % SMMUV3_TURNS], memory_order_relaxed) !=
				now + 1)
			return;
		/* Release: see smmuv3_turn_take(). */
		atomic_compare_exchange_strong_explicit(&t->now, &now, now + 1,
				memory_order_release, memory_order_relaxed);
	}
}

#endif /* SMMUV3_TURN_H */
