/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CMDQ_RING_H
#define SMMUV3_CMDQ_RING_H

/**
 * @file
 * Ring and owner of a command queue; for cmdq*.c.
 *
 * One thread at a time owns the queue: it has set the flag "owner" by an exchange. It alone
 * writes entries, tail, prod and CMDQ_PROD, and acknowledges errors. The next owner acquires
 * (by the exchange) the stores that the last one released: entries, tail, and the order of two
 * PROD stores. So PROD never moves back.
 *
 * Positions are 64-bit counts of commands ever written; the low bits are the register's. So a
 * caller that slept while the queue wrapped does not mistake a position for an earlier one.
 */

#include <rte_branch_prediction.h>

#include "base.h"
#include "cmdq.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "state.h"

static inline uint64_t
smmuv3_cmdq_entries(const struct smmuv3_cmdq *q)
{
	return UINT64_C(1) << q->log2;
}

static inline void
smmuv3_cmdq_clear_owner(struct smmuv3_cmdq *q)
{
	atomic_store_explicit(&q->owner, 0, memory_order_release);
}

/*
 * Number of free entries. CONS shares its cache line with PROD, so it is read only when the known
 * entries are fewer than @p want.
 */
static inline uint64_t
smmuv3_cmdq_count_free(struct smmuv3_cmdq *q, uint64_t want)
{
	uint64_t room = smmuv3_cmdq_entries(q) - (q->tail - q->cons);
	uint64_t prod;
	uint32_t cons, count;

	if (likely(room >= want))
		return room;
	/* Pairs with the SMMU's release of CONS: it has read the entries before CONS. */
	cons = smmuv3_load_status(q->regs, q->cons_reg);
	prod = atomic_load_explicit(&q->prod, memory_order_relaxed);
	count = smmuv3_q_count(q->log2, prod, cons);
	if (unlikely(count > smmuv3_cmdq_entries(q)))
		smmuv3_counter_add(&q->bad_cons, 1);
	else
		q->cons = prod - count;
	return smmuv3_cmdq_entries(q) - (q->tail - q->cons);
}

/* The SMMU is off or given up: no command has a purpose. */
static inline bool
smmuv3_cmdq_is_closed(const struct smmuv3_cmdq *q)
{
	return !smmuv3_state_takes_cmds(q->state);
}

/*
 * Record the StreamID of ATC_INVs beside the ring: commands before CONS may be overwritten when
 * the CMD_SYNC fails.
 */
static inline void
smmuv3_cmdq_record_atc_inv(struct smmuv3_cmdq *q, uint32_t index, const struct smmuv3_cmd *cmd)
{
	unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);

	if (op == SMMUV3_OP_ATC_INV) {
		uint64_t sid = SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) + 1;

		q->sync_sid = q->sync_sid == 0 || q->sync_sid == sid ? sid : SMMUV3_SYNC_MANY;
	} else if (op == SMMUV3_OP_SYNC) {
		q->sync_sids[index] = q->sync_sid;
		q->sync_sid = 0;
	}
}

static inline void
smmuv3_cmdq_record_unsynced(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmd)
{
	unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);

	if (op == SMMUV3_OP_SYNC)
		q->unsynced = false;
	else if (op != SMMUV3_OP_RESUME && op != SMMUV3_OP_PRI_RESP)
		q->unsynced = true;
}

static inline void
smmuv3_cmdq_put_cmd(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmd)
{
	uint32_t index = smmuv3_q_slot(q->log2, q->tail++);

	q->ring[index] = *cmd;
	if (likely(!q->records_cmds))
		return;
	if (q->sync_sids != NULL)
		smmuv3_cmdq_record_atc_inv(q, index, cmd);
	if (q->sync_batches)
		smmuv3_cmdq_record_unsynced(q, cmd);
}

/* There is room for all of them. */
static inline void
smmuv3_cmdq_put_cmds(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct smmuv3_cmd *ring = q->ring;
	unsigned int log2 = q->log2, i;
	uint64_t tail = q->tail;

	if (unlikely(q->records_cmds)) {
		for (i = 0; i < n; i++)
			smmuv3_cmdq_put_cmd(q, &cmds[i]);
		return;
	}
	for (i = 0; i < n; i++)
		ring[smmuv3_q_slot(log2, tail + i)] = cmds[i];
	q->tail = tail + n;
}

/* Make the written commands visible to the SMMU: store CMDQ_PROD. */
static inline void
smmuv3_cmdq_publish_prod(struct smmuv3_cmdq *q)
{
	uint64_t prod = atomic_load_explicit(&q->prod, memory_order_relaxed), tail = q->tail;

	if (tail == prod)
		return;
	/* Stored before the register: see smmuv3_cmdq_load_cons(). */
	atomic_store_explicit(&q->prod, tail, memory_order_release);
	smmuv3_store_prod(q->regs, q->prod_reg, smmuv3_q_pos(q->log2, tail) | q->prod_flags);
	smmuv3_counter_add(&q->commands, tail - prod);
	smmuv3_counter_add(&q->batches, 1);
}

#endif /* SMMUV3_CMDQ_RING_H */
