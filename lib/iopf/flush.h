/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_FLUSH_H
#define IOPF_FLUSH_H

/* Send the answers that a pass has gathered. */

#include <stdint.h>

#include <rte_branch_prediction.h>
#include <rte_cycles.h>

#include "pass.h"

/*
 * The slots become free after the answers are sent: a detach that finds no slot waits for the
 * pass, and then all is answered.
 */
void iopf_pass_flush(struct iopf_pass *pass);
/* Add the counted faults to the counters of their domain. */
void iopf_pass_flush_counts(struct iopf_pass *pass, uint64_t latency);

/* The faults that are counted from here on are the domain's. */
static inline void
pass_run_begin(struct iopf_pass *pass, struct iopf_domain *domain)
{
	if (pass->run_domain == domain)
		return;
	if (unlikely(pass->run_domain != NULL))
		iopf_pass_flush_counts(pass, rte_rdtsc() - pass->now);
	pass->run_domain = domain;
}

#endif /* IOPF_FLUSH_H */
