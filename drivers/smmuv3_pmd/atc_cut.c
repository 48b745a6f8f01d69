/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * An ATC that does not answer lets the CMD_SYNC behind its ATC_INV fail (CERROR_ATC_INV_SYNC),
 * which is reported to those who wait for an ATC_INV. Where only one StreamID can be meant it
 * is cut off, while the queue stands still: its STE aborts, Translated traffic too, since
 * CR0.ATSCHK is set, and nothing is sent to it any more, until all of the device has been
 * detached and is attached anew. Where several can be meant, each gets a CMD_SYNC of its
 * own from then on, so that the next failure names one.
 */

#include "atc.h"
#include "backlog.h"
#include "cmdq.h"
#include "dev.h"
#include "smmuv3_cmd.h"
#include "smmuv3_pmd.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "ste.h"

bool
smmuv3_atc_is_cut(const struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	unsigned int i, k;
	uint64_t word;

	for (i = 0; i < SMMUV3_NB_ATCS; i++) {
		word = smmuv3_atc_load(s->atcs, i);
		for (k = 0; k < dev->nb_sids && word & SMMUV3_ATC_CUT; k++)
			if (SMMUV3_GET(SMMUV3_ATC_SID, word) == dev->sids[k])
				return true;
	}
	return false;
}

static bool
is_atc_inv_of(const struct smmuv3_cmd *cmd, uint32_t sid)
{
	return SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]) == SMMUV3_OP_ATC_INV &&
		SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) == sid;
}

/* What waits for it behind this position would only time out as well. */
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
		/* Once for each that waits: its CMD_SYNC is between this one and another's. */
		if (!reported)
			smmuv3_cmdq_record_error(q, pos, true);
		reported = true;
		*cmd = smmuv3_cmd_sync();
		q->sync_sids[smmuv3_q_slot(q->log2, pos)] = SMMUV3_SYNC_MANY;
	}
	/* Nobody waits for what is in the backlog. */
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
cut_off_sid(struct smmuv3 *s, uint64_t pos, uint32_t sid)
{
	const struct smmuv3_cmd cfgi[2] = { smmuv3_cmd_cfgi_ste(sid, false), smmuv3_cmd_sync() };
	char tail[IOPF_LOG_TAIL];
	bool found = false;
	uint64_t before;
	unsigned int i;
	uint64_t word;

	for (i = 0; i < SMMUV3_NB_ATCS && !found; i++) {
		word = smmuv3_atc_load(s->atcs, i);
		found = is_word_of(word, sid) && !(word & SMMUV3_ATC_CUT);
	}
	/* No room for it now: there will be another timeout. */
	if (!found || !smmuv3_backlog_push(&s->cmdq.backlog, cfgi, 2))
		return;
	/*
	 * No whole attach or detach can come in between: they wait for this queue. A first
	 * attach may make the STE live after this, but then it finds the word below, fails, and
	 * takes that back; its device has ATS off all the while.
	 */
	smmuv3_ste_set_abort(s, sid);
	for (i = 0; i < SMMUV3_NB_ATCS; i++) {
		word = smmuv3_atc_load(s->atcs, i);
		/*
		 * A thread that sees SMMUV3_ATC_CUT comes behind the CFGI_STE in the queue. The
		 * record may be released meanwhile, and stays so.
		 */
		while (is_word_of(word, sid) && !atomic_compare_exchange_weak_explicit(
				&s->atcs[i].word, &word, word | SMMUV3_ATC_CUT,
				memory_order_release, memory_order_relaxed))
			;
	}
	rewrite_atc_invs(&s->cmdq, pos, sid);
	smmuv3_counter_add(&s->atc_cuts, 1);
	if (iopf_log_take(&s->cmdq.log, &before))
		SMMUV3_LOG(ERR, s, "StreamID %u does not answer when its ATC is to be emptied: cut "
				"off from memory; detach all of the device, reset it, and attach it "
				"again%s", sid, iopf_log_tail(tail, before));
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
