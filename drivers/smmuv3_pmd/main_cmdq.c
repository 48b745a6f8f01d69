/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The command queue of CMDQ_BASE: its sizes and its operations. */

#include <rte_bitops.h>

#include "atc.h"
#include "cmdq.h"
#include "gerror.h"
#include "idr.h"
#include "irq.h"
#include "main_cmdq.h"
#include "mem.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "wait.h"

/*
 * The backlog must have room for all answers. Without ATS: a stall's answer and its part of
 * the invalidations before it are at most 8 commands (see smmuv3_answer_after()), and a stall
 * does not come again before its RESUME was consumed. With page requests an answer may also
 * need an ATC_INV for each endpoint of the domain, and an endpoint may send more requests than
 * it has credits. So poll takes no record while fewer entries are free
 * (smmuv3_backlog_is_tight()) than the sum of
 *	- the commands that two poll threads may add for a burst that they have taken,
 *	- a RESUME for each stall and a PRI_RESP for each page request in the library,
 *	- an ATC_INV for each ATC (smmuv3_atc_post_inv_all()), and two commands to cut one off.
 */

/*
 * Commands of one burst: each answer alone behind 4 TLBIs, a CMD_SYNC, TLBI_NH_ALL with a CMD_SYNC,
 * and ATC_INVs with a CMD_SYNC each.
 */
#define BURST	(SMMUV3_CHUNK * (4 + 1 + 2 + 2 * SMMUV3_MAX_ATCS + 1))

/* The library's slots for page requests: twice the size of the queue, and at least this many. */
#define MIN_REQUESTS	UINT64_C(64)

static uint64_t
get_backlog_reserve(const struct smmuv3 *s)
{
	return 2 * BURST + s->max_stalls +
		RTE_MAX(UINT64_C(2) << s->priq_log2_max, MIN_REQUESTS) +
		2 * SMMUV3_NB_ATCS;
}

static uint64_t
get_backlog_size(const struct smmuv3 *s)
{
	uint64_t size = RTE_MAX(8 * (uint64_t)s->max_stalls, (uint64_t)SMMUV3_CHUNK);

	return rte_align64pow2(s->pri ? RTE_MAX(size, get_backlog_reserve(s) * 5 / 4) : size);
}

static int
get_closed_error(void *ctx)
{
	struct smmuv3 *s = ctx;
	int ret = 0;

	if (smmuv3_state_get(&s->state) == SMMUV3_STATE_OFF)
		return 0;
	/*
	 * smmuv3_may_translate() reads registers. While this thread owns the queue, no stop
	 * completes, after which the SMMU may lose its power.
	 */
	if (smmuv3_cmdq_wait_own(&s->cmdq) < 0)
		return -ETIMEDOUT;
	if (smmuv3_may_translate(s))
		ret = smmuv3_state_get(&s->state) == SMMUV3_STATE_UNSAFE ? -ETIMEDOUT : -EIO;
	smmuv3_cmdq_disown(&s->cmdq);
	return ret;
}

static void
handle_failure(void *ctx)
{
	struct smmuv3 *s = ctx;

	/* check() does the rest. */
	smmuv3_state_set_failed(&s->state);
}

static void
request_recovery(void *ctx)
{
	struct smmuv3 *s = ctx;

	atomic_store_explicit(&s->recovery.wanted, true, memory_order_relaxed);
	smmuv3_wake_poll_thread(s);
}

static void
wake_for_backlog(void *ctx)
{
	smmuv3_wake_poll_thread(ctx);
}

static void
handle_atc_timeout(void *ctx, uint64_t pos)
{
	smmuv3_atc_handle_timeout(ctx, pos);
}

static void
ack_cmdq_err(void *ctx)
{
	smmuv3_gerror_ack(ctx, SMMUV3_GERROR_CMDQ_ERR);
}

static void
begin_wait(void *ctx, struct smmuv3_wait *w)
{
	smmuv3_wait_begin(ctx, w);
}

static bool
continue_wait(void *ctx, struct smmuv3_wait *w)
{
	return smmuv3_wait(ctx, w);
}

const struct smmuv3_cmdq_ops smmuv3_main_cmdq_ops = {
	.wait_begin = begin_wait,
	.wait = continue_wait,
	.closed_error = get_closed_error,
	.on_failed = handle_failure,
	.on_left = wake_for_backlog,
	.on_answer_lost = request_recovery,
	.on_atc_timeout = handle_atc_timeout,
	.ack_error = ack_cmdq_err,
};

int
smmuv3_main_cmdq_open(struct smmuv3 *s)
{
	bool msi = (s->idr0 & SMMUV3_IDR0_MSI) != 0;

	return smmuv3_cmdq_open(&s->cmdq, &(struct smmuv3_cmdq_conf){
		.name = s->name,
		.ops = &smmuv3_main_cmdq_ops,
		.ctx = s,
		.state = &s->state,
		.regs = s->regs,
		.base_reg = SMMUV3_CMDQ_BASE,
		.prod_reg = SMMUV3_CMDQ_PROD,
		.cons_reg = SMMUV3_CMDQ_CONS,
		.atc = s->pri,
		.sync_batches = s->errata & SMMUV3_ERRATUM_SYNC_BATCHES,
		.word = msi ? &s->words->sync.v : NULL,
		.word_addr = s->words_addr + offsetof(struct smmuv3_words, sync),
		.backlog = get_backlog_size(s),
		.reserve = s->pri ? get_backlog_reserve(s) : 0,
	});
}

int
smmuv3_main_cmdq_alloc(struct smmuv3 *s, unsigned int log2)
{
	struct smmuv3_mem mem;
	int ret;

	if (s->cmdq.ring != NULL && s->cmdq.log2 == log2)
		return 0;
	ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_cmd) << log2, &mem);
	if (ret < 0)
		return ret;
	ret = smmuv3_cmdq_set_ring(&s->cmdq, &mem, log2);
	smmuv3_mem_free(s, &mem);
	return ret;
}

void
smmuv3_main_cmdq_close(struct smmuv3 *s)
{
	smmuv3_cmdq_close(&s->cmdq);
	smmuv3_mem_free(s, &s->cmdq.mem);
}
