/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_CANCEL_H
#define IOPF_CANCEL_H

/*
 * Faults that are answered without their handler: by a detach, a replace, a stop, a recovery, a
 * deadline, a breaker, a quarantine, or because the device is over its share.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fault_queue.h"

enum iopf_cancel {
	IOPF_CANCEL_DETACH,	/* INVALID */
	/* INVALID; a partial group may still become complete. A breaker, a quarantine, PRI off. */
	IOPF_CANCEL_DRAIN,
	IOPF_CANCEL_DEADLINE,	/* INVALID; or over its share */
	IOPF_CANCEL_REPLACE,	/* SUCCESS: the device tries again in the next domain */
	IOPF_CANCEL_TERMINATED,	/* no answer: the IOMMU has ended the stall */
};

/*
 * Answer the fault of a slot whose state word was @p word. False: another thread has answered it.
 * In a read section.
 */
bool iopf_fault_cancel(struct iopf_queue *q, struct iopf_slot *slot, uint64_t word,
		enum iopf_cancel why);
/*
 * Answer the outstanding faults of an attachment (NULL: all).
 * Returns how many slots a handler still holds.
 */
unsigned int iopf_queue_cancel(struct iopf_queue *q, const struct iopf_attachment *attachment,
		enum iopf_cancel why);
/* Add the partial and the pending page request groups of an attachment. */
void iopf_queue_count_groups(const struct iopf_queue *q, const struct iopf_attachment *attachment,
		unsigned int *partial, unsigned int *pending);
/* A fault or a partial group waits for an answer. */
bool iopf_queue_has_waiting(const struct iopf_queue *q);
/* So many stalls are pending that devices over their share give some up. Owner. */
bool iopf_queue_is_pressed(struct iopf_queue *q);
/*
 * Answer INVALID to those of the next slots that are past their deadline, or older than a device
 * over its share may keep them. Owner, in a read section.
 */
void iopf_queue_expire(struct iopf_queue *q, uint64_t now);

#endif /* IOPF_CANCEL_H */
