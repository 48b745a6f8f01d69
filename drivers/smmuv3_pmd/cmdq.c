/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The command queue [3.5, 4, 7.1].
 *
 * One thread at a time owns the queue: it took the flag "owner" by an exchange
 * and alone writes slots, tail, prod and CMDQ_PROD, and acknowledges errors.
 * Those who need an answer from the SMMU (smmuv3_cmdq_sync()) wait for the flag,
 * those who need none never do: when it is taken they leave their commands in
 * the backlog, which the owner must look at again after it gave the flag back.
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
 * The next owner acquires (the exchange) what the last released (O1): slots, tail
 * and the order of two PROD stores, which never moves back. The queue being full
 * ends the duty of O3, full but for a slot that is left to a waiter too, and so does
 * held[]: whatever is left is moved by the next smmuv3_cmdq_kick() of poll() or check().
 *
 * Positions are 64-bit counts of commands ever written; the low bits are the
 * register's. So a waiter that slept while the queue went round is not misled.
 * Completion of a CMD_SYNC is the number that it writes into one word shared by
 * all waiters: they complete in order [4.7.3], each number before the next, so
 * the word only grows. CONS is the net under it, and all there is without MSIs.
 */

#include <stdlib.h>

#include <rte_malloc.h>

#include "backlog.h"
#include "smmuv3_pmd.h"

static inline uint64_t
entries(const struct smmuv3_cmdq *q)
{
	return UINT64_C(1) << q->log2;
}

static inline bool
own(struct smmuv3_cmdq *q)
{
	/* Acquires what the last owner released in release(). */
	return atomic_load_explicit(&q->owner, memory_order_relaxed) == 0 &&
		atomic_exchange_explicit(&q->owner, 1, memory_order_acquire) == 0;
}

static inline void
release(struct smmuv3_cmdq *q)
{
	atomic_store_explicit(&q->owner, 0, memory_order_release);
}

/* Free slots; CONS shares its line with PROD and is read only when they run out. */
static inline uint64_t
space(struct smmuv3_cmdq *q, uint64_t want)
{
	uint64_t room = entries(q) - (q->tail - q->cons);
	uint64_t prod;
	uint32_t cons, count;

	if (likely(room >= want))
		return room;
	/* Acquires the SMMU's release of CONS: the slots behind it were read. */
	cons = smmuv3_load_status(q->regs, SMMUV3_CMDQ_CONS);
	prod = atomic_load_explicit(&q->prod, memory_order_relaxed);
	count = smmuv3_q_count(q->log2, prod, cons);
	if (unlikely(count > entries(q)))
		smmuv3_count(&q->bad_cons, 1);
	else
		q->cons = prod - count;
	return entries(q) - (q->tail - q->cons);
}

/*
 * ... for those who wait for nothing. While somebody waits for a slot the last one is left to
 * him, or answers would take each that becomes free. No answer waits for a waiter: the others
 * are theirs. A queue of one entry is anybody's.
 */
static inline uint64_t
space_for_answers(struct smmuv3_cmdq *q, uint64_t want)
{
	uint64_t kept = unlikely(atomic_load_explicit(&q->passed_over, memory_order_relaxed) != 0 &&
			q->log2 > 0), room = space(q, want + kept);

	return room - RTE_MIN(room, kept);
}

/* Off or given up: no command has a purpose. */
static inline bool
closed(const struct smmuv3_cmdq *q)
{
	return !atomic_load_explicit(&q->on, memory_order_relaxed) ||
		atomic_load_explicit(&q->dead, memory_order_relaxed);
}

static void
push(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct smmuv3_cmdq *q = &s->cmdq;

	smmuv3_count_shared(&q->backlog_pushes, n);
	if (likely(smmuv3_backlog_push(&q->backlog, cmds, n)))
		return;
	/* More answers than there can be requests: see backlog.h. Stalls are ended another way. */
	if (atomic_fetch_add_explicit(&q->backlog_lost, n, memory_order_relaxed) == 0)
		SMMUV3_LOG(ERR, s, "more answers than there can be faults: lost; a device whose "
				"page request had one waits for good: reset it "
				"(said once; see the counter backlog_lost)");
	atomic_store_explicit(&s->reset_wanted, true, memory_order_relaxed);
}

/* Not into the queue: see SMMUV3_DIVERT_*. */
static bool
divert(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmd)
{
	unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);

	if (op == SMMUV3_OP_RESUME && q->divert & SMMUV3_DIVERT_RESUME) {
		smmuv3_count(&q->dropped, 1);
		return true;
	}
	if (op != SMMUV3_OP_PRI_RESP || !(q->divert & SMMUV3_DIVERT_PRI_RESP))
		return false;
	if (likely(q->nb_held < q->max_held)) {
		q->held[q->nb_held++] = *cmd;
		smmuv3_count(&q->answers_held, 1);
	} else {
		/* Until smmuv3_cmdq_unhold(). Others, and who waits for them, go past it. */
		push(container_of(q, struct smmuv3, cmdq), cmd, 1);
	}
	return true;
}

/* What divert() puts into the backlog again is to stay there. */
static inline bool
held_full(const struct smmuv3_cmdq *q)
{
	return unlikely(q->nb_held != 0) && q->nb_held == q->max_held;
}

static inline bool
diverted(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmd)
{
	return unlikely(q->divert != 0) && divert(q, cmd);
}

/* The ring does not tell: what is before CONS may be written over when the CMD_SYNC fails. */
static void
note_atc(struct smmuv3_cmdq *q, uint32_t slot, const struct smmuv3_cmd *cmd)
{
	unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);

	if (op == SMMUV3_OP_ATC_INV) {
		uint64_t sid = SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) + 1;

		q->sync_sid = q->sync_sid == 0 || q->sync_sid == sid ? sid : SMMUV3_SYNC_MANY;
	} else if (op == SMMUV3_OP_SYNC) {
		q->sync_sids[slot] = q->sync_sid;
		q->sync_sid = 0;
	}
}

static inline void
put_one(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmd)
{
	uint32_t slot = smmuv3_q_slot(q->log2, q->tail++);

	q->ring[slot] = *cmd;
	if (unlikely(q->sync_sids != NULL))
		note_atc(q, slot, cmd);
}

/* Make what was written the SMMU's. */
static inline void
doorbell(struct smmuv3_cmdq *q)
{
	uint64_t prod = atomic_load_explicit(&q->prod, memory_order_relaxed);

	if (q->tail == prod)
		return;
	smmuv3_count(&q->commands, q->tail - prod);
	smmuv3_count(&q->batches, 1);
	/* Before the register: see smmuv3_cmdq_cons(). */
	atomic_store_explicit(&q->prod, q->tail, memory_order_release);
	smmuv3_store_prod(q->regs, SMMUV3_CMDQ_PROD, smmuv3_q_pos(q->log2, q->tail));
}

/* Write as many as there is room for. */
static inline unsigned int
put(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n)
{
	uint64_t room = space_for_answers(q, n);
	unsigned int i;

	if (unlikely(room < n)) {
		smmuv3_count(&q->full, 1);
		n = room;
	}
	for (i = 0; i < n; i++) {
		if (!diverted(q, &cmds[i]))
			put_one(q, &cmds[i]);
	}
	return n;
}

/*
 * Move the backlog into the queue, up to the position @p end. True when there is
 * room for more.
 */
static bool
flush(struct smmuv3_cmdq *q, uint64_t end)
{
	struct smmuv3_cmd cmd;
	uint64_t room;

	if (likely(!smmuv3_backlog_waits(&q->backlog)))
		return true;
	room = closed(q) ? UINT64_MAX : space_for_answers(q, entries(q));
	/* What divert() puts back is behind this. */
	end = RTE_MIN(end, smmuv3_backlog_end(&q->backlog));
	while (room > 0 && smmuv3_backlog_before(&q->backlog, end) &&
			smmuv3_backlog_pop(&q->backlog, &cmd)) {
		if (unlikely(closed(q))) {
			smmuv3_count(&q->dropped, 1);
			continue;
		}
		if (diverted(q, &cmd))
			continue;
		put_one(q, &cmd);
		room--;
	}
	if (room > 0)
		return true;
	smmuv3_count(&q->full, 1);
	return false;
}

/*
 * The owner's duty O1 to O3. Bounded by what the backlog holds: each turn moves
 * at least one command out of it or ends.
 */
static inline void
hand_back(struct smmuv3_cmdq *q, bool room)
{
	for (;;) {
		if (unlikely(held_full(q)))
			room = false;
		release(q);
		if (unlikely(!room))
			return;
		smmuv3_io_mb();
		if (likely(!smmuv3_backlog_waits(&q->backlog)) || !own(q))
			return;
		room = flush(q, UINT64_MAX);
		doorbell(q);
	}
}

void
smmuv3_cmdq_post(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	unsigned int done;
	bool room;

	if (likely(own(q))) {
		room = flush(q, UINT64_MAX);
		if (unlikely(closed(q))) {
			smmuv3_count(&q->dropped, n);
			done = n;
		} else {
			done = room ? put(q, cmds, n) : 0;
		}
		doorbell(q);
		if (unlikely(done < n)) {
			push(s, cmds + done, n - done);
			room = false;
		}
		hand_back(q, room);
		return;
	}
	push(s, cmds, n);
	smmuv3_io_mb();
	smmuv3_cmdq_kick(s);
}

void
smmuv3_cmdq_kick(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	bool room;

	if (likely(!smmuv3_backlog_waits(&q->backlog)) || !own(q))
		return;
	room = flush(q, UINT64_MAX);
	doorbell(q);
	hand_back(q, room);
}

bool
smmuv3_cmdq_own(struct smmuv3 *s)
{
	return own(&s->cmdq);
}

int
smmuv3_cmdq_own_wait(struct smmuv3 *s)
{
	struct smmuv3_wait w;

	smmuv3_wait_begin(s, &w);
	while (!own(&s->cmdq))
		if (!smmuv3_wait(s, &w))
			return -ETIMEDOUT;
	return 0;
}

void
smmuv3_cmdq_disown(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	bool room = flush(q, UINT64_MAX);

	doorbell(q);
	hand_back(q, room);
}

bool
smmuv3_cmdq_flush(struct smmuv3 *s, uint64_t end)
{
	flush(&s->cmdq, end);
	doorbell(&s->cmdq);
	return !smmuv3_backlog_before(&s->cmdq.backlog, end);
}

bool
smmuv3_cmdq_unhold(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	unsigned int n;

	/* Behind the ATC_INVs of smmuv3_atc_post_all(), some of which may be there still. */
	for (; q->nb_held > 0; q->nb_held -= n) {
		n = RTE_MIN(q->nb_held, (unsigned int)SMMUV3_CHUNK);
		if (!smmuv3_backlog_push(&q->backlog, &q->held[q->nb_held - n], n))
			return false;
	}
	q->divert &= ~SMMUV3_DIVERT_PRI_RESP;
	return true;
}

/*
 * Given up by check(). Nothing more will be invalidated; yet nothing is used either
 * if accesses are aborted: by GBPA with SMMUEN = 0, or by Service Failure Mode.
 */
static int
given_up(struct smmuv3 *s)
{
	uint32_t gerror = smmuv3_load_status(s->regs, SMMUV3_GERROR);

	if (!(smmuv3_load_status(s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN))
		return 0;
	return gerror != UINT32_MAX && (gerror ^ smmuv3_read32(s->regs, SMMUV3_GERRORN)) &
			SMMUV3_GERROR_SFM ? 0 : -EIO;
}

/*
 * CONS as a position, without owning the queue. With p1 and p2 read from prod
 * before and after CONS, the position lies in [p1 - entries, p2]:
 *   - p1 was stored after its writer had read a CONS of at least p1 - entries, and
 *     our read of CONS comes after (acquires prod), so it is no older;
 *   - CONS never passes CMDQ_PROD, which is stored after prod; so p2, read after
 *     CONS (an acquire of what the SMMU released), is no smaller.
 * The register tells positions apart that are less than 2 * entries from each
 * other, so p2 - p1 < entries makes it unique.
 */
uint64_t
smmuv3_cmdq_cons(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	uint64_t p1, p2, lowest;
	uint32_t cons;

	do {
		p1 = atomic_load_explicit(&q->prod, memory_order_acquire);
		cons = smmuv3_load_status(q->regs, SMMUV3_CMDQ_CONS);
		p2 = atomic_load_explicit(&q->prod, memory_order_acquire);
	} while (p2 - p1 >= entries(q));
	lowest = p1 - entries(q);
	return lowest + smmuv3_q_pos(q->log2, cons - (uint32_t)lowest);
}

/* In smmuv3_cmdq.errors: no answer to an ATC_INV. */
#define ATC	(UINT64_C(1) << 63)

/* Commands that somebody waits for, and their CMD_SYNC. */
struct batch {
	const struct smmuv3_cmd *cmds;
	unsigned int n, put;		/* put > n: the CMD_SYNC too */
	bool atc;			/* ATC_INVs */
	uint32_t seq, epoch;
	uint64_t before, errors;
	uint64_t pos[SMMUV3_CHUNK + 1];
};

/* Write as many as there is room for. Owner. */
static void
put_batch(struct smmuv3 *s, struct batch *b)
{
	struct smmuv3_cmdq *q = &s->cmdq;

	/* It would be ignored. */
	if (b->atc && q->divert & SMMUV3_DIVERT_PRI_RESP)
		return;
	/* Answers given before go first; later ones do not keep us waiting. */
	flush(q, b->before);
	if (smmuv3_backlog_before(&q->backlog, b->before))
		return;
	while (b->put <= b->n && space(q, 1) > 0) {
		struct smmuv3_cmd cmd;

		if (b->put < b->n) {
			cmd = b->cmds[b->put];
		} else if (q->msi) {
			b->seq = ++q->sync_seq;
			cmd = smmuv3_cmd_sync_msi(s->words_mem.addr +
					offsetof(struct smmuv3_words, sync), b->seq);
		} else {
			cmd = smmuv3_cmd_sync();
		}
		b->pos[b->put++] = q->tail;
		put_one(q, &cmd);
	}
	if (b->put > b->n)
		smmuv3_count(&q->syncs, 1);
}

static bool
batch_done(struct smmuv3 *s, const struct batch *b, unsigned int turn)
{
	struct smmuv3_cmdq *q = &s->cmdq;

	if (b->put <= b->n)
		return false;
	/* Acquires the SMMU's write of the word: what the CMD_SYNC promises is true. */
	if (q->msi && (int32_t)(smmuv3_load_word(&s->words->sync.v) - b->seq) >= 0)
		return true;
	/* A word can be lost: its write aborted, or the CMD_SYNC was rewritten. */
	if (q->msi && turn % 64 != 0)
		return false;
	return smmuv3_cmdq_cons(s) > b->pos[b->n];
}

/* It will not be done by the queue any more. */
static bool
batch_moot(struct smmuv3 *s, const struct batch *b, int *ret)
{
	struct smmuv3_cmdq *q = &s->cmdq;

	if (!atomic_load_explicit(&q->on, memory_order_acquire) ||
			atomic_load_explicit(&q->epoch, memory_order_acquire) != b->epoch)
		/* Switched off: SMMUEN is 0, and start invalidates everything. */
		*ret = 0;
	else if (atomic_load_explicit(&s->dead, memory_order_relaxed))
		*ret = given_up(s);
	else if (atomic_load_explicit(&q->dead, memory_order_relaxed))
		*ret = -EIO;
	else
		return false;
	return true;
}

/*
 * The smallest index of a command that failed; n: none. A CMD_SYNC that fails for want of an
 * answer to ATC_INVs means those before it, perhaps another's: ours too if it is between our
 * first one and our own CMD_SYNC.
 */
static unsigned int
first_failed(struct smmuv3_cmdq *q, const struct batch *b)
{
	/* Acquires nb_errors from smmuv3_cmdq_recover(): the positions before it. */
	uint64_t now = atomic_load_explicit(&q->nb_errors, memory_order_acquire), e;
	unsigned int first = b->n, i;

	for (e = b->errors; e != now && now - b->errors <= SMMUV3_CMD_ERRORS; e++) {
		uint64_t failed = atomic_load_explicit(&q->errors[e % SMMUV3_CMD_ERRORS],
				memory_order_acquire);

		if (failed & ATC) {
			if (b->atc && (failed & ~ATC) >= b->pos[0] &&
					(failed & ~ATC) <= b->pos[b->n])
				first = 0;
			continue;
		}
		for (i = 0; i < first; i++)
			if (b->pos[i] == failed)
				first = i;
	}
	/* More than are remembered, perhaps while we read: any of ours may be among them. */
	now = atomic_load_explicit(&q->nb_errors, memory_order_relaxed);
	return now - b->errors <= SMMUV3_CMD_ERRORS ? first : 0;
}

/* One more or less for whom space_for_answers() leaves a slot. */
static void
pass_over(struct smmuv3_cmdq *q, bool waits)
{
	atomic_fetch_add_explicit(&q->passed_over, waits ? 1 : -1, memory_order_relaxed);
}

static int
timed_out(struct smmuv3 *s, const struct batch *b)
{
	smmuv3_count_shared(&s->cmdq.sync_timeouts, 1);
	SMMUV3_LOG(ERR, s, "CMD_SYNC not complete after %u ms: %u of %u commands written, "
			"CMDQ_PROD 0x%x, CMDQ_CONS 0x%x, GERROR 0x%x, GERRORN 0x%x",
			SMMUV3_TIMEOUT_MS, b->put, b->n + 1,
			smmuv3_read32(s->regs, SMMUV3_CMDQ_PROD),
			smmuv3_read32(s->regs, SMMUV3_CMDQ_CONS),
			smmuv3_read32(s->regs, SMMUV3_GERROR),
			smmuv3_read32(s->regs, SMMUV3_GERRORN));
	return -ETIMEDOUT;
}

int
smmuv3_cmdq_sync(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n,
		unsigned int *failed)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	struct smmuv3_wait w;
	unsigned int first;
	bool over = false, waits = false;
	struct batch b;
	int ret;

	b.cmds = cmds;
	b.n = n;
	b.atc = n > 0 && SMMUV3_GET(SMMUV3_CMD0_OP, cmds[0].dw[0]) == SMMUV3_OP_ATC_INV;
	b.put = 0;
	b.seq = 0;
	b.before = smmuv3_backlog_end(&q->backlog);
	b.epoch = atomic_load_explicit(&q->epoch, memory_order_acquire);
	b.errors = atomic_load_explicit(&q->nb_errors, memory_order_acquire);
	if (failed != NULL)
		*failed = 0;
	smmuv3_wait_begin(s, &w);
	while (!batch_done(s, &b, over ? 0 : w.n)) {
		if (batch_moot(s, &b, &ret))
			goto out;
		if (over) {
			ret = timed_out(s, &b);
			goto out;
		}
		if (b.put <= n && own(q)) {
			if (!closed(q))
				put_batch(s, &b);
			if (waits != (b.put <= n)) {
				waits = !waits;
				pass_over(q, waits);
			}
			smmuv3_cmdq_disown(s);
		}
		over = !smmuv3_wait(s, &w);
	}
	first = n > 0 ? first_failed(q, &b) : 0;
	ret = first == n ? 0 : -EIO;
	if (ret < 0 && failed != NULL)
		*failed = first;
out:
	if (waits)
		pass_over(q, false);
	return ret;
}

/* The commands behind this one will not be executed, whatever is tried. */
static void
die(struct smmuv3 *s, const char *why)
{
	if (!atomic_exchange_explicit(&s->cmdq.dead, true, memory_order_relaxed))
		SMMUV3_LOG(ERR, s, "command queue given up: %s; CMDQ_PROD 0x%x, "
				"CMDQ_CONS 0x%x", why,
				smmuv3_read32(s->regs, SMMUV3_CMDQ_PROD),
				smmuv3_read32(s->regs, SMMUV3_CMDQ_CONS));
}

void
smmuv3_cmdq_failed(struct smmuv3_cmdq *q, uint64_t pos, bool atc)
{
	uint64_t nb = atomic_load_explicit(&q->nb_errors, memory_order_relaxed);

	atomic_store_explicit(&q->errors[nb % SMMUV3_CMD_ERRORS], atc ? pos | ATC : pos,
			memory_order_release);
	atomic_store_explicit(&q->nb_errors, nb + 1, memory_order_release);
}

static void
skip_illegal(struct smmuv3 *s, uint64_t pos)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	struct smmuv3_cmd *slot = &q->ring[smmuv3_q_slot(q->log2, pos)];

	if (atomic_load_explicit(&q->cerror_ill, memory_order_relaxed) == 0)
		SMMUV3_LOG(ERR, s, "the SMMU refuses command 0x%016" PRIx64 " 0x%016" PRIx64
				" at %u of the command queue: replaced by a CMD_SYNC "
				"(said once; see the counter cerror_ill)", slot->dw[0],
				slot->dw[1], smmuv3_q_slot(q->log2, pos));
	smmuv3_count(&q->cerror_ill, 1);
	q->ill = *slot;
	/* A stall whose answer was refused would wait for good. */
	if (SMMUV3_GET(SMMUV3_CMD0_OP, slot->dw[0]) == SMMUV3_OP_RESUME)
		atomic_store_explicit(&s->reset_wanted, true, memory_order_relaxed);
	smmuv3_cmdq_failed(q, pos, false);
	*slot = smmuv3_cmd_sync();
	if (q->sync_sids != NULL)
		q->sync_sids[smmuv3_q_slot(q->log2, pos)] = SMMUV3_SYNC_MANY;
}

void
smmuv3_cmdq_recover(struct smmuv3 *s, uint32_t active)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	uint32_t cons, count;
	uint64_t prod, pos;

	if (!(active & SMMUV3_GERROR_CMDQ_ERR) || closed(q))
		return;
	/* ERR is valid: it was written before GERROR, which was read before [7.1]. */
	cons = smmuv3_load_status(q->regs, SMMUV3_CMDQ_CONS);
	prod = atomic_load_explicit(&q->prod, memory_order_relaxed);
	count = smmuv3_q_count(q->log2, prod, cons);
	if (count > entries(q)) {
		smmuv3_count(&q->bad_cons, 1);
		die(s, "CMDQ_CONS is not within the queue");
		return;
	}
	pos = prod - count;
	switch (SMMUV3_GET(SMMUV3_CMDQ_CONS_ERR, cons)) {
	case SMMUV3_CERROR_NONE:
		smmuv3_count(&q->cerror_other, 1);
		break;
	case SMMUV3_CERROR_ATC_INV_SYNC:
		/* Told to who waits before it is executed again: then it is complete. */
		smmuv3_count(&q->cerror_atc, 1);
		smmuv3_cmdq_failed(q, pos, true);
		smmuv3_atc_timeout(s, pos);
		smmuv3_gerror_ack(s, SMMUV3_GERROR_CMDQ_ERR);
		return;
	case SMMUV3_CERROR_ABT:
		smmuv3_count(&q->cerror_abt, 1);
		break;
	default:
		if (count > 0) {
			skip_illegal(s, pos);
			smmuv3_gerror_ack(s, SMMUV3_GERROR_CMDQ_ERR);
			return;
		}
		smmuv3_count(&q->cerror_other, 1);
		break;
	}
	/* To acknowledge is to try again. */
	if (q->retry_pos != pos) {
		q->retry_pos = pos;
		q->retries = 0;
	}
	if (q->retries++ == SMMUV3_ABT_RETRIES)
		die(s, "it cannot be read (CERROR_ABT)");
	else
		smmuv3_gerror_ack(s, SMMUV3_GERROR_CMDQ_ERR);
}

/* A position that the registers, both 0, stand for. */
static uint64_t
restart_pos(const struct smmuv3_cmdq *q)
{
	return RTE_ALIGN_CEIL(q->tail + 1, 2 * entries(q));
}

int
smmuv3_cmdq_setup(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	int ret;

	ret = smmuv3_cmdq_own_wait(s);
	if (ret < 0)
		return ret;
	q->tail = restart_pos(q);
	q->sync_sid = 0;
	q->cons = q->tail;
	q->retry_pos = UINT64_MAX;
	q->divert = 0;
	q->nb_held = 0;
	atomic_store_explicit(&q->prod, q->tail, memory_order_release);
	atomic_store_explicit(&q->dead, false, memory_order_relaxed);
	smmuv3_write64(s->regs, SMMUV3_CMDQ_BASE, SMMUV3_Q_BASE_RWA |
			(q->mem.addr & SMMUV3_Q_BASE_ADDR) |
			SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, q->log2));
	smmuv3_write32(s->regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(s->regs, SMMUV3_CMDQ_CONS, 0);
	release(q);
	return 0;
}

int
smmuv3_cmdq_on(struct smmuv3 *s)
{
	int ret = smmuv3_cmdq_own_wait(s);

	if (ret < 0)
		return ret;
	/* What this start has set up is seen by who sees this. */
	atomic_store_explicit(&s->cmdq.on, true, memory_order_release);
	smmuv3_cmdq_disown(s);
	return 0;
}

int
smmuv3_cmdq_drain(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	struct smmuv3_wait w;

	smmuv3_wait_begin(s, &w);
	while (!atomic_load_explicit(&q->dead, memory_order_relaxed) &&
			!atomic_load_explicit(&s->dead, memory_order_relaxed) &&
			(smmuv3_backlog_waits(&q->backlog) || smmuv3_cmdq_cons(s) <
			atomic_load_explicit(&q->prod, memory_order_relaxed))) {
		smmuv3_cmdq_kick(s);
		if (!smmuv3_wait(s, &w)) {
			SMMUV3_LOG(ERR, s, "commands left in the queue after %u ms",
					SMMUV3_TIMEOUT_MS);
			return -ETIMEDOUT;
		}
	}
	return 0;
}

int
smmuv3_cmdq_off(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	int ret, drained;

	ret = smmuv3_cmdq_own_wait(s);
	if (ret < 0)
		return ret;
	smmuv3_cmdq_flush(s, UINT64_MAX);
	q->divert = SMMUV3_DIVERT_RESUME;
	smmuv3_cmdq_disown(s);
	drained = smmuv3_cmdq_drain(s);
	ret = smmuv3_cmdq_own_wait(s);
	if (ret < 0)
		return ret;
	atomic_store_explicit(&q->on, false, memory_order_release);
	atomic_fetch_add_explicit(&q->epoch, 1, memory_order_release);
	smmuv3_count(&q->dropped, q->nb_held);
	q->nb_held = 0;
	smmuv3_cmdq_disown(s);
	return drained;
}

int
smmuv3_cmdq_alloc(struct smmuv3 *s, unsigned int log2)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	uint64_t *sync_sids = NULL;
	struct smmuv3_mem mem;
	int ret;

	if (q->ring != NULL && q->log2 == log2)
		return 0;
	ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_cmd) << log2, &mem);
	if (ret < 0)
		return ret;
	if (s->pri)
		sync_sids = calloc((size_t)1 << log2, sizeof(*sync_sids));
	ret = s->pri && sync_sids == NULL ? -ENOMEM : smmuv3_cmdq_own_wait(s);
	if (ret < 0) {
		free(sync_sids);
		smmuv3_mem_free(s, &mem);
		return ret;
	}
	if (q->ring != NULL)
		smmuv3_mem_free(s, &q->mem);
	free(q->sync_sids);
	q->sync_sids = sync_sids;
	q->mem = mem;
	q->ring = mem.va;
	q->log2 = log2;
	release(q);
	return 0;
}

int
smmuv3_cmdq_open(struct smmuv3 *s)
{
	struct smmuv3_cmdq *q = &s->cmdq;
	uint64_t slots = smmuv3_backlog_slots(s);

	q->regs = s->regs;
	q->msi = (s->idr0 & SMMUV3_IDR0_MSI) != 0;
	q->backlog.mask = slots - 1;
	q->backlog.slots = rte_zmalloc("smmuv3_backlog", slots * sizeof(*q->backlog.slots),
			SMMUV3_ALIGN);
	if (q->backlog.slots == NULL) {
		SMMUV3_LOG(ERR, s, "no memory for a backlog of %" PRIu64 " commands: "
				"give EAL more (-m)", slots);
		return -ENOMEM;
	}
	/*
	 * As many as the backlog, which takes the answers to all requests that have been read
	 * even if nothing leaves it; and none are read while answers are held.
	 */
	q->max_held = s->pri ? slots : 0;
	q->held = s->pri ? rte_zmalloc("smmuv3_held", q->max_held * sizeof(*q->held), 0) : NULL;
	if (s->pri && q->held == NULL) {
		SMMUV3_LOG(ERR, s, "no memory for %u answers to page requests: "
				"give EAL more (-m)", q->max_held);
		return -ENOMEM;
	}
	return 0;
}

void
smmuv3_cmdq_close(struct smmuv3 *s)
{
	free(s->cmdq.sync_sids);
	rte_free(s->cmdq.held);
	if (s->cmdq.ring != NULL)
		smmuv3_mem_free(s, &s->cmdq.mem);
	rte_free(s->cmdq.backlog.slots);
}
