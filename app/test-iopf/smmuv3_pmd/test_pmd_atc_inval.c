/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Invalidation of ATCs: a device cannot reach an unmapped page through its ATC. */

#include "ats_rig.h"
#include "iopf_handler.h"
#include "test.h"

/* A TLBI alone leaves the ATC entry. After ats_invalidate() both are invalid. */
static void
test_no_atc_reaches_an_unmapped_page(void **state)
{
	static const uint32_t without[] = { 0, SMMUV3_MODEL_NO_RIL, SMMUV3_MODEL_NO_MSI,
		SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K,
		SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_64K };
	const uint32_t pasids[] = { IOPF_NO_PASID, 3 };
	void *dev, *domain, *pages[20];
	struct iopf_inv inv[20];
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 2 * RTE_DIM(without); k++) {
		struct smmuv3_model_conf conf = ats_conf;
		struct smmuv3_model_dma *dma;
		uint32_t pasid = pasids[k & 1];
		struct smmuv3_cmd tlbi;
		struct iopf_inv_result result;
		unsigned int i;
		uint64_t size;

		conf.no_features = without[k / 2];
		ats_open(&p, &conf);
		size = UINT64_C(1) << p.granule_log2;
		dev = ats_add_dev(&p, SID, 4);
		domain = ats_add_domain(&p);
		ats_attach(&p, dev, pasid, domain);
		dma = ats_add_engine(&p, SID, pasid, false);
		for (unsigned int round = 0; round < 4; round++) {
			unsigned int nb = 20;

			for (i = 0; i < nb; i++) {
				uint64_t va = VA + i * 7 * size;

				if (round == 0)
					pages[i] = ats_map(&p, va);
				else
					pmd_map(&p, va, pages[i]);
				assert_true(ats_can_reach(&p, dma, va));
				inv[i] = (struct iopf_inv){ .addr = va, .size = size,
					.leaf_only = round & 1 };
			}
			for (i = 0; i < nb; i++)
				ats_unmap(&p, inv[i].addr);
			tlbi = smmuv3_cmd_tlbi_nh_asid(0, ((struct smmuv3_domain *)domain)->asid);
			assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &tlbi, 1, NULL), 0);
			assert_true(ats_can_reach(&p, dma, VA));
			if (round == 3) {
				inv[0] = (struct iopf_inv){ .all = true };
				nb = 1;
			}
			assert_int_equal(p.ops->invalidate(p.s, domain, inv, nb, &result), 0);
			for (i = 0; i < 20; i++)
				assert_int_equal(ats_touch(&p, dma, VA + i * 7 * size),
						SMMUV3_MODEL_ABORTED);
		}
		smmuv3_model_dma_destroy(dma);
		ats_detach(&p, dev, pasid);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		ats_close(&p);
	}
}

/* An ATC_INV covers an aligned power of two that contains the range, and at least a page. */
static void
test_atc_invs_cover_their_ranges(void **state)
{
	static const struct {
		struct iopf_inv inv[3];
		unsigned int n;
		uint64_t addr;
		unsigned int size;
	} rows[] = {
		{ { { .addr = 0x5000, .size = 0x1000 } }, 1, 0x5000, 0 },
		{ { { .addr = 0x5000, .size = 0x2000 } }, 1, 0x4000, 2 },
		{ { { .addr = 0x6000, .size = 0x2000 } }, 1, 0x6000, 1 },
		{ { { .addr = 0x7ffff000, .size = 0x2000 } }, 1, 0, 20 },
		{ { { .addr = 0x5000, .size = 0x1000 }, { .addr = 0x40000000, .size = 0x1000 },
			{ .addr = 0x40005000, .size = 0x200000 } }, 3, 0, 19 },
		{ { { .addr = UINT64_C(0x7fffffff0000), .size = 0x10000 } }, 1,
			UINT64_C(0x7fffffff0000), 4 },
		{ { { .addr = 0, .size = UINT64_C(1) << 48 } }, 1, 0, 36 },
		{ { { .addr = 0x5000, .size = 0x1000 }, { .all = true } }, 2, 0, 52 },
		{ { { .addr = 0x5000, .size = 0x1000, .all = true } }, 1, 0, 52 },
		{ { { .addr = 0, .size = UINT64_C(0xfffffffffffff000) } }, 1, 0, 52 },
	};
	struct smmuv3_cmd cmds[2 * SMMUV3_MAX_ATCS];
	void *dev, *domain;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		struct smmuv3_model_conf conf = ats_conf;

		/* Where the smallest page is 64 KiB, no ATC_INV covers less. */
		conf.no_features = k ? SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K : 0;
		ats_open(&p, &conf);
		dev = ats_add_dev(&p, SID, 0);
		domain = ats_add_domain(&p);
		ats_attach(&p, dev, IOPF_NO_PASID, domain);
		for (unsigned int i = 0; i < RTE_DIM(rows); i++) {
			unsigned int size = k ? RTE_MAX(rows[i].size, 4u) : rows[i].size;

			assert_int_equal(smmuv3_atc_make_cmds(p.s, domain, rows[i].inv, rows[i].n,
					cmds), 2);
			assert_int_equal(cmds[0].dw[0], UINT64_C(0x0000000800000040));
			assert_int_equal(cmds[0].dw[1] & 0x3f, size);
			assert_int_equal(cmds[0].dw[1] & ~UINT64_C(0xfff), k && size == 4 ?
					rows[i].addr & ~UINT64_C(0xffff) : rows[i].addr);
			assert_int_equal(cmds[1].dw[0], SMMUV3_OP_SYNC);
		}
		ats_detach(&p, dev, IOPF_NO_PASID);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		ats_close(&p);
	}
}

/* Each ATC gets a share of the 64 commands of a batch: one ATC_INV covers neighbouring ranges. */
static void
test_many_ranges_take_one_batch(void **state)
{
	struct smmuv3_model_dma *dma[3];
	static struct iopf_inv inv[300];
	void *dev[3], *domain, *page;
	struct iopf_inv_result result;
	unsigned int i, k;
	uint64_t before;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	domain = ats_add_domain(&p);
	page = ats_map(&p, VA);
	for (i = 0; i < RTE_DIM(inv); i++) {
		inv[i] = (struct iopf_inv){ .addr = VA + 3 * i * PAGE, .size = PAGE,
			.leaf_only = true, .leaf_log2 = 12 };
		pmd_map(&p, inv[i].addr, page);
	}
	for (k = 0; k < 3; k++) {
		dev[k] = ats_add_dev(&p, SID + k, 0);
		ats_attach(&p, dev[k], IOPF_NO_PASID, domain);
		dma[k] = ats_add_engine(&p, SID + k, IOPF_NO_PASID, false);
		for (i = 0; i < RTE_DIM(inv); i++)
			assert_true(ats_can_reach(&p, dma[k], inv[i].addr));
	}
	for (i = 0; i < RTE_DIM(inv); i++)
		ats_unmap(&p, inv[i].addr);
	before = smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS);
	assert_int_equal(p.ops->invalidate(p.s, domain, inv, RTE_DIM(inv), &result), 0);
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS) - before, 63);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < RTE_DIM(inv); i++)
			assert_false(ats_can_reach(&p, dma[k], inv[i].addr));
		smmuv3_model_dma_destroy(dma[k]);
		ats_detach(&p, dev[k], IOPF_NO_PASID);
		p.ops->dev_del(p.s, dev[k]);
	}
	p.ops->domain_del(p.s, domain);
	ats_close(&p);
}

static void
test_an_invalidation_reaches_all_atcs_of_its_domain_alone(void **state)
{
	const uint32_t sids[2] = { SID + 1, SID + 2 };
	struct smmuv3_model_dma *dma[5];
	void *one, *two, *shared, *other;
	uint64_t *root;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	one = ats_add_dev(&p, SID, 8);
	two = ats_add_dev_sids(&p, sids, 2, 8, false);
	other = ats_add_domain(&p);
	ats_map(&p, VA);
	root = p.root;
	shared = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_attach(&p, one, 1, shared);
	ats_attach(&p, one, 2, other);
	ats_attach(&p, two, IOPF_NO_PASID, shared);
	ats_attach(&p, two, 7, shared);
	dma[0] = ats_add_engine(&p, SID, 1, false);
	dma[1] = ats_add_engine(&p, SID + 1, IOPF_NO_PASID, false);
	dma[2] = ats_add_engine(&p, SID + 2, IOPF_NO_PASID, false);
	dma[3] = ats_add_engine(&p, SID + 2, 7, false);
	dma[4] = ats_add_engine(&p, SID, 2, false);
	for (unsigned int i = 0; i < 5; i++)
		assert_true(ats_can_reach(&p, dma[i], VA));
	ats_unmap(&p, VA);
	ats_invalidate_page(&p, shared, VA);
	for (unsigned int i = 0; i < 4; i++)
		assert_false(ats_can_reach(&p, dma[i], VA));
	assert_true(ats_can_reach(&p, dma[4], VA));
	p.root = root;
	ats_unmap(&p, VA);
	ats_invalidate_page(&p, other, VA);
	assert_false(ats_can_reach(&p, dma[4], VA));
	for (unsigned int i = 0; i < 5; i++)
		smmuv3_model_dma_destroy(dma[i]);
	ats_detach(&p, two, 7);
	ats_detach(&p, one, 1);
	ats_detach(&p, two, IOPF_NO_PASID);
	ats_detach(&p, one, 2);
	p.ops->domain_del(p.s, shared);
	p.ops->domain_del(p.s, other);
	p.ops->dev_del(p.s, one);
	p.ops->dev_del(p.s, two);
	ats_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_no_atc_reaches_an_unmapped_page),
	cmocka_unit_test(test_atc_invs_cover_their_ranges),
	cmocka_unit_test(test_many_ranges_take_one_batch),
	cmocka_unit_test(test_an_invalidation_reaches_all_atcs_of_its_domain_alone),
};

TEST_SUITE(pmd_atc_inval, tests, NULL, NULL);
