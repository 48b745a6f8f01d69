/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ECMDQs: geometry, enable and disable, errors, recovery [3.5.6, 6.2.5, 6.3.107 to 6.3.109]. */

#include <stdio.h>
#include <stdlib.h>

#include <rte_bitops.h>
#include <rte_cycles.h>

#include "backend.h"
#include "backlog.h"
#include "base.h"
#include "cmdq.h"
#include "cmdq_ring.h"
#include "ecmdq.h"
#include "gerror.h"
#include "idr.h"
#include "irq.h"
#include "main_cmdq.h"
#include "mem.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "wait.h"

#define EN	((uint32_t)SMMUV3_ECMDQ_PROD_EN)
#define ENACK	((uint32_t)SMMUV3_ECMDQ_CONS_ENACK)
#define ERRACK	((uint32_t)SMMUV3_ECMDQ_PROD_ERRACK)

#define FOREACH(s, e)	\
	for (struct smmuv3_ecmdq *e = (s)->ecmdqs;	\
			e != NULL && e < (s)->ecmdqs + (s)->nb_ecmdqs; e++)

/*
 * The operations of a queue, with struct smmuv3_ecmdq for a context. All but the acknowledgement
 * are those of the CMDQ.
 */

static void
begin_wait(void *ctx, struct smmuv3_wait *w)
{
	smmuv3_wait_begin(((struct smmuv3_ecmdq *)ctx)->s, w);
}

static bool
continue_wait(void *ctx, struct smmuv3_wait *w)
{
	return smmuv3_wait(((struct smmuv3_ecmdq *)ctx)->s, w);
}

static int
get_closed_error(void *ctx)
{
	return smmuv3_main_cmdq_ops.closed_error(((struct smmuv3_ecmdq *)ctx)->s);
}

static void
handle_failure(void *ctx)
{
	smmuv3_main_cmdq_ops.on_failed(((struct smmuv3_ecmdq *)ctx)->s);
}

static void
handle_leftover(void *ctx)
{
	smmuv3_main_cmdq_ops.on_left(((struct smmuv3_ecmdq *)ctx)->s);
}

static void
handle_lost_answer(void *ctx)
{
	smmuv3_main_cmdq_ops.on_answer_lost(((struct smmuv3_ecmdq *)ctx)->s);
}

/* No ATC_INV is in an ECMDQ: the SMMU has lost its way. */
static void
handle_atc_timeout(void *ctx, uint64_t pos)
{
	RTE_SET_USED(pos);
	handle_failure(ctx);
}

static void
store_prod(struct smmuv3_ecmdq *e, uint32_t flags)
{
	e->q.prod_flags = flags;
	/* A rewritten command, or the other registers, are visible before. */
	smmuv3_store_prod(e->s->regs, e->q.prod_reg, flags | smmuv3_q_pos(e->q.log2,
			(uint32_t)atomic_load_explicit(&e->q.prod, memory_order_relaxed)));
}

static void
ack_error(void *ctx)
{
	struct smmuv3_ecmdq *e = ctx;

	store_prod(e, e->q.prod_flags ^ ERRACK);
}

static const struct smmuv3_cmdq_ops ops = {
	.wait_begin = begin_wait,
	.wait = continue_wait,
	.closed_error = get_closed_error,
	.on_failed = handle_failure,
	.on_left = handle_leftover,
	.on_answer_lost = handle_lost_answer,
	.on_atc_timeout = handle_atc_timeout,
	.ack_error = ack_error,
};

void
smmuv3_ecmdqs_probe(struct smmuv3 *s)
{
	uint64_t size = s->backend->get_regs_size == NULL ? SMMUV3_REGS_SIZE :
		s->backend->get_regs_size(s->backend_ctx);
	uint32_t idr6, low;
	uint64_t base;

	if (!(s->idr1 & SMMUV3_IDR1_ECMDQ))
		return;
	idr6 = smmuv3_read32(s->regs, SMMUV3_IDR6);
	/* The pages adjoin each other, in ascending order [6.3.49]. */
	low = smmuv3_read32(s->regs, SMMUV3_CMDQ_CP_BASE(0));
	base = (low | (uint64_t)smmuv3_read32(s->regs, SMMUV3_CMDQ_CP_BASE(0) + 4) << 32) &
		SMMUV3_CMDQ_CP_BASE_ADDR;
	s->ecmdq_regs.stride = SMMUV3_PAGE_SIZE >> SMMUV3_GET(SMMUV3_IDR6_LOG2NUMQ, idr6);
	s->ecmdq_regs.nb = 1u << (SMMUV3_GET(SMMUV3_IDR6_LOG2NUMQ, idr6) +
			SMMUV3_GET(SMMUV3_IDR6_LOG2NUMP, idr6));
	if (low & SMMUV3_CMDQ_CP_BASE_PRESET && base < size &&
			(uint64_t)s->ecmdq_regs.nb * s->ecmdq_regs.stride <= size - base) {
		s->ecmdq_regs.first = (uint32_t)base;
		return;
	}
	s->ecmdq_regs.nb = 0;
	SMMUV3_LOG(NOTICE, s, "the SMMU has ECMDQs, and their registers are not mapped: all "
			"commands go into the CMDQ");
}

int
smmuv3_ecmdqs_open(struct smmuv3 *s)
{
	unsigned int nb = RTE_MIN(s->ecmdq_regs.nb, (unsigned int)SMMUV3_MAX_ECMDQS);
	uint64_t backlog = rte_align64pow2(RTE_MAX(6 * (uint64_t)s->max_stalls,
			(uint64_t)SMMUV3_CHUNK));
	int ret;

	/* The erratum is about the order of commands of one queue. */
	if (nb == 0 || s->errata & SMMUV3_ERRATUM_SYNC_BATCHES)
		return 0;
	ret = smmuv3_mem_alloc(s, nb * SMMUV3_ALIGN, &s->ecmdq_words);
	if (ret < 0)
		return ret;
	s->ecmdqs = aligned_alloc(SMMUV3_ALIGN, nb * sizeof(*s->ecmdqs));
	if (s->ecmdqs == NULL)
		return -ENOMEM;
	memset(s->ecmdqs, 0, nb * sizeof(*s->ecmdqs));
	for (; s->nb_ecmdqs < nb; s->nb_ecmdqs++) {
		struct smmuv3_ecmdq *e = &s->ecmdqs[s->nb_ecmdqs];
		size_t at = s->nb_ecmdqs * SMMUV3_ALIGN;

		e->s = s;
		e->offset = s->ecmdq_regs.first + s->nb_ecmdqs * s->ecmdq_regs.stride;
		snprintf(e->name, sizeof(e->name), "%s: ECMDQ %u", s->name, s->nb_ecmdqs);
		ret = smmuv3_cmdq_open(&e->q, &(struct smmuv3_cmdq_conf){
			.name = e->name,
			.ops = &ops,
			.ctx = e,
			.state = &s->state,
			.regs = s->regs,
			.base_reg = e->offset + SMMUV3_ECMDQ_BASE,
			.prod_reg = e->offset + SMMUV3_ECMDQ_PROD,
			.cons_reg = e->offset + SMMUV3_ECMDQ_CONS,
			.word = RTE_PTR_ADD(s->ecmdq_words.va, at),
			.word_addr = s->ecmdq_words.addr + at,
			.backlog = backlog,
		});
		if (ret < 0) {
			smmuv3_cmdq_close(&e->q);
			return ret;
		}
	}
	return 0;
}

void
smmuv3_ecmdqs_close(struct smmuv3 *s)
{
	FOREACH(s, e) {
		smmuv3_cmdq_close(&e->q);
		smmuv3_mem_free(s, &e->q.mem);
	}
	free(s->ecmdqs);
	smmuv3_mem_free(s, &s->ecmdq_words);
}

int
smmuv3_ecmdqs_alloc(struct smmuv3 *s, unsigned int log2)
{
	struct smmuv3_mem mem;
	int ret;

	FOREACH(s, e) {
		if (e->q.ring != NULL && e->q.log2 == log2)
			continue;
		ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_cmd) << log2, &mem);
		if (ret < 0)
			return ret;
		ret = smmuv3_cmdq_set_ring(&e->q, &mem, log2);
		smmuv3_mem_free(s, &mem);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int
smmuv3_ecmdqs_enable(struct smmuv3 *s)
{
	int ret = 0;

	for (s->nb_ecmdqs_owned = 0; s->nb_ecmdqs_owned < s->nb_ecmdqs; s->nb_ecmdqs_owned++) {
		struct smmuv3_ecmdq *e = &s->ecmdqs[s->nb_ecmdqs_owned];

		ret = smmuv3_cmdq_wait_own(&e->q);
		if (ret < 0)
			return ret;
		e->diverts = false;
		/* ERR, ERRACK and both indices are 0. */
		smmuv3_cmdq_setup(&e->q);
		atomic_store_explicit(&e->synced, e->q.tail, memory_order_relaxed);
		store_prod(e, EN);
	}
	/* PROD is read-only until EN is acknowledged, and only an owner writes it. */
	FOREACH(s, e) {
		ret = smmuv3_wait_reg(s, "ECMDQ_CONS", e->q.cons_reg, ENACK, ENACK);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void
smmuv3_ecmdqs_disown(struct smmuv3 *s)
{
	for (; s->nb_ecmdqs_owned > 0; s->nb_ecmdqs_owned--)
		smmuv3_cmdq_disown(&s->ecmdqs[s->nb_ecmdqs_owned - 1].q);
}

/* Clear EN of the queue at this offset. */
static int
disable_queue(struct smmuv3 *s, uint32_t offset)
{
	uint32_t prod = smmuv3_read32(s->regs, offset + SMMUV3_ECMDQ_PROD);
	int ret;

	/* A change of EN that is under way has to end first. */
	ret = smmuv3_wait_reg(s, "ECMDQ_CONS", offset + SMMUV3_ECMDQ_CONS, ENACK, prod & EN);
	if (ret < 0 || !(prod & EN))
		return ret;
	smmuv3_store_prod(s->regs, offset + SMMUV3_ECMDQ_PROD, prod & ~EN);
	return smmuv3_wait_reg(s, "ECMDQ_CONS", offset + SMMUV3_ECMDQ_CONS, ENACK, 0);
}

int
smmuv3_ecmdqs_disable(struct smmuv3 *s)
{
	int first = 0, ret;

	for (unsigned int i = 0; i < s->ecmdq_regs.nb; i++) {
		struct smmuv3_cmdq *q = i < s->nb_ecmdqs ? &s->ecmdqs[i].q : NULL;

		ret = q == NULL ? 0 : smmuv3_cmdq_wait_own(q);
		if (ret == 0) {
			ret = disable_queue(s, s->ecmdq_regs.first + i * s->ecmdq_regs.stride);
			if (q != NULL)
				smmuv3_cmdq_disown(q);
		}
		first = first < 0 ? first : ret;
	}
	return first;
}

bool
smmuv3_ecmdqs_are_on(struct smmuv3 *s)
{
	for (unsigned int i = 0; i < s->ecmdq_regs.nb; i++) {
		uint32_t at = s->ecmdq_regs.first + i * s->ecmdq_regs.stride;

		if ((smmuv3_read32(s->regs, at + SMMUV3_ECMDQ_PROD) & EN) != 0 ||
				(smmuv3_load_status(s->regs, at + SMMUV3_ECMDQ_CONS) & ENACK) != 0)
			return true;
	}
	return false;
}

/* Each queue, whatever fails on the way; the first error. */
static int
call_all(struct smmuv3 *s, int (*call)(struct smmuv3_cmdq *q))
{
	int first = 0, ret;

	FOREACH(s, e) {
		ret = call(&e->q);
		first = first < 0 ? first : ret;
	}
	return first;
}

int
smmuv3_ecmdqs_drop_resumes(struct smmuv3 *s)
{
	return call_all(s, smmuv3_cmdq_drop_resumes);
}

int
smmuv3_ecmdqs_drain(struct smmuv3 *s)
{
	return call_all(s, smmuv3_cmdq_drain);
}

/*
 * No command was posted since the last CMD_SYNC of smmuv3_ecmdqs_sync(). Only the owner can tell:
 * another one may have taken commands out of the backlog, and not stored PROD yet.
 */
static bool
is_synced(struct smmuv3_ecmdq *e, uint64_t *pos)
{
	bool synced;

	*pos = 0;
	if (!smmuv3_cmdq_try_own(&e->q))
		return false;
	/* Behind the CMD_SYNC that follows, if no other thread posts meanwhile. */
	*pos = e->q.tail + 1;
	synced = e->q.tail == atomic_load_explicit(&e->synced, memory_order_relaxed) &&
		!smmuv3_backlog_has_cmd(&e->q.backlog);
	smmuv3_cmdq_disown(&e->q);
	return synced;
}

int
smmuv3_ecmdqs_sync(struct smmuv3 *s)
{
	int ret = 0;

	FOREACH(s, e) {
		uint64_t pos;

		if (is_synced(e, &pos))
			continue;
		ret = smmuv3_cmdq_sync(&e->q, NULL, 0, NULL);
		if (ret < 0)
			break;
		/* Another thread may have stored a later position: then a CMD_SYNC is repeated. */
		atomic_store_explicit(&e->synced, pos, memory_order_relaxed);
	}
	return ret;
}

bool
smmuv3_ecmdqs_have_backlog(struct smmuv3 *s)
{
	FOREACH(s, e)
		if (smmuv3_backlog_has_cmd(&e->q.backlog))
			return true;
	return false;
}

void
smmuv3_ecmdqs_note_error(struct smmuv3 *s)
{
	smmuv3_gerror_ack(s, SMMUV3_GERROR_CMDQP_ERR);
	/* An error that the SMMU reports after this is not missed: CONS is read after it. */
	smmuv3_io_mb();
	/* Release: smmuv3_ecmdqs_repair() sees the errors that this acknowledgement covers. */
	atomic_store_explicit(&s->ecmdq_error, true, memory_order_release);
}

void
smmuv3_ecmdqs_repair(struct smmuv3 *s)
{
	/* Acquire: pairs with smmuv3_ecmdqs_note_error(). */
	if (likely(!atomic_load_explicit(&s->ecmdq_error, memory_order_relaxed)) ||
			!atomic_exchange_explicit(&s->ecmdq_error, false, memory_order_acquire))
		return;
	FOREACH(s, e) {
		if (!smmuv3_cmdq_try_own(&e->q)) {
			/* Its owner is at work: look again next time. */
			atomic_store_explicit(&s->ecmdq_error, true, memory_order_release);
			continue;
		}
		/* While this thread owns the queue, no stop completes: registers may be read. */
		if (!smmuv3_cmdq_is_closed(&e->q) && (smmuv3_load_status(s->regs, e->q.cons_reg) ^
				e->q.prod_flags) & ERRACK)
			smmuv3_cmdq_handle_error(&e->q);
		smmuv3_cmdq_disown(&e->q);
	}
}

bool
smmuv3_ecmdqs_check(struct smmuv3 *s)
{
	uint64_t now = rte_get_tsc_cycles();
	bool stuck = false;

	smmuv3_ecmdqs_repair(s);
	FOREACH(s, e) {
		smmuv3_cmdq_try_flush(&e->q);
		stuck |= smmuv3_cmdq_is_stuck(&e->q, now, s->timeout);
	}
	return !stuck;
}

bool
smmuv3_ecmdqs_divert(struct smmuv3 *s)
{
	bool all = true;

	FOREACH(s, e) {
		if (e->diverts)
			continue;
		if (!smmuv3_cmdq_try_own(&e->q)) {
			all = false;
			continue;
		}
		smmuv3_cmdq_flush_backlog(&e->q, UINT64_MAX);
		e->q.divert = SMMUV3_DIVERT_RESUME;
		e->pos = e->q.tail;
		e->backlog_end = UINT64_MAX;
		e->diverts = true;
		smmuv3_cmdq_disown(&e->q);
	}
	return all;
}

bool
smmuv3_ecmdqs_have_passed(struct smmuv3 *s)
{
	FOREACH(s, e)
		if (smmuv3_cmdq_load_cons(&e->q) < e->pos)
			return false;
	return true;
}

bool
smmuv3_ecmdqs_undivert(struct smmuv3 *s)
{
	bool all = true;

	FOREACH(s, e) {
		bool sent;

		if (!e->diverts)
			continue;
		if (!smmuv3_cmdq_try_own(&e->q)) {
			all = false;
			continue;
		}
		if (e->backlog_end == UINT64_MAX)
			e->backlog_end = smmuv3_backlog_load_end(&e->q.backlog);
		sent = smmuv3_cmdq_flush_backlog(&e->q, e->backlog_end);
		if (sent) {
			e->q.divert = 0;
			e->diverts = false;
		}
		smmuv3_cmdq_disown(&e->q);
		all = all && sent;
	}
	return all;
}

struct smmuv3_cmdq *
smmuv3_ecmdq_of_thread(struct smmuv3 *s)
{
	static _Atomic unsigned int nb_threads;
	/* From 1 on; 0: none yet. initial-exec: found without a call, in a shared library too. */
	static _Thread_local unsigned int number __attribute__((tls_model("initial-exec")));

	if (unlikely(number == 0))
		number = 1 + atomic_fetch_add_explicit(&nb_threads, 1, memory_order_relaxed);
	return &s->ecmdqs[(number - 1) % s->nb_ecmdqs].q;
}
