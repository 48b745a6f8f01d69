/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CMDQ_H
#define SMMUV3_MODEL_CMDQ_H

#include "front.h"

/* Consume up to @p max commands of the CMDQ. Returns their number. */
unsigned int smmuv3_fe_consume_commands(struct smmuv3_fe *f, unsigned int max);
void smmuv3_fe_cmdq_enable(struct smmuv3_fe *f);

/* The same of any queue that is enabled; @p error: it has an error that is not acknowledged. */
unsigned int smmuv3_fe_cmdq_consume(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q,
		unsigned int max, bool error);
/* Begin to consume at @p cons. @p base: the value of its BASE register. */
void smmuv3_fe_cmdq_begin(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, uint64_t base,
		uint32_t cons);

/* Has the queue, which is enabled, no command that is not consumed? */
static inline bool
smmuv3_fe_cmdq_is_empty(const struct smmuv3_fe *f, const struct smmuv3_fe_cmdq *q)
{
	/* Acquire: as cmdq_load_prod(). */
	return smmuv3_q_pos(q->log2, atomic_load_explicit(smmuv3_reg32(f->regs, q->prod_offset),
			memory_order_acquire)) == q->cons;
}

/* Read the command at a position of the queue. False: the fetch aborts. */
static inline bool
smmuv3_fe_read_command(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, uint32_t pos,
		struct smmuv3_cmd *cmd)
{
	uint64_t addr = q->base + sizeof(*cmd) * smmuv3_q_slot(q->log2, pos);
	const uint64_t *dw;

	smmuv3_frames_check_smmu(f->frames, q->name, 0, 0, addr, sizeof(*cmd));
	dw = smmuv3_win_find(f->wins, &q->win, addr, sizeof(*cmd));
	if (dw == NULL)
		return false;
	cmd->dw[0] = smmuv3_get_dw(&dw[0]);
	cmd->dw[1] = smmuv3_get_dw(&dw[1]);
	return true;
}

/* The command at CONS, with SMMUV3_MODEL_HARSH_PREFETCH. False: the fetch aborts. */
bool smmuv3_fe_fetch_command(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q,
		struct smmuv3_cmd *cmd);
/* CONS passed the command. False: the SMMU processes no more commands in this step. */
bool smmuv3_fe_fetch_advance(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q);
/* Drop the copies of commands that are fetched and not executed. */
void smmuv3_fe_fetch_drop(struct smmuv3_fe_cmdq *q);

#endif /* SMMUV3_MODEL_CMDQ_H */
