/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Errors of a command queue [7.1]. */

#include "base.h"
#include "cmdq.h"
#include "cmdq_ring.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

/* The commands behind this one will never be executed. */
static void
give_up_queue(struct smmuv3_cmdq *q, const char *why)
{
	SMMUV3_LOG(ERR, q, "command queue given up: %s; CMDQ_PROD 0x%x, CMDQ_CONS 0x%x", why,
			smmuv3_read32(q->regs, q->prod_reg), smmuv3_read32(q->regs, q->cons_reg));
	q->ops->on_failed(q->ctx);
}

void
smmuv3_cmdq_record_error(struct smmuv3_cmdq *q, uint64_t pos, bool atc)
{
	uint64_t nb = atomic_load_explicit(&q->nb_errors, memory_order_relaxed);

	atomic_store_explicit(&q->errors[nb % SMMUV3_CMD_ERRORS],
			atc ? pos | SMMUV3_CMD_ERROR_ATC : pos, memory_order_release);
	atomic_store_explicit(&q->nb_errors, nb + 1, memory_order_release);
}

/* What sync_sids has for the next CMD_SYNC: it covers all ATC_INVs of one in this place. Owner. */
static uint64_t
find_sync_sid(const struct smmuv3_cmdq *q, uint64_t pos)
{
	for (; pos < q->tail; pos++) {
		uint32_t index = smmuv3_q_slot(q->log2, pos);

		if (SMMUV3_GET(SMMUV3_CMD0_OP, q->ring[index].dw[0]) == SMMUV3_OP_SYNC)
			return q->sync_sids[index];
	}
	return q->sync_sid;
}

static void
replace_illegal_cmd(struct smmuv3_cmdq *q, uint64_t pos)
{
	struct smmuv3_cmd *entry = &q->ring[smmuv3_q_slot(q->log2, pos)];

	if (atomic_load_explicit(&q->cerror_ill, memory_order_relaxed) == 0)
		SMMUV3_LOG(ERR, q, "the SMMU refused command 0x%016" PRIx64 " 0x%016" PRIx64
				" in entry %u of the command queue (CERROR_ILL): replaced by a "
				"CMD_SYNC (logged once; see the counter cerror_ill)", entry->dw[0],
				entry->dw[1], smmuv3_q_slot(q->log2, pos));
	smmuv3_counter_add(&q->cerror_ill, 1);
	q->last_illegal = *entry;
	/* A stall whose answer was refused would wait forever. */
	if (SMMUV3_GET(SMMUV3_CMD0_OP, entry->dw[0]) == SMMUV3_OP_RESUME)
		q->ops->on_answer_lost(q->ctx);
	smmuv3_cmdq_record_error(q, pos, false);
	if (q->sync_sids != NULL)
		q->sync_sids[smmuv3_q_slot(q->log2, pos)] = find_sync_sid(q, pos);
	*entry = smmuv3_cmd_sync();
}

void
smmuv3_cmdq_handle_error(struct smmuv3_cmdq *q)
{
	uint32_t cons, count;
	uint64_t prod, pos;

	if (smmuv3_cmdq_is_closed(q))
		return;
	/*
	 * ERR is valid: the SMMU wrote it before GERROR, which was read before [7.1]. The entry's
	 * address depends on CONS, so the entry is written after this.
	 */
	cons = smmuv3_read32(q->regs, q->cons_reg);
	prod = atomic_load_explicit(&q->prod, memory_order_relaxed);
	count = smmuv3_q_count(q->log2, prod, cons);
	if (count > smmuv3_cmdq_entries(q)) {
		smmuv3_counter_add(&q->bad_cons, 1);
		give_up_queue(q, "CMDQ_CONS is not within the queue");
		return;
	}
	pos = prod - count;
	switch (SMMUV3_GET(SMMUV3_CMDQ_CONS_ERR, cons)) {
	case SMMUV3_CERROR_NONE:
		smmuv3_counter_add(&q->cerror_other, 1);
		break;
	case SMMUV3_CERROR_ATC_INV_SYNC:
		/*
		 * Record the error for waiting callers before the CMD_SYNC is executed again: then
		 * it completes.
		 */
		smmuv3_counter_add(&q->cerror_atc, 1);
		smmuv3_cmdq_record_error(q, pos, true);
		q->ops->on_atc_timeout(q->ctx, pos);
		q->ops->ack_error(q->ctx);
		return;
	case SMMUV3_CERROR_ABT:
		smmuv3_counter_add(&q->cerror_abt, 1);
		break;
	default:
		if (count > 0) {
			replace_illegal_cmd(q, pos);
			q->ops->ack_error(q->ctx);
			return;
		}
		smmuv3_counter_add(&q->cerror_other, 1);
		break;
	}
	/* The acknowledgement makes the SMMU try again. */
	if (q->retry_pos != pos) {
		q->retry_pos = pos;
		q->retries = 0;
	}
	if (q->retries++ == SMMUV3_ABT_RETRIES)
		give_up_queue(q, "the SMMU cannot read it (CERROR_ABT)");
	else
		q->ops->ack_error(q->ctx);
}

/* The commands from this position to the next CMD_SYNC include an ATC_INV. Owner. */
static bool
waits_for_endpoints(const struct smmuv3_cmdq *q, uint64_t pos)
{
	if (q->sync_sids == NULL)
		return false;
	for (; pos < q->tail; pos++) {
		uint32_t index = smmuv3_q_slot(q->log2, pos);
		unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, q->ring[index].dw[0]);

		if (op == SMMUV3_OP_ATC_INV)
			return true;
		if (op == SMMUV3_OP_SYNC)
			return q->sync_sids[index] != 0;
	}
	return q->sync_sid != 0;
}

/*
 * Checks in a row, at even intervals, that must find CONS at the same position. One check after the
 * timeout is not enough: the caller may not have been scheduled meanwhile.
 */
#define STUCK_CHECKS	16

bool
smmuv3_cmdq_is_stuck(struct smmuv3_cmdq *q, uint64_t now, uint64_t timeout)
{
	uint64_t pos;
	bool stuck;

	if (likely(now - q->stuck_checked_at < timeout / STUCK_CHECKS))
		return false;
	q->stuck_checked_at = now;
	pos = smmuv3_cmdq_load_cons(q);
	if (pos != q->stuck_pos || pos == atomic_load_explicit(&q->prod, memory_order_relaxed)) {
		q->stuck_pos = pos;
		q->stuck_checks = 0;
		return false;
	}
	if (++q->stuck_checks <= STUCK_CHECKS || !smmuv3_cmdq_try_own(q))
		return false;
	stuck = !waits_for_endpoints(q, pos);
	smmuv3_cmdq_disown(q);
	return stuck;
}
