/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef CMD_TRACE_H
#define CMD_TRACE_H

/*
 * The commands that a model executed, and the CMD_SYNCs that cover them. The trace stands between
 * the front end and the back end of the model, so that it has each command that was executed, once,
 * and no other: not those that were refused, rewritten, or left in the queue.
 *
 * The trace is written by the thread that steps the model. cmd_trace_begin() and cmd_trace_end()
 * exclude it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "smmuv3_cmd.h"
#include "smmuv3_model.h"

#define CMD_TRACE_MAX	16384
#define CMD_TRACE_NEVER	UINT32_MAX

struct traced_cmd {
	struct smmuv3_cmd cmd;
	uint16_t queue;
	bool failed;		/* an ATC_INV that was not answered: its CMD_SYNC failed */
	unsigned int synced;	/* commands executed before the CMD_SYNC that covers it; 0: none */
};

struct cmd_trace {
	struct traced_cmd cmds[CMD_TRACE_MAX];
	unsigned int n;
	unsigned int failed_syncs;
	/* Called once, on the stepping thread, when so many commands and CMD_SYNCs are executed. */
	unsigned int fire_at;
	void (*fire)(void *ctx);
	void *ctx;
	bool fired;
	bool on;		/* between begin and end */

	struct smmuv3_model *m;
	unsigned int executed;
};

/* Stand between front end and back end, from here on. The trace outlives the model. */
void cmd_trace_open(struct cmd_trace *t, struct smmuv3_model *m);
/* Forget all commands. */
void cmd_trace_begin(struct cmd_trace *t, unsigned int fire_at, void (*fire)(void *ctx), void *ctx);
/* Write no more until the next begin. */
void cmd_trace_end(struct cmd_trace *t);
/* Let the endpoint answer no ATC_INV. In cmd_trace.fire. */
void cmd_trace_kill(struct smmuv3_model_dma *dma);

#endif /* CMD_TRACE_H */
