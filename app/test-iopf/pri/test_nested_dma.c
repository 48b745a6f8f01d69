/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Nested domains through the public interface, with CDs and tables that the test writes as a guest
 * does, into memory that the parent maps: the handler resolves the IPA of each stage-2 fault,
 * whatever the SMMU needed it for.
 */

#include <errno.h>
#include <string.h>

#include <rte_common.h>

#include "iopf_pgtable.h"
#include "iopf_power.h"
#include "pcie_rig.h"
#include "smmuv3_order.h"
#include "smmuv3_spec.h"
#include "test.h"

#define SID	9
#define PASID	5
#define CDMAX	4			/* log2 */

/* Pages of the guest's memory, that is of the parent's space. */
#define CDS	0u
#define L1	1u			/* tables of 39 bits */
#define L2	2u
#define L3	3u
#define DATA	64u			/* page n is at VA page n */
#define IPA(page)	(PCIE_VA + (uint64_t)(page) * PCIE_PAGE)
#define VA(page)	IPA(page)

#define S1_LEAF	(UINT64_C(3) | 1 << 10 | 3 << 8 | 1 << 6)	/* AF, ISH, unprivileged, RW */

/* What the handler saw. */
struct seen {
	uint64_t addr, ipa;
	uint32_t pasid;
	uint8_t flags, fault_class, reason, perm;
};

struct guest {
	struct pcie r;
	struct pcie_space parent;
	struct pcie_fn f;
	struct smmuv3_model_dma *dma[2];	/* untagged, PASID */
	struct iopf_domain *domain;
	struct seen seen[16];
	unsigned int nb_seen;
	bool upgrade;		/* the handler makes the page writable, with an invalidation */
};

static const struct smmuv3_model_conf conf = {
	.features = SMMUV3_MODEL_S2,
	.choices = SMMUV3_MODEL_STICKY_TLB,
	.harsh = SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE,
};

static uint64_t *
page_of(struct guest *g, unsigned int page)
{
	return (uint64_t *)(void *)(g->parent.data + (size_t)page * PCIE_PAGE);
}

static uint64_t *
leaf_of(struct guest *g, unsigned int page)
{
	return &page_of(g, L3)[(VA(page) >> 12) & 511];
}

/* As a guest's driver: S is set, so that its faults stall. */
static void
write_guest_tables(struct guest *g, bool stalls)
{
	struct smmuv3_cd *cd = (struct smmuv3_cd *)(void *)page_of(g, CDS);

	for (unsigned int i = 0; i < 1u << CDMAX; i++) {
		cd[i].dw[0] = SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_R |
			SMMUV3_CD0_A | SMMUV3_CD0_ASET | (stalls ? SMMUV3_CD0_S : 0) |
			SMMUV3_PUT(SMMUV3_CD0_ASID, 40 + i) | SMMUV3_PUT(SMMUV3_CD0_T0SZ, 25) |
			SMMUV3_PUT(SMMUV3_CD0_IPS, 2);
		cd[i].dw[1] = IPA(L1);
		cd[i].dw[3] = 0xff;
	}
	smmuv3_set_dw(&page_of(g, L1)[(PCIE_VA >> 30) & 511], IPA(L2) | 3);
	smmuv3_set_dw(&page_of(g, L2)[(PCIE_VA >> 21) & 511], IPA(L3) | 3);
	for (unsigned int i = 0; i < 32; i++)
		smmuv3_set_dw(leaf_of(g, i), IPA(DATA + i) | S1_LEAF);
}

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_fault *fault = group->faults[0];
	struct guest *g = ctx;
	struct pgt_inv range;
	struct pgt_unmapped out;
	struct iopf_inv inv;

	RTE_SET_USED(domain);
	assert_in_range(g->nb_seen, 0, RTE_DIM(g->seen) - 1);
	assert_int_equal(group->pasid, fault->pasid);
	g->seen[g->nb_seen++] = (struct seen){ fault->addr, fault->ipa, fault->pasid,
		fault->flags, fault->fault_class, fault->reason, fault->perm };
	if (fault->flags & IOPF_FAULT_PAGE_REQUEST) {
		/* The address is a VA: a VMM walks the guest's tables. */
		for (unsigned int i = 0; i < 4; i++)
			pcie_map(&g->parent, &(struct iopf_fault){ .addr = IPA(i) });
		pcie_map(&g->parent, &(struct iopf_fault){ .addr = fault->addr +
				(uint64_t)DATA * PCIE_PAGE });
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	if (!(fault->flags & IOPF_FAULT_STAGE2)) {
		/* The guest's own. */
		smmuv3_set_dw(&page_of(g, L3)[(fault->addr >> 12) & 511], (fault->addr +
				(uint64_t)DATA * PCIE_PAGE) | S1_LEAF);
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	if (g->upgrade && fault->reason == IOPF_REASON_PERMISSION) {
		pgt_unmapped_init(&out, &range, 1);
		assert_int_equal(pgt_protect(g->parent.pgt, fault->ipa, PCIE_PAGE,
				PGT_READ | PGT_WRITE, &out), 0);
		assert_int_equal(out.nb_inv, 1);
		inv = iopf_inv_from_pgt(&range);
		assert_int_equal(iopf_group_invalidate(group, &inv), 0);
		return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	}
	pcie_map(&g->parent, fault);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static struct iopf_domain *
create_nested(struct guest *g, const struct iopf_storm_conf *storm)
{
	return iopf_domain_create(&(struct iopf_domain_conf){
		.handler = on_fault,
		.ctx = g,
		.parent = g->parent.domain,
		.storm = storm,
		.translation = {
			.format = IOPF_FORMAT_ARM64_GUEST,
			.guest_ste = {
				SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
					SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, CDMAX) | IPA(CDS),
				SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_SSID0),
			},
		},
	});
}

static void
open_guest(struct guest *g, bool stalls)
{
	memset(g, 0, sizeof(*g));
	pcie_open(&g->r, &conf, NULL);
	if (stalls)
		pcie_add_stalling_fn(&g->r, &g->f, SID,
				&(struct iopf_dev_conf){ .nb_pasids = 16 });
	else
		pcie_add_fn(&g->r, &g->f, SID, &(struct iopf_dev_conf){ .nb_pasids = 16 });
	for (unsigned int i = 0; i < 2; i++)
		g->dma[i] = pcie_create_engine(&g->r, &g->f, &(struct smmuv3_model_dma_conf){
			.depth = 16, .has_ssid = i != 0, .ssid = i != 0 ? PASID : 0,
			.group_pages = 1 });
	pcie_create_stage2_space(&g->r, &g->parent, NULL);
	write_guest_tables(g, stalls);
	g->domain = create_nested(g, NULL);
	assert_non_null(g->domain);
	assert_int_equal(iopf_domain_attach(g->domain, g->f.dev, IOPF_NO_PASID), 0);
}

static void
close_guest(struct guest *g)
{
	assert_int_equal(iopf_domain_detach(g->domain, g->f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(g->domain), 0);
	pcie_close(&g->r);
}

/* A write of VA page @p page; the faults since are in seen[]. */
static void
write_page(struct guest *g, unsigned int i, unsigned int page)
{
	struct smmuv3_model_done done;

	g->nb_seen = 0;
	pcie_write(&g->r, g->dma[i], page, 1);
	pcie_run(&g->r);
	assert_int_equal(smmuv3_model_dma_poll(g->dma[i], &done, 1), 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_memory_equal(page_of(g, DATA + page), g->r.pattern + (size_t)page * PCIE_PAGE,
			PCIE_PAGE);
}

/* Fault n of the last access is of stage 2, for this page of the guest's memory. */
static void
expect_stage2(const struct guest *g, unsigned int n, unsigned int i, unsigned int va_page,
		unsigned int page, enum iopf_event_class fault_class)
{
	const struct seen *s = &g->seen[n];

	assert_in_range(n, 0, g->nb_seen - 1);
	assert_int_equal(s->flags, IOPF_FAULT_STAGE2 | IOPF_FAULT_STALLED);
	assert_int_equal(s->fault_class, fault_class);
	assert_int_equal(s->ipa, IPA(page));
	assert_int_equal(s->addr, VA(va_page));
	assert_int_equal(s->pasid, i != 0 ? PASID : IOPF_NO_PASID);
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
	pgt_unmap(g->parent.pgt, IPA(page), PCIE_PAGE, 0, &out);
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
		write_page(&g, i, 7);
		assert_int_equal(g.nb_seen, 5);
		expect_stage2(&g, 0, i, 7, CDS, IOPF_CLASS_CD);
		expect_stage2(&g, 1, i, 7, L1, IOPF_CLASS_TT);
		expect_stage2(&g, 2, i, 7, L2, IOPF_CLASS_TT);
		expect_stage2(&g, 3, i, 7, L3, IOPF_CLASS_TT);
		expect_stage2(&g, 4, i, 7, DATA + 7, IOPF_CLASS_IN);
		/* The other PASID has another ASID; the tables are there. */
		write_page(&g, 1 - i, 8);
		assert_int_equal(g.nb_seen, 1);
		expect_stage2(&g, 0, 1 - i, 8, DATA + 8, IOPF_CLASS_IN);
		write_page(&g, i, 7);
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
	smmuv3_set_dw(leaf_of(&g, 9), 0);
	write_page(&g, 1, 9);
	assert_int_equal(g.nb_seen, 6);
	assert_int_equal(g.seen[4].flags, IOPF_FAULT_STALLED);
	assert_int_equal(g.seen[4].fault_class, IOPF_CLASS_NONE);
	assert_int_equal(g.seen[4].addr, VA(9));
	assert_int_equal(g.seen[4].pasid, PASID);
	expect_stage2(&g, 5, 1, 9, DATA + 9, IOPF_CLASS_IN);
	close_guest(&g);
}

/* The TLB keeps what no command removes: combined entries need their own. */
static void
test_an_invalidation_of_the_parent_is_of_nested_domains_too(void **state)
{
	struct guest g;

	(void)state;
	open_guest(&g, true);
	write_page(&g, 0, 1);
	write_page(&g, 1, 1);
	assert_int_equal(g.nb_seen, 0);
	unmap_page(&g, DATA + 1);
	write_page(&g, 1, 1);
	assert_int_equal(g.nb_seen, 1);
	expect_stage2(&g, 0, 1, 1, DATA + 1, IOPF_CLASS_IN);
	write_page(&g, 0, 1);
	assert_int_equal(g.nb_seen, 0);
	/* A table, of which no entry of a page remains either. */
	unmap_page(&g, L3);
	write_page(&g, 0, 1);
	assert_int_equal(g.nb_seen, 1);
	expect_stage2(&g, 0, 0, 1, L3, IOPF_CLASS_TT);
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
	write_page(&g, 1, 2);
	/* The CD and the tables are read. The page is mapped read-only, then made writable. */
	assert_int_equal(g.nb_seen, 6);
	assert_int_equal(g.seen[5].reason, IOPF_REASON_PERMISSION);
	assert_int_equal(g.seen[5].ipa, IPA(DATA + 2));
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
			write_page(&g, i, 3);
			assert_int_equal(g.nb_seen, i == 0);
			if (i == 0) {
				assert_int_equal(g.seen[0].flags, IOPF_FAULT_PAGE_REQUEST);
				assert_int_equal(g.seen[0].addr, VA(3));
				assert_int_equal(g.seen[0].pasid, IOPF_NO_PASID);
			}
		}
		write_page(&g, 1, 3);
		assert_int_equal(g.nb_seen, 0);
		unmap_page(&g, DATA + 3);
	}
	write_page(&g, 1, 3);
	assert_int_equal(g.nb_seen, 1);
	assert_int_equal(g.seen[0].pasid, PASID);
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
	sibling = create_nested(&g, NULL);
	assert_non_null(sibling);
	write_page(&g, 1, 4);
	assert_int_equal(iopf_domain_replace(sibling, g.f.dev, IOPF_NO_PASID), 0);
	write_page(&g, 1, 4);
	assert_int_equal(g.nb_seen, 0);
	/* An access of the parent's is at an IPA. */
	assert_int_equal(iopf_domain_replace(g.parent.domain, g.f.dev, IOPF_NO_PASID), 0);
	pcie_write(&g.r, g.dma[0], 40, 1);
	pcie_run(&g.r);
	assert_int_equal(smmuv3_model_dma_poll(g.dma[0], &done, 1), 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(g.parent.calls, 1);
	assert_int_equal(g.parent.fault[0].ipa, IPA(40));
	assert_memory_equal(page_of(&g, 40), g.r.pattern + (size_t)40 * PCIE_PAGE, PCIE_PAGE);
	/* It has no PASIDs. */
	pcie_write(&g.r, g.dma[1], 41, 1);
	pcie_run(&g.r);
	assert_int_equal(smmuv3_model_dma_poll(g.dma[1], &done, 1), 1);
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_domain_replace(g.domain, g.f.dev, IOPF_NO_PASID), 0);
	write_page(&g, 1, 4);
	assert_int_equal(g.nb_seen, 0);
	write_page(&g, 0, 5);
	assert_int_equal(g.nb_seen, 1);
	expect_stage2(&g, 0, 0, 5, DATA + 5, IOPF_CLASS_IN);
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
	domain = create_nested(&g, &storm);
	assert_non_null(domain);
	assert_int_equal(iopf_domain_detach(g.domain, g.f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_attach(domain, g.f.dev, IOPF_NO_PASID), 0);
	write_page(&g, 0, 0);
	while (iopf_dev_stat(g.f.dev, IOPF_DEV_STAT_TRIPS) == 0) {
		g.nb_seen = 0;
		unmap_page(&g, DATA);
		pcie_write(&g.r, g.dma[0], 0, 1);
		pcie_run(&g.r);
		while (smmuv3_model_dma_poll(g.dma[0], &done, 1) == 0)
			pcie_run_ms(&g.r, 1);
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
			write_page(&g, i, 6);
		assert_int_equal(iopf_iommu_suspend(g.r.iommu, 0), 0);
		unmap_page(&g, DATA + 6);
		assert_int_equal(iopf_iommu_resume(g.r.iommu), 0);
		write_page(&g, 1, 6);
		assert_int_equal(g.nb_seen, 1);
		if (stalls)
			expect_stage2(&g, 0, 1, 6, DATA + 6, IOPF_CLASS_IN);
		else
			assert_int_equal(g.seen[0].addr, VA(6));
		/* Nor is the nested domain another one. */
		write_page(&g, 0, 6);
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
