/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_FRONT_H
#define SMMUV3_MODEL_FRONT_H

/*
 * The register and queue front end: registers with their guards, CMDQ, EVTQ, PRIQ,
 * GERROR, interrupts. It knows no translation. What commands mean is asked of a
 * back end through struct smmuv3_fe_ops; events come from it through
 * smmuv3_fe_evt_put(). This header has what its files share and the registers (regs.c).
 *
 *	front end	regs.c gerror.c cmdq.c fetch.c outq.c evtq.c priq.c
 *			irq.c; needs win.c, log.c and frames.c only
 *	back end	everything else, see model.h
 *
 * All functions run on the stepping thread, or with stepping excluded. Words
 * that the SMMU owns (ACKs, CONS, PROD, GERROR) are stored with release and
 * software's words (CR0, PROD, CONS, GERRORN) loaded with acquire. The logging
 * accessors of smmuv3_order.h are for drivers and not used here.
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

enum smmuv3_fe_sync {
	SMMUV3_FE_SYNC_DONE,
	SMMUV3_FE_SYNC_WAIT,
	SMMUV3_FE_SYNC_FAILED,
};

/* By seed. */
static inline uint32_t
smmuv3_xorshift(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

/* What the front end asks of the back end. */
struct smmuv3_fe_ops {
	/* A legal command other than SYNC. Cannot fail: what is illegal was found before. */
	void (*command)(void *be, const struct smmuv3_cmd *cmd);
	/*
	 * All commands so far take full effect now: a SYNC is about to complete. It waits
	 * while an ATC has not answered, and fails when that takes too long.
	 */
	enum smmuv3_fe_sync (*sync)(void *be);
	/* SMMUEN went to 0: stalled transactions end. */
	void (*smmu_off)(void *be);
	/* SMMUEN went to 1: CR2 and STRTAB_BASE are in effect. */
	void (*smmu_on)(void *be);
	/* PROD is about to pass the records put since the last time. */
	void (*publish)(void *be);
	/* The same of the PRIQ. */
	void (*publish_pri)(void *be);
};

/* Registers that a driver may not write always, and those the SMMU owns: regs.c. */
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

/* One register that is changed by writing and complete when acknowledged. */
struct smmuv3_fe_ctrl {
	uint32_t value;		/* last value accepted */
	uint32_t ack;
	uint32_t wait;		/* steps until the next bit is acknowledged */
};

/* A queue that the SMMU writes: outq.c. */
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
	uint32_t cons;		/* last seen, with OVACKFLG */
	unsigned int win;	/* hint */
	bool bad_cons;		/* reported already */
};

#define SMMUV3_FETCH_AHEAD 16

struct smmuv3_fe_ids {
	uint32_t idr0, idr1, idr3, idr5;
};

struct smmuv3_fe {
	uint8_t *regs;
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
	uint64_t nb_pprs;	/* records put into the PRIQ, ever */

	/* From here on all is lost with the power. What the registers hold for the SMMU: */
	uint64_t val[SMMUV3_FE_NB_REGS];
	struct smmuv3_fe_ctrl cr0;
	struct smmuv3_fe_ctrl irq_ctrl;
	uint32_t gbpa;
	uint32_t gbpa_next;	/* with UPDATE set while one is under way, or 0 */
	uint32_t gbpa_wait;
	uint32_t gerror;
	uint32_t gerrorn;
	bool sfm;

	struct {
		uint64_t base;
		uint32_t log2;
		uint32_t prod;		/* last seen */
		uint32_t cons;
		unsigned int win;	/* hint */
		bool stopped;		/* PROD made no sense: until CMDQEN is toggled */
	} cmdq;

	struct {
		struct smmuv3_cmd cmd[SMMUV3_FETCH_AHEAD];	/* from CONS on: copies */
		unsigned int at, nb;
	} fetch;

	struct smmuv3_outq evtq;
	struct smmuv3_outq priq;
	unsigned int evtq_abort;	/* steps until an abort of an event write is seen */
	bool pri_over;		/* overflow: nothing is written until it is acknowledged */
	bool pri_last;		/* one put since its PROD was stored has Last set */
	unsigned int msi_win;
};

/* regs.c */
/* Registers at reset; @p unknown: with anything in those whose reset is UNKNOWN. */
void smmuv3_fe_reset(struct smmuv3_fe *f, bool unknown);
/* No power: all is forgotten, and transactions abort. */
void smmuv3_fe_forget(struct smmuv3_fe *f);
/* See what software wrote. Returns the units of work done. @p full: look at every register. */
unsigned int smmuv3_fe_poll_regs(struct smmuv3_fe *f, bool full);
void smmuv3_fe_store_reg(struct smmuv3_fe *f, enum smmuv3_fe_reg reg, uint32_t v);

static inline bool
smmuv3_fe_is_on(const struct smmuv3_fe *f, uint32_t cr0_bit)
{
	return f->cr0.ack & cr0_bit;
}

/* Use one of a knob's n, if there are any. */
bool smmuv3_fe_knob_take(struct smmuv3_fe *f, enum smmuv3_model_knob knob);

static inline uint32_t
smmuv3_fe_knob(const struct smmuv3_fe *f, enum smmuv3_model_knob knob)
{
	return atomic_load_explicit(&f->knob[knob], memory_order_relaxed);
}

#endif /* SMMUV3_MODEL_FRONT_H */
