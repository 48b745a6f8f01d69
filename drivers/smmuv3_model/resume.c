/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* RESUME and STALL_TERM, and the end of all stalls with SMMUEN [4.6, 6.3.9.1]. */

#include "model.h"
#include "model_access.h"
#include "model_dma.h"
#include "model_inval.h"
#include "model_log.h"
#include "model_oracle.h"
#include "model_resume.h"
#include "model_slot.h"
#include "model_stag.h"
#include "model_ste.h"
#include "model_transact.h"

static void
retry_slot(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	s->state = SMMUV3_SLOT_READY;
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_RETRIES);
	smmuv3_ready_add(m, s);
}

void
smmuv3_execute_resume(struct smmuv3_model *m, uint32_t sid, uint16_t stag, bool again, bool abort)
{
	struct smmuv3_stall *st = stag < m->stall_max ? &m->stall[stag] : NULL;
	struct smmuv3_slot *s, *dups;

	if (st == NULL || !st->used || st->sid != sid || !st->shown) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_RESUMES_STALE);
		if (st == NULL || st->sid != sid)
			return;
		if (st->used)
			smmuv3_log_add(&m->driver_log, "RESUME for SID %u STAG %u, whose record is "
					"not visible yet", sid, stag);
		else if (st->resumed)
			smmuv3_log_add(&m->driver_log, "RESUME twice for SID %u STAG %u", sid,
					stag);
		return;
	}
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_RESUMES);
	if (m->now == 0)
		m->now = smmuv3_model_cycles();
	s = st->slot;
	dups = st->dups;
	smmuv3_stag_put(m, stag);
	st->resumed = true;
	if (s != NULL) {
		s->done.t_resume = m->now;
		/* Software has just written the descriptor: prefetch it for the retry. */
		__builtin_prefetch(s->fault.desc);
		if (again)
			retry_slot(m, s);
		else
			smmuv3_slot_end(m, s, abort || m->no_features &
					SMMUV3_MODEL_TERM_ABORT_ONLY ? SMMUV3_MODEL_ABORTED :
					SMMUV3_MODEL_RAZWI);
	}
	while (dups != NULL) {
		s = dups;
		dups = s->next;
		retry_slot(m, s);
	}
}

static void
terminate_slot(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_TERMINATED);
	smmuv3_slot_end(m, s, SMMUV3_MODEL_ABORTED);
}

/* End the stalls of one StreamID, or all stalls. */
static void
end_stalls(struct smmuv3_model *m, bool all, uint32_t sid)
{
	struct smmuv3_list held = m->held;
	struct smmuv3_slot *s, *dups;

	if (held.first == NULL)
		held.last = &held.first;
	m->held.first = NULL;
	m->held.last = &m->held.first;
	while ((s = smmuv3_list_take(&held)) != NULL) {
		if (!all && s->dma->conf.sid != sid) {
			smmuv3_list_add(&m->held, s);
			continue;
		}
		if (s->has_stag)
			smmuv3_stag_put(m, s->stag);
		terminate_slot(m, s);
	}
	for (unsigned int i = 0; i < m->stall_max; i++) {
		struct smmuv3_stall *st = &m->stall[i];

		if (!st->used || (!all && st->sid != sid))
			continue;
		s = st->slot;
		dups = st->dups;
		smmuv3_stag_put(m, (uint16_t)i);
		/* After an early retry the transaction has ended, and its stall ends here. */
		if (s != NULL)
			terminate_slot(m, s);
		else
			smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_TERMINATED);
		while (dups != NULL) {
			s = dups;
			dups = s->next;
			terminate_slot(m, s);
		}
	}
}

/* Has a SYNC completed after the last invalidation of this STE? */
static bool
is_ste_synced(const struct smmuv3_model *m, uint32_t sid)
{
	const struct smmuv3_oracle *o = &m->oracle;

	for (uint64_t seq = o->seq; seq > o->floor && seq + SMMUV3_ORACLE_MAX > o->seq; seq--) {
		const struct smmuv3_inv *p = &o->inv[seq % SMMUV3_ORACLE_MAX];

		if (smmuv3_oracle_is_done(o, seq))
			continue;
		if (p->kind == SMMUV3_INV_CFG_ALL || (p->kind == SMMUV3_INV_CFG_SIDS &&
				sid >= p->sid && sid <= p->sid_last))
			return false;
	}
	return true;
}

void
smmuv3_execute_stall_term(struct smmuv3_model *m, uint32_t sid)
{
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STALL_TERMS);
	if (smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_SMMUEN)) {
		if (!smmuv3_ste_aborts(m, sid))
			smmuv3_log_add(&m->driver_log, "STALL_TERM for SID %u, whose STE does not "
					"abort (Config = 0)", sid);
		else if (!is_ste_synced(m, sid))
			smmuv3_log_add(&m->driver_log, "STALL_TERM for SID %u before the SYNC "
					"after its CFGI_STE", sid);
	}
	end_stalls(m, false, sid);
}

void
smmuv3_stalls_end_all(struct smmuv3_model *m)
{
	end_stalls(m, true, 0);
}
