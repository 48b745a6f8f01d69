/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>

#include <rte_cycles.h>

#include "answer.h"
#include "breaker.h"
#include "call.h"
#include "domain.h"
#include "episode.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "join.h"
#include "rcu.h"

/*
 * Attempts of a claim. Each that fails is a move of the group by its handler or a worker, of which
 * a group has few, unless a handler defers it again and again. Between two such moves a handler
 * runs, so that a claim does not lose so many races in a row.
 */
#define MAX_CLAIMS 64

void
iopf_event_refuse(struct iopf_pass *pass, const struct iopf_event *ev, enum iopf_code code,
		enum iopf_iommu_stat why)
{
	struct iopf_iommu *iommu = pass->queue->iommu;
	bool request = ev->flags & IOPF_EVENT_PAGE_REQUEST;

	iopf_iommu_count(iommu, why, 1);
	pass->answers[pass->nb_answers++] = (struct iopf_answer){
		.sid = ev->sid,
		.pasid = request ? iopf_answer_pasid(iommu,
				iopf_table_find(&iommu->sids, ev->sid), ev->pasid) : ev->pasid,
		.token = ev->token,
		.code = code,
		.page_request = request,
	};
}

static void
slot_copy(const struct iopf_slot *slot, struct iopf_slot_copy *copy)
{
	copy->attachment = __atomic_load_n(&slot->attachment, __ATOMIC_RELAXED);
	copy->time = __atomic_load_n(&slot->fault.time, __ATOMIC_RELAXED);
	copy->answer.sid = __atomic_load_n(&slot->fault.sid, __ATOMIC_RELAXED);
	copy->answer.pasid = __atomic_load_n(&slot->fault.pasid, __ATOMIC_RELAXED);
	copy->answer.token = __atomic_load_n(&slot->fault.token, __ATOMIC_RELAXED);
	copy->answer.page_request = false;
	copy->addr = __atomic_load_n(&slot->fault.addr, __ATOMIC_RELAXED);
	copy->fault_class = __atomic_load_n(&slot->fault.fault_class, __ATOMIC_RELAXED);
	copy->ipa = __atomic_load_n(&slot->fault.ipa, __ATOMIC_RELAXED);
	copy->reason = __atomic_load_n(&slot->fault.reason, __ATOMIC_RELAXED);
	copy->raw_id = __atomic_load_n(&slot->fault.raw_id, __ATOMIC_RELAXED);
	copy->perm = __atomic_load_n(&slot->fault.perm, __ATOMIC_RELAXED);
	copy->flags = __atomic_load_n(&slot->fault.flags, __ATOMIC_RELAXED);
}

/* Inline here: the path of iopf_group_respond() runs once for each group that is taken. */
static inline int
slot_claim(struct iopf_slot *slot, uint64_t word, struct iopf_slot_copy *copy, bool *ours)
{
	uint64_t gen = IOPF_SLOT_GEN(word);

	for (unsigned int i = 0; i < MAX_CLAIMS; i++, word = iopf_slot_load(slot)) {
		uint64_t to;

		if (IOPF_SLOT_GEN(word) != gen)
			return -ESTALE;
		switch (IOPF_SLOT_STATE(word)) {
		case IOPF_SLOT_TAKEN:
		case IOPF_SLOT_QUEUED:
			to = iopf_slot_next_free_word(gen);
			*ours = true;
			break;
		case IOPF_SLOT_HANDLING:
			to = IOPF_SLOT_WORD(gen, IOPF_SLOT_DONE);
			*ours = false;
			break;
		case IOPF_SLOT_JOINED:
			to = IOPF_SLOT_WORD(gen, IOPF_SLOT_LEFT);
			*ours = false;
			break;
		default:
			return -ESTALE;
		}
		slot_copy(slot, copy);
		if (!iopf_slot_cas(slot, word, to))
			continue;
		/* The thread that frees the slot must not use the attachment. */
		if (unlikely(IOPF_SLOT_STATE(word) == IOPF_SLOT_JOINED) &&
				!(copy->flags & IOPF_FAULT_PAGE_REQUEST))
			iopf_attachment_uncount_held(copy->attachment);
		return 0;
	}
	return -ESTALE;
}

int
iopf_slot_claim(struct iopf_slot *slot, uint64_t word, struct iopf_slot_copy *copy, bool *ours)
{
	return slot_claim(slot, word, copy, ours);
}

bool
iopf_slot_claim_joined(struct iopf_slot *slot, struct iopf_slot_copy *copy)
{
	uint64_t gen = IOPF_SLOT_GEN(iopf_slot_load(slot));

	slot_copy(slot, copy);
	return iopf_slot_cas(slot, IOPF_SLOT_WORD(gen, IOPF_SLOT_JOINED),
			iopf_slot_next_free_word(gen));
}

static const enum iopf_stat code_stat[IOPF_NB_CODES] = {
	[IOPF_SUCCESS] = IOPF_STAT_SUCCESS,
	[IOPF_INVALID] = IOPF_STAT_INVALID,
	[IOPF_FAILURE] = IOPF_STAT_FAILURE,
	[IOPF_RAZWI] = IOPF_STAT_RAZWI,
};

static inline bool
answer_prepare(struct iopf_iommu *iommu, struct iopf_slot_copy *copy, enum iopf_code code)
{
	if (copy->flags & IOPF_FAULT_PAGE_REQUEST) {
		copy->answer.page_request = true;
		copy->answer.pasid = iopf_answer_pasid(iommu, copy->attachment->dev,
				copy->answer.pasid);
	} else if (!(copy->flags & IOPF_FAULT_STALLED)) {
		const struct iopf_retry retry = {
			.addr = copy->addr,
			.sid = copy->answer.sid,
			.pasid = copy->answer.pasid,
			.perm = copy->perm,
			.code = code,
		};

		iopf_dev_retry(copy->attachment->dev, &retry);
		return false;
	}
	copy->answer.code = code;
	return true;
}

static inline void
answer_send(struct iopf_queue *q, struct iopf_slot_copy *copy, enum iopf_code code)
{
	struct iopf_domain *domain = copy->attachment->domain;
	struct iopf_iommu *iommu = q->iommu;

	if (answer_prepare(iommu, copy, code) && unlikely(
			iommu->driver->ops.answer(iommu->priv, &copy->answer, 1) == 0))
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS_LOST, 1);
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS, 1);
	iopf_hist_add(&domain->latency, rte_rdtsc() - copy->time, 1);
	iopf_domain_count(domain, code_stat[code], 1);
}

void
iopf_answer_send(struct iopf_queue *q, struct iopf_slot_copy *copy, enum iopf_code code)
{
	answer_send(q, copy, code);
}

bool
iopf_answer_prepare(struct iopf_iommu *iommu, struct iopf_slot_copy *copy, enum iopf_code code)
{
	return answer_prepare(iommu, copy, code);
}

void
iopf_answer_count(struct iopf_iommu *iommu, struct iopf_domain *domain, enum iopf_code code,
		uint32_t n)
{
	if (n == 0)
		return;
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ANSWERS, n);
	iopf_domain_count(domain, code_stat[code], n);
}

static __rte_noinline int
code_refuse(enum iopf_code code)
{
	static struct iopf_log_limit limit;

	IOPF_LOG_LIMITED(&limit, "iopf_group_respond(): %u is no answer: use one of enum "
			"iopf_code; the group still waits for its answer", (unsigned int)code);
	return iopf_ret(-EINVAL);
}

/* A fatal answer opens an episode, before the device sees the answer. */
static __rte_noinline __rte_cold void
episode_open(const struct iopf_queue *q, const struct iopf_slot_copy *copy)
{
	const struct iopf_fault fault = {
		.addr = copy->addr,
		.ipa = copy->ipa,
		.time = copy->time,
		.sid = copy->answer.sid,
		.pasid = copy->answer.pasid,
		.token = copy->answer.token,
		.perm = copy->perm,
		.reason = copy->reason,
		.flags = copy->flags,
		.raw_id = copy->raw_id,
		.queue = q->id,
		.fault_class = copy->fault_class,
	};

	iopf_episode_open(copy->attachment, &fault);
}

/* Claim and answer a group. */
static inline int
slot_respond(struct iopf_queue *q, struct iopf_slot *slot, uint64_t word, enum iopf_code code,
		enum iopf_code judged, bool *ours)
{
	struct iopf_slot_copy copy;
	int ret = slot_claim(slot, word, &copy, ours);

	if (ret < 0)
		return ret;
	if (unlikely(copy.attachment->domain->storm.report_first) && iopf_code_is_fatal(judged))
		episode_open(q, &copy);
	answer_send(q, &copy, code);
	if (unlikely(copy.attachment->join != NULL))
		iopf_join_answer(q, copy.attachment, slot->index, IOPF_SLOT_GEN(word), code,
				IOPF_CANCEL_DETACH);
	return 0;
}

static inline int
gen_respond(struct iopf_queue *q, struct iopf_slot *slot, uint64_t gen, enum iopf_code code,
		enum iopf_code judged, bool *ours)
{
	int ret = -ESTALE;
	uint64_t word;

	if (code == IOPF_RAZWI && (q->prg != NULL || !q->iommu->info.razwi))
		code = IOPF_INVALID;
	iopf_answering_begin(q->iommu);
	word = iopf_slot_load(slot);
	if (IOPF_SLOT_GEN(word) == gen)
		ret = slot_respond(q, slot, word, code, judged, ours);
	iopf_answering_end(q->iommu);
	if (ret < 0)
		iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_STALE_ANSWERS, 1);
	return ret;
}

int
iopf_slot_respond(struct iopf_queue *q, struct iopf_slot *slot, uint64_t gen, enum iopf_code code,
		enum iopf_code judged, bool *ours)
{
	return gen_respond(q, slot, gen, code, judged, ours);
}

int
iopf_group_respond(uint64_t id, enum iopf_code code)
{
	struct iopf_slot *slot;
	struct iopf_queue *q;
	bool ours;
	int ret = -ESTALE;

	if (unlikely((unsigned int)code >= IOPF_NB_CODES))
		return code_refuse(code);

	iopf_rcu_read_lock();
	slot = iopf_slot_find(id, &q);
	if (slot != NULL) {
		ret = gen_respond(q, slot, IOPF_ID_GEN(id), code, code, &ours);
		if (ret == 0 && ours)
			iopf_slot_free(q, slot);
	}
	iopf_rcu_read_unlock();
	return iopf_ret(ret);
}
