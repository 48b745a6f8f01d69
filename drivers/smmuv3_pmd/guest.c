/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "atc.h"
#include "attach.h"
#include "base.h"
#include "cmdq.h"
#include "dev.h"
#include "domain.h"
#include "guest.h"
#include "guest_cmd.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

/* Commands under one CMD_SYNC: either ATC_INVs or others. */
struct chunk {
	bool atc;
	unsigned int used, nb_held;
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int index[SMMUV3_CHUNK];	/* of each in the guest's array */
	struct smmuv3_attachment *held[SMMUV3_CHUNK];
};

void
smmuv3_guest_add_attachment(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_domain *stage2 = smmuv3_domain_stage2(a->domain);

	if (stage2 == NULL)
		return;
	pthread_mutex_lock(&s->tables_lock);
	a->next = stage2->attachments;
	stage2->attachments = a;
	pthread_mutex_unlock(&s->tables_lock);
}

void
smmuv3_guest_del_attachment(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_domain *stage2 = smmuv3_domain_stage2(a->domain);
	struct smmuv3_attachment **at;

	if (stage2 == NULL)
		return;
	pthread_mutex_lock(&s->tables_lock);
	for (at = &stage2->attachments; *at != a; at = &(*at)->next)
		;
	*at = a->next;
	while (a->holds > 0)
		pthread_cond_wait(&s->guest_done, &s->tables_lock);
	pthread_mutex_unlock(&s->tables_lock);
}

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

/* NULL: *cmd may be issued; if @p held is not NULL, as long as it is held. Else why not. */
static const char *
check_cmd(struct smmuv3 *s, const struct smmuv3_domain *parent, struct smmuv3_cmd *cmd,
		struct smmuv3_attachment **held)
{
	const char *why = smmuv3_guest_cmd_check(s, parent->vmid, cmd);
	struct smmuv3_attachment *a;

	if (why != NULL || !smmuv3_guest_cmd_has_sid(cmd))
		return why;
	pthread_mutex_lock(&s->tables_lock);
	a = find_attachment(parent, SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]));
	why = a == NULL ? "its StreamID is of no device of the guest" : find_dev_fault(a->dev, cmd);
	if (why == NULL && held != NULL) {
		a->holds++;
		*held = a;
	}
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
		unsigned int n, unsigned int i, struct chunk *c)
{
	c->used = 0;
	c->nb_held = 0;
	for (; i < n && c->used < SMMUV3_CHUNK; i++) {
		struct smmuv3_cmd cmd = { { cmds[i].dw[0], cmds[i].dw[1] } };
		bool atc = smmuv3_guest_cmd_op(&cmd) == SMMUV3_OP_ATC_INV;
		struct smmuv3_attachment *a = NULL;

		if (c->used > 0 && atc != c->atc)
			break;
		if (check_cmd(s, parent, &cmd, &a) != NULL)
			continue;
		c->atc = atc;
		c->index[c->used] = i;
		c->cmds[c->used++] = cmd;
		if (a != NULL)
			c->held[c->nb_held++] = a;
	}
	return i;
}

static void
release_chunk(struct smmuv3 *s, const struct chunk *c)
{
	unsigned int i;

	if (c->nb_held == 0)
		return;
	pthread_mutex_lock(&s->tables_lock);
	for (i = 0; i < c->nb_held; i++)
		c->held[i]->holds--;
	pthread_cond_broadcast(&s->guest_done);
	pthread_mutex_unlock(&s->tables_lock);
}

static int
issue_chunk(struct smmuv3 *s, const struct chunk *c, struct iopf_inv_result *result)
{
	int ret;

	if (c->used == 0)
		return 0;
	/* In the CMDQ, whose order keeps them before the commands of a later detach. */
	ret = c->atc ? smmuv3_atc_issue_invs(s, c->cmds, c->used, result) :
		smmuv3_cmdq_sync(&s->cmdq, c->cmds, c->used, result);
	if (ret < 0) {
		result->done = c->index[result->done];
		result->failed = c->index[result->failed];
	}
	return ret;
}

int
smmuv3_invalidate_guest(void *priv, void *handle, const struct iopf_guest_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result, const char **why)
{
	const struct smmuv3_domain *parent = handle;
	struct smmuv3 *s = priv;
	struct chunk c;
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
	for (i = 0; i < n && ret == 0;) {
		i = take_chunk(s, parent, cmds, n, i, &c);
		ret = issue_chunk(s, &c, result);
		release_chunk(s, &c);
	}
	return ret;
}
