/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "cmd_trace.h"
#include "model.h"
#include "model_dma.h"
#include "model_endpoint.h"

/* One model at a time is traced. */
static struct cmd_trace *trace;
static const struct smmuv3_fe_ops *real;

static void
count_executed(struct cmd_trace *t)
{
	if (++t->executed < t->fire_at || t->fired || t->fire == NULL)
		return;
	t->fired = true;
	t->fire(t->ctx);
}

static void
trace_command(void *be, unsigned int queue, const struct smmuv3_cmd *cmd)
{
	struct cmd_trace *t = trace;

	if (t->on && t->n < CMD_TRACE_MAX)
		t->cmds[t->n++] = (struct traced_cmd){ .cmd = *cmd, .queue = queue };
	real->command(be, queue, cmd);
	if (t->on)
		count_executed(t);
}

static enum smmuv3_fe_sync
trace_sync(void *be, unsigned int queue)
{
	enum smmuv3_fe_sync r = real->sync(be, queue);
	struct cmd_trace *t = trace;
	unsigned int i;

	if (r == SMMUV3_FE_SYNC_WAIT || !t->on)
		return r;
	for (i = 0; i < t->n; i++) {
		struct traced_cmd *c = &t->cmds[i];

		if (c->queue != queue || c->synced != 0 || c->failed)
			continue;
		if (r == SMMUV3_FE_SYNC_DONE)
			c->synced = t->n;
		else if (SMMUV3_GET(SMMUV3_CMD0_OP, c->cmd.dw[0]) == SMMUV3_OP_ATC_INV)
			c->failed = true;
	}
	if (r == SMMUV3_FE_SYNC_FAILED)
		t->failed_syncs++;
	else
		count_executed(t);
	return r;
}

void
cmd_trace_open(struct cmd_trace *t, struct smmuv3_model *m)
{
	static struct smmuv3_fe_ops ops;

	smmuv3_ctl_enter(m);
	t->m = m;
	t->n = 0;
	t->on = false;
	t->fire = NULL;
	trace = t;
	real = m->fe.ops;
	ops = *real;
	ops.command = trace_command;
	ops.sync = trace_sync;
	m->fe.ops = &ops;
	smmuv3_ctl_leave(m);
}

void
cmd_trace_begin(struct cmd_trace *t, unsigned int fire_at, void (*fire)(void *ctx), void *ctx)
{
	smmuv3_ctl_enter(t->m);
	t->n = 0;
	t->on = true;
	t->failed_syncs = 0;
	t->executed = 0;
	t->fired = fire != NULL && fire_at == 0;
	t->fire_at = fire_at;
	t->fire = fire;
	t->ctx = ctx;
	if (t->fired)
		fire(ctx);
	smmuv3_ctl_leave(t->m);
}

void
cmd_trace_end(struct cmd_trace *t)
{
	/* The thread that steps the model has released what it wrote. */
	smmuv3_ctl_enter(t->m);
	t->on = false;
	t->fire = NULL;
	smmuv3_ctl_leave(t->m);
}

void
cmd_trace_kill(struct smmuv3_model_dma *dma)
{
	dma->ep->quirks = SMMUV3_MODEL_QUIRK_DEAD_ATC;
}
