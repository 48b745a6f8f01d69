/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_FRONT_H
#define SMMUV3_MODEL_FRONT_H

/*
 * The front end: registers and queues. It does not translate. It passes commands to a back
 * end through struct smmuv3_fe_ops, and the back end passes event records to
 * smmuv3_fe_evt_put(). There are two back ends: the model's (model.c), and a VMM's (front.c).
 * Beside these files it needs win.c, log.c, frames.c, idr.c and power.c only.
 *
 *	regs.c		registers: reset values and guards
 *	cr0.c gbpa.c	CR0, IRQ_CTRL and their acknowledgement; GBPA
 *	gerror.c	GERROR and GERRORN
 *	cmdq.c fetch.c	command queues: legality, SYNC, errors; fetches ahead
 *	ecmdq.c		ECMDQs: registers, enable, errors, turns
 *	outq.c		common to the EVTQ and the PRIQ
 *	evtq.c priq.c	the EVTQ and the PRIQ
 *	irq.c		MSIs and wired interrupts
 *
 * All functions run on the stepping thread, or with stepping excluded. Words that the SMMU
 * writes (ACKs, CONS, PROD, GERROR) are stored with release. Words that software writes
 * (CR0, PROD, CONS, GERRORN) are loaded with acquire. The logging accessors of
 * smmuv3_order.h are for drivers and not used here.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "model_frames.h"
#include "model_log.h"
#include "model_stats.h"
#include "model_win.h"
#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

#define SMMUV3_FE_MAX_RUN 64	/* commands that a back end gets at a time */

enum smmuv3_fe_sync {
	SMMUV3_FE_SYNC_DONE,
	SMMUV3_FE_SYNC_WAIT,	/* an ATC has not answered */
	SMMUV3_FE_SYNC_FAILED,	/* an ATC timed out: CERROR_ATC_INV_SYNC */
};

/* The next random number. */
static inline uint32_t
smmuv3_xorshift(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

/* The operations of the back end. */
struct smmuv3_fe_ops {
	/*
	 * Execute a command other than SYNC. The front end has checked that it is legal.
	 * @p queue: 0 for the CMDQ, n + 1 for ECMDQ n.
	 */
	void (*command)(void *be, unsigned int queue, const struct smmuv3_cmd *cmd);
	/*
	 * Instead of command, unless NULL: execute up to @p n commands in order. Returns those
	 * executed; if fewer, *err is the error of the next.
	 */
	unsigned int (*commands)(void *be, const struct smmuv3_cmd *cmds, unsigned int n,
			enum smmuv3_cerror *err);
	/*
	 * A SYNC completes if the result is DONE: all earlier commands of its queue have full
	 * effect, not those of others [3.5.6.1].
	 */
	enum smmuv3_fe_sync (*sync)(void *be, unsigned int queue);
	/* SMMUEN changed to 0: end stalled transactions. */
	void (*smmu_off)(void *be);
	/* SMMUEN changed to 1: CR2 and STRTAB_BASE take effect. */
	void (*smmu_on)(void *be);
	/* Before the store of EVTQ PROD that makes the records put so far visible. */
	void (*publish)(void *be);
	/* The same for the PRIQ. */
	void (*publish_pri)(void *be);
};

/* Registers of the SMMU, and those that a driver may write only at times. */
enum smmuv3_fe_reg {
	SMMUV3_FE_IDR0, SMMUV3_FE_IDR1, SMMUV3_FE_IDR2, SMMUV3_FE_IDR3, SMMUV3_FE_IDR4,
	SMMUV3_FE_IDR5, SMMUV3_FE_IIDR, SMMUV3_FE_AIDR,
	SMMUV3_FE_CR0ACK, SMMUV3_FE_CR1, SMMUV3_FE_CR2, SMMUV3_FE_STATUSR, SMMUV3_FE_AGBPA,
	SMMUV3_FE_IRQ_CTRLACK, SMMUV3_FE_GERROR,
	SMMUV3_FE_GERROR_IRQ_CFG0, SMMUV3_FE_GERROR_IRQ_CFG1, SMMUV3_FE_GERROR_IRQ_CFG2,
	SMMUV3_FE_STRTAB_BASE, SMMUV3_FE_STRTAB_BASE_CFG,
	SMMUV3_FE_CMDQ_BASE, SMMUV3_FE_CMDQ_CONS,
	SMMUV3_FE_EVENTQ_BASE, SMMUV3_FE_EVENTQ_PROD,
	SMMUV3_FE_EVENTQ_IRQ_CFG0, SMMUV3_FE_EVENTQ_IRQ_CFG1, SMMUV3_FE_EVENTQ_IRQ_CFG2,
	SMMUV3_FE_PRIQ_BASE, SMMUV3_FE_PRIQ_PROD, SMMUV3_FE_PRIQ_CONS,
	SMMUV3_FE_PRIQ_IRQ_CFG0, SMMUV3_FE_PRIQ_IRQ_CFG1, SMMUV3_FE_PRIQ_IRQ_CFG2,
	SMMUV3_FE_ALIAS_EVENTQ_PROD, SMMUV3_FE_ALIAS_EVENTQ_CONS,
	SMMUV3_FE_NB_REGS,
};

/* A control register with an acknowledge register: CR0, IRQ_CTRL. */
struct smmuv3_fe_ctrl {
	uint32_t value;		/* last accepted value */
	uint32_t ack;
	uint32_t wait;		/* steps until the next bit is acknowledged */
};

/* A queue that the SMMU writes. */
struct smmuv3_outq {
	const char *name;
	uint32_t entry;		/* bytes */
	uint32_t cons_offset;
	enum smmuv3_fe_reg prod_reg;
	uint32_t log2;
	uint64_t base;
	uint32_t prod;		/* position of the next record */
	uint32_t shown;		/* position that software sees */
	uint32_t ovflg;
	uint32_t cons;		/* last value read, with OVACKFLG */
	unsigned int win;	/* of the last access: a hint for smmuv3_win_find() */
	bool bad_cons;		/* a CONS out of range is reported */
};

#define SMMUV3_FETCH_AHEAD 16

struct smmuv3_fe_ids {
	uint32_t idr0, idr1, idr3, idr5, idr6;
};

/* A command queue: the CMDQ, or an ECMDQ. */
struct smmuv3_fe_cmdq {
	const char *name;
	unsigned int id;	/* 0: the CMDQ; n + 1: ECMDQ n */
	uint32_t prod_offset;
	uint64_t base;
	uint32_t log2;
	uint32_t prod;		/* last value read */
	uint32_t cons;
	unsigned int win;	/* of the last access: a hint for smmuv3_win_find() */
	bool stopped;		/* PROD was out of range: until the queue is disabled */
	struct {
		struct smmuv3_cmd cmd[SMMUV3_FETCH_AHEAD];	/* the entries from CONS on */
		unsigned int at, nb;
	} fetch;
};

#define SMMUV3_ECMDQS_LOG2	8	/* at most, in all control pages */
#define SMMUV3_ECMDQS_MAX	(1u << SMMUV3_ECMDQS_LOG2)

struct smmuv3_fe_ecmdq;

struct smmuv3_fe {
	uint8_t *regs, *own_regs;	/* own_regs: NULL if regs is the caller's memory */
	const struct smmuv3_fe_ops *ops;
	void *be;
	struct smmuv3_wins *wins;
	struct smmuv3_log *log;
	struct smmuv3_stats *stats;
	struct smmuv3_frames *frames;
	uint32_t ack_delay;
	uint32_t choices, harsh;
	uint64_t *rand;		/* the model's */
	_Atomic uint32_t knob[SMMUV3_MODEL_NB_KNOBS];
	_Atomic int irq_fd[SMMUV3_MODEL_NB_IRQS];
	atomic_bool irq_masked[SMMUV3_MODEL_NB_IRQS];	/* levels: signalled, not unmasked */

	struct smmuv3_fe_ids ids;
	size_t regs_size;
	struct smmuv3_fe_ecmdq *ecmdq;	/* NULL without ECMDQs */
	unsigned int nb_ecmdqs;
	uint64_t nb_pprs;	/* records put into the PRIQ since creation */

	/* The fields from here on are lost with the power. */
	uint64_t val[SMMUV3_FE_NB_REGS];
	struct smmuv3_fe_ctrl cr0;
	struct smmuv3_fe_ctrl irq_ctrl;
	uint32_t gbpa;
	uint32_t gbpa_next;	/* the value of an update in progress, with UPDATE set, or 0 */
	uint32_t gbpa_wait;
	uint32_t gerror;
	uint32_t gerrorn;
	bool sfm;

	struct smmuv3_fe_cmdq cmdq;
	uint16_t ecmdq_on[SMMUV3_ECMDQS_MAX];	/* enabled, or about to be disabled */
	unsigned int nb_ecmdqs_on;
	unsigned int turn;	/* the queue that is served: 0: the CMDQ; n + 1: ecmdq_on[n] */
	unsigned int turn_used;	/* commands of this turn that are consumed */

	struct smmuv3_outq evtq;
	struct smmuv3_outq priq;
	struct smmuv3_evt evtq_last;	/* the record put last; id 0: none */
	unsigned int evtq_abort;	/* steps until EVENTQ_ABT_ERR of a late abort; 0: none */
	bool pri_over;		/* an overflow is not acknowledged: no record is written */
	bool pri_last;		/* a record put since the last store of PROD has Last set */
	unsigned int msi_win;
};

/* Reset all registers. @p unknown: those with an UNKNOWN reset value get a random one. */
void smmuv3_fe_reset(struct smmuv3_fe *f, bool unknown);
/* The power is off: clear the registers. Transactions abort. */
void smmuv3_fe_forget(struct smmuv3_fe *f);
/* Process writes of software. Returns the units of work done. @p full: check all registers. */
unsigned int smmuv3_fe_poll_regs(struct smmuv3_fe *f, bool full);
/* Store a register that the SMMU writes, with release. */
void smmuv3_fe_store_reg(struct smmuv3_fe *f, enum smmuv3_fe_reg reg, uint32_t v);

/* Report and undo writes of registers that software may not write now. */
void smmuv3_fe_check_guards(struct smmuv3_fe *f);

static inline bool
smmuv3_fe_has_feature(const struct smmuv3_fe *f, uint64_t idr0_bit)
{
	return f->val[SMMUV3_FE_IDR0] & idr0_bit;
}

static inline bool
smmuv3_fe_is_on(const struct smmuv3_fe *f, uint32_t cr0_bit)
{
	return f->cr0.ack & cr0_bit;
}

/* Use up one of the n errors of a knob. False: there is none. */
bool smmuv3_fe_knob_take(struct smmuv3_fe *f, enum smmuv3_model_knob knob);

static inline uint32_t
smmuv3_fe_knob(const struct smmuv3_fe *f, enum smmuv3_model_knob knob)
{
	return atomic_load_explicit(&f->knob[knob], memory_order_relaxed);
}

#endif /* SMMUV3_MODEL_FRONT_H */
