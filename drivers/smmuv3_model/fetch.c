/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Fetches of several commands at a time, with SMMUV3_MODEL_HARSH_PREFETCH [3.5.1]. The SMMU
 * may hold copies of all entries between CONS and PROD. It drops them when the queue stops
 * with an error or is disabled. Until then software may not write these entries.
 */

#include "front.h"
#include "model_cmdq.h"
#include "model_log.h"

static void
fetch_batch(struct smmuv3_fe *f)
{
	unsigned int n = smmuv3_q_count(f->cmdq.log2, f->cmdq.prod, f->cmdq.cons);
	unsigned int max = SMMUV3_FETCH_AHEAD;

	if (f->harsh & SMMUV3_MODEL_HARSH_RANDOM)
		max = 1 + smmuv3_xorshift(f->rand) % max;
	if (n > max)
		n = max;
	f->fetch.at = 0;
	f->fetch.nb = 0;
	while (f->fetch.nb < n && smmuv3_fe_read_command(f, f->cmdq.cons + f->fetch.nb,
			&f->fetch.cmd[f->fetch.nb]))
		f->fetch.nb++;
}

bool
smmuv3_fe_fetch_command(struct smmuv3_fe *f, struct smmuv3_cmd *cmd)
{
	struct smmuv3_cmd now;

	if (f->fetch.at == f->fetch.nb)
		fetch_batch(f);
	if (f->fetch.nb == 0)
		return false;
	*cmd = f->fetch.cmd[f->fetch.at];
	if (smmuv3_fe_read_command(f, f->cmdq.cons, &now) && (now.dw[0] != cmd->dw[0] ||
			now.dw[1] != cmd->dw[1]))
		smmuv3_log_add(f->log, "CMDQ entry %u was rewritten before CONS passed it: the "
				"SMMU executes the command that it fetched before, 0x%llx",
				smmuv3_q_slot(f->cmdq.log2, f->cmdq.cons),
				(unsigned long long)cmd->dw[0]);
	return true;
}

bool
smmuv3_fe_fetch_advance(struct smmuv3_fe *f)
{
	f->fetch.at++;
	return !(f->harsh & SMMUV3_MODEL_HARSH_RANDOM) || smmuv3_xorshift(f->rand) % 8 != 0;
}

void
smmuv3_fe_fetch_drop(struct smmuv3_fe *f)
{
	f->fetch.at = f->fetch.nb = 0;
}
