/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Attach and detach: ASIDs, records of accesses without an attachment, memory, SYNCs. */

#include <errno.h>
#include <stdlib.h>

#include "breaker_rig.h"
#include "test.h"

/* The library never deletes an attached domain. The attachment holds the ASID too. */
static void
test_an_attached_domain_keeps_its_asid(void **state)
{
	struct breaker_rig r = { .domain = NULL };
	struct pmd *p = &r.p;

	(void)state;
	breaker_open(&r, &breaker_kinds[0]);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	p->ops->domain_del(p->s, r.domain);
	breaker_check_asid(&r);
	assert_int_equal(breaker_write_all(&r, OLD), 1);
	/* The driver does not remove a device that has attachments. */
	assert_int_equal(p->ops->dev_del(p->s, p->dev), -EBUSY);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	r.domain = breaker_add_heir(&r);
	p->ops->domain_del(p->s, r.domain);
	breaker_close(&r);
}

static void
test_an_asid_is_reused_as_late_as_possible(void **state)
{
	struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	bool seen[256] = { false };
	struct pmd p;
	void *domain;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .no_features = SMMUV3_MODEL_NO_ASID16 });
	for (unsigned int i = 0; i < 255; i++) {
		assert_int_equal(p.ops->domain_add(p.s, &none, NULL, &domain), 0);
		assert_int_not_equal(breaker_get_asid(domain), SMMUV3_ASID_NONE);
		assert_in_range(breaker_get_asid(domain), 1, 255);
		assert_false(seen[breaker_get_asid(domain)]);
		seen[breaker_get_asid(domain)] = true;
		p.ops->domain_del(p.s, domain);
	}
	pmd_close(&p);
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
	syncs = pmd_read_stat(&p, "syncs");
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), 0);
	/* Its STEs were not valid before and are not valid now. */
	assert_int_equal(pmd_read_stat(&p, "syncs"), syncs);
	assert_int_equal(p.ops->domain_add(p.s, &none, NULL, &domain), 0);
	assert_int_equal(rig_attach(p.ops, p.s, dev, IOPF_NO_PASID, domain), 0);
	/* The CD twice, the STEs twice. */
	assert_in_range(pmd_read_stat(&p, "syncs") - syncs, 1, 4 * NB / SMMUV3_CHUNK);
	syncs = pmd_read_stat(&p, "syncs");
	assert_int_equal(rig_detach(p.ops, p.s, dev, IOPF_NO_PASID), 0);
	/* The CD, the TLBI, the STEs. */
	assert_in_range(pmd_read_stat(&p, "syncs") - syncs, 1, 2 * NB / SMMUV3_CHUNK + 1);
	syncs = pmd_read_stat(&p, "syncs");
	assert_int_equal(p.ops->dev_del(p.s, dev), 0);
	/* The STEs, STALL_TERM, the STEs. */
	assert_in_range(pmd_read_stat(&p, "syncs") - syncs, 1, 3 * NB / SMMUV3_CHUNK);
	p.ops->domain_del(p.s, domain);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
	free(sids);
}

/* Contract 16: the access leaves a record, and it does not stall. */
static void
test_an_access_without_an_attachment_leaves_a_record(void **state)
{
	const uint32_t sids[2] = { PMD_SID, 0x345 }, sid = PMD_SID;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < RTE_DIM(breaker_kinds); k++) {
		const struct iopf_dev_conf conf = { .sids = sids, .nb_sids = 2, .nb_pasids = 128,
			.recover = breaker_kinds[k].recover };
		uint8_t stopped = breaker_kinds[k].recover == IOPF_PRI ? SMMUV3_F_TRANSLATION :
				SMMUV3_C_BAD_CD;

		pmd_open(&p, &(struct smmuv3_model_conf){
			.stall_model = breaker_kinds[k].stall_model,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
			.choices = SMMUV3_MODEL_STICKY_TLB,
		});
		assert_int_equal(p.ops->start(p.s), 0);
		/* Not added; beyond the table; added. */
		assert_int_equal(breaker_read_record(&p, sid, IOPF_NO_PASID),
				SMMUV3_C_BAD_STREAMID);
		assert_int_equal(breaker_read_record(&p, 0x12345678, 3), SMMUV3_C_BAD_STREAMID);
		assert_int_equal(p.ops->dev_add(p.s, &conf, &p.dev), 0);
		/* Until an attach the SMMU may use a cached first-level entry. */
		assert_int_equal(breaker_read_record(&p, sid, 1), SMMUV3_C_BAD_STREAMID);
		assert_int_equal(breaker_read_record(&p, 0x345, 1), SMMUV3_C_BAD_STE);
		p.domain = breaker_add_domain(&p);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, 1, p.domain), 0);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, 2, p.domain), 0);
		/* No PASID; another PASID, with a leaf table and without; too large a PASID. */
		assert_int_equal(breaker_read_record(&p, sid, IOPF_NO_PASID), SMMUV3_C_BAD_CD);
		assert_int_equal(breaker_read_record(&p, sid, 3), SMMUV3_C_BAD_CD);
		assert_int_equal(breaker_read_record(&p, sid, 100), SMMUV3_C_BAD_SUBSTREAMID);
		assert_int_equal(breaker_read_record(&p, sid, 128), SMMUV3_C_BAD_SUBSTREAMID);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, 1), 0);
		assert_int_equal(breaker_read_record(&p, sid, 1), stopped);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, 2), 0);
		assert_int_equal(breaker_read_record(&p, sid, 1), SMMUV3_C_BAD_STE);
		assert_int_equal(breaker_read_record(&p, sid, 2), SMMUV3_C_BAD_STE);
		assert_int_equal(p.ops->dev_del(p.s, p.dev), 0);
		assert_int_equal(breaker_read_record(&p, sid, 2), SMMUV3_C_BAD_STE);
		p.ops->domain_del(p.s, p.domain);
		assert_int_equal(p.ops->stop(p.s), 0);
		pmd_close(&p);
	}
}

static int
fail_dma_map(void *ctx, void *ptr, size_t len, uint64_t limit, uint64_t *addr)
{
	(void)ctx;
	(void)ptr;
	(void)len;
	(void)limit;
	(void)addr;
	return -ENOSPC;
}

/* An attach allocates a second level of CDs when it needs one, and the allocation may fail. */
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
	pmd_start(&p, IOPF_STALL);
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), 0);
	conf.sids = &sids[1];
	conf.recover = IOPF_PRI;
	assert_int_equal(p.ops->dev_add(p.s, &conf, &pri), 0);
	backend = p.s->backend;
	full = *backend;
	full.dma_map = fail_dma_map;
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
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_attach_without_memory_for_its_cd_leaves_nothing),
	cmocka_unit_test(test_an_attached_domain_keeps_its_asid),
	cmocka_unit_test(test_an_asid_is_reused_as_late_as_possible),
	cmocka_unit_test(test_many_streamids_share_a_sync),
	cmocka_unit_test(test_an_access_without_an_attachment_leaves_a_record),
};

TEST_SUITE(pmd_attach, tests, NULL, NULL);
