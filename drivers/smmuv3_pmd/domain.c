/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Domains and their ASIDs. An ASID is given out again as late as possible: an invalidation
 * that was forgotten somewhere then does not meet another domain at once.
 */

#include <stdlib.h>

#include "cd.h"
#include "domain.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

/* From the last one given out on. The lock is held. */
static int
asid_get(struct smmuv3 *s)
{
	unsigned int nb = s->nb_asids / 64, n, w;
	uint64_t unused;

	/* The first word twice: its upper part, and at the end the rest. */
	for (n = 0; n <= nb; n++) {
		w = (s->next_asid / 64 + n) % nb;
		unused = ~s->asids[w];
		if (n == 0)
			unused &= UINT64_MAX << s->next_asid % 64;
		if (unused == 0)
			continue;
		s->asids[w] |= unused & -unused;
		w = 64 * w + __builtin_ctzll(unused);
		s->next_asid = (w + 1) % s->nb_asids;
		return w;
	}
	return -ENOSPC;
}

int
smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void **out)
{
	struct smmuv3 *s = priv;
	struct smmuv3_domain *domain;
	int asid;
	int ret;

	ret = smmuv3_translation_check(s, tr);
	if (ret < 0)
		return ret;
	domain = calloc(1, sizeof(*domain));
	if (domain == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&s->tables_lock);
	asid = asid_get(s);
	pthread_mutex_unlock(&s->tables_lock);
	if (asid < 0) {
		SMMUV3_LOG(ERR, s, "all %u ASIDs are in use, one for each domain",
				s->nb_asids - 1);
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
	/* The TLB has nothing of it: each attachment saw to that before it was released. */
	if (last)
		s->asids[domain->asid / 64] &= ~(UINT64_C(1) << domain->asid % 64);
	pthread_mutex_unlock(&s->tables_lock);
	if (last)
		free(domain);
}

void
smmuv3_domain_del(void *priv, void *domain)
{
	smmuv3_domain_put(priv, domain);
}
