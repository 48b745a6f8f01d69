/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CMDQ_H
#define SMMUV3_CMDQ_H

/**
 * @file
 * A command queue [3.5, 4, 7.1]. It knows nothing of its SMMU but what struct
 * smmuv3_cmdq_conf gives it.
 *
 *	cmdq.c		registers, switching it on and off
 *	cmdq_ring.h	ring and owner
 *	cmdq_post.c	commands that are not waited for: backlog, holding back
 *	cmdq_sync.c	waiting for a CMD_SYNC
 *	cmdq_error.c	errors
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

#include <iopf_support.h>

#include "backlog.h"
#include "base.h"
#include "mem.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "state.h"
#include "wait.h"

/* Commands issued under one CMD_SYNC; also the most that one answer call batches. */
#define SMMUV3_CHUNK	64

/* The last failed commands, by position, for callers that wait for them. */
#define SMMUV3_CMD_ERRORS	64
/* Times that a command fetch which aborts is tried again. */
#define SMMUV3_ABT_RETRIES	16

/* Stalls are being terminated: their answers are dropped. */
#define SMMUV3_DIVERT_RESUME	(1u << 0)
/* SMMUEN is 0, or will be: a PRI_RESP would be ignored [4.5.2], and is held back. */
#define SMMUV3_DIVERT_PRI_RESP	(1u << 1)

#define SMMUV3_SYNC_MANY	UINT64_MAX

/* What a queue asks of its SMMU, on slow paths only. */
struct smmuv3_cmdq_ops {
	void (*wait_begin)(void *ctx, struct smmuv3_wait *w);
	/* Gives the SMMU time and looks for errors of the queue; false: time is over. */
	bool (*wait)(void *ctx, struct smmuv3_wait *w);
	/* Commands are not executed: what a call that waits for them returns, 0 when they have
	 * no purpose. */
	int (*closed_error)(void *ctx);
	/* Owner: nothing will be executed any more. */
	void (*on_failed)(void *ctx);
	/* Commands are left in the backlog; smmuv3_cmdq_try_flush() has to come. */
	void (*on_left)(void *ctx);
	/* An answer to a stall was not executed, and never will be. */
	void (*on_answer_lost)(void *ctx);
	/* Owner: the CMD_SYNC at this position got no answer to ATC_INVs, and stands. */
	void (*on_atc_timeout)(void *ctx, uint64_t pos);
	/* Owner: the error was taken care of; execute commands again. */
	void (*ack_error)(void *ctx);
};

struct smmuv3_cmdq_conf {
	const char *name;		/* for the log */
	const struct smmuv3_cmdq_ops *ops;
	void *ctx;
	const smmuv3_state_word_t *state;
	void *regs;
	uint32_t base_reg, prod_reg, cons_reg;
	bool atc;			/* ATC_INVs and PRI_RESPs are sent */
	/*
	 * smmuv3_cmdq_sync() writes its commands at once with their CMD_SYNC, and one in front
	 * if others' invalidations are there without: an erratum.
	 */
	bool sync_batches;
	/* CMD_SYNCs that are waited for write a number here; NULL: no MSIs. */
	smmuv3_reg32_t *word;
	uint64_t word_addr;
	uint64_t backlog;		/* commands, a power of two */
	/* What is to be free in the backlog before more is read that wants answers; 0: nothing. */
	uint64_t reserve;
};

struct smmuv3_cmdq {
	_Atomic uint32_t owner;
	unsigned int log2;
	uint8_t divert;		/* SMMUV3_DIVERT_*: answers that do not go into it now */
	const smmuv3_state_word_t *state;	/* the SMMU's */
	struct smmuv3_cmd *ring;
	void *regs;
	uint32_t base_reg, prod_reg, cons_reg;
	uint32_t sync_seq;	/* number of the last CMD_SYNC with a word */
	uint64_t tail;		/* written up to here, 64-bit position */
	uint64_t cons;		/* CONS as last read */
	smmuv3_reg32_t *word;	/* number of the last CMD_SYNC completed; NULL: no MSIs */
	uint64_t word_addr;
	uint32_t retries;
	unsigned int stuck_checks;	/* that found CONS at stuck_pos, for the caller of ... */
	uint64_t retry_pos;
	uint64_t stuck_checked_at, stuck_pos;	/* ... smmuv3_cmdq_is_stuck() */
	_Atomic uint64_t prod;	/* published up to here */
	_Atomic uint32_t sync_waiters;	/* callers of smmuv3_cmdq_sync() that found no slot */
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

	/* Of each CMD_SYNC's slot, the StreamID + 1 of the ATC_INVs between it and the one
	 * before; 0 none, SMMUV3_SYNC_MANY several. NULL without ATS. */
	uint64_t *sync_sids;
	uint64_t sync_sid;		/* ... since the last */
	struct smmuv3_cmd *held;	/* PRI_RESPs for later */
	unsigned int nb_held, max_held;

	const char *name;
	const struct smmuv3_cmdq_ops *ops;
	void *ctx;
	bool atc, sync_batches;
	bool records_cmds;		/* either: what is written is looked at */
	bool unsynced;			/* with sync_batches: invalidations without a CMD_SYNC yet */
	unsigned int sync_slots;	/* left to smmuv3_cmdq_sync() when it finds too few */

	struct smmuv3_backlog backlog __rte_aligned(SMMUV3_ALIGN);

	_Atomic uint64_t nb_errors;
	_Atomic uint64_t errors[SMMUV3_CMD_ERRORS];
	struct smmuv3_cmd last_illegal;	/* the last illegal command */
	struct smmuv3_mem mem;
} __rte_aligned(SMMUV3_ALIGN);

static inline bool
smmuv3_cmdq_try_own(struct smmuv3_cmdq *q)
{
	/* Acquires what the last owner released with smmuv3_cmdq_disown(). */
	return atomic_load_explicit(&q->owner, memory_order_relaxed) == 0 &&
		atomic_exchange_explicit(&q->owner, 1, memory_order_acquire) == 0;
}

/* cmdq.c */
int smmuv3_cmdq_open(struct smmuv3_cmdq *q, const struct smmuv3_cmdq_conf *conf);
/* *mem becomes the ring's memory, and what was before; .va NULL: there was none. */
int smmuv3_cmdq_set_ring(struct smmuv3_cmdq *q, struct smmuv3_mem *mem, unsigned int log2);
/* The ring's memory is the caller's. */
void smmuv3_cmdq_close(struct smmuv3_cmdq *q);
/* Registers of a queue that is off. Owner. */
void smmuv3_cmdq_setup(struct smmuv3_cmdq *q);
/* SMMUEN is 0: answers to stalls are dropped from here on. */
int smmuv3_cmdq_drop_resumes(struct smmuv3_cmdq *q);
/* Consume what there is, while commands are executed. -ETIMEDOUT, after a second. */
int smmuv3_cmdq_drain(struct smmuv3_cmdq *q);
int smmuv3_cmdq_wait_own(struct smmuv3_cmdq *q);
/* Position of CONS. Any thread. */
uint64_t smmuv3_cmdq_load_cons(struct smmuv3_cmdq *q);

/* cmdq_post.c */
/* Fast: never waits for anybody. Order within the call is kept. */
void smmuv3_cmdq_post(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n);
/* Fast: move what waits in the backlog. */
void smmuv3_cmdq_try_flush(struct smmuv3_cmdq *q);
/* Room in the backlog for the answers to what is read now. The thread that polls. */
static inline bool
smmuv3_cmdq_has_room_for_answers(struct smmuv3_cmdq *q)
{
	if (likely(!smmuv3_backlog_has_cmd(&q->backlog)))
		return true;
	smmuv3_cmdq_try_flush(q);
	return !smmuv3_backlog_is_tight(&q->backlog);
}
/* Give it back, after taking care of the backlog. */
void smmuv3_cmdq_disown(struct smmuv3_cmdq *q);
/* Move the backlog up to this position. True when all of that has left it. Owner. */
bool smmuv3_cmdq_flush_backlog(struct smmuv3_cmdq *q, uint64_t end);
/* They have no purpose any more. Owner. */
void smmuv3_cmdq_drop_held(struct smmuv3_cmdq *q);
/* Send the PRI_RESPs that were held back, and hold no more. False when some still are. Owner. */
bool smmuv3_cmdq_release_held(struct smmuv3_cmdq *q);

/* cmdq_sync.c */
/*
 * Issue up to SMMUV3_CHUNK commands and a CMD_SYNC, and wait for it. The SMMU sees the
 * caller's earlier stores before it sees these commands: smmuv3_store_prod(). -EIO when the
 * SMMU refused one: *failed is the first (may be NULL). -ETIMEDOUT. In a state that takes
 * no commands, what conf.ops->closed_error() says. If the first is an ATC_INV,
 * all must be: *failed is 0 when one of them may have got no answer, and it waits while
 * SMMUEN is 0 during a recovery, for then they are ignored [4.5.1].
 */
int smmuv3_cmdq_sync(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n,
		unsigned int *failed);

/* Issue a CMD_SYNC, without waiting: *pos is behind it. False: there is no room. Owner. */
bool smmuv3_cmdq_put_sync(struct smmuv3_cmdq *q, uint64_t *pos);

/* cmdq_error.c */
/*
 * CONS has stood for the time @p timeout, and no endpoint is to blame: with ATC_INVs in front
 * of the next CMD_SYNC the queue is slow, for an endpoint may take minutes to answer. To be
 * called again and again, by one thread at a time; once in a while it reads CONS.
 */
bool smmuv3_cmdq_is_stuck(struct smmuv3_cmdq *q, uint64_t now, uint64_t timeout);
/* GERROR.CMDQ_ERR is active. Owner; does not wait. */
void smmuv3_cmdq_handle_error(struct smmuv3_cmdq *q);
/* Waiting callers are told that the command at this position failed. Owner. */
void smmuv3_cmdq_record_error(struct smmuv3_cmdq *q, uint64_t pos, bool atc);

/* In smmuv3_cmdq.errors: no answer to an ATC_INV. */
#define SMMUV3_CMD_ERROR_ATC	(UINT64_C(1) << 63)

#endif /* SMMUV3_CMDQ_H */
