/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STATE_H
#define SMMUV3_STATE_H

/**
 * @file
 * The state of an SMMU: one word that every part of the driver reads.
 *
 *	OFF	  start		STARTING	when the command queue is set up
 *	STARTING  start		RUNNING		the first commands are consumed, SMMUEN is 1
 *	STARTING, RUNNING
 *		  stop		STOPPING	commands are executed as before
 *		  queue, check	FAILED		no command is executed any more
 *	any	  stop, start	OFF		CR0 and CR0ACK both have SMMUEN = 0
 *				UNSAFE		not so within the timeout
 *	UNSAFE	  a query	OFF		both have it now
 *
 * The holder of ctl changes the state, with two exceptions: the owner of the command queue
 * changes it to FAILED, and smmuv3_may_translate() from UNSAFE to OFF. Both use
 * compare-and-swap.
 *
 * Invalidations that return 0 without a command. The caller has changed a table or an
 * entry, and loads OFF; a start runs at the same time.
 *
 *	caller				start
 *	C1 store to the table		S1 store STARTING
 *	C2 full barrier			S2 full barrier
 *	C3 load OFF: nothing to do	S3 CFGI_ALL, TLBI of everything; then SMMUEN
 *
 * The SMMU's reads after S3 may miss C1 only if they were ordered before it; C3 missed S1.
 * This is the store buffering pattern, and both barriers forbid it: after S3 the SMMU reads
 * the new entry, and its cached copies of the old one are gone. A caller that loads STARTING
 * issues its commands, and they are executed as soon as CMDQEN is acknowledged. The commands
 * of a caller may be dropped with the queue, by a stop that a start has followed. Then the
 * caller loads another epoch (the number of starts), and the same argument holds. The owner
 * of the queue drops commands that no caller waits for, and releases what the caller stored
 * before them to the next owner: to start, which owns the queue when it stores STARTING.
 *
 * A suspend is a stop, and a resume is a start: the same argument makes good what was not issued
 * while the SMMU was suspended. A map or an unmap thus pays a load of the state, and no lock and
 * no store that other threads see.
 *
 * No access of a register after a stop: a thread that accesses one holds ctl, or owns a command
 * queue and has loaded, as its owner, a state that is not OFF. A stop holds ctl, stores OFF as the
 * owner of the CMDQ, and after that owns each ECMDQ, to disable it: a later owner loads
 * OFF. devtools/spin/suspend.pml checks this, with one queue.
 *
 * A caller that owns the queue, and finds that it takes commands, needs no barrier: start owns the
 * queue while it stores STARTING, so that the caller loads the epoch of its own commands, and their
 * PROD store orders C1.
 *
 * devtools/spin/state_off.pml checks the rest. It fails without either barrier, without the
 * epoch, if OFF is stored before SMMUEN reads 0, and if start does not own the queue.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct smmuv3;

enum smmuv3_state {
	SMMUV3_STATE_OFF,	/* SMMUEN reads 0 */
	SMMUV3_STATE_UNSAFE,	/* SMMUEN cleared, not acknowledged; it may still translate */
	SMMUV3_STATE_FAILED,	/* given up; SMMUEN was cleared */
	/* Commands are executed in these states. */
	SMMUV3_STATE_STARTING,
	SMMUV3_STATE_RUNNING,
	SMMUV3_STATE_STOPPING,
};

/* The state in bits 7:0; above it the epoch, which counts starts. */
typedef _Atomic uint32_t smmuv3_state_word_t;

#define SMMUV3_STATE_OF(word)	((enum smmuv3_state)((word) & 0xff))
#define SMMUV3_STATE_EPOCH(word) ((word) & ~UINT32_C(0xff))
#define SMMUV3_STATE_ONE_EPOCH	UINT32_C(0x100)

static inline uint32_t
smmuv3_state_load(const smmuv3_state_word_t *word)
{
	/* Acquires the release of smmuv3_state_set() and with it the stores before the change. */
	return atomic_load_explicit(word, memory_order_acquire);
}

static inline enum smmuv3_state
smmuv3_state_get(const smmuv3_state_word_t *word)
{
	return SMMUV3_STATE_OF(smmuv3_state_load(word));
}

/*
 * If false, commands have no purpose. While a thread owns the queue, the state changes to FAILED
 * at most.
 */
static inline bool
smmuv3_state_takes_cmds(const smmuv3_state_word_t *word)
{
	return SMMUV3_STATE_OF(atomic_load_explicit(word, memory_order_relaxed)) >=
		SMMUV3_STATE_STARTING;
}

/* Holder of ctl, in any state. STARTING increments the epoch and is a full barrier (S1, S2). */
void smmuv3_state_set(smmuv3_state_word_t *word, enum smmuv3_state next);
/* STARTING to RUNNING, or any state that takes commands to FAILED. False: it was another. */
bool smmuv3_state_set_running(smmuv3_state_word_t *word);
bool smmuv3_state_set_failed(smmuv3_state_word_t *word);
const char *smmuv3_state_name(enum smmuv3_state state);

/*
 * The SMMU may walk tables or use cached entries. The owner of the command queue, after a full
 * barrier. Where the state does not tell, this reads CR0ACK; it changes UNSAFE to OFF when SMMUEN
 * reads 0.
 */
bool smmuv3_may_translate(struct smmuv3 *s);
/* The same, or the SMMU may write a queue or an MSI word. For close. */
bool smmuv3_uses_memory(struct smmuv3 *s);

#endif /* SMMUV3_STATE_H */
