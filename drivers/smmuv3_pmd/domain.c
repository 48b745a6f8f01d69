/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Domains. */

#include <stdlib.h>

#include "base.h"
#include "cd.h"
#include "domain.h"
#include "ids.h"
#include "smmuv3_pmd.h"
#include "stage2.h"

static struct smmuv3_ids *
get_ids(struct smmuv3 *s, bool stage2)
{
	return stage2 ? &s->vmids : &s->asids;
}

int
smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void *parent, void **out)
{
	bool stage2 = tr->format == IOPF_FORMAT_ARM64_S2;
	struct smmuv3 *s = priv;
	struct smmuv3_domain *domain;
	int id, ret;

	RTE_SET_USED(parent);
	ret = stage2 ? smmuv3_stage2_check_translation(s, tr) : smmuv3_cd_check_translation(s, tr);
	if (ret < 0)
		return ret;
	domain = calloc(1, sizeof(*domain));
	if (domain == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&s->tables_lock);
	id = smmuv3_ids_get(get_ids(s, stage2));
	pthread_mutex_unlock(&s->tables_lock);
	if (id < 0) {
		if (stage2)
			SMMUV3_LOG(ERR, s, "all %u VMIDs are in use, one for each stage-2 domain: "
					"detach one from its last device", s->vmids.nb - 1);
		else
			SMMUV3_LOG(ERR, s, "all %u ASIDs are in use, one for each domain: detach "
					"one from its last device", s->asids.nb - 1);
		free(domain);
		return id;
	}
	domain->tr = *tr;
	domain->asid = stage2 ? SMMUV3_ASID_NONE : id;
	domain->vmid = stage2 ? id : SMMUV3_VMID_NONE;
	domain->refs = 1;
	*out = domain;
	return 0;
}

void
smmuv3_domain_get(struct smmuv3 *s, struct smmuv3_domain *domain)
{
	pthread_mutex_lock(&s->tables_lock);
	domain->refs++;
	pthread_mutex_unlock(&s->tables_lock);
}

void
smmuv3_domain_put(struct smmuv3 *s, struct smmuv3_domain *domain)
{
	bool stage2 = smmuv3_domain_is_stage2(domain), last;

	pthread_mutex_lock(&s->tables_lock);
	last = --domain->refs == 0;
	/* The TLB has no entry of it: each attachment invalidated it before release. */
	if (last)
		smmuv3_ids_put(get_ids(s, stage2), stage2 ? domain->vmid : domain->asid);
	pthread_mutex_unlock(&s->tables_lock);
	if (last)
		free(domain);
}

void
smmuv3_domain_del(void *priv, void *domain)
{
	smmuv3_domain_put(priv, domain);
}
