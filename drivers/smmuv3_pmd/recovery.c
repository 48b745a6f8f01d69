/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Recovery from lost stall records.
 *
 * EVENTQ_ABT_ERR means that stall records may be lost, and a stall without a record waits
 * forever. So, if the SMMU can stall, all stalls are ended by SMMUEN 1 -> 0 -> 1, one step in each
 * check(), without a wait:
 *
 *	NONE		from here on answers to stalls are dropped, and answers to page
 *			requests held back, for with SMMUEN = 0 they are ignored; poll
 *			takes no page requests
 *	DRAINING	with page requests: CONS passed every answer sent before.
 *			SMMUEN = 0
 *	STOPPING	acknowledged, and CONS passed every answer sent before: a CMD_SYNC
 *	SYNCING		consumed: records of the stalls that SMMUEN = 0 ended are either
 *			visible, and marked (evtq.stale_end), or never will be [4.7.3].
 *			GERROR is acknowledged, the library told (TERMINATED)
 *	STOPPED		the next check(): the library has forgotten the stalls,
 *			so answers are for new ones again; page requests since
 *			SMMUEN = 0 are lost, which poll will report; SMMUEN = 1
 *	STARTING	acknowledged: all ATCs are invalidated, for ATC_INVs since
 *			SMMUEN = 0 were ignored
 *	SENDING		the answers held back are sent, poll goes on: NONE
 *
 * So no answer to an old stall is in a queue when its STAG can be given to a new one. Answers to
 * stalls in ECMDQs (ecmdq.h) are treated in the same steps.
 * Records of old stalls that are still in the event queue lose their STALL flag
 * (evtq.stale_end). Start has set GBPA.ABORT, so DMA aborts meanwhile.
 *
 * Steps that wait for commands wait as long as the queue is slow or moves. If it is stuck
 * (smmuv3_cmdq_is_stuck()) check() gives the SMMU up, in recovery or not.
 *
 * An SMMU that cannot stall loses reports only, and is not switched off for that: without
 * GBPA its devices would reach all of memory meanwhile.
 */

#include "atc.h"
#include "backlog.h"
#include "base.h"
#include "cmdq.h"
#include "cr0.h"
#include "ecmdq.h"
#include "evtq.h"
#include "gerror.h"
#include "inq.h"
#include "priq.h"
#include "recovery.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "wait.h"

void
smmuv3_clear_smmuen(struct smmuv3 *s)
{
	/* Not while SMMUEN = 1 is not acknowledged [6.3.9]: then the next check() does it. */
	if (s->cr0 & SMMUV3_CR0_SMMUEN && !(smmuv3_cr0_get_unacked(s) & SMMUV3_CR0_SMMUEN))
		smmuv3_cr0_store(s, s->cr0 & ~SMMUV3_CR0_SMMUEN);
}

unsigned int
smmuv3_give_up(struct smmuv3 *s, const char *why)
{
	smmuv3_state_set_failed(&s->state);
	SMMUV3_LOG(ERR, s, "the SMMU is given up: %s; stop it and start it again, or reset it",
			why);
	/* Poll goes on: a detach waits until the entries in the queue were read. */
	atomic_store_explicit(&s->priq.paused, false, memory_order_relaxed);
	s->recovery.step = SMMUV3_RECOVERY_GIVEN_UP;
	smmuv3_clear_smmuen(s);
	return IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED;
}

static bool
is_smmuen_acked(struct smmuv3 *s, uint32_t want)
{
	return (smmuv3_load_status(s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN) == want;
}

static void
set_smmuen(struct smmuv3 *s, uint32_t smmuen)
{
	smmuv3_wait_begin(s, &s->recovery.wait);
	smmuv3_cr0_store(s, (s->cr0 & ~SMMUV3_CR0_SMMUEN) | smmuen);
}

/* CR0 is not acknowledged yet; give up after the timeout. */
static unsigned int
give_up_if_late(struct smmuv3 *s, const char *what)
{
	return smmuv3_wait_count(s, &s->recovery.wait) ? 0 : smmuv3_give_up(s, what);
}

unsigned int
smmuv3_recovery_advance(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	bool sent;

	switch ((enum smmuv3_recovery_step)s->recovery.step) {
	case SMMUV3_RECOVERY_NONE:
		if (!smmuv3_ecmdqs_divert(s) || !smmuv3_cmdq_try_own(q))
			return 0;
		atomic_store_explicit(&s->priq.paused, true, memory_order_relaxed);
		smmuv3_cmdq_flush_backlog(q, UINT64_MAX);
		q->divert = SMMUV3_DIVERT_RESUME | SMMUV3_DIVERT_PRI_RESP;
		s->recovery.pos = q->tail;
		smmuv3_cmdq_disown(q);
		atomic_store_explicit(&s->recovery.wanted, false, memory_order_relaxed);
		s->recovery.step = SMMUV3_RECOVERY_DRAINING;
		/* fallthrough */
	case SMMUV3_RECOVERY_DRAINING:
		if (s->pri && smmuv3_cmdq_load_cons(q) < s->recovery.pos)
			return 0;
		s->recovery.step = SMMUV3_RECOVERY_STOPPING;
		set_smmuen(s, 0);
		/* fallthrough */
	case SMMUV3_RECOVERY_STOPPING:
		if (!is_smmuen_acked(s, 0))
			return give_up_if_late(s, "CR0.SMMUEN = 0 is not acknowledged");
		if (smmuv3_cmdq_load_cons(q) < s->recovery.pos || !smmuv3_ecmdqs_have_passed(s) ||
				!smmuv3_cmdq_try_own(q))
			return 0;
		sent = smmuv3_cmdq_put_sync(q, &s->recovery.pos);
		smmuv3_cmdq_disown(q);
		if (!sent)
			return 0;
		s->recovery.step = SMMUV3_RECOVERY_SYNCING;
		/* fallthrough */
	case SMMUV3_RECOVERY_SYNCING:
		/* Acquires CONS: records of the stalls that have ended are visible. */
		if (smmuv3_cmdq_load_cons(q) < s->recovery.pos || !smmuv3_cmdq_try_own(q))
			return 0;
		atomic_store_explicit(&s->evtq.stale_end, smmuv3_inq_take_mark(&s->evtq.q),
				memory_order_release);
		if ((smmuv3_load_status(s->regs, SMMUV3_GERROR) ^ s->gerrorn) &
				SMMUV3_GERROR_EVENTQ_ABT) {
			smmuv3_counter_add(&s->evtq_aborts, 1);
			smmuv3_gerror_ack(s, SMMUV3_GERROR_EVENTQ_ABT);
		}
		smmuv3_cmdq_disown(q);
		smmuv3_counter_add(&s->resets, 1);
		s->recovery.pos = UINT64_MAX;
		s->recovery.step = SMMUV3_RECOVERY_STOPPED;
		return IOPF_CHECK_TERMINATED;
	case SMMUV3_RECOVERY_STOPPED:
		if (!smmuv3_ecmdqs_undivert(s) || !smmuv3_cmdq_try_own(q))
			return 0;
		/*
		 * The last answers to old stalls are in the backlog, and dropped as they leave it.
		 */
		if (s->recovery.pos == UINT64_MAX)
			s->recovery.pos = smmuv3_backlog_load_end(&q->backlog);
		sent = smmuv3_cmdq_flush_backlog(q, s->recovery.pos);
		if (sent)
			q->divert = SMMUV3_DIVERT_PRI_RESP;
		smmuv3_cmdq_disown(q);
		if (!sent)
			return 0;
		/*
		 * With SMMUEN = 0 PRIQEN has no effect: the loss is behind the entries there now.
		 */
		if (s->pri)
			smmuv3_priq_record_loss(s);
		s->recovery.step = SMMUV3_RECOVERY_STARTING;
		set_smmuen(s, SMMUV3_CR0_SMMUEN);
		/* fallthrough */
	case SMMUV3_RECOVERY_STARTING:
		if (!is_smmuen_acked(s, SMMUV3_CR0_SMMUEN))
			return give_up_if_late(s, "CR0.SMMUEN = 1 is not acknowledged");
		smmuv3_atc_post_inv_all(s);
		s->recovery.step = SMMUV3_RECOVERY_SENDING;
		/* fallthrough */
	case SMMUV3_RECOVERY_SENDING:
		if (!smmuv3_cmdq_try_own(q))
			return 0;
		sent = smmuv3_cmdq_release_held(q);
		smmuv3_cmdq_disown(q);
		if (!sent)
			return 0;
		atomic_store_explicit(&s->priq.paused, false, memory_order_relaxed);
		s->recovery.step = SMMUV3_RECOVERY_NONE;
		return 0;
	case SMMUV3_RECOVERY_GIVEN_UP:
		break;
	}
	return 0;
}

unsigned int
smmuv3_recovery_ack_only(struct smmuv3 *s, uint32_t active)
{
	atomic_store_explicit(&s->recovery.wanted, false, memory_order_relaxed);
	if (active & SMMUV3_GERROR_EVENTQ_ABT && smmuv3_cmdq_try_own(&s->cmdq)) {
		smmuv3_counter_add(&s->evtq_aborts, 1);
		smmuv3_gerror_ack(s, SMMUV3_GERROR_EVENTQ_ABT);
		smmuv3_cmdq_disown(&s->cmdq);
	}
	return 0;
}
