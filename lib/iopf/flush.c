/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include <rte_cycles.h>

#include "dev.h"
#include "domain.h"
#include "fault_queue.h"
#include "flush.h"
#include "iommu.h"
#include "prg.h"

static __rte_noinline void
flush_failed(struct iopf_pass *pass, struct iopf_domain *domain)
{
	static const enum iopf_stat code_stat[IOPF_NB_CODES] = {
		[IOPF_INVALID] = IOPF_STAT_INVALID,
		[IOPF_FAILURE] = IOPF_STAT_FAILURE,
		[IOPF_RAZWI] = IOPF_STAT_RAZWI,
	};

	for (unsigned int i = 0; i < IOPF_NB_CODES; i++)
		if (pass->run_codes[i] != 0)
			iopf_domain_count(domain, code_stat[i], pass->run_codes[i]);
	memset(pass->run_codes, 0, sizeof(pass->run_codes));
	pass->run_failed = 0;
}

void
iopf_pass_flush_counts(struct iopf_pass *pass, uint64_t latency)
{
	struct iopf_domain *domain = pass->run_domain;

	if (domain == NULL)
		return;
	iopf_domain_count(domain, IOPF_STAT_FAULTS, pass->run_faults);
	if (pass->run_requests != 0)
		iopf_domain_count(domain, IOPF_STAT_REQUESTS, pass->run_requests);
	if (pass->run_answers != 0) {
		iopf_hist_add(&domain->latency, latency, pass->run_answers);
		if (pass->run_answers != pass->run_failed)
			iopf_domain_count(domain, IOPF_STAT_SUCCESS,
					pass->run_answers - pass->run_failed);
		if (pass->run_failed != 0)
			flush_failed(pass, domain);
	}
	if (unlikely(pass->run_joined != 0))
		iopf_domain_count(domain, IOPF_STAT_JOINED, pass->run_joined);
	pass->run_domain = NULL;
	pass->run_faults = 0;
	pass->run_requests = 0;
	pass->run_answers = 0;
	pass->run_joined = 0;
}

/*
 * Invalidate, then answer, in one batch. If the driver has no answer_after, this thread waits for
 * the invalidation. If that fails the answers are INVALID: a repeated access could still use the
 * old translation.
 */
static uint16_t
answers_send_after_inv(struct iopf_pass *pass)
{
	const struct iopf_driver_ops *ops = &pass->queue->iommu->driver->ops;
	void *priv = pass->queue->iommu->priv;
	struct iopf_inv_result result;

	if (likely(ops->answer_after != NULL))
		return ops->answer_after(priv, pass->after_hw, pass->inv, pass->nb_inv,
				pass->after, pass->nb_after);
	if (pass->nb_inv != 0 && ops->invalidate(priv, pass->after_hw, pass->inv, pass->nb_inv,
			&result) < 0)
		for (unsigned int i = 0; i < pass->nb_after; i++)
			pass->after[i].code = IOPF_INVALID;
	return pass->nb_after != 0 ? ops->answer(priv, pass->after, pass->nb_after) : 0;
}

static inline void
slots_free(struct iopf_queue *q, const uint32_t *slots, unsigned int n)
{
	uint32_t *free = &q->free[q->nb_free];

	for (unsigned int i = 0; i < n; i++)
		free[i] = slots[i];
	q->nb_free += n;
}

static __rte_noinline void
retries_call(struct iopf_pass *pass)
{
	for (unsigned int i = 0; i < pass->nb_retries; i++)
		iopf_dev_retry(pass->retries[i].dev, &pass->retries[i].retry);
	pass->nb_retries = 0;
}

static __rte_noinline void
groups_free(struct iopf_queue *q, const struct iopf_pass *pass)
{
	for (unsigned int i = 0; i < pass->nb_frees; i++)
		iopf_prg_free(q, pass->frees[i]);
}

void
iopf_pass_flush(struct iopf_pass *pass)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_iommu *iommu = q->iommu;
	const struct iopf_driver_ops *ops = &iommu->driver->ops;
	unsigned int n = pass->nb_answers + pass->nb_after + pass->nb_retries, lost = 0;

	if (pass->nb_answers != 0)
		lost = pass->nb_answers - ops->answer(iommu->priv, pass->answers,
				pass->nb_answers);
	if (unlikely((pass->nb_inv | pass->nb_after) != 0)) {
		lost += pass->nb_after - answers_send_after_inv(pass);
		pass->nb_posts++;
	}
	if (unlikely(lost != 0))
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS_LOST, lost);
	if (unlikely(pass->nb_retries != 0))
		retries_call(pass);
	iopf_queue_count(q, IOPF_IOMMU_STAT_ANSWERS, n);
	iopf_pass_flush_counts(pass, rte_rdtsc() - pass->now);
	if (q->prg != NULL)
		groups_free(q, pass);
	else
		slots_free(q, pass->frees, pass->nb_frees);
	pass->nb_answers = 0;
	pass->nb_after = 0;
	pass->nb_inv = 0;
	pass->nb_frees = 0;
}
