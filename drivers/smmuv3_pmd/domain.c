/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Domains. */

#include <stdlib.h>

#include "base.h"
#include "cd.h"
#include "domain.h"
#include "ids.h"
#include "nested.h"
#include "smmuv3_pmd.h"
#include "stage2.h"

/* NULL: a nested domain, which has the VMID of its parent, and the ASIDs of a guest. */
static struct smmuv3_ids *
get_ids(struct smmuv3 *s, enum iopf_format format)
{
	switch (format) {
	case IOPF_FORMAT_ARM64_S2:
		return &s->vmids;
	case IOPF_FORMAT_ARM64_GUEST:
		return NULL;
	default:
		return &s->asids;
	}
}

static int
check_translation(struct smmuv3 *s, const struct iopf_translation *tr,
		struct smmuv3_domain *parent)
{
	switch (tr->format) {
	case IOPF_FORMAT_ARM64_S2:
		return smmuv3_stage2_check_translation(s, tr);
	case IOPF_FORMAT_ARM64_GUEST:
		return smmuv3_nested_check_translation(s, tr, parent);
	default:
		return smmuv3_cd_check_translation(s, tr);
	}
}

/* tables_lock is held. */
static int
take_number(struct smmuv3 *s, struct smmuv3_domain *domain)
{
	struct smmuv3_ids *ids = get_ids(s, domain->tr.format);
	int id = 0;

	if (ids != NULL)
		id = smmuv3_ids_get(ids);
	if (id < 0)
		return id;
	if (ids == &s->vmids)
		domain->vmid = id;
	else
		domain->asid = id;
	if (domain->parent != NULL) {
		domain->vmid = domain->parent->vmid;
		domain->parent->refs++;
		/* A1; the TLBI of the attach is given to the queue after it, which is a release. */
		atomic_fetch_add_explicit(&domain->parent->nb_nested, 1, memory_order_relaxed);
	}
	return 0;
}

int
smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void *parent, void **out)
{
	struct smmuv3 *s = priv;
	struct smmuv3_domain *domain;
	int ret;

	ret = check_translation(s, tr, parent);
	if (ret < 0)
		return ret;
	domain = calloc(1, sizeof(*domain));
	if (domain == NULL)
		return -ENOMEM;
	domain->tr = *tr;
	domain->asid = SMMUV3_ASID_NONE;
	domain->vmid = SMMUV3_VMID_NONE;
	domain->parent = parent;
	domain->refs = 1;
	pthread_mutex_lock(&s->tables_lock);
	ret = take_number(s, domain);
	pthread_mutex_unlock(&s->tables_lock);
	if (ret < 0) {
		if (tr->format == IOPF_FORMAT_ARM64_S2)
			SMMUV3_LOG(ERR, s, "all %u VMIDs are in use, one for each stage-2 domain: "
					"detach one from its last device", s->vmids.nb - 1);
		else
			SMMUV3_LOG(ERR, s, "all %u ASIDs are in use, one for each domain: detach "
					"one from its last device", s->asids.nb - 1);
		free(domain);
		return ret;
	}
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
	struct smmuv3_ids *ids = get_ids(s, domain->tr.format);
	struct smmuv3_domain *parent = domain->parent;
	bool last;

	pthread_mutex_lock(&s->tables_lock);
	last = --domain->refs == 0;
	/* The TLB has no entry of it: each attachment invalidated it before release. */
	if (last && ids != NULL)
		smmuv3_ids_put(ids, ids == &s->vmids ? domain->vmid : domain->asid);
	if (last && parent != NULL)
		atomic_fetch_sub_explicit(&parent->nb_nested, 1, memory_order_relaxed);
	pthread_mutex_unlock(&s->tables_lock);
	if (!last)
		return;
	free(domain);
	if (parent != NULL)
		smmuv3_domain_put(s, parent);
}

void
smmuv3_domain_del(void *priv, void *domain)
{
	smmuv3_domain_put(priv, domain);
}
