/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_PASS_H
#define IOPF_PASS_H

/*
 * A pass: one run over one queue. It reads bursts of records, and each burst goes from the queue to
 * its answers:
 *
 *	dispatch.c	a record is dispatched: to a slot, a report or a refusal
 *	prg.c		page requests become groups
 *	gate.h		a policy or a detach may decide before the handler
 *	handler.h	the domain's fast handler runs
 *	verdict.h	its verdict is applied: answered, deferred or taken
 *	answer.h	the answer is staged in the pass
 *	flush.c		the pass is flushed: all its answers go to the driver
 */

#include <stdint.h>

#include "iopf.h"
#include "iopf_driver.h"
#include "iopf_handler.h"

#define IOPF_MAX_BURST		64
#define IOPF_MAX_GROUP_INV	4
#define IOPF_PASS_ANSWERED	32

struct iopf_join;
struct iopf_queue;

struct iopf_pass {
	struct iopf_queue *queue;
	uint64_t now;			/* when the burst was read */
	uint16_t nb_answers;
	uint16_t nb_after;
	uint16_t nb_inv;
	uint16_t nb_frees;
	uint16_t nb_faults;
	uint16_t nb_posts;		/* answer_after() of this burst, at most IOPF_MAX_BURST */
	uint16_t group_inv;		/* nb_inv when the present handler was called */
	/* Of the last record that had one: records in a row are mostly of one device. */
	uint64_t attachment_key;
	struct iopf_attachment *attachment;

	/* Faults in a row of one domain: counted, and not yet added to its counters. */
	struct iopf_domain *run_domain;
	uint32_t run_faults;
	uint32_t run_requests;
	uint32_t run_answers;
	uint32_t run_failed;		/* answers other than IOPF_SUCCESS */
	uint32_t run_joined;
	uint32_t run_codes[IOPF_NB_CODES];	/* of them, by code */

	/* Of attachments that join (join.h). */
	bool joined;			/* the present fault waits for a leader */
	bool has_answered;		/* answered[] was cleared */
	/* By page: faults that handlers have answered. Entries of earlier bursts are stale. */
	struct iopf_pass_answered {
		const struct iopf_join *join;
		uint64_t page;
		uint64_t now;
		enum iopf_verdict verdict;
		uint32_t leader;	/* slot */
		uint16_t nb_posts;
		uint8_t perm;
	} answered[IOPF_PASS_ANSWERED];

	void *after_hw;			/* the domain of inv[] and after[] */
	uint16_t nb_retries;
	struct iopf_pass_retry {
		struct iopf_dev *dev;
		struct iopf_retry retry;
	} retries[IOPF_MAX_BURST];
	struct iopf_answer answers[IOPF_MAX_BURST];
	struct iopf_answer after[IOPF_MAX_BURST];
	struct iopf_inv inv[IOPF_MAX_BURST];
	uint32_t frees[IOPF_MAX_BURST];
};

#endif /* IOPF_PASS_H */
