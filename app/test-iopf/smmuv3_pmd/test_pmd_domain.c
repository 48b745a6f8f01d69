/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Domains, PASIDs and StreamIDs: translations, ASIDs, and which TLB entries may remain. */

#include <errno.h>

#include "log_lines.h"
#include "pmd_rig.h"
#include "test.h"

static void
test_pasids_have_domains_of_their_own(void **state)
{
	static const uint32_t sizes[] = { 2, 5, 64, 65, 1000, 1 << 16 };
	uint8_t buf[8] = { 0 };
	struct pmd p;
	unsigned int i, k;

	(void)state;
	for (i = 0; i < RTE_DIM(sizes); i++)
		for (k = 0; k < 2; k++) {
			uint32_t last = sizes[i] - 1;
			struct smmuv3_model_dma *other;
			struct smmuv3_model_done done;
			void *domain;

			if (k == 1 && sizes[i] > 1000)
				continue;
			pmd_open(&p, &(struct smmuv3_model_conf){
				.no_features = k == 1 ? SMMUV3_MODEL_NO_2LVL_CD : 0,
				.choices = SMMUV3_MODEL_TORN_FETCH | SMMUV3_MODEL_STICKY_TLB });
			assert_int_equal(p.ops->start(p.s), 0);
			pmd_add_dev(&p, IOPF_STALL, sizes[i], last);
			assert_int_equal(rig_attach(p.ops, p.s, p.dev, 0, p.domain), -ERANGE);
			assert_int_equal(rig_attach(p.ops, p.s, p.dev, sizes[i], p.domain),
					-ERANGE);
			pmd_serve_fault(&p, PMD_VA);

			/*
			 * First no domain for traffic without PASID, then a domain that maps
			 * nothing.
			 */
			other = smmuv3_model_dma_create(p.m,
					&(struct smmuv3_model_dma_conf){ .sid = PMD_SID });
			assert_non_null(other);
			assert_int_equal(p.ops->domain_add(p.s, &(struct iopf_translation){
				.format = IOPF_FORMAT_NONE }, NULL, &domain), 0);
			for (unsigned int round = 0; round < 2; round++) {
				struct iopf_event event;

				assert_int_equal(smmuv3_model_dma_submit(other,
						&(struct smmuv3_model_op){
							.type = SMMUV3_MODEL_READ, .addr = PMD_VA,
							.buf = buf, .len = 1 }), 0);
				pmd_wait_event(&p, &event);
				if (event.raw_id == SMMUV3_C_BAD_SUBSTREAMID) {
					/*
					 * There is no leaf of CDs yet: the record says that CD 0 is
					 * missing.
					 */
					assert_int_equal(round, 0);
					assert_int_equal(event.pasid, 0);
				} else {
					assert_int_equal(event.pasid, IOPF_NO_PASID);
				}
				if (round == 0) {
					assert_int_equal(event.reason, IOPF_REASON_CONFIG);
					assert_int_equal(rig_attach(p.ops, p.s, p.dev,
							IOPF_NO_PASID, domain), 0);
				} else {
					assert_int_equal(event.flags, IOPF_EVENT_STALL);
					assert_int_equal(event.perm, IOPF_PERM_READ);
					pmd_answer(&p, &event, IOPF_INVALID);
				}
				pmd_step(&p);
				assert_int_equal(smmuv3_model_dma_poll(other, &done, 1), 1);
				assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
			}
			assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
			p.ops->domain_del(p.s, domain);

			/* The other PASID still works. */
			pmd_write(&p, PMD_VA, buf, sizeof(buf));
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
			smmuv3_model_dma_destroy(other);
			pmd_finish(&p, last);
		}
}

static void
test_one_device_may_have_many_streams(void **state)
{
	uint32_t sids[100];
	struct iopf_dev_conf conf = { .sids = sids, .nb_sids = RTE_DIM(sids), .nb_pasids = 4 };
	struct smmuv3_model_dma *dma;
	uint8_t buf[4] = { 1, 2, 3, 4 };
	struct pmd p;
	unsigned int i;
	void *dev;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB });
	pmd_start(&p, IOPF_STALL);
	pmd_serve_fault(&p, PMD_VA);
	for (i = 0; i < RTE_DIM(sids); i++)
		sids[i] = 1000 + 37 * i;
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), 0);
	assert_int_equal(rig_attach(p.ops, p.s, dev, 3, p.domain), 0);
	/* This attachment stays, and so do the STEs. */
	assert_int_equal(rig_attach(p.ops, p.s, dev, 2, p.domain), 0);
	for (unsigned int round = 0; round < 2; round++) {
		for (i = 0; i < RTE_DIM(sids); i++) {
			struct smmuv3_model_done done = { .cookie = 0 };

			dma = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
				.sid = sids[i], .has_ssid = true, .ssid = 3 });
			assert_non_null(dma);
			assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .addr = PMD_VA, .buf = buf,
				.len = sizeof(buf) }), 0);
			pmd_step(&p);
			assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
			assert_int_equal(done.status, round == 0 ? SMMUV3_MODEL_OK :
					SMMUV3_MODEL_ABORTED);
			smmuv3_model_dma_destroy(dma);
		}
		if (round == 0)
			assert_int_equal(rig_detach(p.ops, p.s, dev, 3), 0);
	}
	assert_int_equal(rig_detach(p.ops, p.s, dev, 2), 0);
	p.ops->dev_del(p.s, dev);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_removing_a_device_ends_its_stalls(void **state)
{
	uint8_t buf[8] = { 0 };
	struct iopf_event event;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_wait_event(&p, &event);
	assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
	p.ops->dev_del(p.s, p.dev);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_stalls_outstanding(p.m), 0);

	/* The StreamID has no device now. Its accesses leave records. */
	pmd_write(&p, PMD_VA, buf, sizeof(buf));
	pmd_wait_event(&p, &event);
	assert_int_equal(event.reason, IOPF_REASON_CONFIG);
	assert_int_equal(event.raw_id, SMMUV3_C_BAD_STE);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	p.ops->domain_del(p.s, p.domain);
	assert_int_equal(p.ops->stop(p.s), 0);
	smmuv3_model_dma_destroy(p.dma);
	pmd_close(&p);
}

static void
test_translations_are_checked(void **state)
{
	struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_S1, .va_bits = 48,
		.granule_log2 = 12, .root = 0x10000 }, bad;
	struct pmd p;
	void *domain;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_16K, .oas_bits = 48 });
	assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &domain), 0);
	p.ops->domain_del(p.s, domain);
#define BAD(...) do {								\
		bad = tr;							\
		__VA_ARGS__;							\
		assert_int_equal(p.ops->domain_add(p.s, &bad, NULL, &domain), -EINVAL); \
	} while (0)
	BAD(bad.format = 77);
	SAYS("granule_log2 14 of a translation: use one that the SMMU has: 12 (4 KiB) 16 (64 KiB)",
			BAD(bad.granule_log2 = 14));
	BAD(bad.granule_log2 = 13);
	BAD(bad.granule_log2 = 40);
	BAD(bad.va_bits = 24);
	BAD(bad.va_bits = 49);
	BAD(bad.root = 0x10800);
	BAD(bad.root = UINT64_C(1) << 50);
	BAD(bad.root = UINT64_C(1) << 36, bad.pa_bits = 36);
	/* A smaller table needs less alignment: 25 bits of 4 KiB pages begin with 16 entries. */
	tr.va_bits = 25;
	tr.root = 0x10080;
	assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &domain), 0);
	p.ops->domain_del(p.s, domain);
	pmd_close(&p);
}

static void
test_each_domain_has_an_asid(void **state)
{
	const struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	void *domains[256];
	struct pmd p;
	unsigned int i, k;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .no_features = SMMUV3_MODEL_NO_ASID16 });
	/* One ASID is reserved for CDs that terminate. */
	for (i = 0; i < 255; i++) {
		assert_int_equal(p.ops->domain_add(p.s, &none, NULL, &domains[i]), 0);
		assert_int_not_equal(((struct smmuv3_domain *)domains[i])->asid,
				SMMUV3_ASID_NONE);
	}
	assert_int_equal(p.ops->domain_add(p.s, &none, NULL, &domains[255]), -ENOSPC);
	for (i = 0; i < 255; i++)
		for (k = 0; k < i; k++)
			assert_int_not_equal(((struct smmuv3_domain *)domains[i])->asid,
					((struct smmuv3_domain *)domains[k])->asid);
	p.ops->domain_del(p.s, domains[77]);
	assert_int_equal(p.ops->domain_add(p.s, &none, NULL, &domains[77]), 0);
	for (i = 0; i < 255; i++)
		p.ops->domain_del(p.s, domains[i]);
	pmd_close(&p);
}

/*
 * A PASID is detached from a domain that another device still uses. It must not use TLB entries
 * that the accesses of that device fill.
 */
static void
test_a_detached_pasid_does_not_use_the_tlb_of_others(void **state)
{
	const uint32_t sid = PMD_SID + 1;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 4 };
	struct smmuv3_model_dma *detached;
	struct smmuv3_model_done done;
	struct iopf_event event;
	uint8_t byte = 1;
	struct pmd p;
	void *other;

	(void)state;
	for (unsigned int kind = 0; kind < 3; kind++) {
		struct iopf_dev_conf c = conf;

		pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = kind,
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_start(&p, pmd_get_recover(&p));
		c.recover = pmd_get_recover(&p);
		assert_int_equal(p.ops->dev_add(p.s, &c, &other), 0);
		assert_int_equal(rig_attach(p.ops, p.s, other, 1, p.domain), 0);
		assert_int_equal(rig_attach(p.ops, p.s, other, 2, p.domain), 0);
		detached = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
			.sid = sid, .has_ssid = true, .ssid = 1 });
		pmd_map(&p, PMD_VA, pmd_alloc(&p, (size_t)1 << p.granule_log2,
				(size_t)1 << p.granule_log2));
		assert_int_equal(rig_detach(p.ops, p.s, other, 1), 0);
		pmd_write(&p, PMD_VA, &byte, 1);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
		assert_int_equal(smmuv3_model_dma_submit(detached, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = PMD_VA, .buf = &byte, .len = 1 }), 0);
		pmd_step(&p);
		assert_int_equal(smmuv3_model_dma_poll(detached, &done, 1), 1);
		assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
		assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 1);
		assert_int_equal(event.raw_id, SMMUV3_C_BAD_CD);
		smmuv3_model_dma_destroy(detached);
		assert_int_equal(rig_detach(p.ops, p.s, other, 2), 0);
		p.ops->dev_del(p.s, other);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* A domain gets the ASID of an earlier domain. The TLB must hold no entry of the earlier one. */
static void
test_a_reused_asid_has_no_tlb_entries(void **state)
{
	struct iopf_translation tr;
	struct iopf_event event;
	uint8_t byte = 1;
	uint16_t asid;
	struct pmd p;

	(void)state;
	for (unsigned int kind = 0; kind < 3; kind++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = kind,
			.no_features = SMMUV3_MODEL_NO_ASID16,
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_start(&p, pmd_get_recover(&p));
		pmd_serve_fault(&p, PMD_VA);
		asid = ((struct smmuv3_domain *)p.domain)->asid;
		tr = ((struct smmuv3_domain *)p.domain)->tr;
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		p.ops->domain_del(p.s, p.domain);
		p.root = pmd_alloc(&p, 4096, 4096);
		tr.root = (uintptr_t)p.root;
		for (unsigned int i = 0;; i++) {
			assert_in_range(i, 0, 255);
			assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &p.domain), 0);
			if (((struct smmuv3_domain *)p.domain)->asid == asid)
				break;
			p.ops->domain_del(p.s, p.domain);
		}
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
		pmd_write(&p, PMD_VA, &byte, 1);
		pmd_wait_event(&p, &event);
		assert_int_equal(event.reason, IOPF_REASON_TRANSLATION);
		if (event.flags & IOPF_EVENT_STALL)
			pmd_answer(&p, &event, IOPF_INVALID);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_pasids_have_domains_of_their_own),
	cmocka_unit_test(test_one_device_may_have_many_streams),
	cmocka_unit_test(test_removing_a_device_ends_its_stalls),
	cmocka_unit_test(test_translations_are_checked),
	cmocka_unit_test(test_each_domain_has_an_asid),
	cmocka_unit_test(test_a_detached_pasid_does_not_use_the_tlb_of_others),
	cmocka_unit_test(test_a_reused_asid_has_no_tlb_entries),
};

TEST_SUITE(pmd_domain, tests, NULL, NULL);
