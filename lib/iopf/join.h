/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef JOIN_H
#define JOIN_H

/*
 * Faults on a page that is being resolved join (iopf_storm_conf.join_log2). The first fault on the
 * page, the leader, is with a handler: deferred or taken. Further faults of the domain on the same
 * IOMMU, stalls and page requests, wait in the leader's stack, and the thread that answers the
 * leader answers them after it.
 *
 *	table	of a domain on an IOMMU: page -> the id of a leader. An entry is a hint: a busy
 *		entry, or one that another page has, only means that a fault does not join.
 *	stack	of a leader: a word beside its slot, in queue->joins[], with the generation of
 *		the leader, the joined slot that was pushed last, and whether it is open
 *
 * A stack's word:
 *	closed -> open, generation g	the owner of the queue, after the leader was taken or
 *			deferred (iopf_join_publish())
 *	push			the owner of the joined fault's queue: the slot is JOINED before
 *	-> closed, generation g	the thread that has claimed the leader's answer, after that
 *			answer was sent (iopf_join_answer())
 * Only a closed word of an earlier generation is opened. So a push either comes before the close,
 * which then answers the fault, or fails, and the fault goes to a handler; and an owner that opens
 * too late, after the answer, fails too.
 *
 * A cancelled joined fault is answered at once. Its slot is then LEFT: it stays in the stack, no
 * handler has it, nothing in it is used but its link, and the close frees it. Its device may raise
 * the next fault meanwhile, so stacks have at most half of a queue's slots: the other half is
 * enough for all faults that can be outstanding (iommu_init_queues()). Past that a fault goes to
 * its handler.
 *
 * A burst's duplicates of a fault that was answered in it have no stack: they get the same answer
 * in the same batch (struct iopf_pass_answered).
 */

#include <stdbool.h>
#include <stdint.h>

#include "cancel.h"
#include "iopf.h"
#include "iopf_driver.h"

struct iopf_attachment;
struct iopf_join;
struct iopf_pass;
struct iopf_queue;

/* Limits of join_log2. */
#define IOPF_JOIN_MIN_LOG2	12
#define IOPF_JOIN_MAX_LOG2	48

/* For a domain on an IOMMU with so many slots. NULL: no memory. */
struct iopf_join *iopf_join_create(uint8_t page_log2, uint32_t nb_slots);
void iopf_join_destroy(struct iopf_join *join);

/*
 * The poll thread, in a pass, with an attachment that joins.
 *
 * Join the group to a leader, or give it the answer of a fault that was answered before in the
 * burst. False: the handler is called. If pass->joined is set the fault waits, and its slot must
 * not be used any more; otherwise *verdict is to be applied.
 */
bool iopf_join_try(struct iopf_attachment *attachment, const struct iopf_group *group,
		enum iopf_verdict *verdict);
/*
 * The same for a stall of stage 1 that has no slot yet: the cheap way for a duplicate, if no other
 * policy of the attachment may refuse it. True: it is answered.
 */
bool iopf_join_answer_event(struct iopf_pass *pass, struct iopf_attachment *attachment,
		const struct iopf_event *ev);
/*
 * The handler has answered the group: later faults of the burst get the same answer. Without effect
 * for IOPF_FAILURE.
 */
void iopf_join_remember(struct iopf_attachment *attachment, const struct iopf_group *group,
		enum iopf_verdict verdict);
/* The group was taken or deferred: it becomes a leader, if it is not answered yet. */
void iopf_join_publish(struct iopf_attachment *attachment, const struct iopf_group *group);

/*
 * Any thread, in a read section, between iopf_answering_begin() and iopf_answering_end(): it has
 * claimed the answer to the fault of this slot and generation, and has sent it. Answer the faults
 * that have joined. @p attachment is the leader's. @p why is IOPF_CANCEL_TERMINATED if the IOMMU
 * has ended the access; otherwise not used.
 */
void iopf_join_answer(struct iopf_queue *q, const struct iopf_attachment *attachment,
		uint32_t index, uint64_t gen, enum iopf_code code, enum iopf_cancel why);

#endif /* JOIN_H */
