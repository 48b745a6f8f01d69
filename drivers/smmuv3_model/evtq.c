/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The event queue [3.5.2, 7.2]. Records are put one by one and become visible
 * together when PROD is stored, once per batch.
 */

#include "front.h"

/* Entries from the one that is written to the one whose line is asked for. */
#define EVT_AHEAD	16
#define EVT_AHEAD_LOG2	6

static smmuv3_reg32_t *
evtq_reg(const struct smmuv3_fe *f, uint32_t offset)
{
	return smmuv3_reg32(f->regs, offset);
}

/* Pairs with smmuv3_store_cons(): the slots it freed have been read. */
static void
evtq_load_cons(struct smmuv3_fe *f)
{
	uint32_t cons = atomic_load_explicit(evtq_reg(f, SMMUV3_EVENTQ_CONS),
			memory_order_acquire);

	if (!smmuv3_q_legal(f->evtq.log2, f->evtq.shown, cons)) {
		if (!f->evtq.bad_cons)
			smmuv3_log_add(f->log, "EVENTQ_CONS 0x%x is no legal partner of PROD 0x%x",
					cons, f->evtq.shown);
		f->evtq.bad_cons = true;
		/* CONSTRAINED UNPREDICTABLE [3.5.1]: a queue that is full. */
		cons = (uint32_t)(f->evtq.shown ^ (UINT32_C(1) << f->evtq.log2)) |
			(cons & SMMUV3_Q_OVFLG);
	}
	f->evtq.cons = cons;
}

void
smmuv3_fe_evtq_on(struct smmuv3_fe *f)
{
	uint32_t max = SMMUV3_GET(SMMUV3_IDR1_EVENTQS, f->val[SMMUV3_FE_IDR1]);
	uint64_t base = f->val[SMMUV3_FE_EVENTQ_BASE];
	uint32_t prod = (uint32_t)f->val[SMMUV3_FE_EVENTQ_PROD];
	uint64_t size;

	f->evtq.log2 = SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, base);
	if (f->evtq.log2 > max)
		f->evtq.log2 = max;
	size = sizeof(struct smmuv3_evt) << f->evtq.log2;
	f->evtq.base = base & SMMUV3_Q_BASE_ADDR & ~(size - 1);
	f->evtq.prod = smmuv3_q_pos(f->evtq.log2, prod);
	f->evtq.shown = f->evtq.prod;
	f->evtq.ovflg = prod & SMMUV3_Q_OVFLG;
	f->evtq.bad_cons = false;
	evtq_load_cons(f);
}

static bool
evtq_full(struct smmuv3_fe *f)
{
	if (!smmuv3_q_full(f->evtq.log2, f->evtq.prod, f->evtq.cons))
		return false;
	evtq_load_cons(f);
	return smmuv3_q_full(f->evtq.log2, f->evtq.prod, f->evtq.cons);
}

static bool
evtq_running(const struct smmuv3_fe *f)
{
	return smmuv3_fe_on(f, SMMUV3_CR0_EVENTQEN) && !f->sfm &&
		!smmuv3_fe_gerror_active(f, SMMUV3_GERROR_EVENTQ_ABT);
}

bool
smmuv3_fe_evt_writable(struct smmuv3_fe *f)
{
	return evtq_running(f) && !evtq_full(f);
}

enum smmuv3_fe_put
smmuv3_fe_evt_put(struct smmuv3_fe *f, const struct smmuv3_evt *evt)
{
	struct smmuv3_evt *slot;

	if (!smmuv3_fe_evt_writable(f))
		return SMMUV3_FE_PUT_UNWRITABLE;
	slot = NULL;
	if (!smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_EVTQ_ABORT))
		slot = smmuv3_win_find(f->wins, &f->evtq.win, f->evtq.base +
				sizeof(*slot) * smmuv3_q_slot(f->evtq.log2, f->evtq.prod),
				sizeof(*slot));
	if (slot == NULL) {
		/* Entries below PROD stay valid [7.2]. */
		smmuv3_fe_evt_publish(f);
		smmuv3_count(f->stats, SMMUV3_MODEL_STAT_EVENTS_LOST);
		smmuv3_fe_gerror(f, SMMUV3_GERROR_EVENTQ_ABT);
		return SMMUV3_FE_PUT_ABORTED;
	}
	/* Software has the lines of PROD and of the entries: they will be wanted soon. */
	smmuv3_prefetch_write(evtq_reg(f, SMMUV3_EVENTQ_PROD));
	if (f->evtq.log2 >= EVT_AHEAD_LOG2 && !(f->evtq.prod & 1))
		smmuv3_prefetch_write((uint8_t *)slot - sizeof(*slot) *
				smmuv3_q_slot(f->evtq.log2, f->evtq.prod) + sizeof(*slot) *
				smmuv3_q_slot(f->evtq.log2, f->evtq.prod + EVT_AHEAD));
	*slot = *evt;
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
	 * Overflow is a record lost to a full queue and to nothing else, and is
	 * not shown before the fullness that caused it [7.4].
	 */
	if (!evtq_running(f) || f->evtq.ovflg != (f->evtq.cons & SMMUV3_Q_OVFLG))
		return;
	smmuv3_fe_evt_publish(f);
	f->evtq.ovflg ^= SMMUV3_Q_OVFLG;
	smmuv3_fe_own(f, SMMUV3_FE_EVENTQ_PROD, f->evtq.prod | f->evtq.ovflg);
}

void
smmuv3_fe_evt_publish(struct smmuv3_fe *f)
{
	uint32_t before = f->evtq.shown;

	if (f->evtq.prod == before)
		return;
	f->ops->publish(f->be);
	f->evtq.shown = f->evtq.prod;
	/* Release: records before PROD. Pairs with smmuv3_load_prod(). */
	smmuv3_fe_own(f, SMMUV3_FE_EVENTQ_PROD, f->evtq.prod | f->evtq.ovflg);
	if (!(f->irq_ctrl.ack & SMMUV3_IRQ_CTRL_EVENTQ))
		return;
	/*
	 * PROD is stored, then CONS is read: software that goes to sleep stores
	 * CONS, then reads PROD, both with a full barrier between, so that one of
	 * the two sees the other.
	 */
	smmuv3_io_mb();
	evtq_load_cons(f);
	if (smmuv3_q_pos(f->evtq.log2, f->evtq.cons) == before)
		smmuv3_fe_irq_evtq(f);
}
