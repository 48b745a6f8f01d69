/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The driver's command queue. It knows of its SMMU only struct smmuv3_cmdq_conf, so that this is
 * the driver's code as it is, with the wait of the other queues.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmdq.h>

#include "cmdq_suite.h"

/* As the driver's for the 512 stalls of a model. */
#define BACKLOG	4096

struct driver_queue {
	struct smmuv3_cmdq q;
	struct cmdq_rig *rig;
	smmuv3_state_word_t state;
	_Atomic uint32_t failed;	/* the queue was given up, or an answer was lost */
};

static void
driver_wait_begin(void *ctx, struct smmuv3_wait *w)
{
	const struct driver_queue *d = ctx;
	struct cmdq_wait own;

	cmdq_wait_begin(d->rig, &own);
	*w = (struct smmuv3_wait){ .left = own.left, .last = own.last, .n = own.n };
}

static bool
driver_wait(void *ctx, struct smmuv3_wait *w)
{
	const struct driver_queue *d = ctx;
	struct cmdq_wait own = { .left = w->left, .last = w->last, .n = w->n };
	bool left = cmdq_wait(d->rig, &own);

	*w = (struct smmuv3_wait){ .left = own.left, .last = own.last, .n = own.n };
	return left;
}

static int
driver_closed_error(void *ctx)
{
	(void)ctx;
	return -EIO;
}

static void
driver_fail(void *ctx)
{
	struct driver_queue *d = ctx;

	atomic_store_explicit(&d->failed, 1, memory_order_relaxed);
}

/* The next call of a thread, or driver_finish(), moves the backlog. */
static void
driver_left(void *ctx)
{
	(void)ctx;
}

static void
driver_atc_timeout(void *ctx, uint64_t pos)
{
	(void)pos;
	driver_fail(ctx);
}

static const struct smmuv3_cmdq_ops driver_ops = {
	.wait_begin = driver_wait_begin,
	.wait = driver_wait,
	.closed_error = driver_closed_error,
	.on_failed = driver_fail,
	.on_left = driver_left,
	.on_answer_lost = driver_fail,
	.on_atc_timeout = driver_atc_timeout,
	.ack_error = driver_fail,
};

static void
driver_close(void *queue)
{
	struct driver_queue *d = queue;

	smmuv3_cmdq_close(&d->q);
	free(d);
}

static void *
driver_open(struct cmdq_rig *rig)
{
	struct driver_queue *d = aligned_alloc(SMMUV3_ALIGN, sizeof(*d));
	struct smmuv3_mem mem = { .va = rig->ring, .addr = (uintptr_t)rig->ring,
		.size = sizeof(*rig->ring) << CMDQ_LOG2 };
	int ret;

	if (d == NULL)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->rig = rig;
	atomic_store_explicit(&d->state, SMMUV3_STATE_RUNNING, memory_order_relaxed);
	ret = smmuv3_cmdq_open(&d->q, &(struct smmuv3_cmdq_conf){
		.name = "bench",
		.ops = &driver_ops,
		.ctx = d,
		.state = &d->state,
		.regs = rig->regs,
		.base_reg = SMMUV3_CMDQ_BASE,
		.prod_reg = SMMUV3_CMDQ_PROD,
		.cons_reg = SMMUV3_CMDQ_CONS,
		.word = rig->word,
		.word_addr = (uintptr_t)rig->word,
		.backlog = BACKLOG,
	});
	if (ret == 0)
		ret = smmuv3_cmdq_set_ring(&d->q, &mem, CMDQ_LOG2);
	if (ret < 0) {
		driver_close(d);
		return NULL;
	}
	smmuv3_cmdq_setup(&d->q);
	return d;
}

static int
driver_post(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct driver_queue *d = queue;

	smmuv3_cmdq_post(&d->q, cmds, n);
	return unlikely(atomic_load_explicit(&d->failed, memory_order_relaxed) != 0) ? -EIO : 0;
}

static int
driver_sync(void *queue, const struct smmuv3_cmd *cmds, unsigned int n)
{
	return smmuv3_cmdq_sync(&((struct driver_queue *)queue)->q, cmds, n, NULL);
}

static int
driver_finish(void *queue)
{
	return smmuv3_cmdq_drain(&((struct driver_queue *)queue)->q);
}

static uint64_t
driver_count_prod_writes(void *queue)
{
	return atomic_load_explicit(&((struct driver_queue *)queue)->q.batches,
			memory_order_relaxed);
}

const struct cmdq_impl cmdq_driver = {
	.name = "driver",
	.open = driver_open,
	.post = driver_post,
	.sync = driver_sync,
	.finish = driver_finish,
	.count_prod_writes = driver_count_prod_writes,
	.close = driver_close,
};
