/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "atc.h"
#include "attach.h"
#include "base.h"
#include "chunk.h"
#include "dev.h"
#include "domain.h"
#include "guest.h"
#include "guest_cmd.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

/* tables_lock is held. */
static struct smmuv3_attachment *
find_attachment(const struct smmuv3_domain *parent, uint32_t sid)
{
	struct smmuv3_attachment *a;
	unsigned int i;

	for (a = parent->attachments; a != NULL; a = a->next)
		for (i = 0; i < a->dev->nb_sids; i++)
			if (a->dev->sids[i] == sid)
				return a;
	return NULL;
}

/*
 * An endpoint without ATS or PASIDs must not get an ATC_INV, or one with a PASID: to it they are
 * malformed.
 */
static const char *
find_dev_fault(const struct smmuv3_dev *dev, const struct smmuv3_cmd *cmd)
{
	uint32_t ssid = SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]);
	bool atc = smmuv3_guest_cmd_op(cmd) == SMMUV3_OP_ATC_INV;

	if (atc && !dev->pri)
		return "the device has no ATS: it was added without IOPF_PRI";
	if (atc && cmd->dw[0] & SMMUV3_CMD0_SSV && dev->nb_pasids == 0)
		return "the device was added without PASIDs";
	if (ssid >> dev->cds.log2 != 0)
		return "its SubstreamID is more than the device was added with";
	return NULL;
}

/* NULL: *cmd may be issued; in the chunk @p c, if it is not NULL. Else why not. */
static const char *
check_cmd(struct smmuv3 *s, const struct smmuv3_domain *parent, struct smmuv3_cmd *cmd,
		struct smmuv3_chunk *c)
{
	const char *why = smmuv3_guest_cmd_check(s, parent->vmid, cmd);
	struct smmuv3_attachment *a;

	if (why != NULL || !smmuv3_guest_cmd_has_sid(cmd))
		return why;
	pthread_mutex_lock(&s->tables_lock);
	a = find_attachment(parent, SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]));
	why = a == NULL ? "its StreamID is of no device of the guest" : find_dev_fault(a->dev, cmd);
	if (why == NULL && c != NULL)
		smmuv3_chunk_hold(c, a);
	pthread_mutex_unlock(&s->tables_lock);
	return why;
}

/*
 * Take commands from @p i on, all of one kind. Returns the index behind them. A command that passed
 * the check before and does not now is left out: its device was detached, which has invalidated
 * everything of it.
 */
static unsigned int
take_chunk(struct smmuv3 *s, const struct smmuv3_domain *parent, const struct iopf_guest_cmd *cmds,
		unsigned int n, unsigned int i, struct smmuv3_chunk *c, bool *atc)
{
	for (; i < n && c->used < SMMUV3_CHUNK; i++) {
		struct smmuv3_cmd cmd = { { cmds[i].dw[0], cmds[i].dw[1] } };
		bool is_atc = smmuv3_guest_cmd_op(&cmd) == SMMUV3_OP_ATC_INV;

		if (c->used > 0 && is_atc != *atc)
			break;
		if (check_cmd(s, parent, &cmd, c) != NULL)
			continue;
		*atc = is_atc;
		c->index[c->used] = i;
		c->cmds[c->used++] = cmd;
	}
	return i;
}

int
smmuv3_invalidate_guest(void *priv, void *handle, const struct iopf_guest_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result, const char **why)
{
	const struct smmuv3_domain *parent = handle;
	struct smmuv3 *s = priv;
	struct smmuv3_chunk c;
	bool atc = false;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < n; i++) {
		struct smmuv3_cmd cmd = { { cmds[i].dw[0], cmds[i].dw[1] } };

		*why = check_cmd(s, parent, &cmd, NULL);
		if (*why == NULL)
			continue;
		*result = (struct iopf_inv_result){ .failed = i, .error = IOPF_INV_REFUSED };
		return -EINVAL;
	}
	c.used = 0;
	c.nb_held = 0;
	for (i = 0; i < n && ret == 0;) {
		i = take_chunk(s, parent, cmds, n, i, &c, &atc);
		ret = smmuv3_chunk_issue(s, &c, atc, result);
	}
	return ret;
}
