/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ECMDQs: registers, enable and error handshakes, turns [3.5.6, 6.2.5, 6.3.107 to 6.3.109]. */

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front.h"
#include "model_cmdq.h"
#include "model_ecmdq.h"
#include "model_log.h"

/* Commands of a queue until the next queue's turn. */
#define TURN		8

#define PROD_EN		((uint32_t)SMMUV3_ECMDQ_PROD_EN)
#define PROD_ERRACK	((uint32_t)SMMUV3_ECMDQ_PROD_ERRACK)
#define CONS_ENACK	((uint32_t)SMMUV3_ECMDQ_CONS_ENACK)
#define CONS_ERR	((uint32_t)SMMUV3_ECMDQ_CONS_ERR)
#define CONS_REASON	((uint32_t)SMMUV3_ECMDQ_CONS_ERR_REASON)
/* What software may write into CONS while the queue is disabled. */
#define CONS_SOFTWARE	((uint32_t)SMMUV3_Q_IDX | CONS_ERR | CONS_REASON)
#define BASE_MASK	(SMMUV3_Q_BASE_LOG2SIZE | SMMUV3_Q_BASE_ADDR | SMMUV3_Q_BASE_RWA)

/* EN and ENACK, ERR and ERRACK have the same bit each. */
static_assert(SMMUV3_ECMDQ_PROD_EN == SMMUV3_ECMDQ_CONS_ENACK, "[6.3.108, 6.3.109]");
static_assert(SMMUV3_ECMDQ_PROD_ERRACK == SMMUV3_ECMDQ_CONS_ERR, "[6.3.108, 6.3.109]");

static inline struct smmuv3_fe_ecmdq *
ecmdq_of(struct smmuv3_fe_cmdq *q)
{
	static_assert(offsetof(struct smmuv3_fe_ecmdq, q) == 0, "the cast needs this");
	return (struct smmuv3_fe_ecmdq *)q;
}

static inline bool
is_moving(const struct smmuv3_fe_ecmdq *e)
{
	return (e->prod ^ e->cons) & PROD_EN;
}

static inline bool
is_error_active(const struct smmuv3_fe_ecmdq *e)
{
	return (e->prod ^ e->cons) & PROD_ERRACK;
}

static void
store_cons(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e, uint32_t cons)
{
	e->cons = cons;
	/* Release: what CONS reports is visible before it. */
	atomic_store_explicit(smmuv3_reg32(f->regs, e->offset + SMMUV3_ECMDQ_CONS), cons,
			memory_order_release);
}

void
smmuv3_fe_ecmdq_store_cons(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q)
{
	struct smmuv3_fe_ecmdq *e = ecmdq_of(q);

	store_cons(f, e, q->cons | (e->cons & (CONS_ENACK | CONS_ERR)));
}

/* RD, ERR_REASON and ERR change together, and before GERROR [3.5.6.3]. */
void
smmuv3_fe_ecmdq_raise(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, enum smmuv3_cerror err)
{
	struct smmuv3_fe_ecmdq *e = ecmdq_of(q);

	store_cons(f, e, q->cons | ((e->cons & (CONS_ENACK | CONS_ERR)) ^ CONS_ERR) |
			(uint32_t)SMMUV3_PUT(SMMUV3_ECMDQ_CONS_ERR_REASON, err));
}

size_t
smmuv3_fe_get_ecmdq_pages_size(const struct smmuv3_fe *f)
{
	if (!(f->ids.idr1 & SMMUV3_IDR1_ECMDQ))
		return 0;
	return (size_t)SMMUV3_PAGE_SIZE << SMMUV3_GET(SMMUV3_IDR6_LOG2NUMP, f->ids.idr6);
}

int
smmuv3_fe_init_ecmdqs(struct smmuv3_fe *f)
{
	unsigned int per_page = SMMUV3_GET(SMMUV3_IDR6_LOG2NUMQ, f->ids.idr6);

	if (!(f->ids.idr1 & SMMUV3_IDR1_ECMDQ))
		return 0;
	f->nb_ecmdqs = 1u << (per_page + SMMUV3_GET(SMMUV3_IDR6_LOG2NUMP, f->ids.idr6));
	f->ecmdq = calloc(f->nb_ecmdqs, sizeof(*f->ecmdq));
	if (f->ecmdq == NULL)
		return -1;
	for (unsigned int i = 0; i < f->nb_ecmdqs; i++) {
		struct smmuv3_fe_ecmdq *e = &f->ecmdq[i];

		snprintf(e->name, sizeof(e->name), "ECMDQ%u", i);
		/* The queues are spaced evenly, and the pages adjoin: [6.2.5, 6.3.49]. */
		e->offset = SMMUV3_REGS_SIZE + i * (SMMUV3_PAGE_SIZE >> per_page);
		e->q.name = e->name;
		e->q.id = i + 1;
		e->q.prod_offset = e->offset + SMMUV3_ECMDQ_PROD;
	}
	return 0;
}

/* The read-only registers of control page @p n. */
struct page_regs {
	uint64_t base;
	uint32_t cfg, status;
};

static struct page_regs
make_page_regs(unsigned int n)
{
	return (struct page_regs){
		.base = (SMMUV3_REGS_SIZE + (uint64_t)n * SMMUV3_PAGE_SIZE) |
			SMMUV3_PUT(SMMUV3_CMDQ_CP_BASE_CMDQGS, SMMUV3_CMDQGS_64K) |
			SMMUV3_CMDQ_CP_BASE_PRESET,
		.cfg = (uint32_t)SMMUV3_CMDQ_CP_EN,
		.status = (uint32_t)SMMUV3_CMDQ_CP_EN,
	};
}

void
smmuv3_fe_reset_ecmdqs(struct smmuv3_fe *f, bool unknown)
{
	unsigned int pages = smmuv3_fe_get_ecmdq_pages_size(f) / SMMUV3_PAGE_SIZE;

	atomic_store_explicit(smmuv3_reg32(f->regs, SMMUV3_IDR6), f->ids.idr6,
			memory_order_release);
	for (unsigned int n = 0; n < pages; n++) {
		struct page_regs regs = make_page_regs(n);

		atomic_store_explicit(smmuv3_reg64(f->regs, SMMUV3_CMDQ_CP_BASE(n)), regs.base,
				memory_order_release);
		atomic_store_explicit(smmuv3_reg32(f->regs, SMMUV3_CMDQ_CP_CFG(n)), regs.cfg,
				memory_order_release);
		atomic_store_explicit(smmuv3_reg32(f->regs, SMMUV3_CMDQ_CP_STATUS(n)),
				regs.status, memory_order_release);
	}
	for (unsigned int i = 0; i < f->nb_ecmdqs; i++) {
		struct smmuv3_fe_ecmdq *e = &f->ecmdq[i];

		e->base = 0;
		e->prod = e->cons = e->wait = 0;
		smmuv3_fe_fetch_drop(&e->q);
		if (!unknown)
			continue;
		/* EN, ERRACK, ENACK and ERR reset to 0. */
		e->prod = smmuv3_xorshift(f->rand) & SMMUV3_Q_IDX;
		atomic_store_explicit(smmuv3_reg64(f->regs, e->offset + SMMUV3_ECMDQ_BASE),
				((uint64_t)smmuv3_xorshift(f->rand) << 32 |
				 smmuv3_xorshift(f->rand)) & BASE_MASK, memory_order_relaxed);
		atomic_store_explicit(smmuv3_reg32(f->regs, e->offset + SMMUV3_ECMDQ_PROD),
				e->prod, memory_order_relaxed);
		store_cons(f, e, smmuv3_xorshift(f->rand) & CONS_SOFTWARE & ~CONS_ERR);
	}
}

/* Software may not write this register now: report it if it did, and restore the value. */
static void
guard32(struct smmuv3_fe *f, uint32_t offset, uint32_t want, const char *name, const char *reg,
		const char *why)
{
	uint32_t v = atomic_load_explicit(smmuv3_reg32(f->regs, offset), memory_order_relaxed);

	if (v == want)
		return;
	smmuv3_log_add(f->log, "%s%s written %s", name, reg, why);
	atomic_compare_exchange_strong_explicit(smmuv3_reg32(f->regs, offset), &v, want,
			memory_order_relaxed, memory_order_relaxed);
}

static void
guard64(struct smmuv3_fe *f, uint32_t offset, uint64_t want, const char *name, const char *reg,
		const char *why)
{
	uint64_t v = atomic_load_explicit(smmuv3_reg64(f->regs, offset), memory_order_relaxed);

	if (v == want)
		return;
	smmuv3_log_add(f->log, "%s%s written %s", name, reg, why);
	atomic_compare_exchange_strong_explicit(smmuv3_reg64(f->regs, offset), &v, want,
			memory_order_relaxed, memory_order_relaxed);
}

static void
check_queue_guards(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e)
{
	uint32_t at = e->offset + SMMUV3_ECMDQ_CONS, v;

	if ((e->prod | e->cons) & PROD_EN) {
		guard64(f, e->offset + SMMUV3_ECMDQ_BASE, e->base, e->name, "_BASE",
				"while the queue is enabled");
		guard32(f, at, e->cons, e->name, "_CONS", "while the queue is enabled");
		return;
	}
	v = atomic_load_explicit(smmuv3_reg32(f->regs, at), memory_order_relaxed);
	if (v & CONS_ENACK)
		guard32(f, at, v & ~CONS_ENACK, e->name, "_CONS.ENACK", "by software");
}

static void
check_page_guards(struct smmuv3_fe *f)
{
	unsigned int pages = smmuv3_fe_get_ecmdq_pages_size(f) / SMMUV3_PAGE_SIZE;
	const char *why = "although it is read-only";

	guard32(f, SMMUV3_IDR6, f->ids.idr6, "IDR6", "", why);
	for (unsigned int n = 0; n < pages; n++) {
		struct page_regs regs = make_page_regs(n);

		guard64(f, SMMUV3_CMDQ_CP_BASE(n), regs.base, "CMDQ_CONTROL_PAGE", "_BASE", why);
		guard32(f, SMMUV3_CMDQ_CP_CFG(n), regs.cfg, "CMDQ_CONTROL_PAGE", "_CFG", why);
		guard32(f, SMMUV3_CMDQ_CP_STATUS(n), regs.status, "CMDQ_CONTROL_PAGE", "_STATUS",
				why);
	}
}

static void
begin_queue(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e)
{
	smmuv3_fe_cmdq_begin(f, &e->q, e->base, e->cons);
	store_cons(f, e, e->cons | CONS_ENACK);
	if (is_error_active(e))
		smmuv3_log_add(f->log, "%s enabled while ERRACK differs from ERR", e->name);
}

static void
end_queue(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e)
{
	unsigned int i = 0;

	smmuv3_fe_fetch_drop(&e->q);
	store_cons(f, e, e->cons & ~CONS_ENACK);
	while (&f->ecmdq[f->ecmdq_on[i]] != e)
		i++;
	f->ecmdq_on[i] = f->ecmdq_on[--f->nb_ecmdqs_on];
}

/* EN has changed: acknowledge it when its time has come. Returns the units of work done. */
static unsigned int
tick(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e)
{
	if (smmuv3_fe_knob(f, SMMUV3_MODEL_KNOB_NO_ACK))
		return 0;
	if (e->wait > 0)
		e->wait--;
	else if (e->prod & PROD_EN)
		begin_queue(f, e);
	else
		end_queue(f, e);
	return 1;
}

/* Software wrote @p v, which changes EN. */
static unsigned int
change_enable(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e, uint32_t v)
{
	/* Software wrote other registers before: check those against the old EN. */
	smmuv3_fe_check_guards(f);
	check_queue_guards(f, e);
	e->prod = v;
	e->wait = f->ack_delay;
	if (v & PROD_EN) {
		smmuv3_reg64_t *base = smmuv3_reg64(f->regs, e->offset + SMMUV3_ECMDQ_BASE);

		e->base = atomic_load_explicit(base, memory_order_relaxed) & BASE_MASK;
		atomic_store_explicit(base, e->base, memory_order_relaxed);
		store_cons(f, e, atomic_load_explicit(smmuv3_reg32(f->regs, e->offset +
				SMMUV3_ECMDQ_CONS), memory_order_relaxed) & CONS_SOFTWARE);
		f->ecmdq_on[f->nb_ecmdqs_on++] = (uint16_t)(e->q.id - 1);
	}
	return tick(f, e);
}

static unsigned int
change_errack(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e, uint32_t v)
{
	if (!is_error_active(e))
		smmuv3_log_add(f->log, "%s_PROD.ERRACK changed while no error is active", e->name);
	e->prod = v;
	/* With an error software may move PROD back to CONS, in the same store too. */
	e->q.prod = e->q.cons;
	return 1;
}

static unsigned int
poll_queue(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e)
{
	/* Acquire: the registers and commands that software wrote before are visible. */
	uint32_t v = atomic_load_explicit(smmuv3_reg32(f->regs, e->q.prod_offset),
			memory_order_acquire);

	if (__builtin_expect(is_moving(e), 0)) {
		guard32(f, e->q.prod_offset, e->prod, e->name, "_PROD",
				"before EN was acknowledged");
		return tick(f, e);
	}
	if ((v ^ e->prod) & PROD_EN)
		return change_enable(f, e, v);
	if ((v ^ e->prod) & PROD_ERRACK && e->cons & CONS_ENACK)
		return change_errack(f, e, v);
	e->prod = v;
	return 0;
}

unsigned int
smmuv3_fe_poll_ecmdqs(struct smmuv3_fe *f, bool full)
{
	unsigned int n = 0;

	if (!full) {
		/* From the last one on: end_queue() puts the last one at the place of its own. */
		for (unsigned int i = f->nb_ecmdqs_on; i-- > 0;)
			n += poll_queue(f, &f->ecmdq[f->ecmdq_on[i]]);
		return n;
	}
	for (unsigned int i = 0; i < f->nb_ecmdqs; i++) {
		n += poll_queue(f, &f->ecmdq[i]);
		check_queue_guards(f, &f->ecmdq[i]);
	}
	check_page_guards(f);
	return n;
}

bool
smmuv3_fe_have_ecmdqs_work(const struct smmuv3_fe *f)
{
	for (unsigned int i = 0; i < f->nb_ecmdqs_on; i++) {
		const struct smmuv3_fe_ecmdq *e = &f->ecmdq[f->ecmdq_on[i]];

		if (e->cons & CONS_ENACK && !smmuv3_fe_cmdq_is_empty(f, &e->q))
			return true;
	}
	return false;
}

static unsigned int
consume_ecmdq(struct smmuv3_fe *f, struct smmuv3_fe_ecmdq *e, unsigned int max)
{
	uint32_t before = e->q.cons;
	unsigned int n;

	if (!(e->prod & e->cons & PROD_EN))
		return 0;
	n = smmuv3_fe_cmdq_consume(f, &e->q, max, is_error_active(e));
	smmuv3_count_add(f->stats, SMMUV3_MODEL_STAT_ECMDQ_COMMANDS,
			smmuv3_q_count(e->q.log2, e->q.cons, before));
	return n;
}

unsigned int
smmuv3_fe_consume_in_turns(struct smmuv3_fe *f, unsigned int max)
{
	unsigned int queues = f->nb_ecmdqs_on + 1, n = 0;

	if (f->turn >= queues)
		f->turn = f->turn_used = 0;
	for (unsigned int turns = 0; turns < queues && n < max;) {
		unsigned int left = TURN - f->turn_used, share, done;

		if (f->harsh & SMMUV3_MODEL_HARSH_RANDOM)
			left = 1 + smmuv3_xorshift(f->rand) % left;
		share = max - n < left ? max - n : left;
		done = f->turn == 0 ? smmuv3_fe_consume_commands(f, share) :
			consume_ecmdq(f, &f->ecmdq[f->ecmdq_on[f->turn - 1]], share);
		n += done;
		f->turn_used += done;
		/* A turn that the budget cuts short goes on in the next step. */
		if (done == share && share < left)
			break;
		f->turn_used = 0;
		f->turn = (f->turn + 1) % queues;
		turns++;
	}
	return n;
}
