/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>

#include <rte_common.h>

#include "guest_rig.h"
#include "iopf_pgtable.h"
#include "smmuv3_order.h"
#include "smmuv3_spec.h"
#include "test.h"

const struct smmuv3_model_conf guest_model_conf = {
	.features = SMMUV3_MODEL_S2,
	.choices = SMMUV3_MODEL_STICKY_TLB,
	.harsh = SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE,
};

uint64_t *
guest_page(struct guest *g, unsigned int page)
{
	return (uint64_t *)(void *)(g->parent.data + (size_t)page * PCIE_PAGE);
}

uint64_t *
guest_leaf(struct guest *g, unsigned int page)
{
	return &guest_page(g, GUEST_L3)[(GUEST_VA(page) >> 12) & 511];
}

/* As a guest's driver: S is set, so that its faults stall. */
static void
write_guest_tables(struct guest *g, bool stalls)
{
	struct smmuv3_cd *cd = (struct smmuv3_cd *)(void *)guest_page(g, GUEST_CDS);

	for (unsigned int i = 0; i < 1u << GUEST_CDMAX; i++) {
		cd[i].dw[0] = SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_R |
			SMMUV3_CD0_A | SMMUV3_CD0_ASET | (stalls ? SMMUV3_CD0_S : 0) |
			SMMUV3_PUT(SMMUV3_CD0_ASID, GUEST_ASID + i) |
			SMMUV3_PUT(SMMUV3_CD0_T0SZ, 25) |
			SMMUV3_PUT(SMMUV3_CD0_IPS, 2);
		cd[i].dw[1] = GUEST_IPA(GUEST_L1);
		cd[i].dw[3] = 0xff;
	}
	smmuv3_set_dw(&guest_page(g, GUEST_L1)[(PCIE_VA >> 30) & 511], GUEST_IPA(GUEST_L2) | 3);
	smmuv3_set_dw(&guest_page(g, GUEST_L2)[(PCIE_VA >> 21) & 511], GUEST_IPA(GUEST_L3) | 3);
	for (unsigned int i = 0; i < 32; i++)
		smmuv3_set_dw(guest_leaf(g, i), GUEST_IPA(GUEST_DATA + i) | GUEST_LEAF);
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
	g->seen[g->nb_seen++] = (struct guest_seen){ fault->addr, fault->ipa, fault->pasid,
		fault->flags, fault->fault_class, fault->reason, fault->perm };
	if (fault->flags & IOPF_FAULT_PAGE_REQUEST) {
		/* The address is a VA: a VMM walks the guest's tables. */
		for (unsigned int i = 0; i < 4; i++)
			pcie_map(&g->parent, &(struct iopf_fault){ .addr = GUEST_IPA(i) });
		pcie_map(&g->parent, &(struct iopf_fault){ .addr = fault->addr +
				(uint64_t)GUEST_DATA * PCIE_PAGE });
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	if (!(fault->flags & IOPF_FAULT_STAGE2)) {
		/* The guest's own. */
		smmuv3_set_dw(&guest_page(g, GUEST_L3)[(fault->addr >> 12) & 511], (fault->addr +
				(uint64_t)GUEST_DATA * PCIE_PAGE) | GUEST_LEAF);
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

const struct iopf_translation guest_translation = {
	.format = IOPF_FORMAT_ARM64_GUEST,
	.guest_ste = {
		SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
			SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, GUEST_CDMAX) | GUEST_IPA(GUEST_CDS),
		SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_SSID0),
	},
};

struct iopf_domain *
guest_create_domain(struct guest *g, const struct iopf_storm_conf *storm)
{
	return iopf_domain_create(&(struct iopf_domain_conf){
		.handler = on_fault,
		.ctx = g,
		.parent = g->parent.domain,
		.storm = storm,
		.translation = guest_translation,
	});
}

void
guest_add(struct pcie *r, struct guest *g, uint32_t sid, bool stalls)
{
	memset(g, 0, sizeof(*g));
	g->r = r;
	if (stalls)
		pcie_add_stalling_fn(r, &g->f, sid, &(struct iopf_dev_conf){ .nb_pasids = 16 });
	else
		pcie_add_fn(r, &g->f, sid, &(struct iopf_dev_conf){ .nb_pasids = 16 });
	for (unsigned int i = 0; i < 2; i++)
		g->dma[i] = pcie_create_engine(r, &g->f, &(struct smmuv3_model_dma_conf){
			.depth = 16, .has_ssid = i != 0, .ssid = i != 0 ? GUEST_PASID : 0,
			.group_pages = 1 });
	pcie_create_stage2_space(r, &g->parent, NULL);
	write_guest_tables(g, stalls);
	g->domain = guest_create_domain(g, NULL);
	assert_non_null(g->domain);
	assert_int_equal(iopf_domain_attach(g->domain, g->f.dev, IOPF_NO_PASID), 0);
}

void
guest_remove(struct guest *g)
{
	assert_int_equal(iopf_domain_detach(g->domain, g->f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(g->domain), 0);
}

void
guest_access(struct guest *g, unsigned int i, unsigned int page)
{
	struct smmuv3_model_done done;

	g->nb_seen = 0;
	pcie_write(g->r, g->dma[i], page, 1);
	pcie_run(g->r);
	assert_int_equal(smmuv3_model_dma_poll(g->dma[i], &done, 1), 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
}

void
guest_expect_at(struct guest *g, unsigned int i, unsigned int page, unsigned int at)
{
	memset(guest_page(g, at), 0, PCIE_PAGE);
	guest_access(g, i, page);
	assert_memory_equal(guest_page(g, at), g->r->pattern + (size_t)page * PCIE_PAGE, PCIE_PAGE);
}

void
guest_write(struct guest *g, unsigned int i, unsigned int page)
{
	guest_expect_at(g, i, page, GUEST_DATA + page);
}
