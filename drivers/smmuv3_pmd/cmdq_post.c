/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Commands that are not waited for: answers. Callers that need none from the SMMU
 * never wait for the owner: when the flag is taken they leave their commands in the
 * backlog, which the owner must look at again after it gave the flag back.
 *
 *	poster				owner
 *	P1 publish in the backlog	O1 owner = 0
 *	P2 full barrier			O2 full barrier
 *	P3 owner taken? then leave	O3 backlog empty? then leave
 *
 * Were both to leave, P3 would have read the flag before O1 changed it and O3 the
 * backlog before P1 changed it: the store buffering pattern, which a full barrier
 * between store and load on both sides forbids. O1 is a release, which does not
 * order the later load O3 on any architecture, and P3's exchange is an acquire,
 * which on arm64 does not order the earlier store P1: so both barriers are needed.
 * devtools/spin/cmdq_owner.pml checks this, and fails without either.
 *
 * The queue being full ends the duty of O3, full but for a slot that is left to a
 * waiter too, and so does held[]: the next smmuv3_cmdq_try_flush() of poll() or check()
 * moves the rest. Where the poller sleeps, conf.ops->on_left() wakes it.
 */

#include "cmdq_ring.h"

/*
 * Free slots for commands that are not waited for. While a caller of smmuv3_cmdq_sync() waits
 * for a slot the last is left to it, or answers would take each that becomes free. No answer
 * waits for such a caller: the others are theirs.
 */
static inline uint64_t
count_free_for_answers(struct smmuv3_cmdq *q, uint64_t want)
{
	uint32_t waiters = atomic_load_explicit(&q->sync_waiters, memory_order_relaxed);
	uint64_t kept = unlikely(waiters != 0) ? q->sync_slots : 0;
	uint64_t room = smmuv3_cmdq_count_free(q, want + kept);

	return room - RTE_MIN(room, kept);
}

static void
push_to_backlog(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	smmuv3_counter_add_shared(&q->backlog_pushes, n);
	if (likely(smmuv3_backlog_push(&q->backlog, cmds, n)))
		return;
	/* More answers than there can be requests: see backlog.h. Stalls are ended another way. */
	if (atomic_fetch_add_explicit(&q->backlog_lost, n, memory_order_relaxed) == 0)
		SMMUV3_LOG(ERR, q, "more answers than there can be faults: lost; a device whose "
				"page request had one waits for good: reset it "
				"(said once; see the counter backlog_lost)");
	q->ops->on_answer_lost(q->ctx);
}

/* Not into the queue: see SMMUV3_DIVERT_*. */
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
		/* Until smmuv3_cmdq_release_held(). Other commands and callers go past it. */
		push_to_backlog(q, cmd, 1);
	}
	return true;
}

/* What divert_cmd() puts into the backlog again is to stay there. */
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

/* Write as many as there is room for. */
static inline unsigned int
put_answers(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	uint64_t room = count_free_for_answers(q, n);
	unsigned int i;

	if (unlikely(room < n)) {
		smmuv3_counter_add(&q->full, 1);
		n = room;
	}
	for (i = 0; i < n; i++) {
		if (!try_divert(q, &cmds[i]))
			smmuv3_cmdq_put_cmd(q, &cmds[i]);
	}
	return n;
}

/*
 * Move the backlog into the queue, up to the position @p end. True when there is
 * room for more.
 */
static bool
flush_backlog(struct smmuv3_cmdq *q, uint64_t end)
{
	struct smmuv3_cmd cmd;
	uint64_t room;

	if (likely(!smmuv3_backlog_has_cmd(&q->backlog)))
		return true;
	room = smmuv3_cmdq_is_closed(q) ? UINT64_MAX :
			count_free_for_answers(q, smmuv3_cmdq_entries(q));
	/* What divert_cmd() puts back is behind this. */
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

static __rte_noinline void
report_leftover(struct smmuv3_cmdq *q)
{
	if (smmuv3_backlog_has_cmd(&q->backlog))
		q->ops->on_left(q->ctx);
}

/*
 * The owner's duty O1 to O3. Bounded by what the backlog holds: each turn moves
 * at least one command out of it or ends.
 */
static inline void
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

void
smmuv3_cmdq_post(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	unsigned int done;
	bool room;

	if (likely(smmuv3_cmdq_try_own(q))) {
		room = flush_backlog(q, UINT64_MAX);
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
		return;
	}
	push_to_backlog(q, cmds, n);
	smmuv3_io_mb();
	smmuv3_cmdq_try_flush(q);
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
	bool room = flush_backlog(q, UINT64_MAX);

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

	/* Behind the ATC_INVs of smmuv3_atc_post_inv_all(), some of which may be there still. */
	for (; q->nb_held > 0; q->nb_held -= n) {
		n = RTE_MIN(q->nb_held, (unsigned int)SMMUV3_CHUNK);
		if (!smmuv3_backlog_push(&q->backlog, &q->held[q->nb_held - n], n))
			return false;
	}
	q->divert &= ~SMMUV3_DIVERT_PRI_RESP;
	return true;
}
