/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "arrays_world.h"
#include "cmdq.h"
#include "named_dev.h"
#include "test.h"

#define NB_PASIDS	2	/* of a device with PASIDs: 1 and 2 */
/* V, Config = S1, and a table of 2^2 CDs, or one CD. */
#define GUEST_STE	(SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) | 0x1234000)
#define OTHER_SID	(SID + 100)

struct arrays_world w;

/* The thread that invalidates without pause. */
static struct {
	void *dev, *domain;
	struct smmuv3_model_dma *dma;
	pthread_t thread;
	_Atomic bool end;
} other;

unsigned int
pick(unsigned int n)
{
	w.seed ^= w.seed << 13;
	w.seed ^= w.seed >> 7;
	w.seed ^= w.seed << 17;
	return (unsigned int)(w.seed >> 33) % n;
}

bool
one_in(unsigned int n)
{
	return pick(n) == 0;
}

uint32_t
endpoint_get_pasid(const struct endpoint *e, unsigned int i)
{
	return e->nb_pasids != 0 ? i + 1 : IOPF_NO_PASID;
}

unsigned int
endpoint_count_pasids(const struct endpoint *e)
{
	return e->nb_pasids != 0 ? e->nb_pasids : 1;
}

static void
attach(struct endpoint *e)
{
	if (w.check.nested)
		ats_attach(&w.p, e->dev, IOPF_NO_PASID, w.domain);
	for (unsigned int i = 0; i < endpoint_count_pasids(e) && !w.check.nested; i++)
		ats_attach(&w.p, e->dev, endpoint_get_pasid(e, i), w.domain);
}

static void
detach(struct endpoint *e)
{
	if (w.check.nested)
		ats_detach(&w.p, e->dev, IOPF_NO_PASID);
	for (unsigned int i = 0; i < endpoint_count_pasids(e) && !w.check.nested; i++)
		ats_detach(&w.p, e->dev, endpoint_get_pasid(e, i));
}

static void
add_endpoint(unsigned int i)
{
	struct endpoint *e = &w.ep[i];

	*e = (struct endpoint){ .sid = SID + i, .nb_pasids = w.check.stage2 ? 0 :
		pick(NB_PASIDS + 1) };
	e->dev = ats_add_dev(&w.p, e->sid, e->nb_pasids != 0 ? NB_PASIDS + 1 : 0);
	e->named = named_dev_create(e->dev);
	attach(e);
	e->dma = ats_add_engine(&w.p, e->sid, w.check.nested ? IOPF_NO_PASID :
			endpoint_get_pasid(e, 0), false);
	w.check.devs[w.check.nb_devs++] = (struct check_dev){ e->named, e->sid };
}

static void *
invalidate_others(void *arg)
{
	const struct iopf_inv inv[] = { { .addr = VA, .size = PAGE }, { .addr = 0, .size = PAGE } };
	struct iopf_inv_result result;

	(void)arg;
	while (!atomic_load(&other.end)) {
		/* An error that is injected may meet it. */
		w.p.ops->invalidate(w.p.s, other.domain, inv, 2, &result);
		sched_yield();
	}
	return NULL;
}

static void
start_other_thread(void)
{
	other.domain = ats_add_domain(&w.p);
	if (w.ats) {
		other.dev = ats_add_dev(&w.p, OTHER_SID, 0);
		ats_attach(&w.p, other.dev, IOPF_NO_PASID, other.domain);
		other.dma = ats_add_engine(&w.p, OTHER_SID, IOPF_NO_PASID, false);
	}
	atomic_store(&other.end, false);
	ats_run_model(&w.p);
	assert_int_equal(pthread_create(&other.thread, NULL, invalidate_others, NULL), 0);
}

void
world_open(uint32_t seed)
{
	struct iopf_translation tr = { .va_bits = 48, .granule_log2 = 12,
		.format = IOPF_FORMAT_ARM64_S1 };
	const struct iopf_translation guest = { .format = IOPF_FORMAT_ARM64_GUEST,
		.guest_ste = { GUEST_STE, 0 } };
	const struct smmuv3_domain *domain;

	w.seed = seed * UINT64_C(0xd1342543de82ef95) + 1;
	for (unsigned int i = 0; i < 8; i++)
		pick(2);
	w.threaded = one_in(2);
	w.ats = !one_in(4);
	w.check = (struct check_domain){ .stage2 = one_in(3) };
	w.check.nested = !w.check.stage2 && one_in(2);
	w.conf = (struct smmuv3_model_conf){
		.seed = seed,
		.features = (w.ats ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0) |
			(w.check.stage2 || w.check.nested ? SMMUV3_MODEL_S2 : 0),
		.no_features = one_in(2) ? SMMUV3_MODEL_NO_RIL : 0,
		.harsh = one_in(2) ? SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_PREFETCH |
			SMMUV3_MODEL_HARSH_RANDOM : 0,
		/* The batches of two threads fit, so that each is written at once. */
		.cmdq_log2 = w.threaded ? 9 : 1 + pick(9),
	};
	if (one_in(2))
		w.conf.features |= SMMUV3_MODEL_ECMDQ;
	else if (one_in(2))
		w.conf.no_features |= SMMUV3_MODEL_NO_MSI;
	ats_open(&w.p, &w.conf);
	w.p.stage2 = w.check.stage2;
	if (w.check.stage2 || w.check.nested)
		tr.format = IOPF_FORMAT_ARM64_S2;
	tr.root = (uintptr_t)pmd_alloc(&w.p, PAGE, PAGE);
	assert_int_equal(w.p.ops->domain_add(w.p.s, &tr, NULL, &w.domain), 0);
	w.parent = NULL;
	if (w.check.nested) {
		w.parent = w.domain;
		assert_int_equal(w.p.ops->domain_add(w.p.s, &guest, w.parent, &w.domain), 0);
	}
	domain = w.domain;
	w.check.asid = domain->asid;
	w.check.vmid = domain->vmid;
	w.check.max_entries = w.conf.no_features & SMMUV3_MODEL_NO_RIL ? SMMUV3_CHUNK : UINT64_MAX;
	if (w.check.nested && w.conf.no_features & SMMUV3_MODEL_NO_RIL)
		w.check.max_entries = SMMUV3_MAX_ATCS;
	w.check.max_unknown = SMMUV3_MAX_ATCS;
	w.nb_eps = w.ats ? 1 + pick(MAX_DEVS) : 0;
	for (unsigned int i = 0; i < w.nb_eps; i++)
		add_endpoint(i);
	cmd_trace_open(&w.trace, w.p.m);
	if (w.threaded)
		start_other_thread();
}

void
world_close(void)
{
	if (w.threaded) {
		atomic_store(&other.end, true);
		pthread_join(other.thread, NULL);
		if (w.ats) {
			ats_detach(&w.p, other.dev, IOPF_NO_PASID);
			smmuv3_model_dma_destroy(other.dma);
			w.p.ops->dev_del(w.p.s, other.dev);
		}
		w.p.ops->domain_del(w.p.s, other.domain);
	}
	for (unsigned int i = 0; i < w.nb_eps; i++) {
		detach(&w.ep[i]);
		smmuv3_model_dma_destroy(w.ep[i].dma);
		w.p.ops->dev_del(w.p.s, w.ep[i].dev);
		free(w.ep[i].named);
	}
	w.p.ops->domain_del(w.p.s, w.domain);
	if (w.parent != NULL)
		w.p.ops->domain_del(w.p.s, w.parent);
	assert_int_equal(w.p.ops->stop(w.p.s), 0);
	if (w.threaded)
		assert_int_equal(smmuv3_model_stop(w.p.m), 0);
	pmd_close(&w.p);
}

void
world_revive(struct endpoint *e)
{
	smmuv3_model_dma_quirks(e->dma, 0, 0);
	detach(e);
	smmuv3_model_dma_reset(e->dma);
	attach(e);
	assert_int_equal(smmuv3_model_dma_ats_enable(e->dma, 12), 0);
	e->dead = false;
	e->cut = false;
}

const char *
world_describe(void)
{
	static char text[160];

	snprintf(text, sizeof(text), "; IOPF_TEST_SEED=%u: %s, %s, queue of 2^%u, features 0x%x, "
			"without 0x%x, harsh 0x%x", w.conf.seed, w.threaded ? "two threads" :
			"one thread", w.check.nested ? "nested" : w.check.stage2 ? "stage 2" :
			"stage 1", w.conf.cmdq_log2,
			w.conf.features, w.conf.no_features, w.conf.harsh);
	return text;
}
