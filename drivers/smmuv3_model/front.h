/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_FRONT_H
#define SMMUV3_MODEL_FRONT_H

/*
 * The register and queue front end: registers with their guards, CMDQ, EVTQ, PRIQ,
 * GERROR, interrupts. It knows no translation. What commands mean is asked of a
 * back end through struct smmuv3_fe_ops; events come from it through
 * smmuv3_fe_evt_put().
 *
 *	front end	regs.c cmdq.c fetch.c outq.c evtq.c priq.c irq.c	needs win.c and log.c only
 *	back end	everything else, see internal.h
 *
 * All functions run on the stepping thread, or with stepping excluded. Words
 * that the SMMU owns (ACKs, CONS, PROD, GERROR) are stored with release and
 * software's words (CR0, PROD, CONS, GERRORN) loaded with acquire. The logging
 * accessors of smmuv3_order.h are for drivers and not used here.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

/*
 * Memory windows. Only control calls change them, with stepping excluded.
 */
#define SMMUV3_WIN_MAX 1024

struct smmuv3_win {
	uint64_t addr;
	uint64_t len;
	uint8_t *ptr;
};

struct smmuv3_wins {
	struct smmuv3_win win[SMMUV3_WIN_MAX];	/* sorted; len is 0 from nb on */
	unsigned int nb;
	uint32_t gen;				/* moves when a window goes away */
};

int smmuv3_win_add(struct smmuv3_wins *ws, uint64_t addr, void *ptr, uint64_t len);
int smmuv3_win_del(struct smmuv3_wins *ws, uint64_t addr);
void *smmuv3_win_search(const struct smmuv3_wins *ws, unsigned int *hint, uint64_t addr,
		uint64_t len);

/* Where [addr, addr + len) is, or NULL: an external abort. *hint: the window of last time. */
static inline void *
smmuv3_win_find(const struct smmuv3_wins *ws, unsigned int *hint, uint64_t addr, uint64_t len)
{
	const struct smmuv3_win *w = &ws->win[*hint];
	uint64_t off = addr - w->addr;

	if (__builtin_expect(off < w->len && len <= w->len - off, 1))
		return w->ptr + off;
	return smmuv3_win_search(ws, hint, addr, len);
}

/*
 * A log of mistakes: written by the stepping thread, read by any.
 */
#define SMMUV3_LOG_TEXTS 64
#define SMMUV3_LOG_LEN 160

struct smmuv3_log {
	_Atomic unsigned int nb;	/* all, also those whose text was not kept */
	char text[SMMUV3_LOG_TEXTS][SMMUV3_LOG_LEN];
};

void smmuv3_log_add(struct smmuv3_log *log, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
const char *smmuv3_log_text(const struct smmuv3_log *log, unsigned int i);

/*
 * What the oracle knows of page frames (frames.c). The front end only tells it of reads
 * and writes of queues and MSIs.
 */
#define SMMUV3_FRAME_BUCKETS 4096

struct smmuv3_frame_chunk;

struct smmuv3_frames {
	_Atomic(struct smmuv3_frame_chunk *) bucket[SMMUV3_FRAME_BUCKETS];
	atomic_bool used;	/* some frame was given */
	pthread_mutex_t lock;	/* of threads that add chunks */
	struct smmuv3_log *log;	/* the oracle's */
};

struct smmuv3_frame_use {
	const char *what;
	uint64_t va;
	uint32_t sid;
	uint32_t owner;		/* 0: any */
	bool bypass;		/* not translated, because SMMUEN is 0 */
};

void smmuv3_frames_init(struct smmuv3_frames *fs, struct smmuv3_log *log);
void smmuv3_frames_fini(struct smmuv3_frames *fs);
void smmuv3_frames_judge(struct smmuv3_frames *fs, const struct smmuv3_frame_use *use,
		uint64_t addr, uint64_t len);
void smmuv3_frames_judge_own(struct smmuv3_frames *fs, const char *what, uint32_t sid, uint64_t va,
		uint64_t addr, uint64_t len) __attribute__((cold));

static inline bool
smmuv3_frames_used(const struct smmuv3_frames *fs)
{
	return __builtin_expect(atomic_load_explicit(&fs->used, memory_order_relaxed), 0);
}

/* The SMMU itself is about to read or write [addr, addr + len), perhaps for a device. */
static inline void
smmuv3_frames_own(struct smmuv3_frames *fs, const char *what, uint32_t sid, uint64_t va,
		uint64_t addr, uint64_t len)
{
	if (smmuv3_frames_used(fs))
		smmuv3_frames_judge_own(fs, what, sid, va, addr, len);
}

/*
 * Counters: the stepping thread writes, any thread reads.
 */
struct smmuv3_stats {
	_Atomic uint64_t n[SMMUV3_MODEL_NB_STATS];
};

static inline void
smmuv3_count_add(struct smmuv3_stats *stats, enum smmuv3_model_stat stat, uint64_t n)
{
	_Atomic uint64_t *c = &stats->n[stat];

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			memory_order_relaxed);
}

static inline void
smmuv3_count(struct smmuv3_stats *stats, enum smmuv3_model_stat stat)
{
	smmuv3_count_add(stats, stat, 1);
}

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
void smmuv3_fe_lose(struct smmuv3_fe *f);
/* See what software wrote. Returns the units of work done. @p full: look at every register. */
unsigned int smmuv3_fe_poll_regs(struct smmuv3_fe *f, bool full);
void smmuv3_fe_own(struct smmuv3_fe *f, enum smmuv3_fe_reg reg, uint32_t v);
void smmuv3_fe_gerror(struct smmuv3_fe *f, uint32_t bit);

static inline bool
smmuv3_fe_on(const struct smmuv3_fe *f, uint32_t cr0_bit)
{
	return f->cr0.ack & cr0_bit;
}

static inline bool
smmuv3_fe_gerror_active(const struct smmuv3_fe *f, uint32_t bit)
{
	return (f->gerror ^ f->gerrorn) & bit;
}

/* Use one of a knob's n, if there are any. */
bool smmuv3_fe_knob_take(struct smmuv3_fe *f, enum smmuv3_model_knob knob);

static inline uint32_t
smmuv3_fe_knob(const struct smmuv3_fe *f, enum smmuv3_model_knob knob)
{
	return atomic_load_explicit(&f->knob[knob], memory_order_relaxed);
}

/* cmdq.c: consume up to @p max commands. Returns how many. */
unsigned int smmuv3_fe_commands(struct smmuv3_fe *f, unsigned int max);
void smmuv3_fe_cmdq_on(struct smmuv3_fe *f);

/* The command at a position of the queue. False: its fetch aborts. */
static inline bool
smmuv3_fe_read_slot(struct smmuv3_fe *f, uint32_t pos, struct smmuv3_cmd *cmd)
{
	uint64_t addr = f->cmdq.base + sizeof(*cmd) * smmuv3_q_slot(f->cmdq.log2, pos);
	const uint64_t *dw;

	smmuv3_frames_own(f->frames, "CMDQ", 0, 0, addr, sizeof(*cmd));
	dw = smmuv3_win_find(f->wins, &f->cmdq.win, addr, sizeof(*cmd));
	if (dw == NULL)
		return false;
	cmd->dw[0] = smmuv3_get_dw(&dw[0]);
	cmd->dw[1] = smmuv3_get_dw(&dw[1]);
	return true;
}

/* fetch.c */
bool smmuv3_fe_fetch(struct smmuv3_fe *f, struct smmuv3_cmd *cmd);
bool smmuv3_fe_fetch_passed(struct smmuv3_fe *f);
void smmuv3_fe_fetch_drop(struct smmuv3_fe *f);

/* outq.c */
/* It is switched on: what its registers say. */
void smmuv3_outq_on(struct smmuv3_fe *f, struct smmuv3_outq *q, uint64_t base, uint64_t prod,
		unsigned int max_log2);
void smmuv3_outq_load_cons(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Toggle OVFLG; what filled the queue is shown already. */
void smmuv3_outq_overflow(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Store PROD. Returns the position that software saw before. */
uint32_t smmuv3_outq_show(struct smmuv3_fe *f, struct smmuv3_outq *q);
/* Had software taken all that was before @p before? For interrupts. */
bool smmuv3_outq_was_empty(struct smmuv3_fe *f, struct smmuv3_outq *q, uint32_t before);

static inline bool
smmuv3_outq_full(const struct smmuv3_outq *q)
{
	return smmuv3_q_full(q->log2, q->prod, q->cons);
}

/* Where the next record goes, or NULL: its write aborts. */
static inline void *
smmuv3_outq_slot(struct smmuv3_fe *f, struct smmuv3_outq *q, enum smmuv3_model_knob abort)
{
	uint64_t addr = q->base + (uint64_t)q->entry * smmuv3_q_slot(q->log2, q->prod);

	if (smmuv3_fe_knob_take(f, abort))
		return NULL;
	smmuv3_frames_own(f->frames, q->name, 0, 0, addr, q->entry);
	return smmuv3_win_find(f->wins, &q->win, addr, q->entry);
}

/*
 * Software has the lines of PROD and of the entries: they will be wanted soon, the
 * line of the record so far ahead at the first record of a line. That of PROD is not
 * asked for to be written: software that polls would have it back before the store, and
 * the store would wait for it again.
 */
#define SMMUV3_OUTQ_AHEAD	16
#define SMMUV3_OUTQ_AHEAD_LOG2	6

static inline void
smmuv3_outq_prefetch(const struct smmuv3_fe *f, const struct smmuv3_outq *q, void *slot,
		uint32_t prod_offset)
{
	uint32_t at = smmuv3_q_slot(q->log2, q->prod);

	__builtin_prefetch(smmuv3_reg32(f->regs, prod_offset));
	if (q->log2 >= SMMUV3_OUTQ_AHEAD_LOG2 && (at * q->entry) % 64 == 0)
		smmuv3_prefetch_write((uint8_t *)slot - (size_t)q->entry * at + (size_t)q->entry *
				smmuv3_q_slot(q->log2, q->prod + SMMUV3_OUTQ_AHEAD));
}

/* evtq.c */
enum smmuv3_fe_put {
	SMMUV3_FE_PUT_OK,
	SMMUV3_FE_PUT_UNWRITABLE,	/* not taken: try again when writable */
	SMMUV3_FE_PUT_ABORTED,		/* the write aborted: the record is lost */
};
bool smmuv3_fe_evt_writable(struct smmuv3_fe *f);
enum smmuv3_fe_put smmuv3_fe_evt_put(struct smmuv3_fe *f, const struct smmuv3_evt *evt);
/* A record that is lost if it cannot be written. */
void smmuv3_fe_evt_report(struct smmuv3_fe *f, const struct smmuv3_evt *evt);
void smmuv3_fe_evt_publish(struct smmuv3_fe *f);
void smmuv3_fe_evt_abort(struct smmuv3_fe *f);
void smmuv3_fe_evtq_on(struct smmuv3_fe *f);

/* priq.c */
enum smmuv3_fe_ppr {
	SMMUV3_FE_PPR_PUT,
	SMMUV3_FE_PPR_OVERFLOW,	/* discarded: overflow is active, perhaps from now on */
	SMMUV3_FE_PPR_OFF,	/* discarded: disabled, or PRIQ_ABT_ERR is active */
	SMMUV3_FE_PPR_ABORTED,	/* the write aborted */
	SMMUV3_FE_PPR_LOST,	/* the same, but found out when the record counted as written */
};
enum smmuv3_fe_ppr smmuv3_fe_ppr_put(struct smmuv3_fe *f, const struct smmuv3_ppr *ppr);
/* Did software free the entry of record number @p nb (as f->nb_pprs counts) by CONS? */
bool smmuv3_fe_ppr_freed(struct smmuv3_fe *f, uint64_t nb);
void smmuv3_fe_priq_show(struct smmuv3_fe *f);
void smmuv3_fe_priq_on(struct smmuv3_fe *f);

static inline void
smmuv3_fe_priq_publish(struct smmuv3_fe *f)
{
	if (f->priq.prod != f->priq.shown)
		smmuv3_fe_priq_show(f);
}

/* irq.c */
bool smmuv3_fe_msi(struct smmuv3_fe *f, uint64_t addr, uint32_t data);
void smmuv3_fe_wire(struct smmuv3_fe *f, enum smmuv3_model_irq irq);
void smmuv3_fe_levels(struct smmuv3_fe *f);
void smmuv3_fe_irq_evtq(struct smmuv3_fe *f);
void smmuv3_fe_irq_priq(struct smmuv3_fe *f);
void smmuv3_fe_irq_gerror(struct smmuv3_fe *f);

#endif /* SMMUV3_MODEL_FRONT_H */
