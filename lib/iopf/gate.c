/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "gate.h"
#include "handler.h"

enum iopf_verdict
iopf_gate_run(struct iopf_attachment *attachment, const struct iopf_group *group)
{
	uint32_t gate = atomic_load_explicit(&attachment->gate, memory_order_relaxed);

	/*
	 * During a detach no fault is resolved: a repeated access would abort, and a device that
	 * gets Success for its request would continue in the next domain.
	 */
	if (gate & IOPF_GATE_CLOSED)
		return IOPF_ANSWER(IOPF_INVALID);
	return handler_call(attachment->domain, group);
}
