/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The guest's STEs: found in its stream table, and turned into domains of the host's devices. All
 * addresses here are the guest's and untrusted: the front end reads its memory only.
 */

#include <errno.h>

#include <rte_errno.h>

#include <iopf_guest.h>
#include <iopf_handler.h>

#include "relay_priv.h"
#include "smmuv3_cmd.h"
#include "smmuv3_spec.h"

/*
 * Hints about attributes of memory, which a coherent host ignores; and PPAR, since the library
 * knows the form of an endpoint's answers.
 */
#define STE1_IGNORED	(SMMUV3_STE1_SHCFG | SMMUV3_STE1_ALLOCCFG | SMMUV3_STE1_MEMATTR | \
			SMMUV3_STE1_MTCFG | SMMUV3_STE1_PRIVCFG | SMMUV3_STE1_INSTCFG | \
			SMMUV3_STE1_PPAR)

static uint64_t
align_down(uint64_t addr, unsigned int bits)
{
	return bits < 64 ? addr >> bits << bits : 0;
}

static bool
find_ste_2lvl(struct relay_dev *d, uint64_t base, uint32_t cfg, struct relay_ste *ste,
		uint64_t *addr)
{
	const unsigned int log2 = SMMUV3_GET(SMMUV3_STRTAB_CFG_LOG2SIZE, cfg);
	unsigned int split = SMMUV3_GET(SMMUV3_STRTAB_CFG_SPLIT, cfg), span;
	uint64_t l1std;
	uint32_t low;

	if (split != 8 && split != 10)
		split = 6;
	low = d->vsid & ((1u << split) - 1);
	*addr = align_down(base, log2 > split + 3 ? log2 - split + 3 : 6) +
		sizeof(l1std) * (d->vsid >> split);
	if (smmuv3_front_read(d->relay->front, *addr, &l1std, sizeof(l1std)) < 0) {
		ste->event = SMMUV3_F_STE_FETCH;
		ste->fetch_addr = *addr;
		return false;
	}
	span = SMMUV3_GET(SMMUV3_L1STD_SPAN, l1std);
	if (span == 0 || span > split + 1 || low >> (span - 1) != 0)
		return false;
	*addr = align_down(l1std & SMMUV3_L1STD_L2PTR, span - 1 + 6) +
		sizeof(struct smmuv3_ste) * low;
	return true;
}

/* Where the STE is [5.1, 6.3.23, 6.3.24]. False: there is none, and ste->event is of an access. */
static bool
find_ste(struct relay_dev *d, struct relay_ste *ste, uint64_t *addr)
{
	unsigned int log2;
	uint64_t base;
	uint32_t cfg;

	smmuv3_front_strtab(d->relay->front, &base, &cfg);
	base &= SMMUV3_STRTAB_BASE_ADDR;
	log2 = SMMUV3_GET(SMMUV3_STRTAB_CFG_LOG2SIZE, cfg);
	if (smmuv3_front_records_sids(d->relay->front))
		ste->event = SMMUV3_C_BAD_STREAMID;
	if ((uint64_t)d->vsid >> log2 != 0)
		return false;
	if (SMMUV3_GET(SMMUV3_STRTAB_CFG_FMT, cfg) == SMMUV3_STRTAB_2LVL &&
			!(d->relay->conf.smmu.no_features & SMMUV3_MODEL_NO_2LVL_STRTAB))
		return find_ste_2lvl(d, base, cfg, ste, addr);
	*addr = align_down(base, log2 + 6) + sizeof(struct smmuv3_ste) * d->vsid;
	return true;
}

/* While the SMMU is off there is no STE, and nothing is recorded. */
static struct relay_ste
read_ste(struct relay_dev *d)
{
	struct relay_ste ste = { 0 };
	uint64_t addr;

	if (!smmuv3_front_is_on(d->relay->front) || !find_ste(d, &ste, &addr))
		return ste;
	ste.event = 0;
	if (smmuv3_front_read(d->relay->front, addr, ste.dw, sizeof(ste.dw)) < 0)
		return (struct relay_ste){ .event = SMMUV3_F_STE_FETCH, .fetch_addr = addr };
	if (!(ste.dw[0] & SMMUV3_STE0_V))
		return (struct relay_ste){ .event = SMMUV3_C_BAD_STE };
	ste.dw[1] &= ~STE1_IGNORED;
	return ste;
}

static bool
is_equal(const struct relay_ste *a, const struct relay_ste *b)
{
	return a->dw[0] == b->dw[0] && a->dw[1] == b->dw[1] && a->event == b->event &&
		a->fetch_addr == b->fetch_addr;
}

/* The domain that the STE asks for. NULL: the device is cut off. */
static struct iopf_domain *
make_domain(struct relay_dev *d, const struct relay_ste *ste)
{
	struct relay *r = d->relay;

	switch (SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0])) {
	case SMMUV3_STE_BYPASS:
		return r->conf.parent;
	case SMMUV3_STE_S1:
		return iopf_domain_create(&(struct iopf_domain_conf){
			.handler = relay_handle_fault,
			.ctx = d,
			.parent = r->conf.parent,
			.deadline_ms = r->conf.deadline_ms,
			.translation = { .format = IOPF_FORMAT_ARM64_GUEST,
				.guest_ste = { ste->dw[0], ste->dw[1] } },
		});
	default:
		return NULL;
	}
}

/* Detach and destroy; 0 also if it is attached nowhere. */
static int
drop(struct relay_dev *d, struct iopf_domain **domain)
{
	int ret = 0;

	if (*domain == NULL)
		return 0;
	/* Answers all stalls of it. */
	ret = iopf_domain_detach(*domain, d->dev, IOPF_NO_PASID);
	if (ret == 0 && *domain != d->relay->conf.parent)
		ret = iopf_domain_destroy(*domain);
	if (ret == 0)
		*domain = NULL;
	return ret;
}

int
relay_cut_off(struct relay_dev *d)
{
	int ret = drop(d, &d->domain), former = drop(d, &d->former);

	return ret < 0 ? ret : former;
}

/* From one valid STE to another no access aborts, if the guest changes word 0 only. */
static int
give_domain(struct relay_dev *d, struct iopf_domain *domain)
{
	int ret;

	d->former = d->domain != domain ? d->domain : NULL;
	ret = d->domain == NULL ? iopf_domain_attach(domain, d->dev, IOPF_NO_PASID) :
		iopf_domain_replace(domain, d->dev, IOPF_NO_PASID);
	/* After an error either may be attached. */
	d->domain = domain;
	if (ret == 0)
		drop(d, &d->former);
	return ret;
}

/* CFGI_STE is for the CDs too that were found through the STE [4.3.1]. */
static int
forget_cds(const struct relay_dev *d)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_cfgi_cd_all(d->sid);
	const struct iopf_guest_cmd copy = { .dw = { cmd.dw[0], cmd.dw[1] } };
	int ret;

	if (d->domain == NULL || d->domain == d->relay->conf.parent)
		return 0;
	ret = iopf_invalidate_guest(d->relay->conf.iommu, d->relay->conf.parent, &copy, 1, NULL);
	return ret == -ENOTCONN ? 0 : ret;
}

/*
 * The driver checks the STE (-EINVAL). Whatever the error, the device is cut off then: 0 is that no
 * access uses an STE of before.
 */
static int
change_ste(struct relay_dev *d, const struct relay_ste *ste)
{
	const bool ats = SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]) == SMMUV3_STE_S1 &&
		SMMUV3_GET(SMMUV3_STE1_EATS, ste->dw[1]) == SMMUV3_EATS_FULL;
	struct iopf_domain *domain;
	int ret = 0;

	/* The operations of a device with ATS are called by a detach and an attach. */
	if (d->former != NULL || d->ats || ats)
		ret = relay_cut_off(d);
	if (ret < 0)
		return ret;
	/* Before the attach, whose operations ask for it. */
	d->ats = ats;
	d->relay->stats.stes += ste->dw[0] != 0;
	d->ste = *ste;
	d->event = ste->event;
	domain = make_domain(d, ste);
	/* No memory for the domain is as a failed attach. */
	if (domain != NULL || SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]) == SMMUV3_STE_S1) {
		ret = domain != NULL ? give_domain(d, domain) : -rte_errno;
		if (ret == 0)
			return 0;
		d->relay->stats.refused++;
		/* Another error is not the guest's: CFGI_STE tries again. */
		d->event = ret == -EINVAL ? SMMUV3_C_BAD_STE : 0;
		if (ret != -EINVAL)
			d->ste = (struct relay_ste){ 0 };
	} else if (SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]) >= SMMUV3_STE_S2) {
		d->event = SMMUV3_C_BAD_STE;
	}
	return relay_cut_off(d);
}

void
relay_update_ste(struct relay_dev *d)
{
	const struct relay_ste ste = read_ste(d);

	d->late = (!d->late && is_equal(&ste, &d->ste) ? forget_cds(d) : change_ste(d, &ste)) < 0;
}

bool
relay_finish_stes(struct relay *r)
{
	bool done = true;

	for (unsigned int i = 0; i < r->nb_devs; i++) {
		if (r->dev[i].late)
			relay_update_ste(&r->dev[i]);
		done &= !r->dev[i].late;
	}
	return done;
}
