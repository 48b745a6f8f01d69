/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Baseline: a command queue in the manner of Linux since 2019. One compare-and-swap on PROD and
 * CONS together reserves entries. A bit of PROD says that an owner gathers: the thread that finds
 * it clear becomes the owner. Each thread writes its entries, and toggles a bit for each of them.
 * The owner clears its bit, so that the next reservation has another owner; waits for the owner
 * before; waits until all entries up to there are written; and stores CMDQ_PROD.
 *
 * A CMD_SYNC is complete when the SMMU has written 0 over its first word. Until then its entry must
 * not be used again. So a waiting thread is a reader of a lock, and CONS in the index moves only
 * when the last reader leaves, or by the thread that has the lock alone.
 *
 * Linux disables interrupts in all of this. Here a thread may lose its CPU between reservation and
 * toggle, or as the owner: the others wait with cmdq_wait().
 */

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>

#include "cmdq_suite.h"

#define OWNED		(UINT32_C(1) << 31)
#define ENTRIES		(1u << CMDQ_LOG2)
#define WORD_BITS	64u

union gather_index {
	_Atomic uint64_t both;
	struct {
		_Atomic uint32_t prod;	/* with OWNED */
		_Atomic uint32_t cons;
	} half;
};

struct gather_queue {
	union gather_index index;
	_Atomic uint32_t owner_prod __attribute__((aligned(CMDQ_ALIGN)));	/* as stored */
	/* Readers; < 0: one writer. */
	_Atomic int32_t lock __attribute__((aligned(CMDQ_ALIGN)));
	/* A bit for each entry: written, if it differs from the wrap bit of its position. */
	_Atomic uint64_t valid[ENTRIES / WORD_BITS] __attribute__((aligned(CMDQ_ALIGN)));
	struct cmdq_rig *rig;
	uint64_t prod_writes;
};

static inline uint64_t
make_index(uint32_t prod, uint32_t cons)
{
	return (uint64_t)cons << 32 | prod;
}

static void *
gather_open(struct cmdq_rig *rig)
{
	struct gather_queue *q = aligned_alloc(CMDQ_ALIGN, sizeof(*q));

	if (q == NULL)
		return NULL;
	*q = (struct gather_queue){ .rig = rig };
	cmdq_rig_write_regs(rig);
	return q;
}

static uint32_t
load_cons(struct gather_queue *q)
{
	return smmuv3_q_pos(CMDQ_LOG2, smmuv3_load_status(q->rig->regs, SMMUV3_CMDQ_CONS));
}

static void
lock_shared(struct gather_queue *q)
{
	int32_t v;

	/* Pairs with the release in unlock_exclusive(). */
	if (atomic_fetch_add_explicit(&q->lock, 1, memory_order_acquire) >= 0)
		return;
	/* The writer's store drops this reader: it adds itself again. */
	do {
		while ((v = atomic_load_explicit(&q->lock, memory_order_relaxed)) < 0)
			sched_yield();
	} while (!atomic_compare_exchange_weak_explicit(&q->lock, &v, v + 1, memory_order_acquire,
			memory_order_relaxed));
}

/* The SMMU has consumed all before @p end, the reader's own CMD_SYNC. */
static void
unlock_shared(struct gather_queue *q, uint32_t end)
{
	/*
	 * The last reader: no other thread changes CONS until it leaves. Not the CONS of now: that
	 * may be beyond the CMD_SYNC of a reader that has come meanwhile.
	 */
	if (atomic_load_explicit(&q->lock, memory_order_relaxed) == 1)
		atomic_store_explicit(&q->index.half.cons, end, memory_order_relaxed);
	atomic_fetch_sub_explicit(&q->lock, 1, memory_order_release);
}

static bool
try_lock_exclusive(struct gather_queue *q)
{
	int32_t none = 0;

	/* Pairs with the release in unlock_shared(). */
	return atomic_compare_exchange_strong_explicit(&q->lock, &none, INT_MIN,
			memory_order_acquire, memory_order_relaxed);
}

static void
unlock_exclusive(struct gather_queue *q)
{
	atomic_store_explicit(&q->lock, 0, memory_order_release);
}

/* Wait until n entries are free. *index is read again. */
static bool
wait_for_room(struct gather_queue *q, unsigned int n, uint64_t *index)
{
	struct cmdq_wait w;

	cmdq_wait_begin(q->rig, &w);
	for (;;) {
		if (try_lock_exclusive(q)) {
			atomic_store_explicit(&q->index.half.cons, load_cons(q),
					memory_order_relaxed);
			unlock_exclusive(q);
		}
		*index = atomic_load_explicit(&q->index.both, memory_order_relaxed);
		if (smmuv3_q_space(CMDQ_LOG2, (uint32_t)*index, (uint32_t)(*index >> 32)) >= n)
			return true;
		if (!cmdq_wait(q->rig, &w))
			return false;
	}
}

/* Reserve n entries from *start. False: timeout. */
static bool
reserve(struct gather_queue *q, unsigned int n, uint32_t *start, bool *owner)
{
	uint64_t old = atomic_load_explicit(&q->index.both, memory_order_relaxed);
	uint32_t prod, cons;

	do {
		prod = (uint32_t)old & ~OWNED;
		cons = (uint32_t)(old >> 32);
		if (smmuv3_q_space(CMDQ_LOG2, prod, cons) < n) {
			if (!wait_for_room(q, n, &old))
				return false;
			prod = (uint32_t)old & ~OWNED;
			cons = (uint32_t)(old >> 32);
		}
	} while (!atomic_compare_exchange_weak_explicit(&q->index.both, &old,
			make_index(smmuv3_q_add(CMDQ_LOG2, prod, n) | OWNED, cons),
			memory_order_relaxed, memory_order_relaxed));
	*start = prod;
	*owner = !((uint32_t)old & OWNED);
	/* CONS was read by another thread perhaps: the entries are written after that. */
	atomic_thread_fence(memory_order_acquire);
	return true;
}

/* The bits of positions [pos, end) in one word: returns its number, and the next position. */
static unsigned int
take_word(uint32_t *pos, uint32_t end, uint64_t *mask)
{
	uint32_t slot = smmuv3_q_slot(CMDQ_LOG2, *pos), first = slot % WORD_BITS;
	uint32_t n = smmuv3_q_count(CMDQ_LOG2, end, *pos);

	if (n > WORD_BITS - first)
		n = WORD_BITS - first;
	*mask = (n == WORD_BITS ? UINT64_MAX : (UINT64_C(1) << n) - 1) << first;
	*pos = smmuv3_q_add(CMDQ_LOG2, *pos, n);
	return slot / WORD_BITS;
}

static void
mark_valid(struct gather_queue *q, uint32_t pos, uint32_t end)
{
	uint64_t mask;
	unsigned int word;

	while (pos != end) {
		word = take_word(&pos, end, &mask);
		/* Release: the entries are visible. */
		atomic_fetch_xor_explicit(&q->valid[word], mask, memory_order_release);
	}
}

static bool
wait_until_valid(struct gather_queue *q, uint32_t pos, uint32_t end, struct cmdq_wait *w)
{
	uint64_t mask, want;
	unsigned int word;

	while (pos != end) {
		want = pos & ENTRIES ? 0 : UINT64_MAX;
		word = take_word(&pos, end, &mask);
		/* Pairs with the release in mark_valid(). */
		while ((atomic_load_explicit(&q->valid[word], memory_order_acquire) & mask) !=
				(want & mask))
			if (!cmdq_wait(q->rig, w))
				return false;
	}
	return true;
}

/* The owner's work: publish all that is reserved by now. */
static bool
publish(struct gather_queue *q, uint32_t start)
{
	struct cmdq_wait w;
	uint32_t prod;

	cmdq_wait_begin(q->rig, &w);
	/* Pairs with the release of the owner before: its PROD store comes first. */
	while (atomic_load_explicit(&q->owner_prod, memory_order_acquire) != start)
		if (!cmdq_wait(q->rig, &w))
			return false;
	prod = atomic_fetch_and_explicit(&q->index.half.prod, ~OWNED, memory_order_relaxed) &
			~OWNED;
	if (!wait_until_valid(q, start, prod, &w))
		return false;
	q->prod_writes++;
	smmuv3_store_prod(q->rig->regs, SMMUV3_CMDQ_PROD, prod);
	atomic_store_explicit(&q->owner_prod, prod, memory_order_release);
	return true;
}

static int
issue(struct gather_queue *q, const struct smmuv3_cmd *cmds, unsigned int n, bool sync)
{
	struct smmuv3_cmd *entry = NULL;
	uint32_t start, pos;
	struct cmdq_wait w;
	unsigned int i;
	bool owner;

	if (!reserve(q, n + sync, &start, &owner))
		return -ETIMEDOUT;
	for (i = 0, pos = start; i < n; i++, pos = smmuv3_q_add(CMDQ_LOG2, pos, 1))
		q->rig->ring[smmuv3_q_slot(CMDQ_LOG2, pos)] = cmds[i];
	if (sync) {
		entry = &q->rig->ring[smmuv3_q_slot(CMDQ_LOG2, pos)];
		*entry = smmuv3_cmd_sync_msi((uintptr_t)entry, 0);
		pos = smmuv3_q_add(CMDQ_LOG2, pos, 1);
		/* Before the entry is valid: the SMMU cannot have passed it. */
		lock_shared(q);
	}
	mark_valid(q, start, pos);
	if (owner && !publish(q, start))
		return -ETIMEDOUT;
	if (!sync)
		return 0;
	cmdq_wait_begin(q->rig, &w);
	/* Pairs with the SMMU's write of the word. */
	while (smmuv3_load_word((const smmuv3_reg32_t *)(const void *)entry) != 0)
		if (!cmdq_wait(q->rig, &w))
			return -ETIMEDOUT;
	unlock_shared(q, pos);
	return 0;
}

static int
gather_post(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	return issue(queue, cmds, n, false);
}

static int
gather_sync(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	return issue(queue, cmds, n, true);
}

static int
gather_finish(void *queue)
{
	(void)queue;
	return 0;
}

static uint64_t
gather_count_prod_writes(void *queue)
{
	return ((struct gather_queue *)queue)->prod_writes;
}

const struct cmdq_impl cmdq_gather = {
	.name = "gather",
	.open = gather_open,
	.post = gather_post,
	.sync = gather_sync,
	.finish = gather_finish,
	.count_prod_writes = gather_count_prod_writes,
	.close = free,
};
