/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The event queue (EVTQ) [3.5.2, 7.2]. The back end puts records one by one. They become
 * visible together when PROD is stored, once per batch.
 */

#include "front.h"
#include "model_evtq.h"
#include "model_gerror.h"
#include "model_irq.h"
#include "model_outq.h"

#define EVTQ_ABORT_STEPS 2

void
smmuv3_fe_evtq_enable(struct smmuv3_fe *f)
{
	f->evtq.name = "EVENTQ";
	f->evtq.entry = sizeof(struct smmuv3_evt);
	f->evtq.prod_reg = SMMUV3_FE_EVENTQ_PROD;
	f->evtq.cons_offset = SMMUV3_EVENTQ_CONS;
	f->evtq_last.dw[0] = 0;
	smmuv3_outq_enable(f, &f->evtq, f->val[SMMUV3_FE_EVENTQ_BASE],
			f->val[SMMUV3_FE_EVENTQ_PROD],
			SMMUV3_GET(SMMUV3_IDR1_EVENTQS, f->val[SMMUV3_FE_IDR1]));
}

static bool
is_evtq_full(struct smmuv3_fe *f)
{
	if (!smmuv3_outq_is_full(&f->evtq))
		return false;
	smmuv3_outq_load_cons(f, &f->evtq);
	return smmuv3_outq_is_full(&f->evtq);
}

static bool
is_evtq_running(const struct smmuv3_fe *f)
{
	return smmuv3_fe_is_on(f, SMMUV3_CR0_EVENTQEN) && !f->sfm &&
		!smmuv3_fe_is_gerror_active(f, SMMUV3_GERROR_EVENTQ_ABT);
}

/* The abort of a record that PROD has passed [7.2]. */
void
smmuv3_fe_evtq_abort(struct smmuv3_fe *f)
{
	f->evtq_abort = 0;
	smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_EVENTQ_ABT);
}

bool
smmuv3_fe_evtq_is_writable(struct smmuv3_fe *f)
{
	return is_evtq_running(f) && !is_evtq_full(f);
}

enum smmuv3_fe_put
smmuv3_fe_evt_put(struct smmuv3_fe *f, const struct smmuv3_evt *evt)
{
	struct smmuv3_evt *entry;

	if (!smmuv3_fe_evtq_is_writable(f))
		return SMMUV3_FE_PUT_UNWRITABLE;
	entry = smmuv3_outq_get_entry(f, &f->evtq, SMMUV3_MODEL_KNOB_EVTQ_ABORT);
	if (entry == NULL) {
		/* Entries before PROD stay valid [7.2]. */
		smmuv3_fe_evtq_publish(f);
		smmuv3_count(f->stats, SMMUV3_MODEL_STAT_EVENTS_LOST);
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_EVENTQ_ABT);
		return SMMUV3_FE_PUT_ABORTED;
	}
	if (smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_EVTQ_LOSE)) {
		/* The entry keeps its old record. */
		f->evtq_last.dw[0] = 0;
		f->evtq.prod = smmuv3_q_add(f->evtq.log2, f->evtq.prod, 1);
		f->evtq_abort = EVTQ_ABORT_STEPS;
		smmuv3_count(f->stats, SMMUV3_MODEL_STAT_EVENTS_LOST);
		return SMMUV3_FE_PUT_ABORTED;
	}
	smmuv3_outq_prefetch(f, &f->evtq, entry, SMMUV3_EVENTQ_PROD);
	*entry = *evt;
	f->evtq_last = *evt;
	f->evtq.prod = smmuv3_q_add(f->evtq.log2, f->evtq.prod, 1);
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_EVENTS);
	return SMMUV3_FE_PUT_OK;
}

void
smmuv3_fe_evt_report(struct smmuv3_fe *f, const struct smmuv3_evt *evt)
{
	if (smmuv3_fe_evt_put(f, evt) != SMMUV3_FE_PUT_UNWRITABLE)
		return;
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_EVENTS_LOST);
	/*
	 * Only a record that is lost to a full queue is an overflow. OVFLG becomes visible
	 * after the records that fill the queue [7.4].
	 */
	if (!is_evtq_running(f) || f->evtq.ovflg != (f->evtq.cons & SMMUV3_Q_OVFLG))
		return;
	smmuv3_fe_evtq_publish(f);
	smmuv3_outq_overflow(f, &f->evtq);
}

bool
smmuv3_fe_evt_is_merged(struct smmuv3_fe *f, const struct smmuv3_evt *evt)
{
	const struct smmuv3_evt *last = &f->evtq_last;

	if (!(f->choices & SMMUV3_MODEL_MERGE_EVENTS) || last->dw[0] != evt->dw[0] ||
			last->dw[1] != evt->dw[1] || last->dw[3] != evt->dw[3] ||
			(last->dw[2] ^ evt->dw[2]) & SMMUV3_EVT2_PAGE || !is_evtq_running(f))
		return false;
	smmuv3_outq_load_cons(f, &f->evtq);
	if (smmuv3_q_pos(f->evtq.log2, f->evtq.cons) == f->evtq.prod)
		return false;
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_EVENTS_MERGED);
	return true;
}

void
smmuv3_fe_evtq_publish(struct smmuv3_fe *f)
{
	uint32_t before;

	if (f->evtq.prod == f->evtq.shown)
		return;
	f->ops->publish(f->be);
	before = smmuv3_outq_store_prod(f, &f->evtq);
	if (f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_EVENTQ && smmuv3_outq_was_empty(f, &f->evtq, before))
		smmuv3_fe_signal_evtq(f);
}
