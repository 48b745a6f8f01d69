/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The virtual SMMU: creation, SMMUEN, STEs. */

#include <errno.h>
#include <stdlib.h>

#include <iopf_iommu.h>

#include "relay_priv.h"
#include "smmuv3_spec.h"

/*
 * Hints about attributes of memory, which a coherent host ignores; and PPAR, since the library
 * knows the form of an endpoint's answers.
 */
#define STE1_IGNORED	(SMMUV3_STE1_SHCFG | SMMUV3_STE1_ALLOCCFG | SMMUV3_STE1_MEMATTR | \
			SMMUV3_STE1_MTCFG | SMMUV3_STE1_PRIVCFG | SMMUV3_STE1_INSTCFG | \
			SMMUV3_STE1_PPAR)

struct relay_dev *
relay_find_dev(struct relay *r, uint32_t vsid)
{
	for (unsigned int i = 0; i < r->nb_devs; i++)
		if (r->dev[i].vsid == vsid)
			return &r->dev[i];
	return NULL;
}

/* Words 0 and 1 of the guest's STE; 0 if it has none. The virtual SMMU has linear tables only. */
static void
read_ste(const struct relay_dev *d, uint64_t ste[2])
{
	uint64_t base;
	uint32_t cfg;

	ste[0] = ste[1] = 0;
	if (!smmuv3_front_is_on(d->relay->front))
		return;
	smmuv3_front_strtab(d->relay->front, &base, &cfg);
	if (d->vsid >> SMMUV3_GET(SMMUV3_STRTAB_CFG_LOG2SIZE, cfg) != 0 ||
			smmuv3_front_read(d->relay->front, (base & SMMUV3_STRTAB_BASE_ADDR) +
				d->vsid * sizeof(struct smmuv3_ste), ste, 2 * sizeof(*ste)) < 0 ||
			!(ste[0] & SMMUV3_STE0_V))
		ste[0] = ste[1] = 0;
	ste[1] &= ~STE1_IGNORED;
}

/* The domain that the STE asks for; NULL: the device's accesses abort. */
static struct iopf_domain *
make_domain(struct relay_dev *d)
{
	struct relay *r = d->relay;

	switch (SMMUV3_GET(SMMUV3_STE0_CONFIG, d->ste[0])) {
	case SMMUV3_STE_BYPASS:
		return r->conf.parent;
	case SMMUV3_STE_S1:
		return iopf_domain_create(&(struct iopf_domain_conf){
			.handler = relay_handle_fault,
			.ctx = d,
			.parent = r->conf.parent,
			.deadline_ms = r->conf.deadline_ms,
			.translation = { .format = IOPF_FORMAT_ARM64_GUEST,
				.guest_ste = { d->ste[0], d->ste[1] } },
		});
	default:
		return NULL;
	}
}

static int
cut_off(struct relay_dev *d)
{
	int ret = 0;

	if (d->domain == NULL)
		return 0;
	/* Answers all stalls of the device. */
	ret = iopf_domain_detach(d->domain, d->dev, IOPF_NO_PASID);
	if (ret == 0 && d->domain != d->relay->conf.parent)
		ret = iopf_domain_destroy(d->domain);
	if (ret == 0)
		d->domain = NULL;
	return ret;
}

void
relay_update_ste(struct relay_dev *d)
{
	struct iopf_domain *domain;
	uint64_t ste[2];

	read_ste(d, ste);
	if (ste[0] == d->ste[0] && ste[1] == d->ste[1])
		return;
	if (cut_off(d) < 0)
		return;
	d->ste[0] = ste[0];
	d->ste[1] = ste[1];
	/* Before the attach, whose operations of the device ask for it. */
	d->ats = SMMUV3_GET(SMMUV3_STE0_CONFIG, ste[0]) == SMMUV3_STE_S1 &&
		SMMUV3_GET(SMMUV3_STE1_EATS, ste[1]) == SMMUV3_EATS_FULL;
	d->relay->stats.stes++;
	domain = make_domain(d);
	if (domain == NULL)
		return;
	/* The driver checks the STE. A wrong one leaves the device cut off. */
	if (iopf_domain_attach(domain, d->dev, IOPF_NO_PASID) == 0) {
		d->domain = domain;
	} else {
		d->relay->stats.refused++;
		if (domain != d->relay->conf.parent)
			iopf_domain_destroy(domain);
	}
}

bool
relay_uses_ats(struct relay *r, uint32_t vsid)
{
	const struct relay_dev *d = relay_find_dev(r, vsid);

	return d != NULL && d->ats;
}

static void
change_state(void *ctx)
{
	struct relay *r = ctx;

	for (unsigned int i = 0; i < r->nb_devs; i++)
		relay_update_ste(&r->dev[i]);
	if (!smmuv3_front_is_on(r->front)) {
		relay_end_stalls(r, NULL);
		relay_end_groups(r);
	}
}

static const struct smmuv3_front_ops front_ops = {
	.commands = relay_execute,
	.sync = relay_sync,
	.on = change_state,
	.off = change_state,
};

struct relay *
relay_create(const struct relay_conf *conf)
{
	const bool pri = !conf->no_ats && iopf_iommu_info(conf->iommu)->request_queue_size != 0;
	struct relay *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->conf = *conf;
	r->front = smmuv3_front_create(&(struct smmuv3_front_conf){
		.ops = &front_ops, .ctx = r,
		.smmu = {
			.sid_bits = RELAY_SID_BITS,
			.ssid_bits = SMMUV3_MODEL_NONE,
			.stall_max = RELAY_STALLS,
			.no_features = SMMUV3_MODEL_NO_2LVL_STRTAB,
			.features = pri ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0,
			.regs = conf->regs,
			.regs_size = conf->regs_size,
		},
	});
	if (r->front == NULL || smmuv3_front_mem_add(r->front, conf->mem_addr, conf->mem,
			conf->mem_size) < 0) {
		smmuv3_front_destroy(r->front);
		free(r);
		return NULL;
	}
	return r;
}

int
relay_add_dev(struct relay *r, uint32_t vsid, struct iopf_dev *dev, uint32_t sid)
{
	if (vsid >> RELAY_SID_BITS != 0 || relay_find_dev(r, vsid) != NULL)
		return -EINVAL;
	if (r->nb_devs == RELAY_DEVS)
		return -ENOSPC;
	r->dev[r->nb_devs++] = (struct relay_dev){ .relay = r, .vsid = vsid, .sid = sid,
		.dev = dev };
	return 0;
}

unsigned int
relay_step(struct relay *r)
{
	relay_show_stalls(r);
	return smmuv3_front_step(r->front, 256);
}

int
relay_reset(struct relay *r)
{
	int ret, first = 0;

	for (unsigned int i = 0; i < r->nb_devs; i++) {
		ret = cut_off(&r->dev[i]);
		if (ret < 0)
			first = ret;
		else
			r->dev[i].ste[0] = r->dev[i].ste[1] = 0;
	}
	relay_end_stalls(r, NULL);
	relay_end_groups(r);
	r->atc_failed = false;
	return first;
}

int
relay_destroy(struct relay *r)
{
	int ret = relay_reset(r);

	if (ret < 0)
		return ret;
	smmuv3_front_destroy(r->front);
	free(r);
	return 0;
}

const struct relay_stats *
relay_get_stats(const struct relay *r)
{
	return &r->stats;
}
