/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The state of an SMMU, and queries that read its registers. */

#include "cr0.h"
#include "ecmdq.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"

void
smmuv3_state_set(smmuv3_state_word_t *word, enum smmuv3_state next)
{
	uint32_t now = smmuv3_state_load(word), to;

	do {
		to = SMMUV3_STATE_EPOCH(now) | next;
		if (next == SMMUV3_STATE_STARTING)
			to += SMMUV3_STATE_ONE_EPOCH;
	} while (!atomic_compare_exchange_weak_explicit(word, &now, to, memory_order_release,
			memory_order_relaxed));
	smmuv3_io_mb();
}

bool
smmuv3_state_set_running(smmuv3_state_word_t *word)
{
	uint32_t now = smmuv3_state_load(word);

	/* Only the owner of the queue can have changed it meanwhile. */
	return SMMUV3_STATE_OF(now) == SMMUV3_STATE_STARTING &&
		atomic_compare_exchange_strong_explicit(word, &now,
				SMMUV3_STATE_EPOCH(now) | SMMUV3_STATE_RUNNING,
				memory_order_release, memory_order_relaxed);
}

bool
smmuv3_state_set_failed(smmuv3_state_word_t *word)
{
	uint32_t now = smmuv3_state_load(word);

	while (SMMUV3_STATE_OF(now) >= SMMUV3_STATE_STARTING)
		if (atomic_compare_exchange_weak_explicit(word, &now,
				SMMUV3_STATE_EPOCH(now) | SMMUV3_STATE_FAILED,
				memory_order_release, memory_order_relaxed))
			return true;
	return false;
}

const char *
smmuv3_state_name(enum smmuv3_state state)
{
	static const char *const names[] = {
		[SMMUV3_STATE_OFF] = "off",
		[SMMUV3_STATE_UNSAFE] = "unsafe: it did not acknowledge SMMUEN = 0",
		[SMMUV3_STATE_FAILED] = "failed",
		[SMMUV3_STATE_STARTING] = "starting",
		[SMMUV3_STATE_RUNNING] = "running",
		[SMMUV3_STATE_STOPPING] = "stopping",
	};

	return names[state];
}

/* In Service Failure Mode every access aborts. */
static bool
is_in_sfm(struct smmuv3 *s)
{
	uint32_t gerror = smmuv3_load_status(s->regs, SMMUV3_GERROR);

	return gerror != UINT32_MAX && (gerror ^ smmuv3_read32(s->regs, SMMUV3_GERRORN)) &
			SMMUV3_GERROR_SFM;
}

bool
smmuv3_may_translate(struct smmuv3 *s)
{
	uint32_t now = smmuv3_state_load(&s->state);

	switch (SMMUV3_STATE_OF(now)) {
	case SMMUV3_STATE_OFF:
		return false;
	case SMMUV3_STATE_UNSAFE:
		if (!smmuv3_smmuen_is_off(s))
			return true;
		/* This fails if a stop or a start has begun: that call then sets the state. */
		atomic_compare_exchange_strong_explicit(&s->state, &now,
				SMMUV3_STATE_EPOCH(now) | SMMUV3_STATE_OFF, memory_order_release,
				memory_order_relaxed);
		return false;
	case SMMUV3_STATE_FAILED:
		/* Start has set GBPA.ABORT: with SMMUEN = 0 accesses abort. */
		return !smmuv3_smmuen_is_off(s) && !is_in_sfm(s);
	default:
		return true;
	}
}

bool
smmuv3_uses_memory(struct smmuv3 *s)
{
	uint32_t on = SMMUV3_CR0_SMMUEN | SMMUV3_CR0_PRIQEN | SMMUV3_CR0_EVENTQEN |
		SMMUV3_CR0_CMDQEN;

	/*
	 * Never started: the SMMU uses no memory of this driver. Stopped: it uses none either, and
	 * it may be without power, so that its registers cannot be read.
	 */
	if (SMMUV3_STATE_EPOCH(smmuv3_state_load(&s->state)) == 0 ||
			atomic_load_explicit(&s->stopped, memory_order_relaxed))
		return false;
	return ((smmuv3_load_status(s->regs, SMMUV3_CR0ACK) |
			smmuv3_read32(s->regs, SMMUV3_CR0)) & on) != 0 ||
		smmuv3_load_status(s->regs, SMMUV3_IRQ_CTRLACK) != 0 ||
		smmuv3_ecmdqs_are_on(s);
}
