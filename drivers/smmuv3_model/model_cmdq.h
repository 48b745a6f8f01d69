/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CMDQ_H
#define SMMUV3_MODEL_CMDQ_H

#include "front.h"

/* Consume up to @p max commands. Returns their number. */
unsigned int smmuv3_fe_consume_commands(struct smmuv3_fe *f, unsigned int max);
void smmuv3_fe_cmdq_enable(struct smmuv3_fe *f);

/* Read the command at a position of the queue. False: the fetch aborts. */
static inline bool
smmuv3_fe_read_command(struct smmuv3_fe *f, uint32_t pos, struct smmuv3_cmd *cmd)
{
	uint64_t addr = f->cmdq.base + sizeof(*cmd) * smmuv3_q_slot(f->cmdq.log2, pos);
	const uint64_t *dw;

	smmuv3_frames_check_smmu(f->frames, "CMDQ", 0, 0, addr, sizeof(*cmd));
	dw = smmuv3_win_find(f->wins, &f->cmdq.win, addr, sizeof(*cmd));
	if (dw == NULL)
		return false;
	cmd->dw[0] = smmuv3_get_dw(&dw[0]);
	cmd->dw[1] = smmuv3_get_dw(&dw[1]);
	return true;
}

/* The command at CONS, with SMMUV3_MODEL_HARSH_PREFETCH. False: the fetch aborts. */
bool smmuv3_fe_fetch_command(struct smmuv3_fe *f, struct smmuv3_cmd *cmd);
/* CONS passed the command. False: the SMMU processes no more commands in this step. */
bool smmuv3_fe_fetch_advance(struct smmuv3_fe *f);
/* Drop the copies of commands that are fetched and not executed. */
void smmuv3_fe_fetch_drop(struct smmuv3_fe *f);

#endif /* SMMUV3_MODEL_CMDQ_H */
