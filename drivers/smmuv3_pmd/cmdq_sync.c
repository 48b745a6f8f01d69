/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Commands with a wait. A CMD_SYNC is complete when it has written its number into one word that
 * all waiting callers share. CMD_SYNCs complete in order [4.7.3], each number before the next, so
 * the word only grows. A waiting caller also reads CONS: now and then, because the write of a word
 * can be lost, or each time, without MSIs.
 */

#include <stdio.h>

#include <rte_pause.h>

#include "backlog.h"
#include "base.h"
#include "cmdq.h"
#include "cmdq_ring.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "wait.h"

/* The commands of a waiting caller, and their CMD_SYNC. */
struct batch {
	const struct smmuv3_cmd *cmds;
	unsigned int n, put;		/* commands; written so far: n + 1 with the CMD_SYNC */
	bool atc;			/* its commands are ATC_INVs */
	bool held_back;			/* a recovery was under way at the last attempt */
	bool has_turn;
	uint64_t turn, syncs;		/* its turn; the counter syncs when it began to wait */
	uint32_t seq, epoch;		/* number of its CMD_SYNC; epoch at the call */
	uint64_t backlog_end, errors;
	const struct smmuv3_cmd *next;	/* entry behind the CMD_SYNC; NULL: not written at once */
	uint64_t pos[SMMUV3_CHUNK + 1];
};

/*
 * True when there is room for the whole batch, or all room that the queue can have. Commands before
 * the batch then get a CMD_SYNC of their own.
 */
static bool
make_room_for_batch(struct smmuv3_cmdq *q, const struct batch *b)
{
	const struct smmuv3_cmd sync = smmuv3_cmd_sync();
	uint64_t want = RTE_MIN(smmuv3_cmdq_entries(q), b->n + UINT64_C(2));

	if (smmuv3_cmdq_count_free(q, want) < want)
		return false;
	if (q->unsynced && b->n > 0)
		smmuv3_cmdq_put_cmd(q, &sync);
	return true;
}

/*
 * Earlier ATC_INVs without a CMD_SYNC, of a post whose rest is in the backlog or of a caller that
 * waits for room, get one of their own: if one of them is not answered, the error is not this
 * caller's, and may name the StreamID. False: there is no room.
 */
static bool
sync_other_atcs(struct smmuv3_cmdq *q)
{
	const struct smmuv3_cmd sync = smmuv3_cmd_sync();

	if (smmuv3_cmdq_count_free(q, 1) == 0)
		return false;
	smmuv3_cmdq_put_cmd(q, &sync);
	return true;
}

static inline struct smmuv3_cmd
make_sync(struct smmuv3_cmdq *q, struct batch *b)
{
	if (q->word == NULL)
		return smmuv3_cmd_sync();
	b->seq = ++q->sync_seq;
	return smmuv3_cmd_sync_msi(q->word_addr, b->seq);
}

/* Write the whole batch: there is room. */
static inline void
put_whole_batch(struct smmuv3_cmdq *q, struct batch *b)
{
	const struct smmuv3_cmd sync = make_sync(q, b);
	uint64_t tail = q->tail;

	smmuv3_cmdq_put_cmds(q, b->cmds, b->n);
	smmuv3_cmdq_put_cmd(q, &sync);
	for (b->put = 0; b->put <= b->n; b->put++)
		b->pos[b->put] = tail + b->put;
	b->next = &q->ring[smmuv3_q_slot(q->log2, tail + b->put)];
	smmuv3_counter_add(&q->syncs, 1);
}

/* Write as many commands as there is room for. Owner. */
static void
put_batch(struct smmuv3_cmdq *q, struct batch *b)
{
	/* The SMMU would ignore ATC_INVs now. */
	b->held_back = b->atc && q->divert & SMMUV3_DIVERT_PRI_RESP;
	if (b->held_back)
		return;
	/*
	 * All answers that wait go first, and are published now: they are not behind commands that
	 * the SMMU does not see yet. Those posted before the call must have left the backlog; the
	 * later ones do not delay this batch.
	 */
	if (unlikely(smmuv3_backlog_has_cmd(&q->backlog)))
		smmuv3_cmdq_flush_backlog(q, UINT64_MAX);
	if (unlikely(smmuv3_backlog_is_before(&q->backlog, b->backlog_end)))
		return;
	if (unlikely(q->sync_batches) && b->put == 0 && !make_room_for_batch(q, b))
		return;
	if (b->atc && b->put == 0 && unlikely(q->sync_sid != 0) && !sync_other_atcs(q))
		return;
	if (likely(b->put == 0 && smmuv3_cmdq_count_free(q, b->n + 1) > b->n)) {
		put_whole_batch(q, b);
		return;
	}
	while (b->put <= b->n && smmuv3_cmdq_count_free(q, 1) > 0) {
		const struct smmuv3_cmd cmd = b->put < b->n ? b->cmds[b->put] : make_sync(q, b);

		b->pos[b->put++] = q->tail;
		smmuv3_cmdq_put_cmd(q, &cmd);
	}
	if (b->put > b->n)
		smmuv3_counter_add(&q->syncs, 1);
}

bool
smmuv3_cmdq_put_sync(struct smmuv3_cmdq *q, uint64_t *pos)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_sync();

	if (smmuv3_cmdq_count_free(q, 1) == 0)
		return false;
	smmuv3_cmdq_put_cmd(q, &cmd);
	smmuv3_counter_add(&q->syncs, 1);
	*pos = q->tail;
	return true;
}

/*
 * Only the owner reads CONS: while a thread owns the queue, no stop completes, after which the SMMU
 * may lose its power. Another owner at the moment: false, unless this is the last call.
 */
static bool
is_consumed(struct smmuv3_cmdq *q, uint64_t pos, bool last)
{
	bool consumed;

	if (last ? smmuv3_cmdq_wait_own(q) < 0 : !smmuv3_cmdq_try_own(q))
		return false;
	consumed = smmuv3_state_get(q->state) >= SMMUV3_STATE_FAILED &&
		smmuv3_cmdq_load_cons(q) > pos;
	smmuv3_cmdq_disown(q);
	return consumed;
}

static bool
is_word_written(const struct smmuv3_cmdq *q, const struct batch *b)
{
	/* Pairs with the SMMU's write of the word: the effects of the CMD_SYNC are visible. */
	return (int32_t)(smmuv3_load_word(q->word) - b->seq) >= 0;
}

static bool
is_batch_done(struct smmuv3_cmdq *q, const struct batch *b, unsigned int nb_waits, bool last)
{
	if (b->put <= b->n)
		return false;
	if (q->word != NULL && is_word_written(q, b))
		return true;
	/* A word can be lost: its write was aborted, or the CMD_SYNC was rewritten. */
	if (q->word != NULL && nb_waits % 64 != 0 && !last)
		return false;
	return is_consumed(q, b->pos[b->n], last);
}

/* The queue will not execute the rest of the batch; *ret is the result of the call. */
static bool
is_batch_void(struct smmuv3_cmdq *q, const struct batch *b, int *ret)
{
	uint32_t state = smmuv3_state_load(q->state);

	if (SMMUV3_STATE_EPOCH(state) == b->epoch) {
		if (SMMUV3_STATE_OF(state) >= SMMUV3_STATE_STARTING)
			return false;
		*ret = q->ops->closed_error(q->ctx);
		/* A start may have begun since: then the state that this found is a later one. */
		state = smmuv3_state_load(q->state);
	}
	/* The SMMU was off meanwhile, and start invalidates everything: see state.h. */
	if (SMMUV3_STATE_EPOCH(state) != b->epoch)
		*ret = 0;
	return true;
}

static void
write_error(struct iopf_inv_result *result, unsigned int first, enum iopf_inv_error error)
{
	if (result != NULL)
		*result = (struct iopf_inv_result){ .done = first, .failed = first,
			.error = error };
}

/*
 * The first command that failed. A CMD_SYNC that fails for an ATC_INV covers all ATC_INVs before
 * it, perhaps another caller's. It covers ours too if it lies between our first command and our own
 * CMD_SYNC. An illegal command before it was replaced by a CMD_SYNC, which covers what precedes it.
 */
static int
find_error(struct smmuv3_cmdq *q, const struct batch *b, struct iopf_inv_result *result)
{
	/* Pairs with the releases in smmuv3_cmdq_record_error(): the positions before nb_errors. */
	uint64_t now = atomic_load_explicit(&q->nb_errors, memory_order_acquire), e;
	enum iopf_inv_error error = IOPF_INV_ILL;
	uint64_t first_atc = UINT64_MAX;	/* position of the first CMD_SYNC that failed */
	unsigned int first = b->n, i;

	for (e = b->errors; e != now && now - b->errors < SMMUV3_CMD_ERRORS; e++) {
		uint64_t failed = atomic_load_explicit(&q->errors[e % SMMUV3_CMD_ERRORS],
				memory_order_acquire);

		if (failed & SMMUV3_CMD_ERROR_ATC) {
			failed &= ~SMMUV3_CMD_ERROR_ATC;
			if (b->atc && failed >= b->pos[0] && failed <= b->pos[b->n])
				first_atc = RTE_MIN(first_atc, failed);
			continue;
		}
		for (i = 0; i < first; i++)
			if (b->pos[i] == failed)
				first = i;
	}
	/*
	 * As many errors as the array holds, perhaps while this read it: any of ours may be among
	 * those overwritten. smmuv3_cmdq_record_error() overwrites one before it counts.
	 */
	now = atomic_load_explicit(&q->nb_errors, memory_order_relaxed);
	if (unlikely(now - b->errors >= SMMUV3_CMD_ERRORS)) {
		first = 0;
		error = b->atc ? IOPF_INV_ATC : IOPF_INV_ILL;
	}
	if (unlikely(first_atc != UINT64_MAX)) {
		first = first < b->n && b->pos[first] < first_atc ? first : 0;
		error = IOPF_INV_ATC;
	}
	if (likely(first == b->n))
		return 0;
	write_error(result, first, error);
	return -EIO;
}

/* Add this caller to those that wait for an entry, or remove it. */
static void
count_sync_waiter(struct smmuv3_cmdq *q, bool counted)
{
	atomic_fetch_add_explicit(&q->sync_waiters, counted ? 1 : -1, memory_order_relaxed);
}

/* CMD_SYNCs written so far: the calls that have passed another one. */
static inline uint64_t
load_syncs(const struct smmuv3_cmdq *q)
{
	return atomic_load_explicit(&q->syncs, memory_order_relaxed);
}

static void
end_turn(struct smmuv3_cmdq *q, struct batch *b)
{
	if (b->has_turn)
		smmuv3_turn_end(&q->turns, b->turn);
	b->has_turn = false;
}

static inline bool
may_go(const struct smmuv3_cmdq *q, const struct batch *b)
{
	return b->has_turn ? smmuv3_turn_has_come(&q->turns, b->turn) :
		!smmuv3_turn_is_awaited(&q->turns);
}

/* Write what there is room for, unless it is the turn of another call, or one owns the queue. */
static void
try_put_rest(struct smmuv3_cmdq *q, struct batch *b, bool *counted)
{
	if (may_go(q, b) && smmuv3_cmdq_try_own(q)) {
		if (!smmuv3_cmdq_is_closed(q))
			put_batch(q, b);
		if (*counted != (b->put <= b->n)) {
			*counted = !*counted;
			count_sync_waiter(q, *counted);
		}
		smmuv3_cmdq_disown(q);
		if (b->put > b->n) {
			end_turn(q, b);
			return;
		}
		/* While a recovery holds this call back, it lets others pass. */
		if (b->held_back) {
			end_turn(q, b);
			b->syncs = load_syncs(q);
		}
	}
	/* A turn for each call would let all go at the pace of threads that are not running. */
	if (!b->has_turn && load_syncs(q) - b->syncs >= SMMUV3_MAX_PASSED)
		b->has_turn = smmuv3_turn_take(&q->turns, &b->turn);
}

/*
 * The registers for the line of a timeout. They are not read if another thread owns the queue, or
 * if a stop has completed meanwhile: see is_consumed().
 */
static const char *
print_registers(struct smmuv3_cmdq *q, char *text, size_t size)
{
	snprintf(text, size, "registers not read");
	if (!smmuv3_cmdq_try_own(q))
		return text;
	if (smmuv3_state_get(q->state) >= SMMUV3_STATE_FAILED)
		snprintf(text, size, "CMDQ_PROD 0x%x, CMDQ_CONS 0x%x, GERROR 0x%x, GERRORN 0x%x",
				smmuv3_read32(q->regs, q->prod_reg),
				smmuv3_read32(q->regs, q->cons_reg),
				smmuv3_read32(q->regs, SMMUV3_GERROR),
				smmuv3_read32(q->regs, SMMUV3_GERRORN));
	smmuv3_cmdq_disown(q);
	return text;
}

static int
report_timeout(struct smmuv3_cmdq *q, const struct batch *b)
{
	char tail[IOPF_LOG_TAIL], regs[96];
	uint64_t before;

	smmuv3_counter_add_shared(&q->sync_timeouts, 1);
	if (iopf_log_take(&q->log, &before))
		SMMUV3_LOG(ERR, q, "CMD_SYNC not complete after %u ms: %u of %u commands written, "
				"%s%s%s", SMMUV3_TIMEOUT_MS, b->put, b->n + 1,
				print_registers(q, regs, sizeof(regs)),
				b->held_back ? "; a recovery holds ATC_INVs back: poll the queues "
				"of the IOMMU, then try again" : "",
				iopf_log_tail(tail, before));
	return -ETIMEDOUT;
}

/*
 * Read what the end of the call is compared with. Before it: the barrier C2 of state.h, or
 * ownership of a queue that takes commands.
 */
static inline void
begin_batch(struct smmuv3_cmdq *q, struct batch *b)
{
	b->backlog_end = smmuv3_backlog_load_end(&q->backlog);
	b->epoch = SMMUV3_STATE_EPOCH(smmuv3_state_load(q->state));
	/* Pairs with the release in smmuv3_cmdq_record_error(). */
	b->errors = atomic_load_explicit(&q->nb_errors, memory_order_acquire);
}

/* Begin, and write the batch if no other thread owns the queue. */
static inline void
try_put_first(struct smmuv3_cmdq *q, struct batch *b)
{
	if (likely(!smmuv3_turn_is_awaited(&q->turns) && smmuv3_cmdq_try_own(q))) {
		begin_batch(q, b);
		if (likely(!smmuv3_cmdq_is_closed(q)))
			put_batch(q, b);
		smmuv3_cmdq_disown(q);
		if (likely(b->put > b->n))
			return;
	}
	smmuv3_io_mb();
	b->syncs = load_syncs(q);
	if (b->put == 0)
		begin_batch(q, b);
}

/* Usually a CMD_SYNC completes in less time than these pauses take. */
#define SPINS	64

static inline bool
spin_on_word(const struct smmuv3_cmdq *q, const struct batch *b)
{
	unsigned int i;

	for (i = 0; i < SPINS; i++) {
		if (is_word_written(q, b))
			return true;
		rte_pause();
	}
	return false;
}

#define NEXT_LINES	3	/* that the next call often writes */
#define LINE_SIZE	64

/*
 * The SMMU has read these lines a lap ago: each would be a miss of the next call. Prefetch them
 * when the SMMU has executed the commands of this call: while it reads commands, its own prefetches
 * take the lines back. At the end of the ring this goes beyond it, which is harmless.
 */
static inline void
prefetch_next_lines(const struct smmuv3_cmd *next)
{
	unsigned int i;

	for (i = 0; i < NEXT_LINES; i++)
		smmuv3_prefetch_write((const void *)((uintptr_t)next + i * LINE_SIZE));
}

int
smmuv3_cmdq_sync(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result)
{
	struct smmuv3_wait w;
	bool expired = false, counted = false;
	struct batch b;
	int ret;

	b.cmds = cmds;
	b.n = n;
	b.atc = n > 0 && SMMUV3_GET(SMMUV3_CMD0_OP, cmds[0].dw[0]) == SMMUV3_OP_ATC_INV;
	b.held_back = b.has_turn = false;
	b.put = 0;
	b.seq = 0;
	b.next = NULL;
	/* A software SMMU has read PROD: the miss of its store begins here. */
	smmuv3_prefetch_write(smmuv3_reg32(q->regs, q->prod_reg));
	try_put_first(q, &b);
	q->ops->wait_begin(q->ctx, &w);
	if (likely(b.put > n)) {
		/* Lets an SMMU without a thread run. */
		expired = !q->ops->wait(q->ctx, &w);
		if (q->word != NULL && likely(spin_on_word(q, &b)))
			goto done;
	}
	while (!is_batch_done(q, &b, w.n, expired)) {
		if (is_batch_void(q, &b, &ret))
			goto end;
		if (expired) {
			ret = report_timeout(q, &b);
			goto end;
		}
		if (b.put <= n)
			try_put_rest(q, &b, &counted);
		expired = !q->ops->wait(q->ctx, &w);
	}
done:
	/* All is written: the call is no longer counted as waiting, and its turn has ended. */
	if (likely(b.next != NULL))
		prefetch_next_lines(b.next);
	return n > 0 ? find_error(q, &b, result) : 0;
end:
	if (ret < 0)
		write_error(result, 0, ret == -ETIMEDOUT ? IOPF_INV_TIMEOUT : IOPF_INV_ABT);
	if (counted)
		count_sync_waiter(q, false);
	end_turn(q, &b);
	return ret;
}
