/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef GUEST_RIG_H
#define GUEST_RIG_H

/*
 * Guests: a nested domain each, with CDs and tables that the test writes as a guest does, into
 * memory that the parent maps. The handler resolves the IPA of each stage-2 fault, whatever the
 * SMMU needed it for. All guests have the same IPAs, VAs, ASIDs and PASIDs.
 */

#include <stdbool.h>
#include <stdint.h>

#include "pcie_rig.h"

#define GUEST_PASID	5
#define GUEST_ASID	40		/* of CD 0; those of the others follow */
#define GUEST_CDMAX	4		/* log2 */

/* Pages of the guest's memory, that is of the parent's space. */
#define GUEST_CDS	0u
#define GUEST_L1	1u		/* tables of 39 bits */
#define GUEST_L2	2u
#define GUEST_L3	3u
#define GUEST_DATA	64u		/* page n is at VA page n; 32 pages */
#define GUEST_IPA(page)	(PCIE_VA + (uint64_t)(page) * PCIE_PAGE)
#define GUEST_VA(page)	GUEST_IPA(page)

/* nG, AF, ISH, unprivileged, RW */
#define GUEST_LEAF	(UINT64_C(3) | 1 << 11 | 1 << 10 | 3 << 8 | 1 << 6)

/* What the handler saw. */
struct guest_seen {
	uint64_t addr, ipa;
	uint32_t pasid;
	uint8_t flags, fault_class, reason, perm;
};

struct guest {
	struct pcie *r;
	struct pcie_space parent;
	struct pcie_fn f;
	struct smmuv3_model_dma *dma[2];	/* untagged, PASID */
	struct iopf_domain *domain;
	struct guest_seen seen[16];
	unsigned int nb_seen;
	bool upgrade;		/* the handler makes the page writable, with an invalidation */
};

/* A model with stage 2, whose TLB keeps each entry that no command removes. */
extern const struct smmuv3_model_conf guest_model_conf;

/* Add a guest, whose device is attached. @p stalls: its faults stall; or it has ATS and PRI. */
void guest_add(struct pcie *r, struct guest *g, uint32_t sid, bool stalls);
/* Detach it. pcie_close() frees the rest. */
void guest_remove(struct guest *g);
/* The STE of each guest: 2^GUEST_CDMAX CDs in the page GUEST_CDS. */
extern const struct iopf_translation guest_translation;
/* Another nested domain of the guest. */
struct iopf_domain *guest_create_domain(struct guest *g, const struct iopf_storm_conf *storm);

/* Where the test has a page of the guest's memory, and the descriptor of a page of its VAs. */
uint64_t *guest_page(struct guest *g, unsigned int page);
uint64_t *guest_leaf(struct guest *g, unsigned int page);

/* A write of VA page @p page by engine @p i, which must succeed; the faults since are in seen[]. */
void guest_access(struct guest *g, unsigned int i, unsigned int page);
/* The same, and it must reach this page of the guest's memory. */
void guest_expect_at(struct guest *g, unsigned int i, unsigned int page, unsigned int at);
/* The same, at the page that the guest's tables have at first. */
void guest_write(struct guest *g, unsigned int i, unsigned int page);

#endif /* GUEST_RIG_H */
