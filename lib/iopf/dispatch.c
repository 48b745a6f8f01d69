/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Reads bursts of records and dispatches each record: see pass.h. */

#include <string.h>

#include <rte_cycles.h>

#include "call.h"
#include "dispatch.h"
#include "episode.h"
#include "handler.h"
#include "join.h"
#include "listener.h"
#include "prg.h"

void
iopf_fault_report(struct iopf_iommu *iommu, const struct iopf_fault *fault)
{
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_REPORTS, 1);
	if (iommu->conf.report != NULL)
		iommu->conf.report(iommu, fault, iommu->conf.report_ctx);
}

static struct iopf_fault
fault_of_event(const struct iopf_pass *pass, const struct iopf_event *ev)
{
	return (struct iopf_fault){
		.addr = ev->addr,
		.ipa = ev->ipa,
		.time = pass->now,
		.sid = ev->sid,
		.pasid = ev->pasid,
		.perm = ev->perm,
		.reason = ev->reason,
		.flags = ev->flags & IOPF_EVENT_STAGE2 ? IOPF_FAULT_STAGE2 : 0,
		.raw_id = ev->raw_id,
		.queue = pass->queue->id,
		.fault_class = iopf_event_fault_class(ev),
	};
}

static void
event_report(struct iopf_pass *pass, const struct iopf_event *ev)
{
	const struct iopf_fault fault = fault_of_event(pass, ev);

	iopf_fault_report(pass->queue->iommu, &fault);
}

/* An aborted access with a domain. True: it is counted in the open episode, and not reported. */
static bool
event_count(struct iopf_pass *pass, struct iopf_attachment *attachment,
		const struct iopf_event *ev)
{
	const struct iopf_fault fault = fault_of_event(pass, ev), *faults = &fault;

	iopf_dev_count_abort(attachment->dev);
	if ((atomic_load_explicit(&attachment->gate, memory_order_relaxed) &
			IOPF_GATE_EPISODES) && iopf_episode_count(attachment, &faults, 1, false))
		return true;
	iopf_dev_count(attachment->dev, IOPF_DEV_STAT_REPORTS, 1);
	return false;
}

/* Not an event that a handler or a report may get. */
static __rte_cold void
event_count_only(struct iopf_iommu *iommu, const struct iopf_event *ev)
{
	if (ev->flags & IOPF_EVENT_LOST) {
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_EVENT_LOSSES, 1);
		iopf_listeners_write_lost(iommu, IOPF_RECORD_LOST);
		return;
	}
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_BAD_RECORD, 1);
}

/* An aborted access that no attachment is found for. False: it is not reported. */
static bool
event_count_unattached(struct iopf_iommu *iommu, uint32_t sid, uint64_t now)
{
	if (iopf_count_no_attachment(iommu, sid) != IOPF_IOMMU_STAT_UNKNOWN_SID) {
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN, 1);
		return true;
	}
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID, 1);
	if (!iommu->conf.mute_unknown_sids && bucket_take(&iommu->unknown_sids, now))
		return true;
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_REPORTS_LEFT_OUT, 1);
	return false;
}

/* A handler may resolve the fault, and the device repeats the access. */
static bool
event_is_retryable(const struct iopf_dev *dev, const struct iopf_event *ev)
{
	return dev->conf.recover == IOPF_TERMINATE && dev->conf.ops.retry != NULL &&
		ev->reason <= IOPF_REASON_PERMISSION;
}

/*
 * Of the record before, if it is the same: a detach closes its gate and frees it after this read
 * section.
 */
static inline struct iopf_attachment *
find_attachment(struct iopf_pass *pass, const struct iopf_event *ev)
{
	uint64_t key = iopf_attachment_key(ev->sid, ev->pasid);

	if (pass->attachment == NULL || key != pass->attachment_key) {
		pass->attachment = iopf_attachment_of(pass->queue->iommu, ev->sid, ev->pasid);
		pass->attachment_key = key;
	}
	return pass->attachment;
}

/* Dispatch a record of the event queue. */
static void
event_dispatch(struct iopf_pass *pass, const struct iopf_event *ev)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_iommu *iommu = q->iommu;
	struct iopf_attachment *attachment;
	const struct iopf_fault *fault;
	struct iopf_slot *slot;
	uint64_t gen;

	if (unlikely(ev->flags & (IOPF_EVENT_BAD | IOPF_EVENT_LOST))) {
		event_count_only(iommu, ev);
		return;
	}
	attachment = find_attachment(pass, ev);
	if (unlikely(!(ev->flags & IOPF_EVENT_STALL)) &&
			(attachment == NULL || !event_is_retryable(attachment->dev, ev))) {
		iopf_listeners_write(iommu, ev, pass->now);
		if (attachment == NULL ?
				event_count_unattached(iommu, ev->sid, pass->now) :
				!event_count(pass, attachment, ev))
			event_report(pass, ev);
		return;
	}
	pass->nb_faults++;
	if (unlikely(attachment == NULL)) {
		iopf_event_refuse(pass, ev, IOPF_INVALID, iopf_count_no_attachment(iommu, ev->sid));
		return;
	}
	if (unlikely(pass->has_answered) && iopf_join_answer_event(pass, attachment, ev))
		return;
	slot = iopf_slot_alloc(q);
	if (unlikely(slot == NULL)) {
		iopf_queue_is_retired(q);
		if (ev->flags & IOPF_EVENT_STALL) {
			iopf_event_refuse(pass, ev, IOPF_INVALID, IOPF_IOMMU_STAT_NO_SLOT);
		} else {
			/* The access does not wait: it faults again when the device repeats it. */
			iopf_iommu_count(iommu, IOPF_IOMMU_STAT_NO_SLOT, 1);
			iopf_listeners_write(iommu, ev, pass->now);
			event_report(pass, ev);
		}
		return;
	}
	iopf_slot_fill(slot, ev, q->id, pass->now, attachment);
	gen = IOPF_SLOT_GEN(iopf_slot_load(slot));
	/* Release: with the acquire in iopf_slot_load(). */
	__atomic_store_n(&slot->state, IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING), __ATOMIC_RELEASE);
	fault = &slot->fault;
	handler_run(pass, attachment, slot, gen, &fault, 1, false);
}

unsigned int
iopf_queue_run_bursts(struct iopf_queue *q, uint16_t burst, uint16_t bursts)
{
	struct iopf_iommu *iommu = q->iommu;
	struct iopf_event events[IOPF_MAX_BURST];
	struct iopf_pass pass;
	unsigned int total = 0, records;

	pass.queue = NULL;
	for (unsigned int b = 0; b < bursts; b++) {
		uint16_t n = iommu->driver->ops.poll(iommu->priv, q->id, events, burst);

		if (n == 0)
			break;
		if (pass.queue == NULL) {
			pass.queue = q;
			pass.nb_answers = pass.nb_after = pass.nb_inv = pass.nb_frees = 0;
			pass.nb_retries = 0;
			pass.joined = pass.has_answered = false;
			pass.run_domain = NULL;
			pass.run_faults = pass.run_requests = pass.run_answers = 0;
			pass.run_failed = pass.run_joined = 0;
			pass.attachment = NULL;
			memset(pass.run_codes, 0, sizeof(pass.run_codes));
		}
		pass.now = rte_rdtsc();
		pass.nb_faults = pass.nb_posts = 0;
		iopf_self.in_fast = true;
		iopf_self.pass = &pass;
		records = n;
		if (q->prg != NULL) {
			records = iopf_prg_dispatch(&pass, events, n);
		} else {
			for (unsigned int i = 0; i < n; i++)
				event_dispatch(&pass, &events[i]);
			/* It is alone, and not a record. */
			if (unlikely(events[0].flags & IOPF_EVENT_LOST))
				records = 0;
		}
		iopf_self.in_fast = false;
		iopf_self.pass = NULL;
		iopf_pass_flush(&pass);
		iopf_queue_count(q, IOPF_IOMMU_STAT_RECORDS, records);
		iopf_queue_count(q, IOPF_IOMMU_STAT_BURSTS, 1);
		iopf_queue_count(q, IOPF_IOMMU_STAT_FAULTS, pass.nb_faults);
		if (q->prg != NULL && pass.nb_faults != 0)
			iopf_iommu_count(iommu, IOPF_IOMMU_STAT_GROUPS, pass.nb_faults);
		total += n;
		if (n < burst)
			break;
	}
	return total;
}
