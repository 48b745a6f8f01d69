/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_DEADLINE_H
#define IOPF_DEADLINE_H

/*
 * Deadlines: of a domain, and of a group (iopf_group_set_deadline()).
 *
 * A group's own deadline is in an array beside the slots, one word for each slot. A fault without
 * one touches no word, and no word is ever reset: it has the generation that it is for.
 *
 *	40 bits		generation
 *	24 bits		the deadline in milliseconds of the TSC, modulo 2^24; 0: none
 *
 * Both are in one word, so a reader never takes the deadline of one fault for that of another. One
 * shared word and a count that only rises: there is no model of it in devtools/spin.
 *
 * The owner of a queue sweeps over the slots, a part in each millisecond: EXPIRE_SLOTS, or a 64th
 * of them if that is more. So a sweep takes at most 64 parts, however many slots there are. It
 * sweeps while a domain has a deadline; from a call of iopf_group_set_deadline() until a whole
 * sweep has found no pending group with a deadline of its own; and while so many stalls are pending
 * that devices give up those over their share (iopf_queue_is_pressed()).
 */

#include "attachment.h"
#include "fault_queue.h"

/* A sweep is under way or due. Owner. */
bool iopf_queue_has_deadlines(const struct iopf_queue *q);
/* A sweep begins. Owner. */
void iopf_deadlines_begin_sweep(struct iopf_queue *q);
/* The pending fault in slot @p i, whose state word is @p word, is past its deadline. Owner. */
bool iopf_deadline_is_over(struct iopf_queue *q, uint32_t i, uint64_t word,
		const struct iopf_attachment *attachment, uint64_t now);
/* Count and report a group that was answered at its deadline. Owner. */
void iopf_deadline_report(struct iopf_queue *q, const struct iopf_slot *head,
		struct iopf_dev *dev);

#endif /* IOPF_DEADLINE_H */
