/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Stage-2 domains through the public interface: the handler resolves the IPA of a fault. */

#include <errno.h>

#include <rte_common.h>
#include <rte_errno.h>

#include "iopf_pgtable.h"
#include "pcie_rig.h"
#include "test.h"

#define SID	9

static const struct smmuv3_model_conf conf = {
	.features = SMMUV3_MODEL_S2,
	.choices = SMMUV3_MODEL_STICKY_TLB,
	.harsh = SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE,
};

static enum smmuv3_model_status
access_page(struct pcie *r, struct smmuv3_model_dma *dma, unsigned int page)
{
	struct smmuv3_model_done done;

	pcie_write(r, dma, page, 1);
	pcie_run(r);
	assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
	return done.status;
}

static void
unmap_page(struct pcie_space *s, unsigned int page)
{
	struct pgt_inv ranges[2];
	struct pgt_unmapped out;
	struct iopf_inv inv;

	pgt_unmapped_init(&out, ranges, RTE_DIM(ranges));
	pgt_unmap(s->pgt, PCIE_VA + (uint64_t)page * PCIE_PAGE, PCIE_PAGE, 0, &out);
	assert_int_equal(out.nb_inv, 1);
	inv = iopf_inv_from_pgt(&ranges[0]);
	assert_int_equal(iopf_invalidate(s->domain, &inv, 1, NULL), 0);
}

/* Attach, fault, resolve, unmap, fault again, detach. */
static void
serve(struct pcie *r, struct pcie_space *s, struct pcie_fn *f)
{
	struct smmuv3_model_dma *dma = f->dma[0];
	const struct iopf_fault *fault = &s->fault[0];

	pcie_attach(s, f, IOPF_NO_PASID);
	for (unsigned int i = 1; i <= 2; i++) {
		assert_int_equal(access_page(r, dma, 3), SMMUV3_MODEL_OK);
		assert_int_equal(s->calls, i);
		assert_int_equal(fault->addr, PCIE_VA + 3 * PCIE_PAGE);
		assert_int_equal(fault->pasid, IOPF_NO_PASID);
		if (f->stalls) {
			assert_int_equal(fault->flags, IOPF_FAULT_STALLED | IOPF_FAULT_STAGE2);
			assert_int_equal(fault->fault_class, IOPF_CLASS_IN);
			assert_int_equal(fault->ipa, PCIE_VA + 3 * PCIE_PAGE);
		} else {
			/* The address of a request is an IPA, and no stage has faulted. */
			assert_int_equal(fault->flags, IOPF_FAULT_PAGE_REQUEST);
			assert_int_equal(fault->fault_class, IOPF_CLASS_NONE);
		}
		assert_memory_equal(s->data + 3 * PCIE_PAGE, r->pattern + 3 * PCIE_PAGE,
				PCIE_PAGE);
		assert_int_equal(access_page(r, dma, 3), SMMUV3_MODEL_OK);
		assert_int_equal(s->calls, i);
		unmap_page(s, 3);
	}
	assert_int_equal(iopf_domain_detach(s->domain, f->dev, IOPF_NO_PASID), 0);
}

static void
test_a_handler_resolves_the_ipa(void **state)
{
	const struct iopf_iommu_info *info;
	struct pcie_space s;
	struct pcie_fn f[2];
	struct pcie r;

	(void)state;
	pcie_open(&r, &conf, NULL);
	info = iopf_iommu_info(r.iommu);
	assert_true(info->stage2);
	assert_int_equal(info->ipa_bits, 48);
	assert_int_equal(info->vmid_bits, 8);
	pcie_add_stalling_fn(&r, &f[0], SID, NULL);
	pcie_create_engine(&r, &f[0], &(struct smmuv3_model_dma_conf){ .depth = 1024 });
	pcie_create_stage2_space(&r, &s, NULL);
	serve(&r, &s, &f[0]);
	/* The device can have it again. */
	s.calls = 0;
	serve(&r, &s, &f[0]);
	s.calls = 0;
	pcie_add_fn(&r, &f[1], SID + 1, NULL);
	pcie_create_engine(&r, &f[1], &(struct smmuv3_model_dma_conf){ .group_pages = 1 });
	serve(&r, &s, &f[1]);
	pcie_close(&r);
}

static bool
breaker_has_tripped(const void *dev)
{
	return iopf_dev_stat(dev, IOPF_DEV_STAT_TRIPS) == 1;
}

/* The breaker clears S2S: accesses abort, and are counted. */
static void
test_a_stall_breaker_trips(void **state)
{
	struct smmuv3_model_dma *dma;
	struct iopf_episode episode;
	struct smmuv3_model_done done;
	struct pcie_space s;
	struct pcie_fn f;
	struct pcie r;
	uint64_t calls;

	(void)state;
	pcie_open(&r, &conf, NULL);
	pcie_add_stalling_fn(&r, &f, SID, NULL);
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .depth = 1024 });
	pcie_create_stage2_space(&r, &s, &(struct iopf_storm_conf){ .max_held = 2 });
	pcie_attach(&s, &f, IOPF_NO_PASID);
	s.verdict = IOPF_TAKEN;
	s.leave_unmapped = true;
	for (unsigned int i = 0; i < 4; i++)
		pcie_write(&r, dma, i, 1);
	pcie_run_until(&r, breaker_has_tripped, f.dev);
	for (unsigned int i = 0; i < 4; i++) {
		pcie_run(&r);
		while (smmuv3_model_dma_poll(dma, &done, 1) == 0)
			pcie_run_ms(&r, 1);
		assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	}
	calls = s.calls;
	assert_int_equal(access_page(&r, dma, 5), SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 0);
	assert_int_equal(s.calls, calls);
	assert_int_equal(iopf_domain_rearm(s.domain, f.dev, IOPF_NO_PASID, &episode), 0);
	assert_true(episode.faults >= 2);
	assert_int_equal(episode.first.fault_class, IOPF_CLASS_IN);
	assert_true(episode.first.flags & IOPF_FAULT_STAGE2);
	/* At its next tick accesses stall again. */
	s.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s.leave_unmapped = false;
	for (unsigned int i = 0; access_page(&r, dma, 6) != SMMUV3_MODEL_OK; i++) {
		assert_in_range(i, 0, 60000);
		pcie_run_ms(&r, 1);
	}
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_close(&r);
}

static void
test_what_cannot_be_done_is_refused(void **state)
{
	struct pcie_space s, other, first;
	struct pcie_fn f;
	struct pcie r;

	(void)state;
	pcie_mute_log(true);
	pcie_open(&r, NULL, NULL);
	assert_false(iopf_iommu_info(r.iommu)->stage2);
	pcie_add_stalling_fn(&r, &f, SID, NULL);
	pcie_create_stage2_space(&r, &s, NULL);
	assert_int_equal(iopf_domain_attach(s.domain, f.dev, IOPF_NO_PASID), -ENOTSUP);
	assert_int_equal(rte_errno, ENOTSUP);
	pcie_close(&r);

	pcie_open(&r, &conf, NULL);
	pcie_add_stalling_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .depth = 1024 });
	pcie_create_stage2_space(&r, &s, NULL);
	pcie_create_stage2_space(&r, &other, NULL);
	pcie_create_space(&r, &first);
	assert_int_equal(iopf_domain_attach(s.domain, f.dev, 3), -ERANGE);
	pcie_attach(&first, &f, 3);
	assert_int_equal(iopf_domain_attach(s.domain, f.dev, IOPF_NO_PASID), -EINVAL);
	assert_int_equal(iopf_domain_detach(first.domain, f.dev, 3), 0);
	pcie_attach(&s, &f, IOPF_NO_PASID);
	assert_int_equal(iopf_domain_attach(first.domain, f.dev, 3), -EINVAL);
	/* After a replace that is refused the old domain is attached as before. */
	assert_int_equal(iopf_domain_replace(other.domain, f.dev, IOPF_NO_PASID), -ENOTSUP);
	assert_int_equal(iopf_domain_replace(first.domain, f.dev, IOPF_NO_PASID), -ENOTSUP);
	assert_int_equal(access_page(&r, f.dma[0], 1), SMMUV3_MODEL_OK);
	assert_int_equal(s.calls, 1);
	assert_int_equal(other.calls + first.calls, 0);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_close(&r);
	pcie_mute_log(false);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_handler_resolves_the_ipa),
	cmocka_unit_test(test_a_stall_breaker_trips),
	cmocka_unit_test(test_what_cannot_be_done_is_refused),
};

TEST_SUITE(stage2_domain, tests, NULL, NULL);
