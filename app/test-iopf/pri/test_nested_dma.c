/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Nested domains: their faults, invalidations of the parent, replace, suspend. */

#include <errno.h>
#include <string.h>

#include <rte_common.h>

#include "guest_rig.h"
#include "iopf_pgtable.h"
#include "iopf_power.h"
#include "smmuv3_order.h"
#include "test.h"

#define SID	9

static struct pcie r;

static void
open_guest(struct guest *g, bool stalls)
{
	pcie_open(&r, &guest_model_conf, NULL);
	guest_add(&r, g, SID, stalls);
}

static void
close_guest(struct guest *g)
{
	guest_remove(g);
	pcie_close(&r);
}

/* Fault n of the last access is of stage 2, for this page of the guest's memory. */
static void
expect_stage2(const struct guest *g, unsigned int n, unsigned int i, unsigned int va_page,
		unsigned int page, enum iopf_event_class fault_class)
{
	const struct guest_seen *s = &g->seen[n];

	assert_in_range(n, 0, g->nb_seen - 1);
	assert_int_equal(s->flags, IOPF_FAULT_STAGE2 | IOPF_FAULT_STALLED);
	assert_int_equal(s->fault_class, fault_class);
	assert_int_equal(s->ipa, GUEST_IPA(page));
	assert_int_equal(s->addr, GUEST_VA(va_page));
	assert_int_equal(s->pasid, i != 0 ? GUEST_PASID : IOPF_NO_PASID);
	assert_int_equal(s->reason, IOPF_REASON_TRANSLATION);
	assert_int_equal(s->perm, IOPF_PERM_WRITE);
}

static void
unmap_page(struct guest *g, unsigned int page)
{
	struct pgt_inv range;
	struct pgt_unmapped out;
	struct iopf_inv inv;

	pgt_unmapped_init(&out, &range, 1);
	pgt_unmap(g->parent.pgt, GUEST_IPA(page), PCIE_PAGE, 0, &out);
	assert_int_equal(out.nb_inv, 1);
	inv = iopf_inv_from_pgt(&range);
	assert_int_equal(iopf_invalidate(g->parent.domain, &inv, 1, NULL), 0);
}

static void
test_a_handler_resolves_each_class(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		open_guest(&g, true);
		/* None of the guest's memory is there: the CD, each table, then the page. */
		guest_write(&g, i, 7);
		assert_int_equal(g.nb_seen, 5);
		expect_stage2(&g, 0, i, 7, GUEST_CDS, IOPF_CLASS_CD);
		expect_stage2(&g, 1, i, 7, GUEST_L1, IOPF_CLASS_TT);
		expect_stage2(&g, 2, i, 7, GUEST_L2, IOPF_CLASS_TT);
		expect_stage2(&g, 3, i, 7, GUEST_L3, IOPF_CLASS_TT);
		expect_stage2(&g, 4, i, 7, GUEST_DATA + 7, IOPF_CLASS_IN);
		/* The other PASID has another ASID; the tables are there. */
		guest_write(&g, 1 - i, 8);
		assert_int_equal(g.nb_seen, 1);
		expect_stage2(&g, 0, 1 - i, 8, GUEST_DATA + 8, IOPF_CLASS_IN);
		guest_write(&g, i, 7);
		assert_int_equal(g.nb_seen, 0);
		assert_int_equal(g.parent.calls, 0);
		close_guest(&g);
	}
}

static void
test_a_fault_of_stage_1_is_the_guests(void **state)
{
	struct guest g;

	(void)state;
	open_guest(&g, true);
	smmuv3_set_dw(guest_leaf(&g, 9), 0);
	guest_write(&g, 1, 9);
	assert_int_equal(g.nb_seen, 6);
	assert_int_equal(g.seen[4].flags, IOPF_FAULT_STALLED);
	assert_int_equal(g.seen[4].fault_class, IOPF_CLASS_NONE);
	assert_int_equal(g.seen[4].addr, GUEST_VA(9));
	assert_int_equal(g.seen[4].pasid, GUEST_PASID);
	expect_stage2(&g, 5, 1, 9, GUEST_DATA + 9, IOPF_CLASS_IN);
	close_guest(&g);
}

/* The TLB keeps what no command removes: combined entries need their own. */
static void
test_an_invalidation_of_the_parent_is_of_nested_domains_too(void **state)
{
	struct guest g;

	(void)state;
	open_guest(&g, true);
	guest_write(&g, 0, 1);
	guest_write(&g, 1, 1);
	assert_int_equal(g.nb_seen, 0);
	unmap_page(&g, GUEST_DATA + 1);
	guest_write(&g, 1, 1);
	assert_int_equal(g.nb_seen, 1);
	expect_stage2(&g, 0, 1, 1, GUEST_DATA + 1, IOPF_CLASS_IN);
	guest_write(&g, 0, 1);
	assert_int_equal(g.nb_seen, 0);
	/* A table, of which no entry of a page remains either. */
	unmap_page(&g, GUEST_L3);
	guest_write(&g, 0, 1);
	assert_int_equal(g.nb_seen, 1);
	expect_stage2(&g, 0, 0, 1, GUEST_L3, IOPF_CLASS_TT);
	close_guest(&g);
}

static void
test_an_answer_follows_the_invalidation_of_the_parent(void **state)
{
	struct guest g;

	(void)state;
	open_guest(&g, true);
	g.upgrade = true;
	g.parent.prot = PGT_READ;
	guest_write(&g, 1, 2);
	/* The CD and the tables are read. The page is mapped read-only, then made writable. */
	assert_int_equal(g.nb_seen, 6);
	assert_int_equal(g.seen[5].reason, IOPF_REASON_PERMISSION);
	assert_int_equal(g.seen[5].ipa, GUEST_IPA(GUEST_DATA + 2));
	assert_int_equal(g.seen[5].fault_class, IOPF_CLASS_IN);
	close_guest(&g);
}

/* ATCs have VAs: those of each PASID are invalidated. */
static void
test_the_atcs_of_each_pasid_are_invalidated(void **state)
{
	struct guest g;

	(void)state;
	open_guest(&g, false);
	for (unsigned int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < 2; i++) {
			guest_write(&g, i, 3);
			assert_int_equal(g.nb_seen, i == 0);
			if (i == 0) {
				assert_int_equal(g.seen[0].flags, IOPF_FAULT_PAGE_REQUEST);
				assert_int_equal(g.seen[0].addr, GUEST_VA(3));
				assert_int_equal(g.seen[0].pasid, IOPF_NO_PASID);
			}
		}
		guest_write(&g, 1, 3);
		assert_int_equal(g.nb_seen, 0);
		unmap_page(&g, GUEST_DATA + 3);
	}
	guest_write(&g, 1, 3);
	assert_int_equal(g.nb_seen, 1);
	assert_int_equal(g.seen[0].pasid, GUEST_PASID);
	close_guest(&g);
}

/* vConfig of a guest: stage 1, bypass, stage 1. A stall is tried again in the next domain. */
static void
test_a_nested_domain_and_its_parent_replace_each_other(void **state)
{
	struct smmuv3_model_done done;
	struct iopf_domain *sibling;
	struct guest g;

	(void)state;
	open_guest(&g, true);
	sibling = guest_create_domain(&g, NULL);
	assert_non_null(sibling);
	guest_write(&g, 1, 4);
	assert_int_equal(iopf_domain_replace(sibling, g.f.dev, IOPF_NO_PASID), 0);
	guest_write(&g, 1, 4);
	assert_int_equal(g.nb_seen, 0);
	/* An access of the parent's is at an IPA. */
	assert_int_equal(iopf_domain_replace(g.parent.domain, g.f.dev, IOPF_NO_PASID), 0);
	pcie_write(&r, g.dma[0], 40, 1);
	pcie_run(&r);
	assert_int_equal(smmuv3_model_dma_poll(g.dma[0], &done, 1), 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(g.parent.calls, 1);
	assert_int_equal(g.parent.fault[0].ipa, GUEST_IPA(40));
	assert_memory_equal(guest_page(&g, 40), r.pattern + (size_t)40 * PCIE_PAGE, PCIE_PAGE);
	/* It has no PASIDs. */
	pcie_write(&r, g.dma[1], 41, 1);
	pcie_run(&r);
	assert_int_equal(smmuv3_model_dma_poll(g.dma[1], &done, 1), 1);
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_domain_replace(g.domain, g.f.dev, IOPF_NO_PASID), 0);
	guest_write(&g, 1, 4);
	assert_int_equal(g.nb_seen, 0);
	guest_write(&g, 0, 5);
	assert_int_equal(g.nb_seen, 1);
	expect_stage2(&g, 0, 0, 5, GUEST_DATA + 5, IOPF_CLASS_IN);
	assert_int_equal(iopf_domain_destroy(sibling), 0);
	close_guest(&g);
}

/* A breaker has only the block of the whole device. */
static void
test_a_stall_breaker_blocks_the_device(void **state)
{
	const struct iopf_storm_conf storm = { .max_rate = 20, .abort_device = true };
	struct iopf_domain *domain;
	struct smmuv3_model_done done;
	struct guest g;
	unsigned int n = 0;

	(void)state;
	open_guest(&g, true);
	domain = guest_create_domain(&g, &storm);
	assert_non_null(domain);
	assert_int_equal(iopf_domain_detach(g.domain, g.f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_attach(domain, g.f.dev, IOPF_NO_PASID), 0);
	guest_write(&g, 0, 0);
	while (iopf_dev_stat(g.f.dev, IOPF_DEV_STAT_TRIPS) == 0) {
		g.nb_seen = 0;
		unmap_page(&g, GUEST_DATA);
		pcie_write(&r, g.dma[0], 0, 1);
		pcie_run(&r);
		while (smmuv3_model_dma_poll(g.dma[0], &done, 1) == 0)
			pcie_run_ms(&r, 1);
		assert_in_range(n++, 0, 100);
	}
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_domain_detach(domain, g.f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(domain), 0);
	close_guest(&g);
}

/* What was unmapped meanwhile is in no TLB and no ATC afterwards, whatever the stages combined. */
static void
test_a_suspend_forgets_combined_entries(void **state)
{
	struct guest g;

	(void)state;
	for (unsigned int stalls = 0; stalls < 2; stalls++) {
		open_guest(&g, stalls);
		for (unsigned int i = 0; i < 2; i++)
			guest_write(&g, i, 6);
		assert_int_equal(iopf_iommu_suspend(r.iommu, 0), 0);
		unmap_page(&g, GUEST_DATA + 6);
		assert_int_equal(iopf_iommu_resume(r.iommu), 0);
		guest_write(&g, 1, 6);
		assert_int_equal(g.nb_seen, 1);
		if (stalls)
			expect_stage2(&g, 0, 1, 6, GUEST_DATA + 6, IOPF_CLASS_IN);
		else
			assert_int_equal(g.seen[0].addr, GUEST_VA(6));
		/* Nor is the nested domain another one. */
		guest_write(&g, 0, 6);
		assert_int_equal(g.nb_seen, 0);
		close_guest(&g);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_suspend_forgets_combined_entries),
	cmocka_unit_test(test_a_nested_domain_and_its_parent_replace_each_other),
	cmocka_unit_test(test_a_stall_breaker_blocks_the_device),
	cmocka_unit_test(test_a_handler_resolves_each_class),
	cmocka_unit_test(test_a_fault_of_stage_1_is_the_guests),
	cmocka_unit_test(test_an_invalidation_of_the_parent_is_of_nested_domains_too),
	cmocka_unit_test(test_an_answer_follows_the_invalidation_of_the_parent),
	cmocka_unit_test(test_the_atcs_of_each_pasid_are_invalidated),
};

TEST_SUITE(nested_dma, tests, NULL, NULL);
