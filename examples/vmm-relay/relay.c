/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The virtual SMMU: creation, SMMUEN, reset. */

#include <errno.h>
#include <stdlib.h>

#include <rte_eal.h>

#include <iopf_iommu.h>

#include "relay_priv.h"

bool
relay_is_on_thread(struct relay *r)
{
	return rte_gettid() == atomic_load_explicit(&r->thread, memory_order_relaxed);
}

struct relay_dev *
relay_find_dev(struct relay *r, uint32_t vsid)
{
	for (unsigned int i = 0; i < r->nb_devs; i++)
		if (r->dev[i].vsid == vsid)
			return &r->dev[i];
	return NULL;
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

/* The defaults of the virtual SMMU, and what the relay cannot do. */
static void
complete(struct relay_conf *conf)
{
	const struct iopf_iommu_info *info = iopf_iommu_info(conf->iommu);
	struct smmuv3_model_conf *smmu = &conf->smmu;

	if (smmu->sid_bits == 0)
		smmu->sid_bits = RELAY_SID_BITS;
	if (smmu->stall_max == 0 || smmu->stall_max > RELAY_STALLS)
		smmu->stall_max = RELAY_STALLS;
	smmu->ssid_bits = info->pasid_bits != 0 ? info->pasid_bits : SMMUV3_MODEL_NONE;
	if (!conf->no_ats && info->request_queue_size != 0)
		smmu->features |= SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI;
	smmu->regs = conf->regs;
	smmu->regs_size = conf->regs_size;
}

struct relay *
relay_create(const struct relay_conf *conf)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->conf = *conf;
	complete(&r->conf);
	r->front = smmuv3_front_create(&(struct smmuv3_front_conf){ .ops = &front_ops, .ctx = r,
			.smmu = r->conf.smmu });
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
	if ((uint64_t)vsid >> r->conf.smmu.sid_bits != 0 || relay_find_dev(r, vsid) != NULL)
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
	atomic_store_explicit(&r->thread, rte_gettid(), memory_order_relaxed);
	relay_show_stalls(r);
	return smmuv3_front_step(r->front, 256);
}

int
relay_reset(struct relay *r)
{
	int ret, first = 0;

	for (unsigned int i = 0; i < r->nb_devs; i++) {
		ret = relay_cut_off(&r->dev[i]);
		if (ret < 0)
			first = ret;
		r->dev[i].ste = (struct relay_ste){ 0 };
		r->dev[i].event = 0;
		r->dev[i].ats = false;
		r->dev[i].late = ret < 0;
	}
	relay_end_stalls(r, NULL);
	relay_end_groups(r);
	r->atc_failed = false;
	smmuv3_front_reset(r->front);
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

struct smmuv3_front *
relay_get_front(struct relay *r)
{
	return r->front;
}

const struct relay_stats *
relay_get_stats(const struct relay *r)
{
	return &r->stats;
}
