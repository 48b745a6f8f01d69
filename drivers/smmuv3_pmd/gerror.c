/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Global errors [6.3.18, 7.1]. recovery.c handles EVENTQ_ABT_ERR of an SMMU that can stall.
 *
 * PRIQ_ABT_ERR means that page requests may be lost, and endpoints get a Response Failure for
 * each until it is acknowledged. The driver cannot repair this: poll reports that requests were
 * lost (priq.c). Poll must have reported it before the error is acknowledged again, so that two
 * losses are not reported as one.
 */

#include "base.h"
#include "cmdq.h"
#include "ecmdq.h"
#include "gerror.h"
#include "inq.h"
#include "irq.h"
#include "priq.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"

#define MSI_ABORTS	(SMMUV3_GERROR_MSI_CMDQ_ABT | SMMUV3_GERROR_MSI_EVENTQ_ABT | \
			SMMUV3_GERROR_MSI_PRIQ_ABT | SMMUV3_GERROR_MSI_GERROR_ABT)

void
smmuv3_gerror_ack(struct smmuv3 *s, uint32_t bits)
{
	s->gerrorn ^= bits;
	/* The repair (a rewritten command) is visible before the acknowledgement. */
	smmuv3_store_prod(s->regs, SMMUV3_GERRORN, s->gerrorn);
}

void
smmuv3_gerror_check_cmdq(struct smmuv3 *s, bool force)
{
	uint32_t gerror;

	if (smmuv3_state_get(&s->state) < SMMUV3_STATE_STARTING)
		return;
	if (unlikely(s->nb_ecmdqs != 0))
		smmuv3_ecmdqs_repair(s);
	if (!force && (s->cmdq.word == NULL || smmuv3_load_word(&s->words->gerror.v) == 0))
		return;
	if (!smmuv3_cmdq_try_own(&s->cmdq))
		return;
	/* A stop may have completed since the test above. While this thread owns, none does. */
	if (smmuv3_state_get(&s->state) >= SMMUV3_STATE_STARTING) {
		gerror = smmuv3_load_status(s->regs, SMMUV3_GERROR);
		if (gerror != UINT32_MAX && (gerror ^ s->gerrorn) & SMMUV3_GERROR_CMDQ_ERR)
			smmuv3_cmdq_handle_error(&s->cmdq);
		if (gerror != UINT32_MAX && (gerror ^ s->gerrorn) & SMMUV3_GERROR_CMDQP_ERR)
			smmuv3_ecmdqs_note_error(s);
	}
	smmuv3_cmdq_disown(&s->cmdq);
}

uint32_t
smmuv3_gerror_handle(struct smmuv3 *s)
{
	uint32_t active;

	/* If there is a word, pairs with the SMMU's write of it after GERROR. */
	if (s->cmdq.word != NULL) {
		if (smmuv3_load_word(&s->words->gerror.v) == 0 && ++s->gerror_checks % 16 != 0)
			return 0;
		atomic_store_explicit(&s->words->gerror.v, 0, memory_order_relaxed);
		/* The SMMU sets the word again for an error after the read below. */
		smmuv3_io_mb();
	}
	if (!smmuv3_cmdq_try_own(&s->cmdq)) {
		/* Another thread owns the queue: read GERROR again next time. */
		s->gerror_checks |= 15;
		return 0;
	}
	active = smmuv3_load_status(s->regs, SMMUV3_GERROR);
	if (active == UINT32_MAX) {
		smmuv3_cmdq_disown(&s->cmdq);
		return active;
	}
	active = (active ^ s->gerrorn) & SMMUV3_GERROR_ALL;
	if (active & SMMUV3_GERROR_CMDQ_ERR)
		smmuv3_cmdq_handle_error(&s->cmdq);
	if (active & SMMUV3_GERROR_CMDQP_ERR)
		smmuv3_ecmdqs_note_error(s);
	if (active & MSI_ABORTS) {
		smmuv3_counter_add(&s->msi_aborts, __builtin_popcountll(active & MSI_ABORTS));
		smmuv3_gerror_ack(s, active & MSI_ABORTS);
	}
	if (active & SMMUV3_GERROR_EVENTQ_ABT && s->max_stalls == 0) {
		/* No stall can be lost with a record. This thread polls the event queue too. */
		s->evtq.q.prod_flags |= SMMUV3_INQ_LOST;
		smmuv3_counter_add(&s->evtq_aborts, 1);
		smmuv3_gerror_ack(s, SMMUV3_GERROR_EVENTQ_ABT);
		active &= ~SMMUV3_GERROR_EVENTQ_ABT;
	}
	if (active & SMMUV3_GERROR_PRIQ_ABT && s->pri) {
		if (smmuv3_priq_has_unreported_loss(s)) {
			s->gerror_checks |= 15;
		} else {
			smmuv3_counter_add(&s->priq.aborts, 1);
			if (!s->priq_abort_logged)
				SMMUV3_LOG(WARNING, s, "the SMMU could not write page requests "
						"(PRIQ_ABT_ERR): their devices got a Response "
						"Failure and send no more: iopf_dev_pri_restart() "
						"(logged once per start; see priq_aborts)");
			s->priq_abort_logged = true;
			/* Before the SMMU can write entries again, which are behind the loss. */
			smmuv3_priq_record_loss(s);
			smmuv3_gerror_ack(s, SMMUV3_GERROR_PRIQ_ABT);
		}
	}
	smmuv3_cmdq_disown(&s->cmdq);
	return active & (SMMUV3_GERROR_EVENTQ_ABT | SMMUV3_GERROR_SFM);
}
