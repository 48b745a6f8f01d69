/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The access flag and the dirty state, from the tables to the device: an SMMU that sets both, or one
 * of them, or none, so that faults do it.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pgtable.h>

#include "cd.h"
#include "pmd_rig.h"
#include "stage2.h"
#include "test.h"

#define PAGE	UINT64_C(0x1000)
#define HTTU_1	SMMUV3_MODEL_HTTU_AF
#define HTTU_2	(SMMUV3_MODEL_HTTU_AF | SMMUV3_MODEL_HTTU_DIRTY)

static const uint32_t features[] = { 0, HTTU_1, HTTU_2 };

static void
test_iommu_info_says_what_the_smmu_sets(void **state)
{
	struct pmd p;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(features); i++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .features = features[i] });
		assert_int_equal(p.info.access_flag, i >= 1);
		assert_int_equal(p.info.dirty, i >= 2);
		pmd_close(&p);
	}
}

static void
test_ha_and_hd_are_set_where_asked_for_and_possible(void **state)
{
	static const struct { bool access_flag, dirty; unsigned int bits[3]; } rows[] = {
		/* HA is bit 0, HD bit 1, for each IDR0.HTTU. */
		{ false, false, { 0, 0, 0 } }, { false, true, { 0, 0, 0 } },
		{ true, false, { 0, 1, 1 } }, { true, true, { 0, 1, 3 } },
	};
	struct iopf_translation tr = { .va_bits = 39, .granule_log2 = 12 };
	struct smmuv3_domain domain = { .asid = 1 };
	struct smmuv3_dev dev = { .stall = true };
	struct smmuv3_cd cd;
	uint64_t dw2, dw3;
	struct pmd p;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(features); i++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.features = features[i] | SMMUV3_MODEL_S2 });
		for (unsigned int k = 0; k < RTE_DIM(rows); k++) {
			tr.access_flag = rows[k].access_flag;
			tr.dirty = rows[k].dirty;
			tr.format = IOPF_FORMAT_ARM64_S1;
			domain.tr = tr;
			smmuv3_cd_make(p.s, &dev, &domain, &cd);
			assert_int_equal(cd.dw[0] >> 43 & 1, rows[k].bits[i] & 1);
			assert_int_equal(cd.dw[0] >> 42 & 1, rows[k].bits[i] >> 1);
			domain.tr.format = IOPF_FORMAT_ARM64_S2;
			smmuv3_stage2_make_words(p.s, &domain, true, &dw2, &dw3);
			assert_int_equal(dw2 >> 56 & 1, rows[k].bits[i] & 1);
			assert_int_equal(dw2 >> 55 & 1, rows[k].bits[i] >> 1);
			domain.tr.format = IOPF_FORMAT_NONE;
			smmuv3_cd_make(p.s, &dev, &domain, &cd);
			assert_int_equal(cd.dw[0] >> 42 & 3, 0);
		}
		pmd_close(&p);
	}
}

#define NB_PAGES	64u
#define NB_USED		48u	/* pages that the device uses; the others are prefetched only */
#define NB_SLOTS	32u
#define ROUNDS		3000u

/* A device that writes to pages at random, whose writes are tracked. */
struct tracked {
	struct pmd p;
	struct pgt *pgt;
	void *dev, *domain;
	uint8_t *mem;			/* the pages */
	uint8_t *copy;			/* each page as it was copied, after it was reported dirty */
	uint64_t values[NB_SLOTS];	/* data of the writes */
	uint64_t next;
	unsigned int nb_events[16];	/* by reason */
	uint32_t seed;
};

static uint32_t
choose(struct tracked *t, uint32_t n)
{
	/* xorshift32 */
	t->seed ^= t->seed << 13;
	t->seed ^= t->seed >> 17;
	t->seed ^= t->seed << 5;
	return (uint32_t)(((uint64_t)t->seed * n) >> 32);
}

static void *
table_alloc(void *ctx, size_t size)
{
	return pmd_alloc(ctx, size, size);
}

static void
table_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)p;
	(void)size;
}

static uint64_t
table_va_to_pa(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

static void
tracked_open(struct tracked *t, uint32_t httu, bool stage2, uint32_t seed)
{
	const uint32_t sid = PMD_SID;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .recover = IOPF_STALL };
	struct iopf_translation tr = { .va_bits = 39, .granule_log2 = 12, .access_flag = true,
		.dirty = true, .format = stage2 ? IOPF_FORMAT_ARM64_S2 : IOPF_FORMAT_ARM64_S1 };

	memset(t, 0, sizeof(*t));
	t->seed = seed;
	pmd_open(&t->p, &(struct smmuv3_model_conf){ .features = httu | SMMUV3_MODEL_S2,
		.choices = SMMUV3_MODEL_STICKY_TLB | SMMUV3_MODEL_REFUSED_SETS_AF,
		.harsh = SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_FLIGHT });
	assert_int_equal(t->p.ops->start(t->p.s), 0);
	t->pgt = pgt_create(&(struct pgt_conf){ .va_bits = 39, .stage2 = stage2,
		.mem = { &t->p, table_alloc, table_free, table_va_to_pa, NULL } });
	assert_non_null(t->pgt);
	tr.root = pgt_root(t->pgt);
	t->mem = pmd_alloc(&t->p, NB_PAGES * PAGE, PAGE);
	t->copy = calloc(NB_PAGES, PAGE);
	assert_non_null(t->copy);
	assert_int_equal(pgt_prealloc(t->pgt, 0, NB_PAGES * PAGE), 0);
	/* A prefetch. */
	assert_int_equal(pgt_map(t->pgt, NB_USED * PAGE, (uintptr_t)t->mem + NB_USED * PAGE,
			(NB_PAGES - NB_USED) * PAGE, PGT_WRITE | PGT_CLEAN | PGT_OLD), 0);
	assert_int_equal(t->p.ops->dev_add(t->p.s, &conf, &t->dev), 0);
	assert_int_equal(t->p.ops->domain_add(t->p.s, &tr, NULL, &t->domain), 0);
	assert_int_equal(rig_attach(t->p.ops, t->p.s, t->dev, IOPF_NO_PASID, t->domain), 0);
	t->p.dma = smmuv3_model_dma_create(t->p.m, &(struct smmuv3_model_dma_conf){
		.sid = PMD_SID, .depth = NB_SLOTS });
	assert_non_null(t->p.dma);
}

static void
tracked_close(struct tracked *t)
{
	assert_int_equal(rig_detach(t->p.ops, t->p.s, t->dev, IOPF_NO_PASID), 0);
	t->p.ops->domain_del(t->p.s, t->domain);
	t->p.ops->dev_del(t->p.s, t->dev);
	assert_int_equal(t->p.ops->stop(t->p.s), 0);
	smmuv3_model_dma_destroy(t->p.dma);
	pgt_destroy(t->pgt);
	pmd_close(&t->p);
	free(t->copy);
}

static void
invalidate(struct tracked *t, const struct pgt_unmapped *out)
{
	struct iopf_inv inv[NB_PAGES];
	struct iopf_inv_result result;

	for (unsigned int i = 0; i < out->nb_inv; i++)
		inv[i] = (struct iopf_inv){ .addr = out->inv[i].va, .size = out->inv[i].size,
			.leaf_log2 = 12, .leaf_only = out->inv[i].leaf_only };
	if (out->nb_inv != 0)
		assert_int_equal(t->p.ops->invalidate(t->p.s, t->domain, inv, out->nb_inv,
				&result), 0);
}

/* Harvest or unmap pages, invalidate, and copy those that were dirty. */
static void
track(struct tracked *t, unsigned int first, unsigned int nb, bool unmap)
{
	uint64_t accessed = 0, dirty = 0, va = first * PAGE;
	struct pgt_used used = { .size = NB_PAGES * PAGE, .accessed = &accessed, .dirty = &dirty };
	struct pgt_inv inv[NB_PAGES];
	struct pgt_unmapped out;

	pgt_unmapped_init(&out, inv, NB_PAGES);
	out.used = &used;
	if (unmap)
		assert_int_equal(pgt_unmap(t->pgt, va, nb * PAGE, PGT_CLOSE, &out), 0);
	else
		assert_int_equal(pgt_harvest(t->pgt, va, nb * PAGE, PGT_DIRTY |
				(choose(t, 2) ? PGT_ACCESSED : 0), &out), 0);
	invalidate(t, &out);
	for (unsigned int i = 0; i < NB_PAGES; i++)
		if (dirty >> i & 1)
			memcpy(t->copy + i * PAGE, t->mem + i * PAGE, PAGE);
	if (unmap)
		assert_int_equal(pgt_open(t->pgt, va, nb * PAGE), 0);
	/* No page that was prefetched and not used is accessed or dirty. */
	assert_int_equal((accessed | dirty) >> NB_USED, 0);
}

/* What a fault handler does, with and without HTTU. */
static void
serve(struct tracked *t, const struct iopf_event *event)
{
	uint64_t page = event->addr & ~(PAGE - 1);
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	int rc;

	assert_true(event->flags & IOPF_EVENT_STALL);
	t->nb_events[event->reason]++;
	/* A page for a write is mapped dirty, or clean as by a handler that does not know. */
	rc = pgt_resolve(t->pgt, page, (uintptr_t)t->mem + page, PGT_WRITE |
			(event->reason == IOPF_REASON_TRANSLATION && choose(t, 2) ?
			 PGT_CLEAN : 0));
	if (rc == -EACCES) {
		pgt_unmapped_init(&out, inv, 1);
		assert_int_equal(pgt_protect(t->pgt, page, PAGE, PGT_WRITE, &out), 0);
		invalidate(t, &out);
	} else if (rc != 0) {
		assert_int_equal(rc, -EALREADY);
	}
	pmd_answer(&t->p, event, IOPF_SUCCESS);
}

static void
pump(struct tracked *t, unsigned int budget)
{
	struct smmuv3_model_done done;
	struct iopf_event event;

	smmuv3_model_step(t->p.m, budget);
	while (t->p.ops->poll(t->p.s, IOPF_QUEUE_EVENTS, &event, 1) == 1)
		serve(t, &event);
	while (smmuv3_model_dma_poll(t->p.dma, &done, 1) == 1)
		assert_int_equal(done.status, SMMUV3_MODEL_OK);
}

static void
submit(struct tracked *t)
{
	uint64_t *value = &t->values[t->next % NB_SLOTS];
	uint64_t va = choose(t, NB_USED) * PAGE + choose(t, 512) * 8;

	/* The slot of a write that has ended. */
	if (smmuv3_model_dma_outstanding(t->p.dma) != 0 && t->next % NB_SLOTS == 0)
		return;
	*value = ++t->next;
	assert_int_equal(smmuv3_model_dma_submit(t->p.dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = va, .buf = value, .len = 8 }), 0);
}

static void
run_tracked(uint32_t httu, bool stage2, uint32_t seed)
{
	struct tracked t;
	unsigned int i, first;

	tracked_open(&t, httu, stage2, seed);
	for (i = 0; i < ROUNDS * test_scale(); i++) {
		submit(&t);
		pump(&t, choose(&t, 4));
		first = choose(&t, NB_PAGES);
		if (choose(&t, 8) == 0)
			track(&t, first, 1 + choose(&t, NB_PAGES - first), false);
		if (choose(&t, 16) == 0) {
			first %= NB_USED;
			track(&t, first, 1 + choose(&t, NB_USED - first), true);
		}
	}
	for (i = 0; i < 10000 && smmuv3_model_dma_outstanding(t.p.dma) != 0; i++)
		pump(&t, 64);
	assert_int_equal(smmuv3_model_dma_outstanding(t.p.dma), 0);
	track(&t, 0, NB_PAGES, false);
	/* Every byte that the device wrote is in a page that was reported after it. */
	assert_memory_equal(t.mem, t.copy, NB_PAGES * PAGE);
	assert_true(t.nb_events[IOPF_REASON_TRANSLATION] > 0);
	assert_int_equal(t.nb_events[IOPF_REASON_ACCESS] == 0, httu != 0);
	assert_int_equal(t.nb_events[IOPF_REASON_PERMISSION] == 0, httu == HTTU_2);
	assert_int_equal(smmuv3_model_stat(t.p.m, SMMUV3_MODEL_STAT_DIRTY_UPDATES) == 0,
			httu != HTTU_2);
	tracked_close(&t);
}

static void
test_tracking_accounts_for_every_write(void **state)
{
	uint32_t seed = test_seed("tracked writes");

	(void)state;
	for (unsigned int i = 0; i < 2 * RTE_DIM(features); i++) {
		run_tracked(features[i / 2], i & 1, seed);
		seed = seed * 1664525u + 1013904223u;
		if (seed == 0)
			seed = 1;
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_iommu_info_says_what_the_smmu_sets),
	cmocka_unit_test(test_ha_and_hd_are_set_where_asked_for_and_possible),
	cmocka_unit_test(test_tracking_accounts_for_every_write),
};
TEST_SUITE(pmd_httu, tests, NULL, NULL);
