/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>

#include "ats_rig.h"
#include "iopf_handler.h"
#include "test.h"

const struct smmuv3_model_conf ats_conf = {
	.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
	.choices = SMMUV3_MODEL_STICKY_TLB,
};

void
ats_open(struct pmd *p, const struct smmuv3_model_conf *conf)
{
	pmd_open(p, conf != NULL ? conf : &ats_conf);
	assert_int_equal(p->ops->start(p->s), 0);
}

void
ats_run_model(struct pmd *p)
{
	p->s->timeout *= 60;
	assert_int_equal(smmuv3_model_start(p->m, -1), 0);
}

void *
ats_add_dev_sids(struct pmd *p, const uint32_t *sids, unsigned int n, uint32_t nb_pasids,
		bool prg_pasid)
{
	const struct iopf_dev_conf conf = {
		.sids = sids,
		.nb_sids = n,
		.nb_pasids = nb_pasids,
		.recover = IOPF_PRI,
		.prg_pasid = prg_pasid,
	};
	void *dev;

	assert_int_equal(p->ops->dev_add(p->s, &conf, &dev), 0);
	return dev;
}

void *
ats_add_dev(struct pmd *p, uint32_t sid, uint32_t nb_pasids)
{
	return ats_add_dev_sids(p, &sid, 1, nb_pasids, false);
}

void *
ats_add_domain(struct pmd *p)
{
	struct iopf_translation tr = {
		.format = IOPF_FORMAT_ARM64_S1,
		.va_bits = 48,
		.granule_log2 = p->granule_log2,
	};
	void *domain;

	p->root = pmd_alloc(p, (size_t)1 << p->granule_log2, (size_t)1 << p->granule_log2);
	tr.root = (uintptr_t)p->root;
	assert_int_equal(p->ops->domain_add(p->s, &tr, NULL, &domain), 0);
	return domain;
}

void
ats_attach(struct pmd *p, void *dev, uint32_t pasid, void *domain)
{
	assert_int_equal(rig_attach(p->ops, p->s, dev, pasid, domain), 0);
}

void
ats_detach(struct pmd *p, void *dev, uint32_t pasid)
{
	assert_int_equal(rig_detach(p->ops, p->s, dev, pasid), 0);
}

struct smmuv3_model_dma *
ats_add_engine(struct pmd *p, uint32_t sid, uint32_t pasid, bool prg_pasid)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(p->m,
			&(struct smmuv3_model_dma_conf){
		.sid = sid,
		.has_ssid = pasid != IOPF_NO_PASID,
		.ssid = pasid != IOPF_NO_PASID ? pasid : 0,
		.kind = SMMUV3_MODEL_DMA_ATS,
		.prg_pasid = prg_pasid,
	});
	int ret;

	assert_non_null(dma);
	ret = smmuv3_model_dma_ats_enable(dma, __builtin_ctz(p->info.granules));
	/* A second engine belongs to the same endpoint. */
	assert_true(ret == 0 || ret == -EBUSY);
	return dma;
}

enum smmuv3_model_status
ats_touch(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t va)
{
	uint8_t byte = 0x5a;

	p->dma = dma;
	pmd_write(p, va, &byte, 1);
	return pmd_wait_done(p);
}

bool
ats_can_reach(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t va)
{
	return ats_touch(p, dma, va) == SMMUV3_MODEL_OK;
}

void *
ats_map(struct pmd *p, uint64_t va)
{
	size_t size = (size_t)1 << p->granule_log2;
	void *page = pmd_alloc(p, size, size);

	pmd_map(p, va, page);
	return page;
}

void
ats_unmap(struct pmd *p, uint64_t va)
{
	__atomic_store_n(pmd_get_pte(p, va), 0, __ATOMIC_RELEASE);
}

int
ats_invalidate(struct pmd *p, void *domain, uint64_t va, unsigned int *done)
{
	const struct iopf_inv inv = { .addr = va, .size = (uint64_t)1 << p->granule_log2,
		.leaf_only = true };
	struct iopf_inv_result result;
	int ret = p->ops->invalidate(p->s, domain, &inv, 1, &result);

	*done = ret < 0 ? result.done : 1;
	return ret;
}

void
ats_invalidate_page(struct pmd *p, void *domain, uint64_t va)
{
	unsigned int done = 0;

	assert_int_equal(ats_invalidate(p, domain, va, &done), 0);
	assert_int_equal(done, 1);
}

void
ats_finish_recovery(struct pmd *p)
{
	for (unsigned int i = 0; i < 200; i++) {
		p->ops->check(p->s);
		smmuv3_model_step(p->m, 64);
	}
}

void
ats_close(struct pmd *p)
{
	assert_int_equal(p->ops->stop(p->s), 0);
	pmd_close(p);
}
