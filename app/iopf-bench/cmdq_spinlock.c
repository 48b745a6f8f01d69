/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Baseline: a command queue under a spinlock whose waiters yield. The lock covers the entries, PROD
 * and the number of the CMD_SYNC, not the wait for its completion: as in Linux until 2019, where
 * the CMD_SYNC has an MSI.
 */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "cmdq_suite.h"

struct spinlock_queue {
	_Atomic uint32_t lock;
	uint32_t seq;		/* of the last CMD_SYNC */
	uint32_t prod, cons;
	uint64_t prod_writes;
	struct cmdq_rig *rig;
} __attribute__((aligned(CMDQ_ALIGN)));

static void *
spinlock_open(struct cmdq_rig *rig)
{
	struct spinlock_queue *q = aligned_alloc(CMDQ_ALIGN, sizeof(*q));

	if (q == NULL)
		return NULL;
	*q = (struct spinlock_queue){ .rig = rig };
	cmdq_rig_write_regs(rig);
	return q;
}

static void
lock(struct spinlock_queue *q)
{
	/* Pairs with the release in unlock(). */
	while (atomic_load_explicit(&q->lock, memory_order_relaxed) != 0 ||
			atomic_exchange_explicit(&q->lock, 1, memory_order_acquire) != 0)
		sched_yield();
}

static void
unlock(struct spinlock_queue *q)
{
	atomic_store_explicit(&q->lock, 0, memory_order_release);
}

static bool
wait_for_room(struct spinlock_queue *q, unsigned int n)
{
	struct cmdq_wait w;

	if (smmuv3_q_space(CMDQ_LOG2, q->prod, q->cons) >= n)
		return true;
	cmdq_wait_begin(q->rig, &w);
	for (;;) {
		q->cons = smmuv3_load_status(q->rig->regs, SMMUV3_CMDQ_CONS);
		if (smmuv3_q_space(CMDQ_LOG2, q->prod, q->cons) >= n)
			return true;
		if (!cmdq_wait(q->rig, &w))
			return false;
	}
}

static void
put(struct spinlock_queue *q, struct smmuv3_cmd cmd)
{
	q->rig->ring[smmuv3_q_slot(CMDQ_LOG2, q->prod)] = cmd;
	q->prod = smmuv3_q_add(CMDQ_LOG2, q->prod, 1);
}

static void
publish(struct spinlock_queue *q)
{
	q->prod_writes++;
	smmuv3_store_prod(q->rig->regs, SMMUV3_CMDQ_PROD, q->prod);
}

static int
spinlock_post(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct spinlock_queue *q = queue;
	unsigned int i;

	lock(q);
	if (!wait_for_room(q, n)) {
		unlock(q);
		return -ETIMEDOUT;
	}
	for (i = 0; i < n; i++)
		put(q, cmds[i]);
	publish(q);
	unlock(q);
	return 0;
}

static int
spinlock_sync(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct spinlock_queue *q = queue;
	struct cmdq_wait w;
	unsigned int i;
	uint32_t seq;

	lock(q);
	if (!wait_for_room(q, n + 1)) {
		unlock(q);
		return -ETIMEDOUT;
	}
	for (i = 0; i < n; i++)
		put(q, cmds[i]);
	seq = ++q->seq;
	put(q, smmuv3_cmd_sync_msi((uintptr_t)q->rig->word, seq));
	publish(q);
	unlock(q);
	cmdq_wait_begin(q->rig, &w);
	/* Pairs with the SMMU's write of the word. CMD_SYNCs complete in order: it only grows. */
	while ((int32_t)(smmuv3_load_word(q->rig->word) - seq) < 0)
		if (!cmdq_wait(q->rig, &w))
			return -ETIMEDOUT;
	return 0;
}

static int
spinlock_finish(void *queue)
{
	(void)queue;
	return 0;
}

static uint64_t
spinlock_count_prod_writes(void *queue)
{
	return ((struct spinlock_queue *)queue)->prod_writes;
}

const struct cmdq_impl cmdq_spinlock = {
	.name = "spinlock",
	.open = spinlock_open,
	.post = spinlock_post,
	.sync = spinlock_sync,
	.finish = spinlock_finish,
	.count_prod_writes = spinlock_count_prod_writes,
	.close = free,
};
