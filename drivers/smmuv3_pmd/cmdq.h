/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CMDQ_H
#define SMMUV3_CMDQ_H

/**
 * @file
 * A command queue [3.5, 4, 7.1]. It knows of its SMMU only the fields of struct
 * smmuv3_cmdq_conf.
 *
 *	cmdq.c		registers, enable and disable
 *	cmdq_ring.h	ring and owner
 *	cmdq_post.c	commands without a wait: backlog, answers held back
 *	cmdq_sync.c	commands with a wait for their CMD_SYNC
 *	cmdq_error.c	errors
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

#include <iopf_inval.h>
#include <iopf_support.h>

#include "backlog.h"
#include "base.h"
#include "mem.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "state.h"
#include "turn.h"
#include "wait.h"

/* Commands under one CMD_SYNC; also the most that one answer call batches. */
#define SMMUV3_CHUNK	64

/* The last failed commands, by position, for callers that wait. */
#define SMMUV3_CMD_ERRORS	64
/* A waiting caller that so many others have passed gets a turn: none passes it any more. */
#define SMMUV3_MAX_PASSED	64
/* Retries of a command fetch that aborts. */
#define SMMUV3_ABT_RETRIES	16

/* Recovery terminates the stalls: their answers are dropped. */
#define SMMUV3_DIVERT_RESUME	(1u << 0)
/* SMMUEN is 0, or will be: the SMMU would ignore a PRI_RESP [4.5.2], so it is held back. */
#define SMMUV3_DIVERT_PRI_RESP	(1u << 1)

#define SMMUV3_SYNC_MANY	UINT64_MAX

/* Operations of the SMMU of a queue, on slow paths only. */
struct smmuv3_cmdq_ops {
	void (*wait_begin)(void *ctx, struct smmuv3_wait *w);
	/* Let the SMMU run and check for errors of the queue. False: the time is over. */
	bool (*wait)(void *ctx, struct smmuv3_wait *w);
	/*
	 * Commands are not executed. Returns the error of a call that waits; 0: its commands have
	 * no purpose.
	 */
	int (*closed_error)(void *ctx);
	/* Owner: no command will be executed any more. */
	void (*on_failed)(void *ctx);
	/* The backlog still holds commands. A thread must call smmuv3_cmdq_try_flush() later. */
	void (*on_left)(void *ctx);
	/* An answer to a stall was not executed and never will be. */
	void (*on_answer_lost)(void *ctx);
	/*
	 * Owner: the CMD_SYNC at this position failed, because an ATC_INV got no answer, and the
	 * queue has stopped.
	 */
	void (*on_atc_timeout)(void *ctx, uint64_t pos);
	/*
	 * Owner: the error is repaired; acknowledge it, so that the SMMU executes commands again.
	 */
	void (*ack_error)(void *ctx);
};

struct smmuv3_cmdq_conf {
	const char *name;		/* for the log */
	const struct smmuv3_cmdq_ops *ops;
	void *ctx;
	const smmuv3_state_word_t *state;
	void *regs;
	uint32_t base_reg, prod_reg, cons_reg;
	bool atc;			/* ATC_INV and PRI_RESP commands are possible */
	/*
	 * Erratum: smmuv3_cmdq_sync() writes all its commands together with their CMD_SYNC, and a
	 * CMD_SYNC before them if earlier invalidations have none yet.
	 */
	bool sync_batches;
	/* The CMD_SYNC of a waiting caller writes a number here; NULL: no MSIs. */
	smmuv3_reg32_t *word;
	uint64_t word_addr;
	uint64_t backlog;		/* commands, a power of two */
	/*
	 * Free entries that the backlog needs before poll reads more records that need answers; 0:
	 * none.
	 */
	uint64_t reserve;
};

struct smmuv3_cmdq {
	_Atomic uint32_t owner;
	unsigned int log2;
	uint8_t divert;		/* answers that must not be written now */
	const smmuv3_state_word_t *state;	/* the SMMU's */
	struct smmuv3_cmd *ring;
	void *regs;
	uint32_t base_reg, prod_reg, cons_reg;
	uint32_t prod_flags;	/* bits of PROD beside the index: an ECMDQ's EN and ERRACK */
	uint32_t sync_seq;	/* number of the last CMD_SYNC that writes the word */
	uint64_t tail;		/* position of the next command to write */
	uint64_t cons;		/* position of CONS as last read */
	smmuv3_reg32_t *word;	/* number of the last CMD_SYNC completed; NULL: no MSIs */
	uint64_t word_addr;
	uint32_t retries;	/* of the command at retry_pos, whose fetch aborts */
	unsigned int stuck_checks;	/* checks in a row that found CONS at stuck_pos */
	uint64_t retry_pos;
	uint64_t stuck_checked_at, stuck_pos;	/* TSC of the last check, and CONS then */
	_Atomic uint64_t prod;	/* the SMMU may fetch the commands before this position */
	_Atomic uint32_t sync_waiters;	/* callers of smmuv3_cmdq_sync() that wait for an entry */
	/* counters, written by the owner */
	_Atomic uint64_t commands;
	_Atomic uint64_t batches;
	_Atomic uint64_t syncs;
	_Atomic uint64_t full;
	_Atomic uint64_t dropped;
	_Atomic uint64_t answers_held;
	_Atomic uint64_t bad_cons;
	_Atomic uint64_t cerror_ill;
	_Atomic uint64_t cerror_abt;
	_Atomic uint64_t cerror_atc;
	_Atomic uint64_t cerror_other;
	/* counters of any thread, on slow paths only */
	_Atomic uint64_t backlog_pushes;
	_Atomic uint64_t backlog_lost;
	_Atomic uint64_t sync_timeouts;
	struct iopf_log_limit log;	/* of lines that a device or a guest can cause */

	/*
	 * For the entry of each CMD_SYNC: StreamID + 1 of the ATC_INVs between it and the CMD_SYNC
	 * before; 0: none; SMMUV3_SYNC_MANY: several StreamIDs. NULL without ATS.
	 */
	uint64_t *sync_sids;
	uint64_t sync_sid;		/* the same since the last CMD_SYNC */
	struct smmuv3_cmd *held;	/* PRI_RESPs that are held back */
	unsigned int nb_held, max_held;

	const char *name;
	const struct smmuv3_cmdq_ops *ops;
	void *ctx;
	bool atc, sync_batches;
	bool records_cmds;		/* either: smmuv3_cmdq_put_cmd() records some commands */
	bool unsynced;			/* with sync_batches: invalidations have no CMD_SYNC yet */
	unsigned int sync_entries;	/* answers leave them to waiting callers */

	struct smmuv3_backlog backlog __rte_aligned(SMMUV3_ALIGN);

	struct smmuv3_turns turns;	/* of callers of smmuv3_cmdq_sync() */
	_Atomic uint64_t nb_errors;
	_Atomic uint64_t errors[SMMUV3_CMD_ERRORS];
	struct smmuv3_cmd last_illegal;	/* the last illegal command */
	struct smmuv3_mem mem;
} __rte_aligned(SMMUV3_ALIGN);

static inline bool
smmuv3_cmdq_try_own(struct smmuv3_cmdq *q)
{
	/* Pairs with the release of the owner flag in smmuv3_cmdq_clear_owner(). */
	return atomic_load_explicit(&q->owner, memory_order_relaxed) == 0 &&
		atomic_exchange_explicit(&q->owner, 1, memory_order_acquire) == 0;
}

/* cmdq.c */
int smmuv3_cmdq_open(struct smmuv3_cmdq *q, const struct smmuv3_cmdq_conf *conf);
/* Use *mem as the ring and return the memory of the old ring in *mem; .va NULL: none. */
int smmuv3_cmdq_set_ring(struct smmuv3_cmdq *q, struct smmuv3_mem *mem, unsigned int log2);
/* The caller frees the memory of the ring. */
void smmuv3_cmdq_close(struct smmuv3_cmdq *q);
/* Drop all commands and write the registers of a queue that is off. Owner. */
void smmuv3_cmdq_setup(struct smmuv3_cmdq *q);
/* SMMUEN is 0: answers to stalls are dropped from here on. */
int smmuv3_cmdq_drop_resumes(struct smmuv3_cmdq *q);
/* Wait until all commands are consumed, as long as they are executed. -ETIMEDOUT after a second. */
int smmuv3_cmdq_drain(struct smmuv3_cmdq *q);
/* Wait for ownership. -ETIMEDOUT. */
int smmuv3_cmdq_wait_own(struct smmuv3_cmdq *q);
/* CONS as a position. Any thread. */
uint64_t smmuv3_cmdq_load_cons(struct smmuv3_cmdq *q);

/* cmdq_post.c */
/* Fast path: never waits for another thread. Keeps the order of the commands of one call. */
void smmuv3_cmdq_post(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n);
/* Fast path: move the backlog to the queue if no other thread owns it. */
void smmuv3_cmdq_try_flush(struct smmuv3_cmdq *q);
/* The backlog has room for the answers to the records that poll reads now. Poll thread. */
static inline bool
smmuv3_cmdq_has_room_for_answers(struct smmuv3_cmdq *q)
{
	if (likely(!smmuv3_backlog_has_cmd(&q->backlog)))
		return true;
	smmuv3_cmdq_try_flush(q);
	return !smmuv3_backlog_is_tight(&q->backlog);
}
/* Move the backlog to the queue, then give up ownership. Owner. */
void smmuv3_cmdq_disown(struct smmuv3_cmdq *q);
/* Move the backlog up to this position to the queue. True when all of that has left it. Owner. */
bool smmuv3_cmdq_flush_backlog(struct smmuv3_cmdq *q, uint64_t end);
/* Drop the PRI_RESPs that are held back: they have no purpose any more. Owner. */
void smmuv3_cmdq_drop_held(struct smmuv3_cmdq *q);
/* Send the PRI_RESPs that were held back, and hold no more. False: some are still held. Owner. */
bool smmuv3_cmdq_release_held(struct smmuv3_cmdq *q);

/* cmdq_sync.c */
/*
 * Issue up to SMMUV3_CHUNK commands and a CMD_SYNC, and wait for it. The SMMU sees the caller's
 * earlier stores before these commands: smmuv3_store_prod(). After an error *result (may be NULL)
 * says which commands are complete; with 0 it is not written.
 *	-EIO		ILL: the SMMU refused the command at result->failed
 *			ATC: one of the ATC_INVs from result->done on may have got no answer
 *			ABT: the state takes no commands, and conf.ops->closed_error() said -EIO
 *	-ETIMEDOUT	TIMEOUT
 * If the first command is an ATC_INV, all must be. During a recovery such a call waits while SMMUEN
 * is 0, when ATC_INVs are ignored [4.5.1]. If waiting callers cannot tell which commands failed,
 * because SMMUV3_CMD_ERRORS failed meanwhile, all of theirs count as failed.
 *
 * Calls that wait for the owner or for an entry pass each other, since a waiting thread may not be
 * running; but a call that SMMUV3_MAX_PASSED others have passed takes a turn (turn.h). The calls
 * that have turns go first, in the order in which they took them.
 */
int smmuv3_cmdq_sync(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result);

/*
 * Issue a CMD_SYNC and do not wait: *pos is the position after it. False: no entry is free. Owner.
 */
bool smmuv3_cmdq_put_sync(struct smmuv3_cmdq *q, uint64_t *pos);

/* cmdq_error.c */
/*
 * CONS has not moved for the time @p timeout, and no endpoint can be the reason: if ATC_INVs
 * precede the next CMD_SYNC the queue is only slow, because an endpoint may take minutes to
 * answer. One thread at a time calls this repeatedly, and only some of the calls read CONS.
 */
bool smmuv3_cmdq_is_stuck(struct smmuv3_cmdq *q, uint64_t now, uint64_t timeout);
/* GERROR.CMDQ_ERR is active: repair the queue. Owner; does not wait. */
void smmuv3_cmdq_handle_error(struct smmuv3_cmdq *q);
/* Record for waiting callers that the command at this position failed. Owner. */
void smmuv3_cmdq_record_error(struct smmuv3_cmdq *q, uint64_t pos, bool atc);

/* Flag in smmuv3_cmdq.errors: an ATC_INV got no answer. */
#define SMMUV3_CMD_ERROR_ATC	(UINT64_C(1) << 63)

#endif /* SMMUV3_CMDQ_H */
