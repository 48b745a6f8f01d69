/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The driver's check operation: errors, recovery and a stuck command queue. */

#include <rte_cycles.h>

#include "check.h"
#include "cmdq.h"
#include "ecmdq.h"
#include "gerror.h"
#include "recovery.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "wait.h"

static unsigned int
check_smmu(struct smmuv3 *s)
{
	uint32_t active;

	smmuv3_cmdq_try_flush(&s->cmdq);
	if (s->recovery.step == SMMUV3_RECOVERY_GIVEN_UP) {
		smmuv3_clear_smmuen(s);
		return IOPF_CHECK_DEAD;
	}
	active = smmuv3_gerror_handle(s);
	if (active == UINT32_MAX)
		return smmuv3_give_up(s, "registers read as all ones");
	if (active & SMMUV3_GERROR_SFM)
		return smmuv3_give_up(s, "Service Failure Mode");
	if (smmuv3_state_get(&s->state) == SMMUV3_STATE_FAILED)
		return smmuv3_give_up(s, "no command is executed any more");
	if (smmuv3_cmdq_is_stuck(&s->cmdq, rte_get_tsc_cycles(), s->timeout) ||
			(unlikely(s->nb_ecmdqs != 0) && !smmuv3_ecmdqs_check(s)))
		return smmuv3_give_up(s, "commands are not consumed (if it is a model: its thread "
				"had no CPU, or no thread steps it)");
	if (s->recovery.step == SMMUV3_RECOVERY_NONE && !(active & SMMUV3_GERROR_EVENTQ_ABT) &&
			!atomic_load_explicit(&s->recovery.wanted, memory_order_relaxed))
		return 0;
	return s->max_stalls > 0 ? smmuv3_recovery_advance(s) : smmuv3_recovery_ack_only(s, active);
}

unsigned int
smmuv3_check(void *priv)
{
	struct smmuv3 *s = priv;
	enum smmuv3_state state = smmuv3_state_get(&s->state);
	unsigned int result = 0;

	if ((state != SMMUV3_STATE_RUNNING && state != SMMUV3_STATE_FAILED) ||
			!smmuv3_ctl_trylock(s))
		return 0;
	/* While this thread holds ctl, the state changes to FAILED at most. */
	state = smmuv3_state_get(&s->state);
	if (state == SMMUV3_STATE_RUNNING || state == SMMUV3_STATE_FAILED)
		result = check_smmu(s);
	smmuv3_ctl_unlock(s);
	return result;
}

bool
smmuv3_is_recovering(void *priv)
{
	struct smmuv3 *s = priv;
	enum smmuv3_recovery_step step = s->recovery.step;

	return step != SMMUV3_RECOVERY_NONE && step != SMMUV3_RECOVERY_GIVEN_UP;
}
