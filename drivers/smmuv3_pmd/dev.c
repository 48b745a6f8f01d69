/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Devices and domains.
 *
 * With ATS [9.6 of the facts], while the library keeps it off at the device:
 *
 *	first attach	CD; STE with EATS, CFGI, SYNC; ATC_INV of everything, SYNC
 *	last detach	CD terminates; STE aborts, without EATS, CFGI, SYNC; ATC_INV of
 *			everything, SYNC
 *	others		CD terminates, TLBI, SYNC; ATC_INV of the PASID, SYNC
 *
 * A device's STEs abort while nothing is attached, and point to its table of CDs
 * otherwise. Untagged traffic uses CD 0 (S1DSS = SSID0), so that PASID 0 cannot be
 * attached [5.2]: such an access is aborted by the SMMU (F_STREAM_DISABLED).
 */

#include <stdlib.h>

#include "smmuv3_pmd.h"

static int
write_stes(struct smmuv3 *s, const struct smmuv3_dev *dev, const struct smmuv3_ste *ste)
{
	unsigned int i;
	int ret, first = 0;

	/* All, even after an error: fewer streams that pass is never worse. */
	for (i = 0; i < dev->nb_sids; i++) {
		ret = smmuv3_ste_write(s, dev->sids[i], ste);
		first = first < 0 ? first : ret;
	}
	return first;
}

/*
 * EATS changes while the STE aborts, when it has no meaning: each step is one word, which
 * may be live (entry.c).
 */
static int
switch_stes(struct smmuv3 *s, const struct smmuv3_dev *dev, bool on)
{
	struct smmuv3_ste abort, s1, eats;
	int ret, first = 0;

	smmuv3_ste_abort(s, dev, &abort);
	smmuv3_ste_s1(s, dev, &s1);
	eats = abort;
	eats.dw[1] = s1.dw[1];
	if (dev->pri)
		first = write_stes(s, dev, &eats);
	if (on && first < 0)
		return first;
	ret = write_stes(s, dev, on ? &s1 : &abort);
	return first < 0 ? first : ret;
}

static void
dev_free(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	smmuv3_cdtab_destroy(s, dev);
	free(dev);
}

int
smmuv3_dev_add(void *priv, const struct iopf_dev_conf *conf, void **out)
{
	static const struct smmuv3_ste none;
	struct smmuv3 *s = priv;
	struct smmuv3_dev *dev;
	struct smmuv3_ste ste;
	unsigned int i;
	int ret;

	for (i = 0; i < conf->nb_sids; i++)
		if ((uint64_t)conf->sids[i] >> s->sid_bits != 0) {
			SMMUV3_LOG(ERR, s, "StreamID %u: it has %u bits", conf->sids[i],
					s->sid_bits);
			return -ERANGE;
		}
	if (conf->nb_pasids > (s->ssid_bits == 0 ? 0 : 1u << s->ssid_bits)) {
		SMMUV3_LOG(ERR, s, "%u PASIDs: it has %u bits of them", conf->nb_pasids,
				s->ssid_bits);
		return -ERANGE;
	}
	if (conf->recover == IOPF_PRI &&
			(!s->pri || s->stall_model == SMMUV3_STALL_MODEL_FORCED)) {
		SMMUV3_LOG(ERR, s, "%s", s->pri ?
				"it can only stall, which PCIe devices must not" :
				"it has no page requests (IDR0.ATS and IDR0.PRI)");
		return -ENOTSUP;
	}
	if (conf->recover == IOPF_STALL ? s->max_stalls == 0 :
			s->stall_model == SMMUV3_STALL_MODEL_FORCED) {
		SMMUV3_LOG(ERR, s, "%s", conf->recover == IOPF_STALL ?
				"it cannot stall: use IOPF_TERMINATE" :
				"it can only stall: use IOPF_STALL");
		return -ENOTSUP;
	}

	dev = calloc(1, sizeof(*dev) + conf->nb_sids * sizeof(dev->sids[0]));
	if (dev == NULL)
		return -ENOMEM;
	dev->stall = conf->recover == IOPF_STALL;
	dev->pri = conf->recover == IOPF_PRI;
	dev->prg_pasid = conf->prg_pasid;
	dev->nb_pasids = conf->nb_pasids;
	dev->nb_sids = conf->nb_sids;
	memcpy(dev->sids, conf->sids, conf->nb_sids * sizeof(dev->sids[0]));
	ret = smmuv3_cdtab_create(s, dev);
	for (i = 0; ret == 0 && i < dev->nb_sids; i++)
		ret = smmuv3_strtab_need(s, dev->sids[i]);
	if (ret < 0) {
		dev_free(s, dev);
		return ret;
	}
	smmuv3_ste_abort(s, dev, &ste);
	ret = write_stes(s, dev, &ste);
	if (ret < 0) {
		write_stes(s, dev, &none);
		dev_free(s, dev);
		return ret;
	}
	*out = dev;
	return 0;
}

int
smmuv3_dev_del(void *priv, void *handle)
{
	static const struct smmuv3_ste none;
	struct smmuv3_dev *dev = handle;
	struct smmuv3 *s = priv;
	struct smmuv3_cmd term;
	unsigned int i;

	/* Its STEs abort, which was synchronised: the one moment for STALL_TERM [4.6.2]. */
	for (i = 0; i < dev->nb_sids && s->max_stalls > 0; i++) {
		term = smmuv3_cmd_stall_term(dev->sids[i]);
		if (smmuv3_cmdq_sync(&s->cmdq, &term, 1, NULL) < 0)
			SMMUV3_LOG(ERR, s, "StreamID %u: its stalls may not have ended",
					dev->sids[i]);
	}
	write_stes(s, dev, &none);
	dev_free(s, dev);
	return 0;
}

int
smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void **out)
{
	struct smmuv3 *s = priv;
	struct smmuv3_domain *domain;
	unsigned int i;
	int ret;

	ret = smmuv3_translation_check(s, tr);
	if (ret < 0)
		return ret;
	for (i = 0; i < s->nb_asids && s->asids[i / 64] == UINT64_MAX; i += 64)
		;
	if (i >= s->nb_asids) {
		SMMUV3_LOG(ERR, s, "all %u ASIDs are in use, one for each domain",
				s->nb_asids - 1);
		return -ENOSPC;
	}
	domain = calloc(1, sizeof(*domain));
	if (domain == NULL)
		return -ENOMEM;
	domain->tr = *tr;
	domain->asid = i + __builtin_ctzll(~s->asids[i / 64]);
	s->asids[i / 64] |= UINT64_C(1) << domain->asid % 64;
	*out = domain;
	return 0;
}

void
smmuv3_domain_del(void *priv, void *handle)
{
	struct smmuv3_domain *domain = handle;
	struct smmuv3 *s = priv;

	/* The TLB has nothing of this ASID: each detach has seen to it. */
	s->asids[domain->asid / 64] &= ~(UINT64_C(1) << domain->asid % 64);
	free(domain);
}

/* The index of its CD, or -ERANGE. */
static int
ssid_of(const struct smmuv3 *s, const struct smmuv3_dev *dev, uint32_t pasid)
{
	if (pasid == IOPF_NO_PASID)
		return 0;
	if (pasid != 0 && pasid < dev->nb_pasids)
		return pasid;
	SMMUV3_LOG(ERR, s, "PASID %u: 1 to %" PRId64 " are possible (0 is untagged traffic's)",
			pasid, (int64_t)dev->nb_pasids - 1);
	return -ERANGE;
}

int
smmuv3_attach(void *priv, void *dev_handle, uint32_t pasid, void *domain, void **attachment)
{
	struct smmuv3_dev *dev = dev_handle;
	struct smmuv3_attachment *a;
	struct smmuv3 *s = priv;
	int ssid, ret;
	bool first;

	*attachment = NULL;
	ssid = ssid_of(s, dev, pasid);
	if (ssid < 0)
		return ssid;
	a = malloc(sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	*a = (struct smmuv3_attachment){ .dev = dev, .ssid = ssid };
	first = dev->nb_attached == 0;
	if (dev->pri) {
		ret = smmuv3_atc_add(s, dev, ssid, domain);
		if (ret < 0) {
			free(a);
			return ret;
		}
	}
	ret = smmuv3_cd_install(s, dev, ssid, domain);
	if (ret == 0 && first)
		ret = switch_stes(s, dev, true);
	if (ret == 0 && dev->pri)
		ret = smmuv3_atc_inv_dev(s, dev, ssid, first);
	if (ret < 0) {
		if (first)
			switch_stes(s, dev, false);
		smmuv3_cd_terminate(s, dev, ssid);
		if (dev->pri)
			smmuv3_atc_del(s, dev, ssid);
		free(a);
		return ret;
	}
	dev->nb_attached++;
	*attachment = a;
	return 0;
}

int
smmuv3_detach(void *priv, void *attachment)
{
	struct smmuv3_attachment *a = attachment;
	struct smmuv3_dev *dev = a->dev;
	uint32_t ssid = a->ssid;
	struct smmuv3 *s = priv;
	bool last;
	int ret;

	last = dev->nb_attached == 1;
	ret = smmuv3_cd_terminate(s, dev, ssid);
	if (ret == 0 && last)
		ret = switch_stes(s, dev, false);
	if (ret < 0)
		return ret;
	if (dev->pri) {
		ret = smmuv3_atc_inv_dev(s, dev, ssid, last);
		/* One that does not answer is cut off, which is more than was asked for. */
		if (ret < 0 && ret != -EIO)
			return ret;
		smmuv3_atc_del(s, dev, ssid);
	}
	dev->nb_attached--;
	free(a);
	return 0;
}
