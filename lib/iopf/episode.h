/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef EPISODE_H
#define EPISODE_H

/*
 * Episodes of an attachment (iopf_policy.h): from a fatal fault until it is re-armed.
 *
 *	open	any thread: a fatal verdict (gate.c, answer.c)
 *	count	the owner of a queue: the fault is counted instead of handled (gate.c, dispatch.c)
 *	close	any thread: iopf_domain_rearm(); the policy thread: the trip that opened it ends
 *	read	any thread: iopf_domain_episode()
 *
 * None waits. The order of open and close is that of the word's changes:
 *
 *	word	number of the latest episode | its state | which records are being read
 *	CLOSED -> OPENING -> OPEN	open, by one thread; it writes the first fault in OPENING
 *	OPEN -> CLOSED			close, by one thread
 *
 * There are two records; episode n has the record n & 1. A close sets the record's READING bit
 * together with CLOSED, and clears it after it has copied the record: the episode after the next
 * one needs the same record, and does not open before. (Then the handler is called once more.)
 *
 * A record has a tally for each queue, since each queue has an owner that counts. A tally has its
 * counts twice. The owner adds a fault to the copy that is not current, and commits it: a
 * compare-and-swap of the tally's word makes the copy current. Then it adds the fault to the other
 * copy. A close sets CLOSED in the tally's word. So a commit comes before the close, and the fault
 * is in the current copy, which is not written any more; or it fails, and the fault is not in the
 * episode: its owner calls the handler, or counts it in the next episode. If the queue has not
 * counted a fault of this episode yet, the tally's word has an earlier number; the close writes its
 * own number there, so that a late first commit fails. (devtools/spin/episode.pml)
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "iopf_policy.h"

struct iopf_attachment;
struct iopf_episodes;

/* An answer that judges a fault fatal. */
static inline bool
iopf_code_is_fatal(enum iopf_code code)
{
	return code == IOPF_INVALID || code == IOPF_FAILURE;
}

static inline bool
iopf_verdict_is_fatal(enum iopf_verdict verdict)
{
	int kind = verdict & ~0xff;

	return (kind == IOPF_VERDICT_ANSWER || kind == IOPF_VERDICT_AFTER_INV) &&
		iopf_code_is_fatal((enum iopf_code)(verdict & 0xff));
}

/* The domain has a policy with episodes: attachment->episodes is not NULL. */
bool iopf_storm_has_episodes(const struct iopf_storm_conf *conf);
/* NULL: no memory. */
struct iopf_episodes *iopf_episodes_create(void);
void iopf_episodes_destroy(struct iopf_episodes *episodes);

/*
 * The functions below are called in an RCU read section, with an attachment that has episodes.
 *
 * Open an episode with this fault. Returns its number, which no other one of the attachment has; 0:
 * one is open already, or both records are being read.
 */
uint64_t iopf_episode_open(struct iopf_attachment *attachment, const struct iopf_fault *first);
bool iopf_episode_is_open(const struct iopf_attachment *attachment);
/* The number of the open episode; 0: none is open. */
uint64_t iopf_episode_number(const struct iopf_attachment *attachment);
/*
 * The owner of the queue: count the faults of a group, a stall, or an aborted access, if an episode
 * is open. @p trips: the breaker has tripped at it. False: none is open; the handler is called.
 */
bool iopf_episode_count(struct iopf_attachment *attachment, const struct iopf_fault *const *faults,
		uint16_t n, bool trips);
/* @p number: close no other one; 0: any. @p episode may be NULL. 0 or -ENOENT. */
int iopf_episode_close(struct iopf_attachment *attachment, uint64_t number,
		struct iopf_episode *episode);
/* @p episode may be NULL. 0 or -ENOENT. */
int iopf_episode_read(const struct iopf_attachment *attachment, struct iopf_episode *episode);

#endif /* EPISODE_H */
