/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Attach, detach and removal of devices that fail half-way [design contract 14]: what the
 * SMMU may still use is not given to another, and each call can be repeated until it succeeds.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pmd_rig.h"
#include "test.h"

#define VA	PMD_VA
#define PASID	1
#define KEEPER	2		/* another PASID of the device */
#define OLD	0x11
#define NEW	0x22
#define HARSH	(SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_FLIGHT | \
		SMMUV3_MODEL_HARSH_RANDOM)
#define MAX_SYNCS	64	/* of one attach or detach */

/* How a CMD_SYNC fails. */
enum fault {
	STUCK,		/* the command queue stands still: -ETIMEDOUT */
	REFUSED,	/* a command in front of it is illegal: -EIO */
	NB_FAULTS
};

/* A case: which device, and how it is attached. */
struct kind {
	enum iopf_recover recover;
	unsigned int nb_sids;
	bool keeper;		/* another PASID stays attached */
	unsigned int stall_model;
};

static const struct kind kinds[] = {
	{ IOPF_STALL, 1, false, SMMUV3_STALL_MODEL_BOTH },
	{ IOPF_STALL, 3, true, SMMUV3_STALL_MODEL_BOTH },
	{ IOPF_STALL, 1, false, SMMUV3_STALL_MODEL_FORCED },
	{ IOPF_TERMINATE, 1, true, SMMUV3_STALL_MODEL_TERM },
	{ IOPF_PRI, 1, false, SMMUV3_STALL_MODEL_BOTH },
	{ IOPF_PRI, 2, true, SMMUV3_STALL_MODEL_BOTH },
};

struct rig {
	struct pmd p;
	const struct kind *kind;
	void *domain, *keeper;
	uint16_t asid;
	uint8_t *page;
	struct smmuv3_model_dma *dma[3];
};

/*
 * In place of the command queue's wait(): it is called for each CMD_SYNC before the model has
 * seen it, and this is where the chosen one is made to fail. Time is over when this says so.
 */
static struct {
	struct rig *rig;
	struct smmuv3_cmdq_ops ops;
	const struct smmuv3_cmdq_ops *real;
	enum fault fault;
	uint64_t at;		/* value of the counter syncs, or a position; 0: none */
	bool quiet;		/* no DMA then */
	bool hit, stuck;
} breaker;

static unsigned int write_all(struct rig *r, uint8_t byte);

static void
stand_still(bool on)
{
	smmuv3_model_knob(breaker.rig->p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, on);
	breaker.stuck = on;
}

static bool
break_sync(void *ctx, struct smmuv3_wait *w)
{
	struct pmd *p = &breaker.rig->p;
	struct smmuv3_cmdq *q = &p->s->cmdq;

	if (breaker.at != 0 && pmd_stat(p, "syncs") >= breaker.at) {
		breaker.at = 0;
		breaker.hit = true;
		stand_still(true);
		/* What is live in memory is cached now, and translates if it can. */
		if (!breaker.quiet)
			write_all(breaker.rig, OLD);
		if (breaker.fault == REFUSED) {
			q->ring[(q->tail - 2) & ((1u << q->log2) - 1)] = (struct smmuv3_cmd){
				.dw = { 0 } };
			stand_still(false);
		}
	}
	breaker.real->wait(ctx, w);
	return !breaker.stuck;
}

static void
breaker_set(struct rig *r)
{
	breaker.rig = r;
	breaker.real = r->p.s->cmdq.ops;
	breaker.ops = *breaker.real;
	breaker.ops.wait = break_sync;
	r->p.s->cmdq.ops = &breaker.ops;
}

/* The @p n-th CMD_SYNC from here on fails; with STUCK those behind it too, until repair(). */
static void
arm(struct pmd *p, enum fault fault, unsigned int n)
{
	breaker.fault = fault;
	breaker.hit = breaker.quiet = false;
	breaker.at = pmd_stat(p, "syncs") + n;
}

static void
repair(struct pmd *p)
{
	breaker.at = 0;
	stand_still(false);
	pmd_step(p);
}

static void *
add_domain(struct pmd *p)
{
	struct iopf_translation tr = {
		.format = IOPF_FORMAT_ARM64_S1,
		.va_bits = 48,
		.granule_log2 = p->granule_log2,
	};
	size_t size = (size_t)1 << p->granule_log2;
	void *domain;

	p->root = pmd_alloc(p, size, size);
	tr.root = (uintptr_t)p->root;
	assert_int_equal(p->ops->domain_add(p->s, &tr, &domain), 0);
	return domain;
}

static uint16_t
asid_of(void *domain)
{
	return ((struct smmuv3_domain *)domain)->asid;
}

/* The oracle is told that the page is given or freed. */
static void
frame(struct pmd *p, const void *page, bool give)
{
	size_t size = (size_t)1 << p->granule_log2;

	assert_int_equal(give ? smmuv3_model_frame_give(p->m, (uintptr_t)page, size, 0) :
			smmuv3_model_frame_free(p->m, (uintptr_t)page, size), 0);
}

static void
rig_up(struct rig *r, const struct kind *kind)
{
	const uint32_t sids[3] = { PMD_SID, PMD_SID + 1, 0x345 };
	const struct iopf_dev_conf conf = {
		.sids = sids,
		.nb_sids = kind->nb_sids,
		.nb_pasids = 8,
		.recover = kind->recover,
	};
	struct pmd *p = &r->p;

	r->kind = kind;
	pmd_open(p, &(struct smmuv3_model_conf){
		.stall_model = kind->stall_model,
		.features = kind->recover == IOPF_PRI ?
				SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0,
		.no_features = SMMUV3_MODEL_NO_ASID16,
		.choices = SMMUV3_MODEL_STICKY_TLB,
		.harsh = HARSH,
	});
	p->untidy = true;	/* commands that the SMMU refuses are meant */
	breaker_set(r);
	assert_int_equal(p->ops->start(p->s), 0);
	assert_int_equal(p->ops->dev_add(p->s, &conf, &p->dev), 0);
	r->keeper = add_domain(p);
	if (kind->keeper)
		assert_int_equal(rig_attach(p->ops, p->s, p->dev, KEEPER, r->keeper), 0);
	r->domain = add_domain(p);
	r->asid = asid_of(r->domain);
	r->page = pmd_alloc(p, 1 << 16, 1 << 16);
	memset(r->page, OLD, 1 << p->granule_log2);
	frame(p, r->page, true);
	pmd_map(p, VA, r->page);
	for (unsigned int i = 0; i < kind->nb_sids; i++) {
		r->dma[i] = smmuv3_model_dma_create(p->m, &(struct smmuv3_model_dma_conf){
			.sid = sids[i],
			.has_ssid = true,
			.ssid = PASID,
			.kind = kind->recover == IOPF_PRI ? SMMUV3_MODEL_DMA_ATS :
					SMMUV3_MODEL_DMA_PLAIN,
		});
		assert_non_null(r->dma[i]);
	}
}

static void
rig_down(struct rig *r)
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

/* As the library does: ATS is on behind the first attach, off before the last detach. */
static void
ats(struct rig *r, bool on)
{
	for (unsigned int i = 0; r->kind->recover == IOPF_PRI && i < r->kind->nb_sids; i++)
		assert_int_equal(on ? smmuv3_model_dma_ats_enable(r->dma[i], 12) :
				smmuv3_model_dma_ats_disable(r->dma[i]), 0);
}

/*
 * One write by each StreamID. Each ends: stalls are answered with @p code. Returns how many
 * succeeded.
 */
static unsigned int
write_all(struct rig *r, uint8_t byte)
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

static unsigned int
used_atcs(const struct pmd *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; p->s->atcs != NULL && i < SMMUV3_NB_ATCS; i++)
		n += atomic_load(&p->s->atcs[i].word) != 0;
	return n;
}

/* While the attachment may be in use: no other domain has its ASID. */
static void
asid_is_kept(struct rig *r)
{
	struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	struct pmd *p = &r->p;
	void *others[256];
	unsigned int n;

	for (n = 0; p->ops->domain_add(p->s, &none, &others[n]) == 0; n++)
		assert_int_not_equal(asid_of(others[n]), r->asid);
	assert_in_range(n, 200, 255);
	while (n-- > 0)
		p->ops->domain_del(p->s, others[n]);
}

/* A domain without a page that has the same ASID. */
static void *
heir(struct rig *r)
{
	struct pmd *p = &r->p;
	size_t used = p->used;
	void *domain;

	for (unsigned int i = 0; i < 512; i++) {
		p->used = used;
		domain = add_domain(p);
		if (asid_of(domain) == r->asid)
			return domain;
		p->ops->domain_del(p->s, domain);
	}
	fail_msg("the ASID is not given out again");
	return NULL;
}

/*
 * It was detached, or not attached, with success: nothing of it is left, in memory, in the
 * TLB, in an ATC. Its page is freed, which an access would show.
 */
static void
nothing_is_left(struct rig *r, bool with_ats)
{
	unsigned int atcs = r->kind->recover == IOPF_PRI && r->kind->keeper ? r->kind->nb_sids : 0;
	struct pmd *p = &r->p;

	assert_int_equal(used_atcs(p), atcs);
	frame(p, r->page, false);
	memset(r->page, OLD, 1 << p->granule_log2);
	assert_int_equal(write_all(r, NEW), 0);
	p->ops->domain_del(p->s, r->domain);
	r->domain = heir(r);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r->domain), 0);
	if (!with_ats)
		ats(r, true);
	assert_int_equal(write_all(r, NEW), 0);
	for (size_t i = 0; i < (size_t)1 << p->granule_log2; i++)
		assert_int_equal(r->page[i], OLD);
	/* It can be used as always. */
	frame(p, r->page, true);
	pmd_map(p, VA, r->page);
	assert_int_equal(write_all(r, NEW), r->kind->nb_sids);
	ats(r, false);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	p->ops->domain_del(p->s, r->domain);
}

/* Detach until it succeeds. */
static void
detach_at_last(struct rig *r)
{
	struct pmd *p = &r->p;
	int ret;

	/* An attach may have left nothing. */
	do
		ret = rig_detach(p->ops, p->s, p->dev, PASID);
	while (ret == -ETIMEDOUT || ret == -EIO);
	assert_true(ret == 0 || ret == -ENOENT);
}

/* @return whether its n-th CMD_SYNC was reached. */
static bool
fail_detach(const struct kind *kind, enum fault fault, unsigned int n)
{
	struct rig r = { .domain = NULL };
	struct pmd *p = &r.p;
	bool with_ats = kind->recover == IOPF_PRI && kind->keeper;
	int ret;

	rig_up(&r, kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	ats(&r, true);
	assert_int_equal(write_all(&r, OLD), kind->nb_sids);
	if (!with_ats)
		ats(&r, false);
	assert_int_equal(write_all(&r, OLD), kind->nb_sids);
	arm(p, fault, n);
	ret = rig_detach(p->ops, p->s, p->dev, PASID);
	if (fault == STUCK)
		assert_int_equal(ret, breaker.hit ? -ETIMEDOUT : 0);
	if (ret < 0) {
		write_all(&r, OLD);
		asid_is_kept(&r);
		/* Once more, to no avail. */
		if (fault == STUCK) {
			assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), -ETIMEDOUT);
			asid_is_kept(&r);
		}
	}
	repair(p);
	detach_at_last(&r);
	nothing_is_left(&r, with_ats);
	rig_down(&r);
	return breaker.hit;
}

static bool
fail_attach(const struct kind *kind, enum fault fault, unsigned int n)
{
	struct rig r = { .domain = NULL };
	bool with_ats = kind->recover == IOPF_PRI && kind->keeper;
	struct pmd *p = &r.p;
	int ret;

	rig_up(&r, kind);
	if (with_ats)
		ats(&r, true);
	arm(p, fault, n);
	ret = rig_attach(p->ops, p->s, p->dev, PASID, r.domain);
	if (fault == STUCK)
		assert_int_equal(ret, breaker.hit ? -ETIMEDOUT : 0);
	if (ret < 0) {
		write_all(&r, OLD);
		asid_is_kept(&r);
	}
	repair(p);
	detach_at_last(&r);
	nothing_is_left(&r, with_ats);
	rig_down(&r);
	return breaker.hit;
}

static void
every_sync(bool (*fail_one)(const struct kind *kind, enum fault fault, unsigned int n))
{
	for (unsigned int k = 0; k < RTE_DIM(kinds); k++)
		for (enum fault fault = 0; fault < NB_FAULTS; fault++) {
			unsigned int n = 1;

			while (fail_one(&kinds[k], fault, n))
				assert_in_range(++n, 2, MAX_SYNCS);
			/* It has some. */
			assert_in_range(n, 3, MAX_SYNCS);
		}
}

static void
test_a_detach_that_fails_anywhere_can_be_repeated(void **state)
{
	(void)state;
	every_sync(fail_detach);
}

static void
test_an_attach_that_fails_anywhere_leaves_nothing(void **state)
{
	(void)state;
	every_sync(fail_attach);
}

/* The library never does this; the ASID is the attachment's too. */
static void
test_an_attached_domain_keeps_its_asid(void **state)
{
	struct rig r = { .domain = NULL };
	struct pmd *p = &r.p;

	(void)state;
	rig_up(&r, &kinds[0]);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	p->ops->domain_del(p->s, r.domain);
	asid_is_kept(&r);
	assert_int_equal(write_all(&r, OLD), 1);
	/* Nor is a device removed before its attachments are. */
	assert_int_equal(p->ops->dev_del(p->s, p->dev), -EBUSY);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	r.domain = heir(&r);
	p->ops->domain_del(p->s, r.domain);
	rig_down(&r);
}

static void
test_an_asid_is_given_out_again_as_late_as_possible(void **state)
{
	struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	bool seen[256] = { false };
	struct pmd p;
	void *domain;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .no_features = SMMUV3_MODEL_NO_ASID16 });
	for (unsigned int i = 0; i < 255; i++) {
		assert_int_equal(p.ops->domain_add(p.s, &none, &domain), 0);
		assert_int_not_equal(asid_of(domain), SMMUV3_ASID_NONE);
		assert_in_range(asid_of(domain), 1, 255);
		assert_false(seen[asid_of(domain)]);
		seen[asid_of(domain)] = true;
		p.ops->domain_del(p.s, domain);
	}
	pmd_close(&p);
}

/* The one event of one access. */
static uint8_t
trace_of(struct pmd *p, uint32_t sid, uint32_t pasid)
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
	assert_int_equal(pmd_done(p), SMMUV3_MODEL_ABORTED);
	pmd_event(p, &event);
	assert_int_equal(event.flags, 0);
	assert_int_equal(event.sid, sid);
	assert_int_equal(event.pasid, pasid);
	assert_int_equal(p->ops->poll(p->s, IOPF_QUEUE_EVENTS, &event, 1), 0);
	smmuv3_model_dma_destroy(dma);
	return event.raw_id;
}

/* The one that is detached last need not be the one that is released last. */
static void
test_the_last_of_two_half_detached_stops_the_device(void **state)
{
	const struct kind *kind = &kinds[5];
	struct rig r = { .domain = NULL };
	struct pmd *p = &r.p;

	(void)state;
	rig_up(&r, kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	/* CD, TLBI, and its ATC_INV fails. */
	arm(p, STUCK, 3);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), -ETIMEDOUT);
	repair(p);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, KEEPER), 0);
	assert_int_equal(trace_of(p, PMD_SID, KEEPER), SMMUV3_C_BAD_STE);
	/* Another is attached, and detached, meanwhile. */
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, KEEPER, r.keeper), 0);
	assert_int_equal(trace_of(p, PMD_SID, KEEPER), SMMUV3_F_TRANSLATION);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, KEEPER), 0);
	assert_int_equal(trace_of(p, PMD_SID, KEEPER), SMMUV3_C_BAD_STE);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, KEEPER, r.keeper), 0);
	p->ops->domain_del(p->s, r.domain);
	rig_down(&r);
}

/* Stands still as soon as the CMD_SYNC that failed for want of an answer is complete. */
static bool
stop_behind_cut(void *ctx, struct smmuv3_wait *w)
{
	struct pmd *p = &breaker.rig->p;

	if (!breaker.hit && pmd_stat(p, "atc_cuts") == 0) {
		breaker.at = atomic_load(&p->s->cmdq.prod);
	} else if (!breaker.hit) {
		while (smmuv3_cmdq_cons(&p->s->cmdq) < breaker.at)
			smmuv3_model_step(p->m, 1);
		stand_still(true);
		breaker.hit = true;
		return true;
	}
	breaker.real->wait(ctx, w);
	return !breaker.stuck;
}

/* The STE is not known to abort before the CFGI_STE of the cut is complete. */
static void
test_a_detach_of_a_dead_atc_waits_until_it_is_cut_off(void **state)
{
	struct kind kind = { IOPF_PRI, 1, true, SMMUV3_STALL_MODEL_BOTH };
	struct rig r = { .domain = NULL };
	struct pmd *p = &r.p;

	(void)state;
	rig_up(&r, &kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	ats(&r, true);
	assert_int_equal(write_all(&r, OLD), 1);
	smmuv3_model_dma_quirks(r.dma[0], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	breaker.ops.wait = stop_behind_cut;
	breaker.hit = false;
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), -ETIMEDOUT);
	assert_true(breaker.hit);
	assert_int_equal(used_atcs(p), 2);
	repair(p);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	assert_int_equal(write_all(&r, NEW), 0);
	assert_int_equal(r.page[0], OLD);
	smmuv3_model_dma_reset(r.dma[0]);
	p->ops->domain_del(p->s, r.domain);
	rig_down(&r);
}

/* A stall is outstanding, and each CMD_SYNC of the removal fails once. */
static bool
fail_dev_del(enum fault fault, unsigned int n)
{
	struct rig r = { .domain = NULL };
	const uint32_t sids[1] = { PMD_SID };
	struct smmuv3_model_done done;
	struct iopf_event event;
	struct pmd *p = &r.p;
	uint8_t byte = NEW;
	unsigned int i;
	bool hit;
	int ret;

	rig_up(&r, &kinds[0]);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	p->dma = r.dma[0];
	pmd_write(p, VA + (1 << 16), &byte, 1);
	pmd_event(p, &event);
	assert_true(event.flags & IOPF_EVENT_STALL);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 1);
	arm(p, fault, n);
	breaker.quiet = true;
	ret = p->ops->dev_del(p->s, p->dev);
	hit = breaker.hit;
	assert_int_equal(ret < 0, hit || ret < 0);
	repair(p);
	/* It is as before: it can be attached, and removed. */
	if (ret < 0 && n % 2 == 0) {
		assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
		assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	}
	if (ret < 0)
		assert_int_equal(p->ops->dev_del(p->s, p->dev), 0);
	/* Its stall has ended. */
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 0);
	for (i = 0; smmuv3_model_dma_poll(p->dma, &done, 1) == 0; i++) {
		assert_in_range(i, 0, 1000);
		smmuv3_model_step(p->m, 64);
	}
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(write_all(&r, NEW), 0);
	p->ops->domain_del(p->s, r.domain);
	assert_int_equal(p->ops->dev_add(p->s, &(struct iopf_dev_conf){ .sids = sids,
		.nb_sids = 1, .nb_pasids = 8, .recover = IOPF_STALL }, &p->dev), 0);
	rig_down(&r);
	return hit;
}

static void
test_a_removal_that_fails_anywhere_can_be_repeated(void **state)
{
	(void)state;
	for (enum fault fault = 0; fault < NB_FAULTS; fault++) {
		unsigned int n = 1;

		while (fail_dev_del(fault, n))
			assert_in_range(++n, 2, MAX_SYNCS);
		/* The STE, STALL_TERM, the STE again. */
		assert_int_equal(n, 4);
	}
}

static void
test_many_streamids_share_a_sync(void **state)
{
	enum { NB = 1 << 16 };
	struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	uint32_t *sids = malloc(NB * sizeof(*sids));
	struct iopf_dev_conf conf = { .sids = sids, .nb_sids = NB, .recover = IOPF_STALL };
	uint64_t syncs;
	struct pmd p;
	void *dev, *domain;

	(void)state;
	assert_non_null(sids);
	for (unsigned int i = 0; i < NB; i++)
		sids[i] = i;
	pmd_open(&p, NULL);
	p.s->timeout *= 60;
	assert_int_equal(p.ops->start(p.s), 0);
	syncs = pmd_stat(&p, "syncs");
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), 0);
	/* Its STEs are not valid, as they were. */
	assert_int_equal(pmd_stat(&p, "syncs"), syncs);
	assert_int_equal(p.ops->domain_add(p.s, &none, &domain), 0);
	assert_int_equal(rig_attach(p.ops, p.s, dev, IOPF_NO_PASID, domain), 0);
	/* Twice the CD, twice the STEs. */
	assert_in_range(pmd_stat(&p, "syncs") - syncs, 1, 4 * NB / SMMUV3_CHUNK);
	syncs = pmd_stat(&p, "syncs");
	assert_int_equal(rig_detach(p.ops, p.s, dev, IOPF_NO_PASID), 0);
	/* The CD, the TLBI, the STEs. */
	assert_in_range(pmd_stat(&p, "syncs") - syncs, 1, 2 * NB / SMMUV3_CHUNK + 1);
	syncs = pmd_stat(&p, "syncs");
	assert_int_equal(p.ops->dev_del(p.s, dev), 0);
	/* The STEs, STALL_TERM, the STEs. */
	assert_in_range(pmd_stat(&p, "syncs") - syncs, 1, 3 * NB / SMMUV3_CHUNK);
	p.ops->domain_del(p.s, domain);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
	free(sids);
}

/* Contract 16, and that nothing stalls. */
static void
test_an_access_that_is_not_attached_leaves_a_record(void **state)
{
	const uint32_t sids[2] = { PMD_SID, 0x345 }, sid = PMD_SID;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < RTE_DIM(kinds); k++) {
		const struct iopf_dev_conf conf = { .sids = sids, .nb_sids = 2, .nb_pasids = 128,
			.recover = kinds[k].recover };
		uint8_t stopped = kinds[k].recover == IOPF_PRI ? SMMUV3_F_TRANSLATION :
				SMMUV3_C_BAD_CD;

		pmd_open(&p, &(struct smmuv3_model_conf){
			.stall_model = kinds[k].stall_model,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
			.choices = SMMUV3_MODEL_STICKY_TLB,
		});
		assert_int_equal(p.ops->start(p.s), 0);
		/* Not added; beyond the table; added. */
		assert_int_equal(trace_of(&p, sid, IOPF_NO_PASID), SMMUV3_C_BAD_STREAMID);
		assert_int_equal(trace_of(&p, 0x12345678, 3), SMMUV3_C_BAD_STREAMID);
		assert_int_equal(p.ops->dev_add(p.s, &conf, &p.dev), 0);
		/* What is cached of a first-level entry may be used until one is attached. */
		assert_int_equal(trace_of(&p, sid, 1), SMMUV3_C_BAD_STREAMID);
		assert_int_equal(trace_of(&p, 0x345, 1), SMMUV3_C_BAD_STE);
		p.domain = add_domain(&p);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, 1, p.domain), 0);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, 2, p.domain), 0);
		/* Untagged; another PASID, of this leaf and of none; PASID 0; too large a PASID. */
		assert_int_equal(trace_of(&p, sid, IOPF_NO_PASID), SMMUV3_C_BAD_CD);
		assert_int_equal(trace_of(&p, sid, 3), SMMUV3_C_BAD_CD);
		assert_int_equal(trace_of(&p, sid, 100), SMMUV3_C_BAD_SUBSTREAMID);
		assert_int_equal(trace_of(&p, sid, 128), SMMUV3_C_BAD_SUBSTREAMID);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, 1), 0);
		assert_int_equal(trace_of(&p, sid, 1), stopped);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, 2), 0);
		assert_int_equal(trace_of(&p, sid, 1), SMMUV3_C_BAD_STE);
		assert_int_equal(trace_of(&p, sid, 2), SMMUV3_C_BAD_STE);
		assert_int_equal(p.ops->dev_del(p.s, p.dev), 0);
		assert_int_equal(trace_of(&p, sid, 2), SMMUV3_C_BAD_STE);
		p.ops->domain_del(p.s, p.domain);
		assert_int_equal(p.ops->stop(p.s), 0);
		pmd_close(&p);
	}
}

/*
 * A thread that is kept inside the driver, where it waits for its at-th CMD_SYNC, while others
 * come and go: they must not wait for it. Until then it is alone, so that commands are its own.
 */
static struct {
	struct pmd *p;
	const struct smmuv3_backend *real;
	struct smmuv3_backend backend;
	pthread_t thread;
	unsigned int at, syncs;
	uint64_t prod;
	_Atomic bool held, open, ended;
	void *dev, *domain;
} slow;

static _Thread_local bool is_slow;

static void
hold(void *ctx)
{
	uint64_t prod = atomic_load(&slow.p->s->cmdq.prod);

	if (is_slow && prod != slow.prod && ++slow.syncs == slow.at) {
		atomic_store(&slow.held, true);
		while (!atomic_load(&slow.open))
			sched_yield();
	}
	if (is_slow)
		slow.prod = prod;
	slow.real->wait(ctx);
}

static void *
attach_and_detach_slowly(void *arg)
{
	struct pmd *p = slow.p;
	intptr_t bad = 0;

	(void)arg;
	is_slow = true;
	bad |= rig_attach(p->ops, p->s, slow.dev, PASID, slow.domain) != 0;
	bad |= rig_detach(p->ops, p->s, slow.dev, PASID) != 0;
	atomic_store(&slow.ended, true);
	return (void *)bad;
}

/* A thread's own devices, and a domain that all threads use. */
struct other {
	struct pmd *p;
	void *domain;
	uint32_t sid;
	enum iopf_recover recover;
	unsigned int rounds;
};

static void *
come_and_go(void *arg)
{
	const struct other *o = arg;
	const struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	const uint32_t sids[2] = { o->sid, o->sid + 0x200 };
	const struct iopf_dev_conf conf = { .sids = sids, .nb_sids = 2, .nb_pasids = 128,
		.recover = o->recover };
	struct pmd *p = o->p;
	void *dev, *own;

	for (unsigned int i = 0; i < o->rounds; i++)
		if (p->ops->dev_add(p->s, &conf, &dev) != 0 ||
				p->ops->domain_add(p->s, &none, &own) != 0 ||
				rig_attach(p->ops, p->s, dev, 100, o->domain) != 0 ||
				rig_attach(p->ops, p->s, dev, IOPF_NO_PASID, own) != 0 ||
				rig_detach(p->ops, p->s, dev, 100) != 0 ||
				rig_detach(p->ops, p->s, dev, IOPF_NO_PASID) != 0 ||
				p->ops->dev_del(p->s, dev) != 0)
			return (void *)1;
		else
			p->ops->domain_del(p->s, own);
	return NULL;
}

static void
threads_up(struct pmd *p)
{
	pmd_open(p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
		.choices = SMMUV3_MODEL_STICKY_TLB,
		.harsh = HARSH });
	p->s->timeout *= 60;
	assert_int_equal(p->ops->start(p->s), 0);
	p->domain = add_domain(p);
	pmd_map(p, VA, pmd_alloc(p, 1 << 16, 1 << 16));
}

/* Contract 15: the ATC of one device does not answer. */
static void
test_others_do_not_wait_for_a_slow_device(void **state)
{
	const uint32_t sid = PMD_SID;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 8,
		.recover = IOPF_PRI };
	struct smmuv3_model_dma *dma;
	struct timespec until;
	struct pmd p;
	bool held = true;
	void *bad;

	(void)state;
	for (unsigned int at = 1; held; at++) {
		struct other other = { &p, NULL, 0x100, at % 2 ? IOPF_STALL : IOPF_PRI, 3 };
		pthread_t thread;

		threads_up(&p);
		other.domain = p.domain;
		slow.p = &p;
		slow.domain = p.domain;
		slow.real = p.s->backend;
		slow.backend = *slow.real;
		slow.backend.wait = hold;
		slow.at = at;
		slow.syncs = 0;
		atomic_store(&slow.held, false);
		atomic_store(&slow.open, false);
		atomic_store(&slow.ended, false);
		assert_int_equal(p.ops->dev_add(p.s, &conf, &slow.dev), 0);
		assert_int_equal(rig_attach(p.ops, p.s, slow.dev, KEEPER, p.domain), 0);
		dma = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.has_ssid = true, .ssid = KEEPER, .kind = SMMUV3_MODEL_DMA_ATS });
		assert_int_equal(smmuv3_model_dma_ats_enable(dma, 12), 0);
		assert_int_equal(smmuv3_model_start(p.m, -1), 0);
		slow.prod = atomic_load(&p.s->cmdq.prod);
		p.s->backend = &slow.backend;
		assert_int_equal(pthread_create(&slow.thread, NULL, attach_and_detach_slowly,
				NULL), 0);
		while (!atomic_load(&slow.held) && !atomic_load(&slow.ended))
			sched_yield();
		held = atomic_load(&slow.held);
		smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);

		assert_int_equal(pthread_create(&thread, NULL, come_and_go, &other), 0);
		assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
		until.tv_sec += 120;
		if (pthread_timedjoin_np(thread, &bad, &until) != 0)
			fail_msg("held in wait %u, and others wait for it", at);
		assert_null(bad);
		assert_int_equal(atomic_load(&slow.ended), !held);

		atomic_store(&slow.open, true);
		assert_int_equal(pthread_join(slow.thread, &bad), 0);
		/* An attach that finds its ATC dead fails, and there is nothing to detach. */
		if (!held)
			assert_null(bad);
		smmuv3_model_dma_quirks(dma, 0, 0);
		p.s->backend = slow.real;
		assert_int_equal(smmuv3_model_stop(p.m), 0);
		smmuv3_model_dma_reset(dma);
		smmuv3_model_dma_destroy(dma);
		assert_int_equal(rig_detach(p.ops, p.s, slow.dev, KEEPER), 0);
		assert_int_equal(used_atcs(&p), 0);
		assert_int_equal(p.ops->dev_del(p.s, slow.dev), 0);
		p.ops->domain_del(p.s, p.domain);
		assert_int_equal(p.ops->stop(p.s), 0);
		pmd_close(&p);
		assert_in_range(at, 1, MAX_SYNCS);
	}
}

/* For TSan and the model's logs above all. */
static void
test_threads_attach_devices_of_their_own(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = 1 << 12 };
	struct other others[3];
	pthread_t threads[3];
	unsigned int done;
	struct pmd p;
	void *bad;

	(void)state;
	threads_up(&p);
	assert_int_equal(smmuv3_model_start(p.m, -1), 0);
	for (unsigned int i = 0; i < RTE_DIM(threads); i++) {
		others[i] = (struct other){ &p, p.domain, 0x10 + i,
			i == 0 ? IOPF_STALL : IOPF_PRI, 50 };
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &others[i]), 0);
	}
	for (unsigned int i = 0; i < 200; i++) {
		assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &done), 0);
		p.ops->answer_after(p.s, p.domain, &inv, 1, NULL, 0);
		p.ops->check(p.s);
	}
	for (unsigned int i = 0; i < RTE_DIM(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
	assert_int_equal(smmuv3_model_stop(p.m), 0);
	assert_int_equal(used_atcs(&p), 0);
	p.ops->domain_del(p.s, p.domain);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

static int
no_dma_map(void *ctx, void *ptr, size_t len, uint64_t limit, uint64_t *addr)
{
	(void)ctx;
	(void)ptr;
	(void)len;
	(void)limit;
	(void)addr;
	return -ENOSPC;
}

/* A second level of CDs is made when it is needed, and there may be no memory for it. */
static void
test_an_attach_without_memory_for_its_cd_leaves_nothing(void **state)
{
	const uint32_t sids[2] = { PMD_SID + 1, PMD_SID + 2 };
	struct iopf_dev_conf conf = { .sids = &sids[0], .nb_sids = 1, .nb_pasids = 1u << 16 };
	const struct smmuv3_backend *backend;
	struct smmuv3_backend full;
	uint32_t pasid, failed;
	struct pmd p;
	void *dev, *pri;
	int ret = 0;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	pmd_up(&p, IOPF_STALL);
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), 0);
	conf.sids = &sids[1];
	conf.recover = IOPF_PRI;
	assert_int_equal(p.ops->dev_add(p.s, &conf, &pri), 0);
	backend = p.s->backend;
	full = *backend;
	full.dma_map = no_dma_map;
	p.s->backend = &full;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	for (pasid = 1; pasid < conf.nb_pasids && ret == 0; pasid += 64)
		ret = rig_attach(p.ops, p.s, dev, pasid, p.domain);
	assert_int_equal(ret, -ENOSPC);
	assert_int_equal(rig_attach(p.ops, p.s, pri, 1, p.domain), -ENOSPC);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	assert_int_equal(rig_detach(p.ops, p.s, pri, 1), -ENOENT);
	failed = pasid - 64;
	assert_int_equal(rig_detach(p.ops, p.s, dev, failed), -ENOENT);
	p.s->backend = backend;
	assert_int_equal(rig_attach(p.ops, p.s, dev, failed, p.domain), 0);
	for (pasid = 1; pasid <= failed; pasid += 64)
		assert_int_equal(rig_detach(p.ops, p.s, dev, pasid), 0);
	assert_int_equal(p.ops->dev_del(p.s, pri), 0);
	assert_int_equal(p.ops->dev_del(p.s, dev), 0);
	pmd_down(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_attach_without_memory_for_its_cd_leaves_nothing),
	cmocka_unit_test(test_a_detach_that_fails_anywhere_can_be_repeated),
	cmocka_unit_test(test_an_attach_that_fails_anywhere_leaves_nothing),
	cmocka_unit_test(test_an_attached_domain_keeps_its_asid),
	cmocka_unit_test(test_an_asid_is_given_out_again_as_late_as_possible),
	cmocka_unit_test(test_the_last_of_two_half_detached_stops_the_device),
	cmocka_unit_test(test_a_detach_of_a_dead_atc_waits_until_it_is_cut_off),
	cmocka_unit_test(test_a_removal_that_fails_anywhere_can_be_repeated),
	cmocka_unit_test(test_many_streamids_share_a_sync),
	cmocka_unit_test(test_an_access_that_is_not_attached_leaves_a_record),
	cmocka_unit_test(test_others_do_not_wait_for_a_slow_device),
	cmocka_unit_test(test_threads_attach_devices_of_their_own),
};

TEST_SUITE(pmd_attach, tests, NULL, NULL);
