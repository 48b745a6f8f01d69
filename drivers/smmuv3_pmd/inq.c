/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Queues that the SMMU writes: set-up, and marks for other threads than the poll thread. */

#include "inq.h"
#include "mem.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

void
smmuv3_inq_init(struct smmuv3 *s, struct smmuv3_inq *q, uint32_t base,
		struct smmuv3_word *word)
{
	q->regs = s->regs;
	/* The indices are on page 1, at the offsets of their aliases on page 0 [6.3.29, 6.3.35]. */
	q->prod_reg = base + SMMUV3_EVENTQ_PROD - SMMUV3_EVENTQ_BASE;
	q->cons_reg = base + SMMUV3_EVENTQ_CONS - SMMUV3_EVENTQ_BASE;
	q->msi = (s->idr0 & SMMUV3_IDR0_MSI) != 0;
	q->word = &word->v;
	q->peek = &word->peek;
	q->peek->word = (const void *)q->word;
	q->peek->idle = IOPF_PEEK_POLL;
}

int
smmuv3_inq_alloc(struct smmuv3 *s, struct smmuv3_inq *q, size_t entry, unsigned int log2)
{
	struct smmuv3_mem mem;
	int ret;

	if (q->ring != NULL && q->log2 == log2)
		return 0;
	ret = smmuv3_mem_alloc(s, entry << log2, &mem);
	if (ret < 0)
		return ret;
	if (q->ring != NULL)
		smmuv3_mem_free(s, &q->mem);
	q->mem = mem;
	q->ring = mem.va;
	q->log2 = log2;
	return 0;
}

uint64_t
smmuv3_inq_setup(struct smmuv3 *s, struct smmuv3_inq *q, uint32_t base)
{
	/* The registers restart at 0. The next position that reads as 0 and is beyond all marks: */
	uint64_t entries = smmuv3_inq_entries(q);
	uint64_t pos = RTE_ALIGN_CEIL(RTE_MAX(q->prod,
			atomic_load_explicit(&q->cons, memory_order_relaxed)) + entries,
			2 * entries);

	smmuv3_inq_set_peek(q, IOPF_PEEK_POLL);
	q->msi_late = false;
	q->prod_flags = 0;
	q->ovackflg = 0;
	q->prod = pos;
	atomic_store_explicit(&q->cons, pos, memory_order_relaxed);
	atomic_store_explicit(&q->returned, pos, memory_order_relaxed);
	smmuv3_write64(s->regs, base, SMMUV3_Q_BASE_RWA | (q->mem.addr & SMMUV3_Q_BASE_ADDR) |
			SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, q->log2));
	smmuv3_write32(s->regs, q->prod_reg, 0);
	smmuv3_write32(s->regs, q->cons_reg, 0);
	return pos;
}

/*
 * PROD as a position, for a thread that does not poll. Let c1 and c2 be cons, read before and
 * after PROD. Then PROD lies in [c1, c2 + entries]: PROD was at c1 before c1 was stored, and the
 * SMMU had read a CONS that was stored after cons. The register distinguishes positions that are
 * less than 2 * entries apart, so c2 - c1 < entries makes the position unique. Each load of cons
 * pairs with the release in smmuv3_inq_store_cons().
 */
uint64_t
smmuv3_inq_take_mark(struct smmuv3_inq *q)
{
	uint64_t c1, c2;
	uint32_t prod;

	/* Pairs with the releases in smmuv3_start() and smmuv3_stop(). */
	if (!atomic_load_explicit(&q->on, memory_order_acquire))
		return atomic_load_explicit(&q->cons, memory_order_acquire);
	do {
		c1 = atomic_load_explicit(&q->cons, memory_order_acquire);
		prod = smmuv3_load_prod(q->regs, q->prod_reg);
		c2 = atomic_load_explicit(&q->cons, memory_order_acquire);
	} while (c2 - c1 >= smmuv3_inq_entries(q));
	return c1 + smmuv3_q_pos(q->log2, prod - (uint32_t)c1);
}

bool
smmuv3_inq_has_passed(struct smmuv3_inq *q, uint64_t mark)
{
	/*
	 * While the queue is off, no entry left in it is ever read. The loads pair with the
	 * releases in smmuv3_start(), smmuv3_stop() and smmuv3_inq_store_returned_pos().
	 */
	return !atomic_load_explicit(&q->on, memory_order_acquire) ||
		(int64_t)(atomic_load_explicit(&q->returned, memory_order_acquire) - mark) >= 0;
}
