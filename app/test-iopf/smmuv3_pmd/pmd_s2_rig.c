/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "pmd_s2_rig.h"
#include "test.h"

void
pmd_s2_open(struct pmd *p, const struct smmuv3_model_conf *conf)
{
	struct smmuv3_model_conf mine = { .name = NULL };

	if (conf != NULL)
		mine = *conf;
	mine.features |= SMMUV3_MODEL_S2;
	mine.choices |= SMMUV3_MODEL_STICKY_TLB;
	mine.harsh |= SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE |
		SMMUV3_MODEL_HARSH_FLIGHT;
	pmd_open(p, &mine);
	assert_true(p->info.stage2);
	assert_int_equal(p->ops->start(p->s), 0);
}

void
pmd_s2_close(struct pmd *p)
{
	assert_int_equal(p->ops->stop(p->s), 0);
	pmd_close(p);
}

void *
pmd_s2_add_dev(struct pmd *p, unsigned int i, enum iopf_recover recover, uint32_t nb_pasids)
{
	const uint32_t sid = PMD_SID + i;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = nb_pasids,
		.recover = recover };
	void *dev;

	assert_int_equal(p->ops->dev_add(p->s, &conf, &dev), 0);
	return dev;
}

struct smmuv3_model_dma *
pmd_s2_add_engine(struct pmd *p, unsigned int i)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(p->m,
			&(struct smmuv3_model_dma_conf){ .sid = PMD_SID + i });

	assert_non_null(dma);
	return dma;
}

/* Up to 16 tables of 64 KiB: the arena itself is aligned to less. */
static void *
arena_alloc(void *ctx, size_t size)
{
	if (size <= 1 << 16)
		return pmd_alloc(ctx, size, size);
	return RTE_PTR_ALIGN_CEIL(pmd_alloc(ctx, 2 * size, 1 << 16), size);
}

/* The arena is freed whole. */
static void
arena_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)p;
	(void)size;
}

static uint64_t
arena_va_to_pa(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

struct iopf_translation
pmd_s2_translation(const struct pmd_s2_space *s)
{
	return (struct iopf_translation){
		.format = IOPF_FORMAT_ARM64_S2,
		.root = s->info.root,
		.va_bits = s->info.va_bits,
		.granule_log2 = s->info.granule_log2,
	};
}

void
pmd_s2_create(struct pmd *p, struct pmd_s2_space *s, unsigned int granule_log2,
		unsigned int ipa_bits)
{
	struct iopf_translation tr;

	s->pgt = pgt_create(&(struct pgt_conf){ .granule_log2 = granule_log2, .va_bits = ipa_bits,
		.stage2 = true, .mem = { p, arena_alloc, arena_free, arena_va_to_pa, NULL } });
	assert_non_null(s->pgt);
	pgt_info(s->pgt, &s->info);
	tr = pmd_s2_translation(s);
	assert_int_equal(p->ops->domain_add(p->s, &tr, NULL, &s->domain), 0);
}

void
pmd_s2_destroy(struct pmd *p, struct pmd_s2_space *s)
{
	p->ops->domain_del(p->s, s->domain);
	pgt_destroy(s->pgt);
}

uint8_t *
pmd_s2_map(struct pmd *p, struct pmd_s2_space *s, uint64_t ipa)
{
	size_t size = (size_t)1 << s->info.granule_log2;
	uint8_t *page = pmd_alloc(p, size, size);

	assert_int_equal(pgt_map(s->pgt, ipa & ~(uint64_t)(size - 1), (uintptr_t)page, size,
			PGT_READ | PGT_WRITE), 0);
	return page;
}

void
pmd_s2_unmap(struct pmd *p, struct pmd_s2_space *s, uint64_t ipa)
{
	uint64_t size = UINT64_C(1) << s->info.granule_log2;
	struct pgt_inv ranges[2];
	struct pgt_unmapped out;
	struct iopf_inv_result result;

	pgt_unmapped_init(&out, ranges, RTE_DIM(ranges));
	pgt_unmap(s->pgt, ipa & ~(size - 1), size, 0, &out);
	assert_int_equal(out.nb_inv, 1);
	assert_int_equal(p->ops->invalidate(p->s, s->domain, &(struct iopf_inv){
		.addr = ranges[0].va, .size = ranges[0].size, .leaf_only = ranges[0].leaf_only,
		.leaf_log2 = s->info.granule_log2 }, 1, &result), 0);
}

static void
submit(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t ipa)
{
	static uint8_t byte = 0x5a;

	p->dma = dma;
	pmd_write(p, ipa, &byte, 1);
}

enum smmuv3_model_status
pmd_s2_touch(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t ipa)
{
	submit(p, dma, ipa);
	return pmd_wait_done(p);
}

struct iopf_event
pmd_s2_fault(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t ipa)
{
	struct iopf_event event;

	memset(&event, 0xa5, sizeof(event));
	submit(p, dma, ipa);
	pmd_wait_event(p, &event);
	assert_int_equal(event.reason, IOPF_REASON_TRANSLATION);
	assert_true(event.flags & IOPF_EVENT_STAGE2);
	assert_int_equal(event.addr, ipa);
	assert_int_equal(event.ipa, ipa & ~UINT64_C(0xfff));
	assert_int_equal(event.event_class, IOPF_CLASS_IN);
	assert_int_equal(event.pasid, IOPF_NO_PASID);
	assert_int_equal(event.perm, IOPF_PERM_WRITE);
	return event;
}

void
pmd_s2_serve(struct pmd *p, struct pmd_s2_space *s, struct smmuv3_model_dma *dma, uint64_t ipa)
{
	struct iopf_event event = pmd_s2_fault(p, dma, ipa);
	uint8_t *page;

	assert_true(event.flags & IOPF_EVENT_STALL);
	page = pmd_s2_map(p, s, ipa);
	pmd_answer(p, &event, IOPF_SUCCESS);
	assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_OK);
	assert_int_equal(page[ipa & ((UINT64_C(1) << s->info.granule_log2) - 1)], 0x5a);
}

void
pmd_s2_expect_no_event(struct pmd *p)
{
	struct iopf_event event;

	pmd_step(p);
	assert_int_equal(p->ops->poll(p->s, IOPF_QUEUE_EVENTS, &event, 1), 0);
}
