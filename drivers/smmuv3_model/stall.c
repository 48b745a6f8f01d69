/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Stalled transactions [3.12.2, 7.2]: their records, records that wait for a writable EVTQ,
 * early retries, suppressed duplicates.
 */

#include <errno.h>
#include <stdlib.h>

#include "model.h"
#include "model_access.h"
#include "model_dma.h"
#include "model_evtq.h"
#include "model_slot.h"
#include "model_stag.h"
#include "model_stall.h"
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

/* Write the record of a stall. False: the queue is not writable. */
static bool
stall_record(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	struct smmuv3_access acc = {
		.va = smmuv3_slot_addr(s), .priv = s->fault_priv, .instr = s->fault_instr,
		.write = s->op.type == SMMUV3_MODEL_WRITE || s->dst_phase,
	};
	struct smmuv3_evt evt;

	smmuv3_evt_make(&s->dma->conf, &acc, &s->fault, &evt);
	evt.dw[1] |= SMMUV3_EVT1_STALL | SMMUV3_PUT(SMMUV3_EVT1_STAG, s->stag);
	switch (smmuv3_fe_evt_put(&m->fe, &evt)) {
	case SMMUV3_FE_PUT_UNWRITABLE:
		return false;
	case SMMUV3_FE_PUT_ABORTED:
		/* The record is lost: only STALL_TERM or SMMUEN = 0 ends the stall [7.2]. */
		s->state = SMMUV3_SLOT_STALLED;
		return true;
	default:
		s->state = SMMUV3_SLOT_STALLED;
		s->done.nb_stalls++;
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STALLS);
		m->unshown[m->nb_unshown++] = s;
		if (m->nb_unshown == 2 * SMMUV3_BATCH)
			smmuv3_fe_evtq_publish(&m->fe);
		return true;
	}
}

/* Have two stalls the same stream, page and kind of access [3.12.2.1]? */
static bool
is_same_stall(const struct smmuv3_slot *a, const struct smmuv3_slot *b)
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
suppress_stall(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	for (unsigned int i = 0; i < m->stall_max; i++) {
		struct smmuv3_stall *st = &m->stall[i];

		if (!st->shown || st->slot == NULL || !is_same_stall(st->slot, s))
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
	s->fault = *fault;
	s->desc_gen = m->wins.gen;
	s->fault_priv = acc->priv;
	s->fault_instr = acc->instr;
	if (m->choices & SMMUV3_MODEL_SUPPRESS_DUP) {
		smmuv3_fe_evtq_publish(&m->fe);
		if (suppress_stall(m, s))
			return;
	}
	if ((m->held.first == NULL || m->held_first) && smmuv3_stag_take(m, s) &&
			stall_record(m, s))
		return;
	if (!smmuv3_fe_evtq_is_writable(&m->fe))
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STALLS_HELD);
	s->state = SMMUV3_SLOT_HELD;
	/* A deferred invalidation may make the fault stale: retry in any case. */
	s->held_seq = m->inval.nb != 0 ? UINT64_MAX : m->oracle.seq;
	smmuv3_list_add(&m->held, s);
}

/*
 * Held records. A stall is retried if an invalidation came after it, because its record may
 * be stale. For others the SMMU may write the record or retry [3.12.2].
 */
unsigned int
smmuv3_stall_record_held(struct smmuv3_model *m, unsigned int max)
{
	unsigned int n = 0;

	while (m->held.first != NULL && n < max && smmuv3_fe_evtq_is_writable(&m->fe)) {
		struct smmuv3_slot *s = m->held.first;

		if (!s->has_stag && !smmuv3_stag_take(m, s))
			break;
		n++;
		smmuv3_list_take(&m->held);
		if (!(m->choices & SMMUV3_MODEL_RETRY_HELD) && s->held_seq == m->oracle.seq) {
			/* The queue is writable: see the loop condition. */
			stall_record(m, s);
			continue;
		}
		smmuv3_stag_put(m, s->stag);
		s->state = SMMUV3_SLOT_READY;
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_RETRIES);
		m->held_first = true;
		smmuv3_slot_run(m, s, 1);
		m->held_first = false;
	}
	return n;
}

/* Sometimes try a random stalled transaction again without a RESUME. */
unsigned int
smmuv3_stall_retry_early(struct smmuv3_model *m)
{
	struct smmuv3_stall *st;
	struct smmuv3_slot *s;

	if (smmuv3_rand(m) % 4 != 0)
		return 0;
	st = &m->stall[smmuv3_rand(m) % m->stall_max];
	s = st->slot;
	if (!st->used || !st->shown || s == NULL || !smmuv3_slot_try(m, s))
		return 0;
	/* The transaction has ended. Its STAG still waits for a RESUME. */
	return 1;
}
