/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_ANSWER_H
#define IOPF_ANSWER_H

/* Answers: staged in a pass, or sent at once by any thread. */

#include "attachment.h"
#include "fault_queue.h"
#include "pass.h"

/* The PASID in the answer to a page request. @p dev is NULL if the StreamID is unknown. */
static inline uint32_t
iopf_answer_pasid(const struct iopf_iommu *iommu, const struct iopf_dev *dev, uint32_t pasid)
{
	return iommu->info.pri_pasid || (dev != NULL && dev->conf.prg_pasid) ? pasid :
			IOPF_NO_PASID;
}

static inline void
pass_count_answer(struct iopf_pass *pass, enum iopf_code code)
{
	pass->run_answers++;
	if (unlikely(code != IOPF_SUCCESS)) {
		pass->run_failed++;
		pass->run_codes[code]++;
	}
}

/* @p request is whether the slot is of a page request: the callers' constant. */
static inline void
answer_stage(struct iopf_pass *pass, struct iopf_slot *slot, enum iopf_code code, bool after,
		bool request)
{
	struct iopf_answer answer = {
		.sid = slot->fault.sid,
		.pasid = slot->fault.pasid,
		.token = slot->fault.token,
		.code = code,
	};

	if (request) {
		answer.page_request = true;
		answer.pasid = iopf_answer_pasid(pass->queue->iommu, slot->attachment->dev,
				slot->fault.pasid);
	}
	if (unlikely(!request && !(slot->fault.flags & IOPF_FAULT_STALLED)))
		pass->retries[pass->nb_retries++] = (struct iopf_pass_retry){
			.dev = slot->attachment->dev,
			.retry = {
				.addr = slot->fault.addr,
				.sid = slot->fault.sid,
				.pasid = slot->fault.pasid,
				.perm = slot->fault.perm,
				.code = code,
			},
		};
	else if (after)
		pass->after[pass->nb_after++] = answer;
	else
		pass->answers[pass->nb_answers++] = answer;
	pass_count_answer(pass, code);
}

/* Stage the answer to a fault that has no slot. */
void iopf_event_refuse(struct iopf_pass *pass, const struct iopf_event *ev, enum iopf_code code,
		enum iopf_iommu_stat why);

/* The fields that an answer and an episode need, copied before the claim of the slot. */
struct iopf_slot_copy {
	struct iopf_attachment *attachment;
	struct iopf_answer answer;
	uint64_t time;
	uint64_t addr;
	uint64_t ipa;
	uint8_t perm;
	uint8_t flags;
	uint8_t reason;
	uint8_t raw_id;
	uint8_t fault_class;
};

/*
 * Any thread but the poll thread calls these two around the claim of a fault and its answer. A
 * recovery ends all stalls. The IOMMU must not make new ones with the same tokens before each
 * answer that was claimed earlier is sent: errors_check() waits for the count. The claim's release
 * orders the increment before it: a thread that finds the slot claimed finds the count.
 */
static inline void
iopf_answering_begin(struct iopf_iommu *iommu)
{
	atomic_fetch_add_explicit(&iommu->answering, 1, memory_order_relaxed);
}

static inline void
iopf_answering_end(struct iopf_iommu *iommu)
{
	/* Release: with the acquire in errors_check(). */
	atomic_fetch_sub_explicit(&iommu->answering, 1, memory_order_release);
}

/*
 * Claim the answer to the fault that @p word was read for. If this returns 0 the copy is of that
 * fault, since the generation did not change. *ours: the caller frees the slot.
 */
int iopf_slot_claim(struct iopf_slot *slot, uint64_t word, struct iopf_slot_copy *copy,
		bool *ours);
/*
 * Claim and answer the fault of this generation. @p judged is the code that a handler gave: if it
 * is fatal it opens an episode, which a code that the library gives in its place does not. 0, or
 * -ESTALE, which is counted. *ours: the caller frees the slot. In a read section.
 */
int iopf_slot_respond(struct iopf_queue *q, struct iopf_slot *slot, uint64_t gen,
		enum iopf_code code, enum iopf_code judged, bool *ours);
/*
 * Claim the answer to a fault in state JOINED, for the thread that has closed its stack. False: the
 * state is LEFT, and the answer was sent.
 */
bool iopf_slot_claim_joined(struct iopf_slot *slot, struct iopf_slot_copy *copy);
/*
 * Complete copy->answer. False: the device repeats its accesses itself, and its retry was called
 * instead.
 */
bool iopf_answer_prepare(struct iopf_iommu *iommu, struct iopf_slot_copy *copy,
		enum iopf_code code);
/* Count n answers that were sent. */
void iopf_answer_count(struct iopf_iommu *iommu, struct iopf_domain *domain, enum iopf_code code,
		uint32_t n);
/* In a read section: the attachment is freed only after a grace period. */
void iopf_answer_send(struct iopf_queue *q, struct iopf_slot_copy *copy, enum iopf_code code);

#endif /* IOPF_ANSWER_H */
