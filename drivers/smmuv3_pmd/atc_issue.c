/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * ATC_INVs of a caller that waits. A CMD_SYNC that fails (CERROR_ATC_INV_SYNC) does not tell which
 * of the ATC_INVs before it was not answered, nor which were [4.7.3]. So the caller asks each
 * StreamID again, alone. An endpoint that does not answer then is named by its CMD_SYNC, and cut
 * off (atc_cut.c): it costs one timeout beside the first. The others answer at once.
 */

#include <errno.h>

#include "atc.h"
#include "base.h"
#include "cmdq.h"
#include "smmuv3_cmd.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

/* An error of a probe may be another endpoint's, whose ATC_INVs came between. */
#define MAX_PROBES 4

/* Some commands of an array, and their places in it. */
struct part {
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int index[SMMUV3_CHUNK];
	unsigned int n;
};

static void
add_cmd(struct part *part, const struct smmuv3_cmd *cmd, unsigned int index)
{
	part->index[part->n] = index;
	part->cmds[part->n++] = *cmd;
}

static uint32_t
get_sid(const struct smmuv3_cmd *cmd)
{
	return SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]);
}

/* An error of the part becomes one of its array. */
static void
convert_result(const struct part *part, struct iopf_inv_result *result)
{
	/* Without commands only their CMD_SYNC can fail. */
	result->done = part->n > 0 ? part->index[result->done] : 0;
	result->failed = result->done;
}

int
smmuv3_atc_probe_sid(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n,
		uint32_t sid, struct iopf_inv_result *result)
{
	unsigned int tries, done = 0;
	int ret = -EIO;

	for (tries = 0; tries < MAX_PROBES && !smmuv3_atc_is_sid_cut(s, sid); tries++) {
		ret = smmuv3_cmdq_sync(&s->cmdq, cmds, n, result);
		if (ret == 0 || result->error != IOPF_INV_ATC)
			return ret;
		done = RTE_MAX(done, result->done);
	}
	/* After the CFGI_STE that cut_off_sid() gave to the queue. */
	ret = smmuv3_cmdq_sync(&s->cmdq, NULL, 0, result);
	if (ret < 0)
		return ret;
	*result = (struct iopf_inv_result){ .done = done, .failed = done, .error = IOPF_INV_ATC,
		.sid = sid };
	return -EIO;
}

/* From the first command on that is not known to be complete. */
static int
probe_sids(struct smmuv3 *s, const struct part *all, unsigned int from,
		struct iopf_inv_result *result)
{
	uint64_t probed = 0;	/* a bit for each command */
	unsigned int i, k;
	int ret, first = 0;

	_Static_assert(SMMUV3_CHUNK <= 64, "bits of probed");
	for (i = from; i < all->n; i++) {
		uint32_t sid = get_sid(&all->cmds[i]);
		struct part part = { .n = 0 };
		struct iopf_inv_result here;

		if (probed >> i & 1)
			continue;
		for (k = i; k < all->n; k++)
			if (get_sid(&all->cmds[k]) == sid) {
				add_cmd(&part, &all->cmds[k], all->index[k]);
				probed |= UINT64_C(1) << k;
			}
		ret = smmuv3_atc_probe_sid(s, part.cmds, part.n, sid, &here);
		if (ret == 0)
			continue;
		convert_result(&part, &here);
		if (first == 0 || here.done < result->done) {
			*result = here;
			first = ret;
		}
		/* The queue does not go on: the other StreamIDs cannot be asked. */
		if (here.error == IOPF_INV_TIMEOUT || here.error == IOPF_INV_ABT)
			break;
	}
	return first;
}

/* Up to SMMUV3_CHUNK commands. */
static int
issue_part(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result)
{
	struct part part;
	unsigned int i;
	int ret;

	part.n = 0;
	for (i = 0; i < n; i++)
		if (likely(!smmuv3_atc_is_sid_cut(s, get_sid(&cmds[i]))))
			add_cmd(&part, &cmds[i], i);
	ret = smmuv3_cmdq_sync(&s->cmdq, part.cmds, part.n, result);
	if (likely(ret == 0))
		return 0;
	if (result->error == IOPF_INV_ATC)
		return probe_sids(s, &part, result->done, result);
	convert_result(&part, result);
	return ret;
}

int
smmuv3_atc_issue_invs(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result)
{
	unsigned int i, nb;
	int ret;

	for (i = 0; i < n; i += nb) {
		nb = RTE_MIN(n - i, (unsigned int)SMMUV3_CHUNK);
		ret = issue_part(s, cmds + i, nb, result);
		if (unlikely(ret < 0)) {
			result->done += i;
			result->failed += i;
			return ret;
		}
	}
	return 0;
}
