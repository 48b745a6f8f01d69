/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Domains. */

#include <stdlib.h>

#include "asid.h"
#include "base.h"
#include "cd.h"
#include "domain.h"
#include "smmuv3_pmd.h"

int
smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void **out)
{
	struct smmuv3 *s = priv;
	struct smmuv3_domain *domain;
	int asid;
	int ret;

	ret = smmuv3_cd_check_translation(s, tr);
	if (ret < 0)
		return ret;
	domain = calloc(1, sizeof(*domain));
	if (domain == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&s->tables_lock);
	asid = smmuv3_asid_get(s);
	pthread_mutex_unlock(&s->tables_lock);
	if (asid < 0) {
		SMMUV3_LOG(ERR, s, "all %u ASIDs are in use, one for each domain: remove a domain",
				s->asids.nb - 1);
		free(domain);
		return asid;
	}
	domain->tr = *tr;
	domain->asid = asid;
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
	bool last;

	pthread_mutex_lock(&s->tables_lock);
	last = --domain->refs == 0;
	/* The TLB has no entry of this ASID: each attachment invalidated it before release. */
	if (last)
		smmuv3_asid_put(s, domain->asid);
	pthread_mutex_unlock(&s->tables_lock);
	if (last)
		free(domain);
}

void
smmuv3_domain_del(void *priv, void *domain)
{
	smmuv3_domain_put(priv, domain);
}
