/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <rte_branch_prediction.h>

#include "breaker.h"
#include "episode.h"
#include "gate.h"
#include "handler.h"
#include "join.h"

enum iopf_verdict
iopf_gate_run(struct iopf_attachment *attachment, const struct iopf_group *group)
{
	uint32_t gate = atomic_load_explicit(&attachment->gate, memory_order_relaxed);
	uint64_t now = group->faults[0]->time;
	enum iopf_verdict verdict;
	bool trips = false, is_counted = false;

	/*
	 * During a detach no fault is resolved: a repeated access would abort, and a device that
	 * gets Success for its request would continue in the next domain.
	 */
	if (unlikely(gate & (IOPF_GATE_CLOSED | IOPF_GATE_JOIN_STAGE2))) {
		if (gate & IOPF_GATE_CLOSED) {
			iopf_domain_count(attachment->domain, IOPF_STAT_CANCELLED, 1);
			return IOPF_ANSWER(IOPF_INVALID);
		}
		if (group->faults[0]->flags & IOPF_FAULT_STAGE2)
			gate |= IOPF_GATE_JOIN;
	}
	if ((gate & IOPF_GATE_LIMIT) && iopf_limits_refuse(attachment->dev, now))
		return IOPF_ANSWER(IOPF_INVALID);
	/* It may be of the old domain. The access faults again if the new one lacks the page. */
	if (gate & IOPF_GATE_REPLACING) {
		iopf_domain_count(attachment->domain, IOPF_STAT_RETRIED, 1);
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	/* It may open an episode. */
	if (gate & IOPF_GATE_BREAKER)
		trips = iopf_breaker_count(attachment, group->faults);
	if (gate & IOPF_GATE_EPISODES)
		is_counted = iopf_episode_count(attachment, group->faults, group->nb_faults,
				trips);
	if (unlikely(trips))
		iopf_breaker_publish_trip(attachment);
	if (is_counted)
		return IOPF_ANSWER(IOPF_INVALID);
	if ((gate & IOPF_GATE_JOIN) && iopf_join_try(attachment, group, &verdict))
		return verdict;
	if ((gate & IOPF_GATE_FULL) && iopf_limits_are_full(attachment, group->faults[0]))
		return IOPF_ANSWER(IOPF_INVALID);
	/* Faults that no handler gets do not count for the rate. */
	if ((gate & IOPF_GATE_LIMIT) && iopf_limits_exceed_rate(attachment->dev, now))
		return IOPF_ANSWER(IOPF_INVALID);
	verdict = handler_call(attachment->domain, group);
	if (gate & IOPF_GATE_JOIN)
		iopf_join_remember(attachment, group, verdict);
	if ((gate & IOPF_GATE_BREAKER) && (verdict == IOPF_DEFER || verdict == IOPF_TAKEN))
		iopf_breaker_count_held(attachment, group->faults[0]);
	if (attachment->domain->storm.report_first && iopf_verdict_is_fatal(verdict))
		iopf_episode_open(attachment, group->faults[0]);
	return verdict;
}
