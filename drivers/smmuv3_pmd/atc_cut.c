/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * When an ATC does not answer its ATC_INV, the next CMD_SYNC fails
 * (CERROR_ATC_INV_SYNC), and each caller that waits for an ATC_INV gets an error. If the
 * ATC_INVs before this CMD_SYNC name one StreamID only, this StreamID is cut off while the
 * queue is stopped. Its STE aborts, Translated traffic too, since CR0.ATSCHK is set, and no
 * ATC_INV is sent to it any more, until the whole device has been detached and is attached
 * again. If they name several StreamIDs, a caller that waits asks each of them again
 * (atc_issue.c). The ATC_INVs of answers get a CMD_SYNC for each ATC from then on, so that the next
 * failure names one.
 */

#include "atc.h"
#include "backlog.h"
#include "base.h"
#include "cmdq.h"
#include "dev.h"
#include "smmuv3_cmd.h"
#include "smmuv3_pmd.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "ste.h"

bool
smmuv3_atc_is_sid_cut(const struct smmuv3 *s, uint32_t sid)
{
	unsigned int i;
	uint64_t word;

	/* cut_off_sid() counts before it marks. A caller that misses that came before. */
	if (likely(atomic_load_explicit(&s->nb_cut_atcs, memory_order_relaxed) == 0))
		return false;
	for (i = 0; i < SMMUV3_NB_ATCS; i++) {
		word = smmuv3_atc_load(s->atcs, i);
		if (word & SMMUV3_ATC_CUT && SMMUV3_GET(SMMUV3_ATC_SID, word) == sid)
			return true;
	}
	return false;
}

bool
smmuv3_atc_is_cut(const struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->nb_sids; i++)
		if (smmuv3_atc_is_sid_cut(s, dev->sids[i]))
			return true;
	return false;
}

static bool
is_atc_inv_of(const struct smmuv3_cmd *cmd, uint32_t sid)
{
	return SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]) == SMMUV3_OP_ATC_INV &&
		SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) == sid;
}

/* Rewrite the ATC_INVs for this StreamID behind this position: they would time out too. */
static void
rewrite_atc_invs(struct smmuv3_cmdq *q, uint64_t pos, uint32_t sid)
{
	struct smmuv3_cmd *cmd;
	bool reported = false;
	uint64_t i;

	for (pos++; pos < q->tail; pos++) {
		cmd = &q->ring[smmuv3_q_slot(q->log2, pos)];
		if (SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]) == SMMUV3_OP_SYNC)
			reported = false;
		if (!is_atc_inv_of(cmd, sid))
			continue;
		/*
		 * Record one error for each waiting caller: callers are separated by their
		 * CMD_SYNCs.
		 */
		if (!reported)
			smmuv3_cmdq_record_error(q, pos, true);
		reported = true;
		*cmd = smmuv3_cmd_sync();
		q->sync_sids[smmuv3_q_slot(q->log2, pos)] = SMMUV3_SYNC_MANY;
	}
	/* No caller waits for a command in the backlog. */
	for (i = 0; i <= q->backlog.mask; i++) {
		cmd = smmuv3_backlog_peek(&q->backlog, i);
		if (cmd == NULL)
			break;
		if (is_atc_inv_of(cmd, sid))
			*cmd = smmuv3_cmd_sync();
	}
}

static bool
is_word_of(uint64_t word, uint32_t sid)
{
	return word & SMMUV3_ATC_USED && SMMUV3_GET(SMMUV3_ATC_SID, word) == sid;
}

static void
mark_cut(struct smmuv3 *s, unsigned int i, uint32_t sid)
{
	uint64_t word = smmuv3_atc_load(s->atcs, i);

	if (!is_word_of(word, sid) || word & SMMUV3_ATC_CUT)
		return;
	atomic_fetch_add_explicit(&s->nb_cut_atcs, 1, memory_order_relaxed);
	/*
	 * A thread that reads SMMUV3_ATC_CUT issues its commands behind the CFGI_STE in the queue.
	 * If the word is released meanwhile, it stays released.
	 */
	while (is_word_of(word, sid))
		if (atomic_compare_exchange_weak_explicit(&s->atcs[i].word, &word,
				word | SMMUV3_ATC_CUT, memory_order_release, memory_order_relaxed))
			return;
	atomic_fetch_sub_explicit(&s->nb_cut_atcs, 1, memory_order_relaxed);
}

static void
cut_off_sid(struct smmuv3 *s, uint64_t pos, uint32_t sid)
{
	const struct smmuv3_cmd cfgi[2] = { smmuv3_cmd_cfgi_ste(sid, false), smmuv3_cmd_sync() };
	bool found = false;
	unsigned int i;
	uint64_t word;

	for (i = 0; i < SMMUV3_NB_ATCS && !found; i++) {
		word = smmuv3_atc_load(s->atcs, i);
		found = is_word_of(word, sid) && !(word & SMMUV3_ATC_CUT);
	}
	/* Without room in the backlog, wait for the next timeout. */
	if (!found || !smmuv3_backlog_push(&s->cmdq.backlog, cfgi, 2))
		return;
	/*
	 * No attach or detach can complete in between: they wait for this queue. A first attach
	 * may make the STE live after this. Then it finds the word below, fails and undoes it; ATS
	 * of its device is off all the while.
	 */
	smmuv3_ste_set_abort(s, sid);
	for (i = 0; i < SMMUV3_NB_ATCS; i++)
		mark_cut(s, i, sid);
	rewrite_atc_invs(&s->cmdq, pos, sid);
	smmuv3_counter_add(&s->atc_cuts, 1);
	SMMUV3_LOG_LIMITED(ERR, s, &s->cmdq.log, "StreamID %u is cut off from memory: its ATC "
			"did not answer ATC_INV; detach the whole device, reset it, and attach it "
			"again", sid);
}

void
smmuv3_atc_handle_timeout(struct smmuv3 *s, uint64_t pos)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	uint64_t sid;
	bool known;

	if (!s->pri)
		return;
	sid = q->sync_sids[smmuv3_q_slot(q->log2, pos)];
	known = sid != 0 && sid != SMMUV3_SYNC_MANY;
	if (known)
		cut_off_sid(s, pos, sid - 1);
	atomic_store_explicit(&s->atc_sync_each, !known, memory_order_relaxed);
}
