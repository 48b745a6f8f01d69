/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Verdicts that a handler must not return. They have a file of their own, so that verdict_apply()
 * is inlined where each fault passes.
 */

#include "iopf_log.h"
#include "verdict.h"

__rte_cold void
iopf_verdict_log_defer(struct iopf_domain *domain)
{
	IOPF_LOG_LIMITED(&domain->log, "%s: its handler returned IOPF_DEFER, and the domain has no "
			"deferred handler: set deferred and worker of its conf, or return "
			"IOPF_ANSWER(code)", domain->name);
}

__rte_cold void
iopf_verdict_refuse(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_slot *slot,
		uint64_t id, uint64_t gen, enum iopf_verdict verdict)
{
	bool after = (verdict & ~0xff) == IOPF_VERDICT_AFTER_INV;

	if ((!after && (verdict & ~0xff) != IOPF_VERDICT_ANSWER) ||
			(verdict & 0xff) >= IOPF_NB_CODES)
		IOPF_LOG_LIMITED(&domain->log, "%s: its handler returned %d (%#x), which is no "
				"verdict: return IOPF_ANSWER(code)", domain->name, (int)verdict,
				(unsigned int)verdict);
	verdict_apply(pass, domain, slot, id, gen, after ? IOPF_ANSWER_AFTER_INV(IOPF_INVALID) :
			IOPF_ANSWER(IOPF_INVALID), slot->fault.flags & IOPF_FAULT_PAGE_REQUEST);
}
