/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Global errors [6.3.18, 7.1] and what is done about them.
 *
 * An EVENTQ_ABT_ERR means that stall records may be lost, and a stall without a
 * record waits for good. So, where there are stalls, all are ended by SMMUEN
 * 1 -> 0 -> 1, one step per check(), without waiting:
 *
 *	NONE		answers to stalls are dropped from here on, those to page
 *			requests held back, for with SMMUEN = 0 they are ignored; poll
 *			takes no page requests
 *	DRAINING	with page requests: CONS passed every answer sent before.
 *			SMMUEN = 0
 *	STOPPING	acknowledged, and CONS passed every answer sent before: a CMD_SYNC
 *	SYNCING		consumed: what has not become visible of the stalls that SMMUEN = 0
 *			ended never will [4.7.3], and what has is marked (evtq.stale).
 *			GERROR is acknowledged, the library told (TERMINATED)
 *	STOPPED		the next check(): the library has forgotten the stalls,
 *			so answers are for new ones again; page requests since
 *			SMMUEN = 0 are lost, which poll will say; SMMUEN = 1
 *	STARTING	acknowledged: all ATCs are emptied, for ATC_INVs since SMMUEN = 0
 *			were ignored
 *	SENDING		what was held back is sent, poll goes on: NONE
 *
 * No answer to an old stall is thus in the queue when its STAG can be given to a
 * new one. Records of old stalls that are still in the event queue lose their
 * STALL flag (evtq.stale). GBPA.ABORT is set since start: DMA aborts meanwhile.
 *
 * Steps that wait for commands wait as long as the queue is slow or moves: check() gives an
 * SMMU up whose queue stands otherwise (smmuv3_cmdq_is_stuck()), in recovery or not.
 *
 * A PRIQ_ABT_ERR means that page requests may be lost, and devices get a Response
 * Failure for each until it is acknowledged. Nothing can be repaired here: poll says
 * that requests were lost (priq.c). It has to have said so before there can be a second
 * such error, so that no two losses are told as one.
 *
 * An SMMU that cannot stall loses reports only, and is not switched off for that:
 * without GBPA its devices would reach all of memory meanwhile.
 */

#include <rte_cycles.h>

#include "atc.h"
#include "backlog.h"
#include "cmdq.h"
#include "cr0.h"
#include "evtq.h"
#include "gerror.h"
#include "inq.h"
#include "priq.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "wait.h"

#define MSI_ABORTS	(SMMUV3_GERROR_MSI_CMDQ_ABT | SMMUV3_GERROR_MSI_EVENTQ_ABT | \
			SMMUV3_GERROR_MSI_PRIQ_ABT | SMMUV3_GERROR_MSI_GERROR_ABT)

void
smmuv3_gerror_ack(struct smmuv3 *s, uint32_t bits)
{
	s->gerrorn ^= bits;
	/* What was repaired is visible before: a rewritten command. */
	smmuv3_store_prod(s->regs, SMMUV3_GERRORN, s->gerrorn);
}

void
smmuv3_gerror_look(struct smmuv3 *s, bool force)
{
	uint32_t gerror;

	if (smmuv3_state_get(&s->state) < SMMUV3_STATE_STARTING)
		return;
	if (!force && (s->cmdq.word == NULL || smmuv3_load_word(&s->words->gerror.v) == 0))
		return;
	if (!smmuv3_cmdq_own(&s->cmdq))
		return;
	gerror = smmuv3_load_status(s->regs, SMMUV3_GERROR);
	if (gerror != UINT32_MAX && (gerror ^ s->gerrorn) & SMMUV3_GERROR_CMDQ_ERR)
		smmuv3_cmdq_recover(&s->cmdq);
	smmuv3_cmdq_disown(&s->cmdq);
}

/* Returns what is active and not recovered here. */
static uint32_t
gerror_read(struct smmuv3 *s)
{
	uint32_t active;

	/* Acquires the SMMU's GERROR through its word, if it has one. */
	if (s->cmdq.word != NULL) {
		if (smmuv3_load_word(&s->words->gerror.v) == 0 && ++s->checks % 16 != 0)
			return 0;
		atomic_store_explicit(&s->words->gerror.v, 0, memory_order_relaxed);
		/* An error after the read below sets the word again. */
		smmuv3_io_mb();
	}
	if (!smmuv3_cmdq_own(&s->cmdq)) {
		/* Somebody has it: look again next time. */
		s->checks |= 15;
		return 0;
	}
	active = smmuv3_load_status(s->regs, SMMUV3_GERROR);
	if (active == UINT32_MAX) {
		smmuv3_cmdq_disown(&s->cmdq);
		return active;
	}
	active = (active ^ s->gerrorn) & SMMUV3_GERROR_ALL;
	if (active & SMMUV3_GERROR_CMDQ_ERR)
		smmuv3_cmdq_recover(&s->cmdq);
	if (active & MSI_ABORTS) {
		smmuv3_count(&s->msi_aborts, __builtin_popcountll(active & MSI_ABORTS));
		smmuv3_gerror_ack(s, active & MSI_ABORTS);
	}
	if (active & SMMUV3_GERROR_EVENTQ_ABT && s->max_stalls == 0) {
		/* No stall can be lost with its record: go on. */
		smmuv3_count(&s->evtq_aborts, 1);
		smmuv3_gerror_ack(s, SMMUV3_GERROR_EVENTQ_ABT);
		active &= ~SMMUV3_GERROR_EVENTQ_ABT;
	}
	if (active & SMMUV3_GERROR_PRIQ_ABT && s->pri) {
		if (smmuv3_priq_losing(s)) {
			s->checks |= 15;
		} else {
			smmuv3_count(&s->priq.aborts, 1);
			if (!s->priq_abort_said)
				SMMUV3_LOG(WARNING, s, "page requests could not be written "
						"(PRIQ_ABT_ERR): their devices got a Response "
						"Failure and ask no more: iopf_dev_pri_restart() "
						"(said once per start; see the counter priq_aborts)");
			s->priq_abort_said = true;
			/* Before entries can come: they are behind the loss. */
			smmuv3_priq_lost(s);
			smmuv3_gerror_ack(s, SMMUV3_GERROR_PRIQ_ABT);
		}
	}
	smmuv3_cmdq_disown(&s->cmdq);
	return active & (SMMUV3_GERROR_EVENTQ_ABT | SMMUV3_GERROR_SFM);
}

static void
write_cr0(struct smmuv3 *s, uint32_t cr0)
{
	s->cr0 = cr0;
	smmuv3_store_prod(s->regs, SMMUV3_CR0, cr0);
}

/* The one way to end stalls that needs no command; nothing more can be done. */
static void
switch_off(struct smmuv3 *s)
{
	/* Not while it is being switched on [6.3.9]: then the next check() does it. */
	if (s->cr0 & SMMUV3_CR0_SMMUEN && !(smmuv3_cr0_moving(s) & SMMUV3_CR0_SMMUEN))
		write_cr0(s, s->cr0 & ~SMMUV3_CR0_SMMUEN);
}

static unsigned int
fail(struct smmuv3 *s, const char *why)
{
	smmuv3_state_fail(&s->state);
	SMMUV3_LOG(ERR, s, "given up: %s; stop it and start it again, or reset the SMMU", why);
	/* A detach waits until what is in the queue was read. */
	atomic_store_explicit(&s->priq.pause, false, memory_order_relaxed);
	s->reset = SMMUV3_RESET_GIVEN_UP;
	switch_off(s);
	return IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED;
}

static bool
smmuen_is(struct smmuv3 *s, uint32_t want)
{
	return (smmuv3_load_status(s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN) == want;
}

static void
switch_smmuen(struct smmuv3 *s, uint32_t smmuen)
{
	s->reset_start = rte_get_tsc_cycles();
	write_cr0(s, (s->cr0 & ~SMMUV3_CR0_SMMUEN) | smmuen);
}

/* Not acknowledged, yet or ever. */
static unsigned int
later(struct smmuv3 *s, const char *what)
{
	return rte_get_tsc_cycles() - s->reset_start < s->timeout ? 0 : fail(s, what);
}

static unsigned int
reset_step(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	bool sent;

	switch (s->reset) {
	case SMMUV3_RESET_NONE:
		if (!smmuv3_cmdq_own(q))
			return 0;
		atomic_store_explicit(&s->priq.pause, true, memory_order_relaxed);
		smmuv3_cmdq_flush(q, UINT64_MAX);
		q->divert = SMMUV3_DIVERT_RESUME | SMMUV3_DIVERT_PRI_RESP;
		s->reset_pos = q->tail;
		smmuv3_cmdq_disown(q);
		atomic_store_explicit(&s->reset_wanted, false, memory_order_relaxed);
		s->reset = SMMUV3_RESET_DRAINING;
		/* fallthrough */
	case SMMUV3_RESET_DRAINING:
		if (s->pri && smmuv3_cmdq_cons(q) < s->reset_pos)
			return 0;
		s->reset = SMMUV3_RESET_STOPPING;
		switch_smmuen(s, 0);
		/* fallthrough */
	case SMMUV3_RESET_STOPPING:
		if (!smmuen_is(s, 0))
			return later(s, "CR0.SMMUEN = 0 is not acknowledged");
		if (smmuv3_cmdq_cons(q) < s->reset_pos || !smmuv3_cmdq_own(q))
			return 0;
		sent = smmuv3_cmdq_put_sync(q, &s->reset_pos);
		smmuv3_cmdq_disown(q);
		if (!sent)
			return 0;
		s->reset = SMMUV3_RESET_SYNCING;
		/* fallthrough */
	case SMMUV3_RESET_SYNCING:
		/* Acquires CONS: records of stalls that have ended are visible. */
		if (smmuv3_cmdq_cons(q) < s->reset_pos || !smmuv3_cmdq_own(q))
			return 0;
		atomic_store_explicit(&s->evtq.stale, smmuv3_inq_mark(&s->evtq.q),
				memory_order_release);
		if ((smmuv3_load_status(s->regs, SMMUV3_GERROR) ^ s->gerrorn) &
				SMMUV3_GERROR_EVENTQ_ABT) {
			smmuv3_count(&s->evtq_aborts, 1);
			smmuv3_gerror_ack(s, SMMUV3_GERROR_EVENTQ_ABT);
		}
		smmuv3_cmdq_disown(q);
		smmuv3_count(&s->resets, 1);
		s->reset_pos = UINT64_MAX;
		s->reset = SMMUV3_RESET_STOPPED;
		return IOPF_CHECK_TERMINATED;
	case SMMUV3_RESET_STOPPED:
		if (!smmuv3_cmdq_own(q))
			return 0;
		/* The last answers to old stalls are in the backlog, and dropped as they leave it. */
		if (s->reset_pos == UINT64_MAX)
			s->reset_pos = smmuv3_backlog_end(&q->backlog);
		sent = smmuv3_cmdq_flush(q, s->reset_pos);
		if (sent)
			q->divert = SMMUV3_DIVERT_PRI_RESP;
		smmuv3_cmdq_disown(q);
		if (!sent)
			return 0;
		/* PRIQEN has no effect since SMMUEN is 0: behind what is there now. */
		if (s->pri)
			smmuv3_priq_lost(s);
		s->reset = SMMUV3_RESET_STARTING;
		switch_smmuen(s, SMMUV3_CR0_SMMUEN);
		/* fallthrough */
	case SMMUV3_RESET_STARTING:
		if (!smmuen_is(s, SMMUV3_CR0_SMMUEN))
			return later(s, "CR0.SMMUEN = 1 is not acknowledged");
		smmuv3_atc_post_all(s);
		s->reset = SMMUV3_RESET_SENDING;
		/* fallthrough */
	case SMMUV3_RESET_SENDING:
		if (!smmuv3_cmdq_own(q))
			return 0;
		sent = smmuv3_cmdq_unhold(q);
		smmuv3_cmdq_disown(q);
		if (!sent)
			return 0;
		atomic_store_explicit(&s->priq.pause, false, memory_order_relaxed);
		s->reset = SMMUV3_RESET_NONE;
		return 0;
	case SMMUV3_RESET_GIVEN_UP:
		break;
	}
	return 0;
}

/* Where nothing stalls no record is an outstanding stall's: to acknowledge is enough. */
static unsigned int
carry_on(struct smmuv3 *s, uint32_t active)
{
	atomic_store_explicit(&s->reset_wanted, false, memory_order_relaxed);
	if (active & SMMUV3_GERROR_EVENTQ_ABT && smmuv3_cmdq_own(&s->cmdq)) {
		smmuv3_count(&s->evtq_aborts, 1);
		smmuv3_gerror_ack(s, SMMUV3_GERROR_EVENTQ_ABT);
		smmuv3_cmdq_disown(&s->cmdq);
	}
	return 0;
}

static unsigned int
check(struct smmuv3 *s)
{
	uint32_t active;

	smmuv3_cmdq_kick(&s->cmdq);
	if (s->reset == SMMUV3_RESET_GIVEN_UP) {
		switch_off(s);
		return IOPF_CHECK_DEAD;
	}
	active = gerror_read(s);
	if (active == UINT32_MAX)
		return fail(s, "its registers read as all ones");
	if (active & SMMUV3_GERROR_SFM)
		return fail(s, "Service Failure Mode");
	if (smmuv3_state_get(&s->state) == SMMUV3_STATE_FAILED)
		return fail(s, "no command is executed any more");
	if (smmuv3_cmdq_is_stuck(&s->cmdq, rte_get_tsc_cycles(), s->timeout))
		return fail(s, "commands are not consumed");
	if (s->reset == SMMUV3_RESET_NONE && !(active & SMMUV3_GERROR_EVENTQ_ABT) &&
			!atomic_load_explicit(&s->reset_wanted, memory_order_relaxed))
		return 0;
	return s->max_stalls > 0 ? reset_step(s) : carry_on(s, active);
}

unsigned int
smmuv3_check(void *priv)
{
	struct smmuv3 *s = priv;
	enum smmuv3_state state = smmuv3_state_get(&s->state);
	unsigned int told = 0;

	if ((state != SMMUV3_STATE_RUNNING && state != SMMUV3_STATE_FAILED) || !smmuv3_ctl_try(s))
		return 0;
	/* As long as ctl is held it changes to FAILED at most. */
	state = smmuv3_state_get(&s->state);
	if (state == SMMUV3_STATE_RUNNING || state == SMMUV3_STATE_FAILED)
		told = check(s);
	smmuv3_ctl_drop(s);
	return told;
}
