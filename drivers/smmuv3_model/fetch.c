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
fetch_batch(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q)
{
	unsigned int n = smmuv3_q_count(q->log2, q->prod, q->cons);
	unsigned int max = SMMUV3_FETCH_AHEAD;

	if (f->harsh & SMMUV3_MODEL_HARSH_RANDOM)
		max = 1 + smmuv3_xorshift(f->rand) % max;
	if (n > max)
		n = max;
	q->fetch.at = 0;
	q->fetch.nb = 0;
	while (q->fetch.nb < n && smmuv3_fe_read_command(f, q, q->cons + q->fetch.nb,
			&q->fetch.cmd[q->fetch.nb]))
		q->fetch.nb++;
}

bool
smmuv3_fe_fetch_command(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, struct smmuv3_cmd *cmd)
{
	struct smmuv3_cmd now;

	if (q->fetch.at == q->fetch.nb)
		fetch_batch(f, q);
	if (q->fetch.nb == 0)
		return false;
	*cmd = q->fetch.cmd[q->fetch.at];
	if (smmuv3_fe_read_command(f, q, q->cons, &now) && (now.dw[0] != cmd->dw[0] ||
			now.dw[1] != cmd->dw[1]))
		smmuv3_log_add(f->log, "%s entry %u was rewritten before CONS passed it: the "
				"SMMU executes the command that it fetched before, 0x%llx",
				q->name, smmuv3_q_slot(q->log2, q->cons),
				(unsigned long long)cmd->dw[0]);
	return true;
}

bool
smmuv3_fe_fetch_advance(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q)
{
	q->fetch.at++;
	return !(f->harsh & SMMUV3_MODEL_HARSH_RANDOM) || smmuv3_xorshift(f->rand) % 8 != 0;
}

void
smmuv3_fe_fetch_drop(struct smmuv3_fe_cmdq *q)
{
	q->fetch.at = q->fetch.nb = 0;
}
