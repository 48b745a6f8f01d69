/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STATE_H
#define SMMUV3_STATE_H

/**
 * @file
 * The state of an SMMU: one word, read by every part of the driver.
 *
 *	OFF	  start		STARTING	when the command queue is set up
 *	STARTING  start		RUNNING		the first commands are consumed, SMMUEN is 1
 *	STARTING, RUNNING
 *		  stop		STOPPING	commands are executed as before
 *		  queue, check	FAILED		nothing is executed any more
 *	any	  stop, start	OFF		both CR0 and CR0ACK have SMMUEN = 0
 *				UNSAFE		that was not seen in time
 *	UNSAFE	  a question	OFF		it is seen now
 *
 * Only the holder of ctl changes it, but for two: the owner of the command queue takes it
 * to FAILED, and smmuv3_may_translate() from UNSAFE to OFF. Both compare and swap.
 *
 * Invalidations that return 0 without a command. The caller has changed a table or an
 * entry, and finds the SMMU OFF; a start comes at the same time.
 *
 *	caller				start
 *	C1 store to the table		S1 store STARTING
 *	C2 full barrier			S2 full barrier
 *	C3 load OFF: nothing to do	S3 CFGI_ALL, TLBI of everything; then SMMUEN
 *
 * The SMMU's reads behind S3 may miss C1 only if they were ordered before it; C3 missed S1.
 * That is the store buffering pattern, and both barriers forbid it: behind S3 the SMMU finds
 * the new entry, and what it had cached of the old one is gone. A caller that loads STARTING
 * issues its commands, which are executed as soon as CMDQEN is acknowledged. A caller whose
 * commands were dropped with the queue, by a stop that a start has followed, finds another
 * count of starts in the word: the same holds then. Commands that are not waited for are
 * dropped by an owner of the queue, which releases what their caller stored before to the
 * next: to start, which owns the queue when it stores STARTING.
 *
 * devtools/spin/state_off.pml checks this, and fails without either barrier, without the
 * count, and if OFF is stored before SMMUEN is seen 0.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct smmuv3;

enum smmuv3_state {
	SMMUV3_STATE_OFF,	/* SMMUEN was seen 0 */
	SMMUV3_STATE_UNSAFE,	/* told to be off; it may still translate, and write its queues */
	SMMUV3_STATE_FAILED,	/* given up, and told to be off */
	/* From here on commands are executed. */
	SMMUV3_STATE_STARTING,
	SMMUV3_STATE_RUNNING,
	SMMUV3_STATE_STOPPING,
};

/* The state in bits 7:0, above it the number of starts. */
typedef _Atomic uint32_t smmuv3_state_word_t;

#define SMMUV3_STATE_OF(word)	((enum smmuv3_state)((word) & 0xff))
#define SMMUV3_STATE_EPOCH(word) ((word) & ~UINT32_C(0xff))
#define SMMUV3_STATE_ONE_EPOCH	UINT32_C(0x100)

static inline uint32_t
smmuv3_state_load(const smmuv3_state_word_t *word)
{
	/* Acquires the release of smmuv3_state_set(): what led to this state is seen. */
	return atomic_load_explicit(word, memory_order_acquire);
}

static inline enum smmuv3_state
smmuv3_state_get(const smmuv3_state_word_t *word)
{
	return SMMUV3_STATE_OF(smmuv3_state_load(word));
}

/* If not, commands have no purpose. In the owner of the queue nothing but FAILED comes between. */
static inline bool
smmuv3_state_takes_cmds(const smmuv3_state_word_t *word)
{
	return SMMUV3_STATE_OF(atomic_load_explicit(word, memory_order_relaxed)) >=
		SMMUV3_STATE_STARTING;
}

/* By the holder of ctl; whatever it is now. STARTING counts, and is a full barrier (S1, S2). */
void smmuv3_state_set(smmuv3_state_word_t *word, enum smmuv3_state next);
/* STARTING to RUNNING, or any that takes commands to FAILED. False: it was another. */
bool smmuv3_state_set_running(smmuv3_state_word_t *word);
bool smmuv3_state_set_failed(smmuv3_state_word_t *word);
const char *smmuv3_state_name(enum smmuv3_state state);

/*
 * Something may be walked, or used from a cache. Any thread, behind a full barrier. Where the
 * state does not tell it reads CR0ACK, and takes an UNSAFE SMMU that it finds off to OFF.
 */
bool smmuv3_may_translate(struct smmuv3 *s);
/* ... or a queue or a word may be written. For close. */
bool smmuv3_uses_memory(struct smmuv3 *s);

#endif /* SMMUV3_STATE_H */
