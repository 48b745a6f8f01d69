/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Attach a domain to a (device, SubstreamID), and detach it stage by stage.
 *
 *	attach	ATC words, TLBI by ASID (ATS only: see atc.c); CD; STEs if the device
 *		has none that translate; ATC_INV (ATS only)
 *	replace	see replace.c
 *	detach	CD stops; TLBI by ASID; STEs stop if no other attachment needs them; ATC_INV
 *		(ATS only); release
 *
 * A stage-2 or nested domain has no CD of the driver's, and its device no other attachment: its
 * STEs take the place of the CD. They stop before the TLBI by VMID, and start after words 2 and 3
 * are written. Before an STE is nested there is a TLBI by VMID too: no walk for it combines an old
 * entry of stage 2 (tlbi.c).
 *
 * Each step ends with a CMD_SYNC. If a step fails (-ETIMEDOUT, -EIO) the attachment stays in
 * the stage before it, and the next detach continues there: each step can be repeated. The
 * TLBI uses the ASID or VMID of the domain. The attachment holds the domain, so that neither is
 * given to another user before the SMMU has forgotten them.
 *
 * An attach that fails half-way is undone from the first stage on, whatever stage it had
 * reached: to stop a CD that never started costs a few commands. If the undoing fails too the
 * caller gets the attachment, to detach it later.
 *
 * With ATS the library keeps ATS off at the endpoint during the first attach and the last
 * detach.
 */

#include <stdlib.h>

#include "atc.h"
#include "attach.h"
#include "base.h"
#include "cd.h"
#include "chunk.h"
#include "cmdq.h"
#include "dev.h"
#include "domain.h"
#include "nested.h"
#include "smmuv3_cmd.h"
#include "smmuv3_pmd.h"
#include "ste.h"
#include "tlbi.h"

static int
tlb_inv_domain(struct smmuv3 *s, const struct smmuv3_domain *domain)
{
	const struct smmuv3_cmd tlbi = smmuv3_tlbi_make_all(domain);

	return smmuv3_cmdq_sync(&s->cmdq, &tlbi, 1, NULL);
}

/* The STEs of the device do not translate: no attachment was there before, or is there after. */
static void
set_stage2(struct smmuv3_dev *dev, struct smmuv3_domain *domain)
{
	dev->stage2 = domain != NULL ? smmuv3_domain_stage2(domain) : NULL;
	dev->nested = domain != NULL && domain->parent != NULL ? domain : NULL;
	dev->words_written = false;
}

struct smmuv3_attachment *
smmuv3_attachment_new(struct smmuv3 *s, struct smmuv3_dev *dev, struct smmuv3_domain *domain,
		uint32_t ssid)
{
	struct smmuv3_attachment *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	*a = (struct smmuv3_attachment){ .dev = dev, .domain = domain, .ssid = ssid,
		.stage = SMMUV3_ATCS_EMPTIED };
	smmuv3_domain_get(s, domain);
	smmuv3_attachment_list(s, a);
	dev->nb_attachments++;
	/* A replace changes this later. */
	if (smmuv3_domain_stage2(domain) != NULL && dev->nb_attachments == 1)
		set_stage2(dev, domain);
	return a;
}

int
smmuv3_attachment_prepare(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	int ret = 0;

	if (a->dev->pri)
		ret = smmuv3_atc_add(s, a);
	if (ret < 0 || (!a->dev->pri && a->domain->parent == NULL))
		return ret;
	return tlb_inv_domain(s, a->domain);
}

void
smmuv3_attachment_release(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	smmuv3_attachment_unlist(s, a);
	smmuv3_atc_del(s, a);
	smmuv3_domain_put(s, a->domain);
	a->dev->nb_attachments--;
	if (a->dev->nb_attachments == 0)
		set_stage2(a->dev, NULL);
	else if (!a->dev->live)
		a->dev->nested = NULL;
	free(a);
}

/* After this no walk for the attachment fills the TLB. */
static int
stop_walks(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_dev *dev = a->dev;

	if (a->stage == SMMUV3_REPLACED && smmuv3_domain_stage2(a->domain) == NULL)
		return smmuv3_cd_finish_switch(s, dev);
	if (a->stage == SMMUV3_REPLACED)
		return smmuv3_replace_finish(s, a);
	if (dev->stage2 == NULL)
		return smmuv3_cd_stop(s, dev, a->ssid);
	dev->live = false;
	a->inv_all_pasids = true;
	return smmuv3_stes_stop(s, dev);
}

/* Continue the detach from its stage. 0: the attachment is released. */
static int
undo_stages(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_dev *dev = a->dev;
	int ret;

	switch (a->stage) {
	case SMMUV3_REPLACED:
	case SMMUV3_ATTACHED:
		ret = stop_walks(s, a);
		if (ret < 0)
			return ret;
		a->stage = SMMUV3_CD_STOPPED;
		/* fallthrough */
	case SMMUV3_CD_STOPPED:
		ret = tlb_inv_domain(s, a->domain);
		if (ret < 0)
			return ret;
		a->stage = SMMUV3_TLB_EMPTIED;
		/* fallthrough */
	case SMMUV3_TLB_EMPTIED:
		if (dev->nb_live == 1 && smmuv3_domain_stage2(a->domain) == NULL) {
			dev->live = false;
			a->inv_all_pasids = true;
			ret = smmuv3_stes_stop(s, dev);
			if (ret < 0)
				return ret;
		}
		dev->nb_live--;
		a->stage = SMMUV3_STES_STOPPED;
		/* fallthrough */
	case SMMUV3_STES_STOPPED:
		ret = dev->pri ? smmuv3_atc_inv_attachment(s, a) : 0;
		if (ret < 0)
			return ret;
		a->stage = SMMUV3_ATCS_EMPTIED;
		/* fallthrough */
	case SMMUV3_ATCS_EMPTIED:
		break;
	}
	smmuv3_attachment_release(s, a);
	return 0;
}

/* Make the CD and the STEs translate. */
static int
start_translation(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_dev *dev = a->dev;
	int ret;

	/* From here on a failure is undone from the first stage. */
	a->stage = SMMUV3_ATTACHED;
	dev->nb_live++;
	ret = dev->stage2 != NULL ? 0 : smmuv3_cd_start(s, dev, a->ssid, a->domain);
	if (ret == 0 && !dev->live) {
		a->inv_all_pasids = true;
		dev->may_stall = dev->stall;
		ret = smmuv3_stes_start(s, dev);
		dev->live = ret == 0;
	}
	if (ret == 0 && dev->pri) {
		ret = smmuv3_atc_inv_attachment(s, a);
		if (ret == 0 && smmuv3_atc_is_cut(s, dev))
			ret = -EIO;
	}
	if (ret == 0)
		a->inv_all_pasids = false;
	return ret;
}

/* The index of the CD of this PASID, or -ERANGE. */
static int
find_ssid(const struct smmuv3 *s, const struct smmuv3_dev *dev, uint32_t pasid)
{
	/* Untagged traffic uses CD 0 (S1DSS = SSID0), so that PASID 0 cannot be attached. */
	if (pasid == IOPF_NO_PASID)
		return 0;
	if (pasid != 0 && pasid < dev->nb_pasids)
		return pasid;
	if (dev->nb_pasids < 2)
		SMMUV3_LOG(ERR, s, "PASID %u: the device was added without PASIDs: add it with "
				"nb_pasids, or attach untagged traffic (IOPF_NO_PASID)", pasid);
	else
		SMMUV3_LOG(ERR, s, "PASID %u is out of range: use 1 to %u (untagged traffic "
				"uses CD 0)", pasid, dev->nb_pasids - 1);
	return -ERANGE;
}

/* A stage-2 or nested domain is in the STE, which has no CDs of the driver's then. */
static int
check_stage2(struct smmuv3 *s, const struct smmuv3_dev *dev, uint32_t pasid,
		struct smmuv3_domain *domain)
{
	bool stage2 = smmuv3_domain_stage2(domain) != NULL;

	if (stage2 && pasid != IOPF_NO_PASID) {
		SMMUV3_LOG(ERR, s, "PASID %u: a stage-2 or nested domain is not for a PASID: "
				"attach it with IOPF_NO_PASID", pasid);
		return -ERANGE;
	}
	if (dev->nb_attachments != 0 && (stage2 || dev->stage2 != NULL)) {
		SMMUV3_LOG(ERR, s, "StreamID %u: a stage-2 or nested domain must be the device's "
				"only one, and %s: detach %s first", dev->sids[0],
				dev->stage2 != NULL ? "one is attached" : "others are attached",
				dev->stage2 != NULL ? "it" : "those");
		return -EINVAL;
	}
	return domain->parent != NULL ? smmuv3_nested_check_dev(s, domain, dev) : 0;
}

int
smmuv3_attach(void *priv, void *dev_handle, uint32_t pasid, void *domain, void **attachment)
{
	struct smmuv3_dev *dev = dev_handle;
	struct smmuv3_attachment *a;
	struct smmuv3 *s = priv;
	int ssid, ret;

	*attachment = NULL;
	ret = check_stage2(s, dev, pasid, domain);
	if (ret < 0)
		return ret;
	ssid = find_ssid(s, dev, pasid);
	if (ssid < 0)
		return ssid;
	ret = smmuv3_domain_stage2(domain) != NULL ? 0 : smmuv3_cdtab_ensure_cd(s, dev, ssid);
	if (ret < 0)
		return ret;
	a = smmuv3_attachment_new(s, dev, domain, ssid);
	if (a == NULL)
		return -ENOMEM;
	ret = smmuv3_attachment_prepare(s, a);
	if (ret == 0)
		ret = start_translation(s, a);
	if (ret == 0 || undo_stages(s, a) < 0)
		*attachment = a;
	return ret;
}

int
smmuv3_detach(void *priv, void *attachment)
{
	return undo_stages(priv, attachment);
}
