/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Commands without a wait: answers. A caller that needs no result from the SMMU never waits
 * for the owner: when the flag is taken it leaves its commands in the backlog, and the owner
 * must look there again after it cleared the flag.
 *
 *	poster				owner
 *	P1 publish in the backlog	O1 owner = 0
 *	P2 full barrier			O2 full barrier
 *	P3 owner taken? then leave	O3 backlog empty? then leave
 *
 * Both may leave only if P3 reads the flag before O1 changes it and O3 reads the backlog
 * before P1 changes it: the store buffering pattern, which a full barrier between store and
 * load on both sides forbids. O1 is a release, which does not order the later load O3 on any
 * architecture. P3's exchange is an acquire, which on arm64 does not order the earlier store
 * P1. So both barriers are needed. devtools/spin/cmdq_owner.pml checks this, and fails
 * without either.
 *
 * The owner's duty in O3 ends when the queue is full (but for entries left to waiting callers)
 * or held[] is full: the next smmuv3_cmdq_try_flush() of poll() or check() moves the rest. If
 * the poll thread sleeps, conf.ops->on_left() wakes it.
 */

#include "backlog.h"
#include "base.h"
#include "cmdq.h"
#include "cmdq_ring.h"
#include "smmuv3_order.h"
#include "smmuv3_spec.h"

/*
 * Free entries for answers. While a caller of smmuv3_cmdq_sync() waits for an entry, answers leave
 * the last entries to it: otherwise they would take each entry that becomes free. Answers may use
 * all other entries, so that no answer waits for such a caller.
 */
static inline uint64_t
count_free_for_answers(struct smmuv3_cmdq *q, uint64_t want)
{
	uint32_t waiters = atomic_load_explicit(&q->sync_waiters, memory_order_relaxed);
	uint64_t kept = unlikely(waiters != 0) ? q->sync_entries : 0;
	uint64_t room = smmuv3_cmdq_count_free(q, want + kept);

	return room - RTE_MIN(room, kept);
}

static void
push_to_backlog(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	smmuv3_counter_add_shared(&q->backlog_pushes, n);
	if (likely(smmuv3_backlog_push(&q->backlog, cmds, n)))
		return;
	/* The backlog has room for all answers (main_cmdq.c). Recovery ends the stalls. */
	if (atomic_fetch_add_explicit(&q->backlog_lost, n, memory_order_relaxed) == 0)
		SMMUV3_LOG(ERR, q, "answers lost: more than there can be faults; a device that "
				"waits for the answer to a page request waits forever: reset it "
				"(logged once; see the counter backlog_lost)");
	q->ops->on_answer_lost(q->ctx);
}

/* Handle a command that must not go into the queue: see SMMUV3_DIVERT_*. False: it may. */
static bool
divert_cmd(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmd)
{
	unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);

	if (op == SMMUV3_OP_RESUME && q->divert & SMMUV3_DIVERT_RESUME) {
		smmuv3_counter_add(&q->dropped, 1);
		return true;
	}
	if (op != SMMUV3_OP_PRI_RESP || !(q->divert & SMMUV3_DIVERT_PRI_RESP))
		return false;
	if (likely(q->nb_held < q->max_held)) {
		q->held[q->nb_held++] = *cmd;
		smmuv3_counter_add(&q->answers_held, 1);
	} else {
		/* The answer stays there until smmuv3_cmdq_release_held(); others pass it. */
		push_to_backlog(q, cmd, 1);
	}
	return true;
}

/* held[] is full: the commands that divert_cmd() puts back stay in the backlog. */
static inline bool
is_held_full(const struct smmuv3_cmdq *q)
{
	return unlikely(q->nb_held != 0) && q->nb_held == q->max_held;
}

static inline bool
try_divert(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmd)
{
	return unlikely(q->divert != 0) && divert_cmd(q, cmd);
}

/* Write as many commands as there is room for. Returns their number. */
static inline unsigned int
put_answers(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	uint64_t room = count_free_for_answers(q, n);
	unsigned int i;

	if (unlikely(room < n)) {
		smmuv3_counter_add(&q->full, 1);
		n = room;
	}
	if (likely(q->divert == 0)) {
		smmuv3_cmdq_put_cmds(q, cmds, n);
		return n;
	}
	for (i = 0; i < n; i++) {
		if (!divert_cmd(q, &cmds[i]))
			smmuv3_cmdq_put_cmd(q, &cmds[i]);
	}
	return n;
}

/* Move the backlog up to the position @p end into the queue. True when there is room for more. */
static __rte_noinline bool
move_backlog(struct smmuv3_cmdq *q, uint64_t end)
{
	struct smmuv3_cmd cmd;
	uint64_t room;

	room = smmuv3_cmdq_is_closed(q) ? UINT64_MAX :
			count_free_for_answers(q, smmuv3_cmdq_entries(q));
	/* divert_cmd() puts commands back behind this position: do not pop them again. */
	end = RTE_MIN(end, smmuv3_backlog_load_end(&q->backlog));
	while (room > 0 && smmuv3_backlog_is_before(&q->backlog, end) &&
			smmuv3_backlog_pop(&q->backlog, &cmd)) {
		if (unlikely(smmuv3_cmdq_is_closed(q))) {
			smmuv3_counter_add(&q->dropped, 1);
			continue;
		}
		if (try_divert(q, &cmd))
			continue;
		smmuv3_cmdq_put_cmd(q, &cmd);
		room--;
	}
	if (room > 0)
		return true;
	smmuv3_counter_add(&q->full, 1);
	return false;
}

static inline bool
flush_backlog(struct smmuv3_cmdq *q, uint64_t end)
{
	return likely(!smmuv3_backlog_has_cmd(&q->backlog)) || move_backlog(q, end);
}

static __rte_noinline void
report_leftover(struct smmuv3_cmdq *q)
{
	if (smmuv3_backlog_has_cmd(&q->backlog))
		q->ops->on_left(q->ctx);
}

/*
 * The owner's steps O1 to O3. Bounded by the commands in the backlog: each iteration moves at least
 * one command out of it, or is the last.
 */
static __rte_noinline void
release_and_recheck(struct smmuv3_cmdq *q, bool room)
{
	for (;;) {
		if (unlikely(is_held_full(q)))
			room = false;
		smmuv3_cmdq_clear_owner(q);
		if (unlikely(!room)) {
			report_leftover(q);
			return;
		}
		smmuv3_io_mb();
		if (likely(!smmuv3_backlog_has_cmd(&q->backlog)) || !smmuv3_cmdq_try_own(q))
			return;
		room = flush_backlog(q, UINT64_MAX);
		smmuv3_cmdq_publish_prod(q);
	}
}

/* The same where the backlog is empty and no answer is held: usually one look. */
static inline void
release_and_recheck_once(struct smmuv3_cmdq *q)
{
	smmuv3_cmdq_clear_owner(q);
	smmuv3_io_mb();
	if (unlikely(smmuv3_backlog_has_cmd(&q->backlog)))
		smmuv3_cmdq_try_flush(q);
}

/* Owner. */
static __rte_noinline void
post_as_owner(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	bool room = flush_backlog(q, UINT64_MAX);
	unsigned int done;

	if (unlikely(smmuv3_cmdq_is_closed(q))) {
		smmuv3_counter_add(&q->dropped, n);
		done = n;
	} else {
		done = room ? put_answers(q, cmds, n) : 0;
	}
	smmuv3_cmdq_publish_prod(q);
	if (unlikely(done < n)) {
		push_to_backlog(q, cmds + done, n - done);
		room = false;
	}
	release_and_recheck(q, room);
}

static __rte_noinline void
post_to_backlog(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	push_to_backlog(q, cmds, n);
	smmuv3_io_mb();
	smmuv3_cmdq_try_flush(q);
}

/* Nothing waits in the backlog, no answer is held, and the known entries suffice. Owner. */
static inline bool
is_post_simple(const struct smmuv3_cmdq *q, unsigned int n)
{
	return !smmuv3_backlog_has_cmd(&q->backlog) && !smmuv3_cmdq_is_closed(q) &&
		q->divert == 0 &&
		atomic_load_explicit(&q->sync_waiters, memory_order_relaxed) == 0 &&
		smmuv3_cmdq_entries(q) - (q->tail - q->cons) >= n;
}

void
smmuv3_cmdq_post(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	if (unlikely(!smmuv3_cmdq_try_own(q))) {
		post_to_backlog(q, cmds, n);
	} else if (unlikely(!is_post_simple(q, n))) {
		post_as_owner(q, cmds, n);
	} else {
		smmuv3_cmdq_put_cmds(q, cmds, n);
		smmuv3_cmdq_publish_prod(q);
		release_and_recheck_once(q);
	}
}

void
smmuv3_cmdq_try_flush(struct smmuv3_cmdq *q)
{
	bool room;

	if (likely(!smmuv3_backlog_has_cmd(&q->backlog)) || !smmuv3_cmdq_try_own(q))
		return;
	room = flush_backlog(q, UINT64_MAX);
	smmuv3_cmdq_publish_prod(q);
	release_and_recheck(q, room);
}

void
smmuv3_cmdq_disown(struct smmuv3_cmdq *q)
{
	bool room;

	if (likely(!smmuv3_backlog_has_cmd(&q->backlog) && q->divert == 0)) {
		smmuv3_cmdq_publish_prod(q);
		release_and_recheck_once(q);
		return;
	}
	room = flush_backlog(q, UINT64_MAX);
	smmuv3_cmdq_publish_prod(q);
	release_and_recheck(q, room);
}

bool
smmuv3_cmdq_flush_backlog(struct smmuv3_cmdq *q, uint64_t end)
{
	flush_backlog(q, end);
	smmuv3_cmdq_publish_prod(q);
	return !smmuv3_backlog_is_before(&q->backlog, end);
}

void
smmuv3_cmdq_drop_held(struct smmuv3_cmdq *q)
{
	smmuv3_counter_add(&q->dropped, q->nb_held);
	q->nb_held = 0;
}

bool
smmuv3_cmdq_release_held(struct smmuv3_cmdq *q)
{
	unsigned int n;

	/*
	 * Behind the ATC_INVs of smmuv3_atc_post_inv_all(), some of which may still be in the
	 * backlog.
	 */
	for (; q->nb_held > 0; q->nb_held -= n) {
		n = RTE_MIN(q->nb_held, (unsigned int)SMMUV3_CHUNK);
		if (!smmuv3_backlog_push(&q->backlog, &q->held[q->nb_held - n], n))
			return false;
	}
	q->divert &= ~SMMUV3_DIVERT_PRI_RESP;
	return true;
}
