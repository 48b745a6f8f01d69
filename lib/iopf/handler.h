/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_HANDLER_RUN_H
#define IOPF_HANDLER_RUN_H

/* Runs the domain's fast handler and applies its verdict. */

#include "flush.h"
#include "gate.h"
#include "iopf_trace.h"
#include "verdict.h"

/* One call of answers_send_after_inv() takes at most IOPF_MAX_BURST invalidations of a domain. */
static inline bool
inv_batch_is_full(const struct iopf_pass *pass, const struct iopf_attachment *attachment)
{
	return pass->nb_inv != 0 && (pass->after_hw != attachment->hw ||
			pass->nb_inv > IOPF_MAX_BURST - IOPF_MAX_GROUP_INV);
}

static inline void
inv_batch_begin(struct iopf_pass *pass, const struct iopf_attachment *attachment)
{
	if (unlikely(inv_batch_is_full(pass, attachment)))
		iopf_pass_flush(pass);
	pass->group_inv = pass->nb_inv;
	pass->after_hw = attachment->hw;
}

static inline enum iopf_verdict
handler_call(struct iopf_domain *domain, const struct iopf_group *group)
{
	const struct iopf_handlers *handlers = iopf_domain_handlers(domain);

	if (likely(handlers->fast != NULL))
		return handlers->fast(domain, group, handlers->ctx);
	return IOPF_DEFER;
}

/* The part of handler_run() that calls the handler and applies its verdict, behind the gate. */
void iopf_handler_run_gated(struct iopf_pass *pass, struct iopf_attachment *attachment,
		struct iopf_slot *head, const struct iopf_group *group);

/*
 * The state of @p head is HANDLING, its generation @p gen: a cancel may change the state meanwhile,
 * but not the generation. @p request is the caller's constant.
 */
static inline void
handler_run(struct iopf_pass *pass, struct iopf_attachment *attachment, struct iopf_slot *head,
		uint64_t gen, const struct iopf_fault *const *faults, uint16_t n, bool request)
{
	struct iopf_domain *domain = attachment->domain;
	struct iopf_queue *q = pass->queue;
	const struct iopf_group group = {
		.id = iopf_group_make_id(q, head->index, gen),
		.dev = attachment->dev,
		.pasid = head->fault.pasid,
		.nb_faults = n,
		.faults = faults,
	};
	enum iopf_verdict verdict;

	inv_batch_begin(pass, attachment);
	pass_run_begin(pass, domain);
	pass->run_faults++;
	if (request)
		pass->run_requests += n;
	iopf_trace_fault(q->iommu->id, head->fault.sid, head->fault.pasid, head->fault.addr,
			head->fault.perm);

	if (unlikely(atomic_load_explicit(&attachment->gate, memory_order_relaxed) != 0)) {
		iopf_handler_run_gated(pass, attachment, head, &group);
		return;
	}
	verdict = handler_call(domain, &group);
	if (likely(verdict == IOPF_ANSWER(IOPF_SUCCESS))) {
		pass->nb_inv = pass->group_inv;
		verdict_answer(pass, domain, head, gen, IOPF_SUCCESS, false, request);
		return;
	}
	if ((verdict & ~0xff) != IOPF_VERDICT_AFTER_INV)
		pass->nb_inv = pass->group_inv;
	verdict_apply(pass, domain, head, group.id, gen, verdict, request);
}

/*
 * Begin invalidations for a group that is given to lost. @p left events of the burst are still to
 * be dispatched. False: the burst could need more calls of answer_after() than it has events, which
 * is the most that a driver has room for.
 */
bool iopf_inv_batch_begin(struct iopf_pass *pass, const struct iopf_attachment *attachment,
		unsigned int left);

#endif /* IOPF_HANDLER_RUN_H */
