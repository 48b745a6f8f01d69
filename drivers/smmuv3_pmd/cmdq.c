/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A command queue: registers, enable and disable [3.5, 6.3.26 - 6.3.28]. */

#include <stdlib.h>
#include <string.h>

#include "backlog.h"
#include "base.h"
#include "cmdq.h"
#include "cmdq_ring.h"
#include "mem.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "wait.h"

int
smmuv3_cmdq_wait_own(struct smmuv3_cmdq *q)
{
	struct smmuv3_wait w;

	q->ops->wait_begin(q->ctx, &w);
	while (!smmuv3_cmdq_try_own(q))
		if (!q->ops->wait(q->ctx, &w))
			return -ETIMEDOUT;
	return 0;
}

/*
 * CONS as a position, without owning the queue. Let p1 and p2 be prod, read before and after
 * CONS. Then the position lies in [p1 - entries, p2]:
 *   - p1 was stored after its writer had read a CONS of at least p1 - entries, and our read of
 *     CONS comes after it (acquires the prod that smmuv3_cmdq_publish_prod() or
 *     smmuv3_cmdq_setup() released), so it is no older;
 *   - CONS never passes CMDQ_PROD, which is stored after prod; so p2, read after CONS (an
 *     acquire of the SMMU's release), is no smaller.
 * The register distinguishes positions that are less than 2 * entries apart, so
 * p2 - p1 < entries makes the position unique.
 */
uint64_t
smmuv3_cmdq_load_cons(struct smmuv3_cmdq *q)
{
	uint64_t p1, p2, lowest;
	uint32_t cons;

	do {
		p1 = atomic_load_explicit(&q->prod, memory_order_acquire);
		cons = smmuv3_load_status(q->regs, q->cons_reg);
		p2 = atomic_load_explicit(&q->prod, memory_order_acquire);
	} while (p2 - p1 >= smmuv3_cmdq_entries(q));
	lowest = p1 - smmuv3_cmdq_entries(q);
	return lowest + smmuv3_q_pos(q->log2, cons - (uint32_t)lowest);
}

/* The registers restart at 0. Returns the next position that reads as 0 and was not used. */
static uint64_t
find_restart_pos(const struct smmuv3_cmdq *q)
{
	return RTE_ALIGN_CEIL(q->tail + 1, 2 * smmuv3_cmdq_entries(q));
}

void
smmuv3_cmdq_setup(struct smmuv3_cmdq *q)
{
	/* Drop the answers that came while the queue was off. */
	smmuv3_cmdq_flush_backlog(q, UINT64_MAX);
	smmuv3_cmdq_drop_held(q);
	q->tail = find_restart_pos(q);
	q->sync_sid = 0;
	q->unsynced = false;
	q->cons = q->tail;
	q->retry_pos = UINT64_MAX;
	q->divert = 0;
	atomic_store_explicit(&q->prod, q->tail, memory_order_release);
	smmuv3_write64(q->regs, q->base_reg, SMMUV3_Q_BASE_RWA |
			(q->mem.addr & SMMUV3_Q_BASE_ADDR) |
			SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, q->log2));
	smmuv3_write32(q->regs, q->prod_reg, 0);
	smmuv3_write32(q->regs, q->cons_reg, 0);
}

int
smmuv3_cmdq_drain(struct smmuv3_cmdq *q)
{
	struct smmuv3_wait w;

	q->ops->wait_begin(q->ctx, &w);
	while (smmuv3_state_takes_cmds(q->state) &&
			(smmuv3_backlog_has_cmd(&q->backlog) || smmuv3_cmdq_load_cons(q) <
			atomic_load_explicit(&q->prod, memory_order_relaxed))) {
		smmuv3_cmdq_try_flush(q);
		if (!q->ops->wait(q->ctx, &w)) {
			SMMUV3_LOG(ERR, q, "commands left in the queue after %u ms: CMDQ_PROD "
					"0x%x, CMDQ_CONS 0x%x; stop it again, or reset the SMMU",
					SMMUV3_TIMEOUT_MS, smmuv3_read32(q->regs, q->prod_reg),
					smmuv3_read32(q->regs, q->cons_reg));
			return -ETIMEDOUT;
		}
	}
	return 0;
}

int
smmuv3_cmdq_drop_resumes(struct smmuv3_cmdq *q)
{
	int ret = smmuv3_cmdq_wait_own(q);

	if (ret < 0)
		return ret;
	smmuv3_cmdq_flush_backlog(q, UINT64_MAX);
	q->divert = SMMUV3_DIVERT_RESUME;
	smmuv3_cmdq_disown(q);
	return 0;
}

int
smmuv3_cmdq_set_ring(struct smmuv3_cmdq *q, struct smmuv3_mem *mem, unsigned int log2)
{
	uint64_t *sync_sids = NULL;
	struct smmuv3_mem before;
	int ret;

	if (q->atc) {
		sync_sids = calloc((size_t)1 << log2, sizeof(*sync_sids));
		if (sync_sids == NULL)
			return -ENOMEM;
	}
	ret = smmuv3_cmdq_wait_own(q);
	if (ret < 0) {
		free(sync_sids);
		return ret;
	}
	free(q->sync_sids);
	q->sync_sids = sync_sids;
	before = q->mem;
	q->mem = *mem;
	q->ring = mem->va;
	q->log2 = log2;
	/* In a queue of one entry, answers and waiting callers share it. */
	q->sync_entries = !q->sync_batches ? log2 > 0 :
			RTE_MIN(smmuv3_cmdq_entries(q) - 1, SMMUV3_CHUNK + UINT64_C(2));
	smmuv3_cmdq_clear_owner(q);
	*mem = before;
	return 0;
}

/*
 * Zeroed and populated, so that a poll meets no page fault. Not EAL's memory: a poll thread may go
 * on for a moment after rte_eal_cleanup().
 */
static void *
alloc_touched(size_t size)
{
	void *p;

	size = RTE_ALIGN_CEIL(size, (size_t)SMMUV3_ALIGN);
	p = aligned_alloc(SMMUV3_ALIGN, size);
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

int
smmuv3_cmdq_open(struct smmuv3_cmdq *q, const struct smmuv3_cmdq_conf *conf)
{
	q->name = conf->name;
	q->ops = conf->ops;
	q->ctx = conf->ctx;
	q->state = conf->state;
	q->regs = conf->regs;
	q->base_reg = conf->base_reg;
	q->prod_reg = conf->prod_reg;
	q->cons_reg = conf->cons_reg;
	q->atc = conf->atc;
	q->sync_batches = conf->sync_batches;
	q->records_cmds = q->atc || q->sync_batches;
	q->word = conf->word;
	q->word_addr = conf->word_addr;
	q->backlog.reserve = conf->reserve;
	q->backlog.mask = conf->backlog - 1;
	q->backlog.entries = alloc_touched(conf->backlog * sizeof(*q->backlog.entries));
	if (q->backlog.entries == NULL) {
		SMMUV3_LOG(ERR, q, "no memory for a backlog of %" PRIu64 " commands",
				conf->backlog);
		return -ENOMEM;
	}
	/*
	 * As many as the backlog, which has room for the answers to all requests that have been
	 * read even if none leaves it; and poll reads no requests while answers are held.
	 */
	q->max_held = q->atc ? conf->backlog : 0;
	q->held = q->atc ? alloc_touched(q->max_held * sizeof(*q->held)) : NULL;
	if (q->atc && q->held == NULL) {
		SMMUV3_LOG(ERR, q, "no memory for %u answers to page requests", q->max_held);
		return -ENOMEM;
	}
	return 0;
}

void
smmuv3_cmdq_close(struct smmuv3_cmdq *q)
{
	free(q->sync_sids);
	free(q->held);
	free(q->backlog.entries);
}
