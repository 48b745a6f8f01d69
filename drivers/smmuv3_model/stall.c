/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Stalled transactions [3.12.2, 4.6, 7.2]: STAGs, records held back by a queue
 * that cannot be written, RESUME, STALL_TERM, early retries, duplicates.
 *
 * A STAG is free, or taken by a transaction whose record is shown, or by one
 * whose record is not (held back, or lost to an aborted write). Unless told otherwise
 * free STAGs are used in turn, so that a RESUME too many meets a free one and is seen.
 */

#include <errno.h>
#include <stdlib.h>

#include "model.h"
#include "model_access.h"
#include "model_dma.h"
#include "model_evtq.h"
#include "model_inval.h"
#include "model_log.h"
#include "model_oracle.h"
#include "model_slot.h"
#include "model_stall.h"
#include "model_ste.h"
#include "model_transact.h"

int
smmuv3_stall_init(struct smmuv3_model *m)
{
	m->stall = calloc(m->stall_max, sizeof(*m->stall));
	m->stag_fifo = calloc(m->stall_max, sizeof(*m->stag_fifo));
	if (m->stall == NULL || m->stag_fifo == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < m->stall_max; i++)
		m->stag_fifo[i] = (uint16_t)i;
	m->stag_nb = m->stall_max;
	m->held.last = &m->held.first;
	return 0;
}

static uint16_t *
stag_at(struct smmuv3_model *m, uint32_t i)
{
	uint32_t at = m->stag_head + i;

	return &m->stag_fifo[at >= m->stall_max ? at - m->stall_max : at];
}

/* One of those that are free. */
static uint16_t
stag_choose(struct smmuv3_model *m)
{
	uint16_t *first = stag_at(m, 0), *any, stag;

	m->stag_nb--;
	if (m->harsh & SMMUV3_MODEL_HARSH_STAG_LIFO)
		return *stag_at(m, m->stag_nb);
	stag = *first;
	if (m->harsh & SMMUV3_MODEL_HARSH_STAG_RANDOM) {
		any = stag_at(m, smmuv3_rand(m) % (m->stag_nb + 1));
		stag = *any;
		*any = *first;
	}
	if (++m->stag_head == m->stall_max)
		m->stag_head = 0;
	return stag;
}

static bool
stag_take(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	struct smmuv3_stall *st;

	if (m->stag_nb == 0)
		return false;
	s->stag = stag_choose(m);
	st = &m->stall[s->stag];
	*st = (struct smmuv3_stall){ .slot = s, .sid = s->dma->conf.sid, .used = true };
	s->has_stag = true;
	return true;
}

static void
stag_put(struct smmuv3_model *m, uint16_t stag)
{
	struct smmuv3_stall *st = &m->stall[stag];

	if (st->shown)
		atomic_store_explicit(&m->stalls_out, atomic_load_explicit(&m->stalls_out,
				memory_order_relaxed) - 1, memory_order_relaxed);
	if (st->slot != NULL)
		st->slot->has_stag = false;
	st->slot = NULL;
	st->dups = NULL;
	st->used = false;
	st->shown = false;
	*stag_at(m, m->stag_nb++) = stag;
}

/* PROD is about to be stored: these records become visible. */
void
smmuv3_stall_publish(struct smmuv3_model *m)
{
	uint64_t now;

	if (m->nb_unshown == 0)
		return;
	now = smmuv3_model_cycles();
	for (unsigned int i = 0; i < m->nb_unshown; i++) {
		m->unshown[i]->done.t_event = now;
		m->stall[m->unshown[i]->stag].shown = true;
	}
	atomic_store_explicit(&m->stalls_out, atomic_load_explicit(&m->stalls_out,
			memory_order_relaxed) + m->nb_unshown, memory_order_relaxed);
	m->nb_unshown = 0;
}

/* Write the record. False: the queue cannot be written now. */
static bool
stall_record(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	struct smmuv3_access acc = {
		.va = smmuv3_slot_addr(s), .priv = s->fault_priv, .instr = s->fault_instr,
		.write = s->op.type == SMMUV3_MODEL_WRITE || s->dst_phase,
	};
	struct smmuv3_fault fault = { .id = s->fault_id };
	struct smmuv3_evt evt;

	smmuv3_evt_make(&s->dma->conf, &acc, &fault, &evt);
	evt.dw[1] |= SMMUV3_EVT1_STALL | SMMUV3_PUT(SMMUV3_EVT1_STAG, s->stag);
	switch (smmuv3_fe_evt_put(&m->fe, &evt)) {
	case SMMUV3_FE_PUT_UNWRITABLE:
		return false;
	case SMMUV3_FE_PUT_ABORTED:
		/* Lost for good: only STALL_TERM or SMMUEN ends it [7.2]. */
		s->state = SMMUV3_SLOT_STALLED;
		return true;
	default:
		s->state = SMMUV3_SLOT_STALLED;
		s->done.nb_stalls++;
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STALLS);
		m->unshown[m->nb_unshown++] = s;
		if (m->nb_unshown == 2 * SMMUV3_BATCH)
			smmuv3_fe_evt_publish(&m->fe);
		return true;
	}
}

/* Same stream, page and kind of access as one that is stalled [3.12.2.1]? */
static bool
same_stall(const struct smmuv3_slot *a, const struct smmuv3_slot *b)
{
	const struct smmuv3_model_dma_conf *x = &a->dma->conf, *y = &b->dma->conf;
	bool aw = a->op.type == SMMUV3_MODEL_WRITE || a->dst_phase;
	bool bw = b->op.type == SMMUV3_MODEL_WRITE || b->dst_phase;

	return x->sid == y->sid && x->has_ssid == y->has_ssid && x->ssid == y->ssid && aw == bw &&
		a->fault_priv == b->fault_priv && a->fault_instr == b->fault_instr &&
		smmuv3_slot_addr(a) >> SMMUV3_PAGE_SHIFT ==
		smmuv3_slot_addr(b) >> SMMUV3_PAGE_SHIFT;
}

static bool
stall_suppressed(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	for (unsigned int i = 0; i < m->stall_max; i++) {
		struct smmuv3_stall *st = &m->stall[i];

		if (!st->shown || st->slot == NULL || !same_stall(st->slot, s))
			continue;
		s->state = SMMUV3_SLOT_DUP;
		s->next = st->dups;
		st->dups = s;
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STALLS_SUPPRESSED);
		return true;
	}
	return false;
}

void
smmuv3_stall_begin(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_access *acc, const struct smmuv3_fault *fault)
{
	s->fault_id = fault->id;
	s->desc = fault->desc;
	s->desc_gen = m->wins.gen;
	s->fault_priv = acc->priv;
	s->fault_instr = acc->instr;
	if (m->choices & SMMUV3_MODEL_SUPPRESS_DUP) {
		smmuv3_fe_evt_publish(&m->fe);
		if (stall_suppressed(m, s))
			return;
	}
	if ((m->held.first == NULL || m->held_first) && stag_take(m, s) && stall_record(m, s))
		return;
	if (!smmuv3_fe_evt_writable(&m->fe))
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STALLS_HELD);
	s->state = SMMUV3_SLOT_HELD;
	/* What it faulted on may be stale: a pending invalidation reaches it when done. */
	s->held_seq = m->late.nb != 0 ? UINT64_MAX : m->oracle.seq;
	smmuv3_list_add(&m->held, s);
}

/*
 * Records that were held back. One that an invalidation came after is retried: its
 * record might be stale. For the others replay and retry are both allowed [3.12.2].
 */
unsigned int
smmuv3_stall_held(struct smmuv3_model *m, unsigned int max)
{
	unsigned int n = 0;

	while (m->held.first != NULL && n < max && smmuv3_fe_evt_writable(&m->fe)) {
		struct smmuv3_slot *s = m->held.first;

		if (!s->has_stag && !stag_take(m, s))
			break;
		n++;
		smmuv3_list_take(&m->held);
		if (!(m->choices & SMMUV3_MODEL_RETRY_HELD) && s->held_seq == m->oracle.seq) {
			/* The queue was seen to be writable. */
			stall_record(m, s);
			continue;
		}
		stag_put(m, s->stag);
		s->state = SMMUV3_SLOT_READY;
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_RETRIES);
		m->held_first = true;
		smmuv3_slot_run(m, s, 1);
		m->held_first = false;
	}
	return n;
}

static void
retry(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	s->state = SMMUV3_SLOT_READY;
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_RETRIES);
	smmuv3_ready_add(m, s);
}

void
smmuv3_stall_resume(struct smmuv3_model *m, uint32_t sid, uint16_t stag, bool again, bool abort)
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
	stag_put(m, stag);
	st->resumed = true;
	if (s != NULL) {
		s->done.t_resume = m->now;
		/* Software has just written it; the retries of a batch wait for it at once. */
		__builtin_prefetch(s->desc);
		if (again)
			retry(m, s);
		else
			smmuv3_slot_end(m, s, abort || m->no_features &
					SMMUV3_MODEL_TERM_ABORT_ONLY ? SMMUV3_MODEL_ABORTED :
					SMMUV3_MODEL_RAZWI);
	}
	while (dups != NULL) {
		s = dups;
		dups = s->next;
		retry(m, s);
	}
}

static void
terminate(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_TERMINATED);
	smmuv3_slot_end(m, s, SMMUV3_MODEL_ABORTED);
}

/* End the stalls of one StreamID, or of all. */
static void
stall_end(struct smmuv3_model *m, bool all, uint32_t sid)
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
			stag_put(m, s->stag);
		terminate(m, s);
	}
	for (unsigned int i = 0; i < m->stall_max; i++) {
		struct smmuv3_stall *st = &m->stall[i];

		if (!st->used || (!all && st->sid != sid))
			continue;
		s = st->slot;
		dups = st->dups;
		stag_put(m, (uint16_t)i);
		if (s != NULL)
			terminate(m, s);
		while (dups != NULL) {
			s = dups;
			dups = s->next;
			terminate(m, s);
		}
	}
}

/* Was there a SYNC after the last invalidation of this STE? */
static bool
ste_synced(const struct smmuv3_model *m, uint32_t sid)
{
	const struct smmuv3_oracle *o = &m->oracle;

	for (uint64_t seq = o->seq; seq > o->completed && seq + SMMUV3_PROMISES > o->seq; seq--) {
		const struct smmuv3_inv *p = &o->inv[seq % SMMUV3_PROMISES];

		if (p->kind == SMMUV3_INV_CFG_ALL || (p->kind == SMMUV3_INV_CFG_SIDS &&
				sid >= p->sid && sid <= p->sid_last))
			return false;
	}
	return true;
}

void
smmuv3_stall_term(struct smmuv3_model *m, uint32_t sid)
{
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STALL_TERMS);
	if (smmuv3_fe_on(&m->fe, SMMUV3_CR0_SMMUEN)) {
		if (!smmuv3_ste_aborts(m, sid))
			smmuv3_log_add(&m->driver_log, "STALL_TERM for SID %u, whose STE does not "
					"abort (Config = 0)", sid);
		else if (!ste_synced(m, sid))
			smmuv3_log_add(&m->driver_log, "STALL_TERM for SID %u before the SYNC "
					"after its CFGI_STE", sid);
	}
	stall_end(m, false, sid);
}

/* SMMUEN went to 0 [6.3.9.1]. */
void
smmuv3_stall_all_end(struct smmuv3_model *m)
{
	stall_end(m, true, 0);
}

/* Now and then one stalled transaction is tried again without being told to. */
unsigned int
smmuv3_stall_early(struct smmuv3_model *m)
{
	struct smmuv3_stall *st;
	struct smmuv3_slot *s;

	if (smmuv3_rand(m) % 4 != 0)
		return 0;
	st = &m->stall[smmuv3_rand(m) % m->stall_max];
	s = st->slot;
	if (!st->used || !st->shown || s == NULL || !smmuv3_slot_try(m, s))
		return 0;
	/* The transaction is gone; its STAG still waits for a RESUME. */
	return 1;
}
