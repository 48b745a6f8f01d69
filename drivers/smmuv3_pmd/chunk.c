/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "atc.h"
#include "attach.h"
#include "chunk.h"
#include "dev.h"
#include "domain.h"
#include "smmuv3_pmd.h"

static bool
is_listed(const struct smmuv3_attachment *a)
{
	return smmuv3_domain_stage2(a->domain) != NULL || a->dev->pri;
}

void
smmuv3_attachment_list(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_domain *owner = smmuv3_domain_owner(a->domain);

	if (!is_listed(a))
		return;
	pthread_mutex_lock(&s->tables_lock);
	a->next = owner->attachments;
	owner->attachments = a;
	pthread_mutex_unlock(&s->tables_lock);
}

void
smmuv3_attachment_unlist(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_attachment **at = &smmuv3_domain_owner(a->domain)->attachments;

	if (!is_listed(a))
		return;
	pthread_mutex_lock(&s->tables_lock);
	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	while (a->holds > 0)
		pthread_cond_wait(&s->chunk_done, &s->tables_lock);
	pthread_mutex_unlock(&s->tables_lock);
}

void
smmuv3_chunk_hold(struct smmuv3_chunk *c, struct smmuv3_attachment *a)
{
	a->holds++;
	c->held[c->nb_held++] = a;
}

static void
release(struct smmuv3 *s, struct smmuv3_chunk *c)
{
	if (c->nb_held == 0)
		return;
	pthread_mutex_lock(&s->tables_lock);
	while (c->nb_held > 0)
		c->held[--c->nb_held]->holds--;
	pthread_cond_broadcast(&s->chunk_done);
	pthread_mutex_unlock(&s->tables_lock);
}

int
smmuv3_chunk_issue(struct smmuv3 *s, struct smmuv3_chunk *c, bool atc,
		struct iopf_inv_result *result)
{
	int ret;

	if (c->used == 0)
		return 0;
	/* In the CMDQ, whose order keeps them before the commands of a later detach. */
	ret = atc ? smmuv3_atc_issue_invs(s, c->cmds, c->used, result) :
		smmuv3_cmdq_sync(&s->cmdq, c->cmds, c->used, result);
	if (ret < 0) {
		result->done = c->index[result->done];
		result->failed = c->index[result->failed];
	}
	release(s, c);
	c->used = 0;
	return ret;
}
