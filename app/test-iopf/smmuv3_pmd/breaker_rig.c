/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "breaker_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

const struct breaker_kind breaker_kinds[NB_KINDS] = {
	{ IOPF_STALL, 1, false, SMMUV3_STALL_MODEL_BOTH, false },
	{ IOPF_STALL, 3, true, SMMUV3_STALL_MODEL_BOTH, false },
	{ IOPF_STALL, 1, false, SMMUV3_STALL_MODEL_FORCED, false },
	{ IOPF_TERMINATE, 1, true, SMMUV3_STALL_MODEL_TERM, false },
	{ IOPF_PRI, 1, false, SMMUV3_STALL_MODEL_BOTH, false },
	{ IOPF_PRI, 2, true, SMMUV3_STALL_MODEL_BOTH, false },
};

const struct breaker_kind breaker_s2_kinds[NB_S2_KINDS] = {
	{ IOPF_STALL, 1, false, SMMUV3_STALL_MODEL_BOTH, true },
	{ IOPF_STALL, 3, false, SMMUV3_STALL_MODEL_FORCED, true },
	{ IOPF_TERMINATE, 1, false, SMMUV3_STALL_MODEL_TERM, true },
	{ IOPF_PRI, 2, false, SMMUV3_STALL_MODEL_BOTH, true },
};

struct breaker breaker;

void
breaker_stop_cmdq(bool on)
{
	smmuv3_model_knob(breaker.rig->p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, on);
	breaker.stuck = on;
}

static bool
break_sync(void *ctx, struct smmuv3_wait *w)
{
	struct pmd *p = &breaker.rig->p;
	struct smmuv3_cmdq *q = &p->s->cmdq;

	if (breaker.at != 0 && pmd_read_stat(p, "syncs") >= breaker.at) {
		breaker.at = 0;
		breaker.hit = true;
		breaker_stop_cmdq(true);
		/*
		 * The model caches entries that are valid in memory now, and translates through
		 * them if it can.
		 */
		if (!breaker.quiet)
			breaker_write_all(breaker.rig, OLD);
		if (breaker.fault == REFUSED) {
			q->ring[(q->tail - 2) & ((1u << q->log2) - 1)] = (struct smmuv3_cmd){
				.dw = { 0 } };
			breaker_stop_cmdq(false);
		}
	}
	breaker.real->wait(ctx, w);
	return !breaker.stuck;
}

void
breaker_set(struct breaker_rig *r)
{
	breaker.rig = r;
	breaker.real = r->p.s->cmdq.ops;
	breaker.ops = *breaker.real;
	breaker.ops.wait = break_sync;
	r->p.s->cmdq.ops = &breaker.ops;
}

void
breaker_arm(struct pmd *p, enum breaker_fault fault, unsigned int n)
{
	breaker.fault = fault;
	breaker.hit = breaker.quiet = false;
	breaker.at = pmd_read_stat(p, "syncs") + n;
}

void
breaker_repair(struct pmd *p)
{
	breaker.at = 0;
	breaker_stop_cmdq(false);
	pmd_step(p);
}

void *
breaker_add_domain(struct pmd *p)
{
	struct iopf_translation tr = {
		.format = p->stage2 ? IOPF_FORMAT_ARM64_S2 : IOPF_FORMAT_ARM64_S1,
		.va_bits = 48,
		.granule_log2 = p->granule_log2,
	};
	size_t size = (size_t)1 << p->granule_log2;
	void *domain;

	p->root = pmd_alloc(p, size, size);
	tr.root = (uintptr_t)p->root;
	assert_int_equal(p->ops->domain_add(p->s, &tr, NULL, &domain), 0);
	return domain;
}

uint16_t
breaker_get_asid(void *domain)
{
	const struct smmuv3_domain *d = domain;

	return d->vmid != SMMUV3_VMID_NONE ? d->vmid : d->asid;
}

void
breaker_tell_frame(struct pmd *p, const void *page, bool give)
{
	size_t size = (size_t)1 << p->granule_log2;

	assert_int_equal(give ? smmuv3_model_frame_give(p->m, (uintptr_t)page, size, 0) :
			smmuv3_model_frame_free(p->m, (uintptr_t)page, size), 0);
}

static struct smmuv3_model_conf
make_model_conf(const struct breaker_kind *kind)
{
	return (struct smmuv3_model_conf){
		.stall_model = kind->stall_model,
		.features = (kind->recover == IOPF_PRI ?
				SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0) |
			(kind->stage2 ? SMMUV3_MODEL_S2 : 0),
		.no_features = SMMUV3_MODEL_NO_ASID16,
		.choices = SMMUV3_MODEL_STICKY_TLB,
		.harsh = HARSH,
	};
}

bool
breaker_has_kind(const struct breaker_kind *kind)
{
	const struct smmuv3_model_conf conf = make_model_conf(kind);

	return !backend_rig_lacks(&conf);
}

void
breaker_open(struct breaker_rig *r, const struct breaker_kind *kind)
{
	const uint32_t sids[3] = { PMD_SID, PMD_SID + 1, 0x345 };
	const struct iopf_dev_conf conf = {
		.sids = sids,
		.nb_sids = kind->nb_sids,
		.nb_pasids = 8,
		.recover = kind->recover,
	};
	struct smmuv3_model_conf model_conf;
	struct pmd *p = &r->p;

	r->kind = kind;
	model_conf = make_model_conf(kind);
	pmd_open(p, &model_conf);
	p->untidy = true;	/* the test causes commands that the SMMU refuses */
	breaker_set(r);
	assert_int_equal(p->ops->start(p->s), 0);
	assert_int_equal(p->ops->dev_add(p->s, &conf, &p->dev), 0);
	r->keeper = breaker_add_domain(p);
	if (kind->keeper)
		assert_int_equal(rig_attach(p->ops, p->s, p->dev, KEEPER, r->keeper), 0);
	p->stage2 = kind->stage2;
	r->pasid = kind->stage2 ? IOPF_NO_PASID : PASID;
	r->domain = breaker_add_domain(p);
	r->asid = breaker_get_asid(r->domain);
	r->page = pmd_alloc(p, 1 << 16, 1 << 16);
	memset(r->page, OLD, 1 << p->granule_log2);
	breaker_tell_frame(p, r->page, true);
	pmd_map(p, VA, r->page);
	for (unsigned int i = 0; i < kind->nb_sids; i++) {
		r->dma[i] = smmuv3_model_dma_create(p->m, &(struct smmuv3_model_dma_conf){
			.sid = sids[i],
			.has_ssid = !kind->stage2,
			.ssid = kind->stage2 ? 0 : PASID,
			.kind = kind->recover == IOPF_PRI ? SMMUV3_MODEL_DMA_ATS :
					SMMUV3_MODEL_DMA_PLAIN,
		});
		assert_non_null(r->dma[i]);
	}
}

void
breaker_close(struct breaker_rig *r)
{
	struct pmd *p = &r->p;

	if (r->kind->keeper)
		assert_int_equal(rig_detach(p->ops, p->s, p->dev, KEEPER), 0);
	p->ops->domain_del(p->s, r->keeper);
	assert_int_equal(p->ops->dev_del(p->s, p->dev), 0);
	assert_int_equal(p->ops->stop(p->s), 0);
	for (unsigned int i = 0; i < r->kind->nb_sids; i++)
		smmuv3_model_dma_destroy(r->dma[i]);
	p->s->cmdq.ops = breaker.real;
	pmd_close(p);
}

unsigned int
breaker_write_all(struct breaker_rig *r, uint8_t byte)
{
	struct pmd *p = &r->p;
	struct smmuv3_model_done done;
	struct iopf_event event;
	unsigned int ok = 0, turn;

	for (unsigned int i = 0; i < r->kind->nb_sids; i++) {
		p->dma = r->dma[i];
		pmd_write(p, VA, &byte, 1);
		for (turn = 0; smmuv3_model_dma_poll(p->dma, &done, 1) == 0; turn++) {
			assert_in_range(turn, 0, 10000);
			smmuv3_model_step(p->m, 64);
			while (p->ops->poll(p->s, IOPF_QUEUE_EVENTS, &event, 1) == 1)
				if (event.flags & IOPF_EVENT_STALL)
					pmd_answer(p, &event, IOPF_INVALID);
		}
		ok += done.status == SMMUV3_MODEL_OK;
	}
	return ok;
}

unsigned int
breaker_count_atcs(const struct pmd *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; p->s->atcs != NULL && i < SMMUV3_NB_ATCS; i++)
		n += atomic_load(&p->s->atcs[i].word) != 0;
	return n;
}

void
breaker_check_asid(struct breaker_rig *r)
{
	struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	struct iopf_translation stage2 = { .format = IOPF_FORMAT_ARM64_S2, .va_bits = 48,
		.granule_log2 = r->p.granule_log2 };
	struct pmd *p = &r->p;
	void *others[256];
	unsigned int n;

	for (n = 0; p->ops->domain_add(p->s, p->stage2 ? &stage2 : &none, NULL,
			&others[n]) == 0; n++)
		assert_int_not_equal(breaker_get_asid(others[n]), r->asid);
	assert_in_range(n, 200, 255);
	while (n-- > 0)
		p->ops->domain_del(p->s, others[n]);
}

void *
breaker_add_heir(struct breaker_rig *r)
{
	struct pmd *p = &r->p;
	size_t used = p->used;
	void *domain;

	for (unsigned int i = 0; i < 512; i++) {
		p->used = used;
		domain = breaker_add_domain(p);
		if (breaker_get_asid(domain) == r->asid)
			return domain;
		p->ops->domain_del(p->s, domain);
	}
	fail_msg("no new domain gets the ASID");
	return NULL;
}

uint8_t
breaker_read_record(struct pmd *p, uint32_t sid, uint32_t pasid)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(p->m,
			&(struct smmuv3_model_dma_conf){ .sid = sid,
				.has_ssid = pasid != IOPF_NO_PASID,
				.ssid = pasid != IOPF_NO_PASID ? pasid : 0 });
	struct iopf_event event;
	uint8_t byte = NEW;

	assert_non_null(dma);
	p->dma = dma;
	pmd_write(p, VA, &byte, 1);
	assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_ABORTED);
	pmd_wait_event(p, &event);
	assert_int_equal(event.flags, 0);
	assert_int_equal(event.sid, sid);
	assert_int_equal(event.pasid, pasid);
	assert_int_equal(p->ops->poll(p->s, IOPF_QUEUE_EVENTS, &event, 1), 0);
	smmuv3_model_dma_destroy(dma);
	return event.raw_id;
}
