/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Replace the domain of a (device, SubstreamID) while the device accesses memory.
 *
 *	ATC words of the new domain, TLBI by its ASID (ATS only: see atc.c)
 *	the new CD is live, by one word: cd_switch.c; the rest is the detach of the old attachment,
 *	from stage REPLACED on:
 *	CFGI: no access uses the old CD; TLBI by the old ASID; ATC_INV (ATS only); release
 *
 * The argument of atc.c holds: A1 to A3 come before the switch, which is A4. Until its ATC_INV is
 * complete the old attachment's ATC words stay in the list of the old domain: an endpoint that got
 * a translation through the old CD is not missed there either.
 *
 * Between a stage-2 domain and domains nested in it the STEs switch, by one store too unless word 1
 * differs (smmuv3_stes_switch()): stage 2 stays as it is.
 *
 * An error before the switch leaves everything as it was. After it there are two attachments of the
 * SubstreamID: the old one keeps its domain, with the ASID, and its ATC words until a detach of it
 * has carried out the remaining stages. The new one is attached, and can be detached before.
 */

#include <errno.h>
#include <stdlib.h>

#include "attach.h"
#include "base.h"
#include "cd.h"
#include "dev.h"
#include "domain.h"
#include "nested.h"
#include "smmuv3_pmd.h"
#include "ste.h"

int
smmuv3_replace_finish(struct smmuv3 *s, struct smmuv3_attachment *old)
{
	struct smmuv3_dev *dev = old->dev;

	old->inv_all_pasids = true;
	/* Its successor has stopped the STEs. */
	if (!dev->live)
		return 0;
	return smmuv3_stes_switch(s, dev, old->domain->parent != NULL);
}

/* A breaker may have switched the stalls off. The accesses of the new domain stall. */
static int
prepare_stes(struct smmuv3 *s, struct smmuv3_dev *dev, const struct smmuv3_domain *domain)
{
	int ret = domain->parent != NULL ? smmuv3_nested_check_dev(s, domain, dev) : 0;

	return ret == 0 && dev->stalls_off ? smmuv3_stes_set_s2s(s, dev, dev->stall) : ret;
}

int
smmuv3_replace(void *priv, void *attachment, void *domain, void **next)
{
	struct smmuv3_attachment *old = attachment, *a;
	struct smmuv3_dev *dev = old->dev;
	struct smmuv3 *s = priv;
	int ret;

	*next = NULL;
	if (old->stage != SMMUV3_ATTACHED || !dev->live)
		return -EBUSY;
	if (dev->stage2 != smmuv3_domain_stage2(domain)) {
		SMMUV3_LOG(ERR, s, "StreamID %u: a stage-2 domain cannot be replaced, nor replace "
				"another: detach the old domain and attach the new one",
				dev->sids[0]);
		return -ENOTSUP;
	}
	if (dev->stage2 != NULL) {
		ret = prepare_stes(s, dev, domain);
		if (ret < 0)
			return ret;
	}
	a = smmuv3_attachment_new(s, dev, domain, old->ssid);
	if (a == NULL)
		return -ENOMEM;
	ret = smmuv3_attachment_prepare(s, a);
	if (ret == 0 && dev->stage2 == NULL)
		ret = smmuv3_cd_switch(s, dev, a->ssid, domain);
	if (ret < 0) {
		/* The SMMU has never seen its CD. */
		smmuv3_attachment_release(s, a);
		return ret;
	}
	/* The STEs are switched by smmuv3_replace_finish(). */
	if (dev->stage2 != NULL)
		dev->nested = a->domain->parent != NULL ? a->domain : NULL;
	a->stage = SMMUV3_ATTACHED;
	dev->nb_live++;
	old->stage = SMMUV3_REPLACED;
	*next = a;
	return smmuv3_detach(s, old);
}
